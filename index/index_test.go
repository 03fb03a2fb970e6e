package index_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/index"
	"rebuild/internal/fault"
)

func code(t *testing.T, err error, want fault.Code) {
	t.Helper()
	if got := fault.CodeOf(err); got != want {
		t.Fatalf("got %q (%v), want %q", got, err, want)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newIndex makes a signed, empty index.
func newIndex(t testing.TB) (string, *index.Index) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "index")
	in := writing(attesttest.New(t), "index")
	must(t, index.Init(context.Background(), dir, index.Config{Signing: index.SigningWith(attesttest.Key("index").Public())}, in))
	x, err := index.Open(dir, in)
	must(t, err)
	return dir, x
}

// writing is who writes an index by a world's policy, with the key of a name.
func writing(w *attesttest.World, key string) index.Writing {
	return index.Writing{Policy: w.LoadPolicy(), Key: attesttest.Key(key), Now: func() time.Time { return attesttest.Now }}
}

// published is what is handed to an index.
type published struct {
	*attest.Bundle
	archive []byte
}

// publication makes a release of hello with some text of its package.toml
// replaced.
func publication(t testing.TB, w *attesttest.World, owners, by []string, replace ...string) published {
	t.Helper()
	r := w.Release(w.Statements(), nil, strings.NewReplacer(replace...).Replace(attesttest.PackageTOML), owners, by)
	return published{r.Bundle, r.Package.Archive()}
}

var both = []string{"r1", "r2"}

func publish(x *index.Index, w *attesttest.World, p published) (*index.Entry, error) {
	return publishAs(x, w, "index", p)
}

func publishAs(x *index.Index, w *attesttest.World, key string, p published) (*index.Entry, error) {
	x, err := index.Open(x.Dir(), writing(w, key))
	if err != nil {
		return nil, err
	}
	e, _, err := x.Publish(context.Background(), p.Bundle, p.archive)
	return e, err
}

func TestPublishAndVerify(t *testing.T) {
	w := attesttest.New(t)
	dir, x := newIndex(t)
	for _, version := range []string{"0.2.0", "0.10.0-rc.1", "0.9.0"} {
		_, err := publish(x, w, publication(t, w, []string{"r1"}, both, "0.1.0", version, "meta =", "depends = { libc = \"^1\" }\nmeta ="))
		must(t, err)
	}
	e, account, err := x.Verify("hello", "", w.LoadPolicy(), attesttest.Now)
	must(t, err)
	if e.Version != "0.10.0-rc.1" || account.Word != attest.Reproducible || !slices.Equal(account.Compared, []string{"name", "version", "archive"}) {
		t.Errorf("%+v %+v", e, account)
	}
	if len(e.Deps) != 1 || e.Deps[0] != (index.Dep{Name: "libc", Req: "^1"}) || e.Assurance != index.AssuranceQuorum {
		t.Errorf("%+v", e)
	}
	e, _, err = x.Verify("hello", "0.2.0+any", w.LoadPolicy(), attesttest.Now)
	must(t, err)
	if e.Version != "0.2.0" {
		t.Errorf("%+v", e)
	}
	_, err = x.Lookup("hello", "0.3.0")
	code(t, err, fault.IndexNoMatch)
	_, err = x.Lookup("hallo", "")
	code(t, err, fault.IndexNoMatch)
	_, err = x.Lookup("../../etc/passwd", "")
	code(t, err, fault.Structure)
	if _, err := os.Stat(filepath.Join(dir, "he/ll/hello")); err != nil {
		t.Error(err)
	}
}

