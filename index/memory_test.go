package index

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/index/liartest"
	"rebuild/internal/document"
	"rebuild/internal/durable"
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

// A memory that says what no client writes is no memory: it is named, refused
// and left as it is, each field alone.
func TestMemoryThatNobodyWrote(t *testing.T) {
	good := attesttest.Key("r1").Public().String()
	zeros := "sha256:" + strings.Repeat("0", 64)
	for name, c := range map[string]struct {
		fields string
		code   fault.Code
		text   string
	}{
		"nothing seen":       {``, "", ""},
		"owners":             {`"owners":{"hello":["` + good + `"]},`, "", ""},
		"head of one line":   {`"heads":{"o":"x"},`, fault.Structure, "a head is not a checkpoint"},
		"head of no size":    {`"heads":{"o":"o\nx\n\n"},`, fault.Structure, `a head has size "x"`},
		"head below nothing": {`"heads":{"o":"o\n-1\n\n"},`, fault.Structure, `a head has size "-1"`},
		"size with a zero":   {`"heads":{"o":"o\n01\n\n"},`, fault.Structure, `a head has size "01"`},
		"key of nothing":     {`"index_keys":{"u":["x"]},`, fault.Structure, "is not the base64 of a public key"},
		"owner of nothing":   {`"owners":{"hello":["x"]},`, fault.Structure, "is not the base64 of a public key"},
		"owners not sorted":  {`"owners":{"hello":["` + max(good, attesttest.Key("r2").Public().String()) + `","` + min(good, attesttest.Key("r2").Public().String()) + `"]},`, fault.Semantic, "are not sorted"},
		"policy of no name":  {`"policies":{"../x":1},`, fault.Structure, ""},
		"policy below 0":     {`"policies":{"demo":-1},`, fault.Semantic, "policy demo has version -1"},
		"chain of no digest": {`"chains":{"o":{"hello":{"digest":"x","seq":1}}},`, fault.Semantic, `"hello" has seq 1 and digest "x"`},
		"leaf below 0":       {`"chains":{"o":{"hello":{"digest":"` + zeros + `","seq":-1}}},`, fault.Semantic, `"hello" has seq -1`},
		"yank of no digest":  {`"yanks":{"o":{"hello@1":{"digest":"","seq":1}}},`, fault.Semantic, `"hello@1" has seq 1`},
	} {
		path := filepath.Join(t.TempDir(), "state.json")
		text := `{` + c.fields + `"schema_version":"rebuild.state@1.0.0"}`
		if strings.HasPrefix(c.fields, `"yanks"`) {
			text = `{"schema_version":"rebuild.state@1.0.0",` + strings.TrimSuffix(c.fields, ",") + `}`
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := LoadState(path)
		if fault.CodeOf(err) != c.code || !strings.Contains(fmt.Sprint(err), c.text) {
			t.Errorf("%s: %v, want %s and %q", name, err, c.code, c.text)
		}
		if err == nil && s.HasSeen("hello") != (name == "owners") {
			t.Errorf("%s: seen %t", name, s.HasSeen("hello"))
		}
		var coded *fault.Error
		if errors.As(err, &coded) && (coded.Hint == "" || !strings.Contains(err.Error(), path)) {
			t.Errorf("%s: %v says neither what to do nor where", name, err)
		}
	}
	path := filepath.Join(t.TempDir(), "state.json")
	if err := os.WriteFile(path, bytes.Repeat([]byte(" "), int(document.State.MaxBytes)+1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadState(path); fault.CodeOf(err) != fault.Parse || !strings.Contains(err.Error(), "are allowed") {
		t.Error(err)
	}
}

// Whichever call of a save fails, what was remembered before is remembered
// still, or all that was learned is, and the next save ends in the same bytes.
func TestMemoryOnAFaultyDisk(t *testing.T) {
	w := newTold(t)
	learn := func(path string, disk durable.FS) error {
		s, err := LoadState(path)
		w.must(err)
		s.setHead("o", headNote(w.before))
		s.setOwners("hello", []attest.PublicKey{attesttest.Key("r1").Public()})
		return s.save(disk)
	}
	sound := filepath.Join(t.TempDir(), "state.json")
	w.must(learn(sound, durable.OS{}))
	want := must1(os.ReadFile(sound))(t)
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			path := filepath.Join(t.TempDir(), "deep", "state.json")
			disk := failing(n, after)
			err := learn(path, disk)
			if err == nil && disk.Left > 0 {
				if n < 4 {
					t.Errorf("%d calls", n)
				}
				break
			}
			if fault.CodeOf(err) != fault.Usage || !errors.Is(err, errDisk) {
				t.Errorf("call %d, after %t: %v", n, after, err)
			}
			if data, err := os.ReadFile(path); err == nil && !bytes.Equal(data, want) {
				t.Fatalf("call %d, after %t: half of it is there: %s", n, after, data)
			}
			w.must(learn(path, durable.OS{}))
			if got := must1(os.ReadFile(path))(t); !bytes.Equal(got, want) {
				t.Fatalf("call %d, after %t: again ends in %s", n, after, got)
			}
		}
	}
}

// A memory that has grown too large gives up the texts of yank statements, whose
// digests still decide, and what then is too large is not saved.
func TestMemoryThatIsTooLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	s, err := LoadState(path)
	if err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat("x", int(document.State.MaxBytes)/16)
	for i := range 17 {
		s.setYank("o", fmt.Sprintf("hello@%d.0.0", i), seenEnd{Seq: int64(i), Digest: store.DigestOf([]byte{byte(i)}), Document: large})
	}
	if err := s.Save(); err != nil {
		t.Fatal(err)
	}
	now, err := LoadState(path)
	if err != nil {
		t.Fatal(err)
	}
	ends := now.yanksOf("o", "hello")
	for what, end := range ends {
		if end.Document != "" || end.Digest == "" {
			t.Errorf("%s: %d bytes of text, digest %q", what, len(end.Document), end.Digest)
		}
	}
	if len(ends) != 17 {
		t.Errorf("%d yanks", len(ends))
	}
	now.pinLog(strings.Repeat("x", int(document.State.MaxBytes)), "k")
	if err := now.Save(); fault.CodeOf(err) != fault.Semantic || !strings.Contains(err.Error(), "the state would have") {
		t.Error(err)
	}
	if again, err := LoadState(path); err != nil || len(again.yanksOf("o", "hello")) != 17 {
		t.Errorf("what was there is gone: %v", err)
	}
}
