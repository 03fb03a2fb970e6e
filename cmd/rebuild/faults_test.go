package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rebuild/attest"
)

// writing is an operation that writes, at a place that was made ready for it.
type writing struct {
	name string
	// work is copied for every point. It holds all that the operation writes.
	work string
	args func(work string) []string
	// reader is what a second process then reads with; nil: whole is asked.
	reader func(work string) []string
	index  string // below work: what fsck looks at; "" for none
	// whole says what is wrong with what a fault has left, "" if nothing.
	whole func(t testing.TB, now, want map[string]string) string
}

// effects are what happens to a call. After ENOSPC+ nothing has room any more.
var effects = []string{"KILL", "EIO", "ENOSPC", "ENOSPC+"}

// atClock runs a command at the time at which sweeps take place.
func atClock(t testing.TB, home string, args ...string) (stdout []byte, status int) {
	t.Helper()
	c := exec.Command("clocked", args...)
	c.Env = environment(home, "CLOCK=2026-11-01T12:00:00Z")
	var failed bytes.Buffer
	c.Stderr = &failed
	out, err := c.Output()
	if c.ProcessState == nil {
		t.Fatal(err)
	}
	if status = c.ProcessState.ExitCode(); status != 0 {
		out = append(out, failed.Bytes()...)
	}
	return out, status
}

func mustAtClock(t testing.TB, home string, args ...string) {
	t.Helper()
	if out, status := atClock(t, home, args...); status != 0 {
		t.Fatalf("%q: exit %d\n%s", args, status, out)
	}
}

// bytesOf returns all files and folders below dir, also hidden ones, but for
// locks: those say who has been there, and hold nothing.
func bytesOf(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || file == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, file)
		if d.IsDir() {
			out[rel+"/"] = ""
			return nil
		}
		data, err := os.ReadFile(file)
		if len(data) == 0 && strings.HasSuffix(strings.ToLower(d.Name()), "lock") {
			return err
		}
		out[rel] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// unlike names what two folders do not have in common.
func unlike(got, want map[string]string) []string {
	var out []string
	for file, data := range got {
		if other, there := want[file]; !there {
			out = append(out, "+"+file)
		} else if other != data {
			out = append(out, "!"+file)
		}
	}
	for file := range want {
		if _, there := got[file]; !there {
			out = append(out, "-"+file)
		}
	}
	slices.Sort(out)
	return out
}

