package document_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"rebuild/internal/document"
	"rebuild/internal/fault"
)

const compat = "../../testdata/compat"

// compatible returns the document of a kind at a version that must be read for
// ever.
func compatible(t testing.TB, k document.Kind, version string) (file string, data []byte) {
	t.Helper()
	for _, ext := range []string{".json", ".toml"} {
		file = filepath.Join(compat, strings.TrimPrefix(k.Name, "rebuild."), version+ext)
		if data, err := os.ReadFile(file); err == nil {
			return file, data
		}
	}
	t.Fatalf("there is no %s", file)
	return "", nil
}

// migrated lists the kinds with an older version.
func migrated() []document.Kind {
	return slices.DeleteFunc(document.Kinds(), func(k document.Kind) bool { return len(k.Migrate) == 0 })
}

// Without this a table could say that a version is read, and nothing would.
func TestD9_EveryVersionInAWindowIsReadOrMigrated(t *testing.T) {
	if len(migrated()) < 3 {
		t.Errorf("only %d kinds have an older version", len(migrated()))
	}
	for _, k := range document.Kinds() {
		if !slices.Contains(k.Read, k.Current) || !slices.IsSorted(k.Read) {
			t.Errorf("%s writes %s and reads %v", k.Name, k.Current, k.Read)
		}
		for _, v := range append(slices.Clone(k.Migrate), k.Read...) {
			if !slices.Contains(k.Read, v) {
				t.Errorf("%s migrates %s and does not read it", k.Name, v)
			}
			file, data := compatible(t, k, v)
			if strings.HasSuffix(file, ".toml") {
				if err := document.CheckTOML(file, data, k); err != nil {
					t.Error(err)
				}
				continue
			}
			if _, found, err := document.Upgrade(file, data, k); err != nil || found != k.Name+"@"+v {
				t.Errorf("%s: %q, %v", file, found, err)
			}
		}
	}
}

// What is upgraded in memory is what the current form says, to the byte, and
// nothing is lost on the way back.
func TestD7_OldFormsAreUpgradedInMemory(t *testing.T) {
	for _, k := range migrated() {
		for _, v := range k.Migrate {
			file, old := compatible(t, k, v)
			_, want := compatible(t, k, k.Current)
			got, _, err := document.Upgrade(file, old, k)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s gives %v\n%s\nwant\n%s", file, err, got, want)
			}
			var a, b any
			if err := errors.Join(document.Decode(file, old, k, &a), document.Decode(file, want, k, &b)); err != nil {
				t.Error(err)
			}
			if fmt.Sprint(a) != fmt.Sprint(b) {
				t.Errorf("%s is decoded as %v, the current form as %v", file, a, b)
			}
			if back, err := document.Downgrade(file, want, k, v); err != nil || !bytes.Equal(back, old) {
				t.Errorf("back: %v\n%s\nwant\n%s", err, back, old)
			}
		}
	}
}

