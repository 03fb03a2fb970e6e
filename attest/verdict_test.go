package attest_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/fault"
	"rebuild/store"
)

// What an operator may say, one letter per statement.
const (
	saysA           = 'a' // built, the common value
	saysB           = 'b' // built, another value of stage hello
	saysSubstituted = 's' // value a, but stage base came from someone else
	saysUnequal     = 'n' // not-deterministic at hello
	saysFailed      = 'f' // build-failed at hello
	saysInfra       = 'i' // infra-failed
)

// behaviours are all that an operator does in the model.
var behaviours = []string{"", "a", "b", "aA", "ab", "n", "an", "f", "af", "i", "s", "sb"}

// crowd makes and remembers statements, so that a test can judge many
// combinations without signing each again.
type crowd struct {
	w     *attesttest.World
	other attest.StageResult
	made  map[string][]byte
}

func newCrowd(t *testing.T) *crowd {
	w := attesttest.New(t)
	return &crowd{w, w.Stage("hello", []store.File{{Path: "x", Mode: 0o644, Data: []byte("b")}}), map[string][]byte{}}
}

// says returns the envelope of one statement. An upper-case letter is the
// same statement under another nonce.
func (c *crowd) says(operator string, letter rune) []byte {
	id := operator + string(letter)
	if c.made[id] == nil {
		c.made[id] = c.w.Statement(operator, func(r *attest.Result) {
			r.Nonce = fmt.Sprintf("%064x", letter)
			switch letter | 0x20 {
			case saysB:
				r.Stages[1] = c.other
			case saysSubstituted:
				r.Stages[0].Origin = attest.OriginSubstituted
			case saysUnequal:
				r.Outcome, r.Repeat.Equal = attest.OutcomeNotDeterministic, false
			case saysFailed:
				r.Outcome = attest.OutcomeBuildFailed
			case saysInfra:
				r.Outcome = attest.OutcomeInfraFailed
			}
			if r.Outcome != attest.OutcomeBuilt {
				r.Stages, r.Failure = r.Stages[:1], &attest.Failure{Stage: "hello"}
			}
		})
	}
	return c.made[id]
}

func (c *crowd) digest(operator string, letter rune) store.Digest {
	e, err := attest.ParseEnvelope("e", c.says(operator, letter))
	must(c.w.T, err)
	return e.Digest()
}

// scene is one case of the model.
type scene struct {
	said         map[string]string // operator to letters
	waived       map[string]string // those of said that are waived
	quorum       func(voted map[string]bool) bool
	report       bool
	failedBlocks bool
}

// model is the verdict of formats.md 5 in its shortest form, for two values
// of one stage.
func (s scene) model() attest.State {
	any := func(said map[string]string, letters string) bool {
		for _, all := range said {
			if strings.ContainsAny(strings.ToLower(all), letters) {
				return true
			}
		}
		return false
	}
	kept := map[string]string{}
	for op, all := range s.said {
		kept[op] = strings.Map(func(r rune) rune {
			if strings.ContainsRune(s.waived[op], r) {
				return -1
			}
			return r
		}, all)
	}
	split := any(s.said, "as") && any(s.said, "b")
	votes := map[string]map[string]bool{"a": {}, "b": {}}
	for op, all := range kept {
		lower, gone := strings.ToLower(all), strings.ToLower(s.waived[op])
		against := strings.Contains(gone, "n") || split && strings.ContainsAny(gone, "abs") || s.failedBlocks && strings.Contains(gone, "f")
		self := strings.Contains(lower, "n") || strings.Contains(lower, "b") && strings.ContainsAny(lower, "as")
		for value := range votes {
			if strings.Contains(lower, value) && !self && !against {
				votes[value][op] = true
			}
		}
	}
	dissent := any(kept, "n") || any(kept, "as") && any(kept, "b") || s.failedBlocks && any(kept, "f")
	a, b := s.quorum(votes["a"]), s.quorum(votes["b"])
	switch {
	case dissent && !s.report, a && b:
		return attest.StateDissent
	case a || b:
		return attest.StateMet
	}
	return attest.StatePending
}

