package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// The runtime shim stands between BuildKit and runc. BuildKit runs it as its
// OCI runtime; on `run` and `create` it edits the bundle's config.json, then
// becomes the pinned runc. It takes away what a stock engine lets through of
// the host, refuses root file systems that could aim runc's mounts elsewhere,
// and applies the variation of a deliberate second build.

// Variation changes a stage's surroundings on purpose, so that a build that
// depends on them shows itself. The zero value changes nothing.
type Variation struct {
	CPUs       int    `json:"cpus,omitempty"`       // processors a stage may run on; 0: all
	KernelName bool   `json:"kernelName,omitempty"` // uname reports a 2.6 kernel (UNAME26)
	NoASLR     bool   `json:"noASLR,omitempty"`     // addresses are not randomised
	UptimeDays int    `json:"uptimeDays,omitempty"` // days added to the monotonic and boot clocks
	DomainName string `json:"domainName,omitempty"`
	HideCPU    bool   `json:"hideCPU,omitempty"` // /proc/cpuinfo and /proc/version read empty
}

// Names lists what v varies, in the words of results, sorted.
func (v Variation) Names() []string {
	var names []string
	add := func(on bool, name string) {
		if on {
			names = append(names, name)
		}
	}
	add(v.NoASLR, "aslr")
	add(v.HideCPU, "cpuinfo")
	add(v.CPUs > 0, "cpus")
	add(v.DomainName != "", "domainname")
	add(v.KernelName, "kernel-name")
	add(v.UptimeDays > 0, "uptime")
	return names
}

// runShim is the shim's main: argv as BuildKit gave it to its runtime.
func runShim(args []string) int {
	var cfg childConfig
	raw, err := os.ReadFile(configFile)
	if err == nil {
		err = json.Unmarshal(raw, &cfg)
	}
	if err != nil {
		return shimFailed(fmt.Errorf("reading the engine's configuration: %w", err))
	}
	if bundle, ok := bundleOf(args); ok {
		if err := editBundle(bundle, cfg); err != nil {
			note(filepath.Base(bundle), err)
			return shimFailed(err)
		}
		runtime.LockOSThread() // what is set next belongs to the thread that becomes runc
		resetProcess()
		if err := cfg.Variation.personality(); err != nil {
			return shimFailed(err)
		}
		logTo(args, runcLog(filepath.Base(bundle)))
	}
	runc := filepath.Join(binDir, runcName)
	err = syscall.Exec(runc, append([]string{runcName}, args...), os.Environ())
	return shimFailed(fmt.Errorf("starting %s: %w", runc, err))
}

func shimFailed(err error) int {
	fmt.Fprintf(os.Stderr, "rebuild: runtime: %v\n", err)
	return 125
}

// note leaves an error where the guard finds it. An exit status could be the
// command's own and would say nothing.
func note(container string, err error) {
	os.WriteFile(filepath.Join(notesDir, container), []byte(err.Error()), 0o600)
}

// runcLog is where runc writes its own errors about one container.
func runcLog(container string) string { return filepath.Join(notesDir, container+".log") }

// logTo points runc's log, which BuildKit lets all containers share, at file.
func logTo(args []string, file string) {
	if i := slices.Index(args, "--log"); i >= 0 && i+1 < len(args) {
		args[i+1] = file
	}
}

// bundleOf returns the bundle folder of a run or create command line.
func bundleOf(args []string) (string, bool) {
	starts := false
	for i, a := range args {
		if a == "run" || a == "create" {
			starts = true
		}
		if starts && a == "--bundle" && i+1 < len(args) {
			return args[i+1], true
		}
	}
	return "", false
}

func editBundle(bundle string, cfg childConfig) error {
	path := filepath.Join(bundle, "config.json")
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var spec specs.Spec
	if err := json.Unmarshal(raw, &spec); err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	if why := checkBundle(bundle, &spec); why != nil {
		return fmt.Errorf("%s%w", deniedPrefix, why)
	}
	closeLeaks(&spec, cfg.Rootless)
	if err := cfg.Variation.apply(&spec); err != nil {
		return err
	}
	edited, err := json.Marshal(&spec)
	if err != nil {
		return err
	}
	return os.WriteFile(path, edited, 0o600)
}

func rootfsOf(bundle string, spec *specs.Spec) string {
	root := "rootfs"
	if spec.Root != nil {
		root = spec.Root.Path
	}
	if filepath.IsAbs(root) {
		return root
	}
	return filepath.Join(bundle, root)
}

// checkBundle refuses what only shows when BuildKit has resolved it.
func checkBundle(bundle string, spec *specs.Spec) error {
	if p := spec.Process; p != nil && (p.User.UID != 0 || p.User.GID != 0) {
		return fmt.Errorf("the command would run as %d:%d: /etc/passwd of the root file system says so", p.User.UID, p.User.GID)
	}
	return checkRootfs(rootfsOf(bundle, spec))
}

