package depcheck

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var fuzzTarget = regexp.MustCompile(`(?m)^func (Fuzz\w+)\(f \*testing\.F\)`)

// Every fuzz target has inputs in testdata/fuzz, which go test tries each time,
// and every folder there belongs to a target, or its inputs would never be
// tried. They are few and small.
func TestEveryFuzzTargetHasACorpus(t *testing.T) {
	root := "../.."
	targets, corpora, total := map[string]bool{}, map[string]int{}, 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		dir := filepath.Dir(path)
		switch inputs := filepath.Base(filepath.Dir(dir)) == "fuzz"; {
		case inputs:
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if len(content) >= 4<<10 || !bytes.HasPrefix(content, []byte("go test fuzz v1\n")) {
				t.Errorf("%s: %d bytes, or not in the form of a fuzz input", path, len(content))
			}
			corpora[dir]++
			total += len(content)
		case strings.HasSuffix(path, "_test.go"):
			src, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, m := range fuzzTarget.FindAllSubmatch(src, -1) {
				targets[filepath.Join(dir, "testdata/fuzz", string(m[1]))] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir := range targets {
		if corpora[dir] == 0 {
			t.Errorf("%s has no input", dir)
		}
	}
	for dir := range corpora {
		if !targets[dir] {
			t.Errorf("%s belongs to no fuzz target", dir)
		}
	}
	if len(targets) < 30 || total > 300<<10 {
		t.Errorf("%d targets with %d bytes of inputs", len(targets), total)
	}
}
