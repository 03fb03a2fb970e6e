package index

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"rebuild/attest"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
	"rebuild/internal/names"
	"rebuild/store"
)

// overlay is a source in which a publication that is staged and in the log is
// finished already.
type overlay struct {
	Source
	files map[string][]byte
}

// Get implements [Source].
func (o *overlay) Get(ctx context.Context, file string, limit int64, fresh bool) ([]byte, error) {
	if data, staged := o.files[file]; staged {
		return data, nil
	}
	return o.Source.Get(ctx, file, limit, fresh)
}

// replayed is what the log says the index should be: every leaf was applied to
// an empty one.
type replayed struct {
	seen     map[store.Digest]bool   // digests of all leaves
	last     map[string]store.Digest // of each chain
	once     map[string]bool         // chain, type and object of all leaves
	packages map[string]*pastPackage // by name
	files    map[string]store.Digest // under the view
	tree     *viewTree               // of files
	exact    bool                    // views between can be computed
	configs  store.Digest            // of the last config
}

// pastPackage is a package as the leaves so far made it.
type pastPackage struct {
	now     *lineFile // as it is in the index
	entries []*Entry
	yanked  map[string]attest.Yanked // by version
	signed  map[string]*attest.Event // by version: the leaf since which the line is signed
}

// maxReplayed is up to how many leaves the view is computed after each. It
// costs a few tenths of a millisecond.
const maxReplayed = 100_000

// checkLog checks the log and replays it. It says whether what follows makes
// sense.
func (c *checker) checkLog(ctx context.Context) bool {
	checkpoint, err := readCheckpoint(ctx, c.x.src, c.config)
	if err != nil {
		c.fail(checkpointFile, err)
		return false
	}
	if policy := c.x.in.Policy; policy != nil && policy.Log() != nil {
		if _, err := policy.Log().OpenCheckpoint(checkpoint.Note); err != nil && fault.CodeOf(err) != fault.Unwitnessed {
			c.fail(checkpointFile, err)
		}
	}
	c.Leaves = checkpoint.Size
	if !c.overlayStaged(ctx, checkpoint) {
		return false
	}
	c.checkHead(ctx, checkpoint)
	h := &replayed{
		seen: map[store.Digest]bool{}, last: map[string]store.Digest{}, once: map[string]bool{},
		packages: map[string]*pastPackage{}, files: map[string]store.Digest{}, tree: newViewTree(),
		exact: checkpoint.Size <= maxReplayed && c.datable(),
	}
	if !h.exact {
		c.note("the views between the first leaf and the last were not computed: %d leaves, or lines from before the log", checkpoint.Size)
	}
	var before attest.Event
	for l, err := range readLeaves(ctx, c.x.src, 0, checkpoint.Size, checkpoint.Root) {
		if err != nil {
			c.fail("log", err)
			return false
		}
		e, err := attest.DecodeEvent("leaf", int(l.seq), l.data)
		if err != nil {
			c.fail(leafName(l.seq), err)
			continue
		}
		c.checkLeaf(h, l.seq, &e, &before, l.data)
		if err := checkDated(&e, checkpoint); err != nil {
			c.fail(leafName(l.seq), err)
		}
		before = e
	}
	c.history = h
	c.checkChains(ctx, checkpoint)
	return true
}

// datable says whether all lines came with the log, so that what they were at
// each leaf is known.
func (c *checker) datable() bool {
	all, err := c.packages()
	if err != nil {
		return false
	}
	for _, name := range all {
		lines, err := c.x.readLines(name)
		if err != nil {
			return false
		}
		for _, e := range lines.entries {
			if e.Seq == nil && (e.Yanked || len(e.Advisories) > 0) {
				return false // from before the log, or since: nobody can tell
			}
		}
	}
	return true
}

