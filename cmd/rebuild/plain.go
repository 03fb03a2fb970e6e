package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
)

// What the network's errors say, in words for whoever typed an address: which
// machine, and what it did. The errors themselves stay in the chain.

// plainTransport is a transport whose errors are said plainly.
type plainTransport struct{ closingTransport }

// closingTransport is a transport that [http.Client.CloseIdleConnections] reaches.
type closingTransport interface {
	http.RoundTripper
	CloseIdleConnections()
}

func (t plainTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := t.closingTransport.RoundTrip(r)
	if err != nil {
		err = plainly(err)
	}
	return response, err
}

// plainError is an error in other words.
type plainError struct {
	text string
	err  error
}

func (e *plainError) Error() string { return e.text }
func (e *plainError) Unwrap() error { return e.err }

// Timeout is what a client of HTTP asks of its errors.
func (e *plainError) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.err, &t) && t.Timeout()
}

// plainly says an error of a connection in other words, and leaves any other as
// it is.
func plainly(err error) error {
	if text := plainText(err); text != "" {
		return &plainError{text, err}
	}
	return err
}

func plainText(err error) string {
	var op *net.OpError
	var name *net.DNSError
	var noTLS tls.RecordHeaderError
	switch {
	case errors.As(err, &noTLS):
		return "the server there does not speak https"
	case errors.As(err, &op) && op.Op == "proxyconnect":
		return "the proxy that HTTP_PROXY or HTTPS_PROXY names can not be used: " + innermost(op.Err)
	case errors.As(err, &name) && name.IsNotFound:
		return "there is no machine " + name.Name
	case errors.As(err, &op):
		return innermost(op)
	}
	return ""
}

// innermost is what an error of a connection comes from, and with which machine.
func innermost(err error) string {
	var op *net.OpError
	var call *os.SyscallError
	if !errors.As(err, &op) {
		return err.Error()
	}
	why := op.Err
	if errors.As(why, &call) {
		why = call.Err
	}
	if op.Op == "dial" && op.Addr != nil {
		return fmt.Sprintf("%s does not answer: %s", op.Addr, why)
	}
	return why.Error()
}
