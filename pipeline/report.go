package pipeline

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"rebuild/attest"
	"rebuild/internal/document"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
	"rebuild/stages"
	"rebuild/store"
)

// Report is what one run of a plan did: all that a result statement says, and
// what lineage is computed from. It is kept as runs/PLAN.json below the state
// root, the last run of each plan.
type Report struct {
	SchemaVersion string             `json:"schema_version"`
	Plan          store.Digest       `json:"plan"`
	Pipeline      string             `json:"pipeline"`
	Platform      string             `json:"platform"`
	Outcome       string             `json:"outcome"`           // one of the attest.Outcome constants
	Partial       bool               `json:"partial,omitzero"`  // only some stages were asked for
	Stages        []ReportStage      `json:"stages"`            // that have an output, sorted by name
	Inputs        []ReportInput      `json:"inputs,omitempty"`  // sources, seeds and images used, sorted by name
	Repeat        *attest.Repeat     `json:"repeat,omitempty"`  // nil if nothing was built afresh as a whole
	Failure       *attest.Failure    `json:"failure,omitempty"` // unless the outcome is built
	Environment   attest.Environment `json:"environment"`       // in which all stages were built; a field in which they differ is absent
	Binfmt        []string           `json:"binfmt,omitempty"`  // interpreters that the kernel had registered when a stage was built
	StartedAt     string             `json:"started_at"`
	FinishedAt    string             `json:"finished_at"`
}

// ReportStage is one stage's output and where it came from.
type ReportStage struct {
	Name             stages.Name  `json:"name"`
	Key              store.Digest `json:"key"`            // stage key: plan stage, platform, epoch, input manifests
	Origin           string       `json:"origin"`         // attest.OriginBuilt or attest.OriginReused
	From             store.Digest `json:"from,omitempty"` // reused: payload digest of the result that covered it
	Tree             store.Digest `json:"tree"`
	Manifest         store.Digest `json:"manifest"`
	LayerSize        int64        `json:"layer_size"` // bytes
	ExporterManifest store.Digest `json:"exporter_manifest,omitempty"`
	BuiltAt          string       `json:"built_at"`        // of the newest build of it
	Runs             int          `json:"runs"`            // fresh builds that all gave this output
	Cached           bool         `json:"cached,omitzero"` // not built in this run, though perhaps in an earlier one that no result covered
}

// ReportInput is an input that no stage made, as the image a stage saw.
type ReportInput struct {
	Name     string       `json:"name"`           // source/NAME, seed/NAME or image/NAME
	Tree     store.Digest `json:"tree,omitempty"` // "" for an image
	Manifest store.Digest `json:"manifest"`
}

// Stage returns what the report says of a stage.
func (r *Report) Stage(name stages.Name) (ReportStage, bool) {
	i := slices.IndexFunc(r.Stages, func(s ReportStage) bool { return s.Name == name })
	if i < 0 {
		return ReportStage{}, false
	}
	return r.Stages[i], true
}

func reportPath(state string, plan store.Digest) string {
	return filepath.Join(state, "runs", plan.Hex()+".json")
}

func (r *Report) write(state string) error {
	data, err := document.Encode(r)
	if err != nil {
		return err
	}
	path := reportPath(state, r.Plan)
	if err := durable.MkdirAll(durable.OS{}, filepath.Dir(path)); err != nil {
		return err
	}
	return durable.WriteFile(durable.OS{}, path, data)
}

// ReadReport returns the report of the last run of a plan. The error is USAGE
// if the plan was not run under this state root.
func ReadReport(state string, plan store.Digest) (*Report, error) {
	if _, err := store.ParseDigest(string(plan)); err != nil {
		return nil, err // plan becomes a path
	}
	file := reportPath(state, plan)
	data, err := readRegular(file, document.Run.MaxBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.Usage, "plan %s was not run here", plan).WithHint("run rebuild run first, with the same --pipeline and --state")
	}
	if err != nil {
		return nil, err
	}
	var r Report
	if err := document.Decode(file, data, document.Run, &r); err != nil {
		return nil, err
	}
	if r.Plan != plan {
		return nil, fault.New(fault.Semantic, "the report is about plan %s, not %s", r.Plan, plan).At(file, 0)
	}
	return &r, nil
}

