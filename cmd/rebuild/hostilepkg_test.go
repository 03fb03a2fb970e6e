package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"rebuild/attest"
)

// hostileMembers are what an honest package gets behind its own files.
func hostileMembers(escaped string) map[string][]*tar.Header {
	names := []string{
		"../escaped", "../../escaped", "a/../../escaped", "./../escaped", "..", "../", escaped, "/" + escaped, "//" + escaped, ".", "./", "/",
		"a//b", "a/./b", ".wh.a", ".wh..wh..opq", "CON", "aux.txt", "C:\\x", "..\\x", "a:stream", "a ", "a.", "A\u0301", "\u202ea", "e\u0301/\u00e9",
		"a\nb", "a\x1b[2J", strings.Repeat("x", 300), strings.Repeat("d/", 3000) + "f", "rebuild.package.json", "rebuild.files.json", "rebuild.exports.json",
		"REBUILD.PACKAGE.JSON", "linux-amd64/hello/../../escaped", "linux-amd64/hello/new",
	}
	out := map[string][]*tar.Header{}
	for i, n := range names {
		out[fmt.Sprintf("%02d file %.20q", i, n)] = []*tar.Header{{Typeflag: tar.TypeReg, Name: n, Mode: 0o644}}
		out[fmt.Sprintf("%02d folder %.20q", i, n)] = []*tar.Header{{Typeflag: tar.TypeDir, Name: strings.TrimRight(n, "/") + "/", Mode: 0o755}}
	}
	for i, to := range []string{"/", "..", "../../..", escaped, "/etc/passwd", "/proc/self/root", "/dev/zero", ".", "l", strings.Repeat("t/", 3000)} {
		out[fmt.Sprintf("link %d", i)] = []*tar.Header{{Typeflag: tar.TypeSymlink, Name: "l", Linkname: to, Mode: 0o777}}
		out[fmt.Sprintf("through link %d", i)] = []*tar.Header{{Typeflag: tar.TypeSymlink, Name: "l", Linkname: to, Mode: 0o777}, {Typeflag: tar.TypeReg, Name: "l/escaped", Mode: 0o644}}
		out[fmt.Sprintf("hard link %d", i)] = []*tar.Header{{Typeflag: tar.TypeLink, Name: "l", Linkname: to, Mode: 0o644}}
	}
	for _, flag := range []byte{tar.TypeChar, tar.TypeBlock, tar.TypeFifo, tar.TypeCont, 'S', 'V', 'M', 'Q'} {
		out[fmt.Sprintf("type %c", flag)] = []*tar.Header{{Typeflag: flag, Name: "special", Mode: 0o644, Devmajor: 1, Devminor: 5}}
	}
	for _, mode := range []int64{0o4755, 0o2755, 0o1777, 0, 0o666} {
		out[fmt.Sprintf("mode %o", mode)] = []*tar.Header{{Typeflag: tar.TypeReg, Name: "zz", Mode: mode}}
	}
	out["claims 1 TiB"] = []*tar.Header{{Typeflag: tar.TypeReg, Name: "zz", Mode: 0o644, Size: 1 << 40, Format: tar.FormatGNU}}
	out["attributes"] = []*tar.Header{{Typeflag: tar.TypeReg, Name: "zz", Mode: 0o644, PAXRecords: map[string]string{"SCHILY.xattr.security.capability": "x"}}}
	out["an owner"] = []*tar.Header{{Typeflag: tar.TypeReg, Name: "zz", Mode: 0o644, Uid: 7}}
	return out
}

