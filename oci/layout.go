package oci

import (
	"bytes"
	"context"
	"io"

	"rebuild/internal/fault"
	"rebuild/store"
)

// layout is an OCI image layout in a directory.
type layout struct{ *store.Store }

// OpenLayout opens the OCI image layout in a directory, which is made if it is
// missing or empty. Other writers may use it at the same time.
func OpenLayout(dir string) (Place, error) {
	s, err := store.Open(dir)
	if err != nil {
		return nil, err
	}
	return layout{s}, nil
}

func (l layout) String() string { return "layout " + l.Dir() }

func (l layout) manifest(_ context.Context, d store.Digest) ([]byte, error) {
	return l.Read(d, maxManifest)
}

func (l layout) blob(_ context.Context, d descriptor) ([]byte, error) {
	content, err := l.Read(d.Digest, maxArtifact)
	if err != nil {
		return nil, err
	}
	return checked(d, content)
}

func (l layout) putBlob(ctx context.Context, d descriptor, open func() (io.ReadCloser, error)) error {
	if l.Verify(d.Digest) == nil {
		return nil
	}
	r, err := open()
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := l.Create()
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, &cancelled{ctx, r}); err != nil {
		w.Abort()
		return err
	}
	_, _, err = w.Commit(d.Digest)
	return err
}

// putManifest lists it under no name: names belong to whoever owns the layout.
func (l layout) putManifest(_ context.Context, _ descriptor, raw []byte) error {
	_, err := l.PutManifest(raw)
	return err
}

func (l layout) referrers(_ context.Context, subject descriptor) ([]store.Digest, error) {
	list, err := l.Referrers(subject.Digest)
	if err == nil && len(list) > maxReferrers {
		err = fault.New(fault.Structure, "more than %d referrers, no more are read", maxReferrers)
	}
	return list, err
}

// cancelled is a reader that ends with its context.
type cancelled struct {
	ctx context.Context
	r   io.Reader
}

func (c *cancelled) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

func opener(content []byte) func() (io.ReadCloser, error) {
	return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
}
