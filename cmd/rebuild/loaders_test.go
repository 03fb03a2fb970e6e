package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/spf13/cobra"

	"rebuild/attest"
	"rebuild/index"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/stages"
	"rebuild/store"
	"rebuild/surface"
)

// loaders are the ways by which each kind of document gets into the program,
// by the real function as far as it is exported; what package pipeline keeps to
// itself is tested there.
func loaders(t testing.TB) map[string]func(data []byte) error {
	decoded := func(k document.Kind, v any) func([]byte) error {
		return func(data []byte) error { return document.Decode("f", data, k, v) }
	}
	served := func(path string) func([]byte) error {
		return func(data []byte) error {
			_, err := index.NewReader(context.Background(), index.Dir(fstest.MapFS{path: {Data: data}}, "i"), index.Reading{})
			return err
		}
	}
	state := t.TempDir()
	return map[string]func(data []byte) error{
		"stage": func(data []byte) error {
			_, err := stages.Load(fstest.MapFS{"s/stage.toml": {Data: data}, "s/Containerfile": {Data: []byte("FROM scratch\n")}, "s/src/a": {}}, "s", "s")
			return err
		},
		"pipeline": func(data []byte) error {
			all := fstest.MapFS{"pipeline.toml": {Data: data}}
			for _, name := range []string{"hex0", "labels", "asm", "sha256sum"} {
				all[name+"/stage.toml"] = &fstest.MapFile{Data: []byte("schema_version = \"rebuild.stage@1.0.0\"\nname = \"" + name + "\"\n")}
				all[name+"/Containerfile"] = &fstest.MapFile{Data: []byte("FROM scratch\n")}
			}
			_, err := pipeline.LoadFS(all, ".", "p")
			return err
		},
		"package": func(data []byte) error { _, _, err := attest.LoadPackage("package.toml", data); return err },
		"policy":  func(data []byte) error { _, err := attest.LoadPolicy("policy.toml", data); return err },
		"lock":    func(data []byte) error { return pipeline.CheckLock("rebuild.lock", data) },
		"semver":  func(data []byte) error { _, err := surface.LoadSuppressions("semver.toml", data); return err },
		"exports": func(data []byte) error { _, err := surface.Decode("rebuild.exports.json", data); return err },
		"plan":    func(data []byte) error { _, err := attest.DecodePlan("plan.json", data); return err },
		"result":  decoded(document.Result, new(attest.Result)),
		"release": decoded(document.Release, new(attest.Release)),
		"yank":    decoded(document.Yank, new(attest.Yank)),
		"files":   decoded(document.Files, new(attest.FilesDocument)),
		"events":  func(data []byte) error { _, err := attest.DecodeEvent("events.jsonl", 1, data); return err },

		"index-config": served("config.json"),
		"index-entry":  func(data []byte) error { _, err := index.ParseEntry("he/ll/hello", data); return err },
		"state": func(data []byte) error {
			file := filepath.Join(t.TempDir(), "state.json")
			write(t, file, data)
			_, err := index.LoadState(file)
			return err
		},
		"run": func(data []byte) error {
			plan := regexp.MustCompile(`"plan":"(sha256:[0-9a-f]{64})"`).FindSubmatch(read(t, filepath.Join(compat, "run/1.0.0.json")))
			d := store.Digest(plan[1])
			write(t, filepath.Join(state, "runs", d.Hex()+".json"), data)
			_, err := pipeline.ReadReport(state, d)
			return err
		},
	}
}

// Documents of every released version are read by the next, through the loader
// that everybody uses (quality: upgrade). Those of a kind without one are held
// to the common rules.
func TestD7_CompatibleDocumentsAreLoaded(t *testing.T) {
	t.Parallel()
	byName := loaders(t)
	for _, k := range document.Kinds() {
		name := strings.TrimPrefix(k.Name, "rebuild.")
		for _, version := range k.Read {
			files, err := filepath.Glob(filepath.Join(compat, name, version+".*"))
			if err != nil || len(files) == 0 {
				t.Errorf("there is no document of %s@%s (%v)", k.Name, version, err)
			}
			for _, file := range files {
				load := byName[name]
				if load == nil {
					load = func(data []byte) error { var v any; return document.Decode(file, data, k, &v) }
				}
				if err := load(read(t, file)); err != nil {
					t.Errorf("%s: %v", file, err)
				}
			}
		}
	}
}

