package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"rebuild/attest"
	"rebuild/hub"
	"rebuild/index"
	"rebuild/internal/fault"
	"rebuild/pull"
	"rebuild/store"
)

// opening is what a verb says about an index beside its location and policy.
type opening struct {
	now     time.Time // of judging; zero is now
	offline bool
}

// opened is an index that can be read, and what this client saw of indexes.
type opened struct {
	*index.Reader
	Location string // absolute, without credentials
	Source   index.Source
	state    *index.State
	note     func(format string, args ...any)
}

// Commit saves what was seen. Call it once everything that the command verifies
// has verified: what failed must not be remembered. Owners that nobody here has
// seen before are taken as they are, which is said.
func (o *opened) Commit() error {
	fresh := o.state.FirstOwners()
	if err := o.state.Save(); err != nil || len(fresh) == 0 {
		return err
	}
	shown, more := fresh, ""
	if len(fresh) > maxNamed {
		shown, more = fresh[:maxNamed], fmt.Sprintf(" and %d more", len(fresh)-maxNamed)
	}
	o.note("owners seen for the first time, and taken as they are now: of %s%s", strings.Join(shown, ", "), more)
	return nil
}

// maxNamed is how many packages one note names.
const maxNamed = 5

// openIndex opens the index at a location: a folder, a file: URL, or a server's.
// Without a policy keys are those that the index showed first.
func (a *app) openIndex(ctx context.Context, location string, policy *attest.Policy, o opening) (*opened, error) {
	return a.openIndexThrough(ctx, location, policy, o, func(src index.Source) index.Source { return src })
}

// openIndexThrough opens an index as openIndex does, and reads it through what
// through makes of its source.
func (a *app) openIndexThrough(ctx context.Context, location string, policy *attest.Policy, o opening, through func(index.Source) index.Source) (*opened, error) {
	src, met, err := a.indexSource(ctx, location, o.offline)
	if err != nil {
		return nil, err
	}
	src = through(src)
	state, err := a.indexState()
	if err != nil {
		return nil, err
	}
	if o.now.IsZero() {
		o.now = a.now()
	}
	var lines sync.Mutex // readers may be used by several goroutines
	var r *index.Reader
	r, err = index.NewReader(ctx, src, index.Reading{
		Policy: policy, State: state, Now: o.now, Offline: o.offline,
		Elsewhere: a.elsewhere(location, o.offline, src, met, func() string { return r.Config().API }),
		Notice: func(text string) {
			lines.Lock()
			defer lines.Unlock()
			a.note("%s", oneLine(text))
		},
	})
	if err != nil {
		return nil, ofIndex(src.String(), err)
	}
	return &opened{r, src.String(), src, state, a.note}, nil
}

// ofIndex says of a damaged config of which index it is.
func ofIndex(where string, err error) error {
	if f := asFault(err); f != nil && f.File == "config.json" {
		f.File = strings.TrimSuffix(where, "/") + "/config.json"
	}
	return err
}

// elsewhereTime is how long an archive may take that the index does not have.
const elsewhereTime = 10 * time.Minute

// elsewhere is where archives are looked for that an index does not have: in the
// hub that it belongs to, and where the signers of the release say that it is
// (requirements B16, B17). api is the hub that the index names.
func (a *app) elsewhere(location string, offline bool, src index.Source, met *peers, api func() string) index.Elsewhere {
	if offline {
		return nil
	}
	return func(ctx context.Context, digest store.Digest, release *attest.Release) ([]byte, error) {
		at, err := index.Locate(location)
		if err != nil {
			return nil, err
		}
		client := a.leading(at, met)
		client.Timeout = elsewhereTime
		defer client.CloseIdleConnections()
		var data []byte
		if base, none := hub.ParseURL(hubOf(at, api())); none == nil {
			data, err = (&hub.Client{HTTP: client, Base: base, Now: a.now, Wait: wait}).Snapshot(ctx, digest, release)
		} else {
			data, err = hub.Located(ctx, client, release)
		}
		if err != nil || data == nil {
			return nil, ledAstray(err, at)
		}
		if cache, ok := src.(*pull.Cache); ok {
			err = cache.Put(store.Digest("sha256:"+release.Cksum), data)
		}
		return data, err
	}
}

// hubOf is the hub of an index: the one that somebody has named as a hub, else the
// one that the index names, which nobody has signed. One that was read by https
// leads to no hub of http, as it could not by a redirect either. A server that was
// named alone may be a hub.
func hubOf(at index.Location, api string) string {
	u, err := url.Parse(api)
	switch {
	case at.Hub != "" && !at.Bare:
	case api == "" || err != nil || at.URL != nil && at.URL.Scheme == "https" && u.Scheme != "https":
	default:
		return api
	}
	return at.Hub
}

