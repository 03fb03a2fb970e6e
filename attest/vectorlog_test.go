package attest_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/store"
)

func (v *vector) runChain() judgement {
	policy, err := attest.LoadPolicy("policy.toml", []byte(v.Policy))
	if err != nil {
		return judged(err)
	}
	c, err := attest.OpenChain(policy, store.Digest(v.Chain), []byte(v.Events), []byte(v.Proof))
	if err != nil {
		return judged(err)
	}
	return judged(nil, c.Account().String(), "cosigned "+c.Account().Cosigned, "events "+string(c.Digest()))
}

// logged returns a world of its own with a log that has the plan.
func logged(w *attesttest.World) *attesttest.World {
	own := *w
	return own.Logged()
}

// chainVector is the plan's chain of a log, proved from its last leaf.
func chainVector(expect, why string, l *attesttest.World) vector {
	last := int64(len(l.Log.Leaves) - 1)
	return vector{Expect: expect, Why: why, Policy: l.PolicyTOML, Chain: l.Chain(), Events: string(l.Log.Events(l.Chain())),
		Proof: string(l.Log.Proof(last, l.Log.Checkpoint(attesttest.Cosigned, "w1")))}
}

// said is the leaf of some statement of east.
func said(l *attesttest.World) attest.Event {
	return attest.Event{Chain: l.Chain(), Type: attest.EventStatement, Object: store.Digest(otherDigest), By: attesttest.Key("east").Public().ID()}
}

// chainVectors are what an honest writer appends, and what none does though
// its proof holds.
func chainVectors(w *attesttest.World) map[string]vector {
	of := func(expect, why string, write func(l *attesttest.World)) vector {
		l := logged(w)
		write(l)
		return chainVector(expect, why, l)
	}
	with := func(expect, why string, change func(v *vector)) vector {
		v := of(expect, why, func(l *attesttest.World) { l.Log.Append(said(l)) })
		change(&v)
		return v
	}
	at := func(expect, why, at string) vector {
		return of(expect, why, func(l *attesttest.World) {
			e := said(l)
			e.At = at
			l.Log.Append(e)
		})
	}
	event := func(l *attesttest.World, kind string, object store.Digest) {
		l.Log.Append(attest.Event{Chain: l.Chain(), Type: kind, Object: object})
	}
	numbered := func(l *attesttest.World, seq int64) {
		e := said(l)
		e.Seq, e.Prev, e.At, e.View = seq, store.DigestOf(l.Log.Leaves[1]), "2026-06-01T10:00:00Z", e.Object
		leaf, err := e.Encode()
		must(l.T, err)
		l.Log.AppendLeaf(l.Chain(), leaf)
	}
	return map[string]vector{
		"honest": with("ok", "the chain that the other vectors start from", func(*vector) {}),
		"first-of-all": func() vector {
			l := logged(w)
			l.Log = attesttest.NewLog(w.T, attesttest.Origin)
			l.Log.Append(attest.Event{Chain: l.Chain(), Type: attest.EventPlan, Object: store.Digest(l.Chain())})
			return chainVector("ok", "the first leaf of its log", l)
		}(),
		"plan-only": of("ok", "a plan that nobody has built", func(*attesttest.World) {}),
		"commitments": of("ok", "each type that a plan's chain has", func(l *attesttest.World) {
			l.Log.Append(attest.Event{Chain: l.Chain(), Type: attest.EventCommit, Object: store.Digest(otherDigest), By: attesttest.Key("east").Public().ID(),
				Sig: strings.Repeat("A", 86) + "=="})
			event(l, attest.EventClose, "")
			l.Log.Append(said(l))
			event(l, attest.EventRelease, store.Digest(otherDigest))
		}),
		"no-witness": func() vector {
			l := logged(w)
			l.PolicyTOML = attesttest.Policy(attesttest.LogPolicy(0))
			v := chainVector("ok", "a policy that asks for none", l)
			v.Proof = string(l.Log.Proof(1, l.Log.Checkpoint(time.Time{})))
			return v
		}(),
		"dated-with-checkpoint": at("ok", "clocks differ by five minutes", "2026-06-01T11:05:00Z"),
		"dated-after-it":        at("STALE", "from the future of its checkpoint", "2026-06-01T11:05:01Z"),
		"dated-as-the-last":     at("ok", "two leaves of one second", "2026-06-01T09:01:00Z"),
		"dated-before-the-last": at("EVIDENCE_MISMATCH", "time goes back", "2026-06-01T09:00:59Z"),
		"other-prev": of("EVIDENCE_MISMATCH", "it follows another leaf", func(l *attesttest.World) {
			e := said(l)
			e.Prev = store.DigestOf([]byte("x"))
			l.Log.Append(e)
		}),
		"object-twice":    of("EVIDENCE_MISMATCH", "one statement, one leaf", func(l *attesttest.World) { l.Log.Append(said(l)); l.Log.Append(said(l)) }),
		"plan-twice":      of("EVIDENCE_MISMATCH", "a chain begins once", func(l *attesttest.World) { event(l, attest.EventPlan, store.Digest(l.Chain())) }),
		"closed-twice":    of("EVIDENCE_MISMATCH", "a plan is closed once", func(l *attesttest.World) { event(l, attest.EventClose, ""); event(l, attest.EventClose, "") }),
		"no-plan-first":   of("EVIDENCE_MISMATCH", "what came before is left out", func(l *attesttest.World) { delete(l.Log.Chains, l.Chain()); l.Log.Append(said(l)) }),
		"other-chain":     with("EVIDENCE_MISMATCH", "the chain of another plan", func(v *vector) { v.Chain = otherDigest }),
		"seq-other":       of("EVIDENCE_MISMATCH", "another seq than its place", func(l *attesttest.World) { numbered(l, 7) }),
		"seq-same":        of("EVIDENCE_MISMATCH", "seq does not go on", func(l *attesttest.World) { numbered(l, 1); event(l, attest.EventClose, "") }),
		"junk":            of("PARSE", "no event", func(l *attesttest.World) { l.Log.AppendLeaf(l.Chain(), []byte("junk")) }),
		"leaf-left-out":   with("EVIDENCE_MISMATCH", "a leaf is left out", func(v *vector) { v.Events = v.Events[strings.Index(v.Events, "\n")+1:] }),
		"last-left-out":   with("EVIDENCE_MISMATCH", "the last leaf is left out", func(v *vector) { v.Events = v.Events[:strings.Index(v.Events, "\n")+1] }),
		"leaf-changed":    with("EVIDENCE_MISMATCH", "a leaf is another", func(v *vector) { v.Events = strings.Replace(v.Events, `"seq":1`, `"seq":0`, 1) }),
		"last-changed":    with("EVIDENCE_MISMATCH", "the last leaf is another", func(v *vector) { v.Events = strings.Replace(v.Events, `"seq":2`, `"seq":3`, 1) }),
		"swapped":         with("EVIDENCE_MISMATCH", "another order", func(v *vector) { a, b, _ := strings.Cut(v.Events, "\n"); v.Events = b + a + "\n" }),
		"cut":             with("PARSE", "a line is cut", func(v *vector) { v.Events = strings.TrimSuffix(v.Events, "\n") }),
		"empty-line":      with("EVIDENCE_MISMATCH", "a line of nothing", func(v *vector) { v.Events += "\n" }),
		"empty":           with("PARSE", "no leaf", func(v *vector) { v.Events = "" }),
		"carriage-return": with("EVIDENCE_MISMATCH", "one spelling", func(v *vector) { v.Events = strings.ReplaceAll(v.Events, "\n", "\r\n") }),
		"too-many-lines":  with("PARSE", "work without end", func(v *vector) { v.Events = times(attest.MaxEvents+1, "\n") }),
		"many-lines":      with("EVIDENCE_MISMATCH", "as many as there may be", func(v *vector) { v.Events = times(attest.MaxEvents, "\n") }),
		"too-large":       with("PARSE", "work without end", func(v *vector) { v.Events = times(attest.MaxEventsBytes, "x") + "\n" }),
		"large":           with("EVIDENCE_MISMATCH", "as large as it may be", func(v *vector) { v.Events = times(attest.MaxEventsBytes-1, "x") + "\n" }),
		"policy-no-log":   with("EVIDENCE_MISMATCH", "nothing to verify it by", func(v *vector) { v.Policy = attesttest.Policy("") }),
		"policy-witnesses": with("UNWITNESSED", "two must have seen it", func(v *vector) {
			v.Policy = strings.Replace(v.Policy, "need = 1\n", "need = 2\n", 1)
		}),
		"policy-other-key": with("KEY_UNKNOWN", "another log under the same name", func(v *vector) {
			v.Policy = strings.Replace(v.Policy, attesttest.VerifierKey(attesttest.Origin, "log", 1), attesttest.VerifierKey(attesttest.Origin, "other log", 1), 1)
		}),
		"policy-other-log": with("EVIDENCE_MISMATCH", "a log of another name", func(v *vector) {
			v.Policy = strings.ReplaceAll(strings.Replace(v.Policy, attesttest.VerifierKey(attesttest.Origin, "log", 1),
				attesttest.VerifierKey("example.org/other", "log", 1), 1), `origin = "example.org/log"`, `origin = "example.org/other"`)
		}),
	}
}

