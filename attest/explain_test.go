package attest_test

import (
	"encoding/base64"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/fault"
)

// groupPolicy writes a policy with these operators in these groups. labels give
// each operator a site.
func groupPolicy(groups string, operators, labels []string, extra string) string {
	text := fmt.Sprintf(`schema_version = "rebuild.policy@1.0.0"
name = "demo"
version = 1
quorum = "main"
root = { need = 1, keys = ["%s"] }
signers = { need = 1, keys = [{ name = "r1", key = "%s" }] }
%s
%s
`, key64("root"), key64("r1"), extra, groups)
	for i, name := range operators {
		text += fmt.Sprintf("[operators.%s]\nkeys = [{ key = \"%s\" }]\n", name, key64(name))
		if labels[i] != "" {
			text += fmt.Sprintf("labels = { site = %q }\n", labels[i])
		}
	}
	return text
}

// drawPolicy makes any policy of up to eight operators: nested groups, labels,
// diversity over labels and over what operators claim.
func drawPolicy(t *rapid.T) *attest.Policy {
	n := rapid.IntRange(1, 8).Draw(t, "operators")
	var names, labels []string
	for i := range n {
		names = append(names, fmt.Sprintf("op%c", 'a'+i))
		labels = append(labels, rapid.SampledFrom([]string{"", "x", "y", "z"}).Draw(t, "label"))
	}
	labels[0] = "x"
	var groups []string
	var nest func(members []string, depth int) string
	nest = func(members []string, depth int) string {
		var of []string
		for len(members) > 0 {
			take := rapid.IntRange(1, len(members)).Draw(t, "take")
			if take > 1 && depth < 3 && rapid.Bool().Draw(t, "group") {
				of = append(of, nest(members[:take], depth+1))
			} else {
				take, of = 1, append(of, members[0])
			}
			members = members[take:]
		}
		name := fmt.Sprintf("g%d", len(groups))
		if depth == 0 {
			name = "main"
		}
		groups = append(groups, "")
		groups[len(groups)-1] = fmt.Sprintf("groups.%s = { need = %d, of = [%q] }", name, rapid.IntRange(1, len(of)).Draw(t, "need"), strings.Join(of, `", "`))
		return name
	}
	nest(names, 0)
	diversity := ""
	if rapid.Bool().Draw(t, "site") {
		diversity += fmt.Sprintf("diversity.site = %d\n", rapid.IntRange(1, n).Draw(t, "sites"))
	}
	if rapid.Bool().Draw(t, "kernel") {
		diversity += fmt.Sprintf("diversity.kernel = %d\n", rapid.IntRange(1, n).Draw(t, "kernels"))
	}
	text := strings.ReplaceAll(groupPolicy(strings.Join(groups, "\n"), names, labels, diversity), `\"`, `"`)
	p, err := attest.LoadPolicy("policy.toml", []byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return p
}

// What is explained must be what is judged: for every set of operators, it is
// enough for the evaluator exactly if it holds one of the sets that were
// listed, and none of those can spare a member.
func TestExplanationAgreesWithTheEvaluator(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawPolicy(t)
		names := p.Operators()
		sets := p.AllLeastSets(names)
		if listed := p.LeastSets(names); listed.Partial || len(listed.Sets)+listed.More != len(sets) && p.Enough(names) {
			t.Fatalf("%+v of %d", listed, len(sets))
		}
		for all := range 1 << len(names) {
			var members []string
			for m := uint(all); m != 0; m &= m - 1 {
				members = append(members, names[bits.TrailingZeros(m)])
			}
			holds := slices.ContainsFunc(sets, func(set []string) bool {
				return !slices.ContainsFunc(set, func(s string) bool { return !slices.Contains(members, s) })
			})
			if got := p.Enough(members); got != holds {
				t.Fatalf("%v: enough %v, listed %v, sets %v", members, got, holds, sets)
			}
		}
		for _, set := range sets {
			for i := range set {
				if p.Enough(slices.Delete(slices.Clone(set), i, i+1)) {
					t.Fatalf("%v can spare %s", set, set[i])
				}
			}
		}
		checkNeeded(t, p, sets)
	})
}

