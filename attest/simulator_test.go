package attest_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/store"
)

// The simulator lets operators, release signers and a network loose on the
// judge. Some operators lie in every way that is known, together; some signers
// sign anything; the network delivers to each party what it likes, when and as
// often as it likes.
//
// Promised, and looked for in every schedule:
//
//   - No release that verifies names a value that no honest operator built, as
//     long as the liars can not satisfy the quorum by themselves: fewer than k
//     of n, in groups any set that [shape.holds] does not. It does not matter
//     how many signers are corrupt: they can not make votes.
//   - Its value has the quorum among operators who voted for it, once each,
//     with a key that counts, who said nothing else and reused nothing that
//     another built.
//   - Where dissent blocks, there is no contradiction in the evidence that the
//     release does not waive, with as many signers as a waiver needs.
//   - Two verifiers never accept two values of one plan, if all honest
//     operators built one value.
//   - If enough honest votes reach enough honest signers, a release comes out
//     and verifies. Where dissent is reported, nothing that too few operators
//     say prevents it. Where it blocks, everything else that they say does not.
//
// Not promised:
//
//   - Where dissent blocks, one operator stops the release by contradicting
//     the others, or by claiming that it saw two runs differ. That is what
//     block means. The signers overrule it with a waiver, and then the promise
//     holds again.
//   - A contradiction that no file of the evidence shows is not seen. That is
//     what the log is for.
//   - An honest vote for a stage reused from a result that is not in the
//     evidence may be lost, if a liar claims to have reused the same result.
//   - Operators who agree on a lie, and are enough, are believed.

// fact is a statement and the truth about it, known because it was made so.
type fact struct {
	id       string
	operator int  // whose statement it is if it counts for anything, else -1
	vote     byte // the value it votes for, or 0
	says     byte // the value of stage hello that it vouches for, or 0
	flaw     byte // 'n' not-deterministic, 'f' build-failed
	judged   bool // listed in a release: neither refused nor an outsider's
	from     string
	key      int // which key of the operator signed, for mutants that count keys
	digest   store.Digest
	raw      []byte
	opened   attest.Opened
	early    attest.Opened // opened when no key had expired
}

func (f *fact) kind() byte { return f.id[len(f.id)-1] }

// contradicts says whether two statements can not both be right.
func (f *fact) contradicts(g *fact) bool {
	return f.says != 0 && g.says != 0 && f.says != g.says
}

// against says whether a statement dissents from honest operators, who built a.
func (f *fact) against(failedBlocks bool) bool {
	return f.says != 0 && f.says != 'a' || f.flaw == 'n' || f.flaw == 'f' && failedBlocks
}

// arena is all that schedules have in common: statements made and opened once,
// and policies loaded once.
type arena struct {
	t      testing.TB
	c      *crew
	early  *attest.Bench
	facts  map[string]*fact // by operator's place and kind
	scenes []scenery
}

// scenery is a policy and what it is meant to say.
type scenery struct {
	shape        *shape
	blocks       bool
	failedBlocks bool
	waiverNeed   int
	policy       *attest.Policy
}

const signersNeed, signersAll = 2, 3

var signerNames = []string{"r1", "r2", "r3"}

// sceneries loads policies for shapes, in turn blocking and not.
func sceneries(t testing.TB, shapes []*shape, asJudged func(scenery) scenery) []scenery {
	var out []scenery
	for i, s := range shapes {
		want := scenery{shape: s, blocks: i%2 == 0, failedBlocks: i%4 < 2, waiverNeed: 2 + i/4%2}
		want.load(t, asJudged(want))
		out = append(out, want)
	}
	return out
}

// load loads the policy that says what have is.
func (s *scenery) load(t testing.TB, have scenery) {
	extra := fmt.Sprintf("dissent = { on = %q, build_failed = %q, waiver_need = %d }", onOff(have.blocks), onOff(have.failedBlocks), have.waiverNeed)
	s.policy = have.shape.policyOfThree(t, extra)
}

func onOff(blocks bool) string {
	if blocks {
		return "block"
	}
	return "report"
}

// policyOfThree is [shape.policy] with two of three signers.
func (s *shape) policyOfThree(t testing.TB, extra string) *attest.Policy {
	t.Helper()
	names := places(s.size)
	text := crewText(s.groupsTOML(names, func([]string) {}), extra, names, nil)
	text = strings.Replace(text, `{ name = "r2"`, fmt.Sprintf(`{ name = "r3", key = %q }, { name = "r2"`, key64("r3")), 1)
	p, err := attest.LoadPolicy("policy.toml", []byte(text))
	must(t, err)
	return p
}

// Kinds of statements by who sends them.
const (
	calm = "aAkexo?zqgw" // that do not dissent
	loud = "bBjcstmnfiuyv" + calm
)

func newArena(t testing.TB) *arena {
	c := newCrew(t)
	a := &arena{t: t, c: c, facts: map[string]*fact{}}
	a.early = attest.NewBench(shapesOf(8, 0)[0].policy(t, ""), c.plan, attesttest.Now.AddDate(-1, 0, 0))
	for place := range 8 {
		a.make(place)
	}
	return a
}

