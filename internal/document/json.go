// Package document holds the rules that all documents of rebuild share
// (formats.md 1): one canonical JSON for machines, one strict TOML for people,
// one place that refuses everything else.
//
// Call [Decode] for a machine document, [DecodeTOML] for one written by hand
// and [Encode] to write either's canonical bytes. The order of checks is
// fixed: size and UTF-8, a peek at schema_version, strict parse, structure.
// What the values mean is checked by the package that owns the document, and
// signatures over raw bytes are checked before any function here sees them.
//
// The struct of a document may have its fields in any order. Where thousands are
// read at once they stand in that of the keys, which spares sorting them.
//
// The canonical form is RFC 8785 narrowed: ASCII keys, integers within
// ±(2^53-1), no floats, no null, no duplicate or unknown members, at most 32
// levels. Decoding and encoding again gives the input bytes, or the input is
// refused; so a document has one byte string and one digest.
package document

import (
	"bytes"
	"errors"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"rebuild/internal/fault"
)

// Encode returns the canonical JSON of v. Optional fields must be tagged so
// that an empty one is absent; a null or a float is an error.
func Encode(v any) ([]byte, error) {
	value, err := marshal(v)
	if err == nil {
		for _, form := range [][]byte{value, sortMembers(value)} {
			if _, other := scanCanonical(form); other == nil {
				return form, nil
			}
		}
		err = value.Canonicalize()
	}
	if err == nil {
		_, err = scanCanonical(value)
	}
	if err != nil {
		return nil, fault.New(fault.Internal, "encoding %T: %w", v, err)
	}
	return value, nil
}

func marshal(v any) (jsontext.Value, error) {
	return json.Marshal(v, json.FormatNilSliceAsNull(false), json.FormatNilMapAsNull(false))
}

// Decode reads a document of kind k: size limit, UTF-8, version window, then
// strict parse into v, whose form must be canonical. One of an older version
// in the window is upgraded in memory (see [Upgrade]); the bytes at hand keep
// their digest and their signatures. file is named in errors.
func Decode(file string, data []byte, k Kind, v any) error {
	data, _, err := Upgrade(file, data, k)
	if err != nil {
		return err
	}
	return decode(file, data, v)
}

// admit holds a document to size, UTF-8, version window and canonical form, in
// this order, and returns its schema_version.
func admit(file string, data []byte, k Kind) (string, error) {
	if err := checkBytes(file, data, k.MaxBytes); err != nil {
		return "", err
	}
	version, malformed := scanCanonical(data)
	if malformed != nil || version == "" {
		// A document of a later version is reported as such, whatever its form.
		var err error
		if version, err = peek(data); err != nil {
			return "", fault.New(fault.Parse, "%w", err).At(file, 0)
		}
	}
	if err := k.CheckVersion(file, version); err != nil {
		return "", err
	}
	if malformed != nil {
		return "", badForm(file, malformed)
	}
	return version, nil
}

// SchemaVersion returns what a JSON document says that it is, without judging
// anything else; "" if it says nothing.
func SchemaVersion(data []byte) string {
	version, err := peek(data)
	if err != nil {
		return ""
	}
	return version
}

// DecodeStrict reads canonical JSON that is not a whole document of its own,
// such as an envelope or the payload inside one. The caller has bounded its
// size and checks its version.
func DecodeStrict(file string, data []byte, v any) error {
	if err := checkBytes(file, data, int64(len(data))); err != nil {
		return err
	}
	if _, err := scanCanonical(data); err != nil {
		return badForm(file, err)
	}
	return decode(file, data, v)
}

func badForm(file string, err error) error {
	e := fault.New(fault.Parse, "%w", err).At(file, 0)
	if errors.Is(err, errNotCanonical) {
		return e.WithHint("use the bytes as they were written; a reformatted document has another digest")
	}
	return e
}

// decode reads canonical data into v.
func decode(file string, data []byte, v any) error {
	if err := json.Unmarshal(data, v, json.RejectUnknownMembers(true)); err != nil {
		return structureFault(err).At(file, 0)
	}
	return checkComplete(file, data, v)
}

