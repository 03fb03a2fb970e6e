package attest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/index"
	"rebuild/store"
)

// source is where the index of a vector is read from: a folder, the list in it,
// or a server, if that has withdrawn something.
func (v *vector) source(ctx context.Context, folder fstest.MapFS) (index.Source, error) {
	src := index.Dir(folder, "INDEX")
	for _, f := range v.Files {
		if f.Type == "w" {
			src = index.Remote(&url.URL{Scheme: "https", Host: "example.org", Path: "/x/"},
				index.Remoting{Client: &http.Client{Transport: withdrawing(v.Files)}, Now: v.now, Stall: time.Minute})
		}
	}
	if v.Flat {
		return index.Flat(ctx, src)
	}
	return src, nil
}

// withdrawing is a server of the files of an index.
type withdrawing map[string]vectorFile

// RoundTrip implements [http.RoundTripper].
func (w withdrawing) RoundTrip(r *http.Request) (*http.Response, error) {
	f, there := w[strings.TrimPrefix(r.URL.Path, "/x/")]
	out := &http.Response{Request: r, StatusCode: http.StatusOK, Header: http.Header{}, ProtoMajor: 1, ContentLength: int64(len(f.data()))}
	switch {
	case !there:
		out.StatusCode = http.StatusNotFound
	case f.Type == "w":
		out.StatusCode = http.StatusUnavailableForLegalReasons
	}
	out.Body = io.NopCloser(bytes.NewReader(f.data()))
	return out, nil
}

// elsewhere is another place that has archives, by the digest of their release.
func (v *vector) elsewhere() index.Elsewhere {
	if len(v.Elsewhere) == 0 {
		return nil
	}
	return func(_ context.Context, digest store.Digest, release *attest.Release) ([]byte, error) {
		if release == nil {
			return nil, errors.New("asked for no release")
		}
		f, there := v.Elsewhere[string(digest)]
		switch {
		case !there:
			return nil, nil
		case f.Type == "d":
			return nil, errors.New("nobody answers elsewhere")
		}
		return f.data(), nil
	}
}

// elsewhereVectors are about archives that an index does not have.
func elsewhereVectors(w *attesttest.World) map[string]vector {
	_, honest := indexOf(w)
	release := w.Honest()
	digest, archive := string(releaseDigest(w.T, release.Bundle.Release)), release.Package.Archive()
	object := "objects/sha256/" + store.DigestOf(archive).Hex()
	v := func(expect, why string, at, there *vectorFile) vector {
		files := maps.Clone(honest)
		delete(files, object)
		if at != nil {
			files[object] = *at
		}
		out := vector{Expect: expect, Why: why, Policy: attesttest.Policy(""), Name: "hello", Version: "0.1.0", Files: files,
			Elsewhere: map[string]vectorFile{otherDigest: {Text: "x"}}}
		if there != nil {
			out.Elsewhere = map[string]vectorFile{digest: *there}
		}
		return out
	}
	whole, junk, folder, withdrawn := vectorFileOf(archive), vectorFile{Text: "x"}, vectorFile{Type: "d"}, vectorFile{Type: "w"}
	return map[string]vector{
		"elsewhere":           v("ok", "its bytes are what counts", nil, &whole),
		"elsewhere-other":     v("CKSUM_MISMATCH", "another archive", nil, &junk),
		"elsewhere-none":      v("FILE_MISSING", "nobody named a place that has it", nil, nil),
		"elsewhere-silent":    v("INTERNAL", "the other place can not be asked", nil, &folder),
		"elsewhere-needless":  v("ok", "the index has it", &whole, &junk),
		"elsewhere-damaged":   v("CKSUM_MISMATCH", "what the index has is wrong, and not missing", &junk, &whole),
		"elsewhere-withdrawn": v("FILE_MISSING", "it was taken out on purpose", &withdrawn, &whole),
		"withdrawn":           withElsewhere(v("FILE_MISSING", "it was taken out on purpose", &withdrawn, nil), nil),
	}
}

func withElsewhere(v vector, files map[string]vectorFile) vector { v.Elsewhere = files; return v }

