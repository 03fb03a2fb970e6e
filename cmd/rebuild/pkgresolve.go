package main

import (
	"context"
	"io/fs"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"

	"rebuild/attest"
	"rebuild/index"
	"rebuild/internal/fault"
	"rebuild/internal/names"
	"rebuild/pipeline"
	"rebuild/resolve"
)

// What joins an index, which verifies, with resolve, which chooses, for
// pipeline, which knows of neither.

// indexResolver chooses packages of an index by verified metadata alone.
type indexResolver struct {
	a *app
	x *opened
}

// Resolve implements [pipeline.Resolver].
func (r *indexResolver) Resolve(ctx context.Context, w pipeline.PackageWish) (*pipeline.PackageChoice, error) {
	defer generously()()
	c := &indexCatalog{ctx: ctx, x: r.x, locked: map[string]string{}, size: -1, listed: map[string]*asked[listing]{}, named: map[string]*asked[lines]{}, slots: make(chan struct{}, 4*runtime.NumCPU())}
	held := map[string]pipeline.LockPackage{}
	if w.Held != nil {
		for _, p := range w.Held.Packages {
			held[p.Name], c.locked[p.Name] = p, p.Version
		}
	}
	out := &pipeline.PackageChoice{}
	if err := r.state(w.Held, c, out); err != nil {
		return nil, err
	}
	c.foresee(w.Ranges)
	chosen, err := resolve.Choose(ctx, c, resolve.Wish{
		Packages: w.Ranges, Locked: c.locked, AllowYanked: w.AllowYanked, AllowAdvisories: w.AllowAdvisories,
	})
	c.ahead.Wait()
	if err != nil {
		return nil, err
	}
	for _, v := range chosen {
		p, err := c.pin(v, held[v.Name])
		if err != nil {
			return nil, err
		}
		out.Packages = append(out.Packages, p)
		if v.Yanked || len(v.Advisories) > 0 {
			out.Withdrawn = append(out.Withdrawn, pipeline.Withdrawal{Name: v.Name, Version: v.Version, Yanked: v.Yanked, Advisories: v.Advisories})
		}
	}
	return out, nil
}

// state says at which state of the index to choose: that of the lock that is
// held, else the present one.
func (r *indexResolver) state(held *pipeline.Lock, c *indexCatalog, out *pipeline.PackageChoice) error {
	head := r.x.Head()
	if head == nil {
		return nil
	}
	out.Registry = &pipeline.LockRegistry{Origin: head.Origin, Size: head.Size}
	if held == nil || held.Registry == nil {
		return nil
	}
	if held.Registry.Origin != head.Origin {
		return fault.New(fault.LockDrift, "%s was made with log %s, index %s is in log %s", pipeline.LockFile, held.Registry.Origin, r.x.Location, head.Origin).
			WithHint("name a copy of that index with --index, or run rebuild lock --update")
	}
	if held.Registry.Size > head.Size {
		return fault.New(fault.Rollback, "%s was made at size %d of log %s, index %s is at size %d", pipeline.LockFile, held.Registry.Size, head.Origin, r.x.Location, head.Size).
			WithHint("name a copy of the index that is not behind with --index")
	}
	c.size = held.Registry.Size
	*out.Registry = *held.Registry
	return nil
}

// indexCatalog gives out what an index has, of metadata only what was verified.
// It looks ahead: packages are verified side by side before they are asked for.
type indexCatalog struct {
	ctx    context.Context
	x      *opened
	locked map[string]string
	size   int64 // of the log, from where on entries are passed over; -1: none

	slots  chan struct{}
	ahead  sync.WaitGroup
	mu     sync.Mutex
	named  map[string]*asked[lines]   // by name
	listed map[string]*asked[listing] // by NAME@VERSION
}

// asked is an answer, once done is closed.
type asked[T any] struct {
	done   chan struct{}
	answer T
}

// askOnce returns what is known under a key of all. The first who asks finds it
// out, in a slot of the catalog, and the others wait for it.
func askOnce[T any](c *indexCatalog, all map[string]*asked[T], key string, find func() T) *T {
	c.mu.Lock()
	a, known := all[key]
	if !known {
		a = &asked[T]{done: make(chan struct{})}
		all[key] = a
	}
	c.mu.Unlock()
	if known {
		<-a.done
		return &a.answer
	}
	defer close(a.done)
	c.slots <- struct{}{}
	defer func() { <-c.slots }()
	a.answer = find()
	return &a.answer
}

// lines are the entries of a package.
type lines struct {
	entries []*index.Entry
	err     error
}

// listing is a version that was verified.
type listing struct {
	*index.Listing
	err error
}

// Versions implements [resolve.Catalog].
func (c *indexCatalog) Versions(_ context.Context, name string) ([]resolve.Candidate, error) {
	l := c.lines(name)
	if fault.CodeOf(l.err) == fault.IndexNoMatch {
		return nil, fs.ErrNotExist
	}
	var out []resolve.Candidate
	for _, e := range l.entries {
		out = append(out, resolve.Candidate{Version: e.Version, Yanked: e.Yanked, Advisories: e.Advisories})
	}
	return out, l.err
}

