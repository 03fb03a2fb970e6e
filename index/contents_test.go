package index

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// What the path of a file says of it: the digest that its content must have,
// whether a reader needs it once, and how a server hands it out.
func TestWhatAPathSays(t *testing.T) {
	d := store.DigestOf([]byte("x"))
	for path, want := range map[string]struct {
		digest store.Digest
		once   bool
		kind   string // media type; "" is not served
	}{
		ObjectPath(d):                       {d, true, rawBytes},
		statementPath(d):                    {"", true, jsonText},
		"objects/sha256/x":                  {"", false, ""},
		"objects/sha256/../" + d.Hex():      {"", false, ""},
		ConfigFile:                          {"", false, jsonText},
		"he/ll/hello":                       {"", false, jsonLines},
		"~org/li/b_/lib":                    {"", false, ""},
		"chains/pkg/he/ll/hello.jsonl":      {"", false, jsonLines},
		"chains/pkg/he/hello.jsonl":         {"", false, ""},
		"chains/pkg/he/ll/hello":            {"", false, ""},
		"chains/policy/demo.jsonl":          {"", false, jsonLines},
		"chains/policy/../../lock.jsonl":    {"", false, ""},
		"chains/policy/demo":                {"", false, ""},
		"chains/plan/" + d.Hex() + ".jsonl": {"", false, jsonLines},
		lockFile:                            {"", false, ""},
		stagedFile:                          {"", false, ""},
		".mirror/he/ll/hello":               {"", false, ""},
	} {
		served, ok := ServedAs(path)
		if !ok {
			served.Type = ""
		}
		if PathDigest(path) != want.digest || Immutable(path) != want.once || served.Type != want.kind {
			t.Errorf("%s: digest %q, once %t, served as %q", path, PathDigest(path), Immutable(path), served.Type)
		}
	}
	if path, err := LinePath("org/lib"); err != nil || !isLinePath(path) {
		t.Errorf("%s %v", path, err)
	}
	if _, err := LinePath("../lib"); fault.CodeOf(err) != fault.Structure {
		t.Error(err)
	}
	if err := CheckConfig("there", []byte("{}")); err == nil || !strings.Contains(err.Error(), configFile) {
		t.Error(err)
	}
	good := must1(encodeConfig(&Config{}))(t)
	if err := CheckConfig("there", good); err != nil {
		t.Error(err)
	}
}

// ofMap is a source that is no folder of this machine.
type ofMap struct{ mapSource }

func (*ofMap) String() string { return "https://example.org/x/" }

