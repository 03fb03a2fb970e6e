package index

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/fault"
)

func (b *bench) file(name string) []byte {
	b.t.Helper()
	data, err := os.ReadFile(filepath.Join(b.dir, name))
	b.must(err)
	return data
}

// A18: config.json advertises keys under the names that others read.
func TestA18ConfigAdvertisesKeys(t *testing.T) {
	b := plainBench(t).quick().init()
	k := attesttest.Key("index").Public()
	want := fmt.Sprintf(`"signing":{"kind":"ed25519","public_keys":[{"ed25519_pub":"%s","id":"%s"}]}`, k, k.ID())
	if got := b.file(configFile); !bytes.Contains(got, []byte(want)) {
		t.Errorf("%s", got)
	}
}

// A19, A29: one line per version, with the names that others read, and yanked
// always there.
func TestA19EntryLine(t *testing.T) {
	b := plainBench(t).quick().init()
	_, _, err := b.open().AddPackage(context.Background(), pkgOf(t, "abc", "1.0.0"))
	b.must(err)
	e := b.entry("abc", "1.0.0")
	want := fmt.Sprintf(`{"assurance":"none","cksum":"%s","name":"abc","schema_version":"rebuild.index-entry@1.0.0","seq":1,`+
		`"signature":{"ed25519_sig":"%s","key_id":"%s","kind":"ed25519"},"version":"1.0.0","yanked":false}`+"\n",
		e.Cksum, e.Signature.Sig, attesttest.Key("index").Public().ID())
	if got := string(b.file("3/a/abc")); got != want {
		t.Errorf("%s", got)
	}
}

// A21, A22, A23: signing is turned on. What was published stays as it is, byte
// for byte, is shown as unsigned, and needs no publication; what comes is signed.
func TestA23SigningIsTurnedOn(t *testing.T) {
	ctx := context.Background()
	b := plainBench(t).quick()
	unsigned := b.config()
	unsigned.Signing = nil
	b.must(initIndex(ctx, b.disk, b.dir, unsigned, b.in))
	b.unsigned("tool", "1.0.0")
	_, _, err := b.open().AddPackage(ctx, pkgOf(t, "tool", "2.0.0"))
	b.code(err, fault.IndexUnsigned)
	before := b.file("to/ol/tool")
	b.must(b.open().SetConfig(ctx, b.config()))
	_, _, err = b.open().AddPackage(ctx, pkgOf(t, "tool", "2.0.0"))
	b.must(err)
	after := b.file("to/ol/tool")
	if !bytes.HasPrefix(after, before) || len(after) == len(before) {
		t.Errorf("%s\nbecame\n%s", before, after)
	}
	b.fsckClean()
	r, err := b.open().Reader(ctx, Reading{Policy: b.in.Policy, Now: b.now})
	b.must(err)
	for version, want := range map[string]fault.Code{"1.0.0": fault.EntryUnsigned, "2.0.0": fault.QuorumPending} {
		_, _, err := r.Verify(ctx, "tool", version)
		b.code(err, want)
	}
}

// A24, H3, H10: a missing signature is added once, by a leaf; it is no vote.
func TestH3BackfilledSignatureIsNoVote(t *testing.T) {
	ctx := context.Background()
	b := plainBench(t).quick().init()
	b.unsigned("tool", "1.0.0")
	_, _, err := b.open().AddPackage(ctx, pkgOf(t, "tool", "2.0.0"))
	b.must(err)
	_, signed, _ := bytes.Cut(b.file("to/ol/tool"), []byte("\n"))
	before := listing(t, b.dir)
	dry, err := b.open().Backfill(ctx, BackfillOptions{})
	b.must(err)
	if listing(t, b.dir) != before || !dry.DryRun || dry.Backfilled != 1 || dry.UnsignedAfter != 1 {
		t.Errorf("a dry run wrote, or said %+v", dry)
	}
	r, err := b.open().Backfill(ctx, BackfillOptions{Write: true})
	b.must(err)
	if r.TotalVersions != 2 || r.UnsignedBefore != 1 || r.UnsignedAfter != 0 || r.Backfilled != 1 || len(r.Unlogged) != 0 || r.DryRun ||
		r.KeyID != attesttest.Key("index").Public().ID() {
		t.Errorf("%+v", r)
	}
	if _, now, _ := bytes.Cut(b.file("to/ol/tool"), []byte("\n")); !bytes.Equal(now, signed) {
		t.Error("a line that was signed has changed")
	}
	e := b.entry("tool", "1.0.0")
	if !e.Backfilled || e.Assurance != AssuranceNone || e.Signature == nil || *e.Seq != 1 {
		t.Errorf("%+v", e)
	}
	c, err := b.open().readChain("pkg:tool")
	b.must(err)
	if last := c.events[len(c.events)-1]; last.Type != attest.EventBackfill {
		t.Errorf("%+v", last)
	}
	again, err := b.open().Backfill(ctx, BackfillOptions{Write: true})
	b.must(err)
	if again.Backfilled != 0 {
		t.Errorf("%+v", again)
	}
	reader, err := b.open().Reader(ctx, Reading{Policy: b.in.Policy, Now: b.now})
	b.must(err)
	_, _, err = reader.Verify(ctx, "tool", "1.0.0")
	b.code(err, fault.QuorumPending)
}