// judge runs the real thing on the same case.
func (c *crowd) judge(policy *attest.Policy, s scene, shuffle func([][]byte)) *attest.Verdict {
	var statements [][]byte
	var waivers []attest.Waiver
	for op, all := range s.said {
		for _, letter := range all {
			statements = append(statements, c.says(op, letter))
		}
		for _, letter := range s.waived[op] {
			waivers = append(waivers, attest.Waiver{Statement: c.digest(op, letter), Reason: "seen by a person"})
		}
	}
	shuffle(statements)
	v, err := attest.Judge(policy, c.w.Plan, statements, nil, waivers, attesttest.Now)
	must(c.w.T, err)
	return v
}

func policyOf(t testing.TB, groups, extra string, operators ...string) *attest.Policy {
	t.Helper()
	head, _, _ := strings.Cut(attesttest.Policy(""), "groups.main")
	text := head + extra + "\n" + groups + "\n"
	for _, op := range operators {
		text += fmt.Sprintf("[operators.%s]\nkeys = [{ key = %q }]\n", op, key64(op))
	}
	p, err := attest.LoadPolicy("policy.toml", []byte(text))
	must(t, err)
	return p
}

// Every combination of three operators' behaviours under every k of 3 and
// every choice about dissent, against the model.
func TestVerdictAgainstModel(t *testing.T) {
	t.Parallel()
	c := newCrowd(t)
	operators := []string{"east", "north", "west"}
	for k := 1; k <= 3; k++ {
		for _, choice := range []struct{ report, failed bool }{{false, false}, {true, false}, {false, true}} {
			extra := "dissent = {}"
			if choice.report {
				extra = `dissent = { on = "report" }`
			}
			if choice.failed {
				extra = `dissent = { build_failed = "block" }`
			}
			policy := policyOf(t, fmt.Sprintf(`groups.main = { need = %d, of = ["east", "north", "west"] }`, k), extra, operators...)
			for i := range len(behaviours) * len(behaviours) * len(behaviours) {
				n := len(behaviours)
				s := scene{
					said:   map[string]string{"east": behaviours[i%n], "north": behaviours[i/n%n], "west": behaviours[i/n/n]},
					quorum: func(voted map[string]bool) bool { return len(voted) >= k },
					report: choice.report, failedBlocks: choice.failed,
				}
				if i/n%n > i/n/n || testing.Short() && i%11 != 0 { // the operators are alike, so half the orders do
					continue
				}
				if got, want := c.judge(policy, s, func([][]byte) {}).State(), s.model(); got != want {
					t.Fatalf("k=%d %+v: %v: got %s, want %s", k, choice, s.said, got, want)
				}
			}
		}
	}
}

// Nested groups, waivers, copies and any order, at random, against the model.
func TestVerdictProperties(t *testing.T) {
	c := newCrowd(t)
	operators := []string{"east", "north", "south", "west"}
	count := func(voted map[string]bool, of ...string) int {
		n := 0
		for _, op := range of {
			if voted[op] {
				n++
			}
		}
		return n
	}
	rapid.Check(t, func(r *rapid.T) {
		inner, outer := rapid.IntRange(1, 2).Draw(r, "inner need"), rapid.IntRange(1, 3).Draw(r, "outer need")
		s := scene{said: map[string]string{}, waived: map[string]string{}, report: rapid.Bool().Draw(r, "report"), failedBlocks: rapid.Bool().Draw(r, "failed blocks")}
		s.quorum = func(voted map[string]bool) bool {
			n := count(voted, "north", "west")
			if count(voted, "east", "south") >= inner {
				n++
			}
			return n >= outer
		}
		extra := "dissent = { on = \"block\""
		if s.report {
			extra = "dissent = { on = \"report\""
		}
		if s.failedBlocks {
			extra += ", build_failed = \"block\""
		}
		policy := policyOf(t, fmt.Sprintf("groups.two = { need = %d, of = [\"east\", \"south\"] }\ngroups.main = { need = %d, of = [\"north\", \"two\", \"west\"] }", inner, outer),
			extra+" }", operators...)
		for _, op := range operators {
			s.said[op] = rapid.SampledFrom(behaviours).Draw(r, op)
			for _, letter := range s.said[op] {
				if rapid.IntRange(0, 5).Draw(r, "waive") == 0 {
					s.waived[op] += string(letter)
				}
			}
		}
		plain := c.judge(policy, s, func([][]byte) {})
		if got, want := plain.State(), s.model(); got != want {
			r.Fatalf("%v waived %v: got %s, want %s", s.said, s.waived, got, want)
		}
		shuffled := c.judge(policy, s, func(all [][]byte) { copy(all, rapid.Permutation(all).Draw(r, "order")) })
		if !reflect.DeepEqual(account(plain), account(shuffled)) {
			r.Fatalf("the order counts:\n%+v\n%+v", account(plain), account(shuffled))
		}
		// One more agreeing operator never takes a met verdict away.
		for _, op := range operators {
			if plain.State() == attest.StateMet && s.said[op] == "" && !strings.Contains(fmt.Sprint(s.said), "b") {
				s.said[op] = "a"
				if got := c.judge(policy, s, func([][]byte) {}); got.State() != attest.StateMet {
					r.Fatalf("%v: one more agrees and the verdict is %s", s.said, got.State())
				}
			}
		}
	})
}

