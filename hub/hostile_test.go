package hub

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rebuild/attest/attesttest"
	"rebuild/internal/fault"
	"rebuild/store"
)

func newWorldFor(t testing.TB) *attesttest.World { return attesttest.New(t) }

// Whoever is not known, or not now, writes nothing; an Authorization is good for
// the one request that it signs.
func TestAuthorization(t *testing.T) {
	s := newSite(t, true)
	object := []byte("an object")
	path := "/objects/" + string(store.DigestOf(object))
	key := attesttest.Key("north")
	sign := func(method, path string, body []byte, at time.Time) string {
		req, err := http.NewRequest(method, s.url+path, nil)
		must(t, err)
		must(t, Authorize(req, store.DigestOf(body), key, at))
		return req.Header.Get("Authorization")
	}
	good := sign("PUT", path, object, s.clock())
	for name, c := range map[string]struct {
		header []string
		status int
		code   fault.Code
	}{
		"missing":        {nil, 401, fault.SignatureInvalid},
		"bearer":         {[]string{"Authorization", "Bearer abc"}, 401, fault.SignatureInvalid},
		"malformed":      {[]string{"Authorization", strings.Replace(good, "key_id=", "keyid=", 1)}, 401, fault.SignatureInvalid},
		"trailing":       {[]string{"Authorization", good + ",x=y"}, 401, fault.SignatureInvalid},
		"stale":          {[]string{"Authorization", sign("PUT", path, object, s.clock().Add(-301*time.Second))}, 401, fault.Stale},
		"of the future":  {[]string{"Authorization", sign("PUT", path, object, s.clock().Add(301*time.Second))}, 401, fault.Stale},
		"another body":   {[]string{"Authorization", sign("PUT", path, []byte("x"), s.clock())}, 401, fault.SignatureInvalid},
		"another path":   {[]string{"Authorization", sign("PUT", "/objects/x", object, s.clock())}, 401, fault.SignatureInvalid},
		"another method": {[]string{"Authorization", sign("POST", path, object, s.clock())}, 401, fault.SignatureInvalid},
		"another key":    {[]string{"Authorization", strings.Replace(good, string(key.Public().ID()), string(attesttest.Key("east").Public().ID()), 1)}, 401, fault.SignatureInvalid},
		"stranger":       {[]string{"Authorization", strings.Replace(good, string(key.Public().ID()), string(attesttest.Key("mallory").Public().ID()), 1)}, 403, fault.KeyUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			got := s.ask("PUT", path, object, c.header...)
			s.refused(got, c.status, c.code)
			if (got.Header.Get("WWW-Authenticate") != "") != (c.status == 401) {
				t.Error(got.Header)
			}
		})
	}
	if got := s.ask("HEAD", path, nil); got.StatusCode != 404 {
		t.Fatalf("%d: something was stored", got.StatusCode)
	}
	answerOf[Written](t, s.ask("PUT", path, object, "Authorization", good), 201)
	// Sent again within its time it stores the same bytes again, for nothing else
	// is it good, and later for nothing at all.
	answerOf[Written](t, s.ask("PUT", path, object, "Authorization", good), 200)
	s.refused(s.ask("PUT", path, []byte("other bytes"), "Authorization", good), 400, fault.CksumMismatch)
	s.refused(s.ask("POST", "/plans", s.PlanJSON, "Authorization", good), 401, fault.SignatureInvalid)
	s.pass(301 * time.Second)
	s.refused(s.ask("PUT", path, object, "Authorization", good), 401, fault.Stale)
}

func TestObjects(t *testing.T) {
	s := newSite(t, true)
	object := []byte("an object")
	path := "/objects/" + string(store.DigestOf(object))
	req := func(body io.Reader, length int64) answered {
		r, err := http.NewRequest("PUT", s.url+path, body)
		must(t, err)
		r.ContentLength = length
		must(t, Authorize(r, store.DigestOf(object), attesttest.Key("north"), s.clock()))
		return do(t, r)
	}
	s.refused(req(strings.NewReader("other bytes"), 11), 400, fault.CksumMismatch)
	s.refused(req(io.MultiReader(bytes.NewReader(object)), -1), 411, fault.Usage)
	s.refused(s.signed("north", "PUT", "/objects/sha256:xyz", object), 400, fault.Structure)
	s.refused(s.signed("north", "PUT", path+"?x=1", object), 400, fault.Usage)
	if got := s.ask("HEAD", path, nil); got.StatusCode != 404 {
		t.Errorf("wrong bytes were kept: %d", got.StatusCode)
	}
	answerOf[Written](t, req(bytes.NewReader(object), int64(len(object))), 201)
	if got := s.ask("HEAD", path, nil); got.StatusCode != 200 || got.ContentLength != int64(len(object)) {
		t.Errorf("%d, %d bytes", got.StatusCode, got.ContentLength)
	}
	held := s.ask("GET", path, nil, "If-None-Match", etagOf(string(object)))
	if held.StatusCode != 304 {
		t.Errorf("%d", held.StatusCode)
	}
}

