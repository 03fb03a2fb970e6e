package attest

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// PredicatePolicy is the predicateType of a policy update.
const PredicatePolicy = "urn:rebuild:policy:1"

// policyStatement is the policy as a predicate: its limit is that of a
// statement, as the image is longer than the text.
var policyStatement = func() document.Kind {
	k := document.Policy
	k.MaxBytes = 1 << 20
	return k
}()

// PolicyUpdate is the step from a policy to its next version (index.md 7). It
// is an offer: nothing replaces the policy of whoever judges but their own
// hand.
type PolicyUpdate struct {
	old, next *Policy
	payload   []byte
	changes   []PolicyChange
}

// PolicyChange is one thing that a policy update changes.
type PolicyChange struct {
	Text string `json:"text"`
	// Loosens says that something can then count, or stay unsaid, that could
	// not before.
	Loosens bool `json:"loosens"`
}

func (c PolicyChange) String() string {
	if c.Loosens {
		return "warning: looser: " + c.Text
	}
	return c.Text
}

// NewPolicyUpdate judges whether a policy is the next version of another: the
// same name (else POLICY_INVALID) and the version one higher. An equal or a
// lower one is ROLLBACK, as an old policy that is offered again would bring
// back what was taken out of it; a higher one is POLICY_INVALID, since what
// comes between was not seen.
func NewPolicyUpdate(old, next *Policy) (*PolicyUpdate, error) {
	was, is := old.doc.Version, next.doc.Version
	switch {
	case old.doc.Name != next.doc.Name:
		return nil, fault.New(fault.PolicyInvalid, "policy %q is no update of policy %q", next.doc.Name, old.doc.Name).
			WithHint("compare versions of one policy; its name never changes")
	case is <= was:
		return nil, fault.New(fault.Rollback, "version %d of policy %s is not later than version %d (%s and %s)",
			is, next.doc.Name, was, next.digest, old.digest).
			WithHint("write version = %d if this is the newer one", was+1)
	case is != was+1:
		return nil, fault.New(fault.PolicyInvalid, "version %d of policy %s does not follow version %d", is, next.doc.Name, was).
			WithHint("write version = %d, or update to each version in between first", was+1)
	}
	u := &PolicyUpdate{old: old, next: next}
	var err error
	u.payload, err = encodeStatement(policyStatement.MaxBytes, PredicatePolicy, policySubjects(next), jsontext.Value(next.image))
	if err != nil {
		return nil, err
	}
	u.changes = policyChanges(old, next)
	return u, nil
}

func policySubjects(p *Policy) []Subject {
	return []Subject{newSubject("policy:"+p.doc.Name, p.digest)}
}

// Changes returns what the update changes, all of it, loosenings first.
func (u *PolicyUpdate) Changes() []PolicyChange { return slices.Clone(u.changes) }

// Payload returns the statement that root keys sign.
func (u *PolicyUpdate) Payload() []byte { return bytes.Clone(u.payload) }

// Sign adds signatures of root keys, of the old policy or the new one, to an
// envelope with this update; nil begins one. Any other key is KEY_UNKNOWN.
func (u *PolicyUpdate) Sign(envelope []byte, signers ...Signer) ([]byte, error) {
	e := &Envelope{payload: u.payload}
	if envelope != nil {
		held, err := ParseEnvelope("policy update", envelope)
		if err != nil {
			return nil, err
		}
		if _, err := u.open(held); err != nil {
			return nil, err
		}
		e = held
	}
	for _, s := range signers {
		if k := s.Public(); !slices.Contains(u.keys(), k) {
			return nil, fault.New(fault.KeyUnknown, "key %s is a root key of neither version of policy %s", k.Fingerprint(), u.next.doc.Name).
				WithHint("sign with a key of root.keys in the old policy or the new one")
		}
		if err := e.sign(s); err != nil {
			return nil, err
		}
	}
	return e.encode()
}

// keys are the root keys of both versions.
func (u *PolicyUpdate) keys() []PublicKey { return append(u.old.rootKeys(), u.next.rootKeys()...) }

func (p *Policy) rootKeys() []PublicKey {
	var out []PublicKey
	for _, text := range p.doc.Root.Keys {
		if k, err := ParsePublicKey(text); err == nil { // or the policy had not loaded
			out = append(out, k)
		}
	}
	return out
}

// open verifies an envelope and wants it to say exactly what the new text says.
// Whether enough have signed is not judged.
func (u *PolicyUpdate) open(e *Envelope) (*Signed, error) {
	signed, err := e.Verify(u.keys())
	if err != nil {
		return nil, err
	}
	var image jsontext.Value
	subjects, err := decodeStatement(signed, PredicatePolicy, policyStatement, &image)
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(image, u.next.image) {
		return nil, mismatch("the update is of policy %s, the new text is %s", store.DigestOf(image), u.next.digest)
	}
	return signed, checkSubjects(subjects, policySubjects(u.next))
}

