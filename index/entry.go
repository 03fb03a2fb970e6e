package index

import (
	"crypto/ed25519"
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"time"

	"rebuild/attest"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/internal/names"
	"rebuild/store"
)

// Entry is one line of the index: one version of one package. Its signature
// covers name, version and cksum alone, so everything else in it is checked
// against the release, or shown as what it is, unauthenticated (index.md 7).
type Entry struct {
	Advisories    []string     `json:"advisories,omitempty"`
	Assurance     string       `json:"assurance"` // AssuranceQuorum or AssuranceNone; display only
	Backfilled    bool         `json:"backfilled,omitzero"`
	Cksum         string       `json:"cksum"`          // sha256 of the archive, bare hex
	Deps          []Dep        `json:"deps,omitempty"` // sorted by name
	Name          string       `json:"name"`
	OCI           store.Digest `json:"oci,omitempty"`     // the release's oci_index
	Release       store.Digest `json:"release,omitempty"` // payload digest
	SchemaVersion string       `json:"schema_version"`
	Seq           *int64       `json:"seq,omitempty"` // of a logged index
	Signature     *Signature   `json:"signature,omitempty"`
	Version       string       `json:"version"`
	Yanked        bool         `json:"yanked"`
}

// Dep is a package that an entry needs, with a range of versions.
type Dep struct {
	Name string `json:"name"`
	Req  string `json:"req"`
}

// Signature is an index key's signature of an entry.
type Signature struct {
	Sig   string       `json:"ed25519_sig"` // base64 of 64 bytes
	KeyID attest.KeyID `json:"key_id"`
	Kind  string       `json:"kind"` // "ed25519"
}

// What an entry says of its evidence. It is shown and never read: whether
// there was a quorum is for the reader's own policy to say.
const (
	AssuranceQuorum = "quorum"
	AssuranceNone   = "none"
)

const signatureKind = "ed25519"

// Message returns the four lines that an entry's signature signs. A value
// with a line feed or '=' is refused (STRUCTURE) and never trimmed, so that
// no two entries have one message.
func Message(name, version, cksum string) ([]byte, error) {
	for _, v := range []string{name, version, cksum} {
		if strings.ContainsAny(v, "\n=") {
			return nil, fault.New(fault.Structure, "%.80q can not be signed: it has a line feed or an equals sign", v)
		}
	}
	return []byte("rebuild.pkg.sig.v1\nname=" + name + "\nversion=" + version + "\nsha256=" + cksum + "\n"), nil
}

// ParseEntry reads one line, without its line feed. Errors are PARSE,
// STRUCTURE, SEMANTIC, or SCHEMA_UNSUPPORTED for a newer line.
func ParseEntry(file string, line []byte) (*Entry, error) {
	var e Entry
	if err := document.Decode(file, line, document.IndexEntry, &e); err != nil {
		return nil, err
	}
	if err := e.validate(); err != nil {
		return nil, fault.In(err, file)
	}
	return &e, nil
}

// Encode returns the line, without a line feed.
func (e *Entry) Encode() ([]byte, error) {
	if err := e.validate(); err != nil {
		return nil, err
	}
	return document.Encode(e)
}

func (e *Entry) validate() error {
	if err := names.Package(e.Name); err != nil {
		return err
	}
	if err := names.Version(e.Version); err != nil {
		return err
	}
	if _, err := store.ParseDigest("sha256:" + e.Cksum); err != nil {
		return fault.New(fault.Structure, "cksum is not 64 lower-case hex digits")
	}
	for _, d := range []store.Digest{e.Release, e.OCI} {
		if _, err := store.ParseDigest(string(d)); d != "" && err != nil {
			return err
		}
	}
	switch {
	case e.Release == "" && (e.OCI != "" || e.Assurance != AssuranceNone):
		return fault.New(fault.Semantic, "an entry without a release has neither oci nor an assurance")
	case e.Assurance != AssuranceQuorum && e.Assurance != AssuranceNone:
		return fault.New(fault.Semantic, "assurance %.80q is unknown", e.Assurance)
	case e.Seq != nil && *e.Seq < 0:
		return fault.New(fault.Structure, "seq %d is negative", *e.Seq)
	}
	return e.validateLists()
}

func (e *Entry) validateLists() error {
	last := ""
	for _, d := range e.Deps {
		if err := names.Package(d.Name); err != nil {
			return err
		}
		if d.Name <= last || strings.TrimSpace(d.Req) == "" {
			return fault.New(fault.Semantic, "deps are not sorted, repeated or without a range at %s", d.Name)
		}
		last = d.Name
	}
	for _, id := range e.Advisories {
		if err := attest.CheckAdvisory(id); err != nil {
			return err
		}
	}
	return nil
}

// Sign signs the entry with an index key.
func (e *Entry) Sign(key attest.Signer) error {
	message, err := Message(e.Name, e.Version, e.Cksum)
	if err != nil {
		return err
	}
	sig, err := key.Sign(message)
	if err != nil {
		return err
	}
	e.Signature = &Signature{Kind: signatureKind, KeyID: key.Public().ID(), Sig: base64.StdEncoding.EncodeToString(sig)}
	return nil
}

