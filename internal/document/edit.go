package document

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"rebuild/internal/fault"
)

// Edit is one change of a hand-written document: Value is put at Path, or with
// After behind the element of an array that Path names.
type Edit struct {
	Path  []any // keys and indices
	Value any   // string, int64 or Fields
	After bool
}

// Fields is a table in the order in which it is to be written.
type Fields []Field

// Field is a key of a table, and its value.
type Field struct {
	Name  string
	Value any
}

// String says in words what somebody would write by hand.
func (e Edit) String() string {
	if e.After {
		return fmt.Sprintf("behind %s: %s", dotted(e.Path), literal(e.Value))
	}
	return fmt.Sprintf("%s = %s", dotted(e.Path), literal(e.Value))
}

// EditTOML changes a hand-written document in few places and leaves the rest of
// its text, comments and layout, as it was written. The result is read again:
// unless it says exactly what the old document says with the edits made, there
// is no result, and the error (USAGE) says what to write by hand.
func EditTOML(file string, data []byte, edits ...Edit) ([]byte, error) {
	var want any
	tree := map[string]any{}
	if err := toml.Unmarshal(data, &tree); err != nil {
		return nil, tomlFault(file, err)
	}
	want = tree
	text := data
	for _, e := range edits {
		var ok bool
		if want, ok = e.onTree(want, e.Path); !ok {
			return nil, byHand(file, edits, dotted(e.Path)+" is not there")
		}
		if text, ok = e.onText(text); !ok {
			return nil, byHand(file, edits, "the layout around "+dotted(e.Path)+" is not understood")
		}
	}
	if !sameTOML(text, want) {
		return nil, byHand(file, edits, "the text after the change does not say what it should")
	}
	return text, nil
}

func byHand(file string, edits []Edit, why string) error {
	all := make([]string, len(edits))
	for i, e := range edits {
		all[i] = e.String()
	}
	return fault.New(fault.Usage, "the document can not be changed by machine: %s", why).At(file, 0).
		WithHint("write by hand: %s", strings.Join(all, "; ")).With("edits", all)
}

func sameTOML(text []byte, want any) bool {
	var got map[string]any
	if err := toml.Unmarshal(text, &got); err != nil {
		return false
	}
	a, err := Encode(got)
	if err != nil {
		return false
	}
	b, err := Encode(want)
	return err == nil && bytes.Equal(a, b)
}

// onTree makes the change in the decoded document: what the text has to say.
func (e Edit) onTree(node any, path []any) (any, bool) {
	if len(path) == 0 {
		return plain(e.Value), true
	}
	switch at := path[0].(type) {
	case string:
		table, ok := node.(map[string]any)
		child, there := table[at]
		if !ok || !there && len(path) > 1 {
			return nil, false
		}
		changed, ok := e.onTree(child, path[1:])
		table = maps.Clone(table)
		table[at] = changed
		return table, ok
	case int:
		array, ok := node.([]any)
		if !ok || at < 0 || at >= len(array) {
			return nil, false
		}
		array = slices.Clone(array)
		if len(path) == 1 && e.After {
			return slices.Insert(array, at+1, plain(e.Value)), true
		}
		array[at], ok = e.onTree(array[at], path[1:])
		return array, ok
	}
	return nil, false
}

// plain is a value as the decoder would give it.
func plain(v any) any {
	fields, ok := v.(Fields)
	if !ok {
		return v
	}
	out := map[string]any{}
	for _, f := range fields {
		out[f.Name] = plain(f.Value)
	}
	return out
}

// literal is a value as TOML. What strconv and TOML quote differently is found
// when the text is read again.
func literal(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case Fields:
		all := make([]string, len(v))
		for i, f := range v {
			all[i] = f.Name + " = " + literal(f.Value)
		}
		return "{ " + strings.Join(all, ", ") + " }"
	}
	return ""
}

func dotted(path []any) string {
	return strings.ReplaceAll(strings.TrimPrefix(pointer(path), "/"), "/", ".")
}

// span is where a value stands in the text.
type span struct {
	start, end int
	last       int    // end of a table's last value, where the next one can follow
	block      bool   // a table under a header of its own
	header     string // of a block in an array, with its brackets
}

// onText makes the change in the text.
func (e Edit) onText(text []byte) ([]byte, bool) {
	l := layout{text: text, at: map[string]*span{}, arrays: map[string]int{}}
	l.read()
	if e.After {
		element, ok := l.at[pointer(e.Path)]
		if !ok {
			return nil, false
		}
		return l.insertAfter(element, e.Value)
	}
	if old, ok := l.at[pointer(e.Path)]; ok {
		return l.splice(old.start, old.end, literal(e.Value)), !old.block
	}
	name, ok := e.Path[len(e.Path)-1].(string)
	table, there := l.at[pointer(e.Path[:len(e.Path)-1])]
	if !ok || !there || table.last == 0 {
		return nil, false
	}
	field := name + " = " + literal(e.Value)
	if table.block {
		return l.insertLine(table.last, l.indent(table.last), field), true
	}
	return l.splice(table.last, table.last, ", "+field), true
}

