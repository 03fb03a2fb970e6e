package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// interfere runs a command under ptrace and interferes with one of its system
// calls that write below a folder, whichever of its threads makes it. strace
// counts the calls of each thread for itself, so it can not name the n-th.
//
//	interfere N KILL|EIO|ENOSPC|ENOSPC+ DIR LOG CMD ARGS...
//
// The N-th call does not take place; the process is killed, or the call
// fails, with "+" every later one that needs room too. N of 0 only counts. LOG
// gets a line for each call. The exit status is the command's, 137 if killed.
func interfere() {
	runtime.LockOSThread() // ptrace is by thread
	if len(os.Args) < 6 {
		fmt.Fprintln(os.Stderr, "usage: interfere N WHAT DIR LOG CMD ARGS...")
		os.Exit(2)
	}
	n, err := strconv.Atoi(os.Args[1])
	if err == nil {
		i := &interference{at: n, what: os.Args[2], below: filepath.Clean(os.Args[3]) + "/", inside: map[int]*inCall{}}
		var status int
		status, err = i.run(os.Args[5:])
		if err == nil {
			err = os.WriteFile(os.Args[4], i.log.Bytes(), 0o644)
		}
		if err == nil {
			os.Exit(status)
		}
	}
	fmt.Fprintln(os.Stderr, "interfere:", err)
	os.Exit(99)
}

type interference struct {
	at    int
	what  string
	below string
	count int
	log   bytes.Buffer
	root  int
	// The call that each thread is in.
	inside map[int]*inCall
}

type inCall struct{ fail bool }

func (i *interference) run(argv []string) (int, error) {
	c := exec.Command(argv[0], argv[1:]...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := c.Start(); err != nil {
		return 0, err
	}
	i.root = c.Process.Pid
	var ws unix.WaitStatus
	if _, err := unix.Wait4(i.root, &ws, 0, nil); err != nil {
		return 0, err
	}
	const follow = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK |
		unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_EXITKILL
	if err := unix.PtraceSetOptions(i.root, follow); err != nil {
		return 0, err
	}
	if err := unix.PtraceSyscall(i.root, 0); err != nil {
		return 0, err
	}
	for {
		pid, err := unix.Wait4(-1, &ws, unix.WALL, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, err
		}
		if ws.Exited() || ws.Signaled() {
			delete(i.inside, pid)
			if pid != i.root {
				continue
			}
			if ws.Signaled() {
				return 128 + int(ws.Signal()), nil
			}
			return ws.ExitStatus(), nil
		}
		if err := i.stopped(pid, ws); err != nil && !errors.Is(err, unix.ESRCH) { // killed between two calls
			return 0, err
		}
	}
}

// stopped lets a stopped thread go on, after a look at the call that it stands
// before or behind.
func (i *interference) stopped(pid int, ws unix.WaitStatus) error {
	deliver := 0
	switch sig := ws.StopSignal(); {
	case sig == unix.SIGTRAP|0x80:
		if err := i.call(pid); err != nil {
			return err
		}
	case sig == unix.SIGTRAP: // clone, fork, exec
	case sig == unix.SIGSTOP: // a new thread
	default:
		deliver = int(sig)
	}
	return unix.PtraceSyscall(pid, deliver)
}

func (i *interference) call(pid int) error {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(pid, &regs); err != nil {
		return err
	}
	if in := i.inside[pid]; in != nil {
		delete(i.inside, pid)
		if !in.fail {
			return nil
		}
		regs.Rax = -uint64(i.errno()) & (1<<64 - 1)
		return unix.PtraceSetRegs(pid, &regs)
	}
	in := &inCall{}
	i.inside[pid] = in
	name, path := writes(pid, &regs)
	if name == "" || !strings.HasPrefix(path+"/", i.below) {
		return nil
	}
	i.count++
	line := name + " " + strings.TrimPrefix(path, i.below)
	if from := moved(pid, &regs); from != "" {
		line += " " + strings.TrimPrefix(from, i.below)
	}
	if name == "open" && regs.Rdx&unix.O_SYNC == unix.O_SYNC {
		line += " sync" // every write is followed by an fsync
	}
	fmt.Fprintln(&i.log, line)
	sticky := strings.HasSuffix(i.what, "+") && i.at > 0 && i.count > i.at && needsRoom[name]
	if i.count != i.at && !sticky {
		return nil
	}
	if i.what == "KILL" {
		return unix.Kill(i.root, unix.SIGKILL)
	}
	in.fail = true
	regs.Orig_rax = 1<<64 - 1 // no such call: nothing takes place
	return unix.PtraceSetRegs(pid, &regs)
}

func (i *interference) errno() unix.Errno {
	if i.what == "EIO" {
		return unix.EIO
	}
	return unix.ENOSPC
}

// needsRoom are the calls that a full disk fails.
var needsRoom = map[string]bool{"open": true, "write": true, "pwrite": true, "mkdir": true, "link": true, "rename": true, "fsync": true}

// descriptor is the path of what a process has open.
func descriptor(pid int, n uint64) string {
	target, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, int32(n)))
	if err != nil {
		return ""
	}
	return target
}

