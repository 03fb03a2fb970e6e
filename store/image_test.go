package store

import (
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"rebuild/internal/fault"
)

// exampleLayer is the tree of formats.md 3.
func exampleLayer(t testing.TB, s *Store) Layer {
	t.Helper()
	l, err := s.PutFiles([]File{
		{Path: "bin/hi", Mode: 0o755, Data: []byte("hi\n")},
		{Path: "bin/hello", Type: Link, Target: "bin/hi"},
		{Path: "a b", Type: Symlink, Target: "bin/hello"},
	}, 1)
	must(t, err)
	return l
}

var fullConfig = ImageConfig{
	Entrypoint: []string{"/bin/hello", "<&>"}, Cmd: []string{"x"}, Env: []string{"Z=1", "A=2"}, User: "0:0", WorkingDir: "/w",
	Labels: map[string]string{"b": "1", "a": "é"}, ExposedPorts: map[string]struct{}{"80/tcp": {}},
	Volumes: map[string]struct{}{"/v": {}}, StopSignal: "SIGTERM",
}

func TestPutImage(t *testing.T) {
	s := newStore(t)
	l := exampleLayer(t, s)
	m, err := s.PutImage(l, "linux/amd64", ImageConfig{})
	must(t, err)
	if l.Tree != "sha256:b2f154057df7a7928fe077258bdcd49254cf7638acddde527fcc78ca1792e518" ||
		m != "sha256:eeb73808af9d75ee99580fbb1fa0ba6cff110328c59d6f34d4f729fe6e80ac06" {
		t.Errorf("tree %s, manifest %s", l.Tree, m)
	}
	img, err := s.Image(m)
	must(t, err)
	if img.Platform != "linux/amd64" || img.Layer.Digest != l.Digest || img.Layer.Size != l.Size || img.Manifest != m {
		t.Errorf("image is %+v", img)
	}
}

func TestConfigBytes(t *testing.T) {
	s := newStore(t)
	l := exampleLayer(t, s)
	config, _, err := encodeImage(l, "linux/arm/v7", fullConfig)
	must(t, err)
	want := `{"architecture":"arm","config":{"Cmd":["x"],"Entrypoint":["/bin/hello","<&>"],"Env":["Z=1","A=2"],` +
		`"ExposedPorts":{"80/tcp":{}},"Labels":{"a":"é","b":"1"},"StopSignal":"SIGTERM","User":"0:0","Volumes":{"/v":{}},` +
		`"WorkingDir":"/w"},"os":"linux","rootfs":{"diff_ids":["` + string(l.Digest) + `"],"type":"layers"},"variant":"v7"}`
	if string(config) != want {
		t.Errorf("config is\n%s\nwant\n%s", config, want)
	}
	empty := ImageConfig{Entrypoint: []string{}, Env: []string{}, Labels: map[string]string{}, Volumes: map[string]struct{}{}}
	a, err := ManifestOf(l, "linux/amd64", empty)
	must(t, err)
	if b, _ := ManifestOf(l, "linux/amd64", ImageConfig{}); a != b {
		t.Error("an empty setting is not an absent one")
	}
	m, err := s.PutImage(l, "linux/arm/v7", fullConfig)
	must(t, err)
	img, err := s.Image(m)
	if err != nil || img.Platform != "linux/arm/v7" || img.Config.Labels["a"] != "é" || !slices.Equal(img.Config.Env, fullConfig.Env) {
		t.Errorf("image is %+v, %v", img, err)
	}
}

func TestPutImageRefuses(t *testing.T) {
	s := newStore(t)
	l := exampleLayer(t, s)
	for _, p := range []string{"", "linux", "linux/", "Linux/amd64", "linux/amd64/v1/x", "linux/am d64", "/amd64"} {
		_, err := s.PutImage(l, p, ImageConfig{})
		wantCode(t, err, fault.Structure)
	}
	for _, c := range []ImageConfig{{Labels: map[string]string{"é": ""}}, {Volumes: map[string]struct{}{"/é": {}}}, {ExposedPorts: map[string]struct{}{"é": {}}}} {
		_, err := s.PutImage(l, "linux/amd64", c)
		wantCode(t, err, fault.Structure)
	}
	if _, err := s.PutImage(l, "linux/amd64", ImageConfig{User: "\xff"}); err == nil {
		t.Error("bytes that are not UTF-8 were taken")
	}
}

