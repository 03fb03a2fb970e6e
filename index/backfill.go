package index

import (
	"bytes"
	"context"
	"fmt"

	"golang.org/x/mod/sumdb/note"

	"rebuild/attest"
	"rebuild/internal/fault"
	"rebuild/store"
)

// BackfillOptions say what a backfill may do.
type BackfillOptions struct {
	Write bool // false: only report
	// AcceptUnlogged signs lines that no leaf of the log is about too: nobody
	// but the files says that they are what was published.
	AcceptUnlogged bool
}

// BackfillReport is what a backfill found and did.
type BackfillReport struct {
	TotalVersions  int          `json:"total_versions"`
	UnsignedBefore int          `json:"unsigned_before"`
	UnsignedAfter  int          `json:"unsigned_after"`
	Backfilled     int          `json:"backfilled"` // without Write: that would be
	Unlogged       []string     `json:"unlogged"`   // NAME@VERSION of unsigned lines that no leaf is about
	DryRun         bool         `json:"dry_run"`
	KeyID          attest.KeyID `json:"key_id"`
}

// Backfill signs lines that were published without a signature: who publishes
// nothing again gets it for what is there. A line is signed only if the
// archive in the index has the hash that the line says (CKSUM_MISMATCH,
// FILE_MISSING), and the line is the one under the log's last view
// (VIEW_MISMATCH) and a leaf is about it; AcceptUnlogged does without the leaf.
// All lines are looked at before the first is signed.
//
// Each line that is signed becomes a leaf and says backfilled; lines that were
// signed keep every byte. An index key's signature is no vote, and changes
// nothing in what a policy says of the version.
func (x *Index) Backfill(ctx context.Context, o BackfillOptions) (*BackfillReport, error) {
	if x.in.Key == nil {
		return nil, fault.New(fault.Usage, "no key to sign lines with").WithHint("give --index-key FILE")
	}
	r := &BackfillReport{Unlogged: []string{}, DryRun: !o.Write, KeyID: x.in.Key.Public().ID()}
	work := func(t *turn) error { return t.backfill(ctx, o, r) }
	if o.Write {
		return r, x.turn(ctx, nil, work)
	}
	t, err := x.look(ctx)
	if err != nil {
		return nil, err
	}
	return r, work(t)
}

func (t *turn) backfill(ctx context.Context, o BackfillOptions, r *BackfillReport) error {
	all, err := packages(t.x.fsys)
	if err != nil {
		return writeFault(err)
	}
	p, err := t.begin()
	if err != nil {
		return err
	}
	if err := p.checkIndexKey(t.x.in.Key.Public()); err != nil {
		return err
	}
	due := map[string][]*Entry{} // what is to be signed, by package
	for _, name := range all {
		if due[name], err = p.unsigned(name, o, r); err != nil {
			return err
		}
	}
	r.UnsignedAfter = r.UnsignedBefore
	for _, name := range all {
		if len(due[name]) == 0 {
			continue
		}
		r.Backfilled += len(due[name])
		if o.Write {
			if err := t.backfillPackage(ctx, name, due[name]); err != nil {
				return err
			}
			r.UnsignedAfter -= len(due[name])
		}
	}
	return nil
}

// unsigned returns the lines of a package that are to be signed.
func (p *publication) unsigned(name string, o BackfillOptions, r *BackfillReport) ([]*Entry, error) {
	lines, err := p.lines(name)
	if err != nil {
		return nil, err
	}
	var due []*Entry
	r.TotalVersions += len(lines.entries)
	for _, e := range lines.entries {
		if e.Signature != nil {
			continue
		}
		r.UnsignedBefore++
		covered, err := p.covered(e)
		if err != nil {
			return nil, err
		}
		if !covered {
			r.Unlogged = append(r.Unlogged, e.Name+"@"+e.Version)
		}
		if !covered && !o.AcceptUnlogged {
			continue
		}
		if err := p.t.x.checkArchive(e); err != nil {
			return nil, err
		}
		due = append(due, e)
	}
	return due, nil
}

// covered says whether a leaf of the log is about the line: it stands where the
// line says, and is of this very line or of the release that it names.
func (p *publication) covered(e *Entry) (bool, error) {
	if !p.logged() || e.Seq == nil {
		return false, nil
	}
	c, err := p.t.x.readChain(packageChain + e.Name)
	if err != nil {
		return false, err
	}
	entered := e.asEntered()
	for _, leaf := range c.events {
		if leaf.Seq == *e.Seq {
			return leaf.Type == attest.EventRelease && leaf.Object == e.Release || leaf.Type == attest.EventEntry && leaf.Object == entered, nil
		}
	}
	return false, nil
}

// checkArchive wants the archive of a line to be here, with its hash.
func (x *Index) checkArchive(e *Entry) error {
	_, err := x.object(store.Digest("sha256:"+e.Cksum), maxObject)
	if code := fault.CodeOf(err); code == fault.CksumMismatch || code == fault.FileMissing {
		return fault.New(code, "%s@%s: %w", e.Name, e.Version, err).
			WithHint("bring the archive back from a mirror; what is not there is not signed for")
	}
	return err
}

