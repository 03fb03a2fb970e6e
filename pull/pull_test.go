package pull_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/index"
	"rebuild/index/translog"
	"rebuild/internal/fault"
	"rebuild/pull"
	"rebuild/store"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t testing.TB, err error, want fault.Code) {
	t.Helper()
	if got := fault.CodeOf(err); got != want {
		t.Fatalf("got %q (%v), want %q", got, err, want)
	}
}

// shelf is an index on disk in which a test publishes.
type shelf struct {
	testing.TB
	w         *attesttest.World
	dir       string
	in        index.Writing
	logged    bool
	snapshots map[string]attest.Dependency // by NAME@VERSION
}

func newShelf(t testing.TB) *shelf {
	t.Helper()
	s := &shelf{TB: t, w: attesttest.New(t), dir: filepath.Join(t.TempDir(), "index"), snapshots: map[string]attest.Dependency{}}
	s.in = index.Writing{Policy: s.w.LoadPolicy(), Key: attesttest.Key("index"), Now: func() time.Time { return attesttest.Now }}
	must(t, index.Init(t.Context(), s.dir, index.Config{Signing: index.SigningWith(attesttest.Key("index").Public())}, s.in))
	return s
}

// newLoggedShelf is one of an index with a log, under a policy that wants votes
// to be logged.
func newLoggedShelf(t testing.TB) *shelf {
	t.Helper()
	s := &shelf{TB: t, w: attesttest.New(t), dir: filepath.Join(t.TempDir(), "index"), logged: true, snapshots: map[string]attest.Dependency{}}
	s.w.PolicyTOML = strings.Replace(attesttest.Policy(attesttest.LogPolicy(0)), "groups.main", "require = { logged = true }\ngroups.main", 1)
	s.in = index.Writing{Policy: s.w.LoadPolicy(), Key: attesttest.Key("index"), LogKey: attesttest.Key("log"),
		Log: openLog, Now: func() time.Time { return attesttest.Now }}
	must(t, index.Init(t.Context(), s.dir, index.Config{
		Signing: index.SigningWith(attesttest.Key("index").Public()),
		Log:     &index.Log{Origin: attesttest.Origin, Key: attest.LogKey(attesttest.Origin, attesttest.Key("log").Public())},
	}, s.in))
	_, err := s.open().AddStatements(t.Context(), s.w.PlanJSON, s.w.Statements())
	must(t, err)
	return s
}

