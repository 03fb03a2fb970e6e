package engine

import (
	"context"
	"errors"
	"maps"
	"strconv"
	"strings"
	"syscall"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	gatewaypb "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/errdefs"
	sourcepolicy "github.com/moby/buildkit/sourcepolicy/pb"
	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/store"
)

// compatibility pins how BuildKit assembles what enters its exporter's digest.
const compatibility = 30

// maxLog is how much of a stage's output a failure keeps, bytes.
const maxLog = 64 << 10

// Solve builds one stage. Config and manifest are ours, made from the tree and
// the declared settings; BuildKit's exporter contributes at most the extra.
func (e *Engine) Solve(ctx context.Context, j pipeline.Job) (pipeline.Output, error) {
	r, err := e.convert(ctx, j)
	if err != nil {
		return pipeline.Output{}, err
	}
	st, err := e.open()
	if err != nil {
		return pipeline.Output{}, err
	}
	running, err := e.running(ctx)
	if err != nil {
		return pipeline.Output{}, err
	}
	if cause := context.Cause(ctx); cause != nil {
		return pipeline.Output{}, cause
	}
	ctx, cancel := running.watch(ctx)
	defer cancel()
	log := &tail{max: maxLog}
	status := make(chan *client.SolveStatus)
	shown := e.options.Display.follow(j.Stage, status, log)
	response, err := running.client.Solve(ctx, definition(r), client.SolveOpt{
		Internal:             true,
		CompatibilityVersion: compatibility,
		OCIStores:            map[string]content.Store{storeID: layout{store: st}},
		Exports:              r.exports(j),
		SourcePolicy:         onlyOurStore(),
	}, status)
	<-shown
	if err != nil {
		return pipeline.Output{}, r.failure(ctx, j, err, log.bytes(), running.root)
	}
	return output(st, j, r, response.ExporterResponse)
}

// onlyOurStore is BuildKit's own source policy, a third layer under the check
// of the definition: the last rule that matches wins.
func onlyOurStore() *sourcepolicy.Policy {
	return &sourcepolicy.Policy{Version: 1, Rules: []*sourcepolicy.Rule{
		{Action: sourcepolicy.PolicyAction_DENY, Selector: &sourcepolicy.Selector{Identifier: "*"}},
		{Action: sourcepolicy.PolicyAction_ALLOW, Selector: &sourcepolicy.Selector{Identifier: "oci-layout://*"}},
	}}
}

func definition(r *recipe) *llb.Definition {
	d := &llb.Definition{}
	d.FromPB(r.def)
	return d
}

// exports asks for our tree, and for BuildKit's own image if the stage wants
// that digest recorded.
func (r *recipe) exports(j pipeline.Job) []client.ExportEntry {
	epoch := strconv.FormatInt(j.Epoch, 10)
	list := []client.ExportEntry{{Type: exporterName, Attrs: map[string]string{attrPath: j.Export, attrEpoch: epoch}}}
	if j.Exporter == nil {
		return list
	}
	attrs := map[string]string{"oci-mediatypes": "true"}
	maps.Copy(attrs, j.Exporter)
	attrs["push"] = "false"
	attrs["store"] = "false"
	attrs["source-date-epoch"] = epoch
	attrs[exptypes.ExporterImageConfigKey] = string(r.config)
	if r.base != nil {
		// Without it base layers are rewritten and the digest is another.
		attrs[exptypes.ExporterImageBaseConfigKey] = string(r.base)
	}
	return append(list, client.ExportEntry{Type: client.ExporterImage, Attrs: attrs})
}

func output(st *store.Store, j pipeline.Job, r *recipe, response map[string]string) (pipeline.Output, error) {
	tree, terr := store.ParseDigest(response[respTree])
	layer, lerr := store.ParseDigest(response[respLayer])
	size, serr := strconv.ParseInt(response[respSize], 10, 64)
	if err := errors.Join(terr, lerr, serr); err != nil {
		return pipeline.Output{}, fault.New(fault.Internal, "the exporter of stage %s answered badly: %w", j.Stage, err)
	}
	manifest, err := st.PutImage(store.Layer{Tree: tree, Digest: layer, Size: size}, j.Platform, r.image)
	if err != nil {
		return pipeline.Output{}, err
	}
	out := pipeline.Output{Tree: tree, Manifest: manifest, LayerSize: size}
	if j.Exporter != nil {
		if out.ExporterManifest, err = store.ParseDigest(response[respExport]); err != nil {
			return pipeline.Output{}, fault.New(fault.Internal, "BuildKit's exporter gave no digest for stage %s: %w", j.Stage, err)
		}
	}
	return out, nil
}

