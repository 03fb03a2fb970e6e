package store

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"rebuild/internal/fault"
)

// item is one header of a test archive, with its content.
type item struct {
	tar.Header
	data string
}

func file(name, data string) item {
	return item{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, data}
}

func dir(name string) item {
	return item{tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755}, ""}
}

func link(flag byte, name, target string) item {
	return item{tar.Header{Typeflag: flag, Name: name, Linkname: target, Mode: 0o777}, ""}
}

func symlink(name, target string) item  { return link(tar.TypeSymlink, name, target) }
func hardlink(name, target string) item { return link(tar.TypeLink, name, target) }

func pax(i item, key, value string) item {
	i.PAXRecords = map[string]string{key: value}
	i.Format = tar.FormatPAX
	return i
}

func makeTar(t testing.TB, items ...item) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, i := range items {
		if i.Typeflag == tar.TypeReg {
			i.Size = int64(len(i.data))
		}
		if err := w.WriteHeader(&i.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, i.data); err != nil {
			t.Fatal(err)
		}
	}
	must(t, w.Close())
	return b.Bytes()
}

// rawHeader makes a header that archive/tar would not write.
func rawHeader(flag byte, name, linkname string, size int64) []byte {
	u := ustar{name: name, link: linkname, mode: 0o644, size: size, flag: flag}
	return u.appendTo(nil)
}

func end(b ...[]byte) []byte {
	return append(bytes.Join(b, nil), make([]byte, 2*blockSize)...)
}

func gz(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	must(t, w.Close())
	return out.Bytes()
}

func xzOf(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := xz.NewWriter(&out)
	must(t, err)
	w.Write(b)
	must(t, w.Close())
	return out.Bytes()
}

func zst(t testing.TB, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	must(t, err)
	defer w.Close()
	return w.EncodeAll(b, nil)
}

// hiBzip2 is a tar file with the one file "f", content "hi" LF, packed by
// bzip2: Go has no writer.
const hiBzip2 = "425a6839314159265359d406633b0000787b90c9900040c0006f000000e1609e00040000082000543281346098469a7a08a934001a3434143e9e564510bed514957b40da99e1720901eea09451271aa8160b8b4a6cc706f84faa34354a23422489206c5dc914e1424350198cec"

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	must(t, err)
	return b
}

// One archive in every packing is one tree; the magic decides, not a name.
func TestPutSourcePackings(t *testing.T) {
	s := newStore(t)
	plain := makeTar(t, file("f", "hi\n"))
	want, err := s.PutFiles([]File{{Path: "f", Mode: 0o644, Data: []byte("hi\n")}}, 1)
	must(t, err)
	half := len(plain) / 2
	for name, b := range map[string][]byte{
		"plain": plain, "gzip": gz(t, plain), "xz": xzOf(t, plain), "zstd": zst(t, plain), "bzip2": unhex(t, hiBzip2),
		"two gzip members": append(gz(t, plain[:half]), gz(t, plain[half:])...),
		"two xz streams":   append(append(xzOf(t, plain[:half]), make([]byte, 8)...), xzOf(t, plain[half:])...),
		"two zstd frames":  append(zst(t, plain[:half]), zst(t, plain[half:])...),
		"blocked tar":      append(bytes.Clone(plain), make([]byte, 10240-len(plain))...),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := s.PutSource(mustPut(t, s, string(b)), UnpackTar, "f.tar", nil, 1)
			if err != nil || got != want {
				t.Errorf("%v, %v, want %v", got, err, want)
			}
			// Cut anywhere, it is an error and never another tree.
			for cut := 1; cut < len(b); cut += 1 + len(b)/50 {
				if tree, err := archiveTree(bytes.NewReader(b[:len(b)-cut]), nil, Limits{}); err == nil && tree.Digest() != want.Tree {
					t.Errorf("cut by %d gives\n%s", cut, tree.Text())
				}
			}
		})
	}
}

