package attest

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/crypto/ssh"

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
		return PublicKey{}, fault.New(fault.Structure, "%.60q is not the base64 of a public key of 32 bytes", s)
	}
	k := PublicKey(raw)
	return k, k.check()
}

// String returns the key's text.
func (k PublicKey) String() string { return base64.StdEncoding.EncodeToString(k[:]) }

// ID returns the key's id.
func (k PublicKey) ID() KeyID { return KeyID(store.DigestOf(k[:])) }

// Fingerprint returns what ssh-keygen -l prints for the key, to show to
// people wherever a key is named.
func (k PublicKey) Fingerprint() string {
	p, err := ssh.NewPublicKey(ed25519.PublicKey(k[:]))
	if err != nil {
		return string(k.ID()) // the length is right, so this does not happen
	}
	return ssh.FingerprintSHA256(p)
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

// GoString returns the public half too.
func (k *PrivateKey) GoString() string { return k.String() }

// maxKeyFile bounds what is read as a key file, which has about 500 bytes.
const maxKeyFile = 64 << 10

// ReadPrivateKey reads an OpenSSH key file. It refuses a file that group or
// others can read (KEY_WEAK) and any other kind of key
// (SIGNATURE_UNSUPPORTED). passphrase is called only for an encrypted key, and
// what it returns is overwritten; nil means that there is none to give.
func ReadPrivateKey(path string, passphrase func() ([]byte, error)) (*PrivateKey, error) {
	text, err := readPrivateFile(path)
	if err != nil {
		return nil, err
	}
	raw, err := ssh.ParseRawPrivateKey(text)
	var missing *ssh.PassphraseMissingError
	if errors.As(err, &missing) {
		if passphrase == nil {
			return nil, fault.New(fault.Usage, "the key is encrypted and no passphrase is given").At(path, 0)
		}
		secret, perr := passphrase()
		if perr != nil {
			return nil, perr
		}
		raw, err = ssh.ParseRawPrivateKeyWithPassphrase(text, secret)
		clear(secret)
		if errors.Is(err, x509.IncorrectPasswordError) {
			return nil, fault.New(fault.Usage, "the passphrase does not open the key").At(path, 0).
				WithHint("give the passphrase that the key was encrypted with")
		}
	}
	if err != nil {
		return nil, fault.New(fault.Parse, "not a readable OpenSSH key file: %w", err).At(path, 0)
	}
	key, ok := raw.(*ed25519.PrivateKey)
	if !ok {
		return nil, fault.New(fault.SignatureUnsupported, "the key is not ed25519").At(path, 0).
			WithHint("make a key with: rebuild key new")
	}
	if fresh := ed25519.NewKeyFromSeed(key.Seed()); !bytes.Equal(fresh, *key) {
		return nil, fault.New(fault.KeyWeak, "the public half does not belong to the private half").At(path, 0)
	}
	return &PrivateKey{*key}, nil
}

func readPrivateFile(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // not to hang on a fifo
	if err != nil {
		return nil, fault.New(fault.Usage, "reading the key file: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	switch {
	case err != nil:
		return nil, fault.New(fault.Usage, "reading the key file: %w", err)
	case !st.Mode().IsRegular():
		return nil, fault.New(fault.Usage, "the key file is not a regular file").At(path, 0)
	case st.Mode().Perm()&0o077 != 0:
		return nil, fault.New(fault.KeyWeak, "the private key is open to others, its mode is %04o", st.Mode().Perm()).
			At(path, 0).WithHint("chmod 600 %s", path)
	case st.Size() > maxKeyFile:
		return nil, fault.New(fault.Parse, "%d bytes is too much for a key file", st.Size()).At(path, 0)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, fault.New(fault.Usage, "reading the key file: %w", err)
	}
	return text, nil
}

// WritePrivateKey writes an OpenSSH key file with mode 0600, encrypted unless
// passphrase is empty. It never replaces a file (USAGE), because a key that is
// overwritten is lost. A crash leaves at worst an incomplete new file.
func WritePrivateKey(path string, k *PrivateKey, comment string, passphrase []byte) error {
	var block *pem.Block
	var err error
	if len(passphrase) > 0 {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(k.key, comment, passphrase)
	} else {
		block, err = ssh.MarshalPrivateKey(k.key, comment)
	}
	if err != nil {
		return fault.New(fault.Internal, "encoding the key: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fault.New(fault.Usage, "the key file exists and is not replaced").At(path, 0).
			WithHint("choose another file name")
	}
	if err != nil {
		return fault.New(fault.Usage, "writing the key file: %w", err)
	}
	_, err = f.Write(pem.EncodeToMemory(block))
	if err := errors.Join(err, f.Chmod(0o600), f.Sync(), f.Close()); err != nil {
		os.Remove(path) // nothing but a part of a key nobody has used
		return fault.New(fault.Internal, "writing the key file: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fault.New(fault.Internal, "writing the key file: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fault.New(fault.Internal, "writing the key file: %w", err)
	}
	return nil
}

var strictBase64 = base64.StdEncoding.Strict()

// decodeBase64 accepts exactly what encoding writes: full padding, no stray
// bits and, unlike encoding/base64, no line breaks.
func decodeBase64(s string) ([]byte, error) {
	raw, err := strictBase64.DecodeString(s)
	if err != nil || strictBase64.EncodeToString(raw) != s {
		return nil, errors.New("not standard base64 in its one form")
	}
	return raw, nil
}
