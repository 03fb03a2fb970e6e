package index

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/document"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
	"rebuild/store"
)

// refusal is a write that is refused: with its code and words, and before
// anything is written.
type refusal struct {
	do   func(ctx context.Context, x *Index) error
	with func(*Writing) // changes what the writer has; nil leaves it
	code fault.Code
	text string
}

func (b *bench) refuses(all map[string]refusal) {
	b.t.Helper()
	before := listing(b.t, b.dir)
	for name, c := range all {
		in := b.in
		if c.with != nil {
			c.with(&in)
		}
		x, err := open(b.disk, b.dir, in)
		b.must(err)
		err = c.do(context.Background(), x)
		if fault.CodeOf(err) != c.code || !strings.Contains(fmt.Sprint(err), c.text) {
			b.t.Errorf("%s: %v, want %s and %q", name, err, c.code, c.text)
		}
		if got := listing(b.t, b.dir); got != before {
			b.t.Fatalf("%s: something is written", name)
		}
	}
}

func noPolicy(in *Writing) { in.Policy = nil }
func noKey(in *Writing)    { in.Key = nil }

// What a writer lacks is said before anything of a logged index is touched.
func TestWritersWhoLackSomething(t *testing.T) {
	b := plainBench(t).quick().init()
	b.statements()
	d := b.propose()
	next, update := nextPolicy(b)
	publish := func(bundle *attest.Bundle) func(context.Context, *Index) error {
		return func(ctx context.Context, x *Index) error { _, _, err := x.Publish(ctx, bundle, d.archive); return err }
	}
	release := func(data []byte) *attest.Bundle { out := *d.Bundle; out.Release = data; return &out }
	add := func(ctx context.Context, x *Index) error {
		_, _, err := x.AddPackage(ctx, pkgOf(t, "tool", "1.0.0"))
		return err
	}
	yank := func(data []byte) func(context.Context, *Index) error {
		return func(ctx context.Context, x *Index) error { _, err := x.Yank(ctx, data); return err }
	}
	backfill := func(ctx context.Context, x *Index) error {
		_, err := x.Backfill(ctx, BackfillOptions{Write: true})
		return err
	}
	sign := func(data string) func(context.Context, *Index) error {
		return func(ctx context.Context, x *Index) error { return x.SignCheckpoint(ctx, []byte(data)) }
	}
	set := func(change func(*Config)) func(context.Context, *Index) error {
		return func(ctx context.Context, x *Index) error { c := b.config(); change(&c); return x.SetConfig(ctx, c) }
	}
	policy := func(of *attest.Policy) func(context.Context, *Index) error {
		return func(ctx context.Context, x *Index) error { _, _, err := x.AddPolicy(ctx, of, update); return err }
	}
	absent := attest.Yank{Name: "hello", Version: "7.0.0", Action: attest.ActionYank, Reason: "old", At: "2026-06-01T12:00:00Z"}
	payload, err := attest.NewYank(absent, strings.Repeat("0", 64))
	b.must(err)
	b.refuses(map[string]refusal{
		"publish without policy":     {publish(d.Bundle), noPolicy, fault.Usage, "no policy to verify by"},
		"publish without key":        {publish(d.Bundle), noKey, fault.Usage, "no key to sign the entry with"},
		"publish junk":               {publish(release([]byte("junk"))), nil, fault.Parse, "release"},
		"publish by strangers":       {publish(release(b.Sign([]byte("{}"), "stranger"))), nil, fault.KeyUnknown, "is by a known key"},
		"entry of an unknown key":    {add, func(in *Writing) { in.Key = attesttest.Key("r1") }, fault.KeyUnknown, "is not an index key of policy demo"},
		"entry of a key not shown":   {add, func(in *Writing) { in.Policy, in.Key = nil, attesttest.Key("r1") }, fault.KeyUnknown, "not among those that the index advertises"},
		"yank junk":                  {yank([]byte("junk")), nil, fault.Parse, "yank"},
		"yank without policy":        {yank(b.Sign(payload, "r1", "r2")), noPolicy, fault.Usage, "no policy to verify by"},
		"yank of no statement":       {yank(b.Sign([]byte("{}"), "r1", "r2")), nil, fault.Structure, ""},
		"yank of no version":         {yank(b.Sign(payload, "r1", "r2")), nil, fault.IndexNoMatch, "hello@7.0.0 is not in the index"},
		"backfill without key":       {backfill, noKey, fault.Usage, "no key to sign lines with"},
		"backfill of an unknown key": {backfill, func(in *Writing) { in.Key = attesttest.Key("stranger") }, fault.KeyUnknown, ""},
		"cosigned by nobody":         {sign("example.org/log\n1\nx\n"), nil, fault.Parse, "not a signed checkpoint"},
		"cosigned in no line":        {sign("example.org/log\n1\nx\n\n— w1"), nil, fault.Parse, "not a signed checkpoint"},
		"another log":                {set(func(c *Config) { c.Log.Key = attest.LogKey(attesttest.Origin, attesttest.Key("r1").Public()) }), nil, fault.Usage, "can not be changed or taken away"},
		"no log":                     {set(func(c *Config) { c.Log = nil }), nil, fault.Usage, "can not be changed or taken away"},
		"evidence of no plan":        {func(ctx context.Context, x *Index) error { _, err := x.Evidence(ctx, "../x"); return err }, nil, fault.Structure, ""},
		"a config of no kind":        {set(func(c *Config) { c.Signing.Kind = "rsa" }), nil, fault.SignatureUnsupported, "rsa"},
		"policy without policy":      {policy(next), noPolicy, fault.Usage, "no policy to verify by"},
		"policy of before":           {policy(b.in.Policy), nil, fault.Rollback, "version 1"},
		"no log key":                 {add, func(in *Writing) { in.LogKey = nil }, fault.Usage, "there is no key of its log"},
		"another log key":            {add, func(in *Writing) { in.LogKey = attesttest.Key("r1") }, fault.KeyUnknown, "the log of "},
		"a log that does not open": {add, func(in *Writing) {
			in.Log = func(context.Context, string) (LogWriter, error) { return nil, errDisk }
		}, fault.Internal, errDisk.Error()},
		"a log that does not close": {sign(string(b.file(checkpointFile))), func(in *Writing) {
			in.Log = func(ctx context.Context, dir string) (LogWriter, error) {
				l, err := b.openQuickLog(ctx, dir)
				return unclosed{l}, err
			}
		}, fault.Internal, errDisk.Error()},
	})
}

