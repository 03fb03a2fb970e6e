package store

import (
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"rebuild/internal/document"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
)

// refName is the annotation by which tools find an image in a layout.
const refName = "org.opencontainers.image.ref.name"

// layoutIndex is index.json. Its descriptors stay as they are read: other
// tools may write there too, and what they wrote is theirs.
type layoutIndex struct {
	SchemaVersion int              `json:"schemaVersion"`
	MediaType     string           `json:"mediaType,omitempty"`
	Manifests     []jsontext.Value `json:"manifests"`
}

// tagged is what we understand of a descriptor in index.json.
type tagged struct {
	Annotations  map[string]string `json:"annotations,omitempty"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Digest       Digest            `json:"digest"`
	MediaType    string            `json:"mediaType"`
	Size         int64             `json:"size"`
}

func newIndex() *layoutIndex {
	return &layoutIndex{SchemaVersion: 2, MediaType: MediaTypeIndex, Manifests: []jsontext.Value{}}
}

// readIndex reads index.json.
func (s *Store) readIndex() (*layoutIndex, []tagged, error) {
	file := s.path(indexFile)
	b, err := readBounded(file)
	if err != nil {
		return nil, nil, err
	}
	x := &layoutIndex{}
	if err := decodeForeign(file, b, x); err != nil {
		return nil, nil, err
	}
	tags := make([]tagged, len(x.Manifests))
	for i, raw := range x.Manifests {
		if err := decodeForeign(file, raw, &tags[i]); err != nil {
			return nil, nil, err
		}
		if _, err := ParseDigest(string(tags[i].Digest)); err != nil {
			return nil, nil, fault.New(fault.Structure, "manifest %d: %w", i, err).At(file, 0)
		}
	}
	return x, tags, nil
}

// writeIndex replaces index.json. The caller holds the exclusive lock.
func (s *Store) writeIndex(x *layoutIndex) error {
	b, err := document.Encode(x)
	if err != nil {
		return err
	}
	return s.writeFile(indexFile, b)
}

// writeFile replaces a file of the layout that is not a blob.
func (s *Store) writeFile(name string, b []byte) error {
	w, err := durable.Create(s.fsys, s.path(tempDir))
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := w.Write(b); err != nil {
		return err
	}
	return w.Commit(s.path(name))
}

var tagName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._/@:+-]{0,253}[A-Za-z0-9])?$`)

// Tag lets name stand for an image or index in the store, in place of what it
// stood for. Tags are for people and tools that look into the store and keep
// GC from deleting; nothing is ever built or verified by a tag.
func (s *Store) Tag(name string, manifest Digest) error {
	if !tagName.MatchString(name) {
		return fault.New(fault.Usage, "%q is not a tag", name).WithHint("use letters, digits and . _ / @ : + - between them")
	}
	b, err := s.Read(manifest, maxManifest)
	if err != nil {
		return err
	}
	var m struct {
		MediaType string `json:"mediaType"`
	}
	if err := decodeForeign(s.BlobPath(manifest), b, &m); err != nil {
		return err
	}
	if m.MediaType != MediaTypeManifest && m.MediaType != MediaTypeIndex {
		return fault.New(fault.Structure, "%s is neither an image nor an index", manifest).At(s.BlobPath(manifest), 0)
	}
	return s.updateIndex(func(x *layoutIndex, tags []tagged) error {
		x.remove(tags, name)
		raw, err := document.Encode(tagged{Annotations: map[string]string{refName: name}, Digest: manifest, MediaType: m.MediaType, Size: int64(len(b))})
		x.Manifests = append(x.Manifests, raw)
		return err
	})
}

// Untag removes a tag; that it is not there is no error.
func (s *Store) Untag(name string) error {
	return s.updateIndex(func(x *layoutIndex, tags []tagged) error {
		x.remove(tags, name)
		return nil
	})
}

func (x *layoutIndex) remove(tags []tagged, name string) {
	var kept []jsontext.Value
	for i, t := range tags {
		if t.Annotations[refName] != name {
			kept = append(kept, x.Manifests[i])
		}
	}
	x.Manifests = kept
}

// updateIndex rewrites index.json under the lock.
func (s *Store) updateIndex(change func(*layoutIndex, []tagged) error) error {
	unlock, err := durable.Lock(s.path(lockFile), true)
	if err != nil {
		return err
	}
	defer unlock()
	x, tags, err := s.readIndex()
	if err != nil {
		return err
	}
	if err := change(x, tags); err != nil {
		return err
	}
	return s.writeIndex(x)
}

// TagEntry is one tag.
type TagEntry struct {
	Name     string
	Manifest Digest
}

// Tags returns the tags, sorted by name.
func (s *Store) Tags() ([]TagEntry, error) {
	_, tags, err := s.readIndex()
	if err != nil {
		return nil, err
	}
	var list []TagEntry
	for _, t := range tags {
		if name := t.Annotations[refName]; name != "" {
			list = append(list, TagEntry{name, t.Digest})
		}
	}
	slices.SortFunc(list, func(a, b TagEntry) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}
