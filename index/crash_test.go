package index

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/durable"
	"rebuild/internal/durable/durabletest"
	"rebuild/internal/fault"
)

// failing is a disk whose n-th call fails, before or after it took effect, and
// every later one. To remove what is staged is a step of its own.
func failing(n int, after bool) *durabletest.Disk {
	return &durabletest.Disk{Left: n, After: after, Quick: true, Step: func(path string) bool { return filepath.Base(path) == stagedFile }}
}

// steady is a disk that does not fail.
func steady() *durabletest.Disk { return failing(1<<60, false) }

var errDisk = durabletest.ErrGone

// faultyLog is a log on a faulty disk: a batch is one call.
type faultyLog struct {
	LogWriter
	disk *durabletest.Disk
}

func (l faultyLog) Append(ctx context.Context, leaves [][]byte) error {
	return l.disk.Do(func() error { return l.LogWriter.Append(ctx, leaves) })
}

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
			disk := failing(n, after)
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
			if published == nil && disk.Left > 0 {
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
func listing(t testing.TB, dir string) string {
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
			disk := failing(n, after)
			err := initIndex(context.Background(), disk, dir, b.config(), b.in)
			if err == nil && disk.Left > 0 {
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
		x, err := open(failing(n, false), dir, b.in)
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
