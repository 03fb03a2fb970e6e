package attest_test

import (
	"bufio"
	"cmp"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"rebuild/internal/mutate/mutant"
)

// How much a vector may take of a mutant that does not come to an end. A sound
// one takes milliseconds and little memory.
const (
	mutantTime = 10 * time.Second
	mutantHeap = 3 << 29
)

// TestMutants reads numbers of mutants and says of each the vector that kills
// it, or "-". Vectors that do not reach a mutant are not run. A mutant that
// hangs, or eats memory, ends the process: whoever started it counts it as
// killed and starts another.
func TestMutants(t *testing.T) {
	all := readVectors(t)
	reach := map[int][]int{}
	took := make([]time.Duration, len(all))
	for i := range all {
		mutant.Hits = map[int]bool{}
		before := time.Now()
		if err := all[i].check(); err != nil {
			t.Fatalf("without a mutant: %s: %v", all[i].name, err)
		}
		took[i] = time.Since(before)
		for n := range mutant.Hits {
			reach[n] = append(reach[n], i)
		}
	}
	for _, some := range reach { // the quick ones first
		slices.SortFunc(some, func(a, b int) int { return cmp.Compare(took[a], took[b]) })
	}
	mutant.Hits = nil
	fmt.Println("\nready")
	started := make(chan string, 1)
	ended := make(chan bool)
	go watch(started, ended)
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		n, err := strconv.Atoi(in.Text())
		must(t, err)
		mutant.Active = n
		killer := "-"
		for _, i := range reach[n] {
			started <- all[i].name
			alive := survives(&all[i])
			ended <- true
			if !alive {
				killer = all[i].name
				break
			}
		}
		if len(reach[n]) == 0 {
			killer = "unreached"
		}
		mutant.Active = 0
		fmt.Println("mutant", n, killer)
	}
}

func survives(v *namedVector) (alive bool) {
	defer func() {
		if recover() != nil {
			alive = false
		}
	}()
	return v.check() == nil
}

// watch ends the process when a vector takes too long or too much. What it
// reads of the memory stops the world, so that is not asked at once.
func watch(started <-chan string, ended <-chan bool) {
	for name := range started {
		since := time.Now()
		tick := time.NewTicker(20 * time.Millisecond)
		for running := true; running; {
			select {
			case <-ended:
				running = false
			case <-tick.C:
				var m runtime.MemStats
				if time.Since(since) > 200*time.Millisecond {
					runtime.ReadMemStats(&m)
				}
				if time.Since(since) > mutantTime || m.HeapAlloc > mutantHeap {
					fmt.Println("hangs", name)
					os.Exit(3)
				}
			}
		}
		tick.Stop()
	}
}