// eventVectors are leaves of which some field is bad, the last of a chain
// whose proof holds.
func eventVectors(w *attesttest.World) map[string]vector {
	leaf := func(expect, why string, spoil func(o object)) vector {
		l := logged(w)
		e := said(l)
		e.Seq, e.Prev, e.At, e.View = 2, store.DigestOf(l.Log.Leaves[1]), "2026-06-01T10:00:00Z", e.Object
		good, err := e.Encode()
		must(l.T, err)
		l.Log.AppendLeaf(l.Chain(), edit(good, spoil))
		return chainVector(expect, why, l)
	}
	// kind changes the type, and takes away what others do not have
	kind := func(expect, why, name, chain string, more ...func(o object)) vector {
		return leaf(expect, why, func(o object) {
			o["type"] = name
			delete(o, "by")
			if chain != "" {
				o["chain"] = chain
			}
			for _, f := range more {
				f(o)
			}
		})
	}
	set := func(name string, value any) func(o object) {
		return func(o object) {
			if o[name] = value; value == nil {
				delete(o, name)
			}
		}
	}
	by, sig := set("by", string(attesttest.Key("east").Public().ID())), set("sig", strings.Repeat("A", 86)+"==")
	out := map[string]vector{
		"event-unknown-type":    kind("STRUCTURE", "a type that is none", "vote", ""),
		"event-no-type":         leaf("STRUCTURE", "no type", set("type", nil)),
		"event-no-chain":        leaf("STRUCTURE", "no chain", set("chain", nil)),
		"event-chain-bare-hex":  leaf("STRUCTURE", "hex of what", set("chain", otherDigest[7:])),
		"event-chain-path":      kind("STRUCTURE", "a path for a name", "entry", "pkg:../hello"),
		"event-policy-path":     kind("STRUCTURE", "a path for a name", "policy", "policy:../demo"),
		"event-yank-of-plan":    kind("STRUCTURE", "a plan is never yanked", "yank", ""),
		"event-statement-pkg":   leaf("STRUCTURE", "a statement is about a plan", set("chain", "pkg:hello")),
		"event-plan-of-other":   kind("SEMANTIC", "it opens another's chain", "plan", "", set("object", otherDigest)),
		"event-seq-negative":    leaf("STRUCTURE", "no place", set("seq", -1)),
		"event-close-object":    kind("STRUCTURE", "closed is a plan and nothing else", "close", ""),
		"event-no-object":       leaf("STRUCTURE", "a statement of nothing", set("object", nil)),
		"event-object-digest":   leaf("STRUCTURE", "not a digest", set("object", "x")),
		"event-prev-digest":     leaf("STRUCTURE", "not a digest", set("prev", "x")),
		"event-view-digest":     leaf("STRUCTURE", "not a digest", set("view", "x")),
		"event-no-view":         leaf("STRUCTURE", "of no index", set("view", "")),
		"event-no-by":           leaf("STRUCTURE", "a statement of nobody", set("by", nil)),
		"event-by-name":         leaf("STRUCTURE", "a name is no key", set("by", "east")),
		"event-by-of-close":     kind("STRUCTURE", "a name is no key", "close", "", set("object", nil), set("by", "east")),
		"event-commit-no-by":    kind("STRUCTURE", "a commitment of nobody", "commit", "", sig),
		"event-commit-no-sig":   kind("STRUCTURE", "a commitment that nobody signed", "commit", "", by),
		"event-commit-sig":      kind("STRUCTURE", "63 bytes", "commit", "", by, set("sig", strings.Repeat("A", 84))),
		"event-commit-sig-base": kind("STRUCTURE", "no base64", "commit", "", by, set("sig", strings.Repeat("A", 85)+"B==")),
		"event-statement-sig":   leaf("STRUCTURE", "its signature is in its envelope", sig),
		"event-no-at":           leaf("STRUCTURE", "no date", set("at", "")),
		"event-at-form":         leaf("STRUCTURE", "a date of another form", set("at", "2026-06-01T10:00:00+00:00")),
		"event-version":         leaf("SCHEMA_UNSUPPORTED", "a later form", set("schema_version", "rebuild.events@2.0.0")),
		"event-unknown-field":   leaf("STRUCTURE", "never ignored", set("more", "x")),
		"event-large":           leaf("PARSE", "larger than a leaf may be", set("sig", strings.Repeat("A", 16<<10))),
	}
	out["event-large"] = shortLines(out["event-large"])
	for name, chain := range map[string]string{"entry": "pkg:hello", "backfill": "pkg:hello", "yank": "pkg:org/hello", "policy": "policy:demo", "config": "index"} {
		out["event-"+name] = kind("EVIDENCE_MISMATCH", "sound, and of another chain", name, chain)
	}
	out["event-released"] = kind("EVIDENCE_MISMATCH", "sound, and of another chain", "release", "pkg:hello")
	return out
}

