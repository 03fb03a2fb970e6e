package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"rebuild/internal/fault"
)

// meanings says in words what every exit status stands for.
var meanings = map[int]string{
	0:   "done",
	1:   "a defect of rebuild, or a disk that fails",
	2:   "the command line is wrong",
	3:   "not found in the index",
	4:   "something must be fetched first, or can not be fetched",
	10:  "not signed",
	11:  "a signature or a key does not hold",
	12:  "content is not what its hash says",
	13:  "files are missing, changed or too many",
	14:  "too few rebuilders agree so far",
	15:  "the log, or a newer document, says otherwise",
	16:  "rebuilders disagree",
	17:  "a repeated build gave something else",
	18:  "a stage failed",
	19:  "refused by the rules of a closed build",
	20:  "exports changed in a way that breaks others",
	21:  "rebuild.lock is missing or says something else",
	22:  "a package that is pinned or needed was withdrawn",
	23:  "a comparison ended without an answer",
	30:  "a document of a version that this program can not read",
	31:  "a document is not what it should be",
	32:  "the package lacks metadata",
	33:  "the version is published already",
	34:  "what a package needs is missing, is another than pinned, or goes in a circle",
	40:  "the policy can not be judged by",
	41:  "votes are missing because programs have an unknown origin",
	50:  "the engine can not run here",
	130: "interrupted",
}

const exitCodesPage = "../../docs/exit-codes.md"

// Scripts decide by exit codes. A code that is documented wrongly, or that two
// failures share by mistake, makes them decide wrongly.
func TestExitCodesPage(t *testing.T) {
	t.Parallel()
	byStatus := map[int][]string{0: nil}
	for code, status := range fault.Codes() {
		byStatus[status] = append(byStatus[status], string(code))
	}
	var page bytes.Buffer
	page.WriteString(`# Exit codes

The exit status of ` + "`rebuild`" + ` and the code in ` + "`rebuild: error[CODE]: ...`" + ` and in the
envelope of ` + "`--json`" + `. Neither changes its meaning in a later version. This page is
generated from the table in ` + "`internal/fault`" + `.

| status | meaning | codes |
|---|---|---|
`)
	var statuses []int
	for status, codes := range byStatus {
		if meanings[status] == "" {
			t.Errorf("exit status %d of %v has no meaning", status, codes)
		}
		slices.Sort(codes)
		statuses = append(statuses, status)
	}
	slices.Sort(statuses)
	for _, status := range statuses {
		codes := ""
		for _, c := range byStatus[status] {
			codes += ", `" + c + "`"
		}
		fmt.Fprintf(&page, "| %d | %s | %s |\n", status, meanings[status], strings.TrimPrefix(codes, ", "))
	}
	if updating() {
		write(t, exitCodesPage, page.Bytes())
		return
	}
	if got, err := os.ReadFile(exitCodesPage); err != nil || !bytes.Equal(got, page.Bytes()) {
		t.Errorf("%s is not what the table gives (%v); run the test with REBUILD_UPDATE=1", exitCodesPage, err)
	}
}

// elsewhere are exit codes that no script can bring about: 1 is for defects,
// and 130 needs a signal at the right moment (TestSignals).
var elsewhere = []int{0, 1, 130}

// An exit code that nothing produces is one that nobody can rely on.
func TestEveryExitCodeHasAScript(t *testing.T) {
	t.Parallel()
	asserted := map[int]string{}
	wants := regexp.MustCompile(`(?m)^(?:exits|refuse) ([0-9]+) `)
	for _, pattern := range []string{"*.txtar", "*/*.txtar"} {
		files, err := filepath.Glob(filepath.Join("../../testdata/cli", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			for _, m := range wants.FindAllSubmatch(read(t, file), -1) {
				status, _ := strconv.Atoi(string(m[1]))
				asserted[status] = file
			}
		}
	}
	known := map[int]bool{}
	for code, status := range fault.Codes() {
		known[status] = true
		if asserted[status] == "" && !slices.Contains(elsewhere, status) {
			t.Errorf("no script wants exit status %d, of %s", status, code)
		}
	}
	for status, file := range asserted {
		if !known[status] {
			t.Errorf("%s wants exit status %d, which has no code", file, status)
		}
	}
}
