package store

import (
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Layout of a ustar header (POSIX.1-1988), as offset and width of each field.
const (
	blockSize    = 512
	nameWidth    = 100
	maxOctal8    = 1<<21 - 1 // seven digits and NUL
	maxOctal12   = 1<<33 - 1 // eleven digits and NUL
	xattrKey     = "SCHILY.xattr."
	paxName      = "PaxHeader"
	chunkSize    = 256 << 10
	chunksFlying = 6
)

// tarFlags maps entry types to ustar type flags.
var tarFlags = map[Type]byte{Regular: '0', Link: '1', Symlink: '2', Char: '3', Block: '4', Dir: '5', Fifo: '6'}

// ustar is one header block before it is written down.
type ustar struct {
	name, link   string
	mode         int64
	uid, gid     int64
	size, mtime  int64
	flag         byte
	major, minor int64
}

func (u *ustar) appendTo(b []byte) []byte {
	at := len(b)
	b = append(b, make([]byte, blockSize)...)
	h := b[at:]
	copy(h[0:nameWidth], u.name)
	octal(h[100:108], u.mode)
	octal(h[108:116], u.uid)
	octal(h[116:124], u.gid)
	octal(h[124:136], u.size)
	octal(h[136:148], u.mtime)
	h[156] = u.flag
	copy(h[157:157+nameWidth], u.link)
	copy(h[257:265], "ustar\x0000")
	octal(h[329:337], u.major)
	octal(h[337:345], u.minor)
	copy(h[148:156], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	octal(h[148:155], int64(sum))
	h[155] = ' '
	return b
}

// octal fills field with n in zero-padded octal digits and a NUL.
func octal(field []byte, n int64) {
	digits := len(field) - 1
	for i := digits - 1; i >= 0; i-- {
		field[i] = '0' + byte(n&7)
		n >>= 3
	}
	field[digits] = 0
}

// paxRecord returns "LENGTH KEY=VALUE\n", where LENGTH counts its own digits.
func paxRecord(key, value string) string {
	rest := len(" =\n") + len(key) + len(value)
	n := rest + len(strconv.Itoa(rest))
	if len(strconv.Itoa(n)) > len(strconv.Itoa(rest)) {
		n = rest + len(strconv.Itoa(n))
	}
	return strconv.Itoa(n) + " " + key + "=" + value + "\n"
}

// appendHeader appends the header blocks of e: a PAX header if something does
// not fit, and the ustar header. leader is the leader's entry if e is a Link.
func appendHeader(b []byte, e, leader *Entry, epoch int64) []byte {
	owner := e
	if e.Type == Link {
		owner = leader
	}
	u := ustar{
		name: e.Path, link: e.Target, mode: int64(owner.Mode), uid: owner.UID, gid: owner.GID,
		size: e.Size, mtime: epoch, flag: tarFlags[e.Type], major: e.Major, minor: e.Minor,
	}
	if e.Type == Dir {
		u.name += "/"
	}
	var records []Xattr
	for _, x := range e.Xattrs {
		records = append(records, Xattr{xattrKey + x.Name, x.Value})
	}
	records = u.fitNumber(records, "gid", &u.gid, maxOctal8)
	records = fitName(records, "linkpath", u.link)
	records = fitName(records, "path", u.name)
	records = u.fitNumber(records, "size", &u.size, maxOctal12)
	records = u.fitNumber(records, "uid", &u.uid, maxOctal8)
	if len(records) > 0 {
		b = appendPAX(b, records)
	}
	return u.appendTo(b)
}

// fitNumber moves a number that is too big for its field to a record.
func (u *ustar) fitNumber(records []Xattr, key string, n *int64, limit int64) []Xattr {
	if *n <= limit {
		return records
	}
	records = append(records, Xattr{key, strconv.FormatInt(*n, 10)})
	*n = 0
	return records
}

// fitName adds a record for a name that the field can not hold; the field
// then holds as much of it as fits.
func fitName(records []Xattr, key, name string) []Xattr {
	if len(name) <= nameWidth && strings.IndexFunc(name, func(r rune) bool { return r > 0x7f }) < 0 {
		return records
	}
	return append(records, Xattr{key, name})
}

func appendPAX(b []byte, records []Xattr) []byte {
	slices.SortFunc(records, func(x, y Xattr) int { return strings.Compare(x.Name, y.Name) })
	var body []byte
	for _, r := range records {
		body = append(body, paxRecord(r.Name, r.Value)...)
	}
	u := ustar{name: paxName, size: int64(len(body)), flag: 'x'}
	b = append(u.appendTo(b), body...)
	return append(b, make([]byte, padding(int64(len(body))))...)
}

func padding(size int64) int64 { return -size & (blockSize - 1) }

// layerSize returns the length of the canonical layer of t, which does not
// depend on the epoch.
func layerSize(t *Tree) int64 {
	n := int64(2 * blockSize)
	var b []byte
	for i := range t.entries {
		e := &t.entries[i]
		b = appendHeader(b[:0], e, leaderOf(t.entries, e), 0)
		n += int64(len(b)) + e.Size + padding(e.Size)
	}
	return n
}

func leaderOf(entries []Entry, e *Entry) *Entry {
	if e.Type != Link {
		return nil
	}
	return findEntry(entries, e.Target)
}

// writeLayer writes the canonical layer of entries to w, fills in the content
// digests that are missing, and returns the tree and the layer's digest and
// size. Files are streamed: at most chunksFlying chunks are in memory.
//
// One goroutine reads files and writes the layer, one hashes the layer, one
// hashes the files; they have ended when writeLayer returns.
func writeLayer(w io.Writer, entries []Entry, open []opener, epoch int64) (*Tree, Digest, int64, error) {
	if err := checkEpoch(epoch); err != nil {
		return nil, "", 0, err
	}
	p := newPipe(w)
	err := p.writeAll(entries, open, epoch)
	digest, size := p.finish()
	if err != nil {
		return nil, "", 0, err
	}
	t := newTree(entries)
	return t, digest, size, nil
}

// chunk is a piece of a layer on its way to the two hashers.
type chunk struct {
	buf  []byte
	segs []segment
	left sync.WaitGroup // hashers that still read buf
}

// chunks are those that no layer needs at the moment: most layers are smaller
// than one.
var chunks = sync.Pool{New: func() any { return &chunk{buf: make([]byte, 0, chunkSize+8*blockSize)} }}

// segment is the part buf[from:to] of a chunk that is content of e; last says
// that e ends here.
type segment struct {
	e        *Entry
	from, to int
	last     bool
}

type pipe struct {
	w       io.Writer
	cur     *chunk
	flying  []*chunk // sent, oldest first; the producer's
	layer   chan *chunk
	content chan *chunk
	wg      sync.WaitGroup
	sum     hash.Hash // the layer hasher's until finish
	size    int64
}

func newPipe(w io.Writer) *pipe {
	p := &pipe{w: w, layer: make(chan *chunk, chunksFlying), content: make(chan *chunk, chunksFlying), sum: sha256.New()}
	p.wg.Go(func() {
		for c := range p.layer {
			p.sum.Write(c.buf)
			c.left.Done()
		}
	})
	p.wg.Go(func() {
		h := sha256.New()
		for c := range p.content {
			for _, s := range c.segs {
				h.Write(c.buf[s.from:s.to])
				if s.last {
					s.e.Content = DigestOfSum(h.Sum(nil))
					h.Reset()
				}
			}
			c.left.Done()
		}
	})
	return p
}

func (p *pipe) writeAll(entries []Entry, open []opener, epoch int64) error {
	for i := range entries {
		e := &entries[i]
		c := p.room()
		c.buf = appendHeader(c.buf, e, leaderOf(entries, e), epoch)
		if e.Type == Regular {
			if err := p.copyContent(e, open[i]); err != nil {
				return err
			}
		}
		if len(p.cur.buf) >= chunkSize {
			if err := p.flush(); err != nil {
				return err
			}
		}
	}
	c := p.room()
	c.buf = append(c.buf, make([]byte, 2*blockSize)...)
	return p.flush()
}

// room returns the current chunk. Its capacity is a little over chunkSize, so
// that headers rarely make it grow.
func (p *pipe) room() *chunk {
	if p.cur == nil {
		p.cur = p.recycled()
	}
	return p.cur
}

func (p *pipe) recycled() *chunk {
	if len(p.flying) < chunksFlying {
		c := chunks.Get().(*chunk)
		c.buf, c.segs = c.buf[:0], c.segs[:0]
		return c
	}
	c := p.flying[0]
	p.flying = append(p.flying[:0], p.flying[1:]...)
	c.left.Wait()
	c.buf, c.segs = c.buf[:0], c.segs[:0]
	return c
}

// flush hands the current chunk to the hashers and writes it.
func (p *pipe) flush() error {
	c := p.cur
	p.cur = nil
	p.size += int64(len(c.buf))
	c.left.Add(2)
	p.layer <- c
	p.content <- c
	p.flying = append(p.flying, c)
	_, err := p.w.Write(c.buf)
	return err
}

// copyContent appends the content of e, which must have exactly e.Size bytes,
// and its padding.
func (p *pipe) copyContent(e *Entry, open opener) error {
	f, err := open()
	if err != nil {
		return err
	}
	defer f.Close()
	hashing := e.Content == ""
	for left := e.Size; left > 0; {
		c := p.room()
		n := len(c.buf)
		m, err := f.Read(c.buf[n:min(int64(cap(c.buf)), int64(n)+left)])
		left -= int64(m)
		c.buf = c.buf[:n+m]
		if hashing && m > 0 {
			c.segs = append(c.segs, segment{e, n, n + m, left == 0})
		}
		if err != nil && left > 0 {
			return shortContent(e, e.Size-left, err)
		}
		if len(c.buf) >= chunkSize {
			if err := p.flush(); err != nil {
				return err
			}
		}
	}
	if hashing && e.Size == 0 {
		c := p.room()
		c.segs = append(c.segs, segment{e: e, last: true})
	}
	if err := expectEOF(f, e); err != nil {
		return err
	}
	c := p.room()
	c.buf = append(c.buf, make([]byte, padding(e.Size))...)
	return nil
}

// finish ends the hashers and returns the digest and size of the layer.
func (p *pipe) finish() (Digest, int64) {
	close(p.layer)
	close(p.content)
	p.wg.Wait()
	for _, c := range p.flying {
		clear(c.segs) // they point into a tree
		chunks.Put(c)
	}
	return DigestOfSum(p.sum.Sum(nil)), p.size
}

func shortContent(e *Entry, got int64, err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return refuse(e.Path, "content: changed", "%d bytes were there, %d were announced", got, e.Size)
	}
	return fmt.Errorf("reading %q: %w", e.Path, err)
}

// expectEOF reads on after the content. Verifying readers give their verdict
// here.
func expectEOF(f io.Reader, e *Entry) error {
	var one [1]byte
	for {
		n, err := f.Read(one[:])
		switch {
		case n > 0:
			return refuse(e.Path, "content: changed", "more than the %d bytes that were announced", e.Size)
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("reading %q: %w", e.Path, err)
		}
	}
}
