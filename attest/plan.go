package attest

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/internal/names"
	"rebuild/store"
)

// TreeFormat is the only tree format a plan may name.
const TreeFormat = "rebuild.tree.v1"

// MaxEpoch is the latest source_date_epoch: the largest time, in seconds, that
// a ustar header holds.
const MaxEpoch = 8589934591

// Plan is plan.json: everything that decides what the built trees are, and so
// what a vote is about (formats.md 4). Where sources come from, when, where
// and by whom it is built are not in it.
//
// Package pipeline makes plans; everyone else gets one from [DecodePlan].
type Plan struct {
	Images          []PlanImage  `json:"images,omitempty"`
	Pipeline        string       `json:"pipeline"`
	Platform        string       `json:"platform"` // OS/ARCH or OS/ARCH/VARIANT
	SchemaVersion   string       `json:"schema_version"`
	Seeds           []PlanSeed   `json:"seeds,omitempty"`
	SourceDateEpoch int64        `json:"source_date_epoch"`
	Sources         []PlanSource `json:"sources,omitempty"`
	Stages          []PlanStage  `json:"stages"`
	Targets         []string     `json:"targets"`
	Tree            string       `json:"tree"` // TreeFormat
}

// PlanSeed is bytes that the stages may use without anyone having built them.
type PlanSeed struct {
	Name   string       `json:"name"`
	Digest store.Digest `json:"digest"`
	Size   int64        `json:"size"` // bytes
}

// PlanSource is an upstream file by its content.
type PlanSource struct {
	Name   string       `json:"name"`
	Digest store.Digest `json:"digest"`
	Size   int64        `json:"size"`   // bytes
	Unpack string       `json:"unpack"` // UnpackTar or UnpackNone
	Omit   []PlanOmit   `json:"omit,omitempty"`
}

// How a source reaches its stage.
const (
	UnpackTar  = "tar"
	UnpackNone = "none"
)

// PlanOmit is a file that is left out of an unpacked source.
type PlanOmit struct {
	Path   string       `json:"path"`
	Digest store.Digest `json:"digest"`
}

// PlanImage is a foreign image by its manifest.
type PlanImage struct {
	Name   string       `json:"name"`
	Digest store.Digest `json:"digest"`
}

// PlanStage is one build step with one output tree.
type PlanStage struct {
	Alias         map[string]string `json:"alias,omitempty"` // a foreign name to one of Inputs
	Args          map[string]string `json:"args,omitempty"`
	Containerfile store.Digest      `json:"containerfile"`     // of its bytes
	Context       store.Digest      `json:"context,omitempty"` // tree of the stage's own files; "" without any
	Exec          string            `json:"exec"`              // ExecRebuild or ExecBuildkit
	Export        string            `json:"export"`            // absolute path in the final image; "/" is all of it
	Image         ImageSettings     `json:"image,omitzero"`
	Inputs        []string          `json:"inputs,omitempty"` // seed/, source/, image/ or stage/ and a name; sorted
	Into          map[string]string `json:"into,omitempty"`   // a source's name to its path in the context
	Name          string            `json:"name"`
}

// The exec profiles of formats.md 4.
const (
	ExecRebuild  = "rebuild.exec.v1"
	ExecBuildkit = "buildkit.exec.v1"
)

// ImageSettings overrides what a Containerfile declares about its image.
type ImageSettings struct {
	Cmd          []string          `json:"cmd,omitempty"`
	Entrypoint   []string          `json:"entrypoint,omitempty"`
	Env          []string          `json:"env,omitempty"`
	ExposedPorts []string          `json:"exposed_ports,omitempty"`
	Labels       map[string]string `json:"labels,omitempty"`
	StopSignal   string            `json:"stop_signal,omitempty"`
	User         string            `json:"user,omitempty"`
	Volumes      []string          `json:"volumes,omitempty"`
	WorkingDir   string            `json:"working_dir,omitempty"`
}

// IsZero says whether nothing is overridden.
func (s ImageSettings) IsZero() bool {
	return len(s.Cmd)+len(s.Entrypoint)+len(s.Env)+len(s.ExposedPorts)+len(s.Labels)+len(s.Volumes) == 0 &&
		s.StopSignal == "" && s.User == "" && s.WorkingDir == ""
}

