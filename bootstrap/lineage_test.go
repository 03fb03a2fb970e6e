package bootstrap

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"rebuild/internal/fault"
	"rebuild/store"
)

// world builds a graph in a store of its own.
type world struct {
	t  testing.TB
	st *store.Store
	g  Graph
}

func newWorld(t testing.TB) *world {
	return &world{t: t, st: must(store.Open(t.TempDir() + "/store"))}
}

func (w *world) layer(files []named) store.Layer {
	w.t.Helper()
	var list []store.File
	for _, f := range files {
		file := store.File{Path: f.name, Mode: 0o644, Data: []byte(f.content)}
		if target, ok := strings.CutPrefix(f.content, "-> "); ok {
			file = store.File{Path: f.name, Type: store.Symlink, Target: target}
		}
		list = append(list, file)
	}
	l, err := w.st.PutFiles(list, 1)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

func (w *world) seed(name string, content []byte) *world {
	w.g.Seeds = append(w.g.Seeds, Seed{
		Name: name, Digest: store.DigestOf(content), Bytes: content, File: name + ".hex0", Text: []byte(hex.EncodeToString(content)),
	})
	return w
}

func (w *world) source(name string, files ...named) *world {
	l := w.layer(files)
	w.g.Sources = append(w.g.Sources, Source{Name: name, Digest: store.DigestOf([]byte(name)), Layer: l.Digest})
	return w
}

func (w *world) image(name string, layers ...[]byte) *world {
	image := Image{Name: name, Digest: store.DigestOf([]byte(name))}
	for _, l := range layers {
		image.Layers = append(image.Layers, must(w.st.Put(l)))
	}
	w.g.Images = append(w.g.Images, image)
	return w
}

// stage adds a stage; inputs are separated by spaces.
func (w *world) stage(name, inputs string, files ...named) *world {
	l := w.layer(files)
	w.g.Stages = append(w.g.Stages, Stage{Name: name, Inputs: strings.Fields(inputs), Tree: l.Tree, Layer: l.Digest, Origin: OriginBuilt})
	return w
}

func (w *world) last() *Stage { return &w.g.Stages[len(w.g.Stages)-1] }

func (w *world) context(files ...named) *world {
	w.last().Context = w.layer(files).Digest
	return w
}

func (w *world) substituted() *world {
	w.last().Origin = OriginSubstituted
	return w
}

func (w *world) compute() *Lineage {
	w.t.Helper()
	l, err := Compute(w.st, &w.g)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

var (
	seedCode = machineCode("seed")
	evil     = string(machineCode("prebuilt"))
	hello    = named{"hello.c", "int main(void) { return 0; }\n"}
)

func exe(name, tag string) named { return named{name, string(machineCode(tag))} }

// chain is a seed, a stage that the seed builds and one that this one builds.
func chain(t testing.TB) *world {
	return newWorld(t).seed("s0", seedCode).
		stage("one", "seed/s0", named{"s0", string(seedCode)}, exe("bin/asm", "asm")).context(hello).
		stage("two", "stage/one", exe("bin/cc", "cc"), exe("lib/x.so", "x"), named{"README", "text"}).context(hello)
}

func TestCleanChain(t *testing.T) {
	r := chain(t).compute().Report()
	if r.SeedBytes != int64(len(seedCode)) || r.OpaqueBytes != 0 || r.Executables != (Executables{4, 4}) || r.Depth != 2 {
		t.Errorf("%+v", r)
	}
	if !r.Complete() || r.Enforce() != nil || len(r.Untraced) != 0 || len(r.Contexts) != 0 {
		t.Errorf("%+v, %v", r, r.Enforce())
	}
	if s := r.Stages[1]; s.Name != "two" || !s.Traced || s.Depth != 2 || s.Visible != 2 || s.Executables != 2 || s.Made != 2 {
		t.Errorf("%+v", s)
	}
}

// What would go wrong: a prebuilt program gets in, and the report calls what
// it could have made traced.
func TestPrebuiltCodeSpoilsWhatSeesIt(t *testing.T) {
	packed := string(tarOf(named{"in.tar.gz", string(gzipOf(tarOf(named{"cc", evil})))}))
	for name, w := range map[string]*world{
		"source":            chain(t).source("src", named{"bin/cc", evil}),
		"without an x-bit":  chain(t).source("src", named{"share/doc/cc.txt", evil}),
		"in tar.gz in tar":  chain(t).source("src", named{"test/data.tar", packed}),
		"in ar":             chain(t).source("src", named{"lib.a", string(arOf(named{"cc.o/", evil}))}),
		"ar without a code": chain(t).source("src", named{"macros.lib", string(arOf(named{"a/", "text"}))}),
		"in zip":            chain(t).source("src", named{"x.jar", string(zipOf(named{"A.class", evil}))}),
		"in an image":       chain(t).image("src", gzipOf(tarOf(named{"bin/cc", evil}))),
		"in a plain layer":  chain(t).image("src", tarOf(hello), tarOf(named{"bin/cc", evil})),
	} {
		kind := "source"
		if len(w.g.Images) > 0 {
			kind = "image"
		}
		w.stage("three", "stage/two "+kind+"/src", exe("bin/new", "new"))
		w.stage("four", "stage/three", exe("bin/newer", "newer"))
		w.stage("five", "stage/two", exe("bin/other", "other"))
		r := w.compute().Report()
		traced := map[string]bool{}
		for _, s := range r.Stages {
			traced[s.Name] = s.Traced
		}
		if traced["three"] || traced["four"] || !traced["five"] || r.Executables.Traced != 5 || r.Executables.Untraced() < 3 {
			t.Errorf("%s: %+v, %+v", name, traced, r.Executables)
		}
		if r.OpaqueBytes == 0 || r.Complete() || r.Untraced[0].Origin != kind+"/src" {
			t.Errorf("%s: opaque %d, %+v", name, r.OpaqueBytes, r.Untraced)
		}
		err := r.Enforce()
		if fault.CodeOf(err) != fault.LineageUntraced || !strings.Contains(err.Error(), kind+"/src") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What would go wrong: passing a program through a stage, under another name
// or in another package, makes it that stage's work.
func TestCopyingKeepsTheOrigin(t *testing.T) {
	for name, copied := range map[string]named{
		"renamed": {"share/data.bin", evil},
		"packed":  {"p.tar.gz", string(gzipOf(tarOf(named{"d.tar", string(tarOf(named{"x", evil}))})))},
		"in ar":   {"lib.a", string(arOf(named{"x.o/", evil}))},
	} {
		w := chain(t).source("src", named{"cc", evil}).stage("three", "stage/two source/src", copied)
		l := w.compute()
		o := l.origins[store.DigestOf([]byte(evil))]
		if o.String() != "source/src" || o.traced {
			t.Errorf("%s: %+v", name, o)
		}
	}
	// A stage that carries a traced program on did not make it either.
	l := chain(t).stage("three", "stage/two", exe("x", "cc")).compute()
	if o := l.origins[store.DigestOf(machineCode("cc"))]; o.name != "two" || !o.traced {
		t.Errorf("%+v", o)
	}
	if s := l.Report().Stages[2]; s.Made != 0 || !s.Traced {
		t.Errorf("%+v", s)
	}
}

func TestSubstitutedStageIsNotTraced(t *testing.T) {
	w := chain(t).substituted().stage("three", "stage/two", exe("new", "new"), exe("old", "cc"))
	r := w.compute().Report()
	if r.Executables != (Executables{5, 2}) || r.Stages[1].Traced || r.Stages[2].Traced || r.Untraced[0].Origin != "stage/two" {
		t.Errorf("%+v", r)
	}
	if r.OpaqueBytes != int64(len(machineCode("cc"))+len(machineCode("x"))) {
		t.Errorf("opaque %d", r.OpaqueBytes)
	}
	w.g.Stages[1].Origin = OriginReused
	if r := w.compute().Report(); !r.Complete() {
		t.Errorf("reused: %+v", r)
	}
}

// What would go wrong: a stage's own folder is a way in that nobody looks at.
func TestContextIsAnInput(t *testing.T) {
	r := chain(t).context(hello, named{"tool", evil}, named{"table", "\x00\x01"}).compute().Report()
	if r.Stages[1].Traced || r.OpaqueBytes != int64(len(evil))+2 || r.Untraced[0].Origin != "context/two" {
		t.Errorf("%+v", r)
	}
	if len(r.Contexts) != 1 || r.Contexts[0].Code != 1 || r.Contexts[0].DataBytes != 2 {
		t.Errorf("%+v", r.Contexts)
	}
	r = chain(t).context(named{"vectors", "\x00\x01"}, named{"again", "\x00\x01"}).compute().Report()
	if err := r.Enforce(); r.OpaqueBytes != 2 || r.Executables.Untraced() != 0 || fault.CodeOf(err) != fault.LineageUntraced {
		t.Errorf("%+v, %v", r, err)
	}
}

// What would go wrong: a stage that has no program to run hands out one that
// it took out of something that the judge could not open.
func TestCodeOutOfNothing(t *testing.T) {
	w := newWorld(t).source("src", named{"blob", "\x00 packed in some way"}).stage("one", "source/src", exe("a", "a")).stage("two", "stage/one", exe("b", "b"))
	r := w.compute().Report()
	if r.Executables != (Executables{2, 0}) || r.Stages[0].Traced {
		t.Errorf("%+v", r)
	}
	r = newWorld(t).source("src", hello).stage("one", "source/src", hello).compute().Report()
	if !r.Complete() || !r.Stages[0].Traced || r.Executables.Total != 0 {
		t.Errorf("%+v", r)
	}
}

// What would go wrong: a second start, from somebody else's compiler, ends in
// the same bytes as the first, which is what one hopes for, and its stage is
// earlier in the plan.
func TestSecondStartThatEndsInTheSameBytes(t *testing.T) {
	w := newWorld(t).seed("s0", seedCode).image("debian", tarOf(named{"cc", evil})).
		stage("a-alt", "image/debian", exe("cc", "cc")).
		stage("b-next", "stage/a-alt", exe("ld", "ld")).
		stage("one", "seed/s0", exe("asm", "asm")).
		stage("two", "stage/one", exe("cc", "cc"))
	l := w.compute()
	r := l.Report()
	if want := []bool{false, true, true, true}; !slices.Equal(l.traced, want) {
		t.Errorf("traced %v, want %v", l.traced, want)
	}
	if want := []int{1, 3, 1, 2}; !slices.Equal(l.depths, want) {
		t.Errorf("depths %v, want %v", l.depths, want)
	}
	if r.Executables != (Executables{5, 4}) {
		t.Errorf("%+v", r.Executables)
	}
}

// What would go wrong: two stages that each make what the other runs vouch
// for one another.
func TestNothingVouchesForItself(t *testing.T) {
	w := newWorld(t).image("debian", tarOf(named{"cc", evil})).
		stage("a", "image/debian", exe("x", "x")).
		stage("b", "stage/a", exe("y", "y")).
		stage("c", "stage/b", exe("x", "x"))
	if r := w.compute().Report(); r.Executables.Traced != 0 || r.Depth != 3 {
		t.Errorf("%+v", r)
	}
}

func TestReportOfSources(t *testing.T) {
	w := chain(t).source("src", hello, named{"configure", "#!/bin/sh\n"}, named{"logo.png", "\x89PNG\x00"}, named{"t.tar", string(tarOf(named{"y.tab.c", "int y;\n"}))})
	w.g.Sources[0].Omit = []store.Omit{{Path: "t/x.a"}}
	r := w.stage("three", "stage/two source/src").compute().Report()
	s := r.Sources[0]
	if s.Files != 4 || s.Code != 0 || s.Data != 1 || s.DataBytes != 5 || s.Pregenerated != 2 || s.PregeneratedBytes != 17 || s.Omitted != 1 {
		t.Errorf("%+v", s)
	}
	if r.OpaqueBytes != 5 || r.Executables.Untraced() != 0 {
		t.Errorf("%+v", r)
	}
}

// A source that stages take as a file is opened as one.
func TestSourceThatIsNotUnpacked(t *testing.T) {
	w := chain(t)
	w.g.Sources = []Source{{Name: "src", Digest: must(w.st.Put(gzipOf(tarOf(named{"cc", evil}))))}}
	r := w.compute().Report()
	if r.Sources[0].Code != 1 || r.Untraced[0].Path != "src!!cc" || r.OpaqueBytes != int64(len(evil)) {
		t.Errorf("%+v", r)
	}
}

func TestForeignImageInFigures(t *testing.T) {
	layer := tarOf(exe("bin/a", "a"), exe("bin/b", "b"), exe("bin/c", "a"), named{"db", "\x00\x01\x02"}, hello)
	w := newWorld(t).image("debian", zstdOf(layer)).stage("one", "image/debian", exe("n", "n"))
	r := w.compute().Report()
	if r.Executables != (Executables{3, 0}) || r.OpaqueBytes != 2*int64(len(machineCode("a")))+3 || r.SeedBytes != 0 {
		t.Errorf("%+v", r)
	}
	w = newWorld(t).image("odd", []byte("\x1f\x8b\x08 no deflate")).stage("one", "image/odd")
	if r := w.compute().Report(); r.OpaqueBytes == 0 {
		t.Errorf("a layer that can not be opened is not opaque: %+v", r)
	}
}

// An ar archive and its members are executables each, but bytes count once.
func TestArBytesCountOnce(t *testing.T) {
	lib := string(arOf(named{"x.o/", evil}))
	r := newWorld(t).image("debian", tarOf(named{"lib.a", lib})).stage("one", "image/debian").compute().Report()
	if r.OpaqueBytes != int64(len(lib)) || r.Images[0].CodeBytes != int64(len(lib)) || r.Executables.Total != 2 {
		t.Errorf("%+v", r)
	}
}

func TestUntracedListIsBounded(t *testing.T) {
	var files []named
	for i := range MaxUntraced + 7 {
		files = append(files, exe(fmt.Sprintf("bin/%03d", i), fmt.Sprint(i)))
	}
	r := newWorld(t).image("debian", tarOf(files...)).stage("one", "image/debian").compute().Report()
	var out bytes.Buffer
	r.Print(&out, strings.ToUpper)
	if len(r.Untraced) != MaxUntraced || r.Executables.Untraced() != MaxUntraced+7 || !strings.Contains(out.String(), "and 7 others") {
		t.Errorf("%d of %d\n%s", len(r.Untraced), r.Executables.Untraced(), out.String())
	}
}

func TestReportIsCanonicalAndStable(t *testing.T) {
	w := chain(t).image("debian", tarOf(exe("a", "a"), exe("b", "b"), exe("c", "c"))).stage("three", "image/debian stage/two", exe("n", "n"))
	first := must(w.compute().Report().Encode())
	for range 5 {
		if again := must(w.compute().Report().Encode()); !bytes.Equal(first, again) {
			t.Fatalf("%s\n%s", first, again)
		}
	}
	if !bytes.Contains(first, []byte(`"schema_version":"rebuild.lineage@1.0.0"`)) {
		t.Errorf("%s", first)
	}
}

func TestPrint(t *testing.T) {
	w := chain(t)
	w.g.Fixpoints = []Pair{{Place{"one", "bin/asm"}, Place{"two", "bin/cc"}}, {Place{"one", "s0"}, Place{"one", "s0"}}, {Place{"one", "none"}, Place{"two", "none"}}}
	w.g.Environment = Environment{Scratch: true, Network: "none", Mounts: "none"}
	w.g.Base = Base{Kernel: "6.18", Runtime: "runc 1.4.3", RuntimeDigest: "sha256:12", Binfmt: []string{"qemu-arm"}}
	r := w.compute().Report()
	var out bytes.Buffer
	r.Print(&out, func(s string) string { return s })
	for _, want := range []string{"environment  empty roots, network none, mounts none, platform unknown\n",
		"trusted      kernel 6.18\ntrusted      binfmt_misc qemu-arm\ntrusted      runtime runc 1.4.3 sha256:12\n", "12 bytes, opaque 0\n", "traced 4/4\n", "depth        2\n", "one:/s0 = one:/s0 sha256:", "DIFFER\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
	if err := r.Enforce(); fault.CodeOf(err) != fault.LineageUntraced || r.Fixpoints[0].Equal || !r.Fixpoints[1].Equal || r.Fixpoints[2].Equal {
		t.Errorf("%v, %+v", err, r.Fixpoints)
	}
}

func TestSeedsAreWhatTheirTextSays(t *testing.T) {
	w := chain(t)
	w.g.Seeds[0].Text = []byte("00")
	if _, err := Compute(w.st, &w.g); fault.CodeOf(err) != fault.LineageUntraced {
		t.Errorf("%v", err)
	}
	w.g.Seeds[0].Text = []byte("0")
	if _, err := Compute(w.st, &w.g); fault.CodeOf(err) != fault.Parse {
		t.Errorf("%v", err)
	}
	w = chain(t).seed("other-name", seedCode)
	if r := w.compute().Report(); r.SeedBytes != int64(len(seedCode)) || len(r.Seeds) != 2 {
		t.Errorf("one seed with two names counts twice: %+v", r)
	}
}

func TestGraphsThatMakeNoSense(t *testing.T) {
	for name, change := range map[string]func(*world){
		"unknown input":  func(w *world) { w.g.Stages[1].Inputs = []string{"stage/none"} },
		"later stage":    func(w *world) { w.g.Stages[0].Inputs = []string{"stage/two"} },
		"itself":         func(w *world) { w.g.Stages[0].Inputs = []string{"stage/one"} },
		"unknown origin": func(w *world) { w.g.Stages[0].Origin = "" },
		"two stages":     func(w *world) { w.g.Stages[1].Name = "one" },
		"two sources":    func(w *world) { w.source("a").source("a") },
		"two images":     func(w *world) { w.image("a").image("a") },
		"two seeds":      func(w *world) { w.seed("s0", seedCode) },
	} {
		w := chain(t)
		change(w)
		if _, err := Compute(w.st, &w.g); fault.CodeOf(err) != fault.Semantic {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What would go wrong: content that was changed on disk is judged.
func TestDamagedAndMissingContent(t *testing.T) {
	w := chain(t)
	path := w.st.BlobPath(w.g.Stages[1].Layer)
	content := must(os.ReadFile(path))
	must(0, os.Chmod(path, 0o644))
	for i := 0; i < len(content); i += 97 {
		damaged := bytes.Clone(content)
		damaged[i] ^= 0x10
		must(0, os.WriteFile(path, damaged, 0o644))
		if _, err := Compute(w.st, &w.g); fault.CodeOf(err) != fault.CksumMismatch {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	must(0, os.Remove(path))
	if _, err := Compute(w.st, &w.g); fault.CodeOf(err) != fault.FileMissing || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
}

func TestTraceLeadsToTheSeed(t *testing.T) {
	l := chain(t).compute()
	c, err := l.Trace(must(ParsePlace("two:/bin/cc")))
	if err != nil {
		t.Fatal(err)
	}
	var steps []string
	for _, s := range c.Steps {
		steps = append(steps, s.Origin+":"+s.Path)
	}
	if want := []string{"stage/two:bin/cc", "stage/one:bin/asm", "seed/s0:s0"}; !slices.Equal(steps, want) || !c.Traced {
		t.Errorf("%v, %v", steps, c.Traced)
	}
	if s := c.Steps[0]; len(s.Visible) != 2 || s.Depth != 2 || s.Built != OriginBuilt || s.Context == "" || s.Inputs[0] != "stage/one" {
		t.Errorf("%+v", s)
	}
	var out bytes.Buffer
	c.Print(&out, func(s string) string { return s })
	if lines := strings.Count(out.String(), "\n"); lines != 3 || !strings.Contains(out.String(), string(l.graph.Stages[0].Tree)) {
		t.Errorf("%s", out.String())
	}
}

func TestTraceLeadsToTheReason(t *testing.T) {
	w := chain(t).source("src", named{"x/cc", evil}).stage("three", "stage/two source/src", exe("n", "n")).stage("four", "stage/three", exe("m", "m"))
	c, err := w.compute().Trace(Place{"four", "m"})
	if err != nil || c.Traced || len(c.Steps) != 3 || c.Steps[2].Origin != "source/src" || c.Steps[2].Path != "x/cc" {
		t.Fatalf("%+v, %v", c, err)
	}
	var out bytes.Buffer
	c.Print(&out, strings.ToUpper)
	if strings.Count(out.String(), "NOT traced") != 3 || !strings.Contains(out.String(), "X/CC") {
		t.Errorf("%s", out.String())
	}
}

func TestTraceThroughLinks(t *testing.T) {
	w := chain(t).stage("three", "stage/one", exe("usr/bin/cc", "new"),
		named{"bin", "-> usr/bin"}, named{"usr/bin/c89", "-> ../../bin/cc"}, named{"abs", "-> /bin/c89"},
		named{"loop", "-> loop"}, named{"out", "-> ../../usr/bin/cc"})
	l := w.compute()
	for path, want := range map[string]bool{
		"usr/bin/cc": true, "bin/cc": true, "bin/c89": true, "abs": true, "out": true, "loop": false, "bin": false, "none": false,
	} {
		c, err := l.Trace(Place{"three", path})
		if want != (err == nil) || want && c.Digest != store.DigestOf(machineCode("new")) {
			t.Errorf("%s: %v, %v", path, c, err)
		}
	}
}

func TestTraceRefuses(t *testing.T) {
	l := chain(t).stage("text", "stage/one", hello).compute()
	for _, p := range []Place{{"none", "x"}, {"two", "README"}, {"two", ""}, {"text", "hello.c"}} {
		if _, err := l.Trace(p); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%v: %v", p, err)
		}
	}
	for _, s := range []string{"", ":", "a", "a:", ":/b", "a:/"} {
		if _, err := ParsePlace(s); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// What would go wrong: a long plan is read again for each stage that uses it.
func TestManyStages(t *testing.T) {
	w := chain(t)
	for i := range 200 {
		in := "stage/two"
		if i > 0 {
			in = fmt.Sprintf("stage/s%d stage/two", i-1)
		}
		w.stage(fmt.Sprintf("s%d", i), in, exe("bin/x", fmt.Sprint(i)))
	}
	r := w.compute().Report()
	if !r.Complete() || r.Depth != 202 || r.Executables.Total != 204 {
		t.Errorf("%+v", r.Executables)
	}
}
