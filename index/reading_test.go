package index

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
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

// mapSource serves files from memory, and counts.
type mapSource struct {
	files map[string][]byte
	asked []string
	// then replaces the files once one was asked for fresh; nil never does.
	then map[string][]byte
}

func (m *mapSource) String() string { return "INDEX" }

func (m *mapSource) Get(_ context.Context, path string, limit int64, fresh bool) ([]byte, error) {
	m.asked = append(m.asked, path)
	if fresh && m.then != nil {
		m.files, m.then = m.then, nil
	}
	data, ok := m.files[path]
	if !ok {
		return nil, fs.ErrNotExist
	}
	if int64(len(data)) > limit {
		return nil, fault.New(fault.Parse, "more than %d bytes", limit).At(path, 0)
	}
	return data, nil
}

// told is an index in two states, and one beside them that shares its log key.
type told struct {
	*bench
	before, after map[string][]byte // 0.1.0; then 0.2.0 and a yank of 0.1.0
	other         map[string][]byte // as long as before, and of other leaves
}

func (b *bench) files() map[string][]byte {
	b.t.Helper()
	return liartest.ReadFiles(b.t, b.dir)
}

func newTold(t testing.TB) *told {
	t.Helper()
	w := &told{bench: newBench(t)}
	w.statements()
	w.publish(w.propose())
	w.before = w.files()
	w.now = w.now.Add(time.Minute)
	w.publish(w.propose("0.1.0", "0.2.0"))
	_, err := w.open().Yank(context.Background(), w.yankStatement("0.1.0", attest.ActionYank, "", "r1", "r2"))
	w.must(err)
	w.after = w.files()
	other := newBench(t)
	for _, version := range []string{"1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0", "1.5.0", "1.6.0", "1.7.0", "1.8.0", "1.9.0", "1.10.0"} {
		_, _, err := other.open().AddPackage(context.Background(), pkgOf(t, "tool", version))
		other.must(err)
	}
	w.other = other.files()
	return w
}

// client is somebody who reads, with a memory.
type client struct {
	w       *told
	path    string
	now     time.Time
	policy  *attest.Policy
	offline bool
	notices []string
}

func (w *told) client(policy *attest.Policy) *client {
	return &client{w: w, path: filepath.Join(w.t.TempDir(), "state.json"), now: w.now, policy: policy}
}

// verify reads files as a command does: what was seen is saved if all verifies.
func (c *client) verify(src Source, version string) error {
	state, err := LoadState(c.path)
	if err != nil {
		return err
	}
	c.notices = nil
	r, err := NewReader(context.Background(), src, Reading{
		Policy: c.policy, State: state, Now: c.now, Offline: c.offline,
		Pause:  noPause,
		Notice: func(s string) { c.notices = append(c.notices, s) },
	})
	if err != nil {
		return err
	}
	e, err := r.Lookup(context.Background(), "hello", version)
	if err != nil {
		return err
	}
	if c.policy != nil {
		_, err = r.VerifyEntry(context.Background(), e)
	} else {
		_, err = r.Unjudged(context.Background(), e)
	}
	if err != nil {
		return err
	}
	return state.Save()
}

func changed(files map[string][]byte, change func(map[string][]byte)) map[string][]byte {
	out := maps.Clone(files)
	change(out)
	return out
}

func take(from map[string][]byte, paths ...string) func(map[string][]byte) {
	return func(to map[string][]byte) {
		for _, p := range paths {
			if data, ok := from[p]; ok {
				to[p] = data
			} else {
				delete(to, p)
			}
		}
	}
}

const helloLine, helloChain = "he/ll/hello", "chains/pkg/he/ll/hello.jsonl"

// viewFilesOf are the nodes above a file.
func viewFilesOf(path string) []string {
	two, four := viewPath(path)
	return []string{"view/root", "view/" + two, "view/" + four}
}

