package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rebuild/attest"
	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/pipeline/pipelinetest"
	"rebuild/stages"
	"rebuild/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// diamond: a is needed by b and c, which are needed by d; e stands alone.
const diamond = "-- pipeline.toml --\n" + head + `platforms = ["linux/amd64"]
stages = ["e", "d", "c", "b", "a"]
targets = ["d", "e"]
`

func diamondStages(extra ...string) string {
	return diamond +
		stage("a", append([]string{"context = \"src\""}, extra...)...) + "-- a/src/text --\nfirst\n" +
		stage("b", "inputs = [\"stage/a\"]") + stage("c", "inputs = [\"stage/a\"]") +
		stage("d", "inputs = [\"stage/b\", \"stage/c\"]") + stage("e")
}

var environment = pipeline.Environment{Engine: "fake", Policy: "p1", Kernel: "6.18", Varied: []string{"cpus", "umask"}}

// room is a pipeline folder, a state root and an engine.
type room struct {
	t      testing.TB
	dir    string
	state  string
	engine *pipelinetest.Engine
	events []pipeline.Event
}

func newRoom(t testing.TB, archive string) *room {
	state := filepath.Join(t.TempDir(), "state")
	return &room{t: t, dir: write(t, archive), state: state, engine: &pipelinetest.Engine{State: state, Env: environment}}
}

func (r *room) run(change ...func(*pipeline.RunOptions)) (*pipeline.Report, error) {
	r.t.Helper()
	return r.runContext(context.Background(), change...)
}

func (r *room) runContext(ctx context.Context, change ...func(*pipeline.RunOptions)) (*pipeline.Report, error) {
	r.t.Helper()
	r.engine.Forget()
	r.events = nil
	o := pipeline.RunOptions{
		State: r.state, Engine: r.engine, Jobs: 2, Now: clock,
		Events: func(e pipeline.Event) { r.events = append(r.events, e) },
	}
	for _, c := range change {
		c(&o)
	}
	if o.Plan == nil {
		o.Plan = plan(r.t, r.dir)
	}
	return pipeline.Run(ctx, o)
}

func (r *room) mustRun(change ...func(*pipeline.RunOptions)) *pipeline.Report {
	r.t.Helper()
	rep, err := r.run(change...)
	if err != nil {
		r.t.Fatal(err)
	}
	return rep
}

func fresh(o *pipeline.RunOptions) { o.Fresh = true }

// solved returns what the engine built in the last run, sorted.
func (r *room) solved() string {
	names := r.engine.Solved()
	slices.Sort(names)
	return fmt.Sprint(names)
}

func origins(rep *pipeline.Report) string {
	var b strings.Builder
	for _, s := range rep.Stages {
		fmt.Fprintf(&b, "%s:%s ", s.Name, s.Origin)
	}
	return strings.TrimSpace(b.String())
}

func outputs(rep *pipeline.Report) string {
	var b strings.Builder
	for _, s := range rep.Stages {
		fmt.Fprintf(&b, "%s %s %s\n", s.Name, s.Tree, s.Manifest)
	}
	return b.String()
}

func TestRunBuildsThenReuses(t *testing.T) {
	r := newRoom(t, diamondStages())
	first := r.mustRun()
	if r.solved() != "[a b c d e]" || origins(first) != "a:built b:built c:built d:built e:built" {
		t.Fatalf("solved %s, origins %s", r.solved(), origins(first))
	}
	if first.Outcome != attest.OutcomeBuilt || first.Repeat.Runs != 1 || !slices.Equal(first.Repeat.Varied, environment.Varied) {
		t.Errorf("%+v", first)
	}
	again := r.mustRun()
	if r.solved() != "[]" || len(r.engine.Checked()) != 0 {
		t.Errorf("solved %s, checked %v: nothing should be left to do", r.solved(), r.engine.Checked())
	}
	if outputs(again) != outputs(first) || origins(again) != origins(first) {
		t.Error("no result covers the stages, so they still count as built")
	}
	if kinds := kindsOf(r.events); kinds != "cached cached cached cached cached" {
		t.Errorf("events %s", kinds)
	}
}

func kindsOf(events []pipeline.Event) string {
	var out []string
	for _, e := range events {
		out = append(out, string(e.Kind))
	}
	return strings.Join(out, " ")
}

func TestRunGivesAResult(t *testing.T) {
	r := newRoom(t, diamondStages())
	rep := r.mustRun()
	payload := sign(t, r, rep)
	rep = r.mustRun()
	if got := origins(rep); got != "a:reused b:reused c:reused d:reused e:reused" {
		t.Fatalf("origins %s", got)
	}
	for _, s := range rep.Stages {
		if s.From != payload {
			t.Errorf("stage %s from %s, want %s", s.Name, s.From, payload)
		}
	}
	sign(t, r, rep) // a result of reused stages is one, too
	rep = r.mustRun(fresh)
	if got := origins(rep); got != "a:built b:built c:built d:built e:built" || rep.Repeat.Runs != 2 {
		t.Errorf("after --fresh: origins %s, repeat %+v", got, rep.Repeat)
	}
	stored, err := pipeline.ReadReport(r.state, rep.Plan)
	if err != nil || outputs(stored) != outputs(rep) {
		t.Errorf("%v", err)
	}
}

