package attest_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/fault"
	"rebuild/store"
)

// publish logs a release in a world whose log has its statements, and returns
// the bundle: r's with another payload, all statements and the chain.
func publish(w *attesttest.World, r *attesttest.Released, payload []byte, statements ...[]byte) *attest.Bundle {
	w.T.Helper()
	w.Log.Append(attest.Event{Chain: w.Chain(), Type: attest.EventRelease, Object: store.DigestOf(payload)})
	b := *r.Bundle
	b.Release = w.Sign(payload, "r1", "r2")
	b.Builds = []attest.BuildEvidence{w.Evidence(statements)}
	return &b
}

// A release says where in the log its evidence ended, and what stood there by
// then must come out again.
func TestReleaseSaysWhatTheLogSaid(t *testing.T) {
	t.Parallel()
	honest := loggedRelease(loggedWorld(t)).Payload
	build := func(set func(b object)) []byte {
		return edit(honest, func(o object) { set(sub(o, "predicate", "builds", 0)); resnap(o) })
	}
	for name, c := range map[string]struct {
		payload []byte
		want    fault.Code
	}{
		"honest":                    {honest, ""},
		"seq before the last":       {build(func(b object) { b["seq"] = 3 }), fault.EventsMismatch},
		"seq between leaves":        {build(func(b object) { b["seq"] = 0 }), fault.EventsMismatch},
		"seq of no leaf":            {build(func(b object) { b["seq"] = 99 }), fault.EventsMismatch},
		"other events":              {build(func(b object) { b["events"] = otherDigest }), fault.EventsMismatch},
		"a logged statement unsaid": {build(func(b object) { b["statements"] = b["statements"].([]any)[1:] }), fault.EvidenceMismatch},
		"negative seq":              {build(func(b object) { b["seq"] = -1 }), fault.Structure},
		"events without seq":        {build(func(b object) { delete(b, "seq") }), fault.Semantic},
		"seq without events":        {build(func(b object) { delete(b, "events") }), fault.Semantic},
		"events are no digest":      {build(func(b object) { b["events"] = "x" }), fault.Structure},
		"another log":               {edit(honest, func(o object) { sub(o, "predicate")["log_origin"] = "example.org/other" }), fault.EvidenceMismatch},
		"a log of no name":          {edit(honest, func(o object) { sub(o, "predicate")["log_origin"] = "a log" }), fault.Structure},
		"no log": {edit(honest, func(o object) {
			delete(sub(o, "predicate"), "log_origin")
			delete(sub(o, "predicate", "builds", 0), "seq")
			delete(sub(o, "predicate", "builds", 0), "events")
			resnap(o)
		}), fault.QuorumPending},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := loggedWorld(t)
			statements := w.Statements()
			logAll(w, statements, "east", "north", "west")
			r := loggedRelease(loggedWorld(t))
			_, err := verified(w, publish(w, r, c.payload, statements...))
			code(t, err, c.want)
		})
	}
}

// Where the policy does not ask for a log, a release that is in one is still
// held to it, and one that is in none has no events.
func TestLogThatIsNotRequired(t *testing.T) {
	t.Parallel()
	w := loggedWorld(t)
	w.PolicyTOML = attesttest.Policy(attesttest.LogPolicy(0))
	r := loggedRelease(w)
	_, err := verified(w, r.Bundle)
	must(t, err)
	short := *r.Bundle
	chain := w.Log.Chains[w.Chain()]
	w.Log.Chains[w.Chain()] = chain[:len(chain)-1]
	short.Builds = []attest.BuildEvidence{w.Evidence(r.Bundle.Builds[0].Statements)}
	_, err = verified(w, &short)
	code(t, err, fault.EvidenceMismatch)
	short.Builds = []attest.BuildEvidence{{Plan: w.PlanJSON, Statements: r.Bundle.Builds[0].Statements}}
	_, err = verified(w, &short)
	code(t, err, fault.EvidenceMismatch)

	unlogged := attesttest.New(t)
	unlogged.PolicyTOML = w.PolicyTOML
	u := unlogged.Honest()
	_, err = verified(unlogged, u.Bundle)
	must(t, err)
	u.Bundle.Builds = []attest.BuildEvidence{r.Bundle.Builds[0]}
	_, err = verified(unlogged, u.Bundle)
	code(t, err, fault.EvidenceMismatch)
}

