package store

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"rebuild/internal/document"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
)

// Store is an OCI image layout used as a content-addressed store. Its methods
// may be called from several goroutines, and several processes may have the
// same directory open.
type Store struct {
	dir  string
	fsys durable.FS
}

// Files and folders of the layout.
const (
	layoutFile = "oci-layout"
	indexFile  = "index.json"
	lockFile   = "lock"
	tempDir    = "tmp"
	blobDir    = "blobs/sha256"
)

// layoutJSON is the content of the file oci-layout.
type layoutJSON struct {
	Version string `json:"imageLayoutVersion"`
}

const layoutVersion = "1.0.0"

// Open opens the store in dir and makes an empty one if dir is missing or
// empty. A directory that holds other things is refused (USAGE), so that a
// mistyped path does not fill someone's home directory.
func Open(dir string) (*Store, error) { return open(dir, durable.OS{}) }

// Sweep removes the files that killed writers have left half written. GC does so
// too, of a store that it is run on.
func (s *Store) Sweep() error { return durable.Sweep(s.fsys, s.path(tempDir)) }

func open(dir string, fsys durable.FS) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir, fsys: fsys}
	switch err := s.checkLayout(); {
	case err == nil:
		return s, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if err := s.checkEmpty(); err != nil {
		return nil, err
	}
	return s, s.create()
}

// maxLayoutFile bounds index.json, which has some 300 bytes for each tag, and
// oci-layout: a store may be somebody else's.
const maxLayoutFile = 32 << 20

// readBounded reads a regular file. Opening it never waits, as it would for the
// other end of a pipe, and a device has no size that could be looked at.
func readBounded(file string) ([]byte, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fault.New(fault.Structure, "not a regular file").At(file, 0)
	}
	if err == nil && info.Size() > maxLayoutFile {
		err = fault.New(fault.Parse, "%d bytes, at most %d are allowed", info.Size(), maxLayoutFile).At(file, 0)
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, maxLayoutFile))
}

// checkLayout returns an error that is fs.ErrNotExist if there is no layout
// in the directory or a process stopped while it made one.
func (s *Store) checkLayout() error {
	file := s.path(layoutFile)
	b, err := readBounded(file)
	if err != nil {
		return err
	}
	var l layoutJSON
	if err := decodeForeign(file, b, &l); err != nil {
		return err
	}
	if l.Version != layoutVersion {
		return fault.New(fault.SchemaUnsupported, "image layout version %q, this program reads %s", l.Version, layoutVersion).At(file, 0).
			WithHint("use another directory, or the program that wrote this one")
	}
	for _, d := range []string{blobDir, tempDir} {
		if err := durable.MkdirAll(s.fsys, s.path(d)); err != nil {
			return err
		}
	}
	return nil
}

// checkEmpty allows what create makes: another process may be at it, or have
// been killed at it.
func (s *Store) checkEmpty() error {
	names, err := os.ReadDir(s.dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, n := range names {
		if !slices.Contains([]string{"blobs", tempDir, lockFile, indexFile, layoutFile}, n.Name()) {
			return fault.New(fault.Usage, "%s is neither empty nor a store: it holds %s", s.dir, n.Name()).
				WithHint("name an empty directory, or one that rebuild made")
		}
	}
	return nil
}

// create makes the layout. The file oci-layout comes last: while it is
// missing the next Open runs create again.
func (s *Store) create() error {
	for _, d := range []string{blobDir, tempDir} {
		if err := durable.MkdirAll(s.fsys, s.path(d)); err != nil {
			return err
		}
	}
	unlock, err := durable.Lock(s.path(lockFile), true)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(s.path(layoutFile)); err == nil {
		return nil // another process was faster
	}
	if err := s.writeIndex(newIndex()); err != nil {
		return err
	}
	b, err := document.Encode(layoutJSON{layoutVersion})
	if err != nil {
		return err
	}
	return s.writeFile(layoutFile, b)
}

// Dir returns the absolute path of the store.
func (s *Store) Dir() string { return s.dir }

func (s *Store) path(name string) string { return filepath.Join(s.dir, filepath.FromSlash(name)) }

// BlobPath returns where the blob d is or would be. Who reads the file
// directly must check its digest.
func (s *Store) BlobPath(d Digest) string { return filepath.Join(s.path(blobDir), d.Hex()) }

// Has reports whether there is a file for d. It does not read it.
func (s *Store) Has(d Digest) bool {
	info, err := os.Lstat(s.BlobPath(d))
	return err == nil && info.Mode().IsRegular()
}

// Put stores b and returns its digest when it is on disk. A damaged blob of
// that name is replaced.
func (s *Store) Put(b []byte) (Digest, error) {
	batch := s.Batch()
	defer batch.Abort()
	d, err := batch.Put(b)
	if err != nil {
		return "", err
	}
	return d, batch.Commit()
}

// Create starts a blob whose digest is not known yet. Write to it, then
// Commit or Abort.
func (s *Store) Create() (*BlobWriter, error) {
	b := s.Batch()
	w, err := b.create()
	if err != nil {
		return nil, err
	}
	return &BlobWriter{batch: b, w: w}, nil
}

// Read returns the whole blob d, verified. A blob of more than limit bytes is
// refused (STRUCTURE) before it is read.
func (s *Store) Read(d Digest, limit int64) ([]byte, error) {
	b, err := s.Open(d)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	if b.Size() > limit {
		return nil, fault.New(fault.Structure, "%d bytes, at most %d are expected here", b.Size(), limit).At(b.path, 0)
	}
	buf := bytes.NewBuffer(make([]byte, 0, b.Size()+bytes.MinRead))
	if _, err := io.Copy(buf, b); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// Verify reads the whole blob d and says whether it is what its name says.
func (s *Store) Verify(d Digest) error {
	b, err := s.Open(d)
	if err != nil {
		return err
	}
	defer b.Close()
	_, err = io.CopyBuffer(onlyWriter{io.Discard}, b, make([]byte, chunkSize))
	return err
}

// onlyWriter hides ReadFrom, whose buffer would be small.
type onlyWriter struct{ io.Writer }

// keep says, under the shared lock, that d is wanted: GC then takes it for a
// new blob. It reports false if d is not there.
func (s *Store) keep(d Digest) (bool, error) {
	unlock, err := durable.Lock(s.path(lockFile), false)
	if err != nil {
		return false, err
	}
	defer unlock()
	err = touch(s.BlobPath(d))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// touch sets the times of path to the kernel's now: zero times would mean
// "leave alone" to os.Chtimes, so the system call is made directly.
func touch(path string) error { return setNow(path) }

// older reports whether info is from before now-grace.
func older(info fs.FileInfo, now time.Time, grace time.Duration) bool {
	return info.ModTime().Before(now.Add(-grace))
}
