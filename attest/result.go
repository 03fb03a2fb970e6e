package attest

import (
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/internal/names"
	"rebuild/store"
)

// PredicateResult is the predicateType of a result statement.
const PredicateResult = "urn:rebuild:result:1"

// The outcomes of a run.
const (
	OutcomeBuilt            = "built"
	OutcomeBuildFailed      = "build-failed" // a command of a stage failed
	OutcomeInfraFailed      = "infra-failed" // the machine or engine failed; says nothing about the plan
	OutcomeTimedOut         = "timed-out"
	OutcomeNotDeterministic = "not-deterministic" // two fresh runs differed
)

// Where a stage's output came from.
const (
	OriginBuilt       = "built"       // by this operator in this run
	OriginReused      = "reused"      // by this operator earlier, from equal inputs
	OriginSubstituted = "substituted" // by someone else; never part of a vote
)

// maxFailureLog bounds the Failure.Log that we write: every verifier of the
// plan reads it.
const maxFailureLog = 64 << 10

// Result is the predicate of one operator's rebuild of one plan: its vote, or
// why there is none (formats.md 5). Its fields and those of its parts stand in
// the order of the canonical form, so that what is written need not be sorted.
type Result struct {
	Environment   Environment   `json:"environment"`
	Failure       *Failure      `json:"failure,omitempty"` // unless built
	FinishedAt    string        `json:"finished_at"`       // a claim, never an order
	Hermetic      bool          `json:"hermetic"`
	Lineage       *Lineage      `json:"lineage,omitempty"`
	Nonce         string        `json:"nonce"` // 64 hex digits of randomness
	Operator      string        `json:"operator"`
	Outcome       string        `json:"outcome"`
	Outputs       store.Digest  `json:"outputs,omitempty"`
	Plan          store.Digest  `json:"plan"`
	Repeat        *Repeat       `json:"repeat,omitempty"`
	SchemaVersion string        `json:"schema_version"`
	Stages        []StageResult `json:"stages"`     // sorted by name; all of the plan's when built
	StartedAt     string        `json:"started_at"` // a claim, never an order
}

// StageResult is what came out of one stage.
type StageResult struct {
	ExporterManifest store.Digest `json:"exporter_manifest,omitempty"` // BuildKit's own; never voted on
	// From is, for a reused stage, the payload digest of the result it was
	// built in, a result of the same operator, or else this one is no vote; ""
	// if that run was never attested.
	From     store.Digest `json:"from,omitempty"`
	Manifest store.Digest `json:"manifest"`
	Name     string       `json:"name"`
	Origin   string       `json:"origin"`
	Tree     store.Digest `json:"tree"`
}

// Repeat says how often the plan was built afresh and what was varied.
type Repeat struct {
	Equal  bool     `json:"equal"`
	Runs   int      `json:"runs"` // fresh runs only
	Varied []string `json:"varied,omitempty"`
}

// Lineage is the trace of every executable back to the seeds.
type Lineage struct {
	Executables int          `json:"executables"`
	OpaqueBytes int64        `json:"opaque_bytes"` // machine code that nothing traced explains
	Report      store.Digest `json:"report,omitempty"`
	SeedBytes   int64        `json:"seed_bytes"`
	Untraced    int          `json:"untraced"`
}

// Complete says whether everything leads back to the seeds. A result without
// a lineage is not complete.
func (l *Lineage) Complete() bool { return l != nil && l.OpaqueBytes == 0 && l.Untraced == 0 }

// Failure says why an outcome is not built.
type Failure struct {
	Class      string `json:"class,omitempty"`
	ExitStatus int    `json:"exit_status,omitzero"`
	Log        string `json:"log,omitempty"`   // the end of it, at most 64 KiB
	Stage      string `json:"stage,omitempty"` // "" if no stage was running
}

// Environment is what the operator says about its machine. Diversity is
// counted over these claims; nobody can check them.
type Environment struct {
	CPUVendor     string       `json:"cpu_vendor,omitempty"`
	Engine        string       `json:"engine,omitempty"`
	EngineVersion string       `json:"engine_version,omitempty"`
	Filesystem    string       `json:"filesystem,omitempty"`
	Kernel        string       `json:"kernel,omitempty"`
	Rebuild       string       `json:"rebuild,omitempty"` // version
	RebuildDigest store.Digest `json:"rebuild_digest,omitempty"`
	Runtime       string       `json:"runtime,omitempty"`
	RuntimeDigest store.Digest `json:"runtime_digest,omitempty"`
}

// environmentFields are the names that diversity can count over without a
// label, with their values.
var environmentFields = map[string]func(*Environment) string{
	"rebuild":        func(e *Environment) string { return e.Rebuild },
	"rebuild_digest": func(e *Environment) string { return string(e.RebuildDigest) },
	"engine":         func(e *Environment) string { return e.Engine },
	"engine_version": func(e *Environment) string { return e.EngineVersion },
	"runtime":        func(e *Environment) string { return e.Runtime },
	"runtime_digest": func(e *Environment) string { return string(e.RuntimeDigest) },
	"kernel":         func(e *Environment) string { return e.Kernel },
	"cpu_vendor":     func(e *Environment) string { return e.CPUVendor },
	"filesystem":     func(e *Environment) string { return e.Filesystem },
}