// overlayStaged lets the check see a publication finished that the next writer
// will finish.
func (c *checker) overlayStaged(ctx context.Context, checkpoint *attest.Checkpoint) bool {
	j, err := c.x.readJournal()
	if err != nil {
		c.fail(stagedFile, err)
		return false
	}
	if j == nil {
		return true
	}
	c.note("%s: a publication of %d leaves was interrupted; the next writer finishes it, or index fsck --repair", stagedFile, len(j.Leaves))
	switch checkpoint.Size {
	case j.Size:
		return true // as if it had never begun
	case j.end():
		t := &turn{x: c.x, config: c.config}
		_, files, err := t.finalFiles(ctx, j, checkpoint)
		if err != nil {
			c.fail(stagedFile, err)
			return false
		}
		c.x.src = &overlay{c.x.src, files}
		return true
	}
	c.fail(stagedFile, c.x.misplaced(ctx, c.config, j, checkpoint.Size))
	return false
}

// checkHead checks head, which is derived from the log.
func (c *checker) checkHead(ctx context.Context, checkpoint *attest.Checkpoint) {
	var err error
	if c.tip, err = readTip(ctx, c.x.src, c.config); err != nil {
		c.fail(headFile, err)
	} else if c.tip == nil && checkpoint.Size > 0 {
		c.find(fault.FileMissing, headFile, "missing")
	} else if c.tip != nil && c.tip.checkpoint.Size != checkpoint.Size {
		c.find(fault.ViewMismatch, headFile, "it covers %d leaves, the log has %d", c.tip.checkpoint.Size, checkpoint.Size)
	} else if c.tip != nil && c.tip.checkpoint.Root != checkpoint.Root {
		c.find(fault.Fork, headFile, "its checkpoint and that of the log have %d leaves and different roots", checkpoint.Size)
	} else {
		return
	}
	c.tip = nil
	for l, err := range readLeaves(ctx, c.x.src, checkpoint.Size-1, checkpoint.Size, checkpoint.Root) {
		if err != nil {
			return
		}
		if proof, err := proveIs(ctx, c.x.src, checkpoint, l.seq, l.data); err == nil {
			c.rewrites[headFile] = encodeHead(l.data, l.seq, proof, checkpoint.Note)
		}
		if e, err := attest.DecodeEvent("leaf", int(l.seq), l.data); err == nil {
			c.tip = &tip{e, l.data, checkpoint}
		}
	}
}

func leafName(seq int64) string { return "leaf " + itoa(seq) }

// checkLeaf checks a leaf against those before it, and applies it.
func (c *checker) checkLeaf(h *replayed, seq int64, e, before *attest.Event, raw []byte) {
	name := leafName(seq)
	if e.Seq != seq {
		c.find(fault.EvidenceMismatch, name, "it says seq %d", e.Seq)
	}
	if e.At < before.At { // one spelling, so text is in order of time
		c.find(fault.EvidenceMismatch, name, "it is dated %s, the leaf before it %s", e.At, before.At)
	}
	switch last := h.last[e.Chain]; {
	case e.Prev == last:
	case h.seen[e.Prev]:
		c.find(fault.Fork, name, "it follows leaf %s of chain %s, which has another successor", e.Prev, e.Chain)
	default:
		c.find(fault.EvidenceMismatch, name, "it follows %q, the last leaf of chain %s is %q", e.Prev, e.Chain, last)
	}
	if first := h.last[e.Chain] == ""; isPlanChain(e.Chain) && first != (e.Type == attest.EventPlan) {
		c.find(fault.EvidenceMismatch, name, "the first leaf of a plan's chain and no other is of type plan, this is %s", e.Type)
	}
	key := e.Chain + " " + e.Type + " " + string(e.Object)
	if h.once[key] && e.Type != attest.EventConfig {
		c.find(fault.EvidenceMismatch, name, "%s %s is in chain %s already", e.Type, e.Object, e.Chain)
	}
	d := store.DigestOf(raw)
	h.seen[d], h.last[e.Chain], h.once[key] = true, d, true
	changes := c.apply(h, name, e)
	if !changes && e.View != before.View {
		c.find(fault.ViewMismatch, name, "a leaf of type %s in chain %s changes the view", e.Type, e.Chain)
	}
	if changes && h.exact {
		if root := h.tree.root(); root != e.View {
			c.find(fault.ViewMismatch, name, "it has the view %s, the leaves up to it come to %s", e.View, root)
			h.exact = false // everything after it would differ too
		}
	}
}

