package index

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/document"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
	"rebuild/store"
)

// fsckClean wants nothing to be wrong.
func (b *bench) fsckClean() *FsckReport {
	b.t.Helper()
	r, err := Fsck(context.Background(), b.dir, b.in, FsckOptions{})
	b.must(err)
	for _, f := range r.Findings {
		b.t.Errorf("%s", f)
	}
	return r
}

// full makes an index with something of everything.
func full(t testing.TB) *bench {
	t.Helper()
	b := newBench(t)
	ctx := context.Background()
	b.statements()
	b.publish(b.propose())
	b.publish(b.propose("0.1.0", "0.2.0"))
	_, err := b.open().Yank(ctx, b.yankStatement("0.1.0", attest.ActionYank, "", "r1", "r2"))
	b.must(err)
	_, err = b.open().Yank(ctx, b.yankStatement("0.2.0", attest.ActionAdvise, "CVE-2026-1", "r1", "r2"))
	b.must(err)
	b.unsigned("tool", "1.0.0")
	_, _, err = b.open().AddPackage(ctx, pkgOf(t, "org/lib", "1.0.0"))
	b.must(err)
	return b
}

// unsigned adds an entry that nobody signs.
func (b *bench) unsigned(name, version string) {
	b.t.Helper()
	in := b.in
	in.Key = nil
	x, err := open(b.disk, b.dir, in)
	b.must(err)
	_, _, err = x.AddPackage(context.Background(), pkgOf(b.t, name, version))
	b.must(err)
}

func TestFsckOfASoundIndex(t *testing.T) {
	b := full(t)
	r := b.fsckClean()
	if r.Packages != 3 || r.Versions != 4 || r.Leaves != 13 || r.Objects == 0 || r.Statements == 0 || len(r.Notes) != 0 {
		t.Errorf("%+v", r)
	}
	report, err := b.open().Backfill(context.Background(), BackfillOptions{Write: true})
	b.must(err)
	if report.Backfilled != 1 {
		t.Errorf("%+v", report)
	}
	_, err = b.open().Export(context.Background())
	b.must(err)
	b.must(b.open().SignCheckpoint(context.Background()))
	c := b.config()
	c.DL = "https://example.org/"
	b.must(b.open().SetConfig(context.Background(), c))
	b.fsckClean()
}

