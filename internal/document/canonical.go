package document

import (
	"bytes"
	"errors"
	"slices"
	"strconv"
	"unicode/utf8"
)

// The canonical form is checked in one pass over the bytes, without a copy and
// without building values: every document is read so before anything else
// looks at it, hostile ones too. Tests hold this scanner against two other
// implementations of RFC 8785.

const (
	maxDepth   = 32
	maxInteger = 1<<53 - 1 // the largest n for which n and n+1 are both exact in a double
)

var (
	errNotCanonical = errors.New("not canonical JSON (RFC 8785)")
	errCut          = errors.New("the JSON ends too early")
)

// scanCanonical refuses all bytes but the one form of a value: no white space,
// members sorted and distinct, strings and integers in their only spelling, no
// null, no float, no key that is not ASCII, at most 32 levels, and nothing
// after the value. It returns the schema_version of the object that it is, as
// it is written there, and "" without one.
func scanCanonical(data []byte) (version string, err error) {
	s := scanner{data: data}
	if err := s.value(0); err != nil {
		return "", err
	}
	if s.at != len(data) {
		if isSpace(data[s.at]) {
			return "", errNotCanonical
		}
		return "", errors.New("data after the value")
	}
	return string(s.version), nil
}

type scanner struct {
	data    []byte
	at      int
	version []byte // of the outermost object
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

// peek returns the next byte, 0 at the end; no canonical document holds a 0.
func (s *scanner) peek() byte {
	if s.at < len(s.data) {
		return s.data[s.at]
	}
	return 0
}

// unexpected words the byte at hand, where another was due.
func (s *scanner) unexpected() error {
	switch c := s.peek(); {
	case s.at >= len(s.data):
		return errCut
	case isSpace(c):
		return errNotCanonical
	default:
		return errors.New("unexpected " + strconv.QuoteRune(rune(c)) + " at byte " + strconv.Itoa(s.at))
	}
}

// value reads one value that lies within depth others.
func (s *scanner) value(depth int) error {
	c := s.peek()
	if (c == '{' || c == '[') && depth == maxDepth {
		return errors.New("nested deeper than 32 levels")
	}
	switch {
	case c == '"':
		_, err := s.text()
		return err
	case c == '{':
		return s.object(depth + 1)
	case c == '[':
		return s.array(depth + 1)
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	case c == 'n' && s.literal("null"):
		return errors.New("null is not allowed, leave the field out")
	case c == 't' && s.literal("true"), c == 'f' && s.literal("false"):
		return nil
	}
	return s.unexpected()
}

func (s *scanner) literal(word string) bool {
	if !bytes.HasPrefix(s.data[s.at:], []byte(word)) {
		return false
	}
	s.at += len(word)
	return true
}

func (s *scanner) array(depth int) error {
	s.at++
	if s.peek() == ']' {
		s.at++
		return nil
	}
	for {
		if err := s.value(depth); err != nil {
			return err
		}
		if more, err := s.next(']'); !more {
			return err
		}
	}
}

// next passes the comma before another element, or the end of all.
func (s *scanner) next(end byte) (more bool, err error) {
	switch s.peek() {
	case ',':
		s.at++
		return true, nil
	case end:
		s.at++
		return false, nil
	}
	return false, s.unexpected()
}

func (s *scanner) object(depth int) error {
	s.at++
	if s.peek() == '}' {
		s.at++
		return nil
	}
	var last []byte
	for first := true; ; first = false {
		key, err := s.key()
		if err != nil {
			return err
		}
		switch c := bytes.Compare(last, key); {
		case first || c < 0:
		case c == 0:
			return errors.New("key " + strconv.Quote(string(key)) + " stands there twice")
		default:
			return errNotCanonical
		}
		last = key
		if s.peek() != ':' {
			return s.unexpected()
		}
		s.at++
		from := s.at
		if err := s.value(depth); err != nil {
			return err
		}
		if depth == 1 && string(key) == "schema_version" && s.data[from] == '"' {
			s.version = s.data[from+1 : s.at-1]
		}
		if more, err := s.next('}'); !more {
			return err
		}
	}
}

// key returns the name of a member. RFC 8785 sorts names by UTF-16 code units,
// which for ASCII is the order of the bytes.
func (s *scanner) key() ([]byte, error) {
	if s.peek() != '"' {
		return nil, s.unexpected()
	}
	key, err := s.text()
	if err != nil {
		return nil, err
	}
	for _, c := range key {
		if c >= utf8.RuneSelf {
			return nil, errors.New("key " + strconv.Quote(string(key)) + " is not ASCII")
		}
	}
	return key, nil
}

// text reads a string and returns what it says; the data itself unless
// something in it is escaped. That data is UTF-8 was checked before.
func (s *scanner) text() ([]byte, error) {
	s.at++
	rest := s.data[s.at:]
	for i, c := range rest {
		if !special[c] {
			continue
		}
		s.at += i
		switch c {
		case '"':
			s.at++
			return rest[:i], nil
		case '\\':
			return s.escaped(bytes.Clone(rest[:i]))
		}
		return nil, s.control(c)
	}
	s.at = len(s.data)
	return nil, errCut
}

// special are the bytes that do not stand for themselves in a string.
var special = func() (table [256]bool) {
	for c := range ' ' {
		table[c] = true
	}
	table['"'], table['\\'] = true, true
	return table
}()

func (s *scanner) control(c byte) error {
	return errors.New("control character " + strconv.QuoteRune(rune(c)) + " in a string")
}

// escaped is text from the first escape on.
func (s *scanner) escaped(out []byte) ([]byte, error) {
	for s.at < len(s.data) {
		switch c := s.data[s.at]; {
		case c == '"':
			s.at++
			return out, nil
		case c == '\\':
			escape, meant := onlyEscape(s.data[s.at:])
			if escape == 0 {
				return nil, errNotCanonical
			}
			s.at += escape
			out = append(out, meant)
		case c < ' ':
			return nil, s.control(c)
		default:
			out = append(out, c)
			s.at++
		}
	}
	return nil, errCut
}

// onlyEscape returns the length of the escape that b begins with and what it
// means, or 0 if RFC 8785 writes that character in another way.
func onlyEscape(b []byte) (int, byte) {
	if len(b) < 2 {
		return 0, 0
	}
	switch b[1] {
	case '"', '\\':
		return 2, b[1]
	case 'b':
		return 2, '\b'
	case 't':
		return 2, '\t'
	case 'n':
		return 2, '\n'
	case 'f':
		return 2, '\f'
	case 'r':
		return 2, '\r'
	case 'u':
		const hex = "0123456789abcdef"
		if len(b) < 6 || b[2] != '0' || b[3] != '0' || b[4] != '0' && b[4] != '1' {
			return 0, 0
		}
		low := bytes.IndexByte([]byte(hex), b[5])
		c := (b[4]-'0')<<4 + byte(max(low, 0))
		if low < 0 || c == '\b' || c == '\t' || c == '\n' || c == '\f' || c == '\r' {
			return 0, 0
		}
		return 6, c
	}
	return 0, 0
}

// number reads an integer in its only spelling.
func (s *scanner) number() error {
	start := s.at
	for s.at < len(s.data) && bytes.IndexByte([]byte("+-.0123456789Ee"), s.data[s.at]) >= 0 {
		s.at++
	}
	text := s.data[start:s.at]
	digits := bytes.TrimPrefix(text, []byte("-"))
	plain := len(digits) > 0 && len(digits) <= len("9007199254740991") && (digits[0] != '0' || len(text) == 1)
	n := int64(0)
	for _, c := range digits {
		plain = plain && c >= '0' && c <= '9'
		if !plain {
			break
		}
		n = 10*n + int64(c-'0')
	}
	if !plain || n > maxInteger {
		return errors.New("number " + string(text[:min(len(text), 40)]) + " is not an integer within ±(2^53-1)")
	}
	return nil
}

// sortMembers returns compact JSON with the members of every object in order,
// nil if it is none. Nothing else is changed, so where the outcome equals a
// canonical form the two say the same.
func sortMembers(compact []byte) []byte {
	s := scanner{data: compact}
	out, err := s.appendSorted(make([]byte, 0, len(compact)))
	if err != nil || s.at != len(compact) {
		return nil
	}
	return out
}

type member struct {
	key      []byte
	from, to int // in what was written
}

func (s *scanner) appendSorted(out []byte) ([]byte, error) {
	switch s.peek() {
	case '{':
		return s.appendObject(out)
	case '[':
		return s.appendArray(out)
	}
	from := s.at
	err := s.value(0)
	return append(out, s.data[from:s.at]...), err
}

func (s *scanner) appendArray(out []byte) (_ []byte, err error) {
	for first := true; first || s.peek() == ','; first = false {
		out = append(out, s.data[s.at])
		s.at++
		if first && s.peek() == ']' {
			break
		}
		if out, err = s.appendSorted(out); err != nil {
			return nil, err
		}
	}
	if s.peek() != ']' {
		return nil, s.unexpected()
	}
	s.at++
	return append(out, ']'), nil
}

func (s *scanner) appendObject(out []byte) (_ []byte, err error) {
	var all []member
	start := len(out) + 1
	for first := true; first || s.peek() == ','; first = false {
		out = append(out, s.data[s.at])
		s.at++
		if first && s.peek() == '}' {
			break
		}
		m, from := member{from: len(out)}, s.at
		if m.key, err = s.key(); err != nil {
			return nil, err
		}
		if s.peek() != ':' {
			return nil, s.unexpected()
		}
		s.at++
		if out, err = s.appendSorted(append(out, s.data[from:s.at]...)); err != nil {
			return nil, err
		}
		m.to = len(out)
		all = append(all, m)
	}
	if s.peek() != '}' {
		return nil, s.unexpected()
	}
	s.at++
	byKey := func(a, b member) int { return bytes.Compare(a.key, b.key) }
	if slices.IsSortedFunc(all, byKey) {
		return append(out, '}'), nil
	}
	written := bytes.Clone(out[start:])
	slices.SortFunc(all, byKey)
	out = out[:start]
	for i, m := range all {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, written[m.from-start:m.to-start]...)
	}
	return append(out, '}'), nil
}
