package index

import (
	"bytes"
	"regexp"
	"slices"
	"testing"

	"rebuild/attest"
	"rebuild/index/liartest"
	"rebuild/internal/fault"
	"rebuild/store"
)

// Who has the log's key, and neither signers' nor owners' nor the index's, can
// say nothing about a package that is not so: each lie has its error, also for
// who reads for the first time. Two take a memory to be seen.
func TestWhatTheLogKeyCanNotSay(t *testing.T) {
	w := newTold(t)
	newcomer := w.client(w.in.Policy)
	note := func(f *liartest.Forgery) {
		f.Append(attest.Event{Chain: "policy:demo", Type: attest.EventPolicy, Object: store.DigestOf([]byte("p"))})
	}
	lines := func(f *liartest.Forgery) [][]byte { return bytes.SplitAfter(f.Files[helloLine], []byte("\n")) }
	swap := func(line int, from, to string) func(*liartest.Forgery) {
		return func(f *liartest.Forgery) {
			all := lines(f)
			next := regexp.MustCompile(from).ReplaceAll(all[line], []byte(to))
			if bytes.Equal(next, all[line]) {
				t.Fatalf("no %s in %s", from, all[line])
			}
			all[line] = next
			f.Files[helloLine] = bytes.Join(all, nil)
			note(f)
		}
	}
	yank := func(statement []byte) func(*liartest.Forgery) {
		return func(f *liartest.Forgery) {
			e, err := attest.ParseEnvelope("yank", statement)
			w.must(err)
			f.Files[statementPath(e.Digest())] = statement
			f.Append(attest.Event{Chain: "pkg:hello", Type: attest.EventYank, Object: e.Digest()})
		}
	}
	entries, err := parseLines(helloLine, "hello", w.after[helloLine], func(string) {})
	w.must(err)
	said := func(version, action string, after store.Digest, by ...string) []byte {
		e := entries[slices.IndexFunc(entries, func(e *Entry) bool { return e.Version == version })]
		payload, err := attest.NewYank(attest.Yank{Name: "hello", Version: version, Action: action, Reason: "testing", At: "2026-06-01T12:01:00Z", After: after}, e.Cksum)
		w.must(err)
		return w.Sign(payload, by...)
	}
	first := yankOf(t, w.after)
	chain := func(change func([][]byte) [][]byte) func(*liartest.Forgery) {
		return func(f *liartest.Forgery) { // after it is sealed
			f.Files[helloChain] = bytes.Join(change(bytes.SplitAfter(w.after[helloChain], []byte("\n"))), nil)
		}
	}
	for name, c := range map[string]struct {
		forge  func(*liartest.Forgery)
		sealed func(*liartest.Forgery) // change to what the log does not cover
		codes  []fault.Code
	}{
		"deps":               {swap(1, `"name":"hello"`, `"deps":[{"name":"evil","req":"^1"}],"name":"hello"`), nil, []fault.Code{fault.EvidenceMismatch, fault.Parse}},
		"assurance":          {swap(1, `"assurance":"quorum"`, `"assurance":"none"`), nil, []fault.Code{fault.EvidenceMismatch}},
		"backfilled":         {swap(1, `"cksum"`, `"backfilled":true,"cksum"`), nil, []fault.Code{fault.ViewMismatch}},
		"no place":           {swap(1, `"seq":\d+,`, ``), nil, []fault.Code{fault.ViewMismatch}},
		"place of another":   {swap(1, `"seq":\d+,`, `"seq":6,`), nil, []fault.Code{fault.ViewMismatch}},
		"place beyond":       {swap(1, `"seq":\d+,`, `"seq":9007199254740991,`), nil, []fault.Code{fault.ViewMismatch}},
		"release of another": {swap(1, `"release":"sha256:[0-9a-f]+"`, `"release":"`+string(entries[0].Release)+`"`), nil, []fault.Code{fault.ViewMismatch}},
		"archive of another": {swap(1, `"cksum":"[0-9a-f]+"`, `"cksum":"`+entries[0].Cksum+`"`), nil, []fault.Code{fault.SignatureInvalid}},
		"advisory":           {swap(1, `"assurance"`, `"advisories":["CVE-1"],"assurance"`), nil, []fault.Code{fault.Unyanked}},
		"one version twice": {func(f *liartest.Forgery) {
			f.Files[helloLine] = append(bytes.Clone(f.Files[helloLine]), lines(f)[1]...)
			note(f)
		}, nil, []fault.Code{fault.Semantic}},
		"yank by nobody":            {yank(said("0.2.0", attest.ActionYank, "", "stranger")), nil, []fault.Code{fault.KeyUnknown}},
		"yank by one of two":        {yank(said("0.2.0", attest.ActionYank, "", "r1")), nil, []fault.Code{fault.SignatureInvalid}},
		"yank without the owner":    {yank(said("0.2.0", attest.ActionYank, "", "r2", "index")), nil, []fault.Code{fault.SignatureInvalid}},
		"yank that changes no line": {yank(said("0.2.0", attest.ActionYank, "", "r1", "r2")), nil, []fault.Code{fault.Unyanked}},
		"two yanks after none":      {yank(said("0.1.0", attest.ActionUnyank, "", "r1", "r2")), nil, []fault.Code{fault.Unyanked}},
		"unyank beside another":     {yank(said("0.1.0", attest.ActionUnyank, store.DigestOf([]byte("x")), "r1", "r2")), nil, []fault.Code{fault.Unyanked}},
		"yank played again": {func(f *liartest.Forgery) {
			f.Append(attest.Event{Chain: "pkg:hello", Type: attest.EventYank, Object: first})
		}, nil, []fault.Code{fault.EvidenceMismatch}},
		"release that is no yank": {func(f *liartest.Forgery) {
			f.Append(attest.Event{Chain: "pkg:hello", Type: attest.EventYank, Object: entries[1].Release})
		}, nil, []fault.Code{fault.EvidenceMismatch, fault.Structure}},
		"chain from the middle":  {note, chain(func(l [][]byte) [][]byte { return l[1:] }), []fault.Code{fault.EvidenceMismatch}},
		"chain in another order": {note, chain(func(l [][]byte) [][]byte { l[0], l[1] = l[1], l[0]; return l }), []fault.Code{fault.EvidenceMismatch}},
		"chain without a middle": {note, chain(func(l [][]byte) [][]byte { return append(l[:1:1], l[2:]...) }), []fault.Code{fault.EvidenceMismatch}},
		"leaf of another chain": {note, func(f *liartest.Forgery) {
			f.Files[helloChain] = append(bytes.Clone(w.after[helloChain]), f.Log.Events("policy:demo")...)
		}, []fault.Code{fault.EvidenceMismatch}},
		"chain without end": {note, func(f *liartest.Forgery) { f.Files[helloChain] = bytes.TrimSuffix(w.after[helloChain], []byte("\n")) }, []fault.Code{fault.Parse}},
		"empty chain":       {note, func(f *liartest.Forgery) { f.Files[helloChain] = []byte{} }, []fault.Code{fault.Parse}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := liartest.Forge(t, w.after)
			c.forge(f)
			f.Seal(w.now)
			if c.sealed != nil {
				c.sealed(f)
			}
			reader := *newcomer
			reader.path = t.TempDir() + "/state.json"
			for _, version := range []string{"0.2.0"} {
				if err := reader.verify(&mapSource{files: f.Files}, version); !slices.Contains(c.codes, fault.CodeOf(err)) {
					t.Errorf("%q (%v), want %v", fault.CodeOf(err), err, c.codes)
				}
			}
		})
	}
}