// Each kind of damage is found under its own code, in the file that it is in.
// What is derived is put right, byte for byte.
func TestFsckNamesEachDamage(t *testing.T) {
	b := full(t)
	_, err := b.open().Export(context.Background())
	b.must(err)
	sound := filepath.Join(t.TempDir(), "sound")
	b.must(os.CopyFS(sound, os.DirFS(b.dir)))
	chain := string(b.Plan.Digest())
	planChain := "chains/plan/" + strings.TrimPrefix(chain, "sha256:") + ".jsonl"
	line := "he/ll/hello"
	two, four := viewPath(line)
	object := func() string { return "objects/sha256/" + b.entry("hello", "0.1.0").Cksum }
	swap := func(from, to string) func([]byte) []byte {
		return func(data []byte) []byte {
			if !bytes.Contains(data, []byte(from)) {
				t.Fatalf("no %s in %s", from, data)
			}
			return bytes.Replace(data, []byte(from), []byte(to), 1)
		}
	}
	flip := func(data []byte) []byte { data[len(data)/2] ^= 1; return data }
	gone := func([]byte) []byte { return nil }
	plans, err := b.open().readChain(chain)
	b.must(err)
	statement := statementPath(plans.events[1].Object)
	bySigner := func(name string) func([]byte) []byte {
		return func(data []byte) []byte {
			e, err := attest.ParseEnvelope(statement, data)
			b.must(err)
			signed, err := e.Verify(b.in.Policy.OperatorKeys())
			b.must(err)
			other, err := attest.Sign(signed.Payload(), attesttest.Key(name))
			b.must(err)
			return other
		}
	}
	cutLine := func(data []byte) []byte { i := bytes.LastIndexByte(data[:len(data)-1], '\n'); return data[:i+1] }
	for name, c := range map[string]struct {
		file    string
		damage  func([]byte) []byte
		code    fault.Code
		in      string // file of the finding; "" is file
		derived bool
	}{
		"config":              {configFile, swap(`"log"`, `"dl":"x","log"`), fault.ViewMismatch, "", false},
		"no config":           {configFile, gone, fault.IndexFetch, "", false},
		"un-yank":             {line, swap(`"yanked":true`, `"yanked":false`), fault.Unyanked, "", false},
		"advisory taken":      {line, swap(`"advisories":["CVE-2026-1"],`, ``), fault.Unyanked, "", false},
		"dropped line":        {line, cutLine, fault.ViewMismatch, "leaf 8", false},
		"dropped package":     {line, gone, fault.ViewMismatch, "", false},
		"foreign line":        {line, swap(`"version":"0.2.0"`, `"version":"0.3.0"`), fault.ViewMismatch, "", false},
		"changed line":        {"to/ol/tool", swap(`"assurance"`, `"advisories":["A"],"assurance"`), fault.Unyanked, "", false},
		"line in no leaf":     {"al/ie/alien", func([]byte) []byte { return b.lineOf("alien") }, fault.ViewMismatch, "", false},
		"signed in no leaf":   {"al/ie/alien", func([]byte) []byte { return b.lineOf("alien", attesttest.Key("index")) }, fault.ViewMismatch, "", false},
		"not a line":          {line, flip, fault.Parse, "", false},
		"object":              {object(), flip, fault.CksumMismatch, "", false},
		"no object":           {object(), gone, fault.FileMissing, "", false},
		"statement":           {"statements/" + b.entry("hello", "0.1.0").Release.Hex() + ".dsse.json", gone, fault.FileMissing, "", false},
		"another's statement": {statement, bySigner("stranger"), fault.EvidenceMismatch, "", false},
		"wrong signature": {statement, func(data []byte) []byte {
			at := bytes.Index(data, []byte(`"sig":"`)) + 10
			data[at] = "AB"[min(1, data[at]&1)]
			return data
		}, fault.SignatureInvalid, "", false},
		"statement's name": {"statements/" + strings.Repeat("0", 64) + ".dsse.json", func([]byte) []byte { return b.Statement("east", nil) }, fault.EvidenceMismatch, "", false},
		"checkpoint":       {checkpointFile, flip, fault.SignatureInvalid, "", false},
		"no checkpoint":    {checkpointFile, gone, fault.FileMissing, "", false},
		"tile":             {"tile/0/000.p/13", flip, fault.EvidenceMismatch, "log", false},
		"leaf":             {"tile/entries/000.p/13", flip, fault.EvidenceMismatch, "log", false},
		"no leaves":        {"tile/entries/000.p/13", gone, fault.IndexFetch, "log", false},
		"head":             {headFile, swap(`"seq":12`, `"seq":11`), fault.EvidenceMismatch, "", true},
		"no head":          {headFile, gone, fault.FileMissing, "", true},
		"view root":        {viewRoot, flip, fault.ViewMismatch, "", true},
		"view node":        {viewDir + two, gone, fault.ViewMismatch, "", true},
		"view leaf":        {viewDir + four, swap("he/ll", "he/lo"), fault.ViewMismatch, "", true},
		"view of nothing":  {viewDir + "zz", func([]byte) []byte { return []byte("{}") }, fault.FileExtra, "", false},
		"plan's chain":     {planChain, cutLine, fault.EventsMismatch, "", true},
		"leaf of a chain":  {planChain, swap(`"type":"statement"`, `"type":"statemend"`), fault.EventsMismatch, "", true},
		"package's chain":  {"chains/pkg/he/ll/hello.jsonl", gone, fault.FileMissing, "", true},
		"chain of nothing": {"chains/pkg/no/th/nothing.jsonl", func([]byte) []byte { return []byte("\n") }, fault.FileExtra, "", false},
		"entries.json":     {"entries.json", swap(`"yanked":true`, `"yanked":false`), fault.EvidenceMismatch, "", true},
		"pubkeys.json":     {"pubkeys.json", swap(`"hello"`, `"hallo"`), fault.EvidenceMismatch, "", true},
		"temporary file":   {"he/.tmp-1", func([]byte) []byte { return []byte("x") }, "", "", true},
		"staged for nowhere": {stagedFile, func([]byte) []byte {
			return stagedLeaves(t, 99)
		}, fault.Fork, "", false},
		"staged out of place": {stagedFile, func([]byte) []byte {
			return bytes.Replace(stagedLeaves(t, 99), []byte(`"size":99`), []byte(`"size":98`), 1)
		}, fault.Structure, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			b := *b
			b.t, b.dir = t, filepath.Join(t.TempDir(), "index")
			b.must(os.CopyFS(b.dir, os.DirFS(sound)))
			path := filepath.Join(b.dir, c.file)
			data, _ := os.ReadFile(path)
			b.must(os.MkdirAll(filepath.Dir(path), 0o755))
			if data = c.damage(data); data == nil {
				b.must(os.Remove(path))
			} else {
				b.must(os.WriteFile(path, data, 0o644))
			}
			r, err := Fsck(context.Background(), b.dir, b.in, FsckOptions{})
			b.must(err)
			in := c.in
			if in == "" {
				in = c.file
			}
			if c.code != "" && !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Code == c.code && f.File == in }) {
				t.Fatalf("want %s in %s, found %v", c.code, in, r.Findings)
			}
			if c.code != "" && r.Err() == nil {
				t.Error("no error")
			}
			if !c.derived {
				return
			}
			r, err = Fsck(context.Background(), b.dir, b.in, FsckOptions{Repair: true})
			b.must(err)
			if len(r.Findings) > 0 || len(r.Repaired) == 0 {
				t.Errorf("%v, repaired %v", r.Findings, r.Repaired)
			}
			if got, want := listing(t, b.dir), listing(t, sound); got != want {
				t.Errorf("repaired to other bytes")
			}
		})
	}
}

