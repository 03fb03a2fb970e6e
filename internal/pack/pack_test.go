package pack

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func key(text string) Key { return sha256.Sum256([]byte(text)) }

func put(t *testing.T, p *Packs, k, value string) {
	t.Helper()
	if err := p.Put(key(k), []byte(value)); err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, p *Packs, k, value string) {
	t.Helper()
	if got := string(p.Get(key(k))); got != value || p.Has(key(k)) != (value != "") {
		t.Errorf("%s is %.40q, want %.40q", k, got, value)
	}
}

func held(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// What was put is there for this process and for the next, the last of several
// of one key, and what was dropped is not.
func TestPacks(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	p := In(dir)
	want(t, p, "x", "")
	p.Drop(key("x"))
	if len(held(t, dir)) != 0 {
		t.Error("reading made files")
	}
	put(t, p, "x", "one")
	put(t, p, "y", "two")
	put(t, p, "x", "three")
	put(t, p, "z", "four")
	p.Drop(key("z"))
	for _, p := range []*Packs{p, In(dir)} {
		want(t, p, "x", "three")
		want(t, p, "y", "two")
		want(t, p, "z", "")
	}
	next := In(dir)
	put(t, next, "y", "later")
	want(t, In(dir), "y", "later")
	want(t, p, "y", "two") // read before
	if n := len(held(t, dir)); n != 2 {
		t.Errorf("%d packs", n)
	}
}

func TestValuesThatAreNotKept(t *testing.T) {
	p := In(t.TempDir())
	for _, size := range []int{0, MaxValue + 1} {
		if p.Put(key("x"), make([]byte, size)) == nil {
			t.Errorf("%d bytes were kept", size)
		}
	}
	put(t, p, "x", string(make([]byte, MaxValue)))
	if got := In(p.dir).Get(key("x")); len(got) != MaxValue {
		t.Errorf("%d bytes", len(got))
	}
}

// A folder that can not be written is an error each time, and what is there is
// still read.
func TestFolderThatCanNotBeWritten(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	p := In(file)
	for range 2 {
		if p.Put(key("x"), []byte("one")) == nil {
			t.Error("it was kept")
		}
	}
	want(t, p, "x", "")
}

// Clear removes the packs of which nothing is needed, and no others.
func TestClear(t *testing.T) {
	dir := t.TempDir()
	old := In(dir)
	put(t, old, "mine", "one")
	put(t, old, "another's", "two")
	p := In(dir)
	put(t, p, "more", "three")
	if err := p.Clear([]Key{key("mine"), key("more"), key("unknown")}); err != nil {
		t.Fatal(err)
	}
	want(t, p, "mine", "")
	want(t, p, "another's", "two")
	if n := len(held(t, dir)); n != 1 {
		t.Errorf("%d packs", n)
	}
	put(t, p, "again", "four")
	for _, p := range []*Packs{p, In(dir)} {
		want(t, p, "again", "four")
		want(t, p, "another's", "two")
	}
	if err := p.Clear([]Key{key("again"), key("another's"), key("mine")}); err != nil || len(held(t, dir)) != 0 {
		t.Errorf("%v, %v", err, held(t, dir))
	}
}

// However a pack is cut or changed, its reader gets values that were put, or
// others of their size for a key that was, or nothing, and ends.
func TestDamage(t *testing.T) {
	dir := t.TempDir()
	p := In(dir)
	for i := range 5 {
		put(t, p, fmt.Sprint(i), fmt.Sprintf("value %d", i))
	}
	file := held(t, dir)[0]
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	read := func(data []byte) (values int) {
		t.Helper()
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
		p := In(dir)
		for i := range 5 {
			if value := p.Get(key(fmt.Sprint(i))); value != nil {
				values++
			}
		}
		put(t, p, "more", "is kept")
		want(t, In(dir), "more", "is kept")
		if err := p.Clear([]Key{key("more")}); err != nil {
			t.Fatal(err)
		}
		return values
	}
	for n := range whole {
		record := headerSize + len("value 0")
		if got, full := read(whole[:n]), max(0, n-len(format))/record; got != full {
			t.Fatalf("of %d bytes %d values are read, not %d", n, got, full)
		}
	}
	for i := range whole {
		bad := bytes.Clone(whole)
		bad[i] ^= 0x80
		got, full := read(bad), 5
		switch in := (i - len(format)) % (headerSize + len("value 0")); {
		case i < len(format):
			full = 0
		case in < headerSize:
			full = 4 // its key is another, or what follows it is lost
		}
		if got > full || full != 4 && got != full {
			t.Fatalf("byte %d changed: %d values are read, not %d", i, got, full)
		}
	}
	if got := read(whole); got != 5 {
		t.Errorf("%d values of the whole", got)
	}
}

// Other files in the folder are left alone.
func TestOtherFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"1.pack", "00000001.packs", "-0000001.pack", "x.pack", "00000000000000000000000001.pack"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(format), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/dev/zero", filepath.Join(dir, name(7))); err != nil {
		t.Fatal(err)
	}
	p := In(dir)
	want(t, p, "x", "")
	if len(p.files) != 0 {
		t.Errorf("%d packs", len(p.files))
	}
	put(t, p, "x", "one")
	if err := p.Clear([]Key{key("x")}); err != nil || len(held(t, dir)) != 6 {
		t.Errorf("%v %v", err, held(t, dir))
	}
}

