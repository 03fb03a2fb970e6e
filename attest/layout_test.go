package attest_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// entry is what index.json says of an image.
func entry(manifest store.Digest, size int) object {
	return object{"digest": string(manifest), "mediaType": store.MediaTypeManifest, "size": size}
}

func size(t testing.TB, w *attesttest.World, manifest store.Digest) int {
	t.Helper()
	raw, err := w.Store.Read(manifest, 1<<20)
	must(t, err)
	return len(raw)
}

// list writes a layout's index.json.
func list(t testing.TB, dir string, entries ...object) {
	t.Helper()
	raw, err := document.Encode(object{"schemaVersion": 2, "manifests": entries})
	must(t, err)
	writeIndex(t, dir, string(raw))
}

func writeIndex(t testing.TB, dir, text string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(dir, "index.json"), []byte(text), 0o644))
}

// Other tools find images through index.json, so what it leads to is what has
// to be the released image, and all the good blobs beside it say nothing.
func TestVerifyLayoutReadsItsIndex(t *testing.T) {
	w := attesttest.New(t)
	r := w.Honest()
	good := entry(w.Stages[1].Manifest, size(t, w, w.Stages[1].Manifest))
	evil := entry(w.Stages[0].Manifest, size(t, w, w.Stages[0].Manifest))
	with := func(key string, value any) object {
		return object{"digest": good["digest"], "mediaType": good["mediaType"], "size": good["size"], key: value}
	}
	index, err := w.Store.Index([]store.Digest{w.Stages[1].Manifest})
	must(t, err)
	dir := w.Store.Dir()
	text := func(entries ...object) string {
		list(t, dir, entries...)
		raw, err := os.ReadFile(filepath.Join(dir, "index.json"))
		must(t, err)
		return string(raw)
	}
	one := text(good)
	for name, c := range map[string]struct {
		index string
		code  fault.Code
	}{
		"released":        {one, ""},
		"twice":           {text(good, with("annotations", object{"org.opencontainers.image.ref.name": "x"})), ""},
		"platform":        {text(with("platform", object{"os": "linux", "architecture": "amd64"})), ""},
		"oci index":       {text(object{"digest": string(index), "mediaType": store.MediaTypeIndex, "size": size(t, w, index)}), ""},
		"nothing":         {text(), fault.EvidenceMismatch},
		"altered":         {text(evil), fault.EvidenceMismatch},
		"altered too":     {text(good, evil), fault.EvidenceMismatch},
		"other platform":  {text(with("platform", object{"os": "linux", "architecture": "arm64"})), fault.EvidenceMismatch},
		"other type":      {text(with("mediaType", store.MediaTypeIndex)), fault.EvidenceMismatch},
		"other size":      {text(with("size", 1)), fault.EvidenceMismatch},
		"two lists":       {strings.Replace(one, `"schemaVersion"`, `"Manifests":[],"schemaVersion"`, 1), fault.Parse},
		"in capitals":     {strings.ToUpper(text(evil)[:12]) + text(evil)[12:], fault.EvidenceMismatch},
		"empty digest":    {text(with("digest", "")), fault.EvidenceMismatch},
		"path for digest": {text(with("digest", "../../index.json")), fault.EvidenceMismatch},
		"junk":            {"junk", fault.Parse},
		"too large":       {strings.Repeat(" ", 4<<20) + one, fault.Parse},
	} {
		t.Run(name, func(t *testing.T) {
			writeIndex(t, dir, c.index)
			_, err := attest.Verify(w.LoadPolicy(), r.Bundle, attest.Expect{Layouts: []string{dir}}, attesttest.Now)
			code(t, err, c.code)
		})
	}
	must(t, os.Remove(filepath.Join(dir, "index.json")))
	_, err = attest.Verify(w.LoadPolicy(), r.Bundle, attest.Expect{Layouts: []string{dir}}, attesttest.Now)
	code(t, err, fault.FileMissing)
}

// Opening a pipe would wait for a writer who never comes.
func TestVerifyLayoutRefusesPipes(t *testing.T) {
	w := attesttest.New(t)
	r := w.Honest()
	for _, name := range []string{"index.json", "blobs/sha256/" + w.Stages[1].Manifest.Hex()} {
		list(t, w.Store.Dir(), entry(w.Stages[1].Manifest, size(t, w, w.Stages[1].Manifest)))
		path := filepath.Join(w.Store.Dir(), name)
		must(t, os.Remove(path))
		must(t, syscall.Mkfifo(path, 0o644))
		_, err := attest.Verify(w.LoadPolicy(), r.Bundle, attest.Expect{Layouts: []string{w.Store.Dir()}}, attesttest.Now)
		code(t, err, fault.Usage)
		must(t, os.Remove(path))
	}
}

