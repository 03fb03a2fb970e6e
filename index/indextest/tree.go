package indextest

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
)

// tree writes the tiles and bundles of a log, one after the other. It holds
// what is not full yet.
type tree struct {
	size   int64
	bundle []byte
	levels [][]tlog.Hash // of the last tile at each level
	done   []int64       // full tiles at each level
}

// writeFile keeps the bytes.
type writeFile func(path string, data []byte) error

func (t *tree) add(leaf []byte, write writeFile) error {
	t.bundle = binary.BigEndian.AppendUint16(t.bundle, uint16(len(leaf)))
	t.bundle = append(t.bundle, leaf...)
	if t.size++; t.size%tileWidth == 0 {
		if err := write(tilePath(-1, t.size/tileWidth-1, tileWidth), t.bundle); err != nil {
			return err
		}
		t.bundle = nil
	}
	return t.hash(0, tlog.RecordHash(leaf), write)
}

// hash adds a hash at a level, and of a full tile its own one level up.
func (t *tree) hash(level int, h tlog.Hash, write writeFile) error {
	if level == len(t.levels) {
		t.levels, t.done = append(t.levels, nil), append(t.done, 0)
	}
	t.levels[level] = append(t.levels[level], h)
	if len(t.levels[level]) < tileWidth {
		return nil
	}
	full := t.levels[level]
	if err := write(tilePath(level, t.done[level], tileWidth), concat(full)); err != nil {
		return err
	}
	t.done[level]++
	for n := tileWidth; n > 1; n /= 2 {
		for i := range n / 2 {
			full[i] = tlog.NodeHash(full[2*i], full[2*i+1])
		}
	}
	t.levels[level] = full[:0]
	return t.hash(level+1, full[0], write)
}

func concat(hashes []tlog.Hash) []byte {
	out := make([]byte, 0, len(hashes)*tlog.HashSize)
	for _, h := range hashes {
		out = append(out, h[:]...)
	}
	return out
}

// end writes what is partial.
func (t *tree) end(write writeFile) error {
	if n := int(t.size % tileWidth); n > 0 {
		if err := write(tilePath(-1, t.size/tileWidth, n), t.bundle); err != nil {
			return err
		}
	}
	for level, hashes := range t.levels {
		if len(hashes) == 0 {
			continue
		}
		if err := write(tilePath(level, t.done[level], len(hashes)), concat(hashes)); err != nil {
			return err
		}
	}
	return nil
}

func tilePath(level int, n int64, width int) string {
	path := tlog.Tile{H: tileHeight, L: level, N: n, W: width}.Path()
	return "tile/" + strings.Replace(strings.TrimPrefix(path, "tile/8/"), "data/", "entries/", 1)
}

// diskHashes are the hashes in the tiles of a tree of a size.
type diskHashes struct {
	dir  string
	size int64
}

// ReadHashes implements [tlog.HashReader].
func (d diskHashes) ReadHashes(at []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(at))
	for i, n := range at {
		t := tlog.TileForIndex(tileHeight, n)
		t.W = int(min(tileWidth, d.size>>(tileHeight*t.L)-t.N<<tileHeight))
		data, err := os.ReadFile(filepath.Join(d.dir, tilePath(t.L, t.N, t.W)))
		if err != nil {
			return nil, err
		}
		if out[i], err = tlog.HashFromTile(t, data, n); err != nil {
			return nil, err
		}
	}
	return out, nil
}