func account(v *attest.Verdict) []any {
	return []any{v.State(), v.Outputs(), v.Operators(), v.Statements(), v.Judged(), v.Contradictions(), v.Shortfalls(), v.Envelopes()}
}

func TestVerdictIgnoresCopies(t *testing.T) {
	c := newCrowd(t)
	policy := c.w.LoadPolicy()
	once, err := attest.Judge(policy, c.w.Plan, [][]byte{c.says("east", 'a'), c.says("west", 'b'), []byte("junk")}, nil, nil, attesttest.Now)
	must(t, err)
	many, err := attest.Judge(policy, c.w.Plan, [][]byte{[]byte("junk"), c.says("west", 'b'), c.says("east", 'a'), c.says("west", 'b'), []byte("junk")}, nil, nil, attesttest.Now)
	must(t, err)
	if !reflect.DeepEqual(account(once), account(many)) {
		t.Errorf("%+v\n%+v", account(once), account(many))
	}
}

// A copy of a statement under a bad or foreign signature does not drown the
// good one, in whatever order they come.
func TestVerdictPicksTheGoodEnvelope(t *testing.T) {
	w := attesttest.New(t)
	good := w.Statement("east", nil)
	payload := mustPayload(w, "east")
	bad := edit(good, func(o object) { sub(o, "signatures", 0)["sig"] = strangerSig(w, payload) })
	foreign := w.Sign(payload, "stranger")
	for _, order := range [][][]byte{{good, bad, foreign}, {bad, foreign, good}, {foreign, good, bad}} {
		v, err := attest.Judge(w.LoadPolicy(), w.Plan, append(order, w.Statement("north", nil)), nil, nil, attesttest.Now)
		must(t, err)
		if v.State() != attest.StateMet || len(v.Statements()) != 2 {
			t.Errorf("%s %+v", v.State(), v.Statements())
		}
	}
}

func TestVerdictNamesTheFirstDifference(t *testing.T) {
	w := attesttest.New(t)
	base := w.Stage("base", []store.File{{Path: "bin/sh", Mode: 0o755, Data: []byte("altered")}})
	hello := w.Stage("hello", []store.File{{Path: "x", Mode: 0o644}})
	altered := w.Statement("west", func(r *attest.Result) { r.Stages[0], r.Stages[1] = base, hello })
	v, err := attest.Judge(w.LoadPolicy(), w.Plan, [][]byte{w.Statement("east", nil), w.Statement("north", nil), altered}, nil, nil, attesttest.Now)
	must(t, err)
	found := v.Contradictions()
	// hello differs too, but from another base: that is no contradiction.
	if len(found) != 1 || found[0].Stage != "base" || found[0].Kind != attest.KindOutputs {
		t.Fatalf("%+v", found)
	}
	if got := found[0].Values; !slices.Equal(got[0].Operators, []string{"east", "north"}) && !slices.Equal(got[0].Operators, []string{"north", "east"}) ||
		got[1].Tree != base.Tree || got[1].Manifest != base.Manifest || got[1].Operators[0] != "west" {
		t.Errorf("%+v", got)
	}
	err = v.Err()
	code(t, err, fault.Dissent)
	for _, want := range []string{"stage base", "west", string(base.Tree), string(base.Manifest), string(w.Stages[0].Tree)} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	if _, err := v.Met(); fault.CodeOf(err) != fault.Dissent {
		t.Errorf("a dissent was handed out as met: %v", err)
	}
}

