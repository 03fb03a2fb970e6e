package store

import (
	"bufio"
	"errors"
	"io"
	"slices"
	"strings"

	"rebuild/internal/decompress"
	"rebuild/internal/fault"
)

// Omit is a file of a source archive that is known to be machine code and is
// left out (stage.toml "code"). Digest is that of its content.
type Omit struct {
	Path   string
	Digest Digest
}

// Ways of unpacking a source.
const (
	UnpackTar  = "tar"  // the archive's tree
	UnpackNone = "none" // one file
)

// PutSource stores the tree of a source archive that is in the store already.
//
// With unpack "none" the tree is the one file name, mode 0644. With "tar" the
// archive is a tar file, plain or compressed with gzip, bzip2, xz or zstd,
// told apart by its first bytes, not by a name. Its tree has owner 0:0
// everywhere, directories 0755, files 0755 if the owner may execute them and
// else 0644, no extended attributes; no path component is stripped, missing
// directories are made, a directory may be listed twice. Everything that
// could reach outside the tree, mean two things, or is no source text at all
// (devices, sparse files, a file listed twice) is refused (STRUCTURE).
//
// Each file of omit must be there with its digest, else SOURCE_MISMATCH, and
// is left out. name appears in errors too.
func (s *Store) PutSource(archive Digest, unpack, name string, omit []Omit, epoch int64) (Layer, error) {
	return s.commitLayer(func(b *Batch) (Layer, error) { return b.PutSource(archive, unpack, name, omit, epoch) })
}

// PutSource is [Store.PutSource] within a batch. The archive must have been
// committed before.
func (b *Batch) PutSource(archive Digest, unpack, name string, omit []Omit, epoch int64) (Layer, error) {
	r, err := b.s.Open(archive)
	if err != nil {
		return Layer{}, err
	}
	defer r.Close()
	switch unpack {
	case UnpackTar:
		if err := b.s.Verify(archive); err != nil { // no parser sees what is not the archive
			return Layer{}, sourceError(name, err)
		}
		l, err := b.PutArchive(r, omit, epoch, Limits{})
		if err != nil {
			return Layer{}, sourceError(name, err)
		}
		return l, nil
	case UnpackNone:
		if len(omit) > 0 {
			return Layer{}, fault.New(fault.Structure, "source %s: nothing can be left out of a source that is not unpacked", name)
		}
		return b.PutFiles([]File{{Path: name, Mode: 0o644, Size: r.Size(), Open: func() (io.ReadCloser, error) { return r, nil }}}, epoch)
	}
	return Layer{}, fault.New(fault.Structure, "source %s: unpack %q is neither %q nor %q", name, unpack, UnpackTar, UnpackNone)
}

// sourceError puts the source's name before the message and keeps the rest.
func sourceError(name string, err error) error {
	return fault.New(fault.CodeOf(err), "source %s: %w", name, err)
}

// PutArchive is [Store.PutSource] with "tar" for an archive that is read from
// r, to its end, under the given limits. It is what a caller without an
// archive in the store, or with a stricter limit, uses.
func (b *Batch) PutArchive(r io.Reader, omit []Omit, epoch int64, l Limits) (Layer, error) {
	return b.putSpooled(epoch, func(sp *spool) (*builder, error) { return readArchive(r, omit, l, sp) })
}

func readArchive(r io.Reader, omit []Omit, l Limits, sp *spool) (*builder, error) {
	l = l.orDefault()
	out, closeOut, err := plainBytes(r, l)
	if err != nil {
		return nil, err
	}
	defer closeOut()
	t := newTarReader(out, true, l, sp)
	if err := t.readAll(); err != nil {
		return nil, err
	}
	// What the decompressor left unread must be hashed too: a verifying
	// reader gives its verdict at the end.
	if _, err := io.Copy(io.Discard, r); err != nil {
		return nil, err
	}
	if err := t.omit(omit); err != nil {
		return nil, err
	}
	if err := t.build.addParents(t.byPath); err != nil {
		return nil, err
	}
	if len(t.build.names) > l.Entries {
		return nil, refuse(root.Path, "entries: too many", "at most %d are allowed", l.Entries)
	}
	return &t.build, nil
}

