package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/hub"
	"rebuild/index"
	"rebuild/index/indextest"
	"rebuild/index/translog"
)

// The claims about indexes are of a million entries, of 500 and of 2,000
// packages. With -short each benchmark tries itself on fewer, and claims nothing
// about sizes that it has not seen.

func scale(full, small int) int {
	if testing.Short() {
		return small
	}
	return full
}

// rack is a logged index in which a benchmark publishes. All releases are of one
// plan, whose votes are logged and judged once, until plan begins another.
type rack struct {
	*testing.B
	w        *attesttest.World
	x        *index.Index
	dir      string
	evidence attest.BuildEvidence
	met      *attest.Met
	manifest []byte
	pins     map[string]attest.Dependency // by name
}

// rackWorld is the small world under a policy that wants votes to be logged.
func rackWorld(b *testing.B) *attesttest.World {
	w := attesttest.New(b)
	w.PolicyTOML = strings.Replace(attesttest.Policy(attesttest.LogPolicy(0)), "groups.main", "require = { logged = true }\ngroups.main", 1)
	return w
}

func rackWriting(w *attesttest.World) index.Writing {
	now := func() time.Time { return attesttest.Now }
	return index.Writing{Policy: w.LoadPolicy(), Key: attesttest.Key("index"), LogKey: attesttest.Key("log"), Now: now,
		Log: func(ctx context.Context, dir string) (index.LogWriter, error) {
			open := translog.Open
			if _, err := os.Stat(filepath.Join(dir, "checkpoint")); errors.Is(err, fs.ErrNotExist) {
				open = translog.Create
			}
			return open(ctx, dir, indextest.Log(now))
		}}
}

// newRack makes an empty index.
func newRack(b *testing.B) *rack {
	w := rackWorld(b)
	dir := filepath.Join(b.TempDir(), "index")
	must(b, index.Init(b.Context(), dir, indextest.Config(), rackWriting(w)))
	return openRack(b, w, dir)
}

// openRack goes on with an index that has nothing about the plan yet.
func openRack(b *testing.B, w *attesttest.World, dir string) *rack {
	r := &rack{B: b, w: w, dir: dir, pins: map[string]attest.Dependency{}}
	var err error
	r.x, err = index.Open(dir, rackWriting(w))
	must(b, err)
	r.manifest, err = w.Store.Read(w.Stages[1].Manifest, 1<<20)
	must(b, err)
	r.vote()
	return r
}

// plan begins the plan of another pipeline, for what is published next.
func (r *rack) plan(pipeline string) {
	plan := *r.w.Plan
	plan.Pipeline = pipeline
	var err error
	r.w.PlanJSON, err = attest.EncodePlan(&plan)
	must(r, err)
	r.w.Plan, err = attest.DecodePlan("plan.json", r.w.PlanJSON)
	must(r, err)
	r.vote()
}

// vote logs the votes for the plan and judges them.
func (r *rack) vote() {
	_, err := r.x.AddStatements(r.Context(), r.w.PlanJSON, r.w.Statements())
	must(r, err)
	policy := r.w.LoadPolicy()
	r.evidence, err = r.x.Evidence(r.Context(), r.w.Plan.Digest())
	must(r, err)
	chain, err := r.evidence.Chain(policy)
	must(r, err)
	verdict, err := attest.Judge(policy, r.w.Plan, r.evidence.Statements, chain, nil, attesttest.Now)
	must(r, err)
	r.met, err = verdict.Met()
	must(r, err)
}

// sign makes a release of NAME at VERSION, which pins what it needs.
func (r *rack) sign(name, version string, needs map[string]string) (*attest.Bundle, []byte) {
	policy := r.w.LoadPolicy()
	text := strings.NewReplacer(`"hello"`, `"`+name+`"`, "0.1.0", version, "says hi", "is "+name).Replace(attesttest.PackageTOML)
	var ranges []string
	var pins []attest.Dependency
	for need, in := range needs {
		ranges, pins = append(ranges, fmt.Sprintf("%q = %q", need, in)), append(pins, r.pins[need])
	}
	if len(ranges) > 0 {
		text = strings.Replace(text, "meta =", "depends = { "+strings.Join(ranges, ", ")+" }\nmeta =", 1)
	}
	slices.SortFunc(pins, func(a, b attest.Dependency) int { return strings.Compare(a.Name, b.Name) })
	_, image, err := attest.LoadPackage("package.toml", []byte(text))
	must(r, err)
	pkg, err := attest.Pack(image, []attest.PayloadInput{{
		Platform: attesttest.Platform, Target: "hello", Path: "linux-amd64/hello", Tree: r.w.Stages[1].Tree, Files: r.w.HelloFiles,
	}}, attesttest.Epoch)
	must(r, err)
	signed, err := attest.Propose(attest.Proposal{
		Package: pkg, Builds: []*attest.Met{r.met}, Manifests: [][]byte{r.manifest}, Depends: pins,
		Owners: []attest.PublicKey{attesttest.Key("r1").Public()}, Published: attesttest.Now,
	})
	must(r, err)
	evidence := attest.Evidence{Builds: []attest.BuildEvidence{r.evidence}, Objects: [][]byte{r.manifest}}
	for _, key := range []string{"r1", "r2"} {
		signed, err = attest.SignRelease(policy, signed, evidence, attesttest.Now, attesttest.Key(key))
		must(r, err)
	}
	return &attest.Bundle{Release: signed, Evidence: evidence}, pkg.Archive()
}

