package folder

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"rebuild/internal/fault"
)

// A folder of 10,000 files that no inventory lists is compared in the time that
// reading it takes.
func TestManyFiles(t *testing.T) {
	dir := t.TempDir()
	for i := range 10_000 {
		if i%1000 == 0 {
			if err := os.Mkdir(filepath.Join(dir, fmt.Sprint(i/1000)), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i/1000), fmt.Sprint(i)), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	f, err := Read(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if failures := f.Compare(nil); len(failures) != 10_010 {
		t.Errorf("%d differences", len(failures))
	}
	if took := time.Since(began); took > 60*time.Second {
		t.Errorf("took %s", took)
	}
}

// What changes under the reader's eyes is refused, not read half.
func TestFilesThatChange(t *testing.T) {
	for name, change := range map[string]func(path string) error{
		"longer":  func(p string) error { return os.WriteFile(p, []byte("longer than before"), 0o644) },
		"shorter": func(p string) error { return os.Truncate(p, 1) },
		"a pipe":  func(p string) error { os.Remove(p); return syscall.Mkfifo(p, 0o644) },
		"a link": func(p string) error {
			os.Remove(p)
			return os.Symlink("/etc/passwd", p)
		},
		"another file": func(p string) error {
			os.Remove(p)
			return os.WriteFile(p, []byte("other"), 0o644)
		},
		"another mode": func(p string) error { return os.Chmod(p, 0o755) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			p := filepath.Join(dir, "file")
			if err := os.WriteFile(p, []byte("as it"), 0o644); err != nil {
				t.Fatal(err)
			}
			root, err := openRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer root.Close()
			f := &Folder{dir: dir, root: root, leaders: map[inode]string{}}
			info, err := root.Lstat("file")
			if err != nil {
				t.Fatal(err)
			}
			if err := f.unchanged("file", info); err != nil {
				t.Fatal(err)
			}
			if err := change(p); err != nil {
				t.Fatal(err)
			}
			if err := f.unchanged("file", info); fault.CodeOf(err) != fault.Structure {
				t.Errorf("taken: %v", err)
			}
		})
	}
}

// Whoever interrupts the reading of a long file does not wait for its end.
func TestReadingIsInterrupted(t *testing.T) {
	dir := t.TempDir()
	p := filepath.Join(dir, "hole")
	if err := os.WriteFile(p, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(p, maxFile); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := Read(ctx, dir); err == nil {
		t.Error("read")
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %s", took)
	}
}
