package folder

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"rebuild/attest"
	"rebuild/internal/fault"
	"rebuild/store"
)

const metadataTOML = `schema_version = "rebuild.package@1.0.0"
name = "org/hello"
version = "0.1.0"
description = "says hi"
docs = "Run it."
license = "MIT"
meta = { rebuild_compat = ">=1.0.0" }
`

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func code(t testing.TB, err error, want fault.Code) {
	t.Helper()
	if fault.CodeOf(err) != want {
		t.Fatalf("%v: %s, want %s", err, fault.CodeOf(err), want)
	}
}

func put(t testing.TB, path, text string, mode fs.FileMode) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, os.WriteFile(path, []byte(text), mode))
	must(t, os.Chmod(path, mode))
}

// author makes an author's folder with one of everything that a package carries.
func author(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	put(t, filepath.Join(dir, PackageTOML), metadataTOML, 0o644)
	put(t, filepath.Join(dir, "bin/run"), "#!/bin/sh\n", 0o755)
	put(t, filepath.Join(dir, "main.c"), "int main;\n", 0o644)
	must(t, os.Symlink("run", filepath.Join(dir, "bin/again")))
	must(t, os.Mkdir(filepath.Join(dir, "empty"), 0o755))
	return dir
}

func open(t testing.TB, dir, destination string) *Source {
	t.Helper()
	s, err := Open(context.Background(), dir, destination)
	must(t, err)
	return s
}

// build makes the package folder of an author's folder.
func build(t testing.TB, source string, manifest bool) (dir string, b *Built) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "out")
	b, err := open(t, source, dir).Pack(manifest, 7)
	must(t, err)
	must(t, b.Write(dir))
	return dir, b
}

var expect = Expect{Name: "org/hello", Version: "0.1.0", Rebuild: "1.0.0"}

func check(t testing.TB, dir string, e Expect) (*Checked, error) {
	t.Helper()
	f, err := Read(context.Background(), dir)
	must(t, err)
	defer f.Close()
	return f.Check(e)
}

// listing describes every file below dir, its mode and content.
func listing(t testing.TB, dir string) string {
	t.Helper()
	tree, err := store.ReadDir(dir)
	must(t, err)
	var b strings.Builder
	for _, e := range attest.Inventory(tree) {
		fmt.Fprintln(&b, e.Path, e.Type, e.Mode, e.Hash, e.Link)
	}
	return b.String()
}

// A31: what a machine does by itself, umask, times, owners, the order of names
// and shared inodes, is in no package.
func TestA31BuildIsAFunctionOfContent(t *testing.T) {
	source := author(t)
	dir, first := build(t, source, true)
	other := t.TempDir()
	for _, name := range []string{"main.c", "bin/run", PackageTOML} { // another order
		text, err := os.ReadFile(filepath.Join(source, name))
		must(t, err)
		put(t, filepath.Join(other, name), string(text), map[bool]fs.FileMode{true: 0o711, false: 0o600}[name == "bin/run"])
	}
	must(t, os.Mkdir(filepath.Join(other, "empty"), 0o2700))
	must(t, os.Symlink("run", filepath.Join(other, "bin/again")))
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	again, second := build(t, other, true)
	if first.Cksum != second.Cksum || first.Hash != second.Hash || first.Manifest != second.Manifest {
		t.Errorf("%+v\n%+v", first, second)
	}
	if a, b := listing(t, dir), listing(t, again); a != b {
		t.Errorf("%s\n%s", a, b)
	}
	for name, want := range map[string]fs.FileMode{"": 0o755, "bin": 0o755, "empty": 0o755, "bin/run": 0o755, "main.c": 0o644, attest.FilesFile: 0o644} {
		info, err := os.Stat(filepath.Join(again, name))
		must(t, err)
		if info.Mode().Perm() != want {
			t.Errorf("%q has mode %v", name, info.Mode())
		}
	}
}

