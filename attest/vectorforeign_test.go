package attest_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

func (v *vector) runVSA() judgement {
	key, err := attest.ParsePublicKey(v.Key)
	if err != nil {
		return judged(err)
	}
	e, err := attest.ParseEnvelope("envelope", []byte(v.Envelope))
	if err != nil {
		return judged(err)
	}
	s, err := attest.OpenVSA(e, v.Verifier, key)
	if err != nil {
		return judged(err)
	}
	account := []string{s.Result + " " + strings.Join(s.Levels, " "), "resource " + s.Resource, "policy " + s.Policy, "slsa " + s.SLSA}
	if !s.Verified.IsZero() {
		account = append(account, "verified "+s.Verified.UTC().Format(time.RFC3339))
	}
	for _, subject := range s.Subjects {
		account = append(account, "subject "+subject.Name+" "+subject.Digest.SHA256)
	}
	for _, in := range s.Inputs {
		account = append(account, "input "+string(in))
	}
	return judged(nil, account...)
}

func (v *vector) runPolicyUpdate() judgement {
	var loaded []*attest.Policy
	for _, text := range []string{v.Policy, v.Next} {
		p, err := attest.LoadPolicy("policy.toml", []byte(text))
		if err != nil {
			return judged(err)
		}
		loaded = append(loaded, p)
	}
	u, err := attest.NewPolicyUpdate(loaded[0], loaded[1])
	if err != nil {
		return judged(err)
	}
	roots, err := u.Verify([]byte(v.Envelope))
	if err != nil {
		return judged(err)
	}
	account := []string{string(store.DigestOf(u.Payload()))}
	for _, r := range roots {
		account = append(account, r.String())
	}
	for _, c := range u.Changes() {
		account = append(account, c.String())
	}
	return judged(nil, account...)
}

func (v *vector) runClaim() judgement {
	c, err := attest.ReadClaim([]byte(v.Envelope))
	if err != nil {
		return judged(err)
	}
	return judged(nil, fmt.Sprintf("statement %s, plan %s, operator %s", c.Statement, c.Plan, c.Operator))
}

func (v *vector) runSums() judgement {
	policy, err := attest.LoadPolicy("policy.toml", []byte(v.Policy))
	if err != nil {
		return judged(err)
	}
	b := v.bundle()
	signed, all, err := attest.Testimonies(policy, b, v.now())
	if err != nil {
		return judged(err)
	}
	var account []string
	release := signed.Release()
	for _, t := range all {
		line := fmt.Sprintf("%s %s of %s for %s: %s in %s", t.Status, t.Statement, t.Operator, t.Platform, t.PredicateType, store.DigestOf(t.Envelope))
		for _, b := range release.Builds {
			for _, target := range b.Targets {
				if t.Names(target.Manifest) {
					line += ", names " + target.Name + " for " + b.Platform
				}
			}
		}
		account = append(account, line)
	}
	sums, err := attest.SumsOf(&release, all, b.Objects)
	if err != nil {
		return judged(err)
	}
	for _, s := range sums {
		account = append(account, fmt.Sprintf("%s: %d statements", s.Operator, len(s.Statements)))
		account = append(account, strings.Split(strings.TrimSuffix(string(s.Text), "\n"), "\n")...)
	}
	return judged(nil, account...)
}

// spoiledProvenances are what is refused beside the honest result of north,
// by what is wrong with it.
func spoiledProvenances(w *attesttest.World) map[string][]byte {
	honest := w.ProvenancePayload("north", nil)
	spoiled := func(spoil func(object)) []byte { return w.Sign(edit(honest, spoil), "north") }
	run := func(o object) object { return sub(o, "predicate", "runDetails") }
	return map[string][]byte{
		"other-key":      w.Sign(honest, "east"),
		"other-result":   w.Provenance("north", func(r *attest.Result) { r.Nonce = strings.Repeat("0", 64) }),
		"no-such-result": w.Provenance("west", nil),
		"other-image":    spoiled(func(o object) { sub(o, "subject", 0, "digest")["sha256"] = otherDigest[7:] }),
		"other-source": spoiled(func(o object) {
			sub(o, "predicate", "buildDefinition", "resolvedDependencies", 1, "digest")["sha256"] = otherDigest[7:]
		}),
		"other-builder":   spoiled(func(o object) { sub(o, "predicate", "runDetails", "builder")["id"] = "urn:rebuild:operator:east" }),
		"more-subjects":   spoiled(func(o object) { o["subject"] = append(o["subject"].([]any), o["subject"].([]any)[0]) }),
		"more-fields":     spoiled(func(o object) { sub(o, "predicate", "runDetails", "builder")["version"] = object{"rebuild": "1"} }),
		"fewer-fields":    spoiled(func(o object) { delete(sub(o, "predicate", "runDetails", "metadata"), "startedOn") }),
		"no-byproduct":    spoiled(func(o object) { run(o)["byproducts"] = []any{} }),
		"two-byproducts":  spoiled(func(o object) { b := run(o)["byproducts"].([]any); run(o)["byproducts"] = append(b, b[0]) }),
		"byproducts-type": spoiled(func(o object) { run(o)["byproducts"] = "x" }),
		"not-canonical":   w.Sign(append([]byte(" "), honest...), "north"),
		"member-twice":    w.Sign([]byte(strings.Replace(string(honest), `{"_type"`, `{"_type":"x","_type"`, 1)), "north"),
		"no-digest":       spoiled(func(o object) { sub(o, "predicate", "runDetails", "byproducts", 0, "digest")["sha256"] = "x" }),
		"two-signatures":  w.Sign(honest, "north", "east"),
		"in-a-result":     w.Sign(edit(mustPayload(w, "north"), func(o object) { o["note"] = attest.PredicateProvenance }), "north"),
	}
}

