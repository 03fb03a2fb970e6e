package pull

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"rebuild/attest"
	"rebuild/index"
	"rebuild/internal/fault"
	"rebuild/internal/names"
	"rebuild/resolve"
	"rebuild/store"
)

// maxPackages bounds one pull.
const maxPackages = resolve.MaxPackages

// Options say what to pull from and where to.
type Options struct {
	// Index reads through Cache, which keeps the archives.
	Index *index.Reader
	Cache *Cache
	// Output is the folder to make.
	Output string
	// Trees is where archives are taken apart if their content is wanted
	// instead of the archives, nil otherwise.
	Trees *store.Store
	// Bundles lays the evidence of each package beside its archive.
	Bundles bool
	Jobs    int // packages at one time; 0 is 16
	// Locked are the packages of a lock, which are then all that is pulled.
	Locked          []Pin
	AllowYanked     bool
	AllowAdvisories bool
	// Events is told how far it is, from several goroutines; nil discards it.
	Events func(Event)
}

// Pin is a package of a lock.
type Pin struct {
	Name     string
	Version  string
	Cksum    string
	Release  store.Digest
	Snapshot store.Digest
}

// Event is a step of one package.
type Event struct {
	Name  string // NAME@VERSION
	State string // the States
}

// The states of a package that is pulled.
const (
	Fetching = "fetching"
	Verified = "verified"
)

// Result is what was pulled, the package that was asked for first, the others
// by name.
type Result struct {
	Output   string     `json:"output"`
	Files    []string   `json:"files"`    // below Output
	Verified []Verifies `json:"verified"` // in the order of Files
	// Unpinned are needs, "A > B", for which the release of A pins no snapshot.
	Unpinned []string `json:"unpinned,omitempty"`
}

// Verifies is a package of which everything was verified.
type Verifies struct {
	Name     string       `json:"name"`
	Version  string       `json:"version"`
	Release  store.Digest `json:"release"`
	Snapshot store.Digest `json:"snapshot"`
	Cksum    string       `json:"cksum"`
	Yanked   bool         `json:"yanked,omitzero"`
}

// Pull verifies a package and everything that it needs and lays them out in
// o.Output. version "" is the highest that is not yanked.
//
// A package is needed in the version that the release of its dependent pins,
// and its release must have the snapshot that is pinned (PIN_MISMATCH). A need
// without a pin is met by the highest version in range. What the index does not
// have is INDEX_NO_MATCH for the package itself and DEP_MISSING for what it
// needs; CYCLE and DEPTH name the chain. Verification has its own codes.
//
// A pull that fails leaves nothing that is visible. An output that is there
// already is compared: equal, it stays; else the error is USAGE.
func Pull(ctx context.Context, o Options, name, version string) (*Result, error) {
	p := newPuller(o)
	err := p.walk(ctx, []want{{name: name, version: version}})
	if err != nil {
		return nil, err
	}
	primary := p.primary(name)
	if err := p.check([]string{name}); err != nil {
		return nil, err
	}
	return p.layOut(ctx, primary)
}

// PullLocked verifies and lays out exactly the packages of a lock, as [Pull]
// does. What one of them needs and is not among them is DEP_MISSING.
func PullLocked(ctx context.Context, o Options) (*Result, error) {
	p := newPuller(o)
	var wants []want
	for i := range o.Locked {
		l := &o.Locked[i]
		wants = append(wants, want{name: l.Name, version: l.Version, pin: l.Snapshot, locked: l, by: "rebuild.lock"})
	}
	if err := p.walk(ctx, wants); err != nil {
		return nil, err
	}
	var all []string
	for _, l := range o.Locked {
		all = append(all, l.Name)
	}
	if err := p.check(all); err != nil {
		return nil, err
	}
	return p.layOut(ctx, nil)
}

// want is a package that somebody needs.
type want struct {
	name    string
	version string // "": the highest in the range, or of all
	in      *names.Range
	pin     store.Digest // "": none
	by      string       // NAME@VERSION of who needs it; "": the caller
	chain   []string     // names from the one that the caller named to by
	locked  *Pin
}

// through words the chain of those who need it, for errors.
func (w *want) through() string {
	above := w.chain[:max(0, len(w.chain)-1)]
	return strings.Join(append(slices.Clone(above), w.by), " > ")
}

