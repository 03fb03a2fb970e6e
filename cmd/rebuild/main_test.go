package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"rebuild/engine"
	"rebuild/internal/document"
	"rebuild/store"
)

// The test binary is the rebuild command too, under that name, and by it the
// engine's child processes.
func TestMain(m *testing.M) {
	if status, ours := engine.Reexec(os.Args); ours {
		os.Exit(status)
	}
	testscript.Main(withCache{m}, map[string]func(){"rebuild": main, "measure": measure, "interfere": interfere, "clocked": clocked, "hubbed": hubbed})
}

// cache holds an embedded runc once it is unpacked; all tests share it.
var cache string

type withCache struct{ *testing.M }

func (w withCache) Run() int {
	dir, err := os.MkdirTemp("", "rebuild-cli-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	cache = filepath.Join(dir, "cache")
	return w.M.Run()
}

// updating says that goldens are to be written instead of compared.
func updating() bool { return os.Getenv("REBUILD_UPDATE") == "1" }

// engineMissing is why stages can not be run here, nil if they can.
var engineMissing = sync.OnceValue(func() error {
	e := engine.New(engine.Options{Runc: os.Getenv("REBUILD_RUNC"), Path: os.Getenv("PATH"), Cache: filepath.Join(cache, "rebuild")})
	defer e.Close()
	_, err := e.Environment(context.Background())
	return err
})

// needEngine skips a test on a machine without runc, unless
// REBUILD_REQUIRE_ENGINE says that it must have one.
func needEngine(t testing.TB) {
	t.Helper()
	if err := engineMissing(); err != nil {
		lacking(t, "needs runc: %v; run make test", err)
	}
}

// lacking ends a test that this machine can not run: a skip, or a failure where
// REBUILD_REQUIRE_ENGINE says that nothing may be left out.
func lacking(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("REBUILD_REQUIRE_ENGINE") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become other users or to make namespaces")
	}
}

// environment is what a command is started with: nothing of the caller's but
// the search path and the runc to use.
func environment(home string, extra ...string) []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_CACHE_HOME=" + cache, "TMPDIR=" + os.TempDir()}
	if runc := os.Getenv("REBUILD_RUNC"); runc != "" {
		env = append(env, "REBUILD_RUNC="+runc)
	}
	return append(env, extra...)
}

// command is one start of the real program, not yet started.
type command struct {
	*exec.Cmd
	out, err bytes.Buffer
}

// rebuild prepares "rebuild args...". It is killed if the test takes too long,
// so that nothing waits for ever.
func rebuild(t testing.TB, args ...string) *command {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	t.Cleanup(cancel)
	c := &command{Cmd: exec.CommandContext(ctx, "rebuild", args...)}
	c.Env = environment(t.TempDir())
	c.Stdout, c.Stderr = &c.out, &c.err
	return c
}

// deadline is far above what any command takes; reaching it is a hang.
const deadline = 60 * time.Second

// status runs the command and returns its exit status, -1 if it was killed.
func (c *command) status(t testing.TB) int {
	t.Helper()
	err := c.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatalf("%v: %v\n%s", c.Args, err, c.err.String())
	}
	return c.ProcessState.ExitCode()
}

// must runs the command, wants exit status 0 and returns its stdout.
func (c *command) must(t testing.TB) []byte {
	t.Helper()
	if got := c.status(t); got != 0 {
		t.Fatalf("%v: exit %d\n%s%s", c.Args, got, c.out.String(), c.err.String())
	}
	return c.out.Bytes()
}

// answerOf decodes a --json envelope and its result.
func answerOf[R any](t testing.TB, stdout []byte) (envelope, R) {
	t.Helper()
	var r R
	e := envelope{Result: &r}
	d := json.NewDecoder(bytes.NewReader(stdout))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		t.Fatalf("stdout is not one envelope: %v\n%s", err, stdout)
	}
	if d.More() {
		t.Fatalf("stdout has more than one envelope\n%s", stdout)
	}
	return e, r
}

// write makes a file and the folders it is in.
func write(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// snapshot describes every file below dir: path, mode, time and content.
func snapshot(dir string) (string, error) {
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		content := ""
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content = string(store.DigestOf(data))
		case info.Mode()&fs.ModeSymlink != 0:
			content, _ = os.Readlink(path)
		}
		fmt.Fprintf(&b, "%s %s %d %s\n", path, info.Mode(), info.ModTime().UnixNano(), content)
		return nil
	})
	return b.String(), err
}

// The scripts of testdata/cli run the real program. Each says first what would
// go wrong without what it checks.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, scripts("../../testdata/cli", nil))
}

