package store

import (
	"archive/tar"
	"crypto/sha256"
	"io"
	"strings"

	"rebuild/internal/fault"
)

// Limits bounds what is taken out of an archive. Zero means the value of
// [DefaultLimits].
type Limits struct {
	Entries int   // names, links and directories, those made for missing parents too
	Bytes   int64 // file content, and the decompressed archive as a whole
	Ratio   int64 // decompressed bytes per compressed byte, once RatioFloor bytes are out
}

// RatioFloor is how much an archive may expand to before [Limits.Ratio]
// counts: small archives of zeros are common in test suites.
const RatioFloor = 64 << 20

// DefaultLimits fits every source release we know of with room to spare: the
// largest, a compiler's, has some 10^5 files and 1 GiB, and source text
// rarely compresses more than 20:1.
var DefaultLimits = Limits{Entries: MaxEntries, Bytes: 64 << 30, Ratio: 200}

func (l Limits) orDefault() Limits {
	if l.Entries == 0 {
		l.Entries = DefaultLimits.Entries
	}
	if l.Bytes == 0 {
		l.Bytes = DefaultLimits.Bytes
	}
	if l.Ratio == 0 {
		l.Ratio = DefaultLimits.Ratio
	}
	return l
}

// ReadTar returns the tree of a tar stream, which must be whole: two zero
// blocks at its end and only zeros behind. The entries may come in any order
// as long as a hard link follows what it names. Nothing is repaired: what has
// no place in a tree is an error (STRUCTURE).
func ReadTar(r io.Reader) (*Tree, error) {
	t := newTarReader(r, false, Limits{}, nil)
	if err := t.readAll(); err != nil {
		return nil, err
	}
	entries, _, err := t.build.finish()
	if err != nil {
		return nil, err
	}
	return newTree(entries), nil
}

// tarReader turns a tar stream into a builder. archive/tar parses it and
// hands out what it finds, "../x" included; every name, type and number is
// judged here or in checkEntry.
type tarReader struct {
	src     *tarTail
	tar     *tar.Reader
	foreign bool // a source archive: other owners, modes and liberties, see unpack.go
	limits  Limits
	spool   *spool // nil: content is hashed and forgotten

	build  builder
	byPath map[string]*node
	bytes  int64
	buf    []byte
}

func newTarReader(r io.Reader, foreign bool, l Limits, s *spool) *tarReader {
	src := &tarTail{r: r}
	return &tarReader{
		src: src, tar: tar.NewReader(src), foreign: foreign, limits: l.orDefault(), spool: s,
		byPath: map[string]*node{}, buf: make([]byte, chunkSize),
	}
}

// badTar words a stream that is no tar archive.
func badTar(format string, args ...any) error {
	err := fault.New(fault.Structure, format, args...)
	return fault.New(fault.Structure, "tar stream: %w", err).With("cause", "tar")
}

func (t *tarReader) readAll() error {
	for {
		h, err := t.tar.Next()
		if err == io.EOF {
			return t.checkEnd()
		}
		if err != nil {
			return t.wrap(err)
		}
		if err := t.entry(h); err != nil {
			return err
		}
	}
}

// wrap keeps errors of the source, such as a failed hash, apart from those of
// the format.
func (t *tarReader) wrap(err error) error {
	if t.src.err != nil {
		return t.src.err
	}
	return badTar("%w", err)
}