func TestPutSourceNormalizes(t *testing.T) {
	s := newStore(t)
	exec := file("./bin/x", "1")
	exec.Mode, exec.Uid, exec.Gname = 0o4711, 77, "wheel"
	group := file("a/b//c", "2")
	group.Mode = 0o071
	closed := dir("closed")
	closed.Mode = 0o700
	long := strings.Repeat("l", 200)
	b := makeTar(t, dir("."), exec, group, closed, dir("closed"), symlink("abs", "/etc/passwd"), hardlink("hard", "bin/x"),
		pax(file("x", ""), xattrKey+"user.k", "v"), pax(file("acl", ""), "LIBARCHIVE.xattr.user.k", "dg=="), file(long, "3"),
		item{tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "commit"}}, ""},
		item{tar.Header{Typeflag: tar.TypeReg, Name: long + "2", Mode: 0o644, Format: tar.FormatGNU}, ""})
	l, err := s.PutSource(mustPut(t, s, string(b)), UnpackTar, "s", nil, 1)
	must(t, err)
	want, err := TreeOf([]File{
		{Path: "bin/x", Mode: 0o755, Data: []byte("1")},
		{Path: "a/b/c", Mode: 0o644, Data: []byte("2")},
		{Path: "closed", Type: Dir, Mode: 0o755},
		{Path: "abs", Type: Symlink, Target: "/etc/passwd"},
		{Path: "hard", Type: Link, Target: "bin/x"},
		{Path: "x", Mode: 0o644},
		{Path: "acl", Mode: 0o644},
		{Path: long, Mode: 0o644, Data: []byte("3")},
		{Path: long + "2", Mode: 0o644},
	})
	must(t, err)
	got, err := s.Tree(l.Tree)
	must(t, err)
	if d := Diff(want, got); len(d) != 0 {
		t.Errorf("differs: %v", d)
	}
}

