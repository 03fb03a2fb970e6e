package surface

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"rebuild/internal/document"
	"rebuild/internal/fault"
)

// treeOf is a tree of text files.
func treeOf(t testing.TB, files map[string]string) *Tree {
	t.Helper()
	tree := NewTree()
	for p, content := range files {
		if err := tree.Add(p, strings.HasPrefix(p, "bin/"), []byte(content), ""); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

func extracted(t testing.TB, files map[string]string, modules ...string) Side {
	t.Helper()
	tree := treeOf(t, files)
	e, err := Extract(tree, Metadata{ModuleRoot: "src", Modules: modules})
	if err != nil {
		t.Fatal(err)
	}
	return Side{Exports: roundTrip(t, e), Tree: tree}
}

func wantLines(t testing.TB, found []Finding, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := slices.Sorted(slices.Values(lines(found))); !slices.Equal(got, want) {
		t.Errorf("found\n  %s\nwant\n  %s", strings.Join(texts(found), "\n  "), strings.Join(want, "\n  "))
	}
}

// A14: a module that is no longer declared is a break, whether or not its files
// are still there.
func TestA14ModuleRemoved(t *testing.T) {
	t.Parallel()
	files := map[string]string{"src/ext/hello.txt": "", "src/list/one": "", "src/list/two": ""}
	old := extracted(t, files, "ext.hello", "list")
	wantLines(t, Compare(old, extracted(t, files, "list")), "breaking module_removed ext.hello")
	wantLines(t, Compare(extracted(t, files, "list"), old), "addition module_added ext.hello")
	wantLines(t, Compare(old, extracted(t, map[string]string{"src/ext/hello.txt": "changed", "src/list/one": ""}, "ext.hello", "list")),
		"breaking export_removed list: two")
	wantLines(t, Breaks(old.Exports, extracted(t, files, "list").Exports), "breaking module_removed ext.hello")
	if _, err := Extract(treeOf(t, files), Metadata{ModuleRoot: "src", Modules: []string{"ext.bye"}}); fault.CodeOf(err) != fault.Semantic {
		t.Errorf("a module that is not there: %v", err)
	}
	for _, outside := range []string{"../src/list", "/etc", ""} {
		if _, err := Extract(treeOf(t, files), Metadata{Modules: []string{outside}}); fault.CodeOf(err) != fault.Semantic {
			t.Errorf("module %q: %v", outside, err)
		}
	}
}

// A library that is a declared module has its exports under the declared name.
func TestDeclaredModules(t *testing.T) {
	t.Parallel()
	l := base()
	dir := l.build(t)
	meta := Metadata{Modules: []string{"include", "lib/libshape"}}
	old := sideOf(t, dir, meta)
	forms := map[string]string{}
	for _, m := range old.Exports.Modules {
		forms[m.ID] = m.Form
	}
	if want := map[string]string{"include": FormHeaders, "lib/libshape": FormELF, TypesModule: FormTypes}; !reflect.DeepEqual(forms, want) {
		t.Errorf("modules %v, want %v", forms, want)
	}
	next := edit(t, l, "void shape_free(shape *s);\n", "", "void shape_free(shape *s) { s->secret = helper(s); }\n", "").build(t)
	wantLines(t, Compare(old, sideOf(t, next, meta)), "breaking export_removed lib/libshape: shape_free")
	wantLines(t, Compare(old, sideOf(t, dir, Metadata{Modules: []string{"include"}})), "breaking module_removed lib/libshape")
	if err := os.Remove(filepath.Join(next, "lib/libshape.so.1.0")); err != nil {
		t.Fatal(err)
	}
	if _, err := Extract(sideTree(t, next), meta); fault.CodeOf(err) != fault.Semantic {
		t.Errorf("a declared library that is gone: %v", err)
	}
	found := Compare(sideOf(t, dir, Metadata{}), sideOf(t, next, Metadata{}))
	if want := "breaking library_removed lib/libshape"; !slices.Contains(lines(found), want) {
		t.Errorf("%v, want %s", lines(found), want)
	}
}

func sideTree(t testing.TB, dir string) *Tree {
	t.Helper()
	tree, err := Scan(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// The document follows what the package declares now, and does not pass over what
// it does not know.
func TestDeclare(t *testing.T) {
	t.Parallel()
	files := map[string]string{"src/a": "", "src/b": ""}
	old, next := extracted(t, files, "a", "b"), extracted(t, files, "a", "b")
	next.Exports.Declare([]string{"a", "c"})
	wantLines(t, Compare(old, next), "breaking module_removed b", "unchecked unchecked c")
	if _, err := next.Exports.Encode(); err != nil {
		t.Error(err)
	}
}

func TestNothingIsInconclusive(t *testing.T) {
	t.Parallel()
	empty := extracted(t, map[string]string{"README": "x"})
	wantLines(t, Compare(empty, empty), "unchecked unchecked exports")
}

const goBase = `package shape
import ("errors"; "io"; "time"; "fmt")
// Max is the largest.
const Max = 10
const Wait = 3 * time.Second
var ErrNone = errors.New("none")
var Default Options
type Options struct { Name string; Out io.Writer; hidden int }
type Visitor interface { Visit(name string) error; io.Closer }
type sealed interface { Name() string; private() }
type Sealed sealed
type Kind int
const ( Circle Kind = iota; Square )
func New(o Options, rest ...string) (*Shape, error) { return nil, fmt.Errorf("x") }
type Shape struct { n int }
func (s *Shape) Area() float64 { return 0 }
func (s Shape) String() string { return "" }
func Map[K comparable, V any](m map[K]V, f func(V) V) {}
type List[T any] []T
func unexported(a int) {}
`

// A Go package is compared by what Go says is compatible where the sources are,
// and by its declarations where only the documents are.
func TestGoPackages(t *testing.T) {
	t.Parallel()
	sources := func(text string, more ...string) map[string]string {
		files := map[string]string{"src/go.mod": "module example.org/shapes\n", "src/shape/shape.go": text}
		for i := 0; i < len(more); i += 2 {
			files[more[i]] = more[i+1]
		}
		return files
	}
	for _, c := range []struct {
		name     string
		from, to string
		more     []string
		want     []string
		text     []string // where it differs by declarations alone
	}{
		{name: "nothing"},
		{name: "a comment, an unexported function, a body", from: "func unexported(a int) {}", to: "// x\nfunc other() {}"},
		{name: "a parameter's name", from: "o Options, rest", to: "opts Options, more"},
		{name: "a function is gone", from: "func Map[", to: "func _[", want: []string{"breaking export_removed shape: Map"}},
		{name: "a function's parameter", from: "New(o Options, ", to: "New(o *Options, ", want: []string{"breaking export_signature_changed shape: New"}},
		{name: "a function is new", from: "func unexported", to: "func Exported", want: []string{"addition export_added shape: Exported"}},
		{name: "a method is gone", from: "func (s *Shape) Area() float64 { return 0 }", to: "", want: []string{"breaking export_removed shape: (*Shape).Area"}, text: []string{"breaking export_removed shape: Shape.Area"}},
		{name: "a field is gone", from: "Name string; Out", to: "Out", want: []string{"breaking export_removed shape: Options.Name"}},
		{name: "a field is new", from: "Name string; Out", to: "Name, Title string; Out", want: []string{"addition export_added shape: Options.Title"}},
		{name: "an unexported field", from: "hidden int", to: "hidden, more int"},
		{name: "a field of another type", from: "Out io.Writer", to: "Out io.Reader", want: []string{"breaking export_signature_changed shape: Options.Out"}},
		{name: "a method in an interface", from: "Visit(name string) error;", to: "Visit(name string) error; Leave();", want: []string{"breaking export_signature_changed shape: Visitor.Leave"}},
		{name: "a constant's value", from: "Max = 10", to: "Max = 11", want: []string{"breaking export_signature_changed shape: Max"}},
		{name: "a constant of another package's unit", from: "3 * time.Second", to: "4 * time.Second", want: []string{"breaking export_signature_changed shape: Wait"}},
		{name: "an enumeration", from: "= iota; Square", to: "= iota; Triangle; Square", want: []string{"breaking export_signature_changed shape: Square", "addition export_added shape: Triangle"}},
		{name: "an underlying type", from: "type Kind int", to: "type Kind int64", want: []string{"addition export_added shape: Kind"}, text: []string{"breaking export_signature_changed shape: Kind"}},
		{name: "a file for tests and one for another system", more: []string{"src/shape/x_test.go", "package shape\nfunc ForTests() {}", "src/shape/x_windows.go", "package shape\nfunc ForWindows() {}"}},
		{name: "a type from a package beside it", from: "var Default Options", to: "var Default other.Options", more: []string{"src/other/o.go", "package other\ntype Options struct{}"},
			want: []string{"breaking export_signature_changed shape: Default"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.from != "" && !strings.Contains(goBase, c.from) {
				t.Fatal("nothing to edit")
			}
			text := strings.Replace(goBase, c.from, c.to, 1)
			if strings.Contains(c.to, "other.") {
				text = strings.Replace(text, `"io";`, `"io"; "example.org/shapes/other";`, 1)
			}
			old, next := extracted(t, sources(goBase), "shape"), extracted(t, sources(text, c.more...), "shape")
			wantLines(t, Compare(old, next), c.want...)
			if c.text == nil {
				c.text = c.want
			}
			wantLines(t, Compare(Side{Exports: old.Exports}, Side{Exports: next.Exports}), c.text...)
		})
	}
}

// What can not be type-checked is said to be unchecked, not passed over.
func TestGoPackagesThatDoNotTypeCheck(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"syntax":             "package p\nfunc F( {",
		"missing":            "package p\nvar V Unknown",
		"circle":             "package p\nimport \"example.org/m/p\"\nvar V p.T",
		"constant elsewhere": "package p\nimport \"math\"\nconst C = math.MaxInt8",
	} {
		s := extracted(t, map[string]string{"src/go.mod": "module example.org/m", "src/p/p.go": text}, "p")
		if s.Exports.SignaturesChecked || len(s.Exports.Unchecked) == 0 {
			t.Errorf("%s: passed as checked: %+v", name, s.Exports.Modules)
		}
	}
	// The function that makes a value says as much as its type.
	made := "package p\nimport \"regexp\"\nvar R = regexp.MustCompile(`%s`)"
	a := extracted(t, map[string]string{"src/p/p.go": made}, "p")
	b := extracted(t, map[string]string{"src/p/p.go": strings.Replace(made, "%s", "x", 1)}, "p")
	wantLines(t, Compare(a, b))
	c := extracted(t, map[string]string{"src/p/p.go": strings.Replace(made, "MustCompile", "Other", 1)}, "p")
	wantLines(t, Compare(a, c), "breaking export_signature_changed p: R")
}

// A link that leads out of the tree, in a circle or to nothing is no file.
func TestLinks(t *testing.T) {
	t.Parallel()
	tree := treeOf(t, map[string]string{"bin/a": "#!/bin/x y\n", "usr/bin/b": ""})
	for p, target := range map[string]string{"bin/link": "a", "bin/out": "../../../etc/passwd", "bin/loop": "loop", "bin/abs": "/bin/a", "include/gone.h": "x.h"} {
		if err := tree.Add(p, false, nil, target); err != nil {
			t.Fatal(err)
		}
	}
	e, err := Extract(tree, Metadata{})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"a", "abs", "link", "loop", "out"}; !slices.Equal(e.Commands, want) {
		t.Errorf("commands %v, want %v", e.Commands, want)
	}
	if want := []Interpreter{{"a", "/bin/x"}, {"abs", "/bin/x"}, {"link", "/bin/x"}}; !slices.Equal(e.Interpreters, want) {
		t.Errorf("interpreters %v, want %v", e.Interpreters, want)
	}
	if err := tree.Add("../x/y", false, nil, ""); fault.CodeOf(err) != fault.Structure {
		t.Errorf("a path that leads out: %v", err)
	}
}

// Equal trees give equal bytes, in whatever order a file system lists them and
// however the runtime orders its maps.
func TestExtractionIsDeterministic(t *testing.T) {
	t.Parallel()
	dir := base().build(t)
	var first []byte
	for range 10 {
		data, err := sideOf(t, dir, Metadata{}).Exports.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = data
		}
		if !bytes.Equal(first, data) {
			t.Fatalf("differs:\n%s\n%s", first, data)
		}
	}
	// Where it was compiled does not show.
	data, err := sideOf(t, base().build(t), Metadata{}).Exports.Encode()
	if err != nil || !bytes.Equal(first, data) {
		t.Errorf("another folder gives other bytes: %v\n%s\n%s", err, first, data)
	}
}

// Stripping after extraction changes nothing that the document says of symbols.
func TestStripped(t *testing.T) {
	t.Parallel()
	compiler(t)
	dir := base().build(t)
	before := sideOf(t, dir, Metadata{})
	if out, err := exec.Command("strip", filepath.Join(dir, "lib/libshape.so.1.0")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	after := sideOf(t, dir, Metadata{})
	if !reflect.DeepEqual(before.Exports.ELF, after.Exports.ELF) {
		t.Errorf("%+v\n%+v", before.Exports.ELF, after.Exports.ELF)
	}
	if after.Exports.SignaturesChecked || !before.Exports.SignaturesChecked {
		t.Error("signatures_checked does not follow the debug information")
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	good := `{"commands":["a","b"],"elf":[],"modules":[{"exports":[{"kind":"file","name":"x","params":[]}],"form":"files","id":"m"}],"schema_version":"rebuild.exports@1.0.0","signatures_checked":true,"surfaces":["commands"]}`
	if _, err := Decode("good", []byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		from, to string
		code     fault.Code
	}{
		"order":           {`["a","b"]`, `["b","a"]`, fault.Semantic},
		"double":          {`["a","b"]`, `["a","a"]`, fault.Semantic},
		"empty name":      {`["a","b"]`, `["","b"]`, fault.Semantic},
		"unknown kind":    {`"kind":"file"`, `"kind":"fire"`, fault.Semantic},
		"unknown form":    {`"form":"files"`, `"form":"fires"`, fault.Semantic},
		"unknown surface": {`["commands"]`, `["commends"]`, fault.Semantic},
		"checked":         {`"signatures_checked":true`, `"signatures_checked":false`, fault.Semantic},
		"unknown field":   {`"elf":[]`, `"elf":[],"elg":[]`, fault.Structure},
		"missing field":   {`"elf":[],`, ``, fault.Structure},
		"version":         {`@1.0.0`, `@2.0.0`, fault.SchemaUnsupported},
		"blank":           {`"elf":[]`, `"elf": []`, fault.Parse},
	} {
		if _, err := Decode(name, []byte(strings.Replace(good, c.from, c.to, 1))); fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
}

// Versions of 0.y.z promise less, and the smallest bump says so.
func TestNextVersion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		old  string
		bump Bump
		want string
	}{
		{"1.2.3", Major, "2.0.0"}, {"1.2.3", Minor, "1.3.0"}, {"1.2.3", Patch, "1.2.4"},
		{"0.3.1", Major, "0.4.0"}, {"0.3.1", Minor, "0.3.2"}, {"0.3.1", Patch, "0.3.2"},
		{"0.0.3", Major, "0.0.4"}, {"0.0.3", Minor, "0.0.4"}, {"0.0.3", Patch, "0.0.4"},
		{"2.0.0-rc.1", Major, "2.0.0"}, {"1.2.3+build.7", Minor, "1.3.0"}, {"10.20.30", Major, "11.0.0"},
	} {
		if got, err := c.bump.Next(c.old); err != nil || got != c.want {
			t.Errorf("%s after %s: %s %v, want %s", c.bump, c.old, got, err, c.want)
		}
	}
	for _, c := range []struct {
		old, new string
		bump     Bump
		want     bool
	}{
		{"1.2.3", "2.0.0", Major, true}, {"1.2.3", "1.9.0", Major, false}, {"1.2.3", "2.0.0-rc.1", Major, true}, {"1.2.3", "1.2.3", Patch, false},
		{"1.2.3", "3.1.0", Major, true}, {"0.3.1", "0.4.0", Major, true}, {"1.2.3", "1.2.4", Minor, false}, {"1.2.3", "1.2.2", Patch, false},
		{"2.0.0-rc.1", "2.0.0-rc.2", Major, true}, {"2.0.0-rc.2", "2.0.0-rc.1", Major, false},
	} {
		if got, err := c.bump.Enough(c.old, c.new); err != nil || got != c.want {
			t.Errorf("%s to %s with %s: %v %v", c.old, c.new, c.bump, got, err)
		}
	}
	for _, bad := range []string{"", "1", "v1.2.3", "99999999999999999999.0.0"} {
		if got, err := Major.Next(bad); err == nil {
			t.Errorf("%q: %s", bad, got)
		}
	}
}

func TestSuppressions(t *testing.T) {
	t.Parallel()
	head := "schema_version = \"rebuild.semver@1.0.0\"\n"
	one := "[[suppress]]\nkind = \"export_removed\"\nsubject = \"lib/x: f\"\nreason = \"never documented\"\n"
	s, err := LoadSuppressions("semver.toml", []byte(head+one+strings.Replace(one, ": f", ": g", 1)))
	if err != nil {
		t.Fatal(err)
	}
	all := []Finding{{Level: Breaking, Kind: ExportRemoved, Subject: "lib/x: f"}, {Level: Breaking, Kind: ExportSignatureChanged, Subject: "lib/x: g"}}
	unused := s.Apply(all)
	if all[0].Suppressed != "never documented" || all[1].Suppressed != "" || len(unused) != 1 || unused[0].Subject != "lib/x: g" {
		t.Errorf("%+v, unused %+v", all, unused)
	}
	if Required(all[:1]) != Patch || Required(all) != Major {
		t.Error("what is suppressed asks for nothing, all else does")
	}
	for name, text := range map[string]string{
		"no reason":     strings.Replace(one, "never documented", " ", 1),
		"without one":   strings.Replace(one, "reason = \"never documented\"\n", "", 1),
		"unknown kind":  strings.Replace(one, "export_removed", "export_gone", 1),
		"empty subject": strings.Replace(one, "lib/x: f", "", 1),
		"double":        one + one,
		"unknown key":   one + "why = \"x\"\n",
	} {
		if _, err := LoadSuppressions("semver.toml", []byte(head+text)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if document.Semver.Name != "rebuild.semver" {
		t.Error("the kind has another name")
	}
}

func TestDependents(t *testing.T) {
	t.Parallel()
	needs := func(pairs ...string) map[string]string {
		out := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			out[pairs[i]] = pairs[i+1]
		}
		return out
	}
	all := []Package{
		{"app", "2.0.0", needs("mid", "^1")}, {"mid", "1.1.0", needs("lib", "^1")}, {"new", "1.0.0", needs("lib", ">=1.0.0")},
		{"other", "1.0.0", needs("zlib", "^1")}, {"lib", "1.0.0", needs("app", "*")},
	}
	got := Dependents("lib", "2.0.0", all)
	want := []Dependent{{"app", "2.0.0", []string{"mid", "lib"}, false}, {"mid", "1.1.0", []string{"lib"}, false}, {"new", "1.0.0", []string{"lib"}, true}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
}

func TestScanPassesOverWhatIsNoFile(t *testing.T) {
	t.Parallel()
	tree, err := Scan(fstest.MapFS{".git/config": {Data: []byte("x")}, "a/b": {Data: []byte("y")}})
	if err != nil || len(tree.all()) != 2 {
		t.Errorf("%v %v", tree.all(), err)
	}
	if _, err := Scan(os.DirFS(filepath.Join(t.TempDir(), "none"))); fault.CodeOf(err) != fault.Usage {
		t.Errorf("a folder that is not there: %v", err)
	}
}

// moduleOf is a document with one declared module of a library's functions.
func moduleOf(t testing.TB, exports ...Export) *Exports {
	t.Helper()
	return roundTrip(t, &Exports{SchemaVersion: document.Exports.ID(), Surfaces: []string{SurfaceModules}, SignaturesChecked: true, ELF: []Library{}, Commands: []string{},
		Modules: []Module{{ID: "ext.hello", Form: FormELF, Declared: true, Exports: exports}}})
}

// A15: an exported symbol that is gone is a break, and the only finding.
func TestA15ExportRemoved(t *testing.T) {
	t.Parallel()
	greet := Export{Name: "greet", Kind: KindFunc, Params: []string{"int32"}, Result: "void"}
	wave := Export{Name: "wave", Kind: KindFunc, Params: []string{}, Result: "void"}
	both, one := moduleOf(t, greet, wave), moduleOf(t, greet)
	wantLines(t, Breaks(both, one), "breaking export_removed ext.hello: wave")
	wantLines(t, Breaks(one, both))
	wantLines(t, Compare(Side{Exports: one}, Side{Exports: both}), "addition export_added ext.hello: wave")
}

// A16: params and result are the signature, each of them.
func TestA16SignatureChanged(t *testing.T) {
	t.Parallel()
	old := Export{Name: "greet", Kind: KindFunc, Params: []string{"int32", "char const*"}, Result: "void"}
	for name, changed := range map[string]Export{
		"type":   {Name: "greet", Kind: KindFunc, Params: []string{"int64", "char const*"}, Result: "void"},
		"order":  {Name: "greet", Kind: KindFunc, Params: []string{"char const*", "int32"}, Result: "void"},
		"fewer":  {Name: "greet", Kind: KindFunc, Params: []string{"int32"}, Result: "void"},
		"result": {Name: "greet", Kind: KindFunc, Params: []string{"int32", "char const*"}, Result: "int32"},
	} {
		t.Run(name, func(t *testing.T) {
			wantLines(t, Breaks(moduleOf(t, old), moduleOf(t, changed)), "breaking export_signature_changed ext.hello: greet")
		})
	}
	unknown := Export{Name: "greet", Kind: KindFunc, Params: []string{}}
	wantLines(t, Compare(Side{Exports: moduleOf(t, old)}, Side{Exports: moduleOf(t, unknown)}), "unchecked unchecked ext.hello")
}
