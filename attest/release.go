package attest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/internal/names"
	"rebuild/store"
)

// PredicateRelease is the predicateType of a release statement.
const PredicateRelease = "urn:rebuild:release:1"

// Release is the predicate of a release: what the signers publish under a
// name and version, and the evidence that it was rebuilt (formats.md 5).
type Release struct {
	Builds        []ReleaseBuild `json:"builds,omitempty"`  // sorted by platform; none means that nobody voted
	Cksum         string         `json:"cksum"`             // sha256 of the archive, bare hex
	Depends       []Dependency   `json:"depends,omitempty"` // sorted by name
	Exports       store.Digest   `json:"exports,omitempty"` // of rebuild.exports.json
	Files         store.Digest   `json:"files"`             // of rebuild.files.json
	Locator       string         `json:"locator,omitempty"` // where the archive can be had
	Lock          store.Digest   `json:"lock,omitempty"`    // of rebuild.lock
	LogOrigin     string         `json:"log_origin,omitempty"`
	Name          string         `json:"name"`
	OCIIndex      store.Digest   `json:"oci_index,omitempty"` // given exactly when each build has one target
	Owners        []string       `json:"owners"`              // public keys, sorted; all of them sign
	Package       store.Digest   `json:"package"`             // of rebuild.package.json
	Policy        store.Digest   `json:"policy"`              // that judged
	PublishedAt   string         `json:"published_at"`
	SchemaVersion string         `json:"schema_version"`
	Snapshot      store.Digest   `json:"snapshot"`
	Version       string         `json:"version"`
	Waivers       []Waiver       `json:"waivers,omitempty"` // sorted by statement
}

// ReleaseBuild is one platform's plan and what its quorum agreed on.
type ReleaseBuild struct {
	Events     store.Digest    `json:"events,omitempty"` // of the plan's chain up to Seq; logged releases only
	Outputs    store.Digest    `json:"outputs"`
	Plan       store.Digest    `json:"plan"`
	Platform   string          `json:"platform"`
	Seq        *int64          `json:"seq,omitempty"` // of the plan's last leaf when the release was proposed; logged releases only
	Statements []store.Digest  `json:"statements"`    // judged, sorted
	Targets    []ReleaseTarget `json:"targets"`       // of the plan, sorted by name
}

// ReleaseTarget is one released image.
type ReleaseTarget struct {
	Name     string       `json:"name"`
	Tree     store.Digest `json:"tree"`
	Manifest store.Digest `json:"manifest"`
}

// Dependency is the pin of a package that this one needs.
type Dependency struct {
	Locator  string       `json:"locator,omitempty"`
	Name     string       `json:"name"`
	Snapshot store.Digest `json:"snapshot"`
	Version  string       `json:"version"`
}

// Proposal is what a release is made of.
type Proposal struct {
	Package *Package
	Builds  []*Met // one for each platform
	// Manifests holds the bytes of the released manifests, for oci_index. It
	// is not needed when a build has several targets.
	Manifests [][]byte
	Lock      []byte // rebuild.lock; nil without
	Depends   []Dependency
	Locator   string
	Owners    []PublicKey
	Published time.Time
}

// Propose returns the payload of a release, unsigned. It takes verdicts that
// were met and nothing else as its builds, so it can not speak of outputs
// that no quorum agreed on; the package's payloads must be those outputs
// (TREE_MISMATCH).
func Propose(in Proposal) ([]byte, error) {
	published, err := FormatTime(in.Published)
	if err != nil {
		return nil, err
	}
	doc := in.Package.Document()
	r := Release{
		SchemaVersion: document.Release.ID(), Name: doc.Name, Version: doc.Version,
		Cksum: in.Package.Cksum(), Package: in.Package.digests[PackageFile], Files: in.Package.digests[FilesFile],
		Exports: in.Package.digests[ExportsFile], Depends: in.Depends, Locator: in.Locator, PublishedAt: published,
	}
	if in.Lock != nil {
		r.Lock = store.DigestOf(in.Lock)
	}
	for _, k := range in.Owners {
		r.Owners = append(r.Owners, k.String())
	}
	slices.Sort(r.Owners)
	if err := r.addBuilds(in.Builds); err != nil {
		return nil, err
	}
	if r.oneTargetEach() {
		index, err := r.ociIndex(blobMap(in.Manifests))
		if err != nil {
			return nil, err
		}
		r.OCIIndex = store.DigestOf(index)
	}
	if r.Snapshot, err = r.snapshot(); err != nil {
		return nil, err
	}
	if err := r.validate(); err != nil {
		return nil, err
	}
	if err := r.checkPackage(in.Package); err != nil {
		return nil, err
	}
	return encodeStatement(document.Release.MaxBytes, PredicateRelease, r.subjects(), r)
}