// What lies in an index beside what a leaf leads to is no damage: hints, the bytes
// of before a migration, and what a crash left. Only what is half written is
// removed.
func TestFsckLeavesWhatIsHarmless(t *testing.T) {
	b := full(t)
	sound := listing(t, b.dir)
	orphan := []byte("of a publication that was never staged")
	put := func(file string, data []byte) {
		path := filepath.Join(b.dir, filepath.FromSlash(file))
		b.must(os.MkdirAll(filepath.Dir(path), 0o755))
		b.must(os.WriteFile(path, data, 0o644))
	}
	definitions := AddDefinitions(b.dir)
	b.must(definitions.Object(store.DigestOf(orphan), orphan))
	b.must(definitions.Hints(b.Plan.Digest(), map[store.Digest][]string{store.DigestOf(nil): {"https://example.org/x.tar"}}))
	_, err := definitions.Commit()
	b.must(err)
	put(configFile+".0.9.0.bak", []byte("{}"))
	with := listing(t, b.dir)
	if with == sound {
		t.Fatal("nothing was put there")
	}
	put(durable.TempPrefix+"0123456789abcdef", nil)
	put("objects/sha256/"+durable.TempPrefix+"0123456789abcdef", []byte("half"))
	if r := b.fsckClean(); !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.HasPrefix(n, "1 objects and statements are led to by nothing") }) {
		t.Errorf("%q", r.Notes)
	}
	r, err := Fsck(context.Background(), b.dir, b.in, FsckOptions{Repair: true})
	b.must(err)
	if len(r.Findings) > 0 || len(r.Repaired) != 2 {
		t.Errorf("%v, repaired %v", r.Findings, r.Repaired)
	}
	if got := listing(t, b.dir); got != with {
		t.Errorf("the repair removed more than what was half written")
	}
}

// A mirror that was interrupted while it showed files is seen as it will be, but
// only if all that it will show was verified, and damage in the stage is damage.
func TestFsckSeesAMirrorAsItWillBe(t *testing.T) {
	b := full(t)
	stage := filepath.Join(b.dir, MirrorStage)
	line := "he/ll/hello"
	for _, file := range []string{checkpointFile, headFile, line, "tile/entries/000.p/13"} {
		to := filepath.Join(stage, filepath.FromSlash(file))
		b.must(os.MkdirAll(filepath.Dir(to), 0o755))
		b.must(os.Rename(filepath.Join(b.dir, filepath.FromSlash(file)), to))
	}
	if r, err := Fsck(context.Background(), b.dir, b.in, FsckOptions{}); err != nil || r.Err() == nil {
		t.Errorf("a stage that is not ready counts: %v, %v", r, err)
	}
	b.must(os.WriteFile(filepath.Join(stage, MirrorReady), nil, 0o644))
	r := b.fsckClean()
	if r.Packages != 3 || !slices.ContainsFunc(r.Notes, func(n string) bool { return strings.HasPrefix(n, MirrorStage+": a mirror was interrupted") }) {
		t.Errorf("%d packages, %q", r.Packages, r.Notes)
	}
	shown := shownFiles{os.DirFS(stage), os.DirFS(b.dir)}
	if held, err := shown.ReadDir("nowhere"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder of neither: %v, %v", held, err)
	}
	data, err := os.ReadFile(filepath.Join(stage, line))
	b.must(err)
	b.must(os.WriteFile(filepath.Join(stage, line), data[:len(data)/2], 0o644))
	if r, err := Fsck(context.Background(), b.dir, b.in, FsckOptions{}); err != nil || r.Err() == nil {
		t.Errorf("half a line file in the stage is sound: %v, %v", r, err)
	}
}

