package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Each folder of docs/examples has a README.md that shows commands as typed,
// with what they print and, if it is not 0, their exit status. They are run
// here in the order of the page, in a copy of all examples, by a shell that has
// no network. REBUILD_UPDATE=1 writes down what they print.
func TestExamples(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob(filepath.Join(docsDir, "examples", "*", "README.md"))
	if err != nil || len(pages) == 0 {
		t.Fatal("no examples", err)
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

// printed runs one line of a page and returns what it prints as the page shows
// it, stdout first, and its exit status if that is not 0.
func printed(t *testing.T, dir, home, line string) []string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	c := exec.Command("sh", "-c", line)
	c.Dir, c.Stdout, c.Stderr, c.Env = dir, &stdout, &stderr, environment(home)
	if os.Geteuid() == 0 {
		c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	}
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
