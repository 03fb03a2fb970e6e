package surface

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rebuild/internal/fault"
)

// What breaks programs without a trace in symbols or in the types that
// functions take: each is found, and what is none is not.
func TestA15BreaksThatHide(t *testing.T) {
	t.Parallel()
	const (
		extra = `enum { SHAPE_OK, SHAPE_BAD = 4, SHAPE_WORSE, SHAPE_BIT = 1 << 3, SHAPE_NEG = -1, SHAPE_SAME = SHAPE_BAD };
typedef enum { SHAPE_RED, SHAPE_BLUE } shape_colour;
static inline int shape_twice(int n) { return n * 2; }
struct shape_ioctl { int request; char pad[4]; };
typedef struct { int x; } shape_hidden;
struct shape_fixed { int a; int b; };
int shape_fix(struct shape_fixed *f);
long double shape_long(long double x);
typedef float shape_vec __attribute__((vector_size(16)));
struct shape_vecs { shape_vec v; };
int shape_vecs(struct shape_vecs *v);
int shape_convention(int (*f)(int));
#endif
`
		source = `int shape_fix(struct shape_fixed *f) { return f->a; }
long double shape_long(long double x) { return x; }
int shape_vecs(struct shape_vecs *v) { return (int)v->v[0]; }
int shape_convention(int (*f)(int)) { return f(1); }
`
	)
	full := func() library {
		l := base()
		l.header = strings.TrimSuffix(l.header, "#endif\n") + extra
		l.source += source
		return l
	}
	const header = "include/shape.h: "
	for _, c := range []struct {
		name  string
		edits []string
		with  func(library) library
		old   func(library) library
		want  []string
	}{
		{name: "nothing"},
		{name: "a constant that is passed as int", edits: []string{"SHAPE_BAD = 4,", "SHAPE_BAD = 5,"},
			want: []string{"breaking enum_changed " + header + "SHAPE_BAD", "breaking enum_changed " + header + "SHAPE_SAME", "breaking enum_changed " + header + "SHAPE_WORSE"}},
		{name: "a constant that moved down", edits: []string{"SHAPE_OK, SHAPE_BAD", "SHAPE_NEW, SHAPE_OK, SHAPE_BAD"}, want: []string{"breaking enum_changed " + header + "SHAPE_OK"}},
		{name: "a constant that is gone", edits: []string{"SHAPE_RED, ", ""}, want: []string{"breaking enum_changed " + header + "SHAPE_BLUE", "breaking enum_changed " + header + "SHAPE_RED"}},
		{name: "a constant more", edits: []string{"SHAPE_BLUE }", "SHAPE_BLUE, SHAPE_GREEN }"}},
		{name: "the same constant in another way", edits: []string{"SHAPE_BIT = 1 << 3", "SHAPE_BIT = (0x8)"}},
		{name: "a constant of an expression", edits: []string{"SHAPE_BIT = 1 << 3", "SHAPE_BIT = sizeof(int) * 2"}, want: []string{"risk enum_changed " + header + "SHAPE_BIT"}},
		{name: "an inline function is gone", edits: []string{"static inline int shape_twice(int n) { return n * 2; }\n", ""}, want: []string{"risk declaration_removed " + header + "shape_twice"}},
		{name: "an inline function takes more", edits: []string{"shape_twice(int n)", "shape_twice(int n, int m)"}, want: []string{"risk declaration_changed " + header + "shape_twice"}},
		{name: "an inline function does something else", edits: []string{"n * 2", "n + n"}},
		{name: "a function became inline", edits: []string{"void shape_free(shape *s);", "static inline void shape_free(shape *s) { }", "void shape_free(shape *s) { s->secret = helper(s); }\n", ""},
			want: []string{"breaking export_removed lib/libshape: shape_free"}},
		{name: "a function became a macro", edits: []string{"void shape_free(shape *s);", "#define shape_free(s) 0", "void shape_free(shape *s) { s->secret = helper(s); }\n", ""},
			want: []string{"breaking export_removed lib/libshape: shape_free"}},
		{name: "a struct that nothing in the library uses", edits: []string{"int request; char", "long request; char"}, want: []string{"risk declaration_changed " + header + "shape_ioctl"}},
		{name: "a nameless struct that nothing uses", edits: []string{"typedef struct { int x; } shape_hidden", "typedef struct { int x, y; } shape_hidden"},
			want: []string{"risk declaration_changed " + header + "shape_hidden"}},
		{name: "packed, with the same offsets", edits: []string{"struct shape_fixed { int a; int b; };", "struct shape_fixed { int a; int b; } __attribute__((packed));"},
			want: []string{"risk declaration_changed " + header + "shape_fixed"}},
		{name: "aligned, with the same offsets and size", edits: []string{"struct shape_fixed { int a; int b; };", "struct shape_fixed { int a; int b; } __attribute__((aligned(8)));"},
			want: []string{"breaking struct_layout_changed struct shape_fixed"}},
		{name: "a float of the same size", edits: []string{"long double shape_long(long double x)", "__float128 shape_long(__float128 x)"},
			want: []string{"breaking export_signature_changed lib/libshape: shape_long"}},
		{name: "a vector became an array", edits: []string{"typedef float shape_vec __attribute__((vector_size(16)));", "typedef float shape_vec[4] __attribute__((aligned(16)));"},
			want: []string{"breaking export_signature_changed typedef shape_vec", "breaking struct_layout_changed struct shape_vecs"}},
		{name: "where it was declared is a lie", old: func(l library) library {
			l.header = strings.ReplaceAll(l.header, "struct shape_fixed {", "\n# 1 \"/usr/include/elsewhere.h\"\nstruct shape_fixed {")
			return l
		}, with: func(l library) library {
			l.header = strings.ReplaceAll(l.header, "struct shape_fixed { int a; int b; };", "\n# 1 \"/usr/include/elsewhere.h\"\nstruct shape_fixed { int a; long b; };")
			return l
		}, want: []string{"breaking struct_layout_changed struct shape_fixed"}},
		{name: "thread local", edits: []string{"extern int shape_table[4];", "extern __thread int shape_table[4];", "int shape_table[4] = {", "__thread int shape_table[4] = {"},
			want: []string{"breaking symbol_type_changed lib/libshape: shape_table"}},
		{name: "debug information of nothing that is exported", old: nothingKnown, with: nothingKnown, want: []string{
			"breaking export_removed lib/libshape: shape_free", "unchecked unchecked lib/libshape"}, edits: []string{"void shape_free(shape *s) {", "__attribute__((visibility(\"hidden\"))) void shape_free(shape *s) {"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			old, next := full(), edit(t, full(), c.edits...)
			if c.old != nil {
				old = c.old(old)
			}
			if c.with != nil {
				next = c.with(next)
			}
			found := Compare(sideOf(t, old.build(t), old.meta), sideOf(t, next.build(t), next.meta))
			want := slices.Sorted(slices.Values(c.want))
			if got := slices.Sorted(slices.Values(lines(found))); !slices.Equal(got, want) {
				t.Errorf("found\n  %s\nwant\n  %s", strings.Join(texts(found), "\n  "), strings.Join(want, "\n  "))
			}
		})
	}
}

