package pipeline_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rebuild/attest"
	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/stages"
	"rebuild/store"
)

// whole uses every kind of input and every field of a stage.
const whole = `-- pipeline.toml --
schema_version = "rebuild.pipeline@1.0.0"
name = "demo"
source_date_epoch = 7
platforms = ["linux/amd64", "linux/386"]
stages = ["a", "b", "c"]
targets = ["a", "b"]
-- a/stage.toml --
schema_version = "rebuild.stage@1.0.0"
name = "a"
context = "src"
inputs = ["seed/hex0", "source/tar"]
export = "/out"
args = { V = "1" }
image = { entrypoint = ["/bin/a"], exposed_ports = ["80", "90"], volumes = ["/x", "/y"] }
[[source]]
name = "tar"
digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
size = 70
unpack = "tar"
urls = ["https://example.org/tar"]
code = [
  { path = "x", digest = "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc", reason = "known" },
  { path = "y", digest = "sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd", reason = "known" },
]
[[source]]
name = "file"
digest = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
size = 80
into = "fetch/file"
-- a/Containerfile --
FROM scratch
COPY . /out/
-- a/src/hex0.hex0 --
7f 45 # seed
-- a/src/hello --
hello
-- b/stage.toml --
schema_version = "rebuild.stage@1.0.0"
name = "b"
inputs = ["stage/a", "source/tar"]
alias = { "core/a" = "stage/a" }
[[source]]
name = "tar"
digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
size = 70
unpack = "tar"
code = [
  { path = "y", digest = "sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd", reason = "known" },
  { path = "x", digest = "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc", reason = "known" },
]
-- c/stage.toml --
schema_version = "rebuild.stage@1.0.0"
name = "c"
inputs = ["stage/b"]
`

