package attest_test

import (
	"bytes"
	"encoding/base64"
	stdjson "encoding/json"
	"fmt"
	"strings"
	"testing"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/document"
	"rebuild/store"
)

// Each target asks for more than that nothing panics: what is accepted is
// written again in the same bytes, or is what was signed.

func FuzzEnvelope(f *testing.F) {
	w := attesttest.New(f)
	f.Add(w.Statement("north", nil))
	f.Add(w.Honest().Bundle.Release)
	f.Fuzz(func(t *testing.T, in []byte) {
		e, err := attest.ParseEnvelope("e", in)
		if (err == nil) != soundEnvelope(in) {
			t.Fatalf("%s: %v", in, err)
		}
		if err != nil {
			return
		}
		out, err := attest.Merge(e, e)
		if err != nil {
			t.Fatal(err)
		}
		again, err := attest.ParseEnvelope("e", out)
		if err != nil || again.Digest() != e.Digest() || !bytes.Equal(e.Bytes(), in) {
			t.Fatalf("%s became %s, %v", in, out, err)
		}
	})
}

// soundEnvelope is [attest.ParseEnvelope] by a decoder alone.
func soundEnvelope(in []byte) bool {
	var e struct {
		Payload     string `json:"payload"`
		PayloadType string `json:"payloadType"`
		Signatures  []struct {
			KeyID string `json:"keyid,omitempty"`
			Sig   string `json:"sig"`
		} `json:"signatures"`
	}
	if document.DecodeStrict("e", in, &e) != nil || e.PayloadType != attest.PayloadType || len(e.Signatures) == 0 || len(e.Signatures) > attest.MaxSignatures || len(in) > attest.MaxEnvelope {
		return false
	}
	written := func(s string, sizes ...int) bool {
		raw, err := base64.StdEncoding.DecodeString(s)
		return err == nil && base64.StdEncoding.EncodeToString(raw) == s && (len(sizes) == 0 || len(raw) == sizes[0])
	}
	for _, s := range e.Signatures {
		if !written(s.Sig, 64) {
			return false
		}
	}
	return written(e.Payload)
}

func FuzzResult(f *testing.F) {
	w := attesttest.New(f)
	f.Add(mustPayload(w, "north"))
	f.Add(w.Honest().Payload)
	keys := []attest.PublicKey{attesttest.Key("north").Public()}
	f.Fuzz(func(t *testing.T, payload []byte) {
		signed, err := attest.Sign(payload, attesttest.Key("north"))
		if err != nil {
			t.Fatal(err)
		}
		e, err := attest.ParseEnvelope("e", signed)
		if err != nil {
			return // too large
		}
		v, err := attest.OpenResult(e, "north", keys, w.Plan)
		if err != nil {
			return
		}
		// A good result can be made again from what it says.
		again, err := attest.NewResultStatement(w.Plan, *v)
		if err != nil || !bytes.Equal(again, payload) {
			t.Fatalf("%s became %s, %v", payload, again, err)
		}
	})
}

func FuzzRelease(f *testing.F) {
	w := attesttest.New(f)
	policy := w.LoadPolicy()
	r := w.Honest()
	f.Add(r.Payload)
	f.Add(mustPayload(w, "north"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		b := *r.Bundle
		var err error
		if b.Release, err = attest.Sign(payload, attesttest.Key("r1"), attesttest.Key("r2")); err != nil {
			t.Fatal(err)
		}
		a, err := attest.Verify(policy, &b, attest.Expect{}, attesttest.Now)
		if err == nil && (a.Release != store.DigestOf(payload) || len(a.Builds) != 1 || a.Builds[0].Outputs == "") {
			t.Fatalf("%+v", a)
		}
	})
}

func FuzzPolicy(f *testing.F) {
	for _, v := range policyVectors() {
		f.Add([]byte(v.Policy))
	}
	w := attesttest.New(f)
	one := [][]byte{w.Statement("stranger", nil)}
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := attest.LoadPolicy("policy.toml", in)
		if err != nil {
			return
		}
		// Whatever a policy says, nothing and strangers are no quorum.
		v, err := attest.Judge(p, w.Plan, one, nil, nil, attesttest.Now)
		if err == nil && v.State() == attest.StateMet {
			if _, known := p.OperatorOf(attesttest.Key("stranger").Public()); !known {
				t.Fatalf("%s is met by a stranger", in)
			}
		}
	})
}