// omit leaves the listed files out, after checking that they are what they
// were when somebody looked at them.
func (t *tarReader) omit(list []Omit) error {
	for _, o := range list {
		n := t.byPath[o.Path]
		if n == nil || n.entry.Type != Regular {
			return fault.New(fault.SourceMismatch, "%q is to be left out, but is not a file of the archive", o.Path).
				WithHint("remove it from code in stage.toml, or correct its path")
		}
		if n.entry.Content != o.Digest {
			return fault.New(fault.SourceMismatch, "%q is to be left out as %s, but is %s", o.Path, o.Digest, n.entry.Content).
				With("expected", string(o.Digest)).With("actual", string(n.entry.Content)).
				WithHint("look at the file before you change its digest in stage.toml")
		}
		t.build.remove(o.Path)
		delete(t.byPath, o.Path)
	}
	return nil
}

// foreignPath drops what careless archivers add: "./", doubled slashes. It
// returns "" for the root, which a tree has anyway. "..", absolute paths and
// the rest are left for checkPath to refuse.
func foreignPath(p string) (string, error) {
	if strings.HasPrefix(p, "/") {
		return p, checkPath(p)
	}
	parts := slices.DeleteFunc(strings.Split(p, "/"), func(c string) bool { return c == "" || c == "." })
	clean := strings.Join(parts, "/")
	if clean == "" {
		if p == "" {
			return "", refuse(p, "path: component", "empty")
		}
		return "", nil
	}
	return clean, checkPath(clean)
}

// foreignEntry gives an entry of a source archive the owner and mode that
// every source has.
func foreignEntry(e *Entry) {
	e.UID, e.GID = 0, 0
	if e.Type == Dir || e.Mode&0o100 != 0 {
		e.Mode = 0o755
	} else {
		e.Mode = 0o644
	}
}

// plainBytes returns the plain bytes of r, bounded by l.
func plainBytes(r io.Reader, l Limits) (io.Reader, func(), error) {
	in := &counter{r: r}
	head := bufio.NewReaderSize(in, 64<<10)
	start, err := head.Peek(decompress.Head)
	if err != nil && err != io.EOF {
		return nil, nil, err
	}
	out, done, err := decompress.Open(decompress.Sniff(start), head)
	if err != nil {
		return nil, nil, in.wrap(err)
	}
	return &bounded{out: out, in: in, limits: l}, done, nil
}

// counter counts what was read and keeps the error of the source apart from
// errors in the compressed data.
type counter struct {
	r   io.Reader
	n   int64
	err error
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

func (c *counter) wrap(err error) error {
	var guard *fault.Error
	switch {
	case c.err != nil:
		return c.err
	case errors.As(err, &guard):
		return err
	}
	return fault.New(fault.Structure, "compressed archive: %w", err).With("cause", "compression")
}

// bounded stops a decompressor that gives too much.
type bounded struct {
	out    io.Reader
	in     *counter
	n      int64
	limits Limits
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.out.Read(p)
	b.n += int64(n)
	// An archive has some framing beside the files' content.
	if max := b.limits.Bytes + int64(b.limits.Entries+4)*(MaxPath+4*blockSize); b.n > max {
		return 0, fault.New(fault.Structure, "archive of more than %d bytes", max).With("cause", "content: too much")
	}
	if b.n > RatioFloor && b.n/b.limits.Ratio > b.in.n {
		return 0, fault.New(fault.Structure, "archive expands more than %d times", b.limits.Ratio).With("cause", "content: ratio")
	}
	if err != nil && err != io.EOF {
		err = b.in.wrap(err)
	}
	return n, err
}
