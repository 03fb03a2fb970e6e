package index

import (
	"context"
	"errors"
	"io/fs"

	"rebuild/attest"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// Entered is what became of a statement.
type Entered struct {
	Event     attest.Event
	Duplicate bool // it was in the log before
}

// AddStatement is [Index.AddStatements] of one.
func (x *Index) AddStatement(ctx context.Context, plan, envelope []byte) (attest.Event, bool, error) {
	all, err := x.AddStatements(ctx, plan, [][]byte{envelope})
	if err != nil {
		return attest.Event{}, false, err
	}
	return all[0].Event, all[0].Duplicate, nil
}

// AddStatements logs statements about a plan, the plan before them if it is
// new, and keeps all of it. It is all of them or none: one that is not signed
// by a key of the operator that it names is KEY_UNKNOWN, one with a wrong
// signature SIGNATURE_INVALID, one about another plan EVIDENCE_MISMATCH, and
// one that no verdict would hear is refused with what is wrong with it.
//
// What a statement says is not judged: a dissent is logged like a vote, and
// can not be taken back.
func (x *Index) AddStatements(ctx context.Context, plan []byte, envelopes [][]byte) ([]Entered, error) {
	parsed, err := attest.DecodePlan("plan", plan)
	if err != nil {
		return nil, err
	}
	if err := x.needPolicy(); err != nil {
		return nil, err
	}
	var out []Entered
	err = x.turn(ctx, nil, func(t *turn) error {
		if t.config.Log == nil {
			return fault.New(fault.Usage, "index %s has no log to enter statements in", x.dir).
				WithHint("make one with: rebuild index init --log-key FILE")
		}
		p, err := t.begin()
		if err != nil {
			return err
		}
		if out, err = p.statements(ctx, parsed, plan, envelopes); err != nil || len(p.leaves) == 0 {
			return err
		}
		return p.commit(ctx)
	})
	return out, err
}

// MaxStatementsOfKey is how much one key may say about one plan. A chain has an
// end, and whoever judges it reads it all: no operator alone may fill it, so that
// neither the others' statements nor the release would have room.
const MaxStatementsOfKey = 256

func (p *publication) statements(ctx context.Context, plan *attest.Plan, planJSON []byte, envelopes [][]byte) ([]Entered, error) {
	known, err := p.t.x.evidence(ctx, p.t, plan.Digest())
	if err != nil {
		return nil, err
	}
	by, err := p.t.x.signedBy(plan, unionOf(known.Statements, envelopes), envelopes, p)
	if err != nil {
		return nil, err
	}
	if err := p.logPlan(ctx, planJSON); err != nil {
		return nil, err
	}
	var out []Entered
	for i, raw := range envelopes {
		e, err := attest.ParseEnvelope("statement", raw)
		if err != nil {
			return nil, err
		}
		c, err := p.chain(ctx, string(plan.Digest()))
		if err != nil {
			return nil, err
		}
		if there, twice := c.find(attest.EventStatement, e.Digest()); twice {
			out = append(out, Entered{there, true})
			continue
		}
		if n := c.count(attest.EventStatement, by[i]); n >= MaxStatementsOfKey {
			return nil, fault.New(fault.Semantic, "key %s has signed %d statements about plan %s, at most %d are logged", by[i], n, plan.Digest(), MaxStatementsOfKey)
		}
		p.content[statementPath(e.Digest())] = raw
		event, err := p.log(ctx, attest.Event{Chain: string(plan.Digest()), Type: attest.EventStatement, Object: e.Digest(), By: by[i]})
		if err != nil {
			return nil, err
		}
		out = append(out, Entered{event, false})
	}
	return out, nil
}

// signedBy returns the id of the operator's key that signed each of envelopes.
// all are the statements about the plan that there are then: a provenance is
// only heard beside its result.
func (x *Index) signedBy(plan *attest.Plan, all, envelopes [][]byte, p *publication) ([]attest.KeyID, error) {
	heard, err := attest.Hear(x.in.Policy, plan, all, true, p.at)
	if err != nil {
		return nil, err
	}
	accounts := map[store.Digest]attest.StatementAccount{}
	for _, a := range heard {
		accounts[a.Statement] = a
	}
	keys := x.in.Policy.OperatorKeys()
	var out []attest.KeyID
	for _, raw := range envelopes {
		e, err := attest.ParseEnvelope("statement", raw)
		if err != nil {
			return nil, err
		}
		signed, err := e.Verify(keys)
		if err != nil {
			return nil, err
		}
		claim, err := attest.ReadClaim(raw)
		if err != nil {
			return nil, err
		}
		if claim.Plan != plan.Digest() {
			return nil, fault.New(fault.EvidenceMismatch, "statement %s is about plan %s, not %s", e.Digest(), claim.Plan, plan.Digest())
		}
		switch a := accounts[e.Digest()]; a.Status {
		case attest.StatusRefused:
			return nil, fault.New(a.Code, "statement %s: %s", e.Digest(), a.Why)
		case attest.StatusVoid:
			return nil, fault.New(fault.KeyExpired, "statement %s: %s", e.Digest(), a.Why)
		}
		// A leaf commits to who signed. With another's signature a statement
		// would be in the log, and its author's own could not enter any more.
		if by, _ := x.in.Policy.OperatorOf(signed.By()[0]); by != claim.Operator {
			return nil, fault.New(fault.KeyUnknown, "statement %s is of operator %s, and %s has signed it", e.Digest(), claim.Operator, by)
		}
		out = append(out, signed.By()[0].ID())
	}
	return out, nil
}

// Evidence returns what the log has about a plan: the plan, its statements,
// its chain and the proof of that under the head. A plan that is not in the
// log is INDEX_NO_MATCH.
func (x *Index) Evidence(ctx context.Context, plan store.Digest) (attest.BuildEvidence, error) {
	t, err := x.look(ctx)
	if err != nil {
		return attest.BuildEvidence{}, err
	}
	b, err := x.evidence(ctx, t, plan)
	if err == nil && b.Plan == nil {
		err = fault.New(fault.IndexNoMatch, "plan %s is not in the log of %s", plan, x.dir).WithHint("enter its results with: rebuild index add")
	}
	return b, err
}

// evidence is [Index.Evidence], empty for a plan that is not in the log.
func (x *Index) evidence(ctx context.Context, t *turn, plan store.Digest) (attest.BuildEvidence, error) {
	return x.evidenceUntil(ctx, t, plan, nil)
}

// evidenceUntil returns the evidence through a leaf; nil is the last one.
func (x *Index) evidenceUntil(ctx context.Context, t *turn, plan store.Digest, seq *int64) (attest.BuildEvidence, error) {
	var b attest.BuildEvidence
	if t.tip == nil {
		return b, nil
	}
	c, err := x.readChain(string(plan))
	if err != nil {
		return b, err
	}
	end := t.tip.checkpoint.Size // a publication may be going on
	if seq != nil {
		end = min(end, *seq+1)
	}
	if c = c.cut(end); len(c.events) == 0 {
		return b, nil
	}
	last := len(c.events) - 1
	proof, err := proveIs(ctx, x.src, t.tip.checkpoint, c.events[last].Seq, c.lines[last])
	if err != nil {
		return b, err
	}
	if b.Plan, err = x.object(plan, document.Plan.MaxBytes); err != nil {
		return b, err
	}
	for _, e := range c.events {
		if e.Type != attest.EventStatement {
			continue
		}
		s, err := x.statement(e.Object)
		if err != nil {
			return b, err
		}
		b.Statements = append(b.Statements, s.Bytes())
	}
	b.Events, b.Proof = c.raw, attest.EncodeProof(c.events[last].Seq, proof, t.tip.checkpoint.Note)
	return b, nil
}

// object returns an object by its digest.
func (x *Index) object(d store.Digest, limit int64) ([]byte, error) {
	data, err := x.read(objectPath(d), limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.FileMissing, "the index has no object %s", d)
	}
	if err == nil && store.DigestOf(data) != d {
		err = fault.New(fault.CksumMismatch, "%s has content %s", objectPath(d), store.DigestOf(data))
	}
	return data, err
}

