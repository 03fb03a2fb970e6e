package attest_test

import (
	"bytes"
	"testing"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/fault"
	"rebuild/store"
)

// A policy that has verified a chain takes its beginnings without verifying
// each leaf again, and nothing else: what it refuses when it is new it refuses
// for the same reason then.
func TestChainSeenBefore(t *testing.T) {
	t.Parallel()
	w := loggedWorld(t)
	logAll(w, w.Statements(), "east", "north", "west")
	plan, events := w.Plan.Digest(), w.Log.Events(w.Chain())
	checkpoint := w.Log.Checkpoint(attesttest.Cosigned, "w1")
	lines := bytes.SplitAfter(events, []byte("\n"))
	lines = lines[:len(lines)-1]
	proof := func(line int, checkpoint []byte) []byte { // the log begins with a leaf of another chain
		return w.Log.Proof(int64(len(w.Log.Leaves)-len(lines)+line), checkpoint)
	}
	seen := w.LoadPolicy()
	whole, err := attest.OpenChain(seen, plan, events, proof(len(lines)-1, checkpoint))
	must(t, err)
	if whole.Digest() != store.DigestOf(events) {
		t.Error("the chain has another digest than its events")
	}
	last := proof(len(lines)-1, checkpoint)
	second := bytes.Join(lines[:2], nil)
	changed := bytes.Replace(second, []byte(`"type":"statement"`), []byte(`"type":"statemend"`), 1)
	for name, c := range map[string]struct {
		plan          store.Digest
		events, proof []byte
	}{
		"whole":              {plan, events, last},
		"one leaf":           {plan, lines[0], proof(0, checkpoint)},
		"two leaves":         {plan, second, proof(1, checkpoint)},
		"another leaf":       {plan, second, proof(0, checkpoint)},
		"proof of the whole": {plan, second, last},
		"changed":            {plan, changed, proof(1, checkpoint)},
		"changed, whole":     {plan, append(bytes.Clone(changed), bytes.Join(lines[2:], nil)...), last},
		"cut in a line":      {plan, events[:len(lines[0])+10], proof(1, checkpoint)},
		"without line feed":  {plan, second[:len(second)-1], proof(1, checkpoint)},
		"nothing":            {plan, nil, last},
		"another plan":       {store.DigestOf([]byte("another")), events, last},
		"longer":             {plan, append(bytes.Clone(events), lines[1]...), last},
		"no proof":           {plan, second, nil},
		"unwitnessed":        {plan, second, proof(1, w.Log.Checkpoint(attesttest.Cosigned))},
		"stale":              {plan, second, proof(1, w.Log.Checkpoint(attesttest.LogStart.Add(-attesttest.Now.Sub(attesttest.LogStart)), "w1"))},
		"changed checkpoint": {plan, second, proof(1, append(bytes.Clone(checkpoint[:len(checkpoint)-6]), "AAAA=\n"...))},
	} {
		want, wantErr := attest.OpenChain(w.LoadPolicy(), c.plan, c.events, c.proof)
		got, err := attest.OpenChain(seen, c.plan, c.events, c.proof)
		if fault.CodeOf(err) != fault.CodeOf(wantErr) || err != nil && err.Error() != wantErr.Error() {
			t.Errorf("%s: %v, by a new policy %v", name, err, wantErr)
			continue
		}
		if err == nil && (got.Seq() != want.Seq() || got.Digest() != want.Digest() || got.Origin() != want.Origin()) {
			t.Errorf("%s: leaf %d of %s, by a new policy leaf %d of %s", name, got.Seq(), got.Digest(), want.Seq(), want.Digest())
		}
	}
	// What the caller does with its bytes later changes nothing.
	want := bytes.Clone(events)
	events[len(lines[0])+40] ^= 1
	if _, err := attest.OpenChain(seen, plan, events, last); err == nil {
		t.Error("a changed leaf was accepted, as the same memory was verified before")
	}
	if _, err := attest.OpenChain(seen, plan, want, last); err != nil {
		t.Error(err)
	}
}
