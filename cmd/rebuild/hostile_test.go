package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/attest/sshkey"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// Whatever bytes a stranger hands to the program, it refuses them in 5 s and
// 64 MiB. As other tests run beside these, processor time stands for the time;
// time on the clock counts too where others took less than half of the machine.

const (
	hostileTime   = 5 * time.Second
	hostileMemory = 64 << 20
	gibibyte      = 1 << 30
)

// measure starts the program as a child of this one and writes down what it
// took. A process begins with the peak memory of the one that started it, which
// for a test that made a flood would be the flood's.
func measure() {
	c := exec.Command("rebuild", os.Args[2:]...)
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	began, busy := time.Now(), busyTime()
	c.Run()
	clock, busy := time.Since(began), busyTime()-busy
	if c.ProcessState == nil {
		os.Exit(1)
	}
	peak := c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss
	took := c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	if others := busy - took; others < clock*time.Duration(runtime.NumCPU())/2 {
		took = max(took, clock)
	}
	if os.WriteFile(os.Args[1], fmt.Appendf(nil, "%d %d", peak, took), 0o644) != nil {
		os.Exit(1)
	}
	os.Exit(c.ProcessState.ExitCode())
}

// busyTime is the processor time that everything on the machine has taken, in
// steps of 10 ms; what is stolen from a virtual machine included.
func busyTime() time.Duration {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0 // so all the time on the clock counts
	}
	var user, nice, system, idle, wait, irq, softirq, steal time.Duration
	fmt.Sscanf(string(stat), "cpu %d %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &wait, &irq, &softirq, &steal)
	return (user + nice + system + irq + softirq + steal) * 10 * time.Millisecond
}

// refuseHostile wants a command to be refused with one of the statuses, within
// its bounds.
func refuseHostile(t *testing.T, c *command, statuses ...int) {
	t.Helper()
	path, err := exec.LookPath("measure")
	if err != nil {
		t.Fatal(err)
	}
	note := filepath.Join(t.TempDir(), "usage")
	c.Path, c.Args = path, append([]string{"measure", note}, c.Args[1:]...)
	if got := c.status(t); !slices.Contains(statuses, got) {
		t.Errorf("%v: exit %d, want one of %v\n%s", c.Args, got, statuses, c.err.String())
		return
	}
	var memory int64
	var took time.Duration
	if _, err := fmt.Sscanf(string(read(t, note)), "%d %d", &memory, &took); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d MiB and %v", memory>>10, took)
	if memory <<= 10; memory > hostileMemory || took > hostileTime {
		t.Errorf("%v: %d MiB and %v, %d MiB and %v are allowed", c.Args, memory>>20, took, hostileMemory>>20, hostileTime)
	}
}

// endless repeats a text behind a beginning.
type endless struct {
	begin, text []byte
	at          int
}

func (e *endless) Read(p []byte) (int, error) {
	if len(e.begin) > 0 {
		n := copy(p, e.begin)
		e.begin = e.begin[n:]
		return n, nil
	}
	n := 0
	for n < len(p) {
		m := copy(p[n:], e.text[e.at:])
		n, e.at = n+m, (e.at+m)%len(e.text)
	}
	return n, nil
}

// hostileWorld is a good release in files, and a policy to judge it by.
type hostileWorld struct {
	dir, policy, bundle, archive string
	release                      *attesttest.Released
	world                        *attesttest.World
	good                         []byte // the bundle
}

func newHostileWorld(t *testing.T) *hostileWorld {
	w := attesttest.New(t)
	h := &hostileWorld{dir: t.TempDir(), world: w, release: w.Honest()}
	var err error
	if h.good, err = h.release.Bundle.Encode(); err != nil {
		t.Fatal(err)
	}
	h.policy, h.bundle, h.archive = filepath.Join(h.dir, "policy.toml"), filepath.Join(h.dir, "good.rbundle"), filepath.Join(h.dir, "good.tar")
	write(t, h.policy, []byte(w.PolicyTOML))
	write(t, h.bundle, h.good)
	write(t, h.archive, h.release.Package.Archive())
	return h
}