// Outputs returns the value that is voted on: the sha256 of the canonical
// array of {manifest, name, tree} over stages, sorted by name.
func Outputs(stages []StageResult) store.Digest {
	type output struct {
		Manifest store.Digest `json:"manifest"`
		Name     string       `json:"name"`
		Tree     store.Digest `json:"tree"`
	}
	out := make([]output, len(stages))
	for i, s := range stages {
		out[i] = output{s.Manifest, s.Name, s.Tree}
	}
	slices.SortFunc(out, func(a, b output) int { return strings.Compare(a.Name, b.Name) })
	b, err := document.Encode(out)
	if err != nil {
		return "" // not UTF-8, so no valid result; "" equals no parsed digest
	}
	return store.DigestOf(b)
}

// Stage returns what the result says of one stage.
func (r *Result) Stage(name string) (StageResult, bool) {
	i := slices.IndexFunc(r.Stages, func(s StageResult) bool { return s.Name == name })
	if i < 0 {
		return StageResult{}, false
	}
	return r.Stages[i], true
}

// substituted returns the first stage that another operator built, or "".
func (r *Result) substituted() string { return r.firstOrigin(OriginSubstituted) }

func (r *Result) firstOrigin(origin string) string {
	for _, s := range r.Stages {
		if s.Origin == origin {
			return s.Name
		}
	}
	return ""
}

// NewResultStatement fills in what follows from the plan and the stages
// (schema_version, plan, outputs, lineage.seed_bytes), sorts the stages, and
// returns the payload to sign. It refuses what a verifier would refuse, a
// result without [NewNonce]'s nonce among others, and a log over 64 KiB.
func NewResultStatement(p *Plan, r Result) ([]byte, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	ix := newPlanIndex(p)
	r.SchemaVersion = document.Result.ID()
	r.Plan = ix.digest
	r.Stages = slices.Clone(r.Stages)
	slices.SortFunc(r.Stages, func(a, b StageResult) int { return strings.Compare(a.Name, b.Name) })
	r.Outputs = ""
	if r.votes() {
		r.Outputs = Outputs(r.Stages)
	}
	if r.Lineage != nil {
		l := *r.Lineage
		l.SeedBytes = p.SeedBytes()
		r.Lineage = &l
	}
	if err := r.check(ix); err != nil {
		return nil, err
	}
	if r.Failure != nil && len(r.Failure.Log) > maxFailureLog {
		return nil, fault.New(fault.Semantic, "failure.log has %d bytes, at most %d are allowed", len(r.Failure.Log), maxFailureLog)
	}
	return encodeStatement(document.Result.MaxBytes, PredicateResult, r.subjects(p), r)
}

