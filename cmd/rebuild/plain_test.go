package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"syscall"
	"testing"
)

// Who mistypes an address or names a proxy that is gone must read which machine
// did what, and no words of the program's own libraries.
func TestPlainly(t *testing.T) {
	t.Parallel()
	refused := &net.OpError{
		Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2},
		Err: os.NewSyscallError("connect", syscall.ECONNREFUSED),
	}
	for _, c := range []struct {
		err  error
		want string
	}{
		{refused, "127.0.0.1:2 does not answer: connection refused"},
		{
			&net.OpError{Op: "proxyconnect", Net: "tcp", Err: refused},
			"the proxy that HTTP_PROXY or HTTPS_PROXY names can not be used: 127.0.0.1:2 does not answer: connection refused",
		},
		{&net.OpError{Op: "dial", Err: &net.DNSError{Name: "packages.example", IsNotFound: true}}, "there is no machine packages.example"},
		{&net.OpError{Op: "dial", Net: "tcp", Err: &net.AddrError{Err: "invalid port", Addr: "99999"}}, "address 99999: invalid port"},
		{context.Canceled, "context canceled"},
	} {
		got := plainly(c.err)
		if got.Error() != c.want {
			t.Errorf("%v: got %q, want %q", c.err, got, c.want)
		}
		if !errors.Is(got, c.err) {
			t.Errorf("%v is not in the chain any more", c.err)
		}
	}
}

// A client decides by Timeout whether it asks again, whatever words are used.
func TestPlainErrorsKeepTheirTimeout(t *testing.T) {
	t.Parallel()
	late := &net.OpError{Op: "dial", Net: "tcp", Err: os.ErrDeadlineExceeded}
	var timed interface{ Timeout() bool }
	if err := plainly(late); !errors.As(err, &timed) || !timed.Timeout() {
		t.Errorf("%v is no timeout", err)
	}
	if (&plainError{"", syscall.ECONNREFUSED}).Timeout() {
		t.Error("a refusal is a timeout")
	}
}

// The client of every command says it so.
func TestClientSpeaksPlainly(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	client := new(app).httpClient()
	defer client.CloseIdleConnections()
	response, err := client.Get("https" + server.URL[len("http"):])
	if err == nil {
		response.Body.Close()
	}
	var plain *plainError
	if !errors.As(err, &plain) || plain.text != "the server there does not speak https" {
		t.Errorf("got %v", err)
	}
}