// make makes all statements of one operator; a kind is one letter.
func (a *arena) make(place int) {
	c, me, victim := a.c, name(place), name((place+1)%8)
	built := func(letter byte, nonce int, edit func(*attest.Result)) attest.Result {
		r := c.built(me, letter, nonce)
		if edit != nil {
			edit(&r)
		}
		return r
	}
	failed := func(outcome string) func(*attest.Result) {
		return func(r *attest.Result) {
			r.Outcome, r.Stages, r.Failure = outcome, r.Stages[:1], &attest.Failure{Stage: "hello"}
			r.Repeat.Equal = outcome != attest.OutcomeNotDeterministic
		}
	}
	reused := func(from string) func(*attest.Result) {
		return func(r *attest.Result) { r.Stages[0].Origin, r.Stages[0].From = attest.OriginReused, store.Digest(from) }
	}
	earlier := func(operator string) string { return string(payloadDigest(a.t, c, c.built(operator, 'a', 9))) }
	for _, s := range []struct {
		kind byte
		key  string
		r    attest.Result
		f    fact
	}{
		{'a', me, built('a', 1, nil), fact{vote: 'a', says: 'a'}},
		{'A', me, built('a', 2, nil), fact{vote: 'a', says: 'a'}},
		{'k', me + " second", built('a', 3, nil), fact{vote: 'a', says: 'a', key: 1}},
		{'p', me, built('a', 9, nil), fact{vote: 'a', says: 'a'}},
		{'h', me, built('a', 10, reused(earlier(me))), fact{vote: 'a', says: 'a', from: me}},
		{'b', me, built('b', 1, nil), fact{vote: 'b', says: 'b'}},
		{'B', me, built('b', 2, nil), fact{vote: 'b', says: 'b'}},
		{'j', me + " second", built('b', 3, nil), fact{vote: 'b', says: 'b', key: 1}},
		{'c', me, built('c', 1, nil), fact{vote: 'c', says: 'c'}},
		{'s', me, built('b', 4, func(r *attest.Result) { r.Stages[0].Origin = attest.OriginSubstituted }), fact{says: 'b'}},
		{'t', me, built('a', 5, reused(earlier(victim))), fact{vote: 'a', says: 'a', from: victim}},
		{'v', me, built('b', 5, reused(earlier(victim))), fact{vote: 'b', says: 'b', from: victim}},
		{'m', me, built('b', 6, func(r *attest.Result) { r.Hermetic = false }), fact{says: 'b'}},
		{'n', me, built('a', 7, failed(attest.OutcomeNotDeterministic)), fact{flaw: 'n'}},
		{'f', me, built('a', 8, failed(attest.OutcomeBuildFailed)), fact{flaw: 'f'}},
		{'i', me, built('a', 11, failed(attest.OutcomeInfraFailed)), fact{}},
		{'u', me, built('a', 12, func(r *attest.Result) { r.Repeat.Runs = 0 }), fact{vote: 'a', says: 'a'}},
		{'x', me + " old", built('a', 13, nil), fact{operator: -1, key: 2}},
		{'y', me + " old", built('b', 13, nil), fact{operator: -1, key: 2}},
	} {
		f := s.f
		f.judged = true
		payload, err := attest.NewResultStatement(c.plan, s.r)
		must(a.t, err)
		a.add(place, s.kind, f, c.w.Sign(payload, s.key))
	}
	// What is nobody's statement about this plan.
	theirs, err := attest.NewResultStatement(c.plan, c.built(victim, 'a', 1))
	must(a.t, err)
	inTheirName, err := attest.NewResultStatement(c.plan, c.built(victim, 'b', 14))
	must(a.t, err)
	other := *c.plan
	other.Pipeline = "other"
	elsewhere, err := attest.NewResultStatement(&other, c.built(me, 'b', 1))
	must(a.t, err)
	spoilt := edit(c.w.Sign(theirs, victim), func(o object) { sub(o, "signatures", 0)["sig"] = strangerSig(c.w, theirs) })
	nothing := fact{operator: -1}
	a.add(place, 'o', nothing, c.w.Sign(inTheirName, me))
	a.add(place, 'z', nothing, c.w.Sign(theirs, me))
	a.add(place, 'q', nothing, c.w.Sign(theirs, me, victim))
	a.add(place, 'g', nothing, spoilt)
	a.add(place, 'w', nothing, c.w.Sign(elsewhere, me))
	a.add(place, 'e', nothing, c.w.Sign(elsewhere, "stranger"))
	a.add(place, '?', nothing, []byte(`{"payload":"`+me))
}

func payloadDigest(t testing.TB, c *crew, r attest.Result) store.Digest {
	payload, err := attest.NewResultStatement(c.plan, r)
	must(t, err)
	return store.DigestOf(payload)
}

func (a *arena) add(place int, kind byte, f fact, raw []byte) {
	if f.operator == 0 {
		f.operator = place
	}
	f.id, f.raw = name(place)+string(kind), raw
	f.opened, f.early = a.c.bench.Open(raw), a.early.Open(raw)
	if e, err := attest.ParseEnvelope("statement", raw); err == nil {
		f.digest = e.Digest()
	} else {
		f.digest = store.DigestOf(raw)
	}
	a.facts[f.id] = &f
}

func (a *arena) fact(place int, kind byte) *fact { return a.facts[name(place)+string(kind)] }

