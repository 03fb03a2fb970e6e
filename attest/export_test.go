package attest

import (
	"time"

	"rebuild/internal/document"
)

// Verifies is the check that every signature goes through.
func (k PublicKey) Verifies(message, sig []byte) bool { return k.verifies(message, sig) }

// VerifiesAgain is [PublicKey.Verifies] with the policy's memory of signatures.
func (p *Policy) VerifiesAgain(k PublicKey, message, sig []byte) bool {
	return p.seen.verifies(k, message, sig)
}

// RememberedSignatures is how many signatures the policy remembers.
func (p *Policy) RememberedSignatures() int { return len(p.seen.good) }

// AllLeastSets are the sets that an explanation chooses from.
func (p *Policy) AllLeastSets(open []string) [][]string { return p.allLeastSets(nil, open) }

// LeastSets are those that an explanation lists.
func (p *Policy) LeastSets(open []string) Sets { return p.leastSets(nil, open) }

// Enough puts a set of operators to the evaluator.
func (p *Policy) Enough(operators []string) bool { return p.enough(nil, operators) }

// WithLog is the policy with a log and witnesses, as it would read.
func (p *Policy) WithLog(origin, key, maxAge string, need int, witnesses ...string) *Policy {
	q := *p
	q.doc.Log, q.doc.Witnesses = &logDoc{origin, key, maxAge}, &rootDoc{need, witnesses}
	image, err := document.Encode(q.doc)
	if err != nil {
		panic(err)
	}
	q.image = image
	return &q
}

// Resource is the resourceUri of a release, whose locators no world varies.
func (r *Release) Resource() string { return r.resource() }

// SummariseVerdicts is what a release of several builds comes to.
func SummariseVerdicts(verdicts ...*Verdict) (outcome string, levels []string, err error) {
	return summariseVerdicts(verdicts)
}

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
	r, err := new(signatures).readResult(signed, operator)
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

// Account describes the chain.
func (c *Chain) Account() *LogAccount { return c.account() }
