package main

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"rebuild/attest"
	"rebuild/index"
	"rebuild/store"
)

// An index that was read by https has nothing asked of this machine's neighbours
// by http, whatever hub it says that it belongs to.
func TestHubThatAnIndexNames(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusNotFound)
	}))
	defer server.Close()
	a := &app{ui: ui{world: world{now: time.Now}}}
	for location, want := range map[string]int64{"https://index.example/index/": 0, "http://index.example/index/": 1} {
		asked.Store(0)
		get := a.elsewhere(location, false, nil, func() string { return server.URL })
		_, _ = get(t.Context(), store.DigestOf(nil), &attest.Release{}) // nobody has it
		if got := asked.Load(); got != want {
			t.Errorf("%s: the hub was asked %d times, want %d", location, got, want)
		}
	}
	named := index.Location{Hub: "https://hub.example"}
	if got := hubOf(named, ""); got != named.Hub {
		t.Errorf("the hub is %q, want the one that was named", got)
	}
}