func (b *bench) entry(name, version string) *Entry {
	b.t.Helper()
	lines, err := b.open().readLines(name)
	b.must(err)
	e, err := lines.find(version)
	b.must(err)
	return e
}

func (b *bench) lineOf(name string, keys ...attest.Signer) []byte {
	b.t.Helper()
	e := &Entry{SchemaVersion: "rebuild.index-entry@1.0.0", Name: name, Version: "1.0.0", Cksum: store.DigestOf(nil).Hex(), Assurance: AssuranceNone}
	for _, k := range keys {
		b.must(e.Sign(k))
	}
	line, err := e.Encode()
	b.must(err)
	return append(line, '\n')
}

// A log can say what is wrong under a good signature: each such leaf is named.
// G29: a yank statement that was played again is found where it stands.
func TestFsckNamesEachBadLeaf(t *testing.T) {
	b := plainBench(t).quick().init()
	ctx := context.Background()
	b.statements()
	b.publish(b.propose())
	first := b.yankStatement("0.1.0", attest.ActionYank, "", "r1", "r2")
	for _, statement := range [][]byte{first, nil} {
		if statement == nil {
			statement = b.yankStatement("0.1.0", attest.ActionUnyank, "", "r1", "r2")
		}
		_, err := b.open().Yank(ctx, statement)
		b.must(err)
	}
	b.fsckClean()
	replay, err := attest.ParseEnvelope("yank", first)
	b.must(err)
	chain, err := b.open().readChain("pkg:hello")
	b.must(err)
	plan := string(b.Plan.Digest())
	plans, err := b.open().readChain(plan)
	b.must(err)
	tip, err := readTip(ctx, b.open().src, must1(b.open().config())(t))
	b.must(err)
	next := func(edit func(*attest.Event)) attest.Event {
		e := attest.Event{
			Chain: plan, Type: attest.EventStatement, Prev: plans.last(), Object: store.DigestOf([]byte("x")), By: attesttest.Key("east").Public().ID(),
			Seq: tip.Seq + 1, At: tip.At, View: tip.View,
		}
		edit(&e)
		return e
	}
	ofPackage := func(e *attest.Event) {
		e.Chain, e.Type, e.Prev = "pkg:hello", attest.EventYank, chain.last()
	}
	for name, c := range map[string]struct {
		leaf attest.Event
		code fault.Code
	}{
		"second successor":    {next(func(e *attest.Event) { e.Prev = store.DigestOf(plans.lines[0]) }), fault.Fork},
		"follows nothing":     {next(func(e *attest.Event) { e.Prev = store.DigestOf(nil) }), fault.EvidenceMismatch},
		"begins again":        {next(func(e *attest.Event) { e.Prev = "" }), fault.EvidenceMismatch},
		"other seq":           {next(func(e *attest.Event) { e.Seq = 3 }), fault.EvidenceMismatch},
		"earlier":             {next(func(e *attest.Event) { e.At = "2020-01-01T00:00:00Z" }), fault.EvidenceMismatch},
		"changes the view":    {next(func(e *attest.Event) { e.View = store.DigestOf(nil) }), fault.ViewMismatch},
		"statement again":     {next(func(e *attest.Event) { e.Object = plans.events[1].Object }), fault.EvidenceMismatch},
		"second plan":         {next(func(e *attest.Event) { e.Type, e.Object = attest.EventPlan, b.Plan.Digest() }), fault.EvidenceMismatch},
		"replayed yank":       {next(func(e *attest.Event) { ofPackage(e); e.Object = replay.Digest() }), fault.Unyanked},
		"yank that is gone":   {next(func(e *attest.Event) { ofPackage(e) }), fault.FileMissing},
		"release that is not": {next(func(e *attest.Event) { ofPackage(e); e.Type = attest.EventRelease }), fault.ViewMismatch},
		"backfill of nothing": {next(func(e *attest.Event) { ofPackage(e); e.Type = attest.EventBackfill }), fault.ViewMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			c2 := *b
			c2.t, c2.dir = t, filepath.Join(t.TempDir(), "index")
			c2.must(os.CopyFS(c2.dir, os.DirFS(b.dir)))
			l, err := c2.openQuickLog(ctx, c2.dir)
			c2.must(err)
			c2.must(l.Append(ctx, [][]byte{must1(c.leaf.Encode())(t)}))
			r, err := Fsck(ctx, c2.dir, c2.in, FsckOptions{})
			c2.must(err)
			in := leafName(tip.Seq + 1)
			if !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Code == c.code && f.File == in }) {
				t.Errorf("want %s in %s, found %v", c.code, in, r.Findings)
			}
		})
	}
}

