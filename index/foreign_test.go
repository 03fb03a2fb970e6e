package index_test

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"rebuild/attest/attesttest"
	"rebuild/index"
	"rebuild/internal/fault"
)

// An index is a stranger's. A pipe under the name of one of its files would
// make whoever verifies wait for ever.
func TestForeignIndexIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	w := attesttest.New(t)
	for _, name := range []string{"config.json", "he/ll/hello", "statements", "objects"} {
		dir, x := newIndex(t)
		p := publication(t, w, []string{"r1"}, both)
		e, err := publish(x, w, p)
		must(t, err)
		path := filepath.Join(dir, name)
		switch name {
		case "statements":
			path = filepath.Join(path, e.Release.Hex()+".dsse.json")
		case "objects":
			path = filepath.Join(path, "sha256", e.Cksum)
		}
		must(t, os.Remove(path))
		must(t, syscall.Mkfifo(path, 0o644))
		done := make(chan error, 1)
		go func() {
			root, err := os.OpenRoot(dir)
			if err == nil {
				var r *index.Reader
				if r, err = index.NewReader(context.Background(), index.Folder(root, "there"), index.Reading{Policy: w.LoadPolicy(), Now: attesttest.Now}); err == nil {
					_, _, err = r.Verify(context.Background(), "hello", "0.1.0")
				}
			}
			done <- err
		}()
		select {
		case err := <-done:
			code(t, err, fault.IndexFetch)
		case <-time.After(time.Minute):
			t.Fatalf("%s is waited for", name)
		}
	}
}
