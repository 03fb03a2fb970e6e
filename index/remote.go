package index

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"rebuild/internal/fault"
	"rebuild/internal/pack"
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
	r := &remote{base: base, in: in}
	if in.Cache != "" {
		r.answers = pack.In(in.Cache)
	}
	return r
}

type remote struct {
	base    *url.URL
	in      Remoting
	answers *pack.Packs // nil: nothing is kept
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
	case http.StatusNotFound:
		return a, fs.ErrNotExist
	case http.StatusGone, http.StatusUnavailableForLegalReasons:
		return a, errWithdrawn
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
		if a.maxAge > 0 || held.MaxAge > 0 {
			held.MaxAge, held.At = int64(a.maxAge/time.Second), r.in.Now().Unix()
			r.keep(u, held)
		}
		return held.body, nil
	}
	if !strings.HasPrefix(path, objectDir+"/") && isPage(a.body) {
		return nil, r.fault(u, errors.New("the server answered with a web page instead of the file"))
	}
	sum := store.DigestOf(a.body)
	// An ETag that is a sha256 and not of these bytes would let other bytes
	// pass as unchanged, once the server is honest again.
	etag := a.etag
	if said := strings.Trim(strings.TrimPrefix(etag, "W/"), `"`); len(said) == 2*sha256.Size && said != sum.Hex() || !sendable(etag) {
		etag = ""
	}
	if etag != "" || a.maxAge > 0 {
		r.keep(u, &cached{answerDoc{ETag: etag, Digest: sum, At: r.in.Now().Unix(), MaxAge: int64(a.maxAge / time.Second)}, a.body})
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