// companionVerdicts have SLSA provenance beside results.
func companionVerdicts(w *attesttest.World) map[string]vector {
	v := func(expect, why string, statements ...[]byte) vector {
		out := vector{Expect: expect, Why: why, Policy: attesttest.Policy(""), Plan: string(w.PlanJSON)}
		for _, s := range statements {
			out.Statements = append(out.Statements, string(s))
		}
		return out
	}
	groups := func(v vector, text string) vector {
		return policyText(v, `groups.main = { need = 2, of = ["east", "north", "west"] }`, text)
	}
	east, north, west := w.Statement("east", nil), w.Statement("north", nil), w.Statement("west", nil)
	slsa := func(name string) []byte { return w.Provenance(name, nil) }
	failed := func(r *attest.Result) {
		r.Outcome, r.Failure, r.Stages = attest.OutcomeBuildFailed, &attest.Failure{Stage: "hello"}, r.Stages[:1]
	}
	broken := w.Statement("north", failed)
	ofBroken := w.Sign(edit(w.ProvenancePayload("north", nil), func(o object) {
		sub(o, "predicate", "runDetails", "byproducts", 0, "digest")["sha256"] = digestOf(w.T, broken).Hex()
	}), "north")
	out := map[string]vector{
		"slsa":       v("met", "each is listed beside its result", east, slsa("east"), north, slsa("north")),
		"slsa-first": v("met", "it does not matter which came first", slsa("north"), slsa("east"), north, east),
		"slsa-alone": v("pending", "it is no vote", east, slsa("east"), slsa("north")),
		"slsa-void": policyText(v("pending", "as good as its result", east, north, slsa("north")), `keys = [{ key = "`+key64("north")+`" }]`,
			`keys = [{ key = "`+key64("north")+`", not_after = "2026-01-01T00:00:00Z" }, { key = "`+key64("north2")+`" }]`),
		"slsa-waived":       waived(v("pending", "a waived result stays, and so does its provenance", east, north, slsa("north")), north),
		"slsa-unreleased":   groups(v("met", "an operator who does not count", east, west, north, slsa("north")), `groups.main = { need = 2, of = ["east", "west"] }`),
		"slsa-of-a-failure": v("pending", "there is no image for it to be of", east, broken, ofBroken),
		"slsa-two-envelopes": v("met", "the right one among wrong ones", east, north, w.Sign(w.ProvenancePayload("north", nil), "stranger"),
			slsa("north"), w.Sign(w.ProvenancePayload("north", nil), "east")),
		"reused-from-malformed": groups(v("met", "what is no result is nobody's", west, w.Sign([]byte("junk"), "east"), w.Statement("north", func(r *attest.Result) {
			r.Stages[0].Origin, r.Stages[0].From = attest.OriginReused, store.DigestOf([]byte("junk"))
		})), `groups.main = { need = 2, of = ["north", "west"] }`),
		"slsa-result-refused": v("pending", "beside a result that is refused", east, otherPlan(w, "north"), w.Sign(edit(w.ProvenancePayload("north", nil), func(o object) {
			sub(o, "predicate", "runDetails", "byproducts", 0, "digest")["sha256"] = digestOf(w.T, otherPlan(w, "north")).Hex()
		}), "north")),
	}
	for name, raw := range spoiledProvenances(w) {
		out["slsa-"+name] = v("met", "not what the result's own key has to say of it", east, north, raw)
	}
	return out
}

func waived(v vector, statements ...[]byte) vector {
	for _, s := range statements {
		v.Waive = append(v.Waive, string(store.DigestOf(mustPayloadOf(s))))
	}
	return v
}

func mustPayloadOf(envelope []byte) []byte {
	e, err := attest.ParseEnvelope("e", envelope)
	if err != nil {
		panic(err)
	}
	signed, err := e.Verify([]attest.PublicKey{attesttest.Key("east").Public(), attesttest.Key("north").Public(), attesttest.Key("west").Public()})
	if err != nil {
		panic(err)
	}
	return signed.Payload()
}

// companionReleases list provenance among their statements.
func companionReleases(w *attesttest.World) map[string]vector {
	both := append(w.Statements(), w.Provenances()...)
	r := w.Release(both, nil, attesttest.PackageTOML, []string{"r1"}, []string{"r1", "r2"})
	with := func(expect, why string, change func(v *vector)) vector {
		v := bundleVector(expect, why, attesttest.Policy(""), r.Bundle)
		change(&v)
		return v
	}
	spoiled := spoiledProvenances(w)
	unlisted := with("ok", "one that came later", func(v *vector) {
		honest := releaseVectors(w)["honest"]
		v.Envelope, v.Statements = honest.Envelope, append(slices.Clone(honest.Statements), string(w.Provenance("east", nil)))
	})
	return map[string]vector{
		"slsa":      with("ok", "results and their provenance", func(*vector) {}),
		"slsa-late": unlisted,
		"slsa-missing": with("EVIDENCE_MISMATCH", "one that is listed", func(v *vector) {
			v.Statements = slices.DeleteFunc(v.Statements, func(s string) bool { return s == string(both[3]) })
		}),
		"slsa-unlisted-bad": with("ok", "a bad one that nobody listed", func(v *vector) { v.Statements = append(v.Statements, string(spoiled["other-image"])) }),
	}
}

// verifier signs summaries.
var verifier = attest.Verifier{Name: "us", Version: "1.0.0"}

func (v *vector) runSummary() judgement {
	policy, err := attest.LoadPolicy("policy.toml", []byte(v.Policy))
	if err != nil {
		return judged(err)
	}
	by := attest.Verifier{Name: v.Verifier, Version: v.Version}
	var payload []byte
	if v.Envelope != "" {
		payload, err = attest.NewReleaseVSA(policy, v.bundle(), by, v.now())
	} else {
		payload, err = v.summarised(policy, by)
	}
	if err != nil {
		return judged(err)
	}
	return judged(nil, string(payload))
}

func (v *vector) summarised(policy *attest.Policy, by attest.Verifier) ([]byte, error) {
	p, err := attest.DecodePlan("plan.json", []byte(v.Plan))
	if err != nil {
		return nil, err
	}
	verdict, err := attest.Judge(policy, p, texts(v.Statements), nil, nil, v.now())
	if err != nil {
		return nil, err
	}
	return attest.NewVerdictVSA(policy, verdict, by, v.now())
}

