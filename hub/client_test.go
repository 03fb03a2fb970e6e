package hub

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/index"
	"rebuild/internal/fault"
	"rebuild/store"
)

func TestB18_ClientPublishes(t *testing.T) {
	both(t, func(t *testing.T, logged bool) {
		s := newSite(t, logged)
		s.vote("east", "north")
		d := s.propose()
		payload, err := attest.NewProvenanceStatement(s.Plan, payloadBytes(t, s.Statement("north", nil)))
		must(t, err)
		d.Builds[0].Statements = append([][]byte{s.Sign(payload, "north")}, s.Statement("east", nil), s.Statement("north", nil))
		var told []string
		p, err := s.client.Publish(t.Context(), d.Bundle, d.archive, func(text string) { told = append(told, text) })
		must(t, err)
		if p.Duplicate || p.Release != d.digest() || len(told) < 4 {
			t.Errorf("%+v %q", p, told)
		}
		again, err := s.client.Publish(t.Context(), d.Bundle, d.archive, nil)
		must(t, err)
		if !again.Duplicate {
			t.Errorf("%+v", again)
		}
		if logged {
			c, err := s.client.Await(t.Context(), s.LoadPolicy().Log(), *p.LogIndex, time.Minute)
			must(t, err)
			if c.Size <= *p.LogIndex {
				t.Errorf("%+v", c)
			}
		}
		must(t, s.client.AwaitRelease(t.Context(), "hello", "0.1.0", d.Release, time.Minute))
	})
}

// lying is a hub before whom somebody stands who answers some requests instead.
func (s *site) lying(t testing.TB, instead func(w http.ResponseWriter, r *http.Request) bool) *Client {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !instead(w, r) {
			s.hub.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	c := s.clientOf("north")
	c.Base, c.HTTP = server.URL, server.Client()
	return c
}

// A hub that takes a release and never shows it is told from one that is slow.
func TestB25_WithheldIsReported(t *testing.T) {
	s := newSite(t, true)
	s.vote("east", "north", "west")
	old := s.ask("GET", "/index/checkpoint", nil).body
	d := s.propose()
	freshly := true
	c := s.lying(t, func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.URL.Path == "/index/checkpoint":
			freshly = freshly && r.Header.Get("Cache-Control") == "no-cache"
			w.Write(old)
		case r.URL.Path == "/entries/hello/0.1.0":
			http.NotFound(w, r)
		default:
			return false
		}
		return true
	})
	p, err := c.Publish(t.Context(), d.Bundle, d.archive, nil)
	must(t, err)
	_, err = c.Await(t.Context(), s.LoadPolicy().Log(), *p.LogIndex, 2*time.Second)
	code(t, err, fault.Stale)
	if !strings.Contains(err.Error(), "withheld") || !freshly {
		t.Errorf("%v, past caches: %v", err, freshly)
	}
	code(t, c.AwaitRelease(t.Context(), "hello", "0.1.0", d.Release, 2*time.Second), fault.Stale)
	// One who shows it late is only slow.
	left := 3
	slow := s.lying(t, func(w http.ResponseWriter, r *http.Request) bool {
		left--
		if left > 0 {
			w.Write(old)
		}
		return left > 0
	})
	_, err = slow.Await(t.Context(), s.LoadPolicy().Log(), *p.LogIndex, time.Minute)
	must(t, err)
	// And one that shows a checkpoint of its own is caught at once.
	forged := s.lying(t, func(w http.ResponseWriter, r *http.Request) bool {
		w.Write(bytes.Replace(old, []byte(attesttest.Origin), []byte("example.com/log"), -1))
		return true
	})
	_, err = forged.Await(t.Context(), s.LoadPolicy().Log(), *p.LogIndex, time.Minute)
	code(t, err, fault.EvidenceMismatch)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Await(ctx, s.LoadPolicy().Log(), *p.LogIndex, time.Minute); err != context.Canceled {
		t.Error(err)
	}
}

