package attest

import (
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// StatementType is the _type of every statement.
const StatementType = "https://in-toto.io/Statement/v1"

// Subject is one thing a statement is about.
type Subject struct {
	Digest SubjectDigest `json:"digest"`
	Name   string        `json:"name"`
}

// SubjectDigest is an in-toto digest set with sha256 alone, in bare hex as
// in-toto fixes it.
type SubjectDigest struct {
	SHA256 string `json:"sha256"`
}

func newSubject(name string, d store.Digest) Subject {
	return Subject{Digest: SubjectDigest{SHA256: d.Hex()}, Name: name}
}

// statement is an in-toto Statement v1 with a predicate of ours.
type statement[P any] struct {
	Type          string    `json:"_type"`
	Predicate     P         `json:"predicate"`
	PredicateType string    `json:"predicateType"`
	Subject       []Subject `json:"subject"`
}

func encodeStatement[P any](limit int64, predicateType string, subjects []Subject, predicate P) ([]byte, error) {
	b, err := document.Encode(statement[P]{StatementType, predicate, predicateType, subjects})
	if err == nil && int64(len(b)) > limit {
		err = fault.New(fault.Semantic, "the statement has %d bytes, at most %d are allowed", len(b), limit)
	}
	return b, err
}

// decodeStatement parses a signed payload as a statement of one predicate
// type and returns its subjects. The type binds the meaning of what was
// signed: a result is no release, whoever signed it.
func decodeStatement(s *Signed, predicateType string, kind document.Kind, predicate any) ([]Subject, error) {
	if err := s.checkSize(kind); err != nil {
		return nil, err
	}
	return s.decode(predicateType, kind, predicate)
}

func (s *Signed) file() string { return "statement " + string(s.Digest()) }

func (s *Signed) checkSize(kind document.Kind) error {
	if int64(len(s.payload)) > kind.MaxBytes {
		return fault.New(fault.Parse, "%d bytes, at most %d are allowed", len(s.payload), kind.MaxBytes).At(s.file(), 0)
	}
	return nil
}

// decode reads the statement and then its predicate.
func (s *Signed) decode(predicateType string, kind document.Kind, predicate any) ([]Subject, error) {
	file := s.file()
	var st statement[jsontext.Value]
	if err := document.DecodeStrict(file, s.payload, &st); err != nil {
		return nil, err
	}
	if st.Type != StatementType {
		return nil, fault.New(fault.Structure, "_type %.80q is not %s", st.Type, StatementType).At(file, 0)
	}
	if st.PredicateType != predicateType {
		return nil, fault.New(fault.Structure, "predicateType %.80q is not %s", st.PredicateType, predicateType).At(file, 0)
	}
	if err := document.Decode(file, st.Predicate, kind, predicate); err != nil {
		return nil, err
	}
	return st.Subject, nil
}

// decodeResult is decodeStatement for results, of which there are most.
func decodeResult(s *Signed, r *Result) ([]Subject, error) {
	if err := s.checkSize(document.Result); err != nil {
		return nil, err
	}
	if st := decodeAtOnce(s.payload, r); st != nil {
		return st.Subject, nil
	}
	return s.decode(PredicateResult, document.Result, r)
}

// decodeAtOnce reads a result's statement and predicate as one, which nearly all
// are in order for. It returns nil for the others: reading them one after the
// other says what is wrong first.
func decodeAtOnce(payload []byte, r *Result) *statement[*Result] {
	st := &statement[*Result]{Predicate: r}
	if document.DecodeStrict("", payload, st) != nil || st.Type != StatementType || st.PredicateType != PredicateResult ||
		document.Result.CheckVersion("", r.SchemaVersion) != nil {
		*r = Result{}
		return nil
	}
	return st
}

// checkSubjects refuses any subjects but want, in that order.
func checkSubjects(got, want []Subject) error {
	if !slices.Equal(got, want) {
		return fault.New(fault.Semantic, "the subjects are %s, not %s", subjectText(got), subjectText(want))
	}
	return nil
}

func subjectText(all []Subject) string {
	out := make([]string, len(all))
	for i, s := range all {
		out[i] = s.Name + "@" + s.Digest.SHA256
	}
	return "[" + strings.Join(out, " ") + "]"
}

// verifiedResult is a result that its operator signed and that formats.md 5
// does not refuse. Only [openResult] makes one.
type verifiedResult struct {
	result Result
	digest store.Digest
	by     PublicKey
	stage  map[string]*StageResult
}

// signedResult is a result that its operator signed, and not yet held against
// a plan.
type signedResult struct {
	result   Result
	subjects []Subject
	signed   *Signed
}

// readResult returns the result in a statement whose signature was checked, if
// it names the operator who owns the key.
func (s *signatures) readResult(signed *Signed, operator string) (*signedResult, error) {
	r, err := s.result(signed)
	if err != nil {
		return nil, err
	}
	if r.result.Operator != operator {
		return nil, fault.New(fault.Semantic, "operator %q is named but the key belongs to %q", r.result.Operator, operator)
	}
	return &signedResult{r.result, r.subjects, signed}, nil
}

// openResult judges a signed result against a plan. Whether it counts for
// anything is not judged here.
func openResult(r *signedResult, p *planIndex) (*verifiedResult, error) {
	v := &verifiedResult{result: r.result, digest: r.signed.Digest(), by: r.signed.by[0], stage: make(map[string]*StageResult, len(r.result.Stages))}
	if err := v.result.check(p); err != nil {
		return nil, err
	}
	if err := checkSubjects(r.subjects, v.result.subjects(p.plan)); err != nil {
		return nil, err
	}
	for i := range v.result.Stages {
		v.stage[v.result.Stages[i].Name] = &v.result.Stages[i]
	}
	return v, nil
}

// oneSignature refuses a result with several signatures before any of them is
// tried against the keys of all operators, which would be slow.
func (e *Envelope) oneSignature() error {
	if n := len(e.signatures); n != 1 {
		return fault.New(fault.Structure, "%d signatures, a result has one", n)
	}
	return nil
}