// indexState loads what this client saw: state.json in the state root, or in the
// XDG state folder.
func (a *app) indexState() (*index.State, error) {
	dir := a.state
	if dir == "" {
		var err error
		if dir, err = a.xdg("XDG_STATE_HOME", ".local/state"); err != nil {
			return nil, err
		}
	}
	return index.LoadState(filepath.Join(dir, "state.json"))
}

// indexSource returns where a location leads, unread, and who is met there.
func (a *app) indexSource(ctx context.Context, location string, offline bool) (index.Source, *peers, error) {
	at, err := index.Locate(location)
	if err != nil {
		return nil, nil, err
	}
	if at.URL == nil {
		src, err := folderSource(ctx, at)
		return src, nil, err
	}
	met := &peers{host: at.URL.Hostname()}
	src, err := a.serverSource(ctx, at, offline, met)
	return src, met, err
}

func folderSource(ctx context.Context, at index.Location) (index.Source, error) {
	dir, err := filepath.Abs(at.Dir)
	if err != nil {
		return nil, err
	}
	root, err := openIndexFolder(dir)
	if err != nil {
		return nil, err
	}
	return wholeOrFlat(ctx, at, index.Folder(root, dir))
}

func (a *app) serverSource(ctx context.Context, at index.Location, offline bool, met *peers) (index.Source, error) {
	if offline {
		return nil, fault.New(fault.OfflineIndex, "%s is on a server, and --offline asks nobody", at).
			WithHint("name the folder of a copy with --index, or leave --offline out")
	}
	in, err := a.remoting(at, met)
	if err != nil {
		return nil, err
	}
	src := index.Remote(at.URL, in)
	if !at.Bare {
		return wholeOrFlat(ctx, at, src)
	}
	// A server that was named alone has its index at /index/, or is one.
	_, err = src.Get(ctx, "config.json", 64<<10, false)
	if errors.Is(err, fs.ErrNotExist) {
		top := *at.URL
		top.Path = "/"
		return index.Remote(&top, in), nil
	}
	return src, err
}

// wholeOrFlat is the source of a folder, or of the list in it if that is what
// was named and all that is there.
func wholeOrFlat(ctx context.Context, at index.Location, folder index.Source) (index.Source, error) {
	if !at.Flat {
		return folder, nil
	}
	return index.Flat(ctx, folder)
}

// remoting is how servers are read: with a cache in the state root, and limits
// on everything that a server could draw out.
func (a *app) remoting(at index.Location, met *peers) (index.Remoting, error) {
	here, err := a.places()
	if err != nil {
		return index.Remoting{}, err
	}
	in := index.Remoting{Client: a.leading(at, met), Now: a.now, User: at.User, Cache: filepath.Join(here.cache, "index")}
	if a.state != "" {
		in.Cache = filepath.Join(here.state, "index-cache")
	}
	if text := a.getenv("REBUILD_HTTP_STALL"); text != "" {
		if in.Stall, err = time.ParseDuration(text); err != nil || in.Stall <= 0 {
			return in, fault.New(fault.Usage, "REBUILD_HTTP_STALL is %q, not a time such as 30s", text).WithHint("set it to 30s, or unset it")
		}
	}
	return in, nil
}

// dialTime is how long a connection may take to be made.
const dialTime = 30 * time.Second

// httpClient asks for files as they are.
func (a *app) httpClient() *http.Client {
	return &http.Client{Transport: plainTransport{a.transport()}}
}

// transport unpacks nothing, and headers are bounded in size.
func (a *app) transport() *http.Transport {
	dialer := &net.Dialer{Timeout: dialTime}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dialer.DialContext, ForceAttemptHTTP2: true,
		DisableCompression: true, MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConnsPerHost: 16, IdleConnTimeout: 30 * time.Second, TLSHandshakeTimeout: 15 * time.Second,
	}
}

// openIndexFolder opens an index on this machine for reading. One that is not
// there yet is an index in which nothing was published. Of a server that can not
// be told, so there the same is INDEX_FETCH.
func openIndexFolder(dir string) (*os.Root, error) {
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.IndexNoMatch, "%s is not there, so nothing is in that index", dir).
			WithHint("check the path, write an index on a server as https://HOST/FOLDER/, or make one with: rebuild index init")
	}
	return openFolder(dir, fault.IndexFetch)
}
