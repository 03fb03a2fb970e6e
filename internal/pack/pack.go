// Package pack keeps many small values of a cache in few files: making a file
// costs more than all else that is done with a value of some kilobytes.
//
// A folder holds numbered packs. Each begins with a line that says its format,
// and then has records one behind the other: key, length, value. Whoever writes
// does so into a pack of its own, so that processes need no lock. Of a key that
// is there several times the last one counts, a length of zero takes it back.
//
// Nothing here is durable or checked: a record that a crash cut ends its pack,
// and what a value is worth is for its reader to see, by a hash.
package pack

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"rebuild/internal/document"
	"rebuild/internal/durable"
)

// format is the first line of a pack. One that begins otherwise is not read.
var format = `{"schema_version":"` + document.Pack.ID() + `"}` + "\n"

const (
	suffix     = ".pack"
	headerSize = len(Key{}) + 4
	// maxPacks and maxBytes bound a folder: what is above is cut down, to half
	// as many bytes in one pack, by who begins the next one.
	maxPacks = 8
	maxBytes = 64 << 20
	// maxTries is how often a number that another process took is passed over.
	maxTries = 100
)

// MaxValue is the most bytes of a value.
const MaxValue = 4 << 20

// Key names a value; the hash of what it is of.
type Key [32]byte

// Packs are the packs of a folder. Several goroutines may use them at once.
type Packs struct {
	dir string

	mu    sync.Mutex
	known map[Key]place // nil: the folder was not read yet
	files []*file       // by number
	own   *file         // the last of files, nil if nothing was written yet
	turn  int           // of the next record
	fail  error         // what keeps this process from writing
}

// file is a pack of the folder.
type file struct {
	*os.File
	number  int
	size    int64
	foreign bool // of another format
}

// place is where a value is.
type place struct {
	in   *os.File
	at   int64
	size int
	turn int // a higher one was written later
}

// In returns the packs of a folder, which is read when it is first asked and
// made when something is put there.
func In(dir string) *Packs { return &Packs{dir: dir} }

// Get returns the value of a key, nil if there is none that can be read.
func (p *Packs) Get(k Key) []byte {
	p.mu.Lock()
	p.load()
	at, there := p.known[k]
	p.mu.Unlock()
	if !there {
		return nil
	}
	value := make([]byte, at.size)
	if _, err := at.in.ReadAt(value, at.at); err != nil {
		return nil
	}
	return value
}

// Has says whether there is a value of a key.
func (p *Packs) Has(k Key) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.load()
	_, there := p.known[k]
	return there
}

// Put keeps a value, of at least one byte and at most [MaxValue]. An error
// leaves the cache as it was, and it is not written again then.
func (p *Packs) Put(k Key, value []byte) error {
	if len(value) == 0 || len(value) > MaxValue {
		return fmt.Errorf("a value of %d bytes, 1 to %d can be kept", len(value), MaxValue)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.append(k, value)
}

// Drop takes a value back.
func (p *Packs) Drop(k Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.load()
	if _, there := p.known[k]; there && p.append(k, nil) != nil {
		delete(p.known, k) // at least for this process
	}
}

// Clear takes values back and removes the packs that have no others. What is put
// afterwards begins a new one.
func (p *Packs) Clear(keys []Key) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.load()
	for _, k := range keys {
		delete(p.known, k)
	}
	used := map[*os.File]bool{}
	for _, at := range p.known {
		used[at.in] = true
	}
	var err error
	p.files = slices.DeleteFunc(p.files, func(f *file) bool {
		if used[f.File] {
			return false
		}
		err = errors.Join(err, f.remove())
		if f == p.own {
			p.own = nil
		}
		return true
	})
	return err
}

