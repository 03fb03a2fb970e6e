package index

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"time"

	"rebuild/attest"
	"rebuild/internal/fault"
	"rebuild/internal/names"
	"rebuild/store"
)

// The history of a package is its chain in the log. The view fixes the lines of
// the package, the chain says why they are so, and each is held against the
// other: a line without a leaf or a leaf without its line is VIEW_MISMATCH, a
// line whose flags are not what the signed yank statements come to is UNYANKED.
// The chain's file is served by whoever serves the index, so its last leaf is
// proven against the head, and every leaf before it by the links.

// history is a package as of one state of a logged index.
type history struct {
	entries []*Entry // in the order of the lines
	newer   int      // lines passed over as they are of a newer version
	leaves  []pastLeaf
	yanks   map[string]yankHistory // by version
	signed  map[string]*pastLeaf   // by version: at which leaf the line was signed; none for one from before the log
}

// pastLeaf is a leaf of the chain.
type pastLeaf struct {
	attest.Event
	at  time.Time
	raw []byte
}

// yankHistory is what the yank statements of a version come to.
type yankHistory struct {
	attest.Yanked
	seq      int64 // of the last statement's leaf
	envelope []byte
}

// history reads a package whole: its lines, its chain and its yank statements.
func (r *Reader) history(ctx context.Context, name string) (*history, error) {
	if h := r.log.kept(name); h != nil {
		return h, nil
	}
	var h *history
	err := r.settled(ctx, func(s *snapshot, fresh bool) (err error) {
		if h, err = r.readHistory(ctx, s, name, fresh); err != nil {
			return err
		}
		if err := r.remember(s, name, h); err != nil {
			return err
		}
		r.log.keep(s, name, h)
		return nil
	})
	return h, err
}

// kept returns what was read of a package in the current state, nil for nothing.
func (l *logged) kept(name string) *history {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.latest.histories[name]
}

func (l *logged) keep(s *snapshot, name string, h *history) {
	l.mu.Lock()
	defer l.mu.Unlock()
	set(&s.histories, name, h)
}

func (r *Reader) readHistory(ctx context.Context, s *snapshot, name string, fresh bool) (*history, error) {
	l, err := r.readLines(ctx, s, name, fresh)
	if err != nil {
		return nil, err
	}
	h := &history{entries: l.entries, newer: l.newer, yanks: map[string]yankHistory{}, signed: map[string]*pastLeaf{}}
	if h.leaves, err = r.readChainFile(ctx, s, packageOf(name), fresh); err != nil {
		return nil, err
	}
	if err := h.checkLines(); err != nil {
		return nil, err
	}
	if err := r.replay(ctx, h); err != nil {
		return nil, err
	}
	return h, h.checkFlags()
}

// lines are those of a package that a view has.
type lines struct {
	entries []*Entry
	newer   int // lines passed over as they are of a newer version
}

// readLines returns the lines of a package as of a state, once for all who ask.
func (r *Reader) readLines(ctx context.Context, s *snapshot, name string, fresh bool) (*lines, error) {
	r.log.mu.Lock()
	l := s.lines[name]
	r.log.mu.Unlock()
	if l != nil {
		return l, nil
	}
	path, err := linePath(name)
	if err != nil {
		return nil, err
	}
	data, err := r.viewed(ctx, s, path, maxLines, fresh)
	if err != nil {
		return nil, r.absent(r.vanished(s, name, err), name)
	}
	l = &lines{}
	l.entries, err = parseLines(path, name, data, func(text string) { l.newer++; r.notice(text) })
	if err != nil {
		return nil, err
	}
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	set(&s.lines, name, l)
	return l, nil
}

func packageOf(name string) string { return "pkg:" + name }

