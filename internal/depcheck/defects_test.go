package depcheck

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// defects are the rows of the table of defects that touch signatures,
// thresholds or JSON, and the packages whose tests carry the row's name. Row
// n has tests called TestGn_.
var defects = map[string][]string{
	"G1": {"attest"}, "G2": {"attest"}, "G3": {"attest"}, "G4": {"attest"}, "G5": {"attest"}, "G6": {"attest"}, "G7": {"attest"},
	"G8": {"attest"}, "G9": {"attest"}, "G10": {"attest"}, "G11": {"attest"}, "G12": {"attest"}, "G13": {"attest", "cmd/rebuild"},
	"G14": {"attest"}, "G15": {"attest"}, "G16": {"attest"}, "G17": {"attest"}, "G18": {"attest"}, "G23": {"attest"}, "G24": {"attest"},
	"G28": {"attest", "index"}, "G29": {"attest", "index"}, "G30": {"index"}, "G31": {"index"}, "G32": {"attest"}, "G33": {"attest"}, "G34": {"index"},
	"G35": {"attest"}, "G37": {"attest"}, "G38": {"cmd/rebuild"}, "G39": {"index"}, "G40": {"attest"}, "G41": {"attest"},
	"G42": {"attest", "index"}, "G43": {"cmd/rebuild"}, "G45": {"attest", "index"}, "G46": {"attest", "index"}, "G47": {"attest"}, "G48": {"attest"},
	"G49": {"attest"}, "G50": {"store", "cmd/rebuild"}, "G53": {"engine"}, "G62": {"attest", "index", "cmd/rebuild"}, "G64": {"index"}, "G63": {"attest"}, "G65": {"attest"}, "G66": {"attest"},
}

var defectTest = regexp.MustCompile(`(?m)^func (Test(G[0-9]+)_\w+)\(t \*testing\.T\)`)

// A row has its tests where the table here and the one in docs/claims.md say
// so, and no test carries the name of a row that is in neither.
func TestDefectsHaveTheirTests(t *testing.T) {
	claims, err := os.ReadFile("../../docs/claims.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{} // package and row to tests
	for _, dir := range []string{"attest", "index", "store", "engine", "pipeline", "cmd/rebuild"} {
		files, err := filepath.Glob("../../" + dir + "/*_test.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("no tests in %s: %v", dir, err)
		}
		for _, name := range files {
			src, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range defectTest.FindAllSubmatch(src, -1) {
				found[dir+" "+string(m[2])] = append(found[dir+" "+string(m[2])], string(m[1]))
			}
		}
	}
	for row, packages := range defects {
		line := regexp.MustCompile(fmt.Sprintf(`(?m)^\| %s \|.*$`, row)).Find(claims)
		for _, dir := range packages {
			tests := found[dir+" "+row]
			if len(tests) == 0 {
				t.Errorf("%s has no test in %s", row, dir)
			}
			for _, name := range tests {
				if !strings.Contains(string(line), name) {
					t.Errorf("docs/claims.md does not name %s of %s in the row %s", name, dir, row)
				}
			}
			delete(found, dir+" "+row)
		}
	}
	for what, tests := range found {
		t.Errorf("%s: %s is in no table", what, strings.Join(tests, ", "))
	}
}