// A pack of another version is no error and no input: it is removed once there is
// a new one.
func TestPackOfAnotherVersion(t *testing.T) {
	dir := t.TempDir()
	put(t, In(dir), "x", "one")
	file := held(t, dir)[0]
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, bytes.Replace(data, []byte("@1.0.0"), []byte("@7.0.0"), 1), 0o644); err != nil {
		t.Fatal(err)
	}
	p := In(dir)
	want(t, p, "x", "")
	put(t, p, "x", "two")
	want(t, In(dir), "x", "two")
	if left := held(t, dir); len(left) != 1 || left[0] == file {
		t.Errorf("%v", left)
	}
}

// Of too many packs the values that were put last are taken over into one.
func TestTooManyPacks(t *testing.T) {
	dir := t.TempDir()
	for i := range maxPacks + 2 {
		p := In(dir)
		put(t, p, fmt.Sprint(i), fmt.Sprint("value ", i))
		put(t, p, "each", fmt.Sprint("turn ", i))
		if n := len(held(t, dir)); n > maxPacks {
			t.Fatalf("%d packs", n)
		}
	}
	p := In(dir)
	for i := range maxPacks + 2 {
		want(t, p, fmt.Sprint(i), fmt.Sprint("value ", i))
	}
	want(t, p, "each", fmt.Sprint("turn ", maxPacks+1))
}

// The bytes of a folder are bounded, also if one process writes them all.
func TestTooManyBytes(t *testing.T) {
	dir := t.TempDir()
	p := In(dir)
	value := make([]byte, MaxValue)
	const count = 3 * maxBytes / MaxValue
	for i := range count {
		if err := p.Put(key(fmt.Sprint(i)), value); err != nil {
			t.Fatal(err)
		}
		total := int64(0)
		for _, file := range held(t, dir) {
			info, err := os.Stat(file)
			if err != nil {
				t.Fatal(err)
			}
			total += info.Size()
		}
		if total > maxBytes+2*MaxValue {
			t.Fatalf("%d bytes after %d values", total, i+1)
		}
	}
	if p.Has(key("0")) || p.Get(key(fmt.Sprint(count-1))) == nil {
		t.Error("not the last ones are there")
	}
}

// Values that are shorter than what names them leave room too, or each that is
// put would copy all of them again.
func TestTooManyTinyValues(t *testing.T) {
	dir := t.TempDir()
	const size = 16
	pack := []byte(format)
	for i := 0; len(pack) <= maxBytes; i++ {
		var k Key
		binary.BigEndian.PutUint32(k[:], uint32(i))
		pack = binary.BigEndian.AppendUint32(append(pack, k[:]...), size)
		pack = append(pack, make([]byte, size)...)
	}
	if err := os.WriteFile(filepath.Join(dir, name(1)), pack, 0o644); err != nil {
		t.Fatal(err)
	}
	put(t, In(dir), "last", "value")
	all := held(t, dir)
	if len(all) != 1 {
		t.Fatalf("packs %q", all)
	}
	if info, err := os.Stat(all[0]); err != nil || info.Size() > maxBytes/2+1<<10 {
		t.Errorf("%d bytes were taken over, %v", info.Size(), err)
	}
	want(t, In(dir), "last", "value")
}

// Several goroutines, and several processes, use one folder.
func TestSideBySide(t *testing.T) {
	dir := t.TempDir()
	var all sync.WaitGroup
	for i := range 4 {
		p := In(dir)
		for j := range 4 {
			all.Go(func() {
				for n := range 50 {
					id := fmt.Sprint(i, j, n)
					if err := p.Put(key(id), []byte(id)); err != nil {
						t.Error(err)
					}
					if got := p.Get(key(id)); string(got) != id {
						t.Errorf("%s is %q", id, got)
					}
				}
			})
		}
	}
	all.Wait()
	p := In(dir)
	for i := range 4 {
		for j := range 4 {
			for n := range 50 {
				want(t, p, fmt.Sprint(i, j, n), fmt.Sprint(i, j, n))
			}
		}
	}
}

func FuzzPack(f *testing.F) {
	dir := f.TempDir()
	p := In(dir)
	for _, value := range []string{"one", "another"} {
		if err := p.Put(key("x"), []byte(value)); err != nil {
			f.Fatal(err)
		}
	}
	whole, err := os.ReadFile(p.path(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add([]byte(format))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, name(1)), data, 0o644); err != nil {
			t.Fatal(err)
		}
		p := In(dir)
		p.Get(key("x"))
		for k, at := range p.known { // each value is a piece of the file behind its key
			value := p.Get(k)
			if !bytes.Contains(data, append(k[:], byte(at.size>>24), byte(at.size>>16), byte(at.size>>8), byte(at.size))) || !bytes.Contains(data, value) {
				t.Errorf("%x is %q", k, value)
			}
		}
		put(t, p, "more", "is kept")
		want(t, In(dir), "more", "is kept")
	})
}