// A fallback never hides an error: it is for a hub that does not have the
// archive or does not know the question.
func TestB17_G36_SnapshotFallsBackOnThreeAnswersOnly(t *testing.T) {
	s := newSite(t, true)
	d := s.published()
	var asked atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch r.URL.Path {
		case "/good":
			w.Write(d.archive)
		case "/bad":
			w.Write([]byte("other bytes"))
		default:
			http.NotFound(w, r)
		}
	}))
	defer elsewhere.Close()
	r, err := s.hub.catalog.release(d.digest())
	must(t, err)
	answering := func(status int) *Client {
		return s.lying(t, func(w http.ResponseWriter, r *http.Request) bool { w.WriteHeader(status); return true })
	}
	snapshot := func(c *Client, locator string) ([]byte, error) {
		at := *r
		at.Locator = locator
		return c.Snapshot(t.Context(), d.digest(), &at)
	}
	data, err := snapshot(s.client, elsewhere.URL+"/good")
	must(t, err)
	if !bytes.Equal(data, d.archive) || asked.Load() != 0 {
		t.Errorf("%d bytes, the locator was asked %d times", len(data), asked.Load())
	}
	for _, status := range []int{404, 405, 501} {
		data, err := snapshot(answering(status), elsewhere.URL+"/good")
		must(t, err)
		if !bytes.Equal(data, d.archive) {
			t.Errorf("%d: %d bytes", status, len(data))
		}
		_, err = snapshot(answering(status), elsewhere.URL+"/bad")
		code(t, err, fault.CksumMismatch)
		for _, locator := range []string{"", "file:///etc/passwd", "/etc/passwd", elsewhere.URL + "/none", "https://user:secret@127.0.0.1/"} {
			_, err = snapshot(answering(status), locator)
			code(t, err, fault.IndexFetch)
			if strings.Contains(err.Error(), "secret") {
				t.Error(err)
			}
		}
	}
	before := asked.Load()
	for _, status := range []int{400, 401, 403, 410, 429, 451, 500, 502, 503, 504, 204, 304} {
		_, err := snapshot(answering(status), elsewhere.URL+"/good")
		code(t, err, fault.IndexFetch)
	}
	liar := s.lying(t, func(w http.ResponseWriter, r *http.Request) bool { w.Write([]byte("other bytes")); return true })
	_, err = snapshot(liar, elsewhere.URL+"/good")
	code(t, err, fault.CksumMismatch)
	cut := s.lying(t, func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Length", fmt.Sprint(len(d.archive)))
		w.Write(d.archive[:10])
		return true
	})
	_, err = snapshot(cut, elsewhere.URL+"/good")
	code(t, err, fault.IndexFetch)
	endless := s.lying(t, func(w http.ResponseWriter, r *http.Request) bool {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				break
			}
		}
		return true
	})
	_, err = snapshot(endless, elsewhere.URL+"/good")
	code(t, err, fault.IndexFetch)
	gone := s.clientOf("north")
	gone.Base = "http://127.0.0.1:1"
	_, err = snapshot(gone, elsewhere.URL+"/good")
	code(t, err, fault.IndexFetch)
	if asked.Load() != before {
		t.Error("the locator was asked where the hub failed")
	}
}

// Credentials go to the hub alone, and a write goes nowhere else.
func TestG64_CredentialsDoNotFollowRedirects(t *testing.T) {
	var seen atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Add(1)
		if r.Header.Get("Authorization") != "" || r.Header.Get("Cookie") != "" || r.Method != "GET" && r.Method != "HEAD" {
			t.Errorf("%s %v", r.Method, r.Header)
		}
		fmt.Fprint(w, "elsewhere")
	}))
	defer other.Close()
	s := newSite(t, true)
	c := s.lying(t, func(w http.ResponseWriter, r *http.Request) bool {
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
		return true
	})
	if _, err := c.AddStatement(t.Context(), s.Statement("north", nil)); fault.CodeOf(err) != fault.IndexFetch {
		t.Error(err)
	}
	if _, err := c.AddPlan(t.Context(), s.PlanJSON); fault.CodeOf(err) != fault.IndexFetch {
		t.Error(err)
	}
	data, err := c.File(t.Context(), "checkpoint", 100) // reading may be elsewhere
	must(t, err)
	if string(data) != "elsewhere" || seen.Load() == 0 {
		t.Errorf("%q", data)
	}
	down := s.lying(t, func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, "https"+strings.TrimPrefix(other.URL, "http")+"/x", http.StatusFound)
		return true
	})
	_, err = down.File(t.Context(), "checkpoint", 100)
	code(t, err, fault.IndexFetch)
	round := s.lying(t, func(w http.ResponseWriter, r *http.Request) bool {
		http.Redirect(w, r, r.URL.Path, http.StatusFound)
		return true
	})
	_, err = round.File(t.Context(), "checkpoint", 100)
	code(t, err, fault.IndexFetch)
}

