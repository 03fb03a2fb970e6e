package index

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"rebuild/attest"
	"rebuild/internal/fault"
	"rebuild/internal/names"
	"rebuild/store"
)

// Yank enters a yank statement: it logs it and sets yanked or the advisories
// of the version's line, and nothing else of any line. As many release signers
// as the policy needs and every owner of the version's release must have
// signed it; a version without a release has no owners.
//
// The statement must follow the last one about the version, or it is UNYANKED:
// an old one that is played again, or one that was made beside another. The
// last one again changes nothing.
func (x *Index) Yank(ctx context.Context, envelope []byte) (*Entry, error) {
	parsed, err := attest.ParseEnvelope("yank", envelope)
	if err != nil {
		return nil, err
	}
	if err := x.needPolicy(); err != nil {
		return nil, err
	}
	var entry *Entry
	err = x.turn(ctx, nil, func(t *turn) error {
		p, err := t.begin()
		if err != nil {
			return err
		}
		changed := false
		if entry, changed, err = p.yank(ctx, parsed); err != nil || !changed {
			return err
		}
		return p.commit(ctx)
	})
	if err != nil {
		return nil, err
	}
	return entry, nil
}

func (p *publication) yank(ctx context.Context, envelope *attest.Envelope) (*Entry, bool, error) {
	says, err := attest.ReadYank(envelope) // whose version it is, to find who must sign
	if err != nil {
		return nil, false, err
	}
	lines, entry, err := p.version(says.Name, says.Version)
	if err != nil {
		return nil, false, err
	}
	owners, err := p.t.x.ownersOf(entry)
	if err != nil {
		return nil, false, err
	}
	terms := attest.YankTerms{Owners: owners, Cksum: entry.Cksum, Time: p.at}
	if p.logged() {
		seq := p.next()
		terms.Seq = &seq
	}
	y, err := attest.OpenYank(p.t.x.in.Policy, envelope, terms)
	if err != nil {
		return nil, false, err
	}
	state, err := p.t.x.yanked(y.Name, y.Version)
	if err != nil {
		return nil, false, err
	}
	if state.Head == envelope.Digest() {
		return entry, false, nil
	}
	if state, err = state.Apply(y, envelope.Digest()); err != nil {
		return nil, false, err
	}
	entry.Yanked, entry.Advisories = state.Yanked, state.Advisories
	if len(entry.Advisories) == 0 {
		entry.Advisories = nil
	}
	p.content[statementPath(envelope.Digest())] = envelope.Bytes()
	if err := p.putLines(lines); err != nil || !p.logged() {
		return entry, true, err
	}
	_, err = p.log(ctx, attest.Event{Chain: packageChain + y.Name, Type: attest.EventYank, Object: envelope.Digest(), By: p.keyID()})
	return entry, true, err
}

// version returns the entry of a version in its line file.
func (p *publication) version(name, version string) (*lineFile, *Entry, error) {
	lines, err := p.lines(name)
	if err != nil {
		return nil, nil, err
	}
	entry, err := lines.find(version)
	if err == nil && entry == nil {
		err = fault.New(fault.IndexNoMatch, "%s@%s is not in the index %s", name, version, p.t.x.dir).
			WithHint("see what is there with: rebuild index show")
	}
	return lines, entry, err
}

// Yanked returns what the yank statements of a version come to, and the cksum
// of its archive, for who makes the next statement.
func (x *Index) Yanked(ctx context.Context, name, version string) (attest.Yanked, *Entry, error) {
	t, err := x.look(ctx)
	if err != nil {
		return attest.Yanked{}, nil, err
	}
	p, err := t.begin()
	if err != nil {
		return attest.Yanked{}, nil, err
	}
	_, entry, err := p.version(name, version)
	if err != nil {
		return attest.Yanked{}, nil, err
	}
	state, err := x.yanked(name, entry.Version)
	return state, entry, err
}

// yanked applies the yank statements of a version one after the other: in the
// order of their leaves, and without a log each behind the one that it names.
func (x *Index) yanked(name, version string) (attest.Yanked, error) {
	c, err := x.readChain(packageChain + name)
	if err != nil {
		return attest.Yanked{}, err
	}
	var payloads []store.Digest
	for _, e := range c.events {
		if e.Type == attest.EventYank {
			payloads = append(payloads, e.Object)
		}
	}
	config, err := x.config()
	if err != nil {
		return attest.Yanked{}, err
	}
	if config.Log == nil {
		return x.unloggedYanks(name, version)
	}
	var state attest.Yanked
	for _, d := range payloads {
		envelope, err := x.statement(d)
		if err != nil {
			return state, err
		}
		y, err := attest.ReadYank(envelope)
		if err != nil {
			return state, err
		}
		if names.CompareVersions(y.Version, version) != 0 {
			continue
		}
		if state, err = state.Apply(y, d); err != nil {
			return state, err
		}
	}
	return state, nil
}

// unloggedYanks applies the statements of a version that are there, each behind
// the one that it names.
func (x *Index) unloggedYanks(name, version string) (attest.Yanked, error) {
	_, state, err := x.yankStatements(name, version)
	return state, err
}