func openLog(ctx context.Context, dir string) (index.LogWriter, error) {
	o := translog.Options{Origin: attesttest.Origin, Key: attesttest.Key("log"), Now: func() time.Time { return attesttest.Now }}
	open := translog.Open
	if _, err := os.Stat(filepath.Join(dir, "checkpoint")); errors.Is(err, fs.ErrNotExist) {
		open = translog.Create
	}
	l, err := open(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (s *shelf) open() *index.Index {
	s.Helper()
	x, err := index.Open(s.dir, s.in)
	must(s, err)
	return x
}

// publish publishes NAME@VERSION. Each of needs is NAME@VERSION, which the
// release pins, or NAME:RANGE, which it does not.
func (s *shelf) publish(reference string, needs ...string) attest.Dependency {
	s.Helper()
	name, version, _ := strings.Cut(reference, "@")
	var depends []string
	s.w.Depends = nil
	for _, n := range needs {
		dep, in, ranged := strings.Cut(n, ":")
		if !ranged {
			pin := s.snapshots[n]
			if pin.Name == "" {
				s.Fatalf("%s is not published", n)
			}
			s.w.Depends = append(s.w.Depends, pin)
			dep, in = pin.Name, "*"
		}
		depends = append(depends, fmt.Sprintf("%q = %q", dep, in))
	}
	return s.release(name, version, depends)
}

// publishLarge publishes a package whose archive has a file of its own in the
// cache.
func (s *shelf) publishLarge(reference string) {
	s.Helper()
	files, stages := s.w.HelloFiles, s.w.Stages
	defer func() { s.w.HelloFiles, s.w.Stages = files, stages }()
	s.w.HelloFiles = append(slices.Clone(files), store.File{Path: "share/large", Mode: 0o644, Data: []byte(strings.Repeat("0123456789abcdef", 20_000))})
	s.w.Stages = []attest.StageResult{stages[0], s.w.Stage("hello", s.w.HelloFiles)}
	s.publish(reference)
}

func (s *shelf) release(name, version string, depends []string) attest.Dependency {
	s.Helper()
	slices.SortFunc(s.w.Depends, func(a, b attest.Dependency) int { return strings.Compare(a.Name, b.Name) })
	text := strings.NewReplacer(`"hello"`, fmt.Sprintf("%q", name), "0.1.0", version, "says hi", "is "+name+" "+version).Replace(attesttest.PackageTOML)
	if len(depends) > 0 {
		text = strings.Replace(text, "meta =", "depends = { "+strings.Join(depends, ", ")+" }\nmeta =", 1)
	}
	b, archive := s.sign(text)
	_, _, err := s.open().Publish(s.Context(), b, archive)
	must(s, err)
	e, err := attest.ParseEnvelope("release", b.Release)
	must(s, err)
	r, err := attest.ReadRelease(s.in.Policy, e)
	must(s, err)
	pin := attest.Dependency{Name: name, Version: version, Snapshot: r.Snapshot}
	s.snapshots[name+"@"+version] = pin
	return pin
}

// sign makes a release, of a logged index with the chain that it has.
func (s *shelf) sign(text string) (*attest.Bundle, []byte) {
	s.Helper()
	if !s.logged {
		r := s.w.Release(s.w.Statements(), nil, text, []string{"r1"}, []string{"r1", "r2"})
		return r.Bundle, r.Package.Archive()
	}
	ev, err := s.open().Evidence(s.Context(), s.w.Plan.Digest())
	must(s, err)
	chain, err := ev.Chain(s.in.Policy)
	must(s, err)
	verdict, err := attest.Judge(s.in.Policy, s.w.Plan, ev.Statements, chain, nil, attesttest.Now)
	must(s, err)
	met, err := verdict.Met()
	must(s, err)
	_, image, err := attest.LoadPackage("package.toml", []byte(text))
	must(s, err)
	pkg, err := attest.Pack(image, []attest.PayloadInput{{
		Platform: attesttest.Platform, Target: "hello", Path: "linux-amd64/hello", Tree: s.w.Stages[1].Tree, Files: s.w.HelloFiles,
	}}, attesttest.Epoch)
	must(s, err)
	manifest, err := s.w.Store.Read(s.w.Stages[1].Manifest, 1<<20)
	must(s, err)
	signed, err := attest.Propose(attest.Proposal{
		Package: pkg, Builds: []*attest.Met{met}, Manifests: [][]byte{manifest}, Depends: s.w.Depends,
		Owners: []attest.PublicKey{attesttest.Key("r1").Public()}, Published: attesttest.Now,
	})
	must(s, err)
	evidence := attest.Evidence{Builds: []attest.BuildEvidence{ev}, Objects: [][]byte{manifest}}
	for _, name := range []string{"r1", "r2"} {
		signed, err = attest.SignRelease(s.in.Policy, signed, evidence, attesttest.Now, attesttest.Key(name))
		must(s, err)
	}
	return &attest.Bundle{Release: signed, Evidence: evidence}, pkg.Archive()
}

// yank makes and enters a statement about a version.
func (s *shelf) yank(reference, action, id string) {
	s.Helper()
	name, version, _ := strings.Cut(reference, "@")
	state, e, err := s.open().Yanked(s.Context(), name, version)
	must(s, err)
	at, err := attest.FormatTime(attesttest.Now)
	must(s, err)
	payload, err := attest.NewYank(attest.Yank{Name: name, Version: version, Action: action, ID: id, Reason: "testing", At: at, After: state.Head}, e.Cksum)
	must(s, err)
	_, err = s.open().Yank(s.Context(), s.w.Sign(payload, "r1", "r2"))
	must(s, err)
}

func (s *shelf) local() index.Source { return index.Dir(os.DirFS(s.dir), "the index") }

// options reads from a source through a cache in a folder of its own.
func (s *shelf) options(src index.Source) pull.Options {
	s.Helper()
	o := pull.Options{Cache: pull.NewCache(src, filepath.Join(s.TempDir(), "pulls")), Output: filepath.Join(s.TempDir(), "out", "packages")}
	s.through(&o, o.Cache)
	return o
}

func (s *shelf) through(o *pull.Options, c *pull.Cache) {
	s.Helper()
	r, err := index.NewReader(context.Background(), c, index.Reading{Policy: s.w.LoadPolicy(), Now: attesttest.Now})
	must(s, err)
	o.Index, o.Cache = r, c
}

// nothing wants no file at all where an output was to be made.
func nothing(t testing.TB, output string) {
	t.Helper()
	held, err := os.ReadDir(filepath.Dir(output))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range held {
		t.Errorf("a pull that failed left %s", e.Name())
	}
}

func TestB20PullWithAllThatItNeeds(t *testing.T) {
	s := newShelf(t)
	s.publish("libc@1.0.0")
	s.publish("zlib@1.2.0", "libc@1.0.0")
	s.publish("zlib@1.3.0", "libc@1.0.0")
	s.publish("org/tool@2.0.0", "zlib@1.2.0", "libc@1.0.0")
	s.publish("unrelated@1.0.0")
	o := s.options(s.local())
	var mu sync.Mutex
	var told []string
	o.Events = func(e pull.Event) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, e.Name+" "+e.State)
	}
	r, err := pull.Pull(t.Context(), o, "org/tool", "")
	must(t, err)
	// B21: the primary first.
	if want := []string{"org.tool-2.0.0.tar", "libc-1.0.0.tar", "zlib-1.2.0.tar"}; !slices.Equal(r.Files, want) {
		t.Errorf("files %q, want %q", r.Files, want)
	}
	if len(r.Verified) != 3 || r.Verified[0].Name != "org/tool" || r.Verified[0].Snapshot != s.snapshots["org/tool@2.0.0"].Snapshot || r.Unpinned != nil {
		t.Errorf("%+v", r)
	}
	for i, f := range r.Files {
		data, err := os.ReadFile(filepath.Join(o.Output, f))
		must(t, err)
		if got := store.DigestOf(data).Hex(); got != r.Verified[i].Cksum {
			t.Errorf("%s is %s, want %s", f, got, r.Verified[i].Cksum)
		}
	}
	if held, _ := os.ReadDir(filepath.Dir(o.Output)); len(held) != 1 {
		t.Errorf("beside the output: %v", held)
	}
	if len(told) != 6 {
		t.Errorf("%q", told)
	}
	// The same once more changes nothing; another package does not replace it.
	_, err = pull.Pull(t.Context(), o, "org/tool", "2.0.0")
	must(t, err)
	_, err = pull.Pull(t.Context(), o, "unrelated", "")
	wantCode(t, err, fault.Usage)
	if held, _ := os.ReadDir(o.Output); len(held) != 3 {
		t.Errorf("%v", held)
	}
}

