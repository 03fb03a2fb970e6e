package index

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"slices"
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
		if _, err := attest.PinnedLog(c.Log.Origin, c.Log.Key); err != nil {
			return err
		}
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

// advertises says whether the index names a key that signs its entries.
func (c *Config) advertises() bool { return c.Signing != nil && len(c.Signing.PublicKeys) > 0 }

// Reading is what a reader of an index goes by.
type Reading struct {
	// Policy decides which keys count. nil: the keys that the index advertised
	// when it was first seen are used, and quorum is not judged.
	Policy *attest.Policy
	// State is what this client saw before, and takes up what it sees now. Save
	// it once everything has verified. nil remembers nothing.
	State *State
	Now   time.Time
	// Elsewhere is asked for archives that the index does not have, if there is a
	// policy; nil asks nobody.
	Elsewhere Elsewhere
	// Offline says that nobody can be asked for a newer head: an old one is a
	// notice then.
	Offline bool
	// Pause waits before an index that is being written is read again, and says
	// whether to go on; nil waits by the clock of the machine.
	Pause func(context.Context, time.Duration) bool
	// Notice is told what was passed over or taken on trust; nil discards it.
	// Several goroutines may call it at once if they use the reader so.
	Notice func(string)
}

// Reader reads an index and trusts nothing in it. Several goroutines may use it
// at once.
type Reader struct {
	src    Source
	in     Reading
	config *Config
	log    *logged            // nil: the index has no log
	keys   []attest.PublicKey // without a policy: those that were seen first
}

// NewReader opens the index that a source serves. A missing config.json is
// INDEX_FETCH.
//
// Of a logged index the head is read and verified: by the policy's log, or
// without a policy by the key that the index showed when it was first seen,
// which is a notice. ROLLBACK and FORK are a log that has not grown from what
// the state remembers, with both signed notes in the details; STALE is a
// checkpoint that nobody has dated for longer than the policy allows. A policy
// that is older than one used before is ROLLBACK too.
func NewReader(ctx context.Context, src Source, in Reading) (*Reader, error) {
	r := &Reader{src: src, in: in}
	if in.State != nil && in.Policy != nil {
		if err := in.State.CheckPolicy(in.Policy); err != nil {
			return nil, err
		}
	}
	data, err := src.Get(ctx, configFile, document.IndexConfig.MaxBytes, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, noConfig(src)
	}
	if err != nil {
		return nil, err
	}
	if r.config, err = decodeConfig(data); err != nil {
		return nil, err
	}
	if err := r.openLog(ctx); err != nil {
		return nil, err
	}
	return r, r.openConfig(ctx)
}

func noConfig(src Source) error {
	return fault.New(fault.IndexFetch, "%s is not an index: it has no %s", src, configFile).
		WithHint("check the path; a new index is made by: rebuild index init DIR")
}

// openConfig checks the config against the log's view where keys are taken from
// it; what a policy decides is not asked of it.
func (r *Reader) openConfig(ctx context.Context) error {
	if r.log != nil && !r.log.byPolicy {
		shown := *r.config.Log
		err := r.settled(ctx, func(s *snapshot, fresh bool) error {
			data, err := r.viewed(ctx, s, configFile, document.IndexConfig.MaxBytes, fresh)
			if errors.Is(err, fs.ErrNotExist) {
				return notInView("the log of index %s has no %s", r.src, configFile)
			}
			if err != nil {
				return err
			}
			logged, err := decodeConfig(data)
			if err != nil {
				return err
			}
			if logged.Log == nil || *logged.Log != shown {
				return notInView("the log of index %s has another log in %s than %s", r.src, configFile, shown.Origin)
			}
			r.config = logged
			return nil
		})
		if err != nil {
			return err
		}
	}
	if r.in.Policy != nil || !r.config.advertises() {
		return nil
	}
	return r.pinKeys()
}

