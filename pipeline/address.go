package pipeline

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// Reach is where a download may lead whose URL nobody has signed, such as a hint
// of an index. Whoever writes those could have this machine ask its neighbours,
// whom nobody else reaches: the services of its own network, of its host, of the
// cloud that it runs in. So the zero Reach is https and public addresses alone.
type Reach struct {
	HTTP    bool // also URLs of http, which anybody on the way can answer
	Private bool // also addresses that are not public
}

// Client returns a client like that of [FetchClient] that goes no further. What
// a name resolves to is looked at when the connection is made, that of every
// redirect too, so that no name can stand for another address then.
func (r Reach) Client() *http.Client {
	var permit func(netip.Addr) bool
	if !r.Private {
		permit = Public
	}
	return r.client(permit)
}

func (r Reach) client(permit func(netip.Addr) bool) *http.Client {
	return &http.Client{Transport: &reaching{r, fetchTransport(permit)}}
}

// reaching is a transport that refuses schemes.
type reaching struct {
	Reach
	*http.Transport
}

// RoundTrip is called for every redirect too.
func (t *reaching) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Scheme != "https" && !(t.HTTP && req.URL.Scheme == "http") {
		return nil, fmt.Errorf("%s is not asked, only https is", req.URL.Scheme)
	}
	return t.Transport.RoundTrip(req)
}

// fetchTransport connects to addresses that permit allows; nil allows all.
func fetchTransport(permit func(netip.Addr) bool) *http.Transport {
	dialer := &net.Dialer{Timeout: 15 * time.Second}
	if permit != nil {
		dialer.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			if !permit(at.Addr()) {
				return ErrNotPublic
			}
			return nil
		}
	}
	return &http.Transport{
		DialContext:            dialer.DialContext,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true,
		MaxResponseHeaderBytes: 64 << 10,
		ResponseHeaderTimeout:  30 * time.Second,
		TLSHandshakeTimeout:    15 * time.Second,
	}
}

// The special-purpose address registries (RFC 6890): what is not one machine of
// the internet. Of IPv6 only 2000::/3 is given out at all; what is left out of it
// are ways around, by which an IPv6 address stands for one of IPv4.
var (
	global6 = netip.MustParsePrefix("2000::/3")
	special = prefixes(
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
		"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
		"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
	)
)

func prefixes(texts ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, text := range texts {
		out = append(out, netip.MustParsePrefix(text))
	}
	return out
}

// ErrNotPublic is for an address that only some reach.
var ErrNotPublic = errors.New("it is not a public address")

// Public says whether an address is one that everybody reaches.
func Public(a netip.Addr) bool {
	a = a.Unmap()
	if a.Zone() != "" || a.Is6() && !global6.Contains(a) {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return a.IsValid()
}