func TestB22Refused(t *testing.T) {
	s := newShelf(t)
	libc := s.publish("libc@1.0.0")
	s.snapshots["libc@9.0.0"] = attest.Dependency{Name: "libc", Version: "9.0.0", Snapshot: libc.Snapshot}
	s.snapshots["nowhere@1.0.0"] = attest.Dependency{Name: "nowhere", Version: "1.0.0", Snapshot: libc.Snapshot}
	s.snapshots["other@1.0.0"] = attest.Dependency{Name: "libc", Version: "1.0.0", Snapshot: store.DigestOf([]byte("other"))}
	s.publish("wrong@1.0.0", "other@1.0.0")
	s.publish("above@1.0.0", "wrong@1.0.0")
	s.publish("lost@1.0.0", "nowhere@1.0.0")
	s.publish("newer@1.0.0", "libc@9.0.0")
	s.publish("range@1.0.0", "libc:^2")
	s.publish("ping@1.0.0", "pong:^1")
	s.publish("pong@1.0.0", "ping:^1")
	s.publish("d32@1.0.0")
	for i := 31; i >= 0; i-- {
		s.publish(fmt.Sprintf("d%d@1.0.0", i), fmt.Sprintf("d%d@1.0.0", i+1))
	}
	for _, c := range []struct {
		name string
		code fault.Code
		says string
	}{
		{"above", fault.PinMismatch, "pinned snapshot mismatch for libc: dependent wrong@1.0.0 pinned " + string(store.DigestOf([]byte("other"))) + ", registry has " + string(libc.Snapshot)},
		{"lost", fault.DepMissing, "package nowhere@1.0.0, which lost@1.0.0 needs, is not in the index"},
		{"newer", fault.DepMissing, "package libc@9.0.0, which newer@1.0.0 needs"},
		{"range", fault.DepMissing, `libc has no version in "^2"`},
		{"ping", fault.Cycle, "packages need each other: ping > pong > ping"},
		{"d0", fault.Depth, "more than 32 packages"},
		{"absent", fault.IndexNoMatch, "absent is not in the index"}, // B20: the primary must be registered
	} {
		t.Run(c.name, func(t *testing.T) {
			o := s.options(s.local())
			_, err := pull.Pull(t.Context(), o, c.name, "")
			wantCode(t, err, c.code)
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
			nothing(t, o.Output) // B5
		})
	}
	_, err := pull.Pull(t.Context(), s.options(s.local()), "d1", "")
	must(t, err)
}

