package document_test

import (
	"bytes"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"rebuild/internal/document"
)

// FuzzEditTOML: whatever layout a stranger writes, an edit gives a text that
// says what it said with the one change, or none.
func FuzzEditTOML(f *testing.F) {
	for _, s := range []string{
		"version = 1\nkeys = [{ key = \"a\" }]\n", "version = 1 # version = 2\nkeys = [ # x\n  { key = \"a\" }, # y\n]", "version = 1\r\n[[keys]]\r\nkey = 'a'\r\n[[keys]]\nkey='b'",
		"keys = [{key = '''a\n'''}]\nversion = 1", "keys = [{key.x = 1, key.y = \"}\"}]\nversion=1", "version = 0x1\n[[keys]] # ]]\n[keys.key]\nx=1", "'version' = 1\n\"keys\" = [[]]\n",
		"[[keys]]\n[keys.sub]\nversion = 3\n[[keys]]\n", "version = 1\nkeys = [\n{}\n,\n{key=\"\"\"\nversion = 1\"\"\"}]",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		for _, e := range []document.Edit{
			{Path: []any{"version"}, Value: int64(2)},
			{Path: []any{"keys", 0, "not_after"}, Value: "now\""},
			{Path: []any{"keys", 0}, Value: document.Fields{{Name: "key", Value: "b"}, {Name: "n", Value: int64(3)}}, After: true},
			{Path: []any{"keys", 1}, Value: "c"},
		} {
			before := bytes.Clone(in)
			out, err := document.EditTOML("f", in, e)
			if !bytes.Equal(in, before) {
				t.Fatalf("%q was changed in place to %q", before, in)
			}
			if err != nil {
				continue
			}
			var old, got map[string]any
			if toml.Unmarshal(in, &old) != nil || toml.Unmarshal(out, &got) != nil {
				t.Fatalf("%q becomes %q", in, out)
			}
			if e.Path[0] == "version" {
				if got["version"] != int64(2) {
					t.Fatalf("%q becomes %q", in, out)
				}
				delete(old, "version")
				delete(got, "version")
				a, err1 := document.Encode(old)
				b, err2 := document.Encode(got)
				if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
					t.Fatalf("%q becomes %q", in, out)
				}
			}
		}
	})
}
