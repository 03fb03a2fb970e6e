package index

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"rebuild/internal/fault"
	"rebuild/store"
)

// Definitions are bytes under their own digest; what is hinted at is no more
// than that.
func TestDefinitions(t *testing.T) {
	dir := indexOf(t, nil, nil)
	good := []byte("FROM scratch\n")
	d := store.DigestOf(good)
	plan := store.DigestOf([]byte("plan"))
	add := func() (int, error) {
		x := AddDefinitions(dir)
		defer x.Abort()
		for range 2 { // the same twice is once
			if err := x.Object(d, good); err != nil {
				t.Fatal(err)
			}
		}
		if err := x.Object(d, []byte("FROM elsewhere\n")); fault.CodeOf(err) != fault.CksumMismatch {
			t.Errorf("other bytes: %v", err)
		}
		if err := x.Hints(plan, map[store.Digest][]string{d: {"https://example.org/x"}}); err != nil {
			t.Fatal(err)
		}
		return x.Commit()
	}
	if _, err := add(); err != nil {
		t.Fatal(err)
	}
	before := listing(t, dir)
	if n, err := add(); err != nil || n != 1 { // the hints, again
		t.Errorf("again: %d files, %v", n, err)
	}
	if listing(t, dir) != before {
		t.Error("adding again changed something")
	}
	r, err := NewReader(context.Background(), Dir(os.DirFS(dir), dir), Reading{})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := r.Object(context.Background(), d, MaxObject); err != nil || !bytes.Equal(got, good) {
		t.Errorf("%s, %v", got, err)
	}
	if h, err := r.Hints(context.Background(), plan); err != nil || len(h[d]) != 1 {
		t.Errorf("%v, %v", h, err)
	}
	if h, err := r.Hints(context.Background(), d); err != nil || h != nil {
		t.Errorf("of another plan: %v, %v", h, err)
	}
	// A hint that can not be read is none, and no reason to fail.
	if err := os.WriteFile(filepath.Join(dir, hintsPath(plan)), []byte(`{"schema_version":"rebuild.hints@9.0.0"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if h, err := r.Hints(context.Background(), plan); err != nil || h != nil {
		t.Errorf("unreadable: %v, %v", h, err)
	}
	// A damaged object is replaced.
	if err := os.WriteFile(filepath.Join(dir, objectPath(d)), []byte("damaged"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := add(); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Object(context.Background(), d, MaxObject); err != nil || !bytes.Equal(got, good) {
		t.Errorf("%s, %v", got, err)
	}
}

// Views of every released version are read by the next.
func TestD7_CompatibleViewIsRead(t *testing.T) {
	data, err := os.ReadFile("../testdata/compat/view/1.0.0.json")
	if err != nil {
		t.Fatal(err)
	}
	if nodes, err := decodeViewNodes("view/root", data); err != nil || len(nodes) != 1 {
		t.Errorf("%v, %v", nodes, err)
	}
}
