package bootstrap

import (
	"archive/tar"
	"io"
	"path"
	"strings"

	"rebuild/store"
)

// contents is what judging found in one input or output. The lists have one
// entry for each path, so equal files appear more than once.
type contents struct {
	files int   // regular files; members are not counted
	bytes int64 // of these
	code  []File
	data  []File
	links map[string]string // path to target, of symbolic and hard links

	pregenerated      int
	pregeneratedBytes int64
}

func (c *contents) add(f File) error {
	switch f.Class {
	case Code:
		c.code = append(c.code, f)
	case Data:
		c.data = append(c.data, f)
	}
	if f.Pregenerated {
		c.pregenerated++
		c.pregeneratedBytes += f.Size
	}
	return nil
}

// maxLinks bounds the links on the way to a file, as the kernel does.
const maxLinks = 40

// find returns the executable at a path, through links.
func (c *contents) find(p string) (File, bool) {
	for range maxLinks {
		for _, f := range c.code {
			if f.Path == p {
				return f, true
			}
		}
		next, ok := c.follow(p)
		if !ok {
			break
		}
		p = next
	}
	return File{}, false
}

// follow replaces the first part of a path that is a link.
func (c *contents) follow(p string) (string, bool) {
	for i := 0; i <= len(p); i++ {
		if i < len(p) && p[i] != '/' {
			continue
		}
		if target, ok := c.links[p[:i]]; ok {
			return strings.TrimPrefix(path.Join("/", target, p[i:]), "/"), true
		}
	}
	return "", false
}

// reader reads content from a store and remembers what it has judged: stages
// of equal output, or a layer that many images share, are read once.
type reader struct {
	st      *store.Store
	scanner scanner
	known   map[store.Digest]*contents
}

func newReader(st *store.Store) *reader {
	return &reader{st: st, scanner: scanner{limits: DefaultLimits}, known: map[store.Digest]*contents{}}
}

// layer judges the files of one of our own layers, by their paths in it.
func (r *reader) layer(d store.Digest) (*contents, error) {
	return r.blob(d, func(blob *store.Blob, c *contents) error {
		in := tar.NewReader(blob)
		for {
			h, err := in.Next()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			if err := r.entry(c, h, in); err != nil {
				return err
			}
		}
	})
}

func (r *reader) entry(c *contents, h *tar.Header, in io.Reader) error {
	switch name := strings.TrimSuffix(h.Name, "/"); h.Typeflag {
	case tar.TypeLink:
		c.links[name] = h.Linkname
	case tar.TypeSymlink:
		c.links[name] = h.Linkname
		if !path.IsAbs(h.Linkname) {
			c.links[name] = path.Join(path.Dir(name), h.Linkname)
		}
	case tar.TypeReg:
		c.files++
		c.bytes += h.Size
		r.scanner.visit = c.add
		return r.scanner.classify(name, h.Size, in)
	}
	return nil
}

// file judges a blob as one file of the given name.
func (r *reader) file(d store.Digest, name string) (*contents, error) {
	return r.blob(d, func(blob *store.Blob, c *contents) error {
		c.files, c.bytes = 1, blob.Size()
		r.scanner.visit = c.add
		return r.scanner.classify(name, blob.Size(), blob)
	})
}

// blob reads a blob to its end, where it is known whether it is what its name
// says; what was judged before that is dropped otherwise.
func (r *reader) blob(d store.Digest, judge func(*store.Blob, *contents) error) (*contents, error) {
	if c := r.known[d]; c != nil {
		return c, nil
	}
	blob, err := r.st.Open(d)
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	c := &contents{links: map[string]string{}}
	err = judge(blob, c)
	if _, damaged := io.Copy(io.Discard, blob); damaged != nil {
		return nil, damaged // explains any other error
	}
	if err != nil {
		return nil, err
	}
	r.known[d] = c
	return c, nil
}
