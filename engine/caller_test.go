package engine

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Who starts rebuild, and how, must show in no stage: the tests of what a stage
// sees and of what it builds run again as an ordinary user, and as a root whose
// shell was set up oddly. They compare with the same golden files, and the
// digest of TestSolve must be the one that this process gets.
func TestOtherCallers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become another user")
	}
	b := newBench(t, "", nil)
	built := "built " + string(b.solve(b.job("hello", hello)).Manifest)
	rc, err := b.runc()
	if err != nil {
		t.Fatal(err)
	}
	dir := openFolder(t, rc.path)
	t.Run("ordinary user", func(t *testing.T) {
		if setting("/proc/sys/user/max_user_namespaces") == "0" {
			lacking(t, "user namespaces are off on this machine")
		}
		again(t, dir, built, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}})
	})
	t.Run("odd root", func(t *testing.T) {
		again(t, dir, built, &syscall.SysProcAttr{Setsid: true})
	})
}

// openFolder is a folder that every user can read and that holds what a run of
// this test needs.
func openFolder(t *testing.T, runc string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "caller")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	program, err := probe()
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(os.Chmod(dir, 0o755), os.Mkdir(filepath.Join(dir, "tmp"), 0o777), os.Chmod(filepath.Join(dir, "tmp"), 0o777),
		os.CopyFS(filepath.Join(dir, "testdata"), os.DirFS("testdata")), os.WriteFile(filepath.Join(dir, "probe"), program, 0o755))
	for to, from := range map[string]string{"engine.test": "/proc/self/exe", "runc": runc} {
		_, cerr := copyExecutable(filepath.Join(dir, to), from)
		err = errors.Join(err, cerr, os.Chmod(filepath.Join(dir, to), 0o755))
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// again runs the tests of this binary under attr and in surroundings that a
// stage must not see: personality, umask, limits, ignored signals, an open
// descriptor and variables.
func again(t *testing.T, dir, built string, attr *syscall.SysProcAttr) {
	t.Helper()
	const odd = `umask 077; ulimit -S -s 4096; ulimit -S -c unlimited; trap "" INT HUP USR1; exec 9</etc/passwd; exec "$@"`
	cmd := exec.Command("/bin/sh", "-c", odd, "sh", filepath.Join(dir, "engine.test"),
		"-test.v", "-test.run", "^(TestSolve|TestChain|TestSurroundings|TestVariation|TestHostileExports)$")
	cmd.Dir = dir
	cmd.Env = []string{"HOME=" + filepath.Join(dir, "tmp"), "TMPDIR=" + filepath.Join(dir, "tmp"), "PATH=/usr/bin:/bin", "LANG=de_DE.UTF-8",
		"REBUILD_RUNC=" + filepath.Join(dir, "runc"), "REBUILD_PROBE=" + filepath.Join(dir, "probe"), "REBUILD_REQUIRE_ENGINE=1"}
	cmd.SysProcAttr = attr
	out, err := oddly(cmd)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), built) {
		t.Errorf("did not get what this process %s:\n%s", built, out)
	}
}

// oddly runs cmd without address randomisation and with a slack timer.
func oddly(cmd *exec.Cmd) (out []byte, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocks: the thread is thrown away
		unix.Syscall(unix.SYS_PERSONALITY, personalityAddrNoRandomze, 0, 0)
		unix.Prctl(unix.PR_SET_TIMERSLACK, 1000000, 0, 0, 0)
		os.WriteFile("/proc/self/coredump_filter", []byte("0x7f"), 0)
		ignored := sigaction{handler: sigIgn}
		unix.RawSyscall6(unix.SYS_RT_SIGACTION, 32, uintptr(unsafe.Pointer(&ignored)), 0, 8, 0, 0)
		defer heed(32)
		out, err = cmd.CombinedOutput()
	}()
	<-done
	return out, err
}
