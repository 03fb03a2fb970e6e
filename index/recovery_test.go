package index

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/durable/durabletest"
	"rebuild/internal/fault"
)

// operation is a write, on an index that was made ready for it.
type operation struct {
	prepare func(*bench)
	do      func(context.Context, *Index) error
}

// operations are all writes to a logged index.
func operations(b *bench) map[string]operation {
	var d draft
	var yank []byte
	pkg := pkgOf(b.t, "org/lib", "1.0.0")
	c := b.config()
	c.DL = "https://example.org/"
	next, update := nextPolicy(b)
	return map[string]operation{
		"statements": {nil, func(ctx context.Context, x *Index) error {
			_, err := x.AddStatements(ctx, b.PlanJSON, b.Statements())
			return err
		}},
		"publish": {func(b *bench) { b.statements(); d = b.propose() }, func(ctx context.Context, x *Index) error {
			_, _, err := x.Publish(ctx, d.Bundle, d.archive)
			return err
		}},
		"package": {nil, func(ctx context.Context, x *Index) error {
			_, _, err := x.AddPackage(ctx, pkg)
			return err
		}},
		"yank": {func(b *bench) {
			b.unsigned("tool", "1.0.0")
			yank = b.yankOf("tool", "1.0.0", "r1", "r2")
		}, func(ctx context.Context, x *Index) error {
			_, err := x.Yank(ctx, yank)
			return err
		}},
		"backfill": {func(b *bench) { b.unsigned("tool", "1.0.0"); b.unsigned("tool", "2.0.0"); b.unsigned("a", "1.0.0") },
			func(ctx context.Context, x *Index) error {
				_, err := x.Backfill(ctx, BackfillOptions{Write: true})
				return err
			}},
		"config": {nil, func(ctx context.Context, x *Index) error { return x.SetConfig(ctx, c) }},
		"sign":   {nil, func(ctx context.Context, x *Index) error { return x.SignCheckpoint(ctx) }},
		"export": {func(b *bench) { b.unsigned("tool", "1.0.0") }, func(ctx context.Context, x *Index) error {
			_, err := x.Export(ctx)
			return err
		}},
		"policy": {nil, func(ctx context.Context, x *Index) error {
			_, _, err := x.AddPolicy(ctx, next, update)
			return err
		}},
	}
}

// nextPolicy is the bench's policy in its next version, and the signed step to it.
func nextPolicy(b *bench) (*attest.Policy, []byte) {
	b.t.Helper()
	world := *b.World
	world.PolicyTOML = strings.Replace(b.PolicyTOML, "version = 1", "version = 2", 1)
	next := world.LoadPolicy()
	update, err := attest.NewPolicyUpdate(b.in.Policy, next)
	b.must(err)
	signed, err := update.Sign(nil, attesttest.Key("root"))
	b.must(err)
	return next, signed
}

// Whatever call of a write to the disk or to the log fails, before or after it
// took effect: the index is sound then, and doing it again ends in the same
// bytes as if nothing had happened.
func TestEveryWriteSurvivesACrashAtEveryCall(t *testing.T) {
	for name := range operations(plainBench(t)) {
		t.Run(name, func(t *testing.T) {
			b := plainBench(t).quick().init()
			op := operations(b)[name]
			if op.prepare != nil {
				op.prepare(b)
			}
			ready := b.dir
			clone := func() {
				b.dir = filepath.Join(t.TempDir(), "index")
				b.must(os.CopyFS(b.dir, os.DirFS(ready)))
			}
			clone()
			b.must(op.do(context.Background(), b.open()))
			want := listing(t, b.dir)
			b.fsckClean()
			for _, after := range []bool{false, true} {
				for n := 1; ; n++ {
					clone()
					disk := failing(n, after)
					err := op.do(context.Background(), b.on(disk))
					if err == nil && disk.Left > 0 {
						break
					}
					b.fsckClean()
					b.must(op.do(context.Background(), b.open()))
					if got := listing(t, b.dir); got != want {
						t.Fatalf("call %d, after %t: %v, and again ends in other bytes\n%s\nnot\n%s", n, after, err, got, want)
					}
					if b.fsckClean(); t.Failed() {
						t.Fatalf("call %d, after %t: %v", n, after, err)
					}
				}
			}
		})
	}
}

