package index

import (
	"context"
	"time"

	"rebuild/attest"
)

// Verify verifies a version as a reader by a policy does.
func (x *Index) Verify(name, version string, policy *attest.Policy, now time.Time) (*Entry, *attest.Account, error) {
	return x.ReaderOf(Reading{Policy: policy, Now: now}).verify(name, version)
}

// ReaderOf returns a reader of the index, which each of its calls opens.
func (x *Index) ReaderOf(in Reading) openedReader { return openedReader{x, in} }

type openedReader struct {
	x  *Index
	in Reading
}

func (o openedReader) Lookup(ctx context.Context, name, version string) (*Entry, error) {
	r, err := o.x.Reader(ctx, o.in)
	if err != nil {
		return nil, err
	}
	return r.Lookup(ctx, name, version)
}

func (o openedReader) verify(name, version string) (*Entry, *attest.Account, error) {
	r, err := o.x.Reader(context.Background(), o.in)
	if err != nil {
		return nil, nil, err
	}
	return r.verify(name, version)
}

func (r *Reader) verify(name, version string) (*Entry, *attest.Account, error) {
	e, p, err := r.Verify(context.Background(), name, version)
	if err != nil {
		return nil, nil, err
	}
	return e, p.Account(), nil
}

// Entries returns the lines of a package.
func (x *Index) Entries(name string) ([]*Entry, error) {
	r, err := x.Reader(context.Background(), Reading{})
	if err != nil {
		return nil, err
	}
	return r.Entries(context.Background(), name)
}

// Lookup returns the entry of a version.
func (x *Index) Lookup(name, version string) (*Entry, error) {
	return x.ReaderOf(Reading{}).Lookup(context.Background(), name, version)
}
