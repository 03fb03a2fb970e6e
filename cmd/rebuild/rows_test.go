package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/attest/sshkey"
	"rebuild/index"
	"rebuild/index/liartest"
	"rebuild/internal/document"
	"rebuild/store"
)

// Indexes that no command of ours makes, for the scripts of testdata/cli/rows:
// each is rightly signed, and one thing in it is not as a row of the
// requirements wants it. The folders are named by what it is; policy.toml is for
// those without a log, logged.toml for those with one.
var (
	rowsOnce  sync.Once
	rowsFiles map[string][]byte
)

func rowFiles(t testing.TB) map[string][]byte {
	t.Helper()
	rowsOnce.Do(func() {
		files := map[string][]byte{}
		needsIndex(t, files)
		ownersIndexes(t, files)
		forgedReleases(t, files)
		badBundles(t, files)
		rowsFiles = files
	})
	if rowsFiles == nil {
		t.Fatal("the indexes could not be made")
	}
	return rowsFiles
}

// TestRowScripts shows rows of the requirements that need such an index, by the
// real program.
func TestRowScripts(t *testing.T) {
	t.Parallel()
	files := rowFiles(t)
	testscript.Run(t, scripts("../../testdata/cli/rows", func(env *testscript.Env) error {
		for name, data := range files {
			path := filepath.Join(env.WorkDir, name)
			write(t, path, data)
			if strings.HasSuffix(name, ".key") {
				must(t, os.Chmod(path, 0o600))
			}
		}
		env.Setenv("AT", judgedAt)
		return nil
	}))
}

// bare is an index without a log, in which a test publishes.
type bare struct {
	testing.TB
	w    *attesttest.World
	dir  string
	in   index.Writing
	pins map[string]attest.Dependency // by NAME@VERSION
}

func newBare(t testing.TB) *bare {
	t.Helper()
	b := &bare{TB: t, w: attesttest.New(t), dir: filepath.Join(t.TempDir(), "index"), pins: map[string]attest.Dependency{}}
	b.in = index.Writing{Policy: b.w.LoadPolicy(), Key: attesttest.Key("index"), Now: func() time.Time { return attesttest.Now }}
	must(t, index.Init(t.Context(), b.dir, index.Config{Signing: index.SigningWith(attesttest.Key("index").Public())}, b.in))
	return b
}

// publish publishes NAME@VERSION. Each of needs is NAME@VERSION, which the
// release pins as pins has it, or NAME:RANGE, which it does not pin.
func (b *bare) publish(reference string, needs ...string) {
	b.Helper()
	b.release(reference, []string{"r1"}, []string{"r1", "r2"}, needs...)
}

func (b *bare) release(reference string, owners, by []string, needs ...string) {
	b.Helper()
	name, version, _ := strings.Cut(reference, "@")
	text := strings.NewReplacer(`"hello"`, fmt.Sprintf("%q", name), "0.1.0", version, "says hi", "is "+name+" "+version).Replace(attesttest.PackageTOML)
	var depends []string
	b.w.Depends = nil
	for _, n := range needs {
		dep, in, ranged := strings.Cut(n, ":")
		if !ranged {
			b.w.Depends = append(b.w.Depends, b.pins[n])
			dep, in = b.pins[n].Name, "*"
		}
		depends = append(depends, fmt.Sprintf("%q = %q", dep, in))
	}
	if depends != nil {
		text = strings.Replace(text, "meta =", "depends = { "+strings.Join(depends, ", ")+" }\nmeta =", 1)
	}
	r := b.w.Release(b.w.Statements(), nil, text, owners, by)
	x, err := index.Open(b.dir, b.in)
	must(b, err)
	_, _, err = x.Publish(b.Context(), r.Bundle, r.Package.Archive())
	must(b, err)
	b.pins[reference] = attest.Dependency{Name: name, Version: version, Snapshot: releaseIn(b, r.Bundle.Release).Snapshot}
}

func releaseIn(t testing.TB, envelope []byte) attest.Release {
	t.Helper()
	e, err := attest.ParseEnvelope("release", envelope)
	must(t, err)
	r, err := attest.ReadOwned(e)
	must(t, err)
	return r
}

// put takes an index up as a folder of the scripts.
func put(all map[string][]byte, folder string, files map[string][]byte) {
	for path, data := range files {
		all[folder+"/"+path] = data
	}
}

