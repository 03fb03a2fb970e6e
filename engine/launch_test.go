package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"rebuild/internal/fault"
	"rebuild/pipeline"
)

const sleeper = "FROM image/probe\nWORKDIR /out\nRUN [\"/probe\", \"sleep\", \"600\"]\n"

// roots lists the engine roots below dir.
func roots(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "engines", rootPrefix+"*"))
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// sleeping waits until a solve of sleeper has its command running.
func sleeping(t *testing.T, dir string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if len(processesOf(dir, "/probe\x00sleep")) > 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the stage's command never started")
		}
	}
}

// processesOf returns the processes whose command line starts so and which
// descend from an engine on this state root, known by init's arguments.
func processesOf(dir, cmdline string) (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*")
	parent, line := map[int]int{}, map[int]string{}
	for _, p := range all {
		var pid, ppid int
		var comm, state string
		stat, err := os.ReadFile(filepath.Join(p, "stat"))
		if err != nil {
			continue
		}
		fmt.Sscanf(string(stat), "%d %s %s %d", &pid, &comm, &state, &ppid)
		text, _ := os.ReadFile(filepath.Join(p, "cmdline"))
		parent[pid], line[pid] = ppid, string(text)
	}
	for pid, text := range line {
		if !strings.HasPrefix(text, cmdline) {
			continue
		}
		for up := pid; up > 1; up = parent[up] {
			if strings.HasPrefix(line[up], initName+"\x00") && strings.Contains(line[up], `"root":"`+dir+"/") {
				pids = append(pids, pid)
				break
			}
		}
	}
	return pids
}

// wantNothingLeft waits until no process of an engine on dir lives.
func wantNothingLeft(t *testing.T, dir string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		left := processesOf(dir, "")
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("processes left: %v", left)
		}
	}
}

