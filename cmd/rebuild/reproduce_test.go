package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"rebuild/attest"
	"rebuild/attest/sshkey"
	"rebuild/pipeline"
	"rebuild/store"
)

// lack INDEX FILE DIR takes the object with the content of DIR/FILE out of an
// index.
func lack(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: lack INDEX FILE DIR")
	}
	d := store.DigestOf([]byte(ts.ReadFile(filepath.Join(args[2], args[1]))))
	ts.Check(os.Remove(filepath.Join(ts.MkAbs(args[0]), "objects/sha256", d.Hex())))
}

// play is a folder with the cast, in which commands are run.
type play struct {
	testing.TB
	dir string
}

func newPlay(t testing.TB) play {
	t.Helper()
	p := play{t, t.TempDir()}
	if err := copyMissing(p.dir, cast(t)); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p play) in(name string) string { return filepath.Join(p.dir, name) }

func (p play) rebuild(args ...string) *command {
	p.Helper()
	c := rebuild(p, args...)
	c.Dir = p.dir
	return c
}

// collude builds other recipes than the plan's and signs what they gave as
// results of the plan, by both of two operators: the quorum that everybody
// trusts has been bought.
func (p play) collude() {
	p.Helper()
	bad := p.in("bad")
	for name, text := range goodPipeline {
		write(p, filepath.Join(bad, name), []byte(strings.Replace(text, "COPY b.txt /out/b.txt", "COPY b.txt /out/b.txt\nCOPY b.txt /out/backdoor", 1)))
	}
	write(p, filepath.Join(bad, "last/src/b.txt"), []byte("changed\n"))
	p.rebuild("run", "--pipeline", bad, "--state", "north", "--progress", "quiet").must(p)
	var plan runResult
	_, plan = answerOf[runResult](p, p.rebuild("run", "--pipeline", bad, "--state", "north", "--progress", "quiet", "--json").must(p))
	report, err := pipeline.ReadReport(p.in("north"), plan.Plan)
	if err != nil {
		p.Fatal(err)
	}
	out := p.in("plan.json")
	p.rebuild("plan", "--output", out).must(p)
	honest, err := attest.DecodePlan(out, read(p, out))
	if err != nil {
		p.Fatal(err)
	}
	for _, operator := range []string{"north", "south"} {
		key, err := sshkey.ReadFile(p.in("keys/"+operator+".key"), nil)
		if err != nil {
			p.Fatal(err)
		}
		nonce, err := attest.NewNonce(rand.Reader)
		if err != nil {
			p.Fatal(err)
		}
		r, err := pipeline.ResultOf(report, operator, nonce)
		if err != nil {
			p.Fatal(err)
		}
		statement, err := signResult(honest, r, key)
		if err != nil {
			p.Fatal(err)
		}
		if _, err := writeStatement(p.in("results"), honest, read(p, out), operator, statement); err != nil {
			p.Fatal(err)
		}
	}
}

// A quorum that lies together convinces every verifier. Who builds the release
// again finds the first stage that was tampered with, the file in it, and has a
// statement to show; the stage before it, which is honest, is not blamed.
func TestReproduceFindsTheTamperedStage(t *testing.T) {
	t.Parallel()
	p := newPlay(t)
	p.collude()
	p.rebuild(releaseArgs(p.dir)...).must(t)
	p.rebuild("verify", "out/hello-0.1.0.rbundle", "--policy", "policy.toml").must(t)
	c := p.rebuild("reproduce", "hello", "--index", "index", "--policy", "policy.toml", "--state", "mine", "--json", "--quiet",
		"--key", "keys/east.key", "--operator", "east", "-o", "east.dsse.json")
	if got := c.status(t); got != 16 {
		t.Fatalf("exit %d\n%s%s", got, c.out.String(), c.err.String())
	}
	e, r := answerOf[reproduceResult](t, c.out.Bytes())
	if e.Error.Code != "DISSENT" || e.Error.Details["stage"] != "last" || !strings.Contains(e.Error.Hint, "--tree-from") {
		t.Errorf("error %+v", e.Error)
	}
	if r.Equal || r.Differs != "last" || r.File != "b.txt (content)" && r.File != "backdoor (removed)" || !r.Stages[0].Equal || r.Stages[1].Equal {
		t.Errorf("result %+v", r)
	}
	if claim, err := attest.ReadClaim(read(t, p.in("east.dsse.json"))); err != nil || claim.Operator != "east" || claim.Statement != r.Statement {
		t.Errorf("%+v, %v", claim, err)
	}
	c = p.rebuild("reproduce", "hello", "--index", "index", "--policy", "policy.toml", "--state", "yours", "--quiet")
	if got := c.status(t); got != 16 || !strings.Contains(c.out.String(), "differs    last") || !strings.Contains(c.err.String(), "hint: tell the others: rebuild reproduce") {
		t.Errorf("exit %d\n%s%s", got, c.out.String(), c.err.String())
	}
}

