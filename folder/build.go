package folder

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"rebuild/attest"
	"rebuild/internal/document"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
	"rebuild/store"
)

// PackageTOML is the metadata as an author writes it. The package carries its
// image.
const PackageTOML = "package.toml"

// Item is one name of an author's folder. What is below a directory that is
// left out is not listed.
type Item struct {
	Path    string `json:"path"`
	Type    string `json:"type"` // as in a tree
	Skipped string `json:"skipped,omitempty"`
}

// Source is an author's folder that was read.
type Source struct {
	doc   *attest.PackageDocument
	file  string // that doc is from
	image []byte
	items []Item
	files []store.File // what goes into the package, but its inventory

	refused []attest.FileFailure
}

// Document returns the metadata.
func (s *Source) Document() *attest.PackageDocument { return s.doc }

// File names the file that the metadata is from.
func (s *Source) File() string { return s.file }

// Items lists every name in the order of a tree, and why one is left out.
func (s *Source) Items() []Item { return slices.Clone(s.items) }

// Refused lists what the package can not carry; with any, Open has failed.
func (s *Source) Refused() []attest.FileFailure { return slices.Clone(s.refused) }

// Open reads an author's folder. destination, which may lie in it, is left out.
// Modes are made 0755 and 0644, a file with several names becomes several
// files. What a package can not carry, pipes, devices, sockets, programs that
// run as somebody else and extended attributes, is FILE_EXTRA; the source is
// returned then too, and lists them.
func Open(ctx context.Context, dir, destination string) (*Source, error) {
	root, err := openRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	b := &builder{dir: dir, root: root, source: &Source{}, left: attest.MaxArchive}
	if b.destination, err = within(dir, destination); err != nil {
		return nil, err
	}
	if err := b.readMetadata(); err != nil {
		return nil, err
	}
	if err := b.readIgnore(); err != nil {
		return nil, err
	}
	if err := b.walk(ctx); err != nil {
		return nil, unreadable(err)
	}
	if !slices.ContainsFunc(b.source.items, func(i Item) bool { return i.Path == attest.PackageFile }) {
		b.source.items = append(b.source.items, Item{Path: attest.PackageFile, Type: "f"})
	}
	slices.SortFunc(b.source.items, func(x, y Item) int { return strings.Compare(x.Path, y.Path) })
	return b.source, attest.FilesError(b.source.refused)
}

// within returns where destination is relative to dir, "" if it is elsewhere.
func within(dir, destination string) (string, error) {
	if destination == "" {
		return "", nil
	}
	from, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	to, err := filepath.Abs(destination)
	if err != nil {
		return "", err
	}
	rel, err := filepath.Rel(real(from), filepath.Join(real(filepath.Dir(to)), filepath.Base(to)))
	if err != nil || !filepath.IsLocal(rel) {
		return "", nil
	}
	if rel == "." {
		return "", fault.New(fault.Usage, "%s is the source itself", destination).WithHint("name a new folder with --destination")
	}
	return filepath.ToSlash(rel), nil
}

// real is a path without links, as far as it exists.
func real(path string) string {
	if r, err := filepath.EvalSymlinks(path); err == nil {
		return r
	}
	return path
}

type builder struct {
	dir         string
	root        *os.Root
	destination string // in dir, "" if it is elsewhere
	ignore      ignore
	source      *Source
	left        int64 // bytes of content that an archive has room for
}

// read reads a small file that need not be there.
func (b *builder) read(name string, limit int64) ([]byte, error) {
	f := &Folder{dir: b.dir, root: b.root}
	info, err := b.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, unreadable(err)
	}
	if !info.Mode().IsRegular() {
		return nil, fault.New(fault.Structure, "not a regular file").At(filepath.Join(b.dir, name), 0)
	}
	f.entries = []attest.FileEntry{{Path: name, Type: "f"}}
	return f.Content(name, limit)
}

// readMetadata takes package.toml, or its image, or both if they are equal.
func (b *builder) readMetadata() error {
	var err error
	s := b.source
	s.file = filepath.Join(b.dir, PackageTOML)
	if _, none := b.root.Lstat(PackageTOML); errors.Is(none, fs.ErrNotExist) {
		s.file = filepath.Join(b.dir, attest.PackageFile)
	}
	s.doc, s.image, err = metadata(b.dir, b.read)
	if err == nil {
		s.files = append(s.files, store.File{Path: attest.PackageFile, Mode: 0o644, Data: s.image})
	}
	return err
}

