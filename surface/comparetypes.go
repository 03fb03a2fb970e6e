package surface

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/exp/apidiff"
)

// symbols compares the dynamic symbols of two libraries.
type symbols struct {
	*comparison
	module, newModule Module
	oldOnly, newOnly  []string // whose signature only one side knows
	neither           []string
	functions         int // symbols of the old one
}

func (s *symbols) compare(a, b Library) {
	after := map[string][]Symbol{}
	for _, n := range b.Symbols {
		after[n.Name] = append(after[n.Name], n)
	}
	before, signatures := map[string]bool{}, exportsByName(s.module)
	s.functions = len(a.Symbols)
	next := exportsByName(s.newModule)
	for _, o := range a.Symbols {
		before[o.Name] = true
		if n, ok := s.symbol(o, after[o.Name]); ok {
			s.both[o.Name] = true
			s.signature(o, signatures[o.full()], next[n.full()])
		}
	}
	held := map[string]bool{}
	for _, o := range a.Symbols {
		held[o.key()] = true
	}
	for _, n := range b.Symbols {
		if !before[n.Name] {
			s.add(Addition, ExportAdded, s.subject(n.Name), "the %s is new", n.Type)
		} else if n.Version != "" && !held[n.key()] && !held[Symbol{Name: n.Name}.key()] {
			s.add(Addition, ExportAdded, s.subject(n.full()), "the version is new")
		}
	}
	if !slices.ContainsFunc(s.old.Unchecked, named(s.module.Path)) && !slices.ContainsFunc(s.new.Unchecked, named(s.newModule.Path)) {
		s.unknown()
	}
}

func named(subject string) func(Unchecked) bool {
	return func(u Unchecked) bool { return u.Subject == subject }
}

func (s *symbols) subject(name string) string { return s.module.ID + ": " + name }

func exportsByName(m Module) map[string]Export {
	out := map[string]Export{}
	for _, x := range m.Exports {
		out[x.Name] = x
	}
	return out
}

// symbol finds the symbol that programs which were linked with o will get.
func (s *symbols) symbol(o Symbol, candidates []Symbol) (Symbol, bool) {
	if len(candidates) == 0 {
		if o.Bind == "weak" {
			s.add(Risk, WeakRemoved, s.subject(o.Name), "the weak symbol is gone")
		} else {
			s.add(Breaking, ExportRemoved, s.subject(o.Name), "the %s is gone", o.Type)
		}
		return Symbol{}, false
	}
	at := slices.IndexFunc(candidates, func(n Symbol) bool { return n.Version == o.Version })
	if at < 0 && o.Version == "" {
		// A program that asks for no version gets the default one.
		at = slices.IndexFunc(candidates, func(n Symbol) bool { return !n.Hidden })
	}
	if at < 0 {
		s.add(Breaking, SymbolVersionRemoved, s.subject(o.full()), "the symbol is there, but not in version %s", orNone(o.Version))
		return Symbol{}, false
	}
	n := candidates[at]
	if !o.Hidden && !slices.ContainsFunc(candidates, func(n Symbol) bool { return !n.Hidden }) {
		s.add(Risk, DefaultRemoved, s.subject(o.Name), "old programs run, but new ones can not be linked: no version is the default")
	}
	if class(o.Type) != class(n.Type) {
		s.changed(Breaking, SymbolTypeChanged, s.subject(o.full()), o.Type, n.Type, "was %s, is %s", o.Type, n.Type)
		return n, false
	}
	if o.Size != n.Size {
		s.changed(Breaking, ObjectSizeChanged, s.subject(o.full()), fmt.Sprint(o.Size), fmt.Sprint(n.Size),
			"had %d bytes, has %d: programs hold a copy of the old size", o.Size, n.Size)
	}
	return n, true
}

func class(t string) string {
	switch t {
	case "ifunc":
		return "func"
	case "common":
		return "object"
	}
	return t
}

