package attest_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// Each test here attacks with what went wrong in another system, and has the
// number of that row in the table of defects (docs/claims.md).

const mainGroup = `groups.main = { need = 2, of = ["east", "north", "west"] }`

// policyError loads the usual policy with some text replaced.
func policyError(t *testing.T, fromTo ...string) error {
	t.Helper()
	_, err := attest.LoadPolicy("policy.toml", []byte(replaced(t, fromTo...)))
	return err
}

func replaced(t *testing.T, fromTo ...string) string {
	t.Helper()
	text := attesttest.Policy("")
	for i := 0; i < len(fromTo); i += 2 {
		if !strings.Contains(text, fromTo[i]) {
			t.Fatalf("no %q in the policy", fromTo[i])
		}
		text = strings.Replace(text, fromTo[i], fromTo[i+1], 1)
	}
	return text
}

func exits(t *testing.T, err error, status int, what string) {
	t.Helper()
	if got := fault.CodeOf(err).Exit(); err == nil || got != status {
		t.Errorf("%s: %v exits with %d, not %d", what, err, got, status)
	}
}

// judgeBy judges by the usual policy with some text replaced.
func judgeBy(t *testing.T, w *attesttest.World, statements [][]byte, fromTo ...string) *attest.Verdict {
	t.Helper()
	p, err := attest.LoadPolicy("policy.toml", []byte(replaced(t, fromTo...)))
	must(t, err)
	v, err := attest.Judge(p, w.Plan, statements, nil, nil, attesttest.Now)
	must(t, err)
	return v
}

func state(t *testing.T, v *attest.Verdict, want attest.State, what string) {
	t.Helper()
	if v.State() != want {
		t.Errorf("%s: %s, not %s: %v", what, v.State(), want, v.Err())
	}
}

// differs spoils a result's last stage; nonce makes another statement of it.
func differing(w *attesttest.World) func(*attest.Result) {
	other := w.Stage("hello", []store.File{{Path: "bin/hello", Mode: 0o755, Data: []byte("another")}})
	return func(r *attest.Result) { r.Stages[1] = other }
}

func renonced(digit string) func(*attest.Result) {
	return func(r *attest.Result) { r.Nonce = strings.Repeat(digit, 64) }
}

// repro-threshold: without a threshold everything passed.
func TestG1_NoDefaultThreshold(t *testing.T) {
	exits(t, policyError(t, "quorum = \"main\"\n", ""), 40, "no quorum")
	exits(t, policyError(t, mainGroup, ""), 40, "no group")
	exits(t, policyError(t, "need = 2, of", "of"), 40, "a group without a threshold")
	exits(t, policyError(t, "signers = { need = 2, keys", "signers = { keys"), 40, "signers without a threshold")
	exits(t, policyError(t, "root = { need = 1, keys", "root = { keys"), 40, "root without a threshold")
}

// go-tuf CVE-2026-23992: a delegation accepted 0.
func TestG2_ThresholdAtAnyDepth(t *testing.T) {
	for _, need := range []int{-1, 0, 2} {
		deep := fmt.Sprintf("groups.c = { need = %d, of = [\"east\"] }\ngroups.b = { need = 1, of = [\"c\"] }\ngroups.main = { need = 2, of = [\"b\", \"north\"] }", need)
		exits(t, policyError(t, mainGroup, deep), 40, fmt.Sprint("need ", need, " two groups down"))
	}
	for _, need := range []string{"0", "-1", "4"} {
		exits(t, policyError(t, "need = 2, of", "need = "+need+", of"), 40, "the quorum")
		exits(t, policyError(t, "signers = { need = 2", "signers = { need = "+need), 40, "the signers")
		exits(t, policyError(t, "root = { need = 1", "root = { need = "+need), 40, "the root")
	}
}

// go-tuf #369: one key under two ids counted twice. A key is its bytes.
func TestG3_OneKeyUnderTwoNames(t *testing.T) {
	w := attesttest.New(t)
	exits(t, policyError(t, key64("west"), key64("east")), 40, "of two operators")
	exits(t, policyError(t, key64("r2"), key64("r1")), 40, "of two signers")
	r := w.Honest()
	once := w.Sign(r.Payload, "r1")
	two := edit(once, func(o object) {
		all := o["signatures"].([]any)
		o["signatures"] = append(all, object{"keyid": string(attesttest.Key("r2").Public().ID()), "sig": sub(o, "signatures", 0)["sig"]})
	})
	for what, envelope := range map[string][]byte{"without a keyid": []byte(twice(once)), "under another keyid": two} {
		b := *r.Bundle
		b.Release = envelope
		_, err := attest.Verify(w.LoadPolicy(), &b, attest.Expect{}, attesttest.Now)
		exits(t, err, 11, what)
	}
}

// connaisseur #2150, StageX: one key signed several times.
func TestG4_CopiesAreOneVote(t *testing.T) {
	w := attesttest.New(t)
	var many [][]byte
	for i := range 16 {
		many = append(many, w.Statement("east", nil), w.Statement("east", renonced(fmt.Sprintf("%x", i))))
	}
	state(t, judgeBy(t, w, many), attest.StatePending, "32 of one key")
	r := w.Honest()
	once := string(w.Sign(r.Payload, "r1"))
	copies := edit([]byte(once), func(o object) { o["signatures"] = slices.Repeat(o["signatures"].([]any), 5) })
	b := *r.Bundle
	b.Release = copies
	_, err := attest.Verify(w.LoadPolicy(), &b, attest.Expect{}, attesttest.Now)
	exits(t, err, 11, "one signer five times")
}

