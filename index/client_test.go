package index

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/index/liartest"
	"rebuild/internal/fault"
	"rebuild/store"
)

// A lookup with proof asks six times (index.md 7): config, head, three nodes of
// the view, the lines.
func TestLookupAsksSixTimes(t *testing.T) {
	w := newTold(t)
	src := &mapSource{files: w.after}
	r, err := NewReader(context.Background(), src, Reading{Policy: w.in.Policy, Now: w.now})
	w.must(err)
	e, err := r.Lookup(context.Background(), "hello", "")
	w.must(err)
	if e.Version != "0.2.0" || len(src.asked) != 6 {
		t.Errorf("%s after %q", e.Version, src.asked)
	}
	if _, err := r.Lookup(context.Background(), "nobody", ""); fault.CodeOf(err) != fault.IndexNoMatch {
		t.Errorf("absent: %v", err)
	}
	if slices.Contains(src.asked, "no/bo/nobody") {
		t.Error("the view says that it is not there, and it was asked for")
	}
}

// A publication that is under way is waited for.
func TestMixOfStatesSettles(t *testing.T) {
	w := newTold(t)
	for name, first := range map[string]map[string][]byte{
		"old head":  changed(w.after, take(w.before, "head")),
		"old view":  changed(w.after, take(w.before, viewFilesOf(helloLine)...)),
		"old lines": changed(w.after, take(w.before, helloLine)),
		"old chain": changed(w.after, take(w.before, helloChain)),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := w.client(w.in.Policy).verify(&mapSource{files: first, then: w.after}, "0.2.0"); err != nil {
				t.Error(err)
			}
		})
	}
}

// Offline nobody can be asked for a newer head: an old one is said and used.
func TestOldHeadOffline(t *testing.T) {
	w := newTold(t)
	c := w.client(w.in.Policy)
	c.now, c.offline = c.now.Add(25*time.Hour), true
	w.must(c.verify(&mapSource{files: w.after}, "0.2.0"))
	if !strings.Contains(strings.Join(c.notices, "\n"), "older than") {
		t.Errorf("notices %q", c.notices)
	}
}

// A policy that is older than one that was used is refused.
func TestPolicyRollback(t *testing.T) {
	w := newTold(t)
	second, err := attest.LoadPolicy("policy.toml", []byte(strings.Replace(w.PolicyTOML, "version = 1", "version = 2", 1)))
	w.must(err)
	c := w.client(second)
	w.must(c.verify(&mapSource{files: w.after}, "0.2.0"))
	c.policy = w.in.Policy
	w.code(c.verify(&mapSource{files: w.after}, "0.2.0"), fault.Rollback)
}

// H4: without a policy the first keys are pinned, with a notice, and quorum is
// not judged. G30: keys that are served later do not count, nor does an index
// that changes its log key.
func TestG30_KeysServedBesideSignatures(t *testing.T) {
	w := newTold(t)
	c := w.client(nil)
	w.must(c.verify(&mapSource{files: w.after}, "0.2.0"))
	if text := strings.Join(c.notices, "\n"); !strings.Contains(text, "index key SHA256:") || !strings.Contains(text, "log key of "+attesttest.Origin) {
		t.Errorf("notices %q", c.notices)
	}
	w.must(c.verify(&mapSource{files: w.after}, "0.2.0"))
	if len(c.notices) > 0 {
		t.Errorf("said again: %q", c.notices)
	}
	thief := attesttest.Key("stranger")
	rekeyed := changed(w.after, func(f map[string][]byte) {
		old := attesttest.Key("index").Public()
		f["config.json"] = bytes.ReplaceAll(bytes.ReplaceAll(f["config.json"], []byte(old.String()), []byte(thief.Public().String())), []byte(old.ID()), []byte(thief.Public().ID()))
	})
	w.code(c.verify(&mapSource{files: rekeyed}, "0.2.0"), fault.ViewMismatch)
	forged := liartest.Forge(t, rekeyed)
	forged.Append(attest.Event{Chain: "index", Type: attest.EventConfig, Object: store.DigestOf(rekeyed["config.json"])})
	entries, err := parseLines(helloLine, "hello", w.after[helloLine], func(string) {})
	w.must(err)
	w.must(entries[1].Sign(thief))
	line, err := entries[1].Encode()
	w.must(err)
	first, _, _ := bytes.Cut(w.after[helloLine], []byte("\n"))
	forged.Files[helloLine] = slices.Concat(first, []byte("\n"), line, []byte("\n"))
	forged.Append(attest.Event{Chain: "index", Type: attest.EventConfig, Object: store.DigestOf([]byte("again"))})
	w.code(c.verify(&mapSource{files: forged.Seal(w.now)}, "0.2.0"), fault.KeyUnknown)
	other := changed(w.after, func(f map[string][]byte) {
		f["config.json"] = bytes.Replace(f["config.json"], []byte(attest.LogKey(attesttest.Origin, attesttest.Key("log").Public())),
			[]byte(attest.LogKey(attesttest.Origin, thief.Public())), 1)
	})
	w.code(c.verify(&mapSource{files: other}, "0.2.0"), fault.KeyUnknown)
	unlogged := changed(w.after, func(f map[string][]byte) {
		before, rest, _ := bytes.Cut(f["config.json"], []byte(`"log":`))
		_, after, _ := bytes.Cut(rest, []byte(`},`))
		f["config.json"] = slices.Concat(before, after)
	})
	w.code(c.verify(&mapSource{files: unlogged}, "0.2.0"), fault.ViewMismatch)
}

