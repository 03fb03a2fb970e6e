package attest

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/internal/names"
	"rebuild/store"
)

// Event is one leaf of a log (index.md 7). The writer of the log assigns seq
// and prev and dates the leaf; what the leaf points to is proven by its own
// signatures, never by standing in the log.
type Event struct {
	At            string       `json:"at"`               // when, as the writer says
	By            KeyID        `json:"by,omitempty"`     // the key whose signature the writer verified; always of statements and commits
	Chain         string       `json:"chain"`            // a plan's digest, pkg:NAME, policy:NAME or index
	Object        store.Digest `json:"object,omitempty"` // what it points to; "" for close
	Prev          store.Digest `json:"prev,omitempty"`   // sha256 of the chain's previous leaf; "" in its first
	SchemaVersion string       `json:"schema_version"`
	Seq           int64        `json:"seq"`           // position in the log, from 0
	Sig           string       `json:"sig,omitempty"` // the operator's, on a commit
	Type          string       `json:"type"`          // one of the Event constants
	View          store.Digest `json:"view"`          // of the whole index after this event
}

// The types of events.
const (
	EventPlan      = "plan"
	EventCommit    = "commit"
	EventClose     = "close"
	EventStatement = "statement"
	EventRelease   = "release"
	EventEntry     = "entry"
	EventBackfill  = "backfill"
	EventYank      = "yank"
	EventPolicy    = "policy"
	EventConfig    = "config"
)

// Kinds of chains, for eventChains.
const (
	planChain    = "plan"
	packageChain = "pkg:"
	policyChain  = "policy:"
	indexChain   = "index"
)

// eventChains says in which kinds of chains a type of event may stand.
var eventChains = map[string][]string{
	EventPlan: {planChain}, EventCommit: {planChain}, EventClose: {planChain}, EventStatement: {planChain},
	EventRelease: {planChain, packageChain},
	EventEntry:   {packageChain}, EventBackfill: {packageChain}, EventYank: {packageChain},
	EventPolicy: {policyChain}, EventConfig: {indexChain},
}

// Encode returns the leaf: the event's canonical JSON without a line feed. Its
// schema_version is filled in.
func (e Event) Encode() ([]byte, error) {
	e.SchemaVersion = document.Events.ID()
	if err := e.check(); err != nil {
		return nil, err
	}
	leaf, err := document.Encode(e)
	if err == nil && int64(len(leaf)) > document.Events.MaxBytes {
		err = fault.New(fault.Semantic, "the event has %d bytes, at most %d are allowed", len(leaf), document.Events.MaxBytes)
	}
	return leaf, err
}

// decodeEvent reads one leaf, which stands in a line of a file.
func decodeEvent(file string, line int, leaf []byte) (Event, error) {
	var e Event
	err := document.Decode(file, leaf, document.Events, &e)
	if err == nil {
		err = e.check()
	}
	if f, ok := err.(*fault.Error); ok {
		return e, f.At(file, line)
	}
	return e, err
}

// check checks what one event says by itself.
func (e *Event) check() error {
	kind, err := chainKind(e.Chain)
	if err != nil {
		return err
	}
	chains, known := eventChains[e.Type]
	switch {
	case !known:
		return fault.New(fault.Structure, "type %.40q is no type of event", e.Type)
	case !slices.Contains(chains, kind):
		return fault.New(fault.Structure, "an event of type %s can not stand in chain %s", e.Type, e.Chain)
	case e.Seq < 0:
		return fault.New(fault.Structure, "seq %d is negative", e.Seq)
	case (e.Object == "") != (e.Type == EventClose):
		return fault.New(fault.Structure, "an event has an object unless its type is close")
	case (e.Sig != "") != (e.Type == EventCommit):
		return fault.New(fault.Structure, "an event has a sig exactly if its type is commit")
	case e.Type == EventPlan && string(e.Object) != e.Chain:
		return fault.New(fault.Semantic, "plan %s opens the chain of %s", e.Object, e.Chain)
	}
	return e.checkFields()
}

func (e *Event) checkFields() error {
	for _, d := range []struct {
		name, value string
		required    bool
	}{
		{"prev", string(e.Prev), false}, {"object", string(e.Object), false}, {"view", string(e.View), true},
		{"by", string(e.By), e.Type == EventStatement || e.Type == EventCommit},
	} {
		if _, err := store.ParseDigest(d.value); err != nil && (d.value != "" || d.required) {
			return within(err, d.name)
		}
	}
	if _, err := ParseTime(e.At); err != nil {
		return within(err, "at")
	}
	if sig, err := decodeBase64(e.Sig); err != nil || e.Sig != "" && len(sig) != ed25519.SignatureSize {
		return fault.New(fault.Structure, "sig is not the base64 of %d bytes", ed25519.SignatureSize)
	}
	return nil
}