// A file that shares its inode with another, as a checkout may have them, is
// two files.
func TestA31SharedInodes(t *testing.T) {
	one, two := author(t), author(t)
	put(t, filepath.Join(one, "copy.c"), "int main;\n", 0o644)
	must(t, os.Link(filepath.Join(two, "main.c"), filepath.Join(two, "copy.c")))
	_, a := build(t, one, true)
	_, b := build(t, two, true)
	if a.Cksum != b.Cksum {
		t.Error("a link makes another package")
	}
}

// C1 to C6: the inventory lists everything but itself.
func TestC1Manifest(t *testing.T) {
	dir, b := build(t, author(t), true)
	raw, err := os.ReadFile(filepath.Join(dir, attest.FilesFile))
	must(t, err)
	doc, err := attest.DecodeFiles(attest.FilesFile, raw)
	must(t, err)
	var paths []string
	for _, f := range doc.Files {
		paths = append(paths, f.Type+" "+f.Mode+" "+f.Path)
	}
	want := []string{"d 0755 bin", "l 0777 bin/again", "f 0755 bin/run", "d 0755 empty", "f 0644 main.c", "f 0644 " + attest.PackageFile}
	if !slices.Equal(paths, want) {
		t.Errorf("C1, C6: %q", paths)
	}
	main := doc.Files[4]
	if main.Hash != store.DigestOf([]byte("int main;\n")) || *main.Size != 10 || doc.Files[1].Link != "run" {
		t.Errorf("C2: %+v", main)
	}
	if doc.TotalFiles != 4 || doc.SourceDateEpoch != 7 || len(doc.Payloads) != 0 {
		t.Errorf("C4, C5: %+v", doc)
	}
	must(t, os.Remove(filepath.Join(dir, attest.FilesFile)))
	whole, err := store.ReadDir(dir)
	must(t, err)
	if os.Geteuid() == 0 && (doc.Hash != whole.Digest() || b.Hash != doc.Hash) { // a tree counts owners
		t.Errorf("C3: %s, want %s", doc.Hash, whole.Digest())
	}
}

// H9: the time is in the inventory and the archive, and in no tree.
func TestH9TimeIsOutsideTheTree(t *testing.T) {
	s := open(t, author(t), "")
	early, err := s.Pack(true, 1)
	must(t, err)
	late, err := s.Pack(true, 2)
	must(t, err)
	if early.Hash != late.Hash || early.Cksum == late.Cksum || early.Manifest == late.Manifest {
		t.Errorf("%+v %+v", early, late)
	}
}

// C7, C16: the state is verified if all holds, unverified without an inventory.
func TestC16States(t *testing.T) {
	dir, b := build(t, author(t), true)
	c, err := check(t, dir, expect)
	must(t, err)
	if c.State != Verified || c.Package.Cksum() != b.Cksum || !c.Package.Verified() {
		t.Errorf("%+v", c)
	}
	bare, b := build(t, author(t), false)
	c, err = check(t, bare, expect)
	must(t, err)
	if c.State != Unverified || c.Package.Cksum() != b.Cksum || c.Package.Verified() || !strings.Contains(c.Warnings[0], "--include-manifest") {
		t.Errorf("%+v", c)
	}
	must(t, os.Remove(filepath.Join(bare, attest.PackageFile)))
	_, err = check(t, bare, expect)
	code(t, err, fault.FileMissing)
}