// rules are how the parties decide. The zero value is the product; each field
// that is set breaks it in one way, which the simulator has to find.
type rules struct {
	judge        func(*schedule, []*fact, []store.Digest) ruling
	asJudged     func(scenery) scenery // the policy that is loaded in place of the one that is meant
	trustSigners bool                  // a verifier does not judge the evidence again
	listedOnly   bool                  // nor what the release does not list
	anyWaiver    bool                  // waivers need no more signers than the release
	earlyClock   bool                  // a key counts after its end
	modelled     bool                  // every verdict is held against the model
}

// ruling is what a party makes of statements.
type ruling struct {
	state  attest.State
	value  byte
	listed []store.Digest // judged, sorted
	spoilt bool           // some were refused
}

// proposal is a release before and while it is signed.
type proposal struct {
	value    byte
	listed   []store.Digest
	waived   []store.Digest
	evidence []*fact // that it travels with
	signed   uint
}

// schedule is one run.
type schedule struct {
	a         *arena
	rules     *rules
	scene     *scenery
	rng       *rand.Rand
	liars     uint // operators
	corrupt   uint // signers
	split     bool // honest operators built different values
	honest    map[byte]bool
	inbox     [signersAll][]*fact
	sent      []*fact
	proposals []*proposal
	accepted  map[byte]bool
	found     []string // violations
	checks    []check  // for the replay
}

// check is one decision of a signer or a verifier.
type check struct {
	p        *proposal
	evidence []*fact
	signed   uint
	verifier bool
	fresh    bool // the signer proposed it itself
	ok       bool
}

func (s *schedule) violation(format string, args ...any) {
	s.found = append(s.found, fmt.Sprintf(format, args...))
}

// judgeFacts is the real judge on opened statements.
func (s *schedule) judgeFacts(facts []*fact, waived []store.Digest) ruling {
	if s.rules.judge != nil {
		return s.rules.judge(s, facts, waived)
	}
	opened := make([]attest.Opened, len(facts))
	bench := s.a.c.bench
	for i, f := range facts {
		opened[i] = f.opened
		if s.rules.earlyClock {
			opened[i] = f.early
		}
	}
	if s.rules.earlyClock {
		bench = s.a.early
	}
	v, err := bench.Judge(s.scene.policy, opened, waivers(waived))
	if err != nil {
		return ruling{}
	}
	r := ruling{state: v.State(), value: s.a.c.voted[v.Outputs()], listed: v.Judged()}
	r.spoilt = slices.ContainsFunc(v.Statements(), func(a attest.StatementAccount) bool { return a.Status == attest.StatusRefused })
	if state, value := s.model(facts, waived); s.rules.modelled && (r.state != state || state == attest.StateMet && r.value != value) {
		s.violation("the verdict is %s for %c, the model says %s for %c", r.state, r.value, state, value)
	}
	return r
}

// model is formats.md 5, verdict, over what is known to be true.
func (s *schedule) model(facts []*fact, waived []store.Digest) (attest.State, byte) {
	gone := func(f *fact) bool { return f.operator < 0 || slices.Contains(waived, f.digest) }
	live := slices.DeleteFunc(slices.Clone(facts), func(f *fact) bool { return f.operator < 0 })
	kept := slices.DeleteFunc(slices.Clone(facts), gone)
	var barred uint
	dissent := false
	for _, f := range live {
		failed := f.flaw == 'n' || f.flaw == 'f' && s.scene.failedBlocks
		if gone(f) && (failed || slices.ContainsFunc(live, f.contradicts)) {
			barred |= 1 << f.operator
		}
		if gone(f) {
			continue
		}
		for _, g := range kept {
			if f.flaw == 'n' || f.contradicts(g) && f.operator == g.operator {
				barred |= 1 << f.operator
			}
			dissent = dissent || failed || f.contradicts(g)
		}
	}
	votes := map[byte]uint{}
	for _, f := range kept {
		if f.vote != 0 && barred>>f.operator&1 == 0 && !s.borrowed(f, live) {
			votes[f.vote] |= 1 << f.operator
		}
	}
	state, value := attest.StatePending, byte(0)
	for v, by := range votes {
		switch met := s.scene.shape.holds(by); {
		case met && value != 0:
			state = attest.StateDissent
		case met:
			state, value = attest.StateMet, v
		}
	}
	if dissent && s.scene.blocks {
		state = attest.StateDissent
	}
	return state, value
}

func waivers(digests []store.Digest) []attest.Waiver {
	var out []attest.Waiver
	for _, d := range digests {
		out = append(out, attest.Waiver{Statement: d, Reason: "seen by a person"})
	}
	return out
}

// fits is what a signer and a verifier ask of a release's evidence. That the
// product asks the same is seen in [TestSimulatorReplay].
func (s *schedule) fits(p *proposal, evidence []*fact, verifier bool) bool {
	var listed []*fact
	var seen []store.Digest
	for _, f := range evidence {
		if slices.Contains(p.listed, f.digest) && f.kind() != '?' {
			listed, seen = append(listed, f), append(seen, f.digest)
		}
	}
	slices.Sort(seen)
	if len(p.listed) == 0 || !slices.Equal(slices.Compact(seen), p.listed) {
		return false
	}
	for _, d := range p.waived {
		if !slices.Contains(p.listed, d) {
			return false
		}
	}
	if verifier && s.rules.trustSigners {
		return true
	}
	r := s.judgeFacts(listed, p.waived)
	if r.spoilt || !slices.Equal(r.listed, p.listed) {
		return false
	}
	if len(evidence) > len(listed) && !(verifier && s.rules.listedOnly) {
		r = s.judgeFacts(evidence, p.waived)
	}
	return r.state == attest.StateMet && r.value == p.value
}