// Released completes the bundle of a release that is in the log: the chain of
// each of its plans ends with the release's leaf, which is proven under the
// head of now. A release that names no log is complete as it is.
func (x *Index) Released(ctx context.Context, b *attest.Bundle) (*attest.Bundle, error) {
	envelope, err := attest.ParseEnvelope("release", b.Release)
	if err != nil {
		return nil, err
	}
	r, err := attest.ReadRelease(x.in.Policy, envelope)
	if err != nil || r.LogOrigin == "" {
		return b, err
	}
	t, err := x.look(ctx)
	if err != nil {
		return nil, err
	}
	held, err := x.statement(envelope.Digest())
	if err != nil {
		return nil, err
	}
	out := &attest.Bundle{Release: held.Bytes(), Evidence: attest.Evidence{Lock: b.Lock, Objects: b.Objects}}
	for i, build := range r.Builds {
		c, err := x.readChain(string(build.Plan))
		if err != nil {
			return nil, err
		}
		leaf, found := c.find(attest.EventRelease, envelope.Digest())
		if !found {
			return nil, fault.New(fault.IndexNoMatch, "release %s is not in the chain of plan %s", envelope.Digest(), build.Plan)
		}
		ev, err := x.evidenceUntil(ctx, t, build.Plan, &leaf.Seq)
		if err != nil {
			return nil, err
		}
		if ev.Statements, err = x.listed(ev.Statements, &r.Builds[i]); err != nil {
			return nil, err
		}
		out.Builds = append(out.Builds, ev)
	}
	return out, nil
}

// listed adds the statements of a build that no leaf is about.
func (x *Index) listed(statements [][]byte, build *attest.ReleaseBuild) ([][]byte, error) {
	for _, d := range build.Statements {
		s, err := x.statement(d)
		if err != nil {
			return nil, err
		}
		statements = unionOf(statements, [][]byte{s.Bytes()})
	}
	return statements, nil
}