// file writes a file of size bytes: begin, then text again and again further
// than its reader's limit, then a hole.
func (h *hostileWorld) file(t *testing.T, begin, text string, size, limit int64) string {
	t.Helper()
	f, err := os.CreateTemp(h.dir, "input-")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if text != "" {
		if _, err := io.CopyN(f, &endless{begin: []byte(begin), text: []byte(text)}, min(size, limit+1<<16)); err != nil {
			t.Fatal(err)
		}
	} else if _, err := f.WriteString(begin); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

func (h *hostileWorld) verify(t *testing.T, args ...string) *command {
	return rebuild(t, append([]string{"verify", "--at", at}, args...)...)
}

// floods are the contents that no parser may follow to their end.
var floods = map[string][2]string{
	"zeros":    {"", ""},
	"brackets": {"", "["},
	"braces":   {"", `{"a":`},
	"string":   {`"`, "a"},
	"digits":   {"", "7"},
	"escapes":  {`"`, `\u0041`},
	"spaces":   {"", " "},
}

// Every argument that names a document, with a file of 1 GiB and with one that
// is just small enough to be read.
func TestG43_Floods(t *testing.T) {
	h := newHostileWorld(t)
	keys := filepath.Join(h.dir, "signer.key")
	if err := sshkey.WriteFile(keys, attesttest.Key("r1"), "", nil); err != nil {
		t.Fatal(err)
	}
	logged, next := filepath.Join(h.dir, "logged.toml"), filepath.Join(h.dir, "next.toml")
	write(t, logged, []byte(h.world.PolicyTOML+attesttest.LogPolicy(1, "w1")))
	write(t, next, []byte(strings.Replace(h.world.PolicyTOML, "\nversion = 1\n", "\nversion = 2\n", 1)))
	for name, flood := range floods {
		for what, target := range map[string]struct {
			limit int64
			args  func(file string) []string
		}{
			"bundle": {attest.MaxBundle, func(f string) []string { return []string{"verify", f, "-p", h.policy, "--at", at} }},
			"policy": {maxDocument, func(f string) []string { return []string{"verify", h.bundle, "-p", f, "--at", at} }},
			"artifact": {attest.MaxArchive, func(f string) []string {
				return []string{"verify", h.bundle, "-p", h.policy, "--artifact", f, "--at", at}
			}},
			"release": {attest.MaxEnvelope, func(f string) []string {
				return []string{"release", "sign", f, "-p", h.policy, "--results", h.results(t, nil), "--key", keys, "-o", "-"}
			}},
			"key": {64 << 10, func(f string) []string { return []string{"key", "show", f} }},
			"plan": {maxPlan, func(f string) []string {
				return []string{"compare", h.results(t, func(dir string) { rename(t, f, filepath.Join(dir, planFile)) }), "-p", h.policy}
			}},
			"index": {64 << 10, func(f string) []string {
				dir := t.TempDir()
				rename(t, f, filepath.Join(dir, "config.json"))
				return []string{"verify", h.bundle, "-p", h.policy, "--at", at, "--index", dir}
			}},
			"index line": {4 << 20, func(f string) []string {
				dir := t.TempDir()
				write(t, filepath.Join(dir, "config.json"), []byte(`{"schema_version":"rebuild.index-config@1.0.0"}`))
				rename(t, f, filepath.Join(dir, "he/ll/hello"))
				return []string{"index", "show", dir, "hello"}
			}},
			"events": {attest.MaxEventsBytes, func(f string) []string {
				return []string{"compare", h.results(t, func(dir string) {
					rename(t, f, filepath.Join(dir, attest.EventsFile))
					write(t, filepath.Join(dir, attest.ProofFile), []byte("x"))
				}), "-p", logged, "--at", at}
			}},
			"proof": {attest.MaxProof, func(f string) []string {
				return []string{"compare", h.results(t, func(dir string) {
					write(t, filepath.Join(dir, attest.EventsFile), []byte("x\n"))
					rename(t, f, filepath.Join(dir, attest.ProofFile))
				}), "-p", logged, "--at", at}
			}},
			"policy update": {attest.MaxEnvelope, func(f string) []string {
				return []string{"policy", "check", next, "--old", h.policy, "--update", f}
			}},
			"package": {256 << 10, func(f string) []string {
				return []string{"release", "propose", "-p", h.policy, "--results", h.results(t, nil), "--package", f}
			}},
			"lock": {maxLock, func(f string) []string {
				return []string{"release", "propose", "-p", h.policy, "--results", h.results(t, nil), "--lock", f}
			}},
			"lock of a pipeline": {maxLock, func(f string) []string {
				dir := pipelineFolder(t)
				rename(t, f, filepath.Join(dir, "rebuild.lock"))
				return []string{"fetch", "--pipeline", dir}
			}},
			"stage": {64 << 10, func(f string) []string {
				dir := pipelineFolder(t)
				rename(t, f, filepath.Join(dir, "hello/stage.toml"))
				return []string{"plan", "--pipeline", dir}
			}},
			"layout": {4 << 20, func(f string) []string {
				dir := t.TempDir()
				rename(t, f, filepath.Join(dir, "index.json"))
				return []string{"verify", h.bundle, "-p", h.policy, "--at", at, "--artifact", dir}
			}},
			"pipeline": {64 << 10, func(f string) []string {
				dir := t.TempDir()
				rename(t, f, filepath.Join(dir, "pipeline.toml"))
				return []string{"plan", "--pipeline", dir}
			}},
		} {
			for _, size := range []int64{gibibyte, target.limit} {
				t.Run(fmt.Sprintf("%s/%s/%d", what, name, size), func(t *testing.T) {
					f := h.file(t, flood[0], flood[1], size, target.limit)
					defer os.Remove(f)
					os.Chmod(f, 0o600)
					refuseHostile(t, rebuild(t, target.args(f)...), 2, 3, 11, 12, 13, 31)
				})
			}
		}
	}
}

// pipelineFolder is a copy of the smallest pipeline.
func pipelineFolder(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "p")
	rebuild(t, "init", dir).must(t)
	return dir
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	os.Remove(to)
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

// results is a results folder with the world's statements, changed.
func (h *hostileWorld) results(t *testing.T, change func(dir string)) string {
	dir := t.TempDir()
	write(t, filepath.Join(dir, planFile), h.world.PlanJSON)
	for i, raw := range h.world.Statements() {
		e, err := attest.ParseEnvelope("e", raw)
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, fmt.Sprint("o", i), e.Digest().Hex()+attest.EnvelopeSuffix), raw)
	}
	if change != nil {
		change(dir)
	}
	return dir
}

