package index

import (
	"bytes"
	"strings"
	"testing"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/document"
	"rebuild/internal/fault"
)

// The vector of index.md 7: key seed of 32 bytes 07, hello 0.1.0, 64 zeros.
func TestSignatureVector(t *testing.T) {
	key, err := attest.NewPrivateKey(bytes.NewReader(bytes.Repeat([]byte{7}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	e := Entry{Name: "hello", Version: "0.1.0", Cksum: strings.Repeat("0", 64)}
	if err := e.Sign(key); err != nil {
		t.Fatal(err)
	}
	const want = "Fk9j4EyIInt245RDpWEKXXZhmwRnYiBJVDpdY1+3DGt9TTvTGV3ZRbDRCB3mNLwTSBf7x1tNghf78+n41hz/Dg=="
	if e.Signature.Sig != want || e.Signature.KeyID != key.Public().ID() {
		t.Errorf("got %+v", e.Signature)
	}
}

func TestMessageRefusesWhatCouldForgeALine(t *testing.T) {
	for _, bad := range [][3]string{{"a\nversion=1", "1.0.0", "0"}, {"a", "1.0.0\n", "0"}, {"a", "1.0.0", "0="}, {"=", "1.0.0", "0"}} {
		if _, err := Message(bad[0], bad[1], bad[2]); fault.CodeOf(err) != fault.Structure {
			t.Errorf("%q: %v", bad, err)
		}
	}
	m, err := Message(" a", "1.0.0", "0") // never trimmed (G34)
	if err != nil || string(m) != "rebuild.pkg.sig.v1\nname= a\nversion=1.0.0\nsha256=0\n" {
		t.Errorf("%q %v", m, err)
	}
}

func TestLinePath(t *testing.T) {
	for name, want := range map[string]string{
		"a": "1/a", "ab": "2/ab", "abc": "3/a/abc", "hello": "he/ll/hello", "org/hello": "~org/he/ll/hello", "org/a": "~org/1/a",
		"x86-64": "x8/6-/x86-64", "four": "fo/ur/four",
	} {
		if got, err := linePath(name); err != nil || got != want {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	for _, bad := range []string{"", ".", "..", "../x", "a/../b", "/a", "A", "a/b/c", "~a", "a\x00", "con", "org/nul", "a%2fb", "a\\b"} {
		if got, err := linePath(bad); fault.CodeOf(err) != fault.Structure {
			t.Errorf("%q: %s, %v", bad, got, err)
		}
	}
}

func TestSplitReference(t *testing.T) {
	for ref, want := range map[string][2]string{"hello": {"hello", ""}, "org/hello@1.0.0": {"org/hello", "1.0.0"}} {
		name, version, err := SplitReference(ref)
		if err != nil || name != want[0] || version != want[1] {
			t.Errorf("%s: %s %s %v", ref, name, version, err)
		}
	}
	for _, bad := range []string{"", "@1.0.0", "hello@", "hello@v1", "hello@1.0.0@2.0.0", "hello@latest"} {
		if _, _, err := SplitReference(bad); err == nil {
			t.Errorf("%q passed", bad)
		}
	}
}

// An entry that is read is exactly what Encode writes.
func FuzzEntry(f *testing.F) {
	e := Entry{SchemaVersion: document.IndexEntry.ID(), Name: "org/hello", Version: "1.0.0-rc.1", Cksum: strings.Repeat("0", 64),
		Assurance: AssuranceNone, Deps: []Dep{{"libc", "^1"}}, Advisories: []string{"A1"}, Backfilled: true}
	if err := e.Sign(attesttest.Key("index")); err != nil {
		f.Fatal(err)
	}
	line, err := e.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(line)
	f.Fuzz(func(t *testing.T, in []byte) {
		e, err := ParseEntry("line", in)
		if err != nil {
			return
		}
		if out, err := e.Encode(); err != nil || !bytes.Equal(in, out) {
			t.Fatalf("%s became %s, %v", in, out, err)
		}
		if _, err := linePath(e.Name); err != nil {
			t.Fatal(err)
		}
	})
}

// A config that is read can be written in the same bytes.
func FuzzConfig(f *testing.F) {
	good, err := document.Encode(Config{SchemaVersion: document.IndexConfig.ID(), Signing: SigningWith(attesttest.Key("index").Public())})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := decodeConfig(in)
		if err != nil {
			return
		}
		if out, err := document.Encode(c); err != nil || !bytes.Equal(in, out) {
			t.Fatalf("%s became %s, %v", in, out, err)
		}
	})
}