// Each step of validation has an error of its own, and the version comes
// first: a document of a later version may look like anything.
func TestD14_FourSteps(t *testing.T) {
	k := document.Lock
	const now = `{"schema_version":"rebuild.lock@1.0.0","toolchain":{"exec":"e","tree":"t"}}`
	var v any
	type typed struct {
		SchemaVersion string `json:"schema_version"`
		Toolchain     struct {
			Exec string `json:"exec"`
			Tree string `json:"tree"`
		} `json:"toolchain"`
	}
	for name, c := range map[string]struct {
		in   string
		into any
		code fault.Code
	}{
		"good":                       {now, new(typed), ""},
		"H7 newer, and no canon":     {`{"b":null, "schema_version":"rebuild.lock@1.1.0","b":1}`, &v, fault.SchemaUnsupported},
		"older than the window":      {`{"schema_version":"rebuild.lock@0.8.0"}`, &v, fault.SchemaUnsupported},
		"no JSON":                    {`lock = 1`, &v, fault.Parse},
		"twice":                      {`{"schema_version":"rebuild.lock@1.0.0","schema_version":"rebuild.lock@1.0.0"}`, &v, fault.Parse},
		"another kind":               {`{"schema_version":"rebuild.plan@1.0.0"}`, &v, fault.Structure},
		"H11 unknown key":            {strings.Replace(now, `}}`, `},"zzz":1}`, 1), new(typed), fault.Structure},
		"H11 unknown key of the old": {`{"schema_version":"rebuild.lock@0.9.0","toolchain":"e t","zzz":1}`, &v, fault.Structure},
		"old, but with the new form": {`{"schema_version":"rebuild.lock@0.9.0","toolchain":{"exec":"e","tree":"t"}}`, &v, fault.Structure},
		"new, but with the old form": {`{"schema_version":"rebuild.lock@1.0.0","toolchain":"e t"}`, new(typed), fault.Structure},
		"old, meaningless":           {`{"schema_version":"rebuild.lock@0.9.0","toolchain":"e"}`, &v, fault.Semantic},
		"old, not canonical":         {`{"schema_version":"rebuild.lock@0.9.0", "toolchain":"e t"}`, &v, fault.Parse},
	} {
		t.Run(name, func(t *testing.T) {
			if err := document.Decode("f", []byte(c.in), k, c.into); fault.CodeOf(err) != c.code {
				t.Errorf("got %v, want %q", err, c.code)
			}
		})
	}
	want := map[fault.Code]int{fault.Parse: 31, fault.Structure: 31, fault.Semantic: 31, fault.SchemaUnsupported: 30}
	for code, exit := range want {
		if code.Exit() != exit {
			t.Errorf("%s exits with %d, want %d", code, code.Exit(), exit)
		}
	}
}

// Whoever meets an unsupported version, a person or a script, is told the same
// three things: what it is, what would be read, and what to do; and that no
// migration helped.
func TestD8_D10_D18_UnsupportedVersions(t *testing.T) {
	for _, k := range document.Kinds() {
		for _, version := range []string{"0.1.0", "1.0.1", "2.0.0", "latest", ""} {
			id := k.Name + "@" + version
			json := fmt.Appendf(nil, `{"schema_version":%q}`, id)
			var v any
			first := document.Decode("f", json, k, &v)
			text := fmt.Appendf(nil, "schema_version = %q\n", id)
			for _, err := range []error{first, document.CheckTOML("f", text, k)} {
				var e *fault.Error
				if !errors.As(err, &e) || e.Code != fault.SchemaUnsupported || e.Hint == "" {
					t.Fatalf("%s: %v", id, err)
				}
				m, ok := e.Details["migration"].(document.Migration)
				if e.Details["found"] != id || fmt.Sprint(e.Details["supported"]) != fmt.Sprint(k.Read) ||
					!ok || m.Code != fault.MigrationFailed || m.From != id || m.To != k.ID() || m.Message == "" || m.Window == nil {
					t.Errorf("%s: details %v", id, e.Details)
				}
				if !strings.Contains(e.Message, "is not supported") || strings.Contains(e.Message, "migration failed") != (len(k.Migrate) > 0) {
					t.Errorf("%s: %s", id, e.Message)
				}
				if e.Message != first.(*fault.Error).Message {
					t.Errorf("reported in two ways: %s", e.Message)
				}
			}
		}
	}
}

// A file that is nearly right is refused like one that is all wrong: whoever
// wrote it learns of it, and no two programs see two documents.
func TestD16_NothingIsRepaired(t *testing.T) {
	for _, k := range document.Kinds() {
		for _, v := range k.Read {
			file, data := compatible(t, k, v)
			if strings.HasSuffix(file, ".toml") {
				continue
			}
			for what, bad := range map[string][]byte{
				"a line feed": append(bytes.Clone(data), '\n'),
				"a space":     append([]byte("{ "), data[1:]...),
				"a BOM":       append([]byte("\ufeff"), data...),
				"cut":         data[:len(data)-1],
				"two":         append(bytes.Clone(data), data...),
				"a null":      append([]byte(`{"a":null,`), data[1:]...),
				"a float":     append([]byte(`{"a":1.0,`), data[1:]...),
			} {
				var got any
				if err := document.Decode(file, bad, k, &got); fault.CodeOf(err).Exit() != 31 || got != nil {
					t.Errorf("%s with %s: %v, %v", file, what, got, err)
				}
			}
		}
	}
}