// VerifySignature checks the entry's signature by the index keys that a
// policy has at a time. An entry without one is ENTRY_UNSIGNED. A key that
// only the index knows, because the index served it, is KEY_UNKNOWN.
func (e *Entry) VerifySignature(policy *attest.Policy, now time.Time) error {
	return e.verifySignature(func(id attest.KeyID) (attest.PublicKey, error) { return policy.IndexKey(id, now) })
}

// verifySignature checks the entry's signature by the key that keyOf has for
// its id.
func (e *Entry) verifySignature(keyOf func(attest.KeyID) (attest.PublicKey, error)) error {
	s := e.Signature
	if s == nil {
		return fault.New(fault.EntryUnsigned, "%s@%s is unsigned", e.Name, e.Version).
			WithHint("ask who runs the index to run: rebuild index backfill --write")
	}
	if s.Kind != signatureKind {
		return fault.New(fault.SignatureUnsupported, "%s@%s has a signature of kind %.40q, not %s", e.Name, e.Version, s.Kind, signatureKind)
	}
	message, err := Message(e.Name, e.Version, e.Cksum)
	if err != nil {
		return err
	}
	sig, err := base64.StdEncoding.Strict().DecodeString(s.Sig)
	if err != nil || len(sig) != ed25519.SignatureSize || base64.StdEncoding.EncodeToString(sig) != s.Sig {
		return fault.New(fault.Parse, "the signature of %s@%s is not the base64 of 64 bytes", e.Name, e.Version)
	}
	key, err := keyOf(s.KeyID)
	if err != nil {
		return err
	}
	if !ed25519.Verify(key[:], message, sig) {
		return fault.New(fault.SignatureInvalid, "the signature of %s@%s by key %s is wrong", e.Name, e.Version, key.Fingerprint())
	}
	return nil
}

// NewEntry returns the unsigned entry of a publication.
func NewEntry(p *attest.Publication) *Entry {
	r := p.Release().Release()
	e := &Entry{
		SchemaVersion: document.IndexEntry.ID(), Name: r.Name, Version: r.Version, Cksum: r.Cksum,
		Release: p.Release().Digest(), OCI: r.OCIIndex, Deps: deps(p.Document()), Assurance: AssuranceNone,
	}
	if len(r.Builds) > 0 {
		e.Assurance = AssuranceQuorum
	}
	return e
}

func deps(doc attest.PackageDocument) []Dep {
	var out []Dep
	for _, name := range slices.Sorted(maps.Keys(doc.Depends)) {
		out = append(out, Dep{name, doc.Depends[name]})
	}
	return out
}

// CheckRelease compares the entry with the release it names and with the
// package document that the release names (EVIDENCE_MISMATCH, or
// CKSUM_MISMATCH for the archive). What the signature does not cover is bound
// here.
func (e *Entry) CheckRelease(digest store.Digest, r *attest.Release, doc attest.PackageDocument) error {
	if err := e.checkRelease(digest, r); err != nil {
		return err
	}
	if !slices.Equal(e.Deps, deps(doc)) {
		return fault.New(fault.EvidenceMismatch, "the entry of %s@%s has the deps %v, the package says %v", e.Name, e.Version, e.Deps, deps(doc))
	}
	return nil
}

// checkPackage compares the entry with a package that has no release.
func (e *Entry) checkPackage(doc attest.PackageDocument) error {
	if e.Name != doc.Name || e.Version != doc.Version || !slices.Equal(e.Deps, deps(doc)) {
		return fault.New(fault.EvidenceMismatch, "the entry is of %s %s with the deps %v, the package is %s %s with %v",
			e.Name, e.Version, e.Deps, doc.Name, doc.Version, deps(doc))
	}
	return nil
}

// checkRelease compares what can be compared without the package.
func (e *Entry) checkRelease(digest store.Digest, r *attest.Release) error {
	wrong := func(what, says string, is any) error {
		return fault.New(fault.EvidenceMismatch, "the entry of %s@%s says %s %s, the release says %v", e.Name, e.Version, what, says, is)
	}
	assurance := AssuranceNone
	if len(r.Builds) > 0 {
		assurance = AssuranceQuorum
	}
	switch {
	case e.Release != digest:
		return wrong("release", string(e.Release), digest)
	case e.Name != r.Name:
		return wrong("name", e.Name, r.Name)
	case e.Version != r.Version:
		return wrong("version", e.Version, r.Version)
	case e.Cksum != r.Cksum:
		return fault.New(fault.CksumMismatch, "the entry of %s@%s says cksum %s, the release says %s", e.Name, e.Version, e.Cksum, r.Cksum)
	case e.OCI != r.OCIIndex:
		return wrong("oci", string(e.OCI), r.OCIIndex)
	case e.Assurance != assurance:
		return wrong("assurance", e.Assurance, assurance)
	}
	return nil
}