// sign lets an honest signer decide about a proposal, with what it has itself.
func (s *schedule) sign(signer int, p *proposal, fresh bool) {
	evidence := union(p.evidence, s.inbox[signer])
	ok := s.fits(p, evidence, false)
	s.checks = append(s.checks, check{p, evidence, 0, false, fresh, ok})
	if ok {
		p.signed |= 1 << signer
	}
}

func union(a, b []*fact) []*fact {
	out := slices.Clone(a)
	for _, f := range b {
		if !slices.Contains(out, f) {
			out = append(out, f)
		}
	}
	return out
}

// propose lets an honest signer propose what its statements come to.
func (s *schedule) propose(signer int, waive bool) *proposal {
	var waived []store.Digest
	if waive {
		for _, f := range s.inbox[signer] {
			if f.against(s.scene.failedBlocks) && !slices.Contains(waived, f.digest) {
				waived = append(waived, f.digest)
			}
		}
		slices.Sort(waived)
	}
	r := s.judgeFacts(s.inbox[signer], waived)
	if r.state != attest.StateMet {
		return nil
	}
	p := &proposal{value: r.value, listed: r.listed, waived: waived, evidence: slices.Clone(s.inbox[signer])}
	s.proposals = append(s.proposals, p)
	s.sign(signer, p, true)
	return p
}

// forge makes a proposal that says whatever helps the liars.
func (s *schedule) forge() {
	p := &proposal{value: "bbbac"[s.rng.IntN(5)]}
	for _, f := range s.sent {
		mine := f.operator < 0 || s.liars>>f.operator&1 == 1
		if !mine && s.rng.IntN(3) == 0 || mine && f.says != 0 && f.says != p.value && s.rng.IntN(4) > 0 {
			continue
		}
		p.evidence = append(p.evidence, f)
		if f.judged && !slices.Contains(p.listed, f.digest) {
			p.listed = append(p.listed, f.digest)
			if f.says != 0 && f.says != p.value && s.rng.IntN(2) == 0 || f.flaw != 0 && s.rng.IntN(2) == 0 {
				p.waived = append(p.waived, f.digest)
			}
		}
	}
	slices.Sort(p.listed)
	slices.Sort(p.waived)
	p.signed = s.corrupt
	s.proposals = append(s.proposals, p)
}

// verify lets a verifier decide about a release as it was published, and holds
// what it accepts against what is promised.
func (s *schedule) verify(p *proposal, evidence []*fact) bool {
	need := signersNeed
	if len(p.waived) > 0 && !s.rules.anyWaiver {
		need = s.scene.waiverNeed
	}
	ok := ones(p.signed) >= need && s.fits(p, evidence, true)
	s.checks = append(s.checks, check{p, evidence, p.signed, true, false, ok})
	if ok {
		s.accept(p, evidence)
	}
	return ok
}

func (s *schedule) accept(p *proposal, evidence []*fact) {
	s.accepted[p.value] = true
	enough := s.scene.shape.holds(s.liars)
	if !enough && !s.honest[p.value] {
		s.violation("value %c was built by no honest operator", p.value)
	}
	if !enough && !s.split && len(s.accepted) > 1 {
		s.violation("two values were accepted: %v", s.accepted)
	}
	if votes := s.supporters(p.value, p.waived, evidence); !s.scene.shape.holds(votes) {
		s.violation("value %c was accepted with the votes %b of %s", p.value, votes, s.scene.shape)
	}
	if n := ones(p.signed); n < signersNeed || len(p.waived) > 0 && n < s.scene.waiverNeed {
		s.violation("%d signers, %d waivers", n, len(p.waived))
	}
	if s.scene.blocks && s.contradiction(p.waived, evidence) {
		s.violation("a contradiction in the evidence is not waived")
	}
}

// supporters are the operators who voted for a value, said nothing else, and
// did not reuse what another built.
func (s *schedule) supporters(value byte, waived []store.Digest, evidence []*fact) uint {
	var votes, barred uint
	for _, f := range evidence {
		switch {
		case f.operator < 0:
		case f.says != 0 && f.says != value || f.flaw == 'n':
			barred |= 1 << f.operator
		case f.vote == value && !slices.Contains(waived, f.digest) && !s.borrowed(f, evidence):
			votes |= 1 << f.operator
		}
	}
	return votes &^ barred
}

// borrowed says whether a result reused what its operator did not build: the
// earlier result is there and is another's, or is missing and two claim it.
func (s *schedule) borrowed(f *fact, evidence []*fact) bool {
	if f.from == "" {
		return false
	}
	if slices.ContainsFunc(evidence, func(g *fact) bool { return g.kind() == 'p' && name(g.operator) == f.from }) {
		return name(f.operator) != f.from
	}
	return slices.ContainsFunc(evidence, func(g *fact) bool {
		return g.from == f.from && g.operator != f.operator
	})
}

