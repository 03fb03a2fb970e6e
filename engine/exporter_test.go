package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"rebuild/internal/fault"
	"rebuild/pipeline"
)

// A stage may leave anything behind. What no tree can hold fails the stage and
// names the file; what one can hold is exported; nothing is read from outside.
func TestHostileExports(t *testing.T) {
	b := newBench(t, "", nil)
	for _, c := range []struct {
		kind    string
		refused string // what the message names, "" if the tree is sound
		entries string // what the tree must have then
		root    bool   // only root can make it
	}{
		{"socket", `"socket"`, "", false},
		{"whiteout", `".wh.gone"`, "", false},
		{"latin1", `caf\xe9`, "", false},
		{"overlay attribute", "file", "", false},
		{"deep", "path", "", false},
		{"device", "", "c 0644 0 0 - 1,3 null\n", true},
		{"setuid", "", "f 6755 0 0 0 ", false},
		{"fifo", "", "p 0644 0 0 - - fifo\n", false},
		{"links", "", "l 0777 0 0 - ../../../../etc/passwd out\n", false},
		{"locked", "", "d 0000 0 0 - - closed\nf 0000 0 0 1 ", false},
		{"many", "", " 29999\n", false},
		{"newline", "", " a%0Ab%20%25%01\n", false},
	} {
		t.Run(c.kind, func(t *testing.T) {
			if c.root && b.rootless {
				t.Skip("only root can make it")
			}
			j := b.job("odd", fmt.Sprintf("FROM image/probe\nWORKDIR /out\nRUN [\"/probe\", \"odd\", %q, \"/out\"]\n", c.kind))
			out, err := b.Solve(context.Background(), j)
			if c.refused != "" {
				wantBuildFailed(t, err, c.refused)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			tree, err := b.store.Read(out.Tree, 8<<20)
			if err != nil || !strings.Contains(string(tree), c.entries) {
				t.Errorf("no %q in %.2000s %v", c.entries, tree, err)
			}
		})
	}
}

func wantBuildFailed(t *testing.T, err error, words string) {
	t.Helper()
	var s *pipeline.StageError
	if !errors.As(err, &s) || s.Class != pipeline.BuildFailed {
		t.Fatalf("got %#v %v", s, err)
	}
	if fault.CodeOf(err) != fault.StageFailed || !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), "stage odd") || strings.Contains(err.Error(), "\n") {
		t.Errorf("message %q does not name stage and %q in one line", err, words)
	}
}

// The export path must lead through real folders of the image: a link in it
// could name another place than the one a reader sees.
func TestExportPath(t *testing.T) {
	b := newBench(t, "", nil)
	const recipe = `FROM image/probe
WORKDIR /real/deep
RUN ["/probe", "link", "/link", "/real"]
RUN ["/probe", "link", "/host", "../../../../../../../../../etc"]
RUN ["/probe", "link", "/real/self", "/proc/self/root"]
RUN ["/probe", "write", "/real/deep/file", "x"]
`
	for path, words := range map[string]string{
		"/real/deep":      "",
		"/":               "",
		"/link/deep":      "/link of the final image is not a folder",
		"/link":           "/link of the final image is not a folder",
		"/host":           "not a folder",
		"/real/self/etc":  "not a folder",
		"/probe":          "/probe of the final image is not a folder",
		"/none":           "the final image has no /none",
		"/real/none/deep": "the final image has no /real/none/deep",
		"/real/":          "not an absolute clean path",
		"/real/../real":   "not an absolute clean path",
		"real":            "not an absolute clean path",
		"":                "not an absolute clean path",
	} {
		j := b.job("odd", recipe)
		j.Export = path
		_, err := b.Solve(context.Background(), j)
		if words == "" && err != nil {
			t.Errorf("%q: %v", path, err)
		}
		if words != "" {
			wantBuildFailed(t, err, words)
		}
	}
	empty := b.job("odd", "FROM scratch\n")
	empty.Export = "/"
	out := b.solve(empty)
	if tree, _ := b.store.Read(out.Tree, 1<<10); string(tree) != "rebuild.tree.v1\nd 0755 0 0 - - .\n" {
		t.Errorf("an empty image is %q", tree)
	}
}

// What is the disk's fault is not said of the stage: such a result
// would count against it.
func TestDiskFull(t *testing.T) {
	dir := t.TempDir()
	mountTmpfs(t, dir, "size=48m")
	b := newBench(t, dir, nil)
	_, err := b.Solve(context.Background(), b.job("full", "FROM image/probe\nWORKDIR /out\nRUN [\"/probe\", \"fill\", \"/out/big\", \"200\"]\n"))
	var s *pipeline.StageError
	if !errors.As(err, &s) || s.Class != pipeline.InfraFailed || fault.CodeOf(err) != fault.EngineUnavailable || !strings.Contains(err.Error(), "full") {
		t.Errorf("got %#v %v", s, err)
	}
}

// mountTmpfs mounts a tmpfs on dir for the time of the test.
func mountTmpfs(t *testing.T, dir, options string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount a small file system")
	}
	flags := uintptr(0)
	if options == "noexec" {
		flags, options = unix.MS_NOEXEC, ""
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", flags, options); err != nil {
		lacking(t, "can not mount: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
}
