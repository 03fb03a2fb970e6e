package document_test

import (
	"testing"

	"rebuild/internal/document"
	"rebuild/internal/fault"
)

// A foreign format may grow, and may not have two readings.
func TestDecodeForeign(t *testing.T) {
	for text, want := range map[string]fault.Code{
		`{"a":"x"}`:                  "",
		` { "a" : "x", "b": null } `: "",
		`{"a":"x","more":{"n":1.5}}`: "",
		`{"A":"x"}`:                  "",
		`{"a":"y","a":"x"}`:          fault.Parse,
		`{"a":"x"}{}`:                fault.Parse,
		`{"a":"x`:                    fault.Parse,
		"{\"a\":\"\xff\"}":           fault.Parse,
		``:                           fault.Parse,
		`{"a":1}`:                    fault.Structure,
		`["a"]`:                      fault.Structure,
		`{"more":{"n":1,"n":2}}`:     fault.Parse,
		`{"more":"\ud800"}`:          fault.Parse,
	} {
		var v struct {
			A string `json:"a"`
		}
		if err := document.DecodeForeign("f", []byte(text), &v); fault.CodeOf(err) != want {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
		if want == "" && v.A != "x" && text != `{"A":"x"}` {
			t.Errorf("%s: %+v", text, v)
		}
		if text == `{"A":"x"}` && v.A != "" {
			t.Errorf("%s: a key of another case was taken for ours", text)
		}
	}
}