// publish publishes NAME at 1.0.0, for others to pin.
func (r *rack) publish(name string, needs map[string]string) {
	bundle, archive := r.sign(name, "1.0.0", needs)
	_, _, err := r.x.Publish(r.Context(), bundle, archive)
	must(r, err)
	e, err := attest.ParseEnvelope("release", bundle.Release)
	must(r, err)
	release, err := attest.ReadRelease(r.w.LoadPolicy(), e)
	must(r, err)
	r.pins[name] = attest.Dependency{Name: name, Version: "1.0.0", Snapshot: release.Snapshot}
}

// yank signs a statement about a version.
func (r *rack) yank(name, version string) []byte {
	state, e, err := r.x.Yanked(r.Context(), name, version)
	must(r, err)
	payload, err := attest.NewYank(attest.Yank{Name: name, Version: version, Action: attest.ActionYank, Reason: "a benchmark", At: at, After: state.Head}, e.Cksum)
	must(r, err)
	return r.w.Sign(payload, "r1", "r2")
}

// listen serves until the benchmark ends, and returns host and port.
func listen(b *testing.B, h http.Handler) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- hub.Serve(ctx, l, hub.Service{Handler: h, Wall: time.Now}) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	return l.Addr().String()
}

// indexHandler serves a folder as rebuild index serve does.
func indexHandler(b *testing.B, dir string) http.Handler {
	files, err := hub.OpenFiles(dir, hub.FilesOptions{Wall: time.Now})
	must(b, err)
	b.Cleanup(func() { files.Close() })
	return files
}

// wire counts what goes over the connections of a client, headers and all.
type wire struct {
	bytes, requests, unchanged atomic.Int64
	idle                       func()
}

func (w *wire) client() *http.Client {
	dialer := &net.Dialer{}
	t := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, network, addr)
		return &wireConn{c, w}, err
	}}
	w.idle = t.CloseIdleConnections
	return &http.Client{Transport: &wireCount{t, w}}
}

type wireConn struct {
	net.Conn
	w *wire
}

func (c *wireConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.w.bytes.Add(int64(n))
	return n, err
}

func (c *wireConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.w.bytes.Add(int64(n))
	return n, err
}

type wireCount struct {
	http.RoundTripper
	w *wire
}

func (t *wireCount) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.RoundTripper.RoundTrip(r)
	t.w.requests.Add(1)
	if err == nil && resp.StatusCode == http.StatusNotModified {
		t.w.unchanged.Add(1)
	}
	return resp, err
}

// far is an index that a client reads, as a command does that ends then.
type far struct {
	b     *testing.B
	base  *url.URL
	cache string
	now   time.Time // of the cache
	in    index.Reading
}

// use reads through a new connection and returns what went over it.
func (f *far) use(read func(*index.Reader) error) *wire {
	w := &wire{}
	src := index.Remote(f.base, index.Remoting{Client: w.client(), Now: func() time.Time { return f.now }, Cache: f.cache})
	r, err := index.NewReader(f.b.Context(), src, f.in)
	if err == nil {
		err = read(r)
	}
	must(f.b, err)
	w.idle()
	return w
}

// BenchmarkIndex is the claims about an index of a million entries.
func BenchmarkIndex(b *testing.B) {
	count := scale(1_000_000, 20_000)
	w := rackWorld(b)
	o := indextest.Options{Entries: count}
	dirs := map[int]string{}
	for _, n := range []int{1000, count} {
		dirs[n] = filepath.Join(b.TempDir(), "index")
		began := time.Now()
		must(b, indextest.Make(b.Context(), dirs[n], indextest.Options{Entries: n}))
		fmt.Printf("index: %d entries made in %.1f s\n", n, time.Since(began).Seconds())
	}
	b.Run("lookup", func(b *testing.B) { benchLookup(b, w, dirs[count], o) })
	b.Run("publish", func(b *testing.B) { benchPublish(b, openRack(b, w, dirs[1000]), openRack(b, w, dirs[count]), count) })
	b.Run("verify", func(b *testing.B) { benchVerifyOne(b, w, dirs[count], "bench00") })
}

