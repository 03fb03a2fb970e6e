package hub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"rebuild/attest"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// Client publishes in a hub. It believes nothing that the hub says: what was
// entered is asked for again until the log's own checkpoint covers it.
type Client struct {
	// HTTP makes the requests; its redirects are not followed for writes, and
	// credentials are sent to no other place than Base. It has the deadlines.
	HTTP *http.Client
	Base string // URL of the hub, without what follows
	// Key signs what carries no signature of its own; nil if nothing has to be
	// uploaded.
	Key attest.Signer
	Now func() time.Time
	// Wait pauses between two questions, until the context ends.
	Wait func(ctx context.Context, d time.Duration) error
}

// ParseURL reads the address of a hub: http or https, a host, perhaps a path,
// and nothing else.
func ParseURL(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		if err == nil && u.User != nil || err != nil && strings.Contains(text, "@") {
			text = "what was given" // who reads the error is not to read a password
		}
		return "", fault.New(fault.Usage, "%q is not the address of a hub", text).WithHint("give https://HOST, without credentials")
	}
	return strings.TrimSuffix(u.String(), "/"), nil
}

// maxReply bounds what is read of an answer that is no file.
const maxReply = 1 << 20

// Publish sends a release and all that it rests on, in the order in which the
// hub can take it. What is there already is sent again only if it is small.
// tell is told of each thing that was sent; nil is nobody.
func (c *Client) Publish(ctx context.Context, b *attest.Bundle, archive []byte, tell func(string)) (*Published, error) {
	if tell == nil {
		tell = func(string) {}
	}
	objects := append([][]byte{archive}, b.Objects...)
	if b.Lock != nil {
		objects = append(objects, b.Lock)
	}
	for _, data := range objects {
		sent, err := c.PutObject(ctx, data)
		if err != nil {
			return nil, err
		}
		if !sent.Duplicate {
			tell("object " + string(store.DigestOf(data)))
		}
	}
	for _, build := range b.Builds {
		if _, err := c.AddBuild(ctx, &build, tell); err != nil {
			return nil, err
		}
	}
	var out Published
	if err := c.write(ctx, http.MethodPost, "/entries", b.Release, nil, &out); err != nil {
		return nil, err
	}
	return &out, c.checkPublished(b, &out)
}

// AddBuild sends a plan and its statements, results before what is beside them,
// and returns the highest place that one of them got in the log; nil for none.
func (c *Client) AddBuild(ctx context.Context, build *attest.BuildEvidence, tell func(string)) (*int64, error) {
	if _, err := c.AddPlan(ctx, build.Plan); err != nil {
		return nil, err
	}
	tell("plan " + string(store.DigestOf(build.Plan)))
	var last *int64
	add := func(raw []byte) error {
		w, err := c.AddStatement(ctx, raw)
		if err == nil && w.Seq != nil && (last == nil || *w.Seq > *last) {
			last = w.Seq
		}
		return err
	}
	var later [][]byte
	for _, raw := range build.Statements {
		err := add(raw)
		if fault.CodeOf(err) == fault.EvidenceMismatch { // a provenance whose result was not there
			later = append(later, raw)
			continue
		}
		if err != nil {
			return nil, err
		}
	}
	for _, raw := range later {
		if err := add(raw); err != nil {
			return nil, err
		}
	}
	tell(fmt.Sprintf("%d statements", len(build.Statements)))
	return last, nil
}

// checkPublished wants the answer to be about the release that was sent.
func (c *Client) checkPublished(b *attest.Bundle, p *Published) error {
	e, err := attest.ParseEnvelope("release", b.Release)
	if err != nil {
		return err
	}
	r, err := attest.ReadOwned(e)
	if err != nil {
		return err
	}
	if !p.OK || p.Release != e.Digest() || p.Name != r.Name || p.Version != r.Version {
		return fault.New(fault.EvidenceMismatch, "the hub answers for release %.80s of %.80q %.80q, %s of %s %s was sent", p.Release, p.Name, p.Version, e.Digest(), r.Name, r.Version).
			WithHint("ask who runs %s", c.Base)
	}
	return nil
}

