package migrate

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rebuild/internal/document"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
)

const compat = "../testdata/compat"

// world is a folder with documents of all sorts, old and new.
func world(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	put := func(path, from string) {
		data, err := os.ReadFile(filepath.Join(compat, from))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, path), string(data))
	}
	put("pipeline/rebuild.lock", "lock/0.9.0.json")
	put("pipeline/package.toml", "package/1.0.0.toml")
	write(t, filepath.Join(dir, "pipeline/pipeline.toml"), "schema_version = \"rebuild.pipeline@1.0.0\"\nname = \"p\"\nstages = [\"one\", \"builtin:hex0\"]\n")
	put("pipeline/one/stage.toml", "stage/1.0.0.toml")
	// Files of a stage's own are no documents of ours, whatever they look like.
	put("pipeline/one/src/rebuild.lock", "lock/0.9.0.json")
	put("index/config.json", "index-config/0.9.0.json")
	put("state/state.json", "state/0.9.0.json")
	key := strings.Repeat("ab", 32)
	put("state/stages/"+key+".json", "record/1.0.0.json")
	put("state/inputs/"+key+".json", "input/1.0.0.json")
	put("state/runs/"+key+".json", "run/1.0.0.json")
	put("state/contexts.json", "contexts/1.0.0.json")
	write(t, filepath.Join(dir, "state/verified.json"), `{"blobs":{},"schema_version":"rebuild.verified@3.0.0"}`)
	return dir
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func find(t testing.TB, dir string, o Options) *Report {
	t.Helper()
	r, err := Find(o, filepath.Join(dir, "pipeline"), filepath.Join(dir, "index"), filepath.Join(dir, "state"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// listing is the content of every file below dir, but locks and what a killed
// writer may leave.
func listing(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(path, "lock") && d.Name() != "rebuild.lock" || strings.HasPrefix(d.Name(), durable.TempPrefix) {
			return err
		}
		data, err := os.ReadFile(path)
		fmt.Fprintf(&b, "%s %s\n", strings.TrimPrefix(path, dir), data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Everything that rebuild owns, and nothing else, is found and rewritten, with
// the old bytes beside it; once.
func TestD6_MigratesWhatIsOwned(t *testing.T) {
	dir := world(t)
	before := listing(t, dir)
	r := find(t, dir, Options{})
	if r.Pending() != 4 || r.Refused() != 0 || r.Current != 7 {
		t.Fatalf("%d pending, %d refused, %d current: %+v", r.Pending(), r.Refused(), r.Current, r.Findings)
	}
	if fault.CodeOf(r.Err()) != fault.MigrationFailed {
		t.Errorf("%v", r.Err())
	}
	if after := listing(t, dir); after != before {
		t.Errorf("looking changed\n%s\nto\n%s", before, after)
	}
	if err := r.Write(durable.OS{}); err != nil || r.Err() != nil {
		t.Fatal(err, r.Err())
	}
	for path, from := range map[string]string{
		"pipeline/rebuild.lock": "lock/1.0.0.json", "index/config.json": "index-config/1.0.0.json", "state/state.json": "state/1.0.0.json",
		"pipeline/rebuild.lock.0.9.0.bak": "lock/0.9.0.json", "index/config.json.0.9.0.bak": "index-config/0.9.0.json", "state/state.json.0.9.0.bak": "state/0.9.0.json",
		"pipeline/one/src/rebuild.lock": "lock/0.9.0.json",
	} {
		got, err := os.ReadFile(filepath.Join(dir, path))
		want, _ := os.ReadFile(filepath.Join(compat, from))
		if err != nil || string(got) != string(want) {
			t.Errorf("%s: %v\n%s\nwant\n%s", path, err, got, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "state/verified.json")); !errors.Is(err, fs.ErrNotExist) {
		t.Error("a cache of a later version is still in the way")
	}
	once := listing(t, dir)
	again := find(t, dir, Options{})
	if err := again.Write(durable.OS{}); err != nil || again.Err() != nil || again.Pending() != 0 || listing(t, dir) != once {
		t.Errorf("the second time did something: %v, %+v", err, again)
	}
}

func envelope(predicate string) string {
	payload := fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","predicate":%s,"predicateType":"urn:rebuild:result:1","subject":[]}`, predicate)
	return fmt.Sprintf(`{"payload":%q,"payloadType":"application/vnd.in-toto+json","signatures":[]}`, base64.StdEncoding.EncodeToString([]byte(payload)))
}

// Signed bytes are evidence. An old statement that was rewritten would be a
// statement that nobody has signed.
func TestD6_H12_SignedBytesAreNeverTouched(t *testing.T) {
	for name, c := range map[string]struct {
		predicate string
		refused   int
		current   int
	}{
		"current": {`{"schema_version":"rebuild.result@1.0.0"}`, 0, 1},
		"old":     {`{"schema_version":"rebuild.result@0.9.0"}`, 1, 0},
		// A kind that migrates when it is not signed.
		"old and readable": {`{"schema_version":"rebuild.lock@0.9.0"}`, 0, 0},
		"of others":        {`{"buildDefinition":{}}`, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "p/ab/north/x.dsse.json"), envelope(c.predicate))
			before := listing(t, dir)
			r, err := Find(Options{}, dir)
			if err != nil {
				t.Fatal(err)
			}
			if r.Pending() != 0 || r.Refused() != c.refused || r.Current != c.current {
				t.Errorf("%+v", r)
			}
			if err := r.Write(durable.OS{}); err != nil || listing(t, dir) != before {
				t.Errorf("%v, now\n%s", err, listing(t, dir))
			}
		})
	}
}

// The log of an index names the bytes of config.json: rewritten, every reader
// would take them for a forgery.
func TestD6_TheConfigOfALoggedIndexIsKept(t *testing.T) {
	old, err := os.ReadFile(filepath.Join(compat, "index-config/0.9.0.json"))
	if err != nil {
		t.Fatal(err)
	}
	logged := strings.Replace(string(old), `"schema_version"`, `"log_key":"k","log_origin":"o","schema_version"`, 1)
	for name, files := range map[string]map[string]string{
		"it says so":  {"config.json": logged},
		"there is it": {"config.json": string(old), "checkpoint": "o\n"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for path, text := range files {
				write(t, filepath.Join(dir, path), text)
			}
			before := listing(t, dir)
			r, err := Find(Options{}, dir)
			if err != nil || len(r.Findings) != 1 || r.Findings[0].Action != Keep || r.Err() != nil {
				t.Fatalf("%v, %+v", err, r)
			}
			if err := r.Write(durable.OS{}); err != nil || listing(t, dir) != before {
				t.Errorf("%v, now\n%s", err, listing(t, dir))
			}
		})
	}
}

// What can not be migrated says so and stays as it is; what can be is not held
// up by it.
func TestD18_RefusesWhatNothingLeadsFrom(t *testing.T) {
	for name, c := range map[string]struct{ path, text, why string }{
		"older":   {"rebuild.lock", `{"schema_version":"rebuild.lock@0.8.0"}`, "rebuild.lock@0.8.0 is not supported"},
		"newer":   {"pipeline.toml", "schema_version = \"rebuild.pipeline@2.0.0\"\n", "rebuild.pipeline@2.0.0 is not supported"},
		"damaged": {"rebuild.lock", `{"schema_version":"rebuild.lock@0.9.0"`, "the JSON ends too early"},
		"no lock": {"rebuild.lock", "", "not a JSON object"},
		"judged":  {"rebuild.lock", `{"schema_version":"rebuild.lock@0.9.0","toolchain":"e t"}`, "the owner says no"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, c.path), c.text)
			good, err := os.ReadFile(filepath.Join(compat, "state/0.9.0.json"))
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "state.json"), string(good))
			r, err := Find(Options{Checks: map[string]Check{document.Lock.Name: func(string, []byte) error {
				return fault.New(fault.Semantic, "the owner says no")
			}}}, dir)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Write(durable.OS{}); err != nil {
				t.Fatal(err)
			}
			err = r.Err()
			if fault.CodeOf(err) != fault.MigrationFailed || fault.CodeOf(err).Exit() != 30 || !strings.Contains(err.Error(), c.why) {
				t.Errorf("got %v", err)
			}
			if now, _ := os.ReadFile(filepath.Join(dir, c.path)); string(now) != c.text {
				t.Errorf("now it is %s", now)
			}
			if now, _ := os.ReadFile(filepath.Join(dir, "state.json")); document.SchemaVersion(now) != document.State.ID() {
				t.Errorf("the other is %s", now)
			}
		})
	}
}

