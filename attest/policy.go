package attest

import (
	"bytes"
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/internal/names"
	"rebuild/store"
)

// Policy is a loaded policy.toml, the trust root of whoever judges: which
// operators count, how many of them must agree, who signs releases. It can
// not be changed once loaded; [LoadPolicy] is the only way to one.
type Policy struct {
	doc       policyDoc
	digest    store.Digest
	image     []byte                 // canonical JSON
	expires   time.Time              // zero: never
	operators map[string][]policyKey // those reachable from the quorum
	owner     map[PublicKey]string   // operator of a key, reachable or not
	ring      keyring                // of owner
	reachable []string               // operators, sorted
	signers   []policyKey            // release signers
	signing   keyring                // of signers
	index     []policyKey            // index signers
	log       *policyLog             // nil: evidence is judged without one
	seen      *signatures            // that were verified
}

// The TOML document, formats.md 5.
type policyDoc struct {
	SchemaVersion string                 `json:"schema_version"`
	Name          string                 `json:"name"`
	Version       int64                  `json:"version"`
	Expires       string                 `json:"expires,omitempty"`
	Quorum        string                 `json:"quorum,omitempty"`
	Diversity     map[string]int         `json:"diversity,omitempty"`
	Independence  string                 `json:"independence,omitempty"`
	Require       requireDoc             `json:"require,omitzero"`
	Dissent       dissentDoc             `json:"dissent,omitzero"`
	Root          *rootDoc               `json:"root,omitempty"`
	Signers       *signersDoc            `json:"signers,omitempty"`
	Index         *indexDoc              `json:"index,omitempty"`
	Log           *logDoc                `json:"log,omitempty"`
	Witnesses     *rootDoc               `json:"witnesses,omitempty"`
	Groups        map[string]groupDoc    `json:"groups,omitempty"`
	Operators     map[string]operatorDoc `json:"operators,omitempty"`
}

type requireDoc struct {
	Deterministic bool   `json:"deterministic,omitzero"`
	Bootstrapped  bool   `json:"bootstrapped,omitzero"`
	Logged        bool   `json:"logged,omitzero"`
	Fresh         bool   `json:"fresh,omitzero"`
	MaxSeedBytes  *int64 `json:"max_seed_bytes,omitempty"`
}

type dissentDoc struct {
	On          string `json:"on,omitempty"`
	BuildFailed string `json:"build_failed,omitempty"`
	WaiverNeed  *int   `json:"waiver_need,omitempty"`
}

type rootDoc struct {
	Need int      `json:"need"`
	Keys []string `json:"keys"`
}

type signersDoc struct {
	Need int      `json:"need"`
	Keys []keyDoc `json:"keys"`
}

type indexDoc struct {
	Keys []keyDoc `json:"keys"`
}

type logDoc struct {
	Origin string `json:"origin"`
	Key    string `json:"key"`
	MaxAge string `json:"max_age,omitempty"`
}

type groupDoc struct {
	Need int      `json:"need"`
	Of   []string `json:"of"`
}

type operatorDoc struct {
	Labels map[string]string `json:"labels,omitempty"`
	Keys   []keyDoc          `json:"keys"`
}

type keyDoc struct {
	Name        string `json:"name,omitempty"`
	Key         string `json:"key"`
	NotBefore   string `json:"not_before,omitempty"`
	NotAfter    string `json:"not_after,omitempty"`
	RevokedFrom *int64 `json:"revoked_from,omitempty"`
}

// policyKey is a key and when it counts.
type policyKey struct {
	name      string // of a release signer; "" elsewhere
	key       PublicKey
	notBefore time.Time // zero: always
	notAfter  time.Time // zero: for ever
	revoked   *int64    // the first seq of the log at which it no longer counts; nil: never
}

