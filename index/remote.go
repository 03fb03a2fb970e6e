package index

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// Remoting is how an index is read over HTTP.
type Remoting struct {
	Client *http.Client // its CheckRedirect and Jar are not used
	Now    func() time.Time
	User   *url.Userinfo // for the server of the index alone; nil for nobody
	// Cache is a folder for what was served, made when it is needed; "" keeps
	// nothing. It may be removed at any time.
	Cache string
	// Stall is how long connecting, headers or a stretch of body may take; zero
	// is 15 s. A body must bring minProgress bytes in that time, or end.
	Stall time.Duration
}

// Limits of a request.
const (
	defaultStall = 15 * time.Second
	minProgress  = 1 << 10
	maxRedirects = 5
	maxCacheable = maxLines
	// maxFresh is the longest that a file is used without asking, whatever the
	// server says: a lie must not last (index.md 7, HTTP).
	maxFresh = 60 * time.Second
	// A server may ask for patience, briefly.
	maxRetries    = 2
	maxRetryAfter = 5 * time.Second
)

// Remote is the source of an index at a URL, which is a folder. Answers are
// kept in the cache with their ETag and asked for with If-None-Match; one that
// is younger than its max-age, a minute at most, is used without asking.
//
// Nothing that the server says is trusted beyond that. Redirects keep the
// scheme, and credentials stay with the first host. No content encoding is
// asked for or taken, so no few bytes become many. 404, 410 and 451 are
// fs.ErrNotExist; everything else that is not the file is INDEX_FETCH.
func Remote(base *url.URL, in Remoting) Source {
	client := *in.Client
	client.Jar, client.CheckRedirect = nil, checkRedirect
	in.Client = &client
	if in.Stall == 0 {
		in.Stall = defaultStall
	}
	return &remote{base, in}
}

type remote struct {
	base *url.URL
	in   Remoting
}

// String returns the URL, which has no credentials.
func (r *remote) String() string { return r.base.String() }

// checkRedirect keeps to the scheme and hands nothing secret to another host.
// The standard library would keep credentials for subdomains.
func checkRedirect(req *http.Request, via []*http.Request) error {
	first := via[0].URL
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case req.URL.Scheme != first.Scheme:
		return fmt.Errorf("redirected from %s to %s", first.Scheme, req.URL.Scheme)
	case req.URL.User != nil:
		return errors.New("redirected to a URL with credentials")
	}
	if req.URL.Host != first.Host {
		req.Header.Del("Authorization")
		req.Header.Del("Cookie")
	}
	req.Header.Del("Referer")
	return nil
}

