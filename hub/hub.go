package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"rebuild/attest"
	"rebuild/index"
	"rebuild/internal/fault"
	"rebuild/store"
)

// Index is the writing of an index, as a hub needs it. The hub calls it from
// one goroutine at a time.
type Index interface {
	// Publish enters a release whose evidence is that of Evidence, and says
	// whether it was there already.
	Publish(ctx context.Context, b *attest.Bundle, archive []byte) (*index.Entry, bool, error)
	// AddStatement enters a statement about a plan into the log.
	AddStatement(ctx context.Context, plan, envelope []byte) (attest.Event, bool, error)
	// Evidence returns what the log has about a plan.
	Evidence(ctx context.Context, plan store.Digest) (attest.BuildEvidence, error)
	Yank(ctx context.Context, envelope []byte) (*index.Entry, error)
	// Released completes the bundle of a published release.
	Released(ctx context.Context, b *attest.Bundle) (*attest.Bundle, error)
}

// Options is what a hub is made of.
type Options struct {
	Index     Index
	Policy    *attest.Policy
	Dir       string // folder of the index
	Origin    string // of the index's log; "" for an index without one
	Data      string // folder for what is not in the index yet
	Withdrawn string // see [FilesOptions]

	Now  func() time.Time // by which keys and signed requests are judged
	Wall func() time.Time // of the machine, for ages and rates

	MaxPending  int64         // bytes that wait for their releases; 0: 4 GiB
	MaxShare    int64         // of them of one party, see [Hub]; 0: an eighth
	KeepUploads time.Duration // for which an upload waits; 0: a week
	// KeepStatements is how long those about a plan wait in an index without a
	// log, from the last of them on; 0: 90 days.
	KeepStatements time.Duration
	Burst          int // writes of one address at once; 0: 1000
	PerSecond      int // and from then on; 0: 50

	// Trouble is told what went wrong inside, with the id of the request; nil
	// discards it.
	Trouble func(line string)
}

// Hub takes publications in and serves the index. It starts no goroutine.
//
// What waits for a release is counted by parties: an operator with all its keys
// is one, and each other key that may write.
type Hub struct {
	Options
	policy  *attest.Policy
	now     func() time.Time
	files   *Files
	fsys    fs.FS
	root    *os.Root
	db      *database
	staging *staging
	catalog *catalog
	rate    *rate
	turn    chan struct{} // held by who writes the index
	heavy   chan struct{} // held by each who judges or gathers much
	logged  bool
	states  *states
}

