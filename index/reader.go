package index

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"strings"
	"time"

	"rebuild/attest"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/internal/names"
	"rebuild/store"
)

// Limits of what is read from an index (formats.md 2). They are checked while
// reading, so that an index can not serve without end.
const (
	maxLines  = 4 << 20
	maxObject = attest.MaxArchive
)

// Config is config.json: how to read the index. It advertises keys and
// decides nothing.
type Config struct {
	SchemaVersion string   `json:"schema_version"`
	DL            string   `json:"dl,omitempty"`  // base of archive downloads
	API           string   `json:"api,omitempty"` // base of the hub
	AuthRequired  bool     `json:"auth-required,omitzero"`
	Signing       *Signing `json:"signing,omitempty"` // nil: an unsigned index
	Log           *Log     `json:"log,omitempty"`     // nil: an unlogged index
}

// Signing says how entries are signed.
type Signing struct {
	Kind       string       `json:"kind"` // "ed25519"
	PublicKeys []SigningKey `json:"public_keys"`
}

// SigningKey is an advertised key.
type SigningKey struct {
	ID        attest.KeyID `json:"id"`
	Key       string       `json:"ed25519_pub"`
	NotBefore string       `json:"not_before,omitempty"`
	NotAfter  string       `json:"not_after,omitempty"`
}

// Log names the transparency log of a logged index.
type Log struct {
	Origin string `json:"origin"`
	Key    string `json:"key"`
}

// SigningWith returns the signing part of a config that advertises keys.
func SigningWith(keys ...attest.PublicKey) *Signing {
	s := &Signing{Kind: signatureKind}
	for _, k := range keys {
		s.PublicKeys = append(s.PublicKeys, SigningKey{ID: k.ID(), Key: k.String()})
	}
	return s
}

func decodeConfig(data []byte) (*Config, error) {
	var c Config
	if err := document.Decode(configFile, data, document.IndexConfig, &c); err != nil {
		return nil, err
	}
	return &c, fault.In(c.validate(), configFile)
}

func (c *Config) validate() error {
	if c.Log != nil {
		return fault.New(fault.SchemaUnsupported, "the index is logged, which this version of rebuild can not check yet").
			WithHint("use a later version of rebuild")
	}
	if c.Signing == nil {
		return nil
	}
	if c.Signing.Kind != signatureKind {
		return fault.New(fault.SignatureUnsupported, "the index signs with %.40q, not with %s", c.Signing.Kind, signatureKind)
	}
	for _, k := range c.Signing.PublicKeys {
		key, err := attest.ParsePublicKey(k.Key)
		if err != nil {
			return err
		}
		if key.ID() != k.ID {
			return fault.New(fault.Semantic, "key %s is advertised under the id %s, its id is %s", k.Key, k.ID, key.ID())
		}
		for _, t := range []string{k.NotBefore, k.NotAfter} {
			if _, err := attest.ParseTime(t); t != "" && err != nil {
				return err
			}
		}
	}
	return nil
}

// Reader reads an index and trusts nothing in it.
type Reader struct {
	fsys   fs.FS
	where  string // for errors
	config *Config
	// Notice is told what was passed over; nil discards it.
	Notice func(string)
}

// NewReader opens the index below fsys, such as that of an [os.Root]. where
// is how errors name it. A missing config.json is INDEX_FETCH.
func NewReader(fsys fs.FS, where string) (*Reader, error) {
	r := &Reader{fsys: fsys, where: where}
	data, err := r.read(configFile, document.IndexConfig.MaxBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.IndexFetch, "%s is not an index: it has no %s", where, configFile).
			WithHint("check the path; a new index is made by: rebuild release --index DIR")
	}
	if err != nil {
		return nil, err
	}
	if r.config, err = decodeConfig(data); err != nil {
		return nil, err
	}
	return r, nil
}

// Config returns what the index says of itself.
func (r *Reader) Config() Config { return *r.config }

// read returns a file of the index. Not being there is fs.ErrNotExist.
func (r *Reader) read(name string, limit int64) ([]byte, error) {
	f, err := r.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, fault.New(fault.IndexFetch, "reading %s of %s: %w", name, r.where, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fault.New(fault.IndexFetch, "reading %s of %s: %w", name, r.where, err)
	}
	if int64(len(data)) > limit {
		return nil, fault.New(fault.Parse, "more than %d bytes", limit).At(name, 0)
	}
	return data, nil
}