// Get implements [Source].
func (r *remote) Get(ctx context.Context, path string, limit int64, fresh bool) ([]byte, error) {
	u := r.base.JoinPath(path)
	held := r.cached(u, limit)
	if held != nil && !fresh && held.fresh(r.in.Now()) {
		return held.body, nil
	}
	if fresh {
		held = nil
	}
	var err error
	for attempt := 0; ; attempt++ {
		var a answer
		a, err = r.ask(ctx, u, limit, held, fresh)
		if err == nil {
			return r.take(u, path, &a, held)
		}
		var again *retryError
		if !errors.As(err, &again) || attempt == maxRetries || !pause(ctx, again.after) {
			break
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		r.drop(u)
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var coded *fault.Error
	if errors.As(err, &coded) {
		return nil, coded
	}
	return nil, r.fault(u, err)
}

func (r *remote) fault(u *url.URL, err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) { // it would name the URL again, redirected ones with what they hold
		err = wrapped.Err
	}
	return fault.New(fault.IndexFetch, "%s: %w", u, err).
		WithHint("try again later, or name another copy of the index with --index")
}

// retryError is a server's wish to be asked later.
type retryError struct {
	after time.Duration
	err   error
}

func (e *retryError) Error() string { return e.err.Error() }

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// answer is what the server said: body, or that what is held is still right.
type answer struct {
	body   []byte // nil: not modified
	etag   string
	maxAge time.Duration
}

func (r *remote) ask(ctx context.Context, u *url.URL, limit int64, held *cached, fresh bool) (answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := watch(cancel, r.in.Stall)
	defer w.stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("User-Agent", "rebuild")
	req.Header.Set("Accept-Encoding", "identity")
	if r.in.User != nil {
		password, _ := r.in.User.Password()
		req.SetBasicAuth(r.in.User.Username(), password)
	}
	if fresh {
		req.Header.Set("Cache-Control", "no-cache")
	}
	if held != nil && held.ETag != "" {
		req.Header.Set("If-None-Match", held.ETag)
	}
	resp, err := r.in.Client.Do(req)
	if err != nil {
		return answer{}, because(ctx, err)
	}
	defer resp.Body.Close()
	a, err := r.read(resp, limit, held, w)
	return a, because(ctx, err)
}

func because(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (r *remote) read(resp *http.Response, limit int64, held *cached, w *watchdog) (answer, error) {
	a := answer{etag: resp.Header.Get("ETag"), maxAge: maxAge(resp.Header)}
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotModified:
		if held == nil || held.ETag == "" {
			return a, errors.New("the server says that nothing has changed, and was not asked that")
		}
		return a, nil
	case http.StatusNotFound, http.StatusGone, http.StatusUnavailableForLegalReasons:
		return a, fs.ErrNotExist
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return a, retry(resp)
	default:
		return a, statusError(resp)
	}
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return a, fmt.Errorf("the server answers in the encoding %.40q, which was not asked for", enc)
	}
	if resp.ContentLength > limit {
		return a, fault.New(fault.Parse, "%d bytes announced, at most %d are allowed", resp.ContentLength, limit).At(resp.Request.URL.String(), 0)
	}
	if resp.ContentLength < 0 && len(resp.TransferEncoding) == 0 && resp.ProtoMajor == 1 {
		return a, errors.New("the answer does not say where it ends")
	}
	var err error
	a.body, err = io.ReadAll(io.LimitReader(w.reader(resp.Body), limit+1))
	if err == nil && int64(len(a.body)) > limit {
		err = fault.New(fault.Parse, "more than %d bytes", limit).At(resp.Request.URL.String(), 0)
	}
	return a, err
}

func statusError(resp *http.Response) error {
	// The server's own words could hold anything, escape codes too.
	return fmt.Errorf("HTTP status %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
}

func retry(resp *http.Response) error {
	err := statusError(resp)
	seconds, bad := strconv.Atoi(resp.Header.Get("Retry-After"))
	if after := time.Duration(seconds) * time.Second; bad == nil && seconds >= 0 && after <= maxRetryAfter {
		return &retryError{after, err}
	}
	return err
}

// maxAge returns how long an answer may be used without asking.
func maxAge(h http.Header) time.Duration {
	age := time.Duration(0)
	for _, d := range strings.Split(strings.Join(h.Values("Cache-Control"), ","), ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(d)), "=")
		switch name {
		case "no-cache", "no-store", "must-revalidate":
			return 0
		case "max-age":
			if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
				age = min(time.Duration(seconds)*time.Second, maxFresh)
			}
		}
	}
	return age
}

// take returns the body and keeps it.
func (r *remote) take(u *url.URL, path string, a *answer, held *cached) ([]byte, error) {
	if a.body == nil {
		held.MaxAge, held.At = int64(a.maxAge/time.Second), r.in.Now().Unix()
		r.keep(u, held)
		return held.body, nil
	}
	if !strings.HasPrefix(path, objectDir+"/") && isPage(a.body) {
		return nil, r.fault(u, errors.New("the server answered with a web page instead of the file"))
	}
	sum := store.DigestOf(a.body)
	// An ETag that is a sha256 and not of these bytes would let other bytes
	// pass as unchanged, once the server is honest again.
	etag := a.etag
	if said := strings.Trim(strings.TrimPrefix(etag, "W/"), `"`); len(said) == 2*sha256.Size && said != sum.Hex() || len(etag) > 200 {
		etag = ""
	}
	if etag != "" || a.maxAge > 0 {
		r.keep(u, &cached{cacheDoc{document.IndexCache.ID(), u.String(), etag, sum, r.in.Now().Unix(), int64(a.maxAge / time.Second)}, a.body})
	} else {
		r.drop(u)
	}
	return a.body, nil
}