// A damaged or exchanged definition is refused under its hash, whichever it is.
func TestReproduceRefusesOtherDefinitions(t *testing.T) {
	t.Parallel()
	p := newPlay(t)
	for _, o := range []string{"north", "south"} {
		p.rebuild("attest", "--state", o, "--operator", o, "--key", "keys/"+o+".key", "--out", "results").must(t)
	}
	p.rebuild(releaseArgs(p.dir)...).must(t)
	for _, file := range []string{"first/Containerfile", "last/src/b.txt"} {
		d := store.DigestOf(read(t, p.in(file)))
		object := filepath.Join(p.in("index"), "objects/sha256", d.Hex())
		good := read(t, object)
		write(t, object, []byte("FROM elsewhere\n"))
		c := p.rebuild("reproduce", "hello", "--index", "index", "--policy", "policy.toml", "--state", "mine", "--quiet")
		if got := c.status(t); got != 12 && got != 31 || !strings.Contains(c.err.String(), string(d)) && got == 12 {
			t.Errorf("%s: exit %d: %s", file, got, c.err.String())
		}
		write(t, object, good)
	}
	p.rebuild("reproduce", "hello", "--index", "index", "--policy", "policy.toml", "--state", "mine", "--quiet").must(t)
}

// Where the hints of an index may lead follows from where it is itself.
func TestReachOfHints(t *testing.T) {
	t.Parallel()
	for at, want := range map[string]pipeline.Reach{
		"index": {}, "file:///srv/index": {}, "https://packages.example/index/": {}, "http://packages.example/index/": {HTTP: true},
		"http://10.0.0.1/": {HTTP: true}, "https://localhost.example/": {}, "https://127.0.0.1.example/": {}, "https://[fe80::1]/": {},
		"http://127.0.0.1:8017/": {HTTP: true, Private: true}, "https://localhost:8017": {HTTP: true, Private: true}, "http://[::1]:1/": {HTTP: true, Private: true},
	} {
		r := reproduction{reproduceOptions: &reproduceOptions{index: at}}
		got, err := r.reach()
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", at, got, err)
		}
		r.private = true
		if got, err := r.reach(); err != nil || got != (pipeline.Reach{HTTP: true, Private: true}) {
			t.Errorf("%s: %+v, %v", at, got, err)
		}
	}
}

// Sources that are not in the index are downloaded from where it says, only
// when asked to, and only their declared bytes are taken.
func TestReproduceFetchesSources(t *testing.T) {
	t.Parallel()
	p := newPlay(t)
	content := "a source\n"
	served := content
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		fmt.Fprint(w, served)
	}))
	defer server.Close()
	write(t, p.in("last/stage.toml"), fmt.Appendf(nil, `schema_version = "rebuild.stage@1.0.0"
name = "last"
context = "src"
inputs = ["stage/first"]
export = "/out"
[[source]]
name = "text"
digest = "%s"
size = %d
urls = ["%s/text"]
into = "text"
`, store.DigestOf([]byte(content)), len(content), server.URL))
	p.rebuild("fetch", "--state", "north").must(t)
	p.rebuild("run", "--state", "north", "--progress", "quiet").must(t)
	if err := copyMissing(p.in("south"), p.in("north")); err != nil {
		t.Fatal(err)
	}
	for _, o := range []string{"north", "south"} {
		p.rebuild("attest", "--state", o, "--operator", o, "--key", "keys/"+o+".key", "--out", "results").must(t)
	}
	p.rebuild(append(releaseArgs(p.dir), "--no-sources")...).must(t)
	args := []string{"reproduce", "hello", "--index", "index", "--policy", "policy.toml", "--state", "mine", "--quiet", "--json"}
	c := p.rebuild(args...)
	var e envelope
	if got := c.status(t); got != 4 || json.Unmarshal(c.out.Bytes(), &e) != nil || e.Error.Code != "OFFLINE_INDEX" || !strings.Contains(e.Error.Hint, "--fetch") {
		t.Errorf("exit %d: %s", got, c.out.String())
	}
	// Nobody signs where they are: an index has no neighbour of ours asked.
	asked.Store(0)
	c = p.rebuild(append(slices.DeleteFunc(slices.Clone(args), func(a string) bool { return a == "--quiet" }), "--fetch")...)
	if got := c.status(t); got != 4 || asked.Load() != 0 || !strings.Contains(c.err.String(), "--fetch-private") {
		t.Errorf("exit %d, %d requests: %s", got, asked.Load(), c.err.String())
	}
	served = "others!!\n"
	if got := p.rebuild(append(args, "--fetch", "--fetch-private")...).status(t); got != 12 {
		t.Errorf("other bytes: exit %d", got)
	}
	served = content
	p.rebuild(append(args, "--fetch", "--fetch-private")...).must(t)

	// With the sources in the index nothing is asked of anybody.
	server.Close()
	if err := os.RemoveAll(p.in("index")); err != nil {
		t.Fatal(err)
	}
	again := releaseArgs(p.dir)
	again[len(again)-1] = p.in("out2")
	p.rebuild(again...).must(t)
	args[7] = "third"
	p.rebuild(args...).must(t)
}
