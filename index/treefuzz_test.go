package index

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"rebuild/internal/durable"
	"rebuild/internal/fault"
)

// checkedIn is a check of an index in memory.
func checkedIn(files map[string][]byte, w Writing) *FsckReport {
	fsys := fstest.MapFS{}
	for path, data := range files {
		fsys[path] = &fstest.MapFile{Data: data, Mode: 0o644}
	}
	x := &Index{"INDEX", durable.OS{}, fsys, Dir(fsys, "INDEX"), w}
	return x.check(context.Background()).FsckReport
}

// readIn reads a version, and all that the log has.
func readIn(files map[string][]byte, in Reading, version string) (*Entry, error) {
	ctx := context.Background()
	in.Pause = noPause
	r, err := NewReader(ctx, &mapSource{files: files}, in)
	if err != nil {
		return nil, err
	}
	e, err := r.Lookup(ctx, "hello", version)
	if err != nil {
		return nil, err
	}
	if in.Policy != nil {
		_, err = r.VerifyEntry(ctx, e)
	} else {
		_, err = r.Unjudged(ctx, e)
	}
	if err != nil {
		return nil, err
	}
	return e, r.ReadLog(ctx, true)
}

// FuzzTree puts other bytes into one file of a sound index. Nobody who reads it
// gets another version than was published, and what a reader refuses is found by
// who keeps the index.
func FuzzTree(f *testing.F) {
	w := newTold(f)
	_, err := w.open().Export(context.Background())
	w.must(err)
	sound := w.files()
	paths := slices.Sorted(maps.Keys(sound))
	want, err := readIn(sound, Reading{Policy: w.in.Policy, Now: w.now}, "0.2.0")
	w.must(err)
	line, err := want.Encode()
	w.must(err)
	f.Fuzz(func(t *testing.T, which uint8, at, cut uint16, put []byte, judged bool) {
		path := paths[int(which)%len(paths)]
		data := sound[path]
		from := int(at) % (len(data) + 1)
		to := min(len(data), from+int(cut))
		files := maps.Clone(sound)
		files[path] = slices.Concat(data[:from], put, data[to:])
		in, writing := Reading{Now: w.now}, Writing{Now: w.in.Now}
		if judged {
			in.Policy, writing.Policy = w.in.Policy, w.in.Policy
		}
		report := checkedIn(files, writing)
		e, err := readIn(files, in, "0.2.0")
		switch {
		case err != nil && len(report.Findings) == 0:
			t.Errorf("%s: readers say %v, and nothing is found", path, err)
		case err != nil && fault.CodeOf(err) == fault.Internal:
			t.Errorf("%s: %v", path, err)
		case err == nil:
			if got, err := e.Encode(); err != nil || !bytes.Equal(got, line) {
				t.Errorf("%s: read as %s, %v", path, got, err)
			}
		}
	})
}

// FuzzPages reads lists that anybody could have exported: what is found right
// has nothing that is not in the index.
func FuzzPages(f *testing.F) {
	w := newTold(f)
	_, err := w.open().Export(context.Background())
	w.must(err)
	sound := w.files()
	owner := w.in.Policy
	f.Add(true, sound["entries.json"])
	f.Add(false, sound["pubkeys.json"])
	f.Fuzz(func(t *testing.T, entries bool, data []byte) {
		file := map[bool]string{true: "entries.json", false: "pubkeys.json"}[entries]
		files := maps.Clone(sound)
		files[file] = data
		report := checkedIn(files, Writing{Policy: owner, Now: w.in.Now})
		if len(report.Findings) > 0 {
			for _, found := range report.Findings {
				if found.Code == fault.Internal {
					t.Error(found)
				}
			}
			return
		}
		var page struct {
			Entries []json.RawMessage
			Owners  map[string][]string
		}
		if err := json.Unmarshal(data, &page); err != nil {
			t.Fatalf("%v, and nothing is found in %q", err, data)
		}
		for _, e := range page.Entries {
			if !bytes.Contains(sound[helloLine], append(bytes.Clone(e), '\n')) {
				t.Errorf("%s is no line of the index", e)
			}
		}
		for name, keys := range page.Owners {
			if name != "hello" || len(keys) != 1 || !strings.Contains(string(sound["pubkeys.json"]), keys[0]) {
				t.Errorf("%s is owned by %v", name, keys)
			}
		}
	})
}

// FuzzLocate reads where an index is: no password is named or sent in the
// clear, and what a place is called leads to it again.
func FuzzLocate(f *testing.F) {
	f.Add("sparse+https://example.org/x/")
	f.Add("https://bob:secret@example.org/entries")
	f.Add("file:///srv/index/config.json")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := Locate(text)
		if err != nil {
			if fault.CodeOf(err) != fault.Usage {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		if (l.URL == nil) == (l.Dir == "") {
			t.Fatalf("%q is %+v", text, l)
		}
		if l.URL == nil {
			return
		}
		if l.URL.User != nil || l.URL.Scheme != "https" && (l.URL.Scheme != "http" || l.User != nil && !isLoopback(l.URL.Hostname())) {
			t.Errorf("%q is %s, user %v", text, l.URL, l.User)
		}
		if !strings.HasSuffix(l.URL.Path, "/") {
			t.Errorf("%q is no folder: %s", text, l.URL)
		}
		again, err := Locate(l.String())
		if err != nil || again.String() != l.String() {
			t.Errorf("%q is %s, and that is %s, %v", text, l, again, err)
		}
	})
}
