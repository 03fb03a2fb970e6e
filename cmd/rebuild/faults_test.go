package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

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
	// hub are the arguments of a hub that runs beside it, in the same process; nil
	// for none.
	hub func(work string) []string
	// once is an operation that makes something new, and refuses to make it again
	// where it is there.
	once bool
}

// command is what runs an operation.
func (w writing) command(work string) []string {
	if w.hub == nil {
		return append([]string{"clocked"}, w.args(work)...)
	}
	return slices.Concat([]string{"hubbed"}, w.hub(work), []string{"--"}, w.args(work))
}

// effects are what happens to a call. After ENOSPC+ nothing has room any more.
var effects = []string{"KILL", "EIO", "ENOSPC", "ENOSPC+"}

// atClock runs a command at the time at which sweeps take place.
func atClock(t testing.TB, home string, args ...string) (stdout []byte, status int) {
	t.Helper()
	return runAt(t, home, append([]string{"clocked"}, args...)...)
}

func runAt(t testing.TB, home string, args ...string) (stdout []byte, status int) {
	t.Helper()
	c := exec.Command(args[0], args[1:]...)
	c.Env = sweepEnvironment(home)
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

// clockOfSweeps is the time at which sweeps take place.
func clockOfSweeps() time.Time { return time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC) }

// sweepEnvironment has all that a command writes for itself below home.
func sweepEnvironment(home string) []string {
	return environment(home, "CLOCK="+clockOfSweeps().Format(time.RFC3339), "XDG_CACHE_HOME="+filepath.Join(home, "cache"))
}

