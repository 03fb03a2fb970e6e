package store

import (
	"archive/tar"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// memorySpool is a spool for tests without a store.
type memorySpool struct{ b []byte }

func (m *memorySpool) Write(p []byte) (int, error) { m.b = append(m.b, p...); return len(p), nil }

func (m *memorySpool) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(m.b).ReadAt(p, off)
}

// canonical returns the tree and the canonical layer of a tar stream.
func canonical(r io.Reader) (*Tree, []byte, error) {
	t := newTarReader(r, false, Limits{Bytes: 1 << 20, Entries: 1000}, &spool{out: &memorySpool{}})
	if err := t.readAll(); err != nil {
		return nil, nil, err
	}
	entries, openers, err := t.build.finish()
	if err != nil {
		return nil, nil, err
	}
	var layer bytes.Buffer
	tree, _, _, err := writeLayer(&layer, entries, openers, 1)
	return tree, layer.Bytes(), err
}

// drawFiles draws files whose parents exist, links after what they name.
func drawFiles(t *rapid.T) []File {
	dirs := []string{""}
	var files []File
	var regular []string
	seen := map[string]bool{}
	name := rapid.StringMatching(`[a-c%é ]{1,3}|n{101}`)
	for range rapid.IntRange(0, 12).Draw(t, "n") {
		path := rapid.SampledFrom(dirs).Draw(t, "dir") + name.Draw(t, "name")
		if seen[path] {
			continue
		}
		seen[path] = true
		f := File{Path: path, Mode: uint32(rapid.IntRange(0, 0o7777).Draw(t, "mode"))}
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			f.Type = Dir
			dirs = append(dirs, path+"/")
		case 1:
			f.Type, f.Mode, f.Target = Symlink, 0o777, name.Draw(t, "target")
		case 2:
			if len(regular) > 0 {
				f = File{Type: Link, Path: path, Target: rapid.SampledFrom(regular).Draw(t, "leader")}
				break
			}
			fallthrough
		default:
			f.Data = bytes.Repeat([]byte{'x'}, rapid.SampledFrom([]int{0, 1, 511, 512, 513, 5000}).Draw(t, "size"))
			regular = append(regular, path)
		}
		files = append(files, f)
	}
	return files
}

// shuffled returns files in another order in which links still follow.
func shuffled(t *rapid.T, files []File) []File {
	files = rapid.Permutation(files).Draw(t, "order")
	slices.SortStableFunc(files, func(a, b File) int {
		if (a.Type == Link) == (b.Type == Link) {
			return 0
		}
		if a.Type == Link {
			return 1
		}
		return -1
	})
	return files
}

func tarOfFiles(t *rapid.T, files []File) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Typeflag: tar.TypeReg, Name: f.Path, Mode: int64(f.Mode), Size: int64(len(f.Data)), Linkname: f.Target, Format: tar.FormatPAX}
		switch f.Type {
		case Dir:
			h.Typeflag, h.Name = tar.TypeDir, f.Path+"/"
		case Symlink:
			h.Typeflag = tar.TypeSymlink
		case Link:
			h.Typeflag = tar.TypeLink
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		w.Write(f.Data)
	}
	w.Close()
	return b.Bytes()
}

// The order of files, of tar entries, and the writer of the tar do not count;
// the canonical layer read back is the same tree and layer; the text parses
// to the same tree; the predicted size is the size.
func TestOrderDoesNotCount(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		files := drawFiles(t)
		var layer bytes.Buffer
		a, err := WriteArchive(&layer, files, 1)
		if err != nil {
			t.Fatal(err)
		}
		b, err := TreeOf(shuffled(t, files))
		if err != nil || b.Digest() != a.Tree.Digest() {
			t.Fatalf("another order of files: %v\n%s", err, a.Tree.Text())
		}
		for name, stream := range map[string][]byte{"archive/tar": tarOfFiles(t, shuffled(t, files)), "ours": layer.Bytes()} {
			tree, again, err := canonical(bytes.NewReader(stream))
			if err != nil || tree.Digest() != a.Tree.Digest() || !bytes.Equal(again, layer.Bytes()) {
				t.Fatalf("from %s: %v\n%s", name, err, a.Tree.Text())
			}
		}
		parsed, err := ParseTree(a.Tree.Text())
		if err != nil || parsed.Digest() != a.Tree.Digest() || layerSize(parsed) != a.Size || len(Diff(parsed, b)) != 0 {
			t.Fatalf("text: %v\n%s", err, a.Tree.Text())
		}
	})
}

