package attest_test

import (
	"flag"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/store"
)

// sweep asks for all of what runs in part otherwise: minutes on two cores.
var sweep = flag.Bool("sweep", false, "judge every policy shape and schedule, not a part of them")

// A shape is a quorum without names: a group and how many of its members it
// needs, or with need 0 the place of one operator.
type shape struct {
	need  int
	of    []*shape
	place int // of an operator, from 0 in the order of the text
	size  int // operators below
}

// holds is the rule of nested groups in its shortest form. Bit i of votes is
// the operator at place i.
func (s *shape) holds(votes uint) bool {
	if s.need == 0 {
		return votes>>s.place&1 == 1
	}
	n := 0
	for _, m := range s.of {
		if m.holds(votes) {
			n++
		}
	}
	return n >= s.need
}

// String writes the shape so that equal shapes, and no others, are equal.
func (s *shape) String() string {
	if s.need == 0 {
		return "."
	}
	out := fmt.Sprint("(", s.need)
	for _, m := range s.of {
		out += m.String()
	}
	return out + ")"
}

// census enumerates shapes: every rooted tree of groups, unlabelled, with
// every need from 1 to the number of members in every group.
type census struct {
	chain int // groups of one member that may stand in a row; with 0 there are none
	memo  map[int][]*shape
}

func (c *census) groups(n int) []*shape {
	if known, ok := c.memo[n]; ok {
		return known
	}
	var all []*shape
	c.choose(nil, n, n-1, 0, func(of []*shape) {
		for need := 1; need <= len(of); need++ {
			all = append(all, &shape{need: need, of: slices.Clone(of)})
		}
	})
	inner := slices.Clone(all)
	if n == 1 {
		inner = []*shape{{}}
	}
	for range c.chain {
		for i, s := range inner {
			inner[i] = &shape{need: 1, of: []*shape{s}}
		}
		all = append(all, inner...)
	}
	c.memo[n] = all
	return all
}

// choose calls f with every multiset of members that have n operators
// together, those of at most largest operators each and from the skipped on.
func (c *census) choose(of []*shape, n, largest, skip int, f func([]*shape)) {
	if n == 0 {
		f(of)
		return
	}
	for size := min(n, largest); size > 0; size-- {
		if size < largest {
			skip = 0
		}
		members := c.groups(size)
		if size == 1 {
			members = append([]*shape{{}}, members...)
		}
		for i := skip; i < len(members); i++ {
			c.choose(append(of, members[i]), n-size, size, i, f)
		}
	}
}

// shapesOf returns all shapes of n operators, with their places numbered.
func shapesOf(n, chain int) []*shape {
	c := census{chain, map[int][]*shape{}}
	var out []*shape
	for _, s := range c.groups(n) {
		next := 0
		out = append(out, s.numbered(&next))
	}
	return out
}

func (s *shape) numbered(next *int) *shape {
	first := *next
	c := &shape{need: s.need, place: first}
	if s.need == 0 {
		*next++
	}
	for _, m := range s.of {
		c.of = append(c.of, m.numbered(next))
	}
	c.size = *next - first
	return c
}

// colourings returns every way to give each operator one of n colours, one of
// those that differ by nothing but which of two equal members is which. That
// such cases have one verdict is [TestNamesAndOrderDoNotCount].
func (s *shape) colourings(n int) [][]byte {
	if s.need == 0 {
		out := make([][]byte, n)
		for i := range out {
			out[i] = []byte{byte(i)}
		}
		return out
	}
	all := [][]byte{nil}
	for i := 0; i < len(s.of); {
		equal := 1
		for i+equal < len(s.of) && s.of[i+equal].String() == s.of[i].String() {
			equal++
		}
		runs := multisets(s.of[i].colourings(n), equal)
		var longer [][]byte
		for _, head := range all {
			for _, tail := range runs {
				longer = append(longer, slices.Concat(head, tail))
			}
		}
		all, i = longer, i+equal
	}
	return all
}