// sign makes the result statement of a run as the CLI does.
func sign(t *testing.T, r *room, rep *pipeline.Report) store.Digest {
	t.Helper()
	result, err := pipeline.ResultOf(rep, "north", strings.Repeat("0", 64))
	if err != nil {
		t.Fatal(err)
	}
	payload, err := attest.NewResultStatement(&plan(t, r.dir).Doc, result)
	if err != nil {
		t.Fatal(err)
	}
	d := store.DigestOf(payload)
	if err := pipeline.MarkCovered(r.state, rep, d, "north"); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestRunSideBySide(t *testing.T) {
	r := newRoom(t, diamondStages())
	both := make(chan struct{})
	var once sync.Once
	var mu sync.Mutex
	waiting := 0
	r.engine.OnSolve = func(ctx context.Context, j pipeline.Job) error {
		if j.Stage != "b" && j.Stage != "c" {
			return nil
		}
		mu.Lock()
		if waiting++; waiting == 2 {
			once.Do(func() { close(both) })
		}
		mu.Unlock()
		select {
		case <-both:
			return nil
		case <-time.After(10 * time.Second):
			return errors.New("b and c were not built side by side")
		}
	}
	r.mustRun()
	if r.engine.Most() != 2 {
		t.Errorf("%d at one time, want 2", r.engine.Most())
	}
	r = newRoom(t, diamondStages())
	r.mustRun(func(o *pipeline.RunOptions) { o.Jobs = 0 })
	if got := fmt.Sprint(r.engine.Solved()); got != "[a b c d e]" || r.engine.Most() != 1 {
		t.Errorf("with one job: %s, %d at one time", got, r.engine.Most())
	}
}

func TestRunSomeStages(t *testing.T) {
	r := newRoom(t, diamondStages())
	rep := r.mustRun(func(o *pipeline.RunOptions) { o.Stages = []stages.Name{"b"} })
	if r.solved() != "[a b]" || !rep.Partial {
		t.Errorf("solved %s, partial %v", r.solved(), rep.Partial)
	}
	if _, err := pipeline.ResultOf(rep, "north", ""); fault.CodeOf(err) != fault.Usage {
		t.Errorf("a partial run has a result: %v", err)
	}
	_, err := r.run(func(o *pipeline.RunOptions) { o.Stages = []stages.Name{"x"} })
	wantFault(t, err, fault.Usage, "", 0, "\"x\"")
}

// A bad Containerfile anywhere must be refused before anything is built or
// written.
func TestRunChecksEverythingFirst(t *testing.T) {
	r := newRoom(t, diamondStages())
	refusal := fault.New(fault.PolicyDenied, "network").At("d/Containerfile", 3)
	r.engine.OnCheck = func(_ context.Context, j pipeline.Job) error {
		if j.Stage == "d" || j.Stage == "e" {
			return refusal
		}
		return nil
	}
	_, err := r.run()
	wantFault(t, err, fault.PolicyDenied, "d/Containerfile", 3, "network")
	if _, err := os.Stat(r.state); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the state root was made: %v", err)
	}
	if r.solved() != "[]" || len(r.engine.Checked()) != 5 {
		t.Errorf("solved %s, checked %v", r.solved(), r.engine.Checked())
	}
}

func TestRunStageFails(t *testing.T) {
	for class, code := range map[string]fault.Code{
		pipeline.BuildFailed: fault.StageFailed, pipeline.TimedOut: fault.StageFailed, pipeline.InfraFailed: fault.EngineUnavailable,
	} {
		t.Run(class, func(t *testing.T) {
			r := newRoom(t, diamondStages())
			broken := true
			r.engine.OnSolve = func(_ context.Context, j pipeline.Job) error {
				if broken && (j.Stage == "b" || j.Stage == "c") {
					return &pipeline.StageError{Stage: j.Stage, Class: class, ExitStatus: 2, Log: []byte("no such \xff file\n"), Err: errors.New("exit status 2")}
				}
				return nil
			}
			rep, err := r.run()
			wantFault(t, err, code, "", 0, "stage b: exit status 2")
			if rep.Outcome != class || rep.Failure.Stage != "b" || rep.Failure.ExitStatus != 2 || rep.Failure.Log != "no such ? file\n" {
				t.Errorf("%+v %+v", rep, rep.Failure)
			}
			if origins(rep) != "a:built" && origins(rep) != "a:built e:built" {
				t.Errorf("origins %s", origins(rep))
			}
			sign(t, r, rep) // a failure is signed like a success
			broken = false
			rep = r.mustRun()
			if solved := r.solved(); strings.Contains(solved, "a") || !strings.Contains(solved, "b c d") {
				t.Errorf("after the repair it solved %s", solved)
			}
			if s, _ := rep.Stage("a"); s.Origin != attest.OriginReused {
				t.Errorf("stage a: %+v: the result of the failed run covers it", s)
			}
		})
	}
}