// readChainFile reads a chain that stands in the log as of a state. A chain
// that is not there has no leaves; whether it should have is for its lines to
// say. Leaves that the state does not cover are of a publication under way.
func (r *Reader) readChainFile(ctx context.Context, s *snapshot, chain string, fresh bool) ([]pastLeaf, error) {
	path, err := chainPath(chain)
	if err != nil {
		return nil, err
	}
	data, err := r.src.Get(ctx, path, attest.MaxEventsBytes, fresh)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	body, whole := bytes.CutSuffix(data, []byte("\n"))
	lines := bytes.Split(body, []byte("\n"))
	if !whole || len(lines) > attest.MaxEvents {
		return nil, fault.New(fault.Parse, "the last line is missing or cut, or there are more than %d", attest.MaxEvents).At(path, 0)
	}
	last, err := attest.DecodeEvent(path, len(lines), lines[len(lines)-1])
	if err != nil {
		return nil, err
	}
	// Nothing is believed of the lines before the log has committed to them.
	if err := r.proven(ctx, s, &last, lines[len(lines)-1]); err != nil {
		return nil, err
	}
	leaves, err := linkLeaves(path, chain, lines)
	if err != nil {
		return nil, err
	}
	return leaves, checkDated(&last, s.head)
}

// linkLeaves decodes the lines of a chain from the last to the first, each
// after the one behind it named its digest.
func linkLeaves(path, chain string, lines [][]byte) ([]pastLeaf, error) {
	leaves := make([]pastLeaf, len(lines))
	for i := len(lines) - 1; i >= 0; i-- {
		e, err := attest.DecodeEvent(path, i+1, lines[i])
		if err != nil {
			return nil, err
		}
		at, _ := attest.ParseTime(e.At) // DecodeEvent has
		before := store.Digest("")
		if i > 0 {
			before = store.DigestOf(lines[i-1])
		}
		wrong := func(format string, args ...any) error {
			return fault.New(fault.EvidenceMismatch, format, args...).At(path, i+1).
				WithHint("name another copy of the index with --index, and tell who runs this one")
		}
		switch {
		case e.Chain != chain:
			return nil, wrong("the leaf is of chain %s, not of %s", e.Chain, chain)
		case e.Prev != before:
			return nil, wrong("the leaf follows %q, the line before it is %q", e.Prev, before)
		case i+1 < len(leaves) && e.Seq >= leaves[i+1].Seq:
			return nil, wrong("seq %d comes before seq %d", e.Seq, leaves[i+1].Seq)
		case i+1 < len(leaves) && at.After(leaves[i+1].at):
			return nil, wrong("the leaf is dated %s, the one behind it %s", e.At, leaves[i+1].At)
		}
		leaves[i] = pastLeaf{e, at, lines[i]}
	}
	return leaves, checkOnce(path, leaves)
}

// checkOnce refuses an object that stands in a chain twice.
func checkOnce(path string, leaves []pastLeaf) error {
	type place struct {
		kind   string
		object store.Digest
	}
	seen := map[place]int64{}
	for i := range leaves {
		p := place{leaves[i].Type, leaves[i].Object}
		if seq, again := seen[p]; again {
			return fault.New(fault.EvidenceMismatch, "%s %s is in the chain already, as leaf %d", p.kind, p.object, seq).At(path, i+1)
		}
		seen[p] = leaves[i].Seq
	}
	return nil
}

// leafAt returns the leaf at a seq.
func (h *history) leafAt(seq int64) *pastLeaf {
	i, found := slices.BinarySearchFunc(h.leaves, seq, func(l pastLeaf, seq int64) int { return int(l.Seq - seq) })
	if !found {
		return nil
	}
	return &h.leaves[i]
}

// checkLines holds the lines against the leaves that made them. What is amiss
// may be of a publication under way.
func (h *history) checkLines() error {
	made := map[int64]bool{}
	for _, e := range h.entries {
		if e.Seq == nil {
			continue // from before the index had a log; the view covers it
		}
		leaf := h.leafAt(*e.Seq)
		switch {
		case leaf == nil:
			return notInView("the line of %s@%s says seq %d, which is no leaf of chain %s as served", e.Name, e.Version, *e.Seq, packageOf(e.Name))
		case leaf.Type == attest.EventRelease && leaf.Object == e.Release:
		case leaf.Type == attest.EventEntry && e.Release == "" && leaf.Object == e.asEntered():
		default:
			return notInView("the line of %s@%s is not what leaf %d, %s %s, has entered", e.Name, e.Version, leaf.Seq, leaf.Type, leaf.Object)
		}
		made[*e.Seq], h.signed[e.Version] = true, leaf
	}
	for i := range h.leaves {
		l := &h.leaves[i]
		if (l.Type == attest.EventRelease || l.Type == attest.EventEntry) && !made[l.Seq] && h.newer == 0 {
			return notInView("leaf %d of chain %s has entered %s %s, and no line has it", l.Seq, l.Chain, l.Type, l.Object)
		}
	}
	return nil
}

