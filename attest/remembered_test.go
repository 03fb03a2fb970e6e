package attest_test

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"

	"rebuild/attest"
	"rebuild/attest/attesttest"
)

// A signature that was verified says nothing about another key, message or
// signature, wherever one ends and the other begins.
func TestRememberedSignaturesAreOfWhatTheySigned(t *testing.T) {
	w := attesttest.New(t)
	p := w.LoadPolicy()
	key, other := attesttest.Key("r1"), attesttest.Key("r2").Public()
	message := bytes.Repeat([]byte("what was signed "), 40)
	sig, err := key.Sign(message)
	if err != nil {
		t.Fatal(err)
	}
	flip := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[at] ^= 1
		return b
	}
	for again := range 2 {
		if !p.VerifiesAgain(key.Public(), message, sig) || p.RememberedSignatures() != 1 {
			t.Fatalf("turn %d: a good signature is refused, or %d are remembered", again, p.RememberedSignatures())
		}
		for name, bad := range map[string]bool{
			"key":         p.VerifiesAgain(other, message, sig),
			"message":     p.VerifiesAgain(key.Public(), flip(message, 0), sig),
			"end":         p.VerifiesAgain(key.Public(), message[:len(message)-1], sig),
			"signature":   p.VerifiesAgain(key.Public(), message, flip(sig, 0)),
			"none":        p.VerifiesAgain(key.Public(), message, nil),
			"shorter":     p.VerifiesAgain(key.Public(), slices.Concat(sig[63:], message), sig[:63]),
			"longer":      p.VerifiesAgain(key.Public(), message[1:], slices.Concat(sig, message[:1])),
			"longer, 256": p.VerifiesAgain(key.Public(), message[256:], slices.Concat(sig, message[:256])),
		} {
			if bad {
				t.Errorf("turn %d: a wrong %s passes", again, name)
			}
		}
	}
	if p.RememberedSignatures() != 1 {
		t.Errorf("%d signatures are remembered", p.RememberedSignatures())
	}
}

// However many signatures there are, few are remembered, and all are right.
func TestFewSignaturesAreRemembered(t *testing.T) {
	p := attesttest.New(t).LoadPolicy()
	key := attesttest.Key("r1")
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 1500 {
				message := fmt.Appendf(nil, "%d %d", worker, i)
				sig, err := key.Sign(message)
				if err != nil || !p.VerifiesAgain(key.Public(), message, sig) {
					t.Errorf("%s: %v", message, err)
				}
			}
		})
	}
	all.Wait()
	if n := p.RememberedSignatures(); n == 0 || n > 4096 {
		t.Errorf("%d are remembered", n)
	}
}

// What a release says is remembered by its payload: signatures are judged each
// time, and another payload is read.
func TestRememberedReleasesAreJudgedAgain(t *testing.T) {
	w := attesttest.New(t)
	p := w.LoadPolicy()
	r := w.Honest()
	good, err := attest.ParseEnvelope("release", r.Bundle.Release)
	if err != nil {
		t.Fatal(err)
	}
	first, err := attest.ReadRelease(p, good)
	if err != nil {
		t.Fatal(err)
	}
	for _, by := range [][]string{{"r1"}, {"r2"}, {"east", "north"}} {
		e, err := attest.ParseEnvelope("release", w.Sign(r.Payload, by...))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := attest.ReadRelease(p, e); err == nil {
			t.Errorf("signed by %v alone it passes", by)
		}
	}
	again, err := attest.ReadRelease(p, good)
	if err != nil || again.Snapshot != first.Snapshot {
		t.Errorf("%v, %v", again.Snapshot, err)
	}
	payload, err := attest.Forge(r.Payload, func(r *attest.Release) { r.PublishedAt = "2026-06-02T12:00:00Z" })
	if err != nil {
		t.Fatal(err)
	}
	e, err := attest.ParseEnvelope("release", w.Sign(payload, "r1", "r2"))
	if err != nil {
		t.Fatal(err)
	}
	if other, err := attest.ReadRelease(p, e); err != nil || other.PublishedAt == first.PublishedAt {
		t.Errorf("another release is of %s, %v", other.PublishedAt, err)
	}
}
