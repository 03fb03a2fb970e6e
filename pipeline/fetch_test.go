package pipeline_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/stages"
	"rebuild/store"
)

// body is what the honest servers have: large enough for several writes.
var body = bytes.Repeat([]byte("0123456789abcdef"), 8<<10)

const page = "<!DOCTYPE html><html><title>Are you a robot?</title></html>"

// wants makes a pipeline with one source of body's digest and the given URLs,
// which stand in line 9 of a/stage.toml.
func wants(urls ...string) string {
	quoted := make([]string, len(urls))
	for i, u := range urls {
		quoted[i] = fmt.Sprintf("%q", u)
	}
	return "-- pipeline.toml --\n" + head + rest + stage("a", "inputs = [\"source/x\"]", "", "[[source]]", "name = \"x\"",
		fmt.Sprintf("digest = %q", store.DigestOf(body)), fmt.Sprintf("size = %d", len(body)),
		"urls = ["+strings.Join(quoted, ", ")+"]")
}

type fetchRoom struct {
	*room
	events []pipeline.FetchEvent
}

func newFetchRoom(t testing.TB, urls ...string) *fetchRoom {
	return &fetchRoom{room: newRoom(t, wants(urls...))}
}

func (r *fetchRoom) fetch(change ...func(*pipeline.FetchOptions)) (*pipeline.Fetched, error) {
	return r.fetchContext(context.Background(), change...)
}

func (r *fetchRoom) fetchContext(ctx context.Context, change ...func(*pipeline.FetchOptions)) (*pipeline.Fetched, error) {
	r.t.Helper()
	r.events = nil
	p := load(r.t, r.dir)
	lock, err := p.ReadLock()
	if err != nil {
		r.t.Fatal(err)
	}
	o := pipeline.FetchOptions{
		Pipeline: p, Lock: lock, State: r.state, Client: pipeline.FetchClient(), Stall: 5 * time.Second, Rate: 1 << 20,
		Events: func(e pipeline.FetchEvent) { r.events = append(r.events, e) },
	}
	for _, c := range change {
		c(&o)
	}
	return pipeline.Fetch(ctx, o)
}

// clean fails if the store holds the source, or anything was left that a
// second fetch could not use.
func (r *fetchRoom) absent() {
	r.t.Helper()
	if files, _ := filepath.Glob(filepath.Join(pipeline.StoreDir(r.state), "blobs/sha256/*")); len(files) > 0 {
		r.t.Errorf("the store holds %v", files)
	}
}

func (r *fetchRoom) present() {
	r.t.Helper()
	got, err := openStore(r.room).Read(store.DigestOf(body), 1<<20)
	if err != nil || !bytes.Equal(got, body) {
		r.t.Errorf("the source is not in the store: %v", err)
	}
	if files, _ := filepath.Glob(filepath.Join(r.state, "partial/*")); len(files) > 0 {
		r.t.Errorf("a partial file is left: %v", files)
	}
}

// serve starts a server and notes the requests it gets, as "PATH RANGE".
func serve(t testing.TB, h http.HandlerFunc) (url string, requests func() []string) {
	t.Helper()
	var mu sync.Mutex
	var seen []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		seen = append(seen, strings.TrimSpace(r.URL.Path+" "+r.Header.Get("Range")))
		mu.Unlock()
		h(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(seen)
	}
}

func honest(w http.ResponseWriter, r *http.Request) {
	http.ServeContent(w, r, "x", time.Time{}, bytes.NewReader(body))
}

