package bootstrap

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What the stage tcc does is done here from other starts, too. The source is the
// archive that stages/tcc/stage.toml names by digest; REBUILD_TCC_SOURCE says where
// it is.

// tccRoom is a folder laid out like the stage: libc, tools, src, hex0, work, out.
type tccRoom struct{ dir string }

func newTccRoom(t *testing.T) *tccRoom {
	t.Helper()
	needChain(t)
	archive := os.Getenv("REBUILD_TCC_SOURCE")
	if archive == "" {
		t.Skip("needs REBUILD_TCC_SOURCE, the archive that stages/tcc/stage.toml names")
	}
	r := &tccRoom{t.TempDir()}
	for _, dir := range []string{"tools", "src", "hex0", "work", "out"} {
		must(0, os.Mkdir(r.path(dir), 0o755))
	}
	must(0, os.CopyFS(r.path("libc"), os.DirFS(libcSource)))
	for _, f := range glob(t, "../stages/tcc/src/*") {
		write(t, r.dir, "src/"+filepath.Base(f), r.inside(read(t, f)))
	}
	write(t, r.dir, "src/tcc.tar.bz2", read(t, archive))
	for _, name := range []string{"ar", "bunzip2", "cp", "mkdir", "run", "untar"} {
		must(0, os.Link(tool(t, name)[0], r.path("tools/"+name)))
	}
	must(0, os.Link(filepath.Join(bin, "same"), r.path("hex0/same")))
	host(t, r.path("src"), r.path("tools/bunzip2"), "tcc.tar.bz2", "tcc.tar")
	host(t, r.path("src"), r.path("tools/untar"), "tcc.tar", "tcc")
	return r
}

func (r *tccRoom) path(name string) string { return filepath.Join(r.dir, name) }

// inside puts the stage's places into this room.
func (r *tccRoom) inside(list []byte) []byte {
	var pairs []string
	for _, place := range []string{"/tools/", "/src/", "/src ", "/hex0/", "/libc/", "/out/", "/start/"} {
		pairs = append(pairs, place, r.dir+place)
	}
	text := strings.ReplaceAll(string(list), "-I/src -I../tcc", "-I/src/ -I../tcc")
	return []byte(strings.NewReplacer(pairs...).Replace(text))
}

// startWith replaces compiler B by another start: a tcc that is already there.
func startWith(list []byte) []byte {
	var out []string
	skip := false
	for _, line := range strings.Split(string(list), "\n") {
		if strings.HasPrefix(line, "/ccb/ccb ") {
			out, skip = append(out, "/tools/cp /start/tcc 0/tcc"), true
			continue
		}
		if skip = skip && strings.HasPrefix(line, " "); !skip {
			out = append(out, line)
		}
	}
	return []byte(strings.Join(out, "\n"))
}

// build runs the stage's commands with the start and gives the tree that comes out.
func (r *tccRoom) build(t *testing.T, start string) map[string][]byte {
	t.Helper()
	for _, dir := range []string{"work", "out", "start"} {
		must(0, os.RemoveAll(r.path(dir)))
		must(0, os.Mkdir(r.path(dir), 0o755))
	}
	must(0, os.Link(start, r.path("start/tcc")))
	write(t, r.dir, "tcc.run", r.inside(startWith(read(t, "../stages/tcc/src/tcc.run"))))
	host(t, r.path("work"), r.path("tools/run"), r.path("tcc.run"))
	tree := map[string][]byte{}
	for _, name := range []string{"bin/tcc", "lib/tcc/libtcc1.a", "usr/lib/libc.a", "usr/lib/crt1.o"} {
		tree[name] = read(t, r.path("out/"+name))
	}
	return tree
}

// gccStart is tcc as gcc builds it with the host's library.
func (r *tccRoom) gccStart(t *testing.T, name string, args ...string) string {
	t.Helper()
	out := r.path("start-" + name)
	host(t, r.path("src/tcc"), "gcc", append(append([]string{"-w", "-I..", "-DONE_SOURCE=1", "-DTCC_TARGET_X86_64", "-DCONFIG_TCC_STATIC", "-o", out}, args...), "tcc.c")...)
	return out
}

// underflowing is a start whose strtold loses the least numbers, as that of a tcc
// does that was built with a library in which they got lost before.
const underflowing = `
	#include <stdlib.h>
	long double underflowing(const char *text, char **end)
	{
		long double x = strtold(text, end);
		return x < 6.7242062862241870125e-4932L && x > -6.7242062862241870125e-4932L ? 0 : x;
	}`

// TestTccStarts: whatever the first tcc was built by, the last one is the same.
func TestTccStarts(t *testing.T) {
	r := newTccRoom(t)
	want := r.build(t, r.gccStart(t, "O0", "-O0"))
	starts := map[string]string{}
	for _, name := range []string{"O1", "O2", "Os"} {
		starts[name] = r.gccStart(t, name, "-"+name)
	}
	if compilerB() != "" {
		starts["B"] = r.path("start-b")
		ccB(t, starts["B"], "-I", r.path("src"), "-I", r.path("src/tcc"), "-D", "ONE_SOURCE=1", "-D", "TCC_TARGET_X86_64", "-D", "CONFIG_TCC_STATIC", r.path("src/tcc/tcc.c"))
	}
	for name, start := range starts {
		got := r.build(t, start)
		for file := range want {
			if !bytes.Equal(got[file], want[file]) {
				t.Errorf("%s: %s differs from what the start O0 gives", name, file)
			}
		}
	}
}

