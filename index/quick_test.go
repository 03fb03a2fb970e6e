package index

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"rebuild/attest"
	"rebuild/attest/attesttest"
)

// quickLog is a log in the bytes of the real one, in its directory, whose
// writes are not durable: for tests that write the same thousands of times and
// end no process.
type quickLog struct {
	dir    string
	now    func() time.Time
	leaves [][]byte
	hashes []tlog.Hash
}

func (b *bench) openQuickLog(ctx context.Context, dir string) (LogWriter, error) {
	l := &quickLog{dir: dir, now: func() time.Time { return b.now }}
	c := b.config()
	held, err := readCheckpoint(ctx, Dir(os.DirFS(dir), dir), &c)
	if err != nil {
		return l, nil // none yet
	}
	for leaf, err := range readLeaves(ctx, Dir(os.DirFS(dir), dir), 0, held.Size, held.Root) {
		if err != nil {
			return nil, err
		}
		if err := l.add(leaf.data); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (l *quickLog) add(leaf []byte) error {
	stored, err := tlog.StoredHashes(l.Size(), leaf, l)
	l.hashes, l.leaves = append(l.hashes, stored...), append(l.leaves, leaf)
	return err
}

func (l *quickLog) ReadHashes(at []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(at))
	for i, n := range at {
		out[i] = l.hashes[n]
	}
	return out, nil
}

func (l *quickLog) Size() int64                 { return int64(len(l.leaves)) }
func (l *quickLog) Close(context.Context) error { return nil }

func (l *quickLog) Append(_ context.Context, leaves [][]byte) error {
	if len(leaves) == 0 {
		return nil
	}
	was := l.Size()
	for _, leaf := range leaves {
		if err := l.add(leaf); err != nil {
			return err
		}
	}
	for _, t := range tlog.NewTiles(tileHeight, was, l.Size()) {
		data, err := tlog.ReadTileData(t, l)
		if err != nil {
			return err
		}
		if err := l.write(tilePath(t), data); err != nil {
			return err
		}
		if t.L == 0 {
			t.L = bundle
			if err := l.write(tilePath(t), l.bundle(t)); err != nil {
				return err
			}
		}
	}
	root, err := tlog.TreeHash(l.Size(), l)
	if err != nil {
		return err
	}
	log, dated, err := attest.LogSigners(attesttest.Origin, attesttest.Key("log"), l.now)
	if err != nil {
		return err
	}
	signed, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", attesttest.Origin, l.Size(), root)}, log, dated)
	if err != nil {
		return err
	}
	return l.write(checkpointFile, signed)
}

func (l *quickLog) bundle(t tlog.Tile) []byte {
	var out bytes.Buffer
	for _, leaf := range l.leaves[t.N<<tileHeight : t.N<<tileHeight+int64(t.W)] {
		out.Write(binary.BigEndian.AppendUint16(nil, uint16(len(leaf))))
		out.Write(leaf)
	}
	return out.Bytes()
}

// write replaces a file in one step, as readers may be looking.
func (l *quickLog) write(file string, data []byte) error {
	full := filepath.Join(l.dir, file)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(full+".new", data, 0o644); err != nil {
		return err
	}
	return os.Rename(full+".new", full)
}

// quick makes a bench write without waiting for the disk.
func (b *bench) quick() *bench {
	b.disk, b.in.Log = steady(), b.openQuickLog
	return b
}
