// Package resolve chooses one version of each package that is needed, from
// ranges of versions. It is pure: the same catalog and the same wishes give the
// same choice, in whatever order they are given.
//
// Call [Choose]. The answer is the first that a simple search finds: it decides
// the names that are wanted so far in alphabetical order, for each tries the
// version that is locked, then the others from the highest down, and goes back
// where that leads nowhere. A search that goes back straight to the decision to
// blame finds the same answer, sooner; that is what Choose does.
//
// Nothing is trusted but the [Catalog]: what it gives out must be verified.
package resolve

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"

	"rebuild/internal/fault"
	"rebuild/internal/names"
)

// Limits of one choice. A catalog that others write must not make it endless.
const (
	MaxDepth    = 32        // packages on one chain of needs
	MaxPackages = 20_000    // names that are looked at
	MaxSteps    = 4_000_000 // versions tried, and ranges that each was held against
)

// Candidate is a version that a catalog has.
type Candidate struct {
	Version    string
	Yanked     bool
	Advisories []string
}

// Catalog says which versions of a package there are, and what each needs.
// Each is asked at most once for one name or one version.
type Catalog interface {
	// Versions returns all versions of a package in any order. A name that the
	// catalog does not have is fs.ErrNotExist.
	Versions(ctx context.Context, name string) ([]Candidate, error)
	// Depends returns the ranges that a version needs, by name. QUORUM_PENDING
	// says that the version can't be used for want of votes: it is passed over.
	// Any other error ends the choice.
	Depends(ctx context.Context, name, version string) (map[string]string, error)
}

// Wish is what to choose for.
type Wish struct {
	Packages map[string]string // range, by name
	// Locked are versions that were chosen before. They are tried first, and
	// may be yanked or have advisories.
	Locked          map[string]string
	AllowYanked     bool
	AllowAdvisories bool
}

// Choice is the chosen version of a package.
type Choice struct {
	Name    string
	Version string
	Depends []string // names, sorted
	Candidate
}

// Choose returns the chosen versions, sorted by name.
//
// DEP_MISSING is a name that the catalog does not have, or ranges that no
// version satisfies together, each with the chain of those who want it;
// YANKED_DEP and ADVISED_DEP say that only yanked or advised versions would do;
// CYCLE and DEPTH name the chain. SEMANTIC is a choice that is not found in
// 4,000,000 steps or among 20,000 packages, STRUCTURE a malformed name or range.
func Choose(ctx context.Context, c Catalog, w Wish) ([]Choice, error) {
	s := &search{ctx: ctx, catalog: c, wish: w, packages: map[string]*node{}, ranges: map[string]names.Range{}}
	if err := s.demand(&root, w.Packages); err != nil {
		return nil, err
	}
	if err := s.run(); err != nil {
		return nil, err
	}
	return s.chosen()
}

// root is who wants what the caller wishes.
var root = decision{level: -1}

// decision is a name with a version that is being tried.
type decision struct {
	node  *node
	level int          // of the search; the root's is -1
	next  int          // index into node.candidates of what to try after this
	blame map[int]bool // levels; few, however deep the search is
	asked []need       // what the version at hand needs
}

// need is one range that a version wants of a package.
type need struct {
	of   *node
	in   names.Range
	from *decision
}

// node is a package that was met.
type node struct {
	name       string
	known      bool        // candidates are loaded
	missing    bool        // the catalog does not have it
	candidates []candidate // in the order to try
	withheld   []Candidate // yanked or advised
	wants      []need      // by decisions that stand, in their order
	decided    *decision
}

type candidate struct {
	Candidate
	loaded  bool
	pending error // it has no quorum
	needs   []need
}

type search struct {
	ctx      context.Context
	catalog  Catalog
	wish     Wish
	packages map[string]*node
	ranges   map[string]names.Range
	stack    []*decision
	open     []*node // wanted and undecided, sorted by name
	steps    int
	first    error // why the search went back for the first time
}

func (s *search) node(name string) (*node, error) {
	if n := s.packages[name]; n != nil {
		return n, nil
	}
	if err := names.Package(name); err != nil {
		return nil, err
	}
	if len(s.packages) == MaxPackages {
		return nil, fault.New(fault.Semantic, "more than %d packages are needed", MaxPackages)
	}
	n := &node{name: name}
	s.packages[name] = n
	return n, nil
}