func checkNeeded(t *rapid.T, p *attest.Policy, sets [][]string) {
	e, err := attest.Explain(p, nil, attesttest.Now)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range p.Operators() {
		everywhere := !slices.ContainsFunc(sets, func(set []string) bool { return !slices.Contains(set, name) })
		if slices.Contains(e.Needed, name) != everywhere {
			t.Fatalf("%s: needed %v, sets %v", name, e.Needed, sets)
		}
	}
	for _, line := range e.Lines() {
		if line != strings.TrimRight(line, " ") || strings.ContainsAny(line, "\n\x00") {
			t.Fatalf("%q", line)
		}
	}
}

// With many operators not every set is tried, but those that are listed hold.
func TestExplanationOfManyOperators(t *testing.T) {
	var names, labels []string
	for i := range 40 {
		names = append(names, fmt.Sprintf("op%02d", i))
		labels = append(labels, fmt.Sprint("s", i%5))
	}
	groups := `groups.main = { need = 20, of = ["` + strings.Join(names, `", "`) + `"] }`
	p, err := attest.LoadPolicy("policy.toml", []byte(groupPolicy(groups, names, labels, "diversity.site = 5")))
	must(t, err)
	sets := p.LeastSets(names)
	if !sets.Partial || len(sets.Sets) == 0 || len(sets.Sets) > attest.MaxSets || len(sets.Sets[0]) != 20 {
		t.Fatalf("%+v", sets)
	}
	for _, set := range sets.Sets {
		if !p.Enough(set) || p.Enough(set[1:]) {
			t.Errorf("%v", set)
		}
	}
}

