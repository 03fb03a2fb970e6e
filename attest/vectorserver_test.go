package attest_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"rebuild/index"
	"rebuild/store"
)

// vectorAsk is a file that a reader wants from a server.
type vectorAsk struct {
	Path  string   `json:"path"`
	After int      `json:"after,omitempty"` // seconds since the first ask
	Limit int64    `json:"limit,omitempty"` // bytes; 100 if not given
	Fresh bool     `json:"fresh,omitempty"` // past all caches
	Swap  []string `json:"swap,omitempty"`  // what is replaced in the cache before, and by what
}

// vectorAnswer is what a server says to the next request.
type vectorAnswer struct {
	Status  int               `json:"status,omitempty"` // 200 if not given
	Headers map[string]string `json:"headers,omitempty"`
	Body    string            `json:"body"`              // always given
	Length  int64             `json:"length,omitempty"`  // that it announces; that of the body if not given, -1 for none
	Chunked bool              `json:"chunked,omitempty"` // it says where it ends by itself
	HTTP2   bool              `json:"http2,omitempty"`
	Stalls  bool              `json:"stalls,omitempty"` // nothing comes behind the body, and it does not end
	Breaks  bool              `json:"breaks,omitempty"` // the connection is lost behind the body
	Refuses bool              `json:"refuses,omitempty"`
}

// player is a server that answers as it is written down.
type player struct {
	answers  []vectorAnswer
	requests []string
}

// RoundTrip implements [http.RoundTripper].
func (p *player) RoundTrip(r *http.Request) (*http.Response, error) {
	line := r.Method + " " + r.URL.String()
	for _, name := range []string{"Accept-Encoding", "Authorization", "Cache-Control", "Cookie", "If-None-Match", "Referer"} {
		if value := r.Header.Get(name); value != "" {
			line += ", " + name + ": " + value
		}
	}
	p.requests = append(p.requests, line)
	if len(p.answers) == 0 {
		return nil, errors.New("nobody is there")
	}
	a := p.answers[0]
	p.answers = p.answers[1:]
	if a.Refuses {
		return nil, errors.New("connection refused")
	}
	resp := &http.Response{Request: r, StatusCode: a.Status, Header: http.Header{}, ProtoMajor: 1, ContentLength: a.Length}
	if a.Status == 0 {
		resp.StatusCode = http.StatusOK
	}
	if a.HTTP2 {
		resp.ProtoMajor = 2
	}
	if a.Length == 0 {
		resp.ContentLength = int64(len(a.Body))
	}
	if a.Chunked {
		resp.TransferEncoding = []string{"chunked"}
	}
	for name, value := range a.Headers {
		resp.Header.Set(name, value)
	}
	resp.Body = &played{r.Context(), strings.NewReader(a.Body), a}
	return resp, nil
}

type played struct {
	ctx  context.Context
	body io.Reader
	a    vectorAnswer
}

