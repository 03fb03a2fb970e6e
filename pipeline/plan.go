package pipeline

import (
	"slices"
	"strings"
	"time"

	"rebuild/attest"
	"rebuild/bootstrap"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/stages"
	"rebuild/store"
)

// Plan is one plan of a pipeline, for one platform, with what is needed to
// carry it out. It is not changed after it was made.
type Plan struct {
	Doc    attest.Plan
	JSON   []byte       // plan.json
	Digest store.Digest // of JSON: what is voted on

	Pipeline *Pipeline

	steps    []*step        // in the order of Doc.Order
	index    map[string]int // of steps, by name
	seeds    map[string][]byte
	sources  map[string]*sourceUse
	contexts *Contexts
}

// step is one stage of a plan.
type step struct {
	doc   attest.PlanStage
	stage *stages.Stage
	exec  stages.Profile
}

// sourceUse is a source and a stage that declares it.
type sourceUse struct {
	doc     attest.PlanSource
	stage   *stages.Stage
	decl    *stages.Source
	mirrors []mirror // when it is fetched: the URLs of all stages that declare it
}

// PlanOptions are what a plan depends on beside the pipeline.
type PlanOptions struct {
	Lock     *Lock     // nil: there is no rebuild.lock
	Contexts *Contexts // nil: every context is hashed
	// Now decides which files are too young for their digest to be
	// remembered. It is no part of the plan.
	Now time.Time
}

// Plan makes the plan for a platform. It needs no state root, no network and
// no source: hashes are enough. Only the layout of an image that is given by
// the digest of an index is read. It writes nothing.
//
// LOCK_MISSING (21) means that an image has no pinned manifest yet, LOCK_DRIFT
// (21) that rebuild.lock pins something else than the stages declare or the
// layouts of [images] hold; SOURCE_MISMATCH (12) that such a layout is gone.
func (p *Pipeline) Plan(platform string, o PlanOptions) (*Plan, error) {
	if !slices.Contains(p.Platforms, platform) {
		return nil, fault.New(fault.Usage, "pipeline %s is not for platform %q", p.Name, platform).At(p.File, p.src.Line("platforms")).
			WithHint("choose from %s", strings.Join(p.Platforms, ", "))
	}
	plan := &Plan{
		Pipeline: p, contexts: o.Contexts, seeds: map[string][]byte{}, sources: map[string]*sourceUse{},
		Doc: attest.Plan{
			SchemaVersion: document.Plan.ID(), Tree: attest.TreeFormat,
			Pipeline: string(p.Name), Platform: platform, SourceDateEpoch: p.Epoch,
		},
	}
	for _, target := range p.Targets {
		plan.Doc.Targets = append(plan.Doc.Targets, string(target))
	}
	for _, s := range p.reached() {
		if s.Platforms != nil && !slices.Contains(s.Platforms, platform) {
			return nil, s.Fault(fault.Semantic, []any{"platforms"}, "stage %s is not for platform %s", s.Name, platform).
				WithHint("add the platform, or plan for %s", strings.Join(s.Platforms, ", "))
		}
		if err := plan.addStage(s, o); err != nil {
			return nil, err
		}
	}
	return plan, plan.finish(o)
}

// reached returns the stages that the targets need, each after its inputs.
func (p *Pipeline) reached() []*stages.Stage {
	needed := map[stages.Name]bool{}
	for _, target := range p.Targets {
		needed[target] = true
	}
	var out []*stages.Stage
	for _, s := range slices.Backward(p.Stages) { // inputs stand before their users
		if !needed[s.Name] {
			continue
		}
		for _, input := range s.Inputs {
			if input.Kind == stages.KindStage {
				needed[input.Name] = true
			}
		}
		out = append(out, s)
	}
	slices.Reverse(out)
	return out
}

func (plan *Plan) addStage(s *stages.Stage, o PlanOptions) error {
	p := plan.Pipeline
	doc := attest.PlanStage{
		Name:          string(s.Name),
		Containerfile: store.DigestOf(s.Containerfile),
		Exec:          string(p.exec(s)),
		Args:          s.Args,
		Alias:         s.Alias,
		Export:        s.Export,
		Image:         attest.ImageSettings(s.Image),
	}
	if s.HasContext() {
		tree, err := o.Contexts.tree(s, p.dirs[s.Name], o.Now)
		if err != nil {
			return err
		}
		doc.Context = tree
	}
	for _, input := range s.Inputs {
		doc.Inputs = append(doc.Inputs, input.String())
		if err := plan.addInput(s, input, o); err != nil {
			return err
		}
	}
	for i := range s.Sources {
		decl := &s.Sources[i]
		plan.addSource(s, decl)
		if decl.Into != "" {
			if doc.Into == nil {
				doc.Into = map[string]string{}
			}
			doc.Into[string(decl.Name)] = decl.Into
		}
	}
	plan.Doc.Stages = append(plan.Doc.Stages, doc)
	plan.steps = append(plan.steps, &step{doc: doc, stage: s, exec: p.exec(s)})
	return nil
}