// at says why the key does not count at a moment, or nil. What no log has in
// its order has no place before the revocation, so there a revoked key never
// counts.
func (k policyKey) at(m moment) error {
	switch {
	case k.revoked != nil && !m.logged:
		return fault.New(fault.KeyExpired, "key %s is revoked", k.key.Fingerprint()).
			WithHint("have it signed with a key that the policy lets sign at that time")
	case k.revoked != nil && m.seq >= *k.revoked:
		return fault.New(fault.KeyExpired, "key %s is revoked from seq %d, this is seq %d", k.key.Fingerprint(), *k.revoked, m.seq).
			WithHint("have it signed with a key that the policy lets sign at that time")
	case !k.notBefore.IsZero() && m.time.Before(k.notBefore):
		return fault.New(fault.KeyExpired, "key %s is not valid before %s", k.key.Fingerprint(), k.notBefore.Format(timeLayout)).
			WithHint("have it signed with a key that the policy lets sign at that time")
	case !k.notAfter.IsZero() && m.time.After(k.notAfter):
		return fault.New(fault.KeyExpired, "key %s is not valid after %s", k.key.Fingerprint(), k.notAfter.Format(timeLayout)).
			WithHint("have it signed with a key that the policy lets sign at that time")
	}
	return nil
}

// Values of dissent.on and dissent.build_failed.
const (
	onBlock  = "block"
	onReport = "report"
)

// LoadPolicy reads policy.toml. A document that is not well formed is PARSE,
// STRUCTURE or SCHEMA_UNSUPPORTED; one that does not say what counts is
// POLICY_INVALID, and the error lists everything that is wrong with it, each
// with its line. A lone weak key is KEY_WEAK.
//
// This version does not judge by commitments, so it refuses a policy that asks
// for them, rather than to pass over what the policy demands.
func LoadPolicy(file string, data []byte) (*Policy, error) {
	l := &policyLoader{p: &Policy{operators: map[string][]policyKey{}, owner: map[PublicKey]string{}}}
	src, err := document.DecodeTOML(file, data, document.Policy, &l.p.doc)
	if err != nil {
		return nil, err
	}
	l.src, l.p.digest = src, store.DigestOf(src.Image())
	l.p.image = src.Image()
	l.load()
	if err := l.result(); err != nil {
		return nil, err
	}
	l.p.seen = &signatures{}
	l.p.ring = newKeyring(slices.SortedFunc(maps.Keys(l.p.owner), func(a, b PublicKey) int { return bytes.Compare(a[:], b[:]) })).remembering(l.p.seen)
	l.p.signing = newKeyring(keysOf(l.p.signers)).remembering(l.p.seen)
	return l.p, nil
}

// Digest returns the digest of the policy's image.
func (p *Policy) Digest() store.Digest { return p.digest }

// Name returns the policy's name.
func (p *Policy) Name() string { return p.doc.Name }

// Version returns the policy's version; updates count up.
func (p *Policy) Version() int64 { return p.doc.Version }

// Operators returns the operators that the quorum can count, sorted.
func (p *Policy) Operators() []string { return slices.Clone(p.reachable) }

// OperatorOf returns the operator that the policy gives a key to.
func (p *Policy) OperatorOf(k PublicKey) (string, bool) {
	name, ok := p.owner[k]
	return name, ok
}

// OperatorKeys returns the keys of all operators, in the quorum or not, valid
// now or not.
func (p *Policy) OperatorKeys() []PublicKey { return slices.Clone(p.ring.keys) }

// SignerKeys returns the keys of the release signers, valid now or not.
func (p *Policy) SignerKeys() []PublicKey { return keysOf(p.signers) }

// IndexKey returns the key with an id that may sign index entries at a time:
// KEY_UNKNOWN if the policy has none for it, wherever else the key may be
// advertised, and KEY_EXPIRED outside of its time.
func (p *Policy) IndexKey(id KeyID, now time.Time) (PublicKey, error) {
	return p.indexKey(id, moment{time: now})
}

// IndexKeyAt is IndexKey for an entry that a log has at seq, dated at.
func (p *Policy) IndexKeyAt(id KeyID, at time.Time, seq int64) (PublicKey, error) {
	return p.indexKey(id, moment{time: at, logged: true, seq: seq})
}

func (p *Policy) indexKey(id KeyID, m moment) (PublicKey, error) {
	for _, known := range p.index {
		if known.key.ID() == id {
			return known.key, known.at(m)
		}
	}
	return PublicKey{}, fault.New(fault.KeyUnknown, "key %.80q is not an index key of policy %s", id, p.doc.Name).
		WithHint("add the key to index.keys in the policy if it is trusted")
}

