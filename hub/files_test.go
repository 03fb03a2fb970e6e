package hub

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rebuild/internal/fault"
	"rebuild/store"
)

// folder is an index as a set of files, whatever they say.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for path, text := range files {
		put(t, dir, path, text)
	}
	if files["config.json"] == "" {
		put(t, dir, "config.json", "{}")
	}
	return dir
}

func put(t testing.TB, dir, path, text string) {
	t.Helper()
	full := filepath.Join(dir, path)
	must(t, os.MkdirAll(filepath.Dir(full), 0o755))
	must(t, os.WriteFile(full+".new", []byte(text), 0o644))
	must(t, os.Rename(full+".new", full))
}

// serve serves a folder until the test ends.
func serve(t testing.TB, dir string, o FilesOptions) string {
	t.Helper()
	if o.Wall == nil {
		o.Wall = time.Now
	}
	f, err := OpenFiles(dir, o)
	must(t, err)
	return start(t, Service{Handler: f, Wall: time.Now}, func() { must(t, f.Close()) })
}

func etagOf(text string) string { return `"` + store.DigestOf([]byte(text)).Hex() + `"` }

func TestA29_FilesOfAnIndex(t *testing.T) {
	hex := strings.Repeat("0a", 32)
	const forever, minute = "public, max-age=31536000, immutable", "public, max-age=60"
	cases := []struct{ path, kind, cache string }{
		{"config.json", "application/json", minute},
		{"checkpoint", "text/plain; charset=utf-8", minute},
		{"head", "text/plain; charset=utf-8", minute},
		{"1/a", "application/jsonl", minute},
		{"2/ab", "application/jsonl", minute},
		{"3/a/abc", "application/jsonl", minute},
		{"he/ll/hello", "application/jsonl", minute},
		{"~org/he/ll/hello", "application/jsonl", minute},
		{"~o/1/a", "application/jsonl", minute},
		{"view/root", "application/json", minute},
		{"view/ab", "application/json", minute},
		{"view/ab12", "application/json", minute},
		{"entries.json", "application/json", minute},
		{"pubkeys.json", "application/json", minute},
		{"statements/" + hex + ".dsse.json", "application/json", minute},
		{"objects/sha256/" + hex, "application/octet-stream", forever},
		{"tile/0/000", "application/octet-stream", forever},
		{"tile/0/x001/x234/067", "application/octet-stream", forever},
		{"tile/entries/000", "application/octet-stream", forever},
		{"tile/entries/001.p/17", "application/octet-stream", minute},
		{"tile/1/000.p/1", "application/octet-stream", minute},
		{"chains/index.jsonl", "application/jsonl", minute},
		{"chains/plan/" + hex + ".jsonl", "application/jsonl", minute},
		{"chains/pkg/he/ll/hello.jsonl", "application/jsonl", minute},
		{"chains/policy/demo.jsonl", "application/jsonl", minute},
	}
	files := map[string]string{}
	for _, c := range cases {
		files[c.path] = "content of " + c.path
	}
	url := serve(t, folder(t, files), FilesOptions{})
	for _, c := range cases {
		want := files[c.path]
		got := ask(t, "GET", url+"/"+c.path, nil)
		h := got.Header
		if got.StatusCode != 200 || string(got.body) != want || h.Get("ETag") != etagOf(want) || h.Get("Content-Type") != c.kind ||
			h.Get("Cache-Control") != c.cache || h.Get("X-Content-Type-Options") != "nosniff" || got.ContentLength != int64(len(want)) {
			t.Errorf("%s: %d %v %q", c.path, got.StatusCode, h, got.body)
		}
		if head := ask(t, "HEAD", url+"/"+c.path, nil); head.StatusCode != 200 || len(head.body) != 0 || head.ContentLength != int64(len(want)) || head.Header.Get("ETag") != etagOf(want) {
			t.Errorf("HEAD %s: %d %v", c.path, head.StatusCode, head.Header)
		}
		for _, match := range []string{etagOf(want), `"other", ` + etagOf(want), "W/" + etagOf(want), "*"} {
			if again := ask(t, "GET", url+"/"+c.path, nil, "If-None-Match", match); again.StatusCode != 304 || len(again.body) != 0 || again.Header.Get("ETag") != etagOf(want) {
				t.Errorf("%s with %s: %d", c.path, match, again.StatusCode)
			}
		}
		if other := ask(t, "GET", url+"/"+c.path, nil, "If-None-Match", `"other"`); other.StatusCode != 200 {
			t.Errorf("%s: %d", c.path, other.StatusCode)
		}
	}
}

