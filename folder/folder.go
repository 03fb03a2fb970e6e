// Package folder is the package folder on disk: an author's files on their way
// into one, what it is compared with before it is published, and the same
// comparison for a tree that was installed from a package.
//
// [Open] reads an author's folder and [Source.Write] makes the package folder of
// it. [Read] reads a folder as it is, so that nothing which a package does not
// carry goes unseen; what it should be says an inventory, by [Folder.Compare].
//
// What is built is a function of names, content and the owner's execute bit:
// neither umask nor locale, owner, time or order of names in a directory is in
// it. No link is followed, and nothing is read or written outside of the
// directories that are named.
package folder

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"rebuild/attest"
	"rebuild/internal/fault"
	"rebuild/store"
)

// Folder is what a directory holds. Owners are not read: whoever may install
// something owns it.
type Folder struct {
	dir     string
	root    *os.Root
	entries []attest.FileEntry
	marked  []attest.FileFailure // extended attributes, which no inventory lists
	leaders map[inode]string     // of files with several names, the first of them
}

type inode struct{ dev, ino uint64 }

// Read reads names, modes and hashes of everything in dir. A pipe or device is
// an entry of its type, of which nothing is read. The caller closes the folder.
func Read(ctx context.Context, dir string) (*Folder, error) {
	root, err := openRoot(dir)
	if err != nil {
		return nil, err
	}
	f := &Folder{dir: dir, root: root, leaders: map[inode]string{}}
	if err := f.walk(ctx); err != nil {
		root.Close()
		return nil, err
	}
	return f, nil
}

func openRoot(dir string) (*os.Root, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fault.New(fault.Usage, "%w", err).WithHint("name a folder that can be read")
	}
	return root, nil
}

// Close ends the use of the folder.
func (f *Folder) Close() error { return f.root.Close() }

// Entries returns what is there in the order of a tree, without the inventory
// itself.
func (f *Folder) Entries() []attest.FileEntry {
	return slices.DeleteFunc(slices.Clone(f.entries), func(e attest.FileEntry) bool { return e.Path == attest.FilesFile })
}

// Has says whether there is a regular file at the path.
func (f *Folder) Has(path string) bool {
	return slices.ContainsFunc(f.entries, func(e attest.FileEntry) bool { return e.Path == path && e.Type == "f" })
}

func (f *Folder) walk(ctx context.Context) error {
	var found []string
	err := fs.WalkDir(f.root.FS(), ".", func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil && path != "." {
			found = append(found, path)
		}
		if len(found) > store.MaxEntries {
			err = fault.New(fault.Structure, "more than %d files", store.MaxEntries).At(f.dir, 0)
		}
		return err
	})
	if err != nil {
		return unreadable(err)
	}
	// The first name of a file in the order of a tree is its leader.
	slices.Sort(found)
	for _, path := range found {
		if err := cmp.Or(ctx.Err(), f.add(ctx, path)); err != nil {
			return unreadable(err)
		}
	}
	return nil
}

func unreadable(err error) error {
	var coded *fault.Error
	if errors.As(err, &coded) || errors.Is(err, context.Canceled) {
		return err
	}
	return fault.New(fault.Usage, "reading the folder: %w", err).WithHint("make every file readable for this user")
}

// add reads one name.
func (f *Folder) add(ctx context.Context, path string) error {
	info, err := f.root.Lstat(path)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fault.New(fault.Internal, "%s has no inode", path)
	}
	e := attest.FileEntry{Path: path, Type: letter(info.Mode()), Mode: fmt.Sprintf("%04o", st.Mode&0o7777)}
	key := inode{st.Dev, st.Ino}
	switch {
	case e.Type == "l":
		if e.Link, err = f.root.Readlink(path); err != nil {
			return err
		}
	case e.Type == "f" && f.leaders[key] != "":
		e.Type, e.Mode, e.Link = "h", "", f.leaders[key]
	case e.Type == "f":
		if e.Hash, err = f.hash(ctx, path, info.Size()); err != nil {
			return err
		}
		size := info.Size()
		e.Size = &size
		f.leaders[key] = path
	}
	f.entries = append(f.entries, e)
	if err := f.unchanged(path, info); err != nil {
		return err
	}
	names, err := xattrs(filepath.Join(f.dir, filepath.FromSlash(path)))
	if len(names) > 0 {
		f.marked = append(f.marked, attest.FileFailure{Code: fault.FileHash, Path: path, Text: fmt.Sprintf(
			"Verification failed: File '%s' attribute mismatch\nExpected: none\nActual: %s", attest.Plain(path), attest.Plain(strings.Join(names, " ")))})
	}
	return err
}

