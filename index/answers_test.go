package index

import (
	"context"
	"errors"
	"testing"
	"time"

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
