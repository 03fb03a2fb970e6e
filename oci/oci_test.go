package oci_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/fault"
	"rebuild/oci"
	"rebuild/store"
)

// released is a verified release, with provenance beside one of the results.
type released struct {
	*attesttest.World
	release     attest.Release
	testimonies []attest.Testimony
	rbundle     []byte
	image       store.Digest
}

func newReleased(t testing.TB) *released {
	t.Helper()
	w := attesttest.New(t)
	r := w.Honest()
	signed, testimonies, err := attest.Testimonies(w.LoadPolicy(), r.Bundle, attesttest.Now)
	must(t, err)
	rbundle, err := r.Bundle.Encode()
	must(t, err)
	return &released{w, signed.Release(), testimonies, rbundle, w.Stages[1].Manifest}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func code(t testing.TB, err error, want fault.Code) {
	t.Helper()
	if fault.CodeOf(err) != want {
		t.Errorf("got %q (%v), want %q", fault.CodeOf(err), err, want)
	}
}

// export pushes the image and exports the evidence.
func (r *released) export(t testing.TB, to oci.Place) []oci.Exported {
	t.Helper()
	must(t, oci.PushImages(context.Background(), to, r.Store, r.image))
	out, err := oci.Export(context.Background(), to, r.release, r.testimonies, r.rbundle)
	must(t, err)
	return out
}

// serve starts an in-memory registry behind a handler that may spoil it.
func serve(t testing.TB, referrers bool, around func(http.Handler) http.Handler) string {
	t.Helper()
	h := registry.New(registry.WithReferrersSupport(referrers), registry.Logger(log.New(io.Discard, "", 0)))
	if around != nil {
		h = around(h)
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func open(t testing.TB, host string) oci.Place {
	t.Helper()
	p, err := oci.OpenRegistry(host+"/demo/hello", oci.Access{Client: &http.Client{}, UserAgent: "test"})
	must(t, err)
	return p
}

func layoutIn(t testing.TB, dir string) oci.Place {
	t.Helper()
	p, err := oci.OpenLayout(dir)
	must(t, err)
	return p
}

// requests counts what changes something.
type requests struct {
	http.Handler
	mu      sync.Mutex
	changes []string
}

func (r *requests) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if q.Method != http.MethodGet && q.Method != http.MethodHead {
		r.mu.Lock()
		r.changes = append(r.changes, q.Method+" "+q.URL.Path)
		r.mu.Unlock()
	}
	r.Handler.ServeHTTP(w, q)
}

func (r *requests) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.changes
	r.changes = nil
	return out
}

// Whatever the place, what comes back out is what went in, and a second export
// changes nothing.
func TestExportAndFind(t *testing.T) {
	r := newReleased(t)
	dir := filepath.Join(t.TempDir(), "layout")
	var counted [2]*requests
	count := func(i int) func(http.Handler) http.Handler {
		return func(h http.Handler) http.Handler { counted[i] = &requests{Handler: h}; return counted[i] }
	}
	for name, to := range map[string]oci.Place{
		"layout": layoutIn(t, dir), "referrers API": open(t, serve(t, true, count(0))), "fallback tag": open(t, serve(t, false, count(1))),
	} {
		t.Run(name, func(t *testing.T) {
			first := r.export(t, to)
			if len(first) != 1 || first[0].Attached != 4 || len(first[0].Added) != 4 {
				t.Fatalf("exported %+v, want 3 statements and the bundle", first)
			}
			found, err := oci.Find(context.Background(), to, r.image)
			must(t, err)
			r.checkFound(t, found)
			for _, c := range counted {
				c.take()
			}
			before := snapshot(t, dir)
			if again := r.export(t, to); len(again[0].Added) != 0 || again[0].Attached != 4 {
				t.Errorf("the second export says %+v", again)
			}
			for _, c := range counted {
				if changes := c.take(); len(changes) != 0 {
					t.Errorf("the second export changed %v", changes)
				}
			}
			if after := snapshot(t, dir); after != before {
				t.Errorf("the second export changed the layout from\n%s\nto\n%s", before, after)
			}
		})
	}
}

func (r *released) checkFound(t *testing.T, found []oci.Artifact) {
	t.Helper()
	var statements [][]byte
	bundles := 0
	for _, a := range found {
		switch a.Type {
		case oci.TypeBundle:
			bundles++
			if !bytes.Equal(a.Content, r.rbundle) || a.Title != "hello-0.1.0.rbundle" {
				t.Errorf("the bundle came back as %q with %d bytes", a.Title, len(a.Content))
			}
		case oci.TypeStatement:
			e, err := a.Envelope()
			must(t, err)
			statements = append(statements, e)
		}
	}
	if len(statements) != 3 || bundles != 1 {
		t.Fatalf("%d statements and %d bundles came back, want 3 and 1", len(statements), bundles)
	}
	for _, want := range r.testimonies {
		if !slices.ContainsFunc(statements, func(e []byte) bool { return bytes.Equal(e, want.Envelope) }) {
			t.Errorf("the statement of %s did not come back byte for byte", want.Operator)
		}
	}
}

// snapshot is the content of a folder's files, and when each was written.
func snapshot(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			content, err := os.ReadFile(path)
			must(t, err)
			fmt.Fprintln(&b, path, store.DigestOf(content), info.ModTime())
		}
		return nil
	})
	return b.String()
}

