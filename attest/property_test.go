package attest_test

import (
	"flag"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/store"
)

// checks sets how many cases rapid draws in a test, ten times as many in a
// sweep. Such a test is not parallel: rapid has one number for all.
func checks(t *testing.T, n int) {
	t.Helper()
	if *sweep {
		n *= 10
	}
	old := flag.Lookup("rapid.checks").Value.String()
	must(t, flag.Set("rapid.checks", strconv.Itoa(n)))
	t.Cleanup(func() { must(t, flag.Set("rapid.checks", old)) })
}

// situation is a policy and what its operators said.
type situation struct {
	a     *arena
	scene *scenery
	said  []*fact
	empty []int // operators who said nothing
}

func (a *arena) draw(r *rapid.T) *situation {
	s := &situation{a: a, scene: &a.scenes[rapid.IntRange(0, len(a.scenes)-1).Draw(r, "policy")]}
	palette := []string{"", "", "a", "a", "aA", "k", "h", "ph", "b", "ab", "s", "n", "an", "f", "af", "i", "t", "v", "m", "x", "y", "z", "c"}
	if rapid.Bool().Draw(r, "agreeing") {
		palette = []string{"", "", "a", "A", "ak", "h", "ph", "i", "x", "t", "f"}
	}
	for place := range s.scene.shape.size {
		kinds := rapid.SampledFrom(palette).Draw(r, name(place))
		if kinds == "" {
			s.empty = append(s.empty, place)
		}
		for _, kind := range []byte(kinds) {
			s.said = append(s.said, a.fact(place, kind))
		}
	}
	return s
}

func (s *situation) judge(r *rapid.T, said []*fact, waived []store.Digest) *attest.Verdict {
	opened := make([]attest.Opened, len(said))
	for i, f := range said {
		opened[i] = f.opened
	}
	return s.judgeOpened(r, opened, waived)
}

func (s *situation) judgeOpened(r *rapid.T, opened []attest.Opened, waived []store.Digest) *attest.Verdict {
	v, err := s.a.c.bench.Judge(s.scene.policy, opened, waivers(waived))
	if err != nil {
		r.Fatal(err)
	}
	return v
}

// comes is what a verdict comes to, without what it says about statements.
func comes(v *attest.Verdict) string {
	return fmt.Sprint(v.State(), v.Outputs(), v.Cast(), votersOf(v), v.Contradictions(), v.Shortfalls())
}

// votersOf returns who votes for what.
func votersOf(v *attest.Verdict) map[string]store.Digest {
	out := map[string]store.Digest{}
	for _, o := range v.Operators() {
		if o.Counted || o.Why == "votes for another value" {
			out[o.Operator] = o.Outputs
		}
	}
	return out
}

func (s *situation) same(r *rapid.T, what, got, want string) {
	if got != want {
		ids := make([]string, len(s.said))
		for i, f := range s.said {
			ids[i] = f.id
		}
		r.Fatalf("%s: %s %v:\ngot  %s\nwant %s", what, s.scene.shape, ids, got, want)
	}
}

func TestVerdictLaws(t *testing.T) {
	checks(t, 10_000)
	a := newArena(t)
	a.scenes = sceneries(t, someShapes(4), asMeant)
	outside := outsiders(t, a)
	rapid.Check(t, func(r *rapid.T) {
		s := a.draw(r)
		var waived []store.Digest
		for _, f := range s.said {
			if rapid.IntRange(0, 7).Draw(r, "waive") == 0 && !slices.Contains(waived, f.digest) {
				waived = append(waived, f.digest)
			}
		}
		v := s.judge(r, s.said, waived)
		s.order(r, v, waived)
		s.oneVote(r, v, waived)
		s.nobody(r, v, waived, outside)
		s.monotone(r, v, waived)
		s.waiving(r, v, waived)
	})
}

