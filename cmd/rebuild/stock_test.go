package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"rebuild/store"
)

// stock is a buildkitd with its own Dockerfile frontend, as users of buildx
// have it: what our recorded exporter digests are promised to equal.
type stock struct {
	t        *testing.T
	address  string
	buildctl string
}

// startStock starts buildkitd from the folder that REBUILD_STOCK names (make
// test builds it), with the runc of the engine under test.
func startStock(t *testing.T) *stock {
	t.Helper()
	dir := os.Getenv("REBUILD_STOCK")
	needRoot(t)
	if dir == "" {
		lacking(t, "needs a stock buildkitd in $REBUILD_STOCK; run make test")
	}
	root := t.TempDir()
	// buildkitd looks for runc in PATH, whatever --oci-worker-binary says.
	runc := filepath.Join(root, "runc")
	if err := os.Symlink(runcOf(t), runc); err != nil {
		t.Fatal(err)
	}
	s := &stock{t: t, address: "unix://" + filepath.Join(root, "s"), buildctl: filepath.Join(dir, "buildctl")}
	// In namespaces of its own, so that nothing of it outlives the test.
	cmd := exec.Command("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", filepath.Join(dir, "buildkitd"),
		"--root", filepath.Join(root, "root"), "--addr", s.address, "--oci-worker-binary", runc, "--oci-worker-snapshotter", "overlayfs",
		"--oci-worker-gc=false", "--containerd-worker=false", "--otel-socket-path", filepath.Join(root, "otel"))
	log, err := os.Create(filepath.Join(root, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "PATH="+root+":"+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		log.Close()
	})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if exec.Command(s.buildctl, "--addr", s.address, "debug", "info").Run() == nil {
			return s
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(log.Name())
			t.Fatalf("buildkitd does not answer:\n%s", text)
		}
	}
}

// digest builds a folder with the Dockerfile frontend and returns the digest
// of the manifest that the oci exporter wrote.
func (s *stock) digest(dir, platform string, contexts map[string]string, layout string, args map[string]string, attrs map[string]string) store.Digest {
	s.t.Helper()
	out := s.t.TempDir()
	meta := filepath.Join(out, "meta.json")
	output := []string{"type=oci", "dest=" + filepath.Join(out, "image.tar")}
	for k, v := range attrs {
		output = append(output, k+"="+v)
	}
	argv := []string{"--addr", s.address, "build", "--frontend", "dockerfile.v0", "--no-cache", "--progress", "plain",
		"--local", "context=" + dir, "--local", "dockerfile=" + dir, "--opt", "filename=Containerfile",
		"--opt", "platform=" + platform, "--opt", "build-arg:SOURCE_DATE_EPOCH=1",
		"--metadata-file", meta, "--output", strings.Join(output, ",")}
	for name, manifest := range contexts {
		argv = append(argv, "--opt", "context:"+name+"=oci-layout://local@"+manifest)
	}
	if len(contexts) > 0 {
		argv = append(argv, "--oci-layout", "local="+layout)
	}
	for k, v := range args {
		argv = append(argv, "--opt", "build-arg:"+k+"="+v)
	}
	if text, err := exec.Command(s.buildctl, argv...).CombinedOutput(); err != nil {
		s.t.Fatalf("buildctl: %v\n%s", err, text)
	}
	raw, err := os.ReadFile(meta)
	if err != nil {
		s.t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		s.t.Fatal(err)
	}
	return store.Digest(fmt.Sprint(m["containerimage.digest"]))
}

// Three recipes as public trees write them. %s is the name of the image that
// the programs come from.
const (
	manyRuns = `FROM scratch
COPY --from=stagex/probe /probe /bin/probe
WORKDIR /out
ENV NAME=value
RUN ["/bin/probe", "write", "/out/one", "1"]
RUN ["/bin/probe", "write", "/out/two", "2"]
RUN ["/bin/probe", "write", "/out/one", "one again"]
RUN ["/bin/probe", "link", "/out/three", "two"]
RUN ["/bin/probe", "copy", "/out/two", "/out/four"]
COPY hello.txt dir /out/
ENTRYPOINT ["/bin/probe"]
`
	multiStage = `ARG VERSION=1.0
FROM stagex/core-probe:latest AS tools
FROM scratch AS build
ARG VERSION
ARG SOURCE_DATE_EPOCH
COPY --from=tools . /
ADD packed.tar.gz /src/
WORKDIR /src
COPY <<EOF /src/made.txt
version ${VERSION}
EOF
RUN --network=none ["/probe", "copy", "/src/made.txt", "/src/copied"]
RUN --mount=type=bind,from=tools,source=/,target=/t --mount=type=tmpfs,target=/tmp ["/t/probe", "write", "/src/mounted", "yes"]
FROM stagex/core-probe AS package
LABEL org.opencontainers.image.version=1.0
COPY --from=build /src/ /usr/share/
USER 1000:1000
EXPOSE 80/tcp
CMD ["/probe"]
`
	for386 = `FROM stagex/probe
ENV SOURCE_DATE_EPOCH=1 TZ=UTC LC_ALL=C
WORKDIR /out
RUN ["/probe", "write", "/out/hello", "from 386"]
COPY hello.txt .
`
)

