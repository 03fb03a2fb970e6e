package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rebuild/attest"
	"rebuild/stages"
)

// surroundings are one way in which a machine can differ from another.
type surroundings struct {
	name   string
	args   []string                // flags of run
	memory bool                    // state root on tmpfs
	user   bool                    // as an ordinary user
	recipe func(*testing.T) string // folder of the pipeline; nil: the built-in one
	edit   func(*command)          // of the process before it starts
	thread func() error            // in the thread that starts the process, which is then thrown away
}

// The digests of a build are what rebuilders vote on. Anything of the machine
// that gets into one of them splits the vote of honest people.
func TestSameDigestsEverywhere(t *testing.T) {
	t.Parallel()
	needEngine(t)
	table := append(fixedSurroundings(), demoSurroundings(t)...)
	want := digestsOf(t, surroundings{})
	if want.Outputs == "" || len(want.Stages) != 4 || len(want.Targets) != 1 {
		t.Fatalf("the first run answers %+v", want)
	}
	for _, s := range table {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			if got := digestsOf(t, s); !sameDigests(got, want) {
				t.Errorf("got\n%+v\nwant\n%+v", got, want)
			}
		})
	}
}

func fixedSurroundings() []surroundings {
	return []surroundings{
		{name: "again"},
		{name: "tmpfs, one job", memory: true, args: []string{"--jobs", "1"}},
		{name: "ordinary user, four jobs", user: true, args: []string{"--jobs", "4"}},
		{name: "ordinary user, tmpfs", user: true, memory: true},
		{name: "one processor", thread: oneProcessor},
		{name: "one processor in the stages", args: []string{"--vary", "cpus"}},
		{name: "another host name", thread: anotherHostname},
		{name: "umask and limits", edit: func(c *command) {
			c.Path, c.Args = "/bin/sh", append([]string{"sh", "-c", `umask 077; ulimit -S -n 300; ulimit -c 0; exec "$0" "$@"`, c.Path}, c.Args[1:]...)
		}},
		{name: "environment", edit: func(c *command) {
			c.Env = append(c.Env, "TZ=Pacific/Kiritimati", "LANG=tr_TR.UTF-8", "LC_ALL=tr_TR.UTF-8", "SOURCE_DATE_EPOCH=86400",
				"TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1",
				"BUILDKIT_HOST=tcp://127.0.0.1:1", "DOCKER_HOST=tcp://127.0.0.1:1", "HTTP_PROXY=http://127.0.0.1:1", "HOME=/nonexistent")
		}},
		{name: "working folder, no terminal, no input", edit: func(c *command) { c.Dir = "/" }},
		{name: "recipes on disk, old and unreadable to others", recipe: recipesOnDisk},
	}
}

// demoSurroundings are those of the rebuilders in the demo.
func demoSurroundings(t *testing.T) []surroundings {
	d, err := newDemo(&app{ui: ui{world: world{now: time.Now}}}, shortPlay, "")
	if err != nil {
		t.Fatal(err)
	}
	d.clean()
	var list []surroundings
	for _, r := range d.rebuilders[1:] {
		s := surroundings{name: "demo's " + r.name, memory: true, user: r.uid != 0}
		for _, v := range r.vary {
			s.args = append(s.args, "--vary", v)
		}
		list = append(list, s)
	}
	return list
}

// digestsOf builds the built-in pipeline on a fresh state root.
func digestsOf(t *testing.T, s surroundings) runResult {
	t.Helper()
	state := stateRoot(t, s.memory)
	from := builtinSeed
	if s.recipe != nil {
		from = s.recipe(t)
	}
	c := rebuild(t, append([]string{"run", "--json", "--progress", "quiet", "--pipeline", from, "--state", state}, s.args...)...)
	if s.user {
		asUser(t, c, filepath.Dir(state))
	}
	if s.edit != nil {
		s.edit(c)
	}
	var err error
	onThread(func() {
		if s.thread != nil {
			err = s.thread()
		}
		if err == nil {
			err = c.Start()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Fatalf("%v\n%s%s", err, c.out.String(), c.err.String())
	}
	_, r := answerOf[runResult](t, c.out.Bytes())
	return r
}

func sameDigests(a, b runResult) bool {
	type voted struct{ name, tree, manifest string }
	all := func(r runResult) (list []voted) {
		for _, s := range r.Stages {
			list = append(list, voted{string(s.Name), string(s.Tree), string(s.Manifest)})
		}
		for _, s := range r.Targets {
			list = append(list, voted{s.Name, string(s.Tree), string(s.Manifest)})
		}
		return append(list, voted{r.Outcome, string(r.Plan), string(r.Outputs)})
	}
	return a.Outcome == attest.OutcomeBuilt && slices.Equal(all(a), all(b))
}

// stateRoot returns where a state root can be made, in a folder that any user
// can reach, on disk or on tmpfs.
func stateRoot(t testing.TB, memory bool) string {
	t.Helper()
	base := ""
	if memory {
		var st unix.Statfs_t
		if err := unix.Statfs("/dev/shm", &st); err != nil || st.Type != unix.TMPFS_MAGIC {
			lacking(t, "needs /dev/shm, a tmpfs")
		}
		base = "/dev/shm"
	}
	dir, err := os.MkdirTemp(base, "rebuild-state-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "state")
}

// asUser makes a command run as an ordinary user who owns dir. Who is one
// already stays who he is.
func asUser(t testing.TB, c *command, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	program := filepath.Join(dir, "rebuild")
	if err := copyFile(program, c.Path); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, demoUser, demoUser); err != nil {
		t.Fatal(err)
	}
	c.Path, c.Dir = program, dir
	c.Env = append(c.Env, "HOME="+dir, "XDG_CACHE_HOME="+filepath.Join(dir, "cache"), "TMPDIR="+os.TempDir())
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: demoUser, Gid: demoUser}}
}

// onThread runs f in an OS thread of its own, which ends afterwards with
// whatever f has changed in it.
func onThread(f func()) {
	done := make(chan struct{})
	go func() {
		runtime.LockOSThread() // never unlocked: the runtime ends the thread
		defer close(done)
		f()
	}()
	<-done
}

func oneProcessor() error {
	var mask, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &mask); err != nil {
		return err
	}
	for cpu := range 1024 {
		if mask.IsSet(cpu) {
			one.Set(cpu)
			break
		}
	}
	return unix.SchedSetaffinity(0, &one)
}

// anotherHostname changes the host name for root; an ordinary user needs a
// user namespace, which a thread of a process with several can not enter.
func anotherHostname() error {
	if os.Geteuid() != 0 {
		return nil
	}
	if err := unix.Unshare(unix.CLONE_NEWUTS); err != nil {
		return err
	}
	return unix.Sethostname([]byte("another-" + strings.Repeat("x", 40)))
}

// recipesOnDisk writes the built-in recipes to a folder in which nothing but
// the content is as usual.
func recipesOnDisk(t *testing.T) string {
	dir := filepath.Join(t.TempDir(), "a folder with spaces")
	if err := os.CopyFS(dir, stages.Builtin()); err != nil {
		t.Fatal(err)
	}
	must(t, (&demo{piece: shortPlay}).usePipeline(dir))
	old := time.Date(1999, 12, 31, 23, 59, 59, 0, time.UTC)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		mode := fs.FileMode(0o600)
		if d.IsDir() {
			mode = 0o700
		}
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
		return os.Chtimes(path, old, old)
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