func TestExplainInWords(t *testing.T) {
	groups := `groups.eu = { need = 1, of = ["north", "south"] }
groups.main = { need = 2, of = ["eu", "east", "west"] }`
	extra := `expires = "2026-06-11T00:00:00Z"
diversity = { kernel = 2, site = 2 }
require = { deterministic = true, max_seed_bytes = 288 }`
	text := groupPolicy(groups, []string{"north", "south", "east", "west"}, []string{"x", "x", "y", "x"}, extra)
	text = strings.Replace(text, `"`+key64("west")+`" }`, `"`+key64("west")+`", not_after = "2026-06-02T00:00:00Z" }`, 1)
	p, err := attest.LoadPolicy("policy.toml", []byte(text))
	must(t, err)
	e, err := attest.Explain(p, nil, attesttest.Now)
	must(t, err)
	all := strings.Join(e.Lines(), "\n")
	for _, want := range []string{
		"policy demo, version 1, " + string(p.Digest()) + ", expires 2026-06-11T00:00:00Z",
		"\n  any 2 of: eu (any 1 of: north, south), east, west\n",
		"\n    main: any 2 of\n      eu: any 1 of: north, south\n      east\n      west\n",
		"\n  with at least 2 different values of kernel among them, as each claims\n",
		"\n  with at least 2 different values of site among them, as this policy labels them\n",
		"\nthe smallest sets of operators that can be enough, 2 at the least\n  east + north\n  east + south\n  east + west\nnothing is met without east\n",
		"\n  built afresh at least twice, equal each time\n  seeds of at most 288 bytes\n",
		"\n  signers: 1 of 1: r1, and every owner it names\n",
		"\n  root keys: 1 of 1: " + attesttest.Key("root").Public().Fingerprint() + ", and as many as the new one asks for\n",
		"\n  the policy expires 2026-06-11T00:00:00Z\n  key of operator west " + attesttest.Key("west").Public().Fingerprint() + ": ends 2026-06-02T00:00:00Z",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
}

// An operator whose keys have all ended, and a policy that nothing can meet, are
// said before anybody waits for them.
func TestExplainWarns(t *testing.T) {
	text := groupPolicy(`groups.main = { need = 1, of = ["north", "south"] }`, []string{"north", "south"}, []string{"x", "x"}, "diversity.site = 2")
	text = strings.Replace(text, `"`+key64("north")+`" }`, `"`+key64("north")+`", revoked_from = 9 }`, 1)
	p, err := attest.LoadPolicy("policy.toml", []byte(text))
	must(t, err)
	e, err := attest.Explain(p, nil, attesttest.Now)
	must(t, err)
	all := strings.Join(e.Lines(), "\n")
	for _, want := range []string{"no set of its operators is enough", "operator north has no key that counts", "revoked: it counts for nothing but what a log holds before leaf 9", "nothing can meet this policy"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
}

func TestExplainSaysWhatIsMissing(t *testing.T) {
	w := attesttest.New(t)
	policy := w.LoadPolicy()
	explain := func(statements ...[]byte) *attest.Progress {
		t.Helper()
		v, err := attest.Judge(policy, w.Plan, statements, nil, nil, attesttest.Now)
		must(t, err)
		e, err := attest.Explain(policy, v, attesttest.Now)
		must(t, err)
		return e.Now
	}
	sets := func(g *attest.Progress) string { return fmt.Sprint(g.Further.Sets) }
	if g := explain(); g.State != attest.StatePending || sets(g) != "[[east north] [east west] [north west]]" {
		t.Errorf("%+v", g)
	}
	if g := explain(w.Statement("north", nil)); sets(g) != "[[east] [west]]" || len(g.Shortfalls) != 1 {
		t.Errorf("%+v", g)
	}
	// A vote that does not count may be followed by one that does.
	unsealed := func(r *attest.Result) { r.Hermetic = false }
	if g := explain(w.Statement("north", nil), w.Statement("east", unsealed)); sets(g) != "[[east] [west]]" {
		t.Errorf("%+v", g)
	}
	if g := explain(w.Statement("north", nil), w.Statement("east", nil)); g.State != attest.StateMet || len(g.Further.Sets) != 0 || g.Why != "" {
		t.Errorf("%+v", g)
	}
	other := func(r *attest.Result) { r.Stages[1].Tree = r.Stages[0].Tree }
	if g := explain(w.Statement("north", nil), w.Statement("east", other)); g.State != attest.StateDissent || len(g.Further.Sets) != 0 || g.Why == "" {
		t.Errorf("%+v", g)
	}
}

// Where dissent is only reported, who voted otherwise or contradicts itself can
// not complete the quorum, and is not named as if it could.
func TestExplainNamesNobodyWhoCanNotVote(t *testing.T) {
	w := attesttest.New(t)
	w.PolicyTOML = strings.Replace(w.PolicyTOML, "need = 2, of", "need = 3, of", 1)
	w.PolicyTOML = strings.Replace(w.PolicyTOML, "groups.main", "dissent.on = \"report\"\ngroups.main", 1)
	policy := w.LoadPolicy()
	other := func(r *attest.Result) { r.Stages[1].Tree = r.Stages[0].Tree }
	for name, statements := range map[string][][]byte{
		"voted otherwise":    {w.Statement("north", nil), w.Statement("west", nil), w.Statement("east", other)},
		"contradicts itself": {w.Statement("north", nil), w.Statement("east", nil), w.Statement("east", other)},
	} {
		v, err := attest.Judge(policy, w.Plan, statements, nil, nil, attesttest.Now)
		must(t, err)
		e, err := attest.Explain(policy, v, attesttest.Now)
		must(t, err)
		if g := e.Now; g.State != attest.StatePending || len(g.Further.Sets) != 0 || g.Why == "" {
			t.Errorf("%s: %+v", name, g)
		}
	}
	_, err := attest.Explain(attesttest.New(t).LoadPolicy(), mustJudge(t, w, policy), attesttest.Now)
	code(t, err, fault.EvidenceMismatch)
}

func mustJudge(t *testing.T, w *attesttest.World, p *attest.Policy) *attest.Verdict {
	t.Helper()
	v, err := attest.Judge(p, w.Plan, nil, nil, nil, attesttest.Now)
	must(t, err)
	return v
}

func TestKeyAccounts(t *testing.T) {
	text := strings.Replace(attesttest.Policy(""), `"`+key64("east")+`" }`,
		`"`+key64("east")+`", not_after = "2026-05-01T00:00:00Z" }, { key = "`+key64("east2")+`", not_before = "2027-01-01T00:00:00Z" }, { key = "`+key64("east3")+`", not_after = "2026-06-20T00:00:00Z" }`, 1)
	p, err := attest.LoadPolicy("policy.toml", []byte(text))
	must(t, err)
	got := map[string]attest.KeyAccount{}
	for _, k := range p.Keys(attesttest.Now) {
		got[k.Fingerprint] = k
	}
	if len(got) != 9 {
		t.Errorf("%d keys", len(got))
	}
	for name, want := range map[string]struct {
		role, owner, why string
		counts           bool
	}{
		"root": {attest.RoleRoot, "", "", true}, "r2": {attest.RoleSigner, "r2", "", true}, "index": {attest.RoleIndex, "", "", true},
		"east": {attest.RoleOperator, "east", "ended 2026-05-01T00:00:00Z", false}, "east2": {attest.RoleOperator, "east", "not valid before 2027-01-01T00:00:00Z", false},
		"east3": {attest.RoleOperator, "east", "ends 2026-06-20T00:00:00Z", true},
	} {
		k := got[attesttest.Key(name).Public().Fingerprint()]
		if k.Role != want.role || k.Name != want.owner || k.Why != want.why || k.Counts != want.counts || k.Key != key64(name) {
			t.Errorf("%s: %+v", name, k)
		}
	}
	later := got[attesttest.Key("east2").Public().Fingerprint()]
	if when, err := attest.ParseTime(later.NotBefore); err != nil || !when.After(attesttest.Now.Add(24*time.Hour)) {
		t.Errorf("%+v", later)
	}
}

// What an explanation says would complete the quorum does so when it comes, and
// any part of it does not: through statements and Judge, not through the search.
func TestExplanationComesTrue(t *testing.T) {
	w := attesttest.New(t)
	names := []string{"north", "south", "east", "west", "moon"}
	w.PolicyTOML = groupPolicy(`groups.eu = { need = 2, of = ["north", "south", "moon"] }
groups.main = { need = 2, of = ["eu", "east", "west"] }`, names, []string{"x", "x", "y", "x", "y"}, "diversity = { site = 2, kernel = 2, cpu_vendor = 2 }")
	policy := w.LoadPolicy()
	statement := map[string][]byte{}
	for _, name := range names {
		statement[name] = w.Statement(name, func(r *attest.Result) {
			if name == "south" {
				r.Environment.Kernel = "6.north" // brings nothing new
			}
		})
	}
	judge := func(voters []string) *attest.Verdict {
		var statements [][]byte
		for _, name := range voters {
			statements = append(statements, statement[name])
		}
		v, err := attest.Judge(policy, w.Plan, statements, nil, nil, attesttest.Now)
		must(t, err)
		return v
	}
	tried := 0
	for set := range 1 << len(names) {
		var voters []string
		for i, name := range names {
			if set>>i&1 == 1 {
				voters = append(voters, name)
			}
		}
		v := judge(voters)
		e, err := attest.Explain(policy, v, attesttest.Now)
		must(t, err)
		if (len(e.Now.Further.Sets) == 0) != (v.State() == attest.StateMet) {
			t.Errorf("%v: %s, %+v", voters, v.State(), e.Now)
		}
		for _, more := range e.Now.Further.Sets {
			tried++
			if got := judge(slices.Concat(voters, more)).State(); got != attest.StateMet {
				t.Errorf("%v and then %v: %s", voters, more, got)
			}
			for i := range more {
				less := slices.Delete(slices.Clone(more), i, i+1)
				if judge(slices.Concat(voters, less)).State() == attest.StateMet {
					t.Errorf("%v and then %v is enough without %s", voters, more, more[i])
				}
			}
		}
	}
	if tried < 30 {
		t.Errorf("only %d sets tried", tried)
	}
}

// noteKeyText is the key of a name as a signed note has it.
func noteKeyText(name string) string {
	k := attesttest.Key(name).Public()
	return name + "+00000000+" + base64.StdEncoding.EncodeToString(append([]byte{1}, k[:]...))
}

// The log is a part of what a policy asks for, its key and those of its witnesses
// are named like all others, and a vote that is not in it is missing.
func TestExplainLog(t *testing.T) {
	w := loggedWorld(t)
	p := w.LoadPolicy()
	statements := [][]byte{w.Statement("east", nil), w.Statement("north", nil)}
	w.LogStatement(statements[0], "east")
	explain := func() *attest.Explanation {
		t.Helper()
		e, err := attest.Explain(p, judgeLogged(t, w, statements, attesttest.Now), attesttest.Now)
		must(t, err)
		return e
	}
	e := explain()
	all := strings.Join(e.Lines(), "\n")
	fp := func(name string) string { return attesttest.Key(name).Public().Fingerprint() }
	for _, want := range []string{
		"from log " + attesttest.Origin + " (key " + fp("log") + "), whose head is at most 24h old", "1 of 2 witnesses have signed that head",
		"entered into the log", "north: does not count: the policy wants votes to be logged",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	if got := fmt.Sprint(e.Now.State, e.Now.Further.Sets); got != "pending[[north] [west]]" {
		t.Error(got)
	}
	w.LogStatement(statements[1], "north")
	if e := explain(); e.Now.State != attest.StateMet {
		t.Errorf("%+v", e.Now)
	}
	var named []string
	for _, k := range p.Keys(attesttest.Now) {
		if k.Role == attest.RoleLog || k.Role == attest.RoleWitness {
			named = append(named, k.String())
		}
	}
	if want := []string{"log " + attesttest.Origin + " " + fp("log"), "witness w1.example " + fp("w1"), "witness w2.example " + fp("w2")}; !slices.Equal(named, want) {
		t.Errorf("%q", named)
	}
}

// Nor is who has no key left, or whom a waiver speaks against.
func TestExplainNamesNobodyWithoutAVoice(t *testing.T) {
	w := attesttest.New(t)
	further := func(policyTOML string, waive bool, statements ...[]byte) string {
		t.Helper()
		policy, err := attest.LoadPolicy("policy.toml", []byte(policyTOML))
		must(t, err)
		var waivers []attest.Waiver
		if waive { // the last one
			e, err := attest.ParseEnvelope("statement", statements[len(statements)-1])
			must(t, err)
			waivers = []attest.Waiver{{Statement: e.Digest(), Reason: "a broken disk"}}
		}
		v, err := attest.Judge(policy, w.Plan, statements, nil, waivers, attesttest.Now)
		must(t, err)
		e, err := attest.Explain(policy, v, attesttest.Now)
		must(t, err)
		return fmt.Sprint(e.Now.State, e.Now.Further.Sets)
	}
	east := `"` + key64("east") + `"`
	for _, window := range []string{"revoked_from = 3", `not_before = "2027-01-01T00:00:00Z"`} {
		if got := further(strings.Replace(w.PolicyTOML, east, east+", "+window, 1), false, w.Statement("north", nil)); got != "pending[[west]]" {
			t.Errorf("%s: %s", window, got)
		}
	}
	other := w.Statement("east", func(r *attest.Result) { r.Stages[1].Tree = r.Stages[0].Tree })
	if got := further(w.PolicyTOML, true, w.Statement("north", nil), other); got != "pending[[west]]" {
		t.Errorf("waived: %s", got)
	}
}
