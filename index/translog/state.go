package translog

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"rebuild/internal/durable"
	"rebuild/internal/fault"
)

// The files of a log, relative to its directory. Those in .state but the last
// are Tessera's.
const (
	checkpointFile = "checkpoint"
	tileDir        = "tile"
	stateDir       = ".state"
	treeStateFile  = stateDir + "/treeState"
	treeLockFile   = treeStateFile + ".lock"
	collectedFile  = stateDir + "/collected" // how many leaves collect is done with, decimal
)

// emptyRoot is the root of a tree without leaves.
var emptyRoot = tlog.Hash(sha256.Sum256(nil))

const tileHeight = 8

// load puts in order what an interrupted batch left, and reads the size.
func (l *Log) load(ctx context.Context) error {
	l.stale = true
	var held int64
	if err := l.session(ctx, 1, func(s *session) error { held = s.size; return nil }); err != nil {
		return err
	}
	if err := l.sweep(held); err != nil {
		return writeFault(err)
	}
	signed, err := l.signed(held)
	if err != nil {
		return err
	}
	if err := l.collect(signed); err != nil {
		return err
	}
	l.size, l.held, l.stale = signed, held, false
	return nil
}

// signed returns the size of the tree that the checkpoint is of, which the tree
// on disk, of a size that is held, must have grown from.
func (l *Log) signed(held int64) (int64, error) {
	data, err := os.ReadFile(l.path(checkpointFile))
	if err != nil {
		return 0, readFault(err)
	}
	c, err := l.trusted.OpenCheckpoint(data)
	if err != nil {
		return 0, l.notOurs(err)
	}
	if c.Size > held {
		return 0, fault.New(fault.Rollback, "the log in %s has %d leaves, its checkpoint is of %d", l.dir, held, c.Size).
			WithHint("bring %s back from the same copy as the rest of the index", stateDir)
	}
	root, err := l.treeHash(held)
	if err != nil {
		return 0, err
	}
	return c.Size, l.contains(tlog.Tree{N: held, Hash: root}, tlog.Tree{N: c.Size, Hash: c.Root})
}

func (l *Log) notOurs(err error) error {
	var e *fault.Error
	if errors.As(err, &e) && e.Code == fault.KeyUnknown {
		return e.WithHint("use the key that this log was made with, and its origin: config.json names both")
	}
	return fault.In(err, checkpointFile)
}

// contains wants one tree to be the beginning of the other.
func (l *Log) contains(tree, old tlog.Tree) error {
	fork := fault.New(fault.Fork, "the tiles in %s give a tree of %d leaves that does not contain the one of %d leaves that was signed", l.dir, tree.N, old.N).
		WithHint("run: rebuild index fsck %s", l.dir)
	if old.N == tree.N || old.N == 0 {
		if old.N == tree.N && old.Hash != tree.Hash || old.N == 0 && old.Hash != emptyRoot {
			return fork
		}
		return nil
	}
	proof, err := tlog.ProveTree(tree.N, old.N, tlog.TileHashReader(tree, tileFiles{l}))
	if errors.Is(err, fs.ErrNotExist) {
		return readFault(err)
	}
	if err != nil || tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash) != nil {
		return fork
	}
	return nil
}

// treeHash computes the root of the tree of a size from the tiles on disk.
func (l *Log) treeHash(size int64) (tlog.Hash, error) {
	if size == 0 {
		return emptyRoot, nil
	}
	root, err := tlog.TreeHash(size, l.hashes(size))
	return root, readFault(err)
}

// hashes reads hashes from the tiles of a tree as they are on disk.
func (l *Log) hashes(size int64) tlog.HashReader {
	cache := map[tlog.Tile][]byte{}
	return tlog.HashReaderFunc(func(at []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(at))
		for i, n := range at {
			t := tlog.TileForIndex(tileHeight, n)
			t.W = int(min(1<<tileHeight, size>>(tileHeight*t.L)-t.N<<tileHeight))
			if cache[t] == nil {
				data, err := l.tile(t)
				if err != nil {
					return nil, err
				}
				cache[t] = data
			}
			h, err := tlog.HashFromTile(t, cache[t], n)
			if err != nil {
				return nil, err
			}
			out[i] = h
		}
		return out, nil
	})
}

// tileFiles reads tiles from disk.
type tileFiles struct{ l *Log }

// Height implements [tlog.TileReader].
func (tileFiles) Height() int { return tileHeight }

// SaveTiles implements [tlog.TileReader].
func (tileFiles) SaveTiles([]tlog.Tile, [][]byte) {}

// ReadTiles implements [tlog.TileReader].
func (f tileFiles) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	out := make([][]byte, len(tiles))
	for i, t := range tiles {
		data, err := f.l.tile(t)
		if err != nil {
			return nil, err
		}
		out[i] = data
	}
	return out, nil
}

// tile reads a tile, or the beginning of the full one: a partial one goes when
// the full one is there.
func (l *Log) tile(t tlog.Tile) ([]byte, error) {
	data, err := os.ReadFile(l.path(tilePath(t)))
	if errors.Is(err, fs.ErrNotExist) {
		t.W, data, err = 1<<tileHeight, nil, nil
		full := tilePath(t)
		data, err = os.ReadFile(l.path(full))
	}
	if err != nil {
		return nil, err
	}
	return data, nil
}

