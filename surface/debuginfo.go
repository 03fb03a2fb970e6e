package surface

import (
	"debug/dwarf"
	"encoding/binary"
	"path"
	"slices"

	"rebuild/internal/fault"
)

// Debug information is read once, into entries that hold no more than types
// need. debug/dwarf's own reader of types is not used: it makes recursive values
// of whatever a file says, and knows nothing of where a type was declared.

// maxEntries bounds what is kept of one library, maxNesting its tree.
const (
	maxEntries = 3_000_000
	maxNesting = 256
)

// debug is the debug information of one library.
type debug struct {
	entries map[dwarf.Offset]*entry
	all     []*entry // in the order of the file
	// Definitions by their qualified name: "struct foo".
	named map[string][]*entry
	// Exported functions and variables that are defined here.
	byAddress map[uint64][]*entry // several, if a linker folded equal code
	byName    map[string]*entry
}

// entry is a type, a part of one, a function or a variable.
type entry struct {
	tag         dwarf.Tag
	name        string // with its namespaces, of a type
	linkage     string
	file        string // where it was declared
	typ, origin dwarf.Offset
	children    []*entry
	size        int64 // in bytes, -1: unknown
	at          int64 // of a member, in bytes, or the value of an enumerator
	bits, bitAt int64 // of a bit field; bitAt counts from the start of the struct
	encoding    int64
	count       int64 // of an array, -1: open
	align       int64 // that was asked for, 0: as its parts want it
	convention  int64 // of calls, 0: the usual one
	vector      bool  // an array that is one value
	declaration bool
	prototyped  bool
	external    bool
	virtual     bool
	elsewhere   bool
	address     uint64
}

// kept are the entries that a surface may lead to. All others are passed
// through for what is declared inside them.
var kept = map[dwarf.Tag]bool{
	dwarf.TagBaseType: true, dwarf.TagPointerType: true, dwarf.TagConstType: true, dwarf.TagVolatileType: true, dwarf.TagRestrictType: true,
	dwarf.TagAtomicType: true, dwarf.TagTypedef: true, dwarf.TagStructType: true, dwarf.TagClassType: true, dwarf.TagUnionType: true,
	dwarf.TagEnumerationType: true, dwarf.TagEnumerator: true, dwarf.TagMember: true, dwarf.TagSubrangeType: true, dwarf.TagArrayType: true,
	dwarf.TagSubroutineType: true, dwarf.TagFormalParameter: true, dwarf.TagUnspecifiedParameters: true, dwarf.TagSubprogram: true,
	dwarf.TagReferenceType: true, dwarf.TagRvalueReferenceType: true, dwarf.TagPtrToMemberType: true, dwarf.TagInheritance: true,
	dwarf.TagUnspecifiedType: true, dwarf.TagVariable: true, dwarf.TagInterfaceType: true,
}

// level is where the reader is in the tree.
type level struct {
	into  *entry // what children belong to, nil: nothing
	scope string // namespaces and types around, "a::b::"
	local bool   // inside a function's body
}

func parseDebug(data *dwarf.Data, order binary.ByteOrder) (*debug, error) {
	d := &debug{entries: map[dwarf.Offset]*entry{}, named: map[string][]*entry{}, byAddress: map[uint64][]*entry{}, byName: map[string]*entry{}}
	r := data.Reader()
	var files []*dwarf.LineFile
	stack := []level{{}}
	for {
		e, err := r.Next()
		if err != nil {
			return nil, err
		}
		if e == nil {
			return d.indexed(), nil
		}
		if e.Tag == 0 {
			if len(stack) > 1 {
				stack = stack[:len(stack)-1]
			}
			continue
		}
		if e.Tag == dwarf.TagCompileUnit || e.Tag == dwarf.TagPartialUnit || e.Tag == dwarf.TagTypeUnit {
			files, stack = filesOf(data, e), []level{{}}
		}
		below, err := d.add(e, stack[len(stack)-1], files, order)
		if err != nil {
			return nil, err
		}
		if !e.Children {
			continue
		}
		if stack = append(stack, below); len(stack) > maxNesting {
			return nil, fault.New(fault.Parse, "debug information nests deeper than %d", maxNesting)
		}
	}
}

// filesOf returns a unit's table of files; without one nothing is public.
func filesOf(data *dwarf.Data, unit *dwarf.Entry) []*dwarf.LineFile {
	lines, err := data.LineReader(unit)
	if err != nil || lines == nil {
		return nil
	}
	return lines.Files()
}

