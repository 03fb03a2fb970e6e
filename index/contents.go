package index

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"golang.org/x/mod/sumdb/tlog"

	"rebuild/attest"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// What a copy of an index has to know of its files.

// ConfigFile is the file that makes a folder an index.
const ConfigFile = configFile

// ObjectPath returns where an index has the object with a digest. Its content
// is fixed by its name.
func ObjectPath(d store.Digest) string { return objectPath(d) }

// PathDigest returns the digest that the content of a file must have: of an
// object. It is "" for every other file.
func PathDigest(path string) store.Digest {
	hex, ok := strings.CutPrefix(path, objectDir+"/")
	if !ok {
		return ""
	}
	d, err := store.ParseDigest("sha256:" + hex)
	if err != nil {
		return ""
	}
	return d
}

// Immutable says whether the content of a file, once verified, needs not be
// asked for again by one reader: objects, and statements, whose payload is in
// the name.
func Immutable(path string) bool {
	return PathDigest(path) != "" || strings.HasPrefix(path, statementDir+"/")
}

// Packages returns the names of all packages that a source has, sorted. A
// server without a log can't be asked for them (USAGE).
func (r *Reader) Packages(ctx context.Context) ([]string, error) {
	if r.log != nil {
		return r.loggedPackages(ctx)
	}
	if f, list := r.src.(*flatSource); list {
		return slices.Clone(f.names), nil
	}
	dir, ok := r.src.(dirSource)
	if !ok {
		return nil, fault.New(fault.Usage, "%s has no log that says which packages there are", r.src).WithHint("name the packages")
	}
	all, err := packages(dir.fsys)
	if err != nil {
		return nil, fault.New(fault.IndexFetch, "reading %s: %w", r.src, err)
	}
	slices.Sort(all)
	return all, nil
}

func (r *Reader) loggedPackages(ctx context.Context) ([]string, error) {
	found := map[string]bool{}
	err := r.leaves(ctx, func(e *attest.Event, _ []byte) error {
		if name, ok := strings.CutPrefix(e.Chain, "pkg:"); ok {
			found[name] = true
		}
		return nil
	})
	return slices.Sorted(maps.Keys(found)), err
}

// leaves hands out the leaves of the log, verified against the head.
func (r *Reader) leaves(ctx context.Context, take func(e *attest.Event, leaf []byte) error) error {
	head := r.current().head
	for l, err := range readLeaves(ctx, r.src, 0, head.Size, head.Root) {
		if err != nil {
			return err
		}
		e, err := attest.DecodeEvent("log", int(l.seq), l.data)
		if err == nil {
			err = take(&e, l.data)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ReadLog reads and verifies what an index has for all packages together: all
// leaves and tiles of the log, its checkpoint, the config, and the chains of the
// config and the policies with their statements. With everything it reads also what is in
// the log and in no release: plans, statements and all chains. Of an unlogged
// index it reads nothing. It is for who copies an index.
func (r *Reader) ReadLog(ctx context.Context, everything bool) error {
	if r.log == nil {
		return nil
	}
	chains := map[string]*bytes.Buffer{}
	err := r.leaves(ctx, func(e *attest.Event, leaf []byte) error {
		if !everything && e.Chain != "index" && !strings.HasPrefix(e.Chain, "policy:") {
			return nil
		}
		if chains[e.Chain] == nil {
			chains[e.Chain] = &bytes.Buffer{}
		}
		chains[e.Chain].Write(leaf)
		chains[e.Chain].WriteByte('\n')
		return r.readObject(ctx, e)
	})
	if err != nil {
		return err
	}
	for _, chain := range slices.Sorted(maps.Keys(chains)) {
		if err := r.sameChain(ctx, chain, chains[chain].Bytes()); err != nil {
			return err
		}
	}
	if err := r.readTiles(ctx); err != nil {
		return err
	}
	// Who has no policy checks the config against the view.
	err = r.settled(ctx, func(s *snapshot, fresh bool) error {
		_, err := r.viewed(ctx, s, configFile, document.IndexConfig.MaxBytes, fresh)
		return err
	})
	if err != nil {
		return err
	}
	return r.readCheckpoint(ctx)
}

// readObject reads what a leaf points to, unless it is in the files of lines.
func (r *Reader) readObject(ctx context.Context, e *attest.Event) error {
	switch e.Type {
	case attest.EventPlan:
		_, err := r.Object(ctx, e.Object, maxObject)
		return err
	case attest.EventStatement, attest.EventRelease, attest.EventYank, attest.EventPolicy:
		_, _, err := r.statement(ctx, e.Object)
		return err
	}
	return nil
}

// sameChain wants the file of a chain to be what the log has.
func (r *Reader) sameChain(ctx context.Context, chain string, want []byte) error {
	path, err := chainPath(chain)
	if err != nil {
		return err
	}
	for _, fresh := range []bool{false, true} {
		data, err := r.src.Get(ctx, path, int64(len(want))+1<<20, fresh)
		if errors.Is(err, fs.ErrNotExist) {
			return fault.New(fault.EvidenceMismatch, "index %s has no %s", r.src, path).WithHint("ask who runs the index to run: rebuild index fsck --repair")
		}
		if err != nil {
			return err
		}
		if bytes.Equal(data, want) {
			return nil
		}
	}
	return fault.New(fault.EvidenceMismatch, "%s of index %s is not what its log has", path, r.src).
		WithHint("try again; if it stays, ask who runs the index to run: rebuild index fsck --repair")
}

// readTiles reads every tile of hashes, each verified up to the root.
func (r *Reader) readTiles(ctx context.Context) error {
	head := r.current().head
	l := newLogReader(ctx, r.src, head.Size, head.Root)
	for _, t := range tlog.NewTiles(tileHeight, 0, head.Size) {
		last := tlog.StoredHashIndex(t.L*tileHeight, t.N<<tileHeight+int64(t.W)-1)
		if _, err := l.hashes.ReadHashes([]int64{last}); err != nil {
			return l.explain(err)
		}
	}
	return nil
}

// readCheckpoint reads the file that witnesses and monitors read.
func (r *Reader) readCheckpoint(ctx context.Context) error {
	data, err := r.src.Get(ctx, checkpointFile, attest.MaxProof, true)
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.EvidenceMismatch, "index %s has no %s", r.src, checkpointFile)
	}
	if err != nil {
		return err
	}
	c, err := r.log.trusted.OpenCheckpoint(data)
	if err != nil {
		return err
	}
	if head := r.current().head; c.Size != head.Size || c.Root != head.Root {
		return fault.New(fault.ViewMismatch, "the head of %s is of size %d, its checkpoint of size %d", r.src, head.Size, c.Size).
			WithHint("try again: something is being published")
	}
	return nil
}
