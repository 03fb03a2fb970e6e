package store

import (
	"bytes"
	"io"
	"strings"
)

// File is one file, directory or link given by a program instead of a file
// system. The zero Type is Regular. Owners are always 0:0.
type File struct {
	Type   Type // Regular, Dir, Symlink or Link
	Path   string
	Mode   uint32 // permission bits; not for links
	Target string // of a Symlink or Link; a Link names an earlier File
	Data   []byte // content, unless Open is set
	// Open opens the content, which must have exactly Size bytes. It is
	// called at most once for each tree that is made.
	Open func() (io.ReadCloser, error)
	Size int64
}

// buildFiles makes the builder of files. Directories that are missing are
// made with mode 0755.
func buildFiles(files []File) (*builder, error) {
	b := &builder{}
	byPath := map[string]*node{}
	for _, f := range files {
		n, err := f.node(byPath)
		if err != nil {
			return nil, err
		}
		if byPath[f.Path] != nil {
			return nil, refuse(f.Path, "path: twice")
		}
		if err := b.add(f.Path, n); err != nil {
			return nil, err
		}
		byPath[f.Path] = n
	}
	return b, b.addParents(byPath)
}

func (f *File) node(byPath map[string]*node) (*node, error) {
	n := &node{entry: Entry{Type: f.Type, Mode: f.Mode, Target: f.Target}}
	switch f.Type {
	case 0, Regular:
		n.entry.Type, n.entry.Target = Regular, ""
		n.entry.Size, n.open = f.Size, f.Open
		if f.Open == nil {
			n.entry.Size = int64(len(f.Data))
			n.open = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(f.Data)), nil }
		}
	case Dir, Symlink:
	case Link:
		leader := byPath[f.Target]
		if leader == nil || leader.entry.Type != Regular {
			return nil, refuse(f.Path, "link", "%q is not an earlier regular file", f.Target)
		}
		return leader, nil
	default:
		return nil, refuse(f.Path, "type", "%q can not be given as a file", rune(f.Type))
	}
	return n, nil
}

// addParents adds the directories above the names that nobody listed.
func (b *builder) addParents(byPath map[string]*node) error {
	for _, n := range b.names {
		for p := n.path; strings.Contains(p, "/"); {
			p = parent(p)
			if byPath[p] != nil {
				break
			}
			dir := &node{entry: Entry{Type: Dir, Mode: 0o755}}
			if err := b.add(p, dir); err != nil {
				return err
			}
			byPath[p] = dir
		}
	}
	return nil
}

// TreeOf returns the tree of files without storing anything. Their order does
// not count, except that a Link follows what it names.
func TreeOf(files []File) (*Tree, error) {
	b, err := buildFiles(files)
	if err != nil {
		return nil, err
	}
	entries, openers, err := b.finish()
	if err != nil {
		return nil, err
	}
	if err := digestFiles(entries, openers); err != nil {
		return nil, err
	}
	return newTree(entries), nil
}

// PutFiles stores the canonical layer and the tree text of files; see
// [TreeOf] and [Store.PutDir].
func (s *Store) PutFiles(files []File, epoch int64) (Layer, error) {
	return s.commitLayer(func(b *Batch) (Layer, error) { return b.PutFiles(files, epoch) })
}

// PutFiles is [Store.PutFiles] within a batch.
func (b *Batch) PutFiles(files []File, epoch int64) (Layer, error) {
	build, err := buildFiles(files)
	if err != nil {
		return Layer{}, err
	}
	entries, openers, err := build.finish()
	if err != nil {
		return Layer{}, err
	}
	return b.putLayer(entries, openers, epoch, nil)
}

// Archive is what [WriteArchive] wrote.
type Archive struct {
	Tree   *Tree
	Digest Digest // of the tar
	Size   int64  // bytes of the tar
}

// WriteArchive writes the canonical layer of files to w: the form of package
// archives and bundles. What was written before an error is of no use.
func WriteArchive(w io.Writer, files []File, epoch int64) (Archive, error) {
	build, err := buildFiles(files)
	if err != nil {
		return Archive{}, err
	}
	entries, openers, err := build.finish()
	if err != nil {
		return Archive{}, err
	}
	t, d, n, err := writeLayer(w, entries, openers, epoch)
	return Archive{t, d, n}, err
}