func TestUnpinnedNeeds(t *testing.T) {
	s := newShelf(t)
	s.publish("libc@1.0.0")
	s.publish("libc@1.4.0")
	s.publish("libc@2.0.0")
	s.publish("tool@1.0.0", "libc:^1")
	r, err := pull.Pull(t.Context(), s.options(s.local()), "tool", "")
	must(t, err)
	if !slices.Equal(r.Files, []string{"tool-1.0.0.tar", "libc-1.4.0.tar"}) || !slices.Equal(r.Unpinned, []string{"tool@1.0.0 > libc"}) {
		t.Errorf("%+v", r)
	}
}

func TestPullLocked(t *testing.T) {
	s := newShelf(t)
	libc := s.publish("libc@1.0.0")
	s.publish("libc@1.4.0")
	s.publish("tool@1.0.0", "libc:^1")
	pin := func(name, version string) pull.Pin {
		r, err := index.NewReader(t.Context(), s.local(), index.Reading{Policy: s.w.LoadPolicy(), Now: attesttest.Now})
		must(t, err)
		e, err := r.Lookup(t.Context(), name, version)
		must(t, err)
		return pull.Pin{Name: name, Version: version, Cksum: e.Cksum, Release: e.Release, Snapshot: s.snapshots[name+"@"+version].Snapshot}
	}
	o := s.options(s.local())
	o.Locked = []pull.Pin{pin("libc", "1.0.0"), pin("tool", "1.0.0")}
	r, err := pull.PullLocked(t.Context(), o)
	must(t, err)
	if !slices.Equal(r.Files, []string{"libc-1.0.0.tar", "tool-1.0.0.tar"}) || r.Verified[0].Snapshot != libc.Snapshot {
		t.Errorf("%+v", r)
	}
	for name, c := range map[string]struct {
		spoil func(*pull.Options)
		code  fault.Code
	}{
		"snapshot":  {func(o *pull.Options) { o.Locked[0].Snapshot = store.DigestOf(nil) }, fault.PinMismatch},
		"cksum":     {func(o *pull.Options) { o.Locked[0].Cksum = store.DigestOf(nil).Hex() }, fault.CksumMismatch},
		"release":   {func(o *pull.Options) { o.Locked[0].Release = store.DigestOf(nil) }, fault.EvidenceMismatch},
		"not there": {func(o *pull.Options) { o.Locked = o.Locked[1:] }, fault.DepMissing},
		"vanished":  {func(o *pull.Options) { o.Locked[0].Version = "7.0.0" }, fault.DepMissing},
	} {
		t.Run(name, func(t *testing.T) {
			o := s.options(s.local())
			o.Locked = []pull.Pin{pin("libc", "1.0.0"), pin("tool", "1.0.0")}
			c.spoil(&o)
			_, err := pull.PullLocked(t.Context(), o)
			wantCode(t, err, c.code)
			nothing(t, o.Output)
		})
	}
}

