package bootstrap

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// ccaShim gives a program of compiler A's language what the compiler has built
// in, for gcc: the entry and the system call.
const ccaShim = `
long start(long argc, char **argv);
long sys3(long number, long a, long b, long c);
long sys3(long number, long a, long b, long c)
{
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
  return result;
}
void begin(long *stack);
void begin(long *stack)
{
  sys3(60, start(*stack, (char **)(stack + 1)), 0, 0);
}
__asm__(".globl _start\n_start:\nmov %rsp, %rdi\nand $-16, %rsp\ncall begin\n");
`

// ccaPrelude lets a program print. All output waits for flush.
const ccaPrelude = `long sys3(long number, long a, long b, long c);

char printed[65536];
long printed_length;

long flush(void)
{
  long done = 0;
  while (done < printed_length) {
    long n = sys3(1, 1, (long)&printed[done], printed_length - done);
    if (n <= 0)
      sys3(60, 99, 0, 0);
    done = done + n;
  }
  printed_length = 0;
  return 0;
}

long c(long character)
{
  if (printed_length == 65536)
    flush();
  printed[printed_length] = (char)character;
  printed_length = printed_length + 1;
  return character;
}

long s(char *text)
{
  long i = 0;
  while (text[i]) {
    c(text[i]);
    i = i + 1;
  }
  return i;
}

long n(long value)
{
  char digits[24];
  long i = 23;
  long rest = value;
  digits[i] = 0;
  if (value >= 0)
    rest = -value;
  while (rest < 0 || i == 23) {
    i = i - 1;
    digits[i] = (char)('0' - rest % 10);
    rest = rest / 10;
  }
  if (value < 0) {
    i = i - 1;
    digits[i] = '-';
  }
  s(&digits[i]);
  c('\n');
  return value;
}
`

var ccaGcc = sync.OnceValues(func() (string, error) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		return "", errors.New("needs gcc: sh scripts/deps.sh")
	}
	shim := filepath.Join(bin, "shim.c")
	if err := os.WriteFile(shim, []byte(ccaShim), 0o644); err != nil {
		return "", err
	}
	args := []string{"-O1", "-fno-stack-protector", "-c", "-o", filepath.Join(bin, "shim.o"), shim}
	if out, err := exec.Command(gcc, args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return gcc, nil
})

// strict are the options with which gcc must have nothing to say about a
// program of the language.
var strict = []string{"-Wall", "-Wextra", "-Werror"}

// buildWithGcc gives what gcc says, or "" if it built out.
func buildWithGcc(t rapid.TB, dir, text, out string, options ...string) string {
	t.Helper()
	gcc, err := ccaGcc()
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, "gcc.c", []byte(text))
	args := append([]string{"-std=c99", "-fno-builtin", "-O1", "-fno-stack-protector", "-fno-pie", "-no-pie", "-nostdlib", "-static",
		"-Wl,--build-id=none,-z,noexecstack", "-o", filepath.Join(dir, out), filepath.Join(dir, "gcc.c"), filepath.Join(bin, "shim.o")}, options...)
	said, err := exec.Command(gcc, args...).CombinedOutput()
	if err != nil && len(said) == 0 {
		t.Fatal(err)
	}
	return string(said)
}

// outcome is what a program did.
type outcome struct {
	status int // 256 and more: ended by a signal
	stdout string
}

func runs(t rapid.TB, path string, args ...string) outcome {
	t.Helper()
	var stdout bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stdout = &stdout
	cmd.Dir = filepath.Dir(path)
	timer := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	err := cmd.Run()
	timer.Stop()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	status := cmd.ProcessState.ExitCode()
	if status < 0 {
		status = 256
	}
	return outcome{status, stdout.String()}
}