func TestPublishedVersionsNeverChange(t *testing.T) {
	w := attesttest.New(t)
	dir, x := newIndex(t)
	p := publication(t, w, []string{"r1"}, both)
	first, err := publish(x, w, p)
	must(t, err)
	before := snapshot(t, dir)
	again, err := publish(x, w, p)
	must(t, err)
	if again.Release != first.Release || !maps.Equal(before, snapshot(t, dir)) {
		t.Error("publishing again changed something")
	}
	for name, replace := range map[string][]string{
		"other content": {"says hi", "says ho"}, "other build metadata": {"0.1.0", "0.1.0+1"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := publish(x, w, publication(t, w, []string{"r1"}, both, replace...))
			code(t, err, fault.AlreadyPublished)
			if !maps.Equal(before, snapshot(t, dir)) {
				t.Error("a refused release left something")
			}
		})
	}
}

func TestTwinsAreRefused(t *testing.T) {
	w := attesttest.New(t)
	_, x := newIndex(t)
	_, err := publish(x, w, publication(t, w, []string{"r1"}, both, `"hello"`, `"a-b_c/d-e_f"`))
	must(t, err)
	_, err = publish(x, w, publication(t, w, []string{"r1"}, both, `"hello"`, `"a-b_c/d-e_f"`, "0.1.0", "0.2.0"))
	must(t, err)
	for _, twin := range []string{"a_b_c/d-e_f", "a-b_c/d_e-f", "a-b-c/d-e-f"} {
		_, err := publish(x, w, publication(t, w, []string{"r1"}, both, `"hello"`, `"`+twin+`"`))
		code(t, err, fault.Semantic)
	}
	_, err = publish(x, w, publication(t, w, []string{"r1"}, both, `"hello"`, `"d-e-f"`))
	must(t, err)
}

func TestG31_OldOwnersMustSign(t *testing.T) {
	w := attesttest.New(t)
	_, x := newIndex(t)
	_, err := publish(x, w, publication(t, w, []string{"alice"}, []string{"alice", "r1", "r2"}))
	must(t, err)
	_, err = publish(x, w, publication(t, w, []string{"mallory"}, []string{"mallory", "r1", "r2"}, "0.1.0", "0.2.0"))
	code(t, err, fault.OwnerChanged)
	p := publication(t, w, []string{"bob"}, []string{"alice", "bob", "r1", "r2"}, "0.1.0", "0.3.0")
	_, err = publish(x, w, p)
	must(t, err)
}

func TestWhoMaySignEntries(t *testing.T) {
	w := attesttest.New(t)
	_, x := newIndex(t)
	p := publication(t, w, []string{"r1"}, both)
	for _, other := range []string{"r1", "north", "root", "stranger"} {
		_, err := publishAs(x, w, other, p)
		code(t, err, fault.KeyUnknown)
	}
	old := *w
	index1 := `index = { keys = [{ key = "` + attesttest.Key("index").Public().String() + `"`
	old.PolicyTOML = strings.Replace(w.PolicyTOML, index1, index1+`, not_after = "2026-01-01T00:00:00Z"`, 1)
	_, err := publish(x, &old, p)
	code(t, err, fault.KeyExpired)
}

// A foreign index may sign with its own key and serve that key beside the
// entries; the reader's policy does not know it (G30).
func TestG30_ForeignIndexWithItsOwnKeys(t *testing.T) {
	w := attesttest.New(t)
	dir := filepath.Join(t.TempDir(), "index")
	foreign := *w
	foreign.PolicyTOML = strings.Replace(w.PolicyTOML, attesttest.Key("index").Public().String(), attesttest.Key("foreign").Public().String(), 1)
	in := writing(&foreign, "foreign")
	must(t, index.Init(context.Background(), dir, index.Config{Signing: index.SigningWith(attesttest.Key("foreign").Public())}, in))
	x, err := index.Open(dir, in)
	must(t, err)
	_, err = publishAs(x, &foreign, "foreign", publication(t, w, []string{"r1"}, both))
	must(t, err)
	_, _, err = x.Verify("hello", "", w.LoadPolicy(), attesttest.Now)
	code(t, err, fault.KeyUnknown)
}

