package durable

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// tape is an FS that notes every call under the name of its system call and
// can fail the n-th one, before or after it took effect.
type tape struct {
	mu     sync.Mutex // fsync calls come from several goroutines
	dir    string
	names  map[string]string // temporary names as TMP1, TMP2, ...
	calls  []string
	failAt int // 1 is the first call; 0 never
	after  bool
}

var errInjected = errors.New("injected")

func newTape(dir string) *tape { return &tape{dir: dir, names: map[string]string{}} }

// do notes the call and runs it, unless it is the one to fail before.
func (t *tape) do(call, path string, effect func() error) error {
	t.mu.Lock()
	t.calls = append(t.calls, call+" "+t.short(path))
	fail := len(t.calls) == t.failAt
	t.mu.Unlock()
	if fail && !t.after {
		return errInjected
	}
	err := effect()
	if fail {
		return errInjected
	}
	return err
}

func (t *tape) short(path string) string {
	if s, ok := t.names[path]; ok {
		return s
	}
	rel, _ := filepath.Rel(t.dir, path)
	return rel
}

func (t *tape) CreateTemp(dir, prefix string, perm fs.FileMode) (File, error) {
	var f File
	err := t.do("create", dir, func() (err error) {
		f, err = OS{}.CreateTemp(dir, prefix, perm)
		return err
	})
	if f == nil {
		return nil, err
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	t.names[f.Name()] = fmt.Sprintf("TMP%d", len(t.names)+1)
	return &tapeFile{f, t}, nil
}

func (t *tape) Rename(a, b string) error {
	return t.do("rename "+t.short(a), b, func() error { return OS{}.Rename(a, b) })
}

func (t *tape) SyncDir(dir string) error {
	return t.do("fsync", dir, func() error { return OS{}.SyncDir(dir) })
}

func (t *tape) Remove(path string) error {
	return t.do("unlink", path, func() error { return OS{}.Remove(path) })
}

type tapeFile struct {
	File
	t *tape
}

func (f *tapeFile) Write(p []byte) (n int, err error) {
	err = f.t.do("write", f.Name(), func() (err error) { n, err = f.File.Write(p); return err })
	return n, err
}

func (f *tapeFile) Sync() error  { return f.t.do("fsync", f.Name(), f.File.Sync) }
func (f *tapeFile) Close() error { return f.t.do("close", f.Name(), f.File.Close) }

// A power cut between rename and fsync of the content would leave an empty
// file under the final name; without fsync of the directory, no file at all.
func TestWriteFileCallLog(t *testing.T) {
	dir := t.TempDir()
	log := newTape(dir)
	if err := WriteFile(log, filepath.Join(dir, "name"), []byte("x")); err != nil {
		t.Fatal(err)
	}
	want := []string{"create .", "write TMP1", "fsync TMP1", "rename TMP1 name", "fsync .", "close TMP1"}
	if !slices.Equal(log.calls, want) {
		t.Errorf("calls\n %s\nwant\n %s", strings.Join(log.calls, "\n "), strings.Join(want, "\n "))
	}
}

func TestBatchCallLog(t *testing.T) {
	dir := t.TempDir()
	log := newTape(dir)
	sub := filepath.Join(dir, "sub")
	if err := os.Mkdir(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	b := NewBatch(log)
	locked := 0
	b.Around = func(renames func() error) error { locked++; return renames() }
	for _, name := range []string{"sub/a", "b", "sub/c"} {
		w, err := Create(log, dir)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(w, name)
		b.Add(w, filepath.Join(dir, name))
	}
	log.calls = nil
	if err := b.Commit(); err != nil {
		t.Fatal(err)
	}
	slices.Sort(log.calls[:3]) // side by side
	want := []string{"fsync TMP1", "fsync TMP2", "fsync TMP3",
		"rename TMP1 sub/a", "rename TMP2 b", "rename TMP3 sub/c", "fsync sub", "fsync .",
		"close TMP1", "close TMP2", "close TMP3"}
	if !slices.Equal(log.calls, want) || locked != 1 {
		t.Errorf("locked %d times, calls\n %s\nwant\n %s", locked, strings.Join(log.calls, "\n "), strings.Join(want, "\n "))
	}
	for _, name := range []string{"sub/a", "b", "sub/c"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != name {
			t.Errorf("%s holds %q, %v", name, got, err)
		}
	}
}

// TestFaults fails each call in turn, before and after it took effect: the
// file holds the old or the new content, an error is reported, and a retry
// ends in the new content.
func TestFaults(t *testing.T) {
	for n := 1; n <= 6; n++ {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("call %d after=%v", n, after), func(t *testing.T) {
				dir := t.TempDir()
				name := filepath.Join(dir, "name")
				if err := WriteFile(OS{}, name, []byte("old")); err != nil {
					t.Fatal(err)
				}
				log := newTape(dir)
				log.failAt, log.after = n, after
				if err := WriteFile(log, name, []byte("new")); !errors.Is(err, errInjected) {
					t.Errorf("error is %v", err)
				}
				if got := read(t, name); got != "old" && got != "new" {
					t.Errorf("content is %q", got)
				}
				if err := WriteFile(OS{}, name, []byte("new")); err != nil || read(t, name) != "new" {
					t.Errorf("retry: %v, %q", err, read(t, name))
				}
				checkLeftovers(t, dir, n == 1 || n == 4 && after)
			})
		}
	}
}

