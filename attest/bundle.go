package attest

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"

	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// MaxBundle is the largest bundle in bytes (index.md 8).
const MaxBundle = 64 << 20

// MaxStatements is the most statements about one plan that are judged
// together: each costs a signature check for every key of the policy.
const MaxStatements = 100_000

// bundleEpoch is the modification time of everything in a bundle.
const bundleEpoch = 1

// Bundle is a .rbundle: a release and all that is needed to judge it without
// a network. It never holds a policy. Nothing in it is verified; see [Verify].
type Bundle struct {
	Release []byte // envelope
	Evidence
}

// The files of a bundle and how large each may be.
const (
	bundleRelease    = "release.dsse.json"
	bundleLock       = "rebuild.lock"
	bundlePlan       = "plan.json"
	bundleStatements = "statements/"
	bundleObjects    = "objects/sha256/"
)

var (
	bundlePlanPath      = regexp.MustCompile(`^([0-9a-f]{64})/plan\.json$`)
	bundleEventsPath    = regexp.MustCompile(`^([0-9a-f]{64})/events\.jsonl$`)
	bundleProofPath     = regexp.MustCompile(`^([0-9a-f]{64})/head\.tlog-proof$`)
	bundleStatementPath = regexp.MustCompile(`^([0-9a-f]{64})/statements/([0-9a-f]{64})\.dsse\.json$`)
	bundleObjectPath    = regexp.MustCompile(`^objects/sha256/([0-9a-f]{64})$`)
)

// Encode returns the bytes of the bundle. Statements that are no envelopes
// are left out: they say nothing about the release.
func (b *Bundle) Encode() ([]byte, error) {
	files := []store.File{{Path: bundleRelease, Mode: 0o644, Data: b.Release}}
	if b.Lock != nil {
		files = append(files, store.File{Path: bundleLock, Mode: 0o644, Data: b.Lock})
	}
	for _, build := range b.Builds {
		folder := store.DigestOf(build.Plan).Hex() + "/"
		files = append(files, store.File{Path: folder + bundlePlan, Mode: 0o644, Data: build.Plan})
		if err := build.paired(); err != nil {
			return nil, err
		}
		if build.Events != nil {
			files = append(files, store.File{Path: folder + EventsFile, Mode: 0o644, Data: build.Events},
				store.File{Path: folder + ProofFile, Mode: 0o644, Data: build.Proof})
		}
		statements, err := byPayload(build.Statements)
		if err != nil {
			return nil, err
		}
		if len(statements) > MaxStatements {
			return nil, fault.New(fault.Semantic, "there are %d statements about plan %s, at most %d are allowed", len(statements), folder[:64], MaxStatements)
		}
		for digest, raw := range statements {
			files = append(files, store.File{Path: folder + bundleStatements + digest.Hex() + EnvelopeSuffix, Mode: 0o644, Data: raw})
		}
	}
	for digest, raw := range blobMap(b.Objects) {
		if len(raw) > maxManifest {
			return nil, fault.New(fault.Semantic, "object %s has %d bytes, at most %d are allowed", digest, len(raw), maxManifest)
		}
		files = append(files, store.File{Path: bundleObjects + digest.Hex(), Mode: 0o644, Data: raw})
	}
	var out bytes.Buffer
	if _, err := store.WriteArchive(&out, files, bundleEpoch); err != nil {
		return nil, err
	}
	if out.Len() > MaxBundle {
		return nil, fault.New(fault.Semantic, "the bundle has %d bytes, at most %d are allowed", out.Len(), MaxBundle)
	}
	return out.Bytes(), nil
}

// byPayload keeps one envelope for each payload, with the signatures of all.
func byPayload(statements [][]byte) (map[store.Digest][]byte, error) {
	out := map[store.Digest][]byte{}
	sorted := slices.Clone(statements)
	slices.SortFunc(sorted, bytes.Compare)
	for _, raw := range sorted {
		e, err := ParseEnvelope("statement", raw)
		if err != nil {
			continue
		}
		// A result has one signature, so a second envelope for its payload
		// could only be a bad one, and which is which is for the verdict.
		if _, again := out[e.Digest()]; again && !bytes.Equal(out[e.Digest()], raw) {
			return nil, mismatch("statement %s was found under different signatures", e.Digest())
		}
		out[e.Digest()] = raw
	}
	return out, nil
}

// OpenBundle is [ReadBundle] of bytes in memory.
func OpenBundle(file string, data []byte) (*Bundle, error) {
	return ReadBundle(file, bytes.NewReader(data), int64(len(data)), nil)
}

