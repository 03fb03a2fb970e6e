package pull_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"rebuild/index"
	"rebuild/pull"
	"rebuild/store"
)

// many publishes a package "all" that pins count others, each with statements
// and an archive of its own.
func many(t testing.TB, s *shelf, count int) {
	t.Helper()
	var needs []string
	for i := range count {
		reference := fmt.Sprintf("p%03d@1.0.0", i)
		s.publish(reference)
		needs = append(needs, reference)
	}
	s.publish("all@1.0.0", needs...)
}

// BenchmarkPull pulls 501 small packages over HTTP, and for comparison gets
// their archives alone.
func BenchmarkPull(b *testing.B) {
	s := newShelf(b)
	many(b, s, 500)
	web := serve(b, s.dir)
	b.Run("pull", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			o := s.options(web)
			before := web.requests.Load()
			b.StartTimer()
			r, err := pull.Pull(b.Context(), o, "all", "")
			if err != nil || len(r.Files) != 501 {
				b.Fatal(err)
			}
			b.ReportMetric(float64(web.requests.Load()-before)/501, "requests/package")
		}
	})
	b.Run("pull through the real client", func(b *testing.B) {
		base, err := url.Parse(web.url + "/")
		must(b, err)
		for b.Loop() {
			b.StopTimer()
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true}}
			o := s.options(index.Remote(base, index.Remoting{Client: client, Now: time.Now, Cache: filepath.Join(b.TempDir(), "cache")}))
			b.StartTimer()
			if r, err := pull.Pull(b.Context(), o, "all", ""); err != nil || len(r.Files) != 501 {
				b.Fatal(err)
			}
			client.CloseIdleConnections()
		}
	})
	b.Run("archives alone", func(b *testing.B) {
		archives, err := filepath.Glob(filepath.Join(s.dir, "*/*/p*"))
		if err != nil || len(archives) != 500 {
			b.Fatal(len(archives), err)
		}
		r, err := index.NewReader(b.Context(), s.local(), index.Reading{})
		must(b, err)
		var paths []string
		for _, a := range archives {
			e, err := r.Lookup(b.Context(), filepath.Base(a), "1.0.0")
			must(b, err)
			paths = append(paths, index.ObjectPath(store.Digest("sha256:"+e.Cksum)))
		}
		for b.Loop() {
			began, dir := time.Now(), b.TempDir()
			var wait sync.WaitGroup
			slots := make(chan struct{}, 16)
			for i, path := range paths {
				wait.Add(1)
				slots <- struct{}{}
				go func() {
					defer func() { <-slots; wait.Done() }()
					// As a registry client: a manifest, a config and the layer.
					for range 3 {
						data, err := web.Get(b.Context(), path, 1<<26, false)
						if err == nil {
							err = os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), data, 0o644)
						}
						if err != nil {
							b.Error(err)
						}
					}
				}()
			}
			wait.Wait()
			b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms")
		}
	})
}