// bytesOf returns all files and folders below dir, also hidden ones, but for
// locks, which say who has been there, and hold nothing; a hub's database, which
// remembers every try; and caches, which may be lost.
func bytesOf(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || file == dir {
			return err
		}
		rel, _ := filepath.Rel(dir, file)
		if d.IsDir() && slices.Contains(forgettable, rel) {
			return fs.SkipDir
		}
		if strings.HasPrefix(d.Name(), "hub.db") {
			return nil
		}
		if d.IsDir() {
			out[rel+"/"] = ""
			return nil
		}
		if d.Type() == fs.ModeSymlink {
			out[rel], err = os.Readlink(file)
			return err
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

// forgettable are the folders below a place that may be lost.
var forgettable = []string{"home/cache", "home/.local/share/rebuild/pulls", "home/.local/share/rebuild/store/tmp"}

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
	fresh := stage("fresh", in("index"), in("results")) // nothing of the plan is in the log
	publish := stage("publish", in("index"), in("results"))
	do("index", "add", in("results"), "--index", in("index"), "--policy", in("policy.toml"), "--log-key", in("log.key"))
	signed := in("both.dsse.json")
	evidence := []string{"--policy", in("policy.toml"), "--results", in("results"), "--state", in("north")}
	do(append([]string{"release", "propose", "--package", in("package.toml"), "--owner", in("keys/signer-1.pub"), "-o", in("release.json")}, evidence...)...)
	do(append([]string{"release", "sign", in("release.json"), "--key", in("keys/signer-1.key"), "-o", in("one.dsse.json")}, evidence...)...)
	do(append([]string{"release", "sign", in("one.dsse.json"), "--key", in("keys/signer-2.key"), "-o", signed}, evidence...)...)
	voted := stage("voted", in("index"))
	do(releasing(base)...)
	published := stage("published", in("index"))
	signing := []string{"--policy", in("policy.toml"), "--log-key", in("log.key")}
	other := t.TempDir() // of somebody else: nobody may have seen what is to come
	mustAtClock(t, other, "pkg", "mirror", "hello", "--from", in("index"), "--to", in("mirror/index"), "--policy", in("policy.toml"))
	mirrored := stage("mirrored", in("mirror/index"))
	if err := copyMissing(in("yanked"), in("index")); err != nil {
		t.Fatal(err)
	}
	mustAtClock(t, other, append([]string{"pkg", "yank", "hello@0.1.0", "--reason", "wrong docs", "--index", in("yanked"),
		"--key", in("keys/signer-1.key"), "--key", in("keys/signer-2.key")}, signing...)...)

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
	source := in("source")
	write(t, filepath.Join(source, "package.toml"), []byte(strings.Replace(castPackage, `"hello"`, `"plain"`, 1)))
	write(t, filepath.Join(source, "bin/plain"), []byte("#!/bin/sh\n"))
	indexOf := func(work string) string { return filepath.Join(work, "index") }
	empty := in("ready/empty")
	return []writing{
		{name: "publish", work: publish, args: releasing, reader: verifying, index: "index"},
		{name: "yank", work: published, args: func(work string) []string {
			return append([]string{"pkg", "yank", "hello@0.1.0", "--reason", "wrong docs", "--index", indexOf(work),
				"--key", in("keys/signer-1.key"), "--key", in("keys/signer-2.key")}, signing...)
		}, reader: verifying, index: "index"},
		{name: "sign", work: published, args: func(work string) []string {
			return []string{"index", "sign", indexOf(work), "--log-key", in("log.key")}
		}, reader: verifying, index: "index"},
		{name: "backfill", work: stage("backfill", in("bare")), args: func(work string) []string {
			return []string{"index", "backfill", filepath.Join(work, "bare"), "--index-key", in("keys/index.key"), "--log-key", in("log.key"), "--write"}
		}, reader: func(work string) []string { return []string{"index", "show", filepath.Join(work, "bare"), "plain"} }, index: "bare"},
		{name: "pull", work: empty, args: func(work string) []string {
			return []string{"pkg", "pull", "hello", "--index", in("index"), "--policy", in("policy.toml"), "--output", filepath.Join(work, "tree"), "--unpack", "--bundles"}
		}, whole: allOrNothing},
		{name: "archives", work: empty, args: func(work string) []string {
			return []string{"pkg", "pull", "hello", "--index", in("index"), "--policy", in("policy.toml"), "--output", filepath.Join(work, "tree")}
		}, whole: allOrNothing},
		{name: "mirror", work: empty, args: func(work string) []string {
			return []string{"pkg", "mirror", "hello", "--from", in("index"), "--to", indexOf(work), "--policy", in("policy.toml")}
		}, reader: verifying, index: "index"},
		{name: "update", work: mirrored, args: func(work string) []string {
			return []string{"pkg", "mirror", "hello", "--from", in("yanked"), "--to", indexOf(work), "--policy", in("policy.toml")}
		}, reader: verifying, index: "index"},
		{name: "migrate", work: old(t), args: func(work string) []string { return []string{"migrate", "--write", work} }, whole: migrated(old(t))},
		{name: "init", work: empty, args: func(work string) []string {
			return []string{"index", "init", indexOf(work), "--origin", "example.org/log", "--log-key", in("log.key"), "--index-key", in("keys/index.key")}
		}, index: "index", once: true},
		{name: "add", work: fresh, args: func(work string) []string {
			return []string{"index", "add", filepath.Join(work, "results"), in("plain.tar"), "--index", indexOf(work), "--policy", in("policy.toml"),
				"--log-key", in("log.key"), "--index-key", in("keys/index.key")}
		}, reader: func(work string) []string { return []string{"index", "show", indexOf(work)} }, index: "index"},
		{name: "export", work: published, args: func(work string) []string {
			return []string{"index", "export", indexOf(work), "--log-key", in("log.key")}
		}, reader: verifying, index: "index"},
		{name: "hub", work: voted, args: func(work string) []string {
			return []string{"release", "publish", signed, "--policy", in("policy.toml"), "--results", in("results"), "--state", in("north"),
				"--package", in("package.toml"), "--hub", "HUB", "--key", in("keys/signer-1.key"), "--out", filepath.Join(work, "out")}
		}, reader: verifying, index: "index", hub: func(work string) []string {
			return []string{"hub", "serve", "--index", indexOf(work), "--policy", in("policy.toml"), "--index-key", in("keys/index.key"),
				"--log-key", in("log.key"), "--data", filepath.Join(work, "hub"), "--listen", "127.0.0.1:0"}
		}},
		{name: "build", work: empty, args: func(work string) []string {
			return []string{"pkg", "build", "--source", source, "--destination", filepath.Join(work, "tree"), "--include-manifest"}
		}, whole: allOrNothing, once: true},
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
	mu                                              sync.Mutex
	calls, points, failed, killed, unharmed, panics int
	readers                                         map[int]int
}

// add counts a point by the exit status of the writer, and of the reader behind
// it if there was one.
func (c *tally) add(status, read int, panicked bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.points++
	switch status {
	case 137:
		c.killed++
	case 0:
		c.unharmed++
	default:
		c.failed++
	}
	if panicked {
		c.panics++
	}
	if read >= 0 {
		c.readers[read]++
	}
}

// everyCall interferes with every call of an operation, or with a share of them
// in which each kind of call is.
func (w writing) everyCall(t *testing.T, home string, share int) {
	honest := w.copy(t, home)
	calls, status, out := w.interfered(t, 0, "KILL", honest)
	if status != 0 {
		t.Fatalf("exit %d\n%s", status, out)
	}
	for _, wrong := range undurable(calls) {
		t.Errorf("a power cut could lose it: %s", wrong)
	}
	want := w.bytesOf(t, honest)
	before, after := "", ""
	if w.reader != nil {
		// The same paths, or the answers would differ.
		before, _ = w.read(t, home, w.work)
		after, status = w.read(t, home, workOf(honest))
		if status != 0 {
			t.Fatalf("the reader says %d after an honest run\n%s", status, after)
		}
	}
	sum := tally{calls: len(calls), readers: map[int]int{}}
	points := pointsOf(calls, share)
	t.Run("points", func(t *testing.T) { // is over when all of them are
		const side = 2 // by side: each is one process after the other
		for first := range side {
			t.Run(strconv.Itoa(first), func(t *testing.T) {
				t.Parallel()
				for i := first; i < len(points); i += side {
					w.point(t, home, points[i], want, []string{before, after}, &sum)
				}
			})
		}
	})
	t.Logf("%s | %d calls | %4d points | %4d killed, %4d failed, %3d unharmed | %d ended in Tessera's panic | readers %v",
		w.name, sum.calls, sum.points, sum.killed, sum.failed, sum.unharmed, sum.panics, sum.readers)
}

// point is a call, counted from 1, and what happens to it.
type point struct {
	n          int
	what, call string
}

func (p point) String() string { return fmt.Sprintf("%s at %d, %s", p.what, p.n, p.call) }

// pointsOf takes one of share of all points, and of each kind of call and each
// effect the first.
func pointsOf(calls []string, share int) (out []point) {
	seen := map[string]bool{}
	for n, call := range calls {
		kind, _, _ := strings.Cut(call, " ")
		for i, what := range effects {
			if (n*len(effects)+i)%share == 0 || !seen[kind+what] {
				out = append(out, point{n + 1, what, call})
			}
			seen[kind+what] = true
		}
	}
	return out
}

// interfered runs the operation in a place that [writing.copy] made.
func (w writing) interfered(t testing.TB, n int, what, root string) (calls []string, status int, output string) {
	t.Helper()
	return interfered(t, n, what, root, homeOf(root), w.command(workOf(root))...)
}

// copy makes a copy of what is ready and of what its writer remembers.
func (w writing) copy(t testing.TB, home string) (root string) {
	t.Helper()
	root = t.TempDir()
	if err := errors.Join(copyMissing(workOf(root), w.work), copyMissing(homeOf(root), home)); err != nil {
		t.Fatal(err)
	}
	return root
}

func workOf(root string) string { return filepath.Join(root, "work") }
func homeOf(root string) string { return filepath.Join(root, "home") }

// bytesOf are the bytes of a place that [writing.copy] made, without the paths. A
// hub has another port each time, which its client remembers.
func (w writing) bytesOf(t testing.TB, root string) map[string]string {
	out := bytesOf(t, root)
	for file, data := range out {
		out[file] = strings.ReplaceAll(data, root, "ROOT")
		if w.hub != nil && strings.HasPrefix(file, "home/") {
			delete(out, file)
		}
	}
	return out
}

// read is what a second process sees, without the paths.
func (w writing) read(t testing.TB, from, work string) (string, int) {
	t.Helper()
	home := t.TempDir()
	if err := copyMissing(home, from); err != nil {
		t.Fatal(err)
	}
	out, status := atClock(t, home, w.reader(work)...)
	return strings.ReplaceAll(string(out), work, "WORK"), status
}

// tesseraPanic is how Tessera ends the process where it can not open its lock,
// on a goroutine that nobody can recover for it (docs/index.md). It is to end in
// no other way.
var tesseraPanic = regexp.MustCompile(`(?m)^panic: open \S+/\.state/treeState\.lock: (input/output error|no space left on device)$`)

// point tries one point: whatever is left is sound, nobody reads what is neither
// before nor after, and the same again ends as if nothing had happened.
func (w writing) point(t *testing.T, from string, at point, want map[string]string, answers []string, sum *tally) {
	t.Helper()
	root := w.copy(t, from)
	defer os.RemoveAll(root)
	work, home := workOf(root), homeOf(root)
	when := at.String()
	_, status, out := w.interfered(t, at.n, at.what, root)
	panicked := tesseraPanic.MatchString(out) && at.what != "KILL"
	if !panicked && strings.Contains(out, "goroutine ") {
		t.Errorf("%s: a panic, no error\n%s", when, out)
	}
	if w.whole != nil {
		if wrong := w.whole(t, bytesOf(t, work), filesBelow("work/", want)); wrong != "" {
			t.Errorf("%s: %s", when, wrong)
		}
	}
	if _, err := os.Stat(filepath.Join(work, w.index, "config.json")); w.index != "" && err == nil {
		if out, status := atClock(t, home, "index", "fsck", filepath.Join(work, w.index)); status != 0 {
			t.Errorf("%s: fsck exits %d\n%s", when, status, out)
		}
	}
	read := -1
	if w.reader != nil {
		var answer string
		answer, read = w.read(t, from, work)
		if !slices.Contains([]int{0, 3, 4, 12, 13, 15}, read) || read == 0 && !slices.Contains(answers, answer) {
			t.Errorf("%s: the reader exits %d\n%s", when, read, answer)
		}
		if status == 0 && answer != answers[1] {
			t.Errorf("%s: the writer said that all is well, the reader\n%s", when, answer)
		}
	}
	w.again(t, root, when, want)
	sum.add(status, read, panicked)
}

// again wants the operation, done again, to end in the bytes that it ends in
// where nothing goes wrong.
func (w writing) again(t *testing.T, root, when string, want map[string]string) {
	t.Helper()
	done := len(unlike(w.bytesOf(t, root), want)) == 0
	out, status := runAt(t, homeOf(root), w.command(workOf(root))...)
	if refused := w.once && done && status == 2; status != 0 && !refused {
		t.Errorf("%s: the retry exits %d\n%s", when, status, out)
		return
	}
	if diff := unlike(w.bytesOf(t, root), want); len(diff) > 0 {
		t.Errorf("%s: the retry ends in other bytes: %v", when, diff)
	}
}

// filesBelow are the files in a folder, by their names there.
func filesBelow(folder string, all map[string]string) map[string]string {
	out := map[string]string{}
	for file, data := range all {
		if rel, is := strings.CutPrefix(file, folder); is && rel != "" {
			out[rel] = data
		}
	}
	return out
}

// unsynced is what a power cut could take away: content that has not been synced
// under its name, and names whose folder has not been.
type unsynced struct {
	content, names map[string]int // by path, the call
	// always are the paths that were opened, and whether each write to them is
	// synced.
	always map[string]bool
	wrong  []string
}

// undurable names what a power cut could take away after these calls, and what
// got its name before its content was safe.
func undurable(calls []string) []string {
	u := &unsynced{content: map[string]int{}, names: map[string]int{}, always: map[string]bool{}}
	for i, call := range calls {
		f := strings.Fields(call)
		name, path := f[0], f[1]
		if filepath.IsAbs(path) {
			path = "." // the folder itself
		}
		if slices.ContainsFunc(forgettable, func(dir string) bool { return strings.HasPrefix(path, dir+"/") }) {
			continue
		}
		switch name {
		case "open":
			if _, there := u.always[path]; !there && !strings.HasSuffix(strings.ToLower(path), "lock") { // that holds nothing
				u.names[path] = i
			}
			u.always[path] = f[len(f)-1] == "sync"
		case "mkdir", "symlink":
			u.names[path] = i
		case "write", "pwrite", "truncate":
			if !u.always[path] {
				u.content[path] = i
			}
		case "unlink":
			delete(u.content, path)
			delete(u.names, path)
			delete(u.always, path)
		case "fsync":
			delete(u.content, path)
			maps.DeleteFunc(u.names, func(name string, _ int) bool { return filepath.Dir(name) == path })
		case "syncfs":
			clear(u.content)
			clear(u.names)
		case "rename", "link":
			u.named(call, path, f[2], i)
		}
	}
	for path, i := range u.content {
		u.wrong = append(u.wrong, fmt.Sprintf("call %d: %s: the content is not synced", i+1, calls[i]))
		delete(u.names, path)
	}
	for _, i := range u.names {
		u.wrong = append(u.wrong, fmt.Sprintf("call %d: %s: the folder is not synced after", i+1, calls[i]))
	}
	slices.Sort(u.wrong)
	return u.wrong
}

// named is a name for what was made under another one.
func (u *unsynced) named(call, to, from string, i int) {
	inside := func(name string) bool { return strings.HasPrefix(name, from+"/") }
	for path := range u.content {
		if path == from || inside(path) {
			u.wrong = append(u.wrong, fmt.Sprintf("call %d: %s: %s is not synced before", i+1, call, path))
			delete(u.content, path)
		}
	}
	for path := range u.names {
		if inside(path) {
			u.wrong = append(u.wrong, fmt.Sprintf("call %d: %s: the folder of %s is not synced before", i+1, call, path))
			delete(u.names, path)
		}
	}
	if strings.HasPrefix(call, "rename ") {
		delete(u.names, from)
		delete(u.always, from)
	}
	u.names[to] = i
}

// The judge of a call log finds what is missing in it.
func TestUndurable(t *testing.T) {
	t.Parallel()
	for calls, want := range map[string]int{
		"open a/t|write a/t|fsync a/t|rename a/f a/t|fsync a":                             0,
		"open a/t sync|write a/t|rename a/f a/t|fsync a":                                  0,
		"open a/t|write a/t|rename a/f a/t|fsync a":                                       1,
		"open a/t|write a/t|fsync a/t|write a/t|rename a/f a/t|fsync a":                   1,
		"open a/t|write a/t|fsync a/t|rename a/f a/t":                                     1,
		"open a/t|write a/t|fsync a/t|fsync a|rename a/f a/t":                             1,
		"open f|write f|fsync f|fsync /work":                                              0,
		"open f|write f|fsync f":                                                          1,
		"open f|write f|unlink f":                                                         0,
		"open f|fsync /work|open f":                                                       0,
		"open f|fsync /work|unlink f|open f":                                              1,
		"open f":                                                                          1,
		"open a/lock":                                                                     0,
		"mkdir a|open a/f|fsync a|fsync a/f":                                              1,
		"mkdir .t|open .t/f|write .t/f|syncfs .t|rename t .t|fsync /work":                 0,
		"mkdir .t|open .t/f|write .t/f|syncfs .t|write .t/f|rename t .t|fsync /work":      1,
		"mkdir .t|open .t/f|write .t/f|syncfs .t|rename t .t":                             1,
		"mkdir .t|open .t/f|write .t/f|fsync .t/f|rename t .t|fsync /work":                1,
		"mkdir .t|open .t/f|write .t/f|fsync .t/f|fsync .t|rename t .t|fsync /work":       0,
		"mkdir .t|link .t/f /cache/f|fsync .t/f|fsync .t|rename t .t|fsync /work":         0,
		"open t|write t|link f t|fsync t|unlink t|fsync /work":                            1,
		"open t|write t|fsync t|link f t|unlink t|fsync /work|truncate f|fsync f|chmod f": 0,
	} {
		if got := undurable(strings.Split(calls, "|")); len(got) != want {
			t.Errorf("%s:\n%q, want %d", calls, got, want)
		}
	}
}

// A kill, a failing disk and a full one at the system calls that write: fsck is
// content, who reads sees the state before or after or is refused, and doing it
// again ends in the same bytes. REBUILD_FAULTS=1 takes every point of every
// operation, 7 one of seven; without it a share of two operations is taken.
func TestFaultsAtEveryCall(t *testing.T) {
	t.Parallel()
	share, only := 61, []string{"sign", "backfill"}
	if text := os.Getenv("REBUILD_FAULTS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("REBUILD_FAULTS=%s is no number of points of which one is taken", text)
		}
		share, only = n, nil
	}
	all, home := writings(t)
	for _, w := range all {
		if only != nil && !slices.Contains(only, w.name) {
			continue
		}
		t.Run(w.name, func(t *testing.T) { w.everyCall(t, home, share) })
	}
}