// The same evidence must give the same manifests everywhere, or two who export
// it would fill a repository with copies.
func TestExportIsTheSameEverywhere(t *testing.T) {
	r := newReleased(t)
	a := r.export(t, layoutIn(t, t.TempDir()))
	b := r.export(t, open(t, serve(t, true, nil)))
	if fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("\n%v\n%v", a, b)
	}
}

// Without the image there is nothing to refer to, and nothing may be written.
func TestExportWithoutTheImage(t *testing.T) {
	r := newReleased(t)
	for _, referrers := range []bool{true, false} {
		var counted *requests
		host := serve(t, referrers, func(h http.Handler) http.Handler { counted = &requests{Handler: h}; return counted })
		_, err := oci.Export(context.Background(), open(t, host), r.release, r.testimonies, r.rbundle)
		code(t, err, fault.FileMissing)
		if changes := counted.take(); len(changes) != 0 {
			t.Errorf("changed %v", changes)
		}
	}
	_, err := oci.Export(context.Background(), layoutIn(t, t.TempDir()), r.release, r.testimonies, r.rbundle)
	code(t, err, fault.FileMissing)
}

// index is a list of referrers under a fallback tag.
type index struct {
	MediaType string           `json:"mediaType"`
	Manifests []map[string]any `json:"manifests"`
}

func (r *released) tagURL(host string) string { return tagURL(host, r.image) }

func tagURL(host string, image store.Digest) string {
	return "http://" + host + "/v2/demo/hello/manifests/" + strings.Replace(string(image), ":", "-", 1)
}

func request(t *testing.T, method, url, mediaType string, body []byte) (int, []byte) {
	t.Helper()
	q, err := http.NewRequest(method, url, bytes.NewReader(body))
	must(t, err)
	if mediaType != "" {
		q.Header.Set("Content-Type", mediaType)
	}
	resp, err := http.DefaultClient.Do(q)
	must(t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	must(t, err)
	return resp.StatusCode, answer
}

// The list under the fallback tag is shared: what others have in it stays, and
// ours says its type and annotations, or consumers could not find it without
// fetching everything (cosign issue 4641).
func TestFallbackTag(t *testing.T) {
	r := newReleased(t)
	host := serve(t, false, nil)
	to := open(t, host)
	must(t, oci.PushImages(context.Background(), to, r.Store, r.image))
	other := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"text/plain",` +
		`"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"` + string(store.DigestOf([]byte("{}"))) + `","size":2},"layers":[]}`)
	otherDigest := store.DigestOf(other)
	request(t, http.MethodPut, "http://"+host+"/v2/demo/hello/manifests/"+string(otherDigest), store.MediaTypeManifest, other)
	list := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":%d,"artifactType":"text/plain","annotations":{"of":"another"}}]}`,
		store.MediaTypeIndex, store.MediaTypeManifest, otherDigest, len(other))
	if status, body := request(t, http.MethodPut, r.tagURL(host), store.MediaTypeIndex, list); status != http.StatusCreated {
		t.Fatalf("%d %s", status, body)
	}
	r.export(t, to)
	_, raw := request(t, http.MethodGet, r.tagURL(host), "", nil)
	var got index
	must(t, json.Unmarshal(raw, &got))
	if len(got.Manifests) != 5 || got.MediaType != store.MediaTypeIndex {
		t.Fatalf("the list is\n%s", raw)
	}
	for _, m := range got.Manifests {
		note, _ := m["annotations"].(map[string]any)
		switch m["artifactType"] {
		case "text/plain":
			if m["digest"] != string(otherDigest) || note["of"] != "another" {
				t.Errorf("the entry of another became %v", m)
			}
		case oci.TypeStatement:
			if note["dev.sigstore.bundle.predicateType"] != attest.PredicateResult || note["dev.sigstore.bundle.content"] != "dsse-envelope" {
				t.Errorf("annotations %v", note)
			}
		case oci.TypeBundle:
		default:
			t.Errorf("entry %v", m)
		}
	}
	if found, err := oci.Find(context.Background(), to, r.image); err != nil || len(found) != 4 {
		t.Errorf("found %d of ours, want 4 (%v)", len(found), err)
	}
}