// What is logged between the proposal and the release's own leaf is judged
// too: dissent blocks what is signed already, a match needs no new signature.
func TestStatementsAfterTheProposal(t *testing.T) {
	t.Parallel()
	w := loggedWorld(t)
	early := [][]byte{w.Statement("east", nil), w.Statement("north", nil)}
	logAll(w, early, "east", "north")
	r := w.Release(early, nil, attesttest.PackageTOML, []string{"r1"}, []string{"r1", "r2"})
	for name, c := range map[string]struct {
		late   func(w *attesttest.World) []byte
		by     string
		hidden bool
		want   fault.Code
	}{
		"a match":                  {func(w *attesttest.World) []byte { return w.Statement("west", nil) }, "west", false, ""},
		"dissent":                  {func(w *attesttest.World) []byte { return dissent(w, "west") }, "west", false, fault.Dissent},
		"dissent of a voter":       {func(w *attesttest.World) []byte { return dissent(w, "east") }, "east", false, fault.Dissent},
		"dissent without its file": {func(w *attesttest.World) []byte { return dissent(w, "west") }, "west", true, fault.EvidenceMismatch},
		"a stranger's": {func(w *attesttest.World) []byte {
			return w.Sign(mustDecode(w, dissent(w, "west")), "stranger")
		}, "stranger", false, ""},
		"dissent signed anew by a stranger": {func(w *attesttest.World) []byte {
			return w.Sign(mustDecode(w, dissent(w, "west")), "stranger")
		}, "west", false, fault.EvidenceMismatch},
		"dissent with a second signature": {func(w *attesttest.World) []byte {
			return w.Sign(mustDecode(w, dissent(w, "west")), "west", "stranger")
		}, "west", false, fault.EvidenceMismatch},
		"dissent with a broken signature": {func(w *attesttest.World) []byte {
			payload := mustDecode(w, dissent(w, "west"))
			return edit(w.Sign(payload, "west"), func(o object) { sub(o, "signatures", 0)["sig"] = strangerSig(w, payload) })
		}, "west", false, fault.EvidenceMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := loggedWorld(t)
			logAll(w, early, "east", "north")
			late := c.late(w)
			w.LogStatement(late, c.by)
			all := append(slices.Clone(early), late)
			if c.hidden {
				all = early
			}
			a, err := verified(w, publish(w, r, r.Payload, all...))
			code(t, err, c.want)
			if c.want == "" && len(a.Builds[0].Statements) != 3 {
				t.Errorf("%+v", a.Builds[0].Statements)
			}
		})
	}
}

// An outsider's statement is listed with its leaf, and nothing more is made
// of it.
func TestOutsidersInTheLog(t *testing.T) {
	t.Parallel()
	w := loggedWorld(t)
	junk := w.Sign([]byte("no statement at all"), "stranger")
	w.LogStatement(junk, "stranger")
	statements := append(w.Statements(), junk)
	logAll(w, statements[:3], "east", "north", "west")
	r := w.Release(statements, nil, attesttest.PackageTOML, []string{"r1"}, []string{"r1", "r2"})
	a, err := verified(w, r.Bundle)
	must(t, err)
	rest := attest.Unjudged(a.Builds[0].Statements)
	if len(rest) != 1 || rest[0].Status != attest.StatusOutsider || rest[0].Seq == nil || *rest[0].Seq != 2 {
		t.Errorf("%+v", rest)
	}
	signed, _, err := attest.VerifyRelease(w.LoadPolicy(), r.Bundle, attesttest.Now)
	must(t, err)
	if release := signed.Release(); len(release.Builds[0].Statements) != 3 {
		t.Errorf("%v", release.Builds[0].Statements)
	}
}

func judgeLogged(t *testing.T, w *attesttest.World, statements [][]byte, now time.Time) *attest.Verdict {
	t.Helper()
	policy := w.LoadPolicy()
	build := w.Evidence(statements)
	chain, err := build.Chain(policy)
	must(t, err)
	v, err := attest.Judge(policy, w.Plan, statements, chain, nil, now)
	must(t, err)
	return v
}