// B7: a list of a registry without lines is read as lines are, from here and
// from afar, and one that is not as it is written leads nowhere.
func TestB7ListsOfWhatIsThere(t *testing.T) {
	b := plainBench(t).quick().init()
	b.statements()
	b.publish(b.propose())
	b.unsigned("tool", "1.0.0")
	b.unsigned("org/lib", "1.0.0")
	_, err := b.open().Export(t.Context())
	b.must(err)
	files := b.files()
	list := map[string][]byte{}
	for path, data := range files {
		if strings.HasPrefix(path, "objects/") || strings.HasPrefix(path, "statements/") || path == "entries.json" {
			list[path] = data
		}
	}
	src, err := Flat(t.Context(), &ofMap{mapSource{files: list}})
	b.must(err)
	if src.(fmt.Stringer).String() != "https://example.org/x/entries.json" {
		t.Errorf("%s", src)
	}
	r, err := NewReader(t.Context(), src, Reading{Now: b.now})
	b.must(err)
	if all, err := r.Packages(t.Context()); err != nil || strings.Join(all, " ") != "hello org/lib tool" {
		t.Errorf("%v %v", all, err)
	}
	for _, name := range []string{"hello", "tool", "org/lib"} {
		e, err := r.Lookup(t.Context(), name, "")
		b.must(err)
		if _, err := r.Archive(t.Context(), e); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		b.code(r.CheckEntry(t.Context(), e), fault.IndexUnsigned)
	}
	whole, err := Flat(t.Context(), &ofMap{mapSource{files: files}}) // which is an index
	b.must(err)
	if IsFlat(whole) {
		t.Error("an index is taken for its list")
	}
	entries := string(list["entries.json"])
	for name, c := range map[string]struct {
		text string
		code fault.Code
		says string
	}{
		"no list":        {"", fault.IndexFetch, "has no entries.json"},
		"no JSON":        {"{", fault.Structure, "schema_version is missing"},
		"another kind":   {strings.Replace(entries, "rebuild.registry@", "rebuild.index@", 1), fault.Structure, "entries.json"},
		"leads back":     {strings.Replace(entries, `],"schema`, `],"next":"entries.json","schema`, 1), fault.Semantic, "the list goes on in"},
		"leads out":      {strings.Replace(entries, `],"schema`, `],"next":"../entries.1.json","schema`, 1), fault.Semantic, "the list goes on in"},
		"leads nowhere":  {strings.Replace(entries, `],"schema`, `],"next":"`+pageName(entriesFile, 1)+`","schema`, 1), fault.IndexFetch, "has no " + pageName(entriesFile, 1)},
		"name of a path": {strings.Replace(entries, `"name":"tool"`, `"name":"../tool"`, 1), fault.Structure, "entries.json"},
	} {
		spoiled := changed(list, func(f map[string][]byte) { f["entries.json"] = []byte(c.text) })
		if c.text == "" {
			delete(spoiled, "entries.json")
		}
		_, err := Flat(t.Context(), &ofMap{mapSource{files: spoiled}})
		if fault.CodeOf(err) != c.code || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%s: %v, want %s and %q", name, err, c.code, c.says)
		}
	}
	if _, err := Flat(t.Context(), Dir(fstest.MapFS{}, "here")); fault.CodeOf(err) != fault.IndexNoMatch || !strings.Contains(err.Error(), "here/entries.json is not there") {
		t.Error(err)
	}
	for n := 1; ; n++ {
		at := &faultyFiles{FS: fstest.MapFS{"entries.json": {Data: list["entries.json"]}}, left: n}
		src, err := Flat(t.Context(), Dir(at, "here"))
		if at.left > 0 {
			if err != nil || src.String() != "here/entries.json" {
				t.Errorf("%v %v", src, err)
			}
			break
		}
		if fault.CodeOf(err) != fault.IndexFetch || !errors.Is(err, errDisk) {
			t.Errorf("read %d failed, and the list says %v", n, err)
		}
	}
}

// Without a log only a folder on this machine says which packages there are.
func TestPackagesOfAnIndexWithoutALog(t *testing.T) {
	dir := indexOf(t, nil, nil)
	in := Writing{Now: func() time.Time { return attesttest.Now }}
	x, err := Open(dir, in)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tool", "org/lib", "a"} {
		if _, _, err := x.AddPackage(t.Context(), pkgOf(t, name, "1.0.0")); err != nil {
			t.Fatal(err)
		}
	}
	for n := 0; ; n++ { // 0 is no fault
		files := &faultyFiles{FS: os.DirFS(dir), left: 1 << 60}
		r, err := NewReader(t.Context(), Dir(files, dir), Reading{})
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			files.left = n
		}
		all, err := r.Packages(t.Context())
		if n == 0 && (err != nil || strings.Join(all, " ") != "a org/lib tool") {
			t.Fatalf("%v %v", all, err)
		}
		if n > 0 && files.left > 0 {
			break
		}
		if n > 0 && (fault.CodeOf(err) != fault.IndexFetch || !errors.Is(err, errDisk)) {
			t.Errorf("read %d failed, and there are %v, %v", n, all, err)
		}
	}
	r, err := NewReader(t.Context(), &ofMap{mapSource{files: (&bench{t: t, dir: dir}).files()}}, Reading{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Packages(t.Context()); fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), "has no log that says which packages there are") {
		t.Error(err)
	}
}

