package index

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"rebuild/internal/fault"
)

// pages is a list of so many pages, each of which leads to the next one.
func pages(n int) fstest.MapFS {
	files := fstest.MapFS{}
	for i := range n {
		next := ""
		if i+1 < n {
			next = fmt.Sprintf(`"next":%q,`, pageName(entriesFile, i+1))
		}
		files[pageName(entriesFile, i)] = &fstest.MapFile{Data: []byte(`{"entries":[],` + next + `"schema_version":"rebuild.registry@1.0.0"}`)}
	}
	return files
}

// B7: a list has an end, wherever it comes from, and is asked for nothing that
// is no part of it.
func TestB7ListsHaveAnEnd(t *testing.T) {
	ctx := context.Background()
	src, err := Flat(ctx, Dir(pages(maxFlatPages), "here"))
	if err != nil || !IsFlat(src) {
		t.Fatal(src, err)
	}
	r, err := NewReader(ctx, src, Reading{})
	if err != nil {
		t.Fatal(err)
	}
	if all, err := r.Packages(ctx); err != nil || len(all) != 0 {
		t.Error(all, err)
	}
	if _, err := Flat(ctx, Dir(pages(maxFlatPages+1), "here")); fault.CodeOf(err) != fault.Semantic || !strings.Contains(err.Error(), "more than 16 pages") {
		t.Error(err)
	}
	lines := strings.Repeat("x", 100)
	f := &flatSource{Source: Dir(fstest.MapFS{"head": {Data: []byte("x")}, "objects/sha256/x": {Data: []byte("x")}}, "here"), lines: map[string][]byte{"he/ll/hello": []byte(lines)}}
	for path, want := range map[string]string{"he/ll/hello": lines, "objects/sha256/x": "x"} {
		if data, err := f.Get(ctx, path, 100, false); err != nil || string(data) != want {
			t.Errorf("%s: %q %v", path, data, err)
		}
	}
	if _, err := f.Get(ctx, "he/ll/hello", 99, false); fault.CodeOf(err) != fault.Parse {
		t.Error(err)
	}
	for _, path := range []string{"head", "he/ll/hallo", "checkpoint"} {
		if data, err := f.Get(ctx, path, 100, false); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %q %v", path, data, err)
		}
	}
}

// A list is no way around a log: where an index had one, the list of its folder
// that is left when config.json is taken away is not read in its place.
func TestAListIsNoWayAroundALog(t *testing.T) {
	b := newBench(t)
	b.unsigned("tool", "1.0.0")
	_, err := b.open().Export(t.Context())
	b.must(err)
	server := httptest.NewServer(http.FileServer(http.Dir(b.dir)))
	defer server.Close()
	base, err := url.Parse(server.URL + "/")
	b.must(err)
	root, err := os.OpenRoot(b.dir)
	b.must(err)
	defer root.Close()
	for name, folder := range map[string]Source{
		"folder": Folder(root, b.dir), "server": Remote(base, Remoting{Client: server.Client(), Now: time.Now}),
	} {
		state, err := LoadState(filepath.Join(t.TempDir(), "state.json"))
		b.must(err)
		read := func(with *State) error {
			src, err := Flat(t.Context(), folder)
			b.must(err)
			_, err = NewReader(t.Context(), src, Reading{State: with, Now: b.now})
			return err
		}
		b.must(read(state))
		b.must(os.Rename(filepath.Join(b.dir, configFile), filepath.Join(b.dir, "away")))
		if err := read(state); fault.CodeOf(err) != fault.ViewMismatch {
			t.Errorf("%s: %v", name, err)
		}
		b.must(read(&State{})) // who never saw the log reads what there is
		b.must(os.Rename(filepath.Join(b.dir, "away"), filepath.Join(b.dir, configFile)))
	}
}
