package index

import (
	"io/fs"
	"path"
	"strings"

	"rebuild/internal/fault"
)

// Names lists the packages that the index in a directory has lines of, sorted by
// their files' paths. It is for who looks through a whole index that lies here; a
// server is never asked for one. Nothing about the names is verified but that
// they are where they belong.
func Names(fsys fs.FS, where string) ([]string, error) {
	var all []string
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if p != "." && strings.HasPrefix(d.Name(), ".") && d.IsDir() {
			return fs.SkipDir
		}
		name := path.Base(p)
		if scope, _, scoped := strings.Cut(strings.TrimPrefix(p, "~"), "/"); scoped && p[0] == '~' {
			name = scope + "/" + name
		}
		if at, err := linePath(name); err == nil && at == p && d.Type().IsRegular() {
			all = append(all, name)
		}
		return nil
	})
	if err != nil {
		return nil, fault.New(fault.IndexFetch, "reading %s: %w", where, err)
	}
	return all, nil
}
