package attest

import (
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
	if _, err := decodeStatement(&Signed{payload: resultPayload}, PredicateResult, document.Result, &r); err != nil {
		return nil, err
	}
	if err := r.check(newPlanIndex(p)); err != nil {
		return nil, err
	}
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
