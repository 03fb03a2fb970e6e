package pipeline_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"rebuild/internal/fault"
	"rebuild/pipeline"
)

const digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

func source(name, digest string) string {
	return "[[source]]\nname = \"" + name + "\"\ndigest = \"" + digest + "\"\nsize = 7\n"
}

func TestLoadRefuses(t *testing.T) {
	digestB := strings.Replace(digestA, "aaa", "bbb", 1)
	pair := head + "platforms = [\"linux/amd64\"]\nstages = [\"a\", \"b\"]\ntargets = [\"b\"]\n"
	for title, c := range map[string]struct {
		toml   string // of pipeline.toml
		stages string // archive; "" = one stage a
		code   fault.Code
		file   string // "" = pipeline.toml
		line   int
		part   string
	}{
		"no version":            {"name = \"x\"\n", "", fault.Structure, "", 0, "schema_version"},
		"newer version":         {"schema_version = \"rebuild.pipeline@1.1.0\"\n", "", fault.SchemaUnsupported, "", 1, "1.1.0"},
		"syntax":                {head + "[[[\n", "", fault.Parse, "", 3, ""},
		"unknown key":           {head + rest + "target = \"a\"\n", "", fault.Structure, "", 6, "target"},
		"duplicate key":         {head + rest + "stages = []\n", "", fault.Parse, "", 6, ""},
		"wrong type":            {head + "strict = \"yes\"\n" + rest, "", fault.Structure, "", 3, "strict"},
		"float":                 {head + "source_date_epoch = 1.0\n" + rest, "", fault.Parse, "", 3, "floats"},
		"no name":               {"schema_version = \"rebuild.pipeline@1.0.0\"\n" + rest, "", fault.Semantic, "", 0, "name is missing"},
		"bad name":              {"schema_version = \"rebuild.pipeline@1.0.0\"\nname = \"a/b\"\n" + rest, "", fault.Structure, "", 2, "a/b"},
		"epoch 0":               {head + "source_date_epoch = 0\n" + rest, "", fault.Semantic, "", 3, "out of range"},
		"epoch negative":        {head + "source_date_epoch = -1\n" + rest, "", fault.Semantic, "", 3, "out of range"},
		"epoch too late":        {head + "source_date_epoch = 8589934592\n" + rest, "", fault.Semantic, "", 3, "out of range"},
		"unknown exec":          {head + "exec = \"sh\"\n" + rest, "", fault.Semantic, "", 3, "sh"},
		"no platforms":          {head + "stages = [\"a\"]\ntargets = [\"a\"]\n", "", fault.Semantic, "", 0, "no platforms"},
		"foreign platform":      {head + "platforms = [\"linux/amd64\", \"linux/riscv64\"]\n", "", fault.PolicyDenied, "", 3, "riscv64"},
		"platform twice":        {head + "platforms = [\"linux/386\", \"linux/386\"]\n", "", fault.Semantic, "", 3, "twice"},
		"no targets":            {head + "platforms = [\"linux/amd64\"]\nstages = [\"a\"]\n", "", fault.Semantic, "", 0, "no targets"},
		"target twice":          {head + "platforms = [\"linux/amd64\"]\nstages = [\"a\"]\ntargets = [\"a\", \"a\"]\n", "", fault.Semantic, "", 5, "twice"},
		"target unknown":        {head + "platforms = [\"linux/amd64\"]\nstages = [\"a\"]\ntargets = [\n\"a\",\n\"c\",\n]\n", "", fault.Semantic, "", 7, "\"c\""},
		"target is a path":      {head + "platforms = [\"linux/amd64\"]\nstages = [\"a\"]\ntargets = [\"./a\"]\n", "", fault.Structure, "", 5, "./a"},
		"no stages":             {head + "platforms = [\"linux/amd64\"]\ntargets = [\"a\"]\n", "", fault.Semantic, "", 0, "0 stages"},
		"stage folder missing":  {head + "platforms = [\"linux/amd64\"]\nstages = [\n\"a\",\n\"b\",\n]\ntargets = [\"a\"]\n", "", fault.Semantic, "", 6, "\"b\""},
		"stage folder absolute": {head + "platforms = [\"linux/amd64\"]\nstages = [\"/etc\"]\ntargets = [\"a\"]\n", "", fault.Semantic, "", 4, "/etc"},
		"stage folder unclean":  {head + "platforms = [\"linux/amd64\"]\nstages = [\"./a\"]\ntargets = [\"a\"]\n", "", fault.Semantic, "", 4, "./a"},
		"builtin unknown":       {head + "platforms = [\"linux/amd64\"]\nstages = [\"builtin:no\"]\ntargets = [\"no\"]\n", "", fault.Semantic, "", 4, "builtin:no"},
		"builtin path":          {head + "platforms = [\"linux/amd64\"]\nstages = [\"builtin:../a\"]\ntargets = [\"a\"]\n", "", fault.Structure, "", 4, "../a"},
		"folder without stage":  {head + rest, "-- a/readme --\n", fault.Structure, "a/stage.toml", 0, "no such file"},
		"stage refused":         {head + rest, stage("a", "exprt = \"/out\""), fault.Structure, "a/stage.toml", 3, "exprt"},
		"stage name twice":      {pair, stage("a") + strings.ReplaceAll(stage("a"), "-- a/", "-- b/"), fault.Semantic, "", 4, "defined twice"},
		"stage name twins":      {head + "platforms = [\"linux/amd64\"]\nstages = [\n\"a-b\", \"a_b\"]\ntargets = [\"a-b\"]\n", stage("a-b") + stage("a_b"), fault.Semantic, "", 4, "differ only"},
		"input unknown":         {head + rest, stage("a", "inputs = [", "\"stage/musl\"]"), fault.Semantic, "a/stage.toml", 4, "stage/musl"},
		"image unpinned":        {head + rest, stage("a", "inputs = [\"image/base\"]"), fault.Semantic, "a/stage.toml", 3, "no hash"},
		"cycle of two":          {pair, stage("a", "inputs = [\"stage/b\"]") + stage("b", "", "inputs = [\"stage/a\"]"), fault.Semantic, "b/stage.toml", 4, "a needs b needs a"},
		"cycle off the targets": {
			head + "platforms = [\"linux/amd64\"]\nstages = [\"a\", \"b\", \"c\"]\ntargets = [\"a\"]\n",
			stage("a") + stage("b", "inputs = [\"stage/c\"]") + stage("c", "inputs = [\"stage/b\"]"), fault.Semantic, "c/stage.toml", 3, "b needs c needs b",
		},
		"one name two sources": {
			pair, stage("a", "inputs = [\"source/x\"]", source("x", digestA)) + stage("b", "inputs = [\"source/x\"]", source("x", digestB)), fault.Semantic, "b/stage.toml", 5, "another one",
		},
		"source twins": {
			pair, stage("a", "inputs = [\"source/x-y\"]", source("x-y", digestA)) + stage("b", "inputs = [\"source/x_y\"]", source("x_y", digestA)), fault.Semantic, "b/stage.toml", 5, "differ only",
		},
		"exporter under rebuild": {head + rest, stage("a", "[exporter]", "attrs = {}"), fault.Semantic, "a/stage.toml", 3, "stock engine"},
		"index without slash":    {head + "index = \"sparse+https://x\"\n" + rest, "", fault.Semantic, "", 3, "index"},
		"index over http":        {head + "index = \"sparse+http://x/\"\n" + rest, "", fault.Semantic, "", 3, "index"},
		"packages bad range":     {head + rest + "[packages]\nmusl = \"one\"\n", "", fault.Structure, "", 7, "no range"},
		"packages bad name":      {head + rest + "[packages]\nMusl = \"^1\"\n", "", fault.Structure, "", 7, "Musl"},
		"packages twins":         {head + rest + "[packages]\nx_y = \"^1\"\nx-y = \"^1\"\n", "", fault.Semantic, "", 6, "differ only"},
		"image tag":              {head + rest + "[images]\nbase = \"debian:12\"\n", "", fault.PolicyDenied, "", 7, "not pinned"},
		"image of a registry":    {head + rest + "[images]\nbase = \"docker.io/library/debian@" + digestA + "\"\n", "", fault.Semantic, "", 7, "OCI image layout"},
		"image bad digest":       {head + rest + "[images]\nbase = \"oci-layout:x@sha256:00\"\n", "", fault.Structure, "", 7, "sha256:00"},
		"image absolute":         {head + rest + "[images]\nbase = \"oci-layout:/x@" + digestA + "\"\n", "", fault.Semantic, "", 7, "/x"},
		"image bad name":         {head + rest + "[images]\nBase = \"oci-layout:x@" + digestA + "\"\n", "", fault.Structure, "", 7, "Base"},
		"image twins":            {head + rest + "[images]\nx_y = \"oci-layout:x@" + digestA + "\"\nx-y = \"oci-layout:x@" + digestA + "\"\n", "", fault.Semantic, "", 6, "differ only"},
	} {
		t.Run(title, func(t *testing.T) {
			archive := c.stages
			if archive == "" {
				archive = stage("a")
			}
			dir := write(t, "-- pipeline.toml --\n"+c.toml+archive)
			_, err := pipeline.Load(dir, "", builtin)
			file := c.file
			if file == "" {
				file = "pipeline.toml"
			}
			wantFault(t, err, c.code, file, c.line, c.part)
		})
	}
}

