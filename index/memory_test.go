package index

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/index/liartest"
	"rebuild/internal/fault"
	"rebuild/store"
)

func headNote(files map[string][]byte) []byte {
	_, proof, _ := bytes.Cut(files["head"], []byte("\n"))
	return attest.ProofCheckpoint(proof)
}

// An index that calls its log as another one is called, and has leaves without
// end, is read once without a policy. What it left in the memory must not stand
// in the way of the log that the policy means: neither accuse it, nor keep its
// own checkpoints from being remembered.
func TestMemoryOfALogUnderAnotherKey(t *testing.T) {
	w := newTold(t)
	c := w.client(w.in.Policy)
	state, err := LoadState(c.path)
	w.must(err)
	thief := attesttest.Key("stranger")
	text := attesttest.Origin + "\n9007199254740991\n" + strings.Split(string(headNote(w.after)), "\n")[2] + "\n"
	log, dated, err := attest.LogSigners(attesttest.Origin, thief, w.in.Now)
	w.must(err)
	signed, err := note.Sign(&note.Note{Text: text}, log, dated)
	w.must(err)
	state.setHead(attesttest.Origin, signed)
	state.setChainEnd(attesttest.Origin, "hello", seenEnd{Seq: 1 << 52, Digest: store.DigestOf([]byte("planted"))})
	state.setYank(attesttest.Origin, "hello@0.2.0", seenEnd{Seq: 1 << 52, Digest: store.DigestOf([]byte("planted"))})
	w.must(state.Save())

	w.must(c.verify(&mapSource{files: w.after}, "0.2.0"))
	now, err := LoadState(c.path)
	w.must(err)
	if !bytes.Equal(now.Head(attesttest.Origin), headNote(w.after)) {
		t.Errorf("remembered: %s", now.Head(attesttest.Origin))
	}
	w.code(c.verify(&mapSource{files: w.before}, "0.1.0"), fault.Rollback)
}

// Who reads without the policy misses the log that was there with it.
func TestLogIsMissedWithoutThePolicy(t *testing.T) {
	w := newTold(t)
	c := w.client(w.in.Policy)
	w.must(c.verify(&mapSource{files: w.after}, "0.2.0"))
	unlogged := changed(w.after, func(f map[string][]byte) {
		before, rest, _ := bytes.Cut(f["config.json"], []byte(`"log":`))
		_, after, _ := bytes.Cut(rest, []byte(`},`))
		f["config.json"] = append(before, after...)
	})
	c.policy = nil
	w.code(c.verify(&mapSource{files: unlogged}, "0.2.0"), fault.ViewMismatch)
	other, err := attest.LoadPolicy("policy.toml", []byte(attesttest.Policy("")))
	w.must(err)
	c.policy = other
	w.code(c.verify(&mapSource{files: unlogged}, "0.2.0"), fault.ViewMismatch)
}

// Two processes that are shown two trees of one size at the same time do not
// both go home content.
func TestForkBetweenTwoProcesses(t *testing.T) {
	w := newTold(t)
	c := w.client(w.in.Policy)
	one, err := LoadState(c.path)
	w.must(err)
	two, err := LoadState(c.path)
	w.must(err)
	fork := func(b byte) []byte {
		f := liartest.Forge(t, w.after)
		f.Append(attest.Event{Chain: "policy:demo", Type: attest.EventPolicy, Object: store.DigestOf([]byte{b})})
		return headNote(f.Seal(w.now))
	}
	one.setHead(attesttest.Origin, fork(1))
	two.setHead(attesttest.Origin, fork(2))
	w.must(one.Save())
	memory, err := os.ReadFile(c.path)
	w.must(err)
	err = two.Save()
	w.code(err, fault.Fork)
	bothNotes(t, err)
	if now, _ := os.ReadFile(c.path); !bytes.Equal(now, memory) {
		t.Error("what failed is remembered")
	}
}

// A slow process that saw the owners of before does not bring them back: they
// could publish again.
func TestOwnersOfBeforeDoNotComeBack(t *testing.T) {
	w := newTold(t)
	path := filepath.Join(t.TempDir(), "state.json")
	load := func() *State {
		s, err := LoadState(path)
		w.must(err)
		return s
	}
	old, young := []attest.PublicKey{attesttest.Key("r1").Public()}, []attest.PublicKey{attesttest.Key("r2").Public()}
	check := func() {
		t.Helper()
		if got := load().owners("hello"); len(got) != 1 || got[0] != young[0] {
			t.Errorf("owners %v", got)
		}
	}
	slow, fast := load(), load()
	slow.setOwners("hello", old)
	fast.setOwners("hello", young)
	w.must(fast.Save())
	w.must(slow.Save())
	check()
	slow, fast = load(), load()
	fast.setOwners("hello", old)
	w.must(fast.Save())
	fast.setOwners("hello", young)
	w.must(fast.Save())
	slow.setOwners("hello", []attest.PublicKey{attesttest.Key("r1").Public(), attesttest.Key("r2").Public()})
	slow.base.Owners["hello"] = keyTexts(old)
	w.must(slow.Save())
	check()
}

// A memory that can not be kept, or is something else, is an error and not a
// new memory.
func TestMemoryThatCanNotBeKept(t *testing.T) {
	w := newTold(t)
	c := w.client(w.in.Policy)
	honest := func() error { return c.verify(&mapSource{files: w.after}, "0.2.0") }
	w.must(os.Mkdir(c.path, 0o755))
	w.code(honest(), fault.Usage)
	w.must(os.Remove(c.path))
	w.must(os.WriteFile(filepath.Join(filepath.Dir(c.path), "file"), nil, 0o644))
	c.path = filepath.Join(filepath.Dir(c.path), "file", "state.json")
	w.code(honest(), fault.Usage)
	for name, text := range map[string]string{
		"empty": "", "cut": `{"schema_version":`, "another kind": `{"schema_version":"rebuild.view@1.0.0","files":{}}` + "\n",
		"head of nothing": `{"schema_version":"rebuild.state@1.0.0","heads":{"o":"x"}}` + "\n",
	} {
		c.path = filepath.Join(t.TempDir(), "state.json")
		w.must(os.WriteFile(c.path, []byte(text), 0o644))
		if err := honest(); err == nil {
			t.Errorf("%s: taken", name)
		}
		if now, _ := os.ReadFile(c.path); string(now) != text {
			t.Errorf("%s: written over", name)
		}
	}
}