func TestExporterDigestEqualsStock(t *testing.T) {
	needEngine(t)
	daemon := startStock(t)
	attrs := map[string]string{
		"rewrite-timestamp": "true", "force-compression": "true", "name": "stagex/x:1",
		"annotation.org.opencontainers.image.version": "1.0", "annotation.org.opencontainers.image.created": "1970-01-01T00:00:01Z",
	}
	packed := packedFile(t)
	for _, c := range []struct {
		name, text, platform, alias string
		args                        map[string]string
		source                      bool // packed.tar.gz is declared as a source, not in the context
	}{
		{name: "many-runs", text: manyRuns, platform: "linux/amd64", alias: "stagex/probe"},
		{name: "multi-stage", text: multiStage, platform: "linux/amd64", alias: "stagex/core-probe",
			args: map[string]string{"VERSION": "2.10"}, source: true},
		{name: "for-386", text: for386, platform: "linux/386", alias: "stagex/probe"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			layout := filepath.Join(dir, "images")
			manifest := probeImage(t, layout, c.platform)
			settings := fmt.Sprintf(`schema_version = "rebuild.stage@1.0.0"
name = %q
context = "src"
inputs = ["image/probe"]
alias = { %q = "image/probe" }
exec = "buildkit.exec.v1"
`, c.name, c.alias)
			for k, v := range c.args {
				settings += fmt.Sprintf("args = { %s = %q }\n", k, v)
			}
			if c.source {
				settings += fmt.Sprintf("[[source]]\nname = \"packed\"\ndigest = %q\nsize = %d\nunpack = \"none\"\nurls = [\"packed.tar.gz\"]\ninto = \"packed.tar.gz\"\n",
					store.DigestOf(packed), len(packed))
				write(t, filepath.Join(dir, c.name, "packed.tar.gz"), packed)
			}
			settings += "[exporter.attrs]\n"
			for k, v := range attrs {
				settings += fmt.Sprintf("%q = %q\n", k, v)
			}
			write(t, filepath.Join(dir, "pipeline.toml"), []byte(fmt.Sprintf(`schema_version = "rebuild.pipeline@1.0.0"
name = "stock"
platforms = [%q]
stages = [%q]
targets = [%[2]q]
[images]
probe = "oci-layout:images@%s"
`, c.platform, c.name, manifest)))
			write(t, filepath.Join(dir, c.name, "stage.toml"), []byte(settings))
			write(t, filepath.Join(dir, c.name, "Containerfile"), []byte(c.text))
			// What the daemon gets as its context, and we as ours.
			plain := t.TempDir()
			for _, to := range []string{plain, filepath.Join(dir, c.name, "src")} {
				write(t, filepath.Join(to, "hello.txt"), []byte("hello\n"))
				write(t, filepath.Join(to, "dir", "in.txt"), []byte("in a folder\n"))
			}
			write(t, filepath.Join(plain, "packed.tar.gz"), packed)
			write(t, filepath.Join(plain, "Containerfile"), []byte(c.text))

			state := filepath.Join(t.TempDir(), "state")
			rebuild(t, "lock", "--pipeline", dir).must(t)
			rebuild(t, "fetch", "--pipeline", dir, "--state", state).must(t)
			_, ran := answerOf[runResult](t, rebuild(t, "run", "--json", "--quiet", "--pipeline", dir, "--state", state).must(t))
			want := daemon.digest(plain, c.platform, map[string]string{c.alias: string(manifest)}, layout, c.args, attrs)
			if got := ran.Stages[0].ExporterManifest; got != want {
				t.Errorf("ours %s, stock %s", got, want)
			}
		})
	}
}

// runcOf returns the file of the runc that rebuild uses.
func runcOf(t *testing.T) string {
	t.Helper()
	if named := os.Getenv("REBUILD_RUNC"); named != "" {
		return named
	}
	if unpacked, _ := filepath.Glob(filepath.Join(cache, "rebuild", "runc-*")); len(unpacked) > 0 {
		return unpacked[0]
	}
	found, err := exec.LookPath("runc")
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// probeImage puts the program that the recipes run into an OCI layout.
func probeImage(t *testing.T, layout, platform string) store.Digest {
	t.Helper()
	file := filepath.Join(t.TempDir(), "probe")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", file, "../../engine/testdata/probe")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH="+strings.TrimPrefix(platform, "linux/"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	st, err := store.Open(layout)
	if err != nil {
		t.Fatal(err)
	}
	layer, err := st.PutFiles([]store.File{{Path: "probe", Mode: 0o755, Data: read(t, file)}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := st.PutImage(layer, platform, store.ImageConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return manifest
}

// packedFile is a gzipped tar, for ADD to unpack.
func packedFile(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	text := []byte("packed\n")
	err := w.WriteHeader(&tar.Header{Name: "inside.txt", Mode: 0o644, Size: int64(len(text))})
	if err == nil {
		_, err = w.Write(text)
	}
	if err := errors.Join(err, w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