// needsIndex makes packages that need each other in every way that is refused
// (B20, B22), and a chain of 33 of which 32 are allowed.
func needsIndex(t testing.TB, all map[string][]byte) {
	t.Helper()
	b := newBare(t)
	b.publish("libc@1.0.0")
	other := b.pins["libc@1.0.0"]
	other.Snapshot = store.DigestOf([]byte("other"))
	b.pins["exchanged"], b.pins["withdrawn"] = other, attest.Dependency{Name: "nowhere", Version: "1.0.0", Snapshot: other.Snapshot}
	b.pins["newer"] = attest.Dependency{Name: "libc", Version: "9.0.0", Snapshot: other.Snapshot}
	b.publish("zlib@1.2.0", "libc@1.0.0")
	b.publish("tool@2.0.0", "libc@1.0.0", "zlib@1.2.0")
	b.publish("wrong@1.0.0", "exchanged")
	b.publish("above@1.0.0", "wrong@1.0.0")
	b.publish("lost@1.0.0", "withdrawn")
	b.publish("newer@1.0.0", "newer")
	b.publish("range@1.0.0", "libc:^2")
	b.publish("ping@1.0.0", "pong:^1")
	b.publish("pong@1.0.0", "ping:^1")
	b.publish("c32@1.0.0")
	for i := 31; i >= 0; i-- {
		b.publish(fmt.Sprintf("c%d@1.0.0", i), fmt.Sprintf("c%d@1.0.0", i+1))
	}
	all["policy.toml"] = []byte(b.w.PolicyTOML)
	put(all, "needs", liartest.ReadFiles(t, b.dir))
}

// ownersIndexes makes what a registry could show of a package that alice and
// bob own together (B2, B24): as it is, without the signature of one of them,
// with a wrong one, and with a version of which somebody else is the owner, once
// with and once without the consent of both.
func ownersIndexes(t testing.TB, all map[string][]byte) {
	t.Helper()
	signers := []string{"r1", "r2", "alice", "bob"}
	b := newBare(t)
	b.release("hello@0.1.0", []string{"alice", "bob"}, signers)
	first := liartest.ReadFiles(t, b.dir)
	put(all, "owned", first)
	file := statementOf(t, first[helloLines])
	put(all, "one-owner", with(first, file, b.w.Sign(payloadIn(t, first[file]), "r1", "r2", "alice")))
	put(all, "spoilt", with(first, file, spoilt(t, first[file], attesttest.Key("bob").Public().ID())))

	b.release("hello@0.2.0", []string{"carol"}, append(signers, "carol"))
	second := liartest.ReadFiles(t, b.dir)
	put(all, "rotated", second)
	lines := bytes.SplitAfter(second[helloLines], []byte("\n"))
	file = statementOf(t, lines[1])
	put(all, "taken", with(second, file, b.w.Sign(payloadIn(t, second[file]), "r1", "r2", "alice", "carol")))
}

// badBundles makes what nobody may enter into an index (B14): the bundle of a
// release as it is, without the signature of a signer, with a stranger's in its
// place, with a wrong one, and with a vote that is a stranger's.
func badBundles(t testing.TB, all map[string][]byte) {
	t.Helper()
	w := attesttest.New(t)
	r := w.Honest()
	key := filepath.Join(t.TempDir(), "index.key")
	must(t, sshkey.WriteFile(key, attesttest.Key("index"), "", nil))
	all["index.key"] = read(t, key)
	all["hello.tar"] = r.Package.Archive()
	all["other.tar"] = emptyPackage(t, "1.0.0").Archive()
	encode := func(name string, release []byte, statements [][]byte) {
		b := *r.Bundle
		b.Release, b.Builds = release, slices.Clone(b.Builds)
		b.Builds[0].Statements = statements
		data, err := b.Encode()
		must(t, err)
		all[name+".rbundle"] = data
	}
	honest, votes := r.Bundle.Release, r.Bundle.Builds[0].Statements
	encode("honest", honest, votes)
	encode("one-signer", w.Sign(r.Payload, "r1"), votes)
	encode("stranger", w.Sign(r.Payload, "mallory"), votes)
	encode("spoilt", spoilt(t, honest, attesttest.Key("r2").Public().ID()), votes)
	var forged [][]byte
	for _, v := range votes {
		forged = append(forged, w.Sign(payloadIn(t, v), "mallory"))
	}
	encode("votes", honest, forged)
}

