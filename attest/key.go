package attest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"math/big"
	"slices"

	"rebuild/internal/fault"
	"rebuild/store"
)

// PublicKey is an ed25519 key. Two keys are the same exactly when their bytes
// are; nothing else about a key identifies it.
type PublicKey [ed25519.PublicKeySize]byte

// KeyID is the sha256 of a raw public key: a hint for looking a key up, never
// a proof of which key signed.
type KeyID string

// ParsePublicKey reads a key's text, the standard base64 of its 32 bytes.
// Text that is not exactly that is STRUCTURE. A non-canonical encoding, a
// point that is not on the curve and a point of small order, under which a
// signature can fit any message, are KEY_WEAK.
func ParsePublicKey(s string) (PublicKey, error) {
	raw, err := decodeBase64(s)
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return PublicKey{}, fault.New(fault.Structure, "%.60q is not the base64 of a public key of 32 bytes", s).
			WithHint("give the key as rebuild key new printed it")
	}
	k := PublicKey(raw)
	return k, k.check()
}

// String returns the key's text.
func (k PublicKey) String() string { return base64.StdEncoding.EncodeToString(k[:]) }

// ID returns the key's id.
func (k PublicKey) ID() KeyID { return KeyID(store.DigestOf(k[:])) }

// Fingerprint returns what ssh-keygen -l prints for the key, to show to
// people wherever a key is named: the hash of the key in SSH's wire form
// (RFC 8709, 4), two strings behind their lengths.
func (k PublicKey) Fingerprint() string {
	const name = "\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20"
	sum := sha256.Sum256(append([]byte(name), k[:]...))
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// verifies says whether sig is k's signature of message.
func (k PublicKey) verifies(message, sig []byte) bool {
	return ed25519.Verify(k[:], message, sig)
}

// curve holds the constants of edwards25519 that [PublicKey.check] needs.
var curve = struct{ p, d, y8 *big.Int }{
	p: hexInt("7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed"),
	d: hexInt("52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3"),
	// y of the points of order 8, up to its sign
	y8: hexInt("7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7"),
}

func hexInt(s string) *big.Int {
	n, _ := new(big.Int).SetString(s, 16)
	return n
}

// check refuses the keys for which a valid signature proves nothing, and
// those for which none can exist. All points of small order have one of five
// y coordinates: 0, 1, -1 and plus or minus y8.
func (k PublicKey) check() error {
	le := k
	le[31] &= 0x7f // the top bit is the sign of x
	slices.Reverse(le[:])
	y := new(big.Int).SetBytes(le[:])
	if y.Cmp(curve.p) >= 0 {
		return fault.New(fault.KeyWeak, "public key %s (%s) is not in canonical form", k, k.Fingerprint())
	}
	one := big.NewInt(1)
	for _, low := range []*big.Int{new(big.Int), one, curve.y8} {
		negated := new(big.Int).Sub(curve.p, low)
		if y.Cmp(low) == 0 || y.Cmp(negated) == 0 {
			return fault.New(fault.KeyWeak, "public key %s (%s) has small order, anyone can sign for it", k, k.Fingerprint())
		}
	}
	// x^2 = (y^2-1)/(d y^2+1) has a root exactly if the product has one.
	y2 := new(big.Int).Mul(y, y)
	u := new(big.Int).Sub(y2, one)
	v := new(big.Int).Add(new(big.Int).Mul(curve.d, y2), one)
	if big.Jacobi(u.Mul(u, v).Mod(u, curve.p), curve.p) != 1 {
		return fault.New(fault.KeyWeak, "public key %s (%s) is not a point of the curve", k, k.Fingerprint())
	}
	return nil
}

// Signer signs with one ed25519 key, wherever the key is.
type Signer interface {
	// Public returns the key that the signatures verify under.
	Public() PublicKey
	// Sign returns the ed25519 signature of message, 64 bytes.
	Sign(message []byte) ([]byte, error)
}

// PrivateKey is an ed25519 key in memory. It prints as its public half.
type PrivateKey struct{ key ed25519.PrivateKey }

var _ Signer = (*PrivateKey)(nil)

// NewPrivateKey makes a key from 32 bytes of random.
func NewPrivateKey(random io.Reader) (*PrivateKey, error) {
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(random, seed); err != nil {
		return nil, fault.New(fault.Internal, "reading randomness for a key: %w", err)
	}
	return &PrivateKey{ed25519.NewKeyFromSeed(seed)}, nil
}

// Public returns the public half.
func (k *PrivateKey) Public() PublicKey { return PublicKey(k.key.Public().(ed25519.PublicKey)) }

// Sign returns the signature of message. It does not fail.
func (k *PrivateKey) Sign(message []byte) ([]byte, error) { return ed25519.Sign(k.key, message), nil }

// String returns the public half, so that no log line shows the key.
func (k *PrivateKey) String() string { return k.Public().String() }

// Ed25519 returns the key itself, for a file or a program that is to hold it.
func (k *PrivateKey) Ed25519() ed25519.PrivateKey { return bytes.Clone(k.key) }

// GoString returns the public half too.
func (k *PrivateKey) GoString() string { return k.String() }

var strictBase64 = base64.StdEncoding.Strict()

// decodeBase64 accepts exactly what encoding writes: full padding, no stray
// bits and, unlike encoding/base64, no line breaks.
func decodeBase64(s string) ([]byte, error) {
	raw, err := strictBase64.DecodeString(s)
	if err != nil || strictBase64.EncodedLen(len(raw)) != len(s) { // a line break adds to the length and says nothing
		return nil, errors.New("not standard base64 in its one form")
	}
	return raw, nil
}
