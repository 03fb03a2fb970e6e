package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"rebuild/internal/fault"
)

// ReadDir returns the tree of the directory dir, which may itself be reached
// through links. Inside it nothing is followed: every name is opened relative
// to its directory. It works as root and as anyone who may read the files. A
// file or directory that changes while it is read is an error (STRUCTURE).
func ReadDir(dir string) (*Tree, error) {
	w, err := newWalk(dir)
	if err != nil {
		return nil, err
	}
	defer w.close()
	entries, openers, err := w.entries()
	if err != nil {
		return nil, err
	}
	if err := digestFiles(entries, openers); err != nil {
		return nil, err
	}
	if err := w.unchanged(); err != nil {
		return nil, err
	}
	return newTree(entries), nil
}

// walk reads one directory tree. The first pass collects names and metadata,
// the second, in tree order, opens the files; what differs between them shows
// in times or sizes.
type walk struct {
	dirs   *dirCache
	build  builder
	inodes map[inode]*node // files with several names
	seen   []seenDir
}

type inode struct{ dev, ino uint64 }

type seenDir struct {
	path string
	stat unix.Stat_t
}

func newWalk(dir string) (*walk, error) {
	d, err := newDirCache(dir)
	if err != nil {
		return nil, err
	}
	return &walk{dirs: d, inodes: map[inode]*node{}}, nil
}

func (w *walk) close() { w.dirs.close() }

func (w *walk) entries() ([]Entry, []opener, error) {
	if err := w.collect(); err != nil {
		return nil, nil, err
	}
	return w.build.finish()
}

// collect is the first pass. Directories wait on a stack of paths instead of
// a recursion, which a deep tree could exhaust.
func (w *walk) collect() error {
	xattrs, err := listXattrs(w.dirs.rootPath())
	if err != nil {
		return err
	}
	if err := w.build.add(root.Path, &node{entry: Entry{Type: Dir, Xattrs: xattrs}}); err != nil {
		return err
	}
	for todo := []string{root.Path}; len(todo) > 0; {
		dir := todo[len(todo)-1]
		below, err := w.collectDir(dir)
		if err != nil {
			return err
		}
		todo = append(todo[:len(todo)-1], below...)
	}
	return nil
}

// collectDir adds the entries of one directory and returns its directories.
func (w *walk) collectDir(dir string) (below []string, err error) {
	fd, err := w.dirs.open(dir)
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, pathError("fstat", dir, err)
	}
	w.seen = append(w.seen, seenDir{dir, st})
	names, err := readNames(fd, dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		isDir, err := w.collectName(fd, dir, name)
		if err != nil {
			return nil, err
		}
		if isDir {
			below = append(below, join(dir, name))
		}
	}
	slices.Sort(below)
	slices.Reverse(below) // the stack then visits them in order
	return below, nil
}

func (w *walk) collectName(fd int, dir, name string) (isDir bool, err error) {
	path := join(dir, name)
	var st unix.Stat_t
	if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return false, pathError("lstat", path, err)
	}
	key := inode{st.Dev, st.Ino}
	if n := w.inodes[key]; n != nil {
		return false, w.build.add(path, n)
	}
	e, err := statEntry(&st)
	if err != nil {
		return false, refuse(path, "type", "%v", err)
	}
	if e.Xattrs, err = listXattrs(fmt.Sprintf("/proc/self/fd/%d/%s", fd, name)); err != nil {
		return false, err
	}
	n := &node{entry: e}
	switch e.Type {
	case Symlink:
		if n.entry.Target, err = readLink(fd, name); err != nil {
			return false, pathError("readlink", path, err)
		}
	case Regular:
		n.open = func() (io.ReadCloser, error) { return w.openFile(path, st) }
		if st.Nlink > 1 {
			w.inodes[key] = n
		}
	}
	return e.Type == Dir, w.build.add(path, n)
}

