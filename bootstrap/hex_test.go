package bootstrap

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"

	"rebuild/internal/fault"
)

func TestDecodeHex(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "",
		" \t\r\n\x00\x1f":           "",
		"41":                        "A",
		"4 1":                       "A",
		"4\n1":                      "A",
		"4 # high half\n1":          "A",
		"4;#;\n1":                   "A",
		"# only a comment":          "",
		"; 4x\n6b#":                 "k",
		"00ff0aFf aB":               "\x00\xff\x0a\xff\xab",
		"# \xff\x00 any byte\n42":   "B",
		"41 # a comment needs LF\r": "A",
	} {
		got, err := DecodeHex("seed", []byte(text))
		if err != nil || string(got) != want {
			t.Errorf("%q: got %q, %v; want %q", text, got, err, want)
		}
	}
}

func TestDecodeHexRefuses(t *testing.T) {
	for _, test := range []struct {
		text string
		line int
	}{
		{"4", 1},
		{"41\n4\n# end\n", 2}, // where the digit is, not where the text ends
		{"41\n\n4g", 3},
		{"\n0x41", 2},
		{"41 # fine\r41, 42\r\n:", 2},
		{"\x7f", 1}, {"\x80", 1}, {"\xff", 1}, {"!", 1}, {"/", 1}, {":", 1}, {"@", 1}, {"G", 1}, {"`", 1}, {"g", 1},
	} {
		_, err := DecodeHex("seed.hex0", []byte(test.text))
		var f *fault.Error
		if !errors.As(err, &f) || f.Code != fault.Parse || f.File != "seed.hex0" || f.Line != test.line {
			t.Errorf("%q: %v; want PARSE at line %d", test.text, err, test.line)
		}
	}
}

// FuzzDecodeHex holds that decoding undoes encoding wherever blanks and
// comments stand, and that any text at all gives bytes or an error.
func FuzzDecodeHex(f *testing.F) {
	f.Add([]byte("4 1 # A\n"), uint8(0))
	f.Add([]byte{0, 0xff, '#', '\n'}, uint8(7))
	f.Fuzz(func(t *testing.T, data []byte, style uint8) {
		if out, err := DecodeHex("fuzz", data); err == nil && len(out) > len(data)/2 {
			t.Errorf("%d bytes of text gave %d", len(data), len(out))
		}
		got, err := DecodeHex("fuzz", encode(data, style))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("style %d: got %x, %v; want %x", style, got, err, data)
		}
	})
}

// encode writes data as hex text. Each bit of style adds one freedom of the
// language.
func encode(data []byte, style uint8) []byte {
	var text bytes.Buffer
	for i, c := range data {
		pair := hex.EncodeToString([]byte{c})
		if style&1 != 0 {
			pair = fmt.Sprintf("%02X", c)
		}
		text.WriteByte(pair[0])
		if style&2 != 0 {
			text.WriteString("\t\x00 ")
		}
		if style&4 != 0 && i%3 == 0 {
			text.WriteString("# 4; 41 ~\xff\n")
		}
		text.WriteByte(pair[1])
		if style&8 != 0 {
			text.WriteString(" ;\n")
		}
	}
	if style&16 != 0 {
		text.WriteString("# no LF")
	}
	return text.Bytes()
}
