package attest

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"rebuild/internal/fault"
	"rebuild/store"
)

// State is what a verdict comes to.
type State string

// The three states. A zero Verdict is in none of them and is not met.
const (
	StateMet     State = "met"     // a quorum agrees and nothing blocks
	StatePending State = "pending" // not enough results that count
	StateDissent State = "dissent" // results contradict each other
)

// Waiver overrules one statement in one release. It is part of the release
// that the signers sign and counts nowhere else.
type Waiver struct {
	Statement store.Digest `json:"statement"`
	Reason    string       `json:"reason"`
}

// OperatorAccount says whether an operator's vote counted, and if not, why.
type OperatorAccount struct {
	Operator  string       `json:"operator"`
	Counted   bool         `json:"counted"`             // for the value that won or leads
	Statement store.Digest `json:"statement,omitempty"` // the vote, or what would have been it
	Outputs   store.Digest `json:"outputs,omitempty"`
	Why       string       `json:"why,omitempty"` // unless counted
	// Provenance is the SLSA provenance of Statement; "" if it is not at hand.
	Provenance store.Digest `json:"provenance,omitempty"`
}

// StatementAccount says what became of one statement.
type StatementAccount struct {
	// Statement is the payload digest, or for what is not an envelope at all
	// the digest of its bytes.
	Statement store.Digest `json:"statement"`
	Operator  string       `json:"operator,omitempty"`
	Status    string       `json:"status"`
	Why       string       `json:"why,omitempty"`
	Code      fault.Code   `json:"code,omitempty"` // of the error, if it was refused
	Seq       *int64       `json:"seq,omitempty"`  // of its leaf, if the plan's chain has one
}

// What may become of a statement, worst first.
const (
	StatusRefused  = "refused"  // malformed, badly signed or at odds with itself or the plan
	StatusOutsider = "outsider" // not signed by an operator whom the quorum counts
	StatusVoid     = "void"     // good, but by a key that does not count at this time
	StatusWaived   = "waived"
	StatusJudged   = "judged"
	// StatusCompanion is the SLSA provenance of a result that is judged or
	// waived, by the same key. It neither votes nor contradicts.
	StatusCompanion = "companion"
)

// String says it in one line, the reason at its end. The reason may quote
// what the statement says, so whoever prints it escapes what is no text.
func (s StatementAccount) String() string {
	out := "statement " + string(s.Statement)
	if s.Operator != "" {
		out += " of " + s.Operator
	}
	if s.Seq != nil {
		out += fmt.Sprintf(" at seq %d", *s.Seq)
	}
	out += ": " + s.Status
	if s.Why != "" {
		out += ": " + s.Why
	}
	return out
}

// Unjudged returns those of all that were not judged, and those that a waiver
// overruled: what a person must be told about and no count shows.
func Unjudged(all []StatementAccount) []StatementAccount {
	return slices.DeleteFunc(slices.Clone(all), func(s StatementAccount) bool { return s.Status == StatusJudged || s.Status == StatusCompanion })
}

// Verdict is what a policy makes of the statements about a plan. Only
// [Judge] makes one.
type Verdict struct {
	state          State
	policy         store.Digest
	plan           *Plan
	planDigest     store.Digest
	chain          *Chain       // nil: judged without a log
	outputs        store.Digest // that won or leads; "" without any vote
	winners        []ballot     // for outputs
	operators      []OperatorAccount
	statements     []StatementAccount
	judged         []store.Digest
	envelopes      [][]byte // of judged, and of all others that are logged
	contradictions []Contradiction
	blocking       []Contradiction // those that are more than a note
	waivers        []Waiver
	shortfalls     []Shortfall
	lineageOnly    bool

	results    []*verifiedResult             // that count for or against
	provenance map[store.Digest]store.Digest // companions by the result they are of
}

