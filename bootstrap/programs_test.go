package bootstrap

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// check runs labels or asm on the texts and compares with the twin: the same
// bytes, or the same line of error, status 1 and no output.
func check(t rapid.TB, dir, name string, ins []source) {
	t.Helper()
	args := []string{"out"}
	for _, in := range ins {
		write(t, dir, in.name, in.text)
		args = append(args, in.name)
	}
	out := filepath.Join(dir, "out")
	if err := os.RemoveAll(out); err != nil {
		t.Fatal(err)
	}
	twin := map[string]func([]source) ([]byte, error){"labels": twinLabels, "asm": twinAsm}[name]
	want, twinErr := twin(ins)
	status, stdout, stderr := program(t, dir, nil, name, args...)
	if twinErr != nil {
		if status != 1 || stdout != "" || stderr != twinErr.Error()+"\n" {
			t.Errorf("%s %q: status %d, %q; the twin: %v", name, ins, status, stderr, twinErr)
		}
		if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s left an output after an error: %v", name, err)
		}
		return
	}
	if status != 0 || stderr != "" {
		t.Errorf("%s %q: status %d, %q; the twin has no error", name, ins, status, stderr)
		return
	}
	if got := read(t, out); !bytes.Equal(got, want) {
		t.Errorf("%s %q: %x; the twin: %x", name, ins, got, want)
	}
}

func one(text string) []source { return []source{{"in", []byte(text)}} }

// fills returns a text of n bytes in the language of labels and asm.
func fills(n int) string { return strings.Repeat("90\n", n) }

func TestLabels(t *testing.T) {
	needChain(t)
	dir := t.TempDir()
	name56 := strings.Repeat("n", 56)
	for text, want := range map[string]string{ // "" = an error
		"41 4 2":                      "AB",
		":a 90 :b":                    "\x90",
		"@a :a":                       "\x00",
		":a eb@a":                     "\xeb\xfe",
		":a eb@a;":                    "\xeb\xfe",
		"e8%a#\n90 :a":                "\xe8\x01\x00\x00\x00\x90",
		":a %a":                       "\xfc\xff\xff\xff",
		"90 :a $a":                    "\x90\x01\x00\x40\x00",
		"90 :a &a":                    "\x90\x01\x00\x40\x00\x00\x00\x00\x00",
		"90 :a +a":                    "\x90\x01\x00\x00\x00\x00\x00\x00\x00",
		":\xff\x7f @\xff\x7f":         "\xff",
		":" + name56 + " @" + name56:  "\xff",
		":a :ab :abc @ab":             "\xff",
		":a " + fills(128) + "@a":     "",
		":a " + fills(127) + "@a":     strings.Repeat("\x90", 127) + "\x80",
		"@a " + fills(127) + ":a":     "\x7f" + strings.Repeat("\x90", 127),
		"@a " + fills(128) + ":a":     "",
		"@none":                       "",
		"90 :a %b":                    "",
		":a :a":                       "",
		":a 90 90 :a":                 "",
		":" + name56 + "n":            "",
		"@" + name56 + "n":            "",
		":":                           "",
		"%\n":                         "",
		"@# no name":                  "",
		"4 :a 1":                      "",
		"4 @a 1 :a":                   "",
		"4":                           "",
		"41\n4\n":                     "",
		"0x41":                        "",
		"41 !":                        "",
		"41\t\x80 \t":                 "",
		"\"a\"":                       "",
		"=a 41":                       "",
		"@a : a":                      "",
		":A @a":                       "",
		":a " + fills(127) + " 90 @a": "",
	} {
		ins := one(text)
		check(t, dir, "labels", ins)
		got, err := twinLabels(ins)
		if string(got) != want || (err != nil) != (want == "") {
			t.Errorf("twin of %q: %q, %v; want %q", text, got, err, want)
		}
	}
	check(t, dir, "labels", one(""))
	check(t, dir, "labels", []source{{"a", []byte("4")}, {"b", []byte("1 @c # open")}, {"c", []byte(":c")}})
}

