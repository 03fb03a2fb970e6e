package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"rebuild/internal/durable"
	"rebuild/internal/durable/durabletest"
	"rebuild/internal/fault"
)

var errFault = durabletest.ErrGone

// stumbling is a disk whose n-th call that changes anything fails, and only that.
func stumbling(n int) *durabletest.Disk {
	return &durabletest.Disk{Left: n, Once: true, Step: func(string) bool { return true }}
}

// TestFaults stops at every call of opening a store and putting an image into
// it. What is left must pass Fsck, and a retry must end in the same digests.
func TestFaults(t *testing.T) {
	put := func(dir string, fsys durable.FS) (Digest, error) {
		s, err := open(dir, fsys)
		if err != nil {
			return "", err
		}
		b := s.Batch()
		defer b.Abort()
		l, err := b.PutFiles([]File{{Path: "a/b", Mode: 0o644, Data: []byte("x")}}, 1)
		if err != nil {
			return "", err
		}
		m, err := b.PutImage(l, "linux/amd64", ImageConfig{})
		if err != nil {
			return "", err
		}
		if err := b.Commit(); err != nil {
			return "", err
		}
		return m, s.Tag("t", m)
	}
	want, err := put(t.TempDir(), durable.OS{})
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; ; n++ {
		dir := filepath.Join(t.TempDir(), "s")
		_, err := put(dir, stumbling(n))
		if err == nil {
			if n < 15 {
				t.Errorf("only %d calls were tried", n-1)
			}
			return
		}
		if !errors.Is(err, errFault) {
			t.Fatalf("call %d: %v", n, err)
		}
		s, err := Open(dir)
		if err != nil {
			t.Fatalf("call %d, opening again: %v", n, err)
		}
		if r, err := s.Fsck(t.Context()); err != nil || r.Err() != nil {
			t.Fatalf("call %d: %v, %v", n, err, r.Problems)
		}
		if got, err := put(dir, durable.OS{}); err != nil || got != want {
			t.Fatalf("call %d, again: %v, %v", n, got, err)
		}
	}
}

// writers is everything that writes into a store, for a store that holds a
// source archive and the image made of the same files.
func writers(t *testing.T) (string, map[string]func(s *Store, source, image Digest) error) {
	t.Helper()
	files := []File{{Path: "a/b", Mode: 0o644, Data: []byte("x")}}
	var archive bytes.Buffer
	if _, err := WriteArchive(&archive, files, 1); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "file"), []byte("content"), 0o644))
	ignore := func(_ any, err error) error { return err }
	return archive.String(), map[string]func(s *Store, source, image Digest) error{
		"Put":     func(s *Store, _, _ Digest) error { return ignore(s.Put([]byte("new"))) },
		"PutDir":  func(s *Store, _, _ Digest) error { return ignore(s.PutDir(dir, 1)) },
		"PutTar":  func(s *Store, _, _ Digest) error { return ignore(s.PutTar(bytes.NewReader(archive.Bytes()), 1)) },
		"PutTree": func(s *Store, _, _ Digest) error { return ignore(s.PutFiles(files, 2)) },
		"PutSource": func(s *Store, source, _ Digest) error {
			return ignore(s.PutSource(source, UnpackTar, "", nil, 3))
		},
		"Create": func(s *Store, _, _ Digest) error {
			w, err := s.Create()
			if err != nil {
				return err
			}
			defer w.Abort()
			if _, err := w.Write([]byte("streamed")); err != nil {
				return err
			}
			_, _, err = w.Commit("")
			return err
		},
		"Tag":   func(s *Store, _, image Digest) error { return s.Tag("again", image) },
		"Untag": func(s *Store, _, _ Digest) error { return s.Untag("t") },
		"Index": func(s *Store, _, image Digest) error { return ignore(s.Index([]Digest{image})) },
		"PutManifest": func(s *Store, _, image Digest) error {
			raw, err := s.Read(image, maxManifest)
			if err != nil {
				return err
			}
			return ignore(s.PutManifest(raw))
		},
		"GC": func(s *Store, _, _ Digest) error {
			return ignore(s.GC(t.Context(), GCOptions{Now: time.Now().Add(time.Hour)}))
		},
	}
}