func (s *symbols) signature(o Symbol, a, b Export) {
	switch {
	case a.Result == "" && b.Result == "" && strings.HasPrefix(o.Name, "_ZT"):
		// Tables that a C++ compiler makes have no type of their own.
	case a.Result == "" && b.Result == "":
		s.neither = append(s.neither, o.Name)
	case a.Result == "":
		s.newOnly = append(s.newOnly, o.Name)
	case b.Result == "":
		s.oldOnly = append(s.oldOnly, o.Name)
	case shown(a) == shown(b):
		if a.Closure != b.Closure {
			s.reaching = append(s.reaching, s.subject(o.Name))
		}
	case unconst(shown(a)) == unconst(shown(b)):
		s.changed(Risk, QualifierChanged, s.subject(o.full()), shown(a), shown(b), "only const or volatile changed: was %s, is %s", shown(a), shown(b))
	default:
		s.changed(Breaking, ExportSignatureChanged, s.subject(o.full()), shown(a), shown(b), "was %s, is %s", shown(a), shown(b))
	}
}

// unknown reports symbols without a signature once for each library: assembly
// has none.
func (s *symbols) unknown() {
	if len(s.neither) > 0 && len(s.neither) == s.functions {
		// Debug information of something else, such as of an empty file.
		s.add(NotChecked, Unknown, s.module.ID, "debug information says nothing of any symbol")
	} else if len(s.neither) > 0 {
		s.add(Risk, SignatureUnknown, s.module.ID, "debug information says nothing of %s", some(s.neither))
	}
	if len(s.oldOnly)+len(s.newOnly) > 0 {
		s.add(NotChecked, Unknown, s.module.ID, "only one side has the signature of %s", some(append(s.oldOnly, s.newOnly...)))
	}
}

func some(names []string) string {
	slices.Sort(names)
	if len(names) > 5 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:5], ", "), len(names)-5)
	}
	return strings.Join(names, ", ")
}

// shown writes an export as one text.
func shown(x Export) string {
	if x.Kind == KindFunc || x.Kind == KindMethod {
		return "(" + strings.Join(x.Params, ", ") + ") " + x.Result
	}
	if len(x.Params) > 0 {
		return strings.Join(x.Params, "; ") + "; " + x.Result
	}
	return x.Result
}

func unconst(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, " const", ""), " volatile", "")
}

// types compares the types that are seen from outside.
func (c *comparison) types() {
	old, new := byID(c.old)[TypesModule], byID(c.new)[TypesModule]
	after := map[string]Export{}
	for _, x := range new.Exports {
		after[x.key()] = x
	}
	before := map[string]bool{}
	var gone []Export
	own := false
	for _, x := range old.Exports {
		before[x.Name] = true
		n, ok := after[x.key()]
		switch {
		case !ok:
			gone = append(gone, x)
		case shown(x) != shown(n):
			own = true
			c.changedType(x, n)
		}
	}
	kindless := map[string]Export{}
	for _, n := range new.Exports {
		kindless[n.Name] = n
		if !before[n.Name] && !c.oldNames[n.Name] && c.newNames[n.Name] {
			c.add(Addition, ExportAdded, n.Kind+" "+n.Name, "the type is new")
		}
	}
	for _, x := range gone {
		c.goneType(x, kindless[x.Name], !own && len(c.reaching) > 0)
	}
}

func (c *comparison) changedType(x, n Export) {
	subject := x.Kind + " " + x.Name
	if c.reported == nil {
		c.reported = map[string]bool{}
	}
	c.reported[x.Name] = true
	lost, come := differences(x.Params, n.Params)
	// A virtual function more is a class that others inherit from in another way.
	virtual := func(s string) bool { return strings.HasPrefix(s, "virtual ") }
	grown := len(lost) == 0 && x.Result == n.Result && !slices.ContainsFunc(come, virtual)
	detail := changes(lost, come)
	if x.Result != n.Result {
		detail = strings.TrimSpace(detail + " (" + x.Result + ", now " + n.Result + ")")
	}
	switch {
	case x.Kind == KindEnum && grown:
		c.changed(Addition, EnumeratorAdded, subject, shown(x), shown(n), "new: %s", strings.Join(come, " "))
	case x.Kind == KindEnum:
		c.changed(Breaking, EnumChanged, subject, shown(x), shown(n), "values changed: %s", detail)
	case x.Kind == KindTypedef:
		c.changed(Breaking, ExportSignatureChanged, subject, shown(x), shown(n), "stood for %s, stands for %s", x.Result, n.Result)
	case grown && x.Kind == KindStruct:
		c.changed(Risk, MemberAdded, subject, shown(x), shown(n), "members were put where nothing was: %s", strings.Join(come, "; "))
	default:
		c.changed(Breaking, StructLayoutChanged, subject, shown(x), shown(n), "layout changed: %s", detail)
	}
}

