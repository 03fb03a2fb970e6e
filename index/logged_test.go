package index

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/index/translog"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
)

// bench is a logged index with all who write in it.
type bench struct {
	*attesttest.World
	t   testing.TB
	dir string
	now time.Time
	in  Writing

	disk durable.FS
}

// newBench makes a logged index under a policy that wants votes to be logged.
func newBench(t testing.TB) *bench {
	t.Helper()
	return plainBench(t).init()
}

func (b *bench) init() *bench {
	b.t.Helper()
	b.must(initIndex(context.Background(), b.disk, b.dir, b.config(), b.in))
	return b
}

// plainBench is one without the index.
func plainBench(t testing.TB) *bench {
	t.Helper()
	w := attesttest.New(t)
	w.PolicyTOML = strings.Replace(attesttest.Policy(attesttest.LogPolicy(0)), "groups.main", "require = { logged = true }\ngroups.main", 1)
	b := &bench{World: w, t: t, dir: filepath.Join(t.TempDir(), "index"), now: attesttest.Now, disk: durable.OS{}}
	b.in = Writing{
		Policy: w.LoadPolicy(), Key: attesttest.Key("index"), LogKey: attesttest.Key("log"),
		Log: b.openLog, Now: func() time.Time { return b.now },
	}
	return b
}

func (b *bench) config() Config {
	return Config{
		Signing: SigningWith(attesttest.Key("index").Public()),
		Log:     &Log{Origin: attesttest.Origin, Key: attest.LogKey(attesttest.Origin, attesttest.Key("log").Public())},
	}
}