// cut sends n bytes of an answer that promises all, and breaks off.
func cut(n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.Write(body[:n])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

func TestFetch(t *testing.T) {
	url, requests := serve(t, honest)
	r := newFetchRoom(t, url+"/x")
	got, err := r.fetch()
	if err != nil || !slices.Equal(got.Fetched, []string{"source/x"}) || got.Bytes != int64(len(body)) {
		t.Fatalf("%+v %v", got, err)
	}
	r.present()
	if last := r.events[len(r.events)-1]; !last.Done || last.Have != int64(len(body)) {
		t.Errorf("last event %+v", last)
	}
	got, err = r.fetch()
	if err != nil || !slices.Equal(got.Present, []string{"source/x"}) || len(requests()) != 1 {
		t.Errorf("%+v %v %v: a source in the store needs no request", got, err, requests())
	}
	r.mustRun()
}

func TestRunSaysWhatToFetch(t *testing.T) {
	r := newFetchRoom(t, "https://example.org/x")
	_, err := r.run()
	wantFault(t, err, fault.OfflineIndex, "", 0, "source/x")
	if !strings.Contains(fmt.Sprint(err.(*fault.Error).Hint), "rebuild fetch") {
		t.Errorf("hint %q", err.(*fault.Error).Hint)
	}
	if _, err := os.Stat(r.state); err == nil {
		t.Error("the state root was made")
	}
}

// One bad mirror must not matter: the next one gives the same bytes.
func TestFetchPassesOverABadMirror(t *testing.T) {
	good, _ := serve(t, honest)
	for title, h := range map[string]http.HandlerFunc{
		"not found":     http.NotFound,
		"server error":  func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"page":          func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(page)) },
		"other bytes":   func(w http.ResponseWriter, r *http.Request) { w.Write(bytes.ToUpper(body)) },
		"one byte less": func(w http.ResponseWriter, r *http.Request) { w.Write(body[:len(body)-1]) },
		"one byte more": func(w http.ResponseWriter, r *http.Request) { w.Write(append(body[:len(body):len(body)], 0)) },
		"nothing":       func(w http.ResponseWriter, r *http.Request) {},
		"always cut":    cut(1000),
		"cut at once":   cut(0),
		"redirect loop": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path+"x", http.StatusFound) },
		"redirect file": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(302)
		},
		"with password": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://u:p@"+r.Host+"/", http.StatusFound)
		},
		"endless":   func(w http.ResponseWriter, r *http.Request) { endless(w, r) },
		"wrong 206": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusPartialContent); w.Write(body) },
		"says gzip": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Write([]byte("x"))
		},
		"huge header": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
			honest(w, r)
		},
		"not modified": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNotModified) },
		"multiple parts": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 5-9/10")
			w.WriteHeader(206)
		},
	} {
		t.Run(title, func(t *testing.T) {
			bad, _ := serve(t, h)
			r := newFetchRoom(t, bad+"/x", good+"/x")
			if _, err := r.fetch(); err != nil {
				t.Fatal(err)
			}
			r.present()
			if e := r.events[slices.IndexFunc(r.events, func(e pipeline.FetchEvent) bool { return e.Err != nil })]; e.URL != bad+"/x" {
				t.Errorf("nothing was told about the bad mirror: %+v", e)
			}
		})
	}
}

// endless sends zeros until the client hangs up.
func endless(w http.ResponseWriter, _ *http.Request) {
	zeros := make([]byte, 64<<10)
	for {
		if _, err := w.Write(zeros); err != nil {
			return
		}
	}
}

func TestFetchAllMirrorsBad(t *testing.T) {
	html, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(page)) })
	gone, _ := serve(t, http.NotFound)
	other, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { w.Write(bytes.ToUpper(body)) })
	for title, c := range map[string]struct {
		urls  []string
		code  fault.Code
		parts []string
	}{
		"page":        {[]string{gone + "/x", html + "/x"}, fault.SourceMismatch, []string{"HTML page", "HTTP status 404", string(store.DigestOf(body))}},
		"other bytes": {[]string{other + "/x"}, fault.SourceMismatch, []string{string(store.DigestOf(bytes.ToUpper(body)))}},
		"gone":        {[]string{gone + "/x"}, fault.IndexFetch, []string{"HTTP status 404"}},
		"no server":   {[]string{"http://127.0.0.1:1/x"}, fault.IndexFetch, []string{"refused"}},
		"no URL":      {nil, fault.IndexFetch, []string{"no URL"}},
		"no file":     {[]string{"gone.tar"}, fault.IndexFetch, []string{"no such file"}},
	} {
		t.Run(title, func(t *testing.T) {
			r := newFetchRoom(t, c.urls...)
			_, err := r.fetch()
			wantFault(t, err, c.code, "a/stage.toml", 5, "source x")
			for _, part := range c.parts {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%v does not say %q", err, part)
				}
			}
			r.absent()
		})
	}
}

