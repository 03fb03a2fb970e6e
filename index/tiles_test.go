package index

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/index/translog"
	"rebuild/internal/fault"
)

// writtenLog is a log as the writer makes it, beside the same leaves in memory.
type writtenLog struct {
	t     testing.TB
	dir   string
	log   *translog.Log
	model *attesttest.Log
}

func newWrittenLog(t testing.TB) *writtenLog {
	t.Helper()
	dir := t.TempDir()
	l, err := translog.Create(t.Context(), dir, translog.Options{
		Origin: attesttest.Origin, Key: attesttest.Key("log"), Now: func() time.Time { return attesttest.Cosigned },
	})
	if err != nil {
		t.Fatal(err)
	}
	return &writtenLog{t, dir, l, attesttest.NewLog(t, attesttest.Origin)}
}

// grow appends leaves, which are short so that every byte can be flipped, and
// one of the largest size.
func (w *writtenLog) grow(k int) {
	w.t.Helper()
	var batch [][]byte
	for range k {
		n := len(w.model.Leaves)
		leaf := fmt.Appendf(nil, "leaf %d", n)
		if n == 255 {
			leaf = bytes.Repeat([]byte("x"), 8<<10)
		}
		batch = append(batch, leaf)
		w.model.AppendLeaf("x", leaf)
	}
	if err := w.log.Append(w.t.Context(), batch); err != nil {
		w.t.Fatal(err)
	}
}

func (w *writtenLog) source() Source { return Dir(os.DirFS(w.dir), "the index") }