// Judge counts the statements about plan p by a policy at a time (formats.md
// 5, verdict). statements are envelopes as they were found; neither their
// order nor copies change anything, and what is no statement of an operator
// counts for nothing. Waivers are those of the release at hand.
//
// chain is the plan's part of the policy's log, nil without one. What it has
// is judged at the time and place of its leaf: whether a key counted then, and
// which of an operator's votes is the first. What it does not have is judged
// at now; it can contradict, and can not vote if the policy wants votes to be
// logged. Whether every statement in the chain is here, is for the evidence
// to say ([BuildEvidence.Chain]).
//
// The error is POLICY_EXPIRED, EVIDENCE_MISMATCH for a chain of another plan
// or policy, or SEMANTIC for a bad waiver. All that can be
// said about the statements is in the verdict; its [Verdict.Err] is nil only
// when it is met.
func Judge(policy *Policy, p *Plan, statements [][]byte, chain *Chain, waivers []Waiver, now time.Time) (*Verdict, error) {
	if err := policy.checkAt(now, chain != nil); err != nil {
		return nil, err
	}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	return judgePlan(policy, newPlanIndex(p), statements, chain, waivers, now)
}

// judgePlan is [Judge] of a plan that is valid, by a policy that is in force.
func judgePlan(policy *Policy, p *planIndex, statements [][]byte, chain *Chain, waivers []Waiver, now time.Time) (*Verdict, error) {
	waived, err := waivedStatements(waivers)
	if err != nil {
		return nil, err
	}
	j := newJudge(policy, p, chain, waivers, now)
	if chain != nil && (chain.plan != j.plan.digest || chain.policy != policy.digest) {
		return nil, mismatch("the chain is of plan %s, verified by policy %s", chain.plan, chain.policy)
	}
	return j.decide(j.open(statements), waived)
}

// Hear says what would become of each of statements if it was made known at a
// time, for who takes statements in: no vote is counted, so none has to be
// possible. With logged a log is about to date them, see [Policy.CheckLoggedAt].
// The errors are those of [Judge].
func Hear(policy *Policy, p *Plan, statements [][]byte, logged bool, now time.Time) ([]StatementAccount, error) {
	if err := policy.checkAt(now, logged); err != nil {
		return nil, err
	}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	j := newJudge(policy, newPlanIndex(p), nil, nil, now)
	if err := j.sort(j.open(statements)); err != nil {
		return nil, err
	}
	return j.v.Statements(), nil
}

func waivedStatements(waivers []Waiver) (map[store.Digest]bool, error) {
	out := map[store.Digest]bool{}
	for _, w := range waivers {
		if _, err := store.ParseDigest(string(w.Statement)); err != nil {
			return nil, within(err, "waiver")
		}
		if strings.TrimSpace(w.Reason) == "" {
			return nil, fault.New(fault.Semantic, "the waiver of %s gives no reason", w.Statement)
		}
		if out[w.Statement] {
			return nil, fault.New(fault.Semantic, "%s is waived twice", w.Statement)
		}
		out[w.Statement] = true
	}
	return out, nil
}

// judge is the state of one call of Judge.
type judge struct {
	policy *Policy
	plan   *planIndex
	chain  *Chain
	now    time.Time
	v      *Verdict
	kept   []*verifiedResult // that count for or against, sorted by digest
	barred map[string]string // operators that cast no vote, and why

	authors map[store.Digest]string   // whose result a payload is, of every result found
	claims  map[store.Digest][]string // operators who say that they reused a result of theirs
}

func newJudge(policy *Policy, plan *planIndex, chain *Chain, waivers []Waiver, now time.Time) *judge {
	return &judge{policy: policy, plan: plan, chain: chain, now: now, barred: map[string]string{},
		authors: map[store.Digest]string{}, claims: map[store.Digest][]string{},
		v: &Verdict{policy: policy.digest, plan: plan.plan, planDigest: plan.digest, chain: chain, waivers: slices.Clone(waivers)}}
}