// lines returns the entries of a package that count, in one request for all who
// ask.
func (c *indexCatalog) lines(name string) *lines {
	return askOnce(c, c.named, name, func() (l lines) {
		all, err := c.x.Entries(c.ctx, name)
		l.err = err
		for _, e := range all {
			if c.size < 0 || e.Seq == nil || *e.Seq < c.size || e.Version == c.locked[name] {
				l.entries = append(l.entries, e)
			}
		}
		return l
	})
}

// Depends implements [resolve.Catalog].
func (c *indexCatalog) Depends(_ context.Context, name, version string) (map[string]string, error) {
	l, err := c.list(name, version)
	if err != nil {
		return nil, err
	}
	return l.Document.Depends, nil
}

func (c *indexCatalog) list(name, version string) (*index.Listing, error) {
	entries := c.lines(name).entries
	at := slices.IndexFunc(entries, func(e *index.Entry) bool { return e.Version == version })
	if at < 0 {
		return nil, fault.New(fault.IndexNoMatch, "%s@%s is not in the index", name, version).
			WithHint("name another version, or look which there are: rebuild index show INDEX NAME")
	}
	l := c.listing(entries[at])
	return l.Listing, l.err
}

func (c *indexCatalog) listing(e *index.Entry) *listing {
	id := e.Name + "@" + e.Version
	return askOnce(c, c.listed, id, func() (l listing) {
		l.Listing, l.err = c.x.List(c.ctx, e)
		if l.err == nil && l.Content == nil {
			l.err = fault.New(fault.QuorumPending, "%s has no release, so nobody has voted for it", id).
				WithHint("ask its publisher for a release that rebuilders have agreed on")
		}
		return l
	})
}

// maxAhead bounds what is verified before it is asked for.
const maxAhead = 20_000

// foresee starts to verify what will probably be chosen: of each package the
// locked version or the highest. What goes wrong is only told when it is chosen.
func (c *indexCatalog) foresee(ranges map[string]string) {
	for name := range ranges {
		c.mu.Lock()
		known := c.named[name] != nil || len(c.named) >= maxAhead
		c.mu.Unlock()
		if known {
			continue
		}
		c.ahead.Add(1)
		go func() {
			defer c.ahead.Done()
			if e := c.probable(name, ranges[name]); e != nil && c.ctx.Err() == nil {
				if l := c.listing(e); l.err == nil {
					c.foresee(l.Document.Depends)
				}
			}
		}()
	}
}

func (c *indexCatalog) probable(name, text string) *index.Entry {
	in, err := names.ParseRange(text)
	if err != nil || names.Package(name) != nil {
		return nil
	}
	var best *index.Entry
	for _, e := range c.lines(name).entries {
		switch {
		case e.Version == c.locked[name]:
			return e
		case e.Yanked || len(e.Advisories) > 0 || !in.Has(e.Version):
		case best == nil || names.CompareVersions(e.Version, best.Version) > 0:
			best = e
		}
	}
	return best
}

// pin writes down a chosen version. What was said of it when it was locked
// stays.
func (c *indexCatalog) pin(v resolve.Choice, held pipeline.LockPackage) (pipeline.LockPackage, error) {
	l, err := c.list(v.Name, v.Version)
	if err != nil {
		return pipeline.LockPackage{}, err
	}
	p := pipeline.LockPackage{
		Name: v.Name, Version: v.Version, Cksum: l.Entry.Cksum, Release: l.Entry.Release, OCI: l.Content.OCIIndex,
		Snapshot: l.Content.Snapshot, Owners: slices.Sorted(slices.Values(l.Content.Owners)), Operators: counted(l.Verdicts), Yanked: v.Yanked,
	}
	if held.Version == v.Version {
		p.Yanked = held.Yanked
	}
	return p, nil
}

// counted returns the operators whose votes count in any build, sorted.
func counted(all []*attest.Verdict) []string {
	found := map[string]bool{}
	for _, v := range all {
		for _, o := range v.Operators() {
			if o.Counted {
				found[o.Operator] = true
			}
		}
	}
	return append([]string{}, slices.Sorted(maps.Keys(found))...)
}

// pinsFrom is the index that a release pins from. The one that it is published
// in may not be there yet.
func (o *releaseOptions) pinsFrom() string {
	if o.pinFrom != "" {
		return o.pinFrom
	}
	if missing, err := noIndex(o.index); o.index != "" && err == nil && !missing {
		return o.index
	}
	return ""
}

// pins returns what a release pins of the packages that it needs: of each the
// version that would be chosen for it now.
func (a *app) pins(ctx context.Context, location string, policy *attest.Policy, doc attest.PackageDocument) ([]attest.Dependency, error) {
	if len(doc.Depends) == 0 {
		return nil, nil
	}
	if location == "" {
		a.note("no index: what %s %s needs is not pinned (%s)", doc.Name, doc.Version, strings.Join(slices.Sorted(maps.Keys(doc.Depends)), ", "))
		return nil, nil
	}
	x, err := a.openIndex(ctx, location, policy, opening{})
	if err != nil {
		return nil, err
	}
	chosen, err := (&indexResolver{a, x}).Resolve(ctx, pipeline.PackageWish{Ranges: doc.Depends})
	if err != nil {
		return nil, err
	}
	var out []attest.Dependency
	for _, p := range chosen.Packages {
		if _, direct := doc.Depends[p.Name]; direct {
			out = append(out, attest.Dependency{Name: p.Name, Version: p.Version, Snapshot: p.Snapshot})
		}
	}
	return out, x.Commit()
}
