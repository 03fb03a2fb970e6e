// Package engine builds stages with BuildKit, in a child process of its own.
//
// [New] gives a [pipeline.Engine] that starts nothing until the first Solve.
// The program's main must call [Reexec] before anything else, since the child
// processes are this same binary under other names.
//
// What it promises: a stage's command has no network and no privilege, and
// sees only inputs that the job names by digest; a definition is judged by a
// closed-world policy before it is sent and every command again by a guard
// before it starts; no program of the host runs in the engine; when the
// command, the engine or PID 1 of its namespace is killed, the other two and
// every container and mount end too. One engine has one fresh state root, so
// nothing is answered from an earlier build's cache.
//
// What it trusts: the kernel, runc (by hash), and the BuildKit and containerd
// code in this binary. It is the only package that imports them, and exports
// none of their types.
package engine

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/store"
)

// maxManifest bounds manifests and configs that are read into memory, bytes.
const maxManifest = 4 << 20

// Options say where an engine works and what it runs.
type Options struct {
	Store     string    // folder of the OCI layout; made at the first Solve
	Engines   string    // folder for engine roots; its file system holds what stages write
	Cache     string    // folder where the embedded runc is unpacked
	Runc      string    // path of runc; "": the embedded one, else the one from Path
	Path      string    // search path for runc, the caller's PATH
	Parallel  int       // commands that run side by side; 0: no limit
	Variation Variation // surroundings to vary; the zero value for a counted build
	Display   *Display  // where progress is shown; nil: nowhere
}

// Engine is BuildKit as a [pipeline.Engine]. Its methods may be called from
// several goroutines.
type Engine struct {
	options Options
	runc    func() (runcBinary, error)
	open    func() (*store.Store, error)
	// rootless says that the caller is not root: see Rootless.
	rootless bool

	mu     sync.Mutex // guards the fields below
	child  *child
	closed bool
}

var _ pipeline.Engine = (*Engine)(nil)

// New returns an engine that starts at its first Solve. Close must be called.
func New(o Options) *Engine {
	return &Engine{
		options:  o,
		rootless: Rootless(),
		runc:     sync.OnceValues(func() (runcBinary, error) { return findRunc(o.Runc, o.Path, o.Cache) }),
		open:     sync.OnceValues(func() (*store.Store, error) { return openStore(o.Store) }),
	}
}

// openStore opens the state root's store. That it can not be made or written
// is the machine's fault, not that of the Containerfile being converted.
func openStore(dir string) (*store.Store, error) {
	st, err := store.Open(dir)
	if err != nil && fault.CodeOf(err) == fault.Internal {
		return nil, fault.New(fault.EngineUnavailable, "opening the store: %w", err).
			WithHint("give --state a folder that can be written")
	}
	return st, err
}

// Check converts and judges a job without building it.
func (e *Engine) Check(ctx context.Context, j pipeline.Job) error {
	_, err := e.convert(ctx, j)
	return err
}

// Environment describes this engine and machine.
func (e *Engine) Environment(context.Context) (pipeline.Environment, error) {
	rc, err := e.runc()
	if err != nil {
		return pipeline.Environment{}, err
	}
	return pipeline.Environment{
		Engine:        "buildkit",
		EngineVersion: buildkitVersion(),
		Runtime:       "runc " + rc.version,
		RuntimeDigest: rc.digest,
		Policy:        PolicyVersion,
		Kernel:        kernelRelease(),
		CPUVendor:     cpuVendor(),
		Filesystem:    filesystem(e.options.Engines),
		Binfmt:        interpreters("/proc/sys/fs/binfmt_misc"),
		Varied:        e.options.Variation.Names(),
	}, nil
}

// running returns the child, starting it at the first call. A child that died
// is not replaced: the run ends, and the next one starts afresh.
func (e *Engine) running(ctx context.Context) (*child, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, fault.New(fault.EngineUnavailable, "the engine was closed")
	}
	if e.child != nil {
		return e.child, nil
	}
	rc, err := e.runc()
	if err != nil {
		return nil, err
	}
	if _, err := e.open(); err != nil {
		return nil, err // the engine binds the store's folder
	}
	dir, err := filepath.Abs(e.options.Store)
	if err != nil {
		return nil, err
	}
	engines, err := filepath.Abs(e.options.Engines)
	if err != nil {
		return nil, err
	}
	e.child, err = launch(ctx, engines, rc, childConfig{
		Store: dir, Rootless: e.rootless,
		Parallel: int64(e.options.Parallel), Variation: e.options.Variation,
	})
	return e.child, err
}

// Close ends the child, if one runs, and waits for it.
func (e *Engine) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	if e.child != nil {
		e.child.close()
		e.child = nil
	}
	return nil
}

// Rootless says whether engines of this process run in a single-id user
// namespace, because the caller is not root.
func Rootless() bool { return os.Geteuid() != 0 }

func kernelRelease() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown"
	}
	// Major and minor only: a patch level says nothing about diversity.
	parts := strings.SplitN(unix.ByteSliceToString(u.Release[:]), ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}

func cpuVendor() string {
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(info)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "vendor_id" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// filesystem names the type of the file system at path or its nearest parent
// that exists.
func filesystem(path string) string {
	var st unix.Statfs_t
	for unix.Statfs(path, &st) != nil {
		parent := filepath.Dir(path)
		if parent == path {
			return "unknown"
		}
		path = parent
	}
	switch st.Type {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.TMPFS_MAGIC:
		return "tmpfs"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlayfs"
	}
	return "other"
}
