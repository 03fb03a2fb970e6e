package main

import (
	"rebuild/attest"
	"rebuild/index"
	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/store"
)

// publishDefinitions adds to an index what it takes to build its release again:
// the recipes of the pipeline that --pipeline names, with sources as far as
// they are in the store, and the configs of the released images. Nothing of it
// is signed or needed to verify, so a publisher who has not got it publishes
// all the same, and is told what is missing.
func (a *app) publishDefinitions(dir string, d *draft, noSources bool) error {
	x := index.AddDefinitions(dir)
	defer x.Abort()
	for _, doc := range d.plans {
		plan, err := a.planOf(doc)
		if err != nil {
			a.note("the recipes of plan %s are not here, so nobody can reproduce it from the index alone: %s", short(doc.Digest()), oneLine(err.Error()))
			a.note("name their folder with --pipeline and publish again")
			continue
		}
		missing, err := plan.Define(pipeline.DefineOptions{Blobs: d.blobs, Sources: !noSources, Max: index.MaxObject}, x.Object)
		if err != nil {
			return err
		}
		if len(missing) > 0 {
			a.note("%d definitions are not in the index, only their digests are: %s", len(missing), oneLine(missing[0]))
		}
		if err := x.Hints(plan.Digest, plan.Hints()); err != nil {
			return unwritable("--index", err)
		}
	}
	for _, i := range d.images {
		if err := addConfig(x, d.blobs, i.Manifest); err != nil {
			return err
		}
	}
	_, err := x.Commit()
	return unwritable("--index", err)
}

// planOf plans the pipeline at hand and wants the plan of a release.
func (a *app) planOf(doc *attest.Plan) (*pipeline.Plan, error) {
	at, err := a.places()
	if err != nil {
		return nil, err
	}
	plan, err := a.plan(at.state, doc.Platform)
	if err != nil {
		return nil, err
	}
	if want := doc.Digest(); plan.Digest != want {
		return nil, fault.New(fault.EvidenceMismatch, "%s gives plan %s, released is %s", a.dir, plan.Digest, want).
			WithHint("name the folder of the pipeline as it was when it was released")
	}
	return plan, nil
}

// addConfig adds the config of a released image, without which its manifest
// can not be put together from the archive.
func addConfig(x *index.Definitions, blobs *store.Store, manifest store.Digest) error {
	raw, err := blobs.Read(manifest, maxManifest)
	if err != nil {
		return err
	}
	config, _, err := pipeline.PartsOf(raw)
	if err != nil {
		return err
	}
	data, err := blobs.Read(config, maxManifest)
	if err != nil {
		return err
	}
	if err := x.Object(manifest, raw); err != nil {
		return err
	}
	return x.Object(config, data)
}

// maxManifest bounds a manifest or config in bytes.
const maxManifest = 4 << 20
