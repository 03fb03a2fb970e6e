package translog_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"rebuild/index/translog"
	"rebuild/internal/fault"
)

var sweep = flag.Bool("sweep", false, "inject a fault at every system call instead of a part of them")

// The victim's batch crosses a full tile, so that partial tiles are collected.
const (
	victimFrom = 100
	victimTo   = 300
)

// TestMain makes of the test binary a process that writes a log and can be
// killed: VICTIM names its directory, and what it does there.
func TestMain(m *testing.M) {
	how, dir, is := strings.Cut(os.Getenv("VICTIM"), ":")
	if !is {
		os.Exit(m.Run())
	}
	if err := victim(how, dir); err != nil {
		fmt.Fprintf(os.Stderr, "%s %v\n", fault.CodeOf(err), err)
		os.Exit(1)
	}
	os.Exit(0)
}

func victim(how, dir string) error {
	ctx := context.Background()
	if how == "create" {
		_, err := translog.Create(ctx, dir, options())
		return err
	}
	l, err := translog.Open(ctx, dir, options())
	if err != nil {
		return err
	}
	err = l.Append(ctx, leaves(victimFrom, victimTo))
	if err != nil && how == "again" && l.Size() == victimFrom {
		err = l.Append(ctx, leaves(victimFrom, victimTo))
	}
	return errors.Join(err, l.Close(ctx))
}

// calls are the system calls by which a log is written.
var calls = []string{"openat", "write", "fsync", "renameat", "unlinkat", "mkdirat", "fcntl", "linkat"}

// injected is one run of a victim with a fault.
type injected struct {
	err  error  // of the process
	said string // on standard error
	at   string // the first call that was hit, "" for none
	all  string // and all of them, a line each: every thread has its own n-th call
}

// traced splits a line of strace into thread, call and the rest. Where threads
// take turns, the beginning of a call and its end are lines of their own.
var traced = regexp.MustCompile(`^(\d+) +(?:<\.\.\. )?(\w+)(?:\(| resumed>)(.*)$`)

// hits are the calls in a trace that a fault was injected into, in order.
func hits(trace []byte) (out []string) {
	begun := map[string]string{} // by thread
	for line := range strings.Lines(string(trace)) {
		m := traced.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			continue
		}
		call := begun[m[1]] + m[3]
		delete(begun, m[1])
		if first, unfinished := strings.CutSuffix(m[3], "<unfinished ...>"); unfinished {
			begun[m[1]] = first
		} else if strings.HasSuffix(call, "(INJECTED)") {
			out = append(out, m[2]+" "+call)
		}
	}
	return out
}

// Calls that were cut in two by another thread's line count too, or a fault in a
// second thread would pass for one that nothing explains.
func TestHits(t *testing.T) {
	trace := `7 openat(AT_FDCWD, "a", O_RDONLY <unfinished ...>
8 write(3, "(INJECTED)", 10) = 10
9  openat(AT_FDCWD, "b", O_RDONLY) = -1 EIO (Input/output error) (INJECTED)
7  <... openat resumed>) = -1 EIO (Input/output error) (INJECTED)
7 +++ exited with 0 +++
`
	want := []string{
		`openat AT_FDCWD, "b", O_RDONLY) = -1 EIO (Input/output error) (INJECTED)`,
		`openat AT_FDCWD, "a", O_RDONLY ) = -1 EIO (Input/output error) (INJECTED)`,
	}
	if got := hits([]byte(trace)); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// inject runs the victim with a fault at the n-th call of each of its threads.
func inject(t *testing.T, how, dir, call, fault string, n int) injected {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	// As many calls of as few threads as can be: the count is of one thread.
	c := exec.Command("strace", "-f", "-qq", "-y", "-o", trace, "-e", "trace="+call,
		"-e", fmt.Sprintf("inject=%s:%s:when=%d", call, fault, n), os.Args[0])
	c.Env = append(os.Environ(), "VICTIM="+how+":"+dir, "GOMAXPROCS=1")
	var said bytes.Buffer
	c.Stderr = &said
	err := c.Run()
	log, readErr := os.ReadFile(trace)
	must(t, readErr)
	r := injected{err: err, said: said.String()}
	if all := hits(log); len(all) > 0 {
		r.all = strings.ReplaceAll(strings.Join(all, "\n"), dir, "")
		r.at, _, _ = strings.Cut(r.all, "\n")
	} else if bytes.Contains(log, []byte("+++ killed by SIGKILL +++")) {
		r.at = "killed"
	}
	return r
}

func needStrace(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("strace", "-f", "-e", "trace=openat", "-o", filepath.Join(t.TempDir(), "trace"), "true").CombinedOutput(); err != nil {
		if os.Getenv("REBUILD_REQUIRE_ENGINE") != "" {
			t.Fatalf("strace can not trace here: %v\n%s", err, out)
		}
		t.Skipf("strace can not trace here: %v\n%s", err, out)
	}
}

// injectAll runs the victim with every fault at every call, until a call is
// made no more, and hands each result to check.
func injectAll(t *testing.T, how string, start func(t *testing.T) string, check func(t *testing.T, dir string, r injected)) {
	t.Helper()
	needStrace(t)
	step := 11
	if *sweep {
		step = 1
	}
	if testing.Short() {
		step = 25
	}
	var mu sync.Mutex
	runs, seen := 0, map[string]bool{}
	t.Run("faults", func(t *testing.T) {
		for _, call := range calls {
			for k, f := range []string{"signal=SIGKILL", "error=EIO", "error=ENOSPC"} {
				t.Run(call+" "+f, func(t *testing.T) {
					t.Parallel()
					for n := 1 + k%step; ; n += step {
						dir := start(t)
						r := inject(t, how, dir, call, f, n)
						check(t, dir, r)
						if t.Failed() {
							t.Fatalf("at call %d, %s", n, r.at)
						}
						if r.at == "" {
							break
						}
						mu.Lock()
						runs++
						seen[r.at] = true
						mu.Unlock()
					}
				})
			}
		}
	})
	t.Logf("%d faults, of them at calls that are told apart: %d", runs, len(seen))
	if runs < 10 {
		t.Errorf("%d faults were injected", runs)
	}
}

// folder returns the names and contents of everything, also empty directories.
func folder(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := files(t, dir)
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			out[strings.TrimPrefix(path, dir)+"/"] = ""
		}
		return err
	}))
	return out
}