// DecodePlan reads plan.json. The errors are those of [document.Decode], then
// SEMANTIC for a plan that [Plan.Validate] refuses.
func DecodePlan(file string, data []byte) (*Plan, error) {
	var p Plan
	if err := document.Decode(file, data, document.Plan, &p); err != nil {
		return nil, err
	}
	if err := p.Validate(); err != nil {
		return nil, fault.In(err, file)
	}
	return &p, nil
}

// EncodePlan validates p and returns the bytes of plan.json. An empty
// SchemaVersion or Tree is filled in.
func EncodePlan(p *Plan) ([]byte, error) {
	full := *p
	if full.SchemaVersion == "" {
		full.SchemaVersion = document.Plan.ID()
	}
	if full.Tree == "" {
		full.Tree = TreeFormat
	}
	if err := full.Validate(); err != nil {
		return nil, err
	}
	b, err := document.Encode(&full)
	if err == nil && int64(len(b)) > document.Plan.MaxBytes {
		err = fault.New(fault.Semantic, "the plan has %d bytes, at most %d are allowed", len(b), document.Plan.MaxBytes)
	}
	return b, err
}

// Digest returns the plan digest: the sha256 of plan.json. It is "", which
// equals no digest in a document, for a plan that [EncodePlan] refuses.
func (p *Plan) Digest() store.Digest {
	b, err := EncodePlan(p)
	if err != nil {
		return ""
	}
	return store.DigestOf(b)
}

// Stage returns the stage called name.
func (p *Plan) Stage(name string) (PlanStage, bool) {
	i := slices.IndexFunc(p.Stages, func(s PlanStage) bool { return s.Name == name })
	if i < 0 {
		return PlanStage{}, false
	}
	return p.Stages[i], true
}

// SeedBytes returns the sum of the seeds' sizes.
func (p *Plan) SeedBytes() int64 {
	var n int64
	for _, s := range p.Seeds {
		n += s.Size
	}
	return n
}

// StageInputs returns the names of the stages that s takes its inputs from,
// sorted.
func (s *PlanStage) StageInputs() []string {
	var out []string
	for _, in := range s.Inputs {
		if name, ok := strings.CutPrefix(in, "stage/"); ok {
			out = append(out, name)
		}
	}
	return out
}

// Order returns the stage names so that each stands after its inputs, and
// otherwise by name. A valid plan has such an order; of stages on a cycle
// none is returned.
func (p *Plan) Order() []string {
	waits := map[string]int{}
	users := map[string][]string{}
	for i := range p.Stages {
		s := &p.Stages[i]
		waits[s.Name] = len(s.StageInputs())
		for _, in := range s.StageInputs() {
			users[in] = append(users[in], s.Name)
		}
	}
	var ready, order []string
	for name, n := range waits {
		if n == 0 {
			ready = append(ready, name)
		}
	}
	slices.Sort(ready)
	for len(ready) > 0 {
		name := ready[0]
		ready = ready[1:]
		order = append(order, name)
		for _, u := range users[name] {
			if waits[u]--; waits[u] == 0 {
				at, _ := slices.BinarySearch(ready, u)
				ready = slices.Insert(ready, at, u)
			}
		}
	}
	return order
}

// planIndex is what judging many results of one plan needs of it, computed
// once.
type planIndex struct {
	plan      *Plan
	digest    store.Digest
	stage     map[string]*PlanStage
	order     []string
	seedBytes int64
}

func newPlanIndex(p *Plan) *planIndex { return indexPlan(p, p.Digest()) }

// indexPlan is newPlanIndex of a plan whose digest is known.
func indexPlan(p *Plan, digest store.Digest) *planIndex {
	ix := &planIndex{plan: p, digest: digest, stage: map[string]*PlanStage{}, order: p.Order(), seedBytes: p.SeedBytes()}
	for i := range p.Stages {
		ix.stage[p.Stages[i].Name] = &p.Stages[i]
	}
	return ix
}