// unclosed is a log that fails when it is closed.
type unclosed struct{ LogWriter }

func (unclosed) Close(context.Context) error { return errDisk }

// An index without a log has no place for what only a log can keep, and one
// without keys none for what a key says.
func TestUnloggedIndexRefuses(t *testing.T) {
	b := plainBench(t).quick()
	fromBeforeTheLog(b)["log"].prepare(b)
	next, update := nextPolicy(b)
	plan := b.Plan.Digest()
	b.refuses(map[string]refusal{
		"statements": {func(ctx context.Context, x *Index) error {
			_, _, err := x.AddStatement(ctx, b.PlanJSON, b.Statement("east", nil))
			return err
		}, nil, fault.Usage, "has no log to enter statements in"},
		"policy": {func(ctx context.Context, x *Index) error { _, _, err := x.AddPolicy(ctx, next, update); return err },
			nil, fault.Usage, "has no log to enter a policy in"},
		"checkpoint": {func(ctx context.Context, x *Index) error { return x.SignCheckpoint(ctx) }, nil, fault.Usage, "has no log"},
		"evidence":   {func(ctx context.Context, x *Index) error { _, err := x.Evidence(ctx, plan); return err }, nil, fault.IndexNoMatch, "is not in the log of"},
		"yanked": {func(ctx context.Context, x *Index) error { _, _, err := x.Yanked(ctx, "hello", "1.0.0"); return err },
			nil, fault.IndexNoMatch, "hello@1.0.0 is not in the index"},
		"yanked, of no version": {func(ctx context.Context, x *Index) error { _, _, err := x.Yanked(ctx, "tool", "1"); return err },
			nil, fault.Structure, ""},
		"asked from afar": {func(ctx context.Context, x *Index) error {
			r, err := x.Reader(ctx, Reading{Now: b.now})
			b.must(err)
			if r.Head() != nil || r.ReadLog(ctx, true) != nil {
				t.Error("it has a log")
			}
			_, _, err = r.Yanked(ctx, "tool", "1.0.0")
			return err
		}, nil, fault.Usage, "has no log, so its last yank statement is not known here"},
		"asked for no version": {func(ctx context.Context, x *Index) error {
			r, err := x.Reader(ctx, Reading{Now: b.now})
			b.must(err)
			_, _, err = r.Yanked(ctx, "tool", "9.0.0")
			return err
		}, nil, fault.IndexNoMatch, "has no version 9.0.0"},
		"nobody's votes": {func(ctx context.Context, x *Index) error {
			r, err := x.Reader(ctx, Reading{Now: b.now})
			b.must(err)
			_, _, err = r.Verify(ctx, "tool", "1.0.0")
			return err
		}, nil, fault.Usage, "no policy"},
	})
}

