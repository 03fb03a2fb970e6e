package index

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
	"rebuild/store"
)

// stumbling opens the index so that the n-th time that anything of it is asked
// for fails.
func (b *bench) stumbling(n int) (*Index, *faultyFiles) {
	files := &faultyFiles{FS: os.DirFS(b.dir), left: n}
	return &Index{b.dir, b.disk, files, Dir(files, b.dir), b.in}, files
}

// copyOf goes on in a copy of an index.
func (b *bench) copyOf(dir string) {
	b.t.Helper()
	b.dir = filepath.Join(b.t.TempDir(), "index")
	b.must(os.CopyFS(b.dir, os.DirFS(dir)))
}

// fromBeforeTheLog are operations on an index that has no log yet, or never.
func fromBeforeTheLog(b *bench) map[string]operation {
	bare := func(b *bench) {
		b.PolicyTOML = attesttest.Policy("") // which asks for no log
		b.in.Policy = b.LoadPolicy()
		b.dir = filepath.Join(b.t.TempDir(), "bare")
		in := b.in
		in.Log, in.LogKey = nil, nil
		b.must(initIndex(context.Background(), b.disk, b.dir, Config{Signing: b.config().Signing}, in))
		b.unsigned("tool", "1.0.0")
	}
	yanked := func(b *bench) {
		bare(b)
		_, err := b.open().Yank(context.Background(), b.yankOf("tool", "1.0.0", "r1", "r2"))
		b.must(err)
	}
	var undo []byte
	return map[string]operation{
		"log": {yanked, func(ctx context.Context, x *Index) error { return x.SetConfig(ctx, b.config()) }},
		"unlogged config": {bare, func(ctx context.Context, x *Index) error {
			return x.SetConfig(ctx, Config{Signing: b.config().Signing, DL: "https://example.org/"})
		}},
		"unlogged backfill": {bare, func(ctx context.Context, x *Index) error {
			_, err := x.Backfill(ctx, BackfillOptions{Write: true, AcceptUnlogged: true})
			return err
		}},
		"unlogged unyank": {func(b *bench) { yanked(b); undo = b.unyankOf("tool", "1.0.0", "r1", "r2") },
			func(ctx context.Context, x *Index) error {
				_, err := x.Yank(ctx, undo)
				return err
			}},
	}
}

// unyankOf takes a yank back.
func (b *bench) unyankOf(name, version string, by ...string) []byte {
	b.t.Helper()
	state, e, err := b.open().Yanked(context.Background(), name, version)
	b.must(err)
	payload, err := attest.NewYank(attest.Yank{Name: name, Version: version, Action: attest.ActionUnyank, Reason: "in error", At: "2026-06-01T12:00:00Z", After: state.Head}, e.Cksum)
	b.must(err)
	return b.Sign(payload, by...)
}

// ownedYank yanks a version that has a release, whose owner must sign.
func ownedYank(b *bench) map[string]operation {
	var yank []byte
	return map[string]operation{"owned yank": {func(b *bench) {
		b.statements()
		b.publish(b.propose())
		yank = b.yankStatement("0.1.0", attest.ActionYank, "", "r1", "r2")
	}, func(ctx context.Context, x *Index) error {
		_, err := x.Yank(ctx, yank)
		return err
	}}}
}

// A writer who can not see a file never takes it for one that is not there:
// whichever read of a write fails, the write either ends in the bytes in which
// it always ends, or says why not, and leaves an index that is sound and in
// which doing it again ends in the same bytes.
func TestNoReadOfAWriteFailsUnseen(t *testing.T) {
	for _, kinds := range []func(*bench) map[string]operation{operations, fromBeforeTheLog, ownedYank} {
		for name := range kinds(plainBench(t).quick().init()) {
			t.Run(name, func(t *testing.T) {
				b := plainBench(t).quick().init()
				op := kinds(b)[name]
				if op.prepare != nil {
					op.prepare(b)
				}
				ready := b.dir
				b.copyOf(ready)
				before := listing(t, b.dir)
				b.must(op.do(t.Context(), b.open()))
				want := listing(t, b.dir)
				b.fsckClean()
				b.copyOf(ready)
				for n := 1; ; n++ {
					x, files := b.stumbling(n)
					err := op.do(t.Context(), x)
					if files.left > 0 {
						if err != nil || n < 10 {
							t.Fatalf("%d reads, and %v", n, err)
						}
						return
					}
					if err != nil && !errors.Is(err, errDisk) {
						t.Errorf("read %d failed, and the index says %v", n, err)
					}
					after := listing(t, b.dir)
					if after == before && err != nil {
						continue
					}
					if err == nil && after != want {
						t.Fatalf("read %d failed unseen, and the write ended in\n%s\nnot\n%s", n, after, want)
					}
					if b.fsckClean(); t.Failed() {
						t.Fatalf("after read %d: %v", n, err)
					}
					b.must(op.do(t.Context(), b.open()))
					if after := listing(t, b.dir); after != want {
						t.Fatalf("after read %d: %v, and again ends in\n%s\nnot\n%s", n, err, after, want)
					}
					b.copyOf(ready)
				}
			})
		}
	}
}