// asEntered returns the digest of the line as it was when it was entered: what
// can change about it had not changed yet.
func (e *Entry) asEntered() store.Digest {
	was := *e
	was.Yanked, was.Advisories = false, nil
	if e.Backfilled {
		was.Backfilled, was.Signature = false, nil
	}
	return was.lineDigest()
}

// lineDigest returns the digest of the line, that of nothing for what is none.
func (e *Entry) lineDigest() store.Digest {
	line, _ := e.Encode()
	return store.DigestOf(line)
}

// replay verifies the yank statements of the chain and applies them in order,
// and finds the leaf of each line that was signed later.
func (r *Reader) replay(ctx context.Context, h *history) error {
	for i := range h.leaves {
		switch l := &h.leaves[i]; l.Type {
		case attest.EventYank:
			if err := r.applyYank(ctx, h, l); err != nil {
				return err
			}
		case attest.EventBackfill:
			if e := h.backfilledBy(l); e != nil {
				h.signed[e.Version] = l
			} else if h.newer == 0 {
				return notInView("leaf %d of chain %s has signed line %s, and no line is it", l.Seq, l.Chain, l.Object)
			}
		}
	}
	for _, e := range h.entries {
		if l := h.signed[e.Version]; e.Backfilled && (l == nil || l.Type != attest.EventBackfill) {
			return notInView("the line of %s@%s says that it was signed later, and no leaf of its chain says so", e.Name, e.Version)
		}
	}
	return nil
}

// backfilledBy returns the entry whose line a backfill leaf has signed: with
// the flags that it had then.
func (h *history) backfilledBy(l *pastLeaf) *Entry {
	for _, e := range h.entries {
		if !e.Backfilled {
			continue
		}
		was, state := *e, h.yanks[e.Version]
		was.Yanked, was.Advisories = state.Yanked.Yanked, state.Advisories
		if was.lineDigest() == l.Object {
			return e
		}
	}
	return nil
}

func (h *history) entry(version string) *Entry {
	for _, e := range h.entries {
		if names.CompareVersions(e.Version, version) == 0 {
			return e
		}
	}
	return nil
}

// applyYank verifies the yank statement of a leaf and applies it.
func (r *Reader) applyYank(ctx context.Context, h *history, l *pastLeaf) error {
	raw, envelope, err := r.statement(ctx, l.Object)
	if err != nil {
		return err
	}
	claimed, err := attest.ReadYank(envelope)
	if err != nil {
		return err
	}
	e := h.entry(claimed.Version)
	if claimed.Name+"@" != e.nameAt() {
		if h.newer > 0 {
			return nil // about a line that this version can not read
		}
		return notInView("leaf %d of chain %s is a yank statement about %s@%s, and no line is", l.Seq, l.Chain, claimed.Name, claimed.Version)
	}
	y, err := r.openYank(ctx, e, l, envelope)
	if err != nil {
		return err
	}
	state, err := h.yanks[e.Version].Apply(y, l.Object)
	if err != nil {
		return err
	}
	h.yanks[e.Version] = yankHistory{state, l.Seq, raw}
	return nil
}

// nameAt is the entry's name and "@"; "@" alone for no entry.
func (e *Entry) nameAt() string {
	if e == nil {
		return "@"
	}
	return e.Name + "@"
}

