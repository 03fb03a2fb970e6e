package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func write(t testing.TB, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// textOf reads dir and replaces the owner of whoever runs the test by 0:0.
func textOf(t testing.TB, dir string) string {
	t.Helper()
	tree, err := ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(tree.Text()), fmt.Sprintf(" %d %d ", os.Getuid(), os.Getgid()), " 0 0 ")
}

// The example of formats.md 3, from a directory.
func TestReadDirExample(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Chmod(dir, 0o700))
	write(t, filepath.Join(dir, "bin/hi"), "hi\n", 0o755)
	must(t, os.Chmod(filepath.Join(dir, "bin"), 0o755))
	must(t, os.Link(filepath.Join(dir, "bin/hi"), filepath.Join(dir, "bin/hello")))
	must(t, os.Symlink("bin/hello", filepath.Join(dir, "a b")))
	want := "rebuild.tree.v1\n" +
		"d 0755 0 0 - - .\n" +
		"l 0777 0 0 - bin/hello a%20b\n" +
		"d 0755 0 0 - - bin\n" +
		"f 0755 0 0 3 sha256:98ea6e4f216f2fb4b69fff9b3a44842c38686ca685f3f55dc48c5d3fb1107be4 bin/hello\n" +
		"h - - - - bin/hello bin/hi\n"
	if got := textOf(t, dir); got != want {
		t.Errorf("tree is\n%swant\n%s", got, want)
	}
	link := filepath.Join(t.TempDir(), "link")
	must(t, os.Symlink(dir, link))
	if got := textOf(t, link); got != want {
		t.Errorf("through a link it is\n%s", got)
	}
}

// Nothing below the root is followed, not even on the way to a file.
func TestReadDirFollowsNothing(t *testing.T) {
	outside := t.TempDir()
	write(t, filepath.Join(outside, "secret"), "s", 0o644)
	dir := t.TempDir()
	must(t, os.Symlink(outside, filepath.Join(dir, "d")))
	must(t, os.Symlink("/", filepath.Join(dir, "root")))
	must(t, os.Symlink("d", filepath.Join(dir, "loop")))
	tree, err := ReadDir(dir)
	must(t, err)
	if tree.Len() != 3 {
		t.Errorf("tree is\n%s", tree.Text())
	}
	for e := range tree.Entries() {
		if e.Type != Symlink {
			t.Errorf("%s is %c", e.Path, e.Type)
		}
	}
}

func TestReadDirSpecial(t *testing.T) {
	dir := t.TempDir()
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	must(t, os.Chmod(filepath.Join(dir, "fifo"), 0o640))
	write(t, filepath.Join(dir, "su"), "", 0o755|fs.ModeSetuid)
	write(t, filepath.Join(dir, "sg"), "", 0o711|fs.ModeSetgid)
	must(t, os.Mkdir(filepath.Join(dir, "sticky"), 0o777))
	must(t, os.Chmod(filepath.Join(dir, "sticky"), 0o777|fs.ModeSticky))
	empty := "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	want := "rebuild.tree.v1\nd 0755 0 0 - - .\np 0640 0 0 - - fifo\nf 2711 0 0 0 " + empty + " sg\n" +
		"d 1777 0 0 - - sticky\nf 4755 0 0 0 " + empty + " su\n"
	if got := textOf(t, dir); got != want {
		t.Errorf("tree is\n%swant\n%s", got, want)
	}
}

func TestReadDirSocket(t *testing.T) {
	dir, err := os.MkdirTemp("", "s") // a socket's path must be short
	must(t, err)
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	must(t, err)
	defer l.Close()
	_, err = ReadDir(dir)
	wantCause(t, err, "type")
}

// A sparse file is its content: holes are zeros.
func TestReadDirSparse(t *testing.T) {
	sparse, full := t.TempDir(), t.TempDir()
	f, err := os.Create(filepath.Join(sparse, "f"))
	must(t, err)
	_, err = f.WriteAt([]byte("end"), 3<<20)
	must(t, errors.Join(err, f.Chmod(0o644), f.Close()))
	write(t, filepath.Join(full, "f"), string(make([]byte, 3<<20))+"end", 0o644)
	if textOf(t, sparse) != textOf(t, full) {
		t.Errorf("holes count:\n%s%s", textOf(t, sparse), textOf(t, full))
	}
}

