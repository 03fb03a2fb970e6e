package index

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"rebuild/attest"
	"rebuild/internal/fault"
)

// oldYanks is an index without a log, in which tool 1.0.0 is yanked and 1.1.0
// was, and is advised against.
func oldYanks(t *testing.T) *bench {
	t.Helper()
	ctx := context.Background()
	b := plainBench(t).quick()
	unlogged := b.in
	unlogged.Log, unlogged.LogKey = nil, nil
	b.must(initIndex(ctx, b.disk, b.dir, Config{Signing: b.config().Signing}, unlogged))
	for _, version := range []string{"1.0.0", "1.1.0", "1.2.0"} {
		_, _, err := b.open().AddPackage(ctx, pkgOf(t, "tool", version))
		b.must(err)
	}
	for _, say := range []struct{ version, action, id string }{
		{"1.1.0", attest.ActionYank, ""}, {"1.0.0", attest.ActionYank, ""}, {"1.1.0", attest.ActionAdvise, "CVE-2026-1"}, {"1.1.0", attest.ActionUnyank, ""},
	} {
		state, e, err := b.open().Yanked(ctx, "tool", say.version)
		b.must(err)
		payload, err := attest.NewYank(attest.Yank{Name: "tool", Version: say.version, Action: say.action, ID: say.id, Reason: "old",
			At: "2026-06-01T12:00:00Z", After: state.Head}, e.Cksum)
		b.must(err)
		_, err = b.open().Yank(ctx, b.Sign(payload, "r1", "r2"))
		b.must(err)
	}
	return b
}

// What was yanked before an index had a log stays yanked in it, and readers
// believe it: they take a line's flags from the leaves alone.
func TestYanksFromBeforeTheLog(t *testing.T) {
	b, ctx := oldYanks(t), context.Background()
	lines := b.file("to/ol/tool")
	b.must(b.open().SetConfig(ctx, b.config()))
	if now := b.file("to/ol/tool"); !bytes.Equal(now, lines) {
		t.Errorf("lines\n%s\nbecame\n%s", lines, now)
	}
	if report := b.fsckClean(); report.Leaves != 5 {
		t.Errorf("%d leaves, want those of the config and of four statements", report.Leaves)
	}
	for _, policy := range []*attest.Policy{b.in.Policy, nil} {
		r, err := b.open().Reader(ctx, Reading{Policy: policy, Now: b.now})
		b.must(err)
		for version, want := range map[string][]string{"1.0.0": nil, "1.1.0": {"CVE-2026-1"}, "1.2.0": nil} {
			e, err := r.Lookup(ctx, "tool", version)
			b.must(err)
			b.must(r.CheckEntry(ctx, e))
			if e.Yanked != (version == "1.0.0") || len(e.Advisories) != len(want) {
				t.Errorf("%s: yanked %t, advisories %v", version, e.Yanked, e.Advisories)
			}
		}
	}
}

// A log is not given to an index whose flags it could not account for: every
// reader would refuse the package from then on.
func TestYanksWithoutAStatementGetNoLog(t *testing.T) {
	ctx := context.Background()
	flagged := oldYanks(t)
	path := filepath.Join(flagged.dir, "to/ol/tool")
	at := bytes.LastIndex(flagged.file("to/ol/tool"), []byte(`"yanked":false`))
	lines := flagged.file("to/ol/tool")
	flagged.must(os.WriteFile(path, append(append(bytes.Clone(lines[:at]), `"yanked":true`...), lines[at+len(`"yanked":false`):]...), 0o644))
	flagged.code(flagged.open().SetConfig(ctx, flagged.config()), fault.Unyanked)

	unsigned := oldYanks(t)
	statements, err := filepath.Glob(filepath.Join(unsigned.dir, "statements/*"))
	unsigned.must(err)
	for _, file := range statements {
		data, err := os.ReadFile(file)
		unsigned.must(err)
		e, err := attest.ParseEnvelope(file, data)
		unsigned.must(err)
		kept, err := e.Retain(unsigned.in.Policy.SignerKeys()[:1])
		unsigned.must(err)
		unsigned.must(os.WriteFile(file, kept, 0o644))
	}
	unsigned.code(unsigned.open().SetConfig(ctx, unsigned.config()), fault.SignatureInvalid)

	for _, b := range []*bench{flagged, unsigned} {
		if c, err := b.open().Config(); err != nil || c.Log != nil {
			t.Error("it has a log")
		}
		if _, err := os.Stat(filepath.Join(b.dir, "checkpoint")); err == nil {
			t.Error("there is a checkpoint")
		}
	}
}