// summaryVectors are verdicts and releases in the words of SLSA.
func summaryVectors(w *attesttest.World) map[string]vector {
	v := func(expect, why string, statements ...[]byte) vector {
		out := vector{Expect: expect, Why: why, Policy: attesttest.Policy(""), Plan: string(w.PlanJSON), Verifier: "us"}
		for _, s := range statements {
			out.Statements = append(out.Statements, string(s))
		}
		return out
	}
	of := func(v vector, expect, why string) vector {
		v.Expect, v.Why, v.Verifier = expect, why, "us"
		return v
	}
	with := func(v vector, change func(v *vector)) vector { change(&v); return v }
	other := w.Stage("hello", []store.File{{Path: "bin/hello", Mode: 0o755, Data: []byte("another")}})
	differs := func(r *attest.Result) { r.Stages[1] = other }
	opaque := func(_ int, r *attest.Result) { r.Lineage = nil }
	plain := func(int, *attest.Result) {}
	failed := func(r *attest.Result) {
		r.Outcome, r.Failure, r.Stages = attest.OutcomeNotDeterministic, &attest.Failure{Stage: "hello"}, r.Stages[:1]
		r.Repeat.Equal = false
	}
	east, north, west := w.Statement("east", nil), w.Statement("north", nil), w.Statement("west", nil)
	slsa := w.Provenances()
	reporting := attesttest.Policy(reportingDissent)
	alone := attesttest.Policy("")
	alone = strings.Replace(alone, `need = 2, of = ["east", "north", "west"]`, `need = 1, of = ["east"]`, 1)
	released := releaseVectors(w)
	companions := companionReleases(w)["slsa"]
	located := func(locator string) vector {
		v := of(released["honest"], "ok", "where it can be had")
		v.Envelope = respoil(w, w.Honest().Payload, func(p object) { p["locator"] = locator })
		return v
	}
	two := of(release(w, attesttest.Policy(""), []string{"hello"}, plain, plain).vector, "ok", "")
	// second adds statements about the second platform's plan
	second := func(edit func(*attest.Result), provenance bool) []vectorBuild {
		builds := slices.Clone(two.Builds)
		plan, err := attest.DecodePlan("plan.json", []byte(builds[1].Plan))
		must(w.T, err)
		builds[1].Statements = slices.Clone(builds[1].Statements)
		for _, name := range []string{"east", "north", "west"} {
			payload, err := attest.NewResultStatement(plan, w.Result(name, edit))
			must(w.T, err)
			if provenance {
				payload, err = attest.NewProvenanceStatement(plan, payload)
				must(w.T, err)
			}
			builds[1].Statements = append(builds[1].Statements, string(w.Sign(payload, name)))
		}
		return builds
	}
	return map[string]vector{
		"verdict":           v("ok", "bootstrapped; not reproduced, as SLSA wants the provenance of each", east, north, west),
		"version":           with(v("ok", "which program judged", east, north, west), func(v *vector) { v.Version = "1.0.0" }),
		"reproduced":        v("ok", "by two, with their provenance", east, north, slsa[0], slsa[1]),
		"one-provenance":    v("ok", "one of two has none", east, north, slsa[0]),
		"third-did-not":     with(v("ok", "who did not count needs none", east, north, w.Statement("west", differs), slsa[0], slsa[1]), func(v *vector) { v.Policy = reporting }),
		"one-operator":      with(v("ok", "one is not reproduced", east, slsa[0]), func(v *vector) { v.Policy = alone }),
		"not-bootstrapped":  v("ok", "nothing that SLSA has a word for", w.Statement("east", func(r *attest.Result) { r.Lineage = nil }), north),
		"dissent":           v("ok", "failed: both images", east, north, w.Statement("west", differs)),
		"dissent-no-image":  v("ok", "failed: no image of the one", east, w.Statement("west", failed)),
		"dissent-no-images": v("ok", "failed: no image at all, so the plan", w.Statement("west", failed)),
		"pending":           v("QUORUM_PENDING", "nothing to say yet", east),
		"verifier":          with(v("STRUCTURE", "a name that is a path", east, north), func(v *vector) { v.Verifier = "../us" }),
		"release":           of(released["honest"], "ok", "of a release"),
		"release-slsa":      of(companions, "ok", "reproduced"),
		"release-bad":       of(released["one-signer"], "SIGNATURE_INVALID", "what does not verify is not summarised"),
		"release-dissent": with(of(released["honest"], "ok", "failed"), func(v *vector) {
			v.Statements = append(slices.Clone(v.Statements), string(w.Statement("west", func(r *attest.Result) { r.Stages[1], r.Nonce = other, strings.Repeat("9", 64) })))
		}),
		"release-other-policy": of(releaseChecks(w)["lists-refused-2"], "ok", "what this policy judged, and not what the release lists"),
		"release-two-dissent":  with(two, func(v *vector) { v.Why = "failed, for one of two platforms"; v.Builds = second(differs, false) }),
		"release-two-slsa":     with(two, func(v *vector) { v.Why = "one of two platforms has no provenance"; v.Builds = second(nil, true) }),
		"release-located":      located("https://example.org/hello.tar"),
		"release-path":         located("mirror/hello.tar"),
		"release-odd":          located("https://example.org/ä b"),
		"release-two":          of(release(w, alone, []string{"hello"}, opaque, plain).vector, "ok", "one platform is not bootstrapped"),
		"release-two-b":        of(release(w, alone, []string{"hello"}, plain, opaque).vector, "ok", "the other is not"),
	}
}

