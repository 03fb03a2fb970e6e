package attest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/internal/names"
	"rebuild/store"
)

// PredicateYank is the predicateType of a yank statement.
const PredicateYank = "urn:rebuild:yank:1"

// What a yank statement does to a version. Each can be undone, and nothing of
// the version stops being there for those who pinned it.
const (
	ActionYank     = "yank"
	ActionUnyank   = "unyank"
	ActionAdvise   = "advise"   // attach the advisory ID
	ActionUnadvise = "unadvise" // take it back
)

// Yank is the predicate of a yank statement, which holds all that can change
// about a published version (index.md 7). After is the payload digest of the
// previous yank statement of the same version, so that an old one can not be
// played again.
type Yank struct {
	SchemaVersion string       `json:"schema_version"`
	Name          string       `json:"name"`
	Version       string       `json:"version"`
	Action        string       `json:"action"`
	ID            string       `json:"id,omitempty"` // of the advisory; required to advise and unadvise
	Reason        string       `json:"reason"`
	At            string       `json:"at"`
	After         store.Digest `json:"after,omitempty"` // "" for the version's first
}

// advisoryGrammar is what an advisory may be called.
var advisoryGrammar = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,63}$`)

// CheckAdvisory checks the id of an advisory, such as CVE-2026-1234.
func CheckAdvisory(id string) error {
	if !advisoryGrammar.MatchString(id) {
		return fault.New(fault.Structure, "advisory %.80q is not an id of letters, digits, dots and dashes", id)
	}
	return nil
}

const maxReason = 4 << 10

func (y *Yank) validate() error {
	if err := names.Package(y.Name); err != nil {
		return within(err, "name")
	}
	if err := names.Version(y.Version); err != nil {
		return within(err, "version")
	}
	if !slices.Contains([]string{ActionYank, ActionUnyank, ActionAdvise, ActionUnadvise}, y.Action) {
		return fault.New(fault.Structure, "action %.40q is none of yank, unyank, advise, unadvise", y.Action)
	}
	if advises := y.Action == ActionAdvise || y.Action == ActionUnadvise; advises != (y.ID != "") {
		return fault.New(fault.Semantic, "id must be given exactly to advise and unadvise")
	}
	if y.ID != "" {
		if err := CheckAdvisory(y.ID); err != nil {
			return err
		}
	}
	if strings.TrimSpace(y.Reason) == "" || len(y.Reason) > maxReason {
		return fault.New(fault.Semantic, "reason is empty or longer than %d bytes", maxReason)
	}
	if _, err := ParseTime(y.At); err != nil {
		return within(err, "at")
	}
	if _, err := store.ParseDigest(string(y.After)); y.After != "" && err != nil {
		return within(err, "after")
	}
	return nil
}

// NewYank returns the unsigned payload of a yank statement about the archive
// with a cksum. Its schema_version is filled in.
func NewYank(y Yank, cksum string) ([]byte, error) {
	y.SchemaVersion = document.Yank.ID()
	if err := y.validate(); err != nil {
		return nil, err
	}
	if _, err := store.ParseDigest("sha256:" + cksum); err != nil {
		return nil, err
	}
	return encodeStatement(document.Yank.MaxBytes, PredicateYank, yankSubjects(cksum), y)
}

func yankSubjects(cksum string) []Subject {
	return []Subject{{Digest: SubjectDigest{SHA256: cksum}, Name: "archive"}}
}

// ReadYank returns what a yank statement's envelope says, without judging its
// signatures: to find the version that it is about, or for who keeps an index
// and verified the statement when it was entered.
func ReadYank(e *Envelope) (Yank, error) {
	var y Yank
	if _, err := decodeStatement(&Signed{payload: e.payload}, PredicateYank, document.Yank, &y); err != nil {
		return y, err
	}
	return y, y.validate()
}

// YankTerms is who must sign a yank statement, and when it is judged.
type YankTerms struct {
	Owners []PublicKey // of the release; all must sign
	Cksum  string      // of the version's archive
	Time   time.Time   // of the statement's leaf; now before it has one
	Seq    *int64      // of its leaf; nil before it has one
}

// OpenYank verifies a yank statement: first the signatures, of as many release
// signers as the policy needs and of every owner, then what it says. The
// errors are those of a release's envelope. Whether its After is the current
// one is for who knows the version's other statements.
func OpenYank(policy *Policy, e *Envelope, terms YankTerms) (Yank, error) {
	var y Yank
	signed, err := e.verify(policy.signing)
	if err != nil {
		return y, err
	}
	m := moment{time: terms.Time}
	if terms.Seq != nil {
		m.logged, m.seq = true, *terms.Seq
	}
	if _, err := policy.countSigners(signed.by, policy.doc.Signers.Need, &m); err != nil {
		return y, err
	}
	if err := y.read(signed, terms.Cksum); err != nil {
		return y, err
	}
	return y, checkOwnerSignatures(e, signed.by, terms.Owners, y.Name+" "+y.Version, policy.seen)
}

// Yanked is what the yank statements of a version come to.
type Yanked struct {
	Yanked     bool
	Advisories []string     // sorted
	Head       store.Digest // payload digest of the last statement; "" for none
}

// Apply returns the state after one more statement with a payload digest.
// UNYANKED is one whose After is not the head: an old statement played again,
// or one made beside another.
func (s Yanked) Apply(y Yank, payload store.Digest) (Yanked, error) {
	if y.After != s.Head {
		return s, fault.New(fault.Unyanked, "the %s of %s@%s follows %s, the last statement about the version is %s",
			y.Action, y.Name, y.Version, headText(y.After), headText(s.Head)).
			WithHint("make the statement again; it must follow the last one")
	}
	out := Yanked{Yanked: s.Yanked, Advisories: slices.Clone(s.Advisories), Head: payload}
	switch y.Action {
	case ActionYank, ActionUnyank:
		out.Yanked = y.Action == ActionYank
	case ActionAdvise:
		if !slices.Contains(out.Advisories, y.ID) {
			out.Advisories = append(out.Advisories, y.ID)
			slices.Sort(out.Advisories)
		}
	case ActionUnadvise:
		out.Advisories = slices.DeleteFunc(out.Advisories, func(id string) bool { return id == y.ID })
	}
	return out, nil
}

func headText(d store.Digest) string {
	if d == "" {
		return "none"
	}
	return string(d)
}

// String says what the state is, in words.
func (s Yanked) String() string {
	return fmt.Sprintf("yanked %t, advisories %v", s.Yanked, s.Advisories)
}

// SignYank adds signatures to a yank statement: a payload from [NewYank], or an
// envelope that others have signed. Any key may sign; only release signers and
// owners count. It returns what is signed for too.
func SignYank(data []byte, signers ...Signer) ([]byte, Yank, error) {
	e := &Envelope{payload: data}
	if parsed, err := ParseEnvelope("yank", data); err == nil {
		e = parsed
	}
	y, err := ReadYank(e)
	if err != nil {
		return nil, y, err
	}
	for _, s := range signers {
		if err := e.sign(s); err != nil {
			return nil, y, err
		}
	}
	out, err := e.encode()
	return out, y, err
}
