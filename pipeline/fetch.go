package pipeline

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"rebuild/internal/durable"
	"rebuild/internal/fault"
	"rebuild/stages"
	"rebuild/store"
)

// FetchOptions say what is fetched and how patient to be.
type FetchOptions struct {
	Pipeline *Pipeline
	Lock     *Lock  // nil: there is none; then images can't be fetched
	State    string // state root; made if missing
	// Client makes the requests, such as that of [FetchClient], or of a [Reach]
	// where nobody has looked at the URLs. Its redirect policy and cookies are not used.
	Client *http.Client
	Jobs   int // downloads at one time; less than 1 is 1
	// Stall is how long a server may send nothing, and Rate the bytes a second
	// that it must send on average. Zero: 30 s and 4096.
	Stall   time.Duration
	Rate    int64
	Mirrors Mirrors // beside the URLs of the sources
	// Events, if not nil, is told of progress, by one goroutine at a time.
	Events func(FetchEvent)
}

// FetchEvent is progress with one source.
type FetchEvent struct {
	Source stages.Name
	URL    string
	Have   int64 // bytes so far
	Size   int64 // bytes in all
	Done   bool  // in the store
	Err    error // why URL was given up; the next one follows
}

// Fetched says what a fetch did.
type Fetched struct {
	Fetched []string // KIND/NAME, sorted
	Present []string // that were in the store already, sorted
	Bytes   int64    // of the fetched sources
}

const (
	defaultStall = 30 * time.Second
	defaultRate  = 4096
)

// FetchClient returns a client that looks at no environment: no proxy, no
// cookies, no transparent decompression.
func FetchClient() *http.Client {
	return &http.Client{Transport: fetchTransport(nil)}
}

