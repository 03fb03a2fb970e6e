// Command probe is what the engine's tests run inside stages: it does one
// small thing per invocation and tells what a stage can see of its host.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const prGetSecurebits = 27

// descriptors are the files that were open when the program started.
var descriptors = openFiles()

func openFiles() (open []string) {
	for fd := range 1024 {
		var st syscall.Stat_t
		if syscall.Fstat(fd, &st) != nil {
			continue
		}
		target, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		kind, _, _ := strings.Cut(target, ":") // a pipe's number is nobody's business
		open = append(open, fmt.Sprintf("%d %s", fd, kind))
	}
	return open
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}

func run(args []string) error {
	switch args[0] {
	case "write": // write FILE TEXT
		return os.WriteFile(args[1], []byte(args[2]+"\n"), 0o644)
	case "fill": // fill FILE MEBIBYTES: that many, not compressible by a hole
		return fill(args[1], args[2])
	case "surroundings": // surroundings FILE: everything that could leak
		return os.WriteFile(args[1], []byte(surroundings()), 0o644)
	case "sleep":
		seconds, err := strconv.Atoi(args[1])
		time.Sleep(time.Duration(seconds) * time.Second)
		return err
	case "fail":
		fmt.Println("this stage fails on purpose")
		status, err := strconv.Atoi(args[1])
		if err == nil {
			os.Exit(status)
		}
		return err
	case "link": // link NAME TARGET
		return os.Symlink(args[2], args[1])
	case "touch": // touch FILE YEAR
		year, err := strconv.Atoi(args[2])
		at := time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC)
		return errors.Join(err, os.Chtimes(args[1], at, at))
	case "now": // now FILE: something that no two runs have in common
		return os.WriteFile(args[1], []byte(time.Now().Format(time.RFC3339Nano)), 0o644)
	case "odd": // odd KIND DIRECTORY: a file that few trees have
		if err := os.Chdir(args[2]); err != nil {
			return err
		}
		return odd(args[1])
	case "copy":
		return copyFile(args[1], args[2])
	case "vary": // vary FILE: what a second build may find different
		return os.WriteFile(args[1], []byte(varying()), 0o644)
	}
	return fmt.Errorf("unknown %q", args[0])
}