func TestFetchResumes(t *testing.T) {
	const first = 40_000
	for title, c := range map[string]struct {
		rest     http.HandlerFunc // after the first answer, which is cut
		requests []string
	}{
		"where it stopped":   {honest, []string{"/x", "/x bytes=40000-"}},
		"server without 206": {func(w http.ResponseWriter, r *http.Request) { w.Write(body) }, []string{"/x", "/x bytes=40000-"}},
		"wrong place": {func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") == "" {
				w.Write(body)
				return
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(body)-1, len(body)))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(body)
		}, []string{"/x", "/x bytes=40000-", "/x"}},
	} {
		t.Run(title, func(t *testing.T) {
			n := 0
			url, requests := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if n++; n == 1 {
					cut(first)(w, r)
				}
				c.rest(w, r)
			})
			r := newFetchRoom(t, url+"/x")
			if _, err := r.fetch(); err != nil {
				t.Fatal(err)
			}
			r.present()
			if !slices.Equal(requests(), c.requests) {
				t.Errorf("requests %q, want %q", requests(), c.requests)
			}
		})
	}
}

// A fetch that was stopped goes on where it stopped, with another mirror too;
// what it left is not believed.
func TestFetchResumesInALaterCall(t *testing.T) {
	good, requests := serve(t, honest)
	for title, c := range map[string]struct {
		left     []byte
		requests []string
	}{
		"beginning":       {body[:1000], []string{"/x bytes=1000-"}},
		"other beginning": {[]byte(page), []string{fmt.Sprintf("/x bytes=%d-", len(page)), "/x"}},
		"all of it":       {body, nil},
		"all, but other":  {bytes.ToUpper(body), []string{"/x"}},
		"too much":        {append(body[:len(body):len(body)], 0), []string{"/x"}},
	} {
		t.Run(title, func(t *testing.T) {
			before := len(requests())
			r := newFetchRoom(t, good+"/x")
			partial := filepath.Join(r.state, "partial", store.DigestOf(body).Hex())
			if err := os.MkdirAll(filepath.Dir(partial), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(partial, c.left, 0o644); err != nil {
				t.Fatal(err)
			}
			if _, err := r.fetch(); err != nil {
				t.Fatal(err)
			}
			r.present()
			if got := requests()[before:]; !slices.Equal(got, c.requests) {
				t.Errorf("requests %q, want %q", got, c.requests)
			}
		})
	}
}

// Cut after n bytes, for many n: it ends with the source, or with nothing.
func TestFetchCutAnywhere(t *testing.T) {
	good, _ := serve(t, honest)
	for n := 0; n <= 4096; n += 256 {
		bad, _ := serve(t, cut(n))
		r := newFetchRoom(t, bad+"/x")
		if _, err := r.fetch(); fault.CodeOf(err) != fault.IndexFetch {
			t.Fatalf("cut after %d: %v", n, err)
		}
		r.absent()
		put(t, r.dir, wants(good+"/x"))
		if _, err := r.fetch(); err != nil {
			t.Fatal(err)
		}
		r.present()
	}
}

func TestFetchDeadlines(t *testing.T) {
	for title, h := range map[string]http.HandlerFunc{
		"no answer": func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"stops half way": func(w http.ResponseWriter, r *http.Request) {
			w.Write(body[:100])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
		"drips": func(w http.ResponseWriter, r *http.Request) {
			for i := range body {
				w.Write(body[i : i+1])
				w.(http.Flusher).Flush()
				select {
				case <-r.Context().Done():
					return
				case <-time.After(5 * time.Millisecond):
				}
			}
		},
	} {
		t.Run(title, func(t *testing.T) {
			url, _ := serve(t, h)
			r := newFetchRoom(t, url+"/x")
			begin := time.Now()
			_, err := r.fetch(func(o *pipeline.FetchOptions) { o.Stall, o.Rate = 100*time.Millisecond, 1<<20 })
			if fault.CodeOf(err) != fault.IndexFetch || time.Since(begin) > 5*time.Second {
				t.Errorf("%v after %s", err, time.Since(begin))
			}
			r.absent()
		})
	}
}

func TestFetchStops(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(body)))
		w.Write(body[:50_000])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	r := newFetchRoom(t, url+"/x")
	_, err := r.fetchContext(ctx, func(o *pipeline.FetchOptions) {
		o.Events = func(e pipeline.FetchEvent) {
			if e.Have > 0 {
				cancel()
			}
		}
	})
	wantFault(t, err, fault.Interrupted, "", 0, "stopped")
	r.absent()
	good, requests := serve(t, honest)
	put(t, r.dir, wants(good+"/x"))
	if _, err := r.fetch(); err != nil {
		t.Fatal(err)
	}
	r.present()
	if got := requests(); len(got) != 1 || !strings.Contains(got[0], "bytes=") {
		t.Errorf("requests %q: it began again", got)
	}
}

