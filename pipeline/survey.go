package pipeline

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"rebuild/internal/fault"
	"rebuild/stages"
	"rebuild/store"
)

// StoreDir returns where the store of a state root is.
func StoreDir(state string) string { return filepath.Join(state, "store") }

// openExisting opens the store of a state root, or returns nil if there is
// none yet: looking must not write.
func openExisting(state string) (*store.Store, error) {
	if _, err := os.Stat(filepath.Join(StoreDir(state), "oci-layout")); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, err
	}
	return store.Open(StoreDir(state))
}

// Status says what is known of a stage before a run.
type Status struct {
	Name     stages.Name
	Key      store.Digest // stage key; "" while the outputs of its inputs are unknown
	Cached   bool         // a run would not build it
	Tree     store.Digest // the rest only if cached
	Manifest store.Digest
	Result   store.Digest // payload digest of the result that covered it; "" if none has
}

// Survey says of each stage of the plan, in [Plan.Order], whether this state
// root holds its output. policy is Environment.Policy of the engine that would
// build. It reads records and manifests and writes nothing. A damaged manifest
// is CKSUM_MISMATCH.
func (plan *Plan) Survey(state, policy string) ([]Status, error) {
	blobs, err := openExisting(state)
	if err != nil {
		return nil, err
	}
	v, err := plan.survey(state, blobs, policy, false, nil)
	if err != nil {
		return nil, err
	}
	out := make([]Status, len(plan.steps))
	for i, s := range plan.steps {
		out[i] = Status{Name: s.stage.Name, Key: v.keys[i]}
		if r := v.records[i]; r != nil {
			out[i].Cached, out[i].Tree, out[i].Manifest, out[i].Result = true, r.Tree, r.Manifest, r.Result
		}
	}
	return out, nil
}

// surveyed is what the records say, by step.
type surveyed struct {
	manifests map[string]store.Digest // of inputs, by KIND/NAME, as far as known
	inputs    map[string]ReportInput  // those of them that no stage makes
	keys      []store.Digest
	records   []*stageRecord // that count
}

// survey walks the steps in order. A stage whose inputs are all known has a
// key; with a record that counts, its own output is known too. If fresh, no
// stage has one.
func (plan *Plan) survey(state string, blobs *store.Store, policy string, fresh bool, others *Substitution) (*surveyed, error) {
	v := &surveyed{
		manifests: map[string]store.Digest{}, inputs: map[string]ReportInput{},
		keys: make([]store.Digest, len(plan.steps)), records: make([]*stageRecord, len(plan.steps)),
	}
	if err := plan.surveyInputs(v, state, blobs); err != nil {
		return nil, err
	}
	for i, s := range plan.steps {
		manifests, complete := s.manifests(v.manifests)
		if !complete {
			continue
		}
		key, err := StageKey(s.doc, plan.Doc.Platform, plan.Doc.SourceDateEpoch, manifests)
		if err != nil {
			return nil, err
		}
		v.keys[i] = key
		if r := others.record(s.doc.Name, blobs); r != nil {
			v.records[i] = r
			v.manifests[stageInput(s)] = r.Manifest
			continue
		}
		if fresh || blobs == nil {
			continue
		}
		r, err := plan.recordOf(state, blobs, s, key, policy)
		if err != nil {
			return nil, err
		}
		if r != nil {
			v.records[i] = r
			v.manifests[stageInput(s)] = r.Manifest
		}
	}
	return v, nil
}

func stageInput(s *step) string {
	return stages.Input{Kind: stages.KindStage, Name: s.stage.Name}.String()
}

// manifests picks the manifests of the step's inputs; complete is false if one
// is not known.
func (s *step) manifests(known map[string]store.Digest) (m map[string]store.Digest, complete bool) {
	m = make(map[string]store.Digest, len(s.doc.Inputs))
	for _, name := range s.doc.Inputs {
		if known[name] == "" {
			return nil, false
		}
		m[name] = known[name]
	}
	return m, true
}

// recordOf returns the record that answers a step, nil if there is none that
// counts.
func (plan *Plan) recordOf(state string, blobs *store.Store, s *step, key store.Digest, policy string) (*stageRecord, error) {
	r, ok := readRecord(state, key)
	if !ok || r.Differed != nil || !r.fits(plan.Pipeline.Strict, s.stage.Exporter, policy) {
		return nil, nil
	}
	if there, err := r.present(blobs); err != nil || !there {
		return nil, err
	}
	return r, nil
}