// open opens a file, but no pipe: that would wait for its other end. A folder
// fails when it is read.
func (r *Reader) open(name string) (fs.File, error) {
	info, err := fs.Stat(r.fsys, name)
	if err == nil && info.Mode().Type()&^fs.ModeDir != 0 {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return nil, err
	}
	return r.fsys.Open(name)
}

// Entries returns the lines of a package in the order of publication. A name
// that is not there is INDEX_NO_MATCH. Lines of a newer version are passed
// over with a notice; any other bad line is an error.
func (r *Reader) Entries(name string) ([]*Entry, error) {
	path, err := linePath(name)
	if err != nil {
		return nil, err
	}
	data, err := r.read(path, maxLines)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.IndexNoMatch, "%s is not in the index %s", name, r.where)
	}
	if err != nil {
		return nil, err
	}
	return parseLines(path, name, data, r.notice)
}

func (r *Reader) notice(text string) {
	if r.Notice != nil {
		r.Notice(text)
	}
}

func parseLines(path, name string, data []byte, notice func(string)) ([]*Entry, error) {
	var out []*Entry
	for n := 1; len(data) > 0; n++ {
		line, rest, ended := bytes.Cut(data, []byte("\n"))
		data = rest
		if !ended {
			return nil, fault.New(fault.Parse, "the last line is not ended").At(path, n)
		}
		e, err := ParseEntry(path, line)
		if fault.CodeOf(err) == fault.SchemaUnsupported {
			notice(path + ": line passed over: " + err.Error())
			continue
		}
		if err != nil {
			return nil, lineError(err, path, n)
		}
		if e.Name != name {
			return nil, fault.New(fault.Semantic, "the line is about %s", e.Name).At(path, n)
		}
		for _, other := range out {
			if names.CompareVersions(other.Version, e.Version) == 0 {
				return nil, fault.New(fault.Semantic, "version %s stands there twice", e.Version).At(path, n)
			}
		}
		out = append(out, e)
	}
	return out, nil
}

func lineError(err error, path string, n int) error {
	var e *fault.Error
	if errors.As(err, &e) {
		return e.At(path, n)
	}
	return err
}

// Lookup returns the entry of a version, also of a yanked one. Without a
// version it is the highest in SemVer order that is not yanked; if all are,
// the error is NO_NON_YANKED. A version that is not there is INDEX_NO_MATCH.
func (r *Reader) Lookup(name, version string) (*Entry, error) {
	entries, err := r.Entries(name)
	if err != nil {
		return nil, err
	}
	if version == "" {
		return latest(name, entries)
	}
	if err := names.Version(version); err != nil {
		return nil, err
	}
	for _, e := range entries {
		if names.CompareVersions(e.Version, version) == 0 {
			return e, nil
		}
	}
	return nil, fault.New(fault.IndexNoMatch, "%s has no version %s in the index %s", name, version, r.where)
}

func latest(name string, entries []*Entry) (*Entry, error) {
	var best *Entry
	for _, e := range entries {
		if !e.Yanked && (best == nil || names.CompareVersions(e.Version, best.Version) > 0) {
			best = e
		}
	}
	if best == nil {
		return nil, fault.New(fault.NoNonYanked, "%s has no version that is not yanked", name).
			WithHint("name a version to use it all the same: %s@VERSION", name)
	}
	return best, nil
}

// SplitReference splits NAME or NAME@VERSION and checks both.
func SplitReference(s string) (name, version string, err error) {
	name, version, versioned := strings.Cut(s, "@")
	if err := names.Package(name); err != nil {
		return "", "", err
	}
	if versioned {
		if err := names.Version(version); err != nil {
			return "", "", err
		}
	}
	return name, version, nil
}

// CheckEntry verifies an entry's signature by a policy. An index that
// advertises no keys is INDEX_UNSIGNED, whatever its entries carry.
func (r *Reader) CheckEntry(e *Entry, policy *attest.Policy, now time.Time) error {
	if r.config.Signing == nil {
		return fault.New(fault.IndexUnsigned, "index %s advertises no signing keys", r.where).
			WithHint("ask the index operator to sign it, or use another index")
	}
	return e.VerifySignature(policy, now)
}

