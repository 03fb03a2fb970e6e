package attest_test

import (
	stdjson "encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/fault"
	"rebuild/store"
)

var us = attest.Verifier{Name: "us", Version: "1.0.0"}

// opens signs a summary's payload and reads it again.
func opens(t *testing.T, w *attesttest.World, payload []byte) *attest.VSA {
	t.Helper()
	v, err := attest.OpenVSA(envelope(t, w.Sign(payload, "verifier")), us.ID(), attesttest.Key("verifier").Public())
	must(t, err)
	return v
}

func envelope(t *testing.T, raw []byte) *attest.Envelope {
	t.Helper()
	e, err := attest.ParseEnvelope("e", raw)
	must(t, err)
	return e
}

func summarised(t *testing.T, w *attesttest.World, v *attest.Verdict) *attest.VSA {
	t.Helper()
	payload, err := attest.NewVerdictVSA(w.LoadPolicy(), v, us, attesttest.Now)
	must(t, err)
	return opens(t, w, payload)
}

func digestsOf(t *testing.T, envelopes ...[]byte) []store.Digest {
	t.Helper()
	var out []store.Digest
	for _, raw := range envelopes {
		out = append(out, envelope(t, raw).Digest())
	}
	slices.Sort(out)
	return out
}

func image(s attest.StageResult) []attest.Subject {
	return []attest.Subject{{Name: "image:linux/amd64/hello", Digest: attest.SubjectDigest{SHA256: s.Manifest.Hex()}}}
}

func TestVSAOfAVerdict(t *testing.T) {
	w := attesttest.New(t)
	all := append(w.Statements(), w.Provenances()...)
	got := summarised(t, w, judgedWith(t, w, nil, append(all, []byte("junk"), w.Statement("stranger", nil))...))
	want := &attest.VSA{
		Subjects: image(w.Stages[1]), Verifier: "urn:rebuild:verifier:us", Version: map[string]string{"rebuild": "1.0.0"}, Verified: attesttest.Now,
		Resource: "urn:rebuild:plan:" + w.Plan.Digest().Hex(), Policy: "urn:rebuild:policy:demo", Inputs: digestsOf(t, all...),
		Result: attest.ResultPassed, Levels: []string{attest.LevelReproduced, attest.LevelBootstrapped}, SLSA: "1.2",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\n%+v\n%+v", got, want)
	}
}

func TestVSAOfARelease(t *testing.T) {
	w := attesttest.New(t)
	all := append(w.Statements(), w.Provenances()...)
	r := w.Release(all, nil, attesttest.PackageTOML, []string{"r1"}, []string{"r1", "r2"})
	payload, err := attest.NewReleaseVSA(w.LoadPolicy(), r.Bundle, us, attesttest.Now)
	must(t, err)
	got := opens(t, w, payload)
	if got.Resource != "urn:rebuild:package:hello:0.1.0" || got.Result != attest.ResultPassed || !reflect.DeepEqual(got.Subjects, image(w.Stages[1])) ||
		!slices.Equal(got.Levels, []string{attest.LevelReproduced, attest.LevelBootstrapped}) {
		t.Errorf("%+v", got)
	}
	if want := digestsOf(t, append(all, r.Bundle.Release)...); !slices.Equal(got.Inputs, want) {
		t.Errorf("inputs %v, want %v", got.Inputs, want)
	}
	if o := decoded(t, payload); sub(o, "predicate", "policy", "digest")["sha256"] != w.LoadPolicy().Digest().Hex() {
		t.Error("it does not say by which policy it judged")
	}
}

