package attest_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"testing"

	"github.com/c2sp/wycheproof"

	"rebuild/attest"
)

// The public vectors of attacks on ed25519 verifiers: malleable, cut and padded
// signatures, encodings that are not canonical, overflowing scalars. Nothing is
// passed over. None of their keys is one that we refuse to load (of small order,
// not canonical), so every answer is the verifier's; keys of those kinds are in
// TestWeakKeysAreRefused. A later set that has some fails here and must be
// decided on.
func TestWycheproof(t *testing.T) {
	data, err := fs.ReadFile(wycheproof.TestVectors, "ed25519_test.json")
	must(t, err)
	var file struct {
		NumberOfTests int `json:"numberOfTests"`
		TestGroups    []struct {
			PublicKey struct {
				PK string `json:"pk"`
			} `json:"publicKey"`
			Tests []struct {
				ID     int      `json:"tcId"`
				Flags  []string `json:"flags"`
				Msg    string   `json:"msg"`
				Sig    string   `json:"sig"`
				Result string   `json:"result"`
			} `json:"tests"`
		} `json:"testGroups"`
	}
	must(t, json.Unmarshal(data, &file))
	ran, results := 0, map[string]int{}
	for _, g := range file.TestGroups {
		raw := unhex(t, g.PublicKey.PK)
		key, err := attest.ParsePublicKey(base64.StdEncoding.EncodeToString(raw))
		must(t, err)
		for _, c := range g.Tests {
			ran++
			results[c.Result]++
			if got := key.Verifies(unhex(t, c.Msg), unhex(t, c.Sig)); got != (c.Result == "valid") {
				t.Errorf("case %d %v of key %s: verifies %v, expected %s", c.ID, c.Flags, g.PublicKey.PK, got, c.Result)
			}
		}
	}
	if ran != file.NumberOfTests || ran < 150 || results["valid"] < 80 || results["invalid"] < 60 || results["valid"]+results["invalid"] != ran {
		t.Errorf("%d of %d cases: %v", ran, file.NumberOfTests, results)
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(s)
	must(t, err)
	return raw
}