// Attributes come in the order of their names, whatever the kernel's.
func TestReadDirXattrs(t *testing.T) {
	dir := t.TempDir()
	f := filepath.Join(dir, "f")
	write(t, f, "", 0o644)
	write(t, filepath.Join(dir, "z/f"), "", 0o644)
	must(t, os.Symlink("nowhere", filepath.Join(dir, "l")))
	for _, x := range []Xattr{{"user.b", "1 %"}, {"user.a", ""}} {
		if err := unix.Setxattr(f, x.Name, []byte(x.Value), 0); errors.Is(err, unix.ENOTSUP) {
			t.Skip("the file system has no user attributes")
		} else {
			must(t, err)
		}
	}
	must(t, unix.Setxattr(filepath.Join(dir, "z"), "user.d", []byte("v"), 0))
	for _, want := range []string{" f\nx user.a \nx user.b 1%20%25\n", " z\nx user.d v\n"} {
		if got := textOf(t, dir); !strings.Contains(got, want) {
			t.Errorf("tree is\n%s", got)
		}
	}
	must(t, unix.Setxattr(f, "user.overlay.opaque", []byte("y"), 0))
	_, err := ReadDir(dir)
	wantCause(t, err, "xattr: overlay")
}

func TestReadDirRootXattr(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Setxattr(dir, "user.r", []byte("1"), 0); err != nil {
		t.Skip("the file system has no user attributes")
	}
	_, err := ReadDir(dir)
	wantCause(t, err, "xattr: on the root")
}

// As root the whole way: capability, owners, devices; walk, layer, extraction
// and walk again end in one tree.
func TestPrivilegedRoundTrip(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to make devices and capabilities; the vectors have the same without")
	}
	dir := t.TempDir()
	f := filepath.Join(dir, "ping")
	write(t, f, "x", 0o755)
	must(t, os.Chown(f, 3000000, 7))
	capability := "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
	if err := unix.Setxattr(f, "security.capability", []byte(capability), 0); err != nil {
		t.Skipf("capabilities can not be set here: %v", err)
	}
	write(t, filepath.Join(dir, "su"), "y", 0o755|fs.ModeSetuid)
	must(t, os.Mkdir(filepath.Join(dir, "closed"), 0o000))
	s := newStore(t)
	l, err := s.PutDir(dir, 1)
	must(t, err)
	tree, err := s.Tree(l.Tree)
	must(t, err)
	if text := string(tree.Text()); !strings.Contains(text, "x security.capability %01%00%00%02%00%20") || !strings.Contains(text, "f 0755 3000000 7 ") {
		t.Errorf("tree is\n%s", text)
	}
	out := filepath.Join(t.TempDir(), "out")
	must(t, s.Extract(l.Digest, out, ExtractOptions{Owner: true}))
	again, err := ReadDir(out)
	must(t, err)
	if d := Diff(tree, again); len(d) != 0 {
		t.Errorf("after extraction: %v", d)
	}
	if err := unix.Mknod(filepath.Join(dir, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
		t.Skipf("devices can not be made here: %v", err)
	}
	if got := textOf(t, dir); !strings.Contains(got, "c 0644 0 0 - 1,3 null\n") {
		t.Errorf("tree is\n%s", got)
	}
}

// Deeper than the descriptors that dirCache keeps, and twice as wide at each
// level, so that it has to walk down again.
func TestReadDirDeep(t *testing.T) {
	s := newStore(t)
	var files []File
	path := "d"
	for range 300 {
		files = append(files, File{Path: path + "/a/f", Mode: 0o644}, File{Path: path + "/z/f", Mode: 0o644})
		path += "/d"
	}
	l, err := s.PutFiles(files, 1)
	must(t, err)
	out := filepath.Join(t.TempDir(), "out")
	must(t, s.Extract(l.Digest, out, ExtractOptions{}))
	if got := DigestOf([]byte(textOf(t, out))); got != l.Tree {
		t.Errorf("tree is %s, want %s", got, l.Tree)
	}
}

