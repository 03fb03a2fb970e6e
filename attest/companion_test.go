package attest_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/fault"
	"rebuild/store"
)

// statusOf returns what became of a statement in a verdict.
func statusOf(t *testing.T, v *attest.Verdict, envelope []byte) attest.StatementAccount {
	t.Helper()
	e, err := attest.ParseEnvelope("e", envelope)
	must(t, err)
	all := v.Statements()
	i := slices.IndexFunc(all, func(s attest.StatementAccount) bool { return s.Statement == e.Digest() })
	if i < 0 {
		t.Fatalf("no account of %s", e.Digest())
	}
	return all[i]
}

func judgedWith(t *testing.T, w *attesttest.World, waivers []attest.Waiver, statements ...[]byte) *attest.Verdict {
	t.Helper()
	v, err := attest.Judge(w.LoadPolicy(), w.Plan, statements, nil, waivers, attesttest.Now)
	must(t, err)
	return v
}

func TestCompanionIsListedAndNeverVotes(t *testing.T) {
	w := attesttest.New(t)
	east, north := w.Statement("east", nil), w.Statement("north", nil)
	without := judgedWith(t, w, nil, east)
	one := judgedWith(t, w, nil, east, w.Provenance("east", nil))
	if one.State() != attest.StatePending || !reflect.DeepEqual(one.Shortfalls(), without.Shortfalls()) {
		t.Errorf("a provenance voted: %s %v", one.State(), one.Shortfalls())
	}
	v := judgedWith(t, w, nil, east, north, w.Provenance("north", nil), w.Provenance("east", nil))
	if v.State() != attest.StateMet || len(v.Judged()) != 4 || len(v.Envelopes()) != 4 || len(v.Contradictions()) != 0 {
		t.Errorf("%s, %d judged, %v", v.State(), len(v.Judged()), v.Contradictions())
	}
	a := statusOf(t, v, w.Provenance("east", nil))
	if a.Status != attest.StatusCompanion || a.Operator != "east" || a.Why != "" || len(attest.Unjudged(v.Statements())) != 0 {
		t.Errorf("%+v", v.Statements())
	}
	for _, o := range v.Operators() {
		want := store.Digest("")
		if o.Counted {
			want = store.DigestOf(w.ProvenancePayload(o.Operator, nil))
		}
		if o.Provenance != want {
			t.Errorf("%s: provenance %s, want %s", o.Operator, o.Provenance, want)
		}
	}
	for _, o := range judgedWith(t, w, nil, east, north).Operators() {
		if o.Provenance != "" {
			t.Errorf("%s has a provenance out of nowhere: %s", o.Operator, o.Provenance)
		}
	}
}

func TestCompanionIgnoresOrderAndCopies(t *testing.T) {
	w := attesttest.New(t)
	all := append(w.Statements(), w.Provenances()...)
	want := account(judgedWith(t, w, nil, all...))
	for range len(all) {
		all = append(all[1:], all[0])
		if got := account(judgedWith(t, w, nil, all...)); !reflect.DeepEqual(got, want) {
			t.Fatalf("the order counts:\n%+v\n%+v", want, got)
		}
		if got := account(judgedWith(t, w, nil, append(all, all...)...)); !reflect.DeepEqual(got, want) {
			t.Fatalf("copies count:\n%+v\n%+v", want, got)
		}
	}
}

