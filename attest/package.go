package attest

import (
	"archive/tar"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"

	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/internal/names"
	"rebuild/store"
)

// MaxArchive is the largest package archive in bytes (formats.md 6).
const MaxArchive = 64 << 20

// The files of a package folder that are not content.
const (
	PackageFile = "rebuild.package.json"
	FilesFile   = "rebuild.files.json"
	ExportsFile = "rebuild.exports.json"
)

// States of a package between build and publication, and later: what people
// see of it at a glance (requirements C16).
const (
	PackageVerified   = "verified"   // all that its inventory, or its release, says is so
	PackageFailed     = "failed"     // something is not
	PackageUnverified = "unverified" // there is no inventory or no judge, so nobody can say
)

// PackageDocument is a package's metadata: package.toml, or its image in
// rebuild.package.json. It is the signers' word; no quorum voted on it.
type PackageDocument struct {
	Depends       map[string]string `json:"depends,omitempty"` // package name to version range
	Description   string            `json:"description"`
	Docs          string            `json:"docs"`
	License       string            `json:"license"`
	Meta          PackageMeta       `json:"meta"`
	ModuleRoot    string            `json:"module_root,omitempty"`
	Modules       []string          `json:"modules,omitempty"`
	Name          string            `json:"name"` // NAME or ORG/NAME
	SchemaVersion string            `json:"schema_version"`
	Version       string            `json:"version"`
}

// PackageMeta holds what is asked of the reader.
type PackageMeta struct {
	RebuildCompat string `json:"rebuild_compat"` // range of rebuild versions
}

// LoadPackage reads package.toml and returns the document and its image. What
// must be said and is not has a code of its own, PKG_..._REQUIRED; a malformed
// name, version or range of a dependency is STRUCTURE.
func LoadPackage(file string, data []byte) (*PackageDocument, []byte, error) {
	var d PackageDocument
	src, err := document.DecodeTOML(file, data, document.Package, &d)
	if err != nil {
		return nil, nil, notText(err)
	}
	if err := d.validate(); err != nil {
		return nil, nil, fault.In(err, file)
	}
	// The image of an empty list would be no document: it says nothing.
	for name, empty := range map[string]bool{"depends": d.Depends != nil && len(d.Depends) == 0, "modules": d.Modules != nil && len(d.Modules) == 0} {
		if empty {
			return nil, nil, fault.New(fault.Structure, "%s is empty", name).At(file, 0).WithHint("leave it out, or name something")
		}
	}
	return &d, src.Image(), nil
}

// DecodePackage reads rebuild.package.json, with the errors of [LoadPackage].
func DecodePackage(file string, data []byte) (*PackageDocument, error) {
	var d PackageDocument
	if err := document.Decode(file, data, document.Package, &d); errors.Is(err, document.ErrIncomplete) {
		return nil, cmp.Or(fault.In(d.checkTexts(), file), err)
	} else if err != nil {
		return nil, notText(err)
	}
	if err := d.validate(); err != nil {
		return nil, fault.In(err, file)
	}
	return &d, nil
}

// required are the texts that a package must have, and how their absence is
// called (requirements A1 to A4).
var required = []struct {
	key, pointer string
	code, typed  fault.Code
	text         func(*PackageDocument) string
}{
	{"description", "/description", fault.PkgDescriptionRequired, fault.PkgDescriptionRequired, func(d *PackageDocument) string { return d.Description }},
	{"docs", "/docs", fault.PkgDocsRequired, fault.PkgDocsRequired, func(d *PackageDocument) string { return d.Docs }},
	{"license", "/license", fault.PkgLicenseRequired, fault.PkgLicenseRequired, func(d *PackageDocument) string { return d.License }},
	{"meta.rebuild_compat", "/meta/rebuild_compat", fault.PkgCompatRequired, fault.PkgCompatNotString, func(d *PackageDocument) string { return d.Meta.RebuildCompat }},
}

