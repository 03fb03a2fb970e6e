package store

import (
	"slices"

	"rebuild/internal/document"
	"rebuild/internal/fault"
)

// PutManifest stores a manifest that others made and lists it in index.json,
// where tools look for images and for what refers to them (image-spec 1.1).
// It is listed without a name; putting it again changes nothing. The blobs
// that it names must be in the store (FILE_MISSING).
func (s *Store) PutManifest(manifest []byte) (Digest, error) {
	m, err := parseManifest("manifest", manifest)
	if err != nil {
		return "", err
	}
	if m.MediaType != MediaTypeManifest {
		return "", fault.New(fault.Structure, "media type %.80q is not %s", m.MediaType, MediaTypeManifest)
	}
	for _, d := range append([]descriptor{m.Config}, m.Layers...) {
		if !s.Has(d.Digest) {
			return "", fault.New(fault.FileMissing, "the store has no blob %s", d.Digest)
		}
	}
	d, err := s.Put(manifest)
	if err != nil {
		return "", err
	}
	// A name is given by [Store.Tag], not by what a manifest says of itself.
	delete(m.Annotations, refName)
	entry, err := document.Encode(tagged{
		Annotations: m.Annotations, ArtifactType: m.ArtifactType, Digest: d, MediaType: MediaTypeManifest, Size: int64(len(manifest)),
	})
	if err != nil {
		return "", err
	}
	return d, s.updateIndex(func(x *layoutIndex, listed []tagged) error {
		if !slices.ContainsFunc(listed, func(t tagged) bool { return t.Digest == d }) {
			x.Manifests = append(x.Manifests, entry)
		}
		return nil
	})
}

// Referrers returns the digests of the manifests that index.json lists and
// whose subject is the manifest of that digest, in the order of index.json.
// Something listed that is missing or damaged is an error: it may be a
// referrer.
func (s *Store) Referrers(subject Digest) ([]Digest, error) {
	_, listed, err := s.readIndex()
	if err != nil {
		return nil, err
	}
	var out []Digest
	for _, t := range listed {
		if t.MediaType != MediaTypeManifest || slices.Contains(out, t.Digest) {
			continue
		}
		raw, err := s.Read(t.Digest, maxManifest)
		if err != nil {
			return nil, err
		}
		m, err := parseManifest(s.BlobPath(t.Digest), raw)
		if err != nil {
			return nil, err
		}
		if m.Subject != nil && m.Subject.Digest == subject {
			out = append(out, t.Digest)
		}
	}
	return out, nil
}

// foreignManifest is what the store reads of a manifest that others made.
type foreignManifest struct {
	Annotations  map[string]string `json:"annotations"`
	ArtifactType string            `json:"artifactType"`
	Config       descriptor        `json:"config"`
	Layers       []descriptor      `json:"layers"`
	MediaType    string            `json:"mediaType"`
	Subject      *descriptor       `json:"subject"`
}

func parseManifest(file string, manifest []byte) (*foreignManifest, error) {
	var m foreignManifest
	return &m, decodeForeign(file, manifest, &m)
}
