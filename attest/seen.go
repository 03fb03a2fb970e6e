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
	maxEnvelopes  = 256     // and results
	maxRemembered = 1 << 20 // bytes of all envelopes, and of all results
)

// signatures remembers which were verified, by the hash of key, signature and
// message, the form of the envelopes that they stand in, and what signed results,
// releases and their plans say, by their digest. A
// release is read before its evidence is gathered and judged with it, and
// releases of one plan have the same statements. What failed is never
// remembered.
type signatures struct {
	mu        sync.Mutex
	good      map[[sha256.Size]byte]bool
	envelopes memory[[sha256.Size]byte, *Envelope] // by their bytes
	results   memory[store.Digest, *signedResult]  // by payload; who signed is not remembered
	releases  map[store.Digest]Release
	plans     map[store.Digest]*planIndex
}

// envelope is [ParseEnvelope] with a memory. Nobody changes what it returns.
func (s *signatures) envelope(file string, data []byte) (*Envelope, error) {
	id := sha256.Sum256(data)
	s.mu.Lock()
	known := s.envelopes.all[id]
	s.mu.Unlock()
	if known != nil {
		return known, nil
	}
	e, err := ParseEnvelope(file, data)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.envelopes.keep(id, e, len(data))
	return e, nil
}

// memory is what is remembered of small things: it is forgotten when it is full.
type memory[K comparable, V any] struct {
	all  map[K]V
	size int // bytes
}

func (m *memory[K, V]) keep(key K, value V, size int) {
	if size > maxRemembered/8 {
		return // too large to be worth what would be forgotten for it
	}
	if m.all == nil || len(m.all) >= maxEnvelopes || m.size+size > maxRemembered {
		m.all, m.size = map[K]V{}, 0
	}
	m.all[key] = value
	m.size += size
}

// result returns what a payload says, decoded by [decodeResult].
func (s *signatures) result(signed *Signed) (*signedResult, error) {
	s.mu.Lock()
	known := s.results.all[signed.Digest()]
	s.mu.Unlock()
	if known != nil {
		return known, nil
	}
	r := &signedResult{}
	var err error
	if r.subjects, err = decodeResult(signed, &r.result); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.results.keep(signed.Digest(), r, len(signed.payload))
	return r, nil
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
