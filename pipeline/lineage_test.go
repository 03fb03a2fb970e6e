package pipeline_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"rebuild/attest"
	"rebuild/bootstrap"
	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/pipeline/pipelinetest"
	"rebuild/stages"
	"rebuild/store"
)

// program lets each stage give one ELF file, bin/STAGE.
func program(j pipeline.Job) []store.File {
	return []store.File{{Path: "bin/" + string(j.Stage), Mode: 0o755, Data: []byte("\x7fELF " + string(j.Stage))}}
}

func lineage(t testing.TB, r *room, p *pipeline.Plan, rep *pipeline.Report) *bootstrap.Report {
	t.Helper()
	l, err := pipeline.Lineage(p, rep, openStore(r))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// seeded is two stages from a seed; more goes into the second's stage.toml.
func seeded(more ...string) string {
	return "-- pipeline.toml --\n" + head + "platforms = [\"linux/amd64\"]\nstages = [\"a\", \"b\"]\ntargets = [\"b\"]\n" +
		stage("a", "inputs = [\"seed/hex0\"]") + "-- a/hex0.hex0 --\n7f 45 4c 46\n" +
		stage("b", more...) + "-- b/src/main.c --\nint x;\n"
}

// What would go wrong: the shipped recipes hold something that nobody can
// read, or a result can not be signed because figures disagree with the plan.
func TestLineageOfTheShippedRecipes(t *testing.T) {
	p, err := pipeline.LoadFS(stages.Builtin(), "seed", "builtin:seed")
	if err != nil {
		t.Fatal(err)
	}
	made, err := p.Plan(amd64, pipeline.PlanOptions{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	state := filepath.Join(t.TempDir(), "state")
	r := &room{t: t, state: state, engine: &pipelinetest.Engine{State: state, Env: environment, Files: program}}
	rep := r.mustRun(func(o *pipeline.RunOptions) { o.Plan = made })
	for range 2 { // the second time everything is there already
		l := lineage(t, r, made, rep)
		if !l.Complete() || l.SeedBytes != made.Doc.SeedBytes() || l.OpaqueBytes != 0 || l.Plan != made.Digest {
			t.Errorf("%+v", l)
		}
		if n := len(made.Doc.Stages); l.Executables.Total != n+1 || len(l.Stages) != n || len(l.Contexts) != 0 {
			t.Errorf("%+v", l)
		}
	}
	got, err := pipeline.LineageResult(r.state, made, rep)
	if err != nil || !got.Complete() {
		t.Fatalf("%+v, %v", got, err)
	}
	roots, err := pipeline.Roots(r.state)
	if err != nil || !slices.Contains(roots, got.Report) {
		t.Errorf("a collection drops the lineage that a result names: %v", err)
	}
	text, err := openStore(r).Read(got.Report, 1<<20)
	if err != nil || !bytes.Contains(text, []byte(`"schema_version":"rebuild.lineage@1.0.0"`)) {
		t.Errorf("%s, %v", text, err)
	}
	res, err := pipeline.ResultOf(rep, "north", fmt.Sprintf("%064d", 7))
	if err != nil {
		t.Fatal(err)
	}
	res.Lineage = got
	if _, err := attest.NewResultStatement(&made.Doc, res); err != nil {
		t.Error(err)
	}
}

func TestLineageFollowsThePlan(t *testing.T) {
	r := newRoom(t, seeded("context = \"src\"", "inputs = [\"stage/a\"]"))
	r.engine.Files = program
	rep := r.mustRun()
	l := lineage(t, r, plan(t, r.dir), rep)
	if !l.Complete() || l.Depth != 2 || l.Executables != (bootstrap.Executables{Total: 3, Traced: 3}) || !l.Environment.Scratch {
		t.Errorf("%+v", l)
	}
	if l.Base.Kernel != environment.Kernel || l.Platform != amd64 {
		t.Errorf("%+v", l.Base)
	}
	chain, err := pipeline.Trace(plan(t, r.dir), rep, openStore(r))
	if err != nil {
		t.Fatal(err)
	}
	c, err := chain.Trace(bootstrap.Place{Stage: "b", Path: "bin/b"})
	if err != nil || len(c.Steps) != 3 || c.Steps[2].Origin != "seed/hex0" {
		t.Errorf("%+v, %v", c, err)
	}
	places := bootstrap.Pair{A: bootstrap.Place{Stage: "a", Path: "bin/a"}, B: bootstrap.Place{Stage: "b", Path: "bin/b"}}
	if chain, err = pipeline.Trace(plan(t, r.dir), rep, openStore(r), places); err != nil || chain.Report().Fixpoints[0].Equal {
		t.Errorf("%v", err)
	}
}

// What would go wrong: a program in a stage's own folder is nobody's input.
func TestLineageLooksIntoContexts(t *testing.T) {
	r := newRoom(t, seeded("context = \"src\"", "inputs = [\"stage/a\"]")+"-- b/src/tool --\n\x7fELF prebuilt\n")
	r.engine.Files = program
	rep := r.mustRun()
	l := lineage(t, r, plan(t, r.dir), rep)
	if err := l.Enforce(); fault.CodeOf(err) != fault.LineageUntraced || l.Untraced[0].Origin != "context/b" || l.Untraced[0].Path != "tool" {
		t.Errorf("%v, %+v", err, l)
	}
	before := plan(t, r.dir)
	put(t, r.dir, "-- b/src/tool --\nclean\n")
	_, err := pipeline.Lineage(before, rep, openStore(r))
	wantFault(t, err, fault.Semantic, "b/stage.toml", 3, "changed since")
}

// sourceStage is the rest of a stage.toml that takes an archive.
func sourceStage(archive []byte, inputs string, more ...string) []string {
	lines := []string{"context = \"src\"", "inputs = [\"stage/a\"" + inputs + "]", "[[source]]", "name = \"x\"", "urls = [\"https://example.org/x\"]",
		fmt.Sprintf("digest = %q", store.DigestOf(archive)), fmt.Sprintf("size = %d", len(archive))}
	return append(lines, more...)
}

// What would go wrong: what was left out of a source counts, or what stages
// get as an archive does not.
func TestLineageOfSources(t *testing.T) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	blob := "\x7fELF fixture"
	for name, content := range map[string]string{"t/x.o": blob} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(w, content)
	}
	w.Close()
	archive := buf.Bytes()
	omit := fmt.Sprintf("code = [{ path = \"t/x.o\", digest = %q, reason = \"a fixture\" }]", store.DigestOf([]byte(blob)))
	for name, test := range map[string]struct {
		lines    []string
		origin   string // of the first untraced
		untraced int
	}{
		"unpacked":         {sourceStage(archive, ", \"source/x\"", "unpack = \"tar\""), "source/x", 2},
		"known code":       {sourceStage(archive, ", \"source/x\"", "unpack = \"tar\"", omit), "", 0},
		"in the context":   {sourceStage(archive, "", "into = \"dl/x.tar\""), "source/x", 2},
		"as one file":      {sourceStage(archive, ", \"source/x\"", "unpack = \"none\""), "source/x", 2},
		"text, as context": {sourceStage([]byte("text"), "", "into = \"dl/x\""), "", 0},
	} {
		r := newRoom(t, seeded(test.lines...))
		r.engine.Files = program
		for _, b := range [][]byte{archive, []byte("text")} {
			s, err := store.Open(pipeline.StoreDir(r.state))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := s.Put(b); err != nil {
				t.Fatal(err)
			}
		}
		rep := r.mustRun()
		l := lineage(t, r, plan(t, r.dir), rep)
		if l.Executables.Untraced() != test.untraced || test.untraced > 0 && l.Untraced[0].Origin != test.origin || len(l.Sources) != 1 {
			t.Errorf("%s: %+v", name, l)
		}
		rep.Inputs = nil // as if the run had not needed to unpack
		if again := lineage(t, r, plan(t, r.dir), rep); again.Executables != l.Executables {
			t.Errorf("%s, unpacked again: %+v", name, again)
		}
	}
}

func TestLineageNeedsAWholeRun(t *testing.T) {
	r := newRoom(t, seeded("inputs = [\"stage/a\"]"))
	r.engine.Files = program
	rep := r.mustRun(func(o *pipeline.RunOptions) { o.Stages = []stages.Name{"a"} })
	_, err := pipeline.Lineage(plan(t, r.dir), rep, openStore(r))
	if fault.CodeOf(err) != fault.Usage {
		t.Errorf("%v", err)
	}
}

func TestLineageOfAnImage(t *testing.T) {
	dir := t.TempDir()
	s, err := store.Open(filepath.Join(dir, "base"))
	if err != nil {
		t.Fatal(err)
	}
	layer, err := s.PutFiles([]store.File{{Path: "bin/sh", Mode: 0o755, Data: []byte("\x7fELF sh")}, {Path: "db", Data: []byte{0}}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := s.PutImage(layer, amd64, store.ImageConfig{})
	if err != nil {
		t.Fatal(err)
	}
	r := newRoom(t, "-- pipeline.toml --\n"+head+rest+"[images]\nbase = \"oci-layout:base@"+string(manifest)+"\"\n"+
		stage("a", "inputs = [\"image/base\"]"))
	r.engine.Files = program
	if err := os.Rename(filepath.Join(dir, "base"), filepath.Join(r.dir, "base")); err != nil {
		t.Fatal(err)
	}
	p := load(t, r.dir)
	lock, err := p.NewLock(t.Context(), pipeline.LockOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.WriteLock(lock); err != nil {
		t.Fatal(err)
	}
	if _, err := pipeline.Fetch(t.Context(), pipeline.FetchOptions{Pipeline: p, Lock: lock, State: r.state, Client: pipeline.FetchClient()}); err != nil {
		t.Fatal(err)
	}
	l := lineage(t, r, plan(t, r.dir), r.mustRun())
	if l.Executables != (bootstrap.Executables{Total: 2}) || l.OpaqueBytes != 8 || l.Environment.Scratch || l.Images[0].Code != 1 {
		t.Errorf("%+v", l)
	}
}