// A layout may hold fewer platforms than were released; the account says so.
// Of a platform that it holds it must list every image.
func TestVerifyLayoutWithFewerPlatforms(t *testing.T) {
	w := attesttest.New(t)
	images := make([]attest.ReleaseTarget, 3)
	for i := range images {
		s := w.Stage("hello", []store.File{{Path: "x", Mode: 0o644, Data: []byte{byte(i)}}})
		images[i] = attest.ReleaseTarget{Name: "t" + string(rune('a'+i)), Tree: s.Tree, Manifest: s.Manifest}
	}
	r := &attest.Release{Name: "hello", Version: "0.1.0", Builds: []attest.ReleaseBuild{
		{Platform: "linux/386", Targets: images[:1]}, {Platform: "linux/amd64", Targets: images[1:]},
	}}
	check := func(listed ...int) ([]string, []string, error) {
		var entries []object
		for _, i := range listed {
			entries = append(entries, entry(images[i].Manifest, size(t, w, images[i].Manifest)))
		}
		list(t, w.Store.Dir(), entries...)
		return r.VerifyLayout(w.Store.Dir())
	}
	found, notes, err := check(0, 1, 2)
	if err != nil || len(found) != 3 || len(notes) != 0 {
		t.Errorf("%v %v %v", found, notes, err)
	}
	found, notes, err = check(0)
	want := []string{"image tb for linux/amd64 is not in the layout and was not compared", "image tc for linux/amd64 is not in the layout and was not compared"}
	if err != nil || len(found) != 1 || !slices.Equal(notes, want) {
		t.Errorf("%v %v %v", found, notes, err)
	}
	_, _, err = check(0, 1)
	code(t, err, fault.EvidenceMismatch)
}

// What is said of a released image may lie beside it. It must not be a way to
// list something that a tool would run.
func TestVerifyLayoutWithReferrers(t *testing.T) {
	w := attesttest.New(t)
	r := w.Honest()
	released, other := w.Stages[1].Manifest, w.Stages[0].Manifest
	put := func(text string) object {
		d, err := w.Store.Put([]byte(text))
		must(t, err)
		return entry(d, len(text))
	}
	refer := func(config string, subject store.Digest) string {
		c := put(config)
		return fmt.Sprintf(`{"artifactType":"text/plain","config":{"digest":%q,"mediaType":"application/vnd.oci.empty.v1+json","size":%d},`+
			`"layers":[],"mediaType":%q,"schemaVersion":2,"subject":{"digest":%q,"mediaType":%q,"size":%d}}`,
			c["digest"], c["size"], store.MediaTypeManifest, subject, store.MediaTypeManifest, size(t, w, subject))
	}
	with := func(e object, key string, value any) object {
		out := maps.Clone(e)
		out[key] = value
		return out
	}
	good := refer("{}", released)
	for name, c := range map[string]struct {
		entry object
		code  fault.Code
	}{
		"good":              {put(good), ""},
		"of another image":  {put(refer("{}", other)), fault.EvidenceMismatch},
		"with a config":     {put(refer(`{"architecture":"amd64"}`, released)), fault.EvidenceMismatch},
		"without type":      {put(strings.Replace(good, `"artifactType":"text/plain",`, "", 1)), fault.EvidenceMismatch},
		"two subjects":      {put(strings.Replace(good, `"layers"`, `"Subject":{},"layers"`, 1)), fault.EvidenceMismatch},
		"an index too":      {put(strings.Replace(good, `"layers"`, `"manifests":[{}],"layers"`, 1)), fault.EvidenceMismatch},
		"under a name":      {with(put(good), "annotations", object{"org.opencontainers.image.ref.name": "hello"}), fault.EvidenceMismatch},
		"for a platform":    {with(put(good), "platform", object{"os": "linux", "architecture": "amd64"}), fault.EvidenceMismatch},
		"with another size": {with(put(good), "size", 1), fault.EvidenceMismatch},
		"as an index":       {with(put(good), "mediaType", store.MediaTypeIndex), fault.EvidenceMismatch},
		"that is not there": {entry(store.DigestOf([]byte("nothing")), 7), fault.EvidenceMismatch},
		"with a bad digest": {with(put(good), "digest", "../../index.json"), fault.EvidenceMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			list(t, w.Store.Dir(), entry(released, size(t, w, released)), c.entry)
			_, err := attest.Verify(w.LoadPolicy(), r.Bundle, attest.Expect{Layouts: []string{w.Store.Dir()}}, attesttest.Now)
			code(t, err, c.code)
		})
	}
	list(t, w.Store.Dir(), put(good))
	_, err := attest.Verify(w.LoadPolicy(), r.Bundle, attest.Expect{Layouts: []string{w.Store.Dir()}}, attesttest.Now)
	code(t, err, fault.EvidenceMismatch) // it stands for no image
}
