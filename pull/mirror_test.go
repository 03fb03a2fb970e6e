package pull_test

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/index"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
	"rebuild/pull"
)

// content returns every file below a folder that is served.
func content(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, path)
		if strings.HasPrefix(d.Name(), ".") && path != dir {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() || rel == "lock" {
			return nil
		}
		data, err := os.ReadFile(path)
		out[rel] = string(data)
		return err
	})
	must(t, err)
	return out
}

func (s *shelf) mirroring(from index.Source, to string, all ...string) pull.MirrorOptions {
	return pull.MirrorOptions{From: from, To: to, Names: all, Reading: index.Reading{Policy: s.w.LoadPolicy(), Now: attesttest.Now}}
}

func TestB23Mirror(t *testing.T) {
	for name, make := range map[string]func(testing.TB) *shelf{"unlogged": newShelf, "logged": newLoggedShelf} {
		t.Run(name, func(t *testing.T) {
			s := make(t)
			s.publish("libc@1.0.0")
			s.publish("tool@1.0.0", "libc@1.0.0")
			s.publish("unrelated@1.0.0")
			to := filepath.Join(t.TempDir(), "mirror")
			web := serve(t, s.dir)
			r, err := pull.Mirror(t.Context(), s.mirroring(web, to, "tool"))
			must(t, err)
			if !slices.Equal(r.Packages, []string{"libc", "tool"}) || len(r.Written) == 0 {
				t.Errorf("%+v", r)
			}
			s.same(to, false)
			// D19: whoever reads the mirror pulls what they would from the source.
			a, b := s.options(s.local()), s.options(index.Dir(os.DirFS(to), "the mirror"))
			_, err = pull.Pull(t.Context(), a, "tool", "")
			must(t, err)
			_, err = pull.Pull(t.Context(), b, "tool", "")
			must(t, err)
			if x, y := content(t, a.Output), content(t, b.Output); len(x) != 2 || !equal(x, y) {
				t.Error("another package comes from the mirror")
			}
			// Again: nothing is written.
			r, err = pull.Mirror(t.Context(), s.mirroring(web, to, "tool"))
			must(t, err)
			if len(r.Written) != 0 {
				t.Errorf("the second run wrote %q", r.Written)
			}
			// More is added to it.
			s.publish("tool@1.1.0", "libc@1.0.0")
			_, err = pull.Mirror(t.Context(), s.mirroring(web, to, "tool", "unrelated"))
			must(t, err)
			s.same(to, false)
		})
	}
}

func equal(a, b map[string]string) bool {
	for k, v := range a {
		if b[k] != v {
			return false
		}
	}
	return len(a) == len(b)
}

// same wants every file of the mirror to be one of the index, and with all of
// them every file to be there that is not published as a statement alone.
func (s *shelf) same(to string, all bool) {
	s.Helper()
	have, want := content(s, to), content(s, s.dir)
	for path, data := range have {
		if want[path] != data {
			s.Errorf("%s of the mirror is not that of the index", path)
		}
	}
	for path := range want {
		if _, ok := have[path]; all && !ok && !strings.Contains(path, ".p/") { // of a smaller tree
			s.Errorf("the mirror has no %s", path)
		}
	}
}

func TestB23MirrorOfEverything(t *testing.T) {
	s := newLoggedShelf(t)
	s.publish("libc@1.0.0")
	s.publish("libc@1.1.0")
	s.publish("tool@1.0.0", "libc@1.0.0")
	s.yank("libc@1.0.0", attest.ActionYank, "")
	s.yank("libc@1.1.0", attest.ActionAdvise, "CVE-2026-0001")
	web := serve(t, s.dir)
	r, err := index.NewReader(t.Context(), web, index.Reading{Policy: s.w.LoadPolicy(), Now: attesttest.Now})
	must(t, err)
	all, err := r.Packages(t.Context())
	must(t, err)
	if !slices.Equal(all, []string{"libc", "tool"}) {
		t.Errorf("%q", all)
	}
	to := filepath.Join(t.TempDir(), "mirror")
	o := s.mirroring(web, to, all...)
	o.Everything = true
	_, err = pull.Mirror(t.Context(), o)
	must(t, err)
	s.same(to, true)
	if _, err := os.Stat(filepath.Join(to, ".mirror")); err == nil {
		t.Error("the stage was left")
	}
}

