package bootstrap

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// TestCcaBuildsB: compiler B is the same compiler whether gcc or compiler A
// built it. Both compile B itself, and so does what came out of that.
func TestCcaBuildsB(t *testing.T) {
	needChain(t)
	const whole = "../stages/ccb/src/test/self.c" // B with its entry, for B
	source, err := filepath.Abs(whole)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	var text []byte
	args := []string{"by-cca"}
	for _, m := range regexp.MustCompile(`(?m)^#include "(.*)"$`).FindAllSubmatch(read(t, source), -1) {
		path := filepath.Join(filepath.Dir(source), string(m[1]))
		args = append(args, path)
		text = append(text, read(t, path)...)
	}
	if status, _, stderr := program(t, dir, nil, "cca", args...); status != 0 {
		t.Fatalf("status %d, %q", status, stderr)
	}
	if said := buildWithGcc(t, dir, string(text), "by-gcc", strict...); said != "" {
		t.Fatal(said)
	}
	compile := func(by, out string) []byte {
		t.Helper()
		if said, err := exec.Command(filepath.Join(dir, by), "-o", filepath.Join(dir, out), source).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v, %s", by, err, said)
		}
		return read(t, filepath.Join(dir, out))
	}
	want := compile("by-gcc", "by-b-by-gcc")
	if !bytes.Equal(compile("by-cca", "by-b-by-cca"), want) {
		t.Error("B from cca and B from gcc make different programs of B")
	}
	if !bytes.Equal(compile("by-b-by-cca", "by-b"), want) {
		t.Error("B from B from cca makes another program of B")
	}
}