func TestPullTrees(t *testing.T) {
	s := newShelf(t)
	s.publish("libc@1.0.0")
	s.publish("tool@1.0.0", "libc@1.0.0")
	o := s.options(s.local())
	var err error
	o.Trees, err = store.Open(t.TempDir())
	must(t, err)
	o.Bundles = true
	r, err := pull.Pull(t.Context(), o, "tool", "")
	must(t, err)
	if !slices.Equal(r.Files, []string{"tool-1.0.0", "libc-1.0.0"}) {
		t.Errorf("%+v", r)
	}
	if data, err := os.ReadFile(filepath.Join(o.Output, "libc-1.0.0/linux-amd64/hello/share/hello.txt")); err != nil || string(data) != "hi\n" {
		t.Error(string(data), err)
	}
	bundle, err := os.ReadFile(filepath.Join(o.Output, "tool-1.0.0.rbundle"))
	must(t, err)
	b, err := attest.OpenBundle("tool-1.0.0.rbundle", bundle)
	must(t, err)
	_, err = attest.Verify(s.w.LoadPolicy(), b, attest.Expect{Name: "tool"}, attesttest.Now)
	must(t, err)
}

// server serves an index and lies about some files. It is a source too, that
// can go on where it was cut.
type server struct {
	url      string
	client   *http.Client
	requests atomic.Int64
	paths    sync.Map                                                       // how often each was asked for
	lie      func(path string, w http.ResponseWriter, r *http.Request) bool // answered
}

func serve(t testing.TB, dir string) *server {
	s := &server{}
	files := http.FileServerFS(os.DirFS(dir))
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		n, _ := s.paths.LoadOrStore(r.URL.Path, new(atomic.Int64))
		n.(*atomic.Int64).Add(1)
		if s.lie == nil || !s.lie(strings.TrimPrefix(r.URL.Path, "/"), w, r) {
			files.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(h.Close)
	s.url, s.client = h.URL, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	t.Cleanup(s.client.CloseIdleConnections)
	return s
}

func (s *server) String() string { return s.url }

func (s *server) Open(ctx context.Context, path string, offset int64) (io.ReadCloser, int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/"+path, nil)
	if err != nil {
		return nil, 0, err
	}
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, 0, fault.New(fault.IndexFetch, "%w", err)
	}
	switch resp.StatusCode {
	case http.StatusOK:
		return resp.Body, 0, nil
	case http.StatusPartialContent:
		return resp.Body, offset, nil
	case http.StatusNotFound:
		err = fs.ErrNotExist
	default:
		err = fault.New(fault.IndexFetch, "%s: %s", path, resp.Status)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	return nil, 0, err
}

func (s *server) Get(ctx context.Context, path string, limit int64, _ bool) ([]byte, error) {
	body, _, err := s.Open(ctx, path, 0)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	data, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err != nil {
		return nil, fault.New(fault.IndexFetch, "%s: %w", path, err)
	}
	if int64(len(data)) > limit {
		return nil, fault.New(fault.Parse, "more than %d bytes", limit)
	}
	return data, nil
}

// What a lying server gives away ends the pull with its own code, and nothing
// is visible (B2, B3, B5, G39).
func TestB5LyingServer(t *testing.T) {
	s := newShelf(t)
	s.publish("libc@1.0.0")
	s.publish("tool@1.0.0", "libc@1.0.0")
	r, err := index.NewReader(t.Context(), s.local(), index.Reading{Policy: s.w.LoadPolicy(), Now: attesttest.Now})
	must(t, err)
	libc, err := r.Lookup(t.Context(), "libc", "")
	must(t, err)
	archive := string(index.ObjectPath(store.Digest("sha256:" + libc.Cksum)))
	for name, c := range map[string]struct {
		path string
		lie  func(w http.ResponseWriter)
		code fault.Code
	}{
		"G39 another archive under a good line": {archive, func(w http.ResponseWriter) { w.Write([]byte("other bytes")) }, fault.CksumMismatch},
		"no archive":                            {archive, func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }, fault.FileMissing},
		"B2 no release":                         {"statements/" + libc.Release.Hex() + ".dsse.json", func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }, fault.EvidenceMismatch},
		"broken":                                {"li/bc/libc", func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) }, fault.IndexFetch},
		"no line":                               {"li/bc/libc", func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }, fault.DepMissing},
	} {
		t.Run(name, func(t *testing.T) {
			liar := serve(t, s.dir)
			liar.lie = func(path string, w http.ResponseWriter, _ *http.Request) bool {
				if path == c.path {
					c.lie(w)
				}
				return path == c.path
			}
			o := s.options(liar)
			_, err := pull.Pull(t.Context(), o, "tool", "")
			wantCode(t, err, c.code)
			nothing(t, o.Output)
		})
	}
}