// shortLines writes long runs of A by the rule for them.
func shortLines(v vector) vector {
	v.Events = strings.Replace(v.Events, strings.Repeat("A", 16<<10), times(16<<10, "A"), 1)
	return v
}

// proofVectors are checkpoints and proofs that are not the one spelling of
// what log and witnesses signed. The policy wants both witnesses.
func proofVectors(w *attesttest.World) map[string]vector {
	l := logged(w)
	l.PolicyTOML = strings.Replace(l.PolicyTOML, "need = 1\n", "need = 2\n", 1)
	plan := store.Digest(l.Chain())
	log := attesttest.NoteSigner{As: attesttest.Origin, Key: "log"}
	cosigned := func(as, key string, at time.Time) attesttest.NoteSigner {
		return attesttest.NoteSigner{As: as, Key: key, At: at}
	}
	w1, w2 := cosigned("w1.example", "w1", attesttest.Cosigned), cosigned("w2.example", "w2", attesttest.Cosigned)
	is := func(expect, why, proof string) vector {
		v := chainVector(expect, why, l)
		v.Proof = proof
		return v
	}
	text := l.Log.Text()
	signed := func(expect, why, text string, by ...note.Signer) vector {
		return is(expect, why, string(l.Log.Proof(1, l.Log.Sign(text, by...))))
	}
	good := string(l.Log.Proof(1, l.Log.Sign(text, log, w1, w2)))
	swap := func(expect, why, from, to string) vector {
		if !strings.Contains(good, from) {
			panic(from)
		}
		return is(expect, why, strings.Replace(good, from, to, 1))
	}
	size := func(expect, why, to string) vector {
		return signed(expect, why, strings.Replace(text, "\n2\n", "\n"+to+"\n", 1), log, w1, w2)
	}
	lines := strings.SplitAfter(good, "\n")
	other := attesttest.NewLog(w.T, attesttest.Origin)
	other.Append(attest.Event{Chain: "index", Type: attest.EventConfig, Object: plan})
	other.Append(attest.Event{Chain: l.Chain(), Type: attest.EventPlan, Object: plan, At: "2026-06-01T09:30:00Z"})
	strangers := make([]note.Signer, 98)
	for i := range strangers {
		strangers[i] = attesttest.NoteSigner{As: fmt.Sprint("x", i), Key: "stranger"}
	}
	long := strings.Repeat("x", 64<<10)
	tooLarge := signed("PARSE", "a checkpoint of more than 64 KiB", text, log, w1, w2, attesttest.NoteSigner{As: long, Key: "stranger"})
	tooLarge.Proof = strings.Replace(tooLarge.Proof, long, times(len(long), "x"), 1)
	exact := func(n int) string { // a checkpoint of n bytes, by the length of a stranger's name
		pad := n - len(l.Log.Sign(text, log, w1, w2, attesttest.NoteSigner{As: "x", Key: "stranger"})) + 1
		name := strings.Repeat("x", pad)
		proof := l.Log.Proof(1, l.Log.Sign(text, log, w1, w2, attesttest.NoteSigner{As: name, Key: "stranger"}))
		return strings.Replace(string(proof), name, times(pad, "x"), 1)
	}
	twice := lines[len(lines)-3]
	later := w1
	later.At = later.At.Add(time.Second)
	again := string(l.Log.Sign(text, later))[len(text)+1:]
	moved := string(l.Log.Sign(strings.Replace(text, "\n2\n", "\n1\n", 1), w2))[len(text)+1:]
	stray := func(s string) string { // another spelling of the base64 at the end of a line
		s = strings.TrimSuffix(s, "\n")
		at := strings.LastIndex(s, " ") + 1
		raw, err := base64.StdEncoding.DecodeString(s[at:])
		must(w.T, err)
		if len(raw)%3 == 0 {
			panic("no stray bits")
		}
		return s[:at] + strayBits(s[at:]) + "\n"
	}
	return map[string]vector{
		"proof-two-witnesses":     is("ok", "the proof that the vectors of this name start from", good),
		"proof-strangers":         signed("ok", "signatures of unknown keys say nothing", text, append([]note.Signer{log, w1, w2}, strangers[:97]...)...),
		"proof-101-signatures":    signed("PARSE", "work without end", text, append([]note.Signer{log, w1, w2}, strangers...)...),
		"proof-log-cosigns":       signed("ok", "the log dates its checkpoint itself", text, log, w1, w2, cosigned(attesttest.Origin, "log", attesttest.Cosigned.Add(time.Minute))),
		"proof-64-kib":            is("ok", "as large as a checkpoint may be", exact(64<<10)),
		"proof-checkpoint-large":  tooLarge,
		"proof-large":             is("PARSE", "larger than a proof may be", good+times(attest.MaxProof, "x")),
		"proof-68-kib":            is("PARSE", "as large as a proof may be, and a checkpoint may not", good+times(attest.MaxProof-len(good), "x")),
		"proof-not-by-log":        signed("KEY_UNKNOWN", "the log has not signed", text, w1, w2),
		"proof-log-only-cosigned": signed("KEY_UNKNOWN", "a cosignature is another word", text, cosigned(attesttest.Origin, "log", attesttest.Cosigned), w1, w2),
		"proof-other-key":         signed("KEY_UNKNOWN", "signed by another log", text, attesttest.NoteSigner{As: attesttest.Origin, Key: "other"}, w1, w2),
		"proof-other-name":        signed("KEY_UNKNOWN", "signed under another name", text, attesttest.NoteSigner{As: "example.org/logs", Key: "log"}, w1, w2),
		"proof-nobody":            signed("KEY_UNKNOWN", "no known key", text, strangers[0]),
		"proof-one-witness":       signed("UNWITNESSED", "one of two", text, log, w1),
		"proof-renamed-witness":   signed("UNWITNESSED", "one witness under two names", text, log, w1, cosigned("w2.example", "w1", attesttest.Cosigned)),
		"proof-witness-twice":     is("STRUCTURE", "one witness twice", string(l.Log.Proof(1, l.Log.Sign(text, log, w1)))+twice),
		"proof-witness-two-times": is("STRUCTURE", "one witness at two times", string(l.Log.Proof(1, l.Log.Sign(text, log, w1)))+again),
		"proof-log-as-witness":    signed("UNWITNESSED", "the log is no witness of itself", text, log, w1, cosigned(attesttest.Origin, "log", attesttest.Cosigned)),
		"proof-undated-witness":   signed("UNWITNESSED", "a signature without a time", text, log, w1, attesttest.NoteSigner{As: "w2.example", Key: "w2"}),
		"proof-witness-of-other":  is("SIGNATURE_INVALID", "a witness of another text", string(l.Log.Proof(1, l.Log.Sign(text, log, w1)))+moved),
		"proof-witness-10000":     signed("SIGNATURE_INVALID", "a year that no document can name", text, log, w1, cosigned("w2.example", "w2", time.Unix(253402300800, 0))),
		"proof-witness-9999":      signed("ok", "the last second that one can", text, log, w1, cosigned("w2.example", "w2", time.Unix(253402300799, 0))),
		"proof-witness-short": swap("SIGNATURE_INVALID", "no room for a time", lines[len(lines)-2],
			"— w2.example "+base64.StdEncoding.EncodeToString(append(noteHashOf(lines[len(lines)-2]), make([]byte, 7)...))+"\n"),
		"proof-witness-time-only": swap("SIGNATURE_INVALID", "a time and no signature", lines[len(lines)-2],
			"— w2.example "+base64.StdEncoding.EncodeToString(append(noteHashOf(lines[len(lines)-2]), make([]byte, 8)...))+"\n"),
		"proof-newest-counts": signed("ok", "the last of the cosignatures dates it", text, log, w1, cosigned("w2.example", "w2", attesttest.Cosigned.Add(-time.Hour))),
		"proof-other-root":    is("EVIDENCE_MISMATCH", "another root", string(l.Log.Proof(1, l.Log.Sign(other.Text(), log, w1, w2)))),
		"proof-larger-tree":   size("EVIDENCE_MISMATCH", "a larger tree", "3"),
		"proof-smaller-tree":  size("EVIDENCE_MISMATCH", "a tree without the leaf", "1"),
		"proof-empty-tree":    size("EVIDENCE_MISMATCH", "a tree without leaves", "0"),
		"proof-size-zeros":    size("STRUCTURE", "one spelling", "02"),
		"proof-size-negative": size("STRUCTURE", "less than nothing", "-2"),
		"proof-size-large":    size("STRUCTURE", "beyond 64 bits", "99999999999999999999"),
		"proof-size-most":     size("EVIDENCE_MISMATCH", "2^53 leaves, the most that an event can count, and not this tree", "9007199254740992"),
		"proof-size-beyond":   size("STRUCTURE", "one more than can be counted", "9007199254740993"),
		"proof-size-words":    size("STRUCTURE", "no number", "two"),
		"proof-other-origin":  signed("EVIDENCE_MISMATCH", "another log's", strings.Replace(text, "log\n", "logs\n", 1), log, w1, w2),
		"proof-extension":     signed("STRUCTURE", "more than the three lines", text+"more\n", log, w1, w2),
		"proof-two-lines":     signed("STRUCTURE", "fewer", attesttest.Origin+"\n2\n", log, w1, w2),
		"proof-short-root":    signed("STRUCTURE", "three bytes of a root", attesttest.Origin+"\n2\nAAAA\n", log, w1, w2),
		"proof-root-base64":   signed("STRUCTURE", "no base64", strings.TrimSuffix(text, "=\n")+"\n", log, w1, w2),
		"proof-text-changed":  swap("SIGNATURE_INVALID", "signed was another", "\n2\n", "\n3\n"),
		"proof-index-other":   swap("EVIDENCE_MISMATCH", "of another leaf", "index 1\n", "index 0\n"),
		"proof-index-beyond":  swap("EVIDENCE_MISMATCH", "of no leaf", "index 1\n", "index 2\n"),
		"proof-index-zeros":   swap("STRUCTURE", "one spelling", "index 1\n", "index 01\n"),
		"proof-index-sign":    swap("STRUCTURE", "one spelling", "index 1\n", "index +1\n"),
		"proof-index-minus":   swap("STRUCTURE", "before the first", "index 1\n", "index -1\n"),
		"proof-index-bare":    swap("STRUCTURE", "no word before it", "index 1\n", "1\n"),
		"proof-no-index":      swap("STRUCTURE", "of which leaf", "index 1\n", ""),
		"proof-extra-data":    swap("STRUCTURE", "one spelling", "index 1\n", "extra AAAA\nindex 1\n"),
		"proof-header":        swap("STRUCTURE", "another form", "proof@v1", "proof@v2"),
		"proof-header-alone":  is("STRUCTURE", "nothing behind it", strings.Join(append(slices.Clone(lines[:1]), lines[3:]...), "")),
		"proof-hash-missing":  is("EVIDENCE_MISMATCH", "a hash too few", strings.Join(append(slices.Clone(lines[:2]), lines[3:]...), "")),
		"proof-hash-twice":    is("EVIDENCE_MISMATCH", "a hash too many", strings.Join(slices.Insert(slices.Clone(lines), 2, lines[2]), "")),
		"proof-hash-other":    swap("EVIDENCE_MISMATCH", "another tree", lines[2], base64.StdEncoding.EncodeToString(make([]byte, 32))+"\n"),
		"proof-hash-short":    swap("STRUCTURE", "half a hash", lines[2], base64.StdEncoding.EncodeToString(make([]byte, 16))+"\n"),
		"proof-hash-spelling": swap("STRUCTURE", "one spelling of base64", lines[2], stray(lines[2])),
		"proof-sig-spelling":  swap("PARSE", "one spelling of base64", lines[len(lines)-2], stray(lines[len(lines)-2])),
		"proof-crlf":          is("EVIDENCE_MISMATCH", "one spelling", strings.ReplaceAll(good, "\n", "\r\n")),
		"proof-cut":           is("PARSE", "the last line is cut", strings.TrimSuffix(good, "\n")),
		"proof-empty-line":    is("PARSE", "more at its end", good+"\n"),
		"proof-more":          is("PARSE", "more at its end", good+"more\n"),
		"proof-empty":         is("EVIDENCE_MISMATCH", "nothing", ""),
		"proof-of-other-log":  is("EVIDENCE_MISMATCH", "another history under the same keys", string(other.Proof(1, other.Checkpoint(attesttest.Cosigned, "w1", "w2")))),
	}
}

