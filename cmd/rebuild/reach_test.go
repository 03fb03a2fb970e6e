package main

import (
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rebuild/attest"
	"rebuild/index"
	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/store"
)

// neighbour is a server that nobody on the internet reaches, and how often it was
// asked.
func neighbour(t *testing.T, answer http.HandlerFunc) (string, *atomic.Int64) {
	t.Helper()
	asked := &atomic.Int64{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL, asked
}

// met are peers at addresses.
func met(host string, addresses ...string) *peers {
	p := &peers{host: host}
	for _, a := range addresses {
		p.note(host+":443", &net.TCPAddr{IP: net.ParseIP(a), Port: 443})
	}
	return p
}

// An index of the internet has nothing asked of this machine's neighbours,
// neither as the hub that it says it belongs to, nor by a release's locator, nor
// by a redirect; one of this network, or on this machine, has.
func TestAnIndexLeadsToNoNeighbours(t *testing.T) {
	place, asked := neighbour(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	redirect, _ := neighbour(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, place+"/x", http.StatusFound) })
	none, proxied := "", met("index.example")
	proxied.note("proxy.example:3128", &net.TCPAddr{IP: net.ParseIP("10.0.0.1"), Port: 3128})
	a := &app{ui: ui{world: world{now: time.Now}}}
	for name, c := range map[string]struct {
		location     string
		met          *peers
		api, locator string
		want         int64
	}{
		"hub":                       {"http://index.example/index/", met("index.example", "93.184.215.14"), place, none, 0},
		"locator":                   {"http://index.example/index/", met("index.example", "93.184.215.14"), none, place, 0},
		"locator by https":          {"https://index.example/index/", met("index.example", "93.184.215.14"), none, place, 0},
		"nobody met":                {"http://index.example/index/", met("index.example"), place, none, 0},
		"by a proxy":                {"http://index.example/index/", proxied, place, none, 0},
		"its name changes":          {"http://index.example/index/", met("index.example", "93.184.215.14", "127.0.0.1"), place, none, 0},
		"its server redirects":      {redirect + "/index/", met("127.0.0.1", "93.184.215.14"), redirect, none, 0},
		"https to http":             {"https://index.example/index/", met("index.example", "10.0.0.1"), place, none, 0},
		"its own server":            {place + "/index/", met("127.0.0.1"), place, none, 1},
		"the hub that was named":    {place + "/entries", met("127.0.0.1"), redirect, none, 1},
		"of this network":           {"http://index.example/index/", met("index.example", "10.0.0.1"), place, none, 1},
		"of this network, redirect": {"http://index.example/index/", met("index.example", "fd00::1"), none, redirect, 1},
		"of this machine, a folder": {"/srv/index", nil, place, none, 1},
	} {
		t.Run(name, func(t *testing.T) {
			asked.Store(0)
			get := a.elsewhere(c.location, false, nil, c.met, func() string { return c.api })
			_, err := get(t.Context(), store.DigestOf(nil), &attest.Release{Locator: c.locator}) // nobody has it
			if got := asked.Load(); got != c.want {
				t.Errorf("asked %d times, want %d", got, c.want)
			}
			if led := err != nil && strings.Contains(err.Error(), pipeline.ErrNotPublic.Error()); led != (c.want == 0 && name != "https to http") {
				t.Errorf("%v", err)
			} else if led && fault.CodeOf(err) != fault.IndexFetch {
				t.Errorf("%v", err)
			}
		})
	}
}

// What somebody names as the hub is the hub, whatever the index says; a server
// that was named alone is one unless its index says another.
func TestHubOfAnIndex(t *testing.T) {
	const other = "https://other.example"
	for _, c := range []struct{ location, api, want string }{
		{"https://hub.example/entries", other, "https://hub.example"},
		{"https://hub.example/a/entries", other, "https://hub.example/a"},
		{"https://hub.example/entries", "", "https://hub.example"},
		{"https://hub.example", "", "https://hub.example"},
		{"https://hub.example", other, other},
		{"https://hub.example", "http://other.example", "https://hub.example"},
		{"https://hub.example/index/", other, other},
		{"https://hub.example/index/", "http://other.example", ""},
		{"http://hub.example/index/", "http://other.example", "http://other.example"},
		{"/srv/index", other, other},
	} {
		at, err := index.Locate(c.location)
		must(t, err)
		if got := hubOf(at, c.api); got != c.want {
			t.Errorf("%s, which names %q: %q, want %q", c.location, c.api, got, c.want)
		}
	}
}

// An index is read from its own server, whose redirects lead to its neighbours only
// if it is one of them.
func TestAnIndexIsRedirectedToNoNeighbours(t *testing.T) {
	place, asked := neighbour(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })
	redirect, _ := neighbour(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, place+"/x", http.StatusFound) })
	a := &app{ui: ui{world: world{now: time.Now}}}
	at, err := index.Locate(redirect + "/index/")
	must(t, err)
	for _, near := range []bool{true, false} {
		asked.Store(0)
		p := met("127.0.0.1")
		if !near {
			p = met("127.0.0.1", "93.184.215.14") // as another of its addresses
		}
		client := a.leading(at, p)
		src := index.Remote(at.URL, index.Remoting{Client: client, Now: time.Now})
		_, err := src.Get(t.Context(), "config.json", 100, false)
		client.CloseIdleConnections()
		if led := asked.Load() == 1; led != near || near != errors.Is(err, fs.ErrNotExist) {
			t.Errorf("near %t: asked %d times: %v", near, asked.Load(), err)
		}
		if p.near() != near {
			t.Errorf("near %t", p.near())
		}
	}
}

// A proxy is asked for nobody of this network by an address.
func TestNoNeighboursThroughAProxy(t *testing.T) {
	at, err := index.Locate("http://index.example/index/")
	must(t, err)
	a := &app{ui: ui{world: world{now: time.Now}}}
	o := a.leading(at, met("index.example")).Transport.(plainTransport).closingTransport.(*outward)
	o.proxy = http.ProxyURL(at.URL) // asked for everything
	for _, address := range []string{"http://10.0.0.1/x", "http://localhost/x", "https://[::1]/x", "http://169.254.169.254/latest/"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		must(t, err)
		if _, err := o.RoundTrip(req); err != pipeline.ErrNotPublic {
			t.Errorf("%s: %v", address, err)
		}
	}
}
