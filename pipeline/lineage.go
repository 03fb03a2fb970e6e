package pipeline

import (
	"path/filepath"
	"slices"

	"rebuild/attest"
	"rebuild/bootstrap"
	"rebuild/internal/fault"
	"rebuild/stages"
	"rebuild/store"
)

// Trace computes the lineage of what a run built: where every executable
// comes from. st is the store of the run's state root. Contexts are put into
// it once more, because the record of a stage does not keep them. The pairs
// are files that the lineage should say to be equal or not.
//
// The error is USAGE if the run did not build all of the plan, SEMANTIC if a
// context has changed since, or what [bootstrap.Compute] returns.
func Trace(plan *Plan, r *Report, st *store.Store, pairs ...bootstrap.Pair) (*bootstrap.Lineage, error) {
	g, err := plan.graph(r, st)
	if err != nil {
		return nil, err
	}
	g.Fixpoints = pairs
	return bootstrap.Compute(st, g)
}

// Lineage returns the figures of [Trace].
func Lineage(plan *Plan, r *Report, st *store.Store) (*bootstrap.Report, error) {
	l, err := Trace(plan, r, st)
	if err != nil {
		return nil, err
	}
	return l.Report(), nil
}

// lineageDir has an empty document HEX.json for each lineage report that was
// made for a result, so that a garbage collection keeps what a result names.
const lineageDir = "lineage"

// LineageResult is [Lineage] as a result statement carries it. The report goes
// into the store of the state root, where Lineage.Report names it and [Roots]
// keeps it.
func LineageResult(state string, plan *Plan, r *Report) (*attest.Lineage, error) {
	st, err := store.Open(StoreDir(state))
	if err != nil {
		return nil, err
	}
	rep, err := Lineage(plan, r, st)
	if err != nil {
		return nil, err
	}
	text, err := rep.Encode()
	if err != nil {
		return nil, err
	}
	digest, err := st.Put(text)
	if err != nil {
		return nil, err
	}
	if err := writeState(filepath.Join(state, lineageDir, digest.Hex()+".json"), struct{}{}); err != nil {
		return nil, err
	}
	return &attest.Lineage{
		// The sum over the plan's seeds, which a statement has to name; a seed
		// with two names counts once in the report.
		SeedBytes:   plan.Doc.SeedBytes(),
		OpaqueBytes: rep.OpaqueBytes,
		Executables: rep.Executables.Total, Untraced: rep.Executables.Untraced(),
		Report: digest,
	}, nil
}

// graph gathers what lineage is computed from.
func (plan *Plan) graph(r *Report, st *store.Store) (*bootstrap.Graph, error) {
	g := &bootstrap.Graph{
		Plan: plan.Digest, Pipeline: plan.Doc.Pipeline, Platform: plan.Doc.Platform,
		// What the engine's policy lets through has no network and no mounts;
		// the plan says which roots are somebody else's.
		Environment: bootstrap.Environment{
			Scratch: len(plan.Doc.Images) == 0, Network: "none", Mounts: "none", Platform: plan.Doc.Platform,
		},
		Base: bootstrap.Base{
			Rebuild: r.Environment.Rebuild, RebuildDigest: r.Environment.RebuildDigest,
			Engine: r.Environment.Engine, EngineVersion: r.Environment.EngineVersion,
			Runtime: r.Environment.Runtime, RuntimeDigest: r.Environment.RuntimeDigest,
			Kernel: r.Environment.Kernel, CPUVendor: r.Environment.CPUVendor, Binfmt: r.Binfmt,
		},
	}
	manifests := map[string]store.Digest{}
	for _, in := range r.Inputs {
		manifests[in.Name] = in.Manifest
	}
	if err := plan.addSeeds(g); err != nil {
		return nil, err
	}
	if err := plan.addOutside(g, manifests, st); err != nil {
		return nil, err
	}
	contexts, err := plan.contextLayers(st)
	if err != nil {
		return nil, err
	}
	for i, s := range plan.steps {
		out, ok := r.Stage(s.stage.Name)
		if !ok {
			return nil, fault.New(fault.Usage, "stage %s has no output in the last run of plan %s", s.stage.Name, plan.Digest).
				WithHint("run rebuild run first")
		}
		image, err := st.Image(out.Manifest)
		if err != nil {
			return nil, err
		}
		g.Stages = append(g.Stages, bootstrap.Stage{
			Name: s.doc.Name, Inputs: s.doc.Inputs, Context: contexts[i],
			Tree: out.Tree, Layer: image.Layer.Digest, Origin: out.Origin,
		})
	}
	return g, nil
}

