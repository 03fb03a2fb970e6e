package attest

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/go-json-experiment/json"

	"rebuild/internal/fault"
	"rebuild/store"
)

// maxManifest bounds the manifests, configs and index.json of a layout and the
// objects of a bundle, in bytes.
const maxManifest = 4 << 20

// layoutIndex is the file of a layout that says which images it holds.
const layoutIndex = "index.json"

// verifiedImages is what was found in a layout, in words.
type verifiedImages struct {
	found []string // the images that were compared
	notes []string // the released images that are not there
}

// verifyLayout checks an OCI layout: index.json, which is where every tool
// looks images up, must list released images and what refers to them and
// nothing else, and all images of each platform that it has; every blob that a
// listed manifest reaches is hashed again, and the layer's tree must be the one
// that was voted for. It reads through no link out of the directory and writes
// nothing. A layout that lists something else, or none of the released
// images, is EVIDENCE_MISMATCH.
func (r *Release) verifyLayout(dir string) (verifiedImages, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return verifiedImages{}, fault.New(fault.Usage, "opening the image layout: %w", err)
	}
	defer root.Close()
	l := &layoutReader{root: root, release: r, listed: map[store.Digest]bool{}}
	if err := l.readIndex(); err != nil {
		return verifiedImages{}, err
	}
	var out verifiedImages
	for i := range r.Builds {
		if err := l.verifyBuild(&r.Builds[i], &out); err != nil {
			return verifiedImages{}, within(err, "the layout's images for "+r.Builds[i].Platform)
		}
	}
	if len(out.found) == 0 {
		return verifiedImages{}, mismatch("%s holds no image of %s %s", dir, r.Name, r.Version).
			WithHint("name the layout that was released or pulled")
	}
	return out, nil
}

type layoutReader struct {
	root    *os.Root
	release *Release
	listed  map[store.Digest]bool // by index.json itself
	indexed bool                  // index.json lists oci_index, and so perhaps more
}

// descriptor is what an index says of a manifest.
type descriptor struct {
	Annotations map[string]string `json:"annotations"`
	Digest      store.Digest      `json:"digest"`
	MediaType   string            `json:"mediaType"`
	Platform    *ociPlatform      `json:"platform"`
	Size        int64             `json:"size"`
}

// readIndex reads index.json and refuses what the release does not name.
func (l *layoutReader) readIndex() error {
	f, err := l.openFile(layoutIndex)
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.FileMissing, "the layout has no %s: %w", layoutIndex, err)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	raw, err := readLimited(f, maxManifest, layoutIndex)
	if err != nil {
		return err
	}
	var index struct {
		Manifests []descriptor `json:"manifests"`
	}
	// Many readers take a key in any case, and the last of two. Two that differ
	// in case are an error here, or they would read another list than this.
	if err := json.Unmarshal(raw, &index, json.MatchCaseInsensitiveNames(true)); err != nil {
		return fault.New(fault.Parse, "%w", err).At(layoutIndex, 0)
	}
	for _, d := range index.Manifests {
		if err := l.list(d); err != nil {
			return fault.In(err, layoutIndex)
		}
	}
	return nil
}

// list takes one entry of index.json. Its size and platform are what others
// pick and fetch by, so a wrong one leads them to something else.
func (l *layoutReader) list(d descriptor) error {
	r := l.release
	mediaType := store.MediaTypeManifest
	if d.Digest == r.OCIIndex && d.Digest != "" {
		l.indexed, mediaType = true, store.MediaTypeIndex
	} else if platform, ok := r.platformOf(d.Digest); !ok {
		if !l.refers(d) {
			return mismatch("%q is listed and is not of %s %s", d.Digest, r.Name, r.Version).
				WithHint("name the layout that was released or pulled; a state root holds more than that")
		}
	} else if d.Platform != nil && *d.Platform != parsePlatform(platform) {
		return mismatch("%s is listed as for another platform than %s", d.Digest, platform)
	} else {
		l.listed[d.Digest] = true
	}
	if d.MediaType != mediaType {
		return mismatch("%s is listed as %q, it is %s", d.Digest, d.MediaType, mediaType)
	}
	raw, err := l.read(d.Digest, maxManifest)
	if err != nil {
		return err
	}
	if int64(len(raw)) != d.Size {
		return mismatch("%s is listed with %d bytes, it has %d", d.Digest, d.Size, len(raw))
	}
	return nil
}

// refers says whether an entry is what someone says of a released image and
// can not be run as one: a referrer with the empty config, under no name and
// for no platform by which tools pick images (image-spec 1.1). What it says is
// not judged here; evidence is in the bundle.
func (l *layoutReader) refers(d descriptor) bool {
	if _, err := store.ParseDigest(string(d.Digest)); err != nil || d.Platform != nil || d.Annotations["org.opencontainers.image.ref.name"] != "" {
		return false
	}
	raw, err := l.read(d.Digest, maxManifest)
	if err != nil {
		return false
	}
	var m struct {
		ArtifactType string       `json:"artifactType"`
		Config       descriptor   `json:"config"`
		Manifests    []descriptor `json:"manifests"`
		Subject      descriptor   `json:"subject"`
	}
	if err := json.Unmarshal(raw, &m, json.MatchCaseInsensitiveNames(true)); err != nil {
		return false
	}
	_, released := l.release.platformOf(m.Subject.Digest)
	return released && m.ArtifactType != "" && m.Config.Digest == store.DigestOf([]byte("{}")) && len(m.Manifests) == 0
}

