package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// Limits of what is read from a place, in bytes and in number.
const (
	maxManifest  = 4 << 20
	maxArtifact  = 64 << 20  // a .rbundle; a statement has far less
	maxFound     = 256 << 20 // of all artifacts of an image
	maxReferrers = 10_000
)

// Place holds images and what refers to them. [OpenLayout] and [OpenRegistry]
// make one.
type Place interface {
	fmt.Stringer
	// manifest returns the bytes of a manifest, checked against the digest;
	// FILE_MISSING if it is not there.
	manifest(ctx context.Context, d store.Digest) ([]byte, error)
	// blob returns the bytes of a blob, checked against digest and size.
	blob(ctx context.Context, d descriptor) ([]byte, error)
	// putBlob stores a blob unless it is there.
	putBlob(ctx context.Context, d descriptor, open func() (io.ReadCloser, error)) error
	// putManifest stores a manifest; one with a subject is listed as its referrer.
	putManifest(ctx context.Context, d descriptor, raw []byte) error
	// referrers lists the manifests that refer to a manifest.
	referrers(ctx context.Context, subject descriptor) ([]store.Digest, error)
}

// subject describes an image that is in the place.
func subject(ctx context.Context, p Place, image store.Digest) (descriptor, error) {
	raw, err := p.manifest(ctx, image)
	if fault.CodeOf(err) == fault.FileMissing {
		return descriptor{}, fault.New(fault.FileMissing, "%s has no image %s: %w", p, image, err).
			WithHint("push the image too, with --image LAYOUT")
	}
	if err != nil {
		return descriptor{}, err
	}
	if _, err := parseManifest(raw); err != nil {
		return descriptor{}, err
	}
	return describe(store.MediaTypeManifest, raw), nil
}

// parseManifest reads the manifest of an image or a referrer, which others may
// have written.
func parseManifest(raw []byte) (*manifest, error) {
	var m manifest
	if err := document.DecodeForeign("manifest "+string(store.DigestOf(raw)), raw, &m); err != nil {
		return nil, err
	}
	for _, d := range append([]descriptor{m.Config}, m.Layers...) {
		if _, err := store.ParseDigest(string(d.Digest)); err != nil {
			return nil, fault.New(fault.Structure, "manifest %s: %w", store.DigestOf(raw), err)
		}
	}
	return &m, nil
}

// attempts is how often a referrer is put that another writer's update of the
// same list has lost.
const attempts = 3

// attach makes artifacts refer to a subject and returns the manifests that
// were not there. That all are listed afterwards is seen before it returns:
// a list kept under a tag has no lock, and two writers can lose each other's
// entries.
func attach(ctx context.Context, p Place, to descriptor, artifacts []Artifact) ([]store.Digest, error) {
	wanted := make([][]byte, len(artifacts))
	var missing []int
	for i, a := range artifacts {
		var err error
		if wanted[i], err = a.manifest(to); err != nil {
			return nil, err
		}
		missing = append(missing, i)
	}
	var added []store.Digest
	for attempt := 0; ; attempt++ {
		listed, err := p.referrers(ctx, to)
		if err != nil {
			return nil, err
		}
		missing = slices.DeleteFunc(missing, func(i int) bool { return slices.Contains(listed, store.DigestOf(wanted[i])) })
		if len(missing) == 0 {
			slices.Sort(added)
			return slices.Compact(added), nil
		}
		if attempt == attempts {
			return nil, fault.New(fault.IndexFetch, "%s took %s and does not list it as a referrer of %s",
				p, store.DigestOf(wanted[missing[0]]), to.Digest).WithHint("export again when no one else writes to this repository")
		}
		for _, i := range missing {
			if err := put(ctx, p, artifacts[i], wanted[i]); err != nil {
				return nil, err
			}
			added = append(added, store.DigestOf(wanted[i]))
		}
	}
}

