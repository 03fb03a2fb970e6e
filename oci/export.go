package oci

import (
	"context"
	"slices"

	"rebuild/attest"
	"rebuild/store"
)

// Exported says what became of one image's evidence.
type Exported struct {
	Platform string         `json:"platform"`
	Target   string         `json:"target"`
	Image    store.Digest   `json:"image"`
	Attached int            `json:"attached"`        // artifacts that refer to it now
	Added    []store.Digest `json:"added,omitempty"` // manifests of those that did not before
}

// Export attaches to each released image every testimony that names it and the
// .rbundle file, which attest has verified. An image that the place does not
// have is FILE_MISSING, and then nothing is written. What is attached already
// stays as it is.
func Export(ctx context.Context, to Place, release attest.Release, testimonies []attest.Testimony, rbundle []byte) ([]Exported, error) {
	var out []Exported
	var subjects []descriptor
	for _, b := range release.Builds {
		for _, t := range b.Targets {
			d, err := subject(ctx, to, t.Manifest)
			if err != nil {
				return nil, err
			}
			subjects = append(subjects, d)
			out = append(out, Exported{Platform: b.Platform, Target: t.Name, Image: t.Manifest})
		}
	}
	for i := range out {
		// Two targets may be one image, which is then done once for both.
		if first := slices.IndexFunc(out, func(e Exported) bool { return e.Image == out[i].Image }); first < i {
			out[i].Attached = out[first].Attached
			continue
		}
		artifacts, err := artifactsOf(out[i].Image, testimonies)
		if err != nil {
			return nil, err
		}
		artifacts = append(artifacts, Artifact{Type: TypeBundle, Title: attest.FileName(&release), Content: rbundle})
		if out[i].Added, err = attach(ctx, to, subjects[i], artifacts); err != nil {
			return nil, err
		}
		out[i].Attached = len(artifacts)
	}
	return out, nil
}

// artifactsOf returns the testimonies that name an image as artifacts.
func artifactsOf(image store.Digest, testimonies []attest.Testimony) ([]Artifact, error) {
	var out []Artifact
	for _, t := range testimonies {
		if !t.Names(image) {
			continue
		}
		a, err := Statement(t.Envelope, t.PredicateType)
		if err != nil {
			return nil, err
		}
		out = append(out, a)
	}
	return out, nil
}
