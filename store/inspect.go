package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"rebuild/internal/durable"
	"rebuild/internal/fault"
)

// Kind is what a blob is used for, as far as its content tells.
type Kind string

// The kinds of blobs.
const (
	KindLayer    Kind = "layer" // named as such by a manifest of the store
	KindTree     Kind = "tree"
	KindConfig   Kind = "config"
	KindManifest Kind = "manifest"
	KindIndex    Kind = "index"
	KindOther    Kind = "other" // sources, plans, ...
)

// refs are the blobs that another one names.
type refs struct {
	kind Kind
	list []descriptor
}

// refsOf classifies a blob that is already verified. body is the whole blob,
// or its first bytes if it is too large for a manifest.
func refsOf(body []byte) refs {
	if bytes.HasPrefix(body, []byte(treeHeader)) {
		return refs{kind: KindTree}
	}
	if !bytes.HasPrefix(body, []byte("{")) || len(body) > maxManifest {
		return refs{kind: KindOther}
	}
	var m struct {
		MediaType string       `json:"mediaType"`
		Config    descriptor   `json:"config"`
		Layers    []descriptor `json:"layers"`
		Manifests []descriptor `json:"manifests"`
	}
	if decodeForeign("", body, &m) != nil {
		return refs{kind: KindOther}
	}
	switch m.MediaType {
	case MediaTypeManifest:
		return refs{KindManifest, append([]descriptor{m.Config}, m.Layers...)}
	case MediaTypeIndex:
		return refs{KindIndex, m.Manifests}
	}
	return refs{kind: KindOther}
}

// head reads as much of the blob as refsOf needs. What is small enough to
// name other blobs is read as a whole and so verified.
func (s *Store) head(d Digest) ([]byte, error) {
	b, err := s.Open(d)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	if b.Size() > maxManifest {
		body := make([]byte, len(treeHeader))
		_, err := io.ReadFull(b, body)
		return body, err
	}
	return io.ReadAll(b)
}

// blobs lists the digests in the store and the names beside them that are no
// blobs.
func (s *Store) blobs() (list []Digest, strange []string, err error) {
	names, err := os.ReadDir(s.path(blobDir))
	if err != nil {
		return nil, nil, err
	}
	for _, n := range names {
		d, err := ParseDigest(digestPrefix + n.Name())
		if err != nil || !n.Type().IsRegular() {
			strange = append(strange, filepath.Join(s.path(blobDir), n.Name()))
			continue
		}
		list = append(list, d)
	}
	return list, strange, nil
}

// Problem is one thing that is wrong with a store.
type Problem struct {
	Path string // of the file
	Err  error  // what is wrong with it; its code is one of exit 12, 13 or 31
}

// Report is what Fsck found.
type Report struct {
	Blobs     int       // blobs read
	Bytes     int64     // of these
	Problems  []Problem // sorted by path; none: the store is sound
	Leftovers []string  // files of writers that were killed; harmless, GC removes them
}

// Err returns nil if the report has no problems, else one with the number of
// others: the first damaged blob if there is one, since what it makes missing
// elsewhere is listed too, in an order that digests decide.
func (r *Report) Err() error {
	if len(r.Problems) == 0 {
		return nil
	}
	p := slices.MinFunc(r.Problems, func(a, b Problem) int {
		return cmp.Compare(fault.CodeOf(a.Err).Exit(), fault.CodeOf(b.Err).Exit())
	})
	if len(r.Problems) == 1 {
		return p.Err
	}
	return fault.New(fault.CodeOf(p.Err), "%w, and %d other problems", p.Err, len(r.Problems)-1)
}

// Fsck reads and hashes every blob and checks that the layout's files are
// well formed, that what index.json, indexes and manifests name is there with
// its size, and that nothing else is in the folder of blobs. It changes
// nothing. The error is for what kept it from looking, such as a cancelled
// ctx; what it found is in the report.
func (s *Store) Fsck(ctx context.Context) (*Report, error) {
	f := &fsck{s: s, sizes: map[Digest]int64{}}
	list, strange, err := s.blobs()
	if err != nil {
		return nil, err
	}
	for _, p := range strange {
		f.problem(p, fault.New(fault.FileExtra, "not a blob").At(p, 0))
	}
	if err := f.readAll(ctx, list); err != nil {
		return nil, err
	}
	f.checkIndex()
	for _, n := range f.named {
		f.checkDescriptor(n.from, n.d)
	}
	if f.report.Leftovers, err = s.leftovers(); err != nil {
		return nil, err
	}
	slices.SortFunc(f.report.Problems, func(a, b Problem) int { return strings.Compare(a.Path, b.Path) })
	return &f.report, nil
}

