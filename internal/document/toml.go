package document

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"rebuild/internal/fault"
)

// Source is a TOML document that was decoded: its image, and the line of each
// of its values, so that a check of meaning can still name file and line.
type Source struct {
	File  string
	image []byte
	lines map[string]int // JSON pointer to line

	newlines []uint32 // their offsets, while the lines are found
	visits   int
}

// Image returns the same keys and values as canonical JSON, no defaults filled
// in. Hashing, signing or shipping a hand-written document means its image.
func (s *Source) Image() []byte { return s.image }

// Line returns the line of the value at a path of keys and indices, or of its
// nearest enclosing value that has one.
func (s *Source) Line(path ...any) int {
	for n := len(path); n > 0; n-- {
		if line, ok := s.lines[pointer(path[:n])]; ok {
			return line
		}
	}
	return 0
}

// Fault returns an error placed at the value at path.
func (s *Source) Fault(code fault.Code, path []any, format string, args ...any) *fault.Error {
	return fault.New(code, format, args...).At(s.File, s.Line(path...))
}

// DecodeTOML reads a hand-written document of kind k into v, whose fields
// carry json tags: size limit, UTF-8, TOML 1.0 without floats and dates,
// version window, then the same strict decoding as [DecodeStrict], so no
// unknown and no case-folded key. Errors name file and line.
func DecodeTOML(file string, data []byte, k Kind, v any) (*Source, error) {
	if err := checkBytes(file, data, k.MaxBytes); err != nil {
		return nil, err
	}
	s := &Source{File: file, lines: map[string]int{}}
	tree, malformed := s.read(data)
	if malformed != nil {
		// A document of a later version is reported as such, whatever its form.
		if version, line := peekTOML(data); strings.HasPrefix(version, k.Name+"@") {
			if err := k.CheckVersion(file, version); err != nil {
				return nil, placed(err, file, line)
			}
		}
		return nil, malformed
	}
	version, _ := tree["schema_version"].(string)
	if err := k.CheckVersion(file, version); err != nil {
		return nil, placed(err, file, s.Line("schema_version"))
	}
	image, err := Encode(tree)
	if err != nil {
		return nil, fault.New(fault.Parse, "%w", errors.Unwrap(err)).At(file, 0)
	}
	s.image = image
	if err := json.Unmarshal(image, v, json.RejectUnknownMembers(true)); err != nil {
		e := structureFault(err).At(file, 0)
		var semantic *json.SemanticError
		if errors.As(err, &semantic) {
			e.Line = s.nearest(string(semantic.JSONPointer))
			if errors.Is(semantic.Err, json.ErrUnknownName) {
				e.Hint = "remove the key or correct its spelling; unknown keys are never ignored"
			}
		}
		return nil, e
	}
	return s, nil
}

// placed puts a refusal of a version at its line.
func placed(err error, file string, line int) error {
	var e *fault.Error
	errors.As(err, &e)
	return e.At(file, line)
}

// read returns what the text says, once its lines are found and it holds
// nothing that no document of ours has.
func (s *Source) read(data []byte) (tree map[string]any, err error) {
	if err := s.locate(data); err != nil {
		return nil, err
	}
	if err := toml.Unmarshal(data, &tree); err != nil {
		return nil, tomlFault(s.File, err)
	}
	return tree, nil
}

// maxPeek is how far into a malformed text its version is looked for.
const maxPeek = 4 << 10

// peekTOML returns the schema_version of a text, and its line, from the keys
// before its first table and before anything that can't be parsed; "" if it is
// not there.
func peekTOML(data []byte) (version string, line int) {
	data = data[:min(len(data), maxPeek)]
	p := &unstable.Parser{}
	p.Reset(data)
	for p.NextExpression() {
		e := p.Expression()
		if e.Kind != unstable.KeyValue {
			return "", 0
		}
		key := e.Key()
		if !key.Next() || string(key.Node().Data) != "schema_version" || !key.IsLast() || e.Value().Kind != unstable.String {
			continue
		}
		at := key.Node().Raw.Offset
		return string(e.Value().Data), 1 + bytes.Count(data[:at], []byte("\n"))
	}
	return "", 0
}

func (s *Source) nearest(pointer string) int {
	for {
		if line, ok := s.lines[pointer]; ok {
			return line
		}
		i := strings.LastIndexByte(pointer, '/')
		if i < 0 {
			return 0
		}
		pointer = pointer[:i]
	}
}

// locate walks the syntax tree once, for the line of every value and for the
// kinds of value that no document of ours has.
func (s *Source) locate(data []byte) error {
	for i, c := range data {
		if c == '\n' {
			s.newlines = append(s.newlines, uint32(i))
		}
	}
	defer func() { s.newlines = nil }()
	p := &unstable.Parser{}
	p.Reset(data)
	var table []any
	arrays := map[string]int{} // array tables seen, by pointer
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table = table[:0]
			var line int
			for it := e.Key(); it.Next(); {
				table = append(table, string(it.Node().Data))
				line = s.lineAt(it.Node().Raw)
				if err := s.visit(table, line); err != nil {
					return err
				}
				if n, ok := arrays[pointer(table)]; ok && !(it.IsLast() && e.Kind == unstable.ArrayTable) {
					table = append(table, n-1)
				}
			}
			if e.Kind == unstable.ArrayTable {
				at := pointer(table)
				table = append(table, arrays[at])
				arrays[at]++
				if _, ok := s.lines[at]; !ok {
					s.lines[at] = line
				}
			}
			s.lines[pointer(table)] = line
		case unstable.KeyValue:
			if err := s.locateKeyValue(e, table); err != nil {
				return err
			}
		}
	}
	if err := p.Error(); err != nil {
		// The full decoder words syntax errors with their position.
		var tree map[string]any
		if full := toml.Unmarshal(data, &tree); full != nil {
			err = full
		}
		return tomlFault(s.File, err)
	}
	return nil
}

