package attest_test

import (
	"bytes"
	stdjson "encoding/json"
	"maps"
	"regexp"
	"strings"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/index/liartest"
	"rebuild/internal/document"
	"rebuild/store"
)

// meanwhile is a vector while whose reader another process has written what it
// saw.
func (v vector) meanwhile(state string) vector { v.Meanwhile = state; return v }

// memoryVectors are about what is remembered: of two processes at once, of a
// package that is gone, and of a log under another key.
func memoryVectors(l *loggedIndex, memory, early, unpoliced string) map[string]vector {
	t := l.t
	theirs := func(state string, change func(object)) string { return string(edit([]byte(state), change)) }
	note := func(files map[string][]byte) string {
		_, proof, _ := bytes.Cut(files["head"], []byte("\n"))
		return string(attest.ProofCheckpoint(proof))
	}
	headed := func(state string, note string) string {
		return theirs(state, func(o object) { sub(o, "heads")[attesttest.Origin] = note })
	}
	ends := func(kind, what string, seq int64) func(object) {
		return func(o object) {
			sub(o, kind, attesttest.Origin)[what] = object{"digest": otherDigest, "seq": seq}
		}
	}
	place := regexp.MustCompile(`"seq":\d+,`)
	dropped := l.sealed(func(f *liartest.Forgery) { // no leaf of the package is told, and no place in the log
		f.Files[helloLines] = edit2(f.Files[helloLines], func(line []byte) []byte {
			line = place.ReplaceAll(line, nil)
			line = bytes.Replace(line, []byte(`"advisories":["ADV-1"],`), nil, 1)
			return bytes.Replace(line, []byte(`"yanked":true`), []byte(`"yanked":false`), 1)
		})
		f.Append(attest.Event{Chain: "policy:demo", Type: attest.EventPolicy, Object: store.DigestOf([]byte("p"))})
	})
	delete(dropped, helloChain)
	gone := l.sealed(func(f *liartest.Forgery) {
		delete(f.Files, helloLines)
		f.Append(attest.Event{Chain: "policy:demo", Type: attest.EventPolicy, Object: store.DigestOf([]byte("p"))})
	})
	planted := theirs(headBy(t, l, "stranger"), func(o object) {
		o["chains"] = object{attesttest.Origin: object{"hello": object{"digest": otherDigest, "seq": 1 << 52}}}
		o["yanks"] = object{attesttest.Origin: object{"hello@0.2.0": object{"digest": otherDigest, "seq": 1 << 52}}}
	})
	honest := l.v("ok", "", "0.2.0", l.after)
	v := func(why, state string) vector { v := honest.meanwhile(state); v.Why = why; return v }
	larger := note(sizedForgery(t, l, 2))
	other := theirs(memory, func(o object) {
		sub(o, "heads")["example.org/other"] = "example.org/other\n1\nx\n"
		sub(o, "owners")["zlib"] = []any{key64("stranger")}
		o["index_keys"] = object{"https://example.org/other/": []any{key64("stranger")}}
		sub(o, "chains")["example.org/other"] = object{"zlib": object{"digest": otherDigest, "seq": 1}}
		sub(o, "yanks")["example.org/other"] = object{"zlib@1.0.0": object{"digest": otherDigest, "seq": 1}}
	})
	return map[string]vector{
		"meanwhile":            v("another process has seen the same", memory),
		"meanwhile-early":      v("another process has seen less", early).knowing(early),
		"meanwhile-other":      v("another process has seen other packages", other),
		"meanwhile-other-both": v("what both have seen stays", other).knowing(other),
		"meanwhile-larger":     v("of two trees the larger one stays", headed(early, larger)).knowing(early),
		"meanwhile-cosigned":   v("the same tree, signed once more", headed(early, note(liartest.Forge(t, l.after).Seal(attesttest.Now, "w1")))).knowing(early),
		"meanwhile-fork":       v("two trees of one size", headed(early, note(sizedForgery(t, l, 0)))).knowing(early).expecting("FORK"),
		"meanwhile-junk":       v("a memory that can not be read", "{}").expecting("STRUCTURE"),
		"meanwhile-owners":     v("which of two changes is the later one can not be told", theirs(early, func(o object) { sub(o, "owners")["hello"] = []any{key64("stranger")} })).knowing(early),
		"meanwhile-owners-new": v("two processes saw a package first", theirs(early, func(o object) { sub(o, "owners")["hello"] = []any{key64("stranger")} })),
		"meanwhile-policy":     v("the higher version stays", theirs(memory, func(o object) { sub(o, "policies")["demo"] = 5 })),
		"meanwhile-policy-low": v("the higher version stays", theirs(memory, func(o object) { sub(o, "policies")["demo"] = 0 })),
		"meanwhile-chain":      v("the later leaf stays", theirs(early, ends("chains", "hello", 100))).knowing(early),
		"meanwhile-chain-low":  v("the later leaf stays", theirs(early, ends("chains", "hello", 1))).knowing(early),
		"meanwhile-chain-same": v("of two leaves in one place the last one that was proven", theirs(memory, ends("chains", "hello", 12))),
		"meanwhile-yank":       v("the later statement stays", theirs(memory, ends("yanks", "hello@0.1.0", 100))),
		"meanwhile-pinned": v("of two processes that pinned at once the first one stands", theirs(unpoliced, func(o object) {
			o["index_keys"] = object{"INDEX": []any{key64("stranger")}}
			o["log_keys"] = object{"INDEX": attesttest.VerifierKey(attesttest.Origin, "w1", 1)}
		})).unjudged(),
		"meanwhile-pinned-other": v("pins of another index", theirs(unpoliced, func(o object) {
			o["index_keys"] = object{"OTHER": []any{key64("stranger")}}
			o["log_keys"] = object{"OTHER": attesttest.VerifierKey(attesttest.Origin, "w1", 1)}
		})).unjudged(),
		"meanwhile-dropped":       v("what another key had signed is given up there too", planted).knowing(planted),
		"meanwhile-dropped-other": v("another process has seen the log itself", memory).knowing(planted),
		"meanwhile-dropped-more":  v("another process has seen the log itself, and more of it", theirs(memory, ends("chains", "zlib", 1))).knowing(planted),
		"planted":                 l.v("ok", "a log of that name under another key has left leaves without end", "0.2.0", l.after).knowing(planted),
		"memory-of-others": l.v("ok", "leaves and yanks of a package whose name begins so", "0.2.0", l.after).knowing(theirs(memory, func(o object) {
			sub(o, "yanks", attesttest.Origin)["hello2@0.1.0"] = object{"digest": otherDigest, "seq": 3}
		})),

		"meanwhile-forgotten":     v("what another process has removed stays so", `{"schema_version":"rebuild.state@1.0.0"}`).knowing(memory),
		"meanwhile-forgotten-new": v("what has changed since is remembered all the same", `{"schema_version":"rebuild.state@1.0.0"}`).knowing(early),
		"meanwhile-forgotten-owners": v("owners that another process has removed, and nobody has read since", `{"schema_version":"rebuild.state@1.0.0"}`).
			knowing(theirs(early, func(o object) { sub(o, "owners")["zlib"] = []any{key64("stranger")} })),
		"memory-of-others-early": l.v("ok", "what is learned takes nothing from others", "0.2.0", l.after).knowing(theirs(early, func(o object) {
			o["yanks"] = object{attesttest.Origin: object{"hello2@0.1.0": object{"digest": otherDigest, "seq": 3}}, "example.org/other": object{"zlib@1.0.0": object{"digest": otherDigest, "seq": 1}}}
		})),
		"memory-large": l.v("ok", "statements that are too many are remembered by their digests", "0.2.0", l.after).knowing(theirs(early, func(o object) {
			o["yanks"] = object{attesttest.Origin: object{"hello2@0.1.0": object{"digest": otherDigest, "seq": 3, "document": times(int(document.State.MaxBytes)-len(early)-300, "x")}}}
		})),
		"memory-full": l.v("SEMANTIC", "more than may be remembered", "0.2.0", l.after).knowing(theirs(early, func(o object) {
			o["log_keys"] = object{"OTHER": times(int(document.State.MaxBytes)-len(early)-60, "x")}
		})),
		"seen-tiles-none": l.v("INDEX_FETCH", "without tiles nothing is proven against the log", "0.2.0", l.changed(func(f map[string][]byte) {
			maps.DeleteFunc(f, func(path string, _ []byte) bool { return strings.HasPrefix(path, "tile/") })
		})).knowing(early),
		"state-index-keys": l.v("STRUCTURE", "no key", "0.2.0", l.after).knowing(`{"index_keys":{"a":["x"]},"schema_version":"rebuild.state@1.0.0"}`),
		"state-yanks":      l.v("SEMANTIC", "no digest", "0.2.0", l.after).knowing(`{"schema_version":"rebuild.state@1.0.0","yanks":{"o":{"a":{"digest":"x","seq":1}}}}`),
		"state-first":      l.v("ok", "the first leaf has seq 0", "0.2.0", l.after).knowing(`{"chains":{"o":{"a":{"digest":"` + otherDigest + `","seq":0}}},"schema_version":"rebuild.state@1.0.0"}`),
		"state-empty-log":  l.v("ok", "a log of nothing", "0.2.0", l.after).knowing(`{"heads":{"o":"o\n0\n"},"schema_version":"rebuild.state@1.0.0"}`),

		"dropped":        l.v("EVIDENCE_MISMATCH", "the line of a logged release says no place in the log", "0.1.0", dropped),
		"dropped-pinned": l.pinned("EVIDENCE_MISMATCH", "the line of a logged release says no place in the log", "0.1.0", dropped),
		"dropped-seen":   l.v("UNYANKED", "the yank that was seen is gone with all of the chain", "0.1.0", dropped).knowing(memory),
		"gone":           l.v("FORK", "no package leaves an index", "0.1.0", gone).knowing(memory),
		"gone-unseen":    l.v("INDEX_NO_MATCH", "nobody has seen it", "0.1.0", gone),
		"gone-forgotten": l.v("INDEX_NO_MATCH", "nothing is remembered", "0.1.0", gone).forgetting(),
		"gone-junk":      l.v("VIEW_MISMATCH", "it is not gone, but withheld", "0.1.0", exchange(l.after, helloLines, nil)).knowing(memory),
		"absent-seen":    l.v("INDEX_NO_MATCH", "another package was seen", "", l.after).about("nobody").knowing(memory),
	}
}

