package attest_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/fault"
)

// Whoever writes a policy sees everything that is wrong with it at once.
func TestPolicyErrorsAreAllListedWithTheirLines(t *testing.T) {
	text := strings.NewReplacer("version = 1", "version = 0", `quorum = "main"`, `quorum = "mane"`, "need = 2, of", "need = 9, of", `"west"] }`, `"wset"] }`).
		Replace(attesttest.Policy(""))
	_, err := attest.LoadPolicy("policy.toml", []byte(text))
	var e *fault.Error
	if !errors.As(err, &e) || e.Code != fault.PolicyInvalid {
		t.Fatal(err)
	}
	for _, want := range []string{"policy.toml:3: version 0", `policy.toml:5: quorum names "mane"`, "policy.toml:9: need = 9", `policy.toml:9: group main names "wset"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
	if all, ok := e.Details["errors"].([]string); !ok || len(all) != 4 {
		t.Errorf("%+v", e.Details)
	}
}

func TestPolicyErrorNamesItsLine(t *testing.T) {
	_, err := attest.LoadPolicy("policy.toml", []byte(strings.Replace(attesttest.Policy(""), "need = 2, of", "need = 0, of", 1)))
	var e *fault.Error
	if !errors.As(err, &e) || e.File != "policy.toml" || e.Line != 9 {
		t.Errorf("%+v", err)
	}
}

// The digest is of the image: neither comments nor layout change it, every
// value does.
func TestPolicyDigest(t *testing.T) {
	load := func(text string) *attest.Policy {
		p, err := attest.LoadPolicy("policy.toml", []byte(text))
		must(t, err)
		return p
	}
	plain := load(attesttest.Policy(""))
	if load("# ours\n\n"+attesttest.Policy("\n")).Digest() != plain.Digest() {
		t.Error("a comment changes the digest")
	}
	if load(strings.Replace(attesttest.Policy(""), "version = 1", "version = 2", 1)).Digest() == plain.Digest() {
		t.Error("a value does not change the digest")
	}
	// A default that is written down is another policy document.
	if load(strings.Replace(attesttest.Policy(""), "groups.main", "independence = \"none\"\ngroups.main", 1)).Digest() == plain.Digest() {
		t.Error("a default was filled in")
	}
	if plain.Name() != "demo" || plain.Version() != 1 || !slices.Equal(plain.Operators(), []string{"east", "north", "west"}) {
		t.Errorf("%s %d %v", plain.Name(), plain.Version(), plain.Operators())
	}
	if op, ok := plain.OperatorOf(attesttest.Key("west").Public()); !ok || op != "west" {
		t.Error(op)
	}
	if _, ok := plain.OperatorOf(attesttest.Key("r1").Public()); ok {
		t.Error("a signer is an operator")
	}
}

func TestPolicyKeyWindows(t *testing.T) {
	w := attesttest.New(t)
	rotated := strings.Replace(w.PolicyTOML, `keys = [{ key = "`+key64("north")+`" }]`,
		`keys = [{ key = "`+key64("north")+`", not_after = "2026-05-31T00:00:00Z" }, { key = "`+key64("north2")+`", not_before = "2026-05-31T00:00:01Z" }]`, 1)
	policy, err := attest.LoadPolicy("policy.toml", []byte(rotated))
	must(t, err)
	signedBy := func(key string) []byte { return w.Sign(mustPayload(w, "north"), key) }
	at := func(s string) time.Time {
		when, err := attest.ParseTime(s)
		must(t, err)
		return when
	}
	for _, c := range []struct {
		key  string
		now  time.Time
		want attest.State
	}{
		{"north", at("2026-05-31T00:00:00Z"), attest.StateMet},
		{"north", at("2026-05-31T00:00:01Z"), attest.StatePending},
		{"north2", at("2026-05-31T00:00:00Z"), attest.StatePending},
		{"north2", at("2026-05-31T00:00:01Z"), attest.StateMet},
	} {
		v, err := attest.Judge(policy, w.Plan, [][]byte{w.Statement("east", nil), signedBy(c.key)}, nil, nil, c.now)
		must(t, err)
		if v.State() != c.want {
			t.Errorf("%s at %s: %s", c.key, c.now, v.State())
		}
	}
	// Two keys of one operator are one operator.
	both := at("2026-05-31T00:00:00Z")
	v, err := attest.Judge(policy, w.Plan, [][]byte{signedBy("north"), signedBy("north2")}, nil, nil, both)
	must(t, err)
	if v.State() != attest.StatePending {
		t.Error("two keys of one operator counted twice")
	}
}

func TestTimes(t *testing.T) {
	for _, good := range []string{"1970-01-01T00:00:00Z", "2024-02-29T23:59:59Z", "9999-12-31T23:59:59Z"} {
		when, err := attest.ParseTime(good)
		must(t, err)
		if back, err := attest.FormatTime(when); err != nil || back != good {
			t.Errorf("%s became %s, %v", good, back, err)
		}
	}
	for _, bad := range []string{"", "2026-02-30T00:00:00Z", "2026-01-01", "2026-01-01T00:00:00", "2026-01-01T00:00:00.0Z", "2026-01-01t00:00:00z",
		"2026-01-01T00:00:00+00:00", "1969-12-31T23:59:59Z", "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", " 2026-01-01T00:00:00Z", "2026-1-1T0:0:0Z"} {
		if _, err := attest.ParseTime(bad); fault.CodeOf(err) != fault.Structure {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