// C8 to C15, G35: every way in which a folder can differ has its text, and all
// of them are listed.
func TestC12EveryDifference(t *testing.T) {
	mode := func(name string, m fs.FileMode) func(*testing.T, string) {
		return func(t *testing.T, dir string) { must(t, os.Chmod(filepath.Join(dir, name), m)) }
	}
	for name, c := range map[string]struct {
		change func(*testing.T, string)
		code   fault.Code
		texts  []string
	}{
		"C13 changed": {func(t *testing.T, dir string) { put(t, filepath.Join(dir, "main.c"), "int Main;\n", 0o644) }, fault.FileHash, []string{
			"Verification failed: File 'main.c' hash mismatch\nExpected: SHA256:" + store.DigestOf([]byte("int main;\n")).Hex() +
				"\nActual: SHA256:" + store.DigestOf([]byte("int Main;\n")).Hex()}},
		"C14 missing": {func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, "main.c"))) }, fault.FileMissing,
			[]string{"Verification failed: File 'main.c' listed in manifest but not found in package"}},
		"C15 extra": {func(t *testing.T, dir string) { put(t, filepath.Join(dir, "temp.log"), "", 0o644) }, fault.FileExtra,
			[]string{"Verification failed: File 'temp.log' found in package but not listed in manifest"}},
		"C10 directory gone":       {func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, "empty"))) }, fault.FileMissing, []string{"File 'empty' listed"}},
		"C10 directory added":      {func(t *testing.T, dir string) { must(t, os.Mkdir(filepath.Join(dir, "new"), 0o755)) }, fault.FileExtra, []string{"File 'new' found"}},
		"C10 package.toml":         {func(t *testing.T, dir string) { put(t, filepath.Join(dir, PackageTOML), metadataTOML, 0o644) }, fault.FileExtra, []string{"File 'package.toml' found"}},
		"G35 chmod":                {mode("bin/run", 0o644), fault.FileHash, []string{"File 'bin/run' mode mismatch\nExpected: 0755\nActual: 0644"}},
		"G35 setuid":               {mode("bin/run", 0o755|fs.ModeSetuid), fault.FileHash, []string{"Actual: 4755"}},
		"G35 chmod of a directory": {mode("empty", 0o700), fault.FileHash, []string{"File 'empty' mode mismatch"}},
		"G35 link swap": {func(t *testing.T, dir string) {
			must(t, os.Remove(filepath.Join(dir, "bin/again")))
			must(t, os.Symlink("/bin/sh", filepath.Join(dir, "bin/again")))
		}, fault.FileHash, []string{"File 'bin/again' link mismatch\nExpected: run\nActual: /bin/sh"}},
		"G35 link for a file": {func(t *testing.T, dir string) {
			must(t, os.Rename(filepath.Join(dir, "main.c"), filepath.Join(dir, "../main.c")))
			must(t, os.Symlink("../main.c", filepath.Join(dir, "main.c")))
		}, fault.FileHash, []string{"type mismatch\nExpected: f\nActual: l"}},
		"hard link": {func(t *testing.T, dir string) {
			must(t, os.Remove(filepath.Join(dir, "main.c")))
			must(t, os.Link(filepath.Join(dir, "bin/run"), filepath.Join(dir, "main.c")))
		}, fault.FileHash, []string{"type mismatch\nExpected: f\nActual: h"}},
		"pipe": {func(t *testing.T, dir string) { must(t, syscall.Mkfifo(filepath.Join(dir, "p"), 0o644)) }, fault.FileExtra, []string{"File 'p' found"}},
		"socket": {func(t *testing.T, dir string) {
			must(t, syscall.Mknod(filepath.Join(dir, "s"), syscall.S_IFSOCK|0o644, 0))
		}, fault.FileExtra, []string{"File 's' found"}},
		"a name that fakes a line": {func(t *testing.T, dir string) { put(t, filepath.Join(dir, "a\nverified"), "", 0o644) }, fault.FileExtra, []string{"File 'a?verified' found"}},
		"C12 all at once": {func(t *testing.T, dir string) {
			put(t, filepath.Join(dir, "main.c"), "", 0o644)
			mode("bin/run", 0o600)(t, dir)
			must(t, os.Remove(filepath.Join(dir, "empty")))
			put(t, filepath.Join(dir, "x"), "", 0o644)
			put(t, filepath.Join(dir, "y"), "", 0o644)
		}, fault.FileHash, []string{"'bin/run' mode", "'main.c' hash", "'empty' listed", "'x' found", "'y' found"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, _ := build(t, author(t), true)
			c.change(t, dir)
			got, err := check(t, dir, expect)
			code(t, err, c.code)
			if got.State != Failed || got.Package != nil || len(got.Failures) != len(c.texts) {
				t.Fatalf("%+v", got)
			}
			for i, text := range c.texts {
				if !strings.Contains(got.Failures[i].Text, text) || !strings.Contains(err.Error(), text) {
					t.Errorf("%q, want %q", got.Failures[i].Text, text)
				}
			}
		})
	}
}