func keysOf(all []policyKey) []PublicKey {
	out := make([]PublicKey, len(all))
	for i, k := range all {
		out[i] = k.key
	}
	return out
}

// LogOrigin returns the origin of the log that the policy trusts, "" for none.
func (p *Policy) LogOrigin() string {
	if p.log == nil {
		return ""
	}
	return p.log.origin
}

// CheckAt says whether what no log dates can be judged by the policy at a
// time: POLICY_EXPIRED after its end, and when every key of an operator that
// counts, or too many of the release signers' keys, have ended by then.
//
// What a log dates is judged at the time of its leaf, so that keys which have
// ended since then do not break old evidence; of the policy only its own end
// is still asked for.
func (p *Policy) CheckAt(now time.Time) error { return p.checkAt(now, false) }

// CheckLoggedAt is CheckAt for what a log dates, now or before: only the end of
// the policy is asked for. That an operator has no key left is its own loss, and
// must not keep the others from being heard.
func (p *Policy) CheckLoggedAt(now time.Time) error { return p.checkAt(now, true) }

func (p *Policy) checkAt(now time.Time, dated bool) error {
	hint := "renew the policy, or judge an old release with --at TIME"
	if !p.expires.IsZero() && now.After(p.expires) {
		return fault.New(fault.PolicyExpired, "policy %s expired at %s", p.doc.Name, p.doc.Expires).WithHint("%s", hint)
	}
	if dated {
		return nil
	}
	for _, name := range p.reachable {
		keys := p.operators[name]
		if !slices.ContainsFunc(keys, func(k policyKey) bool { return k.notAfter.IsZero() || !now.After(k.notAfter) }) {
			return fault.New(fault.PolicyExpired, "every key of operator %s in policy %s has expired", name, p.doc.Name).WithHint("%s", hint)
		}
	}
	valid := 0
	for _, k := range p.signers {
		if k.at(moment{time: now}) == nil {
			valid++
		}
	}
	if valid < p.doc.Signers.Need {
		return fault.New(fault.PolicyExpired, "%d release signers are needed by policy %s, %d have a valid key",
			p.doc.Signers.Need, p.doc.Name, valid).WithHint("%s", hint)
	}
	return nil
}

// waiverNeed is how many signers a release with waivers needs.
func (p *Policy) waiverNeed() int {
	if p.doc.Dissent.WaiverNeed != nil {
		return *p.doc.Dissent.WaiverNeed
	}
	return p.doc.Signers.Need
}

func (p *Policy) blocksOnDissent() bool     { return p.doc.Dissent.On != onReport }
func (p *Policy) blocksOnBuildFailed() bool { return p.doc.Dissent.BuildFailed == onBlock }

// policyLoader checks a decoded policy and collects everything wrong with it.
type policyLoader struct {
	p    *Policy
	src  *document.Source
	errs []*fault.Error
	keys map[PublicKey]string // where a key was seen first
}

func (l *policyLoader) failf(path []any, format string, args ...any) {
	l.errs = append(l.errs, l.src.Fault(fault.PolicyInvalid, path, format, args...))
}

func at(path ...any) []any { return path }

// result makes one error of all, in the order of their lines.
func (l *policyLoader) result() error {
	if len(l.errs) == 0 {
		return nil
	}
	slices.SortStableFunc(l.errs, func(a, b *fault.Error) int { return a.Line - b.Line })
	first := l.errs[0]
	if len(l.errs) == 1 {
		return first
	}
	all := make([]string, len(l.errs))
	for i, e := range l.errs {
		all[i] = e.Error()
	}
	return fault.New(fault.PolicyInvalid, "%d errors:\n%s", len(all), strings.Join(all, "\n")).
		At(first.File, 0).With("errors", all)
}

func (l *policyLoader) load() {
	d := &l.p.doc
	l.keys = map[PublicKey]string{}
	l.name(d.Name, "name")
	if d.Version < 1 {
		l.failf(at("version"), "version %d is less than 1", d.Version)
	}
	l.p.expires = l.time(d.Expires, "expires")
	l.loadChoices()
	l.loadLog()
	l.loadRoot()
	l.loadSigners()
	if d.Index != nil {
		for i, k := range d.Index.Keys {
			l.p.index = append(l.p.index, l.key(k, "index", at("index", "keys", i)))
		}
	}
	l.loadOperators()
	l.loadGroups()
	l.loadDiversity()
}