// Every command that opens a package from a file refuses each hostile one with a
// code of its own, in bounded memory, and writes nothing anywhere.
func TestG50_HostilePackagesByEveryCommand(t *testing.T) {
	t.Parallel()
	h := newHostileWorld(t)
	base := t.TempDir()
	cwd := filepath.Join(base, "a/b/c")
	write(t, filepath.Join(base, "sentinel"), []byte("untouched"))
	write(t, filepath.Join(cwd, "sentinel"), []byte("untouched"))
	honest := h.release.Package.Archive()
	if !bytes.HasSuffix(honest, make([]byte, 1024)) {
		t.Fatal("another form of archive")
	}
	members := hostileMembers(filepath.Join(base, "escaped"))
	before, err := snapshot(base)
	if err != nil {
		t.Fatal(err)
	}
	archives := t.TempDir()
	i := 0
	for name, headers := range members {
		var b bytes.Buffer
		b.Write(honest[:len(honest)-1024])
		var refused error // to be written, by the library that these are made with
		for _, m := range headers {
			refused = errors.Join(refused, tar.NewWriter(&b).WriteHeader(m))
		}
		if refused != nil {
			continue
		}
		b.Write(make([]byte, 1024))
		file := filepath.Join(archives, fmt.Sprint(i)+".tar")
		i++
		write(t, file, b.Bytes())
		if _, err := attest.OpenPackage("a", b.Bytes()); err == nil {
			t.Errorf("%s is taken", name)
		}
		for _, args := range [][]string{
			{"pkg", "check-semver", "--old", file, "--new", file},
			{"pkg", "files", file},
			{"verify", h.bundle, "-p", h.policy, "--at", at, "--artifact", file},
		} {
			c := rebuild(t, args...)
			c.Dir = cwd
			refuseHostile(t, c, 12, 13, 31)
			if bytes.ContainsAny(c.err.Bytes(), "\x1b\u202e") || bytes.Contains(c.err.Bytes(), []byte("\u202e")) {
				t.Errorf("%s: %v: the terminal is told %q", name, args, c.err.String())
			}
		}
	}
	if i < 60 {
		t.Errorf("only %d archives", i)
	}
	t.Logf("%d archives", i)
	if after, err := snapshot(base); err != nil || after != before {
		t.Errorf("files changed (%v):\n%s\nbefore\n%s", err, after, before)
	}
}

// An installed tree holds what no release has: each is found soon, and nothing
// outside of it is read or waited for.
func TestC19HostileInstalledTrees(t *testing.T) {
	t.Parallel()
	in := install(t)
	outside := in.path("outside")
	write(t, filepath.Join(outside, "secret"), []byte("secret"))
	for name, c := range map[string]struct {
		status int
		change func(dir string) error
	}{
		"a pipe":              {13, func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644) }},
		"a pipe for a file":   {13, func(dir string) error { return swapped(filepath.Join(dir, "rebuild.package.json"), syscall.Mkfifo) }},
		"a socket":            {13, func(dir string) error { return syscall.Mknod(filepath.Join(dir, "socket"), syscall.S_IFSOCK|0o644, 0) }},
		"a link out":          {13, func(dir string) error { return os.Symlink(outside, filepath.Join(dir, "out")) }},
		"a link to itself":    {13, func(dir string) error { return os.Symlink("self", filepath.Join(dir, "self")) }},
		"a hard link out":     {13, func(dir string) error { return os.Link(filepath.Join(outside, "secret"), filepath.Join(dir, "secret")) }},
		"a hole of a TiB":     {31, func(dir string) error { return hole(filepath.Join(dir, "hole"), 1<<40) }},
		"a long name":         {13, func(dir string) error { return os.WriteFile(filepath.Join(dir, strings.Repeat("x", 255)), nil, 0o644) }},
		"a name of bytes":     {13, func(dir string) error { return os.WriteFile(filepath.Join(dir, "\xff\x1b[2J"), nil, 0o644) }},
		"a folder for a file": {13, func(dir string) error { return swapped(filepath.Join(dir, "rebuild.package.json"), syscall.Mkdir) }},
		"10,000 files": {13, func(dir string) error {
			for i := range 10_000 {
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o644); err != nil {
					return err
				}
			}
			return nil
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "package")
			if err := os.CopyFS(dir, os.DirFS(in.path("package"))); err != nil {
				t.Fatal(err)
			}
			if err := c.change(dir); err != nil {
				t.Fatal(err)
			}
			v := rebuild(t, "pkg", "verify", "--policy", in.path("policy.toml"), "--at", "2026-06-01T12:00:00Z", "--installed", dir, "--bundle", in.path("hello.rbundle"))
			if got := v.status(t); got != c.status {
				t.Errorf("exit %d, want %d\n%.2000s%.2000s", got, c.status, v.out.String(), v.err.String())
			}
			if text := v.out.String() + v.err.String(); strings.ContainsAny(text, "\x1b") {
				t.Errorf("the terminal is told %.300q", text)
			}
		})
	}
}

func swapped(path string, by func(string, uint32) error) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return by(path, 0o755)
}

func hole(path string, size int64) error {
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		return err
	}
	return os.Truncate(path, size)
}