// named is the path that a process names by a folder and an address.
func named(pid int, dir, addr uint64) string {
	p := text(pid, addr)
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	base := ""
	if int32(dir) == unix.AT_FDCWD {
		base, _ = os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
	} else {
		base = descriptor(pid, dir)
	}
	return filepath.Join(base, p)
}

// here stands for the working folder.
const here = uint64(1<<32 + unix.AT_FDCWD)

// moved is the path that a file had before a rename or a link; "" for all other
// calls.
func moved(pid int, r *unix.PtraceRegs) string {
	switch r.Orig_rax {
	case unix.SYS_RENAME:
		return named(pid, here, r.Rdi)
	case unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT:
		return named(pid, r.Rdi, r.Rsi)
	}
	return ""
}

// writes names a system call that writes to a file system, and the path that it
// is about; "" for all others.
func writes(pid int, r *unix.PtraceRegs) (name, path string) {
	fd := func(n uint64) string { return descriptor(pid, n) }
	at := func(dir, addr uint64) string { return named(pid, dir, addr) }
	switch r.Orig_rax {
	case unix.SYS_OPENAT:
		if r.Rdx&(unix.O_CREAT|unix.O_TRUNC) == 0 {
			return "", ""
		}
		return "open", at(r.Rdi, r.Rsi)
	case unix.SYS_WRITE, unix.SYS_WRITEV:
		return "write", fd(r.Rdi)
	case unix.SYS_PWRITE64, unix.SYS_PWRITEV:
		return "pwrite", fd(r.Rdi)
	case unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_SYNC_FILE_RANGE:
		return "fsync", fd(r.Rdi)
	case unix.SYS_FTRUNCATE, unix.SYS_FALLOCATE:
		return "truncate", fd(r.Rdi)
	case unix.SYS_COPY_FILE_RANGE:
		return "write", fd(r.Rdx)
	case unix.SYS_FCHMOD:
		return "chmod", fd(r.Rdi)
	case unix.SYS_FCHMODAT:
		return "chmod", at(r.Rdi, r.Rsi)
	case unix.SYS_MKDIRAT:
		return "mkdir", at(r.Rdi, r.Rsi)
	case unix.SYS_MKDIR:
		return "mkdir", at(here, r.Rdi)
	case unix.SYS_UNLINKAT:
		return "unlink", at(r.Rdi, r.Rsi)
	case unix.SYS_UNLINK, unix.SYS_RMDIR:
		return "unlink", at(here, r.Rdi)
	case unix.SYS_RENAME:
		return "rename", at(here, r.Rsi)
	case unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2:
		return "rename", at(r.Rdx, r.R10)
	case unix.SYS_LINKAT:
		return "link", at(r.Rdx, r.R10)
	case unix.SYS_SYMLINKAT:
		return "link", at(r.Rsi, r.Rdx)
	}
	return "", ""
}

// text reads a string of another process, of up to a path's length.
func text(pid int, addr uint64) string {
	var buf [unix.PathMax]byte
	n, err := unix.PtracePeekData(pid, uintptr(addr), buf[:])
	if err != nil && n == 0 {
		return ""
	}
	s, _, _ := bytes.Cut(buf[:n], []byte{0})
	return string(s)
}

// clocked is the rebuild command with a clock that stands at CLOCK, so that
// two runs can be compared byte for byte.
func clocked() {
	at, err := time.Parse(time.RFC3339, os.Getenv("CLOCK"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "clocked:", err)
		os.Exit(99)
	}
	os.Exit(run(context.Background(), os.Args[1:], world{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		getenv: os.Getenv, now: func() time.Time { return at }, random: rand.Reader,
	}))
}
