package main

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/index/indextest"
	"rebuild/index/liartest"
	"rebuild/store"
)

// The files of a logged index in two states, before and after a second version
// and a yank of the first, and those of another history under the same log key.
type histories struct {
	policy               string
	before, after, other map[string][]byte
}

// judgedAt is when they are read.
const judgedAt = "2026-06-01T12:05:00Z"

var (
	historiesOnce sync.Once
	historiesMade *histories
)

func indexHistories(t testing.TB) *histories {
	t.Helper()
	historiesOnce.Do(func() { historiesMade = makeHistories(t) })
	if historiesMade == nil {
		t.Fatal("the indexes could not be made")
	}
	return historiesMade
}

func makeHistories(t testing.TB) *histories {
	t.Helper()
	w := attesttest.New(t)
	w.PolicyTOML = strings.Replace(attesttest.Policy(attesttest.LogPolicy(0)), "groups.main", "require = { logged = true }\ngroups.main", 1)
	h := &histories{policy: w.PolicyTOML}
	told := indextest.NewLogged(t, w)
	_, err := told.Open().AddStatements(t.Context(), w.PlanJSON, w.Statements())
	must(t, err)
	told.Publish("0.1.0", "r1")
	h.before = liartest.ReadFiles(t, told.Dir)
	told.Publish("0.2.0", "r1")
	told.Yank(attest.Yank{Version: "0.1.0", Action: attest.ActionYank, Reason: "old", At: judgedAt}, "r1", "r2")
	h.after = liartest.ReadFiles(t, told.Dir)
	other := indextest.NewLogged(t, w)
	for i := range 12 {
		_, _, err := other.Open().AddPackage(t.Context(), emptyPackage(t, fmt.Sprintf("1.%d.0", i)))
		must(t, err)
	}
	h.other = liartest.ReadFiles(t, other.Dir)
	return h
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func emptyPackage(t testing.TB, version string) *attest.Package {
	t.Helper()
	_, image, err := attest.LoadPackage("package.toml", []byte(strings.NewReplacer(`"hello"`, `"tool"`, "0.1.0", version).Replace(attesttest.PackageTOML)))
	must(t, err)
	pkg, err := attest.Pack(image, nil, attesttest.Epoch)
	must(t, err)
	return pkg
}

// liar is a server that tells the truth until it is told what to say.
type liar struct {
	*httptest.Server
	h      *histories
	mu     sync.Mutex
	answer http.HandlerFunc
	asked  []http.Header
}

// liarKey is where a script keeps its server.
type liarKey struct{}

func newLiar(h *histories) *liar {
	l := &liar{h: h}
	l.tell("honest")
	l.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		answer := l.answer
		l.asked = append(l.asked, r.Header.Clone())
		l.mu.Unlock()
		answer(w, r)
	}))
	return l
}

func (l *liar) tell(lie string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	tell, known := lies[lie]
	if known {
		l.answer = tell(l.h)
	}
	return known
}

func (l *liar) url() string { return l.URL + "/index/" }

// files serves an index as a web server does that keeps no promise about how
// long a file stays as it is.
func files(all map[string][]byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		data, ok := all[strings.TrimPrefix(r.URL.Path, "/index/")]
		if !ok {
			http.NotFound(w, r)
			return
		}
		etag := `"` + store.DigestOf(data).Hex() + `"`
		w.Header().Set("ETag", etag)
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Write(data)
	}
}

// instead serves an index with some files replaced; nil takes one away.
func instead(all, other map[string][]byte) http.HandlerFunc {
	all = maps.Clone(all)
	for path, data := range other {
		if all[path] = data; data == nil {
			delete(all, path)
		}
	}
	return files(all)
}

func pick(all map[string][]byte, paths ...string) map[string][]byte {
	out := map[string][]byte{}
	for _, p := range paths {
		out[p] = all[p]
	}
	return out
}

const helloLines, helloChain = "he/ll/hello", "chains/pkg/he/ll/hello.jsonl"

func always(answer http.HandlerFunc) func(*histories) http.HandlerFunc {
	return func(*histories) http.HandlerFunc { return answer }
}

// forged is the second state with a lie that the log's key signs.
func forged(h *histories, change func(*liartest.Forgery)) http.HandlerFunc {
	f := &liartest.Forgery{}
	*f = *liartest.Forge(forger{}, h.after)
	change(f)
	f.Append(attest.Event{Chain: "policy:demo", Type: attest.EventPolicy, Object: store.DigestOf([]byte("lie"))})
	return files(f.Seal(attesttest.Now))
}

// forger stands in for a test where only the scripts know theirs.
type forger struct{ testing.TB }

func (forger) Helper()           {}
func (forger) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

func unyank(lines []byte) []byte {
	return bytes.Replace(lines, []byte(`"yanked":true`), []byte(`"yanked":false`), 1)
}

func withoutFirst(lines []byte) []byte { return lines[bytes.IndexByte(lines, '\n')+1:] }

