package index

import (
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"rebuild/internal/names"
	"rebuild/store"
)

// packages returns the names of all packages that have a line file, sorted by
// the paths of these.
func packages(fsys fs.FS) ([]string, error) {
	var out []string
	visit := func(dir, scope string) error {
		return fs.WalkDir(fsys, dir, func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			name := scope + path.Base(file)
			if names.Package(name) != nil {
				return nil // no line file, such as one under a temporary name
			}
			if want, err := linePath(name); err == nil && want == file {
				out = append(out, name)
			}
			return nil
		})
	}
	top, err := fs.ReadDir(fsys, ".")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, d := range top {
		scope, scoped := strings.CutPrefix(d.Name(), "~")
		if !d.IsDir() || !scoped && len(d.Name()) > 2 {
			continue
		}
		if scoped {
			scope += "/"
		} else {
			scope = ""
		}
		if err := visit(d.Name(), scope); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// viewLines puts the line files that are there into the view.
func (p *publication) viewLines() error {
	all, err := packages(p.t.x.fsys)
	if err != nil {
		return writeFault(err)
	}
	digests := map[string]store.Digest{}
	for _, name := range slices.Sorted(slices.Values(all)) {
		lines, err := p.t.x.readLines(name)
		if err != nil {
			return err
		}
		digests[lines.path] = store.DigestOf(lines.raw)
	}
	return p.setView(digests)
}