// storeForWriters is a store that has something for each of them to do.
func storeForWriters(t *testing.T, archive string) (s *Store, source, image Digest) {
	t.Helper()
	s = newStore(t)
	mustPut(t, s, "what GC finds")
	source = mustPut(t, s, archive)
	l, err := s.PutFiles([]File{{Path: "a/b", Mode: 0o644, Data: []byte("x")}}, 1)
	must(t, err)
	image, err = s.PutImage(l, "linux/amd64", ImageConfig{})
	must(t, err)
	must(t, s.Tag("t", image))
	return s, source, image
}

// TestFaultsOfEveryWriter stops at every call of everything that writes. The
// caller is told, Fsck finds no damage, and the same again succeeds.
func TestFaultsOfEveryWriter(t *testing.T) {
	archive, all := writers(t)
	for name, write := range all {
		for n := 1; ; n++ {
			s, source, image := storeForWriters(t, archive)
			disk := stumbling(n)
			s.fsys = disk
			err := write(s, source, image)
			s.fsys = durable.OS{}
			if disk.Left > 0 {
				if err != nil || n == 1 {
					t.Errorf("%s: %d calls, and %v", name, n-1, err)
				}
				break
			}
			if err != nil && !errors.Is(err, errFault) {
				t.Errorf("%s, call %d: %v", name, n, err)
			}
			if r, err := s.Fsck(t.Context()); err != nil || r.Err() != nil {
				t.Errorf("%s, call %d: %v, %v", name, n, err, r.Problems)
			}
			if err := write(s, source, image); err != nil {
				t.Errorf("%s, call %d, again: %v", name, n, err)
			}
		}
	}
}

// TestFewDescriptors runs everything with so few files open at once that some
// call fails. It must say so: what can not be opened is not missing, not empty
// and not damaged.
func TestFewDescriptors(t *testing.T) {
	archive, all := writers(t)
	ignore := func(_ any, err error) error { return err }
	all["Open"] = func(s *Store, _, _ Digest) error { return ignore(Open(s.Dir())) }
	all["Read"] = func(s *Store, source, _ Digest) error { return ignore(s.Read(source, 1<<20)) }
	all["ReadDir"] = func(s *Store, _, _ Digest) error { return ignore(ReadDir(s.Dir())) }
	all["Image"] = func(s *Store, _, image Digest) error { return ignore(s.Image(image)) }
	all["Tags"] = func(s *Store, _, _ Digest) error { return ignore(s.Tags()) }
	all["Usage"] = func(s *Store, _, _ Digest) error { return ignore(s.Usage()) }
	all["Referrers"] = func(s *Store, _, image Digest) error { return ignore(s.Referrers(image)) }
	all["Extract"] = func(s *Store, _, image Digest) error {
		i, err := s.Image(image)
		if err != nil {
			return err
		}
		return s.Extract(i.Layer.Digest, filepath.Join(s.Dir(), "out"), ExtractOptions{})
	}
	var was syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &was))
	limit := func(n uint64) {
		must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: was.Max}))
	}
	defer limit(was.Cur)
	for name, use := range all {
		failed := false
		for n := uint64(4); ; n++ {
			s, source, image := storeForWriters(t, archive)
			limit(n)
			err := use(s, source, image)
			limit(was.Cur)
			if err == nil {
				break
			}
			failed = true
			if !errors.Is(err, syscall.EMFILE) {
				t.Errorf("%s, %d descriptors: %v", name, n, err)
			}
			if r, err := s.Fsck(t.Context()); err != nil || r.Err() != nil {
				t.Errorf("%s, %d descriptors: %v, %v", name, n, err, r.Problems)
			}
			if n > 64 {
				t.Fatalf("%s needs more than %d descriptors: %v", name, n, err)
			}
		}
		if !failed {
			t.Errorf("%s never ran out", name)
		}
	}
}