// unchanged wants a name to lead to what it led to before it was read, so that
// type, mode and content are of one file at one time.
func (f *Folder) unchanged(path string, was fs.FileInfo) error {
	is, err := f.root.Lstat(path)
	if err != nil {
		return err
	}
	if !os.SameFile(was, is) || was.Mode() != is.Mode() || !was.IsDir() && (was.Size() != is.Size() || !was.ModTime().Equal(is.ModTime())) {
		return changing(path)
	}
	return nil
}

func changing(path string) error {
	return fault.New(fault.Structure, "%q changed while it was read", path).WithHint("stop what writes to the folder and run again")
}

// letter is the type of a file as a tree writes it; s is a socket, which no
// tree has.
func letter(m fs.FileMode) string {
	switch m.Type() {
	case 0:
		return "f"
	case fs.ModeDir:
		return "d"
	case fs.ModeSymlink:
		return "l"
	case fs.ModeNamedPipe:
		return "p"
	case fs.ModeDevice:
		return "b"
	case fs.ModeDevice | fs.ModeCharDevice:
		return "c"
	}
	return "s"
}

// open opens a regular file without waiting for anybody.
func (f *Folder) open(path string) (*os.File, error) {
	return f.root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
}

// maxFile bounds one file. A hole of any length costs nothing to make and hours to
// hash.
const maxFile = 16 << 30

func (f *Folder) hash(ctx context.Context, path string, size int64) (store.Digest, error) {
	if size > maxFile {
		return "", fault.New(fault.Structure, "%q has %d bytes, at most %d are read", path, size, int64(maxFile)).WithHint("remove it")
	}
	in, err := f.open(path)
	if err != nil {
		return "", err
	}
	defer in.Close()
	sum := sha256.New()
	n, err := io.Copy(sum, io.LimitReader(interruptible{ctx, in}, size+1))
	if err == nil && n != size {
		err = changing(path)
	}
	return store.DigestOfSum(sum.Sum(nil)), err
}

// interruptible is a reader that ends with its context.
type interruptible struct {
	ctx context.Context
	in  io.Reader
}

func (r interruptible) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.in.Read(p)
}

