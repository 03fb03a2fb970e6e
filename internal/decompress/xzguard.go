package decompress

import (
	"encoding/binary"
	"io"

	"rebuild/internal/fault"
)

// xzGuard passes an xz stream on and reads along, decompressing nothing, to
// see how much memory each block asks for before the decompressor allocates
// it. The decompressor takes any dictionary up to 4 GiB, for every block
// anew, on the word of one byte; the block header is the only place where
// that can be stopped. Malformed streams are left for the decompressor.
//
// The grammar is that of "The .xz File Format" 1.2.0: stream header, blocks
// of LZMA2 chunks, index, footer, padding, and perhaps another stream.
type xzGuard struct {
	r io.Reader

	next   func([]byte) error // takes the next need bytes, after skip others
	skip   int64
	need   int
	buf    []byte
	blind  bool // malformed: nothing is understood from here on
	read   int64
	asked  int64 // sum of all dictionaries so far, bytes
	check  int64 // size of a block's checksum
	packed int64 // length of the block's compressed data, or of the index
	fields int64 // numbers of the index still to come; -1: their count comes
}

// dictBudget is how many bytes of dictionaries a stream may ask for per byte
// of its length, beyond the first MaxWindow. A stream of honest blocks stays
// far below; one of empty blocks would cost a large allocation for each.
const dictBudget = 256

// Check sizes by the type in the stream flags (2.1.1.2).
var xzCheckSize = [16]int64{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}

func newXZGuard(r io.Reader) *xzGuard {
	g := &xzGuard{r: r}
	g.want(12, g.streamHeader)
	return g
}

func (g *xzGuard) Read(p []byte) (int, error) {
	n, err := g.r.Read(p)
	if guardErr := g.feed(p[:n]); guardErr != nil {
		return 0, guardErr
	}
	return n, err
}

func (g *xzGuard) want(n int, next func([]byte) error) { g.need, g.next = n, next }

// feed consumes p.
func (g *xzGuard) feed(p []byte) error {
	for len(p) > 0 && !g.blind {
		if g.skip > 0 {
			n := min(g.skip, int64(len(p)))
			g.skip, g.read, p = g.skip-n, g.read+n, p[n:]
			continue
		}
		n := min(g.need-len(g.buf), len(p))
		g.buf, g.read, p = append(g.buf, p[:n]...), g.read+int64(n), p[n:]
		if len(g.buf) < g.need {
			continue
		}
		b := g.buf
		g.buf = nil
		if err := g.next(b); err != nil {
			return err
		}
	}
	return nil
}

func (g *xzGuard) streamHeader(b []byte) error {
	g.check = xzCheckSize[b[7]&15]
	g.want(1, g.block)
	return nil
}

// block sees the first byte of a block header, or the 0 of the index.
func (g *xzGuard) block(b []byte) error {
	if b[0] == 0 {
		g.packed, g.fields = 1, -1
		g.want(1, g.index(0, 0))
		return nil
	}
	g.want(int(b[0])*4+3, g.blockHeader)
	return nil
}

func (g *xzGuard) blockHeader(b []byte) error {
	dict, ok := xzDictionary(b)
	if !ok {
		g.blind = true
		return nil
	}
	g.asked += dict
	if dict > MaxWindow || g.asked > MaxWindow+dictBudget*g.read {
		return fault.New(fault.Structure, "xz stream asks for %d bytes of dictionary, %d in all", dict, g.asked).With("cause", "content: window")
	}
	g.packed = 0
	g.want(1, g.chunk)
	return nil
}

// xzDictionary returns the dictionary size of a block of the one filter LZMA2
// (5.3.1). b is the block header without its first byte.
func xzDictionary(b []byte) (int64, bool) {
	flags := b[0]
	rest := b[1:]
	for _, bit := range []byte{0x40, 0x80} {
		if flags&bit != 0 {
			_, n := binary.Uvarint(rest)
			if n <= 0 {
				return 0, false
			}
			rest = rest[n:]
		}
	}
	if flags&3 != 0 || len(rest) < 3 || rest[0] != 0x21 || rest[1] != 1 || rest[2] > 40 {
		return 0, false
	}
	bits := rest[2]
	return int64(2|bits&1) << (bits/2 + 11), true
}

// chunk sees the control byte of an LZMA2 chunk.
func (g *xzGuard) chunk(b []byte) error {
	g.packed++
	switch c := b[0]; {
	case c == 0:
		g.skip = -g.packed&3 + g.check
		g.want(1, g.block)
	case c <= 2:
		g.want(2, g.plainChunk)
	case c < 0x80:
		g.blind = true
	case c < 0xc0:
		g.want(4, g.packedChunk)
	default:
		g.want(5, g.packedChunk)
	}
	return nil
}

func (g *xzGuard) plainChunk(b []byte) error {
	g.skipChunk(b, int64(binary.BigEndian.Uint16(b))+1)
	return nil
}

func (g *xzGuard) packedChunk(b []byte) error {
	g.skipChunk(b, int64(binary.BigEndian.Uint16(b[2:]))+1)
	return nil
}

func (g *xzGuard) skipChunk(head []byte, n int64) {
	g.packed += int64(len(head)) + n
	g.skip = n
	g.want(1, g.chunk)
}

// index returns the reader of the next byte of a number of the index: first
// the count of records, then two numbers for each.
func (g *xzGuard) index(value uint64, shift uint) func([]byte) error {
	return func(b []byte) error {
		g.packed++
		value |= uint64(b[0]&0x7f) << shift
		if b[0]&0x80 != 0 {
			if shift >= 56 {
				g.blind = true
				return nil
			}
			g.want(1, g.index(value, shift+7))
			return nil
		}
		if g.fields < 0 {
			g.fields = int64(min(value, 1<<60)) * 2
		} else {
			g.fields--
		}
		if g.fields > 0 {
			g.want(1, g.index(0, 0))
			return nil
		}
		g.skip = -g.packed&3 + 4 + 12 // padding, CRC32, footer
		g.want(4, g.padding)
		return nil
	}
}

// padding sees four bytes behind a stream: zeros, or the next stream.
func (g *xzGuard) padding(b []byte) error {
	if binary.LittleEndian.Uint32(b) == 0 {
		g.want(4, g.padding)
		return nil
	}
	g.want(8, func(b []byte) error { return g.streamHeader(append(make([]byte, 4), b...)) })
	return nil
}