// Whatever is not, byte for byte, what a result's own key says of it is refused:
// a provenance is believed by tools that never see the result.
func TestCompanionRefused(t *testing.T) {
	w := attesttest.New(t)
	honest := w.ProvenancePayload("north", nil)
	otherRun := func(r *attest.Result) { r.Nonce = strings.Repeat("0", 64) }
	spoiled := func(spoil func(object)) []byte { return w.Sign(edit(honest, spoil), "north") }
	other := store.DigestOf([]byte("other")).Hex()
	for name, c := range map[string]struct {
		raw  []byte
		code fault.Code
		why  string
	}{
		"another key":    {w.Sign(honest, "east"), fault.EvidenceMismatch, "another key signed"},
		"another result": {w.Provenance("north", otherRun), fault.EvidenceMismatch, "which is not at hand"},
		"no such result": {w.Provenance("west", nil), fault.EvidenceMismatch, "which is not at hand"},
		"another image": {spoiled(func(o object) { sub(o, "subject", 0, "digest")["sha256"] = other }),
			fault.EvidenceMismatch, "says something else"},
		"another source": {spoiled(func(o object) {
			sub(o, "predicate", "buildDefinition", "resolvedDependencies", 1, "digest")["sha256"] = other
		}), fault.EvidenceMismatch, "says something else"},
		"another builder": {spoiled(func(o object) { sub(o, "predicate", "runDetails", "builder")["id"] = "urn:rebuild:operator:east" }),
			fault.EvidenceMismatch, "says something else"},
		"one more subject": {spoiled(func(o object) { o["subject"] = append(o["subject"].([]any), o["subject"].([]any)[0]) }),
			fault.EvidenceMismatch, "says something else"},
		"a field too many": {spoiled(func(o object) { sub(o, "predicate", "runDetails", "builder")["version"] = object{"rebuild": "1"} }),
			fault.EvidenceMismatch, "says something else"},
		"a field too few": {spoiled(func(o object) { delete(sub(o, "predicate", "runDetails", "metadata"), "startedOn") }),
			fault.EvidenceMismatch, "says something else"},
		"no byproduct": {spoiled(func(o object) { sub(o, "predicate", "runDetails")["byproducts"] = []any{} }),
			fault.EvidenceMismatch, "which is not at hand"},
		"two byproducts": {spoiled(func(o object) {
			run := sub(o, "predicate", "runDetails")
			run["byproducts"] = append(run["byproducts"].([]any), run["byproducts"].([]any)[0])
		}), fault.EvidenceMismatch, "which is not at hand"},
		"byproducts of another type": {spoiled(func(o object) { sub(o, "predicate", "runDetails")["byproducts"] = "x" }),
			fault.Structure, "predicateType"},
		"not canonical": {w.Sign(append([]byte(" "), honest...), "north"), fault.EvidenceMismatch, "says something else"},
		"members twice": {w.Sign([]byte(strings.Replace(string(honest), `{"_type"`, `{"_type":"x","_type"`, 1)), "north"), fault.Parse, "twice"},
		"no digest": {spoiled(func(o object) { sub(o, "predicate", "runDetails", "byproducts", 0, "digest")["sha256"] = "x" }),
			fault.EvidenceMismatch, "which is not at hand"},
		"two signatures": {w.Sign(honest, "north", "east"), fault.Structure, "2 signatures"},
	} {
		v := judgedWith(t, w, nil, w.Statement("east", nil), w.Statement("north", nil), c.raw)
		a := statusOf(t, v, c.raw)
		if a.Status != attest.StatusRefused || a.Code != c.code || !strings.Contains(a.Why, c.why) {
			t.Errorf("%s: %+v", name, a)
		}
		if v.State() != attest.StateMet || len(v.Judged()) != 2 {
			t.Errorf("%s: it changed the verdict: %s, %d judged", name, v.State(), len(v.Judged()))
		}
		for _, o := range v.Operators() {
			if o.Provenance != "" {
				t.Errorf("%s: it counts as the provenance of %s", name, o.Operator)
			}
		}
	}
}

// The right envelope is found among wrong ones of the same payload.
func TestCompanionPicksTheGoodEnvelope(t *testing.T) {
	w := attesttest.New(t)
	payload := w.ProvenancePayload("north", nil)
	good, swapped, foreign := w.Sign(payload, "north"), w.Sign(payload, "east"), w.Sign(payload, "stranger")
	for _, order := range [][][]byte{{good, swapped, foreign}, {swapped, foreign, good}, {foreign, good, swapped}} {
		v := judgedWith(t, w, nil, append(order, w.Statements()...)...)
		if a := statusOf(t, v, good); a.Status != attest.StatusCompanion || a.Operator != "north" {
			t.Errorf("%+v", a)
		}
	}
}

