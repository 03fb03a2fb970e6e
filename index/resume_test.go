package index_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"rebuild/attest/attesttest"
	"rebuild/index"
	"rebuild/internal/fault"
)

// opener is what package pull goes on with where a download was cut.
type opener interface {
	Open(ctx context.Context, path string, offset int64) (io.ReadCloser, int64, error)
}

// A server that can not go on, or says that it does and does something else,
// must not have two beginnings put together.
func TestRemoteGoesOn(t *testing.T) {
	const whole = "0123456789"
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		partial := func(says, body string) {
			w.Header().Set("Content-Range", says)
			w.WriteHeader(http.StatusPartialContent)
			io.WriteString(w, body)
		}
		switch r.URL.Path {
		case "/honest":
			if r.Header.Get("Range") == "bytes=4-" {
				partial("bytes 4-9/10", whole[4:])
				return
			}
			io.WriteString(w, whole)
		case "/ignores":
			io.WriteString(w, whole)
		case "/elsewhere":
			partial("bytes 5-9/10", whole[5:])
		case "/less":
			partial("bytes 4-5/10", whole[4:6])
		case "/silent":
			partial("", whole[4:])
		case "/packed":
			w.Header().Set("Content-Encoding", "gzip")
			io.WriteString(w, whole)
		case "/past":
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
		case "/gone":
			w.WriteHeader(http.StatusGone)
		case "/stalls":
			w.Header().Set("Content-Length", "10")
			io.WriteString(w, whole[:3])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}
	}))
	defer h.Close()
	base, err := url.Parse(h.URL + "/")
	must(t, err)
	src := index.Remote(base, index.Remoting{Client: h.Client(), Now: func() time.Time { return attesttest.Now }, Stall: 200 * time.Millisecond}).(opener)
	for _, c := range []struct {
		path   string
		offset int64
		from   int64
		body   string
		code   fault.Code
	}{
		{"honest", 0, 0, whole, ""}, {"honest", 4, 4, whole[4:], ""}, {"ignores", 4, 0, whole, ""},
		{"elsewhere", 4, 0, "", fault.IndexFetch}, {"less", 4, 0, "", fault.IndexFetch}, {"silent", 4, 0, "", fault.IndexFetch},
		{"packed", 0, 0, "", fault.IndexFetch}, {"past", 40, 0, "", fault.IndexFetch},
	} {
		t.Run(fmt.Sprintf("%s from %d", c.path, c.offset), func(t *testing.T) {
			body, from, err := src.Open(t.Context(), c.path, c.offset)
			if code(t, err, c.code); err != nil {
				return
			}
			defer body.Close()
			got, err := io.ReadAll(body)
			if err != nil || from != c.from || string(got) != c.body {
				t.Errorf("%q from %d, %v", got, from, err)
			}
		})
	}
	if _, _, err := src.Open(t.Context(), "gone", 0); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	body, _, err := src.Open(t.Context(), "stalls", 0)
	must(t, err)
	defer body.Close()
	if got, err := io.ReadAll(body); err == nil || string(got) != whole[:3] {
		t.Errorf("%q %v", got, err)
	}
}
