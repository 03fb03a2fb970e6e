package pipeline

import (
	"context"

	"rebuild/attest"
	"rebuild/internal/fault"
	"rebuild/store"
)

// ReadDefinitions asks objects for every definition that [Restore] would, as far
// as they are there: a mirror keeps what it is asked for. One that is missing is
// left out, any other error is returned. targets are manifests of released
// images, of which the configs are read too.
func ReadDefinitions(ctx context.Context, doc *attest.Plan, targets []store.Digest, objects Objects) error {
	r := &reach{ctx: ctx, objects: objects}
	for i := range doc.Stages {
		s := &doc.Stages[i]
		r.get(s.Containerfile, maxForeign)
		if s.Context != "" {
			r.context(s.Context)
		}
	}
	for _, s := range doc.Seeds {
		r.get(s.Digest, s.Size)
	}
	for _, s := range doc.Sources {
		r.get(s.Digest, min(s.Size, maxContextFile))
	}
	for _, i := range doc.Images {
		r.image(i.Digest)
	}
	for _, m := range targets {
		r.config(m)
	}
	return r.err
}

// reach remembers the first error.
type reach struct {
	ctx     context.Context
	objects Objects
	err     error
}

// get returns an object, nil if it is not there or something failed.
func (r *reach) get(d store.Digest, limit int64) []byte {
	if r.err != nil {
		return nil
	}
	data, err := r.objects.Object(r.ctx, d, limit)
	if err != nil && fault.CodeOf(err) != fault.FileMissing {
		r.err = err
	}
	return data
}

func (r *reach) context(d store.Digest) {
	text := r.get(d, maxContextText)
	if text == nil {
		return
	}
	tree, err := store.ParseTree(text)
	if err != nil {
		return // nobody can restore it, from here or from there
	}
	for e := range tree.Entries() {
		if e.Type == store.Regular {
			r.get(e.Content, min(e.Size, maxContextFile))
		}
	}
}

func (r *reach) image(manifest store.Digest) {
	raw := r.get(manifest, maxForeign)
	if raw == nil {
		return
	}
	f, err := decodeForeign(raw)
	if err != nil {
		return
	}
	for _, part := range append(f.Layers, f.Config) {
		if _, err := store.ParseDigest(string(part.Digest)); err == nil && part.Size >= 0 {
			r.get(part.Digest, min(part.Size, maxContextFile))
		}
	}
}

func (r *reach) config(manifest store.Digest) {
	raw := r.get(manifest, maxForeign)
	if raw == nil {
		return
	}
	if config, _, err := PartsOf(raw); err == nil {
		r.get(config, maxForeign)
	}
}