func isPlanChain(chain string) bool { return strings.HasPrefix(chain, "sha256:") }

// apply applies a leaf, and says whether it changes the view.
func (c *checker) apply(h *replayed, name string, e *attest.Event) bool {
	switch e.Type {
	case attest.EventPlan:
		c.needed[objectPath(e.Object)] = name
	case attest.EventStatement:
		c.needed[statementPath(e.Object)] = name
		c.checkBy(e)
	case attest.EventPolicy:
		c.needed[statementPath(e.Object)] = name
	case attest.EventConfig:
		h.configs = e.Object
		h.set(configFile, e.Object)
		if e.Seq == 0 && h.tree.root() != e.View {
			c.applyOldLines(h)
		}
		return true
	}
	pkg, ok := strings.CutPrefix(e.Chain, packageChain)
	if !ok {
		return false
	}
	p, err := c.past(h, pkg)
	if err == nil {
		err = c.applyTo(p, e, name)
	}
	if err != nil {
		c.fail(name, err)
		return true
	}
	h.put(p)
	return true
}

// checkBy wants a statement to have the signature that it was logged with, if the
// policy knows that key: with another's a verdict refuses it (see
// [attest.Judge]).
func (c *checker) checkBy(e *attest.Event) {
	if c.x.in.Policy == nil {
		return
	}
	isBy := func(k attest.PublicKey) bool { return k.ID() == e.By }
	keys := c.x.in.Policy.OperatorKeys()
	if !slices.ContainsFunc(keys, isBy) {
		return
	}
	envelope, err := c.x.statement(e.Object)
	if fault.CodeOf(err) == fault.FileMissing {
		return // told with the content
	}
	var signed []attest.PublicKey
	if err == nil {
		signed, err = envelope.SignedBy(keys)
	}
	if err == nil && !slices.ContainsFunc(signed, isBy) {
		err = fault.New(fault.EvidenceMismatch, "it was logged at seq %d with the signature of key %s, which it does not have", e.Seq, e.By)
	}
	if err != nil {
		c.fail(statementPath(e.Object), err)
	}
}

// applyOldLines takes the lines from before the log, which leaf 0 fixes.
func (c *checker) applyOldLines(h *replayed) {
	all, err := c.packages()
	if err != nil {
		return
	}
	for _, name := range all {
		p, err := c.past(h, name)
		if err != nil {
			continue
		}
		for _, e := range p.now.entries {
			if e.Seq == nil {
				then := *e
				if then.Backfilled {
					then.Backfilled, then.Signature = false, nil
				}
				p.entries = append(p.entries, &then)
			}
		}
		if len(p.entries) > 0 {
			h.put(p)
		}
	}
}

func (c *checker) past(h *replayed, name string) (*pastPackage, error) {
	if p := h.packages[name]; p != nil {
		return p, nil
	}
	lines, err := c.x.readLines(name)
	if err != nil {
		return nil, err
	}
	h.packages[name] = &pastPackage{now: lines, yanked: map[string]attest.Yanked{}, signed: map[string]*attest.Event{}}
	return h.packages[name], nil
}

// signedBy returns the leaf since which a line is signed, nil if there is none or no
// log.
func (h *replayed) signedBy(e *Entry) *attest.Event {
	if h == nil || h.packages[e.Name] == nil {
		return nil
	}
	return h.packages[e.Name].signed[e.Version]
}

// set puts a file under the view.
func (h *replayed) set(file string, d store.Digest) {
	h.files[file] = d
	if h.exact {
		h.tree.set(file, d)
	}
}

func (h *replayed) put(p *pastPackage) {
	if data, err := encodeLines(p.entries); err == nil {
		h.set(p.now.path, store.DigestOf(data))
	}
}

func encodeLines(entries []*Entry) ([]byte, error) {
	var out []byte
	for _, e := range entries {
		line, err := e.Encode()
		if err != nil {
			return nil, err
		}
		out = append(append(out, line...), '\n')
	}
	return out, nil
}