// sameInBoth compiles a text with cca and with gcc, runs both programs, and
// returns what they did if it was the same.
func sameInBoth(t rapid.TB, dir, text string, options ...string) (outcome, bool) {
	t.Helper()
	write(t, dir, "a.c", []byte(text))
	if status, stdout, stderr := program(t, dir, nil, "cca", "by-cca", "a.c"); status != 0 || stdout != "" || stderr != "" {
		t.Errorf("cca: status %d, %q", status, stderr)
		return outcome{}, false
	}
	if said := buildWithGcc(t, dir, text, "by-gcc", options...); said != "" {
		t.Errorf("gcc: %s", said)
		return outcome{}, false
	}
	got, want := runs(t, filepath.Join(dir, "by-cca"), "one", ""), runs(t, filepath.Join(dir, "by-gcc"), "one", "")
	// argv[0] differs
	got.stdout = strings.ReplaceAll(got.stdout, "by-cca", "by-gcc")
	if got != want {
		t.Errorf("status %d, by gcc %d\n%s", got.status, want.status, differing(got.stdout, want.stdout))
		return outcome{}, false
	}
	return got, true
}

// differing shows the first line that is not the same.
func differing(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d of the output: %q, by gcc %q", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("%d lines of output, by gcc %d", len(g), len(w))
}

func TestCcaPrograms(t *testing.T) {
	needChain(t)
	programs := ccaPrograms()
	if len(programs) < 200 {
		t.Errorf("only %d programs", len(programs))
	}
	for _, p := range programs {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			got, ok := sameInBoth(t, t.TempDir(), ccaPrelude+p.text, strict...)
			if ok && p.want != "" && got.stdout != p.want {
				t.Errorf("%q, want %q", got.stdout, p.want)
			}
			if ok && got.status != p.status {
				t.Errorf("status %d, want %d", got.status, p.status)
			}
		})
	}
}

// TestCcaStage runs the test of the stage.
func TestCcaStage(t *testing.T) {
	needChain(t)
	text := string(read(t, "../stages/cca/src/test/test.c"))
	if got, ok := sameInBoth(t, t.TempDir(), text, strict...); ok && got.status != 0 {
		t.Errorf("check %d", got.status)
	}
	// what the test finds
	damaged := strings.Replace(text, "a + b == 8", "a + b == 9", 1)
	if got, ok := sameInBoth(t, t.TempDir(), damaged, strict...); ok && got.status != 2 {
		t.Errorf("status %d", got.status)
	}
}

// TestCcaSeveralFiles: the INs are one text, and errors know their file.
func TestCcaSeveralFiles(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.c", []byte("long f(void); // no LF"))
	write(t, dir, "empty.c", nil)
	write(t, dir, "b.c", []byte("long start(long argc, char **argv) { return f() + !argc + !argv; }"))
	write(t, dir, "c.c", []byte("\n\nlong f(void) { return 7; }"))
	write(t, dir, "bad.c", []byte("\n\n  long f(void) { return 8; }"))
	if status, _, stderr := program(t, dir, nil, "cca", "out", "a.c", "empty.c", "b.c", "c.c"); status != 0 {
		t.Errorf("status %d, %q", status, stderr)
	}
	if got := runs(t, filepath.Join(dir, "out")); got.status != 7 {
		t.Errorf("status %d", got.status)
	}
	status, _, stderr := program(t, dir, nil, "cca", "out", "a.c", "b.c", "c.c", "bad.c", "empty.c")
	if status != 1 || stderr != "bad.c:3: defined twice: { return 8; }\n" {
		t.Errorf("status %d, %q", status, stderr)
	}
	if status, _, stderr := program(t, dir, nil, "cca", "out", "empty.c", "a.c"); status != 1 || stderr != "a.c:1: no function start\n" {
		t.Errorf("status %d, %q", status, stderr)
	}
}

