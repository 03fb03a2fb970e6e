package attest

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"
	"time"

	"rebuild/internal/fault"
	"rebuild/store"
)

// Explanation says in words what a policy asks for and, with a verdict, what is
// missing. It decides nothing: every set of operators in it was put to the
// evaluator that judges.
type Explanation struct {
	Name      string       `json:"name"`
	Version   int64        `json:"version"`
	Policy    store.Digest `json:"policy"`
	Expires   string       `json:"expires,omitempty"`
	Quorum    Want         `json:"quorum"`
	Enough    Sets         `json:"enough"`    // smallest sets of operators that can satisfy it
	Needed    []string     `json:"needed"`    // operators without whom nothing is met
	Diversity []Diversity  `json:"diversity"` // sorted by attribute
	Require   []string     `json:"require"`   // of every vote, in words
	Dissent   []string     `json:"dissent"`   // in words
	Signers   Threshold    `json:"signers"`
	Waivers   int          `json:"waiver_need"`
	Root      Threshold    `json:"root"`
	Log       []string     `json:"log"`      // in words
	Warnings  []string     `json:"warnings"` // keys and times that soon end things, or have
	Now       *Progress    `json:"now,omitempty"`
}

// Want is an operator, or a group of which some must be satisfied.
type Want struct {
	Name string `json:"name"`
	Need int    `json:"need,omitempty"` // 0 for an operator
	Of   []Want `json:"of,omitempty"`
}

// Threshold is how many of some keys it takes.
type Threshold struct {
	Need int      `json:"need"`
	Of   []string `json:"of"`
}

// Diversity is an attribute that must take several values among those who
// agree.
type Diversity struct {
	Attribute string `json:"attribute"`
	Need      int    `json:"need"`
	// Label says that the policy itself gives the values; otherwise each
	// operator claims its own.
	Label bool `json:"label"`
}

// Sets are the least sets of operators that are enough: none of them can spare
// a member. Where an attribute is claimed by operators, each new one is taken
// to bring a value of its own, so a set is enough at best.
type Sets struct {
	Sets [][]string `json:"sets"`           // the smallest first, at most [MaxSets]
	More int        `json:"more,omitempty"` // how many are not listed
	// Partial says that there were too many operators to try every set: there
	// are sets that are neither listed nor counted, perhaps smaller ones.
	Partial bool `json:"partial,omitempty"`
}

// MaxSets is how many sets of operators an explanation lists.
const MaxSets = 12

// Progress is what a verdict says of the way to a met one.
type Progress struct {
	Plan       store.Digest      `json:"plan"`
	State      State             `json:"state"`
	Outputs    store.Digest      `json:"outputs,omitempty"`
	Operators  []OperatorAccount `json:"operators"`
	Shortfalls []Shortfall       `json:"shortfalls"`
	// Further are the least sets of operators whose agreement would complete
	// the quorum; none if no further vote can.
	Further Sets   `json:"further"`
	Why     string `json:"why,omitempty"` // no further vote can
}

// canSign says whether any key of an operator counts.
func (p *Policy) canSign(operator string, now time.Time) bool {
	return slices.ContainsFunc(p.doc.Operators[operator].Keys, func(k keyDoc) bool {
		return newKeyAccount(RoleOperator, operator, k, now).Counts
	})
}

// otherValue is why a vote does not count for the value that leads.
const otherValue = "votes for another value"

// soon is how long before its end a key or a policy is warned about.
const soon = 30 * 24 * time.Hour

// Explain puts a policy into words as of a time. v, unless nil, is a verdict by
// this policy (EVIDENCE_MISMATCH if it is by another).
func Explain(p *Policy, v *Verdict, now time.Time) (*Explanation, error) {
	e := &Explanation{
		Name: p.doc.Name, Version: p.doc.Version, Policy: p.digest, Expires: p.doc.Expires,
		Quorum: p.want(p.doc.Quorum), Enough: p.leastSets(nil, p.reachable), Needed: p.needed(),
		Diversity: []Diversity{}, Require: p.requireWords(), Dissent: p.dissentWords(), Waivers: p.waiverNeed(),
		Signers: Threshold{Need: p.doc.Signers.Need}, Root: Threshold{Need: p.doc.Root.Need}, Log: p.logWords(),
	}
	for _, attr := range slices.Sorted(maps.Keys(p.doc.Diversity)) {
		_, claimed := environmentFields[attr]
		e.Diversity = append(e.Diversity, Diversity{attr, p.doc.Diversity[attr], !claimed})
	}
	for _, k := range p.Keys(now) {
		switch k.Role {
		case RoleSigner:
			e.Signers.Of = append(e.Signers.Of, k.Name)
		case RoleRoot:
			e.Root.Of = append(e.Root.Of, k.Fingerprint)
		}
	}
	e.Warnings = p.warnings(e.Enough, now)
	if v == nil {
		return e, nil
	}
	if v.policy != p.digest {
		return nil, fault.New(fault.EvidenceMismatch, "the verdict is by policy %s, not by %s", v.policy, p.digest)
	}
	e.Now = p.progress(v, now)
	return e, nil
}

