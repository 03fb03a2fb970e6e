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
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"pgregory.net/rapid"
)

// The texts of the chain, where the stages have them.
const (
	hex0Text   = "../stages/hex0/src/hex0.hex0"
	sameText   = "../stages/hex0/src/same.hex0"
	labelsHex  = "../stages/labels/src/labels.hex0"
	labelsText = "../stages/labels/src/labels.labels"
	asmText    = "../stages/asm/src/asm.labels"
	amd64Text  = "../stages/asm/src/amd64.asm"
	elfText    = "../stages/asm/src/elf.asm"
	sumText    = "../stages/sha256sum/src/sha256sum.asm"
	ccaText    = "../stages/cca/src/cca.asm"
)

// bin is the folder with the programs of the chain, built once by TestMain in
// the order of the stages: hex0, same, labels, asm, sha256sum, cca.
var bin string

func TestMain(m *testing.M) {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		fmt.Println("the programs of the chain are for linux/amd64: only the decoder is tested here")
		os.Exit(m.Run())
	}
	var err error
	if bin, err = os.MkdirTemp("", "chain"); err != nil {
		panic(err)
	}
	if err := buildChain(bin); err != nil {
		fmt.Fprintln(os.Stderr, "building the chain:", err)
		os.Exit(1)
	}
	status := m.Run()
	os.RemoveAll(bin)
	os.Exit(status)
}

// buildChain does what the stages do, without BuildKit.
func buildChain(dir string) error {
	text, err := os.ReadFile(hex0Text)
	if err != nil {
		return err
	}
	seed, err := DecodeHex(hex0Text, text)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "hex0"), seed, 0o755); err != nil {
		return err
	}
	for _, step := range []string{
		"hex0 " + hex0Text + " DIR/hex0-rebuilt",
		"hex0 " + sameText + " DIR/same",
		"same DIR/hex0 DIR/hex0-rebuilt",
		"hex0 " + labelsHex + " DIR/labels-from-hex",
		"labels-from-hex DIR/labels " + labelsText,
		"same DIR/labels-from-hex DIR/labels",
		"labels DIR/asm-from-labels " + asmText,
		"asm-from-labels DIR/asm " + asmText,
		"same DIR/asm-from-labels DIR/asm",
		"asm DIR/sha256sum " + amd64Text + " " + elfText + " " + sumText,
		"asm DIR/cca " + amd64Text + " " + elfText + " " + ccaText,
	} {
		args := strings.Fields(strings.ReplaceAll(step, "DIR", dir))
		if out, err := exec.Command(filepath.Join(dir, args[0]), args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", step, err, out)
		}
	}
	return nil
}

// needChain skips a test where the programs can't run.
func needChain(t rapid.TB) {
	t.Helper()
	if bin == "" {
		t.Skip("needs linux/amd64")
	}
}