// G31: a release is owned by who owned the one before, or by whom they let in.
// A version from before a change that was agreed on stays good.
func TestG31_KnownNameNewOwner(t *testing.T) {
	b := newBench(t)
	b.statements()
	b.publish(b.proposeBy([]string{"r1"}, []string{"r1", "r2"}))
	first := b.files()
	b.publish(b.proposeBy([]string{"r2"}, []string{"r1", "r2"}, "0.1.0", "0.2.0"))
	w := &told{bench: b, after: b.files()}
	c := w.client(b.in.Policy)
	w.must(c.verify(&mapSource{files: first}, "0.1.0"))
	w.must(c.verify(&mapSource{files: w.after}, "0.2.0"))
	w.must(c.verify(&mapSource{files: w.after}, "0.1.0")) // of the owner before
	w.must(c.verify(&mapSource{files: w.after}, "0.2.0"))
	state, err := LoadState(c.path)
	w.must(err)
	if owners := state.owners("hello"); len(owners) != 1 || owners[0] != attesttest.Key("r2").Public() {
		t.Errorf("owners %v", owners)
	}
	state.setOwners("hello", []attest.PublicKey{attesttest.Key("stranger").Public()})
	w.must(state.Save())
	w.code(c.verify(&mapSource{files: w.after}, "0.2.0"), fault.OwnerChanged)
	c.policy = nil
	w.code(c.verify(&mapSource{files: w.after}, "0.2.0"), fault.OwnerChanged)
}

// G29, F10: a log that takes a yank back, by going on from the leaf before it,
// is shown to who saw the yank: with the statement and the checkpoint.
func TestG29_YankTakenBack(t *testing.T) {
	w := newTold(t)
	c := w.client(w.in.Policy)
	w.must(c.verify(&mapSource{files: w.after}, "0.2.0"))
	f := liartest.Forge(t, w.after)
	f.Files[helloLine] = bytes.Replace(f.Files[helloLine], []byte(`"yanked":true`), []byte(`"yanked":false`), 1)
	yank := f.Last()
	// The chain goes on from the leaf before the yank, which stays in the log.
	f.Append(attest.Event{Chain: "pkg:hello", Type: attest.EventYank, Prev: yank.Prev, Object: store.DigestOf([]byte("x"))})
	chain := f.Log.Chains["pkg:hello"]
	f.Log.Chains["pkg:hello"] = slices.Delete(chain, len(chain)-2, len(chain))
	files := f.Seal(w.now)
	// Its end must be proven, so it ends with the release before the yank.
	err := c.verify(&mapSource{files: files}, "0.2.0")
	w.code(err, fault.Unyanked)
	var e *fault.Error
	errors.As(err, &e)
	if seen, _ := e.Details["seen"].(string); !strings.Contains(seen, attest.PayloadType) {
		t.Errorf("details %v", e.Details)
	}
	if served, _ := e.Details["served"].(string); !strings.HasPrefix(served, attesttest.Origin+"\n") {
		t.Errorf("details %v", e.Details)
	}
	if err := w.client(w.in.Policy).verify(&mapSource{files: files}, "0.2.0"); err != nil {
		t.Errorf("who saw nothing can not know: %v", err)
	}
}

