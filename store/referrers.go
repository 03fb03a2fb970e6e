package store

import (
	"slices"

	"rebuild/internal/document"
	"rebuild/internal/fault"
)

// PutReferrer stores a manifest that refers to another one by its subject
// (image-spec 1.1) and lists it in index.json, where tools look for referrers
// of a layout. The blobs that it names must be in the store. Putting the same
// manifest again changes nothing.
//
// A manifest without subject or artifactType is STRUCTURE, one of which a blob
// is missing FILE_MISSING.
func (s *Store) PutReferrer(manifest []byte) (Digest, error) {
	m, err := parseReferrer("referrer", manifest)
	if err != nil {
		return "", err
	}
	if m.ArtifactType == "" || m.Subject == nil {
		return "", fault.New(fault.Structure, "a manifest without subject or artifactType refers to nothing")
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
		m, err := parseReferrer(s.BlobPath(t.Digest), raw)
		if err != nil {
			return nil, err
		}
		if m.Subject != nil && m.Subject.Digest == subject {
			out = append(out, t.Digest)
		}
	}
	return out, nil
}

// referrerJSON is what the store reads of a manifest that may be a referrer.
type referrerJSON struct {
	Annotations  map[string]string `json:"annotations"`
	ArtifactType string            `json:"artifactType"`
	Config       descriptor        `json:"config"`
	Layers       []descriptor      `json:"layers"`
	Subject      *descriptor       `json:"subject"`
}

func parseReferrer(file string, manifest []byte) (*referrerJSON, error) {
	var m referrerJSON
	return &m, decodeForeign(file, manifest, &m)
}