// An unreadable cache is as good as none. What it said is not guessed, and it
// is not lost either.
func TestD3_CachesAreMadeAgain(t *testing.T) {
	key := strings.Repeat("cd", 32)
	for _, path := range []string{"contexts.json", "verified.json", "stages/" + key + ".json", "inputs/" + key + ".json", "runs/" + key + ".json"} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, path), "\x00\x01")
		write(t, filepath.Join(dir, "stages/notes.json"), "mine")
		r, err := Find(Options{}, dir)
		if err != nil || len(r.Findings) != 1 || r.Findings[0].Action != Remake || r.Pending() != 1 {
			t.Fatalf("%s: %v, %+v", path, err, r)
		}
		if err := r.Write(durable.OS{}); err != nil || r.Err() != nil {
			t.Fatal(err)
		}
		if aside, err := os.ReadFile(filepath.Join(dir, path+".unreadable.bak")); string(aside) != "\x00\x01" {
			t.Errorf("%s: %q, %v", path, aside, err)
		}
		if _, err := os.Stat(filepath.Join(dir, path)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
}

// A backup of something else is not overwritten, and a document that changed
// after it was found is migrated as it is now.
func TestWriteBesideOthers(t *testing.T) {
	dir := world(t)
	lock := filepath.Join(dir, "pipeline/rebuild.lock")
	write(t, lock+".0.9.0.bak", "somebody else's")
	r := find(t, dir, Options{})
	changed := `{"schema_version":"rebuild.lock@0.9.0","toolchain":"other tree"}`
	write(t, lock, changed)
	current, err := os.ReadFile(filepath.Join(compat, "state/1.0.0.json"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "state/state.json"), string(current)) // migrated by another in the meantime
	if err := r.Write(durable.OS{}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		lock:                                   `{"schema_version":"rebuild.lock@1.0.0","toolchain":{"exec":"other","tree":"tree"}}`,
		lock + ".0.9.0.bak":                    "somebody else's",
		lock + ".0.9.0.2.bak":                  changed,
		filepath.Join(dir, "state/state.json"): string(current),
	} {
		if got, err := os.ReadFile(path); string(got) != want {
			t.Errorf("%s: %v, %s", path, err, got)
		}
	}
}

// A named file that is no document, or a path that is not there, is a mistake
// of whoever typed it.
func TestFindRefusesPaths(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "notes.txt"), "mine")
	write(t, filepath.Join(dir, "config.json"), `{"auths":{}}`)
	for _, path := range []string{"notes.txt", "config.json", "nowhere", "../" + filepath.Base(dir) + "/nowhere/x"} {
		if r, err := Find(Options{}, filepath.Join(dir, path)); fault.CodeOf(err) != fault.Usage {
			t.Errorf("%s: %+v, %v", path, r, err)
		}
	}
	if r, err := Find(Options{}, dir); err != nil || r.Current+len(r.Findings) != 0 {
		t.Errorf("a foreign config.json: %+v, %v", r, err)
	}
}