// rebuilderd, sigstore-go: what was counted was entries. Votes are operators.
func TestG5_VotesAreOperators(t *testing.T) {
	w := attesttest.New(t)
	twoKeys := []string{`keys = [{ key = "` + key64("east") + `" }]`, `keys = [{ key = "` + key64("east") + `" }, { key = "` + key64("east2") + `" }]`}
	payload, err := attest.NewResultStatement(w.Plan, w.Result("east", renonced("1")))
	must(t, err)
	v := judgeBy(t, w, [][]byte{w.Statement("east", nil), w.Sign(payload, "east2")}, twoKeys...)
	state(t, v, attest.StatePending, "one operator with two keys")
	if got := len(v.Judged()); got != 2 {
		t.Errorf("%d statements were judged, so nothing was shown", got)
	}
}

// StageX: the quorum counted files.
func TestG6_JunkIsNoVote(t *testing.T) {
	w := attesttest.New(t)
	v := judgeBy(t, w, [][]byte{[]byte("junk"), []byte("more junk")})
	state(t, v, attest.StatePending, "two files of junk")
	if v.Outputs() != "" {
		t.Errorf("they vote for %s", v.Outputs())
	}
}

// StageX: an empty digest, an empty file, no signature passed.
func TestG7_EmptyThings(t *testing.T) {
	w := attesttest.New(t)
	honest := mustPayload(w, "west")
	empty := func(name string) []byte {
		return w.Sign(edit(honest, func(o object) { sub(o, "predicate", "stages", 1)[name] = "" }), "west")
	}
	unsigned := edit(w.Sign(honest, "west"), func(o object) { o["signatures"] = []any{} })
	for what, c := range map[string]struct {
		statement []byte
		says      string
	}{
		"an empty tree": {empty("tree"), "tree: "}, "an empty manifest": {empty("manifest"), "manifest: "},
		"an empty file": {nil, ""}, "no signature": {unsigned, "0 signatures"},
		"an empty signature": {edit(w.Sign(honest, "west"), func(o object) { sub(o, "signatures", 0)["sig"] = "" }), "a signature is not"},
	} {
		v := judgeBy(t, w, [][]byte{w.Statement("east", nil), c.statement})
		state(t, v, attest.StatePending, what)
		refused := slices.DeleteFunc(v.Statements(), func(s attest.StatementAccount) bool { return s.Status != attest.StatusRefused })
		if len(refused) != 1 || refused[0].Why == "" || !strings.Contains(refused[0].Why, c.says) {
			t.Errorf("%s: %+v", what, refused)
		}
	}
}

// bitcoin #36293: expired and revoked keys counted.
func TestG8_ExpiredAndRevokedKeys(t *testing.T) {
	w := attesttest.New(t)
	both := [][]byte{w.Statement("east", nil), w.Statement("north", nil)}
	newer := `, not_before = "2026-07-01T00:00:00Z" }`
	older := `, not_after = "2026-05-01T00:00:00Z" }, { key = "` + key64("north2") + `" }`
	for what, more := range map[string]string{"revoked": ", revoked_from = 0 }", "not yet valid": newer, "expired": older} {
		v := judgeBy(t, w, both, `"`+key64("north")+`" }`, `"`+key64("north")+`"`+more)
		state(t, v, attest.StatePending, what)
		if o := v.Operators()[1]; o.Operator != "north" || o.Counted || !strings.Contains(o.Why, attest.StatusVoid) {
			t.Errorf("%s: %+v", what, o)
		}
	}
	r := w.Honest()
	signer := `{ name = "r2", key = "` + key64("r2") + `"`
	p, err := attest.LoadPolicy("policy.toml", []byte(replaced(t, signer+" }", signer+`, revoked_from = 0 }, { name = "r3", key = "`+key64("r3")+`" }`)))
	must(t, err)
	_, err = attest.Verify(p, r.Bundle, attest.Expect{}, attesttest.Now)
	exits(t, err, 11, "a release by a revoked signer")
}

// A leaf that is dated past its checkpoint would make an ended key count.
func TestG8_LeafFromTheFuture(t *testing.T) {
	for at, status := range map[string]int{"2026-06-01T11:05:00Z": 0, "2026-06-01T11:05:01Z": 15} {
		w := loggedWorld(t)
		e := said(w)
		e.At = at
		w.Log.Append(e)
		_, err := attest.OpenChain(w.LoadPolicy(), w.Plan.Digest(), w.Log.Events(w.Chain()), w.Log.Proof(2, w.Log.Checkpoint(attesttest.Cosigned, "w1")))
		if status == 0 {
			must(t, err)
			continue
		}
		exits(t, err, status, at)
	}
}