// PutObject stores an object, unless the hub has it.
func (c *Client) PutObject(ctx context.Context, data []byte) (*Written, error) {
	path := "/objects/" + string(store.DigestOf(data))
	if status, _, err := c.get(ctx, http.MethodHead, path, nil, 0); err == nil && status == http.StatusOK {
		return &Written{OK: true, Duplicate: true}, nil
	}
	return c.put(ctx, http.MethodPut, path, data, c.Key)
}

// AddPlan stores a plan.
func (c *Client) AddPlan(ctx context.Context, plan []byte) (*Written, error) {
	path := "/plans/" + string(store.DigestOf(plan))
	if status, body, err := c.get(ctx, http.MethodGet, path, nil, document.Plan.MaxBytes); err == nil && status == http.StatusOK && bytes.Equal(body, plan) {
		return &Written{OK: true, Duplicate: true}, nil
	}
	return c.put(ctx, http.MethodPost, "/plans", plan, c.Key)
}

// AddStatement sends a statement about a plan that the hub has.
func (c *Client) AddStatement(ctx context.Context, envelope []byte) (*Written, error) {
	return c.put(ctx, http.MethodPost, "/statements", envelope, nil)
}

// Yank sends a yank statement.
func (c *Client) Yank(ctx context.Context, envelope []byte) (*Written, error) {
	return c.put(ctx, http.MethodPost, "/yanks", envelope, nil)
}

// put is write of all that is answered in the same way.
func (c *Client) put(ctx context.Context, method, path string, body []byte, key attest.Signer) (*Written, error) {
	out := &Written{}
	err := c.write(ctx, method, path, body, key, out)
	if err == nil && !out.OK {
		err = fault.New(fault.IndexFetch, "%s %s was answered as done, and as not done", method, c.Base+path).WithHint("ask who runs %s", c.Base)
	}
	return out, err
}

// How often and how long is asked for what was published.
const (
	firstPause = 200 * time.Millisecond
	lastPause  = 10 * time.Second
)

// Await asks for the log's checkpoint, past every cache, until it covers the
// leaf at seq or patience is over. A hub that took something and does not log
// it withholds it (STALE). A checkpoint that does not verify is an error at
// once.
func (c *Client) Await(ctx context.Context, log *attest.TrustedLog, seq int64, patience time.Duration) (*attest.Checkpoint, error) {
	var held *attest.Checkpoint
	err := c.poll(ctx, patience, func() (bool, error) {
		raw, err := c.File(ctx, "checkpoint", document.Events.MaxBytes*8)
		if err != nil {
			return false, err
		}
		held, err = log.OpenCheckpoint(raw)
		return err == nil && held.Size > seq, err
	})
	if errors.Is(err, errPatience) {
		return nil, fault.New(fault.Stale, "withheld: the hub took it as leaf %d, and %s later its checkpoint has %d leaves", seq, patience, held.Size).
			WithHint("ask who runs %s; what you have signed can be published elsewhere", c.Base)
	}
	return held, err
}

// AwaitRelease asks for a release until the hub gives it back byte for byte, or
// with more signatures, or patience is over (STALE).
func (c *Client) AwaitRelease(ctx context.Context, name, version string, envelope []byte, patience time.Duration) error {
	sent, err := attest.ParseEnvelope("release", envelope)
	if err != nil {
		return err
	}
	path := "/entries/" + url.PathEscape(name) + "/" + url.PathEscape(version)
	err = c.poll(ctx, patience, func() (bool, error) {
		status, body, err := c.get(ctx, http.MethodGet, path, fresh, attest.MaxEnvelope)
		if err != nil || status != http.StatusOK {
			return false, err
		}
		got, err := attest.ParseEnvelope(path, body)
		return err == nil && got.Digest() == sent.Digest(), err
	})
	if errors.Is(err, errPatience) {
		return fault.New(fault.Stale, "withheld: the hub took %s %s and does not list it", name, version).
			WithHint("ask who runs %s; what you have signed can be published elsewhere", c.Base)
	}
	return err
}

