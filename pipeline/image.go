package pipeline

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/go-json-experiment/json"

	"rebuild/internal/fault"
	"rebuild/store"
)

// Limits of a foreign image's metadata, which is read into memory.
const (
	maxForeign = 4 << 20
	maxLayers  = 1000
)

// foreign is the part that we read of an OCI index or manifest. Foreign
// documents follow their own rules, so unknown members are passed over.
type foreign struct {
	MediaType string       `json:"mediaType"`
	Manifests []descriptor `json:"manifests"`
	Config    descriptor   `json:"config"`
	Layers    []descriptor `json:"layers"`
}

type descriptor struct {
	MediaType string       `json:"mediaType"`
	Digest    store.Digest `json:"digest"`
	Size      int64        `json:"size"`
	Platform  struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
		Variant      string `json:"variant"`
	} `json:"platform"`
}

// layout is a foreign OCI image layout on disk. Its files are taken for what
// their content hashes to, whatever it says about itself.
type layout struct {
	dir     string
	display string
}

func (p *Pipeline) layout(ref ImageReference) layout {
	return layout{filepath.Join(p.Dir, filepath.FromSlash(ref.Layout)), ref.Layout}
}

func (l layout) open(d store.Digest) (*os.File, error) {
	if _, err := store.ParseDigest(string(d)); err != nil {
		return nil, err // d becomes a path
	}
	f, err := openRegular(filepath.Join(l.dir, "blobs", "sha256", d.Hex()))
	if err != nil {
		return nil, fault.New(fault.SourceMismatch, "%s is not in the layout %s: %w", d, l.display, bare(err)).
			WithHint("copy the image into the layout again, for example with skopeo copy")
	}
	return f, nil
}

// read returns a small blob whose bytes hash to d.
func (l layout) read(d store.Digest) ([]byte, error) {
	f, err := l.open(d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxForeign))
	if err != nil {
		return nil, err
	}
	if got := store.DigestOf(data); got != d {
		return nil, fault.New(fault.SourceMismatch, "layout %s: expected %s, its content is %s", l.display, d, got)
	}
	return data, nil
}

func (l layout) decode(d store.Digest) (*foreign, error) {
	data, err := l.read(d)
	if err != nil {
		return nil, err
	}
	f, err := decodeForeign(data)
	if err != nil {
		return nil, fault.New(fault.CodeOf(err), "layout %s: %s: %w", l.display, d, err)
	}
	return f, nil
}

// decodeForeign reads an index or manifest.
func decodeForeign(data []byte) (*foreign, error) {
	var f foreign
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fault.New(fault.Parse, "neither an index nor a manifest: %w", err)
	}
	// Two readers must not see two things in one blob.
	if (len(f.Manifests) > 0) == (f.Config.Digest != "") || len(f.Layers) > maxLayers || len(f.Manifests) > maxLayers {
		return nil, fault.New(fault.Structure, "neither an index nor a manifest")
	}
	return &f, nil
}

// resolveImage returns the manifest that a reference stands for on a platform.
func (p *Pipeline) resolveImage(ref ImageReference, platform string) (store.Digest, error) {
	l := p.layout(ref)
	f, err := l.decode(ref.Digest)
	if err != nil {
		return "", p.place(err, "images", string(ref.Name))
	}
	if f.Config.Digest != "" {
		return ref.Digest, p.place(l.checkPlatform(f, platform), "images", string(ref.Name))
	}
	for _, m := range f.Manifests {
		// The variant of amd64 and 386 is not told apart.
		if m.Platform.OS+"/"+m.Platform.Architecture == platform {
			if _, err := store.ParseDigest(string(m.Digest)); err != nil {
				return "", p.place(err, "images", string(ref.Name))
			}
			return m.Digest, nil
		}
	}
	return "", p.semantic([]any{"images", string(ref.Name)}, "image %s has no manifest for %s", ref.Name, platform)
}

// checkPlatform reads the platform that a single manifest's config declares.
func (l layout) checkPlatform(f *foreign, platform string) error {
	data, err := l.read(f.Config.Digest)
	if err != nil {
		return err
	}
	var config struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
	}
	if err := json.Unmarshal(data, &config); err != nil {
		return fault.New(fault.Parse, "layout %s: config %s: %w", l.display, f.Config.Digest, err)
	}
	if got := config.OS + "/" + config.Architecture; got != platform {
		return fault.New(fault.Semantic, "layout %s: the image is for %s, not %s", l.display, got, platform).
			WithHint("name an image for the platform of the pipeline")
	}
	return nil
}

// importImage copies the blobs of an image's manifest into the store, layers
// and config first, so that a manifest in the store is one that can be used.
func (p *Pipeline) importImage(ctx context.Context, blobs *store.Store, ref ImageReference, manifest store.Digest) error {
	l := p.layout(ref)
	f, err := l.decode(manifest)
	if err == nil && f.Config.Digest == "" {
		err = fault.New(fault.Structure, "layout %s: %s is not a manifest", l.display, manifest)
	}
	if err != nil {
		return p.place(err, "images", string(ref.Name))
	}
	for _, d := range append([]descriptor{f.Config}, f.Layers...) {
		if err := l.copy(ctx, blobs, d.Digest, d.Size); err != nil {
			return p.place(err, "images", string(ref.Name))
		}
	}
	data, err := l.read(manifest)
	if err != nil {
		return p.place(err, "images", string(ref.Name))
	}
	_, err = blobs.Put(data)
	return err
}

// copy brings one blob into the store; it becomes visible there only when it
// has the digest that the manifest names.
func (l layout) copy(ctx context.Context, blobs *store.Store, d store.Digest, size int64) error {
	f, err := l.open(d)
	if err != nil {
		return err
	}
	defer f.Close()
	if blobs.Has(d) {
		return nil
	}
	w, err := blobs.Create()
	if err != nil {
		return err
	}
	defer w.Abort()
	n, err := io.Copy(w, io.LimitReader(&contextReader{ctx, f}, size+1))
	if err != nil {
		return err
	}
	if got := w.Digest(); n != size || got != d {
		return fault.New(fault.SourceMismatch, "layout %s: expected %s of %d bytes, found %s of %d", l.display, d, size, got, n)
	}
	_, _, err = w.Commit(d)
	return err
}

// contextReader ends a copy when its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
