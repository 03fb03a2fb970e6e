package attest_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"rebuild/attest"
	"rebuild/attest/attesttest"
)

// A signer who is told that others have signed already, or is not told what it
// overrules, signs what it would not have signed.
func TestSigningOf(t *testing.T) {
	w := attesttest.New(t)
	r := w.Honest()
	p := w.LoadPolicy()
	signing := func(data []byte) *attest.Signing {
		t.Helper()
		s, err := attest.SigningOf(p, data)
		must(t, err)
		return s
	}
	if s := signing(r.Payload); len(s.Signed) != 0 || s.Need != 2 || len(s.Missing) == 0 || s.Name != "hello" {
		t.Errorf("%+v", s)
	}
	if s := signing(r.Bundle.Release); !slices.Equal(s.Signed, []string{"r1", "r2"}) || len(s.Missing) != 0 || len(s.Owners) != 1 {
		t.Errorf("%+v", s)
	}
	if s := signing(w.Sign(r.Payload, "stranger", "north")); len(s.Signed) != 0 {
		t.Errorf("signed by nobody who counts: %+v", s)
	}
	if s := signing(claimed(t, w.Sign(r.Payload, "stranger"), attesttest.Key("r1").Public())); len(s.Signed) != 0 {
		t.Errorf("a signature under another's keyid: %+v", s)
	}
	for _, bad := range [][]byte{nil, []byte("{}"), bytes.Replace(r.Payload, []byte("rebuild"), []byte("rebuilt"), 1), w.Statement("north", nil)} {
		if s, err := attest.SigningOf(p, bad); err == nil {
			t.Errorf("%.60q: %+v", bad, s)
		}
	}
}

// claimed puts another key's id beside the only signature of an envelope.
func claimed(t *testing.T, envelope []byte, k attest.PublicKey) []byte {
	t.Helper()
	var e struct {
		Signatures []struct {
			KeyID string `json:"keyid"`
		} `json:"signatures"`
	}
	must(t, json.Unmarshal(envelope, &e))
	return bytes.Replace(envelope, []byte(e.Signatures[0].KeyID), []byte(k.ID()), 1)
}

// The overruled statement and its reason are in what a signer is shown, and so
// is how many signers that takes.
func TestSigningShowsWaivers(t *testing.T) {
	w := attesttest.New(t)
	r3 := `, { name = "r3", key = "` + attesttest.Key("r3").Public().String() + `" }] }`
	w.PolicyTOML = strings.Replace(w.PolicyTOML, " }] }\nindex", " }"+r3+"\nindex", 1)
	w.PolicyTOML = strings.Replace(w.PolicyTOML, "\nversion = 1\n", "\nversion = 1\ndissent = { waiver_need = 3 }\n", 1)
	statements := w.Statements()
	e, err := attest.ParseEnvelope("statement", statements[len(statements)-1])
	must(t, err)
	r := w.Release(statements, []attest.Waiver{{Statement: e.Digest(), Reason: "a broken disk"}}, attesttest.PackageTOML, []string{"r1"}, []string{"r1", "r2"})
	s, err := attest.SigningOf(w.LoadPolicy(), r.Bundle.Release)
	must(t, err)
	if s.Need != 3 || s.Progress() != "2 of 3 signers needed have signed: r1, r2" {
		t.Errorf("%q", s.Progress())
	}
	if want := "owned from now on by " + attesttest.Key("r1").Public().Fingerprint(); !slices.Contains(s.Asked(), want) {
		t.Errorf("%q is not in %q", want, s.Asked())
	}
	if want := "warning: it overrules statement " + string(e.Digest()) + ": a broken disk"; !slices.Contains(s.Asked(), want) {
		t.Errorf("%q is not in %q", want, s.Asked())
	}
}