var texts = rapid.StringMatching(`[a-z0-9/.:+ -]{1,12}`)

// Any document of the current version that an old one has room for goes there
// and back without losing a byte.
func TestUpgradeProperties(t *testing.T) {
	word := rapid.StringMatching(`[a-z0-9.]{1,12}`)
	lists := rapid.SliceOfN(texts, 1, 3)
	makers := map[string]func(t *rapid.T) map[string]any{
		document.Lock.Name: func(t *rapid.T) map[string]any {
			doc := map[string]any{"toolchain": map[string]any{"exec": word.Draw(t, "exec"), "tree": word.Draw(t, "tree")}}
			names := rapid.SliceOfNDistinct(texts, 0, 4, rapid.ID).Draw(t, "names")
			slices.Sort(names)
			for _, n := range names {
				list, _ := doc["sources"].([]any)
				doc["sources"] = append(list, map[string]any{"name": n, "digest": texts.Draw(t, "digest"), "size": rapid.Int64Range(0, 1<<53-1).Draw(t, "size")})
			}
			return doc
		},
		document.IndexConfig.Name: func(t *rapid.T) map[string]any {
			doc := map[string]any{}
			if rapid.Bool().Draw(t, "signed") {
				doc["signing"] = map[string]any{"kind": "ed25519", "public_keys": []any{map[string]any{"id": texts.Draw(t, "id"), "ed25519_pub": texts.Draw(t, "key")}}}
			}
			if rapid.Bool().Draw(t, "logged") {
				doc["log"] = map[string]any{"origin": texts.Draw(t, "origin"), "key": texts.Draw(t, "vkey")}
			}
			if rapid.Bool().Draw(t, "private") {
				doc["auth-required"] = true
			}
			return doc
		},
		document.State.Name: func(t *rapid.T) map[string]any {
			doc := map[string]any{}
			for _, key := range []string{"heads", "policies", "owners"} {
				m := map[string]any{}
				for _, n := range rapid.SliceOfNDistinct(texts, 0, 3, rapid.ID).Draw(t, key) {
					switch key {
					case "heads":
						m[n] = texts.Draw(t, "note")
					case "policies":
						m[n] = rapid.Int64Range(0, 1<<40).Draw(t, "version")
					default:
						m[n] = lists.Draw(t, "keys")
					}
				}
				if len(m) > 0 {
					doc[key] = m
				}
			}
			return doc
		},
	}
	for _, k := range migrated() {
		t.Run(k.Name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				doc := makers[k.Name](t)
				doc["schema_version"] = k.ID()
				now, err := document.Encode(doc)
				if err != nil {
					t.Fatal(err)
				}
				for _, v := range k.Migrate {
					old, err := document.Downgrade("f", now, k, v)
					if err != nil {
						t.Fatal(err)
					}
					again, found, err := document.Upgrade("f", old, k)
					if err != nil || found != k.Name+"@"+v || !bytes.Equal(again, now) {
						t.Fatalf("%v, %s\n%s\nby %s became\n%s", err, found, now, old, again)
					}
				}
			})
		})
	}
}

