// Package decompress opens compressed streams by what they are, never by what
// they are called, with the memory bounded that one of them can ask for.
//
// How much comes out is not bounded here: that is for the caller, who knows
// what it is for. No program of the host is ever asked.
package decompress

import (
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// MaxWindow is the most memory, in bytes, that a stream may ask for. xz -9 uses
// 64 MiB, zstd --ultra -22 uses 128 MiB.
const MaxWindow = 128 << 20

// Format is a compression format.
type Format string

// The formats that are known; None is everything else.
const (
	None  Format = ""
	Gzip  Format = "gzip"
	Bzip2 Format = "bzip2"
	XZ    Format = "xz"
	Zstd  Format = "zstd"
)

// Head is how many bytes of a stream's start Sniff wants to see.
const Head = 6

var magics = []struct {
	magic  string
	format Format
}{
	{"\x1f\x8b", Gzip},
	{"BZh", Bzip2},
	{"\xfd7zXZ\x00", XZ},
	{"\x28\xb5\x2f\xfd", Zstd},
}

// Sniff tells the format of a stream by its first bytes.
func Sniff(head []byte) Format {
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return m.format
		}
	}
	return None
}

// Open returns the plain bytes of r, which is in the given format, and a
// function to call when no more are wanted. With None they are r's own. A
// stream that asks for more than MaxWindow is STRUCTURE; other errors, here and
// while reading, are the format's.
func Open(f Format, r io.Reader) (io.Reader, func(), error) {
	done := func() {}
	switch f {
	case Gzip:
		z, err := gzip.NewReader(r)
		return z, done, err
	case Bzip2:
		return bzip2.NewReader(r), done, nil
	case XZ:
		z, err := xz.NewReader(newXZGuard(r))
		return z, done, err
	case Zstd:
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(MaxWindow))
		if err != nil {
			return nil, nil, err
		}
		return z, z.Close, nil
	}
	return r, done, nil
}
