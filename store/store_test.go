package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rebuild/internal/fault"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newStore(t testing.TB) *Store {
	t.Helper()
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustPut(t testing.TB, s *Store, b string) Digest {
	t.Helper()
	d, err := s.Put([]byte(b))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func wantCode(t testing.TB, err error, code fault.Code) {
	t.Helper()
	if fault.CodeOf(err) != code {
		t.Errorf("code %q, want %q: %v", fault.CodeOf(err), code, err)
	}
}

func TestParseDigest(t *testing.T) {
	good := "sha256:" + strings.Repeat("0f", 32)
	if d, err := ParseDigest(good); err != nil || string(d) != good || len(d.Hex()) != 64 {
		t.Errorf("%s: %v", d, err)
	}
	for _, s := range []string{
		"", good[7:], good + "0", good[:70], strings.ToUpper(good), "sha512:" + good[7:],
		"sha256:" + strings.Repeat("0F", 32), " " + good, "sha256:../" + good[10:],
	} {
		_, err := ParseDigest(s)
		wantCode(t, err, fault.Structure)
	}
}

func TestOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "store")
	for range 2 { // the second one finds it
		s, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		if s.Dir() != dir {
			t.Errorf("Dir is %s", s.Dir())
		}
	}
	for name, want := range map[string]string{
		"oci-layout": `{"imageLayoutVersion":"1.0.0"}`,
		"index.json": `{"manifests":[],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}`,
	} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	foreign := t.TempDir()
	os.WriteFile(filepath.Join(foreign, "thesis.tex"), nil, 0o644)
	_, err := Open(foreign)
	wantCode(t, err, fault.Usage)

	later := t.TempDir()
	os.WriteFile(filepath.Join(later, "oci-layout"), []byte(`{"imageLayoutVersion":"2.0.0"}`), 0o644)
	_, err = Open(later)
	wantCode(t, err, fault.SchemaUnsupported)

	broken := t.TempDir()
	os.WriteFile(filepath.Join(broken, "oci-layout"), []byte(`{"imageLayoutVersion":`), 0o644)
	_, err = Open(broken)
	wantCode(t, err, fault.Parse)

	file := filepath.Join(t.TempDir(), "file")
	os.WriteFile(file, nil, 0o644)
	if _, err = Open(file); err == nil {
		t.Error("a file was opened as a store")
	}
}

func TestPutRead(t *testing.T) {
	s := newStore(t)
	for _, content := range []string{"", "x", strings.Repeat("0123456789", 1e5)} {
		d := mustPut(t, s, content)
		if d2 := mustPut(t, s, content); d2 != d || d != DigestOf([]byte(content)) || !s.Has(d) {
			t.Errorf("digests %s, %s", d, d2)
		}
		got, err := s.Read(d, int64(len(content)))
		if err != nil || string(got) != content {
			t.Errorf("read %d bytes, %v", len(got), err)
		}
		if err := s.Verify(d); err != nil {
			t.Error(err)
		}
		if content != "" {
			_, err = s.Read(d, int64(len(content))-1)
			wantCode(t, err, fault.Structure)
		}
	}
	_, err := s.Open(DigestOf([]byte("absent")))
	wantCode(t, err, fault.FileMissing)
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v is not fs.ErrNotExist", err)
	}
	_, err = s.Open("sha256:../../index.json")
	wantCode(t, err, fault.Structure)
}