func vsaVectors(w *attesttest.World) map[string]vector {
	summary := func(statements ...[]byte) []byte {
		payload, err := attest.NewVerdictVSA(w.LoadPolicy(), judgedBy(w, statements...), verifier, attesttest.Now)
		must(w.T, err)
		return payload
	}
	honest := summary(w.Statements()...)
	v := func(expect, why string, envelope []byte) vector {
		return vector{Expect: expect, Why: why, Envelope: string(envelope), Verifier: verifier.ID(), Key: key64("verifier")}
	}
	signed := func(expect, why string, payload []byte) vector { return v(expect, why, w.Sign(payload, "verifier")) }
	spoiled := func(expect, why string, spoil func(o, p object)) vector {
		return signed(expect, why, edit(honest, func(o object) { spoil(o, sub(o, "predicate")) }))
	}
	text := func(why, from, to string) vector {
		return signed("PARSE", why, []byte(strings.Replace(string(honest), from, to, 1)))
	}
	other := w.Stage("hello", []store.File{{Path: "bin/hello", Mode: 0o755, Data: []byte("another")}})
	west := w.Statement("west", func(r *attest.Result) { r.Stages[1] = other })
	release, err := attest.NewReleaseVSA(w.LoadPolicy(), w.Honest().Bundle, verifier, attesttest.Now)
	must(w.T, err)
	wrong := v("ok", "", w.Sign(honest, "verifier"))
	wrong.Expect, wrong.Why, wrong.Verifier = "EVIDENCE_MISMATCH", "a key counts for its own verifier alone", "urn:rebuild:verifier:them"
	return map[string]vector{
		"passed":         signed("ok", "the summary that the other vectors start from", honest),
		"reproduced":     signed("ok", "with the provenance of each vote", summary(append(w.Statements(), w.Provenances()...)...)),
		"failed":         signed("ok", "a dissent", summary(w.Statement("east", nil), w.Statement("north", nil), west)),
		"release":        signed("ok", "of a release", release),
		"other-verifier": wrong,
		"unknown-key":    v("KEY_UNKNOWN", "anybody can say so", w.Sign(honest, "stranger")),
		"two-signatures": v("STRUCTURE", "whose is it", w.Sign(honest, "verifier", "stranger")),
		"bad-signature": v("SIGNATURE_INVALID", "over something else", edit(w.Sign(honest, "verifier"), func(o object) {
			sub(o, "signatures", 0)["sig"] = strangerSig(w, honest)
		})),
		"foreign-fields": spoiled("ok", "what SLSA does not define is passed over, what it leaves open may be absent", func(o, p object) {
			o["https://example.org/note"] = "x"
			p["dependencyLevels"] = object{"SLSA_BUILD_LEVEL_3": 5}
			sub(o, "subject", 0, "digest")["gitCommit"] = otherDigest[7:]
			for _, name := range []string{"timeVerified", "slsaVersion", "inputAttestations"} {
				delete(p, name)
			}
			delete(sub(p, "verifier"), "version")
		}),
		"other-predicate":   spoiled("STRUCTURE", "another kind of statement", func(o, _ object) { o["predicateType"] = attest.PredicateResult }),
		"other-type":        spoiled("STRUCTURE", "another kind of document", func(o, _ object) { o["_type"] = "https://in-toto.io/Statement/v0.1" }),
		"no-subject":        spoiled("STRUCTURE", "of nothing", func(o, _ object) { o["subject"] = []any{} }),
		"subject-no-digest": spoiled("STRUCTURE", "of what", func(o, _ object) { delete(sub(o, "subject", 0, "digest"), "sha256") }),
		"verifier-renamed":  spoiled("EVIDENCE_MISMATCH", "another verifier's name", func(_, p object) { sub(p, "verifier")["id"] = "urn:rebuild:verifier:them" }),
		"no-verifier":       spoiled("EVIDENCE_MISMATCH", "nobody's", func(_, p object) { delete(p, "verifier") }),
		"no-resource":       spoiled("STRUCTURE", "of what", func(_, p object) { delete(p, "resourceUri") }),
		"no-policy":         spoiled("STRUCTURE", "by what", func(_, p object) { delete(p, "policy") }),
		"no-levels":         spoiled("STRUCTURE", "what was found", func(_, p object) { p["verifiedLevels"] = []any{} }),
		"no-result":         spoiled("SEMANTIC", "neither passed nor failed", func(_, p object) { delete(p, "verificationResult") }),
		"result-lower-case": spoiled("SEMANTIC", "another word", func(_, p object) { p["verificationResult"] = "passed" }),
		"failed-in-a-pass":  spoiled("SEMANTIC", "passed and failed", func(_, p object) { p["verifiedLevels"] = []any{attest.LevelReproduced, "FAILED"} }),
		"input-no-digest":   spoiled("STRUCTURE", "of what", func(_, p object) { delete(sub(p, "inputAttestations", 0), "digest") }),
		"time-words":        spoiled("STRUCTURE", "no time", func(_, p object) { p["timeVerified"] = "yesterday" }),
		"time-zone":         spoiled("ok", "any time of RFC 3339", func(_, p object) { p["timeVerified"] = "2026-06-01T14:00:00+02:00" }),
		"list-for-a-name":   spoiled("STRUCTURE", "another type", func(_, p object) { p["resourceUri"] = []any{"x"} }),
		"member-twice":      text("other readers would take the other", `"verificationResult":"PASSED"`, `"verificationResult":"FAILED","verificationResult":"PASSED"`),
		"not-utf-8":         text("no text", "urn:rebuild:policy", "\xff"),
		"cut":               signed("PARSE", "half of it", honest[:len(honest)-1]),
		"two-values":        signed("PARSE", "which of them", append(slices.Clone(honest), "{}"...)),
		"key-of-small-order": func() vector {
			v := signed("KEY_WEAK", "a key under which anything verifies", honest)
			v.Key = weakKey()
			return v
		}(),
	}
}

// weakKey is a key under which one signature verifies anything.
func weakKey() string { return (attest.PublicKey{1}).String() }

func judgedBy(w *attesttest.World, statements ...[]byte) *attest.Verdict {
	v, err := attest.Judge(w.LoadPolicy(), w.Plan, statements, nil, nil, attesttest.Now)
	must(w.T, err)
	return v
}

