package attest_test

import (
	stdjson "encoding/json"
	"testing"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/fault"
	"rebuild/store"
)

func TestProvenanceSaysWhatTheResultSays(t *testing.T) {
	w := attesttest.New(t)
	result := mustPayload(w, "north")
	payload, err := attest.NewProvenanceStatement(w.Plan, result)
	must(t, err)
	var o object
	must(t, stdjson.Unmarshal(payload, &o))
	for path, want := range map[string]any{
		"buildType":    sub(o, "predicate", "buildDefinition")["buildType"],
		"plan":         sub(o, "predicate", "buildDefinition", "externalParameters")["plan"],
		"builder":      sub(o, "predicate", "runDetails", "builder")["id"],
		"invocationId": sub(o, "predicate", "runDetails", "metadata")["invocationId"],
		"byproduct":    sub(o, "predicate", "runDetails", "byproducts", 0, "digest")["sha256"],
		"subject":      sub(o, "subject", 0, "digest")["sha256"],
		"seed":         sub(o, "predicate", "buildDefinition", "resolvedDependencies", 0)["name"],
		"source":       sub(o, "predicate", "buildDefinition", "resolvedDependencies", 1)["name"],
		"type":         o["predicateType"],
	} {
		if got := map[string]any{
			"buildType": "urn:rebuild:build:1", "plan": string(w.Plan.Digest()), "builder": "urn:rebuild:operator:north",
			"invocationId": w.Result("north", nil).Nonce, "byproduct": store.DigestOf(result).Hex(),
			"subject": w.Stages[1].Manifest.Hex(), "seed": "seed/hex0", "source": "source/hello", "type": "https://slsa.dev/provenance/v1",
		}[path]; got != want {
			t.Errorf("%s is %v, not %v", path, want, got)
		}
	}
	if len(o["subject"].([]any)) != 1 {
		t.Error("the plan is no image")
	}
}

func TestProvenanceNeedsABuiltResult(t *testing.T) {
	w := attesttest.New(t)
	failed, err := attest.NewResultStatement(w.Plan, w.Result("north", func(r *attest.Result) {
		r.Outcome, r.Stages, r.Failure = attest.OutcomeBuildFailed, nil, &attest.Failure{Stage: "base"}
	}))
	must(t, err)
	_, err = attest.NewProvenanceStatement(w.Plan, failed)
	code(t, err, fault.Semantic)
	_, err = attest.NewProvenanceStatement(w.Plan, []byte("{}"))
	code(t, err, fault.Structure)
}

func TestNewResultStatementRefusesWhatAVerifierWould(t *testing.T) {
	w := attesttest.New(t)
	for name, spoil := range map[string]func(*attest.Result){
		"no nonce":      func(r *attest.Result) { r.Nonce = "" },
		"no outcome":    func(r *attest.Result) { r.Outcome = "" },
		"stage missing": func(r *attest.Result) { r.Stages = r.Stages[1:] },
		"no operator":   func(r *attest.Result) { r.Operator = "" },
		"long log": func(r *attest.Result) {
			r.Outcome, r.Failure = attest.OutcomeBuildFailed, &attest.Failure{Log: string(make([]byte, 65<<10))}
		},
	} {
		if _, err := attest.NewResultStatement(w.Plan, w.Result("north", spoil)); fault.CodeOf(err).Exit() != 31 {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := attest.NewResultStatement(&attest.Plan{}, w.Result("north", nil))
	code(t, err, fault.Structure)
}