// A redirect must not lead from https to http: who reads along is told what
// is built.
func TestFetchRedirectKeepsTLS(t *testing.T) {
	plain, requests := serve(t, honest)
	tls := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain+"/x", http.StatusFound)
	}))
	defer tls.Close()
	r := newFetchRoom(t, tls.URL+"/x")
	_, err := r.fetch(func(o *pipeline.FetchOptions) { o.Client = tls.Client() })
	wantFault(t, err, fault.IndexFetch, "a/stage.toml", 5, "from https to http")
	if len(requests()) != 0 {
		t.Error("the plain server was asked")
	}
}

// A proxy in the environment must not see, or answer, our requests.
func TestFetchIgnoresTheEnvironment(t *testing.T) {
	proxy, requests := serve(t, func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(page)) })
	for _, key := range []string{"HTTP_PROXY", "http_proxy", "ALL_PROXY"} {
		t.Setenv(key, proxy)
	}
	r := newFetchRoom(t, "http://source.invalid/x")
	if _, err := r.fetch(); fault.CodeOf(err) != fault.IndexFetch {
		t.Error(err)
	}
	if len(requests()) != 0 {
		t.Error("the proxy was asked")
	}
}

func TestFetchLocal(t *testing.T) {
	r := newFetchRoom(t)
	put(t, r.dir, "-- dist/empty --\n")
	for name, data := range map[string][]byte{"dist/x.tar": body, "a/x.tar": body, "dist/long": append(body[:len(body):len(body)], 0), "dist/page": []byte(page)} {
		if err := os.WriteFile(filepath.Join(r.dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, url := range []string{"x.tar", "../dist/x.tar", "file://" + r.dir + "/dist/x.tar"} {
		put(t, r.dir, wants(url))
		r.state = filepath.Join(t.TempDir(), "state")
		if _, err := r.fetch(); err != nil {
			t.Error(err)
		}
		r.present()
	}
	for url, part := range map[string]string{"../dist/long": "more than", "../dist/page": "HTML page", "../dist/empty": "0 bytes"} {
		put(t, r.dir, wants(url))
		r.state = filepath.Join(t.TempDir(), "state")
		_, err := r.fetch()
		wantFault(t, err, fault.SourceMismatch, "a/stage.toml", 5, part)
		r.absent()
	}
}

// Several sources at one time; one that fails does not stop the others.
func TestFetchSideBySide(t *testing.T) {
	var archive strings.Builder
	archive.WriteString("-- pipeline.toml --\n" + head + rest + "-- a/stage.toml --\nschema_version = \"rebuild.stage@1.0.0\"\nname = \"a\"\n")
	var mu sync.Mutex
	running, most := 0, 0
	url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		running++
		most = max(most, running)
		mu.Unlock()
		time.Sleep(20 * time.Millisecond) // so that requests meet
		w.Write([]byte(r.URL.Path))
		mu.Lock()
		running--
		mu.Unlock()
	})
	for i := range 9 {
		path := fmt.Sprintf("/s%d", i)
		text := path
		if i == 4 {
			text = "/other"
		}
		fmt.Fprintf(&archive, "[[source]]\nname = \"s%d\"\ndigest = %q\nsize = %d\ninto = \"s%d\"\nurls = [%q]\n", i, store.DigestOf([]byte(text)), len(path), i, url+path)
	}
	r := &fetchRoom{room: newRoom(t, archive.String())}
	_, err := r.fetch(func(o *pipeline.FetchOptions) { o.Jobs = 3 })
	wantFault(t, err, fault.SourceMismatch, "a/stage.toml", 27, "source s4")
	if files, _ := filepath.Glob(filepath.Join(pipeline.StoreDir(r.state), "blobs/sha256/*")); len(files) != 8 {
		t.Errorf("%d sources in the store, want 8", len(files))
	}
	if most != 3 {
		t.Errorf("%d at one time, want 3", most)
	}
}

// Sources reach the build as trees: unpacked, as one file, or in the context.
func TestRunWithSources(t *testing.T) {
	dir := t.TempDir()
	var tar bytes.Buffer
	if _, err := store.WriteArchive(&tar, []store.File{{Path: "hello.c", Mode: 0o644, Data: []byte("int main;\n")}}, 1); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "x.tar"), tar.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	decl := func(name, more string) string {
		return fmt.Sprintf("[[source]]\nname = %q\ndigest = %q\nsize = %d\nurls = [\"../x.tar\"]\n%s", name, store.DigestOf(tar.Bytes()), tar.Len(), more)
	}
	put(t, dir, "-- pipeline.toml --\n"+head+"platforms = [\"linux/amd64\"]\nstages = [\"a\", \"b\"]\ntargets = [\"a\", \"b\"]\n"+
		stage("a", "inputs = [\"source/open\", \"source/shut\"]", decl("open", "unpack = \"tar\""), decl("shut", ""), decl("placed", "into = \"fetch/x.tar\""))+
		stage("b", "inputs = [\"source/open\"]", decl("open", "unpack = \"tar\"")))
	r := &fetchRoom{room: newRoom(t, "")}
	r.dir = dir
	if _, err := r.fetch(func(o *pipeline.FetchOptions) { o.Jobs = 3 }); err != nil { // three names, one file
		t.Fatal(err)
	}
	trees := map[string]string{}
	var mu sync.Mutex
	r.engine.OnSolve = func(_ context.Context, j pipeline.Job) error {
		mu.Lock()
		defer mu.Unlock()
		for _, in := range append(j.Inputs, pipeline.Input{Name: string(j.Stage) + " context", Manifest: j.Context}) {
			image, err := openStore(r.room).Image(in.Manifest)
			if err != nil {
				return err
			}
			tree, err := openStore(r.room).ReadLayer(image.Layer.Digest)
			if err != nil {
				return err
			}
			var names []string
			for e := range tree.Entries() {
				names = append(names, e.Path)
			}
			trees[in.Name] = strings.Join(names, " ")
		}
		return nil
	}
	rep := r.mustRun()
	want := map[string]string{"source/open": "hello.c", "source/shut": "shut", "a context": "fetch fetch/x.tar", "b context": ""}
	if fmt.Sprint(trees) != fmt.Sprint(want) {
		t.Errorf("got %v", trees)
	}
	if len(rep.Inputs) != 2 || rep.Inputs[0].Name != "source/open" || rep.Inputs[0].Tree == "" {
		t.Errorf("inputs %+v", rep.Inputs)
	}
	r.mustRun()
	if r.solved() != "[]" {
		t.Errorf("solved %s", r.solved())
	}
	// A source in the store that somebody changed must not be unpacked.
	other := &fetchRoom{room: newRoom(t, "")}
	other.dir = dir
	if _, err := other.fetch(); err != nil {
		t.Fatal(err)
	}
	spoiled := bytes.Clone(tar.Bytes())
	spoiled[len("hello.c")] ^= 1
	if err := os.WriteFile(blob(other.room, store.DigestOf(tar.Bytes())), spoiled, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := other.run(func(o *pipeline.RunOptions) { o.Stages = []stages.Name{"b"} }); fault.CodeOf(err).Exit() != 12 {
		t.Errorf("got [%s] %v", fault.CodeOf(err), err)
	}
	if other.solved() != "[]" {
		t.Error("it was built from")
	}
}