// yankStatements finds the statements of a version among all of them, in the
// order in which they follow each other, and what they come to.
func (x *Index) yankStatements(name, version string) ([]*attest.Envelope, attest.Yanked, error) {
	var state attest.Yanked
	held, err := fs.ReadDir(x.fsys, statementDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, state, writeFault(err) // to see none would be to say that nothing was yanked
	}
	next := map[store.Digest]attest.Yank{} // by what they follow
	by := map[store.Digest]*attest.Envelope{}
	for _, f := range held {
		hex, ok := strings.CutSuffix(f.Name(), attest.EnvelopeSuffix)
		d, err := store.ParseDigest("sha256:" + hex)
		if !ok || err != nil {
			continue
		}
		envelope, err := x.statement(d)
		if err != nil {
			return nil, state, err
		}
		if y, err := attest.ReadYank(envelope); err == nil && y.Name == name && names.CompareVersions(y.Version, version) == 0 {
			next[y.After], by[y.After] = y, envelope
		}
	}
	var all []*attest.Envelope
	for range len(next) {
		y, found := next[state.Head]
		if !found {
			break
		}
		envelope := by[state.Head]
		if state, err = state.Apply(y, envelope.Digest()); err != nil {
			return nil, state, err
		}
		all = append(all, envelope)
	}
	return all, state, nil
}

// logYanks enters the yank statements from before an index had a log: readers
// of a logged one take the flags of a line from nothing else.
func (p *publication) logYanks(ctx context.Context) error {
	all, err := packages(p.t.x.fsys)
	if err != nil {
		return writeFault(err)
	}
	for _, name := range slices.Sorted(slices.Values(all)) {
		lines, err := p.t.x.readLines(name)
		if err != nil {
			return err
		}
		for _, e := range lines.entries {
			if err := p.logYanksOf(ctx, e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *publication) logYanksOf(ctx context.Context, e *Entry) error {
	if !e.Yanked && len(e.Advisories) == 0 {
		return nil
	}
	all, state, err := p.t.x.yankStatements(e.Name, e.Version)
	if err != nil {
		return err
	}
	if e.Yanked != state.Yanked || !slices.Equal(e.Advisories, state.Advisories) {
		return fault.New(fault.Unyanked, "%s@%s says yanked %t, advisories %v; its statements come to %s, and a log has nothing else to say it by",
			e.Name, e.Version, e.Yanked, e.Advisories, state).WithHint("run: rebuild index fsck")
	}
	for _, envelope := range all {
		if err := p.checkOldYank(e, envelope); err != nil {
			return err
		}
		if _, err := p.log(ctx, attest.Event{Chain: packageChain + e.Name, Type: attest.EventYank, Object: envelope.Digest(), By: p.keyID()}); err != nil {
			return err
		}
	}
	return nil
}

// checkOldYank judges a statement as readers will, at the leaf that it gets now.
func (p *publication) checkOldYank(e *Entry, envelope *attest.Envelope) error {
	owners, err := p.t.x.ownersOf(e)
	if err != nil {
		return err
	}
	if p.t.x.in.Policy == nil {
		_, err := attest.ReadOwnedYank(envelope, owners, e.Cksum)
		return err
	}
	seq := p.next()
	_, err = attest.OpenYank(p.t.x.in.Policy, envelope, attest.YankTerms{Owners: owners, Cksum: e.Cksum, Time: p.at, Seq: &seq})
	return err
}

// AddPolicy logs the step from the writer's policy to its next version, which
// as many root keys of both must have signed as they need. It replaces
// nobody's policy, and not the writer's either.
func (x *Index) AddPolicy(ctx context.Context, next *attest.Policy, envelope []byte) (attest.Event, bool, error) {
	if err := x.needPolicy(); err != nil {
		return attest.Event{}, false, err
	}
	update, err := attest.NewPolicyUpdate(x.in.Policy, next)
	if err != nil {
		return attest.Event{}, false, err
	}
	if _, err := update.Verify(envelope); err != nil {
		return attest.Event{}, false, err
	}
	var event attest.Event
	duplicate := false
	err = x.turn(ctx, nil, func(t *turn) error {
		if t.config.Log == nil {
			return fault.New(fault.Usage, "index %s has no log to enter a policy in", x.dir).
				WithHint("give it one with: rebuild index config --origin NAME --log-key FILE")
		}
		p, err := t.begin()
		if err != nil {
			return err
		}
		name, d := policyChain+next.Name(), store.DigestOf(update.Payload())
		c, err := p.chain(ctx, name)
		if err != nil {
			return err
		}
		if event, duplicate = c.find(attest.EventPolicy, d); duplicate {
			return nil
		}
		p.content[statementPath(d)] = slices.Clone(envelope)
		if event, err = p.log(ctx, attest.Event{Chain: name, Type: attest.EventPolicy, Object: d}); err != nil {
			return fmt.Errorf("policy %s: %w", next.Name(), err)
		}
		return p.commit(ctx)
	})
	return event, duplicate, err
}
