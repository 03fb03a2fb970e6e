package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"rebuild/attest"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
	"rebuild/stages"
	"rebuild/store"
)

// prepare makes the state root and puts the plan, the seeds and the contexts
// of the stages to build into the store, with one wait for the disk.
func (r *runner) prepare() (err error) {
	if !slices.Contains(r.missing(), true) {
		return nil
	}
	if err := durable.MkdirAll(durable.OS{}, r.State); err != nil {
		return err
	}
	if r.blobs, err = store.Open(StoreDir(r.State)); err != nil {
		return err
	}
	batch := r.blobs.Batch()
	defer batch.Abort()
	if _, err := batch.Put(r.Plan.JSON); err != nil {
		return err
	}
	for _, s := range r.Plan.Doc.Seeds {
		if _, _, err := r.putImage(batch, r.Plan.seedFiles(s.Name)); err != nil {
			return err
		}
	}
	for i, missing := range r.missing() {
		if !missing {
			continue
		}
		if r.context[i], err = r.putContext(batch, r.Plan.steps[i]); err != nil {
			return err
		}
	}
	if err := batch.Commit(); err != nil {
		return err
	}
	if r.Plan.contexts != nil {
		return r.Plan.contexts.save(r.State)
	}
	return nil
}

func (r *runner) putImage(batch *store.Batch, files []store.File) (store.Layer, store.Digest, error) {
	layer, err := batch.PutFiles(files, r.Plan.Doc.SourceDateEpoch)
	if err != nil {
		return layer, "", err
	}
	manifest, err := batch.PutImage(layer, r.Plan.Doc.Platform, store.ImageConfig{})
	return layer, manifest, err
}

// putContext forms a stage's context. Its tree must still be the plan's.
func (r *runner) putContext(batch *store.Batch, s *step) (store.Digest, error) {
	files, err := contextFiles(s.stage, r.blobs)
	if err != nil {
		return "", err
	}
	layer, manifest, err := r.putImage(batch, files)
	if err != nil {
		return "", err
	}
	if s.doc.Context != "" && layer.Tree != s.doc.Context {
		return "", s.stage.Fault(fault.Semantic, []any{"context"}, "the files of stage %s have changed since the plan was made: %s, now %s", s.stage.Name, s.doc.Context, layer.Tree).
			WithHint("run the command again")
	}
	return manifest, nil
}

// contextFiles lists the content of a context for the store.
func contextFiles(s *stages.Stage, blobs *store.Store) ([]store.File, error) {
	entries, err := s.Context()
	if err != nil {
		return nil, err
	}
	files := make([]store.File, len(entries))
	for i := range entries {
		e := &entries[i]
		files[i] = store.File{Path: e.Path, Mode: uint32(e.Mode()), Target: e.Target, Size: e.Size}
		switch e.Kind {
		case stages.Folder:
			files[i].Type = store.Dir
		case stages.Link:
			files[i].Type = store.Symlink
		default:
			files[i].Type = store.Regular
			files[i].Open = func() (io.ReadCloser, error) { return openContent(s, blobs, e) }
		}
	}
	return files, nil
}

// ownFiles lists the context for a Check, less what is not in the store yet.
func ownFiles(s *stages.Stage, blobs *store.Store) ([]ContextFile, error) {
	entries, err := s.Context()
	if err != nil {
		return nil, err
	}
	var out []ContextFile
	for i := range entries {
		e := &entries[i]
		if d, ok := e.Content(); e.Kind == stages.Folder || ok && (blobs == nil || !hasSize(blobs, d, e.Size)) {
			continue
		}
		f := ContextFile{Path: e.Path, Link: e.Kind == stages.Link}
		if !f.Link {
			f.Open = func() (io.ReadCloser, error) { return openContent(s, blobs, e) }
		}
		out = append(out, f)
	}
	return out, nil
}

func openContent(s *stages.Stage, blobs *store.Store, e *stages.Entry) (io.ReadCloser, error) {
	if d, ok := e.Content(); ok {
		return blobs.Open(d)
	}
	return s.OpenContext(e)
}

// build gets the output of one step whose stage inputs are done: from the
// record if its inputs turned out as they once were, else from the engine.
func (r *runner) build(ctx context.Context, i int) (*stageOutput, error) {
	s, plan := r.Plan.steps[i], r.Plan
	manifests, err := r.inputs(ctx, s)
	if err != nil {
		return nil, err
	}
	key, err := StageKey(s.doc, plan.Doc.Platform, plan.Doc.SourceDateEpoch, manifests)
	if err != nil {
		return nil, err
	}
	if err := r.distrusted(s, key); err != nil {
		return nil, err
	}
	if !r.Fresh {
		rec, err := plan.recordOf(r.State, r.blobs, s, key, r.env.Policy)
		if err != nil {
			return nil, err
		}
		if rec != nil {
			return &stageOutput{key, *rec, true}, nil
		}
	}
	if err := r.verifyInputs(ctx, s, manifests); err != nil {
		return nil, err
	}
	out, err := r.Engine.Solve(ctx, r.job(i, manifests))
	if err != nil {
		return nil, err
	}
	if err := r.checkOutput(s, out); err != nil {
		return nil, err
	}
	rec, err := r.record(s, key, out)
	if err != nil {
		return nil, err
	}
	return &stageOutput{key, *rec, false}, nil
}

