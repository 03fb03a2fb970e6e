package attest_test

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

func TestBundleRoundTrip(t *testing.T) {
	r := attesttest.New(t).Honest()
	data, err := r.Bundle.Encode()
	must(t, err)
	b, err := attest.OpenBundle("b", data)
	must(t, err)
	again, err := b.Encode()
	must(t, err)
	if !bytes.Equal(data, again) {
		t.Error("another form")
	}
	junk := *r.Bundle
	junk.Builds = []attest.BuildEvidence{{Plan: junk.Builds[0].Plan, Statements: append([][]byte{[]byte("junk")}, slices.Repeat(junk.Builds[0].Statements, 2)...)}}
	again, err = junk.Encode()
	must(t, err)
	if !bytes.Equal(data, again) {
		t.Error("junk and copies changed the bundle")
	}
	junk.Builds[0].Statements = append(junk.Builds[0].Statements, edit(junk.Builds[0].Statements[1], func(o object) { delete(sub(o, "signatures", 0), "keyid") }))
	_, err = junk.Encode()
	code(t, err, fault.EvidenceMismatch)
}

// A bundle holds its files, each under its name, in one form, and nothing
// else.
func TestOpenBundleRefuses(t *testing.T) {
	w := attesttest.New(t)
	r := w.Honest()
	good, err := r.Bundle.Encode()
	must(t, err)
	plan := store.DigestOf(w.PlanJSON).Hex()
	files := func(change func([]store.File) []store.File) []byte {
		var all []store.File
		tr := tar.NewReader(bytes.NewReader(good))
		for {
			h, err := tr.Next()
			if err != nil {
				break
			}
			if h.Typeflag == tar.TypeReg {
				var b bytes.Buffer
				_, err := b.ReadFrom(tr)
				must(t, err)
				all = append(all, store.File{Path: h.Name, Mode: 0o644, Data: b.Bytes()})
			}
		}
		var out bytes.Buffer
		_, err := store.WriteArchive(&out, change(all), 1)
		must(t, err)
		return out.Bytes()
	}
	add := func(path string, data []byte) []byte {
		return files(func(all []store.File) []store.File {
			return append(all, store.File{Path: path, Mode: 0o644, Data: data})
		})
	}
	without := func(prefix string) []byte {
		return files(func(all []store.File) []store.File {
			return slices.DeleteFunc(all, func(f store.File) bool { return strings.HasPrefix(f.Path, prefix) })
		})
	}
	var stdTar bytes.Buffer
	tw := tar.NewWriter(&stdTar)
	must(t, tw.WriteHeader(&tar.Header{Name: "release.dsse.json", Mode: 0o644, Size: int64(len(r.Bundle.Release))}))
	_, err = tw.Write(r.Bundle.Release)
	must(t, err)
	must(t, tw.Close())
	statement := w.Statement("west", func(r *attest.Result) { r.Nonce = strings.Repeat("7", 64) })
	e, err := attest.ParseEnvelope("e", statement)
	must(t, err)
	for name, c := range map[string]struct {
		data []byte
		code fault.Code
	}{
		"empty":                  {nil, fault.Structure},
		"no tar":                 {[]byte("junk"), fault.Parse},
		"cut":                    {good[:len(good)-512], fault.Parse},
		"more behind":            {append(slices.Clone(good), make([]byte, 512)...), fault.Parse},
		"another writer":         {stdTar.Bytes(), fault.Parse},
		"too large":              {make([]byte, attest.MaxBundle+1), fault.Parse},
		"no release":             {without("release"), fault.Structure},
		"no plan":                {without(plan + "/plan.json"), fault.EvidenceMismatch},
		"a policy":               {add("policy.toml", []byte(w.PolicyTOML)), fault.Structure},
		"an account":             {add("account.json", []byte("{}")), fault.Structure},
		"a path out":             {add("aa/statements/x.dsse.json", statement), fault.Structure},
		"statement, other name":  {add(plan+"/statements/"+plan+".dsse.json", statement), fault.EvidenceMismatch},
		"statement, no envelope": {add(plan+"/statements/"+plan+".dsse.json", []byte("{}")), fault.Structure},
		"plan, other name":       {add(strings.Repeat("0", 64)+"/plan.json", w.PlanJSON), fault.EvidenceMismatch},
		"object, other name":     {add("objects/sha256/"+plan, []byte("x")), fault.EvidenceMismatch},
		"object too large":       {add("objects/sha256/"+store.DigestOf(make([]byte, 4<<20+1)).Hex(), make([]byte, 4<<20+1)), fault.Parse},
		"release too large":      {files(func(all []store.File) []store.File { return enlarge(all, "release", 2<<20) }), fault.Parse},
		"executable file":        {files(func(all []store.File) []store.File { all[0].Mode = 0o755; return all }), fault.Parse},
		"empty folder": {files(func(all []store.File) []store.File {
			return append(all, store.File{Path: "x", Type: store.Dir, Mode: 0o755})
		}), fault.Parse},
		"link": {files(func(all []store.File) []store.File {
			return append(all, store.File{Path: "rebuild.lock2", Type: store.Symlink, Target: "/etc/passwd"})
		}), fault.Structure},
		"statements without a plan": {add(strings.Repeat("0", 64)+"/statements/"+e.Digest().Hex()+".dsse.json", statement), fault.EvidenceMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := attest.OpenBundle("b", c.data)
			code(t, err, c.code)
		})
	}
	// A statement that came later has a place: it is judged.
	b, err := attest.OpenBundle("b", add(plan+"/statements/"+e.Digest().Hex()+".dsse.json", statement))
	must(t, err)
	if len(b.Builds[0].Statements) != 4 {
		t.Errorf("%d statements", len(b.Builds[0].Statements))
	}
}