// G62, F10, B25: each lie of a server, or of who has the log's key, has its own
// code, and nothing of it is remembered. The client has seen the second state.
func TestG62_LyingServer(t *testing.T) {
	w := newTold(t)
	policy := w.in.Policy
	honest := w.client(policy)
	w.must(honest.verify(&mapSource{files: w.after}, "0.2.0"))
	memory, err := os.ReadFile(honest.path)
	w.must(err)
	forge := func(files map[string][]byte, change func(*liartest.Forgery)) map[string][]byte {
		f := liartest.Forge(t, files)
		change(f)
		return f.Seal(w.now)
	}
	unyanked := func(f *liartest.Forgery) {
		f.Files[helloLine] = bytes.Replace(f.Files[helloLine], []byte(`"yanked":true`), []byte(`"yanked":false`), 1)
	}
	dropped := func(files map[string][]byte) {
		_, second, _ := bytes.Cut(files[helloLine], []byte("\n"))
		files[helloLine] = second
	}
	note := func(f *liartest.Forgery) { // another leaf with the same view
		f.Append(attest.Event{Chain: "policy:demo", Type: attest.EventPolicy, Object: store.DigestOf([]byte("p"))})
	}
	yank := "statements/" + yankOf(t, w.after).Hex() + ".dsse.json"
	for name, c := range map[string]struct {
		files   map[string][]byte
		version string
		later   time.Duration
		code    fault.Code
	}{
		"honest":        {w.after, "0.2.0", 0, ""},
		"latest":        {w.after, "", 0, ""},
		"yanked, named": {w.after, "0.1.0", 0, ""},
		"grown":         {forge(w.after, note), "0.2.0", 0, ""},
		"rollback":      {w.before, "0.1.0", 0, fault.Rollback},
		"freeze":        {w.after, "0.2.0", 25 * time.Hour, fault.Stale},
		"fork, longer":  {w.other, "", 0, fault.Fork},
		"fork": {forge(w.before, func(f *liartest.Forgery) {
			for len(f.Log.Leaves) < 11 {
				f.Append(attest.Event{Chain: "policy:demo", Type: attest.EventPolicy, Object: store.DigestOf([]byte{byte(len(f.Log.Leaves))})})
			}
		}), "0.1.0", 0, fault.Fork},
		"fork, same size": {forge(w.before, func(f *liartest.Forgery) {
			for len(f.Log.Leaves) < len(liartest.Forge(t, w.after).Log.Leaves) {
				f.Append(attest.Event{Chain: "policy:demo", Type: attest.EventPolicy, Object: store.DigestOf([]byte{byte(len(f.Log.Leaves))})})
			}
		}), "0.1.0", 0, fault.Fork},
		"old head":      {changed(w.after, take(w.before, "head")), "0.2.0", 0, fault.Rollback},
		"old view":      {changed(w.after, take(w.before, viewFilesOf(helloLine)...)), "0.2.0", 0, fault.ViewMismatch},
		"old leaf node": {changed(w.after, take(w.before, viewFilesOf(helloLine)[2])), "0.2.0", 0, fault.ViewMismatch},
		"old lines":     {changed(w.after, take(w.before, helloLine)), "0.1.0", 0, fault.ViewMismatch},
		"new lines": {changed(forge(w.after, note), func(f map[string][]byte) {
			f[helloLine] = append(bytes.Clone(f[helloLine]), bytes.Replace(f[helloLine], []byte("0.1.0"), []byte("0.3.0"), 1)...)
		}), "0.2.0", 0, fault.ViewMismatch},
		"no lines":          {changed(w.after, take(nil, helloLine)), "0.2.0", 0, fault.ViewMismatch},
		"no view":           {changed(w.after, take(nil, "view/root")), "0.2.0", 0, fault.ViewMismatch},
		"no head":           {changed(w.after, take(nil, "head")), "0.2.0", 0, fault.ViewMismatch},
		"un-yank by server": {changed(w.after, func(m map[string][]byte) { f := &liartest.Forgery{Files: m}; unyanked(f) }), "0.1.0", 0, fault.ViewMismatch},
		"un-yank by log":    {forge(w.after, func(f *liartest.Forgery) { unyanked(f); note(f) }), "", 0, fault.Unyanked},
		"dropped by server": {changed(w.after, dropped), "0.2.0", 0, fault.ViewMismatch},
		"dropped by log":    {forge(w.after, func(f *liartest.Forgery) { dropped(f.Files); note(f) }), "0.2.0", 0, fault.ViewMismatch},
		"cut chain":         {changed(w.after, take(w.before, helloChain)), "0.2.0", 0, fault.ViewMismatch},
		"no chain":          {changed(w.after, take(nil, helloChain)), "0.2.0", 0, fault.ViewMismatch},
		"cut yank": {changed(w.after, func(f map[string][]byte) {
			lines := bytes.SplitAfter(f[helloChain], []byte("\n"))
			f[helloChain] = slices.Concat(lines[:len(lines)-2]...)
		}), "0.2.0", 0, fault.Unyanked},
		"chain of leaves that are not there": {changed(w.after, func(f map[string][]byte) {
			f[helloChain] = append(bytes.Clone(f[helloChain]), bytes.Replace(lastLine(f[helloChain]), []byte(`"type":"yank"`), []byte(`"type":"entry"`), 1)...)
		}), "0.2.0", 0, fault.EvidenceMismatch},
		"no yank statement": {changed(w.after, take(nil, yank)), "0.2.0", 0, fault.EvidenceMismatch},
		"archive":           {changed(w.after, replaced(t, w.after, "0.2.0")), "0.2.0", 0, fault.CksumMismatch},
		"wrong tile": {changed(w.after, func(f map[string][]byte) {
			for path, data := range f {
				if strings.HasPrefix(path, "tile/0/") {
					data = bytes.Clone(data)
					data[0] ^= 1
					f[path] = data
				}
			}
		}), "0.2.0", 0, fault.EvidenceMismatch},
		"no log": {changed(w.after, func(f map[string][]byte) {
			before, rest, _ := bytes.Cut(f["config.json"], []byte(`"log":`))
			_, after, _ := bytes.Cut(rest, []byte(`},`))
			f["config.json"] = slices.Concat(before, after)
		}), "0.2.0", 0, fault.ViewMismatch},
		"head of an older leaf": {changed(w.after, func(f map[string][]byte) {
			forged := liartest.Forge(t, w.after)
			f["head"] = forged.HeadOf(6, f["checkpoint"])
		}), "0.1.0", 0, fault.ViewMismatch},
		"from the future": {forge(w.after, func(f *liartest.Forgery) {
			f.Append(attest.Event{Chain: "policy:demo", Type: attest.EventPolicy, Object: store.DigestOf([]byte("p")), At: "2026-06-02T12:00:00Z"})
		}), "0.2.0", 0, fault.Stale},
		"newer line": {forge(w.after, func(f *liartest.Forgery) {
			f.Files[helloLine] = append(bytes.Clone(f.Files[helloLine]), `{"schema_version":"rebuild.index-entry@9.0.0"}`+"\n"...)
			note(f)
		}), "0.2.0", 0, ""},
		"endless config": {changed(w.after, func(f map[string][]byte) { f["config.json"] = bytes.Repeat([]byte(" "), 1<<20) }), "0.2.0", 0, fault.Parse},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lied := *honest
			lied.path = filepath.Join(t.TempDir(), "state.json")
			w.must(os.WriteFile(lied.path, memory, 0o644))
			lied.now = lied.now.Add(c.later)
			err := lied.verify(&mapSource{files: c.files}, c.version)
			if got := fault.CodeOf(err); got != c.code {
				t.Fatalf("got %q (%v), want %q", got, err, c.code)
			}
			if c.code == fault.Rollback || c.code == fault.Fork {
				bothNotes(t, err)
			}
			if now, _ := os.ReadFile(lied.path); err != nil && !bytes.Equal(now, memory) {
				t.Error("what failed is remembered")
			}
		})
	}
}

