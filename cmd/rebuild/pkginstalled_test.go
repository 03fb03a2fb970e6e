package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/index"
	"rebuild/internal/document"
	"rebuild/store"
)

// installation is a released package that was installed three ways: as the
// package folder, as the folder of its payload, and as an image.
type installation struct {
	dir     string
	world   *attesttest.World
	release *attesttest.Released
}

func install(t *testing.T) *installation {
	t.Helper()
	w := attesttest.New(t)
	in := &installation{dir: t.TempDir(), world: w, release: w.Honest()}
	write(t, in.path("policy.toml"), []byte(w.PolicyTOML))
	bundle, err := in.release.Bundle.Encode()
	if err != nil {
		t.Fatal(err)
	}
	write(t, in.path("hello.rbundle"), bundle)
	in.extract(t, "package")
	if err := os.CopyFS(in.path("payload"), os.DirFS(in.path("package/linux-amd64/hello"))); err != nil {
		t.Fatal(err)
	}
	in.image(t, "image", w.Stages[1].Manifest)
	return in
}

func (in *installation) path(name string) string { return filepath.Join(in.dir, name) }

// extract writes the files of the package below a new folder.
func (in *installation) extract(t *testing.T, to string) {
	t.Helper()
	files, err := attest.ReadLayer(bytes.NewReader(in.release.Package.Archive()))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		path := filepath.Join(in.path(to), f.Path)
		switch f.Type {
		case store.Dir:
			err = os.MkdirAll(path, 0o755)
		case store.Symlink:
			err = os.Symlink(f.Target, path)
		default:
			write(t, path, f.Data)
			err = os.Chmod(path, os.FileMode(f.Mode))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (in *installation) image(t *testing.T, to string, manifest store.Digest) {
	t.Helper()
	image, err := in.world.Store.Image(manifest)
	if err != nil {
		t.Fatal(err)
	}
	if err := copyImages(in.path(to), in.world.Store, []releasedImage{{"hello", image}}); err != nil {
		t.Fatal(err)
	}
}

// verify runs the command twice, as cron does, and wants the same answer, with
// nothing written.
func (in *installation) verify(t *testing.T, status int, args ...string) (stdout, stderr string) {
	t.Helper()
	before, err := snapshot(in.dir)
	if err != nil {
		t.Fatal(err)
	}
	var first string
	for range 2 {
		c := rebuild(t, append([]string{"pkg", "verify", "--policy", in.path("policy.toml"), "--at", "2026-06-01T12:00:00Z", "--installed"}, args...)...)
		if got := c.status(t); got != status {
			t.Fatalf("exit %d, want %d\n%s%s", got, status, c.out.String(), c.err.String())
		}
		if first != "" && first != c.out.String()+c.err.String() {
			t.Errorf("two answers:\n%s\n%s%s", first, c.out.String(), c.err.String())
		}
		stdout, stderr = c.out.String(), c.err.String()
		first = stdout + stderr
	}
	if after, err := snapshot(in.dir); err != nil || before != after {
		t.Errorf("files were written (%v)", err)
	}
	return stdout, stderr
}

// C19: what was installed is still what was released.
func TestC19Installed(t *testing.T) {
	t.Parallel()
	in := install(t)
	bundle := in.path("hello.rbundle")
	for _, args := range [][]string{
		{in.path("package"), "--bundle", bundle},
		{in.path("package"), "hello@0.1.0", "--bundle", bundle},
		{in.path("payload"), "--bundle", bundle, "--payload", "hello"},
		{in.path("payload"), "--bundle", bundle, "--payload", "linux/amd64:hello"},
		{in.path("image"), "--bundle", bundle},
	} {
		stdout, _ := in.verify(t, 0, args...)
		if stdout != "verified hello@0.1.0 "+args[0]+"\n" {
			t.Errorf("%v: %q", args, stdout)
		}
	}
	for name, c := range map[string]struct {
		status int
		args   []string
		says   string
	}{
		"another name":    {12, []string{in.path("package"), "hallo", "--bundle", bundle}, "not hallo"},
		"another version": {12, []string{in.path("package"), "hello@2.0.0", "--bundle", bundle}, "not 2.0.0"},
		"no payload":      {2, []string{in.path("payload"), "--bundle", bundle, "--payload", "hallo"}, "name one of linux/amd64:hello"},
		"nothing at all":  {2, []string{in.path("package")}, "nothing to compare"},
		"both":            {2, []string{in.path("package"), "--bundle", bundle, "--index", "x"}, "leave one of them out"},
		"no bundle":       {2, []string{in.path("package"), "--bundle", in.path("none")}, "no such file"},
		"nowhere":         {2, []string{in.path("none"), "--bundle", bundle}, "name a folder"},
		"the whole":       {12, []string{in.path("package"), "--bundle", bundle, "--payload", "hello"}, "tree"},
	} {
		if _, stderr := in.verify(t, c.status, c.args...); !strings.Contains(stderr, c.says) {
			t.Errorf("%s: no %q in %s", name, c.says, stderr)
		}
	}
}

// C19, C13-C15, G35: every file that differs is named, in the words that are
// fixed, and nobody who changes the inventory too gets through.
func TestC19InstalledDiffers(t *testing.T) {
	t.Parallel()
	const hello = "linux-amd64/hello/bin/hello"
	for name, c := range map[string]struct {
		change func(t *testing.T, in *installation)
		status int
		says   []string
	}{
		"changed": {func(t *testing.T, in *installation) { write(t, in.path("package/"+hello), []byte("x")) }, 13, []string{
			"Verification failed: File '" + hello + "' hash mismatch\nExpected: SHA256:", "\nActual: SHA256:" + store.DigestOf([]byte("x")).Hex() + "\nfailed hello@0.1.0"}},
		"removed": {func(t *testing.T, in *installation) { os.Remove(in.path("package/" + hello)) }, 13, []string{
			"Verification failed: File '" + hello + "' listed in manifest but not found in package\n"}},
		"added": {func(t *testing.T, in *installation) { write(t, in.path("package/x"), nil) }, 13, []string{
			"Verification failed: File 'x' found in package but not listed in manifest\n"}},
		"G35 chmod": {func(t *testing.T, in *installation) { os.Chmod(in.path("package/"+hello), 0o777) }, 13, []string{
			"File '" + hello + "' mode mismatch\nExpected: 0755\nActual: 0777\n"}},
		"G35 link swap": {func(t *testing.T, in *installation) {
			os.Remove(in.path("package/linux-amd64/hello/bin/hi"))
			os.Symlink("/bin/sh", in.path("package/linux-amd64/hello/bin/hi"))
		}, 13, []string{"bin/hi' link mismatch\nExpected: hello\nActual: /bin/sh\n"}},
		"all at once": {func(t *testing.T, in *installation) {
			write(t, in.path("package/"+hello), []byte("x"))
			os.Remove(in.path("package/linux-amd64/hello/bin/hi"))
			write(t, in.path("package/x"), nil)
		}, 13, []string{"bin/hello' hash", "bin/hi' listed", "'x' found"}},
		"no inventory": {func(t *testing.T, in *installation) { os.Remove(in.path("package/" + attest.FilesFile)) }, 13, nil},
		"G35 edit and new inventory": {func(t *testing.T, in *installation) {
			write(t, in.path("package/"+hello), []byte("#!/bin/sh\necho ho\n"))
			relist(t, in.path("package"), hello)
		}, 12, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := install(t)
			c.change(t, in)
			stdout, stderr := in.verify(t, c.status, in.path("package"), "--bundle", in.path("hello.rbundle"))
			for _, text := range c.says {
				if !strings.Contains(stdout, text) {
					t.Errorf("no %q in %s", text, stdout)
				}
			}
			if !strings.Contains(stdout, "failed hello@0.1.0") || strings.Contains(stdout, "verified") || strings.Count(stderr, "error[") != 1 {
				t.Errorf("%s%s", stdout, stderr)
			}
		})
	}
}

// relist makes the inventory of a folder say that a file is as it is.
func relist(t *testing.T, dir, file string) {
	t.Helper()
	path := filepath.Join(dir, attest.FilesFile)
	doc, err := attest.DecodeFiles(path, read(t, path))
	if err != nil {
		t.Fatal(err)
	}
	content := read(t, filepath.Join(dir, file))
	for i := range doc.Files {
		if doc.Files[i].Path == file {
			size := int64(len(content))
			doc.Files[i].Hash, doc.Files[i].Size = store.DigestOf(content), &size
		}
	}
	raw, err := document.Encode(doc)
	if err != nil {
		t.Fatal(err)
	}
	write(t, path, raw)
}

// C23: a payload or an image that nobody voted for is found by its tree.
func TestC23InstalledTrees(t *testing.T) {
	t.Parallel()
	in := install(t)
	write(t, in.path("payload/bin/hello"), []byte("x"))
	_, stderr := in.verify(t, 12, in.path("payload"), "--bundle", in.path("hello.rbundle"), "--payload", "hello")
	if !strings.Contains(stderr, "TREE_MISMATCH") {
		t.Error(stderr)
	}
	other := in.world.Stage("hello", []store.File{{Path: "bin/hello", Mode: 0o755, Data: []byte("x")}})
	in.image(t, "evil", other.Manifest)
	_, stderr = in.verify(t, 12, in.path("evil"), "--bundle", in.path("hello.rbundle"))
	if !strings.Contains(stderr, "EVIDENCE_MISMATCH") {
		t.Error(stderr)
	}
	// A layer with one bit changed under the released manifest.
	image, err := in.world.Store.Image(in.world.Stages[1].Manifest)
	if err != nil {
		t.Fatal(err)
	}
	blob := in.path("image/blobs/sha256/" + image.Layer.Digest.Hex())
	data := read(t, blob)
	data[600] ^= 1
	os.Chmod(blob, 0o644)
	write(t, blob, data)
	_, stderr = in.verify(t, 12, in.path("image"), "--bundle", in.path("hello.rbundle"))
	if !strings.Contains(stderr, "CKSUM_MISMATCH") {
		t.Error(stderr)
	}
}

// publish enters the release into an index.
func (in *installation) publish(t *testing.T) {
	t.Helper()
	now := func() time.Time { return attesttest.Now }
	w := index.Writing{Policy: in.world.LoadPolicy(), Key: attesttest.Key("index"), Now: now}
	if err := index.Init(t.Context(), in.path("index"), index.Config{Signing: index.SigningWith(attesttest.Key("index").Public())}, w); err != nil {
		t.Fatal(err)
	}
	x, err := index.Open(in.path("index"), w)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := x.Publish(t.Context(), in.release.Bundle, in.release.Package.Archive()); err != nil {
		t.Fatal(err)
	}
}

// C19: with the archive at hand every file is named, also of a payload or an
// image, and of a folder whose inventory was replaced.
func TestC19InstalledByIndex(t *testing.T) {
	t.Parallel()
	in := install(t)
	in.publish(t)
	from := []string{"hello@0.1.0", "--index", in.path("index")}
	for _, args := range [][]string{{in.path("package")}, {in.path("payload"), "--payload", "hello"}, {in.path("image")}} {
		stdout, _ := in.verify(t, 0, append(args, from...)...)
		if stdout != "verified hello@0.1.0 "+args[0]+"\n" {
			t.Errorf("%q", stdout)
		}
	}
	evil := []byte("#!/bin/sh\necho ho\n")
	text := "File '%bin/hello' hash mismatch\nExpected: SHA256:" + store.DigestOf(in.world.HelloFiles[1].Data).Hex() + "\nActual: SHA256:" + store.DigestOf(evil).Hex() + "\n"
	other := in.world.Stage("hello", []store.File{{Path: "bin/hello", Mode: 0o755, Data: evil}, {Path: "bin/hi", Type: store.Symlink, Mode: 0o777, Target: "hello"}})
	in.image(t, "evil", other.Manifest)
	write(t, in.path("payload/bin/hello"), evil)
	write(t, in.path("package/linux-amd64/hello/bin/hello"), evil)
	relist(t, in.path("package"), "linux-amd64/hello/bin/hello")
	for name, c := range map[string]struct {
		status int
		args   []string
		says   []string
	}{
		"payload":     {13, []string{in.path("payload"), "--payload", "hello"}, []string{strings.ReplaceAll(text, "%", "")}},
		"G35 package": {12, []string{in.path("package")}, []string{strings.ReplaceAll(text, "%", "linux-amd64/hello/")}},
		"image":       {12, []string{in.path("evil")}, []string{strings.ReplaceAll(text, "%", ""), "File 'share/hello.txt' listed in manifest but not found in package\n"}},
	} {
		stdout, stderr := in.verify(t, c.status, append(c.args, from...)...)
		if name == "G35 package" && !strings.Contains(stderr, "TREE_MISMATCH]: rebuild.files.json has digest") {
			t.Errorf("%s: %s", name, stderr)
		}
		for _, says := range c.says {
			if !strings.Contains(stdout, says) {
				t.Errorf("%s: no %q in %s%s", name, says, stdout, stderr)
			}
		}
	}
}

// C18: the record of a periodic check says what was found, on failure too.
func TestC18InstalledRecord(t *testing.T) {
	t.Parallel()
	in := install(t)
	write(t, in.path("package/x"), nil)
	record := filepath.Join(t.TempDir(), "record.json")
	in.verify(t, 13, in.path("package"), "--bundle", in.path("hello.rbundle"), "--summary-file", record)
	answer, r := answerOf[installedReport](t, read(t, record))
	if answer.OK || answer.ExitCode != 13 || answer.Command != "pkg verify" || r.State != "failed" || r.Time == "" || len(r.Failures) != 1 || r.Release == "" {
		t.Errorf("%+v %+v", answer, r)
	}
}
