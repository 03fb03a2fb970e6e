package bootstrap

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/arch/x86/x86asm"
)

// Who reads a text of the chain relies on its comments, so they are checked:
// each line that gives bytes must name the header field, the data or the
// instruction that these bytes are. The disassembler is the oracle.

// headerFields are the lines of the ELF and program headers with their sizes.
var headerFields = []struct {
	name string
	size int
}{
	{"e_ident", 4}, {"e_ident", 4}, {"e_ident", 8}, {"e_type", 2}, {"e_machine", 2}, {"e_version", 4}, {"e_entry", 8},
	{"e_phoff", 8}, {"e_shoff", 8}, {"e_flags", 4}, {"e_ehsize", 2}, {"e_phentsize", 2}, {"e_phnum", 2},
	{"e_shentsize", 2}, {"e_shnum", 2}, {"e_shstrndx", 2},
	{"p_type", 4}, {"p_flags", 4}, {"p_offset", 8}, {"p_vaddr", 8}, {"p_paddr", 8}, {"p_filesz", 8}, {"p_memsz", 8}, {"p_align", 8},
}

// listing is one line of a text that gives bytes.
type listing struct {
	where   string // file:line
	address int
	bytes   []byte
	what    string // the first comment of the line
}

var (
	hexLabel = regexp.MustCompile(`^# (\S+): +# 0x([0-9a-f]{6})( +; .*)?$`)
	ownLabel = regexp.MustCompile(`^:(\S+)( +# .*)?$`)
	codeLine = regexp.MustCompile(`^(\S+(?: \S+)*?) +# (.*?)(?: +; (.*))?$`)
)

// list reads a text of hex0 or labels whose program is bin. It gives the lines
// with bytes and the addresses of the labels, which a text of hex0 has in
// comments.
func list(t *testing.T, path string, bin []byte) ([]listing, map[string]int) {
	t.Helper()
	var lines []listing
	labels := map[string]int{}
	address := base
	for n, line := range strings.Split(string(read(t, path)), "\n") {
		where := fmt.Sprintf("%s:%d", filepath.Base(path), n+1)
		if m := hexLabel.FindStringSubmatch(line); m != nil {
			labels[m[1]] = address
			if m[2] != fmt.Sprintf("%06x", address) {
				t.Errorf("%s: %s is at 0x%06x", where, m[1], address)
			}
			continue
		}
		if m := ownLabel.FindStringSubmatch(line); m != nil {
			labels[m[1]] = address
			continue
		}
		if line == "" || line[0] == '#' {
			continue
		}
		m := codeLine.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("%s: no comment: %s", where, line)
			continue
		}
		size := 0
		for _, w := range strings.Fields(m[1]) {
			size += map[byte]int{'@': 1, '%': 4, '$': 4, '&': 8, '+': 8}[w[0]]
			if _, ok := hexDigit(w[0]); ok {
				size++
			}
		}
		at := address - base
		lines = append(lines, listing{where, address, bin[at : at+size], m[2]})
		address += size
	}
	if address-base != len(bin) {
		t.Errorf("%s: the lines give %d bytes, the program has %d", path, address-base, len(bin))
	}
	return lines, labels
}

func TestComments(t *testing.T) {
	for path, twin := range map[string]func([]source) ([]byte, error){
		hex0Text: twinLabels, sameText: twinLabels, labelsHex: twinLabels, labelsText: twinLabels, asmText: twinLabels,
	} {
		bin, err := twin(sources(t, path))
		if err != nil {
			t.Fatal(err)
		}
		lines, labels := list(t, path, bin)
		for i, l := range lines {
			if i < len(headerFields) {
				f := headerFields[i]
				if len(l.bytes) != f.size || !strings.HasPrefix(l.what, f.name+": ") {
					t.Errorf("%s: %x # %s; want %d bytes # %s: ...", l.where, l.bytes, l.what, f.size, f.name)
				}
				continue
			}
			if err := l.check(labels); err != nil {
				t.Errorf("%s: %v", l.where, err)
			}
		}
	}
}

// check holds the comment of a line against its bytes.
func (l listing) check(labels map[string]int) error {
	if quoted, ok := strings.CutPrefix(l.what, ".ascii "); ok {
		text := strings.NewReplacer(`\n`, "\n", `\0`, "\x00").Replace(quoted)
		if text != `"`+string(l.bytes)+`"` {
			return fmt.Errorf("% x is not %s", l.bytes, l.what)
		}
		return nil
	}
	inst, err := x86asm.Decode(l.bytes, 64)
	if err != nil || inst.Len != len(l.bytes) {
		return fmt.Errorf("% x # %s: not one instruction, %v", l.bytes, l.what, err)
	}
	got := x86asm.IntelSyntax(inst, uint64(l.address), nil)
	if want := said(l.what, labels); decoded(inst, l.address, want) != want {
		return fmt.Errorf("% x # %s: is %s", l.bytes, l.what, got)
	}
	return nil
}

var (
	number   = regexp.MustCompile(`-?\b(0x[0-9a-f]+|[0-9]+)\b`)
	sizeWord = regexp.MustCompile(`((byte|word|dword|qword) )?ptr `)
	scaled   = regexp.MustCompile(`\b([248])\*(r\w+)`) // the disassembler's 8*rcx
)