func TestReadDirUnreadable(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root reads everything")
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "f"), "", 0)
	if _, err := ReadDir(dir); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("error is %v", err)
	}
	if _, err := ReadDir(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error is %v", err)
	}
}

// A file or directory that changes between the two passes is an error, never
// a tree that did not exist at any time.
func TestReadDirChanging(t *testing.T) {
	for name, change := range map[string]func(dir string) error{
		"grew":     func(dir string) error { return os.WriteFile(filepath.Join(dir, "f"), []byte("longer"), 0o644) },
		"shrank":   func(dir string) error { return os.Truncate(filepath.Join(dir, "f"), 1) },
		"replaced": func(dir string) error { return os.Rename(filepath.Join(dir, "g"), filepath.Join(dir, "f")) },
		"to link": func(dir string) error {
			os.Remove(filepath.Join(dir, "f"))
			return os.Symlink("g", filepath.Join(dir, "f"))
		},
		"to fifo": func(dir string) error {
			os.Remove(filepath.Join(dir, "f"))
			return unix.Mkfifo(filepath.Join(dir, "f"), 0o644)
		},
		"gone":     func(dir string) error { return os.Remove(filepath.Join(dir, "f")) },
		"new name": func(dir string) error { return os.WriteFile(filepath.Join(dir, "new"), nil, 0o644) },
		"mode":     func(dir string) error { return os.Chmod(filepath.Join(dir, "f"), 0o600) },
		"dir mode": func(dir string) error { return os.Chmod(filepath.Join(dir, "d"), 0o711) },
		"dir linked": func(dir string) error {
			os.Remove(filepath.Join(dir, "d"))
			return os.Symlink(".", filepath.Join(dir, "d"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "f"), "123", 0o644)
			write(t, filepath.Join(dir, "g"), "123", 0o644)
			must(t, os.Mkdir(filepath.Join(dir, "d"), 0o755))
			w, err := newWalk(dir)
			must(t, err)
			defer w.close()
			entries, openers, err := w.entries()
			must(t, err)
			must(t, change(dir))
			_, _, _, err = writeLayer(io.Discard, entries, openers, 1)
			if err == nil {
				err = w.unchanged()
			}
			if err == nil {
				t.Error("not noticed")
			}
		})
	}
}

// The same while the content is read.
func TestContentOfAnotherLength(t *testing.T) {
	for _, size := range []int64{0, 2, 4, 1 << 20} {
		files := []File{{Path: "f", Mode: 0o644, Size: size, Open: func() (io.ReadCloser, error) {
			return io.NopCloser(strings.NewReader("123")), nil
		}}}
		_, err := TreeOf(files)
		wantCause(t, err, "content: changed")
		_, err = WriteArchive(io.Discard, files, 1)
		wantCause(t, err, "content: changed")
	}
}

// A file of 2 GiB must not grow the process.
func TestMemoryIsFlat(t *testing.T) {
	size := int64(2 << 30)
	if testing.Short() {
		size = 256 << 20
	}
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "big"))
	must(t, err)
	must(t, errors.Join(f.Truncate(size), f.Close())) // a hole: no disk needed
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	a, err := writeDirArchive(io.Discard, dir, 1)
	must(t, err)
	runtime.ReadMemStats(&after)
	if a.Size != size+3*blockSize {
		t.Errorf("archive of %d bytes", a.Size)
	}
	if grown := int64(after.Sys) - int64(before.Sys); grown > 32<<20 {
		t.Errorf("the process grew by %d MiB", grown>>20)
	}
}

