package index

import (
	"bytes"
	"errors"
	"io/fs"

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
	for i, there := range c.events {
		if there.Seq == e.Seq && bytes.Equal(c.lines[i], line) {
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
