package surface

import (
	"fmt"
	"testing"
	"time"
)

// A library of many versioned functions is compared in the time that reading it
// takes, not in the square of it.
func TestManySymbols(t *testing.T) {
	t.Parallel()
	make := func(version string) *Exports {
		l := Library{Path: "lib/libx.so.1", Soname: "libx.so.1", Needed: []string{}, Symbols: []Symbol{}}
		m := Module{ID: "lib/libx", Form: FormELF, Path: l.Path, Exports: []Export{}}
		for i := range 100_000 {
			s := Symbol{Name: fmt.Sprintf("f%06d", i), Version: version, Type: "func", Bind: "global"}
			l.Symbols = append(l.Symbols, s)
			m.Exports = append(m.Exports, Export{Name: s.full(), Kind: KindFunc, Params: []string{}, Result: "void"})
		}
		return &Exports{Surfaces: []string{SurfaceELF}, SignaturesChecked: true, Modules: []Module{m}, ELF: []Library{l}}
	}
	old, next := make("V1"), make("V2")
	began := time.Now()
	if found := Compare(Side{Exports: old}, Side{Exports: next}); len(found) != 200_000 {
		t.Errorf("%d findings", len(found))
	}
	if found := Compare(Side{Exports: old}, Side{Exports: old}); len(found) != 0 {
		t.Errorf("%d findings against itself", len(found))
	}
	// The square of it takes minutes.
	if took := time.Since(began); took > slower*20*time.Second {
		t.Errorf("took %s", took)
	}
}