// A fallback tag that holds something else must not be written over.
func TestBadFallbackTag(t *testing.T) {
	r := newReleased(t)
	for name, c := range map[string]struct {
		mediaType string
		body      string
		code      fault.Code
	}{
		"an image":      {store.MediaTypeManifest, `{"schemaVersion":2,"config":{},"layers":[]}`, fault.Structure},
		"a docker list": {"application/vnd.docker.distribution.manifest.list.v2+json", `{"schemaVersion":2,"manifests":[]}`, fault.Structure},
		"junk":          {store.MediaTypeIndex, `{"schemaVersion":2,"manifests":7}`, fault.IndexFetch},
		"a bad digest":  {store.MediaTypeIndex, `{"schemaVersion":2,"manifests":[{"digest":"../x"}]}`, fault.Structure},
	} {
		t.Run(name, func(t *testing.T) {
			to := open(t, serve(t, false, func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					if !strings.Contains(q.URL.Path, "/manifests/sha256-") {
						h.ServeHTTP(w, q)
						return
					}
					if q.Method == http.MethodPut || q.Method == http.MethodDelete {
						t.Errorf("%s %s", q.Method, q.URL.Path)
					}
					w.Header().Set("Content-Type", c.mediaType)
					w.Header().Set("Content-Length", strconv.Itoa(len(c.body)))
					w.Header().Set("Docker-Content-Digest", string(store.DigestOf([]byte(c.body))))
					if q.Method == http.MethodGet {
						io.WriteString(w, c.body)
					}
				})
			}))
			must(t, oci.PushImages(context.Background(), to, r.Store, r.image))
			_, err := oci.Export(context.Background(), to, r.release, r.testimonies, r.rbundle)
			code(t, err, c.code)
		})
	}
}

// Evidence of one image that is listed for another must not pass for its own.
func TestReferrersOfAnotherImage(t *testing.T) {
	r := newReleased(t)
	host := serve(t, false, nil)
	to := open(t, host)
	r.export(t, to)
	other := r.Stages[0].Manifest
	must(t, oci.PushImages(context.Background(), to, r.Store, other))
	_, list := request(t, http.MethodGet, r.tagURL(host), "", nil)
	request(t, http.MethodPut, tagURL(host, other), store.MediaTypeIndex, list)
	_, err := oci.Find(context.Background(), to, other)
	code(t, err, fault.EvidenceMismatch)
}

// Two who export at once update one list without a lock. What one of them
// loses must be put again before either says that it is done.
func TestLostUpdate(t *testing.T) {
	r := newReleased(t)
	lost := 0
	host := serve(t, false, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Method == http.MethodPut && strings.Contains(q.URL.Path, "/manifests/sha256-") && lost < 2 {
				lost++ // taken, and lost to another writer
				body, _ := io.ReadAll(q.Body)
				w.Header().Set("Docker-Content-Digest", string(store.DigestOf(body)))
				w.WriteHeader(http.StatusCreated)
				return
			}
			h.ServeHTTP(w, q)
		})
	})
	to := open(t, host)
	r.export(t, to)
	found, err := oci.Find(context.Background(), to, r.image)
	must(t, err)
	if r.checkFound(t, found); lost != 2 {
		t.Errorf("%d updates were lost, want 2", lost)
	}
}

// A registry that takes referrers and never lists them must not count as done.
func TestReferrersThatAreNotListed(t *testing.T) {
	r := newReleased(t)
	host := serve(t, false, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if strings.Contains(q.URL.Path, "/referrers/") {
				w.Header().Set("Content-Type", store.MediaTypeIndex)
				fmt.Fprint(w, `{"schemaVersion":2,"manifests":[]}`)
				return
			}
			h.ServeHTTP(w, q)
		})
	})
	to := open(t, host)
	must(t, oci.PushImages(context.Background(), to, r.Store, r.image))
	_, err := oci.Export(context.Background(), to, r.release, r.testimonies, r.rbundle)
	code(t, err, fault.IndexFetch)
}