func TestPutSourceNone(t *testing.T) {
	s := newStore(t)
	d := mustPut(t, s, "#!/bin/sh\n")
	got, err := s.PutSource(d, UnpackNone, "configure", nil, 1)
	must(t, err)
	want, err := s.PutFiles([]File{{Path: "configure", Mode: 0o644, Data: []byte("#!/bin/sh\n")}}, 1)
	if err != nil || got != want {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
	_, err = s.PutSource(d, UnpackNone, "../x", nil, 1)
	wantCause(t, err, "path: component")
	_, err = s.PutSource(d, "zip", "x", nil, 1)
	wantCode(t, err, fault.Structure)
	_, err = s.PutSource(d, UnpackNone, "x", []Omit{{"x", d}}, 1)
	wantCode(t, err, fault.Structure)
	_, err = s.PutSource(DigestOf(nil), UnpackNone, "x", nil, 1)
	wantCode(t, err, fault.FileMissing)
}

// What is listed as machine code is left out; a wrong list is an error.
func TestPutSourceOmit(t *testing.T) {
	s := newStore(t)
	archive := mustPut(t, s, string(makeTar(t, file("t/a", "code"), hardlink("t/b", "t/a"), file("t/c", "text"))))
	code := DigestOf([]byte("code"))
	l, err := s.PutSource(archive, UnpackTar, "s", []Omit{{"t/a", code}}, 1)
	must(t, err)
	want, err := s.PutFiles([]File{{Path: "t/b", Mode: 0o644, Data: []byte("code")}, {Path: "t/c", Mode: 0o644, Data: []byte("text")}}, 1)
	if err != nil || l != want {
		t.Errorf("%v, %v, want %v", l, err, want)
	}
	for _, o := range []Omit{{"t/none", code}, {"t", code}, {"t/c", code}} {
		_, err := s.PutSource(archive, UnpackTar, "s", []Omit{o}, 1)
		wantCode(t, err, fault.SourceMismatch)
	}
	_, err = s.PutSource(archive, UnpackTar, "s", []Omit{{"t/a", code}, {"t/a", code}}, 1)
	wantCode(t, err, fault.SourceMismatch)
}

// hostile is one archive of the escape corpus. cause is why it is refused, or
// "" if it is taken: then nothing of it may leave the directory it is
// extracted to.
type hostile struct {
	name  string
	b     []byte
	cause string
}

func hostiles(t testing.TB) []hostile {
	tarOf := func(items ...item) []byte { return makeTar(t, items...) }
	long := strings.Repeat("x", 300)
	deep := strings.Repeat("d/", 2100) + "f"
	var many []item
	for i := range 40 {
		many = append(many, symlink(fmt.Sprintf("l%02d", i), fmt.Sprintf("l%02d", i+1)))
	}
	device := func(flag byte, major, minor int64) []byte {
		return tarOf(item{tar.Header{Typeflag: flag, Name: "d", Mode: 0o666, Devmajor: major, Devminor: minor}, ""})
	}
	badSum := tarOf(file("a", "x"))
	badSum[0] ^= 1
	good := tarOf(file("a", "x"))
	return []hostile{
		{"dot dot", tarOf(file("../x", "e")), "path: component"},
		{"dot dot inside", tarOf(file("a/../../x", "e")), "path: component"},
		{"dot dot at the end", tarOf(dir("a"), symlink("a/..", "x")), "path: component"},
		{"dot dot directory", tarOf(dir("..")), "path: component"},
		{"dot slash dot dot", tarOf(file("./../x", "e")), "path: component"},
		{"dot dot to itself", tarOf(file("a/../a", "e")), "path: component"},
		{"many dot dots", tarOf(file(strings.Repeat("../", 40)+"srv/x", "e")), "path: component"},
		{"dot dot in a long name", tarOf(file("../"+long[:250]+"/"+long[:250], "e")), "path: component"},
		{"dot dot in a PAX path", end(paxRaw("path", "../x"), rawHeader('0', "ok", "", 0)), "path: component"},
		{"absolute", tarOf(file("/etc/x", "e")), "path: absolute"},
		{"absolute directory", tarOf(dir("/srv")), "path: absolute"},
		{"two slashes", tarOf(file("//etc/x", "e")), "path: absolute"},
		{"absolute link name", tarOf(symlink("/x", "a")), "path: absolute"},
		{"backslashes are letters", tarOf(file(`..\..\x`, "e")), ""},
		{"drive letter is a letter", tarOf(file(`C:\x`, "e")), ""},
		{"empty name", end(rawHeader('0', "", "", 0)), "path: component"},
		{"through a link out", tarOf(symlink("l", "/"), file("l/x", "e")), "parent"},
		{"through a relative link out", tarOf(symlink("l", "../.."), file("l/x", "e")), "parent"},
		{"through a link inside", tarOf(dir("d"), symlink("l", "d"), file("l/x", "e")), "parent"},
		{"through two links", tarOf(symlink("a", "b"), symlink("b", ".."), file("a/x", "e")), "parent"},
		{"through a link listed later", tarOf(file("l/x", "e"), symlink("l", "..")), "parent"},
		{"through a link with a slash", tarOf(symlink("l", "../"), dir("l/d")), "parent"},
		{"through a file", tarOf(file("f", "e"), file("f/x", "e")), "parent"},
		{"link, then directory", tarOf(symlink("l", ".."), dir("l"), file("l/x", "e")), "path: twice"},
		{"directory, then link", tarOf(dir("l"), symlink("l", ".."), file("l/x", "e")), "path: twice"},
		{"directory over a link with dot", tarOf(symlink("l", ".."), file("l/./x", "e")), "parent"},
		{"symlink to the root", tarOf(symlink("l", "/")), ""},
		{"symlink to the parent", tarOf(symlink("l", "..")), ""},
		{"symlink to itself", tarOf(symlink("l", "l")), ""},
		{"chain of links", tarOf(many...), ""},
		{"symlink to proc", tarOf(symlink("l", "/proc/self/cwd/x")), ""},
		{"symlink without target", end(rawHeader('2', "l", "", 0)), "target: length"},
		{"symlink to a long target", tarOf(symlink("l", strings.Repeat("t/", 2049))), "target: length"},
		{"symlink to bytes", tarOf(item{tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "\xff", Format: tar.FormatGNU}, ""}), "target: not UTF-8"},
		{"hard link out", tarOf(hardlink("h", "../x")), "path: component"},
		{"hard link absolute", tarOf(hardlink("h", "/etc/passwd")), "path: absolute"},
		{"hard link to nothing", tarOf(hardlink("h", "x")), "link"},
		{"hard link to a later file", tarOf(hardlink("h", "x"), file("x", "e")), "link"},
		{"hard link to itself", tarOf(hardlink("h", "h")), "link"},
		{"hard link to a directory", tarOf(dir("d"), hardlink("h", "d")), "link"},
		{"hard link to a symlink out", tarOf(symlink("l", "/etc/passwd"), hardlink("h", "l")), ""},
		{"hard link through a symlink", tarOf(symlink("l", ".."), hardlink("h", "l/x")), "link"},
		{"hard link without a name", end(rawHeader('0', "f", "", 0), rawHeader('1', "h", "", 0)), "path: component"},
		{"hard link over a file", tarOf(file("a", "1"), file("b", "2"), hardlink("b", "a")), "path: twice"},
		{"file twice", tarOf(file("a", "1"), file("a", "2")), "path: twice"},
		{"file twice by a dot", tarOf(file("a", "1"), file("./a", "2")), "path: twice"},
		{"file, then directory", tarOf(file("a", "1"), dir("a")), "path: twice"},
		{"directory, then file", tarOf(dir("a"), file("a", "1")), "path: twice"},
		{"file over the root", end(rawHeader('0', ".", "", 0)), ""},
		{"link over the root", end(rawHeader('2', ".", "/", 0)), ""},
		{"character device", device(tar.TypeChar, 1, 3), "type"},
		{"block device", device(tar.TypeBlock, 8, 0), "type"},
		{"deletion device", device(tar.TypeChar, 0, 0), "type"},
		{"fifo", device(tar.TypeFifo, 0, 0), "type"},
		{"GNU volume label", end(rawHeader('V', "label", "", 0)), "type"},
		{"GNU multi volume", end(rawHeader('M', "part", "", 0)), "type"},
		{"GNU dump directory", end(rawHeader('D', "dump", "", 0)), "type"},
		{"unknown type", end(rawHeader('Q', "q", "", 0)), "type"},
		{"whiteout", tarOf(file(".wh.a", "")), "whiteout"},
		{"opaque whiteout", tarOf(file("d/.wh..wh..opq", "")), "whiteout"},
		{"whiteout directory", tarOf(dir(".wh.d")), "whiteout"},
		{"name not UTF-8", end(rawHeader('0', "a\xff", "", 0)), "path: not UTF-8"},
		{"name a surrogate", end(rawHeader('0', "\xed\xa0\x80", "", 0)), "path: not UTF-8"},
		{"long component", tarOf(file(long, "")), "path: too long"},
		{"long path", tarOf(file(deep, "")), "path: too long"},
		{"GNU long name of nothing", end(gnuLong("../x")), ""},
		{"NUL in a PAX path", end(paxRaw("path", "a\x00b"), rawHeader('0', "f", "", 0)), "tar"},
		{"PAX record too long", end(paxBody("99 path=x\n"), rawHeader('0', "f", "", 0)), "tar"},
		{"PAX record negative", end(paxBody("-9 path=x\n"), rawHeader('0', "f", "", 0)), "tar"},
		{"PAX record huge", end(paxBody("9999999999999999999999 path=x\n"), rawHeader('0', "f", "", 0)), "tar"},
		{"PAX header of 1 GiB", rawHeader('x', paxName, "", 1<<30), "tar"},
		{"GNU name of 1 GiB", rawHeader('L', "././@LongLink", "", 1<<30), "tar"},
		{"PAX size larger than the archive", end(paxRaw("size", "999999999"), rawHeader('0', "f", "", 1)), "tar"},
		{"PAX size of 2^62", end(paxRaw("size", "4611686018427387904"), rawHeader('0', "f", "", 0)), "content: too much"},
		{"PAX size negative", end(paxRaw("size", "-1"), rawHeader('0', "f", "", 0)), "tar"},
		{"size without content", rawHeader('0', "f", "", 8<<30-1), "tar"},
		{"size more than the limit", end(base256(rawHeader('0', "f", "", 0), 1<<50)), "content: too much"},
		{"size negative", end(base256(rawHeader('0', "f", "", 0), -1)), "tar"},
		{"sparse by PAX", end(paxBody(sparseRecords("1152921504606846976")), rawHeader('0', "f", "", 512), make([]byte, 512)), "tar"},
		{"sparse map endless", end(paxBody(sparse01(100000)), rawHeader('0', "f", "", 0)), "tar"},
		{"sparse by GNU", end(gnuSparse()), "type"},
		{"checksum", badSum, "tar"},
		{"no archive", []byte("#!/bin/sh\necho this is no archive\n"), "tar"},
		{"nothing", nil, "tar"},
		{"one zero block", make([]byte, 512), "tar"},
		{"cut in a header", good[:100], "tar"},
		{"cut in the content", good[:512], "tar"},
		{"cut in the padding", good[:600], "tar"},
		{"cut before the end", good[:1024], "tar"},
		{"cut in the end", good[:1536], "tar"},
		{"two archives", append(bytes.Clone(good), tarOf(file("b", "y"))...), "tar"},
		{"junk behind", append(bytes.Clone(good), 'x'), "tar"},
		{"zero block inside", append(append(bytes.Clone(good[:1024]), make([]byte, 512)...), good...), "tar"},
	}
}