// decide makes the verdict of statements that are opened.
func (j *judge) decide(statements []opened, waived map[store.Digest]bool) (*Verdict, error) {
	if err := j.sort(statements); err != nil {
		return nil, err
	}
	j.v.contradictions = j.bar(waived)
	j.v.results = j.kept
	for _, c := range j.v.contradictions {
		if j.counts(c) {
			j.v.blocking = append(j.v.blocking, c)
		}
	}
	j.vote()
	return j.v, nil
}

// bar drops the waived statements, finds the operators that cast no vote
// because they contradict themselves, or because a waiver speaks against them,
// and returns the contradictions that are left.
func (j *judge) bar(waived map[store.Digest]bool) []Contradiction {
	j.claim()
	found := contradictions(j.plan, j.kept)
	for _, c := range found {
		for _, v := range c.Values {
			for i, d := range v.Statements {
				if waived[d] && j.counts(c) {
					j.barred[v.Operators[i]] = "a contradiction of this operator is waived"
				}
			}
		}
	}
	all := len(j.kept)
	j.kept = slices.DeleteFunc(j.kept, func(r *verifiedResult) bool { return waived[r.digest] })
	if len(j.kept) < all {
		found = contradictions(j.plan, j.kept)
	}
	for i := range j.v.statements {
		if s := &j.v.statements[i]; waived[s.Statement] && s.Status == StatusJudged {
			s.Status = StatusWaived
		}
	}
	for _, c := range found {
		for _, name := range c.selfContradicting() {
			j.barred[name] = "the operator contradicts itself at stage " + c.Stage
		}
	}
	return found
}

// claim notes who says that which result was its own, of all that is judged: a
// claim that is waived stands against another's all the same, or a waiver would
// give a vote.
func (j *judge) claim() {
	for _, r := range j.kept {
		for _, s := range r.result.Stages {
			if s.From != "" && !slices.Contains(j.claims[s.From], r.result.Operator) {
				j.claims[s.From] = append(j.claims[s.From], r.result.Operator)
			}
		}
	}
}

// borrowed says which stage a result reused that its operator did not build,
// or "". What the operator built itself is in a result of its own, so a result
// of another is none, and one that two operators claim is so of one at most.
// Such a stage is no more than a substituted one for the vote; for
// contradictions it stays what the operator says it is, so that a statement
// which comes to light can take votes away and never a contradiction.
func (j *judge) borrowed(r *verifiedResult) string {
	me := r.result.Operator
	for _, s := range r.result.Stages {
		if s.From == "" {
			continue
		}
		if author, known := j.authors[s.From]; known && author != me {
			return fmt.Sprintf("stage %s was reused from statement %s, which is of %s", s.Name, s.From, author)
		} else if others := j.claims[s.From]; !known && len(others) > 1 {
			return fmt.Sprintf("stage %s was reused from statement %s, which is missing and claimed by %s", s.Name, s.From, strings.Join(others, " and "))
		}
	}
	return ""
}

// counts says whether a contradiction is more than a note.
func (j *judge) counts(c Contradiction) bool {
	return c.Kind != KindBuildFailed || j.policy.blocksOnBuildFailed()
}

// vote picks one vote per operator, groups them by value, and decides.
func (j *judge) vote() {
	strict, accounts := j.ballots(true)
	met, leading := j.tally(strict)
	j.v.outputs = leading
	j.v.winners = strict[leading]
	switch {
	case j.policy.blocksOnDissent() && len(j.v.blocking) > 0, len(met) > 1:
		j.v.state = StateDissent
	case len(met) == 1:
		j.v.state = StateMet
	default:
		j.v.state = StatePending
		j.v.shortfalls = j.policy.shortfalls(strict[leading])
		relaxed, _ := j.ballots(false)
		without, _ := j.tally(relaxed)
		j.v.lineageOnly = len(without) == 1
	}
	for _, name := range j.policy.reachable {
		a := accounts[name]
		if a.Outputs != "" && a.Why == "" {
			a.Counted = a.Outputs == leading
			if !a.Counted {
				a.Why = otherValue
			}
		}
		a.Provenance = j.v.provenance[a.Statement]
		j.v.operators = append(j.v.operators, a)
	}
}

