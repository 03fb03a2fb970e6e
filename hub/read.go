package hub

import (
	"context"
	"io"
	"math"
	"net/http"
	"strconv"

	"rebuild/attest"
	"rebuild/index"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/internal/names"
	"rebuild/store"
)

// Listing is what GET /entries and GET /entries/NAME answer: entries of the
// index, the newest first. Next is the path of the page that follows, "" on the
// last.
type Listing struct {
	SchemaVersion string   `json:"schema_version"`
	Entries       []Listed `json:"entries"`
	Next          string   `json:"next,omitempty"`
}

// Listed is an entry as its line is, with the state of its package.
type Listed struct {
	index.Entry
	State string `json:"state"` // attest.PackageVerified and its likes; the hub's word
}

const (
	defaultPage = 100
	maxPage     = 1000
)

// listAll answers with a page of all entries: ?before=PLACE and &limit=N.
func (h *Hub) listAll(ctx context.Context, c *call) (*answer, error) {
	before, err := number(c.URL.Query().Get("before"), math.MaxInt64)
	if err != nil {
		return nil, err
	}
	limit, err := number(c.URL.Query().Get("limit"), defaultPage)
	if err != nil {
		return nil, err
	}
	if limit < 1 || limit > maxPage {
		return nil, fault.New(fault.Usage, "limit is 1 to %d", maxPage)
	}
	if err := h.catalog.sync(ctx, false); err != nil {
		return nil, err
	}
	page, err := h.catalog.last(ctx, before, int(limit)+1)
	if err != nil {
		return nil, err
	}
	next := ""
	if len(page) > int(limit) {
		page = page[:limit]
		next = "/entries?before=" + strconv.FormatInt(page[limit-1].pos, 10) + "&limit=" + strconv.FormatInt(limit, 10)
	}
	return h.list(ctx, c, page, next)
}

func number(text string, otherwise int64) (int64, error) {
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fault.New(fault.Usage, "%.40q is not a number", text)
	}
	return n, nil
}

// list answers with entries. Those of a package that was withdrawn are left out:
// the list is no way around it. A page may so be shorter than it was asked for.
func (h *Hub) list(ctx context.Context, c *call, page []listed, next string) (*answer, error) {
	withheld, err := h.files.withheldNow()
	if err != nil {
		return nil, fault.New(fault.Internal, "%w", err)
	}
	l := Listing{SchemaVersion: document.Listing.ID(), Entries: []Listed{}, Next: next}
	for _, found := range page {
		e, err := index.ParseEntry("entry", found.line)
		if err != nil {
			return nil, fault.New(fault.Internal, "%w", err)
		}
		path, err := index.LinePath(e.Name)
		if err != nil {
			return nil, fault.New(fault.Internal, "%w", err)
		}
		if withheld[path] != 0 {
			continue
		}
		state, err := h.stateOf(ctx, e)
		if err != nil {
			return nil, err
		}
		l.Entries = append(l.Entries, Listed{*e, state})
	}
	c.w.Header().Set("Cache-Control", minute)
	return inJSON(http.StatusOK, l)
}

// ofPackage returns the entries of the package that a path names, the newest
// first; a package without any is 404, one that was withdrawn 410 or 451.
func (h *Hub) ofPackage(ctx context.Context, name string) ([]listed, error) {
	path, err := index.LinePath(name)
	if err != nil {
		return nil, noFile(name)
	}
	if err := h.files.withheld(path); err != nil {
		return nil, err
	}
	if err := h.catalog.sync(ctx, false); err != nil {
		return nil, err
	}
	found, err := h.catalog.of(ctx, name)
	if err == nil && len(found) == 0 {
		err = fault.New(fault.IndexNoMatch, "there is no package %s", name)
	}
	return found, err
}

func (h *Hub) listPackage(ctx context.Context, c *call) (*answer, error) {
	found, err := h.ofPackage(ctx, c.args[0])
	if err != nil {
		return nil, err
	}
	return h.list(ctx, c, found, "")
}

// version answers with the bytes that were posted: the envelope of the release.
// A version that has none answers with its line. RELEASE/snapshot is told apart
// by its colon, which no name has.
func (h *Hub) version(ctx context.Context, c *call) (*answer, error) {
	if c.args[1] == "snapshot" {
		return h.snapshot(ctx, c)
	}
	if names.Version(c.args[1]) != nil {
		return nil, noFile(c.args[1])
	}
	found, err := h.ofPackage(ctx, c.args[0])
	if err != nil {
		return nil, err
	}
	for _, l := range found {
		e, err := index.ParseEntry("entry", l.line)
		if err != nil {
			return nil, fault.New(fault.Internal, "%w", err)
		}
		if names.CompareVersions(e.Version, c.args[1]) == 0 {
			return h.posted(ctx, c, e, l.line)
		}
	}
	return nil, fault.New(fault.IndexNoMatch, "%s has no version %s", c.args[0], c.args[1])
}

