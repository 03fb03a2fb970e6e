package attest_test

import (
	"bytes"
	"slices"
	"testing"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/fault"
	"rebuild/store"
)

// flips calls try with every one-byte change of data: XOR 0x01, 0x20, 0x80. A
// short run takes a sample.
func flips(data []byte, try func(at int, mask byte, changed []byte)) {
	changed := bytes.Clone(data)
	step := 1
	if testing.Short() { // under the race detector every byte would take minutes
		step = 29
	}
	for at := 0; at < len(changed); at += step {
		for _, mask := range []byte{0x01, 0x20, 0x80} {
			changed[at] ^= mask
			try(at, mask, changed)
			changed[at] ^= mask
		}
	}
}

// An attacker who changes any byte of what a release consists of must be
// found, and the code must say what kind of thing is wrong.
func TestEveryFlippedByteOfAReleaseIsFound(t *testing.T) {
	t.Parallel()
	w := attesttest.New(t)
	r := w.Honest()
	policy := w.LoadPolicy()
	verify := func(b attest.Bundle) error {
		_, err := attest.Verify(policy, &b, attest.Expect{}, attesttest.Now)
		return err
	}
	must(t, verify(*r.Bundle))
	signed, _, err := attest.VerifyRelease(policy, r.Bundle, attesttest.Now)
	must(t, err)
	release := signed.Release()
	must(t, release.VerifyArchive(r.Package.Archive()))
	for name, c := range map[string]struct {
		data  []byte
		with  func(changed []byte) error
		codes []fault.Code
	}{
		"release": {r.Bundle.Release, func(changed []byte) error {
			b := *r.Bundle
			b.Release = changed
			return verify(b)
		}, []fault.Code{fault.Parse, fault.Structure, fault.SignatureInvalid}},
		"plan": {r.Bundle.Builds[0].Plan, func(changed []byte) error {
			b := *r.Bundle
			b.Builds = []attest.BuildEvidence{{Plan: changed, Statements: b.Builds[0].Statements}}
			return verify(b)
		}, []fault.Code{fault.EvidenceMismatch}},
		"lock": {r.Bundle.Lock, func(changed []byte) error {
			b := *r.Bundle
			b.Lock = changed
			return verify(b)
		}, []fault.Code{fault.EvidenceMismatch}},
		"manifest": {r.Bundle.Objects[0], func(changed []byte) error {
			b := *r.Bundle
			b.Objects = [][]byte{changed}
			return verify(b)
		}, []fault.Code{fault.EvidenceMismatch}},
		"archive": {r.Package.Archive(), func(changed []byte) error {
			return release.VerifyArchive(changed)
		}, []fault.Code{fault.CksumMismatch}},
	} {
		t.Run(name, func(t *testing.T) {
			flips(c.data, func(at int, mask byte, changed []byte) {
				if got := fault.CodeOf(c.with(changed)); !slices.Contains(c.codes, got) {
					t.Errorf("byte %d ^ %#x: %q", at, mask, got)
				}
			})
		})
	}
}

func TestEveryFlippedByteOfAStatementIsFound(t *testing.T) {
	t.Parallel()
	w := attesttest.New(t)
	r := w.Honest()
	policy := w.LoadPolicy()
	for i := range r.Bundle.Builds[0].Statements {
		flips(r.Bundle.Builds[0].Statements[i], func(at int, mask byte, changed []byte) {
			b := *r.Bundle
			statements := slices.Clone(b.Builds[0].Statements)
			statements[i] = changed
			b.Builds = []attest.BuildEvidence{{Plan: b.Builds[0].Plan, Statements: statements}}
			_, err := attest.Verify(policy, &b, attest.Expect{}, attesttest.Now)
			if got := fault.CodeOf(err); got != fault.EvidenceMismatch {
				t.Errorf("statement %d, byte %d ^ %#x: %q", i, at, mask, got)
			}
		})
	}
}

// The bundle as a file: whatever byte is hit, it no longer opens, or what it
// holds no longer verifies.
func TestEveryFlippedByteOfABundleIsFound(t *testing.T) {
	t.Parallel()
	w := attesttest.New(t)
	data, err := w.Honest().Bundle.Encode()
	must(t, err)
	policy := w.LoadPolicy()
	flips(data, func(at int, mask byte, changed []byte) {
		if mask != 0x01 && at%37 != 0 { // what the files hold is flipped in full above
			return
		}
		b, err := attest.OpenBundle("b", changed)
		if err == nil {
			_, err = attest.Verify(policy, b, attest.Expect{}, attesttest.Now)
		}
		if n := fault.CodeOf(err).Exit(); n != 11 && n != 12 && n != 31 {
			t.Errorf("byte %d ^ %#x: %v", at, mask, err)
		}
	})
}

// A package whose archive is not compared by its cksum still can not be
// changed in its content, only in nothing at all.
func TestEveryFlippedByteOfAnArchiveIsFoundInside(t *testing.T) {
	t.Parallel()
	archive := attesttest.New(t).Honest().Package.Archive()
	flips(archive, func(at int, mask byte, changed []byte) {
		p, err := attest.OpenPackage("a", changed)
		if err == nil && (p.Document().Name != "hello" || !bytes.Equal(p.Archive(), changed)) {
			t.Errorf("byte %d ^ %#x: %+v", at, mask, p.Document())
		}
		if n := fault.CodeOf(err).Exit(); err != nil && n != 12 && n != 13 && n != 30 && n != 31 && n != 32 {
			t.Errorf("byte %d ^ %#x: %v", at, mask, err)
		}
	})
}

// The policy is the trust root, so a changed one can only be noticed by what
// it no longer fits: it does not load, or judges by another digest.
func TestEveryFlippedByteOfAPolicyIsNoticed(t *testing.T) {
	t.Parallel()
	w := attesttest.New(t)
	r := w.Honest()
	honest := w.LoadPolicy().Digest()
	flips([]byte(w.PolicyTOML), func(at int, mask byte, changed []byte) {
		p, err := attest.LoadPolicy("policy.toml", changed)
		if err != nil {
			return
		}
		a, err := attest.Verify(p, r.Bundle, attest.Expect{}, attesttest.Now)
		if err == nil && a.Policy.Named && p.Digest() != honest {
			t.Errorf("byte %d ^ %#x passed unnoticed", at, mask)
		}
		if err == nil && !a.Policy.Named && !bytes.Contains([]byte(a.Notes[0]), []byte("the release names "+string(honest))) {
			t.Errorf("byte %d ^ %#x: the account does not say that the policy differs: %q", at, mask, a.Notes)
		}
	})
	if store.DigestOf([]byte(w.PolicyTOML)) == honest {
		t.Error("the digest of a policy is of its image, not of its text")
	}
}