// What a hub says of a refusal is quoted; it can not claim what only the
// program itself finds out.
func TestAnswersOfLyingHubs(t *testing.T) {
	s := newSite(t, true)
	for body, want := range map[string]fault.Code{
		`{"command":"x","error":{"code":"KEY_UNKNOWN","message":"no","request_id":"1"},"exit_code":11,"ok":false,"schema_version":"rebuild.cli@1.0.0"}`: fault.KeyUnknown,
		`{"command":"x","error":{"code":"ROLLBACK","message":"no","request_id":"1"},"exit_code":15,"ok":false,"schema_version":"rebuild.cli@1.0.0"}`:    fault.IndexFetch,
		`{"command":"x","error":{"code":"NEW","message":"no","request_id":"1"},"exit_code":99,"ok":false,"schema_version":"rebuild.cli@1.0.0"}`:         fault.IndexFetch,
		`not json`: fault.IndexFetch,
	} {
		c := s.lying(t, func(w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(403)
			w.Write([]byte(body))
			return true
		})
		_, err := c.AddStatement(t.Context(), s.Statement("north", nil))
		code(t, err, want)
	}
	for _, body := range []string{"", "{}{}", `{"ok":true,"duplicate":false,"seq":1,"more":2}`, strings.Repeat("x", maxReply+1)} {
		c := s.lying(t, func(w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(201)
			w.Write([]byte(body))
			return true
		})
		_, err := c.AddStatement(t.Context(), s.Statement("north", nil))
		code(t, err, fault.IndexFetch)
	}
	d := s.published()
	c := s.lying(t, func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/entries" {
			return false
		}
		fmt.Fprintf(w, `{"duplicate":false,"name":"hello","ok":true,"published_at":"x","release":"%s","version":"0.1.0"}`, store.DigestOf(nil))
		return true
	})
	_, err := c.Publish(t.Context(), d.Bundle, d.archive, nil)
	code(t, err, fault.EvidenceMismatch)
	c.Key = nil
	_, err = c.AddPlan(t.Context(), []byte("not there"))
	code(t, err, fault.Usage)
}

func TestParseURL(t *testing.T) {
	for text, want := range map[string]string{"https://hub.example": "https://hub.example", "http://127.0.0.1:80/a/": "http://127.0.0.1:80/a"} {
		if got, err := ParseURL(text); err != nil || got != want {
			t.Errorf("%s: %q %v", text, got, err)
		}
	}
	for _, text := range []string{"", "hub.example", "file:///x", "https://u:p@h", "https://h?x=1", "https://h#x", "ftp://h", "https://"} {
		_, err := ParseURL(text)
		code(t, err, fault.Usage)
	}
}

// The hub holds no key that signs a release or a statement, and signs nothing in
// a GET: everything but the log's files stays as it is.
func TestG25_ReadingWritesNothing(t *testing.T) {
	s := newSite(t, true)
	d := s.published()
	before := snapshotOf(t, s.dir)
	for _, path := range []string{"/", "/healthz", "/readyz", "/entries", "/entries/hello", "/entries/hello/0.1.0", "/entries/" + string(d.digest()) + "/snapshot",
		"/plans/" + string(s.Plan.Digest()), "/plans/" + string(s.Plan.Digest()) + "/verdict", "/plans/" + string(s.Plan.Digest()) + "/bundle",
		"/plans/" + string(s.Plan.Digest()) + "/events", "/index/checkpoint", "/index/head", "/index/he/ll/hello"} {
		s.ask("GET", path, nil)
	}
	if snapshotOf(t, s.dir) != before {
		t.Error("a GET changed the index")
	}
}

// A hub that is busy is asked again, but not for ever.
func TestBusyHubsAreAskedAgain(t *testing.T) {
	s := newSite(t, true)
	s.vote()
	var busy atomic.Int32
	c := s.lying(t, func(w http.ResponseWriter, r *http.Request) bool {
		if busy.Add(-1) < 0 {
			return false
		}
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	var waited []time.Duration
	c.Wait = func(_ context.Context, d time.Duration) error { waited = append(waited, d); return nil }
	busy.Store(2)
	_, err := c.AddStatement(t.Context(), s.Statement("north", nil))
	must(t, err)
	if len(waited) != 2 || waited[0] != 7*time.Second {
		t.Errorf("%v", waited)
	}
	busy.Store(100)
	_, err = c.AddStatement(t.Context(), s.Statement("north", nil))
	code(t, err, fault.IndexFetch)
	if len(waited) != 2+tries-1 {
		t.Errorf("%v", waited)
	}
}

// Readers need nothing of a hub but its files.
func TestReadersReadAHub(t *testing.T) {
	both(t, func(t *testing.T, logged bool) {
		s := newSite(t, logged)
		s.published()
		base, err := url.Parse(s.url + "/index/")
		must(t, err)
		src := index.Remote(base, index.Remoting{Client: http.DefaultClient, Now: s.clock, Cache: t.TempDir()})
		r, err := index.NewReader(t.Context(), src, index.Reading{Policy: s.LoadPolicy(), Now: s.clock()})
		must(t, err)
		e, p, err := r.Verify(t.Context(), "hello", "0.1.0")
		must(t, err)
		if (e.Seq != nil) != logged || p.Account().Word != attest.Reproducible {
			t.Errorf("%+v %+v", e, p.Account())
		}
	})
}