// A clock that is behind the last leaf by more than readers allow stops every
// write, before it writes.
func TestEveryWriteRefusesAClockThatIsBehind(t *testing.T) {
	for name, op := range operations(plainBench(t).quick().init()) {
		if name == "sign" || name == "export" {
			continue // which date no leaf
		}
		t.Run(name, func(t *testing.T) {
			b := plainBench(t).quick().init()
			op = operations(b)[name]
			if op.prepare != nil {
				op.prepare(b)
			}
			b.now = b.now.Add(-time.Hour)
			b.refuses(map[string]refusal{name: {func(ctx context.Context, x *Index) error { return op.do(ctx, x) }, nil, fault.Stale, "the last leaf of the log is dated"}})
			if name == "publish" {
				b.code(b.open().Check(context.Background(), &attest.Bundle{}, nil), fault.Stale)
			}
		})
	}
}

// Whose statement it is, and whether anybody would hear it, is judged before it
// is logged: a leaf can not be taken back.
func TestStatementsThatNobodyWouldHear(t *testing.T) {
	b := plainBench(t).quick().init()
	ended := *b.World
	east := attesttest.Key("east").Public().String()
	ended.PolicyTOML = strings.Replace(b.PolicyTOML, east+`" }`, east+`", not_after = "2026-01-01T00:00:00Z" }, { key = "`+attesttest.Key("east2").Public().String()+`" }`, 1)
	add := func(plan []byte, statements ...[]byte) func(context.Context, *Index) error {
		return func(ctx context.Context, x *Index) error {
			_, err := x.AddStatements(ctx, plan, statements)
			return err
		}
	}
	honest := b.Statement("east", nil)
	parsed, err := attest.ParseEnvelope("statement", honest)
	b.must(err)
	payload := must1(parsed.Verify([]attest.PublicKey{attesttest.Key("east").Public()}))(t).Payload()
	var many [][]byte
	for i := range MaxStatementsOfKey + 1 {
		many = append(many, b.Statement("east", func(r *attest.Result) { r.Nonce = fmt.Sprintf("%064x", i) }))
	}
	b.refuses(map[string]refusal{
		"no plan":              {add([]byte("junk"), honest), nil, fault.Parse, "plan"},
		"no policy":            {add(b.PlanJSON, honest), noPolicy, fault.Usage, "no policy to verify by"},
		"no statement":         {add(b.PlanJSON, honest, []byte("junk")), nil, fault.Parse, "statement"},
		"signed by another":    {add(b.PlanJSON, b.Sign(payload, "north")), nil, fault.Semantic, `operator "east" is named but the key belongs to "north"`},
		"and by another":       {add(b.PlanJSON, honest, b.Sign(payload, "north")), nil, fault.KeyUnknown, "is of operator east, and north has signed it"},
		"provenance of none":   {add(b.PlanJSON, b.Provenance("west", nil)), nil, fault.EvidenceMismatch, "statement "},
		"by a key that ended":  {add(b.PlanJSON, honest), func(in *Writing) { in.Policy = ended.LoadPolicy() }, fault.KeyExpired, "statement "},
		"more than a key says": {add(b.PlanJSON, many...), nil, fault.Semantic, "at most 256 are logged"},
	})
	b.must(add(b.PlanJSON, many[1:]...)(t.Context(), b.open()))
	b.refuses(map[string]refusal{"one more": {add(b.PlanJSON, many[0]), nil, fault.Semantic, "has signed 256 statements"}})
	b.must(add(b.PlanJSON, b.Statement("north", nil))(t.Context(), b.open())) // another key has its own
	b.fsckClean()
}