// ResultOf returns the result that an operator may sign for a run. nonce is 64
// hex digits of randomness. The lineage is added by the caller. A partial run
// has no result: the error is USAGE.
func ResultOf(r *Report, operator, nonce string) (attest.Result, error) {
	if r.Partial {
		return attest.Result{}, fault.New(fault.Usage, "the last run built only some stages of plan %s", r.Plan).
			WithHint("run rebuild run without naming stages")
	}
	out := attest.Result{
		SchemaVersion: document.Result.ID(),
		Plan:          r.Plan,
		Operator:      operator,
		Nonce:         nonce,
		Outcome:       r.Outcome,
		Hermetic:      true, // the engine refuses every other solve
		Repeat:        r.Repeat,
		Failure:       r.Failure,
		Environment:   r.Environment,
		StartedAt:     r.StartedAt,
		FinishedAt:    r.FinishedAt,
	}
	for _, s := range r.Stages {
		out.Stages = append(out.Stages, attest.StageResult{
			Name: string(s.Name), Origin: s.Origin, From: s.From,
			Tree: s.Tree, Manifest: s.Manifest, ExporterManifest: s.ExporterManifest,
		})
	}
	return out, nil
}

// CheckOperator refuses an operator other than the one that the stage records
// of a state root name: what one operator built and signed must not be signed
// by another, for it would be one build with two votes. A state root that
// nobody has signed for is anybody's. The error is USAGE. It writes nothing.
func CheckOperator(state, operator string) error {
	return eachRecord(state, func(_ store.Digest, r *stageRecord) error {
		if r.Operator == "" || r.Operator == operator {
			return nil
		}
		return fault.New(fault.Usage, "this state root has results of operator %q, so %q can't sign from it", r.Operator, operator).
			With("operator", r.Operator).
			WithHint("build with a state root of your own: --state DIR")
	})
}

// MarkCovered says in the stage records of a run that a signed result, given
// by the digest of its payload, speaks of them; a later run reports these
// stages as reused from it, and only this operator can sign from the state
// root ([CheckOperator], whose error it returns). Call it after the statement
// is on disk: a record that names a lost result could never be voted with
// again. A record that has changed since the run is left alone.
func MarkCovered(state string, r *Report, payload store.Digest, operator string) error {
	if _, err := store.ParseDigest(string(payload)); err != nil {
		return err
	}
	unlock, err := lockRecords(state)
	if err != nil {
		return err
	}
	defer unlock()
	if err := CheckOperator(state, operator); err != nil {
		return err
	}
	for _, s := range r.Stages {
		rec, ok := readRecord(state, s.Key)
		if !ok || !rec.is(&s) || rec.Result != "" {
			continue
		}
		rec.Result, rec.Operator = payload, operator
		if err := rec.write(state, s.Key); err != nil {
			return err
		}
	}
	return nil
}

// is says whether the record is still the one that a report speaks of.
func (r *stageRecord) is(s *ReportStage) bool {
	return r.Manifest == s.Manifest && r.Tree == s.Tree && r.BuiltAt == s.BuiltAt && r.Runs == s.Runs && r.Differed == nil
}

// Roots returns every digest that the state root still needs: the outputs of
// the stages on record, the inputs made for them, the plans and sources of the
// last runs, and the lineage that signed results name. They are what a garbage
// collection of the store keeps.
func Roots(state string) ([]store.Digest, error) {
	roots := map[store.Digest]bool{}
	err := errors.Join(
		eachRecord(state, func(_ store.Digest, r *stageRecord) error {
			roots[r.Tree], roots[r.Manifest] = true, true
			if o := r.Differed; o != nil {
				roots[o.Tree], roots[o.Manifest] = true, true
			}
			return nil
		}),
		eachFile(filepath.Join(state, inputDir), func(key store.Digest) error {
			if in, ok := readInput(state, key); ok {
				roots[in.Tree], roots[in.Manifest], roots[in.Blob] = true, true, true
			}
			return nil
		}),
		eachFile(filepath.Join(state, "runs"), func(plan store.Digest) error {
			roots[plan] = true
			if r, err := ReadReport(state, plan); err == nil {
				for _, i := range r.Inputs {
					roots[i.Tree], roots[i.Manifest] = true, true
				}
			}
			return nil
		}),
		eachFile(filepath.Join(state, lineageDir), func(report store.Digest) error {
			roots[report] = true
			return nil
		}),
	)
	if err != nil {
		return nil, err
	}
	delete(roots, "")
	return slices.Sorted(maps.Keys(roots)), nil
}

// Roots returns what the plan needs from outside, fetched or not: a garbage
// collection that keeps it spares a second fetch.
func (plan *Plan) Roots() []store.Digest {
	var out []store.Digest
	for _, s := range plan.Doc.Sources {
		out = append(out, s.Digest)
	}
	for _, i := range plan.Doc.Images {
		out = append(out, i.Digest)
	}
	return out
}

// eachFile calls f with the digest in the name of each HEX.json in dir, until
// it errs. A missing dir is an empty one.
func eachFile(dir string, f func(key store.Digest) error) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading records: %w", err)
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		key, err := store.ParseDigest("sha256:" + name)
		if !ok || err != nil {
			continue
		}
		if err := f(key); err != nil {
			return err
		}
	}
	return nil
}