// C21: a folder in which one bit is another never passes, whichever file it is in.
func TestC21EveryBit(t *testing.T) {
	source := t.TempDir()
	put(t, filepath.Join(source, PackageTOML), metadataTOML, 0o644)
	put(t, filepath.Join(source, "a"), "abcdefgh", 0o755)
	put(t, filepath.Join(source, "b/c"), "\x00", 0o644)
	dir, b := build(t, source, true)
	flips := 0
	for _, name := range []string{"a", "b/c", attest.PackageFile, attest.FilesFile} {
		path := filepath.Join(dir, name)
		data, err := os.ReadFile(path)
		must(t, err)
		for bit := range 8 * len(data) {
			spoiled := bytes.Clone(data)
			spoiled[bit/8] ^= 1 << (bit % 8)
			must(t, os.WriteFile(path, spoiled, 0o644))
			e := expect
			e.Archive = store.Digest("sha256:" + b.Cksum)
			c, err := check(t, dir, e)
			if err == nil || c.State == Verified || c.Package != nil && c.Package.Cksum() == b.Cksum {
				t.Fatalf("bit %d of %s: %v %+v", bit, name, err, c)
			}
			if name != attest.FilesFile && fault.CodeOf(err) != fault.FileHash {
				t.Fatalf("bit %d of %s: %v", bit, name, err)
			}
			flips++
		}
		must(t, os.WriteFile(path, data, 0o644))
	}
	if _, err := check(t, dir, expect); err != nil || flips < 5000 {
		t.Fatalf("%d flips: %v", flips, err)
	}
}

// G35: who edits a file and makes a new inventory is found by the digest that
// the build has printed.
func TestG35NewManifest(t *testing.T) {
	_, b := build(t, author(t), true)
	edited := author(t)
	put(t, filepath.Join(edited, "main.c"), "int evil;\n", 0o644)
	dir, _ := build(t, edited, true)
	if _, err := check(t, dir, expect); err != nil {
		t.Fatal(err) // it agrees with itself
	}
	e := expect
	e.Archive = store.Digest("sha256:" + b.Cksum)
	c, err := check(t, dir, e)
	code(t, err, fault.CksumMismatch)
	if c.State != Failed || c.Package != nil {
		t.Errorf("%+v", c)
	}
}

// C23: a folder can not say by itself what was voted for.
func TestC23PayloadsNeedVotes(t *testing.T) {
	files := []store.File{{Path: "bin/hello", Mode: 0o755, Data: []byte("hi")}}
	tree, err := store.TreeOf(files)
	must(t, err)
	_, image, err := attest.LoadPackage(PackageTOML, []byte(metadataTOML))
	must(t, err)
	pkg, err := attest.Pack(image, []attest.PayloadInput{{Platform: "linux/amd64", Target: "hello", Path: "p", Tree: tree.Digest(), Files: files}}, 1)
	must(t, err)
	packed, err := attest.ReadLayer(bytes.NewReader(pkg.Archive()))
	must(t, err)
	dir := filepath.Join(t.TempDir(), "out")
	must(t, (&Built{files: packed}).Write(dir))
	c, err := check(t, dir, expect)
	code(t, err, fault.TreeMismatch)
	if len(c.Checks) != 3 || c.State != Failed {
		t.Errorf("%+v", c)
	}
	// The payload alone is what was voted for, or it is not.
	for _, spoil := range []string{"", "hi "} {
		f, err := Read(context.Background(), filepath.Join(dir, "p"))
		must(t, err)
		listed, err := Listing(pkg, "p")
		must(t, err)
		failures, err := f.CompareTree(listed, tree.Digest())
		if spoil == "" {
			must(t, errors.Join(err, f.VerifyTree(tree.Digest())))
			_, err = f.CompareTree(listed, store.DigestOf(nil))
			code(t, err, fault.TreeMismatch)
			put(t, filepath.Join(dir, "p/bin/hello"), "hi ", 0o755)
		} else if len(failures) != 1 || fault.CodeOf(err) != fault.FileHash || fault.CodeOf(f.VerifyTree(tree.Digest())) != fault.TreeMismatch {
			t.Errorf("%v %v", failures, err)
		}
		f.Close()
	}
}