// questions are what an index can be asked, each with its answer. A reader is
// opened anew for each.
func questions(b *bench, d draft) map[string]func(*Index) (any, error) {
	ctx := b.t.Context()
	read := func(judged bool, ask func(*Reader, *Entry) (any, error)) func(*Index) (any, error) {
		return func(x *Index) (any, error) {
			in := Reading{Now: b.now, Pause: noPause}
			if judged {
				in.Policy = b.in.Policy
			}
			state, err := LoadState(filepath.Join(b.t.TempDir(), "state.json"))
			b.must(err)
			in.State = state
			r, err := x.Reader(ctx, in)
			if err != nil {
				return nil, err
			}
			e, err := r.Lookup(ctx, "hello", "")
			if err != nil {
				return nil, err
			}
			return ask(r, e)
		}
	}
	verify := func(r *Reader, e *Entry) (any, error) {
		p, err := r.VerifyEntry(ctx, e)
		if err != nil {
			return nil, err
		}
		return p.Account().Lines(), nil
	}
	list := func(r *Reader, e *Entry) (any, error) {
		l, err := r.List(ctx, e)
		if err != nil {
			return nil, err
		}
		return l.Document, nil
	}
	unjudged := func(r *Reader, e *Entry) (any, error) {
		pkg, err := r.Unjudged(ctx, e)
		if err != nil {
			return nil, err
		}
		return pkg.Cksum(), nil
	}
	other := func(ask func(*Reader, *Entry) (any, error)) func(*Reader, *Entry) (any, error) {
		return func(r *Reader, _ *Entry) (any, error) {
			e, err := r.Lookup(ctx, "tool", "1.0.0")
			if err != nil {
				return nil, err
			}
			return ask(r, e)
		}
	}
	return map[string]func(*Index) (any, error){
		"verify":           read(true, verify),
		"list":             read(true, list),
		"list unjudged":    read(false, list),
		"unjudged":         read(false, unjudged),
		"without release":  read(false, other(unjudged)),
		"list the other":   read(false, other(list)),
		"log":              read(true, func(r *Reader, _ *Entry) (any, error) { return nil, r.ReadLog(ctx, true) }),
		"packages":         read(true, func(r *Reader, _ *Entry) (any, error) { return r.Packages(ctx) }),
		"bundle":           read(true, func(r *Reader, e *Entry) (any, error) { return r.Bundle(ctx, e) }),
		"hints":            read(true, func(r *Reader, _ *Entry) (any, error) { return r.Hints(ctx, b.Plan.Digest()) }),
		"last yank":        read(true, func(r *Reader, e *Entry) (any, error) { s, _, err := r.Yanked(ctx, e.Name, "0.1.0"); return s, err }),
		"config":           func(x *Index) (any, error) { return x.Config() },
		"evidence":         func(x *Index) (any, error) { return x.Evidence(ctx, b.Plan.Digest()) },
		"released":         func(x *Index) (any, error) { return x.Released(ctx, d.Bundle) },
		"yanked":           func(x *Index) (any, error) { s, _, err := x.Yanked(ctx, "hello", "0.1.0"); return s, err },
		"backfill, tried":  func(x *Index) (any, error) { return x.Backfill(ctx, BackfillOptions{}) },
		"published before": func(x *Index) (any, error) { return nil, x.Check(ctx, d.Bundle, d.archive) },
	}
}

