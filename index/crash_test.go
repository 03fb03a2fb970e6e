package index

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
)

// faultyDisk fails the n-th call, before or after it took effect. Every later
// call fails too, as after a crash.
type faultyDisk struct {
	durable.OS
	mu    sync.Mutex // a batch syncs its files side by side
	left  int
	after bool
}

var errDisk = errors.New("the disk is gone")

func (d *faultyDisk) do(op func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left--
	if d.left > 0 {
		return op()
	}
	if d.left == 0 && d.after {
		if err := op(); err != nil {
			return err
		}
	}
	return errDisk
}

func (d *faultyDisk) CreateTemp(dir, prefix string, perm fs.FileMode) (durable.File, error) {
	var f durable.File
	err := d.do(func() (err error) { f, err = d.OS.CreateTemp(dir, prefix, perm); return err })
	if err != nil {
		return nil, err
	}
	return &faultyFile{f, d}, nil
}

func (d *faultyDisk) Rename(from, to string) error {
	return d.do(func() error { return d.OS.Rename(from, to) })
}

// SyncDir waits for no disk: whoever crashes here is a part of a process, and
// what was written stays.
func (d *faultyDisk) SyncDir(string) error { return d.do(func() error { return nil }) }

func (d *faultyDisk) Remove(path string) error {
	if filepath.Base(path) == stagedFile { // not to clean up, but a step of its own
		return d.do(func() error { return d.OS.Remove(path) })
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left <= 0 {
		return errDisk // a killed process cleans nothing up
	}
	return d.OS.Remove(path)
}

// faultyLog is a log on a faulty disk: a batch is one call.
type faultyLog struct {
	LogWriter
	disk *faultyDisk
}

func (l faultyLog) Append(ctx context.Context, leaves [][]byte) error {
	return l.disk.do(func() error { return l.LogWriter.Append(ctx, leaves) })
}

type faultyFile struct {
	durable.File
	disk *faultyDisk
}

func (f *faultyFile) Write(p []byte) (n int, err error) {
	err = f.disk.do(func() (err error) { n, err = f.File.Write(p[:len(p)/2]); return err })
	if err != nil {
		return n, err
	}
	m, err := f.File.Write(p[n:])
	return n + m, err
}

func (f *faultyFile) Sync() error { return f.disk.do(func() error { return nil }) }

// A crash at any call of a publication leaves an index in which the version
// either is not there or verifies; publishing again gives the same bytes as
// if nothing had happened.
func TestCrashWhilePublishing(t *testing.T) {
	w := attesttest.New(t)
	policy := w.LoadPolicy()
	in := writingOf(policy)
	p := w.Honest()
	want := ""
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			dir := indexOf(t, nil, nil)
			disk := &faultyDisk{left: n, after: after}
			x, err := open(disk, dir, in)
			if err != nil {
				t.Fatal(err)
			}
			_, _, published := x.Publish(context.Background(), p.Bundle, p.Package.Archive())
			x, err = Open(dir, in)
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = x.Verify("hello", "", policy, attesttest.Now)
			if c := fault.CodeOf(err); c != "" && c != fault.IndexNoMatch || published == nil && err != nil {
				t.Fatalf("call %d, after %v: %v left %v", n, after, published, err)
			}
			if _, _, err := x.Publish(context.Background(), p.Bundle, p.Package.Archive()); err != nil {
				t.Fatalf("call %d, after %v: again: %v", n, after, err)
			}
			got := listing(t, dir)
			if want == "" {
				want = listing(t, indexOf(t, p, policy))
			}
			if got != want {
				t.Fatalf("call %d, after %v: publishing again ended in\n%s\nnot\n%s", n, after, got, want)
			}
			if published == nil && disk.left > 0 {
				break
			}
		}
	}
}

// writingOf is who writes by a policy.
func writingOf(policy *attest.Policy) Writing {
	return Writing{Policy: policy, Key: attesttest.Key("index"), Now: func() time.Time { return attesttest.Now }}
}

// listing returns names and contents, without what a crash may leave behind.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(d.Name(), durable.TempPrefix) {
			return err
		}
		data, err := os.ReadFile(path)
		b.WriteString(strings.TrimPrefix(path, dir) + "\n" + string(data) + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// An Init of a log that was stopped is finished by doing it again, also where all
// but the end of it was done; what is whole is not made twice.
func TestCrashWhileInitialisingALog(t *testing.T) {
	b := plainBench(t).quick()
	b.must(Init(context.Background(), b.dir, b.config(), b.in))
	want := listing(t, b.dir)
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			dir := filepath.Join(t.TempDir(), "index")
			disk := &faultyDisk{left: n, after: after}
			err := initIndex(context.Background(), disk, dir, b.config(), b.in)
			if err == nil && disk.left > 0 {
				if n < 10 {
					t.Errorf("%d calls", n)
				}
				break
			}
			_, staged := os.Lstat(filepath.Join(dir, stagedFile))
			again := Init(context.Background(), dir, b.config(), b.in)
			if again != nil && (fault.CodeOf(again) != fault.Usage || staged == nil) {
				t.Errorf("call %d, after %v: again: %v", n, after, again)
			}
			if got := listing(t, dir); got != want {
				t.Errorf("call %d, after %v: %v, and again %v, ended in\n%s\nnot\n%s", n, after, err, again, got, want)
			}
		}
	}
}

// An index that is in use is never taken for an Init that was stopped, whatever
// is staged in it.
func TestInitRefusesWhatIsInUse(t *testing.T) {
	b := plainBench(t).quick()
	b.must(Init(context.Background(), b.dir, b.config(), b.in))
	changed := b.config()
	changed.API = "https://packages.example/"
	for n := 1; ; n++ {
		dir := filepath.Join(t.TempDir(), "index")
		b.must(os.CopyFS(dir, os.DirFS(b.dir)))
		x, err := open(&faultyDisk{left: n}, dir, b.in)
		b.must(err)
		stopped := x.SetConfig(context.Background(), changed)
		for what, c := range map[string]Config{"the first": b.config(), "the second": changed} {
			if err := Init(context.Background(), dir, c, b.in); fault.CodeOf(err) != fault.Usage {
				t.Errorf("stopped at call %d: with %s config: %v", n, what, err)
			}
		}
		if stopped == nil {
			return
		}
	}
}