func (p *Policy) want(name string) Want {
	g, isGroup := p.doc.Groups[name]
	if !isGroup {
		return Want{Name: name}
	}
	w := Want{Name: name, Need: g.Need}
	for _, member := range g.Of {
		w.Of = append(w.Of, p.want(member))
	}
	return w
}

// hypothetical is a vote that an operator could cast, with a value of its own
// for all that operators claim. No claim of a statement has a NUL in it.
func hypothetical(operator string) ballot {
	own := "\x00" + operator
	return ballot{operator, &verifiedResult{result: Result{Operator: operator, Environment: Environment{
		Rebuild: own, RebuildDigest: store.Digest(own), Engine: own, EngineVersion: own, Runtime: own,
		RuntimeDigest: store.Digest(own), Kernel: own, CPUVendor: own, Filesystem: own,
	}}}}
}

func (p *Policy) enough(have []ballot, more []string) bool {
	all := slices.Clone(have)
	for _, name := range more {
		all = append(all, hypothetical(name))
	}
	return len(p.shortfalls(all)) == 0
}

// maxTried is the most operators of whom every set is tried: 2^14 sets.
const maxTried = 14

// leastSets finds the sets of open operators that, with those who voted, are
// enough while no part of them is. Both the groups and the diversity only grow
// with more operators, so a set is least if it can spare nobody.
func (p *Policy) leastSets(have []ballot, open []string) Sets {
	if !p.enough(have, open) {
		return Sets{Sets: [][]string{}}
	}
	var found [][]string
	partial := len(open) > maxTried
	if partial {
		found = p.someLeastSets(have, open)
	} else {
		found = p.allLeastSets(have, open)
	}
	slices.SortFunc(found, func(a, b []string) int {
		return cmp.Or(len(a)-len(b), slices.Compare(a, b))
	})
	found = slices.CompactFunc(found, slices.Equal)
	more := max(0, len(found)-MaxSets)
	return Sets{found[:len(found)-more], more, partial}
}

func (p *Policy) allLeastSets(have []ballot, open []string) [][]string {
	members := func(set uint) (out []string) {
		for ; set != 0; set &= set - 1 {
			out = append(out, open[bits.TrailingZeros(set)])
		}
		return out
	}
	var found [][]string
	enough := make([]bool, 1<<len(open))
	for set := range uint(len(enough)) {
		smaller := false
		for rest := set; rest != 0 && !smaller; rest &= rest - 1 {
			smaller = enough[set&^(rest&-rest)]
		}
		if enough[set] = smaller || p.enough(have, members(set)); enough[set] && !smaller {
			found = append(found, append([]string{}, members(set)...))
		}
	}
	return found
}

// someLeastSets takes operators away as long as the rest is enough, beginning
// with another one each time; of a great many operators only a few times.
func (p *Policy) someLeastSets(have []ballot, open []string) [][]string {
	var found [][]string
	starts := min(MaxSets, max(1, 4096/len(open)))
	for start := range starts {
		first := start * len(open) / starts
		set := slices.Clone(open)
		for i := range open {
			without := slices.DeleteFunc(slices.Clone(set), func(s string) bool { return s == open[(first+i)%len(open)] })
			if p.enough(have, without) {
				set = without
			}
		}
		found = append(found, set)
	}
	return found
}

// needed returns the operators without whom all others are not enough.
func (p *Policy) needed() []string {
	out := []string{}
	for _, name := range p.reachable {
		others := slices.DeleteFunc(slices.Clone(p.reachable), func(s string) bool { return s == name })
		if !p.enough(nil, others) {
			out = append(out, name)
		}
	}
	return out
}

