package main

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/attest/sshkey"
	"rebuild/index"
	"rebuild/index/translog"
	"rebuild/store"
)

const authorTOML = `schema_version = "rebuild.package@1.0.0"
name = "org/hello"
version = "0.1.0"
description = "says hi"
docs = "Run it."
license = "MIT"
meta = { rebuild_compat = ">=1.0.0" }
`

// author is an author's folder, an index with its keys, and a state root of
// one's own.
type author struct {
	dir    string
	logged bool
}

func newAuthor(t *testing.T, logged bool) *author {
	t.Helper()
	a := &author{t.TempDir(), logged}
	write(t, a.path("src/package.toml"), []byte(authorTOML))
	write(t, a.path("src/main.c"), []byte("int main;\n"))
	for _, name := range []string{"index", "log", "other"} {
		if err := sshkey.WriteFile(a.path(name+".key"), attesttest.Key(name), "", nil); err != nil {
			t.Fatal(err)
		}
	}
	c := index.Config{Signing: index.SigningWith(attesttest.Key("index").Public())}
	w := index.Writing{Now: time.Now}
	if logged {
		key := attest.LogKey("example.org/log", attesttest.Key("log").Public())
		c.Log, w.LogKey = &index.Log{Origin: "example.org/log", Key: key}, attesttest.Key("log")
		w.Log = func(ctx context.Context, dir string) (index.LogWriter, error) {
			return translog.Create(ctx, dir, translog.Options{Origin: "example.org/log", Key: attesttest.Key("log"), Now: time.Now})
		}
	}
	if err := index.Init(t.Context(), a.path("index"), c, w); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *author) path(name string) string { return filepath.Join(a.dir, name) }

func (a *author) build(t *testing.T, to string, flags ...string) {
	t.Helper()
	rebuild(t, append([]string{"pkg", "build", "--source", a.path("src"), "--destination", a.path(to)}, flags...)...).must(t)
}

// run is a command with a state root that lasts.
func (a *author) run(t *testing.T, args ...string) *command {
	t.Helper()
	return rebuild(t, append([]string{"--state", a.path("state"), "pkg"}, args...)...)
}

func (a *author) publish(t *testing.T, version, folder string, flags ...string) *command {
	t.Helper()
	args := []string{"publish", "--package", "org/hello", "--version", version, "--folder", a.path(folder), "--index", a.path("index"), "--index-key", a.path("index.key")}
	if a.logged {
		args = append(args, "--log-key", a.path("log.key"))
	}
	return a.run(t, append(args, flags...)...)
}

// C12, C16, A25: a checked folder becomes an entry that readers verify, and a
// version that is there never changes.
func TestC12Publish(t *testing.T) {
	t.Parallel()
	for name, logged := range map[string]bool{"logged": true, "unlogged": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAuthor(t, logged)
			a.build(t, "out", "--include-manifest")
			answer, r := answerOf[publishReport](t, a.publish(t, "0.1.0", "out", "--json").must(t))
			if !answer.OK || r.State != "verified" || r.Duplicate || (r.LogIndex != nil) != logged {
				t.Errorf("%+v", r)
			}
			archive := a.path("index/objects/sha256/" + r.Cksum)
			if store.DigestOf(read(t, archive)).Hex() != r.Cksum {
				t.Error("the index has another archive")
			}
			if got := a.run(t, "files", archive).must(t); !bytes.Contains(got, []byte(" main.c\n")) {
				t.Errorf("%s", got)
			}
			before, _ := snapshot(a.path("index"))
			_, again := answerOf[publishReport](t, a.publish(t, "0.1.0", "out", "--json").must(t))
			if after, _ := snapshot(a.path("index")); !again.Duplicate || before != after {
				t.Errorf("%+v, and the index changed", again)
			}

			write(t, a.path("src/main.c"), []byte("int other;\n"))
			a.build(t, "changed", "--include-manifest")
			c := a.publish(t, "0.1.0", "changed")
			if c.status(t) != 33 || !strings.Contains(c.err.String(), "ALREADY_PUBLISHED") || !strings.HasPrefix(c.out.String(), "failed org/hello@0.1.0") {
				t.Errorf("%s%s", c.out.String(), c.err.String())
			}
			if after, _ := snapshot(a.path("index")); before != after {
				t.Error("a refused version was written")
			}

			write(t, a.path("src/package.toml"), []byte(strings.Replace(authorTOML, "0.1.0", "0.2.0", 1)))
			a.build(t, "bare")
			if got := a.publish(t, "0.2.0", "bare").must(t); !strings.HasPrefix(string(got), "unverified org/hello@0.2.0 sha256:") {
				t.Errorf("%s", got)
			}
			for _, version := range []string{"0.1.0", "0.2.0"} {
				a.run(t, "verify", "org/hello@"+version, "--index", a.path("index")).must(t)
			}
			a.installed(t)
		})
	}
}

