package pipeline_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/stages"
)

// randomPipeline makes up to eight stages with random inputs. It returns the
// archive and the inputs of each stage.
func randomPipeline(rng *rand.Rand) (string, map[stages.Name][]stages.Name) {
	n := 2 + rng.IntN(7)
	order := rng.Perm(n) // so that names say nothing about the order
	inputs := map[stages.Name][]stages.Name{}
	var archive strings.Builder
	var all []string
	for i, v := range order {
		name := stages.Name(fmt.Sprintf("s%d", v))
		all = append(all, fmt.Sprintf("%q", name))
		var in []string
		for _, earlier := range order[:i] {
			if rng.IntN(3) == 0 {
				inputs[name] = append(inputs[name], stages.Name(fmt.Sprintf("s%d", earlier)))
				in = append(in, fmt.Sprintf("\"stage/s%d\"", earlier))
			}
		}
		archive.WriteString(stage(string(name), "inputs = ["+strings.Join(in, ", ")+"]"))
	}
	list := strings.Join(all, ", ")
	fmt.Fprintf(&archive, "-- pipeline.toml --\n%splatforms = [\"linux/amd64\"]\nstages = [%s]\ntargets = [%s]\n", head, list, list)
	return archive.String(), inputs
}

// Whatever the graph, the number of jobs and the stages that fail: no stage
// starts before its inputs are done, none is built twice, the reported failure
// is the first by order, and running on ends in the outputs of an undisturbed
// run.
func TestRunAnyGraph(t *testing.T) {
	for seed := range uint64(25) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			archive, inputs := randomPipeline(rng)
			want := outputs(newRoom(t, archive).mustRun())
			r := newRoom(t, archive)
			order := plan(t, r.dir).Order()
			broken := map[stages.Name]bool{}
			for _, name := range order {
				broken[name] = rng.IntN(4) == 0
			}
			jobs := func(o *pipeline.RunOptions) { o.Jobs = 1 + int(seed%4) }
			built := watch(t, r, inputs, broken)
			for {
				rep, err := r.run(jobs)
				if err == nil {
					if got := outputs(rep); got != want {
						t.Errorf("got\n%swant\n%s", got, want)
					}
					break
				}
				first := slices.IndexFunc(order, func(n stages.Name) bool { return broken[n] && slices.Contains(r.engine.Solved(), n) })
				wantFault(t, err, fault.StageFailed, "", 0, fmt.Sprintf("stage %s:", order[first]))
				broken[order[first]] = false
			}
			for _, name := range order {
				if built[name] != 1 {
					t.Errorf("stage %s was built %d times", name, built[name])
				}
			}
		})
	}
}

// watch lets the broken stages fail and counts what is built, holding that the
// inputs of what starts are done.
func watch(t *testing.T, r *room, inputs map[stages.Name][]stages.Name, broken map[stages.Name]bool) map[stages.Name]int {
	var mu sync.Mutex
	built := map[stages.Name]int{}
	r.engine.OnSolve = func(_ context.Context, j pipeline.Job) error {
		mu.Lock()
		defer mu.Unlock()
		for _, in := range inputs[j.Stage] {
			if built[in] == 0 {
				t.Errorf("%s was started before %s was built", j.Stage, in)
			}
		}
		if broken[j.Stage] {
			return &pipeline.StageError{Stage: j.Stage, Class: pipeline.BuildFailed, Err: errors.New("broken")}
		}
		built[j.Stage]++
		return nil
	}
	return built
}