// ballots returns the votes by value, and an account of every operator that
// the quorum counts. With lineage false, what the policy demands of lineage
// is not asked for.
func (j *judge) ballots(lineage bool) (map[store.Digest][]ballot, map[string]OperatorAccount) {
	votes := map[store.Digest][]ballot{}
	accounts := map[string]OperatorAccount{}
	for _, name := range j.policy.reachable {
		accounts[name] = OperatorAccount{Operator: name, Why: j.silence(name)}
	}
	for _, r := range j.inOrder() { // so the first that votes is the lowest
		name := r.result.Operator
		a := accounts[name]
		if a.Outputs != "" && a.Why == "" {
			continue // one operator, one vote
		}
		a.Statement, a.Outputs, a.Why = r.digest, r.result.Outputs, j.objection(r, lineage)
		if a.Why == "" {
			votes[a.Outputs] = append(votes[a.Outputs], ballot{name, r})
		}
		accounts[name] = a
	}
	return votes, accounts
}

// inOrder returns the results in the order of the log, and after them those
// that are in none by digest.
func (j *judge) inOrder() []*verifiedResult {
	if j.chain == nil {
		return j.kept
	}
	place := map[*verifiedResult]int64{}
	for _, r := range j.kept {
		place[r] = math.MaxInt64
		if l, logged := j.chain.find(EventStatement, r.digest); logged {
			place[r] = l.Seq
		}
	}
	out := slices.Clone(j.kept)
	slices.SortStableFunc(out, func(a, b *verifiedResult) int { return cmp.Compare(place[a], place[b]) })
	return out
}

// silence says why there is nothing to count of an operator.
func (j *judge) silence(name string) string {
	for _, s := range j.v.statements {
		if s.Operator == name && s.Status != StatusJudged && s.Status != StatusCompanion {
			return "its statement is " + s.Status
		}
	}
	return "no statement"
}

// notLogged is why a vote does not count that can be entered into the log yet.
const notLogged = "the policy wants votes to be logged"

// objection says why a result is no vote, or "".
func (j *judge) objection(r *verifiedResult, lineage bool) string {
	req, res := j.policy.doc.Require, &r.result
	switch {
	case j.barred[res.Operator] != "":
		return j.barred[res.Operator]
	case req.Logged && !j.chain.has(EventStatement, r.digest):
		return notLogged
	case res.Outcome != OutcomeBuilt:
		return "the outcome is " + res.Outcome
	case !res.Hermetic:
		return "not hermetic"
	case res.substituted() != "":
		return "stage " + res.substituted() + " was substituted"
	case j.borrowed(r) != "":
		return j.borrowed(r)
	case req.Fresh && res.firstOrigin(OriginReused) != "":
		return "stage " + res.firstOrigin(OriginReused) + " was reused and the policy wants fresh results"
	case req.Deterministic && (res.Repeat == nil || res.Repeat.Runs < 2 || !res.Repeat.Equal):
		return "the policy wants two equal fresh runs"
	case lineage && req.Bootstrapped && !res.Lineage.Complete():
		return "the lineage is not complete"
	case lineage && req.MaxSeedBytes != nil && j.plan.seedBytes > *req.MaxSeedBytes:
		return fmt.Sprintf("the plan has %d seed bytes, the policy allows %d", j.plan.seedBytes, *req.MaxSeedBytes)
	}
	return ""
}

// tally returns the values that have a quorum, and the one with most votes.
func (j *judge) tally(votes map[store.Digest][]ballot) (met []store.Digest, leading store.Digest) {
	for _, value := range slices.Sorted(maps.Keys(votes)) {
		if len(j.policy.shortfalls(votes[value])) == 0 {
			met = append(met, value)
		}
		if leading == "" || len(votes[value]) > len(votes[leading]) {
			leading = value
		}
	}
	if len(met) == 1 {
		leading = met[0]
	}
	return met, leading
}

// State returns what the verdict comes to.
func (v *Verdict) State() State { return v.state }

