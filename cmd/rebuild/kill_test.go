package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// twoStages is a short chain, so that there is something to resume.
const twoStages = `schema_version = "rebuild.pipeline@1.0.0"
name = "two"
platforms = ["linux/amd64"]
stages = ["builtin:hex0", "builtin:labels"]
targets = ["labels"]
`

// victim is a run that is going to be killed.
type victim struct {
	*command
	state   string
	began   time.Time
	engines []string // names of engine roots that were seen
}

func newVictim(t testing.TB, pipeline string) *victim {
	t.Helper()
	v := &victim{state: stateRoot(t, false)}
	v.command = v.again(t, pipeline)
	return v
}

// again prepares a run on the same state root.
func (v *victim) again(t testing.TB, pipeline string) *command {
	t.Helper()
	return rebuild(t, "run", "--json", "--progress", "quiet", "--pipeline", pipeline, "--state", v.state)
}

func (v *victim) start(t testing.TB) {
	t.Helper()
	v.began = time.Now()
	if err := v.Start(); err != nil {
		t.Fatal(err)
	}
}

// init returns the pid of PID 1 of the engine's namespaces, once there is one;
// 0 if the run ended before.
func (v *victim) init() int {
	children := fmt.Sprintf("/proc/%d/task/*/children", v.Process.Pid)
	for alive(v.Process.Pid) {
		lists, _ := filepath.Glob(children)
		for _, list := range lists {
			text, _ := os.ReadFile(list)
			for _, field := range strings.Fields(string(text)) {
				pid, _ := strconv.Atoi(field)
				argv, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
				if bytes.HasPrefix(argv, []byte("rebuild-engine-init\x00")) {
					v.see()
					return pid
				}
			}
		}
		time.Sleep(time.Millisecond)
	}
	return 0
}

// alive says whether a process runs that was not reaped yet and is no zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	return len(rest) > 0 && rest[0] != 'Z' && rest[0] != 'X'
}

// wait waits for the end of the command; a minute is a hang.
func (v *victim) wait(t testing.TB) {
	t.Helper()
	began := time.Now()
	v.Wait()
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("the command ended %v after the kill", took)
	}
	v.see()
}

// see remembers the engine roots that are there.
func (v *victim) see() {
	for _, root := range v.roots() {
		v.engines = append(v.engines, filepath.Base(root))
	}
}

func (v *victim) roots() []string {
	roots, _ := filepath.Glob(filepath.Join(v.state, "engines", "e-*")) // the pattern is a good one
	return roots
}

// nothingLeft wants no process, mount, control group, engine root or lock of
// the state root. Processes of a killed namespace may take a moment to go.
func (v *victim) nothingLeft(t testing.TB) {
	t.Helper()
	mark := filepath.Base(filepath.Dir(v.state))
	var left []string
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if left = processes(mark); len(left) == 0 || time.Now().After(end) {
			break
		}
	}
	for _, p := range left {
		t.Errorf("still running: %s", p)
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || bytes.Contains(mounts, []byte(mark)) {
		t.Errorf("a mount is left (%v):\n%s", err, mounts)
	}
	for _, root := range v.roots() {
		t.Errorf("an engine root is left: %s", root)
	}
	for _, name := range v.engines {
		for _, pattern := range []string{"/sys/fs/cgroup/" + name, "/sys/fs/cgroup/*/" + name} {
			if groups, _ := filepath.Glob(pattern); len(groups) > 0 {
				t.Errorf("control groups are left: %v", groups)
			}
		}
	}
	v.nothingLocked(t)
}

