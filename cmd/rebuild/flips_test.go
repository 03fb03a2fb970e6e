package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rebuild/attest"
)

// damaged is a kind of file that an attacker may change, and the exit codes
// that say rightly what is wrong then.
type damaged struct {
	kind    string
	file    string                                         // below the release; may be a pattern
	within  func(t *testing.T, dir string, d []byte) []int // offsets to change; nil: all
	samples int
	codes   []int
}

// Which part of a file a byte belongs to decides what its change is: bytes of an
// envelope are a bad signature or a broken document, bytes of what envelopes
// name are other content.
func damagedKinds() []damaged {
	bundle := "out/hello-0.1.0.rbundle"
	return []damaged{
		{"bundle", bundle, nil, 40, []int{11, 12, 31}},
		{"release", bundle, part("release"), 25, []int{11, 31}},
		{"plan", bundle, part("plan"), 20, []int{12}},
		{"statement", bundle, part("statement"), 25, []int{12, 31}},
		{"index line", "index/he/ll/hello", nil, 25, []int{3, 10, 11, 12, 30, 31}},
		{"archive", "out/hello-0.1.0.tar", nil, 15, []int{12}},
		{"image blobs", "out/image/blobs/sha256/*", nil, 25, []int{12}},
		{"index objects", "index/objects/sha256/*", nil, 20, []int{12}},
		{"index statements", "index/statements/*", nil, 15, []int{11, 12, 31}},
	}
}

// part returns the offsets of a bundle's release, plan or first statement.
func part(name string) func(*testing.T, string, []byte) []int {
	return func(t *testing.T, dir string, data []byte) []int {
		b, err := attest.OpenBundle("bundle", data)
		if err != nil {
			t.Fatal(err)
		}
		content := map[string][]byte{"release": b.Release, "plan": b.Builds[0].Plan, "statement": b.Builds[0].Statements[0]}[name]
		at := bytes.Index(data, content)
		if at < 0 {
			t.Fatalf("the bundle does not hold its %s as it is", name)
		}
		var offsets []int
		for i := range content {
			offsets = append(offsets, at+i)
		}
		return offsets
	}
}

// Any byte that is changed on the way must be noticed, with a code that says
// what kind of thing is wrong, by the program that people run.
func TestEveryFlippedByteFailsVerify(t *testing.T) {
	t.Parallel()
	from := releaseDir(t)
	total := 0
	for i, k := range damagedKinds() {
		total += k.samples
		t.Run(k.kind, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := copyMissing(dir, from); err != nil {
				t.Fatal(err)
			}
			if status, _, errs := inProcess(t, verifyArgs(dir)...); status != 0 {
				t.Fatalf("unchanged: exit %d\n%s", status, errs)
			}
			k.sample(t, dir, rand.New(rand.NewPCG(7, uint64(i))))
		})
	}
	if total < 200 {
		t.Errorf("%d samples, want 200", total)
	}
}

func (k damaged) sample(t *testing.T, dir string, random *rand.Rand) {
	files, err := filepath.Glob(filepath.Join(dir, k.file))
	if err != nil || len(files) == 0 {
		t.Fatalf("no file %s (%v)", k.file, err)
	}
	files = slices.DeleteFunc(files, func(file string) bool { return metadataCopy(file) || definition(file) })
	for i := range k.samples {
		file := files[i%len(files)]
		data := read(t, file)
		at := random.IntN(len(data))
		if k.within != nil {
			offsets := k.within(t, dir, data)
			at = offsets[random.IntN(len(offsets))]
		}
		mask := []byte{0x01, 0x20, 0x80}[random.IntN(3)]
		flip(t, file, data, at, mask)
		// Every sixth one with a process of its own, as it will be.
		status, stderr := 0, ""
		if i%6 == 0 {
			c := rebuild(t, verifyArgs(dir)...)
			status = c.status(t)
			stderr = c.err.String()
		} else {
			status, _, stderr = inProcess(t, verifyArgs(dir)...)
		}
		if !slices.Contains(k.codes, status) || !strings.HasPrefix(stderr, "rebuild: error[") {
			rel, _ := filepath.Rel(dir, file)
			t.Errorf("%s, byte %d ^ %#02x: exit %d, want one of %v\n%s", rel, at, mask, status, k.codes, stderr)
		}
		restore(t, file, data)
	}
}

// metadataCopy says whether a file is one of the package documents that an index
// has beside the archive which holds them too. Only the archive is installed
// from and verified; a reader of the copies hashes them.
func metadataCopy(file string) bool {
	data, err := os.ReadFile(file)
	return err == nil && bytes.HasPrefix(data, []byte("{")) &&
		(bytes.Contains(data, []byte(`"rebuild.package@`)) || bytes.Contains(data, []byte(`"rebuild.files@`)) || bytes.Contains(data, []byte(`"rebuild.exports@`)))
}

// definition says whether a file is one of the definitions that an index has
// for who builds a release again. Nothing that verifies reads them; who does
// hashes them (TestReproduceRefusesOtherDefinitions).
func definition(file string) bool {
	data, err := os.ReadFile(file)
	if err != nil || bytes.HasPrefix(data, []byte("rebuild.tree.v1\n")) || bytes.HasPrefix(data, []byte(`{"architecture":`)) {
		return true
	}
	for _, text := range goodPipeline {
		if string(data) == text {
			return true
		}
	}
	return false
}

func flip(t *testing.T, file string, data []byte, at int, mask byte) {
	t.Helper()
	changed := bytes.Clone(data)
	changed[at] ^= mask
	restore(t, file, changed)
}

// restore writes a file that may be read-only.
func restore(t *testing.T, file string, data []byte) {
	t.Helper()
	os.Chmod(file, 0o644)
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// The policy is what the reader trusts, so a changed one can be a good one. It
// must then be seen that it is not the one that the release was judged by.
func TestEveryFlippedByteOfThePolicyIsSeen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := copyMissing(dir, releaseDir(t)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "policy.toml")
	data := read(t, file)
	honest, err := attest.LoadPolicy(file, data)
	if err != nil {
		t.Fatal(err)
	}
	same := fmt.Sprintf("policy cast version 1 (%s)", honest.Digest())
	random := rand.New(rand.NewPCG(7, 77))
	passed := 0
	for range 150 {
		at, mask := random.IntN(len(data)), []byte{0x01, 0x20, 0x80}[random.IntN(3)]
		flip(t, file, data, at, mask)
		status, stdout, stderr := inProcess(t, verifyArgs(dir)...)
		what := fmt.Sprintf("byte %d ^ %#02x: exit %d\n%s%s", at, mask, status, stdout, stderr)
		switch {
		case status == 0 && strings.Contains(stdout, same) && !strings.Contains(stdout, "note: judged by policy"):
			// Nothing but the way it is written has changed.
			if p, err := attest.LoadPolicy(file, read(t, file)); err != nil || p.Digest() != honest.Digest() {
				t.Errorf("passed unnoticed: %s", what)
			}
		case status == 0:
			passed++
			if !strings.Contains(stdout, "note: judged by policy sha256:") || !strings.Contains(stdout, "the release names "+string(honest.Digest())) {
				t.Errorf("it is not said that the policy differs: %s", what)
			}
		case !slices.Contains([]int{10, 11, 12, 14, 16, 30, 31, 40, 41}, status) || !strings.HasPrefix(stderr, "rebuild: error["):
			t.Error(what)
		}
	}
	if passed == 0 {
		t.Error("no changed policy was a good one, so nothing was tested")
	}
}