// pinKeys takes the keys that the index advertises, if they are the first ones
// seen.
func (r *Reader) pinKeys() error {
	advertised := r.config.Signing.keys()
	if r.in.State == nil {
		r.keys = advertised // the caller has chosen to remember nothing
		return nil
	}
	pinned, first := r.in.State.pinKeys(r.src.String(), advertised)
	r.keys = pinned
	if first {
		for _, k := range pinned {
			r.notice("index key " + k.Fingerprint() + " taken from " + r.src.String() + ", as one of the first seen")
		}
	}
	for _, k := range advertised {
		if !slices.Contains(pinned, k) {
			r.notice("index key " + k.Fingerprint() + " was not there when " + r.src.String() + " was first read, and does not count")
		}
	}
	return nil
}

func (s *Signing) keys() []attest.PublicKey {
	var out []attest.PublicKey
	for _, k := range s.PublicKeys {
		key, _ := attest.ParsePublicKey(k.Key) // validate has
		out = append(out, key)
	}
	return out
}

// Config returns what the index says of itself.
func (r *Reader) Config() Config { return *r.config }

// Entries returns the lines of a package in the order of publication. A name
// that is not there is INDEX_NO_MATCH. Lines of a newer version are passed
// over with a notice; any other bad line is an error. Of a logged index the
// lines are those that the log's view has, or VIEW_MISMATCH.
func (r *Reader) Entries(ctx context.Context, name string) ([]*Entry, error) {
	path, err := linePath(name)
	if err != nil {
		return nil, err
	}
	if r.log != nil {
		var l *lines
		err = r.settled(ctx, func(s *snapshot, fresh bool) (err error) {
			l, err = r.readLines(ctx, s, name, fresh)
			return err
		})
		if err != nil {
			return nil, err
		}
		return slices.Clone(l.entries), nil
	}
	data, err := r.src.Get(ctx, path, maxLines, false)
	if err != nil {
		return nil, r.absent(err, name)
	}
	return parseLines(path, name, data, r.notice)
}

// absent words that a package has no file of lines.
func (r *Reader) absent(err error, name string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fault.New(fault.IndexNoMatch, "%s is not in the index %s", name, r.src).
			WithHint("list what is there with: rebuild index show %s", r.src)
	}
	return err
}

