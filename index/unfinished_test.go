package index

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rebuild/index/liartest"
	"rebuild/internal/fault"
)

// stopped leaves a publication of tool 2.0.0 behind that is in the log and was
// shown to nobody.
func stopped(t *testing.T) *bench {
	t.Helper()
	b := plainBench(t).quick().init()
	b.unsigned("tool", "1.0.0")
	for n := 1; ; n++ {
		ready := b.dir
		b.dir = filepath.Join(t.TempDir(), "index")
		b.must(os.CopyFS(b.dir, os.DirFS(ready)))
		_, _, _ = b.on(failing(n, false)).AddPackage(t.Context(), pkgOf(t, "tool", "2.0.0"))
		if j, err := b.open().readJournal(); err == nil && j != nil {
			if c, err := readCheckpoint(t.Context(), b.open().src, must1(b.open().config())(t)); err == nil && c.Size == j.end() {
				return b
			}
		}
		b.dir = ready
	}
}

// What a crash has left and what has spoiled a derived file since are both put
// right by one repair, with the log's key and without.
func TestRepairOfAnUnfinishedIndexWithSpoiltFiles(t *testing.T) {
	b := stopped(t)
	ready := b.dir
	for name, spoil := range map[string]func(file string) error{
		"missing":   os.Remove,
		"truncated": func(file string) error { return os.Truncate(file, 10) },
		"empty":     func(file string) error { return os.Truncate(file, 0) },
	} {
		for _, file := range []string{"chains/pkg/to/ol/tool.jsonl", headFile} {
			for _, keyless := range []bool{false, true} {
				b.dir = filepath.Join(t.TempDir(), "index")
				b.must(os.CopyFS(b.dir, os.DirFS(ready)))
				b.must(spoil(filepath.Join(b.dir, file)))
				in := b.in
				if keyless {
					in.Log, in.LogKey = nil, nil
				}
				r, err := Fsck(t.Context(), b.dir, in, FsckOptions{Repair: true})
				if err != nil || r.Err() != nil {
					t.Errorf("%s %s, without a key %t: %v %v", file, name, keyless, err, r)
					continue
				}
				b.fsckClean()
				if e, err := b.open().Lookup("tool", "2.0.0"); err != nil {
					t.Errorf("%s %s: %v %v", file, name, e, err)
				}
			}
		}
	}
}

// A journal that was finished long ago and is put back changes nothing, for writers
// and for who has no key, and who is told so is told what to do; so is who finds one
// that the log has not.
func TestAnOldJournalThatIsPutBack(t *testing.T) {
	b := stopped(t)
	old := b.file(stagedFile)
	b.must(b.open().Recover(t.Context()))
	path := filepath.Join(b.dir, stagedFile)
	b.must(os.WriteFile(path, old, 0o644)) // the last one: done again, to the same end
	before := b.file(headFile)
	if again, err := Finish(t.Context(), b.dir); !again || err != nil || !bytes.Equal(before, b.file(headFile)) {
		t.Errorf("%t %v", again, err)
	}
	b.unsigned("tool", "3.0.0")
	honest := liartest.ReadFiles(t, b.dir)
	for name, c := range map[string]struct {
		staged []byte
		hint   string
	}{
		"old":           {old, "remove .staged"},
		"of another":    {stagedLeaves(t, 1), "put back"},
		"of the future": {stagedLeaves(t, 99), "put back"},
		"at the end":    {stagedLeaves(t, 1<<53-1), "put back"},
	} {
		b.must(os.WriteFile(path, c.staged, 0o644))
		_, _, err := b.open().AddPackage(t.Context(), pkgOf(t, "tool", "4.0.0"))
		var told *fault.Error
		if !errors.As(err, &told) || told.Code != fault.Fork || !strings.Contains(told.Hint, c.hint) {
			t.Errorf("%s: %v", name, err)
		}
		if again, err := Finish(t.Context(), b.dir); again || err != nil {
			t.Errorf("%s: %t %v", name, again, err)
		}
		r, err := Fsck(t.Context(), b.dir, Writing{Now: b.in.Now}, FsckOptions{Repair: true})
		b.must(err)
		if len(r.Findings) == 0 || r.Findings[0].Code != fault.Fork || r.Findings[0].File != stagedFile {
			t.Errorf("%s: %v", name, r.Findings)
		}
		b.must(os.Remove(path))
		for file, data := range liartest.ReadFiles(t, b.dir) {
			if string(honest[file]) != string(data) {
				t.Errorf("%s: %s is written", name, file)
			}
		}
	}
}
