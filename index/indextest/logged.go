package indextest

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
	"rebuild/index"
	"rebuild/index/translog"
)

// Logged is a logged index in a folder, with all who write in it: the real
// writer, as liars and mirrors start from.
type Logged struct {
	*attesttest.World
	Dir string
	Now time.Time
	In  index.Writing
}

// NewLogged makes one without a package. Its writers go by the world's policy and
// the date Now.
func NewLogged(t testing.TB, w *attesttest.World) *Logged {
	t.Helper()
	l := &Logged{World: w, Dir: filepath.Join(t.TempDir(), "index"), Now: attesttest.Now}
	clock := func() time.Time { return l.Now }
	l.In = index.Writing{Policy: w.LoadPolicy(), Key: attesttest.Key("index"), LogKey: attesttest.Key("log"), Now: clock,
		Log: func(ctx context.Context, dir string) (index.LogWriter, error) {
			open := translog.Open
			if _, err := os.Stat(filepath.Join(dir, "checkpoint")); errors.Is(err, fs.ErrNotExist) {
				open = translog.Create
			}
			return open(ctx, dir, translog.Options{Origin: attesttest.Origin, Key: attesttest.Key("log"), Now: clock})
		}}
	l.must(index.Init(t.Context(), l.Dir, index.Config{
		Signing: index.SigningWith(attesttest.Key("index").Public()),
		Log:     &index.Log{Origin: attesttest.Origin, Key: attest.LogKey(attesttest.Origin, attesttest.Key("log").Public())},
	}, l.In))
	return l
}

func (l *Logged) must(err error) {
	l.T.Helper()
	if err != nil {
		l.T.Fatal(err)
	}
}

// Open opens the index for a write.
func (l *Logged) Open() *index.Index {
	l.T.Helper()
	x, err := index.Open(l.Dir, l.In)
	l.must(err)
	return x
}

// Publish releases what was agreed on under a version and an owner.
func (l *Logged) Publish(version, owner string) *index.Entry {
	l.T.Helper()
	x := l.Open()
	ev, err := x.Evidence(l.T.Context(), l.Plan.Digest())
	l.must(err)
	pkg, signed, evidence := l.release(version, owner, ev)
	e, _, err := x.Publish(l.T.Context(), &attest.Bundle{Release: signed, Evidence: evidence}, pkg.Archive())
	l.must(err)
	return e
}

// release makes a release that is signed by what the index has about the plan.
func (l *Logged) release(version, owner string, ev attest.BuildEvidence) (*attest.Package, []byte, attest.Evidence) {
	l.T.Helper()
	chain, err := ev.Chain(l.In.Policy)
	l.must(err)
	verdict, err := attest.Judge(l.In.Policy, l.Plan, ev.Statements, chain, nil, attesttest.Now)
	l.must(err)
	met, err := verdict.Met()
	l.must(err)
	_, image, err := attest.LoadPackage("package.toml", []byte(strings.Replace(attesttest.PackageTOML, "0.1.0", version, 1)))
	l.must(err)
	pkg, err := attest.Pack(image, []attest.PayloadInput{{
		Platform: attesttest.Platform, Target: "hello", Path: "linux-amd64/hello", Tree: l.Stages[1].Tree, Files: l.HelloFiles,
	}}, attesttest.Epoch)
	l.must(err)
	manifest, err := l.Store.Read(l.Stages[1].Manifest, 1<<20)
	l.must(err)
	signed, err := attest.Propose(attest.Proposal{
		Package: pkg, Builds: []*attest.Met{met}, Manifests: [][]byte{manifest}, Owners: []attest.PublicKey{attesttest.Key(owner).Public()}, Published: attesttest.Now,
	})
	l.must(err)
	evidence := attest.Evidence{Builds: []attest.BuildEvidence{ev}, Objects: [][]byte{manifest}}
	for _, name := range []string{"r1", "r2"} {
		signed, err = attest.SignRelease(l.In.Policy, signed, evidence, attesttest.Now, attesttest.Key(name))
		l.must(err)
	}
	return pkg, signed, evidence
}

// Yank enters a statement about a version of hello, behind the last one. Its
// date is that of y.
func (l *Logged) Yank(y attest.Yank, by ...string) {
	l.T.Helper()
	y.Name = "hello"
	state, e, err := l.Open().Yanked(l.T.Context(), y.Name, y.Version)
	l.must(err)
	y.After = state.Head
	payload, err := attest.NewYank(y, e.Cksum)
	l.must(err)
	_, err = l.Open().Yank(l.T.Context(), l.Sign(payload, by...))
	l.must(err)
}