func TestLoadNamesFilesAsTheUserDoes(t *testing.T) {
	_, err := pipeline.Load(t.TempDir(), "some/where", builtin)
	wantFault(t, err, fault.Structure, "some/where/pipeline.toml", 0, "no such file")
	dir := write(t, "-- pipeline.toml --\n"+head+rest+stage("a", "x = 1"))
	_, err = pipeline.Load(dir, "some/where", builtin)
	wantFault(t, err, fault.Structure, "some/where/a/stage.toml", 3, "")
}

func TestLoadOrdersStages(t *testing.T) {
	dir := write(t, "-- pipeline.toml --\n"+head+"platforms = [\"linux/amd64\", \"linux/386\"]\nstages = [\"d\", \"b\", \"c\", \"a\", \"builtin:shipped\"]\ntargets = [\"d\", \"b\"]\n"+
		stage("a")+stage("b", "inputs = [\"stage/d\"]")+stage("c", "inputs = [\"stage/a\"]")+stage("d", "inputs = [\"stage/c\", \"stage/shipped\"]"))
	p := load(t, dir)
	var order []string
	for _, s := range p.Stages {
		order = append(order, string(s.Name))
	}
	if got := strings.Join(order, " "); got != "a c shipped d b" {
		t.Errorf("order %s", got)
	}
	if fmt.Sprintln(p.Platforms, p.Targets, p.Epoch, p.Exec) != "[linux/386 linux/amd64] [b d] 1 rebuild.exec.v1\n" {
		t.Errorf("%v %v %v %v", p.Platforms, p.Targets, p.Epoch, p.Exec)
	}
}