func (p *played) Read(b []byte) (int, error) {
	n, err := p.body.Read(b)
	switch {
	case err == nil:
	case p.a.Stalls:
		<-p.ctx.Done()
		err = p.ctx.Err()
	case p.a.Breaks:
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (p *played) Close() error { return nil }

// runServer asks a server for files of an index.
func (v *vector) runServer() judgement {
	at, err := index.Locate(v.Name)
	if err != nil {
		return judged(err)
	}
	cache, err := os.MkdirTemp("", "cache-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(cache)
	if v.Forget {
		cache = ""
	}
	p, now := &player{answers: v.Answers}, v.now()
	in := index.Remoting{Client: &http.Client{Transport: p}, Now: func() time.Time { return now }, User: at.User, Cache: cache, Stall: 20 * time.Millisecond}
	src := index.Remote(at.URL, in)
	account := []string{"index " + src.String()}
	var last error
	for _, a := range v.Asks {
		now = v.now().Add(time.Duration(a.After) * time.Second)
		a.spoil(cache)
		limit := a.Limit
		if limit == 0 {
			limit = 100
		}
		data, err := src.Get(context.Background(), a.Path, limit, a.Fresh)
		account, p.requests = append(account, p.requests...), nil
		switch last = err; {
		case errors.Is(err, fs.ErrNotExist):
			account, last = append(account, "not there"), nil
		case err != nil:
			account = append(account, "error: "+err.Error())
		default:
			account = append(account, fmt.Sprintf("%d bytes %.15s", len(data), store.DigestOf(data)))
		}
		account = append(account, cached(cache)...)
	}
	out := judged(last)
	out.account = account
	return out
}

// spoil replaces a text in what is kept.
func (a *vectorAsk) spoil(cache string) {
	if len(a.Swap) != 2 {
		return
	}
	for _, file := range keptFiles(cache) {
		data, err := os.ReadFile(file)
		if err == nil {
			err = os.WriteFile(file, []byte(strings.Replace(string(data), a.Swap[0], a.Swap[1], 1)), 0o600)
		}
		if err != nil {
			panic(err)
		}
	}
}

func keptFiles(cache string) []string {
	if cache == "" {
		return nil
	}
	files, _ := filepath.Glob(filepath.Join(cache, "*")) // the pattern is well formed
	slices.Sort(files)
	return files
}

// cached says what is kept, of each key what was written last.
func cached(cache string) []string {
	last := map[string]string{}
	for _, file := range keptFiles(cache) {
		data, err := os.ReadFile(file)
		if err != nil {
			panic(err)
		}
		_, records, _ := bytes.Cut(data, []byte("\n"))
		for len(records) >= 36 {
			key, size := string(records[:32]), min(int(binary.BigEndian.Uint32(records[32:])), len(records)-36)
			last[key], records = string(records[36:36+size]), records[36+size:]
		}
	}
	out := []string{}
	for _, value := range last {
		switch {
		case strings.HasPrefix(value, "{"):
			out = append(out, "keeps "+value)
		case value != "":
			out = append(out, fmt.Sprintf("keeps %d bytes %.15s", len(value), store.DigestOf([]byte(value))))
		}
	}
	slices.Sort(out)
	return out
}

// serverVectors are about what a server of an index may say.
func serverVectors() map[string]vector {
	v := func(expect, why string, asks []vectorAsk, answers ...vectorAnswer) vector {
		return vector{Expect: expect, Why: why, Name: "https://example.org/x/", Asks: asks, Answers: answers}
	}
	ask := func(paths ...string) (out []vectorAsk) {
		for _, p := range paths {
			out = append(out, vectorAsk{Path: p})
		}
		return out
	}
	head := ask("head")
	twice := func(after int) []vectorAsk { return []vectorAsk{{Path: "head"}, {Path: "head", After: after}} }
	says := func(headers ...string) vectorAnswer {
		a := vectorAnswer{Body: "text", Headers: map[string]string{}}
		for i := 0; i < len(headers); i += 2 {
			a.Headers[headers[i]] = headers[i+1]
		}
		return a
	}
	status := func(n int, headers ...string) vectorAnswer {
		a := says(headers...)
		a.Status, a.Body = n, "no"
		return a
	}
	to := func(where string) vectorAnswer { return status(http.StatusFound, "Location", where) }
	tagged := says("ETag", `"a"`)
	aged := says("Cache-Control", "max-age=30")
	same := vectorAnswer{Status: http.StatusNotModified}
	sum := strings.TrimPrefix(string(store.DigestOf([]byte("text"))), "sha256:")
	object := "objects/sha256/" + sum
	hops := func(n int) (out []vectorAnswer) {
		for i := range n {
			out = append(out, to(fmt.Sprint("/", i)))
		}
		return append(out, says())
	}
	of := func(text string, v vector) vector { v.Name = text; return v }
	swapped := func(from, to string) []vectorAsk {
		out := twice(1)
		out[1].Swap = []string{from, to}
		return out
	}
	text := func(body string) vectorAnswer { return vectorAnswer{Body: body} }
	page := text("<!DOCTYPE html><html>hello</html>")
	fresh := []vectorAsk{{Path: "head"}, {Path: "head", After: 1, Fresh: true}}
	limited := func(n int64) []vectorAsk { return []vectorAsk{{Path: "head", Limit: n}} }
	large := times(4<<20+1, "x")
	stalled := func(body string) vectorAnswer { return vectorAnswer{Body: body, Length: 50, Stalls: true} }
	return map[string]vector{
		"honest":         v("ok", "what the others start from", head, says()),
		"scheme":         of("ftp://example.org/x/", v("USAGE", "no index is read so", head)),
		"insecure":       of("http://bob:secret@example.org/x/", v("USAGE", "the password would be sent in the clear", head)),
		"loopback":       of("http://bob:secret@127.0.0.1/x/", v("ok", "it does not leave the machine", head, says())),
		"user":           of("https://bob:secret@example.org/x/", v("ok", "the password is for this server, and no error names it", ask("head", "gone"), says(), vectorAnswer{Refuses: true})).expecting("INDEX_FETCH"),
		"missing":        v("ok", "404, 410 and 451 say that there is none", ask("a", "b", "c"), status(404), status(410), status(451)),
		"forget-missing": v("ok", "what is gone is not kept", twice(1), says("ETag", `"a"`), status(404)),
		"status":         v("INDEX_FETCH", "no file", head, status(500)),
		"no-content":     v("INDEX_FETCH", "an answer without a file", head, status(204)),
		"unauthorized":   v("INDEX_FETCH", "what the server says of it is not shown", head, status(401)),
		"encoding":       v("INDEX_FETCH", "few bytes could become many", head, says("Content-Encoding", "gzip")),
		"identity":       v("ok", "no encoding at all", head, says("Content-Encoding", "identity")),
		"announced":      v("PARSE", "more than there may be", limited(3), says()),
		"announced-just": v("ok", "as much as there may be", limited(4), says()),
		"larger":         v("PARSE", "more than it said, without end", limited(3), vectorAnswer{Body: "text", Chunked: true, Length: -1}),
		"just":           v("ok", "as much as there may be", limited(4), vectorAnswer{Body: "text", Chunked: true, Length: -1}),
		"unended":        v("INDEX_FETCH", "a cut answer would pass for all of it", head, vectorAnswer{Body: "text", Length: -1}),
		"unended-http2":  v("ok", "the protocol says where it ends", head, vectorAnswer{Body: "text", Length: -1, HTTP2: true}),
		"refused":        v("INDEX_FETCH", "nobody answers", head, vectorAnswer{Refuses: true}),
		"broken":         v("INDEX_FETCH", "a part of a file", head, vectorAnswer{Body: "te", Length: 4, Breaks: true}),
		"stalled":        v("INDEX_FETCH", "nothing comes, and it does not end", head, stalled("")),
		"stalled-later":  v("INDEX_FETCH", "too little comes, and it does not end", head, stalled("te")),
		"page":           v("INDEX_FETCH", "a portal's page", head, page),
		"page-object":    v("ok", "an object may be a page", ask("objects/sha256/"+sum), page),
		"page-objects":   v("INDEX_FETCH", "no object", ask("objects"), page),

		"redirect":             v("ok", "to another place", head, to("/y"), says()),
		"redirect-five":        v("ok", "as many as there may be", head, hops(5)...),
		"redirect-six":         v("INDEX_FETCH", "in circles", head, hops(6)...),
		"redirect-scheme":      v("INDEX_FETCH", "without encryption", head, to("http://example.org/y"), says()),
		"redirect-file":        v("INDEX_FETCH", "into this machine", head, to("file:///etc/passwd"), says()),
		"redirect-credentials": v("INDEX_FETCH", "with credentials of somebody else's choice", head, to("https://a:b@example.org/y"), says()),
		"redirect-user":        of("https://bob:secret@example.org/x/", v("ok", "the password stays", head, to("https://sub.example.org/y"), says("Set-Cookie", "a=b"))),
		"redirect-user-same":   of("https://bob:secret@example.org/x/", v("ok", "the same server", head, to("/y"), says())),
		"redirect-port":        of("https://bob:secret@example.org/x/", v("ok", "another server", head, to("https://example.org:444/y"), says())),
		"cookie":               v("ok", "nobody is followed", ask("head", "tail"), says("Set-Cookie", "a=b"), says()),

		"busy":            v("ok", "it asks for patience", head, status(503, "Retry-After", "0"), status(429, "Retry-After", "0"), says()),
		"busy-on":         v("INDEX_FETCH", "patience ends", head, status(503, "Retry-After", "0"), status(429, "Retry-After", "0"), status(503, "Retry-After", "0"), says()),
		"busy-long":       v("INDEX_FETCH", "more patience than there is", head, status(503, "Retry-After", "6"), says()),
		"busy-minus":      v("INDEX_FETCH", "a time before now", head, status(503, "Retry-After", "-1"), says()),
		"busy-silent":     v("INDEX_FETCH", "it does not say when", head, status(503), says()),
		"busy-date":       v("INDEX_FETCH", "a date is not waited for", head, status(503, "Retry-After", "Mon, 01 Jun 2026 12:00:00 GMT"), says()),
		"busy-then-large": v("PARSE", "what it says then counts", limited(3), status(503, "Retry-After", "0"), says()),

		"etag":           v("ok", "what has not changed is not sent again", twice(1), tagged, same),
		"etag-weak":      v("ok", "what has not changed is not sent again", twice(1), says("ETag", `W/"a"`), same),
		"etag-changed":   v("ok", "it has changed", twice(1), tagged, vectorAnswer{Body: "other", Headers: map[string]string{"ETag": `"b"`}}),
		"etag-sum":       v("ok", "its own sum", twice(1), says("ETag", `"`+sum+`"`), same),
		"etag-sum-other": v("INDEX_FETCH", "the sum of other bytes would let these pass for them", twice(1), says("ETag", `"`+strings.Repeat("a", 64)+`"`), same),
		"etag-sum-weak":  v("INDEX_FETCH", "the sum of other bytes would let these pass for them", twice(1), says("ETag", `W/"`+strings.Repeat("a", 64)+`"`), same),
		"etag-200":       v("ok", "as long as it may be", twice(1), says("ETag", `"`+strings.Repeat("a", 198)+`"`), same),
		"etag-long":      v("INDEX_FETCH", "longer than it may be", twice(1), says("ETag", `"`+strings.Repeat("a", 199)+`"`), same),
		"etag-space":     v("ok", "a space can be sent", twice(1), says("ETag", `"a b~"`), same),
		"etag-tab":       v("INDEX_FETCH", "what is no text is not sent", twice(1), says("ETag", "\"a\tb\""), same),
		"etag-umlaut":    v("INDEX_FETCH", "what is no ASCII is not sent", twice(1), says("ETag", `"ä"`), same),
		"etag-none":      v("ok", "it is asked for again", twice(1), says(), says()),
		"etag-lost":      v("ok", "what came without one takes the place of what had one", []vectorAsk{{Path: "head"}, {Path: "head", After: 1}, {Path: "head", After: 2}}, tagged, says(), says()),
		"unasked":        v("INDEX_FETCH", "it was not asked whether anything has changed", head, same),
		"unasked-aged":   v("INDEX_FETCH", "it was not asked whether anything has changed", twice(31), aged, same),
		"fresh":          v("ok", "it is asked for what there is now", fresh, tagged, says()),
		"fresh-aged":     v("ok", "it is asked for what there is now", fresh, aged, says()),
		"fresh-same":     v("INDEX_FETCH", "it was asked for what there is now", fresh, tagged, same),
		"forgetful":      with(v("ok", "nothing is kept", twice(1), tagged, tagged), func(v *vector) { v.Forget = true }),
		"forgetful-gone": with(v("ok", "nothing is kept", head, status(404)), func(v *vector) { v.Forget = true }),

		"aged":            v("ok", "it may be used for so long", twice(29), aged),
		"aged-at-once":    v("ok", "it is of this second", twice(0), aged),
		"aged-out":        v("ok", "it may be used no longer", twice(30), aged, says()),
		"aged-long":       v("ok", "a lie lasts a minute", twice(59), says("Cache-Control", "public, max-age=31536000, immutable")),
		"aged-longer":     v("ok", "a lie lasts a minute", twice(60), says("Cache-Control", "public, max-age=31536000, immutable"), says()),
		"aged-back":       v("ok", "the clock went back: nobody knows how old it is", twice(-1), aged, says()),
		"aged-no-cache":   v("ok", "it says to ask", twice(1), says("Cache-Control", "max-age=30, no-cache", "ETag", `"a"`), says()),
		"aged-no-store":   v("ok", "it says to ask", twice(1), says("Cache-Control", "no-store, max-age=30", "ETag", `"a"`), says()),
		"aged-revalidate": v("ok", "it says to ask", twice(1), says("Cache-Control", "Must-Revalidate,max-age=30", "ETag", `"a"`), says()),
		"aged-junk":       v("ok", "no number", twice(1), says("Cache-Control", "max-age=many"), says()),
		"aged-minus":      v("ok", "no number", twice(1), says("Cache-Control", "max-age=-1"), says()),
		"aged-huge":       v("ok", "more than a number", twice(1), says("Cache-Control", "max-age=9223372036854775807"), says()),
		"aged-again":      v("ok", "the answer that nothing has changed has its own age", []vectorAsk{{Path: "head"}, {Path: "head", After: 31}, {Path: "head", After: 60}, {Path: "head", After: 62}}, says("Cache-Control", "max-age=30", "ETag", `"a"`), vectorAnswer{Status: 304, Headers: map[string]string{"Cache-Control": "max-age=30"}}, same),
		"aged-other":      v("ok", "of another file", ask("head", "tail"), aged, says()),
		"cache-body":      v("ok", "what was kept is another", swapped("text", "tent"), aged, says()),
		"cache-url":       v("ok", "of another place", swapped("example.org/x/head", "example.org/x/tail"), aged, says()),
		"cache-form":      v("ok", "no cache", swapped(`"url"`, `"uri"`), aged, says()),
		"cache-cut":       v("ok", "half of a cache", swapped("text", ""), aged, says()),
		"cache-size":      v("ok", "no content is not its content", swapped(`"size":4`, `"size":0`), aged, says()),
		"cache-sizes":     v("ok", "it has less content than it says", swapped(`"size":4`, `"size":5`), aged, says()),
		"cache-age":       v("ok", "a lie of the cache lasts a minute too", []vectorAsk{{Path: "head"}, {Path: "head", After: 60, Swap: []string{`"max_age":30`, `"max_age":90`}}}, aged, says()),
		"cache-limit":     v("PARSE", "more than there may be, also of what was kept", []vectorAsk{{Path: "head"}, {Path: "head", After: 1, Limit: 3}}, aged, says()),
		"cache-just":      v("ok", "as much as there may be", []vectorAsk{{Path: "head"}, {Path: "head", After: 1, Limit: 4}}, aged),
		"cache-large":     v("ok", "too large to be kept", []vectorAsk{{Path: object, Limit: 5 << 20}, {Path: object, Limit: 5 << 20, After: 1}}, vectorAnswer{Body: large, Headers: aged.Headers}, text("x")),
		"cache-largest":   v("ok", "as large as may be kept", []vectorAsk{{Path: object, Limit: 5 << 20}, {Path: object, Limit: 5 << 20, After: 1}}, vectorAnswer{Body: times(4<<20, "x"), Headers: aged.Headers}),
	}
}

func (v vector) expecting(code string) vector { v.Expect = code; return v }
