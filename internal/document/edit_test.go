package document

import (
	"errors"
	"strings"
	"testing"

	"rebuild/internal/fault"
)

// A rotation touches few bytes of a file that people keep: their comments, their
// order, their layout come out as they went in.
func TestEditTOML(t *testing.T) {
	first := []any{"op", "keys", 0}
	entry := Fields{{"key", "B"}, {"from", "T"}}
	for name, c := range map[string]struct {
		old, want string
		edits     []Edit
	}{
		"a number": {"version = 7 # seven\n", "version = 8 # seven\n", []Edit{{Path: []any{"version"}, Value: int64(8)}}},
		"one line": {
			`op = { keys = [{ key = "A" }, { key = "C" }] }`, `op = { keys = [{ key = "A", to = "T" }, { key = "B", from = "T" }, { key = "C" }] }`,
			[]Edit{{Path: []any{"op", "keys", 0, "to"}, Value: "T"}, {Path: first, Value: entry, After: true}},
		},
		"a line each, comma and comment": {
			"[op]\nkeys = [\n  # north's\n  { key = \"A\" }, # the first\n\n  { key = \"C\" }, # the second\n]\n",
			"[op]\nkeys = [\n  # north's\n  { key = \"A\" }, # the first\n  { key = \"B\", from = \"T\" },\n\n  { key = \"C\" }, # the second\n]\n",
			[]Edit{{Path: first, Value: entry, After: true}},
		},
		"the last line has no comma": {
			"op.keys = [\r\n\t{ key = \"A\" } # alone, { } \"\r\n]\r\n", "op.keys = [\r\n\t{ key = \"A\" }, # alone, { } \"\r\n\t{ key = \"B\", from = \"T\" }\r\n]\r\n",
			[]Edit{{Path: first, Value: entry, After: true}},
		},
		"hanging": {
			"op.keys = [{ key = \"A\" },\n  { key = \"C\" }]\n", "op.keys = [{ key = \"A\" }, { key = \"B\", from = \"T\" },\n  { key = \"C\" }]\n",
			[]Edit{{Path: first, Value: entry, After: true}},
		},
		"blocks": {
			"[[op.keys]] # first\n  key = \"A\" # here\n\n# another\n[[op.keys]]\nkey = \"C\"\n",
			"[[op.keys]] # first\n  key = \"A\" # here\n  to = \"T\"\n[[op.keys]]\n  key = \"B\"\n  from = \"T\"\n\n# another\n[[op.keys]]\nkey = \"C\"\n",
			[]Edit{{Path: []any{"op", "keys", 0, "to"}, Value: "T"}, {Path: first, Value: entry, After: true}},
		},
		"a value that is there": {
			"op = { keys = [ {key='A',to = \"S\"} ] }", "op = { keys = [ {key='A',to = \"T\"} ] }",
			[]Edit{{Path: []any{"op", "keys", 0, "to"}, Value: "T"}},
		},
		"a string in an array": {`root = { keys = ["A", 'C'] }`, `root = { keys = ["A", "B"] }`, []Edit{{Path: []any{"root", "keys", 1}, Value: "B"}}},
		"braces in strings":    {`op.keys = [{ key = "}, {" }]`, `op.keys = [{ key = "}, {", n = 1 }]`, []Edit{{Path: []any{"op", "keys", 0, "n"}, Value: int64(1)}}},
		"no newline at the end": {"[[op.keys]]\nkey = \"A\"", "[[op.keys]]\nkey = \"A\"\n[[op.keys]]\nkey = \"B\"\nfrom = \"T\"",
			[]Edit{{Path: first, Value: entry, After: true}}},
	} {
		got, err := EditTOML("p.toml", []byte(c.old), c.edits...)
		if err != nil || string(got) != c.want {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, got, c.want)
		}
	}
}

// What can not be changed safely is not changed, and the error says what to
// write.
func TestEditTOMLGivesUp(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		edit Edit
	}{
		"nothing there":     {"a = 1", Edit{Path: []any{"op", "keys", 0, "to"}, Value: "T"}},
		"no such element":   {`op.keys = [{ key = "A" }]`, Edit{Path: []any{"op", "keys", 1}, Value: "T", After: true}},
		"an empty table":    {`op.keys = [{}]`, Edit{Path: []any{"op", "keys", 0, "to"}, Value: "T"}},
		"a dotted table":    {"op.sub.a = 1", Edit{Path: []any{"op", "sub", "b"}, Value: "T"}},
		"not TOML's quotes": {"a = 'x'", Edit{Path: []any{"a"}, Value: "\a"}},
	} {
		_, err := EditTOML("p.toml", []byte(c.text), c.edit)
		var f *fault.Error
		if !errors.As(err, &f) || f.Code != fault.Usage || !strings.Contains(f.Hint, "write by hand: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := EditTOML("p.toml", []byte("a = "), Edit{Path: []any{"a"}, Value: "x"}); fault.CodeOf(err) != fault.Parse {
		t.Error(err)
	}
}
