package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// benchBinary is the built program: figures of a test binary would be others.
func benchBinary(b *testing.B) string {
	b.Helper()
	bin := os.Getenv("REBUILD_BIN")
	if bin == "" {
		b.Skip("needs $REBUILD_BIN, the built program; run make bench")
	}
	return bin
}

// timed runs the program and returns its time and its peak memory, bytes.
func timed(b *testing.B, bin string, args ...string) (time.Duration, int64) {
	b.Helper()
	cmd := exec.Command(bin, args...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	began := time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatalf("%v: %v\n%s", args, err, said.Bytes())
	}
	return time.Since(began), cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss * 1024
}

// BenchmarkCachedRun runs a pipeline of 200 stages that are all built.
func BenchmarkCachedRun(b *testing.B) {
	bin := benchBinary(b)
	const count = 200
	dir := b.TempDir()
	var names []string
	for i := range count {
		name := fmt.Sprintf("s%d", i)
		settings := "schema_version = \"rebuild.stage@1.0.0\"\nname = \"" + name + "\"\ncontext = \"src\"\n"
		recipe := "FROM scratch\nCOPY f " + name + "\n"
		if i > 0 { // a tree, each stage under the one of half its number
			parent := fmt.Sprintf("stage/s%d", i/2)
			settings += "inputs = [" + strconv.Quote(parent) + "]\n"
			recipe += "COPY --from=" + parent + " / /below/\n"
		}
		benchFile(b, filepath.Join(dir, name, "stage.toml"), settings)
		benchFile(b, filepath.Join(dir, name, "Containerfile"), recipe)
		benchFile(b, filepath.Join(dir, name, "src", "f"), name+"\n")
		names = append(names, strconv.Quote(name))
	}
	benchFile(b, filepath.Join(dir, "pipeline.toml"), fmt.Sprintf(
		"schema_version = \"rebuild.pipeline@1.0.0\"\nname = \"many\"\nplatforms = [\"linux/amd64\"]\nstages = [%s]\ntargets = [%[1]s]\n",
		strings.Join(names, ", ")))
	state := filepath.Join(b.TempDir(), "state")
	args := []string{"run", "--pipeline", dir, "--state", state, "--quiet"}
	first, _ := timed(b, bin, args...)
	var again []time.Duration
	for range 9 {
		took, _ := timed(b, bin, args...)
		again = append(again, took)
	}
	slices.Sort(again)
	roots, _ := filepath.Glob(filepath.Join(state, "engines", "e-*"))
	fmt.Printf("cached run: %d stages, first %.2f s, cached %.3f s (median of 9, max %.3f s)\n",
		count, first.Seconds(), again[4].Seconds(), again[8].Seconds())
	if again[4] > 300*time.Millisecond || len(roots) > 0 {
		b.Errorf("a cached run takes %v, 0.3 s is claimed", again[4])
	}
}

func benchFile(b *testing.B, name, text string) {
	b.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkMemory builds a stage with 2 GiB of output, once undisturbed and
// once while the command is stopped for 50 ms after every moment that lets it
// read about 1 MB: a consumer that slow made the client of a tar export grow
// with the output.
func BenchmarkMemory(b *testing.B) {
	bin := benchBinary(b)
	const size = 2 << 30
	dir := b.TempDir()
	benchFile(b, filepath.Join(dir, "pipeline.toml"), "schema_version = \"rebuild.pipeline@1.0.0\"\nname = \"big\"\n"+
		"platforms = [\"linux/amd64\"]\nstages = [\"big\"]\ntargets = [\"big\"]\n")
	benchFile(b, filepath.Join(dir, "big", "stage.toml"), "schema_version = \"rebuild.stage@1.0.0\"\nname = \"big\"\ncontext = \"src\"\nexport = \"/out\"\n")
	benchFile(b, filepath.Join(dir, "big", "Containerfile"), "FROM scratch\nCOPY fill /\nWORKDIR /out\nRUN [\"/fill\"]\n")
	fill := filepath.Join(dir, "fill.go")
	benchFile(b, fill, fmt.Sprintf(`package main

import "os"

func main() {
	f, err := os.Create("/out/big")
	block := make([]byte, 1<<20)
	state := uint64(1)
	for n := 0; n < %d && err == nil; n++ {
		for i := range block {
			state = state*6364136223846793005 + 1442695040888963407
			block[i] = byte(state >> 56)
		}
		_, err = f.Write(block)
	}
	if err != nil {
		panic(err)
	}
}
`, size>>20))
	build := exec.Command("go", "build", "-buildvcs=false", "-o", filepath.Join(dir, "big", "src", "fill"), fill)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	state := filepath.Join(b.TempDir(), "state")
	took, peak := timed(b, bin, "run", "--pipeline", dir, "--state", state, "--quiet")
	slowTook, slowPeak := slowed(b, bin, "run", "--pipeline", dir, "--state", state, "--quiet", "--fresh")
	fmt.Printf("memory: 2 GiB stage output, %.0f MB at most in %.1f s; slowed consumer %.0f MB in %.1f s\n",
		float64(peak)/1e6, took.Seconds(), float64(slowPeak)/1e6, slowTook.Seconds())
	if max(peak, slowPeak) > 100_000_000 {
		b.Errorf("the command grew to %d bytes, less than 100 MB is claimed", max(peak, slowPeak))
	}
}

// slowed runs the program and keeps stopping it.
func slowed(b *testing.B, bin string, args ...string) (time.Duration, int64) {
	b.Helper()
	cmd := exec.Command(bin, args...)
	began := time.Now()
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		for {
			select {
			case <-ended:
				return
			case <-time.After(2 * time.Millisecond):
			}
			cmd.Process.Signal(syscall.SIGSTOP)
			time.Sleep(50 * time.Millisecond)
			cmd.Process.Signal(syscall.SIGCONT)
		}
	}()
	err := cmd.Wait()
	close(ended)
	if err != nil {
		b.Fatal(err)
	}
	return time.Since(began), cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss * 1024
}
