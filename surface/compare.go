package surface

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// Side is one of the two packages that are compared. Tree is needed only for
// sources: with those of both sides, Go packages are compared by what Go says is
// compatible, otherwise by the text of their declarations.
type Side struct {
	Exports *Exports
	Tree    *Tree // may be nil
}

// Breaks returns only what breaks, for who warns and does not judge.
func Breaks(old, new *Exports) []Finding {
	return slices.DeleteFunc(Compare(Side{Exports: old}, Side{Exports: new}), func(f Finding) bool { return f.Level != Breaking })
}

// Compare returns every difference that matters, the worst first.
func Compare(old, new Side) []Finding {
	c := &comparison{old: old.Exports, new: new.Exports, oldTree: old.Tree, newTree: new.Tree}
	c.oldNames, c.newNames = headerNames(c.old), headerNames(c.new)
	if len(c.old.Surfaces) == 0 && len(c.new.Surfaces) == 0 {
		c.add(NotChecked, Unknown, "exports", "neither package offers anything that is known here")
	}
	c.libraries()
	c.modules()
	c.types()
	c.headers()
	c.declarations()
	c.commands()
	c.pkgConfig()
	c.unchecked()
	slices.SortFunc(c.out, compareFindings)
	return slices.CompactFunc(c.out, func(a, b Finding) bool { return a.Kind == b.Kind && a.Subject == b.Subject && a.Message == b.Message })
}

// comparison is one run of Compare.
type comparison struct {
	old, new           *Exports
	oldTree, newTree   *Tree
	oldNames, newNames map[string]bool // identifiers in headers
	out                []Finding
	paired             map[string]string // old library to new, by path
	both               map[string]bool   // functions that are exported by both
	reported           map[string]bool   // types whose layout changed
	reaching           []string          // functions whose types changed, not their own text
}

func (c *comparison) add(l Level, kind, subject, format string, args ...any) *Finding {
	c.out = append(c.out, Finding{Level: l, Kind: kind, Subject: subject, Message: fmt.Sprintf(format, args...)})
	return &c.out[len(c.out)-1]
}

func (c *comparison) changed(l Level, kind, subject, old, new, format string, args ...any) {
	f := c.add(l, kind, subject, format, args...)
	f.Old, f.New = old, new
}

func headerNames(e *Exports) map[string]bool {
	out := map[string]bool{}
	for _, h := range e.Headers {
		for _, name := range h.Names {
			out[name] = true
		}
		for _, m := range h.Macros {
			out[m.Name] = true
		}
	}
	return out
}

// libraryOf returns the module of a library.
func (e *Exports) libraryOf(p string) Module {
	for _, m := range e.Modules {
		if m.Form == FormELF && m.Path == p {
			return m
		}
	}
	return Module{ID: stem(p), Form: FormELF}
}

// libraries pairs each library with the one that replaces it, and compares them.
func (c *comparison) libraries() {
	c.paired, c.both = map[string]string{}, map[string]bool{}
	taken := map[string]bool{}
	for rule, same := range []func(a, b Library) bool{
		func(a, b Library) bool {
			return a.Soname != "" && a.Soname == b.Soname && path.Dir(a.Path) == path.Dir(b.Path)
		},
		func(a, b Library) bool { return stem(a.Path) == stem(b.Path) },
		func(a, b Library) bool { return a.Soname != "" && a.Soname == b.Soname },
	} {
		for _, a := range c.old.ELF {
			for _, b := range c.new.ELF {
				if c.paired[a.Path] != "" || taken[b.Path] || !same(a, b) {
					continue
				}
				c.paired[a.Path], taken[b.Path] = b.Path, true
				if rule == 2 {
					c.changed(Risk, LibraryMoved, c.old.libraryOf(a.Path).ID, a.Path, b.Path, "moved from %s to %s", path.Dir(a.Path), path.Dir(b.Path))
				}
				c.library(a, b)
			}
		}
	}
	for _, a := range c.old.ELF {
		if m := c.old.libraryOf(a.Path); c.paired[a.Path] == "" && !m.Declared {
			c.add(Breaking, LibraryRemoved, m.ID, "the library %s is gone", path.Base(a.Path))
		}
	}
	for _, b := range c.new.ELF {
		if m := c.new.libraryOf(b.Path); !taken[b.Path] && !m.Declared {
			c.add(Addition, LibraryAdded, m.ID, "the library %s is new", path.Base(b.Path))
		}
	}
}