// backfillPackage signs lines of one package, in one publication.
func (t *turn) backfillPackage(ctx context.Context, name string, due []*Entry) error {
	p, err := t.begin()
	if err != nil {
		return err
	}
	lines, err := p.lines(name)
	if err != nil {
		return err
	}
	for _, d := range due {
		if err := p.backfill(ctx, lines, d.Version); err != nil {
			return err
		}
	}
	return p.commit(ctx)
}

// backfill signs one line and logs it.
func (p *publication) backfill(ctx context.Context, lines *lineFile, version string) error {
	e, err := lines.find(version)
	if err != nil {
		return err
	}
	if err := p.sign(e); err != nil {
		return err
	}
	e.Backfilled = true
	if err := p.putLines(lines); err != nil || !p.logged() {
		return err
	}
	line, err := e.Encode()
	if err != nil {
		return err
	}
	_, err = p.log(ctx, attest.Event{Chain: packageChain + e.Name, Type: attest.EventBackfill, Object: store.DigestOf(line), By: p.keyID()})
	return err
}

// SignCheckpoint dates the log's checkpoint anew, so that clients who ask for
// a young one are content, and adds the cosignatures of witnesses: cosigned
// are checkpoints of the same tree that they have signed. Cosignatures that
// the checkpoint had are kept. head is written with it.
func (x *Index) SignCheckpoint(ctx context.Context, cosigned ...[]byte) error {
	return x.turn(ctx, nil, func(t *turn) error {
		switch {
		case t.config.Log == nil:
			return fault.New(fault.Usage, "index %s has no log", x.dir).
				WithHint("give it one with: rebuild index config --origin NAME --log-key FILE")
		case t.tip == nil:
			return fault.New(fault.ViewMismatch, "the log of %s has no leaf", x.dir).WithHint("run: rebuild index fsck %s", x.dir)
		}
		signed, err := t.dated(ctx, cosigned)
		if err != nil {
			return err
		}
		proof, err := proveIs(ctx, x.src, t.tip.checkpoint, t.tip.Seq, t.tip.leaf)
		if err != nil {
			return err
		}
		// Both say the same of the tree; a crash between them leaves the head
		// with the older date.
		return x.replaceInOrder([]string{checkpointFile, headFile}, map[string][]byte{
			checkpointFile: signed, headFile: encodeHead(t.tip.leaf, t.tip.Seq, proof, signed),
		})
	})
}

// dated returns the checkpoint with a date of now.
func (t *turn) dated(ctx context.Context, cosigned [][]byte) ([]byte, error) {
	held, err := readCheckpoint(ctx, t.x.src, t.config)
	if err != nil {
		return nil, writeFault(err)
	}
	if held.Size != t.tip.checkpoint.Size || held.Root != t.tip.checkpoint.Root {
		return nil, fault.New(fault.ViewMismatch, "%s is of %d leaves with root %s, %s of %d with %s", checkpointFile, held.Size, held.Root,
			headFile, t.tip.checkpoint.Size, t.tip.checkpoint.Root).WithHint("run: rebuild index fsck %s", t.x.dir)
	}
	text, lines, err := splitNote(held.Note)
	if err != nil {
		return nil, err
	}
	for _, c := range cosigned {
		other, more, err := splitNote(c)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(other, text) {
			return nil, fault.New(fault.EvidenceMismatch, "what was cosigned is another checkpoint than that of the index").
				WithHint("have the witnesses cosign %s as it is now", checkpointFile)
		}
		lines = append(lines, more...)
	}
	log, dated, err := attest.LogSigners(t.config.Log.Origin, t.x.in.LogKey, t.x.in.Now)
	if err != nil {
		return nil, err
	}
	signed, err := note.Sign(&note.Note{Text: string(text)}, log, dated)
	if err != nil {
		return nil, writeFault(err)
	}
	own := fmt.Appendf(nil, "— %s ", t.config.Log.Origin)
	seen := map[string]bool{}
	for _, line := range lines {
		if !bytes.HasPrefix(line, own) && !seen[string(line)] {
			seen[string(line)] = true
			signed = append(append(signed, line...), '\n')
		}
	}
	trusted, err := attest.PinnedLog(t.config.Log.Origin, t.config.Log.Key)
	if err != nil {
		return nil, err
	}
	_, err = trusted.OpenCheckpoint(signed)
	return signed, err
}

// splitNote returns the text of a signed note and its signature lines.
func splitNote(data []byte) (text []byte, lines [][]byte, err error) {
	text, block, found := bytes.Cut(data, []byte("\n\n"))
	block, ended := bytes.CutSuffix(block, []byte("\n"))
	if !found || !ended {
		return nil, nil, fault.New(fault.Parse, "not a signed checkpoint").
			WithHint("give the file checkpoint of the index, as a witness has cosigned it")
	}
	return append(bytes.Clone(text), '\n'), bytes.Split(block, []byte("\n")), nil
}
