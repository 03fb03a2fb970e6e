package bootstrap

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"golang.org/x/arch/x86/x86asm"
)

// Compiler B is tested as gcc builds it, with gcc as the oracle for what its
// programs do. That it is the same compiler when A or B builds it is tested by
// comparing outputs.

var ccbPrograms = flag.Int("ccb.programs", 400, "generated programs for compiler B")

var ccbSeed = flag.Int64("ccb.seed", -1, "write the generated program of this seed to ccb-SEED.c and run no others")

const ccbData = "../stages/ccb/testdata"

var ccbBuild = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "ccb")
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, "ccb")
	cmd := exec.Command("gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-fno-builtin", "-O1", "-g", "-o", out, ccbData+"/shim-gcc.c")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, text)
	}
	return out, nil
})

// ccb is the compiler as gcc builds it.
func ccb(t *testing.T) string {
	t.Helper()
	path, err := ccbBuild()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// command runs a program in dir; it returns the status and what it wrote.
func command(t *testing.T, dir, name string, args ...string) (int, string, string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

// compareWithGCC builds a text with both compilers and compares what it does.
func compareWithGCC(t *testing.T, dir, name string) {
	t.Helper()
	include, err := filepath.Abs(ccbData)
	if err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := command(t, dir, ccb(t), "-o", name+".b", "-I", include, name+".c"); status != 0 || stderr != "" {
		t.Errorf("%s: status %d: %s", name, status, stderr)
		return
	}
	status, _, stderr := command(t, dir, "gcc", "-std=gnu99", "-O0", "-w", "-fwrapv", "-fno-strict-aliasing", "-ffp-contract=off",
		"-o", name+".gcc", "-I", include, name+".c")
	if status != 0 {
		t.Fatalf("%s: gcc: %s", name, stderr)
	}
	status, want, _ := command(t, dir, "./"+name+".gcc")
	gotStatus, got, _ := command(t, dir, "./"+name+".b")
	if got == want && status == gotStatus {
		return
	}
	part, a, b := "", strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := 0; i < len(a) && i < len(b); i++ {
		if strings.HasPrefix(b[i], "p") {
			part = b[i]
		}
		if a[i] != b[i] {
			t.Errorf("%s: line %d (%s): %s; gcc: %s", name, i+1, part, a[i], b[i])
			return
		}
	}
	t.Errorf("%s (%s): status %d, %d lines; gcc: status %d, %d lines", name, part, gotStatus, len(a), status, len(b))
}

func TestCCBGenerated(t *testing.T) {
	const each = 40
	if *ccbSeed >= 0 {
		write(t, ".", fmt.Sprintf("ccb-%d.c", *ccbSeed), []byte(ccbGenerated(*ccbSeed, 1)))
		return
	}
	ccb(t)
	for first := 0; first < *ccbPrograms; first += each {
		t.Run(fmt.Sprint(first), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, dir, "generated.c", []byte(ccbGenerated(int64(first), each)))
			compareWithGCC(t, dir, "generated")
		})
	}
}

// TestCCBConstants: floating constants are the nearest numbers.
func TestCCBConstants(t *testing.T) {
	r := rand.New(rand.NewSource(1))
	digits := func(n int, set string) string {
		s := make([]byte, n)
		for i := range s {
			s[i] = set[r.Intn(len(set))]
		}
		return string(s)
	}
	var text strings.Builder
	text.WriteString("#include \"test.h\"\nunion u { long double l; unsigned long w[2]; };\n" +
		"static void show(long double l) { union u u; u.l = l; bits(u.w[0]); bits(u.w[1] & 65535); }\nint main(void) {\n")
	for i := 0; i < 1500; i++ {
		var s string
		if i%5 == 4 {
			s = "0x" + digits(1+r.Intn(20), "0123456789abcdef") + "." + digits(r.Intn(20), "0123456789ABCDEF") +
				fmt.Sprintf("p%d", r.Intn(2400)-1200)
		} else {
			s = digits(1+r.Intn(25), "0123456789") + "." + digits(r.Intn(25), "0123456789") +
				fmt.Sprintf("e%d", []int{r.Intn(700) - 350, r.Intn(20) - 10, r.Intn(90) - 50, r.Intn(10000) - 5000}[i%4])
		}
		fmt.Fprintf(&text, "real(%s); real(%sf); show(%sL); real((float)%s); show(%s);\n", s, s, s, s, s)
		// Two neighbours, and what is exactly between them
		m := r.Uint64()>>11 | 1<<52
		e := r.Intn(200) - 100
		fmt.Fprintf(&text, "real(0x%xp%d); real(0x%x.8p%d); real(0x%x.8p%d);\n", m, e, m, e, m+1, e)
		fmt.Fprintf(&text, "real(%dL); real((float)%dL); show(%du); real((double)%du); real((float)%du);\n", r.Int63(), r.Int63()>>r.Intn(60), r.Uint64(), r.Uint64(), r.Uint64())
	}
	text.WriteString("return 0; }\n")
	dir := t.TempDir()
	write(t, dir, "constants.c", []byte(text.String()))
	compareWithGCC(t, dir, "constants")
}

