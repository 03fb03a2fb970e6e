package pipeline_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/store"
)

func fifo(t *testing.T, path string) {
	t.Helper()
	os.Remove(path)
	if err := syscall.Mkfifo(path, 0o644); err != nil {
		t.Fatal(err)
	}
}

// A named pipe that nobody writes to must not stop a command for ever, and a
// file without an end must not fill the memory.
func TestOnlyRegularFilesAreRead(t *testing.T) {
	dir := write(t, whole)
	for _, c := range []struct {
		name string
		code fault.Code
		read func() error
	}{
		{"rebuild.lock", fault.LockMissing, func() error { _, err := load(t, dir).ReadLock(); return err }},
		{"pipeline.toml", fault.Structure, func() error { _, err := pipeline.Load(dir, "", nil); return err }},
	} {
		fifo(t, filepath.Join(dir, c.name+".pipe"))
		file := filepath.Join(dir, c.name)
		for _, target := range []string{c.name + ".pipe", "/dev/zero"} {
			os.Remove(file)
			if err := os.Symlink(target, file); err != nil {
				t.Fatal(err)
			}
			if err := c.read(); fault.CodeOf(err).Exit() != c.code.Exit() || !strings.Contains(err.Error(), "not a regular file") {
				t.Errorf("%s as %s: [%s] %v", c.name, target, fault.CodeOf(err), err)
			}
		}
		os.Remove(file)
		put(t, dir, whole)
	}
}

func TestFilesOfTheStateRootAreBounded(t *testing.T) {
	state := t.TempDir()
	file := filepath.Join(state, "runs", store.Digest(digestA).Hex()+".json")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 1<<40); err != nil { // a hole; reading it all would take forever
		t.Fatal(err)
	}
	if _, err := pipeline.ReadReport(state, digestA); fault.CodeOf(err).Exit() != 31 {
		t.Errorf("%v", err)
	}
	r := newRoom(t, diamondStages())
	a, _ := r.mustRun().Stage("a")
	if err := os.Truncate(filepath.Join(r.state, "stages", a.Key.Hex()+".json"), 1<<40); err != nil {
		t.Fatal(err)
	}
	r.mustRun()
	if r.solved() != "[a]" {
		t.Errorf("solved %s", r.solved())
	}
}

func TestFetchTakesNoPipe(t *testing.T) {
	for _, url := range []string{"../x", "file://"} {
		dir := t.TempDir()
		fifo(t, filepath.Join(dir, "x"))
		if url == "file://" {
			url += dir + "/x"
		}
		put(t, dir, "-- pipeline.toml --\n"+head+rest+stage("a", "inputs = [\"source/s\"]", "[[source]]", "name = \"s\"",
			"digest = \""+string(store.DigestOf([]byte("x")))+"\"", "size = 1", "urls = [\""+url+"\"]"))
		r := &fetchRoom{room: newRoom(t, "")}
		r.dir = dir
		_, err := r.fetch()
		wantFault(t, err, fault.IndexFetch, "a/stage.toml", 4, "not a regular file")
	}
}
