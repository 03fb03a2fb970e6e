package surface

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/build"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/mod/modfile"

	"rebuild/internal/fault"
)

// Go packages are type-checked from their source alone. A package outside the
// tree, the standard library among them, is a stand-in whose types are known by
// name only: so neither a Go installation nor a network is needed, and the answer
// depends on nothing but the tree. What can not be told without the real ones is
// unchecked.

// maxSources bounds the files of one package, maxPackages those that one module
// imports from its own tree.
const (
	maxSources  = 5_000
	maxPackages = 2_000
)

// goFiles returns the sources of the package in a folder, as on linux/amd64 and
// without tests.
func goFiles(t *Tree, dir string) []string {
	ctx := build.Context{GOOS: "linux", GOARCH: "amd64", Compiler: "gc", CgoEnabled: true, ReleaseTags: build.Default.ReleaseTags,
		OpenFile: func(p string) (io.ReadCloser, error) {
			data, err := t.read(path.Clean(p), maxText)
			return io.NopCloser(bytes.NewReader(data)), err
		},
		JoinPath: path.Join,
	}
	var out []string
	for _, p := range t.under(dir) {
		if path.Dir(p) != dir || path.Ext(p) != ".go" || strings.HasSuffix(p, "_test.go") {
			continue
		}
		// What can not be matched can not be parsed, which is said there.
		if ok, err := ctx.MatchFile(dir, path.Base(p)); ok || err != nil {
			out = append(out, p)
		}
	}
	return out
}

// goPackage is a package that was type-checked as far as that goes.
type goPackage struct {
	*types.Package
	files []*ast.File
	errs  []string
}

// goLoader loads the packages of one tree.
type goLoader struct {
	tree   *Tree
	loaded map[string]*goPackage // by folder; nil while it is being loaded
}

// loadGo loads the package in a folder. An error is one that leaves nothing to
// look at; those of single declarations are in errs.
func (l *goLoader) loadGo(dir, importPath string) (p *goPackage, err error) {
	defer guard(dir, &err)
	if p, ok := l.loaded[dir]; ok {
		if p == nil {
			return nil, fault.New(fault.Parse, "packages import each other in a circle")
		}
		return p, nil
	}
	sources := goFiles(l.tree, dir)
	if len(sources) == 0 || len(sources) > maxSources || len(l.loaded) > maxPackages {
		return nil, fault.New(fault.Parse, "no Go sources, or too many").
			WithHint("name a folder with the sources of one package")
	}
	l.loaded[dir] = nil
	defer func() {
		if p == nil {
			delete(l.loaded, dir)
		}
	}()
	p = &goPackage{}
	fset := token.NewFileSet()
	for _, source := range sources {
		data, err := l.tree.read(source, maxText)
		if err != nil {
			return nil, err
		}
		file, err := parser.ParseFile(fset, path.Base(source), data, parser.SkipObjectResolution)
		if err != nil {
			return nil, fault.New(fault.Parse, "%w", err)
		}
		p.files = append(p.files, file)
	}
	standIns := newStandIns(p.files)
	conf := types.Config{IgnoreFuncBodies: true, FakeImportC: true, Sizes: types.SizesFor("gc", "amd64"),
		Error:    func(err error) { p.errs = append(p.errs, err.Error()) },
		Importer: goImporter(func(path string) (*types.Package, error) { return l.importFrom(dir, path, standIns) }),
	}
	p.Package, _ = conf.Check(importPath, fset, p.files, nil)
	l.loaded[dir] = p
	return p, nil
}

type goImporter func(string) (*types.Package, error)

func (f goImporter) Import(path string) (*types.Package, error) { return f(path) }

// importFrom finds a package in the module that dir belongs to; any other has a
// stand-in.
func (l *goLoader) importFrom(dir, importPath string, s *standIns) (*types.Package, error) {
	if root, module := goModuleOf(l.tree, dir); module != "" && (importPath == module || strings.HasPrefix(importPath, module+"/")) {
		p, err := l.loadGo(path.Join(root, strings.TrimPrefix(importPath, module)), importPath)
		if err != nil {
			return nil, err
		}
		return p.Package, nil
	}
	return s.pkg(importPath), nil
}