func (s *Source) locateKeyValue(e *unstable.Node, at []any) error {
	path := append([]any(nil), at...)
	line := 0
	for it := e.Key(); it.Next(); {
		path = append(path, string(it.Node().Data))
		line = s.lineAt(it.Node().Raw)
		if err := s.visit(path, line); err != nil {
			return err
		}
		if at := pointer(path); s.lines[at] == 0 {
			s.lines[at] = line
		}
	}
	return s.locateValue(e.Value(), path, line)
}

func (s *Source) locateValue(v *unstable.Node, path []any, line int) error {
	if v.Raw.Length > 0 {
		line = s.lineAt(v.Raw)
	}
	if err := s.visit(path, line); err != nil {
		return err
	}
	if at := pointer(path); s.lines[at] == 0 {
		s.lines[at] = line
	}
	switch v.Kind {
	case unstable.Float:
		return fault.New(fault.Parse, "floats are not allowed").At(s.File, line).WithHint("write an integer or a string")
	case unstable.LocalDate, unstable.LocalTime, unstable.LocalDateTime, unstable.DateTime:
		return fault.New(fault.Parse, "dates are not allowed").At(s.File, line).WithHint("write the time as a string")
	case unstable.Array:
		n := 0
		for it := v.Children(); it.Next(); {
			if it.Node().Kind == unstable.Comment {
				continue
			}
			if err := s.locateValue(it.Node(), append(path[:len(path):len(path)], n), line); err != nil {
				return err
			}
			n++
		}
	case unstable.InlineTable:
		for it := v.Children(); it.Next(); {
			if it.Node().Kind == unstable.Comment {
				continue
			}
			if err := s.locateKeyValue(it.Node(), path); err != nil {
				return err
			}
		}
	}
	return nil
}

// lineAt returns the line of a node. The parser can tell too, but reads the
// document from its beginning each time.
func (s *Source) lineAt(r unstable.Range) int {
	before, _ := slices.BinarySearch(s.newlines, r.Offset)
	return before + 1
}

// maxVisits bounds the keys and values of a hand-written document, each of
// which counts: the decoder looks for twins among all of them each time.
const maxVisits = 20_000

// visit refuses a key or value that lies deeper than its image could hold it,
// as soon as it is met, for one dotted key can name a hundred thousand levels;
// and the first that is too many.
func (s *Source) visit(path []any, line int) error {
	if s.visits++; s.visits > maxVisits {
		return fault.New(fault.Parse, "more than %d keys and values", maxVisits).At(s.File, line)
	}
	if len(path) > maxDepth {
		return fault.New(fault.Parse, "nested deeper than %d levels", maxDepth).At(s.File, line)
	}
	return nil
}

func tomlFault(file string, err error) *fault.Error {
	e := fault.New(fault.Parse, "%s", strings.TrimPrefix(err.Error(), "toml: ")).At(file, 0)
	var de *toml.DecodeError
	if errors.As(err, &de) {
		e.Line, _ = de.Position()
	}
	return e
}

var pointerEscape = strings.NewReplacer("~", "~0", "/", "~1")

// pointer writes a path as an RFC 6901 JSON pointer.
func pointer(path []any) string {
	var b strings.Builder
	for _, p := range path {
		b.WriteByte('/')
		switch p := p.(type) {
		case string:
			b.WriteString(pointerEscape.Replace(p))
		case int:
			b.WriteString(strconv.Itoa(p))
		}
	}
	return b.String()
}

// EncodeTOML writes a document as text that [DecodeTOML] reads: tables, arrays
// as []any, texts, integers as int64 and booleans.
func EncodeTOML(tree map[string]any) ([]byte, error) {
	text, err := toml.Marshal(tree)
	if err != nil {
		return nil, fault.New(fault.Internal, "encoding TOML: %w", err)
	}
	return text, nil
}

// CheckTOML says whether a hand-written document can be read as k, without
// judging its structure: size, UTF-8, TOML 1.0, version window.
func CheckTOML(file string, data []byte, k Kind) error {
	var any map[string]any
	_, err := DecodeTOML(file, data, k, &any)
	return err
}

// PeekTOML reads those keys of a text into v that v has, whatever else it
// says. It is for finding further documents and judges nothing.
func PeekTOML(data []byte, v any) error {
	var tree map[string]any
	if err := toml.Unmarshal(data, &tree); err != nil {
		return err
	}
	image, err := Encode(tree)
	if err != nil {
		return err
	}
	return json.Unmarshal(image, v)
}
