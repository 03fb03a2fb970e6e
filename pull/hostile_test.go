package pull_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"rebuild/index"
	"rebuild/internal/fault"
	"rebuild/pull"
	"rebuild/store"
)

// A stage that a pull finds is emptied before it is used: a link of its name
// must not empty another folder, and neither must a file be taken for one.
func TestPullIntoWhatSomebodyElsePrepared(t *testing.T) {
	s := newShelf(t)
	s.publish("libc@1.0.0")
	for name, prepare := range map[string]func(stage, other string) error{
		"link to a folder": func(stage, other string) error { return os.Symlink(other, stage) },
		"link to nothing":  func(stage, other string) error { return os.Symlink(other+"/new", stage) },
		"file":             func(stage, _ string) error { return os.WriteFile(stage, nil, 0o644) },
		"fifo":             func(stage, _ string) error { return syscall.Mkfifo(stage, 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			o := s.options(s.local())
			other := t.TempDir()
			must(t, os.WriteFile(filepath.Join(other, "precious"), []byte("kept"), 0o644))
			must(t, os.MkdirAll(filepath.Dir(o.Output), 0o755))
			must(t, prepare(filepath.Join(filepath.Dir(o.Output), ".packages.pull"), other))
			_, err := pull.Pull(t.Context(), o, "libc", "")
			wantCode(t, err, fault.Usage)
			if data, err := os.ReadFile(filepath.Join(other, "precious")); err != nil || string(data) != "kept" {
				t.Errorf("%q, %v", data, err)
			}
			if _, err := os.Lstat(o.Output); !errors.Is(err, os.ErrNotExist) {
				t.Error("there is an output")
			}
		})
	}
	// What a killed pull left in its own stage is swept, links in it too, which
	// are not followed.
	o := s.options(s.local())
	other, stage := t.TempDir(), filepath.Join(filepath.Dir(o.Output), ".packages.pull")
	must(t, os.WriteFile(filepath.Join(other, "precious"), nil, 0o644))
	must(t, os.MkdirAll(stage, 0o755))
	must(t, os.Symlink(other, filepath.Join(stage, "libc-1.0.0.tar")))
	_, err := pull.Pull(t.Context(), o, "libc", "")
	must(t, err)
	if _, err := os.Stat(filepath.Join(other, "precious")); err != nil {
		t.Error(err)
	}
}

// An output holds what was verified, whatever is in the cache by the time that
// it is laid out, and whatever other pulls write there later.
func TestPullSharesNoBytesWithTheCache(t *testing.T) {
	s := newShelf(t)
	s.publish("small@1.0.0")
	s.publishLarge("large@1.0.0")
	for _, name := range []string{"small", "large"} {
		t.Run(name, func(t *testing.T) { sharesNoBytes(t, s, name) })
	}
}

func sharesNoBytes(t *testing.T, s *shelf, what string) {
	for name, swap := range map[string]func(file string) error{
		"another content":  func(file string) error { return os.WriteFile(file, []byte("evil"), 0o644) },
		"cut":              func(file string) error { return os.Truncate(file, 100) },
		"gone":             os.Remove,
		"a link to a file": func(file string) error { return errors.Join(os.Remove(file), os.Symlink("/etc/passwd", file)) },
		"a fifo":           func(file string) error { return errors.Join(os.Remove(file), syscall.Mkfifo(file, 0o644)) },
	} {
		for _, unpack := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " ", unpack), func(t *testing.T) {
				folder := filepath.Join(t.TempDir(), "pulls")
				o := s.options(s.local())
				s.through(&o, pull.NewCache(s.local(), folder))
				if unpack {
					trees, err := store.Open(t.TempDir())
					must(t, err)
					o.Trees = trees
				}
				o.Events = func(e pull.Event) {
					if e.State == pull.Verified {
						held, err := os.ReadDir(folder)
						must(t, err)
						must(t, swap(filepath.Join(folder, held[0].Name())))
					}
				}
				r, err := pull.Pull(t.Context(), o, what, "")
				if err != nil { // refused is as good, unless it is laid out
					if _, there := os.Lstat(o.Output); there == nil {
						t.Errorf("%v, and there is an output", err)
					}
					if name != "a fifo" {
						t.Error(err)
					}
					return
				}
				if unpack {
					_, err := os.Stat(filepath.Join(o.Output, r.Files[0], "rebuild.package.json"))
					must(t, err)
					return
				}
				data, err := os.ReadFile(filepath.Join(o.Output, r.Files[0]))
				must(t, err)
				if store.DigestOf(data).Hex() != r.Verified[0].Cksum {
					t.Errorf("%d other bytes", len(data))
				}
			})
		}
	}
}

