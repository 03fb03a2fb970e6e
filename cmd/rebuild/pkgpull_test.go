package main

import (
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"rebuild/store"
)

// webserver DIR serves a folder as any web server would, and sets $WEB.
func webserver(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: webserver DIR")
	}
	s := httptest.NewServer(http.FileServer(http.Dir(ts.MkAbs(args[0]))))
	ts.Defer(s.Close)
	ts.Setenv("WEB", s.URL+"/")
}

// tlsserver DIR serves a folder over https, sets $WEB, and leaves the certificate
// in the file cert.pem.
func tlsServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: tlsserver DIR")
	}
	s := httptest.NewUnstartedServer(http.FileServer(http.Dir(ts.MkAbs(args[0]))))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	ts.Defer(s.Close)
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	ts.Check(os.WriteFile(ts.MkAbs("cert.pem"), cert, 0o644))
	ts.Setenv("WEB", s.URL+"/")
}

// swapobject INDEX NAME puts other bytes in the place of the archive of a
// package's only version.
func swapobject(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: swapobject INDEX NAME")
	}
	line := ts.ReadFile(filepath.Join(args[0], args[1][:2], args[1][2:4], args[1]))
	_, cksum, ok := strings.Cut(line, `"cksum":"`)
	if !ok || strings.Count(line, "\n") != 1 {
		ts.Fatalf("%q is not one line", line)
	}
	ts.Check(os.WriteFile(ts.MkAbs(filepath.Join(args[0], "objects/sha256", cksum[:64])), []byte("other bytes"), 0o644))
}

// advise FILE gives every line of an index file an advisory.
func advise(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: advise FILE")
	}
	text := strings.ReplaceAll(ts.ReadFile(args[0]), `{"assurance"`, `{"advisories":["CVE-2026-0001"],"assurance"`)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o644))
}

// shelf makes an index of two packages, one of which needs the other, from the
// cast, and returns the folder that everything is in.
func shelf(t *testing.T) string {
	t.Helper()
	from, dir := cast(t), t.TempDir()
	if err := copyMissing(dir, from); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"north", "south"} {
		in := func(file string) string { return filepath.Join(dir, file) }
		c := rebuild(t, "attest", "--pipeline", dir, "--state", in(name), "--operator", name, "--key", in("keys/"+name+".key"), "--out", in("results"))
		c.must(t)
	}
	libc := strings.Replace(castPackage, `"hello"`, `"libc"`, 1)
	tool := strings.NewReplacer(`"hello"`, `"tool"`, "meta =", "depends = { libc = \"*\" }\nmeta =").Replace(castPackage)
	for _, text := range []string{libc, tool} {
		write(t, filepath.Join(dir, "package.toml"), []byte(text))
		if err := os.RemoveAll(filepath.Join(dir, "out")); err != nil {
			t.Fatal(err)
		}
		rebuild(t, releaseArgs(dir)...).must(t)
	}
	return dir
}

// slow serves a folder, each file after a moment, so that a kill comes between
// two of them.
func slow(t *testing.T, dir string) string {
	t.Helper()
	files := http.FileServer(http.Dir(dir))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(3 * time.Millisecond)
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL + "/"
}

// contentOf describes the files below a folder that do not begin with a dot.
func contentOf(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if path != dir && strings.HasPrefix(d.Name(), ".") {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.Type().IsRegular() && d.Name() != "lock" {
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "%s %s\n", strings.TrimPrefix(path, dir), store.DigestOf(data))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A pull or a mirror that is killed at any moment shows all or nothing of the
// output, and the next run ends in the same bytes (B5, B23).
func TestB5KilledTransfersAreRepeated(t *testing.T) {
	t.Parallel()
	dir := shelf(t)
	web := slow(t, filepath.Join(dir, "index"))
	policy := filepath.Join(dir, "policy.toml")
	for name, args := range map[string]func(out string) []string{
		"pull": func(out string) []string {
			return []string{"pkg", "pull", "tool", "--index", web, "--policy", policy, "--output", out}
		},
		"unpack": func(out string) []string {
			return []string{"pkg", "pull", "tool", "--index", web, "--policy", policy, "--output", out, "--unpack", "--bundles"}
		},
		"mirror": func(out string) []string {
			return []string{"pkg", "mirror", "tool", "--from", web, "--to", out, "--policy", policy}
		},
	} {
		t.Run(name, func(t *testing.T) {
			whole := filepath.Join(t.TempDir(), "whole")
			began := time.Now()
			rebuild(t, args(whole)...).must(t)
			took := time.Since(began)
			want := contentOf(t, whole)
			for i := range 24 {
				out := filepath.Join(t.TempDir(), "out")
				c := rebuild(t, args(out)...)
				if err := c.Start(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(took * time.Duration(i+1) / 24)
				c.Process.Kill()
				c.Wait()
				got := contentOf(t, out)
				if name != "mirror" && got != "" && got != want {
					t.Errorf("a pull killed after %d/24 shows\n%s", i+1, got)
				}
				again := rebuild(t, args(out)...)
				again.Env = c.Env // the same state root
				again.must(t)
				if got := contentOf(t, out); got != want {
					t.Errorf("killed after %d/24 and repeated:\n%swant\n%s", i+1, got, want)
				}
				if held, _ := os.ReadDir(filepath.Dir(out)); len(held) != 1 {
					t.Errorf("beside the output: %v", held)
				}
			}
		})
	}
}
