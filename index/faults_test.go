package index

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/document"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
	"rebuild/store"
)

// faultyFiles fails the n-th time that it is asked for anything, and only
// then: a server that stumbles once.
type faultyFiles struct {
	fs.FS
	left   int
	failed string // what was asked for then
}

func (f *faultyFiles) fails(name string) bool {
	if f.left--; f.left == 0 {
		f.failed = name
	}
	return f.left == 0
}

func (f *faultyFiles) Open(name string) (fs.File, error) {
	if f.fails(name) {
		return nil, errDisk
	}
	file, err := f.FS.Open(name)
	if err != nil {
		return nil, err
	}
	return &faultyRead{file, f, name}, nil
}

func (f *faultyFiles) ReadDir(name string) ([]fs.DirEntry, error) {
	if f.fails(name) {
		return nil, errDisk
	}
	return fs.ReadDir(f.FS, name)
}

type faultyRead struct {
	fs.File
	files *faultyFiles
	name  string
}

func (f *faultyRead) Read(p []byte) (int, error) {
	if f.files.fails(f.name) {
		return 0, errDisk
	}
	return f.File.Read(p)
}

// indexOf makes a signed index with a publication in it, or without any.
func indexOf(t *testing.T, p *attesttest.Released, policy *attest.Policy) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "index")
	if err := Init(context.Background(), dir, Config{Signing: SigningWith(attesttest.Key("index").Public())}, Writing{}); err != nil {
		t.Fatal(err)
	}
	if p == nil {
		return dir
	}
	x, err := Open(dir, writingOf(policy))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := x.Publish(context.Background(), p.Bundle, p.Package.Archive()); err != nil {
		t.Fatal(err)
	}
	return dir
}

// What can not be read is never taken for what is not there, or a server that
// stumbles could hide a version.
func TestNoReadFailsUnseen(t *testing.T) {
	w := attesttest.New(t)
	policy := w.LoadPolicy()
	dir := indexOf(t, w.Honest(), policy)
	for n := 1; ; n++ {
		files := &faultyFiles{FS: os.DirFS(dir), left: n}
		r, err := NewReader(context.Background(), Dir(files, dir), Reading{Policy: policy, Now: attesttest.Now})
		if err == nil {
			_, _, err = r.Verify(context.Background(), "hello", "")
		}
		if files.left > 0 {
			if err != nil || n < 20 {
				t.Fatalf("%d reads, and %v", n, err)
			}
			return
		}
		if !errors.Is(err, errDisk) || fault.CodeOf(err) != fault.IndexFetch {
			t.Errorf("read %d failed, and the index says %v", n, err)
		}
	}
}

// A publisher reads too: whether the version is there, whose it is, which
// names are like it. What it can not see it must not replace. Only a file of
// content that can not be read is written again.
func TestNoReadFailsUnseenWhilePublishing(t *testing.T) {
	w := attesttest.New(t)
	policy := w.LoadPolicy()
	first := w.Honest()
	next := strings.Replace(attesttest.PackageTOML, "0.1.0", "0.2.0", 1)
	second := w.Release(w.Statements(), nil, next, []string{"r1"}, []string{"r1", "r2"})
	want := ""
	for n := 1; ; n++ {
		dir := indexOf(t, first, policy)
		before := listing(t, dir)
		files := &faultyFiles{FS: os.DirFS(dir), left: n + 1<<20}
		x := &Index{dir, durable.OS{}, files, Dir(files, dir), writingOf(policy)}
		files.left = n
		checked := x.Check(context.Background(), second.Bundle, second.Package.Archive())
		if after := listing(t, dir); after != before {
			t.Fatalf("read %d: looking wrote", n)
		}
		files.left = n
		_, _, err := x.Publish(context.Background(), second.Bundle, second.Package.Archive())
		after := listing(t, dir)
		switch {
		case err == nil && files.left > 0:
			if after != want && want != "" || n < 5 {
				t.Fatalf("%d reads, and the index holds\n%s", n, after)
			}
			return
		case err == nil:
			if want = after; checked != nil {
				t.Errorf("read %d: published, and the check before said %v", n, checked)
			}
		case !errors.Is(err, errDisk) || after != before:
			t.Errorf("read %d failed, and the index says %v", n, err)
		}
	}
}

// A stopped Init leaves nothing that the next one stumbles over.
func TestCrashWhileInitialising(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			dir := filepath.Join(t.TempDir(), "index")
			disk := failing(n, after)
			err := initIndex(context.Background(), disk, dir, Config{}, Writing{})
			if err == nil && disk.Left > 0 {
				break
			}
			if err != nil && fault.CodeOf(err) != fault.Internal {
				t.Errorf("call %d, after %v: %v", n, after, err)
			}
			if _, open := Open(dir, Writing{}); open == nil {
				continue // it took effect
			}
			if err := Init(context.Background(), dir, Config{}, Writing{}); err != nil {
				t.Errorf("call %d, after %v: again: %v", n, after, err)
			}
		}
	}
}