// noteHashOf returns what names the key in a signature line.
func noteHashOf(line string) []byte {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(line[strings.LastIndex(line, " ")+1:], "\n"))
	if err != nil {
		panic(err)
	}
	return raw[:4]
}

// loggedVerdicts are verdicts whose plan has a chain. Leaf 2 is the first
// statement, of 09:02.
func loggedVerdicts(w *attesttest.World) map[string]vector {
	type said struct {
		raw []byte
		by  string
	}
	v := func(expect, why string, change func(v *vector), all ...said) vector {
		l := logged(w)
		out := vector{Expect: expect, Why: why, Policy: l.PolicyTOML, Plan: string(w.PlanJSON)}
		for _, s := range all {
			if s.by != "" {
				l.LogStatement(s.raw, s.by)
			}
			out.Statements = append(out.Statements, string(s.raw))
		}
		e := l.Evidence(nil)
		out.Events, out.Proof = string(e.Events), string(e.Proof)
		if change != nil {
			change(&out)
		}
		return out
	}
	key := func(of, more string) func(*vector) {
		return func(v *vector) { *v = policyText(*v, key64(of)+`"`, key64(of)+`", `+more) }
	}
	both := func(all ...func(*vector)) func(*vector) {
		return func(v *vector) {
			for _, f := range all {
				f(v)
			}
		}
	}
	notRequired := func(v *vector) { v.Policy = attesttest.Policy(attesttest.LogPolicy(1, "w1", "w2")) }
	at := func(now string) func(*vector) { return func(v *vector) { v.Now = now } }
	noLog := func(v *vector) { v.Events, v.Proof = "", "" }
	raw := func(name string) []byte { return w.Statement(name, nil) }
	east, north, west := said{raw("east"), "east"}, said{raw("north"), "north"}, said{raw("west"), "west"}
	beside := func(s said) said { s.by = ""; return s }
	against := func(name string) said { return said{dissent(w, name), name} }
	claims := func(digit, vendor string) said {
		return said{w.Statement("east", func(r *attest.Result) { r.Nonce, r.Environment.CPUVendor = strings.Repeat(digit, 64), vendor }), "east"}
	}
	alike, unlike := claims("2", "vendor of north"), claims("3", "vendor of east")
	diverse := func(v *vector) {
		v.Policy = strings.Replace(v.Policy, "groups.main", "diversity = { cpu_vendor = 2 }\ngroups.main", 1)
	}
	junk := said{w.Sign([]byte("no statement at all"), "stranger"), "stranger"}
	signed := func(by string, signers ...string) said {
		return said{w.Sign(mustDecode(w, dissent(w, "west")), signers...), by}
	}
	refused := said{otherPlan(w, "west"), "west"}
	return map[string]vector{
		"log":                  v("met", "two votes in the log", nil, east, north),
		"log-and-three":        v("met", "three", nil, east, north, west),
		"log-dissent":          v("dissent", "two agree and one differs", nil, east, north, against("west")),
		"log-unlogged-vote":    v("pending", "the policy wants votes to be logged", nil, east, beside(north)),
		"log-unlogged-dissent": v("dissent", "what is beside the log still contradicts", nil, east, beside(against("north"))),
		"log-not-required":     v("met", "a vote beside the log counts where none is asked for", notRequired, east, beside(north)),
		"log-none":             v("pending", "the policy wants votes to be logged", noLog, east, north),
		"log-none-needed":      v("met", "a policy with a log judges without", both(notRequired, noLog), east, north),
		"log-no-proof":         v("EVIDENCE_MISMATCH", "events that nobody proves", func(v *vector) { v.Proof = "" }, east, north),
		"log-no-events":        v("EVIDENCE_MISMATCH", "a proof of nothing", func(v *vector) { v.Events = "" }, east, north),
		"log-file-missing":     v("EVIDENCE_MISMATCH", "the one left out may be the one that says otherwise", func(v *vector) { v.Statements = v.Statements[:2] }, east, north, against("west")),
		"log-outsider-missing": v("EVIDENCE_MISMATCH", "a chain is judged whole", func(v *vector) { v.Statements = v.Statements[1:] }, junk, east, north),
		"log-junk":             v("met", "what is no envelope was never logged", nil, east, north, said{[]byte("junk"), ""}),
		"log-outsider":         v("met", "a stranger's leaf says nothing", nil, junk, east, north),
		"log-refused":          v("met", "a statement about another plan is kept, and refused", nil, refused, east, north),
		"log-other-plan": v("EVIDENCE_MISMATCH", "the chain of another plan", func(v *vector) {
			plan := *w.Plan
			plan.SourceDateEpoch = 2
			raw, err := attest.EncodePlan(&plan)
			must(w.T, err)
			v.Plan = string(raw)
		}, east),
		"log-no-log-in-policy":     v("EVIDENCE_MISMATCH", "nothing to verify it by", func(v *vector) { v.Policy = attesttest.Policy("") }, east, north),
		"log-first-counts":         v("pending", "of several votes the first in the log", diverse, alike, unlike, north),
		"log-first-counts-turned":  v("met", "whatever its digest", diverse, unlike, alike, north),
		"log-first-before-beside":  v("pending", "what is in no log comes last", both(notRequired, diverse), alike, beside(unlike), north),
		"log-beside-before-first":  v("met", "whatever its digest", both(notRequired, diverse), unlike, beside(alike), north),
		"log-signature-exchanged":  v("EVIDENCE_MISMATCH", "a dissent would be passed over as a stranger's", nil, east, north, signed("west", "stranger")),
		"log-signature-added":      v("EVIDENCE_MISMATCH", "or as malformed", nil, east, north, signed("west", "west", "stranger")),
		"log-signature-of-other":   v("EVIDENCE_MISMATCH", "or as another operator's", nil, east, north, signed("west", "north")),
		"log-signature-stranger":   v("met", "logged as a stranger's, and it is", nil, east, north, signed("stranger", "stranger")),
		"log-signature-now-better": v("dissent", "logged as a stranger's, and an operator signed it too", nil, east, north, signed("stranger", "west")),
		"log-revoked-later":        v("met", "what came before a revocation stays", key("north", `revoked_from = 4`), east, north),
		"log-revoked-here":         v("pending", "from that leaf on nothing counts", key("north", `revoked_from = 3`), east, north),
		"log-revoked-before":       v("pending", "a revoked key", key("north", `revoked_from = 0`), east, north),
		"log-revoked-beside":       v("pending", "what no log dates is judged now", both(notRequired, key("north", `revoked_from = 900`)), east, beside(north)),
		"log-ended-since":          v("met", "it counted when it was logged", both(key("north", `not_after = "2026-06-01T09:03:00Z"`), at("2027-01-01T00:00:00Z")), east, north),
		"log-ended-before":         v("pending", "it had ended when it was logged", key("north", `not_after = "2026-06-01T09:02:59Z"`), east, north),
		"log-begun-then":           v("met", "it began at that second", key("north", `not_before = "2026-06-01T09:03:00Z"`), east, north),
		"log-begun-after":          v("pending", "it had not begun when it was logged", both(key("north", `not_before = "2026-06-01T09:03:01Z"`), at("2027-01-01T00:00:00Z")), east, north),
		"log-policy-expired":       v("POLICY_EXPIRED", "of the policy its own end is asked for now", at("2027-07-01T00:00:00Z"), east, north),
		"log-signers-expired":      v("met", "the signers' keys are for releases", both(key("r1", `not_after = "2026-01-01T00:00:00Z"`), key("r2", `not_after = "2026-01-01T00:00:00Z"`)), east, north),
	}
}

