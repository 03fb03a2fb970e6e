package attest

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
)

// examplesIn are the TOML documents that a document shows, as people copy them.
func examplesIn(t *testing.T, file string) []string {
	t.Helper()
	text, err := os.ReadFile("../docs/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	inside := false
	for line := range strings.Lines(string(text)) {
		code, indented := strings.CutPrefix(line, "    ")
		switch {
		case indented && strings.HasPrefix(code, "schema_version"):
			inside, all = true, append(all, code)
		case inside && indented:
			all[len(all)-1] += code
		case strings.TrimSpace(line) != "":
			inside = false
		case inside:
			all[len(all)-1] += "\n"
		}
	}
	return all
}

// keysOfType are the keys that a document may have, from the type that reads it.
func keysOfType(doc reflect.Type) []string {
	for doc.Kind() == reflect.Pointer || doc.Kind() == reflect.Slice || doc.Kind() == reflect.Map {
		doc = doc.Elem()
	}
	var all []string
	if doc.Kind() == reflect.Struct {
		for i := range doc.NumField() {
			name, _, _ := strings.Cut(doc.Field(i).Tag.Get("json"), ",")
			all = append(append(all, name), keysOfType(doc.Field(i).Type)...)
		}
	}
	return all
}

// A documented policy that does not load, or leaves out what a policy can ask
// for, teaches its readers to guess.
func TestDocumentedPolicies(t *testing.T) {
	now := time.Date(2026, 12, 15, 0, 0, 0, 0, time.UTC)
	examples := examplesIn(t, "policy.md")
	if len(examples) != 2 {
		t.Fatalf("%d policies, want the small and the complete one", len(examples))
	}
	for _, text := range examples {
		p, err := LoadPolicy("policy.toml", []byte(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if err := p.CheckAt(now); err != nil {
			t.Error(err)
		}
		if sets := p.leastSets(nil, p.reachable).Sets; len(sets) == 0 {
			t.Errorf("nobody can meet policy %s", text)
		}
	}
	for _, key := range keysOfType(reflect.TypeFor[policyDoc]()) {
		if !showsKey(examples[1], key) {
			t.Errorf("the complete policy does not show %s", key)
		}
	}
	for field := range environmentFields {
		if !strings.Contains(examples[1], field) {
			t.Errorf("the complete policy does not name the environment field %s", field)
		}
	}
}

// showsKey says whether a key stands in a TOML text, outside of comments.
func showsKey(text, key string) bool {
	return regexp.MustCompile(`(?m)^[^#\n]*\b` + key + `\b`).MatchString(text)
}

// Nothing but the document says what a package.toml may have.
func TestDocumentedPackage(t *testing.T) {
	examples := examplesIn(t, "releasing.md")
	if len(examples) != 1 {
		t.Fatalf("%d packages, want one", len(examples))
	}
	if _, _, err := LoadPackage("package.toml", []byte(examples[0])); err != nil {
		t.Error(err)
	}
	for _, key := range keysOfType(reflect.TypeFor[PackageDocument]()) {
		if !showsKey(examples[0], key) {
			t.Errorf("the package does not show %s", key)
		}
	}
}
