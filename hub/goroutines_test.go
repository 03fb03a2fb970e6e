package hub

import (
	"context"
	"io"
	"net"
	"net/http"
	"runtime"
	"testing"
	"time"
)

// A server that is stopped has ended all that it started, also for visitors who
// are still there.
func TestStoppedServerLeavesNoGoroutine(t *testing.T) {
	s := newSite(t, true)
	s.vote()
	before := runtime.NumGoroutine()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, l, Service{Handler: s.hub, Wall: time.Now}) }()
	transport := &http.Transport{}
	for range 4 {
		resp, err := (&http.Client{Transport: transport}).Get("http://" + l.Addr().String() + "/index/head")
		must(t, err)
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("%d, %v", resp.StatusCode, err)
		}
		resp.Body.Close()
	}
	silent, err := net.Dial("tcp", l.Addr().String()) // who says nothing
	must(t, err)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	silent.Close()
	transport.CloseIdleConnections()
	now := 0
	for range 500 {
		if now = runtime.NumGoroutine(); now <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines before, %d after", before, now)
}