// Nothing but an index comes out of its folder, whatever is in it and however
// it is asked for.
func TestOnlyTheIndexIsServed(t *testing.T) {
	hex := strings.Repeat("0a", 32)
	outside := filepath.Join(t.TempDir(), "secret")
	must(t, os.WriteFile(outside, []byte("secret"), 0o600))
	dir := folder(t, map[string]string{
		".state/treeState": "x", ".staged": "x", "lock": "x", "private.key": "x", "he/ll/.tmp-1": "x", "objects/sha256/.tmp-1": "x", "he/ll/HELLO": "x",
		"he/ll/hello": "fine", "he/ll/other": "in the wrong place", "tile/0/000": "x", "index.html": "x", "~org/.x/1/a": "x",
	})
	must(t, os.Symlink(outside, filepath.Join(dir, "head")))
	must(t, os.Symlink(filepath.Dir(outside), filepath.Join(dir, "view")))
	must(t, os.MkdirAll(filepath.Join(dir, "objects/sha256", hex), 0o755))
	must(t, syscall.Mkfifo(filepath.Join(dir, "checkpoint"), 0o644))
	url := serve(t, dir, FilesOptions{})
	for _, path := range []string{
		"", "/", "/.", "/..", "/../", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/he/ll/../ll/hello", "/he//ll/hello", "//he/ll/hello", "/he/ll/hello/",
		"/he/ll/%2e%2e/ll/hello", "/he%2fll%2fhello", "/he/ll/hel%6co", "/he/ll/hello%00", "/he\\ll\\hello", "/.state/treeState", "/.staged", "/lock", "/private.key",
		"/he/ll/.tmp-1", "/objects/sha256/.tmp-1", "/he/ll/HELLO", "/he/ll/other", "/index.html", "/he/ll", "/he", "/objects/sha256", "/objects/sha256/", "/objects/sha256/" + hex,
		"/head", "/view/root", "/checkpoint", "/~org/.x/1/a", "/tile/0/000.p/0", "/tile/64/000", "/tile/0/x00/000", "/objects/sha256/" + strings.ToUpper(hex), "/config.json/x",
	} {
		req, err := http.NewRequest("GET", url+"/", nil)
		must(t, err)
		req.URL.Opaque = path // as it is: a client would clean it
		if path == "" {
			req.URL.Opaque = "/"
		}
		req.Host = strings.TrimPrefix(url, "http://")
		if strings.HasPrefix(path, "//") {
			req.URL.Opaque = "//" + req.Host + path
		}
		got := do(t, req)
		if got.StatusCode < 400 || got.StatusCode >= 600 || bytes.Contains(got.body, []byte("secret")) || got.Header.Get("Location") != "" {
			t.Errorf("%q: %d %q", path, got.StatusCode, got.body)
		}
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"} {
		got := ask(t, method, url+"/he/ll/hello", nil)
		if got.StatusCode != 405 || got.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %d", method, got.StatusCode)
		}
	}
}

func TestErrorsAreJSONForWhoAsks(t *testing.T) {
	s := &site{World: newWorldFor(t)}
	url := serve(t, folder(t, nil), FilesOptions{})
	plain := ask(t, "GET", url+"/he/ll/hello", nil)
	if plain.StatusCode != 404 || !strings.HasPrefix(string(plain.body), "error[INDEX_NO_MATCH]: ") || plain.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("%d %q", plain.StatusCode, plain.body)
	}
	s.refused(ask(t, "GET", url+"/he/ll/hello", nil, "Accept", "application/json"), 404, fault.IndexNoMatch)
	s.refused(ask(t, "PUT", url+"/he/ll/hello", nil, "Accept", "application/json"), 405, fault.Usage)
}