// Who asks an index whose disk or server stumbles once is told so, or gets the
// answer that everybody gets: never another one.
func TestNoQuestionIsAnsweredWrongly(t *testing.T) {
	b := plainBench(t).quick().init()
	ctx := t.Context()
	b.statements()
	d := b.propose()
	b.publish(d)
	b.publish(b.propose("0.1.0", "0.2.0"))
	_, err := b.open().Yank(ctx, b.yankStatement("0.1.0", attest.ActionYank, "", "r1", "r2"))
	b.must(err)
	b.unsigned("tool", "1.0.0")
	_, err = b.open().Backfill(ctx, BackfillOptions{Write: true})
	b.must(err)
	b.unsigned("tool", "1.1.0")
	definitions := AddDefinitions(b.dir)
	b.must(definitions.Hints(b.Plan.Digest(), map[store.Digest][]string{store.DigestOf(nil): {"https://example.org/x.tar"}}))
	_, err = definitions.Commit()
	b.must(err)
	_, _, err = b.open().AddStatement(ctx, b.PlanJSON, b.Statement("east", func(r *attest.Result) { r.Nonce = strings.Repeat("ab", 32) }))
	b.must(err) // a vote from after the releases
	before := listing(t, b.dir)
	for name, ask := range questions(b, d) {
		t.Run(name, func(t *testing.T) {
			want, err := ask(b.open())
			b.must(err)
			for n := 1; ; n++ {
				x, files := b.stumbling(n)
				got, err := ask(x)
				if files.left > 0 {
					break
				}
				if err != nil && !errors.Is(err, errDisk) {
					t.Errorf("read %d failed, and the index says %v", n, err)
				}
				if err == nil && !reflect.DeepEqual(got, want) {
					t.Errorf("read %d failed, and the answer is\n%v\nnot\n%v", n, got, want)
				}
			}
			if listing(t, b.dir) != before {
				t.Error("asking wrote")
			}
		})
	}
}

// halfShow makes the index a mirror that was interrupted while it showed files.
func (b *bench) halfShow(files ...string) {
	b.t.Helper()
	for _, file := range files {
		to := filepath.Join(b.dir, MirrorStage, filepath.FromSlash(file))
		b.must(os.MkdirAll(filepath.Dir(to), 0o755))
		b.must(os.Rename(filepath.Join(b.dir, filepath.FromSlash(file)), to))
	}
	b.must(os.WriteFile(filepath.Join(b.dir, MirrorStage, MirrorReady), nil, 0o644))
}

// A check that could not see a file does not call an index sound without a
// word, and a repair that could not writes nothing that was not there.
func TestNoReadOfACheckFailsUnseen(t *testing.T) {
	for name, prepare := range map[string]func(*bench){
		"logged": func(b *bench) {
			b.statements()
			b.publish(b.propose())
			_, err := b.open().Yank(context.Background(), b.yankStatement("0.1.0", attest.ActionYank, "", "r1", "r2"))
			b.must(err)
			b.unsigned("tool", "1.0.0")
			_, err = b.open().Backfill(context.Background(), BackfillOptions{Write: true})
			b.must(err)
			_, err = b.open().Export(context.Background())
			b.must(err)
		},
		"unlogged": func(b *bench) { fromBeforeTheLog(b)["unlogged unyank"].prepare(b) },
		"half shown": func(b *bench) {
			b.unsigned("tool", "1.0.0")
			b.halfShow(headFile, "to/ol/tool", "objects/sha256/"+b.entry("tool", "1.0.0").Cksum)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := plainBench(t).quick().init()
			prepare(b)
			before := listing(t, b.dir)
			told := func(c *checker) string { return fmt.Sprint(*c.FsckReport) }
			x, _ := b.stumbling(1 << 60)
			notes := len(x.check(t.Context()).Notes)
			b.fsckClean()
			for n := 1; ; n++ {
				x, files := b.stumbling(n)
				found := x.check(t.Context())
				if files.left > 0 {
					return
				}
				named := slices.ContainsFunc(found.Findings, func(f Finding) bool {
					return strings.Contains(f.Text, errDisk.Error()) || f.File == strings.TrimPrefix(files.failed, MirrorStage+"/") && f.Code == fault.ViewMismatch
				})
				if len(found.Notes) == notes && !named {
					t.Errorf("read %d failed unseen: %s: %s", n, files.failed, told(found))
				}
				if err := x.repair(found); err != nil && !errors.Is(err, errDisk) {
					t.Errorf("read %d failed, and a repair says %v", n, err)
				}
				if after := listing(t, b.dir); name == "half shown" {
					b.fsckClean() // of what is staged, what is derived may be written
				} else if after != before {
					t.Fatalf("read %d failed, and a repair wrote\n%s\nnot\n%s", n, after, before)
				}
			}
		})
	}
}

