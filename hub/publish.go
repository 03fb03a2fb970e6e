package hub

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"

	"rebuild/attest"
	"rebuild/index"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// Published is the answer to a release (index.md 9).
type Published struct {
	OK          bool         `json:"ok"`
	Duplicate   bool         `json:"duplicate"` // it was there already
	Name        string       `json:"name"`
	Version     string       `json:"version"`
	Release     store.Digest `json:"release"`
	LogIndex    *int64       `json:"log_index,omitempty"` // of its leaf; absent without a log
	PublishedAt string       `json:"published_at"`
}

// Written is the answer to any other write.
type Written struct {
	OK        bool   `json:"ok"`
	Duplicate bool   `json:"duplicate"`
	Seq       *int64 `json:"seq,omitempty"` // of its leaf; absent for what has none
}

func written(duplicate bool, seq *int64) (*answer, error) {
	status := http.StatusCreated
	if duplicate {
		status = http.StatusOK
	}
	return inJSON(status, Written{true, duplicate, seq})
}

// maxUpload is the largest object: a package archive.
const maxUpload = attest.MaxArchive

// putObject takes an object in. Who sends it is judged by the digest in the
// path, before any of the body is read.
func (h *Hub) putObject(ctx context.Context, c *call) (*answer, error) {
	d, err := store.ParseDigest(c.args[0])
	if err != nil {
		return nil, err
	}
	if c.by, err = h.authorized(c.Request, d); err != nil {
		return nil, err
	}
	c.what = string(d)
	if err := h.files.withheld(objectPath(d)); err != nil {
		return nil, err // or it would be given out from among the uploads
	}
	switch {
	case c.ContentLength > maxUpload:
		return nil, &http.MaxBytesError{Limit: maxUpload}
	case c.ContentLength < 0:
		return nil, refuse(http.StatusLengthRequired, fault.New(fault.Usage, "the size of an object must be announced, in Content-Length"))
	}
	if h.indexed(d) {
		if err := same(d, c.ContentLength, c.Body, io.Discard); err != nil {
			return nil, err
		}
		return written(true, nil)
	}
	duplicate, err := h.staging.receive(ctx, c.by.party, d, c.ContentLength, c.Body)
	if err != nil {
		return nil, err
	}
	return written(duplicate, nil)
}

// indexed says whether the index has an object.
func (h *Hub) indexed(d store.Digest) bool {
	info, err := fs.Stat(h.fsys, objectPath(d))
	return err == nil && info.Mode().IsRegular()
}

// addPlan takes a plan in, for statements to be about.
func (h *Hub) addPlan(ctx context.Context, c *call) (*answer, error) {
	claimed, err := readClaim(c.Request)
	if err == nil { // strangers are not read
		_, _, err = h.writerKey(c.Request, claimed.key, h.now())
	}
	if err != nil {
		return nil, err
	}
	data, err := c.body(document.Plan.MaxBytes)
	if err != nil {
		return nil, err
	}
	d := store.DigestOf(data)
	if c.by, err = h.authorized(c.Request, d); err != nil {
		return nil, err
	}
	c.what = string(d)
	if err := h.files.withheld(objectPath(d)); err != nil {
		return nil, err
	}
	if _, err := attest.DecodePlan("plan", data); err != nil {
		return nil, err
	}
	if h.indexed(d) {
		return written(true, nil)
	}
	duplicate, err := h.staging.receive(ctx, c.by.party, d, int64(len(data)), strings.NewReader(string(data)))
	if err != nil {
		return nil, err
	}
	return written(duplicate, nil)
}

// held returns an object that was uploaded or is in the index; fs.ErrNotExist
// if it is neither.
func (h *Hub) held(ctx context.Context, d store.Digest, limit int64) ([]byte, error) {
	data, err := h.heldBytes(ctx, d, limit)
	if err == nil && store.DigestOf(data) != d {
		err = fault.New(fault.Internal, "object %s has other content", d)
	}
	return data, err
}

func (h *Hub) heldBytes(ctx context.Context, d store.Digest, limit int64) ([]byte, error) {
	file, err := h.openHeld(ctx, d)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, fault.New(fault.Internal, "%w", err)
	}
	if int64(len(data)) > limit {
		return nil, fault.New(fault.Parse, "object %s has more than %d bytes", d, limit)
	}
	return data, nil
}

func (h *Hub) openHeld(ctx context.Context, d store.Digest) (*os.File, error) {
	file, err := h.root.Open(objectPath(d))
	if errors.Is(err, fs.ErrNotExist) {
		file, err = h.staging.open(ctx, d)
	}
	var coded *fault.Error
	if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.As(err, &coded) {
		err = fault.New(fault.Internal, "%w", err)
	}
	return file, err
}