// bothNotes wants the two signed notes that prove it.
func bothNotes(t *testing.T, err error) {
	t.Helper()
	var e *fault.Error
	errors.As(err, &e)
	log, lerr := attest.PinnedLog(attesttest.Origin, attest.LogKey(attesttest.Origin, attesttest.Key("log").Public()))
	if lerr != nil {
		t.Fatal(lerr)
	}
	for _, key := range []string{"seen", "served"} {
		note, _ := e.Details[key].(string)
		if _, err := log.OpenCheckpoint([]byte(note)); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func lastLine(data []byte) []byte {
	lines := bytes.SplitAfter(bytes.TrimSuffix(data, []byte("\n")), []byte("\n"))
	return append(bytes.Clone(lines[len(lines)-1]), '\n')
}

// yankOf returns the payload of the last yank of hello.
func yankOf(t testing.TB, files map[string][]byte) store.Digest {
	t.Helper()
	e, err := attest.DecodeEvent("leaf", 1, bytes.TrimSuffix(lastLine(files[helloChain]), []byte("\n")))
	if err != nil || e.Type != attest.EventYank {
		t.Fatal(e, err)
	}
	return e.Object
}

// replaced puts another archive under a line.
func replaced(t testing.TB, files map[string][]byte, version string) func(map[string][]byte) {
	t.Helper()
	entries, err := parseLines(helloLine, "hello", files[helloLine], func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Version == version {
			return func(f map[string][]byte) {
				path := "objects/sha256/" + e.Cksum
				f[path] = append(bytes.Clone(f[path]), 0)
			}
		}
	}
	t.Fatal("no such version")
	return nil
}