// chainKind says what kind of chain a name is of.
func chainKind(chain string) (string, error) {
	if name, ok := strings.CutPrefix(chain, packageChain); ok {
		return packageChain, names.Package(name)
	}
	if name, ok := strings.CutPrefix(chain, policyChain); ok {
		return policyChain, names.Check(name)
	}
	if chain == indexChain {
		return indexChain, nil
	}
	if _, err := store.ParseDigest(chain); err != nil {
		return "", within(err, "chain")
	}
	return planChain, nil
}

// MaxEvents is the most lines of one chain that are read, and MaxEventsBytes
// the most bytes: more leaves than a bundle has room for the statements of, and
// few enough to be looked at in little memory.
const (
	MaxEvents      = 100_000
	MaxEventsBytes = 16 << 20
)

// atTolerance is how far a leaf may be dated after its checkpoint: the clocks
// of writer and witness differ (index.md 7, time).
const atTolerance = 300 * time.Second

// Chain is the part of a log that is about one plan, from its first leaf on,
// verified against the policy's log key and held to its witnesses. Only
// [OpenChain] makes one. nil is a plan without a log.
type Chain struct {
	policy store.Digest // by which it was verified
	plan   store.Digest
	origin string
	raw    []byte // events.jsonl
	leaves []leaf
	places map[place]int // index in leaves; a cut chain has fewer leaves than places
	head   checkpoint
}

// leaf is an event in its chain.
type leaf struct {
	Event
	at  time.Time
	end int          // of its line in raw
	sum store.Digest // of raw up to there
}

// place is what may stand once in a chain.
type place struct {
	kind   string
	object store.Digest
}

// OpenChain verifies a plan's chain: events is events.jsonl, proof a C2SP
// tlog-proof (c2sp.org/tlog-proof) of its last line, in the one spelling that
// has no extra data.
//
// The checkpoint is checked first, then the last leaf against it, and each
// leaf before by the link of the one behind it, so that nothing is parsed that
// the log has not committed to. EVIDENCE_MISMATCH is a leaf, link, position or
// origin that does not fit; KEY_UNKNOWN and SIGNATURE_INVALID are of the
// checkpoint; UNWITNESSED are too few witnesses; STALE is a leaf dated after
// its checkpoint. Which statements are there to be judged is not looked at.
func OpenChain(policy *Policy, plan store.Digest, events, proof []byte) (*Chain, error) {
	if policy.log == nil {
		return nil, mismatch("the evidence is logged, and policy %s has no log to verify it by", policy.doc.Name).
			WithHint("judge by a policy that names the log")
	}
	if c := policy.log.seen.chain(policy.digest, plan, events); c != nil {
		return c.under(policy.log, proof)
	}
	lines, err := splitEvents(events)
	if err != nil {
		return nil, err
	}
	seq, head, err := policy.log.openProof(proof, lines[len(lines)-1])
	if err != nil {
		return nil, err
	}
	c := &Chain{policy: policy.digest, plan: plan, origin: policy.log.origin, raw: events, places: map[place]int{}, head: *head}
	if err := c.link(lines); err != nil {
		return nil, err
	}
	if c.Seq() != seq {
		return nil, mismatch("the proof is of leaf %d, the last line says seq %d", seq, c.Seq()).At(EventsFile, len(lines))
	}
	for i := range c.leaves {
		if err := c.order(i); err != nil {
			return nil, err
		}
	}
	if err := c.checkDates(); err != nil {
		return nil, err
	}
	c.sum()
	policy.log.seen.keep(c)
	return c, nil
}

// sum digests each beginning of the chain in one pass: releases of one plan name
// a thousand of them.
func (c *Chain) sum() {
	h := sha256.New()
	begin := 0
	for i := range c.leaves {
		l := &c.leaves[i]
		h.Write(c.raw[begin:l.end])
		l.sum, begin = store.DigestOfSum(h.Sum(nil)), l.end
	}
}

