package store

import (
	"archive/tar"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"rebuild/internal/fault"
)

// vectorFile is testdata/tree-vectors.json; its "about" fields explain it.
type vectorFile struct {
	Cases []vectorCase `json:"cases"`
}

type vectorCase struct {
	Name     string        `json:"name"`
	Epoch    *int64        `json:"epoch"`
	Entries  []vectorEntry `json:"entries"`
	Tree     Digest        `json:"tree"`
	Layer    Digest        `json:"layer"`
	Manifest Digest        `json:"manifest"`
	Refused  string        `json:"refused"`
}

type vectorEntry struct {
	Type         string `json:"type"`
	Path, Target vectorValue
	Mode         string `json:"mode"`
	UID          int64  `json:"uid"`
	GID          int64  `json:"gid"`
	Major, Minor int64
	Content      *vectorValue `json:"content"`
	Xattrs       []struct{ Name, Value vectorValue }
}

// vectorValue is a byte string: text, {hex}, {repeat, times} or a list.
type vectorValue string

func (v *vectorValue) UnmarshalJSON(b []byte) error {
	switch b[0] {
	case '"':
		return json.Unmarshal(b, (*string)(v))
	case '[':
		var parts []vectorValue
		if err := json.Unmarshal(b, &parts); err != nil {
			return err
		}
		for _, p := range parts {
			*v += p
		}
		return nil
	}
	var o struct {
		Hex    *string
		Repeat string
		Times  int
	}
	if err := json.Unmarshal(b, &o); err != nil {
		return err
	}
	if o.Hex == nil {
		*v = vectorValue(strings.Repeat(o.Repeat, o.Times))
		return nil
	}
	raw, err := hex.DecodeString(*o.Hex)
	*v = vectorValue(raw)
	return err
}

func readVectors(t testing.TB) []vectorCase {
	t.Helper()
	b, err := os.ReadFile("../testdata/tree-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var f vectorFile
	if err := json.Unmarshal(b, &f); err != nil {
		t.Fatal(err)
	}
	return f.Cases
}

func (c *vectorCase) epoch() int64 {
	if c.Epoch == nil {
		return 1
	}
	return *c.Epoch
}

// node translates a vector's entry for the builder.
func (e *vectorEntry) node(t testing.TB) *node {
	n := &node{entry: Entry{Type: Type(e.Type[0]), UID: e.UID, GID: e.GID, Target: string(e.Target), Major: e.Major, Minor: e.Minor}}
	if e.Mode != "" {
		mode, err := strconv.ParseUint(e.Mode, 8, 32)
		if err != nil {
			t.Fatal(err)
		}
		n.entry.Mode = uint32(mode)
	}
	for _, x := range e.Xattrs {
		n.entry.Xattrs = append(n.entry.Xattrs, Xattr{string(x.Name), string(x.Value)})
	}
	if e.Content != nil {
		n.entry.Size = int64(len(*e.Content))
		n.open = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(string(*e.Content))), nil }
	}
	return n
}

// build runs the case through the builder and the layer writer.
func (c *vectorCase) build(t testing.TB, w io.Writer) (*Tree, Digest, int64, error) {
	r := &tarReader{byPath: map[string]*node{}}
	for i := range c.Entries {
		e := &c.Entries[i]
		n := e.node(t)
		if e.Type == "h" {
			var err error
			if n, _, err = r.link(&tar.Header{Linkname: string(e.Target)}, string(e.Path)); err != nil {
				return nil, "", 0, err
			}
		}
		if err := r.build.add(string(e.Path), n); err != nil {
			return nil, "", 0, err
		}
		r.byPath[string(e.Path)] = n
	}
	entries, openers, err := r.build.finish()
	if err != nil {
		return nil, "", 0, err
	}
	return writeLayer(w, entries, openers, c.epoch())
}

