package index

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"rebuild/attest"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// A logged index is read as of one state of it: the head is the log's last
// leaf under a checkpoint, the leaf names the view, and the view has the digest
// of every file of lines. So whoever serves the index can withhold, but can not
// change, drop, or mix what the log's key signed.
//
// The checks, in order: the head by the log's key and the policy's witnesses
// (OpenHead), that it is the last leaf, that no leaf is dated after its
// checkpoint, freshness, and that the log has grown from what this client saw
// before and from what this reader read before. A file that does not fit may be
// of a publication under way, so head and file are asked for again, past all
// caches, before that is VIEW_MISMATCH.

// snapshot is one state of a logged index.
type snapshot struct {
	leaf  attest.Event
	raw   []byte // the leaf
	proof []byte // its tlog-proof
	head  *attest.Checkpoint

	histories map[string]*history // of packages, as read in this state; under logged.mu
	lines     map[string]*lines   // of packages; under logged.mu
}

// logged is the log of an index, as far as a reader has read it.
type logged struct {
	trusted *attest.TrustedLog
	// byPolicy says that a policy answers for the log's key, not the server.
	byPolicy bool

	mu     sync.Mutex
	latest *snapshot
	before *attest.Checkpoint         // what was seen before this reader; nil for nothing
	nodes  map[store.Digest]*viewNode // of the view, each hashed
	plans  map[store.Digest]*plan     // that releases were built by

	planBytes int // that were read of plans

	tiles sync.Mutex
	tree  *logReader // of the state that was last proven in; under tiles
}

// viewNode is view/root or view/<2 hex> (digests by part of a path's hash), or
// view/<4 hex> (by path).
type viewNode map[string]store.Digest

// Waits before a file that does not fit the head is asked for again.
var rereadAfter = []time.Duration{0, 50 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond}

// unfit is a file that does not fit the head. It is no answer yet.
type unfit struct{ why *fault.Error }

func (e *unfit) Error() string { return e.why.Error() }

func (e *unfit) Unwrap() error { return e.why }

func notInView(format string, args ...any) error {
	return &unfit{fault.New(fault.ViewMismatch, format, args...).
		WithHint("name another copy of the index with --index, and tell who runs this one; if a publication was interrupted there, rebuild index fsck --repair finishes it")}
}

// openLog finds who answers for the log and reads the head.
func (r *Reader) openLog(ctx context.Context) error {
	l, err := r.trustedLog()
	if l == nil {
		return err
	}
	r.log = l
	if r.in.State != nil {
		if err := r.recall(); err != nil {
			return err
		}
	}
	err = r.refresh(ctx, false)
	if code := fault.CodeOf(err); err != nil && code != fault.IndexFetch && code != fault.OfflineIndex {
		return r.refresh(ctx, true) // the head may be of a cache
	}
	return err
}

// trustedLog returns the log of the index, nil for an unlogged one. An index
// that should have one and shows none is VIEW_MISMATCH: otherwise leaving it out
// would switch off all that depends on it.
func (r *Reader) trustedLog() (*logged, error) {
	var known *attest.TrustedLog
	if r.in.Policy != nil {
		known = r.in.Policy.Log()
	}
	shown := r.config.Log
	switch {
	case shown == nil && known != nil:
		return nil, fault.New(fault.ViewMismatch, "index %s has no log, and policy %s names log %s", r.src, r.in.Policy.Name(), known.Origin()).
			WithHint("use the index of that log, or a policy without one")
	case shown == nil && r.in.State != nil && r.in.State.loggedAt(r.src.String()):
		return nil, fault.New(fault.ViewMismatch, "index %s has no log, and had one when it was read before", r.src).
			WithHint("ask who runs the index; if the log was given up on purpose, use a new state with --state DIR")
	case shown == nil:
		return nil, nil
	case known != nil && known.Origin() != shown.Origin:
		return nil, fault.New(fault.EvidenceMismatch, "index %s is in log %s, the policy's is %s", r.src, shown.Origin, known.Origin()).
			WithHint("use the index of that log, or a policy that names this one")
	case known != nil:
		if r.in.State != nil { // so that who reads without the policy misses the log too
			r.in.State.pinLog(r.src.String(), known.Key())
		}
		return &logged{trusted: known, byPolicy: true}, nil
	}
	return r.pinnedLog(shown)
}

// pinnedLog takes the log key that the index shows, if it is the first one seen.
func (r *Reader) pinnedLog(shown *Log) (*logged, error) {
	if r.in.State != nil {
		pinned, first := r.in.State.pinLog(r.src.String(), shown.Key)
		if pinned != shown.Key {
			return nil, fault.New(fault.KeyUnknown, "index %s shows the log key %s, it showed %s when it was first read", r.src, shown.Key, pinned).
				WithHint("judge by a policy that names the log's key, if it was changed on purpose")
		}
		if first {
			r.notice("log key of " + shown.Origin + " taken from the index itself, as the first one seen: " + shown.Key)
		}
	} else {
		r.notice("log key of " + shown.Origin + " taken from the index itself: no policy answers for it")
	}
	known, _ := attest.PinnedLog(shown.Origin, shown.Key) // Config.validate has
	return &logged{trusted: known}, nil
}

