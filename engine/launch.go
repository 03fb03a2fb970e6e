package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/moby/buildkit/client"

	"rebuild/internal/fault"
)

// Three processes make an engine. The launcher (the command itself) starts
// init, which is PID 1 of new pid and mount namespaces and starts the engine
// proper, the BuildKit controller. When any of the three dies, by kill -9
// too, the kernel ends everything in the namespace and its mounts with it:
//
//   - launcher gone: init's lifeline pipe reads EOF and init exits; the parent
//     death signal usually gets there first, but it can be missed when the
//     launcher dies between fork and prctl;
//   - init gone: the kernel kills its pid namespace;
//   - engine gone: init reaps it and exits with its status.
//
// All three hold the flock of the engine root, so the janitor knows a root as
// dead exactly when none of them lives.

// Names under which this binary is run again, as argv[0].
const (
	initName   = "rebuild-engine-init"
	engineName = "rebuild-engine"
	shimName   = "rebuild-runtime"
	hookName   = "rebuild-affinity"
	xzName     = "xz"
)

// Inherited descriptors, by position in ExtraFiles.
const (
	fdListener = 3 + iota
	fdLock
	fdLifeline
)

// childConfig is what the launcher tells init and the engine, as JSON in
// argv[1]. It holds no secret.
type childConfig struct {
	Root      string    `json:"root"`  // engine root on the host
	Store     string    `json:"store"` // the OCI layout on the host
	Rootless  bool      `json:"rootless"`
	Parallel  int64     `json:"parallel"` // execs side by side; 0: no limit
	Variation Variation `json:"variation"`
}

const (
	startTimeout = 20 * time.Second
	stopTimeout  = 8 * time.Second
)

// child is a running engine and the connection to it.
type child struct {
	client *client.Client
	root   string // engine root, removed by close
	lock   *os.File
	ended  chan struct{} // closed when init was reaped
	status error         // valid once ended is closed
	init   *os.Process   // PID 1 of the namespace
	stderr *tail
	once   sync.Once
}

// launch starts an engine on a fresh root below engines and waits until it
// answers. It sweeps the roots of dead engines first.
func launch(ctx context.Context, engines string, rc runcBinary, cfg childConfig) (*child, error) {
	root, lock, err := newRoot(engines)
	if err != nil {
		return nil, err
	}
	if why := unfit(root); why != "" {
		discardRoot(root, lock)
		return nil, fault.New(fault.EngineUnavailable, "no stage can run in %s: %s", engines, why).
			WithHint("give --state a folder on another file system")
	}
	cfg.Root = root
	c := &child{root: root, lock: lock, ended: make(chan struct{}), stderr: &tail{max: 8 << 10}}
	if err := rc.install(filepath.Join(root, "bin")); err != nil {
		discardRoot(c.root, c.lock)
		return nil, err
	}
	if err := c.start(cfg); err != nil {
		discardRoot(c.root, c.lock)
		return nil, err
	}
	if err := c.connect(ctx); err != nil {
		// There is nothing to end in order, and a PID 1 that has not asked for
		// SIGTERM yet would not get it.
		c.init.Kill()
		c.close()
		return nil, err
	}
	return c, nil
}

func (c *child) start(cfg childConfig) error {
	listener, err := listenIn(c.root)
	if err != nil {
		return fault.New(fault.EngineUnavailable, "listening in %s: %w", c.root, err)
	}
	listener.SetUnlinkOnClose(false)
	// The launcher must not keep the listener: a connection to a child that
	// died while starting would be accepted by nobody and wait.
	defer listener.Close()
	socket, err := listener.File()
	if err != nil {
		return err
	}
	defer socket.Close()
	lifeline, hold, err := os.Pipe()
	if err != nil {
		return err
	}
	defer lifeline.Close()
	cmd, err := initCommand(cfg)
	if err != nil {
		return startFault(err)
	}
	cmd.Stderr = c.stderr
	cmd.ExtraFiles = []*os.File{socket, c.lock, lifeline}
	started := make(chan error)
	go c.supervise(cmd, hold, started)
	if err := <-started; err != nil {
		return startFault(err)
	}
	c.init = cmd.Process
	return nil
}