// A list without an end, or an artifact without one, must be given up.
func TestEndless(t *testing.T) {
	r := newReleased(t)
	pages := 0
	forms := map[string]http.HandlerFunc{
		"/referrers/": func(w http.ResponseWriter, q *http.Request) {
			pages++
			w.Header().Set("Content-Type", store.MediaTypeIndex)
			w.Header().Set("Link", fmt.Sprintf("<%s?n=%d>; rel=\"next\"", q.URL.Path, pages))
			fmt.Fprintf(w, `{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":"sha256:%064x","size":1}]}`, store.MediaTypeManifest, pages)
		},
		"/blobs/": func(w http.ResponseWriter, q *http.Request) {
			for junk := make([]byte, 1<<20); ; {
				if _, err := w.Write(junk); err != nil {
					return
				}
			}
		},
		"/manifests/sha256:": func(w http.ResponseWriter, q *http.Request) {
			w.Header().Set("Content-Type", store.MediaTypeManifest)
			w.Header().Set("Content-Length", strconv.Itoa(1<<40))
			for junk := make([]byte, 1<<20); ; {
				if _, err := w.Write(junk); err != nil {
					return
				}
			}
		},
	}
	for part, endless := range forms {
		t.Run(part, func(t *testing.T) {
			spoil := false
			to := open(t, serve(t, true, func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					if spoil && q.Method == http.MethodGet && strings.Contains(q.URL.Path, part) {
						endless(w, q)
						return
					}
					h.ServeHTTP(w, q)
				})
			}))
			r.export(t, to)
			spoil = true
			if found, err := oci.Find(context.Background(), to, r.image); err == nil || fault.CodeOf(err) == fault.Internal {
				t.Errorf("found %d, error %v", len(found), err)
			}
		})
	}
}

// Whatever path content takes, a byte that was changed on it must be noticed.
func TestChangedBytes(t *testing.T) {
	r := newReleased(t)
	for _, referrers := range []bool{true, false} {
		for _, part := range []string{"/blobs/", "/manifests/sha256:"} {
			spoil := false
			host := serve(t, referrers, func(h http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					if !spoil || q.Method != http.MethodGet || !strings.Contains(q.URL.Path, part) {
						h.ServeHTTP(w, q)
						return
					}
					answer := httptest.NewRecorder()
					h.ServeHTTP(answer, q)
					body := answer.Body.Bytes()
					body[len(body)/2] ^= 1
					for k, v := range answer.Header() {
						w.Header()[k] = v // also the digest that it should have
					}
					w.WriteHeader(answer.Code)
					w.Write(body)
				})
			})
			to := open(t, host)
			r.export(t, to)
			spoil = true
			_, err := oci.Find(context.Background(), to, r.image)
			code(t, err, fault.CksumMismatch)
		}
	}
	dir := t.TempDir()
	to := layoutIn(t, dir)
	added := r.export(t, to)[0].Added
	path := filepath.Join(dir, "blobs", "sha256", added[0].Hex())
	raw, err := os.ReadFile(path)
	must(t, err)
	raw[len(raw)/2] ^= 1
	must(t, os.WriteFile(path, raw, 0o644))
	_, err = oci.Find(context.Background(), to, r.image)
	code(t, err, fault.CksumMismatch)
}

// Credentials belong to the host that they are for. A registry that sends
// somewhere else must not carry them there (oras-go CVE-2026-48978).
func TestCredentialsStayWithTheirHost(t *testing.T) {
	r := newReleased(t)
	var mu sync.Mutex
	var leaked, sent []string
	registryOf := func(target *string, asked *[]string) func(http.Handler) http.Handler {
		return func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
				mu.Lock()
				authorization := q.Header.Get("Authorization")
				if authorization != "" {
					*asked = append(*asked, authorization)
				}
				mu.Unlock()
				switch {
				case target == nil:
					h.ServeHTTP(w, q)
				case authorization == "":
					w.Header().Set("Www-Authenticate", `Basic realm="test"`)
					w.WriteHeader(http.StatusUnauthorized)
				case *target != "" && (q.Method == http.MethodGet || q.Method == http.MethodHead):
					http.Redirect(w, q, "http://"+*target+q.URL.RequestURI(), http.StatusTemporaryRedirect)
				default:
					h.ServeHTTP(w, q)
				}
			})
		}
	}
	elsewhere := serve(t, true, registryOf(nil, &leaked))
	r.export(t, open(t, elsewhere))
	redirect := ""
	host := serve(t, true, registryOf(&redirect, &sent))
	config := filepath.Join(t.TempDir(), "config.json")
	must(t, os.WriteFile(config, fmt.Appendf(nil, `{"auths":{%q:{"auth":%q}}}`, host, base64.StdEncoding.EncodeToString([]byte("north:secret"))), 0o600))
	to, err := oci.OpenRegistry(host+"/demo/hello", oci.Access{Client: &http.Client{}, DockerConfig: config})
	must(t, err)
	r.export(t, to)
	redirect = elsewhere
	found, err := oci.Find(context.Background(), to, r.image)
	must(t, err)
	r.checkFound(t, found)
	if len(sent) == 0 || len(leaked) != 0 {
		t.Errorf("%d requests with credentials at their host, %d elsewhere: %v", len(sent), len(leaked), leaked)
	}
}