// lies are what the server can be told to do, from the second state on.
var lies = map[string]func(*histories) http.HandlerFunc{
	"honest":   func(h *histories) http.HandlerFunc { return files(h.after) },
	"before":   func(h *histories) http.HandlerFunc { return files(h.before) },
	"rollback": func(h *histories) http.HandlerFunc { return files(h.before) },
	"fork":     func(h *histories) http.HandlerFunc { return files(h.other) },
	"mixed":    func(h *histories) http.HandlerFunc { return instead(h.after, pick(h.before, "view/root")) },
	"old-lines": func(h *histories) http.HandlerFunc {
		return instead(h.after, pick(h.before, helloLines))
	},
	"dropped-line": func(h *histories) http.HandlerFunc {
		return instead(h.after, map[string][]byte{helloLines: withoutFirst(h.after[helloLines])})
	},
	"dropped-package": func(h *histories) http.HandlerFunc { return instead(h.after, map[string][]byte{helloLines: nil}) },
	"dropped-by-log": func(h *histories) http.HandlerFunc {
		return forged(h, func(f *liartest.Forgery) { f.Files[helloLines] = withoutFirst(f.Files[helloLines]) })
	},
	"un-yank": func(h *histories) http.HandlerFunc {
		return forged(h, func(f *liartest.Forgery) { f.Files[helloLines] = unyank(f.Files[helloLines]) })
	},
	"un-yank-by-server": func(h *histories) http.HandlerFunc {
		return instead(h.after, map[string][]byte{helloLines: unyank(h.after[helloLines])})
	},
	"cut-chain": func(h *histories) http.HandlerFunc { return instead(h.after, pick(h.before, helloChain)) },
	"archive": func(h *histories) http.HandlerFunc {
		other := map[string][]byte{}
		for path, data := range h.after {
			if strings.HasPrefix(path, "objects/") && len(data) > 4000 && bytes.Contains(data, []byte("rebuild.package.json")) {
				other[path] = append(bytes.Clone(data), 0)
			}
		}
		return instead(h.after, other)
	},
	"tile": func(h *histories) http.HandlerFunc {
		other := map[string][]byte{}
		for path, data := range h.after {
			if strings.HasPrefix(path, "tile/0/") {
				other[path] = append([]byte{data[0] ^ 1}, data[1:]...)
			}
		}
		return instead(h.after, other)
	},
	"no-log": func(h *histories) http.HandlerFunc {
		before, rest, _ := bytes.Cut(h.after["config.json"], []byte(`"log":`))
		_, after, _ := bytes.Cut(rest, []byte(`},`))
		return instead(h.after, map[string][]byte{"config.json": append(bytes.Clone(before), after...)})
	},
	"unsigned": func(h *histories) http.HandlerFunc {
		before, rest, _ := bytes.Cut(h.after["config.json"], []byte(`,"signing":`))
		return instead(h.after, map[string][]byte{"config.json": append(bytes.Clone(before), rest[bytes.LastIndexByte(rest, '}'):]...)})
	},
	"large-config": func(h *histories) http.HandlerFunc {
		return instead(h.after, map[string][]byte{"config.json": bytes.Repeat([]byte(" "), 64<<10+1)})
	},
	"newer-config": func(h *histories) http.HandlerFunc {
		return instead(h.after, map[string][]byte{"config.json": bytes.Replace(h.after["config.json"], []byte("index-config@1"), []byte("index-config@9"), 1)})
	},
	"newer-line": func(h *histories) http.HandlerFunc {
		return forged(h, func(f *liartest.Forgery) {
			f.Files[helloLines] = append(bytes.Clone(f.Files[helloLines]), `{"schema_version":"rebuild.index-entry@9.0.0"}`+"\n"...)
		})
	},
	"endless": always(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			w.Write(make([]byte, 1<<16))
		}
	}),
	"slow": always(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			w.Write([]byte(" "))
			w.(http.Flusher).Flush()
			select {
			case <-r.Context().Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	}),
	"silent": always(func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }),
	"page": always(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "<!DOCTYPE html><html><body>Log in, please</body></html>")
	}),
	"other-scheme": always(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://"+r.Host+r.URL.Path, http.StatusFound)
	}),
	"not-modified": always(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNotModified) }),
	"error":        always(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusInternalServerError) }),
	"gone":         always(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusGone) }),
	"bomb": always(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Write(make([]byte, 100))
	}),
	"wrong-etag": func(h *histories) http.HandlerFunc {
		old, now := files(h.before), files(h.after)
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("If-None-Match") != "" {
				w.WriteHeader(http.StatusNotModified) // whatever it was
				return
			}
			if strings.HasSuffix(r.URL.Path, "/head") {
				w.Header().Set("ETag", `"`+store.DigestOf(h.after["head"]).Hex()+`"`)
				old(&sameTag{ResponseWriter: w}, r)
				return
			}
			now(w, r)
		}
	},
}

// sameTag keeps the ETag that is there.
type sameTag struct {
	http.ResponseWriter
	header http.Header
}

func (s *sameTag) Header() http.Header {
	if s.header == nil {
		s.header = http.Header{}
	}
	return s.header
}