// parse reads a range once: packages of one house write the same ones.
func (s *search) parse(text string) (names.Range, error) {
	if r, ok := s.ranges[text]; ok {
		return r, nil
	}
	r, err := names.ParseRange(text)
	if err == nil {
		s.ranges[text] = r
	}
	return r, err
}

// demand adds what the caller wishes.
func (s *search) demand(from *decision, ranges map[string]string) error {
	needs, err := s.needs(ranges)
	if err != nil {
		return err
	}
	for _, n := range needs {
		s.want(n, from)
	}
	return nil
}

// needs reads ranges, sorted by name.
func (s *search) needs(ranges map[string]string) ([]need, error) {
	var out []need
	for _, name := range slices.Sorted(maps.Keys(ranges)) {
		n, err := s.node(name)
		if err != nil {
			return nil, err
		}
		r, err := s.parse(ranges[name])
		if err != nil {
			return nil, err
		}
		out = append(out, need{of: n, in: r})
	}
	return out, nil
}

func (s *search) want(n need, from *decision) {
	n.from = from
	if len(n.of.wants) == 0 {
		at, _ := slices.BinarySearchFunc(s.open, n.of.name, byName)
		s.open = slices.Insert(s.open, at, n.of)
	}
	n.of.wants = append(n.of.wants, n)
}

func byName(n *node, name string) int { return cmp.Compare(n.name, name) }

// unwant takes back the last want of a package.
func (s *search) unwant(n *node) {
	n.wants = n.wants[:len(n.wants)-1]
	if len(n.wants) == 0 && n.decided == nil {
		if at, ok := slices.BinarySearchFunc(s.open, n.name, byName); ok {
			s.open = slices.Delete(s.open, at, at+1)
		}
	}
}

// run decides one name after the other until none is open.
func (s *search) run() error {
	for len(s.open) > 0 {
		n := s.open[0]
		if err := s.load(n); err != nil {
			return err
		}
		s.open = s.open[1:]
		d := &decision{node: n, level: len(s.stack), blame: map[int]bool{}}
		n.decided = d
		s.stack = append(s.stack, d)
		for {
			found, err := s.try(d)
			if err != nil {
				return err
			}
			if found {
				break
			}
			if d = s.back(d); d == nil {
				return s.first
			}
		}
	}
	return nil
}

// load asks the catalog for a package.
func (s *search) load(n *node) error {
	if n.known {
		return nil
	}
	all, err := s.catalog.Versions(s.ctx, n.name)
	if errors.Is(err, fs.ErrNotExist) {
		n.known, n.missing = true, true
		return nil
	}
	if err != nil {
		return err
	}
	for _, c := range all {
		if err := names.Version(c.Version); err != nil {
			return err
		}
		if locked := s.wish.Locked[n.name] == c.Version; !locked && s.withheld(c) {
			n.withheld = append(n.withheld, c)
			continue
		}
		n.candidates = append(n.candidates, candidate{Candidate: c})
	}
	slices.SortFunc(n.candidates, func(a, b candidate) int { return s.order(n.name, a.Candidate, b.Candidate) })
	slices.SortFunc(n.withheld, func(a, b Candidate) int { return s.order(n.name, a, b) })
	n.known = true
	return nil
}

func (s *search) withheld(c Candidate) bool {
	return c.Yanked && !s.wish.AllowYanked || len(c.Advisories) > 0 && !s.wish.AllowAdvisories
}

// order puts the locked version first, then higher ones. +build has no
// precedence, so its text settles what would otherwise depend on the catalog.
func (s *search) order(name string, a, b Candidate) int {
	if locked := s.wish.Locked[name]; a.Version != b.Version && locked != "" {
		if a.Version == locked {
			return -1
		}
		if b.Version == locked {
			return 1
		}
	}
	return cmp.Or(names.CompareVersions(b.Version, a.Version), cmp.Compare(b.Version, a.Version))
}

