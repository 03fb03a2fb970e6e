// Package bootstrap decodes the seed, the one program of a pipeline that
// nothing in it has built, and says of every other program how it leads back
// there.
//
// # The seed
//
// A seed is kept as text in the language of hex0, and [DecodeHex] turns it
// into the bytes that the first stage starts from. The seed of the shipped
// pipeline is itself the program that does this, so the first stage repeats
// the decoding and compares. The language, for a second implementation:
//
//   - The text is a sequence of bytes; no encoding is assumed.
//   - The bytes 0x00 to 0x20 are white space. White space may stand anywhere,
//     also between the two digits of a byte, and means nothing.
//   - "#" and ";" start a comment, which extends up to and including the next
//     LF (0x0a), or to the end of the text. A comment means nothing either.
//   - Outside comments the digits 0-9, a-f and A-F are read in pairs, the
//     high half first. Each pair is one byte of the result.
//   - Any other byte, or a text with an odd number of digits, is an error.
//
// So the empty text gives the empty file, and "4 # high half" LF "1" gives
// the one byte 0x41. Lines are counted from 1 and end with LF.
//
// Trust: this decoder is part of the trusted base, because it makes the bytes
// that all else descends from. It is kept short enough to read for that
// reason. A wrong byte made here would not survive the first stage unless the
// seed's own program made the same mistake.
//
// # Lineage
//
// [Compute] reads the trees of a [Graph], judges each file by its content
// ([File]) and follows every piece of machine code to a seed, or to where
// it came in from outside. [Lineage.Report] gives the figures, [Lineage.Trace]
// the way of one file. Nothing of it is declared by a recipe.
//
// It shows which programs a step could have run, not what they did: a program
// may make code from text or data. That is why data from outside is counted,
// byte by byte, and why text is to be read. The judge is part of the trusted
// base like the decoder; a format of machine code that it does not know is
// data to it.
package bootstrap

import "rebuild/internal/fault"

// DecodeHex returns the bytes that text, written in the language of hex0,
// stands for. The file name is used in errors only, which are PARSE with
// file and line: that of the offending byte, or, for an odd number of digits,
// that of the digit without a partner. The result is never longer than half
// the text.
func DecodeHex(file string, text []byte) ([]byte, error) {
	out := make([]byte, 0, len(text)/2)
	var high byte // the first digit of a pair
	odd := 0      // its line, 0 if none is pending
	line := 1
	comment := false
	for _, c := range text {
		switch digit, ok := hexDigit(c); {
		case c == '\n':
			line++
			comment = false
		case comment || c <= ' ':
		case c == '#' || c == ';':
			comment = true
		case !ok:
			return nil, fault.New(fault.Parse, "%q is not a hex digit", c).At(file, line).
				WithHint("start comments with # or ;")
		case odd == 0:
			high, odd = digit, line
		default:
			out, odd = append(out, high<<4|digit), 0
		}
	}
	if odd != 0 {
		return nil, fault.New(fault.Parse, "odd number of hex digits").At(file, odd).
			WithHint("write every byte as two digits")
	}
	return out, nil
}

// hexDigit returns the value of a digit and whether c is one.
func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
