package pipeline_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"rebuild/internal/fault"
	"rebuild/pipeline"
)

const (
	amd64 = "linux/amd64"
	head  = "schema_version = \"rebuild.pipeline@1.0.0\"\nname = \"demo\"\n" // two lines
	rest  = "platforms = [\"linux/amd64\"]\nstages = [\"a\"]\ntargets = [\"a\"]\n"
)

// now is the time in tests: long after the files were written, so that they
// are not too young to be remembered.
var now = time.Now().Add(time.Hour)

func clock() time.Time { return now }

// write puts a txtar archive into a new folder. A Containerfile is added to
// each folder with a stage.toml, unless there is one.
func write(t testing.TB, archive string) string {
	t.Helper()
	dir := t.TempDir()
	put(t, dir, archive)
	return dir
}

func put(t testing.TB, dir, archive string) {
	t.Helper()
	files := map[string][]byte{}
	for _, f := range txtar.Parse([]byte(archive)).Files {
		files[f.Name] = f.Data
		if filepath.Base(f.Name) == "stage.toml" {
			file := filepath.Join(filepath.Dir(f.Name), "Containerfile")
			if files[file] == nil {
				files[file] = []byte("FROM scratch\n")
			}
		}
	}
	for name, data := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// stage is a stage folder of an archive. lines follow schema_version, which is
// line 1, and name, which is line 2.
func stage(name string, lines ...string) string {
	return "-- " + name + "/stage.toml --\nschema_version = \"rebuild.stage@1.0.0\"\nname = \"" + name + "\"\n" + strings.Join(lines, "\n") + "\n"
}

var builtin fs.FS = fstest.MapFS{
	"shipped/stage.toml":    {Data: []byte("schema_version = \"rebuild.stage@1.0.0\"\nname = \"shipped\"\ncontext = \"src\"\n")},
	"shipped/Containerfile": {Data: []byte("FROM scratch\n")},
	"shipped/src/a":         {Data: []byte("a")},
	"pipeline.toml":         {Data: []byte(head + "platforms = [\"linux/386\", \"linux/amd64\"]\nstages = [\"shipped\"]\ntargets = [\"shipped\"]\n")},
}

func load(t testing.TB, dir string) *pipeline.Pipeline {
	t.Helper()
	p, err := pipeline.Load(dir, "", builtin)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func plan(t testing.TB, dir string) *pipeline.Plan {
	t.Helper()
	p := load(t, dir)
	lock, err := p.ReadLock()
	if err != nil {
		t.Fatal(err)
	}
	plan, err := p.Plan(p.Platforms[0], pipeline.PlanOptions{Lock: lock, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func wantFault(t testing.TB, err error, code fault.Code, file string, line int, part string) {
	t.Helper()
	var e *fault.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want %s", err, code)
	}
	if e.Code != code || e.File != file || e.Line != line || !strings.Contains(e.Message, part) {
		t.Fatalf("got [%s] %v\nwant [%s] %s:%d with %q", e.Code, e, code, file, line, part)
	}
	if strings.Contains(e.Message, "\n") {
		t.Errorf("more than one line: %q", e.Message)
	}
}