// under returns a chain that was verified before under the checkpoint of
// another proof of its last line.
func (c *Chain) under(l *policyLog, proof []byte) (*Chain, error) {
	begin := 0
	if n := len(c.leaves); n > 1 {
		begin = c.leaves[n-2].end
	}
	seq, head, err := l.openProof(proof, c.raw[begin:len(c.raw)-1])
	if err != nil {
		return nil, err
	}
	if c.Seq() != seq {
		return nil, mismatch("the proof is of leaf %d, the last line says seq %d", seq, c.Seq()).At(EventsFile, len(c.leaves))
	}
	c.head = *head
	return c, c.checkDates()
}

// splitEvents bounds what is looked at, and returns the lines without LF.
func splitEvents(events []byte) ([][]byte, error) {
	if n := bytes.Count(events, []byte("\n")); len(events) > MaxEventsBytes || n > MaxEvents {
		return nil, fault.New(fault.Parse, "%d bytes in %d lines, at most %d in %d are allowed", len(events), n, MaxEventsBytes, MaxEvents).At(EventsFile, 0)
	}
	body, whole := bytes.CutSuffix(events, []byte("\n"))
	if !whole {
		return nil, fault.New(fault.Parse, "the last line is missing or cut").At(EventsFile, 0)
	}
	return bytes.Split(body, []byte("\n")), nil
}

// link decodes the lines from the last to the first, each after the line
// behind it named its digest.
func (c *Chain) link(lines [][]byte) error {
	c.leaves = make([]leaf, len(lines))
	end := len(c.raw)
	for i := len(lines) - 1; i >= 0; i-- {
		e, err := decodeEvent(EventsFile, i+1, lines[i])
		if err != nil {
			return err
		}
		before := store.Digest("")
		if i > 0 {
			before = store.DigestOf(lines[i-1])
		}
		if e.Prev != before {
			return mismatch("the leaf follows %q, the line before it is %q", e.Prev, before).At(EventsFile, i+1)
		}
		at, err := ParseTime(e.At)
		if err != nil {
			return err
		}
		c.leaves[i] = leaf{Event: e, at: at, end: end}
		end -= len(lines[i]) + 1
	}
	return nil
}

// order checks a leaf against those before it.
func (c *Chain) order(i int) error {
	l := &c.leaves[i]
	fail := func(format string, args ...any) error { return mismatch(format, args...).At(EventsFile, i+1) }
	if l.Chain != string(c.plan) {
		return fail("the leaf is of chain %s, not of plan %s", l.Chain, c.plan)
	}
	if (i == 0) != (l.Type == EventPlan) {
		return fail("a leaf of type %s is line %d of the chain, the first and no other is of type plan", l.Type, i+1)
	}
	if i > 0 && l.Seq <= c.leaves[i-1].Seq {
		return fail("seq %d comes after seq %d", l.Seq, c.leaves[i-1].Seq)
	}
	if i > 0 && l.at.Before(c.leaves[i-1].at) {
		return fail("the leaf is dated %s, the one before it %s", l.At, c.leaves[i-1].At)
	}
	p := place{l.Type, l.Object}
	if first, again := c.places[p]; again {
		return fail("%s %s is in the chain already, as leaf %d", l.Type, l.Object, c.leaves[first].Seq)
	}
	c.places[p] = i
	return nil
}

// checkDates refuses leaves from the future of their checkpoint. The last is
// dated latest, and the checkpoint at hand is the first that is known to
// cover it. An older checkpoint could only move a leaf's time later; none is
// at hand, so a leaf's time is what it says.
func (c *Chain) checkDates() error {
	last := c.leaves[len(c.leaves)-1]
	if !c.head.cosigned.IsZero() && last.at.After(c.head.cosigned.Add(atTolerance)) {
		return fault.New(fault.Stale, "leaf %d is dated %s, its checkpoint was cosigned before, at %s",
			last.Seq, last.At, c.head.cosigned.Format(timeLayout)).At(EventsFile, len(c.leaves))
	}
	return nil
}

// Origin returns the origin of the log.
func (c *Chain) Origin() string { return c.origin }

// Seq returns the position of the chain's last leaf in the log.
func (c *Chain) Seq() int64 { return c.leaves[len(c.leaves)-1].Seq }

// Digest returns the sha256 of the chain's lines, which a release names.
func (c *Chain) Digest() store.Digest { return c.leaves[len(c.leaves)-1].sum }

// cut returns the chain as it was when the leaf at seq was its last.
func (c *Chain) cut(seq int64) (*Chain, error) {
	i, found := slices.BinarySearchFunc(c.leaves, seq, func(l leaf, seq int64) int { return cmp.Compare(l.Seq, seq) })
	if !found {
		return nil, fault.New(fault.EventsMismatch, "no leaf of the chain is at seq %d", seq)
	}
	then := *c
	then.leaves, then.raw = c.leaves[:i+1], c.raw[:c.leaves[i].end]
	return &then, nil
}

