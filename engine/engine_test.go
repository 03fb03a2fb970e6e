package engine

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/ulikunitz/xz"

	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/stages"
	"rebuild/store"
)

// The test binary is also the engine's child processes.
func TestMain(m *testing.M) {
	if status, ours := Reexec(os.Args); ours {
		os.Exit(status)
	}
	os.Exit(m.Run())
}

// probe compiles the program that runs inside stages, once. A test that runs
// again as another user is given the file.
var probe = sync.OnceValues(func() ([]byte, error) {
	if file := os.Getenv("REBUILD_PROBE"); file != "" {
		return os.ReadFile(file)
	}
	dir, err := os.MkdirTemp("", "probe")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(dir, "probe"), "./testdata/probe")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return os.ReadFile(filepath.Join(dir, "probe"))
})

// bench is one state root with an engine on it.
type bench struct {
	*Engine
	t     *testing.T
	store *store.Store
	probe store.Digest // image/probe
	empty store.Digest // an empty context
}

// newBench makes an engine on a fresh state root below dir, "" for a
// temporary folder. Without a usable runc the test is skipped, unless
// REBUILD_REQUIRE_ENGINE says that this machine must have one.
func newBench(t *testing.T, dir string, edit func(*Options)) *bench {
	t.Helper()
	if dir == "" {
		dir = t.TempDir()
	}
	st, err := store.Open(filepath.Join(dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Store: st.Dir(), Engines: filepath.Join(dir, "engines"), Cache: cacheDir(t),
		Runc: os.Getenv("REBUILD_RUNC"), Path: os.Getenv("PATH"),
	}
	if edit != nil {
		edit(&o)
	}
	e := New(o)
	t.Cleanup(func() { e.Close() })
	if _, err := e.runc(); err != nil {
		lacking(t, "needs runc: %v; run make test", err)
	}
	b := &bench{Engine: e, t: t, store: st}
	program, err := probe()
	if err != nil {
		t.Fatal(err)
	}
	b.probe = b.image("linux/amd64", store.File{Path: "probe", Mode: 0o755, Data: program})
	b.empty = b.image("linux/amd64")
	return b
}

// lacking ends a test that this machine can not run: a skip, or a failure where
// REBUILD_REQUIRE_ENGINE says that nothing may be left out.
func lacking(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("REBUILD_REQUIRE_ENGINE") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

func cacheDir(t *testing.T) string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return t.TempDir()
	}
	return filepath.Join(dir, "rebuild")
}

func (b *bench) image(platform string, files ...store.File) store.Digest {
	b.t.Helper()
	layer, err := b.store.PutFiles(files, 1)
	if err != nil {
		b.t.Fatal(err)
	}
	manifest, err := b.store.PutImage(layer, platform, store.ImageConfig{})
	if err != nil {
		b.t.Fatal(err)
	}
	return manifest
}

// job is a stage with image/probe as input and /out exported.
func (b *bench) job(name, containerfile string) pipeline.Job {
	return pipeline.Job{
		Stage: stages.Name(name), Platform: "linux/amd64", Epoch: 1, Exec: stages.RebuildExec,
		Containerfile: []byte(containerfile), File: name + "/Containerfile", Context: b.empty,
		Inputs: []pipeline.Input{{Name: "image/probe", Manifest: b.probe}}, Export: "/out",
	}
}

func (b *bench) solve(j pipeline.Job) pipeline.Output {
	b.t.Helper()
	out, err := b.Solve(context.Background(), j)
	if err != nil {
		var s *pipeline.StageError
		if errors.As(err, &s) {
			b.t.Fatalf("%v\n%s", err, s.Log)
		}
		b.t.Fatal(err)
	}
	return out
}

// file returns a file of a built tree.
func (b *bench) file(out pipeline.Output, name string) string {
	b.t.Helper()
	image, err := b.store.Image(out.Manifest)
	if err != nil {
		b.t.Fatal(err)
	}
	layer, err := b.store.Open(image.Layer.Digest)
	if err != nil {
		b.t.Fatal(err)
	}
	defer layer.Close()
	for files := tar.NewReader(layer); ; {
		h, err := files.Next()
		if err != nil {
			b.t.Fatalf("looking for %s: %v", name, err)
		}
		if h.Name != name {
			continue
		}
		text, err := io.ReadAll(files)
		if err != nil {
			b.t.Fatal(err)
		}
		return string(text)
	}
}