func metadata(dir string, read func(name string, limit int64) ([]byte, error)) (*attest.PackageDocument, []byte, error) {
	text, err := read(PackageTOML, document.Package.MaxBytes)
	if err != nil {
		return nil, nil, err
	}
	image, err := read(attest.PackageFile, document.Package.MaxBytes)
	if err != nil {
		return nil, nil, err
	}
	switch {
	case text == nil && image == nil:
		return nil, nil, fault.New(fault.Usage, "%s holds neither %s nor %s", dir, PackageTOML, attest.PackageFile).
			WithHint("describe the package in %s", filepath.Join(dir, PackageTOML))
	case text == nil:
		doc, err := attest.DecodePackage(filepath.Join(dir, attest.PackageFile), image)
		return doc, image, err
	}
	doc, fresh, err := attest.LoadPackage(filepath.Join(dir, PackageTOML), text)
	if err == nil && image != nil && !bytes.Equal(fresh, image) {
		err = fault.New(fault.Semantic, "%s is not the image of %s, which is there too", attest.PackageFile, PackageTOML).
			At(filepath.Join(dir, attest.PackageFile), 0).WithHint("remove one of them")
	}
	return doc, fresh, err
}

func (b *builder) readIgnore() error {
	text, err := b.read(IgnoreFile, maxIgnore)
	if err == nil {
		b.ignore, err = parseIgnore(filepath.Join(b.dir, IgnoreFile), string(text))
	}
	return err
}

func (b *builder) walk(ctx context.Context) error {
	return fs.WalkDir(b.root.FS(), ".", func(p string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || p == "." {
			return err
		}
		if len(b.source.items) >= store.MaxEntries {
			return fault.New(fault.Structure, "more than %d files", store.MaxEntries).At(b.dir, 0).
				WithHint("leave files out with .rebuildignore")
		}
		item := Item{Path: strings.ToValidUTF8(p, "\uFFFD"), Type: letter(d.Type())}
		if item.Skipped, err = b.skip(p, d.IsDir()); err != nil {
			return err
		}
		b.source.items = append(b.source.items, item)
		if item.Skipped != "" && d.IsDir() {
			return fs.SkipDir
		}
		if item.Skipped != "" || p == attest.PackageFile {
			return nil
		}
		return b.add(p, d)
	})
}

// own are the names that are never content.
var own = map[string]string{
	PackageTOML:      "its image goes in as " + attest.PackageFile,
	IgnoreFile:       "says what is left out",
	attest.FilesFile: "is made anew by --include-manifest",
}

// skip says why a name is left out, "" if it is not.
func (b *builder) skip(p string, dir bool) (string, error) {
	switch name := path.Base(p); {
	case own[p] != "" && !dir:
		return own[p], nil
	case p == b.destination:
		return "the destination", nil
	case b.destination != "" && p == path.Join(path.Dir(b.destination), stageName(b.destination)):
		return "left by a build that was stopped", nil
	case name == ".git" || name == ".hg" || name == ".svn":
		return "version control", nil
	case p == attest.PackageFile:
		return "", nil
	}
	return b.ignore.reason(p, dir)
}

// add takes one name into the package.
func (b *builder) add(p string, d fs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	marks, err := xattrs(filepath.Join(b.dir, filepath.FromSlash(p)))
	if err != nil {
		return err
	}
	mode := info.Mode()
	f := store.File{Path: p, Mode: 0o644}
	switch kind := letter(mode); {
	case len(marks) > 0:
		b.refuse(p, "has the extended attributes "+strings.Join(marks, " "))
	case kind == "d":
		f.Type, f.Mode = store.Dir, 0o755
	case kind == "l":
		f.Type, f.Mode = store.Symlink, 0o777
		f.Target, err = b.root.Readlink(p)
	case kind != "f":
		b.refuse(p, kinds[kind])
	case mode&(fs.ModeSetuid|fs.ModeSetgid) != 0:
		b.refuse(p, "runs as its owner or group")
	default:
		if mode&0o100 != 0 {
			f.Mode = 0o755
		}
		f.Data, err = b.content(p, info.Size())
	}
	b.source.files = append(b.source.files, f)
	return err
}

func (b *builder) refuse(p, why string) {
	b.source.refused = append(b.source.refused, refused(p, why))
}

func (b *builder) content(p string, size int64) ([]byte, error) {
	if b.left -= size; b.left < 0 {
		return nil, fault.New(fault.Parse, "the package has more than %d bytes, from %s on", attest.MaxArchive, p).
			WithHint("leave files out with %s, or ship them as an OCI image", IgnoreFile)
	}
	f := &Folder{dir: b.dir, root: b.root, entries: []attest.FileEntry{{Path: p, Type: "f"}}}
	return f.Content(p, size)
}