// A failure starts nothing new and throws nothing away that runs.
func TestRunKeepsWhatRunsWhenAnotherFails(t *testing.T) {
	r := newRoom(t, diamondStages())
	failed := make(chan struct{})
	r.engine.OnSolve = func(ctx context.Context, j pipeline.Job) error {
		switch j.Stage {
		case "c":
			defer close(failed)
			return &pipeline.StageError{Stage: "c", Class: pipeline.BuildFailed, Err: errors.New("broken")}
		case "b":
			<-failed
		}
		return nil
	}
	rep, err := r.run()
	wantFault(t, err, fault.StageFailed, "", 0, "stage c")
	if r.solved() != "[a b c e]" || origins(rep) != "a:built b:built e:built" { // e is ready beside a
		t.Errorf("solved %s, origins %s", r.solved(), origins(rep))
	}
}

func TestRunResumes(t *testing.T) {
	r := newRoom(t, diamondStages())
	ctx, cancel := context.WithCancel(context.Background())
	r.engine.OnSolve = func(ctx context.Context, j pipeline.Job) error {
		if j.Stage == "d" {
			cancel()
			<-ctx.Done()
			return &pipeline.StageError{Stage: "d", Class: pipeline.InfraFailed, Err: ctx.Err()}
		}
		return nil
	}
	rep, err := r.runContext(ctx, func(o *pipeline.RunOptions) { o.Jobs = 1 })
	wantFault(t, err, fault.Interrupted, "", 0, "stopped")
	if rep != nil {
		t.Error("an interrupted run has a report")
	}
	r.engine.OnSolve = nil
	rep = r.mustRun()
	if r.solved() != "[d e]" || origins(rep) != "a:built b:built c:built d:built e:built" {
		t.Errorf("solved %s, origins %s", r.solved(), origins(rep))
	}
	whole := newRoom(t, diamondStages())
	if outputs(rep) != outputs(whole.mustRun()) {
		t.Error("a resumed run ended in other outputs")
	}
}

func TestRunBuildsWhatChanged(t *testing.T) {
	r := newRoom(t, diamondStages())
	r.mustRun()
	put(t, r.dir, "-- b/Containerfile --\nFROM stage/a\n")
	r.mustRun()
	if r.solved() != "[b d]" {
		t.Errorf("solved %s", r.solved())
	}
	// a changes, but its output does not: what stands on it needs no build.
	r.engine.Files = func(j pipeline.Job) []store.File { return []store.File{{Path: "same", Mode: 0o644}} }
	r.mustRun(fresh, func(o *pipeline.RunOptions) { o.State = r.state + "2"; r.engine.State = o.State })
	put(t, r.dir, "-- a/src/text --\nsecond\n")
	r.mustRun(func(o *pipeline.RunOptions) { o.State = r.state + "2" })
	if r.solved() != "[a]" || !strings.Contains(kindsOf(r.events), "started cached") {
		t.Errorf("solved %s, events %s", r.solved(), kindsOf(r.events))
	}
}

func TestRunVoidsRecords(t *testing.T) {
	for title, c := range map[string]struct {
		change func(r *room)
		want   string
	}{
		"LLB policy":     {func(r *room) { r.engine.Env.Policy = "p2" }, "[a b c d e]"},
		"record deleted": {func(r *room) { os.RemoveAll(filepath.Join(r.state, "stages")) }, "[a b c d e]"},
		"records damaged": {func(r *room) {
			for _, f := range glob(r.t, filepath.Join(r.state, "stages", "*")) {
				os.WriteFile(f, []byte("{}"), 0o644)
			}
		}, "[a b c d e]"},
		"strict now": {func(r *room) {
			put(r.t, r.dir, strings.Replace(diamond, "targets", "strict = true\ntargets", 1))
		}, "[a b c d e]"},
		"no state":       {func(r *room) { os.RemoveAll(r.state) }, "[a b c d e]"},
		"manifest gone":  {func(r *room) { os.Remove(blob(r, manifestOf(r, "b"))) }, "[b]"},
		"tree gone":      {func(r *room) { s, _ := lastReport(r).Stage("b"); os.Remove(blob(r, s.Tree)) }, "[b]"},
		"layer gone":     {func(r *room) { os.Remove(blob(r, layerOf(r, "b"))) }, "[b]"},
		"layer cut":      {func(r *room) { os.Truncate(blob(r, layerOf(r, "b")), 512) }, "[b]"},
		"contexts gone":  {func(r *room) { os.Remove(filepath.Join(r.state, "contexts.json")) }, "[]"},
		"reports gone":   {func(r *room) { os.RemoveAll(filepath.Join(r.state, "runs")) }, "[]"},
		"other operator": {func(r *room) { r.state += "2"; r.engine.State = r.state }, "[a b c d e]"},
	} {
		t.Run(title, func(t *testing.T) {
			r := newRoom(t, diamondStages())
			want := outputs(r.mustRun())
			c.change(r)
			rep := r.mustRun()
			if r.solved() != c.want || outputs(rep) != want {
				t.Errorf("solved %s, want %s", r.solved(), c.want)
			}
		})
	}
}

