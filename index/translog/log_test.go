package translog_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/mod/sumdb/tlog"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/index/translog"
	"rebuild/internal/fault"
)

func options() translog.Options {
	return translog.Options{Origin: attesttest.Origin, Key: attesttest.Key("log"), Now: func() time.Time { return attesttest.Cosigned }}
}

// leaf is leaf n of the logs in these tests, of 1 to some 1000 bytes.
func leaf(n int64) []byte {
	return fmt.Appendf(nil, "%d%s", n, strings.Repeat(".", int(n*n%997)))
}

func leaves(from, to int64) (out [][]byte) {
	for n := from; n < to; n++ {
		out = append(out, leaf(n))
	}
	return out
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func create(t testing.TB, dir string) *translog.Log {
	t.Helper()
	l, err := translog.Create(t.Context(), dir, options())
	must(t, err)
	return l
}

func reopen(t testing.TB, dir string) *translog.Log {
	t.Helper()
	l, err := translog.Open(t.Context(), dir, options())
	must(t, err)
	return l
}

// checkpoint returns the published checkpoint, verified as a reader does.
func checkpoint(t testing.TB, dir string) *attest.Checkpoint {
	t.Helper()
	signed, err := os.ReadFile(filepath.Join(dir, "checkpoint"))
	must(t, err)
	trusted, err := attest.PinnedLog(attesttest.Origin, attesttest.VerifierKey(attesttest.Origin, "log", 1))
	must(t, err)
	c, err := trusted.OpenCheckpoint(signed)
	must(t, err)
	return c
}

// model is the tree as golang.org/x/mod makes it.
type model struct{ hashes []tlog.Hash }

func (m *model) ReadHashes(at []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(at))
	for i, n := range at {
		out[i] = m.hashes[n]
	}
	return out, nil
}

// roots returns the root of the tree of each size from 0 to n.
func roots(t testing.TB, n int64) []tlog.Hash {
	t.Helper()
	m := &model{}
	var out []tlog.Hash
	for i := range n + 1 {
		root, err := tlog.TreeHash(i, m)
		must(t, err)
		stored, err := tlog.StoredHashes(i, leaf(i), m)
		must(t, err)
		m.hashes = append(m.hashes, stored...)
		out = append(out, root)
	}
	return out
}

// files returns every file of a log with its content.
func files(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		out[strings.TrimPrefix(path, dir+"/")] = string(data)
		return err
	}))
	return out
}

func same(t testing.TB, got, want map[string]string) {
	t.Helper()
	for path := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("%s is there", path)
		}
	}
	for path, data := range want {
		if got[path] != data {
			t.Errorf("%s is %.100q, want %.100q", path, got[path], data)
		}
	}
}

// A log that signs another tree than its leaves give is a fork by its own hand.
func TestEverySizeHasTheTreeOfItsLeaves(t *testing.T) {
	sizes := int64(600)
	if testing.Short() {
		sizes = 300
	}
	want := roots(t, sizes)
	dir := t.TempDir()
	l := create(t, dir)
	for n := range sizes + 1 {
		c := checkpoint(t, dir)
		if c.Size != n || c.Root != want[n] || l.Size() != n || !c.Cosigned.Equal(attesttest.Cosigned) {
			t.Fatalf("size %d: checkpoint of %d with root %s dated %s, Size %d, want root %s", n, c.Size, c.Root, c.Cosigned, l.Size(), want[n])
		}
		if n%7 == 0 { // as another process would
			must(t, l.Close(t.Context()))
			l = reopen(t, dir)
		}
		if n < sizes {
			must(t, l.Append(t.Context(), leaves(n, n+1)))
		}
	}
}

func TestBatchesOfAnySize(t *testing.T) {
	const all = 3000
	want := roots(t, all)
	random := rand.New(rand.NewPCG(7, 7))
	dir := t.TempDir()
	l := create(t, dir)
	for n := int64(0); n < all; {
		k := min(1+random.Int64N(1<<random.Int64N(11)), all-n)
		must(t, l.Append(t.Context(), leaves(n, n+k)))
		n += k
		if c := checkpoint(t, dir); c.Size != n || c.Root != want[n] {
			t.Fatalf("size %d: checkpoint of %d with root %s, want %s", n, c.Size, c.Root, want[n])
		}
	}
	for path := range files(t, dir) {
		if n := strings.Index(path, ".p/"); n >= 0 && !strings.HasPrefix(path, "tile/1/") && path[:n][len(path[:n])-3:] != "011" {
			t.Errorf("%s is left beside the full tile", path)
		}
	}
}