// A repair of derived files that stumbles over a read leaves an index that the
// next one puts right, in the bytes in which it would have ended at once.
func TestNoRepairMakesItWorse(t *testing.T) {
	b := plainBench(t).quick().init()
	b.statements()
	b.unsigned("tool", "1.0.0")
	sound := b.dir
	want, head := listing(t, sound), string(b.file(headFile))
	two, _ := viewPath("to/ol/tool")
	chain := must1(chainPath(string(b.Plan.Digest())))(t)
	damage := func() {
		b.copyOf(sound)
		for _, file := range []string{headFile, viewDir + two} {
			b.must(os.Remove(filepath.Join(b.dir, file)))
		}
		lines := strings.SplitAfter(string(b.file(chain)), "\n")
		b.must(os.WriteFile(filepath.Join(b.dir, chain), []byte(lines[0]), 0o644))
	}
	for n := 0; ; n++ { // 0 is no fault
		damage()
		x, files := b.stumbling(n)
		if n == 0 {
			files.left = 1 << 60
		}
		b.must(x.repair(x.check(t.Context())))
		if n > 0 && files.left > 0 {
			return
		}
		if n > 0 {
			if data, err := os.ReadFile(filepath.Join(b.dir, headFile)); err == nil && string(data) != head {
				t.Fatalf("read %d failed, and the head became\n%s", n, data)
			}
			r, err := Fsck(t.Context(), b.dir, b.in, FsckOptions{Repair: true})
			b.must(err)
			if r.Err() != nil {
				t.Errorf("read %d failed: %v", n, r.Findings)
			}
		}
		if got := listing(t, b.dir); got != want {
			t.Fatalf("read %d failed, and it was put right as\n%s\nnot\n%s", n, got, want)
		}
	}
}

// A repair finishes what is staged as far as it can: with the log's writer
// wholly, without one what the log has already. What it could not do is an error.
func TestFsckFinishesWhatIsStaged(t *testing.T) {
	ready := plainBench(t).quick().init()
	pkg := pkgOf(t, "tool", "1.0.0")
	finished := map[bool]int{}
	for n := 1; ; n++ {
		b := *ready
		b.t = t
		b.copyOf(ready.dir)
		if _, _, err := b.on(failing(n, false)).AddPackage(t.Context(), pkg); err == nil {
			break
		}
		_, unstaged := os.Lstat(filepath.Join(b.dir, stagedFile))
		crashed, shown := b.dir, false // whether it takes no log's writer
		for _, log := range []bool{false, true} {
			b.copyOf(crashed)
			in := b.in
			if !log {
				in.Log, in.LogKey = nil, nil
			}
			was, err := Fsck(t.Context(), b.dir, in, FsckOptions{})
			b.must(err)
			r, err := Fsck(t.Context(), b.dir, in, FsckOptions{Repair: true})
			b.must(err)
			_, still := os.Lstat(filepath.Join(b.dir, stagedFile))
			told := slices.Contains(r.Repaired, stagedFile)
			if len(was.Findings)+len(r.Findings) > 0 || told != (unstaged == nil && still != nil) || log && still == nil {
				t.Errorf("call %d, log %t: staged %t, then %t, told %t: %v", n, log, unstaged == nil, still == nil, told, r.Findings)
			}
			if told {
				finished[log]++
			}
			shown = shown || told && !log
			if told != (r.Packages == 1) && unstaged == nil && log {
				t.Errorf("call %d: %d packages", n, r.Packages)
			}
		}
		b.copyOf(crashed)
		in := b.in
		in.Log = func(context.Context, string) (LogWriter, error) { return nil, errDisk }
		r, err := Fsck(t.Context(), b.dir, in, FsckOptions{Repair: true})
		if wants := unstaged == nil && !shown; errors.Is(err, errDisk) != wants || err != nil && !wants {
			t.Errorf("call %d: a log that does not open: %v, %v", n, r, err)
		}
	}
	if finished[false] == 0 || finished[true] <= finished[false] {
		t.Errorf("finished %v", finished)
	}
}

