package bootstrap

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"io"
	"path"
	"strings"

	"rebuild/store"
)

// Class is what a file is, judged by its bytes. Neither its name nor its mode
// counts.
type Class string

// The classes.
const (
	Code    Class = "code"    // a machine, real or virtual, can run it as it is
	Text    Class = "text"    // a person can read it; scripts are text, their interpreter is code
	Data    Class = "data"    // the rest, and archives that could not be opened to their end
	Archive Class = "archive" // judged by its members, which are listed before it
)

// File is one judged file, or member of one.
type File struct {
	// Path is where the file is. "!" stands between an archive and the path
	// inside it: "pkg.tar.gz!pkg/lib.a!x.o". A member of a compressed file
	// that is no archive has the path "".
	Path   string
	Digest store.Digest
	Size   int64 // bytes
	Class  Class
	Format string // of Code and Archive, such as "ELF" or "tar"
	// Pregenerated marks text that a program wrote: by its name, or because
	// its first lines say so.
	Pregenerated bool
	// Enclosed marks a member of an ar archive: the bytes of the archive, which
	// is code itself, include it.
	Enclosed bool
}

// Limits bounds what judging one file may cost. Where one is met, the archive
// counts as data: not to have looked is never taken for having found nothing.
type Limits struct {
	Depth   int   // archives within archives
	Members int   // of one file, at all depths
	Floor   int64 // bytes that may be unpacked from any file
	Ratio   int64 // above Floor: bytes unpacked per byte of the file
	Bytes   int64 // above all: bytes unpacked from one file
}

// DefaultLimits leave room for a source release within a tree, and stop what
// expands like no source text does.
var DefaultLimits = Limits{Depth: 8, Members: 1_000_000, Floor: 256 << 20, Ratio: 200, Bytes: 16 << 30}

// scanner judges one file after the other. It keeps its buffers between them.
type scanner struct {
	limits   Limits
	visit    func(File) error
	err      error // of visit
	left     int64 // bytes that may still be unpacked from the file
	members  int   // that may still be seen in the file
	enclosed int   // ar archives around the current file
	buffers  []*bufio.Reader
	scratch  []byte
}

// classify judges the file that r delivers, which is known to have size bytes,
// and its members, and calls visit for each, members first. It reads r to its
// end. The error is that of r or of visit; there is no content that is an
// error. Members that visit has seen stand even when their archive then turns
// out to be damaged.
func (s *scanner) classify(name string, size int64, r io.Reader) error {
	s.left = min(max(s.limits.Floor, saturate(size, s.limits.Ratio)), s.limits.Bytes)
	s.members = s.limits.Members
	in := &sticky{r: r}
	s.file(name, in, 0)
	if s.err != nil {
		return s.err
	}
	return in.err
}

func saturate(size, ratio int64) int64 {
	if size > 0 && ratio > (1<<62)/size {
		return 1 << 62
	}
	return size * ratio
}

// sticky remembers how its reader failed, which no parser on top of it can
// turn into something else.
type sticky struct {
	r   io.Reader
	err error
}

func (s *sticky) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// headSize is how much of a file is looked at for its format and for a line
// that says what wrote it. A tar header takes 512.
const headSize = 2 << 10

// bufferSize is how much is read at a time.
const bufferSize = 32 << 10

// measured hashes and counts what passes.
type measured struct {
	r io.Reader
	h hash.Hash
	n int64
}

func (m *measured) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.h.Write(p[:n])
	m.n += int64(n)
	return n, err
}

// file judges one file, at some depth of archives.
func (s *scanner) file(name string, r io.Reader, depth int) {
	m := &measured{r: r, h: sha256.New()}
	in := s.buffer(depth, m)
	head, _ := in.Peek(headSize)
	head = bytes.Clone(head)
	f := File{Path: name, Enclosed: s.enclosed > 0}
	if format := codeFormat(head); format != "" {
		f.Class, f.Format = Code, format
		if format == formatAr {
			s.enclosed++
			s.openAr(name, in, depth)
			s.enclosed--
		}
		s.drain(in)
	} else if format := archiveFormat(head); format != "" {
		f.Class, f.Format = Archive, format
		if !s.open(format, name, in, depth) || !s.drain(in) {
			f.Class = Data
		}
		s.drain(in)
	} else {
		f.Class = s.readText(in)
	}
	f.Size = m.n
	f.Digest = store.DigestOfSum(m.h.Sum(nil))
	if f.Class == Data && f.Format == "" {
		if f.Format = weakFormat(head, f.Size); f.Format != "" {
			f.Class = Code
		}
	}
	f.Pregenerated = f.Class == Text && pregenerated(name, head)
	if s.err == nil {
		s.err = s.visit(f)
	}
}

// buffer returns the buffer for a depth. There is one for each, since a file
// is finished before the next of its depth begins.
func (s *scanner) buffer(depth int, r io.Reader) *bufio.Reader {
	for len(s.buffers) <= depth {
		s.buffers = append(s.buffers, bufio.NewReaderSize(nil, bufferSize))
	}
	b := s.buffers[depth]
	b.Reset(r)
	return b
}

