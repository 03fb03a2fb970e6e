package hub

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"rebuild/attest/attesttest"
	"rebuild/store"
)

// FuzzBody sends what operators never would, signed by one: the hub answers
// with a document, and never that something is wrong with itself.
func FuzzBody(f *testing.F) {
	s := newSite(f, true, func(_ *site, o *Options, _ *Service) { o.Trouble = func(string) {} })
	paths := []string{"/plans", "/statements", "/yanks", "/entries"}
	f.Add(uint8(0), s.PlanJSON)
	f.Add(uint8(1), s.Statement("north", nil))
	f.Add(uint8(2), s.Statement("east", nil))
	f.Add(uint8(3), []byte(`{"release":{}}`))
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		req := httptest.NewRequest(http.MethodPost, s.url+paths[int(which)%len(paths)], bytes.NewReader(body))
		if err := Authorize(req, store.DigestOf(body), attesttest.Key("north"), s.clock()); err != nil {
			t.Fatal(err)
		}
		w := httptest.NewRecorder()
		s.hub.ServeHTTP(w, req)
		if w.Code >= 500 || !json.Valid(w.Body.Bytes()) {
			t.Fatalf("%d: %s", w.Code, w.Body)
		}
	})
}