// An ETag is never that of other bytes, however a file is changed: replaced by
// one of the same size and time, or in place.
func TestETagsAreNeverStale(t *testing.T) {
	wall := time.Now()
	dir := folder(t, map[string]string{"he/ll/hello": "version 00"})
	url := serve(t, dir, FilesOptions{Wall: func() time.Time { return wall }})
	path := filepath.Join(dir, "he/ll/hello")
	stamp := time.Now().Add(-time.Hour)
	for i := range 50 {
		text := "version " + string(rune('0'+i/10)) + string(rune('0'+i%10))
		if i%2 == 0 {
			put(t, dir, "he/ll/hello", text)
		} else {
			must(t, os.WriteFile(path, []byte(text), 0o644))
		}
		must(t, os.Chtimes(path, stamp, stamp))
		wall = wall.Add(time.Duration(i%5) * time.Second)
		for range 2 {
			got := ask(t, "GET", url+"/he/ll/hello", nil, "If-None-Match", etagOf("version 00"))
			if i > 0 && (string(got.body) != text || got.Header.Get("ETag") != etagOf(text)) {
				t.Fatalf("%d: %q under %s", i, got.body, got.Header.Get("ETag"))
			}
		}
	}
	if f, err := OpenFiles(dir, FilesOptions{Wall: func() time.Time { return time.Now().Add(time.Hour) }}); err != nil {
		t.Error(err)
	} else { // and one that rests is hashed once
		file, _, err := f.open("he/ll/hello")
		must(t, err)
		must(t, file.Close())
		if sum := f.sums["he/ll/hello"]; !sum.settledWhenRead {
			t.Errorf("%+v", sum)
		}
		must(t, f.Close())
	}
}

func TestWithdrawn(t *testing.T) {
	hex := strings.Repeat("0a", 32)
	list := filepath.Join(t.TempDir(), "withdrawn")
	must(t, os.WriteFile(list, []byte("410 he/ll/hello\n451 objects/sha256/"+hex+"\n"), 0o644))
	dir := folder(t, map[string]string{"he/ll/hello": "x", "objects/sha256/" + hex: "x", "1/a": "x"})
	url := serve(t, dir, FilesOptions{Withdrawn: list})
	for path, status := range map[string]int{"/he/ll/hello": 410, "/objects/sha256/" + hex: 451, "/1/a": 200} {
		if got := ask(t, "GET", url+path, nil); got.StatusCode != status {
			t.Errorf("%s: %d %s", path, got.StatusCode, got.body)
		}
	}
	must(t, os.WriteFile(list, []byte("410 1/a\n"), 0o644))
	if got := ask(t, "GET", url+"/1/a", nil); got.StatusCode != 410 {
		t.Errorf("a list that changes is not read again: %d", got.StatusCode)
	}
	must(t, os.Remove(list))
	if got := ask(t, "GET", url+"/1/a", nil); got.StatusCode != 500 || bytes.Contains(got.body, []byte(list)) {
		t.Errorf("without the list: %d %s", got.StatusCode, got.body)
	}
	for _, bad := range []string{"404 1/a\n", "410 ../x\n", "410\n", "1/a\n", "410 1/a\n" + strings.Repeat("x", 1<<17) + "\n410 2/ab\n"} {
		must(t, os.WriteFile(list, []byte(bad), 0o644))
		_, err := OpenFiles(dir, FilesOptions{Wall: time.Now, Withdrawn: list})
		code(t, err, fault.Usage)
	}
	_, err := OpenFiles(t.TempDir(), FilesOptions{Wall: time.Now})
	code(t, err, fault.IndexFetch)
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte(text), 0o644))
}
