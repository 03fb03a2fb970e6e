package index

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io/fs"
	"iter"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"rebuild/attest"
	"rebuild/internal/document"
	"rebuild/internal/fault"
)

// The tree of the log as a reader sees it: tiles of 256 hashes and bundles of
// 256 leaves (c2sp.org/tlog-tiles), whose last ones are partial.
//
//	tile/<level>/<index>[.p/<width>]   hashes, each of 32 bytes
//	tile/entries/<index>[.p/<width>]   leaves, each after its length in 2 bytes
//
// Nothing that a source serves is believed: every hash is verified up to the
// root of a checkpoint before it is used.
const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
	tileDir    = "tile/"
	entriesDir = tileDir + "entries/"
	bundle     = -1 // level of entry bundles in a [tlog.Tile]

	// maxBundle is the most bytes of an entry bundle: a leaf has at most 8 KiB.
	maxBundle = tileWidth * (2 + 8<<10)
	// maxTiles is how many tiles a tree of any size that is read here keeps, of
	// 24 KiB with the hashes above theirs: those of 60,000 leaves and the paths
	// to the root.
	maxTiles = 256
)

// tilePath returns where a tile is. Package tlog puts the height into the path,
// which C2SP has not, and calls bundles data.
func tilePath(t tlog.Tile) string {
	path := strings.TrimPrefix(t.Path(), "tile/8/")
	if rest, ok := strings.CutPrefix(path, "data/"); ok {
		return entriesDir + rest
	}
	return tileDir + path
}

// logReader reads a tree of a log through a source. It is for one goroutine.
type logReader struct {
	ctx    context.Context
	src    Source
	tree   tlog.Tree
	hashes tlog.HashReader             // of verified tiles
	kept   map[tlog.Tile][]byte        // verified
	inner  map[tilePlace][][]tlog.Hash // of the tiles in kept, by height above their lowest row
}

// tilePlace is where a tile is, whatever its width.
type tilePlace struct {
	level int
	n     int64
}

// newLogReader returns a reader of the tree with a root, which was verified.
func newLogReader(ctx context.Context, src Source, size int64, root tlog.Hash) *logReader {
	r := &logReader{ctx: ctx, src: src, tree: tlog.Tree{N: size, Hash: root},
		kept: map[tlog.Tile][]byte{}, inner: map[tilePlace][][]tlog.Hash{}}
	r.hashes = tlog.TileHashReader(r.tree, r)
	return r
}

// Height implements [tlog.TileReader].
func (r *logReader) Height() int { return tileHeight }

// ReadTiles implements [tlog.TileReader].
func (r *logReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(tiles))
	for i, t := range tiles {
		if out[i] = r.kept[t]; out[i] != nil {
			continue
		}
		data, err := r.get(t, tileWidth*tlog.HashSize)
		if err != nil {
			return nil, err
		}
		if len(data) != t.W*tlog.HashSize && len(data) != tileWidth*tlog.HashSize {
			return nil, r.bad("%s has %d bytes, %d hashes of %d are needed", tilePath(t), len(data), t.W, tlog.HashSize)
		}
		out[i] = data[:t.W*tlog.HashSize]
	}
	return out, nil
}

// SaveTiles implements [tlog.TileReader]: tiles that were verified are kept
// while there is room.
func (r *logReader) SaveTiles(tiles []tlog.Tile, data [][]byte) {
	for i, t := range tiles {
		if r.kept[t] == nil {
			r.kept[t], r.inner[tilePlace{t.L, t.N}] = data[i], rows(data[i])
		}
	}
	for t := range r.kept { // of what is read again all but the leaves' own tiles
		if len(r.kept) > maxTiles && t.L == 0 && t.W == tileWidth {
			r.forget(t)
		}
	}
	for t := range r.kept {
		if len(r.kept) > maxTiles {
			r.forget(t)
		}
	}
}

func (r *logReader) forget(t tlog.Tile) {
	delete(r.kept, t)
	delete(r.inner, tilePlace{t.L, t.N})
}

