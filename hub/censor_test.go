package hub

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/index"
	"rebuild/internal/fault"
)

// under changes the policy, of the hub and of its index.
func under(change func(policy string) string) siteOption {
	return func(s *site, o *Options, _ *Service) {
		s.PolicyTOML = change(s.PolicyTOML)
		o.Policy = s.LoadPolicy()
		o.Index = s.writer(o.Origin != "")
	}
}

// writer opens the index beside the hub.
func (s *site) writer(logged bool) *index.Index {
	in := index.Writing{Policy: s.LoadPolicy(), Key: attesttest.Key("index"), Now: s.clock}
	if logged {
		in.LogKey, in.Log = attesttest.Key("log"), s.openLog
	}
	x, err := index.Open(s.dir, in)
	must(s.T, err)
	return x
}

// An operator whose keys have all ended keeps nobody else from being heard: a
// log dates what the others say.
func TestAnOperatorThatEndedSilencesNobody(t *testing.T) {
	s := newSite(t, true, under(func(policy string) string {
		key := attesttest.Key("west").Public().String()
		return strings.Replace(policy, fmt.Sprintf("{ key = %q }", key), fmt.Sprintf("{ key = %q, not_after = %q }", key, "2026-05-01T00:00:00Z"), 1)
	}))
	s.vote()
	answerOf[Written](t, s.ask("POST", "/statements", s.Statement("north", nil)), 201)
	s.refused(s.ask("POST", "/statements", s.Statement("west", nil)), 403, fault.KeyExpired)
	if ready := s.ask("GET", "/readyz", nil); ready.StatusCode != 200 {
		t.Errorf("%d %s", ready.StatusCode, ready.body)
	}
}

// Nobody files another operator's statement under a signature of its own, which
// would keep the author's from being entered.
func TestNobodySpeaksForAnother(t *testing.T) {
	both(t, func(t *testing.T, logged bool) {
		s := newSite(t, logged, under(func(policy string) string {
			return policy + fmt.Sprintf("\n[operators.observer]\nkeys = [{ key = %q }]\n", attesttest.Key("observer").Public())
		}))
		s.vote()
		dissent := s.Statement("north", func(r *attest.Result) { r.Stages[1].Tree = r.Stages[0].Tree })
		s.refused(s.ask("POST", "/statements", s.resigned(dissent, "observer")), 403, fault.KeyUnknown)
		if answerOf[Written](t, s.ask("POST", "/statements", dissent), 201).Duplicate {
			t.Error("the author's own is not entered")
		}
	})
}

// No operator fills the chain of a plan, so that neither the others nor the
// release have room in it.
func TestNobodyFillsAChain(t *testing.T) {
	s := newSite(t, true)
	s.vote()
	var many [][]byte
	for i := range 257 {
		many = append(many, s.Statement("north", func(r *attest.Result) { r.Nonce = fmt.Sprintf("%064x", i) }))
	}
	x := s.writer(true)
	if _, err := x.AddStatements(t.Context(), s.PlanJSON, many); fault.CodeOf(err) != fault.Semantic {
		t.Fatalf("%v", err)
	}
	if _, err := x.AddStatements(t.Context(), s.PlanJSON, many[:256]); err != nil {
		t.Fatal(err)
	}
	s.refused(s.ask("POST", "/statements", many[256]), 400, fault.Semantic)
	answerOf[Written](t, s.ask("POST", "/statements", many[255]), 200)
	answerOf[Written](t, s.ask("POST", "/statements", s.Statement("east", nil)), 201)
	events := s.ask("GET", "/plans/"+string(s.Plan.Digest())+"/events", nil)
	if n := bytes.Count(events.body, []byte("\n")); n != 258 {
		t.Errorf("%d leaves", n)
	}
}