func (l *policyLoader) name(s string, path ...any) {
	if err := names.Check(s); err != nil {
		l.failf(path, "%v", err)
	}
}

func (l *policyLoader) time(s string, path ...any) time.Time {
	if s == "" {
		return time.Time{}
	}
	t, err := ParseTime(s)
	if err != nil {
		l.failf(path, "%v", err)
	}
	return t
}

func (l *policyLoader) loadChoices() {
	for _, c := range []struct {
		path    []any
		value   string
		allowed []string
	}{
		{at("independence"), l.p.doc.Independence, []string{"", "none", "commit"}},
		{at("dissent", "on"), l.p.doc.Dissent.On, []string{"", onBlock, onReport}},
		{at("dissent", "build_failed"), l.p.doc.Dissent.BuildFailed, []string{"", onBlock, onReport}},
	} {
		if !slices.Contains(c.allowed, c.value) {
			l.failf(c.path, "%q is not one of %s", c.value, strings.Join(c.allowed[1:], ", "))
		}
	}
	if m := l.p.doc.Require.MaxSeedBytes; m != nil && *m < 0 {
		l.failf(at("require", "max_seed_bytes"), "max_seed_bytes %d is negative", *m)
	}
}

// maxAge is a number of hours, minutes or seconds, in one spelling.
var maxAge = regexp.MustCompile(`^[1-9][0-9]{0,6}[hms]$`)

// defaultMaxAge is how old a checkpoint may be if the policy does not say.
const defaultMaxAge = 24 * time.Hour

// loadLog loads the log and its witnesses, and refuses what asks for a log
// where there is none.
func (l *policyLoader) loadLog() {
	d := &l.p.doc
	if d.Independence == "commit" {
		l.failf(at("independence"), `independence = "commit" is not supported yet by this version of rebuild`)
		l.errs[len(l.errs)-1].Hint = "use a later version of rebuild, or a policy that does not ask for it"
	}
	witnesses := cmp.Or(d.Witnesses, &rootDoc{})
	asked := witnesses.Need != 0 || len(witnesses.Keys) != 0
	if d.Log == nil {
		if d.Require.Logged {
			l.failf(at("require", "logged"), "require.logged is set and log is missing: nothing can be logged")
		}
		if asked {
			l.failf(at("witnesses"), "witnesses are named and log is missing: there is nothing to witness")
		}
		return
	}
	log := &policyLog{origin: d.Log.Origin, need: witnesses.Need, maxAge: l.maxAge(d.Log.MaxAge)}
	if !noteName.MatchString(d.Log.Origin) {
		l.failf(at("log", "origin"), "origin %.80q is not 1 to 255 visible ASCII characters without +", d.Log.Origin)
	}
	log.key = l.noteKey(d.Log.Key, "log", at("log", "key"), noteEd25519)
	if log.key.name != "" && log.key.name != d.Log.Origin {
		l.failf(at("log", "key"), "the key is of %s, the log is %s", log.key.name, d.Log.Origin)
	}
	if asked { // 0 of 0 is no check, any other 0 would be none by mistake
		l.need(witnesses.Need, len(witnesses.Keys), "witnesses", "need")
	}
	for i, text := range witnesses.Keys {
		k := l.noteKey(text, "witness", at("witnesses", "keys", i), noteEd25519, noteCosignature)
		log.witnesses = append(log.witnesses, k.as(noteCosignature))
	}
	l.p.log = log
}

// noteKey loads the key of a log or a witness. A witness always signs
// cosignatures, whichever of the two types its key is written as.
func (l *policyLoader) noteKey(text, role string, path []any, kinds ...byte) noteKey {
	k, err := parseNoteKey(text)
	if err == nil && !slices.Contains(kinds, k.kind) {
		err = fault.New(fault.Structure, "the key of %s has type %d, it must be ed25519", k.name, k.kind)
	}
	if err != nil {
		l.badKey(path, err)
		return noteKey{}
	}
	l.place(k.key, role, path)
	return k
}