// supervise starts cmd and waits for its end. It keeps its OS thread: the
// parent death signal is tied to the thread that forked.
func (c *child) supervise(cmd *exec.Cmd, hold io.Closer, started chan<- error) {
	runtime.LockOSThread()
	defer hold.Close()
	err := cmd.Start()
	started <- err
	if err != nil {
		c.status = err
		close(c.ended)
		return
	}
	c.status = cmd.Wait()
	close(c.ended)
	// The locked thread ends with this goroutine, after the child.
}

func initCommand(cfg childConfig) (*exec.Cmd, error) {
	self, err := thisProgram()
	if err != nil {
		return nil, err
	}
	config, err := json.Marshal(cfg)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Args = []string{initName, string(config)}
	// Nothing of the caller's environment enters the engine.
	cmd.Env = []string{"PATH=" + binDir}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
		Setpgid:    true,
	}
	if cfg.Rootless {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return cmd, nil
}

// thisProgram returns the path of the program that runs, and makes sure that
// it is still the same file: another version of it would be another engine.
// /proc/self/exe itself would not do, since init could not bind it.
func thisProgram() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	runs, err := os.Stat("/proc/self/exe")
	if err != nil {
		return "", err
	}
	if there, err := os.Stat(self); err != nil || !os.SameFile(runs, there) {
		return "", fmt.Errorf("%s was replaced since this command started; run it again", self)
	}
	return self, nil
}

func startFault(err error) error {
	f := fault.New(fault.EngineUnavailable, "starting the engine: %w", err)
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EACCES) {
		f.Hint = "allow user namespaces (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns), or run as root"
	}
	return f
}

// connect dials the engine and waits until it answers, ends or is late.
func (c *child) connect(caller context.Context) error {
	ctx, cancel := context.WithTimeout(caller, startTimeout)
	defer cancel()
	go func() {
		select {
		case <-c.ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	conn, err := client.New(ctx, "passthrough:///engine", client.WithContextDialer(
		func(ctx context.Context, _ string) (net.Conn, error) { return dialIn(ctx, c.root) }))
	if err == nil {
		c.client = conn
		_, err = conn.Info(ctx)
	}
	if err == nil {
		return nil
	}
	if cause := context.Cause(caller); cause != nil {
		return cause
	}
	select {
	case <-time.After(time.Second): // a broken connection is seen before the end of the process
	case <-c.ended:
	}
	select {
	case <-c.ended:
		return fault.New(fault.EngineUnavailable, "the engine ended while starting: %v%s", c.status, c.stderr.suffix()).
			WithHint("run rebuild doctor")
	default:
		return fault.New(fault.EngineUnavailable, "connecting to the engine: %w%s", err, c.stderr.suffix())
	}
}

// watch returns a context that ends with the engine, so that nothing waits for
// a child that is gone.
func (c *child) watch(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-c.ended:
			cancel(errEngineGone)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { cancel(context.Canceled) }
}

var errEngineGone = errors.New("the engine process ended")

// close ends the engine, waits for it, and removes its root.
func (c *child) close() {
	c.once.Do(func() {
		if c.client != nil {
			c.client.Close()
		}
		if c.init != nil {
			c.init.Signal(syscall.SIGTERM)
			select {
			case <-c.ended:
			case <-time.After(stopTimeout):
				c.init.Kill() // PID 1 takes its namespace along
				<-c.ended
			}
		}
		discardRoot(c.root, c.lock)
	})
}

const socketName = "engine.sock"

// listenIn and dialIn go through /proc/self/fd, because a socket's path holds
// 107 bytes and a state root can be longer.
func listenIn(dir string) (*net.UnixListener, error) {
	short, done, err := shortPath(dir)
	if err != nil {
		return nil, err
	}
	defer done()
	return net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(short, socketName), Net: "unix"})
}

func dialIn(ctx context.Context, dir string) (net.Conn, error) {
	short, done, err := shortPath(dir)
	if err != nil {
		return nil, err
	}
	defer done()
	var d net.Dialer
	return d.DialContext(ctx, "unix", filepath.Join(short, socketName))
}

func shortPath(dir string) (string, func(), error) {
	f, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d", f.Fd()), func() { f.Close() }, nil
}

// tail keeps the end of what a child printed.
type tail struct {
	mu  sync.Mutex
	max int
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - t.max; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func (t *tail) bytes() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]byte(nil), t.buf...)
}

// suffix returns it as the end of a message of one line.
func (t *tail) suffix() string {
	words := strings.Fields(string(t.bytes()))
	if len(words) == 0 {
		return ""
	}
	return ": " + strings.Join(words, " ")
}