// files returns the log's files in memory, to be damaged.
func (w *writtenLog) files() fstest.MapFS {
	w.t.Helper()
	out := fstest.MapFS{}
	err := fs.WalkDir(os.DirFS(w.dir), "tile", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(w.dir + "/" + path)
		out[path] = &fstest.MapFile{Data: data}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func (w *writtenLog) head() *attest.Checkpoint {
	w.t.Helper()
	signed, err := os.ReadFile(w.dir + "/" + checkpointFile)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.open(signed)
}

func (w *writtenLog) open(signed []byte) *attest.Checkpoint {
	w.t.Helper()
	trusted, err := attest.PinnedLog(attesttest.Origin, attesttest.VerifierKey(attesttest.Origin, "log", 1))
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := trusted.OpenCheckpoint(signed)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// proves wants the proof of a leaf that golang.org/x/mod makes and accepts.
func (w *writtenLog) proves(c *attest.Checkpoint, seq int64) {
	w.t.Helper()
	proof, err := proveLeaf(w.t.Context(), w.source(), c.Size, c.Root, seq)
	if err != nil {
		w.t.Fatalf("leaf %d of %d: %v", seq, c.Size, err)
	}
	if err := tlog.CheckRecord(proof, c.Size, c.Root, seq, tlog.RecordHash(w.model.Leaves[seq])); err != nil {
		w.t.Fatalf("leaf %d of %d: %v", seq, c.Size, err)
	}
	if c.Size == int64(len(w.model.Leaves)) {
		want := w.model.Proof(seq, c.Note)
		if got := attest.EncodeProof(seq, proof, c.Note); !bytes.Equal(got, want) {
			w.t.Fatalf("leaf %d of %d: the proof is\n%s\nwant\n%s", seq, c.Size, got, want)
		}
	}
}

// collect reads leaves until an error.
func collect(src Source, from int64, c *attest.Checkpoint) (out []logLeaf, err error) {
	for leaf, err := range readLeaves(context.Background(), src, from, c.Size, c.Root) {
		if err != nil {
			return out, err
		}
		out = append(out, leaf)
	}
	return out, nil
}

// Every size that a log went through can be proven, while it is the newest and
// after the partial tiles of its time are gone.
func TestProofsOfEverySize(t *testing.T) {
	w := newWrittenLog(t)
	random := rand.New(rand.NewPCG(3, 3))
	heads := []*attest.Checkpoint{w.head()}
	for size := int64(1); size <= 600; size++ {
		w.grow(1)
		c := w.head()
		heads = append(heads, c)
		w.proves(c, size-1)
		w.proves(c, random.Int64N(size))
		old := heads[random.IntN(len(heads))]
		if err := checkConsistency(t.Context(), w.source(), old, c); err != nil {
			t.Fatalf("from %d to %d: %v", old.Size, size, err)
		}
	}
	w.grow(70_000)
	last := w.head()
	w.proves(last, 70_599)
	for _, c := range heads {
		if err := checkConsistency(t.Context(), w.source(), c, last); err != nil {
			t.Fatalf("from %d to %d: %v", c.Size, last.Size, err)
		}
		if c.Size > 0 {
			w.proves(c, random.Int64N(c.Size))
		}
		if c.Size%50 != 0 && c.Size > 5 {
			continue
		}
		from := random.Int64N(c.Size + 1)
		leaves, err := collect(w.source(), from, c)
		if err != nil || int64(len(leaves)) != c.Size-from {
			t.Fatalf("from %d of %d: %d leaves, %v", from, c.Size, len(leaves), err)
		}
		for i, leaf := range leaves {
			if leaf.seq != from+int64(i) || !bytes.Equal(leaf.data, w.model.Leaves[leaf.seq]) {
				t.Fatalf("from %d of %d: leaf %d is %d, %.40q", from, c.Size, i, leaf.seq, leaf.data)
			}
		}
	}
}

// countingSource counts what is asked of a source, and how much at most.
type countingSource struct {
	Source
	gets  int
	limit int64
}

func (s *countingSource) Get(ctx context.Context, path string, limit int64, fresh bool) ([]byte, error) {
	s.gets++
	s.limit = max(s.limit, limit)
	return s.Source.Get(ctx, path, limit, fresh)
}

// All leaves of a log are read in the memory of some tiles, and no tile twice.
func TestReadingAllLeavesIsBounded(t *testing.T) {
	w := newWrittenLog(t)
	w.grow(70_000)
	c := w.head()
	src := &countingSource{Source: w.source()}
	r := newLogReader(t.Context(), src, c.Size, c.Root)
	for n := int64(0); n<<tileHeight < c.Size; n++ {
		if _, err := r.bundle(n); err != nil {
			t.Fatal(err)
		}
		if len(r.kept) > maxTiles {
			t.Fatalf("%d tiles are kept", len(r.kept))
		}
	}
	bundles := (70_000 + tileWidth - 1) / tileWidth
	if want := 2*bundles + 3; src.gets > want {
		t.Errorf("%d requests, %d bundles and their tiles need %d", src.gets, bundles, want)
	}
	if src.limit > 256*(2+8<<10) {
		t.Errorf("up to %d bytes are read at once", src.limit)
	}
	stopped := 0
	for range readLeaves(t.Context(), src, 0, c.Size, c.Root) {
		if stopped++; stopped == 3 {
			break
		}
	}
}

// Of what a log serves not a byte may be another, be missing or be too many.
func TestEveryByteOfATileCounts(t *testing.T) {
	w := newWrittenLog(t)
	w.grow(300)
	c := w.head()
	uses := map[string]func(Source) error{ // the files of a tree of 300 leaves
		"tile/0/000":            func(src Source) error { return leafError(src, c, 7) },
		"tile/0/001.p/44":       func(src Source) error { return leafError(src, c, 7) },
		"tile/1/000.p/1":        func(src Source) error { return leafError(src, c, 7) },
		"tile/entries/000":      func(src Source) error { _, err := collect(src, 0, c); return err },
		"tile/entries/001.p/44": func(src Source) error { _, err := collect(src, 256, c); return err },
	}
	for path, use := range uses {
		files := w.files()
		src := Dir(files, "the index")
		if err := use(src); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		whole := files[path].Data
		step := 1
		if path == "tile/entries/000" || testing.Short() {
			step = 7 // most of it is one large leaf
		}
		for i := 0; i < len(whole); i += step {
			damaged := slices.Clone(whole)
			damaged[i] ^= 1 << (i % 8)
			files[path] = &fstest.MapFile{Data: damaged}
			if code := fault.CodeOf(use(src)); code != fault.EvidenceMismatch && code != fault.Parse {
				t.Fatalf("%s with another byte %d: %q", path, i, code)
			}
		}
		for name, d := range map[string]struct {
			data []byte
			want []fault.Code
		}{
			"cut":       {whole[:len(whole)-1], []fault.Code{fault.EvidenceMismatch, fault.Parse}},
			"empty":     {nil, []fault.Code{fault.EvidenceMismatch, fault.Parse}},
			"longer":    {append(slices.Clone(whole), 0), []fault.Code{fault.EvidenceMismatch, fault.Parse}},
			"endless":   {make([]byte, 4<<20), []fault.Code{fault.Parse}},
			"a webpage": {[]byte("<!doctype html>"), []fault.Code{fault.EvidenceMismatch, fault.Parse}},
		} {
			files[path] = &fstest.MapFile{Data: d.data}
			if code := fault.CodeOf(use(src)); !slices.Contains(d.want, code) {
				t.Errorf("%s %s: %q", path, name, code)
			}
		}
		delete(files, path)
		if code := fault.CodeOf(use(src)); code != fault.IndexFetch {
			t.Errorf("%s missing: %q", path, code)
		}
	}
}

func leafError(src Source, c *attest.Checkpoint, seq int64) error {
	_, err := proveLeaf(context.Background(), src, c.Size, c.Root, seq)
	return err
}

// brokenSource fails as a network does.
type brokenSource struct {
	Source
	err error
}

func (s brokenSource) Get(context.Context, string, int64, bool) ([]byte, error) { return nil, s.err }

func TestErrorsOfASourceStayWhatTheyAre(t *testing.T) {
	w := newWrittenLog(t)
	w.grow(300)
	c := w.head()
	gone := fault.New(fault.OfflineIndex, "no network")
	if err := leafError(brokenSource{w.source(), gone}, c, 7); !errors.Is(err, gone) {
		t.Errorf("a proof: %v", err)
	}
	if _, err := collect(brokenSource{w.source(), gone}, 0, c); !errors.Is(err, gone) {
		t.Errorf("leaves: %v", err)
	}
	for _, seq := range []int64{-1, 300, 301} {
		if err := leafError(w.source(), c, seq); fault.CodeOf(err) != fault.Semantic {
			t.Errorf("leaf %d: %v", seq, err)
		}
	}
	if err := leafError(w.source(), &attest.Checkpoint{Root: emptyRoot}, 0); fault.CodeOf(err) != fault.Semantic {
		t.Errorf("a leaf of an empty log: %v", err)
	}
}

func TestConsistency(t *testing.T) {
	w, other := newWrittenLog(t), attesttest.NewLog(t, attesttest.Origin)
	empty := w.head()
	w.grow(100)
	old := w.head()
	w.grow(200)
	now := w.head()
	for n := range 300 {
		other.AppendLeaf("x", fmt.Appendf(nil, "another leaf %d", n))
	}
	forked := w.open(other.Checkpoint(attesttest.Cosigned))
	before := *forked
	before.Size, before.Note = 100, []byte("signed, of size 100")
	void := *empty
	void.Root = forked.Root
	foreign := *old
	foreign.Origin = "example.org/other"
	for name, c := range map[string]struct {
		old, new *attest.Checkpoint
		want     fault.Code
	}{
		"grown":                        {old, now, ""},
		"the same":                     {now, now, ""},
		"from nothing":                 {empty, now, ""},
		"smaller":                      {now, old, fault.Rollback},
		"two trees of one size":        {now, forked, fault.Fork},
		"another tree that was larger": {&before, now, fault.Fork},
		"an empty tree with a root":    {&void, now, fault.Fork},
		"tiles of another tree":        {old, forked, fault.EvidenceMismatch},
		"another log":                  {&foreign, now, fault.EvidenceMismatch},
	} {
		err := checkConsistency(t.Context(), w.source(), c.old, c.new)
		if fault.CodeOf(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
		if c.want != fault.Rollback && c.want != fault.Fork {
			continue
		}
		d := err.(*fault.Error).Details
		if d["seen"] != string(c.old.Note) || d["served"] != string(c.new.Note) {
			t.Errorf("%s: the evidence is %v", name, d)
		}
	}
	files := w.files()
	delete(files, "tile/1/000.p/1")
	if err := checkConsistency(t.Context(), Dir(files, "the index"), old, now); fault.CodeOf(err) != fault.IndexFetch {
		t.Errorf("a tile is missing: %v", err)
	}
}

// A partial tile of a tree that was never signed may lie about: it must not
// stand for one that was.
func TestAPartialTileOfAnotherTree(t *testing.T) {
	w := newWrittenLog(t)
	w.grow(100)
	old := w.head()
	w.grow(200)
	files := w.files()
	files["tile/0/000.p/100"] = &fstest.MapFile{Data: make([]byte, 100*tlog.HashSize)}
	if err := leafError(Dir(files, "the index"), old, 7); fault.CodeOf(err) != fault.EvidenceMismatch {
		t.Errorf("%v", err)
	}
}

// A bundle is bounded before anything is compared with it: a log that its own
// key signed may hold what no writer of ours would add.
func TestSplitBundle(t *testing.T) {
	bundle := func(n int, leaf []byte) (out []byte) {
		for range n {
			out = append(binary.BigEndian.AppendUint16(out, uint16(len(leaf))), leaf...)
		}
		return out
	}
	for name, c := range map[string]struct {
		data []byte
		want int
		ok   bool
	}{
		"one leaf":                  {bundle(1, []byte("a")), 1, true},
		"the beginning of all":      {bundle(256, []byte("a")), 3, true},
		"all":                       {bundle(256, []byte("a")), 256, true},
		"the largest leaf":          {bundle(1, make([]byte, 8<<10)), 1, true},
		"a larger leaf":             {bundle(1, make([]byte, 8<<10+1)), 1, false},
		"a leaf more":               {bundle(4, []byte("a")), 3, false},
		"a leaf less":               {bundle(2, []byte("a")), 3, false},
		"257 leaves":                {bundle(257, []byte("a")), 256, false},
		"257 leaves, 3 of them":     {bundle(257, []byte("a")), 3, false},
		"none":                      {nil, 1, false},
		"half a length":             {append(bundle(1, []byte("a")), 0), 1, false},
		"a length without its leaf": {append(bundle(1, []byte("a")), 0, 9), 1, false},
	} {
		leaves, err := splitBundle(c.data, c.want)
		if c.ok && (err != nil || len(leaves) != c.want) || !c.ok && fault.CodeOf(err) != fault.Parse {
			t.Errorf("%s: %d leaves, %v", name, len(leaves), err)
		}
	}
}

func FuzzEntryBundle(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte, want byte) {
		leaves, err := splitBundle(data, int(want)+1)
		if err != nil {
			if fault.CodeOf(err) != fault.Parse {
				t.Fatalf("%v", err)
			}
			return
		}
		if len(leaves) != int(want)+1 {
			t.Fatalf("%d leaves, asked for %d", len(leaves), int(want)+1)
		}
		var again []byte
		for _, leaf := range leaves {
			again = append(binary.BigEndian.AppendUint16(again, uint16(len(leaf))), leaf...)
		}
		rest, begins := bytes.CutPrefix(data, again)
		if more, err := splitBundle(rest, tileWidth-len(leaves)); !begins || len(rest) > 0 && (err != nil || len(more)+len(leaves) != tileWidth) {
			t.Fatalf("%q was read as %q", data, leaves)
		}
	})
}

// Every tile has one path, which a server hands out, and which package tlog
// reads as that tile.
func FuzzTilePath(f *testing.F) {
	for _, n := range []int64{0, 1, 255, 256, 999, 1000, 1_234_067, 123_456_789, 20_000_000_000} {
		f.Add(0, n, 256)
		f.Add(bundle, n, 1)
	}
	f.Fuzz(func(t *testing.T, level int, n int64, width int) {
		if level < bundle || level > 63/tileHeight || n < 0 || n >= 1<<53 || width < 1 || width > tileWidth {
			return
		}
		tile := tlog.Tile{H: tileHeight, L: level, N: n, W: width}
		path := tilePath(tile)
		as, served := ServedAs(path)
		if !served || as.Immutable != (width == tileWidth) || !fs.ValidPath(path) {
			t.Fatalf("%+v is at %q, which is served as %+v, %t", tile, path, as, served)
		}
		theirs := strings.Replace(strings.Replace(path, "tile/", "tile/8/", 1), "/8/entries/", "/8/data/", 1)
		if got, err := tlog.ParseTilePath(theirs); err != nil || got != tile {
			t.Fatalf("%+v is at %q, which is %+v, %v", tile, path, got, err)
		}
	})
}

func TestTilePaths(t *testing.T) {
	for path, tile := range map[string]tlog.Tile{
		"tile/0/000":                  {H: 8, L: 0, N: 0, W: 256},
		"tile/3/x001/x234/067.p/1":    {H: 8, L: 3, N: 1234067, W: 1},
		"tile/entries/x999/999":       {H: 8, L: -1, N: 999999, W: 256},
		"tile/entries/x001/000.p/255": {H: 8, L: -1, N: 1000, W: 255},
		"tile/6/000.p/2":              {H: 8, L: 6, N: 0, W: 2},
		"tile/0/x020/x000/x000/000":   {H: 8, L: 0, N: 20_000_000_000, W: 256},
		"tile/entries/x001/x000/000":  {H: 8, L: -1, N: 1_000_000, W: 256},
		"tile/1/x010/005.p/200":       {H: 8, L: 1, N: 10_005, W: 200},
		"tile/7/000.p/1":              {H: 8, L: 7, N: 0, W: 1},
		"tile/entries/000.p/1":        {H: 8, L: -1, N: 0, W: 1},
		"tile/2/999":                  {H: 8, L: 2, N: 999, W: 256},
		"tile/2/x999/000.p/17":        {H: 8, L: 2, N: 999_000, W: 17},
		"tile/entries/x123/x456/789":  {H: 8, L: -1, N: 123_456_789, W: 256},
		"tile/0/x123/x456/789.p/128":  {H: 8, L: 0, N: 123_456_789, W: 128},
	} {
		if got := tilePath(tile); got != path {
			t.Errorf("%+v is at %s, want %s", tile, got, path)
		}
	}
}

// BenchmarkLog is what reading a log of 100,000 leaves costs: the proof of one
// leaf with an empty cache, and all leaves.
func BenchmarkLog(b *testing.B) {
	w := newWrittenLog(b)
	w.grow(100_000)
	c := w.head()
	b.Run("proof", func(b *testing.B) {
		src := &countingSource{Source: w.source()}
		for b.Loop() {
			if err := leafError(src, c, 12_345); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(src.gets)/float64(b.N), "requests")
	})
	b.Run("leaves", func(b *testing.B) {
		for b.Loop() {
			if leaves, err := collect(w.source(), 0, c); err != nil || len(leaves) != 100_000 {
				b.Fatal(len(leaves), err)
			}
		}
	})
}

// What is known of verified tiles is what package tlog makes of them, each hash
// of the tree, and is not asked for again.
func TestKnownHashesAreThoseOfTheTree(t *testing.T) {
	w := newWrittenLog(t)
	for _, grow := range []int{1, 1, 5, 249, 1, 43, 700} {
		w.grow(grow)
		c := w.head()
		src := &countingSource{Source: w.source()}
		r, plain := newLogReader(t.Context(), src, c.Size, c.Root), newLogReader(t.Context(), w.source(), c.Size, c.Root)
		for again := range 2 {
			before := src.gets
			for at := range tlog.StoredHashCount(c.Size) {
				got, err := r.ReadHashes([]int64{at})
				if err != nil {
					t.Fatal(err)
				}
				want, err := plain.hashes.ReadHashes([]int64{at})
				if err != nil || got[0] != want[0] {
					t.Fatalf("hash %d of a tree of %d is %v, not %v, %v", at, c.Size, got[0], want[0], err)
				}
			}
			if again > 0 && src.gets > before {
				t.Errorf("%d requests for what is known", src.gets-before)
			}
		}
		if r.known(tlog.StoredHashIndex(0, c.Size)) != nil {
			t.Errorf("a hash beyond %d is known", c.Size)
		}
	}
}