func policyUpdateVectors(w *attesttest.World) map[string]vector {
	text := func(pairs ...string) string {
		out := attesttest.Policy("")
		for i := 0; i < len(pairs); i += 2 {
			if strings.Count(out, pairs[i]) != 1 {
				panic(pairs[i])
			}
			out = strings.Replace(out, pairs[i], pairs[i+1], 1)
		}
		return out
	}
	load := func(text string) *attest.Policy {
		p, err := attest.LoadPolicy("policy.toml", []byte(text))
		if err != nil {
			panic(err)
		}
		return p
	}
	sign := func(payload []byte, by ...string) string {
		out, err := attest.Sign(payload, signersOf(by)...)
		if err != nil {
			panic(err)
		}
		return string(out)
	}
	next := text(v1, v2)
	payload := func(old, next string) []byte {
		u, err := attest.NewPolicyUpdate(load(old), load(next))
		if err != nil {
			panic(err)
		}
		return u.Payload()
	}
	honest := payload(text(), next)
	of := func(expect, why, old, next string) vector {
		v := vector{Expect: expect, Why: why, Policy: old, Next: next}
		if _, err := attest.NewPolicyUpdate(load(old), load(next)); err == nil {
			v.Envelope = sign(payload(old, next), "root")
		} else if fault.CodeOf(err) != fault.Code(expect) {
			panic(err)
		}
		return v
	}
	by := func(expect, why string, names ...string) vector {
		old, next := text(oneRoot, roots(2, "root", "root2", "root3")), text(v1, v2, oneRoot, roots(2, "root3", "root4", "root5"))
		return vector{Expect: expect, Why: why, Policy: old, Next: next, Envelope: sign(payload(old, next), names...)}
	}
	forged := func(expect, why, from, to string) vector {
		if !strings.Contains(string(honest), from) {
			panic(from)
		}
		v := of("ok", "", text(), next)
		v.Expect, v.Why, v.Envelope = expect, why, sign([]byte(strings.Replace(string(honest), from, to, 1)), "root")
		return v
	}
	with := func(v vector, change func(v *vector)) vector { change(&v); return v }
	return map[string]vector{
		"next":             of("ok", "the update that the other vectors start from", text(), next),
		"loosened":         of("ok", "a lower threshold is told as looser", text("need = 2, of", "need = 3, of"), next),
		"same-text":        of("ROLLBACK", "nothing newer", text(), text()),
		"older":            of("ROLLBACK", "what was taken out would come back", text(v1, "version = 3\n"), next),
		"same-number":      of("ROLLBACK", "two texts under one number", text(), text("need = 2, of", "need = 3, of")),
		"one-left-out":     of("POLICY_INVALID", "what came between was not seen", text(), text(v1, "version = 3\n")),
		"fast-forward":     of("POLICY_INVALID", "no number would be left", text(), text(v1, "version = 9007199254740991\n")),
		"other-policy":     of("POLICY_INVALID", "another policy", text(), text(v1, v2, `name = "demo"`, `name = "omed"`)),
		"roots-both":       by("ok", "enough of both", "root", "root2", "root4", "root5"),
		"roots-in-both":    by("ok", "one key in both counts for each", "root", "root3", "root5"),
		"roots-old":        by("SIGNATURE_INVALID", "only the old: it may leave the new to nobody", "root", "root2", "root3"),
		"roots-new":        by("SIGNATURE_INVALID", "only the new: anybody could write one", "root3", "root4", "root5"),
		"roots-one-old":    by("SIGNATURE_INVALID", "one of the old", "root", "root4", "root5"),
		"roots-one-new":    by("SIGNATURE_INVALID", "one of the new", "root", "root2", "root4"),
		"roots-nobody":     by("KEY_UNKNOWN", "no root key", "stranger", "north", "r1"),
		"roots-stranger":   by("ok", "strangers do no harm", "root", "root2", "root4", "root5", "stranger"),
		"roots-of-signers": by("SIGNATURE_INVALID", "signers and operators have no say", "root", "r1", "north", "root4", "root5"),
		"roots-copies": with(by("SIGNATURE_INVALID", "a key twice is one", "root", "root4", "root5"), func(v *vector) {
			v.Envelope = string(edit([]byte(v.Envelope), func(o object) {
				all := o["signatures"].([]any)
				for i := range all {
					if sub(o, "signatures", i)["keyid"] == string(attesttest.Key("root").Public().ID()) {
						o["signatures"] = append(all, object{"sig": sub(o, "signatures", i)["sig"]})
					}
				}
			}))
		}),
		"predicate-type": forged("STRUCTURE", "another kind of statement", "urn:rebuild:policy:1", "urn:rebuild:release:1"),
		"subject":        forged("SEMANTIC", "of another policy", "policy:demo", "policy:omed"),
		"subject-digest": forged("SEMANTIC", "of another text", load(next).Digest().Hex(), load(text()).Digest().Hex()),
		"value":          forged("EVIDENCE_MISMATCH", "signed was another text", `"need":2,"of"`, `"need":1,"of"`),
		"not-canonical":  forged("PARSE", "one statement has one form", `{"_type"`, `{ "_type"`),
		"member-twice":   forged("PARSE", "which of them", `"version":2`, `"version":2,"version":2`),
		"newer":          forged("SCHEMA_UNSUPPORTED", "a later form", "rebuild.policy@1.0.0", "rebuild.policy@2.0.0"),
		"no-envelope":    with(of("ok", "", text(), next), func(v *vector) { v.Expect, v.Why, v.Envelope = "STRUCTURE", "nobody signed", string(honest) }),
		"bad-signature": with(of("ok", "", text(), next), func(v *vector) {
			v.Expect, v.Why = "SIGNATURE_INVALID", "under a known key, over something else"
			v.Envelope = string(edit([]byte(v.Envelope), func(o object) { sub(o, "signatures", 0)["sig"] = strangerSig(w, honest) }))
		}),
	}
}