func (l *policyLoader) maxAge(s string) time.Duration {
	if s == "" {
		return defaultMaxAge
	}
	d, err := time.ParseDuration(s)
	if err != nil || !maxAge.MatchString(s) {
		l.failf(at("log", "max_age"), "max_age %.40q is not a number with h, m or s, such as 24h", s)
	}
	return d
}

// need checks a k of n.
func (l *policyLoader) need(need, members int, path ...any) {
	if need < 1 || need > members {
		l.failf(path, "need = %d, it must be at least 1 and at most the number of members, %d", need, members)
	}
}

func (l *policyLoader) loadRoot() {
	root := l.p.doc.Root
	if root == nil {
		l.failf(nil, "root is missing: nobody may change this policy")
		return
	}
	l.need(root.Need, len(root.Keys), "root", "need")
	for i, k := range root.Keys {
		l.key(keyDoc{Key: k}, "root", at("root", "keys", i))
	}
}

func (l *policyLoader) loadSigners() {
	signers := l.p.doc.Signers
	if signers == nil {
		l.failf(nil, "signers is missing: nobody may sign a release")
		return
	}
	l.need(signers.Need, len(signers.Keys), "signers", "need")
	var all []string
	for i, k := range signers.Keys {
		l.name(k.Name, "signers", "keys", i, "name")
		all = append(all, k.Name)
		l.p.signers = append(l.p.signers, l.key(k, "signer "+k.Name, at("signers", "keys", i)))
	}
	if err := names.Distinct(all); err != nil {
		l.failf(at("signers", "keys"), "%v", err)
	}
	if w := l.p.doc.Dissent.WaiverNeed; w != nil && (*w < signers.Need || *w > len(signers.Keys)) {
		l.failf(at("dissent", "waiver_need"), "waiver_need = %d, it must be at least signers.need, %d, and at most the number of signers, %d",
			*w, signers.Need, len(signers.Keys))
	}
}

// key loads one key and refuses one that stands anywhere else in the policy:
// a key in two roles would let one party count as two.
func (l *policyLoader) key(d keyDoc, role string, path []any) policyKey {
	k := policyKey{name: d.Name, revoked: d.RevokedFrom}
	k.notBefore = l.time(d.NotBefore, append(slices.Clone(path), "not_before")...)
	k.notAfter = l.time(d.NotAfter, append(slices.Clone(path), "not_after")...)
	if d.RevokedFrom != nil && *d.RevokedFrom < 0 {
		l.failf(append(slices.Clone(path), "revoked_from"), "revoked_from %d is negative", *d.RevokedFrom)
	}
	if d.Name != "" && !strings.HasPrefix(role, "signer ") {
		l.failf(path, "only the keys of signers have a name")
	}
	key, err := ParsePublicKey(d.Key)
	if err != nil {
		l.badKey(path, err)
		return k
	}
	k.key = key
	l.place(key, role, path)
	return k
}

func (l *policyLoader) badKey(path []any, err error) {
	l.failf(path, "%v", err)
	if fault.CodeOf(err) == fault.KeyWeak {
		l.errs[len(l.errs)-1].Code = fault.KeyWeak
	}
}

// place gives a key its one place in the policy.
func (l *policyLoader) place(key PublicKey, role string, path []any) {
	if first, taken := l.keys[key]; taken {
		l.failf(path, "key %s of %s is also the key of %s, one key has one place", key.Fingerprint(), role, first)
	} else {
		l.keys[key] = role
	}
}

func (l *policyLoader) loadOperators() {
	d := &l.p.doc
	if len(d.Operators) == 0 {
		l.failf(nil, "operators is missing: nobody's result counts")
	}
	for _, name := range slices.Sorted(maps.Keys(d.Operators)) {
		op := d.Operators[name]
		l.name(name, "operators", name)
		if len(op.Keys) == 0 {
			l.failf(at("operators", name), "operator %s has no keys", name)
		}
		var keys []policyKey
		for i, k := range op.Keys {
			key := l.key(k, "operator "+name, at("operators", name, "keys", i))
			keys = append(keys, key)
			l.p.owner[key.key] = name
		}
		l.p.operators[name] = keys
		for _, label := range slices.Sorted(maps.Keys(op.Labels)) {
			if _, field := environmentFields[label]; field {
				l.failf(at("operators", name, "labels", label), "label %s is the name of an environment field", label)
			}
		}
	}
	var all []string
	for name := range d.Operators {
		all = append(all, name)
	}
	for name := range d.Groups {
		all = append(all, name)
	}
	if err := names.Distinct(all); err != nil {
		l.failf(nil, "operators and groups: %v", err)
	}
}

