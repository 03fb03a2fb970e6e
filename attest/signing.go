package attest

import (
	"fmt"
	"slices"
	"strings"

	"rebuild/store"
)

// Signing is what a release asks its signers to say, and who has said it so
// far. It decides nothing: [SignRelease] judges what is signed, and
// [VerifyRelease] whether enough have.
type Signing struct {
	Release store.Digest    `json:"release"`
	Name    string          `json:"name"`
	Version string          `json:"version"`
	Targets []ReleaseTarget `json:"targets"` // of the builds in order
	Waivers []Waiver        `json:"waivers,omitempty"`
	Need    int             `json:"need"`              // signers of the policy
	Signed  []string        `json:"signed"`            // of them, valid now or not
	Owners  []string        `json:"owners"`            // fingerprints
	Missing []string        `json:"missing,omitempty"` // of Owners, who have not signed
}

// SigningOf reads a payload from [Propose] or an envelope. Signatures that are
// wrong count for nothing here.
func SigningOf(policy *Policy, data []byte) (*Signing, error) {
	e := &Envelope{payload: data}
	if parsed, err := ParseEnvelope("release", data); err == nil {
		e = parsed
	}
	var r Release
	if err := decodeRelease(&Signed{payload: e.payload}, &r); err != nil {
		return nil, err
	}
	s := &Signing{Release: e.Digest(), Name: r.Name, Version: r.Version, Waivers: r.Waivers, Need: policy.doc.Signers.Need, Signed: []string{}}
	if len(r.Waivers) > 0 {
		s.Need = policy.waiverNeed()
	}
	for _, b := range r.Builds {
		s.Targets = append(s.Targets, b.Targets...)
	}
	for _, k := range policy.signers {
		if e.signedBy(k.key) {
			s.Signed = append(s.Signed, k.name)
		}
	}
	for _, k := range r.OwnerKeys() {
		s.Owners = append(s.Owners, k.Fingerprint())
		if !e.signedBy(k) {
			s.Missing = append(s.Missing, k.Fingerprint())
		}
	}
	slices.Sort(s.Signed)
	return s, nil
}

func (e *Envelope) signedBy(k PublicKey) bool {
	_, err := e.Verify([]PublicKey{k})
	return err == nil
}

// Asked returns what is to be signed as text for people, a waiver with the
// reason that its author gave.
func (s *Signing) Asked() []string {
	out := []string{fmt.Sprintf("%s %s, release %s", s.Name, s.Version, s.Release)}
	for _, t := range s.Targets {
		out = append(out, fmt.Sprintf("image %s: tree %s, manifest %s", t.Name, t.Tree, t.Manifest))
	}
	out = append(out, "owned from now on by "+strings.Join(s.Owners, ", "))
	for _, w := range s.Waivers {
		out = append(out, fmt.Sprintf("warning: it overrules statement %s: %s", w.Statement, w.Reason))
	}
	return out
}

// Progress says in one line who has signed and who has not.
func (s *Signing) Progress() string {
	line := fmt.Sprintf("%d of %d signers needed have signed", len(s.Signed), s.Need)
	if len(s.Signed) > 0 {
		line += ": " + strings.Join(s.Signed, ", ")
	}
	if len(s.Missing) > 0 {
		line += "; not yet: owner " + strings.Join(s.Missing, ", owner ")
	}
	return line
}