// changeVectors are updates of which each line says something else: what
// makes it easier to pass has to stand out.
func changeVectors(w *attesttest.World) map[string]vector {
	const quorum = "quorum = \"main\"\n"
	const main = `groups.main = { need = 2, of = ["east", "north", "west"] }`
	key := func(name, more string) string { return `keys = [{ key = "` + key64(name) + `"` + more + ` }]` }
	before := func(line string) []string { return []string{quorum, quorum + line + "\n"} }
	east := key("east", "")
	window := func(more string) []string { return []string{east, key("east", more)} }
	logAt := func(age string, need int, witnesses ...string) []string {
		text := attesttest.LogPolicy(need, witnesses...)
		if age != "" {
			text = strings.Replace(text, "[witnesses]", "max_age = \""+age+"\"\n[witnesses]", 1)
		}
		return []string{"[operators.east]", text + "[operators.east]"}
	}
	of := func(why string, old, next []string) vector {
		edited := func(pairs ...string) string {
			text := attesttest.Policy("")
			for i := 0; i < len(pairs); i += 2 {
				if strings.Count(text, pairs[i]) != 1 {
					panic(pairs[i])
				}
				text = strings.Replace(text, pairs[i], pairs[i+1], 1)
			}
			return text
		}
		v := vector{Expect: "ok", Why: why, Policy: edited(old...), Next: edited(append([]string{v1, v2}, next...)...)}
		var loaded []*attest.Policy
		for _, text := range []string{v.Policy, v.Next} {
			p, err := attest.LoadPolicy("policy.toml", []byte(text))
			must(w.T, err)
			loaded = append(loaded, p)
		}
		u, err := attest.NewPolicyUpdate(loaded[0], loaded[1])
		must(w.T, err)
		v.Envelope = string(w.Sign(u.Payload(), "root", "root2"))
		return v
	}
	both := func(all ...[]string) []string { return slices.Concat(all...) }
	labels := func(text, diversity string) []string {
		return both([]string{"[operators.east]\n", "[operators.east]\nlabels = { jurisdiction = \"" + text + "\" }\n"}, before(diversity))
	}
	south := "[operators.south]\n" + key("south", "") + "\n[operators.west]"
	report := before(`dissent = { on = "report" }`)
	silenced := []string{main, `groups.main = { need = 2, of = ["east", "north"] }`}
	second := func(name string) string { // that operator with another key
		return strings.Replace(key(name, ""), "}]", `}, { key = "`+key64(name+"2")+`" }]`, 1)
	}
	west := []string{key("west", ""), second("west")}
	third := []string{`key = "` + key64("r2") + `" }`, `key = "` + key64("r2") + `" }, { name = "r3", key = "` + key64("r3") + `" }`}
	beside := func(of string) string { return "groups.other = { need = 1, of = [" + of + "] }\n" }
	return map[string]vector{
		"change-need":             of("fewer must agree", nil, []string{"need = 2, of", "need = 1, of"}),
		"change-need-raised":      of("more must agree", nil, []string{"need = 2, of", "need = 3, of"}),
		"change-operators":        of("one more may vote", nil, []string{`"west"] }`, `"south", "west"] }`, "[operators.west]", south}),
		"change-operators-less":   of("one less may vote", nil, []string{main, `groups.main = { need = 2, of = ["east", "north"] }`}),
		"change-operators-quiet":  of("one less may vote, whose dissent never blocked", report, both(report, silenced)),
		"change-voice-group":      of("a voice less, and a group that nobody asks for", nil, []string{silenced[0], beside(`"east"`) + silenced[1]}),
		"change-voice-signer":     of("a voice less, and a signer", third, silenced),
		"change-voice-key":        of("a key of an operator less, whose dissent is then a stranger's", west, nil),
		"change-voice-key-quiet":  of("a key less of one whose dissent never blocked", both(report, west), report),
		"change-voice-key-other":  of("a key less of one who does not count", []string{"[operators.west]", strings.Replace(south, key("south", ""), second("south"), 1)}, []string{"[operators.west]", south}),
		"change-group-less":       of("one less in a group that nobody asks for", []string{main, beside(`"east", "west"`) + main}, []string{main, beside(`"east"`) + main}),
		"change-dissent":          of("a dissent no longer blocks", nil, before(`dissent = { on = "report" }`)),
		"change-dissent-blocks":   of("a dissent blocks", before(`dissent.on = "report"`), before(`dissent.on = "block"`)),
		"change-failures":         of("a failure no longer blocks", before(`dissent.build_failed = "block"`), nil),
		"change-failures-block":   of("a failure blocks", nil, before(`dissent.build_failed = "block"`)),
		"change-waivers":          of("said, and the default", before("dissent.waiver_need = 2"), nil),
		"change-waivers-fewer":    of("fewer can waive", both(before("dissent.waiver_need = 2"), []string{"signers = { need = 2", "signers = { need = 1"}), []string{"signers = { need = 2", "signers = { need = 1"}),
		"change-signers":          of("fewer must sign", nil, []string{"signers = { need = 2", "signers = { need = 1"}),
		"change-require-less":     of("votes need less", before("require = { deterministic = true, max_seed_bytes = 288 }"), before("require = { deterministic = false }")),
		"change-require-unsaid":   of("said, and the default", before("require = { deterministic = false }"), nil),
		"change-dissent-said":     of("said, and the default", nil, before(`dissent = { on = "block" }`)),
		"change-failures-said":    of("said, and the default", nil, before(`dissent = { build_failed = "report" }`)),
		"change-require-more":     of("votes need more", nil, before("require = { fresh = true, max_seed_bytes = 1 }")),
		"change-seeds":            of("larger seeds", before("require.max_seed_bytes = 288"), before("require.max_seed_bytes = 1000")),
		"change-seeds-less":       of("smaller seeds", before("require.max_seed_bytes = 288"), before("require.max_seed_bytes = 287")),
		"change-diversity":        of("less different", before("diversity.kernel = 3"), before("diversity.kernel = 2")),
		"change-diversity-raised": of("more different", before("diversity.kernel = 2"), before("diversity.kernel = 3")),
		"change-diversity-gone":   of("no more different", before("diversity.kernel = 2"), nil),
		"change-diversity-new":    of("different", nil, before("diversity.kernel = 2")),
		"change-label":            of("a label that is asked for", labels("aq", "diversity.jurisdiction = 1"), labels("no", "diversity.jurisdiction = 1")),
		"change-label-asked-now":  of("a label that is asked for now", labels("aq", ""), labels("no", "diversity.jurisdiction = 1")),
		"change-label-asked-then": of("a label that was asked for", labels("aq", "diversity.jurisdiction = 1"), labels("no", "")),
		"change-label-unasked":    of("a label that nobody asks for", labels("aq", ""), labels("no", "")),
		"change-root":             of("another root key", []string{oneRoot, roots(1, "root")}, []string{oneRoot, roots(1, "root2")}),
		"change-expires-later":    of("valid for longer", nil, []string{"2027-06-30", "2028-06-30"}),
		"change-expires-earlier":  of("valid for less", nil, []string{"2027-06-30", "2026-06-30"}),
		"change-expires-never":    of("valid for ever", nil, []string{"expires = \"2027-06-30T00:00:00Z\"\n", ""}),
		"change-expires-now":      of("no longer for ever", []string{"expires = \"2027-06-30T00:00:00Z\"\n", ""}, nil),
		"change-key-ends":         of("a key ends", nil, window(`, not_after = "2027-01-01T00:00:00Z"`)),
		"change-key-lives-on":     of("a key lives on", window(`, not_after = "2027-01-01T00:00:00Z"`), window(`, not_after = "2028-01-01T00:00:00Z"`)),
		"change-key-ends-earlier": of("a key ends earlier", window(`, not_after = "2027-01-01T00:00:00Z"`), window(`, not_after = "2026-12-01T00:00:00Z"`)),
		"change-key-for-ever":     of("a key never ends", window(`, not_after = "2027-01-01T00:00:00Z"`), nil),
		"change-key-comes-back":   of("a key comes back", window(`, revoked_from = 7`), nil),
		"change-key-later":        of("a key is revoked later", window(`, revoked_from = 7`), window(`, revoked_from = 10`)),
		"change-key-earlier":      of("a key is revoked earlier", window(`, revoked_from = 10`), window(`, revoked_from = 7`)),
		"change-key-revoked":      of("a key is revoked", nil, window(`, revoked_from = 7`)),
		"change-key-began":        of("a key begins earlier", window(`, not_before = "2026-01-01T00:00:00Z"`), window(`, not_before = "2025-01-01T00:00:00Z"`)),
		"change-key-begins":       of("a key begins later", window(`, not_before = "2025-01-01T00:00:00Z"`), window(`, not_before = "2026-01-01T00:00:00Z"`)),
		"change-key-began-ever":   of("a key that always counted", window(`, not_before = "2026-01-01T00:00:00Z"`), nil),
		"change-key-begins-new":   of("a key that begins", nil, window(`, not_before = "2026-01-01T00:00:00Z"`)),
		"change-name":             of("a name alone", nil, []string{`name = "r1"`, `name = "r9"`}),
		"change-places": of("the order of keys means nothing", nil, []string{`{ name = "r1", key = "` + key64("r1") + `" }, { name = "r2", key = "` + key64("r2") + `" }`,
			`{ name = "r2", key = "` + key64("r2") + `" }, { name = "r1", key = "` + key64("r1") + `" }`}),
		"change-quorum":      of("another group", []string{main, "groups.other = { need = 3, of = [\"east\", \"north\", \"west\"] }\n" + main}, []string{main, "groups.other = { need = 3, of = [\"east\", \"north\", \"west\"] }\n" + main, quorum, "quorum = \"other\"\n"}),
		"change-group-new":   of("a group that was not there", nil, []string{main, "groups.other = { need = 1, of = [\"east\"] }\n" + main}),
		"change-log":         of("a log", nil, logAt("", 0)),
		"change-log-gone":    of("no log", logAt("", 0), nil),
		"change-log-older":   of("older heads", logAt("", 0), logAt("25h", 0)),
		"change-log-newer":   of("newer heads", logAt("36h", 0), logAt("90m", 0)),
		"change-log-as-old":  of("said, and the default", logAt("", 0), logAt("24h", 0)),
		"change-log-key":     of("another key", logAt("", 0), []string{"[operators.east]", strings.Replace(attesttest.LogPolicy(0), attesttest.VerifierKey(attesttest.Origin, "log", 1), attesttest.VerifierKey(attesttest.Origin, "other log", 1), 1) + "[operators.east]"}),
		"change-log-dates":   of("a log, which dates what a key signed before it ended", window(`, not_after = "2027-01-01T00:00:00Z"`), both(window(`, not_after = "2027-01-01T00:00:00Z"`), logAt("", 0))),
		"change-log-revoked": of("a log, which dates what a key signed before it was revoked", window(`, revoked_from = 7`), both(window(`, revoked_from = 7`), logAt("", 0))),
		"change-witnesses":   of("fewer witnesses", logAt("", 2, "w1", "w2"), logAt("", 1, "w1", "w2")),
		"change-witness-new": of("a witness more", logAt("", 1, "w1"), logAt("", 1, "w1", "w2")),
		"change-witness":     of("a witness less", logAt("", 1, "w1", "w2"), logAt("", 1, "w1")),
	}
}

