package pipeline_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rebuild/attest"
	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/stages"
	"rebuild/store"
)

// shelf is an index without an index: bytes by digest.
type shelf map[store.Digest][]byte

func (s shelf) put(d store.Digest, data []byte) error {
	s[d] = bytes.Clone(data)
	return nil
}

func (s shelf) Object(_ context.Context, d store.Digest, limit int64) ([]byte, error) {
	data, ok := s[d]
	switch {
	case !ok:
		return nil, fault.New(fault.FileMissing, "no object %s", d)
	case int64(len(data)) > limit:
		return nil, fault.New(fault.Parse, "more than %d bytes", limit)
	}
	return data, nil
}

// define puts all definitions of a plan on a shelf, each under its own digest.
func define(t testing.TB, p *pipeline.Plan, blobs *store.Store) (shelf, []string) {
	t.Helper()
	s := shelf{}
	missing, err := p.Define(pipeline.DefineOptions{Blobs: blobs, Sources: true, Max: 1 << 20}, func(d store.Digest, data []byte) error {
		if store.DigestOf(data) != d {
			t.Errorf("%s has other bytes", d)
		}
		return s.put(d, data)
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, missing
}

func restore(t testing.TB, p *pipeline.Plan, s shelf) (*pipeline.Plan, error) {
	t.Helper()
	return pipeline.Restore(context.Background(), filepath.Join(t.TempDir(), "again"), &p.Doc, s, p.Hints())
}

// trap is a pipeline of all that could get lost on the way: files that an
// ignore file leaves out, a seed's text outside the context and one that is
// ignored, an executable, a link, an empty file and folder, names with spaces.
const trap = `-- pipeline.toml --
schema_version = "rebuild.pipeline@1.0.0"
name = "trap"
platforms = ["linux/amd64"]
stages = ["a", "b", "d", "e"]
targets = ["e"]
exec = "buildkit.exec.v1"
-- a/stage.toml --
schema_version = "rebuild.stage@1.0.0"
name = "a"
context = "."
-- a/Containerfile.dockerignore --
*.log
!keep.log
-- a/.dockerignore --
b c.txt
-- a/b c.txt --
kept, since the other ignore file counts
-- a/x.log --
out
-- a/keep.log --
in
-- a/empty --
-- b/stage.toml --
schema_version = "rebuild.stage@1.0.0"
name = "b"
inputs = ["seed/one", "stage/a"]
exec = "rebuild.exec.v1"
-- b/one.hex0 --
00 7F 80 FF # bytes
-- d/stage.toml --
schema_version = "rebuild.stage@1.0.0"
name = "d"
context = "own"
inputs = ["seed/two", "stage/b"]
args = { A = "x = \"1\"", B = "\n\t'" }
image = { cmd = ["a b", "\u0001"], env = ["Z=1", "A=2"], labels = { "org.x/y" = "é" }, user = "1:2", working_dir = "/w", stop_signal = "SIGINT" }
-- d/own/.dockerignore --
*.hex0
.dockerignore
deep
!deep/in
-- d/own/two.hex0 --
01 02
-- d/own/deep/in --
in
-- d/own/deep/out --
out
-- e/stage.toml --
schema_version = "rebuild.stage@1.0.0"
name = "e"
context = "src"
inputs = ["stage/d"]
alias = { "core/d" = "stage/d", "docker.io/library/x:latest" = "stage/d" }
-- e/src/a/b/c --
c
`

// A plan that can not be made again from what it names is one that nobody else
// can check.
func TestRestoreGivesTheSamePlan(t *testing.T) {
	dir := write(t, trap)
	for _, change := range []error{
		os.Symlink("../out of here", filepath.Join(dir, "e/src/link")),
		os.Chmod(filepath.Join(dir, "e/src/a/b/c"), 0o755),
		os.Mkdir(filepath.Join(dir, "e/src/hollow"), 0o755),
	} {
		if change != nil {
			t.Fatal(change)
		}
	}
	whole := amd64Plan(t, write(t, whole))
	for name, p := range map[string]*pipeline.Plan{"trap": plan(t, dir), "whole": whole} {
		t.Run(name, func(t *testing.T) {
			s, _ := define(t, p, nil)
			again, err := restore(t, p, s)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(again.JSON, p.JSON) {
				t.Errorf("got\n%s\nwant\n%s", again.JSON, p.JSON)
			}
			if got, want := again.Hints(), p.Hints(); !maps.EqualFunc(got, want, slices.Equal) {
				t.Errorf("hints %v, want %v", got, want)
			}
			// Restored once more from what was restored, it is still the same.
			s2, _ := define(t, again, nil)
			if !maps.EqualFunc(s, s2, bytes.Equal) {
				t.Errorf("%d definitions, then %d", len(s), len(s2))
			}
		})
	}
}

// Any graph comes back, and is run to the same outputs.
func TestRestoreAnyGraph(t *testing.T) {
	for seed := range uint64(20) {
		archive, _ := randomPipeline(rand.New(rand.NewPCG(seed, 1)))
		r := newRoom(t, archive)
		want := outputs(r.mustRun())
		p := plan(t, r.dir)
		s, _ := define(t, p, nil)
		again, err := restore(t, p, s)
		if err != nil {
			t.Fatal(err)
		}
		other := newRoom(t, archive)
		if got := outputs(other.mustRun(func(o *pipeline.RunOptions) { o.Plan = again })); got != want {
			t.Errorf("seed %d: got\n%s\nwant\n%s", seed, got, want)
		}
	}
}

// Whatever one definition is exchanged for, no other plan is ever taken for the
// released one, and nothing is written outside of the folder.
func TestRestoreRefuses(t *testing.T) {
	p := plan(t, write(t, trap))
	good, _ := define(t, p, nil)
	stage, _ := p.Doc.Stage("e")
	for name, c := range map[string]struct {
		digest store.Digest
		data   []byte // nil: taken away
		code   fault.Code
	}{
		"no Containerfile":      {stage.Containerfile, nil, fault.FileMissing},
		"another Containerfile": {stage.Containerfile, []byte("FROM scratcH\n"), fault.EvidenceMismatch},
		"no context":            {stage.Context, nil, fault.FileMissing},
		"no tree":               {stage.Context, []byte("rebuild.tree.v1\n"), fault.Parse},
		"out of the folder":     {stage.Context, []byte("rebuild.tree.v1\nd 0755 0 0 - - .\nl 0777 0 0 - ../../.. ../x\n"), fault.Parse},
		"a device":              {stage.Context, []byte("rebuild.tree.v1\nd 0755 0 0 - - .\nc 0644 0 0 - 1,3 null\n"), fault.Semantic},
		"another context":       {stage.Context, []byte("rebuild.tree.v1\nd 0755 0 0 - - .\n"), fault.EvidenceMismatch},
		"through a link": {stage.Context, []byte("rebuild.tree.v1\nd 0755 0 0 - - .\nl 0777 0 0 - /tmp a\nf 0644 0 0 2 " +
			string(store.DigestOf([]byte("c\n"))) + " a/c\n"), fault.Parse},
		"a file's content":      {store.DigestOf([]byte("c\n")), nil, fault.FileMissing},
		"another content":       {store.DigestOf([]byte("c\n")), []byte("d\n"), fault.EvidenceMismatch},
		"a seed that is needed": {p.Doc.Seeds[0].Digest, nil, fault.FileMissing},
		"another seed":          {p.Doc.Seeds[0].Digest, []byte{9, 9, 9, 9}, fault.EvidenceMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			s := maps.Clone(good)
			delete(s, c.digest)
			if c.data != nil {
				s[c.digest] = c.data
			}
			base := t.TempDir()
			got, err := pipeline.Restore(context.Background(), filepath.Join(base, "again"), &p.Doc, s, nil)
			if code := fault.CodeOf(err); got != nil || code != c.code && !(c.code == fault.Parse && code.Exit() == 31) {
				t.Errorf("got %v, want %s", err, c.code)
			}
			if held, _ := os.ReadDir(base); len(held) != 1 {
				t.Errorf("beside the folder: %v", held)
			}
		})
	}
}

// Hints come from whoever runs the index. One that is no URL of the web would
// have rebuild fetch read this machine's files.
func TestRestoreTakesHintsOfTheWebOnly(t *testing.T) {
	p := amd64Plan(t, write(t, whole))
	s, _ := define(t, p, nil)
	d := p.Doc.Sources[1].Digest
	again, err := pipeline.Restore(context.Background(), filepath.Join(t.TempDir(), "again"), &p.Doc, s, map[store.Digest][]string{
		d: {"file:///etc/passwd", "../../x", "https://u:p@example.org/x", "ftp://example.org/x", "https:///x", "https://example.org/good"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := again.Hints(); len(got) != 1 || strings.Join(got[d], " ") != "https://example.org/good" {
		t.Errorf("got %v", got)
	}
	// Nor can they keep a reproduction busy for ever.
	var many []string
	for i := range 10_000 {
		many = append(many, fmt.Sprintf("https://example.org/slow%d", i))
	}
	again, err = pipeline.Restore(context.Background(), filepath.Join(t.TempDir(), "many"), &p.Doc, s, map[store.Digest][]string{d: many})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(again.Hints()[d]); n != 16 {
		t.Errorf("%d hints are taken", n)
	}
}

// Sources and images travel with the definitions as far as there is room.
func TestDefineSourcesAndImages(t *testing.T) {
	dir := t.TempDir()
	_, manifests := layout(t, dir)
	put(t, dir, strings.Replace(withImage("oci-layout:base", manifests[amd64]), "\"linux/386\", ", "", 1))
	state := filepath.Join(t.TempDir(), "state")
	lock, err := load(t, dir).NewLock(t.Context(), pipeline.LockOptions{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := load(t, dir).Plan(amd64, pipeline.PlanOptions{Lock: lock, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pipeline.Fetch(context.Background(), pipeline.FetchOptions{
		Pipeline: p.Pipeline, Lock: lock, State: state, Client: pipeline.FetchClient(), Jobs: 1,
	}); err != nil {
		t.Fatal(err)
	}
	blobs, err := store.Open(pipeline.StoreDir(state))
	if err != nil {
		t.Fatal(err)
	}
	if _, missing := define(t, p, nil); !slices.Equal(missing, []string{"image/base"}) {
		t.Errorf("without a store %v is missing", missing)
	}
	s, missing := define(t, p, blobs)
	if len(missing) != 0 || s[manifests[amd64]] == nil {
		t.Errorf("missing %v", missing)
	}
	again, err := restore(t, p, s)
	if err != nil || !bytes.Equal(again.JSON, p.JSON) {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "state")
	if missing, err := again.Provide(context.Background(), other, s); err != nil || len(missing) > 0 {
		t.Fatal(missing, err)
	}
	there, err := store.Open(pipeline.StoreDir(other))
	if err != nil {
		t.Fatal(err)
	}
	if !there.Has(manifests[amd64]) {
		t.Error("the image is not in the store")
	}
}

// What others built is not built again, says so, and gives no vote.
func TestRunSubstitutes(t *testing.T) {
	honest := newRoom(t, diamondStages())
	rep := honest.mustRun()
	var released []attest.StageResult
	for _, s := range rep.Stages {
		released = append(released, attest.StageResult{Name: string(s.Name), Origin: s.Origin, Tree: s.Tree, Manifest: s.Manifest})
	}
	r := newRoom(t, diamondStages())
	p := plan(t, r.dir)
	others, err := p.Substitute("b", released)
	if err != nil {
		t.Fatal(err)
	}
	if want := []stages.Name{"a", "b"}; !slices.Equal(others.Images, want) {
		t.Errorf("images %v, want %v", others.Images, want)
	}
	from, err := store.Open(pipeline.StoreDir(honest.state))
	if err != nil {
		t.Fatal(err)
	}
	to, err := store.Open(pipeline.StoreDir(r.state))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range others.Images {
		took(t, to, from, released, name)
	}
	got := r.mustRun(func(o *pipeline.RunOptions) { o.Plan, o.Substitution = p, others })
	if outputs(got) != outputs(rep) || r.solved() != "[c d e]" || origins(got) != "a:substituted b:substituted c:built d:built e:built" || got.Repeat != nil {
		t.Errorf("%s, solved %s, %s, repeat %v", outputs(got), r.solved(), origins(got), got.Repeat)
	}
	result, err := pipeline.ResultOf(got, "north", strings.Repeat("ab", 32))
	if err != nil {
		t.Fatal(err)
	}
	payload, err := attest.NewResultStatement(&p.Doc, result)
	if err != nil || bytes.Contains(payload, []byte(`"outputs"`)) {
		t.Errorf("%v, a vote: %s", err, payload)
	}
	// Without the substitution all of it is built: nothing was put on record.
	all := r.mustRun(func(o *pipeline.RunOptions) { o.Plan = p })
	if r.solved() != "[a b]" || strings.Contains(origins(all), "substituted") {
		t.Errorf("solved %s, %s", r.solved(), origins(all))
	}
	if _, err := p.Substitute("nobody", released); fault.CodeOf(err) != fault.Usage {
		t.Errorf("got %v", err)
	}
	if _, err := p.Substitute("b", released[1:]); fault.CodeOf(err) != fault.EvidenceMismatch {
		t.Errorf("got %v", err)
	}
}

// took copies the image of a stage, as a reproduction takes it.
func took(t *testing.T, to, from *store.Store, released []attest.StageResult, name stages.Name) {
	t.Helper()
	i := slices.IndexFunc(released, func(s attest.StageResult) bool { return s.Name == string(name) })
	raw, err := from.Read(released[i].Manifest, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	config, layer, err := pipeline.PartsOf(raw)
	if err != nil {
		t.Fatal(err)
	}
	parts := map[store.Digest][]byte{}
	for _, d := range []store.Digest{config, layer} {
		if parts[d], err = from.Read(d, 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := to.Put(parts[layer]); err != nil {
		t.Fatal(err)
	}
	if err := pipeline.TakeImage(to, store.DigestOf([]byte("another")), raw, parts[config]); fault.CodeOf(err) != fault.TreeMismatch {
		t.Errorf("another tree: %v", err)
	}
	if err := pipeline.TakeImage(to, released[i].Tree, raw, parts[config]); err != nil {
		t.Fatal(err)
	}
}
