package attest_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/fault"
	"rebuild/store"
)

// code fails the test unless err has the code.
func code(t *testing.T, err error, want fault.Code) {
	t.Helper()
	if got := fault.CodeOf(err); got != want {
		t.Fatalf("got %q (%v), want %q", got, err, want)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestVerifyHonestRelease(t *testing.T) {
	w := attesttest.New(t)
	r := w.Honest()
	list(t, w.Store.Dir(), entry(w.Stages[1].Manifest, size(t, w, w.Stages[1].Manifest)))
	data, err := r.Bundle.Encode()
	must(t, err)
	b, err := attest.OpenBundle("hello.rbundle", data)
	must(t, err)
	a, err := attest.Verify(w.LoadPolicy(), b, attest.Expect{
		Name: "hello", Version: "0.1.0", Archives: [][]byte{r.Package.Archive()}, Layouts: []string{w.Store.Dir()},
	}, attesttest.Now)
	must(t, err)
	if a.Word != attest.Reproducible || !a.Policy.Named || len(a.Compared) != 4 || !slices.Equal(a.Signers, []string{"r1", "r2"}) {
		t.Errorf("%+v", a)
	}
	text := strings.Join(a.Lines(), "\n")
	for _, want := range []string{
		"verified hello 0.1.0", "compared and equal: name, version, archive, image hello for linux/amd64",
		"hermetic yes, deterministic yes, reproduced yes, bootstrapped yes", "north: counted",
		"upstream source may still be wrong or malicious", "owner history not checked", "signers' word",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	plain, err := attest.Verify(w.LoadPolicy(), b, attest.Expect{}, attesttest.Now)
	must(t, err)
	if first := plain.Lines()[0]; !strings.Contains(first, "nothing at hand was compared") {
		t.Errorf("first line %q", first)
	}
}

// Statements that count for nothing are no secret: each gets a line.
func TestVerifyTellsOfEveryStatement(t *testing.T) {
	w := attesttest.New(t)
	dissent := w.Statement("west", func(r *attest.Result) { r.Stages[1] = w.Stage("hello", []store.File{{Path: "x", Mode: 0o644}}) })
	w.PolicyTOML = attesttest.Policy("[operators.south]\nkeys = [{ key = \"" + key64("south") + "\" }]\n")
	e, err := attest.ParseEnvelope("e", dissent)
	must(t, err)
	r := w.Release([][]byte{w.Statement("east", nil), w.Statement("north", nil), dissent}, []attest.Waiver{{Statement: e.Digest(), Reason: "broken disk"}},
		attesttest.PackageTOML, []string{"r1"}, []string{"r1", "r2"})
	r.Bundle.Builds[0].Statements = append(r.Bundle.Builds[0].Statements, w.Statement("south", nil), w.Sign([]byte("{}"), "stranger"),
		w.Sign([]byte("[]"), "west"), []byte("junk"), w.Sign(mustPayload(w, "west"), "west", "stranger"))
	a, err := attest.Verify(w.LoadPolicy(), r.Bundle, attest.Expect{}, attesttest.Now)
	must(t, err)
	if rest := attest.Unjudged(a.Builds[0].Statements); len(rest) != 6 || len(a.Builds[0].Statements) != 8 {
		t.Errorf("%d of %d statements were not judged", len(rest), len(a.Builds[0].Statements))
	}
	text := strings.Join(a.Lines(), "\n")
	for _, want := range []string{
		"  statement " + string(e.Digest()) + " of west: waived",
		" of south: outsider: operator south is not in the quorum",
		" of west: refused: ",
		"  statement " + string(store.DigestOf([]byte("junk"))) + ": refused: ",
		": refused: 2 signatures, a result has one",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

// A revoked key's statement is void, and the account says so.
func TestVerifyTellsOfVoidStatements(t *testing.T) {
	w := attesttest.New(t)
	w.PolicyTOML = strings.Replace(w.PolicyTOML, key64("west")+`"`, key64("west")+`", revoked_from = 0`, 1)
	r := w.Honest()
	a, err := attest.Verify(w.LoadPolicy(), r.Bundle, attest.Expect{}, attesttest.Now)
	must(t, err)
	if text := strings.Join(a.Lines(), "\n"); !strings.Contains(text, " of west: void: key ") {
		t.Error(text)
	}
}

// Trying every signature of a statement against every operator's key would
// let one file cost thousands of checks; a result has one signature.
func TestManySignaturesAreRefusedUnread(t *testing.T) {
	w := attesttest.New(t)
	many := edit(w.Statement("west", nil), func(o object) {
		var all []any
		for range attest.MaxSignatures {
			all = append(all, object{"sig": strangerSig(w, []byte("x"))})
		}
		o["signatures"] = all
	})
	v, err := attest.Judge(w.LoadPolicy(), w.Plan, [][]byte{many}, nil, nil, attesttest.Now)
	must(t, err)
	if s := v.Statements(); len(s) != 1 || s[0].Status != attest.StatusRefused || s[0].Code != fault.Structure || s[0].Operator != "" {
		t.Errorf("%+v", s)
	}
}

func TestVerifyWord(t *testing.T) {
	for name, c := range map[string]struct {
		edit func(*attest.Result)
		word string
	}{
		"lineage incomplete": {func(r *attest.Result) { r.Lineage.Untraced = 1 }, attest.RepeatableOnly},
		"no lineage":         {func(r *attest.Result) { r.Lineage = nil }, attest.RepeatableOnly},
		"one run":            {func(r *attest.Result) { r.Repeat.Runs = 1 }, attest.Unproven},
	} {
		t.Run(name, func(t *testing.T) {
			w := attesttest.New(t)
			r := w.Release([][]byte{w.Statement("east", c.edit), w.Statement("west", c.edit)}, nil, attesttest.PackageTOML,
				[]string{"r1"}, []string{"r1", "r2"})
			a, err := attest.Verify(w.LoadPolicy(), r.Bundle, attest.Expect{}, attesttest.Now)
			must(t, err)
			if a.Word != c.word {
				t.Errorf("got %s, want %s", a.Word, c.word)
			}
		})
	}
}

func TestVerifyExpectations(t *testing.T) {
	w := attesttest.New(t)
	r := w.Honest()
	other := w.Release(w.Statements(), nil, strings.Replace(attesttest.PackageTOML, "says hi", "says ho", 1), []string{"r1"}, []string{"r1", "r2"})
	empty, err := store.Open(t.TempDir())
	must(t, err)
	archive := r.Package.Archive()
	list(t, w.Store.Dir(), entry(w.Stages[1].Manifest, size(t, w, w.Stages[1].Manifest)))
	for name, c := range map[string]struct {
		expect attest.Expect
		code   fault.Code
	}{
		"other name":    {attest.Expect{Name: "hallo"}, fault.EvidenceMismatch},
		"other version": {attest.Expect{Name: "hello", Version: "0.1.1"}, fault.EvidenceMismatch},
		"bad version":   {attest.Expect{Version: "1"}, fault.Structure},
		"other archive": {attest.Expect{Archives: [][]byte{other.Package.Archive()}}, fault.CksumMismatch},
		"empty archive": {attest.Expect{Archives: [][]byte{{}}}, fault.CksumMismatch},
		"empty layout":  {attest.Expect{Layouts: []string{empty.Dir()}}, fault.EvidenceMismatch},
		// Each artefact is compared, not the last alone.
		"first archive": {attest.Expect{Archives: [][]byte{other.Package.Archive(), archive}}, fault.CksumMismatch},
		"last archive":  {attest.Expect{Archives: [][]byte{archive, other.Package.Archive()}}, fault.CksumMismatch},
		"first layout":  {attest.Expect{Layouts: []string{empty.Dir(), w.Store.Dir()}}, fault.EvidenceMismatch},
		"last layout":   {attest.Expect{Layouts: []string{w.Store.Dir(), empty.Dir()}}, fault.EvidenceMismatch},
		"no layout":     {attest.Expect{Layouts: []string{filepath.Join(t.TempDir(), "no")}}, fault.Usage},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := attest.Verify(w.LoadPolicy(), r.Bundle, c.expect, attesttest.Now)
			code(t, err, c.code)
		})
	}
}

// Every blob that a released image reaches is hashed again.
func TestVerifyLayoutFindsEveryDamagedBlob(t *testing.T) {
	w := attesttest.New(t)
	r := w.Honest()
	hello := w.Stages[1]
	list(t, w.Store.Dir(), entry(hello.Manifest, size(t, w, hello.Manifest)))
	image, err := w.Store.Image(hello.Manifest)
	must(t, err)
	config, err := store.ParseDigest(string(between(t, image.Raw, `"config":{"digest":"`, `"`)))
	must(t, err)
	for name, d := range map[string]store.Digest{"manifest": hello.Manifest, "config": config, "layer": image.Layer.Digest} {
		t.Run(name, func(t *testing.T) {
			path := w.Store.BlobPath(d)
			good, err := os.ReadFile(path)
			must(t, err)
			defer func() { must(t, os.WriteFile(path, good, 0o644)) }()
			must(t, os.Chmod(path, 0o644))
			bad := bytes.Clone(good)
			bad[len(bad)/2] ^= 1
			must(t, os.WriteFile(path, bad, 0o644))
			_, err = attest.Verify(w.LoadPolicy(), r.Bundle, attest.Expect{Layouts: []string{w.Store.Dir()}}, attesttest.Now)
			code(t, err, fault.CksumMismatch)
			must(t, os.WriteFile(path, append(bytes.Clone(good), 0), 0o644))
			_, err = attest.Verify(w.LoadPolicy(), r.Bundle, attest.Expect{Layouts: []string{w.Store.Dir()}}, attesttest.Now)
			code(t, err, fault.CksumMismatch)
			must(t, os.Remove(path))
			_, err = attest.Verify(w.LoadPolicy(), r.Bundle, attest.Expect{Layouts: []string{w.Store.Dir()}}, attesttest.Now)
			code(t, err, fault.FileMissing)
		})
	}
}

func between(t testing.TB, b []byte, from, to string) []byte {
	t.Helper()
	_, rest, ok := bytes.Cut(b, []byte(from))
	if !ok {
		t.Fatalf("no %q in %s", from, b)
	}
	out, _, _ := bytes.Cut(rest, []byte(to))
	return out
}

func TestOCIIndexIsThatOfTheStore(t *testing.T) {
	w := attesttest.New(t)
	index, err := w.Store.Index([]store.Digest{w.Stages[1].Manifest})
	must(t, err)
	if !bytes.Contains(w.Honest().Payload, []byte(`"oci_index":"`+string(index)+`"`)) {
		t.Errorf("the store's index %s is not in the release", index)
	}
}