// An archive that the index has lost is taken from elsewhere if it is the one
// that was released, and from nowhere if it was withdrawn.
func TestArchivesFromElsewhere(t *testing.T) {
	b := plainBench(t).quick().init()
	b.statements()
	d := b.propose()
	e := b.publish(d)
	lost := objectPath(store.Digest("sha256:" + e.Cksum))
	b.must(os.Remove(filepath.Join(b.dir, lost)))
	asked := 0
	for name, c := range map[string]struct {
		data []byte
		err  error
		gone error // what the index says of the file; nil is that it is not there
		code fault.Code
		text string
		asks int
	}{
		"the same bytes":  {d.archive, nil, nil, "", "", 1},
		"other bytes":     {[]byte("other"), nil, nil, fault.CksumMismatch, "that was found elsewhere has sha256", 1},
		"nobody knows":    {nil, nil, nil, fault.FileMissing, "has no object sha256:" + e.Cksum, 1},
		"does not answer": {nil, fault.New(fault.IndexFetch, "nobody is there"), nil, fault.IndexFetch, "nobody is there", 1},
		"withdrawn":       {d.archive, nil, errWithdrawn, fault.FileMissing, "has withdrawn object sha256:" + e.Cksum, 0},
		"not to be read":  {d.archive, nil, errDisk, "", errDisk.Error(), 0},
	} {
		asked = 0
		src := lostSource{Dir(os.DirFS(b.dir), b.dir), lost, c.gone}
		r, err := NewReader(t.Context(), src, Reading{Policy: b.in.Policy, Now: b.now, Elsewhere: func(_ context.Context, digest store.Digest, release *attest.Release) ([]byte, error) {
			asked++
			if digest != e.Release || release.Name != "hello" {
				t.Errorf("%s: asked for %s of %s", name, digest, release.Name)
			}
			return c.data, c.err
		}})
		b.must(err)
		_, err = r.VerifyEntry(t.Context(), b.entry("hello", "0.1.0"))
		if (err == nil) != (name == "the same bytes") || c.code != "" && fault.CodeOf(err) != c.code || !strings.Contains(fmt.Sprint(err), c.text) {
			t.Errorf("%s: %v, want %s and %q", name, err, c.code, c.text)
		}
		if asked != c.asks {
			t.Errorf("%s: asked %d times", name, asked)
		}
	}
}

// lostSource has one file less, and says why.
type lostSource struct {
	Source
	path string
	why  error
}

func (s lostSource) Get(ctx context.Context, path string, limit int64, fresh bool) ([]byte, error) {
	if path == s.path {
		if s.why == nil {
			return nil, fs.ErrNotExist
		}
		return nil, s.why
	}
	return s.Source.Get(ctx, path, limit, fresh)
}

