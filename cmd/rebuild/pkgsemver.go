package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"rebuild/attest"
	"rebuild/index"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/internal/names"
	"rebuild/store"
	"rebuild/surface"
)

// What a package offers, and whether its next version still does.

func (a *app) pkgExportsCommand() *cobra.Command {
	var output, pkg string
	c := a.verb("exports DIR", "Write rebuild.exports.json: what a tree offers to others", `  rebuild pkg exports /out --package package.toml --output /out/rebuild.exports.json
  rebuild pkg exports .`,
		cobra.ExactArgs(1), func(_ context.Context, args []string) (result, error) {
			side, err := a.readSide(args[0], pkg, true)
			if err != nil {
				return nil, err
			}
			data, err := side.Exports.Encode()
			if err != nil {
				return nil, err
			}
			for _, u := range side.Exports.Unchecked {
				a.note("%s: not checked: %s", oneLine(u.Subject), oneLine(u.Reason))
			}
			if err := writeOutput(a, output, data); err != nil || output == "-" {
				return nothing{}, err
			}
			return exportsResult{output, store.DigestOf(data), side.Exports.Surfaces, side.Exports.SignaturesChecked}, nil
		})
	f := c.Flags()
	f.StringVarP(&output, "output", "o", "-", "file to write, which must not be there yet")
	f.StringVar(&pkg, "package", "", "package.toml that declares the modules, if it is not in DIR")
	return c
}

type nothing struct{}

func (nothing) Print(io.Writer) {}

type exportsResult struct {
	File              string       `json:"file"`
	Digest            store.Digest `json:"digest"`
	Surfaces          []string     `json:"surfaces"`
	SignaturesChecked bool         `json:"signatures_checked"`
}

func (r exportsResult) Print(w io.Writer) { fmt.Fprintln(w, r.Digest) }

type semverOptions struct {
	old, new, suppress, index string
	extract, byVersion        bool
}

func (a *app) pkgCheckSemverCommand() *cobra.Command {
	var o semverOptions
	c := a.verb("check-semver", "Say what breaks between two versions of a package", `  rebuild pkg check-semver --old ../pkg-old --new .
  rebuild pkg check-semver --old hello-1.2.0.tar --new hello-1.3.0.tar --index index`,
		cobra.NoArgs, func(ctx context.Context, _ []string) (result, error) { return a.checkSemver(ctx, o) })
	f := c.Flags()
	f.StringVar(&o.old, "old", "", "package folder, package archive or rebuild.exports.json of the version before")
	f.StringVar(&o.new, "new", "", "the same of the version after")
	f.StringVar(&o.suppress, "suppress", "", "findings that were accepted, each with a reason (default: semver.toml in --new)")
	f.StringVar(&o.index, "index", "", "index folder: also list the packages that must be built again")
	f.BoolVar(&o.extract, "extract", false, "read the trees of folders also if they hold a rebuild.exports.json")
	f.BoolVar(&o.byVersion, "by-version", false, "accept breaks if the new version is large enough for them")
	c.MarkFlagRequired("old")
	c.MarkFlagRequired("new")
	return c
}

// side is one of two packages, as it was found.
type side struct {
	surface.Side
	suppressions *surface.Suppressions
	name         string // "" if only its exports are known
	version      string
	from         string // "document" or "tree"
}

// readSide reads a package folder, an archive or a document of exports.
func (a *app) readSide(at, pkg string, extract bool) (*side, error) {
	if isFolder(at) {
		root, err := openFolder(at, fault.Usage)
		if err != nil {
			return nil, err
		}
		// The root stays open: the tree is read again where sources are compared.
		tree, err := surface.Scan(root.FS())
		if err != nil {
			return nil, err
		}
		return readTree(tree, at, pkg, extract)
	}
	if strings.HasSuffix(at, ".json") || at == "-" {
		data, err := a.readInput(at, document.Exports.MaxBytes)
		if err != nil {
			return nil, err
		}
		exports, err := surface.Decode(at, data)
		return &side{Side: surface.Side{Exports: exports}, from: "document"}, err
	}
	data, err := a.readInput(at, attest.MaxArchive)
	if err != nil {
		return nil, err
	}
	return readArchive(at, data, extract)
}

// readArchive reads a package archive, whose inventory is checked first.
func readArchive(at string, data []byte, extract bool) (*side, error) {
	if _, err := attest.OpenPackage(at, data); err != nil {
		return nil, mistaken(err, anArchive, at, data)
	}
	files, err := attest.ReadLayer(bytes.NewReader(data))
	if err != nil {
		return nil, fault.In(err, at)
	}
	tree, content := surface.NewTree(), map[string][]byte{}
	for _, f := range files {
		switch f.Type {
		case store.Regular:
			content[f.Path] = f.Data
			err = tree.Add(f.Path, f.Mode&0o111 != 0, f.Data, "")
		case store.Link:
			err = tree.Add(f.Path, f.Mode&0o111 != 0, content[f.Target], "")
		case store.Symlink:
			err = tree.Add(f.Path, false, nil, f.Target)
		}
		if err != nil {
			return nil, fault.In(err, at)
		}
	}
	return readTree(tree, at, "", extract)
}

