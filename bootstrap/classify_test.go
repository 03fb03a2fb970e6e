package bootstrap

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"rebuild/store"
)

// machineCode is an ELF file as far as anyone here looks.
func machineCode(tag string) []byte { return []byte("\x7fELF\x02\x01\x01\x00" + tag) }

type named struct{ name, content string }

// must is for writers into memory, which do not fail.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func tarOf(files ...named) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		must(0, w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.content))}))
		must(io.WriteString(w, f.content))
	}
	must(0, w.Close())
	return out.Bytes()
}

func zipOf(files ...named) []byte {
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range files {
		must(io.WriteString(must(w.Create(f.name)), f.content))
	}
	must(0, w.Close())
	return out.Bytes()
}

func arOf(files ...named) []byte {
	out := []byte("!<arch>\n")
	for _, f := range files {
		out = fmt.Appendf(out, "%-16s%-12d%-6d%-6d%-8o%-10d`\n%s", f.name, 0, 0, 0, 0o644, len(f.content), f.content)
		if len(f.content)%2 == 1 {
			out = append(out, '\n')
		}
	}
	return out
}

func written(w io.WriteCloser, out *bytes.Buffer, content []byte) []byte {
	must(w.Write(content))
	must(0, w.Close())
	return out.Bytes()
}

func gzipOf(content []byte) []byte {
	var out bytes.Buffer
	return written(gzip.NewWriter(&out), &out, content)
}

func zstdOf(content []byte) []byte {
	var out bytes.Buffer
	return written(must(zstd.NewWriter(&out)), &out, content)
}

// xzOf writes at least four blocks, with a small dictionary.
func xzOf(content []byte) []byte {
	var out bytes.Buffer
	config := xz.WriterConfig{BlockSize: int64(len(content)/4 + 1), DictCap: 64 << 10}
	return written(must(config.NewWriter(&out)), &out, content)
}

// bzip2OfELF is what bzip2 makes of "\x7fELF in bzip2\n".
var bzip2OfELF = must(hex.DecodeString("425a6839314159265359ad8a5fa4000006dd80001040001000030410214010a000310340d02268c347aa754e0926060f8bb9229c284856c52fd200"))

func judge(t testing.TB, name string, content []byte, l Limits) []File {
	t.Helper()
	var out []File
	err := classify(name, int64(len(content)), bytes.NewReader(content), l, func(f File) error {
		out = append(out, f)
		return nil
	})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return out
}

func TestClassifyByContent(t *testing.T) {
	aout := make([]byte, 64)
	copy(aout, "\x0b\x01\x64\x00\x10\x00\x00\x00\x08\x00\x00\x00")
	for name, test := range map[string]struct {
		content string
		class   Class
		format  string
	}{
		"empty":                   {"", Text, ""},
		"plain text":              {"hello\tworld\r\n\f\v", Text, ""},
		"latin-1":                 {"caf\xe9\n", Text, ""},
		"script":                  {"#!/bin/sh\nexit 0\n", Text, ""},
		"a NUL":                   {"hello\x00", Data, ""},
		"an escape":               {"hello\x1b[0m", Data, ""},
		"NUL far behind":          {strings.Repeat("x", 100_000) + "\x00", Data, ""},
		"image":                   {"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", Data, ""},
		"ELF":                     {string(machineCode("")), Code, "ELF"},
		"ELF magic alone":         {"\x7fELF", Code, "ELF"},
		"ELF in the middle":       {"text \x7fELF", Data, ""},
		"PE":                      {"MZ\x90\x00\x03\x00\x00\x00\x04\x00\x00\x00\xff\xff\x00\x00", Code, "PE"},
		"text that starts as PE":  {"MZ is how executables of DOS start\n", Text, ""},
		"Mach-O":                  {"\xcf\xfa\xed\xfe\x07\x00\x00\x01", Code, "Mach-O"},
		"Mach-O, many":            {"\xca\xfe\xba\xbe\x00\x00\x00\x02", Code, "Java class or Mach-O"},
		"ar":                      {"!<arch>\n", Code, "ar"},
		"ar of text":              {string(arOf(named{"a.txt/", "text"})), Code, "ar"},
		"thin ar":                 {"!<thin>\n", Code, "thin ar"},
		"wasm":                    {"\x00asm\x01\x00\x00\x00", Code, "WebAssembly"},
		"dex":                     {"dex\n035\x00", Code, "dex"},
		"bitcode":                 {"BC\xc0\xde\x35\x14", Code, "LLVM bitcode"},
		"Lua":                     {"\x1bLuaS\x00", Code, "Lua bytecode"},
		"pyc":                     {"\xcb\r\r\n\x00\x00\x00\x00abcdefgh", Code, "Python bytecode"},
		"a.out":                   {string(aout), Code, "a.out"},
		"a.out with no room":      {string(aout[:32]), Code, "a.out"}, // 24 bytes of segments fit
		"a.out, cut":              {string(aout[:31]), Data, ""},
		"damaged gzip":            {"\x1f\x8b\x08 no deflate here", Data, "gzip"},
		"damaged bzip2":           {"BZh91AY&SY\x00\x00", Data, "bzip2"},
		"text that starts as bz2": {"BZh is the magic of bzip2\n", Text, ""},
		"damaged zip":             {"PK\x03\x04\x00", Data, "zip"},
		"damaged xz":              {"\xfd7zXZ\x00" + "\x00\x04", Data, "xz"},
		"damaged zstd":            {"\x28\xb5\x2f\xfd\xff", Data, "zstd"},
	} {
		files := judge(t, "f", []byte(test.content), DefaultLimits)
		f := files[len(files)-1]
		if f.Class != test.class || f.Format != test.format {
			t.Errorf("%s: got %s %q, want %s %q", name, f.Class, f.Format, test.class, test.format)
		}
		if f.Size != int64(len(test.content)) || f.Digest != store.DigestOf([]byte(test.content)) {
			t.Errorf("%s: %d bytes, %s", name, f.Size, f.Digest)
		}
	}
}