// said brings the instruction of a comment into the form of decoded: labels
// become addresses, characters and numbers become decimal.
func said(what string, labels map[string]int) string {
	what = regexp.MustCompile(`'(.)'`).ReplaceAllStringFunc(what, func(c string) string { return strconv.Itoa(int(c[1])) })
	words := strings.Split(what, " ")
	if address, ok := labels[words[len(words)-1]]; ok {
		words[len(words)-1] = strconv.Itoa(address)
	}
	return numbers(strings.Join(words, " "))
}

// decoded renders an instruction as our comments do. The size of a memory
// operand shows only if the comment gives it.
func decoded(inst x86asm.Inst, address int, comment string) string {
	if rel, ok := inst.Args[0].(x86asm.Rel); ok {
		return strings.ToLower(inst.Op.String()) + " " + strconv.Itoa(address+inst.Len+int(rel))
	}
	s := intel(inst)
	if !strings.Contains(comment, " ptr ") {
		s = sizeWord.ReplaceAllString(s, "")
	}
	return numbers(scaled.ReplaceAllString(s, "$2*$1"))
}

// intel renders an instruction in Intel syntax, but without the operands where
// they are always the same.
func intel(inst x86asm.Inst) string {
	s := x86asm.IntelSyntax(inst, 0, nil)
	switch inst.Op {
	case x86asm.LODSB, x86asm.LODSD, x86asm.MOVSB, x86asm.MOVSD, x86asm.CMPSB, x86asm.CMPSD,
		x86asm.STOSB, x86asm.STOSW, x86asm.STOSD, x86asm.STOSQ:
	default:
		return s
	}
	first, rest, _ := strings.Cut(s, " ")
	if first != "rep" {
		return first
	}
	second, _, _ := strings.Cut(rest, " ")
	if inst.Op == x86asm.CMPSB || inst.Op == x86asm.CMPSD {
		return "repe " + second // what this prefix is called where there is a result
	}
	return "rep " + second
}

// numbers writes every number as a decimal of 32 bits, since an operand of 32
// bits may be shown with or without its sign.
func numbers(s string) string {
	s = number.ReplaceAllStringFunc(s, func(n string) string {
		v, err := strconv.ParseInt(n, 0, 64)
		if err != nil {
			return n
		}
		return strconv.Itoa(int(int32(v)))
	})
	return strings.ReplaceAll(s, "+-", "-")
}

// TestCommentCheck: a wrong bit in the seed is one that its comments deny, or
// makes another encoding of the same instruction, which some have.
func TestCommentCheck(t *testing.T) {
	bin, err := DecodeHex(hex0Text, read(t, hex0Text))
	if err != nil {
		t.Fatal(err)
	}
	lines, labels := list(t, hex0Text, bin)
	shown := func(code []byte) string {
		inst, _ := x86asm.Decode(code, 64)
		return x86asm.IntelSyntax(inst, 0, nil)
	}
	for _, l := range lines[len(headerFields):] {
		right := shown(l.bytes)
		for bit := range 8 * len(l.bytes) {
			l.bytes[bit/8] ^= 1 << (bit % 8)
			if l.check(labels) == nil && shown(l.bytes) != right {
				t.Errorf("%s: % x passes as %s", l.where, l.bytes, l.what)
			}
			l.bytes[bit/8] ^= 1 << (bit % 8)
		}
	}
}

// TestMnemonics holds every macro of the table against the disassembler: with
// operands behind it, its bytes must be the instruction that its name says.
func TestMnemonics(t *testing.T) {
	ins := sources(t, amd64Text)
	twin := asmTwin{ins: ins, text: append(ins[0].text, '\n'), macros: map[string][]byte{}}
	if err := twin.pass(false); err != nil {
		t.Fatal(err)
	}
	if len(twin.macros) < 100 {
		t.Fatalf("only %d macros", len(twin.macros))
	}
	for name, body := range twin.macros {
		// 0x11 in all operands: their size then shows in the text.
		code := append(body[:len(body):len(body)], strings.Repeat("\x11", 8)...)
		inst, err := x86asm.Decode(code, 64)
		if err != nil || inst.Len < len(body) {
			t.Errorf("%s: % x: %v", name, body, err)
			continue
		}
		if got := mnemonic(inst); got != name {
			t.Errorf("%s: % x is %s: %s", name, body, got, x86asm.IntelSyntax(inst, 0, nil))
		}
	}
}

// mnemonic names an instruction whose operands are 0x11, 0x1111, ... as the
// table does.
func mnemonic(inst x86asm.Inst) string {
	op := strings.ToLower(inst.Op.String())
	if _, ok := inst.Args[0].(x86asm.Rel); ok {
		if inst.Op == x86asm.CALL {
			return op
		}
		return op + strconv.Itoa(8*inst.PCRel)
	}
	s := scaled.ReplaceAllString(intel(inst), "$2*$1")
	for _, a := range inst.Args {
		widens := inst.Op == x86asm.MOVZX || inst.Op == x86asm.MOVSX
		if _, ok := a.(x86asm.Reg); ok && !widens { // it gives the size of a memory operand away
			s = sizeWord.ReplaceAllString(s, "")
		}
	}
	s = strings.NewReplacer("[0x11111111", "[d32", "+0x11111111", "+d32", "+0x11", "+d8").Replace(s)
	s = strings.NewReplacer("0x11111111", "i32", "0x1111", "i16", "0x11", "i8").Replace(s)
	if first, operand, _ := strings.Cut(s, " "); strings.HasPrefix(op, "set") && first != op {
		s = op + " " + operand // setz and sete are the same, but jumps are called je
	}
	return strings.NewReplacer(" ptr [", "[", ", ", ",", " ", "_").Replace(s)
}
