package attest_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/fault"
)

// A release commits to the payloads of its statements and not to their
// signatures. Whoever hands it on could spoil the signature of a dissent that
// the release's own policy only reports, and so hide it from a policy that is
// blocked by it.
func TestListedDissentIsHeardUnderAnotherPolicy(t *testing.T) {
	t.Parallel()
	w := attesttest.New(t)
	w.PolicyTOML = strings.Replace(w.PolicyTOML, "groups.main", "dissent = { on = \"report\" }\ngroups.main", 1)
	against := dissent(w, "west")
	statements := append(w.Statements()[:2], against)
	r := w.Release(statements, nil, attesttest.PackageTOML, []string{"r1"}, []string{"r1", "r2"})
	_, err := verified(w, r.Bundle)
	must(t, err)
	w.PolicyTOML = attesttest.Policy("")
	_, err = verified(w, r.Bundle)
	code(t, err, fault.Dissent)

	type envelope struct {
		Payload     string              `json:"payload"`
		PayloadType string              `json:"payloadType"`
		Signatures  []map[string]string `json:"signatures"`
	}
	var good envelope
	must(t, json.Unmarshal(against, &good))
	parsed, err := attest.ParseEnvelope("e", against)
	must(t, err)
	signed, err := parsed.Verify([]attest.PublicKey{attesttest.Key("west").Public()})
	must(t, err)
	var foreign envelope
	must(t, json.Unmarshal(w.Sign(signed.Payload(), "stranger"), &foreign))
	other := foreign.Signatures[0]
	edit := func(signatures ...map[string]string) []byte {
		e := good
		e.Signatures = signatures
		out, err := json.Marshal(e)
		must(t, err)
		return out
	}
	for name, spoiled := range map[string][]byte{
		"another keyid":             edit(map[string]string{"keyid": other["keyid"], "sig": good.Signatures[0]["sig"]}),
		"a stranger's signature":    edit(other),
		"a stranger's without hint": edit(map[string]string{"sig": other["sig"]}),
		"a stranger's more":         edit(good.Signatures[0], other),
		"twice":                     edit(good.Signatures[0], map[string]string{"sig": good.Signatures[0]["sig"]}),
		"wrong":                     edit(map[string]string{"keyid": good.Signatures[0]["keyid"], "sig": other["sig"]}),
		"wrong without hint":        edit(map[string]string{"sig": other["sig"][:60] + good.Signatures[0]["sig"][60:]}),
	} {
		b := *r.Bundle
		b.Builds = slices.Clone(b.Builds)
		all := slices.Clone(b.Builds[0].Statements)
		at := slices.IndexFunc(all, func(e []byte) bool { return string(e) == string(against) })
		all[at] = spoiled
		b.Builds[0].Statements = all
		encoded, err := b.Encode()
		must(t, err)
		read, err := attest.OpenBundle("b", encoded)
		must(t, err)
		if _, err := verified(w, read); fault.CodeOf(err) != fault.EvidenceMismatch {
			t.Errorf("%s: %v", name, err)
		}
	}
}