// notText gives a required text that is a number or a list its own code. Any
// other error it returns as it is.
func notText(err error) error {
	at := document.WrongType(err)
	for _, r := range required {
		if r.pointer == at {
			var from *fault.Error
			errors.As(err, &from)
			return fault.New(r.typed, "%s is not a string", r.key).At(from.File, from.Line).WithHint("write %s as a string", r.key)
		}
	}
	return err
}

// checkTexts refuses a package without one of its texts.
func (d *PackageDocument) checkTexts() error {
	for _, r := range required {
		if strings.TrimSpace(r.text(d)) == "" {
			return fault.New(r.code, "%s is missing or empty", r.key).WithHint("add %s to package.toml", r.key)
		}
	}
	return nil
}

func (d *PackageDocument) validate() error {
	if err := names.Package(d.Name); err != nil {
		return within(err, "name")
	}
	if err := names.Version(d.Version); err != nil {
		return within(err, "version")
	}
	if err := d.checkTexts(); err != nil {
		return err
	}
	if _, err := names.ParseRange(d.Meta.RebuildCompat); err != nil {
		return fault.New(fault.PkgCompatInvalid, "meta.rebuild_compat: %w", err).WithHint(`write a range of versions such as rebuild_compat = ">=1.0.0, <2.0.0"`)
	}
	for _, name := range slices.Sorted(maps.Keys(d.Depends)) {
		if err := names.Package(name); err != nil {
			return within(err, "depends")
		}
		if _, err := names.ParseRange(d.Depends[name]); err != nil {
			return within(err, "depends: "+name)
		}
	}
	return nil
}

// CheckCompat says whether the package may be built and published by a version
// of rebuild: PKG_COMPAT_EXCLUDES if meta.rebuild_compat leaves it out. Nobody
// asks when an old package is verified, which must work with every version.
func (d *PackageDocument) CheckCompat(rebuild string) error {
	in, err := names.ParseRange(d.Meta.RebuildCompat)
	if err != nil || !in.Has(rebuild) {
		return fault.New(fault.PkgCompatExcludes, "meta.rebuild_compat %q excludes this version of rebuild, %s", d.Meta.RebuildCompat, rebuild).
			WithHint("use a version in the range, or widen it")
	}
	return nil
}

// FilesDocument is rebuild.files.json: the inventory of a package folder.
type FilesDocument struct {
	SchemaVersion   string       `json:"schema_version"`
	SourceDateEpoch int64        `json:"source_date_epoch"` // of the archive
	TotalFiles      int          `json:"total_files"`       // entries of Files that are no directory
	Hash            store.Digest `json:"hash"`              // tree of all but this file
	Payloads        []Payload    `json:"payloads,omitempty"`
	Files           []FileEntry  `json:"files"` // in tree order, without this file
}

// Payload says where a voted tree is in the package.
type Payload struct {
	Platform string       `json:"platform"`
	Target   string       `json:"target"`
	Path     string       `json:"path,omitempty"` // "" if it ships as an OCI image only
	Tree     store.Digest `json:"tree"`
}

// FileEntry is one file, directory or link. Size and Hash are of a regular
// file, Link is where a link leads.
type FileEntry struct {
	Path string       `json:"path"`
	Type string       `json:"type"`           // d, f, l or h as in a tree
	Mode string       `json:"mode,omitempty"` // four octal digits; not of h
	Size *int64       `json:"size,omitempty"`
	Hash store.Digest `json:"hash,omitempty"`
	Link string       `json:"link,omitempty"`
}

func fileEntry(e store.Entry) FileEntry {
	f := FileEntry{Path: e.Path, Type: string(rune(e.Type)), Link: e.Target, Hash: e.Content}
	if e.Type != store.Link {
		f.Mode = fmt.Sprintf("%04o", e.Mode)
	}
	if e.Type == store.Regular {
		f.Size = &e.Size
	}
	return f
}

