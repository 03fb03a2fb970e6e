package attest

import (
	"rebuild/internal/document"
	"rebuild/internal/fault"
)

// What can be verified without a policy: that those who call themselves the
// owners have signed. It names nobody and is no quorum; a client compares the
// owners with those that it saw before.

// ReadOwned returns what a release's envelope says, once every owner that it
// names has signed it (SIGNATURE_INVALID).
func ReadOwned(e *Envelope) (Release, error) {
	var r Release
	if err := decodeRelease(&Signed{payload: e.payload}, &r); err != nil {
		return r, err
	}
	return r, checkOwnerSignatures(e, nil, r.OwnerKeys(), r.Name+" "+r.Version, nil)
}

// SignedBy says which of some keys have signed an envelope. A known key with a
// wrong signature is SIGNATURE_INVALID.
func (e *Envelope) SignedBy(keys []PublicKey) ([]PublicKey, error) {
	signed, err := e.Verify(keys)
	if fault.CodeOf(err) == fault.KeyUnknown {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return signed.By(), nil
}

// ReadOwnedYank returns what a yank statement about an archive says, once every
// owner has signed it. Of a version without owners nobody's signature can be
// asked for without a policy.
func ReadOwnedYank(e *Envelope, owners []PublicKey, cksum string) (Yank, error) {
	var y Yank
	if err := checkOwnerSignatures(e, nil, owners, "the yank statement", nil); err != nil {
		return y, err
	}
	return y, y.read(&Signed{payload: e.payload}, cksum)
}

// read parses a payload whose signatures were checked.
func (y *Yank) read(signed *Signed, cksum string) error {
	subjects, err := decodeStatement(signed, PredicateYank, document.Yank, y)
	if err != nil {
		return err
	}
	if err := y.validate(); err != nil {
		return err
	}
	return checkSubjects(subjects, yankSubjects(cksum))
}