// hostilePackings are archives that are hostile before any tar is seen.
func hostilePackings(t testing.TB) []hostile {
	good := makeTar(t, file("a", "x"))
	zeros := make([]byte, 72<<20) // more than RatioFloor
	bomb := end(rawHeader('0', "f", "", int64(len(zeros))), zeros)
	return []hostile{
		{"gzip of gzip", gz(t, gz(t, good)), "tar"},
		{"gzip bomb", gz(t, bomb), "content: ratio"},
		{"gzip bomb of nothing", gz(t, zeros), "content: ratio"},
		{"xz bomb", xzOf(t, bomb), "content: ratio"},
		{"zstd bomb", zst(t, bomb), "content: ratio"},
		{"xz dictionary of 4 GiB", xzWithDictionary(t, good, 40), "content: window"},
		{"xz dictionary of 192 MiB", xzWithDictionary(t, good, 31), "content: window"},
		{"zstd window of 1 TiB", unhex(t, "28b52ffd00f0010000"), "compression"},
		{"gzip header alone", gz(t, good)[:10], "compression"},
		{"gzip checksum", flipAt(gz(t, good), -6), "compression"},
		{"gzip with junk", append(gz(t, good), "junk"...), "compression"},
		{"xz cut", xzOf(t, good)[:60], "compression"},
		{"xz checksum", flipAt(xzOf(t, good), 30), "compression"},
		{"bzip2 cut", unhex(t, hiBzip2)[:40], "compression"},
		{"bzip2 header alone", []byte("BZh9"), "compression"},
		{"zstd cut", zst(t, good)[:20], "compression"},
	}
}