// Killing init or the engine ends a solve at once, as the machine's fault, and
// leaves nothing.
func TestKilledEngine(t *testing.T) {
	for _, victim := range []string{initName, engineName} {
		t.Run(victim, func(t *testing.T) {
			dir := t.TempDir()
			b := newBench(t, dir, nil)
			failed := make(chan error, 1)
			go func() {
				_, err := b.Solve(context.Background(), b.job("long", sleeper))
				failed <- err
			}()
			sleeping(t, dir)
			for _, pid := range processesOf(dir, victim+"\x00") {
				syscall.Kill(pid, syscall.SIGKILL)
			}
			select {
			case err := <-failed:
				var s *pipeline.StageError
				if !errors.As(err, &s) || s.Class != pipeline.InfraFailed || fault.CodeOf(err) != fault.EngineUnavailable {
					t.Errorf("got %#v %v", s, err)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("the solve hangs")
			}
			wantNothingLeft(t, dir)
			b.Close()
			if left := roots(t, dir); len(left) > 0 {
				t.Errorf("left on disk: %v", left)
			}
		})
	}
}

// Closing an engine ends what it builds, from whatever goroutine it comes, and
// it stays closed.
func TestCloseWhileSolving(t *testing.T) {
	dir := t.TempDir()
	b := newBench(t, dir, nil)
	failed := make(chan error, 2)
	for range 2 {
		go func() {
			_, err := b.Solve(context.Background(), b.job("long", sleeper))
			failed <- err
		}()
	}
	sleeping(t, dir)
	b.Close()
	for range 2 {
		select {
		case err := <-failed:
			if err == nil {
				t.Error("a solve that was ended succeeded")
			}
		case <-time.After(20 * time.Second):
			t.Fatal("a solve hangs")
		}
	}
	wantNothingLeft(t, dir)
	if _, err := b.Solve(context.Background(), b.job("late", hello)); fault.CodeOf(err) != fault.EngineUnavailable {
		t.Errorf("a closed engine answers %v", err)
	}
	if left := roots(t, dir); len(left) > 0 {
		t.Errorf("left on disk: %v", left)
	}
}

// A caller that gives up while the engine starts gets its own reason back, and
// the next one an engine.
func TestCancelWhileStarting(t *testing.T) {
	dir := t.TempDir()
	b := newBench(t, dir, nil)
	gaveUp := errors.New("gave up")
	for _, after := range []time.Duration{0, time.Millisecond, 10 * time.Millisecond, 40 * time.Millisecond} {
		ctx, cancel := context.WithCancelCause(context.Background())
		time.AfterFunc(after, func() { cancel(gaveUp) })
		if _, err := b.Solve(ctx, b.job("long", sleeper)); !errors.Is(err, gaveUp) && !errors.Is(err, context.Canceled) {
			t.Errorf("after %v: %v", after, err)
		}
	}
	b.solve(b.job("hello", hello))
	b.Close()
	wantNothingLeft(t, dir)
	if left := roots(t, dir); len(left) > 0 {
		t.Errorf("left on disk: %v", left)
	}
}

// Engines on one state root start and die side by side. A janitor sweeps only
// the dead: every one that lives gets its result.
func TestManyEnginesOnOneRoot(t *testing.T) {
	dir := t.TempDir()
	first := newBench(t, dir, nil)
	var wg sync.WaitGroup
	for i := range 8 {
		e := New(first.options)
		t.Cleanup(func() { e.Close() })
		b := *first
		b.Engine = e
		wg.Go(func() {
			for range 3 {
				if _, err := e.Solve(context.Background(), b.job("hello", hello)); err != nil {
					t.Errorf("engine %d: %v", i, err)
				}
			}
			if i%2 == 1 {
				e.child.init.Kill()
			}
			e.Close()
		})
	}
	wg.Wait()
	wantDigest := first.solve(first.job("hello", hello))
	first.Close()
	last := newBench(t, dir, nil)
	if got := last.solve(last.job("hello", hello)); got != wantDigest {
		t.Errorf("got %v, want %v", got, wantDigest)
	}
}

// launcherRole is set in the test binary when TestKilledLauncher runs it as the
// command that is killed: it builds until it is.
const launcherRole = "REBUILD_TEST_LAUNCHER"

func TestMainOfKilledLauncher(t *testing.T) {
	dir := os.Getenv(launcherRole)
	if dir == "" {
		t.Skip("only as a child of TestKilledLauncher")
	}
	b := newBench(t, dir, nil)
	b.Solve(context.Background(), b.job("long", sleeper))
}

// Killing the command at any moment of a start leaves no process, and what it
// leaves on disk is swept by the next start.
func TestKilledLauncher(t *testing.T) {
	dir := t.TempDir()
	sound := newBench(t, dir, nil)
	program, err := probe()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "probe")
	if err := os.WriteFile(file, program, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, after := range []time.Duration{1, 20, 40, 60, 80, 100, 130, 170, 220, 300, 500} {
		var out bytes.Buffer
		cmd := exec.Command("/proc/self/exe", "-test.run", "^TestMainOfKilledLauncher$")
		cmd.Env = append(os.Environ(), launcherRole+"="+dir, "REBUILD_PROBE="+file)
		cmd.Stdout, cmd.Stderr = &out, &out
		cmd.WaitDelay = 10 * time.Second
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after * time.Millisecond)
		cmd.Process.Kill()
		if err := cmd.Wait(); errors.Is(err, exec.ErrWaitDelay) {
			t.Errorf("killed after %d ms, something keeps its output open", after)
		}
		wantNothingLeft(t, dir)
	}
	for _, root := range roots(t, dir) {
		// A process that ends gives up its files after its name.
		lock, err := lockFile(filepath.Join(root, rootLock), unix.LOCK_EX)
		if err != nil {
			t.Fatal(err)
		}
		lock.Close()
	}
	sound.solve(sound.job("hello", hello))
	if left := roots(t, dir); len(left) != 1 {
		t.Errorf("beside the living engine's root: %v", left)
	}
}

// A state root may have any name, and lie on any file system that can run
// programs.
func TestStateRoots(t *testing.T) {
	for name, sub := range map[string]string{
		"long":   strings.Repeat("a-very-long-folder-name/", 12),
		"odd":    "a b:c,d=e\\f\"g%h",
		"accent": "caf\u00e9\n",
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, filepath.Join(t.TempDir(), sub), nil)
			b.solve(b.job("hello", hello))
		})
	}
	t.Run("in run", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("needs root, to write to /run")
		}
		dir, err := os.MkdirTemp("/run", "rebuild-test")
		if err != nil {
			lacking(t, "can not write to /run: %v", err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		b := newBench(t, dir, nil)
		b.solve(b.job("hello", hello))
		b.Close()
	})
	t.Run("tmpfs", func(t *testing.T) {
		dir := t.TempDir()
		mountTmpfs(t, dir, "size=1g")
		b := newBench(t, dir, nil)
		b.solve(b.job("hello", hello))
		b.Close()
	})
	t.Run("noexec", func(t *testing.T) {
		dir := t.TempDir()
		mountTmpfs(t, dir, "noexec")
		b := newBench(t, dir, nil)
		_, err := b.Solve(context.Background(), b.job("hello", hello))
		if fault.CodeOf(err) != fault.EngineUnavailable || !strings.Contains(err.Error(), "noexec") {
			t.Errorf("got %v", err)
		}
	})
}