// tilePath returns where a tile is: package tlog puts the height into the path,
// which C2SP tlog-tiles has not.
func tilePath(t tlog.Tile) string {
	rest, data := strings.CutPrefix(t.Path(), "tile/8/data/")
	if data {
		return tileDir + "/entries/" + rest
	}
	return tileDir + "/" + strings.TrimPrefix(t.Path(), "tile/8/")
}

// collect removes the partial tiles and bundles of full ones, which readers
// fall back to: 255 of each would stay for every 256 leaves. size is of the
// published tree. A crash leaves some, for the next Open to remove.
func (l *Log) collect(size int64) error {
	done, err := l.collected()
	if err != nil {
		return err
	}
	if done>>tileHeight >= size>>tileHeight {
		return nil
	}
	parents := map[string]bool{}
	for level := 0; size>>(tileHeight*(level+1)) > 0; level++ {
		for n := done >> (tileHeight * (level + 1)); n < size>>(tileHeight*(level+1)); n++ {
			full := []tlog.Tile{{H: tileHeight, L: level, N: n, W: 1 << tileHeight}}
			if level == 0 {
				full = append(full, tlog.Tile{H: tileHeight, L: -1, N: n, W: 1 << tileHeight})
			}
			for _, t := range full {
				partial := l.path(tilePath(t) + ".p")
				if err := os.RemoveAll(partial); err != nil {
					return writeFault(err)
				}
				parents[filepath.Dir(partial)] = true
			}
		}
	}
	for dir := range parents { // or a power cut could bring them back for good
		if err := (durable.OS{}).SyncDir(dir); err != nil {
			return writeFault(err)
		}
	}
	return writeFault(l.write(collectedFile, fmt.Appendf(nil, "%d", size>>tileHeight<<tileHeight)))
}

func (l *Log) collected() (int64, error) {
	text, err := os.ReadFile(l.path(collectedFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, readFault(err)
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || n < 0 {
		return 0, fault.New(fault.Parse, "%.40q is not a number of leaves", text).At(collectedFile, 0).
			WithHint("remove %s: it is made again", l.path(collectedFile))
	}
	return n, nil
}

// sweep removes the temporary files that writers which were stopped left: ours
// in .state, and Tessera's beside what they were to become. Those of tiles are
// at the right edge of a tree of this size or beyond it.
func (l *Log) sweep(size int64) error {
	for _, dir := range []string{".", stateDir} {
		if err := l.sweepDir(dir, nil); err != nil {
			return err
		}
	}
	levels, err := os.ReadDir(l.path(tileDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, d := range levels {
		level, err := strconv.Atoi(d.Name())
		if d.Name() != "entries" && (err != nil || level < 0 || level > 63/tileHeight) {
			continue
		}
		edge := tlog.Tile{H: tileHeight, L: level, N: size >> (tileHeight * (level + 1)), W: 1 << tileHeight}
		_, rest, _ := strings.Cut(strings.TrimPrefix(tilePath(edge), tileDir+"/"), "/")
		if err := l.sweepDir(tileDir+"/"+d.Name(), strings.Split(rest, "/")); err != nil {
			return err
		}
	}
	return nil
}

// sweepDir removes temporary files in a directory, and below a directory of
// tiles in those that are not before the edge.
func (l *Log) sweepDir(dir string, edge []string) error {
	held, err := os.ReadDir(l.path(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	tiles := strings.HasPrefix(dir, tileDir+"/")
	for _, d := range held {
		name := path.Join(dir, d.Name())
		switch {
		case len(edge) > 0 && d.Name() < edge[0]:
		case d.IsDir() && tiles:
			var below []string
			if len(edge) > 0 && d.Name() == edge[0] {
				below = edge[1:]
			}
			err = l.sweepDir(name, below)
		case d.Type().IsRegular() && l.temporary(name):
			err = os.Remove(l.path(name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// temporaryOf splits the name that Tessera gives a temporary file: that of the
// target, and a random number below 2^31 in decimal.
var temporaryOf = regexp.MustCompile(`^(checkpoint|\.state/(?:treeState|version|gcState))(?:0|[1-9][0-9]{0,9})$`)

// temporary says whether a path is of a temporary file, of Tessera or, in
// .state, of ours. A path that a tile may have never is.
func (l *Log) temporary(name string) bool {
	if strings.HasPrefix(name, stateDir+"/"+durable.TempPrefix) {
		return durable.Abandoned(l.path(name))
	}
	if !strings.HasPrefix(name, tileDir+"/") {
		return temporaryOf.MatchString(name)
	}
	if isTile(name) {
		return false
	}
	for i := len(name) - 1; i > 0 && len(name)-i <= 10; i-- {
		if n, err := strconv.ParseInt(name[i:], 10, 32); err != nil || strconv.FormatInt(n, 10) != name[i:] {
			continue // a zero in front: the number began before it
		}
		if isTile(name[:i]) {
			return true
		}
	}
	return false
}

// isTile says whether a path is one that a tile or a bundle may have.
func isTile(name string) bool {
	rest, ok := strings.CutPrefix(name, tileDir+"/")
	if entries, is := strings.CutPrefix(rest, "entries/"); is {
		rest = "data/" + entries
	} else if strings.HasPrefix(rest, "data/") {
		return false
	}
	_, err := tlog.ParseTilePath("tile/8/" + rest)
	return ok && err == nil
}
