package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// testTime is how long the tests of one mutant may take, many times what they
// take without one.
const testTime = time.Minute

// tryTests has tests try what the vectors left alive of the functions that they
// judge, and notes what they kill.
func tryTests(dir string, mutants []Mutant, killers map[int]string, ex *exemptions) error {
	left := map[string]map[string][]Mutant{} // by package and tests
	for _, m := range mutants {
		tests := ex.judgedBy(m.File, m.Func)
		if tests == "" || killers[m.Number] != "" {
			continue
		}
		pkg := path.Dir(m.File)
		if left[pkg] == nil {
			left[pkg] = map[string][]Mutant{}
		}
		left[pkg][tests] = append(left[pkg][tests], m)
	}
	for pkg, byTests := range left {
		name := strings.ReplaceAll(pkg, "/", "_") + ".test"
		if err := build(dir, name, "./"+pkg); err != nil {
			return err
		}
		for tests, some := range byTests {
			j := &judge{binary: filepath.Join(dir, name), dir: filepath.FromSlash(pkg), tests: tests}
			if err := j.try(some, killers); err != nil {
				return err
			}
		}
	}
	return nil
}

// judge is some tests of a package.
type judge struct{ binary, dir, tests string }

// try runs the tests with each of some mutants, two at a time.
func (j *judge) try(some []Mutant, killers map[int]string) error {
	if failed, ran := j.fails(0); failed || !ran {
		return fmt.Errorf("the tests %s of %s fail without any mutant, or there are none", j.tests, j.dir)
	}
	queue := make(chan Mutant)
	go func() {
		for _, m := range some {
			queue <- m
		}
		close(queue)
	}()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for m := range queue {
				if failed, _ := j.fails(m.Number); failed {
					mu.Lock()
					killers[m.Number] = j.tests
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return nil
}

// fails says whether the tests fail with a mutant, 0 for none, and whether there
// were any. One that hangs or eats memory fails too.
func (j *judge) fails(n int) (failed, ran bool) {
	ctx, cancel := context.WithTimeout(context.Background(), testTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, j.binary, "-test.run", j.tests, "-test.failfast", "-test.v")
	cmd.Dir = j.dir
	cmd.Env = append(os.Environ(), fmt.Sprintf("REBUILD_MUTANT=%d", n), "GOMEMLIMIT=1GiB")
	out, err := cmd.CombinedOutput()
	return err != nil, strings.Contains(string(out), "--- PASS") || strings.Contains(string(out), "--- FAIL")
}