func (r *Release) addBuilds(builds []*Met) error {
	if len(builds) == 0 {
		return noBuilds()
	}
	waivers := map[store.Digest]Waiver{}
	for _, m := range builds {
		v := m.verdict
		if r.Policy != "" && r.Policy != v.policy {
			return fault.New(fault.Semantic, "the verdicts are of two policies, %s and %s", r.Policy, v.policy)
		}
		r.Policy = v.policy
		build := ReleaseBuild{
			Platform: v.plan.Platform, Plan: v.planDigest, Outputs: v.outputs,
			Statements: v.Judged(), Targets: v.targets(),
		}
		if c := v.chain; c != nil {
			seq := c.Seq()
			r.LogOrigin, build.Seq, build.Events = c.origin, &seq, c.Digest()
		}
		r.Builds = append(r.Builds, build)
		for _, w := range v.waivers {
			waivers[w.Statement] = w
		}
	}
	slices.SortFunc(r.Builds, func(a, b ReleaseBuild) int { return strings.Compare(a.Platform, b.Platform) })
	for _, w := range waivers {
		r.Waivers = append(r.Waivers, w)
	}
	slices.SortFunc(r.Waivers, func(a, b Waiver) int { return strings.Compare(string(a.Statement), string(b.Statement)) })
	return nil
}

func noBuilds() error {
	return fault.New(fault.QuorumPending, "the release has no builds, so nobody has voted for it").
		WithHint("release what rebuilders have reproduced")
}

// Targets returns the images of the plan's targets that the quorum agreed on,
// in the order of the plan.
func (m *Met) Targets() []ReleaseTarget { return m.verdict.targets() }

// Platform returns the platform of the plan.
func (m *Met) Platform() string { return m.verdict.plan.Platform }

// targets returns the images of the plan's targets as the winners built them.
func (v *Verdict) targets() []ReleaseTarget {
	out := make([]ReleaseTarget, len(v.plan.Targets))
	for i, name := range v.plan.Targets {
		s := v.winners[0].result.stage[name]
		out[i] = ReleaseTarget{Name: name, Tree: s.Tree, Manifest: s.Manifest}
	}
	return out
}

// snapshot returns the digest that pins all content of the release.
func (r *Release) snapshot() (store.Digest, error) {
	b, err := document.Encode(struct {
		Builds  []ReleaseBuild `json:"builds,omitempty"`
		Cksum   string         `json:"cksum"`
		Exports store.Digest   `json:"exports,omitempty"`
		Files   store.Digest   `json:"files"`
		Lock    store.Digest   `json:"lock,omitempty"`
		Package store.Digest   `json:"package"`
	}{r.Builds, r.Cksum, r.Exports, r.Files, r.Lock, r.Package})
	if err != nil {
		return "", err
	}
	return store.DigestOf(b), nil
}

// subjects are the image manifests, the index of them and the archive.
func (r *Release) subjects() []Subject {
	var out []Subject
	for _, b := range r.Builds {
		for _, t := range b.Targets {
			out = append(out, newSubject("image:"+b.Platform+"/"+t.Name, t.Manifest))
		}
	}
	if r.OCIIndex != "" {
		out = append(out, newSubject("oci_index", r.OCIIndex))
	}
	return append(out, Subject{Digest: SubjectDigest{SHA256: r.Cksum}, Name: "archive"})
}