func (f *file) remove() error {
	err := os.Remove(f.Name())
	f.Close()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// append writes a record at the end of this process's own pack.
func (p *Packs) append(k Key, value []byte) error {
	if p.fail != nil {
		return p.fail
	}
	p.load()
	if p.own == nil || p.own.size > maxBytes {
		if p.fail = p.begin(); p.fail != nil {
			return p.fail
		}
	}
	record := make([]byte, 0, headerSize+len(value))
	record = append(record, k[:]...)
	record = binary.BigEndian.AppendUint32(record, uint32(len(value)))
	if _, p.fail = p.own.Write(append(record, value...)); p.fail != nil {
		return p.fail // what follows a record that is cut is never found
	}
	p.know(k, place{in: p.own.File, at: p.own.size + int64(headerSize), size: len(value)})
	p.own.size += int64(headerSize + len(value))
	return nil
}

func (p *Packs) know(k Key, at place) {
	if at.size == 0 {
		delete(p.known, k)
		return
	}
	at.turn = p.turn
	p.turn++
	p.known[k] = at
}

// load reads where the values are. What can not be read is not there.
func (p *Packs) load() {
	if p.known != nil {
		return
	}
	p.known = map[Key]place{}
	for _, number := range numbers(p.dir) {
		f, err := os.Open(p.path(number))
		if err != nil {
			continue
		}
		kept := &file{File: f, number: number}
		p.scan(kept)
		p.files = append(p.files, kept)
	}
}

// numbers lists the packs of a folder in the order of their beginning.
func numbers(dir string) []int {
	var out []int
	held, _ := os.ReadDir(dir)
	for _, e := range held {
		digits, is := strings.CutSuffix(e.Name(), suffix)
		if n, err := strconv.Atoi(digits); is && err == nil && n > 0 && e.Type().IsRegular() && filepath.Base(name(n)) == e.Name() {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

func name(number int) string { return fmt.Sprintf("%08d", number) + suffix }

func (p *Packs) path(number int) string { return filepath.Join(p.dir, name(number)) }

// scan takes up the records of a pack.
func (p *Packs) scan(f *file) {
	info, err := f.Stat()
	if err != nil {
		return
	}
	f.size = info.Size()
	in := bufio.NewReaderSize(f, 64<<10)
	first := make([]byte, len(format))
	if _, err := io.ReadFull(in, first); err != nil {
		return
	}
	if f.foreign = string(first) != format; f.foreign {
		return
	}
	head := make([]byte, headerSize)
	for at := int64(len(format)); ; {
		if _, err := io.ReadFull(in, head); err != nil {
			return
		}
		size := int(binary.BigEndian.Uint32(head[len(Key{}):]))
		at += int64(headerSize)
		if size > MaxValue || at+int64(size) > f.size {
			return
		}
		if _, err := in.Discard(size); err != nil {
			return
		}
		p.know(Key(head[:len(Key{})]), place{in: f.File, at: at, size: size})
		at += int64(size)
	}
}

// begin makes this process's own pack and removes those of another format. If
// there are too many others, it takes over what of them was written last.
func (p *Packs) begin() error {
	// Nothing in it has to stay, but folders above it are those of other files.
	if err := durable.MkdirAll(durable.OS{}, p.dir); err != nil {
		return err
	}
	next := 1
	if len(p.files) > 0 {
		next = p.files[len(p.files)-1].number + 1
	}
	f, err := p.create(next)
	if err != nil {
		return err
	}
	old := slices.DeleteFunc(p.files, func(f *file) bool { return f.foreign && f.remove() == nil })
	p.own = f
	p.files = append(slices.Clone(old), f)
	total := int64(0)
	for _, o := range old {
		total += o.size
	}
	if len(old) < maxPacks && total <= maxBytes {
		return nil
	}
	return p.takeOver(old)
}

func (p *Packs) create(number int) (*file, error) {
	for try := 0; ; try++ {
		f, err := os.OpenFile(p.path(number+try), os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o644)
		if errors.Is(err, fs.ErrExist) && try < maxTries {
			continue
		}
		if err != nil {
			return nil, err
		}
		if _, err := f.WriteString(format); err != nil {
			return nil, errors.Join(err, os.Remove(f.Name()), f.Close())
		}
		return &file{File: f, number: number + try, size: int64(len(format))}, nil
	}
}

// takeOver copies the values that were written last and removes the packs that
// they are from. Another process that still reads those has them open.
func (p *Packs) takeOver(old []*file) error {
	type record struct {
		key Key
		place
	}
	var all []record
	for k, at := range p.known {
		all = append(all, record{k, at})
	}
	slices.SortFunc(all, func(a, b record) int { return cmp.Compare(b.turn, a.turn) })
	keep, total := 0, 0
	for keep < len(all) && total+headerSize+all[keep].size <= maxBytes/2 {
		total += headerSize + all[keep].size // or many that are tiny would fill the pack again
		keep++
	}
	p.known = map[Key]place{}
	for _, r := range slices.Backward(all[:keep]) {
		value := make([]byte, r.size)
		if _, err := r.in.ReadAt(value, r.at); err != nil {
			continue
		}
		if err := p.append(r.key, value); err != nil {
			return err
		}
	}
	for _, o := range old {
		o.remove()
	}
	p.files = []*file{p.own}
	return nil
}
