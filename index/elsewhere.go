package index

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"rebuild/attest"
	"rebuild/internal/fault"
	"rebuild/store"
)

// Elsewhere gets the archive of a release that an index does not have from where
// its signers, or a hub, have it. nil without an error is that nobody named a
// place. What it returns is not trusted.
type Elsewhere func(ctx context.Context, digest store.Digest, release *attest.Release) ([]byte, error)

// errWithdrawn is a file that was taken out of an index on purpose, which is not
// to be got behind its back.
var errWithdrawn = fmt.Errorf("withdrawn: %w", fs.ErrNotExist)

// archiveOf returns the archive of an entry whose release was verified to be
// signed: from the index, and if it is not there from elsewhere.
func (r *Reader) archiveOf(ctx context.Context, e *Entry, release *attest.Release) ([]byte, error) {
	data, err := r.Archive(ctx, e)
	if r.in.Elsewhere == nil || fault.CodeOf(err) != fault.FileMissing || isWithdrawn(err) {
		return data, err
	}
	data, other := r.in.Elsewhere(ctx, e.Release, release)
	switch {
	case other != nil:
		return nil, other
	case data == nil:
		return nil, err
	}
	if got := store.DigestOf(data); got.Hex() != e.Cksum {
		return nil, fault.New(fault.CksumMismatch, "the archive of %s@%s that was found elsewhere has sha256 %s, the index says %s", e.Name, e.Version, got.Hex(), e.Cksum).
			WithHint("use another index that has %s@%s", e.Name, e.Version)
	}
	return data, nil
}

// noObject is the error for an object that the index does not have.
func (r *Reader) noObject(d store.Digest, err error) error {
	if errors.Is(err, errWithdrawn) {
		return fault.New(fault.FileMissing, "index %s has withdrawn object %s", r.src, d).With("withdrawn", true).
			WithHint("ask who runs the index why")
	}
	return fault.New(fault.FileMissing, "index %s has no object %s", r.src, d).
		WithHint("use another copy of the index")
}

func isWithdrawn(err error) bool {
	var e *fault.Error
	return errors.As(err, &e) && e.Details["withdrawn"] == true
}