// contradiction says whether statements that are not waived contradict.
func (s *schedule) contradiction(waived []store.Digest, evidence []*fact) bool {
	for i, f := range evidence {
		if f.operator < 0 || slices.Contains(waived, f.digest) {
			continue
		}
		if f.flaw == 'n' || f.flaw == 'f' && s.scene.failedBlocks {
			return true
		}
		for _, g := range evidence[:i] {
			if g.operator >= 0 && f.contradicts(g) && !slices.Contains(waived, g.digest) {
				return true
			}
		}
	}
	return false
}

// run is one schedule from its number.
func (a *arena) run(rules *rules, seed uint64) *schedule {
	s := &schedule{a: a, rules: rules, rng: rand.New(rand.NewPCG(20260601, seed)), honest: map[byte]bool{}, accepted: map[byte]bool{}}
	s.scene = &a.scenes[s.rng.IntN(len(a.scenes))]
	s.cast()
	kinds := calm
	if s.rng.IntN(4) > 0 {
		kinds = loud
	}
	s.speak(kinds)
	s.deliver()
	for range s.rng.IntN(3) {
		if s.corrupt != 0 {
			s.forge()
		}
	}
	s.act()
	s.publish()
	s.settle()
	return s
}

// cast chooses who lies.
func (s *schedule) cast() {
	n := s.scene.shape.size
	s.liars = uint(s.rng.IntN(1 << n))
	// As often as not as many as there may be without being enough.
	for s.scene.shape.holds(s.liars) && s.rng.IntN(24) > 0 {
		s.liars &^= 1 << s.rng.IntN(n)
	}
	s.corrupt = []uint{0, 0, 1, 1, 2, 3, 5, 7}[s.rng.IntN(8)]
	s.split = s.rng.IntN(16) == 0
}

// speak lets every operator make its statements.
func (s *schedule) speak(kinds string) {
	for place := range s.scene.shape.size {
		if s.liars>>place&1 == 1 {
			for range 1 + s.rng.IntN(3) {
				s.sent = append(s.sent, s.a.fact(place, kinds[s.rng.IntN(len(kinds))]))
			}
			continue
		}
		says := []string{"a", "a", "a", "aA", "ph", "h", "k", "ai", "i", ""}[s.rng.IntN(10)]
		if s.split && s.rng.IntN(2) == 0 {
			says = "b"
		}
		for _, kind := range []byte(says) {
			f := s.a.fact(place, kind)
			s.sent = append(s.sent, f)
			s.honest[f.vote] = true
		}
	}
	delete(s.honest, 0)
}

// deliver is the network: to each signer some of it, in any order, some twice.
func (s *schedule) deliver() {
	for signer := range s.inbox {
		loss := s.rng.IntN(5)
		for _, i := range s.rng.Perm(len(s.sent)) {
			if s.rng.IntN(10) < loss {
				continue
			}
			s.inbox[signer] = append(s.inbox[signer], s.sent[i])
			if s.rng.IntN(8) == 0 {
				s.inbox[signer] = append(s.inbox[signer], s.sent[i])
			}
		}
	}
}

// act lets the honest signers propose and sign at times of their own: what a
// signer has not yet got, it does not know.
func (s *schedule) act() {
	var whole [signersAll][]*fact
	for signer := range s.inbox {
		whole[signer] = s.inbox[signer]
		s.inbox[signer] = whole[signer][:s.rng.IntN(len(whole[signer])+1)]
	}
	for range 4 {
		signer := s.rng.IntN(signersAll)
		if s.corrupt>>signer&1 == 1 {
			continue
		}
		if len(s.proposals) > 0 && s.rng.IntN(3) > 0 {
			s.sign(signer, s.proposals[s.rng.IntN(len(s.proposals))], false)
		} else {
			s.propose(signer, s.rng.IntN(2) == 0)
		}
		got := len(s.inbox[signer])
		s.inbox[signer] = whole[signer][:got+s.rng.IntN(len(whole[signer])-got+1)]
	}
	s.inbox = whole
}

// publish puts every proposal before verifiers, with the evidence that it
// travels with, without what it does not list, and with all there is.
func (s *schedule) publish() {
	for _, p := range s.proposals {
		if s.corrupt != 0 {
			p.signed |= s.corrupt
		}
		if ones(p.signed) < signersNeed {
			continue
		}
		trimmed := slices.DeleteFunc(slices.Clone(p.evidence), func(f *fact) bool { return !slices.Contains(p.listed, f.digest) })
		for _, evidence := range [][]*fact{p.evidence, trimmed, union(p.evidence, s.sent)} {
			s.verify(p, evidence)
		}
	}
}

// settle is the end, when all that was sent has reached every signer: then the
// release comes out, if it is promised.
func (s *schedule) settle() {
	for signer := range s.inbox {
		s.inbox[signer] = s.sent
	}
	first := -1
	for signer := range signersAll {
		if s.corrupt>>signer&1 == 0 {
			first = signer
			break
		}
	}
	if first < 0 {
		return
	}
	waive := s.rng.IntN(2) == 0
	var waived []store.Digest
	if p := s.propose(first, waive); p != nil {
		waived = p.waived
		for signer := first + 1; signer < signersAll; signer++ {
			if s.corrupt>>signer&1 == 0 {
				s.sign(signer, p, false)
			}
		}
		if s.verify(p, s.sent) {
			return
		}
	} else if waive {
		for _, f := range s.sent {
			if f.against(s.scene.failedBlocks) {
				waived = append(waived, f.digest)
			}
		}
	}
	if s.promised(waived) {
		s.violation("no release although enough honest operators answered: votes %b", s.honestVotes())
	}
}

