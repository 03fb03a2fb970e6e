package document_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/cyberphone/json-canonicalization/go/src/webpki.org/jsoncanonicalizer"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"rebuild/internal/document"
	"rebuild/internal/fault"
)

// The vectors of RFC 8785's authors. What they give for two of them is a form
// of ours; the others have what no document of ours may hold, which is why
// their canonical form is refused too.
func TestRFC8785Vectors(t *testing.T) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/cyberphone/json-canonicalization").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name, refused := range map[string]string{
		"structures": "", "unicode": "",
		"arrays": "null is not allowed", "french": "is not ASCII", "values": "null is not allowed", "weird": "is not ASCII",
	} {
		t.Run(name, func(t *testing.T) {
			vector := func(folder string) []byte {
				data, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "testdata", folder, name+".json"))
				if err != nil {
					t.Fatal(err)
				}
				return data
			}
			in, out := vector("input"), bytes.TrimSuffix(vector("output"), []byte("\n"))
			var v any
			if err := json.Unmarshal(in, &v); err != nil {
				t.Fatal(err)
			}
			if err := document.DecodeStrict("in", in, new(any)); fault.CodeOf(err) != fault.Parse {
				t.Errorf("the input is no canonical form and gives %v", err)
			}
			if refused == "" {
				made, err := document.Encode(v)
				if err != nil || !bytes.Equal(made, out) {
					t.Errorf("made %s, %v, want %s", made, err, out)
				}
				if err := document.DecodeStrict("out", out, new(any)); err != nil {
					t.Error(err)
				}
				return
			}
			err := document.DecodeStrict("out", out, new(any))
			if fault.CodeOf(err) != fault.Parse {
				t.Errorf("got %v", err)
			}
			if made, err := document.Encode(v); err == nil {
				t.Errorf("made %s", made)
			} else if !strings.Contains(err.Error(), refused) && name != "values" {
				t.Errorf("refused for another reason: %v", err)
			}
		})
	}
}

// FuzzCanonical holds the one-pass check of the canonical form against two
// implementations of RFC 8785: what it accepts they both leave as it is, and
// what they leave so and it refuses has something that documents do not have.
func FuzzCanonical(f *testing.F) {
	for _, s := range []string{
		`{"a":1,"b":[true,false,"x"],"c":{}}`, `{"\n":56,"1":{"F":5,"f":"hi"}}`, `"\u000f\\\"€"`, `[9007199254740991,-9007199254740991,0]`,
		`{"b":1,"a":2}`, `{"a":1,"a":1}`, `[1.0]`, `[-0]`, `[1e2]`, `[null]`, `{"é":1}`, `"\u0041"`, `"\/"`, `"\u001F"`, `[ ]`, "\"\x7f\"", `""x`,
		strings.Repeat("[", 32) + strings.Repeat("]", 32), strings.Repeat("[", 33) + strings.Repeat("]", 33), `9007199254740992`, `01`, `-`, `tru`, `"\ud83d\ude02"`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		accepted := document.DecodeStrict("f", in, new(any)) == nil
		one := jsontext.Value(bytes.Clone(in))
		same := one.Canonicalize() == nil && bytes.Equal(one, in)
		if accepted && !same {
			t.Fatalf("accepted %q, the JSON library makes it %q", in, one)
		}
		// The other one takes objects and arrays alone.
		if two, err := jsoncanonicalizer.Transform(in); accepted && (in[0] == '{' || in[0] == '[') && (err != nil || !bytes.Equal(two, in)) {
			t.Fatalf("accepted %q, the authors of RFC 8785 make it %q (%v)", in, two, err)
		}
		if same && !accepted && !outside(in) {
			t.Fatalf("refused %q, which is canonical", in)
		}
	})
}

// FuzzSortMembers: whatever order the members are written in, sorting them and
// nothing else gives the canonical form of compact JSON.
func FuzzSortMembers(f *testing.F) {
	for _, s := range []string{`{"b":[{"d":1,"c":{}},[],{}],"a":"x,}\\\""}`, `[]`, `{}`, `{"a":1,"B":2,"":3}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		want := jsontext.Value(bytes.Clone(in))
		if want.Canonicalize() != nil || outside(want) {
			return
		}
		var v any
		if err := json.Unmarshal(want, &v); err != nil {
			t.Fatal(err)
		}
		unsorted, err := json.Marshal(v) // maps in any order
		if err != nil {
			t.Fatal(err)
		}
		if got := document.SortMembers(unsorted); !bytes.Equal(got, want) {
			t.Fatalf("%s became %s, want %s", unsorted, got, want)
		}
	})
}

// outside says whether canonical JSON holds what no document may: it is the
// definition, token by token, in place of the scanner.
func outside(in []byte) bool {
	if !utf8.Valid(in) {
		return true
	}
	d := jsontext.NewDecoder(bytes.NewReader(in))
	for {
		tok, err := d.ReadToken()
		if err != nil {
			return false
		}
		if d.StackDepth() > 32 || tok.Kind() == 'n' {
			return true
		}
		if tok.Kind() == '0' {
			text := tok.String()
			if strings.ContainsAny(text, ".eE") || len(strings.TrimPrefix(text, "-")) > 16 || strings.TrimPrefix(text, "-") > "9007199254740991" && len(strings.TrimPrefix(text, "-")) == 16 {
				return true
			}
		}
		if kind, n := d.StackIndex(d.StackDepth()); tok.Kind() == '"' && kind == '{' && n%2 == 1 {
			for _, c := range tok.String() {
				if c >= utf8.RuneSelf {
					return true
				}
			}
		}
	}
}

// FuzzDecodeTOML: the image of a hand-written document is a machine document,
// and says the same.
func FuzzDecodeTOML(f *testing.F) {
	for _, s := range []string{
		"schema_version = \"test.note@1.0.0\"\ntext = \"a\"\ncount = 7\n", "schema_version = \"test.note@1.0.0\"\n[[list]]\nname = \"x\"\n[tags]\na = \"b\"\n",
		"schema_version = 'test.note@1.0.0'\ntags = { 'a b' = \"\"\"x\ny\"\"\" }\n", "a.b.c = 1\n[a]\n", "x = 1.5", "d = 2026-01-01",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var d noteDoc
		s, err := document.DecodeTOML("n.toml", in, note, &d)
		if err != nil {
			if fault.CodeOf(err) == fault.Internal {
				t.Fatal(err)
			}
			return
		}
		var again any
		if err := document.DecodeStrict("image", s.Image(), &again); err != nil {
			t.Fatalf("%s: %v", s.Image(), err)
		}
		var image noteDoc
		if err := json.Unmarshal(s.Image(), &image, json.RejectUnknownMembers(true)); err != nil {
			t.Fatal(err)
		}
		one, err1 := document.Encode(d)
		two, err2 := document.Encode(image)
		if err1 != nil || err2 != nil || !bytes.Equal(one, two) {
			t.Fatalf("%q says %s, its image %s (%v, %v)", in, one, two, err1, err2)
		}
	})
}