// readTree takes the document of a tree, or makes it.
func readTree(tree *surface.Tree, at, pkg string, extract bool) (*side, error) {
	s := &side{Side: surface.Side{Tree: tree}, from: "document"}
	doc, err := readMetadata(tree, at, pkg)
	if err != nil {
		return nil, err
	}
	meta := surface.Metadata{}
	if doc != nil {
		s.name, s.version = doc.Name, doc.Version
		meta = surface.Metadata{Name: doc.Name, Version: doc.Version, ModuleRoot: doc.ModuleRoot, Modules: doc.Modules}
	}
	if text, err := tree.Document(surface.SuppressionFile, document.Semver.MaxBytes); err != nil {
		return nil, err
	} else if text != nil {
		if s.suppressions, err = surface.LoadSuppressions(filepath.Join(at, surface.SuppressionFile), text); err != nil {
			return nil, err
		}
	}
	data, err := tree.Document(surface.File, document.Exports.MaxBytes)
	if err != nil {
		return nil, err
	}
	if data == nil || extract {
		s.from = "tree"
		s.Exports, err = surface.Extract(tree, meta)
		return s, fault.In(err, at)
	}
	if s.Exports, err = surface.Decode(filepath.Join(at, surface.File), data); err != nil {
		return nil, err
	}
	if doc != nil {
		s.Exports.Declare(doc.Modules)
	}
	s.Exports.Doubt(s.Exports.Contradictions(tree))
	return s, nil
}

// readMetadata reads package.toml or its image, nil if there is neither. If both
// are there they must say the same (formats.md 6).
func readMetadata(tree *surface.Tree, at, pkg string) (*attest.PackageDocument, error) {
	text, err := tree.Document("package.toml", document.Package.MaxBytes)
	shown := filepath.Join(at, "package.toml")
	if pkg != "" {
		text, err = readBounded(pkg, document.Package.MaxBytes)
		shown = pkg
	}
	if err != nil {
		return nil, err
	}
	raw, err := tree.Document(attest.PackageFile, document.Package.MaxBytes)
	if err != nil {
		return nil, err
	}
	switch {
	case text == nil && raw == nil:
		return nil, nil
	case text == nil:
		return attest.DecodePackage(filepath.Join(at, attest.PackageFile), raw)
	}
	doc, image, err := attest.LoadPackage(shown, text)
	if err == nil && raw != nil && !bytes.Equal(image, raw) {
		return nil, fault.New(fault.Semantic, "says something else than %s", attest.PackageFile).At(shown, 0).
			WithHint("remove the one that is out of date")
	}
	return doc, err
}

// semverResult is every finding, and what follows for the version.
type semverResult struct {
	Old        comparedSide          `json:"old"`
	New        comparedSide          `json:"new"`
	Findings   []surface.Finding     `json:"findings"`
	Bump       surface.Bump          `json:"bump"`
	Smallest   string                `json:"smallest_version,omitempty"` // "" if a version is not known
	Enough     *bool                 `json:"version_is_enough,omitempty"`
	Unused     []surface.Suppression `json:"unused_suppressions,omitempty"`
	Dependents []surface.Dependent   `json:"dependents,omitempty"`
}

type comparedSide struct {
	Name              string `json:"name,omitempty"`
	Version           string `json:"version,omitempty"`
	From              string `json:"from"`
	SignaturesChecked bool   `json:"signatures_checked"`
}

func (s *side) compared() comparedSide {
	return comparedSide{s.name, s.version, s.from, s.Exports.SignaturesChecked}
}

func (r *semverResult) Print(w io.Writer) {
	for _, f := range r.Findings {
		fmt.Fprintln(w, oneLine(f.String()))
	}
	if len(r.Findings) == 0 {
		fmt.Fprintln(w, "no difference")
	}
	for _, u := range r.Unused {
		fmt.Fprintf(w, "unused suppression %s %s\n", u.Kind, oneLine(u.Subject))
	}
	switch {
	case r.Enough == nil:
		fmt.Fprintf(w, "bump: %s\n", r.Bump)
	case *r.Enough:
		fmt.Fprintf(w, "bump: %s, so at least %s; %s is enough\n", r.Bump, r.Smallest, r.New.Version)
	default:
		fmt.Fprintf(w, "bump: %s, so at least %s; %s is not enough\n", r.Bump, r.Smallest, r.New.Version)
	}
	for _, d := range r.Dependents {
		taken := "its range excludes the new version"
		if d.Takes {
			taken = "its range takes the new version"
		}
		fmt.Fprintf(w, "rebuild %s@%s: through %s; %s\n", d.Name, d.Version, strings.Join(d.Through, ", "), taken)
	}
}