// edit2 changes every line.
func edit2(lines []byte, change func([]byte) []byte) (out []byte) {
	for line := range bytes.Lines(lines) {
		out = append(out, change(line)...)
	}
	return out
}

// heardVectors are about statements that a log is about to date.
func heardVectors(w *attesttest.World) map[string]vector {
	heard := func(why, policy string, statements ...[]byte) vector {
		v := vector{Expect: "ok", Why: why, Policy: policy, Plan: string(w.PlanJSON), Heard: true}
		for _, s := range statements {
			v.Statements = append(v.Statements, string(s))
		}
		return v
	}
	north, o2 := w.Statement("north", nil), object{}
	borrowed := edit(w.Statement("north", func(r *attest.Result) { r.Nonce = strings.Repeat("ab", 32) }), func(o object) {
		must(w.T, stdjson.Unmarshal(north, &o2))
		o["signatures"] = o2["signatures"]
	})
	ended := strings.ReplaceAll(w.PolicyTOML, key64("east")+`"`, key64("east")+`", not_after = "2026-01-01T00:00:00Z"`)
	expired := heard("an old policy dates nothing", ended, north)
	expired.Expect, expired.Now = "POLICY_EXPIRED", "2036-06-01T12:00:00Z"
	cyclic := heard("no plan", w.PolicyTOML, north)
	cyclic.Plan, cyclic.Expect = "{}", "STRUCTURE"
	return map[string]vector{
		"borrowed-signature": {Expect: "pending", Why: "the signature of another statement of the same key, which was seen before", Policy: w.PolicyTOML, Plan: string(w.PlanJSON),
			Statements: []string{string(north), string(borrowed)}},
		"heard":         heard("each would be counted", w.PolicyTOML, w.Statements()...),
		"heard-ended":   heard("that one operator has ended silences no other", ended, north),
		"heard-unsaid":  heard("a stranger's", w.PolicyTOML, w.Statement("stranger", nil)),
		"heard-expired": expired,
		"heard-plan":    cyclic,
	}
}
