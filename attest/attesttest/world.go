// Package attesttest makes a small world for tests: a plan of two stages,
// three operators who agree, two release signers, one policy (2 of 3, 2 of
// 2), all with fixed keys and times, and a complete release made through the
// public API of package attest. Every byte is the same in every run.
package attesttest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
	"time"

	"rebuild/attest"
	"rebuild/store"
)

// Epoch is the source_date_epoch of everything.
const Epoch = 1

// Platform is that of the only build.
const Platform = "linux/amd64"

// PackageTOML is the metadata of the released package.
const PackageTOML = `schema_version = "rebuild.package@1.0.0"
name = "hello"
version = "0.1.0"
description = "says hi"
docs = "Run it."
license = "MIT"
meta = { rebuild_compat = ">=1.0.0" }
`

// Now is the time at which everything in the world is valid.
var Now = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// World is the small world. Change a copy of its fields to make a bad one.
type World struct {
	T          testing.TB
	Store      *store.Store
	Plan       *attest.Plan
	PlanJSON   []byte
	PolicyTOML string
	Stages     []attest.StageResult // what honest operators build
	HelloFiles []store.File         // content of the target
	Log        *Log                 // nil: nothing is logged
	Depends    []attest.Dependency  // what releases pin
}

// Key returns the key of a name; equal names have equal keys.
func Key(name string) *attest.PrivateKey {
	seed := sha256.Sum256([]byte("attesttest " + name))
	k, err := attest.NewPrivateKey(bytes.NewReader(seed[:]))
	if err != nil {
		panic(err)
	}
	return k
}

// New makes the world.
func New(t testing.TB) *World {
	t.Helper()
	s, err := store.Open(t.TempDir())
	must(t, err)
	w := &World{T: t, Store: s, PolicyTOML: Policy("")}
	w.HelloFiles = []store.File{
		{Path: "bin", Type: store.Dir, Mode: 0o755},
		{Path: "bin/hello", Mode: 0o755, Data: []byte("#!/bin/sh\necho hi\n")},
		{Path: "bin/hi", Type: store.Symlink, Mode: 0o777, Target: "hello"},
		{Path: "share/hello.txt", Mode: 0o644, Data: []byte("hi\n")},
	}
	w.Stages = []attest.StageResult{
		w.Stage("base", []store.File{{Path: "bin/sh", Mode: 0o755, Data: []byte("shell")}}),
		w.Stage("hello", w.HelloFiles),
	}
	w.Plan = &attest.Plan{
		Pipeline: "demo", Platform: Platform, SourceDateEpoch: Epoch,
		Seeds:   []attest.PlanSeed{{Name: "hex0", Digest: store.DigestOf([]byte("seed")), Size: 271}},
		Sources: []attest.PlanSource{{Name: "hello", Digest: store.DigestOf([]byte("source")), Size: 6, Unpack: attest.UnpackTar}},
		Stages: []attest.PlanStage{
			{Name: "base", Containerfile: store.DigestOf([]byte("FROM scratch")), Exec: attest.ExecRebuild, Inputs: []string{"seed/hex0"}, Export: "/"},
			{Name: "hello", Containerfile: store.DigestOf([]byte("FROM stage/base")), Exec: attest.ExecRebuild,
				Inputs: []string{"source/hello", "stage/base"}, Export: "/out"},
		},
		Targets: []string{"hello"},
	}
	w.PlanJSON, err = attest.EncodePlan(w.Plan)
	must(t, err)
	w.Plan, err = attest.DecodePlan("plan.json", w.PlanJSON)
	must(t, err)
	return w
}

// Stage stores files as the output of a stage.
func (w *World) Stage(name string, files []store.File) attest.StageResult {
	w.T.Helper()
	layer, err := w.Store.PutFiles(files, Epoch)
	must(w.T, err)
	manifest, err := w.Store.PutImage(layer, Platform, store.ImageConfig{})
	must(w.T, err)
	return attest.StageResult{Name: name, Origin: attest.OriginBuilt, Tree: layer.Tree, Manifest: manifest}
}

// Policy returns policy.toml: operators north, east and west of whom two must
// agree, signers r1 and r2 who both sign. extra is added at its end.
func Policy(extra string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `schema_version = "rebuild.policy@1.0.0"
name = "demo"
version = 1
expires = "2027-06-30T00:00:00Z"
quorum = "main"
root = { need = 1, keys = ["%s"] }
signers = { need = 2, keys = [{ name = "r1", key = "%s" }, { name = "r2", key = "%s" }] }
index = { keys = [{ key = "%s" }] }
groups.main = { need = 2, of = ["east", "north", "west"] }
`, Key("root").Public(), Key("r1").Public(), Key("r2").Public(), Key("index").Public())
	for _, name := range []string{"east", "north", "west"} {
		fmt.Fprintf(&b, "[operators.%s]\nkeys = [{ key = \"%s\" }]\n", name, Key(name).Public())
	}
	return b.String() + extra
}