// platformOf returns the platform of a released image.
func (r *Release) platformOf(manifest store.Digest) (string, bool) {
	for _, b := range r.Builds {
		for _, t := range b.Targets {
			if t.Manifest == manifest {
				return b.Platform, true
			}
		}
	}
	return "", false
}

// verifyBuild checks the images of one platform: all of them, or none if the
// layout does not have that platform.
func (l *layoutReader) verifyBuild(b *ReleaseBuild, out *verifiedImages) error {
	there := false
	for _, t := range b.Targets {
		there = there || l.listed[t.Manifest] || l.indexed && l.has(t.Manifest)
	}
	for _, t := range b.Targets {
		name := "image " + t.Name + " for " + b.Platform
		if !there {
			out.notes = append(out.notes, name+" is not in the layout and was not compared")
			continue
		}
		if !l.listed[t.Manifest] && !l.indexed {
			return mismatch("%s is missing from %s, which has others for %s", name, layoutIndex, b.Platform)
		}
		if err := l.verify(t); err != nil {
			return within(err, name)
		}
		out.found = append(out.found, name)
	}
	return nil
}

// openFile opens a regular file of the layout. Opening never waits, as it
// would for the other end of a pipe.
func (l *layoutReader) openFile(name string) (*os.File, error) {
	f, err := l.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fault.New(fault.Usage, "reading the layout: %w", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		f.Close()
		return nil, fault.New(fault.Usage, "reading %s of the layout: %w", name, err)
	}
	return f, nil
}

func blobName(d store.Digest) string { return "blobs/sha256/" + d.Hex() }

// has says whether a blob is there at all, whatever is in it.
func (l *layoutReader) has(d store.Digest) bool {
	_, err := l.root.Lstat(blobName(d))
	return err == nil
}

// open returns a reader of a blob that ends in an error unless the content
// hashes to its name.
func (l *layoutReader) open(d store.Digest) (*verifyingReader, error) {
	f, err := l.openFile(blobName(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.FileMissing, "the layout has no blob %s: %w", d, err)
	}
	if err != nil {
		return nil, err
	}
	return &verifyingReader{file: f, sum: sha256.New(), want: d}, nil
}

type verifyingReader struct {
	file *os.File
	sum  hash.Hash
	want store.Digest
}

func (r *verifyingReader) Read(p []byte) (int, error) {
	n, err := r.file.Read(p)
	r.sum.Write(p[:n])
	if err == io.EOF {
		if got := store.DigestOfSum(r.sum.Sum(nil)); got != r.want {
			return n, fault.New(fault.CksumMismatch, "blob %s of the layout has content %s", r.want, got)
		}
	}
	return n, err
}

func (l *layoutReader) read(d store.Digest, limit int64) ([]byte, error) {
	r, err := l.open(d)
	if err != nil {
		return nil, err
	}
	defer r.file.Close()
	return readLimited(r, limit, "blob "+string(d))
}

func readLimited(r io.Reader, limit int64, what string) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fault.New(fault.Parse, "%s is larger than %d bytes", what, limit)
	}
	return b, err
}

// verify checks one released image.
func (l *layoutReader) verify(t ReleaseTarget) error {
	raw, err := l.read(t.Manifest, maxManifest)
	if err != nil {
		return err
	}
	var m struct {
		Config descriptor   `json:"config"`
		Layers []descriptor `json:"layers"`
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return fault.New(fault.Parse, "manifest %s: %w", t.Manifest, err)
	}
	if len(m.Layers) != 1 {
		return fault.New(fault.Structure, "manifest %s has %d layers, not one", t.Manifest, len(m.Layers))
	}
	for _, d := range []store.Digest{m.Config.Digest, m.Layers[0].Digest} {
		if _, err := store.ParseDigest(string(d)); err != nil {
			return within(err, "manifest "+string(t.Manifest))
		}
	}
	if _, err := l.read(m.Config.Digest, maxManifest); err != nil {
		return err
	}
	return l.verifyTree(m.Layers[0], t.Tree)
}

// verifyTree checks a layer's size, then its hash, and only then reads it as
// the archive that it must be: a tar stream can name millions of files in few
// bytes, and those of a stranger are not worth the memory.
func (l *layoutReader) verifyTree(d descriptor, want store.Digest) error {
	layer := d.Digest
	r, err := l.open(layer)
	if err != nil {
		return err
	}
	defer r.file.Close()
	if info, err := r.file.Stat(); err != nil || info.Size() != d.Size {
		return fault.New(fault.CksumMismatch, "blob %s of the layout has another size than the manifest says, %d bytes", layer, d.Size)
	}
	if _, err := io.CopyBuffer(io.Discard, struct{ io.Reader }{r}, make([]byte, 256<<10)); err != nil {
		return err
	}
	if _, err := r.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	r.sum.Reset() // and hash again, what is read now
	tree, err := store.ReadTar(r)
	if err != nil {
		return err
	}
	if tree.Digest() != want {
		return fault.New(fault.TreeMismatch, "layer %s has tree %s, the quorum agreed on %s", layer, tree.Digest(), want)
	}
	return nil
}