// G62, B25: each lie ends with its own code through the real program, nothing
// of it is remembered, and what of it is in the cache does no harm once the
// server is honest again.
func TestG62_Liar(t *testing.T) {
	t.Parallel()
	h := indexHistories(t)
	work := t.TempDir()
	write(t, filepath.Join(work, "policy.toml"), []byte(h.policy))
	for lie, want := range map[string]struct {
		status int
		code   string
	}{
		"honest": {0, ""}, "newer-line": {0, ""},
		"rollback": {15, "ROLLBACK"}, "fork": {15, "FORK"}, "wrong-etag": {0, ""},
		"mixed": {15, "VIEW_MISMATCH"}, "old-lines": {15, "VIEW_MISMATCH"}, "dropped-line": {15, "VIEW_MISMATCH"},
		"dropped-package": {15, "VIEW_MISMATCH"}, "dropped-by-log": {15, "VIEW_MISMATCH"}, "un-yank-by-server": {15, "VIEW_MISMATCH"},
		"cut-chain": {15, "VIEW_MISMATCH"}, "no-log": {15, "VIEW_MISMATCH"}, "un-yank": {15, "UNYANKED"},
		"archive": {12, "CKSUM_MISMATCH"}, "tile": {12, "EVIDENCE_MISMATCH"}, "unsigned": {10, "INDEX_UNSIGNED"},
		"large-config": {31, "PARSE"}, "newer-config": {30, "SCHEMA_UNSUPPORTED"}, "endless": {31, "PARSE"},
		"slow": {4, "INDEX_FETCH"}, "silent": {4, "INDEX_FETCH"}, "page": {4, "INDEX_FETCH"}, "other-scheme": {4, "INDEX_FETCH"},
		"error": {4, "INDEX_FETCH"}, "bomb": {4, "INDEX_FETCH"}, "gone": {4, "INDEX_FETCH"},
		"not-modified": {0, ""}, // says that what was seen is still so, and it is not too old
	} {
		t.Run(lie, func(t *testing.T) {
			t.Parallel()
			l := newLiar(h)
			defer l.Close()
			state := t.TempDir()
			ask := func() (int, envelope) {
				c := rebuild(t, "pkg", "verify", "hello@0.2.0", "--index", l.url(), "--policy", filepath.Join(work, "policy.toml"),
					"--at", judgedAt, "--state", state, "--json")
				c.Env = append(c.Env, "REBUILD_HTTP_STALL=1s")
				status := c.status(t)
				e, _ := answerOf[map[string]any](t, c.out.Bytes())
				return status, e
			}
			if status, e := ask(); status != 0 {
				t.Fatalf("honest: %d %+v", status, e.Error)
			}
			memory := read(t, filepath.Join(state, "state.json"))
			if !l.tell(lie) {
				t.Fatal("no such lie")
			}
			status, e := ask()
			code := ""
			if e.Error != nil {
				code = string(e.Error.Code)
			}
			if status != want.status || code != want.code {
				t.Errorf("exit %d, code %s (%+v); want %d, %s", status, code, e.Error, want.status, want.code)
			}
			if now := read(t, filepath.Join(state, "state.json")); status != 0 && !bytes.Equal(now, memory) {
				t.Error("a lie is remembered")
			}
			if lie == "newer-line" {
				return // the log's key has signed it: from then on it is the truth
			}
			l.tell("honest")
			if status, e := ask(); status != 0 {
				t.Errorf("honest again: %d %+v", status, e.Error)
			}
		})
	}
}

// indexes writes the policy and the states of an index into the script's
// folder, and sets AT.
func indexes(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 || historiesMade == nil {
		ts.Fatalf("usage: indexes, where they were made")
	}
	h := historiesMade
	ts.Check(os.WriteFile(ts.MkAbs("policy.toml"), []byte(h.policy), 0o644))
	for dir, all := range map[string]map[string][]byte{"before": h.before, "after": h.after, "other": h.other} {
		for path, data := range all {
			full := ts.MkAbs(filepath.Join(dir, path))
			ts.Check(os.MkdirAll(filepath.Dir(full), 0o755))
			ts.Check(os.WriteFile(full, data, 0o644))
		}
	}
	ts.Setenv("AT", judgedAt)
}

// liar LIE starts the server that lies, at $LIAR, or tells it another lie.
func tellLiar(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: liar LIE")
	}
	l, _ := ts.Value(liarKey{}).(*liar)
	if ts.Getenv("LIAR") == "" {
		ts.Setenv("LIAR", l.url())
		ts.Setenv("HOST", l.URL)
	}
	if !l.tell(args[0]) {
		ts.Fatalf("no lie %q", args[0])
	}
}

// Scripts of who reads indexes, over the states of one.
func TestIndexScripts(t *testing.T) {
	t.Parallel()
	h := indexHistories(t)
	p := scripts("../../testdata/cli/index", func(env *testscript.Env) error {
		l := newLiar(h)
		env.Defer(l.Close)
		env.Values[liarKey{}] = l
		env.Setenv("REBUILD_HTTP_STALL", "1s")
		return nil
	})
	p.Cmds["indexes"], p.Cmds["liar"] = indexes, tellLiar
	testscript.Run(t, p)
}