// AwaitStatements asks for the chain of a plan until every one of some statements
// is in it, or patience is over: a hub that took one and does not log it withholds
// it (STALE), whatever place it says that it gave it. It returns the chain and its
// proof, which were verified by the policy, and the place of the last of them.
func (c *Client) AwaitStatements(ctx context.Context, policy *attest.Policy, plan store.Digest, statements []store.Digest, patience time.Duration) (events, proof []byte, seq int64, err error) {
	var missing store.Digest
	err = c.poll(ctx, patience, func() (bool, error) {
		events, proof, err = c.Chain(ctx, policy, plan)
		if code := fault.CodeOf(err); code == fault.IndexNoMatch || code == fault.FileMissing {
			missing = statements[0]
			return false, nil
		}
		if err != nil {
			return false, err
		}
		missing, seq, err = notLogged(events, statements)
		return missing == "", err
	})
	if errors.Is(err, errPatience) {
		err = fault.New(fault.Stale, "withheld: the hub took statement %s about plan %s, and %s later its log does not have it", missing, plan, patience).
			WithHint("ask who runs %s; what you have signed can be published elsewhere", c.Base)
	}
	return events, proof, seq, err
}

// notLogged returns a statement that a chain has not, "" if it has all, and the
// place of the last of them.
func notLogged(events []byte, statements []store.Digest) (missing store.Digest, last int64, err error) {
	places := map[store.Digest]int64{}
	for n, leaf := range bytes.Split(bytes.TrimSuffix(events, []byte("\n")), []byte("\n")) {
		e, err := attest.DecodeEvent(attest.EventsFile, n+1, leaf)
		if err != nil {
			return "", 0, err
		}
		if e.Type == attest.EventStatement {
			places[e.Object] = e.Seq
		}
	}
	for _, d := range statements {
		seq, there := places[d]
		if !there {
			return d, 0, nil
		}
		last = max(last, seq)
	}
	return "", last, nil
}

var errPatience = errors.New("patience is over")

// fresh asks past every cache.
var fresh = http.Header{"Cache-Control": {"no-cache"}}

func (c *Client) poll(ctx context.Context, patience time.Duration, there func() (bool, error)) error {
	pause := firstPause
	for waited := time.Duration(0); ; waited += pause {
		ok, err := there()
		if ok || err != nil {
			return err
		}
		if waited >= patience {
			return errPatience
		}
		pause = min(pause*2, lastPause, max(patience-waited, firstPause))
		if err := c.Wait(ctx, pause); err != nil {
			return err
		}
	}
}

// Chain returns the chain of a plan in the hub's log and the proof of its last
// leaf, which fit each other. Both are verified by a policy with
// [attest.OpenChain], and that is for the caller to do with the statements.
func (c *Client) Chain(ctx context.Context, policy *attest.Policy, plan store.Digest) (events, proof []byte, err error) {
	path := "/plans/" + string(plan)
	for range 3 { // leaves may come in between the two questions
		if events, err = c.file(ctx, path+"/events", attest.MaxEventsBytes); err != nil {
			return nil, nil, err
		}
		if proof, err = c.file(ctx, path+"/proof", attest.MaxProof); err != nil {
			return nil, nil, err
		}
		if _, err = attest.OpenChain(policy, plan, events, proof); err == nil {
			return events, proof, nil
		}
	}
	return nil, nil, err
}

// File returns a file of the hub's index as it is now, past every cache, of at
// most limit bytes.
func (c *Client) File(ctx context.Context, path string, limit int64) ([]byte, error) {
	return c.file(ctx, "/index/"+path, limit)
}

func (c *Client) file(ctx context.Context, path string, limit int64) ([]byte, error) {
	status, body, err := c.get(ctx, http.MethodGet, path, fresh, limit)
	if err == nil && status != http.StatusOK {
		err = c.refused(http.MethodGet, path, status, body)
	}
	return body, err
}

// get reads, without credentials.
func (c *Client) get(ctx context.Context, method, path string, header http.Header, limit int64) (int, []byte, error) {
	return fetch(ctx, c.HTTP, method, c.Base+path, header, limit)
}

