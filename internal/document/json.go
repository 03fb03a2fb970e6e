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
// The canonical form is RFC 8785 narrowed: ASCII keys, integers within
// ±(2^53-1), no floats, no null, no duplicate or unknown members, at most 32
// levels. Decoding and encoding again gives the input bytes, or the input is
// refused; so a document has one byte string and one digest.
package document

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"rebuild/internal/fault"
)

const (
	maxDepth   = 32
	maxInteger = 1<<53 - 1 // the largest n for which n and n+1 are both exact in a double
)

// Encode returns the canonical JSON of v. Optional fields must be tagged so
// that an empty one is absent; a null or a float is an error.
func Encode(v any) ([]byte, error) {
	raw, err := json.Marshal(v, json.FormatNilSliceAsNull(false), json.FormatNilMapAsNull(false))
	if err != nil {
		return nil, fault.New(fault.Internal, "encoding %T: %w", v, err)
	}
	value := jsontext.Value(raw)
	if err := value.Canonicalize(); err != nil {
		return nil, fault.New(fault.Internal, "encoding %T: %w", v, err)
	}
	if err := scan(value); err != nil {
		return nil, fault.New(fault.Internal, "encoding %T: %w", v, err)
	}
	return value, nil
}

// Decode reads a document of kind k: size limit, UTF-8, version window, then
// strict parse into v, whose form must be canonical. file is named in errors.
func Decode(file string, data []byte, k Kind, v any) error {
	if err := checkBytes(file, data, k.MaxBytes); err != nil {
		return err
	}
	version, err := peek(data)
	if err != nil {
		return fault.New(fault.Parse, "%w", err).At(file, 0)
	}
	if err := k.CheckVersion(file, version); err != nil {
		return err
	}
	return DecodeStrict(file, data, v)
}

// DecodeStrict reads canonical JSON that is not a whole document of its own,
// such as an envelope or the payload inside one. The caller has bounded its
// size and checks its version.
func DecodeStrict(file string, data []byte, v any) error {
	if err := checkBytes(file, data, int64(len(data))); err != nil {
		return err
	}
	if err := scan(data); err != nil {
		return fault.New(fault.Parse, "%w", err).At(file, 0)
	}
	canonical := jsontext.Value(bytes.Clone(data))
	if err := canonical.Canonicalize(); err != nil {
		return fault.New(fault.Parse, "%w", err).At(file, 0)
	}
	if !bytes.Equal(canonical, data) {
		return fault.New(fault.Parse, "not canonical JSON (RFC 8785)").At(file, 0).
			WithHint("use the bytes as they were written; a reformatted document has another digest")
	}
	if err := json.Unmarshal(data, v, json.RejectUnknownMembers(true)); err != nil {
		return fault.New(fault.Structure, "%s", describe(err)).At(file, 0)
	}
	return checkComplete(file, data, v)
}

// checkComplete refuses a document without one of its fields or with an empty
// optional one: written again, it would be other bytes.
func checkComplete(file string, data []byte, v any) error {
	again, err := Encode(v)
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
	return fault.New(fault.Structure, "after %q a required field is missing or an empty one is given",
		data[max(0, at-40):at]).At(file, 0)
}

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
	d := jsontext.NewDecoder(bytes.NewReader(data))
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

// scan refuses what the canonical form does not have: null, numbers other than
// small integers, non-ASCII keys, deep nesting, a second value.
func scan(data []byte) error {
	d := jsontext.NewDecoder(bytes.NewReader(data))
	for {
		tok, err := d.ReadToken()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if d.StackDepth() > maxDepth {
			return errors.New("nested deeper than 32 levels")
		}
		switch tok.Kind() {
		case 'n':
			return errors.New("null is not allowed, leave the field out")
		case '0':
			n, err := strconv.ParseInt(tok.String(), 10, 64)
			if err != nil || n > maxInteger || n < -maxInteger || tok.String() == "-0" {
				return errors.New("number " + tok.String() + " is not an integer within ±(2^53-1)")
			}
		case '"':
			if kind, n := d.StackIndex(d.StackDepth()); kind == '{' && n%2 == 1 && !ascii(tok.String()) {
				return errors.New("key " + strconv.Quote(tok.String()) + " is not ASCII")
			}
		}
		if d.StackDepth() == 0 && d.InputOffset() != int64(len(data)) {
			return errors.New("data after the value")
		}
	}
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
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
