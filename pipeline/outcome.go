package pipeline

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"rebuild/attest"
	"rebuild/internal/document"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
	"rebuild/stages"
	"rebuild/store"
)

// finish tags the targets, writes the report and turns a failed step into the
// error of the run.
func (r *runner) finish(failed int, cause error) (*Report, error) {
	rep, err := r.report(cause)
	if err != nil {
		return nil, err
	}
	var end error
	if failed >= 0 {
		var signable bool
		if signable, end = r.fail(rep, cause); !signable {
			return nil, end
		}
	} else if err := r.verifyTargets(); err != nil {
		return nil, err
	} else if err := r.tag(); err != nil {
		return nil, err
	}
	if err := durable.MkdirAll(durable.OS{}, r.State); err != nil {
		return nil, err
	}
	if err := rep.write(r.State); err != nil {
		return nil, errors.Join(end, err)
	}
	return rep, end
}

// fail adds the failure to the report and words it. A failure that is neither
// the stage's nor the machine's, such as a refusal, is no outcome to sign.
func (r *runner) fail(rep *Report, cause error) (signable bool, err error) {
	var d *differs
	if errors.As(cause, &d) {
		rep.Outcome = attest.OutcomeNotDeterministic
		rep.Failure = &attest.Failure{Stage: string(d.stage), Class: rep.Outcome}
		rep.Repeat = &attest.Repeat{Runs: d.record.Runs, Varied: d.record.Varied, Equal: false}
		return true, fault.New(fault.NotDeterministic, "%w", d).
			With("stage", string(d.stage)).With("before", string(d.record.Tree)).With("now", string(d.record.Differed.Tree)).
			WithHint("compare the two trees, both are in the store; to start anew, remove %s", recordPath(r.State, d.key))
	}
	var se *StageError
	if !errors.As(cause, &se) {
		return false, cause
	}
	rep.Repeat = nil
	rep.Outcome = cmp.Or(se.Class, InfraFailed)
	rep.Failure = &attest.Failure{Stage: string(se.Stage), Class: rep.Outcome, ExitStatus: se.ExitStatus, Log: logTail(se.Log)}
	code, hint := fault.StageFailed, "read the end of its output; what was built before it is kept"
	if rep.Outcome == InfraFailed {
		code, hint = fault.EngineUnavailable, "rebuild doctor checks the machine"
	}
	return true, fault.New(code, "%w", se).With("stage", string(se.Stage)).With("class", rep.Outcome).
		With("exit_status", se.ExitStatus).With("log", rep.Failure.Log).WithHint("%s", hint)
}

// maxLog bounds the log that a result carries, in bytes; a statement may have
// 1 MiB and every verifier reads it.
const maxLog = 16 << 10

// logTail returns the end of a log as text that canonical JSON can hold.
func logTail(log []byte) string {
	if len(log) > maxLog {
		log = log[len(log)-maxLog:]
	}
	return strings.ToValidUTF8(string(log), "?")
}

// report gathers what the run did so far. cause is why it ended, if it failed.
func (r *runner) report(cause error) (*Report, error) {
	rep := &Report{
		SchemaVersion: document.Run.ID(), Plan: r.Plan.Digest, Pipeline: r.Plan.Doc.Pipeline, Platform: r.Plan.Doc.Platform,
		Outcome: attest.OutcomeBuilt, Partial: slices.Contains(r.wanted, false), Stages: []ReportStage{},
		Environment: r.claimed(cause), Binfmt: r.interpreters(),
	}
	var err error
	if rep.StartedAt, err = attest.FormatTime(r.started); err != nil {
		return nil, err
	}
	if rep.FinishedAt, err = attest.FormatTime(r.Now()); err != nil {
		return nil, err
	}
	inputs, substituted := map[string]bool{}, false
	for i, out := range r.outputs {
		if out == nil {
			continue
		}
		rep.Stages = append(rep.Stages, out.report(r.Plan.steps[i]))
		if substituted = substituted || out.record.substituted; !out.record.substituted {
			rep.Repeat = repeatOf(rep.Repeat, &out.record)
		}
		for _, name := range r.Plan.steps[i].doc.Inputs {
			if in, ok := r.known.inputs[name]; ok && !inputs[name] {
				inputs[name] = true
				rep.Inputs = append(rep.Inputs, in)
			}
		}
	}
	if substituted {
		rep.Repeat = nil // the plan was not built as a whole
	}
	slices.SortFunc(rep.Stages, func(a, b ReportStage) int { return cmp.Compare(a.Name, b.Name) })
	slices.SortFunc(rep.Inputs, func(a, b ReportInput) int { return cmp.Compare(a.Name, b.Name) })
	return rep, nil
}