func TestVectors(t *testing.T) {
	cases := readVectors(t)
	if len(cases) != 72 {
		t.Errorf("%d cases, want 72", len(cases))
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			var layer bytes.Buffer
			tree, digest, size, err := c.build(t, &layer)
			if c.Refused != "" {
				wantCause(t, err, c.Refused)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			checkVector(t, &c, tree, Layer{tree.Digest(), digest, size})
			if DigestOf(layer.Bytes()) != c.Layer || int64(layer.Len()) != size || layerSize(tree) != size {
				t.Errorf("layer written has %d bytes, size is %d, computed %d", layer.Len(), size, layerSize(tree))
			}
			checkTextRoundTrip(t, tree)
			again, err := ReadTar(&layer)
			if err != nil || again.Digest() != c.Tree {
				t.Errorf("reading the layer back: %v, %v", again, err)
			}
		})
	}
}

func checkVector(t *testing.T, c *vectorCase, tree *Tree, l Layer) {
	t.Helper()
	if tree.Digest() != c.Tree {
		t.Errorf("tree is %s, want %s\n%.2000s", tree.Digest(), c.Tree, tree.Text())
	}
	if l.Digest != c.Layer {
		t.Errorf("layer is %s, want %s", l.Digest, c.Layer)
	}
	if m, err := ManifestOf(l, "linux/amd64", ImageConfig{}); err != nil || m != c.Manifest {
		t.Errorf("manifest is %s, %v, want %s", m, err, c.Manifest)
	}
}

func checkTextRoundTrip(t *testing.T, tree *Tree) {
	t.Helper()
	parsed, err := ParseTree(tree.Text())
	if err != nil {
		t.Fatalf("parsing the text: %v", err)
	}
	if parsed.Digest() != tree.Digest() || len(Diff(parsed, tree)) != 0 {
		t.Error("the parsed text is another tree")
	}
}

// wantCause checks that err is the refusal for that cause, exit 31, and not
// one for another reason.
func wantCause(t testing.TB, err error, cause string) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) {
		t.Fatalf("not refused as %q: %v", cause, err)
	}
	for {
		var inner *fault.Error
		if f.Details["cause"] != nil || !errors.As(f.Err, &inner) {
			break
		}
		f = inner
	}
	if f.Details["cause"] != cause || f.Code.Exit() != 31 {
		t.Errorf("refused as %q with exit %d, want %q and 31: %v", f.Details["cause"], f.Code.Exit(), cause, err)
	}
}

// TestVectorsThroughTar runs the cases that archive/tar can write through
// PutTar, in reverse order where no hard link forbids it.
func TestVectorsThroughTar(t *testing.T) {
	s := newStore(t)
	for _, c := range readVectors(t) {
		if c.Refused != "" && !strings.HasPrefix(c.Refused, "parent") && !strings.HasPrefix(c.Refused, "xattr: overlay") {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			l, err := s.PutTar(bytes.NewReader(vectorTar(t, &c)), c.epoch())
			if c.Refused != "" {
				wantCause(t, err, c.Refused)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			tree, err := s.Tree(l.Tree)
			if err != nil {
				t.Fatal(err)
			}
			checkVector(t, &c, tree, l)
		})
	}
}

func vectorTar(t *testing.T, c *vectorCase) []byte {
	entries := slices.Clone(c.Entries)
	if !slices.ContainsFunc(entries, func(e vectorEntry) bool { return e.Type == "h" }) {
		slices.Reverse(entries)
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	flags := map[string]byte{
		"d": tar.TypeDir, "f": tar.TypeReg, "l": tar.TypeSymlink, "h": tar.TypeLink,
		"c": tar.TypeChar, "b": tar.TypeBlock, "p": tar.TypeFifo,
	}
	for _, e := range entries {
		mode, _ := strconv.ParseInt(e.Mode, 8, 64)
		h := &tar.Header{
			Typeflag: flags[e.Type], Name: string(e.Path), Linkname: string(e.Target), Mode: mode & 0o7777,
			Uid: int(e.UID), Gid: int(e.GID), Devmajor: e.Major, Devminor: e.Minor, Format: tar.FormatPAX,
		}
		if e.Type == "d" {
			h.Name += "/"
		}
		for _, x := range e.Xattrs {
			if h.PAXRecords == nil {
				h.PAXRecords = map[string]string{}
			}
			h.PAXRecords[xattrKey+string(x.Name)] = string(x.Value)
		}
		var content string
		if e.Content != nil {
			content = string(*e.Content)
			h.Size = int64(len(content))
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, content)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}
