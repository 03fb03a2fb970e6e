package attest

import (
	"bytes"

	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// PredicateProvenance is the predicateType of the SLSA provenance that goes
// beside a result, for tools that do not know results.
const PredicateProvenance = "https://slsa.dev/provenance/v1"

// The types below are SLSA's build provenance v1; the spelling of their
// fields is SLSA's (https://slsa.dev/spec/v1.1/provenance).

type provenance struct {
	BuildDefinition buildDefinition `json:"buildDefinition"`
	RunDetails      runDetails      `json:"runDetails"`
}

type buildDefinition struct {
	BuildType            string               `json:"buildType"`
	ExternalParameters   externalParameters   `json:"externalParameters"`
	InternalParameters   internalParameters   `json:"internalParameters"`
	ResolvedDependencies []resourceDescriptor `json:"resolvedDependencies"`
}

type externalParameters struct {
	Pipeline string       `json:"pipeline"`
	Plan     store.Digest `json:"plan"`
	Platform string       `json:"platform"`
	Targets  []string     `json:"targets"`
}

type internalParameters struct {
	SourceDateEpoch int64 `json:"source_date_epoch"`
}

type runDetails struct {
	Builder    builder              `json:"builder"`
	Byproducts []resourceDescriptor `json:"byproducts"`
	Metadata   buildMetadata        `json:"metadata"`
}

type builder struct {
	ID string `json:"id"`
}

type buildMetadata struct {
	FinishedOn   string `json:"finishedOn"`
	InvocationID string `json:"invocationId"`
	StartedOn    string `json:"startedOn"`
}

type resourceDescriptor struct {
	Digest SubjectDigest `json:"digest"`
	Name   string        `json:"name"`
}

// NewProvenanceStatement returns the payload of the SLSA provenance that says
// in SLSA's words what a result's payload says. Only a result that was built
// has images for it to be about (SEMANTIC otherwise).
func NewProvenanceStatement(p *Plan, resultPayload []byte) ([]byte, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	var r Result
	digest := store.DigestOf(resultPayload)
	// The operator describes its own result; there is no signature yet to check.
	if _, err := decodeResult(&Signed{payload: resultPayload}, &r); err != nil {
		return nil, err
	}
	if err := r.check(newPlanIndex(p)); err != nil {
		return nil, err
	}
	return r.provenance(p, digest)
}

// provenance is the one provenance that a result has. Nothing in it is of its
// own, so that whoever has the result can say whether it is right.
func (r *Result) provenance(p *Plan, digest store.Digest) ([]byte, error) {
	if r.Outcome != OutcomeBuilt {
		return nil, fault.New(fault.Semantic, "the outcome is %s, so there is no image to have a provenance", r.Outcome)
	}
	return encodeStatement(document.Result.MaxBytes, PredicateProvenance, r.subjects(p)[1:], provenance{
		BuildDefinition: buildDefinition{
			BuildType:            "urn:rebuild:build:1",
			ExternalParameters:   externalParameters{p.Pipeline, r.Plan, p.Platform, p.Targets},
			InternalParameters:   internalParameters{p.SourceDateEpoch},
			ResolvedDependencies: p.dependencies(),
		},
		RunDetails: runDetails{
			Builder:    builder{"urn:rebuild:operator:" + r.Operator},
			Byproducts: []resourceDescriptor{describe("result", digest)},
			Metadata:   buildMetadata{FinishedOn: r.FinishedAt, InvocationID: r.Nonce, StartedOn: r.StartedAt},
		},
	})
}

// dependencies lists everything that the plan takes from outside.
func (p *Plan) dependencies() []resourceDescriptor {
	var out []resourceDescriptor
	for _, s := range p.Seeds {
		out = append(out, describe("seed/"+s.Name, s.Digest))
	}
	for _, s := range p.Sources {
		out = append(out, describe("source/"+s.Name, s.Digest))
	}
	for _, i := range p.Images {
		out = append(out, describe("image/"+i.Name, i.Digest))
	}
	return out
}

func describe(name string, d store.Digest) resourceDescriptor {
	return resourceDescriptor{SubjectDigest{d.Hex()}, name}
}

// provenanceClaim is a provenance that an operator signed, not yet held
// against the result that it names.
type provenanceClaim struct {
	signed *Signed
	result store.Digest // "" if it names none
}

// readProvenance returns nil for a statement that is no provenance. It looks
// for no more than the result that it names: what else it says is right if it
// equals what that result gives, and nothing else is.
func readProvenance(signed *Signed) *provenanceClaim {
	if !bytes.Contains(signed.payload, []byte(PredicateProvenance)) {
		return nil // as of most; the rest of the question costs more
	}
	var st struct {
		PredicateType string `json:"predicateType"`
		Predicate     struct {
			RunDetails struct {
				Byproducts []resourceDescriptor `json:"byproducts"`
			} `json:"runDetails"`
		} `json:"predicate"`
	}
	if document.DecodeForeign("", signed.payload, &st) != nil || st.PredicateType != PredicateProvenance {
		return nil
	}
	c := &provenanceClaim{signed: signed}
	if named := st.Predicate.RunDetails.Byproducts; len(named) == 1 {
		c.result = store.Digest("sha256:" + named[0].Digest.SHA256)
	}
	return c
}

// settle judges provenances once every result has been opened, so that it does
// not matter which came first.
func (j *judge) settle(provenances []opened, best map[store.Digest]opened) {
	j.v.provenance = map[store.Digest]store.Digest{}
	each(len(provenances), func(i int) {
		o := &provenances[i]
		o.account = j.companion(o.account, o.claim, best[o.claim.result])
	})
	for _, o := range provenances {
		if known, seen := best[o.account.Statement]; !seen || o.better(known) {
			best[o.account.Statement] = o
		}
	}
}

// companion says what becomes of a provenance beside the result that it names.
// It has no say of its own: it must be, byte for byte, what the result's own
// key has to say of that result, and is good as long as the result is. A
// waiver of the result leaves it where it is, for the waived result stays in
// the release too; it then is the provenance of no vote.
func (j *judge) companion(a StatementAccount, c *provenanceClaim, of opened) StatementAccount {
	if _, counts := j.policy.operators[a.Operator]; !counts {
		a.Status, a.Why = StatusOutsider, "operator "+a.Operator+" is not in the quorum"
		return a
	}
	switch {
	case of.result == nil:
		return a.refuse(mismatch("it is the provenance of result %.71q, which is not at hand", c.result))
	case of.result.by != c.signed.by[0]:
		return a.refuse(mismatch("it is the provenance of result %s, which another key signed", c.result))
	}
	want, err := of.result.result.provenance(j.plan.plan, c.result)
	if err != nil {
		return a.refuse(err)
	}
	if !bytes.Equal(want, c.signed.payload) {
		return a.refuse(mismatch("it says something else than result %s, whose provenance is %s", c.result, store.DigestOf(want)))
	}
	if a.Status = StatusCompanion; of.account.Status == StatusVoid {
		a.Status, a.Why = StatusVoid, of.account.Why
	}
	return a
}