// What announces more than is allowed is refused before it is read.
func TestOversizedBodiesAreNotRead(t *testing.T) {
	s := newSite(t, true)
	for _, path := range []string{"/objects/" + string(store.DigestOf([]byte("x"))), "/plans", "/entries", "/statements", "/yanks"} {
		method := "POST"
		if strings.HasPrefix(path, "/objects") {
			method = "PUT"
		}
		req, err := http.NewRequest(method, s.url+path, nil)
		must(t, err)
		must(t, Authorize(req, store.DigestOf([]byte("x")), attesttest.Key("north"), s.clock()))
		conn := dial(t, s.url)
		fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: hub\r\nAuthorization: %s\r\nContent-Length: 1000000000000\r\n\r\n", method, path, req.Header.Get("Authorization"))
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		must(t, err)
		if res.StatusCode != 413 {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
		res.Body.Close()
	}
}

func dial(t testing.TB, url string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	return conn
}

func TestPathsOfTheHub(t *testing.T) {
	s := newSite(t, true)
	d := s.published(`"hello"`, `"org/hello"`)
	for _, path := range []string{"/entries/org%2Fhello", "/entries/org%2Fhello/0.1.0", "/index/~org/he/ll/hello", "/healthz", "/readyz", "/entries", "/entries?limit=1"} {
		if got := s.ask("GET", path, nil); got.StatusCode != 200 {
			t.Errorf("%s: %d %s", path, got.StatusCode, got.body)
		}
		if got := s.ask("HEAD", path, nil); got.StatusCode != 200 || len(got.body) != 0 {
			t.Errorf("HEAD %s: %d", path, got.StatusCode)
		}
	}
	if got := s.ask("GET", "/entries/org%2Fhello/0.1.0", nil); !bytes.Equal(got.body, d.Release) {
		t.Error("the release is not as it was posted")
	}
	for _, path := range []string{"/", "/entries/", "/entries//0.1.0", "/entries/org/hello/0.1.0", "/entries/..%2f..%2fetc/0.1.0", "/entries/hello", "/entries/org%2Fhello/0.2.0",
		"/entries/org%2Fhello/latest", "/entries/%00", "/plans/x", "/objects/..", "/plans/sha256:" + strings.Repeat("0", 64), "/objects/sha256:" + strings.Repeat("0", 64),
		"/entries/sha256:" + strings.Repeat("0", 64) + "/snapshot", "/entries/x/snapshot", "/nothing", "/metrics"} {
		got := s.ask("GET", path, nil)
		if got.StatusCode != 404 || got.Header.Get("Location") != "" {
			t.Errorf("%s: %d %s", path, got.StatusCode, got.body)
		}
	}
	for _, q := range []string{"limit=0", "limit=1001", "limit=x", "before=x"} {
		s.refused(s.ask("GET", "/entries?"+q, nil), 400, fault.Usage)
	}
	for path, allow := range map[string]string{"/entries": "GET, POST", "/plans": "POST", "/objects/x": "PUT, GET", "/healthz": "GET", "/index/config.json": "GET, HEAD"} {
		got := s.ask("DELETE", path, nil, "Accept", "application/json")
		s.refused(got, 405, fault.Usage)
		if got.Header.Get("Allow") != allow {
			t.Errorf("%s: %q", path, got.Header.Get("Allow"))
		}
	}
}

func TestWithdrawnPackages(t *testing.T) {
	list := t.TempDir() + "/withdrawn"
	writeFile(t, list, "")
	s := newSite(t, true, func(_ *site, o *Options, _ *Service) { o.Withdrawn = list })
	d := s.published()
	paths := []string{"/entries/hello", "/entries/hello/0.1.0", "/index/he/ll/hello"}
	for _, status := range []int{410, 451} {
		writeFile(t, list, fmt.Sprintf("%d he/ll/hello\n%d statements/%s.dsse.json\n", status, status, d.digest().Hex()))
		for _, path := range append(paths, "/entries/"+string(d.digest())+"/snapshot", "/plans/"+string(s.Plan.Digest())+"/bundle") {
			if got := s.ask("GET", path, nil); got.StatusCode != status {
				t.Errorf("%s: %d", path, got.StatusCode)
			}
		}
	}
	writeFile(t, list, "451 objects/sha256/"+store.DigestOf(d.archive).Hex()+"\n")
	s.refused(s.ask("GET", "/entries/"+string(d.digest())+"/snapshot", nil), 451, fault.IndexNoMatch)
}

// What was withdrawn comes out by no other way: not in a list, not in a bundle,
// not among the uploads once its file is gone.
func TestWithdrawnMeansEverywhere(t *testing.T) {
	list := t.TempDir() + "/withdrawn"
	writeFile(t, list, "")
	s := newSite(t, true, func(_ *site, o *Options, _ *Service) { o.Withdrawn = list })
	d := s.published()
	other := s.propose(`"hello"`, `"other"`)
	_, err := s.client.Publish(t.Context(), other.Bundle, other.archive, nil)
	must(t, err)
	writeFile(t, list, "451 he/ll/hello\n")
	for _, path := range []string{"/entries", "/entries?limit=1"} {
		var names []string
		for next := path; next != ""; {
			page := answerOf[Listing](t, s.ask("GET", next, nil), 200)
			for _, e := range page.Entries {
				names = append(names, e.Name)
			}
			next = page.Next
		}
		if len(names) != 1 || names[0] != "other" {
			t.Errorf("%s lists %v", path, names)
		}
	}
	bundle := "/plans/" + string(s.Plan.Digest()) + "/bundle"
	for _, object := range [][]byte{d.archive, d.Lock, d.Objects[0], s.PlanJSON} {
		digest := store.DigestOf(object)
		file := "objects/sha256/" + digest.Hex()
		writeFile(t, list, "410 "+file+"\n")
		if got := s.ask("GET", bundle, nil); got.StatusCode != 410 && !bytes.Equal(object, d.archive) {
			t.Errorf("%s: the bundle is answered with %d", file, got.StatusCode)
		}
		must(t, os.Remove(filepath.Join(s.dir, filepath.FromSlash(file))))
		s.refused(s.signed("north", "PUT", "/objects/"+string(digest), object), 410, fault.IndexNoMatch)
		s.refused(s.ask("GET", "/objects/"+string(digest), nil), 410, fault.IndexNoMatch)
	}
	s.refused(s.signed("north", "POST", "/plans", s.PlanJSON), 410, fault.IndexNoMatch)
	writeFile(t, list, "410 statements/"+payloadOf(s.Statement("east", nil)).Hex()+".dsse.json\n")
	for _, object := range [][]byte{d.Lock, d.Objects[0], s.PlanJSON} {
		writeFile(t, filepath.Join(s.dir, "objects", "sha256", store.DigestOf(object).Hex()), string(object))
	}
	writeFile(t, filepath.Join(s.dir, "objects", "sha256", store.DigestOf(other.archive).Hex()), string(other.archive))
	s.refused(s.ask("GET", bundle, nil), 410, fault.IndexNoMatch)
	writeFile(t, list, "not a list\n") // then nobody knows what may be given out
	s.refused(s.ask("GET", "/entries", nil), 500, fault.Internal)
}

// Slow peers are cut off, and keep nobody else out.
func TestSlowPeersAreCutOff(t *testing.T) {
	limits := Limits{HeaderTime: 300 * time.Millisecond, Time: 300 * time.Millisecond, MinRate: 1 << 20, Idle: 300 * time.Millisecond, Connections: 8, PerHost: 4}
	s := newSite(t, true, func(_ *site, _ *Options, service *Service) { service.Limits = limits })
	for name, start := range map[string]string{
		"no header":     "",
		"half a header": "GET /healthz HTTP/1.1\r\nHost: hub\r\nX-Slow: ",
		"half a body":   "POST /statements HTTP/1.1\r\nHost: hub\r\nContent-Length: 1000\r\n\r\nabc",
		"idle":          "GET /healthz HTTP/1.1\r\nHost: hub\r\n\r\n",
		"chunks":        "POST /entries HTTP/1.1\r\nHost: hub\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, s.url)
			_, err := io.WriteString(conn, start)
			must(t, err)
			answer, err := io.ReadAll(conn) // ends when the hub hangs up
			if err != nil {
				t.Errorf("the connection stays open: %v", err)
			}
			if strings.Contains(name, "body") && !bytes.Contains(answer, []byte(" 400 ")) && len(answer) != 0 {
				t.Errorf("%s", answer)
			}
		})
	}
}

