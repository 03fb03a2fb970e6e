package store

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"

	"rebuild/internal/fault"
)

// Type is the kind of a tree entry, as the letter of the tree text.
type Type byte

// The types. A Link is a further name of a regular file.
const (
	Dir     Type = 'd'
	Regular Type = 'f'
	Symlink Type = 'l'
	Link    Type = 'h'
	Char    Type = 'c'
	Block   Type = 'b'
	Fifo    Type = 'p'
)

// Limits of the format.
const (
	MaxEntries   = 1_000_000   // entries of a tree, the root not counted
	MaxTreeText  = 512 << 20   // bytes of a tree's text
	MaxPath      = 4096        // bytes of a path or link target
	MaxComponent = 255         // bytes of a path component
	MaxOwner     = 1<<31 - 1   // largest uid or gid
	MaxDevice    = 2097151     // largest major or minor: seven octal digits
	MaxEpoch     = 8589934591  // largest mtime: eleven octal digits
	MaxXattr     = 64 << 10    // bytes of one attribute's value
	maxPAX       = 1<<20 - 512 // bytes of one entry's PAX records: archive/tar reads no more
)

const treeHeader = "rebuild.tree.v1\n"

// Entry is one line of a tree. Which fields count depends on the Type; the
// others are zero.
type Entry struct {
	Type         Type
	Path         string // relative, "." for the root
	Mode         uint32 // low twelve bits; not for a Link
	UID, GID     int64  // not for a Link
	Size         int64  // bytes of a Regular file
	Content      Digest // of a Regular file
	Target       string // of a Symlink as it is, of a Link the leader's path
	Major, Minor int64  // of a Char or Block device
	Xattrs       []Xattr
}

// Xattr is an extended attribute. Name and value are bytes.
type Xattr struct{ Name, Value string }

// Tree is a finished, valid tree. It is immutable.
type Tree struct {
	entries []Entry // without the root, in order of Path
	digest  func() Digest
}

func newTree(entries []Entry) *Tree {
	t := &Tree{entries: entries}
	t.digest = sync.OnceValue(func() Digest {
		h := sha256.New()
		t.WriteTo(h) // a hash does not fail
		return DigestOfSum(h.Sum(nil))
	})
	return t
}

var root = Entry{Type: Dir, Path: ".", Mode: 0o755}

// Entries yields the entries in order of their raw path bytes, without the
// root.
func (t *Tree) Entries() iter.Seq[Entry] { return slices.Values(t.entries) }

// Len returns the number of entries, without the root.
func (t *Tree) Len() int { return len(t.entries) }

// Lookup returns the entry at path.
func (t *Tree) Lookup(path string) (Entry, bool) {
	if path == root.Path {
		return root, true
	}
	if e := t.find(path); e != nil {
		return *e, true
	}
	return Entry{}, false
}

func (t *Tree) find(path string) *Entry { return findEntry(t.entries, path) }

func findEntry(entries []Entry, path string) *Entry {
	i, ok := slices.BinarySearchFunc(entries, path, func(e Entry, p string) int { return strings.Compare(e.Path, p) })
	if !ok {
		return nil
	}
	return &entries[i]
}

// Digest returns the tree digest, the SHA-256 of Text.
func (t *Tree) Digest() Digest { return t.digest() }

// Text returns the text of the tree.
func (t *Tree) Text() []byte {
	var b bytes.Buffer
	t.WriteTo(&b) // a buffer does not fail
	return b.Bytes()
}

// WriteTo writes the text of the tree to w.
func (t *Tree) WriteTo(w io.Writer) (int64, error) {
	out := bufio.NewWriterSize(w, min(64<<10, 256+128*len(t.entries)))
	n := int64(len(treeHeader))
	out.WriteString(treeHeader)
	var line []byte
	write := func(e *Entry) error {
		line = appendEntry(line[:0], e)
		n += int64(len(line))
		_, err := out.Write(line)
		return err
	}
	err := write(&root)
	for i := 0; i < len(t.entries) && err == nil; i++ {
		err = write(&t.entries[i])
	}
	if err != nil {
		return n, err
	}
	return n, out.Flush()
}

// appendEntry appends the lines of e.
func appendEntry(b []byte, e *Entry) []byte {
	b = append(b, byte(e.Type), ' ')
	if e.Type == Link {
		b = append(b, "- - -"...)
	} else {
		b = fmt.Appendf(b, "%04o %d %d", e.Mode, e.UID, e.GID)
	}
	b = append(b, ' ')
	switch e.Type {
	case Regular:
		b = strconv.AppendInt(b, e.Size, 10)
		b = append(b, ' ')
		b = append(b, e.Content...)
	case Symlink, Link:
		b = appendEscaped(append(b, "- "...), e.Target)
	case Char, Block:
		b = fmt.Appendf(b, "- %d,%d", e.Major, e.Minor)
	default:
		b = append(b, "- -"...)
	}
	b = appendEscaped(append(b, ' '), e.Path)
	b = append(b, '\n')
	for _, x := range e.Xattrs {
		b = appendEscaped(append(b, "x "...), x.Name)
		b = appendEscaped(append(b, ' '), x.Value)
		b = append(b, '\n')
	}
	return b
}

const upperHex = "0123456789ABCDEF"