func TestUnsigned(t *testing.T) {
	w := attesttest.New(t)
	dir, x := newIndex(t)
	_, err := publish(x, w, publication(t, w, []string{"r1"}, both))
	must(t, err)
	path := filepath.Join(dir, "he/ll/hello")
	line, err := os.ReadFile(path)
	must(t, err)
	e, err := index.ParseEntry("hello", bytes.TrimSuffix(line, []byte("\n")))
	must(t, err)
	e.Signature = nil
	unsigned, err := e.Encode()
	must(t, err)
	must(t, os.WriteFile(path, append(unsigned, '\n'), 0o644))
	_, _, err = x.Verify("hello", "", w.LoadPolicy(), attesttest.Now)
	code(t, err, fault.EntryUnsigned)
	if !strings.Contains(err.Error(), "hello@0.1.0 is unsigned") {
		t.Error(err)
	}

	must(t, os.WriteFile(path, line, 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"schema_version":"rebuild.index-config@1.0.0"}`), 0o644))
	bare, err := index.Open(dir, writing(w, "index"))
	must(t, err)
	_, _, err = bare.Verify("hello", "", w.LoadPolicy(), attesttest.Now)
	code(t, err, fault.IndexUnsigned)
	_, err = publish(bare, w, publication(t, w, []string{"r1"}, both, "0.1.0", "0.2.0"))
	code(t, err, fault.IndexUnsigned)
}

func TestYankedVersions(t *testing.T) {
	w := attesttest.New(t)
	dir, x := newIndex(t)
	for _, version := range []string{"0.1.0", "0.2.0"} {
		_, err := publish(x, w, publication(t, w, []string{"r1"}, both, "0.1.0", version))
		must(t, err)
	}
	path := filepath.Join(dir, "he/ll/hello")
	lines, err := os.ReadFile(path)
	must(t, err)
	one, two, _ := bytes.Cut(lines, []byte("\n"))
	yanked := func(b []byte) []byte { return bytes.Replace(b, []byte(`"yanked":false`), []byte(`"yanked":true`), 1) }

	must(t, os.WriteFile(path, slices.Concat(one, []byte("\n"), yanked(two)), 0o644))
	e, _, err := x.Verify("hello", "", w.LoadPolicy(), attesttest.Now)
	must(t, err)
	if e.Version != "0.1.0" {
		t.Errorf("the latest is %s", e.Version)
	}
	e, _, err = x.Verify("hello", "0.2.0", w.LoadPolicy(), attesttest.Now)
	must(t, err)
	if !e.Yanked {
		t.Error("not shown as yanked")
	}
	must(t, os.WriteFile(path, slices.Concat(yanked(one), []byte("\n"), yanked(two)), 0o644))
	_, _, err = x.Verify("hello", "", w.LoadPolicy(), attesttest.Now)
	code(t, err, fault.NoNonYanked)
}

func TestBadLineFiles(t *testing.T) {
	w := attesttest.New(t)
	dir, x := newIndex(t)
	_, err := publish(x, w, publication(t, w, []string{"r1"}, both))
	must(t, err)
	path := filepath.Join(dir, "he/ll/hello")
	line, err := os.ReadFile(path)
	must(t, err)
	for name, c := range map[string]struct {
		data []byte
		code fault.Code
	}{
		"twice":          {slices.Concat(line, line), fault.Semantic},
		"not ended":      {bytes.TrimSuffix(line, []byte("\n")), fault.Parse},
		"empty line":     {append([]byte("\n"), line...), fault.Parse},
		"another name":   {bytes.ReplaceAll(line, []byte(`"name":"hello"`), []byte(`"name":"hallo"`)), fault.Semantic},
		"logged":         {bytes.ReplaceAll(line, []byte(`"yanked"`), []byte(`"seq":7,"yanked"`)), fault.Parse}, // not sorted
		"endless":        {bytes.Repeat([]byte("a"), 5<<20), fault.Parse},
		"line too long":  {slices.Concat(bytes.Repeat([]byte("a"), 65<<10), []byte("\n")), fault.Parse},
		"no yanked":      {bytes.ReplaceAll(line, []byte(`,"yanked":false`), nil), fault.Structure},
		"bad assurance":  {bytes.ReplaceAll(line, []byte(`"quorum"`), []byte(`"sorted"`)), fault.Semantic},
		"no version":     {bytes.ReplaceAll(line, []byte(`"0.1.0"`), []byte(`"0.1"`)), fault.Structure},
		"empty optional": {bytes.ReplaceAll(line, []byte(`"assurance"`), []byte(`"advisories":[],"assurance"`)), fault.Structure},
	} {
		t.Run(name, func(t *testing.T) {
			must(t, os.WriteFile(path, c.data, 0o644))
			_, _, err := x.Verify("hello", "", w.LoadPolicy(), attesttest.Now)
			code(t, err, c.code)
		})
	}
	newer := bytes.ReplaceAll(line, []byte("index-entry@1.0.0"), []byte("index-entry@9.0.0"))
	newer = bytes.ReplaceAll(newer, []byte(`"0.1.0"`), []byte(`"0.2.0"`))
	must(t, os.WriteFile(path, slices.Concat(line, newer), 0o644))
	var notices []string
	in := index.Reading{Policy: w.LoadPolicy(), Now: attesttest.Now, Notice: func(s string) { notices = append(notices, s) }}
	e, err := x.ReaderOf(in).Lookup(context.Background(), "hello", "")
	must(t, err)
	if e.Version != "0.1.0" || len(notices) != 1 {
		t.Errorf("%+v %q", e, notices)
	}
	_, err = publish(x, w, publication(t, w, []string{"r1"}, both, "0.1.0", "0.3.0"))
	code(t, err, fault.SchemaUnsupported)
}

// An entry is bound to its release in everything that its signature does not
// cover: each field changed alone must be found.
func TestEntryIsBoundToItsRelease(t *testing.T) {
	w := attesttest.New(t)
	dir, x := newIndex(t)
	e, err := publish(x, w, publication(t, w, []string{"r1"}, both, "meta =", "depends = { libc = \"^1\" }\nmeta ="))
	must(t, err)
	other, err := publish(x, w, publication(t, w, []string{"r1"}, both, "0.1.0", "0.2.0"))
	must(t, err)
	path := filepath.Join(dir, "he/ll/hello")
	for name, c := range map[string]struct {
		edit func(*index.Entry)
		code fault.Code
	}{
		"release of another version": {func(e *index.Entry) { e.Release = other.Release }, fault.EvidenceMismatch},
		"no release":                 {func(e *index.Entry) { e.Release, e.OCI, e.Assurance = "", "", "none" }, fault.QuorumPending},
		"release that is not there":  {func(e *index.Entry) { e.Release = e.OCI }, fault.EvidenceMismatch},
		"archive of another version": {func(e *index.Entry) { e.Cksum = other.Cksum; must(t, e.Sign(attesttest.Key("index"))) }, fault.CksumMismatch},
		"archive, not signed again":  {func(e *index.Entry) { e.Cksum = other.Cksum }, fault.SignatureInvalid},
		"archive of nothing":         {func(e *index.Entry) { e.Cksum = e.OCI.Hex(); must(t, e.Sign(attesttest.Key("index"))) }, fault.CksumMismatch},
		"other oci":                  {func(e *index.Entry) { e.OCI = e.Release }, fault.EvidenceMismatch},
		"no oci":                     {func(e *index.Entry) { e.OCI = "" }, fault.EvidenceMismatch},
		"other deps":                 {func(e *index.Entry) { e.Deps[0].Req = "^2" }, fault.EvidenceMismatch},
		"no deps":                    {func(e *index.Entry) { e.Deps = nil }, fault.EvidenceMismatch},
		"other assurance":            {func(e *index.Entry) { e.Assurance = "none" }, fault.EvidenceMismatch},
		"signature kind":             {func(e *index.Entry) { e.Signature.Kind = "rsa" }, fault.SignatureUnsupported},
		"signature text":             {func(e *index.Entry) { e.Signature.Sig = e.Signature.Sig[1:] }, fault.Parse},
		"key":                        {func(e *index.Entry) { must(t, e.Sign(attesttest.Key("stranger"))) }, fault.KeyUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			changed := *e
			changed.Deps = slices.Clone(e.Deps)
			signature := *e.Signature
			changed.Signature = &signature
			c.edit(&changed)
			line, err := changed.Encode()
			must(t, err)
			must(t, os.WriteFile(path, append(line, '\n'), 0o644))
			_, _, err = x.Verify("hello", "0.1.0", w.LoadPolicy(), attesttest.Now)
			code(t, err, c.code)
		})
	}
	line, err := e.Encode()
	must(t, err)
	must(t, os.WriteFile(path, append(line, '\n'), 0o644))
	_, account, err := x.Verify("hello", "0.1.0", w.LoadPolicy(), attesttest.Now)
	must(t, err)
	if !slices.Equal(account.Compared, []string{"name", "version", "archive"}) {
		t.Errorf("compared %q", account.Compared)
	}
	must(t, os.Remove(filepath.Join(dir, "objects/sha256", e.Cksum)))
	_, _, err = x.Verify("hello", "0.1.0", w.LoadPolicy(), attesttest.Now)
	code(t, err, fault.FileMissing)
}

// A hint is read by someone who is stuck: what it tells to run must be there.
func TestHintsNameNoCommandThatIsNotThere(t *testing.T) {
	w := attesttest.New(t)
	_, err := index.NewReader(context.Background(), index.Dir(os.DirFS(t.TempDir()), "here"), index.Reading{})
	code(t, err, fault.IndexFetch)
	unsigned := (&index.Entry{Name: "hello", Version: "0.1.0"}).VerifySignature(w.LoadPolicy(), attesttest.Now)
	code(t, unsigned, fault.EntryUnsigned)
	for _, err := range []error{err, unsigned} {
		var e *fault.Error
		if !errors.As(err, &e) || e.Hint == "" || strings.Contains(e.Hint, "rebuild index make") {
			t.Errorf("hint %q", e.Hint)
		}
	}
}

// Of a line, only yanked, advisories and backfilled are not bound by anything
// but a log; a flip of any other byte is found.
func TestEveryFlippedByteOfALineIsFound(t *testing.T) {
	w := attesttest.New(t)
	dir, x := newIndex(t)
	e, err := publish(x, w, publication(t, w, []string{"r1"}, both, "meta =", "depends = { libc = \"^1\" }\nmeta ="))
	must(t, err)
	e.Advisories, e.Backfilled = []string{"A1"}, true
	line, err := e.Encode()
	must(t, err)
	line = append(line, '\n')
	path := filepath.Join(dir, "he/ll/hello")
	policy := w.LoadPolicy()
	advisory := bytes.Index(line, []byte(`"A1"`))
	for at := range line {
		for _, mask := range []byte{0x01, 0x20, 0x80} {
			changed := bytes.Clone(line)
			changed[at] ^= mask
			must(t, os.WriteFile(path, changed, 0o644))
			_, _, err := x.Verify("hello", "", policy, attesttest.Now)
			unbound := at == advisory+1 || at == advisory+2
			if n := fault.CodeOf(err).Exit(); err == nil && !unbound || err != nil && !slices.Contains([]int{3, 11, 12, 30, 31}, n) {
				t.Errorf("byte %d ^ %#x: %v", at, mask, err)
			}
		}
	}
}

// Whatever file of the index is damaged, a reader notices.
func TestEveryDamagedFileIsFound(t *testing.T) {
	w := attesttest.New(t)
	dir, x := newIndex(t)
	_, err := publish(x, w, publication(t, w, []string{"r1"}, both))
	must(t, err)
	files := snapshot(t, dir)
	for name, data := range files {
		if strings.HasSuffix(name, "lock") || strings.HasSuffix(name, "config.json") {
			continue
		}
		changed := []byte(data)
		changed[len(changed)/3] ^= 1
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, changed, 0o644))
		_, _, damaged := x.Verify("hello", "", w.LoadPolicy(), attesttest.Now)
		must(t, os.Remove(path))
		_, _, missing := x.Verify("hello", "", w.LoadPolicy(), attesttest.Now)
		must(t, os.WriteFile(path, []byte(data), 0o644))
		inArchive := damaged == nil && missing == nil // the metadata files are beside the archive for other tools
		if inArchive && strings.HasPrefix(data, `{`) && (strings.Contains(data, "rebuild.package@") || strings.Contains(data, "rebuild.files@")) {
			continue
		}
		if damaged == nil || missing == nil {
			t.Errorf("%s: damaged %v, missing %v", name, damaged, missing)
		}
	}
}

func TestInitRefusesAFolderThatHoldsThings(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "notes.txt"), nil, 0o644))
	code(t, index.Init(context.Background(), dir, index.Config{}, index.Writing{}), fault.Usage)
	_, err := index.Open(dir, index.Writing{})
	code(t, err, fault.IndexFetch)
	_, err = index.Open(filepath.Join(dir, "missing"), index.Writing{})
	code(t, err, fault.IndexFetch)
}

func TestConfigRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		config string
		code   fault.Code
	}{
		"logged":      {`{"log":{"key":"k","origin":"o"},"schema_version":"rebuild.index-config@1.0.0"}`, fault.Structure},
		"kind":        {`{"schema_version":"rebuild.index-config@1.0.0","signing":{"kind":"rsa","public_keys":[]}}`, fault.SignatureUnsupported},
		"newer":       {`{"schema_version":"rebuild.index-config@2.0.0"}`, fault.SchemaUnsupported},
		"unknown key": {`{"schema_version":"rebuild.index-config@1.0.0","x":1}`, fault.Structure},
		"weak key": {`{"schema_version":"rebuild.index-config@1.0.0","signing":{"kind":"ed25519","public_keys":[{"ed25519_pub":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=","id":"x"}]}}`,
			fault.KeyWeak},
		"id of another key": {`{"schema_version":"rebuild.index-config@1.0.0","signing":{"kind":"ed25519","public_keys":[{"ed25519_pub":"` +
			attesttest.Key("index").Public().String() + `","id":"sha256:00"}]}}`, fault.Semantic},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(c.config), 0o644))
			_, err := index.Open(dir, index.Writing{})
			code(t, err, c.code)
		})
	}
}

// snapshot returns every file below dir by name.
func snapshot(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		out[name] = string(data)
		return err
	}))
	return out
}

// An unlogged index keeps neither events nor proof, so it takes in no release
// that can not be verified without, and nothing of it is written.
func TestLoggedReleaseInAnUnloggedIndex(t *testing.T) {
	w := attesttest.New(t).Logged()
	for _, name := range []string{"east", "north", "west"} {
		w.LogStatement(w.Statement(name, nil), name)
	}
	r := w.Honest()
	dir, _ := newIndex(t)
	x, err := index.Open(dir, writing(w, "index"))
	must(t, err)
	code(t, x.Check(context.Background(), r.Bundle, r.Package.Archive()), fault.Usage)
	held, err := os.ReadDir(dir)
	must(t, err)
	if len(held) != 1 || held[0].Name() != "config.json" {
		t.Errorf("%v", held)
	}
	_, _, err = x.Publish(context.Background(), r.Bundle, r.Package.Archive())
	code(t, err, fault.Usage)
}