// statEntry translates what lstat says.
func statEntry(st *unix.Stat_t) (Entry, error) {
	e := Entry{Mode: st.Mode & 0o7777, UID: int64(st.Uid), GID: int64(st.Gid)}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		e.Type = Dir
	case unix.S_IFREG:
		e.Type, e.Size = Regular, st.Size
	case unix.S_IFLNK:
		e.Type = Symlink
	case unix.S_IFCHR, unix.S_IFBLK:
		e.Type = Char
		if st.Mode&unix.S_IFMT == unix.S_IFBLK {
			e.Type = Block
		}
		e.Major, e.Minor = int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev))
	case unix.S_IFIFO:
		e.Type = Fifo
	case unix.S_IFSOCK:
		return e, errors.New("a socket")
	default:
		return e, fmt.Errorf("unknown file type %o", st.Mode&unix.S_IFMT)
	}
	return e, nil
}

// unchanged compares every directory with what the first pass saw.
func (w *walk) unchanged() error {
	for _, d := range w.seen {
		fd, err := w.dirs.open(d.path)
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return pathError("fstat", d.path, err)
		}
		if !sameFile(&st, &d.stat) {
			return changed(d.path)
		}
	}
	return nil
}

func changed(path string) error {
	return fault.New(fault.Structure, "%q changed while it was read", path).With("cause", "content: changed").
		WithHint("stop what writes to the directory and run again")
}

// sameFile compares what every change of content or metadata moves; the
// access time is not among it.
func sameFile(a, b *unix.Stat_t) bool {
	return a.Dev == b.Dev && a.Ino == b.Ino && a.Mode == b.Mode && a.Size == b.Size && a.Mtim == b.Mtim && a.Ctim == b.Ctim
}