// ReadBundle reads a bundle of size bytes from r. It accepts exactly what
// [Bundle.Encode] writes: no other file, no other form (PARSE), every file
// under the name that its content has (EVIDENCE_MISMATCH). Signatures are not
// looked at.
//
// Of a bundle over 1 MiB nothing is kept before all of it was found to be in
// order. admit, unless it is nil, is then asked about the release's envelope,
// so that a stranger's bundle is refused before its evidence is in memory.
func ReadBundle(file string, r io.ReaderAt, size int64, admit func(release []byte) error) (*Bundle, error) {
	if size > MaxBundle {
		return nil, fault.New(fault.Parse, "%d bytes, at most %d are allowed", size, MaxBundle).At(file, 0)
	}
	b, err := readBundle(r, size, admit)
	return b, fault.In(err, file)
}

func readBundle(r io.ReaderAt, size int64, admit func(release []byte) error) (*Bundle, error) {
	kept := newBundleReader()
	scratch := func() *bundleReader { return kept }
	if size > smallBundle {
		var buffer []byte
		scratch = func() *bundleReader { return &bundleReader{builds: map[string]*BuildEvidence{}, buffer: &buffer} }
	}
	files, err := surveyBundle(r, size, scratch)
	if err != nil {
		return nil, err
	}
	release := slices.IndexFunc(files, func(f bundleFile) bool { return f.name == bundleRelease })
	if release < 0 {
		return nil, noRelease()
	}
	if err := checkBundleForm(r, size, files); err != nil {
		return nil, err
	}
	envelope, err := files[release].read(r)
	if err == nil && admit != nil {
		err = admit(envelope)
	}
	if err != nil {
		return nil, err
	}
	if size <= smallBundle {
		return kept.finish()
	}
	for _, f := range files {
		_, take := kept.place(f.name)
		content, err := f.read(r)
		if err == nil {
			err = take(content)
		}
		if err != nil {
			return nil, err
		}
	}
	return kept.finish()
}

// bundleFile is where the content of a file lies in a bundle.
type bundleFile struct {
	name     string
	at, size int64
}

func (f bundleFile) section(r io.ReaderAt) *io.SectionReader {
	return io.NewSectionReader(r, f.at, f.size)
}

func (f bundleFile) read(r io.ReaderAt) ([]byte, error) {
	data := make([]byte, f.size)
	if _, err := io.ReadFull(f.section(r), data); err != nil {
		return nil, fault.New(fault.Parse, "reading %s: %w", f.name, err)
	}
	return data, nil
}

// smallBundle is a size that is not worth reading twice. Nearly all bundles are
// smaller.
const smallBundle = 1 << 20

// surveyBundle lists the files of a bundle, each of which has its place and
// the content that its name says. The content goes to what scratch returns for
// each file.
func surveyBundle(r io.ReaderAt, size int64, scratch func() *bundleReader) ([]bundleFile, error) {
	var files []bundleFile
	in := io.NewSectionReader(r, 0, size)
	tr := tar.NewReader(in) // reads ahead of no header and seeks over content
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, unreadableTar("not a bundle", err)
		}
		if h.Typeflag == tar.TypeDir {
			continue // made again by Encode, or the comparison fails
		}
		at, err := in.Seek(0, io.SeekCurrent)
		if err == nil {
			err = scratch().file(h, tr)
		}
		if err != nil {
			return nil, err
		}
		files = append(files, bundleFile{h.Name, at, h.Size})
	}
}

// checkBundleForm writes the files as [Bundle.Encode] would, and compares.
func checkBundleForm(r io.ReaderAt, size int64, files []bundleFile) error {
	all := make([]store.File, len(files))
	for i, f := range files {
		all[i] = store.File{Path: f.name, Mode: 0o644, Size: f.size,
			Open: func() (io.ReadCloser, error) { return io.NopCloser(f.section(r)), nil }}
	}
	same := &compareReader{want: bufio.NewReaderSize(io.NewSectionReader(r, 0, size), 64<<10)}
	written, err := store.WriteArchive(same, all, bundleEpoch)
	if err != nil || written.Size != size {
		return fault.New(fault.Parse, "not in the one form of a bundle")
	}
	return nil
}

// compareReader is a writer that fails where it is given anything but what
// want reads.
type compareReader struct{ want *bufio.Reader }