// Package is a package archive whose inventory was checked file by file.
// Only [OpenPackage] and [Pack] make one.
type Package struct {
	doc      PackageDocument
	files    FilesDocument
	tree     *store.Tree
	metadata map[string][]byte       // the three metadata files, as far as they are there
	digests  map[string]store.Digest // of metadata
	cksum    store.Digest
	archive  []byte
}

// Document returns the metadata.
func (p *Package) Document() PackageDocument { return p.doc }

// Payloads returns the voted trees that the inventory names.
func (p *Package) Payloads() []Payload { return slices.Clone(p.files.Payloads) }

// Cksum returns the sha256 of the archive in bare hex, as entries and
// releases write it.
func (p *Package) Cksum() string { return p.cksum.Hex() }

// Verified says whether the package has an inventory, which its content was
// compared with. One without was never verified between build and publication.
func (p *Package) Verified() bool { return p.metadata[FilesFile] != nil }

// Files returns the inventory, empty unless [Package.Verified].
func (p *Package) Files() FilesDocument { return p.files }

// MetadataFile returns rebuild.package.json, rebuild.files.json or
// rebuild.exports.json as it is in the package, nil without.
func (p *Package) MetadataFile(name string) []byte { return slices.Clone(p.metadata[name]) }

// Archive returns the archive's bytes, which the caller must not change.
func (p *Package) Archive() []byte { return p.archive }

// Metadata returns the package's own documents by their digests.
func (p *Package) Metadata() map[store.Digest][]byte {
	out := map[store.Digest][]byte{}
	for name, raw := range p.metadata {
		out[p.digests[name]] = raw
	}
	return out
}

// PayloadInput is a voted tree on its way into a package.
type PayloadInput struct {
	Platform string
	Target   string
	Path     string       // in the package; "" ships it as an OCI image only
	Tree     store.Digest // that was voted for
	Files    []store.File // content of the tree, paths relative to its root; nil without Path
}

// Pack makes a package archive from the image of package.toml and the voted
// trees. A payload with modes, owners or types that a package does not carry
// is FILE_EXTRA; one that is not its voted tree is TREE_MISMATCH.
func Pack(image []byte, payloads []PayloadInput, epoch int64) (*Package, error) {
	if _, err := DecodePackage(PackageFile, image); err != nil {
		return nil, err
	}
	files := []store.File{{Path: PackageFile, Mode: 0o644, Data: image}}
	var listed []Payload
	for _, in := range payloads {
		listed = append(listed, Payload{in.Platform, in.Target, in.Path, in.Tree})
		if in.Path == "" {
			continue
		}
		if err := checkPath(in.Path); err != nil {
			return nil, within(err, "payload "+in.Target)
		}
		files = append(files, store.File{Type: store.Dir, Path: in.Path, Mode: 0o755})
		for _, f := range in.Files {
			f.Path = in.Path + "/" + f.Path
			if f.Type == store.Link {
				f.Target = in.Path + "/" + f.Target
			}
			files = append(files, f)
		}
	}
	raw, err := NewFiles(files, listed, epoch)
	if err != nil {
		return nil, err
	}
	files = append(files, store.File{Path: FilesFile, Mode: 0o644, Data: raw})
	var out bytes.Buffer
	if _, err := store.WriteArchive(&out, files, epoch); err != nil {
		return nil, err
	}
	return OpenPackage("the new archive", out.Bytes())
}

// NewFiles returns rebuild.files.json for the other files of a package, whose
// archive will be of that source_date_epoch.
func NewFiles(files []store.File, payloads []Payload, epoch int64) ([]byte, error) {
	tree, err := store.TreeOf(files)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(payloads, comparePayloads)
	doc := FilesDocument{
		SchemaVersion: document.Files.ID(), SourceDateEpoch: epoch, Payloads: payloads, Hash: tree.Digest(), Files: Inventory(tree),
	}
	doc.TotalFiles = totalFiles(doc.Files)
	return document.Encode(doc)
}

