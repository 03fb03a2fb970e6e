package pipeline

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"rebuild/internal/durable"
	"rebuild/internal/fault"
	"rebuild/store"
)

// maxAttempts bounds how often one URL is asked again after a cut.
const maxAttempts = 50

// download is one source on its way: a file partial/HEX below the state root,
// locked while it is written, and the hash of what it holds. A killed fetch
// leaves the file, and the next one goes on from there.
type download struct {
	f       *fetcher
	use     *sourceUse
	part    *os.File
	have    int64
	hash    hash.Hash
	foreign bool   // some bytes are not from the current URL's present content
	head    []byte // the first bytes of the last body that began at 0
	wrong   bool   // a server has answered with other bytes
}

// errWrong marks an answer with other bytes than the declared ones.
var errWrong = errors.New("not the source")

func (f *fetcher) download(ctx context.Context, use *sourceUse) (err error) {
	d := &download{f: f, use: use}
	if err := d.open(); err != nil {
		return err
	}
	defer d.part.Close()
	if d.have == use.decl.Size { // killed just before it was stored
		if done, err := d.judge(); done {
			return d.store()
		} else if err != nil && !errors.Is(err, errWrong) {
			return err
		}
	}
	var reasons []string
	for _, m := range f.places(ctx, use) {
		err := d.fetch(ctx, m)
		if err == nil {
			return d.store()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		d.wrong = d.wrong || errors.Is(err, errWrong)
		f.tell(FetchEvent{Source: use.decl.Name, URL: m.url, Have: d.have, Size: use.decl.Size, Err: err})
		reasons = append(reasons, m.url+": "+err.Error())
	}
	return d.failure(reasons)
}

func (d *download) failure(reasons []string) error {
	code, decl := fault.IndexFetch, d.use.decl
	if d.wrong {
		code = fault.SourceMismatch
	}
	at := []any{"source", decl.Index}
	if len(reasons) == 0 {
		return d.use.stage.Fault(code, at, "source %s has no URL and is not in the store", decl.Name).
			WithHint("add urls = [\"https://...\"]")
	}
	return d.use.stage.Fault(code, at, "source %s, expected %s of %d bytes, from none of its URLs: %s", decl.Name, decl.Digest, decl.Size, strings.Join(reasons, "; ")).
		With("urls", reasons).With("expected", string(decl.Digest)).
		WithHint("add another mirror to urls or name one with rebuild fetch --mirror, or correct digest and size if upstream has changed")
}

// open takes the partial file and hashes what an earlier fetch left in it.
func (d *download) open() error {
	dir := filepath.Join(d.f.State, "partial")
	if err := durable.MkdirAll(durable.OS{}, dir); err != nil {
		return err
	}
	var err error
	d.part, err = os.OpenFile(filepath.Join(dir, d.use.decl.Digest.Hex()), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(d.part.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		d.part.Close()
		return fault.New(fault.IndexFetch, "source %s is being fetched by another process", d.use.decl.Name).
			WithHint("wait for it to end and run rebuild fetch again")
	}
	d.hash = sha256.New()
	if d.have, err = io.Copy(d.hash, io.LimitReader(d.part, d.use.decl.Size+1)); err != nil {
		d.part.Close()
		return err
	}
	d.foreign = d.have > 0
	if d.have > d.use.decl.Size {
		return d.reset()
	}
	return nil
}

// reset forgets what was received.
func (d *download) reset() error {
	d.have, d.foreign = 0, false
	d.hash.Reset()
	if err := d.part.Truncate(0); err != nil {
		return err
	}
	_, err := d.part.Seek(0, io.SeekStart)
	return err
}

// Write appends to the partial file.
func (d *download) Write(p []byte) (int, error) {
	if int64(len(d.head)) == d.have && len(d.head) < 512 {
		d.head = append(d.head, p[:min(len(p), 512-len(d.head))]...)
	}
	n, err := d.part.Write(p)
	d.hash.Write(p[:n])
	d.have += int64(n)
	return n, err
}

// fetch gets the rest of the source from one URL. Afterwards the partial file
// is whole and right, or holds a beginning that may be.
func (d *download) fetch(ctx context.Context, m mirror) error {
	if m.unknown != nil {
		return m.unknown
	}
	rate := time.Duration(float64(d.use.decl.Size) / float64(d.f.Rate) * float64(time.Second))
	ctx, cancel := context.WithTimeoutCause(ctx, 2*d.f.Stall+rate, errors.New("too slow"))
	defer cancel()
	d.foreign = d.have > 0
	var err error
	for range maxAttempts {
		before := d.have
		err = d.attempt(ctx, m)
		if err == nil {
			if done, err := d.judge(); done || err != nil {
				return err
			}
			continue // what was there before did not fit: all of it from here
		}
		dropped := before > 0 && d.have == 0
		if errors.Is(err, errWrong) || ctx.Err() != nil || d.have <= before && !dropped {
			break
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, errWrong) {
		return d.drop(err)
	}
	return err
}

// drop forgets what was received because of err.
func (d *download) drop(err error) error {
	if failed := d.reset(); failed != nil {
		return failed
	}
	return err
}

// judge looks at a whole file. If its bytes are wrong but came from two
// places, it is dropped and worth a second try.
func (d *download) judge() (done bool, err error) {
	got := store.DigestOfSum(d.hash.Sum(nil))
	if got == d.use.decl.Digest {
		return true, nil
	}
	again := d.foreign
	err = fmt.Errorf("%w: got %s%s", errWrong, got, d.looksLike())
	if reset := d.reset(); reset != nil {
		return false, reset
	}
	if again {
		return false, nil
	}
	return false, err
}

// looksLike says what a wrong body seems to be. A page that asks whether one
// is a robot is the usual case (requirements G54).
func (d *download) looksLike() string {
	if strings.HasPrefix(http.DetectContentType(d.head), "text/html") {
		return ", the body is an HTML page"
	}
	return ""
}

// attempt makes one request or opens one file. Without an error the partial
// file has its full size.
func (d *download) attempt(ctx context.Context, m mirror) error {
	if m.local() {
		return d.copyLocal(ctx, m)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// One timer for connecting, headers and body: it is pushed back by every
	// byte that arrives.
	stall := time.AfterFunc(d.f.Stall, func() { cancel(fmt.Errorf("nothing received for %s", d.f.Stall)) })
	defer stall.Stop()
	resp, err := d.request(ctx, m)
	if err != nil {
		return causeOf(ctx, err)
	}
	defer resp.Body.Close()
	if err := d.accept(resp); err != nil {
		return err
	}
	body := io.TeeReader(resp.Body, progress(func(n int) {
		stall.Reset(d.f.Stall)
		d.f.tell(FetchEvent{Source: d.use.decl.Name, URL: m.url, Have: d.have + int64(n), Size: d.use.decl.Size})
	}))
	// Of a body without a length only chunks and frames say where it ends.
	complete := resp.ContentLength >= 0 || len(resp.TransferEncoding) > 0 || resp.ProtoMajor > 1
	return causeOf(ctx, d.receive(body, complete))
}

// progress is a writer that only counts.
type progress func(n int)

func (p progress) Write(b []byte) (int, error) {
	p(len(b))
	return len(b), nil
}

func causeOf(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err // the URL is named by the caller
	}
	return err
}

func (d *download) request(ctx context.Context, m mirror) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept-Encoding", "identity") // the digest is that of the file as it is
	req.Header.Set("User-Agent", "rebuild")
	if d.have > 0 {
		req.Header.Set("Range", "bytes="+strconv.FormatInt(d.have, 10)+"-")
	}
	if m.ours {
		return d.f.ours.Do(req)
	}
	return d.f.client.Do(req)
}

// accept judges status and headers. Only an answer that says it continues
// exactly where the partial file ends is appended to it.
func (d *download) accept(resp *http.Response) error {
	size := d.use.decl.Size
	switch resp.StatusCode {
	case http.StatusOK:
		if err := d.reset(); err != nil {
			return err
		}
		d.head = nil
	case http.StatusPartialContent:
		want := fmt.Sprintf("bytes %d-%d/", d.have, size-1)
		if got := resp.Header.Get("Content-Range"); d.have == 0 || got != want+strconv.FormatInt(size, 10) && got != want+"*" {
			return d.drop(fmt.Errorf("the server continued with %q, expected %q", got, want+strconv.FormatInt(size, 10)))
		}
	case http.StatusRequestedRangeNotSatisfiable:
		return d.drop(errors.New("the server has less than was received before"))
	default:
		// The server's own words could hold anything, escape codes too.
		return fmt.Errorf("HTTP status %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	}
	if n := resp.ContentLength; n >= 0 && n != size-d.have {
		head, _ := io.ReadAll(io.LimitReader(resp.Body, 512)) // for the message only
		d.head = head
		return fmt.Errorf("%w: %d bytes announced, expected %d%s", errWrong, n, size-d.have, d.looksLike())
	}
	return nil
}

// receive appends the body, one byte more than is missing at most. complete
// says that an early end is the end and no cut.
func (d *download) receive(body io.Reader, complete bool) error {
	size := d.use.decl.Size
	if _, err := io.Copy(d, io.LimitReader(body, size-d.have+1)); err != nil {
		return err
	}
	switch {
	case d.have > size:
		return fmt.Errorf("%w: more than %d bytes%s", errWrong, size, d.looksLike())
	case d.have < size && complete:
		return fmt.Errorf("%w: %d bytes, expected %d%s", errWrong, d.have, size, d.looksLike())
	case d.have < size:
		return fmt.Errorf("cut after %d of %d bytes", d.have, size)
	}
	return nil
}

const fileScheme = "file://"

func (m mirror) local() bool {
	return strings.HasPrefix(m.url, fileScheme) || !strings.Contains(m.url, "://")
}

// copyLocal takes the source from a file, from its beginning.
func (d *download) copyLocal(ctx context.Context, m mirror) error {
	file, err := m.open()
	if err != nil {
		return bare(err)
	}
	defer file.Close()
	if err := d.reset(); err != nil {
		return err
	}
	d.head = nil
	return d.receive(&contextReader{ctx, file}, true)
}

func (m mirror) open() (io.ReadCloser, error) {
	if text, ok := strings.CutPrefix(m.url, fileScheme); ok {
		path, err := url.PathUnescape(text)
		if err != nil {
			return nil, err
		}
		return openRegular(filepath.FromSlash(path))
	}
	// A path may lead out of the stage folder; the digest decides what the
	// file is worth.
	if m.dir != "" {
		return openRegular(filepath.Join(m.dir, filepath.FromSlash(m.url)))
	}
	return m.stage.Open(m.url)
}

// store moves the whole file into the store, which hashes it once more, and
// removes it.
func (d *download) store() error {
	if _, err := d.part.Seek(0, io.SeekStart); err != nil {
		return err
	}
	w, err := d.f.blobs.Create()
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := io.Copy(w, d.part); err != nil {
		return err
	}
	if _, _, err := w.Commit(d.use.decl.Digest); err != nil {
		return err
	}
	if err := os.Remove(d.part.Name()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil // another process was at it before us
}