// Each field of an entry alone, wrong: a line is read before its signature is
// checked, and most of it no signature covers.
func TestParseEntryRefuses(t *testing.T) {
	seq := int64(-7)
	digest := store.DigestOf(nil)
	for name, c := range map[string]struct {
		edit func(*Entry)
		code fault.Code
	}{
		"name":                {func(e *Entry) { e.Name = "../hello" }, fault.Structure},
		"version":             {func(e *Entry) { e.Version = "1" }, fault.Structure},
		"cksum":               {func(e *Entry) { e.Cksum = strings.Repeat("A", 64) }, fault.Structure},
		"release":             {func(e *Entry) { e.Release = "sha256:0" }, fault.Structure},
		"oci":                 {func(e *Entry) { e.OCI = "latest" }, fault.Structure},
		"assurance":           {func(e *Entry) { e.Assurance = "vetted" }, fault.Semantic},
		"quorum of nothing":   {func(e *Entry) { e.Release = "" }, fault.Semantic},
		"oci of nothing":      {func(e *Entry) { e.Release, e.Assurance, e.OCI = "", AssuranceNone, digest }, fault.Semantic},
		"seq":                 {func(e *Entry) { e.Seq = &seq }, fault.Structure},
		"dependency":          {func(e *Entry) { e.Deps = []Dep{{"..", "^1"}} }, fault.Structure},
		"dependencies' order": {func(e *Entry) { e.Deps = []Dep{{"b", "^1"}, {"a", "^1"}} }, fault.Semantic},
		"dependency twice":    {func(e *Entry) { e.Deps = []Dep{{"a", "^1"}, {"a", "^2"}} }, fault.Semantic},
		"dependency's range":  {func(e *Entry) { e.Deps = []Dep{{"a", " "}} }, fault.Semantic},
		"advisory":            {func(e *Entry) { e.Advisories = []string{"<b>"} }, fault.Structure},
		"nothing":             {nil, ""},
	} {
		e := Entry{
			SchemaVersion: "rebuild.index-entry@1.0.0", Name: "hello", Version: "0.1.0", Cksum: strings.Repeat("0", 64),
			Release: digest, Assurance: AssuranceQuorum, Deps: []Dep{{"a", "^1"}}, Advisories: []string{"ADV-1"},
		}
		if c.edit != nil {
			c.edit(&e)
		}
		line, err := document.Encode(e) // Entry.Encode refuses them too
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseEntry("line", line); fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %q", name, err, c.code)
		}
	}
}

// broken is a signer whose token does not answer.
type broken struct{ *attest.PrivateKey }

func (broken) Sign([]byte) ([]byte, error) { return nil, errDisk }

func TestSignatureRefusals(t *testing.T) {
	policy := attesttest.New(t).LoadPolicy()
	key := attesttest.Key("index")
	e := Entry{Name: "hello", Version: "0.1.0", Cksum: strings.Repeat("0", 64)}
	if err := e.Sign(broken{key}); !errors.Is(err, errDisk) || e.Signature != nil {
		t.Errorf("%v", err)
	}
	if err := (&Entry{Name: "a=b"}).Sign(key); fault.CodeOf(err) != fault.Structure {
		t.Errorf("%v", err)
	}
	if err := e.Sign(key); err != nil {
		t.Fatal(err)
	}
	good := *e.Signature
	for name, c := range map[string]struct {
		edit func(*Entry)
		code fault.Code
	}{
		"good":         {func(*Entry) {}, ""},
		"kind":         {func(e *Entry) { e.Signature.Kind = "rsa" }, fault.SignatureUnsupported},
		"two lines":    {func(e *Entry) { e.Name = "hello\nversion=9.9.9" }, fault.Structure},
		"line break":   {func(e *Entry) { e.Signature.Sig = good.Sig[:40] + "\n" + good.Sig[40:] }, fault.Parse},
		"short":        {func(e *Entry) { e.Signature.Sig = good.Sig[:40] }, fault.Parse},
		"other cksum":  {func(e *Entry) { e.Cksum = strings.Repeat("1", 64) }, fault.SignatureInvalid},
		"unknown key":  {func(e *Entry) { e.Signature.KeyID = attesttest.Key("r1").Public().ID() }, fault.KeyUnknown},
		"no signature": {func(e *Entry) { e.Signature = nil }, fault.EntryUnsigned},
	} {
		changed, signature := e, good
		changed.Signature = &signature
		c.edit(&changed)
		if err := changed.VerifySignature(policy, attesttest.Now); fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %q", name, err, c.code)
		}
	}
}

// What no reader would accept is not written, and what stands in the way is
// said instead of a success.
func TestWritersAreRefusedFirst(t *testing.T) {
	key := attesttest.Key("index").Public()
	bad := SigningWith(key)
	bad.PublicKeys[0].NotAfter = "tomorrow"
	if err := Init(context.Background(), t.TempDir(), Config{Signing: bad}, Writing{}); fault.CodeOf(err) == "" {
		t.Error("an index with a key that ends tomorrow")
	}
	w := attesttest.New(t)
	p := w.Honest()
	for what, block := range map[string]func(string) error{
		lockFile: func(dir string) error { return os.Mkdir(filepath.Join(dir, lockFile), 0o755) },
		"he":     func(dir string) error { return os.WriteFile(filepath.Join(dir, "he"), nil, 0o644) }, // where hello's folder goes
	} {
		dir := indexOf(t, nil, nil)
		if err := block(dir); err != nil {
			t.Fatal(err)
		}
		x, err := Open(dir, writingOf(w.LoadPolicy()))
		if err != nil {
			t.Fatal(err)
		}
		if e, _, err := x.Publish(context.Background(), p.Bundle, p.Package.Archive()); fault.CodeOf(err) == "" || e != nil {
			t.Errorf("%s was in the way, and %+v is published", what, e)
		}
	}
}
