package store

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"rebuild/internal/fault"
)

const emptyTree = "rebuild.tree.v1\nd 0755 0 0 - - .\n"

// Each text differs from a good one in one thing. cause is that of an entry
// that no tree has; without it the form is wrong (PARSE).
func TestParseTreeRefuses(t *testing.T) {
	none := "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	f := func(path string) string { return "f 0644 0 0 0 " + none + " " + path + "\n" }
	for name, c := range map[string]struct{ text, cause string }{
		"nothing":               {"", ""},
		"no root":               {"rebuild.tree.v1\n", ""},
		"version":               {strings.Replace(emptyTree, "v1", "v2", 1), ""},
		"mode of the root":      {strings.Replace(emptyTree, "0755", "0700", 1), ""},
		"root twice":            {emptyTree + "d 0755 0 0 - - .\n", "path: component"},
		"no line feed":          {emptyTree + strings.TrimSuffix(f("a"), "\n"), ""},
		"empty line":            {emptyTree + "\n", ""},
		"carriage return":       {emptyTree + strings.Replace(f("a"), "\n", "\r\n", 1), ""},
		"six fields":            {emptyTree + "d 0755 0 0 - a\n", ""},
		"two spaces":            {emptyTree + "d  0755 0 0 - - a\n", ""},
		"type of two letters":   {emptyTree + "dd 0755 0 0 - - a\n", ""},
		"unknown type":          {emptyTree + "s 0755 0 0 - - a\n", "type"},
		"mode of three digits":  {emptyTree + "d 755 0 0 - - a\n", ""},
		"mode of five digits":   {emptyTree + "d 00755 0 0 - - a\n", ""},
		"mode too large":        {emptyTree + "d 10755 0 0 - - a\n", "mode"},
		"mode not octal":        {emptyTree + "d 0799 0 0 - - a\n", ""},
		"mode of a symlink":     {emptyTree + "l 0755 0 0 - t a\n", "mode"},
		"owner with plus":       {emptyTree + "d 0755 +1 0 - - a\n", ""},
		"owner with zero":       {emptyTree + "d 0755 01 0 - - a\n", ""},
		"owner too large":       {emptyTree + "d 0755 2147483648 0 - - a\n", "owner"},
		"group negative":        {emptyTree + "d 0755 0 -1 - - a\n", ""},
		"size of a directory":   {emptyTree + "d 0755 0 0 0 - a\n", ""},
		"value of a directory":  {emptyTree + "d 0755 0 0 - x a\n", ""},
		"size absent":           {emptyTree + "f 0644 0 0 - " + none + " a\n", ""},
		"size with zero":        {emptyTree + "f 0644 0 0 00 " + none + " a\n", ""},
		"digest":                {emptyTree + "f 0644 0 0 0 " + strings.ToUpper(none) + " a\n", ""},
		"order":                 {emptyTree + f("b") + f("a"), "path: out of order"},
		"twice":                 {emptyTree + f("a") + f("a"), "path: twice"},
		"parent":                {emptyTree + f("a/b"), "parent"},
		"escape lower digits":   {emptyTree + f("a%c3%a9"), ""},
		"escape of a letter":    {emptyTree + f("%61"), ""},
		"escape cut":            {emptyTree + f("a%2"), ""},
		"escape not hex":        {emptyTree + f("a%ZZ"), ""},
		"raw byte":              {emptyTree + f("é"), ""},
		"escaped slash is one":  {emptyTree + f("a%2Fb"), "parent"},
		"NUL":                   {emptyTree + f("a%00"), "path: NUL"},
		"mode of a link":        {emptyTree + f("a") + "h 0644 0 0 - a b\n", ""},
		"link to nothing":       {emptyTree + f("a") + "h - - - - c b\n", "link"},
		"link to a later file":  {emptyTree + "h - - - - b a\n" + f("b"), "link"},
		"link to a link":        {emptyTree + f("a") + "h - - - - a b\nh - - - - b c\n", "link"},
		"link with xattr":       {emptyTree + f("a") + "h - - - - a b\nx user.a 1\n", "xattr: on a link"},
		"link to a bad escape":  {emptyTree + f("a") + "h - - - - % b\n", ""},
		"device without comma":  {emptyTree + "c 0644 0 0 - 13 a\n", ""},
		"device with zero":      {emptyTree + "c 0644 0 0 - 01,3 a\n", ""},
		"block device 0,0":      {emptyTree + "b 0644 0 0 - 0,0 a\n", "whiteout"},
		"xattr of the root":     {emptyTree + "x user.a 1\n", ""},
		"xattr without value":   {emptyTree + f("a") + "x user.a\n", ""},
		"xattr of three fields": {emptyTree + f("a") + "x user.a 1 2\n", ""},
		"xattr bad escape":      {emptyTree + f("a") + "x user.a %\n", ""},
		"xattr order":           {emptyTree + f("a") + "x user.b 1\nx user.a 1\n", "xattr: twice"},
		"xattr dropped name":    {emptyTree + f("a") + "x security.selinux 1\n", "xattr: name not allowed"},
		"too many xattrs":       {emptyTree + f("a") + manyXattrs(), "xattr: too many"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseTree([]byte(c.text))
			if c.cause == "" {
				wantCode(t, err, fault.Parse)
				return
			}
			wantCause(t, err, c.cause)
		})
	}
}

