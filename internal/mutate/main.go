// Command mutate shows that no check can be taken out of the verifying code
// without a vector, or for what needs a disk or a peer a test, that notices.
//
// It parses the files of the scope and writes copies in which every check
// asks whether it is switched off: a condition that refuses, a term of one, a
// bound, a case, a call, an item of a list that is gone through. The copies
// are compiled once, with the tests of attest, by an overlay over the tree.
// Two processes then take one check at a time and run those vectors of
// testdata/vectors that reach it, until one has another outcome. What
// survives is printed and fails the run, unless exempt.txt says why nothing
// can notice.
//
// Of the functions that exempt.txt names with tests, what is left alive is tried
// again by those of their own package, a process for each.
//
// Run it from the root of the repository: make mutate.
package main

import (
	"bufio"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// scope is the code that a verifier rests on. What only writes, or prints for
// people, is left out by name in exempt.txt.
var scope = []string{
	"attest/*.go", "internal/document/*.go", "internal/names/*.go", "store/digest.go", "index/entry.go", "index/paths.go", "index/reader.go",
	"index/history.go", "index/snapshot.go", "index/view.go", "index/votes.go", "index/tiles.go", "index/state.go", "index/viewtree.go", "index/remote.go",
	"index/contents.go", "index/source.go", "index/answers.go", "index/flat.go", "index/elsewhere.go",
	"index/fsck.go", "index/replay.go", "index/chain.go", "index/definitions.go", "pull/*.go",
}

const (
	exemptFile  = "internal/mutate/exempt.txt"
	overlayFile = "overlay.json"
)

//go:embed testdata
var embedded embed.FS

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

func run(only []string) error {
	text, err := os.ReadFile(exemptFile)
	if err != nil {
		return err
	}
	ex, err := parseExemptions(string(text))
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mutate-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	mutants, err := compile(dir, ex)
	if err != nil {
		return err
	}
	mutants = slices.DeleteFunc(mutants, func(m Mutant) bool {
		return len(only) > 0 && !slices.ContainsFunc(only, func(s string) bool { return strings.HasPrefix(m.File, s) })
	})
	killers, err := try(filepath.Join(dir, "vectors.test"), mutants)
	if err != nil {
		return err
	}
	if err := tryTests(dir, mutants, killers, ex); err != nil {
		return err
	}
	return report(os.Stdout, mutants, killers, ex, len(only) == 0)
}

// compile instruments the scope and builds the test binary over it.
func compile(dir string, ex *exemptions) ([]Mutant, error) {
	root, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	overlay := map[string]string{}
	put := func(name string, data []byte) error {
		copied := filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
		overlay[filepath.Join(root, filepath.FromSlash(name))] = copied
		return os.WriteFile(copied, data, 0o600)
	}
	var all []Mutant
	next := 0
	for _, name := range sources() {
		src, err := os.ReadFile(filepath.FromSlash(name))
		if err != nil {
			return nil, err
		}
		out, mutants, err := instrument(name, src, &next, func(fn string) bool { return ex.skips(name, fn) })
		if err != nil {
			return nil, err
		}
		all = append(all, mutants...)
		if err := put(name, out); err != nil {
			return nil, err
		}
	}
	for from, to := range map[string]string{"mutant.go": "internal/mutate/mutant/mutant.go", "driver.go": "attest/mutants_test.go"} {
		src, err := embedded.ReadFile("testdata/" + from)
		if err != nil {
			return nil, err
		}
		if err := put(to, src); err != nil {
			return nil, err
		}
	}
	raw, err := json.Marshal(map[string]any{"Replace": overlay})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, overlayFile), raw, 0o600); err != nil {
		return nil, err
	}
	return all, build(dir, "vectors.test", "./attest")
}

// build compiles the tests of a package over the instrumented files.
func build(dir, name, pkg string) error {
	cmd := exec.Command("go", "test", "-c", "-vet=off", "-overlay", filepath.Join(dir, overlayFile), "-o", filepath.Join(dir, name), pkg)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
}

func sources() []string {
	var out []string
	for _, pattern := range scope {
		found, _ := filepath.Glob(filepath.FromSlash(pattern)) // the patterns are well formed
		for _, name := range found {
			if !strings.HasSuffix(name, "_test.go") {
				out = append(out, filepath.ToSlash(name))
			}
		}
	}
	return out
}