func appendEscaped(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c > 0x20 && c < 0x7f && c != '%' {
			b = append(b, c)
		} else {
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return b
}

// unescape reverses appendEscaped. What it lets pass that appendEscaped would
// write differently is found by ParseTree's comparison at the end.
func unescape(s string) (string, bool) {
	if !strings.Contains(s, "%") {
		return s, true
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		c, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b = append(b, byte(c))
		i += 2
	}
	return string(b), true
}

// ParseTree reads the text of a tree. It accepts exactly what Text writes:
// the result's Text equals the input or there is an error (PARSE for the
// form, STRUCTURE for an entry that no tree has).
func ParseTree(text []byte) (*Tree, error) {
	if len(text) > MaxTreeText {
		return nil, fault.New(fault.Parse, "tree text of %d bytes, at most %d are allowed", len(text), MaxTreeText)
	}
	body, ok := bytes.CutPrefix(text, []byte(treeHeader+string(appendEntry(nil, &root))))
	if !ok {
		return nil, fault.New(fault.Parse, "tree text does not start with %q and the root", strings.TrimSuffix(treeHeader, "\n"))
	}
	var entries []Entry
	line := 2
	for len(body) > 0 {
		line++
		var l []byte
		if l, body, ok = bytes.Cut(body, []byte("\n")); !ok {
			return nil, badLine(line, "not ended by a line feed")
		}
		if rest, ok := strings.CutPrefix(string(l), "x "); ok {
			if err := parseXattr(entries, rest); err != nil {
				return nil, badLine(line, "%w", err)
			}
			continue
		}
		if len(entries) == MaxEntries {
			return nil, badLine(line, "more than %d entries", MaxEntries)
		}
		e, err := parseEntry(string(l))
		if err != nil {
			return nil, badLine(line, "%w", err)
		}
		entries = append(entries, e)
	}
	if err := checkEntries(entries); err != nil {
		return nil, err
	}
	t := newTree(entries)
	same := &comparer{want: text}
	if _, err := t.WriteTo(same); err != nil || len(same.want) != 0 {
		return nil, fault.New(fault.Parse, "tree text is not in its one form, near byte %d", len(text)-len(same.want))
	}
	return t, nil
}

func badLine(line int, format string, args ...any) error {
	return fault.New(fault.Parse, "tree text line %d: %w", line, fmt.Errorf(format, args...))
}

// comparer is a writer that fails at the first difference from want.
type comparer struct{ want []byte }

func (c *comparer) Write(p []byte) (int, error) {
	if !bytes.HasPrefix(c.want, p) {
		return 0, io.ErrShortWrite
	}
	c.want = c.want[len(p):]
	return len(p), nil
}

func parseEntry(line string) (Entry, error) {
	var e Entry
	f := strings.Split(line, " ")
	if len(f) != 7 || len(f[0]) != 1 {
		return e, fmt.Errorf("not an entry of seven fields")
	}
	e.Type = Type(f[0][0])
	ok, ok2 := false, true
	if e.Path, ok = unescape(f[6]); !ok {
		return e, fmt.Errorf("bad escape in the path")
	}
	p := fieldParser{}
	if e.Type != Link {
		e.Mode = uint32(p.number(f[1], 8, 16))
		e.UID, e.GID = p.number(f[2], 10, 63), p.number(f[3], 10, 63)
	}
	switch e.Type {
	case Regular:
		e.Size = p.number(f[4], 10, 63)
		d, err := ParseDigest(f[5])
		if err != nil {
			return e, err
		}
		e.Content = d
	case Symlink, Link:
		e.Target, ok2 = unescape(f[5])
	case Char, Block:
		var major, minor string
		major, minor, ok2 = strings.Cut(f[5], ",")
		e.Major, e.Minor = p.number(major, 10, 63), p.number(minor, 10, 63)
	}
	if p.bad || !ok2 {
		return e, fmt.Errorf("bad number or value")
	}
	return e, nil
}

type fieldParser struct{ bad bool }

func (p *fieldParser) number(s string, base, bits int) int64 {
	n, err := strconv.ParseUint(s, base, bits)
	p.bad = p.bad || err != nil
	return int64(n)
}

func parseXattr(entries []Entry, rest string) error {
	name, value, ok := strings.Cut(rest, " ")
	if !ok || len(entries) == 0 {
		return fmt.Errorf("attribute without entry, name or value")
	}
	n, ok := unescape(name)
	v, ok2 := unescape(value)
	if !ok || !ok2 {
		return fmt.Errorf("bad escape in an attribute")
	}
	e := &entries[len(entries)-1]
	e.Xattrs = append(e.Xattrs, Xattr{n, v})
	return nil
}

// checkEntries says whether entries are a tree: each one valid, in order,
// parents listed, leaders the first of their names.
func checkEntries(entries []Entry) error {
	dirs := map[string]bool{root.Path: true}
	last := ""
	text := int64(len(treeHeader)) + int64(len(appendEntry(nil, &root)))
	var line []byte
	for i := range entries {
		e := &entries[i]
		if err := checkEntry(e); err != nil {
			return err
		}
		switch {
		case e.Path == last:
			return refuse(e.Path, "path: twice")
		case e.Path < last:
			return refuse(e.Path, "path: out of order")
		case !dirs[parent(e.Path)]:
			return refuse(e.Path, "parent", "its directory %q is not listed as one", parent(e.Path))
		}
		last = e.Path
		switch e.Type {
		case Dir:
			dirs[e.Path] = true
		case Link:
			if l := findEntry(entries[:i], e.Target); l == nil || l.Type != Regular {
				return refuse(e.Path, "link", "%q is not an earlier regular file", e.Target)
			}
		}
		line = appendEntry(line[:0], e)
		if text += int64(len(line)); text > MaxTreeText {
			return refuse(e.Path, "text: too long", "more than %d bytes", int64(MaxTreeText))
		}
	}
	return nil
}

func parent(path string) string {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i]
	}
	return root.Path
}
