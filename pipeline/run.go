package pipeline

import (
	"context"
	"sync"
	"time"

	"rebuild/internal/fault"
	"rebuild/stages"
	"rebuild/store"
)

// RunOptions say how a plan is carried out.
type RunOptions struct {
	Plan   *Plan
	State  string // state root; made when the first stage is about to be built
	Engine Engine
	Jobs   int  // stages built at one time; less than 1 is 1
	Fresh  bool // build every stage again, and compare with what is on record
	// Stages are the ones to build, with all they need; nil is the whole plan.
	Stages []stages.Name
	// Substitution, if not nil, is what others built, and is not built again.
	Substitution *Substitution
	Now          func() time.Time
	// Rebuild and RebuildDigest name this program in the environment of results.
	Rebuild       string
	RebuildDigest store.Digest
	// Events, if not nil, is told of progress, by one goroutine at a time.
	Events func(Event)
}

// Event is one step of progress.
type Event struct {
	Kind   EventKind
	Stage  stages.Name
	Done   int           // stages that have an output by now
	Total  int           // stages asked for
	Output Output        // of Cached and Built
	Took   time.Duration // of Built and Failed
	Err    error         // of Failed
}

// EventKind is the type of an Event.
type EventKind string

// The kinds of events. Each stage has one Cached, or one Started and then one
// Built, Cached or Failed.
const (
	Cached  EventKind = "cached"
	Started EventKind = "started"
	Built   EventKind = "built"
	Failed  EventKind = "failed"
)

// Run carries out a plan: every stage that has no record is built, ready ones
// side by side, in the order of the plan. The life of a run:
//
//  1. The records are read. Stages on record for exactly these inputs, under
//     the engine's LLB policy, with their blobs in the store, are done.
//  2. Engine.Check judges every other stage's Containerfile, and every source
//     and image that they need must be in the store. Up to here nothing has
//     been written, not even the state root.
//  3. Contexts and seeds go into the store, and stages are built. After each
//     the record is written, last: a crash at any moment leaves a state root
//     that the next run continues from.
//  4. The targets get their tags and the report is written.
//
// If a stage fails, no further one is started; those that run are waited for,
// so their work is kept. Of several failures the one that is first in the
// plan's order is returned, with the report if there is a result to sign: that
// of a run that built, failed in a stage (STAGE_FAILED, ENGINE_UNAVAILABLE) or
// was not deterministic (NOT_DETERMINISTIC). Cancelling ctx ends it with
// INTERRUPTED and no report. All goroutines have ended when Run returns.
func Run(ctx context.Context, o RunOptions) (*Report, error) {
	r, err := newRunner(ctx, o)
	if err != nil {
		return nil, err
	}
	if err := r.check(ctx); err != nil {
		return nil, interrupted(ctx, err)
	}
	if err := r.prepare(); err != nil {
		return nil, err
	}
	failed, err := r.buildAll(ctx)
	if err := interrupted(ctx, nil); err != nil {
		return nil, err
	}
	return r.finish(failed, err)
}

// interrupted turns the end of ctx into the error that says so.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fault.New(fault.Interrupted, "stopped: %w", context.Cause(ctx)).
			WithHint("run the same command again; it continues at the first stage without a result")
	}
	return err
}

// runner is one call of Run.
type runner struct {
	RunOptions
	env     Environment
	known   *surveyed
	blobs   *store.Store // nil until prepare, if there was none
	started time.Time
	wanted  []bool         // by step
	context []store.Digest // manifests, by step

	mu       sync.Mutex // guards what follows, and the calls of Events
	outputs  []*stageOutput
	done     int
	total    int
	flights  map[string]*flight
	unpacked map[string]bool // sources that this run has unpacked
}

// stageOutput is a finished step.
type stageOutput struct {
	key    store.Digest
	record stageRecord
	cached bool
}

func newRunner(ctx context.Context, o RunOptions) (*runner, error) {
	r := &runner{RunOptions: o, started: o.Now(), flights: map[string]*flight{}, unpacked: map[string]bool{}}
	r.Jobs = max(r.Jobs, 1)
	var err error
	if r.env, err = o.Engine.Environment(ctx); err != nil {
		return nil, err
	}
	if r.wanted, err = o.Plan.closure(o.Stages); err != nil {
		return nil, err
	}
	if r.blobs, err = openExisting(o.State); err != nil {
		return nil, err
	}
	if r.known, err = o.Plan.survey(o.State, r.blobs, r.env.Policy, o.Fresh, o.Substitution); err != nil {
		return nil, err
	}
	r.outputs = make([]*stageOutput, len(o.Plan.steps))
	r.context = make([]store.Digest, len(o.Plan.steps))
	for i := range o.Plan.steps {
		if !r.wanted[i] {
			continue
		}
		r.total++
		if rec := r.known.records[i]; rec != nil {
			r.outputs[i] = &stageOutput{r.known.keys[i], *rec, true}
		}
	}
	return r, nil
}