// G28: neither an exchanged archive nor an exchanged cksum is signed for.
func TestG28BackfillOfWhatWasExchanged(t *testing.T) {
	ctx := context.Background()
	b := plainBench(t).quick().init()
	b.unsigned("tool", "1.0.0")
	b.unsigned("other", "1.0.0")
	e, other := b.entry("tool", "1.0.0"), b.entry("other", "1.0.0")
	line := b.file("to/ol/tool")
	b.must(os.WriteFile(filepath.Join(b.dir, "to/ol/tool"), bytes.Replace(line, []byte(e.Cksum), []byte(other.Cksum), 1), 0o644))
	_, err := b.open().Backfill(ctx, BackfillOptions{Write: true, AcceptUnlogged: true})
	b.code(err, fault.ViewMismatch)
	b.must(os.WriteFile(filepath.Join(b.dir, "to/ol/tool"), line, 0o644))
	archive := filepath.Join(b.dir, "objects/sha256", e.Cksum)
	b.must(os.WriteFile(archive, []byte("another"), 0o644))
	_, err = b.open().Backfill(ctx, BackfillOptions{Write: true})
	b.code(err, fault.CksumMismatch)
	b.must(os.Remove(archive))
	_, err = b.open().Backfill(ctx, BackfillOptions{Write: true})
	b.code(err, fault.FileMissing)
}

// H1, H2: publications are appended, the latest by the log and the latest by
// SemVer are two things, and a date is none of them.
func TestH2LatestByLogAndByVersion(t *testing.T) {
	ctx := context.Background()
	b := plainBench(t).quick().init()
	b.statements()
	b.publish(b.propose("0.1.0", "0.2.0"))
	first := b.file("he/ll/hello")
	b.publish(b.propose()) // 0.1.0 comes later
	if after := b.file("he/ll/hello"); !bytes.HasPrefix(after, first) {
		t.Error("a line has changed")
	}
	r, err := b.open().Reader(ctx, Reading{Policy: b.in.Policy, Now: b.now})
	b.must(err)
	e, err := r.Lookup(ctx, "hello", "")
	b.must(err)
	if e.Version != "0.2.0" {
		t.Errorf("the latest version is %s", e.Version)
	}
	flat, err := b.open().flatten(1 << 20)
	b.must(err)
	if text := string(flat.pages["entries.json"]); strings.Index(text, `"version":"0.1.0"`) < strings.Index(text, `"version":"0.2.0"`) {
		t.Errorf("%s", text)
	}
}

// F2: a dissent that is logged after the proposal blocks the release, and can
// not be left out.
func TestF2DissentBetweenProposalAndPublication(t *testing.T) {
	ctx := context.Background()
	b := plainBench(t).quick().init()
	_, err := b.open().AddStatements(ctx, b.PlanJSON, [][]byte{b.Statement("east", nil), b.Statement("north", nil)})
	b.must(err)
	d := b.propose()
	b.must(b.open().Check(ctx, d.Bundle, d.archive))
	dissent := b.Statement("west", func(r *attest.Result) { r.Stages[1].Tree = r.Stages[0].Tree })
	_, _, err = b.open().AddStatement(ctx, b.PlanJSON, dissent)
	b.must(err)
	_, _, err = b.open().Publish(ctx, d.Bundle, d.archive)
	b.code(err, fault.Dissent)
	e, err := attest.ParseEnvelope("dissent", dissent)
	b.must(err)
	b.must(os.Remove(filepath.Join(b.dir, statementPath(e.Digest()))))
	_, _, err = b.open().Publish(ctx, d.Bundle, d.archive)
	b.code(err, fault.FileMissing)
}