// spoiled are ways in which a document is not to be believed, whatever loads
// it, and how each is refused.
func spoiled(k document.Kind, good []byte) map[string]struct {
	data []byte
	exit int
} {
	toml := !bytes.HasPrefix(good, []byte("{"))
	with := func(extra string) []byte {
		if toml {
			return append([]byte(extra+"\n"), good...)
		}
		return append([]byte("{"+extra+","), good[1:]...)
	}
	in := map[string]struct {
		data []byte
		exit int
	}{
		"nothing": {nil, 31}, "garbage": {[]byte("\x00\xff\x01 garbage"), 31}, "no UTF-8": {append(bytes.Clone(good), 0xff), 31},
		"newer":        {bytes.ReplaceAll(good, []byte(k.Name+"@1.0.0"), []byte(k.Name+"@9.0.0")), 30},
		"older":        {bytes.ReplaceAll(good, []byte(k.Name+"@1.0.0"), []byte(k.Name+"@0.0.1")), 30},
		"another kind": {bytes.ReplaceAll(good, []byte(k.Name+"@1.0.0"), []byte("rebuild.other@1.0.0")), 31},
		"half":         {good[:len(good)/2], 31},
		"too large":    {append(bytes.Clone(good), bytes.Repeat([]byte(" "), int(k.MaxBytes)+1)...), 31},
	}
	unknown, twice := `"AAA":1`, `"schema_version":"`+k.ID()+`"`
	if toml {
		unknown, twice = "AAA = 1", "schema_version = \""+k.ID()+"\""
	}
	in["unknown key"] = struct {
		data []byte
		exit int
	}{with(unknown), 31}
	in["duplicate key"] = struct {
		data []byte
		exit int
	}{with(twice), 31}
	return in
}

// Nothing is believed before it was parsed strictly, has the right structure,
// means something and is of a version that we know; by whatever way it comes
// in.
func TestD13_D14_EveryLoaderIsStrict(t *testing.T) {
	t.Parallel()
	for name, load := range loaders(t) {
		k, ok := document.KindOf("rebuild." + name + "@")
		if !ok {
			t.Fatal(name)
		}
		files, _ := filepath.Glob(filepath.Join(compat, name, "1.0.0.*"))
		good := read(t, files[0])
		for what, c := range spoiled(k, good) {
			err := load(c.data)
			if got := fault.CodeOf(err).Exit(); err == nil || got != c.exit {
				t.Errorf("%s, %s: exit %d, want %d: %v", name, what, got, c.exit, err)
			}
		}
	}
}

// A flag that turns checks off would be used by scripts for ever.
func TestD13_NoFlagTurnsAChecksOff(t *testing.T) {
	t.Parallel()
	off := regexp.MustCompile(`(^|-)(skip|no-verify|no-check|force|unsafe|trust|ignore|lenient|insecure)(-|$)`)
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		for _, word := range regexp.MustCompile(`--([a-z-]+)`).FindAllStringSubmatch(c.UsageString(), -1) {
			if off.MatchString(word[1]) && word[1] != "insecure-plain-http" { // about secrecy: what comes is verified
				t.Errorf("%s has --%s", c.CommandPath(), word[1])
			}
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit((&app{ui: ui{world: world{getenv: func(string) string { return "" }}}}).rootCommand())
}

// Publishing ends with an index that others take from: no command puts
// anything on a machine that runs it (D1), and none hands out something that
// was rewritten on the way.
func TestD1_NoCommandShips(t *testing.T) {
	t.Parallel()
	ships := regexp.MustCompile(`^(deploy|ship|install|rollout|push|apply|start|serve-app|upgrade)$`)
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		if ships.MatchString(c.Name()) {
			t.Errorf("there is a command %s", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit((&app{ui: ui{world: world{getenv: func(string) string { return "" }}}}).rootCommand())
}

// An image is run by a container runtime, which knows nothing of us: it must
// hold what was built and no more, and its config must say all that is needed.
func TestD12_ReleasedImageNeedsNoFileOfOurs(t *testing.T) {
	t.Parallel()
	needEngine(t)
	state := stateRoot(t, false)
	_, r := answerOf[runResult](t, rebuild(t, "run", "--pipeline", builtinSeed, "--state", state, "--json", "--progress", "quiet").must(t))
	blobs, err := store.Open(pipeline.StoreDir(state))
	if err != nil {
		t.Fatal(err)
	}
	image, err := blobs.Image(r.Targets[0].Manifest)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := blobs.Tree(r.Targets[0].Tree)
	if err != nil {
		t.Fatal(err)
	}
	for e := range tree.Entries() {
		if base := filepath.Base(e.Path); strings.Contains(base, "rebuild") || strings.HasSuffix(base, ".json") || strings.HasSuffix(base, ".toml") {
			t.Errorf("the image holds %s", e.Path)
		}
	}
	if len(image.Config.Labels) > 0 || len(image.Config.Env) > 0 || !slices.Equal(image.Config.Entrypoint, []string{"/bin/sha256sum"}) {
		t.Errorf("config %+v", image.Config)
	}
	dir := t.TempDir()
	if err := blobs.Extract(image.Layer.Digest, dir, store.ExtractOptions{}); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "text"), []byte("abc"))
	c := exec.Command(filepath.Join(dir, image.Config.Entrypoint[0]), "text")
	c.Dir, c.Env = dir, []string{}
	out, err := c.CombinedOutput()
	if want := "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; err != nil || !bytes.Contains(out, []byte(want)) {
		t.Errorf("%v\n%s", err, out)
	}
}

