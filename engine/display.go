package engine

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/util/progress/progressui"

	"rebuild/internal/fault"
	"rebuild/stages"
)

// Display shows the progress of all stages of a run on one terminal or as
// plain lines. It shows nothing, no frame either, before the first stage is
// built. A nil Display shows nothing at all.
type Display struct {
	shown progressui.Display
	start sync.Once
	// status feeds what is shown; done closes when all of it was. Both are
	// nil until a stage is followed.
	status chan *client.SolveStatus
	done   chan struct{}
}

// NewDisplay returns a display on w, to be closed. mode is auto (live on a
// terminal, else plain), tty, plain, rawjson or quiet.
func NewDisplay(w io.Writer, mode string) (*Display, error) {
	shown, err := progressui.NewDisplay(w, progressui.DisplayMode(mode))
	if err != nil {
		return nil, fault.New(fault.Usage, "progress mode %q: %w", mode, err).
			WithHint("use --progress=auto, plain, tty, rawjson or quiet")
	}
	return &Display{shown: shown}, nil
}

// Close waits until everything was shown. No Solve may be under way.
func (d *Display) Close() {
	if d == nil || d.status == nil {
		return
	}
	close(d.status)
	<-d.done
}

func (d *Display) open() {
	d.status, d.done = make(chan *client.SolveStatus, 64), make(chan struct{})
	go func() {
		defer close(d.done)
		d.shown.UpdateFrom(context.Background(), d.status)
	}()
}

// follow drains the status of one solve, keeps the end of what its commands
// printed, and shows it under the stage's name. The channel it returns closes
// when status has.
func (d *Display) follow(stage stages.Name, status <-chan *client.SolveStatus, log io.Writer) <-chan struct{} {
	finished := make(chan struct{})
	if d != nil {
		d.start.Do(d.open)
	}
	go func() {
		defer close(finished)
		for s := range status {
			for _, l := range s.Logs {
				log.Write(l.Data)
			}
			if d == nil {
				continue
			}
			for _, v := range s.Vertexes {
				v.Name = named(stage, v.Name)
			}
			for _, st := range s.Statuses {
				// BuildKit writes names of layouts as if of a registry,
				// which nothing here ever asks.
				st.ID = strings.ReplaceAll(st.ID, "docker.io/", "")
			}
			d.status <- s
		}
	}()
	return finished
}

// named puts the stage in front of a vertex name: "[3/4] RUN ..." becomes
// "[hello 3/4] RUN ...".
func named(stage stages.Name, vertex string) string {
	if rest, ok := strings.CutPrefix(vertex, "["); ok {
		return fmt.Sprintf("[%s %s", stage, rest)
	}
	return fmt.Sprintf("[%s] %s", stage, vertex)
}