func gnuLong(name string) []byte {
	b := append([]byte(name), make([]byte, padding(int64(len(name))))...)
	return append(rawHeader('L', "././@LongLink", "", int64(len(name))), b...)
}

func paxBody(body string) []byte {
	u := ustar{name: paxName, size: int64(len(body)), flag: 'x'}
	return append(append(u.appendTo(nil), body...), make([]byte, padding(int64(len(body))))...)
}

func paxRaw(key, value string) []byte { return paxBody(paxRecord(key, value)) }

func sparseRecords(size string) string {
	return paxRecord("GNU.sparse.major", "1") + paxRecord("GNU.sparse.minor", "0") +
		paxRecord("GNU.sparse.name", "f") + paxRecord("GNU.sparse.realsize", size)
}

func sparse01(n int) string {
	return paxRecord("GNU.sparse.numblocks", fmt.Sprint(n)) + paxRecord("GNU.sparse.map", strings.Repeat("1,0,", n/2)+"1,0") + paxRecord("GNU.sparse.size", "9")
}

// gnuSparse is a file of one hole of 8 GiB in the old GNU form.
func gnuSparse() []byte {
	h := rawHeader('S', "f", "", 0)
	copy(h[257:265], "ustar  \x00")
	for i := 345; i < 512; i++ {
		h[i] = 0
	}
	octal(h[483:495], 8<<30-1)
	return checksum(h)
}

