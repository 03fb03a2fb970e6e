package hub

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/index"
	"rebuild/index/translog"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is a hub at work on loopback, over an index with a log or without one,
// in the small world of attesttest.
type site struct {
	*attesttest.World
	dir, data string
	url       string
	hub       *Hub
	client    *Client

	mu     sync.Mutex
	now    time.Time
	access []string
}

type siteOption func(*site, *Options, *Service)

func newSite(t testing.TB, logged bool, options ...siteOption) *site {
	t.Helper()
	s := &site{World: attesttest.New(t), dir: filepath.Join(t.TempDir(), "index"), data: t.TempDir(), now: attesttest.Now}
	config := index.Config{Signing: index.SigningWith(attesttest.Key("index").Public())}
	origin := ""
	if logged {
		origin = attesttest.Origin
		s.PolicyTOML = strings.Replace(attesttest.Policy(attesttest.LogPolicy(0)), "groups.main", "require = { logged = true }\ngroups.main", 1)
		config.Log = &index.Log{Origin: origin, Key: attest.LogKey(origin, attesttest.Key("log").Public())}
	}
	policy := s.LoadPolicy()
	in := index.Writing{Policy: policy, Key: attesttest.Key("index"), Now: s.clock}
	if logged {
		in.LogKey, in.Log = attesttest.Key("log"), s.openLog
	}
	must(t, index.Init(t.Context(), s.dir, config, in))
	x, err := index.Open(s.dir, in)
	must(t, err)
	o := Options{Index: x, Policy: policy, Dir: s.dir, Origin: origin, Data: s.data, Now: s.clock, Wall: time.Now,
		Trouble: func(line string) { t.Log("trouble:", line) }}
	service := Service{Wall: time.Now, Access: s.saw}
	for _, option := range options {
		option(s, &o, &service)
	}
	s.hub, err = New(t.Context(), o)
	must(t, err)
	service.Handler = s.hub
	s.url = start(t, service, func() { must(t, s.hub.Close()) })
	s.client = s.clientOf("north")
	return s
}

// start serves until the test ends.
func start(t testing.TB, service Service, after func()) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, service) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if after != nil {
			after()
		}
	})
	return "http://" + l.Addr().String()
}

func (s *site) saw(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.access = append(s.access, line)
}

func (s *site) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *site) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

func (s *site) clientOf(key string) *Client {
	return &Client{HTTP: http.DefaultClient, Base: s.url, Key: attesttest.Key(key), Now: s.clock,
		Wait: func(ctx context.Context, d time.Duration) error { return ctx.Err() }}
}

func (s *site) openLog(ctx context.Context, dir string) (index.LogWriter, error) {
	o := translog.Options{Origin: attesttest.Origin, Key: attesttest.Key("log"), Now: s.clock}
	open := translog.Open
	if _, err := os.Stat(filepath.Join(dir, "checkpoint")); errors.Is(err, fs.ErrNotExist) {
		open = translog.Create
	}
	l, err := open(ctx, dir, o)
	if err != nil {
		return nil, err
	}
	return l, nil
}

// vote sends the plan and the honest statements of operators.
func (s *site) vote(operators ...string) {
	s.T.Helper()
	_, err := s.client.AddPlan(s.T.Context(), s.PlanJSON)
	must(s.T, err)
	for _, name := range operators {
		_, err := s.client.AddStatement(s.T.Context(), s.Statement(name, nil))
		must(s.T, err)
	}
}

// draft is a signed release of what the hub has about the plan, that the hub
// does not have yet.
type draft struct {
	*attest.Bundle
	archive []byte
}

func (d draft) digest() store.Digest { return payloadOf(d.Release) }

func payloadOf(envelope []byte) store.Digest {
	e, err := attest.ParseEnvelope("envelope", envelope)
	if err != nil {
		return ""
	}
	return e.Digest()
}

func (s *site) propose(replace ...string) draft {
	s.T.Helper()
	return s.proposeBy([]string{"r1"}, []string{"r1", "r2"}, replace...)
}

