package hub

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"rebuild/attest/attesttest"
	"rebuild/internal/fault"
	"rebuild/store"
)

// A hub that answers for a statement with the place of something else, or with
// none, has it not logged: only the chain itself says that it is.
func TestB25_StatementsThatAreNotLogged(t *testing.T) {
	s := newSite(t, true)
	s.vote("east")
	ours := s.Statement("north", s.differently)
	for _, answer := range []string{`{"duplicate":false,"ok":true,"seq":0}`, `{"duplicate":false,"ok":true,"seq":2}`, `{"duplicate":true,"ok":true}`} {
		c := s.lying(t, func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path != "/statements" {
				return false
			}
			w.WriteHeader(http.StatusCreated)
			io.WriteString(w, answer)
			return true
		})
		_, err := c.AddStatement(t.Context(), ours)
		must(t, err)
		_, _, _, err = c.AwaitStatements(t.Context(), s.LoadPolicy(), s.Plan.Digest(), []store.Digest{payloadOf(s.Statement("east", nil)), payloadOf(ours)}, 2*time.Second)
		code(t, err, fault.Stale)
		if !strings.Contains(err.Error(), "withheld") || !strings.Contains(err.Error(), string(payloadOf(ours))) {
			t.Errorf("%s: %v", answer, err)
		}
	}
	silent := s.lying(t, func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/events") {
			return false
		}
		http.NotFound(w, r)
		return true
	})
	_, _, _, err := silent.AwaitStatements(t.Context(), s.LoadPolicy(), s.Plan.Digest(), []store.Digest{payloadOf(ours)}, time.Second)
	code(t, err, fault.IndexFetch)

	last := answerOf[Written](t, s.ask("POST", "/statements", ours), 201).Seq
	events, proof, seq, err := s.client.AwaitStatements(t.Context(), s.LoadPolicy(), s.Plan.Digest(), []store.Digest{payloadOf(ours), payloadOf(s.Statement("east", nil))}, 0)
	must(t, err)
	if seq != *last || len(events) == 0 || len(proof) == 0 {
		t.Errorf("leaf %d, want %d", seq, *last)
	}
	other := s.lying(t, func(http.ResponseWriter, *http.Request) bool { return false })
	_, _, _, err = other.AwaitStatements(t.Context(), s.LoadPolicy(), store.DigestOf([]byte("no plan")), []store.Digest{payloadOf(ours)}, time.Second)
	code(t, err, fault.Stale)
}

// What a hub answers of a release is about that release, and an answer that says
// that nothing was done is no success.
func TestB25_AnswersAboutSomethingElse(t *testing.T) {
	s := newSite(t, true)
	d := s.published()
	answering := func(path, format string, args ...any) *Client {
		return s.lying(t, func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet || r.URL.Path != path {
				return false
			}
			w.WriteHeader(http.StatusCreated)
			fmt.Fprintf(w, format, args...)
			return true
		})
	}
	const published = `{"duplicate":false,"log_index":0,"name":%q,"ok":%t,"published_at":"2026-06-01T12:00:00Z","release":%q,"version":%q}`
	for _, c := range []struct {
		name, version string
		ok            bool
		release       store.Digest
	}{
		{"hallo", "0.1.0", true, d.digest()}, {"hello", "0.2.0", true, d.digest()}, {"hello", "0.1.0", false, d.digest()},
		{"hello", "0.1.0", true, store.DigestOf([]byte("another"))}, {"", "", true, d.digest()}, {"..", "..", true, d.digest()},
	} {
		_, err := answering("/entries", published, c.name, c.ok, c.release, c.version).Publish(t.Context(), d.Bundle, d.archive, nil)
		code(t, err, fault.EvidenceMismatch)
	}
	_, err := answering("/entries", published, "hello", true, d.digest(), "0.1.0").Publish(t.Context(), d.Bundle, d.archive, nil)
	must(t, err)

	const no = `{"duplicate":false,"ok":false}`
	object := []byte("object")
	for path, ask := range map[string]func(*Client) error{
		"/statements": func(c *Client) error { _, err := c.AddStatement(t.Context(), s.Statement("east", nil)); return err },
		"/yanks":      func(c *Client) error { _, err := c.Yank(t.Context(), d.Release); return err },
		"/objects/" + string(store.DigestOf(object)): func(c *Client) error { _, err := c.PutObject(t.Context(), object); return err },
		"/plans": func(c *Client) error { _, err := c.AddPlan(t.Context(), []byte("another plan")); return err },
	} {
		c := answering(path, no)
		c.Key = attesttest.Key("north")
		code(t, ask(c), fault.IndexFetch)
	}
}