// A bundle for others is only made of what the log has.
func TestReleasedOfWhatIsNotLogged(t *testing.T) {
	b := plainBench(t).quick().init()
	b.statements()
	d := b.propose()
	ask := func(bundle *attest.Bundle) error {
		_, err := b.open().Released(t.Context(), bundle)
		return err
	}
	b.code(ask(&attest.Bundle{Release: []byte("junk")}), fault.Parse)
	b.code(ask(&attest.Bundle{Release: b.Sign([]byte("{}"), "r1", "r2")}), fault.Structure)
	b.code(ask(d.Bundle), fault.FileMissing)
	e, err := attest.ParseEnvelope("release", d.Release)
	b.must(err)
	b.must(b.open().writeContent(map[string][]byte{statementPath(e.Digest()): d.Release})) // as a crash leaves it
	if err := ask(d.Bundle); fault.CodeOf(err) != fault.IndexNoMatch || !strings.Contains(err.Error(), "is not in the chain of plan") {
		t.Error(err)
	}
	b.publish(d)
	b.must(ask(d.Bundle))

	plain := attesttest.New(t).Honest()
	if got, err := b.open().Released(t.Context(), plain.Bundle); err != nil || got != plain.Bundle {
		t.Errorf("a release that names no log is not as it was: %v", err)
	}
}

// What lies in the index beside the log is held against it before anything is
// built on it: neither a node of the view nor a chain that somebody has changed
// is signed for.
func TestNothingIsBuiltOnWhatTheLogHasNot(t *testing.T) {
	sound := plainBench(t).quick().init()
	sound.statements()
	sound.unsigned("tool", "1.0.0")
	two, four := viewPath("to/ol/tool")
	chainOf := "chains/pkg/to/ol/tool.jsonl"
	edit := func(from, to string) func(*bench, string) {
		return func(b *bench, file string) {
			data := b.file(file)
			if !bytes.Contains(data, []byte(from)) {
				t.Fatalf("no %s in %s", from, data)
			}
			b.must(os.WriteFile(filepath.Join(b.dir, file), bytes.Replace(data, []byte(from), []byte(to), 1), 0o644))
		}
	}
	gone := func(b *bench, file string) { b.must(os.Remove(filepath.Join(b.dir, file))) }
	for name, c := range map[string]struct {
		file   string
		damage func(*bench, string)
		code   fault.Code
		text   string
	}{
		"node gone":        {viewDir + two, gone, fault.ViewMismatch, "missing"},
		"leaf node gone":   {viewDir + four, gone, fault.ViewMismatch, "missing"},
		"node changed":     {viewDir + two, edit(`sha256:`, `sha256:0`), fault.ViewMismatch, "the view says"},
		"leaf changed":     {viewDir + four, edit("to/ol/tool", "to/ol/tolo"), fault.ViewMismatch, "the view says"},
		"lines gone":       {"to/ol/tool", gone, fault.ViewMismatch, "the view says"},
		"chain gone":       {chainOf, gone, fault.EvidenceMismatch, "leaf 5 of the log is of chain pkg:tool, whose file has it not"},
		"leaf forged":      {chainOf, edit(`"type":"entry"`, `"type":"backfill"`), fault.Fork, "is not the one"},
		"chain of another": {chainOf, edit(`pkg:tool`, `pkg:tolo`), fault.EvidenceMismatch, "it is in the chain pkg:tool"},
		"chain goes on": {chainOf, func(b *bench, file string) {
			b.must(os.WriteFile(filepath.Join(b.dir, file), append(b.file(file), b.file(file)...), 0o644))
		}, fault.EvidenceMismatch, `it is in the chain pkg:tool behind "sha256:`},
		"chain not ended": {chainOf, func(b *bench, file string) {
			b.must(os.WriteFile(filepath.Join(b.dir, file), bytes.TrimSuffix(b.file(file), []byte("\n")), 0o644))
		}, fault.Parse, "not ended"},
		"head of nothing": {headFile, gone, fault.ViewMismatch, "head covers 0"},
	} {
		t.Run(name, func(t *testing.T) {
			b := *sound
			b.t = t
			b.copyOf(sound.dir)
			c.damage(&b, c.file)
			b.refuses(map[string]refusal{name: {func(ctx context.Context, x *Index) error {
				_, _, err := x.AddPackage(ctx, pkgOf(t, "tool", "2.0.0"))
				return err
			}, nil, c.code, c.text}})
		})
	}
}

