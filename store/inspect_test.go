package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rebuild/internal/durable"
	"rebuild/internal/fault"
)

// fullStore has a tagged image, an untagged one, a source and some other
// blob.
func fullStore(t testing.TB) (s *Store, tagged, untagged Digest, layers [2]Layer) {
	s = newStore(t)
	var m [2]Digest
	for i := range m {
		var err error
		layers[i], err = s.PutFiles([]File{{Path: fmt.Sprint("file", i), Mode: 0o644, Data: []byte(strings.Repeat("x", 1000*i))}}, 1)
		must(t, err)
		m[i], err = s.PutImage(layers[i], "linux/amd64", ImageConfig{User: fmt.Sprint(i)})
		must(t, err)
	}
	must(t, s.Tag("t", m[0]))
	mustPut(t, s, "source")
	return s, m[0], m[1], layers
}

func TestFsckSound(t *testing.T) {
	s, _, _, _ := fullStore(t)
	r, err := s.Fsck(t.Context())
	if err != nil || r.Err() != nil || r.Blobs != 9 || r.Bytes == 0 || len(r.Leftovers) != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Fsck(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Every seeded kind of damage is found and named.
func TestFsckNamesDamage(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(s *Store, m Digest, l Layer) string // returns the path to be named
		exit int
	}{
		"layer gone": {func(s *Store, m Digest, l Layer) string {
			os.Remove(s.BlobPath(l.Digest))
			return s.BlobPath(m)
		}, 13},
		"manifest gone": {func(s *Store, m Digest, l Layer) string {
			os.Remove(s.BlobPath(m))
			return s.path(indexFile)
		}, 13},
		"foreign file": {func(s *Store, m Digest, l Layer) string {
			p := filepath.Join(s.path(blobDir), "README")
			os.WriteFile(p, nil, 0o644)
			return p
		}, 13},
		"blob is a link": {func(s *Store, m Digest, l Layer) string {
			p := s.BlobPath(l.Tree)
			os.Rename(p, filepath.Join(s.Dir(), "aside"))
			os.Symlink(filepath.Join(s.Dir(), "aside"), p)
			return p
		}, 13},
		"index.json no JSON": {func(s *Store, m Digest, l Layer) string {
			os.WriteFile(s.path(indexFile), []byte("{"), 0o644)
			return s.path(indexFile)
		}, 31},
		"index.json gone": {func(s *Store, m Digest, l Layer) string {
			os.Remove(s.path(indexFile))
			return s.path(indexFile)
		}, 1},
		"size in index.json": {func(s *Store, m Digest, l Layer) string {
			b, _ := os.ReadFile(s.path(indexFile))
			os.WriteFile(s.path(indexFile), []byte(strings.Replace(string(b), `"size":`, `"size":1`, 1)), 0o644)
			return s.path(indexFile)
		}, 31},
		"digest in index.json": {func(s *Store, m Digest, l Layer) string {
			b, _ := os.ReadFile(s.path(indexFile))
			os.WriteFile(s.path(indexFile), []byte(strings.Replace(string(b), `sha256:`, `sha512:`, 1)), 0o644)
			return s.path(indexFile)
		}, 31},
	} {
		t.Run(name, func(t *testing.T) {
			s, m, _, l := fullStore(t)
			path := c.do(s, m, l[0])
			r, err := s.Fsck(t.Context())
			must(t, err)
			i := slices.IndexFunc(r.Problems, func(p Problem) bool { return p.Path == path })
			if i < 0 || fault.CodeOf(r.Problems[i].Err).Exit() != c.exit || r.Err() == nil {
				t.Errorf("problems are %v", r.Problems)
			}
		})
	}
}

// Every byte of a small store flipped, one at a time: all found.
func TestFsckFindsEveryFlip(t *testing.T) {
	s := newStore(t)
	l := exampleLayer(t, s)
	_, err := s.PutImage(l, "linux/amd64", ImageConfig{})
	must(t, err)
	list, _, err := s.blobs()
	must(t, err)
	step := 1
	if testing.Short() {
		step = 13
	}
	for _, d := range list {
		sound, err := os.ReadFile(s.BlobPath(d))
		must(t, err)
		for i := 0; i < len(sound); i += step {
			bad := slices.Clone(sound)
			bad[i] ^= 0x20
			must(t, os.WriteFile(s.BlobPath(d), bad, 0o644))
			if fault.CodeOf(s.Verify(d)).Exit() != 12 {
				t.Fatalf("byte %d of %s", i, d)
			}
		}
		if r, err := s.Fsck(t.Context()); err != nil || len(r.Problems) == 0 {
			t.Errorf("%s: %v, %v", d, r, err)
		}
		must(t, os.WriteFile(s.BlobPath(d), sound, 0o644))
	}
}

func leaveTemp(t *testing.T, s *Store) string {
	t.Helper()
	p := filepath.Join(s.path(tempDir), durable.TempPrefix+"killed")
	must(t, os.WriteFile(p, []byte("part"), 0o644))
	return p
}

func TestGC(t *testing.T) {
	s, tagged, untagged, l := fullStore(t)
	temp := leaveTemp(t, s)
	w, err := s.Create() // of a living writer
	must(t, err)
	defer w.Abort()
	future := time.Now().Add(48 * time.Hour)

	r, err := s.GC(t.Context(), GCOptions{Now: time.Now(), Grace: time.Hour})
	if err != nil || len(r.Removed) != 0 || len(r.Temp) != 0 || r.Kept != 9 {
		t.Errorf("young blobs: %+v, %v", r, err)
	}
	r, err = s.GC(t.Context(), GCOptions{Now: future, Grace: time.Hour, Roots: []Digest{untagged}, DryRun: true})
	if err != nil || len(r.Removed) != 1 || r.Bytes != 6 || len(r.Temp) != 1 || !s.Has(DigestOf([]byte("source"))) {
		t.Errorf("dry run: %+v, %v", r, err)
	}
	source := DigestOf([]byte("source"))
	gone := DigestOf([]byte("gone"))
	r, err = s.GC(t.Context(), GCOptions{Now: future, Grace: time.Hour, Roots: []Digest{source, gone}})
	if err != nil || len(r.Removed) != 4 || s.Has(untagged) || s.Has(l[1].Digest) || s.Has(l[1].Tree) || !slices.Equal(r.Missing, []Digest{gone}) {
		t.Errorf("%+v, %v", r, err)
	}
	if !s.Has(tagged) || !s.Has(l[0].Digest) || !s.Has(l[0].Tree) || !s.Has(source) {
		t.Error("GC removed what was to be kept")
	}
	if _, err := os.Lstat(temp); err == nil || !slices.Equal(r.Temp, []string{temp}) {
		t.Errorf("leftovers: %v", r.Temp)
	}
	if f, err := s.Fsck(t.Context()); err != nil || f.Err() != nil || len(f.Leftovers) != 0 {
		t.Errorf("after GC: %+v, %v", f, err)
	}
	if _, _, err := w.Commit(""); err != nil {
		t.Errorf("GC took a living writer's file: %v", err)
	}
}

// A blob that is put again counts as new, although it is old on disk.
func TestPutAgainProtectsFromGC(t *testing.T) {
	s := newStore(t)
	d := mustPut(t, s, "x")
	old := time.Now().Add(-48 * time.Hour)
	must(t, os.Chtimes(s.BlobPath(d), old, old))
	mustPut(t, s, "x")
	r, err := s.GC(t.Context(), GCOptions{Now: time.Now(), Grace: time.Hour})
	if err != nil || r.Kept != 1 {
		t.Errorf("%+v, %v", r, err)
	}
}

// An index keeps its manifests; a damaged root stops GC before it removes.
func TestGCRoots(t *testing.T) {
	s, a, _, l := fullStore(t)
	x, err := s.Index([]Digest{a})
	must(t, err)
	must(t, s.Untag("t"))
	future := time.Now().Add(48 * time.Hour)
	r, err := s.GC(t.Context(), GCOptions{Now: future, Roots: []Digest{x}})
	if err != nil || !s.Has(a) || !s.Has(l[0].Digest) || !s.Has(l[0].Tree) || r.Kept != 5 {
		t.Errorf("%+v, %v", r, err)
	}
	damage(t, s, a, func(b []byte) []byte { b[20] ^= 1; return b })
	_, err = s.GC(t.Context(), GCOptions{Now: future, Roots: []Digest{x}})
	wantCode(t, err, fault.CksumMismatch)
	if !s.Has(l[0].Digest) {
		t.Error("GC removed what a damaged manifest names")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.GC(ctx, GCOptions{Now: future, Roots: []Digest{x}}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestUsage(t *testing.T) {
	s, a, _, _ := fullStore(t)
	_, err := s.Index([]Digest{a})
	must(t, err)
	mustPut(t, s, strings.Repeat("y", maxManifest+1))
	list, err := s.Usage()
	must(t, err)
	got := map[Kind]int{}
	for _, u := range list {
		got[u.Kind] = u.Blobs
		if u.Bytes == 0 {
			t.Errorf("%s takes nothing", u.Kind)
		}
	}
	want := map[Kind]int{KindConfig: 2, KindIndex: 1, KindLayer: 2, KindManifest: 2, KindOther: 2, KindTree: 2}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("usage is %v, want %v", got, want)
	}
}

func TestDiff(t *testing.T) {
	base := []Entry{
		{Type: Regular, Path: "content", Mode: 0o644, Size: 1, Content: DigestOf([]byte("1"))},
		{Type: Char, Path: "device", Mode: 0o644, Major: 1, Minor: 3},
		{Type: Dir, Path: "dir", Mode: 0o755},
		{Type: Regular, Path: "mode", Mode: 0o644, Content: DigestOf(nil)},
		{Type: Dir, Path: "owner", Mode: 0o755},
		{Type: Symlink, Path: "target", Mode: 0o777, Target: "a"},
		{Type: Regular, Path: "type", Mode: 0o644, Content: DigestOf(nil)},
		{Type: Regular, Path: "xattr", Mode: 0o644, Content: DigestOf(nil), Xattrs: []Xattr{{"user.a", "1"}, {"user.b", "1"}}},
	}
	other := slices.Clone(base)
	other[0].Size, other[0].Content = 2, DigestOf([]byte("22"))
	other[1].Minor = 5
	other[2].Path = "added"
	other[3].Mode = 0o755
	other[4].UID, other[4].GID = 1, 2
	other[5].Target = "b"
	other[6] = Entry{Type: Symlink, Path: "type", Mode: 0o777, Target: "x"}
	other[7].Xattrs = []Xattr{{"user.a", "1"}, {"user.b", "2"}, {"user.c", ""}}
	slices.SortFunc(other, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	a, b := newTree(base), newTree(other)
	if d := Diff(a, a); len(d) != 0 {
		t.Errorf("a tree differs from itself: %v", d)
	}
	var got []string
	for _, d := range Diff(a, b) {
		got = append(got, fmt.Sprintf("%s %s [%s] [%s]", d.Path, d.What, d.A, d.B))
	}
	want := []string{
		"added added [] [d 0755 0 0 - -]",
		"content content [1 bytes, " + string(DigestOf([]byte("1"))) + "] [2 bytes, " + string(DigestOf([]byte("22"))) + "]",
		"device content [1,3] [1,5]",
		"dir removed [d 0755 0 0 - -] []",
		"mode mode [0644] [0755]",
		"owner owner [0:0] [1:2]",
		"target target [a] [b]",
		"type type [f] [l]",
		"xattr xattr [] [user.c=]",
		"xattr xattr [user.b=1] [user.b=2]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("differences\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A layout whose folders were taken away gives errors from every method, and
// no panic; opening it again makes the folders.
func TestBrokenLayout(t *testing.T) {
	s, m, _, l := fullStore(t)
	for _, name := range []string{tempDir, indexFile, "blobs", lockFile} {
		must(t, os.RemoveAll(s.path(name)))
	}
	must(t, os.Mkdir(s.path(lockFile), 0o755)) // a folder can not be locked for writing
	_, fsckErr := s.Fsck(t.Context())
	_, gcErr := s.GC(t.Context(), GCOptions{})
	_, usageErr := s.Usage()
	_, putErr := s.Put([]byte("x"))
	_, createErr := s.Create()
	_, filesErr := s.PutFiles(nil, 1)
	_, tarErr := s.PutTar(strings.NewReader(""), 1)
	_, imageErr := s.PutImage(l[0], "linux/amd64", ImageConfig{})
	_, tagsErr := s.Tags()
	_, treeErr := s.Tree(l[0].Tree)
	for i, err := range []error{
		fsckErr, gcErr, usageErr, putErr, createErr, filesErr, tarErr, imageErr, tagsErr, treeErr,
		s.Tag("x", m), s.Untag("x"), s.Verify(m),
	} {
		if err == nil {
			t.Errorf("method %d found nothing wrong", i)
		}
	}
	again, err := Open(s.Dir())
	must(t, err)
	w, err := again.Create()
	must(t, err)
	w.Abort()
}

// A blob too large to be a manifest is read to its end as well.
func TestFsckLargeBlob(t *testing.T) {
	s := newStore(t)
	d := mustPut(t, s, strings.Repeat("{", maxManifest+1))
	r, err := s.Fsck(t.Context())
	if err != nil || r.Err() != nil || r.Bytes != maxManifest+1 {
		t.Errorf("%+v, %v", r, err)
	}
	damage(t, s, d, func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
	damage(t, s, mustPut(t, s, "other"), func(b []byte) []byte { return nil })
	r, err = s.Fsck(t.Context())
	if err != nil || len(r.Problems) != 2 || !strings.Contains(r.Err().Error(), "and 1 other") || fault.CodeOf(r.Err()) != fault.CksumMismatch {
		t.Errorf("%+v, %v", r, err)
	}
}