// Under a policy that wants votes in the log, what is beside it gives none,
// and still contradicts.
func TestUnloggedStatements(t *testing.T) {
	t.Parallel()
	w := loggedWorld(t)
	east, north := w.Statement("east", nil), w.Statement("north", nil)
	w.LogStatement(east, "east")
	v := judgeLogged(t, w, [][]byte{east, north}, attesttest.Now)
	if v.State() != attest.StatePending || !strings.Contains(fmt.Sprint(v.Operators()), "the policy wants votes to be logged") {
		t.Errorf("%s %v", v.State(), v.Operators())
	}
	v = judgeLogged(t, w, [][]byte{east, dissent(w, "north")}, attesttest.Now)
	if v.State() != attest.StateDissent {
		t.Errorf("%s", v.State())
	}
	v, err := attest.Judge(w.LoadPolicy(), w.Plan, [][]byte{east, north}, nil, nil, attesttest.Now)
	must(t, err)
	if v.State() != attest.StatePending {
		t.Errorf("without a chain: %s", v.State())
	}
	w.LogStatement(north, "north")
	if v = judgeLogged(t, w, [][]byte{east, north}, attesttest.Now); v.State() != attest.StateMet {
		t.Errorf("%s", v.State())
	}
}

// Of several votes of an operator the first in the log counts, for diversity
// too, whatever its digest.
func TestFirstVoteInTheLogCounts(t *testing.T) {
	t.Parallel()
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		w := loggedWorld(t)
		votes := [][]byte{w.Statement("east", nil), w.Statement("east", func(r *attest.Result) { r.Nonce = strings.Repeat("2", 64) })}
		w.LogStatement(votes[order[0]], "east")
		w.LogStatement(votes[order[1]], "east")
		v := judgeLogged(t, w, votes, attesttest.Now)
		if got, want := v.Operators()[0].Statement, digestOf(t, votes[order[0]]); got != want {
			t.Errorf("%v: %s counts, want %s", order, got, want)
		}
		w.PolicyTOML = attesttest.Policy(attesttest.LogPolicy(0)) // one that is not logged comes last
		third := w.Statement("east", func(r *attest.Result) { r.Nonce = strings.Repeat("3", 64) })
		v = judgeLogged(t, w, append(votes, third), attesttest.Now)
		if got, want := v.Operators()[0].Statement, digestOf(t, votes[order[0]]); got != want {
			t.Errorf("%v: %s counts, want %s", order, got, want)
		}
	}
}

// A chain is of one plan and of the log of one policy.
func TestJudgeWantsItsOwnChain(t *testing.T) {
	t.Parallel()
	w := loggedWorld(t)
	policy := w.LoadPolicy()
	build := w.Evidence(nil)
	chain, err := build.Chain(policy)
	must(t, err)
	other := *w.Plan
	other.SourceDateEpoch = 2
	_, err = attest.Judge(policy, &other, nil, chain, nil, attesttest.Now)
	code(t, err, fault.EvidenceMismatch)
	w.PolicyTOML = strings.Replace(w.PolicyTOML, "version = 1", "version = 2", 1)
	_, err = attest.Judge(w.LoadPolicy(), w.Plan, nil, chain, nil, attesttest.Now)
	code(t, err, fault.EvidenceMismatch)
}

// Keys are judged when and where their statement was logged: what came before
// a revocation stays, and an end in the meantime breaks nothing.
func TestG8_KeysAreJudgedAtTheLeaf(t *testing.T) {
	t.Parallel()
	late := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		key  string // of north, whose statement is leaf 3 of 09:03
		now  time.Time
		want attest.State
	}{
		"revoked later":    {`revoked_from = 4`, attesttest.Now, attest.StateMet},
		"revoked here":     {`revoked_from = 3`, attesttest.Now, attest.StatePending},
		"revoked before":   {`revoked_from = 0`, attesttest.Now, attest.StatePending},
		"ended since":      {`not_after = "2026-06-01T09:03:00Z"`, late, attest.StateMet},
		"ended before":     {`not_after = "2026-06-01T09:02:59Z"`, attesttest.Now, attest.StatePending},
		"begun just then":  {`not_before = "2026-06-01T09:03:00Z"`, attesttest.Now, attest.StateMet},
		"begun afterwards": {`not_before = "2026-06-01T09:03:01Z"`, late, attest.StatePending},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := loggedWorld(t)
			w.PolicyTOML = strings.Replace(w.PolicyTOML, key64("north")+`"`, key64("north")+`", `+c.key, 1)
			statements := [][]byte{w.Statement("east", nil), w.Statement("north", nil)}
			logAll(w, statements, "east", "north")
			v := judgeLogged(t, w, statements, c.now)
			if v.State() != c.want {
				t.Errorf("%s: %v", v.State(), v.Statements())
			}
			if c.want == attest.StatePending && len(attest.Unjudged(v.Statements())) != 1 {
				t.Errorf("the void statement is not told: %v", v.Statements())
			}
		})
	}
	// What no log dates is judged now, and there a revoked key never counts.
	w := loggedWorld(t)
	w.PolicyTOML = strings.Replace(attesttest.Policy(attesttest.LogPolicy(0)), key64("north")+`"`, key64("north")+`", revoked_from = 900`, 1)
	statements := [][]byte{w.Statement("east", nil), w.Statement("north", nil)}
	if v := judgeLogged(t, w, statements, attesttest.Now); v.State() != attest.StatePending {
		t.Errorf("%s", v.State())
	}
	logAll(w, statements, "east", "north")
	if v := judgeLogged(t, w, statements, attesttest.Now); v.State() != attest.StateMet {
		t.Errorf("%s", v.State())
	}
}