// NewNonce reads a result's nonce from random. It makes the payload digest a
// commitment that hides what the payload says.
func NewNonce(random io.Reader) (string, error) {
	var b [32]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fault.New(fault.Internal, "reading randomness: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// votes says whether the result has a voted value at all.
func (r *Result) votes() bool { return r.Outcome == OutcomeBuilt && r.substituted() == "" }

// subjects are exactly the plan and, when built, the targets' manifests.
func (r *Result) subjects(p *Plan) []Subject {
	subjects := []Subject{newSubject("plan:"+p.Pipeline, r.Plan)}
	if r.Outcome != OutcomeBuilt {
		return subjects
	}
	for _, t := range p.Targets {
		s, _ := r.Stage(t)
		subjects = append(subjects, newSubject(t, s.Manifest))
	}
	return subjects
}

// check refuses a result that formats.md 5 refuses, as far as the subjects
// and the key are not concerned. Errors are SEMANTIC or STRUCTURE.
func (r *Result) check(p *planIndex) error {
	if err := r.checkFields(); err != nil {
		return err
	}
	if r.Plan != p.digest {
		return fault.New(fault.Semantic, "the result is about plan %s, not %s", r.Plan, p.digest)
	}
	if err := r.checkStages(p); err != nil {
		return err
	}
	if (r.Outputs != "") != r.votes() {
		return fault.New(fault.Semantic, "outputs must be given exactly when every stage was built or reused")
	}
	if want := Outputs(r.Stages); r.Outputs != "" && r.Outputs != want {
		return fault.New(fault.Semantic, "outputs is %s, the stages give %s", r.Outputs, want)
	}
	if r.Lineage != nil && r.Lineage.SeedBytes != p.seedBytes {
		return fault.New(fault.Semantic, "lineage.seed_bytes is %d, the plan's seeds have %d", r.Lineage.SeedBytes, p.seedBytes)
	}
	if r.Failure != nil && r.Failure.Stage != "" && p.stage[r.Failure.Stage] == nil {
		return fault.New(fault.Semantic, "failed stage %q is not in the plan", r.Failure.Stage)
	}
	return nil
}

func (r *Result) checkFields() error {
	if err := document.Result.CheckVersion("", r.SchemaVersion); err != nil {
		return err
	}
	if err := names.Check(r.Operator); err != nil {
		return within(err, "operator")
	}
	if len(r.Nonce) != 64 || strings.Trim(r.Nonce, "0123456789abcdef") != "" {
		return fault.New(fault.Structure, "nonce is not 64 lower-case hex digits")
	}
	switch r.Outcome {
	case OutcomeBuilt, OutcomeBuildFailed, OutcomeInfraFailed, OutcomeTimedOut, OutcomeNotDeterministic:
	default:
		return fault.New(fault.Semantic, "outcome %q is unknown", r.Outcome)
	}
	if (r.Failure != nil) != (r.Outcome != OutcomeBuilt) {
		return fault.New(fault.Semantic, "failure must be given exactly when the outcome is not built")
	}
	if r.Failure != nil && *r.Failure == (Failure{}) { // an empty object is left out when it is encoded
		return fault.New(fault.Semantic, "failure says nothing; give its class at least")
	}
	for _, at := range []string{r.StartedAt, r.FinishedAt} {
		if _, err := ParseTime(at); err != nil {
			return err
		}
	}
	if err := checkOptionalDigest("environment.rebuild_digest", r.Environment.RebuildDigest); err != nil {
		return err
	}
	if err := checkOptionalDigest("environment.runtime_digest", r.Environment.RuntimeDigest); err != nil {
		return err
	}
	return r.checkMeasures()
}

func (r *Result) checkMeasures() error {
	if r.Repeat != nil {
		switch {
		case r.Repeat.Runs < 0:
			return fault.New(fault.Semantic, "repeat.runs is negative")
		case !r.Repeat.Equal && r.Outcome != OutcomeNotDeterministic:
			return fault.New(fault.Semantic, "repeat.equal is false but the outcome is %s", r.Outcome)
		}
	}
	if l := r.Lineage; l != nil {
		if l.OpaqueBytes < 0 || l.Executables < 0 || l.Untraced < 0 {
			return fault.New(fault.Semantic, "a count of the lineage is negative")
		}
		return checkOptionalDigest("lineage.report", l.Report)
	}
	return nil
}

func (r *Result) checkStages(p *planIndex) error {
	seen := make(map[string]bool, len(r.Stages))
	for _, s := range r.Stages {
		if p.stage[s.Name] == nil {
			return fault.New(fault.Semantic, "stage %q is not in the plan", s.Name)
		}
		if seen[s.Name] {
			return fault.New(fault.Semantic, "stage %s is listed twice", s.Name)
		}
		seen[s.Name] = true
		if err := s.check(); err != nil {
			return within(err, "stage "+s.Name)
		}
	}
	if r.Outcome == OutcomeBuilt && len(r.Stages) != len(p.plan.Stages) {
		return fault.New(fault.Semantic, "the outcome is built but %d of %d stages are listed", len(r.Stages), len(p.plan.Stages))
	}
	return nil
}

func (s *StageResult) check() error {
	switch s.Origin {
	case OriginBuilt, OriginReused, OriginSubstituted:
	default:
		return fault.New(fault.Semantic, "origin %q is unknown", s.Origin)
	}
	if s.From != "" && s.Origin != OriginReused {
		return fault.New(fault.Semantic, "from is given but the origin is %s", s.Origin)
	}
	if err := checkOptionalDigest("from", s.From); err != nil {
		return err
	}
	if err := checkOptionalDigest("exporter_manifest", s.ExporterManifest); err != nil {
		return err
	}
	if _, err := store.ParseDigest(string(s.Tree)); err != nil {
		return within(err, "tree")
	}
	if _, err := store.ParseDigest(string(s.Manifest)); err != nil {
		return within(err, "manifest")
	}
	return nil
}

func checkOptionalDigest(what string, d store.Digest) error {
	if d == "" {
		return nil
	}
	if _, err := store.ParseDigest(string(d)); err != nil {
		return within(err, what)
	}
	return nil
}

const timeLayout = "2006-01-02T15:04:05Z"

// ParseTime accepts exactly the one spelling of a time, in UTC and whole
// seconds, years 1970 to 9999. The error is STRUCTURE.
func ParseTime(s string) (time.Time, error) {
	t, err := time.Parse(timeLayout, s)
	if err != nil || t.Year() < 1970 || t.Format(timeLayout) != s {
		return time.Time{}, fault.New(fault.Structure, "%.40q is not a time", s).
			WithHint("write a time as YYYY-MM-DDThh:mm:ssZ")
	}
	return t, nil
}

// FormatTime writes t in the one spelling of a time.
func FormatTime(t time.Time) (string, error) {
	s := t.UTC().Format(timeLayout)
	if _, err := ParseTime(s); err != nil {
		return "", fmt.Errorf("time outside of 1970 to 9999: %w", err)
	}
	return s, nil
}