func TestHeadersAreBounded(t *testing.T) {
	s := newSite(t, true)
	conn := dial(t, s.url)
	fmt.Fprintf(conn, "GET /healthz HTTP/1.1\r\nHost: hub\r\nX-Large: %s\r\n\r\n", strings.Repeat("x", 64<<10))
	answer, _ := io.ReadAll(conn)
	if !bytes.HasPrefix(answer, []byte("HTTP/1.1 431 ")) {
		t.Errorf("%.100s", answer)
	}
}

// One address can not take every connection, and over the limit of all others
// wait and are served.
func TestConnectionsAreBounded(t *testing.T) {
	s := newSite(t, true, func(_ *site, _ *Options, service *Service) { service.Limits = Limits{Connections: 3, PerHost: 2} })
	held := []net.Conn{dial(t, s.url), dial(t, s.url)}
	for _, c := range held { // both are in: each is answered
		fmt.Fprint(c, "GET /healthz HTTP/1.1\r\nHost: hub\r\n\r\n")
		if _, err := bufio.NewReader(c).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	third := dial(t, s.url)
	if n, _ := io.Copy(io.Discard, third); n != 0 {
		t.Errorf("a third connection is answered with %d bytes", n)
	}
	held[0].Close()
	for ok := false; !ok; { // the place is given back as soon as the server notices
		c := dial(t, s.url)
		fmt.Fprint(c, "GET /healthz HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n")
		answer, _ := io.ReadAll(c)
		ok = bytes.HasPrefix(answer, []byte("HTTP/1.1 200 "))
	}
}

func TestWritesOfOneAddressAreBounded(t *testing.T) {
	wall := time.Now()
	s := newSite(t, true, func(_ *site, o *Options, _ *Service) {
		o.Burst, o.PerSecond, o.Wall = 2, 1, func() time.Time { return wall }
	})
	for range 2 {
		s.refused(s.ask("POST", "/entries", nil), 400, fault.Parse)
	}
	got := s.ask("POST", "/entries", nil)
	s.refused(got, 429, fault.IndexFetch)
	if got.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	if got := s.ask("GET", "/healthz", nil); got.StatusCode != 200 {
		t.Error("reading is bounded too")
	}
	wall = wall.Add(time.Second)
	s.refused(s.ask("POST", "/entries", nil), 400, fault.Parse)
	s.refused(s.ask("POST", "/entries", nil), 429, fault.IndexFetch)
}

// The end of a server loses no request that is under way.
func TestTheEndLosesNothing(t *testing.T) {
	entered, finish := make(chan struct{}), make(chan struct{})
	slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-finish
		io.WriteString(w, "done")
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Serve(ctx, l, Service{Handler: slow, Wall: time.Now}) }()
	answer := make(chan string, 1)
	go func() {
		res, err := http.Get("http://" + l.Addr().String())
		if err != nil {
			answer <- err.Error()
			return
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		answer <- string(body)
	}()
	<-entered
	cancel()
	for { // the listener is closed, and the request still has its time
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			break
		}
		c.Close()
	}
	close(finish)
	if got := <-answer; got != "done" {
		t.Error(got)
	}
	must(t, <-ended)
	http.DefaultClient.CloseIdleConnections()
}