// Verify looks a package up and verifies everything about it: the entry's
// signature, the release with all of its evidence by the policy, the entry
// against the release, and the archive. It returns the entry and the account
// of the release.
func (r *Reader) Verify(name, version string, policy *attest.Policy, now time.Time) (*Entry, *attest.Account, error) {
	e, err := r.Lookup(name, version)
	if err != nil {
		return nil, nil, err
	}
	if err := r.CheckEntry(e, policy, now); err != nil {
		return nil, nil, err
	}
	bundle, err := r.Bundle(e, policy)
	if err != nil {
		return nil, nil, err
	}
	archive, err := r.Archive(e)
	if err != nil {
		return nil, nil, err
	}
	p, err := attest.NewPublication(policy, bundle, archive, now)
	if err != nil {
		return nil, nil, err
	}
	release := p.Release().Release()
	if err := e.CheckRelease(p.Release().Digest(), &release, p.Document()); err != nil {
		return nil, nil, err
	}
	account := p.Account()
	account.Compared = append([]string{"name", "version"}, account.Compared...)
	return e, account, nil
}

// Archive returns the package archive that an entry names; other bytes are
// CKSUM_MISMATCH, none FILE_MISSING.
func (r *Reader) Archive(e *Entry) ([]byte, error) {
	return r.object(store.Digest("sha256:"+e.Cksum), maxObject)
}

// object returns a verified object.
func (r *Reader) object(d store.Digest, limit int64) ([]byte, error) {
	data, err := r.read(objectPath(d), limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.FileMissing, "index %s has no object %s", r.where, d)
	}
	if err != nil {
		return nil, err
	}
	if got := store.DigestOf(data); got != d {
		return nil, fault.New(fault.CksumMismatch, "object %s of the index has content %s", d, got)
	}
	return data, nil
}

// statement returns an envelope whose payload has the digest; nothing else
// of it is verified.
func (r *Reader) statement(d store.Digest) ([]byte, error) {
	data, err := r.read(statementPath(d), attest.MaxEnvelope)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.EvidenceMismatch, "index %s has no statement %s", r.where, d)
	}
	if err != nil {
		return nil, err
	}
	e, err := attest.ParseEnvelope(statementPath(d), data)
	if err != nil {
		return nil, err
	}
	if e.Digest() != d {
		return nil, fault.New(fault.EvidenceMismatch, "%s of the index holds %s", statementPath(d), e.Digest())
	}
	return data, nil
}

// Bundle gathers the release of an entry and its evidence. The release's
// signatures are verified by the policy before its content is followed, and
// what the entry says of it is compared (as by [Entry.CheckRelease]). Whether
// the signers' keys counted, and the evidence, are for [attest.Verify] to judge.
func (r *Reader) Bundle(e *Entry, policy *attest.Policy) (*attest.Bundle, error) {
	if e.Release == "" {
		return nil, fault.New(fault.QuorumPending, "%s@%s has no release, so nobody has voted for it", e.Name, e.Version)
	}
	raw, err := r.statement(e.Release)
	if err != nil {
		return nil, err
	}
	envelope, err := attest.ParseEnvelope(statementPath(e.Release), raw)
	if err != nil {
		return nil, err
	}
	release, err := attest.ReadRelease(policy, envelope)
	if err != nil {
		return nil, err
	}
	b := &attest.Bundle{Release: raw}
	if err := e.checkRelease(envelope.Digest(), &release); err != nil {
		return nil, err
	}
	for _, build := range release.Builds {
		if err := r.gather(b, &build, &release); err != nil {
			return nil, err
		}
	}
	if release.Lock != "" {
		if b.Lock, err = r.object(release.Lock, document.Lock.MaxBytes); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func (r *Reader) gather(b *attest.Bundle, build *attest.ReleaseBuild, release *attest.Release) error {
	plan, err := r.object(build.Plan, document.Plan.MaxBytes)
	if err != nil {
		return err
	}
	ev := attest.BuildEvidence{Plan: plan}
	for _, d := range build.Statements {
		raw, err := r.statement(d)
		if err != nil {
			return err
		}
		ev.Statements = append(ev.Statements, raw)
	}
	b.Builds = append(b.Builds, ev)
	if release.OCIIndex == "" {
		return nil
	}
	for _, t := range build.Targets {
		manifest, err := r.object(t.Manifest, maxManifest)
		if err != nil {
			return err
		}
		b.Objects = append(b.Objects, manifest)
	}
	return nil
}

const maxManifest = 4 << 20