// openFile opens the regular file that the first pass saw at path as was.
func (w *walk) openFile(path string, was unix.Stat_t) (io.ReadCloser, error) {
	dir, err := w.dirs.open(parent(path))
	if err != nil {
		return nil, err
	}
	// O_NONBLOCK: a fifo that took the file's place must not hold us up.
	fd, err := retry(func() (int, error) {
		return unix.Openat(dir, filepath.Base(path), unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, pathError("open", path, err)
	}
	f := &walkFile{fd: fd, path: path, was: was}
	if err := f.check(); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// walkFile is a file that must be at its end what it was at its start. It is
// a bare descriptor: an os.File costs three more system calls, which shows
// with many small files.
type walkFile struct {
	fd   int
	path string
	was  unix.Stat_t
}

func (f *walkFile) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := retry(func() (int, error) { return unix.Read(f.fd, p) })
	switch {
	case err != nil:
		return 0, pathError("read", f.path, err)
	case n > 0:
		return n, nil
	}
	if err := f.check(); err != nil {
		return 0, err
	}
	return 0, io.EOF
}

func (f *walkFile) check() error {
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return pathError("fstat", f.path, err)
	}
	if !sameFile(&st, &f.was) {
		return changed(f.path)
	}
	return nil
}

// Close implements [io.Closer].
func (f *walkFile) Close() error { return unix.Close(f.fd) }

// dirCache opens directories below a root one component at a time, never
// through a link, and keeps the chain to the last one. Paths that come in
// order therefore open each directory once. At most maxDirs descriptors are
// held, however deep the tree.
type dirCache struct {
	root  *os.File
	chain []openDir // below the root, outermost first
}

type openDir struct {
	path string
	fd   int // -1: given back to stay under maxDirs
}

const maxDirs = 64

func newDirCache(dir string) (*dirCache, error) {
	fd, err := retry(func() (int, error) {
		return unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, pathError("open", dir, err)
	}
	return &dirCache{root: os.NewFile(uintptr(fd), dir)}, nil
}

// rootPath names the root for calls that take a path. The dot is there
// because /proc/self/fd/N itself is a link.
func (c *dirCache) rootPath() string { return fmt.Sprintf("/proc/self/fd/%d/.", c.root.Fd()) }

// open returns a descriptor of dir that is valid until the next call.
func (c *dirCache) open(dir string) (int, error) {
	for len(c.chain) > 0 {
		top := c.chain[len(c.chain)-1]
		if dir == top.path || strings.HasPrefix(dir, top.path+"/") {
			break
		}
		c.pop()
	}
	if len(c.chain) > 0 && c.chain[len(c.chain)-1].fd < 0 {
		for len(c.chain) > 0 { // deeper than maxDirs: walk down again
			c.pop()
		}
	}
	for {
		path, fd := root.Path, int(c.root.Fd())
		if n := len(c.chain); n > 0 {
			path, fd = c.chain[n-1].path, c.chain[n-1].fd
		}
		if path == dir {
			return fd, nil
		}
		if err := c.push(fd, next(path, dir)); err != nil {
			return -1, err
		}
	}
}

// next returns the path one component longer than base on the way to dir.
func next(base, dir string) string {
	from := 0
	if base != root.Path {
		from = len(base) + 1
	}
	if i := strings.IndexByte(dir[from:], '/'); i >= 0 {
		return dir[:from+i]
	}
	return dir
}

func (c *dirCache) push(parent int, path string) error {
	fd, err := retry(func() (int, error) {
		return unix.Openat(parent, filepath.Base(path), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return pathError("open", path, err)
	}
	c.chain = append(c.chain, openDir{path, fd})
	if n := len(c.chain) - maxDirs; n > 0 {
		unix.Close(c.chain[n-1].fd)
		c.chain[n-1].fd = -1
	}
	return nil
}

func (c *dirCache) pop() {
	top := c.chain[len(c.chain)-1]
	if top.fd >= 0 {
		unix.Close(top.fd)
	}
	c.chain = c.chain[:len(c.chain)-1]
}

func (c *dirCache) close() {
	for len(c.chain) > 0 {
		c.pop()
	}
	c.root.Close()
}

// readNames lists a directory through a descriptor of its own, because
// reading moves the descriptor's offset.
func readNames(fd int, dir string) ([]string, error) {
	own, err := retry(func() (int, error) {
		return unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, pathError("open", dir, err)
	}
	f := os.NewFile(uintptr(own), dir)
	defer f.Close()
	var names []string
	for {
		some, err := f.Readdirnames(1024)
		names = append(names, some...)
		if err == io.EOF {
			return names, nil
		}
		if err != nil {
			return nil, fmt.Errorf("listing %q: %w", dir, err)
		}
		if len(names) > MaxEntries {
			return nil, refuse(dir, "entries: too many", "at most %d are allowed", MaxEntries)
		}
	}
}

func readLink(fd int, name string) (string, error) {
	buf := make([]byte, MaxPath+1)
	n, err := unix.Readlinkat(fd, name, buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// listXattrs returns the attributes of what path names, not following it. The
// path goes through /proc/self/fd, because the kernel has no such call that
// takes a directory's descriptor and a name.
func listXattrs(path string) ([]Xattr, error) {
	list, err := readXattr(func(b []byte) (int, error) { return unix.Llistxattr(path, b) })
	if errors.Is(err, unix.ENOTSUP) || err == nil && len(list) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, pathError("llistxattr", path, err)
	}
	var xs []Xattr
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		if name == "security.selinux" {
			continue // may be unreadable, and does not count
		}
		value, err := readXattr(func(b []byte) (int, error) { return unix.Lgetxattr(path, name, b) })
		if err != nil {
			return nil, pathError("lgetxattr "+name, path, err)
		}
		xs = append(xs, Xattr{name, string(value)})
	}
	return xs, nil
}

// readXattr calls get with a buffer that is large enough. No attribute and no
// list of names is longer than 64 KiB (XATTR_SIZE_MAX, XATTR_LIST_MAX).
func readXattr(get func([]byte) (int, error)) ([]byte, error) {
	n, err := get(nil)
	if err != nil || n == 0 {
		return nil, err
	}
	buf := make([]byte, 64<<10)
	n, err = get(buf)
	if err != nil {
		return nil, err
	}
	return buf[:n], nil
}

// retry repeats a call that a signal interrupted.
func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != unix.EINTR {
			return n, err
		}
	}
}

func pathError(op, path string, err error) error {
	return &os.PathError{Op: op, Path: path, Err: err}
}

func join(dir, name string) string {
	if dir == root.Path {
		return name
	}
	return dir + "/" + name
}