// Each kind of damage to an index without a log is found under its own code.
func TestFsckOfAnUnloggedIndex(t *testing.T) {
	b := plainBench(t).quick()
	all := fromBeforeTheLog(b)
	all["unlogged unyank"].prepare(b)
	w := attesttest.New(t)
	released := w.Release(w.Statements(), nil, attesttest.PackageTOML, []string{"r1"}, []string{"r1", "r2"})
	_, _, err := b.open().Publish(t.Context(), released.Bundle, released.Package.Archive())
	b.must(err)
	next := w.Release(w.Statements(), nil, strings.Replace(attesttest.PackageTOML, "0.1.0", "0.2.0", 1), []string{"alice"}, []string{"alice", "r1", "r2"})
	_, _, err = b.open().Publish(t.Context(), next.Bundle, next.Package.Archive())
	b.must(err)
	sound := b.dir
	if r := b.fsckClean(); r.Err() != nil {
		t.Error(r.Err())
	}
	cksum := b.entry("tool", "1.0.0").Cksum
	head, _, err := b.open().Yanked(t.Context(), "tool", "1.0.0")
	b.must(err)
	yank := head.Head.Hex()
	put := func(file, text string) func(*bench) {
		return func(b *bench) { b.must(os.WriteFile(filepath.Join(b.dir, file), []byte(text), 0o644)) }
	}
	line := func(file string, edit func([]*Entry) []*Entry) func(*bench) {
		return func(b *bench) {
			name, _ := LineName(file)
			lines, err := b.open().readLines(name)
			b.must(err)
			var out []byte
			for _, e := range edit(lines.entries) {
				out = append(append(out, must1(document.Encode(e))(t)...), '\n')
			}
			put(file, string(out))(b)
		}
	}
	one := func(edit func(*Entry)) func([]*Entry) []*Entry {
		return func(all []*Entry) []*Entry { edit(all[len(all)-1]); return all }
	}
	for name, c := range map[string]struct {
		damage func(*bench)
		code   fault.Code
		in     string
		text   string
	}{
		"yank undone":       {line("to/ol/tool", one(func(e *Entry) { e.Yanked = false })), fault.Unyanked, "to/ol/tool", "its statements come to"},
		"checkpoint":        {put(checkpointFile, "x"), fault.ViewMismatch, configFile, "there is the checkpoint of one"},
		"head":              {put(headFile, "x"), fault.ViewMismatch, configFile, "there is the head of one"},
		"stranger's key":    {line("he/ll/hello", one(func(e *Entry) { b.must(e.Sign(attesttest.Key("stranger"))) })), fault.KeyUnknown, "he/ll/hello", "which nobody knows"},
		"other archive":     {line("he/ll/hello", one(func(e *Entry) { e.Cksum = cksum })), fault.SignatureInvalid, "he/ll/hello", "is wrong"},
		"version of none":   {line("to/ol/tool", one(func(e *Entry) { e.Version = "3.0.0" })), fault.EvidenceMismatch, "to/ol/tool", "the package is tool 1.0.0"},
		"owner passed over": {line("he/ll/hello", func(all []*Entry) []*Entry { return []*Entry{all[1], all[0]} }), fault.OwnerChanged, "he/ll/hello", "hello@0.1.0 is not signed by all who owned hello before it"},
		"owner passed over behind what is no release": {line("he/ll/hello", func(all []*Entry) []*Entry {
			between := *all[1]
			between.Version, between.Release, between.Signature = "0.1.5", must1(store.ParseDigest("sha256:"+yank))(t), nil
			return []*Entry{all[1], &between, all[0]}
		}), fault.OwnerChanged, "he/ll/hello", "hello@0.1.0 is not signed by all who owned hello before it"},
		"no release behind one": {line("he/ll/hello", func(all []*Entry) []*Entry {
			last := *all[1]
			last.Release, last.OCI, last.Assurance, last.Signature = "", "", AssuranceNone, nil
			return []*Entry{all[0], &last}
		}), fault.OwnerChanged, "he/ll/hello", "has no release, and hello had owners before"},
		"archive is none":    {put(objectPath(store.Digest("sha256:"+cksum)), "x"), fault.CksumMismatch, objectPath(store.Digest("sha256:" + cksum)), "has content"},
		"release of another": {line("he/ll/hello", one(func(e *Entry) { e.OCI = e.Release })), fault.EvidenceMismatch, "he/ll/hello", "hello@0.2.0"},
	} {
		t.Run(name, func(t *testing.T) {
			b := *b
			b.t = t
			b.copyOf(sound)
			c.damage(&b)
			r, err := Fsck(t.Context(), b.dir, b.in, FsckOptions{})
			b.must(err)
			found := false
			for _, f := range r.Findings {
				found = found || f.Code == c.code && f.File == c.in && strings.Contains(f.String(), c.text)
			}
			if !found || r.Err() == nil {
				t.Errorf("want %s in %s with %q, found %v", c.code, c.in, c.text, r.Findings)
			}
		})
	}
}