// order: no order and no copy of an envelope changes anything at all.
func (s *situation) order(r *rapid.T, v *attest.Verdict, waived []store.Digest) {
	said := slices.Clone(s.said)
	for _, f := range s.said {
		for range rapid.IntRange(0, 2).Draw(r, "copies") {
			said = append(said, f)
		}
	}
	shuffled := s.judge(r, rapid.Permutation(said).Draw(r, "order"), waived)
	if !reflect.DeepEqual(account(shuffled), account(v)) {
		s.same(r, "order or copies count", fmt.Sprintf("%+v", account(shuffled)), fmt.Sprintf("%+v", account(v)))
	}
}

// oneVote: whoever agrees has one vote, however often, with however many keys.
func (s *situation) oneVote(r *rapid.T, v *attest.Verdict, waived []store.Digest) {
	said := slices.Clone(s.said)
	for _, f := range s.said {
		if f.vote != 'a' || f.from != "" || slices.Contains(waived, f.digest) {
			continue
		}
		for _, kind := range []byte(rapid.SampledFrom([]string{"", "A", "k", "Ak", "aAk"}).Draw(r, "more of "+f.id)) {
			if more := s.a.fact(f.operator, kind); !slices.Contains(waived, more.digest) {
				said = append(said, more)
			}
		}
	}
	more := s.judge(r, said, waived)
	if more.State() != v.State() || more.Outputs() != v.Outputs() || more.Cast() != v.Cast() || !reflect.DeepEqual(votersOf(more), votersOf(v)) {
		s.same(r, "an operator counts more than once", comes(more), comes(v))
	}
}

// nobody: junk, wrong signatures, statements in another's name, of another
// plan, of strangers, and by keys that have expired are as good as none.
func (s *situation) nobody(r *rapid.T, v *attest.Verdict, waived []store.Digest, outside []attest.Opened) {
	var opened []attest.Opened
	for _, f := range s.said {
		opened = append(opened, f.opened)
	}
	for range rapid.IntRange(1, 4).Draw(r, "nobodies") {
		if rapid.Bool().Draw(r, "outside") {
			opened = append(opened, rapid.SampledFrom(outside).Draw(r, "outsider"))
			continue
		}
		place := rapid.IntRange(0, s.scene.shape.size-1).Draw(r, "place")
		opened = append(opened, s.a.fact(place, rapid.SampledFrom([]byte("ozqgwe?xy")).Draw(r, "nobody")).opened)
	}
	s.same(r, "a nobody counts", comes(s.judgeOpened(r, opened, waived)), comes(v))
}

// outsiders are statements of operators whom no policy of up to six names.
func outsiders(t *testing.T, a *arena) []attest.Opened {
	bench := attest.NewBench(shapesOf(6, 0)[0].policy(t, ""), a.c.plan, attesttest.Now)
	var out []attest.Opened
	for _, place := range []int{6, 7} {
		for _, kind := range []byte("aAkbcsnfm") {
			out = append(out, bench.Open(a.fact(place, kind).raw))
		}
	}
	return out
}

// monotone: one more who agrees takes no met verdict away and dissents from
// nothing. To agree is to say what all others say, or what has won.
func (s *situation) monotone(r *rapid.T, v *attest.Verdict, waived []store.Digest) {
	if len(s.empty) == 0 {
		return
	}
	kept := slices.DeleteFunc(slices.Clone(s.said), func(f *fact) bool { return f.operator < 0 || slices.Contains(waived, f.digest) })
	of := func(value byte) bool {
		return !slices.ContainsFunc(kept, func(f *fact) bool { return f.says != 0 && f.says != value })
	}
	for _, value := range []byte("ab") {
		won := v.State() == attest.StateMet && s.a.c.voted[v.Outputs()] == value
		if !won && !of(value) {
			continue
		}
		place := rapid.SampledFrom(s.empty).Draw(r, "one more")
		more := s.judge(r, append(slices.Clone(s.said), s.a.fact(place, value)), waived)
		switch {
		case v.State() == attest.StateMet && (more.State() != attest.StateMet || more.Outputs() != v.Outputs()),
			v.State() == attest.StatePending && more.State() == attest.StateDissent,
			more.Cast() < v.Cast():
			s.same(r, fmt.Sprintf("%s agrees on %c and it is worse", name(place), value), comes(more), comes(v))
		}
	}
}