// checkEnd distinguishes the end marker from a stream that was cut between
// two entries, which archive/tar takes for an end as well.
func (t *tarReader) checkEnd() error {
	if t.src.err != nil {
		return t.src.err
	}
	if t.src.ended {
		return badTar("it ends without the two zero blocks: the stream was cut")
	}
	for {
		n, err := t.src.Read(t.buf)
		for _, c := range t.buf[:n] {
			if c != 0 {
				return badTar("there is data behind the end of the archive")
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// tarTail notes how a stream ended. It never reports io.EOF together with
// data, so ended means that more was asked for than there was.
type tarTail struct {
	r       io.Reader
	ended   bool
	err     error // other than io.EOF
	pending error
}

func (t *tarTail) Read(p []byte) (int, error) {
	if t.pending == nil {
		n, err := t.r.Read(p)
		t.pending = err
		if n > 0 || err == nil {
			return n, nil
		}
	}
	if t.pending == io.EOF {
		t.ended = true
	} else {
		t.err = t.pending
	}
	return 0, t.pending
}

// entry adds one header and its content.
func (t *tarReader) entry(h *tar.Header) error {
	if h.Typeflag == tar.TypeXGlobalHeader && t.foreign {
		return nil // git archive notes the commit there
	}
	path, err := t.path(h)
	if err != nil || t.foreign && path == "" {
		return err
	}
	if len(t.build.names) >= t.limits.Entries {
		return refuse(path, "entries: too many", "at most %d are allowed", t.limits.Entries)
	}
	n, known, err := t.node(h, path)
	if err != nil {
		return err
	}
	if known && t.foreign && n.entry.Type == Dir {
		return nil
	}
	if t.byPath[path] != nil {
		return refuse(path, "path: twice")
	}
	// Names are judged before any content is read.
	if err := t.build.add(path, n); err != nil {
		return err
	}
	t.byPath[path] = n
	if h.Typeflag == tar.TypeReg && n.entry.Type == Regular {
		return t.content(n, path)
	}
	return nil
}

// path returns the path of the entry as a tree has it, "" for the root of a
// source archive, which says nothing.
func (t *tarReader) path(h *tar.Header) (string, error) {
	if h.Typeflag == tar.TypeDir {
		h.Name = strings.TrimSuffix(h.Name, "/")
	}
	if t.foreign {
		return foreignPath(h.Name)
	}
	return h.Name, nil
}

// node returns what the header describes. known says that it was there
// before: the leader of a hard link, a directory listed again.
func (t *tarReader) node(h *tar.Header, path string) (n *node, known bool, err error) {
	if err := checkRecords(h, path, t.foreign); err != nil {
		return nil, false, err
	}
	e := Entry{Mode: uint32(h.Mode & 0o7777), UID: int64(h.Uid), GID: int64(h.Gid)}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeCont:
		h.Typeflag = tar.TypeReg
		e.Type, e.Size = Regular, h.Size
	case tar.TypeDir:
		e.Type = Dir
		if old := t.byPath[path]; old != nil && old.entry.Type == Dir {
			return old, true, nil
		}
	case tar.TypeSymlink:
		e.Type, e.Target = Symlink, h.Linkname
	case tar.TypeLink:
		return t.link(h, path)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		if t.foreign {
			return nil, false, refuse(path, "type", "a source archive has no devices or fifos")
		}
		e.Type = map[byte]Type{tar.TypeChar: Char, tar.TypeBlock: Block, tar.TypeFifo: Fifo}[h.Typeflag]
		if e.Type != Fifo {
			e.Major, e.Minor = h.Devmajor, h.Devminor
		}
	default:
		return nil, false, refuse(path, "type", "tar type %q is not allowed", rune(h.Typeflag))
	}
	if t.foreign {
		foreignEntry(&e)
	} else {
		e.Xattrs = tarXattrs(h)
	}
	return &node{entry: e}, false, nil
}

// link resolves a hard link. To a regular file it is a further name; what is
// not regular is copied; the rest is refused.
func (t *tarReader) link(h *tar.Header, path string) (*node, bool, error) {
	target := h.Linkname
	if t.foreign {
		var err error
		if target, err = foreignPath(target); err != nil {
			return nil, false, err
		}
	}
	old := t.byPath[target]
	switch {
	case old == nil:
		return nil, false, refuse(path, "link", "%q is not an earlier entry", target)
	case old.entry.Type == Dir:
		return nil, false, refuse(path, "link", "%q is a directory", target)
	case old.entry.Type == Regular:
		return old, true, nil
	}
	return &node{entry: old.entry}, false, nil
}

// checkRecords refuses PAX records that would change what the entry means in
// ways that the tree can not say.
func checkRecords(h *tar.Header, path string, foreign bool) error {
	if h.Typeflag == tar.TypeGNUSparse {
		return refuse(path, "type", "sparse files are not allowed in archives")
	}
	for k := range h.PAXRecords {
		switch {
		case strings.HasPrefix(k, "GNU.sparse."):
			return refuse(path, "type", "sparse files are not allowed in archives")
		case !foreign && (strings.HasPrefix(k, "LIBARCHIVE.xattr.") || strings.HasPrefix(k, "SCHILY.acl.")):
			return refuse(path, "xattr: name not allowed", "record %q", k)
		}
	}
	return nil
}

func tarXattrs(h *tar.Header) []Xattr {
	var xs []Xattr
	for k, v := range h.PAXRecords {
		if name, ok := strings.CutPrefix(k, xattrKey); ok {
			xs = append(xs, Xattr{name, v})
		}
	}
	return xs
}

// content hashes the content of n and, if there is a spool, keeps it.
func (t *tarReader) content(n *node, path string) error {
	if t.bytes += n.entry.Size; t.bytes > t.limits.Bytes || t.bytes < 0 {
		return refuse(path, "content: too much", "more than %d bytes in all", t.limits.Bytes)
	}
	h := sha256.New()
	out := io.Writer(h)
	if t.spool != nil {
		n.open = t.spool.section(n.entry.Size)
		out = io.MultiWriter(h, t.spool)
	}
	got, err := io.CopyBuffer(onlyWriter{out}, onlyReader{t.tar}, t.buf)
	if err != nil {
		return t.wrap(err)
	}
	if got != n.entry.Size {
		return refuse(path, "content: changed", "%d bytes were there, %d were announced", got, n.entry.Size)
	}
	n.entry.Content = DigestOfSum(h.Sum(nil))
	return nil
}

// spool is a nameless file that holds content until its place in the layer is
// known.
type spool struct {
	out  spoolFile
	size int64
}

type spoolFile interface {
	io.Writer
	io.ReaderAt
}

func (s *spool) Write(p []byte) (int, error) {
	n, err := s.out.Write(p)
	s.size += int64(n)
	return n, err
}

// section returns the opener of the next size bytes to be written.
func (s *spool) section(size int64) opener {
	at := s.size
	return func() (io.ReadCloser, error) { return io.NopCloser(io.NewSectionReader(s.out, at, size)), nil }
}

// PutTar stores the canonical layer and the tree text of a tar stream of any
// writer; see [ReadTar] for what it takes. The content is spooled in the
// store's temporary folder, so it needs room for it twice.
func (s *Store) PutTar(r io.Reader, epoch int64) (Layer, error) {
	return s.commitLayer(func(b *Batch) (Layer, error) { return b.PutTar(r, epoch) })
}

// PutTar is [Store.PutTar] within a batch.
func (b *Batch) PutTar(r io.Reader, epoch int64) (Layer, error) {
	return b.putSpooled(epoch, func(sp *spool) (*builder, error) {
		t := newTarReader(r, false, Limits{}, sp)
		return &t.build, t.readAll()
	})
}

// putSpooled runs read with a spool and stores the layer of what it built.
func (b *Batch) putSpooled(epoch int64, read func(*spool) (*builder, error)) (Layer, error) {
	if err := checkEpoch(epoch); err != nil {
		return Layer{}, err
	}
	f, err := b.create()
	if err != nil {
		return Layer{}, err
	}
	defer f.out.Abort()
	build, err := read(&spool{out: f.out})
	if err != nil {
		return Layer{}, err
	}
	entries, openers, err := build.finish()
	if err != nil {
		return Layer{}, err
	}
	return b.putLayer(entries, openers, epoch, nil)
}
