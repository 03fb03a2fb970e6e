package store

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"

	"rebuild/internal/document"
	"rebuild/internal/fault"
)

// OCI media types that the store writes (image-spec 1.1).
const (
	MediaTypeManifest = "application/vnd.oci.image.manifest.v1+json"
	MediaTypeIndex    = "application/vnd.oci.image.index.v1+json"
	MediaTypeConfig   = "application/vnd.oci.image.config.v1+json"
	MediaTypeLayer    = "application/vnd.oci.image.layer.v1.tar"
)

// maxManifest bounds manifests, configs and indexes, in bytes; registries
// take no more either.
const maxManifest = 4 << 20

// ImageConfig is what a runtime has to know of an image. The fields are all
// that counts of the OCI config; what is empty is absent. Nothing else, no
// history, time or builder, is kept.
type ImageConfig struct {
	Entrypoint   []string            `json:"Entrypoint,omitempty"`
	Cmd          []string            `json:"Cmd,omitempty"`
	Env          []string            `json:"Env,omitempty"` // in declared order
	User         string              `json:"User,omitempty"`
	WorkingDir   string              `json:"WorkingDir,omitempty"`
	Labels       map[string]string   `json:"Labels,omitempty"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Volumes      map[string]struct{} `json:"Volumes,omitempty"`
	StopSignal   string              `json:"StopSignal,omitempty"`
}

// descriptor names a blob by media type, digest and size.
type descriptor struct {
	Digest    Digest        `json:"digest"`
	MediaType string        `json:"mediaType"`
	Platform  *platformJSON `json:"platform,omitzero"`
	Size      int64         `json:"size"` // bytes
}

type platformJSON struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant,omitempty"`
}

type configJSON struct {
	platformJSON `json:",inline"`
	Config       ImageConfig `json:"config"`
	RootFS       rootFS      `json:"rootfs"`
}

type rootFS struct {
	DiffIDs []Digest `json:"diff_ids"`
	Type    string   `json:"type"`
}

type manifestJSON struct {
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
	MediaType     string       `json:"mediaType"`
	SchemaVersion int          `json:"schemaVersion"`
}

type indexJSON struct {
	Manifests     []descriptor `json:"manifests"`
	MediaType     string       `json:"mediaType"`
	SchemaVersion int          `json:"schemaVersion"`
}