// A download that is cut goes on where it was, and a part of something else is
// found out.
func TestPullGoesOnWhereItWasCut(t *testing.T) {
	s := newShelf(t)
	s.w.HelloFiles = append(s.w.HelloFiles, store.File{Path: "share/large", Mode: 0o644, Data: []byte(strings.Repeat("0123456789abcdef", 4096))})
	s.w.Stages[1] = s.w.Stage("hello", s.w.HelloFiles)
	s.publish("tool@1.0.0")
	r, err := index.NewReader(t.Context(), s.local(), index.Reading{Policy: s.w.LoadPolicy(), Now: attesttest.Now})
	must(t, err)
	e, err := r.Lookup(t.Context(), "tool", "")
	must(t, err)
	path := index.ObjectPath(store.Digest("sha256:" + e.Cksum))
	whole, err := os.ReadFile(filepath.Join(s.dir, path))
	must(t, err)
	var asked []string
	cut := func(asker string, w http.ResponseWriter, r *http.Request) bool {
		if asker != path {
			return false
		}
		asked = append(asked, r.Header.Get("Range"))
		var from int
		fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
		if from >= len(whole) {
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return true
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(whole)-from))
		if from > 0 {
			w.WriteHeader(http.StatusPartialContent)
		}
		w.Write(whole[from:min(len(whole), from+30000)])
		return true
	}
	liar := serve(t, s.dir)
	liar.lie = cut
	o := s.options(liar)
	_, err = pull.Pull(t.Context(), o, "tool", "")
	must(t, err)
	if len(asked) != 3 || asked[0] != "" || asked[1] != "bytes=30000-" || asked[2] != "bytes=60000-" {
		t.Errorf("asked for %q of %d bytes", asked, len(whole))
	}
	// A pull that was killed left a part of something else, or of a longer one.
	for _, size := range []int{50_000, len(whole), 2 * len(whole)} {
		pullOver(t, s, liar, e.Cksum, strings.Repeat("x", size), whole)
	}
}

func pullOver(t *testing.T, s *shelf, liar *server, cksum, left string, whole []byte) {
	o := s.options(liar)
	dir := filepath.Join(t.TempDir(), "pulls")
	must(t, os.MkdirAll(dir, 0o755))
	must(t, os.WriteFile(filepath.Join(dir, cksum), []byte(left), 0o644))
	s.through(&o, pull.NewCache(liar, dir))
	_, err := pull.Pull(t.Context(), o, "tool", "")
	must(t, err)
	got, err := os.ReadFile(filepath.Join(o.Output, "tool-1.0.0.tar"))
	must(t, err)
	if string(got) != string(whole) {
		t.Error("other bytes")
	}
	if held, _ := os.ReadDir(dir); len(held) != 0 {
		t.Errorf("left over: %v", held)
	}
}

