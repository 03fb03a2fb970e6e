// Package surface knows what a package offers to others, and whether a newer
// version of it still offers that.
//
// [Extract] reads a tree of files and returns its [Exports], the document
// rebuild.exports.json (formats.md 6): declared modules, shared libraries with
// their dynamic symbols and, from debug information, signatures and layouts,
// public headers, pkg-config files, commands, Go packages. It is meant to run in
// the last stage of a build, before stripping, so that the document is
// reproduced like every other file; it needs nothing but the tree, and equal
// trees give equal bytes. [Compare] tells two of them apart and sorts what it
// finds into breaks, risks, additions and what could not be checked. [Breaks] is
// the short form for who only wants to warn.
//
// Nothing that is read is trusted: sizes, counts and depths are bounded, and
// what can not be read is said to be unchecked, never passed over. docs/semver.md
// says which change counts as what, and what is not seen.
package surface

import (
	"slices"
	"strings"

	"rebuild/internal/document"
	"rebuild/internal/fault"
)

// File is the name of the document in a package folder.
const File = "rebuild.exports.json"

// The surfaces that a package may have.
const (
	SurfaceModules   = "modules" // declared ones
	SurfaceELF       = "elf"
	SurfaceHeaders   = "headers"
	SurfaceTypes     = "types"
	SurfaceGo        = "go"
	SurfacePkgConfig = "pkgconfig"
	SurfaceCommands  = "commands"
)

var surfaces = []string{SurfaceCommands, SurfaceELF, SurfaceGo, SurfaceHeaders, SurfaceModules, SurfacePkgConfig, SurfaceTypes}

// The forms of a module.
const (
	FormELF     = "elf"     // a shared library; exports are functions and objects
	FormHeaders = "headers" // C headers; exports are the files
	FormTypes   = "types"   // types of the public headers, and what they rest on
	FormGo      = "go"      // a Go package
	FormFiles   = "files"   // anything else; exports are the files
)

var forms = []string{FormELF, FormHeaders, FormTypes, FormGo, FormFiles}

// TypesModule is the id of the one module of form types.
const TypesModule = "types"

// The kinds of an export.
const (
	KindFunc    = "func"
	KindObject  = "object"
	KindStruct  = "struct" // also a class
	KindUnion   = "union"
	KindEnum    = "enum"
	KindTypedef = "typedef"
	KindHeader  = "header"
	KindFile    = "file"
	// Of Go packages.
	KindConst  = "const"
	KindVar    = "var"
	KindType   = "type"
	KindField  = "field"
	KindMethod = "method"
)

var kinds = []string{KindFunc, KindObject, KindStruct, KindUnion, KindEnum, KindTypedef, KindHeader, KindFile,
	KindConst, KindVar, KindType, KindField, KindMethod}

// Exports is rebuild.exports.json. Beyond the fields of formats.md 6 it has
// Unchecked, Interpreters, Headers and PkgConfig, each absent if empty, and of
// modules their form and whether the package declares them.
type Exports struct {
	SchemaVersion     string        `json:"schema_version"`
	Surfaces          []string      `json:"surfaces"`           // what the package has, sorted
	SignaturesChecked bool          `json:"signatures_checked"` // false: Unchecked says why
	Unchecked         []Unchecked   `json:"unchecked,omitempty"`
	Modules           []Module      `json:"modules"` // sorted by id
	ELF               []Library     `json:"elf"`     // sorted by path
	Commands          []string      `json:"commands"`
	Interpreters      []Interpreter `json:"interpreters,omitempty"` // sorted by command
	Headers           []Header      `json:"headers,omitempty"`      // sorted by path
	PkgConfig         []PkgConfig   `json:"pkgconfig,omitempty"`    // sorted by path
}

// Unchecked is a part of the surface whose signatures are not known.
type Unchecked struct {
	Subject string `json:"subject"`
	Reason  string `json:"reason"`
}

// Module is a named set of exports. The id of a module that the package declares
// is the declared one; a shared library that is none has the id of its path up
// to ".so", and all types of C and C++ are in the module "types".
type Module struct {
	ID       string   `json:"id"`
	Form     string   `json:"form"`
	Path     string   `json:"path,omitempty"` // of its file or folder
	Declared bool     `json:"declared,omitzero"`
	Exports  []Export `json:"exports"` // sorted by name, then kind
}