// whole is the chain with what is wanted at its end.
func (w *want) whole() []string { return append(slices.Clone(w.chain), w.name) }

// got is a package that was verified.
type got struct {
	entry   *index.Entry
	release attest.Release
	depends map[string]string // ranges
}

func (g *got) id() string { return g.entry.Name + "@" + g.entry.Version }

// puller is one pull. mu guards what follows it.
type puller struct {
	o      Options
	locked map[string]*Pin
	slots  chan struct{}

	mu       sync.Mutex
	all      map[string]*task // by NAME@VERSION
	needs    map[string]map[string]bool
	unpinned []string
	failures []failure
	running  sync.WaitGroup
}

// task is a package being verified; got is set when done is closed, unless it
// failed.
type task struct {
	done chan struct{}
	got  *got
}

// failure is why a package is not there. Of several the first by name is
// reported, so that the same pull fails the same way.
type failure struct {
	of  string
	err error
}

func newPuller(o Options) *puller {
	if o.Jobs <= 0 {
		o.Jobs = 16
	}
	p := &puller{o: o, all: map[string]*task{}, needs: map[string]map[string]bool{}, slots: make(chan struct{}, o.Jobs)}
	if o.Locked != nil {
		p.locked = map[string]*Pin{}
		for i := range o.Locked {
			p.locked[o.Locked[i].Name] = &o.Locked[i]
		}
	}
	return p
}

// walk verifies what is wanted and all that it needs, side by side. Every
// goroutine that it starts has ended when it returns.
func (p *puller) walk(ctx context.Context, wants []want) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for _, w := range wants {
		p.start(ctx, cancel, w)
	}
	p.running.Wait()
	if len(p.failures) == 0 {
		return ctx.Err()
	}
	slices.SortFunc(p.failures, func(a, b failure) int {
		return cmp.Or(cmp.Compare(rank(a.err), rank(b.err)), strings.Compare(a.of, b.of))
	})
	return p.failures[0].err
}

// rank puts what failed only because something else did behind it.
func rank(err error) int {
	if errors.Is(err, context.Canceled) {
		return 1
	}
	return 0
}

func (p *puller) start(ctx context.Context, cancel context.CancelCauseFunc, w want) {
	p.running.Add(1)
	go func() {
		defer p.running.Done()
		if err := p.meet(ctx, cancel, w); err != nil {
			p.mu.Lock()
			p.failures = append(p.failures, failure{w.by + " " + w.name, err})
			p.mu.Unlock()
			cancel(err)
		}
	}()
}

// meet gets what is wanted, holds it against the pin, and starts on what it
// needs.
func (p *puller) meet(ctx context.Context, cancel context.CancelCauseFunc, w want) error {
	if len(w.chain) >= resolve.MaxDepth {
		return resolve.TooDeep(w.whole())
	}
	e, err := p.find(ctx, w)
	if err != nil {
		return err
	}
	t, mine := p.claim(e)
	if t == nil {
		return fault.New(fault.Semantic, "more than %d packages are needed", maxPackages)
	}
	if mine {
		g, err := p.verify(ctx, e)
		if err != nil {
			close(t.done)
			return err
		}
		t.got = g
		close(t.done)
		if err := p.follow(ctx, cancel, g, w.chain); err != nil {
			return err
		}
	}
	select {
	case <-t.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	if t.got == nil {
		return context.Canceled // whoever verified it says why
	}
	return w.holds(t.got)
}

// claim says whose task an entry is.
func (p *puller) claim(e *index.Entry) (t *task, mine bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := e.Name + "@" + e.Version
	if t = p.all[id]; t != nil {
		return t, false
	}
	if len(p.all) == maxPackages {
		return nil, false
	}
	t = &task{done: make(chan struct{})}
	p.all[id] = t
	return t, true
}

// find returns the entry that is wanted.
func (p *puller) find(ctx context.Context, w want) (*index.Entry, error) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	e, err := p.lookup(ctx, w)
	if fault.CodeOf(err) == fault.IndexNoMatch && w.by != "" {
		return nil, fault.New(fault.DepMissing, "package %s, which %s needs, is not in the index: %w", w.reference(), w.through(), err).
			With("package", w.name).With("chain", w.whole()).
			WithHint("ask who runs the index for %s", w.name)
	}
	if err != nil {
		return nil, err
	}
	return e, p.allowed(w, e)
}

