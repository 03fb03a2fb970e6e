package resolve_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"rebuild/internal/fault"
	"rebuild/internal/names"
	"rebuild/resolve"
)

// version is one in a catalog of a test.
type version struct {
	resolve.Candidate
	depends map[string]string
	pending bool
}

// catalog is one in memory. It tells if it is asked for anything twice.
type catalog struct {
	t     testing.TB
	all   map[string][]version
	asked map[string]bool
	// repeats is set if a version is there twice, so that the same is asked.
	repeats bool
}

func (c *catalog) once(what string) {
	if c.asked == nil {
		c.asked = map[string]bool{}
	}
	if c.asked[what] && !c.repeats {
		c.t.Errorf("%s was asked for twice", what)
	}
	c.asked[what] = true
}

func (c *catalog) Versions(_ context.Context, name string) ([]resolve.Candidate, error) {
	c.once(name)
	if c.all[name] == nil {
		return nil, fs.ErrNotExist
	}
	var out []resolve.Candidate
	for _, v := range c.all[name] {
		out = append(out, v.Candidate)
	}
	return out, nil
}

func (c *catalog) Depends(_ context.Context, name, v string) (map[string]string, error) {
	c.once(name + "@" + v)
	for _, o := range c.all[name] {
		if o.Version == v && o.pending {
			return nil, fault.New(fault.QuorumPending, "%s@%s has no quorum", name, v)
		}
		if o.Version == v {
			return o.depends, nil
		}
	}
	return nil, errors.New("never offered")
}

// parse reads a catalog: a line "name version [yanked] [advised] [pending]
// [dep:range]..." for each version, with ~ for a space in a range.
func parse(t testing.TB, text string) *catalog {
	c := &catalog{t: t, all: map[string][]version{}}
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		v := version{depends: map[string]string{}}
		v.Version = words[1]
		for _, w := range words[2:] {
			name, in, dep := strings.Cut(w, ":")
			switch {
			case dep:
				v.depends[name] = strings.ReplaceAll(in, "~ ", " ")
			case w == "yanked":
				v.Yanked = true
			case w == "advised":
				v.Advisories = []string{"CVE-2026-0001"}
			case w == "pending":
				v.pending = true
			}
		}
		c.all[words[0]] = append(c.all[words[0]], v)
	}
	return c
}