// A plan's chain that lost its end, or all of it, does not go on without what
// stood there: no release would have to answer to a dissent that was cut off.
func TestNoPlansChainGoesOnBesideItself(t *testing.T) {
	sound := plainBench(t).quick().init()
	sound.statements()
	sound.unsigned("tool", "1.0.0")
	file := must1(chainPath(string(sound.Plan.Digest())))(t)
	whole := sound.file(file)
	second := sound.Statement("east", func(r *attest.Result) { r.Nonce = strings.Repeat("ab", 32) })
	for cut := range bytes.Count(whole, []byte("\n")) {
		b := *sound
		b.t = t
		b.copyOf(sound.dir)
		held := bytes.Join(bytes.SplitAfter(whole, []byte("\n"))[:cut], nil)
		b.must(os.WriteFile(filepath.Join(b.dir, file), held, 0o644))
		b.refuses(map[string]refusal{fmt.Sprintf("cut to %d leaves", cut): {func(ctx context.Context, x *Index) error {
			_, _, err := x.AddStatement(ctx, b.PlanJSON, second)
			return err
		}, nil, fault.EvidenceMismatch, fmt.Sprintf("leaf %d of the log is of chain %s, whose file has it not", cut+1, b.Plan.Digest())}})
		for n, left := 1, 0; left <= 0; n++ { // nor if the log can not be looked through
			x, files := b.stumbling(n)
			if _, _, err := x.AddStatement(t.Context(), b.PlanJSON, second); err == nil {
				t.Fatalf("cut to %d leaves, read %d failed, and it goes on", cut, n)
			}
			left = files.left
		}
		_, err := Fsck(t.Context(), b.dir, b.in, FsckOptions{Repair: true})
		b.must(err)
		_, _, err = b.open().AddStatement(t.Context(), b.PlanJSON, second)
		b.must(err)
		b.fsckClean()
	}
}

// growBy adds leaves to the log that are about no package and no plan.
func (b *bench) growBy(n int) {
	b.t.Helper()
	config := must1(b.open().config())(b.t)
	src := b.open().src
	tip := must1(readTip(b.t.Context(), src, config))(b.t)
	var leaves [][]byte
	for prev := store.Digest(""); len(leaves) < n; prev = store.DigestOf(leaves[len(leaves)-1]) {
		seq := tip.Seq + 1 + int64(len(leaves))
		leaves = append(leaves, must1(attest.Event{
			SchemaVersion: document.Events.ID(), Chain: "policy:other", Type: attest.EventPolicy, Prev: prev,
			Object: store.DigestOf(fmt.Append(nil, seq)), Seq: seq, At: tip.At, View: tip.View,
		}.Encode())(b.t))
	}
	b.must(must1(b.openQuickLog(b.t.Context(), b.dir))(b.t).Append(b.t.Context(), leaves))
	at := must1(readCheckpoint(b.t.Context(), src, config))(b.t)
	last := leaves[len(leaves)-1]
	proof := must1(proveIs(b.t.Context(), src, at, at.Size-1, last))(b.t)
	b.must(os.WriteFile(filepath.Join(b.dir, headFile), encodeHead(last, at.Size-1, proof, at.Note), 0o644))
}