type fsck struct {
	s  *Store
	mu sync.Mutex // guards the rest while readAll runs

	report Report
	sizes  map[Digest]int64 // of the sound blobs
	named  []namedBlob
}

type namedBlob struct {
	from string // file that names it
	d    descriptor
}

func (f *fsck) problem(path string, err error) {
	f.report.Problems = append(f.report.Problems, Problem{path, err})
}

// readAll reads the blobs, several at a time.
func (f *fsck) readAll(ctx context.Context, list []Digest) error {
	work := make(chan Digest)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for d := range work {
				f.read(d)
			}
		})
	}
	defer wg.Wait()
	defer close(work)
	for _, d := range list {
		select {
		case work <- d:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (f *fsck) read(d Digest) {
	size, r, err := f.s.readRefs(d)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.report.Blobs++
	f.report.Bytes += size
	if err != nil {
		f.problem(f.s.BlobPath(d), err)
		return
	}
	f.sizes[d] = size
	for _, x := range r.list {
		f.named = append(f.named, namedBlob{f.s.BlobPath(d), x})
	}
}

// readRefs verifies d as a whole and returns what it names.
func (s *Store) readRefs(d Digest) (int64, refs, error) {
	b, err := s.Open(d)
	if err != nil {
		return 0, refs{}, err
	}
	defer b.Close()
	var body []byte
	if b.Size() <= maxManifest {
		body, err = io.ReadAll(b)
	} else {
		_, err = io.CopyBuffer(onlyWriter{io.Discard}, b, make([]byte, chunkSize))
	}
	return b.Size(), refsOf(body), err
}

func (f *fsck) checkIndex() {
	path := f.s.path(indexFile)
	_, tags, err := f.s.readIndex()
	if err != nil {
		f.problem(path, err)
		return
	}
	for _, t := range tags {
		f.named = append(f.named, namedBlob{path, descriptor{Digest: t.Digest, MediaType: t.MediaType, Size: t.Size}})
	}
}

func (f *fsck) checkDescriptor(from string, d descriptor) {
	size, ok := f.sizes[d.Digest]
	switch {
	case !ok:
		f.problem(from, fault.New(fault.FileMissing, "it names %s, which is missing or damaged", d.Digest).At(from, 0).
			With("digest", string(d.Digest)))
	case size != d.Size:
		f.problem(from, fault.New(fault.Structure, "it names %s with %d bytes, which has %d", d.Digest, d.Size, size).At(from, 0))
	}
}

// leftovers lists temporary files whose writer is gone.
func (s *Store) leftovers() ([]string, error) {
	names, err := os.ReadDir(s.path(tempDir))
	if err != nil {
		return nil, err
	}
	var list []string
	for _, n := range names {
		if p := filepath.Join(s.path(tempDir), n.Name()); durable.Abandoned(p) {
			list = append(list, p)
		}
	}
	return list, nil
}

// KindUsage is how much the blobs of one kind take.
type KindUsage struct {
	Kind  Kind
	Blobs int
	Bytes int64
}

// Usage returns what the store holds by kind, sorted by kind. It reads the
// small blobs and looks at the start of the others; layers are told by the
// manifests that name them.
func (s *Store) Usage() ([]KindUsage, error) {
	list, _, err := s.blobs()
	if err != nil {
		return nil, err
	}
	kinds := map[Digest]Kind{}
	role := map[Digest]Kind{} // by what names the blob
	for _, d := range list {
		body, err := s.head(d)
		if err != nil && fault.CodeOf(err) != fault.CksumMismatch {
			if errors.Is(err, fs.ErrNotExist) {
				continue // GC of another process
			}
			return nil, err
		}
		r := refsOf(body)
		kinds[d] = r.kind
		if r.kind == KindManifest {
			role[r.list[0].Digest] = KindConfig
			for _, l := range r.list[1:] {
				role[l.Digest] = KindLayer
			}
		}
	}
	return s.sumUp(kinds, role)
}

func (s *Store) sumUp(kinds, role map[Digest]Kind) ([]KindUsage, error) {
	sums := map[Kind]*KindUsage{}
	for d, k := range kinds {
		if role[d] != "" {
			k = role[d]
		}
		info, err := os.Lstat(s.BlobPath(d))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if sums[k] == nil {
			sums[k] = &KindUsage{Kind: k}
		}
		sums[k].Blobs++
		sums[k].Bytes += info.Size()
	}
	var list []KindUsage
	for _, u := range sums {
		list = append(list, *u)
	}
	slices.SortFunc(list, func(a, b KindUsage) int { return strings.Compare(string(a.Kind), string(b.Kind)) })
	return list, nil
}