// What comes through a pipe has no size, and perhaps no end.
func TestG43_EndlessStdin(t *testing.T) {
	h := newHostileWorld(t)
	for name, flood := range floods {
		if flood[1] == "" {
			flood[1] = "\x00"
		}
		flow := func() io.Reader {
			return &endless{begin: []byte(flood[0]), text: bytes.Repeat([]byte(flood[1]), 4096)}
		}
		t.Run(name, func(t *testing.T) {
			for _, args := range [][]string{
				{"verify", "-", "-p", h.policy, "--at", at},
				{"verify", h.bundle, "-p", "-", "--at", at},
				{"release", "sign", "-", "-p", h.policy},
			} {
				c := rebuild(t, args...)
				c.WaitDelay = time.Second
				in, err := c.StdinPipe()
				if err != nil {
					t.Fatal(err)
				}
				go func() { io.Copy(in, flow()); in.Close() }()
				refuseHostile(t, c, 2, 31)
			}
		})
	}
	c := h.verify(t, "-", "-p", h.policy)
	c.Stdin = bytes.NewReader(h.good)
	c.must(t)
}

// hostileTar writes headers and contents as they are given.
func hostileTar(t *testing.T, entries ...any) []byte {
	t.Helper()
	var b bytes.Buffer
	for _, e := range entries {
		switch e := e.(type) {
		case *tar.Header:
			var one bytes.Buffer
			tw := tar.NewWriter(&one)
			if err := tw.WriteHeader(e); err != nil {
				t.Fatal(err)
			}
			b.Write(one.Bytes())
		case string:
			b.WriteString(e)
			b.Write(make([]byte, -len(e)&511))
		}
	}
	return b.Bytes()
}