// checkSemver compares. Breaks are SEMVER_BREAKING; otherwise anything that could
// not be checked is INCONCLUSIVE: silence must mean that all was looked at.
func (a *app) checkSemver(ctx context.Context, o semverOptions) (result, error) {
	before, err := a.readSide(o.old, "", o.extract)
	if err != nil {
		return nil, err
	}
	after, err := a.readSide(o.new, "", o.extract)
	if err != nil {
		return nil, err
	}
	if before.name != "" && after.name != "" && before.name != after.name {
		return nil, fault.New(fault.Usage, "--old is %s and --new is %s", before.name, after.name).WithHint("name two versions of one package")
	}
	if o.suppress != "" {
		text, err := readBounded(o.suppress, document.Semver.MaxBytes)
		if err != nil {
			return nil, err
		}
		if after.suppressions, err = surface.LoadSuppressions(o.suppress, text); err != nil {
			return nil, err
		}
	}
	r := &semverResult{Old: before.compared(), New: after.compared(), Findings: surface.Compare(before.Side, after.Side)}
	after.suppressions.For(after.version)
	r.Unused = after.suppressions.Apply(r.Findings)
	r.Bump = surface.Required(r.Findings)
	if err := r.judgeVersion(); err != nil {
		return nil, err
	}
	if o.index != "" {
		if r.Dependents, err = a.dependents(ctx, o.index, before.name, after.version); err != nil {
			return nil, err
		}
	}
	return r, r.verdict(o.byVersion)
}

func (r *semverResult) judgeVersion() error {
	if r.Old.Version == "" || r.New.Version == "" {
		return nil
	}
	var err error
	if r.Smallest, err = r.Bump.Next(r.Old.Version); err != nil {
		return err
	}
	enough, err := r.Bump.Enough(r.Old.Version, r.New.Version)
	r.Enough = &enough
	return err
}

func (r *semverResult) count(l surface.Level) int {
	n := 0
	for _, f := range r.Findings {
		if f.Level == l && f.Suppressed == "" {
			n++
		}
	}
	return n
}

func (r *semverResult) verdict(byVersion bool) error {
	breaks, unchecked := r.count(surface.Breaking), r.count(surface.NotChecked)
	accepted := byVersion && r.Enough != nil && *r.Enough
	switch {
	case breaks > 0 && !accepted:
		e := fault.New(fault.SemverBreaking, "%s", plural(breaks, "breaking change")).With("breaking", breaks)
		if r.Smallest == "" {
			return e.WithHint("release it as the next major version, or accept each change with a reason in %s", surface.SuppressionFile)
		}
		return e.WithHint("release it as %s or later, or accept each change with a reason in %s", r.Smallest, surface.SuppressionFile)
	case unchecked > 0:
		return fault.New(fault.Inconclusive, "%s could not be checked", plural(unchecked, "subject")).With("unchecked", unchecked).
			WithHint("build both versions with debug information and run rebuild pkg exports before stripping, or accept it with a reason in %s", surface.SuppressionFile)
	}
	return nil
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// dependents reads the newest version of every package in an index folder. What
// they need is the index's word, and shown as such.
func (a *app) dependents(ctx context.Context, dir, name, version string) ([]surface.Dependent, error) {
	if name == "" {
		return nil, fault.New(fault.Usage, "--index needs the package's name, and --old has only its exports").WithHint("name a package folder with --old DIR")
	}
	dir, err := localIndex(dir)
	if err != nil {
		return nil, err
	}
	root, err := openIndexFolder(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return a.dependentsIn(ctx, root, dir, name, version)
}

func (a *app) dependentsIn(ctx context.Context, root *os.Root, dir, name, version string) ([]surface.Dependent, error) {
	reader, err := index.NewReader(ctx, index.Folder(root, dir), index.Reading{Now: a.now(), Notice: func(s string) { a.note("%s", s) }})
	if err != nil {
		return nil, err
	}
	found, err := index.Names(root.FS(), dir)
	if err != nil {
		return nil, err
	}
	var all []surface.Package
	for _, n := range found {
		lines, err := reader.Entries(ctx, n)
		if err != nil {
			return nil, err
		}
		if newest := newestOf(lines); newest != nil {
			p := surface.Package{Name: newest.Name, Version: newest.Version, Deps: map[string]string{}}
			for _, d := range newest.Deps {
				p.Deps[d.Name] = d.Req
			}
			all = append(all, p)
		}
	}
	return surface.Dependents(name, version, all), nil
}

// newestOf returns the highest version that is not yanked, nil if all are.
func newestOf(lines []*index.Entry) *index.Entry {
	var newest *index.Entry
	for _, e := range lines {
		if !e.Yanked && (newest == nil || names.CompareVersions(e.Version, newest.Version) > 0) {
			newest = e
		}
	}
	return newest
}
