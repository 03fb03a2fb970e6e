package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"rebuild/internal/durable"
)

// GCOptions says what GC keeps.
type GCOptions struct {
	// Roots are blobs to keep with all that they name: manifests of stage
	// records, plans, sources, trees. What index.json names is kept anyway.
	Roots []Digest
	Now   time.Time
	// Grace protects what other processes are writing: no file younger than
	// Now-Grace is touched. It must be longer than the longest stage takes
	// from its first blob to its record; a day is a good value.
	Grace  time.Duration
	DryRun bool // only say what would be removed
}

// GCReport is what GC did.
type GCReport struct {
	Kept    int      // blobs
	Removed []Digest // sorted
	Bytes   int64    // freed by Removed
	Temp    []string // leftovers of killed writers that were removed
	Missing []Digest // roots, or blobs named by kept ones, that are not there
}

// GC removes blobs that nothing kept names, and the leftovers of killed
// writers. An index keeps its manifests, a manifest its config and layers,
// and a layer the text of its tree. A kept manifest or index that is damaged
// is an error, and nothing is removed: what it named is not known.
//
// Other processes may write meanwhile: blobs become visible under the shared
// lock with a fresh time, GC looks at the time and deletes under the
// exclusive one.
func (s *Store) GC(ctx context.Context, o GCOptions) (*GCReport, error) {
	g := &collector{s: s, o: o, keep: map[Digest]bool{}, layers: map[int64]bool{}}
	_, tags, err := s.readIndex()
	if err != nil {
		return nil, err
	}
	roots := slices.Clone(o.Roots)
	for _, t := range tags {
		roots = append(roots, t.Digest)
	}
	for _, d := range roots {
		if err := g.mark(ctx, d); err != nil {
			return nil, err
		}
	}
	if err := g.sweep(ctx); err != nil {
		return nil, err
	}
	return &g.report, g.sweepTemp()
}

type collector struct {
	s      *Store
	o      GCOptions
	keep   map[Digest]bool
	layers map[int64]bool // sizes of kept layers
	report GCReport
}

// mark keeps d and what it names.
func (g *collector) mark(ctx context.Context, d Digest) error {
	if err := ctx.Err(); err != nil || g.keep[d] {
		return err
	}
	if !g.keepLeaf(d) {
		return nil
	}
	body, err := g.s.head(d)
	if err != nil {
		return err
	}
	r := refsOf(body)
	for i, x := range r.list {
		switch {
		case r.kind == KindIndex:
			if err := g.mark(ctx, x.Digest); err != nil {
				return err
			}
			continue
		case i > 0:
			g.layers[x.Size] = true
		}
		g.keepLeaf(x.Digest)
	}
	return nil
}

// keepLeaf keeps d by itself and reports whether it is there.
func (g *collector) keepLeaf(d Digest) bool {
	known := g.keep[d]
	g.keep[d] = true
	if g.s.Has(d) {
		return true
	}
	if !known {
		g.report.Missing = append(g.report.Missing, d)
	}
	return false
}

// sweep removes what is not kept. A first look without the lock finds the
// candidates, the second, with it, decides.
func (g *collector) sweep(ctx context.Context) error {
	list, _, err := g.s.blobs()
	if err != nil {
		return err
	}
	var old []Digest
	for _, d := range list {
		if err := ctx.Err(); err != nil {
			return err
		}
		wanted, err := g.wanted(d)
		if err != nil {
			return err
		}
		if wanted {
			g.report.Kept++
		} else {
			old = append(old, d)
		}
	}
	if err := g.remove(old); err != nil || len(g.report.Removed) == 0 || g.o.DryRun {
		return err
	}
	return g.s.fsys.SyncDir(g.s.path(blobDir))
}

func (g *collector) remove(list []Digest) error {
	if len(list) == 0 {
		return nil
	}
	unlock, err := durable.Lock(g.s.path(lockFile), true)
	if err != nil {
		return err
	}
	defer unlock()
	for _, d := range list {
		info, err := os.Lstat(g.s.BlobPath(d))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return err
		case !older(info, g.o.Now, g.o.Grace):
			g.report.Kept++
			continue
		}
		if !g.o.DryRun {
			if err := g.s.fsys.Remove(g.s.BlobPath(d)); err != nil {
				return err
			}
		}
		g.report.Removed = append(g.report.Removed, d)
		g.report.Bytes += info.Size()
	}
	return nil
}

func (g *collector) wanted(d Digest) (bool, error) {
	info, err := os.Lstat(g.s.BlobPath(d))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil // someone else's GC
	}
	if err != nil || g.keep[d] || !older(info, g.o.Now, g.o.Grace) {
		return true, err
	}
	return g.wantedTree(d)
}

// wantedTree reports whether d is the text of a tree whose layer may be kept.
// Nothing names a tree's text from its layer, and finding it would mean to
// read all layers; but the text tells how long the layer is. Two trees of
// one length keep each other's text, which costs little and loses nothing.
func (g *collector) wantedTree(d Digest) (bool, error) {
	body, err := g.s.head(d)
	if refsOf(body).kind != KindTree {
		return false, nil
	}
	if err != nil {
		return false, nil // damaged, of no use
	}
	t, err := g.s.Tree(d)
	if err != nil {
		return false, nil
	}
	return g.layers[layerSize(t)], nil
}

// sweepTemp removes what killed writers left.
func (g *collector) sweepTemp() error {
	list, err := g.s.leftovers()
	if err != nil {
		return err
	}
	for _, p := range list {
		info, err := os.Lstat(p)
		if err != nil || !older(info, g.o.Now, g.o.Grace) {
			continue
		}
		if !g.o.DryRun {
			if err := g.s.fsys.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		g.report.Temp = append(g.report.Temp, p)
	}
	return nil
}