// The log's key with whoever serves the index drops a chain, and with it the
// yank, or the package whole. Lines without a place are of a time before the
// log, and of a logged release there are none; who has seen the chain misses it.
func TestChainThatIsDroppedWhole(t *testing.T) {
	w := newTold(t)
	place := regexp.MustCompile(`"seq":\d+,`)
	unyanked := liartest.Forge(t, w.after)
	unyanked.Files[helloLine] = bytes.ReplaceAll(place.ReplaceAll(unyanked.Files[helloLine], nil), []byte(`"yanked":true`), []byte(`"yanked":false`))
	unyanked.Append(attest.Event{Chain: "policy:demo", Type: attest.EventPolicy, Object: store.DigestOf([]byte("p"))})
	delete(unyanked.Seal(w.now), helloChain)
	gone := liartest.Forge(t, w.after)
	delete(gone.Files, helloLine)
	gone.Append(attest.Event{Chain: "policy:demo", Type: attest.EventPolicy, Object: store.DigestOf([]byte("p"))})
	delete(gone.Seal(w.now), helloChain)
	for _, policy := range []*attest.Policy{w.in.Policy, nil} {
		c := w.client(policy)
		w.code(c.verify(&mapSource{files: unyanked.Files}, "0.1.0"), fault.EvidenceMismatch)
		w.must(c.verify(&mapSource{files: w.after}, "0.1.0"))
		w.code(c.verify(&mapSource{files: unyanked.Files}, "0.1.0"), fault.Unyanked)
		w.code(c.verify(&mapSource{files: gone.Files}, "0.1.0"), fault.Fork)
	}
}