// rows returns the hashes of a tile and those that they make above it.
func rows(tile []byte) [][]tlog.Hash {
	row := make([]tlog.Hash, len(tile)/tlog.HashSize)
	for i := range row {
		row[i] = tlog.Hash(tile[i*tlog.HashSize:])
	}
	out := [][]tlog.Hash{row}
	for len(out) < tileHeight {
		above := make([]tlog.Hash, len(row)/2)
		for i := range above {
			above[i] = tlog.NodeHash(row[2*i], row[2*i+1])
		}
		out, row = append(out, above), above
	}
	return out
}

// ReadHashes implements [tlog.HashReader] with what is known of verified tiles,
// which package tlog would hash anew up to the root each time.
func (r *logReader) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, at := range indexes {
		h := r.known(at)
		if h == nil {
			return r.hashes.ReadHashes(indexes)
		}
		out[i] = *h
	}
	return out, nil
}

// known returns the hash at a stored index, nil if its tile is not kept.
func (r *logReader) known(index int64) *tlog.Hash {
	level, n := tlog.SplitStoredHashIndex(index)
	height := level % tileHeight
	rows := r.inner[tilePlace{level / tileHeight, n << height >> tileHeight}]
	if rows == nil {
		return nil
	}
	if at := n & (tileWidth>>height - 1); at < int64(len(rows[height])) {
		return &rows[height][at]
	}
	return nil
}

// get reads a tile or bundle. Where a partial one is gone the full one is there
// and begins with it: a log may drop a partial one then.
func (r *logReader) get(t tlog.Tile, limit int64) ([]byte, error) {
	data, err := r.src.Get(r.ctx, tilePath(t), limit, false)
	if errors.Is(err, fs.ErrNotExist) && t.W < tileWidth {
		full := t
		full.W = tileWidth
		data, err = r.src.Get(r.ctx, tilePath(full), limit, false)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.IndexFetch, "%s has no %s, which its log of size %d needs", r.src, tilePath(t), r.tree.N).
			WithHint("ask who runs the index to run: rebuild index fsck")
	}
	return data, err
}

func (r *logReader) bad(format string, args ...any) error {
	return fault.New(fault.EvidenceMismatch, "the log of "+r.src.String()+": "+format, args...).
		WithHint("try again; if it stays, ask who runs the index to run: rebuild index fsck")
}

// explain gives what package tlog says about a tile a code. What has one is
// from the source.
func (r *logReader) explain(err error) error {
	var known *fault.Error
	if err == nil || errors.As(err, &known) || r.ctx.Err() != nil {
		return err
	}
	return r.bad("its tiles do not lead to root %s of size %d: %w", r.tree.Hash, r.tree.N, err)
}

// proveLeaf returns the proof that the leaf at seq is in the tree. Errors are
// INDEX_FETCH for a tile that is missing, EVIDENCE_MISMATCH for one that does
// not fit the root, and SEMANTIC for a leaf beyond the tree.
func proveLeaf(ctx context.Context, src Source, size int64, root tlog.Hash, seq int64) (tlog.RecordProof, error) {
	if seq < 0 || seq >= size {
		return nil, fault.New(fault.Semantic, "leaf %d is not in a log of size %d", seq, size)
	}
	r := newLogReader(ctx, src, size, root)
	proof, err := tlog.ProveRecord(size, seq, r)
	return proof, r.explain(err)
}

// checkConsistency wants the tree of the checkpoint seen first to be the
// beginning of the other's. A smaller tree is ROLLBACK. One that is another is
// FORK: both checkpoints are signed, and are in the details seen and served as
// the evidence. Tiles that are missing are INDEX_FETCH, and those that do not
// fit the new root EVIDENCE_MISMATCH: they prove nothing about the log.
func checkConsistency(ctx context.Context, src Source, old, new *attest.Checkpoint) error {
	var wrong *fault.Error
	switch {
	case old.Origin != new.Origin:
		return fault.New(fault.EvidenceMismatch, "the checkpoint of log %s can not be compared with one of %s", new.Origin, old.Origin)
	case new.Size < old.Size:
		wrong = fault.New(fault.Rollback, "log %s was at size %d, %s serves size %d", old.Origin, old.Size, src, new.Size)
	case new.Size == old.Size && new.Root != old.Root:
		wrong = fault.New(fault.Fork, "log %s has signed two trees of size %d: roots %s and %s", old.Origin, old.Size, old.Root, new.Root)
	case new.Size == old.Size || old.Size == 0 && old.Root == emptyRoot:
		return nil
	default:
		return extends(ctx, src, old, new)
	}
	return withNotes(wrong, old, new)
}