func TestAsm(t *testing.T) {
	needChain(t)
	dir := t.TempDir()
	name62 := strings.Repeat("n", 62)
	for text, want := range map[string]string{ // "" = an error
		"4142 43":          "ABC",
		"\"A b\"43 \"\"":   "A bC",
		"\"# ; : =\"#\"":   "# ; : =",
		"\"\t\x00\xff\"":   "\t\x00\xff",
		"=nop 90\nnop nop": "\x90\x90",
		"=nop 90#\nnop;":   "\x90",
		"=two 90 \"a\" 2:-1 ; x\n=four two two\nfour": "\x90a\xff\xff\x90a\xff\xff",
		"=x 41\n:x @x x":                       "\xffA",
		"=" + name62 + " 41\n" + name62:        "A",
		":" + name62 + "@" + name62:            "",
		":a 90 @a":                             "\x90\xfe",
		"=a\"A\"\na":                           "", // the name is a"A"
		"1:0 1:255 1:-128 1:0xff 1:-0x80":      "\x00\xff\x80\xff\x80",
		"2:65535 2:-32768 2:0x0012":            "\xff\xff\x00\x80\x12\x00",
		"4:4294967295 4:-2147483648":           "\xff\xff\xff\xff\x00\x00\x00\x80",
		"8:18446744073709551615":               "\xff\xff\xff\xff\xff\xff\xff\xff",
		"8:-9223372036854775808":               "\x00\x00\x00\x00\x00\x00\x00\x80",
		"8:0xFEDCBA9876543210":                 "\x10\x32\x54\x76\x98\xba\xdc\xfe",
		"8:-1":                                 "\xff\xff\xff\xff\xff\xff\xff\xff",
		"=b 1:1\n" + strings.Repeat("b ", 100): strings.Repeat("\x01", 100),
		"=m " + strings.Repeat("41", 31) + " " + strings.Repeat("41", 25) + "\nm": strings.Repeat("A", 56),
		"=m " + strings.Repeat("41", 31) + " " + strings.Repeat("41", 26) + "\nm": "",
		"1:256": "", "1:-129": "", "2:65536": "", "2:-32769": "", "4:4294967296": "", "4:-2147483649": "",
		"8:18446744073709551616": "", "8:-9223372036854775809": "", "8:99999999999999999999": "", "8:0x10000000000000000": "",
		"1:": "", "1:-": "", "1:0x": "", "1:-0": "", "1:+1": "", "1:1_0": "", "1:0b1": "", "1:12a": "", "1:0xg": "", "1:--1": "",
		"0:0": "", "3:0": "", "5:0": "", "9:0": "", "a:0": "", "x:0": "", "\x81:0": "",
		"414": "", "4 1": "", "0x41": "", "add": "", "x": "", "!": "", ",": "",
		"nop\n=nop 90\n":                "",
		"=nop 90\n=nop 90\n":            "",
		"=nop\n":                        "",
		"=nop # nothing\nnop":           "",
		"=nop \"\"\nnop":                "",
		"=nop nop\n":                    "",
		"=nop 90 nop\n":                 "",
		"=a 90 =b 91\n":                 "",
		"=a 90 :b\n":                    "",
		":b\n=a 90 @b\n":                "",
		"=dead 90\ndead":                "",
		"=90 91\n":                      "",
		"=@x 91\n":                      "",
		"=1 91\n":                       "",
		"= 91\n":                        "",
		"=" + name62 + "n 90\n":         "",
		":" + name62 + "n":              "",
		"=x 41\n" + name62 + "n":        "",
		":a :a":                         "",
		"%none":                         "",
		"@":                             "",
		"\"open\n41\"":                  "",
		"\"":                            "",
		":a" + "\n" + fills(128) + "@a": "",
		"41\n\n  \t x y\x01z":           "",
	} {
		ins := one(text)
		check(t, dir, "asm", ins)
		got, err := twinAsm(ins)
		if string(got) != want || (err != nil) != (want == "") {
			t.Errorf("twin of %q: %q, %v; want %q", text, got, err, want)
		}
	}
	check(t, dir, "asm", one(""))
	check(t, dir, "asm", []source{{"a", []byte("=x 41 # open")}, {"b", []byte("")}, {"c", []byte("\nx\n\n y")}})
}