// DecodeFiles reads rebuild.files.json, which alone says nothing of what is
// there; [OpenPackage] compares.
func DecodeFiles(file string, data []byte) (*FilesDocument, error) {
	var d FilesDocument
	if err := document.Decode(file, data, document.Files, &d); err != nil {
		return nil, err
	}
	return &d, nil
}

func comparePayloads(a, b Payload) int {
	return strings.Compare(a.Platform+" "+a.Target, b.Platform+" "+b.Target)
}

// Inventory lists a tree as rebuild.files.json does, without that file itself.
func Inventory(tree *store.Tree) []FileEntry {
	var out []FileEntry
	for e := range tree.Entries() {
		if e.Path != FilesFile {
			out = append(out, fileEntry(e))
		}
	}
	return out
}

func totalFiles(files []FileEntry) int {
	n := 0
	for _, f := range files {
		if f.Type != string(rune(store.Dir)) {
			n++
		}
	}
	return n
}

// unreadableTar says why the next entry of a tar archive can not be read.
func unreadableTar(what string, err error) error {
	if errors.Is(err, tar.ErrHeader) {
		return fault.New(fault.Parse, "%s: it is no tar archive, or a damaged one", what)
	}
	return fault.New(fault.Parse, "%s: %w", what, err)
}

// ReadLayer reads a canonical layer into memory, for a payload. It refuses
// what a package does not carry (FILE_EXTRA) and more than 64 MiB.
func ReadLayer(r io.Reader) ([]store.File, error) {
	var files []store.File
	left := int64(MaxArchive)
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, unreadableTar("reading a layer", err)
		}
		f, err := readEntry(h, tr, &left)
		if err != nil {
			return nil, err
		}
		if f.Path != "." {
			files = append(files, f)
		}
	}
}

// readEntry makes a file of a tar entry. Nothing is judged but what a
// store.File can not say; the canonical form of archives is checked as a
// whole, by writing them again.
func readEntry(h *tar.Header, r io.Reader, left *int64) (store.File, error) {
	f := store.File{Path: strings.TrimSuffix(h.Name, "/"), Mode: uint32(h.Mode), Target: h.Linkname}
	if h.Uid != 0 || h.Gid != 0 || slices.ContainsFunc(slices.Collect(maps.Keys(h.PAXRecords)), isXattr) {
		return f, fault.New(fault.FileExtra, "%q has an owner or extended attributes, which a package does not carry", h.Name).
			WithHint("ship this target as an OCI image only")
	}
	allowed := []uint32{0o644, 0o755}
	switch h.Typeflag {
	case tar.TypeReg:
		if h.Size > *left {
			return f, fault.New(fault.Parse, "more than %d bytes of content", MaxArchive)
		}
		*left -= h.Size
		f.Type = store.Regular
		data, err := io.ReadAll(r)
		if err != nil {
			return f, fault.New(fault.Parse, "reading %q: %w", h.Name, err)
		}
		f.Data, f.Target = data, ""
	case tar.TypeDir:
		f.Type, allowed = store.Dir, []uint32{0o755}
	case tar.TypeSymlink:
		f.Type, allowed = store.Symlink, []uint32{0o777}
	case tar.TypeLink:
		f.Type = store.Link
	default:
		return f, fault.New(fault.FileExtra, "%q is of type %q, which a package does not carry", h.Name, h.Typeflag)
	}
	if !slices.Contains(allowed, f.Mode) {
		return f, fault.New(fault.FileExtra, "%q has mode %04o, which a package does not carry", h.Name, f.Mode).
			WithHint("ship this target as an OCI image only")
	}
	return f, nil
}

func isXattr(key string) bool { return strings.HasPrefix(key, "SCHILY.xattr.") }