// repeatOf narrows what is said of the run by one more stage: it was built
// afresh as often as the stage that was built least, and only what every stage
// was varied in was varied.
func repeatOf(r *attest.Repeat, rec *stageRecord) *attest.Repeat {
	if r == nil {
		return &attest.Repeat{Runs: rec.Runs, Varied: rec.Varied, Equal: true}
	}
	both := slices.DeleteFunc(slices.Clone(r.Varied), func(v string) bool { return !slices.Contains(rec.Varied, v) })
	return &attest.Repeat{Runs: min(r.Runs, rec.Runs), Varied: both, Equal: true}
}

func (o *stageOutput) report(s *step) ReportStage {
	out := ReportStage{
		Name: s.stage.Name, Key: o.key, Origin: attest.OriginBuilt,
		Tree: o.record.Tree, Manifest: o.record.Manifest, LayerSize: o.record.LayerSize, Cached: o.cached,
		BuiltAt: o.record.BuiltAt, Runs: o.record.Runs,
	}
	if s.stage.Exporter != nil {
		out.ExporterManifest = o.record.ExporterManifest
	}
	if o.record.substituted {
		out.Origin = attest.OriginSubstituted
	}
	if o.record.Result != "" {
		out.Origin, out.From = attest.OriginReused, o.record.Result
	}
	return out
}

// interpreters are those that the kernel would have run when a stage was built.
func (r *runner) interpreters() []string {
	var all []string
	for _, out := range r.outputs {
		if out != nil && !out.record.substituted {
			all = union(all, out.record.Binfmt)
		}
	}
	return all
}

// claimed is the environment that a result may claim: where the outputs were
// built, and where the stage failed that failed. What they do not agree on is
// left out: nothing was built in that environment as a whole.
func (r *runner) claimed(cause error) attest.Environment {
	var all []attest.Environment
	for _, out := range r.outputs {
		if out != nil && !out.record.substituted {
			all = append(all, out.record.Environment)
		}
	}
	var d *differs
	if errors.As(cause, &d) {
		all = append(all, d.record.Environment)
	} else if cause != nil || len(all) == 0 {
		all = append(all, r.environment())
	}
	for _, e := range all[1:] {
		narrow(&all[0], &e)
	}
	return all[0]
}

// narrow clears the fields of e in which other differs.
func narrow(e, other *attest.Environment) {
	keep(&e.Rebuild, other.Rebuild)
	keep(&e.RebuildDigest, other.RebuildDigest)
	keep(&e.Engine, other.Engine)
	keep(&e.EngineVersion, other.EngineVersion)
	keep(&e.Runtime, other.Runtime)
	keep(&e.RuntimeDigest, other.RuntimeDigest)
	keep(&e.Kernel, other.Kernel)
	keep(&e.CPUVendor, other.CPUVendor)
	keep(&e.Filesystem, other.Filesystem)
}

func keep[T ~string](have *T, other T) {
	if *have != other {
		*have = ""
	}
}

// environment is that of this process.
func (r *runner) environment() attest.Environment {
	return attest.Environment{
		Rebuild: r.Rebuild, RebuildDigest: r.RebuildDigest,
		Engine: r.env.Engine, EngineVersion: r.env.EngineVersion,
		Runtime: r.env.Runtime, RuntimeDigest: r.env.RuntimeDigest,
		Kernel: r.env.Kernel, CPUVendor: r.env.CPUVendor, Filesystem: r.env.Filesystem,
	}
}

// tag lets the store's index.json name the targets, for people and other
// tools. Tags that stand right already are not written again.
func (r *runner) tag() error {
	if r.blobs == nil {
		return nil
	}
	tags, err := r.blobs.Tags()
	if err != nil {
		return err
	}
	for _, target := range r.Plan.Doc.Targets {
		r.mu.Lock()
		out := r.output(target)
		r.mu.Unlock()
		if out == nil {
			continue
		}
		entry := store.TagEntry{Name: TagOf(r.Plan, stages.Name(target)), Manifest: out.record.Manifest}
		if slices.Contains(tags, entry) {
			continue
		}
		if err := r.blobs.Tag(entry.Name, entry.Manifest); err != nil {
			return err
		}
	}
	return nil
}

// TagOf returns the name under which the store's index.json lists the output
// of a target: PIPELINE/STAGE:OS-ARCHITECTURE.
func TagOf(plan *Plan, target stages.Name) string {
	return plan.Doc.Pipeline + "/" + string(target) + ":" + strings.ReplaceAll(plan.Doc.Platform, "/", "-")
}