func (w *want) reference() string {
	if w.version == "" {
		return w.name
	}
	return w.name + "@" + w.version
}

func (p *puller) lookup(ctx context.Context, w want) (*index.Entry, error) {
	if w.in == nil {
		return p.o.Index.Lookup(ctx, w.name, w.version)
	}
	entries, err := p.o.Index.Entries(ctx, w.name)
	if err != nil {
		return nil, err
	}
	var best *index.Entry
	for _, e := range entries {
		if w.in.Has(e.Version) && (best == nil || p.better(e, best)) {
			best = e
		}
	}
	if best == nil {
		return nil, fault.New(fault.IndexNoMatch, "%s has no version in %q", w.name, w.in).
			WithHint("ask who publishes the package for a version in that range, or who needs it for another range")
	}
	return best, nil
}

// better prefers what may be taken, then the higher version.
func (p *puller) better(a, b *index.Entry) bool {
	if x, y := p.withheld(a) == nil, p.withheld(b) == nil; x != y {
		return x
	}
	return names.CompareVersions(a.Version, b.Version) > 0
}

func (p *puller) withheld(e *index.Entry) error {
	if e.Yanked && !p.o.AllowYanked {
		return resolve.Yanked(e.Name, e.Version, "a pull takes none that is")
	}
	if len(e.Advisories) > 0 && !p.o.AllowAdvisories {
		return resolve.Advised(e.Name, e.Version, e.Advisories, "a pull takes none that has any")
	}
	return nil
}

// allowed refuses a version that is withdrawn, unless the caller or a lock
// named it.
func (p *puller) allowed(w want, e *index.Entry) error {
	if w.locked != nil || w.by == "" && w.version != "" {
		return nil
	}
	return p.withheld(e)
}

// verify verifies everything about an entry, and has its archive kept.
func (p *puller) verify(ctx context.Context, e *index.Entry) (*got, error) {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	p.tell(e, Fetching)
	p.o.Cache.keep(store.Digest("sha256:" + e.Cksum))
	v, err := p.o.Index.VerifyEntry(ctx, e)
	if err != nil {
		return nil, about(e.Name+"@"+e.Version, err)
	}
	p.tell(e, Verified)
	return &got{e, v.Release().Release(), v.Document().Depends}, nil
}

// codeOf keeps an interruption one.
func codeOf(err error) fault.Code {
	if errors.Is(err, context.Canceled) {
		return fault.Interrupted
	}
	return fault.CodeOf(err)
}

// about says what an error is about, and keeps its code, hint and details.
func about(what string, err error) error {
	out := fault.New(codeOf(err), "%s: %w", what, err)
	if strings.HasPrefix(err.Error(), what) {
		out.Message = err.Error() // it says so itself
	}
	var from *fault.Error
	if errors.As(err, &from) {
		out.Hint, out.Details = from.Hint, from.Details
	}
	return out
}

func (p *puller) tell(e *index.Entry, state string) {
	if p.o.Events != nil {
		p.o.Events(Event{e.Name + "@" + e.Version, state})
	}
}

// holds compares what was got with the pin.
func (w *want) holds(g *got) error {
	if w.pin != "" && g.release.Snapshot != w.pin {
		return fault.New(fault.PinMismatch, "pinned snapshot mismatch for %s: dependent %s pinned %s, registry has %s",
			w.name, w.by, w.pin, g.release.Snapshot).With("package", w.name).With("dependent", w.by).With("chain", w.whole()).
			WithHint("ask the owners of %s to release it again, against the %s that is published", w.by, g.id())
	}
	if l := w.locked; l != nil && l.Cksum != g.entry.Cksum {
		return fault.New(fault.CksumMismatch, "rebuild.lock pins %s with cksum %s, registry has %s", g.id(), l.Cksum, g.entry.Cksum).
			WithHint("a published version never changes: use the index that the lock was made with")
	}
	if l := w.locked; l != nil && l.Release != g.entry.Release {
		return fault.New(fault.EvidenceMismatch, "rebuild.lock pins %s as release %s, registry has %s", g.id(), l.Release, g.entry.Release).
			WithHint("a published version never changes: use the index that the lock was made with")
	}
	return nil
}