// A level is withheld unless everything that it says is in the evidence.
func TestVSALevels(t *testing.T) {
	w := attesttest.New(t)
	untraced := func(r *attest.Result) { r.Lineage = &attest.Lineage{Untraced: 1} }
	both, reproduced, bootstrapped := []string{attest.LevelReproduced, attest.LevelBootstrapped}, []string{attest.LevelReproduced}, []string{attest.LevelBootstrapped}
	neither := []string{attest.LevelUnevaluated}
	e, n := w.Statement("east", nil), w.Statement("north", nil)
	pe, pn := w.Provenance("east", nil), w.Provenance("north", nil)
	foreign := w.Sign(w.ProvenancePayload("north", nil), "west")
	one := strings.Replace(attesttest.Policy(""), "need = 2, of", "need = 1, of", 1)
	for name, c := range map[string]struct {
		policy     string
		statements [][]byte
		want       []string
	}{
		"two, each with provenance":             {"", [][]byte{e, n, pe, pn}, both},
		"three, one without provenance":         {"", append(w.Statements(), pe, pn), bootstrapped},
		"one without provenance":                {"", [][]byte{e, n, pe}, bootstrapped},
		"none with provenance":                  {"", [][]byte{e, n}, bootstrapped},
		"a provenance signed by somebody else":  {"", [][]byte{e, n, pe, foreign}, bootstrapped},
		"one operator alone":                    {one, [][]byte{e, pe}, bootstrapped},
		"one operator twice":                    {one, [][]byte{e, pe, w.Statement("east", func(r *attest.Result) { r.Nonce = strings.Repeat("0", 64) })}, bootstrapped},
		"untraced":                              {"", [][]byte{e, pe, w.Statement("north", untraced), w.Provenance("north", untraced)}, reproduced},
		"one untraced alone":                    {one, [][]byte{w.Statement("north", untraced), w.Provenance("north", untraced)}, neither},
		"a failed build beside it, as reported": {"", [][]byte{e, n, pe, pn, w.Statement("west", failing)}, both},
	} {
		w := *w
		if c.policy != "" {
			w.PolicyTOML = c.policy
		}
		if got := summarised(t, &w, judgedWith(t, &w, nil, c.statements...)); got.Result != attest.ResultPassed || !slices.Equal(got.Levels, c.want) {
			t.Errorf("%s: %s %v, want %v", name, got.Result, got.Levels, c.want)
		}
	}
}

// A release has the levels that all of its builds have, and fails with one.
func TestVSAOfSeveralBuilds(t *testing.T) {
	w := attesttest.New(t)
	e, n, pe, pn := w.Statement("east", nil), w.Statement("north", nil), w.Provenance("east", nil), w.Provenance("north", nil)
	untraced := func(r *attest.Result) { r.Lineage = nil }
	full, bare := judgedWith(t, w, nil, e, n, pe, pn), judgedWith(t, w, nil, e, n)
	loose := judgedWith(t, w, nil, e, w.Statement("north", untraced), pe, w.Provenance("north", untraced))
	pending := judgedWith(t, w, nil, e)
	dissent := judgedWith(t, w, nil, e, w.Statement("north", func(r *attest.Result) { r.Stages[1] = w.Stage("hello", nil) }))
	for _, c := range []struct {
		name   string
		a, b   *attest.Verdict
		result string
		levels string
		code   fault.Code
	}{
		{"alike", full, full, "PASSED", "[SLSA_BUILD_REPRODUCED REBUILD_BOOTSTRAPPED]", ""},
		{"one without provenance", full, bare, "PASSED", "[REBUILD_BOOTSTRAPPED]", ""},
		{"one untraced", full, loose, "PASSED", "[SLSA_BUILD_REPRODUCED]", ""},
		{"each without the other", bare, loose, "PASSED", "[SLSA_BUILD_LEVEL_UNEVALUATED]", ""},
		{"one dissents", full, dissent, "FAILED", "[FAILED]", ""},
		{"one pending", full, pending, "", "[]", fault.QuorumPending},
		{"one pending, one dissents", pending, dissent, "FAILED", "[FAILED]", ""},
	} {
		for _, order := range [][]*attest.Verdict{{c.a, c.b}, {c.b, c.a}} {
			result, levels, err := attest.SummariseVerdicts(order...)
			if result != c.result || fmt.Sprint(levels) != c.levels || fault.CodeOf(err) != c.code {
				t.Errorf("%s: %s %v %v", c.name, result, levels, err)
			}
		}
	}
}