func (r *Reader) notice(text string) {
	if r.in.Notice != nil {
		r.in.Notice(text)
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
func (r *Reader) Lookup(ctx context.Context, name, version string) (*Entry, error) {
	entries, err := r.Entries(ctx, name)
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
	held := make([]string, len(entries))
	for i, e := range entries {
		held[i] = e.Version
	}
	return nil, fault.New(fault.IndexNoMatch, "%s has no version %s in the index %s", name, version, r.src).
		WithHint("it has %s", strings.Join(held[max(0, len(held)-8):], ", "))
}

// Yanked returns what the yank statements of a version come to, and its entry,
// for who makes the next statement. Only of a logged index can that be known
// from afar: another one is a USAGE error.
func (r *Reader) Yanked(ctx context.Context, name, version string) (attest.Yanked, *Entry, error) {
	e, err := r.Lookup(ctx, name, version)
	if err != nil {
		return attest.Yanked{}, nil, err
	}
	if r.log == nil {
		return attest.Yanked{}, nil, fault.New(fault.Usage, "index %s has no log, so its last yank statement is not known here", r.src).
			WithHint("make the statement where the index is kept, with --index DIR")
	}
	h, err := r.history(ctx, name)
	if err != nil {
		return attest.Yanked{}, nil, err
	}
	return h.yanks[e.Version].Yanked, e, nil
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

// CheckEntry verifies an entry's signature by the policy, or without one by the
// keys that the index advertised when it was first seen. An index that
// advertises no keys is INDEX_UNSIGNED, whatever its entries carry.
//
// Of a logged index the whole history of the package is verified, and the entry
// must be the line that it leads to; the key is judged at the leaf at which
// the line was signed.
func (r *Reader) CheckEntry(ctx context.Context, e *Entry) error {
	if r.config.Signing == nil || r.in.Policy == nil && !r.config.advertises() {
		return fault.New(fault.IndexUnsigned, "index %s advertises no signing keys", r.src).
			WithHint("ask the index operator to sign it, or use another index")
	}
	if r.log == nil {
		return e.verifySignature(func(id attest.KeyID) (attest.PublicKey, error) { return r.indexKey(id, r.in.Now) })
	}
	h, err := r.history(ctx, e.Name)
	if err != nil {
		return err
	}
	if there := h.entry(e.Version); there != e && (there == nil || there.lineDigest() != e.lineDigest()) {
		return fault.New(fault.ViewMismatch, "the line of %s@%s has changed while it was read", e.Name, e.Version).
			WithHint("run the command again")
	}
	leaf := h.signed[e.Version]
	if leaf == nil {
		r.notice("no leaf of the log covers the line of " + e.Name + "@" + e.Version + ", only the view does")
		return e.verifySignature(func(id attest.KeyID) (attest.PublicKey, error) { return r.indexKey(id, r.in.Now) })
	}
	at := r.leafTime(leaf)
	return e.verifySignature(func(id attest.KeyID) (attest.PublicKey, error) {
		if r.in.Policy != nil {
			return r.in.Policy.IndexKeyAt(id, at, leaf.Seq)
		}
		return r.indexKey(id, at)
	})
}

// indexKey returns the key with an id that may sign entries at a time.
func (r *Reader) indexKey(id attest.KeyID, at time.Time) (attest.PublicKey, error) {
	if r.in.Policy != nil {
		return r.in.Policy.IndexKey(id, at)
	}
	for _, k := range r.keys {
		if k.ID() == id {
			return k, r.advertisedAt(id, at)
		}
	}
	return attest.PublicKey{}, fault.New(fault.KeyUnknown, "key %.80q was not advertised by index %s when it was first read", id, r.src).
		WithHint("judge by a policy that names the key, if the index changed its keys on purpose")
}

// advertisedAt says whether the index itself still says that a key counts at a
// time. It may only narrow what was pinned.
func (r *Reader) advertisedAt(id attest.KeyID, at time.Time) error {
	for _, k := range r.config.Signing.PublicKeys {
		if k.ID != id {
			continue
		}
		if from, err := attest.ParseTime(k.NotBefore); err == nil && at.Before(from) {
			return fault.New(fault.KeyExpired, "key %s is not valid before %s", id, k.NotBefore)
		}
		if until, err := attest.ParseTime(k.NotAfter); err == nil && at.After(until) {
			return fault.New(fault.KeyExpired, "key %s is not valid after %s", id, k.NotAfter)
		}
	}
	return nil
}

// Verify looks a package up and verifies everything about it: the entry's
// signature, the release with all of its evidence by the policy, the entry
// against the release, and the archive.
func (r *Reader) Verify(ctx context.Context, name, version string) (*Entry, *attest.Publication, error) {
	e, err := r.Lookup(ctx, name, version)
	if err != nil {
		return nil, nil, err
	}
	p, err := r.VerifyEntry(ctx, e)
	if err != nil {
		return nil, nil, err
	}
	return e, p, nil
}

// VerifyEntry verifies everything about an entry of this index, as Verify does.
// It needs a policy.
func (r *Reader) VerifyEntry(ctx context.Context, e *Entry) (*attest.Publication, error) {
	if r.in.Policy == nil {
		return nil, fault.New(fault.Usage, "no policy: nobody's votes are trusted without one").WithHint("give --policy policy.toml")
	}
	if err := r.CheckEntry(ctx, e); err != nil {
		return nil, err
	}
	g, err := r.gather(ctx, e)
	if err != nil {
		return nil, err
	}
	archive, err := r.archiveOf(ctx, e, g.release)
	if err != nil {
		return nil, err
	}
	p, err := attest.NewPublication(r.in.Policy, g.Bundle, archive, r.in.Now)
	if err != nil {
		return nil, err
	}
	release := p.Release().Release()
	if err := e.CheckRelease(p.Release().Digest(), &release, p.Document()); err != nil {
		return nil, err
	}
	if err := r.afterRelease(ctx, e, &release, g); err != nil {
		return nil, err
	}
	p.Matched("name", "version")
	return p, nil
}

// afterRelease checks what only the index can tell: the votes that were logged
// after the release, and who owned the package before it.
func (r *Reader) afterRelease(ctx context.Context, e *Entry, release *attest.Release, g *gathered) error {
	if err := r.laterVotes(ctx, release, g); err != nil {
		return err
	}
	return r.checkOwners(ctx, e, release)
}

// Listing is a version whose entry, release and metadata were verified, but
// not its archive.
type Listing struct {
	Entry    *Entry
	Release  *attest.SignedRelease // nil: the entry has none or there is no policy, so nobody's votes were judged
	Verdicts []*attest.Verdict     // of its builds; none without a policy
	Content  *attest.Release       // nil: the entry has none
	Document attest.PackageDocument
}

// List verifies an entry of this index without its archive, for who only
// chooses among versions: signature, release and evidence by the policy, and
// the package document that the release names. Without a policy the owners'
// signatures alone are verified; an entry without a release is then read from
// its archive.
func (r *Reader) List(ctx context.Context, e *Entry) (*Listing, error) {
	if err := r.CheckEntry(ctx, e); err != nil {
		return nil, err
	}
	if r.in.Policy == nil {
		return r.listUnjudged(ctx, e)
	}
	g, err := r.gather(ctx, e)
	if err != nil {
		return nil, err
	}
	signed, verdicts, err := attest.VerifyRelease(r.in.Policy, g.Bundle, r.in.Now)
	if err != nil {
		return nil, err
	}
	release := signed.Release()
	doc, err := r.packageDocument(ctx, &release)
	if err != nil {
		return nil, err
	}
	if err := e.CheckRelease(signed.Digest(), &release, *doc); err != nil {
		return nil, err
	}
	return &Listing{e, signed, verdicts, &release, *doc}, r.afterRelease(ctx, e, &release, g)
}

// listUnjudged is List without a policy.
func (r *Reader) listUnjudged(ctx context.Context, e *Entry) (*Listing, error) {
	if e.Release == "" {
		pkg, err := r.unreleased(ctx, e)
		if err != nil {
			return nil, err
		}
		return &Listing{Entry: e, Document: pkg.Document()}, nil
	}
	o, err := r.release(ctx, e.Release)
	if err != nil {
		return nil, err
	}
	release := o.Release
	if err := r.checkPlace(e, release); err != nil {
		return nil, err
	}
	doc, err := r.packageDocument(ctx, release)
	if err != nil {
		return nil, err
	}
	if err := e.CheckRelease(e.Release, release, *doc); err != nil {
		return nil, err
	}
	return &Listing{Entry: e, Content: release, Document: *doc}, r.checkOwners(ctx, e, release)
}

// unreleased opens the archive of an entry without a release. Of a package that
// had owners before it nobody can have entered that without them.
func (r *Reader) unreleased(ctx context.Context, e *Entry) (*attest.Package, error) {
	if err := r.checkUnowned(ctx, e); err != nil {
		return nil, err
	}
	archive, err := r.Archive(ctx, e)
	if err != nil {
		return nil, err
	}
	// An author's package may have no inventory; a release always has.
	pkg, err := attest.OpenArchive(objectPath(store.Digest("sha256:"+e.Cksum)), archive)
	if err != nil {
		return nil, err
	}
	return pkg, e.checkPackage(pkg.Document())
}

func (r *Reader) packageDocument(ctx context.Context, release *attest.Release) (*attest.PackageDocument, error) {
	raw, err := r.Object(ctx, release.Package, document.Package.MaxBytes)
	if err != nil {
		return nil, err
	}
	return attest.DecodePackage(objectPath(release.Package), raw)
}

// Unjudged verifies what can be verified of an entry without a policy: its
// signature by the keys first seen, its history in the log, the owners'
// signatures on its release, and the archive against entry and release. Nothing
// of it is a quorum.
func (r *Reader) Unjudged(ctx context.Context, e *Entry) (*attest.Package, error) {
	if err := r.CheckEntry(ctx, e); err != nil {
		return nil, err
	}
	if e.Release == "" {
		return r.unreleased(ctx, e)
	}
	o, err := r.release(ctx, e.Release)
	if err != nil {
		return nil, err
	}
	release := o.Release
	if err := r.checkPlace(e, release); err != nil {
		return nil, err
	}
	archive, err := r.Archive(ctx, e)
	if err != nil {
		return nil, err
	}
	pkg, err := release.OpenArchive(archive)
	if err != nil {
		return nil, err
	}
	if err := e.CheckRelease(e.Release, release, pkg.Document()); err != nil {
		return nil, err
	}
	return pkg, r.checkOwners(ctx, e, release)
}

// Archive returns the package archive that an entry names; other bytes are
// CKSUM_MISMATCH, none FILE_MISSING.
func (r *Reader) Archive(ctx context.Context, e *Entry) ([]byte, error) {
	return r.Object(ctx, store.Digest("sha256:"+e.Cksum), maxObject)
}

// Object returns the object with a digest, of at most limit bytes: FILE_MISSING
// if the index has none, CKSUM_MISMATCH if it has other bytes.
func (r *Reader) Object(ctx context.Context, d store.Digest, limit int64) ([]byte, error) {
	data, err := r.read(ctx, objectPath(d), limit, func(data []byte) error {
		if got := store.DigestOf(data); got != d {
			return fault.New(fault.CksumMismatch, "object %s of the index has content %s", d, got).
				WithHint("name another copy of the index with --index, and tell who runs this one")
		}
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, r.noObject(d, err)
	}
	return data, err
}

// read gets a file whose content is known, and once more past all caches if it
// is another.
func (r *Reader) read(ctx context.Context, path string, limit int64, check func([]byte) error) ([]byte, error) {
	data, err := r.src.Get(ctx, path, limit, false)
	if err != nil {
		return nil, err
	}
	if err = check(data); err == nil {
		return data, nil
	}
	if data, _ := r.src.Get(ctx, path, limit, true); check(data) == nil {
		return data, nil // whatever else was said of it, it is what was asked for
	}
	return nil, err
}

// statement returns an envelope whose payload has the digest, as bytes and
// parsed; nothing else of it is verified.
func (r *Reader) statement(ctx context.Context, d store.Digest) ([]byte, *attest.Envelope, error) {
	var envelope *attest.Envelope
	data, err := r.read(ctx, statementPath(d), attest.MaxEnvelope, func(data []byte) error {
		e, err := attest.ParseEnvelope(statementPath(d), data)
		if err != nil {
			return err
		}
		if e.Digest() != d {
			return fault.New(fault.EvidenceMismatch, "%s of the index holds %s", statementPath(d), e.Digest())
		}
		envelope = e
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fault.New(fault.EvidenceMismatch, "index %s has no statement %s", r.src, d)
	}
	return data, envelope, err
}

// Bundle gathers the release of an entry and its evidence. The release's
// signatures are verified by the policy before its content is followed, and
// what the entry says of it is compared (as by [Entry.CheckRelease]). Whether
// the signers' keys counted, and the evidence, are for [attest.Verify] to judge.
// Without a policy the owners' signatures alone are verified. That of a logged
// release has the chains of its plans through its own leaves, with their proofs.
func (r *Reader) Bundle(ctx context.Context, e *Entry) (*attest.Bundle, error) {
	g, err := r.gather(ctx, e)
	if err != nil {
		return nil, err
	}
	return g.Bundle, nil
}