// addSeeds gives each seed with the text of the first stage that takes it.
func (plan *Plan) addSeeds(g *bootstrap.Graph) error {
	known := map[stages.Name]bool{}
	for _, s := range plan.steps {
		for _, in := range s.stage.Inputs {
			if in.Kind != stages.KindSeed || known[in.Name] {
				continue
			}
			known[in.Name] = true
			file, text, err := s.stage.Seed(in.Name)
			if err != nil {
				return err
			}
			seed := plan.seeds[string(in.Name)]
			g.Seeds = append(g.Seeds, bootstrap.Seed{
				Name: string(in.Name), Digest: store.DigestOf(seed), Bytes: seed, File: file, Text: text,
			})
		}
	}
	return nil
}

// addOutside adds sources and images. A source that no stage has as an input
// was not unpacked: stages that place it in their context see the archive.
func (plan *Plan) addOutside(g *bootstrap.Graph, manifests map[string]store.Digest, st *store.Store) error {
	for _, s := range plan.Doc.Sources {
		source := bootstrap.Source{Name: s.Name, Digest: s.Digest, Size: s.Size}
		for _, o := range s.Omit {
			source.Omit = append(source.Omit, store.Omit{Path: o.Path, Digest: o.Digest})
		}
		if plan.unpacks(s.Name) {
			layer, err := plan.sourceLayer(s, source.Omit, manifests[stages.KindSource+"/"+s.Name], st)
			if err != nil {
				return err
			}
			source.Layer = layer
		}
		g.Sources = append(g.Sources, source)
	}
	for _, i := range plan.Doc.Images {
		raw, err := st.Read(i.Digest, maxForeign)
		if err != nil {
			return err
		}
		f, err := decodeForeign(raw)
		if err != nil {
			return err
		}
		image := bootstrap.Image{Name: i.Name, Digest: i.Digest}
		for _, l := range f.Layers {
			image.Layers = append(image.Layers, l.Digest)
		}
		g.Images = append(g.Images, image)
	}
	return nil
}

// unpacks says whether a stage takes a source's tree.
func (plan *Plan) unpacks(source string) bool {
	return slices.ContainsFunc(plan.Doc.Stages, func(s attest.PlanStage) bool {
		return slices.Contains(s.Inputs, stages.KindSource+"/"+source)
	})
}

// sourceLayer returns the layer of a source's tree, unpacked again if the run
// had no need to.
func (plan *Plan) sourceLayer(s attest.PlanSource, omit []store.Omit, manifest store.Digest, st *store.Store) (store.Digest, error) {
	if manifest == "" {
		layer, err := st.PutSource(s.Digest, s.Unpack, s.Name, omit, plan.Doc.SourceDateEpoch)
		return layer.Digest, err
	}
	image, err := st.Image(manifest)
	return image.Layer.Digest, err
}

// contextLayers puts the context of every step into the store and returns
// their layers, "" for a step without one. Each must still be the plan's.
func (plan *Plan) contextLayers(st *store.Store) ([]store.Digest, error) {
	out := make([]store.Digest, len(plan.steps))
	batch := st.Batch()
	defer batch.Abort()
	for i, s := range plan.steps {
		if !s.stage.HasContext() {
			continue
		}
		files, err := contextFiles(s.stage, st)
		if err != nil {
			return nil, err
		}
		layer, err := batch.PutFiles(files, plan.Doc.SourceDateEpoch)
		if err != nil {
			return nil, err
		}
		if layer.Tree != s.doc.Context {
			return nil, s.stage.Fault(fault.Semantic, []any{"context"}, "the files of stage %s have changed since the plan was made: %s, now %s", s.stage.Name, s.doc.Context, layer.Tree).
				WithHint("run the pipeline again")
		}
		out[i] = layer.Digest
	}
	return out, batch.Commit()
}
