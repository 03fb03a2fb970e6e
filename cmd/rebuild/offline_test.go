package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// released is a small release that was made once, in a copy of the cast.
var released struct {
	once sync.Once
	dir  string
	err  error
}

// releaseDir returns the folder of the release: out, index, results and the
// rest of the cast. Tests must not change it.
func releaseDir(t testing.TB) string {
	t.Helper()
	from := cast(t)
	released.once.Do(func() {
		released.dir = filepath.Join(filepath.Dir(cache), "released")
		if released.err = copyMissing(released.dir, from); released.err != nil {
			return
		}
		for _, name := range []string{"north", "south"} {
			rebuild(t, "attest", "--pipeline", released.dir, "--state", filepath.Join(released.dir, name), "--operator", name,
				"--key", filepath.Join(released.dir, "keys", name+".key"), "--out", filepath.Join(released.dir, "results")).must(t)
		}
		rebuild(t, releaseArgs(released.dir)...).must(t)
	})
	if released.err != nil {
		t.Fatal(released.err)
	}
	return released.dir
}

// verifyArgs are those of a verification of everything that was released.
func verifyArgs(dir string) []string {
	in := func(name string) string { return filepath.Join(dir, name) }
	return []string{"verify", in("out/hello-0.1.0.rbundle"), "--policy", in("policy.toml"), "hello@0.1.0",
		"--artifact", in("out/hello-0.1.0.tar"), "--artifact", in("out/image"), "--index", in("index")}
}

// What verify believes must be in the files at hand. A socket would be a place
// where somebody else could answer, or learn who installs what.
func TestVerifyOpensNoSocket(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		lacking(t, "needs strace: apt-get install strace")
	}
	if out, err := exec.Command(strace, "-f", "-e", "trace=network", "true").CombinedOutput(); err != nil {
		lacking(t, "strace can not trace here: %v\n%s", err, out)
	}
	c := rebuild(t, verifyArgs(releaseDir(t))...)
	log := filepath.Join(t.TempDir(), "trace")
	c.Args = append([]string{"strace", "-f", "-qq", "-e", "trace=network", "-o", log, c.Path}, c.Args[1:]...)
	c.Path = strace
	if out := c.must(t); !bytes.Contains(out, []byte("verified hello 0.1.0")) {
		t.Errorf("%s", out)
	}
	calls := regexp.MustCompile(`(?m)^.*\b(socket|socketpair|connect|bind|sendto|recvfrom|sendmsg)\(.*$`)
	if found := calls.FindAll(read(t, log), -1); len(found) > 0 {
		t.Errorf("network calls:\n%s", bytes.Join(found, []byte("\n")))
	}
}

// The same where there is no network at all, not even a loopback interface.
func TestG38_VerifyWithoutANetwork(t *testing.T) {
	t.Parallel()
	c := rebuild(t, verifyArgs(releaseDir(t))...)
	isolated(c.Cmd)
	if err := c.Start(); err != nil {
		if os.Geteuid() != 0 && os.IsPermission(err) {
			lacking(t, "needs user namespaces: %v", err)
		}
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, c.err.String())
	}
	if !strings.Contains(c.out.String(), "verified hello 0.1.0") {
		t.Error(c.out.String())
	}
}

// A stopped network must not stop a verification either: the clock alone is
// asked. The same bytes and the same policy give the same answer twice.
func TestVerifyTwice(t *testing.T) {
	t.Parallel()
	dir := releaseDir(t)
	a := rebuild(t, append(verifyArgs(dir), "--json")...).must(t)
	b := rebuild(t, append(verifyArgs(dir), "--json")...)
	b.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if !bytes.Equal(a, b.must(t)) {
		t.Errorf("two answers:\n%s\n%s", a, b.out.String())
	}
}