// RootAccount says who of a policy's root keys has signed an update.
type RootAccount struct {
	Version int64    `json:"version"` // of the policy whose keys they are
	Need    int      `json:"need"`
	Signed  []string `json:"signed"`  // fingerprints, in the policy's order
	Missing []string `json:"missing"` // the others
}

func (r RootAccount) met() bool { return len(r.Signed) >= r.Need }

func (r RootAccount) String() string {
	out := fmt.Sprintf("root keys of version %d: %d of %d needed have signed", r.Version, len(r.Signed), r.Need)
	if len(r.Signed) > 0 {
		out += ": " + strings.Join(r.Signed, ", ")
	}
	if !r.met() {
		out += "; not yet: " + strings.Join(r.Missing, ", ")
	}
	return out
}

// Verify wants an envelope with this very update, signed by as many root keys
// as the old policy asks for and by as many as the new one does, so that
// neither can be left with keys that nobody holds. Too few are
// SIGNATURE_INVALID, another text EVIDENCE_MISMATCH. The accounts are returned
// with that error too.
func (u *PolicyUpdate) Verify(envelope []byte) ([]RootAccount, error) {
	e, err := ParseEnvelope("policy update", envelope)
	if err != nil {
		return nil, err
	}
	signed, err := u.open(e)
	if err != nil {
		return nil, err
	}
	accounts := []RootAccount{u.old.rootAccount(signed.by), u.next.rootAccount(signed.by)}
	for _, a := range accounts {
		if !a.met() {
			return accounts, fault.New(fault.SignatureInvalid, "the update of policy %s is not signed by enough: %s", u.next.doc.Name, a).
				WithHint("have another root key's holder add to it with rebuild policy sign --update")
		}
	}
	return accounts, nil
}

func (p *Policy) rootAccount(by []PublicKey) RootAccount {
	a := RootAccount{Version: p.doc.Version, Need: p.doc.Root.Need, Signed: []string{}, Missing: []string{}}
	for _, k := range p.rootKeys() {
		if slices.Contains(by, k) {
			a.Signed = append(a.Signed, k.Fingerprint())
		} else {
			a.Missing = append(a.Missing, k.Fingerprint())
		}
	}
	return a
}

// policyChanges compares the images value by value, so that nothing is left
// unsaid whatever fields there are, and then asks the evaluator whether the
// quorum has become easier to reach in a way that no single value shows.
func policyChanges(old, next *Policy) []PolicyChange {
	was, is := flatPolicy(old), flatPolicy(next)
	paths := maps.Clone(was)
	maps.Copy(paths, is)
	delete(paths, "version")
	var looser, others []PolicyChange
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		d := difference{path: path}
		d.before, d.had = was[path]
		d.after, d.has = is[path]
		switch {
		case d.had == d.has && d.before == d.after:
		case d.loosens(old, next):
			looser = append(looser, PolicyChange{d.text(), true})
		default:
			others = append(others, PolicyChange{d.text(), false})
		}
	}
	if set := easier(old, next); set != nil {
		looser = append(looser, PolicyChange{"quorum: " + strings.Join(set, " + ") + " is enough, and was not before", true})
	}
	return append(looser, others...)
}

// difference is one value of a policy that is not what it was.
type difference struct {
	path          string // as of [flatPolicy]
	before, after string
	had, has      bool // whether it was there before, and is now
}

// easier returns operators who are enough now and were not before.
func easier(old, next *Policy) []string {
	for _, set := range next.leastSets(nil, next.reachable).Sets {
		known := slices.DeleteFunc(slices.Clone(set), func(name string) bool { return !slices.Contains(old.reachable, name) })
		if !old.enough(nil, known) {
			return set
		}
	}
	return nil
}

// flatPolicy writes a policy as paths and values. An element of an array goes
// by what it is, a key by its fingerprint, since its place means nothing.
func flatPolicy(p *Policy) map[string]string {
	out := map[string]string{}
	var tree any
	if err := document.DecodeForeign("policy", p.image, &tree); err != nil {
		return map[string]string{"": string(p.image)} // our own canonical JSON
	}
	flatten(out, "", tree)
	return out
}