// addStatement takes a statement in. No lease is needed: what any operator says
// about a plan is logged, so that nobody chooses which results there are.
func (h *Hub) addStatement(ctx context.Context, c *call) (*answer, error) {
	raw, err := c.body(attest.MaxEnvelope)
	if err != nil {
		return nil, err
	}
	said, err := attest.ReadClaim(raw)
	if err != nil {
		return nil, err
	}
	planJSON, err := h.held(ctx, said.Plan, document.Plan.MaxBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, refuse(http.StatusNotFound, fault.New(fault.FileMissing, "plan %s is not here", said.Plan).WithHint("send the plan first, to /plans"))
	}
	if err != nil {
		return nil, err
	}
	if err := h.checkStatement(ctx, said.Statement, planJSON, raw); err != nil {
		return nil, err
	}
	c.what = string(said.Statement)
	if !h.logged {
		duplicate, err := h.staging.wait(ctx, operatorParty(said.Operator), said.Plan, said.Statement, raw)
		if err != nil {
			return nil, err
		}
		return written(duplicate, nil)
	}
	var leaf attest.Event
	var duplicate bool
	if err := h.writing(ctx, func() error {
		leaf, duplicate, err = h.Index.AddStatement(ctx, planJSON, raw)
		return err
	}); err != nil {
		return nil, err
	}
	if err := h.staging.drop(ctx, said.Plan); err != nil { // the index has it now
		return nil, err
	}
	return written(duplicate, &leaf.Seq)
}

// checkStatement refuses what could say nothing under the policy: of nobody
// that it knows, by a key that does not count now, or at odds with the plan.
// Everything else is taken, dissent above all.
func (h *Hub) checkStatement(ctx context.Context, digest store.Digest, planJSON, raw []byte) error {
	plan, err := attest.DecodePlan("plan", planJSON)
	if err != nil {
		return err
	}
	account, err := h.accountOf(plan, digest, [][]byte{raw})
	if err == nil && account.Status == attest.StatusRefused {
		// A provenance is judged beside its result, which may be here.
		var known attest.BuildEvidence
		if known, err = h.known(ctx, planJSON); err == nil {
			others := slices.DeleteFunc(known.Statements, func(other []byte) bool { // another envelope of it may be a good one
				e, err := attest.ParseEnvelope("statement", other)
				return err != nil || e.Digest() == digest
			})
			account, err = h.accountOf(plan, digest, append(others, raw))
		}
	}
	if err != nil {
		return err
	}
	switch {
	case account.Status == attest.StatusOutsider && account.Operator == "":
		return fault.New(fault.KeyUnknown, "statement %s is signed by no operator of the policy", digest)
	case account.Status == attest.StatusVoid:
		return fault.New(fault.KeyExpired, "statement %s: %s", digest, account.Why)
	case account.Status == attest.StatusRefused:
		return refuse(http.StatusBadRequest, fault.New(account.Code, "statement %s is refused: %s", digest, account.Why))
	}
	return h.checkAuthor(raw)
}

// checkAuthor wants the signature of the operator whose statement it is: filed
// by its payload, it would keep the author's own envelope out.
func (h *Hub) checkAuthor(raw []byte) error {
	claim, err := attest.ReadClaim(raw)
	if err != nil {
		return err
	}
	e, err := attest.ParseEnvelope("statement", raw)
	if err != nil {
		return err
	}
	signed, err := e.Verify(h.policy.OperatorKeys())
	if err != nil {
		return err
	}
	if by, _ := h.policy.OperatorOf(signed.By()[0]); by != claim.Operator {
		return fault.New(fault.KeyUnknown, "statement %s is of operator %s, and %s has signed it", e.Digest(), claim.Operator, by)
	}
	return nil
}

func (h *Hub) accountOf(plan *attest.Plan, digest store.Digest, statements [][]byte) (attest.StatementAccount, error) {
	heard, err := attest.Hear(h.policy, plan, statements, h.logged, h.now())
	if err != nil {
		return attest.StatementAccount{}, err
	}
	for _, s := range heard {
		if s.Statement == digest {
			return s, nil
		}
	}
	return attest.StatementAccount{}, fault.New(fault.Internal, "statement %s was not judged", digest)
}