// What an old version can not say stops the way back, or it would be lost.
func TestDowngradeRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		k    document.Kind
		to   string
		in   string
		code fault.Code
	}{
		"packages":      {document.Lock, "0.9.0", `{"packages":[{"name":"a"}],"schema_version":"rebuild.lock@1.0.0","toolchain":{"exec":"e","tree":"t"}}`, fault.Structure},
		"a space":       {document.Lock, "0.9.0", `{"schema_version":"rebuild.lock@1.0.0","toolchain":{"exec":"e f","tree":"t"}}`, fault.Semantic},
		"unsorted":      {document.Lock, "0.9.0", `{"schema_version":"rebuild.lock@1.0.0","sources":[{"digest":"d","name":"b","size":1},{"digest":"d","name":"a","size":1}],"toolchain":{"exec":"e","tree":"t"}}`, fault.Semantic},
		"twice":         {document.Lock, "0.9.0", `{"schema_version":"rebuild.lock@1.0.0","sources":[{"digest":"d","name":"a","size":1},{"digest":"d","name":"a","size":2}],"toolchain":{"exec":"e","tree":"t"}}`, fault.Semantic},
		"other kind":    {document.IndexConfig, "0.9.0", `{"schema_version":"rebuild.index-config@1.0.0","signing":{"kind":"pgp","public_keys":[{"ed25519_pub":"k","id":"i"}]}}`, fault.Semantic},
		"no key":        {document.IndexConfig, "0.9.0", `{"log":{"key":"","origin":"o"},"schema_version":"rebuild.index-config@1.0.0"}`, fault.Semantic},
		"yanks":         {document.State, "0.9.0", `{"schema_version":"rebuild.state@1.0.0","yanks":{"a":{}}}`, fault.Structure},
		"no such":       {document.State, "0.8.0", `{"schema_version":"rebuild.state@1.0.0"}`, fault.MigrationFailed},
		"none at all":   {document.Plan, "0.9.0", `{"schema_version":"rebuild.plan@1.0.0"}`, fault.MigrationFailed},
		"not current":   {document.State, "0.9.0", `{"schema_version":"rebuild.state@0.9.0"}`, fault.Semantic},
		"not canonical": {document.State, "0.9.0", `{"schema_version": "rebuild.state@1.0.0"}`, fault.Parse},
	} {
		t.Run(name, func(t *testing.T) {
			if out, err := document.Downgrade("f", []byte(c.in), c.k, c.to); fault.CodeOf(err) != c.code || out != nil {
				t.Errorf("got %s, %v, want %s", out, err, c.code)
			}
		})
	}
}

// An old form with two meanings has none.
func TestUpgradeRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		k    document.Kind
		in   string
		code fault.Code
	}{
		"half a log":       {document.IndexConfig, `{"log_origin":"o","schema_version":"rebuild.index-config@0.9.0"}`, fault.Semantic},
		"other half":       {document.IndexConfig, `{"log_key":"o","schema_version":"rebuild.index-config@0.9.0"}`, fault.Semantic},
		"two heads":        {document.State, `{"heads":[{"note":"a","origin":"o"},{"note":"b","origin":"o"}],"schema_version":"rebuild.state@0.9.0"}`, fault.Semantic},
		"unsorted heads":   {document.State, `{"heads":[{"note":"a","origin":"p"},{"note":"b","origin":"o"}],"schema_version":"rebuild.state@0.9.0"}`, fault.Semantic},
		"no key of ours":   {document.State, `{"heads":[{"note":"a","origin":"é"}],"schema_version":"rebuild.state@0.9.0"}`, fault.Semantic},
		"three words":      {document.Lock, `{"schema_version":"rebuild.lock@0.9.0","toolchain":"a b c"}`, fault.Semantic},
		"empty list":       {document.State, `{"heads":[],"schema_version":"rebuild.state@0.9.0"}`, fault.Structure},
		"a field too many": {document.State, `{"schema_version":"rebuild.state@0.9.0","yanks":{}}`, fault.Structure},
	} {
		t.Run(name, func(t *testing.T) {
			if out, _, err := document.Upgrade("f", []byte(c.in), c.k); fault.CodeOf(err) != c.code || out != nil {
				t.Errorf("got %s, %v, want %s", out, err, c.code)
			}
		})
	}
}

// FuzzUpgrade: whatever old document is accepted, going back gives its bytes
// again, so nothing in it was dropped or guessed.
func FuzzUpgrade(f *testing.F) {
	for _, k := range migrated() {
		for _, v := range k.Read {
			_, data := compatible(f, k, v)
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		k, ok := document.KindOf(document.SchemaVersion(in))
		if !ok {
			return
		}
		out, found, err := document.Upgrade("f", in, k)
		if err != nil {
			return
		}
		if found == k.ID() {
			if !bytes.Equal(in, out) {
				t.Fatalf("%s became %s", in, out)
			}
			return
		}
		_, version, _ := strings.Cut(found, "@")
		back, err := document.Downgrade("f", out, k, version)
		if err != nil || !bytes.Equal(back, in) {
			t.Fatalf("%s\nbecame %s\nand %s, %v", in, out, back, err)
		}
	})
}