var (
	platformGrammar = regexp.MustCompile(`^[a-z][a-z0-9]*/[a-z0-9]+(/[a-z0-9]+)?$`)
	argGrammar      = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// Validate checks what the plan means: names, digests, sorted arrays, that
// every reference has its target and everything is reached from the targets.
// Errors are SEMANTIC, or STRUCTURE for a malformed name or digest.
func (p *Plan) Validate() error {
	if err := document.Plan.CheckVersion("", p.SchemaVersion); err != nil {
		return err
	}
	if err := names.Check(p.Pipeline); err != nil {
		return within(err, "pipeline")
	}
	switch {
	case !platformGrammar.MatchString(p.Platform):
		return fault.New(fault.Structure, "platform %q is not OS/ARCH or OS/ARCH/VARIANT", p.Platform)
	case p.SourceDateEpoch < 1 || p.SourceDateEpoch > MaxEpoch:
		return fault.New(fault.Semantic, "source_date_epoch %d is not within 1 to %d", p.SourceDateEpoch, int64(MaxEpoch))
	case p.Tree != TreeFormat:
		return fault.New(fault.Semantic, "tree format %q is not %s", p.Tree, TreeFormat)
	case len(p.Stages) == 0:
		return fault.New(fault.Semantic, "the plan has no stages")
	case len(p.Targets) == 0:
		return fault.New(fault.Semantic, "the plan has no targets")
	}
	known := map[string]bool{} // every input by its full name
	for _, check := range []func(map[string]bool) error{p.checkSeeds, p.checkSources, p.checkImages, p.checkStages} {
		if err := check(known); err != nil {
			return err
		}
	}
	for i := range p.Stages {
		if err := p.Stages[i].validate(known); err != nil {
			return within(err, "stage "+p.Stages[i].Name)
		}
	}
	return p.checkReach(known)
}

func (p *Plan) checkSeeds(known map[string]bool) error {
	return checkItems(known, "seed", p.Seeds, func(s PlanSeed) (string, error) {
		return s.Name, checkBlob(s.Digest, s.Size)
	})
}

func (p *Plan) checkSources(known map[string]bool) error {
	return checkItems(known, "source", p.Sources, func(s PlanSource) (string, error) {
		if err := checkBlob(s.Digest, s.Size); err != nil {
			return s.Name, err
		}
		if s.Unpack != UnpackTar && s.Unpack != UnpackNone {
			return s.Name, fault.New(fault.Semantic, "unpack %q is neither tar nor none", s.Unpack)
		}
		if s.Unpack == UnpackNone && len(s.Omit) > 0 {
			return s.Name, fault.New(fault.Semantic, "files are omitted but the source is not unpacked")
		}
		last := ""
		for _, o := range s.Omit {
			if err := checkPath(o.Path); err != nil {
				return s.Name, err
			}
			if o.Path <= last {
				return s.Name, fault.New(fault.Semantic, "omit is not sorted or repeats %q", o.Path)
			}
			last = o.Path
			if _, err := store.ParseDigest(string(o.Digest)); err != nil {
				return s.Name, err
			}
		}
		return s.Name, nil
	})
}

func (p *Plan) checkImages(known map[string]bool) error {
	return checkItems(known, "image", p.Images, func(i PlanImage) (string, error) {
		_, err := store.ParseDigest(string(i.Digest))
		return i.Name, err
	})
}

func (p *Plan) checkStages(known map[string]bool) error {
	return checkItems(known, "stage", p.Stages, func(s PlanStage) (string, error) { return s.Name, nil })
}

// checkItems checks one of the plan's arrays: names, order, twins and what
// check finds wrong with one item.
func checkItems[T any](known map[string]bool, kind string, items []T, check func(T) (string, error)) error {
	all := make([]string, len(items))
	for i, item := range items {
		name, err := check(item)
		if err == nil {
			err = names.Check(name)
		}
		if err != nil {
			return within(err, kind+" "+name)
		}
		all[i] = name
		known[kind+"/"+name] = true
	}
	return checkSorted(kind+"s", all)
}

func checkSorted(what string, all []string) error {
	if !slices.IsSorted(all) {
		return fault.New(fault.Semantic, "%s are not sorted by name", what)
	}
	if err := names.Distinct(all); err != nil {
		return within(err, what)
	}
	return nil
}

func checkBlob(d store.Digest, size int64) error {
	if size < 0 {
		return fault.New(fault.Semantic, "size %d is negative", size)
	}
	_, err := store.ParseDigest(string(d))
	return err
}

// checkPath accepts a relative path that stays inside and has one spelling.
func checkPath(s string) error {
	if s == "" || s == "." || len(s) > 4096 || path.Clean("/"+s) != "/"+s || strings.ContainsRune(s, 0) {
		return fault.New(fault.Structure, "%.80q is not a relative path in its shortest form", s)
	}
	return nil
}

func (s *PlanStage) validate(known map[string]bool) error {
	if _, err := store.ParseDigest(string(s.Containerfile)); err != nil {
		return within(err, "containerfile")
	}
	if s.Context != "" {
		if _, err := store.ParseDigest(string(s.Context)); err != nil {
			return within(err, "context")
		}
	}
	if s.Exec != ExecRebuild && s.Exec != ExecBuildkit {
		return fault.New(fault.Semantic, "exec %q is neither %s nor %s", s.Exec, ExecRebuild, ExecBuildkit)
	}
	if s.Export != "/" && (!strings.HasPrefix(s.Export, "/") || checkPath(s.Export[1:]) != nil) {
		return fault.New(fault.Structure, "export %.80q is not an absolute path in its shortest form", s.Export)
	}
	for i, in := range s.Inputs {
		if !known[in] {
			return fault.New(fault.Semantic, "input %q is not in the plan", in)
		}
		if i > 0 && in <= s.Inputs[i-1] {
			return fault.New(fault.Semantic, "inputs are not sorted or repeat %q", in)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Args)) {
		if !argGrammar.MatchString(name) {
			return fault.New(fault.Structure, "build argument %.80q is not a variable name", name)
		}
	}
	return s.validatePlaces(known)
}

func (s *PlanStage) validatePlaces(known map[string]bool) error {
	for _, name := range slices.Sorted(maps.Keys(s.Alias)) {
		if name == "" || !slices.Contains(s.Inputs, s.Alias[name]) {
			return fault.New(fault.Semantic, "alias %q stands for %q, which is not an input", name, s.Alias[name])
		}
	}
	placed := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(s.Into)) {
		to := s.Into[name]
		if !known["source/"+name] {
			return fault.New(fault.Semantic, "source %q, placed at %q, is not in the plan", name, to)
		}
		if err := checkPath(to); err != nil {
			return err
		}
		if other, taken := placed[to]; taken {
			return fault.New(fault.Semantic, "sources %q and %q are both placed at %q", other, name, to)
		}
		placed[to] = name
	}
	return nil
}

