package pipeline_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/store"
)

func lockFile(r string) string { return filepath.Join(r, "rebuild.lock") }

func writeLock(t *testing.T, dir string) []byte {
	t.Helper()
	p := load(t, dir)
	l, err := p.NewLock(t.Context(), pipeline.LockOptions{})
	if err != nil {
		t.Fatal(err)
	}
	data, err := p.WriteLock(l)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestLock(t *testing.T) {
	dir := write(t, whole)
	p := load(t, dir)
	_, err := p.CheckLock(t.Context(), pipeline.LockOptions{})
	wantFault(t, err, fault.LockMissing, "rebuild.lock", 0, "there is no")
	want := `{"schema_version":"rebuild.lock@1.0.0","sources":[` +
		`{"digest":"sha256:` + strings.Repeat("b", 64) + `","name":"file","size":80},` +
		`{"digest":"sha256:` + strings.Repeat("a", 64) + `","name":"tar","size":70}],` +
		`"toolchain":{"exec":"rebuild.exec.v1","tree":"rebuild.tree.v1"}}`
	if got := writeLock(t, dir); string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if diff, err := p.CheckLock(t.Context(), pipeline.LockOptions{}); err != nil || diff != nil {
		t.Errorf("%v %v", diff, err)
	}
	if got := plan(t, dir).Digest; got != amd64PlanFor(t, dir, "linux/386") {
		t.Error("the lock is part of the plan")
	}
}

func amd64PlanFor(t *testing.T, dir, platform string) store.Digest {
	t.Helper()
	p, err := load(t, dir).Plan(platform, pipeline.PlanOptions{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return p.Digest
}

// --check must write nothing, also when it finds a difference (A12).
func TestLockDrift(t *testing.T) {
	dir := write(t, whole)
	writeLock(t, dir)
	before, err := os.Stat(lockFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	put(t, dir, strings.ReplaceAll(strings.ReplaceAll(whole, "size = 80", "size = 81"), "targets = [\"a\", \"b\"]", "targets = [\"a\"]\nexec = \"buildkit.exec.v1\""))
	p := load(t, dir)
	diff, err := p.CheckLock(t.Context(), pipeline.LockOptions{})
	wantFault(t, err, fault.LockDrift, "rebuild.lock", 0, "4 differences")
	want := []string{
		"-toolchain exec rebuild.exec.v1", "-source file sha256:" + strings.Repeat("b", 64) + " 80",
		"+toolchain exec buildkit.exec.v1", "+source file sha256:" + strings.Repeat("b", 64) + " 81",
	}
	if !slices.Equal(diff, want) {
		t.Errorf("diff %q", diff)
	}
	after, err := os.Stat(lockFile(dir))
	if err != nil || !after.ModTime().Equal(before.ModTime()) || !os.SameFile(after, before) {
		t.Errorf("the lock was touched: %v", err)
	}
	lock, err := p.ReadLock()
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Plan(amd64, pipeline.PlanOptions{Lock: lock, Now: now})
	wantFault(t, err, fault.LockDrift, "pipeline.toml", 7, "buildkit.exec.v1")
	put(t, dir, strings.ReplaceAll(whole, "size = 80", "size = 81"))
	_, err = load(t, dir).Plan(amd64, pipeline.PlanOptions{Lock: lock, Now: now})
	wantFault(t, err, fault.LockDrift, "a/stage.toml", 18, "source file")
}

func TestLockRefuses(t *testing.T) {
	dir := write(t, whole)
	for text, code := range map[string]fault.Code{
		"{}": fault.Structure, "": fault.Parse,
		`{"schema_version":"rebuild.lock@2.0.0"}`:            fault.SchemaUnsupported,
		`{"schema_version":"rebuild.lock@1.0.0","time":"1"}`: fault.Structure,
		"{\"schema_version\":\"rebuild.lock@1.0.0\"}\n":      fault.Parse,
	} {
		if err := os.WriteFile(lockFile(dir), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, err := load(t, dir).ReadLock()
		wantFault(t, err, code, "rebuild.lock", 0, "")
	}
	p, err := pipeline.LoadFS(builtin, ".", "builtin:")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.WriteLock(&pipeline.Lock{}); fault.CodeOf(err) != fault.Usage {
		t.Errorf("%v", err)
	}
}

// layout writes an OCI image layout with one image per platform and returns
// the digest of its index and of the manifests.
func layout(t *testing.T, dir string) (index store.Digest, manifests map[string]store.Digest) {
	t.Helper()
	s, err := store.Open(filepath.Join(dir, "base"))
	if err != nil {
		t.Fatal(err)
	}
	manifests = map[string]store.Digest{}
	var all []store.Digest
	for _, platform := range []string{"linux/386", "linux/amd64"} {
		l, err := s.PutFiles([]store.File{{Path: "etc/platform", Mode: 0o644, Data: []byte(platform)}}, 1)
		if err != nil {
			t.Fatal(err)
		}
		if manifests[platform], err = s.PutImage(l, platform, store.ImageConfig{}); err != nil {
			t.Fatal(err)
		}
		all = append(all, manifests[platform])
	}
	if index, err = s.Index(all); err != nil {
		t.Fatal(err)
	}
	return index, manifests
}

func withImage(reference string, digest store.Digest) string {
	return "-- pipeline.toml --\n" + head + "platforms = [\"linux/386\", \"linux/amd64\"]\nstages = [\"a\"]\ntargets = [\"a\"]\n[images]\nbase = \"" +
		reference + "@" + string(digest) + "\"\n" + stage("a", "inputs = [\"image/base\"]")
}

func TestImages(t *testing.T) {
	dir := t.TempDir()
	index, manifests := layout(t, dir)
	put(t, dir, withImage("oci-layout:base", index))
	r := &fetchRoom{room: newRoom(t, "")}
	r.dir = dir
	_, err := r.fetch()
	wantFault(t, err, fault.LockMissing, "a/stage.toml", 3, "image/base")
	lock := string(writeLock(t, dir))
	for platform, d := range manifests {
		if !strings.Contains(lock, fmt.Sprintf(`{"digest":%q,"name":"base","platform":%q}`, d, platform)) {
			t.Errorf("%s does not pin %s", lock, platform)
		}
	}
	if got := plan(t, dir).Doc.Images; len(got) != 1 || got[0].Digest != manifests["linux/386"] {
		t.Errorf("images %+v", got)
	}
	_, err = r.run()
	wantFault(t, err, fault.OfflineIndex, "", 0, "image/base")
	got, err := r.fetch()
	if err != nil || fmt.Sprint(got.Fetched) != "[image/base linux/386 image/base linux/amd64]" {
		t.Fatalf("%+v %v", got, err)
	}
	if got, err = r.fetch(); err != nil || len(got.Present) != 2 {
		t.Errorf("%+v %v", got, err)
	}
	rep := r.mustRun()
	if len(rep.Inputs) != 1 || rep.Inputs[0].Manifest != manifests["linux/386"] {
		t.Errorf("inputs %+v", rep.Inputs)
	}
}

func TestImageOfOneManifest(t *testing.T) {
	dir := t.TempDir()
	_, manifests := layout(t, dir)
	put(t, dir, strings.Replace(withImage("oci-layout:base", manifests["linux/amd64"]), "\"linux/386\", ", "", 1))
	writeLock(t, dir)
	if got := plan(t, dir).Doc.Images[0].Digest; got != manifests["linux/amd64"] {
		t.Errorf("image %s", got)
	}
	put(t, dir, strings.Replace(withImage("oci-layout:base", manifests["linux/amd64"]), ", \"linux/amd64\"", "", 1))
	_, err := load(t, dir).NewLock(t.Context(), pipeline.LockOptions{})
	wantFault(t, err, fault.Semantic, "pipeline.toml", 7, "for linux/amd64, not linux/386")
}

func TestImageLayoutsThatLie(t *testing.T) {
	for title, c := range map[string]struct {
		change func(t *testing.T, blob func(store.Digest) string, manifest store.Digest, parts []store.Digest)
		code   fault.Code
	}{
		"index changed": {func(t *testing.T, blob func(store.Digest) string, _ store.Digest, _ []store.Digest) {
			flip(t, glob(t, blob("*")), "manifests")
		}, fault.SourceMismatch},
		"manifest changed": {func(t *testing.T, blob func(store.Digest) string, m store.Digest, _ []store.Digest) {
			flip(t, []string{blob(m)}, "")
		}, fault.SourceMismatch},
		"manifest gone": {func(t *testing.T, blob func(store.Digest) string, m store.Digest, _ []store.Digest) {
			os.Remove(blob(m))
		}, fault.SourceMismatch},
		"config changed": {func(t *testing.T, blob func(store.Digest) string, _ store.Digest, parts []store.Digest) {
			flip(t, []string{blob(parts[0])}, "")
		}, fault.SourceMismatch},
		"layer changed": {func(t *testing.T, blob func(store.Digest) string, _ store.Digest, parts []store.Digest) {
			flip(t, []string{blob(parts[1])}, "")
		}, fault.SourceMismatch},
		"layer longer": {func(t *testing.T, blob func(store.Digest) string, _ store.Digest, parts []store.Digest) {
			f, err := os.OpenFile(blob(parts[1]), os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			f.Write([]byte{0})
		}, fault.SourceMismatch},
		"layer gone": {func(t *testing.T, blob func(store.Digest) string, _ store.Digest, parts []store.Digest) {
			os.Remove(blob(parts[1]))
		}, fault.SourceMismatch},
	} {
		t.Run(title, func(t *testing.T) {
			dir := t.TempDir()
			index, manifests := layout(t, dir)
			put(t, dir, withImage("oci-layout:base", index))
			writeLock(t, dir)
			blob := func(d store.Digest) string { return filepath.Join(dir, "base/blobs/sha256", d.Hex()) }
			m := manifests["linux/amd64"]
			var parts struct {
				Config struct{ Digest store.Digest }
				Layers []struct{ Digest store.Digest }
			}
			data, err := os.ReadFile(blob(m))
			if err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal(data, &parts); err != nil {
				t.Fatal(err)
			}
			c.change(t, blob, m, []store.Digest{parts.Config.Digest, parts.Layers[0].Digest})
			r := &fetchRoom{room: newRoom(t, "")}
			r.dir = dir
			_, err = r.fetch()
			if title == "index changed" { // it is read by lock alone
				_, err = load(t, dir).NewLock(t.Context(), pipeline.LockOptions{})
				wantFault(t, err, c.code, "pipeline.toml", 7, "layout base")
				return
			}
			wantFault(t, err, c.code, "pipeline.toml", 7, "layout base")
			if _, err := os.Stat(filepath.Join(pipeline.StoreDir(r.state), "blobs/sha256", m.Hex())); err == nil {
				t.Error("the manifest is in the store")
			}
		})
	}
}

// flip changes one bit in each of the files that contain a text.
func flip(t *testing.T, files []string, text string) {
	t.Helper()
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(data), text) {
			continue
		}
		data[len(data)/2] ^= 1
		if err := os.WriteFile(f, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// edit changes rebuild.lock.
func edit(t *testing.T, dir string, change func(l *pipeline.Lock)) *pipeline.Lock {
	t.Helper()
	l, err := load(t, dir).NewLock(t.Context(), pipeline.LockOptions{})
	if err != nil {
		t.Fatal(err)
	}
	change(l)
	if _, err := load(t, dir).WriteLock(l); err != nil {
		t.Fatal(err)
	}
	return l
}

// A lock that pins another image than [images] names, by an edit or because it
// was not made again, must not decide what is built.
func TestLockPinsWhatThePipelineNames(t *testing.T) {
	dir := t.TempDir()
	index, manifests := layout(t, dir)
	other := manifests["linux/386"]
	swap := func(l *pipeline.Lock) { l.Images[1].Digest = other }
	for title, c := range map[string]struct {
		text   string
		change func(l *pipeline.Lock)
	}{
		"index":    {withImage("oci-layout:base", index), swap},
		"unknown":  {withImage("oci-layout:base", index), func(l *pipeline.Lock) { l.Images[1].Digest = digestA }},
		"manifest": {strings.Replace(withImage("oci-layout:base", manifests["linux/amd64"]), "\"linux/386\", ", "", 1), func(l *pipeline.Lock) { l.Images[0].Digest = other }},
	} {
		t.Run(title, func(t *testing.T) {
			put(t, dir, c.text)
			lock := edit(t, dir, c.change)
			_, err := load(t, dir).Plan(amd64, pipeline.PlanOptions{Lock: lock, Now: now})
			wantFault(t, err, fault.LockDrift, "pipeline.toml", 7, "pins image base for linux/amd64")
			r := &fetchRoom{room: newRoom(t, "")}
			r.dir = dir
			_, err = r.fetch()
			wantFault(t, err, fault.LockDrift, "pipeline.toml", 7, "pins image base for linux/amd64")
		})
	}
	put(t, dir, withImage("oci-layout:base", index))
	lock := edit(t, dir, func(*pipeline.Lock) {})
	if err := os.RemoveAll(filepath.Join(dir, "base")); err != nil {
		t.Fatal(err)
	}
	_, err := load(t, dir).Plan(amd64, pipeline.PlanOptions{Lock: lock, Now: now})
	wantFault(t, err, fault.SourceMismatch, "pipeline.toml", 7, "not in the layout base")
}

func TestLockOrder(t *testing.T) {
	dir := write(t, whole)
	for title, change := range map[string]func(l *pipeline.Lock){
		"sources swapped": func(l *pipeline.Lock) { slices.Reverse(l.Sources) },
		"source twice":    func(l *pipeline.Lock) { l.Sources = append(l.Sources, l.Sources[1]) },
		"images swapped": func(l *pipeline.Lock) {
			l.Images = []pipeline.LockImage{{Name: "b", Digest: digestA, Platform: amd64}, {Name: "a", Digest: digestA, Platform: amd64}}
		},
		"platforms swapped": func(l *pipeline.Lock) {
			l.Images = []pipeline.LockImage{{Name: "b", Digest: digestA, Platform: amd64}, {Name: "b", Digest: digestA, Platform: "linux/386"}}
		},
		"image twice": func(l *pipeline.Lock) {
			l.Images = []pipeline.LockImage{{Name: "b", Digest: digestA, Platform: amd64}, {Name: "b", Digest: digestA, Platform: amd64}}
		},
	} {
		t.Run(title, func(t *testing.T) {
			edit(t, dir, change)
			_, err := load(t, dir).ReadLock()
			wantFault(t, err, fault.LockDrift, "rebuild.lock", 0, "not sorted")
			if diff, err := load(t, dir).CheckLock(t.Context(), pipeline.LockOptions{}); fault.CodeOf(err) != fault.LockDrift || len(diff) == 0 {
				t.Errorf("%v %v", diff, err)
			}
		})
	}
}

// A lock that is read is exactly what is written.
func FuzzLock(f *testing.F) {
	dir := f.TempDir()
	for path, text := range map[string]string{
		"pipeline.toml":   head + rest,
		"a/stage.toml":    "schema_version = \"rebuild.stage@1.0.0\"\nname = \"a\"\n",
		"a/Containerfile": "FROM scratch\n",
	} {
		file := filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			f.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			f.Fatal(err)
		}
	}
	p, err := pipeline.Load(dir, dir, nil)
	if err != nil {
		f.Fatal(err)
	}
	l, err := p.NewLock(f.Context(), pipeline.LockOptions{})
	if err != nil {
		f.Fatal(err)
	}
	data, err := p.WriteLock(l)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, in []byte) {
		if err := os.WriteFile(lockFile(dir), in, 0o644); err != nil {
			t.Fatal(err)
		}
		l, err := p.ReadLock()
		if err != nil {
			return
		}
		if out, err := document.Encode(l); err != nil || !bytes.Equal(in, out) {
			t.Fatalf("%s became %s, %v", in, out, err)
		}
	})
}
