package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// A17: what the example shows is what the program says.
func TestA17SemverExample(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(docsDir, "examples/packaging-integrity/semver")
	shown := strings.Split(string(read(t, filepath.Join(dir, "README.md"))), "\n")
	before, err := snapshot(dir)
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for i, line := range shown {
		command, ok := strings.CutPrefix(line, typed)
		if !ok {
			continue
		}
		var want []string
		for _, l := range shown[i+1:] {
			if !strings.HasPrefix(l, "    ") || strings.HasPrefix(l, typed) {
				break
			}
			want = append(want, l[4:])
		}
		c := rebuild(t, strings.Fields(command)[1:]...)
		c.Dir = dir
		status := c.status(t)
		if got := c.out.String() + c.err.String() + "exit " + strconv.Itoa(status); got != strings.Join(want, "\n") {
			t.Errorf("%s\n%s\nthe page shows\n%s", command, got, strings.Join(want, "\n"))
		}
		ran++
	}
	if after, err := snapshot(dir); err != nil || after != before {
		t.Errorf("the example was changed: %v", err)
	}
	if ran < 2 {
		t.Errorf("only %d commands are shown", ran)
	}
}

// A stage has this program and its tree, and neither /proc nor /dev nor HOME. The
// document is the same as outside.
func TestExportsInsideAStage(t *testing.T) {
	t.Parallel()
	needRoot(t)
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		lacking(t, "needs gcc: sh scripts/deps.sh")
	}
	jail := t.TempDir()
	write(t, filepath.Join(jail, "out/include/x.h"), []byte("struct x { int a; };\nint f(struct x *p);\n"))
	write(t, filepath.Join(jail, "x.c"), []byte("#include \"out/include/x.h\"\nint f(struct x *p) { return p->a; }\n"))
	if err := os.MkdirAll(filepath.Join(jail, "out/lib"), 0o755); err != nil {
		t.Fatal(err)
	}
	build := exec.Command(gcc, "-g", "-shared", "-fPIC", "-nostdlib", "-o", "out/lib/libx.so", "x.c")
	build.Dir = jail
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	program, err := exec.LookPath("rebuild")
	if err != nil {
		t.Fatal(err)
	}
	if err := copyFile(filepath.Join(jail, "rebuild"), program); err != nil {
		t.Fatal(err)
	}
	outside := rebuild(t, "pkg", "exports", filepath.Join(jail, "out")).must(t)
	c := exec.Command("/rebuild", "pkg", "exports", "/out", "--output", "/out/rebuild.exports.json")
	c.Env, c.Dir = []string{}, "/"
	c.SysProcAttr = &syscall.SysProcAttr{Chroot: jail, Cloneflags: syscall.CLONE_NEWNET}
	if text, err := c.CombinedOutput(); err != nil {
		if errors.Is(err, syscall.EPERM) {
			lacking(t, "needs chroot and network namespaces: %v", err)
		}
		if errors.Is(err, syscall.ENOENT) {
			lacking(t, "needs a static test binary, as make test builds it: CGO_ENABLED=0")
		}
		t.Fatalf("%v\n%s", err, text)
	}
	inside := string(read(t, filepath.Join(jail, "out/rebuild.exports.json")))
	if inside != string(outside) || !strings.Contains(inside, `"signatures_checked":true`) {
		t.Errorf("inside\n%s\noutside\n%s", inside, outside)
	}
}
