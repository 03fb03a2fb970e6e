package index

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/document"
	"rebuild/internal/fault"
)

// keptIndex is an index as the release of rebuild wrote it that the file is named
// after, and what somebody remembered who had read it. It is never changed.
type keptIndex struct {
	Policy string            `json:"policy"`
	State  string            `json:"state"`
	Now    time.Time         `json:"now"`
	Texts  map[string]string `json:"texts"` // files by path
	Bytes  map[string][]byte `json:"bytes"` // those that are no text
}

const keptIndexes = "../testdata/indexes"

// oldIndexes are all that are kept. REBUILD_UPDATE=1 adds that of the documents'
// current version if there is none, and replaces no other.
func oldIndexes(t *testing.T) []string {
	t.Helper()
	current := filepath.Join(keptIndexes, "1.0.0.json")
	if _, err := os.Stat(current); err != nil && os.Getenv("REBUILD_UPDATE") == "1" {
		keepIndex(t, current)
	}
	all, err := filepath.Glob(filepath.Join(keptIndexes, "*.json"))
	if err != nil || len(all) == 0 {
		t.Fatalf("no index is kept: %v", err)
	}
	return all
}

func keepIndex(t *testing.T, file string) {
	t.Helper()
	w := newTold(t)
	w.unsigned("tool", "1.0.0")
	_, err := w.open().Backfill(context.Background(), BackfillOptions{Write: true})
	w.must(err)
	_, err = w.open().Export(context.Background())
	w.must(err)
	files := w.files()
	w.must(fs.WalkDir(os.DirFS(w.dir), ".state", func(path string, d fs.DirEntry, err error) error { // what the log's writer goes on by
		if err == nil && !d.IsDir() {
			files[path], err = os.ReadFile(filepath.Join(w.dir, path))
		}
		return err
	}))
	c := w.client(w.in.Policy)
	w.must(c.verify(&mapSource{files: files}, "0.2.0"))
	state, err := os.ReadFile(c.path)
	w.must(err)
	kept := keptIndex{Policy: w.PolicyTOML, State: string(state), Now: w.now, Texts: map[string]string{}, Bytes: map[string][]byte{}}
	for path, data := range files {
		if !utf8.Valid(data) || bytes.ContainsRune(data, 0) || strings.HasPrefix(path, "tile/") {
			kept.Bytes[path] = data
		} else {
			kept.Texts[path] = string(data)
		}
	}
	data, err := json.MarshalIndent(kept, "", " ")
	w.must(err)
	w.must(os.MkdirAll(filepath.Dir(file), 0o755))
	w.must(os.WriteFile(file, append(data, '\n'), 0o644))
}

// An index that an older version wrote is read by one who remembers it and by one
// who does not, is sound, and is gone on with.
func TestIndexesOfOlderVersions(t *testing.T) {
	ctx := context.Background()
	for _, file := range oldIndexes(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var kept keptIndex
			if err := json.Unmarshal(data, &kept); err != nil {
				t.Fatal(err)
			}
			b := plainBench(t)
			b.PolicyTOML, b.now = kept.Policy, kept.Now
			b.in.Policy, err = attest.LoadPolicy("policy.toml", []byte(kept.Policy))
			b.must(err)
			for path, text := range kept.Texts {
				kept.Bytes[path] = []byte(text)
			}
			for path, data := range kept.Bytes {
				at := filepath.Join(b.dir, filepath.FromSlash(path))
				b.must(os.MkdirAll(filepath.Dir(at), 0o755))
				b.must(os.WriteFile(at, data, 0o644))
			}
			b.fsckClean()
			memory := filepath.Join(t.TempDir(), "state.json")
			b.must(os.WriteFile(memory, []byte(kept.State), 0o644))
			b.readOld(memory)
			b.readOld(filepath.Join(t.TempDir(), "state.json"))

			_, _, err = b.open().AddPackage(ctx, pkgOf(t, "tool", "2.0.0"))
			b.must(err)
			b.publish(b.propose("0.1.0", "0.3.0"))
			_, err = b.open().Export(ctx)
			b.must(err)
			b.fsckClean()
			b.readOld(memory)
		})
	}
}

// readOld reads all that the first kept index has.
func (b *bench) readOld(memory string) {
	b.t.Helper()
	ctx := context.Background()
	state, err := LoadState(memory)
	b.must(err)
	r, err := b.open().Reader(ctx, Reading{Policy: b.in.Policy, State: state, Now: b.now, Pause: noPause})
	b.must(err)
	for _, version := range []string{"0.1.0", "0.2.0"} {
		e, p, err := r.Verify(ctx, "hello", version)
		b.must(err)
		if e.Yanked != (version == "0.1.0") || p.Document().Version != version {
			b.t.Errorf("%s: yanked %t, package %s", version, e.Yanked, p.Document().Version)
		}
		listed, err := r.List(ctx, e)
		b.must(err)
		bundle, err := r.Bundle(ctx, e)
		b.must(err)
		if listed.Document.Name != "hello" || len(listed.Verdicts) != 1 || len(bundle.Builds) != 1 {
			b.t.Errorf("listed as %+v, %d builds", listed.Document, len(bundle.Builds))
		}
	}
	b.must(r.ReadLog(ctx, true))
	_, _, err = r.Verify(ctx, "tool", "1.0.0")
	b.code(err, fault.QuorumPending)
	b.must(state.Save())
	b.readUnjudged()
}

// readUnjudged reads what an index says to who has no policy.
func (b *bench) readUnjudged() {
	b.t.Helper()
	ctx := context.Background()
	r, err := b.open().Reader(ctx, Reading{Now: b.now, Pause: noPause})
	b.must(err)
	names, err := r.Packages(ctx)
	b.must(err)
	if len(names) != 2 || names[0] != "hello" || names[1] != "tool" {
		b.t.Errorf("packages %v", names)
	}
	for _, name := range names {
		e, err := r.Lookup(ctx, name, "")
		b.must(err)
		pkg, err := r.Unjudged(ctx, e)
		b.must(err)
		listed, err := r.List(ctx, e)
		b.must(err)
		if pkg.Cksum() != e.Cksum || listed.Document.Name != name || listed.Release != nil {
			b.t.Errorf("%s: %s, listed %+v", name, pkg.Cksum(), listed)
		}
	}
	yanked, e, err := r.Yanked(ctx, "hello", "0.1.0")
	b.must(err)
	if !yanked.Yanked || yanked.Head == "" || e.Version != "0.1.0" {
		b.t.Errorf("%v of %s", yanked, e.Version)
	}
	if r.Head().Origin != attesttest.Origin || r.Config().SchemaVersion != document.IndexConfig.ID() {
		b.t.Errorf("head %v, config %v", r.Head(), r.Config())
	}
}
