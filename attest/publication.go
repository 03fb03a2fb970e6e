package attest

import (
	"slices"
	"time"

	"rebuild/store"
)

// Publication is a release that may be published: its signatures, its
// evidence and its archive were verified together. Only [NewPublication] and
// [Admit] make one, so an index can not take in what was not verified.
type Publication struct {
	signed   *SignedRelease
	envelope *Envelope
	evidence Evidence
	pkg      *Package
	account  *Account
}

// NewPublication verifies a bundle and its archive by a policy at a time. The
// errors are those of [Verify].
func NewPublication(policy *Policy, b *Bundle, archive []byte, now time.Time) (*Publication, error) {
	signed, verdicts, err := VerifyRelease(policy, b, now)
	if err != nil {
		return nil, err
	}
	return newPublication(policy, b, archive, signed, verdicts, now)
}

// Admit is [NewPublication] for who keeps the log and is about to enter the
// release into it: the chains of its plans need not end with the release yet.
// Everything that is in them by now is judged. at is when the release's leaf
// will be dated.
func Admit(policy *Policy, b *Bundle, archive []byte, at time.Time) (*Publication, error) {
	signed, verdicts, _, err := verifyRelease(policy, b, at)
	if err != nil {
		return nil, err
	}
	return newPublication(policy, b, archive, signed, verdicts, at)
}

func newPublication(policy *Policy, b *Bundle, archive []byte, signed *SignedRelease, verdicts []*Verdict, now time.Time) (*Publication, error) {
	pkg, err := signed.release.OpenArchive(archive)
	if err != nil {
		return nil, err
	}
	envelope, err := ParseEnvelope(bundleRelease, b.Release)
	if err != nil {
		return nil, err
	}
	account := newAccount(policy, signed, verdicts, now)
	account.Compared = []string{"archive"}
	return &Publication{signed, envelope, b.Evidence, pkg, account}, nil
}

// Account returns what was found when the publication was verified.
func (p *Publication) Account() *Account {
	a := *p.account
	a.Compared, a.Notes = slices.Clone(a.Compared), slices.Clone(a.Notes)
	return &a
}

// Matched notes what else the release was compared with and found equal to,
// for the account.
func (p *Publication) Matched(what ...string) {
	p.account.Compared = slices.Concat(what, p.account.Compared)
}

// Release returns the verified release.
func (p *Publication) Release() *SignedRelease { return p.signed }

// Document returns the package's metadata.
func (p *Publication) Document() PackageDocument { return p.pkg.Document() }

// SignedBy says whether a key has signed the release.
func (p *Publication) SignedBy(k PublicKey) bool {
	s, err := p.envelope.Verify([]PublicKey{k})
	return err == nil && slices.Contains(s.by, k)
}

// Envelopes returns the release's envelope and those of all statements, by
// the digests of their payloads.
func (p *Publication) Envelopes() map[store.Digest][]byte {
	out := map[store.Digest][]byte{p.signed.digest: p.signed.envelope}
	for _, b := range p.evidence.Builds {
		for _, raw := range b.Statements {
			if e, err := ParseEnvelope("statement", raw); err == nil {
				out[e.Digest()] = raw
			}
		}
	}
	return out
}

// Objects returns everything else that belongs to the release, by digest: the
// archive, its metadata files, the plans, the lock and the released manifests.
func (p *Publication) Objects() map[store.Digest][]byte {
	out := blobMap(p.evidence.Objects)
	for _, b := range p.evidence.Builds {
		out[store.DigestOf(b.Plan)] = b.Plan
	}
	if p.evidence.Lock != nil {
		out[store.DigestOf(p.evidence.Lock)] = p.evidence.Lock
	}
	out[p.pkg.cksum] = p.pkg.archive
	for name, raw := range p.pkg.metadata {
		out[p.pkg.digests[name]] = raw
	}
	return out
}
