package surface

import (
	"debug/elf"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"rebuild/internal/fault"
)

const (
	// maxELF is the largest library that is read; maxSections bounds what its
	// sections say they take, since a compressed one names its size itself.
	maxELF      = 1 << 30
	maxSections = 2 << 30
	maxSymbols  = 1_000_000
)

// image is a shared library that was opened.
type image struct {
	Library
	addresses map[string]uint64 // of exported symbols by their full name
	debug     *debug            // nil: no debug information
	unread    string            // why debug information can not be used
}

// guard turns a panic of the standard library's parsers, which were not made
// for files that somebody forged, into an error.
func guard(what string, err *error) {
	if r := recover(); r != nil {
		*err = fault.New(fault.Parse, "%s can not be read: %v", what, r)
	}
}

// elfClass says what a file is: "" if it is no ELF file at all.
func elfClass(r io.ReaderAt) elf.Type {
	var head [18]byte
	n, _ := r.ReadAt(head[:], 0)
	if string(head[:4]) != elf.ELFMAG {
		return elf.ET_NONE
	}
	if n < len(head) {
		return elf.ET_CORE // cut: certainly no library
	}
	if head[elf.EI_DATA] == byte(elf.ELFDATA2MSB) {
		return elf.Type(uint16(head[16])<<8 | uint16(head[17]))
	}
	return elf.Type(uint16(head[17])<<8 | uint16(head[16]))
}

// interpreter returns what a program asks to be started with: the ELF
// interpreter, or the first word behind "#!". "" is a static program.
func interpreter(r io.ReaderAt) (path string, err error) {
	defer guard("the program", &err)
	head := make([]byte, 256)
	n, err := r.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return "", err
	}
	if rest, ok := strings.CutPrefix(string(head[:n]), "#!"); ok {
		line, _, _ := strings.Cut(rest, "\n")
		if words := strings.Fields(line); len(words) > 0 {
			return words[0], nil
		}
		return "", nil
	}
	if elfClass(r) == elf.ET_NONE {
		return "", nil
	}
	f, err := elf.NewFile(r)
	if err != nil {
		return "", fault.New(fault.Parse, "%w", err)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP && p.Filesz < 4096 {
			name := make([]byte, p.Filesz)
			if _, err := p.ReadAt(name, 0); err != nil {
				return "", fault.New(fault.Parse, "%w", err)
			}
			return strings.TrimRight(string(name), "\x00"), nil
		}
	}
	return "", nil
}

// openLibrary reads a shared library: its dynamic section, its symbols, and the
// debug information if there is any. What can not be read is PARSE.
func openLibrary(p string, r io.ReaderAt, size int64) (lib *image, err error) {
	defer guard(p, &err)
	if size > maxELF {
		return nil, fault.New(fault.Parse, "%d bytes, at most %d are read", size, maxELF)
	}
	f, err := elf.NewFile(io.NewSectionReader(r, 0, size))
	if err != nil {
		return nil, fault.New(fault.Parse, "%w", err)
	}
	lib = &image{Library: Library{Path: p, Needed: []string{}, Symbols: []Symbol{}}, addresses: map[string]uint64{}}
	if err := checkSections(f, size); err != nil {
		return nil, err
	}
	if err := checkDynamic(f); err != nil {
		return nil, err
	}
	if names, err := f.DynString(elf.DT_SONAME); err != nil {
		return nil, fault.New(fault.Parse, "%w", err)
	} else if len(names) > 0 {
		lib.Soname = names[0]
	}
	needed, err := f.DynString(elf.DT_NEEDED)
	if err != nil {
		return nil, fault.New(fault.Parse, "%w", err)
	}
	lib.Needed = append(lib.Needed, sorted(needed, text)...)
	if err := lib.readSymbols(f); err != nil {
		return nil, err
	}
	lib.debug, lib.unread = readDebug(f)
	return lib, nil
}

// checkSections bounds what the file says of itself before anything is
// allocated by it.
func checkSections(f *elf.File, size int64) error {
	var total uint64
	for _, s := range f.Sections {
		if s.Type == elf.SHT_NOBITS {
			continue
		}
		if s.Size > maxSections || total > maxSections {
			return fault.New(fault.Parse, "the sections take more than %d bytes", int64(maxSections))
		}
		total += s.Size
		// Compression of debug information is seldom better than tenfold.
		if s.Flags&elf.SHF_COMPRESSED != 0 && s.Size > 1000*uint64(size) {
			return fault.New(fault.Parse, "section %s claims %d bytes in a file of %d", s.Name, s.Size, size)
		}
		if strings.HasPrefix(s.Name, ".zdebug") {
			return fault.New(fault.Parse, "section %s is of a compression that is no longer in use", s.Name)
		}
	}
	return nil
}