// writings makes everything ready: an index with a log and a policy that trusts
// it, statements in a results folder, a release that is published, and packages
// whose lines are unsigned.
func writings(t testing.TB) (all []writing, home string) {
	t.Helper()
	base, home := t.TempDir(), t.TempDir()
	if err := copyMissing(base, cast(t)); err != nil {
		t.Fatal(err)
	}
	in := func(elem ...string) string { return filepath.Join(append([]string{base}, elem...)...) }
	do := func(args ...string) { t.Helper(); mustAtClock(t, home, args...) }
	stage := func(name string, from ...string) string {
		for _, f := range from {
			if err := copyMissing(in("ready", name, filepath.Base(f)), f); err != nil {
				t.Fatal(err)
			}
		}
		return in("ready", name)
	}
	do("key", "new", in("log.key"))
	do("index", "init", in("index"), "--origin", "example.org/log", "--log-key", in("log.key"), "--index-key", in("keys/index.key"))
	trust(t, in("policy.toml"), in("index"))
	for _, name := range []string{"north", "south"} {
		do("attest", "--pipeline", base, "--state", in(name), "--operator", name, "--key", in("keys", name+".key"), "--out", in("results"))
	}
	releasing := func(work string) []string {
		return []string{"release", "--policy", in("policy.toml"), "--results", filepath.Join(work, "results"), "--package", in("package.toml"),
			"--state", in("north"), "--key", in("keys/signer-1.key"), "--key", in("keys/signer-2.key"),
			"--index", filepath.Join(work, "index"), "--index-key", in("keys/index.key"), "--log-key", in("log.key"), "--out", filepath.Join(work, "out")}
	}
	verifying := func(work string) []string {
		return []string{"pkg", "verify", "hello@0.1.0", "--index", filepath.Join(work, "index"), "--policy", in("policy.toml")}
	}
	publish := stage("publish", in("index"), in("results"))
	do(releasing(base)...)
	published := stage("published", in("index"))
	signing := []string{"--policy", in("policy.toml"), "--log-key", in("log.key")}

	// Lines that nobody signed, in an index that gets a key afterwards.
	do("index", "init", in("bare"), "--origin", "example.org/log", "--log-key", in("log.key"))
	for _, name := range []string{"plain", "other"} {
		writePlain(t, in(name+".tar"), name)
		do("index", "add", in(name+".tar"), "--index", in("bare"), "--log-key", in("log.key"))
	}
	do("index", "config", in("bare"), "--log-key", in("log.key"), "--index-key", in("keys/index.key"))
	if err := os.MkdirAll(in("ready/empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	allOrNothing := func(t testing.TB, now, want map[string]string) string {
		if _, there := now["tree/"]; !there {
			return ""
		}
		for file, data := range want {
			if now[file] != data {
				return file + " of a pull that is seen is not there as it should be"
			}
		}
		return ""
	}
	return []writing{
		{"publish", publish, releasing, verifying, "index", nil},
		{"yank", published, func(work string) []string {
			return append([]string{"pkg", "yank", "hello@0.1.0", "--reason", "wrong docs", "--index", filepath.Join(work, "index"),
				"--key", in("keys/signer-1.key"), "--key", in("keys/signer-2.key")}, signing...)
		}, verifying, "index", nil},
		{"sign", published, func(work string) []string {
			return []string{"index", "sign", filepath.Join(work, "index"), "--log-key", in("log.key")}
		}, verifying, "index", nil},
		{"backfill", stage("backfill", in("bare")), func(work string) []string {
			return []string{"index", "backfill", filepath.Join(work, "bare"), "--index-key", in("keys/index.key"), "--log-key", in("log.key"), "--write"}
		}, func(work string) []string { return []string{"index", "show", filepath.Join(work, "bare"), "plain"} }, "bare", nil},
		{"pull", in("ready/empty"), func(work string) []string {
			return []string{"pkg", "pull", "hello", "--index", in("index"), "--policy", in("policy.toml"), "--output", filepath.Join(work, "tree"), "--unpack", "--bundles"}
		}, nil, "", allOrNothing},
		{"mirror", in("ready/empty"), func(work string) []string {
			return []string{"pkg", "mirror", "hello", "--from", in("index"), "--to", filepath.Join(work, "index"), "--policy", in("policy.toml")}
		}, verifying, "index", nil},
		{"migrate", old(t), func(work string) []string { return []string{"migrate", "--write", work} }, nil, "", migrated(old(t))},
	}, home
}

// migrated wants each document whole, as it was or as it will be, and the old
// bytes beside what is new.
func migrated(was string) func(testing.TB, map[string]string, map[string]string) string {
	return func(t testing.TB, now, want map[string]string) string {
		for file, before := range bytesOf(t, was) {
			if now[file] != before && (now[file] != want[file] || now[file+".0.9.0.bak"] != before) {
				return file + " is neither as it was nor as it will be"
			}
		}
		return ""
	}
}

// trust makes a policy trust the log of an index, and count only what is in it.
func trust(t testing.TB, policy, dir string) {
	t.Helper()
	var config struct {
		Log struct{ Origin, Key string }
	}
	if err := json.Unmarshal(read(t, filepath.Join(dir, "config.json")), &config); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(read(t, policy)), "\nversion = 1\n", "\nversion = 1\nrequire = { logged = true }\n", 1)
	write(t, policy, fmt.Appendf([]byte(text), "[log]\norigin = %q\nkey = %q\n", config.Log.Origin, config.Log.Key))
}