// What a request says can not fake a line of the log, nor what went wrong
// inside be read outside.
func TestLogsAndErrorsKeepToThemselves(t *testing.T) {
	s := newSite(t, true)
	s.ask("GET", "/entries/a%0Ab", nil)
	s.ask("GET", "/x", nil, "X-Y", "z")
	s.mu.Lock()
	lines := strings.Join(s.access, "\n")
	s.mu.Unlock()
	if strings.Count(lines, "\n") != 1 || !strings.Contains(lines, " GET /entries/a%0Ab 404 ") {
		t.Errorf("%q", lines)
	}
	must(t, s.hub.db.close())
	got := s.ask("GET", "/entries/hello", nil)
	s.refused(got, 500, fault.Internal)
	if bytes.Contains(got.body, []byte("sql")) || bytes.Contains(got.body, []byte(s.data)) {
		t.Errorf("%s", got.body)
	}
	if ready := s.ask("GET", "/readyz", nil); ready.StatusCode != 503 {
		t.Errorf("%d", ready.StatusCode)
	}
	if health := s.ask("GET", "/healthz", nil); health.StatusCode != 200 {
		t.Errorf("%d", health.StatusCode)
	}
	again, err := New(t.Context(), s.hub.Options)
	must(t, err)
	*s.hub = *again
}

func TestTheJournalTellsWhoWroteWhat(t *testing.T) {
	s := newSite(t, true)
	s.vote("north")
	s.refused(s.ask("POST", "/statements", s.resigned(s.Statement("north", nil), "mallory")), 403, fault.KeyUnknown)
	rows, err := texts(s.hub.db.read.Query("SELECT request || ' ' || status || ' ' || key || ' ' || object FROM journal ORDER BY id"))
	must(t, err)
	want := []string{
		fmt.Sprintf("POST /plans 201 %s %s", attesttest.Key("north").Public().ID(), s.Plan.Digest()),
		fmt.Sprintf("POST /statements 201  %s", payloadOf(s.Statement("north", nil))),
	}
	if strings.Join(rows, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q", rows)
	}
}