const hello = `FROM scratch
COPY --from=image/probe /probe /probe
WORKDIR /out
RUN ["/probe", "write", "/out/hello", "hello"]
`

func TestSolve(t *testing.T) {
	b := newBench(t, "", nil)
	out := b.solve(b.job("hello", hello))
	if got := b.file(out, "hello"); got != "hello\n" {
		t.Errorf("got %q", got)
	}
	tree, err := b.store.Read(out.Tree, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	want := "rebuild.tree.v1\nd 0755 0 0 - - .\nf 0644 0 0 6 " + string(store.DigestOf([]byte("hello\n"))) + " hello\n"
	if string(tree) != want {
		t.Errorf("tree\n%swant\n%s", tree, want)
	}
	t.Logf("built %s", out.Manifest) // TestOtherCallers compares this line
}

// Stages of one run share an engine and may be built side by side; a second
// engine, with another root, must get the same digests.
func TestSolveSideBySideAndAgain(t *testing.T) {
	var first []pipeline.Output
	for range 2 {
		b := newBench(t, "", nil)
		outs := make([]pipeline.Output, 4)
		var wg sync.WaitGroup
		for i := range outs {
			wg.Go(func() {
				outs[i] = b.solve(b.job(fmt.Sprintf("s%d", i), strings.ReplaceAll(hello, `"hello"]`, fmt.Sprintf(`"hello %d"]`, i))))
			})
		}
		wg.Wait()
		if first != nil && !slices.Equal(first, outs) {
			t.Errorf("first %v\nagain %v", first, outs)
		}
		first = outs
	}
}

// A stage's output is the next one's input, by digest.
func TestChain(t *testing.T) {
	b := newBench(t, "", nil)
	one := b.solve(b.job("one", hello))
	j := b.job("two", `FROM stage/one AS base
FROM scratch
COPY --from=image/probe /probe /probe
COPY --from=base /hello /in/hello
RUN ["/probe", "copy", "/in/hello", "/out"]
`)
	j.Inputs = append(j.Inputs, pipeline.Input{Name: "stage/one", Manifest: one.Manifest})
	j.Containerfile = []byte(strings.ReplaceAll(string(j.Containerfile), `"/out"`, `"/o"`))
	j.Export = "/in"
	two := b.solve(j)
	if two.Tree != one.Tree {
		t.Errorf("copied tree is %s, want %s", two.Tree, one.Tree)
	}
}

func TestStageFailure(t *testing.T) {
	b := newBench(t, "", nil)
	for _, c := range []struct {
		name, containerfile string
		status, line        int
	}{
		{"exit", "FROM image/probe\nWORKDIR /out\nRUN [\"/probe\", \"fail\", \"7\"]\n", 7, 3},
		{"missing-file", "FROM image/probe\nCOPY --from=image/probe /nope /out/\n", 0, 2},
		{"missing-program", "FROM image/probe\nWORKDIR /out\nRUN [\"/nope\"]\n", 0, 3},
		{"no-shell", "FROM image/probe\nRUN echo hello\n", 0, 2},
		{"missing-mount-source", "FROM image/probe\nRUN --mount=from=image/probe,source=/none,target=/t [\"/probe\"]\n", 0, 2},
		{"mount-on-a-file", "FROM image/probe\nRUN --mount=from=image/probe,target=/probe [\"/probe\"]\n", 0, 2},
		{"missing-export", "FROM image/probe\nRUN [\"/probe\", \"write\", \"/a\", \"b\"]\n", 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := b.Solve(context.Background(), b.job(c.name, c.containerfile))
			var s *pipeline.StageError
			if !errors.As(err, &s) || s.Class != pipeline.BuildFailed || s.ExitStatus != c.status {
				t.Fatalf("got %#v %v", s, err)
			}
			var f *fault.Error
			if !errors.As(err, &f) || f.Code != fault.StageFailed || f.Line != c.line {
				t.Errorf("got %+v", f)
			}
			if c.status != 0 && !strings.Contains(string(s.Log), "on purpose") {
				t.Errorf("log %q", s.Log)
			}
		})
	}
}