// Dissent that was logged after the release blocks online.
func TestDissentAfterTheRelease(t *testing.T) {
	w := newTold(t)
	late := w.Statement("east", func(r *attest.Result) {
		r.Nonce = strings.Repeat("ab", 32)
		r.Stages[1] = w.Stage("hello", []store.File{{Path: "bin/hello", Mode: 0o755, Data: []byte("other")}})
	})
	_, _, err := w.open().AddStatement(context.Background(), w.PlanJSON, late)
	w.must(err)
	c := w.client(w.in.Policy)
	w.code(c.verify(&mapSource{files: w.files()}, "0.2.0"), fault.Dissent)
}

// Keys are judged where the log has the entry: a key that has ended since, or
// was revoked from a later leaf on, still counts for what it signed before. Fsck
// finds what readers refuse.
func TestIndexKeyAtItsLeaf(t *testing.T) {
	w := newTold(t)
	with := func(limit string) *attest.Policy {
		key := attesttest.Key("index").Public().String()
		p, err := attest.LoadPolicy("policy.toml", []byte(strings.Replace(w.PolicyTOML, key+`" }`, key+`", `+limit+` }`, 1)))
		w.must(err)
		return p
	}
	for limit, code := range map[string]fault.Code{
		`not_after = "2026-06-01T12:30:00Z"`:  "",
		`not_after = "2026-06-01T11:30:00Z"`:  fault.KeyExpired,
		`not_before = "2026-06-01T13:00:00Z"`: fault.KeyExpired,
		`revoked_from = 100`:                  "",
		`revoked_from = 3`:                    fault.KeyExpired,
	} {
		c := w.client(with(limit))
		c.now = c.now.Add(time.Hour)
		if got := fault.CodeOf(c.verify(&mapSource{files: w.after}, "0.2.0")); got != code {
			t.Errorf("%s: %q, want %q", limit, got, code)
		}
		in := w.in
		in.Policy = with(limit)
		r, err := Fsck(context.Background(), w.dir, in, FsckOptions{})
		w.must(err)
		found := slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Code == fault.KeyExpired })
		if found != (code == fault.KeyExpired) {
			t.Errorf("%s: fsck found %v", limit, r.Findings)
		}
	}
}

// A9, A10, A22: what is not signed is said to be so, and what to do.
func TestA9A10Unsigned(t *testing.T) {
	b := newBench(t)
	b.in.Key = nil
	_, _, err := b.open().AddPackage(context.Background(), pkgOf(t, "tool", "1.0.0"))
	b.must(err)
	files := b.files()
	ask := func(files map[string][]byte) error {
		r, err := NewReader(context.Background(), &mapSource{files: files}, Reading{Policy: b.in.Policy, Now: b.now})
		b.must(err)
		e, err := r.Lookup(context.Background(), "tool", "1.0.0")
		b.must(err)
		return r.CheckEntry(context.Background(), e)
	}
	err = ask(files)
	b.code(err, fault.EntryUnsigned)
	var e *fault.Error
	if errors.As(err, &e); e.Message != "tool@1.0.0 is unsigned" || !strings.Contains(e.Hint, "index backfill") {
		t.Errorf("%q, hint %q", e.Message, e.Hint)
	}
	f := liartest.Forge(t, files)
	before, rest, _ := bytes.Cut(f.Files["config.json"], []byte(`,"signing":`))
	f.Files["config.json"] = append(before, rest[bytes.LastIndexByte(rest, '}'):]...)
	f.Append(attest.Event{Chain: "index", Type: attest.EventConfig, Object: store.DigestOf(f.Files["config.json"])})
	err = ask(f.Seal(b.now))
	b.code(err, fault.IndexUnsigned)
	if errors.As(err, &e); e.Message != "index INDEX advertises no signing keys" || e.Hint == "" {
		t.Errorf("%q, hint %q", e.Message, e.Hint)
	}
}