func (p *Policy) progress(v *Verdict, now time.Time) *Progress {
	out := &Progress{Plan: v.planDigest, State: v.state, Outputs: v.outputs, Operators: v.Operators(),
		Shortfalls: append([]Shortfall{}, v.shortfalls...), Further: Sets{Sets: [][]string{}}}
	switch v.state {
	case StateMet:
		return out
	case StateDissent:
		out.Why = "results contradict each other: no further vote cancels that, only a waiver in a release does"
		return out
	}
	var open []string
	for _, a := range v.operators {
		if !a.Counted && v.mayVote(a) && p.canSign(a.Operator, now) {
			open = append(open, a.Operator)
		}
	}
	if out.Further = p.leastSets(v.winners, open); len(out.Further.Sets) == 0 {
		out.Why = "the operators who may still vote are not enough together"
	}
	return out
}

// mayVote says whether an operator that does not count could by a further
// statement. One who voted otherwise has cast its vote for this plan, and one
// that contradicts itself, or whom a waiver speaks against, casts none.
func (v *Verdict) mayVote(a OperatorAccount) bool {
	if a.Why == otherValue {
		return false
	}
	for _, c := range v.contradictions {
		if slices.Contains(c.selfContradicting(), a.Operator) {
			return false
		}
	}
	return !slices.ContainsFunc(v.statements, func(s StatementAccount) bool { return s.Operator == a.Operator && s.Status == StatusWaived })
}

// Roles of the keys in a policy.
const (
	RoleRoot     = "root"
	RoleSigner   = "signer"
	RoleIndex    = "index"
	RoleOperator = "operator"
	RoleLog      = "log"
	RoleWitness  = "witness"
)

// KeyAccount is a key of a policy and whether it counts at a time.
type KeyAccount struct {
	Role        string `json:"role"`
	Name        string `json:"name,omitempty"` // of the operator, signer, log or witness
	Key         string `json:"key"`            // as the policy has it
	Fingerprint string `json:"fingerprint"`
	NotBefore   string `json:"not_before,omitempty"`
	NotAfter    string `json:"not_after,omitempty"`
	RevokedFrom *int64 `json:"revoked_from,omitempty"`
	Counts      bool   `json:"counts"`
	Why         string `json:"why,omitempty"` // it does not count, or not for ever
}

// Keys returns every key of the policy, by role and name, and what it is good
// for at a time.
func (p *Policy) Keys(now time.Time) []KeyAccount {
	d := &p.doc
	var out []KeyAccount
	add := func(role, name string, keys ...keyDoc) {
		for _, k := range keys {
			out = append(out, newKeyAccount(role, cmp.Or(name, k.Name), k, now))
		}
	}
	for _, k := range d.Root.Keys {
		add(RoleRoot, "", keyDoc{Key: k})
	}
	add(RoleSigner, "", d.Signers.Keys...)
	for _, name := range slices.Sorted(maps.Keys(d.Operators)) {
		add(RoleOperator, name, d.Operators[name].Keys...)
	}
	if d.Index != nil {
		add(RoleIndex, "", d.Index.Keys...)
	}
	if d.Log != nil {
		add(RoleLog, d.Log.Origin, keyDoc{Key: d.Log.Key})
	}
	if d.Witnesses != nil {
		for _, k := range d.Witnesses.Keys {
			name, _, _ := strings.Cut(k, "+")
			add(RoleWitness, name, keyDoc{Key: k})
		}
	}
	return out
}

func newKeyAccount(role, name string, k keyDoc, now time.Time) KeyAccount {
	a := KeyAccount{Role: role, Name: name, Key: k.Key, Fingerprint: fingerprintOf(k.Key),
		NotBefore: k.NotBefore, NotAfter: k.NotAfter, RevokedFrom: k.RevokedFrom}
	before, _ := ParseTime(k.NotBefore) // loaded, so they are times or absent
	after, _ := ParseTime(k.NotAfter)
	switch {
	case k.RevokedFrom != nil:
		a.Why = fmt.Sprintf("revoked: it counts for nothing but what a log holds before leaf %d", *k.RevokedFrom)
	case k.NotBefore != "" && now.Before(before):
		a.Why = "not valid before " + k.NotBefore
	case k.NotAfter != "" && now.After(after):
		a.Why = "ended " + k.NotAfter
	case k.NotAfter != "" && now.Add(soon).After(after):
		a.Why, a.Counts = "ends "+k.NotAfter, true
	default:
		a.Counts = true
	}
	return a
}