// Fetch brings every source and image that the targets need into the store. It
// is the only function that opens a connection for a build, and what it stores
// is named by the digest that was declared before: bytes with another digest
// are never visible under any name.
//
// A source's URLs are tried in order, behind the [Mirrors], until one gives its bytes. One that gives
// others is passed over; if all fail the error is SOURCE_MISMATCH (12) if a
// server answered with wrong bytes, else INDEX_FETCH (4). A download that is
// cut goes on where it stopped, also in a later call. A source that fails does
// not stop the others; the first by name is the error.
func Fetch(ctx context.Context, o FetchOptions) (*Fetched, error) {
	f, err := newFetcher(o)
	if err != nil {
		return nil, err
	}
	defer f.client.CloseIdleConnections()
	defer f.ours.CloseIdleConnections()
	sources := f.sources()
	errs := make([]error, len(sources))
	slots := make(chan struct{}, max(o.Jobs, 1))
	var wg sync.WaitGroup
	for i, s := range sources {
		slots <- struct{}{}
		wg.Go(func() {
			errs[i] = f.source(ctx, s)
			<-slots
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, fault.New(fault.Interrupted, "stopped: %w", context.Cause(ctx)).
			WithHint("run rebuild fetch again; it continues where it stopped")
	}
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	if err := f.images(ctx); err != nil {
		return nil, err
	}
	slices.Sort(f.done.Fetched)
	slices.Sort(f.done.Present)
	return &f.done, nil
}

type fetcher struct {
	FetchOptions
	client *http.Client
	ours   *http.Client // for the places of Mirrors
	blobs  *store.Store

	mu    sync.Mutex // guards what follows, and the calls of Events
	done  Fetched
	turns map[store.Digest]*sync.Mutex // two sources may be one file

	asking sync.Mutex             // guards bases
	bases  map[string]mirrorBases // by scheme
}

func newFetcher(o FetchOptions) (*fetcher, error) {
	if o.Stall <= 0 {
		o.Stall = defaultStall
	}
	if o.Rate <= 0 {
		o.Rate = defaultRate
	}
	client, ours := *o.Client, FetchClient()
	client.Jar = nil
	client.CheckRedirect, ours.CheckRedirect = checkRedirect, checkRedirect
	if err := durable.MkdirAll(durable.OS{}, o.State); err != nil {
		return nil, err
	}
	blobs, err := store.Open(StoreDir(o.State))
	return &fetcher{FetchOptions: o, client: &client, ours: ours, blobs: blobs, turns: map[store.Digest]*sync.Mutex{}}, err
}

// maxRedirects is how often a server may send us elsewhere.
const maxRedirects = 10

// checkRedirect keeps a redirect from leaving what the URL promised. The
// digest decides over the bytes in any case; this is about who learns what.
func checkRedirect(req *http.Request, via []*http.Request) error {
	switch {
	case len(via) > maxRedirects:
		return fmt.Errorf("more than %d redirects", maxRedirects)
	case req.URL.Scheme != "https" && req.URL.Scheme != "http":
		return fmt.Errorf("redirect to the scheme %q", req.URL.Scheme)
	case req.URL.Scheme == "http" && via[0].URL.Scheme == "https":
		return errors.New("redirect from https to http")
	case req.URL.User != nil:
		return errors.New("redirect to a URL with credentials")
	}
	return nil
}

// sources lists what the targets need, once each, sorted by name.
func (f *fetcher) sources() []*sourceUse {
	byName := map[stages.Name]*sourceUse{}
	for _, s := range f.Pipeline.reached() {
		for i := range s.Sources {
			o := &s.Sources[i]
			if use := byName[o.Name]; use != nil {
				use.mirrors = append(use.mirrors, f.Pipeline.mirrors(s, o)...)
				continue
			}
			byName[o.Name] = &sourceUse{stage: s, decl: o, mirrors: f.Pipeline.mirrors(s, o)}
		}
	}
	out := make([]*sourceUse, 0, len(byName))
	for _, use := range byName {
		out = append(out, use)
	}
	slices.SortFunc(out, func(a, b *sourceUse) int { return strings.Compare(string(a.decl.Name), string(b.decl.Name)) })
	return out
}

// mirror is one place to get a source from.
type mirror struct {
	url   string
	stage *stages.Stage // whose folder a relative path starts from
	dir   string        // where that folder is on disk; "" for an embedded one

	ours    bool  // this machine names it, and is asked as [FetchClient] does
	unknown error // why there is no such place; nil if there is
}

func (p *Pipeline) mirrors(s *stages.Stage, o *stages.Source) []mirror {
	out := make([]mirror, len(o.URLs))
	for i, u := range o.URLs {
		out[i] = mirror{url: u, stage: s, dir: p.dirs[s.Name]}
	}
	return out
}

// source brings one source into the store.
func (f *fetcher) source(ctx context.Context, s *sourceUse) error {
	name := stages.Input{Kind: stages.KindSource, Name: s.decl.Name}.String()
	turn := f.turn(s.decl.Digest)
	turn.Lock()
	defer turn.Unlock()
	if hasSize(f.blobs, s.decl.Digest, s.decl.Size) {
		f.note(&f.done.Present, name, 0)
		return nil
	}
	if err := f.download(ctx, s); err != nil {
		return err
	}
	f.note(&f.done.Fetched, name, s.decl.Size)
	f.tell(FetchEvent{Source: s.decl.Name, Have: s.decl.Size, Size: s.decl.Size, Done: true})
	return nil
}

func (f *fetcher) turn(d store.Digest) *sync.Mutex {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.turns[d] == nil {
		f.turns[d] = &sync.Mutex{}
	}
	return f.turns[d]
}

func (f *fetcher) note(list *[]string, name string, bytes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*list = append(*list, name)
	f.done.Bytes += bytes
}

func (f *fetcher) tell(e FetchEvent) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Events != nil {
		f.Events(e)
	}
}

// images copies the images that the targets need from their layouts.
func (f *fetcher) images(ctx context.Context) error {
	p := f.Pipeline
	for _, s := range p.reached() {
		for _, in := range s.Inputs {
			if in.Kind != stages.KindImage {
				continue
			}
			if f.Lock == nil {
				return s.Fault(fault.LockMissing, []any{"inputs", s.InputIndex(in)}, "input %s: there is no %s that pins the image", in, LockFile).
					WithHint("run rebuild lock")
			}
			if err := f.image(ctx, in); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *fetcher) image(ctx context.Context, in stages.Input) error {
	p := f.Pipeline
	ref := p.Images[slices.IndexFunc(p.Images, func(r ImageReference) bool { return r.Name == in.Name })]
	for _, platform := range p.Platforms {
		manifest, ok := f.Lock.image(string(in.Name), platform)
		if !ok {
			return p.src.Fault(fault.LockDrift, []any{"images", string(in.Name)}, "%s does not pin image %s for %s", LockFile, in.Name, platform).
				WithHint("run rebuild lock")
		}
		if err := p.checkImage(string(in.Name), platform, manifest); err != nil {
			return err
		}
		name := in.String() + " " + platform
		if slices.Contains(f.done.Fetched, name) || slices.Contains(f.done.Present, name) {
			continue
		}
		if f.blobs.Has(manifest) { // it is stored after all that it names
			f.note(&f.done.Present, name, 0)
			continue
		}
		if err := p.importImage(ctx, f.blobs, ref, manifest); err != nil {
			return err
		}
		f.note(&f.done.Fetched, name, 0)
	}
	return nil
}
