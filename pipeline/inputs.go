package pipeline

import (
	"context"
	"sync"

	"rebuild/attest"
	"rebuild/internal/fault"
	"rebuild/stages"
	"rebuild/store"
)

// flight is work that several stages wait for and one of them does.
type flight struct {
	once sync.Once
	err  error
}

// once does work under a name at most once in a run.
func (r *runner) once(name string, work func() error) error {
	r.mu.Lock()
	f := r.flights[name]
	if f == nil {
		f = &flight{}
		r.flights[name] = f
	}
	r.mu.Unlock()
	f.once.Do(func() { f.err = work() })
	return f.err
}

// inputs returns the manifests of a step's inputs, all of them in the store.
// What this run did not write itself is hashed before the engine sees it.
func (r *runner) inputs(ctx context.Context, s *step) (map[string]store.Digest, error) {
	out := make(map[string]store.Digest, len(s.doc.Inputs))
	for _, in := range s.stage.Inputs {
		name := in.String()
		if in.Kind == stages.KindStage {
			r.mu.Lock()
			made := r.output(string(in.Name))
			r.mu.Unlock()
			out[name] = made.record.Manifest
			continue
		}
		if in.Kind == stages.KindSource {
			if err := r.once(name, func() error { return r.unpack(string(in.Name)) }); err != nil {
				return nil, err
			}
		}
		r.mu.Lock()
		out[name] = r.known.manifests[name]
		r.mu.Unlock()
	}
	return out, ctx.Err()
}

// verifyInputs hashes the blobs of the inputs that an earlier run left.
func (r *runner) verifyInputs(ctx context.Context, s *step, manifests map[string]store.Digest) error {
	for _, in := range s.stage.Inputs {
		if r.madeHere(in) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		manifest := manifests[in.String()]
		if err := r.once("verify "+string(manifest), func() error { return r.verifyImage(manifest) }); err != nil {
			return fault.New(fault.CodeOf(err), "input %s of stage %s: %w", in, s.stage.Name, err).
				WithHint("rebuild store fsck lists all that is damaged; remove it and run again")
		}
	}
	return nil
}

// madeHere says whether this run has just written an input.
func (r *runner) madeHere(in stages.Input) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch in.Kind {
	case stages.KindStage:
		return !r.output(string(in.Name)).cached
	case stages.KindSeed:
		return true
	case stages.KindSource:
		return r.unpacked[string(in.Name)]
	}
	return false
}

// verifyImage hashes all blobs of an image, ours or foreign.
func (r *runner) verifyImage(manifest store.Digest) error {
	raw, err := r.blobs.Read(manifest, maxForeign)
	if err != nil {
		return err
	}
	f, err := decodeForeign(raw)
	if err != nil {
		return err
	}
	for _, d := range append([]descriptor{f.Config}, f.Layers...) {
		if err := r.blobs.Verify(d.Digest); err != nil {
			return err
		}
	}
	return nil
}

// unpack makes the image of a source, unless an earlier run did.
func (r *runner) unpack(name string) error {
	input := stages.KindSource + "/" + name
	r.mu.Lock()
	known := r.known.manifests[input] != ""
	r.mu.Unlock()
	if known {
		return nil
	}
	doc := r.Plan.sources[name].doc
	rec, err := r.unpackSource(doc)
	if err != nil {
		return err
	}
	key, err := sourceKey(doc, r.Plan.Doc.Platform, r.Plan.Doc.SourceDateEpoch)
	if err != nil {
		return err
	}
	if err := rec.write(r.State, key); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unpacked[name] = true
	r.known.add(ReportInput{Name: input, Tree: rec.Tree, Manifest: rec.Manifest})
	return nil
}

func (r *runner) unpackSource(doc attest.PlanSource) (*inputRecord, error) {
	omit := make([]store.Omit, len(doc.Omit))
	for i, o := range doc.Omit {
		omit[i] = store.Omit{Path: o.Path, Digest: o.Digest}
	}
	// An archive that was changed on disk is that, and not an archive with an
	// error in it.
	if err := r.blobs.Verify(doc.Digest); err != nil {
		return nil, err
	}
	batch := r.blobs.Batch()
	defer batch.Abort()
	layer, err := batch.PutSource(doc.Digest, doc.Unpack, doc.Name, omit, r.Plan.Doc.SourceDateEpoch)
	if err != nil {
		return nil, err
	}
	manifest, err := batch.PutImage(layer, r.Plan.Doc.Platform, store.ImageConfig{})
	if err != nil {
		return nil, err
	}
	return &inputRecord{Name: doc.Name, Blob: doc.Digest, Tree: layer.Tree, Manifest: manifest, LayerSize: layer.Size}, batch.Commit()
}