// A1 to A4, C12: what else is wrong with a folder whose files are as listed.
func TestCheckRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		from, to string
		expect   func(*Expect)
		code     fault.Code
	}{
		"C12 name":           {"", "", func(e *Expect) { e.Name = "org/hallo" }, fault.EvidenceMismatch},
		"C12 version":        {"", "", func(e *Expect) { e.Version = "0.1.1" }, fault.EvidenceMismatch},
		"A4 excludes":        {`">=1.0.0"`, `">=2.0.0"`, func(*Expect) {}, fault.PkgCompatExcludes},
		"A3 license":         {`"MIT"`, `"ours"`, func(e *Expect) { e.StrictLicense = true }, fault.PkgLicenseNotSPDX},
		"A3 license warning": {`"MIT"`, `"ours"`, func(*Expect) {}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			source := author(t)
			put(t, filepath.Join(source, PackageTOML), strings.Replace(metadataTOML, c.from, c.to, 1), 0o644)
			dir, _ := build(t, source, true)
			e := expect
			c.expect(&e)
			got, err := check(t, dir, e)
			code(t, err, c.code)
			if c.code == "" && (len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "SPDX")) {
				t.Errorf("%q", got.Warnings)
			}
		})
	}
}

// Readers take either form of the metadata; two that differ are none.
func TestBothForms(t *testing.T) {
	source := author(t)
	dir, first := build(t, source, false)
	image, err := os.ReadFile(filepath.Join(dir, attest.PackageFile))
	must(t, err)
	put(t, filepath.Join(source, attest.PackageFile), string(image), 0o644)
	_, second := build(t, source, false)
	must(t, os.Remove(filepath.Join(source, PackageTOML)))
	_, third := build(t, source, false)
	if first.Cksum != second.Cksum || second.Cksum != third.Cksum {
		t.Error("three packages of one")
	}
	put(t, filepath.Join(source, PackageTOML), strings.Replace(metadataTOML, "hi", "ho", 1), 0o644)
	_, err = Open(context.Background(), source, "")
	code(t, err, fault.Semantic)
	put(t, filepath.Join(dir, PackageTOML), strings.Replace(metadataTOML, "hi", "ho", 1), 0o644)
	_, err = check(t, dir, expect)
	code(t, err, fault.Semantic)
	_, err = Open(context.Background(), t.TempDir(), "")
	code(t, err, fault.Usage)
	for _, text := range []string{"", strings.Replace(metadataTOML, "docs", "doc", 1)} {
		put(t, filepath.Join(source, PackageTOML), text, 0o644)
		_, err = Open(context.Background(), source, "")
		code(t, err, fault.Structure)
	}
}

// What a package does not carry is refused by name, all of it, unless it is
// left out.
func TestOpenRefuses(t *testing.T) {
	source := author(t)
	must(t, syscall.Mkfifo(filepath.Join(source, "pipe"), 0o644))
	must(t, syscall.Mknod(filepath.Join(source, "socket"), syscall.S_IFSOCK|0o644, 0))
	must(t, os.Chmod(filepath.Join(source, "bin/run"), 0o755|fs.ModeSetuid))
	s, err := Open(context.Background(), source, "")
	code(t, err, fault.FileExtra)
	if got := s.Refused(); len(got) != 3 || got[0].Text != "File 'bin/run' runs as its owner or group, which a package does not carry" ||
		got[1].Text != "File 'pipe' is a pipe, which a package does not carry" || got[2].Path != "socket" {
		t.Errorf("%+v", got)
	}
	put(t, filepath.Join(source, IgnoreFile), "pipe\nsocket\n/bin/\n", 0o644)
	open(t, source, "")
	put(t, filepath.Join(source, "large"), "", 0o644)
	must(t, os.Truncate(filepath.Join(source, "large"), attest.MaxArchive+1))
	_, err = Open(context.Background(), source, "")
	code(t, err, fault.Parse)
	must(t, os.Truncate(filepath.Join(source, "large"), attest.MaxArchive-100))
	_, err = open(t, source, "").Pack(true, 1)
	code(t, err, fault.Parse)
	must(t, os.Remove(filepath.Join(source, "large")))
	put(t, filepath.Join(source, "\xff"), "", 0o644)
	_, err = open(t, source, "").Pack(true, 1)
	code(t, err, fault.Structure)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err = Open(ctx, source, ""); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if _, err = Read(ctx, source); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	_, err = Read(context.Background(), filepath.Join(source, "main.c"))
	code(t, err, fault.Usage)
}

