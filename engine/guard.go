package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/buildkit/executor"
	resourcestypes "github.com/moby/buildkit/executor/resources/types"
	"github.com/moby/buildkit/identity"
	"github.com/moby/buildkit/solver/pb"
)

// guard is the wall under the LLB policy: whatever a solve was made from, no
// command starts with a network, a privilege or a door to the host. It
// repeats rules on purpose; a hole in the policy must not be one in the stage.
type guard struct{ next executor.Executor }

// deniedPrefix marks a refusal of the guard or the runtime shim in errors that
// cross the connection to the launcher as text.
const deniedPrefix = "rebuild guard refused: "

// runtimePrefix marks an error of runc or of the runtime shim that is the
// machine's, startPrefix one that the stage's own files are to blame for: a
// program that is not there, a mount on a file.
const (
	runtimePrefix = "rebuild runtime: "
	startPrefix   = "rebuild start: "
)

// Run starts a command only if it is sealed.
func (g guard) Run(ctx context.Context, id string, root executor.Mount, mounts []executor.Mount, process executor.ProcessInfo, started chan<- struct{}) (resourcestypes.Recorder, error) {
	if err := sealed(process.Meta); err != nil {
		return nil, err
	}
	if id == "" {
		id = identity.NewID()
	}
	recorder, err := g.next.Run(ctx, id, root, mounts, process, started)
	if err != nil {
		if why := noted(id); why != nil {
			return recorder, why
		}
	}
	return recorder, err
}

// noted returns what kept a container's command from starting, nil if nothing
// did. Without it a failure of the shim or of runc would look like an exit
// status of the command.
func noted(container string) error {
	if why, err := os.ReadFile(filepath.Join(notesDir, container)); err == nil {
		return errors.New(runtimePrefix + string(why))
	}
	log, err := os.ReadFile(runcLog(container))
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(log)) {
		var entry struct{ Level, Msg string }
		if json.Unmarshal([]byte(line), &entry) != nil || entry.Level != "error" {
			continue
		}
		why, ok := strings.CutPrefix(entry.Msg, "runc run failed: ")
		if !ok {
			continue
		}
		for _, wrapping := range []string{"unable to start container process: ", "error during container init: "} {
			why = strings.TrimPrefix(why, wrapping)
		}
		for _, fromStage := range []string{"exec: ", "exec /", "error mounting ", "chdir to cwd "} {
			if strings.HasPrefix(why, fromStage) {
				return errors.New(startPrefix + why)
			}
		}
		return errors.New(runtimePrefix + why)
	}
	return nil
}

// Exec always refuses: nothing of ours starts a second process in a stage.
func (g guard) Exec(context.Context, string, executor.ProcessInfo) error {
	return errors.New(deniedPrefix + "a second process in a running stage")
}

func sealed(m executor.Meta) error {
	var why string
	switch {
	case m.NetMode != pb.NetMode_NONE:
		why = fmt.Sprintf("network mode %s", m.NetMode)
	case m.SecurityMode != pb.SecurityMode_SANDBOX:
		why = fmt.Sprintf("security mode %s", m.SecurityMode)
	case len(m.CDIDevices) > 0:
		why = "devices"
	case m.Proxy != nil:
		why = "a proxy"
	case len(m.ExtraHosts) > 0:
		why = "extra hosts"
	case m.CgroupParent != "":
		why = "a control group of its own"
	default:
		return nil
	}
	return errors.New(deniedPrefix + why)
}

// marked returns what follows prefix in err's text, if it has it.
func marked(err error, prefix string) (string, bool) {
	_, why, ok := strings.Cut(err.Error(), prefix)
	return why, ok
}
