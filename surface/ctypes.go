package surface

import (
	"crypto/sha256"
	"debug/dwarf"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"rebuild/internal/fault"
)

// Types are written out as text in which neither the order of entries nor the
// compiler shows: base types by what they hold, typedefs by what they stand for,
// qualifiers behind what they qualify. A struct has its name alone, and is
// written out once, in the table. Which ones are: those that a public header
// declares, and those that are passed or embedded by value. All others are
// opaque to who uses the package, and free to change.

const (
	// maxTypeDepth and maxTypeSteps bound one type. Entries may form a circle
	// without a name, or a tree that doubles at every level.
	maxTypeDepth = 64
	maxTypeSteps = 100_000
	// maxTypes bounds the table: each closure may lead to all of it.
	maxTypes = 10_000
)

// layout is one definition of a named type.
type layout struct {
	kind   string
	params []string
	result string
	refs   []string // names of the types it leads to, sorted
}

func (l layout) text() string { return l.kind + "(" + strings.Join(l.params, "; ") + ")" + l.result }

// typeTable is every type of the surface, by its name with what it is:
// "struct foo". A name with several layouts is in different libraries, or behind
// different macros.
type typeTable map[string][]layout

// typer writes types of one library, and enters named ones into the table.
type typer struct {
	*debug
	public func(file string) bool
	tags   map[string]bool // defined in the text of public headers, wherever debug information says
	table  typeTable
	seen   map[string]bool // entered from this library
	steps  int
	refs   map[string]bool // of what is written at the moment
}

func newTyper(d *debug, table typeTable, public func(string) bool) *typer {
	return &typer{debug: d, public: public, table: table, seen: map[string]bool{}, refs: map[string]bool{}}
}

var errType = fault.New(fault.Parse, "a type in the debug information is missing, endless or too large")

// signature is the export of a function or an object, refs the types that it
// leads to.
func (w *typer) signature(x *entry) (l layout, err error) {
	w.steps, w.refs = 0, map[string]bool{}
	if x.tag == dwarf.TagVariable {
		l.kind = KindObject
		l.result, err = w.text(x.typ, true, 0)
	} else {
		l.kind = KindFunc
		l.params, l.result, err = w.function(x, 0)
	}
	l.refs = slices.Sorted(maps.Keys(w.refs))
	return l, err
}

// function writes the parameters and the result of a function or a function type.
func (w *typer) function(x *entry, depth int) (params []string, result string, err error) {
	params = []string{}
	for _, p := range x.children {
		if p.tag == dwarf.TagUnspecifiedParameters {
			params = append(params, "...")
			continue
		}
		if from := w.root(p); from != nil {
			p = from
		}
		t, err := w.unqualified(p.typ, depth)
		if err != nil {
			return nil, "", err
		}
		params = append(params, t)
	}
	result, err = w.unqualified(x.typ, depth)
	if x.convention != 0 {
		result += fmt.Sprintf(" convention %d", x.convention)
	}
	return params, result, err
}

// unqualified writes the type of a parameter or a result, where const and its
// like mean nothing to the caller.
func (w *typer) unqualified(at dwarf.Offset, depth int) (string, error) {
	for range maxTypeDepth {
		x := w.entries[at]
		if x == nil {
			break
		}
		switch x.tag {
		case dwarf.TagConstType, dwarf.TagVolatileType, dwarf.TagRestrictType:
			at = x.typ
			continue
		case dwarf.TagTypedef:
			if next := w.entries[x.typ]; next != nil && !aggregate(next.tag) {
				at = x.typ
				continue
			}
		}
		break
	}
	return w.text(at, true, depth+1)
}

// text writes a type. value says that it is held or passed, not pointed to.
func (w *typer) text(at dwarf.Offset, value bool, depth int) (string, error) {
	if at == 0 {
		return "void", nil
	}
	x := w.entries[at]
	if w.steps++; x == nil || x.elsewhere || depth > maxTypeDepth || w.steps > maxTypeSteps {
		return "", errType
	}
	depth++
	switch x.tag {
	case dwarf.TagBaseType:
		return baseType(x), nil
	case dwarf.TagUnspecifiedType:
		return x.name, nil
	case dwarf.TagTypedef, dwarf.TagRestrictType:
		return w.text(x.typ, value, depth)
	case dwarf.TagConstType, dwarf.TagVolatileType, dwarf.TagAtomicType:
		return w.qualified(x, value, depth)
	case dwarf.TagPointerType:
		return w.suffixed(x, "*", false, depth)
	case dwarf.TagReferenceType:
		return w.suffixed(x, "&", false, depth)
	case dwarf.TagRvalueReferenceType:
		return w.suffixed(x, "&&", false, depth)
	case dwarf.TagPtrToMemberType:
		return w.suffixed(x, "::*", false, depth)
	case dwarf.TagArrayType:
		suffix := dimensions(x)
		if x.vector {
			suffix += "vector"
		}
		return w.suffixed(x, suffix, value, depth)
	case dwarf.TagSubroutineType, dwarf.TagSubprogram:
		params, result, err := w.function(x, depth)
		return "func(" + strings.Join(params, ", ") + ") " + result, err
	case dwarf.TagStructType, dwarf.TagClassType, dwarf.TagUnionType, dwarf.TagEnumerationType, dwarf.TagInterfaceType:
		return w.aggregate(x, value, depth)
	}
	return "", errType
}