// Plan returns the digest of the plan that was judged.
func (v *Verdict) Plan() store.Digest { return v.planDigest }

// Policy returns the digest of the policy that judged.
func (v *Verdict) Policy() store.Digest { return v.policy }

// Outputs returns the value that won, or of a pending verdict the one with
// most votes; "" without a vote.
func (v *Verdict) Outputs() store.Digest { return v.outputs }

// Operators returns the account of every operator that the quorum counts,
// sorted by name.
func (v *Verdict) Operators() []OperatorAccount { return slices.Clone(v.operators) }

// Log returns what the plan's history rests on, nil without a log.
func (v *Verdict) Log() *LogAccount { return v.chain.account() }

// Statements returns what became of every statement, sorted by digest.
func (v *Verdict) Statements() []StatementAccount { return slices.Clone(v.statements) }

// Judged returns the sorted digests of the statements that a release of this
// verdict lists: those of the quorum's operators that were not refused, their
// results' provenances among them.
func (v *Verdict) Judged() []store.Digest { return slices.Clone(v.judged) }

// Envelopes returns the envelope of each of [Verdict.Judged], and of whatever
// else is in the log: the statements that go into a release's bundle.
func (v *Verdict) Envelopes() [][]byte { return slices.Clone(v.envelopes) }

// Contradictions returns where the results differ, in plan order, also where
// the policy only wants it reported.
func (v *Verdict) Contradictions() []Contradiction { return slices.Clone(v.contradictions) }

// Shortfalls returns what a pending verdict lacks.
func (v *Verdict) Shortfalls() []Shortfall { return slices.Clone(v.shortfalls) }

// Err returns nil for a verdict that is met, and otherwise QUORUM_PENDING,
// LINEAGE_UNTRACED if nothing but lineage keeps votes from counting, or
// DISSENT, saying what is missing or differs first.
func (v *Verdict) Err() error {
	switch v.state {
	case StateMet:
		return nil
	case StateDissent:
		return v.dissent()
	case StatePending:
		return v.pending()
	}
	return fault.New(fault.Internal, "a verdict that was never judged")
}

func (v *Verdict) dissent() error {
	e := fault.New(fault.Dissent, "rebuilders disagree on plan %s", v.planDigest)
	if len(v.blocking) > 0 {
		e = fault.New(fault.Dissent, "rebuilders disagree on plan %s: %s", v.planDigest, v.blocking[0]).
			With("stage", v.blocking[0].Stage)
	}
	e.Err = &dissenting{v}
	return e.With("contradictions", v.contradictions).
		WithHint("compare the stage named; a release needs agreement, or a signed waiver of the statement that is wrong")
}

func (v *Verdict) pending() error {
	code, wants := fault.QuorumPending, make([]string, len(v.shortfalls))
	for i, s := range v.shortfalls {
		wants[i] = s.String()
	}
	why := ""
	for _, a := range v.operators {
		if !a.Counted {
			why += fmt.Sprintf("; %s: %s", a.Operator, a.Why)
		}
	}
	hint := "collect the results of the missing operators"
	if slices.ContainsFunc(v.operators, func(a OperatorAccount) bool { return a.Why == notLogged }) {
		hint = "enter the results into the log with: rebuild index add RESULTS --index DIR --policy FILE --log-key FILE"
	}
	if v.lineageOnly {
		code, hint = fault.LineageUntraced, "trace every executable to the seeds; nothing else keeps these votes from counting"
	}
	return fault.New(code, "no quorum on plan %s: %s%s", v.planDigest, strings.Join(wants, "; "), why).
		With("shortfalls", v.shortfalls).WithHint("%s", hint)
}

// Met is proof that a verdict was met. Only [Verdict.Met] makes one, and a
// release can not be proposed without.
type Met struct {
	verdict *Verdict
}

// Met returns the proof, or the error of [Verdict.Err].
func (v *Verdict) Met() (*Met, error) {
	if err := v.Err(); err != nil {
		return nil, err
	}
	return &Met{v}, nil
}