func glob(t testing.TB, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v %v", pattern, files, err)
	}
	return files
}

func openStore(r *room) *store.Store {
	r.t.Helper()
	s, err := store.Open(pipeline.StoreDir(r.state))
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

func blob(r *room, d store.Digest) string { return openStore(r).BlobPath(d) }

func lastReport(r *room) *pipeline.Report {
	r.t.Helper()
	rep, err := pipeline.ReadReport(r.state, plan(r.t, r.dir).Digest)
	if err != nil {
		r.t.Fatal(err)
	}
	return rep
}

func manifestOf(r *room, name stages.Name) store.Digest {
	s, _ := lastReport(r).Stage(name)
	return s.Manifest
}

func layerOf(r *room, name stages.Name) store.Digest {
	r.t.Helper()
	image, err := openStore(r).Image(manifestOf(r, name))
	if err != nil {
		r.t.Fatal(err)
	}
	return image.Layer.Digest
}

// A store that somebody changed must be noticed, not built around (G52, G68).
func TestRunTamperedStore(t *testing.T) {
	for title, c := range map[string]struct {
		blob   func(r *room) store.Digest
		change func(r *room)
		part   string
	}{
		"manifest": {func(r *room) store.Digest { return manifestOf(r, "a") }, func(*room) {}, "expected"},
		"layer of an input": {func(r *room) store.Digest { return layerOf(r, "a") }, func(r *room) {
			put(r.t, r.dir, "-- b/Containerfile --\nFROM stage/a\n")
		}, "input stage/a of stage b"},
	} {
		t.Run(title, func(t *testing.T) {
			r := newRoom(t, diamondStages())
			r.mustRun()
			file := blob(r, c.blob(r))
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			data[len(data)/2] ^= 1
			if err := os.WriteFile(file, data, 0o644); err != nil {
				t.Fatal(err)
			}
			c.change(r)
			_, err = r.run()
			if code := fault.CodeOf(err); code.Exit() != 12 || !strings.Contains(err.Error(), c.part) {
				t.Errorf("[%s] %v", code, err)
			}
			if r.solved() != "[]" {
				t.Errorf("solved %s", r.solved())
			}
		})
	}
}

// The engine is held to what it says it built.
func TestRunHoldsTheEngineToItsWord(t *testing.T) {
	other := store.DigestOf([]byte("other"))
	for title, spoil := range map[string]func(*pipeline.Output, *store.Store){
		"tree not stored":     func(o *pipeline.Output, _ *store.Store) { o.Tree = other },
		"manifest not stored": func(o *pipeline.Output, _ *store.Store) { o.Manifest = other },
		"wrong size":          func(o *pipeline.Output, _ *store.Store) { o.LayerSize++ },
		"another tree":        func(o *pipeline.Output, s *store.Store) { o.Tree = putTree(s, "x").Tree },
		"layer gone": func(o *pipeline.Output, s *store.Store) {
			i, _ := s.Image(o.Manifest)
			os.Remove(s.BlobPath(i.Layer.Digest))
		},
		"other platform": func(o *pipeline.Output, s *store.Store) {
			i, _ := s.Image(o.Manifest)
			o.Manifest, _ = s.PutImage(i.Layer, "linux/arm64", store.ImageConfig{})
		},
	} {
		t.Run(title, func(t *testing.T) {
			r := newRoom(t, diamondStages())
			r.engine.Spoil = spoil
			if _, err := r.run(); fault.CodeOf(err) != fault.TreeMismatch {
				t.Errorf("got %v", err)
			}
			if files, _ := filepath.Glob(filepath.Join(r.state, "stages", "*")); len(files) != 0 {
				t.Error("there is a record of it")
			}
		})
	}
}

func putTree(s *store.Store, name string) store.Layer {
	l, err := s.PutFiles([]store.File{{Path: name, Mode: 0o644}}, 1)
	if err != nil {
		panic(err)
	}
	return l
}

// otherwise makes the engine build something else than before.
func (r *room) otherwise() {
	r.engine.Files = func(j pipeline.Job) []store.File {
		return []store.File{{Path: string(j.Stage), Mode: 0o644, Data: []byte("other")}}
	}
}

// What two builds disagreed on must not be signed as built by a later run,
// whichever of the two it would find, or build once more.
func TestRunNotDeterministic(t *testing.T) {
	r := newRoom(t, diamondStages())
	single := func(o *pipeline.RunOptions) { o.Jobs = 1 } // only a is built
	first := r.mustRun()
	a, _ := first.Stage("a")
	r.mustRun(fresh)
	r.otherwise()
	rep, err := r.run(fresh, single)
	refused := func(solved string) {
		t.Helper()
		wantFault(t, err, fault.NotDeterministic, "", 0, "stage a is not deterministic: built once as tree "+string(a.Tree))
		if rep.Outcome != attest.OutcomeNotDeterministic || rep.Repeat.Equal || rep.Repeat.Runs != 3 || rep.Failure.Stage != "a" {
			t.Errorf("%+v %+v", rep, rep.Repeat)
		}
		if r.solved() != solved {
			t.Errorf("solved %s, want %s", r.solved(), solved)
		}
		sign(t, r, rep)
	}
	refused("[a]")
	rep, err = r.run()
	refused("[]")
	r.engine.Files = nil
	rep, err = r.run(fresh, single)
	refused("[]")
	roots, err := pipeline.Roots(r.state)
	if err != nil || len(roots) == 0 {
		t.Fatal(err)
	}
	record := filepath.Join(r.state, "stages", a.Key.Hex()+".json")
	_, err = r.run()
	var f *fault.Error
	if !errors.As(err, &f) || !strings.Contains(f.Hint, record) {
		t.Fatalf("the hint does not say what to remove: %+v", f)
	}
	for _, tree := range []string{"before", "now"} {
		if d := store.Digest(f.Details[tree].(string)); !slices.Contains(roots, d) {
			t.Errorf("a collection drops %s, the tree from %s", d, tree)
		}
	}
	if err := os.Remove(record); err != nil {
		t.Fatal(err)
	}
	if rep = r.mustRun(); outputs(rep) != outputs(first) || rep.Repeat.Runs != 1 {
		t.Errorf("after the record was removed: %+v", rep.Repeat)
	}
}

// Another LLB policy is another build: what was seen under the old one counts
// no more.
func TestRunNotDeterministicUnderAnotherPolicy(t *testing.T) {
	r := newRoom(t, diamondStages())
	r.mustRun()
	r.otherwise()
	if _, err := r.run(fresh); fault.CodeOf(err) != fault.NotDeterministic {
		t.Fatal(err)
	}
	r.engine.Env.Policy = "p2"
	r.mustRun()
}

// One build must not be signed by two operators.
func TestOneOperatorForAStateRoot(t *testing.T) {
	r := newRoom(t, diamondStages())
	rep := r.mustRun()
	check := func(operator string, want fault.Code) {
		t.Helper()
		for _, err := range []error{
			pipeline.CheckOperator(r.state, operator),
			pipeline.MarkCovered(r.state, rep, digestA, operator),
		} {
			if fault.CodeOf(err) != want {
				t.Errorf("operator %s: %v", operator, err)
			}
		}
	}
	if err := pipeline.CheckOperator(r.state, "south"); err != nil {
		t.Errorf("nobody has signed: %v", err)
	}
	check("north", "")
	check("south", fault.Usage)
	check("north", "")
	rep = r.mustRun()
	check("south", fault.Usage)
	rep = r.mustRun(fresh) // what was built again belongs to the same operator
	check("south", fault.Usage)
	put(t, r.dir, stage("e")+"-- e/Containerfile --\nFROM stage/e\n")
	rep = r.mustRun()
	check("south", fault.Usage)
	check("north", "")
	if err := pipeline.CheckOperator(filepath.Join(r.state, "none"), "south"); err != nil {
		t.Error(err)
	}
}

// What another process built anew since the run must not be marked as covered
// by a result that speaks of the older build.
func TestMarkCoveredLeavesNewerRecordsAlone(t *testing.T) {
	r := newRoom(t, diamondStages())
	old := r.mustRun()
	r.mustRun(fresh)
	if err := pipeline.MarkCovered(r.state, old, digestA, "north"); err != nil {
		t.Fatal(err)
	}
	if got := origins(r.mustRun()); strings.Contains(got, attest.OriginReused) {
		t.Errorf("origins %s", got)
	}
}

// Two processes that share a state root must not lose each other's builds.
func TestRunsSideBySideCountEachBuild(t *testing.T) {
	r := newRoom(t, diamondStages())
	r.mustRun()
	const runs = 8
	p := plan(t, r.dir)
	var wg sync.WaitGroup
	errs := make([]error, runs)
	for i := range runs {
		wg.Go(func() {
			_, errs[i] = pipeline.Run(context.Background(), pipeline.RunOptions{
				Plan: p, State: r.state, Engine: r.engine, Jobs: 4, Fresh: true, Now: clock,
			})
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if rep := r.mustRun(); rep.Repeat.Runs != 1+runs {
		t.Errorf("%d builds on record, want %d", rep.Repeat.Runs, 1+runs)
	}
}

// A result claims where its stages were built, not where they were looked up.
func TestRunClaimsWhereItWasBuilt(t *testing.T) {
	r := newRoom(t, diamondStages())
	old := r.mustRun().Environment
	r.engine.Env.Kernel, r.engine.Env.CPUVendor = "7.0", "other"
	if rep := r.mustRun(func(o *pipeline.RunOptions) { o.Rebuild = "2.0.0" }); rep.Environment != old || old.Kernel != "6.18" {
		t.Errorf("nothing was built, but the environment is %+v", rep.Environment)
	}
	put(t, r.dir, "-- d/Containerfile --\nFROM stage/b\n")
	want := old
	want.Kernel, want.CPUVendor = "", ""
	if rep := r.mustRun(); r.solved() != "[d]" || rep.Environment != want {
		t.Errorf("solved %s, environment %+v, want %+v", r.solved(), rep.Environment, want)
	}
	if rep := r.mustRun(fresh); rep.Environment.Kernel != "7.0" || rep.Environment.CPUVendor != "other" {
		t.Errorf("all was built anew, the environment is %+v", rep.Environment)
	}
	// A stage that fails here fails here.
	r.engine.Env.Kernel = "7.1"
	put(t, r.dir, "-- d/Containerfile --\nFROM stage/c\n")
	r.engine.OnSolve = func(context.Context, pipeline.Job) error {
		return &pipeline.StageError{Stage: "d", Class: pipeline.BuildFailed, Err: errors.New("broken")}
	}
	if rep, _ := r.run(); rep.Environment.Kernel != "" || rep.Environment.CPUVendor != "other" {
		t.Errorf("%+v", rep.Environment)
	}
}

// Nothing reads a target's layer but the user, so a run has to look at it.
func TestRunTamperedTarget(t *testing.T) {
	for title, of := range map[string]func(r *room) store.Digest{
		"layer": func(r *room) store.Digest { return layerOf(r, "d") },
		"tree":  func(r *room) store.Digest { s, _ := lastReport(r).Stage("d"); return s.Tree },
	} {
		t.Run(title, func(t *testing.T) {
			r := newRoom(t, diamondStages())
			r.mustRun()
			r.mustRun() // its blobs are remembered now
			file := blob(r, of(r))
			before, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			flip(t, []string{file}, "")
			if err := os.Chtimes(file, before.ModTime(), before.ModTime()); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				rep, err := r.run()
				wantFault(t, err, fault.CksumMismatch, "", 0, "output of stage d")
				if rep != nil || r.solved() != "[]" {
					t.Errorf("report %+v, solved %s", rep, r.solved())
				}
			}
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			r.mustRun()
			if r.solved() != "[d]" {
				t.Errorf("after the repair it solved %s", r.solved())
			}
		})
	}
}

// Only what cannot have changed since is taken for verified.
func TestVerifiedIsACache(t *testing.T) {
	r := newRoom(t, diamondStages())
	file := filepath.Join(r.state, "verified.json")
	young := func(o *pipeline.RunOptions) { o.Now = time.Now }
	r.mustRun(young)
	r.mustRun(young)
	if _, err := os.Stat(file); err == nil {
		t.Error("a blob that is still young was remembered")
	}
	r.mustRun()
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "{}", strings.Repeat("x", 5<<20)} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		r.mustRun()
		if after, err := os.ReadFile(file); err != nil || string(after) != string(before) {
			t.Errorf("%v: %s", err, after)
		}
	}
}

// Before anything is in the store a Check must be able to look into the
// stage's own files.
func TestCheckSeesTheFiles(t *testing.T) {
	text := "archive"
	source := fmt.Sprintf("[[source]]\nname = \"s\"\ndigest = %q\nsize = %d\nurls = [\"../x\"]\ninto = \"fetch/x\"\n", store.DigestOf([]byte(text)), len(text))
	r := &fetchRoom{room: newRoom(t, "-- pipeline.toml --\n"+head+rest+stage("a", "context = \"src\"", source)+"-- a/src/sub/b --\nbytes")}
	if err := os.WriteFile(filepath.Join(r.dir, "x"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("sub/b", filepath.Join(r.dir, "a/src/link")); err != nil {
		t.Fatal(err)
	}
	var seen string
	look := func(j pipeline.Job) error {
		files, err := j.Files()
		if err != nil {
			return err
		}
		seen = ""
		for _, f := range files {
			seen += f.Path + " "
			if f.Link {
				continue
			}
			in, err := f.Open()
			if err != nil {
				return err
			}
			content, err := io.ReadAll(in)
			if err := errors.Join(err, in.Close()); err != nil {
				return err
			}
			seen += string(content) + " "
		}
		return nil
	}
	r.engine.OnCheck = func(_ context.Context, j pipeline.Job) error { return look(j) }
	for range 2 { // without a store, and with one that lacks the source
		_, err := r.run()
		wantFault(t, err, fault.OfflineIndex, "", 0, "source/s")
		if want := "link sub/b bytes\n "; seen != want {
			t.Errorf("before the fetch: %q, want %q", seen, want)
		}
		openStore(r.room)
	}
	if _, err := r.fetch(); err != nil {
		t.Fatal(err)
	}
	r.mustRun()
	if want := "fetch/x archive link sub/b bytes\n "; seen != want {
		t.Errorf("after the fetch: %q, want %q", seen, want)
	}
	if err := os.WriteFile(blob(r.room, store.DigestOf([]byte(text))), []byte("arXhive"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := r.run(fresh); fault.CodeOf(err) != fault.CksumMismatch {
		t.Errorf("%v", err)
	}
}

func TestRunExporter(t *testing.T) {
	r := newRoom(t, diamondStages())
	r.mustRun()
	put(t, r.dir, strings.Replace(diamond, "targets", "exec = \"buildkit.exec.v1\"\ntargets", 1))
	r.mustRun()
	put(t, r.dir, stage("e", "[exporter]", "attrs = { compression = \"gzip\" }"))
	rep := r.mustRun()
	e, _ := rep.Stage("e")
	if r.solved() != "[e]" || e.ExporterManifest == "" {
		t.Errorf("solved %s, %+v", r.solved(), e)
	}
	sign(t, r, rep)
	put(t, r.dir, stage("e", "[exporter]", "attrs = { compression = \"zstd\" }"))
	r.mustRun()
	if r.solved() != "[e]" {
		t.Errorf("other attributes: solved %s", r.solved())
	}
	put(t, r.dir, stage("e"))
	if rep = r.mustRun(); r.solved() != "[]" {
		t.Errorf("none wanted: solved %s", r.solved())
	}
	if e, _ := rep.Stage("e"); e.ExporterManifest != "" {
		t.Error("a digest that was not asked for")
	}
}

// A context that changes between plan and build must not be built under the
// plan's name.
func TestRunContextChangedSincePlan(t *testing.T) {
	r := newRoom(t, diamondStages())
	old := plan(t, r.dir)
	put(t, r.dir, "-- a/src/text --\nsecond\n")
	_, err := r.run(func(o *pipeline.RunOptions) { o.Plan = old })
	wantFault(t, err, fault.Semantic, "a/stage.toml", 3, "have changed")
}

func TestRunTagsTargets(t *testing.T) {
	r := newRoom(t, diamondStages())
	rep := r.mustRun()
	tags, err := openStore(r).Tags()
	if err != nil {
		t.Fatal(err)
	}
	d, _ := rep.Stage("d")
	e, _ := rep.Stage("e")
	want := []store.TagEntry{{Name: "demo/d:linux-amd64", Manifest: d.Manifest}, {Name: "demo/e:linux-amd64", Manifest: e.Manifest}}
	if !slices.Equal(tags, want) {
		t.Errorf("tags %v", tags)
	}
}

// What a collection keeps must be enough for a run that builds nothing.
func TestRootsKeepARunCached(t *testing.T) {
	r := newRoom(t, diamondStages())
	r.mustRun()
	roots, err := pipeline.Roots(r.state)
	if err != nil {
		t.Fatal(err)
	}
	s := openStore(r)
	if _, err := s.GC(context.Background(), store.GCOptions{Roots: roots, Now: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	r.mustRun()
	if r.solved() != "[]" {
		t.Errorf("after the collection it solved %s", r.solved())
	}
	if roots, err := pipeline.Roots(filepath.Join(r.state, "none")); err != nil || len(roots) != 0 {
		t.Errorf("%v %v", roots, err)
	}
}

func TestSurvey(t *testing.T) {
	r := newRoom(t, diamondStages())
	status := func() string {
		t.Helper()
		all, err := plan(t, r.dir).Survey(r.state, "p1")
		if err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		for _, s := range all {
			fmt.Fprintf(&b, "%s:%v/%v ", s.Name, s.Key != "", s.Cached)
		}
		return strings.TrimSpace(b.String())
	}
	if got := status(); got != "a:true/false b:false/false c:false/false d:false/false e:true/false" {
		t.Errorf("before: %s", got)
	}
	if _, err := os.Stat(r.state); err == nil {
		t.Error("looking made the state root")
	}
	r.mustRun(func(o *pipeline.RunOptions) { o.Stages = []stages.Name{"b"} })
	if got := status(); got != "a:true/true b:true/true c:true/false d:false/false e:true/false" {
		t.Errorf("after a part: %s", got)
	}
}

func TestReadReport(t *testing.T) {
	_, err := pipeline.ReadReport(t.TempDir(), digestA)
	wantFault(t, err, fault.Usage, "", 0, "was not run")
	if _, err := pipeline.ReadReport(t.TempDir(), "../../x"); fault.CodeOf(err) != fault.Structure {
		t.Errorf("%v", err)
	}
}

// many makes n stages, each with a context and standing on the one before.
func many(n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "-- pipeline.toml --\n%splatforms = [\"linux/amd64\"]\ntargets = [\"s%d\"]\nstages = [", head, n-1)
	for i := range n {
		fmt.Fprintf(&b, "\"s%d\", ", i)
	}
	b.WriteString("]\n")
	for i := range n {
		inputs := ""
		if i > 0 {
			inputs = fmt.Sprintf("inputs = [\"stage/s%d\"]", i-1)
		}
		b.WriteString(stage(fmt.Sprintf("s%d", i), "context = \"src\"", inputs))
		fmt.Fprintf(&b, "-- s%d/src/a --\n%d\n-- s%d/src/b --\n%d\n", i, i, i, i)
	}
	return b.String()
}

// The figure is 0.3 s for a cached run of 200 stages, all of the command;
// BenchmarkCachedRun200 has our part of it. The bound here only notices when
// something grows with the square: tests run on busy machines.
func TestRunCachedIsFast(t *testing.T) {
	if testing.Short() {
		t.Skip("builds 200 stages first")
	}
	r := newRoom(t, many(200))
	cached := func() {
		p := load(t, r.dir)
		plan, err := p.Plan(amd64, pipeline.PlanOptions{Contexts: pipeline.LoadContexts(r.state), Now: now})
		if err != nil {
			t.Fatal(err)
		}
		r.mustRun(func(o *pipeline.RunOptions) { o.Plan = plan })
	}
	cached()
	best := time.Hour
	for range 5 {
		begin := time.Now()
		cached()
		best = min(best, time.Since(begin))
		if r.solved() != "[]" {
			t.Fatal("not cached")
		}
	}
	t.Logf("200 cached stages: %s", best)
	if best > 2*time.Second {
		t.Errorf("200 cached stages took %s", best)
	}
}

func BenchmarkCachedRun200(b *testing.B) {
	r := newRoom(b, many(200))
	r.mustRun()
	for b.Loop() {
		plan, err := load(b, r.dir).Plan(amd64, pipeline.PlanOptions{Contexts: pipeline.LoadContexts(r.state), Now: now})
		if err != nil {
			b.Fatal(err)
		}
		r.mustRun(func(o *pipeline.RunOptions) { o.Plan = plan })
	}
}

// A seed reaches the build as one program that is named like it, and the paths
// of a context are escaped as the tree format wants.
func TestRunWithSeedAndOddNames(t *testing.T) {
	r := newRoom(t, "-- pipeline.toml --\n"+head+rest+stage("a", "context = \"src\"", "inputs = [\"seed/hex0\"]")+
		"-- a/src/hex0.hex0 --\n7f 45 4c 46\n-- a/src/100% ü b --\nx\n")
	if err := os.Symlink("to here", filepath.Join(r.dir, "a/src/a link")); err != nil {
		t.Fatal(err)
	}
	r.engine.OnSolve = func(_ context.Context, j pipeline.Job) error {
		image, err := openStore(r).Image(j.Inputs[0].Manifest)
		if err != nil {
			return err
		}
		tree, err := openStore(r).ReadLayer(image.Layer.Digest)
		if err != nil {
			return err
		}
		if e, ok := tree.Lookup("hex0"); !ok || e.Mode != 0o755 || e.Size != 4 || tree.Len() != 1 {
			return fmt.Errorf("seed tree\n%s", tree.Text())
		}
		return nil
	}
	rep := r.mustRun()
	if len(rep.Inputs) != 1 || rep.Inputs[0].Name != "seed/hex0" {
		t.Errorf("inputs %+v", rep.Inputs)
	}
	r.mustRun()
	if r.solved() != "[]" {
		t.Errorf("solved %s", r.solved())
	}
}

// A seed's image may have been collected; its text is still there.
func TestRunSeedsAreMadeAgain(t *testing.T) {
	r := newRoom(t, "-- pipeline.toml --\n"+head+rest+stage("a", "inputs = [\"seed/hex0\"]")+"-- a/hex0.hex0 --\n7f\n")
	rep := r.mustRun()
	if err := os.Remove(blob(r, rep.Inputs[0].Manifest)); err != nil {
		t.Fatal(err)
	}
	put(t, r.dir, "-- a/Containerfile --\nFROM seed/hex0\n")
	r.mustRun()
	if r.solved() != "[a]" {
		t.Errorf("solved %s", r.solved())
	}
}

// An interpreter that the kernel would have run for a foreign program is told of,
// also once it is gone: it was there when the stage was built.
func TestRunTellsOfInterpreters(t *testing.T) {
	r := newRoom(t, diamondStages())
	if rep := r.mustRun(); rep.Binfmt != nil {
		t.Errorf("%v", rep.Binfmt)
	}
	r.engine.Env.Binfmt = []string{"qemu-arm"}
	if rep := r.mustRun(); rep.Binfmt != nil {
		t.Errorf("nothing was built under %v", rep.Binfmt)
	}
	put(t, r.dir, "-- d/Containerfile --\nFROM stage/b\n")
	r.mustRun()
	r.engine.Env.Binfmt = []string{"wine"}
	if rep := r.mustRun(); !slices.Equal(rep.Binfmt, []string{"qemu-arm"}) {
		t.Errorf("%v", rep.Binfmt)
	}
	rep := r.mustRun(fresh)
	if !slices.Equal(rep.Binfmt, []string{"qemu-arm", "wine"}) {
		t.Errorf("one build of d had another: %v", rep.Binfmt)
	}
}
