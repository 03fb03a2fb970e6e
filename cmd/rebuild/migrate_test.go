package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"rebuild/internal/document"
	"rebuild/internal/durable"
)

const compat = "../../testdata/compat"

// canonical FILE... takes off the line feed that a script's files end with and
// canonical documents have not.
func canonical(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(strings.TrimSuffix(ts.ReadFile(name), "\n")), 0o644))
	}
}

// old is a folder with one document of each kind that migrate rewrites.
func old(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for path, from := range map[string]string{
		"rebuild.lock": "lock", "config.json": "index-config", "state.json": "state",
	} {
		write(t, filepath.Join(dir, path), read(t, filepath.Join(compat, from, "0.9.0.json")))
	}
	return dir
}

// leftIn returns the documents in dir and their backups, by name; other leftovers
// than temporary files and locks are an error.
func leftIn(t testing.TB, dir string) map[string]string {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range all {
		if !strings.HasPrefix(e.Name(), durable.TempPrefix) && !strings.HasSuffix(e.Name(), "lock") || e.Name() == "rebuild.lock" {
			out[e.Name()] = string(read(t, filepath.Join(dir, e.Name())))
		}
	}
	return out
}

// A power cut, a full disk and a failing one at every single system call of a
// migration: each document is afterwards the old one or the new one, whole, the
// old bytes are kept, and the same command ends in the same bytes.
func TestMigrateUnderFaults(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		lacking(t, "needs strace: apt-get install strace")
	}
	if out, err := exec.Command(strace, "-f", "-e", "inject=fsync:error=EIO:when=1000", "true").CombinedOutput(); err != nil {
		lacking(t, "strace can not trace here: %v\n%s", err, out)
	}
	honest := old(t)
	rebuild(t, "migrate", "--write", honest).must(t)
	want := leftIn(t, honest)
	if len(want) != 6 {
		t.Fatalf("an honest migration left %d files", len(want))
	}
	points := 0
	for _, call := range []string{"openat", "flock", "write", "fsync", "rename,renameat,renameat2"} {
		for _, effect := range []string{"signal=KILL", "error=EIO", "error=ENOSPC"} {
			if call == "flock" && effect != "signal=KILL" {
				continue // an flock that fails is that of a temporary file, and harmless
			}
			for n := 1; ; n++ {
				dir := old(t)
				hit := faultAt(t, strace, dir, call, effect, n)
				points += hit
				checkMigrated(t, dir, want, fmt.Sprintf("%s %s at %d", call, effect, n))
				if hit == 0 {
					break
				}
			}
		}
	}
	t.Logf("%d points", points)
	if points < 100 {
		t.Errorf("only %d points were tried", points)
	}
}

// faultAt migrates dir with a fault at the n-th call, and says if
// there was one.
func faultAt(t testing.TB, strace, dir, call, effect string, n int) int {
	t.Helper()
	log := filepath.Join(t.TempDir(), "trace")
	c := rebuild(t, "migrate", "--write", dir)
	c.Args = append([]string{"strace", "-f", "-qq", "-o", log, "-e", "trace=" + call, "-e", fmt.Sprintf("inject=%s:%s:when=%d", call, effect, n), c.Path}, c.Args[1:]...)
	c.Path = strace
	err := c.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	trace, _ := os.ReadFile(log)
	if bytes.Contains(trace, []byte("(INJECTED)")) || bytes.Contains(trace, []byte("SIGKILL")) {
		return 1
	}
	if err != nil {
		t.Fatalf("%s %s at %d: %v without a fault\n%s", call, effect, n, err, c.err.String())
	}
	return 0
}

func checkMigrated(t testing.TB, dir string, want map[string]string, when string) {
	t.Helper()
	now := leftIn(t, dir)
	for name, kind := range map[string]string{"rebuild.lock": "lock", "config.json": "index-config", "state.json": "state"} {
		was := string(read(t, filepath.Join(compat, kind, "0.9.0.json")))
		if now[name] != was && now[name] != want[name] {
			t.Fatalf("%s: %s is %q", when, name, now[name])
		}
		if backup, there := now[name+".0.9.0.bak"]; there && backup != was || !there && now[name] != was {
			t.Fatalf("%s: the backup of %s is %q", when, name, backup)
		}
	}
	rebuild(t, "migrate", "--write", dir).must(t)
	if again := leftIn(t, dir); fmt.Sprint(again) != fmt.Sprint(want) {
		t.Fatalf("%s: again ended in %v, want %v", when, again, want)
	}
}

