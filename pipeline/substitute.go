package pipeline

import (
	"slices"

	"rebuild/attest"
	"rebuild/internal/fault"
	"rebuild/stages"
	"rebuild/store"
)

// Substitution is what a run takes from others instead of building it: the
// outputs of a stage and of everything that it needs. A run with one says so
// of each of them, and its result is no vote.
type Substitution struct {
	outputs map[string]Output
	// Images are the stages whose images must be in the store: those that a
	// stage which is still built takes as an input, and the targets.
	Images []stages.Name
}

// Substitute says what is taken from others so that nothing up to a stage is
// built. released is what others got, of every stage of the plan. The error is
// USAGE for a stage that the plan does not have.
func (plan *Plan) Substitute(upTo stages.Name, released []attest.StageResult) (*Substitution, error) {
	taken, err := plan.closure([]stages.Name{upTo})
	if err != nil {
		return nil, err
	}
	s := &Substitution{outputs: map[string]Output{}}
	for _, r := range released {
		if i, ok := plan.index[r.Name]; ok && taken[i] {
			s.outputs[r.Name] = Output{Tree: r.Tree, Manifest: r.Manifest}
		}
	}
	for i, step := range plan.steps {
		if taken[i] && s.outputs[step.doc.Name].Manifest == "" {
			return nil, fault.New(fault.EvidenceMismatch, "nobody says what came out of stage %s", step.doc.Name)
		}
	}
	for i, step := range plan.steps {
		if taken[i] && plan.needed(i, taken) {
			s.Images = append(s.Images, step.stage.Name)
		}
	}
	return s, nil
}

// needed says whether the image of a step that is not built is read.
func (plan *Plan) needed(i int, taken []bool) bool {
	name := plan.steps[i].doc.Name
	if slices.Contains(plan.Doc.Targets, name) {
		return true
	}
	for j, step := range plan.steps {
		if !taken[j] && slices.Contains(step.doc.StageInputs(), name) {
			return true
		}
	}
	return false
}

// record stands for the record of a stage that is not built. Its layer is
// looked up if it is at hand.
func (s *Substitution) record(name string, blobs *store.Store) *stageRecord {
	if s == nil {
		return nil
	}
	out, ok := s.outputs[name]
	if !ok {
		return nil
	}
	r := &stageRecord{Stage: name, Tree: out.Tree, Manifest: out.Manifest, substituted: true}
	if blobs != nil && blobs.Has(out.Manifest) {
		if image, err := blobs.Image(out.Manifest); err == nil {
			r.LayerSize = image.Layer.Size
		}
	}
	return r
}

// TakeImage puts the image of a substituted stage into a store that has its
// layer already, and holds all of it to what was released: TREE_MISMATCH if the
// layer is another tree, CKSUM_MISMATCH or FILE_MISSING for the rest.
func TakeImage(blobs *store.Store, tree store.Digest, manifest, config []byte) error {
	if _, err := blobs.Put(config); err != nil {
		return err
	}
	digest := store.DigestOf(manifest)
	if _, err := blobs.PutManifest(manifest); err != nil {
		return err
	}
	image, err := blobs.Image(digest)
	if err != nil {
		return err
	}
	got, err := blobs.ReadLayer(image.Layer.Digest)
	if err != nil {
		return err
	}
	if got.Digest() != tree {
		return fault.New(fault.TreeMismatch, "image %s holds tree %s, expected %s", digest, got.Digest(), tree)
	}
	_, err = blobs.Put(got.Text())
	return err
}

// PartsOf returns the config and the only layer that the manifest of an image
// of ours names.
func PartsOf(manifest []byte) (config, layer store.Digest, err error) {
	f, err := decodeForeign(manifest)
	if err != nil {
		return "", "", err
	}
	if len(f.Layers) != 1 {
		return "", "", fault.New(fault.Structure, "an image of %d layers, ours have one", len(f.Layers))
	}
	for _, d := range []store.Digest{f.Config.Digest, f.Layers[0].Digest} {
		if _, err := store.ParseDigest(string(d)); err != nil {
			return "", "", err
		}
	}
	return f.Config.Digest, f.Layers[0].Digest, nil
}