// trustix: a percentage of those who answered, and an answer that depended on
// the order of a map.
func TestG9_AbsoluteThresholdInAnyOrder(t *testing.T) {
	w := attesttest.New(t)
	state(t, judgeBy(t, w, [][]byte{w.Statement("east", nil)}), attest.StatePending, "all who answered agree, and they are one")
	all := append(w.Statements(), w.Statement("east", differing(w)), []byte("junk"))
	want := judgeBy(t, w, all).Err().Error()
	for i := range 5 {
		turned := append(slices.Clone(all[i:]), all[:i]...)
		for _, order := range [][][]byte{turned, reversed(turned)} {
			if got := judgeBy(t, w, order).Err().Error(); got != want {
				t.Errorf("in another order\n%s\nand not\n%s", got, want)
			}
		}
	}
}

func reversed(all [][]byte) [][]byte {
	out := slices.Clone(all)
	slices.Reverse(out)
	return out
}

// bisq #7814: the attestation of the one who decides counted as well.
func TestG10_OneKeyOneRole(t *testing.T) {
	names := []string{"root", "r1", "index", "east"}
	for _, a := range names {
		for _, b := range names {
			if a == b {
				continue
			}
			exits(t, policyError(t, key64(a), key64(b)), 40, a+" has the key of "+b)
		}
	}
}

func TestG10_LogAndWitnessKeys(t *testing.T) {
	key := attesttest.VerifierKey
	log, w1, w2 := key(attesttest.Origin, "log", 1), key("w1.example", "w1", 4), key("w2.example", "w2", 4)
	good := attesttest.Policy(attesttest.LogPolicy(1, "w1", "w2"))
	load := func(from, to string) error {
		if !strings.Contains(good, from) {
			t.Fatal(from)
		}
		_, err := attest.LoadPolicy("policy.toml", []byte(strings.Replace(good, from, to, 1)))
		return err
	}
	must(t, load(log, log))
	for _, name := range []string{"root", "r1", "index", "east"} {
		exits(t, load(log, key(attesttest.Origin, name, 1)), 40, "the log has the key of "+name)
		exits(t, load(w1, key("w1.example", name, 4)), 40, "a witness has the key of "+name)
	}
	exits(t, load(w1, key("w1.example", "log", 4)), 40, "the log is its own witness")
	exits(t, load(w1, key(attesttest.Origin, "log", 4)), 40, "under its own name")
	exits(t, load(w2, key("w2.example", "w1", 4)), 40, "one witness under two names")
	exits(t, load(w2, key("w1.example", "w1", 1)), 40, "one witness by two kinds of key")
}

// policy-controller #28, #130: and was or, and an empty set passed.
func TestG11_TruthTable(t *testing.T) {
	w := attesttest.New(t)
	names := []string{"east", "north", "west"}
	for _, c := range []struct {
		what, groups string
		met          func(east, north, west bool) bool
	}{
		{"and", `groups.main = { need = 3, of = ["east", "north", "west"] }`, func(e, n, w bool) bool { return e && n && w }},
		{"or", `groups.main = { need = 1, of = ["east", "north", "west"] }`, func(e, n, w bool) bool { return e || n || w }},
		{"and of or", "groups.any = { need = 1, of = [\"east\", \"north\"] }\ngroups.main = { need = 2, of = [\"any\", \"west\"] }", func(e, n, w bool) bool { return (e || n) && w }},
		{"or of and", "groups.all = { need = 2, of = [\"east\", \"north\"] }\ngroups.main = { need = 1, of = [\"all\", \"west\"] }", func(e, n, w bool) bool { return e && n || w }},
	} {
		for set := range 8 {
			var statements [][]byte
			for i, name := range names {
				if set>>i&1 == 1 {
					statements = append(statements, w.Statement(name, nil))
				}
			}
			want := attest.StatePending
			if c.met(set&1 != 0, set&2 != 0, set&4 != 0) {
				want = attest.StateMet
			}
			state(t, judgeBy(t, w, statements, mainGroup, c.groups), want, fmt.Sprintf("%s of set %03b", c.what, set))
		}
	}
}

// go-tuf #456: an error that says nothing of the role, what it got and wants.
func TestG12_PendingNamesGroupGotNeedMissing(t *testing.T) {
	w := attesttest.New(t)
	err := judgeBy(t, w, [][]byte{w.Statement("north", nil)}).Err()
	exits(t, err, 14, "one of two")
	for _, part := range []string{"group main", "got 1", "need 2", "missing east, west"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("no %q in %v", part, err)
		}
	}
}

// guix-verify, gorebuild: a mismatch ended with status 0.
func TestG13_MismatchIsAnError(t *testing.T) {
	w := attesttest.New(t)
	v := judgeBy(t, w, append(w.Statements()[:2], w.Statement("west", differing(w))))
	exits(t, v.Err(), 16, "two against one")
	if _, err := v.Met(); fault.CodeOf(err) != fault.Dissent {
		t.Errorf("a proof of it: %v", err)
	}
}

