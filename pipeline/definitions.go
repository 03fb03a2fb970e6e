package pipeline

import (
	"fmt"
	"io"
	"net/url"
	"slices"

	"rebuild/bootstrap"
	"rebuild/internal/fault"
	"rebuild/stages"
	"rebuild/store"
)

// The definitions of a plan are the bytes behind its digests: Containerfiles,
// the files of contexts, seeds, sources and images. With them and plan.json
// alone somebody else can make the same pipeline again ([Restore]).

// DefineOptions say which definitions are wanted.
type DefineOptions struct {
	Blobs   *store.Store // where sources and images are; nil: they are left out
	Sources bool         // sources too, not only what people wrote
	Max     int64        // bytes of the largest object
}

// Define calls put with every definition of the plan, each under its digest,
// and returns what it had to leave out: KIND/NAME of what is too large or not
// at hand. What has changed since the plan was made is SEMANTIC. A context is
// given as its tree text, under the digest that the plan names, and its files.
func (plan *Plan) Define(o DefineOptions, put func(d store.Digest, data []byte) error) (missing []string, err error) {
	d := &definer{DefineOptions: o, plan: plan, put: put}
	for _, s := range plan.steps {
		if err := put(s.doc.Containerfile, s.stage.Containerfile); err != nil {
			return nil, err
		}
		if err := d.context(s); err != nil {
			return nil, err
		}
	}
	for _, s := range plan.Doc.Seeds {
		if err := put(s.Digest, plan.seeds[s.Name]); err != nil {
			return nil, err
		}
	}
	for _, s := range plan.Doc.Sources {
		if err := d.blob(stages.KindSource+"/"+s.Name, s.Digest, o.Sources && s.Size <= o.Max); err != nil {
			return nil, err
		}
	}
	for _, i := range plan.Doc.Images {
		if err := d.image(stages.KindImage+"/"+i.Name, i.Digest); err != nil {
			return nil, err
		}
	}
	return d.missing, nil
}

type definer struct {
	DefineOptions
	plan    *Plan
	put     func(d store.Digest, data []byte) error
	missing []string
}

// context puts a stage's tree text and its own files. Sources that lie in it
// are put as sources.
func (d *definer) context(s *step) error {
	if s.doc.Context == "" {
		return nil
	}
	entries, err := s.stage.Context()
	if err != nil {
		return err
	}
	text, err := contextText(s.stage, entries)
	if err != nil {
		return err
	}
	if got := store.DigestOf(text); got != s.doc.Context {
		return s.stage.Fault(fault.Semantic, []any{"context"}, "the files of stage %s have changed since the plan was made: %s, now %s", s.stage.Name, s.doc.Context, got).
			WithHint("run the command again")
	}
	if err := d.put(s.doc.Context, text); err != nil {
		return err
	}
	for i := range entries {
		if e := &entries[i]; e.Kind == stages.File && e.Source == nil {
			if err := d.file(s, e); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *definer) file(s *step, e *stages.Entry) error {
	if e.Size > d.Max {
		d.lacks(fmt.Sprintf("%s/%s: %s", stages.KindStage, s.stage.Name, e.Path))
		return nil
	}
	f, err := s.stage.OpenContext(e)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, d.Max+1))
	if err != nil {
		return err
	}
	return d.put(store.DigestOf(data), data)
}

func (d *definer) lacks(name string) {
	if !slices.Contains(d.missing, name) {
		d.missing = append(d.missing, name)
	}
}

// blob puts a blob of the store, if it is wanted and there.
func (d *definer) blob(name string, digest store.Digest, wanted bool) error {
	if !wanted || d.Blobs == nil || !d.Blobs.Has(digest) {
		d.lacks(name)
		return nil
	}
	data, err := d.Blobs.Read(digest, d.Max)
	if err != nil {
		return err
	}
	return d.put(digest, data)
}

// image puts a foreign image: layers and config first, so that a manifest that
// is there is one that can be used. One layer that is too large leaves all out.
func (d *definer) image(name string, manifest store.Digest) error {
	if d.Blobs == nil || !d.Blobs.Has(manifest) {
		d.lacks(name)
		return nil
	}
	raw, err := d.Blobs.Read(manifest, maxForeign)
	if err != nil {
		return err
	}
	f, err := decodeForeign(raw)
	if err != nil {
		return err
	}
	parts := append(slices.Clone(f.Layers), f.Config)
	if slices.ContainsFunc(parts, func(p descriptor) bool { return p.Size > d.Max || !d.Blobs.Has(p.Digest) }) || !d.Sources {
		d.lacks(name)
		return nil
	}
	for _, p := range parts {
		if err := d.blob(name, p.Digest, true); err != nil {
			return err
		}
	}
	return d.put(manifest, raw)
}

// Hints returns where the sources of the plan were said to be, by digest: http,
// https and archives with mirrors alone, for a path is one of this machine. They are no part of the
// plan and nothing is believed of them.
func (plan *Plan) Hints() map[store.Digest][]string {
	hints := map[store.Digest][]string{}
	for _, s := range plan.sources {
		for _, text := range s.decl.URLs {
			if isHint(text) && !slices.Contains(hints[s.doc.Digest], text) {
				hints[s.doc.Digest] = append(hints[s.doc.Digest], text)
			}
		}
	}
	return hints
}

func isHint(text string) bool {
	_, _, mirrored := stages.Mirrored(text)
	return mirrored || isWeb(text)
}

func isWeb(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil
}

// seedText writes a seed as hex text that decodes to it again.
func seedText(file string, seed []byte) ([]byte, error) {
	var text []byte
	for i, c := range seed {
		text = fmt.Appendf(text, "%02X", c)
		if i%16 == 15 || i == len(seed)-1 {
			text = append(text, '\n')
		} else {
			text = append(text, ' ')
		}
	}
	again, err := bootstrap.DecodeHex(file, text)
	if err == nil && string(again) != string(seed) {
		err = fault.New(fault.Internal, "the seed's text gives other bytes").At(file, 0)
	}
	return text, err
}