// known returns what there is about a plan: what the log has, or without a log
// what waits for its release and what the releases of the plan brought.
func (h *Hub) known(ctx context.Context, planJSON []byte) (attest.BuildEvidence, error) {
	d := store.DigestOf(planJSON)
	if h.logged {
		ev, err := h.Index.Evidence(ctx, d)
		if absent(err) {
			return attest.BuildEvidence{Plan: planJSON}, nil
		}
		return ev, err
	}
	statements, err := h.staging.waiting(ctx, d)
	if err != nil {
		return attest.BuildEvidence{}, err
	}
	released, err := h.released(ctx, d)
	if err != nil {
		return attest.BuildEvidence{}, err
	}
	for _, digest := range released {
		if statements[digest] != nil {
			continue
		}
		if statements[digest], err = h.catalog.envelope(digest); err != nil {
			return attest.BuildEvidence{}, fault.New(fault.Internal, "a statement of a release is not to be read: %w", err)
		}
	}
	ev := attest.BuildEvidence{Plan: planJSON}
	for _, digest := range slices.Sorted(maps.Keys(statements)) {
		ev.Statements = append(ev.Statements, statements[digest])
	}
	return ev, nil
}

// released lists the statements about a plan that came into the index with its
// releases.
func (h *Hub) released(ctx context.Context, plan store.Digest) ([]store.Digest, error) {
	found, err := h.catalog.byPlan(ctx, plan)
	if err != nil {
		return nil, err
	}
	var out []store.Digest
	for _, l := range found {
		e, err := index.ParseEntry("entry", l.line)
		if err != nil {
			return nil, fault.New(fault.Internal, "%w", err)
		}
		r, err := h.catalog.release(e.Release)
		if err != nil {
			return nil, err
		}
		if r == nil {
			continue
		}
		for _, b := range r.Builds {
			if b.Plan == plan {
				out = append(out, b.Statements...)
			}
		}
	}
	return out, nil
}

// absent says whether an error is about something that is not there.
func absent(err error) bool {
	code := fault.CodeOf(err)
	return errors.Is(err, fs.ErrNotExist) || code == fault.IndexNoMatch || code == fault.FileMissing
}

// publish takes a release in, if all that it rests on is here and holds.
func (h *Hub) publish(ctx context.Context, c *call) (*answer, error) {
	raw, err := c.body(attest.MaxEnvelope)
	if err != nil {
		return nil, err
	}
	e, err := attest.ParseEnvelope("release", raw)
	if err != nil {
		return nil, err
	}
	r, err := attest.ReadRelease(h.policy, e)
	if err != nil {
		return nil, err
	}
	c.what = string(e.Digest())
	var entry *index.Entry
	var duplicate bool
	if err := h.writing(ctx, func() error {
		b, archive, err := h.gather(ctx, raw, &r)
		if err != nil {
			return err
		}
		entry, duplicate, err = h.Index.Publish(ctx, b, archive)
		return err
	}); err != nil {
		return nil, err
	}
	// It is published. A failure from here on is told, and sending it again
	// finds it there.
	if err := h.forget(ctx, &r); err != nil {
		return nil, err
	}
	if err := h.catalog.sync(ctx, true); err != nil {
		return nil, err
	}
	status := http.StatusCreated
	if duplicate {
		status = http.StatusOK
	}
	return inJSON(status, Published{true, duplicate, entry.Name, entry.Version, e.Digest(), entry.Seq, r.PublishedAt})
}

// gather makes the bundle of a release from what was uploaded and what the
// index has. What is missing is named, all of it at once.
func (h *Hub) gather(ctx context.Context, raw []byte, r *attest.Release) (*attest.Bundle, []byte, error) {
	g := &gathering{h: h, ctx: ctx}
	b := &attest.Bundle{Release: raw}
	for _, build := range r.Builds {
		b.Builds = append(b.Builds, g.build(&build, r.LogOrigin != ""))
		if r.OCIIndex == "" {
			continue
		}
		for _, t := range build.Targets {
			if manifest := g.object(t.Manifest, maxManifest); manifest != nil {
				b.Objects = append(b.Objects, manifest)
			}
		}
	}
	if r.Lock != "" {
		b.Lock = g.object(r.Lock, document.Lock.MaxBytes)
	}
	archive := g.object(store.Digest("sha256:"+r.Cksum), attest.MaxArchive)
	if g.err == nil && len(g.missing) > 0 {
		slices.Sort(g.missing)
		g.err = refuse(http.StatusUnprocessableEntity, fault.New(fault.FileMissing, "the release rests on %d files that are not here: %s",
			len(g.missing), strings.Join(g.missing, ", ")).With("missing", g.missing).WithHint("send objects, plans and statements first"))
	}
	return b, archive, g.err
}