// A check writes nothing, not even a lock; a repair that can not remove what was
// left says so; and neither goes on for who has given up.
func TestFsckThatCanNot(t *testing.T) {
	b := plainBench(t).quick().init()
	b.unsigned("tool", "1.0.0")
	b.must(os.Remove(filepath.Join(b.dir, lockFile)))
	b.fsckClean()
	if _, err := os.Lstat(filepath.Join(b.dir, lockFile)); err == nil {
		t.Error("a check has made a lock")
	}
	left := filepath.Join(b.dir, durable.TempPrefix+"0123456789abcdef")
	b.must(os.WriteFile(left, nil, 0o644))
	if _, err := fsck(t.Context(), failing(0, false), b.dir, b.in, FsckOptions{Repair: true}); !errors.Is(err, errDisk) || fault.CodeOf(err) != fault.Internal {
		t.Error(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, repair := range []bool{false, true} {
		if _, err := Fsck(gone, b.dir, b.in, FsckOptions{Repair: repair}); !errors.Is(err, context.Canceled) {
			t.Errorf("repair %t: %v", repair, err)
		}
	}
	b.must(os.WriteFile(filepath.Join(b.dir, "tile/entries/000.p/2"), []byte("x"), 0o644)) // so that the log can not be read
	b.must(os.WriteFile(left, nil, 0o644))
	r, err := Fsck(t.Context(), b.dir, b.in, FsckOptions{Repair: true})
	b.must(err)
	if r.Err() == nil || len(r.Repaired) != 1 {
		t.Errorf("%v, repaired %v", r.Findings, r.Repaired)
	}
	b.must(os.Remove(filepath.Join(b.dir, lockFile)))
	b.must(os.Mkdir(filepath.Join(b.dir, lockFile), 0o755))
	if _, err := Fsck(t.Context(), b.dir, b.in, FsckOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := Fsck(t.Context(), b.dir, b.in, FsckOptions{Repair: true}); fault.CodeOf(err) != fault.Internal {
		t.Error(err)
	}
}

// A policy's signers are asked for, where owners alone are without one.
func TestFsckByAPolicy(t *testing.T) {
	b := plainBench(t).quick().init()
	b.statements()
	b.publish(b.propose())
	in := b.in
	in.Policy = nil
	if r, err := Fsck(t.Context(), b.dir, in, FsckOptions{}); err != nil || r.Err() != nil {
		t.Errorf("%v %v", r, err)
	}
	other := *b.World
	other.PolicyTOML = strings.Replace(b.PolicyTOML, attesttest.Key("r2").Public().String(), attesttest.Key("stranger").Public().String(), 1)
	in.Policy = other.LoadPolicy()
	r, err := Fsck(t.Context(), b.dir, in, FsckOptions{})
	b.must(err)
	if !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.File == helloLine && f.Code == fault.SignatureInvalid }) {
		t.Errorf("%v", r.Findings)
	}
}

// Lists of an index without a log, whose lines have no place in one.
func TestFsckOfAnUnloggedList(t *testing.T) {
	b := plainBench(t).quick()
	fromBeforeTheLog(b)["unlogged config"].prepare(b)
	b.unsigned("alone", "1.0.0")
	_, err := b.open().Export(t.Context())
	b.must(err)
	b.unsigned("later", "1.0.0")
	if r := b.fsckClean(); len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "2 of 3 entries") {
		t.Errorf("%v", r.Notes)
	}
	first := b.file("entries.json")
	b.must(os.WriteFile(filepath.Join(b.dir, "entries.json"), []byte(strings.Replace(string(first), `],"schema`, `],"next":"`+pageName(entriesFile, 1)+`","schema`, 1)), 0o644))
	b.must(os.WriteFile(filepath.Join(b.dir, pageName(entriesFile, 1)), []byte(`{"entries":[],"next":"`+pageName(entriesFile, 1)+`","schema_version":"rebuild.registry@1.0.0"}`), 0o644))
	r, err := Fsck(t.Context(), b.dir, b.in, FsckOptions{})
	b.must(err)
	if len(r.Findings) != 1 || r.Findings[0].Code != fault.Structure || !strings.Contains(r.Findings[0].Text, "is no page of a list") {
		t.Errorf("a list that leads in a circle: %v", r.Findings)
	}
}