func claimVectors(w *attesttest.World) map[string]vector {
	result, provenance := mustPayload(w, "north"), w.ProvenancePayload("north", nil)
	v := func(expect, why string, payload []byte) vector {
		return vector{Expect: expect, Why: why, Envelope: string(w.Sign(payload, "stranger"))}
	}
	out := map[string]vector{
		"result":      v("ok", "whoever signed it", result),
		"provenance":  v("ok", "whoever signed it", provenance),
		"no-envelope": {Expect: "STRUCTURE", Why: "no envelope", Envelope: "{}"},
		"no-json":     v("PARSE", "no JSON", []byte("junk")),
		"release":     v("STRUCTURE", "a release is filed by its name", w.Honest().Payload),
	}
	for kind, payload := range map[string][]byte{"result": result, "provenance": provenance} {
		for name, c := range map[string][3]string{
			"path": {"a path for a name", "north", "../north"}, "nobody": {"no name", "north", ""}, "capitals": {"no name", "north", "North"},
			"type": {"another type", `"predicateType":"`, `"predicateType":"x`}, "plan-path": {"a path for a digest", string(w.Plan.Digest()), "sha256:../../x"},
			"no-plan": {"of what", string(w.Plan.Digest()), ""},
		} {
			out[kind+"-"+name] = v("STRUCTURE", c[0], []byte(strings.ReplaceAll(string(payload), c[1], c[2])))
		}
	}
	return out
}

// sumsVectors are releases whose operators' results are turned into sums.
func sumsVectors(w *attesttest.World) map[string]vector {
	of := func(expect, why, policy string, statements ...[]byte) vector {
		own := *w
		own.PolicyTOML = policy
		return bundleVector(expect, why, policy, own.Release(statements, nil, attesttest.PackageTOML, []string{"r1"}, []string{"r1", "r2"}).Bundle)
	}
	reporting := attesttest.Policy(reportingDissent)
	east, north, west := w.Statement("east", nil), w.Statement("north", nil), w.Statement("west", nil)
	other := w.Stage("hello", []store.File{{Path: "hello", Mode: 0o755, Data: []byte("something else")}})
	failed := w.Statement("west", func(r *attest.Result) {
		r.Outcome, r.Failure, r.Stages = attest.OutcomeInfraFailed, &attest.Failure{Stage: "hello"}, r.Stages[:1]
	})
	honest := of("ok", "the same lines of each", attesttest.Policy(""), east, north, west)
	with := func(v vector, change func(v *vector)) vector { change(&v); return v }
	two := release(w, attesttest.Policy(""), []string{"hello"}, func(int, *attest.Result) {}, func(int, *attest.Result) {}).vector
	two.Expect, two.Why = "ok", "of two platforms"
	many := release(w, attesttest.Policy(""), []string{"base", "hello"}).vector
	misfiled := two
	misfiled.Builds = slices.Clone(two.Builds)
	misfiled.Why = "an envelope in the folder of another plan"
	misfiled.Builds[1].Statements = append(slices.Clone(two.Builds[1].Statements), string(w.Sign(mustPayloadOf([]byte(two.Builds[0].Statements[0])), "stranger")))
	manifest := func(why, text string) vector {
		v := renamed(w, releaseVectors(w)["honest"], "STRUCTURE", why, text, nil, nil)
		v.Layout = nil
		return v
	}
	many.Expect, many.Why = "EVIDENCE_MISMATCH", "of several targets no manifest is needed, but here one is"
	return map[string]vector{
		"honest":       honest,
		"dissent":      of("ok", "its line is another, under the released name", reporting, east, north, w.Statement("west", func(r *attest.Result) { r.Stages[1] = other })),
		"self-dissent": of("ok", "both lines of one who contradicts itself", reporting, east, north, west, w.Statement("west", func(r *attest.Result) { r.Stages[1], r.Nonce = other, strings.Repeat("9", 64) })),
		"provenance":   of("ok", "sums are of results", attesttest.Policy(""), append([][]byte{east, north, west}, w.Provenances()...)...),
		"failed":       of("ok", "nothing was built", attesttest.Policy(""), east, north, failed),
		"outsiders": with(honest, func(v *vector) {
			v.Why = "nothing is known of who signed"
			v.Statements = append(v.Statements, string(w.Sign(mustPayloadOf(failed), "stranger")), string(otherPlan(w, "west")), "junk")
		}),
		"two":          two,
		"misfiled":     misfiled,
		"manifest":     manifest("a path for a digest", `{"config":{"digest":"../../x"},"layers":[]}`),
		"manifest-two": func() vector { v := manifest("no manifest", "junk"); v.Expect = "PARSE"; return v }(),
		"no-manifest":  many,
		"unverified": with(honest, func(v *vector) {
			v.Expect, v.Why, v.Statements = "EVIDENCE_MISMATCH", "verified first", v.Statements[1:]
		}),
	}
}

