package oci_test

import (
	"bytes"
	"testing"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/oci"
)

// Whatever a registry gives as a Sigstore bundle, what is taken from it is an
// envelope in the one form, and exporting that gives a bundle of the same
// envelope again.
func FuzzSigstoreBundle(f *testing.F) {
	w := attesttest.New(f)
	good, err := oci.Statement(w.Statement("north", nil), attest.PredicateResult)
	must(f, err)
	f.Add(good.Content)
	for _, edit := range [][2]string{
		{`"sig"`, `"keyid":"x","sig"`},
		{"dsseEnvelope", "messageSignature"},
		{"publicKey", "certificate"},
		{`"hint":"`, `"hint":"\u0001`},
		{`}`, `,"tlogEntries":[]}`},
	} {
		f.Add(bytes.Replace(good.Content, []byte(edit[0]), []byte(edit[1]), 1))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		envelope, err := oci.Artifact{Type: oci.TypeStatement, Content: content}.Envelope()
		if err != nil {
			return
		}
		e, err := attest.ParseEnvelope("envelope", envelope)
		if err != nil {
			t.Fatalf("%v\n%s", err, envelope)
		}
		again, err := oci.Statement(e.Bytes(), "")
		if err != nil {
			if !bytes.Contains(envelope, []byte(`"keyid"`)) {
				return // a hint that is empty names no key
			}
			t.Fatalf("%v\n%s", err, envelope)
		}
		back, err := again.Envelope()
		if err != nil || !bytes.Equal(back, envelope) {
			t.Fatalf("%v\n%s\n%s", err, envelope, back)
		}
	})
}
