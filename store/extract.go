package store

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"rebuild/internal/fault"
)

// ExtractOptions says how faithful Extract is.
type ExtractOptions struct {
	// Owner sets owners, set-id bits and extended attributes as the layer has
	// them, for which the process needs privileges. Otherwise all files
	// belong to the caller and only the nine permission bits are set.
	Owner bool
}

// Extract writes the files of a layer of the store below dir, which must be
// missing or empty. Every name is resolved inside dir by [os.Root], so no
// link, of the layer or of someone else in the meantime, leads out of it.
// Devices and fifos are refused (STRUCTURE).
//
// The blob is verified and its tree checked as a whole before the first file
// is made, and again while the files are written; on an error dir is emptied.
func (s *Store) Extract(layer Digest, dir string, o ExtractOptions) (err error) {
	t, err := s.ReadLayer(layer)
	if err != nil {
		return err
	}
	for e := range t.Entries() {
		if e.Type == Char || e.Type == Block || e.Type == Fifo {
			return refuse(e.Path, "type", "devices and fifos are not extracted")
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	r, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer r.Close()
	if names, err := listRoot(r); err != nil || len(names) > 0 {
		return errors.Join(err, fault.New(fault.Usage, "%s is not empty", dir).WithHint("name a directory that does not exist yet"))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, emptyRoot(r))
		}
	}()
	x := extraction{root: r, tree: t, o: o}
	return x.run(s, layer)
}

func listRoot(r *os.Root) ([]string, error) {
	f, err := r.Open(".")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

func emptyRoot(r *os.Root) error {
	names, err := listRoot(r)
	for _, n := range names {
		err = errors.Join(err, r.RemoveAll(n))
	}
	return err
}

type extraction struct {
	root *os.Root
	tree *Tree
	o    ExtractOptions
}

func (x *extraction) run(s *Store, layer Digest) error {
	b, err := s.Open(layer)
	if err != nil {
		return err
	}
	defer b.Close()
	tr := tar.NewReader(b)
	// The tree says what each path is; the tar gives the content only. A
	// layer that changed since it was read runs out of step and fails.
	for e := range x.tree.Entries() {
		h, err := tr.Next()
		if err != nil {
			return fmt.Errorf("extracting %q: %w", e.Path, err)
		}
		if path.Clean(h.Name) != e.Path {
			return mismatch(b.path, layer, "it changed while it was extracted")
		}
		if err := x.entry(&e, tr); err != nil {
			return fmt.Errorf("extracting %q: %w", e.Path, err)
		}
	}
	if _, err := io.Copy(io.Discard, b); err != nil {
		return err
	}
	return x.finishDirs()
}

func (x *extraction) entry(e *Entry, content io.Reader) error {
	switch e.Type {
	case Dir:
		// Writable until all is in it; finishDirs sets the mode.
		return x.root.Mkdir(e.Path, 0o700)
	case Symlink:
		if err := x.root.Symlink(e.Target, e.Path); err != nil || !x.o.Owner {
			return err
		}
		return x.root.Lchown(e.Path, int(e.UID), int(e.GID))
	case Link:
		return x.root.Link(e.Target, e.Path)
	}
	f, err := x.root.OpenFile(e.Path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, x.meta(f, e), f.Close())
}

// meta sets owner, attributes and mode of an open file or directory, in this
// order: a change of owner clears set-id bits and capabilities.
func (x *extraction) meta(f *os.File, e *Entry) error {
	mode := e.Mode & 0o777
	if x.o.Owner {
		mode = e.Mode
		if err := f.Chown(int(e.UID), int(e.GID)); err != nil {
			return err
		}
		for _, a := range e.Xattrs {
			if err := unix.Fsetxattr(int(f.Fd()), a.Name, []byte(a.Value), 0); err != nil {
				return &os.PathError{Op: "fsetxattr " + a.Name, Path: e.Path, Err: err}
			}
		}
	}
	return unix.Fchmod(int(f.Fd()), mode)
}

// finishDirs sets the metadata of directories, the deepest first, because a
// directory may be closed to its owner.
func (x *extraction) finishDirs() error {
	entries := x.tree.entries
	for i := len(entries) - 1; i >= 0; i-- {
		e := &entries[i]
		if e.Type != Dir {
			continue
		}
		f, err := x.root.Open(e.Path)
		if err != nil {
			return err
		}
		if err := errors.Join(x.meta(f, e), f.Close()); err != nil {
			return err
		}
	}
	return nil
}