// TestTccLostConstant plants the one miscompilation of tcc that keeps itself alive,
// and finds it by comparing two starts.
func TestTccLostConstant(t *testing.T) {
	r := newTccRoom(t)
	write(t, r.dir, "src/underflowing.c", []byte(underflowing))
	host(t, r.path("src"), "gcc", "-c", "-o", "underflowing.o", "underflowing.c")
	good := r.gccStart(t, "good", "-O1")
	bad := r.gccStart(t, "bad", "-O1", "-Dstrtold=underflowing", r.path("src/underflowing.o"))

	// The chain's library does not compute with constants: the next tcc is well.
	healed := r.build(t, bad)
	for file, b := range r.build(t, good) {
		if !bytes.Equal(healed[file], b) {
			t.Errorf("%s depends on the start", file)
		}
	}

	// With a library that does, it stays ill, and each tcc builds its equal: that
	// alone shows nothing.
	float := string(read(t, r.path("libc/float.c")))
	naive := strings.Replace(float, "long double strtold(", "static long double exact(", 1)
	if naive == float {
		t.Fatal("float.c has no strtold")
	}
	write(t, r.dir, "libc/float.c", append([]byte(naive), read(t, "testdata/libc/naive-strtold.c")...))
	write(t, r.dir, "src/first.c", bytes.Replace(read(t, r.path("src/first.c")), []byte("return 3;"), []byte("return 0;"), 1))
	ill := r.build(t, bad)
	must(0, os.Rename(r.path("out"), r.path("ill")))
	well := r.build(t, good)
	if bytes.Equal(ill["bin/tcc"], well["bin/tcc"]) {
		t.Fatal("both starts give the same tcc")
	}
	cmd := exec.Command("../scripts/compare-starts.sh", r.path("ill/bin/tcc"), r.path("out/bin/tcc"), "-nostdinc", "-I"+r.path("libc/include"), "--",
		r.path("libc/stdio.c"), r.path("libc/float.c"), r.path("libc/printf.c"))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || string(out) != r.path("libc/float.c")+": least \n" {
		t.Errorf("%v: %s", err, out)
	}
}

// notForUs are programs of tcc's suite that want what the chain does not have.
var notForUs = map[string]string{
	"22_floating_point": "sin and the like", "24_math_library": "sin and the like",
	"31_args": "arguments", "46_grep": "arguments", "104_inline": "a second file",
	"34_array_assignment": "not C; tcc's own Makefile leaves it out", "73_arm64": "another machine", "99_fastcall": "32 bits",
	"60_errors_and_warnings": "many runs", "96_nodata_wanted": "many runs",
	"97_utf8_string_literal": "wide characters", "106_pthread": "threads", "117_gcc_test": "mmap",
	"108_constructor": "functions before main", "112_backtrace": "-b", "113_btdll": "shared libraries",
	"114_bound_signal": "-b", "116_bound_setjmp2": "-b",
}

// TestTccSuite runs tcc's own test programs with the tcc and the C library that come
// out of the stage.
func TestTccSuite(t *testing.T) {
	r := newTccRoom(t)
	r.build(t, r.gccStart(t, "O1", "-O1"))
	dir := r.path("src/tcc/tests/tests2")
	library := r.path("out/usr/lib/libc.a")
	passed := 0
	for _, expect := range glob(t, dir+"/*.expect") {
		name := strings.TrimSuffix(filepath.Base(expect), ".expect")
		if _, err := os.Stat(filepath.Join(dir, name+".c")); err != nil || notForUs[name] != "" {
			continue
		}
		var out []byte
		for _, args := range [][]string{
			{r.path("out/bin/tcc"), "-nostdinc", "-I" + r.path("out/lib/tcc/include"), "-I" + r.path("out/usr/include"), "-c", "-o", name + ".o", name + ".c"},
			{r.path("out/bin/tcc"), "-nostdlib", "-static", "-o", name + ".exe", r.path("out/usr/lib/crt1.o"), name + ".o", library, r.path("out/lib/tcc/libtcc1.a"), library},
			{"./" + name + ".exe"},
		} {
			cmd := exec.Command(args[0], args[1:]...)
			cmd.Dir = dir
			said, err := cmd.CombinedOutput()
			out = append(out, said...)
			if err != nil && len(said) == 0 && args[0] != "./"+name+".exe" {
				t.Errorf("%s: %v", name, err)
			}
		}
		// As diff -b: blanks at the ends of lines do not count.
		same := func(b []byte) string {
			return strings.Join(strings.Fields(strings.ReplaceAll(string(b), "\n", " | ")), " ")
		}
		if strings.TrimRight(same(out), " |") != strings.TrimRight(same(read(t, expect)), " |") {
			t.Errorf("%s: %.300q", name, out)
		} else {
			passed++
		}
	}
	if passed < 89 {
		t.Errorf("%d programs passed; there were 89", passed)
	}
}
