package engine

import (
	"strings"
	"testing"

	"rebuild/pipeline"
	"rebuild/stages"
	"rebuild/store"
)

// However BuildKit's exporter wraps a tree, ours is one identity: annotations,
// compression and rewritten times change only the recorded extra (G53).
func TestG53_FourWrappingsOneVote(t *testing.T) {
	b := newBench(t, "", nil)
	extras := map[store.Digest]bool{}
	var first pipeline.Output
	for i, attrs := range []map[string]string{
		{"rewrite-timestamp": "true"},
		{"rewrite-timestamp": "true", "annotation.org.opencontainers.image.version": "1.0"},
		{"compression": "zstd", "force-compression": "true"},
		{"compression": "uncompressed", "force-compression": "true"},
	} {
		j := b.job("wrapped", hello)
		j.Exec, j.Exporter = stages.BuildKitExec, attrs
		out := b.solve(j)
		extras[out.ExporterManifest] = true
		if i == 0 {
			first = out
		}
		if out.Tree != first.Tree || out.Manifest != first.Manifest {
			t.Errorf("attributes %v give tree %s, manifest %s; others gave %s, %s", attrs, out.Tree, out.Manifest, first.Tree, first.Manifest)
		}
	}
	if len(extras) != 4 {
		t.Errorf("four wrappings have %d exporter digests: the test shows nothing", len(extras))
	}
}

// A file time never counts, be it before the epoch, which BuildKit leaves as
// it is, or after it (G56).
func TestFileTimesDoNotCount(t *testing.T) {
	b := newBench(t, "", nil)
	const recipe = `FROM image/probe
WORKDIR /out
RUN ["/probe", "write", "/out/hello", "hello"]
RUN ["/probe", "touch", "/out/hello", "YEAR"]
`
	var first pipeline.Output
	for i, year := range []string{"1960", "1970", "2026", "2200"} {
		out := b.solve(b.job("touched", strings.ReplaceAll(recipe, "YEAR", year)))
		if i == 0 {
			first = out
		}
		if out != first {
			t.Errorf("in %s: %v, in 1960: %v", year, out, first)
		}
	}
}

// Two runs share nothing of BuildKit's state: what one operator has built is
// not there for the other to be answered from (G58).
func TestNothingIsCachedBetweenEngines(t *testing.T) {
	dir := t.TempDir()
	clock := "FROM image/probe\nWORKDIR /out\nRUN [\"/probe\", \"now\", \"/out/now\"]\n"
	one := newBench(t, dir, nil)
	first := one.solve(one.job("clock", clock))
	if again := one.solve(one.job("clock", clock)); again != first {
		t.Errorf("one engine ran an equal vertex twice: %v, %v", first, again)
	}
	one.Close()
	two := newBench(t, dir, nil)
	if other := two.solve(two.job("clock", clock)); other == first {
		t.Error("a second engine on the same state root answered with the first one's result")
	}
}