func (v *victim) nothingLocked(t testing.TB) {
	t.Helper()
	err := filepath.WalkDir(v.state, func(path string, d fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil
		}
		if err != nil || !strings.HasSuffix(d.Name(), "lock") || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			t.Errorf("%s is still held: %v", path, err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// processes lists those that name mark in their arguments or see it in their
// mounts: the command, init, the engine, runtimes and stages.
func processes(mark string) []string {
	var found []string
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		argv, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		mounts, _ := os.ReadFile(filepath.Join(dir, "mountinfo"))
		if bytes.Contains(argv, []byte(mark)) || bytes.Contains(mounts, []byte(mark)) {
			found = append(found, dir+" "+strings.ReplaceAll(string(argv), "\x00", " "))
		}
	}
	return found
}

// resumes runs the pipeline again on the state root of a victim and wants the
// digests of an undisturbed run.
func (v *victim) resumes(t testing.TB, pipeline string, want runResult) {
	t.Helper()
	_, got := answerOf[runResult](t, v.again(t, pipeline).must(t))
	if !sameDigests(got, want) {
		t.Errorf("after the kill:\n%+v\nwant\n%+v", got, want)
	}
}

// A machine that is switched off, or a process that the kernel kills for
// memory, must cost no more than the stage that was being built. What would go
// wrong: a container that builds on for nobody, a mount that can not be
// removed, a lock that nobody holds and everybody waits for, a half-written
// stage that is taken for a whole one.
func TestKill(t *testing.T) {
	t.Parallel()
	needEngine(t)
	pipeline := t.TempDir()
	write(t, filepath.Join(pipeline, "pipeline.toml"), []byte(twoStages))
	honest := newVictim(t, pipeline)
	honest.start(t)
	honest.wait(t)
	whole := time.Since(honest.began)
	_, want := answerOf[runResult](t, honest.out.Bytes())
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 20 {
		who := []string{"command", "init", "both"}[i%3]
		// Every second moment is within the first 60 ms, of the command or of
		// the child.
		after := time.Duration(random.Int64N(int64(60 * time.Millisecond)))
		if i%2 == 1 {
			after = time.Duration(random.Int64N(int64(whole)))
		}
		t.Run(fmt.Sprintf("%02d %s after %v", i, who, after.Round(time.Millisecond)), func(t *testing.T) {
			t.Parallel()
			v := newVictim(t, pipeline)
			v.start(t)
			v.kill(who, after)
			v.wait(t)
			v.resumes(t, pipeline, want)
			v.nothingLeft(t)
		})
	}
}

// kill ends the command, its child or both, at a time after the start of the
// first of them that is to die.
func (v *victim) kill(who string, after time.Duration) {
	if who == "command" {
		time.Sleep(after)
		v.Process.Kill()
		return
	}
	pid := v.init()
	time.Sleep(after)
	if pid != 0 && alive(v.Process.Pid) { // a pid may be another's once its parent has reaped it
		syscall.Kill(pid, syscall.SIGKILL)
	}
	if who == "both" {
		v.Process.Kill()
	}
}

// Two runs on one state root, one of which is killed: the janitor must not
// take the living one's root for a dead one's.
func TestKillBesideALivingRun(t *testing.T) {
	t.Parallel()
	needEngine(t)
	pipeline := t.TempDir()
	write(t, filepath.Join(pipeline, "pipeline.toml"), []byte(twoStages))
	v := newVictim(t, pipeline)
	living := v.again(t, pipeline)
	v.start(t)
	if err := living.Start(); err != nil {
		t.Fatal(err)
	}
	v.kill("both", 50*time.Millisecond)
	v.wait(t)
	third := v.again(t, pipeline)
	third.must(t)
	if err := living.Wait(); err != nil {
		t.Fatalf("%v\n%s%s", err, living.out.String(), living.err.String())
	}
	_, a := answerOf[runResult](t, living.out.Bytes())
	_, b := answerOf[runResult](t, third.out.Bytes())
	if !sameDigests(a, b) {
		t.Errorf("beside each other:\n%+v\n%+v", a, b)
	}
	v.nothingLeft(t)
}

// The first Ctrl-C must end a run cleanly and soon, and say so by its exit
// status, or scripts take an interrupted build for a failed one.
func TestSignals(t *testing.T) {
	t.Parallel()
	needEngine(t)
	pipeline := t.TempDir()
	write(t, filepath.Join(pipeline, "pipeline.toml"), []byte(twoStages))
	for name, c := range map[string]struct {
		signal syscall.Signal
		after  time.Duration // after the engine's start
		twice  bool
	}{
		"interrupt at the start of the engine": {syscall.SIGINT, 0, false},
		"terminate in a stage":                 {syscall.SIGTERM, 400 * time.Millisecond, false},
		"interrupt in a stage":                 {syscall.SIGINT, 500 * time.Millisecond, false},
		"interrupt twice":                      {syscall.SIGINT, 300 * time.Millisecond, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := newVictim(t, pipeline)
			v.start(t)
			if v.init() == 0 {
				t.Fatalf("no engine was started: %s", v.err.String())
			}
			time.Sleep(c.after)
			v.Process.Signal(c.signal)
			if c.twice {
				time.Sleep(2 * time.Millisecond)
				v.Process.Signal(c.signal)
			}
			sent := time.Now()
			v.wait(t)
			if took := time.Since(sent); took > 5*time.Second {
				t.Errorf("ended %v after the signal", took)
			}
			if c.twice { // the second may end it before it can say anything
				v.again(t, pipeline).must(t)
				v.nothingLeft(t)
				return
			}
			if got := v.ProcessState.ExitCode(); got != 130 {
				t.Errorf("exit %d, want 130\n%s", got, v.err.String())
			}
			e, _ := answerOf[runResult](t, v.out.Bytes())
			if e.OK || e.ExitCode != 130 || e.Error == nil || e.Error.Code != "INTERRUPTED" || e.Error.Hint == "" {
				t.Errorf("answer %+v, error %+v", e, e.Error)
			}
			v.nothingLeft(t)
		})
	}
}
