package pipeline

import (
	"context"
	"fmt"
	"io"

	"rebuild/stages"
	"rebuild/store"
)

// Engine builds one stage at a time. It is all that the scheduler knows of
// BuildKit; package engine has the real one and the tests a fake.
//
// Check and Solve may be called from several goroutines at once. An Engine
// may start lazily: a run whose stages are all cached never solves.
type Engine interface {
	// Check converts the stage's Containerfile and judges it by the
	// closed-world policy, without building and without writing. Inputs that
	// are not built yet have no manifest. Refusals are POLICY_DENIED with
	// file and line.
	Check(ctx context.Context, j Job) error
	// Solve builds the stage and leaves its layer, tree text, config and
	// manifest in the store. A stage that ran and failed is a *StageError.
	Solve(ctx context.Context, j Job) (Output, error)
	// Environment says what this engine is, for results and stage records. It
	// does not start the engine: a run whose stages are all cached asks, too.
	Environment(ctx context.Context) (Environment, error)
	// Close ends what Solve started and waits for it.
	Close() error
}

// Job is one stage with every input pinned: all that may influence its output.
type Job struct {
	Stage         stages.Name
	Platform      string // "linux/amd64" or "linux/386"
	Epoch         int64  // SOURCE_DATE_EPOCH, seconds
	Exec          stages.Profile
	Containerfile []byte
	File          string       // where Containerfile was read from; for errors only
	Context       store.Digest // manifest of the stage's own files in the store; "" in Check when not formed yet
	// Files lists the stage's own files, sorted by path, also where Context is
	// "": what a Check looks into. A source that goes into the context is
	// missing from it as long as it is not in the store, and a run is refused
	// for that before anything is built. It reads the stage folder anew each
	// time; its error is SEMANTIC. Nil if only Context says what they are.
	Files    func() ([]ContextFile, error)
	Inputs   []Input
	Alias    map[string]string // a foreign Containerfile's name to an input's name
	Args     map[string]string // build arguments
	Export   string            // path of the exported directory in the final image, "/" for all of it
	Image    stages.Image      // settings that override the Containerfile's
	Exporter map[string]string // attributes of BuildKit's own exporter; nil: that digest is not wanted
	Strict   bool              // refuse an ADD that BuildKit would unpack
}

// Input is one input of a stage under the name the Containerfile uses for it:
// seed/NAME, source/NAME, image/NAME or stage/NAME.
type Input struct {
	Name     string
	Manifest store.Digest // "" in Check while it is not built
}

// ContextFile is a file of a stage's own, or a symbolic link among them.
type ContextFile struct {
	Path string // slash path relative to the context, as in its layer
	Link bool   // then Open is nil
	// Open returns the content. That of a source from the store is hashed as
	// it is read: its end is CKSUM_MISMATCH if it was changed.
	Open func() (io.ReadCloser, error)
}

// Output is what a stage built.
type Output struct {
	Tree      store.Digest // rebuild.tree.v1 of the exported directory
	Manifest  store.Digest // our canonical manifest of that tree
	LayerSize int64        // bytes
	// ExporterManifest is the digest BuildKit's own exporter gave; "" unless
	// Job.Exporter asked for it. It is recorded, never voted on.
	ExporterManifest store.Digest
}

// Environment describes the machine and engine of a run, as claimed in results.
type Environment struct {
	Engine        string       // "buildkit"
	EngineVersion string       // "v0.33.1"
	Runtime       string       // "runc 1.4.3"
	RuntimeDigest store.Digest // of the runc binary
	Policy        string       // version of the LLB policy; a stage record of another version is void
	Kernel        string       // "6.18"
	CPUVendor     string       // "AuthenticAMD"
	Filesystem    string       // of the state root: "ext4", "tmpfs"
	Binfmt        []string     // interpreters that the kernel would run for a foreign program, sorted
	Varied        []string     // what the runtime shim varied, sorted: "aslr", "cpus", ...
}

// Classes of a StageError, the outcomes of formats.md 5 that are not "built".
const (
	BuildFailed = "build-failed" // a command of the stage exited non-zero
	InfraFailed = "infra-failed" // the engine broke, nothing is said about the stage
	TimedOut    = "timed-out"
)

// StageError is a stage that was started and did not end in an output.
type StageError struct {
	Stage      stages.Name
	Class      string
	ExitStatus int    // of the failed command; 0 if none ran
	Log        []byte // the end of what the stage printed, at most 64 KiB
	Err        error
}

func (e *StageError) Error() string { return fmt.Sprintf("stage %s: %v", e.Stage, e.Err) }

// Unwrap returns the cause.
func (e *StageError) Unwrap() error { return e.Err }
