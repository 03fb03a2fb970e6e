package attest

import (
	"archive/tar"
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
const MaxStatements = 10_000

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

// OpenBundle reads a bundle. It accepts exactly what [Bundle.Encode] writes:
// no other file, no other form (PARSE), every file under the name that its
// content has (EVIDENCE_MISMATCH). Signatures are not looked at.
func OpenBundle(file string, data []byte) (*Bundle, error) {
	if len(data) > MaxBundle {
		return nil, fault.New(fault.Parse, "%d bytes, at most %d are allowed", len(data), MaxBundle).At(file, 0)
	}
	r := &bundleReader{builds: map[string]*BuildEvidence{}}
	tr := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fault.New(fault.Parse, "not a bundle: %w", err).At(file, 0)
		}
		if h.Typeflag == tar.TypeDir {
			continue // made again by Encode, or the comparison fails
		}
		if err := r.file(h, tr); err != nil {
			return nil, fault.In(err, file)
		}
	}
	b, err := r.finish()
	if err != nil {
		return nil, fault.In(err, file)
	}
	again, err := b.Encode()
	if err != nil {
		return nil, fault.In(err, file)
	}
	if !bytes.Equal(again, data) {
		return nil, fault.New(fault.Parse, "not in the one form of a bundle").At(file, 0)
	}
	return b, nil
}

type bundleReader struct {
	bundle Bundle
	builds map[string]*BuildEvidence // by the hex of the plan's digest
	order  []string
}

// file takes one file of the tar.
func (r *bundleReader) file(h *tar.Header, content io.Reader) error {
	limit, take := r.place(h.Name)
	if take == nil || h.Typeflag != tar.TypeReg {
		return fault.New(fault.Structure, "%.200q has no place in a bundle", h.Name)
	}
	if h.Size > limit {
		return fault.New(fault.Parse, "%s has %d bytes, at most %d are allowed", h.Name, h.Size, limit)
	}
	data, err := io.ReadAll(content)
	if err != nil {
		return fault.New(fault.Parse, "reading %s: %w", h.Name, err)
	}
	return take(data)
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
		return nil, fault.New(fault.Structure, "the bundle has no %s", bundleRelease)
	}
	for _, plan := range r.order {
		if r.builds[plan].Plan == nil {
			return nil, mismatch("the bundle has no %s/%s", plan, bundlePlan)
		}
		r.bundle.Builds = append(r.bundle.Builds, *r.builds[plan])
	}
	return &r.bundle, nil
}

// FileName returns the usual name of a release's bundle: NAME-VERSION.rbundle,
// a scope joined with a dot, which no name has.
func FileName(r *Release) string {
	return strings.ReplaceAll(r.Name, "/", ".") + "-" + r.Version + ".rbundle"
}