// Extended attributes change what a file may do, and no package has them.
func TestAttributes(t *testing.T) {
	source := author(t)
	dir, _ := build(t, source, true)
	for _, file := range []string{filepath.Join(source, "main.c"), filepath.Join(dir, "main.c")} {
		if err := unix.Lsetxattr(file, "user.x", []byte("y"), 0); err != nil {
			t.Fatalf("the file system of %s has no extended attributes: %v", file, err)
		}
	}
	s, err := Open(context.Background(), source, "")
	code(t, err, fault.FileExtra)
	if got := s.Refused(); len(got) != 1 || !strings.Contains(got[0].Text, "user.x") {
		t.Errorf("%+v", got)
	}
	c, err := check(t, dir, expect)
	code(t, err, fault.FileHash)
	if len(c.Failures) != 1 || c.Failures[0].Text != "Verification failed: File 'main.c' attribute mismatch\nExpected: none\nActual: user.x" {
		t.Errorf("%+v", c.Failures)
	}
	must(t, os.Remove(filepath.Join(dir, attest.FilesFile)))
	_, err = check(t, dir, expect)
	code(t, err, fault.FileHash)
	f, err := Read(context.Background(), dir)
	must(t, err)
	defer f.Close()
	code(t, f.VerifyTree(store.DigestOf(nil)), fault.FileHash)
	must(t, os.Chmod(filepath.Join(dir, "bin/run"), 0o700))
	must(t, unix.Lremovexattr(filepath.Join(dir, "main.c"), "user.x"))
	_, err = check(t, dir, expect)
	code(t, err, fault.FileExtra)
}

