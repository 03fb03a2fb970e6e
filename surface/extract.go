package surface

import (
	"debug/dwarf"
	"debug/elf"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"rebuild/internal/document"
	"rebuild/internal/fault"
)

// Metadata is what a package says of itself that its surface depends on. The zero
// value is a tree that declares no modules.
type Metadata struct {
	Name       string
	Version    string
	ModuleRoot string   // folder that module ids are looked for in, "" = the top
	Modules    []string // declared ids
}

// extraction is one run of Extract.
type extraction struct {
	tree      *Tree
	meta      Metadata
	out       *Exports
	modules   map[string]string // declared id to its path
	headers   map[string]bool   // paths of public headers
	libraries []*image
	unchecked map[string]string
}

// Extract returns what a tree offers. Files that can not be read make an entry
// in Unchecked; a declared module that is not in the tree is SEMANTIC.
func Extract(tree *Tree, meta Metadata) (*Exports, error) {
	x := &extraction{tree: tree, meta: meta, modules: map[string]string{}, headers: map[string]bool{}, unchecked: map[string]string{},
		out: &Exports{SchemaVersion: document.Exports.ID(), Surfaces: []string{}, Modules: []Module{}, ELF: []Library{}, Commands: []string{}}}
	if err := x.findModules(); err != nil {
		return nil, err
	}
	for _, p := range tree.all() {
		x.visit(p)
	}
	x.addHeaders()
	x.addLibraries()
	if err := x.addModules(); err != nil {
		return nil, err
	}
	return x.finish()
}

// visit sorts a file by its place.
func (x *extraction) visit(p string) {
	if x.tree.files[p].dir {
		return
	}
	at := x.tree.regular(p)
	dir := path.Dir(p)
	switch {
	case isHeader(p) && (slices.Contains(strings.Split(dir, "/"), "include") || x.declares(p, isHeader)):
		if at != "" {
			x.headers[p] = true
		}
	case path.Base(dir) == "pkgconfig" && path.Ext(p) == ".pc":
		if data, ok := x.text(p); ok {
			x.out.PkgConfig = append(x.out.PkgConfig, readPkgConfig(p, data))
		}
	case at == p && path.Ext(p) == ".a" && isLibraryFolder(dir):
		x.static(p)
	case path.Base(dir) == "bin" || path.Base(dir) == "sbin":
		x.command(p, at)
	case at == p && strings.Contains(path.Base(p), ".so") && (isLibraryFolder(dir) || x.declares(p, nil)):
		x.library(p)
	}
}

// isLibraryFolder says whether linkers look for libraries in a folder. Those in
// other places are loaded by name, by programs that belong to them.
func isLibraryFolder(dir string) bool {
	switch base := path.Base(dir); base {
	case ".", "lib", "lib64", "lib32", "libx32":
		return true
	default:
		return strings.Contains(base, "-linux-") && path.Base(path.Dir(dir)) == "lib"
	}
}

// declares says whether a file is a declared module, or is in one that is of a
// kind.
func (x *extraction) declares(p string, kind func(string) bool) bool {
	for _, at := range x.modules {
		if p == at || kind != nil && inside(p, at) && kind(p) {
			return true
		}
	}
	return false
}

func (x *extraction) text(p string) ([]byte, bool) {
	data, err := x.tree.read(p, maxText)
	if err != nil {
		x.unchecked[p] = reason(err)
	}
	return data, err == nil
}

// reason words an error without the place, which is the subject.
func reason(err error) string {
	var e *fault.Error
	if errors.As(err, &e) {
		return e.Message
	}
	return err.Error()
}

// command notes a program, or a link that leads out of the package.
func (x *extraction) command(p, at string) {
	f := x.tree.files[p]
	if at == "" && f.link == "" || at != "" && !x.tree.files[at].exec {
		return
	}
	name := path.Base(p)
	x.out.Commands = append(x.out.Commands, name)
	if at == "" {
		return
	}
	c, err := x.tree.files[at].open()
	if err == nil {
		defer c.Close()
		var asks string
		if asks, err = interpreter(c); err == nil && asks != "" {
			x.out.Interpreters = append(x.out.Interpreters, Interpreter{name, asks})
		}
	}
	if err != nil {
		x.unchecked[p] = reason(err)
	}
}

