package stages_test

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"rebuild/internal/fault"
	"rebuild/stages"
)

// list writes a context as one line per entry.
func list(t *testing.T, s *stages.Stage) string {
	t.Helper()
	entries, err := s.Context()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for i := range entries {
		e := &entries[i]
		b.WriteString(string(e.Kind) + " " + fs.FileMode(e.Mode()).String()[1:] + " " + e.Path)
		if e.Kind == stages.Link {
			b.WriteString(" -> " + e.Target)
		}
		if e.Source != nil {
			b.WriteString(" = " + string(e.Source.Name))
		}
		b.WriteString("\n")
	}
	return b.String()
}

const withContext = head + "context = \"src\"\n"

func TestContextIgnores(t *testing.T) {
	files := []string{
		"src/a.c", "", "src/b.o", "", "src/d/x.o", "", "src/d/keep.o", "", "src/d/e/y", "", "src/z/only.o", "",
	}
	for title, c := range map[string]struct {
		ignore []string // path, content pairs
		want   string
	}{
		"nothing":         {nil, "a.c b.o d d/e d/e/y d/keep.o d/x.o z z/only.o"},
		"by name":         {[]string{"src/.dockerignore", "**/*.o\n"}, ".dockerignore a.c d d/e d/e/y z"},
		"a folder":        {[]string{"src/.dockerignore", "d\n"}, ".dockerignore a.c b.o z z/only.o"},
		"with exception":  {[]string{"src/.dockerignore", "# comment\nd\n!d/keep.o\n"}, ".dockerignore a.c b.o d d/keep.o z z/only.o"},
		"deep exception":  {[]string{"src/.dockerignore", "*\n!d/e/y\n"}, "d d/e d/e/y"},
		"itself":          {[]string{"src/.dockerignore", ".dockerignore\n/b.o\n"}, "a.c d d/e d/e/y d/keep.o d/x.o z z/only.o"},
		"beside the file": {[]string{"Containerfile.dockerignore", "*.o\n", "src/.dockerignore", "*\n"}, ".dockerignore a.c d d/e d/e/y d/keep.o d/x.o z z/only.o"},
		"empty one wins":  {[]string{"Containerfile.dockerignore", "", "src/.dockerignore", "*\n"}, ".dockerignore a.c b.o d d/e d/e/y d/keep.o d/x.o z z/only.o"},
	} {
		t.Run(title, func(t *testing.T) {
			s := load(t, folder(withContext, append(c.ignore, files...)...))
			entries, err := s.Context()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, e := range entries {
				got = append(got, e.Path)
			}
			if g := strings.Join(got, " "); g != c.want {
				t.Errorf("got  %s\nwant %s", g, c.want)
			}
		})
	}
}

// A build must see the same context whatever umask and owner a checkout has.
func TestContextModes(t *testing.T) {
	m := folder(withContext, "src/plain", "", "src/run", "", "src/d/f", "")
	m["src/plain"].Mode = 0o664
	m["src/run"].Mode = 0o4700
	m["src/d"] = &fstest.MapFile{Mode: fs.ModeDir | 0o700}
	m["src/to"] = &fstest.MapFile{Data: []byte("../../etc"), Mode: fs.ModeSymlink | 0o700}
	want := "d rwxr-xr-x d\nf rw-r--r-- d/f\nf rw-r--r-- plain\nf rwxr-xr-x run\nl rwxrwxrwx to -> ../../etc\n"
	if got := list(t, load(t, m)); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestContextOfTheWholeFolder(t *testing.T) {
	s := load(t, folder(head+"context = \".\"\n", "a", "", "d/stage.toml", ""))
	want := "f rw-r--r-- Containerfile\nf rw-r--r-- a\nd rwxr-xr-x d\nf rw-r--r-- d/stage.toml\n"
	if got := list(t, s); got != want {
		t.Errorf("stage.toml must not be in it, so that a corrected URL is no other build\ngot\n%s", got)
	}
}

const into = "[[source]]\nname = \"a\"\ndigest = \"" + digestA + "\"\nsize = 9\ninto = \"fetch/x/a.tar\"\n"

func TestContextWithSource(t *testing.T) {
	m := folder(withContext+into, "src/fetch/readme", "", "src/.dockerignore", "fetch/x\n")
	want := "f rw-r--r-- .dockerignore\nd rwxr-xr-x fetch\nf rw-r--r-- fetch/readme\nd rwxr-xr-x fetch/x\nf rw-r--r-- fetch/x/a.tar = a\n"
	if got := list(t, load(t, m)); got != want {
		t.Errorf("got\n%s", got)
	}
	if got := list(t, load(t, folder(head+into))); got != "d rwxr-xr-x fetch\nd rwxr-xr-x fetch/x\nf rw-r--r-- fetch/x/a.tar = a\n" {
		t.Errorf("without own files\n%s", got)
	}
}

func TestContextRefuses(t *testing.T) {
	for title, c := range map[string]struct {
		fsys fstest.MapFS
		file string
		line int
		part string
	}{
		"source on a file":   {folder(withContext+into, "src/fetch/x/a.tar", ""), "hello/stage.toml", 8, "a file of its own"},
		"source below file":  {folder(withContext+into, "src/fetch", ""), "hello/stage.toml", 8, "not a folder"},
		"bad ignore pattern": {folder(withContext, "src/.dockerignore", "a[\n"), "hello/src/.dockerignore", 0, ""},
		"bad exclusion":      {folder(withContext, "src/.dockerignore", "!\n"), "hello/src/.dockerignore", 0, ""},
		"ignore file too large": {folder(withContext, "src/.dockerignore", strings.Repeat("a\n", 64<<10)),
			"hello/src/.dockerignore", 0, "larger than"},
	} {
		t.Run(title, func(t *testing.T) {
			_, err := load(t, c.fsys).Context()
			wantFault(t, err, fault.Semantic, c.file, c.line, c.part)
		})
	}
}

func TestContextOnDisk(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"stage.toml": withContext, "Containerfile": "FROM scratch\n", "src/a": "hi"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/hostname", filepath.Join(dir, "src/link")); err != nil {
		t.Fatal(err)
	}
	s := load(t, os.DirFS(dir))
	if got := list(t, s); got != "f rw-r--r-- a\nl rwxrwxrwx link -> /etc/hostname\n" {
		t.Errorf("got\n%s", got)
	}
	entries, err := s.Context()
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.OpenContext(&entries[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if b, err := io.ReadAll(f); err != nil || string(b) != "hi" {
		t.Errorf("%q %v", b, err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "src/pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = s.Context()
	wantFault(t, err, fault.Semantic, "hello/src/pipe", 0, "neither a file")
}

// Every shipped recipe loads, and gives the same context from the program as
// from the checkout it was built from.
func TestBuiltinEqualsFolder(t *testing.T) {
	entries, err := fs.ReadDir(stages.Builtin(), ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		if _, err := fs.Stat(stages.Builtin(), e.Name()+"/pipeline.toml"); err == nil {
			continue // a pipeline of these stages, which LoadFS reads
		}
		embedded, err := stages.Load(stages.Builtin(), e.Name(), "builtin:"+e.Name())
		if err != nil {
			t.Error(err)
			continue
		}
		if string(embedded.Name) != e.Name() {
			t.Errorf("recipe %s calls itself %s", e.Name(), embedded.Name)
		}
		onDisk, err := stages.Load(os.DirFS("."), e.Name(), e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if a, b := list(t, embedded), list(t, onDisk); a != b {
			t.Errorf("%s: embedded\n%son disk\n%s", e.Name(), a, b)
		}
	}
}
