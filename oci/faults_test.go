package oci_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"rebuild/attest"
	"rebuild/internal/fault"
	"rebuild/oci"
)

var errCut = errors.New("the connection is cut")

// through pushes, exports and finds.
func (r *released) through(place oci.Place) ([]oci.Artifact, error) {
	if err := oci.PushImages(context.Background(), place, r.Store, r.image); err != nil {
		return nil, err
	}
	if _, err := oci.Export(context.Background(), place, r.release, r.testimonies, r.rbundle); err != nil {
		return nil, err
	}
	return oci.Find(context.Background(), place, r.image)
}

// Whichever request is lost, nobody is told that less is attached than is; and
// the same again ends as if nothing had been lost.
func TestEveryRequestIsLostOnce(t *testing.T) {
	r := newReleased(t)
	for _, referrers := range []bool{true, false} {
		for n := 1; ; n++ {
			host := serve(t, referrers, nil)
			left := n
			client := &http.Client{Transport: transport(func(q *http.Request) (*http.Response, error) {
				if left--; left == 0 {
					return nil, errCut
				}
				return http.DefaultTransport.RoundTrip(q)
			})}
			place, err := oci.OpenRegistry(host+"/demo/hello", oci.Access{Client: client})
			must(t, err)
			found, err := r.through(place)
			if left > 0 {
				if must(t, err); n < 20 {
					t.Errorf("only %d requests were made", n-1)
				}
				break
			}
			switch {
			case err == nil:
				r.checkFound(t, found)
			case fault.CodeOf(err) != fault.IndexFetch || !errors.Is(err, errCut):
				t.Errorf("request %d: %v", n, err)
			}
			found, err = r.through(open(t, host))
			must(t, err)
			r.checkFound(t, found)
		}
	}
}

// Nothing goes on behind the back of a caller who has given up.
func TestCancelled(t *testing.T) {
	r := newReleased(t)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	dir := t.TempDir()
	for name, place := range map[string]oci.Place{"layout": layoutIn(t, dir), "registry": open(t, serve(t, true, nil))} {
		before := snapshot(t, dir)
		if err := oci.PushImages(ctx, place, r.Store, r.image); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", name, err)
		}
		if after := snapshot(t, dir); after != before {
			t.Errorf("%s: something was written:\n%s", name, after)
		}
	}
}

// Foreign JSON under a good digest, and places that are none.
func TestForeignContent(t *testing.T) {
	r := newReleased(t)
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o644))
	if _, err := oci.OpenLayout(file); err == nil {
		t.Error("a file was opened as a layout")
	}
	garbage, err := r.Store.Put([]byte(`{"config":{"digest":"latest"}}`))
	must(t, err)
	code(t, oci.PushImages(context.Background(), layoutIn(t, t.TempDir()), r.Store, garbage), fault.Structure)
	garbage, err = r.Store.Put([]byte(`not JSON`))
	must(t, err)
	code(t, oci.PushImages(context.Background(), layoutIn(t, t.TempDir()), r.Store, garbage), fault.Parse)
	bad := attest.Testimony{Subjects: r.testimonies[0].Subjects, Envelope: []byte("{}")}
	place := layoutIn(t, t.TempDir())
	must(t, oci.PushImages(context.Background(), place, r.Store, r.image))
	_, err = oci.Export(context.Background(), place, r.release, []attest.Testimony{bad}, r.rbundle)
	code(t, err, fault.Structure)
	bad.Envelope = r.Sign([]byte(`{}`), "north", "west")
	_, err = oci.Export(context.Background(), place, r.release, []attest.Testimony{bad}, r.rbundle)
	code(t, err, fault.Structure)
}