// promised says whether a release has to come out of all that was sent.
func (s *schedule) promised(waived []store.Digest) bool {
	need := signersNeed
	if len(waived) > 0 {
		need = s.scene.waiverNeed
	}
	return !s.split && signersAll-ones(s.corrupt) >= need &&
		s.scene.shape.holds(s.honestVotes()) && !s.scene.shape.holds(s.liars) &&
		!(s.scene.blocks && s.contradiction(waived, s.sent))
}

// honestVotes are those that nobody can take away: not of results reused from
// one that is missing and that a liar claims too.
func (s *schedule) honestVotes() (votes uint) {
	for _, f := range s.sent {
		if f.operator < 0 || s.liars>>f.operator&1 == 1 || f.vote != 'a' {
			continue
		}
		claimed := f.from != "" && slices.ContainsFunc(s.sent, func(g *fact) bool { return g != f && g.from == f.from })
		if !claimed || slices.Contains(s.sent, s.a.fact(f.operator, 'p')) {
			votes |= 1 << f.operator
		}
	}
	return votes
}

// someShapes are every step-th shape of 2 to 6 operators, and all k of n.
func someShapes(step int) []*shape {
	var out []*shape
	for n := 2; n <= 6; n++ {
		all := shapesOf(n, 0)
		out = append(out, all[len(all)-n:]...) // k of n
		for i := 0; i < len(all); i += step * n {
			out = append(out, all[i])
		}
	}
	return out
}

// kOfN are all k of n up to 4, each with both choices about dissent.
func kOfN() []*shape {
	var out []*shape
	for n := 2; n <= 4; n++ {
		all := shapesOf(n, 0)
		out = append(out, all[len(all)-n:]...)
	}
	return slices.Concat(out, out) // nine, so the choices fall otherwise in the second half
}

func asMeant(s scenery) scenery { return s }

// outcomes is what came of many schedules.
type outcomes struct {
	schedules, violations, released, waived, refused, dishonest, decisions int
	first                                                                  string
}

func (o *outcomes) add(s *schedule, seed uint64) {
	o.schedules++
	o.decisions += len(s.checks)
	if len(s.accepted) > 0 {
		o.released++
	}
	if s.accepted['b'] && !s.split {
		o.dishonest++
	}
	if slices.ContainsFunc(s.checks, func(c check) bool { return c.ok && len(c.p.waived) > 0 }) {
		o.waived++
	}
	if slices.ContainsFunc(s.checks, func(c check) bool { return c.verifier && !c.ok }) {
		o.refused++
	}
	if len(s.found) > 0 {
		o.violations++
		if o.first == "" {
			o.first = fmt.Sprintf("schedule %d, %s, liars %b, corrupt %b: %s", seed, s.scene.shape, s.liars, s.corrupt, s.found[0])
		}
	}
}

// Everything that up to three operators may do, all statements that may be
// waived, and every choice about dissent, in every shape, against the model.
func TestSweepBehaviours(t *testing.T) {
	t.Parallel()
	a := newArena(t)
	does := []string{"", "a", "aA", "b", "ab", "n", "an", "f", "af", "s", "h", "ph", "t", "v", "x", "ky"}
	for n := 2; n <= 3; n++ {
		over(shapesOf(n, 0), 1, func(s *shape) (c count) {
			for choice := range 4 {
				want := scenery{shape: s, blocks: choice%2 == 0, failedBlocks: choice < 2, waiverNeed: 2}
				want.load(t, want)
				for i := choice; i < pow(len(does), n); i += every(40 * n) {
					var said []*fact
					for place, rest := 0, i; place < n; place, rest = place+1, rest/len(does) {
						for _, kind := range []byte(does[rest%len(does)]) {
							said = append(said, a.fact(place, kind))
						}
					}
					for set := range 1 << len(said) {
						var waived []store.Digest
						for bit, f := range said {
							if set>>bit&1 == 1 {
								waived = append(waived, f.digest)
							}
						}
						run := schedule{a: a, rules: &rules{modelled: true}, scene: &want}
						run.judgeFacts(said, waived)
						c.cases++
						if len(run.found) > 0 {
							c.disagree("%s %d waived %b: %s", s, i, set, run.found[0])
						}
					}
				}
			}
			return c
		}).report(t, fmt.Sprint("behaviours of ", n))
	}
}