// B6: the flat views, in pages, in the order of the log.
func TestB6ExportInPages(t *testing.T) {
	b := plainBench(t).quick().init()
	b.statements()
	b.publish(b.propose())
	for _, name := range []string{"tool", "a", "org/lib"} {
		b.unsigned(name, "1.0.0")
	}
	b.unsigned("tool", "1.1.0")
	r, err := b.open().export(context.Background(), 1200)
	b.must(err)
	if r.Entries != 5 || r.Packages != 1 || len(r.Files) < 3 {
		t.Errorf("%+v", r)
	}
	var names []string
	for file, n := "entries.json", 0; file != "" && n < 10; n++ {
		var page entriesPage
		data, err := os.ReadFile(filepath.Join(b.dir, file))
		b.must(err)
		if len(data) > 1200 {
			t.Errorf("%s has %d bytes", file, len(data))
		}
		b.must(document.Decode(file, data, document.Registry, &page))
		for _, e := range page.Entries {
			names = append(names, e.Name+"@"+e.Version)
		}
		file = page.Next
	}
	if want := []string{"hello@0.1.0", "tool@1.0.0", "a@1.0.0", "org/lib@1.0.0", "tool@1.1.0"}; !slices.Equal(names, want) {
		t.Errorf("%v", names)
	}
	var owners pubkeysPage
	data, err := os.ReadFile(filepath.Join(b.dir, "pubkeys.json"))
	b.must(err)
	b.must(document.Decode("pubkeys.json", data, document.Registry, &owners))
	if got := owners.Owners["hello"]; len(owners.Owners) != 1 || !slices.Equal(got, []string{attesttest.Key("r1").Public().String()}) {
		t.Errorf("%v", owners)
	}
	_, err = b.open().Export(context.Background()) // one page again: the others go
	b.must(err)
	held, err := exported(os.DirFS(b.dir))
	b.must(err)
	if !slices.Equal(held, []string{"entries.json", "pubkeys.json"}) {
		t.Errorf("%v", held)
	}
	b.fsckClean()
	b.unsigned("later", "1.0.0")
	if r := b.fsckClean(); len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "5 of 6 entries") {
		t.Errorf("%v", r.Notes)
	}
}

// An index that had no log gets one: its lines are under the first view, no leaf
// is about them, and a backfill says so. A crash in between is made good.
func TestA24LinesFromBeforeTheLog(t *testing.T) {
	ctx := context.Background()
	b := plainBench(t).quick()
	bare := b.in
	bare.Log, bare.LogKey = nil, nil
	c := Config{Signing: b.config().Signing}
	b.must(initIndex(ctx, b.disk, b.dir, c, bare))
	b.unsigned("tool", "1.0.0")
	b.unsigned("tool", "1.1.0")
	ready := b.dir
	want := ""
	for n := 0; ; n++ { // 0 is no fault
		b.dir = filepath.Join(t.TempDir(), "index")
		b.must(os.CopyFS(b.dir, os.DirFS(ready)))
		disk := failing(n, false)
		if n == 0 {
			disk.Left = 1 << 60
		}
		err := b.on(disk).SetConfig(ctx, b.config())
		if n > 0 && err == nil {
			break
		}
		b.must(b.open().SetConfig(ctx, b.config()))
		b.fsckClean()
		if got := listing(t, b.dir); want == "" {
			want = got
		} else if got != want {
			t.Fatalf("call %d: other bytes", n)
		}
	}
	r, err := b.open().Backfill(ctx, BackfillOptions{Write: true})
	b.must(err)
	if r.Backfilled != 0 || r.UnsignedAfter != 2 || !slices.Equal(r.Unlogged, []string{"tool@1.0.0", "tool@1.1.0"}) {
		t.Errorf("%+v", r)
	}
	_, _, err = b.open().AddPackage(ctx, pkgOf(t, "tool", "2.0.0"))
	b.must(err)
	r, err = b.open().Backfill(ctx, BackfillOptions{Write: true, AcceptUnlogged: true})
	b.must(err)
	if r.Backfilled != 2 || r.UnsignedAfter != 0 {
		t.Errorf("%+v", r)
	}
	_, _, err = b.open().AddPackage(ctx, pkgOf(t, "later", "1.0.0"))
	b.must(err)
	b.fsckClean()
}
