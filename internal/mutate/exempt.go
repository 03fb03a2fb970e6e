package main

import (
	"fmt"
	"strings"
)

// exemptions are what exempt.txt says, a line each:
//
//	skip FILE FUNCTION | reason
//	tests FILE FUNCTION | TESTS
//	FILE FUNCTION KIND SOURCE | reason
//
// The first leaves a function out that decides nothing for a verifier, or with
// * for it a whole file. The second has the named tests of the file's package try
// what no vector kills of the function: what needs a disk, a clock or a peer. The
// third is one mutant that neither can kill. A mutant is named by what it
// switches off and not by its line, so that an exemption holds for the text
// that was examined and for nothing else.
type exemptions struct {
	skip    map[[2]string]bool // file and function; whether it was met
	tests   map[[2]string]*judges
	mutants map[[4]string]*exemption
}

// judges are tests that judge a function.
type judges struct {
	pattern string // of their names, for -test.run
	met     bool
}

type exemption struct {
	line   int
	met    bool
	killed bool
}

func parseExemptions(text string) (*exemptions, error) {
	ex := &exemptions{skip: map[[2]string]bool{}, tests: map[[2]string]*judges{}, mutants: map[[4]string]*exemption{}}
	for i, line := range strings.Split(text, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		at := strings.LastIndex(line, " | ")
		if at < 0 || strings.TrimSpace(line[at+3:]) == "" {
			return nil, fmt.Errorf("%s:%d: no reason is given", exemptFile, i+1)
		}
		what := strings.TrimSpace(line[:at])
		if word, rest, _ := strings.Cut(what, " "); word == "skip" || word == "tests" {
			file, fn, ok := strings.Cut(rest, " ")
			if !ok {
				return nil, fmt.Errorf("%s:%d: not %s FILE FUNCTION", exemptFile, i+1, word)
			}
			for _, name := range strings.Fields(fn) {
				key := [2]string{file, name}
				if word == "skip" {
					ex.skip[key] = false
					continue
				}
				ex.tests[key] = &judges{pattern: "^(" + strings.Join(strings.Fields(line[at+3:]), "|") + ")$"}
			}
			continue
		}
		parts := strings.SplitN(what, " ", 4)
		if len(parts) != 4 {
			return nil, fmt.Errorf("%s:%d: not FILE FUNCTION KIND SOURCE", exemptFile, i+1)
		}
		key := [4]string(parts)
		if ex.mutants[key] != nil {
			return nil, fmt.Errorf("%s:%d: stands in line %d too", exemptFile, i+1, ex.mutants[key].line)
		}
		ex.mutants[key] = &exemption{line: i + 1}
	}
	return ex, nil
}

func (ex *exemptions) skips(file, fn string) bool {
	for _, key := range [][2]string{{file, fn}, {file, "*"}} {
		if _, ok := ex.skip[key]; ok {
			ex.skip[key] = true
			return true
		}
	}
	return false
}

// judgedBy returns which tests judge a function of a file, "" for none.
func (ex *exemptions) judgedBy(file, fn string) string {
	for _, key := range [][2]string{{file, fn}, {file, "*"}} {
		if j := ex.tests[key]; j != nil {
			j.met = true
			return j.pattern
		}
	}
	return ""
}

// covers says whether a mutant is exempt, and notes whether it was killed all
// the same.
func (ex *exemptions) covers(m Mutant, killed bool) bool {
	e := ex.mutants[[4]string{m.File, m.Func, m.Kind, m.Source}]
	if e == nil {
		return false
	}
	e.met, e.killed = true, killed
	return true
}

// stale returns the exemptions that are not needed: of a whole run those of
// nothing that is there, and always those of a mutant that was killed.
func (ex *exemptions) stale(whole bool) []string {
	var out []string
	for key, e := range ex.mutants {
		switch {
		case e.killed:
			out = append(out, fmt.Sprintf("%s:%d: is killed: %s", exemptFile, e.line, strings.Join(key[:], " ")))
		case whole && !e.met:
			out = append(out, fmt.Sprintf("%s:%d: there is no such mutant: %s", exemptFile, e.line, strings.Join(key[:], " ")))
		}
	}
	for key, met := range ex.skip {
		if !met {
			out = append(out, fmt.Sprintf("%s: there is no such function: %s %s", exemptFile, key[0], key[1]))
		}
	}
	for key, j := range ex.tests {
		if whole && !j.met {
			out = append(out, fmt.Sprintf("%s: no test has to judge %s %s", exemptFile, key[0], key[1]))
		}
	}
	return out
}
