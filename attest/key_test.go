package attest_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/fault"
)

// The encodings of the points of order 1, 2, 4 and 8: eight canonical and six
// not. Under each of them one signature fits many messages.
var lowOrder = []string{
	"0100000000000000000000000000000000000000000000000000000000000000",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"0000000000000000000000000000000000000000000000000000000000000080",
	"0000000000000000000000000000000000000000000000000000000000000000",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
	"0100000000000000000000000000000000000000000000000000000000000080",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
}

func TestWeakKeysAreRefused(t *testing.T) {
	bad := append([]string{
		"efffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // not canonical, y = 2
		"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff", // not canonical
		"0200000000000000000000000000000000000000000000000000000000000000", // no point has y = 2
	}, lowOrder...)
	for _, h := range bad {
		raw, err := hex.DecodeString(h)
		must(t, err)
		_, err = attest.ParsePublicKey(base64.StdEncoding.EncodeToString(raw))
		if fault.CodeOf(err) != fault.KeyWeak {
			t.Errorf("%s: %v", h, err)
		}
	}
}

func TestPublicKeyText(t *testing.T) {
	for i := range 200 {
		k := attesttest.Key(fmt.Sprint(i)).Public()
		got, err := attest.ParsePublicKey(k.String())
		must(t, err)
		if got != k {
			t.Errorf("%s became %s", k, got)
		}
	}
	k := attesttest.Key("north").Public()
	good := k.String()
	for name, text := range map[string]string{
		"empty": "", "no padding": strings.TrimRight(good, "="), "line break": good[:10] + "\n" + good[10:], "space": " " + good,
		"hex": hex.EncodeToString(k[:]), "stray bits": good[:42] + "B=", "short": good[:40], "two": good + good,
	} {
		if _, err := attest.ParsePublicKey(text); fault.CodeOf(err) != fault.Structure {
			t.Errorf("%s: %q: %v", name, text, err)
		}
	}
	if !strings.HasPrefix(k.Fingerprint(), "SHA256:") || !strings.HasPrefix(string(k.ID()), "sha256:") {
		t.Errorf("%s %s", k.Fingerprint(), k.ID())
	}
}

// The fingerprint of a key that ssh-keygen made, as ssh-keygen printed it.
func TestFingerprint(t *testing.T) {
	k, err := attest.ParsePublicKey("PiXjkVIhGywQ4QPse2iz6hq+5hdVjJoF9Irtk9JezU8=")
	must(t, err)
	if got := k.Fingerprint(); got != "SHA256:5497mbTmZDvu88xkIAMS3Z0BSi4I5YgY3tnKbvhdLoE" {
		t.Error(got)
	}
}

// The list of weak points is checked by arithmetic: eight times each is the
// neutral element. Points are (x, y) on -x^2 + y^2 = 1 + d x^2 y^2.
func TestLowOrderPointsHaveLowOrder(t *testing.T) {
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	d := new(big.Int).Mul(big.NewInt(-121665), new(big.Int).ModInverse(big.NewInt(121666), p))
	mod := func(n *big.Int) *big.Int { return n.Mod(n, p) }
	mul := func(a, b *big.Int) *big.Int { return mod(new(big.Int).Mul(a, b)) }
	double := func(x, y *big.Int) (*big.Int, *big.Int) {
		xy, xx, yy := mul(x, y), mul(x, x), mul(y, y)
		k := mul(d, mul(xx, yy))
		den := func(s int64) *big.Int {
			return new(big.Int).ModInverse(mod(new(big.Int).Add(big.NewInt(1), new(big.Int).Mul(big.NewInt(s), k))), p)
		}
		return mul(mod(new(big.Int).Lsh(xy, 1)), den(1)), mul(mod(new(big.Int).Add(xx, yy)), den(-1))
	}
	for _, h := range lowOrder {
		raw, err := hex.DecodeString(h)
		must(t, err)
		raw[31] &= 0x7f
		slices.Reverse(raw)
		y := mod(new(big.Int).SetBytes(raw))
		yy := mul(y, y)
		den := new(big.Int).ModInverse(mod(new(big.Int).Add(big.NewInt(1), mul(d, yy))), p)
		x := new(big.Int).ModSqrt(mul(mod(new(big.Int).Sub(yy, big.NewInt(1))), den), p)
		if x == nil {
			t.Fatalf("%s is no point", h)
		}
		for range 3 {
			x, y = double(x, y)
		}
		if x.Sign() != 0 || y.Cmp(big.NewInt(1)) != 0 {
			t.Errorf("%s has not low order", h)
		}
	}
}

func TestPrivateKeysDoNotPrint(t *testing.T) {
	k := attesttest.Key("north")
	for _, format := range []string{"%v", "%s", "%+v", "%#v", "%q"} {
		if text := fmt.Sprintf(format, k); !strings.Contains(text, k.Public().String()) || len(text) > 60 {
			t.Errorf("%s prints %s", format, text)
		}
	}
}

func TestNewPrivateKeyNeedsRandomness(t *testing.T) {
	if _, err := attest.NewPrivateKey(bytes.NewReader(make([]byte, 31))); err == nil {
		t.Error("a key from 31 bytes")
	}
	if _, err := attest.NewNonce(bytes.NewReader(make([]byte, 31))); err == nil {
		t.Error("a nonce from 31 bytes")
	}
}

func TestPAE(t *testing.T) {
	// The example of the DSSE specification.
	if got := string(attest.PAE("http://example.com/HelloWorld", []byte("hello world"))); got != "DSSEv1 29 http://example.com/HelloWorld 11 hello world" {
		t.Error(got)
	}
}

func TestMergeAddsSignatures(t *testing.T) {
	w := attesttest.New(t)
	payload := mustPayload(w, "north")
	parse := func(b []byte) *attest.Envelope {
		e, err := attest.ParseEnvelope("e", b)
		must(t, err)
		return e
	}
	one, two := parse(w.Sign(payload, "r1")), parse(w.Sign(payload, "r2"))
	ab, err := attest.Merge(one, two)
	must(t, err)
	ba, err := attest.Merge(two, one)
	must(t, err)
	if !bytes.Equal(ab, ba) || !bytes.Equal(ab, w.Sign(payload, "r2", "r1", "r1")) {
		t.Error("the order of signing counts")
	}
	signed, err := parse(ab).Verify([]attest.PublicKey{attesttest.Key("r1").Public(), attesttest.Key("r2").Public()})
	must(t, err)
	if len(signed.By()) != 2 || !bytes.Equal(signed.Payload(), payload) {
		t.Errorf("%+v", signed)
	}
	_, err = attest.Merge(one, parse(w.Sign(mustPayload(w, "east"), "r1")))
	code(t, err, fault.EvidenceMismatch)
}

// A signer that lies, such as a broken token, is noticed before its signature
// is sent anywhere.
func TestSignChecksTheSigner(t *testing.T) {
	_, err := attest.Sign([]byte("payload"), liar{attesttest.Key("north")})
	code(t, err, fault.SignatureInvalid)
	_, err = attest.Sign([]byte("payload"))
	code(t, err, fault.Semantic)
}

type liar struct{ *attest.PrivateKey }

func (l liar) Sign([]byte) ([]byte, error) { return l.PrivateKey.Sign([]byte("something else")) }
