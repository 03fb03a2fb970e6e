package main

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rebuild/pipeline"
	"rebuild/stages"
	"rebuild/store"
)

// What others have published of their way to a C compiler; each counts in its own
// way.
var otherChains = []string{
	"stage0-posix, amd64: seeds of 229 and 618 bytes; 902 lines for two label levels, 845 for the macro assembler, 5,413 for the compiler in assembler; 18.7 s",
	"StageX: a seed of 181 bytes on i386",
	"live-bootstrap: 170 steps, 313 pinned hashes, hours, to GCC 15",
	"boot2: 21,500 lines to tcc; pnut: about 10,000 lines of C; tcc_bootstrap_alt: 1,700 lines of assembler for its smallest C compiler",
}

// BenchmarkChain goes from the seed to tcc on an empty state root, once as a whole
// and once stage by stage, and tells lines, bytes and times of each. The source of
// tcc is fetched before, from the mirror that this machine is configured with.
func BenchmarkChain(b *testing.B) {
	bin := benchBinary(b)
	fetched := filepath.Join(b.TempDir(), "fetched")
	timed(b, bin, "fetch", "--pipeline", builtin, "--state", fetched, "--quiet")
	blobs := filepath.Join(pipeline.StoreDir(fetched), "blobs", "sha256")
	empty := func() string {
		state := filepath.Join(b.TempDir(), "state")
		timed(b, bin, "fetch", "--pipeline", builtin, "--state", state, "--quiet", "--mirror", blobs)
		return state
	}
	whole, peak := timed(b, bin, "run", "--pipeline", builtin, "--state", empty(), "--quiet")
	p, err := pipeline.LoadFS(stages.Builtin(), ".", builtin)
	if err != nil {
		b.Fatal(err)
	}
	state := empty()
	fmt.Printf("%-8s %7s %9s %7s\n", "stage", "lines", "bytes", "s")
	lines := 0
	for _, s := range p.Stages {
		took, used := timed(b, bin, "run", "--pipeline", builtin, "--state", state, "--quiet", string(s.Name))
		peak = max(peak, used)
		n := linesOf(b, string(s.Name))
		lines += n
		fmt.Printf("%-8s %7d %9d %7.1f\n", s.Name, n, outputOf(b, state, s.Name), took.Seconds())
	}
	fmt.Printf("from the seed to tcc: %d lines of text, %.1f s as a whole, at most %d MB in one process\n", lines, whole.Seconds(), peak>>20)
	for _, other := range otherChains {
		fmt.Println("for comparison, " + other)
	}
	if whole > 4*time.Minute || peak > 1<<30 {
		b.Errorf("%v and %d MB; 4 minutes and 1 GB are claimed", whole, peak>>20)
	}
}

// linesOf counts the lines of a stage's own files.
func linesOf(b *testing.B, stage string) int {
	b.Helper()
	n := 0
	err := fs.WalkDir(stages.Builtin(), stage+"/src", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(stages.Builtin(), name)
		n += strings.Count(string(text), "\n")
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// outputOf returns the size of the layer that a stage has given, in bytes.
func outputOf(b *testing.B, state string, stage stages.Name) int64 {
	b.Helper()
	runs, err := filepath.Glob(filepath.Join(state, "runs", "*.json"))
	if err != nil || len(runs) != 1 {
		b.Fatal(err, runs)
	}
	plan, err := store.ParseDigest("sha256:" + strings.TrimSuffix(filepath.Base(runs[0]), ".json"))
	if err != nil {
		b.Fatal(err)
	}
	report, err := pipeline.ReadReport(state, plan)
	if err != nil {
		b.Fatal(err)
	}
	s, ok := report.Stage(stage)
	if !ok {
		b.Fatalf("no stage %s in %s", stage, runs[0])
	}
	return s.LayerSize
}