// Whatever stops a batch, the log is of the size before it or after it, and
// the batch again ends in the same bytes.
func TestFaultsWhileAppending(t *testing.T) {
	before := t.TempDir()
	l := create(t, before)
	must(t, l.Append(t.Context(), leaves(0, 60)))
	must(t, l.Append(t.Context(), leaves(60, victimFrom)))
	after := t.TempDir()
	must(t, os.CopyFS(after, os.DirFS(before)))
	must(t, reopen(t, after).Append(t.Context(), leaves(victimFrom, victimTo)))
	want := folder(t, after)
	root := checkpoint(t, after).Root
	start := func(t *testing.T) string {
		dir := t.TempDir()
		must(t, os.CopyFS(dir, os.DirFS(before)))
		return dir
	}
	hows := []string{"append", "again"} // the second goes on in the process that met the fault
	if testing.Short() {
		hows = hows[:1]
	}
	for _, how := range hows {
		t.Run(how, func(t *testing.T) {
			injectAll(t, how, start, func(t *testing.T, dir string, r injected) {
				onlyAsErrors(t, r)
				l := reopen(t, dir)
				if l.Size() != victimFrom && l.Size() != victimTo || r.err == nil && l.Size() != victimTo {
					t.Fatalf("the process ended with %v and left %d leaves: %s", r.err, l.Size(), r.said)
				}
				if c := checkpoint(t, dir); c.Size != l.Size() {
					t.Errorf("the checkpoint is of %d leaves, the log has %d", c.Size, l.Size())
				}
				if l.Size() == victimFrom {
					must(t, l.Append(t.Context(), leaves(victimFrom, victimTo)))
				}
				same(t, folder(t, dir), want)
				if c := checkpoint(t, dir); c.Root != root || c.Size != victimTo {
					t.Errorf("the checkpoint is of %d leaves with root %s, want %s", c.Size, c.Root, root)
				}
			})
		})
	}
}

// A log whose making was stopped is made by doing it again, or is there.
func TestFaultsWhileCreating(t *testing.T) {
	whole := t.TempDir()
	create(t, whole)
	want := folder(t, whole)
	injectAll(t, "create", func(t *testing.T) string { return t.TempDir() }, func(t *testing.T, dir string, r injected) {
		onlyAsErrors(t, r)
		_, err := translog.Open(t.Context(), dir, options())
		if fault.CodeOf(err) == fault.Usage && r.err != nil {
			_, err = translog.Create(t.Context(), dir, options())
		}
		must(t, err)
		same(t, folder(t, dir), want)
	})
}

// onlyAsErrors wants a process that was not killed to say what went wrong, and
// nothing else. Go's runtime may fail on its own files, and Tessera panics on a
// goroutine of its own where it can not take or leave its lock.
func onlyAsErrors(t *testing.T, r injected) {
	t.Helper()
	switch {
	case r.err == nil && r.said == "":
	case r.at == "killed" || strings.Contains(r.said, "fatal error: "):
	case strings.Contains(r.said, "panic: ") && strings.Contains(r.all, "treeState.lock"):
	case r.err != nil && r.said == "" && strings.Contains("\n"+r.all, "\nwrite 2<"): // it could not say it
	case r.err != nil && strings.HasPrefix(r.said, string(fault.Internal)+" ") && strings.Count(r.said, "\n") == 1:
	default:
		t.Errorf("at %s the process ended with %v and said\n%s", r.all, r.err, r.said)
	}
}
