package main

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/rogpeppe/go-internal/testscript"
)

// goodPipeline is two stages that are accepted. Each script of
// testdata/cli/refused replaces or adds the one file that makes it bad, so
// that nothing else can be the reason of the refusal.
var goodPipeline = map[string]string{
	"pipeline.toml": `schema_version = "rebuild.pipeline@1.0.0"
name = "good"
source_date_epoch = 1
platforms = ["linux/amd64"]
stages = ["first", "last"]
targets = ["last"]
`,
	"first/stage.toml": `schema_version = "rebuild.stage@1.0.0"
name = "first"
context = "src"
export = "/out"
`,
	"first/Containerfile": `FROM scratch
COPY a.txt /out/a.txt
`,
	"first/src/a.txt": "a\n",
	"last/stage.toml": `schema_version = "rebuild.stage@1.0.0"
name = "last"
context = "src"
inputs = ["stage/first"]
export = "/out"
`,
	"last/Containerfile": `FROM scratch
COPY --from=stage/first a.txt /out/a.txt
COPY b.txt /out/b.txt
`,
	"last/src/b.txt": "b\n",
}

// Every way to a build that another could not repeat is refused before
// anything is built or written, with the place, the rule and a hint.
func TestRefusedPipelines(t *testing.T) {
	t.Parallel()
	needEngine(t)
	testscript.Run(t, scripts("../../testdata/cli/refused", func(env *testscript.Env) error {
		for name, text := range goodPipeline {
			path := filepath.Join(env.WorkDir, name)
			if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				return err
			}
		}
		return nil
	}))
}

// refuse STATUS FILE:LINE TEXT runs the pipeline of the working folder and
// wants it refused: exit STATUS, one error line that begins with the place and
// holds TEXT, a hint, nothing on stdout, no state root, and not one file of the
// pipeline changed.
func refuse(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: refuse STATUS FILE:LINE TEXT")
	}
	status, place, text := args[0], args[1], args[2]
	work := ts.MkAbs(".")
	before, err := snapshot(work)
	ts.Check(err)
	state := filepath.Join(ts.Getenv("TMPDIR"), "rebuild-refused-"+filepath.Base(filepath.Dir(work))+"-"+filepath.Base(work))
	defer os.RemoveAll(state)
	err = ts.Exec("rebuild", "run", "--state", state)
	got := 0
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		got = ended.ExitCode()
	}
	if strconv.Itoa(got) != status {
		ts.Fatalf("exit %d, want %s", got, status)
	}
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("stdout: %s", out)
	}
	checkRefusal(ts, ts.ReadFile("stderr"), place, text)
	if _, err := os.Lstat(state); !errors.Is(err, fs.ErrNotExist) {
		ts.Fatalf("the state root was made")
	}
	after, err := snapshot(work)
	ts.Check(err)
	if after != before {
		ts.Fatalf("the pipeline's files were changed:\n%s\nbefore:\n%s", after, before)
	}
}

func checkRefusal(ts *testscript.TestScript, stderr, place, text string) {
	lines := strings.Split(strings.TrimSuffix(stderr, "\n"), "\n")
	if len(lines) != 2 || !strings.HasPrefix(lines[0], "rebuild: error[") || !strings.HasPrefix(lines[1], "hint: ") {
		ts.Fatalf("want one error line and one hint, got %d lines", len(lines))
	}
	for _, r := range lines[0] + lines[1] {
		if unicode.IsControl(r) {
			ts.Fatalf("the error carries the control character %U", r)
		}
	}
	_, message, _ := strings.Cut(lines[0], "]: ")
	if !strings.HasPrefix(message, place+": ") {
		ts.Fatalf("the error does not begin with %s", place)
	}
	if !strings.Contains(message, text) {
		ts.Fatalf("the error does not say %q", text)
	}
}