// add keeps an entry if it may matter, and returns where its children go.
func (d *debug) add(e *dwarf.Entry, in level, files []*dwarf.LineFile, order binary.ByteOrder) (level, error) {
	below := level{scope: in.scope, local: in.local}
	name, _ := e.Val(dwarf.AttrName).(string)
	switch e.Tag {
	case dwarf.TagNamespace:
		below.scope += orAnonymous(name) + "::"
		return below, nil
	case dwarf.TagLexDwarfBlock, dwarf.TagInlinedSubroutine:
		below.local = true
		return below, nil
	}
	if !kept[e.Tag] || in.local && (e.Tag == dwarf.TagVariable || e.Tag == dwarf.TagFormalParameter) {
		return below, nil
	}
	if len(d.entries) >= maxEntries {
		return below, fault.New(fault.Parse, "more than %d entries of debug information", maxEntries)
	}
	x := newEntry(e, name, files, order)
	d.entries[e.Offset], d.all = x, append(d.all, x)
	switch e.Tag {
	case dwarf.TagStructType, dwarf.TagClassType, dwarf.TagUnionType, dwarf.TagEnumerationType, dwarf.TagTypedef, dwarf.TagInterfaceType:
		if x.name != "" {
			below.scope += x.name + "::"
			x.name = in.scope + x.name
		}
	case dwarf.TagSubprogram:
		// What is declared in a function is nobody else's.
		below.scope += orAnonymous(name) + "()::"
	}
	if in.into != nil && partOf(e.Tag, in.into.tag) {
		in.into.children = append(in.into.children, x)
	}
	below.into = x
	return below, nil
}

func orAnonymous(name string) string {
	if name == "" {
		return "(anonymous)"
	}
	return name
}

// partOf says whether an entry is a part of the one around it, and not only
// declared there.
func partOf(tag, parent dwarf.Tag) bool {
	switch parent {
	case dwarf.TagSubprogram, dwarf.TagSubroutineType:
		return tag == dwarf.TagFormalParameter || tag == dwarf.TagUnspecifiedParameters
	case dwarf.TagEnumerationType:
		return tag == dwarf.TagEnumerator
	case dwarf.TagArrayType:
		return tag == dwarf.TagSubrangeType || tag == dwarf.TagEnumerationType
	case dwarf.TagStructType, dwarf.TagClassType, dwarf.TagUnionType, dwarf.TagInterfaceType:
		return tag == dwarf.TagMember || tag == dwarf.TagInheritance || tag == dwarf.TagSubprogram
	}
	return false
}

func newEntry(e *dwarf.Entry, name string, files []*dwarf.LineFile, order binary.ByteOrder) *entry {
	x := &entry{tag: e.Tag, name: name, size: number(e, dwarf.AttrByteSize, -1), encoding: number(e, dwarf.AttrEncoding, 0), count: -1}
	x.linkage, _ = e.Val(dwarf.AttrLinkageName).(string)
	x.typ = reference(e)
	// A type that is in a unit of its own is only pointed at by a hash.
	x.elsewhere = e.Val(dwarf.AttrSignature) != nil
	if x.origin, _ = e.Val(dwarf.AttrAbstractOrigin).(dwarf.Offset); x.origin == 0 {
		x.origin, _ = e.Val(dwarf.AttrSpecification).(dwarf.Offset)
	}
	if n := number(e, dwarf.AttrDeclFile, -1); n >= 0 && n < int64(len(files)) && files[n] != nil {
		x.file = path.Clean(files[n].Name)
	}
	x.declaration, _ = e.Val(dwarf.AttrDeclaration).(bool)
	x.align = number(e, dwarf.AttrAlignment, 0)
	if x.convention = number(e, dwarf.AttrCalling, 0); x.convention == conventionNormal || aggregate(e.Tag) {
		x.convention = 0
	}
	x.vector, _ = e.Val(attrVector).(bool)
	x.prototyped, _ = e.Val(dwarf.AttrPrototyped).(bool)
	x.external, _ = e.Val(dwarf.AttrExternal).(bool)
	x.virtual = number(e, dwarf.AttrVirtuality, 0) != 0
	x.address, _ = e.Val(dwarf.AttrLowpc).(uint64)
	x.at = number(e, dwarf.AttrDataMemberLoc, 0)
	if e.Tag == dwarf.TagEnumerator {
		x.at = number(e, dwarf.AttrConstValue, 0)
	}
	if e.Tag == dwarf.TagSubrangeType {
		if x.count = number(e, dwarf.AttrCount, -1); x.count < 0 {
			if upper := number(e, dwarf.AttrUpperBound, -1); upper >= 0 && upper < 1<<53 {
				x.count = upper + 1
			}
		}
	}
	x.bitField(e, order)
	return x
}