// checkLeftovers allows a temporary file only where the failed call itself
// hides what happened, and then it must count as abandoned.
func checkLeftovers(t *testing.T, dir string, allowed bool) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, TempPrefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if !allowed || !Abandoned(n) {
			t.Errorf("%s was left, abandoned: %v", n, Abandoned(n))
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAbort(t *testing.T) {
	dir := t.TempDir()
	w, err := Create(OS{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	if Abandoned(filepath.Join(w.temp)) {
		t.Error("a file that is being written counts as abandoned")
	}
	w.Abort()
	w.Abort()
	if names, _ := os.ReadDir(dir); len(names) != 0 {
		t.Errorf("%v is left", names)
	}
	if err := NewBatch(OS{}).Commit(); err != nil {
		t.Errorf("empty batch: %v", err)
	}
}

func TestMkdirAll(t *testing.T) {
	dir := t.TempDir()
	log := newTape(dir)
	if err := MkdirAll(log, filepath.Join(dir, "a/b")); err != nil {
		t.Fatal(err)
	}
	if want := []string{"fsync .", "fsync a"}; !slices.Equal(log.calls, want) {
		t.Errorf("calls %q, want %q", log.calls, want)
	}
	if err := WriteFile(OS{}, filepath.Join(dir, "file"), nil); err != nil {
		t.Fatal(err)
	}
	if err := MkdirAll(OS{}, filepath.Join(dir, "file/x")); err == nil {
		t.Error("a file was taken for a directory")
	}
}

func TestLock(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	release, err := Lock(name, false)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Lock(name, false)
	if err != nil {
		t.Fatal("two shared locks exclude each other")
	}
	got := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		unlock, err := Lock(name, true)
		if err != nil {
			t.Error(err)
			return
		}
		close(got)
		unlock()
	})
	release()
	select {
	case <-got:
		t.Error("the exclusive lock did not wait for the second shared one")
	default:
	}
	second()
	<-got
	wg.Wait()
}

// asNobody runs a test of this package again as a user who may not write
// everything, if this one is root. It says whether it did.
func asNobody(t *testing.T) bool {
	t.Helper()
	if os.Geteuid() != 0 {
		return false
	}
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v") // whose path it may not follow
	c.Dir, c.Env = dir, append(os.Environ(), "TMPDIR="+dir)
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := c.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
		t.Errorf("%v\n%s", err, out)
	}
	return true
}

// A killed writer has left folders that nobody may write in: they are gone for the
// next one all the same.
func TestClaimOfFoldersThatAreReadOnly(t *testing.T) {
	if asNobody(t) {
		return
	}
	dir := t.TempDir()
	stage := filepath.Join(dir, ".out.pull")
	deep := filepath.Join(stage, "a/b/c")
	outside := filepath.Join(dir, "outside")
	if err := errors.Join(os.MkdirAll(deep, 0o755), os.WriteFile(filepath.Join(deep, "x"), nil, 0o444), os.Mkdir(outside, 0o555),
		os.Symlink(outside, filepath.Join(deep, "link")), os.Chmod(deep, 0o555), os.Chmod(filepath.Dir(deep), 0), os.Chmod(filepath.Join(stage, "a"), 0o555)); err != nil {
		t.Fatal(err)
	}
	f, err := Claim(stage)
	if err != nil || len(namesIn(t, stage)) != 0 {
		t.Fatalf("%v, left are %q", err, namesIn(t, stage))
	}
	f.Close()
	if info, err := os.Stat(outside); err != nil || info.Mode().Perm() != 0o555 {
		t.Errorf("what a link leads to is changed: %v %v", info, err)
	}
}

// Whoever waits for a lock can be told to give up, and then the lock is as it was.
func TestLockUntil(t *testing.T) {
	name := filepath.Join(t.TempDir(), "lock")
	release, err := Lock(name, true)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := LockUntil(ctx, name, false); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	time.AfterFunc(30*time.Millisecond, release)
	second, err := LockUntil(t.Context(), name, true)
	if err != nil {
		t.Fatal(err)
	}
	second()
}

