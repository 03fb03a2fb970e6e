package engine

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// Constant places inside the engine's mount namespace. A stage can see where
// its root file system and its /etc/hosts come from in /proc/mounts, so they
// must not differ between hosts.
const (
	runDir        = "/run"
	rootDir       = runDir + "/rebuild"
	binDir        = rootDir + "/bin"
	storeDir      = rootDir + "/store"
	notesDir      = rootDir + "/notes" // errors of the shim, by container
	tempDir       = rootDir + "/tmp"
	emptyDir      = rootDir + "/empty"
	snapshotsDir  = rootDir + "/runc-overlayfs/snapshots" // BuildKit's name for it
	configFile    = rootDir + "/config.json"
	stockHostname = "buildkitsandbox" // BuildKit's own default, what a stock engine's stages see
)

// Reexec runs the engine's own processes when this binary was started under
// one of their names, and says whether it was; main must call it before
// anything else. args is os.Args.
func Reexec(args []string) (status int, ours bool) {
	if len(args) == 0 {
		return 0, false
	}
	switch args[0] {
	case initName:
		return runInit(args[1:]), true
	case engineName:
		return runEngine(args[1:]), true
	case hookName:
		return runHook(args[1:]), true
	}
	// BuildKit starts these two by path or from PATH.
	switch filepath.Base(args[0]) {
	case shimName:
		return runShim(args[1:]), true
	case xzName:
		return runXZ(args[1:]), true
	}
	return 0, false
}

// runInit is PID 1 of the engine's namespaces. It never starts anything but
// the engine, reaps whatever is orphaned, and lives as long as the engine.
func runInit(args []string) int {
	go dieWithLauncher(os.NewFile(fdLifeline, "lifeline"))
	for _, fd := range []int{fdListener, fdLock, fdLifeline} {
		unix.CloseOnExec(fd)
	}
	cfg, err := readConfig(args)
	if err == nil {
		err = enterNamespace(cfg)
	}
	if err != nil {
		return initFailed(err)
	}
	cmd := exec.Command(filepath.Join(binDir, "rebuild"))
	cmd.Args = append([]string{engineName}, args...)
	cmd.Env = []string{"PATH=" + binDir, "TMPDIR=" + tempDir, "MOBY_DISABLE_PIGZ=1"}
	cmd.Dir = "/"
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{os.NewFile(fdListener, "listener"), os.NewFile(fdLock, "lock")}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT)
	if err := cmd.Start(); err != nil {
		return initFailed(fmt.Errorf("starting the engine: %w", err))
	}
	go func() {
		for range signals {
			cmd.Process.Signal(syscall.SIGTERM)
		}
	}()
	return reap(cmd.Process.Pid)
}

func initFailed(err error) int {
	fmt.Fprintf(os.Stderr, "%v\n", err)
	return 1
}

// dieWithLauncher ends PID 1, and with it the namespace, when the launcher's
// end of the pipe closes: nobody is left to want the engine.
func dieWithLauncher(lifeline *os.File) {
	io.Copy(io.Discard, lifeline)
	os.Exit(1)
}

// reap waits for every child, orphans included, until the engine ends.
func reap(engine int) int {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return initFailed(fmt.Errorf("waiting: %w", err))
		case pid == engine && status.Exited():
			return status.ExitStatus()
		case pid == engine:
			return 128 + int(status.Signal())
		}
	}
}

func readConfig(args []string) (cfg childConfig, err error) {
	if len(args) != 1 {
		return cfg, fmt.Errorf("%d arguments, want the configuration", len(args))
	}
	err = json.Unmarshal([]byte(args[0]), &cfg)
	return cfg, err
}

// enterNamespace arranges the mount namespace: a proc of our own, nothing
// propagated to or from the host, and everything that is needed bound to
// constant places under a fresh /run. Files are opened before /run is covered,
// because a state root may lie under it.
func enterNamespace(cfg childConfig) error {
	unix.Umask(0o022)
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	binds := []struct {
		from string
		to   string
		fd   int
	}{{cfg.Root, rootDir, -1}, {cfg.Store, storeDir, -1}, {"/proc/self/exe", binDir + "/rebuild", -1}}
	for i := range binds {
		fd, err := unix.Open(binds[i].from, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("opening %s: %w", binds[i].from, err)
		}
		defer unix.Close(fd)
		binds[i].fd = fd
	}
	if err := unix.Mount("tmpfs", runDir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("mounting %s: %w", runDir, err)
	}
	if err := os.Mkdir(rootDir, 0o700); err != nil {
		return err
	}
	for i, b := range binds {
		if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", b.fd), b.to, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("binding %s to %s: %w", b.from, b.to, err)
		}
		if i == 0 {
			if err := furnish(cfg); err != nil {
				return err
			}
		}
	}
	return nil
}

// furnish makes the folders, links and constant files of a fresh root.
func furnish(cfg childConfig) error {
	config, err := json.Marshal(cfg)
	if err != nil {
		return err
	}
	for _, dir := range []string{storeDir, notesDir, tempDir, emptyDir} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	for name, content := range map[string]string{
		configFile:                         string(config),
		binDir + "/rebuild":                "", // bound over with this binary
		runDir + "/resolv.conf":            "",
		runDir + "/hosts." + hostname:      hostsFile(hostname),
		runDir + "/hosts." + stockHostname: hostsFile(stockHostname),
	} {
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			return err
		}
	}
	// The engine finds no program but these: BuildKit starts its runtime by
	// path, and the unpacking of ADD looks for xz in PATH.
	for _, name := range []string{shimName, hookName, xzName} {
		if err := os.Symlink("rebuild", filepath.Join(binDir, name)); err != nil {
			return err
		}
	}
	return nil
}

// hostsFile is what BuildKit itself writes for a host name.
func hostsFile(name string) string {
	return "127.0.0.1\tlocalhost " + name + "\n::1\tlocalhost ip6-localhost ip6-loopback\n"
}