func failing(r *attest.Result) {
	r.Outcome, r.Stages, r.Failure = attest.OutcomeBuildFailed, nil, &attest.Failure{Stage: "base"}
}

// Nobody knows yet, so there is nothing to sign.
func TestNoVSAWhilePending(t *testing.T) {
	w := attesttest.New(t)
	v := judgedWith(t, w, nil, w.Statement("east", nil), w.Provenance("east", nil))
	payload, err := attest.NewVerdictVSA(w.LoadPolicy(), v, us, attesttest.Now)
	code(t, err, fault.QuorumPending)
	if payload != nil {
		t.Error("a pending verdict was summarised")
	}
	_, err = attest.NewVerdictVSA(w.LoadPolicy(), &attest.Verdict{}, us, attesttest.Now)
	code(t, err, fault.EvidenceMismatch)
}

func TestVSARefuses(t *testing.T) {
	w := attesttest.New(t)
	v := judgedWith(t, w, nil, w.Statements()...)
	for name, c := range map[string]struct {
		by   attest.Verifier
		now  time.Time
		code fault.Code
	}{
		"no name":      {attest.Verifier{}, attesttest.Now, fault.Structure},
		"a name, not?": {attest.Verifier{Name: "us:them"}, attesttest.Now, fault.Structure},
		"no time":      {us, time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC), fault.Structure},
	} {
		if _, err := attest.NewVerdictVSA(w.LoadPolicy(), v, c.by, c.now); fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	other := *w
	other.PolicyTOML = strings.Replace(w.PolicyTOML, "version = 1\n", "version = 2\n", 1)
	_, err := attest.NewVerdictVSA(other.LoadPolicy(), v, us, attesttest.Now)
	code(t, err, fault.EvidenceMismatch)
	// What is wrong with a release in any other way says nothing of its images.
	r := w.Honest()
	r.Bundle.Release = w.Sign(r.Payload, "r1")
	payload, err := attest.NewReleaseVSA(w.LoadPolicy(), r.Bundle, us, attesttest.Now)
	code(t, err, fault.SignatureInvalid)
	if payload != nil {
		t.Error("an unsigned release was summarised")
	}
}

func TestVSAOfADissent(t *testing.T) {
	w := attesttest.New(t)
	other := w.Stage("hello", []store.File{{Path: "x", Mode: 0o644}})
	lie := func(r *attest.Result) { r.Stages[1] = other }
	all := [][]byte{w.Statement("east", nil), w.Statement("north", nil), w.Statement("west", lie), w.Provenance("west", lie)}
	got := summarised(t, w, judgedWith(t, w, nil, all...))
	if got.Result != attest.ResultFailed || !slices.Equal(got.Levels, []string{attest.LevelFailed}) || !slices.Equal(got.Inputs, digestsOf(t, all...)) {
		t.Errorf("%+v", got)
	}
	var want []string
	for _, m := range []store.Digest{w.Stages[1].Manifest, other.Manifest} {
		want = append(want, "image:linux/amd64/hello@"+string(m)+" "+m.Hex())
	}
	if names := subjectsOf(got); !slices.Equal(names, slices.Sorted(slices.Values(want))) {
		t.Errorf("%v, want %v", names, want)
	}
	// In the evidence of a signed release.
	r := w.Release(all[:2], nil, attesttest.PackageTOML, []string{"r1"}, []string{"r1", "r2"})
	r.Bundle.Builds[0].Statements = all
	payload, err := attest.NewReleaseVSA(w.LoadPolicy(), r.Bundle, us, attesttest.Now)
	must(t, err)
	if got = opens(t, w, payload); got.Result != attest.ResultFailed || !reflect.DeepEqual(got.Subjects, image(w.Stages[1])) ||
		!slices.Equal(got.Inputs, digestsOf(t, append(all, r.Bundle.Release)...)) {
		t.Errorf("%+v", got)
	}
	// Without an image to speak of there is the plan.
	unequal := w.Statement("east", func(r *attest.Result) {
		r.Outcome, r.Stages, r.Repeat.Equal, r.Failure = attest.OutcomeNotDeterministic, nil, false, &attest.Failure{Stage: "base"}
	})
	if names := subjectsOf(summarised(t, w, judgedWith(t, w, nil, unequal))); !slices.Equal(names, []string{"plan:demo " + w.Plan.Digest().Hex()}) {
		t.Errorf("%v", names)
	}
}

