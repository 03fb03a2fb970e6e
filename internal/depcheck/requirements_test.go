package depcheck

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// required is how many rows each part of docs/requirements.md has. Of F, the
// rows that nothing but the index and its log carries.
var required = map[string][]int{
	"A": upTo(31), "B": upTo(25), "C": upTo(23), "D": upTo(20), "E": upTo(13), "F": {2, 10}, "H": upTo(12),
}

func upTo(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i + 1
	}
	return out
}

var (
	requirementRow = regexp.MustCompile(`(?m)^\| ([A-H][0-9]+) \| (.+) \| (.+) \| (.+) \|$`)
	namedPlace     = regexp.MustCompile("`([^`]+)`")
	namedTest      = regexp.MustCompile(`\b(?:Test|Fuzz)[A-Z]\w*(?:/[\w-]+)?`)
	testFunction   = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
)

// Each requirement says where it lives and which tests show it, and both are
// there. A table that nobody checks is a promise.
func TestRequirementsHaveTheirTests(t *testing.T) {
	table, err := os.ReadFile("../../docs/requirements.md")
	if err != nil {
		t.Fatal(err)
	}
	tests := testFunctions(t)
	rows := map[string]bool{}
	for _, m := range requirementRow.FindAllStringSubmatch(string(table), -1) {
		row, where, shown := m[1], m[3], m[4]
		if rows[row] {
			t.Errorf("%s stands there twice", row)
		}
		rows[row] = true
		for _, place := range namedPlace.FindAllStringSubmatch(where, -1) {
			if _, err := os.Stat("../../" + place[1]); err != nil {
				t.Errorf("%s lives in %s, which is not there", row, place[1])
			}
		}
		if !namedPlace.MatchString(where) {
			t.Errorf("%s does not say where it lives", row)
		}
		names := namedTest.FindAllString(shown, -1)
		if len(names) == 0 {
			t.Errorf("%s names no test", row)
		}
		for _, name := range names {
			if !tests.has(name) {
				t.Errorf("%s names %s, which is not there", row, name)
			}
		}
	}
	for part, numbers := range required {
		for _, n := range numbers {
			if row := fmt.Sprintf("%s%d", part, n); !rows[row] {
				t.Errorf("%s is not in docs/requirements.md", row)
			}
		}
	}
}

type testNames map[string]bool

// has says whether a test is there: a function, or for TestScripts/NAME,
// TestTrustScripts/NAME and TestExamples/NAME the script or the page too.
func (all testNames) has(name string) bool {
	function, sub, _ := strings.Cut(name, "/")
	if !all[function] {
		return false
	}
	dir, scripts := map[string]string{"TestScripts": "", "TestTrustScripts": "trust/", "TestIndexScripts": "index/", "TestPkgScripts": "pkg/"}[function]
	if function == "TestExamples" && sub != "" {
		_, err := os.Stat("../../docs/examples/" + sub + "/README.md")
		return err == nil
	}
	if !scripts || sub == "" {
		return true
	}
	_, err := os.Stat("../../testdata/cli/" + dir + sub + ".txtar")
	return err == nil
}

func testFunctions(t *testing.T) testNames {
	t.Helper()
	all := testNames{}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		src, err := os.ReadFile(path)
		for _, m := range testFunction.FindAllSubmatch(src, -1) {
			all[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