// Whoever judges a bundle looks at every statement in it, so their number is
// bounded when one is made; a bundle with more would be too large to be read.
func TestBundleHoldsSoManyStatements(t *testing.T) {
	w := attesttest.New(t)
	b := *w.Honest().Bundle
	statements := slices.Clone(b.Builds[0].Statements)
	for i := len(statements); i <= attest.MaxStatements; i++ {
		junk, err := document.Encode(object{"payload": base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "junk %d", i)),
			"payloadType": attest.PayloadType, "signatures": []object{{"sig": base64.StdEncoding.EncodeToString(make([]byte, 64))}}})
		must(t, err)
		statements = append(statements, junk)
	}
	b.Builds = []attest.BuildEvidence{{Plan: w.PlanJSON, Statements: statements}}
	_, err := b.Encode()
	code(t, err, fault.Semantic)
	if !strings.Contains(err.Error(), "at most 100000") {
		t.Error(err)
	}
	if attest.MaxBundle/(2*512) > attest.MaxStatements {
		t.Error("a bundle can hold more statements than are judged")
	}
}

// Whoever signed the release is asked before the evidence is kept, and after
// the form of all of it was checked.
func TestReadBundleAsksAboutTheRelease(t *testing.T) {
	r := attesttest.New(t).Honest()
	good, err := r.Bundle.Encode()
	must(t, err)
	refusal := fault.New(fault.SignatureInvalid, "a stranger's")
	asked := 0
	admit := func(release []byte) error {
		if asked++; !bytes.Equal(release, r.Bundle.Release) {
			t.Error("asked about something else")
		}
		return refusal
	}
	_, err = attest.ReadBundle("b", bytes.NewReader(good), int64(len(good)), admit)
	code(t, err, fault.SignatureInvalid)
	bad := slices.Clone(good)
	bad[100] ^= 1 // the mode of the first entry
	_, err = attest.ReadBundle("b", bytes.NewReader(bad), int64(len(bad)), admit)
	code(t, err, fault.Parse)
	_, err = attest.ReadBundle("b", bytes.NewReader(good), int64(len(good))+1, admit)
	code(t, err, fault.Parse)
	_, err = attest.ReadBundle("b", bytes.NewReader(good), attest.MaxBundle+1, admit)
	code(t, err, fault.Parse)
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}

// An object that nobody signed for would be spread with the release.
func TestEvidenceHoldsOnlyNamedObjects(t *testing.T) {
	w := attesttest.New(t)
	r := w.Honest()
	b := *r.Bundle
	b.Objects = append(slices.Clone(b.Objects), []byte("a stranger's file"))
	_, err := attest.Verify(w.LoadPolicy(), &b, attest.Expect{}, attesttest.Now)
	code(t, err, fault.EvidenceMismatch)
	_, err = attest.NewPublication(w.LoadPolicy(), &b, r.Package.Archive(), attesttest.Now)
	code(t, err, fault.EvidenceMismatch)
}

func enlarge(all []store.File, prefix string, n int) []store.File {
	for i := range all {
		if strings.HasPrefix(all[i].Path, prefix) {
			all[i].Data = bytes.Repeat([]byte("a"), n)
		}
	}
	return all
}

