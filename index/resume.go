package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
)

// Open returns a file from an offset on, or from its beginning where the
// server can not do that: from says which. The body is to be closed, and to be
// bounded by who reads it. Nothing of it is cached. Errors are those of
// [Source.Get].
func (r *remote) Open(ctx context.Context, path string, offset int64) (body io.ReadCloser, from int64, err error) {
	u := r.base.JoinPath(path)
	ctx, cancel := context.WithCancelCause(ctx)
	w := watch(cancel, r.in.Stall)
	end := func() { w.stop(); cancel(nil) }
	resp, err := r.request(ctx, u.String(), offset)
	if err == nil {
		if from, err = accept(resp, offset); err == nil {
			return &streamed{ctx, w.reader(resp.Body), resp.Body, end}, from, nil
		}
		resp.Body.Close()
	}
	err = because(ctx, err)
	end()
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, context.Canceled) {
		return nil, 0, err
	}
	return nil, 0, r.fault(u, err)
}

func (r *remote) request(ctx context.Context, url string, offset int64) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "rebuild")
	req.Header.Set("Accept-Encoding", "identity")
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	if r.in.User != nil {
		password, _ := r.in.User.Password()
		req.SetBasicAuth(r.in.User.Username(), password)
	}
	return r.in.Client.Do(req)
}

// accept says where an answer begins.
func accept(resp *http.Response, offset int64) (from int64, err error) {
	if enc := resp.Header.Get("Content-Encoding"); enc != "" && enc != "identity" {
		return 0, fmt.Errorf("the server answers in the encoding %.40q, which was not asked for", enc)
	}
	switch resp.StatusCode {
	case http.StatusOK:
		if resp.ContentLength < 0 && len(resp.TransferEncoding) == 0 && resp.ProtoMajor == 1 {
			return 0, errors.New("the answer does not say where it ends")
		}
		return 0, nil
	case http.StatusPartialContent:
		var last, size int64
		if n, _ := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &last, &size); n != 3 || from != offset || last != size-1 {
			return 0, fmt.Errorf("the server continued with %.80q, asked for byte %d", resp.Header.Get("Content-Range"), offset)
		}
		return from, nil
	case http.StatusNotFound:
		return 0, fs.ErrNotExist
	case http.StatusGone, http.StatusUnavailableForLegalReasons:
		return 0, errWithdrawn
	}
	return 0, statusError(resp)
}

// streamed is a body that ends with the time that it is given.
type streamed struct {
	ctx context.Context
	io.Reader
	body io.Closer
	end  func()
}

func (s *streamed) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = because(s.ctx, err)
	}
	return n, err
}

func (s *streamed) Close() error {
	s.end()
	return s.body.Close()
}
