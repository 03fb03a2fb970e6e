package index

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"rebuild/attest"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/internal/names"
	"rebuild/store"
)

// Publish adds a release to the index and returns its entry. The bundle and
// the archive are verified by the policy here, and refused with the error of
// [attest.Verify]; the key must be one that the policy has for index entries
// now (KEY_UNKNOWN, KEY_EXPIRED), or readers would refuse the entry.
//
// A release that names this index's log is judged with all that the log has
// about its plans by now, whatever chain the bundle holds; it is logged in the
// chain of each plan and then in that of the package. One that names no log
// can be entered in any index, one of another log in none (USAGE).
//
// A version that is there already is ALREADY_PUBLISHED, also under another
// +build. The same release again changes nothing but adds signatures that
// count, and duplicate is true. If the owners differ from those of the release
// before, each old owner must have signed too (OWNER_CHANGED).
func (x *Index) Publish(ctx context.Context, b *attest.Bundle, archive []byte) (e *Entry, duplicate bool, err error) {
	err = x.turn(ctx, nil, func(t *turn) error {
		p, err := t.begin()
		if err != nil {
			return err
		}
		if e, duplicate, err = p.release(ctx, b, archive); err != nil {
			return err
		}
		if duplicate {
			return x.writeContent(p.content)
		}
		return p.commit(ctx)
	})
	if err != nil {
		return nil, false, err
	}
	return e, duplicate, nil
}

// Check says whether Publish would refuse the release now, and writes nothing.
// It is for a publisher who writes other files too, and none of them in vain.
func (x *Index) Check(ctx context.Context, b *attest.Bundle, archive []byte) error {
	t, err := x.look(ctx)
	if err != nil {
		return err
	}
	p, err := t.begin()
	if err != nil {
		return err
	}
	_, _, err = p.release(ctx, b, archive)
	return err
}

// look is a turn that only looks.
func (x *Index) look(ctx context.Context) (*turn, error) {
	t := &turn{x: x}
	var err error
	if t.config, err = x.config(); err != nil || t.config.Log == nil {
		return t, err
	}
	t.tip, err = readTip(ctx, x.src, t.config)
	return t, err
}

// release puts a release into the publication.
func (p *publication) release(ctx context.Context, b *attest.Bundle, archive []byte) (*Entry, bool, error) {
	r, digest, err := p.readRelease(b)
	if err != nil {
		return nil, false, err
	}
	lines, err := p.lines(r.Name)
	if err != nil {
		return nil, false, err
	}
	there, err := lines.published(r.Version, digest, r.Cksum)
	if err != nil {
		return nil, false, err
	}
	if there != nil {
		return there, true, p.moreSignatures(b.Release, lines)
	}
	admitted, err := p.admit(ctx, b, archive, &r)
	if err != nil {
		return nil, false, err
	}
	if err := p.checkNew(r.Name, lines); err != nil {
		return nil, false, err
	}
	if err := lines.checkOwners(admitted); err != nil {
		return nil, false, err
	}
	p.addContent(admitted)
	e := NewEntry(admitted)
	if !p.logged() {
		return e, false, p.addLine(e, lines)
	}
	if err := p.logPlans(ctx, b, &r, digest); err != nil {
		return nil, false, err
	}
	if err := p.addLine(e, lines); err != nil {
		return nil, false, err
	}
	_, err = p.log(ctx, attest.Event{Chain: packageChain + e.Name, Type: attest.EventRelease, Object: digest, By: p.keyID()})
	return e, false, err
}

// readRelease reads a release that enough have signed.
func (p *publication) readRelease(b *attest.Bundle) (r attest.Release, digest store.Digest, err error) {
	if err := p.t.x.needPolicy(); err != nil {
		return r, "", err
	}
	if p.t.x.in.Key == nil {
		return r, "", fault.New(fault.Usage, "no key to sign the entry with").WithHint("give --index-key FILE")
	}
	envelope, err := attest.ParseEnvelope("release", b.Release)
	if err != nil {
		return r, "", err
	}
	if r, err = attest.ReadRelease(p.t.x.in.Policy, envelope); err != nil {
		return r, "", err
	}
	return r, envelope.Digest(), p.checkOrigin(&r)
}

func (x *Index) needPolicy() error {
	if x.in.Policy == nil {
		return fault.New(fault.Usage, "no policy to verify by").WithHint("give --policy policy.toml")
	}
	return nil
}

