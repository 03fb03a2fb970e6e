package store

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// benchTree makes files of size bytes each, total bytes in all, on the file
// system of the temporary directory.
func benchTree(b *testing.B, total, size int) (dir string, files []string) {
	b.Helper()
	dir = b.TempDir()
	r := rand.NewChaCha8([32]byte{1})
	buf := make([]byte, size)
	for i := range total / size {
		sub := filepath.Join(dir, fmt.Sprintf("d%02d", i%50))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			b.Fatal(err)
		}
		r.Read(buf)
		f := filepath.Join(sub, fmt.Sprintf("f%d", i))
		if err := os.WriteFile(f, buf, 0o644); err != nil {
			b.Fatal(err)
		}
		files = append(files, f)
	}
	return dir, files
}

// BenchmarkTree puts the tree digest and the whole PutDir beside the sha256sum
// program and Go's own SHA-256 over the same files, one after the other. The
// claim is that "tree" has at least 90 % of the rate of "sha256sum".
func BenchmarkTree(b *testing.B) {
	for _, shape := range []struct {
		name        string
		total, size int
	}{{"small-files", 64 << 20, 16 << 10}, {"large-files", 512 << 20, 128 << 20}, {"one-file", 512 << 20, 512 << 20}} {
		dir, files := benchTree(b, shape.total, shape.size)
		run := func(name string, f func() error) {
			b.Run(shape.name+"/"+name, func(b *testing.B) {
				b.SetBytes(int64(shape.total))
				for b.Loop() {
					if err := f(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
		run("tree", func() error { _, err := ReadDir(dir); return err })
		run("layer", func() error { _, err := writeDirArchive(io.Discard, dir, 1); return err })
		run("putdir", func() error {
			s := newStore(b)
			_, err := s.PutDir(dir, 1)
			return err
		})
		run("go-sha256", func() error { return goSum(files) })
		if tool, err := exec.LookPath("sha256sum"); err == nil {
			run("sha256sum", func() error { return exec.Command(tool, files...).Run() })
		}
	}
}

func goSum(files []string) error {
	buf := make([]byte, chunkSize)
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		h := sha256.New()
		_, err = io.CopyBuffer(onlyWriter{h}, onlyReader{f}, buf)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// BenchmarkStage is what a small stage costs the store beyond its content:
// layer, tree text, config and manifest, durable. "batch" is how the
// pipeline does it, "each" has every blob wait for its own fsync calls.
func BenchmarkStage(b *testing.B) {
	s := newStore(b)
	files := func(i int) []File { return []File{{Path: "f", Mode: 0o644, Data: fmt.Append(nil, i, b.Name())}} }
	b.Run("batch", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			batch := s.Batch()
			l, err := batch.PutFiles(files(i), 1)
			if err == nil {
				_, err = batch.PutImage(l, "linux/amd64", ImageConfig{User: fmt.Sprint(i)})
			}
			if err == nil {
				err = batch.Commit()
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("each", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			l, err := s.PutFiles(files(-1-i), 1)
			if err == nil {
				_, err = s.PutImage(l, "linux/amd64", ImageConfig{User: fmt.Sprint(-1 - i)})
			}
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkTreeAgainstSha256sum prints the claim as one ratio, the two taking
// turns over the same files so that a machine that slows down slows both.
func BenchmarkTreeAgainstSha256sum(b *testing.B) {
	tool, err := exec.LookPath("sha256sum")
	if err != nil {
		b.Skip("needs sha256sum")
	}
	const total, rounds = 512 << 20, 5
	dir, files := benchTree(b, total, 4<<20)
	var ours, theirs []float64
	for range rounds {
		began := time.Now()
		if _, err := ReadDir(dir); err != nil {
			b.Fatal(err)
		}
		ours = append(ours, time.Since(began).Seconds())
		began = time.Now()
		if err := exec.Command(tool, files...).Run(); err != nil {
			b.Fatal(err)
		}
		theirs = append(theirs, time.Since(began).Seconds())
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	ratio := theirs[rounds/2] / ours[rounds/2]
	fmt.Printf("tree digest: %.0f MB/s, sha256sum %.0f MB/s over the same 512 MiB (medians of %d): %.0f %%\n",
		total/1e6/ours[rounds/2], total/1e6/theirs[rounds/2], rounds, 100*ratio)
	if ratio < 0.9 {
		b.Errorf("the tree digest has %.0f %% of the rate of sha256sum, at least 90 %% is claimed", 100*ratio)
	}
}
