package indextest_test

import (
	"context"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/index"
	"rebuild/index/indextest"
	"rebuild/index/translog"
)

var entries = flag.Int("entries", 20_000, "entries of the index that BenchmarkMake makes")

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// writing is how the index is written by those who have its keys.
func writing(t testing.TB, now *time.Time) index.Writing {
	t.Helper()
	w := attesttest.New(t)
	w.PolicyTOML = attesttest.Policy(attesttest.LogPolicy(0))
	clock := func() time.Time { return *now }
	return index.Writing{
		Policy: w.LoadPolicy(), Key: attesttest.Key("index"), LogKey: attesttest.Key("log"), Now: clock,
		Log: func(ctx context.Context, dir string) (index.LogWriter, error) {
			open := translog.Open
			if _, err := os.Stat(filepath.Join(dir, "checkpoint")); err != nil {
				open = translog.Create
			}
			return open(ctx, dir, indextest.Log(clock))
		},
	}
}

// partial are the tiles that were the last ones for a time: who writes all at
// once makes only those of the end.
var partial = regexp.MustCompile(`^tile/.*\.p/\d+$`)

func files(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		out[strings.TrimPrefix(path, dir+"/")] = string(data)
		return err
	}))
	return out
}

// publish adds entry i as the writer does.
func publish(t testing.TB, x *index.Index, o indextest.Options, now *time.Time, i int) {
	t.Helper()
	name, version := o.Entry(i)
	p, err := indextest.Package(name, version)
	must(t, err)
	*now = o.At(i + 1)
	_, duplicate, err := x.AddPackage(t.Context(), p)
	must(t, err)
	if duplicate {
		t.Fatalf("%s@%s is there already", name, version)
	}
}

// What is measured on an index that was made here must hold for one that was
// published entry by entry: every byte is the same, and the writer goes on.
func TestMakeIsWhatTheWriterMakes(t *testing.T) {
	o := indextest.Options{Entries: 270, Versions: 7, Archives: true}
	more := 20
	// Dates are spread over the entries, so the longer index has its own.
	now := o.At(0)
	in := writing(t, &now)
	want := t.TempDir()
	must(t, index.Init(t.Context(), want, indextest.Config(), in))
	x, err := index.Open(want, in)
	must(t, err)
	for i := range o.Entries {
		publish(t, x, o, &now, i)
	}
	o.Cosigned = time.Time{}
	now = attesttest.Cosigned
	got := t.TempDir()
	must(t, indextest.Make(t.Context(), got, o))
	// The date of the last checkpoint is of the last publication there.
	must(t, x.SignCheckpoint(t.Context()))
	compare(t, files(t, got), files(t, want))

	for _, dir := range []string{want, got} {
		now = o.At(o.Entries)
		x, err := index.Open(dir, in)
		must(t, err)
		for i := o.Entries; i < o.Entries+more; i++ {
			publish(t, x, o, &now, i)
		}
	}
	compare(t, files(t, got), files(t, want))
}

func compare(t testing.TB, got, want map[string]string) {
	t.Helper()
	for path := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("%s is there", path)
		}
	}
	for path, data := range want {
		if there, ok := got[path]; there != data && (ok || !partial.MatchString(path)) {
			t.Errorf("%s is\n%.600s\nwant\n%.600s", path, there, data)
		}
	}
}

// Names and their directories are spread and all different, whatever the size.
func TestNames(t *testing.T) {
	seen, dirs := map[string]bool{}, map[string]bool{}
	for i := range 200_000 {
		name := indextest.Name(i)
		if seen[name] {
			t.Fatalf("%s is of two packages", name)
		}
		seen[name], dirs[name[:4]] = true, true
	}
	if len(dirs) < 10_000 {
		t.Errorf("200000 packages are in %d directories", len(dirs))
	}
}

// BenchmarkMake is what benchmarks on a large index wait for: -entries 1000000.
func BenchmarkMake(b *testing.B) {
	for b.Loop() {
		dir := b.TempDir()
		must(b, indextest.Make(b.Context(), dir, indextest.Options{Entries: *entries}))
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.HeapSys)/(1<<20), "MiB")
		signed, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
		must(b, err)
		trusted, err := attest.PinnedLog(attesttest.Origin, attesttest.VerifierKey(attesttest.Origin, "log", 1))
		must(b, err)
		if c, err := trusted.OpenCheckpoint(signed); err != nil || c.Size != int64(*entries)+1 {
			b.Fatalf("%+v, %v", c, err)
		}
	}
}