// waiving: a waiver takes votes away and gives none, and one of a statement
// that is not there does nothing.
func (s *situation) waiving(r *rapid.T, v *attest.Verdict, waived []store.Digest) {
	s.same(r, "a waiver of nothing counts", comes(s.judge(r, s.said, append([]store.Digest{store.DigestOf(nil)}, waived...))), comes(v))
	plain := votersOf(s.judge(r, s.said, nil))
	for operator, value := range votersOf(v) {
		if plain[operator] != value {
			s.same(r, "a waiver gave "+operator+" a vote", comes(v), fmt.Sprint(plain))
		}
	}
}

// A log changes when and in which order statements count, not what they come
// to; and whatever of it is not known yet changes nothing about what is.
func TestChainLaws(t *testing.T) {
	checks(t, 1000)
	a := newArena(t)
	a.scenes = sceneries(t, someShapes(4), asMeant)
	strict := map[*scenery]*attest.Policy{}
	for i := range a.scenes {
		strict[&a.scenes[i]] = a.scenes[i].wantsLog(t)
	}
	rapid.Check(t, func(r *rapid.T) {
		s := a.draw(r)
		// Keys that end, and payloads under two signatures, are judged by the
		// chain when they are opened, which they were without.
		s.said = slices.DeleteFunc(s.said, func(f *fact) bool { return strings.ContainsRune("xyzqg?", rune(f.kind())) })
		var waived []store.Digest
		for _, f := range s.said {
			if rapid.IntRange(0, 7).Draw(r, "waive") == 0 && !slices.Contains(waived, f.digest) {
				waived = append(waived, f.digest)
			}
		}
		inLog := s.said
		if len(inLog) > 0 {
			inLog = rapid.Permutation(s.said).Draw(r, "in the log")
		}
		l := &history{s, strict[s.scene], inLog, a.chain(t, inLog), waived}
		l.changesNothing(r)
		l.firstCounts(r)
		l.isCut(r)
	})
}

// wantsLog is the policy of the scenery that wants votes to be logged.
func (s *scenery) wantsLog(t testing.TB) *attest.Policy {
	t.Helper()
	names := places(s.shape.size)
	extra := fmt.Sprintf("dissent = { on = %q, build_failed = %q }\nrequire = { logged = true }", onOff(s.blocks), onOff(s.failedBlocks))
	p, err := attest.LoadPolicy("policy.toml", []byte(crewText(s.shape.groupsTOML(names, func([]string) {}), extra, names, nil)+attesttest.LogPolicy(0)))
	must(t, err)
	return p
}

// chain logs statements, the plan first, so that each has its place as seq.
func (a *arena) chain(t *testing.T, inLog []*fact) *attest.Chain {
	t.Helper()
	log := attesttest.NewLog(t, attesttest.Origin)
	plan := a.c.plan.Digest()
	log.Append(attest.Event{Chain: string(plan), Type: attest.EventPlan, Object: plan})
	for _, f := range inLog {
		log.Append(attest.Event{Chain: string(plan), Type: attest.EventStatement, Object: f.digest, By: attest.OpenedBy(f.opened)})
	}
	policy, err := attest.LoadPolicy("policy.toml", []byte(attesttest.Policy(attesttest.LogPolicy(0))))
	must(t, err)
	chain, err := attest.OpenChain(policy, plan, log.Events(string(plan)), log.Proof(int64(len(inLog)), log.Checkpoint(attesttest.Cosigned)))
	must(t, err)
	return chain
}

// history is a situation that a log has.
type history struct {
	*situation
	strict *attest.Policy // the policy, wanting votes to be logged
	inLog  []*fact
	chain  *attest.Chain
	waived []store.Digest
}