// xattrs returns the extended attributes of a file, without the label that a
// system with SELinux puts on every file.
func xattrs(path string) ([]string, error) {
	buf := make([]byte, 64<<10) // XATTR_LIST_MAX
	n, err := unix.Llistxattr(path, buf)
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, &fs.PathError{Op: "llistxattr", Path: path, Err: err}
	}
	var names []string
	for name := range strings.SplitSeq(string(buf[:n]), "\x00") {
		if name != "" && name != "security.selinux" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// Content returns the content of a regular file of at most limit bytes. Without
// one the error is FILE_MISSING.
func (f *Folder) Content(path string, limit int64) ([]byte, error) {
	if !f.Has(path) {
		return nil, fault.New(fault.FileMissing, "%s has no file %s", f.dir, path)
	}
	in, err := f.open(path)
	if err != nil {
		return nil, unreadable(err)
	}
	defer in.Close()
	data, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil {
		return nil, unreadable(err)
	}
	if int64(len(data)) > limit {
		return nil, fault.New(fault.Parse, "more than %d bytes", limit).At(filepath.Join(f.dir, path), 0)
	}
	return data, nil
}

// Compare lists every difference between the folder and what an inventory lists,
// extended attributes too. Nil means that there is none.
func (f *Folder) Compare(listed []attest.FileEntry) []attest.FileFailure {
	return slices.Concat(attest.CompareFiles(listed, f.Entries()), f.marked)
}

// CompareInventory is [Folder.Compare] with the files of an inventory, then
// with its hash of them all (TREE_MISMATCH), for which everything is read again.
func (f *Folder) CompareInventory(listed *attest.FilesDocument) ([]attest.FileFailure, error) {
	if failures := f.Compare(listed.Files); len(failures) > 0 {
		return failures, attest.FilesError(failures)
	}
	return nil, f.compareTree("the folder", listed.Hash)
}

// CompareTree is [Folder.CompareInventory] for one payload of a package: listed
// are its files, and tree is what was voted for.
func (f *Folder) CompareTree(listed []attest.FileEntry, tree store.Digest) ([]attest.FileFailure, error) {
	if failures := f.Compare(listed); len(failures) > 0 {
		return failures, attest.FilesError(failures)
	}
	return nil, f.compareTree("the installed payload", tree)
}

func (f *Folder) compareTree(what string, want store.Digest) error {
	tree, err := store.TreeOf(slices.DeleteFunc(f.files(), func(x store.File) bool { return x.Path == attest.FilesFile }))
	if err != nil {
		return err
	}
	if tree.Digest() != want {
		return fault.New(fault.TreeMismatch, "%s has tree %s, want %s", what, tree.Digest(), want)
	}
	return nil
}

// files are the entries with their content, which is read when it is needed.
func (f *Folder) files() []store.File {
	var out []store.File
	for _, e := range f.entries {
		x := store.File{Type: store.Type(e.Type[0]), Path: e.Path, Target: e.Link}
		if e.Mode != "" {
			fmt.Sscanf(e.Mode, "%o", &x.Mode) // was written by add
		}
		if e.Type == "f" {
			x.Size = *e.Size
			x.Open = func() (io.ReadCloser, error) { return f.open(e.Path) }
		}
		out = append(out, x)
	}
	return out
}

// Archive returns the canonical archive of the folder. What a package does not
// carry is FILE_EXTRA, naming every such file; more than 64 MiB is PARSE.
func (f *Folder) Archive(epoch int64) ([]byte, error) {
	failures := slices.Clone(f.marked)
	for _, e := range f.entries {
		if why := uncarried(e); why != "" {
			failures = append(failures, refused(e.Path, why))
		}
	}
	if err := attest.FilesError(failures); err != nil {
		return nil, err
	}
	return archive(f.files(), epoch)
}

// uncarried says why an entry can not be in a package, "" if it can.
func uncarried(e attest.FileEntry) string {
	switch {
	case !strings.Contains("dflh", e.Type):
		return kinds[e.Type]
	case e.Type == "f" && e.Mode != "0644" && e.Mode != "0755", e.Type == "d" && e.Mode != "0755":
		return "has mode " + e.Mode
	}
	return ""
}

var kinds = map[string]string{"p": "is a pipe", "c": "is a device", "b": "is a device", "s": "is a socket"}

func archive(files []store.File, epoch int64) ([]byte, error) {
	var out bytes.Buffer
	if _, err := store.WriteArchive(&limited{to: &out, left: attest.MaxArchive}, files, epoch); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// limited is a writer of so many bytes.
type limited struct {
	to   io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= len(p); l.left < 0 {
		return 0, fault.New(fault.Parse, "the package archive has more than %d bytes", attest.MaxArchive).
			WithHint("leave files out with .rebuildignore, or ship them as an OCI image")
	}
	return l.to.Write(p)
}

func refused(path, why string) attest.FileFailure {
	return attest.FileFailure{Code: fault.FileExtra, Path: path,
		Text: fmt.Sprintf("File '%s' %s, which a package does not carry", attest.Plain(path), why)}
}

// Listing returns the entries of a package archive that has no inventory, or of
// the payload at path in it, as they are when they are installed.
func Listing(pkg *attest.Package, path string) ([]attest.FileEntry, error) {
	listed := pkg.Files().Files
	if !pkg.Verified() {
		files, err := attest.ReadLayer(bytes.NewReader(pkg.Archive()))
		if err != nil {
			return nil, err
		}
		raw, err := attest.NewFiles(files, nil, attest.BareEpoch)
		if err != nil {
			return nil, err
		}
		doc, err := attest.DecodeFiles(attest.FilesFile, raw)
		if err != nil {
			return nil, err
		}
		listed = doc.Files
	}
	if path == "" {
		return listed, nil
	}
	return below(listed, path), nil
}

// below are the entries below a directory, relative to it.
func below(listed []attest.FileEntry, dir string) []attest.FileEntry {
	var out []attest.FileEntry
	for _, e := range listed {
		rest, ok := strings.CutPrefix(e.Path, dir+"/")
		if !ok {
			continue
		}
		e.Path = rest
		if e.Type == "h" {
			e.Link = strings.TrimPrefix(e.Link, dir+"/")
		}
		out = append(out, e)
	}
	return out
}

// VerifyTree compares the whole with a tree that was voted for, of which no
// list is at hand (TREE_MISMATCH).
func (f *Folder) VerifyTree(tree store.Digest) error {
	if err := attest.FilesError(f.marked); err != nil {
		return err
	}
	return f.compareTree("the installed payload", tree)
}
