// Package translog writes the transparency log of an index: the tiles, entry
// bundles and checkpoint of C2SP tlog-tiles, through Tessera's POSIX driver.
//
//	checkpoint                 the signed tree head
//	tile/0/...  tile/entries/  hashes and leaves, never changed once published
//	.state/                    Tessera's own record of the tree; never served
//
// [Create] makes a log once, [Open] and [Log.Append] go on with it. A batch is
// integrated as one: Tessera writes bundles and tiles under the names of the
// larger tree, which nothing leads to yet, and then replaces .state/treeState.
// The checkpoint follows, and is signed only after the tree on disk was
// compared with the tree before plus the leaves of the batch. So a crash at
// any point leaves a log of the size before the batch or after it. If the
// checkpoint is behind, the same batch again signs it, and nothing else does:
// whoever can write into the folder can put leaves there, and not have them
// signed.
//
// One process writes at a time: the caller holds the lock of the index from
// Open to Close. Nothing that reads or verifies an index needs this package.
package translog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"rebuild/attest"
	"rebuild/internal/document"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
)

// Options says whose log it is.
type Options struct {
	Origin string           // the log's name, first line of its checkpoints
	Key    attest.Signer    // signs and dates checkpoints
	Now    func() time.Time // dates them
}

// Log is a log open for writing. It is for one goroutine at a time in one
// process at a time; it has no goroutine of its own between calls.
type Log struct {
	dir     string
	in      Options
	signers [2]note.Signer
	trusted *attest.TrustedLog // by the log's own key

	mu     sync.Mutex
	size   int64 // of the tree that the checkpoint is of
	held   int64 // of the tree on disk: more, if a batch was interrupted
	stale  bool  // a batch failed: what is on disk has to be read again
	closed bool
}

// maxLeaf is the most bytes of a leaf, which readers hold the log to.
var maxLeaf = int(document.Events.MaxBytes)

