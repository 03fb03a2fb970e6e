package translog

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/mod/sumdb/tlog"
)

// The names of what is swept are Tessera's for temporary files and no others:
// a tile that is removed can not be made again.
func TestTemporaryNames(t *testing.T) {
	l := &Log{dir: t.TempDir()}
	for name, want := range map[string]bool{
		"checkpoint1234567890":        true,
		"checkpoint0":                 true,
		"checkpoint":                  false,
		"checkpoint01":                false,
		"checkpoint12345678901":       false,
		"checkpoint.old":              false,
		"config.json5":                false,
		".state/treeState17":          true,
		".state/treeState.lock":       false,
		".state/treeState.lock5":      false,
		".state/version4":             true,
		".state/version":              false,
		".state/gcState9":             true,
		".state/collected":            false,
		".state/collected7":           false, // ours is made with another name
		"tile/0/000":                  false,
		"tile/0/0007":                 true,
		"tile/0/00007":                false, // no number begins with 0
		"tile/0/0000":                 true,
		"tile/0/0002147483647":        true,
		"tile/0/0002147483648":        false, // beyond 31 bits
		"tile/0/x001/000123456":       true,
		"tile/0/x001123/000":          false,
		"tile/entries/067.p/5":        false,
		"tile/entries/067.p/51":       false, // a bundle of 51 leaves, whatever it was to be
		"tile/entries/067.p/255":      false,
		"tile/entries/067.p/256":      true, // of 2 or 25, for 256 has no .p
		"tile/entries/067.p/51234":    true,
		"tile/entries/067.p/01":       false,
		"tile/entries/067.p/2551":     true,
		"tile/entries/067.p/12345678": true,
		"tile/data/0001":              false,
		"tile/readme":                 false,
		"tile/0/readme1":              false,
		"objects/sha256/0001":         false,
		"1/a1":                        false,
	} {
		if got := l.temporary(name); got != want {
			t.Errorf("%s is temporary: %v, want %v", name, got, want)
		}
	}
	random := rand.New(rand.NewPCG(1, 1))
	for range 100_000 {
		tile := tlog.Tile{H: tileHeight, L: random.IntN(9) - 1, N: random.Int64N(1 << random.IntN(40)), W: 1 + random.IntN(256)}
		name := tilePath(tile)
		if l.temporary(name) {
			t.Fatalf("tile %s would be swept", name)
		}
		temp := fmt.Sprint(name, random.Int32())
		if l.temporary(temp) == isTile(temp) {
			t.Fatalf("%s: a tile is %v, temporary %v", temp, isTile(temp), l.temporary(temp))
		}
	}
}

// Only what an interrupted batch can have left is looked for, and found there,
// also where the tree grows into a directory more.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	l := &Log{dir: dir}
	const size = 999_999 << tileHeight // the edge is at the last index of six digits
	for path, gone := range map[string]bool{
		"tile/0/x999/99912345":          true,
		"tile/0/x999/999.p/3123456":     true,
		"tile/0/x001/x000/00077":        false, // the names of a million bundles more sort before the edge
		"tile/1/x003/90555":             false, // before the edge
		"tile/1/x003/9065555":           true,
		"tile/1/x003/906.p/25577":       true,
		"tile/entries/x999/999.p/17":    false,
		"tile/entries/x999/999.p/17999": true,
		"tile/entries/x999/998":         false,
		"checkpoint123":                 true,
		"checkpoint":                    false,
		".state/treeState5":             true,
		".state/.tmp-0011223344556677":  true,
		".tmp-0011223344556677":         false, // of another writer of the index
	} {
		full := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if _, err := os.Stat(full); (err != nil) != gone {
				t.Errorf("%s: %v, gone %v", path, err, gone)
			}
		}()
	}
	if err := l.sweep(size); err != nil {
		t.Fatal(err)
	}
}