// Nor does the order in which a directory's files were made, which is the
// order in which many file systems list them.
func TestReaddirOrderDoesNotCount(t *testing.T) {
	base := t.TempDir()
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z.% -]{1,6}`).Filter(func(s string) bool { return s != "." && s != ".." }), 1, 20, rapid.ID[string]).Draw(t, "names")
		var trees [2]*Tree
		for i, order := range [][]string{names, rapid.Permutation(names).Draw(t, "order")} {
			n++
			dir := filepath.Join(base, fmt.Sprint(n))
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for _, name := range order {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			var err error
			if trees[i], err = ReadDir(dir); err != nil {
				t.Fatal(err)
			}
		}
		if trees[0].Digest() != trees[1].Digest() {
			t.Fatalf("%v", Diff(trees[0], trees[1]))
		}
	})
}

// Diff is empty exactly if the digests are equal.
func TestDiffAgreesWithDigest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, errA := TreeOf(drawFiles(t))
		b, errB := TreeOf(drawFiles(t))
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		list := Diff(a, b)
		if (len(list) == 0) != (a.Digest() == b.Digest()) {
			t.Fatalf("%v\n%s%s", list, a.Text(), b.Text())
		}
		if !slices.IsSortedFunc(list, func(x, y Difference) int { return strings.Compare(x.Path, y.Path) }) {
			t.Fatalf("not sorted: %v", list)
		}
	})
}

// A text that parses is written back byte for byte, and its tree is one that
// a builder would have made.
func FuzzParseTree(f *testing.F) {
	for _, c := range readVectors(f) {
		if c.Refused == "" {
			if tree, _, _, err := c.build(f, io.Discard); err == nil && tree.Len() < 50 {
				f.Add(tree.Text())
			}
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		tree, err := ParseTree(text)
		if err != nil {
			return
		}
		if !bytes.Equal(tree.Text(), text) || tree.Digest() != DigestOf(text) {
			t.Errorf("%q is written as %q", text, tree.Text())
		}
		if tree.Len() > 0 && layerSize(tree) < int64(tree.Len())*blockSize {
			t.Error("layer smaller than its headers")
		}
	})
}

// A tar stream that is taken has one canonical layer, which is read back as
// the same tree and the same layer.
func FuzzReadTar(f *testing.F) {
	for _, h := range hostiles(f) {
		if len(h.b) < 64<<10 {
			f.Add(h.b)
		}
	}
	f.Add(makeTar(f, dir("a"), file("a/b", "x"), hardlink("c", "a/b"), pax(file("x", "y"), xattrKey+"user.k", "v")))
	f.Fuzz(func(t *testing.T, b []byte) {
		tree, layer, err := canonical(bytes.NewReader(b))
		if err != nil {
			return
		}
		again, layer2, err := canonical(bytes.NewReader(layer))
		if err != nil || again.Digest() != tree.Digest() || !bytes.Equal(layer, layer2) {
			t.Errorf("read back: %v\n%s", err, tree.Text())
		}
	})
}

// An archive of any kind is refused or gives a tree with only the owners and
// modes of a source; it never panics and never gives more than the limits.
func FuzzArchive(f *testing.F) {
	for _, h := range hostiles(f) {
		if len(h.b) < 64<<10 {
			f.Add(h.b)
		}
	}
	good := makeTar(f, file("a", "x"))
	for _, b := range [][]byte{gz(f, good), xzOf(f, good), zst(f, good), unhex(f, hiBzip2)} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		tree, err := archiveTree(bytes.NewReader(b), nil, Limits{Entries: 100, Bytes: 1 << 20})
		if err != nil {
			return
		}
		var size int64
		for e := range tree.Entries() {
			size += e.Size
			if e.UID != 0 || e.GID != 0 || len(e.Xattrs) > 0 || e.Type != Link && !slices.Contains([]uint32{0o644, 0o755, 0o777}, e.Mode) {
				t.Errorf("entry %+v", e)
			}
		}
		if tree.Len() > 100 || size > 1<<20 {
			t.Errorf("%d entries, %d bytes", tree.Len(), size)
		}
		if _, err := ParseTree(tree.Text()); err != nil {
			t.Error(err)
		}
	})
}

// A digest that parses is its own only text.
func FuzzParseDigest(f *testing.F) {
	f.Add(string(DigestOf(nil)))
	f.Add(strings.ToUpper(string(DigestOf(nil))))
	f.Add("sha512:00")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := ParseDigest(text)
		if err != nil {
			return
		}
		raw, err := hex.DecodeString(d.Hex())
		if err != nil || string(DigestOfSum(raw)) != text {
			t.Fatalf("%q became %s", text, d)
		}
	})
}
