package pipeline_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/store"
)

// knows are mirrors that this machine would be configured with.
func knows(bases ...string) func(*pipeline.FetchOptions) {
	return func(o *pipeline.FetchOptions) {
		o.Mirrors.Of = func(_ context.Context, scheme string) ([]string, error) {
			if scheme != "debian" {
				return nil, errors.New("asked for " + scheme)
			}
			return bases, nil
		}
	}
}

// A recipe names a path in an archive, the machine its mirror: they are asked in
// order, below their base, also over http and on this network, and no client for
// strangers' URLs is in the way.
func TestFetchAsksTheMirrorsOfTheMachine(t *testing.T) {
	bad, asked := serve(t, http.NotFound)
	good, got := serve(t, honest)
	r := newFetchRoom(t, "debian:pool/main/x/x_1.orig.tar.gz")
	_, err := r.fetch(knows(bad+"/debian", good+"/debian/"), func(o *pipeline.FetchOptions) { o.Client = pipeline.Reach{}.Client() })
	if err != nil {
		t.Fatal(err)
	}
	r.present()
	want := []string{"/debian/pool/main/x/x_1.orig.tar.gz"}
	if !slices.Equal(asked(), want) || !slices.Equal(got(), want) {
		t.Errorf("asked %v and %v", asked(), got())
	}
}

// Without a mirror the error says why, and the URLs behind are still tried.
func TestFetchWithoutAMirror(t *testing.T) {
	good, _ := serve(t, honest)
	r := newFetchRoom(t, "goproxy:example.org/m/@v/v1.0.0.zip", good)
	if _, err := r.fetch(knows()); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*pipeline.FetchOptions)
		want   string
	}{
		"none known":      {func(*pipeline.FetchOptions) {}, "debian:pool/x: no mirror of debian is known here"},
		"none configured": {knows(), "debian:pool/x: no mirror of debian is configured here"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newFetchRoom(t, "debian:pool/x")
			_, err := r.fetch(c.change)
			if fault.CodeOf(err) != fault.IndexFetch || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v", err)
			}
			r.absent()
		})
	}
}

// A place is asked before all else, for a file named by the digest or as in a
// URL. What it has is worth what its bytes are.
func TestFetchFromAPlace(t *testing.T) {
	server, requests := serve(t, honest)
	for name, c := range map[string]struct {
		file    string
		content []byte
		asked   int
	}{
		"by digest":   {store.DigestOf(body).Hex(), body, 0},
		"by name":     {"x.tar.gz", body, 0},
		"wrong bytes": {"x.tar.gz", slices.Concat([]byte("X"), body[1:]), 1},
		"another":     {"y.tar.gz", body, 1},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(requests())
			place := t.TempDir()
			if err := os.WriteFile(filepath.Join(place, c.file), c.content, 0o644); err != nil {
				t.Fatal(err)
			}
			r := newFetchRoom(t, server+"/pub/x.tar.gz?mirror=1", server+"/pub/x.tar.gz")
			if _, err := r.fetch(func(o *pipeline.FetchOptions) { o.Mirrors.Places = []string{place} }); err != nil {
				t.Fatal(err)
			}
			r.present()
			if got := len(requests()) - before; got != c.asked {
				t.Errorf("%d requests, want %d", got, c.asked)
			}
		})
	}
	r := newFetchRoom(t)
	if _, err := r.fetch(func(o *pipeline.FetchOptions) { o.Mirrors.Places = []string{server + "/all/"} }); err != nil {
		t.Fatal(err)
	}
	if all := requests(); all[len(all)-1] != "/all/"+store.DigestOf(body).Hex() {
		t.Errorf("asked %v", all)
	}
}