// New opens a hub: the index, the data folder, which is made if it is missing,
// and the list of what is in the index. Close it in the end.
func New(ctx context.Context, o Options) (*Hub, error) {
	set(&o.MaxPending, 4<<30)
	set(&o.MaxShare, o.MaxPending/8)
	set(&o.KeepUploads, 7*24*time.Hour)
	set(&o.KeepStatements, 90*24*time.Hour)
	set(&o.Burst, 1000)
	set(&o.PerSecond, 50)
	h := &Hub{Options: o, logged: o.Origin != "", policy: o.Policy, now: o.Now, turn: make(chan struct{}, 1), heavy: make(chan struct{}, heavyAtOnce), states: &states{},
		rate: &rate{burst: float64(o.Burst), perSecond: float64(o.PerSecond), wall: o.Wall, peers: map[string]tokens{}}}
	if err := h.open(ctx); err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

func (h *Hub) open(ctx context.Context) error {
	var err error
	if h.files, err = OpenFiles(h.Dir, FilesOptions{h.Wall, h.Withdrawn}); err != nil {
		return err
	}
	h.root = h.files.root
	h.fsys = h.root.FS()
	if h.db, err = openDatabase(h.Data); err != nil {
		return err
	}
	if h.staging, err = openStaging(h.db, h.Data, h.Options); err != nil {
		return err
	}
	h.catalog = &catalog{database: h.db, fsys: h.fsys, policy: h.policy, origin: h.Origin, wall: h.Wall, turn: make(chan struct{}, 1)}
	return h.catalog.sync(ctx, true)
}

// Close closes the folders. No request may be under way.
func (h *Hub) Close() error {
	var errs []error
	if h.db != nil {
		errs = append(errs, h.db.close())
	}
	if h.files != nil {
		errs = append(errs, h.files.Close())
	}
	return errors.Join(errs...)
}

// command is the name of the hub in the envelopes of its errors.
const command = "hub serve"

// call is a request on its way.
type call struct {
	*http.Request
	args []string // what the pattern left open
	w    http.ResponseWriter
	by   writer // who signed the request; nobody if it has no key
	id   string
	what string // the object that a write is about, for the journal
}

// route is one endpoint. A "*" in the pattern stands for one part of a path.
type route struct {
	method  string
	pattern string
	work    func(*Hub, context.Context, *call) (*answer, error)
	heavy   bool // see heavily
}

var routes = []route{
	{"GET", "healthz", (*Hub).health, false},
	{"GET", "readyz", (*Hub).ready, false},
	{"GET", "entries", (*Hub).listAll, false},
	{"GET", "entries/*", (*Hub).listPackage, false},
	{"GET", "entries/*/*", (*Hub).version, false},
	{"POST", "entries", (*Hub).publish, false},
	{"PUT", "objects/*", (*Hub).putObject, false},
	{"GET", "objects/*", (*Hub).object, false},
	{"POST", "plans", (*Hub).addPlan, false},
	{"GET", "plans/*", (*Hub).plan, true},
	{"GET", "plans/*/events", (*Hub).events, true},
	{"GET", "plans/*/proof", (*Hub).proof, true},
	{"GET", "plans/*/verdict", (*Hub).verdict, true},
	{"GET", "plans/*/bundle", (*Hub).bundle, true},
	{"POST", "statements", (*Hub).addStatement, false},
	{"POST", "yanks", (*Hub).yank, false},
}

// ServeHTTP answers one request.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	secure(w)
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/")
	id := requestID(r)
	if below, ok := strings.CutPrefix(path, "index/"); ok {
		if err := h.files.serve(w, r, below); err != nil {
			h.trouble(id, fail(w, r, command, id, err, false), err)
		}
		return
	}
	c := &call{Request: r, w: w, id: id}
	a, err := h.dispatch(c, path)
	status := 0
	if err == nil && a != nil {
		status = a.status
	} else if err != nil {
		status = statusOf(err)
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		if noteErr := h.journal(c, path, status); err == nil {
			err = noteErr
		}
	}
	switch {
	case err != nil:
		h.trouble(id, fail(w, r, command, id, err, true), err)
	case a != nil: // else the answer was written as it came
		if w.Header().Get("Cache-Control") == "" {
			w.Header().Set("Cache-Control", "no-cache")
		}
		send(w, r, a)
	}
}

// journal remembers a write of somebody known.
func (h *Hub) journal(c *call, path string, status int) error {
	if c.by.key == "" && c.what == "" {
		return nil // a stranger's, which fills no tables
	}
	at, err := attest.FormatTime(h.now().UTC().Truncate(time.Second))
	if err != nil {
		return err
	}
	return h.staging.note(context.WithoutCancel(c.Context()), at, string(c.by.key), c.Method+" /"+path, c.what, status)
}

func (h *Hub) trouble(id string, status int, err error) {
	if h.Trouble != nil && status >= http.StatusInternalServerError {
		h.Trouble(oneLine(fmt.Sprintf("%s %d %v", id, status, err)))
	}
}