func TestPullEndsWithItsContext(t *testing.T) {
	s := newShelf(t)
	s.publish("libc@1.0.0")
	s.publish("tool@1.0.0", "libc@1.0.0")
	ctx, cancel := context.WithCancel(t.Context())
	liar := serve(t, s.dir)
	o := s.options(liar)
	liar.lie = func(path string, _ http.ResponseWriter, _ *http.Request) bool {
		if strings.Contains(path, "libc") {
			cancel()
		}
		return false
	}
	if _, err := pull.Pull(ctx, o, "tool", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	nothing(t, o.Output)
}

// 500 small packages come as one, each asked for in few requests: what they
// share is asked for once.
func TestPullOfFiveHundredPackages(t *testing.T) {
	if testing.Short() {
		t.Skip("publishes 501 packages")
	}
	s := newShelf(t)
	many(t, s, 500)
	web := serve(t, s.dir)
	o := s.options(web)
	r, err := pull.Pull(t.Context(), o, "all", "")
	must(t, err)
	if len(r.Files) != 501 || len(r.Verified) != 501 || r.Verified[0].Name != "all" {
		t.Errorf("%d files, %d verified", len(r.Files), len(r.Verified))
	}
	if n := web.requests.Load(); n > 4*501 {
		t.Errorf("%d requests", n)
	}
	web.paths.Range(func(path, n any) bool {
		if n.(*atomic.Int64).Load() > 1 {
			t.Errorf("%s was asked for %d times", path, n.(*atomic.Int64).Load())
		}
		return true
	})
}

// What a pull that failed has of the packages, small and large, the next one
// does not ask for.
func TestPullGoesOnAfterAnotherOne(t *testing.T) {
	s := newShelf(t)
	s.publish("small@1.0.0")
	s.publishLarge("large@1.0.0")
	s.publish("last@1.0.0")
	s.publish("tool@1.0.0", "large@1.0.0", "last@1.0.0", "small@1.0.0")
	r, err := index.NewReader(t.Context(), s.local(), index.Reading{})
	must(t, err)
	path := map[string]string{}
	for _, name := range []string{"small", "large", "last", "tool"} {
		e, err := r.Lookup(t.Context(), name, "1.0.0")
		must(t, err)
		path[name] = index.ObjectPath(store.Digest("sha256:" + e.Cksum))
	}
	dir := filepath.Join(t.TempDir(), "pulls")
	web := serve(t, s.dir)
	missing := true
	web.lie = func(asked string, w http.ResponseWriter, _ *http.Request) bool {
		if missing && asked == path["last"] {
			for { // until the large one is there
				if _, err := os.Stat(filepath.Join(dir, path["large"][len("objects/sha256/"):])); err == nil || t.Context().Err() != nil {
					break
				}
				time.Sleep(time.Millisecond)
			}
			w.WriteHeader(http.StatusNotFound)
			return true
		}
		return false
	}
	o := s.options(web)
	s.through(&o, pull.NewCache(web, dir))
	_, err = pull.Pull(t.Context(), o, "tool", "")
	wantCode(t, err, fault.FileMissing)
	nothing(t, o.Output)
	missing = false
	o = s.options(web)
	s.through(&o, pull.NewCache(web, dir))
	_, err = pull.Pull(t.Context(), o, "tool", "")
	must(t, err)
	for _, name := range []string{"tool", "large"} {
		if n, asked := web.paths.Load("/" + path[name]); !asked || n.(*atomic.Int64).Load() != 1 {
			t.Errorf("%s was asked for again", name)
		}
	}
	if held, _ := os.ReadDir(dir); len(held) != 0 {
		t.Errorf("left over: %v", held)
	}
}