// What would go wrong: code hides where the judge does not look.
func TestClassifyOpensArchives(t *testing.T) {
	code := string(machineCode("hidden"))
	want := store.DigestOf([]byte(code))
	for name, test := range map[string]struct {
		content []byte
		path    string
	}{
		"tar":            {tarOf(named{"a/b", code}), "f!a/b"},
		"old tar":        {oldTar(code), "f!x"},
		"tar in tar":     {tarOf(named{"in.tar", string(tarOf(named{"b", code}))}), "f!in.tar!b"},
		"tar.gz":         {gzipOf(tarOf(named{"b", code})), "f!!b"},
		"tar.gz in tar":  {tarOf(named{"p.tgz", string(gzipOf(tarOf(named{"b", code})))}), "f!p.tgz!!b"},
		"gz":             {gzipOf([]byte(code)), "f!"},
		"two gz members": {append(gzipOf([]byte("\x7fE")), gzipOf([]byte(code[2:]))...), "f!"},
		"xz":             {xzOf([]byte(code)), "f!"},
		"two xz streams": {append(append(xzOf([]byte("\x7fE")), 0, 0, 0, 0), xzOf([]byte(code[2:]))...), "f!"},
		"zstd":           {zstdOf([]byte(code)), "f!"},
		"zip":            {zipOf(named{"d/", ""}, named{"a/b", code}), "f!a/b"},
		"zip in xz":      {xzOf(zipOf(named{"b", code})), "f!!b"},
		"ar":             {arOf(named{"/", "\x00"}, named{"x.o/", code}), "f!x.o"},
		"ar, BSD name":   {arOf(named{"#1/8", "long.o\x00\x00" + code}), "f!long.o"},
		"tar in ar":      {arOf(named{"d.tar", string(tarOf(named{"b", code}))}), "f!d.tar!b"},
		"name with !":    {tarOf(named{"a!b", code}), "f!a!b"},
	} {
		i := slices.IndexFunc(judge(t, "f", test.content, DefaultLimits), func(f File) bool {
			return f.Class == Code && f.Path == test.path && f.Digest == want
		})
		if i < 0 {
			t.Errorf("%s: %s is not found: %v", name, test.path, judge(t, "f", test.content, DefaultLimits))
		}
	}
	files := judge(t, "f", bzip2OfELF, DefaultLimits)
	if len(files) != 2 || files[0].Class != Code || files[0].Path != "f!" || files[1].Class != Archive {
		t.Errorf("bzip2: %v", files)
	}
}