// Every command that looks at a document refuses one of another version with
// the same code, before it does anything.
func TestD10_EveryCommandRefusesAlike(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"pipeline.toml": "schema_version = \"rebuild.pipeline@3.0.0\"\n", "policy.toml": "schema_version = \"rebuild.policy@3.0.0\"\n",
		"package.toml": "schema_version = \"rebuild.package@3.0.0\"\n", "index/config.json": `{"schema_version":"rebuild.index-config@3.0.0"}`,
		"results/p/" + strings.Repeat("ab", 32) + "/plan.json": `{"schema_version":"rebuild.plan@3.0.0"}`,
	} {
		write(t, filepath.Join(dir, name), []byte(text))
	}
	before, err := snapshot(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"plan"}, {"run"}, {"fetch"}, {"lock"}, {"lock", "--check"}, {"migrate", "--check", "index"},
		{"attest", "--key", "k", "--operator", "north"}, {"bootstrap", "report"},
		{"compare", "results", "--policy", "policy.toml"}, {"verify", "x.rbundle", "--policy", "policy.toml"}, {"policy", "check", "policy.toml"},
		{"index", "show", "index", "hello"}, {"reproduce", "hello", "--index", "index", "--policy", "policy.toml"},
	} {
		c := rebuild(t, append(slices.Clone(args), "--json", "--state", filepath.Join(dir, "state"))...)
		c.Dir = dir
		got := c.status(t)
		e, _ := answerOf[any](t, c.out.Bytes())
		if got != 30 || e.Error == nil || e.Error.Details["found"] == nil || e.Error.Details["supported"] == nil || e.Error.Hint == "" {
			t.Errorf("%v: exit %d, %+v", args, got, e.Error)
		}
		if e.Error != nil && e.Error.Code == "SCHEMA_UNSUPPORTED" && e.Error.Details["migration"] == nil {
			t.Errorf("%v: %+v", args, e.Error.Details)
		}
	}
	if after, err := snapshot(dir); err != nil || after != before {
		t.Errorf("something was written: %v\n%s", err, after)
	}
}

// What is there, where, for whom and whether it decides: a consumer needs no
// source code to know.
func TestD4_VersionsSayTheContract(t *testing.T) {
	t.Parallel()
	_, rows := answerOf[versionsResult](t, rebuild(t, "versions", "--json").must(t))
	byID := map[string]documentWindow{}
	runtime := []string{}
	for _, r := range rows {
		byID[r.ID] = r
		if r.File == "" || r.Audience == "" || !strings.Contains(r.Audience, " > ") || r.Read == nil || r.Migrate == nil {
			t.Errorf("%+v", r)
		}
		if r.Facing == "runtime" {
			runtime = append(runtime, r.ID)
		}
	}
	for _, k := range document.Kinds() {
		r := byID[k.Name]
		if r.Current != k.Current || r.Authoritative != k.Authoritative || r.Facing != "tooling" || !slices.Equal(r.Read, k.Read) {
			t.Errorf("%s: %+v", k.Name, r)
		}
	}
	if want := []string{"oci.image-layout@1.0.0", "rebuild.layer@1"}; !slices.Equal(runtime, want) {
		t.Errorf("runtime-facing are %v, want %v", runtime, want)
	}
	text := string(rebuild(t, "versions").must(t))
	if !strings.Contains(text, "rebuild.lock             1.0.0 <0.9.0") || strings.Count(text, "\n") != len(rows) {
		t.Errorf("%s", text)
	}
}

// D7: what a reader of an older version remembers is upgraded in memory, and
// counts: an index that goes back in time is found out by it. On disk it stays
// as it is until somebody migrates it, or something new is learned.
func TestD7_OldMemoryStillCounts(t *testing.T) {
	t.Parallel()
	h := indexHistories(t)
	dir := t.TempDir()
	for name, files := range map[string]map[string][]byte{"before": h.before, "after": h.after} {
		for path, data := range files {
			write(t, filepath.Join(dir, name, path), data)
		}
	}
	write(t, filepath.Join(dir, "policy.toml"), []byte(h.policy))
	verify := func(index string) *command {
		c := rebuild(t, "pkg", "verify", "hello@0.1.0", "--index", index, "--policy", "policy.toml", "--at", judgedAt, "--state", "state")
		c.Dir = dir
		return c
	}
	verify("after").must(t)
	file := filepath.Join(dir, "state/state.json")
	var now struct {
		Heads map[string]string `json:"heads"`
	}
	if err := json.Unmarshal(read(t, file), &now); err != nil || len(now.Heads) != 1 {
		t.Fatalf("%v: %s", err, read(t, file))
	}
	type head struct {
		Note   string `json:"note"`
		Origin string `json:"origin"`
	}
	old := struct {
		Heads         []head `json:"heads"`
		SchemaVersion string `json:"schema_version"`
	}{SchemaVersion: "rebuild.state@0.9.0"}
	for origin, note := range now.Heads {
		old.Heads = append(old.Heads, head{note, origin})
	}
	raw, err := document.Encode(old)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, raw)
	c := verify("before")
	if got := c.status(t); got != 15 || !strings.Contains(c.err.String(), "error[ROLLBACK]") {
		t.Errorf("exit %d\n%s", got, c.err.String())
	}
	if !bytes.Equal(read(t, file), raw) {
		t.Error("the memory was written")
	}
	verify("after").must(t)
	if !bytes.Contains(read(t, file), []byte(`"schema_version":"rebuild.state@1.0.0"`)) {
		t.Errorf("%s", read(t, file))
	}
}