// What is not byte for byte our own form is not taken for an image of ours:
// G53, one vote for any wrapping.
func TestImageRefuses(t *testing.T) {
	s := newStore(t)
	l := exampleLayer(t, s)
	config, manifest, err := encodeImage(l, "linux/amd64", ImageConfig{})
	must(t, err)
	mustPut(t, s, string(config))
	for name, m := range map[string]string{
		"no JSON":       "x",
		"annotations":   strings.Replace(string(manifest), `{"config"`, `{"annotations":{"a":"b"},"config"`, 1),
		"white space":   string(manifest) + "\n",
		"other layer":   strings.Replace(string(manifest), string(l.Digest), string(l.Tree), 1),
		"media type":    strings.Replace(string(manifest), "manifest.v1", "manifest.v2", 1),
		"layer type":    strings.Replace(string(manifest), "layer.v1.tar", "layer.v1.tar+gzip", 1),
		"two documents": string(manifest) + string(manifest),
		"a config":      string(config),
	} {
		if _, err := s.Image(mustPut(t, s, m)); fault.CodeOf(err).Exit() != 31 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestIndex(t *testing.T) {
	s := newStore(t)
	l := exampleLayer(t, s)
	put := func(p string) Digest {
		d, err := s.PutImage(l, p, ImageConfig{})
		must(t, err)
		return d
	}
	amd, i386, arm6, arm7 := put("linux/amd64"), put("linux/386"), put("linux/arm/v6"), put("linux/arm/v7")
	x, err := s.Index([]Digest{arm7, amd, i386, arm6})
	must(t, err)
	if y, err := s.Index([]Digest{amd, arm6, arm7, i386}); err != nil || y != x {
		t.Errorf("another order gives %s, %v, want %s", y, err, x)
	}
	b, err := s.Read(x, 1<<20)
	must(t, err)
	last := -1
	for _, d := range []Digest{i386, amd, arm6, arm7} {
		at := strings.Index(string(b), string(d))
		if at < last {
			t.Errorf("%s is out of order in %s", d, b)
		}
		last = at
	}
	_, err = s.Index([]Digest{amd, amd})
	wantCode(t, err, fault.Structure)
}

// Other people's tools read the store: layout, index, images and layers are
// what go-containerregistry expects and pass its validation.
func TestForeignToolsReadTheStore(t *testing.T) {
	s := newStore(t)
	l := exampleLayer(t, s)
	for _, p := range []string{"linux/amd64", "linux/386"} {
		m, err := s.PutImage(l, p, fullConfig)
		must(t, err)
		must(t, s.Tag(p, m))
		path, err := layout.FromPath(s.Dir())
		must(t, err)
		hash, err := v1.NewHash(string(m))
		must(t, err)
		img, err := path.Image(hash)
		must(t, err)
		// Fast, because the validator gunzips every layer it reads, whatever
		// its media type; checkForeignLayer does that part.
		if err := validate.Image(img, validate.Fast); err != nil {
			t.Errorf("%s: %v", p, err)
		}
		checkForeignLayer(t, img, l)
		c, err := img.ConfigFile()
		must(t, err)
		if c.Platform().String() != p || !slices.Equal(c.Config.Env, fullConfig.Env) || c.Config.StopSignal != "SIGTERM" {
			t.Errorf("they read %+v", c)
		}
	}
	path, err := layout.FromPath(s.Dir())
	must(t, err)
	index, err := path.ImageIndex()
	must(t, err)
	if err := validate.Index(index, validate.Fast); err != nil {
		t.Error(err)
	}
}

func checkForeignLayer(t *testing.T, img v1.Image, want Layer) {
	t.Helper()
	layers, err := img.Layers()
	must(t, err)
	id, err := layers[0].DiffID()
	must(t, err)
	size, err := layers[0].Size()
	must(t, err)
	if len(layers) != 1 || id.String() != string(want.Digest) || size != want.Size {
		t.Errorf("they see %d layers, diffID %s, %d bytes", len(layers), id, size)
	}
	for _, open := range []func() (io.ReadCloser, error){layers[0].Compressed, layers[0].Uncompressed} {
		r, err := open()
		must(t, err)
		got, hash, err := v1hash(r)
		if err != nil || got != want.Size || hash != string(want.Digest) {
			t.Errorf("they read %d bytes, %s, %v", got, hash, err)
		}
	}
}

func v1hash(r io.ReadCloser) (int64, string, error) {
	defer r.Close()
	hash, n, err := v1.SHA256(r)
	return n, hash.String(), err
}

func TestTags(t *testing.T) {
	s := newStore(t)
	l := exampleLayer(t, s)
	a, err := s.PutImage(l, "linux/amd64", ImageConfig{})
	must(t, err)
	b, err := s.PutImage(l, "linux/386", ImageConfig{})
	must(t, err)
	x, err := s.Index([]Digest{a, b})
	must(t, err)
	for _, tag := range []TagEntry{{"z", a}, {"demo/hello:1.0.0", a}, {"z", b}, {"all", x}} {
		must(t, s.Tag(tag.Name, tag.Manifest))
	}
	must(t, s.Untag("never"))
	tags, err := s.Tags()
	want := []TagEntry{{"all", x}, {"demo/hello:1.0.0", a}, {"z", b}}
	if err != nil || !slices.Equal(tags, want) {
		t.Errorf("tags are %v, %v", tags, err)
	}
	must(t, s.Untag("z"))
	if tags, _ = s.Tags(); len(tags) != 2 {
		t.Errorf("tags are %v", tags)
	}
	for _, name := range []string{"", "a b", "-a", "a/", "é", strings.Repeat("a", 256)} {
		wantCode(t, s.Tag(name, a), fault.Usage)
	}
	wantCode(t, s.Tag("x", l.Tree), fault.Parse)
	wantCode(t, s.Tag("x", DigestOf(nil)), fault.FileMissing)
}

// What another tool wrote to index.json survives our rewriting.
func TestForeignIndexEntriesStay(t *testing.T) {
	s := newStore(t)
	foreign := `{"annotations":{"org.opencontainers.image.ref.name":"theirs","x":"y"},"artifactType":"a/b",` +
		`"digest":"sha256:` + strings.Repeat("0", 64) + `","mediaType":"application/vnd.oci.image.manifest.v1+json","size":3}`
	must(t, s.writeFile(indexFile, []byte(`{"schemaVersion":2,"manifests":[`+foreign+`]}`)))
	m, err := s.PutImage(exampleLayer(t, s), "linux/amd64", ImageConfig{})
	must(t, err)
	must(t, s.Tag("ours", m))
	x, tags, err := s.readIndex()
	if err != nil || len(tags) != 2 || string(x.Manifests[0]) != foreign {
		t.Errorf("%s, %v", x.Manifests, err)
	}
}