// TestCcaOutput: code can not be written to, data can not be run, and the same
// text gives the same bytes.
func TestCcaOutput(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.c", []byte("char zero[10000]; long one = 1;\nlong start(long argc, char **argv) { return zero[argc] + one + !argv; }"))
	for _, out := range []string{"x", "y"} {
		if status, _, stderr := program(t, dir, nil, "cca", out, "a.c"); status != 0 {
			t.Fatalf("status %d, %q", status, stderr)
		}
	}
	if !bytes.Equal(read(t, filepath.Join(dir, "x")), read(t, filepath.Join(dir, "y"))) {
		t.Error("two runs, two outputs")
	}
	if got := runs(t, filepath.Join(dir, "x")); got.status != 1 {
		t.Errorf("status %d", got.status)
	}
	f, err := elf.Open(filepath.Join(dir, "x"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size := uint64(len(read(t, filepath.Join(dir, "x"))))
	want := []elf.ProgHeader{
		{Type: elf.PT_LOAD, Flags: elf.PF_R | elf.PF_X, Vaddr: 0x400000, Paddr: 0x400000, Filesz: 0x1000, Memsz: 0x1000, Align: 0x1000},
		{Type: elf.PT_LOAD, Flags: elf.PF_R | elf.PF_W, Off: 0x1000, Vaddr: 0x800000, Paddr: 0x800000, Filesz: 8, Memsz: 0x400000 + 10000, Align: 0x1000},
	}
	if len(f.Progs) != 2 || f.Progs[0].ProgHeader != want[0] || f.Progs[1].ProgHeader != want[1] || size != 0x1008 || f.Entry != 0x4000b0 {
		t.Errorf("%d bytes, entry 0x%x, %+v", size, f.Entry, f.Progs)
	}
}

// wrongWith compiles a text that is wrong and returns the message. OUT must be
// as it was.
func wrongWith(t *testing.T, dir, text string) string {
	t.Helper()
	write(t, dir, "out", []byte("before"))
	write(t, dir, "in", []byte(text))
	status, stdout, stderr := program(t, dir, nil, "cca", "out", "in")
	if status != 1 || stdout != "" {
		t.Errorf("%.300s: status %d, %q", text, status, stdout)
	}
	if string(read(t, filepath.Join(dir, "out"))) != "before" {
		t.Errorf("%.300s: an output after an error", text)
	}
	return strings.TrimSuffix(stderr, "\n")
}

func TestCcaErrors(t *testing.T) {
	needChain(t)
	dir := t.TempDir()
	wrong := ccaErrors()
	if len(wrong) < 40 {
		t.Errorf("only %d wrong programs", len(wrong))
	}
	for _, w := range wrong {
		if got := wrongWith(t, dir, w.text); got != w.want {
			t.Errorf("%s\n got %s\nwant %s", w.text, got, w.want)
		}
	}
}

// TestCcaLimits fills what the compiler has room for.
func TestCcaLimits(t *testing.T) {
	needChain(t)
	dir := t.TempDir()
	accepted := func(what, text string) {
		t.Helper()
		write(t, dir, "in", []byte(text))
		if status, _, stderr := program(t, dir, nil, "cca", "fine", "in"); status != 0 {
			t.Errorf("%s: status %d, %q", what, status, stderr)
			return
		}
		if got := runs(t, filepath.Join(dir, "fine")); got.status != 0 {
			t.Errorf("%s: status %d when it runs", what, got.status)
		}
	}
	refused := func(what, text, want string) {
		t.Helper()
		if got := wrongWith(t, dir, text); !strings.Contains(got, want) {
			t.Errorf("%s: %.300q, want %s", what, got, want)
		}
	}
	repeat := strings.Repeat
	const start = "long start(long argc, char **argv) { return !argc + !argv; }\n"
	inStart := func(body string) string {
		return "long start(long argc, char **argv) { " + body + " return !argc + !argv; }"
	}

	name := repeat("n", 60)
	accepted("a name", "long "+name+";"+start)
	refused("a name", "long "+name+"n;"+start, "in:1: name of more than 60 bytes: nnn")

	refused("a text", repeat("\n", 4<<20), "cca: too big: in")
	accepted("a text", start+repeat("\n", 4<<20-3-len(start)))
	refused("a text", start+repeat("\n", 4<<20-2-len(start)), "cca: too big: in")

	accepted("bytes", "char a["+strconv.Itoa(0x40000000-0xc00000)+"];"+start)
	refused("bytes", "char a["+strconv.Itoa(0x40000000-0xc00000+1)+"];"+start, "in:1: too many bytes of variables: ;")
	refused("bytes", "char a[1073741823]; "+start, "in:1: bad size of an array")
	refused("bytes", "long a[1073741824];"+start, "in:1: bad size of an array")
	refused("bytes", "long a[0x2000000000000001];"+start, "in:1: bad size of an array")
	refused("bytes", repeat("long a[10000000];\n", 1)+repeat("long b[100000000];\n", 1)+"long c[100000000];"+start, "in:3: too many bytes of variables: ;")

	accepted("locals", inStart("char a[1048576 - 64]; a[0] = 0; a[1048511] = 0;"))
	accepted("locals", inStart("{ char a[1000000]; a[1] = 0; } { char b[1000000]; b[1] = 0; }"))
	refused("locals", inStart("char a[1048576 - 64]; char b[65];"), "in:1: too many bytes of locals: ;")

	call := "f(1,1,1,1,1,1,1,1);"
	f := "long f(long a, long b, long c, long d, long e, long f, long g, long h) { return a+b+c+d+e+f+g+h; }"
	accepted("code", f+inStart(repeat(call, 60000)))
	refused("code", f+inStart(repeat(call, 80000)), "in:1: too much code: ")

	values := "long a%d[] = {" + repeat("1,", 120000) + "};\n"
	var arrays strings.Builder
	for i := range 4 {
		fmt.Fprintf(&arrays, values, i)
	}
	accepted("data", arrays.String()+start)
	accepted("values", "long a[] = {"+repeat("1,", 122880)+"};"+start)
	fmt.Fprintf(&arrays, values, 4)
	refused("data", arrays.String()+start, "in:5: too much data: ")
	refused("data", "long a[] = {"+repeat("1,", 122881)+"};"+start, "in:1: too many initial values: ")
	strings1 := `char *a[] = {` + repeat(`"`+repeat("x", 1000)+`",`, 4100) + `};`
	accepted("strings", strings1+start)
	strings2 := `char *b[] = {` + repeat(`"",`, 100000) + `};`
	refused("strings", arrays.String()[:len(arrays.String())*4/5]+strings2+strings2+strings2+start, ": too much data: ")

	deep := 1000
	accepted("parentheses", inStart("argc = "+repeat("(", deep)+"argc"+repeat(")", deep)+";"))
	refused("parentheses", inStart("argc = "+repeat("(", 100000)), "in:1: nested too deeply: (")
	accepted("blocks", inStart(repeat("{", deep)+repeat("}", deep)))
	refused("blocks", inStart(repeat("{", 100000)), "in:1: nested too deeply: {")
	accepted("minus", inStart("argc = "+repeat("- ", deep)+"argc;"))
	refused("minus", inStart("argc = "+repeat("- ", 100000)), "in:1: nested too deeply: -")
	refused("assignments", inStart(repeat("argc = ", 100000)), "in:1: nested too deeply: argc")
	refused("else", inStart(repeat("if (argc) ; else ", 100000)), "in:1: nested too deeply: ")
	accepted("else", inStart(repeat("if (!argc) ; else ", deep)+";"))
	accepted("pointers", "long "+repeat("*", 255)+"p;"+start)
	refused("pointers", "long "+repeat("*", 256)+"p;"+start, "in:1: pointer of more than 255 stars: *p;")
	refused("pointers", inStart("long "+repeat("*", 255)+"p; argc = (long)&p;"), "in:1: pointer of more than 255 stars: ;")
	accepted("left", inStart("argc = argc"+repeat(" + 1", 10000)+repeat(" - 1", 10000)+";"))
	accepted("both", inStart("argc = argc"+repeat(" && 1", 10000)+";"))
	accepted("string", inStart("\""+repeat("x", 1<<20)+"\";"))
}

// TestCcaSymbols: one name more than there is room for.
func TestCcaSymbols(t *testing.T) {
	needChain(t)
	dir := t.TempDir()
	var names strings.Builder
	for i := range 1<<15 - 3 { // start and its parameters are the others
		fmt.Fprintf(&names, " n%d,", i)
	}
	text := "enum {" + names.String() + "};\nlong start(long argc, char **argv) { %s return !argc + !argv; }"
	write(t, dir, "in", []byte(fmt.Sprintf(text, "")))
	if status, _, stderr := program(t, dir, nil, "cca", "out", "in"); status != 0 {
		t.Errorf("status %d, %q", status, stderr)
	}
	if got := wrongWith(t, dir, fmt.Sprintf(text, "long x;")); got != "in:2: too many names: x; return !argc + !argv; }" {
		t.Errorf("%q", got)
	}
}

// TestCcaRandomTexts: whatever the text is, cca ends by itself, and an error
// has its place.
func TestCcaRandomTexts(t *testing.T) {
	needChain(t)
	dir := t.TempDir()
	usual := []string{"long", "char", "struct", "void", "enum", "if", "else", "while", "for", "break", "continue", "return", "sizeof",
		"(", ")", "[", "]", "{", "}", ";", ",", "=", "*", "&", "-", "!", "~", "+", "/", "%", "<", ">", "<<", ">>", "==", "&&", "||", "->",
		"x", "y", "f", "start", "0", "1", "0xffffffff", "'a'", "\"text\"", "long x;", "long x[3];", "char *y = \"y\";", "struct x { long a; struct x *b; };",
		"long f(long x, char *y) {", "long start(long argc, char **argv) { return 0; }", "x = ", "f(x, y)", "(char *)", "// c\n", "/* c */"}
	place := regexp.MustCompile(`^in\d:\d+: [^:]+: |^in\d:\d+: no function start$`)
	token := regexp.MustCompile(`\w+|"[^"]*"|'[^']*'|[<>=!]=|<<|>>|&&|\|\||->|\S|\n`)
	ends := func(t rapid.TB, args ...string) {
		status, stdout, stderr := program(t, dir, nil, "cca", append([]string{"out"}, args...)...)
		line, _, _ := strings.Cut(stderr, "\n")
		if status > 1 || stdout != "" || (status == 1) != place.MatchString(line) || strings.Count(stderr, "\n") != status {
			t.Errorf("status %d, %q, %q", status, stdout, stderr)
		}
	}
	t.Run("pieces", rapid.MakeCheck(func(t *rapid.T) {
		var args []string
		for i := range rapid.IntRange(1, 3).Draw(t, "files") {
			args = append(args, "in"+strconv.Itoa(i))
			write(t, dir, args[i], pieces(t, usual))
		}
		ends(t, args...)
	}))
	t.Run("damaged", rapid.MakeCheck(func(t *rapid.T) {
		tokens := token.FindAllString(ccaPrelude+ccaRandomProgram(rapid.Uint64Range(0, 50).Draw(t, "program")), -1)
		for range rapid.IntRange(1, 3).Draw(t, "damages") {
			at := rapid.IntRange(0, len(tokens)-1).Draw(t, "at")
			tokens[at] = rapid.SampledFrom(append(usual, "", tokens[at]+" "+tokens[at], "\x00")).Draw(t, "token")
		}
		write(t, dir, "in0", []byte(strings.Join(tokens, " ")))
		ends(t, "in0")
	}))
}

// TestCcaTexts: the lengths that the text of cca gives of code and of words.
func TestCcaTexts(t *testing.T) {
	ins := sources(t, amd64Text, ccaText)
	twin := asmTwin{ins: ins, labels: map[string]int{}, macros: map[string][]byte{}}
	for _, in := range ins {
		twin.text = append(append(twin.text, in.text...), '\n')
	}
	if err := twin.pass(false); err != nil {
		t.Fatal(err)
	}
	size := func(words string) int {
		n := 0
		for _, w := range strings.Fields(words) {
			body, ok := twin.macros[w]
			if !ok {
				body, ok = sizedNumber(w)
			}
			if !ok {
				t.Errorf("not a macro or number: %s", w)
			}
			n += len(body)
		}
		return n
	}
	coded := regexp.MustCompile(`^  (?:call %emit|\S+ +1:\d+ +"[^"]") 1:(\d+) ([^#]*)`)
	worded := regexp.MustCompile(`^  1:(\d+) [A-Z]+ "(\S+)"$`)
	count := 0
	for i, line := range strings.Split(string(ins[1].text), "\n") {
		if m := coded.FindStringSubmatch(line); m != nil {
			count++
			if n := size(m[2]); strconv.Itoa(n) != m[1] {
				t.Errorf("cca.asm:%d: %d bytes: %s", i+1, n, line)
			}
		}
		if m := worded.FindStringSubmatch(line); m != nil {
			count++
			if strconv.Itoa(len(m[2])) != m[1] {
				t.Errorf("cca.asm:%d: %d bytes: %s", i+1, len(m[2]), line)
			}
		}
	}
	emits := strings.Count(string(ins[1].text), "call %emit ")
	if count < emits+18+30 {
		t.Errorf("%d lines with lengths, of which %d call emit", count, emits)
	}
}
