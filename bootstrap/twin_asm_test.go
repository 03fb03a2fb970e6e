package bootstrap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// twinAsm is the twin of asm. Its errors read as asm prints them.
func twinAsm(ins []source) ([]byte, error) {
	const most = 8<<20 - 1 // bytes of text
	t := asmTwin{ins: ins, labels: map[string]int{}, macros: map[string][]byte{}}
	for _, in := range ins {
		t.text = append(append(t.text, in.text...), '\n')
		if len(t.text) > most {
			return nil, errors.New("asm: too big: " + in.name)
		}
	}
	for _, last := range []bool{false, true} {
		if err := t.pass(last); err != nil {
			return nil, err
		}
	}
	return t.out, nil
}

type asmTwin struct {
	ins    []source
	text   []byte // of all of them
	out    []byte
	labels map[string]int // addresses
	macros map[string][]byte
	last   bool // in the last pass, when all labels are known

	open  string // the macro whose body is being read, or ""
	start int    // where its body starts in out
}

// fail reports the word at this offset of the text.
func (t *asmTwin) fail(at int, what string) error {
	first := 0 // offset of the file
	for _, in := range t.ins {
		end := first + len(in.text) + 1
		if at < end {
			line := 1 + bytes.Count(t.text[first:at], []byte("\n"))
			return fmt.Errorf("%s:%d: %s: %s", in.name, line, what, printable(t.text[at:]))
		}
		first = end
	}
	panic("offset behind the text")
}

func (t *asmTwin) pass(last bool) error {
	t.last, t.out = last, nil
	before := 0 // the last word
	for at, next := 0, 0; at < len(t.text); at = next {
		next = at + 1
		switch c := t.text[at]; {
		case c == '\n':
			if err := t.closeMacro(before); err != nil {
				return err
			}
		case c <= ' ':
		case isComment(c), c == '=' && last:
			next = at + bytes.IndexByte(t.text[at:], '\n')
		case len(t.out) > 4<<20-64:
			return t.fail(at, "no room for more")
		case c == '"':
			length := bytes.IndexAny(t.text[next:], "\"\n")
			if room := 4<<20 - len(t.out); length > room {
				return t.fail(at, "no room for more")
			}
			if t.text[next+length] == '\n' {
				return t.fail(at, "string without end")
			}
			t.out = append(t.out, t.text[next:next+length]...)
			before, next = at, next+length+1
		default:
			n, err := t.word(at)
			if err != nil {
				return err
			}
			before, next = at, at+n
		}
	}
	return nil
}

// word takes the word at offset at and returns its length.
func (t *asmTwin) word(at int) (int, error) {
	sign := t.text[at]
	if strings.IndexByte("=:@%$&+", sign) < 0 {
		w := word(t.text[at:])
		if len(w) > 62 {
			return 0, t.fail(at, "bad name")
		}
		return len(w), t.plain(at, w)
	}
	if t.open != "" {
		return 0, t.fail(at, "not in a macro")
	}
	name := word(t.text[at+1:])
	if len(name) < 1 || len(name) > 62 {
		return 0, t.fail(at, "bad name")
	}
	switch sign {
	case '=':
		return 1 + len(name), t.openMacro(at, name)
	case ':':
		return 1 + len(name), t.label(at, name)
	}
	address, ok := t.labels[name]
	if !ok && t.last {
		return 0, t.fail(at, "undefined label")
	}
	out, ok := reference(t.out, sign, address)
	if !ok && t.last {
		return 0, t.fail(at, "label too far away")
	}
	t.out = out
	return 1 + len(name), nil
}

// plain takes a word without a sign: a number, bytes or a macro.
func (t *asmTwin) plain(at int, w string) error {
	if len(w) > 1 && w[1] == ':' {
		number, ok := sizedNumber(w)
		if !ok {
			return t.fail(at, "bad number")
		}
		t.out = append(t.out, number...)
		return nil
	}
	body, err := DecodeHex("", []byte(w))
	if err != nil {
		body = t.macros[w]
	}
	if len(body) == 0 {
		return t.fail(at, "unknown word")
	}
	t.out = append(t.out, body...)
	return nil
}

func (t *asmTwin) label(at int, name string) error {
	if t.last {
		return nil
	}
	if _, ok := t.labels[name]; ok {
		return t.fail(at, "defined twice")
	}
	t.labels[name] = base + len(t.out)
	return t.room(at)
}

func (t *asmTwin) openMacro(at int, name string) error {
	if _, ok := t.macros[name]; ok {
		return t.fail(at, "defined twice")
	}
	if _, err := DecodeHex("", []byte(name)); err == nil || name[0] < 'A' {
		return t.fail(at, "bad name")
	}
	t.macros[name] = nil
	t.open, t.start = name, len(t.out)
	return t.room(at)
}

func (t *asmTwin) closeMacro(at int) error {
	if t.open == "" {
		return nil
	}
	body := bytes.Clone(t.out[t.start:])
	if len(body) < 1 || len(body) > 56 {
		return t.fail(at, "macro empty or too long")
	}
	t.macros[t.open] = body
	t.open, t.out = "", t.out[:t.start]
	return nil
}

// room fails when the table of names is full.
func (t *asmTwin) room(at int) error {
	if len(t.labels)+len(t.macros) == 2<<20/128 {
		return t.fail(at, "no room for more")
	}
	return nil
}

// sizedNumber returns the bytes of a number like 2:-1.
func sizedNumber(w string) ([]byte, bool) {
	size, err := strconv.Atoi(w[:1])
	if err != nil || strings.IndexByte("1248", w[0]) < 0 {
		return nil, false
	}
	digits, negative := strings.CutPrefix(w[2:], "-")
	radix := 10
	if rest, ok := strings.CutPrefix(digits, "0x"); ok {
		digits, radix = rest, 16
	}
	// ParseUint takes no sign, and an underscore only in radix 0.
	value, err := strconv.ParseUint(digits, radix, 64)
	if err != nil || value > 1<<(8*size)-1 {
		return nil, false
	}
	if negative {
		if value == 0 || value > 1<<(8*size-1) {
			return nil, false
		}
		value = -value
	}
	return binary.LittleEndian.AppendUint64(nil, value)[:size], true
}