// try runs the vectors against every mutant and returns what killed each, ""
// for a survivor.
func try(binary string, mutants []Mutant) (map[int]string, error) {
	queue := make(chan Mutant)
	go func() {
		for _, m := range mutants {
			queue <- m
		}
		close(queue)
	}()
	killers := map[int]string{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	errs := make([]error, 2)
	for i := range errs {
		wg.Go(func() {
			errs[i] = work(binary, queue, func(m Mutant, killer string) {
				mu.Lock()
				defer mu.Unlock()
				killers[m.Number] = killer
			})
			for range queue { // after an error, so that the sender ends
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return killers, nil
}

// work keeps one process going, and starts another when a mutant ended it.
func work(binary string, queue <-chan Mutant, say func(Mutant, string)) error {
	var p *process
	defer func() {
		if p != nil {
			p.stop()
		}
	}()
	for m := range queue {
		if p == nil {
			var err error
			if p, err = start(binary); err != nil {
				return err
			}
		}
		killer, alive := p.ask(m.Number)
		say(m, killer)
		if !alive {
			p.stop()
			p = nil
		}
	}
	return nil
}

type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func start(binary string) (*process, error) {
	p := &process{cmd: exec.Command(binary, "-test.run", "^TestMutants$", "-test.timeout", "0")}
	p.cmd.Dir = "attest"
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewScanner(out)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	var said []string
	for p.out.Scan() {
		if p.out.Text() == "ready" {
			return p, nil
		}
		said = append(said, p.out.Text())
	}
	p.stop()
	return nil, fmt.Errorf("the vectors fail without any mutant:\n%s", strings.Join(said, "\n"))
}

// ask returns what killed a mutant, and whether the process is still there.
func (p *process) ask(n int) (killer string, alive bool) {
	fmt.Fprintln(p.in, n)
	for p.out.Scan() {
		line := strings.Fields(p.out.Text())
		if len(line) == 3 && line[0] == "mutant" && line[1] == strconv.Itoa(n) {
			switch line[2] {
			case "-", "unreached":
				return "", true
			}
			return line[2], true
		}
	}
	return "the process ended", false
}

func (p *process) stop() {
	p.in.Close()
	p.cmd.Wait() // it may have been ended by what it ran
}

// report prints the table and returns an error unless every mutant was killed
// or is exempt, and every exemption is needed.
func report(w io.Writer, mutants []Mutant, killers map[int]string, ex *exemptions, whole bool) error {
	type row struct{ mutants, killed, exempt int }
	rows := map[string]*row{}
	var order []string
	var survivors []string
	for _, m := range mutants {
		if rows[m.File] == nil {
			rows[m.File] = &row{}
			order = append(order, m.File)
		}
		r := rows[m.File]
		r.mutants++
		exempt := ex.covers(m, killers[m.Number] != "")
		switch {
		case killers[m.Number] != "":
			r.killed++
		case exempt:
			r.exempt++
		default:
			survivors = append(survivors, fmt.Sprintf("survives: %s:%d: %s: %s: %s", m.File, m.Line, m.Func, m.Kind, m.Source))
		}
	}
	total := row{}
	fmt.Fprintf(w, "%-30s %8s %8s %8s %8s\n", "file", "mutants", "killed", "exempt", "survive")
	line := func(name string, r row) {
		fmt.Fprintf(w, "%-30s %8d %8d %8d %8d\n", name, r.mutants, r.killed, r.exempt, r.mutants-r.killed-r.exempt)
	}
	for _, name := range order {
		line(name, *rows[name])
		total.mutants += rows[name].mutants
		total.killed += rows[name].killed
		total.exempt += rows[name].exempt
	}
	line("all", total)
	for _, s := range survivors {
		fmt.Fprintln(w, s)
	}
	stale := ex.stale(whole)
	for _, s := range stale {
		fmt.Fprintln(w, s)
	}
	judged := total.mutants - total.exempt
	fmt.Fprintf(w, "score %.1f %%: %d of %d, %d exempt\n", 100*float64(total.killed)/float64(max(judged, 1)), total.killed, judged, total.exempt)
	if len(survivors)+len(stale) > 0 {
		return fmt.Errorf("%d mutants survive, %d exemptions are wrong", len(survivors), len(stale))
	}
	return nil
}
