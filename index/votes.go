package index

import (
	"context"
	"slices"
	"sync"

	"rebuild/attest"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// gathered is a release's bundle, and the whole chains of its plans, which a
// bundle has only up to the release.
type gathered struct {
	*attest.Bundle
	release *attest.Release
	chains  []planChain // of a logged release, as its builds
}

// planChain is a plan's chain as of a state of the index.
type planChain struct {
	at      *snapshot
	leaves  []pastLeaf
	raw     []byte // their lines
	release int    // the leaf of the release
}

// gather reads a release and its evidence.
func (r *Reader) gather(ctx context.Context, e *Entry) (*gathered, error) {
	if e.Release == "" {
		return nil, fault.New(fault.QuorumPending, "%s@%s has no release, so nobody has voted for it", e.Name, e.Version).
			WithHint("ask its publisher for a release that rebuilders have agreed on; its line alone is checked by: rebuild pkg verify %s --entry-only", e.Name)
	}
	raw, envelope, err := r.statement(ctx, e.Release)
	if err != nil {
		return nil, err
	}
	release, err := r.readRelease(envelope)
	if err != nil {
		return nil, err
	}
	if err := e.checkRelease(e.Release, &release); err != nil {
		return nil, err
	}
	if err := r.checkPlace(e, &release); err != nil {
		return nil, err
	}
	g := &gathered{Bundle: &attest.Bundle{Release: raw}, release: &release}
	for i := range release.Builds {
		if err := r.gatherBuild(ctx, g, e.Release, &release, &release.Builds[i]); err != nil {
			return nil, err
		}
	}
	if release.Lock != "" {
		if g.Lock, err = r.Object(ctx, release.Lock, document.Lock.MaxBytes); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// checkPlace wants the line of a logged release to say where in the log it is:
// one from before the log has no place, and no chain that its flags must fit.
func (r *Reader) checkPlace(e *Entry, release *attest.Release) error {
	if r.log == nil || release.LogOrigin == "" || e.Seq != nil {
		return nil
	}
	return fault.New(fault.EvidenceMismatch, "the release of %s@%s is in log %s, and its line says no place in it", e.Name, e.Version, release.LogOrigin).
		WithHint("name another copy of the index with --index, and tell who runs this one")
}

// readRelease reads a release by the policy's signers, without a policy by its
// owners.
func (r *Reader) readRelease(envelope *attest.Envelope) (attest.Release, error) {
	if r.in.Policy == nil {
		return attest.ReadOwned(envelope)
	}
	return attest.ReadRelease(r.in.Policy, envelope)
}

func (r *Reader) gatherBuild(ctx context.Context, g *gathered, d store.Digest, release *attest.Release, build *attest.ReleaseBuild) error {
	plan, err := r.ofPlan(build.Plan, build.Plan, func() ([]byte, error) { return r.Object(ctx, build.Plan, document.Plan.MaxBytes) })
	if err != nil {
		return err
	}
	ev := attest.BuildEvidence{Plan: plan}
	statements := build.Statements
	if r.log != nil && release.LogOrigin != "" {
		c, err := r.planChain(ctx, build.Plan, d, &ev)
		if err != nil {
			return err
		}
		g.chains = append(g.chains, *c)
		statements = c.statements(0, c.release+1, statements)
	}
	if ev.Statements, err = r.statements(ctx, build.Plan, statements); err != nil {
		return err
	}
	g.Builds = append(g.Builds, ev)
	if release.OCIIndex == "" {
		return nil
	}
	for _, t := range build.Targets {
		manifest, err := r.Object(ctx, t.Manifest, maxManifest)
		if err != nil {
			return err
		}
		g.Objects = append(g.Objects, manifest)
	}
	return nil
}

const maxManifest = 4 << 20

// statements returns those about a plan.
func (r *Reader) statements(ctx context.Context, plan store.Digest, all []store.Digest) ([][]byte, error) {
	var out [][]byte
	for _, d := range all {
		raw, err := r.ofPlan(plan, d, func() ([]byte, error) {
			raw, _, err := r.statement(ctx, d)
			return raw, err
		})
		if err != nil {
			return nil, err
		}
		out = append(out, raw)
	}
	return out, nil
}

// plan is the chain of a plan, and what was read about it, once for all releases
// of it.
type plan struct {
	mu     sync.Mutex
	at     *snapshot // the state that it was read in; nil before
	leaves []pastLeaf
	raw    []byte
	files  map[store.Digest][]byte // the plan and its statements; under logged.mu
}

// maxPlanBytes is how much is kept of the plans of a log.
const maxPlanBytes = 16 << 20

// ofPlan returns a file about a plan of a logged index that was read before, and
// what read returns otherwise.
func (r *Reader) ofPlan(plan, d store.Digest, read func() ([]byte, error)) ([]byte, error) {
	if r.log == nil {
		return read()
	}
	p := r.log.plan(plan)
	r.log.mu.Lock()
	data := p.files[d]
	r.log.mu.Unlock()
	if data != nil {
		return data, nil
	}
	data, err := read()
	if err != nil {
		return nil, err
	}
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	if r.log.planBytes+len(data) <= maxPlanBytes {
		r.log.planBytes += len(data)
		set(&p.files, d, data)
	}
	return data, nil
}

func (l *logged) plan(d store.Digest) *plan {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.plans[d] == nil {
		if l.plans == nil {
			l.plans = map[store.Digest]*plan{}
		}
		l.plans[d] = &plan{}
	}
	return l.plans[d]
}

// readPlan returns the chain of a plan as of a state.
func (r *Reader) readPlan(ctx context.Context, s *snapshot, d store.Digest, fresh bool) (leaves []pastLeaf, raw []byte, err error) {
	p := r.log.plan(d)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.at == s && !fresh {
		return p.leaves, p.raw, nil
	}
	if leaves, err = r.readChainFile(ctx, s, string(d), fresh); err != nil {
		return nil, nil, err
	}
	for i := range leaves {
		raw = append(append(raw, leaves[i].raw...), '\n')
	}
	p.at, p.leaves, p.raw = s, leaves, raw
	return leaves, raw, r.openWhole(ctx, s, d, p)
}

// openWhole has the policy see the whole chain, whose beginnings are then not
// verified again for each release. What is wrong with it behind a release is
// not for that release to fail by, so only what keeps it from being read is an
// error.
func (r *Reader) openWhole(ctx context.Context, s *snapshot, d store.Digest, p *plan) error {
	if r.in.Policy == nil || len(p.leaves) == 0 {
		return nil
	}
	last := &p.leaves[len(p.leaves)-1]
	proof, err := r.proof(ctx, s, &last.Event, last.raw)
	if err == nil {
		_, _ = attest.OpenChain(r.in.Policy, d, p.raw, proof)
	}
	return err
}

// planChain reads the chain of a plan and fills in the events through the
// release's leaf, with the proof of it.
func (r *Reader) planChain(ctx context.Context, plan, release store.Digest, ev *attest.BuildEvidence) (*planChain, error) {
	var c *planChain
	err := r.settled(ctx, func(s *snapshot, fresh bool) error {
		leaves, raw, err := r.readPlan(ctx, s, plan, fresh)
		if err != nil {
			return err
		}
		at, end := 0, 0
		for ; at < len(leaves); at++ {
			end += len(leaves[at].raw) + 1
			if leaves[at].Type == attest.EventRelease && leaves[at].Object == release {
				break
			}
		}
		if at == len(leaves) {
			return notInView("the chain of plan %s as served does not have release %s", plan, release)
		}
		c = &planChain{s, leaves, raw, at}
		ev.Events = raw[:end:end]
		ev.Proof, err = r.proof(ctx, s, &leaves[at].Event, leaves[at].raw)
		return err
	})
	return c, err
}

// statements returns those of some leaves, behind others that are not repeated.
func (c *planChain) statements(from, to int, out []store.Digest) []store.Digest {
	out = slices.Clone(out)
	for i := range c.leaves[from:to] {
		l := &c.leaves[from+i]
		if l.Type == attest.EventStatement && !slices.Contains(out, l.Object) {
			out = append(out, l.Object)
		}
	}
	return out
}

// laterVotes judges the builds of a release again with what was logged after
// it, which a bundle can not show: a dissent from then blocks too.
func (r *Reader) laterVotes(ctx context.Context, release *attest.Release, g *gathered) error {
	for i, c := range g.chains {
		later := c.statements(c.release+1, len(c.leaves), nil)
		if len(later) == 0 {
			continue
		}
		more, err := r.statements(ctx, store.DigestOf(g.Builds[i].Plan), later)
		if err != nil {
			return err
		}
		last := &c.leaves[len(c.leaves)-1]
		proof, err := r.proof(ctx, c.at, &last.Event, last.raw)
		if err != nil {
			return err
		}
		all := attest.BuildEvidence{Plan: g.Builds[i].Plan, Statements: slices.Concat(g.Builds[i].Statements, more), Events: c.raw, Proof: proof}
		if err := r.judge(&all, release); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reader) judge(ev *attest.BuildEvidence, release *attest.Release) error {
	chain, err := ev.Chain(r.in.Policy)
	if err != nil {
		return err
	}
	plan, err := attest.DecodePlan("plan "+string(store.DigestOf(ev.Plan)), ev.Plan)
	if err != nil {
		return err
	}
	v, err := attest.Judge(r.in.Policy, plan, ev.Statements, chain, release.Waivers, r.in.Now)
	if err != nil {
		return err
	}
	return v.Err()
}

// owned is a release as its owners signed it.
type owned struct {
	*attest.Release
	envelope *attest.Envelope
}

// release reads a release that the index names, by its owners' signatures
// alone: for who owns it, not for what it is worth.
func (r *Reader) release(ctx context.Context, d store.Digest) (*owned, error) {
	_, envelope, err := r.statement(ctx, d)
	if err != nil {
		return nil, err
	}
	release, err := attest.ReadOwned(envelope)
	return &owned{&release, envelope}, err
}

// checkOwners wants the owners of a verified release to be those that the state
// remembers, or their successors: each change between the two, in the order of
// publication, is signed by all who owned the package before it. Otherwise it
// is OWNER_CHANGED.
func (r *Reader) checkOwners(ctx context.Context, e *Entry, release *attest.Release) error {
	if r.in.State == nil {
		return nil
	}
	now := keyTexts(release.OwnerKeys())
	known := keyTexts(r.in.State.owners(e.Name))
	if known == nil {
		r.in.State.setOwners(e.Name, release.OwnerKeys())
		return nil
	}
	if slices.Equal(now, known) {
		return nil
	}
	past, at, err := r.releases(ctx, e)
	if err != nil {
		return err
	}
	for i, p := range past {
		if slices.Equal(keyTexts(p.OwnerKeys()), known) && consented(past[min(i, at):max(i, at)+1]) {
			if i < at {
				r.in.State.setOwners(e.Name, release.OwnerKeys())
			}
			return nil
		}
	}
	return fault.New(fault.OwnerChanged, "%s@%s is owned by %v, %s was owned by %v when it was seen before, who have not signed the change",
		e.Name, e.Version, now, e.Name, known).
		WithHint("ask the owners known before; if the change is right, use a new state with --state DIR").
		With("owners", now).With("seen", known)
}

// checkUnowned refuses an entry without a release of a package that has owners,
// unless it was published before the first release.
func (r *Reader) checkUnowned(ctx context.Context, e *Entry) error {
	entries, err := r.Entries(ctx, e.Name)
	if err != nil {
		return err
	}
	owned := false
	for _, other := range entries {
		owned = owned || other.Release != ""
		if other.Version == e.Version {
			break
		}
	}
	remembered := r.in.State != nil && r.in.State.owners(e.Name) != nil && !slices.ContainsFunc(entries, func(o *Entry) bool { return o.Release != "" })
	if owned || remembered {
		return fault.New(fault.OwnerChanged, "%s has owners, and none of them has signed version %s: it has no release", e.Name, e.Version).
			WithHint("name a version that has a release")
	}
	return nil
}

// releases returns those of a package in the order of publication, and which
// of them the entry's is.
func (r *Reader) releases(ctx context.Context, e *Entry) (past []*owned, at int, err error) {
	entries, err := r.Entries(ctx, e.Name)
	if err != nil {
		return nil, 0, err
	}
	for _, other := range entries {
		if other.Release == "" {
			continue
		}
		o, err := r.release(ctx, other.Release)
		if err != nil {
			return nil, 0, err
		}
		if other.Release == e.Release {
			at = len(past)
		}
		past = append(past, o)
	}
	return past, at, nil
}

// consented says whether each release was signed by all owners of the one
// before it.
func consented(past []*owned) bool {
	for i := 1; i < len(past); i++ {
		old := past[i-1].OwnerKeys()
		signed, _ := past[i].envelope.SignedBy(old) // nobody, if one of the signatures is wrong
		if len(signed) < len(old) {
			return false
		}
	}
	return true
}