// Built is a package folder that was made, or would be.
type Built struct {
	Hash     store.Digest // tree of all but the inventory
	Package  store.Digest // of rebuild.package.json
	Manifest store.Digest // of rebuild.files.json, "" without
	Cksum    string       // of the archive that publishing makes of it
	Files    []attest.FileEntry

	files []store.File
}

// Pack makes the package in memory, with its inventory if manifest.
func (s *Source) Pack(manifest bool, epoch int64) (*Built, error) {
	inventory, err := attest.NewFiles(s.files, nil, epoch)
	if err != nil {
		return nil, err
	}
	listed, err := attest.DecodeFiles(attest.FilesFile, inventory)
	if err != nil {
		return nil, err
	}
	b := &Built{Hash: listed.Hash, Package: store.DigestOf(s.image), Files: listed.Files, files: slices.Clone(s.files)}
	if manifest {
		b.Manifest = store.DigestOf(inventory)
		b.files = append(b.files, store.File{Path: attest.FilesFile, Mode: 0o644, Data: inventory})
	} else {
		epoch = attest.BareEpoch
	}
	raw, err := archive(b.files, epoch)
	if err != nil {
		return nil, err
	}
	pkg, err := attest.OpenArchive("the new package", raw) // what nobody could open is not written
	if err != nil {
		return nil, err
	}
	b.Cksum = pkg.Cksum()
	return b, nil
}

// CheckDestination refuses what is there already, unless it is an empty folder
// (USAGE).
func CheckDestination(dir string) error {
	held, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fault.New(fault.Usage, "%w", err).WithHint("name a new folder with --destination")
	case len(held) > 0:
		return fault.New(fault.Usage, "%s is not empty: it holds %s", dir, held[0].Name()).WithHint("name a new folder with --destination")
	}
	return nil
}

// stageName is what a folder is called while it is made, beside where it will
// be. It follows from the name, so that what a killed build left is taken over
// by the next one.
func stageName(destination string) string { return "." + path.Base(destination) + ".build" }

// Write makes the folder dir, which must be new or empty. It appears whole, by
// one rename, and is on disk when Write returns; on an error nothing is left.
// Another build that is making it is USAGE.
func (b *Built) Write(dir string) (err error) {
	if err := CheckDestination(dir); err != nil {
		return err
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return err
	}
	parent, disk := filepath.Dir(dir), durable.OS{}
	if err := durable.MkdirAll(disk, parent); err != nil {
		return err
	}
	stage := filepath.Join(parent, stageName(filepath.ToSlash(dir)))
	lock, err := durable.Claim(stage)
	if errors.Is(err, durable.ErrClaimed) || errors.Is(err, durable.ErrInTheWay) {
		return fault.New(fault.Usage, "%s: %w", stage, err).WithHint("wait for another build to end, or name another folder with --destination")
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	defer func() {
		if err != nil {
			err = errors.Join(err, durable.RemoveAll(stage))
		}
	}()
	if err := b.writeAll(stage); err != nil {
		return err
	}
	// Not os.Rename, which does not replace an empty folder.
	if err := unix.Rename(stage, dir); err != nil {
		return &os.LinkError{Op: "rename", Old: stage, New: dir, Err: err}
	}
	if err := disk.SyncDir(parent); err != nil { // or the next build would find it in its way
		return errors.Join(err, durable.RemoveAll(dir))
	}
	return nil
}

func (b *Built) writeAll(stage string) error {
	root, err := os.OpenRoot(stage)
	if err != nil {
		return err
	}
	defer root.Close()
	slices.SortFunc(b.files, func(x, y store.File) int { return strings.Compare(x.Path, y.Path) })
	dirs := []string{"."}
	for _, f := range b.files {
		if f.Type == store.Dir {
			dirs = append(dirs, f.Path)
		}
		if err := writeOne(root, f); err != nil {
			return err
		}
	}
	for _, d := range slices.Backward(dirs) {
		if err := finishDir(root, stage, d); err != nil {
			return err
		}
	}
	return nil
}

// writeOne writes one file with its mode, whatever the umask is.
func writeOne(root *os.Root, f store.File) error {
	switch f.Type {
	case store.Dir:
		return root.Mkdir(f.Path, 0o700)
	case store.Symlink:
		return root.Symlink(f.Target, f.Path)
	}
	out, err := root.OpenFile(f.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = out.Write(f.Data)
	return errors.Join(err, out.Chmod(fs.FileMode(f.Mode)), out.Sync(), out.Close())
}

func finishDir(root *os.Root, stage, dir string) error {
	if err := root.Chmod(dir, 0o755); err != nil {
		return err
	}
	return durable.OS{}.SyncDir(filepath.Join(stage, dir))
}