func multisets(of [][]byte, k int) [][]byte {
	if k == 0 {
		return [][]byte{nil}
	}
	var out [][]byte
	for i := range of {
		for _, rest := range multisets(of[i:], k-1) {
			out = append(out, slices.Concat(of[i], rest))
		}
	}
	return out
}

// name is that of the operator at a place.
func name(place int) string { return fmt.Sprint("o", place+1) }

// groupsTOML writes the groups of the shape, of which the outermost is main.
func (s *shape) groupsTOML(names []string, order func([]string)) string {
	var b strings.Builder
	groups := 0
	var write func(group string, s *shape)
	write = func(group string, s *shape) {
		var of []string
		for _, m := range s.of {
			if m.need == 0 {
				of = append(of, fmt.Sprintf("%q", names[m.place]))
				continue
			}
			groups++
			inner := fmt.Sprint("g", groups)
			of = append(of, fmt.Sprintf("%q", inner))
			write(inner, m)
		}
		order(of)
		fmt.Fprintf(&b, "groups.%s = { need = %d, of = [%s] }\n", group, s.need, strings.Join(of, ", "))
	}
	write("main", s)
	return b.String()
}

// places are the names of the operators of a shape.
func places(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = name(i)
	}
	return out
}

// policy loads the shape as policy.toml. extra are further keys of it.
func (s *shape) policy(t testing.TB, extra string) *attest.Policy {
	t.Helper()
	names := places(s.size)
	return crewPolicy(t, s.groupsTOML(names, func([]string) {}), extra, names, nil)
}

// crewPolicy loads a policy of operators who have two keys that count and
// one that has expired. labels, if any, are those of each operator.
func crewPolicy(t testing.TB, groups, extra string, names []string, labels []string) *attest.Policy {
	t.Helper()
	p, err := attest.LoadPolicy("policy.toml", []byte(crewText(groups, extra, names, labels)))
	must(t, err)
	return p
}

func crewText(groups, extra string, names []string, labels []string) string {
	head, _, _ := strings.Cut(attesttest.Policy(""), "groups.main")
	var b strings.Builder
	b.WriteString(head + extra + "\n" + groups)
	for i, n := range names {
		k := crewKeys(n)
		fmt.Fprintf(&b, "[operators.%s]\nkeys = [{ key = %q }, { key = %q }, { key = %q, not_after = \"2026-01-01T00:00:00Z\" }]\n", n, k[0], k[1], k[2])
		if labels != nil {
			b.WriteString(labels[i])
		}
	}
	return b.String()
}

var crewKeyTexts sync.Map

func crewKeys(operator string) [3]string {
	if known, ok := crewKeyTexts.Load(operator); ok {
		return known.([3]string)
	}
	k := [3]string{key64(operator), key64(operator + " second"), key64(operator + " old")}
	crewKeyTexts.Store(operator, k)
	return k
}

const (
	blocks  = `dissent = { on = "block" }`
	reports = `dissent = { on = "report" }`
)

// A crew is eight operators whose statements are made and opened once.
type crew struct {
	w      *attesttest.World
	plan   *attest.Plan
	bench  *attest.Bench
	values map[byte]attest.StageResult // of stage hello, by letter
	voted  map[store.Digest]byte       // the letter of a voted value
	raw    map[string][]byte
	opened map[string]attest.Opened
}

func newCrew(t testing.TB) *crew {
	w := attesttest.New(t)
	c := &crew{w: w, plan: w.Plan, voted: map[store.Digest]byte{}, raw: map[string][]byte{}, opened: map[string]attest.Opened{}}
	c.values = map[byte]attest.StageResult{'a': w.Stages[1]}
	for _, letter := range []byte("bc") {
		c.values[letter] = w.Stage("hello", []store.File{{Path: "x", Mode: 0o644, Data: []byte{letter}}})
	}
	for letter, out := range c.values {
		c.voted[attest.Outputs([]attest.StageResult{w.Stages[0], out})] = letter
	}
	c.bench = attest.NewBench(shapesOf(8, 0)[0].policy(t, ""), w.Plan, attesttest.Now)
	return c
}