// TestCCBByItself: what gcc built and what B built compile B, and the tests'
// programs, to the same bytes.
func TestCCBByItself(t *testing.T) {
	dir := t.TempDir()
	source, err := filepath.Abs("../stages/ccb/src/test/self.c")
	if err != nil {
		t.Fatal(err)
	}
	build := func(by, out string) []byte {
		if status, _, stderr := command(t, dir, by, "-o", out, source); status != 0 || stderr != "" {
			t.Fatalf("%s: status %d: %s", by, status, stderr)
		}
		return read(t, filepath.Join(dir, out))
	}
	if status, _, stderr := command(t, dir, ccb(t), "-o", "test", filepath.Join(filepath.Dir(source), "test.c")); status != 0 {
		t.Fatal(stderr)
	}
	if status, _, _ := command(t, dir, "./test"); status != 0 {
		t.Errorf("check %d of the stage's test fails", status)
	}
	first := build(ccb(t), "ccb1")
	if second := build("./ccb1", "ccb2"); !bytes.Equal(first, second) {
		t.Error("B built by gcc and B built by B differ in what they make of B")
	}
	write(t, dir, "generated.c", []byte(ccbGenerated(1000000, 20)))
	include, err := filepath.Abs(ccbData)
	if err != nil {
		t.Fatal(err)
	}
	var outs [][]byte
	for i, by := range []string{ccb(t), "./ccb1"} {
		out := fmt.Sprint("out", i)
		if status, _, stderr := command(t, dir, by, "-o", out, "-I", include, "generated.c"); status != 0 {
			t.Fatal(stderr)
		}
		outs = append(outs, read(t, filepath.Join(dir, out)))
	}
	if !bytes.Equal(outs[0], outs[1]) {
		t.Error("B built by gcc and B built by B differ in what they make of a program")
	}
}

// emitted finds the instructions that B's text writes as hexadecimal with a
// comment that says what they are.
var emitted = regexp.MustCompile(`emit\("([0-9A-F ]+)"\); +// (.*)`)

// TestCCBInstructions: what a comment calls an instruction must be one.
func TestCCBInstructions(t *testing.T) {
	files, err := filepath.Glob("../stages/ccb/src/*.c")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, file := range files {
		for i, line := range strings.Split(string(read(t, file)), "\n") {
			m := emitted.FindStringSubmatch(line)
			if m == nil {
				continue
			}
			var code []byte
			fmt.Sscanf(strings.ReplaceAll(m[1], " ", ""), "%x", &code)
			// What is put together from several texts has a part before or behind.
			if strings.HasPrefix(m[2], "prefix") || strings.HasPrefix(m[2], "...") {
				continue
			}
			for j, want := range strings.Split(strings.TrimPrefix(m[2], "rep "), ", ") {
				// A comma stands between instructions and between operands.
				want = strings.ToLower(strings.Fields(strings.TrimRight(want, ":"))[0])
				if _, known := ccbMnemonics[want]; j > 0 && !known {
					continue
				}
				// The number or the distance that follows is not there.
				inst, err := x86asm.Decode(append(bytes.Clone(code), make([]byte, 12)...), 64)
				if got := strings.ToLower(inst.Op.String()); err != nil || got != want {
					t.Errorf("%s:%d: %s is %s (%v), the comment says %s", filepath.Base(file), i+1, m[1], got, err, m[2])
				}
				code = code[min(inst.Len, len(code)):]
			}
			n++
		}
	}
	if n < 100 {
		t.Errorf("%d instructions found", n)
	}
}

// ccbMnemonics are those that stand second on a line.
var ccbMnemonics = map[string]bool{"fld": true, "fldz": true, "fstp": true, "setp": true, "setnp": true}