// Behind however many leaves a chain that lost its file is missed: of a package,
// of a plan that is here, of a policy. What is new begins.
func TestLostChainsAreMissedHoweverOldTheyAre(t *testing.T) {
	b := plainBench(t).quick().init()
	b.statements()
	next, update := nextPolicy(b)
	_, _, err := b.open().AddPolicy(t.Context(), next, update)
	b.must(err)
	b.unsigned("tool", "1.0.0")
	b.unsigned("tool", "1.1.0")
	b.growBy(maxRecent + 1)
	plan := string(b.Plan.Digest())
	old := *b.Plan
	old.Pipeline = "other"
	other := must1(attest.EncodePlan(&old))(t)
	add := func(name string) func(context.Context, *Index) error {
		return func(ctx context.Context, x *Index) error {
			_, _, err := x.AddPackage(ctx, pkgOf(t, name, "2.0.0"))
			return err
		}
	}
	sound := b.dir
	for name, do := range map[string]func(context.Context, *Index) error{
		"pkg:tool": add("tool"),
		plan: func(ctx context.Context, x *Index) error {
			_, _, err := x.AddStatement(ctx, b.PlanJSON, b.Statement("east", func(r *attest.Result) { r.Nonce = strings.Repeat("ab", 32) }))
			return err
		},
		"policy:demo": func(ctx context.Context, x *Index) error { _, _, err := x.AddPolicy(ctx, next, update); return err },
	} {
		b.copyOf(sound)
		b.must(os.Remove(filepath.Join(b.dir, must1(chainPath(name))(t))))
		b.refuses(map[string]refusal{name: {do, nil, fault.EvidenceMismatch, "of chain " + name + ", whose file has it not"}})
	}
	b.copyOf(sound)
	chain := filepath.Join(b.dir, must1(chainPath("pkg:tool"))(t))
	first, _, _ := bytes.Cut(must1(os.ReadFile(chain))(t), []byte("\n"))
	b.must(os.WriteFile(chain, append(first, '\n'), 0o644))
	for n, left := 1, 0; left <= 0; n++ {
		x, files := b.stumbling(n)
		if err := add("tool")(t.Context(), x); err == nil {
			t.Fatalf("read %d failed, and the chain goes on beside itself", n)
		}
		left = files.left
	}
	b.copyOf(sound)
	b.must(add("new")(t.Context(), b.open()))
	result, err := attest.NewResultStatement(&old, b.Result("east", nil))
	b.must(err)
	_, _, err = b.open().AddStatement(t.Context(), other, b.Sign(result, "east"))
	b.must(err)
}

// A chain is cut where a checkpoint ends, and has an end itself.
func TestChainsAreBounded(t *testing.T) {
	b := plainBench(t).quick().init()
	b.statements()
	c, err := b.open().readChain(string(b.Plan.Digest()))
	b.must(err)
	for size, want := range map[int64]int{0: 0, 1: 0, 2: 1, 4: 3, 5: 4, 9: 4} {
		if got := c.cut(size); len(got.events) != want || len(got.lines) != want {
			t.Errorf("under %d leaves it has %d", size, len(got.events))
		}
	}
	for _, c := range []struct {
		of   chain
		code fault.Code
	}{
		{chain{raw: make([]byte, attest.MaxEventsBytes)}, ""},
		{chain{raw: make([]byte, attest.MaxEventsBytes+1)}, fault.Semantic},
		{chain{lines: make([][]byte, attest.MaxEvents)}, ""},
		{chain{lines: make([][]byte, attest.MaxEvents+1)}, fault.Semantic},
	} {
		if err := c.of.checkLength(); fault.CodeOf(err) != c.code {
			t.Errorf("%d bytes, %d lines: %v", len(c.of.raw), len(c.of.lines), err)
		}
	}
}

// A signer that does not answer stops a write before the log has anything of it.
func TestLogKeyThatDoesNotAnswer(t *testing.T) {
	b := plainBench(t).quick().init()
	in := b.in
	in.LogKey = broken{attesttest.Key("log")}
	x, err := open(b.disk, b.dir, in)
	b.must(err)
	if _, _, err := x.AddPackage(t.Context(), pkgOf(t, "tool", "1.0.0")); !errors.Is(err, errDisk) {
		t.Error(err)
	}
	if r := b.fsckClean(); r.Leaves != 1 || r.Packages != 0 {
		t.Errorf("%+v", r)
	}
}

