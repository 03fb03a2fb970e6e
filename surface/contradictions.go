package surface

import (
	"path"
	"reflect"
	"slices"
	"strings"
)

// Contradictions returns the files of a tree of which the document says something
// else, or nothing: it was made of another tree then, such as that of the version
// before. Signatures are taken as they are, since they were read before files were
// stripped. A payload may lie in a folder of its own, and a tree without any of
// it is that of a package which ships as an image.
func (e *Exports) Contradictions(tree *Tree) []Unchecked {
	const why = File + " describes another file than the one that is here"
	x := &extraction{tree: tree, modules: map[string]string{}, headers: map[string]bool{}, unchecked: map[string]string{}, out: &Exports{}}
	for _, m := range e.Modules {
		if m.Declared {
			x.modules[m.ID] = m.Path
		}
	}
	wrong := map[string]string{}
	for _, p := range tree.all() {
		x.visit(p)
		if base := path.Base(path.Dir(p)); (base == "bin" || base == "sbin") && slices.Contains(x.out.Commands, path.Base(p)) && !slices.Contains(e.Commands, path.Base(p)) {
			wrong[p] = why
		}
	}
	x.addHeaders()
	libraries, headers := map[string]Library{}, map[string]Header{}
	for _, lib := range x.libraries {
		libraries[lib.Path] = lib.Library
	}
	for _, h := range x.out.Headers {
		headers[h.Path] = h
	}
	contradict(e.ELF, libraries, func(l Library) string { return l.Path }, func(a, b Library) bool {
		return a.Soname == b.Soname && slices.Equal(a.Symbols, b.Symbols)
	}, wrong, why)
	contradict(e.Headers, headers, func(h Header) string { return h.Path }, func(a, b Header) bool {
		b.Path = a.Path
		return reflect.DeepEqual(a, b)
	}, wrong, why)
	var out []Unchecked
	for subject, reason := range wrong {
		out = append(out, Unchecked{subject, reason})
	}
	return sorted(out, func(u Unchecked) string { return u.Subject })
}

// contradict wants each file that is there to be listed, and of those with one
// listed path, one for each platform, at least one to be as it is listed.
func contradict[T any](listed []T, there map[string]T, at func(T) string, same func(a, b T) bool, wrong map[string]string, why string) {
	for p := range there {
		if !slices.ContainsFunc(listed, func(l T) bool { return ends(p, at(l)) }) {
			wrong[p] = why
		}
	}
	if len(there) == 0 {
		return
	}
	for _, l := range listed {
		found, missing := "", true
		for p, t := range there {
			if !ends(p, at(l)) {
				continue
			}
			if missing = false; same(l, t) {
				found = p
			}
		}
		if missing {
			wrong[at(l)] = why
		} else if found == "" {
			for p := range there {
				if ends(p, at(l)) {
					wrong[p] = why
				}
			}
		}
	}
}

func ends(p, listed string) bool { return p == listed || strings.HasSuffix(p, "/"+listed) }