// failure says what a failed solve means: a refusal, a stage that failed, or
// an engine that did. A result says of a stage only what another machine would
// find, too; when in doubt it was the engine.
func (r *recipe) failure(ctx context.Context, j pipeline.Job, err error, log []byte, root string) error {
	cause := context.Cause(ctx)
	if cause != nil && !errors.Is(cause, errEngineGone) {
		return cause
	}
	failed := &pipeline.StageError{Stage: j.Stage, Class: pipeline.InfraFailed, Log: log}
	if cause != nil {
		failed.Err = fault.New(fault.EngineUnavailable, "%w while it was built", errEngineGone).
			WithHint("run the command again: it resumes at this stage")
		return failed
	}
	line := r.failedLine(err)
	var exit *gatewaypb.ExitError
	if errors.As(err, &exit) {
		// The command ran. Its words are in err's text, which is not looked at.
		failed.ExitStatus = int(exit.ExitCode)
		if f := exitFault(failed.ExitStatus, root); f != nil {
			failed.Err = f.At(j.File, line)
			return failed
		}
		failed.Class = pipeline.BuildFailed
		failed.Err = fault.New(fault.StageFailed, "the command exited with %d", exit.ExitCode).At(j.File, line)
		return failed
	}
	if why, ok := marked(err, deniedPrefix); ok {
		return deny(j, line, "%s", why)
	}
	if f := machineFault(err, root); f != nil {
		failed.Err = f.At(j.File, line)
		return failed
	}
	why, notStarted := marked(err, startPrefix)
	_, notExported := marked(err, exportPrefix)
	var vertex *errdefs.VertexError
	switch {
	case notStarted:
		failed.Class = pipeline.BuildFailed
		failed.Err = fault.New(fault.StageFailed, "the command did not start: %s", why).At(j.File, line)
	case notExported, errors.As(err, &vertex):
		failed.Class = pipeline.BuildFailed
		failed.Err = fault.New(fault.StageFailed, "%s", lastCause(err)).At(j.File, line)
	default:
		failed.Err = fault.New(fault.EngineUnavailable, "BuildKit: %s", lastCause(err))
	}
	return failed
}

// killed is the status of a command that ended by SIGKILL. Nothing in a stage
// can kill its first process so: the kernel did, for want of memory, or
// somebody on the host.
const killed = 128 + int(syscall.SIGKILL)

// exitFault says why a command's exit is this machine's fault, nil if it is
// the stage's.
func exitFault(status int, root string) *fault.Error {
	switch {
	case diskFull(root):
		return faultDiskFull()
	case status == killed:
		return fault.New(fault.EngineUnavailable, "the command was killed from outside, as happens when memory runs out").
			WithHint("run again with more memory, or fewer stages side by side (--jobs)")
	}
	return nil
}

// machineFault recognises failures that come of this machine and not of the
// stage: nil if it is none.
func machineFault(err error, root string) *fault.Error {
	why, isRuntime := marked(err, runtimePrefix)
	switch {
	case diskFull(root), strings.Contains(err.Error(), syscall.ENOSPC.Error()):
		return faultDiskFull()
	case isRuntime:
		return fault.New(fault.EngineUnavailable, "the runtime failed: %s", why).WithHint("run rebuild doctor")
	case Rootless() && strings.Contains(err.Error(), "chown"):
		return fault.New(fault.EngineUnavailable, "an ordinary user's engine can not create files of other owners: %s", lastCause(err)).
			WithHint("run as root")
	}
	return nil
}

func faultDiskFull() *fault.Error {
	return fault.New(fault.EngineUnavailable, "the disk that holds the engine is full").
		WithHint("free space, or give --state a folder on a larger file system")
}

// diskFull says whether the file system of an engine root has no room left for
// as much as a small file. A command that fails then was not to blame.
func diskFull(root string) bool {
	var st unix.Statfs_t
	const room = 64 << 10 // bytes
	if unix.Statfs(root, &st) != nil {
		return false
	}
	return st.Bavail*uint64(st.Bsize) < room || st.Files > 0 && st.Ffree == 0
}

func (r *recipe) failedLine(err error) int {
	var vertex *errdefs.VertexError
	if !errors.As(err, &vertex) || vertex.Vertex == nil {
		return 0
	}
	return r.lines[digest.Digest(vertex.Vertex.Digest)]
}

// lastCause drops the wrapping that names BuildKit's internals.
func lastCause(err error) string {
	text := err.Error()
	for _, prefix := range []string{"failed to solve: ", "rpc error: code = Unknown desc = "} {
		text = strings.TrimPrefix(text, prefix)
	}
	return strings.TrimSpace(text)
}
