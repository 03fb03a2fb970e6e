package attest_test

import (
	"encoding/hex"
	stdjson "encoding/json"
	"os"
	"path/filepath"
	"testing"

	slsa "github.com/in-toto/attestation/go/predicates/provenance/v1"
	vsa "github.com/in-toto/attestation/go/predicates/vsa/v1"
	intoto "github.com/in-toto/attestation/go/v1"
	"github.com/in-toto/in-toto-golang/in_toto"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/secure-systems-lab/go-securesystemslib/signerverifier"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"rebuild/attest"
	"rebuild/attest/attesttest"
)

// The documents that are not ours are read by the types of those who define
// them, which refuse what they do not know.

// foreign decodes a statement and its predicate as in-toto's own types.
func foreign(t *testing.T, payload []byte, predicate proto.Message) *intoto.Statement {
	t.Helper()
	strict := protojson.UnmarshalOptions{}
	st := &intoto.Statement{}
	must(t, strict.Unmarshal(payload, st))
	must(t, st.Validate())
	raw, err := protojson.Marshal(st.GetPredicate())
	must(t, err)
	must(t, strict.Unmarshal(raw, predicate))
	return st
}

func TestProvenanceForInToto(t *testing.T) {
	w := attesttest.New(t)
	p := &slsa.Provenance{}
	st := foreign(t, w.ProvenancePayload("north", nil), p)
	must(t, p.Validate())
	must(t, p.GetRunDetails().GetMetadata().Validate())
	build, run := p.GetBuildDefinition(), p.GetRunDetails()
	if st.GetPredicateType() != "https://slsa.dev/provenance/v1" || len(st.GetSubject()) != 1 || st.GetSubject()[0].GetDigest()["sha256"] != w.Stages[1].Manifest.Hex() ||
		build.GetExternalParameters().GetFields()["plan"].GetStringValue() != string(w.Plan.Digest()) || len(build.GetResolvedDependencies()) != 2 ||
		run.GetBuilder().GetId() != "urn:rebuild:operator:north" || run.GetMetadata().GetFinishedOn().AsTime().Format("15:04:05") != "00:10:00" {
		t.Errorf("%+v", p)
	}
}

func TestVSAForInToto(t *testing.T) {
	w := attesttest.New(t)
	v := judgedWith(t, w, nil, append(w.Statements(), w.Provenances()...)...)
	// in-toto's type is of SLSA 1.0, before verifier.version.
	payload, err := attest.NewVerdictVSA(w.LoadPolicy(), v, attest.Verifier{Name: "us"}, attesttest.Now)
	must(t, err)
	s := &vsa.VerificationSummary{}
	st := foreign(t, payload, s)
	if st.GetPredicateType() != "https://slsa.dev/verification_summary/v1" || st.GetSubject()[0].GetDigest()["sha256"] != w.Stages[1].Manifest.Hex() ||
		s.GetVerifier().GetId() != "urn:rebuild:verifier:us" || !s.GetTimeVerified().AsTime().Equal(attesttest.Now) ||
		s.GetPolicy().GetDigest()["sha256"] != w.LoadPolicy().Digest().Hex() || len(s.GetInputAttestations()) != 6 ||
		s.GetVerificationResult() != "PASSED" || len(s.GetVerifiedLevels()) != 2 || s.GetSlsaVersion() != "1.2" {
		t.Errorf("%+v", s)
	}
	// The version is all that it does not know.
	payload, err = attest.NewVerdictVSA(w.LoadPolicy(), v, us, attesttest.Now)
	must(t, err)
	again := &vsa.VerificationSummary{}
	foreign(t, edit(payload, func(o object) { delete(sub(o, "predicate", "verifier"), "version") }), again)
	if !proto.Equal(s, again) {
		t.Errorf("%v\n%v", s, again)
	}
}

// Our envelopes verify with in-toto's library under the key that signed, and
// under no other.
func TestEnvelopesForInToto(t *testing.T) {
	w := attesttest.New(t)
	summary, err := attest.NewVerdictVSA(w.LoadPolicy(), judgedWith(t, w, nil, w.Statements()...), us, attesttest.Now)
	must(t, err)
	for name, raw := range map[string][]byte{
		"result": w.Statement("north", nil), "provenance": w.Provenance("north", nil), "summary": w.Sign(summary, "north"),
		"release": w.Sign(w.Honest().Payload, "west", "north", "east"),
	} {
		e := &dsse.Envelope{}
		must(t, stdjson.Unmarshal(raw, e))
		if err := verifyDSSE(t, e, "north"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if verifyDSSE(t, e, "stranger") == nil {
			t.Errorf("%s: verified under another key", name)
		}
		if e.PayloadType = "text/plain"; verifyDSSE(t, e, "north") == nil {
			t.Errorf("%s: verified as another type", name)
		}
		st := &intoto.Statement{}
		must(t, protojson.Unmarshal(mustDecode(w, raw), st))
		if err := st.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An envelope of ours is loaded and verified as in-toto's metadata, the way its
// own verifier does it. Of payloads it takes links and layouts alone.
func TestInTotoLoadsOurEnvelope(t *testing.T) {
	w := attesttest.New(t)
	link := `{"_type":"link","byproducts":{},"command":[],"environment":{},"materials":{},"name":"build","products":{}}`
	file := filepath.Join(t.TempDir(), "build.link")
	must(t, os.WriteFile(file, w.Sign([]byte(link), "north"), 0o644))
	m, err := in_toto.LoadMetadata(file)
	must(t, err)
	must(t, m.VerifySignature(intotoKey("north")))
	if m.VerifySignature(intotoKey("east")) == nil {
		t.Error("verified under another key")
	}
}

func verifyDSSE(t *testing.T, e *dsse.Envelope, name string) error {
	t.Helper()
	k := intotoKey(name)
	key, err := signerverifier.NewED25519SignerVerifierFromSSLibKey(&signerverifier.SSLibKey{
		KeyID: k.KeyID, KeyType: k.KeyType, Scheme: k.Scheme, KeyVal: signerverifier.KeyVal{Public: k.KeyVal.Public},
	})
	must(t, err)
	v, err := dsse.NewEnvelopeVerifier(key)
	must(t, err)
	_, err = v.Verify(t.Context(), e)
	return err
}

func intotoKey(name string) in_toto.Key {
	k := attesttest.Key(name).Public()
	return in_toto.Key{KeyID: string(k.ID()), KeyType: signerverifier.ED25519KeyType, Scheme: "ed25519", KeyVal: in_toto.KeyVal{Public: hex.EncodeToString(k[:])}}
}