// A line whose chain is gone is not signed for as one that was logged.
func TestA24LineWhoseChainIsGone(t *testing.T) {
	b := plainBench(t).quick().init()
	b.unsigned("tool", "1.0.0")
	b.must(os.Remove(filepath.Join(b.dir, "chains/pkg/to/ol/tool.jsonl")))
	r, err := b.open().Backfill(t.Context(), BackfillOptions{})
	b.must(err)
	if r.Backfilled != 0 || r.UnsignedBefore != 1 || len(r.Unlogged) != 1 || r.Unlogged[0] != "tool@1.0.0" {
		t.Errorf("%+v", r)
	}
}

// A journal and a log that do not belong together are left as they are.
func TestJournalOfAnotherLog(t *testing.T) {
	b := plainBench(t).quick().init()
	b.unsigned("tool", "1.0.0")
	sign := func(data []byte) []byte {
		var j journal
		b.must(document.Decode(stagedFile, data, document.Staged, &j))
		b.must(j.sign(attesttest.Key("log"), must1(b.open().config())(t).Log.Origin))
		return must1(document.Encode(&j))(t)
	}
	for name, c := range map[string]struct {
		staged []byte
		code   fault.Code
		text   string
	}{
		"leaves to come": {sign(stagedLeaves(t, 7)), fault.Fork, "the leaves from 7 to 7"},
		"leaves of old":  {sign(stagedLeaves(t, 0)), fault.Fork, "the leaves from 0 to 0"},
		"another leaf":   {sign(stagedLeaves(t, 1)), fault.Fork, "leaf 1 of the log is not the one"},
		"no leaf":        {[]byte(`{"files":[],"leaves":["x"],"schema_version":"rebuild.staged@1.0.0","size":2}`), fault.Parse, stagedFile},
	} {
		path := filepath.Join(b.dir, stagedFile)
		b.must(os.WriteFile(path, c.staged, 0o644))
		b.refuses(map[string]refusal{name: {func(ctx context.Context, x *Index) error { return x.Recover(ctx) }, nil, c.code, c.text}})
		if done, err := Finish(t.Context(), b.dir); done || name == "another leaf" && fault.CodeOf(err) != fault.Fork {
			t.Errorf("%s: finished %t, %v", name, done, err)
		}
		b.must(os.Remove(path))
	}
	b.fsckClean()
}

// forgetful is a log that says that it has another size than it has, or takes
// leaves and shows none.
type forgetful struct {
	LogWriter
	size int64
}

func (l forgetful) Size() int64 { return l.size }

func (l forgetful) Append(context.Context, [][]byte) error { return nil }

// A log that does not do what it says is noticed before anybody sees it.
func TestLogThatForgets(t *testing.T) {
	b := plainBench(t).quick().init()
	b.unsigned("tool", "1.0.0")
	log := func(size int64) func(*Writing) {
		return func(in *Writing) {
			in.Log = func(ctx context.Context, dir string) (LogWriter, error) {
				l, err := b.openQuickLog(ctx, dir)
				return forgetful{l, size}, err
			}
		}
	}
	add := func(ctx context.Context, x *Index) error {
		_, _, err := x.AddPackage(ctx, pkgOf(t, "tool", "2.0.0"))
		return err
	}
	b.refuses(map[string]refusal{
		"fewer leaves": {add, log(1), fault.ViewMismatch, "the log has 1 leaves, head covers 2"},
		"more leaves":  {add, log(3), fault.ViewMismatch, "the log has 3 leaves, head covers 2"},
	})
	in := b.in
	log(2)(&in)
	x, err := open(b.disk, b.dir, in)
	b.must(err)
	if err := add(t.Context(), x); fault.CodeOf(err) != fault.Internal || !strings.Contains(err.Error(), "the checkpoint has 2 leaves after a publication that ends with leaf 2") {
		t.Error(err)
	}
	b.must(b.open().Recover(t.Context())) // with the log as it is
	if b.entry("tool", "2.0.0") == nil {
		t.Error("what was staged is lost")
	}
	b.fsckClean()
}