// recall opens the checkpoint of the log that was seen last.
func (r *Reader) recall() error {
	note := r.in.State.Head(r.log.trusted.Origin())
	if note == nil {
		return nil
	}
	// Witnesses were counted when it was taken up, by the policy of then.
	same, _ := attest.PinnedLog(r.log.trusted.Origin(), r.log.trusted.Key()) // it is one
	var err error
	r.log.before, err = same.OpenCheckpoint(note)
	if err == nil {
		return nil
	}
	if r.log.byPolicy && fault.CodeOf(err) == fault.KeyUnknown {
		// It was never of the log that the policy means, and nothing else that
		// is remembered under its name was.
		r.in.State.forget(same.Origin())
		r.notice("the remembered checkpoint of log " + same.Origin() + " is by another key than the policy's, and is given up")
		return nil
	}
	return fault.New(fault.CodeOf(err), "the remembered checkpoint of log %s: %w", same.Origin(), err).
		WithHint("give --policy with the key of the log, or use a new state with --state DIR")
}

// refresh reads the head and moves on to it.
func (r *Reader) refresh(ctx context.Context, fresh bool) error {
	s, err := r.readHead(ctx, fresh)
	if err != nil {
		return err
	}
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	if err := r.checkFresh(s); err != nil {
		return err
	}
	seen := r.log.before
	if r.log.latest != nil {
		seen = r.log.latest.head
	}
	if seen != nil {
		if err := r.follows(ctx, seen, s.head); err != nil {
			return err
		}
	}
	r.log.latest = s
	if r.in.State != nil {
		r.in.State.setHead(s.head.Origin, s.head.Note)
	}
	return nil
}

// readHead reads and verifies the head by itself.
func (r *Reader) readHead(ctx context.Context, fresh bool) (*snapshot, error) {
	data, err := r.src.Get(ctx, headFile, document.Events.MaxBytes+1+attest.MaxProof, fresh)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.ViewMismatch, "index %s is in log %s and shows no %s", r.src, r.log.trusted.Origin(), headFile).
			WithHint("ask who runs the index to run: rebuild index fsck --repair")
	}
	if err != nil {
		return nil, err
	}
	raw, proof, _ := bytes.Cut(data, []byte("\n"))
	leaf, head, err := r.log.trusted.OpenHead(raw, proof)
	if err != nil {
		return nil, err
	}
	if leaf.Seq != head.Size-1 {
		return nil, fault.New(fault.ViewMismatch, "the head is leaf %d of the log of size %d, not its last", leaf.Seq, head.Size).
			WithHint("name another copy of the index with --index, and tell who runs this one")
	}
	return &snapshot{leaf: leaf, raw: raw, proof: proof, head: head}, checkDated(&leaf, head)
}

func checkDated(leaf *attest.Event, head *attest.Checkpoint) error {
	at, _ := attest.ParseTime(leaf.At) // DecodeEvent has
	if !head.Cosigned.IsZero() && at.After(head.Cosigned.Add(atTolerance)) {
		return fault.New(fault.Stale, "leaf %d is dated %s, its checkpoint was cosigned before, at %s", leaf.Seq, leaf.At, timeText(head.Cosigned)).
			WithHint("ask who runs the index to run: rebuild index sign")
	}
	return nil
}

func timeText(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// checkFresh is strict online; offline nobody can be asked for a newer head.
func (r *Reader) checkFresh(s *snapshot) error {
	if err := r.log.trusted.CheckFresh(s.head, r.in.Now); err != nil {
		if !r.in.Offline {
			return err
		}
		r.notice(err.Error() + ": what was published or yanked since is not seen")
	}
	if s.head.Cosigned.After(r.in.Now.Add(atTolerance)) {
		r.notice("the checkpoint of log " + s.head.Origin + " is of " + timeText(s.head.Cosigned) + ", later than the time of judging: it may be older than it says")
	}
	return nil
}

// follows wants a log to have grown from one checkpoint to another: ROLLBACK or
// FORK with both notes as the evidence if it has not.
func (r *Reader) follows(ctx context.Context, seen, served *attest.Checkpoint) error {
	err := checkConsistency(ctx, r.src, seen, served)
	if code := fault.CodeOf(err); code == fault.Fork || code == fault.EvidenceMismatch {
		// Tiles of an earlier answer may be in a cache.
		err = checkConsistency(ctx, pastCaches{r.src}, seen, served)
	}
	return err
}

// pastCaches is a source that is always asked for what there is now.
type pastCaches struct{ Source }

func (p pastCaches) Get(ctx context.Context, path string, limit int64, _ bool) ([]byte, error) {
	return p.Source.Get(ctx, path, limit, true)
}

// current is the state that the reader is at.
func (r *Reader) current() *snapshot {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	return r.log.latest
}

// Head returns the checkpoint as of which the index was read last, nil for an
// unlogged index.
func (r *Reader) Head() *attest.Checkpoint {
	if r.log == nil {
		return nil
	}
	return r.current().head
}

// settled calls read with the current state until what it reads fits, each
// time with a head that was asked for again.
func (r *Reader) settled(ctx context.Context, read func(s *snapshot, fresh bool) error) error {
	wait := r.in.Pause
	if wait == nil {
		wait = pause
	}
	err := read(r.current(), false)
	for _, after := range rereadAfter {
		var u *unfit
		if !errors.As(err, &u) {
			return err
		}
		if !wait(ctx, after) {
			return context.Cause(ctx)
		}
		if err := r.refresh(ctx, true); err != nil {
			return err
		}
		err = read(r.current(), true)
	}
	return err
}

// viewed returns a file that the view has, as it is in a state of the index;
// fs.ErrNotExist if the view says that there is none. limit bounds it.
func (r *Reader) viewed(ctx context.Context, s *snapshot, file string, limit int64, fresh bool) ([]byte, error) {
	want, err := r.inView(ctx, s, file, fresh)
	if err != nil {
		return nil, err
	}
	if want == "" {
		return nil, fmt.Errorf("%s: %w", file, fs.ErrNotExist)
	}
	data, err := r.src.Get(ctx, file, limit, fresh)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notInView("index %s does not show %s, which its log has as %s", r.src, file, want)
	}
	if err != nil {
		return nil, err
	}
	if got := store.DigestOf(data); got != want {
		return nil, notInView("%s of index %s is %s, its log has %s", file, r.src, got, want)
	}
	return data, nil
}