func (h *Hub) posted(ctx context.Context, c *call, e *index.Entry, line []byte) (*answer, error) {
	state, err := h.stateOf(ctx, e)
	if err != nil {
		return nil, err
	}
	c.w.Header().Set("Cache-Control", minute)
	c.w.Header().Set(StateHeader, state)
	if e.Release == "" {
		return &answer{http.StatusOK, jsonType, append(line, '\n')}, nil
	}
	if err := h.files.withheld(statementPath(e.Release)); err != nil {
		return nil, err
	}
	raw, err := h.catalog.envelope(e.Release)
	if err != nil {
		return nil, err
	}
	return &answer{http.StatusOK, envelopeType, raw}, nil
}

// snapshot hands out the archive of a release.
func (h *Hub) snapshot(ctx context.Context, c *call) (*answer, error) {
	d, err := c.digest()
	if err != nil {
		return nil, err
	}
	if err := h.files.withheld(statementPath(d)); err != nil {
		return nil, err
	}
	if err := h.catalog.sync(ctx, false); err != nil {
		return nil, err
	}
	found, err := h.catalog.byRelease(ctx, d)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fault.New(fault.IndexNoMatch, "there is no release %s", d)
	}
	e, err := index.ParseEntry("entry", found[0].line)
	if err != nil {
		return nil, fault.New(fault.Internal, "%w", err)
	}
	return nil, h.files.send(c.w, c.Request, objectPath(store.Digest("sha256:"+e.Cksum)), index.Served{Type: "application/x-tar", Immutable: true})
}

// object answers whether an object is here, to HEAD, and with its bytes.
func (h *Hub) object(ctx context.Context, c *call) (*answer, error) {
	d, err := c.digest()
	if err != nil {
		return nil, err
	}
	if err := h.files.withheld(objectPath(d)); err != nil {
		return nil, err
	}
	if h.indexed(d) {
		return nil, h.files.send(c.w, c.Request, objectPath(d), index.Served{Type: "application/octet-stream", Immutable: true})
	}
	file, err := h.staging.open(ctx, d)
	if err != nil {
		return nil, missing(err, "object", d)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fault.New(fault.Internal, "%w", err)
	}
	stream(c, file, info.Size(), d)
	return nil, nil
}

// stream answers with an upload, which was hashed when it came in.
func stream(c *call, file io.Reader, size int64, d store.Digest) {
	head := c.w.Header()
	head.Set("ETag", `"`+d.Hex()+`"`)
	head.Set("Cache-Control", "no-cache")
	if matches(c.Header.Get("If-None-Match"), head.Get("ETag")) {
		c.w.WriteHeader(http.StatusNotModified)
		return
	}
	head.Set("Content-Type", "application/octet-stream")
	head.Set("Content-Length", strconv.FormatInt(size, 10))
	c.w.WriteHeader(http.StatusOK)
	if c.Method != http.MethodHead {
		_, _ = io.CopyN(c.w, file, size) // a short body breaks the connection, and so is seen
	}
}

func missing(err error, what string, d store.Digest) error {
	if absent(err) {
		return refuse(http.StatusNotFound, fault.New(fault.FileMissing, "there is no %s %s", what, d))
	}
	return err
}

// readPlan returns the plan that a path names, as it was posted.
func (h *Hub) readPlan(ctx context.Context, c *call) ([]byte, *attest.Plan, error) {
	d, err := c.digest()
	if err != nil {
		return nil, nil, err
	}
	if err := h.files.withheld(objectPath(d)); err != nil {
		return nil, nil, err
	}
	data, err := h.held(ctx, d, document.Plan.MaxBytes)
	if fault.CodeOf(err) == fault.Parse { // an object, and too large for a plan
		return nil, nil, noFile(string(d))
	}
	if err != nil {
		return nil, nil, missing(err, "plan", d)
	}
	plan, err := attest.DecodePlan("plan", data)
	if err != nil {
		return nil, nil, refuse(http.StatusNotFound, fault.New(fault.FileMissing, "%s is not a plan", d))
	}
	return data, plan, nil
}

func (h *Hub) plan(ctx context.Context, c *call) (*answer, error) {
	data, _, err := h.readPlan(ctx, c)
	if err != nil {
		return nil, err
	}
	c.w.Header().Set("Cache-Control", forever)
	return &answer{http.StatusOK, jsonType, data}, nil
}

// events answers with the plan's chain.
func (h *Hub) events(ctx context.Context, c *call) (*answer, error) {
	ev, err := h.chain(ctx, c)
	if err != nil {
		return nil, err
	}
	return &answer{http.StatusOK, linesType, ev.Events}, nil
}