// cutSource gives out the beginning of an archive, or other bytes.
type cutSource struct {
	index.Source
	cut int
}

func (c cutSource) Get(ctx context.Context, path string, limit int64, fresh bool) ([]byte, error) {
	data, err := c.Source.Get(ctx, path, limit, fresh)
	if strings.HasPrefix(path, "objects/") && len(data) > 8_000 {
		data = append(data[:min(c.cut, len(data)):min(c.cut, len(data))], "evil"...)
	}
	return data, err
}

// Pulls from an honest index and from a lying one share a cache. Those from the
// honest one succeed, and their outputs stay as they are.
func TestPullsBesideALyingOne(t *testing.T) {
	s := newShelf(t)
	s.publish("small@1.0.0")
	s.publishLarge("large@1.0.0")
	for _, name := range []string{"small", "large"} {
		t.Run(name, func(t *testing.T) { besideALyingOne(t, s, name) })
	}
}

func besideALyingOne(t *testing.T, s *shelf, what string) {
	folder := filepath.Join(t.TempDir(), "pulls")
	var wait sync.WaitGroup
	outputs := make(chan string, 100)
	for i := range 12 {
		o := s.options(s.local())
		source := s.local()
		if lies := i%3 == 2; lies {
			source = cutSource{source, 5000}
		}
		s.through(&o, pull.NewCache(source, folder))
		o.Output = filepath.Join(t.TempDir(), fmt.Sprint(i), "out")
		wait.Add(1)
		go func() {
			defer wait.Done()
			r, err := pull.Pull(context.Background(), o, what, "")
			if i%3 == 2 {
				return // fails, or finds the archive in the cache
			}
			if err != nil {
				t.Error(err)
				return
			}
			outputs <- filepath.Join(o.Output, r.Files[0]) + " " + r.Verified[0].Cksum
		}()
	}
	wait.Wait()
	close(outputs)
	for line := range outputs {
		file, sum, _ := strings.Cut(line, " ")
		data, err := os.ReadFile(file)
		must(t, err)
		if store.DigestOf(data).Hex() != sum {
			t.Errorf("%s has other bytes now", file)
		}
	}
	if held, _ := filepath.Glob(filepath.Join(folder, ".part-*")); len(held) > 0 {
		t.Errorf("left: %v", held)
	}
}

// Pulls into one output at the same time: each ends with the output whole or
// with an error that says so, and nothing is left beside it.
func TestPullsIntoOneOutput(t *testing.T) {
	s := newShelf(t)
	s.publish("libc@1.0.0")
	s.publish("tool@1.0.0", "libc@1.0.0")
	output := filepath.Join(t.TempDir(), "out", "packages")
	var wait sync.WaitGroup
	done := make([]error, 16)
	for i := range done {
		o := s.options(s.local())
		o.Output = output
		wait.Add(1)
		go func() {
			defer wait.Done()
			_, done[i] = pull.Pull(context.Background(), o, "tool", "")
		}()
	}
	wait.Wait()
	taken := 0
	for _, err := range done {
		if err == nil {
			taken++
		} else {
			wantCode(t, err, fault.Usage)
		}
	}
	held, err := os.ReadDir(filepath.Dir(output))
	must(t, err)
	if files, _ := os.ReadDir(output); taken == 0 || len(files) != 2 || len(held) != 1 {
		t.Errorf("%d pulls, %v, %v", taken, files, held)
	}
}

// unreachable is a source that gives out nothing.
type unreachable struct{ index.Source }