// applyTo applies a leaf of a package's chain.
func (c *checker) applyTo(p *pastPackage, e *attest.Event, leaf string) error {
	switch e.Type {
	case attest.EventRelease, attest.EventEntry:
		return c.applyEntry(p, e, leaf)
	case attest.EventBackfill:
		return p.backfill(e)
	case attest.EventYank:
		c.needed[statementPath(e.Object)] = leaf
		return c.applyYank(p, e)
	}
	return nil
}

func (c *checker) applyEntry(p *pastPackage, e *attest.Event, leaf string) error {
	if e.Type == attest.EventRelease {
		c.needed[statementPath(e.Object)] = leaf
	}
	for _, now := range p.now.entries {
		if now.Seq == nil || *now.Seq != e.Seq {
			continue
		}
		then := *now
		then.Yanked, then.Advisories = false, nil
		if then.Backfilled {
			then.Backfilled, then.Signature = false, nil
		} else {
			p.signed[then.Version] = e
		}
		p.entries = append(p.entries, &then)
		line, err := then.Encode()
		if err != nil {
			return err
		}
		if got := store.DigestOf(line); e.Type == attest.EventEntry && got != e.Object {
			return fault.New(fault.ViewMismatch, "%s@%s was entered as line %s, its line in %s comes to %s", now.Name, now.Version, e.Object, p.now.path, got)
		}
		if e.Type == attest.EventEntry && now.Release != "" {
			return fault.New(fault.ViewMismatch, "it enters the line of %s@%s, which has release %s: that takes a leaf of its own", now.Name, now.Version, now.Release)
		}
		if e.Type == attest.EventRelease && now.Release != e.Object {
			return fault.New(fault.ViewMismatch, "it is release %s, %s@%s in %s is release %q", e.Object, now.Name, now.Version, p.now.path, now.Release)
		}
		return nil
	}
	return fault.New(fault.ViewMismatch, "%s has no line of this leaf: a version was dropped", p.now.path)
}

// backfill signs the line whose new form the leaf names.
func (p *pastPackage) backfill(e *attest.Event) error {
	for i, then := range p.entries {
		now, err := p.now.find(then.Version)
		if err != nil || now == nil || then.Signature != nil {
			continue
		}
		signed := *then
		signed.Signature, signed.Backfilled = now.Signature, true
		line, err := signed.Encode()
		if err == nil && store.DigestOf(line) == e.Object {
			p.entries[i], p.signed[then.Version] = &signed, e
			return nil
		}
	}
	return fault.New(fault.ViewMismatch, "no line of %s was backfilled as %s", p.now.path, e.Object)
}

// applyYank applies a yank statement to the version that it is about.
func (c *checker) applyYank(p *pastPackage, e *attest.Event) error {
	envelope, err := c.x.statement(e.Object)
	if err != nil {
		return err
	}
	y, err := attest.ReadYank(envelope)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(p.entries, func(l *Entry) bool { return names.CompareVersions(l.Version, y.Version) == 0 })
	if i < 0 || y.Name != p.now.name {
		return fault.New(fault.Unyanked, "it is about %s@%s, which was not published then", y.Name, y.Version)
	}
	entry := *p.entries[i]
	if err := c.checkYank(envelope, &entry, e); err != nil {
		return err
	}
	state, err := p.yanked[entry.Version].Apply(y, e.Object)
	if err != nil {
		return err
	}
	p.yanked[entry.Version] = state
	entry.Yanked, entry.Advisories = state.Yanked, slices.Clone(state.Advisories)
	p.entries[i] = &entry
	return nil
}

// checkYank judges the signatures of a yank statement by the policy, at its
// leaf; without a policy those of the owners alone.
func (c *checker) checkYank(envelope *attest.Envelope, entry *Entry, e *attest.Event) error {
	owners, err := c.x.ownersOf(entry)
	if err != nil {
		return err
	}
	if c.x.in.Policy == nil {
		_, err := attest.ReadOwnedYank(envelope, owners, entry.Cksum)
		return err
	}
	at, err := attest.ParseTime(e.At)
	if err != nil {
		return err
	}
	_, err = attest.OpenYank(c.x.in.Policy, envelope, attest.YankTerms{Owners: owners, Cksum: entry.Cksum, Time: at, Seq: &e.Seq})
	return err
}