// drain reads r to its end and says whether there were only zeros.
func (s *scanner) drain(r io.Reader) bool {
	clean := true
	err := s.each(r, func(p []byte) {
		if clean && len(bytes.TrimLeft(p, "\x00")) > 0 {
			clean = false
		}
	})
	return clean && err == nil
}

// each calls f with all bytes of r. f must not call it again.
func (s *scanner) each(r io.Reader, f func([]byte)) error {
	if s.scratch == nil {
		s.scratch = make([]byte, bufferSize)
	}
	for {
		n, err := r.Read(s.scratch)
		f(s.scratch[:n])
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// control marks the bytes that no text has: NUL and the control bytes that are
// not white space. Bytes from 0x80 are letters of some encoding.
var control = func() (t [256]bool) {
	for c := range 0x20 {
		t[c] = c < '\t' || c > '\r'
	}
	t[0x7f] = true
	return t
}()

// readText reads r to its end.
func (s *scanner) readText(r io.Reader) Class {
	class := Text
	err := s.each(r, func(p []byte) {
		for i := 0; class == Text && i < len(p); i++ {
			if control[p[i]] {
				class = Data
			}
		}
	})
	if err != nil {
		return Data
	}
	return class
}

const formatAr = "ar"

// codeMagics are first bytes that only machine code has. An archive of object
// files is code as a whole: linkers take it as it is.
var codeMagics = []struct{ magic, format string }{
	{"\x7fELF", "ELF"},
	{"!<arch>\n", formatAr},
	{"!<thin>\n", "thin ar"},
	{"\xfe\xed\xfa\xce", "Mach-O"}, {"\xfe\xed\xfa\xcf", "Mach-O"},
	{"\xce\xfa\xed\xfe", "Mach-O"}, {"\xcf\xfa\xed\xfe", "Mach-O"},
	{"\xca\xfe\xba\xbe", "Java class or Mach-O"},
	{"\x00asm", "WebAssembly"},
	{"dex\n0", "dex"},
	{"BC\xc0\xde", "LLVM bitcode"}, {"\xde\xc0\x17\x0b", "LLVM bitcode"},
	{"\x1bLua", "Lua bytecode"}, {"\x1bLJ", "Lua bytecode"},
	{"bFLT", "flat binary"},
}

func codeFormat(head []byte) string {
	for _, m := range codeMagics {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return m.format
		}
	}
	return ""
}

// weakFormat recognises code by magics so short that text or a chance could
// have them. It is asked only about what is neither text nor archive.
func weakFormat(head []byte, size int64) string {
	switch {
	case len(head) < 16:
		return ""
	case head[0] == 'M' && head[1] == 'Z':
		return "PE"
	case head[2] == '\r' && head[3] == '\n':
		return "Python bytecode"
	case isAout(binary.LittleEndian, head, size), isAout(binary.BigEndian, head, size):
		return "a.out"
	}
	return ""
}

// isAout looks at struct exec: OMAGIC, NMAGIC, ZMAGIC or QMAGIC, and segments
// that are not empty and fit into the file.
func isAout(order binary.ByteOrder, head []byte, size int64) bool {
	if len(head) < 32 {
		return false
	}
	switch order.Uint32(head) & 0xffff {
	case 0o407, 0o410, 0o413, 0o314:
		text, data := int64(order.Uint32(head[4:])), int64(order.Uint32(head[8:]))
		return text > 0 && text+data <= size
	}
	return false
}

// pregenerated says whether a program wrote a text.
func pregenerated(name string, head []byte) bool {
	base := path.Base(name[strings.LastIndexByte(name, '!')+1:])
	switch base {
	case "configure", "Makefile.in", "aclocal.m4", "config.h.in", "ltmain.sh", "c-parse.c", "lex.yy.c":
		return true
	}
	if strings.HasSuffix(base, ".tab.c") || strings.HasSuffix(base, ".tab.h") {
		return true
	}
	head = bytes.ToLower(head)
	for _, phrase := range []string{"generated by ", "generated from ", "generated automatically", "automatically generated"} {
		if bytes.Contains(head, []byte(phrase)) {
			return true
		}
	}
	return false
}

// errLimit ends the unpacking of an archive.
var errLimit = errors.New("limit")

// metered takes every byte that passes from what may still be unpacked.
type metered struct {
	r io.Reader
	s *scanner
}

func (m *metered) Read(p []byte) (int, error) {
	if m.s.left <= 0 {
		return 0, errLimit
	}
	n, err := m.r.Read(p[:min(int64(len(p)), m.s.left)])
	m.s.left -= int64(n)
	return n, err
}

// member judges a member of an archive and says whether it could be read to
// its end.
func (s *scanner) member(name string, r io.Reader, depth int) bool {
	if s.members--; s.members < 0 || s.err != nil {
		return false
	}
	in := &sticky{r: &metered{r, s}}
	s.file(name, in, depth+1)
	return in.err == nil
}