func base256(h []byte, n int64) []byte {
	field := h[124:136]
	for i := range 4 {
		field[i] = byte(n >> 63)
	}
	field[0] |= 0x80
	binary.BigEndian.PutUint64(field[4:], uint64(n))
	return checksum(h)
}

func checksum(h []byte) []byte {
	copy(h[148:156], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	octal(h[148:155], int64(sum))
	return h
}

func flipAt(b []byte, at int) []byte {
	b = bytes.Clone(b)
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 1
	return b
}

// xzWithDictionary changes the one byte that says how large the dictionary
// is. The guard does not look at the CRC, which comes later.
func xzWithDictionary(t testing.TB, b []byte, bits byte) []byte {
	b = xzOf(t, b)
	at := bytes.Index(b[12:], []byte{0x21, 1}) + 12 + 2
	b[at] = bits
	return b
}

// TestG50_HostileArchives runs the corpus: each archive is refused for its own
// reason or taken whole, the sentinel beside the target is untouched, and
// memory stays bounded. The numbers of archives and of taken ones are part of
// the test.
func TestG50_HostileArchives(t *testing.T) {
	s := newStore(t)
	base := t.TempDir()
	sentinel := filepath.Join(base, "x")
	write(t, sentinel, "sentinel", 0o644)
	cases := append(hostiles(t), hostilePackings(t)...)
	taken := 0
	for i, h := range cases {
		t.Run(h.name, func(t *testing.T) {
			l, err := s.PutSource(mustPut(t, s, string(h.b)), UnpackTar, "hostile", nil, 1)
			if h.cause != "" {
				wantCause(t, err, h.cause)
				return
			}
			must(t, err)
			taken++
			must(t, s.Extract(l.Digest, filepath.Join(base, fmt.Sprint(i)), ExtractOptions{}))
		})
		if b, err := os.ReadFile(sentinel); err != nil || string(b) != "sentinel" {
			t.Fatalf("%s: the sentinel is %q, %v", h.name, b, err)
		}
	}
	for _, name := range []string{"etc/x", "../x", "l"} {
		if _, err := os.Lstat(filepath.Join(base, name)); err == nil && name != "../x" {
			t.Errorf("%s was written", name)
		}
	}
	if len(cases) < 60 || taken != 11 {
		t.Errorf("%d archives, %d taken", len(cases), taken)
	}
}

// The strict reader, for our own layers, refuses whatever the lenient one
// refuses, and the liberties too.
func TestHostileLayers(t *testing.T) {
	for _, h := range hostiles(t) {
		tree, err := ReadTar(bytes.NewReader(h.b))
		if h.cause == "" {
			continue
		}
		if err == nil && h.cause != "type" {
			t.Errorf("%s: taken as\n%s", h.name, tree.Text())
		}
	}
	for name, c := range map[string]struct {
		b     []byte
		cause string
	}{
		"dot slash":        {makeTar(t, file("./a", "")), "path: component"},
		"double slash":     {makeTar(t, dir("a"), file("a//b", "")), "path: component"},
		"no parent":        {makeTar(t, file("a/b", "")), "parent"},
		"directory twice":  {makeTar(t, dir("a"), dir("a")), "path: twice"},
		"global header":    {makeTar(t, item{tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"a": "b"}}, ""}), "type"},
		"libarchive xattr": {makeTar(t, pax(file("a", ""), "LIBARCHIVE.xattr.user.k", "dg==")), "xattr: name not allowed"},
		"text acl":         {makeTar(t, pax(file("a", ""), "SCHILY.acl.access", "user::rwx")), "xattr: name not allowed"},
		"root as a file":   {end(rawHeader('0', ".", "", 0)), "path: root is no directory"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ReadTar(bytes.NewReader(c.b))
			wantCause(t, err, c.cause)
		})
	}
}