// says says whether a statement was logged after then, a cut of c.
func (c *Chain) says(then *Chain) bool {
	return c != nil && slices.ContainsFunc(c.leaves[len(then.leaves):], func(l leaf) bool { return l.Type == EventStatement })
}

// find returns the leaf of an object, if c has it. A nil chain has none.
func (c *Chain) find(kind string, object store.Digest) (*leaf, bool) {
	if c == nil {
		return nil, false
	}
	i, found := c.places[place{kind, object}]
	if !found || i >= len(c.leaves) {
		return nil, false
	}
	return &c.leaves[i], true
}

func (c *Chain) has(kind string, object store.Digest) bool {
	_, found := c.find(kind, object)
	return found
}

// moment is when and where a document became known: at its leaf, or now if no
// log has it.
type moment struct {
	time   time.Time
	logged bool
	seq    int64 // if logged
}

func (c *Chain) moment(kind string, object store.Digest, now time.Time) moment {
	if l, ok := c.find(kind, object); ok {
		return moment{l.at, true, l.Seq}
	}
	return moment{time: now}
}

// complete wants the envelope of every statement in the chain: one that was
// left out may be the one that says otherwise.
func (c *Chain) complete(seen *signatures, envelopes [][]byte) error {
	found := map[store.Digest]bool{}
	for _, d := range seen.payloads(envelopes) {
		found[d] = true
	}
	for i := range c.leaves {
		if l := &c.leaves[i]; l.Type == EventStatement && !found[l.Object] {
			return mismatch("statement %s is in the log at seq %d but not in the evidence", l.Object, l.Seq).
				WithHint("get the statement from whoever has it; a chain is judged whole")
		}
	}
	return nil
}

// signedBy refuses a statement that was logged with the signature of one of
// keys and is here with another. A leaf commits to the payload alone; with the
// signature exchanged, a dissent would be passed over as a stranger's.
func (l *leaf) signedBy(by KeyID, keys keyring) error {
	if _, known := keys.byID[l.By]; !known || l.By == by {
		return nil
	}
	return mismatch("statement %s was logged at seq %d with the signature of key %s, which it does not have here", l.Object, l.Seq, l.By)
}

// LogAccount says what a chain rests on.
type LogAccount struct {
	Origin    string `json:"origin"`
	Seq       int64  `json:"seq"`                   // of the chain's last leaf
	At        string `json:"at"`                    // what that leaf is dated
	Size      int64  `json:"checkpoint_size"`       // leaves that the checkpoint covers
	Cosigned  string `json:"cosigned_at,omitempty"` // newest cosignature; "" if nobody dated the checkpoint
	Witnesses int    `json:"witnesses"`             // distinct, of the policy, who cosigned it
}

// String says it in one line.
func (a *LogAccount) String() string {
	return fmt.Sprintf("log %s: chain through leaf %d of %s, checkpoint of size %d, cosigned by %d witnesses", a.Origin, a.Seq, a.At, a.Size, a.Witnesses)
}

// account describes the chain; nil for a nil chain.
func (c *Chain) account() *LogAccount {
	if c == nil {
		return nil
	}
	last := c.leaves[len(c.leaves)-1]
	a := &LogAccount{Origin: c.origin, Seq: last.Seq, At: last.At, Size: c.head.size, Witnesses: c.head.witnesses}
	if !c.head.cosigned.IsZero() {
		a.Cosigned = c.head.cosigned.Format(timeLayout)
	}
	return a
}

// notes says what an old or undated checkpoint leaves open. Evidence is judged
// offline, where a new checkpoint can not be asked for, so neither is an error.
func (c *Chain) notes(l *policyLog, now time.Time) []string {
	switch at := c.head.cosigned; {
	case at.IsZero():
		return []string{"nobody has dated the checkpoint of log " + c.origin + ": its leaves are dated by the log alone"}
	case at.After(now.Add(atTolerance)):
		return []string{"the checkpoint of log " + c.origin + " is of " + at.Format(timeLayout) + ", later than the time of judging: it may be older than it says"}
	case now.After(at.Add(l.maxAge)):
		return []string{"the checkpoint of log " + c.origin + " is of " + at.Format(timeLayout) + ", older than " + l.maxAge.String() +
			": dissent logged since then is not seen"}
	}
	return nil
}