// Every schedule is numbered, so a violation can be run again.
func TestSimulator(t *testing.T) {
	t.Parallel()
	a := newArena(t)
	a.scenes = sceneries(t, someShapes(min(8, every(8))), asMeant)
	n := uint64(1_000_000 / every(50))
	var mu sync.Mutex
	var total outcomes
	var wg sync.WaitGroup
	workers := uint64(runtime.GOMAXPROCS(0))
	for w := range workers {
		wg.Go(func() {
			var mine outcomes
			for seed := w; seed < n; seed += workers {
				mine.add(a.run(&rules{modelled: true}, seed), seed)
			}
			mu.Lock()
			defer mu.Unlock()
			total.schedules += mine.schedules
			total.violations += mine.violations
			total.released += mine.released
			total.waived += mine.waived
			total.refused += mine.refused
			total.dishonest += mine.dishonest
			total.decisions += mine.decisions
			if total.first == "" {
				total.first = mine.first
			}
		})
	}
	wg.Wait()
	t.Logf("%d policies, %d schedules, %d decisions: %d released something, %d with waivers, %d refused something; %d where enough lied and were believed; %d violations",
		len(a.scenes), total.schedules, total.decisions, total.released, total.waived, total.refused, total.dishonest, total.violations)
	if total.violations > 0 {
		t.Errorf("%d violations, first: %s", total.violations, total.first)
	}
	// A simulator in which nothing happens finds nothing.
	for what, got := range map[string]int{"releases": total.released, "waivers": total.waived, "refusals": total.refused, "believed lies": total.dishonest} {
		if got < total.schedules/2000 {
			t.Errorf("only %d %s in %d schedules", got, what, total.schedules)
		}
	}
}

// counting is a judge of k of n that takes what identity gives for a voter.
func counting(identity func(int, *fact) string, dissent bool) func(*schedule, []*fact, []store.Digest) ruling {
	return func(s *schedule, facts []*fact, waived []store.Digest) ruling {
		r := ruling{state: attest.StatePending}
		votes := map[byte]map[string]bool{}
		for i, f := range facts {
			if f.judged && !slices.Contains(r.listed, f.digest) {
				r.listed = append(r.listed, f.digest)
			}
			if f.operator < 0 || f.vote == 0 || slices.Contains(waived, f.digest) {
				continue
			}
			if votes[f.vote] == nil {
				votes[f.vote] = map[string]bool{}
			}
			votes[f.vote][identity(i, f)] = true
		}
		slices.Sort(r.listed)
		for _, value := range []byte("cba") {
			if len(votes[value]) >= s.scene.shape.need {
				r.state, r.value = attest.StateMet, value
			}
		}
		if dissent && s.scene.blocks && s.contradiction(waived, facts) {
			r.state = attest.StateDissent
		}
		return r
	}
}

// The simulator finds what it is there for: each defect that is put into the
// parties' rules shows within a few schedules.
func TestSimulatorFindsDefects(t *testing.T) {
	t.Parallel()
	a := newArena(t)
	operator := func(_ int, f *fact) string { return fmt.Sprint(f.operator) }
	for _, m := range []struct {
		what   string
		shapes []*shape
		rules  rules
	}{
		{"one vote less is enough", kOfN(), rules{asJudged: func(s scenery) scenery {
			s.shape = &shape{need: max(1, s.shape.need-1), of: s.shape.of, size: s.shape.size}
			return s
		}}},
		{"one vote more is needed", kOfN(), rules{asJudged: func(s scenery) scenery {
			s.shape = &shape{need: min(s.shape.size, s.shape.need+1), of: s.shape.of, size: s.shape.size}
			return s
		}}},
		{"groups are flattened", someShapes(20), rules{asJudged: func(s scenery) scenery {
			flat := shapesOf(s.shape.size, 0)
			s.shape = flat[len(flat)-s.shape.size+s.shape.need-1]
			return s
		}}},
		{"dissent is only reported", kOfN(), rules{asJudged: func(s scenery) scenery { s.blocks = false; return s }}},
		{"reported dissent blocks", kOfN(), rules{asJudged: func(s scenery) scenery { s.blocks = true; return s }}},
		{"failed builds never block", kOfN(), rules{asJudged: func(s scenery) scenery { s.failedBlocks = false; return s }}},
		{"failed builds always block", kOfN(), rules{asJudged: func(s scenery) scenery { s.failedBlocks = true; return s }}},
		{"an envelope is a vote", kOfN(), rules{judge: counting(func(i int, _ *fact) string { return fmt.Sprint(i) }, true)}},
		{"a statement is a vote", kOfN(), rules{judge: counting(func(_ int, f *fact) string { return string(f.digest) }, true)}},
		{"a key is a vote", kOfN(), rules{judge: counting(func(_ int, f *fact) string { return fmt.Sprint(f.operator, f.key) }, true)}},
		{"who contradicts himself votes", kOfN(), rules{judge: counting(operator, true)}},
		{"contradictions are not looked for", kOfN(), rules{judge: counting(operator, false)}},
		{"an expired key counts", kOfN(), rules{earlyClock: true}},
		{"signatures stand for evidence", kOfN(), rules{trustSigners: true}},
		{"what is not listed is not judged", kOfN(), rules{listedOnly: true}},
		{"a waiver is a release's matter", kOfN(), rules{anyWaiver: true}},
	} {
		t.Run(m.what, func(t *testing.T) {
			if m.rules.asJudged == nil {
				m.rules.asJudged = asMeant
			}
			b := *a
			b.scenes = sceneries(t, m.shapes, m.rules.asJudged)
			for seed := range uint64(20_000) {
				if s := b.run(&m.rules, seed); len(s.found) > 0 {
					t.Logf("after %d schedules: %s", seed+1, s.found[0])
					return
				}
			}
			t.Error("not found in 20000 schedules")
		})
	}
}

// A stand is what a release is about, whatever it says: a package for each
// value, and a payload that any other is forged from.
type stand struct {
	payload  []byte
	proposal attest.Proposal
	evidence attest.Evidence // without statements
}