// library reads a shared library. A linker script, which is text, is none.
func (x *extraction) library(p string) {
	f := x.tree.files[p]
	c, err := f.open()
	if err != nil {
		x.unchecked[p] = reason(err)
		return
	}
	defer c.Close()
	switch elfClass(c) {
	case elf.ET_DYN:
	case elf.ET_NONE:
		return
	default:
		x.unchecked[p] = "it is no shared library"
		return
	}
	lib, err := openLibrary(p, c, f.size)
	if err != nil {
		x.unchecked[p] = reason(err)
		return
	}
	x.libraries = append(x.libraries, lib)
}

// static notes a library of objects, which is not read: it offers what the shared
// library beside it does, and if there is none nobody can say.
func (x *extraction) static(p string) {
	shared := strings.TrimSuffix(p, ".a")
	for _, other := range x.tree.under(path.Dir(p)) {
		if strings.Contains(path.Base(other), ".so") && stem(other) == shared {
			return
		}
	}
	c, err := x.tree.files[p].open()
	if err != nil {
		x.unchecked[p] = reason(err)
		return
	}
	defer c.Close()
	var magic [8]byte
	if c.ReadAt(magic[:], 0); string(magic[:]) == "!<arch>\n" || string(magic[:]) == "!<thin>\n" {
		x.unchecked[p] = "a static library, of which symbols are not compared"
	}
}

func (x *extraction) addHeaders() {
	for _, p := range slices.Sorted(maps.Keys(x.headers)) {
		if data, ok := x.text(p); ok {
			x.out.Headers = append(x.out.Headers, readHeader(p, data))
		}
	}
}

// system are folders whose headers are not the package's, even if one of its own
// has the same base name.
var system = []string{"/usr/include/", "/usr/lib/", "/usr/local/include/"}

// isPublic says whether a file that debug information names is a public header.
// The place where it was compiled is not where it is installed, so the names
// decide.
func (x *extraction) isPublic() func(string) bool {
	bases, ends := map[string]bool{}, map[string]bool{}
	for p := range x.headers {
		bases[path.Base(p)] = true
		at := strings.LastIndex("/"+p, "/include/")
		ends[("/" + p)[max(at, 0):]] = true
	}
	known := map[string]bool{}
	return func(file string) bool {
		if public, ok := known[file]; ok || file == "" {
			return public
		}
		foreign := slices.ContainsFunc(system, func(dir string) bool { return strings.HasPrefix(file, dir) })
		at := strings.LastIndex(file, "/include/")
		known[file] = bases[path.Base(file)] && (!foreign || at >= 0 && ends[file[at:]])
		return known[file]
	}
}

// addLibraries makes a module of every library, and one of all types.
func (x *extraction) addLibraries() {
	table, public, known := typeTable{}, x.isPublic(), make([][]signed, len(x.libraries))
	tags := declaredTypes(x.out.Headers)
	for i, lib := range x.libraries {
		lib.Links = x.linksTo(lib.Path)
		x.out.ELF = append(x.out.ELF, lib.Library)
		var err error
		if known[i], err = lib.signatures(table, public, tags); err != nil {
			x.unchecked[lib.Path] = reason(err)
		}
		lib.debug = nil
	}
	closure := table.closures()
	for i, lib := range x.libraries {
		x.out.Modules = append(x.out.Modules, libraryModule(lib.Path, known[i], closure))
	}
	if len(table) > 0 {
		x.out.Modules = append(x.out.Modules, Module{ID: TypesModule, Form: FormTypes, Exports: table.exports()})
	}
}

func (x *extraction) linksTo(p string) []string {
	var out []string
	for _, other := range x.tree.under(path.Dir(p)) {
		if path.Dir(other) == path.Dir(p) && other != p && x.tree.resolve(other) == p {
			out = append(out, path.Base(other))
		}
	}
	return out
}

// signed is a symbol with what debug information says of it, nil if nothing.
type signed struct {
	name string
	kind string
	*layout
}