// surveyInputs finds the manifests of seeds, images and of the sources that
// were unpacked before.
func (plan *Plan) surveyInputs(v *surveyed, state string, blobs *store.Store) error {
	for _, s := range plan.Doc.Seeds {
		in, err := plan.seedInput(s.Name)
		if err != nil {
			return err
		}
		v.add(in)
	}
	for _, i := range plan.Doc.Images {
		v.add(ReportInput{Name: stages.KindImage + "/" + i.Name, Manifest: i.Digest})
	}
	if blobs == nil {
		return nil
	}
	for _, s := range plan.Doc.Sources {
		key, err := sourceKey(s, plan.Doc.Platform, plan.Doc.SourceDateEpoch)
		if err != nil {
			return err
		}
		r, ok := readInput(state, key)
		if !ok || r.Blob != s.Digest {
			continue
		}
		there, err := imagePresent(blobs, r.Tree, r.Manifest, r.LayerSize)
		if err != nil {
			return err
		}
		if there {
			v.add(ReportInput{Name: stages.KindSource + "/" + s.Name, Tree: r.Tree, Manifest: r.Manifest})
		}
	}
	return nil
}

func (v *surveyed) add(in ReportInput) {
	v.manifests[in.Name] = in.Manifest
	v.inputs[in.Name] = in
}

// seedFiles is the tree of a seed: one program, named as the seed.
func (plan *Plan) seedFiles(name string) []store.File {
	return []store.File{{Path: name, Mode: 0o755, Data: plan.seeds[name]}}
}

// seedInput computes the image of a seed without storing it; a seed is small.
func (plan *Plan) seedInput(name string) (ReportInput, error) {
	a, err := store.WriteArchive(io.Discard, plan.seedFiles(name), plan.Doc.SourceDateEpoch)
	if err != nil {
		return ReportInput{}, err
	}
	layer := store.Layer{Tree: a.Tree.Digest(), Digest: a.Digest, Size: a.Size}
	manifest, err := store.ManifestOf(layer, plan.Doc.Platform, store.ImageConfig{})
	return ReportInput{Name: stages.KindSeed + "/" + name, Tree: layer.Tree, Manifest: manifest}, err
}

// checkPresent refuses a run whose sources or images were not fetched, naming
// all that are missing. needed says which steps are to be built.
func (plan *Plan) checkPresent(blobs *store.Store, v *surveyed, needed []bool, kind string) error {
	var missing []string
	for i, s := range plan.steps {
		if !needed[i] {
			continue
		}
		for _, name := range s.outside(kind) {
			if !plan.present(blobs, v, kind, name) && !slices.Contains(missing, kind+"/"+name) {
				missing = append(missing, kind+"/"+name)
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return notFetched(missing)
}

// outside returns the names of the step's inputs of a kind, among them the
// sources that lie in its context.
func (s *step) outside(kind string) []string {
	var out []string
	for _, in := range s.stage.Inputs {
		if in.Kind == kind {
			out = append(out, string(in.Name))
		}
	}
	if kind == stages.KindSource {
		for name := range s.doc.Into {
			out = append(out, name)
		}
	}
	return out
}

// present says whether an image, or a source as archive or unpacked, is in the
// store. A source that lies in a context is needed as it is.
func (plan *Plan) present(blobs *store.Store, v *surveyed, kind, name string) bool {
	if kind == stages.KindImage {
		return blobs != nil && blobs.Has(v.manifests[kind+"/"+name])
	}
	return plan.fetched(blobs, name) || v.manifests[kind+"/"+name] != "" && plan.sources[name].decl.Into == ""
}

func (plan *Plan) fetched(blobs *store.Store, name string) bool {
	doc := plan.sources[name].doc
	return blobs != nil && hasSize(blobs, doc.Digest, doc.Size)
}

// notFetched is the refusal to build without an outside input: a run opens no
// connection to get it.
func notFetched(missing []string) error {
	const shown = 3
	text := strings.Join(missing[:min(len(missing), shown)], ", ")
	if len(missing) > shown {
		text += ", ..."
	}
	return fault.New(fault.OfflineIndex, "%d inputs are not in the store: %s", len(missing), text).
		With("missing", missing).WithHint("run rebuild fetch; it is the only step with a network")
}