func (a *arena) stand(value byte) stand {
	c := a.c
	hello := c.values[value]
	files := c.w.HelloFiles
	if value != 'a' {
		files = []store.File{{Path: "x", Mode: 0o644, Data: []byte{value}}}
	}
	_, image, err := attest.LoadPackage("package.toml", []byte(attesttest.PackageTOML))
	must(a.t, err)
	pkg, err := attest.Pack(image, []attest.PayloadInput{{
		Platform: attesttest.Platform, Target: "hello", Path: "linux-amd64/hello", Tree: hello.Tree, Files: files,
	}}, attesttest.Epoch)
	must(a.t, err)
	manifest, err := c.w.Store.Read(hello.Manifest, 1<<20)
	must(a.t, err)
	lock := []byte("a lock\n")
	s := stand{
		proposal: attest.Proposal{Package: pkg, Manifests: [][]byte{manifest}, Lock: lock, Published: attesttest.Now,
			Owners: []attest.PublicKey{attesttest.Key("owner").Public()}},
		evidence: attest.Evidence{Lock: lock, Objects: [][]byte{manifest}},
	}
	// One vote is enough for this policy, so there is a proposal to begin with.
	weak := shapesOf(2, 0)[0].policyOfThree(a.t, "")
	s.payload = a.propose(weak, s, []*fact{a.fact(0, value)}, nil)
	return s
}

// propose goes through the product to a release's payload.
func (a *arena) propose(policy *attest.Policy, s stand, evidence []*fact, waived []store.Digest) []byte {
	v, err := attest.Judge(policy, a.c.plan, raws(evidence), nil, waivers(waived), attesttest.Now)
	must(a.t, err)
	met, err := v.Met()
	must(a.t, err)
	s.proposal.Builds = []*attest.Met{met}
	payload, err := attest.Propose(s.proposal)
	must(a.t, err)
	return payload
}

func raws(facts []*fact) [][]byte {
	var out [][]byte
	for _, f := range facts {
		out = append(out, f.raw)
	}
	return out
}

// replay takes every decision of a schedule again with real releases, real
// signatures and real bundles, and returns how many there were.
func (s *schedule) replay(stands map[byte]stand) int {
	a, taken := s.a, 0
	for _, d := range s.checks {
		st := stands[d.p.value]
		payload, err := attest.Forge(st.payload, func(r *attest.Release) {
			r.Policy, r.Waivers = s.scene.policy.Digest(), waivers(d.p.waived)
			r.Builds[0].Statements = d.p.listed
		})
		if err != nil { // it lists nothing, or waives what it does not list
			if d.ok {
				a.t.Errorf("%v is no release: %v", d.p, err)
			}
			continue
		}
		evidence := st.evidence
		evidence.Builds = []attest.BuildEvidence{{Plan: a.c.w.PlanJSON, Statements: raws(d.evidence)}}
		taken++
		if d.verifier {
			err = s.replayVerify(payload, evidence, d)
		} else {
			if d.fresh && !bytes.Equal(payload, a.propose(s.scene.policy, st, d.evidence, d.p.waived)) {
				a.t.Errorf("a payload that was proposed is not the one forged")
			}
			_, err = attest.SignRelease(s.scene.policy, payload, evidence, attesttest.Now, attesttest.Key("r1"))
		}
		if (err == nil) != d.ok {
			a.t.Errorf("%s: verifier %t, value %c: the simulator says %t, the product %v", s.scene.shape, d.verifier, d.p.value, d.ok, err)
		}
	}
	return taken
}

// replayVerify puts the signatures together one by one, as signers who do not
// meet would, and verifies the bundle as a file.
func (s *schedule) replayVerify(payload []byte, evidence attest.Evidence, d check) error {
	t := s.a.t
	release := s.a.c.w.Sign(payload, "owner")
	for i, signer := range signerNames {
		if d.signed>>i&1 == 0 {
			continue
		}
		one, err := attest.ParseEnvelope("release", s.a.c.w.Sign(payload, signer))
		must(t, err)
		before, err := attest.ParseEnvelope("release", release)
		must(t, err)
		release, err = attest.Merge(before, one)
		must(t, err)
	}
	_, err := attest.Verify(s.scene.policy, &attest.Bundle{Release: release, Evidence: evidence}, attest.Expect{Name: "hello"}, attesttest.Now)
	return err
}

// What the simulator takes for the product is the product: schedules again,
// through Propose, SignRelease, Merge and Verify, decision by decision.
func TestSimulatorReplay(t *testing.T) {
	t.Parallel()
	a := newArena(t)
	a.scenes = sceneries(t, someShapes(min(8, every(8))), asMeant)
	stands := map[byte]stand{'a': a.stand('a'), 'b': a.stand('b'), 'c': a.stand('c')}
	schedules, taken, accepted := uint64(4000/every(27)), 0, 0
	for seed := range schedules {
		s := a.run(&rules{}, 1<<32+seed)
		taken += s.replay(stands)
		accepted += len(s.accepted)
	}
	t.Logf("%d schedules, %d decisions, in %d a release was accepted", schedules, taken, accepted)
	if taken < int(schedules) || accepted == 0 {
		t.Error("too little happened")
	}
}