// guix.sigs: a mismatch went away by a change to the folder. Here it takes the
// signers, by name, and for one release.
func TestG14_WaiverCountsInItsReleaseAlone(t *testing.T) {
	w := attesttest.New(t)
	vectors := releaseVectors(w)
	waived, removed, needsMore := vectors["waived"], vectors["waiver-removed"], vectors["waiver-needs-more"]
	for what, c := range map[string]struct {
		v      vector
		status int
	}{"waived": {waived, 0}, "the same statements in another release": {removed, 16}, "too few signers for a waiver": {needsMore, 11}} {
		p, err := attest.LoadPolicy("policy.toml", []byte(c.v.Policy))
		must(t, err)
		_, err = attest.Verify(p, c.v.bundle(), attest.Expect{}, attesttest.Now)
		if c.status == 0 {
			must(t, err)
			continue
		}
		exits(t, err, c.status, what)
	}
	withheld := waived
	withheld.Statements = waived.Statements[:2]
	_, err := attest.Verify(w.LoadPolicy(), withheld.bundle(), attest.Expect{}, attesttest.Now)
	exits(t, err, 12, "the waived statement left out")
}

// rebuilderd, lila: only success was attested, dissent was not signed.
func TestG15_FailuresAreSignedStatements(t *testing.T) {
	w := attesttest.New(t)
	failed := w.Statement("west", func(r *attest.Result) {
		r.Outcome, r.Failure, r.Stages = attest.OutcomeBuildFailed, &attest.Failure{Stage: "hello", ExitStatus: 2}, r.Stages[:1]
	})
	both := append(w.Statements()[:2], failed)
	v := judgeBy(t, w, both)
	if c := v.Contradictions(); len(c) != 1 || c[0].Kind != attest.KindBuildFailed || len(v.Judged()) != 3 {
		t.Errorf("%+v, %d judged", c, len(v.Judged()))
	}
	state(t, judgeBy(t, w, both, mainGroup, "dissent = { build_failed = \"block\" }\n"+mainGroup), attest.StateDissent, "where the policy says so")
	unsigned := edit(failed, func(o object) { sub(o, "signatures", 0)["sig"] = base64.StdEncoding.EncodeToString(make([]byte, 64)) })
	if c := judgeBy(t, w, append(w.Statements()[:2], unsigned)).Contradictions(); len(c) != 0 {
		t.Errorf("one that nobody signed: %+v", c)
	}
}

// nix --check: the first difference was all that it told.
func TestG16_EveryDifferenceIsTold(t *testing.T) {
	w := attesttest.New(t)
	base := w.Stage("base", []store.File{{Path: "bin/sh", Mode: 0o755, Data: []byte("another")}})
	v := judgeBy(t, w, [][]byte{w.Statement("east", nil), w.Statement("north", nil), w.Statement("west", func(r *attest.Result) { r.Stages[0] = base }),
		w.Statement("east", func(r *attest.Result) { differing(w)(r); renonced("3")(r) })})
	var stages []string
	for _, c := range v.Contradictions() {
		stages = append(stages, c.Stage)
	}
	if !slices.Equal(stages, []string{"base", "hello"}) {
		t.Errorf("told of %q", stages)
	}
}

// nix #9644: what was substituted looked as if it had been built.
func TestG17_SubstitutedIsNoVote(t *testing.T) {
	w := attesttest.New(t)
	for _, stage := range []int{0, 1} {
		v := judgeBy(t, w, [][]byte{w.Statement("east", nil), w.Statement("north", func(r *attest.Result) { r.Stages[stage].Origin = attest.OriginSubstituted })})
		state(t, v, attest.StatePending, fmt.Sprint("stage ", stage))
	}
	r := w.Result("north", func(r *attest.Result) { r.Stages[0].Origin = attest.OriginSubstituted })
	payload, err := attest.NewResultStatement(w.Plan, r)
	must(t, err)
	forged := w.Sign(edit(payload, func(o object) { sub(o, "predicate")["outputs"] = string(attest.Outputs(w.Stages)) }), "north")
	v := judgeBy(t, w, [][]byte{w.Statement("east", nil), forged})
	state(t, v, attest.StatePending, "with outputs all the same")
}

// Qbit #76: the quorum was not bound to the source.
func TestG18_VotesAreBoundToThePlan(t *testing.T) {
	w := attesttest.New(t)
	v := judgeBy(t, w, [][]byte{otherPlan(w, "east"), otherPlan(w, "north")})
	state(t, v, attest.StatePending, "the same outputs of another plan")
	for _, s := range v.Statements() {
		if s.Status != attest.StatusRefused || s.Code.Exit() != 31 {
			t.Errorf("%+v", s)
		}
	}
	r := w.Honest()
	other := *w.Plan
	other.SourceDateEpoch = 2
	planJSON, err := attest.EncodePlan(&other)
	must(t, err)
	b := *r.Bundle
	b.Builds = []attest.BuildEvidence{{Plan: planJSON, Statements: [][]byte{otherPlan(w, "east"), otherPlan(w, "north")}}}
	_, err = attest.Verify(w.LoadPolicy(), &b, attest.Expect{}, attesttest.Now)
	exits(t, err, 12, "a release off the plan")
}

// guix.sigs #2543: a faulty processor for months.
func TestG23_SelfDisagreementIsLabelled(t *testing.T) {
	w := attesttest.New(t)
	statements := append(w.Statements(), w.Statement("east", func(r *attest.Result) { differing(w)(r); renonced("2")(r) }))
	v := judgeBy(t, w, statements)
	exits(t, v.Err(), 16, "no later match cancels it")
	if o := v.Operators()[0]; o.Counted || !strings.Contains(o.Why, "contradicts itself at stage hello") {
		t.Errorf("%+v", o)
	}
}