// C22: a dry run says of every name why it stays out.
func TestC22Items(t *testing.T) {
	source := author(t)
	put(t, filepath.Join(source, ".git/HEAD"), "x", 0o644)
	put(t, filepath.Join(source, "lib/.svn/x"), "x", 0o644)
	put(t, filepath.Join(source, "a.log"), "x", 0o644)
	put(t, filepath.Join(source, "dist/.out.build/x"), "x", 0o644)
	put(t, filepath.Join(source, attest.FilesFile), "old", 0o644)
	put(t, filepath.Join(source, IgnoreFile), "# logs\n*.log\n", 0o644)
	var got []string
	for _, i := range open(t, source, filepath.Join(source, "dist/out")).Items() {
		got = append(got, strings.TrimSuffix(i.Type+" "+i.Path+": "+i.Skipped, ": "))
	}
	want := []string{
		"d .git: version control", "f .rebuildignore: says what is left out", "f a.log: .rebuildignore:2: *.log",
		"d bin", "l bin/again", "f bin/run", "d dist", "d dist/.out.build: left by a build that was stopped", "d empty", "d lib", "d lib/.svn: version control",
		"f main.c", "f package.toml: its image goes in as rebuild.package.json", "f rebuild.files.json: is made anew by --include-manifest", "f rebuild.package.json",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	must(t, os.MkdirAll(filepath.Join(source, "dist/out"), 0o755))
	items := open(t, source, filepath.Join(source, "dist/out")).Items()
	if i := slices.IndexFunc(items, func(i Item) bool { return i.Path == "dist/out" }); items[i].Skipped != "the destination" {
		t.Errorf("%+v", items[i])
	}
	_, err := Open(context.Background(), source, source)
	code(t, err, fault.Usage)
}

func TestIgnore(t *testing.T) {
	for _, c := range []struct {
		rules   string
		out, in []string // a path that ends in a slash is a directory
	}{
		{"*.log", []string{"a.log", "x/a.log", ".log"}, []string{"a.logs", "log"}},
		{"/a", []string{"a"}, []string{"x/a"}},
		{"x/a", []string{"x/a"}, []string{"y/x/a", "a"}},
		{"build/", []string{"build/", "x/build/"}, []string{"build"}},
		{"**/a/*.c", []string{"a/b.c", "x/y/a/b.c"}, []string{"a/x/b.c"}},
		{"*\n!keep", []string{"a", "x/a"}, []string{"keep", "x/keep", "keep/a"}},
		{"*\n!keep/", []string{"keep", "a"}, []string{"keep/", "keep/a", "x/keep/y/a"}},
		{"!a\na", []string{"a"}, nil},
		{"a\n!a", nil, []string{"a"}},
		{"# a\n\n  \n\\#b\n\\!c", []string{"#b", "!c"}, []string{"# a", "a", "b", "c"}},
		{"\ufeffa\r\nb ", []string{"a", "b"}, nil},
		{"a?c", []string{"abc"}, []string{"a/c", "ac"}},
		{"[ab]", []string{"a", "b"}, []string{"c"}},
		{"docs/**", []string{"docs/a", "docs/a/b"}, []string{"docs/", "x/docs/a"}},
	} {
		rules, err := parseIgnore(IgnoreFile, c.rules)
		must(t, err)
		for i, path := range slices.Concat(c.out, c.in) {
			why, err := rules.reason(strings.TrimSuffix(path, "/"), strings.HasSuffix(path, "/"))
			must(t, err)
			if (why != "") != (i < len(c.out)) {
				t.Errorf("%q: %q: %q", c.rules, path, why)
			}
		}
	}
	for _, bad := range []string{"[", "a/../b", "!", "/", "a//b", "\\"} {
		_, err := parseIgnore(IgnoreFile, "ok\n"+bad)
		code(t, err, fault.Parse)
		if !strings.Contains(err.Error(), IgnoreFile+":2") {
			t.Error(err)
		}
	}
}

// The folder appears whole or not at all.
func TestWriteIsAllOrNothing(t *testing.T) {
	parent := t.TempDir()
	b, err := open(t, author(t), "").Pack(true, 1)
	must(t, err)
	b.files = append(b.files, store.File{Path: "zz/no/parent"})
	if err := b.Write(filepath.Join(parent, "out")); err == nil {
		t.Fatal("written")
	}
	left, err := os.ReadDir(parent)
	must(t, err)
	if len(left) > 0 {
		t.Errorf("left %v", left)
	}
	b.files = b.files[:len(b.files)-1]
	must(t, os.Mkdir(filepath.Join(parent, "out"), 0o700))
	must(t, b.Write(filepath.Join(parent, "out")))
	code(t, b.Write(filepath.Join(parent, "out")), fault.Usage)
	code(t, CheckDestination(filepath.Join(parent, "out/main.c")), fault.Usage)
}

// FuzzIgnore: no ignore file makes the program panic, and one that is empty of
// rules leaves nothing out.
func FuzzIgnore(f *testing.F) {
	f.Add("*.log\n!keep.log\n/build/\n", "a/b.log")
	f.Add("[a-", "a")
	f.Fuzz(func(t *testing.T, rules, path string) {
		parsed, err := parseIgnore(IgnoreFile, rules)
		if err != nil {
			code(t, err, fault.Parse)
			return
		}
		why, err := parsed.reason(path, false)
		if err != nil && fault.CodeOf(err) != fault.Parse || why != "" && len(parsed) == 0 {
			t.Fatal(why, err)
		}
	})
}
