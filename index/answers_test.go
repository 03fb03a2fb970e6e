package index

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// What a chain is called decides where its leaves are, and nothing else can.
func TestChainPath(t *testing.T) {
	plan := store.DigestOf([]byte("plan"))
	for chain, want := range map[string]string{
		"pkg:hello": "chains/pkg/he/ll/hello.jsonl", "policy:demo": "chains/policy/demo.jsonl", "index": "chains/index.jsonl",
		string(plan): "chains/plan/" + plan.Hex() + ".jsonl",
	} {
		if got, err := chainPath(chain); got != want || err != nil {
			t.Errorf("%s is at %s (%v), want %s", chain, got, err, want)
		}
	}
	for _, chain := range []string{"", "pkg:", "pkg:../x", "policy:", "policy:../x", "indexes", "sha256:x"} {
		if got, err := chainPath(chain); err == nil {
			t.Errorf("%q is at %s", chain, got)
		}
	}
}

// Lines that were there when an entry was looked up, and are not when it is
// asked who owns the package, are no package without owners: it is asked of the
// state that the entry is of.
func TestOwnersAreOfTheStateOfTheEntry(t *testing.T) {
	w := newTold(t)
	src := &mapSource{files: changed(w.after, func(map[string][]byte) {})}
	ctx := context.Background()
	r, err := NewReader(ctx, src, Reading{Now: w.now, Pause: noPause})
	w.must(err)
	e, err := r.Lookup(ctx, "hello", "0.2.0")
	w.must(err)
	delete(src.files, helloLine)
	if err := r.checkUnowned(ctx, e); fault.CodeOf(err) != fault.OwnerChanged {
		t.Errorf("whether it is owned: %v", err)
	}
	if past, at, err := r.releases(ctx, e); err != nil || len(past) == 0 || past[at].Version != e.Version {
		t.Errorf("its releases: %v", err)
	}
	if _, err := r.Lookup(ctx, "hello2", ""); fault.CodeOf(err) != fault.IndexNoMatch {
		t.Errorf("another package: %v", err)
	}
}

// Who waits for a publication to end may give up.
func TestReaderGivesUpWaiting(t *testing.T) {
	w := newTold(t)
	src := &mapSource{files: changed(w.after, take(w.before, helloLine))}
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(context.Background())
	asked := 0
	r, err := NewReader(ctx, src, Reading{Now: w.now, Pause: func(context.Context, time.Duration) bool {
		asked++
		cancel(enough)
		return false
	}})
	w.must(err)
	if _, err := r.Entries(ctx, "hello"); !errors.Is(err, enough) || asked != 1 {
		t.Errorf("after %d waits: %v", asked, err)
	}
}

// What another process has written into the cache is another download at most: the
// server is asked as if there were nothing, whatever stands there.
func TestSpoiltAnswersAreAskedForAgain(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"new"`)
		io.WriteString(w, "new")
	}))
	defer server.Close()
	base, err := url.Parse(server.URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	old := []byte("old")
	sound := answerDoc{ETag: `"old"`, Digest: store.DigestOf(old), At: now.Unix(), MaxAge: 60}
	for name, spoil := range map[string]func(*answerDoc){
		"a header in the ETag": func(d *answerDoc) { d.ETag, d.MaxAge = "\"old\"\r\nHost: other", 0 },
		"no text":              func(d *answerDoc) { d.ETag, d.MaxAge = "\x00", 0 },
		"no ASCII":             func(d *answerDoc) { d.ETag, d.MaxAge = "\"\u00e4\u202e\"", 0 },
		"a long ETag":          func(d *answerDoc) { d.ETag, d.MaxAge = `"`+strings.Repeat("x", 70_000)+`"`, 0 },
		"of the future":        func(d *answerDoc) { d.At, d.ETag = now.Add(time.Hour).Unix(), "" },
		"of long ago":          func(d *answerDoc) { d.At, d.ETag, d.MaxAge = 0, "", 1<<53-1 },
		"other bytes":          func(d *answerDoc) { d.Digest = store.DigestOf([]byte("other")) },
	} {
		r := Remote(base, Remoting{Client: server.Client(), Now: func() time.Time { return now }, Cache: t.TempDir()}).(*remote)
		u := base.JoinPath("head")
		doc := sound
		spoil(&doc)
		doc.SchemaVersion, doc.URL, doc.Size = document.IndexCache.ID(), u.String(), len(old)
		data, err := document.Encode(&doc)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(r.answers.Put(contentKey(doc.Digest), old), r.answers.Put(urlKey(u), data)); err != nil {
			t.Fatal(err)
		}
		if got, err := r.Get(t.Context(), "head", 100, false); err != nil || string(got) != "new" {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
}