func text(all []resolve.Choice) string {
	var out []string
	for _, c := range all {
		out = append(out, c.Name+"@"+c.Version)
	}
	return strings.Join(out, " ")
}

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		name, catalog string
		wish          resolve.Wish
		want          string
		code          fault.Code
		says          string
	}{
		{name: "highest", catalog: "a 1.0.0\na 1.10.0\na 1.9.0\na 2.0.0", wish: resolve.Wish{Packages: map[string]string{"a": "^1"}}, want: "a@1.10.0"},
		{name: "pre-releases only if named", catalog: "a 1.0.0\na 1.1.0-rc.1", wish: resolve.Wish{Packages: map[string]string{"a": ">=1"}}, want: "a@1.0.0"},
		{name: "pre-release named", catalog: "a 1.0.0\na 1.1.0-rc.1", wish: resolve.Wish{Packages: map[string]string{"a": ">=1.1.0-rc.1"}}, want: "a@1.1.0-rc.1"},
		{name: "back to where it fits", catalog: "a 2.0.0 c:^2\na 1.0.0 c:^1\nb 1.0.0 c:^1\nc 1.0.0\nc 2.0.0",
			wish: resolve.Wish{Packages: map[string]string{"a": "*", "b": "*"}}, want: "a@1.0.0 b@1.0.0 c@1.0.0"},
		{name: "locked stays", catalog: "a 1.0.0\na 1.1.0", wish: resolve.Wish{Packages: map[string]string{"a": "^1"}, Locked: map[string]string{"a": "1.0.0"}}, want: "a@1.0.0"},
		{name: "locked out of range goes", catalog: "a 1.0.0\na 2.1.0", wish: resolve.Wish{Packages: map[string]string{"a": "^2"}, Locked: map[string]string{"a": "1.0.0"}}, want: "a@2.1.0"},
		{name: "yanked passed over", catalog: "a 1.0.0\na 1.1.0 yanked", wish: resolve.Wish{Packages: map[string]string{"a": "^1"}}, want: "a@1.0.0"},
		{name: "advised passed over", catalog: "a 1.0.0\na 1.1.0 advised", wish: resolve.Wish{Packages: map[string]string{"a": "^1"}}, want: "a@1.0.0"},
		{name: "yanked and locked", catalog: "a 1.0.0\na 1.1.0 yanked", wish: resolve.Wish{Packages: map[string]string{"a": "^1"}, Locked: map[string]string{"a": "1.1.0"}}, want: "a@1.1.0"},
		{name: "yanked and allowed", catalog: "a 1.0.0\na 1.1.0 yanked", wish: resolve.Wish{Packages: map[string]string{"a": "^1"}, AllowYanked: true}, want: "a@1.1.0"},
		{name: "A30 only a yanked one", catalog: "a 1.1.0 yanked\nb 1.0.0 a:^1", wish: resolve.Wish{Packages: map[string]string{"b": "*"}},
			code: fault.YankedDep, says: `a@1.1.0 is yanked; of what the index has, only that would do: b@1.0.0 wants "^1"`},
		{name: "A30 only an advised one", catalog: "a 1.1.0 advised", wish: resolve.Wish{Packages: map[string]string{"a": "*"}, AllowYanked: true},
			code: fault.AdvisedDep, says: `a@1.1.0 has the advisories CVE-2026-0001`},
		{name: "without votes", catalog: "a 1.0.0\na 1.1.0 pending", wish: resolve.Wish{Packages: map[string]string{"a": "^1"}}, want: "a@1.0.0"},
		{name: "only without votes", catalog: "a 1.1.0 pending", wish: resolve.Wish{Packages: map[string]string{"a": "^1"}}, code: fault.QuorumPending, says: "lack votes"},
		{name: "nowhere", catalog: "a 1.0.0 b:*\nb 1.0.0 zz:^3", wish: resolve.Wish{Packages: map[string]string{"a": "*"}},
			code: fault.DepMissing, says: `package zz is not in the index: a@1.0.0 > b@1.0.0 wants "^3"`},
		{name: "conflict", catalog: "a 1.0.0 c:^1\nb 1.0.0 c:^2\nc 1.0.0\nc 2.0.0", wish: resolve.Wish{Packages: map[string]string{"a": "*", "b": "*"}},
			code: fault.DepMissing, says: `no version of package c is in every range: a@1.0.0 wants "^1"; b@1.0.0 wants "^2"`},
		{name: "out of range", catalog: "a 1.0.0", wish: resolve.Wish{Packages: map[string]string{"a": "^2"}}, code: fault.DepMissing, says: `you want "^2"`},
		{name: "B22 cycle", catalog: "a 1.0.0 b:*\nb 1.0.0 c:*\nc 1.0.0 b:*", wish: resolve.Wish{Packages: map[string]string{"a": "*"}},
			code: fault.Cycle, says: "packages need each other: b > c > b"},
		{name: "B22 needs itself", catalog: "a 1.0.0 a:^2", wish: resolve.Wish{Packages: map[string]string{"a": "*"}}, code: fault.Cycle, says: "a > a"},
		{name: "bad range", catalog: "a 1.0.0 b:x!\nb 1.0.0", wish: resolve.Wish{Packages: map[string]string{"a": "*"}}, code: fault.Structure},
		{name: "bad name", catalog: "a 1.0.0", wish: resolve.Wish{Packages: map[string]string{"../a": "*"}}, code: fault.Structure},
		{name: "nothing", wish: resolve.Wish{}, want: ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := resolve.Choose(t.Context(), parse(t, c.catalog), c.wish)
			if fault.CodeOf(err) != c.code || c.code == "" && text(got) != c.want {
				t.Fatalf("%q, %v; want %q %s", text(got), err, c.want, c.code)
			}
			if err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
		})
	}
}

// chain is a catalog of packages that each need the next.
func chain(t testing.TB, n int) *catalog {
	c := &catalog{t: t, all: map[string][]version{}}
	for i := range n {
		v := version{Candidate: resolve.Candidate{Version: "1.0.0"}, depends: map[string]string{}}
		if i+1 < n {
			v.depends[fmt.Sprintf("p%03d", i+1)] = "*"
		}
		c.all[fmt.Sprintf("p%03d", i)] = []version{v}
	}
	return c
}

func TestB22Depth(t *testing.T) {
	for n, want := range map[int]fault.Code{resolve.MaxDepth: "", resolve.MaxDepth + 1: fault.Depth, 200: fault.Depth} {
		_, err := resolve.Choose(t.Context(), chain(t, n), resolve.Wish{Packages: map[string]string{"p000": "*"}})
		if fault.CodeOf(err) != want {
			t.Errorf("%d packages: %v", n, err)
		}
	}
	// The same, met from its middle first.
	c := chain(t, resolve.MaxDepth+1)
	c.all["a"] = []version{{Candidate: resolve.Candidate{Version: "1.0.0"}, depends: map[string]string{"p020": "*"}}}
	_, err := resolve.Choose(t.Context(), c, resolve.Wish{Packages: map[string]string{"p000": "*", "a": "*"}})
	if fault.CodeOf(err) != fault.Depth {
		t.Error(err)
	}
}