// TestTables fills what the assemblers have room for to the brim and beyond.
func TestTables(t *testing.T) {
	needChain(t)
	dir := t.TempDir()
	var labels, macros strings.Builder
	for i := range 1<<14 - 1 {
		labels.WriteString(":l" + strconv.Itoa(i) + "\n")
		macros.WriteString("=m" + strconv.Itoa(i) + " 90\n")
	}
	megabyte := strings.Repeat(strings.Repeat("90", 31)+"\n", 1<<20/31) + fills(1<<20%31)
	for name, size := range map[string]int{"labels": 4 << 20, "asm": 8 << 20} {
		check(t, dir, name, one(labels.String()+":one-more"))
		check(t, dir, name, one(strings.Repeat("\n", size-4)+"90"))
		check(t, dir, name, one(strings.Repeat("\n", size-3)+"90"))
	}
	check(t, dir, "labels", one(labels.String()))
	check(t, dir, "asm", one(macros.String()))
	check(t, dir, "asm", one(macros.String()+":one-more"))
	check(t, dir, "asm", one(strings.Repeat(megabyte, 3)+"\""+strings.Repeat("x", 1<<20)+"\""))
	check(t, dir, "asm", one(strings.Repeat(megabyte, 3)+"\""+strings.Repeat("x", 1<<20+1)+"\""))
	check(t, dir, "asm", one(strings.Repeat(megabyte, 3)+"\""+strings.Repeat("x", 1<<20-64)+"\" 90"))
	check(t, dir, "asm", one(strings.Repeat(megabyte, 3)+"\""+strings.Repeat("x", 1<<20-63)+"\" 90"))
}

// pieces draws a text from pieces that mean something, whole or damaged, so
// that most texts reach deep into the programs.
func pieces(t *rapid.T, usual []string) []byte {
	piece := rapid.OneOf(
		rapid.SampledFrom(usual), rapid.SampledFrom(usual), rapid.SampledFrom(usual),
		rapid.StringMatching(`[0-9a-f]{1,5}`),
		rapid.StringMatching(`[:@%$&+=][a-c]{0,2}`),
		rapid.StringMatching(`[1248]:-?(0x)?[0-9a-f]{0,20}`),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 1, 3), func(b []byte) string { return string(b) }),
	)
	blank := rapid.SampledFrom([]string{" ", " ", " ", "\n", "\n", "\t", "", " # 4\n", ";\n", "\x00"})
	var text bytes.Buffer
	for range rapid.IntRange(0, 25).Draw(t, "pieces") {
		text.WriteString(piece.Draw(t, "piece"))
		text.WriteString(blank.Draw(t, "blank"))
	}
	return text.Bytes()
}

// TestRandomTexts compares each assembler with its twin, and hex0 with its
// own, on texts that nobody thought of.
func TestRandomTexts(t *testing.T) {
	needChain(t)
	dir := t.TempDir()
	usual := map[string][]string{
		"labels": {"90", "41 42", ":a", ":b", ":c", "@a", "%a", "$b", "&c", "+a", strings.Repeat("90 ", 100)},
		"asm": {"90", "4142", "\n:a", "\n:b", "\n:c", "@a", "%a", "$b", "&c", "+a", strings.Repeat("90 ", 100), "\"a b\"",
			"\n=m 90 91\n", "\n=n 2:-5 \"x\"\n", "\n=o", "m", "n", "o", "1:-5", "8:77", "4:0x1f"},
	}
	for name, usual := range usual {
		t.Run(name, rapid.MakeCheck(func(t *rapid.T) {
			var ins []source
			for i := range rapid.IntRange(1, 3).Draw(t, "files") {
				ins = append(ins, source{"in" + strconv.Itoa(i), pieces(t, usual)})
			}
			check(t, dir, name, ins)
		}))
	}
	t.Run("hex0", rapid.MakeCheck(func(t *rapid.T) {
		text := pieces(t, []string{"90", "41 42", "4", "#", ";", "Ff"})
		write(t, dir, "in", text)
		status, _, _ := program(t, dir, nil, "hex0", "in", "out")
		want, err := DecodeHex("in", text)
		if (status != 0) != (err != nil) {
			t.Fatalf("%q: status %d, twin %v", text, status, err)
		}
		if got := read(t, filepath.Join(dir, "out")); err == nil && !bytes.Equal(got, want) {
			t.Fatalf("%q: %x, twin %x", text, got, want)
		}
	}))
}