// openLog opens the log, or makes it where there is none.
func (b *bench) openLog(ctx context.Context, dir string) (LogWriter, error) {
	o := translog.Options{Origin: attesttest.Origin, Key: attesttest.Key("log"), Now: func() time.Time { return b.now }}
	open := translog.Open
	if _, err := os.Stat(filepath.Join(dir, "checkpoint")); errors.Is(err, fs.ErrNotExist) {
		open = translog.Create
	}
	l, err := open(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (b *bench) open() *Index {
	b.t.Helper()
	x, err := open(b.disk, b.dir, b.in)
	if err != nil {
		b.t.Fatal(err)
	}
	return x
}

// draft is a release that was signed with the chain that the index has.
type draft struct {
	*attest.Bundle
	archive []byte
}

// propose makes a release from what the index has about the plan.
func (b *bench) propose(replace ...string) draft {
	b.t.Helper()
	return b.proposeBy([]string{"r1"}, []string{"r1", "r2"}, replace...)
}

func (b *bench) proposeBy(owners, by []string, replace ...string) draft {
	b.t.Helper()
	policy := b.in.Policy
	ev, err := b.open().Evidence(context.Background(), b.Plan.Digest())
	b.must(err)
	chain, err := ev.Chain(policy)
	b.must(err)
	verdict, err := attest.Judge(policy, b.Plan, ev.Statements, chain, nil, b.now)
	b.must(err)
	met, err := verdict.Met()
	b.must(err)
	_, image, err := attest.LoadPackage("package.toml", []byte(strings.NewReplacer(replace...).Replace(attesttest.PackageTOML)))
	b.must(err)
	pkg, err := attest.Pack(image, []attest.PayloadInput{{
		Platform: attesttest.Platform, Target: "hello", Path: "linux-amd64/hello", Tree: b.Stages[1].Tree, Files: b.HelloFiles,
	}}, attesttest.Epoch)
	b.must(err)
	manifest, err := b.Store.Read(b.Stages[1].Manifest, 1<<20)
	b.must(err)
	var keys []attest.PublicKey
	for _, o := range owners {
		keys = append(keys, attesttest.Key(o).Public())
	}
	signed, err := attest.Propose(attest.Proposal{
		Package: pkg, Builds: []*attest.Met{met}, Manifests: [][]byte{manifest}, Owners: keys, Published: attesttest.Now,
	})
	b.must(err)
	evidence := attest.Evidence{Builds: []attest.BuildEvidence{ev}, Objects: [][]byte{manifest}}
	for _, name := range by {
		signed, err = attest.SignRelease(policy, signed, evidence, b.now, attesttest.Key(name))
		b.must(err)
	}
	return draft{&attest.Bundle{Release: signed, Evidence: evidence}, pkg.Archive()}
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) code(err error, want fault.Code) {
	b.t.Helper()
	if got := fault.CodeOf(err); got != want {
		b.t.Fatalf("got %q (%v), want %q", got, err, want)
	}
}

func (b *bench) statements() {
	b.t.Helper()
	all, err := b.open().AddStatements(context.Background(), b.PlanJSON, b.Statements())
	b.must(err)
	for _, e := range all {
		if e.Duplicate {
			b.t.Errorf("%s was there", e.Event.Object)
		}
	}
}

// publish enters a release and verifies the bundle that others get.
func (b *bench) publish(d draft) *Entry {
	b.t.Helper()
	e, duplicate, err := b.open().Publish(context.Background(), d.Bundle, d.archive)
	b.must(err)
	if duplicate {
		b.t.Error("it was there")
	}
	return e
}

// yankStatement makes a yank statement behind the last one.
func (b *bench) yankStatement(version, action, id string, by ...string) []byte {
	b.t.Helper()
	state, e, err := b.open().Yanked(context.Background(), "hello", version)
	b.must(err)
	at, err := attest.FormatTime(b.now)
	b.must(err)
	payload, err := attest.NewYank(attest.Yank{
		Name: "hello", Version: e.Version, Action: action, ID: id, Reason: "testing", At: at, After: state.Head,
	}, e.Cksum)
	b.must(err)
	return b.Sign(payload, by...)
}

// B1, B8: what was agreed on is logged, released and given to others, who
// verify it under a policy that counts only what is logged.
func TestB8LoggedRelease(t *testing.T) {
	b := newBench(t)
	b.statements()
	again, err := b.open().AddStatements(context.Background(), b.PlanJSON, b.Statements())
	b.must(err)
	for i, e := range again {
		if !e.Duplicate || e.Event.Seq != int64(2+i) {
			t.Errorf("%+v", e)
		}
	}
	d := b.propose()
	e := b.publish(d)
	if e.Seq == nil || *e.Seq != 6 || e.Assurance != AssuranceQuorum {
		t.Errorf("%+v", e)
	}
	whole, err := b.open().Released(context.Background(), d.Bundle)
	b.must(err)
	if _, err := attest.NewPublication(b.in.Policy, whole, d.archive, b.now); err != nil {
		t.Fatal(err)
	}
	same, duplicate, err := b.open().Publish(context.Background(), d.Bundle, d.archive)
	if err != nil || !duplicate || *same.Seq != *e.Seq {
		t.Errorf("%+v %t %v", same, duplicate, err)
	}
	second := b.propose("0.1.0", "0.2.0")
	b.publish(second)
	whole, err = b.open().Released(context.Background(), d.Bundle) // the chain went on
	b.must(err)
	if _, err := attest.NewPublication(b.in.Policy, whole, d.archive, b.now); err != nil {
		t.Fatal(err)
	}
}

func TestYankUnyankAndReplay(t *testing.T) {
	b := newBench(t)
	b.statements()
	b.publish(b.propose())
	ctx := context.Background()
	first := b.yankStatement("0.1.0", attest.ActionYank, "", "r1", "r2")
	e, err := b.open().Yank(ctx, first)
	b.must(err)
	if !e.Yanked {
		t.Error("not yanked")
	}
	again, err := b.open().Yank(ctx, first) // the last one again
	b.must(err)
	if !again.Yanked {
		t.Error("not yanked")
	}
	undo := b.yankStatement("0.1.0", attest.ActionUnyank, "", "r1", "r2")
	e, err = b.open().Yank(ctx, undo)
	b.must(err)
	if e.Yanked {
		t.Error("still yanked")
	}
	advise := b.yankStatement("0.1.0", attest.ActionAdvise, "CVE-2026-1", "r1", "r2")
	e, err = b.open().Yank(ctx, advise)
	b.must(err)
	if len(e.Advisories) != 1 {
		t.Errorf("%v", e.Advisories)
	}
	for _, old := range [][]byte{first, undo} {
		_, err = b.open().Yank(ctx, old)
		b.code(err, fault.Unyanked)
	}
	_, err = b.open().Yank(ctx, b.yankStatement("0.1.0", attest.ActionYank, "", "r2", "root"))
	b.code(err, fault.SignatureInvalid)
	_, err = b.open().Yank(ctx, b.yankStatement("0.1.0", attest.ActionYank, "", "stranger"))
	b.code(err, fault.KeyUnknown)
}

// B14: a statement of nobody whom the policy knows is not taken in, nor one of
// another plan, and nothing is written.
func TestB14StatementsThatDoNotVerify(t *testing.T) {
	b := newBench(t)
	before := listing(t, b.dir)
	other := *b.Plan
	other.Pipeline = "other"
	for name, c := range map[string]struct {
		statement []byte
		code      fault.Code
	}{
		"stranger":    {b.Sign(must1(attest.NewResultStatement(b.Plan, b.Result("east", nil)))(t), "stranger"), fault.KeyUnknown},
		"other plan":  {b.Sign(must1(attest.NewResultStatement(&other, b.Result("east", nil)))(t), "east"), fault.EvidenceMismatch},
		"of a signer": {b.Sign([]byte(`{}`), "r1"), fault.KeyUnknown},
		"no result":   {b.Sign([]byte(`{}`), "east"), fault.Structure},
	} {
		_, _, err := b.open().AddStatement(context.Background(), b.PlanJSON, c.statement)
		if got := fault.CodeOf(err); got != c.code {
			t.Errorf("%s: %v, want %s", name, err, c.code)
		}
	}
	if listing(t, b.dir) != before {
		t.Error("something was written")
	}
}

func must1[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func pkgOf(t testing.TB, name, version string) *attest.Package {
	t.Helper()
	text := strings.NewReplacer(`"hello"`, `"`+name+`"`, "0.1.0", version).Replace(attesttest.PackageTOML)
	_, image, err := attest.LoadPackage("package.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	pkg, err := attest.Pack(image, nil, attesttest.Epoch)
	if err != nil {
		t.Fatal(err)
	}
	return pkg
}

// A25: a version is published once; a package that has owners takes nothing
// that they have not signed.
func TestA25EntriesWithoutARelease(t *testing.T) {
	b := newBench(t)
	ctx := context.Background()
	e, duplicate, err := b.open().AddPackage(ctx, pkgOf(t, "tool", "1.0.0"))
	b.must(err)
	if duplicate || e.Assurance != AssuranceNone || *e.Seq != 1 || e.Signature == nil {
		t.Errorf("%+v", e)
	}
	_, duplicate, err = b.open().AddPackage(ctx, pkgOf(t, "tool", "1.0.0"))
	if err != nil || !duplicate {
		t.Errorf("%t %v", duplicate, err)
	}
	_, _, err = b.open().AddPackage(ctx, pkgOf(t, "tool", "1.0.0+other"))
	b.code(err, fault.AlreadyPublished)
	_, _, err = b.open().AddPackage(ctx, pkgOf(t, "to_ol-x", "1.0.0"))
	b.must(err)
	_, _, err = b.open().AddPackage(ctx, pkgOf(t, "to-ol-x", "1.0.0"))
	b.code(err, fault.Semantic)
	b.statements()
	b.publish(b.propose())
	_, _, err = b.open().AddPackage(ctx, pkgOf(t, "hello", "9.0.0"))
	b.code(err, fault.OwnerChanged)
	_, err = b.open().Yank(ctx, b.yankOf("tool", "1.0.0", "r1", "r2")) // no release, so no owners
	b.must(err)
}

func (b *bench) yankOf(name, version string, by ...string) []byte {
	b.t.Helper()
	state, e, err := b.open().Yanked(context.Background(), name, version)
	b.must(err)
	payload, err := attest.NewYank(attest.Yank{Name: name, Version: version, Action: attest.ActionYank, Reason: "old", At: "2026-06-01T12:00:00Z", After: state.Head}, e.Cksum)
	b.must(err)
	return b.Sign(payload, by...)
}

// A clock that goes back dates no leaf before the last one, and is refused
// where no reader would accept the leaf.
func TestClockThatGoesBack(t *testing.T) {
	b := newBench(t)
	ctx := context.Background()
	b.now = attesttest.Now.Add(-time.Minute)
	_, _, err := b.open().AddPackage(ctx, pkgOf(t, "tool", "1.0.0"))
	b.must(err)
	c, err := b.open().readChain("pkg:tool")
	b.must(err)
	if c.events[0].At != "2026-06-01T12:00:00Z" {
		t.Errorf("dated %s", c.events[0].At)
	}
	b.now = attesttest.Now.Add(-time.Hour)
	_, _, err = b.open().AddPackage(ctx, pkgOf(t, "tool", "1.1.0"))
	b.code(err, fault.Stale)
}