// gorebuild: a machine's trouble spoiled the report.
func TestG24_InfraFailureIsNoWord(t *testing.T) {
	w := attesttest.New(t)
	for _, outcome := range []string{attest.OutcomeInfraFailed, attest.OutcomeTimedOut} {
		trouble := func(operator string) []byte {
			return w.Statement(operator, func(r *attest.Result) { r.Outcome, r.Failure, r.Stages = outcome, &attest.Failure{Class: "429"}, nil })
		}
		state(t, judgeBy(t, w, append(w.Statements()[:2], trouble("west"))), attest.StateMet, outcome+" blocks")
		state(t, judgeBy(t, w, [][]byte{w.Statement("east", nil), trouble("north")}), attest.StatePending, outcome+" votes")
	}
}

// x07, apko CVE-2026-42575: the archive was not bound to what was signed.
func TestG28_SwappedArchive(t *testing.T) {
	w := attesttest.New(t)
	r := w.Honest()
	other := w.Release(w.Statements(), nil, strings.Replace(attesttest.PackageTOML, "says hi", "says ho", 1), []string{"r1"}, []string{"r1", "r2"})
	_, err := attest.Verify(w.LoadPolicy(), r.Bundle, attest.Expect{Archives: [][]byte{other.Package.Archive()}}, attesttest.Now)
	exits(t, err, 12, "verify")
	_, err = attest.NewPublication(w.LoadPolicy(), r.Bundle, other.Package.Archive(), attesttest.Now)
	exits(t, err, 12, "publish")
}

// Vela: times were compared as text.
func TestG32_TimesHaveOneForm(t *testing.T) {
	w := attesttest.New(t)
	for _, text := range []string{"2026-05-01T00:00:00+00:00", "2026-05-01t00:00:00z", "2026-05-01T00:00:00.0Z", "2026-5-1T00:00:00Z", "2026-05-01", ""} {
		payload := edit(mustPayload(w, "east"), func(o object) { sub(o, "predicate")["started_at"] = text })
		v := judgeBy(t, w, [][]byte{w.Sign(payload, "east")})
		if s := v.Statements()[0]; s.Status != attest.StatusRefused || s.Code.Exit() != 31 {
			t.Errorf("%q: %+v", text, s)
		}
	}
}

// Vela: the body that was signed had no type.
func TestG33_ResultReplayedAsRelease(t *testing.T) {
	w := attesttest.New(t)
	r := w.Honest()
	b := *r.Bundle
	b.Release = w.Sign(mustPayload(w, "east"), "r1", "r2")
	_, err := attest.Verify(w.LoadPolicy(), &b, attest.Expect{}, attesttest.Now)
	exits(t, err, 31, "a result as a release")
	v := judgeBy(t, w, [][]byte{w.Sign(r.Payload, "east")})
	if s := v.Statements()[0]; s.Status != attest.StatusRefused || s.Code.Exit() != 31 {
		t.Errorf("a release as a result: %+v", s)
	}
	raw := edit(w.Statement("east", nil), func(o object) { o["payloadType"] = "application/json" })
	if _, err := attest.ParseEnvelope("e", raw); fault.CodeOf(err).Exit() != 31 {
		t.Errorf("another payload type: %v", err)
	}
}

// IPM: the manifest was unsigned and hashed content alone.
func TestG35_EditedFilesAndManifest(t *testing.T) {
	w := attesttest.New(t)
	r := w.Honest()
	const hello = "linux-amd64/hello/bin/hello"
	f := openFolder(t)
	f.file(hello).Data = []byte("evil")
	f.entry(hello).Hash = store.DigestOf([]byte("evil"))
	n := int64(4)
	f.entry(hello).Size = &n
	_, err := attest.Verify(w.LoadPolicy(), r.Bundle, attest.Expect{Archives: [][]byte{f.archive(t)}}, attesttest.Now)
	exits(t, err, 12, "edited, with a manifest to match")
	for what, change := range map[string]func(*folder){
		"chmod": func(f *folder) { f.file(hello).Mode = 0o644 },
		"link":  func(f *folder) { f.file("linux-amd64/hello/bin/hi").Target = "/bin/sh" },
	} {
		f := openFolder(t)
		change(f)
		_, err := attest.OpenPackage("a", f.archive(t))
		exits(t, err, 13, what)
	}
}

// apt's in-toto: an expired layout, and a way to go on.
func TestG37_ExpiredPolicy(t *testing.T) {
	w := attesttest.New(t)
	late := time.Date(2027, 6, 30, 0, 0, 1, 0, time.UTC)
	_, err := attest.Judge(w.LoadPolicy(), w.Plan, w.Statements(), nil, nil, late)
	exits(t, err, 40, "judge")
	_, err = attest.Verify(w.LoadPolicy(), w.Honest().Bundle, attest.Expect{}, late)
	exits(t, err, 40, "verify")
	_, err = attest.NewPublication(w.LoadPolicy(), w.Honest().Bundle, w.Honest().Package.Archive(), late)
	exits(t, err, 40, "publish")
}

