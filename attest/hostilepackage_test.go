package attest_test

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"rebuild/attest"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// member is one entry of a package archive, written as the canonical writer
// would, whatever it says.
type member struct {
	flag         byte
	name, link   string
	mode         int64
	data         string
	size         *int64 // what the header says; nil: the length of data
	uid, gid     int64
	major, minor int64
	pax          string            // records before it
	change       func(head []byte) // of the header, before its checksum
}

func regular(name, data string) member {
	return member{flag: tar.TypeReg, name: name, mode: 0o644, data: data}
}
func folderAt(name string) member { return member{flag: tar.TypeDir, name: name + "/", mode: 0o755} }
func linkTo(name, target string) member {
	return member{flag: tar.TypeSymlink, name: name, link: target, mode: 0o777}
}
func twinOf(name, target string) member {
	return member{flag: tar.TypeLink, name: name, link: target, mode: 0o644}
}
func special(flag byte, name string, major, minor int64) member {
	return member{flag: flag, name: name, mode: 0o644, major: major, minor: minor}
}

func (m member) with(change func(*member)) member { change(&m); return m }

func paxLine(key, value string) string {
	n := len(key) + len(value) + 3
	for len(fmt.Sprint(n))+len(key)+len(value)+3 != n {
		n = len(fmt.Sprint(n)) + len(key) + len(value) + 3
	}
	return fmt.Sprintf("%d %s=%s\n", n, key, value)
}

// bytes returns header, content and padding.
func (m member) bytes() []byte {
	var out []byte
	if m.pax != "" {
		out = member{flag: 'x', name: "PaxHeader", data: m.pax, mode: 0}.bytes()
	}
	size := int64(len(m.data))
	if m.size != nil {
		size = *m.size
	}
	h := make([]byte, 512)
	octal := func(at, width int, n int64) { copy(h[at:at+width], fmt.Sprintf("%0*o\x00", width-1, n)) }
	copy(h[:100], m.name)
	octal(100, 8, m.mode)
	octal(108, 8, m.uid)
	octal(116, 8, m.gid)
	octal(124, 12, size)
	octal(136, 12, epochOf(m.flag))
	h[156] = m.flag
	copy(h[157:257], m.link)
	copy(h[257:], "ustar\x0000")
	octal(329, 8, m.major)
	octal(337, 8, m.minor)
	if m.change != nil {
		m.change(h)
	}
	copy(h[148:156], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[148:156], fmt.Sprintf("%06o\x00 ", sum))
	out = append(append(out, h...), m.data...)
	return append(out, make([]byte, (512-len(m.data)%512)%512)...)
}

// epochOf is 1 for all but PAX headers, as in every archive of these tests.
func epochOf(flag byte) int64 {
	if flag == 'x' {
		return 0
	}
	return 1
}

// hostilePackage is a package whose content or inventory or both go wrong.
type hostilePackage struct {
	name string
	// members are put into an honest package, in the order of paths if sorted.
	members []member
	sorted  bool
	listed  bool // in the inventory, as far as it can list them
	raw     func(honest []byte) []byte
	want    fault.Code
}

// craft makes the archive of an honest package and what goes wrong in it.
func (h hostilePackage) craft(t *testing.T, f folder) []byte {
	t.Helper()
	f.doc.Files = slices.Clone(f.doc.Files)
	var all []member
	for _, file := range f.files {
		if file.Path != attest.FilesFile {
			all = append(all, honestMember(file))
		}
	}
	if h.sorted {
		all = append(all, h.members...)
	}
	if h.listed {
		for _, m := range h.members {
			if !utf8.ValidString(m.name) {
				continue // no inventory can name it
			}
			f.doc.Files = append(f.doc.Files, m.entry())
		}
		slices.SortStableFunc(f.doc.Files, func(a, b attest.FileEntry) int { return strings.Compare(a.Path, b.Path) })
		f.doc.TotalFiles += len(h.members)
	}
	inventory, err := document.Encode(f.doc)
	must(t, err)
	all = append(all, regular(attest.FilesFile, string(inventory)))
	slices.SortStableFunc(all, func(a, b member) int {
		return strings.Compare(strings.TrimSuffix(a.name, "/"), strings.TrimSuffix(b.name, "/"))
	})
	if !h.sorted {
		all = append(h.members, all...)
	}
	var out []byte
	for _, m := range all {
		out = append(out, m.bytes()...)
	}
	out = append(out, make([]byte, 1024)...)
	if h.raw != nil {
		out = h.raw(out)
	}
	return out
}

