package attest_test

import (
	"slices"
	"strings"
	"testing"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/fault"
	"rebuild/store"
)

func TestPublicationHoldsWhatItVerified(t *testing.T) {
	w := attesttest.New(t)
	r := w.Honest()
	p, err := attest.NewPublication(w.LoadPolicy(), r.Bundle, r.Package.Archive(), attesttest.Now)
	must(t, err)
	release := p.Release().Release()
	objects, envelopes := p.Objects(), p.Envelopes()
	for _, d := range []store.Digest{release.Package, release.Files, release.Lock, release.Builds[0].Plan, store.Digest("sha256:" + release.Cksum),
		release.Builds[0].Targets[0].Manifest} {
		if store.DigestOf(objects[d]) != d {
			t.Errorf("no object %s", d)
		}
	}
	for _, d := range append(release.Builds[0].Statements, p.Release().Digest()) {
		if e, err := attest.ParseEnvelope("e", envelopes[d]); err != nil || e.Digest() != d {
			t.Errorf("no envelope %s: %v", d, err)
		}
	}
	if !p.SignedBy(attesttest.Key("r2").Public()) || p.SignedBy(attesttest.Key("east").Public()) {
		t.Error("who signed is not known")
	}
	if owners, err := attest.OwnersOf(r.Bundle.Release); err != nil || !slices.Equal(owners, []attest.PublicKey{attesttest.Key("r1").Public()}) {
		t.Errorf("%v %v", owners, err)
	}
	if !slices.Equal(p.Release().Signers(), []string{"r1", "r2"}) || p.Document().Name != "hello" {
		t.Errorf("%v", p.Release().Signers())
	}
}

func TestPublicationRefuses(t *testing.T) {
	w := attesttest.New(t)
	r := w.Honest()
	other := w.Release(w.Statements(), nil, strings.Replace(attesttest.PackageTOML, "says hi", "says ho", 1), []string{"r1"}, []string{"r1", "r2"})
	_, err := attest.NewPublication(w.LoadPolicy(), r.Bundle, other.Package.Archive(), attesttest.Now)
	code(t, err, fault.CksumMismatch)
	unsigned := *r.Bundle
	unsigned.Release = w.Sign(r.Payload, "r1")
	_, err = attest.NewPublication(w.LoadPolicy(), &unsigned, r.Package.Archive(), attesttest.Now)
	code(t, err, fault.SignatureInvalid)
	_, err = attest.OwnersOf([]byte("junk"))
	code(t, err, fault.Parse)
}

// Signers who sign another description of an archive than the archive has are
// found out when the archive is at hand.
func TestArchiveIsBoundToTheRelease(t *testing.T) {
	w := attesttest.New(t)
	r := w.Honest()
	for name, c := range map[string]struct {
		spoil func(p object)
		code  fault.Code
	}{
		"name":    {func(p object) { p["name"] = "other" }, fault.EvidenceMismatch},
		"version": {func(p object) { p["version"] = "9.0.0" }, fault.EvidenceMismatch},
		"package": {func(p object) { p["package"] = otherDigest }, fault.EvidenceMismatch},
		"files":   {func(p object) { p["files"] = otherDigest }, fault.EvidenceMismatch},
		"exports": {func(p object) { p["exports"] = otherDigest }, fault.EvidenceMismatch},
		"cksum":   {func(p object) { p["cksum"] = otherDigest[7:] }, fault.CksumMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			b := *r.Bundle
			b.Release = []byte(respoil(w, r.Payload, c.spoil))
			_, err := attest.Verify(w.LoadPolicy(), &b, attest.Expect{}, attesttest.Now)
			must(t, err)
			_, err = attest.Verify(w.LoadPolicy(), &b, attest.Expect{Archives: [][]byte{r.Package.Archive()}}, attesttest.Now)
			code(t, err, c.code)
		})
	}
}

// Images of another form than ours are refused even if a quorum had voted for
// their manifests.
func TestVerifyLayoutRefusesForeignForms(t *testing.T) {
	for name, c := range map[string]struct {
		manifest string
		code     fault.Code
	}{
		"no json":    {`junk`, fault.Parse},
		"no layers":  {`{"config":{"digest":"sha256:00"},"layers":[]}`, fault.Structure},
		"two layers": {`{"layers":[{},{}]}`, fault.Structure},
		"no digests": {`{"config":{"digest":"../../etc/passwd"},"layers":[{"digest":"x"}]}`, fault.Structure},
		"no config":  {`{"config":{"digest":"` + otherDigest + `"},"layers":[{"digest":"` + otherDigest + `"}]}`, fault.FileMissing},
		"other tree": {"", fault.TreeMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			w := attesttest.New(t)
			manifest, err := w.Store.Read(w.Stages[0].Manifest, 1<<20) // of stage base, whose tree is another
			must(t, err)
			if c.manifest != "" {
				manifest = []byte(c.manifest)
			}
			if w.Stages[1].Manifest, err = w.Store.Put(manifest); err != nil {
				t.Fatal(err)
			}
			r := w.Honest()
			list(t, w.Store.Dir(), entry(w.Stages[1].Manifest, len(manifest)))
			_, err = attest.Verify(w.LoadPolicy(), r.Bundle, attest.Expect{Layouts: []string{w.Store.Dir()}}, attesttest.Now)
			code(t, err, c.code)
		})
	}
}

func TestPlanOrderAndLookup(t *testing.T) {
	w := attesttest.New(t)
	if got := w.Plan.Order(); !slices.Equal(got, []string{"base", "hello"}) {
		t.Error(got)
	}
	if s, ok := w.Plan.Stage("hello"); !ok || !slices.Equal(s.StageInputs(), []string{"base"}) {
		t.Errorf("%+v", s)
	}
	if _, ok := w.Plan.Stage("zzz"); ok || w.Plan.SeedBytes() != 271 {
		t.Error("a stage that is not there, or wrong seeds")
	}
	if (&attest.Plan{}).Digest() != "" {
		t.Error("an invalid plan has a digest")
	}
	// Names do not decide the order, inputs do.
	d := store.DigestOf(nil)
	stage := func(name string, inputs ...string) attest.PlanStage {
		return attest.PlanStage{Name: name, Containerfile: d, Exec: attest.ExecRebuild, Inputs: inputs, Export: "/"}
	}
	p := attest.Plan{Pipeline: "p", Platform: "linux/arm64/v8", SourceDateEpoch: 1, Targets: []string{"a"},
		Images: []attest.PlanImage{{Name: "debian", Digest: d}},
		Stages: []attest.PlanStage{stage("a", "stage/b", "stage/d"), stage("b", "stage/c"), stage("c", "image/debian"), stage("d", "stage/c")}}
	data, err := attest.EncodePlan(&p)
	must(t, err)
	read, err := attest.DecodePlan("plan.json", data)
	must(t, err)
	if got := read.Order(); !slices.Equal(got, []string{"c", "b", "d", "a"}) || read.Digest() != p.Digest() {
		t.Error(got)
	}
	p.Images[0].Digest = "latest"
	_, err = attest.EncodePlan(&p)
	code(t, err, fault.Structure)
}