func benchFar(b *testing.B, w *attesttest.World, dir string) *far {
	base, err := url.Parse("http://" + listen(b, indexHandler(b, dir)) + "/")
	must(b, err)
	return &far{b, base, filepath.Join(b.TempDir(), "cache"), attesttest.Now, index.Reading{Policy: w.LoadPolicy(), Now: attesttest.Now}}
}

// benchLookup looks up entries with their proof: head, its proof in the log,
// the view's path to the line.
func benchLookup(b *testing.B, w *attesttest.World, dir string, o indextest.Options) {
	f := benchFar(b, w, dir)
	var bytes, requests, again int64
	var took []time.Duration
	r := rand.New(rand.NewPCG(3, 4))
	for i := range 20 {
		f.cache = filepath.Join(b.TempDir(), fmt.Sprint(i))
		name, version := o.Entry(r.IntN(o.Entries))
		lookup := func(r *index.Reader) error {
			_, err := r.Lookup(b.Context(), name, version)
			return err
		}
		began := time.Now()
		first := f.use(lookup)
		took = append(took, time.Since(began))
		bytes, requests = max(bytes, first.bytes.Load()), max(requests, first.requests.Load())
		f.now = f.now.Add(2 * time.Minute) // no answer is used for so long without asking
		second := f.use(lookup)
		if n := second.requests.Load(); n != first.requests.Load() || second.unchanged.Load() != n {
			b.Errorf("looked up again: %d of %d requests are answered with 304, first there were %d", second.unchanged.Load(), n, first.requests.Load())
		}
		again = max(again, second.bytes.Load())
	}
	slices.Sort(took)
	fmt.Printf("lookup: of %d entries, with proof: at most %d requests and %d bytes, %.1f ms (median of %d); again %d bytes, all 304\n",
		o.Entries, requests, bytes, milliseconds(took[len(took)/2]), len(took), again)
	if requests > 6 || bytes >= 64<<10 {
		b.Errorf("%d requests and %d bytes, 6 and less than 64 KiB are claimed", requests, bytes)
	}
}

// benchPublish publishes and yanks in a small index and in a large one in turn.
func benchPublish(b *testing.B, small, large *rack, count int) {
	rounds := scale(15, 5)
	var publish, yank [2][]time.Duration
	for i := range rounds {
		for k := range 2 {
			k = (k + i) % 2
			r, name := []*rack{small, large}[k], fmt.Sprintf("bench%02d", i)
			bundle, archive := r.sign(name, "1.0.0", nil)
			began := time.Now()
			_, _, err := r.x.Publish(b.Context(), bundle, archive)
			publish[k] = append(publish[k], time.Since(began))
			must(b, err)
			statement := r.yank(name, "1.0.0")
			began = time.Now()
			_, err = r.x.Yank(b.Context(), statement)
			yank[k] = append(yank[k], time.Since(began))
			must(b, err)
		}
	}
	for what, took := range map[string][2][]time.Duration{"publish": publish, "yank": yank} {
		slices.Sort(took[0])
		slices.Sort(took[1])
		at3, at6 := took[0][rounds/2], took[1][rounds/2]
		ratio := float64(at6) / float64(at3)
		fmt.Printf("%s: %.1f ms at 1000 entries, %.1f ms at %d: %.2f times (medians of %d, in turn)\n", what, milliseconds(at3), milliseconds(at6), count, ratio, rounds)
		if ratio >= 2 {
			b.Errorf("%s takes %.2f times as long at %d entries as at 1000, less than 2 is claimed", what, ratio, count)
		}
	}
}

// benchVerifyOne verifies a release down to its archive, over HTTP.
func benchVerifyOne(b *testing.B, w *attesttest.World, dir, name string) {
	f := benchFar(b, w, dir)
	verify := func(r *index.Reader) error {
		_, _, err := r.Verify(b.Context(), name, "1.0.0")
		return err
	}
	first := f.use(verify)
	f.now = f.now.Add(2 * time.Minute)
	second := f.use(verify)
	fmt.Printf("verify: one release of the index: %d requests and %d bytes; again %d requests and %d bytes, %d answered with 304\n",
		first.requests.Load(), first.bytes.Load(), second.requests.Load(), second.bytes.Load(), second.unchanged.Load())
}

// graph publishes packages in layers that need some of those below, of one plan
// or each of its own, and returns their names.
func (r *rack) graph(count, layers, needs int, own bool) []string {
	var all []string
	pick := rand.New(rand.NewPCG(1, 2))
	for i := range count {
		below := i * layers / count * count / layers // those of lower layers
		depends := map[string]string{}
		for range min(needs, below) {
			depends[all[pick.IntN(below)]] = []string{"^1", ">=1.0.0, <2", "*"}[pick.IntN(3)]
		}
		all = append(all, fmt.Sprintf("pkg%05d", i))
		if own {
			r.plan(all[i])
		}
		r.publish(all[i], depends)
	}
	return all
}
