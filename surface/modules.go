package surface

import (
	"path"
	"slices"
	"strings"

	"rebuild/internal/fault"
)

// findModules finds the file or folder of every module that the package
// declares: the id below module_root, as it is or with its dots as slashes, or a
// file that is so called but for its suffix.
func (x *extraction) findModules() error {
	for _, id := range x.meta.Modules {
		at, err := x.findModule(id)
		if err != nil {
			return err
		}
		if _, twice := x.modules[id]; twice || id == TypesModule {
			return fault.New(fault.Semantic, "module %q is declared twice, or under a name that is taken", id).
				WithHint("declare each module once in package.toml")
		}
		x.modules[id] = at
	}
	return nil
}

func (x *extraction) findModule(id string) (string, error) {
	for _, name := range []string{id, strings.ReplaceAll(id, ".", "/")} {
		p := path.Join(x.meta.ModuleRoot, name)
		if id == "" || path.IsAbs(p) || strings.HasPrefix(p, "..") {
			break
		}
		if at := x.tree.resolve(p); at != "" {
			return at, nil
		}
		var found []string
		for _, other := range x.tree.under(path.Dir(p)) {
			if strings.TrimSuffix(other, path.Ext(other)) == p && x.tree.regular(other) != "" {
				found = append(found, x.tree.regular(other))
			}
		}
		if len(found) == 1 {
			return found[0], nil
		}
	}
	return "", fault.New(fault.Semantic, "module %q is declared, and there is no such file or folder below %q", id, orTop(x.meta.ModuleRoot)).
		WithHint("correct modules or module_root in package.toml")
}

func orTop(dir string) string {
	if dir == "" {
		return "."
	}
	return dir
}

// addModules adds the declared modules. One that is a library has the exports of
// it.
func (x *extraction) addModules() error {
	for _, id := range slices.Sorted(slices.Values(x.meta.Modules)) {
		at := x.modules[id]
		if i := slices.IndexFunc(x.out.Modules, func(m Module) bool { return m.Form == FormELF && !m.Declared && m.Path == at }); i >= 0 {
			x.out.Modules[i].ID, x.out.Modules[i].Declared = id, true
			continue
		}
		m, err := x.module(id, at)
		if err != nil {
			return err
		}
		x.out.Modules = append(x.out.Modules, m)
	}
	return nil
}

func (x *extraction) module(id, at string) (Module, error) {
	m := Module{ID: id, Form: FormFiles, Path: at, Declared: true, Exports: []Export{}}
	files := []string{at}
	if x.tree.files[at].dir {
		if sources := goFiles(x.tree, at); len(sources) > 0 {
			return x.goModule(m, at)
		}
		files = x.tree.under(at)
	}
	kind := KindFile
	if slices.ContainsFunc(files, isHeader) {
		m.Form, kind = FormHeaders, KindHeader
		files = slices.DeleteFunc(files, func(p string) bool { return !isHeader(p) })
	}
	for _, p := range files {
		name := strings.TrimPrefix(strings.TrimPrefix(p, at), "/")
		if name == "" {
			name = path.Base(p)
		}
		m.Exports = append(m.Exports, Export{Name: name, Kind: kind, Params: []string{}})
	}
	m.Exports = sorted(m.Exports, Export.key)
	return m, nil
}