// F10: what witnesses cosign is put into the checkpoint and the head; until
// then nobody who wants witnesses is content, and nothing else is taken for it.
func TestF10WitnessesCosign(t *testing.T) {
	ctx := context.Background()
	b := plainBench(t).quick().init()
	b.PolicyTOML = strings.Replace(attesttest.Policy(attesttest.LogPolicy(1, "w1", "w2")), "groups.main", "require = { logged = true }\ngroups.main", 1)
	b.in.Policy = b.LoadPolicy()
	b.statements()
	ev, err := b.open().Evidence(ctx, b.Plan.Digest())
	b.must(err)
	_, err = ev.Chain(b.in.Policy)
	b.code(err, fault.Unwitnessed)
	b.must(b.open().SignCheckpoint(ctx, b.cosigned("w2")))
	first := b.file(checkpointFile)
	b.must(b.open().SignCheckpoint(ctx, b.cosigned("w2"))) // the same again
	if !bytes.Equal(b.file(checkpointFile), first) {
		t.Error("the same cosignature again changed something")
	}
	d := b.propose()
	b.publish(d)
	whole, err := b.open().Released(ctx, d.Bundle)
	b.must(err)
	_, err = attest.NewPublication(b.in.Policy, whole, d.archive, b.now)
	b.code(err, fault.Unwitnessed) // the new checkpoint has none yet
	b.code(b.open().SignCheckpoint(ctx, first), fault.EvidenceMismatch)
	b.must(b.open().SignCheckpoint(ctx, b.cosigned("w1")))
	whole, err = b.open().Released(ctx, d.Bundle)
	b.must(err)
	_, err = attest.NewPublication(b.in.Policy, whole, d.archive, b.now)
	b.must(err)
	b.fsckClean()
}

// cosigned is the checkpoint as a witness sends it back.
func (b *bench) cosigned(witness string) []byte {
	b.t.Helper()
	text, _, err := splitNote(b.file(checkpointFile))
	b.must(err)
	out, err := note.Sign(&note.Note{Text: string(text)}, attesttest.NoteSigner{As: witness + ".example", Key: witness, At: b.now})
	b.must(err)
	return out
}

// A policy update is logged once, in the chain of its policy.
func TestPolicyUpdatesAreLogged(t *testing.T) {
	ctx := context.Background()
	b := plainBench(t).quick().init()
	next, signed := nextPolicy(b)
	update, err := attest.NewPolicyUpdate(b.in.Policy, next)
	b.must(err)
	unsigned, err := attest.Sign(update.Payload(), attesttest.Key("stranger"))
	b.must(err)
	_, _, err = b.open().AddPolicy(ctx, next, unsigned)
	b.code(err, fault.KeyUnknown)
	for _, again := range []bool{false, true} {
		e, duplicate, err := b.open().AddPolicy(ctx, next, signed)
		b.must(err)
		if duplicate != again || e.Seq != 1 || e.Chain != "policy:demo" {
			t.Errorf("%+v %t", e, duplicate)
		}
	}
	b.fsckClean()
}

// Signatures that come later are added, those of strangers are not kept, and
// nothing else changes.
func TestMoreSignaturesOfARelease(t *testing.T) {
	ctx := context.Background()
	b := plainBench(t).quick().init()
	b.statements()
	d := b.propose()
	b.publish(d)
	e := b.entry("hello", "0.1.0")
	more, err := attest.SignRelease(b.in.Policy, d.Release, d.Evidence, b.now, attesttest.Key("stranger"))
	b.must(err)
	head := b.file(headFile)
	with := *d.Bundle
	with.Release = more
	_, duplicate, err := b.open().Publish(ctx, &with, d.archive)
	b.must(err)
	if !duplicate || !bytes.Equal(b.file(statementPath(e.Release)), d.Release) || !bytes.Equal(b.file(headFile), head) {
		t.Error("a stranger's signature was kept, or something else has changed")
	}
}