// dispatch finds the endpoint of a request and asks it.
func (h *Hub) dispatch(c *call, path string) (*answer, error) {
	parts, err := partsOf(path)
	if err != nil {
		return nil, err
	}
	method := c.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	var allowed []string
	for _, route := range routes {
		args, fits := fit(strings.Split(route.pattern, "/"), parts)
		if !fits {
			continue
		}
		if route.method != method {
			allowed = append(allowed, route.method)
			continue
		}
		if method != http.MethodGet {
			if err := h.admit(c.Request); err != nil {
				return nil, err
			}
		}
		c.args = args
		if route.heavy {
			return h.heavily(c.Context(), func() (*answer, error) { return route.work(h, c.Context(), c) })
		}
		return route.work(h, c.Context(), c)
	}
	if allowed == nil {
		return nil, noFile(path)
	}
	c.w.Header().Set("Allow", strings.Join(allowed, ", "))
	return nil, refuse(http.StatusMethodNotAllowed, fault.New(fault.Usage, "%.20s is not for /%.200s", c.Method, path))
}

// admit bounds how much of a write is looked at before it is known whose it is.
func (h *Hub) admit(r *http.Request) error {
	if !h.rate.allow(hostOf(r.RemoteAddr)) {
		return refuse(http.StatusTooManyRequests, fault.New(fault.IndexFetch, "too many writes from one address").WithHint("try again in %d seconds", retryAfter))
	}
	if r.URL.RawQuery != "" {
		return fault.New(fault.Usage, "a write has no query: it would not be signed")
	}
	return nil
}

// partsOf splits a path at its slashes and takes the escapes out of its parts,
// so that an escaped slash separates nothing.
func partsOf(path string) ([]string, error) {
	parts := strings.Split(path, "/")
	for i, p := range parts {
		text, err := url.PathUnescape(p)
		if err != nil || text == "" || text == "." || text == ".." || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return nil, noFile(path)
		}
		parts[i] = text
	}
	return parts, nil
}

func fit(pattern, parts []string) (args []string, fits bool) {
	if len(pattern) != len(parts) {
		return nil, false
	}
	for i, p := range pattern {
		if p == "*" {
			args = append(args, parts[i])
		} else if p != parts[i] {
			return nil, false
		}
	}
	return args, true
}

// body reads a body of at most limit bytes. More is 413.
func (c *call) body(limit int64) ([]byte, error) {
	if c.ContentLength > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	data, err := io.ReadAll(http.MaxBytesReader(c.w, c.Body, limit))
	if err != nil {
		return nil, incomplete(err)
	}
	return data, nil
}

// digest reads the part of a path that is a digest.
func (c *call) digest() (store.Digest, error) {
	d, err := store.ParseDigest(c.args[0])
	if err != nil {
		return "", noFile(c.args[0])
	}
	return d, nil
}

// writing runs f as the only one that writes the index.
func (h *Hub) writing(ctx context.Context, f func() error) error { return inTurn(ctx, h.turn, f) }

// heavyAtOnce is how many requests at once may hold all that is known about a
// plan: what anybody may ask for must not add up to all of the memory.
const heavyAtOnce = 4

// heavily runs f with few others like it.
func (h *Hub) heavily(ctx context.Context, f func() (*answer, error)) (a *answer, err error) {
	err = inTurn(ctx, h.heavy, func() error {
		a, err = f()
		return err
	})
	return a, err
}

// inTurn runs f while it holds a place.
func inTurn(ctx context.Context, places chan struct{}, f func() error) error {
	select {
	case places <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-places }()
	return f()
}

func (h *Hub) health(context.Context, *call) (*answer, error) {
	return inJSON(http.StatusOK, struct {
		OK bool `json:"ok"`
	}{true})
}

// ready says whether writes would be taken: the database answers, the index can
// be read, and the policy has not ended.
func (h *Hub) ready(ctx context.Context, c *call) (*answer, error) {
	check := h.policy.CheckAt
	if h.logged {
		check = h.policy.CheckLoggedAt
	}
	if err := check(h.now()); err != nil {
		return nil, refuse(http.StatusServiceUnavailable, err)
	}
	if err := h.db.read.PingContext(ctx); err != nil {
		return nil, refuse(http.StatusServiceUnavailable, broken(err))
	}
	if err := h.catalog.sync(ctx, false); err != nil {
		return nil, refuse(http.StatusServiceUnavailable, err)
	}
	return h.health(ctx, c)
}