func manyXattrs() string {
	var b strings.Builder
	for c := 'a'; c <= 'z'; c++ {
		b.WriteString("x user." + string(c) + " " + strings.Repeat("v", MaxXattr) + "\n")
	}
	return b.String()
}

// Nothing but a well-formed line is taken after a good one, and the line is
// named.
func TestParseTreeNamesTheLine(t *testing.T) {
	_, err := ParseTree([]byte(emptyTree + "d 0755 0 0 - - a\nd 0755 0 0 - a\n"))
	if err == nil || !strings.Contains(err.Error(), "line 4") {
		t.Errorf("error is %v", err)
	}
}

// Writers that fail anywhere fail the whole.
type failAfter struct{ left int }

func (f *failAfter) Write(p []byte) (int, error) {
	if f.left -= len(p); f.left < 0 {
		return 0, errFault
	}
	return len(p), nil
}

func TestWriteErrors(t *testing.T) {
	files := []File{{Path: "a", Mode: 0o644, Data: make([]byte, 3*chunkSize)}, {Path: "b", Mode: 0o644, Data: make([]byte, chunkSize)}}
	for _, left := range []int{0, chunkSize, 3 * chunkSize, 4 * chunkSize} {
		if _, err := WriteArchive(&failAfter{left}, files, 1); !errors.Is(err, errFault) {
			t.Errorf("after %d: %v", left, err)
		}
	}
	tree, err := TreeOf(files)
	must(t, err)
	if _, err := tree.WriteTo(&failAfter{10}); !errors.Is(err, errFault) {
		t.Errorf("text: %v", err)
	}
}

// A source of content that fails is an error with its cause, in every way of
// reading.
func TestReadErrors(t *testing.T) {
	for _, size := range []int64{0, 1, 100, 2 * chunkSize} {
		r := func() io.Reader {
			return io.MultiReader(strings.NewReader(strings.Repeat("x", int(size/2))), failingReader{})
		}
		files := []File{{Path: "a", Mode: 0o644, Size: size, Open: func() (io.ReadCloser, error) { return io.NopCloser(r()), nil }}}
		if _, err := WriteArchive(io.Discard, files, 1); !errors.Is(err, errFault) {
			t.Errorf("%d bytes, layer: %v", size, err)
		}
		if _, err := TreeOf(files); !errors.Is(err, errFault) {
			t.Errorf("%d bytes, tree: %v", size, err)
		}
		if _, err := ReadTar(r()); !errors.Is(err, errFault) && size < 2*blockSize {
			t.Errorf("%d bytes, tar: %v", size, err)
		}
		if _, err := archiveTree(r(), nil, Limits{}); !errors.Is(err, errFault) && size < 2*blockSize {
			t.Errorf("%d bytes, archive: %v", size, err)
		}
	}
	packed := gz(t, makeTar(t, file("a", strings.Repeat("x", 1000))))
	for n := range packed {
		if _, err := archiveTree(io.MultiReader(strings.NewReader(string(packed[:n])), failingReader{}), nil, Limits{}); !errors.Is(err, errFault) {
			t.Fatalf("after %d bytes: %v", n, err)
		}
	}
	if _, err := writeDirArchive(io.Discard, filepath.Join(t.TempDir(), "none"), 1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error is %v", err)
	}
	if _, err := newStore(t).PutDir(filepath.Join(t.TempDir(), "none"), 1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error is %v", err)
	}
	_, err := newStore(t).PutDir(t.TempDir(), -1)
	wantCause(t, err, "epoch")
	_, err = newStore(t).PutTar(strings.NewReader(""), -1)
	wantCause(t, err, "epoch")
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errFault }

// A blob that changes while it is extracted leaves nothing behind.
func TestExtractCleansUp(t *testing.T) {
	s := newStore(t)
	l := exampleLayer(t, s)
	tree, err := s.ReadLayer(l.Digest)
	must(t, err)
	damage(t, s, l.Digest, func(b []byte) []byte { b[0] ^= 1; return b })
	out := t.TempDir()
	r, err := os.OpenRoot(out)
	must(t, err)
	defer r.Close()
	x := extraction{root: r, tree: tree}
	if err := x.run(s, l.Digest); err == nil {
		t.Error("a damaged layer was extracted")
	}
	must(t, r.Mkdir("left", 0o755))
	must(t, emptyRoot(r))
	if names, _ := os.ReadDir(out); len(names) != 0 {
		t.Errorf("left: %v", names)
	}
}

func TestTooManyEntries(t *testing.T) {
	b := &builder{}
	n := &node{entry: Entry{Type: Fifo}}
	for i := range MaxEntries {
		if err := b.add(strconv.Itoa(i), n); err != nil {
			t.Fatal(err)
		}
	}
	wantCause(t, b.add("one more", n), "entries: too many")
}