// add makes and opens a statement under an id.
func (c *crew) add(id, key string, r attest.Result) {
	payload, err := attest.NewResultStatement(c.plan, r)
	must(c.w.T, err)
	c.raw[id] = c.w.Sign(payload, key)
	c.opened[id] = c.bench.Open(c.raw[id])
}

// built is an honest result for the value of a letter.
func (c *crew) built(operator string, letter byte, nonce int) attest.Result {
	return c.w.Result(operator, func(r *attest.Result) {
		r.Stages[1] = c.values[letter]
		r.Nonce = fmt.Sprintf("%064x", nonce)
	})
}

// What an operator does in the sweep.
const (
	agrees     = iota // one statement for the common value
	dissents          // one for another value
	silent            // none
	duplicates        // agrees, the same again, and once more under another nonce
	expired           // agrees and dissents, both by a key that has expired
	doings
)

// swept returns the statements of every behaviour of every operator.
func (c *crew) swept() (opened [][doings][]attest.Opened, raw [][doings][][]byte) {
	for i := range 8 {
		n := name(i)
		c.add(n+"a", n, c.built(n, 'a', 1))
		c.add(n+"A", n, c.built(n, 'a', 2))
		c.add(n+"b", n, c.built(n, 'b', 1))
		c.add(n+"xa", n+" old", c.built(n, 'a', 3))
		c.add(n+"xb", n+" old", c.built(n, 'b', 3))
		var o [doings][]attest.Opened
		var r [doings][][]byte
		for what, ids := range [doings][]string{{"a"}, {"b"}, {}, {"a", "a", "A"}, {"xa", "xb"}} {
			for _, id := range ids {
				o[what] = append(o[what], c.opened[n+id])
				r[what] = append(r[what], c.raw[n+id])
			}
		}
		opened, raw = append(opened, o), append(raw, r)
	}
	return opened, raw
}

// answer is what a verdict comes to: the state, and if it is met, for which
// of the two values and by how many votes.
type answer struct {
	state attest.State
	value byte
	votes int
}

// modelVerdict is formats.md 5, verdict, for what operators do in the sweep.
func modelVerdict(s *shape, does []byte, report bool) answer {
	var a, b uint
	for place, what := range does {
		switch what {
		case agrees, duplicates:
			a |= 1 << place
		case dissents:
			b |= 1 << place
		}
	}
	byA, byB := s.holds(a), s.holds(b)
	switch {
	case !report && a != 0 && b != 0, byA && byB:
		return answer{state: attest.StateDissent}
	case byA:
		return answer{attest.StateMet, 'a', ones(a)}
	case byB:
		return answer{attest.StateMet, 'b', ones(b)}
	}
	return answer{state: attest.StatePending}
}

func ones(votes uint) (n int) {
	for ; votes != 0; votes &= votes - 1 {
		n++
	}
	return n
}

func (c *crew) answer(v *attest.Verdict) answer {
	a := answer{state: v.State()}
	if a.state == attest.StateMet {
		a.value, a.votes = c.voted[v.Outputs()], v.Cast()
	}
	return a
}

// count is the outcome of a sweep.
type count struct {
	shapes, cases, wrong int
	first                string // disagreement
}

func (c *count) add(o count) {
	c.shapes, c.cases, c.wrong = c.shapes+o.shapes, c.cases+o.cases, c.wrong+o.wrong
	if c.first == "" {
		c.first = o.first
	}
}

func (c *count) disagree(format string, args ...any) {
	c.wrong++
	if c.first == "" {
		c.first = fmt.Sprintf(format, args...)
	}
}