func TestLimits(t *testing.T) {
	b := makeTar(t, file("a/b/c", "123"), file("d", "456"))
	for _, c := range []struct {
		l     Limits
		cause string
	}{
		{Limits{Entries: 3}, "entries: too many"},
		{Limits{Entries: 1}, "entries: too many"},
		{Limits{Bytes: 5}, "content: too much"},
		{Limits{Entries: 4, Bytes: 6}, ""},
	} {
		_, err := archiveTree(bytes.NewReader(b), nil, c.l)
		if c.cause == "" {
			must(t, err)
			continue
		}
		wantCause(t, err, c.cause)
	}
}

// endless gives one header and then zeros without end.
type endless struct {
	head []byte
	n    int64
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.head)
	e.head = e.head[n:]
	clear(p[n:])
	e.n += int64(len(p))
	return len(p), nil
}

// An endless stream is bounded by bytes, and nothing of it stays in memory.
func TestEndlessStream(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	e := &endless{head: rawHeader('0', "f", "", 1<<32)}
	_, err := archiveTree(e, nil, Limits{Bytes: 64 << 20, Entries: 10})
	wantCause(t, err, "content: too much")
	e = &endless{}
	if _, err := archiveTree(e, nil, Limits{Bytes: 64 << 20, Entries: 10}); err == nil {
		t.Error("an endless stream of zeros was taken")
	}
	runtime.ReadMemStats(&after)
	if grown := int64(after.Sys) - int64(before.Sys); grown > 32<<20 {
		t.Errorf("the process grew by %d MiB", grown>>20)
	}
}

func TestExtractRefuses(t *testing.T) {
	s := newStore(t)
	l := exampleLayer(t, s)
	full := t.TempDir()
	write(t, filepath.Join(full, "f"), "mine", 0o644)
	wantCode(t, s.Extract(l.Digest, full, ExtractOptions{}), fault.Usage)
	if b, _ := os.ReadFile(filepath.Join(full, "f")); string(b) != "mine" {
		t.Error("a file that was there is gone")
	}
	b := makeTar(t, item{tar.Header{Typeflag: tar.TypeFifo, Name: "p", Mode: 0o666}, ""})
	fifo, err := s.PutTar(bytes.NewReader(b), 1)
	must(t, err)
	out := filepath.Join(t.TempDir(), "out")
	wantCause(t, s.Extract(fifo.Digest, out, ExtractOptions{}), "type")
	if _, err := os.Lstat(out); err == nil {
		t.Error("a refused layer left a directory")
	}
	if err := s.Extract(l.Digest, filepath.Join(out, "no/parent"), ExtractOptions{}); err == nil {
		t.Error("extracted below nothing")
	}
	must(t, s.Extract(l.Digest, out, ExtractOptions{}))
	if b, err := os.ReadFile(filepath.Join(out, "a b")); err != nil || string(b) != "hi\n" {
		t.Errorf("%q, %v", b, err)
	}
}

// archiveTree returns the tree that PutArchive would store.
func archiveTree(r io.Reader, omit []Omit, l Limits) (*Tree, error) {
	build, err := readArchive(r, omit, l, nil)
	if err != nil {
		return nil, err
	}
	entries, _, err := build.finish()
	if err != nil {
		return nil, err
	}
	return newTree(entries), nil
}