// inView returns the digest that the view has for a file, "" for none.
func (r *Reader) inView(ctx context.Context, s *snapshot, file string, fresh bool) (store.Digest, error) {
	two, four := viewPath(file)
	want := s.leaf.View
	for _, step := range []struct{ path, key string }{{viewRoot, two}, {viewDir + two, four}, {viewDir + four, file}} {
		node, err := r.node(ctx, step.path, want, fresh)
		if err != nil {
			return "", err
		}
		next, there := (*node)[step.key]
		if !there {
			return "", nil
		}
		want = next
	}
	return want, nil
}

// node returns a node of the view with a digest.
func (r *Reader) node(ctx context.Context, path string, want store.Digest, fresh bool) (*viewNode, error) {
	r.log.mu.Lock()
	held := r.log.nodes[want]
	r.log.mu.Unlock()
	if held != nil {
		return held, nil
	}
	data, err := r.src.Get(ctx, path, document.View.MaxBytes, fresh)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, notInView("index %s does not show %s, which its log has as %s", r.src, path, want)
	}
	if err != nil {
		return nil, err
	}
	if got := store.DigestOf(data); got != want {
		return nil, notInView("%s of index %s is %s, its log has %s", path, r.src, got, want)
	}
	read := decodeViewNodes
	if len(path) == len(viewDir)+4 && path != viewRoot {
		read = decodeViewFiles
	}
	content, err := read(path, data)
	if err != nil {
		return nil, err
	}
	node := viewNode(content)
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	set(&r.log.nodes, want, &node)
	return &node, nil
}

// proven checks that a leaf is in the log as of a state, at the place that it
// says.
func (r *Reader) proven(ctx context.Context, s *snapshot, leaf *attest.Event, raw []byte) error {
	proof, err := r.proof(ctx, s, leaf, raw)
	if err != nil {
		return err
	}
	_, _, err = r.log.trusted.OpenHead(raw, proof)
	return err
}

// proof returns the tlog-proof of a leaf as of a state, made from the log's
// tiles.
func (r *Reader) proof(ctx context.Context, s *snapshot, leaf *attest.Event, raw []byte) ([]byte, error) {
	if bytes.Equal(raw, s.raw) {
		return s.proof, nil
	}
	if leaf.Seq >= s.head.Size {
		return nil, notInView("leaf %d of chain %s is not in the log of size %d", leaf.Seq, leaf.Chain, s.head.Size)
	}
	path, err := r.log.prove(ctx, r.src, s, leaf.Seq)
	if fault.CodeOf(err) == fault.EvidenceMismatch {
		// Tiles of an earlier answer may be in a cache.
		path, err = proveLeaf(ctx, pastCaches{r.src}, s.head.Size, s.head.Root, leaf.Seq)
	}
	if err != nil {
		return nil, err
	}
	return attest.EncodeProof(leaf.Seq, path, s.head.Note), nil
}

// prove is proveLeaf that keeps the tiles it has verified: who reads many
// packages needs the same ones for most of them.
func (l *logged) prove(ctx context.Context, src Source, s *snapshot, seq int64) (tlog.RecordProof, error) {
	l.tiles.Lock()
	defer l.tiles.Unlock()
	if l.tree == nil || l.tree.tree.Hash != s.head.Root || l.tree.tree.N != s.head.Size {
		l.tree = newLogReader(ctx, src, s.head.Size, s.head.Root)
	}
	l.tree.ctx = ctx
	proof, err := tlog.ProveRecord(s.head.Size, seq, l.tree)
	return proof, l.tree.explain(err)
}