func TestPendingNamesWhatIsMissing(t *testing.T) {
	w := attesttest.New(t)
	nested := strings.Replace(w.PolicyTOML, `groups.main = { need = 2, of = ["east", "north", "west"] }`,
		"groups.two = { need = 2, of = [\"east\", \"west\"] }\ngroups.main = { need = 2, of = [\"north\", \"two\"] }", 1)
	policy, err := attest.LoadPolicy("policy.toml", []byte(nested))
	must(t, err)
	v, err := attest.Judge(policy, w.Plan, [][]byte{w.Statement("east", nil), w.Statement("north", func(r *attest.Result) { r.Hermetic = false })}, nil, nil, attesttest.Now)
	must(t, err)
	want := []attest.Shortfall{{Group: "main", Got: 0, Need: 2, Missing: []string{"north", "two"}}, {Group: "two", Got: 1, Need: 2, Missing: []string{"west"}}}
	if !reflect.DeepEqual(v.Shortfalls(), want) {
		t.Errorf("%+v", v.Shortfalls())
	}
	err = v.Err()
	code(t, err, fault.QuorumPending)
	for _, part := range []string{"group main: got 0, need 2, missing north, two", "group two: got 1, need 2, missing west", "north: not hermetic", "west: no statement"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("no %q in %v", part, err)
		}
	}
	ops := v.Operators()
	if len(ops) != 3 || !ops[0].Counted || ops[1].Counted || ops[1].Why != "not hermetic" {
		t.Errorf("%+v", ops)
	}
}

func TestZeroVerdictIsNotMet(t *testing.T) {
	var v attest.Verdict
	code(t, v.Err(), fault.Internal)
	if _, err := v.Met(); err == nil {
		t.Error("a verdict that was never judged is met")
	}
}

func TestJudgeRefusesBadWaivers(t *testing.T) {
	w := attesttest.New(t)
	d := store.DigestOf(nil)
	for name, waivers := range map[string][]attest.Waiver{
		"no digest": {{Statement: "x", Reason: "y"}}, "no reason": {{Statement: d}}, "twice": {{Statement: d, Reason: "x"}, {Statement: d, Reason: "y"}},
	} {
		if _, err := attest.Judge(w.LoadPolicy(), w.Plan, nil, nil, waivers, attesttest.Now); fault.CodeOf(err).Exit() != 31 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Two who claim to have reused one result that is missing cast no vote, and a
// waiver of one claim gives the other none.
func TestWaivedClaimStands(t *testing.T) {
	w := attesttest.New(t)
	claims := func(name string) []byte {
		return w.Statement(name, func(r *attest.Result) {
			r.Stages[0].Origin, r.Stages[0].From = attest.OriginReused, store.DigestOf([]byte("missing"))
		})
	}
	east := claims("east")
	e, err := attest.ParseEnvelope("statement", east)
	must(t, err)
	statements := [][]byte{east, claims("north"), w.Statement("west", nil)}
	for _, waivers := range [][]attest.Waiver{nil, {{Statement: e.Digest(), Reason: "a copy"}}} {
		v, err := attest.Judge(w.LoadPolicy(), w.Plan, statements, nil, waivers, attesttest.Now)
		must(t, err)
		if v.State() != attest.StatePending || !strings.Contains(v.Operators()[1].Why, "claimed by east and north") {
			t.Errorf("%v: %s %+v", waivers, v.State(), v.Operators())
		}
	}
	v, err := attest.Judge(w.LoadPolicy(), w.Plan, statements[1:], nil, nil, attesttest.Now)
	must(t, err)
	if v.State() != attest.StateMet {
		t.Errorf("alone with its claim: %s", v.State())
	}
}

// An empty failure would be left out of what is signed.
func TestEmptyFailureIsNotSigned(t *testing.T) {
	w := attesttest.New(t)
	r := w.Result("north", func(r *attest.Result) {
		r.Outcome, r.Stages, r.Repeat, r.Lineage, r.Failure = attest.OutcomeBuildFailed, nil, nil, nil, &attest.Failure{}
	})
	_, err := attest.NewResultStatement(w.Plan, r)
	code(t, err, fault.Semantic)
	r.Failure.ExitStatus = 1
	payload, err := attest.NewResultStatement(w.Plan, r)
	must(t, err)
	v, err := attest.Judge(w.LoadPolicy(), w.Plan, [][]byte{w.Sign(payload, "north")}, nil, nil, attesttest.Now)
	must(t, err)
	if s := v.Statements()[0]; s.Status != attest.StatusJudged {
		t.Errorf("%+v", s)
	}
}
