package surface

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"rebuild/internal/fault"
)

const (
	// maxFiles bounds a tree, as a tree text is bounded.
	maxFiles = 1_000_000
	// maxText is the largest header, pkg-config or source file that is read.
	maxText = 16 << 20
)

// Tree is the files of a package, wherever they lie.
type Tree struct {
	files map[string]*treeFile
	paths []string // sorted; nil until somebody asks
}

type treeFile struct {
	dir  bool
	exec bool
	link string // target of a symbolic link
	size int64
	open func() (content, error)
}

// content is what a file holds, read at any place of it.
type content interface {
	io.ReaderAt
	io.Closer
}

// Scan lists a directory. Links are not followed, and what is no file, folder or
// link is passed over: none of it is a surface. fsys should be one that no link
// leads out of, such as that of an os.Root.
func Scan(fsys fs.FS) (*Tree, error) {
	t := &Tree{files: map[string]*treeFile{}}
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == "." {
			return err
		}
		if d.IsDir() && d.Name() == ".git" {
			return fs.SkipDir // of a working tree
		}
		return t.scan(fsys, p, d)
	})
	if err != nil {
		var coded *fault.Error
		if errors.As(err, &coded) {
			return nil, err
		}
		return nil, fault.New(fault.Usage, "%w", err).WithHint("name a folder that can be read whole")
	}
	return t, nil
}

func (t *Tree) scan(fsys fs.FS, p string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	f := &treeFile{dir: d.IsDir(), exec: info.Mode()&0o111 != 0, size: info.Size()}
	switch {
	case d.IsDir():
	case info.Mode()&fs.ModeSymlink != 0:
		if f.link, err = fs.ReadLink(fsys, p); err != nil {
			return err
		}
	case info.Mode().IsRegular():
		f.open = func() (content, error) { return openAt(fsys, p) }
	default:
		return nil
	}
	return t.add(p, f)
}

func openAt(fsys fs.FS, p string) (content, error) {
	f, err := fsys.Open(p)
	if err != nil {
		return nil, err
	}
	if at, ok := f.(content); ok {
		return at, nil
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxELF+1))
	return inMemory{bytes.NewReader(data)}, err
}

type inMemory struct{ *bytes.Reader }

func (inMemory) Close() error { return nil }

// NewTree returns a tree without files, for who has them in memory.
func NewTree() *Tree { return &Tree{files: map[string]*treeFile{}} }

// Add puts a file into the tree; a link has a target and no data. Folders are
// made as they are needed.
func (t *Tree) Add(p string, executable bool, data []byte, link string) error {
	f := &treeFile{exec: executable, link: link, size: int64(len(data))}
	if link == "" {
		f.open = func() (content, error) { return inMemory{bytes.NewReader(data)}, nil }
	}
	for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
		if !fs.ValidPath(dir) {
			return fault.New(fault.Structure, "%q is no path in a package", p)
		}
		t.files[dir] = &treeFile{dir: true}
	}
	return t.add(p, f)
}

func (t *Tree) add(p string, f *treeFile) error {
	if len(t.files) >= maxFiles {
		return fault.New(fault.Parse, "more than %d files", maxFiles)
	}
	t.files[p], t.paths = f, nil
	return nil
}

// all returns every path, sorted.
func (t *Tree) all() []string {
	if t.paths == nil {
		t.paths = slices.Sorted(maps.Keys(t.files))
	}
	return t.paths
}

// resolve follows links within the tree, "" if they lead nowhere in it.
func (t *Tree) resolve(p string) string {
	for range 40 {
		f := t.files[p]
		if f == nil {
			return ""
		}
		if f.link == "" {
			return p
		}
		if strings.HasPrefix(f.link, "/") {
			p = path.Clean(strings.TrimLeft(f.link, "/"))
		} else {
			p = path.Join(path.Dir(p), f.link)
		}
	}
	return ""
}

// regular returns a regular file's path behind links, "" if there is none.
func (t *Tree) regular(p string) string {
	if p = t.resolve(p); p != "" && t.files[p].dir {
		return ""
	}
	return p
}

// read returns a file of at most limit bytes.
func (t *Tree) read(p string, limit int64) ([]byte, error) {
	at := t.regular(p)
	if at == "" {
		return nil, fault.New(fault.FileMissing, "no such file").At(p, 0)
	}
	f := t.files[at]
	if f.size > limit {
		return nil, fault.New(fault.Parse, "%d bytes, at most %d are read", f.size, limit).At(p, 0)
	}
	c, err := f.open()
	if err != nil {
		return nil, fault.New(fault.Usage, "%w", err)
	}
	defer c.Close()
	data, err := io.ReadAll(io.NewSectionReader(c, 0, limit+1))
	if err != nil {
		return nil, fault.New(fault.Usage, "%w", err)
	}
	if int64(len(data)) > limit {
		return nil, fault.New(fault.Parse, "more than %d bytes", limit).At(p, 0)
	}
	return data, nil
}

// Document returns a file at the top of the tree, nil if there is none.
func (t *Tree) Document(name string, limit int64) ([]byte, error) {
	if t.files[name] == nil {
		return nil, nil
	}
	return t.read(name, limit)
}

// under returns the files and links below a folder, sorted.
func (t *Tree) under(dir string) []string {
	var out []string
	for _, p := range t.all() {
		if inside(p, dir) && !t.files[p].dir {
			out = append(out, p)
		}
	}
	return out
}

func inside(p, dir string) bool { return dir == "." || strings.HasPrefix(p, dir+"/") }
