package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rebuild/attest/attesttest"
	"rebuild/index"
	"rebuild/index/indextest"
)

// cutLog is a log whose writer is gone as soon as a batch is in it.
type cutLog struct{ index.LogWriter }

var errCut = errors.New("cut")

func (l cutLog) Append(ctx context.Context, leaves [][]byte) error {
	if err := l.LogWriter.Append(ctx, leaves); err != nil || len(leaves) == 0 {
		return err
	}
	return errCut
}

// unfinishedIndex is an index whose writer crashed between the log and the last
// file: readers find new lines below an old head.
func unfinishedIndex(t *testing.T, w *attesttest.World) string {
	t.Helper()
	told := indextest.NewLogged(t, w)
	_, _, err := told.Open().AddPackage(t.Context(), emptyPackage(t, "1.0.0"))
	must(t, err)
	log, dir := told.In.Log, told.Dir
	told.In.Log = func(ctx context.Context, dir string) (index.LogWriter, error) {
		l, err := log(ctx, dir)
		return cutLog{l}, err
	}
	if _, _, err = told.Open().AddPackage(t.Context(), emptyPackage(t, "2.0.0")); !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, ".staged"))
	must(t, err)
	var staged struct{ Files []struct{ Path, Data string } }
	must(t, json.Unmarshal(data, &staged))
	for _, f := range staged.Files {
		if !strings.HasPrefix(f.Path, "view/") {
			must(t, os.WriteFile(filepath.Join(dir, filepath.FromSlash(f.Path)), []byte(f.Data), 0o644))
		}
	}
	return dir
}

// Readers of an index whose writer is gone are told what it can be; who serves
// it, or checks it without any key, makes it good. A folder that can not be
// written is served as it is.
func TestAnIndexThatNobodyFinished(t *testing.T) {
	w := attesttest.New(t)
	newest := func(location string) (int, string) {
		show := rebuild(t, "index", "show", location, "tool", "--at", judgedAt)
		return show.status(t), show.out.String() + show.err.String()
	}
	for name, c := range map[string]struct {
		prepare func(t *testing.T, dir string)
		said    string
		version string
	}{
		"served": {nil, "finished a publication", "2.0.0"},
		"checked": {func(t *testing.T, dir string) {
			if out := rebuild(t, "index", "fsck", dir, "--repair").must(t); !bytes.Contains(out, []byte("repaired: .staged")) {
				t.Errorf("%s", out)
			}
		}, "", "2.0.0"},
		"not writable": {func(t *testing.T, dir string) {
			lock := filepath.Join(dir, "lock")
			must(t, os.Remove(lock))
			must(t, os.Mkdir(lock, 0o755))
		}, "can not be finished", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := unfinishedIndex(t, w)
			if status, said := newest(dir); status != 15 || !strings.Contains(said, "index fsck --repair") {
				t.Fatalf("exit %d: %s", status, said)
			}
			if c.prepare != nil {
				c.prepare(t, dir)
			}
			serve := rebuild(t, "index", "serve", dir, "--listen", "127.0.0.1:0")
			serve.Stdout = nil
			out, err := serve.StdoutPipe()
			must(t, err)
			must(t, serve.Start())
			url, err := bufio.NewReader(out).ReadString('\n')
			must(t, err)
			status, said := newest(strings.TrimSpace(url))
			must(t, serve.Process.Signal(syscall.SIGTERM))
			must(t, serve.Wait())
			if c.version != "" && (status != 0 || !strings.Contains(said, c.version)) || c.version == "" && status != 15 {
				t.Errorf("exit %d: %s", status, said)
			}
			if told := serve.err.String(); !strings.Contains(told, c.said) {
				t.Errorf("%s", told)
			}
		})
	}
}

// Whoever can read an index can keep its lock: it is served all the same, and who
// waits for the lock ends when it is told to.
func TestTheLockOfAnIndexHoldsNobodyUp(t *testing.T) {
	dir := unfinishedIndex(t, attesttest.New(t))
	f, err := os.Open(filepath.Join(dir, "lock"))
	must(t, err)
	defer f.Close()
	must(t, syscall.Flock(int(f.Fd()), syscall.LOCK_SH))

	repair := rebuild(t, "index", "fsck", dir, "--repair")
	must(t, repair.Start())
	serve := rebuild(t, "index", "serve", dir, "--listen", "127.0.0.1:0")
	serve.Stdout = nil
	out, err := serve.StdoutPipe()
	must(t, err)
	must(t, serve.Start())
	url, err := bufio.NewReader(out).ReadString('\n')
	must(t, err)
	if !strings.HasPrefix(url, "http://127.0.0.1:") {
		t.Errorf("%q", url)
	}
	for what, c := range map[string]*command{"serve": serve, "fsck": repair} {
		must(t, c.Process.Signal(syscall.SIGTERM))
		end := time.AfterFunc(20*time.Second, func() { c.Process.Kill() })
		_ = c.Wait()
		if !end.Stop() {
			t.Errorf("%s does not end", what)
		}
	}
	if status := repair.ProcessState.ExitCode(); status != 130 {
		t.Errorf("fsck ends with %d: %s", status, repair.err.String())
	}
	if told := serve.err.String(); !strings.Contains(told, "lock of the index") {
		t.Errorf("%s", told)
	}
}