// checkReach refuses cycles and whatever the targets do not need, so that one
// set of targets has one plan.
func (p *Plan) checkReach(known map[string]bool) error {
	if order := p.Order(); len(order) != len(p.Stages) {
		for _, s := range p.Stages {
			if !slices.Contains(order, s.Name) {
				return fault.New(fault.Semantic, "stage %s is on a cycle or needs one", s.Name)
			}
		}
	}
	if err := checkSorted("targets", p.Targets); err != nil {
		return err
	}
	stage := map[string]*PlanStage{}
	for i := range p.Stages {
		stage["stage/"+p.Stages[i].Name] = &p.Stages[i]
	}
	reached := map[string]bool{}
	var todo []string
	for _, t := range p.Targets {
		if !known["stage/"+t] {
			return fault.New(fault.Semantic, "target %q is not a stage of the plan", t)
		}
		todo = append(todo, "stage/"+t)
	}
	for len(todo) > 0 {
		name := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if reached[name] {
			continue
		}
		reached[name] = true
		if s := stage[name]; s != nil {
			todo = append(todo, s.Inputs...)
			for source := range s.Into {
				todo = append(todo, "source/"+source)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if !reached[name] {
			return fault.New(fault.Semantic, "%s is in the plan but no target needs it", name)
		}
	}
	return nil
}

// within prefixes an error's message with the part of a document it is about.
func within(err error, what string) error {
	if e, ok := err.(*fault.Error); ok {
		e.Message = what + ": " + e.Message
		return e
	}
	return fmt.Errorf("%s: %w", what, err)
}