// isPage tells the page of a portal or a proxy from a file of an index.
func isPage(body []byte) bool {
	media, _, err := mime.ParseMediaType(http.DetectContentType(body))
	return err == nil && media == "text/html"
}

// watchdog ends a request that brings too little in too long.
type watchdog struct {
	got   atomic.Int64
	timer *time.Timer
}

func watch(cancel context.CancelCauseFunc, stall time.Duration) *watchdog {
	w := &watchdog{}
	before := int64(-minProgress) // the first stretch is for connecting and headers
	w.timer = time.AfterFunc(time.Hour, func() {
		now := w.got.Load()
		if now == 0 {
			cancel(fmt.Errorf("nothing received for %s", stall))
			return
		}
		if now-before < minProgress {
			cancel(fmt.Errorf("less than %d bytes received in %s", minProgress, stall))
			return
		}
		before = now
		w.timer.Reset(stall)
	})
	w.timer.Reset(stall) // only now can the function read the field
	return w
}

func (w *watchdog) stop() { w.timer.Stop() }

func (w *watchdog) reader(body io.Reader) io.Reader { return &watched{body, w} }

type watched struct {
	io.Reader
	w *watchdog
}

func (r *watched) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.w.got.Add(int64(n))
	return n, err
}

// cacheDoc is the first line of a cached file; what was served follows.
type cacheDoc struct {
	SchemaVersion string       `json:"schema_version"`
	URL           string       `json:"url"`
	ETag          string       `json:"etag,omitempty"`
	Digest        store.Digest `json:"digest"` // of what follows
	At            int64        `json:"at"`     // when it was asked for, in seconds since 1970
	MaxAge        int64        `json:"max_age"`
}

type cached struct {
	cacheDoc
	body []byte
}

func (c *cached) fresh(now time.Time) bool {
	age := now.Unix() - c.At
	return age >= 0 && age < min(c.MaxAge, int64(maxFresh/time.Second))
}

func (r *remote) file(u *url.URL) string {
	sum := sha256.Sum256([]byte(u.String()))
	return filepath.Join(r.in.Cache, hex.EncodeToString(sum[:]))
}

// cached returns what is kept of a URL, nil if nothing is or if it is not what
// was written.
func (r *remote) cached(u *url.URL, limit int64) *cached {
	if r.in.Cache == "" {
		return nil
	}
	f, err := os.Open(r.file(u))
	if err != nil {
		return nil
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+document.IndexCache.MaxBytes+2))
	if err != nil {
		return nil
	}
	line, body, _ := bytes.Cut(data, []byte("\n"))
	c := &cached{body: body}
	if document.Decode(f.Name(), line, document.IndexCache, &c.cacheDoc) != nil || c.URL != u.String() ||
		int64(len(body)) > limit || store.DigestOf(body) != c.Digest {
		return nil
	}
	return c
}

// keep writes to the cache. It is not made durable: what a crash or another
// process leaves there is hashed before it is used, and a cache that can not be
// written is only slower.
func (r *remote) keep(u *url.URL, c *cached) {
	if r.in.Cache == "" || len(c.body) > maxCacheable {
		return
	}
	head, err := document.Encode(&c.cacheDoc)
	if err != nil || os.MkdirAll(r.in.Cache, 0o755) != nil {
		return
	}
	f, err := os.CreateTemp(r.in.Cache, ".tmp-")
	if err != nil {
		return
	}
	_, err = f.Write(append(append(head, '\n'), c.body...))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), r.file(u))
	}
	if err != nil {
		os.Remove(f.Name())
	}
}

func (r *remote) drop(u *url.URL) {
	if r.in.Cache != "" {
		os.Remove(r.file(u))
	}
}