func (s *site) proposeBy(owners, by []string, replace ...string) draft {
	s.T.Helper()
	policy := s.LoadPolicy()
	ev, err := s.hub.known(s.T.Context(), s.PlanJSON)
	must(s.T, err)
	chain, err := ev.Chain(policy)
	must(s.T, err)
	verdict, err := attest.Judge(policy, s.Plan, ev.Statements, chain, nil, s.clock())
	must(s.T, err)
	met, err := verdict.Met()
	must(s.T, err)
	_, image, err := attest.LoadPackage("package.toml", []byte(strings.NewReplacer(replace...).Replace(attesttest.PackageTOML)))
	must(s.T, err)
	pkg, err := attest.Pack(image, []attest.PayloadInput{{
		Platform: attesttest.Platform, Target: "hello", Path: "linux-amd64/hello", Tree: s.Stages[1].Tree, Files: s.HelloFiles,
	}}, attesttest.Epoch)
	must(s.T, err)
	manifest, err := s.Store.Read(s.Stages[1].Manifest, 1<<20)
	must(s.T, err)
	var keys []attest.PublicKey
	for _, o := range owners {
		keys = append(keys, attesttest.Key(o).Public())
	}
	lock := []byte("a lock\n")
	signed, err := attest.Propose(attest.Proposal{
		Package: pkg, Builds: []*attest.Met{met}, Manifests: [][]byte{manifest}, Owners: keys, Published: attesttest.Now, Lock: lock,
	})
	must(s.T, err)
	evidence := attest.Evidence{Builds: []attest.BuildEvidence{ev}, Objects: [][]byte{manifest}, Lock: lock}
	for _, name := range by {
		signed, err = attest.SignRelease(policy, signed, evidence, s.clock(), attesttest.Key(name))
		must(s.T, err)
	}
	return draft{&attest.Bundle{Release: signed, Evidence: evidence}, pkg.Archive()}
}

// published votes, proposes and publishes a release.
func (s *site) published(replace ...string) draft {
	s.T.Helper()
	s.vote("east", "north", "west")
	d := s.propose(replace...)
	_, err := s.client.Publish(s.T.Context(), d.Bundle, d.archive, nil)
	must(s.T, err)
	return d
}

// answered is an answer, whole.
type answered struct {
	*http.Response
	body []byte
}

// ask makes a request; header is name, value, ...
func (s *site) ask(method, path string, body []byte, header ...string) answered {
	s.T.Helper()
	return ask(s.T, method, s.url+path, body, header...)
}

func ask(t testing.TB, method, url string, body []byte, header ...string) answered {
	t.Helper()
	req, err := http.NewRequest(method, url, bytes.NewReader(body))
	must(t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return do(t, req)
}

func do(t testing.TB, req *http.Request) answered {
	t.Helper()
	res, err := http.DefaultTransport.RoundTrip(req)
	must(t, err)
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	must(t, err)
	return answered{res, data}
}

// signed makes a request that a key has signed.
func (s *site) signed(key, method, path string, body []byte) answered {
	s.T.Helper()
	req, err := http.NewRequest(method, s.url+path, bytes.NewReader(body))
	must(s.T, err)
	must(s.T, Authorize(req, store.DigestOf(body), attesttest.Key(key), s.clock()))
	return do(s.T, req)
}

// refused wants an answer to be an error's envelope with a status and a code.
func (s *site) refused(a answered, status int, code fault.Code) {
	s.T.Helper()
	if a.StatusCode != status {
		s.T.Fatalf("status %d, want %d: %s", a.StatusCode, status, a.body)
	}
	var r reply
	must(s.T, document.Decode("answer", bytes.TrimSuffix(a.body, []byte("\n")), document.CLI, &r))
	if r.OK || r.Error == nil || r.Error.Code != code || r.ExitCode != code.Exit() || r.Error.RequestID == "" || r.Error.RequestID != a.Header.Get("X-Request-Id") {
		s.T.Fatalf("want %s: %s", code, a.body)
	}
}

func answerOf[T any](t testing.TB, a answered, status int) T {
	t.Helper()
	if a.StatusCode != status {
		t.Fatalf("status %d, want %d: %s", a.StatusCode, status, a.body)
	}
	var out T
	must(t, document.DecodeStrict("answer", bytes.TrimSuffix(a.body, []byte("\n")), &out))
	return out
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func code(t testing.TB, err error, want fault.Code) {
	t.Helper()
	if got := fault.CodeOf(err); got != want {
		t.Fatalf("got %q (%v), want %q", got, err, want)
	}
}

// snapshotOf describes every file below a folder.
func snapshotOf(t testing.TB, dir string) string {
	t.Helper()
	var out strings.Builder
	must(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		out.WriteString(path + " " + info.ModTime().String() + " " + string(store.DigestOf(data)) + "\n")
		return nil
	}))
	return out.String()
}