// An entry that was signed later is judged at the leaf of that, and is the line
// that it says.
func TestBackfilledLine(t *testing.T) {
	b := newBench(t)
	key := b.in.Key
	b.in.Key = nil
	_, _, err := b.open().AddPackage(context.Background(), pkgOf(t, "tool", "1.0.0"))
	b.must(err)
	b.in.Key = key
	_, err = b.open().Backfill(context.Background(), BackfillOptions{Write: true})
	b.must(err)
	_, err = b.open().Yank(context.Background(), b.yankOf("tool", "1.0.0", "r1", "r2"))
	b.must(err)
	check := func(files map[string][]byte) error {
		r, err := NewReader(context.Background(), &mapSource{files: files}, Reading{Policy: b.in.Policy, Now: b.now})
		b.must(err)
		e, err := r.Lookup(context.Background(), "tool", "1.0.0")
		b.must(err)
		return r.CheckEntry(context.Background(), e)
	}
	b.must(check(b.files()))
	for name, change := range map[string][2]string{
		"not said":       {`"backfilled":true,`, ``},
		"as it is":       {`"cksum"`, `"cksum"`},
		"assurance":      {`"assurance":"none"`, `"assurance":"quorum"`},
		"other advisory": {`"assurance":"none"`, `"advisories":["A-1"],"assurance":"none"`},
	} {
		f := liartest.Forge(t, b.files())
		was := f.Files["to/ol/tool"]
		f.Files["to/ol/tool"] = bytes.Replace(was, []byte(change[0]), []byte(change[1]), 1)
		f.Append(attest.Event{Chain: "policy:demo", Type: attest.EventPolicy, Object: store.DigestOf([]byte("p"))})
		if same := bytes.Equal(was, f.Files["to/ol/tool"]); same != (name == "as it is") {
			t.Fatal(name)
		}
		files := f.Seal(b.now)
		r, err := NewReader(context.Background(), &mapSource{files: files}, Reading{Policy: b.in.Policy, Now: b.now})
		b.must(err)
		e, err := r.Lookup(context.Background(), "tool", "1.0.0")
		if err == nil {
			err = r.CheckEntry(context.Background(), e)
		}
		if (err == nil) != (name == "as it is") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What another process has seen meanwhile is never forgotten.
func TestStateNeverGoesBack(t *testing.T) {
	w := newTold(t)
	path := filepath.Join(t.TempDir(), "deep/state.json")
	head := func(files map[string][]byte) []byte {
		_, proof, _ := bytes.Cut(files["head"], []byte("\n"))
		return attest.ProofCheckpoint(proof)
	}
	slow, err := LoadState(path)
	w.must(err)
	slow.setHead("o", head(w.before))
	slow.setChainEnd("o", "hello", seenEnd{Seq: 3, Digest: store.DigestOf([]byte("3"))})
	slow.setOwners("mine", []attest.PublicKey{attesttest.Key("r1").Public()})
	slow.pinLog("u", "first")
	w.must(slow.CheckPolicy(w.in.Policy))
	fast, err := LoadState(path)
	w.must(err)
	fast.setHead("o", head(w.after))
	fast.setChainEnd("o", "hello", seenEnd{Seq: 5, Digest: store.DigestOf([]byte("5"))})
	fast.setYank("o", "hello@1", seenEnd{Seq: 5, Digest: store.DigestOf([]byte("5")), Document: "d"})
	fast.setOwners("theirs", []attest.PublicKey{attesttest.Key("r2").Public()})
	fast.pinLog("u", "earlier")
	fast.pinKeys("u", []attest.PublicKey{attesttest.Key("index").Public()})
	w.must(fast.Save())
	w.must(slow.Save())
	now, err := LoadState(path)
	w.must(err)
	if !bytes.Equal(now.Head("o"), head(w.after)) {
		t.Error("the head went back")
	}
	if end, _ := now.chainEnd("o", "hello"); end.Seq != 5 {
		t.Errorf("the chain went back: %+v", end)
	}
	if len(now.owners("mine")) != 1 || len(now.owners("theirs")) != 1 || len(now.yanksOf("o", "hello")) != 1 {
		t.Error("something is forgotten")
	}
	if pinned, first := now.pinLog("u", "third"); first || pinned != "earlier" {
		t.Errorf("pinned %q %t", pinned, first)
	}
	before, err := os.ReadFile(path)
	w.must(err)
	w.must(now.Save())
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("written without need")
	}
	w.must(os.WriteFile(path, before[:len(before)-1], 0o644))
	_, err = LoadState(path)
	w.code(err, fault.Parse)
	slow.setHead("o", head(w.before))
	slow.setOwners("new", []attest.PublicKey{attesttest.Key("r1").Public()})
	w.code(slow.Save(), fault.Parse) // a damaged memory is not written over
}
