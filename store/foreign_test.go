package store_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rebuild/internal/fault"
	"rebuild/store"
)

// A layout may be a stranger's. Opening one must not wait for the other end of
// a pipe, nor read a device that never ends.
func TestForeignLayoutIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"oci-layout", "index.json"} {
		for kind, put := range map[string]func(path string) error{
			"pipe":   func(path string) error { return unix.Mkfifo(path, 0o644) },
			"device": func(path string) error { return os.Symlink("/dev/zero", path) },
			"folder": func(path string) error { return os.Mkdir(path, 0o755) },
		} {
			dir := t.TempDir()
			if _, err := store.Open(dir); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, name)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := put(path); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() {
				s, err := store.Open(dir)
				if err == nil {
					_, err = s.Referrers(store.DigestOf(nil))
				}
				done <- err
			}()
			select {
			case err := <-done:
				if fault.CodeOf(err) != fault.Structure {
					t.Errorf("%s as a %s: %v", name, kind, err)
				}
			case <-time.After(time.Minute):
				t.Fatalf("%s as a %s is waited for", name, kind)
			}
		}
	}
}
