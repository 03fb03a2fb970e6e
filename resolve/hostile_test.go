package resolve_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"rebuild/internal/fault"
	"rebuild/resolve"
)

// Catalogs that others wrote to take all time, all memory or an error text
// without end: each choice ends soon, with the code that it deserves.
func TestHostileCatalogs(t *testing.T) {
	one := func(depends map[string]string) []version {
		return []version{{Candidate: resolve.Candidate{Version: "1.0.0"}, depends: depends}}
	}
	all := map[string]string{}
	for i := range resolve.MaxPackages + 1 {
		all[fmt.Sprintf("p%05d", i)] = "*"
	}
	cases := map[string]struct {
		make func(c map[string][]version)
		want fault.Code
	}{
		"a chain of 19,000": {func(c map[string][]version) {
			for i := range 19_000 {
				c[fmt.Sprintf("p%05d", i)] = one(map[string]string{fmt.Sprintf("p%05d", i+1): "*"})
			}
			c["p19000"] = one(nil)
		}, fault.Depth},
		"a chain of 19,000 that ends in nothing": {func(c map[string][]version) {
			for i := range 19_000 {
				c[fmt.Sprintf("p%05d", i)] = one(map[string]string{fmt.Sprintf("p%05d", i+1): "*"})
			}
		}, fault.DepMissing},
		"19,000 on a chain want what is not there": {func(c map[string][]version) {
			for i := range 19_000 {
				c[fmt.Sprintf("p%05d", i)] = one(map[string]string{fmt.Sprintf("p%05d", i+1): "*", "zz": fmt.Sprintf(">=%d", i+1)})
			}
			c["p19000"], c["zz"] = one(nil), one(nil)
		}, fault.DepMissing},
		"one that needs 20,001": {func(c map[string][]version) { c["p00000"] = one(all) }, fault.Semantic},
		"one that needs 19,999": {func(c map[string][]version) {
			few := map[string]string{}
			for i := range 19_998 {
				name := fmt.Sprintf("q%05d", i)
				few[name], c[name] = "*", one(nil)
			}
			c["p00000"] = one(few)
		}, ""},
		"100,000 versions, of which none will do": {func(c map[string][]version) {
			c["p00000"] = one(map[string]string{"q": ">=2"})
			for i := range 100_000 {
				c["q"] = append(c["q"], version{Candidate: resolve.Candidate{Version: fmt.Sprintf("1.%d.0", i)}})
			}
		}, fault.DepMissing},
		"doubling at every level": {func(c map[string][]version) {
			for i := range 30 {
				for _, side := range "ab" {
					c[fmt.Sprintf("p%05d%c", i, side)] = one(map[string]string{fmt.Sprintf("p%05da", i+1): "*", fmt.Sprintf("p%05db", i+1): "*"})
				}
			}
			c["p00000"], c["p00030a"], c["p00030b"] = one(map[string]string{"p00001a": "*"}), one(nil), one(nil)
		}, ""},
		"a cycle of two": {func(c map[string][]version) {
			c["p00000"], c["q"] = one(map[string]string{"q": "*"}), one(map[string]string{"p00000": "*"})
		}, fault.Cycle},
		"itself": {func(c map[string][]version) { c["p00000"] = one(map[string]string{"p00000": "*"}) }, fault.Cycle},
		"itself in another version": {func(c map[string][]version) {
			c["p00000"] = append(one(map[string]string{"p00000": "<1"}), version{Candidate: resolve.Candidate{Version: "0.9.0"}})
		}, fault.Cycle},
		"a cycle of 19,000": {func(c map[string][]version) {
			for i := range 19_000 {
				c[fmt.Sprintf("p%05d", i)] = one(map[string]string{fmt.Sprintf("p%05d", (i+1)%19_000): "*"})
			}
		}, fault.Depth},
		"a name that is a path":   {func(c map[string][]version) { c["p00000"] = one(map[string]string{"../x": "*"}) }, fault.Structure},
		"a range without end":     {func(c map[string][]version) { c["p00000"] = one(map[string]string{"q": long(">=1, ")}) }, fault.Structure},
		"a range of alternatives": {func(c map[string][]version) { c["p00000"] = one(map[string]string{"q": long("1 || ")}) }, fault.Structure},
		"a version that is none":  {func(c map[string][]version) { c["p00000"] = []version{{Candidate: resolve.Candidate{Version: "x"}}} }, fault.Structure},
		"a version without end": {func(c map[string][]version) {
			c["p00000"] = []version{{Candidate: resolve.Candidate{Version: "1.0.0-" + long("a")}}}
		}, fault.DepMissing},
		"the same version twice": {func(c map[string][]version) { c["p00000"] = append(one(nil), one(nil)...) }, ""},
		"numbers larger than words": {func(c map[string][]version) {
			c["p00000"] = []version{{Candidate: resolve.Candidate{Version: "99999999999999999999.0.0"}}}
		}, fault.DepMissing},
	}
	for name, x := range cases {
		t.Run(name, func(t *testing.T) {
			c := &catalog{t: t, all: map[string][]version{}, repeats: true}
			x.make(c.all)
			var was, is runtime.MemStats
			runtime.ReadMemStats(&was)
			began := time.Now()
			_, err := resolve.Choose(t.Context(), c, resolve.Wish{Packages: map[string]string{"p00000": "*"}})
			took := time.Since(began)
			runtime.ReadMemStats(&is)
			if got := fault.CodeOf(err); got != x.want {
				t.Errorf("%q (%.300v), want %q", got, err, x.want)
			}
			if took > slower*20*time.Second {
				t.Errorf("took %s", took)
			}
			if n := (is.TotalAlloc - was.TotalAlloc) >> 20; n > slower*256 {
				t.Errorf("%d MiB were used", n)
			}
			if err != nil && len(err.Error()) > 128<<10 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
}

func long(part string) string {
	var b []byte
	for range 1 << 16 {
		b = append(b, part...)
	}
	return string(b) + "1"
}