// Create makes an empty log in dir, which must be there, and signs its first
// checkpoint. A log that is there is USAGE; one whose making was interrupted
// before its first checkpoint is finished.
func Create(ctx context.Context, dir string, o Options) (*Log, error) {
	l, err := newLog(dir, o)
	if err != nil {
		return nil, err
	}
	for _, held := range []string{checkpointFile, tileDir} {
		if _, err := os.Lstat(l.path(held)); !errors.Is(err, fs.ErrNotExist) {
			return nil, fault.New(fault.Usage, "%s holds a log already: it has %s", dir, held).
				WithHint("name an empty directory, or go on with this log")
		}
	}
	if err := l.sweep(0); err != nil {
		return nil, writeFault(err)
	}
	// Tessera signs the checkpoint of the empty tree, but only if it made the
	// tree just now.
	err = l.session(ctx, 1, func(s *session) error {
		if s.size != 0 {
			return fault.New(fault.Structure, "the log in %s has %d leaves and no %s", dir, s.size, checkpointFile).
				WithHint("bring %s back from a copy of the index", checkpointFile)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if _, err := os.Lstat(l.path(checkpointFile)); errors.Is(err, fs.ErrNotExist) {
		if err := l.publish(tlog.Tree{Hash: emptyRoot}); err != nil {
			return nil, err
		}
	}
	return l, l.load(ctx)
}

// Open opens the log in dir. A directory without one is USAGE: a mistyped path
// must not start a second log. A checkpoint by another key is KEY_UNKNOWN, of
// another origin EVIDENCE_MISMATCH; a tree that is behind its checkpoint is
// ROLLBACK and one that does not contain it FORK, and neither is signed.
//
// Temporary files of an interrupted batch go. Nothing is signed.
func Open(ctx context.Context, dir string, o Options) (*Log, error) {
	l, err := newLog(dir, o)
	if err != nil {
		return nil, err
	}
	for _, needed := range []string{checkpointFile, treeStateFile} {
		_, err := os.Stat(l.path(needed))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fault.New(fault.Usage, "%s holds no log: it has no %s", dir, needed).
				WithHint("check the path; a new index with a log is made by: rebuild index init DIR --origin NAME --log-key FILE")
		}
		if err != nil {
			return nil, readFault(err)
		}
	}
	return l, l.load(ctx)
}

func newLog(dir string, o Options) (*Log, error) {
	signed, dated, err := attest.LogSigners(o.Origin, o.Key, o.Now)
	if err != nil {
		return nil, err
	}
	trusted, err := attest.PinnedLog(o.Origin, attest.LogKey(o.Origin, o.Key.Public()))
	if err != nil {
		return nil, err
	}
	return &Log{dir: dir, in: o, signers: [2]note.Signer{signed, dated}, trusted: trusted}, nil
}

// Size returns the number of leaves that the checkpoint covers: as it was on
// disk at Open, and after each Append.
func (l *Log) Size() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.size
}

// Close ends the use of the log. It can be called more than once.
func (l *Log) Close(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	return nil
}

// Append adds leaves in this order behind those that are there, all or none,
// and returns once they are integrated and the checkpoint covers them. A leaf
// of more than 8 KiB is SEMANTIC and nothing is written. After any other error
// the batch is in the log or not, as Size says after the next Open.
//
// A batch whose leaves an interrupted Append has integrated is taken up again;
// other leaves than those are FORK, and nothing is signed or written.
//
// Once it has begun to write it goes on to the end, whatever becomes of ctx.
func (l *Log) Append(ctx context.Context, leaves [][]byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.ready(ctx); err != nil {
		return err
	}
	for i, leaf := range leaves {
		if len(leaf) > maxLeaf {
			return fault.New(fault.Semantic, "leaf %d of the batch has %d bytes, at most %d are allowed", i, len(leaf), maxLeaf)
		}
	}
	if len(leaves) == 0 {
		return nil
	}
	l.stale = true
	tree, err := l.grow(ctx, leaves)
	if err != nil {
		return err
	}
	if err := l.publish(tree); err != nil {
		return err
	}
	l.size, l.held = tree.N, tree.N
	if err := l.collect(tree.N); err != nil {
		return err
	}
	l.stale = false
	return nil
}

func (l *Log) ready(ctx context.Context) error {
	if l.closed {
		return fault.New(fault.Internal, "the log in %s is closed", l.dir)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if !l.stale {
		return nil
	}
	was := l.size
	if err := l.load(ctx); err != nil {
		return err
	}
	return l.unmoved(was, l.size)
}

// unmoved refuses to append to a log that has another size than the caller
// knows: its leaves say where they stand.
func (l *Log) unmoved(known, is int64) error {
	if known != is {
		return fault.New(fault.Internal, "the log in %s has %d leaves now, it had %d", l.dir, is, known).
			WithHint("run the command again")
	}
	return nil
}

// grow returns the tree on disk once it is the signed one with the leaves added,
// which Tessera does unless an interrupted batch has.
func (l *Log) grow(ctx context.Context, leaves [][]byte) (tlog.Tree, error) {
	want, err := l.grown(leaves)
	if err != nil {
		return want, err
	}
	switch l.held {
	case l.size:
		err = l.integrate(ctx, leaves)
	case want.N:
	default:
		err = fault.New(fault.Fork, "the log in %s has %d leaves behind its checkpoint, and %d are to be added", l.dir, l.held-l.size, len(leaves)).
			WithHint("find out who writes in %s; what is behind the checkpoint is of no log until it is signed", l.dir)
	}
	if err != nil {
		return want, err
	}
	got, err := l.treeHash(want.N)
	if err != nil {
		return want, err
	}
	if got != want.Hash {
		return want, fault.New(fault.Fork, "the tiles in %s give a tree of %d leaves with root %s, with the new leaves it must be %s", l.dir, want.N, got, want.Hash).
			WithHint("run: rebuild index fsck %s", l.dir)
	}
	return want, nil
}

// integrate has Tessera add the leaves.
func (l *Log) integrate(ctx context.Context, leaves [][]byte) error {
	return l.session(ctx, len(leaves), func(s *session) error {
		if err := l.unmoved(l.size, s.size); err != nil {
			return err
		}
		first, err := s.add(leaves)
		if err != nil {
			return writeFault(err)
		}
		return l.unmoved(l.size, first)
	})
}

// grown returns the tree that the log is with the leaves added.
func (l *Log) grown(leaves [][]byte) (tlog.Tree, error) {
	added := map[int64]tlog.Hash{}
	old := l.hashes(l.size)
	reader := tlog.HashReaderFunc(func(at []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(at))
		for i, n := range at {
			if h, ok := added[n]; ok {
				out[i] = h
				continue
			}
			there, err := old.ReadHashes([]int64{n})
			if err != nil {
				return nil, err
			}
			out[i] = there[0]
		}
		return out, nil
	})
	n := l.size
	for _, leaf := range leaves {
		stored, err := tlog.StoredHashes(n, leaf, reader)
		if err != nil {
			return tlog.Tree{}, readFault(err)
		}
		for i, h := range stored {
			added[tlog.StoredHashIndex(0, n)+int64(i)] = h
		}
		n++
	}
	root, err := tlog.TreeHash(n, reader)
	return tlog.Tree{N: n, Hash: root}, readFault(err)
}

// publish signs the checkpoint of a tree and replaces the one that is there.
func (l *Log) publish(t tlog.Tree) error {
	text := fmt.Sprintf("%s\n%d\n%s\n", l.in.Origin, t.N, t.Hash)
	signed, err := note.Sign(&note.Note{Text: text}, l.signers[0], l.signers[1])
	if err != nil {
		return fault.New(fault.Internal, "signing the checkpoint: %w", err)
	}
	return writeFault(l.write(checkpointFile, signed))
}

// write writes a file durably. Its temporary file is in .state, which is
// nobody else's.
func (l *Log) write(path string, data []byte) error {
	w, err := durable.Create(durable.OS{}, l.path(stateDir))
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := w.Write(data); err != nil {
		return err
	}
	return w.Commit(l.path(path))
}

func (l *Log) path(slash string) string { return filepath.Join(l.dir, filepath.FromSlash(slash)) }

func writeFault(err error) error { return doing("writing", err) }
func readFault(err error) error  { return doing("reading", err) }

func doing(what string, err error) error {
	var known *fault.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	return fault.New(fault.Internal, "%s the log: %w", what, err)
}
