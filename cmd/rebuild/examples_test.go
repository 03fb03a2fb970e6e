package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// Each folder of docs/examples has a README.md that shows commands as typed,
// with what they print and, if it is not 0, their exit status. They are run
// here in the order of the page, in a copy of all examples, by a shell that has
// no network but its own loopback. REBUILD_UPDATE=1 writes down what they print.
func TestExamples(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob(filepath.Join(docsDir, "examples", "*", "README.md"))
	if err != nil || len(pages) == 0 {
		t.Fatal("no examples", err)
	}
	list := string(read(t, filepath.Join(docsDir, "examples", "README.md")))
	for _, page := range pages {
		if name := filepath.Base(filepath.Dir(page)); !strings.Contains(list, "("+name+"/README.md)") {
			t.Errorf("the list of examples has no %s", name)
		}
	}
	for _, page := range pages {
		t.Run(filepath.Base(filepath.Dir(page)), func(t *testing.T) {
			t.Parallel()
			runExample(t, page)
		})
	}
}

func runExample(t *testing.T, page string) {
	top, home := t.TempDir(), t.TempDir()
	if err := os.CopyFS(top, os.DirFS(filepath.Join(docsDir, "examples"))); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(top, filepath.Base(filepath.Dir(page)))
	ownNetwork(t)
	t.Cleanup(func() { endServers(t, dir) })
	text := string(read(t, page))
	var out []string
	commands := 0
	for rest := strings.Split(text, "\n"); len(rest) > 0; {
		line := rest[0]
		rest = rest[1:]
		out = append(out, line)
		if !strings.HasPrefix(line, typed) {
			continue
		}
		commands++
		out = append(out, printed(t, dir, home, strings.TrimPrefix(line, typed))...)
		for len(rest) > 0 && strings.HasPrefix(rest[0], "    ") && !strings.HasPrefix(rest[0], typed) {
			rest = rest[1:]
		}
	}
	if commands == 0 {
		t.Fatalf("%s shows no command", page)
	}
	got := strings.Join(out, "\n")
	if sameLines(strings.Split(got, "\n"), strings.Split(text, "\n")) {
		return
	}
	if !updating() {
		t.Fatalf("%s shows other answers than these:\n%s", page, differing(text, got))
	}
	if err := os.WriteFile(page, []byte(got), 0o644); err != nil {
		t.Fatal(err)
	}
}

// ownNetwork takes this test, with all that it starts, off the network; only root
// may. The thread is not given back, so that no other test gets it.
func ownNetwork(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(s)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, lo); err != nil {
		t.Fatal(err)
	}
}

// endServers ends what a page started and did not come to end: it left its
// number in a file NAME.pid.
func endServers(t *testing.T, dir string) {
	files, _ := filepath.Glob(filepath.Join(dir, "*.pid"))
	for _, file := range files {
		pid, err := strconv.Atoi(strings.TrimSpace(string(read(t, file))))
		if err == nil && t.Failed() {
			syscall.Kill(pid, syscall.SIGTERM)
		}
	}
}

// printed runs one line of a page and returns what it prints as the page shows
// it, stdout first, and its exit status if that is not 0.
func printed(t *testing.T, dir, home, line string) []string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c := exec.Command("sh", "-c", line)
	c.Dir, c.Stdout, c.Stderr, c.Env = dir, &stdout, &stderr, environment(home)
	err := c.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatalf("%s: %v", line, err)
	}
	var out []string
	for _, text := range []string{stdout.String(), stderr.String()} {
		for shown := range strings.Lines(text) {
			shown = shownAs(strings.ReplaceAll(shown, dir, "$PWD"))
			out = append(out, strings.TrimRight("    "+shown, " \n"))
		}
	}
	if status := c.ProcessState.ExitCode(); status != 0 {
		out = append(out, fmt.Sprintf("    exit %d", status))
	}
	return out
}

// differing returns the lines of two texts that the other does not have.
func differing(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	var out []string
	for _, line := range a {
		if !slices.Contains(b, line) {
			out = append(out, "- "+line)
		}
	}
	for _, line := range b {
		if !slices.Contains(a, line) {
			out = append(out, "+ "+line)
		}
	}
	return strings.Join(out, "\n")
}

// A17: what the examples show is shown without a network: even a server on this
// machine is out of their reach.
func TestA17ExamplesHaveNoNetwork(t *testing.T) {
	t.Parallel()
	needRoot(t)
	var asked atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer s.Close()
	ownNetwork(t)
	out := printed(t, t.TempDir(), t.TempDir(), "rebuild index show "+s.URL+"/index/")
	if text := strings.Join(out, "\n"); !strings.Contains(text, "error[INDEX_FETCH]") || !strings.HasSuffix(text, "exit 4") || asked.Load() != 0 {
		t.Errorf("asked %d times:\n%s", asked.Load(), text)
	}
}