// listVectors are about a flat list that is read in the place of an index.
func listVectors(w *attesttest.World) map[string]vector {
	line, honest := indexOf(w)
	page := func(next string, lines ...string) vectorFile {
		if next != "" {
			next = `"next":"` + next + `",`
		}
		return vectorFile{Text: `{"entries":[` + strings.Join(lines, ",") + `],` + next + `"schema_version":"rebuild.registry@1.0.0"}`}
	}
	v := func(expect, why string, pages ...vectorFile) vector {
		files := maps.Clone(honest)
		maps.DeleteFunc(files, func(path string, _ vectorFile) bool {
			return !strings.HasPrefix(path, "objects/") && !strings.HasPrefix(path, "statements/")
		})
		for i, p := range pages {
			files[listPage(i)] = p
		}
		return vector{Expect: expect, Why: why, Policy: attesttest.Policy(""), Name: "hello", Version: "0.1.0", Files: files, Flat: true}
	}
	many := func(n int) (out []vectorFile) {
		for i := range n - 1 {
			out = append(out, page(listPage(i+1)))
		}
		return append(out, page("", line))
	}
	edited := func(change func(object)) string { return string(edit([]byte(line), change)) }
	older := edited(func(o object) { o["version"] = "0.0.9" })
	archive := "objects/sha256/" + store.DigestOf(w.Honest().Package.Archive()).Hex()
	served := func(v vector) vector { return v.adding(archive, vectorFile{Type: "w"}) }
	beside := v("ok", "an index beside the list is asked", page(""))
	for name, f := range honest {
		beside.Files[name] = f
	}
	long := func(n int) string { // so many bytes of lines, with the line feed
		of := func(n int) string {
			return edited(func(o object) { o["deps"] = []any{object{"name": "zlib", "req": times(n, "x")}} })
		}
		return of(n - 1 - len(expand(of(0))))
	}
	bare := func(v vector) vector { v.Version = ""; return v }
	return map[string]vector{
		"list":               v("ok", "what the lines would say", page("", line)),
		"list-index":         beside,
		"list-none":          v("INDEX_NO_MATCH", "nothing was published there"),
		"list-none-served":   served(v("INDEX_FETCH", "a server that has none")),
		"list-served":        served(v("FILE_MISSING", "a server's list", page("", line))),
		"list-pipe":          v("INDEX_FETCH", "no file", vectorFile{Type: "p"}),
		"list-config-pipe":   v("INDEX_FETCH", "whether it is an index can not be told", page("", line)).adding("config.json", vectorFile{Type: "p"}),
		"list-form":          v("STRUCTURE", "no list", vectorFile{Text: `{"schema_version":"rebuild.registry@1.0.0","x":1}`}),
		"list-pages":         v("ok", "it goes on", page(listPage(1)), page("", line)),
		"list-pages-lines":   bare(v("ok", "lines of one package on two pages", page(listPage(1), line), page("", older))),
		"list-next-none":     v("INDEX_FETCH", "a page is missing", page(listPage(1), line)),
		"list-next-other":    v("SEMANTIC", "in circles", page(listPage(0), line)),
		"list-16-pages":      v("ok", "as many as there may be", many(16)...),
		"list-17-pages":      v("SEMANTIC", "without end", many(17)...),
		"list-name":          v("STRUCTURE", "a name that is a path", page("", edited(func(o object) { o["name"] = "../hello" }))),
		"list-version":       v("STRUCTURE", "no version", page("", edited(func(o object) { o["version"] = "1" }))),
		"list-unsigned":      v("ENTRY_UNSIGNED", "who has only the list trusts nobody for it", page("", edited(func(o object) { delete(o, "signature") }))),
		"list-other":         v("INDEX_NO_MATCH", "of another package", page("", edited(func(o object) { o["name"] = "tool" }))),
		"list-keys":          policyText(v("KEY_UNKNOWN", "it advertises no keys", page("", line)), key64("index"), key64("w1")),
		"list-log":           v("VIEW_MISMATCH", "the policy names a log", page("", line)).saying(attesttest.Policy(attesttest.LogPolicy(0))),
		"list-head":          v("ok", "what else is there is no part of it", page("", line)).adding("head", vectorFile{Text: "x"}).adding("checkpoint", vectorFile{Text: "x"}),
		"list-lines-large":   v("PARSE", "more lines than a package may have", page("", long(4<<20+1))),
		"list-lines-largest": v("PARSE", "as many as it may have, and a line may not be so long", page("", long(4<<20))),
		"list-lines-beside":  v("INDEX_NO_MATCH", "lines beside the list are no part of it", page("")).adding(helloLines, vectorFile{Text: line + "\n"}),
	}
}

// listPage is the name of a page.
func listPage(i int) string {
	if i == 0 {
		return "entries.json"
	}
	return fmt.Sprintf("entries.%d.json", i+1)
}

// releaseDigest is what an index names a release by.
func releaseDigest(t testing.TB, envelope []byte) store.Digest {
	e, err := attest.ParseEnvelope("release", envelope)
	must(t, err)
	return e.Digest()
}