// fingerprintOf names a key as the policy writes it: the text of ours, or the
// verifier key of a signed note, NAME+HASH+base64 of a type and the key. What
// is neither goes by its text.
func fingerprintOf(text string) string {
	if k, err := ParsePublicKey(text); err == nil {
		return k.Fingerprint()
	}
	_, rest, _ := strings.Cut(text, "+")
	_, key, _ := strings.Cut(rest, "+")
	if raw, err := base64.StdEncoding.DecodeString(key); err == nil && len(raw) == 1+len(PublicKey{}) {
		return PublicKey(raw[1:]).Fingerprint()
	}
	return text
}

func (k KeyAccount) String() string {
	out := k.Role
	if k.Name != "" {
		out += " " + k.Name
	}
	return out + " " + k.Fingerprint
}

func (p *Policy) warnings(enough Sets, now time.Time) []string {
	out := []string{}
	if err := p.CheckAt(now); err != nil {
		out = append(out, err.Error())
	} else if !p.expires.IsZero() && now.Add(soon).After(p.expires) {
		out = append(out, "the policy expires "+p.doc.Expires)
	}
	for _, k := range p.Keys(now) {
		if k.Why != "" {
			out = append(out, "key of "+k.String()+": "+k.Why)
		}
	}
	for _, name := range p.reachable {
		if !p.canSign(name, now) {
			out = append(out, "operator "+name+" has no key that counts, so it can not vote")
		}
	}
	if len(enough.Sets) == 0 {
		out = append(out, "nothing can meet this policy: all of its operators together are not enough")
	}
	return out
}

func (p *Policy) requireWords() []string {
	out := []string{"built in a sealed engine (hermetic), no stage taken from somebody else"}
	r := p.doc.Require
	for _, w := range []struct {
		on   bool
		text string
	}{
		{r.Deterministic, "built afresh at least twice, equal each time"},
		{r.Bootstrapped, "every executable traced to the seeds"},
		{r.Fresh, "no stage reused from an earlier run"},
		{r.Logged, "entered into the log"},
	} {
		if w.on {
			out = append(out, w.text)
		}
	}
	if r.MaxSeedBytes != nil {
		out = append(out, fmt.Sprintf("seeds of at most %d bytes", *r.MaxSeedBytes))
	}
	if p.doc.Independence == "commit" {
		out = append(out, "committed to before anybody's result was shown")
	}
	return out
}

func (p *Policy) dissentWords() []string {
	out := make([]string, 2)
	out[0] = "two results that differ from equal inputs, or a build that does not repeat: nothing is met, whoever of the operators says so"
	if !p.blocksOnDissent() {
		out[0] = "results that differ are only reported: the one value that has a quorum wins"
	}
	out[1] = "a build that fails is reported"
	if p.blocksOnBuildFailed() && p.blocksOnDissent() {
		out[1] = "a build that fails: nothing is met, whoever of the operators says so"
	}
	return out
}

func (p *Policy) logWords() []string {
	out := []string{}
	if l := p.doc.Log; l != nil {
		out = append(out, fmt.Sprintf("what counts is proved from log %s (key %s), whose head is at most %s old", l.Origin, fingerprintOf(l.Key), cmp.Or(l.MaxAge, "24h")))
	}
	if w := p.doc.Witnesses; w != nil && w.Need > 0 {
		out = append(out, fmt.Sprintf("%d of %d witnesses have signed that head", w.Need, len(w.Keys)))
	}
	return out
}

// String says a want as one sentence: "any 2 of: eu (any 1 of: north, south), west".
func (w Want) String() string {
	if w.Need == 0 {
		return w.Name
	}
	parts := make([]string, len(w.Of))
	for i, m := range w.Of {
		if parts[i] = m.Name; m.Need > 0 {
			parts[i] += " (" + m.String() + ")"
		}
	}
	return w.count() + " of: " + strings.Join(parts, ", ")
}

func (w Want) count() string {
	if w.Need == len(w.Of) {
		return fmt.Sprintf("all %d", w.Need)
	}
	return fmt.Sprintf("any %d", w.Need)
}

