package bootstrap

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
)

// The twins are second implementations of the programs of the seed chain,
// written from the description at the head of their sources. They are oracles:
// for every text a program must give the bytes, or the one line of error, that
// its twin gives. hex0 has DecodeHex for a twin.

// source is one input file of a program.
type source struct {
	name string
	text []byte
}

const base = 0x400000 // address of the first byte of every output

// twinLabels is the twin of labels. Its errors read as labels prints them.
func twinLabels(ins []source) ([]byte, error) {
	const most = 4<<20 - 1 // bytes of text
	t := labelsTwin{known: map[string]int{}}
	for _, in := range ins {
		t.text = append(append(t.text, in.text...), '\n')
		if len(t.text) > most {
			return nil, errors.New("labels: too big: " + in.name)
		}
	}
	for _, last := range []bool{false, true} {
		if err := t.pass(last); err != nil {
			return nil, err
		}
	}
	return t.out, nil
}

type labelsTwin struct {
	text  []byte
	out   []byte
	known map[string]int // addresses
	last  bool           // in the last pass, when all labels are known
}

func (t *labelsTwin) fail(at int, what string) error {
	return errors.New("labels: " + what + ": " + printable(t.text[at:]))
}

func (t *labelsTwin) pass(last bool) error {
	t.last, t.out = last, nil
	var pending []byte // the first digit of a pair
	for at, next := 0, 0; at < len(t.text); at = next {
		next = at + 1
		if len(t.out) > 4<<20-8 {
			return t.fail(at, "too big")
		}
		switch c := t.text[at]; {
		case c <= ' ':
		case isComment(c):
			next = at + bytes.IndexByte(t.text[at:], '\n') + 1
		case strings.IndexByte(":@%$&+", c) >= 0:
			if pending != nil {
				return t.fail(at, "half a byte")
			}
			name := word(t.text[at+1:])
			next += len(name)
			if len(name) < 1 || len(name) > 56 {
				return t.fail(at, "bad name")
			}
			if err := t.word(at, c, name); err != nil {
				return err
			}
		default:
			if _, ok := hexDigit(c); !ok {
				return t.fail(at, "unknown")
			}
			if pending = append(pending, c); len(pending) == 2 {
				pair, _ := DecodeHex("", pending)
				t.out, pending = append(t.out, pair...), nil
			}
		}
	}
	if pending != nil {
		return t.fail(len(t.text), "half a byte")
	}
	return nil
}

// word takes a label or reference that stands at offset at of the text.
func (t *labelsTwin) word(at int, sign byte, name string) error {
	if sign == ':' {
		if t.last {
			return nil
		}
		if _, ok := t.known[name]; ok {
			return t.fail(at, "double")
		}
		if t.known[name] = base + len(t.out); len(t.known) == 1<<20/64 {
			return t.fail(at, "too big")
		}
		return nil
	}
	address, ok := t.known[name]
	if !ok && t.last {
		return t.fail(at, "undefined")
	}
	out, ok := reference(t.out, sign, address)
	if !ok && t.last {
		return t.fail(at, "too far")
	}
	t.out = out
	return nil
}

// reference appends the reference with this sign to an address. It says false
// if the distance does not fit.
func reference(out []byte, sign byte, address int) ([]byte, bool) {
	here := base + len(out)
	switch sign {
	case '@':
		d := address - (here + 1)
		return append(out, byte(d)), d == int(int8(d))
	case '%':
		return binary.LittleEndian.AppendUint32(out, uint32(address-(here+4))), true
	case '$':
		return binary.LittleEndian.AppendUint32(out, uint32(address)), true
	case '&':
		return binary.LittleEndian.AppendUint64(out, uint64(address)), true
	case '+':
		return binary.LittleEndian.AppendUint64(out, uint64(address-base)), true
	}
	panic("no such reference")
}

func isComment(c byte) bool { return c == '#' || c == ';' }

// word returns the bytes of text up to white space or a comment.
func word(text []byte) string {
	end := bytes.IndexFunc(text, func(r rune) bool { return r <= ' ' || r == '#' || r == ';' })
	return string(text[:end])
}

// printable returns what the programs show of a text: up to a control byte.
func printable(text []byte) string {
	for i, c := range text {
		if c < ' ' {
			return string(text[:i])
		}
	}
	return string(text)
}