// A mirror that fails shows nothing new, and one that was killed is finished by
// the next run with the same bytes.
func TestMirrorShowsOnlyWhatWasVerified(t *testing.T) {
	s := newLoggedShelf(t)
	s.publish("libc@1.0.0")
	s.publish("tool@1.0.0", "libc@1.0.0")
	to := filepath.Join(t.TempDir(), "mirror")
	web := serve(t, s.dir)
	_, err := pull.Mirror(t.Context(), s.mirroring(web, to, "tool"))
	must(t, err)
	before := content(t, to)
	s.publish("tool@1.1.0", "libc@1.0.0")
	paths := []string{}
	web.paths.Clear()
	_, err = pull.Mirror(t.Context(), s.mirroring(web, filepath.Join(t.TempDir(), "other"), "tool"))
	must(t, err)
	web.paths.Range(func(k, _ any) bool { paths = append(paths, strings.TrimPrefix(k.(string), "/")); return true })
	for _, path := range paths {
		copied := filepath.Join(t.TempDir(), "copied")
		must(t, os.CopyFS(copied, os.DirFS(to)))
		liar := serve(t, s.dir)
		liar.lie = func(p string, w http.ResponseWriter, _ *http.Request) bool {
			if p == path {
				w.Write([]byte("{}"))
			}
			return p == path
		}
		_, err := pull.Mirror(t.Context(), s.mirroring(liar, copied, "tool"))
		if _, had := before[path]; err == nil && (!had || !index.Immutable(path)) { // what it has it does not ask for
			t.Errorf("a lie about %s went through", path)
		}
		if err != nil && !equal(before, content(t, copied)) {
			t.Errorf("a lie about %s changed the mirror: %v", path, err)
		}
	}
	_, err = pull.Mirror(t.Context(), s.mirroring(web, to, "tool"))
	must(t, err)
	s.same(to, false)
}

// B23: a source that is behind, or says otherwise, does not change a mirror.
func TestMirrorOnlyAdds(t *testing.T) {
	for name, make := range map[string]func(testing.TB) *shelf{"unlogged": newShelf, "logged": newLoggedShelf} {
		t.Run(name, func(t *testing.T) {
			s := make(t)
			s.publish("tool@1.0.0")
			old := filepath.Join(t.TempDir(), "old")
			must(t, os.CopyFS(old, os.DirFS(s.dir)))
			s.publish("tool@1.1.0")
			to := filepath.Join(t.TempDir(), "mirror")
			_, err := pull.Mirror(t.Context(), s.mirroring(s.local(), to, "tool"))
			must(t, err)
			before := content(t, to)
			_, err = pull.Mirror(t.Context(), s.mirroring(index.Dir(os.DirFS(old), old), to, "tool"))
			wantCode(t, err, fault.Rollback)
			if !equal(before, content(t, to)) {
				t.Error("the mirror was changed")
			}
		})
	}
	s := newShelf(t)
	_, err := pull.Mirror(context.Background(), s.mirroring(s.local(), t.TempDir(), "absent"))
	wantCode(t, err, fault.IndexNoMatch)
	foreign := t.TempDir()
	must(t, os.WriteFile(filepath.Join(foreign, "thesis.txt"), nil, 0o644))
	_, err = pull.Mirror(context.Background(), s.mirroring(s.local(), foreign, "absent"))
	wantCode(t, err, fault.Usage)
	logged := newLoggedShelf(t)
	_, err = pull.Mirror(context.Background(), logged.mirroring(logged.local(), logged.dir, "absent"))
	wantCode(t, err, fault.Usage)
}

// A mirror that another process is at is waited for until somebody says that it is
// enough.
func TestAWaitForAMirrorCanBeEnded(t *testing.T) {
	s := newShelf(t)
	s.publish("tool@1.0.0")
	to := t.TempDir()
	unlock, err := durable.Lock(filepath.Join(to, "lock"), true)
	must(t, err)
	defer unlock()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := pull.Mirror(ctx, s.mirroring(s.local(), to, "tool")); !errors.Is(err, context.Canceled) || fault.CodeOf(err) == fault.Usage {
		t.Errorf("%v", err)
	}
}