// layout finds the places of values in a document that was decoded before, so
// errors of syntax do not happen.
type layout struct {
	text   []byte
	at     map[string]*span
	arrays map[string]int // tables seen of each array of tables
}

func (l *layout) read() {
	p := &unstable.Parser{}
	p.Reset(l.text)
	var path []any
	block := &span{block: true}
	for p.NextExpression() {
		switch e := p.Expression(); e.Kind {
		case unstable.Table, unstable.ArrayTable:
			path, block = l.open(e)
		case unstable.KeyValue:
			l.keyValue(e, path)
			if end := int(e.Raw.Offset + e.Raw.Length); block != nil {
				block.end, block.last = end, end
			}
		}
	}
}

// open reads a header: which table it opens, and where.
func (l *layout) open(e *unstable.Node) ([]any, *span) {
	var path []any
	start := -1
	for it := e.Key(); it.Next(); {
		if start < 0 {
			start = int(it.Node().Raw.Offset)
		}
		path = append(path, string(it.Node().Data))
		if n, ok := l.arrays[pointer(path)]; ok && !(it.IsLast() && e.Kind == unstable.ArrayTable) {
			path = append(path, n-1)
		}
	}
	from, to := l.line(start)
	b := &span{start: from, end: to, block: true}
	if e.Kind == unstable.ArrayTable {
		head, _, _ := strings.Cut(string(l.text[from:to]), "]]")
		b.header = head + "]]"
		at := pointer(path)
		path = append(path, l.arrays[at])
		l.arrays[at]++
	}
	l.at[pointer(path)] = b
	return path, b
}

func (l *layout) keyValue(e *unstable.Node, at []any) {
	path := slices.Clone(at)
	for it := e.Key(); it.Next(); {
		path = append(path, string(it.Node().Data))
	}
	l.value(e.Value(), path)
}

func (l *layout) value(v *unstable.Node, path []any) {
	s := &span{start: int(v.Raw.Offset), end: int(v.Raw.Offset + v.Raw.Length)}
	switch v.Kind {
	case unstable.Array:
		n := 0
		for it := v.Children(); it.Next(); n++ {
			l.value(it.Node(), append(slices.Clone(path), n))
		}
		return // never replaced as a whole
	case unstable.InlineTable:
		for it := v.Children(); it.Next(); {
			l.keyValue(it.Node(), path)
			s.last = int(it.Node().Raw.Offset + it.Node().Raw.Length)
		}
		brace := bytes.IndexByte(l.text[max(s.last, s.start):], '}')
		if s.last == 0 || brace < 0 {
			return
		}
		s.end = s.last + brace + 1
	}
	l.at[pointer(path)] = s
}

// insertAfter puts an element behind another in the way in which that one is
// written: a line of its own, or the same line, or a block.
func (l *layout) insertAfter(element *span, v any) ([]byte, bool) {
	if element.block {
		fields, ok := v.(Fields)
		if !ok || element.header == "" || element.last == 0 {
			return nil, false
		}
		indent := l.indent(element.last)
		text := element.header
		for _, f := range fields {
			text += l.newline() + indent + f.Name + " = " + literal(f.Value)
		}
		_, at := l.line(element.last)
		return l.splice(at, at, l.newline()+text), true
	}
	at := element.end
	for at < len(l.text) && (l.text[at] == ' ' || l.text[at] == '\t') {
		at++
	}
	comma := at < len(l.text) && l.text[at] == ','
	if comma {
		at++
	}
	from, to := l.line(element.start)
	rest := strings.TrimSpace(string(l.text[at:max(at, to)]))
	if strings.TrimSpace(string(l.text[from:element.start])) != "" || rest != "" && rest[0] != '#' {
		return l.splice(element.end, element.end, ", "+literal(v)), true
	}
	indent := l.indent(element.start)
	if comma { // the comment on the line stays with the old element
		return l.insertLine(element.end, indent, literal(v)+","), true
	}
	l.text = l.insertLine(element.end, indent, literal(v))
	return l.splice(element.end, element.end, ","), true
}

// insertLine puts a line behind the one that at is in.
func (l *layout) insertLine(at int, indent, line string) []byte {
	_, end := l.line(at)
	return l.splice(end, end, l.newline()+indent+line)
}

func (l *layout) splice(from, to int, with string) []byte {
	return slices.Concat(l.text[:from], []byte(with), l.text[to:])
}

// line returns where the line that at is in begins and ends.
func (l *layout) line(at int) (from, to int) {
	from = bytes.LastIndexByte(l.text[:at], '\n') + 1
	to = len(l.text)
	if n := bytes.IndexByte(l.text[at:], '\n'); n >= 0 {
		to = at + n
	}
	return from, from + len(bytes.TrimRight(l.text[from:to], "\r"))
}

func (l *layout) indent(at int) string {
	from, to := l.line(at)
	line := l.text[from:to]
	return string(line[:len(line)-len(bytes.TrimLeft(line, " \t"))])
}

func (l *layout) newline() string {
	if bytes.Contains(l.text, []byte("\r\n")) {
		return "\r\n"
	}
	return "\n"
}