func (w *typer) suffixed(x *entry, suffix string, value bool, depth int) (string, error) {
	t, err := w.text(x.typ, value, depth)
	if strings.HasPrefix(t, "func(") && suffix[0] != '[' {
		t = "(" + t + ")"
	}
	return t + suffix, err
}

// qualified gathers qualifiers, which compilers nest in either order.
func (w *typer) qualified(x *entry, value bool, depth int) (string, error) {
	marks := map[string]bool{}
	for i := 0; ; i++ {
		switch x.tag {
		case dwarf.TagConstType:
			marks[" const"] = true
		case dwarf.TagVolatileType:
			marks[" volatile"] = true
		case dwarf.TagAtomicType:
			marks[" atomic"] = true
		}
		next := w.entries[x.typ]
		if next == nil || next.tag != dwarf.TagConstType && next.tag != dwarf.TagVolatileType && next.tag != dwarf.TagAtomicType && next.tag != dwarf.TagRestrictType {
			break
		}
		if x = next; i > maxTypeDepth {
			return "", errType
		}
	}
	t, err := w.text(x.typ, value, depth)
	return t + strings.Join(slices.Sorted(maps.Keys(marks)), ""), err
}

func dimensions(x *entry) string {
	var b strings.Builder
	for _, c := range x.children {
		if c.count < 0 {
			b.WriteString("[]")
		} else {
			b.WriteString("[" + strconv.FormatInt(c.count, 10) + "]")
		}
	}
	if b.Len() == 0 {
		return "[]"
	}
	return b.String()
}

// encodings of base types (DWARF 5, 7.8).
const (
	encodingBoolean      = 2
	encodingComplex      = 3
	encodingFloat        = 4
	encodingSigned       = 5
	encodingSignedChar   = 6
	encodingUnsigned     = 7
	encodingUnsignedChar = 8
	encodingUTF          = 16
)

// baseType names a base type by what it holds: compilers have many names for one.
func baseType(x *entry) string {
	bits := strconv.FormatInt(x.size*8, 10)
	switch x.encoding {
	case encodingBoolean:
		return "bool" + bits
	case encodingComplex:
		return "complex" + bits
	case encodingFloat:
		return "float" + bits + floatKind(x)
	case encodingSigned:
		return "int" + bits
	case encodingUnsigned:
		return "uint" + bits
	case encodingSignedChar, encodingUnsignedChar:
		if x.name == "signed char" {
			return "int8"
		}
		if x.name == "unsigned char" {
			return "uint8"
		}
		return "char" // of either sign, by the processor
	case encodingUTF:
		return "utf" + bits
	}
	return x.name + "/" + bits
}

// floatKind tells floats apart that have one size and are nothing alike, such as
// long double and __float128, or _Float16 and __bf16.
func floatKind(x *entry) string {
	name := strings.Trim(strings.ToLower(x.name), "_")
	if x.size == 2 || x.size == 16 && name != "long double" {
		return "/" + name
	}
	return ""
}

// aggregate writes a struct, union or enum: its name, and its layout into the
// table if others see it; or the layout itself, if it has no name.
func (w *typer) aggregate(x *entry, value bool, depth int) (string, error) {
	key := x.key()
	if key == "" {
		l, err := w.layout(x, depth)
		return l.text(), err
	}
	if value || w.isPublic(key) {
		w.refs[key] = true
	}
	return key, nil
}

func (w *typer) isPublic(key string) bool {
	return w.tags[key] || slices.ContainsFunc(w.named[key], func(x *entry) bool { return w.public(x.file) })
}

// layout writes what a type consists of.
func (w *typer) layout(x *entry, depth int) (layout, error) {
	switch x.tag {
	case dwarf.TagTypedef:
		t, err := w.text(x.typ, false, depth)
		return layout{kind: KindTypedef, params: []string{}, result: t + aligned(x)}, err
	case dwarf.TagEnumerationType:
		l := layout{kind: KindEnum, params: []string{}, result: size(x)}
		for _, c := range x.children {
			l.params = append(l.params, c.name+"="+strconv.FormatInt(c.at, 10))
		}
		slices.Sort(l.params)
		return l, nil
	}
	l := layout{kind: KindStruct, params: []string{}, result: size(x)}
	if x.tag == dwarf.TagUnionType {
		l.kind = KindUnion
	}
	for _, c := range x.children {
		part, err := w.part(c, depth)
		if err != nil {
			return l, err
		}
		if part != "" {
			l.params = append(l.params, part)
		}
	}
	return l, nil
}