func (c *comparison) library(a, b Library) {
	m := c.old.libraryOf(a.Path)
	if a.Soname != b.Soname {
		c.changed(Breaking, SonameChanged, m.ID, a.Soname, b.Soname, "SONAME was %s, is %s: programs must be linked again", orNone(a.Soname), orNone(b.Soname))
	}
	if gone, come := differences(a.Needed, b.Needed); len(gone)+len(come) > 0 {
		c.changed(Risk, NeededChanged, m.ID, strings.Join(gone, " "), strings.Join(come, " "), "needs other libraries: %s", changes(gone, come))
	}
	s := &symbols{comparison: c, module: m, newModule: c.new.libraryOf(b.Path)}
	s.compare(a, b)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// differences returns what only the first list has and what only the second.
func differences(a, b []string) (gone, come []string) {
	for _, s := range a {
		if !slices.Contains(b, s) {
			gone = append(gone, s)
		}
	}
	for _, s := range b {
		if !slices.Contains(a, s) {
			come = append(come, s)
		}
	}
	return gone, come
}

func changes(gone, come []string) string {
	var words []string
	for _, s := range gone {
		words = append(words, "-"+s)
	}
	for _, s := range come {
		words = append(words, "+"+s)
	}
	return strings.Join(words, " ")
}

// modules compares declared modules; libraries among them were compared already.
func (c *comparison) modules() {
	before, after := byID(c.old), byID(c.new)
	for _, m := range c.old.Modules {
		if !m.Declared {
			continue
		}
		n, ok := after[m.ID]
		switch {
		case !ok || !n.Declared:
			c.add(Breaking, ModuleRemoved, m.ID, "the module is no longer declared")
		case n.Form != m.Form:
			c.changed(Breaking, ExportSignatureChanged, m.ID, m.Form, n.Form, "the module was of the form %s, is %s", m.Form, n.Form)
		case m.Form == FormGo:
			c.goModule(m, n)
		case m.Form == FormFiles:
			c.files(m, n)
		case m.Form == FormELF && c.paired[m.Path] == "" && c.old.has(m.Path):
			c.add(Breaking, LibraryRemoved, m.ID, "the library %s is gone", path.Base(m.Path))
		case m.Form == FormELF && !c.old.has(m.Path):
			c.signatures(m, n)
		}
	}
	for _, n := range c.new.Modules {
		if n.Declared && !before[n.ID].Declared {
			c.add(Addition, ModuleAdded, n.ID, "the module is new")
		}
	}
}

// has says whether a library is listed.
func (e *Exports) has(p string) bool {
	return slices.ContainsFunc(e.ELF, func(l Library) bool { return l.Path == p })
}

// signatures compares modules of which no symbols are listed, only exports.
func (c *comparison) signatures(m, n Module) {
	s := &symbols{comparison: c, module: m, newModule: n}
	before, after := exportsByName(m), exportsByName(n)
	for _, x := range m.Exports {
		y, ok := after[x.Name]
		switch {
		case !ok:
			c.add(Breaking, ExportRemoved, s.subject(x.Name), "the %s is gone", x.Kind)
		case x.Kind != y.Kind:
			c.changed(Breaking, SymbolTypeChanged, s.subject(x.Name), x.Kind, y.Kind, "was %s, is %s", x.Kind, y.Kind)
		default:
			s.signature(Symbol{Name: x.Name}, x, y)
		}
	}
	for _, y := range n.Exports {
		if _, ok := before[y.Name]; !ok {
			c.add(Addition, ExportAdded, s.subject(y.Name), "the %s is new", y.Kind)
		}
	}
	s.unknown()
}

func byID(e *Exports) map[string]Module {
	out := map[string]Module{}
	for _, m := range e.Modules {
		out[m.ID] = m
	}
	return out
}

func (c *comparison) files(m, n Module) {
	name := func(x Export) string { return x.Name }
	gone, come := differences(mapped(m.Exports, name), mapped(n.Exports, name))
	for _, p := range gone {
		c.add(Breaking, ExportRemoved, m.ID+": "+p, "the file is gone")
	}
	for _, p := range come {
		c.add(Addition, ExportAdded, m.ID+": "+p, "the file is new")
	}
}

func mapped[T any](list []T, f func(T) string) []string {
	out := make([]string, len(list))
	for i := range list {
		out[i] = f(list[i])
	}
	return out
}

func (c *comparison) headers() {
	before, after := map[string]Header{}, map[string]Header{}
	for _, h := range c.old.Headers {
		before[h.Path] = h
	}
	for _, h := range c.new.Headers {
		after[h.Path] = h
	}
	for _, h := range c.old.Headers {
		if n, ok := after[h.Path]; ok {
			c.macros(h, n)
		} else {
			c.add(Breaking, HeaderRemoved, h.Path, "the header is gone")
		}
	}
	for _, n := range c.new.Headers {
		if _, ok := before[n.Path]; !ok {
			c.add(Addition, HeaderAdded, n.Path, "the header is new")
		}
	}
	if len(c.new.Headers) == 0 {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(c.both)) {
		if c.oldNames[name] && !c.newNames[name] {
			c.add(Risk, DeclarationRemoved, name, "still exported, but no header names it any more")
		}
	}
}

// macros compares definitions. A macro that moved to another header, or became a
// function or an enumerator, is still there.
func (c *comparison) macros(h, n Header) {
	after := map[string]string{}
	for _, m := range n.Macros {
		after[m.Name] = m.Value
	}
	before := map[string]bool{}
	for _, m := range h.Macros {
		before[m.Name] = true
		value, ok := after[m.Name]
		switch {
		case !ok && !c.newNames[m.Name]:
			c.add(Risk, MacroRemoved, h.Path+": "+m.Name, "the macro is gone")
		case ok && value != m.Value:
			c.changed(Risk, MacroChanged, h.Path+": "+m.Name, m.Value, value, "the macro was %q, is %q", m.Value, value)
		}
	}
	for _, m := range n.Macros {
		if !before[m.Name] && !c.oldNames[m.Name] {
			c.add(Addition, MacroAdded, h.Path+": "+m.Name, "the macro is new")
		}
	}
}

func (c *comparison) commands() {
	gone, come := differences(c.old.Commands, c.new.Commands)
	for _, name := range gone {
		c.add(Breaking, CommandRemoved, name, "the command is gone")
	}
	for _, name := range come {
		c.add(Addition, CommandAdded, name, "the command is new")
	}
	after := map[string]string{}
	for _, i := range c.new.Interpreters {
		after[i.Command] = i.Path
	}
	for _, i := range c.old.Interpreters {
		if now := after[i.Command]; now != i.Path && slices.Contains(c.new.Commands, i.Command) {
			c.changed(Risk, InterpreterChanged, i.Command, i.Path, now, "was started by %s, is by %s", i.Path, orNone(now))
		}
	}
}

func (c *comparison) pkgConfig() {
	name := func(p PkgConfig) string { return strings.TrimSuffix(path.Base(p.Path), ".pc") }
	after := map[string]PkgConfig{}
	for _, p := range c.new.PkgConfig {
		after[name(p)] = p
	}
	for _, p := range c.old.PkgConfig {
		if n, ok := after[name(p)]; ok {
			c.pkgConfigFile(name(p), p, n)
		} else {
			c.add(Breaking, PkgConfigRemoved, name(p), "the pkg-config module is gone")
		}
	}
	before := mapped(c.old.PkgConfig, name)
	for _, p := range c.new.PkgConfig {
		if !slices.Contains(before, name(p)) {
			c.add(Addition, PkgConfigAdded, name(p), "the pkg-config module is new")
		}
	}
}

// pkgConfigFile compares what a program is compiled and linked with. Flags that
// are gone are a break, unless the module now requires another, which may bring
// them.
func (c *comparison) pkgConfigFile(name string, p, n PkgConfig) {
	goneReq, comeReq := differences(p.Requires, n.Requires)
	if len(goneReq)+len(comeReq) > 0 {
		c.changed(Risk, PkgConfigRequirement, name, strings.Join(goneReq, ", "), strings.Join(comeReq, ", "), "Requires: %s", changes(goneReq, comeReq))
	}
	for what, lists := range map[string][2][]string{"Libs": {p.Libs, n.Libs}, "Cflags": {p.Cflags, n.Cflags}} {
		gone, _ := differences(lists[0], lists[1])
		if len(gone) == 0 {
			continue
		}
		level := Breaking
		if len(comeReq) > 0 {
			level = Risk
		}
		c.changed(level, PkgConfigChanged, name+": "+what, strings.Join(lists[0], " "), strings.Join(lists[1], " "), "%s no longer has %s", what, strings.Join(gone, " "))
	}
	if olderVersion(n.Version, p.Version) {
		c.changed(Risk, PkgConfigVersion, name, p.Version, n.Version, "Version went back from %s to %s", orNone(p.Version), orNone(n.Version))
	}
}

// olderVersion compares the leading numbers of two versions.
func olderVersion(a, b string) bool {
	x, y := numbers(a), numbers(b)
	return slices.Compare(x, y) < 0
}

func numbers(s string) []int {
	var out []int
	for _, part := range strings.FieldsFunc(s, func(r rune) bool { return r < '0' || r > '9' }) {
		n := 0
		for _, r := range part[:min(len(part), 9)] {
			n = n*10 + int(r-'0')
		}
		out = append(out, n)
	}
	return out
}

// unchecked reports what neither side could read, as far as it was there before.
func (c *comparison) unchecked() {
	reasons := map[string][]string{}
	for _, u := range c.old.Unchecked {
		subject := c.old.subject(u.Subject)
		if to, library := c.paired[u.Subject]; library && to == "" {
			continue // it is gone, which is known
		}
		reasons[subject] = append(reasons[subject], "old: "+u.Reason)
	}
	replaced := map[string]string{}
	for from, to := range c.paired {
		replaced[to] = from
	}
	for _, u := range c.new.Unchecked {
		subject := c.new.subject(u.Subject)
		if slices.ContainsFunc(c.new.ELF, func(l Library) bool { return l.Path == u.Subject }) {
			if replaced[u.Subject] == "" {
				continue // it is new, and breaks nobody
			}
			subject = c.old.libraryOf(replaced[u.Subject]).ID
		}
		reasons[subject] = append(reasons[subject], "new: "+u.Reason)
	}
	for subject, all := range reasons {
		c.add(NotChecked, Unknown, subject, "%s", strings.Join(all, "; "))
	}
}

// subject is the id of a library's module, since its path has the version in it.
func (e *Exports) subject(s string) string {
	if strings.Contains(path.Base(s), ".so") {
		return e.libraryOf(s).ID
	}
	return s
}