// The stated limit: whoever writes the log dates its leaves, so a writer and
// the thief of an ended key can date a vote back, as far as the leaf before.
// Only revoked_from, which counts positions, helps.
func TestWriterCanDateBack(t *testing.T) {
	t.Parallel()
	w := loggedWorld(t)
	w.PolicyTOML = strings.Replace(w.PolicyTOML, key64("north")+`"`, key64("north")+`", not_after = "2026-06-01T09:02:00Z"`, 1)
	statements := [][]byte{w.Statement("east", nil), w.Statement("north", nil)}
	w.LogStatement(statements[0], "east") // at 09:02
	w.Log.Append(attest.Event{Chain: w.Chain(), Type: attest.EventStatement, Object: digestOf(t, statements[1]),
		By: attesttest.Key("north").Public().ID(), At: "2026-06-01T09:02:00Z"})
	if v := judgeLogged(t, w, statements, attesttest.Now); v.State() != attest.StateMet {
		t.Errorf("%s", v.State())
	}
	w.PolicyTOML = strings.Replace(w.PolicyTOML, `not_after = "2026-06-01T09:02:00Z"`, `revoked_from = 3`, 1)
	if v := judgeLogged(t, w, statements, attesttest.Now); v.State() != attest.StatePending {
		t.Errorf("%s", v.State())
	}
}

// Years later the keys of operators and signers have ended; the release was
// logged before, and stays what it is. The policy's own end is judged now.
func TestG65_EndedKeysDoNotBreakAnOldRelease(t *testing.T) {
	t.Parallel()
	policy := func(end string) func(*attesttest.World) {
		return func(w *attesttest.World) {
			for _, name := range []string{"east", "north", "west", "r1", "r2"} {
				w.PolicyTOML = strings.Replace(w.PolicyTOML, key64(name)+`"`, key64(name)+`", `+end, 1)
			}
		}
	}
	for name, c := range map[string]struct {
		change func(*attesttest.World)
		now    time.Time
		want   fault.Code
	}{
		"ended since":           {policy(`not_after = "2026-06-02T00:00:00Z"`), time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), ""},
		"ended before":          {policy(`not_after = "2026-06-01T08:00:00Z"`), attesttest.Now, fault.KeyExpired},
		"revoked since":         {policy(`revoked_from = 6`), attesttest.Now, ""},
		"signers revoked there": {policy(`revoked_from = 5`), attesttest.Now, fault.KeyExpired},
		"policy ended":          {func(*attesttest.World) {}, time.Date(2027, 7, 1, 0, 0, 0, 0, time.UTC), fault.PolicyExpired},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := loggedWorld(t)
			r := loggedRelease(w)
			c.change(w)
			_, err := attest.Verify(w.LoadPolicy(), r.Bundle, attest.Expect{}, c.now)
			code(t, err, c.want)
		})
	}
	// Without a log nothing says when it was signed.
	w := attesttest.New(t)
	r := w.Honest()
	policy(`not_after = "2026-06-02T00:00:00Z"`)(w)
	_, err := attest.Verify(w.LoadPolicy(), r.Bundle, attest.Expect{}, time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC))
	code(t, err, fault.PolicyExpired)
}

