package attest

import (
	"bytes"
	"cmp"
	"slices"
	"sync"

	"rebuild/store"
)

// maxSeen is of how many plans the chains are remembered.
const maxSeen = 256

// seen remembers what was verified by a policy's log, by its bytes: a
// checkpoint, and of each plan the longest chain. Releases of one plan name
// beginnings of one chain, so a thousand of them would verify a million leaves.
// What failed is never remembered. All bytes are copies of its own.
type seen struct {
	mu     sync.Mutex
	signed []byte // the note of head
	head   checkpoint
	chains map[store.Digest]*Chain // by plan
}

// checkpoint returns what open makes of a signed note.
func (s *seen) checkpoint(signed []byte, open func([]byte) (*checkpoint, error)) (*checkpoint, error) {
	s.mu.Lock()
	head, same := s.head, len(signed) > 0 && bytes.Equal(s.signed, signed)
	s.mu.Unlock()
	if same {
		return &head, nil
	}
	c, err := open(signed)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.signed, s.head = bytes.Clone(signed), *c
	return c, nil
}

// chain returns the chain of a plan with these events, if one that was verified
// begins with them; nil if not. Its head is of another proof.
func (s *seen) chain(policy, plan store.Digest, events []byte) *Chain {
	s.mu.Lock()
	whole := s.chains[plan]
	s.mu.Unlock()
	if whole == nil || whole.policy != policy || !bytes.HasPrefix(whole.raw, events) {
		return nil
	}
	i, ends := slices.BinarySearchFunc(whole.leaves, len(events), func(l leaf, end int) int { return cmp.Compare(l.end, end) })
	if !ends {
		return nil
	}
	then := *whole
	then.leaves, then.raw = whole.leaves[:i+1], whole.raw[:len(events)]
	return &then
}

// keep remembers a chain that was verified.
func (s *seen) keep(c *Chain) {
	kept := *c
	kept.raw = bytes.Clone(c.raw)
	s.mu.Lock()
	defer s.mu.Unlock()
	if there := s.chains[c.plan]; there != nil && len(there.raw) >= len(kept.raw) {
		return
	}
	if s.chains == nil || len(s.chains) >= maxSeen {
		s.chains = map[store.Digest]*Chain{} // they are verified again
	}
	s.chains[c.plan] = &kept
}