func scripts(dir string, setup func(*testscript.Env) error) testscript.Params {
	return testscript.Params{
		Dir: dir, RequireExplicitExec: true, RequireUniqueNames: true, UpdateScripts: updating(),
		Setup: func(env *testscript.Env) error {
			for _, kv := range environment(env.Getenv("WORK") + "/home") {
				name, value, _ := strings.Cut(kv, "=")
				env.Setenv(name, value)
			}
			if setup != nil {
				return setup(env)
			}
			return nil
		},
		Condition: func(name string) (bool, error) {
			switch name {
			case "engine":
				return engineMissing() == nil, nil
			case "optional":
				return os.Getenv("REBUILD_REQUIRE_ENGINE") == "", nil
			case "root":
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("unknown condition %q", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":  exits,
			"frozen": frozen,
			"refuse": refuse,
			"lie":    lie,
			"edit":   edit,

			"owner":   owner,
			"release": release,
			"samekey": samekey,
			"expire":  expire,
			"unsign":  unsign,

			"unadvertise": unadvertise,
			"statement":   statement,
			"registry":    startRegistry,
			"spoil":       spoil,
			"logged":      logged,
			"revoke":      revoke,
			"log":         writeLog,
			"forget":      forget,
			"fifo":        fifo,
			"payload":     payload,
			"reveal":      reveal,
			"unprove":     unprove,

			"agent":       sshAgent,
			"fill":        fill,
			"fingerprint": fingerprint,

			"damage": damage,
			"lose":   lose,
			"swap":   swap,

			"webserver":  webserver,
			"swapobject": swapobject,
			"advise":     advise,

			"shows": shows,

			"answer":  answer,
			"tabled":  tabled,
			"serving": serving,
			"status":  status,
			"post":    post,

			"withholder": withholder, "swallower": swallower,
			"tlsserver": tlsServer,
			"answering": answering,

			"trustlog":  trustLog,
			"plain":     plainPackage,
			"exchange":  exchangeArchive,
			"lack":      lack,
			"canonical": canonical,
		},
	}
}

// exits STATUS COMMAND... wants exactly this exit status, and of a failure
// exactly one line that says so.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	var ended *exec.ExitError
	if errors.As(err, &ended) {
		got = ended.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit %d, want %d", got, want)
	}
	if want != 0 && !slices.Contains(args, "--json") {
		if n := strings.Count("\n"+ts.ReadFile("stderr"), "\nrebuild: error["); n != 1 {
			ts.Fatalf("%d error lines, want one", n)
		}
	}
}

// frozen STATUS DIR COMMAND... is exits, and nothing in DIR may have changed
// after it: no content, no mode, no time.
func frozen(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: frozen STATUS DIR COMMAND...")
	}
	before, err := snapshot(ts.MkAbs(args[1]))
	ts.Check(err)
	exits(ts, false, slices.Delete(slices.Clone(args), 1, 2))
	after, err := snapshot(ts.MkAbs(args[1]))
	ts.Check(err)
	if before != after {
		ts.Fatalf("%s was\n%sand is\n%s", args[1], before, after)
	}
}

// edit FILE OLD NEW replaces OLD, which must be there exactly once. EOL stands
// for the end of a line in both.
func edit(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: edit FILE OLD NEW")
	}
	lines := func(s string) string { return strings.ReplaceAll(s, "EOL", "\n") }
	replace(ts, args[0], lines(args[1]), lines(args[2]))
}

func replace(ts *testscript.TestScript, file, from, to string) {
	text := ts.ReadFile(file)
	if n := strings.Count(text, from); n != 1 {
		ts.Fatalf("%q stands %d times in %s", from, n, file)
	}
	ts.Check(os.WriteFile(ts.MkAbs(file), []byte(strings.Replace(text, from, to, 1)), 0o644))
}

// damage STATE STAGE flips one bit in the layer that a stage gave.
func damage(ts *testscript.TestScript, neg bool, args []string) {
	layer := layerOf(ts, args[0], args[1])
	data, err := os.ReadFile(layer)
	ts.Check(err)
	data[len(data)/2] ^= 1
	ts.Check(os.Chmod(layer, 0o644))
	ts.Check(os.WriteFile(layer, data, 0o644))
}

// lose STATE STAGE removes the layer that a stage gave.
func lose(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(os.Remove(layerOf(ts, args[0], args[1])))
}

// layerOf returns the file of the layer that a stage gave.
func layerOf(ts *testscript.TestScript, state, stage string) string {
	record, _ := stageRecord(ts, state, stage)
	blob := func(d string) string {
		return filepath.Join(ts.MkAbs(state), "store/blobs/sha256", store.Digest(d).Hex())
	}
	var manifest struct {
		Layers []struct {
			Digest string `json:"digest"`
		} `json:"layers"`
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(blob(record["manifest"].(string)))), &manifest))
	return blob(manifest.Layers[0].Digest)
}

// stageRecord returns what a state root has on record for a stage, and where.
func stageRecord(ts *testscript.TestScript, state, stage string) (map[string]any, string) {
	files, err := filepath.Glob(filepath.Join(ts.MkAbs(state), "stages/*.json"))
	ts.Check(err)
	for _, file := range files {
		var record map[string]any
		ts.Check(json.Unmarshal([]byte(ts.ReadFile(file)), &record))
		if record["stage"] == stage {
			return record, file
		}
	}
	ts.Fatalf("no stage %s on record", stage)
	return nil, ""
}

// swap STATE A B puts the output of stage B into the record of stage A.
func swap(ts *testscript.TestScript, neg bool, args []string) {
	a, file := stageRecord(ts, args[0], args[1])
	b, _ := stageRecord(ts, args[0], args[2])
	a["tree"], a["manifest"], a["layer_size"] = b["tree"], b["manifest"], int64(b["layer_size"].(float64))
	a["runs"] = int64(a["runs"].(float64))
	data, err := document.Encode(a)
	ts.Check(err)
	ts.Check(os.WriteFile(file, data, 0o644))
}