// try moves a decision to its next version that fits what stands. What kept
// the others out is noted as blame.
func (s *search) try(d *decision) (bool, error) {
	for d.next < len(d.node.candidates) {
		if s.steps++; s.steps > MaxSteps {
			return false, fault.New(fault.Semantic, "no choice of packages was found in %d steps", MaxSteps).
				WithHint("narrow the ranges in [packages]")
		}
		if err := s.ctx.Err(); err != nil {
			return false, err
		}
		c := &d.node.candidates[d.next]
		d.next++
		s.steps += len(d.node.wants)
		if from := d.node.refusing(c.Version); from != nil {
			d.blames(from)
			continue
		}
		if err := s.loadNeeds(d.node, c); err != nil {
			return false, err
		}
		if c.pending != nil {
			continue
		}
		if other := d.clash(c); other != nil {
			d.blames(other)
			if s.first == nil {
				s.first = s.clashError(d, c)
			}
			continue
		}
		d.asked = c.needs
		for _, n := range c.needs {
			s.want(n, d)
		}
		return true, nil
	}
	return false, nil
}

// refusing returns who wants a range that the version is not in.
func (n *node) refusing(version string) *decision {
	for _, w := range n.wants {
		if !w.in.Has(version) {
			return w.from
		}
	}
	return nil
}

func (s *search) loadNeeds(n *node, c *candidate) error {
	if c.loaded {
		return nil
	}
	ranges, err := s.catalog.Depends(s.ctx, n.name, c.Version)
	if fault.CodeOf(err) == fault.QuorumPending {
		c.loaded, c.pending = true, err
		return nil
	}
	if err != nil {
		return err
	}
	c.needs, err = s.needs(ranges)
	c.loaded = err == nil
	return err
}

// clash returns a standing decision for a version that the candidate does not
// want; the first of the search, so that going back goes far. A package that
// needs itself is left to the search for cycles.
func (d *decision) clash(c *candidate) *decision {
	var first *decision
	for _, n := range c.needs {
		with := n.of.decided
		if with == nil || with == d || n.in.Has(with.version()) {
			continue
		}
		if first == nil || with.level < first.level {
			first = with
		}
	}
	return first
}

func (d *decision) version() string { return d.node.candidates[d.next-1].Version }

// blames notes that d can't have a version while other stands.
func (d *decision) blames(other *decision) {
	if other.level >= 0 {
		d.blame[other.level] = true
	}
}

// back takes back the decisions down to the last one that is to blame for
// there being no version for d, and returns it with that version given up; nil
// if only the caller's wishes are to blame.
func (s *search) back(d *decision) *decision {
	if s.first == nil {
		s.first = s.deadEnd(d.node)
	}
	d.blames(d.node.wants[0].from) // without it the package would not be needed
	culprit := -1
	for level := range d.blame {
		culprit = max(culprit, level)
	}
	blame := d.blame
	for level := len(s.stack) - 1; level > culprit; level-- {
		s.undo(s.stack[level])
		s.reopen(s.stack[level])
		s.stack = s.stack[:level]
	}
	if culprit < 0 {
		return nil
	}
	c := s.stack[culprit]
	s.undo(c)
	for level := range blame {
		if level < culprit {
			c.blame[level] = true
		}
	}
	return c
}

// undo takes back what the version at hand wants.
func (s *search) undo(d *decision) {
	for _, n := range slices.Backward(d.asked) {
		s.unwant(n.of)
	}
	d.asked = nil
}

// reopen makes a decided package an open one again, if it is still wanted.
func (s *search) reopen(d *decision) {
	d.node.decided = nil
	if len(d.node.wants) > 0 {
		at, _ := slices.BinarySearchFunc(s.open, d.node.name, byName)
		s.open = slices.Insert(s.open, at, d.node)
	}
}

// chosen returns what was decided, once no chain of needs is a cycle or too
// long.
func (s *search) chosen() ([]Choice, error) {
	var out []Choice
	for _, d := range s.stack {
		c := Choice{Name: d.node.name, Version: d.version(), Candidate: d.node.candidates[d.next-1].Candidate}
		for _, n := range d.asked {
			c.Depends = append(c.Depends, n.of.name)
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(a, b Choice) int { return cmp.Compare(a.Name, b.Name) })
	needs := make(map[string][]string, len(out))
	for i := range out {
		needs[out[i].Name] = out[i].Depends
	}
	return out, CheckChains(needs, slices.Sorted(maps.Keys(s.wish.Packages)))
}
