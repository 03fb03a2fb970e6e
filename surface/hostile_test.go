package surface

import (
	"bytes"
	"debug/dwarf"
	"encoding/binary"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rebuild/internal/fault"
)

// small builds a library of a few kilobytes, for what is done to it many times.
func small(t testing.TB) []byte {
	l := base()
	l.flags = []string{"-g", "-O1", "-Wl,-z,noseparate-code"}
	data, err := os.ReadFile(filepath.Join(l.build(t), "lib/libshape.so.1.0"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// look does with a library all that an extraction does.
func look(data []byte) error {
	tree := NewTree()
	for p, content := range map[string][]byte{"lib/libx.so.1": data, "bin/x": data, "include/shape.h": []byte(baseHeader)} {
		if err := tree.Add(p, true, content, ""); err != nil {
			return err
		}
	}
	e, err := Extract(tree, Metadata{})
	if err != nil {
		return err
	}
	if err := e.validate(); err != nil {
		return err
	}
	if found := Compare(Side{Exports: e}, Side{Exports: e}); slices.ContainsFunc(found, func(f Finding) bool { return f.Level == Breaking || f.Level == Addition }) {
		return fault.New(fault.Internal, "a library differs from itself: %v", found)
	}
	return nil
}

// Whatever a library says of itself, reading it ends, and does not take the
// program down.
func TestDamagedLibraries(t *testing.T) {
	t.Parallel()
	data := small(t)
	random := rand.New(rand.NewPCG(1, 2))
	began := time.Now()
	n := 0
	for ; n < 3000 && time.Since(began) < slower*8*time.Second; n++ {
		damaged := slices.Clone(data)
		for range 1 + random.IntN(4) {
			at := random.IntN(len(damaged))
			if random.IntN(3) == 0 {
				at = random.IntN(64) // the header
			}
			damaged[at] = byte(random.Uint32())
		}
		if random.IntN(8) == 0 {
			damaged = damaged[:random.IntN(len(damaged))]
		}
		if err := look(damaged); err != nil && fault.CodeOf(err) == fault.Internal {
			t.Fatalf("%v", err)
		}
	}
	if n < 100 {
		t.Errorf("only %d damaged libraries in %s", n, time.Since(began))
	}
}

// Debug information that never ends must: types in a circle without a name, and
// one that doubles at every level.
func TestEndlessTypes(t *testing.T) {
	t.Parallel()
	circle := &debug{entries: map[dwarf.Offset]*entry{
		1: {tag: dwarf.TagPointerType, typ: 2}, 2: {tag: dwarf.TagConstType, typ: 1},
		3: {tag: dwarf.TagConstType, typ: 4}, 4: {tag: dwarf.TagVolatileType, typ: 3},
		5: {tag: dwarf.TagTypedef, name: "t", typ: 5}, 6: {tag: dwarf.TagArrayType, typ: 6},
		7: {tag: dwarf.TagSubroutineType, typ: 7}, 8: {tag: dwarf.TagStructType, children: []*entry{{tag: dwarf.TagMember, typ: 8}}},
		9: {tag: dwarf.TagPointerType, typ: nowhere},
	}, named: map[string][]*entry{}}
	w := newTyper(circle, typeTable{}, func(string) bool { return true })
	for at := dwarf.Offset(1); at <= 9; at++ {
		w.steps = 0
		if s, err := w.text(at, true, 0); err == nil {
			t.Errorf("%d: %q", at, s)
		}
	}
	doubling := &debug{entries: map[dwarf.Offset]*entry{1: {tag: dwarf.TagBaseType, size: 4, encoding: encodingSigned}}, named: map[string][]*entry{}}
	for i := dwarf.Offset(2); i < 60; i++ {
		m := &entry{tag: dwarf.TagMember, typ: i - 1}
		doubling.entries[i] = &entry{tag: dwarf.TagStructType, children: []*entry{m, m}}
	}
	w = newTyper(doubling, typeTable{}, func(string) bool { return true })
	if _, err := w.text(59, true, 0); err == nil {
		t.Error("2^58 members were written out")
	}
}

// A section that says it takes more than it can is refused before memory is
// taken for it.
func TestSectionBomb(t *testing.T) {
	t.Parallel()
	data := small(t)
	shoff := binary.LittleEndian.Uint64(data[0x28:])
	entries := int(binary.LittleEndian.Uint16(data[0x3c:]))
	for i := range entries {
		damaged := slices.Clone(data)
		binary.LittleEndian.PutUint64(damaged[int(shoff)+64*i+0x20:], 1<<40)
		if err := look(damaged); err != nil {
			t.Errorf("section %d: %v", i, err)
		}
	}
}

// Other files under the name of a library are told apart.
func TestWhatIsNoLibrary(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		data      string
		unchecked bool
	}{
		"linker script": {"/* GNU ld script */ INPUT(libx.so.1)\n", false},
		"empty":         {"", false},
		"cut":           {"\x7fELF\x02\x01\x01", true},
		"executable":    {"\x7fELF\x02\x01\x01\x00" + strings.Repeat("\x00", 8) + "\x02\x00>\x00", true},
		"library, cut":  {"\x7fELF\x02\x01\x01\x00" + strings.Repeat("\x00", 8) + "\x03\x00>\x00", true},
	} {
		e, err := Extract(treeOf(t, map[string]string{"lib/libx.so": c.data}), Metadata{})
		if err != nil || len(e.ELF) != 0 || (len(e.Unchecked) > 0) != c.unchecked {
			t.Errorf("%s: %+v %v", name, e, err)
		}
	}
}

// C++ is read as far as symbols, members, bases and virtual functions go.
func TestCPlusPlus(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("g++"); err != nil {
		if os.Getenv("REBUILD_REQUIRE_ENGINE") == "" {
			t.Skip("needs g++: sh scripts/deps.sh test")
		}
		t.Fatal("needs g++: sh scripts/deps.sh test")
	}
	const header = `#include "base.h"
namespace shapes {
class Circle : public Base {
public:
  Circle(int r);
  virtual int area() const;
  int radius() const;
  static int made;
private:
  int r;
};
template <typename T> struct Pair { T a, b; };
Pair<int> both(const Circle &c, Circle &&d);
}
`
	const source = `#include "circle.h"
namespace shapes {
Circle::Circle(int r) : r(r) {}
int Circle::area() const { return r * r; }
int Circle::radius() const { return r; }
int Circle::made = 0;
Pair<int> both(const Circle &c, Circle &&d) { return {c.radius(), d.radius()}; }
}
`
	build := func(from, to string) Side {
		src, out := t.TempDir(), t.TempDir()
		changed := func(s string) string { return strings.ReplaceAll(s, from, to) }
		writeFile(t, src, "base.h", "struct Base { int id; virtual ~Base() {} };\n")
		writeFile(t, src, "circle.h", changed(header))
		writeFile(t, src, "circle.cc", changed(source))
		writeFile(t, out, "include/circle.h", changed(header))
		writeFile(t, out, "lib/pkgconfig/x.pc", "Name: x\n")
		if text, err := exec.Command("g++", "-g", "-shared", "-fPIC", "-o", filepath.Join(out, "lib/libcircle.so"), filepath.Join(src, "circle.cc")).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		return sideOf(t, out, Metadata{})
	}
	old := build("", "")
	if !old.Exports.SignaturesChecked {
		t.Errorf("unchecked: %v", old.Exports.Unchecked)
	}
	for _, c := range []struct{ from, to, want string }{
		{"int radius() const;", "int radius() const; ", ""},
		{"  int r;\n", "  long r;\n", "breaking struct_layout_changed struct shapes::Circle"},
		{"virtual int area() const;", "virtual int area() const; virtual int more() { return 1; }", "breaking struct_layout_changed struct shapes::Circle"},
		{"radius()", "width()", "breaking export_removed lib/libcircle: _ZNK6shapes6Circle6radiusEv"},
		{"T a, b;", "T b, a;", "breaking struct_layout_changed struct shapes::Pair<int>"},
	} {
		found := Compare(old, build(c.from, c.to))
		breaks := slices.DeleteFunc(lines(found), func(s string) bool { return !strings.HasPrefix(s, "breaking") })
		if c.want == "" && len(breaks) > 0 || c.want != "" && !slices.Contains(breaks, c.want) {
			t.Errorf("%q to %q: %s", c.from, c.to, strings.Join(texts(found), "\n  "))
		}
	}
}

// FuzzLibrary puts bytes over places of a library, or reads bytes as one.
func FuzzLibrary(f *testing.F) {
	data := small(f)
	f.Fuzz(func(t *testing.T, whole bool, at uint32, patch []byte, at2 uint32, patch2 []byte) {
		damaged := slices.Clone(data)
		if whole {
			damaged = patch
		} else {
			copy(damaged[int(at)%len(damaged):], patch)
			copy(damaged[int(at2)%len(damaged):], patch2)
		}
		if err := look(damaged); err != nil && fault.CodeOf(err) == fault.Internal {
			t.Fatal(err)
		}
	})
}

// FuzzExports wants a document that is accepted to be written as the same bytes,
// and not to differ from itself.
func FuzzExports(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := Decode("fuzz", data)
		if err != nil {
			return
		}
		again, err := e.Encode()
		if err != nil || !bytes.Equal(again, data) {
			t.Fatalf("%v\n%s\n%s", err, again, data)
		}
		for _, x := range Compare(Side{Exports: e}, Side{Exports: e}) {
			if x.Level == Addition {
				t.Fatalf("differs from itself: %v", x)
			}
		}
	})
}

