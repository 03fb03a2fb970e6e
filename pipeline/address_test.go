package pipeline

import (
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
)

func TestPublicAddresses(t *testing.T) {
	for text, want := range map[string]bool{
		"1.1.1.1": true, "9.255.255.255": true, "11.0.0.0": true, "100.63.255.255": true, "172.32.0.1": true, "192.169.0.1": true, "223.255.255.255": true,
		"2606:4700:4700::1111": true, "2a00::1": true, "::ffff:1.1.1.1": true,

		"0.0.0.0": false, "0.1.2.3": false, "10.0.0.1": false, "100.64.0.1": false, "127.0.0.1": false, "127.255.255.254": false,
		"169.254.169.254": false, "172.16.0.1": false, "172.31.255.255": false, "192.0.0.170": false, "192.168.1.1": false, "198.18.0.1": false,
		"224.0.0.1": false, "255.255.255.255": false, "240.0.0.1": false,
		"::": false, "::1": false, "::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::127.0.0.1": false, "fe80::1": false, "fe80::1%eth0": false,
		"2a00::1%eth0": false, "fc00::1": false, "fd00:ec2::254": false, "fec0::1": false, "ff02::1": false, "64:ff9b::7f00:1": false,
		"2002:7f00:1::": false, "2001::1": false, "2001:db8::1": false,
	} {
		if got := Public(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
	if Public(netip.Addr{}) {
		t.Error("no address is public")
	}
}

// counted is a server that tells how often it was asked.
func counted(t *testing.T, host string, tls bool, answer http.HandlerFunc) (*httptest.Server, *atomic.Int64) {
	t.Helper()
	asked := new(atomic.Int64)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if answer != nil {
			answer(w, r)
		}
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			asked.Add(1)
		}
	}
	s.Listener.Close()
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	s.Listener = l
	if tls {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s, asked
}

// Whoever writes a URL has nobody asked on this machine or beside it, by
// whatever name, and by no redirect.
func TestUnsignedURLsLeadToNoNeighbour(t *testing.T) {
	victim, asked := counted(t, "127.0.0.2", true, nil)
	_, port, err := net.SplitHostPort(victim.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	plain, askedPlain := counted(t, "127.0.0.2", false, nil)
	trusting := func(client *http.Client) *http.Client {
		roots := x509.NewCertPool()
		roots.AddCert(victim.Certificate())
		config := victim.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
		config.RootCAs, config.ServerName = roots, "example.com"
		client.Transport.(*reaching).TLSClientConfig = config
		return client
	}
	refused := func(name string, client *http.Client, url, why string) {
		t.Run(name, func(t *testing.T) {
			defer client.CloseIdleConnections()
			res, err := client.Get(url)
			if err == nil {
				res.Body.Close()
			}
			if err == nil || !strings.Contains(err.Error(), why) {
				t.Errorf("%v", err)
			}
			if asked.Load()+askedPlain.Load() != 0 {
				t.Error("it was asked")
			}
		})
	}
	for _, host := range []string{"127.0.0.2", "[::ffff:127.0.0.2]", "localhost", "[::1]", "0.0.0.0"} {
		refused(host, trusting(Reach{}.Client()), "https://"+host+":"+port+"/", "not a public address")
	}
	refused("http", Reach{}.Client(), plain.URL, "only https")
	refused("http where it is allowed", Reach{HTTP: true}.Client(), plain.URL, "not a public address")
	refused("another scheme", Reach{true, true}.Client(), "file:///etc/passwd", "only https")

	// A server that may be asked sends on to one that may not.
	for name, to := range map[string]string{"redirect to a neighbour": victim.URL, "redirect to http": plain.URL} {
		liar, _ := counted(t, "127.0.0.1", true, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) })
		first := netip.MustParseAddr("127.0.0.1")
		client := trusting(Reach{}.client(func(a netip.Addr) bool { return a == first }))
		why := "not a public address"
		if to == plain.URL {
			why = "only https"
		}
		refused(name, client, liar.URL, why)
	}

	client := trusting(Reach{Private: true}.Client()) // the server is there
	defer client.CloseIdleConnections()
	res, err := client.Get(victim.URL)
	if err != nil || asked.Load() != 1 {
		t.Fatal(err)
	}
	res.Body.Close()
}
