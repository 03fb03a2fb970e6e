package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"

	"rebuild/index"
	"rebuild/internal/fault"
	"rebuild/pipeline"
)

// Where an index leads, beside to itself: where its server redirects to, to the hub
// that its config.json names, which nobody has signed, and where the signers of a
// release say that its archive is. An index of the internet must not have this machine ask its
// neighbours, whom nobody else reaches. So it leads to public addresses alone,
// and to its own server. What is on this machine or was read from an address of
// this network may lead there too.

// peers are the addresses at which the server of an index was reached. What its
// name is said to stand for is worth nothing: whoever runs it says that.
type peers struct {
	host string // of the index

	mu     sync.Mutex
	asked  bool
	public bool // of one of them at least
}

// note is told of each connection that was made to an address such as host:443.
// One to a proxy says nothing about who is behind it.
func (p *peers) note(address string, to net.Addr) {
	host, _, err := net.SplitHostPort(address)
	if err != nil || !strings.EqualFold(host, p.host) {
		return
	}
	at, err := netip.ParseAddrPort(to.String())
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked, p.public = true, p.public || err != nil || pipeline.Public(at.Addr())
}

// near says that the index was read from this network, each time.
func (p *peers) near() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked && !p.public
}

// leading is the client for an index and for where it leads.
func (a *app) leading(at index.Location, p *peers) *http.Client {
	if at.URL == nil {
		return a.httpClient()
	}
	own, public := a.transport(), a.transport()
	dial := own.DialContext
	own.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err == nil {
			p.note(address, conn.RemoteAddr())
		}
		return conn, err
	}
	public.Proxy = nil
	public.DialContext = (&net.Dialer{Timeout: dialTime, ControlContext: onlyPublic}).DialContext
	return &http.Client{Transport: plainTransport{&outward{at.URL, p, own, public, http.ProxyFromEnvironment}}}
}

// onlyPublic looks at an address when it is connected to, so that no name can stand
// for another one then.
func onlyPublic(_ context.Context, _, address string, _ syscall.RawConn) error {
	if at, err := netip.ParseAddrPort(address); err != nil || !pipeline.Public(at.Addr()) {
		return pipeline.ErrNotPublic
	}
	return nil
}

// outward is a transport to the server of an index, and from there to public
// addresses, or anywhere if it is near.
type outward struct {
	index       *url.URL
	met         *peers
	own, public *http.Transport
	proxy       func(*http.Request) (*url.URL, error)
}

// RoundTrip is called for every redirect too. A proxy looks names up by itself,
// so what is asked through one is only looked at as it is written.
func (o *outward) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme == o.index.Scheme && strings.EqualFold(req.URL.Host, o.index.Host) || o.met.near() {
		return o.own.RoundTrip(req)
	}
	proxy, err := o.proxy(req)
	if err != nil {
		return nil, err
	}
	if proxy == nil {
		return o.public.RoundTrip(req)
	}
	host := req.URL.Hostname()
	if at, err := netip.ParseAddr(host); err == nil && !pipeline.Public(at) || strings.EqualFold(host, "localhost") {
		return nil, pipeline.ErrNotPublic
	}
	return o.own.RoundTrip(req)
}

// CloseIdleConnections implements what [http.Client] asks for.
func (o *outward) CloseIdleConnections() {
	o.own.CloseIdleConnections()
	o.public.CloseIdleConnections()
}

// ledAstray words that an index of the internet leads into this network.
func ledAstray(err error, at index.Location) error {
	if !errors.Is(err, pipeline.ErrNotPublic) {
		return err
	}
	return fault.New(fault.IndexFetch, "%w; index %s has not the archive, and leads to this network for it", err, at).
		WithHint("use an index that has the archive; if you trust its hub, name that: --index https://HOST/entries")
}