func subjectsOf(v *attest.VSA) []string {
	var out []string
	for _, s := range v.Subjects {
		out = append(out, s.Name+" "+s.Digest.SHA256)
	}
	return out
}

// Where dissent is only reported, what the minority got did not pass.
func TestVSAPassesTheWinnersImagesAlone(t *testing.T) {
	w := attesttest.New(t)
	w.PolicyTOML = strings.Replace(w.PolicyTOML, "[operators.east]", "[dissent]\non = \"report\"\n[operators.east]", 1)
	other := w.Stage("hello", []store.File{{Path: "x", Mode: 0o644}})
	v := judgedWith(t, w, nil, w.Statement("east", nil), w.Statement("north", nil), w.Statement("west", func(r *attest.Result) { r.Stages[1] = other }))
	if got := summarised(t, w, v); got.Result != attest.ResultPassed || !reflect.DeepEqual(got.Subjects, image(w.Stages[1])) {
		t.Errorf("%+v", got)
	}
}

// A locator is free text; what is no URI would leave the summary without a
// resource.
func TestVSAResource(t *testing.T) {
	for locator, want := range map[string]string{
		"": "urn:rebuild:package:org/hello:1.0.0+a", "out/hello.tar": "urn:rebuild:package:org/hello:1.0.0+a",
		"https://example.org/hello.tar": "https://example.org/hello.tar", "oci:example.org/hello@sha256:00": "oci:example.org/hello@sha256:00",
		"https://example.org/a b": "urn:rebuild:package:org/hello:1.0.0+a", "C:\\hello.tar": "urn:rebuild:package:org/hello:1.0.0+a",
		"HTTPS://example.org/": "urn:rebuild:package:org/hello:1.0.0+a", "%zz": "urn:rebuild:package:org/hello:1.0.0+a",
	} {
		r := attest.Release{Name: "org/hello", Version: "1.0.0+a", Locator: locator}
		if got := r.Resource(); got != want {
			t.Errorf("%q: %s, want %s", locator, got, want)
		}
	}
}

func decoded(t *testing.T, payload []byte) object {
	t.Helper()
	var o object
	must(t, stdjson.Unmarshal(payload, &o))
	return o
}