func amd64Plan(t testing.TB, dir string) *pipeline.Plan {
	t.Helper()
	plan, err := load(t, dir).Plan(amd64, pipeline.PlanOptions{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

func TestPlanOfTheWhole(t *testing.T) {
	plan := amd64Plan(t, write(t, whole))
	if _, err := attest.DecodePlan("plan.json", plan.JSON); err != nil {
		t.Fatal(err)
	}
	if len(plan.Doc.Stages) != 2 || plan.Stage("c") != nil {
		t.Error("a stage that no target needs is in the plan")
	}
	if got := plan.Doc.Seeds; len(got) != 1 || got[0].Size != 2 || got[0].Digest != store.DigestOf([]byte{0x7f, 0x45}) {
		t.Errorf("seeds %+v", got)
	}
	if seed, ok := plan.Seed("hex0"); !ok || !bytes.Equal(seed, []byte{0x7f, 0x45}) {
		t.Errorf("seed % x", seed)
	}
	if got := plan.Doc.Sources; len(got) != 2 || got[0].Name != "file" || got[1].Omit[0].Path != "x" {
		t.Errorf("sources %+v", got)
	}
	a, _ := plan.Doc.Stage("a")
	tree, err := store.TreeOf([]store.File{
		{Path: "hello", Mode: 0o644, Data: []byte("hello\n")}, {Path: "hex0.hex0", Mode: 0o644, Data: []byte("7f 45 # seed\n")},
	})
	if err != nil {
		t.Fatal(err)
	}
	text := string(tree.Text())
	text = strings.Replace(text, "f 0644 0 0 6", "d 0755 0 0 - - fetch\nf 0644 0 0 80 sha256:"+strings.Repeat("b", 64)+" fetch/file\nf 0644 0 0 6", 1)
	if want := store.DigestOf([]byte(text)); a.Context != want {
		t.Errorf("context %s, want %s", a.Context, want)
	}
	if b, _ := plan.Doc.Stage("b"); b.Context != "" || b.Export != "/" {
		t.Errorf("stage b %+v", b)
	}
	if !slices.Equal(plan.Order(), []stages.Name{"a", "b"}) {
		t.Errorf("order %v", plan.Order())
	}
}

// What decides what the trees are must change the plan, whatever it is; what
// does not, must not.
func TestPlanDigestFollowsTheContent(t *testing.T) {
	base := amd64Plan(t, write(t, whole)).Digest
	for title, c := range map[string]struct {
		old, new string
		same     bool
	}{
		"name":              {`name = "demo"`, `name = "other"`, false},
		"epoch":             {`source_date_epoch = 7`, `source_date_epoch = 8`, false},
		"targets":           {`targets = ["a", "b"]`, `targets = ["b"]`, false},
		"more stages":       {`targets = ["a", "b"]`, `targets = ["a", "b", "c"]`, false},
		"exec":              {`targets = ["a", "b"]`, "targets = [\"a\", \"b\"]\nexec = \"buildkit.exec.v1\"", false},
		"exec of a stage":   {`export = "/out"`, "export = \"/out\"\nexec = \"buildkit.exec.v1\"", false},
		"Containerfile":     {"FROM scratch\nCOPY", "FROM scratch\n\nCOPY", false},
		"own file":          {"hello\n-- b", "hullo\n-- b", false},
		"own file's name":   {"a/src/hello", "a/src/hello2", false},
		"ignored":           {"-- a/src/hello", "-- a/src/.dockerignore --\nhello\n.dockerignore\n-- a/src/hello", false},
		"export":            {`export = "/out"`, `export = "/"`, false},
		"arg":               {`V = "1"`, `V = "2"`, false},
		"arg's name":        {`V = "1"`, `W = "1"`, false},
		"entrypoint":        {`"/bin/a"`, `"/bin/b"`, false},
		"seed":              {"7f 45", "7f 46", false},
		"input":             {"[\"stage/a\", \"source/tar\"]\nalias = { \"core/a\" = \"stage/a\" }", "[\"source/tar\"]", false},
		"source digest":     {"bbbb", "abbb", false},
		"source size":       {"size = 80", "size = 81", false},
		"source's place":    {"fetch/file", "fetch/other", false},
		"alias":             {`"core/a"`, `"core/b"`, false},
		"URL":               {`urls = ["https://example.org/tar"]`, `urls = []`, true},
		"reason":            {`reason = "known"`, `reason = "known well"`, true},
		"comment":           {`export = "/out"`, "# comment\nexport = \"/out\"", true},
		"strict":            {`targets = ["a", "b"]`, "targets = [\"a\", \"b\"]\nstrict = true", true},
		"exec spelled out":  {`targets = ["a", "b"]`, "targets = [\"a\", \"b\"]\nexec = \"rebuild.exec.v1\"", true},
		"order of stages":   {`stages = ["a", "b", "c"]`, `stages = ["c", "b", "a"]`, true},
		"order of targets":  {`targets = ["a", "b"]`, `targets = ["b", "a"]`, true},
		"order of inputs":   {`["stage/a", "source/tar"]`, `["source/tar", "stage/a"]`, true},
		"order of ports":    {`["80", "90"]`, `["90", "80"]`, true},
		"order of volumes":  {`["/x", "/y"]`, `["/y", "/x"]`, true},
		"other platforms":   {`["linux/amd64", "linux/386"]`, `["linux/amd64"]`, true},
		"alias spelled out": {`"core/a"`, `"docker.io/core/a:latest"`, true},
		"stage not reached": {`inputs = ["stage/b"]`, `inputs = ["stage/a"]`, true},
		"seed's comment":    {"# seed", "# the seed", false}, // the text is among the stage's own files
		"code left out": {"  { path = \"x\", digest = \"sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc\", reason = \"known\" },\n",
			"", false},
	} {
		t.Run(title, func(t *testing.T) {
			if !strings.Contains(whole, c.old) {
				t.Fatalf("%q is not in the archive", c.old)
			}
			archive := strings.ReplaceAll(whole, c.old, c.new)
			if got := amd64Plan(t, write(t, archive)).Digest; (got == base) != c.same {
				t.Errorf("same plan: %v, want %v", got == base, c.same)
			}
		})
	}
}

// Neither mode bits that builds do not see nor times nor the place of the
// checkout may count.
func TestPlanDoesNotSeeTheCheckout(t *testing.T) {
	base := amd64Plan(t, write(t, whole)).Digest
	dir := write(t, whole)
	if err := os.Chmod(filepath.Join(dir, "a/src/hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(dir, "a/src/hello"), time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if got := amd64Plan(t, dir).Digest; got != base {
		t.Error("the plan depends on modes or times")
	}
	if err := os.Chmod(filepath.Join(dir, "a/src/hello"), 0o755); err != nil {
		t.Fatal(err)
	}
	if got := amd64Plan(t, dir).Digest; got == base {
		t.Error("the plan does not depend on the owner's x bit")
	}
}

func TestPlanPlatforms(t *testing.T) {
	p := load(t, write(t, whole))
	i386, err := p.Plan("linux/386", pipeline.PlanOptions{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	if i386.Digest == amd64Plan(t, write(t, whole)).Digest {
		t.Error("two platforms have one plan")
	}
	_, err = p.Plan("linux/arm64", pipeline.PlanOptions{Now: now})
	wantFault(t, err, fault.Usage, "pipeline.toml", 4, "linux/arm64")
	p = load(t, write(t, strings.Replace(whole, "context = \"src\"", "context = \"src\"\nplatforms = [\"linux/amd64\"]", 1)))
	_, err = p.Plan("linux/386", pipeline.PlanOptions{Now: now})
	wantFault(t, err, fault.Semantic, "a/stage.toml", 4, "not for platform")
}

func TestPlanRefuses(t *testing.T) {
	for title, c := range map[string]struct {
		archive string
		code    fault.Code
		file    string
		line    int
		part    string
	}{
		"seed text": {strings.Replace(whole, "7f 45 # seed", "7f\n4", 1), fault.Parse, "a/src/hex0.hex0", 2, "odd"},
		"seed with two meanings": {strings.Replace(whole, "inputs = [\"stage/a\", \"source/tar\"]", "inputs = [\"stage/a\",\n\"seed/hex0\", \"source/tar\"]", 1) +
			"-- b/hex0.hex0 --\n00\n", fault.Semantic, "b/stage.toml", 4, "other bytes"},
		"image without lock": {
			strings.Replace(whole, "\"stage/a\", \"source/tar\"", "\"stage/a\", \"source/tar\", \"image/base\"", 1) +
				"-- pipeline.toml --\n" + head + "platforms = [\"linux/amd64\"]\nstages = [\"a\", \"b\"]\ntargets = [\"b\"]\n[images]\nbase = \"oci-layout:x@" + digestA + "\"\n",
			fault.LockMissing, "b/stage.toml", 3, "pins the image",
		},
	} {
		t.Run(title, func(t *testing.T) {
			_, err := load(t, write(t, c.archive)).Plan(amd64, pipeline.PlanOptions{Now: now})
			wantFault(t, err, c.code, c.file, c.line, c.part)
		})
	}
}

// A remembered digest must never outlive the content it was made from.
func TestContextsRemember(t *testing.T) {
	dir, state := write(t, whole), t.TempDir()
	hello := filepath.Join(dir, "a/src/hello")
	planAt := func(at time.Time) (store.Digest, *pipeline.Contexts) {
		t.Helper()
		c := pipeline.LoadContexts(state)
		plan, err := load(t, dir).Plan(amd64, pipeline.PlanOptions{Contexts: c, Now: at})
		if err != nil {
			t.Fatal(err)
		}
		if err := pipeline.SaveContexts(c, state); err != nil {
			t.Fatal(err)
		}
		return plan.Digest, c
	}
	base, _ := planAt(time.Now()) // too young
	if _, err := os.Stat(filepath.Join(state, "contexts.json")); err == nil {
		t.Fatal("a file that has just been written is remembered")
	}
	if got, _ := planAt(now); got != base {
		t.Fatal("another plan when it is remembered")
	}
	if got, c := planAt(now); got != base || pipeline.Dirty(c) {
		t.Fatal("another plan from memory, or nothing was remembered")
	}
	info, err := os.Stat(hello)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(hello, []byte("HELLO\n"), 0o644); err != nil { // the same size
		t.Fatal(err)
	}
	if err := os.Chtimes(hello, info.ModTime(), info.ModTime()); err != nil { // and time
		t.Fatal(err)
	}
	changed, _ := planAt(now)
	if changed == base {
		t.Fatal("a change of content was not seen")
	}
	if err := os.WriteFile(filepath.Join(state, "contexts.json"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, _ := planAt(now); got != changed {
		t.Fatal("a damaged memory changed the plan")
	}
}

// The pipeline in the program and the one in a checkout are one plan.
func TestPlanOfTheBuiltinPipeline(t *testing.T) {
	embedded, err := pipeline.LoadFS(stages.Builtin(), ".", "builtin")
	if err != nil {
		t.Fatal(err)
	}
	onDisk, err := pipeline.Load("../stages", "stages", stages.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	for _, platform := range embedded.Platforms {
		a, err := embedded.Plan(platform, pipeline.PlanOptions{Now: now})
		if err != nil {
			t.Fatal(err)
		}
		b, err := onDisk.Plan(platform, pipeline.PlanOptions{Now: now})
		if err != nil {
			t.Fatal(err)
		}
		if a.Digest != b.Digest {
			t.Errorf("%s: embedded\n%s\non disk\n%s", platform, a.JSON, b.JSON)
		}
	}
}