// Archives that claim more than they hold, or hold more than they claim.
func TestHostileBundlesAreRefused(t *testing.T) {
	h := newHostileWorld(t)
	hex := strings.Repeat("0", 64)
	junk := func(i int) []byte {
		raw, err := document.Encode(map[string]any{"payload": base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%d%s", i, strings.Repeat("x", 2000))),
			"payloadType": attest.PayloadType, "signatures": []any{map[string]any{"sig": base64.StdEncoding.EncodeToString(make([]byte, 64))}}})
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	plausible := func(release []byte, spoil bool) []byte {
		plan := store.DigestOf(h.world.PlanJSON).Hex()
		files := []store.File{{Path: "release.dsse.json", Mode: 0o644, Data: release}, {Path: plan + "/plan.json", Mode: 0o644, Data: h.world.PlanJSON}}
		for i := range 14_000 {
			raw := junk(i)
			e, err := attest.ParseEnvelope("e", raw)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, store.File{Path: plan + "/statements/" + e.Digest().Hex() + attest.EnvelopeSuffix, Mode: 0o644, Data: raw})
		}
		if spoil {
			files[len(files)-1].Mode = 0o600
		}
		var out bytes.Buffer
		if _, err := store.WriteArchive(&out, files, 1); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	stranger := h.world.Sign(h.release.Payload, "stranger")
	for name, c := range map[string]struct {
		data []byte
		exit int
	}{
		"claims 1 GiB":      {hostileTar(t, &tar.Header{Name: "release.dsse.json", Mode: 0o644, Size: gibibyte}), 31},
		"claims 4 EiB":      {hostileTar(t, &tar.Header{Name: hex + "/plan.json", Mode: 0o644, Size: 1 << 62, Format: tar.FormatGNU}), 31},
		"PAX bomb":          {hostileTar(t, &tar.Header{Name: "release.dsse.json", Mode: 0o644, PAXRecords: map[string]string{"comment": strings.Repeat("x", 1<<20-100)}}), 31},
		"many PAX headers":  {bytes.Repeat(hostileTar(t, &tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"a": "b"}}), 40_000), 31},
		"long PAX names":    {bytes.Repeat(hostileTar(t, &tar.Header{Name: strings.Repeat("x/", 100_000), Mode: 0o644}), 300), 31},
		"sparse":            {hostileTar(t, &tar.Header{Name: "release.dsse.json", Mode: 0o644, PAXRecords: map[string]string{"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "1073741824"}}, "1\n0\n1073741824\n"), 31},
		"empty files":       {bytes.Repeat(hostileTar(t, &tar.Header{Name: hex + "/plan.json", Mode: 0o644}), 130_000), 12},
		"directories":       {bytes.Repeat(hostileTar(t, &tar.Header{Name: "a/", Typeflag: tar.TypeDir, Mode: 0o755}), 130_000), 31},
		"a stranger's":      {plausible(stranger, false), 11},
		"in another form":   {plausible(h.release.Bundle.Release, true), 31},
		"statement missing": {plausible(stranger, true), 31},
	} {
		t.Run(name, func(t *testing.T) {
			if len(c.data) > attest.MaxBundle {
				t.Fatalf("%d bytes", len(c.data))
			}
			f := filepath.Join(t.TempDir(), "b.rbundle")
			write(t, f, c.data)
			refuseHostile(t, h.verify(t, f, "-p", h.policy), c.exit)
			p := h.verify(t, "-", "-p", h.policy)
			p.Stdin = bytes.NewReader(c.data)
			refuseHostile(t, p, c.exit)
		})
	}
	t.Run("good, and 1 GiB more", func(t *testing.T) {
		refuseHostile(t, h.verify(t, h.file(t, string(h.good), "", gibibyte, 0), "-p", h.policy), 31)
		f := h.file(t, string(h.good), "", attest.MaxBundle, 0)
		refuseHostile(t, h.verify(t, f, "-p", h.policy), 31)
	})
}

// An archive or a layer in another's place is hashed and never opened.
func TestHostileArtifactsAreRefused(t *testing.T) {
	h := newHostileWorld(t)
	var bomb, zstdBomb, xzBomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	if _, err := io.CopyN(z, &endless{text: make([]byte, 4096)}, 256<<20); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	z2, err := zstd.NewWriter(&zstdBomb)
	if err == nil {
		_, err = io.CopyN(z2, &endless{text: make([]byte, 4096)}, 256<<20)
	}
	if err != nil || z2.Close() != nil {
		t.Fatal(err)
	}
	x, err := xz.NewWriter(&xzBomb)
	if err == nil {
		_, err = io.CopyN(x, &endless{text: make([]byte, 4096)}, 32<<20)
	}
	if err != nil || x.Close() != nil {
		t.Fatal(err)
	}
	many := bytes.Repeat(hostileTar(t, &tar.Header{Name: "a", Mode: 0o644}), 120_000)
	for name, data := range map[string][]byte{"gzip bomb": bomb.Bytes(), "zstd bomb": zstdBomb.Bytes(), "xz bomb": xzBomb.Bytes(), "many entries": many} {
		t.Run(name, func(t *testing.T) {
			f := filepath.Join(t.TempDir(), "a.tar")
			write(t, f, data)
			refuseHostile(t, h.verify(t, h.bundle, "-p", h.policy, "--artifact", f), 12)
		})
	}
	manifest := h.world.Stages[1].Manifest
	image, err := h.world.Store.Image(manifest)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int64{gibibyte, image.Layer.Size} {
		t.Run(fmt.Sprintf("layer of %d bytes", size), func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "layout")
			if err := os.CopyFS(dir, os.DirFS(h.world.Store.Dir())); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "index.json"), fmt.Appendf(nil, `{"manifests":[{"digest":%q,"mediaType":%q,"size":%d}],"schemaVersion":2}`,
				manifest, store.MediaTypeManifest, len(image.Raw)))
			h.verify(t, h.bundle, "-p", h.policy, "--artifact", dir).must(t)
			rename(t, h.file(t, "", string(many), size, size), filepath.Join(dir, "blobs/sha256", image.Layer.Digest.Hex()))
			refuseHostile(t, h.verify(t, h.bundle, "-p", h.policy, "--artifact", dir), 12)
		})
	}
}