// cosign CVE-2022-35929: an error in the payload was swallowed.
func TestG40_MalformedPayloadUnderGoodSignatures(t *testing.T) {
	w := attesttest.New(t)
	for _, payload := range []string{"", "{}", "null", "garbage", `{"_type":"https://in-toto.io/Statement/v1"}`, string(w.Honest().Payload) + " "} {
		b := *w.Honest().Bundle
		b.Release = w.Sign([]byte(payload), "r1", "r2")
		_, err := attest.Verify(w.LoadPolicy(), &b, attest.Expect{}, attesttest.Now)
		exits(t, err, 31, fmt.Sprintf("release %.20q", payload))
		v := judgeBy(t, w, [][]byte{w.Sign([]byte(payload), "east"), w.Statement("north", nil)})
		state(t, v, attest.StatePending, fmt.Sprintf("statement %.20q", payload))
	}
}

// cosign CVE-2022-36056: the proof was of another artifact. Each part of a
// bundle is swapped for that of another good release.
func TestG41_EveryBindingSwapped(t *testing.T) {
	w := attesttest.New(t)
	mine := w.Honest()
	x := attesttest.New(t)
	x.Plan.SourceDateEpoch = 2
	x.PlanJSON, _ = attest.EncodePlan(x.Plan)
	x.Stages[1] = x.Stage("hello", []store.File{{Path: "bin/hello", Mode: 0o755, Data: []byte("another")}})
	x.HelloFiles = []store.File{{Path: "bin", Type: store.Dir, Mode: 0o755}, {Path: "bin/hello", Mode: 0o755, Data: []byte("another")}}
	theirs := x.Honest()
	if _, err := attest.Verify(x.LoadPolicy(), theirs.Bundle, attest.Expect{}, attesttest.Now); err != nil {
		t.Fatalf("the other release is not good: %v", err)
	}
	for what, swap := range map[string]func(*attest.Bundle){
		"release":    func(b *attest.Bundle) { b.Release = theirs.Bundle.Release },
		"plan":       func(b *attest.Bundle) { b.Builds[0].Plan = theirs.Bundle.Builds[0].Plan },
		"statements": func(b *attest.Bundle) { b.Builds[0].Statements = theirs.Bundle.Builds[0].Statements },
		"build":      func(b *attest.Bundle) { b.Builds[0] = theirs.Bundle.Builds[0] },
		"lock":       func(b *attest.Bundle) { b.Lock = []byte("another lock\n") },
		"objects":    func(b *attest.Bundle) { b.Objects = theirs.Bundle.Objects },
	} {
		b := *mine.Bundle
		b.Builds = slices.Clone(b.Builds)
		swap(&b)
		_, err := attest.Verify(w.LoadPolicy(), &b, attest.Expect{}, attesttest.Now)
		exits(t, err, 12, what)
	}
	_, err := attest.Verify(w.LoadPolicy(), mine.Bundle, attest.Expect{Archives: [][]byte{theirs.Package.Archive()}}, attesttest.Now)
	exits(t, err, 12, "archive")
}

// go-tuf CVE-2026-24686: a name from afar became a path. No name that is one
// gets past its parser.
func TestG42_NamesAreNoPaths(t *testing.T) {
	w := attesttest.New(t)
	for _, name := range []string{"../x", "/etc/passwd", "a/../b", "a\x00b", "..", ".", "con", "a\\b", "A"} {
		bad := func(data []byte, spoil func(object)) []byte { return edit(data, spoil) }
		_, err := attest.DecodePlan("plan.json", bad(w.PlanJSON, func(o object) { o["pipeline"] = name }))
		exits(t, err, 31, "pipeline "+name)
		_, err = attest.DecodePlan("plan.json", bad(w.PlanJSON, func(o object) { sub(o, "stages", 0)["name"] = name }))
		exits(t, err, 31, "stage "+name)
		b := *w.Honest().Bundle
		b.Release = []byte(respoil(w, w.Honest().Payload, func(p object) { p["name"] = name }))
		_, err = attest.Verify(w.LoadPolicy(), &b, attest.Expect{}, attesttest.Now)
		exits(t, err, 31, "release "+name)
	}
	exits(t, policyError(t, "operators.east", `operators."../east"`, `"east"`, `"../east"`), 40, "operator")
}

// encoding/json: duplicate, case-folded and unknown keys were taken.
func TestG45_KeysOfJSON(t *testing.T) {
	w := attesttest.New(t)
	documents := map[string]struct {
		text, first string
		open        func([]byte) error
	}{
		"plan":     {string(w.PlanJSON), `"pipeline":`, func(b []byte) error { _, err := attest.DecodePlan("p", b); return err }},
		"envelope": {string(w.Statement("east", nil)), `"payload":`, func(b []byte) error { _, err := attest.ParseEnvelope("e", b); return err }},
		"statement": {string(mustPayload(w, "east")), `"_type":`, func(b []byte) error {
			s := judgeBy(t, w, [][]byte{w.Sign(b, "east")}).Statements()[0]
			return fault.New(s.Code, "%s", s.Why)
		}},
		"release": {string(w.Honest().Payload), `"_type":`, func(b []byte) error {
			x := *w.Honest().Bundle
			x.Release = w.Sign(b, "r1", "r2")
			_, err := attest.Verify(w.LoadPolicy(), &x, attest.Expect{}, attesttest.Now)
			return err
		}},
	}
	for what, d := range documents {
		if !strings.Contains(d.text, d.first) {
			t.Fatalf("no %s in %s", d.first, what)
		}
		name := strings.Trim(d.first, `":`)
		folded := strings.ToUpper(name[:1]) + name[1:]
		if name[0] == '_' {
			folded = "_TYPE"
		}
		for how, to := range map[string]string{
			"duplicate": d.first + `"x",` + d.first, "folded": `"` + folded + `":`, "folded beside it": `"` + folded + `":"x",` + d.first,
			"unknown": `"A":"x",` + d.first, "null": `"A":null,` + d.first, "not ASCII": `"Ä":"x",` + d.first,
		} {
			exits(t, d.open([]byte(strings.Replace(d.text, d.first, to, 1))), 31, what+", "+how)
		}
	}
}