// checkOrigin refuses a release that this index could never give back whole:
// its events are in another log.
func (p *publication) checkOrigin(r *attest.Release) error {
	switch log := p.t.config.Log; {
	case r.LogOrigin == "":
		return nil
	case log == nil:
		return fault.New(fault.Usage, "%s %s is in log %s, and this index keeps no log: it could not be verified from there", r.Name, r.Version, r.LogOrigin).
			WithHint("publish it in an index with that log")
	case log.Origin != r.LogOrigin:
		return fault.New(fault.Usage, "%s %s is in log %s, this index has log %s", r.Name, r.Version, r.LogOrigin, log.Origin).
			WithHint("publish it in the index with that log")
	}
	return nil
}

// admit verifies a release as readers will, with what the log has by now.
func (p *publication) admit(ctx context.Context, b *attest.Bundle, archive []byte, r *attest.Release) (*attest.Publication, error) {
	x := p.t.x
	if r.LogOrigin == "" {
		return attest.NewPublication(x.in.Policy, b, archive, p.at)
	}
	now := *b
	now.Builds = nil
	for _, build := range b.Builds {
		known, err := x.evidence(ctx, p.t, store.DigestOf(build.Plan))
		if err != nil {
			return nil, err
		}
		known.Statements = unionOf(known.Statements, build.Statements)
		now.Builds = append(now.Builds, known)
	}
	return attest.Admit(x.in.Policy, &now, archive, p.at)
}

// unionOf returns the envelopes of both, one for each payload, those of a
// first.
func unionOf(a, b [][]byte) [][]byte {
	out := slices.Clone(a)
	seen := map[store.Digest]bool{}
	for i, raw := range slices.Concat(a, b) {
		e, err := attest.ParseEnvelope("statement", raw)
		known := err == nil && seen[e.Digest()]
		if err == nil {
			seen[e.Digest()] = true
		}
		if i >= len(a) && !known {
			out = append(out, raw)
		}
	}
	return out
}

// addContent takes everything that a release leads to.
func (p *publication) addContent(admitted *attest.Publication) {
	for d, data := range admitted.Objects() {
		p.content[objectPath(d)] = data
	}
	for d, data := range admitted.Envelopes() {
		p.content[statementPath(d)] = data
	}
}