// checkRootfs refuses a root file system in which one of the folders that runc
// mounts on is a link or a file: a stage could otherwise aim those mounts at
// another place (CVE-2026-41579, CVE-2025-31133, CVE-2025-52565).
func checkRootfs(root string) error {
	for _, name := range []string{"dev", "proc", "sys", "etc"} {
		info, err := os.Lstat(filepath.Join(root, name))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return fmt.Errorf("/%s of the root file system is not a folder but %s", name, info.Mode().Type())
		}
	}
	return nil
}

// closeLeaks removes what reaches a stage from the host under a stock engine.
func closeLeaks(spec *specs.Spec, rootless bool) {
	spec.Domainname = "(none)" // the kernel's own default; the host's may be set
	if p := spec.Process; p != nil {
		kept := p.Env[:0]
		for _, v := range p.Env {
			if !strings.HasPrefix(v, "TRACEPARENT=") && !strings.HasPrefix(v, "TRACESTATE=") && !strings.HasPrefix(v, "OTEL_") {
				kept = append(kept, v)
			}
		}
		p.Env = kept
		umask := uint32(0o022)
		p.User.Umask = &umask
		p.Rlimits = append(p.Rlimits, fixedLimits(p.Rlimits, rootless)...)
	}
	hideCgroup(spec)
	// /sys tells of the host's hardware and control groups, and an ordinary
	// user's stages have none. An empty one keeps the mount point that runc
	// leaves behind in an exported root, as a stock engine's stages have it.
	spec.Mounts = slices.DeleteFunc(spec.Mounts, func(m specs.Mount) bool {
		return m.Destination == "/sys" || strings.HasPrefix(m.Destination, "/sys/")
	})
	spec.Mounts = append(spec.Mounts, specs.Mount{
		Destination: "/sys", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "nodev", "noexec", "ro", "size=0"},
	})
	for i := range spec.Mounts {
		m := &spec.Mounts[i]
		hideSource(m)
		switch m.Destination {
		case "/etc/resolv.conf":
			m.Source = filepath.Join(runDir, "resolv.conf")
		case "/etc/hosts":
			m.Source = filepath.Join(runDir, "hosts."+spec.Hostname)
			if _, err := os.Stat(m.Source); err != nil {
				m.Source = filepath.Join(runDir, "hosts."+stockHostname)
			}
		}
		if rootless {
			// devpts asks for gid 5, which a single-id user namespace has not.
			m.Options = dropPrefix(m.Options, "gid=")
		}
	}
}

// hideSource shows a bound input as an overlay of itself and of nothing, as
// inputs of several layers are shown. As a bind mount it would tell the file
// system and the host's path of the state root. A single file can not be shown
// so and stays as it is.
func hideSource(m *specs.Mount) {
	info, err := os.Lstat(m.Source)
	if m.Type != "bind" || !strings.HasPrefix(m.Source, snapshotsDir+"/") || !slices.Contains(m.Options, "ro") || err != nil || !info.IsDir() {
		return
	}
	m.Type, m.Source, m.Options = "overlay", "overlay", []string{"ro", "lowerdir=" + m.Source + ":" + emptyDir}
}

// hideCgroup gives the container a control group namespace, which BuildKit
// does on cgroup v2 only: the name of its group is random, and below that of
// whatever started the engine.
func hideCgroup(spec *specs.Spec) {
	if spec.Linux == nil || slices.ContainsFunc(spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.CgroupNamespace }) {
		return
	}
	if _, err := os.Stat("/proc/self/ns/cgroup"); err == nil {
		spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
	}
}

// fixedLimits are the limits that programs are known to look at, or fail at,
// and that BuildKit leaves to whoever started it. An ordinary user can only
// lower a hard limit: one that is lower already stays.
func fixedLimits(have []specs.POSIXRlimit, rootless bool) []specs.POSIXRlimit {
	const unlimited = unix.RLIM_INFINITY
	var out []specs.POSIXRlimit
	for _, l := range []struct {
		name     string
		resource int
		value    uint64
	}{
		{"RLIMIT_CORE", unix.RLIMIT_CORE, 0},
		{"RLIMIT_STACK", unix.RLIMIT_STACK, 8 << 20},
		{"RLIMIT_AS", unix.RLIMIT_AS, unlimited},
		{"RLIMIT_CPU", unix.RLIMIT_CPU, unlimited},
		{"RLIMIT_DATA", unix.RLIMIT_DATA, unlimited},
		{"RLIMIT_FSIZE", unix.RLIMIT_FSIZE, unlimited},
	} {
		var now unix.Rlimit
		if limitSet(have, l.name) || unix.Getrlimit(l.resource, &now) != nil || rootless && now.Max < l.value {
			continue
		}
		out = append(out, specs.POSIXRlimit{Type: l.name, Soft: l.value, Hard: l.value})
	}
	return out
}