func fill(name, mebibytes string) error {
	n, err := strconv.Atoi(mebibytes)
	if err != nil {
		return err
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	block := make([]byte, 1<<20)
	state := uint64(1)
	for i := 0; i < n; i++ {
		for j := 0; j < len(block); j += 8 {
			state = state*6364136223846793005 + 1442695040888963407
			block[j], block[j+1], block[j+4] = byte(state>>33), byte(state>>41), byte(state>>49)
		}
		if _, err := f.Write(block); err != nil {
			return err
		}
	}
	return f.Close()
}

// odd makes one strange thing in the working directory.
func odd(kind string) error {
	switch kind {
	case "socket":
		_, err := net.Listen("unix", "socket")
		if err != nil {
			return err
		}
		os.Exit(0) // with the socket in place
	case "whiteout":
		return os.WriteFile(".wh.gone", nil, 0o644)
	case "device":
		return syscall.Mknod("null", syscall.S_IFCHR|0o666, 1<<8|3)
	case "latin1":
		return os.WriteFile("caf\xe9", nil, 0o644)
	case "overlay attribute":
		return errors.Join(os.WriteFile("file", nil, 0o644), syscall.Setxattr("file", "user.overlay.opaque", []byte("y"), 0))
	case "user attribute":
		return errors.Join(os.WriteFile("file", nil, 0o644), syscall.Setxattr("file", "user.note", []byte("y"), 0))
	case "deep":
		for range 600 { // of ten bytes: more than PATH_MAX together
			if err := errors.Join(os.Mkdir("deepfolder", 0o755), os.Chdir("deepfolder")); err != nil {
				return err
			}
		}
		return nil
	case "setuid":
		return errors.Join(os.WriteFile("su", nil, 0o755), os.Chmod("su", 0o755|os.ModeSetuid|os.ModeSetgid))
	case "fifo":
		return syscall.Mkfifo("fifo", 0o644)
	case "links":
		return errors.Join(os.WriteFile("b", []byte("x"), 0o644), os.Link("b", "a"), os.Link("/probe", "probe"), os.Symlink("../../../../etc/passwd", "out"))
	case "locked":
		return errors.Join(os.WriteFile("secret", []byte("x"), 0), os.Mkdir("closed", 0))
	case "many":
		for i := range 30000 {
			if err := os.WriteFile(strconv.Itoa(i), nil, 0o644); err != nil {
				return err
			}
		}
		return nil
	case "newline":
		return os.WriteFile("a\nb %\x01", nil, 0o644)
	}
	return fmt.Errorf("unknown kind %q", kind)
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Close()
}

// surroundings prints, one thing a line, what must be equal on every host.
func surroundings() string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	for _, v := range os.Environ() {
		say("env %s", v)
	}
	host, _ := os.Hostname()
	say("hostname %s", host)
	var uts syscall.Utsname
	syscall.Uname(&uts)
	say("domainname %s", chars(uts.Domainname[:]))
	old := syscall.Umask(0)
	say("umask %04o", old)
	say("uid %d gid %d cwd %s", os.Getuid(), os.Getgid(), must(os.Getwd()))
	for name, n := range map[string]int{"nofile": syscall.RLIMIT_NOFILE, "stack": syscall.RLIMIT_STACK, "core": syscall.RLIMIT_CORE,
		"as": syscall.RLIMIT_AS, "data": syscall.RLIMIT_DATA, "fsize": syscall.RLIMIT_FSIZE, "cpu": syscall.RLIMIT_CPU} {
		var l syscall.Rlimit
		syscall.Getrlimit(n, &l)
		say("limit %s %d %d", name, l.Cur, l.Max)
	}
	for _, file := range []string{"/etc/resolv.conf", "/etc/hosts"} {
		text, err := os.ReadFile(file)
		say("%s %q %v", file, text, err == nil)
	}
	interfaces, _ := net.Interfaces()
	for _, i := range interfaces {
		say("interface %s", i.Name)
	}
	for line := range strings.Lines(string(mustRead("/proc/self/mountinfo"))) {
		mount, source, _ := strings.Cut(strings.TrimSpace(line), " - ")
		m, s := strings.Fields(mount), strings.Fields(source)
		if strings.HasPrefix(m[4], "/proc/") || s[0] == "devtmpfs" {
			continue // masked paths are the kernel's choice; an ordinary user's device nodes are bound
		}
		say("mount %s %s on %s type %s", device(s[1]), m[3], m[4], s[0])
	}
	for line := range strings.Lines(string(mustRead("/proc/self/cgroup"))) {
		groups := strings.SplitN(strings.TrimSpace(line), ":", 3)
		say("cgroup %s", groups[2])
	}
	for line := range strings.Lines(string(mustRead("/proc/self/status"))) {
		for _, key := range []string{"Cap", "NoNewPrivs", "Seccomp:", "SigIgn", "SigBlk"} {
			if strings.HasPrefix(line, key) {
				say("status %s", strings.Join(strings.Fields(line), " "))
			}
		}
	}
	for _, name := range []string{"personality", "coredump_filter", "timerslack_ns"} {
		say("process %s %s", name, strings.TrimSpace(string(mustRead("/proc/self/"+name))))
	}
	securebits, _, _ := syscall.Syscall(syscall.SYS_PRCTL, prGetSecurebits, 0, 0)
	say("process securebits %d", securebits)
	// pid, parent, group, session, terminal
	say("process stat %v", strings.Fields(string(mustRead("/proc/self/stat")))[3:8])
	say("keys %q", mustRead("/proc/keys"))
	for _, f := range descriptors {
		say("descriptor %s", f)
	}
	devices, _ := filepath.Glob("/dev/*")
	say("dev %s", strings.Join(devices, " "))
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	slices.Sort(lines)
	return strings.Join(slices.Compact(lines), "\n") + "\n"
}

// device keeps what is constant of a mount's source.
func device(s string) string {
	if strings.HasPrefix(s, "/dev/") {
		return "disk"
	}
	return s
}

func varying() string {
	var uts syscall.Utsname
	syscall.Uname(&uts)
	var info syscall.Sysinfo_t
	syscall.Sysinfo(&info)
	cpuinfo, _ := os.ReadFile("/proc/cpuinfo")
	personality, _ := os.ReadFile("/proc/self/personality")
	return fmt.Sprintf("cpus %d\nkernel %s\nuptime-days %d\ncpuinfo %v\npersonality %sdomain %s\n",
		runtime.NumCPU(), chars(uts.Release[:]), info.Uptime/86400, len(cpuinfo) > 0, personality, chars(uts.Domainname[:]))
}

func chars(in []int8) string {
	var out []byte
	for _, c := range in {
		if c == 0 {
			break
		}
		out = append(out, byte(c))
	}
	return string(out)
}

func mustRead(name string) []byte {
	b, err := os.ReadFile(name)
	if err != nil {
		return []byte(err.Error())
	}
	return b
}

func must(s string, err error) string {
	if err != nil {
		return err.Error()
	}
	return s
}