// A results folder that anybody may add to.
func TestHostileResultsAreRefused(t *testing.T) {
	h := newHostileWorld(t)
	name := func(i int) string { return store.DigestOf(fmt.Append(nil, i)).Hex() + attest.EnvelopeSuffix }
	for what, spoil := range map[string]func(dir string){
		"a statement of 1 GiB": func(dir string) {
			rename(t, h.file(t, "", "[", gibibyte, attest.MaxEnvelope), filepath.Join(dir, "o", name(0)))
		},
		"many statements": func(dir string) {
			for i := range attest.MaxStatements + 1 {
				source := filepath.Join(dir, fmt.Sprint("o", i/20_000), "source")
				if i%20_000 == 0 {
					write(t, source, nil)
				}
				if err := os.Link(source, filepath.Join(filepath.Dir(source), name(i))); err != nil {
					t.Fatal(err)
				}
			}
		},
		"much in statements": func(dir string) {
			source := filepath.Join(dir, "o", "source")
			rename(t, h.file(t, "", "[", attest.MaxEnvelope, attest.MaxEnvelope), source)
			for i := range maxStatementBytes/attest.MaxEnvelope + 1 {
				if err := os.Link(source, filepath.Join(dir, "o", name(i))); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			refuseHostile(t, rebuild(t, "compare", h.results(t, spoil), "-p", h.policy, "--at", at), 31)
		})
	}
}

// A folder passes only if each bundle in it does, and fails as the first of
// those that do not.
func TestVerifyFolder(t *testing.T) {
	h := newHostileWorld(t)
	dir := t.TempDir()
	refuse := func(exit int, args ...string) *command {
		t.Helper()
		c := h.verify(t, append([]string{dir, "-p", h.policy}, args...)...)
		if got := c.status(t); got != exit {
			t.Fatalf("%v: exit %d, want %d\n%s%s", args, got, exit, c.out.String(), c.err.String())
		}
		return c
	}
	refuse(3)
	write(t, filepath.Join(dir, "notes.txt"), []byte("not a bundle"))
	refuse(3)
	for _, name := range []string{"c", "a"} {
		write(t, filepath.Join(dir, name+bundleSuffix), h.good)
	}
	word := refuse(0).out.String()
	if !strings.HasPrefix(word, "a.rbundle: hello 0.1.0 ") || strings.Count(word, "\n") != 2 {
		t.Errorf("%q", word)
	}
	refuse(2, "hello")
	refuse(2, "--artifact", h.archive)
	write(t, filepath.Join(dir, "d"+bundleSuffix), []byte("junk"))
	stranger := *h.release.Bundle
	stranger.Release = h.world.Sign(h.release.Payload, "stranger")
	data, err := stranger.Encode()
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "b"+bundleSuffix), data)
	c := refuse(11, "--json")
	e, lines := answerOf[[]bundleLine](t, c.out.Bytes())
	if e.OK || len(lines) != 4 || !lines[0].OK || lines[1].Code != fault.KeyUnknown || !lines[2].OK || lines[3].Code != fault.Parse {
		t.Errorf("%+v", lines)
	}
	if out := refuse(11).out.String(); !strings.Contains(out, "b.rbundle: KEY_UNKNOWN\n") || strings.Count(out, "\n") != 4 {
		t.Errorf("%q", out)
	}
	if err := os.Remove(filepath.Join(dir, "b"+bundleSuffix)); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "b"+bundleSuffix), 0o644); err != nil {
		t.Fatal(err)
	}
	refuse(2)
}