func (c *compareReader) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		next, _ := c.want.Peek(min(len(rest), 64<<10))
		if len(next) == 0 || !bytes.HasPrefix(rest, next) {
			return 0, errDiffers
		}
		n, _ := c.want.Discard(len(next))
		rest = rest[n:]
	}
	return len(p), nil
}

// bundleReader gathers a bundle from its files.
type bundleReader struct {
	bundle Bundle
	builds map[string]*BuildEvidence // by the hex of the plan's digest
	order  []string
	buffer *[]byte // of one that is only to look: for one file after the other
}

func newBundleReader() *bundleReader { return &bundleReader{builds: map[string]*BuildEvidence{}} }

// file takes one file of the tar.
func (r *bundleReader) file(h *tar.Header, content io.Reader) error {
	limit, take := r.place(h.Name)
	if take == nil || h.Typeflag != tar.TypeReg {
		return fault.New(fault.Structure, "%.200q has no place in a bundle", h.Name)
	}
	if h.Size > limit {
		return fault.New(fault.Parse, "%s has %d bytes, at most %d are allowed", h.Name, h.Size, limit)
	}
	data := r.room(h.Size)
	if _, err := io.ReadFull(content, data); err != nil {
		return fault.New(fault.Parse, "reading %s: %w", h.Name, err)
	}
	return take(data)
}

func (r *bundleReader) room(n int64) []byte {
	if r.buffer == nil {
		return make([]byte, n)
	}
	if int64(cap(*r.buffer)) < n {
		*r.buffer = make([]byte, n)
	}
	return (*r.buffer)[:n]
}

// place says how large a file of that name may be and what takes its content;
// nil for a name that a bundle does not have.
func (r *bundleReader) place(name string) (int64, func([]byte) error) {
	switch {
	case name == bundleRelease:
		return MaxEnvelope, func(b []byte) error { r.bundle.Release = b; return nil }
	case name == bundleLock:
		return document.Lock.MaxBytes, func(b []byte) error { r.bundle.Lock = b; return nil }
	}
	if m := bundlePlanPath.FindStringSubmatch(name); m != nil {
		return document.Plan.MaxBytes, func(b []byte) error {
			r.build(m[1]).Plan = b
			return named(name, m[1], store.DigestOf(b))
		}
	}
	if m := bundleEventsPath.FindStringSubmatch(name); m != nil {
		return MaxEventsBytes, func(b []byte) error { r.build(m[1]).Events = b; return nil }
	}
	if m := bundleProofPath.FindStringSubmatch(name); m != nil {
		return MaxProof, func(b []byte) error { r.build(m[1]).Proof = b; return nil }
	}
	if m := bundleStatementPath.FindStringSubmatch(name); m != nil {
		return MaxEnvelope, func(b []byte) error {
			e, err := ParseEnvelope(name, b)
			if err != nil {
				return err
			}
			build := r.build(m[1])
			if len(build.Statements) == MaxStatements {
				return fault.New(fault.Parse, "%s/statements has more than %d files", m[1], MaxStatements)
			}
			build.Statements = append(build.Statements, b)
			return named(name, m[2], e.Digest())
		}
	}
	if m := bundleObjectPath.FindStringSubmatch(name); m != nil {
		return maxManifest, func(b []byte) error {
			r.bundle.Objects = append(r.bundle.Objects, b)
			return named(name, m[1], store.DigestOf(b))
		}
	}
	return 0, nil
}

func (r *bundleReader) build(plan string) *BuildEvidence {
	if r.builds[plan] == nil {
		r.builds[plan] = &BuildEvidence{}
		r.order = append(r.order, plan)
	}
	return r.builds[plan]
}

func named(name, hex string, content store.Digest) error {
	if content.Hex() != hex {
		return mismatch("%s holds %s", name, content)
	}
	return nil
}

func (r *bundleReader) finish() (*Bundle, error) {
	if r.bundle.Release == nil {
		return nil, noRelease()
	}
	for _, plan := range r.order {
		if r.builds[plan].Plan == nil {
			return nil, mismatch("the bundle has no %s/%s", plan, bundlePlan)
		}
		r.bundle.Builds = append(r.bundle.Builds, *r.builds[plan])
	}
	return &r.bundle, nil
}

func noRelease() error {
	return fault.New(fault.Structure, "the bundle has no %s", bundleRelease)
}

// FileName returns the usual name of a release's bundle: NAME-VERSION.rbundle,
// a scope joined with a dot, which no name has.
func FileName(r *Release) string {
	return strings.ReplaceAll(r.Name, "/", ".") + "-" + r.Version + ".rbundle"
}