// A signer judges the chain as it is, before the release has a leaf, and is
// refused when statements in it are withheld.
func TestSignRelease(t *testing.T) {
	t.Parallel()
	w := loggedWorld(t)
	r := loggedRelease(w)
	before := loggedWorld(t)
	statements := before.Statements()
	logAll(before, statements, "east", "north", "west")
	ev := r.Bundle.Evidence
	ev.Builds = []attest.BuildEvidence{before.Evidence(statements)}
	_, err := attest.SignRelease(before.LoadPolicy(), r.Payload, ev, attesttest.Now, attesttest.Key("r1"))
	must(t, err)
	ev.Builds[0].Statements = statements[1:]
	_, err = attest.SignRelease(before.LoadPolicy(), r.Payload, ev, attesttest.Now, attesttest.Key("r1"))
	code(t, err, fault.EvidenceMismatch)
	before.LogStatement(dissent(before, "west"), "west")
	ev.Builds = []attest.BuildEvidence{before.Evidence(append(statements, dissent(before, "west")))}
	_, err = attest.SignRelease(before.LoadPolicy(), r.Payload, ev, attesttest.Now, attesttest.Key("r1"))
	code(t, err, fault.Dissent)
}

// Commitments and closings have their place in a chain and no meaning yet.
func TestCommitmentsAreReadAndIgnored(t *testing.T) {
	t.Parallel()
	w := loggedWorld(t)
	statements := w.Statements()
	w.Log.Append(attest.Event{Chain: w.Chain(), Type: attest.EventCommit, Object: digestOf(t, statements[0]), By: attesttest.Key("east").Public().ID(),
		Sig: strings.Repeat("A", 86) + "=="})
	w.Log.Append(attest.Event{Chain: w.Chain(), Type: attest.EventClose})
	logAll(w, statements, "east", "north", "west")
	r := w.Release(statements, nil, attesttest.PackageTOML, []string{"r1"}, []string{"r1", "r2"})
	_, err := verified(w, r.Bundle)
	must(t, err)
}

// A bundle has events and proof of a build together, or none.
func TestBundleHoldsChains(t *testing.T) {
	t.Parallel()
	w := loggedWorld(t)
	r := loggedRelease(w)
	for _, drop := range []func(b *attest.BuildEvidence){func(b *attest.BuildEvidence) { b.Events = nil }, func(b *attest.BuildEvidence) { b.Proof = nil }} {
		b := *r.Bundle
		b.Builds = slices.Clone(b.Builds)
		drop(&b.Builds[0])
		_, err := b.Encode()
		code(t, err, fault.EvidenceMismatch)
	}
	data, err := r.Bundle.Encode()
	must(t, err)
	b, err := attest.OpenBundle("b", data)
	must(t, err)
	if string(b.Builds[0].Events) != string(r.Bundle.Builds[0].Events) || string(b.Builds[0].Proof) != string(r.Bundle.Builds[0].Proof) {
		t.Error("the chain is another")
	}
}

// Every byte of a chain and of its proof counts.
func TestEveryFlippedByteOfAChainIsFound(t *testing.T) {
	t.Parallel()
	w := loggedWorld(t)
	r := loggedRelease(w)
	policy := w.LoadPolicy()
	build := r.Bundle.Builds[0]
	try := func(b attest.BuildEvidence) error {
		_, err := attest.OpenChain(policy, store.DigestOf(b.Plan), b.Events, b.Proof)
		return err
	}
	must(t, try(build))
	flips(build.Events, func(at int, mask byte, changed []byte) {
		b := build
		b.Events = changed
		if got := fault.CodeOf(try(b)); got != fault.EvidenceMismatch && got != fault.Parse {
			t.Errorf("events, byte %d ^ %#x: %q", at, mask, got)
		}
	})
	flips(build.Proof, func(at int, mask byte, changed []byte) {
		b := build
		b.Proof = changed
		if try(b) == nil && !strings.Contains(string(build.Proof[:at]), "\n— ") { // who is unknown says nothing
			t.Errorf("proof, byte %d ^ %#x", at, mask)
		}
	})
}