// goneType judges a type that only the old debug information has. Compilers
// leave out what nothing uses, so a header that still names it decides, unless
// functions that are in both led to it.
func (c *comparison) goneType(x, other Export, reached bool) {
	subject := x.Kind + " " + x.Name
	name := x.Name
	if at := strings.LastIndex(name, "::"); at >= 0 {
		name = name[at+2:]
	}
	name, _, _ = strings.Cut(name, "#")
	name, _, _ = strings.Cut(name, "<")
	switch {
	case c.new.partial():
		// Without debug information nothing is seen; that is reported once.
	case other.Kind != "" && other.Kind != x.Kind && other.Kind != KindTypedef && x.Kind != KindTypedef:
		c.changed(Breaking, StructLayoutChanged, subject, shown(x), shown(other), "was a %s, is a %s", x.Kind, other.Kind)
	case !c.oldNames[name]:
		// It was seen only inside another, which has changed then.
	case !c.newNames[name] && len(c.new.Headers) > 0:
		c.add(Breaking, ExportRemoved, subject, "the type is gone")
	case reached && x.Kind != KindTypedef:
		c.add(Breaking, StructLayoutChanged, subject, "its members are no longer declared")
	default:
		c.add(Risk, TypeNotSeen, subject, "a header names it, but debug information has its members no more")
	}
}

// partial says whether the types of some library are not known.
func (e *Exports) partial() bool {
	return slices.ContainsFunc(e.ELF, func(l Library) bool { return slices.ContainsFunc(e.Unchecked, named(l.Path)) })
}

// goModule compares a Go package.
func (c *comparison) goModule(m, n Module) {
	if c.oldTree != nil && c.newTree != nil {
		if c.goSources(m, n) {
			return
		}
	}
	before, after := exportsByName(m), exportsByName(n)
	for _, name := range slices.Sorted(maps.Keys(before)) {
		x := before[name]
		y, ok := after[name]
		switch {
		case !ok:
			c.add(Breaking, ExportRemoved, m.ID+": "+name, "the %s is gone", x.Kind)
		case x.Kind != y.Kind || shown(x) != shown(y):
			c.changed(Breaking, ExportSignatureChanged, m.ID+": "+name, x.Kind+" "+shown(x), y.Kind+" "+shown(y), "was %s %s, is %s %s", x.Kind, shown(x), y.Kind, shown(y))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if _, ok := before[name]; ok {
			continue
		}
		owner, _, _ := strings.Cut(name, ".")
		if x, ok := before[owner]; ok && owner != name && strings.HasPrefix(x.Result, "interface") && after[name].Kind == KindMethod {
			c.add(Breaking, ExportSignatureChanged, m.ID+": "+name, "a method was added to an interface that others implement")
			continue
		}
		c.add(Addition, ExportAdded, m.ID+": "+name, "the %s is new", after[name].Kind)
	}
}

// goSources compares by what Go says is compatible. false: the sources do not
// tell enough.
func (c *comparison) goSources(m, n Module) bool {
	a, b := goSource(c.oldTree, m), goSource(c.newTree, n)
	if a == nil || b == nil {
		return false
	}
	changes, err := goChanges(a, b)
	if err != nil {
		return false
	}
	for _, change := range changes {
		what, how, ok := strings.Cut(change.Message, ": ")
		if !ok {
			what, how = m.ID, change.Message
		}
		subject := m.ID + ": " + what
		switch {
		case change.Compatible:
			c.add(Addition, ExportAdded, subject, "%s", how)
		case how == "removed":
			c.add(Breaking, ExportRemoved, subject, "removed")
		default:
			c.add(Breaking, ExportSignatureChanged, subject, "%s", how)
		}
	}
	return true
}

func goChanges(a, b *goPackage) (changes []apidiff.Change, err error) {
	defer guard("the package", &err)
	return apidiff.Changes(a.Package, b.Package).Changes, nil
}

// goSource loads a module's package if its sources are there and tell all.
func goSource(t *Tree, m Module) *goPackage {
	if t.files[m.Path] == nil || !t.files[m.Path].dir {
		return nil
	}
	l := &goLoader{tree: t, loaded: map[string]*goPackage{}}
	p, err := l.loadGo(m.Path, goImportPath(t, m.Path, m.ID))
	if err != nil || len(p.errs) > 0 {
		return nil
	}
	return p
}