func (plan *Plan) addInput(s *stages.Stage, input stages.Input, o PlanOptions) error {
	switch input.Kind {
	case stages.KindSeed:
		return plan.addSeed(s, input)
	case stages.KindImage:
		return plan.addImage(s, input, o)
	}
	return nil
}

// addSeed decodes a seed. Two stages that use one name must mean one seed.
func (plan *Plan) addSeed(s *stages.Stage, input stages.Input) error {
	file, text, err := s.Seed(input.Name)
	if err != nil {
		return err
	}
	seed, err := bootstrap.DecodeHex(file, text)
	if err != nil {
		return err
	}
	name := string(input.Name)
	if other, known := plan.seeds[name]; known {
		if string(other) != string(seed) {
			return s.Fault(fault.Semantic, []any{"inputs", s.InputIndex(input)}, "input %s: %s holds other bytes than another stage's seed of that name", input, file).
				WithHint("give the two seeds two names")
		}
		return nil
	}
	plan.seeds[name] = seed
	plan.Doc.Seeds = append(plan.Doc.Seeds, attest.PlanSeed{Name: name, Digest: store.DigestOf(seed), Size: int64(len(seed))})
	return nil
}

// addImage takes an image's manifest for this platform from the lock.
func (plan *Plan) addImage(s *stages.Stage, input stages.Input, o PlanOptions) error {
	name := string(input.Name)
	if slices.ContainsFunc(plan.Doc.Images, func(i attest.PlanImage) bool { return i.Name == name }) {
		return nil
	}
	at := []any{"inputs", s.InputIndex(input)}
	if o.Lock == nil {
		return s.Fault(fault.LockMissing, at, "input %s: there is no %s that pins the image", input, LockFile).
			WithHint("run rebuild lock")
	}
	pinned, ok := o.Lock.image(name, plan.Doc.Platform)
	if !ok {
		return s.Fault(fault.LockDrift, at, "input %s: %s does not pin the image for %s", input, LockFile, plan.Doc.Platform).
			WithHint("run rebuild lock")
	}
	if err := plan.Pipeline.checkImage(name, plan.Doc.Platform, pinned); err != nil {
		return err
	}
	plan.Doc.Images = append(plan.Doc.Images, attest.PlanImage{Name: name, Digest: pinned})
	return nil
}

func (plan *Plan) addSource(s *stages.Stage, decl *stages.Source) {
	name := string(decl.Name)
	if plan.sources[name] != nil {
		return
	}
	doc := attest.PlanSource{Name: name, Digest: decl.Digest, Size: decl.Size, Unpack: decl.Unpack}
	for _, c := range decl.Code {
		doc.Omit = append(doc.Omit, attest.PlanOmit{Path: c.Path, Digest: c.Digest})
	}
	plan.sources[name] = &sourceUse{doc: doc, stage: s, decl: decl}
	plan.Doc.Sources = append(plan.Doc.Sources, doc)
}

// finish sorts the plan's arrays, so that it does not depend on the order in
// which anything was written, and encodes it.
func (plan *Plan) finish(o PlanOptions) (err error) {
	doc := &plan.Doc
	slices.SortFunc(doc.Stages, func(a, b attest.PlanStage) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(doc.Sources, func(a, b attest.PlanSource) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(doc.Seeds, func(a, b attest.PlanSeed) int { return strings.Compare(a.Name, b.Name) })
	slices.SortFunc(doc.Images, func(a, b attest.PlanImage) int { return strings.Compare(a.Name, b.Name) })
	if o.Lock != nil {
		if err := o.Lock.covers(plan); err != nil {
			return err
		}
	}
	if plan.JSON, err = attest.EncodePlan(doc); err != nil {
		return plan.Pipeline.place(err)
	}
	plan.Digest = store.DigestOf(plan.JSON)
	plan.index = map[string]int{}
	for i, name := range doc.Order() {
		plan.index[name] = i
	}
	slices.SortFunc(plan.steps, func(a, b *step) int { return plan.index[a.doc.Name] - plan.index[b.doc.Name] })
	return nil
}

// Order returns the names of the plan's stages, each after its inputs.
func (plan *Plan) Order() []stages.Name {
	out := make([]stages.Name, len(plan.steps))
	for i, s := range plan.steps {
		out[i] = s.stage.Name
	}
	return out
}

// Stage returns the stage folder behind a stage of the plan, nil if the plan
// has no such stage.
func (plan *Plan) Stage(name stages.Name) *stages.Stage {
	if i, ok := plan.index[string(name)]; ok {
		return plan.steps[i].stage
	}
	return nil
}

// Seed returns the bytes of a seed of the plan, for lineage.
func (plan *Plan) Seed(name stages.Name) ([]byte, bool) {
	b, ok := plan.seeds[string(name)]
	return b, ok
}