// bundleVector is the release vector of a bundle.
func bundleVector(expect, why, policy string, b *attest.Bundle) vector {
	v := vector{Expect: expect, Why: why, Policy: policy, Envelope: string(b.Release), Lock: string(b.Lock)}
	for _, o := range b.Objects {
		v.Objects = append(v.Objects, string(o))
	}
	for _, e := range b.Builds {
		build := vectorBuild{Plan: string(e.Plan), Events: string(e.Events), Proof: string(e.Proof)}
		for _, s := range e.Statements {
			build.Statements = append(build.Statements, string(s))
		}
		v.Builds = append(v.Builds, build)
	}
	if len(v.Builds) == 1 {
		b := v.Builds[0]
		v.Plan, v.Statements, v.Events, v.Proof, v.Builds = b.Plan, b.Statements, b.Events, b.Proof, nil
	}
	return v
}

// loggedReleases are releases of a logged plan: the plan is leaf 1, the
// statements are 2 to 4, the release is 5.
func loggedReleases(w *attesttest.World) map[string]vector {
	of := func(expect, why string, spoil func(l *attesttest.World, b *attest.Bundle)) vector {
		l := logged(w)
		r := loggedRelease(l)
		spoil(l, r.Bundle)
		return bundleVector(expect, why, l.PolicyTOML, r.Bundle)
	}
	honest := loggedRelease(logged(w)).Payload
	payload := func(expect, why string, spoil func(p object)) vector {
		l := logged(w)
		statements := l.Statements()
		logAll(l, statements, "east", "north", "west")
		spoiled := edit(honest, func(o object) { spoil(sub(o, "predicate")); resnap(o) })
		return bundleVector(expect, why, l.PolicyTOML, publish(l, loggedRelease(logged(w)), spoiled, statements...))
	}
	build := func(expect, why string, spoil func(b object)) vector {
		return payload(expect, why, func(p object) { spoil(sub(p, "builds", 0)) })
	}
	lines := func(b *attest.Bundle) [][]byte { return bytes.SplitAfter(b.Builds[0].Events, []byte("\n")) }
	set := func(b *attest.Bundle, all [][]byte) { b.Builds[0].Events = bytes.Join(all, nil) }
	policy := func(v vector, fromTo ...string) vector {
		for i := 0; i < len(fromTo); i += 2 {
			v = policyText(v, fromTo[i], fromTo[i+1])
		}
		return v
	}
	same := func(*attesttest.World, *attest.Bundle) {}
	ended := func(v vector, end, now string, names ...string) vector {
		for _, name := range names {
			v = policyText(v, key64(name)+`"`, key64(name)+`", `+end)
		}
		v.Now = now
		return v
	}
	notRequired := func(v vector) vector {
		v.Policy = attesttest.Policy(attesttest.LogPolicy(1, "w1", "w2"))
		return v
	}
	early := [][]byte{w.Statement("east", nil), w.Statement("north", nil)}
	late := func(expect, why string, late []byte, by string, hidden bool) vector {
		l := logged(w)
		logAll(l, early, "east", "north")
		r := l.Release(early, nil, attesttest.PackageTOML, []string{"r1"}, []string{"r1", "r2"})
		then := logged(w)
		logAll(then, early, "east", "north")
		then.LogStatement(late, by)
		all := append(slices.Clone(early), late)
		if hidden {
			all = early
		}
		return bundleVector(expect, why, then.PolicyTOML, publish(then, r, r.Payload, all...))
	}
	others := dissent(w, "west")
	before := func(expect, why string, more []byte, by string) vector {
		l := logged(w)
		statements := l.Statements()
		logAll(l, statements, "east", "north", "west")
		l.LogStatement(more, by)
		r := l.Release(append(statements, more), nil, attesttest.PackageTOML, []string{"r1"}, []string{"r1", "r2"})
		return bundleVector(expect, why, l.PolicyTOML, r.Bundle)
	}
	all5 := []string{"east", "north", "west", "r1", "r2"}
	unlogged := func(expect, why string, change func(v *vector)) vector {
		own := *w
		own.PolicyTOML = attesttest.Policy(attesttest.LogPolicy(1, "w1", "w2"))
		v := bundleVector(expect, why, own.PolicyTOML, own.Honest().Bundle)
		change(&v)
		return v
	}
	chain := of("ok", "", same)
	out := map[string]vector{
		"log":                  of("ok", "a logged release", same),
		"log-old-checkpoint":   ended(of("ok", "a day and a second old, which is told", same), "", "2026-06-02T11:00:01Z"),
		"log-day-checkpoint":   ended(of("ok", "a day old", same), "", "2026-06-02T11:00:00Z"),
		"log-early-checkpoint": ended(of("ok", "dated more than five minutes later than now, which is told", same), "", "2026-06-01T10:54:59Z"),
		"log-clocks-differ":    ended(of("ok", "dated five minutes later than now", same), "", "2026-06-01T10:55:00Z"),
		"log-leaf-left-out":    of("EVIDENCE_MISMATCH", "a statement unsaid", func(_ *attesttest.World, b *attest.Bundle) { set(b, slices.Delete(lines(b), 2, 3)) }),
		"log-file-left-out":    of("EVIDENCE_MISMATCH", "a statement unsaid", func(_ *attesttest.World, b *attest.Bundle) { b.Builds[0].Statements = b.Builds[0].Statements[1:] }),
		"log-no-proof":         of("EVIDENCE_MISMATCH", "events that nobody proves", func(_ *attesttest.World, b *attest.Bundle) { b.Builds[0].Proof = nil }),
		"log-no-events":        of("EVIDENCE_MISMATCH", "a proof of nothing", func(_ *attesttest.World, b *attest.Bundle) { b.Builds[0].Events = nil }),
		"log-neither":          of("EVIDENCE_MISMATCH", "the release says that it is logged", func(_ *attesttest.World, b *attest.Bundle) { b.Builds[0].Events, b.Builds[0].Proof = nil, nil }),
		"log-before-release":   of("QUORUM_PENDING", "its own leaf is missing, the policy wants it", chainBefore),
		"log-before-release-2": notRequired(of("EVIDENCE_MISMATCH", "its own leaf is missing, whatever the policy wants", chainBefore)),
		"log-after-release": of("EVIDENCE_MISMATCH", "a chain that goes on behind the release", func(l *attesttest.World, b *attest.Bundle) {
			late := l.Statement("west", func(r *attest.Result) { r.Nonce = strings.Repeat("1", 64) })
			l.LogStatement(late, "west")
			b.Builds[0] = l.Evidence(append(b.Builds[0].Statements, late))
		}),
		"log-other-release": of("EVIDENCE_MISMATCH", "another release at its end", func(l *attesttest.World, b *attest.Bundle) {
			l.Log.Append(attest.Event{Chain: l.Chain(), Type: attest.EventRelease, Object: store.DigestOf([]byte("another"))})
			b.Builds[0] = l.Evidence(b.Builds[0].Statements)
		}),
		"log-closed-behind": of("EVIDENCE_MISMATCH", "a leaf of another type at its end", func(l *attesttest.World, b *attest.Bundle) {
			l.Log.Append(attest.Event{Chain: l.Chain(), Type: attest.EventClose})
			b.Builds[0] = l.Evidence(b.Builds[0].Statements)
		}),
		"log-commit-behind": of("EVIDENCE_MISMATCH", "a leaf of another type, and of the release", func(l *attesttest.World, b *attest.Bundle) {
			l.Log.Append(attest.Event{Chain: l.Chain(), Type: attest.EventCommit, Object: digestOf(w.T, b.Release), By: attesttest.Key("east").Public().ID(),
				Sig: strings.Repeat("A", 86) + "=="})
			b.Builds[0] = l.Evidence(b.Builds[0].Statements)
		}),
		"log-undated": func() vector {
			v := of("ok", "nobody has dated the checkpoint, which is told", func(l *attesttest.World, b *attest.Bundle) {
				b.Builds[0].Proof = l.Log.Proof(5, l.Log.Checkpoint(time.Time{}))
			})
			return policyText(v, "need = 1\nkeys = [", "need = 0\nkeys = []\n# [")
		}(),
		"log-no-policy-log":     underPolicy(of("EVIDENCE_MISMATCH", "nothing to verify it by", same), attesttest.Policy("")),
		"log-more-witnesses":    policy(of("UNWITNESSED", "two must have seen it", same), "need = 1\n", "need = 2\n"),
		"log-not-required":      notRequired(of("ok", "logged without being asked", same)),
		"log-not-required-cut":  notRequired(of("EVIDENCE_MISMATCH", "and held to it", func(_ *attesttest.World, b *attest.Bundle) { b.Builds[0].Events, b.Builds[0].Proof = nil, nil })),
		"log-unlogged":          unlogged("ok", "a policy with a log, a release without", func(*vector) {}),
		"log-unlogged-events":   unlogged("EVIDENCE_MISMATCH", "events of a release that is in no log", func(v *vector) { v.Events, v.Proof = chain.Events, chain.Proof }),
		"log-unlogged-required": unlogged("QUORUM_PENDING", "the policy wants a log", func(v *vector) { v.Policy = chain.Policy }),
		"log-seq-before":        build("EVENTS_MISMATCH", "it ended later", func(b object) { b["seq"] = 3 }),
		"log-seq-first":         build("EVENTS_MISMATCH", "the first leaf is not all of it", func(b object) { b["seq"] = 1 }),
		"log-seq-between":       build("EVENTS_MISMATCH", "the leaf of another chain", func(b object) { b["seq"] = 0 }),
		"log-seq-beyond":        build("EVENTS_MISMATCH", "no leaf", func(b object) { b["seq"] = 99 }),
		"log-seq-negative":      build("STRUCTURE", "no place", func(b object) { b["seq"] = -1 }),
		"log-seq-missing":       build("SEMANTIC", "up to where", func(b object) { delete(b, "seq") }),
		"log-events-other":      build("EVENTS_MISMATCH", "other events", func(b object) { b["events"] = otherDigest }),
		"log-events-missing":    build("SEMANTIC", "which events", func(b object) { delete(b, "events") }),
		"log-events-digest":     build("STRUCTURE", "not a digest", func(b object) { b["events"] = "x" }),
		"log-statement-unsaid":  build("EVIDENCE_MISMATCH", "a logged statement is not listed", func(b object) { b["statements"] = b["statements"].([]any)[1:] }),
		"log-origin-other":      payload("EVIDENCE_MISMATCH", "another log", func(p object) { p["log_origin"] = "example.org/other" }),
		"log-origin-form":       payload("STRUCTURE", "no name of a log", func(p object) { p["log_origin"] = "a log" }),
		"log-origin-missing":    payload("SEMANTIC", "a place in no log", func(p object) { delete(p, "log_origin") }),
		"log-unsaid": payload("QUORUM_PENDING", "the release does not say that it is logged", func(p object) {
			delete(p, "log_origin")
			delete(sub(p, "builds", 0), "seq")
			delete(sub(p, "builds", 0), "events")
		}),
		"log-ended-since":      ended(of("ok", "years later, keys that had counted", same), `not_after = "2026-06-02T00:00:00Z"`, "2027-01-01T00:00:00Z", all5...),
		"log-ended-before":     ended(of("KEY_EXPIRED", "keys that had ended before", same), `not_after = "2026-06-01T08:00:00Z"`, "", all5...),
		"log-signers-ended":    ended(of("KEY_EXPIRED", "signers are judged at the release's leaf", same), `not_after = "2026-06-01T09:04:59Z"`, "", "r1", "r2"),
		"log-signers-end-then": ended(of("ok", "to the second", same), `not_after = "2026-06-01T09:05:00Z"`, "", "r1", "r2"),
		"log-revoked-since":    ended(of("ok", "what came before a revocation stays", same), `revoked_from = 6`, "", all5...),
		"log-signers-revoked":  ended(of("KEY_EXPIRED", "from that leaf on", same), `revoked_from = 5`, "", "r1"),
		"log-policy-ended":     ended(of("POLICY_EXPIRED", "the policy's own end is judged now", same), "", "2027-07-01T00:00:00Z"),
		"log-unlogged-ended":   unlogged("POLICY_EXPIRED", "without a log nothing says when it was signed", func(v *vector) { *v = ended(*v, `not_after = "2026-06-02T00:00:00Z"`, "2027-01-01T00:00:00Z", all5...) }),
		"log-late-match":       late("ok", "it needs no new signature", w.Statement("west", nil), "west", false),
		"log-late-dissent":     late("DISSENT", "it blocks what is signed already", others, "west", false),
		"log-early-stranger":   before("ok", "a stranger's, that the release does not list, says nothing whatever it claims", w.Sign(mustDecode(w, others), "stranger"), "stranger"),
		"log-late-hidden":      late("EVIDENCE_MISMATCH", "its file is kept back", others, "west", true),
		"log-late-stranger":    late("ok", "a stranger's", w.Sign(mustDecode(w, others), "stranger"), "stranger", false),
		"log-late-exchanged":   late("EVIDENCE_MISMATCH", "signed anew by a stranger", w.Sign(mustDecode(w, others), "stranger"), "west", false),
		"log-late-bad-signature": late("EVIDENCE_MISMATCH", "with a broken signature", edit(w.Sign(mustDecode(w, others), "west"), func(o object) {
			sub(o, "signatures", 0)["sig"] = strangerSig(w, mustDecode(w, others))
		}), "west", false),
	}
	return joined(out, twoLogged(w, false), twoLogged(w, true))
}

