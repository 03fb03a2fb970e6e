package main

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// interfered runs a command, clocked or hubbed, with its n-th writing call below dir
// tampered with (see interfere), at a fixed time, and returns the calls that
// were made, the exit status and what was printed.
func interfered(t testing.TB, n int, what, dir, home string, args ...string) (calls []string, status int, output string) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "calls")
	c := exec.Command("interfere", append([]string{strconv.Itoa(n), what, dir, log}, args...)...)
	c.Env = sweepEnvironment(home)
	out, err := c.CombinedOutput()
	if c.ProcessState == nil || c.ProcessState.ExitCode() == 99 {
		t.Fatalf("%v: %v\n%s", c.Args, err, out)
	}
	return strings.Split(strings.TrimSuffix(string(read(t, log)), "\n"), "\n"), c.ProcessState.ExitCode(), string(out)
}

// The tool that the sweeps rest on finds the calls, and each way to interfere
// does what it says.
func TestInterfere(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	dir := func() string { return filepath.Join(t.TempDir(), "new") }
	whole := dir()
	calls, status, out := interfered(t, 0, "KILL", whole, home, "clocked", "init", whole)
	if status != 0 || len(calls) < 5 {
		t.Fatalf("exit %d, %d calls: %q\n%s", status, len(calls), calls, out)
	}
	for n := 1; n <= len(calls); n++ {
		for what, want := range map[string]int{"KILL": 137, "EIO": 1, "ENOSPC": 1} {
			at := dir()
			made, status, out := interfered(t, n, what, at, home, "clocked", "init", at)
			if len(made) < n || status != want && !strings.HasPrefix(calls[n-1], "unlink") {
				t.Errorf("%s at %d, %s: exit %d\n%s", what, n, calls[n-1], status, out)
			}
		}
	}
}