// Export is one thing that others may use. Params and Result depend on Kind:
//
//	func     types of the parameters, type of the result; Result is "" if unknown
//	object   no Params; its type, "" if unknown
//	struct   "OFFSET TYPE NAME" of each member; "size N"
//	enum     "NAME=VALUE" of each; "size N"
//	typedef  no Params; what it stands for
//	header, file  neither
//
// and those of Go packages as the source has them, with import paths for
// package names. Closure is a hash of all types that it leads to.
type Export struct {
	Name    string   `json:"name"`
	Kind    string   `json:"kind"`
	Params  []string `json:"params"`
	Result  string   `json:"result,omitempty"`
	Closure string   `json:"closure,omitempty"`
}

// Library is a shared library. Links are the names beside it that lead to it.
type Library struct {
	Path    string   `json:"path"`
	Soname  string   `json:"soname"` // "": none
	Needed  []string `json:"needed"` // sorted
	Links   []string `json:"links,omitempty"`
	Symbols []Symbol `json:"symbols"` // sorted by name, version
}

// Symbol is a dynamic symbol that a library defines and others may bind to.
type Symbol struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"` // its version node
	Hidden  bool   `json:"hidden,omitzero"`   // name@version, not name@@version
	Type    string `json:"type"`              // func, object, tls, ifunc, notype, common
	Bind    string `json:"bind"`              // global, weak, unique
	Size    int64  `json:"size,omitzero"`     // of an object, in bytes
}

// Interpreter is the program that a command asks the kernel to be started with.
type Interpreter struct {
	Command string `json:"command"`
	Path    string `json:"path"`
}

// Header is a public header. Names are all identifiers in it but macros, so
// that a type which debug information left out can be told from one that is
// gone.
type Header struct {
	Path   string   `json:"path"`
	Names  []string `json:"names"`
	Macros []Macro  `json:"macros,omitempty"`
	// What its text defines for those who include it: inline functions, whose
	// Result is the text before the body, structs and unions, whose Result is the
	// text of their body and whose Params are words such as packed.
	Declares  []Export `json:"declares,omitempty"`  // sorted by name, then kind
	Constants []Macro  `json:"constants,omitempty"` // of enums, sorted by name
}

// Macro is a definition in a header: what stands behind its name, white space
// made one blank, or the hash of that if it is long.
type Macro struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// PkgConfig is a pkg-config file, with its variables unexpanded.
type PkgConfig struct {
	Path            string   `json:"path"` // the module's name is its base without .pc
	Version         string   `json:"version"`
	Requires        []string `json:"requires,omitempty"` // "name" or "name >= 1.2"
	RequiresPrivate []string `json:"requires_private,omitempty"`
	Libs            []string `json:"libs,omitempty"`
	Cflags          []string `json:"cflags,omitempty"`
}

// Decode reads rebuild.exports.json. file is named in errors: PARSE, STRUCTURE,
// SCHEMA_UNSUPPORTED, or SEMANTIC for one that no extraction writes.
func Decode(file string, data []byte) (*Exports, error) {
	var e Exports
	if err := document.Decode(file, data, document.Exports, &e); err != nil {
		return nil, err
	}
	if err := e.validate(); err != nil {
		return nil, fault.In(err, file)
	}
	return &e, nil
}

// Declare makes the document follow the modules that a package declares now: one
// that it no longer declares is none, and one that the document does not know is
// unchecked.
func (e *Exports) Declare(modules []string) {
	known := map[string]bool{}
	for i := range e.Modules {
		known[e.Modules[i].ID] = true
		e.Modules[i].Declared = slices.Contains(modules, e.Modules[i].ID)
	}
	var missing []Unchecked
	for _, id := range modules {
		if !known[id] {
			missing = append(missing, Unchecked{id, "the package declares this module, and " + File + " does not have it"})
		}
	}
	e.Doubt(missing)
}

// Doubt adds subjects that the document can not be believed about.
func (e *Exports) Doubt(more []Unchecked) {
	e.Unchecked = append(e.Unchecked, more...)
	e.Unchecked = sorted(e.Unchecked, func(u Unchecked) string { return u.Subject })
	e.SignaturesChecked = len(e.Unchecked) == 0
}