func underPolicy(v vector, text string) vector { v.Policy = text; return v }

// chainBefore proves the chain as it was before the release was logged.
func chainBefore(l *attesttest.World, b *attest.Bundle) {
	all := bytes.SplitAfter(b.Builds[0].Events, []byte("\n"))
	b.Builds[0].Events = bytes.Join(all[:len(all)-2], nil)
	b.Builds[0].Proof = l.Log.Proof(4, l.Log.Checkpoint(attesttest.Cosigned, "w1"))
}

// twoLogged are releases of two platforms, each plan with a chain of its own
// in one log: the release is leaf 9 of one and 10 of the other.
func twoLogged(w *attesttest.World, turned bool) map[string]vector {
	amd64 := logged(w)
	x86 := *amd64 // shares the log
	plan := *w.Plan
	plan.Platform = "linux/386"
	x86.Plan = &plan
	var err error
	x86.PlanJSON, err = attest.EncodePlan(x86.Plan)
	must(w.T, err)
	amd64.Log.Append(attest.Event{Chain: x86.Chain(), Type: attest.EventPlan, Object: store.Digest(x86.Chain())})
	policy := amd64.LoadPolicy()
	proposal := attest.Proposal{Owners: []attest.PublicKey{attesttest.Key("r1").Public()}, Published: attesttest.Now}
	var statements [][][]byte
	var payloads []attest.PayloadInput
	for i, l := range []*attesttest.World{&x86, amd64} {
		statements = append(statements, l.Statements())
		logAll(l, statements[i], "east", "north", "west")
		build := l.Evidence(statements[i])
		chain, err := build.Chain(policy)
		must(w.T, err)
		v, err := attest.Judge(policy, l.Plan, statements[i], chain, nil, attesttest.Now)
		must(w.T, err)
		met, err := v.Met()
		must(w.T, err)
		proposal.Builds = append(proposal.Builds, met)
		payloads = append(payloads, attest.PayloadInput{Platform: met.Platform(), Target: "hello", Tree: w.Stages[1].Tree})
	}
	_, image, err := attest.LoadPackage("package.toml", []byte(attesttest.PackageTOML))
	must(w.T, err)
	proposal.Package, err = attest.Pack(image, payloads, 1)
	must(w.T, err)
	manifest, err := w.Store.Read(w.Stages[1].Manifest, 1<<20)
	must(w.T, err)
	proposal.Manifests = [][]byte{manifest}
	payload, err := attest.Propose(proposal)
	must(w.T, err)
	is := func(expect, why string, change func(builds []attest.BuildEvidence)) vector {
		b := &attest.Bundle{Release: w.Sign(payload, "r1", "r2"), Evidence: attest.Evidence{Objects: [][]byte{manifest},
			Builds: []attest.BuildEvidence{x86.Evidence(statements[0]), amd64.Evidence(statements[1])}}}
		change(b.Builds)
		return bundleVector(expect, why, amd64.PolicyTOML, b)
	}
	same := func([]attest.BuildEvidence) {}
	revoked := func(v vector, key, from string) vector {
		return policyText(v, key64(key)+`"`, key64(key)+`", revoked_from = `+from)
	}
	release := func(l *attesttest.World) {
		l.Log.Append(attest.Event{Chain: l.Chain(), Type: attest.EventRelease, Object: store.DigestOf(payload)})
	}
	out := map[string]vector{}
	first, last := &x86, amd64
	if turned {
		first, last = amd64, &x86
	}
	release(first)
	if turned {
		release(last)
		out["log-two-turned"] = revoked(is("KEY_EXPIRED", "the last of its leaves counts, whichever plan's", same), "r1", "10")
		return out
	}
	out["log-two-one-leaf"] = is("QUORUM_PENDING", "it is logged for one plan of two", same)
	out["log-two-one-leaf-revoked"] = revoked(is("KEY_EXPIRED", "so it is not logged, and its signers are judged now", same), "r1", "11")
	release(last)
	out["log-two"] = is("ok", "it is the last of both chains", same)
	out["log-two-one-chain"] = is("EVIDENCE_MISMATCH", "the chain of one plan is left out", func(b []attest.BuildEvidence) { b[0].Events, b[0].Proof = nil, nil })
	out["log-two-same-chain"] = is("EVIDENCE_MISMATCH", "the chain of the other plan", func(b []attest.BuildEvidence) { b[0].Events, b[0].Proof = b[1].Events, b[1].Proof })
	out["log-two-revoked-between"] = revoked(is("KEY_EXPIRED", "the last of its leaves counts", same), "r1", "10")
	out["log-two-revoked-after"] = revoked(is("ok", "all of its leaves came before", same), "r1", "11")
	return out
}