// writePlain makes the archive of a package that nobody has rebuilt.
func writePlain(t testing.TB, file, name string) {
	t.Helper()
	_, image, err := attest.LoadPackage("package.toml", []byte(strings.Replace(castPackage, `"hello"`, `"`+name+`"`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	pkg, err := attest.Pack(image, nil, 1)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, pkg.Archive())
}

// tally counts how the points of an operation ended.
type tally struct {
	calls, points, failed, killed, unharmed int
	readers                                 map[int]int
}

// everyCall interferes with every call of an operation, or with a share of them
// in which each kind of call is.
func (w writing) everyCall(t *testing.T, home string, share int) {
	honest := w.copy(t)
	calls, status, out := interfered(t, 0, "KILL", honest, w.home(t, home), w.args(honest)...)
	if status != 0 {
		t.Fatalf("exit %d\n%s", status, out)
	}
	for _, wrong := range undurable(calls) {
		t.Errorf("a power cut could lose it: %s", wrong)
	}
	want := bytesOf(t, honest)
	before, after := "", ""
	if w.reader != nil {
		// The same paths, or the answers would differ.
		before, _ = w.read(t, home, w.work)
		after, status = w.read(t, home, honest)
		if status != 0 {
			t.Fatalf("the reader says %d after an honest run\n%s", status, after)
		}
	}
	sum := tally{calls: len(calls), readers: map[int]int{}}
	seen := map[string]bool{}
	for n, call := range calls {
		kind, _, _ := strings.Cut(call, " ")
		for i, what := range effects {
			if (n*len(effects)+i)%share != 0 && seen[kind+what] {
				continue
			}
			seen[kind+what] = true
			w.point(t, home, n+1, what, call, want, []string{before, after}, &sum)
		}
	}
	t.Logf("%-8s | %3d calls | %4d points | %4d killed, %4d failed, %3d unharmed | readers %v",
		w.name, sum.calls, sum.points, sum.killed, sum.failed, sum.unharmed, sum.readers)
}

// copy makes a copy of what is ready.
func (w writing) copy(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "work")
	if err := copyMissing(dir, w.work); err != nil {
		t.Fatal(err)
	}
	return dir
}

// home makes a copy of what a writer remembers.
func (w writing) home(t testing.TB, from string) string {
	t.Helper()
	dir := t.TempDir()
	if err := copyMissing(dir, from); err != nil {
		t.Fatal(err)
	}
	return dir
}

// read is what a second process sees, without the paths.
func (w writing) read(t testing.TB, home, work string) (string, int) {
	t.Helper()
	out, status := atClock(t, w.home(t, home), w.reader(work)...)
	return strings.ReplaceAll(string(out), work, "WORK"), status
}

func (w writing) point(t *testing.T, from string, n int, what, call string, want map[string]string, answers []string, sum *tally) {
	t.Helper()
	work, home := w.copy(t), w.home(t, from)
	defer os.RemoveAll(filepath.Dir(work))
	when := fmt.Sprintf("%s at %d, %s", what, n, call)
	_, status, out := interfered(t, n, what, work, home, w.args(work)...)
	sum.points++
	switch status {
	case 137:
		sum.killed++
	case 0:
		sum.unharmed++
	default:
		sum.failed++
	}
	if strings.Contains(out, "goroutine ") {
		t.Errorf("%s: a panic, no error\n%s", when, out)
	}
	if w.whole != nil {
		if wrong := w.whole(t, bytesOf(t, work), want); wrong != "" {
			t.Errorf("%s: %s", when, wrong)
		}
	}
	if _, err := os.Stat(filepath.Join(work, w.index, "config.json")); w.index != "" && err == nil {
		if out, status := atClock(t, home, "index", "fsck", filepath.Join(work, w.index)); status != 0 {
			t.Errorf("%s: fsck exits %d\n%s", when, status, out)
		}
	}
	if w.reader != nil {
		answer, read := w.read(t, from, work)
		sum.readers[read]++
		if !slices.Contains([]int{0, 3, 4, 12, 13, 15}, read) || read == 0 && !slices.Contains(answers, answer) {
			t.Errorf("%s: the reader exits %d\n%s", when, read, answer)
		}
		if status == 0 && answer != answers[1] {
			t.Errorf("%s: the writer said that all is well, the reader\n%s", when, answer)
		}
	}
	if out, status := atClock(t, home, w.args(work)...); status != 0 {
		t.Errorf("%s: the retry exits %d\n%s", when, status, out)
		return
	}
	if diff := unlike(bytesOf(t, work), want); len(diff) > 0 {
		t.Errorf("%s: the retry ends in other bytes: %v", when, diff)
	}
}

// undurable names what a power cut could take away in spite of a call log's
// end: content that is not synced before its name is given to it, and names
// whose folder is not synced afterwards.
func undurable(calls []string) []string {
	var wrong []string
	for i, call := range calls {
		f := strings.Fields(call)
		if f[0] != "rename" && f[0] != "link" || len(f) != 3 {
			continue
		}
		if !slices.Contains(calls[:i], "fsync "+f[2]) && !slices.Contains(calls[:i], "open "+f[2]+" sync") {
			wrong = append(wrong, fmt.Sprintf("call %d: %s is not synced before", i+1, call))
		}
		parent := path.Dir(f[1])
		if !slices.ContainsFunc(calls[i:], func(c string) bool {
			synced, is := strings.CutPrefix(c, "fsync ")
			return is && (synced == parent || parent == "." && path.IsAbs(synced))
		}) {
			wrong = append(wrong, fmt.Sprintf("call %d: the folder of %s is not synced after", i+1, call))
		}
	}
	return wrong
}

// A kill, a failing disk and a full one at the system calls that write: fsck is
// content, who reads sees the state before or after or is refused, and doing it
// again ends in the same bytes. REBUILD_FAULTS=1 takes every call of every
// operation; without it a share of two operations is taken.
func TestFaultsAtEveryCall(t *testing.T) {
	t.Parallel()
	share, only := 61, []string{"sign", "backfill"}
	if os.Getenv("REBUILD_FAULTS") != "" {
		share, only = 1, nil
	}
	all, home := writings(t)
	for _, w := range all {
		if only != nil && !slices.Contains(only, w.name) {
			continue
		}
		t.Run(w.name, func(t *testing.T) { w.everyCall(t, home, share) })
	}
}