// Encode returns the document's canonical bytes. One that is larger than a
// reader takes is SEMANTIC.
func (e *Exports) Encode() ([]byte, error) {
	if err := e.validate(); err != nil {
		return nil, err
	}
	data, err := document.Encode(e)
	if err == nil && int64(len(data)) > document.Exports.MaxBytes {
		return nil, fault.New(fault.Semantic, "the exports take %d bytes, at most %d are allowed", len(data), document.Exports.MaxBytes).
			WithHint("ship fewer headers or libraries in one package")
	}
	return data, err
}

// validate checks what makes the document one byte string: order, no doubles,
// known words.
func (e *Exports) validate() error {
	if e.SignaturesChecked != (len(e.Unchecked) == 0) {
		return fault.New(fault.Semantic, "signatures_checked is %v with %d unchecked subjects", e.SignaturesChecked, len(e.Unchecked))
	}
	for _, s := range e.Surfaces {
		if !slices.Contains(surfaces, s) {
			return fault.New(fault.Semantic, "surfaces: unknown %q", s)
		}
	}
	for i := range e.Modules {
		if err := e.Modules[i].validate(); err != nil {
			return err
		}
	}
	for _, l := range e.ELF {
		if err := l.validate(); err != nil {
			return err
		}
	}
	for _, h := range e.Headers {
		named := func(m Macro) string { return m.Name }
		if !ordered(h.Names, text) || !ordered(h.Macros, named) || !ordered(h.Constants, named) || !ordered(h.Declares, Export.key) {
			return unordered("names of " + h.Path)
		}
	}
	for what, ok := range map[string]bool{
		"surfaces":     ordered(e.Surfaces, text),
		"unchecked":    ordered(e.Unchecked, func(u Unchecked) string { return u.Subject }),
		"modules":      ordered(e.Modules, func(m Module) string { return m.ID }),
		"elf":          ordered(e.ELF, func(l Library) string { return l.Path }),
		"commands":     ordered(e.Commands, text),
		"interpreters": ordered(e.Interpreters, func(i Interpreter) string { return i.Command }),
		"headers":      ordered(e.Headers, func(h Header) string { return h.Path }),
		"pkgconfig":    ordered(e.PkgConfig, func(p PkgConfig) string { return p.Path }),
	} {
		if !ok {
			return unordered(what)
		}
	}
	return nil
}

func (m *Module) validate() error {
	if !slices.Contains(forms, m.Form) {
		return fault.New(fault.Semantic, "module %q: unknown form %q", m.ID, m.Form)
	}
	if !ordered(m.Exports, Export.key) {
		return unordered("exports of " + m.ID)
	}
	for _, x := range m.Exports {
		if !slices.Contains(kinds, x.Kind) {
			return fault.New(fault.Semantic, "module %q: %q has the unknown kind %q", m.ID, x.Name, x.Kind)
		}
	}
	return nil
}

func (l *Library) validate() error {
	if !ordered(l.Needed, text) || !ordered(l.Links, text) || !ordered(l.Symbols, Symbol.key) {
		return unordered("lists of " + l.Path)
	}
	for _, s := range l.Symbols {
		if s.Size < 0 {
			return fault.New(fault.Semantic, "%s: %s has a size below 0", l.Path, s.Name)
		}
	}
	return nil
}

func (x Export) key() string { return x.Name + "\x00" + x.Kind }
func (s Symbol) key() string { return s.Name + "\x00" + s.Version }

// full is the symbol as linkers write it, so that two versions of a function are
// two exports.
func (s Symbol) full() string {
	switch {
	case s.Version == "":
		return s.Name
	case s.Hidden:
		return s.Name + "@" + s.Version
	}
	return s.Name + "@@" + s.Version
}

func unordered(what string) error {
	return fault.New(fault.Semantic, "%s: empty, twice the same or not sorted", what)
}

func text(s string) string { return s }

// ordered says whether a list is strictly increasing by a key that is never
// empty.
func ordered[T any](list []T, key func(T) string) bool {
	for i := range list {
		k := key(list[i])
		if strings.TrimPrefix(k, "\x00") == "" || i > 0 && key(list[i-1]) >= k {
			return false
		}
	}
	return true
}

// sorted puts a list into the order that ordered wants, and keeps the first of
// those that have one key.
func sorted[T any](list []T, key func(T) string) []T {
	slices.SortStableFunc(list, func(a, b T) int { return strings.Compare(key(a), key(b)) })
	return slices.CompactFunc(list, func(a, b T) bool { return key(a) == key(b) })
}
