package engine

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"rebuild/internal/fault"
)

// Every engine has a root of its own, <engines>/<random>, with a lock file
// that launcher, init and engine hold. A root whose lock can be taken belongs
// to nobody who lives.

const (
	rootLock   = "lock"
	sweepLock  = ".lock"
	rootPrefix = "e-"
)

// newRoot makes a fresh engine root and returns it locked. Making a root and
// sweeping dead ones exclude each other, so that no root is seen in the moment
// between its making and its locking.
func newRoot(engines string) (string, *os.File, error) {
	if err := os.MkdirAll(engines, 0o700); err != nil {
		return "", nil, fault.New(fault.EngineUnavailable, "making the engine folder: %w", err)
	}
	gate, err := lockFile(filepath.Join(engines, sweepLock), unix.LOCK_EX)
	if err != nil {
		return "", nil, fault.New(fault.EngineUnavailable, "locking the engine folder: %w", err)
	}
	dead := deadRoots(engines)
	root := filepath.Join(engines, rootPrefix+strings.ToLower(rand.Text()[:12]))
	lock, err := lockedDir(root)
	gate.Close()
	for _, d := range dead {
		discardRoot(d.path, d.lock)
	}
	if err != nil {
		return "", nil, fault.New(fault.EngineUnavailable, "making an engine root: %w", err)
	}
	return root, lock, nil
}

// discardRoot removes what an engine left on disk and in the kernel, and gives
// up its root. What can not be removed is the next janitor's.
func discardRoot(root string, lock *os.File) {
	removeRoot(root)
	removeCgroups(filepath.Base(root))
	lock.Close()
}

// unfit says why the file system of root can not hold what stages run, or "".
func unfit(root string) string {
	var st unix.Statfs_t
	if err := unix.Statfs(root, &st); err != nil {
		return err.Error()
	}
	for _, f := range []struct {
		flag int64
		name string
	}{{unix.ST_NOEXEC, "noexec"}, {unix.ST_RDONLY, "ro"}} {
		if st.Flags&f.flag != 0 {
			return "its file system is mounted " + f.name
		}
	}
	return ""
}

func lockedDir(root string) (*os.File, error) {
	if err := os.Mkdir(root, 0o700); err != nil {
		return nil, err
	}
	return lockFile(filepath.Join(root, rootLock), unix.LOCK_EX|unix.LOCK_NB)
}

type deadRoot struct {
	path string
	lock *os.File
}

// deadRoots returns the roots that nobody holds, each locked, so that two
// janitors do not sweep one.
func deadRoots(engines string) []deadRoot {
	entries, err := os.ReadDir(engines)
	if err != nil {
		return nil
	}
	var dead []deadRoot
	for _, e := range entries {
		if !e.IsDir() || !strings.HasPrefix(e.Name(), rootPrefix) {
			continue
		}
		path := filepath.Join(engines, e.Name())
		if lock, err := lockFile(filepath.Join(path, rootLock), unix.LOCK_EX|unix.LOCK_NB); err == nil {
			dead = append(dead, deadRoot{path, lock})
		}
	}
	return dead
}

func lockFile(path string, how int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// removeRoot deletes an engine root. A stage may have left folders that their
// owner can not enter, so modes are opened first where removal fails. The lock
// file goes last: while it is there and held, the root is somebody's.
func removeRoot(root string) error {
	entries, err := os.ReadDir(root)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == rootLock {
			continue
		}
		path := filepath.Join(root, e.Name())
		if os.RemoveAll(path) == nil {
			continue
		}
		filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
			if d != nil && d.IsDir() {
				os.Chmod(p, 0o700)
			}
			return nil
		})
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return os.RemoveAll(root)
}

// removeCgroups removes the control groups of an engine that has ended, named
// after its root. rmdir refuses groups that still have processes: those of a
// killed engine can need a moment to die after its lock is free.
func removeCgroups(name string) {
	for _, pattern := range []string{"/sys/fs/cgroup/" + name, "/sys/fs/cgroup/*/" + name} {
		groups, _ := filepath.Glob(pattern)
		for _, g := range groups {
			for try := 0; removeCgroup(g) != nil && try < 50; try++ {
				time.Sleep(10 * time.Millisecond)
			}
		}
	}
}

// removeCgroup removes a group and those in it, which are its only folders.
func removeCgroup(group string) error {
	entries, err := os.ReadDir(group)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeCgroup(filepath.Join(group, e.Name())); err != nil {
				return err
			}
		}
	}
	return os.Remove(group)
}
