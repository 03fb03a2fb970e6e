// Package liartest makes indexes, for tests, as no honest writer or server would
// show them.
package liartest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/document"
	"rebuild/store"
)

// Forgery is a logged index of at most 255 leaves in memory, whose log key
// signs whatever is in it: what a writer or server that lies could show. The
// key is attesttest's "log".
type Forgery struct {
	T     testing.TB
	Files map[string][]byte
	Log   *attesttest.Log
}

// ReadFiles returns the files of an index that are served.
func ReadFiles(t testing.TB, dir string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		if strings.HasPrefix(d.Name(), ".") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() || path == "lock" {
			return nil
		}
		files[path], err = fs.ReadFile(os.DirFS(dir), path)
		return err
	})
	must(t, err)
	return files
}

// Forge takes up a logged index with its leaves. The map is copied.
func Forge(t testing.TB, files map[string][]byte) *Forgery {
	t.Helper()
	var config struct {
		Log struct{ Origin string }
	}
	must(t, json.Unmarshal(files["config.json"], &config))
	f := &Forgery{T: t, Files: map[string][]byte{}, Log: attesttest.NewLog(t, config.Log.Origin)}
	for path, data := range files {
		f.Files[path] = data
		if strings.HasPrefix(path, "tile/entries/000.p/") && len(splitLeaves(data)) > len(f.Log.Leaves) {
			f.Log = attesttest.NewLog(t, config.Log.Origin)
			for _, leaf := range splitLeaves(data) {
				f.Log.AppendLeaf(chainOf(t, leaf), leaf)
			}
		}
	}
	return f
}

func splitLeaves(data []byte) (out [][]byte) {
	for len(data) > 2 {
		n := int(binary.BigEndian.Uint16(data))
		out = append(out, data[2:2+n])
		data = data[2+n:]
	}
	return out
}

func chainOf(t testing.TB, leaf []byte) string {
	t.Helper()
	var e attest.Event
	must(t, json.Unmarshal(leaf, &e))
	return e.Chain
}

// Last returns the last leaf.
func (f *Forgery) Last() attest.Event {
	f.T.Helper()
	var e attest.Event
	must(f.T, json.Unmarshal(f.Log.Leaves[len(f.Log.Leaves)-1], &e))
	return e
}

// Append appends a leaf, dated as the last one unless it says otherwise, with
// the view of the files as they are unless it has one.
func (f *Forgery) Append(e attest.Event) attest.Event {
	f.T.Helper()
	if e.At == "" && len(f.Log.Leaves) > 0 {
		e.At = f.Last().At
	}
	if e.View == "" {
		e.View = f.View()
	}
	return f.Log.Append(e)
}

// ConfigEvent is the first leaf of a log, for a config.json.
func ConfigEvent(config []byte) attest.Event {
	return attest.Event{Chain: "index", Type: attest.EventConfig, Object: store.DigestOf(config)}
}

// Relog replaces the leaves, each linked to the one before it in its chain and
// otherwise as it says, also where that is wrong.
func (f *Forgery) Relog(events []attest.Event) {
	f.T.Helper()
	f.Log = attesttest.NewLog(f.T, f.Log.Origin)
	for _, e := range events {
		e.Prev = ""
		if chain := f.Log.Chains[e.Chain]; len(chain) > 0 {
			e.Prev = store.DigestOf(chain[len(chain)-1])
		}
		leaf, err := e.Encode()
		must(f.T, err)
		f.Log.AppendLeaf(e.Chain, leaf)
	}
}

// ViewPath returns the two nodes of the view that a file is under.
func ViewPath(file string) (two, four string) { return hash(file)[:2], hash(file)[:4] }

// View writes the nodes of the view of config.json and all files of lines, and
// returns its digest.
func (f *Forgery) View() store.Digest {
	f.T.Helper()
	leaves := map[string]map[string]store.Digest{}
	for path, data := range f.Files {
		if isViewed(path) {
			four := hash(path)[:4]
			if leaves[four] == nil {
				leaves[four] = map[string]store.Digest{}
			}
			leaves[four][path] = store.DigestOf(data)
		}
	}
	middle := map[string]map[string]store.Digest{}
	for four, all := range leaves {
		if middle[four[:2]] == nil {
			middle[four[:2]] = map[string]store.Digest{}
		}
		middle[four[:2]][four] = f.node("view/"+four, "files", all)
	}
	root := map[string]store.Digest{}
	for two, all := range middle {
		root[two] = f.node("view/"+two, "nodes", all)
	}
	return f.node("view/root", "nodes", root)
}

func (f *Forgery) node(path, field string, all map[string]store.Digest) store.Digest {
	f.T.Helper()
	data, err := document.Encode(map[string]any{"schema_version": document.View.ID(), field: all})
	must(f.T, err)
	f.Files[path] = data
	return store.DigestOf(data)
}

func isViewed(path string) bool {
	if path == "config.json" {
		return true
	}
	first, _, deep := strings.Cut(path, "/")
	return deep && !slices.Contains([]string{"view", "tile", "statements", "objects", "chains", "hints"}, first)
}

func hash(path string) string {
	sum := sha256.Sum256([]byte(path))
	return hex.EncodeToString(sum[:])
}

// Seal writes the log's files anew: tiles, chains, checkpoint and head, cosigned
// by the log at a time and by witnesses.
func (f *Forgery) Seal(at time.Time, witnesses ...string) map[string][]byte {
	f.T.Helper()
	for path := range f.Files {
		if strings.HasPrefix(path, "tile/") || strings.HasPrefix(path, "chains/") {
			delete(f.Files, path)
		}
	}
	var hashes, entries []byte
	for _, leaf := range f.Log.Leaves {
		h := tlog.RecordHash(leaf)
		hashes = append(hashes, h[:]...)
		entries = append(binary.BigEndian.AppendUint16(entries, uint16(len(leaf))), leaf...)
	}
	n := len(f.Log.Leaves)
	f.Files[fmt.Sprintf("tile/0/000.p/%d", n)] = hashes
	f.Files[fmt.Sprintf("tile/entries/000.p/%d", n)] = entries
	for chain := range f.Log.Chains {
		f.Files[ChainFile(chain)] = f.Log.Events(chain)
	}
	checkpoint := f.Log.Checkpoint(at, witnesses...)
	f.Files["checkpoint"] = checkpoint
	f.Files["head"] = f.HeadOf(n-1, checkpoint)
	return f.Files
}

// HeadOf returns a head file of a leaf under a checkpoint of the whole log.
func (f *Forgery) HeadOf(seq int, checkpoint []byte) []byte {
	f.T.Helper()
	return slices.Concat(f.Log.Leaves[seq], []byte("\n"), f.Log.Proof(int64(seq), checkpoint))
}

// ChainFile returns where the leaves of a chain are. Names of packages have at
// least four letters.
func ChainFile(chain string) string {
	if name, ok := strings.CutPrefix(chain, "pkg:"); ok {
		return "chains/pkg/" + LineFile(name) + ".jsonl"
	}
	if name, ok := strings.CutPrefix(chain, "policy:"); ok {
		return "chains/policy/" + name + ".jsonl"
	}
	if chain == "index" {
		return "chains/index.jsonl"
	}
	return "chains/plan/" + strings.TrimPrefix(chain, "sha256:") + ".jsonl"
}

// LineFile returns where the lines of a package are, whose name has at least
// four letters, without a scope.
func LineFile(name string) string {
	if scope, rest, scoped := strings.Cut(name, "/"); scoped {
		return "~" + scope + "/" + LineFile(rest)
	}
	return name[:2] + "/" + name[2:4] + "/" + name
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