func (l *policyLoader) loadGroups() {
	d := &l.p.doc
	sound := true // no unknown names, so that the graph can be walked
	for _, name := range slices.Sorted(maps.Keys(d.Groups)) {
		g := d.Groups[name]
		l.name(name, "groups", name)
		l.need(g.Need, len(g.Of), "groups", name, "need")
		for i, member := range g.Of {
			_, isGroup := d.Groups[member]
			_, isOperator := d.Operators[member]
			if !isGroup && !isOperator {
				l.failf(at("groups", name, "of", i), "group %s names %q, which is neither an operator nor a group", name, member)
				sound = false
			}
			if slices.Index(g.Of, member) < i {
				l.failf(at("groups", name, "of", i), "group %s names %s twice", name, member)
			}
		}
	}
	if d.Quorum == "" {
		l.failf(nil, "quorum is missing: it names the group that must agree")
		return
	}
	if _, ok := d.Groups[d.Quorum]; !ok {
		l.failf(at("quorum"), "quorum names %q, which is not a group", d.Quorum)
		return
	}
	if cycle := l.cycle(); cycle != "" {
		l.failf(at("groups", cycle), "group %s contains itself", cycle)
		return
	}
	if sound {
		l.reach()
	}
}

// cycle returns a group that reaches itself, or "".
func (l *policyLoader) cycle() string {
	const open, closed = 1, 2
	state := map[string]int{}
	var visit func(name string) string
	visit = func(name string) string {
		if state[name] == open {
			return name
		}
		if state[name] == closed {
			return ""
		}
		state[name] = open
		for _, member := range l.p.doc.Groups[name].Of {
			if found := visit(member); found != "" {
				return found
			}
		}
		state[name] = closed
		return ""
	}
	for _, name := range slices.Sorted(maps.Keys(l.p.doc.Groups)) {
		if found := visit(name); found != "" {
			return found
		}
	}
	return ""
}

// reach walks from the quorum and refuses a second way to anything: an
// operator who is in two groups would count in both.
func (l *policyLoader) reach() {
	by := map[string]string{}
	todo := []string{l.p.doc.Quorum}
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		g, isGroup := l.p.doc.Groups[name]
		if !isGroup {
			l.p.reachable = append(l.p.reachable, name)
			continue
		}
		for i, member := range g.Of {
			if first, again := by[member]; again {
				if first != name { // twice in one group is reported already
					l.failf(at("groups", name, "of", i), "%s is reached through group %s and through group %s", member, first, name)
				}
				continue
			}
			by[member] = name
			todo = append(todo, member)
		}
	}
	slices.Sort(l.p.reachable)
	for name := range l.p.operators {
		if !slices.Contains(l.p.reachable, name) {
			delete(l.p.operators, name)
		}
	}
}

func (l *policyLoader) loadDiversity() {
	d := &l.p.doc
	for _, attr := range slices.Sorted(maps.Keys(d.Diversity)) {
		n := d.Diversity[attr]
		if n < 1 || n > len(l.p.reachable) {
			l.failf(at("diversity", attr), "diversity.%s = %d, it must be at least 1 and at most the number of operators in the quorum, %d",
				attr, n, len(l.p.reachable))
		}
		if !l.knownAttribute(attr) {
			l.failf(at("diversity", attr), "%s is neither an environment field nor a label of an operator", strconv.Quote(attr))
		}
	}
}

func (l *policyLoader) knownAttribute(attr string) bool {
	if _, ok := environmentFields[attr]; ok {
		return true
	}
	for _, op := range l.p.doc.Operators {
		if _, ok := op.Labels[attr]; ok {
			return true
		}
	}
	return false
}