// distrusted returns a *differs for a stage that two builds disagreed on. A
// third build, whatever it gave, would not make it deterministic.
func (r *runner) distrusted(s *step, key store.Digest) error {
	rec, ok := readRecord(r.State, key)
	if !ok || rec.Policy != r.env.Policy || rec.Differed == nil {
		return nil
	}
	return &differs{s.stage.Name, key, rec}
}

// record keeps the record of a build. If there is one from an earlier build
// from equal inputs, both must agree: else the older record stays, says so,
// and the error is a *differs.
func (r *runner) record(s *step, key store.Digest, out Output) (*stageRecord, error) {
	rec, err := r.newRecord(s, out)
	if err != nil {
		return nil, err
	}
	unlock, err := lockRecords(r.State)
	if err != nil {
		return nil, err
	}
	defer unlock()
	old, ok := readRecord(r.State, key)
	if !ok {
		return rec, rec.write(r.State, key)
	}
	rec.Operator = old.Operator
	if old.Policy != rec.Policy {
		return rec, rec.write(r.State, key)
	}
	rec.Runs, rec.Varied, rec.Binfmt = old.Runs+1, union(old.Varied, rec.Varied), union(old.Binfmt, rec.Binfmt)
	if old.Differed == nil && old.Tree == rec.Tree && old.Manifest == rec.Manifest {
		return rec, rec.write(r.State, key)
	}
	old.disagree(rec)
	return nil, errors.Join(&differs{s.stage.Name, key, old}, old.write(r.State, key))
}

func (r *runner) newRecord(s *step, out Output) (*stageRecord, error) {
	at, err := attest.FormatTime(r.Now())
	if err != nil {
		return nil, err
	}
	return &stageRecord{
		Stage: string(s.stage.Name), Tree: out.Tree, Manifest: out.Manifest, LayerSize: out.LayerSize,
		ExporterManifest: out.ExporterManifest, Exporter: s.stage.Exporter,
		Policy: r.env.Policy, Strict: r.Plan.Pipeline.Strict, Environment: r.environment(),
		Binfmt: union(r.env.Binfmt, nil), Runs: 1, Varied: union(r.env.Varied, nil), BuiltAt: at,
	}, nil
}

// differs is two builds of one stage from equal inputs with two outputs.
type differs struct {
	stage  stages.Name
	key    store.Digest
	record *stageRecord // of the first, with Differed
}

func (d *differs) Error() string {
	return fmt.Sprintf("stage %s is not deterministic: built once as tree %s manifest %s, and once as tree %s manifest %s",
		d.stage, d.record.Tree, d.record.Manifest, d.record.Differed.Tree, d.record.Differed.Manifest)
}

// rereadLimit is the size of a layer up to which an output is read again to
// compare it with the claimed tree. Above, it would cost more than the 20 ms
// that a stage's bookkeeping may take; fsck compares all.
const rereadLimit = 4 << 20

// checkOutput holds the engine to its word: what it says it built is in the
// store, as an image for this platform.
func (r *runner) checkOutput(s *step, out Output) error {
	broken := func(format string, args ...any) error {
		return fault.New(fault.TreeMismatch, "output of stage %s: %w", s.stage.Name, fault.New(fault.TreeMismatch, format, args...)).
			WithHint("rebuild store fsck looks for damage")
	}
	image, err := r.blobs.Image(out.Manifest)
	if err != nil {
		return broken("%w", err)
	}
	switch {
	case image.Platform != r.Plan.Doc.Platform:
		return broken("image for %s, expected %s", image.Platform, r.Plan.Doc.Platform)
	case image.Layer.Size != out.LayerSize || !hasSize(r.blobs, image.Layer.Digest, out.LayerSize):
		return broken("layer %s is not in the store with %d bytes", image.Layer.Digest, out.LayerSize)
	case !r.blobs.Has(out.Tree):
		return broken("tree %s is not in the store", out.Tree)
	case s.stage.Exporter != nil && out.ExporterManifest == "":
		return broken("the exporter's digest is missing")
	case out.LayerSize > rereadLimit:
		return nil
	}
	tree, err := r.blobs.ReadLayer(image.Layer.Digest)
	if err != nil {
		return broken("%w", err)
	}
	if got := tree.Digest(); got != out.Tree {
		return broken("expected tree %s, the layer holds %s", out.Tree, got)
	}
	return nil
}