// The same files by every way in have one tree, layer and manifest.
func TestOneTreeByEveryWay(t *testing.T) {
	s := newStore(t)
	files := []File{
		{Path: "usr/bin/tool", Mode: 0o755, Data: bytes.Repeat([]byte("x"), 300_000)},
		{Path: "usr/bin/alias", Type: Link, Target: "usr/bin/tool"},
		{Path: "usr/lib", Type: Symlink, Target: "lib64"},
		{Path: "empty", Type: Dir, Mode: 0o755},
		{Path: "é", Mode: 0o644, Data: []byte("u")},
	}
	want, err := s.PutFiles(files, 7)
	must(t, err)
	tree, err := TreeOf(files)
	must(t, err)
	var archive bytes.Buffer
	a, err := WriteArchive(&archive, files, 7)
	must(t, err)
	tarred, err := s.PutTar(bytes.NewReader(archive.Bytes()), 7)
	must(t, err)
	dir := filepath.Join(t.TempDir(), "x")
	must(t, s.Extract(want.Digest, dir, ExtractOptions{}))
	if tree.Digest() != want.Tree || (Layer{a.Tree.Digest(), a.Digest, a.Size}) != want || tarred != want || DigestOf([]byte(textOf(t, dir))) != want.Tree {
		t.Errorf("files %v, tree %s, archive %v, tar %v\n%s", want, tree.Digest(), a, tarred, textOf(t, dir))
	}
	if os.Getuid() == 0 {
		walked, err := s.PutDir(dir, 7)
		if err != nil || walked != want {
			t.Errorf("walked %v, %v, want %v", walked, err, want)
		}
	}
	if e, ok := tree.Lookup("usr/bin/tool"); !ok || e.Type != Link || e.Target != "usr/bin/alias" {
		t.Errorf("the leader is not the first name: %v", e)
	}
	if _, ok := tree.Lookup("usr/none"); ok {
		t.Error("found what is not there")
	}
	if e, ok := tree.Lookup("."); !ok || e.Mode != 0o755 {
		t.Error("the root is not found")
	}
}

func TestPutFilesRefuses(t *testing.T) {
	s := newStore(t)
	for _, c := range []struct {
		cause string
		files []File
	}{
		{"path: twice", []File{{Path: "a"}, {Path: "a"}}},
		{"path: absolute", []File{{Path: "/a"}}},
		{"path: component", []File{{Path: "a/../../b"}}},
		{"parent", []File{{Path: "a"}, {Path: "a/b"}}},
		{"link", []File{{Path: "a", Type: Link, Target: "b"}, {Path: "b"}}},
		{"type", []File{{Path: "a", Type: Fifo}}},
		{"target: length", []File{{Path: "a", Type: Symlink}}},
		{"size", []File{{Path: "a", Size: -1, Open: func() (io.ReadCloser, error) { return nil, nil }}}},
	} {
		_, err := s.PutFiles(c.files, 1)
		wantCause(t, err, c.cause)
	}
	_, err := s.PutFiles(nil, -1)
	wantCause(t, err, "epoch")
	failing := []File{{Path: "a", Mode: 0o644, Size: 1, Open: func() (io.ReadCloser, error) { return nil, errFault }}}
	if _, err := s.PutFiles(failing, 1); !errors.Is(err, errFault) {
		t.Errorf("error is %v", err)
	}
	if _, err := TreeOf(failing); !errors.Is(err, errFault) {
		t.Errorf("error is %v", err)
	}
	if r, err := s.Fsck(t.Context()); err != nil || r.Blobs != 0 || len(r.Leftovers) != 0 {
		t.Errorf("refusals left %+v, %v", r, err)
	}
}

// writeDirArchive writes the canonical layer of the directory dir to w.
func writeDirArchive(w io.Writer, dir string, epoch int64) (Archive, error) {
	walk, err := newWalk(dir)
	if err != nil {
		return Archive{}, err
	}
	defer walk.close()
	entries, openers, err := walk.entries()
	if err != nil {
		return Archive{}, err
	}
	t, d, n, err := writeLayer(w, entries, openers, epoch)
	if err == nil {
		err = walk.unchanged()
	}
	return Archive{t, d, n}, err
}