// emptyRoot is the root of a tree without leaves.
var emptyRoot = tlog.Hash(sha256.Sum256(nil))

// extends checks the proof that the new, larger tree begins with the old one.
func extends(ctx context.Context, src Source, old, new *attest.Checkpoint) error {
	fork := fault.New(fault.Fork, "log %s was at size %d with root %s, and its tree of size %d is another", old.Origin, old.Size, old.Root, new.Size)
	if old.Size == 0 {
		return withNotes(fork, old, new)
	}
	r := newLogReader(ctx, src, new.Size, new.Root)
	proof, err := tlog.ProveTree(new.Size, old.Size, r)
	if err != nil {
		return r.explain(err)
	}
	if tlog.CheckTree(proof, new.Size, new.Root, old.Size, old.Root) != nil {
		return withNotes(fork, old, new)
	}
	return nil
}

func withNotes(e *fault.Error, old, new *attest.Checkpoint) error {
	return e.With("seen", string(old.Note)).With("served", string(new.Note)).
		WithHint("keep both signed checkpoints as evidence and show them to who runs the log")
}

// logLeaf is a leaf and where it stands.
type logLeaf struct {
	seq  int64
	data []byte
}

// readLeaves returns the leaves of the tree from one on, in order. Each bundle
// is verified against the tree before a leaf of it is handed out, and one
// bundle and a few tiles are held at a time. The sequence ends with the first
// error: as of proveLeaf, and PARSE or EVIDENCE_MISMATCH for a bundle.
func readLeaves(ctx context.Context, src Source, from, size int64, root tlog.Hash) iter.Seq2[logLeaf, error] {
	return func(yield func(logLeaf, error) bool) {
		r := newLogReader(ctx, src, size, root)
		for n := max(0, from) >> tileHeight; n<<tileHeight < size; n++ {
			leaves, err := r.bundle(n)
			if err != nil {
				yield(logLeaf{}, err)
				return
			}
			first := n << tileHeight
			for i := max(0, from-first); i < int64(len(leaves)); i++ {
				if !yield(logLeaf{first + i, leaves[i]}, nil) {
					return
				}
			}
		}
	}
}

// bundle returns the leaves of bundle n, verified.
func (r *logReader) bundle(n int64) ([][]byte, error) {
	t := tlog.Tile{H: tileHeight, L: bundle, N: n, W: int(min(tileWidth, r.tree.N-n<<tileHeight))}
	at := make([]int64, t.W)
	for i := range at {
		at[i] = tlog.StoredHashIndex(0, n<<tileHeight+int64(i))
	}
	want, err := r.ReadHashes(at)
	if err != nil {
		return nil, r.explain(err)
	}
	data, err := r.get(t, maxBundle)
	if err != nil {
		return nil, err
	}
	leaves, err := splitBundle(data, t.W)
	if err != nil {
		return nil, fault.In(err, tilePath(t))
	}
	for i, leaf := range leaves {
		if tlog.RecordHash(leaf) != want[i] {
			return nil, r.bad("%s holds another leaf %d than the tree", tilePath(t), n<<tileHeight+int64(i))
		}
	}
	return leaves, nil
}

// splitBundle returns the first leaves of an entry bundle, which share its
// memory. What a full bundle holds beyond them is only parsed.
func splitBundle(data []byte, want int) ([][]byte, error) {
	var out [][]byte
	for len(data) > 0 {
		if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
			return nil, fault.New(fault.Parse, "leaf %d of the entry bundle is cut", len(out))
		}
		n := int(binary.BigEndian.Uint16(data))
		if int64(n) > document.Events.MaxBytes || len(out) == tileWidth {
			return nil, fault.New(fault.Parse, "the entry bundle has a leaf %d of %d bytes, at most %d of %d are allowed", len(out), n, tileWidth, document.Events.MaxBytes)
		}
		out = append(out, data[2:2+n:2+n])
		data = data[2+n:]
	}
	if len(out) != want && len(out) != tileWidth {
		return nil, fault.New(fault.Parse, "the entry bundle has %d leaves, it must have %d", len(out), want)
	}
	return out[:want], nil
}