func (h *history) judgeBy(r *rapid.T, policy *attest.Policy, said []*fact, chain *attest.Chain) *attest.Verdict {
	opened := make([]attest.Opened, len(said))
	for i, f := range said {
		opened[i] = f.opened
	}
	v, err := h.a.c.bench.JudgeLogged(policy, opened, chain, waivers(h.waived))
	if err != nil {
		r.Fatal(err)
	}
	return v
}

// changesNothing: what is logged in time, all of it, comes to the same as
// without a log, in whatever order its files are.
func (h *history) changesNothing(r *rapid.T) {
	plain := comes(h.judge(r, h.said, h.waived))
	for _, policy := range []*attest.Policy{h.scene.policy, h.strict} {
		v := h.judgeBy(r, policy, h.said, h.chain)
		h.same(r, "the log counts", comes(v), plain)
		files := rapid.Permutation(slices.Concat(h.said, h.said)).Draw(r, "files")
		if again := h.judgeBy(r, policy, files, h.chain); !reflect.DeepEqual(account(again), account(v)) {
			h.same(r, "the order of files counts", fmt.Sprintf("%+v", account(again)), fmt.Sprintf("%+v", account(v)))
		}
	}
}

// firstCounts: of the votes of an operator the first in the log is the one.
func (h *history) firstCounts(r *rapid.T) {
	for _, o := range h.judgeBy(r, h.strict, h.said, h.chain).Operators() {
		for _, f := range h.inLog {
			if !o.Counted || f.digest == o.Statement {
				break
			}
			if f.operator >= 0 && name(f.operator) == o.Operator && f.vote != 0 && f.from == "" && !slices.Contains(h.waived, f.digest) {
				h.same(r, "a later vote counts", string(o.Statement), f.id)
			}
		}
	}
}

// isCut: what a log says by a leaf is the same whether the rest of it is known
// or not. Without its leaf a statement has no vote where votes must be logged,
// and contradicts all the same; nothing that comes later cancels dissent.
func (h *history) isCut(r *rapid.T) {
	n := rapid.IntRange(0, len(h.inLog)).Draw(r, "cut")
	then, err := h.chain.Cut(int64(n))
	if err != nil {
		r.Fatal(err)
	}
	before := h.inLog[:n]
	known := h.judgeBy(r, h.strict, before, then)
	if later := h.judgeBy(r, h.strict, before, h.chain); !reflect.DeepEqual(account(later), account(known)) {
		h.same(r, "leaves behind the cut count", fmt.Sprintf("%+v", account(later)), fmt.Sprintf("%+v", account(known)))
	}
	whole := h.judgeBy(r, h.strict, h.said, h.chain)
	part := h.judgeBy(r, h.strict, h.said, then)
	h.same(r, "the cut takes contradictions away", fmt.Sprint(part.Contradictions()), fmt.Sprint(whole.Contradictions()))
	h.same(r, "the cut counts where no log is wanted", comes(h.judgeBy(r, h.scene.policy, h.said, then)), comes(h.judge(r, h.said, h.waived)))
	if !h.scene.blocks {
		return
	}
	if whole.State() == attest.StateDissent && part.State() != attest.StateDissent {
		h.same(r, "the cut cancels dissent", comes(part), comes(whole))
	}
	if known.State() == attest.StateDissent && whole.State() != attest.StateDissent {
		h.same(r, "later leaves cancel dissent", comes(whole), comes(known))
	}
	if part.State() == attest.StateMet && (known.State() != attest.StateMet || known.Outputs() != part.Outputs()) &&
		!slices.ContainsFunc(h.said, func(f *fact) bool { return f.from != "" }) { // whose a reused result was may show later
		h.same(r, "what has no leaf votes", comes(part), comes(known))
	}
}