// goModuleOf returns the folder and the path of the module around a folder.
func goModuleOf(t *Tree, dir string) (root, module string) {
	for root = dir; ; root = path.Dir(root) {
		p := path.Join(root, "go.mod")
		if t.files[p] != nil {
			if data, err := t.read(p, maxText); err == nil {
				return root, modfile.ModulePath(data)
			}
		}
		if root == "." {
			return "", ""
		}
	}
}

// goImportPath is what others import a folder as: without a go.mod its module id.
func goImportPath(t *Tree, dir, id string) string {
	root, module := goModuleOf(t, dir)
	if module == "" {
		return id
	}
	return path.Join(module, strings.TrimPrefix(strings.TrimPrefix(dir, root), "/"))
}

// goModule makes a module of a Go package.
func (x *extraction) goModule(m Module, dir string) (Module, error) {
	m.Form = FormGo
	l := &goLoader{tree: x.tree, loaded: map[string]*goPackage{}}
	p, err := l.loadGo(dir, goImportPath(x.tree, dir, m.ID))
	if err != nil {
		x.unchecked[m.ID] = reason(err)
		return m, nil
	}
	m.Exports = p.exports()
	for _, e := range m.Exports {
		if strings.Contains(e.Result+strings.Join(e.Params, ","), invalidType) {
			x.unchecked[m.ID+": "+e.Name] = "its type is that of another package's function or constant; declare it"
		}
	}
	return m, nil
}

// invalidType is how go/types writes what it could not find out.
const invalidType = "invalid type"

// exports lists what others may use, declared types with their exported fields
// and methods.
func (p *goPackage) exports() []Export {
	out := []Export{}
	initials := p.initials()
	for _, name := range p.Scope().Names() {
		obj := p.Scope().Lookup(name)
		if !obj.Exported() {
			continue
		}
		switch obj := obj.(type) {
		case *types.Const:
			value := ""
			if obj.Val().Kind() != constant.Unknown {
				value = " = " + obj.Val().ExactString()
			}
			out = append(out, Export{name, KindConst, []string{}, bounded(p.typeOf(obj, initials) + value), ""})
		case *types.Var:
			out = append(out, Export{name, KindVar, []string{}, p.typeOf(obj, initials), ""})
		case *types.Func:
			out = append(out, p.function(name, KindFunc, obj.Type().(*types.Signature)))
		case *types.TypeName:
			out = append(out, p.typeExports(obj)...)
		}
	}
	return sorted(out, Export.key)
}

// bounded keeps a document small that has large constants.
func bounded(s string) string {
	if len(s) > 1000 {
		return s[:1000] + "..."
	}
	return s
}

func (p *goPackage) write(t types.Type) string {
	return types.TypeString(t, func(other *types.Package) string {
		if other == p.Package {
			return ""
		}
		return other.Path()
	})
}

// typeOf is the type of a constant or variable, or the call that it is the result
// of, if that is all that is known.
func (p *goPackage) typeOf(obj types.Object, initials map[string]string) string {
	t := p.write(obj.Type())
	if strings.Contains(t, invalidType) && initials[obj.Name()] != "" {
		return "result of " + initials[obj.Name()]
	}
	return t
}

// initials are the functions, with their packages' paths, that variables without
// a type are initialised from: var A = pkg.F(...).
func (p *goPackage) initials() map[string]string {
	out := map[string]string{}
	for _, file := range p.files {
		imports := importsOf(file)
		for _, decl := range file.Decls {
			g, ok := decl.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, spec := range g.Specs {
				v, ok := spec.(*ast.ValueSpec)
				if !ok || len(v.Values) != len(v.Names) {
					continue
				}
				for i, name := range v.Names {
					if called := calledFunction(v.Values[i], imports); called != "" {
						out[name.Name] = called
					}
				}
			}
		}
	}
	return out
}

func calledFunction(x ast.Expr, imports map[string]string) string {
	call, ok := x.(*ast.CallExpr)
	if !ok {
		return ""
	}
	s, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return ""
	}
	if pkg, ok := s.X.(*ast.Ident); ok && imports[pkg.Name] != "" {
		return imports[pkg.Name] + "." + s.Sel.Name
	}
	return ""
}