func TestALogThatIsNotThere(t *testing.T) {
	_, err := translog.Open(t.Context(), t.TempDir(), options())
	if fault.CodeOf(err) != fault.Usage || !strings.Contains(err.(*fault.Error).Hint, "rebuild index init") {
		t.Errorf("a directory without a log: %v", err)
	}
	_, err = translog.Open(t.Context(), filepath.Join(t.TempDir(), "mistyped"), options())
	if fault.CodeOf(err) != fault.Usage {
		t.Errorf("no directory: %v", err)
	}
	dir := t.TempDir()
	create(t, dir)
	if _, err = translog.Create(t.Context(), dir, options()); fault.CodeOf(err) != fault.Usage {
		t.Errorf("a second log in one directory: %v", err)
	}
}

func TestWhoseLogItIs(t *testing.T) {
	dir := t.TempDir()
	create(t, dir)
	o := options()
	o.Key = attesttest.Key("mallory")
	if _, err := translog.Open(t.Context(), dir, o); fault.CodeOf(err) != fault.KeyUnknown {
		t.Errorf("another key: %v", err)
	}
	o = options()
	o.Origin = "example.org/other"
	if _, err := translog.Open(t.Context(), dir, o); fault.CodeOf(err) != fault.EvidenceMismatch {
		t.Errorf("another origin: %v", err)
	}
	o.Origin = "two words"
	if _, err := translog.Open(t.Context(), dir, o); fault.CodeOf(err) != fault.Usage {
		t.Errorf("no origin: %v", err)
	}
}

// What a log has signed it must never sign away: a state directory out of a
// backup, or tiles that somebody changed, end the use of the log.
func TestATreeThatIsNotTheOneSigned(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(t *testing.T, dir, older string)
		want   fault.Code
	}{
		"the tree is older than the checkpoint": {func(t *testing.T, dir, older string) { move(t, older, dir, ".state/treeState") }, fault.Rollback},
		"the checkpoint is of another tree":     {func(t *testing.T, dir, older string) { otherCheckpoint(t, dir) }, fault.Fork},
		"a hash of the tree is changed":         {func(t *testing.T, dir, older string) { flip(t, dir, "tile/0/001.p/44") }, fault.Fork},
		"a tile is cut":                         {func(t *testing.T, dir, older string) { cut(t, dir, "tile/1/000.p/1") }, fault.Internal},
		"a tile is gone":                        {func(t *testing.T, dir, older string) { must(t, os.Remove(filepath.Join(dir, "tile/0/001.p/44"))) }, fault.Internal},
		"the tree is ahead and another one":     {func(t *testing.T, dir, older string) { move(t, older, dir, "checkpoint"); flip(t, dir, "tile/0/000") }, fault.Fork},
		"the checkpoint is cut":                 {func(t *testing.T, dir, older string) { cut(t, dir, "checkpoint") }, fault.Parse},
	} {
		t.Run(name, func(t *testing.T) {
			older, dir := t.TempDir(), t.TempDir()
			l := create(t, older)
			must(t, l.Append(t.Context(), leaves(0, 100)))
			must(t, os.CopyFS(dir, os.DirFS(older)))
			l = reopen(t, dir)
			must(t, l.Append(t.Context(), leaves(100, 300)))
			c.damage(t, dir, older)
			before := files(t, dir)["checkpoint"]
			if _, err := translog.Open(t.Context(), dir, options()); fault.CodeOf(err) != c.want {
				t.Errorf("%v, want %s", err, c.want)
			}
			if files(t, dir)["checkpoint"] != before {
				t.Error("a checkpoint was signed all the same")
			}
		})
	}
}

// Leaves that are in the folder and under no checkpoint are signed only as the
// batch that they came of: whoever can write there could have put them.
func TestNothingIsSignedThatNobodyAppends(t *testing.T) {
	for name, c := range map[string]struct {
		batch [][]byte
		want  fault.Code
	}{
		"the batch again": {leaves(100, 300), ""},
		"other leaves":    {leaves(400, 600), fault.Fork},
		"fewer leaves":    {leaves(100, 299), fault.Fork},
		"more leaves":     {leaves(100, 301), fault.Fork},
	} {
		t.Run(name, func(t *testing.T) {
			older, dir := t.TempDir(), t.TempDir()
			must(t, create(t, older).Append(t.Context(), leaves(0, 100)))
			must(t, os.CopyFS(dir, os.DirFS(older)))
			must(t, reopen(t, dir).Append(t.Context(), leaves(100, 300)))
			want := checkpoint(t, dir).Root
			move(t, older, dir, "checkpoint")
			before := files(t, dir)
			l := reopen(t, dir)
			if l.Size() != 100 {
				t.Fatalf("%d leaves count", l.Size())
			}
			same(t, files(t, dir), before)
			err := l.Append(t.Context(), c.batch)
			if fault.CodeOf(err) != c.want {
				t.Fatalf("%v, want %q", err, c.want)
			}
			if c.want != "" {
				same(t, files(t, dir), before)
				return
			}
			if got := checkpoint(t, dir); got.Size != 300 || got.Root != want {
				t.Errorf("%d leaves, root %s", got.Size, got.Root)
			}
			must(t, reopen(t, dir).Append(t.Context(), leaves(300, 310)))
		})
	}
}