// expiring is a context that ends when it is asked for the n-th time.
type expiring struct {
	context.Context
	left int
}

func (c *expiring) Err() error {
	if c.left--; c.left <= 0 {
		return context.Canceled
	}
	return nil
}

// Who gives up gets an error and not a part of the answer.
func TestInterrupted(t *testing.T) {
	archive, _ := writers(t)
	for n := 1; ; n++ {
		s, _, _ := storeForWriters(t, archive)
		ctx := &expiring{context.Background(), n}
		_, err := s.GC(ctx, GCOptions{Now: time.Now().Add(time.Hour)})
		if ctx.left > 0 {
			if err != nil || n < 3 {
				t.Errorf("asked %d times, and %v", n-1, err)
			}
			return
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("interrupted at %d: %v", n, err)
		}
		if r, err := s.Fsck(t.Context()); err != nil || r.Err() != nil {
			t.Errorf("interrupted at %d: %v, %v", n, err, r.Problems)
		}
	}
}

// What refers to an image is a manifest: an index that names it does not.
func TestIndexIsNoReferrer(t *testing.T) {
	archive, _ := writers(t)
	s, _, image := storeForWriters(t, archive)
	x, err := s.Index([]Digest{image})
	must(t, err)
	must(t, s.Tag("all", x))
	if list, err := s.Referrers(image); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}

// fullDisk takes nothing.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errFault }

func TestTreeTextIsNotCutShort(t *testing.T) {
	for _, n := range []int{0, 1000} {
		var files []File
		for i := range n {
			files = append(files, File{Path: fmt.Sprint("file-", i), Mode: 0o644})
		}
		tree, err := TreeOf(files)
		must(t, err)
		if _, err := tree.WriteTo(fullDisk{}); !errors.Is(err, errFault) {
			t.Errorf("%d files: %v", n, err)
		}
	}
}

// What lies under a digest need not be what it was taken for.
func TestBlobsOfAnotherKind(t *testing.T) {
	s := newStore(t)
	l, err := s.PutFiles([]File{{Path: "a", Mode: 0o644, Data: []byte("x")}}, 1)
	must(t, err)
	image, err := s.PutImage(l, "linux/amd64", ImageConfig{})
	must(t, err)
	raw, m, err := s.manifest(image)
	must(t, err)
	text := mustPut(t, s, "text")
	wantCode(t, s.Tag("x", text), fault.Parse)
	pointed, err := s.Put(bytes.ReplaceAll(raw, []byte(m.Config.Digest), []byte(text)))
	must(t, err)
	_, err = s.Image(pointed)
	wantCode(t, err, fault.Parse)
	must(t, os.Remove(s.BlobPath(m.Config.Digest)))
	if _, err := s.Image(image); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an image without its config: %v", err)
	}
	if _, err := s.Index([]Digest{image}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an index of an image without its config: %v", err)
	}
}

// One batch may be given the same thing twice, and a file that can not be read
// ends it.
func TestBatchOfTheSame(t *testing.T) {
	s := newStore(t)
	files := []File{{Path: "a", Mode: 0o644, Data: []byte("x")}}
	b := s.Batch()
	defer b.Abort()
	for range 2 {
		_, err := b.Put([]byte("x"))
		must(t, err)
		_, err = b.PutFiles(files, 1)
		must(t, err)
	}
	must(t, b.Commit())
	if r, err := s.Fsck(t.Context()); err != nil || r.Err() != nil {
		t.Errorf("%v %v", err, r.Problems)
	}
	gone := []File{{Path: "a", Mode: 0o644, Size: 1, Open: func() (io.ReadCloser, error) { return nil, errFault }}}
	if _, err := s.PutFiles(gone, 1); !errors.Is(err, errFault) {
		t.Errorf("a layer of a file that can not be read: %v", err)
	}
	if _, err := TreeOf(gone); !errors.Is(err, errFault) {
		t.Errorf("a tree of a file that can not be read: %v", err)
	}
}