// checkDynamic wants the sections, which are read here, to be what the loader
// takes by the program headers, which has no use for sections: without that, a
// file could show others symbols than it offers.
func checkDynamic(f *elf.File) error {
	var segment *elf.Prog
	for _, p := range f.Progs {
		if p.Type == elf.PT_DYNAMIC {
			segment = p
		}
	}
	section, symbols := f.SectionByType(elf.SHT_DYNAMIC), f.SectionByType(elf.SHT_DYNSYM)
	switch {
	case segment == nil && section == nil:
		return nil
	case segment == nil || section == nil || segment.Off != section.Offset || section.Size > segment.Filesz:
		return fault.New(fault.Parse, "its sections do not show what the loader takes")
	case symbols != nil && symbols.Size > maxSymbols*symbols.Entsize:
		return fault.New(fault.Parse, "more than %d dynamic symbols", maxSymbols)
	}
	at, err := f.DynValue(elf.DT_SYMTAB)
	if err != nil {
		return fault.New(fault.Parse, "%w", err)
	}
	if symbols == nil && len(at) > 0 || symbols != nil && (len(at) != 1 || at[0] != symbols.Addr) {
		return fault.New(fault.Parse, "its sections do not show the symbols that the loader takes")
	}
	return nil
}

// linkerMade are symbols that linkers put into every library; they say nothing
// about it and come and go with the linker's version.
var linkerMade = []string{"_init", "_fini", "__bss_start", "_edata", "_end", "_etext", "_start", "_bss_end__", "__bss_start__", "__bss_end__", "__end__"}

func (lib *image) readSymbols(f *elf.File) error {
	symbols, err := f.DynamicSymbols()
	if err == elf.ErrNoSymbols {
		return nil
	}
	if err != nil {
		return fault.New(fault.Parse, "%w", err)
	}
	if len(symbols) > maxSymbols {
		return fault.New(fault.Parse, "more than %d dynamic symbols", maxSymbols)
	}
	var nodes []elf.DynamicVersion
	if f.SectionByType(elf.SHT_GNU_VERDEF) != nil {
		if nodes, err = f.DynamicVersions(); err != nil {
			return fault.New(fault.Parse, "%w", err)
		}
	}
	versions := map[uint16]string{}
	for _, n := range nodes {
		if n.Flags&elf.VER_FLG_BASE == 0 {
			versions[n.Index] = n.Name
		}
	}
	for _, s := range symbols {
		if exported, ok := exportedSymbol(s, versions); ok {
			lib.Symbols = append(lib.Symbols, exported)
			lib.addresses[exported.full()] = s.Value
		}
	}
	lib.Symbols = sorted(lib.Symbols, Symbol.key)
	return nil
}

// exportedSymbol says what others may bind to.
func exportedSymbol(s elf.Symbol, versions map[uint16]string) (Symbol, bool) {
	out := Symbol{Name: s.Name, Type: symbolType(elf.ST_TYPE(s.Info))}
	switch elf.ST_BIND(s.Info) {
	case elf.STB_GLOBAL:
		out.Bind = "global"
	case elf.STB_WEAK:
		out.Bind = "weak"
	case elf.STB_LOOS: // STB_GNU_UNIQUE
		out.Bind = "unique"
	default:
		return out, false
	}
	visible := elf.ST_VISIBILITY(s.Other)
	if s.Section == elf.SHN_UNDEF || s.Name == "" || visible == elf.STV_HIDDEN || visible == elf.STV_INTERNAL || slices.Contains(linkerMade, s.Name) {
		return out, false
	}
	if s.HasVersion {
		out.Version, out.Hidden = versions[s.VersionIndex.Index()], s.VersionIndex.IsHidden()
		if s.VersionIndex.Index() == 0 { // local
			return out, false
		}
	}
	if s.Section == elf.SHN_ABS && s.Size == 0 && s.Name == out.Version {
		return out, false // stands for the version node itself
	}
	if out.Type == "object" || out.Type == "tls" || out.Type == "common" {
		out.Size = int64(min(s.Size, 1<<53-1))
	}
	return out, out.Type != ""
}

func symbolType(t elf.SymType) string {
	switch t {
	case elf.STT_FUNC:
		return "func"
	case elf.STT_OBJECT:
		return "object"
	case elf.STT_TLS:
		return "tls"
	case elf.STT_COMMON:
		return "common"
	case elf.STT_LOOS: // STT_GNU_IFUNC
		return "ifunc"
	case elf.STT_NOTYPE:
		return "notype"
	}
	return ""
}

// readDebug reads debug information, and says why not if it can not.
func readDebug(f *elf.File) (d *debug, unread string) {
	defer func() {
		if r := recover(); r != nil {
			d, unread = nil, fmt.Sprintf("its debug information can not be read: %v", r)
		}
	}()
	if f.Section(".debug_info") == nil {
		return nil, "it has no debug information"
	}
	data, err := f.DWARF()
	if err != nil {
		return nil, "its debug information can not be read: " + err.Error()
	}
	d, err = parseDebug(data, f.ByteOrder)
	if err != nil {
		return nil, "its debug information can not be read: " + err.Error()
	}
	return d, ""
}

// stem is a library's path up to ".so", by which one version of it is told to be
// the next of another.
func stem(p string) string {
	base := path.Base(p)
	if at := strings.Index(base, ".so"); at > 0 {
		base = base[:at]
	}
	return path.Join(path.Dir(p), base)
}