func (p *goPackage) function(name, kind string, sig *types.Signature) Export {
	e := Export{Name: name, Kind: kind, Params: []string{}}
	if t := sig.TypeParams(); t != nil {
		e.Params = append(e.Params, p.typeParams(t))
	}
	for i := range sig.Params().Len() {
		t := p.write(sig.Params().At(i).Type())
		if sig.Variadic() && i == sig.Params().Len()-1 {
			t = "..." + strings.TrimPrefix(t, "[]")
		}
		e.Params = append(e.Params, t)
	}
	var results []string
	for i := range sig.Results().Len() {
		results = append(results, p.write(sig.Results().At(i).Type()))
	}
	e.Result = "(" + strings.Join(results, ", ") + ")"
	return e
}

func (p *goPackage) typeParams(t *types.TypeParamList) string {
	var all []string
	for i := range t.Len() {
		all = append(all, t.At(i).Obj().Name()+" "+p.write(t.At(i).Constraint()))
	}
	return "[" + strings.Join(all, ", ") + "]"
}

// typeExports lists a type, its exported fields and its exported methods.
func (p *goPackage) typeExports(obj *types.TypeName) []Export {
	e := Export{Name: obj.Name(), Kind: KindType, Params: []string{}}
	named, ok := types.Unalias(obj.Type()).(*types.Named)
	if obj.IsAlias() || !ok {
		e.Result = "= " + p.write(types.Unalias(obj.Type()))
		return []Export{e}
	}
	if t := named.TypeParams(); t != nil {
		e.Params = append(e.Params, p.typeParams(t))
	}
	var parts []Export
	switch u := named.Underlying().(type) {
	case *types.Struct:
		e.Result = "struct"
		for f := range u.Fields() {
			if f.Exported() {
				parts = append(parts, Export{Name: e.Name + "." + f.Name(), Kind: KindField, Params: []string{}, Result: p.field(f)})
			}
		}
	case *types.Interface:
		e.Result = "interface"
		for m := range u.Methods() {
			if !m.Exported() {
				e.Result = "sealed interface"
				continue
			}
			parts = append(parts, p.function(e.Name+"."+m.Name(), KindMethod, m.Signature()))
		}
		if !u.IsMethodSet() {
			e.Result += " " + p.write(u)
		}
	default:
		e.Result = p.write(u)
	}
	for m := range named.Methods() {
		if m.Exported() {
			x := p.function(e.Name+"."+m.Name(), KindMethod, m.Signature())
			if _, pointer := m.Signature().Recv().Type().(*types.Pointer); pointer {
				x.Params = append([]string{"*"}, x.Params...)
			}
			parts = append(parts, x)
		}
	}
	return append(parts, e)
}

func (p *goPackage) field(f *types.Var) string {
	if f.Embedded() {
		return "embedded " + p.write(f.Type())
	}
	return p.write(f.Type())
}

// standIns are packages of which only the names are known that somebody uses.
type standIns struct {
	uses map[string]map[string]use // import path to name
	made map[string]*types.Package
}

// use says how a name of another package is used, which says what it must be.
type use struct {
	iface  bool // embedded in an interface, or a constraint
	params int  // type arguments
}

var majorSuffix = regexp.MustCompile(`^v[0-9]+$`)

// localName is what an import is called in its file. Without a name of its own
// that is a guess, by the conventions for paths.
func localName(spec *ast.ImportSpec) (name, importPath string) {
	importPath, _ = strconv.Unquote(spec.Path.Value)
	if spec.Name != nil {
		return spec.Name.Name, importPath
	}
	name = path.Base(importPath)
	if majorSuffix.MatchString(name) && path.Dir(importPath) != "." {
		name = path.Base(path.Dir(importPath))
	}
	name, _, _ = strings.Cut(name, ".") // gopkg.in/yaml.v3
	return strings.TrimPrefix(strings.TrimSuffix(name, "-go"), "go-"), importPath
}

func importsOf(file *ast.File) map[string]string {
	out := map[string]string{}
	for _, spec := range file.Imports {
		name, importPath := localName(spec)
		out[name] = importPath
	}
	return out
}

func newStandIns(files []*ast.File) *standIns {
	s := &standIns{uses: map[string]map[string]use{}, made: map[string]*types.Package{}}
	for _, file := range files {
		imports := importsOf(file)
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.InterfaceType:
				for _, m := range n.Methods.List {
					if len(m.Names) == 0 {
						s.note(imports, m.Type, use{iface: true})
					}
				}
			case *ast.FuncType:
				s.constraints(imports, n.TypeParams)
			case *ast.TypeSpec:
				s.constraints(imports, n.TypeParams)
			case *ast.IndexExpr:
				s.note(imports, n.X, use{params: 1})
			case *ast.IndexListExpr:
				s.note(imports, n.X, use{params: len(n.Indices)})
			case *ast.SelectorExpr:
				s.note(imports, n, use{})
			}
			return true
		})
	}
	return s
}