// OpenPackage checks a package archive: that it is in its one form (PARSE),
// that the inventory and the content agree, file by file (FILE_HASH,
// FILE_MISSING, FILE_EXTRA, each naming every file), and the payload trees
// (TREE_MISMATCH). Whether anyone voted for those is not judged here.
func OpenPackage(file string, archive []byte) (*Package, error) {
	p, files, err := readPackage(file, archive)
	if err != nil {
		return nil, err
	}
	if p.metadata[FilesFile] == nil {
		return nil, fault.New(fault.FileMissing, "the package has no file %s", FilesFile).At(file, 0).
			WithHint("build it with rebuild pkg build --include-manifest")
	}
	if err := p.checkListed(file, files); err != nil {
		return nil, err
	}
	return p, nil
}

// BareEpoch is the source_date_epoch of a package without an inventory.
const BareEpoch = 1

// OpenArchive is [OpenPackage] for an author's package, which may have no
// inventory: then the form of the archive and the metadata alone are checked,
// and [Package.Verified] says so. A release always has one.
func OpenArchive(file string, archive []byte) (*Package, error) {
	p, files, err := readPackage(file, archive)
	if err != nil {
		return nil, err
	}
	if p.Verified() {
		err = p.checkListed(file, files)
	} else if p.tree, err = canonicalTree(archive, files, BareEpoch); err != nil {
		err = fault.In(err, file)
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// readPackage reads an archive and its metadata.
func readPackage(file string, archive []byte) (*Package, []store.File, error) {
	if len(archive) > MaxArchive {
		return nil, nil, fault.New(fault.Parse, "%d bytes, at most %d are allowed", len(archive), MaxArchive).At(file, 0)
	}
	files, err := ReadLayer(bytes.NewReader(archive))
	if err != nil {
		return nil, nil, fault.In(err, file)
	}
	p := &Package{cksum: store.DigestOf(archive), archive: archive, metadata: map[string][]byte{}, digests: map[string]store.Digest{}}
	for _, f := range files {
		if f.Type == store.Regular && (f.Path == PackageFile || f.Path == FilesFile || f.Path == ExportsFile) {
			p.metadata[f.Path], p.digests[f.Path] = f.Data, store.DigestOf(f.Data)
		}
	}
	if p.metadata[PackageFile] == nil {
		return nil, nil, fault.New(fault.FileMissing, "the package has no file %s", PackageFile).At(file, 0)
	}
	doc, err := DecodePackage(file+": "+PackageFile, p.metadata[PackageFile])
	if err != nil {
		return nil, nil, err
	}
	p.doc = *doc
	return p, files, nil
}

// checkListed compares the content with the inventory.
func (p *Package) checkListed(file string, files []store.File) error {
	listed, err := DecodeFiles(file+": "+FilesFile, p.metadata[FilesFile])
	if err != nil {
		return err
	}
	p.files = *listed
	if p.tree, err = canonicalTree(p.archive, files, p.files.SourceDateEpoch); err != nil {
		return fault.In(err, file)
	}
	return fault.In(p.files.check(files, p.tree), file)
}

// canonicalTree writes the files again and compares every byte.
func canonicalTree(archive []byte, files []store.File, epoch int64) (*store.Tree, error) {
	same := &compareWriter{want: archive}
	written, err := store.WriteArchive(same, files, epoch)
	if err != nil || len(same.want) > 0 {
		if err == nil || errors.Is(err, errDiffers) {
			err = fault.New(fault.Parse, "not a canonical archive, near byte %d", len(archive)-len(same.want))
		}
		return nil, err
	}
	return written.Tree, nil
}

var errDiffers = errors.New("differs")

// compareWriter is a writer that fails where it is given anything but want.
type compareWriter struct{ want []byte }

func (c *compareWriter) Write(p []byte) (int, error) {
	if !bytes.HasPrefix(c.want, p) {
		return 0, errDiffers
	}
	c.want = c.want[len(p):]
	return len(p), nil
}

// check compares the inventory with what is there.
func (d *FilesDocument) check(files []store.File, tree *store.Tree) error {
	if err := compareInventory(d.Files, Inventory(tree)); err != nil {
		return err
	}
	if n := totalFiles(d.Files); d.TotalFiles != n {
		return fault.New(fault.Semantic, "total_files is %d, %d are listed", d.TotalFiles, n)
	}
	without := slices.DeleteFunc(slices.Clone(files), func(f store.File) bool { return f.Path == FilesFile })
	whole, err := store.TreeOf(without)
	if err != nil {
		return err
	}
	if whole.Digest() != d.Hash {
		return fault.New(fault.TreeMismatch, "the package's tree is %s, %s says %s", whole.Digest(), FilesFile, d.Hash)
	}
	return d.checkPayloads(files)
}

// checkPayloads recomputes each payload's tree and refuses content outside of
// them: nobody voted for it.
func (d *FilesDocument) checkPayloads(files []store.File) error {
	if !slices.IsSortedFunc(d.Payloads, comparePayloads) {
		return fault.New(fault.Semantic, "payloads are not sorted by platform and target")
	}
	for i, p := range d.Payloads {
		if i > 0 && comparePayloads(d.Payloads[i-1], p) == 0 {
			return fault.New(fault.Semantic, "payload %s %s is listed twice", p.Platform, p.Target)
		}
		if p.Path == "" {
			continue
		}
		if err := checkPath(p.Path); err != nil {
			return within(err, "payload "+p.Target)
		}
		inside, err := below(files, p.Path)
		if err != nil {
			return within(err, "payload "+p.Target)
		}
		tree, err := store.TreeOf(inside)
		if err != nil {
			return within(err, "payload "+p.Target)
		}
		if tree.Digest() != p.Tree {
			return fault.New(fault.TreeMismatch, "payload %s %s at %q has tree %s, the inventory says %s",
				p.Platform, p.Target, p.Path, tree.Digest(), p.Tree)
		}
	}
	return d.checkOutside(files)
}

func (d *FilesDocument) checkOutside(files []store.File) error {
	if len(d.Payloads) == 0 {
		return nil
	}
	var extra []string
	for _, f := range files {
		if f.Path == PackageFile || f.Path == FilesFile || slices.ContainsFunc(d.Payloads, func(p Payload) bool { return p.holds(f) }) {
			continue
		}
		if f.Path == ExportsFile && d.exportsAreVoted(files) {
			continue
		}
		extra = append(extra, fmt.Sprintf("Verification failed: File '%s' found in package but not in a voted payload", f.Path))
	}
	if len(extra) > 0 {
		return fault.New(fault.FileExtra, "%s", strings.Join(extra, "\n"))
	}
	return nil
}

// holds says whether f is in the payload, or is a directory above it.
func (p Payload) holds(f store.File) bool {
	return p.Path != "" && (f.Path == p.Path || strings.HasPrefix(f.Path, p.Path+"/") ||
		f.Type == store.Dir && strings.HasPrefix(p.Path, f.Path+"/"))
}

// exportsAreVoted says whether the exports beside the payloads are those in
// the first payload.
func (d *FilesDocument) exportsAreVoted(files []store.File) bool {
	content := map[string][]byte{}
	for _, f := range files {
		content[f.Path] = f.Data
	}
	voted, ok := content[d.Payloads[0].Path+"/"+ExportsFile]
	return ok && bytes.Equal(voted, content[ExportsFile])
}

// below returns the files under dir with paths relative to it.
func below(files []store.File, dir string) ([]store.File, error) {
	var out []store.File
	found := false
	for _, f := range files {
		if f.Path == dir {
			found = f.Type == store.Dir
			continue
		}
		rest, inside := strings.CutPrefix(f.Path, dir+"/")
		if !inside {
			continue
		}
		f.Path = rest
		if f.Type == store.Link {
			if f.Target, inside = strings.CutPrefix(f.Target, dir+"/"); !inside {
				return nil, fault.New(fault.Structure, "%q is a hard link out of the payload", rest)
			}
		}
		out = append(out, f)
	}
	if !found {
		return nil, fault.New(fault.FileMissing, "the package has no directory %q", dir)
	}
	return out, nil
}

// FileFailure is one file that is not what an inventory says.
type FileFailure struct {
	Code fault.Code `json:"code"`
	Path string     `json:"path"`
	Text string     `json:"text"` // for people; that of changed content has three lines
}

// CompareFiles lists every difference between what is listed and what is there:
// first what is otherwise (FILE_HASH), then what is missing (FILE_MISSING), then
// what is too much (FILE_EXTRA).
func CompareFiles(listed, actual []FileEntry) []FileFailure {
	there := map[string]FileEntry{}
	for _, f := range actual {
		there[f.Path] = f
	}
	var hash, missing, extra []FileFailure
	seen := map[string]bool{}
	for _, want := range listed {
		seen[want.Path] = true
		got, ok := there[want.Path]
		if !ok {
			missing = append(missing, FileFailure{fault.FileMissing, utf8Of(want.Path),
				fmt.Sprintf("Verification failed: File '%s' listed in manifest but not found in package", Plain(want.Path))})
		} else if d := want.difference(got); d != "" {
			hash = append(hash, FileFailure{fault.FileHash, utf8Of(want.Path), d})
		}
	}
	for _, got := range actual {
		if !seen[got.Path] {
			extra = append(extra, FileFailure{fault.FileExtra, utf8Of(got.Path),
				fmt.Sprintf("Verification failed: File '%s' found in package but not listed in manifest", Plain(got.Path))})
		}
	}
	return slices.Concat(hash, missing, extra)
}

// utf8Of is a name that JSON can hold.
func utf8Of(path string) string { return strings.ToValidUTF8(path, "\uFFFD") }

// Plain is text from a file system in which nothing but its letters is left, so
// that a name can not fake a line of a report.
func Plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
			return '?'
		}
		return r
	}, s)
}