func honestMember(f store.File) member {
	switch f.Type {
	case store.Dir:
		return folderAt(f.Path)
	case store.Symlink:
		return linkTo(f.Path, f.Target)
	}
	return regular(f.Path, string(f.Data)).with(func(m *member) { m.mode = int64(f.Mode) })
}

func (m member) entry() attest.FileEntry {
	e := attest.FileEntry{Path: strings.TrimSuffix(m.name, "/"), Type: "f", Mode: fmt.Sprintf("%04o", m.mode&0o7777), Link: m.link}
	switch m.flag {
	case tar.TypeReg:
		size := int64(len(m.data))
		e.Size, e.Hash = &size, store.DigestOf([]byte(m.data))
	case tar.TypeDir:
		e.Type = "d"
	case tar.TypeSymlink:
		e.Type = "l"
	case tar.TypeLink:
		e.Type, e.Mode = "h", ""
	}
	return e
}

// The honest members as this file writes them are a package, or every refusal
// below would be for the form alone.
func TestTheHonestPackageIsTaken(t *testing.T) {
	honest := hostilePackage{}.craft(t, *openFolder(t))
	p, err := attest.OpenPackage("a", honest)
	must(t, err)
	if !bytes.Equal(p.Archive(), honest) || !bytes.Equal(honest, openFolder(t).archive(t)) {
		t.Error("it is not the archive that is packed")
	}
}

const inPayload = "linux-amd64/hello/"