// A lock that can only be read, as it is another user's, is locked all the same;
// one that is not there and can not be made is an error.
func TestLockOfAnother(t *testing.T) {
	if asNobody(t) {
		return
	}
	dir := t.TempDir()
	name := filepath.Join(dir, "lock")
	if err := errors.Join(os.WriteFile(name, nil, 0o444), os.Chmod(dir, 0o555)); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o755)
	release, err := Lock(name, true)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if _, err := LockUntil(ctx, name, false); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("locked twice: %v", err)
	}
	if _, err := Lock(filepath.Join(dir, "other"), true); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%v", err)
	}
}

// A sweep takes what nobody writes any more, and nothing else: not what has a
// living writer, not what only begins with the same letters, no folders, no links.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	place := func(name string) string { return filepath.Join(dir, name) }
	alive, err := Create(OS{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	dead, err := Create(OS{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	dead.close() // what a kill does
	others := []string{".tmp-", ".tmp-1", ".tmp-0123456789abcdeF", ".tmp-0123456789abcdef0", "x.tmp-0123456789abcdef", "file"}
	for _, name := range others {
		if err := os.WriteFile(place(name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	folder, link := ".tmp-0000000000000000", ".tmp-0000000000000001"
	if err := errors.Join(os.Mkdir(place(folder), 0o755), os.Symlink("file", place(link))); err != nil {
		t.Fatal(err)
	}
	if err := Sweep(OS{}, dir); err != nil {
		t.Fatal(err)
	}
	want := append(others, folder, link, filepath.Base(alive.temp))
	slices.Sort(want)
	if got := namesIn(t, dir); !slices.Equal(got, want) {
		t.Errorf("left are %q, want %q", got, want)
	}
	if err := alive.Commit(place("alive")); err != nil {
		t.Errorf("a living writer: %v", err)
	}
	if err := Sweep(OS{}, place("nowhere")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}

// What can not be removed is said.
func TestSweepSaysWhatItCanNotRemove(t *testing.T) {
	dir := t.TempDir()
	dead, err := Create(OS{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	dead.close()
	log := newTape(dir)
	log.failAt = 1
	if err := Sweep(log, dir); !errors.Is(err, errInjected) {
		t.Errorf("%v", err)
	}
	if err := Sweep(log, dir); err != nil || len(namesIn(t, dir)) > 0 {
		t.Errorf("again: %v, left are %q", err, namesIn(t, dir))
	}
}

// Writers beside a sweep that never ends: between the making of a file and its
// lock a sweep can take it, and then the writer makes another.
func TestSweepBesideWriters(t *testing.T) {
	dir := t.TempDir()
	var writers, sweepers sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		sweepers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := Sweep(OS{}, dir); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for n := range 4 {
		writers.Go(func() {
			for i := range 200 {
				w, err := Create(OS{}, dir)
				if err != nil {
					t.Error(err)
					continue
				}
				fmt.Fprint(w, n, i)
				// No fsync, which would leave little time for what is tested.
				if err := (OS{}).Rename(w.temp, filepath.Join(dir, fmt.Sprintf("%d-%d", n, i))); err != nil {
					t.Error(err)
				}
				w.close()
			}
		})
	}
	writers.Wait()
	close(done)
	sweepers.Wait()
	if n := len(namesIn(t, dir)); n != 800 {
		t.Errorf("%d files, 800 were written", n)
	}
}

// A sweep that has the lock is about to remove the file.
func TestLockTempIsGone(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "temp"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Remove(f.Name()); err != nil {
		t.Fatal(err)
	}
	if mine, err := lockTemp(f); mine || err != nil {
		t.Errorf("a file that was swept away is a writer's: %v, %v", mine, err)
	}
}

func namesIn(t *testing.T, dir string) []string {
	t.Helper()
	held, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := []string{}
	for _, e := range held {
		out = append(out, e.Name())
	}
	return out
}

// A folder on its way belongs to one process, and what a killed one has left in
// it is gone for the next; what somebody else has put in its place is not.
func TestClaim(t *testing.T) {
	dir := t.TempDir()
	stage := filepath.Join(dir, ".out.build")
	first, err := Claim(stage)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(stage, "a/b"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Claim(stage); !errors.Is(err, ErrClaimed) {
		t.Errorf("claimed twice: %v", err)
	}
	first.Close()
	second, err := Claim(stage)
	if err != nil || len(namesIn(t, stage)) > 0 {
		t.Fatalf("%v, left are %q", err, namesIn(t, stage))
	}
	if err := os.Rename(stage, filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	third, err := Claim(stage) // the lock went with the folder
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
	third.Close()
	for name, put := range map[string]func(string) error{
		"link": func(name string) error { return os.Symlink("out", name) },
		"file": func(name string) error { return os.WriteFile(name, []byte("x"), 0o644) },
	} {
		name = filepath.Join(dir, name)
		if err := put(name); err != nil {
			t.Fatal(err)
		}
		if _, err := Claim(name); !errors.Is(err, ErrInTheWay) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Lstat(name); err != nil {
			t.Error(err)
		}
	}
	if _, err := Claim(filepath.Join(dir, "nowhere/x")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}
