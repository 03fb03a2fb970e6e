package store_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"rebuild/internal/fault"
	"rebuild/store"
)

const emptyConfig = "{}"

// referrer makes a manifest that refers to subject, with its blobs stored.
func referrer(t *testing.T, s *store.Store, subject store.Digest, said string) []byte {
	t.Helper()
	for _, b := range []string{emptyConfig, said} {
		if _, err := s.Put([]byte(b)); err != nil {
			t.Fatal(err)
		}
	}
	describe := func(mediaType, content string) string {
		return fmt.Sprintf(`{"digest":%q,"mediaType":%q,"size":%d}`, store.DigestOf([]byte(content)), mediaType, len(content))
	}
	raw, err := s.Read(subject, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Appendf(nil, `{"annotations":{"said":%q},"artifactType":"text/plain","config":%s,"layers":[%s],"mediaType":%q,"schemaVersion":2,"subject":%s}`,
		said, describe("application/vnd.oci.empty.v1+json", emptyConfig), describe("text/plain", said), store.MediaTypeManifest,
		describe(store.MediaTypeManifest, string(raw)))
}

func referred(t *testing.T) (*store.Store, store.Digest) {
	t.Helper()
	s, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	layer, err := s.PutFiles([]store.File{{Path: "a", Mode: 0o644, Data: []byte("a")}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	image, err := s.PutImage(layer, "linux/amd64", store.ImageConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Tag("image", image); err != nil {
		t.Fatal(err)
	}
	return s, image
}

// A referrer is found by its subject alone, is kept by GC, sound for Fsck, no
// tag, and putting it twice changes not a byte.
func TestReferrers(t *testing.T) {
	s, image := referred(t)
	var want []store.Digest
	for _, said := range []string{"one", "two"} {
		d, err := s.PutManifest(referrer(t, s, image, said))
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, d)
	}
	index := filepath.Join(s.Dir(), "index.json")
	before, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.PutManifest(referrer(t, s, image, "one")); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(index)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("index.json was\n%s\nis\n%s\n%v", before, after, err)
	}
	if _, err := s.GC(context.Background(), store.GCOptions{Now: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	got, err := s.Referrers(image)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("referrers %v, want %v (%v)", got, want, err)
	}
	if got, err := s.Referrers(want[0]); err != nil || len(got) != 0 {
		t.Errorf("%v refer to a referrer (%v)", got, err)
	}
	if report, err := s.Fsck(context.Background()); err != nil || report.Err() != nil {
		t.Errorf("fsck: %v, %v", err, report.Err())
	}
	if tags, err := s.Tags(); err != nil || len(tags) != 1 {
		t.Errorf("tags %v, want the image's alone (%v)", tags, err)
	}
}

func TestBadManifests(t *testing.T) {
	s, image := referred(t)
	good := referrer(t, s, image, "one")
	plain, err := s.Read(image, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		manifest []byte
		code     fault.Code
	}{
		"another type":   {bytes.Replace(plain, []byte("manifest.v1"), []byte("index.v1"), 1), fault.Structure},
		"a blob missing": {bytes.Replace(good, []byte(store.DigestOf([]byte("one"))), []byte(store.DigestOf([]byte("three"))), 1), fault.FileMissing},
		"no JSON":        {[]byte("{"), fault.Parse},
	} {
		if _, err := s.PutManifest(c.manifest); fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	if got, err := s.Referrers(image); err != nil || len(got) != 0 {
		t.Errorf("%v are listed (%v)", got, err)
	}
	// What a manifest calls itself must not take the name of an image.
	if _, err := s.PutManifest(bytes.Replace(good, []byte(`"said":"one"`), []byte(`"org.opencontainers.image.ref.name":"image"`), 1)); err != nil {
		t.Fatal(err)
	}
	if tags, err := s.Tags(); err != nil || len(tags) != 1 || tags[0].Manifest != image {
		t.Errorf("tags %v, want the image's alone (%v)", tags, err)
	}
}

// What can not be read may be a dissent, so it must not be passed over.
func TestDamagedReferrer(t *testing.T) {
	s, image := referred(t)
	d, err := s.PutManifest(referrer(t, s, image, "one"))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(s.BlobPath(d))
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	if err := os.WriteFile(s.BlobPath(d), raw, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Referrers(image); fault.CodeOf(err) != fault.CksumMismatch {
		t.Errorf("got %v, want CKSUM_MISMATCH", err)
	}
}