func (unreachable) Get(context.Context, string, int64, bool) ([]byte, error) {
	return nil, fault.New(fault.IndexFetch, "nobody answers")
}

// A mirror that was cut while it showed an update, between any two files, is
// made whole by the next run, even one whose source does not answer; one that was
// cut before keeps what it had.
func TestB23CutMirrorsAreFinished(t *testing.T) {
	s := newLoggedShelf(t)
	s.publish("libc@1.0.0")
	s.publish("tool@1.0.0", "libc@1.0.0")
	old := filepath.Join(t.TempDir(), "old")
	_, err := pull.Mirror(t.Context(), s.mirroring(s.local(), old, "tool"))
	must(t, err)
	s.publish("tool@1.1.0", "libc@1.0.0")
	whole := filepath.Join(t.TempDir(), "whole")
	must(t, os.CopyFS(whole, os.DirFS(old)))
	r, err := pull.Mirror(t.Context(), s.mirroring(s.local(), whole, "tool"))
	must(t, err)
	before, after := content(t, old), content(t, whole)
	if len(r.Written) < 10 {
		t.Fatalf("%q", r.Written)
	}
	put := func(dir, path string) {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o755))
		must(t, os.WriteFile(filepath.Join(dir, path), []byte(after[path]), 0o644))
	}
	mismatched := 0
	for cut := range len(r.Written) + 1 {
		for _, marked := range []bool{true, false} {
			if !marked && cut > 0 {
				continue // nothing is shown before the mark
			}
			to := filepath.Join(t.TempDir(), "mirror")
			must(t, os.CopyFS(to, os.DirFS(old)))
			must(t, os.MkdirAll(filepath.Join(to, ".mirror"), 0o755))
			for i, path := range r.Written {
				if i < cut {
					put(to, path)
				} else {
					put(filepath.Join(to, ".mirror"), path)
				}
			}
			want := before
			if marked {
				want = after
				must(t, os.WriteFile(filepath.Join(to, ".mirror", ".show"), nil, 0o644))
			}
			reading := s.mirroring(nil, to).Reading
			reader, err := index.NewReader(t.Context(), index.Dir(os.DirFS(to), to), reading)
			if err == nil {
				_, err = reader.Entries(t.Context(), "tool")
			}
			if err != nil {
				mismatched++
				wantCode(t, err, fault.ViewMismatch)
			}
			_, err = pull.Mirror(t.Context(), s.mirroring(unreachable{s.local()}, to, "tool"))
			wantCode(t, err, fault.IndexFetch)
			if !equal(want, content(t, to)) {
				t.Errorf("cut after %d files (marked %v): the mirror is neither what it was nor whole", cut, marked)
			}
			_, err = pull.Mirror(t.Context(), s.mirroring(s.local(), to, "tool"))
			must(t, err)
			if _, err := os.Lstat(filepath.Join(to, ".mirror")); !equal(after, content(t, to)) || err == nil {
				t.Errorf("cut after %d files: repeated, it is another mirror", cut)
			}
		}
	}
	if mismatched == 0 {
		t.Error("no cut was between files that have to fit")
	}
}

// Somebody else's link in the place of the stage moves nothing into the mirror.
func TestMirrorStageIsNoLink(t *testing.T) {
	s := newShelf(t)
	s.publish("libc@1.0.0")
	to, other := filepath.Join(t.TempDir(), "mirror"), t.TempDir()
	must(t, os.MkdirAll(to, 0o755))
	must(t, os.WriteFile(filepath.Join(other, "head"), []byte("evil"), 0o644))
	must(t, os.WriteFile(filepath.Join(other, ".show"), nil, 0o644))
	must(t, os.Symlink(other, filepath.Join(to, ".mirror")))
	_, err := pull.Mirror(t.Context(), s.mirroring(s.local(), to, "libc"))
	wantCode(t, err, fault.Usage)
	if _, err := os.Lstat(filepath.Join(to, "head")); err == nil {
		t.Error("a file was moved into the mirror")
	}
	if _, err := os.Stat(filepath.Join(other, "head")); err != nil {
		t.Error(err)
	}
}
