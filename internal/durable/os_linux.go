package durable

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
)

// OS is the file system of the machine.
type OS struct{}

// CreateTemp implements [FS]. The random name only has to be new; it is in no
// output.
func (OS) CreateTemp(dir, prefix string, perm fs.FileMode) (File, error) {
	for {
		name := filepath.Join(dir, fmt.Sprintf("%s%016x", prefix, rand.Uint64()))
		f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, perm)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		mine, err := lockTemp(f)
		if err != nil {
			f.Close()
			os.Remove(name)
			return nil, err
		}
		if mine {
			return f, nil
		}
		f.Close()
	}
}

// lockTemp locks a temporary file. It is not ours any more if a sweep saw it
// before it was locked.
func lockTemp(f *os.File) (mine bool, err error) {
	if err := flock(f, syscall.LOCK_EX); err != nil {
		return false, err
	}
	var held syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &held); err != nil {
		return false, &fs.PathError{Op: "fstat", Path: f.Name(), Err: err}
	}
	return held.Nlink > 0, nil
}

// Rename implements [FS].
func (OS) Rename(oldpath, newpath string) error { return os.Rename(oldpath, newpath) }

// Remove implements [FS].
func (OS) Remove(path string) error { return os.Remove(path) }

// SyncDir implements [FS].
func (OS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Lock waits for the lock on path, an empty file that is created if missing
// and never removed, and returns the function that releases it. A shared lock
// excludes only exclusive ones. The kernel releases the lock of a process
// that dies. A file that can only be read, as it is another user's, is locked too.
func Lock(path string, exclusive bool) (unlock func(), err error) {
	return LockUntil(context.Background(), path, exclusive)
}

// LockUntil is [Lock] for no longer than a context lasts: whoever may read the
// file can keep its lock for ever. Nothing ends a call that waits in the kernel, so
// a goroutine then waits on, and gives the lock back when it gets it.
func LockUntil(ctx context.Context, path string, exclusive bool) (unlock func(), err error) {
	f, err := openLock(path)
	if err != nil {
		return nil, err
	}
	how := syscall.LOCK_SH
	if exclusive {
		how = syscall.LOCK_EX
	}
	if flock(f, how|syscall.LOCK_NB) == nil {
		return func() { f.Close() }, nil
	}
	got := make(chan error, 1)
	go func() { got <- flock(f, how) }()
	select {
	case err = <-got:
	case <-ctx.Done():
		go func() { <-got; f.Close() }()
		return nil, context.Cause(ctx)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}

// openLock opens the file of a lock, which takes no more than reading it.
func openLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o644)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		if readable, only := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0); only == nil {
			return readable, nil
		}
	}
	return f, err
}

// Abandoned reports whether the temporary file path belongs to no living
// writer on this machine.
func Abandoned(path string) bool {
	unlock, abandoned := takeOver(path)
	if abandoned {
		unlock()
	}
	return abandoned
}

// takeOver locks a temporary file that belongs to no living writer.
func takeOver(path string) (unlock func(), abandoned bool) {
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, false
	}
	if flock(f, syscall.LOCK_EX|syscall.LOCK_NB) != nil {
		f.Close()
		return nil, false
	}
	return func() { f.Close() }, true
}

var (
	// ErrClaimed says that another process makes the folder.
	ErrClaimed = errors.New("another process is writing it")
	// ErrInTheWay says that something else has the folder's name.
	ErrInTheWay = errors.New("it is in the way")
)

// Claim makes the folder dir, which is to become something else by a rename, or
// takes over and empties what a killed process left of it. Another process can
// not claim it until the file that is returned is closed: ErrClaimed. A link, a
// file or a folder of another user in its place is ErrInTheWay, and untouched.
func Claim(dir string) (*os.File, error) {
	for range 100 {
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
		f, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_DIRECTORY, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInTheWay, err)
		}
		mine, err := claimed(f, dir)
		if mine {
			if err = empty(dir); err == nil {
				return f, nil
			}
		}
		f.Close()
		if err != nil {
			return nil, err
		}
	}
	return nil, ErrClaimed
}

// claimed locks a folder. It is not ours if it has lost its name by then, as
// another process ended with it.
func claimed(f *os.File, dir string) (mine bool, err error) {
	if err := flock(f, syscall.LOCK_EX|syscall.LOCK_NB); errors.Is(err, syscall.EWOULDBLOCK) {
		return false, ErrClaimed
	} else if err != nil {
		return false, err
	}
	held, err := f.Stat()
	if err != nil {
		return false, err
	}
	if owner, ok := held.Sys().(*syscall.Stat_t); !ok || int(owner.Uid) != os.Geteuid() {
		return false, fmt.Errorf("%w: %s is somebody else's", ErrInTheWay, dir)
	}
	named, err := os.Lstat(dir)
	return err == nil && os.SameFile(named, held), nil
}

// empty removes what is in a folder.
func empty(dir string) error {
	held, err := os.ReadDir(dir)
	for _, e := range held {
		err = errors.Join(err, RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

// RemoveAll is [os.RemoveAll] that also removes folders of ours in which nothing
// may be written, as an unpacked tree can have.
func RemoveAll(path string) error {
	err := os.RemoveAll(path)
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	_ = filepath.WalkDir(path, func(at string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() { // before it is read
			_ = os.Chmod(at, 0o700)
		}
		return nil
	})
	return os.RemoveAll(path)
}

func flock(f *os.File, how int) error {
	for {
		err := syscall.Flock(int(f.Fd()), how)
		if err != syscall.EINTR {
			if err != nil {
				return &fs.PathError{Op: "flock", Path: f.Name(), Err: err}
			}
			return nil
		}
	}
}