// nothingKnown links the library with debug information of an empty file alone.
func nothingKnown(l library) library {
	l.flags = []string{"-O1", "-g0", "-Wl,--build-id=none"}
	l.source += "\n__asm__(\".section .debug_info\\n.long 0\\n.text\");\n"
	return l
}

// A library that shows other symbols in its sections than the loader takes, or
// none, was not checked.
func TestLyingSections(t *testing.T) {
	t.Parallel()
	data := small(t)
	order := binary.LittleEndian
	sections := func(b []byte) [][]byte {
		at, n := order.Uint64(b[40:]), int(order.Uint16(b[60:]))
		var out [][]byte
		for i := range n {
			out = append(out, b[at+uint64(i)*64:][:64])
		}
		return out
	}
	for name, damage := range map[string]func([]byte){
		"none":                 func(b []byte) { order.PutUint64(b[40:], 0); order.PutUint16(b[60:], 0); order.PutUint16(b[62:], 0) },
		"no dynamic section":   func(b []byte) { retype(sections(b), 6, 1) },
		"no symbol section":    func(b []byte) { retype(sections(b), 11, 1) },
		"symbols of elsewhere": func(b []byte) { addressOf(sections(b), 11)[0] ^= 0x20 },
	} {
		changed := slices.Clone(data)
		damage(changed)
		e, err := Extract(treeOf(t, map[string]string{"lib/libx.so.1": string(changed)}), Metadata{})
		if err != nil || len(e.Unchecked) != 1 {
			t.Errorf("%s: %+v %v", name, e.Unchecked, err)
		}
	}
}