// FilesError is the error of failures: the code of the first and all texts. It
// is nil without one.
func FilesError(failures []FileFailure) error {
	if len(failures) == 0 {
		return nil
	}
	var texts []string
	for _, f := range failures {
		texts = append(texts, f.Text)
	}
	return fault.New(failures[0].Code, "%s", strings.Join(texts, "\n"))
}

// compareInventory refuses every difference, and an inventory of two forms.
func compareInventory(listed, actual []FileEntry) error {
	seen := map[string]bool{}
	for _, f := range listed {
		if seen[f.Path] {
			return fault.New(fault.Semantic, "%q is listed twice", f.Path)
		}
		seen[f.Path] = true
	}
	if err := FilesError(CompareFiles(listed, actual)); err != nil {
		return err
	}
	if !slices.EqualFunc(listed, actual, func(a, b FileEntry) bool { return a.Path == b.Path }) {
		return fault.New(fault.Semantic, "the files are not listed in tree order")
	}
	return nil
}

func (f FileEntry) difference(got FileEntry) string {
	mismatch := func(what, expected, actual string) string {
		return fmt.Sprintf("Verification failed: File '%s' %s mismatch\nExpected: %s\nActual: %s", Plain(f.Path), what, Plain(expected), Plain(actual))
	}
	upper := func(d store.Digest) string { return "SHA256:" + d.Hex() }
	switch {
	case f.Type != got.Type:
		return mismatch("type", f.Type, got.Type)
	case f.Hash != got.Hash:
		return mismatch("hash", upper(f.Hash), upper(got.Hash))
	case f.Mode != got.Mode:
		return mismatch("mode", f.Mode, got.Mode)
	case f.Link != got.Link:
		return mismatch("link", f.Link, got.Link)
	case (f.Size == nil) != (got.Size == nil), f.Size != nil && *f.Size != *got.Size:
		return mismatch("size", sizeText(f.Size), sizeText(got.Size))
	}
	return ""
}

func sizeText(n *int64) string {
	if n == nil {
		return "none"
	}
	return fmt.Sprint(*n)
}