// ed25519: under a point of small order anything verifies.
func TestG46_SmallOrderKeys(t *testing.T) {
	if len(lowOrder) != 14 {
		t.Fatalf("%d encodings, there are 14", len(lowOrder))
	}
	for _, h := range lowOrder {
		raw, err := hex.DecodeString(h)
		must(t, err)
		text := base64.StdEncoding.EncodeToString(raw)
		_, err = attest.ParsePublicKey(text)
		exits(t, err, 11, h)
		exits(t, policyError(t, key64("east"), text), 11, "in a policy: "+h)
	}
}

// ed25519: the bytes of a signature taken for the id of what it signs. The
// same statement under two envelopes is one.
func TestG47_SignatureBytesAreNoIdentity(t *testing.T) {
	w := attesttest.New(t)
	east := w.Statement("east", nil)
	bare := edit(east, func(o object) { delete(sub(o, "signatures", 0), "keyid") })
	v := judgeBy(t, w, [][]byte{east, bare})
	state(t, v, attest.StatePending, "two envelopes of one payload")
	if len(v.Statements()) != 1 || len(v.Judged()) != 1 {
		t.Errorf("%d statements, %d judged", len(v.Statements()), len(v.Judged()))
	}
}

// jcs: 2^53+1 was rounded, and there was a second zero.
func TestG48_NumbersOfJSON(t *testing.T) {
	w := attesttest.New(t)
	for _, n := range []string{"9007199254740993", "9007199254740992", "-9007199254740992", "-0", "1.0", "1e0", "0.5", "1E400", "01"} {
		text := strings.Replace(string(w.PlanJSON), `"source_date_epoch":1`, `"source_date_epoch":`+n, 1)
		_, err := attest.DecodePlan("plan.json", []byte(text))
		exits(t, err, 31, n)
		payload := strings.Replace(string(mustPayload(w, "east")), `"executables":2`, `"executables":`+n, 1)
		if s := judgeBy(t, w, [][]byte{w.Sign([]byte(payload), "east")}).Statements()[0]; s.Status != attest.StatusRefused || s.Code.Exit() != 31 {
			t.Errorf("%s: %+v", n, s)
		}
	}
	for _, v := range []any{map[string]any{"a": 9007199254740993}, map[string]any{"a": 0.5}} {
		if _, err := document.Encode(v); err == nil {
			t.Errorf("%v was written", v)
		}
	}
}

// base64 with stray bits, hex in capitals: two texts of one thing.
func TestG49_OneSpelling(t *testing.T) {
	w := attesttest.New(t)
	good := w.Statement("east", nil)
	for what, spoil := range map[string]func(o object){
		"stray bits":  func(o object) { s := sub(o, "signatures", 0); s["sig"] = strayBits(s["sig"].(string)) },
		"no padding":  func(o object) { s := sub(o, "signatures", 0); s["sig"] = strings.TrimRight(s["sig"].(string), "=") },
		"line break":  func(o object) { s := sub(o, "signatures", 0); s["sig"] = "\n" + s["sig"].(string) },
		"payload":     func(o object) { o["payload"] = "AB==" },
		"other signs": func(o object) { o["payload"] = "-_-_" },
	} {
		_, err := attest.ParseEnvelope("e", edit(good, spoil))
		exits(t, err, 31, what)
	}
	for _, d := range []string{strings.ToUpper(otherDigest), "sha256:" + strings.ToUpper(otherDigest[7:]), otherDigest[7:], "SHA256:" + otherDigest[7:], otherDigest + " "} {
		_, err := attest.DecodePlan("plan.json", edit(w.PlanJSON, func(o object) { sub(o, "stages", 0)["containerfile"] = d }))
		exits(t, err, 31, d)
	}
}

// x07: one status for every error.
func TestG63_TwentyIsForSemverAlone(t *testing.T) {
	for c, status := range fault.Codes() {
		if status == 20 && c != "SEMVER_BREAKING" {
			t.Errorf("%s exits with 20", c)
		}
	}
}