// LoadPolicy loads the world's policy.
func (w *World) LoadPolicy() *attest.Policy {
	w.T.Helper()
	p, err := attest.LoadPolicy("policy.toml", []byte(w.PolicyTOML))
	must(w.T, err)
	return p
}

// Result returns an honest result of an operator. edit, if any, may spoil it.
func (w *World) Result(operator string, edit func(*attest.Result)) attest.Result {
	nonce := sha256.Sum256([]byte("nonce " + operator))
	r := attest.Result{
		Operator: operator, Outcome: attest.OutcomeBuilt, Nonce: fmt.Sprintf("%x", nonce), Hermetic: true,
		Stages:      append([]attest.StageResult(nil), w.Stages...),
		Repeat:      &attest.Repeat{Runs: 2, Varied: []string{"cpus"}, Equal: true},
		Lineage:     &attest.Lineage{Executables: 2},
		Environment: attest.Environment{Engine: "buildkit", Kernel: "6." + operator, CPUVendor: "vendor of " + operator},
		StartedAt:   "2026-05-01T00:00:00Z", FinishedAt: "2026-05-01T00:10:00Z",
	}
	if edit != nil {
		edit(&r)
	}
	return r
}

// Statement returns the signed statement of [World.Result].
func (w *World) Statement(operator string, edit func(*attest.Result)) []byte {
	w.T.Helper()
	payload, err := attest.NewResultStatement(w.Plan, w.Result(operator, edit))
	must(w.T, err)
	return w.Sign(payload, operator)
}

// Sign puts a payload into an envelope signed by the keys of names.
func (w *World) Sign(payload []byte, names ...string) []byte {
	w.T.Helper()
	out, err := attest.Sign(payload, signers(names)...)
	must(w.T, err)
	return out
}

func signers(names []string) []attest.Signer {
	var out []attest.Signer
	for _, n := range names {
		out = append(out, Key(n))
	}
	return out
}

// Statements returns the honest statements of all three operators.
func (w *World) Statements() [][]byte {
	w.T.Helper()
	var out [][]byte
	for _, name := range []string{"east", "north", "west"} {
		out = append(out, w.Statement(name, nil))
	}
	return out
}

// Released is a complete release.
type Released struct {
	Package *attest.Package
	Payload []byte
	Bundle  *attest.Bundle
}

// Release makes a release of the statements, owned by owners and signed by
// signers, through every step of the public API.
func (w *World) Release(statements [][]byte, waivers []attest.Waiver, packageTOML string, owners, by []string) *Released {
	w.T.Helper()
	policy := w.LoadPolicy()
	build := w.Evidence(statements)
	chain, err := build.Chain(policy)
	must(w.T, err)
	verdict, err := attest.Judge(policy, w.Plan, statements, chain, waivers, Now)
	must(w.T, err)
	met, err := verdict.Met()
	must(w.T, err)
	_, image, err := attest.LoadPackage("package.toml", []byte(packageTOML))
	must(w.T, err)
	pkg, err := attest.Pack(image, []attest.PayloadInput{{
		Platform: Platform, Target: "hello", Path: "linux-amd64/hello", Tree: w.Stages[1].Tree, Files: w.HelloFiles,
	}}, Epoch)
	must(w.T, err)
	manifest, err := w.Store.Read(w.Stages[1].Manifest, 1<<20)
	must(w.T, err)
	lock := []byte("a lock\n")
	var keys []attest.PublicKey
	for _, o := range owners {
		keys = append(keys, Key(o).Public())
	}
	payload, err := attest.Propose(attest.Proposal{
		Package: pkg, Builds: []*attest.Met{met}, Manifests: [][]byte{manifest}, Lock: lock, Owners: keys, Published: Now, Depends: w.Depends,
	})
	must(w.T, err)
	build.Statements = verdict.Envelopes()
	evidence := attest.Evidence{Builds: []attest.BuildEvidence{build}, Lock: lock, Objects: [][]byte{manifest}}
	envelope := payload
	for _, s := range signers(by) {
		envelope, err = attest.SignRelease(policy, envelope, evidence, Now, s)
		must(w.T, err)
	}
	if w.Log != nil {
		w.Log.Append(attest.Event{Chain: w.Chain(), Type: attest.EventRelease, Object: store.DigestOf(payload)})
		evidence.Builds = []attest.BuildEvidence{w.Evidence(build.Statements)}
	}
	return &Released{Package: pkg, Payload: payload, Bundle: &attest.Bundle{Release: envelope, Evidence: evidence}}
}

// Honest returns the release that everything agrees on, owned and signed by
// r1 and r2.
func (w *World) Honest() *Released {
	w.T.Helper()
	return w.Release(w.Statements(), nil, PackageTOML, []string{"r1"}, []string{"r1", "r2"})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
