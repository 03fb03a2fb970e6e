package attest

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
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

// How many of each are remembered.
const (
	maxSignatures = 4096
	maxReleases   = 256
	maxPlans      = 16
)

// signatures remembers which were verified, by the hash of key, signature and
// message, and what signed releases and their plans say, by their digest. A
// release is read before its evidence is gathered and judged with it, and
// releases of one plan have the same statements. What failed is never
// remembered.
type signatures struct {
	mu       sync.Mutex
	good     map[[sha256.Size]byte]bool
	releases map[store.Digest]Release
	plans    map[store.Digest]*planIndex
}

// plan returns the plan that data with a digest is. Nobody changes it.
func (s *signatures) plan(digest store.Digest, data []byte) (*planIndex, error) {
	s.mu.Lock()
	known := s.plans[digest]
	s.mu.Unlock()
	if known != nil {
		return known, nil
	}
	p, err := DecodePlan("plan "+string(digest), data)
	if err != nil {
		return nil, err
	}
	ix := indexPlan(p, digest)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.plans == nil || len(s.plans) >= maxPlans {
		s.plans = map[store.Digest]*planIndex{} // they are decoded again
	}
	s.plans[digest] = ix
	return ix, nil
}

// release returns what a payload says, decoded by [decodeRelease].
func (s *signatures) release(signed *Signed) (Release, error) {
	s.mu.Lock()
	r, known := s.releases[signed.Digest()]
	s.mu.Unlock()
	if known {
		return r, nil
	}
	if err := decodeRelease(signed, &r); err != nil {
		return Release{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.releases == nil || len(s.releases) >= maxReleases {
		s.releases = map[store.Digest]Release{} // they are decoded again
	}
	s.releases[signed.Digest()] = r
	return r, nil
}

// verifies is [PublicKey.verifies] with a memory, without one for nil.
func (s *signatures) verifies(key PublicKey, message, sig []byte) bool {
	if s == nil || len(sig) != ed25519.SignatureSize { // of another size, sig could begin the message
		return key.verifies(message, sig)
	}
	h := sha256.New()
	h.Write(key[:])
	h.Write(sig)
	h.Write(message)
	id := [sha256.Size]byte(h.Sum(nil))
	s.mu.Lock()
	known := s.good[id]
	s.mu.Unlock()
	if known {
		return true
	}
	if !key.verifies(message, sig) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.good == nil || len(s.good) >= maxSignatures {
		s.good = map[[sha256.Size]byte]bool{} // they are verified again
	}
	s.good[id] = true
	return true
}