// over runs f for every step-th shape on all processors and adds up.
func over(all []*shape, step int, f func(*shape) count) count {
	var total count
	var mu sync.Mutex
	var wg sync.WaitGroup
	var next atomic.Int64
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := next.Add(1) - 1; int(i)*step < len(all); i = next.Add(1) - 1 {
				c := f(all[int(i)*step])
				c.shapes++
				mu.Lock()
				total.add(c)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return total
}

// report fails the test if anything disagreed, and says what was done.
func (c count) report(t *testing.T, what string) {
	t.Helper()
	t.Logf("%s: %d shapes, %d cases, %d disagreements", what, c.shapes, c.cases, c.wrong)
	if c.cases == 0 || c.wrong > 0 {
		t.Errorf("%s: %d of %d disagree, first %s", what, c.wrong, c.cases, c.first)
	}
}

// every returns 1 in a sweep, and otherwise step; much more under the race
// detector, which has no interest in how much is judged.
func every(step int) int {
	switch {
	case *sweep:
		return 1
	case testing.Short():
		return 30 * step
	}
	return step
}

// The enumeration is complete: its trees, needs aside, are as many as there
// are series-reduced rooted trees (OEIS A000669), and no two are equal.
func TestShapesAreAll(t *testing.T) {
	for n, want := range map[int]int{2: 1, 3: 2, 4: 5, 5: 12, 6: 33, 7: 90, 8: 261} {
		trees, all := map[string]bool{}, map[string]bool{}
		for _, s := range shapesOf(n, 0) {
			all[s.orbit(make([]byte, n))] = true
			trees[s.tree()] = true
		}
		if len(trees) != want || len(all) != len(shapesOf(n, 0)) {
			t.Errorf("%d operators: %d trees, want %d; %d shapes, %d distinct", n, len(trees), want, len(shapesOf(n, 0)), len(all))
		}
	}
	if got := len(shapesOf(1, 2)); got != 2 {
		t.Errorf("%d chains of one operator, want 2", got)
	}
}

// tree writes a shape without its needs so that equal trees are equal.
func (s *shape) tree() string {
	var of []string
	for _, m := range s.of {
		of = append(of, m.tree())
	}
	slices.Sort(of)
	return "(" + strings.Join(of, "") + ")"
}

// One representative stands for every case that a symmetry of the shape makes
// of it: together the orbits are all colourings.
func TestColouringsAreAll(t *testing.T) {
	for _, s := range slices.Concat(shapesOf(3, 0), shapesOf(4, 0)) {
		orbits := map[string]bool{}
		for _, c := range s.colourings(3) {
			orbits[s.orbit(c)] = true
		}
		seen := map[string]bool{}
		for i := range pow(3, s.size) {
			c := make([]byte, s.size)
			for p, rest := 0, i; p < s.size; p, rest = p+1, rest/3 {
				c[p] = byte(rest % 3)
			}
			seen[s.orbit(c)] = true
		}
		if len(orbits) != len(s.colourings(3)) || !reflect.DeepEqual(orbits, seen) {
			t.Errorf("%s: %d colourings of %d orbits, want %d", s, len(s.colourings(3)), len(orbits), len(seen))
		}
	}
}

// orbit writes a coloured shape so that symmetric ones are equal.
func (s *shape) orbit(c []byte) string {
	if s.need == 0 {
		return fmt.Sprint(c[s.place])
	}
	var of []string
	for _, m := range s.of {
		of = append(of, m.orbit(c))
	}
	slices.Sort(of)
	return fmt.Sprint("(", s.need, " ", strings.Join(of, " "), ")")
}

func pow(b, n int) int {
	out := 1
	for range n {
		out *= b
	}
	return out
}

// The evaluator alone: every shape of up to 8 operators, with chains of groups
// of one up to 4, and every set of voters.
func TestSweepGroups(t *testing.T) {
	t.Parallel()
	var all []*shape
	for n := 2; n <= 8; n++ {
		all = append(all, shapesOf(n, 0)...)
	}
	for n := 1; n <= 4; n++ {
		all = append(all, shapesOf(n, 2)...)
	}
	ballots := make([]attest.Ballot, 8)
	for i := range ballots {
		ballots[i] = attest.NewBallot(name(i), attest.Environment{})
	}
	over(all, every(20), func(s *shape) (c count) {
		p := s.policy(t, "")
		for votes := range uint(1) << s.size {
			c.cases++
			if got, want := len(p.Shortfalls(of(ballots, votes))) == 0, s.holds(votes); got != want {
				c.disagree("%s votes %b: got %t, want %t", s, votes, got, want)
			}
		}
		return c
	}).report(t, "groups")
}

// of returns the ballots whose bits are set.
func of(ballots []attest.Ballot, votes uint) (out []attest.Ballot) {
	for i, b := range ballots {
		if votes>>i&1 == 1 {
			out = append(out, b)
		}
	}
	return out
}

// spread gives each operator one of three values of an attribute, or none (0):
// every way that differs in more than what the values are called.
func spread(n int) [][]byte {
	all := [][]byte{nil}
	for range n {
		var longer [][]byte
		for _, head := range all {
			for v := range min(slices.Max(append(head, 0))+1, 3) + 1 {
				longer = append(longer, append(slices.Clone(head), v))
			}
		}
		all = longer
	}
	return all
}

// diverse is the rule of diversity in its shortest form.
func diverse(values []byte, votes uint, need int) bool {
	var seen uint
	for place, v := range values {
		if votes>>place&1 == 1 && v > 0 {
			seen |= 1 << v
		}
	}
	return ones(seen) >= need
}

var vendors = []string{"", "x", "y", "z"}

// environments returns the ballots of operators with values of two attributes.
func environments(vendor, kernel []byte) []attest.Ballot {
	out := make([]attest.Ballot, len(vendor))
	for i := range out {
		out[i] = attest.NewBallot(name(i), attest.Environment{CPUVendor: vendors[vendor[i]], Kernel: vendors[kernel[i]]})
	}
	return out
}

// Diversity: up to 8 operators, every spread of an attribute that is claimed
// or a label, every need, every set of voters; and up to 4 operators in every
// shape with two attributes at once.
func TestSweepDiversity(t *testing.T) {
	t.Parallel()
	for n := 2; n <= 8; n++ {
		spreads := spread(n)[1:] // the first has no value at all, so no such label
		anyone := shapesOf(n, 0)
		anyone = anyone[len(anyone)-n : len(anyone)-n+1] // 1 of n
		if got := anyone[0].String(); got != "(1"+strings.Repeat(".", n)+")" {
			t.Fatal(got)
		}
		none := make([]byte, n)
		over(anyone, 1, func(s *shape) (c count) {
			for need := 1; need <= min(3, n); need++ {
				claimed := s.policy(t, fmt.Sprintf("diversity = { cpu_vendor = %d }", need))
				for i := 0; i < len(spreads); i += every(1 + len(spreads)/40) {
					labels := make([]string, n)
					for place, v := range spreads[i] {
						labels[place] = []string{"", "labels = { site = \"x\" }\n", "labels = { site = \"y\" }\n", "labels = { site = \"z\" }\n"}[v]
					}
					labelled := crewPolicy(t, s.groupsTOML(places(n), func([]string) {}), fmt.Sprintf("diversity = { site = %d }", need), places(n), labels)
					ballots := environments(spreads[i], none)
					for votes := range uint(1) << n {
						c.cases += 2
						want := s.holds(votes) && diverse(spreads[i], votes, need)
						cast := of(ballots, votes)
						if a, b := len(claimed.Shortfalls(cast)) == 0, len(labelled.Shortfalls(cast)) == 0; a != want || b != want {
							c.disagree("%v need %d votes %b: claimed %t, labelled %t, want %t", spreads[i], need, votes, a, b, want)
						}
					}
				}
			}
			return c
		}).report(t, fmt.Sprint("diversity of ", n))
	}
	for n := 2; n <= 4; n++ {
		spreads := spread(n)
		over(shapesOf(n, 0), every(n*n), func(s *shape) (c count) {
			for x := 1; x <= min(3, n); x++ {
				for y := 1; y <= min(3, n); y++ {
					p := s.policy(t, fmt.Sprintf("diversity = { cpu_vendor = %d, kernel = %d }", x, y))
					for i := 0; i < len(spreads)*len(spreads); i += every(1 + len(spreads)*len(spreads)/200) {
						vendor, kernel := spreads[i%len(spreads)], spreads[i/len(spreads)]
						ballots := environments(vendor, kernel)
						for votes := range uint(1) << n {
							c.cases++
							want := s.holds(votes) && diverse(vendor, votes, x) && diverse(kernel, votes, y)
							if got := len(p.Shortfalls(of(ballots, votes))) == 0; got != want {
								c.disagree("%s %v %v needs %d, %d votes %b: got %t, want %t", s, vendor, kernel, x, y, votes, got, want)
							}
						}
					}
				}
			}
			return c
		}).report(t, fmt.Sprint("two attributes of ", n))
	}
}

// The whole verdict. Up to 6 operators: every shape and every way in which
// they agree, dissent, are silent, say it twice or use an expired key. Of 7
// and 8: every shape and every division into votes for either value and none,
// where those who agree do so once or twice in turn, and those without a vote
// are silent or expired, so that all of it stands in each shape.
func TestSweepVerdict(t *testing.T) {
	t.Parallel()
	c := newCrew(t)
	opened, _ := c.swept()
	for n := 2; n <= 8; n++ {
		colours, step := int(doings), []int{0, 0, 1, 1, 1, 4, 200, 1500, 5000}[n]
		if n > 6 {
			colours = int(silent) + 1
		}
		over(shapesOf(n, 0), every(step), func(s *shape) count { return c.sweepShape(s, opened, colours) }).report(t, fmt.Sprint(n, " operators"))
	}
	for n := 1; n <= 4; n++ {
		over(shapesOf(n, 2), every(1+n*n*n*n), func(s *shape) count { return c.sweepShape(s, opened, doings) }).report(t, fmt.Sprint(n, " operators, groups of one"))
	}
}

// sweepShape judges every case of one shape, with dissent reported and, where
// operators differ, also blocking; agreement is judged once.
func (c *crew) sweepShape(s *shape, opened [][doings][]attest.Opened, colours int) (out count) {
	policies := map[bool]*attest.Policy{true: s.policy(c.w.T, reports), false: s.policy(c.w.T, blocks)}
	var statements []attest.Opened
	for turn, does := range s.colourings(colours) {
		for place := range does {
			does[place] = inTurn(does[place], colours, turn+place)
		}
		statements = statements[:0]
		for place, what := range does {
			statements = append(statements, opened[place][what]...)
		}
		for _, report := range []bool{true, false} {
			// The two policies differ in nothing that matters where dissent
			// blocks all the same; every sixteenth such case is judged.
			if !report && turn%16 != 0 && s.size > 6 {
				continue
			}
			v, err := c.bench.Judge(policies[report], statements, nil)
			must(c.w.T, err)
			out.cases++
			if got, want := c.answer(v), modelVerdict(s, does, report); got != want {
				out.disagree("%s %v, report %t: got %v, want %v", s, does, report, got, want)
			}
		}
	}
	return out
}

// inTurn replaces every other of a behaviour by the one that comes to the same
// and is not among the colours.
func inTurn(does byte, colours, turn int) byte {
	switch {
	case turn%2 == 0:
		return does
	case does == agrees && colours <= duplicates:
		return duplicates
	case does == silent && colours <= expired:
		return expired
	}
	return does
}

// Opening statements once and judging them often is judging them.
func TestBenchIsJudge(t *testing.T) {
	t.Parallel()
	c := newCrew(t)
	opened, raw := c.swept()
	cases := 0
	for n := 2; n <= 8; n++ {
		shapes := shapesOf(n, 0)
		for i := 0; i < len(shapes); i += len(shapes)/7 + 1 {
			does := make([]byte, n)
			for place := range does {
				does[place] = byte((place*place + place*i + i/3) % doings)
			}
			for _, extra := range []string{blocks, reports} {
				p := shapes[i].policy(t, extra)
				var from []attest.Opened
				var statements [][]byte
				for place, what := range does {
					from = append(from, opened[place][what]...)
					statements = append(statements, raw[place][what]...)
				}
				got, err := c.bench.Judge(p, from, nil)
				must(t, err)
				want, err := attest.Judge(p, c.plan, statements, nil, nil, attesttest.Now)
				must(t, err)
				if !reflect.DeepEqual(got, want) {
					t.Errorf("%s %v:\ngot  %+v\nwant %+v", shapes[i], does, account(got), account(want))
				}
				cases++
			}
		}
	}
	if cases < 80 {
		t.Errorf("only %d cases", cases)
	}
}