func size(x *entry) string {
	if x.size < 0 {
		return "size unknown" + aligned(x)
	}
	return fmt.Sprintf("size %d", x.size) + aligned(x)
}

// aligned is the alignment that a declaration asks for: who embeds the type
// places it by that, even if its own members stay where they are.
func aligned(x *entry) string {
	if x.align <= 0 {
		return ""
	}
	return fmt.Sprintf(" align %d", x.align)
}

// part writes a member, a base class or a virtual function. Other functions of a
// class are symbols.
func (w *typer) part(c *entry, depth int) (string, error) {
	switch {
	case c.tag == dwarf.TagSubprogram && c.virtual:
		return "virtual " + c.name + " " + c.linkage, nil
	case c.tag == dwarf.TagSubprogram, c.external, c.tag == dwarf.TagMember && c.declaration:
		return "", nil // a static member is a symbol too
	}
	t, err := w.text(c.typ, true, depth+1)
	if c.tag == dwarf.TagInheritance {
		return fmt.Sprintf("%d base %s", c.at, t), err
	}
	if c.bits > 0 {
		return fmt.Sprintf("%d:%d %s %s", c.bitAt/8, c.bitAt%8, t, strings.TrimSpace(c.name+":"+strconv.FormatInt(c.bits, 10))), err
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s %s", c.at, t, c.name)), err
}

// enter puts a named type into the table, and all that it leads to.
func (w *typer) enter(keys ...string) error {
	for len(keys) > 0 {
		key := keys[len(keys)-1]
		keys = keys[:len(keys)-1]
		if w.seen[key] {
			continue
		}
		w.seen[key] = true
		if len(w.table) >= maxTypes {
			return fault.New(fault.Parse, "more than %d types are seen from outside", maxTypes)
		}
		for _, x := range w.named[key] {
			w.steps, w.refs = 0, map[string]bool{}
			l, err := w.layout(x, 0)
			if err != nil {
				return err
			}
			l.refs = slices.Sorted(maps.Keys(w.refs))
			w.table.insert(key, l)
			keys = append(keys, l.refs...)
		}
	}
	return nil
}

// enterPublic enters every type that a public header declares.
func (w *typer) enterPublic() error {
	for _, key := range slices.Sorted(maps.Keys(w.named)) {
		if w.isPublic(key) && !strings.Contains(key, "()::") {
			if err := w.enter(key); err != nil {
				return err
			}
		}
	}
	return nil
}

// insert adds a layout in the order of its text.
func (t typeTable) insert(key string, l layout) {
	at, found := slices.BinarySearchFunc(t[key], l.text(), func(l layout, text string) int { return strings.Compare(l.text(), text) })
	if !found {
		t[key] = slices.Insert(t[key], at, l)
	}
}

// closures returns a function that hashes a layout with every type that it leads
// to. The table must be complete.
func (t typeTable) closures() func(layout) string {
	own := map[string][]byte{}
	for key, all := range t {
		h := sha256.New()
		h.Write([]byte(key))
		for _, l := range all {
			h.Write([]byte("\n" + l.text()))
		}
		own[key] = h.Sum(nil)
	}
	return func(l layout) string {
		h := sha256.New()
		h.Write([]byte(l.text()))
		for _, key := range t.reached(l) {
			h.Write(own[key])
		}
		return "sha256:" + hex.EncodeToString(h.Sum(nil))
	}
}

// reached returns every type that a layout leads to, sorted.
func (t typeTable) reached(l layout) []string {
	reached, open := map[string]bool{}, slices.Clone(l.refs)
	for len(open) > 0 {
		key := open[len(open)-1]
		open = open[:len(open)-1]
		if reached[key] {
			continue
		}
		reached[key] = true
		for _, next := range t[key] {
			open = append(open, next.refs...)
		}
	}
	return slices.Sorted(maps.Keys(reached))
}

// exports returns the table as exports of one module. The second layout of a
// name has "#2" behind it.
func (t typeTable) exports() []Export {
	var out []Export
	closure := t.closures()
	for _, key := range slices.Sorted(maps.Keys(t)) {
		_, name, _ := strings.Cut(key, " ")
		for i, l := range t[key] {
			x := Export{Name: name, Kind: l.kind, Params: l.params, Result: l.result, Closure: closure(l)}
			if i > 0 {
				x.Name = fmt.Sprintf("%s#%d", name, i+1)
			}
			out = append(out, x)
		}
	}
	return sorted(out, Export.key)
}
