package bootstrap

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"io"
	"strconv"
	"strings"

	"rebuild/internal/decompress"
)

// The archives that are opened. An ar archive is opened too, but is code.
const (
	formatTar  = "tar"
	formatGzip = string(decompress.Gzip)
	formatBzip = string(decompress.Bzip2)
	formatXZ   = string(decompress.XZ)
	formatZstd = string(decompress.Zstd)
	formatZip  = "zip"
)

func archiveFormat(head []byte) string {
	has := func(magic string) bool { return bytes.HasPrefix(head, []byte(magic)) }
	switch {
	case has("\x1f\x8b\x08"):
		return formatGzip
	case has("BZh") && len(head) >= 10 && (string(head[4:10]) == "1AY&SY" || string(head[4:10]) == "\x17\x72\x45\x38\x50\x90"):
		return formatBzip
	case has("\xfd7zXZ\x00"):
		return formatXZ
	case has("\x28\xb5\x2f\xfd"):
		return formatZstd
	case has("PK\x03\x04"), has("PK\x05\x06"):
		return formatZip
	case isTarHeader(head):
		return formatTar
	}
	return ""
}

// isTarHeader looks at the checksum, which old archives without "ustar" have
// as well.
func isTarHeader(head []byte) bool {
	if len(head) < 512 || head[0] == 0 {
		return false
	}
	want, err := strconv.ParseInt(strings.Trim(string(head[148:156]), " \x00"), 8, 64)
	if err != nil {
		return false
	}
	sum := int64(8 * ' ')
	for i, c := range head[:512] {
		if i < 148 || i >= 156 {
			sum += int64(c)
		}
	}
	return sum == want
}

// open judges the members of an archive and says whether it was understood to
// its end. A false answer makes the archive itself data.
func (s *scanner) open(format, name string, r *bufio.Reader, depth int) bool {
	if depth >= s.limits.Depth {
		return false
	}
	switch format {
	case formatTar:
		return s.openTar(name, r, depth)
	case formatZip:
		return s.openZip(name, r, depth)
	}
	plain, closePlain, err := decompress.Open(decompress.Format(format), r)
	if err != nil {
		return false
	}
	defer closePlain()
	return s.member(name+"!", plain, depth)
}

func (s *scanner) openTar(name string, r io.Reader, depth int) bool {
	in := tar.NewReader(r)
	for {
		h, err := in.Next()
		if err == io.EOF {
			return true
		}
		if err != nil {
			return false
		}
		switch h.Typeflag {
		case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
			if !s.member(name+"!"+h.Name, in, depth) {
				return false
			}
		case tar.TypeLink, tar.TypeSymlink, tar.TypeDir, tar.TypeChar, tar.TypeBlock, tar.TypeFifo, tar.TypeXGlobalHeader:
		default: // some reader may know what it is
			return false
		}
		if s.members--; s.members < 0 { // entries without content cost time too
			return false
		}
	}
}

// openAr judges the members of an ar archive. What is malformed is passed
// over: the archive is code anyway.
func (s *scanner) openAr(name string, r io.Reader, depth int) {
	if depth >= s.limits.Depth {
		return
	}
	if _, err := io.CopyN(io.Discard, r, int64(len("!<arch>\n"))); err != nil {
		return
	}
	for header := make([]byte, 60); ; {
		if _, err := io.ReadFull(r, header); err != nil || string(header[58:]) != "`\n" {
			return
		}
		size, err := strconv.ParseInt(strings.TrimRight(string(header[48:58]), " "), 10, 64)
		if err != nil || size < 0 {
			return
		}
		body := io.LimitReader(r, size)
		title := strings.TrimRight(string(header[:16]), " ")
		if n, bsd := strings.CutPrefix(title, "#1/"); bsd { // the name stands before the content
			length, err := strconv.ParseInt(n, 10, 16)
			if err != nil || length < 0 || length > size {
				return
			}
			long := make([]byte, length)
			if _, err := io.ReadFull(body, long); err != nil {
				return
			}
			title = strings.TrimRight(string(long), "\x00")
		}
		if !arIndex(title) && !s.member(name+"!"+strings.TrimSuffix(title, "/"), body, depth) {
			return
		}
		if s.drain(body); s.err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, r, size&1); err != nil {
			return
		}
	}
}

// arIndex says whether a member is the archive's own: symbols, long names.
func arIndex(title string) bool {
	switch title {
	case "/", "//", "/SYM64/", "__.SYMDEF", "__.SYMDEF SORTED":
		return true
	}
	return false
}

// Limits of the memory for a zip file, whose directory is at its end.
const (
	maxZip        = 64 << 20
	maxZipEntries = 200_000
)

func (s *scanner) openZip(name string, r io.Reader, depth int) bool {
	raw, err := io.ReadAll(io.LimitReader(&metered{r, s}, maxZip+1))
	if err != nil || len(raw) > maxZip || bytes.Count(raw, []byte("PK\x01\x02")) > maxZipEntries {
		return false
	}
	in, err := zip.NewReader(bytes.NewReader(raw), int64(len(raw)))
	if err != nil || hidden(in, int64(len(raw))) {
		return false
	}
	for _, f := range in.File {
		if strings.HasSuffix(f.Name, "/") && f.UncompressedSize64 == 0 {
			continue
		}
		content, err := f.Open()
		if err != nil {
			return false
		}
		whole := s.member(name+"!"+f.Name, content, depth)
		content.Close()
		if !whole {
			return false
		}
	}
	return true
}

// hidden says whether a zip file holds more bytes than its directory explains:
// other readers go by the headers in front of the members.
func hidden(in *zip.Reader, size int64) bool {
	const local, descriptor, central, end = 30, 24, 46, 22
	explained := int64(end + len(in.Comment) + 76) // 76: the end records of zip64
	for _, f := range in.File {
		start, err := f.DataOffset()
		if err != nil || start > size {
			return true
		}
		names := int64(len(f.Name) + len(f.Extra))
		explained += local + descriptor + central + 2*names + 64 + int64(len(f.Comment))
		if f.CompressedSize64 > uint64(size) {
			return true
		}
		explained += int64(f.CompressedSize64)
	}
	return size > explained
}