func TestLoadFS(t *testing.T) {
	p, err := pipeline.LoadFS(builtin, ".", "builtin:")
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Stages) != 1 || p.Dir != "" {
		t.Errorf("%+v", p)
	}
	if lock, err := p.ReadLock(); lock != nil || err != nil {
		t.Errorf("%v %v", lock, err)
	}
	out := fstest.MapFS{"pipeline.toml": {Data: []byte(head + "platforms = [\"linux/amd64\"]\nstages = [\"../a\"]\ntargets = [\"a\"]\n")}}
	_, err = pipeline.LoadFS(out, ".", "x")
	wantFault(t, err, fault.Semantic, "x/pipeline.toml", 4, "leads out")
}

// A stage folder may be shared by pipelines beside each other.
func TestLoadStageBesideThePipeline(t *testing.T) {
	dir := write(t, "-- one/pipeline.toml --\n"+head+strings.Replace(rest, "[\"a\"]\nt", "[\"../a\"]\nt", 1)+stage("a"))
	t.Chdir(dir)
	p, err := pipeline.Load("one", "one", builtin)
	if err != nil {
		t.Fatal(err)
	}
	if p.Stages[0].File != "a/stage.toml" {
		t.Errorf("file %s", p.Stages[0].File)
	}
}

// FuzzLoad looks for a pipeline.toml that panics the loader or is refused
// without a place.
func FuzzLoad(f *testing.F) {
	f.Add(head + rest)
	f.Add(head + rest + "[images]\nbase = \"oci-layout:x@" + digestA + "\"\n")
	f.Add(head + "platforms = [\"linux/386\"]\nstages = [\"a\", \"b\"]\ntargets = [\"b\"]\nindex = \"sparse+https://x/\"\nstrict = true\n")
	f.Fuzz(func(t *testing.T, toml string) {
		fsys := fstest.MapFS{
			"pipeline.toml":   {Data: []byte(toml)},
			"a/stage.toml":    {Data: []byte("schema_version = \"rebuild.stage@1.0.0\"\nname = \"a\"\n")},
			"a/Containerfile": {Data: []byte("FROM scratch\n")},
			"b/stage.toml":    {Data: []byte("schema_version = \"rebuild.stage@1.0.0\"\nname = \"b\"\ninputs = [\"stage/a\"]\n")},
			"b/Containerfile": {Data: []byte("FROM stage/a\n")},
		}
		p, err := pipeline.LoadFS(fsys, ".", "x")
		if err != nil {
			var e *fault.Error
			if !errors.As(err, &e) || e.File == "" || !slices.Contains([]int{19, 30, 31}, e.Code.Exit()) {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		plan, err := p.Plan(p.Platforms[0], pipeline.PlanOptions{Now: now})
		if err != nil {
			t.Fatal(err)
		}
		if plan.Doc.Digest() != plan.Digest {
			t.Fatal("the plan's digest is not that of its bytes")
		}
	})
}