// compare compares a line file with what the log made of it.
func (h *replayed) compare(c *checker, lines *lineFile) {
	p := h.packages[lines.name]
	if p == nil {
		c.find(fault.ViewMismatch, lines.path, "no leaf of the log is about %s", lines.name)
		return
	}
	for _, now := range lines.entries {
		i := slices.IndexFunc(p.entries, func(e *Entry) bool { return e.Version == now.Version })
		if i < 0 {
			c.find(fault.ViewMismatch, lines.path, "no leaf of the log is about %s@%s", now.Name, now.Version)
			continue
		}
		then := p.entries[i]
		// Of a line from before the log too: readers have nothing but the leaves.
		if state := p.yanked[then.Version]; now.Yanked != state.Yanked || !slices.Equal(now.Advisories, state.Advisories) {
			c.find(fault.Unyanked, lines.path, "%s@%s says yanked %t, advisories %v; its statements come to yanked %t, advisories %v",
				now.Name, now.Version, now.Yanked, now.Advisories, state.Yanked, state.Advisories)
			continue
		}
		a, errA := now.Encode()
		b, errB := then.Encode()
		if errA != nil || errB != nil || !bytes.Equal(a, b) {
			c.find(fault.ViewMismatch, lines.path, "the line of %s@%s is not the one that was logged", now.Name, now.Version)
		}
	}
	if data, err := encodeLines(p.entries); err == nil && !bytes.Equal(data, lines.raw) && len(lines.entries) == len(p.entries) {
		c.find(fault.ViewMismatch, lines.path, "its lines are not in the order of the log")
	}
}

// dropped finds packages that the log has and the index has not.
func (h *replayed) dropped(c *checker, there []string) {
	for _, name := range slices.Sorted(maps.Keys(h.packages)) {
		if !slices.Contains(there, name) {
			c.find(fault.ViewMismatch, h.packages[name].now.path, "missing, the log has leaves about %s", name)
		}
	}
	data, err := c.x.read(configFile, 1<<20)
	if err != nil {
		c.fail(configFile, err)
	} else if store.DigestOf(data) != h.configs {
		c.find(fault.ViewMismatch, configFile, "it is %s, the last one that was logged is %s", store.DigestOf(data), h.configs)
	}
}

// checkChains compares the files of chains with the log: each must link up to
// the last leaf that the log has of it, and then holds all of them.
func (c *checker) checkChains(ctx context.Context, checkpoint *attest.Checkpoint) {
	broken := map[string]bool{}
	want := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(c.history.last)) {
		file, err := chainPath(name)
		if err != nil {
			c.fail(name, err)
			continue
		}
		want[file] = true
		held, err := c.x.readChain(name)
		if err == nil && held.last() == c.history.last[name] {
			continue
		}
		broken[name] = true
		switch {
		case err != nil:
			c.find(fault.EventsMismatch, file, "%v", err)
		case len(held.lines) == 0:
			c.find(fault.FileMissing, file, "missing, the log has leaves of chain %s", name)
		default:
			c.find(fault.EventsMismatch, file, "it ends with leaf %s, the last one of the log is %s", held.last(), c.history.last[name])
		}
	}
	c.eachBelow(strings.TrimSuffix(chainDir, "/"), func(file string) {
		if !want[file] {
			c.find(fault.FileExtra, file, "the log has no leaf of this chain")
		}
	})
	if len(broken) == 0 {
		return
	}
	for l, err := range readLeaves(ctx, c.x.src, 0, checkpoint.Size, checkpoint.Root) {
		if err != nil {
			return
		}
		e, err := attest.DecodeEvent("leaf", int(l.seq), l.data)
		if err != nil || !broken[e.Chain] {
			continue
		}
		if file, err := chainPath(e.Chain); err == nil {
			c.rewrites[file] = append(append(c.rewrites[file], l.data...), '\n')
		}
	}
}

// eachBelow visits all files below a folder, but those under a temporary name.
func (c *checker) eachBelow(dir string, visit func(file string)) {
	err := fs.WalkDir(c.x.fsys, dir, func(file string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasPrefix(d.Name(), durable.TempPrefix) {
			visit(file)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.fail(dir, err)
	}
}
