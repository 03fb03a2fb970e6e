package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	contentlocal "github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/moby/buildkit/client"
	"github.com/sirupsen/logrus"

	"rebuild/pipeline"
	"rebuild/stages"
	"rebuild/store"
)

// BenchmarkOrchestration runs the built-in pipeline whole, as rebuild run does,
// and then solves the very same definitions through BuildKit's bare client with
// its tar export, each on a fresh engine, in turns. What is left between the
// two is what rebuild adds: plan, policy, canonical tree, durable store,
// records.
func BenchmarkOrchestration(b *testing.B) {
	logrus.SetLevel(logrus.ErrorLevel)
	const rounds = 5
	var ours, bare []time.Duration
	var count int
	for range rounds {
		dir := b.TempDir()
		jobs, took := runWhole(b, dir)
		count = len(jobs)
		ours = append(ours, took)
		bare = append(bare, solveBare(b, dir, jobs))
	}
	slices.Sort(ours)
	slices.Sort(bare)
	m, n := ours[rounds/2], bare[rounds/2]
	added := (m - n) / time.Duration(count)
	fmt.Printf("orchestration: %d stages, rebuild %v, bare client %v (medians of %d): %+.1f %%, %+.1f ms a stage\n",
		count, m.Round(time.Millisecond), n.Round(time.Millisecond), rounds,
		100*(float64(m)/float64(n)-1), float64(added.Microseconds())/1000)
	if limit := max(n/20, 20*time.Millisecond*time.Duration(count)); m-n > limit {
		b.Errorf("orchestration adds %v, at most %v is claimed", m-n, limit)
	}
}

// recorder notes the jobs that a run solves.
type recorder struct {
	*Engine
	mu   sync.Mutex
	jobs []pipeline.Job
}

func (r *recorder) Solve(ctx context.Context, j pipeline.Job) (pipeline.Output, error) {
	r.mu.Lock()
	r.jobs = append(r.jobs, j)
	r.mu.Unlock()
	return r.Engine.Solve(ctx, j)
}

func benchEngine(b *testing.B, dir string) *Engine {
	return New(Options{
		Store: pipeline.StoreDir(dir), Engines: filepath.Join(dir, "engines"), Cache: filepath.Join(dir, "cache"),
		Runc: os.Getenv("REBUILD_RUNC"), Path: os.Getenv("PATH"),
	})
}

func runWhole(b *testing.B, dir string) ([]pipeline.Job, time.Duration) {
	began := time.Now()
	p, err := pipeline.LoadFS(stages.Builtin(), "seed", "builtin:seed")
	if err != nil {
		b.Fatal(err)
	}
	plan, err := p.Plan("linux/amd64", pipeline.PlanOptions{Contexts: pipeline.LoadContexts(dir), Now: time.Now()})
	if err != nil {
		b.Fatal(err)
	}
	e := &recorder{Engine: benchEngine(b, dir)}
	_, err = pipeline.Run(context.Background(), pipeline.RunOptions{
		Plan: plan, State: dir, Engine: e, Jobs: 1, Now: time.Now, Rebuild: "bench", RebuildDigest: store.DigestOf(nil),
	})
	if err := errors.Join(err, e.Close()); err != nil {
		b.Fatal(err)
	}
	return e.jobs, time.Since(began)
}

// solveBare starts an engine the same way and uses nothing but the client.
func solveBare(b *testing.B, dir string, jobs []pipeline.Job) time.Duration {
	e := benchEngine(b, dir)
	recipes := make([]*recipe, len(jobs))
	for i, j := range jobs {
		r, err := e.convert(context.Background(), j)
		if err != nil {
			b.Fatal(err)
		}
		recipes[i] = r
	}
	began := time.Now()
	defer e.Close()
	running, err := e.running(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	inputs, err := contentlocal.NewStore(pipeline.StoreDir(dir))
	if err != nil {
		b.Fatal(err)
	}
	bare, err := client.New(context.Background(), "passthrough:///bare", client.WithContextDialer(
		func(ctx context.Context, _ string) (net.Conn, error) { return dialIn(ctx, running.root) }))
	if err != nil {
		b.Fatal(err)
	}
	defer bare.Close()
	for i, r := range recipes {
		out := filepath.Join(b.TempDir(), "out.tar")
		_, err := bare.Solve(context.Background(), definition(r), client.SolveOpt{
			OCIStores: map[string]content.Store{storeID: inputs},
			Exports: []client.ExportEntry{{Type: client.ExporterTar, Attrs: map[string]string{"source-date-epoch": "1"},
				Output: func(map[string]string) (io.WriteCloser, error) { return os.Create(out) }}},
		}, nil)
		if err != nil {
			b.Fatalf("%s: %v", jobs[i].Stage, err)
		}
	}
	e.Close()
	return time.Since(began)
}