// follow starts on what a verified package needs, which the packages above it
// need through it.
func (p *puller) follow(ctx context.Context, cancel context.CancelCauseFunc, g *got, above []string) error {
	chain := append(slices.Clone(above), g.entry.Name)
	pins := map[string]attest.Dependency{}
	for _, d := range g.release.Depends {
		pins[d.Name] = d
	}
	needed := slices.Collect(maps.Keys(g.depends))
	for name := range pins {
		if _, both := g.depends[name]; !both {
			needed = append(needed, name)
		}
	}
	slices.Sort(needed)
	for _, name := range needed {
		w := want{name: name, by: g.id(), chain: chain}
		if err := p.choose(&w, g, pins); err != nil {
			return err
		}
		p.note(g.entry.Name, name)
		p.start(ctx, cancel, w)
	}
	return nil
}

// choose says which version of a package is wanted.
func (p *puller) choose(w *want, g *got, pins map[string]attest.Dependency) error {
	var in *names.Range
	if text, ranged := g.depends[w.name]; ranged {
		r, err := names.ParseRange(text)
		if err != nil {
			return fault.New(fault.CodeOf(err), "%s needs %s: %w", g.id(), w.name, err)
		}
		in = &r
	}
	pin, pinned := pins[w.name]
	if p.locked != nil {
		return p.chooseLocked(w, in, pin)
	}
	if !pinned {
		w.in = in
		p.mu.Lock()
		p.unpinned = append(p.unpinned, g.id()+" > "+w.name)
		p.mu.Unlock()
		return nil
	}
	w.version, w.pin = pin.Version, pin.Snapshot
	if in != nil && !in.Has(pin.Version) {
		return fault.New(fault.PinMismatch, "%s needs %s %q, but its release pins %s", g.id(), w.name, in, pin.Version).
			WithHint("ask the owners of %s to release it again", g.id())
	}
	return nil
}

func (p *puller) chooseLocked(w *want, in *names.Range, pin attest.Dependency) error {
	l := p.locked[w.name]
	if l == nil || in != nil && !in.Has(l.Version) {
		return fault.New(fault.DepMissing, "package %s, which %s needs, is not in rebuild.lock in a version that would do", w.name, w.through()).
			With("package", w.name).With("chain", w.whole()).WithHint("run rebuild lock and review the change")
	}
	w.version, w.pin, w.locked = l.Version, l.Snapshot, l
	if names.CompareVersions(pin.Version, l.Version) == 0 {
		w.pin = pin.Snapshot
	}
	return nil
}

// note remembers who needs whom, by name.
func (p *puller) note(by, name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.needs[by] == nil {
		p.needs[by] = map[string]bool{}
	}
	p.needs[by][name] = true
}

// check refuses cycles and long chains, once everything is there. A package
// that needs another version of itself through others is a cycle too.
func (p *puller) check(from []string) error {
	needs := map[string][]string{}
	for by, set := range p.needs {
		needs[by] = slices.Sorted(maps.Keys(set))
	}
	return resolve.CheckChains(needs, from)
}

// primary returns the one package that the caller named.
func (p *puller) primary(name string) *got {
	for _, t := range p.all {
		if t.got.entry.Name == name {
			return t.got // no other version of it: that would be a cycle
		}
	}
	return nil
}

// sorted returns all packages, the primary first.
func (p *puller) sorted(primary *got) []*got {
	var out []*got
	for _, t := range p.all {
		out = append(out, t.got)
	}
	slices.SortFunc(out, func(a, b *got) int {
		return cmp.Or(boolCompare(b == primary, a == primary), cmp.Compare(a.entry.Name, b.entry.Name), names.CompareVersions(a.entry.Version, b.entry.Version))
	})
	return out
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// fileName returns what a package's files are called: NAME-VERSION, a scope
// joined with a dot.
func (g *got) fileName() string {
	return strings.TrimSuffix(attest.FileName(&g.release), ".rbundle")
}

func (g *got) digest() store.Digest { return store.Digest("sha256:" + g.entry.Cksum) }

var _ fmt.Stringer = (*Cache)(nil)
var _ index.Source = (*Cache)(nil)
