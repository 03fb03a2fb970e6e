package pipeline

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"rebuild/stages"
)

// Mirrors are the places that a machine knows for archives that many have. A
// recipe then names the archive and a path in it, as in debian:pool/main/..., and
// no host: whoever runs it asks the mirror that is configured there. The digest
// decides what an answer is worth, so a mirror is trusted for nothing.
type Mirrors struct {
	// Of returns the base URLs for a scheme of [stages.Mirrored] in the order in
	// which they are asked. An error is why there are none. nil: none are known.
	Of func(ctx context.Context, scheme string) ([]string, error)
	// Places are folders and URLs that are asked before all else, for a file
	// named by the hex of the digest, then for one named as in a URL.
	Places []string
}

// places are all that a source is asked for at, in order. What is wrong with a
// mirror is told as the reason why it did not give the source.
func (f *fetcher) places(ctx context.Context, use *sourceUse) []mirror {
	var out []mirror
	add := func(m mirror) {
		if !slices.ContainsFunc(out, func(o mirror) bool { return o.url == m.url && o.dir == m.dir }) {
			out = append(out, m)
		}
	}
	for _, place := range f.Mirrors.Places {
		for _, name := range use.fileNames() {
			add(atPlace(place, name))
		}
	}
	for _, m := range use.mirrors {
		scheme, file, mirrored := stages.Mirrored(m.url)
		if !mirrored {
			add(m)
			continue
		}
		bases, err := f.mirrorsOf(ctx, scheme)
		if err != nil {
			add(mirror{url: m.url, unknown: err})
		}
		for _, base := range bases {
			add(mirror{url: strings.TrimSuffix(base, "/") + "/" + file, ours: true})
		}
	}
	return out
}

func (f *fetcher) mirrorsOf(ctx context.Context, scheme string) ([]string, error) {
	if f.Mirrors.Of == nil {
		return nil, fmt.Errorf("no mirror of %s is known here", scheme)
	}
	f.asking.Lock()
	defer f.asking.Unlock()
	known, asked := f.bases[scheme]
	if !asked {
		known.bases, known.err = f.Mirrors.Of(ctx, scheme)
		if known.err == nil && len(known.bases) == 0 {
			known.err = fmt.Errorf("no mirror of %s is configured here", scheme)
		}
		if f.bases == nil {
			f.bases = map[string]mirrorBases{}
		}
		f.bases[scheme] = known
	}
	return known.bases, known.err
}

// mirrorBases is what was answered for a scheme.
type mirrorBases struct {
	bases []string
	err   error
}

// fileNames are the names under which a folder of sources may have this one.
func (s *sourceUse) fileNames() []string {
	names := []string{s.decl.Digest.Hex()}
	for _, m := range s.mirrors {
		name := path.Base(m.url)
		if name != "." && name != "/" && name != ".." && !strings.ContainsAny(name, "?#:") && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// atPlace is a file of a folder or below a URL.
func atPlace(place, name string) mirror {
	if strings.Contains(place, "://") {
		return mirror{url: strings.TrimSuffix(place, "/") + "/" + name, ours: true}
	}
	return mirror{url: name, dir: place}
}