// FuzzText reads headers, pkg-config files, suppressions and Go sources.
func FuzzText(f *testing.F) {
	f.Fuzz(func(t *testing.T, text string) {
		h := readHeader("include/x.h", []byte(text))
		if !ordered(h.Names, func(s string) string { return s }) {
			t.Fatalf("names %q", h.Names)
		}
		readPkgConfig("x.pc", []byte(text))
		if s, err := LoadSuppressions("semver.toml", []byte(text)); err == nil {
			s.Apply([]Finding{{Kind: ExportRemoved, Subject: "x"}})
		}
		tree := NewTree()
		if err := tree.Add("p/p.go", false, []byte(text), ""); err != nil {
			t.Fatal(err)
		}
		e, err := Extract(tree, Metadata{Modules: []string{"p"}})
		if err != nil {
			t.Fatal(err)
		}
		a := Compare(Side{e, tree}, Side{e, tree})
		for _, x := range a {
			if x.Level == Breaking || x.Level == Addition {
				t.Fatalf("differs from itself: %v", x)
			}
		}
	})
}

// FuzzSuppressions: what is read as suppressions has a reason for each, and takes
// away no finding but the one that it names.
func FuzzSuppressions(f *testing.F) {
	f.Add("schema_version = \"rebuild.semver@1.0.0\"\n[[suppress]]\nkind = \"export_removed\"\nsubject = \"x\"\nreason = \"never used\"\n", "x")
	f.Fuzz(func(t *testing.T, text, subject string) {
		s, err := LoadSuppressions(SuppressionFile, []byte(text))
		if err != nil {
			return
		}
		named := false
		for _, x := range s.Suppress {
			if strings.TrimSpace(x.Reason) == "" || x.Subject == "" {
				t.Errorf("taken: %+v", x)
			}
			named = named || x.Kind == ExportRemoved && x.Subject == subject && x.Version == ""
		}
		found := []Finding{{Kind: ExportRemoved, Subject: subject, Level: Breaking}}
		s.Apply(found)
		if taken := found[0].Suppressed != ""; taken != named {
			t.Errorf("%q: taken away %t, named %t", subject, taken, named)
		}
	})
}