func move(t *testing.T, from, to, path string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(from, path))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(to, path), data, 0o644))
}

func edit(t *testing.T, dir, path string, f func([]byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, path))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, path), f(data), 0o644))
}

func flip(t *testing.T, dir, path string) {
	t.Helper()
	edit(t, dir, path, func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
}

func cut(t *testing.T, dir, path string) {
	t.Helper()
	edit(t, dir, path, func(b []byte) []byte { return b[:len(b)-1] })
}

func otherCheckpoint(t *testing.T, dir string) {
	t.Helper()
	other := attesttest.NewLog(t, attesttest.Origin)
	for n := range int64(300) {
		other.AppendLeaf("x", leaf(n+1))
	}
	must(t, os.WriteFile(filepath.Join(dir, "checkpoint"), other.Checkpoint(attesttest.Cosigned), 0o644))
}

// A batch goes in whole or not at all, and is refused before a byte of it is
// written.
func TestBatchesThatAreRefused(t *testing.T) {
	dir := t.TempDir()
	l := create(t, dir)
	must(t, l.Append(t.Context(), leaves(0, 3)))
	before := files(t, dir)
	if err := l.Append(t.Context(), [][]byte{leaf(3), make([]byte, 8<<10+1)}); fault.CodeOf(err) != fault.Semantic {
		t.Errorf("a leaf that no reader takes: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Append(ended, leaves(3, 4)); err != context.Canceled {
		t.Errorf("after the end of its context: %v", err)
	}
	must(t, l.Append(t.Context(), nil))
	same(t, files(t, dir), before)
	other := reopen(t, dir) // a second writer, which the lock of the index excludes
	must(t, other.Append(t.Context(), leaves(3, 4)))
	before = files(t, dir)
	if err := l.Append(t.Context(), leaves(3, 5)); fault.CodeOf(err) != fault.Internal {
		t.Errorf("the log has grown meanwhile: %v", err)
	}
	same(t, files(t, dir), before)
	must(t, other.Close(t.Context()))
	must(t, other.Close(t.Context()))
	if err := other.Append(t.Context(), leaves(4, 5)); fault.CodeOf(err) != fault.Internal {
		t.Errorf("after Close: %v", err)
	}
	must(t, reopen(t, dir).Append(t.Context(), append(leaves(4, 5), bytes.Repeat([]byte("x"), 8<<10))))
}

// The log is opened by commands that end after one batch and by servers that
// go on: neither may collect goroutines.
func TestNoGoroutineIsLeft(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	dir := t.TempDir()
	l := create(t, dir)
	for n := range int64(5) {
		must(t, l.Append(t.Context(), leaves(n, n+1)))
	}
	must(t, l.Close(t.Context()))
	l = reopen(t, dir)
	must(t, l.Append(t.Context(), leaves(5, 6)))
	must(t, l.Close(t.Context()))
}

// Whatever a log is opened, made and appended by, nobody reads on standard
// error what its libraries think of it.
func TestNothingOnStandardError(t *testing.T) {
	r, w, err := os.Pipe()
	must(t, err)
	was := os.Stderr
	os.Stderr = w
	dir := t.TempDir()
	l := create(t, dir)
	err = l.Append(t.Context(), leaves(0, 300))
	if _, err := translog.Open(t.Context(), t.TempDir(), options()); err == nil {
		t.Error("a log was opened that is not there")
	}
	os.Stderr = was
	must(t, err)
	w.Close()
	var said bytes.Buffer
	if _, err := said.ReadFrom(r); err != nil || said.Len() > 0 {
		t.Errorf("%v\n%s", err, said.String())
	}
}

// BenchmarkPublication is what a command costs that appends one leaf.
func BenchmarkPublication(b *testing.B) {
	for _, size := range []int64{0, 1000, 100_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			dir := b.TempDir()
			must(b, create(b, dir).Append(b.Context(), leaves(0, size)))
			n := size
			for b.Loop() {
				l := reopen(b, dir)
				must(b, l.Append(b.Context(), leaves(n, n+1)))
				must(b, l.Close(b.Context()))
				n++
			}
		})
	}
}
