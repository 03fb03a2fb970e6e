package attest_test

import (
	"strings"
	"testing"

	"rebuild/attest"
	"rebuild/attest/attesttest"
)

// The quick way to read an envelope cuts off what it must begin and end with,
// and so has to look at all of that.
func TestEnvelopeIsTakenApartWhole(t *testing.T) {
	good := string(attesttest.New(t).Statement("north", nil))
	if _, err := attest.ParseEnvelope("e", []byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string][2]string{
		"another begin":       {`{"payload":"`, `{"paylose":"`},
		"two signatures' end": {`"}]}`, `"}}]`},
		"a key id in escapes": {`"keyid":"sha256:`, `"keyid":"sh\u0061256:`},
		"no key id":           {`"keyid":"sha256:`, `"keyid":"`},
		"a member more":       {`"payloadType"`, `"payloadSize":"1","payloadType"`},
		"a member between":    {`","sig":"`, `","level":"1","sig":"`},
		"another type":        {`in-toto+json`, `in-toto+yaml`},
		"a line break":        {`"}]}`, "\n" + `"}]}`},
	} {
		t.Run(name, func(t *testing.T) {
			bad := strings.Replace(good, edit[0], edit[1], 1)
			e, err := attest.ParseEnvelope("e", []byte(bad))
			if sound := soundEnvelope([]byte(bad)); bad == good || (err == nil) != sound || sound != (name == "no key id") {
				t.Errorf("%v %s", err, bad)
			}
			if err == nil && string(e.Bytes()) != bad {
				t.Errorf("it became %s", e.Bytes())
			}
		})
	}
}