// program runs one program of the chain in dir and returns its exit status and
// what it printed. A program that a signal ended fails the test.
func program(t rapid.TB, dir string, stdin []byte, name string, args ...string) (int, string, string) {
	t.Helper()
	needChain(t)
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(filepath.Join(bin, name), args...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, bytes.NewReader(stdin), &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if cmd.ProcessState.ExitCode() < 0 {
		t.Fatalf("%s %q: %v", name, args, err)
	}
	return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

// write makes a file in dir.
func write(t rapid.TB, dir, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t rapid.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sources(t rapid.TB, paths ...string) []source {
	t.Helper()
	var ins []source
	for _, p := range paths {
		ins = append(ins, source{filepath.Base(p), read(t, p)})
	}
	return ins
}

func TestSeedSize(t *testing.T) {
	seed, err := DecodeHex(hex0Text, read(t, hex0Text))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the seed has %d bytes", len(seed))
	if len(seed) > 288 {
		t.Errorf("the seed has %d bytes, more than the 288 that a policy may ask for", len(seed))
	}
}

// TestChainEqualsTwins holds every program of the chain against the bytes that
// the twins make of the same texts.
func TestChainEqualsTwins(t *testing.T) {
	needChain(t)
	hex := func(p string) ([]byte, error) { return DecodeHex(p, read(t, p)) }
	labels := func(p ...string) ([]byte, error) { return twinLabels(sources(t, p...)) }
	asm := func(p ...string) ([]byte, error) { return twinAsm(sources(t, p...)) }
	for _, test := range []struct {
		name string
		twin func() ([]byte, error)
	}{
		{"hex0", func() ([]byte, error) { return hex(hex0Text) }},
		{"hex0", func() ([]byte, error) { return labels(hex0Text) }},
		{"hex0", func() ([]byte, error) { return asm(hex0Text) }},
		{"hex0-rebuilt", func() ([]byte, error) { return hex(hex0Text) }},
		{"same", func() ([]byte, error) { return hex(sameText) }},
		{"labels-from-hex", func() ([]byte, error) { return hex(labelsHex) }},
		{"labels", func() ([]byte, error) { return labels(labelsText) }},
		{"labels", func() ([]byte, error) { return asm(labelsText) }},
		{"asm-from-labels", func() ([]byte, error) { return labels(asmText) }},
		{"asm", func() ([]byte, error) { return asm(asmText) }},
		{"sha256sum", func() ([]byte, error) { return asm(amd64Text, elfText, sumText) }},
		{"cca", func() ([]byte, error) { return asm(amd64Text, elfText, ccaText) }},
	} {
		want, err := test.twin()
		if got := read(t, filepath.Join(bin, test.name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s has %d bytes and differs from its twin's %d, %v", test.name, len(got), len(want), err)
		}
	}
}

// TestModes: a rebuilder's umask must not show in the tree.
func TestModes(t *testing.T) {
	needChain(t)
	dir := t.TempDir()
	write(t, dir, "in", []byte("41\n"))
	write(t, dir, "in.c", []byte("long start(long argc, char **argv) { return !argc + !argv; }\n"))
	for _, umask := range []int{0, 0o022, 0o777} {
		old := syscall.Umask(umask)
		for _, args := range [][]string{{"hex0", "in", "out"}, {"labels", "out", "in"}, {"asm", "out", "in"}, {"cca", "out", "in.c"}} {
			status, _, _ := program(t, dir, nil, args[0], args[1:]...)
			info, err := os.Stat(filepath.Join(dir, "out"))
			if status != 0 || err != nil || info.Mode() != 0o755 {
				t.Errorf("umask %o: %q: status %d, %v, %v", umask, args, status, info, err)
			}
			os.Remove(filepath.Join(dir, "out"))
		}
		syscall.Umask(old)
	}
}

// TestFailingCalls: whatever open, read or write can't do ends with a status
// other than 0.
func TestFailingCalls(t *testing.T) {
	needChain(t)
	dir := t.TempDir()
	write(t, dir, "in", []byte("41\n"))
	write(t, dir, "in.c", []byte("long start(long argc, char **argv) { return !argc + !argv; }\n"))
	for args, message := range map[string]string{
		"hex0": "", "hex0 in": "", "hex0 in out more": "", "hex0 none out": "", "hex0 . out": "",
		"hex0 in none/out": "", "hex0 in .": "", "hex0 in /dev/full": "",
		"same": "", "same in": "", "same in in in": "", "same in none": "", "same none in": "", "same . in": "", "same in .": "",
		"labels":               "labels: usage: labels OUT IN...",
		"labels out":           "labels: usage: labels OUT IN...",
		"labels out none":      "labels: can not read: none",
		"labels out in none":   "labels: can not read: none",
		"labels out .":         "labels: can not read: .",
		"labels none/out in":   "labels: can not write: none/out",
		"labels . in":          "labels: can not write: .",
		"labels /dev/full in":  "labels: can not write: /dev/full",
		"labels out /dev/zero": "labels: too big: /dev/zero",
		"asm":                  "asm: usage: asm OUT IN...",
		"asm out":              "asm: usage: asm OUT IN...",
		"asm out in none":      "asm: can not read: none",
		"asm out .":            "asm: can not read: .",
		"asm none/out in":      "asm: can not write: none/out",
		"asm /dev/full in":     "asm: can not write: /dev/full",
		"asm out /dev/zero":    "asm: too big: /dev/zero",
		"cca":                  "cca: usage: cca OUT IN...",
		"cca out":              "cca: usage: cca OUT IN...",
		"cca out none":         "cca: can not read: none",
		"cca out in.c none":    "cca: can not read: none",
		"cca out .":            "cca: can not read: .",
		"cca none/out in.c":    "cca: can not write: none/out",
		"cca . in.c":           "cca: can not write: .",
		"cca /dev/full in.c":   "cca: can not write: /dev/full",
		"cca out /dev/zero":    "cca: too big: /dev/zero",
	} {
		argv := strings.Fields(args)
		status, stdout, stderr := program(t, dir, nil, argv[0], argv[1:]...)
		if message != "" {
			message += "\n"
		}
		if status == 0 || stdout != "" || stderr != message {
			t.Errorf("%s: status %d, %q; want %q", args, status, stderr, message)
		}
	}
}

func TestSame(t *testing.T) {
	needChain(t)
	dir := t.TempDir()
	long := bytes.Repeat([]byte("abc"), 1000)
	write(t, dir, "empty", nil)
	write(t, dir, "a", long)
	write(t, dir, "b", long)
	write(t, dir, "shorter", long[:2999])
	write(t, dir, "other", append(long[:2999:2999], 'd'))
	for args, want := range map[string]int{
		"a a": 0, "a b": 0, "empty empty": 0,
		"a shorter": 1, "shorter a": 1, "a other": 1, "a empty": 1, "empty a": 1,
		"a none": 2, "none a": 2, "a .": 2,
	} {
		status, _, stderr := program(t, dir, nil, "same", strings.Fields(args)...)
		if status != want || (stderr == "same: files differ\n") != (want == 1) {
			t.Errorf("same %s: status %d, %q; want %d", args, status, stderr, want)
		}
	}
}

// TestSizesInDocs: the table of docs/seed-chain.md says how long the texts and
// programs are.
func TestSizesInDocs(t *testing.T) {
	needChain(t)
	row := regexp.MustCompile("(?m)^\\| `(\\w+)`.*`(stages/\\S+)` \\| (\\d+) \\| (\\d+) \\|$")
	rows := row.FindAllStringSubmatch(string(read(t, "../docs/seed-chain.md")), -1)
	if len(rows) != 7 {
		t.Errorf("%d rows, want 7", len(rows))
	}
	for _, r := range rows {
		lines := bytes.Count(read(t, filepath.Join("..", r[2])), []byte("\n"))
		size := len(read(t, filepath.Join(bin, r[1])))
		if r[3] != strconv.Itoa(lines) || r[4] != strconv.Itoa(size) {
			t.Errorf("%s: %d lines, %d bytes", r[0], lines, size)
		}
	}
}

// TestHello: the program that "rebuild init" gives to start from has a mnemonic of
// its own, which the table must not have.
func TestHello(t *testing.T) {
	needChain(t)
	dir := t.TempDir()
	args := []string{filepath.Join(dir, "hello")}
	for _, text := range []string{amd64Text, elfText, "../cmd/rebuild/hello/hello/src/hello.asm"} {
		path, err := filepath.Abs(text)
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	if status, _, stderr := program(t, dir, nil, "asm", args...); status != 0 {
		t.Fatalf("status %d, %q", status, stderr)
	}
	if out, err := exec.Command(args[0]).Output(); err != nil || string(out) != "hello\n" {
		t.Errorf("%q, %v", out, err)
	}
}

// TestHeaders reads every program's headers with another reader than Linux.
func TestHeaders(t *testing.T) {
	needChain(t)
	for _, name := range []string{"hex0", "same", "labels", "asm", "sha256sum", "cca"} {
		f, err := elf.Open(filepath.Join(bin, name))
		if err != nil {
			t.Fatal(name, err)
		}
		defer f.Close()
		h := f.FileHeader
		if h.Class != elf.ELFCLASS64 || h.Data != elf.ELFDATA2LSB || h.OSABI != elf.ELFOSABI_NONE ||
			h.Type != elf.ET_EXEC || h.Machine != elf.EM_X86_64 || len(f.Sections) != 0 || len(f.Progs) != 1 {
			t.Errorf("%s: %+v", name, h)
			continue
		}
		size := uint64(len(read(t, filepath.Join(bin, name))))
		p := f.Progs[0].ProgHeader
		if p.Type != elf.PT_LOAD || p.Flags != elf.PF_R|elf.PF_W|elf.PF_X || p.Off != 0 || p.Vaddr != base || p.Paddr != base ||
			p.Filesz != size || p.Memsz < size || p.Align != 0x1000 || h.Entry < base+64+56 || h.Entry >= base+size {
			t.Errorf("%s: %d bytes, entry 0x%x, %+v", name, size, h.Entry, p)
		}
	}
}
