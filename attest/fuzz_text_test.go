package attest_test

import (
	"bytes"
	"strconv"
	"testing"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/document"
)

// What is signed for a type and a payload can be taken apart again in one way.
func FuzzPAE(f *testing.F) {
	f.Add(attest.PayloadType, []byte("{}"))
	f.Add("", []byte(nil))
	f.Add("a 3 b", []byte("1 x"))
	f.Fuzz(func(t *testing.T, payloadType string, payload []byte) {
		rest, ok := bytes.CutPrefix(attest.PAE(payloadType, payload), []byte("DSSEv1 "))
		take := func() []byte {
			length, after, found := bytes.Cut(rest, []byte(" "))
			n, err := strconv.Atoi(string(length))
			if !found || err != nil || n > len(after) {
				t.Fatalf("%q", rest)
			}
			rest = after[n:]
			return after[:n]
		}
		gotType := take()
		if !ok || !bytes.HasPrefix(rest, []byte(" ")) {
			t.Fatalf("%q", rest)
		}
		rest = rest[1:]
		if got := take(); string(gotType) != payloadType || !bytes.Equal(got, payload) || len(rest) > 0 {
			t.Fatalf("%q and %q became %q and %q, with %q behind", payloadType, payload, gotType, got, rest)
		}
	})
}

// The text of a key is its only text.
func FuzzPublicKey(f *testing.F) {
	f.Add(attesttest.Key("north").Public().String())
	f.Add("AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")
	f.Add("\n")
	f.Fuzz(func(t *testing.T, text string) {
		k, err := attest.ParsePublicKey(text)
		if err == nil && k.String() != text {
			t.Fatalf("%q became %s", text, k)
		}
	})
}

// A time has one spelling.
func FuzzTime(f *testing.F) {
	for _, s := range []string{"1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "2026-02-29T00:00:00Z", "2026-01-01T00:00:00+00:00", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00.0Z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, err := attest.ParseTime(text)
		if err != nil {
			return
		}
		if again, err := attest.FormatTime(at); err != nil || again != text {
			t.Fatalf("%q became %q, %v", text, again, err)
		}
	})
}

// What a package says of itself is written again in the same bytes, from its
// hand-written form too.
func FuzzPackageDocument(f *testing.F) {
	_, image, err := attest.LoadPackage("package.toml", []byte(attesttest.PackageTOML))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(image)
	f.Add([]byte(attesttest.PackageTOML))
	f.Fuzz(func(t *testing.T, in []byte) {
		if _, image, err := attest.LoadPackage("package.toml", in); err == nil {
			if _, err := attest.DecodePackage("image", image); err != nil {
				t.Fatalf("%q has the image %s, which is refused: %v", in, image, err)
			}
		}
		p, err := attest.DecodePackage("package", in)
		if err != nil {
			return
		}
		if out, err := document.Encode(p); err != nil || !bytes.Equal(in, out) {
			t.Fatalf("%s became %s, %v", in, out, err)
		}
	})
}