// Who does not vote has no provenance that counts either.
func TestCompanionOfOutsiders(t *testing.T) {
	w := attesttest.New(t)
	w.PolicyTOML += "[operators.south]\nkeys = [{ key = \"" + key64("south") + "\" }]\n"
	for _, name := range []string{"south", "stranger"} {
		raw := w.Sign(w.ProvenancePayload(name, nil), name)
		if a := statusOf(t, judgedWith(t, w, nil, append(w.Statements(), raw)...), raw); a.Status != attest.StatusOutsider {
			t.Errorf("%s: %+v", name, a)
		}
	}
}

// A result under a key that has expired is void, and so is what goes with it;
// both stay in sight.
func TestCompanionOfAVoidResult(t *testing.T) {
	w := attesttest.New(t)
	key := "keys = [{ key = \"" + key64("north") + "\" }]"
	w.PolicyTOML = strings.Replace(w.PolicyTOML, key, strings.Replace(key, "}]", ", not_after = \"2026-05-01T00:00:00Z\" }, { key = \""+key64("north2")+"\" }]", 1), 1)
	v := judgedWith(t, w, nil, w.Statement("north", nil), w.Provenance("north", nil))
	a := statusOf(t, v, w.Provenance("north", nil))
	if a.Status != attest.StatusVoid || !strings.Contains(a.Why, "2026-05-01") || len(v.Judged()) != 2 {
		t.Errorf("%+v %v", a, v.Judged())
	}
}

// A waiver of a result leaves its provenance in the release, as the provenance
// of no vote.
func TestCompanionOfAWaivedResult(t *testing.T) {
	w := attesttest.New(t)
	other := w.Stage("hello", []store.File{{Path: "x", Mode: 0o644}})
	lie := func(r *attest.Result) { r.Stages[1] = other }
	dissent := w.Statement("west", lie)
	e, err := attest.ParseEnvelope("e", dissent)
	must(t, err)
	waivers := []attest.Waiver{{Statement: e.Digest(), Reason: "a broken disk"}}
	all := [][]byte{w.Statement("east", nil), w.Statement("north", nil), dissent, w.Provenance("west", lie)}
	v := judgedWith(t, w, waivers, all...)
	if v.State() != attest.StateMet || len(v.Judged()) != 4 || statusOf(t, v, all[3]).Status != attest.StatusCompanion {
		t.Errorf("%s %+v", v.State(), v.Statements())
	}
	west := v.Operators()[2]
	if west.Counted || west.Provenance != "" || west.Why != "its statement is waived" {
		t.Errorf("%+v", west)
	}
	// To waive the provenance is not to waive the result.
	waivers[0].Statement = store.DigestOf(w.ProvenancePayload("west", lie))
	if v := judgedWith(t, w, waivers, all...); v.State() != attest.StateDissent {
		t.Errorf("a waiver of the provenance overruled the result: %s", v.State())
	}
}

// What a release lists must be in its evidence, provenances as well.
func TestReleaseCarriesCompanions(t *testing.T) {
	w := attesttest.New(t)
	r := w.Release(append(w.Statements(), w.Provenances()...), nil, attesttest.PackageTOML, []string{"r1"}, []string{"r1", "r2"})
	policy := w.LoadPolicy()
	encoded, err := r.Bundle.Encode()
	must(t, err)
	bundle, err := attest.OpenBundle("b", encoded)
	must(t, err)
	account, err := attest.Verify(policy, bundle, attest.Expect{}, attesttest.Now)
	must(t, err)
	if n := len(account.Builds[0].Statements); n != 6 {
		t.Errorf("%d statements", n)
	}
	provenance := w.Provenance("east", nil)
	without := *r.Bundle
	without.Builds = slices.Clone(r.Bundle.Builds)
	without.Builds[0].Statements = slices.DeleteFunc(slices.Clone(without.Builds[0].Statements), func(b []byte) bool { return string(b) == string(provenance) })
	_, err = attest.Verify(policy, &without, attest.Expect{}, attesttest.Now)
	code(t, err, fault.EvidenceMismatch)
	if !strings.Contains(err.Error(), "is listed by the release but missing") {
		t.Error(err)
	}
	// One that came up later changes nothing.
	later := *w.Honest().Bundle
	later.Builds[0].Statements = append(later.Builds[0].Statements, provenance)
	_, err = attest.Verify(policy, &later, attest.Expect{}, attesttest.Now)
	must(t, err)
}