// fetch asks an address and returns the status and at most limit bytes of the
// answer. Redirects keep the scheme and are few; no credentials are sent.
func fetch(ctx context.Context, client *http.Client, method, address string, header http.Header, limit int64) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return 0, nil, fault.New(fault.Usage, "%w", err)
	}
	req.Header.Set("Accept-Encoding", "identity")
	maps.Copy(req.Header, header)
	following := *client
	following.Jar = nil
	following.CheckRedirect = sameScheme
	res, err := following.Do(req)
	if err != nil {
		return 0, nil, unreachable(ctx, err)
	}
	defer res.Body.Close()
	if method == http.MethodHead {
		return res.StatusCode, nil, nil
	}
	if res.StatusCode != http.StatusOK {
		limit = maxReply
	}
	body, err := readBody(ctx, res, limit)
	return res.StatusCode, body, err
}

const maxRedirects = 5

func sameScheme(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return errors.New("more than 5 redirects")
	}
	if req.URL.Scheme != via[0].URL.Scheme {
		return fmt.Errorf("a redirect from %s to %s", via[0].URL.Scheme, req.URL.Scheme)
	}
	req.Header.Del("Authorization")
	req.Header.Del("Cookie")
	req.Header.Del("Referer")
	return nil
}

func unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err()
	}
	return fault.New(fault.IndexFetch, "%w", err).WithHint("check the address of the hub and try again; what was sent is not sent twice")
}

func readBody(ctx context.Context, res *http.Response, limit int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err != nil {
		return nil, unreachable(ctx, err)
	}
	if int64(len(body)) > limit {
		return nil, fault.New(fault.IndexFetch, "%s answers with more than %d bytes", res.Request.URL.Redacted(), limit)
	}
	return body, nil
}

// tries is how often a write is sent that the hub has no time for.
const tries = 5

// write sends a body, signed if the endpoint asks for it, and decodes the
// answer. A hub that says that it is busy is asked again, with a new signature.
func (c *Client) write(ctx context.Context, method, path string, body []byte, key attest.Signer, answer any) error {
	for try := 1; ; try++ {
		res, data, err := c.send(ctx, method, path, body, key)
		if err != nil {
			return err
		}
		switch res.StatusCode {
		case http.StatusOK, http.StatusCreated:
			if err := document.DecodeStrict("the hub's answer", bytes.TrimSuffix(data, []byte("\n")), answer); err != nil {
				return fault.New(fault.IndexFetch, "%s %s: %w", method, c.Base+path, err)
			}
			return nil
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			if try < tries {
				if err := c.Wait(ctx, pauseOf(res)); err != nil {
					return err
				}
				continue
			}
		}
		return c.refused(method, path, res.StatusCode, data)
	}
}

// pauseOf is how long a hub wants to be left alone, as far as a client obeys.
func pauseOf(res *http.Response) time.Duration {
	seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
	if err != nil || seconds < 1 {
		seconds = 1
	}
	return min(time.Duration(seconds)*time.Second, 3*lastPause)
}

// send makes the request of a write. It follows no redirect: a write goes where
// it was meant to or nowhere.
func (c *Client) send(ctx context.Context, method, path string, body []byte, key attest.Signer) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.Base+path, bytes.NewReader(body))
	if err != nil {
		return nil, nil, fault.New(fault.Usage, "%w", err)
	}
	if method == http.MethodPut || path == "/plans" {
		if key == nil {
			return nil, nil, fault.New(fault.Usage, "%s%s takes only what is signed, and no key is given", c.Base, path).
				WithHint("give the key of an operator, signer or owner with --key FILE")
		}
		if err := Authorize(req, store.DigestOf(body), key, c.Now()); err != nil {
			return nil, nil, err
		}
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("Accept", jsonType)
	client := *c.HTTP
	client.Jar = nil
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := client.Do(req)
	if err != nil {
		return nil, nil, unreachable(ctx, err)
	}
	defer res.Body.Close()
	data, err := readBody(ctx, res, maxReply)
	return res, data, err
}