func put(ctx context.Context, p Place, a Artifact, raw []byte) error {
	if err := p.putBlob(ctx, describe(mediaTypeEmpty, empty), opener(empty)); err != nil {
		return err
	}
	if err := p.putBlob(ctx, a.layer(), opener(a.Content)); err != nil {
		return err
	}
	return p.putManifest(ctx, describe(store.MediaTypeManifest, raw), raw)
}

// Find returns the artifacts of our types that refer to an image, as they were
// found, in the order of the place. Nothing of them is verified but their
// digests. Artifacts of other types are left out; one of ours that can not be
// read is an error, for it may be a dissent.
func Find(ctx context.Context, p Place, image store.Digest) ([]Artifact, error) {
	to, err := subject(ctx, p, image)
	if err != nil {
		return nil, err
	}
	listed, err := p.referrers(ctx, to)
	if err != nil {
		return nil, err
	}
	var out []Artifact
	size := 0
	for _, d := range listed {
		a, err := fetch(ctx, p, d, to)
		if err != nil {
			return nil, fault.In(err, "referrer "+string(d))
		}
		if a == nil {
			continue
		}
		if size += len(a.Content); size > maxFound {
			return nil, fault.New(fault.Structure, "what refers to %s has more than %d bytes, no more is read", image, maxFound)
		}
		out = append(out, *a)
	}
	return out, nil
}

// fetch reads one referrer, nil if it is of another type.
func fetch(ctx context.Context, p Place, d store.Digest, to descriptor) (*Artifact, error) {
	raw, err := p.manifest(ctx, d)
	if err != nil {
		return nil, err
	}
	m, err := parseManifest(raw)
	if err != nil {
		return nil, err
	}
	if m.ArtifactType != TypeStatement && m.ArtifactType != TypeBundle {
		return nil, nil
	}
	if m.Subject == nil || m.Subject.Digest != to.Digest {
		return nil, fault.New(fault.EvidenceMismatch, "it is listed for %s and refers to something else", to.Digest)
	}
	if len(m.Layers) != 1 || m.Layers[0].Size > maxArtifact {
		return nil, fault.New(fault.Structure, "it has not one layer of at most %d bytes", maxArtifact)
	}
	content, err := p.blob(ctx, m.Layers[0])
	return &Artifact{m.ArtifactType, m.Layers[0].Annotations[annotationTitle], m.Annotations, content}, err
}

// PushImages copies images with all that they name from a store, unless they
// are there. A store in which one is missing or damaged is an error, and what
// was copied by then stays without a manifest.
func PushImages(ctx context.Context, to Place, from *store.Store, images ...store.Digest) error {
	for _, d := range images {
		raw, err := from.Read(d, maxManifest)
		if err != nil {
			return err
		}
		m, err := parseManifest(raw)
		if err != nil {
			return err
		}
		for _, b := range append([]descriptor{m.Config}, m.Layers...) {
			// The store hashes what it delivers and ends in an error if it differs.
			open := func() (io.ReadCloser, error) { return from.Open(b.Digest) }
			if err := to.putBlob(ctx, b, open); err != nil {
				return err
			}
		}
		switch _, err := to.manifest(ctx, d); {
		case fault.CodeOf(err) == fault.FileMissing:
			if err := to.putManifest(ctx, describe(store.MediaTypeManifest, raw), raw); err != nil {
				return err
			}
		case err != nil:
			return err
		}
	}
	return nil
}

// checked returns content that was read in full if it is what d names.
func checked(d descriptor, content []byte) ([]byte, error) {
	if got := store.DigestOf(content); got != d.Digest || int64(len(content)) != d.Size {
		return nil, fault.New(fault.CksumMismatch, "%s of %d bytes is expected, %s of %d bytes came", d.Digest, d.Size, got, len(content))
	}
	return content, nil
}

// readAll reads at most limit bytes and closes r.
func readAll(r io.ReadCloser, limit int64) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, err
	}
	if int64(len(content)) > limit {
		return nil, fault.New(fault.Parse, "more than %d bytes", limit)
	}
	return content, nil
}
