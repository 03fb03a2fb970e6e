package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
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
var needsRoom = map[string]bool{"open": true, "write": true, "pwrite": true, "mkdir": true, "link": true, "rename": true, "fsync": true,
	"truncate": true, "symlink": true, "syncfs": true, "chmod": true, "chown": true, "utime": true, "xattr": true}

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
	case unix.SYS_RENAME, unix.SYS_LINK:
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
	case unix.SYS_OPEN, unix.SYS_CREAT, unix.SYS_OPENAT, unix.SYS_OPENAT2:
		return opens(pid, r)
	case unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_SENDFILE:
		return "write", fd(r.Rdi)
	case unix.SYS_PWRITE64, unix.SYS_PWRITEV, unix.SYS_PWRITEV2:
		return "pwrite", fd(r.Rdi)
	case unix.SYS_COPY_FILE_RANGE, unix.SYS_SPLICE:
		return "write", fd(r.Rdx)
	case unix.SYS_IOCTL:
		if uint32(r.Rsi) != unix.FICLONE && uint32(r.Rsi) != unix.FICLONERANGE {
			return "", ""
		}
		return "write", fd(r.Rdi)
	case unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_SYNC_FILE_RANGE:
		return "fsync", fd(r.Rdi)
	case unix.SYS_SYNCFS:
		return "syncfs", fd(r.Rdi)
	case unix.SYS_FTRUNCATE, unix.SYS_FALLOCATE:
		return "truncate", fd(r.Rdi)
	case unix.SYS_TRUNCATE:
		return "truncate", at(here, r.Rdi)
	case unix.SYS_MKDIRAT, unix.SYS_MKNODAT:
		return "mkdir", at(r.Rdi, r.Rsi)
	case unix.SYS_MKDIR, unix.SYS_MKNOD:
		return "mkdir", at(here, r.Rdi)
	case unix.SYS_UNLINKAT:
		return "unlink", at(r.Rdi, r.Rsi)
	case unix.SYS_UNLINK, unix.SYS_RMDIR:
		return "unlink", at(here, r.Rdi)
	case unix.SYS_RENAME:
		return "rename", at(here, r.Rsi)
	case unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2:
		return "rename", at(r.Rdx, r.R10)
	case unix.SYS_LINK:
		return "link", at(here, r.Rsi)
	case unix.SYS_LINKAT:
		return "link", at(r.Rdx, r.R10)
	case unix.SYS_SYMLINK:
		return "symlink", at(here, r.Rsi)
	case unix.SYS_SYMLINKAT:
		return "symlink", at(r.Rsi, r.Rdx)
	}
	return marks(pid, r)
}

// opens is [writes] for the calls that may make or cut a file.
func opens(pid int, r *unix.PtraceRegs) (name, path string) {
	dir, addr, flags := r.Rdi, r.Rsi, r.Rdx
	switch r.Orig_rax {
	case unix.SYS_OPEN:
		dir, addr, flags = here, r.Rdi, r.Rsi
	case unix.SYS_CREAT:
		dir, addr, flags = here, r.Rdi, unix.O_CREAT
	case unix.SYS_OPENAT2:
		flags = word(pid, r.Rdx)
	}
	if flags&(unix.O_CREAT|unix.O_TRUNC) == 0 && flags&unix.O_TMPFILE != unix.O_TMPFILE {
		return "", ""
	}
	return "open", named(pid, dir, addr)
}

// marks is [writes] for the calls that change only what is said about a file.
func marks(pid int, r *unix.PtraceRegs) (name, path string) {
	switch r.Orig_rax {
	case unix.SYS_FCHMOD:
		return "chmod", descriptor(pid, r.Rdi)
	case unix.SYS_CHMOD:
		return "chmod", named(pid, here, r.Rdi)
	case unix.SYS_FCHMODAT, unix.SYS_FCHMODAT2:
		return "chmod", named(pid, r.Rdi, r.Rsi)
	case unix.SYS_FCHOWN:
		return "chown", descriptor(pid, r.Rdi)
	case unix.SYS_CHOWN, unix.SYS_LCHOWN:
		return "chown", named(pid, here, r.Rdi)
	case unix.SYS_FCHOWNAT:
		return "chown", named(pid, r.Rdi, r.Rsi)
	case unix.SYS_UTIMENSAT:
		if r.Rsi == 0 {
			return "utime", descriptor(pid, r.Rdi)
		}
		return "utime", named(pid, r.Rdi, r.Rsi)
	case unix.SYS_FSETXATTR, unix.SYS_FREMOVEXATTR:
		return "xattr", descriptor(pid, r.Rdi)
	case unix.SYS_SETXATTR, unix.SYS_LSETXATTR, unix.SYS_REMOVEXATTR, unix.SYS_LREMOVEXATTR:
		return "xattr", named(pid, here, r.Rdi)
	}
	return "", ""
}

// word reads a number of another process.
func word(pid int, addr uint64) uint64 {
	var buf [8]byte
	if n, err := unix.PtracePeekData(pid, uintptr(addr), buf[:]); err != nil || n != len(buf) {
		return 0
	}
	return binary.LittleEndian.Uint64(buf[:])
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
func clocked() { os.Exit(runClocked(context.Background(), os.Args[1:], os.Stdout)) }

func runClocked(ctx context.Context, args []string, out *os.File) int {
	at, err := time.Parse(time.RFC3339, os.Getenv("CLOCK"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "clocked:", err)
		return 99
	}
	return run(ctx, args, world{
		stdin: os.Stdin, stdout: out, stderr: os.Stderr,
		getenv: os.Getenv, now: func() time.Time { return at }, wall: time.Now, random: rand.Reader,
	})
}

// hubbed is clocked beside a hub, both in this process, so that what happens to
// a call happens to one of them or, if it is a kill, to both.
//
//	hubbed SERVE... -- ARGS...
//
// HUB among the arguments is the hub's address.
func hubbed() {
	serve, args := os.Args[1:], []string(nil)
	if i := slices.Index(serve, "--"); i >= 0 {
		serve, args = serve[:i], slices.Clone(serve[i+1:])
	}
	ctx, end := context.WithCancel(context.Background())
	said, out, err := os.Pipe()
	if err != nil {
		fmt.Fprintln(os.Stderr, "hubbed:", err)
		os.Exit(99)
	}
	ended := make(chan int, 1)
	go func() {
		ended <- runClocked(ctx, serve, out)
		out.Close()
	}()
	line, err := bufio.NewReader(said).ReadString('\n')
	if err != nil { // the hub has said why
		os.Exit(<-ended)
	}
	go io.Copy(io.Discard, said)
	for i := range args {
		if args[i] == "HUB" {
			args[i] = strings.TrimSpace(line)
		}
	}
	status := runClocked(context.Background(), args, os.Stdout)
	end()
	if last := <-ended; status == 0 {
		status = last
	}
	os.Exit(status)
}