// hostilePackages are listed in their inventories and in the order of a
// canonical archive wherever that can be, so that what refuses them is the
// rule that each breaks.
func hostilePackages(escaped string) []hostilePackage {
	in := func(name string, code fault.Code, members ...member) hostilePackage {
		return hostilePackage{name: name, members: members, sorted: true, listed: true, want: code}
	}
	first := func(name string, code fault.Code, members ...member) hostilePackage {
		return hostilePackage{name: name, members: members, listed: true, want: code}
	}
	raw := func(name string, code fault.Code, change func([]byte) []byte) hostilePackage {
		return hostilePackage{name: name, raw: change, want: code}
	}
	said := func(n int64) func(*member) { return func(m *member) { m.size = &n } }
	pax := func(key, value string) func(*member) { return func(m *member) { m.pax += paxLine(key, value) } }
	e := regular(inPayload+"e", "evil")
	long := strings.Repeat("n", 300)
	return []hostilePackage{
		// Out of the folder by a name.
		in("dot dot", fault.Structure, regular("../escaped", "e")),
		in("dot dot in the payload", fault.Structure, regular(inPayload+"../../../escaped", "e")),
		in("dot dot that stays inside", fault.Structure, regular(inPayload+"bin/../e", "e")),
		in("dot dot at the end", fault.Structure, folderAt(inPayload+"..")),
		in("dot dot directory", fault.Structure, folderAt("..")),
		in("forty dot dots", fault.Structure, regular(strings.Repeat("../", 30)+"escaped", "e")),
		in("dot", fault.Structure, regular("./e", "e")),
		in("dot inside", fault.Structure, regular(inPayload+"./e", "e")),
		in("two slashes", fault.Structure, regular("linux-amd64//e", "e")),
		in("absolute", fault.Structure, regular("/escaped", "e")),
		in("absolute, where it could be written", fault.Structure, regular(escaped, "e")),
		in("absolute directory", fault.Structure, folderAt("/escaped")),
		in("dot dot in a PAX path", fault.Structure, regular(inPayload+"e", "e").with(pax("path", "../escaped"))),
		in("absolute PAX path", fault.Structure, regular(inPayload+"e", "e").with(pax("path", escaped))),
		in("dot dot behind a long PAX path", fault.Structure, regular(inPayload+"e", "e").with(pax("path", long+"/../../escaped"))),
		first("dot dot in a GNU name", fault.Structure, member{flag: 'L', name: "././@LongLink", data: "../escaped\x00"}, regular("e", "e")),
		in("dot dot in the prefix field", fault.Structure, regular("escaped", "e").with(func(m *member) { m.change = func(h []byte) { copy(h[345:], "../..") } })),
		in("an empty name", fault.Structure, regular("", "e")),
		in("NUL in a PAX path", fault.Parse, regular(inPayload+"e", "e").with(pax("path", inPayload+"e\x00/../../escaped"))),
		in("a name that is not UTF-8", fault.Structure, regular(inPayload+"\xff", "e")),
		in("a name of a surrogate", fault.Structure, regular(inPayload+"\xed\xa0\x80", "e")),
		in("a component of 300 bytes", fault.Structure, regular(inPayload+"e", "e").with(pax("path", inPayload+long))),
		in("a path of 5000 bytes", fault.Structure, regular(inPayload+"e", "e").with(pax("path", inPayload+strings.Repeat("d/", 2500)+"e"))),
		// Out of the folder through a link.
		in("through a link to the root", fault.Structure, linkTo(inPayload+"l", "/"), regular(inPayload+"l/escaped", "e")),
		in("through a link to the parent", fault.Structure, linkTo(inPayload+"l", "../../../.."), regular(inPayload+"l/escaped", "e")),
		in("through a link to where it could be written", fault.Structure, linkTo(inPayload+"l", filepath.Dir(escaped)), regular(inPayload+"l/escaped", "e")),
		in("through a link inside", fault.Structure, linkTo(inPayload+"l", "bin"), regular(inPayload+"l/escaped", "e")),
		in("through two links", fault.Structure, linkTo(inPayload+"k", "l"), linkTo(inPayload+"l", "../../../.."), regular(inPayload+"k/escaped", "e")),
		first("through a link before all", fault.Structure, linkTo("l", ".."), regular("l/escaped", "e")),
		in("through a file", fault.Structure, regular(inPayload+"f", "e"), regular(inPayload+"f/escaped", "e")),
		in("a link for a directory of the payload", fault.Structure, linkTo("linux-amd64", filepath.Dir(escaped))),
		in("a link for a file of the payload", fault.Structure, linkTo(inPayload+"bin/hello", escaped)),
		in("a link over the inventory", fault.Structure, linkTo(attest.FilesFile, escaped)),
		in("a link without a target", fault.Structure, linkTo(inPayload+"l", "")),
		in("a link to NUL", fault.Parse, linkTo(inPayload+"l", "x").with(pax("linkpath", "a\x00b"))),
		in("a link of 5000 bytes", fault.Structure, linkTo(inPayload+"l", "x").with(pax("linkpath", strings.Repeat("t/", 2500)))),
		// Further names of files.
		in("hard link out", fault.Structure, twinOf(inPayload+"h", "../escaped")),
		in("hard link to an absolute path", fault.Structure, twinOf(inPayload+"h", "/etc/passwd")),
		in("hard link to nothing", fault.Structure, twinOf(inPayload+"h", inPayload+"none")),
		in("hard link to itself", fault.Structure, twinOf(inPayload+"h", inPayload+"h")),
		in("hard link to a directory", fault.Structure, twinOf(inPayload+"h", "linux-amd64")),
		in("hard link to a symlink out", fault.Structure, linkTo(inPayload+"g", escaped), twinOf(inPayload+"h", inPayload+"g")),
		in("hard link through a symlink", fault.Structure, linkTo(inPayload+"g", "../../../.."), twinOf(inPayload+"h", inPayload+"g/escaped")),
		in("hard link to a later file", fault.Structure, twinOf(inPayload+"h", inPayload+"share/hello.txt")),
		in("hard link out of the payload", fault.TreeMismatch, twinOf(inPayload+"h", inPayload+"bin/hello").with(func(m *member) { m.mode = 0o755 })),
		// What is no file.
		in("character device", fault.FileExtra, special(tar.TypeChar, inPayload+"d", 1, 3)),
		in("block device", fault.FileExtra, special(tar.TypeBlock, inPayload+"d", 8, 0)),
		in("deletion device", fault.FileExtra, special(tar.TypeChar, inPayload+"d", 0, 0)),
		in("fifo", fault.FileExtra, special(tar.TypeFifo, inPayload+"d", 0, 0)),
		in("contiguous file", fault.FileExtra, special(tar.TypeCont, inPayload+"d", 0, 0)),
		in("GNU volume label", fault.FileExtra, special('V', "label", 0, 0)),
		in("GNU multi volume", fault.FileExtra, special('M', "part", 0, 0)),
		in("an unknown type", fault.FileExtra, special('Q', inPayload+"d", 0, 0)),
		in("global header", fault.FileExtra, member{flag: 'g', name: "g", data: paxLine("path", "../escaped")}),
		in("whiteout", fault.Structure, regular(inPayload+".wh.hello", "")),
		in("opaque whiteout", fault.Structure, regular(inPayload+".wh..wh..opq", "")),
		in("whiteout directory", fault.Structure, folderAt(inPayload+".wh.d")),
		// More than a file may be.
		in("setuid", fault.FileExtra, e.with(func(m *member) { m.mode = 0o4755 })),
		in("setgid directory", fault.FileExtra, folderAt(inPayload+"d").with(func(m *member) { m.mode = 0o2755 })),
		in("sticky, for all", fault.FileExtra, folderAt(inPayload+"d").with(func(m *member) { m.mode = 0o1777 })),
		in("writable by all", fault.FileExtra, e.with(func(m *member) { m.mode = 0o666 })),
		in("unreadable", fault.FileExtra, e.with(func(m *member) { m.mode = 0 })),
		in("another owner", fault.FileExtra, e.with(func(m *member) { m.uid = 1000 })),
		in("another group", fault.FileExtra, e.with(func(m *member) { m.gid = 1000 })),
		in("an owner by PAX", fault.FileExtra, e.with(pax("uid", "1000"))),
		in("capabilities", fault.FileExtra, e.with(pax("SCHILY.xattr.security.capability", "\x01\x00\x00\x02"))),
		in("an attribute of overlayfs", fault.FileExtra, e.with(pax("SCHILY.xattr.trusted.overlay.redirect", "/"))),
		in("an access list as text", fault.Parse, e.with(pax("SCHILY.acl.access", "user::rwx"))),
		in("an attribute of libarchive", fault.Parse, e.with(pax("LIBARCHIVE.xattr.user.x", "eA=="))),
		in("owner names", fault.Parse, e.with(func(m *member) { m.change = func(h []byte) { copy(h[265:], "root") } })),
		in("another time", fault.Parse, e.with(func(m *member) { m.change = func(h []byte) { copy(h[136:], "00000000007") } })),
		in("PAX records that nobody reads", fault.Parse, e.with(pax("comment", "x"))),
		// Twins.
		in("a file twice", fault.Structure, regular(inPayload+"bin/hello", "evil")),
		in("the metadata twice", fault.Structure, regular(attest.PackageFile, "{}")),
		in("the inventory twice", fault.Structure, regular(attest.FilesFile, "{}")),
		in("a file and a directory", fault.Structure, folderAt(inPayload+"bin/hello")),
		in("a directory twice", fault.Structure, folderAt("linux-amd64")),
		in("a directory as a file", fault.Structure, regular("linux-amd64", "e")),
		first("a file before all, not sorted", fault.Parse, regular("zz", "e")),
		in("twins but for the case, beside the payload", fault.TreeMismatch, regular(inPayload+"bin/HELLO", "e")),
		in("a file without its directory", fault.Parse, regular(inPayload+"none/e", "e")),
		// Lies about sizes.
		in("a size of 8 GiB", fault.Parse, e.with(said(8<<30-1))),
		in("a size of 2^62 by PAX", fault.Parse, e.with(pax("size", "4611686018427387904"))),
		in("a negative size by PAX", fault.Parse, e.with(pax("size", "-1"))),
		in("a size by PAX that hides a header", fault.Parse, e.with(pax("size", "0"))),
		in("a size of 2^63 in base 256", fault.Parse, e.with(func(m *member) {
			m.change = func(h []byte) { clear(h[124:136]); h[124] = 0x80; binary.BigEndian.PutUint64(h[128:], 1<<63-1) }
		})),
		in("a directory with content", fault.Parse, folderAt(inPayload+"d").with(said(512)).with(func(m *member) { m.data = strings.Repeat("x", 512) })),
		in("a link with content", fault.Parse, linkTo(inPayload+"l", "x").with(said(512)).with(func(m *member) { m.data = strings.Repeat("x", 512) })),
		in("sparse by PAX 1.0", fault.Parse, regular(inPayload+"s", strings.Repeat("\x00", 512)).with(pax("GNU.sparse.major", "1")).
			with(pax("GNU.sparse.minor", "0")).with(pax("GNU.sparse.name", "../escaped")).with(pax("GNU.sparse.realsize", "1152921504606846976"))),
		in("sparse by PAX 0.1", fault.Parse, regular(inPayload+"s", "").with(pax("GNU.sparse.numblocks", "100000")).
			with(pax("GNU.sparse.map", strings.Repeat("1,0,", 50000)+"1,0")).with(pax("GNU.sparse.size", "9"))),
		in("sparse by GNU, of 8 GiB", fault.FileExtra, member{flag: 'S', name: inPayload + "s", mode: 0o644, change: func(h []byte) {
			copy(h[257:265], "ustar  \x00")
			copy(h[483:495], "77777777777\x00")
		}}),
		in("PAX records of 2 MiB", fault.Parse, e.with(pax("path", strings.Repeat("x", 2<<20)))),
		in("PAX records cut short", fault.Parse, e.with(func(m *member) { m.pax = "99 path=x\n" })),
		in("PAX records of a negative length", fault.Parse, e.with(func(m *member) { m.pax = "-9 path=x\n" })),
		in("a GNU name of 1 GiB", fault.Parse, member{flag: 'L', name: "././@LongLink"}.with(said(1<<30))),
		// The archive as a whole.
		raw("bzip2", fault.Parse, func([]byte) []byte { return []byte("BZh9") }),
		raw("gzip bomb", fault.Parse, func([]byte) []byte { return append([]byte("\x1f\x8b\x08"), make([]byte, 1<<20)...) }),
		raw("nothing", fault.FileMissing, func([]byte) []byte { return nil }),
		raw("zero blocks alone", fault.FileMissing, func([]byte) []byte { return make([]byte, 1<<20) }),
		raw("more than 64 MiB", fault.Parse, func(b []byte) []byte { return append(b, make([]byte, attest.MaxArchive)...) }),
		raw("cut in a header", fault.Parse, func(b []byte) []byte { return b[:700] }),
		raw("cut before the end", fault.Parse, func(b []byte) []byte { return b[:len(b)-1024] }),
		raw("one zero block at the end", fault.Parse, func(b []byte) []byte { return b[:len(b)-512] }),
		raw("record padding", fault.Parse, func(b []byte) []byte { return append(b, make([]byte, 8<<10)...) }),
		raw("a second archive behind", fault.Parse, func(b []byte) []byte { return append(b, regular("../escaped", "e").bytes()...) }),
		raw("a second archive behind one zero block", fault.Parse, func(b []byte) []byte {
			return slices.Concat(b[:len(b)-512], regular("../escaped", "e").bytes(), make([]byte, 1024))
		}),
		raw("junk behind", fault.Parse, func(b []byte) []byte { return append(b, "evil"...) }),
		raw("a checksum", fault.Parse, func(b []byte) []byte { b[0] ^= 1; return b }),
		raw("padding that is not zero", fault.Parse, func(b []byte) []byte { return overPadding(b) }),
	}
}

