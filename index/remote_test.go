package index_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rebuild/index"
	"rebuild/internal/fault"
	"rebuild/store"
)

// server is what a client is told, and a record of what it asked.
type server struct {
	*httptest.Server
	mu    sync.Mutex
	asked []*http.Request
}

func serve(t *testing.T, answer http.HandlerFunc) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked = append(s.asked, r)
		s.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.asked)
}

type clock struct{ time.Time }

func (c *clock) now() time.Time { return c.Time }

func remote(t *testing.T, base string, cache string, c *clock) index.Source {
	t.Helper()
	at, err := index.Locate(base + "/x/")
	must(t, err)
	client := &http.Client{Transport: &http.Transport{DisableCompression: true, MaxResponseHeaderBytes: 64 << 10}}
	t.Cleanup(client.CloseIdleConnections)
	return index.Remote(at.URL, index.Remoting{Client: client, Now: c.now, User: at.User, Cache: cache, Stall: 300 * time.Millisecond})
}

func get(s index.Source, fresh bool) (string, error) {
	data, err := s.Get(context.Background(), "a", 4096, fresh)
	return string(data), err
}

// A29: a file is asked for with its ETag, and within its max-age, a minute at
// most, not at all. What is in the cache is hashed before it is used.
func TestA29CacheOfAnswers(t *testing.T) {
	content := "one"
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		etag := `"` + store.DigestOf([]byte(content)).Hex() + `"`
		w.Header().Set("ETag", etag)
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, content)
	})
	c := &clock{time.Unix(1_000_000, 0)}
	cache := filepath.Join(t.TempDir(), "cache")
	src := remote(t, s.URL, cache, c)
	want := func(text string, fresh bool, asked int) {
		t.Helper()
		before := s.count()
		got, err := get(src, fresh)
		if err != nil || got != text || s.count()-before != asked {
			t.Errorf("got %q after %d requests, %v; want %q after %d", got, s.count()-before, err, text, asked)
		}
	}
	want("one", false, 1)
	want("one", false, 0)
	c.Time = c.Add(59 * time.Second)
	want("one", false, 0)
	c.Time = c.Add(time.Second)
	want("one", false, 1) // 304
	if got := s.asked[1].Header.Get("If-None-Match"); got == "" {
		t.Error("asked without the ETag")
	}
	want("one", false, 0)
	content = "two"
	want("one", false, 0)
	want("two", true, 1)
	if last := s.asked[len(s.asked)-1]; last.Header.Get("If-None-Match") != "" || last.Header.Get("Cache-Control") != "no-cache" || last.UserAgent() != "rebuild" {
		t.Errorf("asked with %v", last.Header)
	}
	files, err := os.ReadDir(cache)
	must(t, err)
	if len(files) != 1 {
		t.Fatalf("%d files in the cache", len(files))
	}
	path := filepath.Join(cache, files[0].Name())
	kept, err := os.ReadFile(path)
	must(t, err)
	for i := range kept { // no damage of the cache is ever seen
		bad := bytes.Clone(kept)
		bad[i] ^= 1
		must(t, os.WriteFile(path, bad, 0o644))
		if got, err := get(src, false); err != nil || got != "two" {
			t.Fatalf("byte %d of the cache flipped: %q %v", i, got, err)
		}
	}
	c.Time = c.Add(-time.Hour) // a clock that went back is no reason to wait an hour
	content = "three"
	want("three", false, 1)
}

