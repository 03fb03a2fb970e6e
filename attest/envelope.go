package attest

import (
	"bytes"
	"crypto/ed25519"
	"slices"
	"strconv"
	"strings"

	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// PayloadType is the payloadType of every envelope.
const PayloadType = "application/vnd.in-toto+json"

// MaxSignatures is the most signatures that an envelope holds.
const MaxSignatures = 32

// MaxEnvelope is the largest envelope in bytes: a payload of 1 MiB in base64
// and 32 signatures of at most 200 bytes each.
const MaxEnvelope = 3 << 19

// EnvelopeSuffix ends the name of every file that holds an envelope; before it
// stands the hex of the payload's digest (index.md 7 and 8).
const EnvelopeSuffix = ".dsse.json"

// Envelope is a DSSE envelope whose form was checked and whose signatures
// were not. What it says is out of reach until [Envelope.Verify].
type Envelope struct {
	payload    []byte
	signatures []signature
	raw        string
	digest     store.Digest // of payload; "" in one that was not parsed
}

type signature struct {
	keyID KeyID // "" if not given
	sig   []byte
}

type envelopeJSON struct {
	Payload     string          `json:"payload"`
	PayloadType string          `json:"payloadType"`
	Signatures  []signatureJSON `json:"signatures"`
}

type signatureJSON struct {
	KeyID string `json:"keyid,omitempty"`
	Sig   string `json:"sig"`
}

// PAE returns the bytes that are signed for a payload of a type: DSSE's
// pre-authentication encoding, in which no two pairs have one form.
func PAE(payloadType string, payload []byte) []byte {
	begin := "DSSEv1 " + strconv.Itoa(len(payloadType)) + " " + payloadType + " " + strconv.Itoa(len(payload)) + " "
	return append(append(make([]byte, 0, len(begin)+len(payload)), begin...), payload...)
}

// Sign puts payload into an envelope with one signature of each signer,
// sorted by key id.
func Sign(payload []byte, signers ...Signer) ([]byte, error) {
	e := &Envelope{payload: payload}
	for _, s := range signers {
		if err := e.sign(s); err != nil {
			return nil, err
		}
	}
	return e.encode()
}

// Merge returns an envelope with the signatures of both, which must have the
// same payload (EVIDENCE_MISMATCH). A signature that stands in both is kept
// once.
func Merge(a, b *Envelope) ([]byte, error) {
	if !bytes.Equal(a.payload, b.payload) {
		return nil, fault.New(fault.EvidenceMismatch, "the envelopes are about %s and %s", a.Digest(), b.Digest())
	}
	merged := &Envelope{payload: a.payload, signatures: slices.Clone(a.signatures)}
	for _, s := range b.signatures {
		if !slices.ContainsFunc(merged.signatures, s.equal) {
			merged.signatures = append(merged.signatures, s)
		}
	}
	return merged.encode()
}

func (s signature) equal(o signature) bool { return s.keyID == o.keyID && bytes.Equal(s.sig, o.sig) }

// Retain returns an envelope with one signature of each of keys that signed,
// and no other. KEY_UNKNOWN if none did.
func (e *Envelope) Retain(keys []PublicKey) ([]byte, error) {
	ring := newKeyring(keys)
	kept := &Envelope{payload: e.payload}
	seen := map[PublicKey]bool{}
	for _, s := range e.signatures {
		key, err := s.verify(PAE(PayloadType, e.payload), ring)
		if err == nil && key != nil && !seen[*key] {
			seen[*key] = true
			kept.signatures = append(kept.signatures, signature{key.ID(), s.sig})
		}
	}
	if len(kept.signatures) == 0 {
		return nil, fault.New(fault.KeyUnknown, "no signature on %s is by a key that counts for it", e.Digest())
	}
	return kept.encode()
}

// sign adds s's signature unless an equal one stands there; ed25519 is
// deterministic, so signing twice changes nothing.
func (e *Envelope) sign(s Signer) error {
	sig, err := s.Sign(PAE(PayloadType, e.payload))
	if err != nil {
		return err
	}
	if key := s.Public(); !key.verifies(PAE(PayloadType, e.payload), sig) {
		return fault.New(fault.SignatureInvalid, "the signer of key %s returned a signature that does not verify", key.Fingerprint())
	}
	added := signature{s.Public().ID(), sig}
	if !slices.ContainsFunc(e.signatures, added.equal) {
		e.signatures = append(e.signatures, added)
	}
	return nil
}

func (e *Envelope) encode() ([]byte, error) {
	if n := len(e.signatures); n == 0 || n > MaxSignatures {
		return nil, fault.New(fault.Semantic, "%d signatures, an envelope has 1 to %d", n, MaxSignatures)
	}
	slices.SortStableFunc(e.signatures, func(a, b signature) int { return strings.Compare(string(a.keyID), string(b.keyID)) })
	out := envelopeJSON{Payload: strictBase64.EncodeToString(e.payload), PayloadType: PayloadType}
	for _, s := range e.signatures {
		out.Signatures = append(out.Signatures, signatureJSON{string(s.keyID), strictBase64.EncodeToString(s.sig)})
	}
	return document.Encode(out)
}

// ParseEnvelope checks the form of an envelope: canonical JSON, the one
// payload type, strict base64, 1 to 32 signatures of 64 bytes. The payload
// itself is not looked at. Errors are PARSE or STRUCTURE.
func ParseEnvelope(file string, data []byte) (*Envelope, error) {
	if len(data) > MaxEnvelope {
		return nil, fault.New(fault.Parse, "%d bytes, at most %d are allowed", len(data), MaxEnvelope).At(file, 0)
	}
	raw := string(data)
	if e := takeApart(raw); e != nil {
		return e, nil
	}
	var in envelopeJSON
	if err := document.DecodeStrict(file, data, &in); err != nil {
		return nil, err
	}
	if in.PayloadType != PayloadType {
		return nil, fault.New(fault.Structure, "payloadType %.80q is not %s", in.PayloadType, PayloadType).At(file, 0)
	}
	payload, err := decodeBase64(in.Payload)
	if err != nil {
		return nil, fault.New(fault.Parse, "payload is %w", err).At(file, 0)
	}
	if n := len(in.Signatures); n == 0 || n > MaxSignatures {
		return nil, fault.New(fault.Structure, "%d signatures, an envelope has 1 to %d", n, MaxSignatures).At(file, 0)
	}
	e := &Envelope{payload: payload, raw: raw, digest: store.DigestOf(payload)}
	for _, s := range in.Signatures {
		sig, err := decodeBase64(s.Sig)
		if err != nil || len(sig) != ed25519.SignatureSize {
			return nil, fault.New(fault.Parse, "a signature is not the base64 of 64 bytes").At(file, 0)
		}
		e.signatures = append(e.signatures, signature{KeyID(s.KeyID), sig})
	}
	return e, nil
}

// takeApart reads an envelope with one signature by a key of ours, in the bytes
// that [Envelope.encode] writes: that leaves nothing open that a decoder of
// JSON could say more about, and nearly all envelopes are so. It returns nil
// for any other, sound or not.
func takeApart(raw string) *Envelope {
	const begin, middle, end = `{"payload":"`, `","payloadType":"` + PayloadType + `","signatures":[{"keyid":"`, `"}]}`
	payload, rest, found := strings.Cut(raw, middle)
	keyID, sig, signed := strings.Cut(rest, `","sig":"`)
	if !found || !signed || !strings.HasPrefix(payload, begin) || !strings.HasSuffix(sig, end) {
		return nil
	}
	if _, err := store.ParseDigest(keyID); err != nil {
		return nil
	}
	content, err := decodeBase64(payload[len(begin):])
	if err != nil {
		return nil
	}
	s := signature{keyID: KeyID(keyID)}
	if s.sig, err = decodeBase64(sig[:len(sig)-len(end)]); err != nil || len(s.sig) != ed25519.SignatureSize {
		return nil
	}
	return &Envelope{payload: content, signatures: []signature{s}, raw: raw, digest: store.DigestOf(content)}
}

// Digest returns the envelope's address: the sha256 of its payload, which
// stays the same when signatures are added.
func (e *Envelope) Digest() store.Digest {
	if e.digest == "" {
		return store.DigestOf(e.payload)
	}
	return e.digest
}

// Bytes returns the envelope as it was parsed.
func (e *Envelope) Bytes() []byte { return []byte(e.raw) }

// Signed is a payload that at least one known key signed. Only
// [Envelope.Verify] makes one, and the content of a statement is reached only
// through one.
type Signed struct {
	payload []byte
	digest  store.Digest // of payload; "" in one that [Envelope.Verify] did not make
	by      []PublicKey
}

// Payload returns the signed bytes.
func (s *Signed) Payload() []byte { return bytes.Clone(s.payload) }

// Digest returns the sha256 of the payload.
func (s *Signed) Digest() store.Digest {
	if s.digest == "" {
		return store.DigestOf(s.payload)
	}
	return s.digest
}

// By returns the distinct keys that signed, in the order of the envelope.
func (s *Signed) By() []PublicKey { return slices.Clone(s.by) }

// Verify checks every signature against keys, over the raw payload.
//
// A signature under one of keys that does not verify rejects the envelope
// (SIGNATURE_INVALID), as does a keyid that names another key than the one
// that verifies (STRUCTURE). Signatures of other keys say nothing; if there
// is no other, the error is KEY_UNKNOWN. A keyid alone never decides.
func (e *Envelope) Verify(keys []PublicKey) (*Signed, error) { return e.verify(newKeyring(keys)) }

func (e *Envelope) verify(keys keyring) (*Signed, error) {
	message := PAE(PayloadType, e.payload)
	out := &Signed{payload: e.payload, digest: e.Digest()}
	for _, s := range e.signatures {
		key, err := s.verify(message, keys)
		if err != nil {
			return nil, err
		}
		if key != nil && !slices.Contains(out.by, *key) {
			out.by = append(out.by, *key)
		}
	}
	if len(out.by) == 0 {
		return nil, fault.New(fault.KeyUnknown, "no signature on %s is by a known key", e.Digest()).
			WithHint("add the signer's key to the policy if it is trusted")
	}
	return out, nil
}

// keyring are keys with the ids under which envelopes hint at them.
type keyring struct {
	keys []PublicKey
	byID map[KeyID]int
	seen *signatures // nil: nothing is remembered
}

func newKeyring(keys []PublicKey) keyring {
	r := keyring{keys: keys, byID: make(map[KeyID]int, len(keys))}
	for i := range keys {
		r.byID[keys[i].ID()] = i
	}
	return r
}

// remembering returns the keyring with a memory of what it verified.
func (r keyring) remembering(seen *signatures) keyring {
	r.seen = seen
	return r
}

// verify returns the key of keys that made s, or nil if none did. The key that
// the keyid hints at is tried first, and it alone if it is known.
func (s signature) verify(message []byte, keys keyring) (*PublicKey, error) {
	if i, known := keys.byID[s.keyID]; known {
		key := &keys.keys[i]
		if !keys.seen.verifies(*key, message, s.sig) {
			return nil, fault.New(fault.SignatureInvalid, "the signature by key %s is wrong", key.Fingerprint()).
				WithHint("get the document again from who signed it")
		}
		return key, nil
	}
	for i := range keys.keys {
		key := &keys.keys[i]
		if keys.seen.verifies(*key, message, s.sig) {
			if s.keyID != "" {
				return nil, fault.New(fault.Structure, "keyid %.80q is not the key that signed, %s", s.keyID, key.ID())
			}
			return key, nil
		}
	}
	return nil, nil
}
