package main

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/resolve"
	"rebuild/stages"
	"rebuild/store"
)

// loaded is a catalog of 2,000 packages with 10 versions each, in 20 layers that
// need each other downwards, as it is once an index was read and verified.
type loaded map[string][]map[string]string

func newLoaded() loaded {
	const count, layers = 2000, 20
	r := rand.New(rand.NewPCG(1, 2))
	name := func(i int) string { return fmt.Sprintf("pkg%05d", i) }
	out := loaded{}
	for i := range count {
		first := (i*layers/count + 1) * count / layers
		for range 10 {
			needs := map[string]string{}
			for range 8 {
				if first < count {
					needs[name(first+r.IntN(count-first))] = []string{"^1", ">=1.2.0, <2", "<1.9.0", "*"}[r.IntN(4)]
				}
			}
			out[name(i)] = append(out[name(i)], needs)
		}
	}
	return out
}

func (l loaded) Versions(_ context.Context, name string) ([]resolve.Candidate, error) {
	if l[name] == nil {
		return nil, fs.ErrNotExist
	}
	var out []resolve.Candidate
	for i := range l[name] {
		out = append(out, resolve.Candidate{Version: fmt.Sprintf("1.%d.0", i)})
	}
	return out, nil
}

func (l loaded) Depends(_ context.Context, name, version string) (map[string]string, error) {
	var i int
	if _, err := fmt.Sscanf(version, "1.%d.0", &i); err != nil {
		return nil, fault.New(fault.Internal, "%s@%s", name, version)
	}
	return l[name][i], nil
}

// Resolve implements pipeline.Resolver.
func (l loaded) Resolve(ctx context.Context, w pipeline.PackageWish) (*pipeline.PackageChoice, error) {
	wish := resolve.Wish{Packages: w.Ranges, Locked: map[string]string{}}
	if w.Held != nil {
		for _, p := range w.Held.Packages {
			wish.Locked[p.Name] = p.Version
		}
	}
	chosen, err := resolve.Choose(ctx, l, wish)
	if err != nil {
		return nil, err
	}
	out := &pipeline.PackageChoice{Registry: &pipeline.LockRegistry{Origin: "example.org/log", Size: 1 << 20}}
	for _, c := range chosen {
		d := store.DigestOf([]byte(c.Name + c.Version))
		out.Packages = append(out.Packages, pipeline.LockPackage{
			Name: c.Name, Version: c.Version, Cksum: d.Hex(), Release: d, Snapshot: d, Owners: []string{strings.Repeat("k", 44)}, Operators: []string{"north", "south"},
		})
	}
	return out, nil
}

// BenchmarkLock is the claim that a lock of 2,000 packages is made, written and
// checked in a second each once their listings are loaded.
func BenchmarkLock(b *testing.B) {
	all := newLoaded()
	dir := b.TempDir()
	text := "schema_version = \"rebuild.pipeline@1.0.0\"\nname = \"big\"\nplatforms = [\"linux/amd64\"]\nstages = [\"only\"]\ntargets = [\"only\"]\n[packages]\n"
	for i := range 2000 {
		text += fmt.Sprintf("pkg%05d = \"*\"\n", i)
	}
	write(b, filepath.Join(dir, pipeline.SettingsFile), []byte(text))
	write(b, filepath.Join(dir, "only", stages.SettingsFile), []byte("schema_version = \"rebuild.stage@1.0.0\"\nname = \"only\"\nexport = \"/\"\n"))
	write(b, filepath.Join(dir, "only", stages.ContainerFile), []byte("FROM scratch\n"))
	p, err := pipeline.Load(dir, dir, nil)
	if err != nil {
		b.Fatal(err)
	}
	made, checked := time.Hour, time.Hour
	for range 5 {
		began := time.Now()
		l, err := p.NewLock(b.Context(), pipeline.LockOptions{Resolver: all})
		if err == nil {
			_, err = p.WriteLock(l)
		}
		if err != nil || len(l.Packages) != 2000 {
			b.Fatal(err)
		}
		made = min(made, time.Since(began))
		began = time.Now()
		if _, err := p.CheckLock(b.Context(), pipeline.LockOptions{Resolver: all}); err != nil {
			b.Fatal(err)
		}
		checked = min(checked, time.Since(began))
	}
	fmt.Printf("lock: 2,000 packages of 20,000 versions chosen and written in %.0f ms, checked in %.0f ms (best of 5)\n",
		float64(made.Microseconds())/1e3, float64(checked.Microseconds())/1e3)
	if made > time.Second || checked > time.Second {
		b.Errorf("%v and %v, 1 s is claimed", made, checked)
	}
}