func retype(sections [][]byte, from, to uint32) {
	for _, s := range sections {
		if binary.LittleEndian.Uint32(s[4:]) == from {
			binary.LittleEndian.PutUint32(s[4:], to)
		}
	}
}

func addressOf(sections [][]byte, kind uint32) []byte {
	for _, s := range sections {
		if binary.LittleEndian.Uint32(s[4:]) == kind {
			return s[16:24]
		}
	}
	return make([]byte, 8)
}

// A symbol table of a gigabyte of nothing, in a file that takes no room, is
// refused before it is read.
func TestSymbolBomb(t *testing.T) {
	data := small(t)
	for _, s := range func() (all [][]byte) {
		at, n := binary.LittleEndian.Uint64(data[40:]), int(binary.LittleEndian.Uint16(data[60:]))
		for i := range n {
			all = append(all, data[at+uint64(i)*64:][:64])
		}
		return all
	}() {
		if binary.LittleEndian.Uint32(s[4:]) == 11 {
			binary.LittleEndian.PutUint64(s[32:], 900<<20)
		}
	}
	p := filepath.Join(t.TempDir(), "libx.so")
	if err := os.WriteFile(p, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(p, maxELF); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(p)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := testing.AllocsPerRun(1, func() {
		if _, err := openLibrary("lib/libx.so", f, maxELF); fault.CodeOf(err) != fault.Parse {
			t.Errorf("read: %v", err)
		}
	})
	if n > 100_000 {
		t.Errorf("%.0f allocations", n)
	}
}

// Functions whose code is equal are one in the file, and still have a signature
// each.
func TestFoldedCode(t *testing.T) {
	t.Parallel()
	compiler(t)
	build := func(second string) Side {
		l := base()
		l.header = strings.TrimSuffix(l.header, "#endif\n") + "int shape_a(int a);\n" + second + ";\n#endif\n"
		l.source += "int shape_a(int a) { return 7; }\n__typeof__(shape_b) shape_b __attribute__((alias(\"shape_a\")));\n"
		return sideOf(t, l.build(t), l.meta)
	}
	if found := Compare(build("int shape_b(int b)"), build("int shape_b(int b)")); len(found) != 0 {
		t.Errorf("%v", texts(found))
	}
	d := &debug{byAddress: map[uint64][]*entry{7: {{name: "a"}, {name: "b"}}}}
	if d.at(7, "b").name != "b" || d.at(7, "b_v1").name != "a" || d.at(8, "b") != nil {
		t.Error("the wrong function")
	}
}

// A document that was made of something else, such as a copy of the version
// before, does not speak for the files that it lies among.
func TestDocumentsThatLie(t *testing.T) {
	t.Parallel()
	honest := sideOf(t, base().build(t), Metadata{})
	next := edit(t, base(), "void shape_free(shape *s) {", "__attribute__((visibility(\"hidden\"))) void shape_free(shape *s) {", "#define SHAPE_MAX 10", "#define SHAPE_MAX 20")
	next.files = with(next.files, "bin/more", "#!/bin/sh\n")
	changed := sideOf(t, next.build(t), Metadata{})
	if wrong := honest.Exports.Contradictions(honest.Tree); len(wrong) != 0 {
		t.Errorf("an honest document: %v", wrong)
	}
	var got []string
	for _, u := range honest.Exports.Contradictions(changed.Tree) {
		got = append(got, u.Subject)
	}
	if want := []string{"bin/more", "include/shape.h", "lib/libshape.so.1.0"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	// Of a package whose payload has a folder of its own, and of one that ships
	// as an image only.
	moved := NewTree()
	for _, p := range honest.Tree.all() {
		if f := honest.Tree.files[p]; !f.dir {
			if err := moved.add("amd64/"+p, f); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, tree := range map[string]*Tree{"moved": moved, "none": NewTree()} {
		if wrong := honest.Exports.Contradictions(tree); len(wrong) != 0 {
			t.Errorf("%s: %v", name, wrong)
		}
	}
}

// A library that is only there to be linked into programs has no dynamic symbols
// that could be compared.
func TestStaticLibraries(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files map[string]string
		want  int
	}{
		"alone":             {map[string]string{"lib/libx.a": "!<arch>\n", "include/x.h": "int x(void);"}, 1},
		"somewhere else":    {map[string]string{"share/libx.a": "!<arch>\n", "include/x.h": "int x(void);"}, 0},
		"no archive at all": {map[string]string{"lib/libx.a": "text", "include/x.h": "int x(void);"}, 0},
	} {
		e := extracted(t, c.files).Exports
		if len(e.Unchecked) != c.want {
			t.Errorf("%s: %+v", name, e.Unchecked)
		}
	}
	l := base()
	l.files = with(l.files, "lib/libshape.a", "!<arch>\n")
	if e := sideOf(t, l.build(t), l.meta).Exports; len(e.Unchecked) != 0 {
		t.Errorf("beside its shared library: %+v", e.Unchecked)
	}
}

// Debug information that knows no exported function has checked none.
func TestDebugInformationOfSomethingElse(t *testing.T) {
	t.Parallel()
	of := func(result string) *Exports {
		l := Library{Path: "lib/libx.so", Symbols: []Symbol{{Name: "a", Type: "func"}, {Name: "b", Type: "func"}}}
		m := Module{ID: "lib/libx", Form: FormELF, Path: l.Path, Exports: []Export{{Name: "a", Kind: KindFunc}, {Name: "b", Kind: KindFunc, Result: result}}}
		return &Exports{Surfaces: []string{SurfaceELF}, Modules: []Module{m}, ELF: []Library{l}}
	}
	for result, want := range map[string]string{"": "unchecked unchecked lib/libx", "void": "risk signature_unknown lib/libx"} {
		if got := lines(Compare(Side{Exports: of(result)}, Side{Exports: of(result)})); !slices.Equal(got, []string{want}) {
			t.Errorf("%q: %q", result, got)
		}
	}
}

// A suppression for one version does not hide what breaks in the next.
func TestSuppressionsEnd(t *testing.T) {
	t.Parallel()
	const text = "schema_version = \"rebuild.semver@1.0.0\"\n[[suppress]]\nkind = \"export_removed\"\nsubject = \"a\"\nreason = \"never used\"\nversion = %q\n"
	for version, c := range map[string]struct {
		checked string
		unused  int
	}{"1.3.0": {"1.3.0", 0}, "1.2.0": {"1.3.0", 1}, "1.0.0": {"", 1}} {
		s, err := LoadSuppressions("semver.toml", fmt.Appendf(nil, text, version))
		if err != nil {
			t.Fatal(err)
		}
		s.For(c.checked)
		found := []Finding{{Kind: ExportRemoved, Subject: "a"}}
		if unused := s.Apply(found); len(unused) != c.unused || (found[0].Suppressed == "") != (c.unused == 1) {
			t.Errorf("%s for %q: %v, %v", version, c.checked, unused, found)
		}
	}
	if _, err := LoadSuppressions("semver.toml", fmt.Appendf(nil, text, "latest")); fault.CodeOf(err) != fault.Semantic {
		t.Error(err)
	}
}

// A header that is made to be read for ever, or to be kept whole in many copies,
// is read in the time that its length takes.
func TestEndlessHeaders(t *testing.T) {
	const size = 64 << 10
	for _, part := range []string{"namespace a{", "a(){}", "enum ", "{", "}", "{}", "={},", "(", "enum{A=(", "enum{A=-", "enum{A,", "__attribute__((", "struct a{", "extern {", "a(", "\xff", "enum class a{b};", "typedef struct{"} {
		text := strings.Repeat(part, size/len(part))
		for _, begin := range []string{"", "int a = ", "enum {A = "} {
			began := time.Now()
			declarations([]byte(begin + text))
			if took := time.Since(began); took > slower*10*time.Second {
				t.Errorf("%q %q took %s", begin, part, took)
			}
		}
	}
}