func limitSet(limits []specs.POSIXRlimit, name string) bool {
	for _, l := range limits {
		if l.Type == name {
			return true
		}
	}
	return false
}

func dropPrefix(options []string, prefix string) []string {
	kept := options[:0]
	for _, o := range options {
		if !strings.HasPrefix(o, prefix) {
			kept = append(kept, o)
		}
	}
	return kept
}

// apply writes the variations that a container specification can express.
func (v Variation) apply(spec *specs.Spec) error {
	if v.DomainName != "" {
		spec.Domainname = v.DomainName
	}
	if spec.Linux == nil {
		return nil
	}
	if v.UptimeDays > 0 {
		seconds := int64(v.UptimeDays) * 86400
		spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.TimeNamespace})
		spec.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"monotonic": {Secs: seconds}, "boottime": {Secs: seconds}}
	}
	if v.HideCPU {
		spec.Linux.MaskedPaths = append(spec.Linux.MaskedPaths, "/proc/cpuinfo", "/proc/version")
	}
	if v.CPUs > 0 {
		// runc resets the affinity it was started with after joining the
		// control group, so the container's process is bound by a hook.
		if spec.Hooks == nil {
			spec.Hooks = &specs.Hooks{}
		}
		spec.Hooks.CreateRuntime = append(spec.Hooks.CreateRuntime, specs.Hook{
			Path: filepath.Join(binDir, hookName), Args: []string{hookName, strconv.Itoa(v.CPUs)},
		})
	}
	return nil
}

const (
	personalityUname26        = 0x0020000
	personalityAddrNoRandomze = 0x0040000
)

// personality sets what exec inherits through runc: kernel name and address
// randomisation. Without a variation it clears what the caller had set.
func (v Variation) personality() error {
	var bits uintptr
	if v.KernelName {
		bits |= personalityUname26
	}
	if v.NoASLR {
		bits |= personalityAddrNoRandomze
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_PERSONALITY, bits, 0, 0); errno != 0 {
		return fmt.Errorf("personality: %w", errno)
	}
	return nil
}

// resetProcess gives the calling thread, which becomes runc and by it the
// stage's command, the kernel's defaults where the caller of rebuild may have
// had others. It is best effort: an ordinary user may not set every one of
// them. Priority, processors and the OOM score stay what the caller chose.
func resetProcess() {
	const timerSlack = 50_000 // nanoseconds
	unix.Prctl(unix.PR_SET_TIMERSLACK, timerSlack, 0, 0, 0)
	unix.Prctl(unix.PR_SET_THP_DISABLE, 0, 0, 0, 0)
	unix.Prctl(unix.PR_SET_SECUREBITS, 0, 0, 0, 0)
	os.WriteFile("/proc/self/coredump_filter", []byte("0x33"), 0)
	os.WriteFile("/proc/thread-self/loginuid", []byte("4294967295"), 0) // nobody's login
	for signal := 1; signal <= lastSignal; signal++ {
		heed(signal)
	}
}

const lastSignal = 64

// sigaction is the kernel's struct of that name on x86-64.
type sigaction struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

const sigIgn = 1 // SIG_IGN, what an ignored signal has for a handler

// heed gives an ignored signal its default action back, since what is ignored
// stays so through exec. Go's own signal package leaves the C library's signals
// 32 and 33 alone, which some callers ignore.
func heed(signal int) {
	var now, byDefault sigaction
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(signal), 0, uintptr(unsafe.Pointer(&now)), 8, 0, 0)
	if errno == 0 && now.handler == sigIgn {
		unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(signal), uintptr(unsafe.Pointer(&byDefault)), 0, 8, 0, 0)
	}
}

// runHook binds a container's first process, named on stdin by runc, to the
// first n processors that it may use.
func runHook(args []string) int {
	var state specs.State
	var buf bytes.Buffer
	if _, err := buf.ReadFrom(os.Stdin); err != nil {
		return shimFailed(err)
	}
	if err := json.Unmarshal(buf.Bytes(), &state); err != nil {
		return shimFailed(fmt.Errorf("reading the container's state: %w", err))
	}
	n, err := strconv.Atoi(strings.Join(args, ""))
	if err == nil {
		err = bindToFirst(n, state.Pid)
	}
	if err != nil {
		err = fmt.Errorf("binding the command to %q processors: %w", args, err)
		note(state.ID, err)
		return shimFailed(err)
	}
	return 0
}

func bindToFirst(n, pid int) error {
	var may, set unix.CPUSet
	if err := unix.SchedGetaffinity(pid, &may); err != nil {
		return err
	}
	for cpu := 0; n > 0 && cpu < len(may)*64; cpu++ {
		if may.IsSet(cpu) {
			set.Set(cpu)
			n--
		}
	}
	return unix.SchedSetaffinity(pid, &set)
}