// openYank verifies a yank statement by the policy, and without one by the
// owners of the release.
func (r *Reader) openYank(ctx context.Context, e *Entry, l *pastLeaf, envelope *attest.Envelope) (attest.Yank, error) {
	var owners []attest.PublicKey
	if e.Release != "" {
		release, err := r.release(ctx, e.Release)
		if err != nil {
			return attest.Yank{}, err
		}
		owners = release.OwnerKeys()
	}
	if r.in.Policy == nil {
		return attest.ReadOwnedYank(envelope, owners, e.Cksum)
	}
	at := r.leafTime(l)
	return attest.OpenYank(r.in.Policy, envelope, attest.YankTerms{Owners: owners, Cksum: e.Cksum, Time: at, Seq: &l.Seq})
}

// leafTime is when a leaf was logged: what it says, and no earlier than the
// cosignatures on a checkpoint that does not cover it.
func (r *Reader) leafTime(l *pastLeaf) time.Time {
	at := l.at
	if old := r.log.before; old != nil && old.Size <= l.Seq && old.Cosigned.After(at) {
		at = old.Cosigned
	}
	return at
}

// checkFlags wants the flags of every line to be what its yank statements come
// to. The lines are fixed by the head, so what differs is no mix of two states
// once head and lines have settled.
func (h *history) checkFlags() error {
	for _, e := range h.entries {
		state := h.yanks[e.Version]
		if e.Yanked != state.Yanked.Yanked || !slices.Equal(e.Advisories, state.Advisories) {
			return &unfit{fault.New(fault.Unyanked, "the line of %s@%s says yanked %t, advisories %v; the signed statements in its chain come to %s",
				e.Name, e.Version, e.Yanked, e.Advisories, state.Yanked).
				WithHint("name another copy of the index with --index, and tell who runs this one").
				With("statement", string(state.envelope))}
		}
	}
	return nil
}

// vanished says that a package which the view has no more was seen before: no
// package leaves an index.
func (r *Reader) vanished(s *snapshot, name string, err error) error {
	if r.in.State == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	seen, known := r.in.State.chainEnd(s.head.Origin, name)
	if !known {
		return err
	}
	return &unfit{fault.New(fault.Fork, "chain %s ended with leaf %d, %s, and the log's view has no such package now", packageOf(name), seen.Seq, seen.Digest).
		WithHint("name another copy of the index with --index, and tell who runs this one").
		With("seen", string(seen.Digest)).With("served", string(s.head.Note))}
}

// remember holds a history against what was seen of it before, and then keeps
// its end.
func (r *Reader) remember(s *snapshot, name string, h *history) error {
	if r.in.State == nil {
		return nil
	}
	origin, head := r.log.trusted.Origin(), s.head
	for what, seen := range r.in.State.yanksOf(origin, name) {
		l := h.leafAt(seen.Seq)
		if l == nil || l.Object != seen.Digest {
			return &unfit{fault.New(fault.Unyanked, "the yank statement %s about %s was in chain %s as leaf %d and is not there now", seen.Digest, what, packageOf(name), seen.Seq).
				WithHint("keep the statement and the checkpoint: together they prove what was taken back").
				With("seen", seen.Document).With("served", string(head.Note))}
		}
	}
	if seen, known := r.in.State.chainEnd(origin, name); known {
		l := h.leafAt(seen.Seq)
		if l == nil || store.DigestOf(l.raw) != seen.Digest {
			return &unfit{fault.New(fault.Fork, "leaf %d of chain %s was %s and is not there now", seen.Seq, packageOf(name), seen.Digest).
				WithHint("name another copy of the index with --index, and tell who runs this one").
				With("seen", string(seen.Digest)).With("served", string(head.Note))}
		}
	}
	if len(h.leaves) == 0 {
		return nil
	}
	last := &h.leaves[len(h.leaves)-1]
	r.in.State.setChainEnd(origin, name, seenEnd{Seq: last.Seq, Digest: store.DigestOf(last.raw)})
	for _, version := range slices.Sorted(maps.Keys(h.yanks)) {
		y := h.yanks[version]
		r.in.State.setYank(origin, name+"@"+version, seenEnd{Seq: y.seq, Digest: y.Head, Document: string(y.envelope)})
	}
	return nil
}
