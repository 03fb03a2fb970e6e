package attest

import (
	"rebuild/internal/document"
)

// What the tests of keys and explanations look at.

// Verifies is the check that every signature goes through.
func (k PublicKey) Verifies(message, sig []byte) bool { return k.verifies(message, sig) }

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