// oldTar is a tar file from before "ustar".
func oldTar(content string) []byte {
	b := tarOf(named{"x", content})
	copy(b[257:], make([]byte, 255))
	copy(b[148:], "        ")
	sum := 0
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

func TestClassifyLargeXZ(t *testing.T) {
	content := append(bytes.Repeat([]byte("many blocks "), 1000), machineCode("")...)
	files := judge(t, "f", xzOf(content), DefaultLimits)
	if len(files) != 2 || files[0].Digest != store.DigestOf(content) || files[1].Class != Archive {
		t.Errorf("%v", files)
	}
}

// What would go wrong: an archive whose members are clean passes as clean
// although it holds something else, or more than was looked at.
func TestClassifyArchiveThatIsNotUnderstoodIsData(t *testing.T) {
	text := named{"a", "text"}
	vendor := tarOf(text)
	vendor[156] = 'Z' // a type that nobody knows
	fixChecksum(vendor)
	zeros := make([]byte, 1<<20)
	small := DefaultLimits
	small.Floor, small.Members = 100_000, 10
	for name, test := range map[string]struct {
		content []byte
		limits  Limits
	}{
		"behind a tar":    {append(tarOf(text), "more"...), DefaultLimits},
		"behind a gzip":   {append(gzipOf([]byte("text")), "more"...), DefaultLimits},
		"behind an xz":    {append(xzOf([]byte("text")), "more"...), DefaultLimits},
		"before a zip":    {prefixed(zipOf(text)), DefaultLimits},
		"cut tar":         {tarOf(text)[:512+2], DefaultLimits},
		"cut gzip":        {gzipOf(zeros)[:500], DefaultLimits},
		"unknown type":    {vendor, DefaultLimits},
		"gzip bomb":       {gzipOf(zeros), small},
		"xz bomb":         {xzOf(zeros), small},
		"xz dictionary":   {xzDict(31), DefaultLimits}, // 128 MiB is 30
		"zstd bomb":       {zstdOf(zeros), small},
		"zip bomb":        {zipOf(named{"z", string(zeros)}), small},
		"gzip in gzip":    {gzipOf(gzipOf(zeros)), small},
		"many in a tar":   {tarOf(slices.Repeat([]named{text}, 11)...), small},
		"many empty":      {tarOf(slices.Repeat([]named{{"d/", ""}}, 11)...), small},
		"many in a zip":   {zipOf(slices.Repeat([]named{text}, 11)...), small},
		"sparse tar bomb": {sparse(1 << 40), small},
	} {
		files := judge(t, "f", test.content, test.limits)
		if f := files[len(files)-1]; f.Class != Data || f.Path != "f" || f.Size != int64(len(test.content)) {
			t.Errorf("%s: %+v", name, f)
		}
		if len(files) > 40 {
			t.Errorf("%s: %d files", name, len(files))
		}
	}
}

func TestClassifyTooDeep(t *testing.T) {
	deep := []byte("text")
	for range DefaultLimits.Depth + 1 {
		deep = gzipOf(deep)
	}
	files := judge(t, "f", deep, DefaultLimits)
	if len(files) != DefaultLimits.Depth+1 || files[0].Class != Data || files[1].Class != Archive {
		t.Errorf("%v", files)
	}
	if files = judge(t, "f", unzipped(deep), DefaultLimits); files[0].Class != Text {
		t.Errorf("%v", files)
	}
}

// unzipped takes one gzip layer off.
func unzipped(b []byte) []byte { return must(io.ReadAll(must(gzip.NewReader(bytes.NewReader(b))))) }

func fixChecksum(header []byte) {
	copy(header[148:], "        ")
	sum := 0
	for _, c := range header[:512] {
		sum += int(c)
	}
	copy(header[148:], fmt.Sprintf("%06o\x00 ", sum))
}

// prefixed hides 10 kB between a zip file's first header and its members, as
// far as the directory at the end tells.
func prefixed(b []byte) []byte {
	return append(append([]byte("PK\x03\x04"), make([]byte, 10_000)...), b...)
}

// xzDict is the start of an xz stream that asks for a dictionary.
func xzDict(bits byte) []byte {
	b := xzOf([]byte("text"))
	i := bytes.Index(b, []byte{0x21, 1})
	b[i+2] = bits
	return b
}

// sparse is a GNU sparse file of n zeros, in 1 kB.
func sparse(n int64) []byte {
	b := make([]byte, 512)
	copy(b, "hole")
	copy(b[100:], "0000644\x000000000\x000000000\x0000000000000\x0000000000000\x00")
	b[156] = tar.TypeGNUSparse
	copy(b[257:], "ustar  \x00")
	copy(b[386:], fmt.Sprintf("%011o\x00%011o\x00", 0, 0))
	b[483] = 0x80 // base 256
	for i := range 8 {
		b[483+11-i] = byte(n >> (8 * i))
	}
	fixChecksum(b)
	return append(b, make([]byte, 1024)...)
}

func TestClassifyArArchiveStaysCode(t *testing.T) {
	for name, content := range map[string][]byte{
		"cut":           arOf(named{"x.o/", string(machineCode(""))})[:40],
		"negative size": []byte("!<arch>\n" + fmt.Sprintf("%-48s%-10d`\n", "x.o", -5)),
		"long name":     []byte("!<arch>\n" + fmt.Sprintf("%-48s%-10d`\n", "#1/99", 5)),
		"garbage":       []byte("!<arch>\ngarbage"),
	} {
		files := judge(t, "f", content, DefaultLimits)
		if f := files[len(files)-1]; f.Class != Code || f.Format != "ar" {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestClassifyPregenerated(t *testing.T) {
	for name, test := range map[string]struct {
		content string
		want    bool
	}{
		"src/main.c":         {"int main(void) { return 0; }\n", false},
		"configure":          {"#!/bin/sh\n", true},
		"gcc/c-parse.tab.c":  {"int x;\n", true},
		"p.tar!gcc/y.tab.h":  {"int x;\n", true},
		"src/tables.h":       {"/* Automatically generated from tables.def */\n", true},
		"src/other.h":        {"/* Generated by a program */\n", true},
		"src/far.h":          {strings.Repeat("\n", headSize) + "generated by", false},
		"src/mentions.c":     {"/* a degenerated bypass */\n", false},
		"binary/configure":   {"\x00", false},
		"reconfigure":        {"#!/bin/sh\n", false},
		"pkg/ltmain.sh":      {"", true},
		"pkg.tar!configure!": {"", false},
	} {
		if got := judge(t, name, []byte(test.content), DefaultLimits)[0].Pregenerated; got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// What would go wrong: a file that could not be read passes as a short one.
func TestClassifyPassesOnReadErrors(t *testing.T) {
	broken := errors.New("broken disk")
	for name, content := range map[string][]byte{
		"text": []byte("text"), "code": machineCode(""), "tar.gz": gzipOf(tarOf(named{"a", "text"})), "zip": zipOf(named{"a", "b"}),
		"ar": arOf(named{"x.o/", "code"}), "xz": xzOf([]byte("text")),
	} {
		for cut := range content {
			r := io.MultiReader(bytes.NewReader(content[:cut]), iotest.ErrReader(broken))
			err := classify("f", int64(len(content)), r, DefaultLimits, func(File) error { return nil })
			if !errors.Is(err, broken) {
				t.Fatalf("%s, cut at %d: %v", name, cut, err)
			}
		}
	}
	full := errors.New("full")
	err := classify("f", 0, bytes.NewReader(tarOf(named{"a", ""}, named{"b", ""})), DefaultLimits, func(File) error { return full })
	if err != full {
		t.Errorf("%v", err)
	}
}

// A file is judged the same however its bytes arrive, is always the last and
// is hashed as it is; nothing unpacks more than the limits allow.
func FuzzClassify(f *testing.F) {
	code := string(machineCode("x"))
	for _, seed := range [][]byte{
		nil, []byte("text"), machineCode(""), tarOf(named{"a", code}), gzipOf([]byte(code)), xzOf([]byte(code)), zstdOf([]byte(code)),
		bzip2OfELF, zipOf(named{"a", code}), arOf(named{"x.o/", code}), arOf(named{"#1/4", "x.o\x00" + code}),
		gzipOf(tarOf(named{"p.zip", string(zipOf(named{"b", code}))})), sparse(1 << 30), xzDict(40), oldTar(code),
	} {
		f.Add(seed)
	}
	limits := Limits{Depth: 4, Members: 100, Floor: 1 << 20, Ratio: 10, Bytes: 4 << 20}
	f.Fuzz(func(t *testing.T, content []byte) {
		files := judge(t, "f", content, limits)
		last := files[len(files)-1]
		if last.Path != "f" || last.Digest != store.DigestOf(content) || last.Size != int64(len(content)) {
			t.Fatalf("%+v", last)
		}
		var unpacked int64
		for _, f := range files[:len(files)-1] {
			unpacked += f.Size
		}
		if most := max(limits.Floor, 10*int64(len(content))); unpacked > most || len(files) > limits.Members+1 {
			t.Fatalf("%d files of %d bytes", len(files), unpacked)
		}
		var again []File
		err := classify("f", int64(len(content)), iotest.OneByteReader(bytes.NewReader(content)), limits, func(f File) error {
			again = append(again, f)
			return nil
		})
		if err != nil || !slices.Equal(files, again) {
			t.Fatalf("%v\n%v\n%v", err, files, again)
		}
	})
}

func BenchmarkClassifyTree(b *testing.B) {
	var files []named
	for i := range 2000 {
		files = append(files, named{fmt.Sprint("src/", i, ".c"), strings.Repeat("int x;\n", 700)})
	}
	content := gzipOf(tarOf(files...))
	b.SetBytes(int64(2000 * 4900))
	for b.Loop() {
		judge(b, "f", content, DefaultLimits)
	}
}

// classify judges one file with a scanner of its own.
func classify(name string, size int64, r io.Reader, l Limits, visit func(File) error) error {
	s := &scanner{limits: l, visit: visit}
	return s.classify(name, size, r)
}