// maxManifest is the largest image manifest in a bundle.
const maxManifest = 4 << 20

// gathering collects what a release rests on, and what of it is missing.
type gathering struct {
	h       *Hub
	ctx     context.Context
	missing []string
	err     error
}

func (g *gathering) object(d store.Digest, limit int64) []byte {
	if g.err != nil {
		return nil
	}
	data, err := g.h.held(g.ctx, d, limit)
	if errors.Is(err, fs.ErrNotExist) {
		g.missing = append(g.missing, string(d))
		return nil
	}
	g.err = err
	return data
}

// build returns all that is known about a plan, more than the release lists: who
// publishes does not choose what is heard.
func (g *gathering) build(b *attest.ReleaseBuild, logged bool) attest.BuildEvidence {
	plan := g.object(b.Plan, document.Plan.MaxBytes)
	if plan == nil {
		return attest.BuildEvidence{}
	}
	ev, err := g.h.known(g.ctx, plan)
	if g.err = err; err != nil {
		return ev
	}
	if !logged { // its signers have not looked at a log
		ev.Events, ev.Proof = nil, nil
	}
	known := map[store.Digest]bool{}
	for _, raw := range ev.Statements {
		if e, err := attest.ParseEnvelope("statement", raw); err == nil {
			known[e.Digest()] = true
		}
	}
	for _, d := range b.Statements {
		if known[d] {
			continue
		}
		raw, err := g.h.catalog.envelope(d) // of a release that is published
		if errors.Is(err, fs.ErrNotExist) {
			g.missing = append(g.missing, string(d))
			continue
		}
		if g.err = err; err != nil {
			return ev
		}
		ev.Statements = append(ev.Statements, raw)
	}
	return ev
}

// forget removes what waited and came into the index with a published release.
func (h *Hub) forget(ctx context.Context, r *attest.Release) error {
	all := []store.Digest{store.Digest("sha256:" + r.Cksum), r.Lock, r.Package, r.Files, r.Exports}
	for _, b := range r.Builds {
		all = append(all, b.Plan)
		for _, t := range b.Targets {
			all = append(all, t.Manifest)
		}
		for _, d := range b.Statements {
			if err := h.staging.heard(ctx, d); err != nil {
				return err
			}
		}
	}
	for _, d := range all {
		if d != "" && h.indexed(d) {
			if err := h.staging.drop(ctx, d); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxYank is the largest envelope of a yank statement: its payload in base64
// and the signatures.
const maxYank = 64 << 10

// yank takes a yank statement in. One that is there already changes nothing,
// and is told from one that was overtaken by what the index has.
func (h *Hub) yank(ctx context.Context, c *call) (*answer, error) {
	raw, err := c.body(maxYank)
	if err != nil {
		return nil, err
	}
	e, err := attest.ParseEnvelope("yank", raw)
	if err != nil {
		return nil, err
	}
	if _, err := e.Verify(h.policy.SignerKeys()); err != nil {
		return nil, err
	}
	c.what = string(e.Digest())
	var entry *index.Entry
	duplicate := false
	if err := h.writing(ctx, func() error {
		_, statErr := fs.Stat(h.fsys, statementPath(e.Digest()))
		duplicate = statErr == nil
		entry, err = h.Index.Yank(ctx, raw)
		return err
	}); err != nil {
		return nil, err
	}
	if err := h.catalog.sync(ctx, true); err != nil {
		return nil, err
	}
	seq, err := h.yankLeaf(entry.Name, e.Digest())
	if err != nil {
		return nil, err
	}
	return written(duplicate, seq)
}

// yankLeaf finds the place of a yank statement in the log; nil without a log.
func (h *Hub) yankLeaf(name string, statement store.Digest) (*int64, error) {
	if !h.logged {
		return nil, nil
	}
	line, err := index.LinePath(name)
	if err != nil {
		return nil, err
	}
	path := "chains/pkg/" + line + ".jsonl"
	data, err := fs.ReadFile(h.fsys, path)
	if err != nil {
		return nil, fault.New(fault.Internal, "%w", err)
	}
	n := 0
	for leaf := range bytes.Lines(data) {
		n++
		event, err := attest.DecodeEvent(path, n, bytes.TrimSuffix(leaf, []byte("\n")))
		if err != nil {
			return nil, fault.New(fault.Internal, "%w", err)
		}
		if event.Type == attest.EventYank && event.Object == statement {
			return &event.Seq, nil
		}
	}
	return nil, fault.New(fault.Internal, "statement %s is entered and not in %s", statement, path)
}