// closure marks the named stages and all they need; nil names are all stages.
func (plan *Plan) closure(only []stages.Name) ([]bool, error) {
	wanted := make([]bool, len(plan.steps))
	for _, name := range only {
		i, ok := plan.index[string(name)]
		if !ok {
			return nil, fault.New(fault.Usage, "stage %q is not in the plan", name).
				WithHint("rebuild plan lists the stages that the targets need")
		}
		wanted[i] = true
	}
	for i := len(plan.steps) - 1; i >= 0; i-- { // users come after their inputs
		if only == nil {
			wanted[i] = true
		}
		for _, name := range plan.steps[i].doc.StageInputs() {
			j := plan.index[name]
			wanted[j] = wanted[j] || wanted[i]
		}
	}
	return wanted, nil
}

// missing marks the steps that are wanted and have no output.
func (r *runner) missing() []bool {
	out := make([]bool, len(r.outputs))
	for i := range out {
		out[i] = r.wanted[i] && r.outputs[i] == nil
	}
	return out
}

// check judges every stage that may be built. A stage on record was judged
// when it was built, under the same policy.
func (r *runner) check(ctx context.Context) error {
	missing := r.missing()
	// Without an image's config a Containerfile can't be converted.
	if err := r.Plan.checkPresent(r.blobs, r.known, missing, stages.KindImage); err != nil {
		return err
	}
	errs := make([]error, len(missing))
	slots := make(chan struct{}, r.Jobs)
	var wg sync.WaitGroup
	for i := range missing {
		if !missing[i] {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			errs[i] = r.Engine.Check(ctx, r.job(i, r.known.manifests))
			<-slots
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return r.Plan.checkPresent(r.blobs, r.known, missing, stages.KindSource)
}

// job pins a step as far as the manifests of its inputs are known.
func (r *runner) job(i int, manifests map[string]store.Digest) Job {
	s, p := r.Plan.steps[i], r.Plan.Pipeline
	j := Job{
		Stage: s.stage.Name, Platform: r.Plan.Doc.Platform, Epoch: r.Plan.Doc.SourceDateEpoch, Exec: s.exec,
		Containerfile: s.stage.Containerfile, File: s.stage.ContainerfileName,
		Context: r.context[i], Files: func() ([]ContextFile, error) { return ownFiles(s.stage, r.blobs) }, Alias: s.stage.Alias, Args: s.stage.Args, Export: s.stage.Export,
		Image: s.stage.Image, Exporter: s.stage.Exporter, Strict: p.Strict,
	}
	for _, name := range s.doc.Inputs {
		j.Inputs = append(j.Inputs, Input{Name: name, Manifest: manifests[name]})
	}
	return j
}

// buildAll starts steps in the order of the plan as their inputs become ready
// and returns the first failed one, -1 if none failed.
func (r *runner) buildAll(ctx context.Context) (failed int, err error) {
	for i, out := range r.outputs {
		if out != nil {
			r.tell(Event{Kind: Cached, Output: out.output()}, i, 1)
		}
	}
	type ended struct {
		step int
		err  error
	}
	ends := make(chan ended)
	todo := r.missing()
	failed, running := -1, 0
	for {
		for failed < 0 && ctx.Err() == nil && running < r.Jobs {
			i := r.next(todo)
			if i < 0 {
				break
			}
			todo[i] = false
			running++
			go func() { ends <- ended{i, r.step(ctx, i)} }()
		}
		if running == 0 {
			return failed, err
		}
		end := <-ends
		running--
		if end.err != nil && (failed < 0 || end.step < failed) {
			failed, err = end.step, end.err
		}
	}
}

// next returns the first step to do whose inputs are done, or -1.
func (r *runner) next(todo []bool) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range todo {
		if todo[i] && r.ready(i) {
			return i
		}
	}
	return -1
}

func (r *runner) ready(i int) bool {
	for _, name := range r.Plan.steps[i].doc.StageInputs() {
		if r.output(name) == nil {
			return false
		}
	}
	return true
}

// output returns the output of a stage. The caller holds mu.
func (r *runner) output(name string) *stageOutput {
	return r.outputs[r.Plan.index[name]]
}

func (o *stageOutput) output() Output {
	return Output{Tree: o.record.Tree, Manifest: o.record.Manifest, LayerSize: o.record.LayerSize, ExporterManifest: o.record.ExporterManifest}
}

// tell reports an event of step i and counts finished steps.
func (r *runner) tell(e Event, i, finished int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done += finished
	e.Stage, e.Done, e.Total = r.Plan.steps[i].stage.Name, r.done, r.total
	if r.Events != nil {
		r.Events(e)
	}
}

// step finishes one step and reports on it.
func (r *runner) step(ctx context.Context, i int) error {
	begin := r.Now()
	r.tell(Event{Kind: Started}, i, 0)
	out, err := r.build(ctx, i)
	if err != nil {
		r.tell(Event{Kind: Failed, Took: r.Now().Sub(begin), Err: err}, i, 0)
		return err
	}
	r.mu.Lock()
	r.outputs[i] = out
	r.mu.Unlock()
	kind := Built
	if out.cached {
		kind = Cached
	}
	r.tell(Event{Kind: kind, Took: r.Now().Sub(begin), Output: out.output()}, i, 1)
	return nil
}