func flatten(out map[string]string, path string, node any) {
	switch node := node.(type) {
	case map[string]any:
		for name, v := range node {
			if name == "key" && strings.HasSuffix(path, "]") {
				continue // stands in the path
			}
			flatten(out, strings.TrimPrefix(path+"."+name, "."), v)
		}
	case []any:
		for _, v := range node {
			if entry, ok := v.(map[string]any); ok {
				key, _ := entry["key"].(string)
				out[path+"["+fingerprintOf(key)+"]"] = ""
				flatten(out, path+"["+fingerprintOf(key)+"]", v)
				continue
			}
			text := fmt.Sprint(v)
			if strings.HasSuffix(path, ".keys") {
				text = fingerprintOf(text)
			}
			out[path+"["+text+"]"] = ""
		}
	case float64:
		out[path] = strconv.FormatInt(int64(node), 10)
	default:
		out[path] = fmt.Sprint(node)
	}
}

// text says what has changed.
func (d difference) text() string {
	array, element, isElement := strings.Cut(strings.TrimSuffix(d.path, "]"), "[")
	switch {
	case isElement && strings.HasSuffix(d.path, "]") && d.has:
		return array + ": " + element + " is added"
	case isElement && strings.HasSuffix(d.path, "]"):
		return array + ": " + element + " is removed"
	case !d.had:
		return d.path + " = " + d.after + " is added"
	case !d.has:
		return d.path + " = " + d.before + " is removed"
	}
	return d.path + ": " + d.before + " becomes " + d.after
}

// loosens says whether a change lets something count, or go unsaid, that did
// not before. What it does not know, such as another log, it calls looser.
func (d difference) loosens(old, next *Policy) bool {
	name := d.path[strings.LastIndexAny(d.path, ".]")+1:]
	element := strings.HasSuffix(d.path, "]")
	if parts := strings.SplitN(d.path, ".", 4); len(parts) == 4 && parts[0] == "operators" && parts[2] == "labels" {
		return old.doc.Diversity[parts[3]] > 0 || next.doc.Diversity[parts[3]] > 0
	}
	switch {
	case strings.HasPrefix(d.path, "diversity."): // whatever the label is called
		return d.had && (!d.has || number(d.after) < number(d.before))
	case d.path == "expires", name == "not_after": // absent: for ever
		return d.had && (!d.has || d.after > d.before)
	case name == "not_before":
		return d.had && (!d.has || d.after < d.before)
	case name == "revoked_from":
		return d.had && (!d.has || number(d.after) > number(d.before))
	case element && strings.HasPrefix(d.path, "groups."): // easier than before shows what comes of it
		return d.has && old.doc.Groups[groupOf(d.path)].Need > 0 || !d.has && old.silences(next, d.path)
	case element:
		return d.has || strings.HasPrefix(d.path, "operators.") && old.silences(next, d.path)
	case d.path == "dissent.on":
		return old.blocksOnDissent() && !next.blocksOnDissent()
	case d.path == "dissent.build_failed":
		return old.blocksOnBuildFailed() && !next.blocksOnBuildFailed()
	case d.path == "dissent.waiver_need":
		return next.waiverNeed() < old.waiverNeed()
	case d.path == "independence":
		return d.before == "commit"
	case strings.HasPrefix(d.path, "require."):
		return d.path == "require.max_seed_bytes" && d.had && (!d.has || number(d.after) > number(d.before)) || d.before == "true"
	case name == "need":
		return d.had && (!d.has || number(d.after) < number(d.before))
	case d.path == "log.max_age":
		return longer(d.after, d.before)
	case strings.HasPrefix(d.path, "log."):
		return d.had || d.path == "log.key" && old.endsKeys()
	case name == "name": // of a signer, who is its key
		return false
	}
	return true
}

func groupOf(path string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(path, "groups."), ".")
	return name
}

// endsKeys says whether a key has an end or is revoked. Without a log that is
// judged by the clock; a log dates what the key signed to before it.
func (p *Policy) endsKeys() bool {
	return slices.ContainsFunc(p.places(), func(k keyPlace) bool { return k.key.NotAfter != "" || k.key.RevokedFrom != nil })
}

// silences says whether a removal takes away the voice of an operator whose
// dissent blocked: what it said before is then a stranger's.
func (p *Policy) silences(next *Policy, path string) bool {
	if name, isKey := strings.CutPrefix(path, "operators."); isKey {
		name, _, _ = strings.Cut(name, ".")
		return p.blocksOnDissent() && slices.Contains(p.reachable, name)
	}
	gone := func(operator string) bool { return !slices.Contains(next.reachable, operator) }
	return p.blocksOnDissent() && slices.ContainsFunc(p.reachable, gone)
}

func number(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}

// longer compares ages of the log's head; absent is a day.
func longer(a, b string) bool {
	x, errA := time.ParseDuration(cmp.Or(a, "24h"))
	y, errB := time.ParseDuration(cmp.Or(b, "24h"))
	return errA != nil || errB != nil || x > y
}