func FuzzPlan(f *testing.F) {
	f.Add(attesttest.New(f).PlanJSON)
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := attest.DecodePlan("plan.json", in)
		if err != nil {
			return
		}
		out, err := attest.EncodePlan(p)
		if err != nil || !bytes.Equal(in, out) || p.Digest() != store.DigestOf(in) || len(p.Order()) != len(p.Stages) {
			t.Fatalf("%s became %s, %v", in, out, err)
		}
	})
}

func FuzzBundle(f *testing.F) {
	data, err := attesttest.New(f).Honest().Bundle.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := attest.OpenBundle("b", in)
		if err != nil {
			return
		}
		if out, err := b.Encode(); err != nil || !bytes.Equal(in, out) {
			t.Fatalf("%d bytes became %d, %v", len(in), len(out), err)
		}
	})
}

func FuzzPackage(f *testing.F) {
	f.Add(attesttest.New(f).Honest().Package.Archive())
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := attest.OpenPackage("a", in)
		if err == nil && (p.Cksum() != store.DigestOf(in).Hex() || p.Document().Name == "") {
			t.Fatalf("%+v", p.Document())
		}
	})
}

// What is read of a summary is what any reader of JSON finds in it.
func FuzzVSA(f *testing.F) {
	w := attesttest.New(f)
	honest, err := attest.NewReleaseVSA(w.LoadPolicy(), w.Honest().Bundle, us, attesttest.Now)
	must(f, err)
	f.Add(honest)
	f.Fuzz(func(t *testing.T, payload []byte) {
		signed, err := attest.Sign(payload, attesttest.Key("north"))
		if err != nil {
			return
		}
		e, err := attest.ParseEnvelope("e", signed)
		must(t, err)
		v, err := attest.OpenVSA(e, us.ID(), attesttest.Key("north").Public())
		if err != nil {
			return
		}
		var plain map[string]any // whose names are never folded
		must(t, stdjson.Unmarshal(payload, &plain))
		p, _ := plain["predicate"].(map[string]any)
		verifier, _ := p["verifier"].(map[string]any)
		levels, _ := p["verifiedLevels"].([]any)
		if verifier["id"] != us.ID() || p["verificationResult"] != v.Result || fmt.Sprint(levels) != fmt.Sprint(v.Levels) {
			t.Fatalf("read as %+v: %s", v, payload)
		}
	})
}

// An update is of the very bytes that both policies' root keys sign.
func FuzzPolicyUpdate(f *testing.F) {
	w := attesttest.New(f)
	next, err := attest.LoadPolicy("policy.toml", []byte(strings.Replace(attesttest.Policy(""), "version = 1\n", "version = 2\n", 1)))
	must(f, err)
	u, err := attest.NewPolicyUpdate(w.LoadPolicy(), next)
	must(f, err)
	f.Add(u.Payload())
	f.Fuzz(func(t *testing.T, payload []byte) {
		signed, err := attest.Sign(payload, attesttest.Key("root"))
		if err != nil {
			return
		}
		if _, err := u.Verify(signed); (err == nil) != bytes.Equal(payload, u.Payload()) {
			t.Fatalf("%v: %s", err, payload)
		}
	})
}

// FuzzYank reads statements that all owners signed: what is taken can be
// written again as it stands.
func FuzzYank(f *testing.F) {
	cksum := store.DigestOf([]byte("an archive")).Hex()
	owner := attesttest.Key("r1")
	payload, err := attest.NewYank(attest.Yank{Name: "hello", Version: "0.1.0", Action: attest.ActionAdvise, ID: "ADV-1", Reason: "old", At: "2026-06-01T12:00:00Z"}, cksum)
	must(f, err)
	f.Add(payload)
	f.Fuzz(func(t *testing.T, payload []byte) {
		raw, err := attest.Sign(payload, owner)
		must(t, err)
		e, err := attest.ParseEnvelope("yank", raw)
		if err != nil {
			return
		}
		y, err := attest.ReadOwnedYank(e, []attest.PublicKey{owner.Public()}, cksum)
		if err != nil {
			return
		}
		again, err := attest.NewYank(y, cksum)
		if err != nil || !bytes.Equal(again, payload) {
			t.Fatalf("%v: %s, again %s", err, payload, again)
		}
	})
}