// archlinux-repro #87: keys that have expired broke the check of old builds.
func TestG65_OldReleasesAreJudgedAtTheirTime(t *testing.T) {
	w := attesttest.New(t)
	r := w.Honest()
	p, err := attest.LoadPolicy("policy.toml", []byte(replaced(t, `expires = "2027-06-30T00:00:00Z"`, `expires = "2026-06-30T00:00:00Z"`)))
	must(t, err)
	_, err = attest.Verify(p, r.Bundle, attest.Expect{}, attesttest.Now.AddDate(1, 0, 0))
	exits(t, err, 40, "a year later")
	_, err = attest.Verify(p, r.Bundle, attest.Expect{}, attesttest.Now)
	must(t, err)
}

// in-toto GO-2026-5547: two dialects of patterns. There are none.
func TestG66_NoPatterns(t *testing.T) {
	for _, glob := range []string{"*", "ea*", "e?st", "[e]ast", "{east}", "**"} {
		exits(t, policyError(t, `of = ["east"`, `of = ["`+glob+`"`), 40, glob)
		exits(t, policyError(t, "[operators.east]", "[operators.\""+glob+"\"]"), 40, "operator "+glob)
	}
}

// x07: nobody had signed the set of lines, so one could be dropped. Here each
// leaf names the one before, and the last is proved.
func TestG29_DroppedLeaf(t *testing.T) {
	w := loggedWorld(t)
	r := loggedRelease(w)
	lines := bytes.SplitAfter(r.Bundle.Builds[0].Events, []byte("\n"))
	for i := range len(lines) - 1 {
		r.Bundle.Builds[0].Events = bytes.Join(slices.Delete(slices.Clone(lines), i, i+1), nil)
		_, err := verified(w, r.Bundle)
		exits(t, err, 12, fmt.Sprintf("without line %d", i+1))
	}
	r.Bundle.Builds[0].Events = bytes.Join(lines, nil)
	_, err := verified(w, r.Bundle)
	must(t, err)
}

// The same list against a log that lies: an older state, another history, one
// that nobody else has seen, and one from the future.
func TestG62_LyingLog(t *testing.T) {
	for what, c := range map[string]struct {
		lie  func(w *attesttest.World, b *attest.Bundle)
		want fault.Code
	}{
		"rollback": {chainBefore, fault.QuorumPending},
		"fork": {func(w *attesttest.World, b *attest.Bundle) {
			other := loggedWorld(t)
			other.Log.Append(attest.Event{Chain: other.Chain(), Type: attest.EventClose})
			b.Builds[0].Proof = other.Log.Proof(2, other.Log.Checkpoint(attesttest.Cosigned, "w1"))
		}, fault.EvidenceMismatch},
		"fork in its own words": {func(w *attesttest.World, b *attest.Bundle) {
			other := loggedWorld(t)
			other.Log.Append(attest.Event{Chain: other.Chain(), Type: attest.EventRelease, Object: digestOf(t, b.Release)})
			b.Builds[0] = other.Evidence(b.Builds[0].Statements)
		}, fault.EventsMismatch},
		"unseen": {func(w *attesttest.World, b *attest.Bundle) {
			b.Builds[0].Proof = w.Log.Proof(5, w.Log.Checkpoint(attesttest.Cosigned))
		}, fault.Unwitnessed},
		"from the future": {func(w *attesttest.World, b *attest.Bundle) {
			b.Builds[0].Proof = w.Log.Proof(5, w.Log.Checkpoint(attesttest.LogStart.Add(-time.Minute), "w1"))
		}, fault.Stale},
		"another log": {func(w *attesttest.World, b *attest.Bundle) {
			w.PolicyTOML = strings.Replace(w.PolicyTOML, attesttest.VerifierKey(attesttest.Origin, "log", 1), attesttest.VerifierKey(attesttest.Origin, "other", 1), 1)
		}, fault.KeyUnknown},
		"honest": {func(*attesttest.World, *attest.Bundle) {}, ""},
	} {
		w := loggedWorld(t)
		r := loggedRelease(w)
		c.lie(w, r.Bundle)
		if _, err := verified(w, r.Bundle); fault.CodeOf(err) != c.want {
			t.Errorf("%s: %v, want %s", what, err, c.want)
		}
	}
}

// TUF's list of attacks, as far as they need no log: a mirror that mixes what
// it has, serves what was not asked for, or does not end.
func TestG62_LyingMirror(t *testing.T) {
	w := attesttest.New(t)
	r := w.Honest()
	good, err := r.Bundle.Encode()
	must(t, err)
	_, err = attest.Verify(w.LoadPolicy(), r.Bundle, attest.Expect{Name: "hello", Version: "0.2.0"}, attesttest.Now)
	code(t, err, fault.EvidenceMismatch) // wrong software
	mixed := *r.Bundle
	mixed.Builds = []attest.BuildEvidence{{Plan: w.PlanJSON, Statements: [][]byte{w.Statement("east", renonced("1")), w.Statement("north", renonced("1"))}}}
	_, err = attest.Verify(w.LoadPolicy(), &mixed, attest.Expect{}, attesttest.Now)
	code(t, err, fault.EvidenceMismatch) // mix and match
	_, err = attest.OpenBundle("b", append(bytes.Clone(good), make([]byte, attest.MaxBundle)...))
	code(t, err, fault.Parse) // endless data
	_, err = attest.Verify(w.LoadPolicy(), r.Bundle, attest.Expect{}, attesttest.Now.AddDate(2, 0, 0))
	code(t, err, fault.PolicyExpired) // freeze
}