func TestFileName(t *testing.T) {
	for want, r := range map[string]attest.Release{
		"hello-1.0.0.rbundle": {Name: "hello", Version: "1.0.0"}, "org.hello-1.0.0-rc.1.rbundle": {Name: "org/hello", Version: "1.0.0-rc.1"},
	} {
		if got := attest.FileName(&r); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// Two platforms of one release are the same software: their plans may differ
// in platform, images and seeds alone.
func TestBuildsOfOneReleaseHaveOnePlan(t *testing.T) {
	w := attesttest.New(t)
	policy := w.LoadPolicy()
	second := func(change func(*attest.Plan)) (*attest.Met, attest.BuildEvidence) {
		plan := *w.Plan
		plan.Platform = "linux/386"
		plan.Stages = slices.Clone(plan.Stages)
		change(&plan)
		planJSON, err := attest.EncodePlan(&plan)
		must(t, err)
		var statements [][]byte
		for _, op := range []string{"east", "west"} {
			payload, err := attest.NewResultStatement(&plan, w.Result(op, nil))
			must(t, err)
			statements = append(statements, w.Sign(payload, op))
		}
		v, err := attest.Judge(policy, &plan, statements, nil, nil, attesttest.Now)
		must(t, err)
		met, err := v.Met()
		must(t, err)
		return met, attest.BuildEvidence{Plan: planJSON, Statements: statements}
	}
	first, err := attest.Judge(policy, w.Plan, w.Statements(), nil, nil, attesttest.Now)
	must(t, err)
	met, err := first.Met()
	must(t, err)
	release := func(other *attest.Met, ev attest.BuildEvidence, order ...string) error {
		_, image, err := attest.LoadPackage("package.toml", []byte(attesttest.PackageTOML))
		must(t, err)
		var payloads []attest.PayloadInput
		for _, platform := range order {
			payloads = append(payloads, attest.PayloadInput{Platform: platform, Target: "hello", Path: strings.ReplaceAll(platform, "/", "-"),
				Tree: w.Stages[1].Tree, Files: w.HelloFiles})
		}
		pkg, err := attest.Pack(image, payloads, 1)
		must(t, err)
		manifest, err := w.Store.Read(w.Stages[1].Manifest, 1<<20)
		must(t, err)
		payload, err := attest.Propose(attest.Proposal{Package: pkg, Builds: []*attest.Met{met, other}, Manifests: [][]byte{manifest},
			Owners: []attest.PublicKey{attesttest.Key("r1").Public()}, Published: attesttest.Now})
		if err != nil {
			return err
		}
		evidence := attest.Evidence{Builds: []attest.BuildEvidence{ev, {Plan: w.PlanJSON, Statements: first.Envelopes()}}, Objects: [][]byte{manifest}}
		envelope, err := attest.SignRelease(policy, payload, evidence, attesttest.Now, attesttest.Key("r1"), attesttest.Key("r2"))
		if err != nil {
			return err
		}
		a, err := attest.Verify(policy, &attest.Bundle{Release: envelope, Evidence: evidence}, attest.Expect{}, attesttest.Now)
		if err == nil && len(a.Builds) != 2 {
			t.Errorf("%+v", a)
		}
		return err
	}
	both := []string{"linux/386", "linux/amd64"}
	same, ev := second(func(p *attest.Plan) {
		p.Seeds = []attest.PlanSeed{{Name: "hex0", Digest: store.DigestOf([]byte("386")), Size: 271}}
	})
	must(t, release(same, ev, both...))
	code(t, release(same, ev, "linux/amd64"), fault.EvidenceMismatch)
	differs, ev := second(func(p *attest.Plan) { p.SourceDateEpoch = 2 })
	code(t, release(differs, ev, both...), fault.Semantic)
	differs, ev = second(func(p *attest.Plan) { p.Stages[1].Args = map[string]string{"BACKDOOR": "1"} })
	code(t, release(differs, ev, both...), fault.Semantic)
	differs, ev = second(func(p *attest.Plan) { p.Platform = "linux/amd64"; p.SourceDateEpoch = 3 })
	code(t, release(differs, ev, both...), fault.Semantic)
}

// Only a met verdict leads to a release, and a signer judges again.
func TestSignReleaseJudgesAgain(t *testing.T) {
	w := attesttest.New(t)
	r := w.Honest()
	other := w.Stage("hello", []store.File{{Path: "x", Mode: 0o644}})
	dissent := w.Statement("west", func(r *attest.Result) { r.Stages[1] = other })
	sign := func(change func(*attest.Evidence), policy *attest.Policy) error {
		ev := r.Bundle.Evidence
		ev.Builds = []attest.BuildEvidence{{Plan: ev.Builds[0].Plan, Statements: slices.Clone(ev.Builds[0].Statements)}}
		change(&ev)
		_, err := attest.SignRelease(policy, r.Payload, ev, attesttest.Now, attesttest.Key("r1"))
		return err
	}
	policy := w.LoadPolicy()
	must(t, sign(func(*attest.Evidence) {}, policy))
	code(t, sign(func(ev *attest.Evidence) { ev.Builds[0].Statements = append(ev.Builds[0].Statements, dissent) }, policy), fault.Dissent)
	code(t, sign(func(ev *attest.Evidence) { ev.Builds[0].Statements = nil }, policy), fault.EvidenceMismatch)
	code(t, sign(func(ev *attest.Evidence) { ev.Builds = nil }, policy), fault.EvidenceMismatch)
	changed := *w
	changed.PolicyTOML = strings.Replace(w.PolicyTOML, "version = 1", "version = 2", 1)
	code(t, sign(func(*attest.Evidence) {}, changed.LoadPolicy()), fault.EvidenceMismatch)
	_, err := attest.SignRelease(policy, []byte("junk"), r.Bundle.Evidence, attesttest.Now, attesttest.Key("r1"))
	code(t, err, fault.Parse)
	_, err = attest.SignRelease(policy, mustPayload(w, "east"), r.Bundle.Evidence, attesttest.Now, attesttest.Key("r1"))
	code(t, err, fault.Structure)
}

func TestProposeRefuses(t *testing.T) {
	w := attesttest.New(t)
	v, err := attest.Judge(w.LoadPolicy(), w.Plan, w.Statements(), nil, nil, attesttest.Now)
	must(t, err)
	met, err := v.Met()
	must(t, err)
	renamed := *w
	renamed.PolicyTOML = strings.Replace(w.PolicyTOML, "version = 1", "version = 2", 1)
	v, err = attest.Judge(renamed.LoadPolicy(), w.Plan, w.Statements(), nil, nil, attesttest.Now)
	must(t, err)
	other, err := v.Met()
	must(t, err)
	_, image, err := attest.LoadPackage("package.toml", []byte(attesttest.PackageTOML))
	must(t, err)
	pack := func(change func(*attest.PayloadInput)) *attest.Package {
		in := attest.PayloadInput{Platform: attesttest.Platform, Target: "hello", Path: "p", Tree: w.Stages[1].Tree, Files: w.HelloFiles}
		change(&in)
		p, err := attest.Pack(image, []attest.PayloadInput{in}, 1)
		must(t, err)
		return p
	}
	manifest, err := w.Store.Read(w.Stages[1].Manifest, 1<<20)
	must(t, err)
	good := attest.Proposal{Package: pack(func(*attest.PayloadInput) {}), Builds: []*attest.Met{met}, Manifests: [][]byte{manifest},
		Owners: []attest.PublicKey{attesttest.Key("r1").Public()}, Published: attesttest.Now}
	_, err = attest.Propose(good)
	must(t, err)
	files, tree := []store.File{{Path: "x", Mode: 0o755}}, store.Digest("")
	if made, err := store.TreeOf(files); err == nil {
		tree = made.Digest()
	}
	for name, c := range map[string]struct {
		change func(*attest.Proposal)
		code   fault.Code
	}{
		"no builds":      {func(p *attest.Proposal) { p.Builds = nil }, fault.QuorumPending},
		"two policies":   {func(p *attest.Proposal) { p.Builds = []*attest.Met{met, other} }, fault.Semantic},
		"platform twice": {func(p *attest.Proposal) { p.Builds = []*attest.Met{met, met} }, fault.Semantic},
		"no manifest":    {func(p *attest.Proposal) { p.Manifests = nil }, fault.EvidenceMismatch},
		"no owners":      {func(p *attest.Proposal) { p.Owners = nil }, fault.Semantic},
		"year 10000":     {func(p *attest.Proposal) { p.Published = attesttest.Now.AddDate(8000, 0, 0) }, fault.Structure},
		"another tree": {func(p *attest.Proposal) {
			p.Package = pack(func(in *attest.PayloadInput) { in.Files, in.Tree = files, tree })
		}, fault.TreeMismatch},
		"another target": {func(p *attest.Proposal) { p.Package = pack(func(in *attest.PayloadInput) { in.Target = "base" }) }, fault.EvidenceMismatch},
		"depends":        {func(p *attest.Proposal) { p.Depends = []attest.Dependency{{Name: "libc", Version: "1"}} }, fault.Structure},
	} {
		t.Run(name, func(t *testing.T) {
			p := good
			c.change(&p)
			_, err := attest.Propose(p)
			code(t, err, c.code)
		})
	}
}
