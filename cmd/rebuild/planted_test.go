package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ulikunitz/xz"

	"archive/tar"

	"rebuild/engine"
)

// planted are programs that BuildKit, containerd or runc start somewhere, and
// the usual ones beside them.
var planted = []string{
	"xz", "unpigz", "pigz", "gzip", "gunzip", "bzip2", "zstd", "tar", "git", "ssh", "curl", "mount", "umount", "modprobe",
	"newuidmap", "newgidmap", "sh", "bash", "cp", "iptables", "ip", "runc", "buildkitd", "buildctl", "fuse-overlayfs", "go",
}

// A program of the host that runs during a build is an input that nobody
// declared, outside of every sandbox. Whoever can put a file into a folder of
// PATH would decide what is built.
func TestPlantedProgramsNeverRun(t *testing.T) {
	t.Parallel()
	needEngine(t)
	dir := stateRoot(t, false) + "-planted"
	ran := filepath.Join(dir, "ran")
	if err := os.MkdirAll(ran, 0o777); err != nil {
		t.Fatal(err)
	}
	os.Chmod(ran, 0o777) // rebuilders of the demo are other users
	bin := filepath.Join(dir, "bin")
	for _, name := range planted {
		if name == "runc" && !runcIsGiven() {
			continue // then the one in PATH is asked for its version, and that is right
		}
		file := filepath.Join(bin, name)
		write(t, file, fmt.Appendf(nil, "#!/bin/sh\necho \"$0 $*\" > %s/%s\nexit 1\n", ran, name))
		if err := os.Chmod(file, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := exec.Command(filepath.Join(bin, "git"), "init").Run(); err == nil {
		t.Fatal("the planted git does not run at all")
	}
	if err := os.Remove(filepath.Join(ran, "git")); err != nil {
		t.Fatal(err)
	}
	path := "PATH=" + bin + ":" + os.Getenv("PATH")
	t.Run("run", func(t *testing.T) {
		c := rebuild(t, "run", "--progress", "quiet", "--pipeline", archivePipeline(t), "--state", stateRoot(t, false))
		c.Env = append(c.Env, path)
		c.must(t)
	})
	t.Run("demo", func(t *testing.T) {
		c := rebuild(t, "demo")
		c.Env = append(c.Env, path)
		c.must(t)
	})
	left, err := os.ReadDir(ran)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range left {
		t.Errorf("a planted program ran: %s", read(t, filepath.Join(ran, f.Name())))
	}
}

// runcIsGiven says whether the runc to use is named or embedded.
func runcIsGiven() bool {
	e := engine.New(engine.Options{Runc: os.Getenv("REBUILD_RUNC"), Cache: filepath.Join(cache, "rebuild")})
	defer e.Close()
	_, err := e.Environment(context.Background())
	return err == nil
}

// archivePipeline is a stage whose ADD makes BuildKit unpack archives, for
// which it would start xz and unpigz.
func archivePipeline(t *testing.T) string {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "pipeline.toml"), []byte(`schema_version = "rebuild.pipeline@1.0.0"
name = "archives"
platforms = ["linux/amd64"]
stages = ["unpack"]
targets = ["unpack"]
`))
	write(t, filepath.Join(dir, "unpack/stage.toml"), []byte(`schema_version = "rebuild.stage@1.0.0"
name = "unpack"
context = "src"
export = "/out"
`))
	write(t, filepath.Join(dir, "unpack/Containerfile"), []byte("FROM scratch\nADD a.tar.xz /out/xz/\nADD a.tar.gz /out/gz/\n"))
	var plain bytes.Buffer
	w := tar.NewWriter(&plain)
	if err := w.WriteHeader(&tar.Header{Name: "a", Mode: 0o644, Size: 2, Typeflag: tar.TypeReg}); err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("a\n"))
	w.Close()
	var packed bytes.Buffer
	x, err := xz.NewWriter(&packed)
	if err != nil {
		t.Fatal(err)
	}
	x.Write(plain.Bytes())
	x.Close()
	write(t, filepath.Join(dir, "unpack/src/a.tar.xz"), packed.Bytes())
	packed.Reset()
	g := gzip.NewWriter(&packed)
	g.Write(plain.Bytes())
	g.Close()
	write(t, filepath.Join(dir, "unpack/src/a.tar.gz"), packed.Bytes())
	return dir
}