// reference is the search in its plainest form: what [resolve.Choose] says in
// its doc, without going back further than one decision.
type reference struct {
	c     *catalog
	w     resolve.Wish
	wants map[string][]string // ranges
	taken map[string]version
}

func (r *reference) solve() bool {
	for _, name := range slices.Sorted(maps.Keys(r.wants)) {
		if _, done := r.taken[name]; done || len(r.wants[name]) == 0 {
			continue
		}
		for _, v := range r.candidates(name) {
			if !r.fits(name, v) {
				continue
			}
			r.taken[name] = v
			for dep, in := range v.depends {
				r.wants[dep] = append(r.wants[dep], in)
			}
			if r.solve() {
				return true
			}
			for dep := range v.depends {
				r.wants[dep] = r.wants[dep][:len(r.wants[dep])-1]
			}
			delete(r.taken, name)
		}
		return false
	}
	return true
}

func (r *reference) candidates(name string) []version {
	var out []version
	for _, v := range r.c.all[name] {
		if locked := r.w.Locked[name] == v.Version; locked || !(v.Yanked && !r.w.AllowYanked || v.Advisories != nil && !r.w.AllowAdvisories) {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, func(a, b version) int {
		switch r.w.Locked[name] {
		case a.Version:
			return -1
		case b.Version:
			return 1
		}
		return names.CompareVersions(b.Version, a.Version)
	})
	return out
}

func has(in, v string) bool {
	r, err := names.ParseRange(in)
	return err == nil && r.Has(v)
}

func (r *reference) fits(name string, v version) bool {
	if v.pending {
		return false
	}
	for _, in := range r.wants[name] {
		if !has(in, v.Version) {
			return false
		}
	}
	for dep, in := range v.depends {
		if t, taken := r.taken[dep]; taken && !has(in, t.Version) {
			return false
		}
	}
	return true
}

func (r *reference) text() string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(r.taken)) {
		out = append(out, name+"@"+r.taken[name].Version)
	}
	return strings.Join(out, " ")
}

var someRanges = []string{"*", "^1", "^2", ">=1.1.0", "<2.0.0", "=1.0.0", "~1.1", ">=1.2.0, <2.1.0", "^3", "1.0.0 || 2.0.0"}

// randomWorld makes a small catalog with many conflicts. Needs lead to later
// names mostly, so that most choices are no cycles.
func randomWorld(t testing.TB, r *rand.Rand) (*catalog, resolve.Wish) {
	c := &catalog{t: t, all: map[string][]version{}}
	count := 3 + r.IntN(5)
	name := func(i int) string { return string(rune('a' + i)) }
	versions := []string{"1.0.0", "1.1.0", "1.2.0", "2.0.0", "2.1.0", "3.0.0-rc.1"}
	for i := range count {
		for _, v := range versions {
			if r.IntN(3) == 0 {
				continue
			}
			o := version{Candidate: resolve.Candidate{Version: v, Yanked: r.IntN(8) == 0}, depends: map[string]string{}, pending: r.IntN(12) == 0}
			if r.IntN(10) == 0 {
				o.Advisories = []string{"CVE-2026-0002"}
			}
			for j := i + 1; j <= count; j++ { // name(count) is nowhere
				if j < count && r.IntN(2) == 0 || r.IntN(30) == 0 {
					o.depends[name(j)] = someRanges[r.IntN(len(someRanges))]
				}
			}
			if r.IntN(40) == 0 {
				o.depends[name(r.IntN(count))] = "*"
			}
			c.all[name(i)] = append(c.all[name(i)], o)
		}
	}
	w := resolve.Wish{Packages: map[string]string{}, Locked: map[string]string{}, AllowYanked: r.IntN(4) == 0, AllowAdvisories: r.IntN(4) == 0}
	for i := range count {
		if i == 0 || r.IntN(3) == 0 {
			w.Packages[name(i)] = someRanges[r.IntN(len(someRanges))]
		}
		if r.IntN(4) == 0 {
			w.Locked[name(i)] = versions[r.IntN(len(versions))]
		}
	}
	return c, w
}