// codesOfHubs are the codes that a hub's refusal keeps. Others would claim what
// only the program itself finds out.
var codesOfHubs = slices.Collect(maps.Keys(statuses))

// refused is the error of an answer that is no success. What the hub says is
// quoted, and believed as far as it is only the reason of a refusal.
func (c *Client) refused(method, path string, status int, body []byte) error {
	var r reply
	err := document.Decode("the hub's answer", bytes.TrimSuffix(body, []byte("\n")), document.CLI, &r)
	code, text, hint := fault.IndexFetch, "", ""
	if err == nil && r.Error != nil {
		text, hint = ": "+r.Error.Message, r.Error.Hint
		if status < http.StatusInternalServerError && slices.Contains(codesOfHubs, r.Error.Code) {
			code = r.Error.Code
		}
	}
	e := fault.New(code, "%s %s answers %d%s", method, c.Base+path, status, text).With("status", status)
	if err == nil && r.Error != nil && r.Error.RequestID != "" {
		e = e.With("request_id", r.Error.RequestID)
	}
	switch {
	case hint != "":
		return e.WithHint("%s", hint)
	case status == http.StatusNotFound && method != http.MethodGet:
		return e.WithHint("see whether %s is a hub, and not only an index; ask who runs it", c.Base)
	}
	return e.WithHint("ask who runs %s", c.Base)
}

// Snapshot returns the archive of a release. The hub is asked first; only if it
// says that it does not have it, or does not know the question (404, 405, 501),
// the locator that the signers named is asked. Every other failure is
// INDEX_FETCH, so that no fallback hides it, and other bytes than the release's
// are CKSUM_MISMATCH, wherever they come from.
func (c *Client) Snapshot(ctx context.Context, release store.Digest, r *attest.Release) ([]byte, error) {
	path := "/entries/" + string(release) + "/snapshot"
	status, data, err := c.get(ctx, http.MethodGet, path, nil, attest.MaxArchive)
	if err != nil {
		return nil, err
	}
	from := c.Base + path
	switch status {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		if data, err = c.located(ctx, r, status); err != nil {
			return nil, err
		}
		from = r.Locator
	default:
		return nil, fault.New(fault.IndexFetch, "GET %s answers %d", from, status).With("status", status).WithHint("try again later, or ask who runs %s", c.Base)
	}
	if got := store.DigestOf(data).Hex(); got != r.Cksum {
		return nil, fault.New(fault.CksumMismatch, "%s has sha256 %s, the release of %s %s says %s", from, got, r.Name, r.Version, r.Cksum)
	}
	return data, nil
}

// located is [Located], after the hub has said that it has no snapshot.
func (c *Client) located(ctx context.Context, r *attest.Release, status int) ([]byte, error) {
	if webLocator(r) == nil {
		return nil, fault.New(fault.IndexFetch, "%s has no snapshot of %s %s (%d), and its release has no locator of https or http", c.Base, r.Name, r.Version, status).
			WithHint("ask who runs %s, or use another index", c.Base)
	}
	return Located(ctx, c.HTTP, r)
}

// Located fetches what the locator of a release names, nil if that is no web
// address: a file of this machine is for nobody else to name. Nothing of it is
// verified. An address that does not have it is INDEX_FETCH.
func Located(ctx context.Context, client *http.Client, r *attest.Release) ([]byte, error) {
	u := webLocator(r)
	if u == nil {
		return nil, nil
	}
	status, data, err := fetch(ctx, client, http.MethodGet, u.String(), nil, attest.MaxArchive)
	if err == nil && status != http.StatusOK {
		err = fault.New(fault.IndexFetch, "GET %s answers %d, and the index has no archive of %s %s", u, status, r.Name, r.Version).
			WithHint("use another index that has %s %s", r.Name, r.Version)
	}
	return data, err
}

// webLocator is the locator of a release, nil unless it is a web address.
func webLocator(r *attest.Release) *url.URL {
	u, err := url.Parse(r.Locator)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return nil
	}
	return u
}