// validate checks what the release says by itself. Errors are SEMANTIC,
// STRUCTURE, or SNAPSHOT_MISMATCH.
func (r *Release) validate() error {
	if err := names.Package(r.Name); err != nil {
		return within(err, "name")
	}
	if err := names.Version(r.Version); err != nil {
		return within(err, "version")
	}
	if _, err := store.ParseDigest("sha256:" + r.Cksum); err != nil {
		return fault.New(fault.Structure, "cksum is not 64 lower-case hex digits")
	}
	for _, d := range []struct {
		name     string
		value    store.Digest
		optional bool
	}{
		{"oci_index", r.OCIIndex, true}, {"package", r.Package, false}, {"files", r.Files, false}, {"exports", r.Exports, true},
		{"lock", r.Lock, true}, {"policy", r.Policy, false}, {"snapshot", r.Snapshot, false},
	} {
		if _, err := store.ParseDigest(string(d.value)); err != nil && !(d.optional && d.value == "") {
			return within(err, d.name)
		}
	}
	if _, err := ParseTime(r.PublishedAt); err != nil {
		return within(err, "published_at")
	}
	for _, check := range []func() error{r.checkOwners, r.checkDepends, r.checkBuilds, r.checkLog, r.checkWaivers, r.checkSnapshot} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// checkLog wants a release to be logged as a whole or not at all.
func (r *Release) checkLog() error {
	if r.LogOrigin != "" && !noteName.MatchString(r.LogOrigin) {
		return fault.New(fault.Structure, "log_origin %.80q is no name of a log", r.LogOrigin)
	}
	for _, b := range r.Builds {
		if logged := r.LogOrigin != ""; (b.Seq != nil) != logged || (b.Events != "") != logged {
			return fault.New(fault.Semantic, "build %s: seq and events must be given exactly when log_origin is", b.Platform)
		}
		if b.Seq != nil && *b.Seq < 0 {
			return fault.New(fault.Structure, "build %s: seq %d is negative", b.Platform, *b.Seq)
		}
		if _, err := store.ParseDigest(string(b.Events)); err != nil && b.Events != "" {
			return within(err, "build "+b.Platform+": events")
		}
	}
	return nil
}

func (r *Release) checkOwners() error {
	if len(r.Owners) == 0 {
		return fault.New(fault.Semantic, "the release has no owners")
	}
	for i, text := range r.Owners {
		if _, err := ParsePublicKey(text); err != nil {
			return within(err, "owners")
		}
		if i > 0 && text <= r.Owners[i-1] {
			return fault.New(fault.Semantic, "owners are not sorted or repeat %s", text)
		}
	}
	if len(r.Owners) > MaxSignatures {
		return fault.New(fault.Semantic, "%d owners, at most %d can sign", len(r.Owners), MaxSignatures)
	}
	return nil
}

// OwnerKeys returns the keys that must all sign the release.
func (r *Release) OwnerKeys() []PublicKey {
	out := make([]PublicKey, 0, len(r.Owners))
	for _, text := range r.Owners {
		// validate has looked whether it is a good point, which takes as long as a
		// signature.
		if raw, err := decodeBase64(text); err == nil && len(raw) == len(PublicKey{}) {
			out = append(out, PublicKey(raw))
		}
	}
	return out
}

func (r *Release) checkDepends() error {
	last := ""
	for _, d := range r.Depends {
		if err := names.Package(d.Name); err != nil {
			return within(err, "depends")
		}
		if d.Name <= last {
			return fault.New(fault.Semantic, "depends is not sorted or repeats %s", d.Name)
		}
		last = d.Name
		if err := names.Version(d.Version); err != nil {
			return within(err, "depends: "+d.Name)
		}
		if _, err := store.ParseDigest(string(d.Snapshot)); err != nil {
			return within(err, "depends: "+d.Name)
		}
	}
	return nil
}

func (r *Release) checkBuilds() error {
	last := ""
	for _, b := range r.Builds {
		if b.Platform <= last {
			return fault.New(fault.Semantic, "builds are not sorted by platform or repeat %q", b.Platform)
		}
		last = b.Platform
		if err := b.check(); err != nil {
			return within(err, "build "+b.Platform)
		}
	}
	if r.oneTargetEach() != (r.OCIIndex != "") {
		return fault.New(fault.Semantic, "oci_index must be given exactly when each build has one target")
	}
	return nil
}

func (b *ReleaseBuild) check() error {
	if !platformGrammar.MatchString(b.Platform) {
		return fault.New(fault.Structure, "platform %q is not OS/ARCH or OS/ARCH/VARIANT", b.Platform)
	}
	for _, d := range append([]store.Digest{b.Plan, b.Outputs}, b.Statements...) {
		if _, err := store.ParseDigest(string(d)); err != nil {
			return err
		}
	}
	if len(b.Statements) == 0 || !slices.IsSorted(b.Statements) || len(slices.Compact(slices.Clone(b.Statements))) != len(b.Statements) {
		return fault.New(fault.Semantic, "statements are missing, not sorted or repeated")
	}
	if len(b.Targets) == 0 {
		return fault.New(fault.Semantic, "no targets")
	}
	last := ""
	for _, t := range b.Targets {
		if err := names.Check(t.Name); err != nil {
			return err
		}
		if t.Name <= last {
			return fault.New(fault.Semantic, "targets are not sorted or repeat %s", t.Name)
		}
		last = t.Name
		for _, d := range []store.Digest{t.Tree, t.Manifest} {
			if _, err := store.ParseDigest(string(d)); err != nil {
				return within(err, "target "+t.Name)
			}
		}
	}
	return nil
}

// checkWaivers wants every waiver to overrule a statement of this release.
func (r *Release) checkWaivers() error {
	if _, err := waivedStatements(r.Waivers); err != nil {
		return err
	}
	if !slices.IsSortedFunc(r.Waivers, func(a, b Waiver) int { return strings.Compare(string(a.Statement), string(b.Statement)) }) {
		return fault.New(fault.Semantic, "waivers are not sorted by statement")
	}
	for _, w := range r.Waivers {
		if !slices.ContainsFunc(r.Builds, func(b ReleaseBuild) bool { return b.lists(w.Statement) }) {
			return fault.New(fault.Semantic, "%s is waived but not among the statements of the release", w.Statement)
		}
	}
	return nil
}

func (r *Release) checkSnapshot() error {
	want, err := r.snapshot()
	if err != nil {
		return err
	}
	if r.Snapshot != want {
		return fault.New(fault.SnapshotMismatch, "snapshot is %s, the content gives %s", r.Snapshot, want).
			WithHint("get the release from another place; if it is so everywhere, ask the owners of %s to release it again", r.Name)
	}
	return nil
}

// checkPackage compares the release with a package archive.
func (r *Release) checkPackage(p *Package) error {
	if r.Cksum != p.Cksum() {
		return fault.New(fault.CksumMismatch, "the archive has sha256 %s, the release says %s", p.Cksum(), r.Cksum)
	}
	if r.Name != p.doc.Name || r.Version != p.doc.Version {
		return fault.New(fault.EvidenceMismatch, "the archive is of %s %s, the release is of %s %s", p.doc.Name, p.doc.Version, r.Name, r.Version)
	}
	for _, f := range []struct {
		name string
		want store.Digest
	}{{PackageFile, r.Package}, {FilesFile, r.Files}, {ExportsFile, r.Exports}} {
		if got := p.digests[f.name]; got != f.want {
			return fault.New(fault.EvidenceMismatch, "%s has digest %q, the release says %q", f.name, got, f.want)
		}
	}
	return r.checkPayloads(p.files.Payloads)
}

// checkPayloads wants exactly the released targets as payloads, each with the
// tree that was voted for.
func (r *Release) checkPayloads(payloads []Payload) error {
	var want []Payload
	for _, b := range r.Builds {
		for _, t := range b.Targets {
			want = append(want, Payload{Platform: b.Platform, Target: t.Name, Tree: t.Tree})
		}
	}
	slices.SortFunc(want, comparePayloads)
	if !slices.EqualFunc(want, payloads, func(a, b Payload) bool { return comparePayloads(a, b) == 0 }) {
		return fault.New(fault.EvidenceMismatch, "the package has the payloads %v, the release has the targets %v", payloads, want)
	}
	for i, p := range payloads {
		if p.Tree != want[i].Tree {
			return fault.New(fault.TreeMismatch, "payload %s %s has tree %s, the quorum agreed on %s", p.Platform, p.Target, p.Tree, want[i].Tree)
		}
	}
	return nil
}

// SignedRelease is a release that enough signers and all owners have signed
// with keys that counted then, and whose evidence holds. Only [VerifyRelease]
// returns one.
type SignedRelease struct {
	release  Release
	digest   store.Digest
	envelope []byte
	signers  []string // names in the policy, sorted
}

// Release returns the content.
func (s *SignedRelease) Release() Release { return s.release }

// Digest returns the release's address, the sha256 of its payload.
func (s *SignedRelease) Digest() store.Digest { return s.digest }

// Signers returns the names of the policy's signers who signed, sorted.
func (s *SignedRelease) Signers() []string { return slices.Clone(s.signers) }

// ReadRelease returns what a release's envelope says, once as many of the
// policy's signers as it needs, and all owners, have signed it. It bounds who
// can have evidence gathered and read, and is no verdict: whether the signers'
// keys counted is judged at the release's leaf in the log, and so only with the
// evidence ([VerifyRelease]).
//
// Too few signatures are SIGNATURE_INVALID naming who signed.
func ReadRelease(policy *Policy, e *Envelope) (Release, error) {
	s, err := openRelease(policy, e, nil)
	if err != nil {
		return Release{}, err
	}
	return s.release, nil
}

// openRelease verifies an envelope at a moment, at any with nil: first, over
// the raw payload, that enough of the policy's signers signed it; then what it
// says; then that every owner signed it, and enough signers for its waivers.
//
// Too few signatures are SIGNATURE_INVALID naming who signed, or KEY_EXPIRED
// if enough signed but not with keys that count at the moment.
func openRelease(policy *Policy, e *Envelope, at *moment) (*SignedRelease, error) {
	signed, err := e.verify(policy.signing)
	if err != nil {
		return nil, err
	}
	s := &SignedRelease{digest: signed.Digest(), envelope: e.Bytes()}
	if s.signers, err = policy.countSigners(signed.by, policy.doc.Signers.Need, at); err != nil {
		return nil, err
	}
	if s.release, err = policy.seen.release(signed); err != nil {
		return nil, err
	}
	if err := s.checkOwners(e, signed.by, policy.seen); err != nil {
		return nil, err
	}
	if len(s.release.Waivers) > 0 {
		if _, err := policy.countSigners(signed.by, policy.waiverNeed(), at); err != nil {
			return nil, within(err, "the release has waivers")
		}
	}
	return s, nil
}

// OwnersOf returns the owners that a release's envelope names, without
// judging its signatures: for comparing with the next release of a package
// in an index that verified this one when it took it in.
func OwnersOf(envelope []byte) ([]PublicKey, error) {
	e, err := ParseEnvelope(bundleRelease, envelope)
	if err != nil {
		return nil, err
	}
	var r Release
	if err := decodeRelease(&Signed{payload: e.payload}, &r); err != nil {
		return nil, err
	}
	return r.OwnerKeys(), nil
}

// checkOwners wants a signature of every owner. Those in by have one already.
func (s *SignedRelease) checkOwners(e *Envelope, by []PublicKey, seen *signatures) error {
	return checkOwnerSignatures(e, by, s.release.OwnerKeys(), s.release.Name+" "+s.release.Version, seen)
}

// checkOwnerSignatures wants a signature of every owner of what an envelope is
// about. Those in by have one already.
func checkOwnerSignatures(e *Envelope, by, owners []PublicKey, what string, seen *signatures) error {
	rest := slices.DeleteFunc(slices.Clone(owners), func(k PublicKey) bool { return slices.Contains(by, k) })
	if len(rest) == 0 {
		return nil
	}
	signed, err := e.verify(newKeyring(rest).remembering(seen))
	if err != nil && fault.CodeOf(err) != fault.KeyUnknown {
		return err
	}
	for _, k := range rest {
		if signed == nil || !slices.Contains(signed.by, k) {
			return fault.New(fault.SignatureInvalid, "owner %s has not signed %s", k.Fingerprint(), what).
				WithHint("have the owner run: rebuild release sign")
		}
	}
	return nil
}

// decodeRelease parses a payload whose signature was checked.
func decodeRelease(s *Signed, r *Release) error {
	subjects, err := decodeStatement(s, PredicateRelease, document.Release, r)
	if err != nil {
		return err
	}
	if err := r.validate(); err != nil {
		return err
	}
	return checkSubjects(subjects, r.subjects())
}

// countSigners returns the names of the signers whose keys count at a moment,
// with nil of all who signed, or an error if they are fewer than need.
func (p *Policy) countSigners(by []PublicKey, need int, at *moment) ([]string, error) {
	var counted, void []string
	for _, k := range p.signers {
		if !slices.Contains(by, k.key) {
			continue
		}
		if at != nil {
			if err := k.at(*at); err != nil {
				void = append(void, k.name+": "+err.Error())
				continue
			}
		}
		counted = append(counted, k.name)
	}
	slices.Sort(counted)
	if len(counted) >= need {
		return counted, nil
	}
	code := fault.SignatureInvalid
	if len(counted)+len(void) >= need {
		code = fault.KeyExpired
	}
	text := fmt.Sprintf("%d of %d signers needed by policy %s have signed: %s", len(counted), need, p.doc.Name, strings.Join(counted, ", "))
	if len(void) > 0 {
		text += "; not counted: " + strings.Join(void, "; ")
	}
	return nil, fault.New(code, "%s", text).WithHint("have another signer sign it too, or give one more --key")
}

// ProposedTargets returns the images that a release names, of its builds in
// order. data is a payload from Propose or an envelope; nothing about it is
// verified, so the answer is only good for finding the images.
func ProposedTargets(data []byte) ([]ReleaseTarget, error) {
	payload := data
	if e, err := ParseEnvelope("release", data); err == nil {
		payload = e.payload
	}
	var r Release
	if err := decodeRelease(&Signed{payload: payload}, &r); err != nil {
		return nil, err
	}
	var targets []ReleaseTarget
	for _, b := range r.Builds {
		targets = append(targets, b.Targets...)
	}
	return targets, nil
}

// SignRelease adds signatures to a release. It judges the evidence by the
// policy, with the waivers that the payload carries, and refuses to sign
// unless every build is met and the payload says exactly what follows from
// the evidence. data is a payload from [Propose], or an envelope that others
// have signed. Any key may sign, for an owner who hands over signs too and is
// in neither list; only signers and owners count. A logged release has no
// leaf of its own yet, so the chains may end anywhere.
func SignRelease(policy *Policy, data []byte, evidence Evidence, now time.Time, signers ...Signer) ([]byte, error) {
	e := &Envelope{payload: data}
	if parsed, err := ParseEnvelope("release", data); err == nil {
		e = parsed
	}
	var r Release
	// The signer is asked to say this, so nobody's signature is needed to read it.
	if err := decodeRelease(&Signed{payload: e.payload}, &r); err != nil {
		return nil, err
	}
	if r.Policy != policy.digest {
		return nil, fault.New(fault.EvidenceMismatch, "the release was judged by policy %s, this one is %s", r.Policy, policy.digest)
	}
	chains, err := openChains(policy, &evidence)
	if err != nil {
		return nil, err
	}
	if _, err := judgeRelease(policy, &r, evidence, chains, now); err != nil {
		return nil, err
	}
	for _, s := range signers {
		if err := e.sign(s); err != nil {
			return nil, err
		}
	}
	return e.encode()
}
