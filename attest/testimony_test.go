package attest_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/fault"
	"rebuild/store"
)

// reportingDissent is a policy under which a dissent does not block.
const reportingDissent = "[dissent]\non = \"report\"\n"

// dissenting is a release in whose evidence west got another program.
func dissenting(t *testing.T) (*attesttest.World, *attesttest.Released, store.Digest) {
	t.Helper()
	w := attesttest.New(t)
	w.PolicyTOML = attesttest.Policy(reportingDissent)
	other := w.Stage("hello", []store.File{{Path: "hello", Mode: 0o755, Data: []byte("something else")}})
	west := w.Statement("west", func(r *attest.Result) { r.Stages[1] = other })
	statements := [][]byte{w.Statement("east", nil), w.Statement("north", nil), west}
	return w, w.Release(statements, nil, attesttest.PackageTOML, []string{"r1"}, []string{"r1", "r2"}), other.Manifest
}

func sums(t *testing.T, w *attesttest.World, r *attesttest.Released) []attest.Sums {
	t.Helper()
	signed, all, err := attest.Testimonies(w.LoadPolicy(), r.Bundle, attesttest.Now)
	if err != nil {
		t.Fatal(err)
	}
	release := signed.Release()
	out, err := attest.SumsOf(&release, all, r.Bundle.Objects)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Operators who agree must give the same bytes, or agreement would not show in
// a diff, and the lines must be the hashes of the released files.
func TestSumsOfThoseWhoAgree(t *testing.T) {
	w := attesttest.New(t)
	all := sums(t, w, w.Honest())
	if len(all) != 3 || all[0].Operator != "east" || all[2].Operator != "west" {
		t.Fatalf("%d operators, want east, north and west", len(all))
	}
	for _, s := range all {
		if !bytes.Equal(s.Text, all[0].Text) {
			t.Errorf("%s says\n%s\nwant\n%s", s.Operator, s.Text, all[0].Text)
		}
	}
	lines := strings.Split(strings.TrimSuffix(string(all[0].Text), "\n"), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines, want manifest, config and layer:\n%s", len(lines), all[0].Text)
	}
	for _, line := range lines {
		hex, name, _ := strings.Cut(line, "  ")
		content, err := os.ReadFile(filepath.Join(w.Store.Dir(), strings.TrimPrefix(name, "image/")))
		if err != nil || store.DigestOf(content).Hex() != hex {
			t.Errorf("%s is not what the store has (%v)", line, err)
		}
	}
}

// A dissent that the policy lets pass must not disappear on the way out, and
// must fail for who checks the released files with it.
func TestSumsOfADissent(t *testing.T) {
	w, r, other := dissenting(t)
	all := sums(t, w, r)
	if len(all) != 3 {
		t.Fatalf("%d operators, want 3", len(all))
	}
	want := fmt.Sprintf("%s  image/blobs/sha256/%s\n", other.Hex(), w.Stages[1].Manifest.Hex())
	if string(all[2].Text) != want {
		t.Errorf("west says\n%s\nwant\n%s", all[2].Text, want)
	}
	if len(all[2].Statements) != 1 || all[2].Statements[0].Names(w.Stages[1].Manifest) || !all[2].Statements[0].Names(other) {
		t.Error("west's statement is not about what west built")
	}
}

// Who contradicts itself says two things of one file, and neither is chosen.
func TestSumsOfSelfContradiction(t *testing.T) {
	w := attesttest.New(t)
	w.PolicyTOML = attesttest.Policy(reportingDissent)
	other := w.Stage("hello", []store.File{{Path: "hello", Mode: 0o755, Data: []byte("something else")}})
	again := w.Statement("west", func(r *attest.Result) { r.Stages[1], r.Nonce = other, strings.Repeat("0", 64) })
	r := w.Release(append(w.Statements(), again), nil, attesttest.PackageTOML, []string{"r1"}, []string{"r1", "r2"})
	all := sums(t, w, r)
	lines := strings.Count(string(all[2].Text), "\n")
	both := strings.Count(string(all[2].Text), "  image/blobs/sha256/"+w.Stages[1].Manifest.Hex()+"\n")
	if lines != 4 || both != 2 || len(all[2].Statements) != 2 {
		t.Errorf("%d lines, %d about the manifest, %d statements; want 4, 2, 2:\n%s", lines, both, len(all[2].Statements), all[2].Text)
	}
}

// Nothing is known of an outsider, so nothing is handed on under a name.
func TestTestimoniesLeaveOutsidersOut(t *testing.T) {
	w := attesttest.New(t)
	r := w.Honest()
	payload, err := attest.NewResultStatement(w.Plan, w.Result("north", nil))
	if err != nil {
		t.Fatal(err)
	}
	r.Bundle.Builds[0].Statements = append(r.Bundle.Builds[0].Statements, w.Sign(append(payload, ' '), "stranger"))
	_, all, err := attest.Testimonies(w.LoadPolicy(), r.Bundle, attesttest.Now)
	if err != nil || len(all) != 3 {
		t.Fatalf("%d testimonies, want 3 (%v)", len(all), err)
	}
}

// Testimonies of a bundle that does not verify must not come out at all.
func TestTestimoniesVerifyFirst(t *testing.T) {
	w := attesttest.New(t)
	r := w.Honest()
	r.Bundle.Builds[0].Statements = r.Bundle.Builds[0].Statements[:2]
	_, all, err := attest.Testimonies(w.LoadPolicy(), r.Bundle, attesttest.Now)
	if fault.CodeOf(err) != fault.EvidenceMismatch || all != nil {
		t.Fatalf("%d testimonies, error %v; want EVIDENCE_MISMATCH", len(all), err)
	}
}

func TestSumsNeedTheManifest(t *testing.T) {
	w := attesttest.New(t)
	r := w.Honest()
	signed, all, err := attest.Testimonies(w.LoadPolicy(), r.Bundle, attesttest.Now)
	if err != nil {
		t.Fatal(err)
	}
	release := signed.Release()
	if _, err := attest.SumsOf(&release, all, nil); fault.CodeOf(err) != fault.EvidenceMismatch {
		t.Fatalf("got %v, want EVIDENCE_MISMATCH", err)
	}
}

// What a statement says of itself decides where it is filed before anybody has
// verified it, so it must be a name and a digest and nothing else.
func TestReadClaim(t *testing.T) {
	w := attesttest.New(t)
	result, err := attest.NewResultStatement(w.Plan, w.Result("north", nil))
	must(t, err)
	provenance, err := attest.NewProvenanceStatement(w.Plan, result)
	must(t, err)
	for _, payload := range [][]byte{result, provenance} {
		want := attest.Claim{Statement: store.DigestOf(payload), Plan: w.Plan.Digest(), Operator: "north"}
		if got, err := attest.ReadClaim(w.Sign(payload, "stranger")); err != nil || got != want {
			t.Errorf("got %+v (%v), want %+v", got, err, want)
		}
		for name, edit := range map[string][2]string{
			"a path":          {"north", "../north"},
			"no operator":     {"north", ""},
			"in capitals":     {"north", "North"},
			"another type":    {`"predicateType":"`, `"predicateType":"x`},
			"a digest's path": {string(w.Plan.Digest()), "sha256:../../x"},
			"no plan":         {string(w.Plan.Digest()), ""},
			"no JSON":         {"{", ""},
		} {
			_, err := attest.ReadClaim(w.Sign(bytes.ReplaceAll(payload, []byte(edit[0]), []byte(edit[1])), "stranger"))
			if fault.CodeOf(err) != fault.Structure {
				t.Errorf("%s: %v, want STRUCTURE", name, err)
			}
		}
	}
	_, err = attest.ReadClaim([]byte("{}"))
	code(t, err, fault.Structure)
}
