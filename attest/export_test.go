package attest

import (
	"time"

	"rebuild/internal/document"
)

// OpenResult opens one result by itself, as [Judge] does with each: the vectors
// and fuzz tests ask what is wrong with it, which a verdict only counts.
func OpenResult(e *Envelope, operator string, keys []PublicKey, p *Plan) (*Result, error) {
	if err := e.oneSignature(); err != nil {
		return nil, err
	}
	signed, err := e.Verify(keys)
	if err != nil {
		return nil, err
	}
	r, err := readResult(signed, operator)
	if err != nil {
		return nil, err
	}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	v, err := openResult(r, newPlanIndex(p))
	if err != nil {
		return nil, err
	}
	return &v.result, nil
}

// VerifyLayout checks a layout against a release that no world can make: one
// of several platforms and targets.
func (r *Release) VerifyLayout(dir string) (found, notes []string, err error) {
	images, err := r.verifyLayout(dir)
	return images.found, images.notes, err
}

// A Bench judges statements that it opened before, so that a test can judge
// millions of combinations of a few hundred: signatures and JSON are nearly
// all of what [Judge] costs. A statement is opened by the policy of the bench;
// those it judges by must have the same operators with the same keys.
type Bench struct {
	policy *Policy
	plan   *planIndex
	now    time.Time
}

// Opened is a statement as [Judge] opens it.
type Opened = opened

// NewBench makes a bench for a plan, a time, and the operators of a policy.
func NewBench(policy *Policy, p *Plan, now time.Time) *Bench {
	return &Bench{policy, newPlanIndex(p), now}
}

// Open opens one statement.
func (b *Bench) Open(raw []byte) Opened {
	return newJudge(b.policy, b.plan, nil, nil, b.now).open([][]byte{raw})[0]
}

// Judge does what [Judge] does once its statements are opened.
func (b *Bench) Judge(policy *Policy, statements []Opened, waivers []Waiver) (*Verdict, error) {
	return b.JudgeLogged(policy, statements, nil, waivers)
}

// JudgeLogged is [Bench.Judge] with a chain. Its statements were opened without,
// so their keys must count at any time; the chain may have been verified by
// another policy.
func (b *Bench) JudgeLogged(policy *Policy, statements []Opened, chain *Chain, waivers []Waiver) (*Verdict, error) {
	waived, err := waivedStatements(waivers)
	if err != nil {
		return nil, err
	}
	return newJudge(policy, b.plan, chain, waivers, b.now).decide(statements, waived)
}

// OpenedBy returns the key of the policy that signed a statement, "" if none.
func OpenedBy(o Opened) KeyID { return o.by }

// Cut is the chain as a release saw it that was proposed at a leaf.
func (c *Chain) Cut(seq int64) (*Chain, error) { return c.cut(seq) }

// Ballot is a vote of an operator with an environment.
type Ballot = ballot

// NewBallot makes one without the result that it would come from.
func NewBallot(operator string, e Environment) Ballot {
	return ballot{operator, &verifiedResult{result: Result{Operator: operator, Environment: e}}}
}

// Shortfalls is the evaluator of quorum and diversity alone.
func (p *Policy) Shortfalls(ballots []Ballot) []Shortfall { return p.shortfalls(ballots) }

// Cast returns how many votes the value of a verdict has.
func (v *Verdict) Cast() int { return len(v.winners) }

// Forge rewrites a release's payload as someone could who holds it and signs
// what no verdict says.
func Forge(payload []byte, change func(*Release)) ([]byte, error) {
	var r Release
	if err := decodeRelease(&Signed{payload: payload}, &r); err != nil {
		return nil, err
	}
	change(&r)
	var err error
	if r.Snapshot, err = r.snapshot(); err != nil {
		return nil, err
	}
	return encodeStatement(document.Release.MaxBytes, PredicateRelease, r.subjects(), r)
}