// signatures returns the exports of a library, and enters the types that they
// lead to into the table.
func (lib *image) signatures(table typeTable, public func(string) bool, tags map[string]bool) ([]signed, error) {
	var out []signed
	var err error
	if lib.debug == nil && len(lib.Symbols) > 0 {
		err = fault.New(fault.Inconclusive, "%s", lib.unread)
	}
	var w *typer
	if lib.debug != nil {
		w = newTyper(lib.debug, table, public)
		w.tags = tags
		err = w.enterPublic()
	}
	for _, s := range lib.Symbols {
		x := signed{name: s.full(), kind: KindObject}
		if s.Type == "func" || s.Type == "ifunc" {
			x.kind = KindFunc
		}
		if w != nil && err == nil {
			x.layout, err = w.symbol(s, lib.addresses[s.full()])
		}
		out = append(out, x)
	}
	for i := range out {
		if err != nil {
			out[i].layout = nil // all or nothing: half of them would look like a change
		}
	}
	return out, err
}

// symbol finds what a symbol stands for: by its address, since a version or an
// alias has a name of its own, otherwise by its name.
func (w *typer) symbol(s Symbol, address uint64) (*layout, error) {
	var x *entry
	if s.Type == "func" {
		x = w.at(address, s.Name)
	}
	if x == nil {
		x = w.byName[s.Name]
	}
	if x == nil || (x.tag == dwarf.TagVariable) != (s.Type != "func" && s.Type != "ifunc") {
		return nil, nil
	}
	l, err := w.signature(x)
	if err == nil {
		err = w.enter(l.refs...)
	}
	return &l, err
}

func libraryModule(p string, all []signed, closure func(layout) string) Module {
	m := Module{ID: stem(p), Form: FormELF, Path: p, Exports: []Export{}}
	for _, s := range all {
		x := Export{Name: s.name, Kind: s.kind, Params: []string{}}
		if s.layout != nil {
			x.Params, x.Result, x.Closure = append(x.Params, s.params...), s.result, closure(*s.layout)
		}
		m.Exports = append(m.Exports, x)
	}
	m.Exports = sorted(m.Exports, Export.key)
	return m
}

// finish puts everything into order.
func (x *extraction) finish() (*Exports, error) {
	e := x.out
	for subject, reason := range x.unchecked {
		e.Unchecked = append(e.Unchecked, Unchecked{subject, reason})
	}
	e.Unchecked = sorted(e.Unchecked, func(u Unchecked) string { return u.Subject })
	e.SignaturesChecked = len(e.Unchecked) == 0
	e.Modules = sorted(x.distinct(), func(m Module) string { return m.ID })
	e.ELF = sorted(e.ELF, func(l Library) string { return l.Path })
	e.Commands = sorted(e.Commands, text)
	e.Interpreters = sorted(e.Interpreters, func(i Interpreter) string { return i.Command })
	e.PkgConfig = sorted(e.PkgConfig, func(p PkgConfig) string { return p.Path })
	e.Surfaces = append(e.Surfaces, e.surfaces()...)
	return e, e.validate()
}

// distinct gives libraries that have one stem, such as two versions side by side,
// their sonames too.
func (x *extraction) distinct() []Module {
	count := map[string]int{}
	for _, m := range x.out.Modules {
		count[m.ID]++
	}
	next := map[string]int{}
	for i, m := range x.out.Modules {
		if count[m.ID] > 1 && !m.Declared {
			next[m.ID]++
			x.out.Modules[i].ID = fmt.Sprintf("%s#%d", m.ID, next[m.ID])
		}
	}
	return x.out.Modules
}

func (e *Exports) surfaces() []string {
	has := map[string]bool{SurfaceELF: len(e.ELF) > 0, SurfaceHeaders: len(e.Headers) > 0, SurfacePkgConfig: len(e.PkgConfig) > 0, SurfaceCommands: len(e.Commands) > 0}
	for _, m := range e.Modules {
		has[SurfaceModules] = has[SurfaceModules] || m.Declared
		has[SurfaceGo] = has[SurfaceGo] || m.Form == FormGo
		has[SurfaceTypes] = has[SurfaceTypes] || m.Form == FormTypes
	}
	var out []string
	for _, s := range surfaces {
		if has[s] {
			out = append(out, s)
		}
	}
	return out
}
