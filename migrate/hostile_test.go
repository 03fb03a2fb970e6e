package migrate

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"rebuild/internal/durable"
	"rebuild/internal/fault"
)

// A folder that somebody else made holds links with the names of documents.
// Neither the files that they lead to nor their names change, and nothing is
// written beside them.
func TestD6_LinksLeadNowhere(t *testing.T) {
	key := strings.Repeat("ab", 32)
	old, err := os.ReadFile(filepath.Join(compat, "lock/0.9.0.json"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		link, target, text string
		refused            int
	}{
		"a cache that is somebody's key":      {"contexts.json", "ssh/id", "secret", 0},
		"a cache of that name":                {"contexts.json", "other/contexts.json", "{", 1},
		"a cache among caches":                {"stages/" + key + ".json", "ssh/id", "secret", 0},
		"a folder of caches":                  {"stages", "other/stages", "", 1},
		"a lock of another project":           {"rebuild.lock", "other/rebuild.lock", string(old), 1},
		"a lock by another name":              {"rebuild.lock", "other/mine.json", string(old), 1},
		"the state of another root":           {"state.json", "other/state.json", "{", 0},
		"a document by the name of a program": {"verified.json", "bin/tool", "#!/bin/sh", 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir, out := t.TempDir(), t.TempDir()
			target := filepath.Join(out, c.target)
			if c.text == "" {
				write(t, filepath.Join(target, key+".json"), "{")
			} else {
				write(t, target, c.text)
			}
			if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, c.link)), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(target, filepath.Join(dir, c.link)); err != nil {
				t.Fatal(err)
			}
			before := listing(t, out)
			r, err := Find(Options{}, dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Write(durable.OS{}); err != nil {
				t.Error(err)
			}
			if after := listing(t, out); after != before {
				t.Errorf("now\n%s\nbefore\n%s", after, before)
			}
			if r.Refused() != c.refused {
				t.Errorf("%+v", r.Findings)
			}
			if err := r.Err(); c.refused > 0 && fault.CodeOf(err) != fault.MigrationFailed {
				t.Error(err)
			}
		})
	}
	// Who names the link means the file.
	dir, out := t.TempDir(), t.TempDir()
	write(t, filepath.Join(out, "rebuild.lock"), string(old))
	link := filepath.Join(dir, "rebuild.lock")
	if err := os.Symlink(filepath.Join(out, "rebuild.lock"), link); err != nil {
		t.Fatal(err)
	}
	r, err := Find(Options{}, link)
	if err != nil || r.Pending() != 1 {
		t.Fatalf("%+v, %v", r, err)
	}
	// A link that leads elsewhere by the time of the writing is not followed.
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(out, "other"), string(old))
	if err := os.Symlink(filepath.Join(out, "other"), link); err != nil {
		t.Fatal(err)
	}
	if err := r.Write(durable.OS{}); fault.CodeOf(err) != fault.MigrationFailed {
		t.Error(err)
	}
	if data, _ := os.ReadFile(filepath.Join(out, "other")); string(data) != string(old) {
		t.Error("another file was written")
	}
}

// Files that wait for a writer, or are none, end at once.
func TestFindWaitsForNobody(t *testing.T) {
	for _, name := range names {
		dir := t.TempDir()
		if err := syscall.Mkfifo(filepath.Join(dir, name), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Find(Options{}, dir); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Several migrations of one folder at once end in what one of them makes, with
// one backup of each document.
func TestD6_ConcurrentMigrations(t *testing.T) {
	alone := world(t)
	if err := find(t, alone, Options{}).Write(durable.OS{}); err != nil {
		t.Fatal(err)
	}
	dir := world(t)
	var wait sync.WaitGroup
	for range 8 {
		r := find(t, dir, Options{})
		wait.Add(1)
		go func() {
			defer wait.Done()
			if err := r.Write(durable.OS{}); err != nil {
				t.Error(err)
			}
		}()
	}
	wait.Wait()
	if got, want := listing(t, dir), listing(t, alone); got != want {
		t.Errorf("now\n%s\nwant\n%s", got, want)
	}
}