// scanVectors are spellings of JSON, in the envelope that every document of
// several hands comes in. A keyid may hold any text.
func scanVectors(w *attesttest.World) map[string]vector {
	good, err := document.Encode(object{"payload": "", "payloadType": attest.PayloadType, "signatures": []any{object{"keyid": "KEYID", "sig": strings.Repeat("A", 86) + "=="}}})
	must(w.T, err)
	v := func(expect, why, text string) vector { return vector{Expect: expect, Why: why, Envelope: text} }
	keyid := func(expect, why, text string) vector {
		return v(expect, why, strings.Replace(string(good), "KEYID", text, 1))
	}
	out := map[string]vector{
		"text-escapes":        keyid("ok", "each escape that there is", `\"\\\b\t\n\f\r\u0000\u000b\u001f k\né`),
		"text-control":        keyid("PARSE", "a control character as it is", "a\nb"),
		"text-control-behind": keyid("PARSE", "behind an escape too", `\n`+"\x1f"),
		"text-space-behind":   keyid("ok", "the first that is no control character", `\n `),
		"text-cut-escape":     v("PARSE", "half an escape", `{"payload":"\`),
		"text-cut-behind":     v("PARSE", "nothing behind an escape", `{"payload":"\n`),
		"text-cut-hex":        v("PARSE", "half an escape", `{"payload":"\u001`),
		"text-cut-behind-hex": v("PARSE", "nothing behind an escape", `{"payload":"\u0001`),
		"key-escape":          v("PARSE", "text has one form", `{"\u0070ayload":""}`),
		"key-cut":             v("PARSE", "half a key", `{"payl`),
		"key-bare":            v("PARSE", "no text for a key", `{1":2}`),
		"no-colon":            v("PARSE", "another sign", `{"payload";""}`),
		"no-comma":            v("PARSE", "another sign", `{"payload":"";"payloadType":""}`),
		"no-comma-array":      v("PARSE", "another sign", `{"payload":[1;2]}`),
		"word":                v("PARSE", "no word of JSON", `{"payload":tale}`),
		"word-false":          v("PARSE", "no word of JSON", `{"payload":fable}`),
		"true":                v("STRUCTURE", "sound, and no text", `{"payload":true}`),
		"false":               v("STRUCTURE", "sound, and no text", `{"payload":false}`),
		"number-none":         v("PARSE", "a sign alone", `{"payload":-}`),
		"number-one":          v("STRUCTURE", "sound, and no text", `{"payload":1}`),
		"number-sum":          v("PARSE", "no number", `{"payload":1+1}`),
		"number-zeros":        v("PARSE", "a second one", `{"payload":01}`),
		"number-17-digits":    v("PARSE", "not exact in a double", `{"payload":10000000000000000}`),
		"number-2-to-64":      v("PARSE", "it comes round to 1", `{"payload":18446744073709551617}`),
		"trailing-tab":        v("PARSE", "one envelope would have two forms", string(good)+"\t"),
		"trailing-return":     v("PARSE", "one envelope would have two forms", string(good)+"\r"),
		"depth-32-objects":    v("STRUCTURE", "as deep as it may be", strings.Repeat(`{"a":`, 31)+"{}"+strings.Repeat("}", 31)),
		"depth-33-objects":    v("PARSE", "deeper", strings.Repeat(`{"a":`, 32)+"{}"+strings.Repeat("}", 32)),
	}
	for name, escape := range map[string]string{"slash": `\/`, "unknown": `\a`, "letter": `\u0041`, "space": `\u0020`, "far": `\u0100`, "farther": `\u1000`,
		"upper-case": `\u000B`, "8": `\u0008`, "9": `\u0009`, "a": `\u000a`, "c": `\u000c`, "d": `\u000d`, "quote": `\u0022`} {
		out["escape-"+name] = keyid("PARSE", "text has one form", escape)
	}
	return out
}

// largeBundles are over 1 MiB, of which nothing is kept before all of it was
// found to be in order.
func largeBundles(w *attesttest.World) map[string]vector {
	r := loggedRelease(logged(w))
	data, err := r.Bundle.Encode()
	must(w.T, err)
	honest := tarFiles(data)
	plan := store.DigestOf(w.PlanJSON).Hex()
	of := func(expect, why string, change func(all map[string]vectorFile)) vector {
		all := cloneFiles(honest)
		change(all)
		return vector{Expect: expect, Why: why, Epoch: 1, Files: all}
	}
	object := func(n int) (string, vectorFile) {
		return "objects/sha256/" + store.DigestOf([]byte(strings.Repeat("x", n))).Hex(), vectorFile{Type: "f", Text: times(n, "x")}
	}
	large := func(expect, why string, change func(all map[string]vectorFile)) vector {
		return of(expect, why, func(all map[string]vectorFile) {
			name, file := object(1 << 20)
			all[name] = file
			change(all)
		})
	}
	same := func(map[string]vectorFile) {}
	asked := func(v vector, policy string) vector { v.Policy = policy; return v }
	other := attesttest.Policy("")
	at := func(v vector, now string) vector { v.Now = now; return v }
	return map[string]vector{
		"log":           of("ok", "a chain and its proof", same),
		"log-large":     large("ok", "over 1 MiB", same),
		"large-asked":   asked(large("ok", "and its release is signed", same), other),
		"small-asked":   asked(of("ok", "its release is signed", same), other),
		"large-expired": at(asked(large("ok", "reading judges no time: a log may date the release", same), other), "2027-07-01T00:00:00Z"),
		"release-alone": of("ok", "nothing to judge it by", func(all map[string]vectorFile) {
			keep := all["release.dsse.json"]
			clear(all)
			all["release.dsse.json"] = keep
		}),
		"large-unsigned": asked(large("SIGNATURE_INVALID", "a stranger's, before its evidence is in memory", same), strings.Replace(other, key64("r2"), key64("r3"), 1)),
		"events-large": of("PARSE", "larger than it may be", func(all map[string]vectorFile) {
			all[plan+"/events.jsonl"] = vectorFile{Type: "f", Text: times(attest.MaxEventsBytes+1, "x")}
		}),
		"events-16-mib": of("ok", "a long history is no fault", func(all map[string]vectorFile) {
			all[plan+"/events.jsonl"] = vectorFile{Type: "f", Text: times(attest.MaxEventsBytes, "x")}
		}),
		"proof-large": of("PARSE", "larger than it may be", func(all map[string]vectorFile) {
			all[plan+"/head.tlog-proof"] = vectorFile{Type: "f", Text: times(attest.MaxProof+1, "x")}
		}),
		"proof-68-kib": of("ok", "as large as it may be", func(all map[string]vectorFile) {
			all[plan+"/head.tlog-proof"] = vectorFile{Type: "f", Text: times(attest.MaxProof, "x")}
		}),
		"large-name":       large("EVIDENCE_MISMATCH", "under another's name", func(all map[string]vectorFile) { all["objects/sha256/"+plan] = vectorFile{Type: "f", Text: "x"} }),
		"large-twice":      large("PARSE", "one bundle has one form", func(all map[string]vectorFile) { x := all["rebuild.lock"]; x.Mode = "755"; all["rebuild.lock"] = x }),
		"large-no-release": large("STRUCTURE", "nothing to judge", func(all map[string]vectorFile) { delete(all, "release.dsse.json") }),
	}
}
