package index

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"rebuild/attest"
	"rebuild/internal/fault"
	"rebuild/store"
)

const (
	indexChain   = "index"
	packageChain = "pkg:"
	policyChain  = "policy:"
)

// chain is the file of a chain: its leaves, one a line. It is derived from the
// log, and never trusted further than its last leaf was proven.
type chain struct {
	name   string
	raw    []byte
	events []attest.Event
	lines  [][]byte // of events, without LF
}

// readChain reads the file of a chain; one that is not there has no leaves.
func (x *Index) readChain(name string) (*chain, error) {
	file, err := chainPath(name)
	if err != nil {
		return nil, err
	}
	data, err := x.read(file, attest.MaxEventsBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return &chain{name: name}, nil
	}
	if err != nil {
		return nil, err
	}
	return parseChain(name, file, data)
}

// parseChain reads the lines of a chain, each of which must follow the one
// before it (EVIDENCE_MISMATCH).
func parseChain(name, file string, data []byte) (*chain, error) {
	c := &chain{name: name}
	for n := 1; len(data) > 0; n++ {
		line, rest, ended := bytes.Cut(data, []byte("\n"))
		data = rest
		if !ended {
			return nil, fault.New(fault.Parse, "the last line is not ended").At(file, n)
		}
		e, err := attest.DecodeEvent(file, n, line)
		if err != nil {
			return nil, err
		}
		if e.Chain != name || e.Prev != c.last() {
			return nil, fault.New(fault.EvidenceMismatch, "the leaf of chain %s follows %q, it is in the chain %s behind %q", e.Chain, e.Prev, name, c.last()).
				At(file, n).WithHint("run: rebuild index fsck --repair")
		}
		c.add(e, line)
	}
	return c, nil
}

func (c *chain) add(e attest.Event, line []byte) {
	c.events, c.lines = append(c.events, e), append(c.lines, line)
	c.raw = append(append(c.raw, line...), '\n')
}

// last is the digest of the last leaf, "" if there is none.
func (c *chain) last() store.Digest {
	if len(c.lines) == 0 {
		return ""
	}
	return store.DigestOf(c.lines[len(c.lines)-1])
}

// find returns the leaf with an object, which stands in a chain at most once
// for each type.
func (c *chain) find(kind string, object store.Digest) (attest.Event, bool) {
	for _, e := range c.events {
		if e.Type == kind && e.Object == object {
			return e, true
		}
	}
	return attest.Event{}, false
}

// count returns how many leaves of a type a key has in the chain.
func (c *chain) count(kind string, by attest.KeyID) int {
	n := 0
	for _, e := range c.events {
		if e.Type == kind && e.By == by {
			n++
		}
	}
	return n
}

// extend adds a leaf unless it is there.
func (c *chain) extend(e attest.Event, line []byte) error {
	for _, there := range c.lines {
		if bytes.Equal(there, line) {
			return nil
		}
	}
	if e.Prev != c.last() {
		return fault.New(fault.EvidenceMismatch, "leaf %d follows %q, the file of chain %s ends with %q", e.Seq, e.Prev, c.name, c.last()).
			WithHint("run: rebuild index fsck --repair")
	}
	c.add(e, line)
	return nil
}

// maxRecent is how far back in the log is looked for leaves that a chain's file
// should have and has not: eight bundles, so that a write takes the same time
// however long the log is. A check of the index looks at all of them.
const maxRecent = 8 << tileHeight

// checkEnd wants the log to have no leaf of a chain behind the last one in its
// file. From a file that was lost or cut the chain would begin again, or go on
// beside itself, and what stood there, such as a dissent, would be passed over:
// no leaf can be taken back. Of a package the lines say which leaves there are;
// of any other chain that has no file the whole log is looked through, unless it
// is of a plan that the index does not have.
func (p *publication) checkEnd(ctx context.Context, c *chain) error {
	if p.t.tip == nil {
		return nil
	}
	from := p.t.tip.checkpoint.Size - maxRecent
	if n := len(c.events); n > 0 {
		from = max(from, c.events[n-1].Seq+1)
	}
	if name, ok := strings.CutPrefix(c.name, packageChain); ok {
		if err := p.checkLines(name, c); err != nil {
			return err
		}
	} else if len(c.events) == 0 && p.t.x.mayHave(c.name) {
		from = 0
	}
	return p.noLeafOf(ctx, c.name, from)
}

// checkLines wants the chain of a package to have the leaf of each of its lines.
func (p *publication) checkLines(name string, c *chain) error {
	l, err := p.t.x.readLines(name)
	if err != nil {
		return err
	}
	there := map[int64]bool{}
	for _, leaf := range c.events {
		there[leaf.Seq] = true
	}
	for _, e := range l.entries {
		if e.Seq != nil && !there[*e.Seq] {
			return lostLeaf(*e.Seq, c.name)
		}
	}
	return nil
}

// mayHave says whether the log may have leaves of a chain without a file: of a
// plan only if the plan is here, which is logged with it.
func (x *Index) mayHave(chain string) bool {
	plan, err := store.ParseDigest(chain)
	if err != nil {
		return true
	}
	_, err = fs.Stat(x.fsys, objectPath(plan))
	return !errors.Is(err, fs.ErrNotExist)
}

// noLeafOf wants no leaf from one on to be of a chain.
func (p *publication) noLeafOf(ctx context.Context, chain string, from int64) error {
	member := fmt.Appendf(nil, `"chain":%q`, chain) // no name needs an escape, and no text within a leaf has a bare quote
	at := p.t.tip.checkpoint
	for l, err := range readLeaves(ctx, p.t.x.src, from, at.Size, at.Root) {
		if err != nil {
			return err
		}
		if bytes.Contains(l.data, member) {
			return lostLeaf(l.seq, chain)
		}
	}
	return nil
}

func lostLeaf(seq int64, chain string) error {
	return fault.New(fault.EvidenceMismatch, "leaf %d of the log is of chain %s, whose file has it not", seq, chain).
		WithHint("run: rebuild index fsck --repair")
}

// checkLength refuses a chain that nobody could read.
func (c *chain) checkLength() error {
	if len(c.raw) > attest.MaxEventsBytes || len(c.lines) > attest.MaxEvents {
		return fault.New(fault.Semantic, "chain %s would have more than %d leaves or %d bytes", c.name, attest.MaxEvents, attest.MaxEventsBytes)
	}
	return nil
}

// cut returns the chain's part under a checkpoint of a size.
func (c *chain) cut(size int64) *chain {
	out := &chain{name: c.name}
	for i, e := range c.events {
		if e.Seq < size {
			out.add(e, c.lines[i])
		}
	}
	return out
}