// An upload that is sent to another host would take the credentials with it.
func TestUploadStaysWithItsHost(t *testing.T) {
	r := newReleased(t)
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the other host was asked") }))
	defer elsewhere.Close()
	host := serve(t, true, func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Method == http.MethodPost {
				w.Header().Set("Location", elsewhere.URL+"/upload")
				w.WriteHeader(http.StatusAccepted)
				return
			}
			h.ServeHTTP(w, q)
		})
	})
	code(t, oci.PushImages(context.Background(), open(t, host), r.Store, r.image), fault.IndexFetch)
}

func TestReferences(t *testing.T) {
	for _, reference := range []string{"", "hello", "host/hello:tag", "host/hello@" + string(store.DigestOf(nil)), "host/Hello", "http://host/hello", "host/../hello"} {
		_, err := oci.OpenRegistry(reference, oci.Access{Client: &http.Client{}})
		code(t, err, fault.Usage)
	}
}

// Another host is never spoken to without TLS unless that is asked for.
func TestPlainHTTP(t *testing.T) {
	for host, want := range map[string]string{
		"registry.example": "https", "192.0.2.1:5000": "https", "localhost.example": "https",
		"localhost:5000": "http", "127.0.0.1:5000": "http", "[::1]:5000": "http",
	} {
		for _, insecure := range []bool{false, true} {
			asked := ""
			client := &http.Client{Transport: transport(func(q *http.Request) (*http.Response, error) {
				asked = q.URL.Scheme
				return nil, fmt.Errorf("not today")
			})}
			to, err := oci.OpenRegistry(host+"/hello", oci.Access{Client: client, PlainHTTP: insecure})
			must(t, err)
			_, err = oci.Find(context.Background(), to, store.DigestOf(nil))
			code(t, err, fault.IndexFetch)
			if insecure {
				want = "http"
			}
			if asked != want {
				t.Errorf("%s, insecure %v: %s, want %s", host, insecure, asked, want)
			}
		}
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(q *http.Request) (*http.Response, error) { return f(q) }

// What is no statement of one signature must not become a Sigstore bundle, and
// no other Sigstore bundle a statement.
func TestStatementForm(t *testing.T) {
	r := newReleased(t)
	payload := []byte("{}")
	_, err := oci.Statement(r.Sign(payload, "north", "west"), attest.PredicateResult)
	code(t, err, fault.Structure)
	_, err = oci.Statement([]byte("{}"), attest.PredicateResult)
	code(t, err, fault.Structure)
	good, err := oci.Statement(r.Sign(payload, "north"), attest.PredicateResult)
	must(t, err)
	for name, edit := range map[string]func(string) string{
		"message signature": func(s string) string { return strings.Replace(s, "dsseEnvelope", "messageSignature", 1) },
		"certificate":       func(s string) string { return strings.Replace(s, "publicKey", "certificate", 1) },
		"two signatures":    func(s string) string { return strings.Replace(s, `[{"sig"`, `[{"sig":"eA=="},{"sig"`, 1) },
		"other payload":     func(s string) string { return strings.Replace(s, "vnd.in-toto+json", "text", 1) },
		"cut":               func(s string) string { return s[:len(s)/2] },
	} {
		bad := good
		if bad.Content = []byte(edit(string(good.Content))); bytes.Equal(bad.Content, good.Content) {
			t.Fatalf("%s: nothing was changed", name)
		}
		if e, err := bad.Envelope(); err == nil {
			t.Errorf("%s: gives %s", name, e)
		}
	}
}