func TestBlobWriter(t *testing.T) {
	s := newStore(t)
	w, err := s.Create()
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(w, "hello ")
	io.WriteString(w, "world")
	d, n, err := w.Commit(DigestOf([]byte("hello world")))
	if err != nil || n != 11 || !s.Has(d) {
		t.Errorf("%s %d %v", d, n, err)
	}
	w.Abort()

	w, _ = s.Create()
	io.WriteString(w, "other")
	_, _, err = w.Commit(d)
	wantCode(t, err, fault.CksumMismatch)
	for _, want := range []Digest{d, DigestOf([]byte("other"))} {
		if !strings.Contains(err.Error(), string(want)) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	w, _ = s.Create()
	io.WriteString(w, "dropped")
	w.Abort()
	if names, _ := os.ReadDir(filepath.Join(s.Dir(), "tmp")); len(names) != 0 || s.Has(DigestOf([]byte("other"))) {
		t.Errorf("left: %v", names)
	}
}

func damage(t testing.TB, s *Store, d Digest, change func([]byte) []byte) {
	t.Helper()
	path := s.BlobPath(d)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(bytes.Clone(b)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// G52: whatever reads a tampered blob must fail with exit 12, name the file
// and both digests; never a short read that looks whole.
func TestTamperedBlobIsFoundByEveryReader(t *testing.T) {
	changes := map[string]func([]byte) []byte{
		"flip":     func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"truncate": func(b []byte) []byte { return b[:len(b)-1] },
		"extend":   func(b []byte) []byte { return append(b, 0) },
		"empty":    func(b []byte) []byte { return nil },
	}
	for name, change := range changes {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			l, err := s.PutFiles([]File{{Path: "f", Mode: 0o644, Data: []byte("content")}}, 1)
			if err != nil {
				t.Fatal(err)
			}
			m, err := s.PutImage(l, "linux/amd64", ImageConfig{})
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range []Digest{l.Tree, l.Digest, m} {
				damage(t, s, d, change)
			}
			_, readErr := s.Read(l.Tree, 1<<20)
			_, treeErr := s.Tree(l.Tree)
			_, layerErr := s.ReadLayer(l.Digest)
			_, imageErr := s.Image(m)
			_, indexErr := s.Index([]Digest{m})
			_, sourceErr := s.PutSource(l.Digest, UnpackTar, "x", nil, 1)
			_, plainErr := s.PutSource(l.Digest, UnpackNone, "x", nil, 1)
			for i, err := range []error{
				readErr, treeErr, layerErr, imageErr, indexErr, sourceErr, plainErr, s.Verify(m),
				s.Tag("x", m), s.Extract(l.Digest, filepath.Join(t.TempDir(), "x"), ExtractOptions{}),
			} {
				if fault.CodeOf(err).Exit() != 12 {
					t.Errorf("reader %d: %v", i, err)
				}
			}
			for _, part := range []string{s.BlobPath(l.Tree), string(l.Tree), "its content is sha256:"} {
				if !strings.Contains(readErr.Error(), part) {
					t.Errorf("%v does not say %q", readErr, part)
				}
			}
			r, err := s.Fsck(t.Context())
			if err != nil || len(r.Problems) < 3 {
				t.Errorf("fsck: %v, %v", r, err)
			}
		})
	}
}

// A damaged blob must not outlive the next Put of the same content.
func TestPutHealsDamage(t *testing.T) {
	s := newStore(t)
	d := mustPut(t, s, "content")
	damage(t, s, d, func(b []byte) []byte { b[0] ^= 1; return b })
	mustPut(t, s, "content")
	if err := s.Verify(d); err != nil {
		t.Error(err)
	}
}

// Writers of the same and of other content at once, each with a Store of its
// own as in another process (flock goes by open file, not by process), while
// GC runs: nobody loses anything.
func TestConcurrentWriters(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			s, err := Open(dir)
			if err != nil {
				t.Error(err)
				return
			}
			for i := range 10 {
				l, err := s.PutFiles([]File{{Path: "f", Mode: 0o644, Data: fmt.Append(nil, i)}}, 1)
				if err != nil {
					t.Error(err)
					return
				}
				m, err := s.PutImage(l, "linux/amd64", ImageConfig{})
				if err == nil {
					err = s.Tag(fmt.Sprintf("w%d-%d", w, i), m)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			s, err := Open(dir)
			if err == nil {
				_, err = s.GC(t.Context(), GCOptions{Now: time.Now(), Grace: time.Hour})
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	tags, err := s.Tags()
	if err != nil || len(tags) != 80 {
		t.Errorf("%d tags, %v", len(tags), err)
	}
	if r, err := s.Fsck(t.Context()); err != nil || r.Err() != nil || r.Blobs != 40 {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestBatchAbort(t *testing.T) {
	s := newStore(t)
	b := s.Batch()
	l, err := b.PutFiles([]File{{Path: "f", Mode: 0o644}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if s.Has(l.Digest) {
		t.Error("visible before the commit")
	}
	b.Abort()
	if r, err := s.Fsck(t.Context()); err != nil || r.Blobs != 0 || len(r.Leftovers) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// Put of a blob that is there and old, against a GC that is about to remove
// it: when Put returns the blob stays, whoever came first.
func TestPutAgainstGC(t *testing.T) {
	s := newStore(t)
	for i := range 200 {
		content := fmt.Sprint("content ", i%3)
		d := mustPut(t, s, content)
		old := time.Now().Add(-time.Hour)
		must(t, os.Chtimes(s.BlobPath(d), old, old))
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := s.GC(t.Context(), GCOptions{Now: time.Now(), Grace: time.Minute}); err != nil {
				t.Error(err)
			}
		})
		if _, err := s.Put([]byte(content)); err != nil {
			t.Error(err)
		}
		wg.Wait()
		if err := s.Verify(d); err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
	}
}
