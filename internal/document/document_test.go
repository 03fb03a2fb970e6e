package document_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"rebuild/internal/document"
	"rebuild/internal/fault"
)

var note = document.Kind{Name: "test.note", Current: "1.0.0", Read: []string{"1.0.0"}, MaxBytes: 4096}

type noteDoc struct {
	SchemaVersion string            `json:"schema_version"`
	Text          string            `json:"text,omitempty"`
	Count         int               `json:"count,omitzero"`
	Tags          map[string]string `json:"tags,omitempty"`
	List          []item            `json:"list,omitempty"`
}

type item struct {
	Name string `json:"name"`
}

func TestDecodeRefuses(t *testing.T) {
	const version = `"schema_version":"test.note@1.0.0"`
	for name, c := range map[string]struct {
		in   string
		code fault.Code
	}{
		"empty":               {``, fault.Parse},
		"not an object":       {`[]`, fault.Parse},
		"no version":          {`{"text":"a"}`, fault.Structure},
		"other kind":          {`{"schema_version":"test.other@1.0.0"}`, fault.Structure},
		"newer":               {`{"new":null,"schema_version":"test.note@2.0.0"}`, fault.SchemaUnsupported},
		"unknown key":         {`{` + version + `,"zzz":"a"}`, fault.Structure},
		"case folded key":     {`{"Text":"a",` + version + `}`, fault.Structure},
		"duplicate key":       {`{` + version + `,"text":"a","text":"b"}`, fault.Parse},
		"null":                {`{` + version + `,"text":null}`, fault.Parse},
		"float":               {`{"count":1.5,` + version + `}`, fault.Parse},
		"exponent":            {`{"count":1e3,` + version + `}`, fault.Parse},
		"negative zero":       {`{"count":-0,` + version + `}`, fault.Parse},
		"2^53":                {`{"count":9007199254740992,` + version + `}`, fault.Parse},
		"unsorted":            {`{` + version + `,"count":1}`, fault.Parse},
		"white space":         {`{` + version + ` }`, fault.Parse},
		"second value":        {`{` + version + `}{}`, fault.Parse},
		"trailing line feed":  {`{` + version + "}\n", fault.Parse},
		"escaped needlessly":  {`{` + version + `,"text":"\u0061"}`, fault.Parse},
		"key not ASCII":       {`{` + version + `,"tags":{"é":"a"}}`, fault.Parse},
		"bad UTF-8":           {`{` + version + ",\"text\":\"\xff\"}", fault.Parse},
		"wrong type":          {`{` + version + `,"text":1}`, fault.Structure},
		"over the size limit": {`{` + version + `,"text":"` + strings.Repeat("a", 4096) + `"}`, fault.Parse},
		"empty optional":      {`{` + version + `,"text":""}`, fault.Structure},
		"empty list":          {`{"list":[],` + version + `}`, fault.Structure},
		"missing field":       {`{"list":[{}],` + version + `}`, fault.Structure},
		"nested too deep":     {`{` + version + `,"text":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, fault.Parse},
	} {
		t.Run(name, func(t *testing.T) {
			var d noteDoc
			err := document.Decode("f", []byte(c.in), note, &d)
			if got := fault.CodeOf(err); got != c.code {
				t.Fatalf("got %q (%v), want %q", got, err, c.code)
			}
		})
	}
}

func TestEncodeDecodeRoundTrip(t *testing.T) {
	in := noteDoc{SchemaVersion: note.ID(), Text: "é\n\u2028<>&", Count: -1<<53 + 1, Tags: map[string]string{"b": "1", "a": "2"}}
	b, err := document.Encode(in)
	if err != nil {
		t.Fatal(err)
	}
	var out noteDoc
	if err := document.Decode("f", b, note, &out); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	if out.Text != in.Text || out.Count != in.Count || len(out.Tags) != 2 {
		t.Fatalf("got %+v", out)
	}
}

func TestEncodeRefuses(t *testing.T) {
	for _, v := range []any{map[string]any{"a": nil}, map[string]any{"a": 1.5}, map[string]int64{"a": 1 << 53}} {
		if b, err := document.Encode(v); err == nil {
			t.Errorf("%v encoded as %s", v, b)
		}
	}
}

func TestTOMLNamesTheLine(t *testing.T) {
	const version = "schema_version = \"test.note@1.0.0\"\n"
	for name, c := range map[string]struct {
		in   string
		code fault.Code
		line int
	}{
		"syntax":           {version + "\ntext = \n", fault.Parse, 3},
		"unknown key":      {version + "text = \"a\"\nzzz = 1\n", fault.Structure, 3},
		"unknown in array": {version + "[[list]]\nname = \"a\"\n[[list]]\nname = \"b\"\nx = 1\n", fault.Structure, 6},
		"unknown inline":   {version + "list = [\n  { name = \"a\" },\n  { nam = \"b\" },\n]\n", fault.Structure, 4},
		"case folded":      {version + "Text = \"a\"\n", fault.Structure, 2},
		"float":            {version + "count = 1.0\n", fault.Parse, 2},
		"date":             {version + "text = 2026-01-01\n", fault.Parse, 2},
		"dotted too deep":  {version + "a" + strings.Repeat(".a", 2000) + " = 1\n", fault.Parse, 2},
		"table too deep":   {version + "[a" + strings.Repeat(".a", 2000) + "]\n", fault.Parse, 2},
		"array too deep":   {version + "a = " + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + "\n", fault.Parse, 2},
		"inline too deep":  {version + "a = " + strings.Repeat("{a=", 900) + "1" + strings.Repeat("}", 900) + "\n", fault.Parse, 2},
		"duplicate":        {version + "text = \"a\"\ntext = \"b\"\n", fault.Parse, 3},
		"wrong type":       {version + "count = \"a\"\n", fault.Structure, 2},
		"newer version":    {"text = \"a\"\nschema_version = \"test.note@9.0.0\"\n", fault.SchemaUnsupported, 2},
		"no version":       {"text = \"a\"\n", fault.Structure, 0},
		"newer, dated":     {"# new\nschema_version = \"test.note@2.0.0\"\nwhen = 2026-01-01\n", fault.SchemaUnsupported, 2},
		"newer, floats":    {"a = 1.5\nschema_version = \"test.note@2.0.0\"\n", fault.SchemaUnsupported, 2},
		"newer, broken":    {"schema_version = \"test.note@2.0.0\"\na = ?\n", fault.SchemaUnsupported, 1},
		"other, dated":     {"schema_version = \"test.other@2.0.0\"\nwhen = 2026-01-01\n", fault.Parse, 2},
	} {
		t.Run(name, func(t *testing.T) {
			var d noteDoc
			_, err := document.DecodeTOML("n.toml", []byte(c.in), note, &d)
			var e *fault.Error
			if !errors.As(err, &e) || e.Code != c.code || e.Line != c.line || e.File != "n.toml" {
				t.Fatalf("got %v (%+v), want %s at line %d", err, e, c.code, c.line)
			}
		})
	}
}

func TestTOMLImageAndLines(t *testing.T) {
	src := "# note\nschema_version = \"test.note@1.0.0\"\ncount = 7\ntags = { \"x/y\" = \"1\" }\n\n[[list]]\nname = \"one\"\n\n[[list]]\nname = \"two\"\n"
	var d noteDoc
	s, err := document.DecodeTOML("n.toml", []byte(src), note, &d)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"count":7,"list":[{"name":"one"},{"name":"two"}],"schema_version":"test.note@1.0.0","tags":{"x/y":"1"}}`
	if string(s.Image()) != want {
		t.Errorf("image %s", s.Image())
	}
	for line, path := range map[int][]any{3: {"count"}, 4: {"tags", "x/y"}, 7: {"list", 0, "name"}, 10: {"list", 1, "name"}, 9: {"list", 1}} {
		if got := s.Line(path...); got != line {
			t.Errorf("%v at line %d, want %d", path, got, line)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"count":1,"schema_version":"test.note@1.0.0","text":"a"}`))
	f.Fuzz(func(t *testing.T, in []byte) {
		var d noteDoc
		if document.Decode("f", in, note, &d) != nil {
			return
		}
		out, err := document.Encode(d)
		if err != nil {
			t.Fatal(err)
		}
		var again noteDoc
		if err := document.Decode("f", out, note, &again); err != nil {
			t.Fatalf("%s: %v", out, err)
		}
	})
}

// Short documents can cost a parser far more than their length: each of these
// took minutes, or a gigabyte.
func TestTOMLBombs(t *testing.T) {
	kind := note
	kind.MaxBytes = 256 << 10
	const size = 200_000
	many := func(format string) string {
		var b strings.Builder
		for i := 0; b.Len() < size; i++ {
			fmt.Fprintf(&b, format, i)
		}
		return b.String()
	}
	for name, text := range map[string]string{
		"dotted key":     "a" + strings.Repeat(".a", size/2) + " = 1\n",
		"dotted table":   "[a" + strings.Repeat(".a", size/2) + "]\n",
		"arrays":         "a = " + strings.Repeat("[", size),
		"inline tables":  "a = " + strings.Repeat("{a=", size/3),
		"keys":           many("k%d=1\n"),
		"dotted keys":    many("a.k%d=1\n"),
		"array tables":   many("[[a]]\nk%d=1\n"),
		"nested tables":  many("[[a.a.a.a.a.a.a.a.a]]\nk%d=1\n"),
		"empty tables":   "a = [" + strings.Repeat("{},", size/3) + "]\n",
		"empty arrays":   "a = [" + strings.Repeat("[],", size/3) + "]\n",
		"array of zeros": "a = [" + strings.Repeat("0,", size/2) + "]\n",
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			var d noteDoc
			_, err := document.DecodeTOML("n.toml", []byte("schema_version = \"test.note@1.0.0\"\n"+text), kind, &d)
			if fault.CodeOf(err) != fault.Parse {
				t.Errorf("got %v", err)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}