func (s *standIns) constraints(imports map[string]string, list *ast.FieldList) {
	if list == nil {
		return
	}
	for _, f := range list.List {
		s.note(imports, f.Type, use{iface: true})
	}
}

func (s *standIns) note(imports map[string]string, x ast.Expr, as use) {
	if i, ok := x.(*ast.IndexExpr); ok {
		x, as.params = i.X, 1
	}
	sel, ok := x.(*ast.SelectorExpr)
	if !ok {
		return
	}
	pkg, ok := sel.X.(*ast.Ident)
	if !ok || imports[pkg.Name] == "" {
		return
	}
	names := s.uses[imports[pkg.Name]]
	if names == nil {
		names = map[string]use{}
		s.uses[imports[pkg.Name]] = names
	}
	before := names[sel.Sel.Name]
	names[sel.Sel.Name] = use{before.iface || as.iface, max(before.params, as.params)}
}

// pkg makes the stand-in of a package.
func (s *standIns) pkg(importPath string) *types.Package {
	if p := s.made[importPath]; p != nil {
		return p
	}
	name, _ := localName(&ast.ImportSpec{Path: &ast.BasicLit{Value: strconv.Quote(importPath)}})
	if !token.IsIdentifier(name) {
		name = "_"
	}
	p := types.NewPackage(importPath, name)
	s.made[importPath] = p
	wellKnown(p)
	for _, name := range slices.Sorted(maps.Keys(s.uses[importPath])) {
		if p.Scope().Lookup(name) == nil {
			standInType(p, name, s.uses[importPath][name])
		}
	}
	p.MarkComplete()
	return p
}

func standInType(p *types.Package, name string, as use) {
	named := types.NewNamed(types.NewTypeName(token.NoPos, p, name, nil), nil, nil)
	var underlying types.Type = types.NewStruct(nil, nil)
	if as.iface {
		underlying = types.NewInterfaceType(nil, nil)
	}
	named.SetUnderlying(underlying)
	var params []*types.TypeParam
	for i := range as.params {
		tn := types.NewTypeName(token.NoPos, p, fmt.Sprintf("T%d", i), nil)
		params = append(params, types.NewTypeParam(tn, types.Universe.Lookup("any").Type()))
	}
	if params != nil {
		named.SetTypeParams(params)
	}
	p.Scope().Insert(named.Obj())
}

// wellKnown declares what packages initialise exported variables and constants
// with most often. Nothing about it can change in Go 1.
func wellKnown(p *types.Package) {
	oneString := types.NewTuple(types.NewVar(token.NoPos, p, "text", types.Typ[types.String]))
	result := func(t types.Type) *types.Tuple { return types.NewTuple(types.NewVar(token.NoPos, p, "", t)) }
	failure := types.Universe.Lookup("error").Type()
	declare := func(name string, sig *types.Signature) { p.Scope().Insert(types.NewFunc(token.NoPos, p, name, sig)) }
	switch p.Path() {
	case "errors":
		declare("New", types.NewSignatureType(nil, nil, nil, oneString, result(failure), false))
	case "fmt":
		rest := types.NewVar(token.NoPos, p, "a", types.NewSlice(types.Universe.Lookup("any").Type()))
		declare("Errorf", types.NewSignatureType(nil, nil, nil, types.NewTuple(oneString.At(0), rest), result(failure), true))
	case "time":
		d := types.NewNamed(types.NewTypeName(token.NoPos, p, "Duration", nil), types.Typ[types.Int64], nil)
		p.Scope().Insert(d.Obj())
		unit := int64(1)
		for i, name := range []string{"Nanosecond", "Microsecond", "Millisecond", "Second", "Minute", "Hour"} {
			if i > 0 && i < 4 {
				unit *= 1000
			} else if i >= 4 {
				unit *= 60
			}
			p.Scope().Insert(types.NewConst(token.NoPos, p, name, d, constant.MakeInt64(unit)))
		}
	}
}