// What a command prints, or is called, can not pass for the engine's own words:
// a failed stage must not look like a broken machine.
func TestForgedFailure(t *testing.T) {
	b := newBench(t, "", nil)
	for _, words := range []string{deniedPrefix, runtimePrefix, startPrefix, exportPrefix, "no space left on device", "lchown"} {
		_, err := b.Solve(context.Background(), b.job("odd", fmt.Sprintf("FROM image/probe\nRUN [\"/probe\", %q]\n", words)))
		wantBuildFailed(t, err, "exited with 3")
	}
}

// A command that the kernel kills for want of memory says nothing of the stage.
func TestKilledCommand(t *testing.T) {
	dir := t.TempDir()
	b := newBench(t, dir, nil)
	failed := make(chan error, 1)
	go func() {
		_, err := b.Solve(context.Background(), b.job("long", sleeper))
		failed <- err
	}()
	sleeping(t, dir)
	for _, pid := range processesOf(dir, "/probe\x00sleep") {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	err := <-failed
	var s *pipeline.StageError
	if !errors.As(err, &s) || s.Class != pipeline.InfraFailed || fault.CodeOf(err) != fault.EngineUnavailable || !strings.Contains(err.Error(), "killed") {
		t.Errorf("got %#v %v", s, err)
	}
}

func TestCancel(t *testing.T) {
	b := newBench(t, "", nil)
	b.solve(b.job("warm", hello))
	ctx, cancel := context.WithCancel(context.Background())
	go cancel()
	_, err := b.Solve(ctx, b.job("long", "FROM image/probe\nWORKDIR /out\nRUN [\"/probe\", \"sleep\", \"600\"]\n"))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// What a stage sees is written down: any new line is a leak, or a decision.
func TestSurroundings(t *testing.T) {
	t.Setenv("LEAK", "from the host")
	t.Setenv("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("BUILDKIT_HOST", "tcp://127.0.0.1:1")
	b := newBench(t, "", nil)
	const see = `FROM image/probe
WORKDIR /out
RUN --mount=from=image/probe,target=/bound --mount=type=tmpfs,target=/scratch ["/probe", "surroundings", "/out/seen"]
`
	out := b.solve(b.job("see", see))
	golden(t, "testdata/surroundings.golden", b.file(out, "seen"))
	stock := b.job("stock", see)
	stock.Exec = stages.BuildKitExec
	golden(t, "testdata/surroundings.buildkit.golden", b.file(b.solve(stock), "seen"))
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if os.Getenv("REBUILD_UPDATE") != "" {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got\n%s", file, got)
	}
}

// Every variation reaches the stage, and none of them changes what a sound
// stage builds.
func TestVariation(t *testing.T) {
	plain := newBench(t, "", nil)
	want := plain.solve(plain.job("hello", hello))
	varied := newBench(t, "", func(o *Options) {
		o.Variation = Variation{CPUs: 1, KernelName: true, NoASLR: true, UptimeDays: 1000, DomainName: "elsewhere", HideCPU: true}
	})
	if got := varied.solve(varied.job("hello", hello)); got != want {
		t.Errorf("varied %v, plain %v", got, want)
	}
	seen := varied.file(varied.solve(varied.job("vary", "FROM image/probe\nWORKDIR /out\nRUN [\"/probe\", \"vary\", \"/out/seen\"]\n")), "seen")
	for _, line := range []string{"cpus 1\n", "kernel 2.6.", "cpuinfo false\n", "domain elsewhere\n", "personality 00060000\n"} {
		if !strings.Contains(seen, line) {
			t.Errorf("no %q in\n%s", line, seen)
		}
	}
	var days int
	if _, err := fmt.Sscanf(seen[strings.Index(seen, "uptime-days"):], "uptime-days %d", &days); err != nil || days < 1000 {
		t.Errorf("uptime of %d days in\n%s", days, seen)
	}
	environment, err := varied.Environment(context.Background())
	if err != nil || !slices.Equal(environment.Varied, []string{"aslr", "cpuinfo", "cpus", "domainname", "kernel-name", "uptime"}) {
		t.Errorf("varied %v, %v", environment.Varied, err)
	}
}

// A root file system that would aim runc's mounts elsewhere is refused before
// runc sees it (CVE-2026-41579).
func TestHostileRootfs(t *testing.T) {
	b := newBench(t, "", nil)
	for _, name := range []string{"dev", "proc", "sys", "etc"} {
		j := b.job("evil-"+name, "FROM image/evil\nCOPY --from=image/probe /probe /probe\nRUN [\"/probe\", \"write\", \"/x\", \"y\"]\n")
		evil := b.image("linux/amd64", store.File{Type: store.Symlink, Path: name, Target: "/tmp"})
		j.Inputs = append(j.Inputs, pipeline.Input{Name: "image/evil", Manifest: evil})
		_, err := b.Solve(context.Background(), j)
		if fault.CodeOf(err) != fault.PolicyDenied {
			t.Errorf("/%s as a link: %v", name, err)
		}
	}
}

// No program of the host runs in the engine, whoever comes first in PATH.
func TestHostProgramsNeverRun(t *testing.T) {
	planted := t.TempDir()
	for _, name := range []string{"xz", "unpigz", "pigz", "runc", "buildkit-runc", "git", "newuidmap", "fuse-overlayfs", "mount", "sh"} {
		script := "#!/bin/sh\ntouch " + filepath.Join(planted, "ran-"+name) + "\nexit 1\n"
		if err := os.WriteFile(filepath.Join(planted, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	path := os.Getenv("PATH")
	b := newBench(t, "", func(o *Options) {
		if o.Runc == "" && embeddedRunc == nil {
			o.Runc = lookRunc(path) // what PATH names first is a choice of the caller's, made here
		}
		o.Path = planted + ":" + path
	})
	t.Setenv("PATH", planted+":"+path)
	data, err := xzipped("inside.txt", "packed\n")
	if err != nil {
		t.Fatal(err)
	}
	j := b.job("unpack", "FROM image/probe\nADD a.tar.xz b.tar.gz /out/\n")
	packed, err := gzipped("deep.txt", "packed too\n")
	if err != nil {
		t.Fatal(err)
	}
	j.Context = b.image("linux/amd64", store.File{Path: "a.tar.xz", Mode: 0o644, Data: data}, store.File{Path: "b.tar.gz", Mode: 0o644, Data: packed})
	out := b.solve(j)
	if got := b.file(out, "inside.txt"); got != "packed\n" {
		t.Errorf("xz gave %q", got)
	}
	if got := b.file(out, "deep.txt"); got != "packed too\n" {
		t.Errorf("gz gave %q", got)
	}
	ran, _ := filepath.Glob(filepath.Join(planted, "ran-*"))
	if len(ran) > 0 {
		t.Errorf("programs of the host ran: %v", ran)
	}
	j.Strict = true
	if _, err := b.Solve(context.Background(), j); fault.CodeOf(err) != fault.PolicyDenied {
		t.Errorf("strict: got %v", err)
	}
}

func gzipped(name, text string) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	err := errors.Join(writeTar(z, name, text), z.Close())
	return b.Bytes(), err
}

func xzipped(name, text string) ([]byte, error) {
	var b bytes.Buffer
	z, err := xz.NewWriter(&b)
	if err != nil {
		return nil, err
	}
	err = errors.Join(writeTar(z, name, text), z.Close())
	return b.Bytes(), err
}

func writeTar(w io.Writer, name, text string) error {
	t := tar.NewWriter(w)
	err := t.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))})
	if err == nil {
		_, err = io.WriteString(t, text)
	}
	return errors.Join(err, t.Close())
}