// proof answers with the proof that the last leaf of the plan's chain is in the
// log. Who asks for both may get an older chain than proof, and asks again.
func (h *Hub) proof(ctx context.Context, c *call) (*answer, error) {
	ev, err := h.chain(ctx, c)
	if err != nil {
		return nil, err
	}
	return &answer{http.StatusOK, plainType, ev.Proof}, nil
}

func (h *Hub) chain(ctx context.Context, c *call) (attest.BuildEvidence, error) {
	data, _, err := h.readPlan(ctx, c)
	if err != nil {
		return attest.BuildEvidence{}, err
	}
	ev, err := h.known(ctx, data)
	if err == nil && ev.Events == nil {
		err = fault.New(fault.IndexNoMatch, "nothing is logged about plan %s", store.DigestOf(data))
	}
	return ev, err
}

// Verdict is what the hub's policy makes of a plan: information, and nothing
// that a reader should believe.
type Verdict struct {
	Plan           store.Digest              `json:"plan"`
	Policy         store.Digest              `json:"policy"`
	State          attest.State              `json:"state"`
	Outputs        store.Digest              `json:"outputs,omitempty"`
	Operators      []attest.OperatorAccount  `json:"operators"`
	Statements     []attest.StatementAccount `json:"statements"`
	Contradictions []attest.Contradiction    `json:"contradictions,omitempty"`
	Shortfalls     []attest.Shortfall        `json:"shortfalls,omitempty"`
	Log            *attest.LogAccount        `json:"log,omitempty"`
}

func (h *Hub) verdict(ctx context.Context, c *call) (*answer, error) {
	data, plan, err := h.readPlan(ctx, c)
	if err != nil {
		return nil, err
	}
	ev, err := h.known(ctx, data)
	if err != nil {
		return nil, err
	}
	chain, err := ev.Chain(h.policy)
	if err != nil {
		return nil, err
	}
	v, err := attest.Judge(h.policy, plan, ev.Statements, chain, nil, h.now())
	if err != nil {
		return nil, err
	}
	return inJSON(http.StatusOK, Verdict{v.Plan(), v.Policy(), v.State(), v.Outputs(), v.Operators(), v.Statements(), v.Contradictions(), v.Shortfalls(), v.Log()})
}

// bundle answers with the bundle of the newest release that a plan led to.
func (h *Hub) bundle(ctx context.Context, c *call) (*answer, error) {
	d, err := c.digest()
	if err != nil {
		return nil, err
	}
	if err := h.catalog.sync(ctx, false); err != nil {
		return nil, err
	}
	found, err := h.catalog.byPlan(ctx, d)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fault.New(fault.IndexNoMatch, "no release came of plan %s yet", d)
	}
	e, err := index.ParseEntry("entry", found[0].line)
	if err != nil {
		return nil, fault.New(fault.Internal, "%w", err)
	}
	if err := h.files.withheld(statementPath(e.Release)); err != nil {
		return nil, err
	}
	r, err := h.catalog.release(e.Release)
	if err == nil && r == nil {
		err = fault.New(fault.Internal, "release %s is in the index and can not be read", e.Release)
	}
	if err != nil {
		return nil, err
	}
	if err := h.withheldBy(r); err != nil {
		return nil, err
	}
	raw, err := h.catalog.envelope(e.Release)
	if err != nil {
		return nil, err
	}
	b, _, err := h.gather(ctx, raw, r)
	if err != nil {
		return nil, err
	}
	if b, err = h.Index.Released(ctx, b); err != nil {
		return nil, err
	}
	if err := h.withheldIn(b); err != nil {
		return nil, err
	}
	data, err := b.Encode()
	if err != nil {
		return nil, err
	}
	return &answer{http.StatusOK, bundleType, data}, nil
}

// withheldBy is the error for a release that rests on something withdrawn.
func (h *Hub) withheldBy(r *attest.Release) error {
	objects := []store.Digest{r.Lock}
	for _, b := range r.Builds {
		objects = append(objects, b.Plan)
		for _, t := range b.Targets {
			objects = append(objects, t.Manifest)
		}
	}
	for _, d := range objects {
		if err := h.files.withheld(objectPath(d)); err != nil {
			return err
		}
	}
	return nil
}

// withheldIn is the error for a bundle that holds a statement that was
// withdrawn.
func (h *Hub) withheldIn(b *attest.Bundle) error {
	for _, build := range b.Builds {
		for _, raw := range build.Statements {
			e, err := attest.ParseEnvelope("statement", raw)
			if err != nil {
				return fault.New(fault.Internal, "%w", err)
			}
			if err := h.files.withheld(statementPath(e.Digest())); err != nil {
				return err
			}
		}
	}
	return nil
}
