package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/fault"
)

// scriptTB lets what is made for tests end a script.
type scriptTB struct {
	testing.TB
	ts *testscript.TestScript
}

func (t scriptTB) Helper()           {}
func (t scriptTB) Fatal(args ...any) { t.ts.Fatalf("%s", fmt.Sprint(args...)) }

// logged POLICY makes a policy want votes in a log that one witness of one has
// cosigned.
func logged(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: logged POLICY")
	}
	text := ts.ReadFile(args[0]) + attesttest.LogPolicy(1, "w1")
	text = strings.Replace(text, "\nversion = 1\n", "\nversion = 1\nrequire = { logged = true }\n", 1)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o644))
}

// writeLog is the command log WITNESS THING..., which writes the chain of the
// plan in results: its leaves are the plan and, in this order, the only
// statement of each operator, or the release in each file. The witness "-" is
// none.
func writeLog(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: log WITNESS THING...")
	}
	plan, _, err := readResults(ts.MkAbs("results"))
	ts.Check(err)
	chain := string(plan.Digest())
	l := attesttest.NewLog(scriptTB{ts: ts}, attesttest.Origin)
	l.Append(attest.Event{Chain: chain, Type: attest.EventPlan, Object: plan.Digest()})
	for _, thing := range args[1:] {
		l.Append(eventOf(ts, chain, thing))
	}
	var witnesses []string
	if args[0] != "-" {
		witnesses = args[:1]
	}
	proof := l.Proof(int64(len(l.Leaves)-1), l.Checkpoint(time.Now().Truncate(time.Second), witnesses...))
	folder := planFolder(ts.MkAbs("results"), plan)
	ts.Check(os.WriteFile(filepath.Join(folder, attest.EventsFile), l.Events(chain), 0o644))
	ts.Check(os.WriteFile(filepath.Join(folder, attest.ProofFile), proof, 0o644))
}

func eventOf(ts *testscript.TestScript, chain, thing string) attest.Event {
	kind, file := attest.EventRelease, ts.MkAbs(thing)
	var by attest.KeyID
	if !strings.HasSuffix(thing, ".json") {
		key, err := attest.ParsePublicKey(strings.TrimSpace(ts.ReadFile("keys/" + thing + ".pub")))
		ts.Check(err)
		kind, file, by = attest.EventStatement, statementFile(ts, []string{thing}), key.ID()
	}
	data, err := os.ReadFile(file)
	ts.Check(err)
	e, err := attest.ParseEnvelope(thing, data)
	ts.Check(err)
	return attest.Event{Chain: chain, Type: kind, Object: e.Digest(), By: by}
}

// forget OPERATOR removes the operator's only statement from results.
func forget(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(os.Remove(statementFile(ts, args)))
}

// revoke POLICY KEY SEQ revokes a key of a policy from a leaf on.
func revoke(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: revoke POLICY KEY SEQ")
	}
	key := `"` + strings.TrimSpace(ts.ReadFile(args[1])) + `"`
	text := strings.Replace(ts.ReadFile(args[0]), key, key+", revoked_from = "+args[2], 1)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o644))
}

// Before the evidence of a large bundle is read, its release is not refused for
// a key that may have counted at its leaf, and is for the signature of none.
func TestAdmitDoesNotJudgeTimes(t *testing.T) {
	w := attesttest.New(t).Logged()
	for _, name := range []string{"east", "north", "west"} {
		w.LogStatement(w.Statement(name, nil), name)
	}
	r := w.Honest()
	for _, name := range []string{"r1", "east", "north", "west"} {
		key := `"` + attesttest.Key(name).Public().String() + `"`
		w.PolicyTOML = strings.Replace(w.PolicyTOML, key, key+`, revoked_from = 6, not_after = "2026-06-01T10:00:00Z"`, 1)
	}
	policy := w.LoadPolicy()
	if err := admit(policy, r.Bundle.Release); err != nil {
		t.Error(err)
	}
	if _, err := attest.Verify(policy, r.Bundle, attest.Expect{}, attesttest.Now); err != nil {
		t.Error(err)
	}
	if err := admit(policy, w.Sign(r.Payload, "r1")); fault.CodeOf(err) != fault.SignatureInvalid {
		t.Error(err)
	}
	if err := admit(policy, w.Sign(r.Payload, "stranger")); fault.CodeOf(err) != fault.KeyUnknown {
		t.Error(err)
	}
}