var platformPart = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*$`)

// parsePlatform reads OS/ARCHITECTURE or OS/ARCHITECTURE/VARIANT.
func parsePlatform(s string) (platformJSON, error) {
	parts := strings.Split(s, "/")
	ok := len(parts) == 2 || len(parts) == 3
	for _, p := range parts {
		ok = ok && platformPart.MatchString(p)
	}
	if !ok {
		return platformJSON{}, fault.New(fault.Structure, "%q is not a platform", s).
			WithHint("write os/architecture or os/architecture/variant, such as linux/amd64")
	}
	p := platformJSON{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p, nil
}

func (p platformJSON) String() string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// PutImage stores the config and the manifest of an image of one layer and
// returns the manifest's digest, which depends on l, platform and c alone.
// platform is os/architecture[/variant].
func (s *Store) PutImage(l Layer, platform string, c ImageConfig) (Digest, error) {
	b := s.Batch()
	defer b.Abort()
	d, err := b.PutImage(l, platform, c)
	if err != nil {
		return "", err
	}
	return d, b.Commit()
}

// PutImage is [Store.PutImage] within a batch. The layer may be of the same
// batch.
func (b *Batch) PutImage(l Layer, platform string, c ImageConfig) (Digest, error) {
	config, manifest, err := encodeImage(l, platform, c)
	if err != nil {
		return "", err
	}
	if _, err := b.Put(config); err != nil {
		return "", err
	}
	return b.Put(manifest)
}

// ManifestOf returns the digest that PutImage would return, without storing
// anything.
func ManifestOf(l Layer, platform string, c ImageConfig) (Digest, error) {
	_, manifest, err := encodeImage(l, platform, c)
	return DigestOf(manifest), err
}

func encodeImage(l Layer, platform string, c ImageConfig) (config, manifest []byte, err error) {
	p, err := parsePlatform(platform)
	if err != nil {
		return nil, nil, err
	}
	if err := c.check(); err != nil {
		return nil, nil, err
	}
	config, err = document.Encode(configJSON{p, c, rootFS{[]Digest{l.Digest}, "layers"}})
	if err != nil {
		return nil, nil, err
	}
	manifest, err = document.Encode(manifestJSON{
		Config:        descriptor{Digest: DigestOf(config), MediaType: MediaTypeConfig, Size: int64(len(config))},
		Layers:        []descriptor{{Digest: l.Digest, MediaType: MediaTypeLayer, Size: l.Size}},
		MediaType:     MediaTypeManifest,
		SchemaVersion: 2,
	})
	return config, manifest, err
}

// check refuses keys that canonical JSON does not have.
func (c *ImageConfig) check() error {
	var keys []string
	for k := range c.Labels {
		keys = append(keys, k)
	}
	for k := range c.ExposedPorts {
		keys = append(keys, k)
	}
	for k := range c.Volumes {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		if strings.IndexFunc(k, func(r rune) bool { return r > 0x7f }) >= 0 {
			return fault.New(fault.Structure, "image setting %q is not ASCII", k).
				WithHint("use ASCII names for labels, ports and volumes; their values may be any UTF-8")
		}
	}
	return nil
}

// Image is the verified description of an image of one layer in the store.
// The layer itself is verified when it is read.
type Image struct {
	Manifest Digest
	Raw      []byte // the manifest's bytes
	Platform string // os/architecture[/variant]
	Config   ImageConfig
	Layer    Layer // Tree is "": a manifest does not name it
}

// Image reads the manifest with its config. It accepts only what PutImage
// writes, byte for byte: an image of another form has to be imported first.
func (s *Store) Image(manifest Digest) (Image, error) {
	raw, m, err := s.manifest(manifest)
	if err != nil {
		return Image{}, err
	}
	var c configJSON
	path := s.BlobPath(m.Config.Digest)
	b, err := s.Read(m.Config.Digest, maxManifest)
	if err != nil {
		return Image{}, err
	}
	if err := document.DecodeStrict(path, b, &c); err != nil {
		return Image{}, err
	}
	if len(m.Layers) != 1 || len(c.RootFS.DiffIDs) != 1 || c.RootFS.DiffIDs[0] != m.Layers[0].Digest {
		return Image{}, fault.New(fault.Structure, "not an image of one canonical layer").At(s.BlobPath(manifest), 0)
	}
	i := Image{
		Manifest: manifest, Raw: raw, Platform: c.platformJSON.String(), Config: c.Config,
		Layer: Layer{Digest: m.Layers[0].Digest, Size: m.Layers[0].Size},
	}
	if d, err := ManifestOf(i.Layer, i.Platform, i.Config); err != nil || d != manifest {
		return Image{}, fault.New(fault.Structure, "not in the form of an image of ours").At(s.BlobPath(manifest), 0)
	}
	return i, nil
}

func (s *Store) manifest(d Digest) ([]byte, manifestJSON, error) {
	var m manifestJSON
	raw, err := s.Read(d, maxManifest)
	if err != nil {
		return nil, m, err
	}
	if err := document.DecodeStrict(s.BlobPath(d), raw, &m); err != nil {
		return nil, m, err
	}
	if m.MediaType != MediaTypeManifest {
		return nil, m, fault.New(fault.Structure, "media type %q is not an image manifest", m.MediaType).At(s.BlobPath(d), 0)
	}
	return raw, m, nil
}

// Index stores the canonical multi-platform index of images in the store, one
// for each platform, and returns its digest. The order of manifests does not
// count.
func (s *Store) Index(manifests []Digest) (Digest, error) {
	x := indexJSON{Manifests: []descriptor{}, MediaType: MediaTypeIndex, SchemaVersion: 2}
	for _, d := range manifests {
		img, err := s.Image(d)
		if err != nil {
			return "", err
		}
		p, err := parsePlatform(img.Platform)
		if err != nil {
			return "", err
		}
		x.Manifests = append(x.Manifests, descriptor{d, MediaTypeManifest, &p, int64(len(img.Raw))})
	}
	slices.SortFunc(x.Manifests, func(a, b descriptor) int { return a.Platform.compare(b.Platform) })
	for i := 1; i < len(x.Manifests); i++ {
		if p := x.Manifests[i].Platform; *p == *x.Manifests[i-1].Platform {
			return "", fault.New(fault.Structure, "two images for the platform %s", p)
		}
	}
	b, err := document.Encode(x)
	if err != nil {
		return "", err
	}
	return s.Put(b)
}

func (p *platformJSON) compare(q *platformJSON) int {
	return cmp.Or(strings.Compare(p.OS, q.OS), strings.Compare(p.Architecture, q.Architecture), strings.Compare(p.Variant, q.Variant))
}

// decodeForeign reads a JSON document that others may have written: unknown
// members are left alone, duplicate ones and bad UTF-8 are refused.
func decodeForeign(file string, b []byte, v any) error {
	if err := json.Unmarshal(b, v); err != nil {
		return fault.New(fault.Parse, "%w", err).At(file, 0)
	}
	return nil
}