// A wrong ETag does not let other bytes pass as unchanged later.
func TestLyingETag(t *testing.T) {
	honest := store.DigestOf([]byte("good")).Hex()
	content := "evil"
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"`+honest+`"`)
		if r.Header.Get("If-None-Match") == `"`+honest+`"` {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		fmt.Fprint(w, content)
	})
	src := remote(t, s.URL, t.TempDir(), &clock{time.Unix(1_000_000, 0)})
	_, err := get(src, false)
	must(t, err)
	content = "good"
	if got, err := get(src, false); err != nil || got != "good" {
		t.Errorf("%q %v", got, err)
	}
}

// Whatever a server answers that is not the file has its code, in bounded time
// and memory.
func TestWhatServersAnswer(t *testing.T) {
	status := func(code int, headers ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			w.WriteHeader(code)
			fmt.Fprint(w, "<html>\x1b[31m")
		}
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		code   fault.Code // "" is fs.ErrNotExist
		says   string
	}{
		"404": {status(404), "", ""},
		"410": {status(410), "", ""},
		"451": {status(451), "", ""},
		"403": {status(403), fault.IndexFetch, "403 Forbidden"},
		"500": {status(500), fault.IndexFetch, "500"},
		"503": {status(503, "Retry-After", "3600"), fault.IndexFetch, "503"},
		"304": {status(304), fault.IndexFetch, "was not asked"},
		"206": {status(206), fault.IndexFetch, "206"},
		"web page": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, "<!DOCTYPE html><html>please log in</html>")
		}, fault.IndexFetch, "web page"},
		"encoded": {status(200, "Content-Encoding", "gzip"), fault.IndexFetch, "encoding"},
		"announced": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "5000")
		}, fault.Parse, "5000 bytes announced"},
		"endless": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				w.Write(make([]byte, 1000))
			}
		}, fault.Parse, "more than 4096 bytes"},
		"silent": {func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, fault.IndexFetch, "nothing received for 300ms"},
		"half": {func(w http.ResponseWriter, r *http.Request) {
			w.Write([]byte("x"))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, fault.IndexFetch, "less than 1024 bytes received in 300ms"},
		"drop by drop": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				w.Write([]byte("x"))
				w.(http.Flusher).Flush()
				time.Sleep(20 * time.Millisecond)
			}
		}, fault.IndexFetch, "less than 1024 bytes received in 300ms"},
		"headers without end": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X", strings.Repeat("x", 1<<20))
		}, fault.IndexFetch, "headers exceeded"},
		"round and round": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, fault.IndexFetch, "more than 5 redirects"},
		"other scheme": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://"+r.Host+r.URL.Path, http.StatusFound)
		}, fault.IndexFetch, "from http to https"},
		"file": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "file:///etc/passwd", http.StatusFound)
		}, fault.IndexFetch, "from http to file"},
		"no length": {func(w http.ResponseWriter, r *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf of it")
			conn.Close()
		}, fault.IndexFetch, "does not say where it ends"},
		"garbage": {func(w http.ResponseWriter, r *http.Request) {
			conn, _, _ := w.(http.Hijacker).Hijack()
			fmt.Fprint(conn, "SSH-2.0-x\r\n")
			conn.Close()
		}, fault.IndexFetch, "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, c.answer)
			cache := t.TempDir()
			began := time.Now()
			_, err := get(remote(t, s.URL, cache, &clock{time.Unix(1_000_000, 0)}), false)
			if c.code == "" {
				if !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%v", err)
				}
				return
			}
			if fault.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\x1b") {
				t.Errorf("%q (%v), want %s saying %q", fault.CodeOf(err), err, c.code, c.says)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
			if held, _ := os.ReadDir(cache); len(held) != 0 {
				t.Error("it is in the cache")
			}
		})
	}
}

// A server that asks for patience is asked again, briefly.
func TestRetryAfter(t *testing.T) {
	n := 0
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n++; n < 3 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, "there")
	})
	if got, err := get(remote(t, s.URL, "", &clock{time.Unix(1, 0)}), false); err != nil || got != "there" {
		t.Errorf("%q %v", got, err)
	}
}

// G64: credentials are for the host that they were given for. Another one, also
// below it, gets none, after a redirect and in the next request.
func TestG64_CredentialsStayWithTheHost(t *testing.T) {
	other := serve(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "there") })
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, strings.Replace(other.URL, "127.0.0.1", "localhost", 1)+"/y/a", http.StatusFound)
	})
	base := strings.Replace(s.URL, "http://", "http://user:secret@", 1)
	src := remote(t, base, t.TempDir(), &clock{time.Unix(1, 0)})
	got, err := get(src, false)
	if err != nil || got != "there" {
		t.Fatalf("%q %v", got, err)
	}
	if user, password, _ := s.asked[0].BasicAuth(); user != "user" || password != "secret" {
		t.Error("the host itself was asked without credentials")
	}
	for name, values := range other.asked[0].Header {
		if strings.Contains(fmt.Sprint(values), "secret") || name == "Authorization" || name == "Cookie" || name == "Referer" {
			t.Errorf("%s: %v", name, values)
		}
	}
	if strings.Contains(src.String(), "secret") {
		t.Errorf("%s", src)
	}
	s.Close()
	if _, err := get(src, true); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("%v", err)
	}
	taker := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://a:b@"+r.Host+"/x/b", http.StatusFound)
	})
	_, err = get(remote(t, taker.URL, "", &clock{time.Unix(1, 0)}), false)
	code(t, err, fault.IndexFetch)
}

// Connections that are cut after n bytes give the file or INDEX_FETCH, never
// another file.
func TestCutConnections(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 200)
	for _, chunked := range []bool{false, true} {
		whole := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nETag: \"x\"\r\n\r\n%s", len(body), body)
		if chunked {
			whole = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		cuts := make(chan int)
		done := make(chan struct{})
		go func() {
			defer close(done)
			for n := range cuts {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				conn.Read(make([]byte, 4096))
				conn.Write(whole[:n])
				conn.Close()
			}
		}()
		base := "http://" + l.Addr().String()
		for n := 0; n <= len(whole); n += 61 {
			src := remote(t, base, t.TempDir(), &clock{time.Unix(1, 0)})
			cuts <- n
			got, err := get(src, false)
			if err == nil && got != string(body) || err != nil && fault.CodeOf(err) != fault.IndexFetch {
				t.Errorf("cut after %d of %d: %d bytes, %v", n, len(whole), len(got), err)
			}
		}
		close(cuts)
		<-done
		l.Close()
	}
}

// B13, A29: where an index may be, and how it is written.
func TestA29B13Locations(t *testing.T) {
	for text, want := range map[string]string{
		"release/index":                       "release/index",
		"/srv/index":                          "/srv/index",
		"/srv/index/config.json":              "/srv/index",
		"entries.json":                        ".",
		"file:///srv/index":                   "/srv/index",
		"file://localhost/srv/a%20b/":         "/srv/a b",
		"sparse+file:///srv/index/":           "/srv/index",
		"https://host.example/a/b":            "https://host.example/a/b/",
		"https://host.example/a/b/":           "https://host.example/a/b/",
		"sparse+https://host.example/a/":      "https://host.example/a/",
		"HTTPS://host.example/a/":             "https://host.example/a/",
		"https://host.example":                "https://host.example/index/",
		"https://host.example/":               "https://host.example/index/",
		"https://host.example/entries":        "https://host.example/index/",
		"https://host.example/hub/entries":    "https://host.example/hub/index/",
		"https://host.example/a/config.json":  "https://host.example/a/",
		"https://user:secret@host.example/a/": "https://host.example/a/",
		"http://user:secret@127.0.0.1:80/a/":  "http://127.0.0.1:80/a/",
	} {
		l, err := index.Locate(text)
		if err != nil || l.String() != want {
			t.Errorf("%s: %q %v, want %q", text, l, err, want)
		}
	}
	for _, text := range []string{
		"", "sparse+https://host.example/a", "sparse+file:///srv/index", "sparse+/srv/index/", "ftp://host.example/a/", "https://",
		"https://host.example/a?b", "https://host.example/a#b", "file://elsewhere/srv", "file:///srv?x", "http://user:secret@host.example/a/", "https://ho st/",
	} {
		_, err := index.Locate(text)
		if fault.CodeOf(err) != fault.Usage || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