// on opens the index on a disk that fails.
func (b *bench) on(disk *durabletest.Disk) *Index {
	b.t.Helper()
	in := b.in
	in.Log = func(ctx context.Context, dir string) (LogWriter, error) {
		l, err := b.openQuickLog(ctx, dir)
		if err != nil {
			return nil, err
		}
		return faultyLog{l, disk}, nil
	}
	x, err := open(disk, b.dir, in)
	b.must(err)
	return x
}

// An Init that was stopped is taken up again, and is no index before.
func TestLoggedInitSurvivesACrash(t *testing.T) {
	want := ""
	for _, after := range []bool{false, true} {
		for n := 1; ; n++ {
			b := plainBench(t).quick()
			disk := failing(n, after)
			in := b.in
			in.Log = func(ctx context.Context, dir string) (LogWriter, error) {
				l, err := b.openQuickLog(ctx, dir)
				if err != nil {
					return nil, err
				}
				return faultyLog{l, disk}, nil
			}
			err := initIndex(context.Background(), disk, b.dir, b.config(), in)
			if err == nil && disk.Left > 0 {
				b.fsckClean()
				want = listing(t, b.dir)
				break
			}
			if _, is := Open(b.dir, b.in); is != nil {
				b.init()
			} else {
				b.fsckClean()
				b.must(b.open().Recover(context.Background()))
			}
			b.fsckClean()
			if got := listing(t, b.dir); want != "" && got != want {
				t.Fatalf("call %d, after %t: %v ends in\n%s\nnot\n%s", n, after, err, got, want)
			}
		}
	}
}

// Whatever call fails, who serves the index can show without any key what the
// log has by then: readers find every package in it, and never a file that does
// not fit. What the log has not is left to the next writer, who ends in the same
// bytes.
func TestReadersNeedNoWriterAfterACrash(t *testing.T) {
	for _, name := range []string{"publish", "yank", "config", "sign"} { // each other is of one of their kinds
		t.Run(name, func(t *testing.T) {
			b := plainBench(t).quick().init()
			op := operations(b)[name]
			if op.prepare != nil {
				op.prepare(b)
			}
			ready, finished := b.dir, 0
			want := ""
			for n := 0; ; n++ { // 0 is no fault
				b.dir = filepath.Join(t.TempDir(), "index")
				b.must(os.CopyFS(b.dir, os.DirFS(ready)))
				disk := failing(n, false)
				if n == 0 {
					disk.Left = 1 << 60
				}
				err := op.do(t.Context(), b.on(disk))
				if n > 0 && err == nil {
					break
				}
				keyless := newIndex(steady(), b.dir, Writing{})
				done, err := keyless.finishShown(t.Context())
				b.must(err)
				if done {
					finished++
				}
				if again, err := keyless.finishShown(t.Context()); again || err != nil {
					t.Fatalf("call %d: finished twice, %v", n, err)
				}
				b.readsAll()
				b.must(op.do(t.Context(), b.open()))
				if got := listing(t, b.dir); want == "" {
					want = got
				} else if got != want {
					t.Fatalf("call %d: other bytes", n)
				}
			}
			if logs := name != "sign" && name != "export"; (finished > 0) != logs {
				t.Errorf("%d crashes were finished", finished)
			}
		})
	}
}

// readsAll wants every package to be readable, as a stranger reads.
func (b *bench) readsAll() {
	b.t.Helper()
	r, err := b.open().Reader(b.t.Context(), Reading{Now: b.now})
	b.must(err)
	names, err := packages(os.DirFS(b.dir))
	b.must(err)
	for _, name := range names {
		if _, err := r.Lookup(b.t.Context(), name, ""); err != nil && fault.CodeOf(err) != fault.NoNonYanked {
			b.t.Fatalf("%s: %v", name, err)
		}
	}
}
