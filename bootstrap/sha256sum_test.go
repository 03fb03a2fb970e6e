package bootstrap

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"
)

// noise returns n bytes that look random and are the same in every run.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

func sumLine(content []byte, name string) string {
	return fmt.Sprintf("%x  %s\n", sha256.Sum256(content), name)
}

// TestSum compares with crypto/sha256 for every length around the padding of
// the first blocks, around the 64 KiB that are read at once, and some MiB.
func TestSum(t *testing.T) {
	dir := t.TempDir()
	data := noise(5<<20 + 1)
	lengths := []int{1<<16 - 73, 1<<16 - 64, 1<<16 - 9, 1<<16 - 8, 1<<16 - 1, 1 << 16, 1<<16 + 1, 1<<17 - 1, 1 << 17, 5 << 20, 5<<20 + 1}
	for n := range 301 {
		lengths = append(lengths, n)
	}
	var names []string
	var want strings.Builder
	for _, n := range lengths {
		name := strconv.Itoa(n)
		write(t, dir, name, data[:n])
		names = append(names, name)
		want.WriteString(sumLine(data[:n], name))
	}
	status, stdout, stderr := program(t, dir, nil, "sha256sum", names...)
	if status != 0 || stderr != "" || stdout != want.String() {
		t.Errorf("status %d, %q, got\n%s\nwant\n%s", status, stderr, stdout, want.String())
	}
	write(t, dir, "list", []byte(want.String()))
	status, stdout, stderr = program(t, dir, nil, "sha256sum", "-c", "list")
	if status != 0 || stderr != "" || stdout != strings.Join(names, ": OK\n")+": OK\n" {
		t.Errorf("-c: status %d, %q, %q", status, stderr, stdout)
	}
}

func TestSumArguments(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a", []byte("a"))
	write(t, dir, "name with blanks", []byte("b"))
	write(t, dir, "-c", []byte("c"))
	in := []byte("stdin")
	unread := func(name string) string { return "sha256sum: " + name + ": can not be read\n" }
	for _, test := range []struct {
		args           []string
		status         int
		stdout, stderr string
	}{
		{nil, 0, sumLine(in, "-"), ""},
		{[]string{"-"}, 0, sumLine(in, "-"), ""},
		{[]string{"a", "-", "-"}, 0, sumLine([]byte("a"), "a") + sumLine(in, "-") + sumLine(nil, "-"), ""}, // read to its end
		{[]string{"name with blanks", "./-c"}, 0, sumLine([]byte("b"), "name with blanks") + sumLine([]byte("c"), "./-c"), ""},
		{[]string{"a", "-c"}, 0, sumLine([]byte("a"), "a") + sumLine([]byte("c"), "-c"), ""},
		{[]string{"none", "a", "."}, 1, sumLine([]byte("a"), "a"), unread("none") + unread(".")},
		{[]string{""}, 1, "", unread("")},
		{[]string{strings.Repeat("x", 5000)}, 1, "", unread(strings.Repeat("x", 5000))},
	} {
		status, stdout, stderr := program(t, dir, in, "sha256sum", test.args...)
		if status != test.status || stdout != test.stdout || stderr != test.stderr {
			t.Errorf("%.80q: status %d, %q, %q", test.args, status, stdout, stderr)
		}
	}
}

func TestSumChecks(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a", []byte("a"))
	write(t, dir, "b b", []byte("b"))
	a, b := sumLine([]byte("a"), "a"), sumLine([]byte("b"), "b b")
	malformed := "sha256sum: list: not a list of digests\n"
	for _, test := range []struct {
		list           string
		status         int
		stdout, stderr string
	}{
		{a + b, 0, "a: OK\nb b: OK\n", ""},
		{strings.TrimSuffix(a, "\n"), 0, "a: OK\n", ""},
		{strings.ToUpper(a[:64]) + a[64:], 0, "a: OK\n", ""},
		{strings.Replace(a, "  ", " *", 1), 0, "a: OK\n", ""},
		{sumLine([]byte("b"), "a") + b, 1, "a: FAILED\nb b: OK\n", ""},
		{sumLine([]byte("x"), "none") + a, 1, "a: OK\n", "sha256sum: none: can not be read\n"},
		{"", 1, "", malformed},
		{"\n", 1, "", malformed},
		{a + "\n", 1, "a: OK\n", malformed},
		{"# a comment\n" + a, 1, "a: OK\n", malformed},
		{a[:66] + "\n", 1, "", malformed},
		{a[1:], 1, "", malformed},
		{strings.Replace(a, "  ", " -", 1), 1, "", malformed},
		{strings.Replace(a, "  ", "\t ", 1), 1, "", malformed},
	} {
		write(t, dir, "list", []byte(test.list))
		status, stdout, stderr := program(t, dir, nil, "sha256sum", "-c", "list")
		if status != test.status || stdout != test.stdout || stderr != test.stderr {
			t.Errorf("%q: status %d, %q, %q", test.list, status, stdout, stderr)
		}
	}
	if status, stdout, _ := program(t, dir, []byte(a), "sha256sum", "-c"); status != 0 || stdout != "a: OK\n" {
		t.Errorf("a list from standard input: status %d, %q", status, stdout)
	}
	if status, _, stderr := program(t, dir, nil, "sha256sum", "-c", "list", "none"); status != 1 || !strings.HasSuffix(stderr, "none: can not be read\n") {
		t.Errorf("no list: status %d, %q", status, stderr)
	}
	if status, _, _ := program(t, dir, nil, "sha256sum", "-c", "/dev/zero"); status != 1 {
		t.Errorf("an endless list: status %d", status)
	}
}

// TestSumChecksEveryDigit: no digit of a digest is left out of the comparison.
func TestSumChecksEveryDigit(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a", []byte("a"))
	line := sumLine([]byte("a"), "a")
	var list strings.Builder
	for i := range 64 {
		for _, flip := range []byte{0x01, 0x10, 0x20, 0x40, 0x80} {
			damaged := []byte(line)
			if damaged[i] ^= flip; damaged[i] != line[i]&^0x20 || line[i] < 'a' {
				list.Write(damaged)
			}
		}
	}
	write(t, dir, "list", []byte(list.String()))
	status, stdout, _ := program(t, dir, nil, "sha256sum", "-c", "list")
	if n := strings.Count(list.String(), "  a\n"); status != 1 || stdout != strings.Repeat("a: FAILED\n", n) {
		t.Errorf("status %d, %q", status, stdout)
	}
}

// TestSumShortReads: a pipe gives what it has, not what was asked for.
func TestSumShortReads(t *testing.T) {
	needChain(t)
	data := noise(200_000)
	cmd := exec.Command(filepath.Join(bin, "sha256sum"))
	var stdout bytes.Buffer
	cmd.Stdout = &stdout
	pipe, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{pipe}, iotest.HalfReader(struct{ io.Reader }{bytes.NewReader(data)}), make([]byte, 997)); err != nil {
		t.Error(err)
	}
	pipe.Close()
	if err := cmd.Wait(); err != nil || stdout.String() != sumLine(data, "-") {
		t.Errorf("%v, %q", err, stdout.String())
	}
}

// TestSumFullDisk: a digest that nobody got is an error.
func TestSumFullDisk(t *testing.T) {
	needChain(t)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("needs /dev/full: ", err)
	}
	defer full.Close()
	var stderr bytes.Buffer
	cmd := exec.Command(filepath.Join(bin, "sha256sum"))
	cmd.Stdout, cmd.Stderr = full, &stderr
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 1 || stderr.String() != "sha256sum: standard output: can not be written\n" {
		t.Errorf("%v, %q", err, stderr.String())
	}
}
