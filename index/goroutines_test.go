package index

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"testing"
	"time"
)

// A reader that gives up an index whose server says nothing, or not the end,
// leaves no goroutine behind; nor does one whose server is too slow.
func TestGivenUpReadsLeaveNoGoroutine(t *testing.T) {
	waiting := make(chan struct{}, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		if r.URL.Path == "/body" {
			w.Write([]byte("half"))
			w.(http.Flusher).Flush()
		}
		select {
		case waiting <- struct{}{}:
		default:
		}
		<-r.Context().Done()
	}))
	defer server.Close()
	base, err := url.Parse(server.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	before := runtime.NumGoroutine()
	for _, path := range []string{"head", "body"} {
		for _, stall := range []time.Duration{time.Minute, 50 * time.Millisecond} {
			src := Remote(base, Remoting{Client: &http.Client{Transport: transport}, Now: time.Now, Stall: stall})
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() {
				_, err := src.Get(ctx, path, 1000, false)
				ended <- err
			}()
			<-waiting
			if stall == time.Minute {
				cancel()
			}
			if err := <-ended; err == nil {
				t.Errorf("%s: no error", path)
			}
			cancel()
		}
	}
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
