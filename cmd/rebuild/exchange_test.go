package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rebuild/attest"
	"rebuild/internal/fault"
	"rebuild/store"
)

// exchanged returns a copy of a results folder with the results of north and
// south and their provenances, and the plan folder in it.
func exchanged(t *testing.T, name string) (results, folder string) {
	t.Helper()
	results = filepath.Join(t.TempDir(), name)
	if err := copyMissing(results, filepath.Join(releaseDir(t), "results")); err != nil {
		t.Fatal(err)
	}
	folder, err := findPlanFolder(results)
	if err != nil {
		t.Fatal(err)
	}
	return results, folder
}

// The name of a folder is no pattern. One that was taken for one would show no
// statement, and so no dissent.
func TestResultsFolderWithAnyName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"plain", "a[b]", `a*?\b`, "[", "-", " "} {
		results, _ := exchanged(t, name)
		_, found, err := readResults(results)
		if err != nil || len(found.Statements) != 4 {
			t.Errorf("%q: %d statements, want 4 (%v)", name, len(found.Statements), err)
		}
	}
}

// A statement that can not be read may be the one that says otherwise, so it
// must not be passed over.
func TestUnreadableResultsAreErrors(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(folder string) error{
		"a link in the place of an operator": func(folder string) error { return os.Symlink("north", filepath.Join(folder, "east")) },
		"a link to nothing":                  func(folder string) error { return os.Symlink("nothing", filepath.Join(folder, "east")) },
		"a link out of the folder": func(folder string) error {
			return os.Symlink("/etc/hostname", filepath.Join(folder, "north", "east"+attest.EnvelopeSuffix))
		},
		"a folder in the place of a statement": func(folder string) error {
			return os.Mkdir(filepath.Join(folder, "north", "east"+attest.EnvelopeSuffix), 0o755)
		},
		"a statement that is too long": func(folder string) error {
			return os.WriteFile(filepath.Join(folder, "north", "east"+attest.EnvelopeSuffix), make([]byte, attest.MaxEnvelope+1), 0o644)
		},
		"no statement readable": func(folder string) error {
			if os.Geteuid() == 0 { // who may read everything
				return os.Symlink("south", filepath.Join(folder, "closed"))
			}
			return os.Chmod(filepath.Join(folder, "south"), 0o000)
		},
	} {
		results, folder := exchanged(t, "results")
		if err := spoil(folder); err != nil {
			t.Fatal(err)
		}
		if _, found, err := readResults(results); err == nil || fault.CodeOf(err) == fault.Internal {
			t.Errorf("%s: %d statements, error %v", name, len(found.Statements), err)
		}
		os.Chmod(filepath.Join(folder, "south"), 0o755)
	}
}

// A folder with more statements than anyone has must be refused while it is
// listed, not after all of it was read.
func TestTooManyStatements(t *testing.T) {
	t.Parallel()
	results, folder := exchanged(t, "results")
	for i := range maxStatements {
		operator := filepath.Join(folder, fmt.Sprintf("o%d", i/20_000))
		source := filepath.Join(operator, "source") // file systems bound the links to one file
		if i%20_000 == 0 {
			write(t, source, nil)
		}
		name := store.DigestOf(fmt.Append(nil, i)).Hex() + attest.EnvelopeSuffix
		if err := os.Link(source, filepath.Join(operator, name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := readResults(results); fault.CodeOf(err) != fault.Structure {
		t.Errorf("error %v, want %s", err, fault.Structure)
	}
}

// Results are kept in git, whose own folder is not about any plan.
func TestHiddenFoldersAreNotResults(t *testing.T) {
	t.Parallel()
	results, folder := exchanged(t, "results")
	write(t, filepath.Join(results, ".git", "objects", planFile), read(t, filepath.Join(folder, planFile)))
	if got, err := findPlanFolder(results); err != nil || got != folder {
		t.Errorf("found %s (%v), want %s", got, err, folder)
	}
}

// A digest in a statement is of no use to a reader who can not get what it
// names.
func TestLineageReportGoesWithItsStatement(t *testing.T) {
	t.Parallel()
	results, folder := exchanged(t, "results")
	files, err := filepath.Glob(filepath.Join(folder, objectFolder, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d objects beside the statements (%v)", len(files), err)
	}
	named := map[string]bool{}
	_, found, err := readResults(results)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range found.Statements {
		if report, ok := lineageReportOf(t, s); ok {
			named[report] = true
		}
	}
	for _, f := range files {
		hex := strings.TrimSuffix(filepath.Base(f), ".json")
		if got := store.DigestOf(read(t, f)); got.Hex() != hex || !named[hex] {
			t.Errorf("%s has digest %s; statements name %v", f, got, named)
		}
		delete(named, hex)
	}
	if len(named) > 0 {
		t.Errorf("missing: %v", named)
	}
}

// lineageReportOf returns the hex digest of the report that a statement names,
// false for one that is no result.
func lineageReportOf(t *testing.T, raw []byte) (string, bool) {
	t.Helper()
	e, err := attest.ParseEnvelope("statement", raw)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := e.Verify([]attest.PublicKey{publicKey(t, "north"), publicKey(t, "south")})
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		PredicateType string `json:"predicateType"`
		Predicate     struct {
			Lineage struct {
				Report store.Digest `json:"report"`
			} `json:"lineage"`
		} `json:"predicate"`
	}
	if err := json.Unmarshal(signed.Payload(), &s); err != nil {
		t.Fatal(err)
	}
	return s.Predicate.Lineage.Report.Hex(), s.PredicateType == attest.PredicateResult
}

// publicKey is the key of one of the cast.
func publicKey(t *testing.T, name string) attest.PublicKey {
	t.Helper()
	k, err := attest.ParsePublicKey(strings.TrimSpace(string(read(t, filepath.Join(releaseDir(t), "keys", name+".pub")))))
	if err != nil {
		t.Fatal(err)
	}
	return k
}