// logPlans logs a release in the chain of each of its plans, which leaves the
// view as it is.
func (p *publication) logPlans(ctx context.Context, b *attest.Bundle, r *attest.Release, digest store.Digest) error {
	for _, build := range b.Builds {
		if err := p.logPlan(ctx, build.Plan); err != nil {
			return err
		}
	}
	for _, build := range r.Builds {
		e := attest.Event{Chain: string(build.Plan), Type: attest.EventRelease, Object: digest, By: p.keyID()}
		if _, err := p.log(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// logPlan begins the chain of a plan, unless it has one.
func (p *publication) logPlan(ctx context.Context, plan []byte) error {
	d := store.DigestOf(plan)
	c, err := p.chain(ctx, string(d))
	if err != nil || len(c.events) > 0 {
		return err
	}
	p.content[objectPath(d)] = plan
	_, err = p.log(ctx, attest.Event{Chain: string(d), Type: attest.EventPlan, Object: d})
	return err
}

// keyID is the id of the index key, "" without one.
func (p *publication) keyID() attest.KeyID {
	if p.t.x.in.Key == nil {
		return ""
	}
	return p.t.x.in.Key.Public().ID()
}

// AddPackage adds an entry without a release: nobody has rebuilt it, and it
// says so (assurance none). It is signed if there is an index key, which must
// be the policy's, or without a policy one that the index advertises.
//
// A version that is there is ALREADY_PUBLISHED unless it is the same archive,
// and a package that has owners by a release takes no entry that they have not
// signed (OWNER_CHANGED).
func (x *Index) AddPackage(ctx context.Context, pkg *attest.Package) (e *Entry, duplicate bool, err error) {
	err = x.turn(ctx, nil, func(t *turn) error {
		p, err := t.begin()
		if err != nil {
			return err
		}
		if e, duplicate, err = p.pkg(ctx, pkg); err != nil || duplicate {
			return err
		}
		return p.commit(ctx)
	})
	if err != nil {
		return nil, false, err
	}
	return e, duplicate, nil
}

func (p *publication) pkg(ctx context.Context, pkg *attest.Package) (*Entry, bool, error) {
	doc := pkg.Document()
	lines, err := p.lines(doc.Name)
	if err != nil {
		return nil, false, err
	}
	there, err := lines.published(doc.Version, "", pkg.Cksum())
	if there != nil || err != nil {
		return there, there != nil, err
	}
	if err := p.checkNew(doc.Name, lines); err != nil {
		return nil, false, err
	}
	if err := lines.unowned(doc.Version); err != nil {
		return nil, false, err
	}
	e := &Entry{
		SchemaVersion: document.IndexEntry.ID(), Name: doc.Name, Version: doc.Version, Cksum: pkg.Cksum(), Deps: deps(doc), Assurance: AssuranceNone,
	}
	p.content[objectPath(store.Digest("sha256:"+pkg.Cksum()))] = pkg.Archive()
	if err := p.addLine(e, lines); err != nil || !p.logged() {
		return e, false, err
	}
	line, err := e.Encode()
	if err != nil {
		return nil, false, err
	}
	_, err = p.log(ctx, attest.Event{Chain: packageChain + e.Name, Type: attest.EventEntry, Object: store.DigestOf(line), By: p.keyID()})
	return e, false, err
}

// addLine signs an entry and appends it to its line file.
func (p *publication) addLine(e *Entry, lines *lineFile) error {
	if p.logged() {
		seq := p.next()
		e.Seq = &seq
	}
	if err := p.sign(e); err != nil {
		return err
	}
	lines.entries = append(lines.entries, e)
	return p.putLines(lines)
}

// sign signs an entry by the index key, if there is one, which readers must
// accept.
func (p *publication) sign(e *Entry) error {
	key := p.t.x.in.Key
	if key == nil {
		return nil
	}
	if err := p.checkIndexKey(key.Public()); err != nil {
		return err
	}
	return e.Sign(key)
}

func (p *publication) checkIndexKey(k attest.PublicKey) error {
	c := p.t.config
	if c.Signing == nil {
		return fault.New(fault.IndexUnsigned, "index %s advertises no signing keys", p.t.x.dir).
			WithHint("advertise the key first: rebuild index config DIR --index-key FILE")
	}
	if policy := p.t.x.in.Policy; policy != nil {
		_, err := policy.IndexKey(k.ID(), p.at)
		return err
	}
	if !slices.ContainsFunc(c.Signing.PublicKeys, func(s SigningKey) bool { return s.Key == k.String() }) {
		return fault.New(fault.KeyUnknown, "key %s is not among those that the index advertises", k.Fingerprint()).
			WithHint("give --index-key with one that it advertises, or advertise this one: rebuild index config DIR --index-key FILE")
	}
	return nil
}

// lineFile are the lines of a package.
type lineFile struct {
	x       *Index
	name    string
	path    string
	raw     []byte
	entries []*Entry
}

// lines returns the lines of a package, none if it is not there. In a logged
// index they must be those under the view, or they would be signed for again.
func (p *publication) lines(name string) (*lineFile, error) {
	l, err := p.t.x.readLines(name)
	if err != nil || !p.logged() {
		return l, err
	}
	want, err := p.inView(l.path)
	if err != nil {
		return nil, err
	}
	got := store.Digest("")
	if l.raw != nil {
		got = store.DigestOf(l.raw)
	}
	if got != want {
		return nil, viewMismatch(l.path, want, string(got))
	}
	return l, nil
}

func (x *Index) readLines(name string) (*lineFile, error) {
	l := &lineFile{x: x, name: name}
	var err error
	if l.path, err = linePath(name); err != nil {
		return nil, err
	}
	l.raw, err = x.read(l.path, maxLines)
	if errors.Is(err, fs.ErrNotExist) {
		return l, nil
	}
	if err != nil {
		return l, err // whose path is told
	}
	// A line that this version can not read may be the version at hand.
	refuse := false
	l.entries, err = parseLines(l.path, name, l.raw, func(string) { refuse = true })
	if err == nil && refuse {
		err = fault.New(fault.SchemaUnsupported, "%s has lines of a newer version of rebuild, which this one must not add to", l.path).
			WithHint("use a version of rebuild that reads them")
	}
	return l, err
}

// putLines writes the lines as they are now.
func (p *publication) putLines(l *lineFile) error {
	var out []byte
	for _, e := range l.entries {
		line, err := e.Encode()
		if err != nil {
			return err
		}
		out = append(append(out, line...), '\n')
	}
	if len(out) > maxLines {
		return fault.New(fault.Semantic, "%s would have %d bytes, at most %d are allowed", l.path, len(out), maxLines)
	}
	return p.put(l.path, out)
}

// published returns the entry that is there if it is of the same release, and
// an error if the version is taken by another.
func (l *lineFile) published(version string, release store.Digest, cksum string) (*Entry, error) {
	there, err := l.find(version)
	if there == nil || err != nil {
		return nil, err
	}
	if there.Release == release && there.Cksum == cksum {
		return there, nil
	}
	what := "archive sha256:" + there.Cksum
	if there.Release != "" {
		what = "release " + string(there.Release)
	}
	return nil, fault.New(fault.AlreadyPublished, "%s@%s is published already, as %s", there.Name, there.Version, what).
		WithHint("publish a new version; a published one never changes")
}

// find returns the entry of a version, nil if there is none.
func (l *lineFile) find(version string) (*Entry, error) {
	if err := names.Version(version); err != nil {
		return nil, err
	}
	for _, e := range l.entries {
		if names.CompareVersions(e.Version, version) == 0 {
			return e, nil
		}
	}
	return nil, nil
}

// checkNew refuses a new name that another could be taken for.
func (p *publication) checkNew(name string, l *lineFile) error {
	if len(l.entries) > 0 {
		return nil
	}
	return p.t.x.checkTwins(name)
}

// checkTwins refuses a name that differs only in - and _ from one that is
// there. It follows every directory that could lead to such a name.
func (x *Index) checkTwins(name string) error {
	path, err := linePath(name)
	if err != nil {
		return err
	}
	found := []string{"."}
	for _, part := range strings.Split(path, "/") {
		var next []string
		for _, dir := range found {
			held, err := fs.ReadDir(x.fsys, dir)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return writeFault(err)
			}
			for _, entry := range held {
				if names.Fold(entry.Name()) == names.Fold(part) {
					next = append(next, strings.TrimPrefix(dir+"/"+entry.Name(), "./"))
				}
			}
		}
		found = next
	}
	for _, twin := range found {
		if twin != path {
			return fault.New(fault.Semantic, "%s differs only in - and _ from the package at %s", name, twin).
				WithHint("choose another name")
		}
	}
	return nil
}

// checkOwners wants the consent of the old owners when the owners change.
func (l *lineFile) checkOwners(p *attest.Publication) error {
	old, err := l.owners()
	if err != nil {
		return err
	}
	release := p.Release().Release()
	fresh := release.OwnerKeys()
	if slices.Equal(old, fresh) {
		return nil
	}
	for _, k := range old {
		if !p.SignedBy(k) {
			return fault.New(fault.OwnerChanged, "%s was owned by %s until now, who has not signed version %s",
				release.Name, k.Fingerprint(), release.Version).
				WithHint("have the old owner sign the release too")
		}
	}
	return nil
}

func (l *lineFile) unowned(version string) error {
	owners, err := l.owners()
	if err != nil || len(owners) == 0 {
		return err
	}
	return fault.New(fault.OwnerChanged, "%s is owned by %s, who has not signed version %s: an entry without a release has no signature of an owner",
		l.name, owners[0].Fingerprint(), version).WithHint("publish a release that its owners sign")
}

// owners returns the owners of the last release in the line file.
func (l *lineFile) owners() ([]attest.PublicKey, error) {
	for _, e := range slices.Backward(l.entries) {
		if e.Release != "" {
			return l.x.ownersOf(e)
		}
	}
	return nil, nil
}

// ownersOf returns the owners of an entry's release, none without one. It was
// verified when it was published; here it only must be the one named.
func (x *Index) ownersOf(e *Entry) ([]attest.PublicKey, error) {
	if e.Release == "" {
		return nil, nil
	}
	envelope, err := x.statement(e.Release)
	if err != nil {
		return nil, err
	}
	return attest.OwnersOf(envelope.Bytes())
}

// statement returns an envelope whose payload has the digest; nothing else of
// it is verified.
func (x *Index) statement(d store.Digest) (*attest.Envelope, error) {
	data, err := x.read(statementPath(d), attest.MaxEnvelope)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.FileMissing, "the index has no statement %s", d)
	}
	if err != nil {
		return nil, err
	}
	e, err := attest.ParseEnvelope(statementPath(d), data)
	if err != nil {
		return nil, err
	}
	if e.Digest() != d {
		return nil, fault.New(fault.EvidenceMismatch, "%s holds %s", statementPath(d), e.Digest())
	}
	return e, nil
}

// moreSignatures adds to a statement that is there the signatures of an
// envelope with the same payload, and keeps those that count: of the release
// signers and of owners, of this version or another.
func (p *publication) moreSignatures(raw []byte, l *lineFile) error {
	fresh, err := attest.ParseEnvelope("statement", raw)
	if err != nil {
		return err
	}
	held, err := p.t.x.statement(fresh.Digest())
	if err != nil {
		return err
	}
	merged, err := attest.Merge(held, fresh)
	if err != nil || string(merged) == string(held.Bytes()) {
		return err
	}
	keys := p.t.x.in.Policy.SignerKeys()
	for _, e := range l.entries {
		owners, err := p.t.x.ownersOf(e)
		if err != nil {
			return err
		}
		keys = append(keys, owners...)
	}
	all, err := attest.ParseEnvelope("statement", merged)
	if err != nil {
		return err
	}
	kept, err := all.Retain(keys)
	if err != nil {
		return err
	}
	p.content[statementPath(fresh.Digest())] = kept
	return nil
}