// statementOf returns where the release of a line is.
func statementOf(t testing.TB, line []byte) string {
	t.Helper()
	var e index.Entry
	must(t, json.Unmarshal(line, &e))
	return "statements/" + e.Release.Hex() + ".dsse.json"
}

func payloadIn(t testing.TB, envelope []byte) []byte {
	t.Helper()
	var e struct {
		Payload []byte `json:"payload"`
	}
	must(t, json.Unmarshal(envelope, &e))
	return e.Payload
}

// spoilt changes one bit of the signature by a key.
func spoilt(t testing.TB, envelope []byte, by attest.KeyID) []byte {
	t.Helper()
	var e struct {
		Signatures []struct {
			KeyID attest.KeyID `json:"keyid"`
			Sig   []byte       `json:"sig"`
		} `json:"signatures"`
	}
	must(t, json.Unmarshal(envelope, &e))
	for _, s := range e.Signatures {
		if s.KeyID == by {
			old := base64.StdEncoding.EncodeToString(s.Sig)
			s.Sig[0] ^= 1
			return bytes.Replace(envelope, []byte(old), []byte(base64.StdEncoding.EncodeToString(s.Sig)), 1)
		}
	}
	t.Fatalf("%s has not signed", by)
	return nil
}

// with returns the files with another content of one.
func with(files map[string][]byte, path string, data []byte) map[string][]byte {
	files = maps.Clone(files)
	files[path] = data
	return files
}

// forgedReleases makes releases that all signers and the log itself stand for,
// but whose snapshot (B3) or event log hash (B4) is not that of what was
// published.
func forgedReleases(t testing.TB, all map[string][]byte) {
	t.Helper()
	h := indexHistories(t)
	all["logged.toml"] = []byte(h.policy)
	put(all, "logged", h.before)
	put(all, "snapshot", forgeRelease(t, h.before, func(r *attest.Release) { r.Snapshot = store.DigestOf([]byte("other")) }))
	put(all, "events", forgeRelease(t, h.before, func(r *attest.Release) {
		r.Builds[0].Events = store.DigestOf([]byte("other"))
		r.Snapshot = snapshotOf(t, r)
	}))
}

// snapshotOf is what formats.md says that a release's snapshot is.
func snapshotOf(t testing.TB, r *attest.Release) store.Digest {
	t.Helper()
	fields := map[string]any{"builds": r.Builds, "cksum": r.Cksum, "files": r.Files, "package": r.Package}
	for name, d := range map[string]store.Digest{"exports": r.Exports, "lock": r.Lock} {
		if d != "" {
			fields[name] = d
		}
	}
	data, err := document.Encode(fields)
	must(t, err)
	return store.DigestOf(data)
}

// forgeRelease exchanges the only release of a logged index for another that
// the same people sign, in the line, the leaves and the view.
func forgeRelease(t testing.TB, files map[string][]byte, change func(*attest.Release)) map[string][]byte {
	t.Helper()
	file := statementOf(t, files[helloLines])
	honest := releaseIn(t, files[file])
	forged := releaseIn(t, files[file])
	change(&forged)
	payload := payloadIn(t, files[file])
	for _, d := range [][2]store.Digest{{honest.Snapshot, forged.Snapshot}, {honest.Builds[0].Events, forged.Builds[0].Events}} {
		payload = bytes.ReplaceAll(payload, []byte(d[0]), []byte(d[1]))
	}
	old, fresh := store.DigestOf(payloadIn(t, files[file])), store.DigestOf(payload)
	signed, err := attest.Sign(payload, attesttest.Key("r1"), attesttest.Key("r2"))
	must(t, err)
	f := liartest.Forge(t, files)
	f.Files["statements/"+fresh.Hex()+".dsse.json"] = signed
	f.Files[helloLines] = bytes.ReplaceAll(f.Files[helloLines], []byte(old), []byte(fresh))
	events := make([]attest.Event, len(f.Log.Leaves))
	for i, leaf := range f.Log.Leaves {
		must(t, json.Unmarshal(leaf, &events[i]))
		if events[i].Object == old {
			events[i].Object = fresh
		}
	}
	events[len(events)-1].View = f.View()
	f.Relog(events)
	return f.Seal(attesttest.Now)
}