// installed compares what was published with its folders (C19).
func (a *author) installed(t *testing.T) {
	t.Helper()
	for folder, version := range map[string]string{"out": "0.1.0", "bare": "0.2.0"} {
		c := a.run(t, "verify", "--installed", a.path(folder), "org/hello@"+version, "--index", a.path("index"))
		if got := c.must(t); !strings.HasPrefix(string(got), "verified org/hello@"+version) || !strings.Contains(c.err.String(), "nobody has rebuilt it") {
			t.Errorf("%s%s", got, c.err.String())
		}
	}
	for folder, c := range map[string]struct {
		status  int
		version string
	}{"changed": {12, "0.1.0"}, "out": {12, "0.2.0"}, "bare": {13, "0.1.0"}} {
		v := a.run(t, "verify", "--installed", a.path(folder), "org/hello@"+c.version, "--index", a.path("index"))
		if got := v.status(t); got != c.status || !strings.Contains(v.out.String(), "failed org/hello@") {
			t.Errorf("%s: exit %d\n%s%s", folder, got, v.out.String(), v.err.String())
		}
	}
	write(t, a.path("bare/main.c"), []byte("x"))
	v := a.run(t, "verify", "--installed", a.path("bare"), "org/hello@0.2.0", "--index", a.path("index"))
	if v.status(t) != 13 || !strings.Contains(v.out.String(), "File 'main.c' hash mismatch\nExpected: SHA256:") {
		t.Errorf("%s%s", v.out.String(), v.err.String())
	}
}

// C12: a failed check or a wrong key enters nothing.
func TestC12PublishRefuses(t *testing.T) {
	t.Parallel()
	a := newAuthor(t, true)
	a.build(t, "out", "--include-manifest")
	before, _ := snapshot(a.path("index"))
	out := []string{"publish", "--package", "org/hello", "--version", "0.1.0", "--folder", a.path("out"), "--index"}
	for name, c := range map[string]struct {
		status int
		args   []string
		says   string
	}{
		"no index key":    {2, append(out, a.path("index")), "give --index-key FILE"},
		"no log key":      {2, append(out, a.path("index"), "--index-key", a.path("index.key")), "give --log-key FILE"},
		"other index key": {11, append(out, a.path("index"), "--index-key", a.path("other.key"), "--log-key", a.path("log.key")), "KEY_UNKNOWN"},
		"other log key":   {11, append(out, a.path("index"), "--index-key", a.path("index.key"), "--log-key", a.path("other.key")), "KEY_UNKNOWN"},
		"no index":        {4, append(out, a.path("none"), "--index-key", a.path("index.key")), "is not an index"},
	} {
		got := a.run(t, c.args...)
		if s := got.status(t); s != c.status || !strings.Contains(got.err.String(), c.says) {
			t.Errorf("%s: exit %d\n%s", name, s, got.err.String())
		}
	}
	write(t, a.path("out/main.c"), []byte("x"))
	if got := a.publish(t, "0.1.0", "out").status(t); got != 13 {
		t.Errorf("exit %d", got)
	}
	if after, _ := snapshot(a.path("index")); before != after {
		t.Error("the index was written")
	}
}