func TestOpenVSA(t *testing.T) {
	w := attesttest.New(t)
	payload, err := attest.NewVerdictVSA(w.LoadPolicy(), judgedWith(t, w, nil, w.Statements()...), us, attesttest.Now)
	must(t, err)
	predicate := func(o object) object { return sub(o, "predicate") }
	other := store.DigestOf(nil).Hex()
	refused := map[string]struct {
		spoil func(object)
		code  fault.Code
	}{
		"another kind of statement":  {func(o object) { o["predicateType"] = attest.PredicateResult }, fault.Structure},
		"another kind of document":   {func(o object) { o["_type"] = "https://in-toto.io/Statement/v0.1" }, fault.Structure},
		"no subject":                 {func(o object) { o["subject"] = []any{} }, fault.Structure},
		"a subject without a digest": {func(o object) { delete(sub(o, "subject", 0, "digest"), "sha256") }, fault.Structure},
		"another verifier":           {func(o object) { sub(predicate(o), "verifier")["id"] = "urn:rebuild:verifier:them" }, fault.EvidenceMismatch},
		"no verifier":                {func(o object) { delete(predicate(o), "verifier") }, fault.EvidenceMismatch},
		"no resource":                {func(o object) { delete(predicate(o), "resourceUri") }, fault.Structure},
		"no policy":                  {func(o object) { delete(predicate(o), "policy") }, fault.Structure},
		"no levels":                  {func(o object) { predicate(o)["verifiedLevels"] = []any{} }, fault.Structure},
		"no result":                  {func(o object) { delete(predicate(o), "verificationResult") }, fault.Semantic},
		"another result":             {func(o object) { predicate(o)["verificationResult"] = "passed" }, fault.Semantic},
		"failed levels in a pass":    {func(o object) { predicate(o)["verifiedLevels"] = []any{attest.LevelReproduced, "FAILED"} }, fault.Semantic},
		"an input without a digest":  {func(o object) { delete(sub(o, "predicate", "inputAttestations", 0), "digest") }, fault.Structure},
		"no time at all":             {func(o object) { predicate(o)["timeVerified"] = "yesterday" }, fault.Structure},
		"a list for a name":          {func(o object) { predicate(o)["resourceUri"] = []any{"x"} }, fault.Structure},
	}
	key := attesttest.Key("verifier").Public()
	for name, c := range refused {
		if v, err := attest.OpenVSA(envelope(t, w.Sign(edit(payload, c.spoil), "verifier")), us.ID(), key); fault.CodeOf(err) != c.code || v != nil {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	// Foreign fields and digests are passed over, and what SLSA leaves open may be absent.
	foreign := edit(payload, func(o object) {
		o["https://example.org/note"] = "x"
		predicate(o)["dependencyLevels"] = object{"SLSA_BUILD_LEVEL_3": 5}
		sub(o, "subject", 0, "digest")["gitCommit"] = other
		delete(predicate(o), "timeVerified")
		delete(predicate(o), "slsaVersion")
		delete(predicate(o), "inputAttestations")
		delete(sub(predicate(o), "verifier"), "version")
	})
	v := opens(t, w, foreign)
	if v.Result != attest.ResultPassed || !v.Verified.IsZero() || v.SLSA != "" || v.Inputs != nil || v.Version != nil || len(v.Subjects) != 1 {
		t.Errorf("%+v", v)
	}
	// JSON with two readings, signed all the same.
	twice := strings.Replace(string(payload), `"verificationResult":"PASSED"`, `"verificationResult":"FAILED","verificationResult":"PASSED"`, 1)
	for _, text := range []string{twice, "{", string(payload) + "{}", strings.Replace(string(payload), "urn:rebuild:policy", "\xff", 1)} {
		_, err := attest.OpenVSA(envelope(t, w.Sign([]byte(text), "verifier")), us.ID(), key)
		code(t, err, fault.Parse)
	}
	// A signature counts for the pair of key and verifier, and there is one.
	for want, raw := range map[fault.Code][]byte{
		fault.KeyUnknown: w.Sign(payload, "stranger"), fault.Structure: w.Sign(payload, "verifier", "stranger"),
		fault.SignatureInvalid: edit(w.Sign(payload, "verifier"), func(o object) { sub(o, "signatures", 0)["sig"] = strangerSig(w, payload) }),
	} {
		_, err := attest.OpenVSA(envelope(t, raw), us.ID(), key)
		code(t, err, want)
	}
}

// A summary is no vote, whoever signs it.
func TestVSAIsNoStatementOfAnOperator(t *testing.T) {
	w := attesttest.New(t)
	payload, err := attest.NewVerdictVSA(w.LoadPolicy(), judgedWith(t, w, nil, w.Statements()...), us, attesttest.Now)
	must(t, err)
	raw := w.Sign(payload, "north")
	v := judgedWith(t, w, nil, w.Statement("east", nil), raw)
	if a := statusOf(t, v, raw); a.Status != attest.StatusRefused || v.State() != attest.StatePending {
		t.Errorf("%+v %s", a, v.State())
	}
}