// Definitions on a disk that fails are there whole or not at all, and adding
// them again ends in the same bytes.
func TestDefinitionsOnAFaultyDisk(t *testing.T) {
	plan := store.DigestOf([]byte("plan"))
	add := func(x *Definitions) error {
		defer x.Abort()
		for i := range maxPending + 1 {
			data := fmt.Appendf(nil, "FROM scratch\nCOPY %d /\n", i)
			if err := x.Object(store.DigestOf(data), data); err != nil {
				return err
			}
		}
		if err := x.Hints(plan, nil); err != nil {
			return err
		}
		if err := x.Hints(plan, map[store.Digest][]string{plan: {"https://example.org/x"}}); err != nil {
			return err
		}
		n, err := x.Commit()
		if err == nil && (n < 1 || n > maxPending+2) {
			t.Errorf("%d were added", n)
		}
		return err
	}
	ready := indexOf(t, nil, nil)
	b := &bench{t: t}
	b.copyOf(ready)
	b.must(add(AddDefinitions(b.dir)))
	want := listing(t, b.dir)
	for n := 1; ; n += 7 {
		b.copyOf(ready)
		disk := failing(n, false)
		disk.Once = n%2 == 0
		x := AddDefinitions(b.dir)
		x.disk, x.batch = disk, durable.NewBatch(disk)
		err := add(x)
		if err == nil && disk.Left > 0 {
			return
		}
		if !errors.Is(err, errDisk) || fault.CodeOf(err) != fault.Internal {
			t.Errorf("call %d: %v", n, err)
		}
		if left := must1(filepath.Glob(filepath.Join(b.dir, durable.TempPrefix+"*")))(t); len(left) > 0 && disk.Once {
			t.Errorf("call %d: %v is left", n, left)
		}
		b.must(add(AddDefinitions(b.dir)))
		if got := listing(t, b.dir); got != want {
			t.Fatalf("call %d: again ends in other bytes", n)
		}
	}
}

// Definitions are written as they come, so that few files are open, and what is
// not written yet can be given up. Only what is there whole is not written again.
func TestDefinitionsInBatches(t *testing.T) {
	dir := indexOf(t, nil, nil)
	x := AddDefinitions(dir)
	add := func(i int) store.Digest {
		data := fmt.Appendf(nil, "FROM scratch\nCOPY %d /\n", i)
		if err := x.Object(store.DigestOf(data), data); err != nil {
			t.Fatal(err)
		}
		return store.DigestOf(data)
	}
	there := func(d store.Digest) bool { _, err := os.Lstat(filepath.Join(dir, objectPath(d))); return err == nil }
	first := add(0)
	for i := 1; i < maxPending-1; i++ {
		add(i)
	}
	if there(first) {
		t.Error("it is written before there are many")
	}
	if last := add(maxPending - 1); !there(first) || !there(last) {
		t.Error("many are not written")
	}
	given := add(maxPending)
	x.Abort()
	left, err := filepath.Glob(filepath.Join(dir, durable.TempPrefix+"*"))
	if err != nil || len(left) > 0 || there(given) {
		t.Errorf("what was given up is there: %v", left)
	}
	x = AddDefinitions(dir)
	if err := x.Object(store.DigestOf(nil), nil); err != nil {
		t.Fatal(err)
	}
	if n, err := x.Commit(); n != 1 || err != nil || !there(store.DigestOf(nil)) {
		t.Errorf("an empty file: %d, %v", n, err)
	}
	large := make([]byte, MaxObject+1)
	if err := x.Object(store.DigestOf(large), large); fault.CodeOf(err) != fault.Semantic {
		t.Error(err)
	}
	if err := x.Object(store.DigestOf(large[1:]), large[1:]); err != nil {
		t.Error(err)
	}
	x.Abort()
	blocked := t.TempDir()
	if err := os.WriteFile(filepath.Join(blocked, objectDir[:len("objects")]), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := AddDefinitions(blocked).Object(first, fmt.Appendf(nil, "FROM scratch\nCOPY %d /\n", 0)); fault.CodeOf(err) != fault.Internal {
		t.Error(err)
	}
}