// Commands read what others made; the only programs that ever run are a
// stage's, in its sandbox. A hook in a pipeline, a package or an index would be
// somebody else's program on this machine.
func TestD15_TheHostRunsNothing(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		lacking(t, "needs strace: apt-get install strace")
	}
	dir := releaseDir(t)
	in := func(name string) string { return filepath.Join(dir, name) }
	mine := t.TempDir()
	from := []string{"--index", in("index"), "--policy", in("policy.toml"), "--state", filepath.Join(mine, "state")}
	hooked := hookedPackage(t)
	for _, args := range [][]string{
		verifyArgs(dir), {"plan", "--pipeline", dir}, {"lock", "--check", "--pipeline", dir}, {"migrate", "--check", dir},
		{"index", "show", in("index"), "hello"}, {"versions"}, {"compare", in("results"), "--policy", in("policy.toml")},
		append([]string{"pkg", "verify", "hello"}, from...),
		append([]string{"pkg", "pull", "hello", "--unpack", "--output", filepath.Join(mine, "pulled")}, from...),
		{"pkg", "mirror", "hello", "--from", in("index"), "--to", filepath.Join(mine, "mirror"), "--policy", in("policy.toml")},
		{"pkg", "build", "--source", hooked, "--destination", filepath.Join(mine, "out"), "--include-manifest"},
		{"pkg", "files", filepath.Join(mine, "out")},
		{"pkg", "publish", "--package", "hooked", "--version", "0.1.0", "--folder", filepath.Join(mine, "out"), "--dry-run"},
		{"pkg", "check-semver", "--old", filepath.Join(mine, "out"), "--new", filepath.Join(mine, "out")},
		{"index", "fsck", in("index"), "--policy", in("policy.toml")},
	} {
		c := rebuild(t, args...)
		log := filepath.Join(t.TempDir(), "trace")
		c.Args = append([]string{"strace", "-f", "-qq", "-e", "trace=execve,execveat", "-o", log, c.Path}, c.Args[1:]...)
		c.Path = strace
		var ended *exec.ExitError
		if err := c.Run(); err != nil && !errors.As(err, &ended) {
			t.Fatal(err)
		}
		if n := bytes.Count(read(t, log), []byte("execve")); n != 1 {
			t.Errorf("%v started %d programs:\n%s", args, n, read(t, log))
		}
		if out := c.out.String() + c.err.String(); strings.Contains(out, "USAGE") {
			t.Errorf("%v was not done: %s", args, out)
		}
	}
}

// hookedPackage is an author's folder with the programs that others run by
// their names.
func hookedPackage(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "package.toml"), []byte(strings.Replace(castPackage, `"hello"`, `"hooked"`, 1)))
	for _, name := range []string{"install.sh", "postinstall", "configure", "Makefile", "hooks/post-build", "setup.py"} {
		file := filepath.Join(dir, name)
		write(t, file, []byte("#!/bin/sh\nexit 1\n"))
		if err := os.Chmod(file, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// The ten invariants of the decision on versions and trust, each with a test
// that fails when it is broken.
func TestD17_EveryInvariantHasATest(t *testing.T) {
	t.Parallel()
	invariants := []struct{ invariant, file, test string }{
		{"1 a shipper is a later consumer, nothing depends on one", "cmd/rebuild/loaders_test.go", "TestD1_NoCommandShips"},
		{"2 it stops at the production of artifacts", "cmd/rebuild/loaders_test.go", "TestD1_NoCommandShips"},
		{"3 the runtime owns how it reads: plain OCI", "cmd/rebuild/loaders_test.go", "TestD12_ReleasedImageNeedsNoFileOfOurs"},
		{"4 writing, and the documents beside, are ours", "cmd/rebuild/migrate_test.go", "TestD4_VersionsSayTheContract"},
		{"5 a version for each schema", "internal/document/versions_test.go", "TestD5_OneVersionForEachSchema"},
		{"6 only owned artifacts are migrated", "migrate/migrate_test.go", "TestD6_MigratesWhatIsOwned"},
		{"6 and never signed ones", "migrate/migrate_test.go", "TestD6_H12_SignedBytesAreNeverTouched"},
		{"7 a window of support", "internal/document/upgrade_test.go", "TestD9_EveryVersionInAWindowIsReadOrMigrated"},
		{"8 inputs are untrusted until validated", "cmd/rebuild/loaders_test.go", "TestD13_D14_EveryLoaderIsStrict"},
		{"9 no plugins, no scripts", "cmd/rebuild/loaders_test.go", "TestD15_TheHostRunsNothing"},
		{"10 a consumer neither repairs nor redefines", "internal/document/upgrade_test.go", "TestD16_NothingIsRepaired"},
	}
	seen := map[string]bool{}
	for _, i := range invariants {
		text, err := os.ReadFile(filepath.Join("../..", i.file))
		if err != nil || !bytes.Contains(text, []byte("func "+i.test+"(t *testing.T)")) {
			t.Errorf("%s: there is no %s in %s (%v)", i.invariant, i.test, i.file, err)
		}
		seen[strings.Fields(i.invariant)[0]] = true
	}
	if len(seen) != 10 {
		t.Errorf("%d invariants, want 10", len(seen))
	}
}