// overPadding changes a byte behind the first content that does not fill its
// block.
func overPadding(b []byte) []byte {
	for at := 0; at < len(b); {
		var size int64
		fmt.Sscanf(string(b[at+124:at+135]), "%o", &size)
		if size%512 != 0 {
			b[at+512+int(size)] = 1
			return b
		}
		at += 512 + int(size+511)/512*512
	}
	return b
}

// outside lists all that is below dir but not below target, with its content.
func outside(t *testing.T, dir, target string) string {
	t.Helper()
	var b strings.Builder
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == target {
			return cmpErr(err, fs.SkipDir)
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		data := []byte{}
		if d.Type().IsRegular() {
			data, err = os.ReadFile(path)
		}
		fmt.Fprintf(&b, "%s %s %q\n", path, info.Mode(), data)
		return err
	}))
	return b.String()
}

func cmpErr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// A package comes from whoever made it, and is opened before anybody has
// vouched for a byte of it: each of these is refused for its own reason, in
// bounded memory. Unpacked all the same, as a source or as a layer, not one
// byte of it ends up outside of the target.
func TestHostilePackages(t *testing.T) {
	base := t.TempDir()
	escaped := filepath.Join(base, "escaped")
	target := filepath.Join(base, "a/b/c/target")
	must(t, os.MkdirAll(target, 0o755))
	must(t, os.WriteFile(filepath.Join(base, "sentinel"), []byte("untouched"), 0o644))
	s, err := store.Open(t.TempDir())
	must(t, err)
	honest := *openFolder(t)
	cases := hostilePackages(escaped)
	taken := 0
	before := outside(t, base, target)
	for i, h := range cases {
		t.Run(h.name, func(t *testing.T) {
			archive := h.craft(t, honest)
			var was, is runtime.MemStats
			runtime.ReadMemStats(&was)
			_, err := attest.OpenPackage("a", archive)
			runtime.ReadMemStats(&is)
			if got := fault.CodeOf(err); got != h.want {
				t.Errorf("refused as %q (%v), want %q", got, err, h.want)
			}
			if n := is.TotalAlloc - was.TotalAlloc; n > 64<<20 {
				t.Errorf("%d MiB were used", n>>20)
			}
			for how, put := range map[string]func() (store.Layer, error){
				"layer":  func() (store.Layer, error) { return s.PutTar(bytes.NewReader(archive), 1) },
				"source": func() (store.Layer, error) { return putSource(s, archive) },
			} {
				layer, err := put()
				if err != nil {
					continue
				}
				taken++
				err = s.Extract(layer.Digest, filepath.Join(target, fmt.Sprint(i, how)), store.ExtractOptions{})
				if err != nil && fault.CodeOf(err) != fault.Structure { // a device
					t.Errorf("as a %s: %v", how, err)
				}
			}
			if after := outside(t, base, target); after != before {
				t.Fatalf("outside of the target there is now\n%s\nbefore\n%s", after, before)
			}
		})
	}
	t.Logf("%d packages, unpacked all the same %d times", len(cases), taken)
	if len(cases) < 100 || taken < 10 {
		t.Errorf("%d packages, %d unpacked", len(cases), taken)
	}
}

func putSource(s *store.Store, archive []byte) (store.Layer, error) {
	d, err := s.Put(archive)
	if err != nil {
		return store.Layer{}, err
	}
	return s.PutSource(d, store.UnpackTar, "hostile", nil, 1)
}