// structureFault words a decoding error and keeps it, for [WrongType].
func structureFault(err error) *fault.Error {
	e := fault.New(fault.Structure, "%s", describe(err))
	e.Err = err
	return e
}

// WrongType returns the JSON pointer of the value that decoding failed at, such
// as /meta/rebuild_compat, and "" for an error of another kind. Of a key that
// is known only the type can be wrong. It is for a document that refuses a value
// with a code of its own.
func WrongType(err error) string {
	var semantic *json.SemanticError
	if !errors.As(err, &semantic) {
		return ""
	}
	return string(semantic.JSONPointer)
}

// DecodeForeign reads JSON in a format that others define, whose rule is to
// pass over what one does not know. What has two readings is refused here too:
// duplicate members, bytes that are not UTF-8, more than one value. The caller
// has bounded its size and checks what must be there.
func DecodeForeign(file string, data []byte, v any) error {
	if err := json.Unmarshal(data, v); err != nil {
		var syntactic *jsontext.SyntacticError
		if errors.As(err, &syntactic) {
			return fault.New(fault.Parse, "%w", err).At(file, 0)
		}
		return fault.New(fault.Structure, "%s", describe(err)).At(file, 0)
	}
	return nil
}

// checkComplete refuses a document without one of its fields or with an empty
// optional one: written again, it would be other bytes. data is canonical, so
// what equals it is too.
func checkComplete(file string, data []byte, v any) error {
	again, err := marshal(v)
	if err == nil && (bytes.Equal(again, data) || bytes.Equal(sortMembers(again), data)) {
		return nil
	}
	if err == nil {
		err = again.Canonicalize()
	}
	if err != nil {
		return fault.New(fault.Structure, "%w", err).At(file, 0)
	}
	if bytes.Equal(again, data) {
		return nil
	}
	at := 0
	for at < min(len(again), len(data)) && again[at] == data[at] {
		at++
	}
	e := fault.New(fault.Structure, "after %q a required field is missing or an empty one is given",
		data[max(0, at-40):at])
	e.Err = ErrIncomplete
	return e.At(file, 0)
}

// ErrIncomplete is in the chain of the error that [Decode] returns for a
// document which is sound as far as it goes: v holds what is there. It is for a
// document whose missing fields have codes of their own.
var ErrIncomplete = errors.New("incomplete")

func checkBytes(file string, data []byte, limit int64) error {
	if int64(len(data)) > limit {
		return fault.New(fault.Parse, "%d bytes, at most %d are allowed", len(data), limit).At(file, 0)
	}
	if !utf8.Valid(data) {
		return fault.New(fault.Parse, "not UTF-8").At(file, 0)
	}
	return nil
}

// peek returns the top-level schema_version without judging the rest, so that
// a document of a later version is reported as such and not as malformed.
func peek(data []byte) (string, error) {
	d := jsontext.NewDecoder(bytes.NewBuffer(data)) // read in place, where another reader would be copied
	if tok, err := d.ReadToken(); err != nil || tok.Kind() != '{' {
		return "", errors.New("not a JSON object")
	}
	for d.PeekKind() == '"' {
		key, err := d.ReadToken()
		if err != nil {
			return "", err
		}
		if key.String() != "schema_version" {
			if err := d.SkipValue(); err != nil {
				return "", err
			}
			continue
		}
		val, err := d.ReadToken()
		if err != nil || val.Kind() != '"' {
			return "", errors.New("schema_version is not a string")
		}
		return val.String(), nil
	}
	return "", nil
}

// describe words a decoding error with the member's JSON pointer, without Go
// type names.
func describe(err error) string {
	var semantic *json.SemanticError
	if !errors.As(err, &semantic) {
		return err.Error()
	}
	at := string(semantic.JSONPointer)
	if at == "" {
		at = "/"
	}
	if errors.Is(semantic.Err, json.ErrUnknownName) {
		return "unknown key " + at
	}
	if semantic.Err != nil {
		return at + ": " + semantic.Err.Error()
	}
	return at + ": wrong type, found " + semantic.JSONKind.String()
}