// A release of two platforms has a leaf in the chain of each plan, and every
// chain must end there.
func TestEveryBuildIsLogged(t *testing.T) {
	t.Parallel()
	amd64 := loggedWorld(t)
	x86 := *amd64 // shares the log
	plan := *amd64.Plan
	plan.Platform = "linux/386"
	x86.Plan = &plan
	var err error
	x86.PlanJSON, err = attest.EncodePlan(x86.Plan)
	must(t, err)
	amd64.Log.Append(attest.Event{Chain: x86.Chain(), Type: attest.EventPlan, Object: store.Digest(x86.Chain())})
	both := []*attesttest.World{&x86, amd64}
	policy := amd64.LoadPolicy()
	var mets []*attest.Met
	var statements [][][]byte
	for i, w := range both {
		statements = append(statements, w.Statements())
		logAll(w, statements[i], "east", "north", "west")
		build := w.Evidence(statements[i])
		chain, err := build.Chain(policy)
		must(t, err)
		v, err := attest.Judge(policy, w.Plan, statements[i], chain, nil, attesttest.Now)
		must(t, err)
		met, err := v.Met()
		must(t, err)
		mets = append(mets, met)
	}
	_, image, err := attest.LoadPackage("package.toml", []byte(attesttest.PackageTOML))
	must(t, err)
	var payloads []attest.PayloadInput
	for _, m := range mets {
		payloads = append(payloads, attest.PayloadInput{Platform: m.Platform(), Target: "hello", Path: strings.ReplaceAll(m.Platform(), "/", "-"),
			Tree: amd64.Stages[1].Tree, Files: amd64.HelloFiles})
	}
	pkg, err := attest.Pack(image, payloads, 1)
	must(t, err)
	manifest, err := amd64.Store.Read(amd64.Stages[1].Manifest, 1<<20)
	must(t, err)
	payload, err := attest.Propose(attest.Proposal{Package: pkg, Builds: mets, Manifests: [][]byte{manifest},
		Owners: []attest.PublicKey{attesttest.Key("r1").Public()}, Published: attesttest.Now})
	must(t, err)
	b := &attest.Bundle{Release: amd64.Sign(payload, "r1", "r2"), Evidence: attest.Evidence{Objects: [][]byte{manifest}}}
	verify := func(change func(builds []attest.BuildEvidence)) error {
		b.Builds = []attest.BuildEvidence{x86.Evidence(statements[0]), amd64.Evidence(statements[1])}
		change(b.Builds)
		_, err := verified(amd64, b)
		return err
	}
	same := func([]attest.BuildEvidence) {}
	code(t, verify(same), fault.QuorumPending)
	for i, w := range both {
		w.Log.Append(attest.Event{Chain: w.Chain(), Type: attest.EventRelease, Object: store.DigestOf(payload)})
		code(t, verify(same), []fault.Code{fault.QuorumPending, ""}[i])
	}
	code(t, verify(func(b []attest.BuildEvidence) { b[0].Events, b[0].Proof = nil, nil }), fault.EvidenceMismatch)
	code(t, verify(func(b []attest.BuildEvidence) { b[0].Events, b[0].Proof = b[1].Events, b[1].Proof }), fault.EvidenceMismatch)
	// A signer who was revoked between the two leaves, the last of which counts.
	amd64.PolicyTOML = strings.Replace(amd64.PolicyTOML, key64("r1")+`"`, key64("r1")+`", revoked_from = 10`, 1)
	code(t, verify(same), fault.KeyExpired)
}

// What a release says can be read by who signed it alone: the signers' keys are
// judged at its leaf, which is in the evidence. Too few signers are too few.
func TestReadReleaseJudgesNoTime(t *testing.T) {
	t.Parallel()
	w := loggedWorld(t)
	r := loggedRelease(w)
	read := func(names ...string) (attest.Release, error) {
		e, err := attest.ParseEnvelope("release", w.Sign(r.Payload, names...))
		must(t, err)
		return attest.ReadRelease(w.LoadPolicy(), e)
	}
	for _, end := range []string{"revoked_from = 6", "revoked_from = 0", `not_after = "2026-06-01T08:00:00Z"`, `not_before = "2027-06-01T08:00:00Z"`} {
		text := w.PolicyTOML
		w.PolicyTOML = strings.Replace(text, key64("r2")+`"`, key64("r2")+`", `+end, 1)
		release, err := read("r1", "r2")
		must(t, err)
		if release.Name != "hello" {
			t.Errorf("%+v", release)
		}
		w.PolicyTOML = text
	}
	for _, names := range [][]string{{"r1"}, {"r2"}, {"r1", "stranger"}} {
		_, err := read(names...)
		code(t, err, fault.SignatureInvalid)
	}
	_, err := read("stranger")
	code(t, err, fault.KeyUnknown)
	w.PolicyTOML = strings.Replace(w.PolicyTOML, "need = 2, keys", "need = 1, keys", 1)
	_, err = read("r2") // r1 owns it
	code(t, err, fault.SignatureInvalid)
}