// The search that jumps back finds what the plain one finds, and the same in
// whatever order the catalog gives its versions; in a tenth of the worlds where
// the run is a short one.
func TestA11TheSameAnswerAsThePlainSearch(t *testing.T) {
	worlds := 10_000
	if testing.Short() {
		worlds = 1000
	}
	found, refused, cycles := 0, 0, 0
	for seed := range uint64(worlds) {
		r := rand.New(rand.NewPCG(seed, 7))
		c, w := randomWorld(t, r)
		ref := &reference{c: c, w: w, wants: map[string][]string{}, taken: map[string]version{}}
		for name, in := range w.Packages {
			ref.wants[name] = append(ref.wants[name], in)
		}
		ok := ref.solve()
		got, err := resolve.Choose(t.Context(), c, w)
		c.asked = nil
		for _, vs := range c.all {
			r.Shuffle(len(vs), func(i, j int) { vs[i], vs[j] = vs[j], vs[i] })
		}
		again, err2 := resolve.Choose(t.Context(), c, w)
		if fmt.Sprint(err) != fmt.Sprint(err2) || text(got) != text(again) {
			t.Fatalf("seed %d: %q %v, in another order %q %v", seed, text(got), err, text(again), err2)
		}
		switch code := fault.CodeOf(err); {
		case ok && code == "" && text(got) == ref.text():
			found++
		case ok && (code == fault.Cycle || code == fault.Depth):
			cycles++
		case !ok && (code == fault.DepMissing || code == fault.YankedDep || code == fault.AdvisedDep || code == fault.QuorumPending):
			refused++
		default:
			t.Fatalf("seed %d: %q %v, the plain search %v %q", seed, text(got), err, ok, ref.text())
		}
	}
	if found < worlds/10 || refused < worlds/10 || cycles < worlds/200 {
		t.Errorf("%d found, %d refused, %d cycles: the worlds are too much alike", found, refused, cycles)
	}
}

func TestChooseEnds(t *testing.T) {
	// Pigeons: every hole is taken, and nothing tells before all were tried.
	c := &catalog{t: t, all: map[string][]version{}}
	w := resolve.Wish{Packages: map[string]string{}}
	const n = 11
	for i := range n {
		pigeon := fmt.Sprintf("p%02d", i)
		w.Packages[pigeon] = "*"
		for hole := range n - 1 {
			c.all[pigeon] = append(c.all[pigeon], version{Candidate: resolve.Candidate{Version: fmt.Sprintf("%d.0.0", hole+1)},
				depends: map[string]string{fmt.Sprintf("q%02d", hole): fmt.Sprintf("=%d.0.0", i+1)}})
		}
	}
	for hole := range n - 1 {
		for i := range n {
			q := fmt.Sprintf("q%02d", hole)
			c.all[q] = append(c.all[q], version{Candidate: resolve.Candidate{Version: fmt.Sprintf("%d.0.0", i+1)}})
		}
	}
	if _, err := resolve.Choose(t.Context(), c, w); fault.CodeOf(err) != fault.Semantic && fault.CodeOf(err) != fault.DepMissing {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := resolve.Choose(ctx, chain(t, 3), resolve.Wish{Packages: map[string]string{"p000": "*"}}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// graph is a catalog of n packages of several versions, in 20 layers, each of
// which needs some of the layers below it.
func graph(t testing.TB, n int) *catalog {
	r := rand.New(rand.NewPCG(1, 2))
	c := &catalog{t: t, all: map[string][]version{}}
	name := func(i int) string { return fmt.Sprintf("pkg%05d", i) }
	const layers = 20
	for i := range n {
		layer := i * layers / n
		for v := range 10 {
			o := version{Candidate: resolve.Candidate{Version: fmt.Sprintf("1.%d.0", v)}, depends: map[string]string{}}
			for range 8 {
				if first := (layer + 1) * n / layers; first < n {
					o.depends[name(first+r.IntN(n-first))] = []string{"^1", ">=1.2.0, <2", "<1.9.0", "*"}[r.IntN(4)]
				}
			}
			c.all[name(i)] = append(c.all[name(i)], o)
		}
	}
	return c
}

// BenchmarkChoose chooses among 2,000 packages with 20,000 versions.
func BenchmarkChoose(b *testing.B) {
	c := graph(b, 2000)
	w := resolve.Wish{Packages: map[string]string{}}
	for name := range c.all {
		w.Packages[name] = "*"
	}
	for b.Loop() {
		c.asked = nil
		got, err := resolve.Choose(b.Context(), c, w)
		if err != nil || len(got) != 2000 {
			b.Fatalf("%d, %v", len(got), err)
		}
	}
}
