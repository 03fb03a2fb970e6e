package migrate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rebuild/internal/document"
	"rebuild/internal/durable"
	"rebuild/internal/durable/durabletest"
	"rebuild/internal/fault"
)

// A crash at any call leaves each document whole, the old one or the new, and
// the old bytes somewhere; doing it again ends in the same bytes as if nothing
// had happened.
func TestCrashWhileMigrating(t *testing.T) {
	honest := world(t)
	if err := find(t, honest, Options{}).Write(durable.OS{}); err != nil {
		t.Fatal(err)
	}
	want := listing(t, honest)
	calls := 0
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			dir := world(t)
			err := find(t, dir, Options{}).Write(&durabletest.Disk{Left: n, After: after})
			if err != nil && fault.CodeOf(err) != fault.MigrationFailed {
				t.Fatalf("call %d: %v", n, err)
			}
			wholeDocuments(t, dir)
			if err := find(t, dir, Options{}).Write(durable.OS{}); err != nil {
				t.Fatalf("call %d, after %v: again: %v", n, after, err)
			}
			if got := listing(t, dir); got != want {
				t.Fatalf("call %d, after %v: again ended in\n%s\nnot\n%s", n, after, got, want)
			}
			if err == nil {
				calls += n - 1
				break
			}
		}
	}
	if calls < 40 {
		t.Errorf("only %d points were tried", calls)
	}
}

// wholeDocuments wants each migrated document to be one of its two forms.
func wholeDocuments(t *testing.T, dir string) {
	t.Helper()
	for path, kind := range map[string]string{"pipeline/rebuild.lock": "lock", "index/config.json": "index-config", "state/state.json": "state"} {
		now, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil {
			t.Fatal(err)
		}
		old, _ := os.ReadFile(filepath.Join(compat, kind, "0.9.0.json"))
		current, _ := os.ReadFile(filepath.Join(compat, kind, "1.0.0.json"))
		if string(now) != string(old) && string(now) != string(current) {
			t.Fatalf("%s is %s", path, now)
		}
		backup, err := os.ReadFile(filepath.Join(dir, path+".0.9.0.bak"))
		if string(now) == string(current) && string(backup) != string(old) {
			t.Fatalf("%s is new, and of the old there is %q, %v", path, backup, err)
		}
	}
}

// FuzzFind: whatever lies there, looking and migrating never panic, and a
// document that was rewritten is current and has its old bytes beside it.
func FuzzFind(f *testing.F) {
	for _, seed := range []string{"lock/0.9.0.json", "lock/1.0.0.json", "state/0.9.0.json", "index-config/0.9.0.json"} {
		data, err := os.ReadFile(filepath.Join(compat, seed))
		if err != nil {
			f.Fatal(err)
		}
		f.Add("rebuild.lock", data)
		f.Add("config.json", data)
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		if name == "" || strings.ContainsAny(name, "/\x00") || name == "." || name == ".." || len(name) > 100 {
			return
		}
		dir := t.TempDir()
		path := filepath.Join(dir, name)
		if os.WriteFile(path, data, 0o644) != nil {
			return
		}
		r, err := Find(Options{}, dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Write(durable.OS{}); err != nil {
			t.Fatal(err)
		}
		for _, found := range r.Findings {
			if found.Action != Rewrite {
				continue
			}
			now, _ := os.ReadFile(path)
			old, _ := os.ReadFile(found.Backup)
			if document.SchemaVersion(now) != found.To || string(old) != string(data) {
				t.Fatalf("%s became %s, kept %s", data, now, old)
			}
		}
	})
}