// Of DWARF 5, 7.15, and of the GNU extensions.
const (
	conventionNormal = 1
	attrVector       = dwarf.Attr(0x2107)
)

// nowhere is a reference that can not be followed, such as one by a hash.
const nowhere = ^dwarf.Offset(0)

// reference returns the type of an entry, 0 if it has none.
func reference(e *dwarf.Entry) dwarf.Offset {
	switch v := e.Val(dwarf.AttrType).(type) {
	case nil:
		return 0
	case dwarf.Offset:
		return v
	}
	return nowhere
}

// bitField finds where a bit field lies. DWARF 4 counts from the start of the
// struct, older versions from the most significant bit of the storage unit.
func (x *entry) bitField(e *dwarf.Entry, order binary.ByteOrder) {
	if x.bits = number(e, dwarf.AttrBitSize, 0); x.bits == 0 || e.Tag != dwarf.TagMember {
		return
	}
	if at := number(e, dwarf.AttrDataBitOffset, -1); at >= 0 {
		x.bitAt = at
		return
	}
	from := number(e, dwarf.AttrBitOffset, 0)
	if order == binary.ByteOrder(binary.LittleEndian) && x.size > 0 {
		from = x.size*8 - from - x.bits
	}
	x.bitAt = x.at*8 + from
}

// number is an attribute that is an integer, otherwise what stands for none.
func number(e *dwarf.Entry, a dwarf.Attr, none int64) int64 {
	switch v := e.Val(a).(type) {
	case int64:
		return v
	case uint64:
		return int64(v)
	}
	return none
}

// indexed finds definitions by name. A function that is only declared here, since
// it is called, has none. A type without a name that a typedef names has that
// one.
func (d *debug) indexed() *debug {
	for _, x := range d.all {
		if target := d.entries[x.typ]; x.tag == dwarf.TagTypedef && target != nil && target.name == "" && aggregate(target.tag) {
			target.name = x.name
		}
	}
	for _, x := range d.all {
		if key := x.key(); key != "" && !x.declaration {
			d.named[key] = append(d.named[key], x)
		}
	}
	for _, x := range d.all {
		if x.tag == dwarf.TagSubprogram && !x.declaration || x.tag == dwarf.TagVariable && !x.declaration {
			d.define(x)
		}
	}
	return d
}

func aggregate(tag dwarf.Tag) bool {
	return tag == dwarf.TagStructType || tag == dwarf.TagClassType || tag == dwarf.TagUnionType || tag == dwarf.TagEnumerationType
}

// maxFolded bounds the functions at one address.
const maxFolded = 64

// at returns the function at an address: the one of that name, if equal code of
// several was folded into one.
func (d *debug) at(address uint64, name string) *entry {
	var first *entry
	for _, x := range d.byAddress[address] {
		if x.name == name || x.linkage == name {
			return x
		}
		if first == nil {
			first = x
		}
	}
	return first
}

func (d *debug) define(x *entry) {
	root := d.root(x)
	if root == nil || !root.external && !x.external {
		return
	}
	if x.address != 0 && !slices.Contains(d.byAddress[x.address], root) && len(d.byAddress[x.address]) < maxFolded {
		d.byAddress[x.address] = append(d.byAddress[x.address], root)
	}
	for _, name := range []string{root.linkage, root.name, x.linkage} {
		if name != "" && d.byName[name] == nil {
			d.byName[name] = root
		}
	}
}

// root follows a concrete function to the entry that has its name and type.
func (d *debug) root(x *entry) *entry {
	for range 8 {
		if x == nil || x.origin == 0 {
			return x
		}
		x = d.entries[x.origin]
	}
	return nil
}

// key is the name of a type under which all its definitions are one, "" of
// anything else.
func (x *entry) key() string {
	if x.name == "" {
		return ""
	}
	switch x.tag {
	case dwarf.TagStructType, dwarf.TagClassType, dwarf.TagInterfaceType:
		return "struct " + x.name
	case dwarf.TagUnionType:
		return "union " + x.name
	case dwarf.TagEnumerationType:
		return "enum " + x.name
	case dwarf.TagTypedef:
		return "typedef " + x.name
	}
	return ""
}
