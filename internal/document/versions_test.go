package document_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"rebuild/internal/document"
)

// No number stands for all documents: one schema can move without the others.
func TestD5_OneVersionForEachSchema(t *testing.T) {
	seen := map[string]bool{}
	form := regexp.MustCompile(`^rebuild\.[a-z]+(-[a-z]+)*@(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)$`)
	for _, k := range document.Kinds() {
		if seen[k.Name] || !form.MatchString(k.ID()) || k.MaxBytes < 1<<10 || k.File == "" || k.Audience == "" {
			t.Errorf("%+v", k)
		}
		seen[k.Name] = true
		if got, ok := document.KindOf(k.Name + "@7.0.0"); !ok || got.Name != k.Name {
			t.Errorf("%s is not found by its name", k.Name)
		}
	}
	if _, ok := document.KindOf("rebuild.nothing@1.0.0"); ok {
		t.Error("a kind that there is not")
	}
}

// Every document is in the one table, caches and control data too: a kind that
// is defined elsewhere has a window that nobody can list.
func TestD3_OneTableOfKinds(t *testing.T) {
	names := map[string]bool{}
	for _, k := range document.Kinds() {
		names[strings.TrimPrefix(k.Name, "rebuild.")] = true
	}
	for _, f := range document.Formats() {
		name, _, _ := strings.Cut(strings.TrimPrefix(f.Name, "rebuild."), "@")
		names[name] = true
	}
	caches := 0
	for _, k := range document.Kinds() {
		if k.Cache() {
			caches++
			if k.Authoritative {
				t.Errorf("%s is a cache and decides", k.Name)
			}
		}
	}
	if caches < 5 {
		t.Errorf("%d caches", caches)
	}
	literal := regexp.MustCompile(`[^\]]document\.Kind\{\s*("|Name:)`)
	version := regexp.MustCompile(`"rebuild\.([a-z-]+)@[0-9]`)
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if literal.Match(text) {
			t.Errorf("%s makes a kind of its own: put it into internal/document/kinds.go", path)
		}
		for _, m := range version.FindAllSubmatch(text, -1) {
			if !names[string(m[1])] {
				t.Errorf("%s speaks of rebuild.%s, which is in no table", path, m[1])
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

const page = "../../docs/versions.md"

// The page shows the table as the program has it; REBUILD_UPDATE=1 writes it.
func TestD20_ThePageShowsTheTable(t *testing.T) {
	var b strings.Builder
	b.WriteString("| document | where | decides | written by > read by | current | also read, migrated |\n|---|---|---|---|---|---|\n")
	for _, k := range document.Kinds() {
		decides := "no, derived"
		switch {
		case k.Authoritative:
			decides = "yes"
		case k.Cache():
			decides = "no, a cache"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s |\n", k.Name, k.File, decides, k.Audience, k.Current, strings.Join(k.Migrate, ", "))
	}
	b.WriteString("\n| format of others, or without a version field | where | decides | written by > read by | read by what runs the software |\n|---|---|---|---|---|\n")
	for _, f := range document.Formats() {
		fmt.Fprintf(&b, "| `%s` | %s | %v | %s | %v |\n", f.Name, f.File, yes(f.Authoritative), f.Audience, yes(f.Runtime))
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	const from, to = "<!-- table: made from internal/document/kinds.go -->\n", "<!-- end of table -->"
	before, rest, ok := strings.Cut(string(text), from)
	_, after, ok2 := strings.Cut(rest, to)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the table", page)
	}
	want := before + from + b.String() + to + after
	if string(text) == want {
		return
	}
	if os.Getenv("REBUILD_UPDATE") != "1" {
		t.Fatalf("%s is out of date; run REBUILD_UPDATE=1 go test ./internal/document", page)
	}
	if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
		t.Fatal(err)
	}
}

// What was decided about versions and trust stands where people look: those who
// judge risks, those who integrate, those who read an error.
func TestD20_StandsWherePeopleLook(t *testing.T) {
	for file, says := range map[string][]string{
		"versions.md":     {"it never repairs or rewrites them", "No flag turns a step off", "`found`", "`supported`", "`migration`"},
		"threat-model.md": {"edited by hand", "of an older version", "imported", "no plugins, scripts or hooks", "`POLICY_DENIED`"},
		"interop.md":      {"Nothing here deploys", "`rebuild versions --json`", "with no document of ours"},
		"exit-codes.md":   {"`SCHEMA_UNSUPPORTED`", "`MIGRATION_FAILED`", "`POLICY_DENIED`", "`PARSE`", "`STRUCTURE`", "`SEMANTIC`"},
	} {
		raw, err := os.ReadFile(filepath.Join("../../docs", file))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Join(strings.Fields(string(raw)), " ")
		for _, s := range says {
			if !strings.Contains(text, s) {
				t.Errorf("%s does not say %q", file, s)
			}
		}
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
