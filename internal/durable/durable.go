// Package durable writes files so that a crash or a power cut leaves either
// the old content or the new, never a part, and so that what was reported as
// written is still there afterwards.
//
// Use [WriteFile] for one small file, [Create] for a stream, and a [Batch]
// for several files that become visible together. A file is written under a
// temporary name and is seen under its own only when it is complete. One file
// costs exactly these system calls, in this order:
//
//	openat(TMP, O_CREAT|O_EXCL|O_RDWR|O_CLOEXEC)  a crash leaves an empty temporary file
//	flock(TMP, LOCK_EX), fstat(TMP)                 says that the writer lives, see [Sweep]
//	write(TMP) ...                                  a crash leaves a part, under the temporary name
//	fsync(TMP)                                      the content is on disk before any name leads to it
//	renameat(TMP, NAME)                             readers see the old content or the new
//	fsync(DIR)                                      the name is on disk
//	close(TMP)
//
// A Batch does the fsync calls of its files side by side, then all renames in
// the order in which the files were added, then one fsync for each directory.
// The lock on the temporary file goes with its descriptor, so that a killed
// writer's leftovers can be told from those of a slow one.
//
// All calls go through an [FS], which the tests replace to read the call log
// and to fail or stop at each call.
package durable

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// FS is the part of the file system that this package uses. [OS] is the real
// one.
type FS interface {
	// CreateTemp makes a new, locked file in dir with a name that no other
	// file has and that starts with prefix.
	CreateTemp(dir, prefix string, perm fs.FileMode) (File, error)
	// Rename replaces newpath by oldpath.
	Rename(oldpath, newpath string) error
	// SyncDir makes the names in dir durable.
	SyncDir(dir string) error
	// Remove deletes one file.
	Remove(path string) error
}

// File is a file being written.
type File interface {
	io.Writer
	io.ReaderAt
	Name() string
	Sync() error
	Close() error
}

// TempPrefix starts the name of every temporary file beside its target.
const TempPrefix = ".tmp-"

// temporary says whether a name is one that a Writer's file has on its way, and
// not only one that somebody else begins in the same way.
func temporary(name string) bool {
	random, ok := strings.CutPrefix(name, TempPrefix)
	return ok && len(random) == 16 && strings.Trim(random, "0123456789abcdef") == ""
}

// WriteFile writes data to path with the permissions 0644, less the umask.
func WriteFile(fsys FS, path string, data []byte) error {
	w, err := Create(fsys, filepath.Dir(path))
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		w.Abort()
		return err
	}
	return w.Commit(path)
}

// Sweep removes the temporary files in dir, not below it, that killed writers
// have left. Files of writers that live, and of anybody else, stay.
func Sweep(fsys FS, dir string) error {
	held, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range held {
		if !temporary(e.Name()) || !e.Type().IsRegular() {
			continue
		}
		name := filepath.Join(dir, e.Name())
		// Under its lock: a writer that has just made the file waits for it, and
		// then sees that the file is gone.
		unlock, abandoned := takeOver(name)
		if !abandoned {
			continue
		}
		err := fsys.Remove(name)
		unlock()
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// Writer is one file on its way. It is for one goroutine. Every Writer ends
// with Commit, Abort or the commit of the [Batch] that took it.
type Writer struct {
	fsys FS
	file File
	temp string

	visible bool // renamed to its final name
	closed  bool
}

// Create starts a file whose temporary name is in tempDir, which must be on
// the file system of the final path.
func Create(fsys FS, tempDir string) (*Writer, error) {
	f, err := fsys.CreateTemp(tempDir, TempPrefix, 0o644)
	if err != nil {
		return nil, err
	}
	return &Writer{fsys: fsys, file: f, temp: f.Name()}, nil
}

// Write appends to the file.
func (w *Writer) Write(p []byte) (int, error) { return w.file.Write(p) }

// ReadAt reads back what was written.
func (w *Writer) ReadAt(p []byte, off int64) (int, error) { return w.file.ReadAt(p, off) }

// Commit makes the file durable and visible as path. On an error nothing is
// left under the temporary name; path holds the old content or, if only the
// last fsync failed, perhaps the new.
func (w *Writer) Commit(path string) error {
	b := NewBatch(w.fsys)
	b.Add(w, path)
	return b.Commit()
}

// Abort removes the temporary file. After Commit it does nothing, so it can
// be deferred.
func (w *Writer) Abort() {
	if !w.visible && !w.closed {
		w.fsys.Remove(w.temp) // a leftover is harmless, see Abandoned
	}
	w.close()
}

func (w *Writer) close() error {
	if w.closed {
		return nil
	}
	w.closed = true
	return w.file.Close()
}

// Batch is a set of files that become durable for little more than the price
// of one: a journalling file system writes the side-by-side fsyncs in one
// transaction. It is for one goroutine.
type Batch struct {
	fsys  FS
	files []pending
	// Around runs the renames. A caller that must exclude others during that
	// time, and only then, takes its lock here. Nil just runs them.
	Around func(renames func() error) error
}

type pending struct {
	w    *Writer
	path string
}

// maxSyncs bounds the threads that wait in fsync at one time.
const maxSyncs = 16

// NewBatch returns an empty batch.
func NewBatch(fsys FS) *Batch { return &Batch{fsys: fsys} }

// Add hands w to the batch, to become path.
func (b *Batch) Add(w *Writer, path string) { b.files = append(b.files, pending{w, path}) }

// Len returns the number of files added.
func (b *Batch) Len() int { return len(b.files) }

// Abort removes all temporary files. After Commit it does nothing.
func (b *Batch) Abort() {
	for _, p := range b.files {
		p.w.Abort()
	}
	b.files = nil
}

// Commit makes all files durable and visible. Renames happen in the order of
// Add and only after every file is on disk, so what a crash leaves is a
// prefix of complete files. On an error the files not yet renamed are
// removed.
func (b *Batch) Commit() error {
	defer b.Abort()
	if len(b.files) == 0 {
		return nil
	}
	if err := b.syncFiles(); err != nil {
		return err
	}
	around := b.Around
	if around == nil {
		around = func(renames func() error) error { return renames() }
	}
	if err := around(b.renameAll); err != nil {
		return err
	}
	if err := b.syncDirs(); err != nil {
		return err
	}
	var errs []error
	for _, p := range b.files {
		errs = append(errs, p.w.close())
	}
	return errors.Join(errs...)
}

func (b *Batch) syncFiles() error {
	errs := make([]error, len(b.files))
	slots := make(chan struct{}, maxSyncs)
	var wg sync.WaitGroup
	for i, p := range b.files {
		slots <- struct{}{}
		wg.Go(func() {
			errs[i] = p.w.file.Sync()
			<-slots
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (b *Batch) renameAll() error {
	for _, p := range b.files {
		if err := b.fsys.Rename(p.w.temp, p.path); err != nil {
			return err
		}
		p.w.visible = true
	}
	return nil
}

func (b *Batch) syncDirs() error {
	var dirs []string
	for _, p := range b.files {
		if d := filepath.Dir(p.path); !slices.Contains(dirs, d) {
			dirs = append(dirs, d)
		}
	}
	for _, d := range dirs {
		if err := b.fsys.SyncDir(d); err != nil {
			return err
		}
	}
	return nil
}

// MkdirAll makes dir and its missing parents and syncs each directory that
// got a new name, which os.MkdirAll leaves to chance.
func MkdirAll(fsys FS, dir string) error {
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := MkdirAll(fsys, parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return fsys.SyncDir(parent)
}