// lines writes the tree, a group of nothing but operators in one line.
func (w Want) lines(indent string) []string {
	if !slices.ContainsFunc(w.Of, func(m Want) bool { return m.Need > 0 }) {
		return []string{indent + w.Name + ": " + w.String()}
	}
	out := []string{indent + w.Name + ": " + w.count() + " of"}
	for _, m := range w.Of {
		if m.Need == 0 {
			out = append(out, indent+"  "+m.Name)
		} else {
			out = append(out, m.lines(indent+"  ")...)
		}
	}
	return out
}

// lines lists sets, one a line.
func (s Sets) lines(indent string) []string {
	var out []string
	for _, set := range s.Sets {
		out = append(out, indent+strings.Join(set, " + "))
	}
	switch {
	case s.Partial:
		out = append(out, indent+"... and others: too many operators to list every set")
	case s.More > 0:
		out = append(out, fmt.Sprintf("%s... and %d more", indent, s.More))
	}
	return out
}

// Lines writes the explanation for people.
func (e *Explanation) Lines() []string {
	expires := "does not expire"
	if e.Expires != "" {
		expires = "expires " + e.Expires
	}
	out := []string{fmt.Sprintf("policy %s, version %d, %s, %s", e.Name, e.Version, e.Policy, expires),
		"met when these operators agree on one result", "  " + e.Quorum.String()}
	if slices.ContainsFunc(e.Quorum.Of, func(m Want) bool { return m.Need > 0 }) {
		out = append(out, e.Quorum.lines("    ")...)
	}
	for _, d := range e.Diversity {
		whose := "as each claims"
		if d.Label {
			whose = "as this policy labels them"
		}
		out = append(out, fmt.Sprintf("  with at least %d different values of %s among them, %s", d.Need, d.Attribute, whose))
	}
	out = append(out, e.enoughLines()...)
	out = append(out, section("every vote that counts is", e.Require)...)
	out = append(out, section("dissent", e.Dissent)...)
	out = append(out, "a release needs", "  signers: "+e.Signers.String()+", and every owner it names",
		fmt.Sprintf("  to overrule a statement by a waiver: %d of these signers", e.Waivers))
	out = append(out, section("log", e.Log)...)
	out = append(out, "a new version of this policy needs", "  root keys: "+e.Root.String()+", and as many as the new one asks for")
	out = append(out, section("beware", e.Warnings)...)
	if e.Now != nil {
		out = append(out, e.Now.lines()...)
	}
	return out
}

func (e *Explanation) enoughLines() []string {
	if len(e.Enough.Sets) == 0 {
		return []string{"no set of its operators is enough"}
	}
	head := fmt.Sprintf("the smallest sets of operators that can be enough, %d at the least", len(e.Enough.Sets[0]))
	if e.Enough.Partial {
		head = fmt.Sprintf("small sets of operators that can be enough, %d or fewer", len(e.Enough.Sets[0]))
	}
	out := append([]string{head}, e.Enough.lines("  ")...)
	if len(e.Needed) > 0 {
		out = append(out, "nothing is met without "+strings.Join(e.Needed, ", "))
	}
	return out
}

func section(head string, lines []string) []string {
	if len(lines) == 0 {
		return nil
	}
	out := []string{head}
	for _, l := range lines {
		out = append(out, "  "+l)
	}
	return out
}

func (t Threshold) String() string {
	return fmt.Sprintf("%d of %d: %s", t.Need, len(t.Of), strings.Join(t.Of, ", "))
}

func (g *Progress) lines() []string {
	out := []string{fmt.Sprintf("now: %s, plan %s", g.State, g.Plan)}
	for _, a := range g.Operators {
		line := "  " + a.Operator + ": counts"
		if !a.Counted {
			line = "  " + a.Operator + ": does not count: " + a.Why
		}
		out = append(out, line)
	}
	out = append(out, section("missing", shortfallText(g.Shortfalls))...)
	switch {
	case g.State == StateMet:
		out = append(out, "nothing is missing")
	case g.Why != "":
		out = append(out, g.Why)
	default:
		with := "with each other"
		if g.Outputs != "" {
			with = "with the result that leads"
		}
		out = append(out, "who can be enough, if they agree "+with)
		out = append(out, g.Further.lines("  ")...)
	}
	return out
}

func shortfallText(all []Shortfall) []string {
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = s.String()
	}
	return out
}