// What an operator is called, and in which order a group names its members,
// does not count: only where it stands.
func TestNamesAndOrderDoNotCount(t *testing.T) {
	checks(t, 1000)
	a := newArena(t)
	a.scenes = sceneries(t, someShapes(4), asMeant)
	rapid.Check(t, func(r *rapid.T) {
		s := a.draw(r)
		n := s.scene.shape.size
		names := rapid.Permutation(places(n)).Draw(r, "names")
		order := func(of []string) { copy(of, rapid.Permutation(of).Draw(r, "members")) }
		extra := fmt.Sprintf("dissent = { on = %q, build_failed = %q }", onOff(s.scene.blocks), onOff(s.scene.failedBlocks))
		policy := crewPolicy(t, s.scene.shape.groupsTOML(names, order), extra, places(n), nil)
		var opened []attest.Opened
		for _, f := range s.said {
			place, err := strconv.Atoi(f.id[1 : len(f.id)-1])
			must(t, err)
			kind := f.kind()
			if f.from != "" && f.from != name(place-1) || strings.ContainsRune("zqg", rune(kind)) {
				return // what is of another is of a place, which has moved
			}
			opened = append(opened, a.facts[names[place-1]+string(kind)].opened)
		}
		moved, err := a.c.bench.Judge(policy, opened, nil)
		must(t, err)
		v := s.judge(r, s.said, nil)
		if a.c.answer(moved) != a.c.answer(v) || moved.Cast() != v.Cast() || len(moved.Contradictions()) != len(v.Contradictions()) {
			s.same(r, "names or order count", comes(moved), comes(v))
		}
		for operator, value := range votersOf(v) {
			place, err := strconv.Atoi(operator[1:])
			must(t, err)
			if votersOf(moved)[names[place-1]] != value {
				s.same(r, operator+" lost a vote by its name", comes(moved), comes(v))
			}
		}
	})
}

// A key counts from not_before to not_after, both included, and at no other
// time: neither for a value nor against one.
func TestKeyCountsInItsTimeOnly(t *testing.T) {
	checks(t, 300)
	w := attesttest.New(t)
	other := w.Stage("hello", []store.File{{Path: "x", Mode: 0o644}})
	north := w.Statement("north", nil)
	west := map[bool][]byte{true: w.Statement("west", nil), false: w.Statement("west", func(r *attest.Result) { r.Stages[1] = other })}
	policy := func(r *rapid.T, from, to time.Time) *attest.Policy {
		// A key of every operator has to be valid, so there is a second.
		text := strings.Replace(w.PolicyTOML, fmt.Sprintf("{ key = %q }", key64("west")),
			fmt.Sprintf("{ key = %q, not_before = %q, not_after = %q }, { key = %q }", key64("west"), stamp(from), stamp(to), key64("west second")), 1)
		p, err := attest.LoadPolicy("policy.toml", []byte(text))
		if err != nil {
			r.Fatal(err)
		}
		return p
	}
	rapid.Check(t, func(r *rapid.T) {
		second := func(from, to int) time.Duration {
			return time.Duration(rapid.IntRange(from, to).Draw(r, "seconds")) * time.Second
		}
		from := attesttest.Now.Add(second(-3, 3))
		to := from.Add(second(0, 5))
		now := attesttest.Now.Add(second(-5, 10))
		agree := rapid.Bool().Draw(r, "agree")
		v, err := attest.Judge(policy(r, from, to), w.Plan, [][]byte{north, west[agree]}, nil, nil, now)
		if err != nil {
			r.Fatal(err)
		}
		valid := !now.Before(from) && !now.After(to)
		want := attest.StatePending
		if valid {
			want = map[bool]attest.State{true: attest.StateMet, false: attest.StateDissent}[agree]
		}
		if v.State() != want {
			r.Fatalf("key from %s to %s, now %s, agrees %t: got %s, want %s", from, to, now, agree, v.State(), want)
		}
	})
}

func stamp(t time.Time) string { return t.Format("2006-01-02T15:04:05Z") }
