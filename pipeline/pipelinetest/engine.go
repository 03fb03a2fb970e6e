// Package pipelinetest has an engine without BuildKit, for tests of what
// stands around an engine.
package pipelinetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"rebuild/pipeline"
	"rebuild/stages"
	"rebuild/store"
)

// Engine is a [pipeline.Engine] whose stages are a function of their job: the
// output names the Containerfile, arguments, context and inputs, so that it
// changes exactly when one of them does. The hooks must be set before the
// first call. It is safe for concurrent use.
type Engine struct {
	State string // state root whose store outputs go to

	// OnCheck and OnSolve, if not nil, may refuse a job or wait.
	OnCheck func(ctx context.Context, j pipeline.Job) error
	OnSolve func(ctx context.Context, j pipeline.Job) error
	// Files, if not nil, gives the output tree instead.
	Files func(j pipeline.Job) []store.File
	// Spoil, if not nil, may change what Solve says it built.
	Spoil func(out *pipeline.Output, blobs *store.Store)
	// Env is what Environment returns.
	Env pipeline.Environment

	mu      sync.Mutex
	checked []stages.Name
	solved  []stages.Name
	running int
	most    int
}

var _ pipeline.Engine = (*Engine)(nil)

// Check implements [pipeline.Engine].
func (e *Engine) Check(ctx context.Context, j pipeline.Job) error {
	e.mu.Lock()
	e.checked = append(e.checked, j.Stage)
	e.mu.Unlock()
	if e.OnCheck != nil {
		return e.OnCheck(ctx, j)
	}
	return nil
}

// Solve implements [pipeline.Engine].
func (e *Engine) Solve(ctx context.Context, j pipeline.Job) (pipeline.Output, error) {
	e.mu.Lock()
	e.solved = append(e.solved, j.Stage)
	e.running++
	e.most = max(e.most, e.running)
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		e.running--
		e.mu.Unlock()
	}()
	if e.OnSolve != nil {
		if err := e.OnSolve(ctx, j); err != nil {
			return pipeline.Output{}, err
		}
	}
	if err := ctx.Err(); err != nil {
		return pipeline.Output{}, err
	}
	return e.put(j)
}

func (e *Engine) put(j pipeline.Job) (pipeline.Output, error) {
	blobs, err := store.Open(pipeline.StoreDir(e.State))
	if err != nil {
		return pipeline.Output{}, err
	}
	for _, in := range append([]pipeline.Input{{Name: "context", Manifest: j.Context}}, j.Inputs...) {
		if !blobs.Has(in.Manifest) {
			return pipeline.Output{}, fmt.Errorf("input %s, %q, is not in the store", in.Name, in.Manifest)
		}
	}
	files := []store.File{{Path: "out/" + string(j.Stage), Mode: 0o644, Data: []byte(describe(j))}}
	if e.Files != nil {
		files = e.Files(j)
	}
	batch := blobs.Batch()
	defer batch.Abort()
	layer, err := batch.PutFiles(files, j.Epoch)
	if err != nil {
		return pipeline.Output{}, err
	}
	manifest, err := batch.PutImage(layer, j.Platform, store.ImageConfig{Entrypoint: j.Image.Entrypoint})
	if err != nil {
		return pipeline.Output{}, err
	}
	if err := batch.Commit(); err != nil {
		return pipeline.Output{}, err
	}
	out := pipeline.Output{Tree: layer.Tree, Manifest: manifest, LayerSize: layer.Size}
	if j.Exporter != nil {
		out.ExporterManifest = store.DigestOf([]byte(describe(j) + fmt.Sprint(j.Exporter)))
	}
	if e.Spoil != nil {
		e.Spoil(&out, blobs)
	}
	return out, nil
}

// describe writes everything of a job that a build could see.
func describe(j pipeline.Job) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s %d %s\n%s\ncontext %s\nexport %s\n", j.Stage, j.Platform, j.Epoch, j.Exec, j.Containerfile, j.Context, j.Export)
	for _, in := range j.Inputs {
		fmt.Fprintf(&b, "input %s %s\n", in.Name, in.Manifest)
	}
	for _, k := range slices.Sorted(maps.Keys(j.Args)) {
		fmt.Fprintf(&b, "arg %s %s\n", k, j.Args[k])
	}
	for _, k := range slices.Sorted(maps.Keys(j.Alias)) {
		fmt.Fprintf(&b, "alias %s %s\n", k, j.Alias[k])
	}
	return b.String()
}

// Environment implements [pipeline.Engine].
func (e *Engine) Environment(context.Context) (pipeline.Environment, error) { return e.Env, nil }

// Close implements [pipeline.Engine].
func (e *Engine) Close() error { return nil }

// Checked returns the stages that were judged, sorted.
func (e *Engine) Checked() []stages.Name {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Sorted(slices.Values(e.checked))
}

// Solved returns the stages that were started, in that order.
func (e *Engine) Solved() []stages.Name {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.solved)
}

// Most returns how many stages were being built at one time at most.
func (e *Engine) Most() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.most
}

// Forget drops what was counted.
func (e *Engine) Forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.checked, e.solved, e.most = nil, nil, 0
}
