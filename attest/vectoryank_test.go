package attest_test

import (
	"fmt"
	"strings"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/store"
)

// runYank verifies a yank statement, by a policy or by the owners' keys alone,
// and applies it behind those that came before.
func (v *vector) runYank() judgement {
	e, err := attest.ParseEnvelope("yank", []byte(v.Envelope))
	if err != nil {
		return judged(err)
	}
	var owners []attest.PublicKey
	for _, text := range v.Keys {
		k, err := attest.ParsePublicKey(text)
		if err != nil {
			return judged(err)
		}
		owners = append(owners, k)
	}
	y, err := v.openYank(e, owners)
	if err != nil {
		return judged(err)
	}
	if same, err := attest.ReadYank(e); err != nil || same != y {
		return judged(fmt.Errorf("opened, and not read: %w", err))
	}
	var state attest.Yanked
	for _, raw := range texts(v.Statements) {
		before, err := attest.ParseEnvelope("yank", raw)
		if err != nil {
			return judged(err)
		}
		was, err := attest.ReadYank(before)
		if err != nil {
			return judged(err)
		}
		if state, err = state.Apply(was, before.Digest()); err != nil {
			return judged(err)
		}
	}
	if state, err = state.Apply(y, e.Digest()); err != nil {
		return judged(err)
	}
	return judged(nil, y.Name+"@"+y.Version, state.String(), strings.Join(state.Advisories, " "))
}

func (v *vector) openYank(e *attest.Envelope, owners []attest.PublicKey) (attest.Yank, error) {
	if v.Policy == "" {
		return attest.ReadOwnedYank(e, owners, v.Cksum)
	}
	p, err := attest.LoadPolicy("policy.toml", []byte(v.Policy))
	if err != nil {
		return attest.Yank{}, err
	}
	return attest.OpenYank(p, e, attest.YankTerms{Owners: owners, Cksum: v.Cksum, Time: v.now()})
}

func yankVectors(w *attesttest.World) map[string]vector {
	cksum := store.DigestOf([]byte("an archive")).Hex()
	payload := func(y attest.Yank) []byte {
		y.Name, y.Version, y.Reason, y.At = "hello", "0.1.0", "old", "2026-06-01T12:00:00Z"
		out, err := attest.NewYank(y, cksum)
		must(w.T, err)
		return out
	}
	first := payload(attest.Yank{Action: attest.ActionYank})
	signed := func(payload []byte, by ...string) vector {
		return vector{Policy: attesttest.Policy(""), Envelope: string(w.Sign(payload, by...)), Keys: []string{key64("r1")}, Cksum: cksum}
	}
	said := func(expect, why string, v vector) vector { v.Expect, v.Why = expect, why; return v }
	edited := func(expect, why string, spoil func(object)) vector {
		return said(expect, why, signed(edit(first, func(o object) { spoil(sub(o, "predicate")) }), "r1", "r2"))
	}
	owned := func(v vector) vector { v.Policy = ""; return v }
	behind := func(v vector, before ...[]byte) vector {
		for _, p := range before {
			v.Statements = append(v.Statements, string(w.Sign(p, "r1", "r2")))
		}
		return v
	}
	after := func(before []byte, action, id string) []byte {
		return payload(attest.Yank{Action: action, ID: id, After: store.DigestOf(before)})
	}
	advised := payload(attest.Yank{Action: attest.ActionAdvise, ID: "ADV-1"})
	otherArchive := edit(first, func(o object) { sub(o, "subject", 0, "digest")["sha256"] = otherDigest[7:] })
	return map[string]vector{
		"yank":             said("ok", "the statement that the other vectors start from", signed(first, "r1", "r2")),
		"owned":            owned(said("ok", "its owner has signed it", signed(first, "r1"))),
		"owned-not":        owned(said("SIGNATURE_INVALID", "its owner has not signed it", signed(first, "r2"))),
		"owned-archive":    owned(said("SEMANTIC", "of another archive", signed(otherArchive, "r1"))),
		"owned-form":       owned(said("STRUCTURE", "no statement of that kind", signed([]byte("{}"), "r1"))),
		"one-signer":       said("SIGNATURE_INVALID", "the policy wants two", signed(first, "r1")),
		"stranger":         said("KEY_UNKNOWN", "the policy does not know who signed", signed(first, "stranger")),
		"not-the-owner":    said("SIGNATURE_INVALID", "enough signers, and not the owner", func() vector { v := signed(first, "r1", "r2"); v.Keys = []string{key64("r3")}; return v }()),
		"archive":          said("SEMANTIC", "of another archive", signed(otherArchive, "r1", "r2")),
		"unyank":           said("ok", "taken back", behind(signed(after(first, attest.ActionUnyank, ""), "r1", "r2"), first)),
		"advise":           said("ok", "an advisory", signed(advised, "r1", "r2")),
		"advise-again":     said("ok", "an advisory stands there once", behind(signed(after(advised, attest.ActionAdvise, "ADV-1"), "r1", "r2"), advised)),
		"unadvise":         said("ok", "an advisory is taken back", behind(signed(after(advised, attest.ActionUnadvise, "ADV-1"), "r1", "r2"), advised)),
		"replayed":         said("UNYANKED", "it does not follow the last", behind(signed(first, "r1", "r2"), first)),
		"ahead":            said("UNYANKED", "what it follows is not there", signed(after(first, attest.ActionUnyank, ""), "r1", "r2")),
		"name":             edited("STRUCTURE", "no name", func(o object) { o["name"] = "../x" }),
		"version":          edited("STRUCTURE", "no version", func(o object) { o["version"] = "1" }),
		"action":           edited("STRUCTURE", "no action", func(o object) { o["action"] = "remove" }),
		"id-of-yank":       edited("SEMANTIC", "a yank has no advisory", func(o object) { o["id"] = "ADV-1" }),
		"advise-nothing":   edited("SEMANTIC", "which advisory?", func(o object) { o["action"] = "advise" }),
		"unadvise-nothing": edited("SEMANTIC", "which advisory?", func(o object) { o["action"] = "unadvise" }),
		"id":               edited("STRUCTURE", "no id", func(o object) { o["action"], o["id"] = "advise", "../x" }),
		"reason":           edited("SEMANTIC", "without a reason", func(o object) { o["reason"] = " " }),
		"reason-long":      edited("SEMANTIC", "a reason is short", func(o object) { o["reason"] = strings.Repeat("x", 4<<10+1) }),
		"reason-longest":   edited("ok", "as long as it may be", func(o object) { o["reason"] = strings.Repeat("x", 4<<10) }),
		"at":               edited("STRUCTURE", "no time", func(o object) { o["at"] = "now" }),
		"after":            edited("STRUCTURE", "no digest", func(o object) { o["after"] = "x" }),
	}
}
