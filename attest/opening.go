package attest

import (
	"bytes"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"rebuild/internal/fault"
	"rebuild/store"
)

// opened is what became of one envelope.
type opened struct {
	account StatementAccount
	result  *verifiedResult
	author  string // whose result it is, if it is one, whatever else is wrong with it
	by      KeyID  // a key of the policy whose signature it has; "" without one
	raw     []byte
	claim   *provenanceClaim // nil: not a provenance
}

var statusRank = map[string]int{StatusRefused: 0, StatusOutsider: 1, StatusVoid: 2, StatusJudged: 3, StatusCompanion: 3}

// better orders two readings of one payload under different signatures. The
// choice does not depend on which envelope was met first.
func (o opened) better(than opened) bool {
	if a, b := statusRank[o.account.Status], statusRank[than.account.Status]; a != b {
		return a > b
	}
	if o.account.Why != than.account.Why {
		return o.account.Why < than.account.Why
	}
	return bytes.Compare(o.raw, than.raw) < 0
}

// open opens every statement by itself, several at a time: nearly all of the
// time is spent on signatures. It returns when all are done, in their order.
func (j *judge) open(statements [][]byte) []opened {
	out := make([]opened, len(statements))
	each(len(statements), func(i int) {
		out[i] = j.openOne(statements[i])
		out[i].raw = statements[i]
	})
	return out
}

// openOne changes nothing of j: it runs beside itself.
func (j *judge) openOne(raw []byte) opened {
	e, err := j.policy.seen.envelope("statement", raw)
	if err != nil {
		return opened{account: StatementAccount{Statement: store.DigestOf(raw)}.refuse(err)}
	}
	a := StatementAccount{Statement: e.Digest()}
	if err := e.oneSignature(); err != nil {
		return opened{account: a.refuse(err)}
	}
	signed, err := e.verify(j.policy.ring)
	switch fault.CodeOf(err) {
	case "":
	case fault.KeyUnknown:
		a.Status, a.Why = StatusOutsider, "not signed by a key of the policy"
		return opened{account: a}
	default:
		return opened{account: a.refuse(err)}
	}
	by := signed.by[0].ID()
	a.Operator = j.policy.owner[signed.by[0]]
	if claim := readProvenance(signed); claim != nil {
		return opened{account: a, claim: claim, by: by}
	}
	said, err := j.policy.seen.readResult(signed, a.Operator)
	author := ""
	if err == nil {
		author = a.Operator
	}
	if _, counts := j.policy.operators[a.Operator]; !counts {
		a.Status, a.Why = StatusOutsider, "operator "+a.Operator+" is not in the quorum"
		return opened{account: a, by: by, author: author}
	}
	if err != nil {
		return opened{account: a.refuse(err), by: by}
	}
	result, err := openResult(said, j.plan)
	if err != nil {
		return opened{account: a.refuse(err), by: by, author: author}
	}
	for _, k := range j.policy.operators[a.Operator] {
		if k.key == result.by {
			if err := k.at(j.chain.moment(EventStatement, a.Statement, j.now)); err != nil {
				a.Status, a.Why = StatusVoid, err.Error()
				return opened{account: a, result: result, by: by, author: author}
			}
		}
	}
	a.Status = StatusJudged
	return opened{account: a, result: result, by: by, author: author}
}

func (s StatementAccount) refuse(err error) StatementAccount {
	s.Status, s.Why, s.Code = StatusRefused, err.Error(), fault.CodeOf(err)
	return s
}

// sort keeps one reading per payload, and those that are judged, by digest.
func (j *judge) sort(statements []opened) error {
	best := map[store.Digest]opened{}
	var provenances []opened
	for _, o := range statements {
		if o.claim != nil {
			provenances = append(provenances, o)
			continue
		}
		if o.author != "" {
			j.authors[o.account.Statement] = o.author
		}
		if first, seen := best[o.account.Statement]; !seen || o.better(first) {
			best[o.account.Statement] = o
		}
	}
	j.settle(provenances, best)
	for _, digest := range slices.Sorted(maps.Keys(best)) {
		o := best[digest]
		leaf, logged := j.chain.find(EventStatement, digest)
		if logged {
			if err := leaf.signedBy(o.by, j.policy.ring); err != nil {
				return err
			}
			seq := leaf.Seq
			o.account.Seq = &seq
		}
		j.v.statements = append(j.v.statements, o.account)
		switch o.account.Status {
		case StatusJudged:
			j.kept = append(j.kept, o.result)
			j.v.keep(digest, o.raw)
		case StatusCompanion:
			j.v.provenance[o.claim.result] = digest
			j.v.keep(digest, o.raw)
		case StatusVoid:
			j.v.keep(digest, o.raw)
		default:
			if logged {
				j.v.envelopes = append(j.v.envelopes, o.raw)
			}
		}
	}
	return nil
}

func (v *Verdict) keep(digest store.Digest, envelope []byte) {
	v.judged = append(v.judged, digest)
	v.envelopes = append(v.envelopes, envelope)
}

// each calls work for 0 to n-1, several at a time, and returns when all are
// done.
func each(n int, work func(i int)) {
	var next atomic.Int64
	some := func() {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			work(i)
		}
	}
	var others sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0)-1, n/statementsEach) {
		others.Go(some)
	}
	some()
	others.Wait()
}

// statementsEach is how many statements are worth another goroutine.
const statementsEach = 16

// payloads returns the digest of each envelope's payload, "" for what is none.
func (s *signatures) payloads(envelopes [][]byte) []store.Digest {
	out := make([]store.Digest, len(envelopes))
	each(len(envelopes), func(i int) {
		if e, err := s.envelope("statement", envelopes[i]); err == nil {
			out[i] = e.Digest()
		}
	})
	return out
}
