package bootstrap

import (
	"archive/tar"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// The tools are tested as gcc builds them with the chain's C library and with the
// host's under its sanitisers, and as compiler B builds them. Go's packages say
// what is right.

var toolBuilds sync.Map // from name and way to the program

// tool builds a tool and gives the programs, the sanitised one second.
func tool(t testing.TB, name string) []string {
	t.Helper()
	needChain(t)
	once, _ := toolBuilds.LoadOrStore(name, sync.OnceValue(func() []string {
		dir, err := os.MkdirTemp(bin, "tool")
		if err != nil {
			t.Fatal(err)
		}
		files := []string{absolute(t, "../stages/tools/src/"+name+".c"), absolute(t, "../stages/tools/src/tool.c")}
		chain, sanitised := filepath.Join(dir, name), filepath.Join(dir, name+"-sanitised")
		ccChain("-O1")(t, chain, files...)
		host(t, dir, "gcc", append([]string{"-std=gnu99", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-Wno-unused-result", "-g", "-O1",
			"-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-o", sanitised}, files...)...)
		programs := []string{chain, sanitised}
		if compilerB() != "" {
			programs = append(programs, chain+"-by-b")
			ccB(t, programs[2], files...)
		}
		return programs
	}))
	return once.(func() []string)()
}

// runTool runs a tool in dir and returns its status and what it said on stderr.
func runTool(t testing.TB, dir string, stdin []byte, program string, args ...string) (int, string, string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, bytes.NewReader(stdin), &stdout, &stderr
	// The kernel frees what is left.
	cmd.Env = []string{"ASAN_OPTIONS=detect_leaks=0"}
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	status := cmd.ProcessState.ExitCode()
	if status != 0 && status != 1 || strings.Contains(stderr.String(), "Sanitizer") || strings.Contains(stderr.String(), "runtime error") {
		t.Fatalf("%s %q: %v\n%s", program, args, err, stderr.String())
	}
	return status, stdout.String(), stderr.String()
}

// texts are contents of all kinds for compressors.
func texts(r *rand.Rand) [][]byte {
	random := noise(1 << 18)
	var words bytes.Buffer
	for words.Len() < 1<<20 {
		fmt.Fprintf(&words, "%s %d\n", []string{"mov", "call", "return", "struct", "if"}[r.IntN(5)], r.IntN(300))
	}
	long := make([]byte, 1<<20)
	all := [][]byte{nil, []byte("a"), []byte("hello, world\n"), bytes.Repeat([]byte("a"), 3), bytes.Repeat([]byte("a"), 4), bytes.Repeat([]byte("a"), 5),
		bytes.Repeat([]byte("a"), 258), bytes.Repeat([]byte("a"), 259), bytes.Repeat([]byte("a"), 260), bytes.Repeat([]byte("ab"), 40000), random, words.Bytes(), long,
		append(bytes.Repeat(random[:30000], 3), long...), random[:65535], random[:65536], random[:65537]}
	for range 30 {
		n, letters := r.IntN(3000), 1+r.IntN(255)
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.IntN(letters))
			if i > 0 && r.IntN(3) == 0 {
				b[i] = b[i-1]
			}
		}
		all = append(all, b)
	}
	return all
}

func gzipped(level int, b []byte) []byte {
	var out bytes.Buffer
	w := must(gzip.NewWriterLevel(&out, level))
	w.Name, w.Comment, w.Extra = "name", "about it", []byte("extra")
	must(w.Write(b))
	must(0, w.Close())
	return out.Bytes()
}

// sameAsGo gives in to the tool and compares with what Go's reader says: the same
// bytes, or an error of both and no output. The stricter errors are ours alone.
func sameAsGo(t *testing.T, programs []string, in []byte, reader func(io.Reader) (io.Reader, error), stricter ...string) {
	t.Helper()
	var want []byte
	r, wantErr := reader(bytes.NewReader(in))
	if wantErr == nil {
		want, wantErr = io.ReadAll(r)
	}
	dir := t.TempDir()
	write(t, dir, "in", in)
	for _, program := range programs {
		status, _, stderr := runTool(t, dir, nil, program, "in", "out")
		got, err := os.ReadFile(filepath.Join(dir, "out"))
		ours := slices.ContainsFunc(stricter, func(s string) bool { return strings.HasSuffix(stderr, s+"\n") })
		if (status != 0) != (wantErr != nil) && !ours {
			t.Errorf("%s: status %d, %q; Go: %v; input %.100x", program, status, stderr, wantErr, in)
		}
		if status == 0 && (err != nil || !bytes.Equal(got, want)) {
			t.Errorf("%s: wrong bytes or none, %v; input %.100x", program, err, in)
		}
		if status != 0 && err == nil {
			t.Errorf("%s: an output is left after %q", program, stderr)
		}
		os.Remove(filepath.Join(dir, "out"))
	}
}

// damage changes a few bits, cuts the end or adds to it.
func damage(r *rand.Rand, in []byte) []byte {
	b := bytes.Clone(in)
	switch r.IntN(8) {
	case 0:
		return b[:r.IntN(len(b))]
	case 1:
		return append(b, byte(r.IntN(256)))
	default:
		for range 1 + r.IntN(3) {
			b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		}
		return b
	}
}

func TestGunzip(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	reader := func(in io.Reader) (io.Reader, error) { return gzip.NewReader(in) }
	programs := tool(t, "gunzip")
	var small [][]byte
	for _, text := range texts(r) {
		for _, level := range []int{gzip.NoCompression, gzip.BestSpeed, gzip.BestCompression, gzip.HuffmanOnly} {
			in := gzipped(level, text)
			sameAsGo(t, programs, in, reader)
			if len(in) < 2000 {
				small = append(small, in)
			}
		}
	}
	sameAsGo(t, programs, append(gzipped(6, []byte("one, ")), gzipped(9, []byte("two"))...), reader)
	sameAsGo(t, programs, nil, func(io.Reader) (io.Reader, error) { return nil, io.ErrUnexpectedEOF })
	for range 400 {
		in := damage(r, small[r.IntN(len(small))])
		if len(in) > 9 {
			in[3] &= 0x1f // Go does not mind flags that do not exist
		}
		if len(in) == 0 {
			continue
		}
		sameAsGo(t, programs, in, reader)
	}
	// A header with a checksum, right and wrong.
	header := []byte("\x1f\x8b\x08\x02\x00\x00\x00\x00\x00\x03")
	body := gzipped(6, []byte("body"))[10+2+5+5+9:]
	for _, wrong := range []uint16{0, 1} {
		in := binary.LittleEndian.AppendUint16(bytes.Clone(header), uint16(crc32.ChecksumIEEE(header))^wrong)
		sameAsGo(t, programs, append(in, body...), reader)
	}
	// Blocks and codes that do not exist, in deflate's own bits: Go must think so
	// too. Among them: a block of kind 3, lengths and distances that have no
	// meaning, too many code words, a distance before the beginning.
	for range 600 {
		in := append([]byte("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"), noiseFrom(r, 1+r.IntN(60))...)
		sameAsGo(t, programs[1:], in, reader)
	}
	for text, want := range map[string]string{
		"":                            "the file ends too early",
		"plain text":                  "this is not a gzip file",
		"\x1f\x8b\x07":                "a method of compression that does not exist",
		"\x1f\x8b\x08\x20":            "a flag that does not exist",
		string(header[:3]) + "\x00":   "the file ends too early",
		string(gzipped(6, nil)) + "x": "this is not a gzip file",
	} {
		dir := t.TempDir()
		write(t, dir, "in", []byte(text))
		for _, program := range programs {
			if status, _, stderr := runTool(t, dir, nil, program, "in", "out"); status != 1 || (stderr != "gunzip: in: "+want+"\n" && text != "") {
				t.Errorf("%q: %d, %q", text, status, stderr)
			}
		}
	}
	dir := t.TempDir()
	for _, program := range programs {
		status, stdout, _ := runTool(t, dir, gzipped(6, []byte("through pipes")), program, "-", "-")
		if status != 0 || stdout != "through pipes" {
			t.Errorf("%d, %q", status, stdout)
		}
	}
	usual(t, programs, "gunzip", gzipped(6, noise(100000)))
}

func noiseFrom(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// usual checks the mistakes that all decompressors have in common.
func usual(t *testing.T, programs []string, name string, in []byte) {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, "in", in)
	for _, program := range programs {
		for _, c := range []struct{ args, want string }{
			{"", "usage: " + name + " IN OUT"},
			{"in", "usage: " + name + " IN OUT"},
			{"in out more", "usage: " + name + " IN OUT"},
			{"none out", name + ": none: "},
			{"in no/folder", name + ": no/folder: "},
			{"in /dev/full", name + ": /dev/full: "},
			{". out", name + ": .: "},
		} {
			if status, _, stderr := runTool(t, dir, nil, program, strings.Fields(c.args)...); status != 1 || !strings.HasPrefix(stderr, c.want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("%s %s: %d, %q", name, c.args, status, stderr)
			}
		}
	}
}

func TestBunzip2(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	reader := func(in io.Reader) (io.Reader, error) { return bzip2.NewReader(in), nil }
	programs := tool(t, "bunzip2")
	var small [][]byte
	for i, text := range texts(r) {
		in := bzipped(t, i%9+1, text)
		if got, err := io.ReadAll(bzip2.NewReader(bytes.NewReader(in))); err != nil || !bytes.Equal(got, text) {
			t.Fatalf("text %d: %v", i, err)
		}
		sameAsGo(t, programs, in, reader)
		if len(in) < 2000 {
			small = append(small, in)
		}
	}
	big := bytes.Repeat([]byte("it has more than one block, "), 100000)
	sameAsGo(t, programs, bzipped(t, 1, append(noise(1<<20), big...)), reader)
	sameAsGo(t, programs, append(bzipped(t, 1, []byte("one, ")), bzipped(t, 9, []byte("two"))...), reader)
	for range 400 {
		in := damage(r, small[r.IntN(len(small))])
		if len(in) == 0 {
			continue
		}
		// Go makes something of codes that are not whole; bzip2 itself does not.
		sameAsGo(t, programs[r.IntN(2):][:1], in, reader, "a code has too many words", "a word that is not in the code")
	}
	dir := t.TempDir()
	for _, program := range programs {
		status, stdout, _ := runTool(t, dir, bzipped(t, 6, []byte("through pipes")), program, "-", "-")
		if status != 0 || stdout != "through pipes" {
			t.Errorf("%d, %q", status, stdout)
		}
	}
	usual(t, programs, "bunzip2", bzipped(t, 6, noise(100000)))
}

// bzipped compresses with bzip2: Go's library can only read it. The codes and
// which of them a group has are drawn, so that a reader meets all there are.
func bzipped(t testing.TB, level int, text []byte) []byte {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(level), uint64(len(text))))
	var w bitWriter
	w.bits(24, 0x425a68)
	w.bits(8, uint64('0'+level))
	all := uint32(0)
	for len(text) > 0 {
		n := min(len(text), level*100000*4/5) // step 1 adds a quarter at most
		crc := ^uint32(0)
		for _, c := range text[:n] {
			crc ^= uint32(c) << 24
			for range 8 {
				crc = crc<<1 ^ uint32(int32(crc)>>31)&0x04c11db7
			}
		}
		all = (all<<1 | all>>31) ^ ^crc
		w.bits(48, 0x314159265359)
		w.bits(32, uint64(^crc))
		w.bits(1, 0)
		w.block(r, text[:n])
		text = text[n:]
	}
	w.bits(48, 0x177245385090)
	w.bits(32, uint64(all))
	return w.bytes()
}

// bitWriter collects bits from the high end of each byte.
type bitWriter struct {
	out   []byte
	acc   uint64
	count int
}

func (w *bitWriter) bits(n int, v uint64) {
	for n--; n >= 0; n-- {
		w.acc = w.acc<<1 | v>>n&1
		if w.count++; w.count == 8 {
			w.out, w.acc, w.count = append(w.out, byte(w.acc)), 0, 0
		}
	}
}

func (w *bitWriter) bytes() []byte {
	for w.count != 0 {
		w.bits(1, 0)
	}
	return w.out
}

func (w *bitWriter) block(r *rand.Rand, text []byte) {
	// 1. runs
	var b []byte
	for i := 0; i < len(text); {
		n := 1
		for i+n < len(text) && n < 259 && text[i+n] == text[i] {
			n++
		}
		b = append(b, bytes.Repeat(text[i:i+1], min(n, 4))...)
		if n >= 4 {
			b = append(b, byte(n-4))
		}
		i += n
	}
	// 2. rotations in order, by their first 1, 2, 4, 8... bytes
	order, rank, next := make([]int, len(b)), make([]int, len(b)), make([]int, len(b))
	for i := range b {
		order[i], rank[i] = i, int(b[i])
	}
	for k := 0; k < len(b); k = max(1, 2*k) {
		less := func(x, y int) bool {
			if rank[x] != rank[y] {
				return rank[x] < rank[y]
			}
			return rank[(x+k)%len(b)] < rank[(y+k)%len(b)]
		}
		sort.Slice(order, func(i, j int) bool { return less(order[i], order[j]) })
		equal := false
		for i, o := range order {
			next[o] = i
			if i > 0 && !less(order[i-1], o) {
				next[o] = next[order[i-1]]
				equal = true
			}
		}
		copy(rank, next)
		if !equal {
			break
		}
	}
	last := make([]byte, len(b))
	for i, o := range order {
		last[i] = b[(o+len(b)-1)%len(b)]
		if o == 0 {
			w.bits(24, uint64(i))
		}
	}
	// the bytes that occur
	var alphabet []byte
	var rows, columns [16]uint16
	for c := range 256 {
		if bytes.IndexByte(last, byte(c)) >= 0 {
			alphabet = append(alphabet, byte(c))
			rows[0] |= 1 << (15 - c/16)
			columns[c/16] |= 1 << (15 - c%16)
		}
	}
	w.bits(16, uint64(rows[0]))
	for _, c := range columns {
		if c != 0 {
			w.bits(16, uint64(c))
		}
	}
	// 3 and 4. places in the list, runs of the first place as numbers
	end := len(alphabet) + 1
	var symbols []int
	zeros := 0
	flush := func() {
		for ; zeros > 0; zeros = (zeros - 1) / 2 {
			symbols = append(symbols, (zeros-1)%2)
		}
	}
	list := bytes.Clone(alphabet)
	for _, c := range last {
		place := bytes.IndexByte(list, c)
		if place == 0 {
			zeros++
			continue
		}
		flush()
		symbols = append(symbols, place+1)
		copy(list[1:], list[:place])
		list[0] = c
	}
	flush()
	symbols = append(symbols, end)
	// 5. codes: random trees; and which one each group of 50 has
	codes, groups := 2+r.IntN(5), (len(symbols)+49)/50
	w.bits(3, uint64(codes))
	w.bits(15, uint64(groups))
	places := make([]int, codes)
	for i := range places {
		places[i] = i
	}
	selectors := make([]int, groups)
	for g := range selectors {
		selectors[g] = r.IntN(codes)
		at := 0
		for ; places[at] != selectors[g]; at++ {
			w.bits(1, 1)
		}
		w.bits(1, 0)
		copy(places[1:], places[:at])
		places[0] = selectors[g]
	}
	words := make([][]uint64, codes)
	lengths := make([][]int, codes)
	for c := range codes {
		leaves := []int{1, 1}
		for len(leaves) <= end {
			if i := r.IntN(len(leaves)); leaves[i] < 16 {
				leaves[i]++
				leaves = append(leaves, leaves[i])
			}
		}
		r.Shuffle(len(leaves), func(i, j int) { leaves[i], leaves[j] = leaves[j], leaves[i] })
		lengths[c], words[c] = leaves, make([]uint64, len(leaves))
		word := uint64(0)
		for length := 1; length <= 16; length++ {
			word *= 2
			for s, l := range leaves {
				if l == length {
					words[c][s] = word
					word++
				}
			}
		}
		now := leaves[0]
		w.bits(5, uint64(now))
		for _, l := range leaves {
			for ; now < l; now++ {
				w.bits(2, 2)
			}
			for ; now > l; now-- {
				w.bits(2, 3)
			}
			w.bits(1, 0)
		}
	}
	for i, s := range symbols {
		c := selectors[i/50]
		w.bits(lengths[c][s], words[c][s])
	}
}

// tree lists all that is in a folder: name, mode, and content or target.
func tree(t testing.TB, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		info, err := d.Info()
		if err != nil {
			return err
		}
		content := ""
		switch {
		case info.Mode().IsRegular():
			content = fmt.Sprintf("%x", read(t, path))
		case info.Mode()&fs.ModeSymlink != 0:
			content, err = os.Readlink(path)
		}
		fmt.Fprintf(&out, "%s %v %.300s\n", name, info.Mode(), content)
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return out.String()
}

type member struct {
	tar.Header
	content string
}

func archiveOf(t testing.TB, members ...member) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, m := range members {
		m.Size = int64(len(m.content))
		if err := w.WriteHeader(&m.Header); err != nil {
			t.Fatalf("%+v: %v", m.Header, err)
		}
		must(w.Write([]byte(m.content)))
	}
	must(0, w.Close())
	return out.Bytes()
}

func TestUntar(t *testing.T) {
	programs := tool(t, "untar")
	long := strings.Repeat("long-name/", 12) + strings.Repeat("n", 90)
	file := func(name string, mode int64, content string) member {
		return member{tar.Header{Name: name, Mode: mode}, content}
	}
	link := func(name, target string) member {
		return member{tar.Header{Name: name, Linkname: target, Typeflag: tar.TypeSymlink}, ""}
	}
	hard := func(name, target string) member {
		return member{tar.Header{Name: name, Linkname: target, Typeflag: tar.TypeLink}, ""}
	}
	folder := member{tar.Header{Name: "top/", Typeflag: tar.TypeDir, Mode: 0o700}, ""}
	format := func(f tar.Format, m member) member {
		m.Format = f
		return m
	}
	all := []member{
		{tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "a commit"}}, ""},
		folder, file("top/plain", 0o600, "text"), file("top/run", 0o4711, "#!"), file("top/empty", 0o444, ""),
		file("top/./dot//dot", 0, strings.Repeat("x", 512)), file("top/deep/er/file", 0o644, strings.Repeat("y", 513)),
		format(tar.FormatPAX, file("top/"+long, 0o644, "p")), format(tar.FormatGNU, file("top/gnu/"+long, 0o644, "g")),
		format(tar.FormatUSTAR, file("top/ustar/"+strings.Repeat("u/", 60)+strings.Repeat("u", 90), 0o644, "u")),
		format(tar.FormatPAX, link("top/far", long)), format(tar.FormatGNU, link("top/further", "gnu/"+long)),
		link("top/link", "deep/er/file"), link("top/deep/link", "../plain"), link("top/deep/er/away", "../../run"), link("top/dangling", "none"),
		hard("top/hard", "top/plain"), file("top/\xc3\xa4 blank", 0o755, "umlaut"),
	}
	for strip := range 3 {
		want := t.TempDir()
		for _, m := range all {
			parts := strings.Split(filepath.Clean(m.Name), "/")
			if m.Name == "" || len(parts) <= strip {
				continue
			}
			path := filepath.Join(append([]string{want, "out"}, parts[strip:]...)...)
			must(0, os.MkdirAll(filepath.Dir(path), 0o755))
			switch m.Typeflag {
			case tar.TypeDir:
				must(0, os.MkdirAll(path, 0o755))
			case tar.TypeSymlink:
				must(0, os.Symlink(m.Linkname, path))
			case tar.TypeLink:
				must(0, os.WriteFile(path, []byte("text"), 0o644))
			default:
				must(0, os.WriteFile(path, []byte(m.content), 0o644|fs.FileMode(m.Mode>>6&1*0o111)))
			}
		}
		in := archiveOf(t, all...)
		if strip == 2 {
			want = "" // some links would lead out
		}
		for _, program := range programs {
			dir := t.TempDir()
			write(t, dir, "in", in)
			status, _, stderr := runTool(t, dir, nil, program, "-s", strconv.Itoa(strip), "in", "out")
			if want == "" {
				if status != 1 || !strings.Contains(stderr, " leads out") {
					t.Errorf("strip %d: %d, %q", strip, status, stderr)
				}
				continue
			}
			if status != 0 || stderr != "" {
				t.Errorf("strip %d: %d, %q", strip, status, stderr)
			}
			if got, want := tree(t, dir+"/out"), tree(t, want+"/out"); got != want {
				t.Errorf("strip %d:\n%s\nwant\n%s", strip, got, want)
			}
		}
	}

	good := archiveOf(t, file("a", 0o644, "text"))
	edit := func(at int, text string, sum bool) []byte {
		b := bytes.Clone(good)
		copy(b[at:], text)
		if sum {
			return resum(b)
		}
		return b
	}
	for name, c := range map[string]struct {
		in   []byte
		want string
	}{
		"absolute":             {archiveOf(t, file("/a", 0o644, "x")), "the name /a is absolute"},
		"dots":                 {archiveOf(t, file("../a", 0o644, "x")), "a name leads out with ..: ../a"},
		"dots within":          {archiveOf(t, file("b/../a", 0o644, "x")), "a name leads out with ..: b/../a"},
		"dots in pax":          {archiveOf(t, format(tar.FormatPAX, file("../"+long, 0o644, "x"))), "a name leads out with ..: ../long"},
		"dots in GNU":          {archiveOf(t, format(tar.FormatGNU, file("../"+long, 0o644, "x"))), "a name leads out with ..: ../long"},
		"link out":             {archiveOf(t, link("a", "../b")), "the link a to ../b leads out"},
		"link further out":     {archiveOf(t, link("b/a", "../../b")), "the link b/a to ../../b leads out"},
		"link to the root":     {archiveOf(t, link("a", "/etc")), "the link a to /etc leads out"},
		"link up within":       {archiveOf(t, link("a/b", "c/../../d")), "the link a/b to c/../../d leads out"},
		"link to nothing":      {archiveOf(t, link("a", "b"), link("c", "")), "the link c to  leads out"},
		"write through a link": {archiveOf(t, link("a", "b"), file("a/c", 0o644, "x")), "in: out/a: "},
		"file over a link":     {archiveOf(t, link("a", "b"), file("a", 0o644, "x")), "in: out/a: "},
		"link in a link":       {archiveOf(t, link("a", "."), link("a/b", "..")), "in: out/a: "},
		"hard link out":        {archiveOf(t, hard("a", "../in")), "a name leads out with ..: ../in"},
		"hard link to root":    {archiveOf(t, hard("a", "/etc/passwd")), "the name /etc/passwd is absolute"},
		"hard link to none":    {archiveOf(t, hard("a", "b")), "the link a to b: "},
		"hard link to later":   {archiveOf(t, hard("a", "b"), file("b", 0, "")), "the link a to b: "},
		"twice":                {archiveOf(t, file("a", 0o644, "x"), file("a", 0o644, "y")), "in: a: "},
		"file and folder":      {archiveOf(t, file("a", 0o644, "x"), file("a/b", 0o644, "y")), "out/a is there and not a folder"},
		"device":               {archiveOf(t, member{tar.Header{Name: "d", Typeflag: tar.TypeChar}, ""}), "d is of type 3, which is not supported"},
		"pipe":                 {archiveOf(t, member{tar.Header{Name: "d", Typeflag: tar.TypeFifo}, ""}), "d is of type 6, which is not supported"},
		"checksum":             {edit(0, "b", false), "the checksum of a header is wrong"},
		"checksum no number":   {edit(148, "x", false), "the checksum in a header is not an octal number"},
		"size no number":       {edit(124, "9", true), "the size in a header is not an octal number"},
		"size in base 256":     {edit(124, "\x80", true), "the size in a header is not an octal number"},
		"no name":              {edit(0, "\x00", true), "an entry without a name"},
		"cut in a header":      {good[:300], "the archive ends too early"},
		"cut in a file":        {good[:800], "the archive ends too early"},
		"no end":               {good[:1024], "the archive ends too early"},
		"empty":                {nil, "the archive ends too early"},
		"more behind":          {append(bytes.Clone(good), good...), "something follows the end of the archive"},
		"header about nothing": {append(resum(paxHeader("18 path=somewhere\n", 'x')), make([]byte, 1024)...), "the last header is about nothing"},
		"pax length":           {append(resum(paxHeader("99 path=somewhere\n", 'x')), good...), "a pax header is not well formed"},
		"pax length 0":         {append(resum(paxHeader("0 path=somewhere\n", 'x')), good...), "a pax header is not well formed"},
		"pax length huge":      {append(resum(paxHeader("99999999999999999999999 path=b\n", 'x')), good...), "a pax header is not well formed"},
		"pax no end":           {append(resum(paxHeader("16 path=somewher", 'x')), good...), "a pax header is not well formed"},
		"pax no key":           {append(resum(paxHeader("13 somewhere\n", 'x')), good...), "a pax header is not well formed"},
		"pax NUL":              {append(resum(paxHeader("12 path=a\x00b\n", 'x')), good...), "a name with a NUL in it"},
		"pax size":             {append(resum(paxHeader("11 size=1x\n", 'x')), good...), "the size in a pax header is not a number"},
		"pax holes":            {append(resum(paxHeader("22 GNU.sparse.major=1\n", 'x')), good...), "files with holes are not supported"},
		"name too long":        {append(resum(paxHeader(strings.Repeat("n", 70000), 'L')), good...), "a name or header of 70000 bytes"},
	} {
		for _, program := range programs {
			dir := t.TempDir()
			write(t, dir, "in", c.in)
			status, _, stderr := runTool(t, dir, nil, program, "in", "out")
			if status != 1 || !strings.HasPrefix(stderr, "untar: ") || !strings.Contains(stderr, c.want) || strings.Count(stderr, "\n") != 1 {
				t.Errorf("%s: %d, %q; want %q", name, status, stderr, c.want)
			}
			if entries := must(os.ReadDir(dir)); len(entries) != 2 {
				t.Errorf("%s: %v", name, entries)
			}
		}
	}

	r := rand.New(rand.NewPCG(9, 10))
	whole := archiveOf(t, all...)
	for range 300 {
		b := bytes.Clone(whole)
		at := r.IntN(len(b)/512) * 512
		for range 1 + r.IntN(4) {
			b[at+r.IntN(512)] = byte(r.IntN(256))
		}
		if r.IntN(4) > 0 {
			copy(b[at:], resum(b[at:at+512]))
		}
		dir := t.TempDir()
		must(0, os.Mkdir(filepath.Join(dir, "in"), 0o755))
		runTool(t, dir, b, programs[1], "-", "in/out")
		if entries := must(os.ReadDir(dir)); len(entries) != 1 {
			t.Fatalf("%v", entries)
		}
		if entries := must(os.ReadDir(filepath.Join(dir, "in"))); len(entries) > 1 {
			t.Fatalf("%v", entries)
		}
	}

	dir := t.TempDir()
	write(t, dir, "in", good)
	for _, program := range programs {
		for _, c := range []struct{ args, want string }{
			{"", "usage: untar [-s N] ARCHIVE FOLDER"},
			{"in", "usage: untar [-s N] ARCHIVE FOLDER"},
			{"-s x in out", "-s x: not a number"},
			{"-s -1 in out", "-s -1: not a number"},
			{"none out", "none: "},
			{"in .", ".: "},
			{"in in/out", "in is there and not a folder"},
		} {
			if status, _, stderr := runTool(t, dir, nil, program, strings.Fields(c.args)...); status != 1 || !strings.Contains(stderr, c.want) {
				t.Errorf("%s: %d, %q", c.args, status, stderr)
			}
		}
	}
}

// resum sets the checksum of a tar header.
func resum(b []byte) []byte {
	b = bytes.Clone(b)
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return b
}

// paxHeader is an entry about the next one.
func paxHeader(text string, kind byte) []byte {
	b := make([]byte, 512+(len(text)+511)/512*512)
	copy(b, "about")
	copy(b[100:], "0000644\x00")
	copy(b[124:], fmt.Sprintf("%011o\x00", len(text)))
	b[156] = kind
	copy(b[257:], "ustar\x0000")
	copy(b[512:], text)
	return b
}

func TestRun(t *testing.T) {
	for _, program := range tool(t, "run") {
		mkdir, cp := tool(t, "mkdir")[0], tool(t, "cp")[0]
		for name, c := range map[string]struct {
			list   string
			status int
			want   string // what is said, or at its beginning
			made   string // file and what is in it, or none
		}{
			"nothing":         {"", 0, "", ""},
			"comments":        {"# one\n#two\n\n \n\t# three\n", 0, "", ""},
			"commands":        {"MKDIR a b/c # and\n\nCP list\tb/c/d\n", 0, "", "b/c/d"},
			"longer":          {"CP\n  list # from\n# to\n\tnew", 1, "run: list:4: the last line has no end\n", ""},
			"longer, ended":   {"CP\n  list # from\n# to\n\tnew\n", 0, "", "new"},
			"cd":              {"MKDIR a/b\ncd a\ncd b\nCP ../../list x\n", 0, "", "a/b/x"},
			"hash in a word":  {"CP list a#b\n", 0, "", "a#b"},
			"failing":         {"MKDIR a\nCP a\nMKDIR b\n", 1, "usage: cp FROM TO | cp FROM... FOLDER/\nrun: list:2: CP: exit status 1\n", "!b"},
			"failing last":    {"MKDIR a\n\nCP none\n  x\n", 1, "", "!x"},
			"no program":      {"./none x\n", 1, "./none: no such file or directory\nrun: list:1: ./none: exit status 127\n", ""},
			"not searched":    {"mkdir x\n", 1, "mkdir: no such file or directory\nrun: list:1: mkdir: exit status 127\n", "!x"},
			"cd to nothing":   {"cd\n", 1, "run: list:1: cd takes one folder\n", ""},
			"cd to many":      {"cd . .\n", 1, "run: list:1: cd takes one folder\n", ""},
			"cd to no folder": {"cd none\n", 1, "run: list:1: cd none: no such file or directory\n", ""},
			"begins with two": {"\n  x\n", 1, "run: list:2: there is no command before to go on with\n", ""},
			"NUL":             {"x\x00\n", 1, "run: list: there is a NUL in it\n", ""},
			"DOS":             {"x\r\n", 1, "run: list: there is a carriage return in it\n", ""},
			"signal":          {"/bin/sh self\n", 1, "run: list:1: /bin/sh: ended by signal 9\n", ""},
			"many":            {strings.Repeat("MKDIR a\n", 300) + "CP list z\n", 0, "", "z"},
			"many words":      {"MKDIR a " + strings.Repeat("w ", 5000) + "\n", 0, "", ""},
		} {
			dir := t.TempDir()
			names := strings.NewReplacer("MKDIR", mkdir, "CP", cp)
			list := names.Replace(c.list)
			write(t, dir, "list", []byte(list))
			write(t, dir, "self", []byte("kill -9 $$\n"))
			status, _, stderr := runTool(t, dir, nil, program, "list")
			want := names.Replace(c.want)
			if status != c.status || stderr != want && !(strings.EqualFold(stderr, want)) && !(c.want == "" && status == 1) {
				t.Errorf("%s: %d, %q", name, status, stderr)
			}
			switch made, not := strings.CutPrefix(c.made, "!"); {
			case made == "":
			case not:
				if _, err := os.Stat(filepath.Join(dir, made)); err == nil {
					t.Errorf("%s: went on", name)
				}
			default:
				if string(read(t, filepath.Join(dir, made))) != list {
					t.Errorf("%s: %s", name, made)
				}
			}
		}
		dir := t.TempDir()
		write(t, dir, "one", []byte(mkdir+" a\ncd a\n"))
		write(t, dir, "two", []byte(mkdir+" b\n"))
		if status, _, stderr := runTool(t, dir, nil, program, "one", filepath.Join(dir, "two")); status != 0 {
			t.Error(stderr)
		}
		if _, err := os.Stat(filepath.Join(dir, "a/b")); err != nil {
			t.Error(err)
		}
		if status, _, stderr := runTool(t, dir, nil, program); status != 1 || stderr != "usage: run LIST...\n" {
			t.Errorf("%d, %q", status, stderr)
		}
	}
}

func TestCopyAndFolders(t *testing.T) {
	for i, cp := range tool(t, "cp") {
		mkdir := tool(t, "mkdir")[i]
		dir := t.TempDir()
		write(t, dir, "text", noise(100000))
		write(t, dir, "run", []byte("#!"))
		must(0, os.Chmod(filepath.Join(dir, "run"), 0o700))
		must(0, os.Symlink("text", filepath.Join(dir, "link")))
		for _, c := range []struct {
			program, args string
			status        int
			want          string
		}{
			{mkdir, "a/b//c/ a d", 0, ""},
			{cp, "text copy", 0, ""},
			{cp, "run a/run", 0, ""},
			{cp, "text a/run", 0, ""}, // over what is there: its mode too
			{cp, "text run a/b/", 0, ""},
			{mkdir, "", 1, "usage: mkdir FOLDER...\n"},
			{mkdir, "text/x", 1, "mkdir: text is there and not a folder\n"},
			{mkdir, "text", 1, "mkdir: text is there and not a folder\n"},
			{cp, "text", 1, "usage: cp FROM TO | cp FROM... FOLDER/\n"},
			{cp, "text run a", 1, "usage: cp FROM TO | cp FROM... FOLDER/\n"},
			{cp, "text text", 1, "cp: text and text are the same file\n"},
			{cp, "text link", 1, "cp: text and link are the same file\n"},
			{cp, "none x", 1, "cp: none: "},
			{cp, "text a", 1, "cp: a: "},
			{cp, "text none/", 1, "cp: none/text: "},
			{cp, "a/ d/", 1, "cp: a/ is not the name of a file\n"},
			{cp, "a x", 1, "cp: a: "},
			{cp, "text /dev/full", 1, "cp: /dev/full: "},
		} {
			if status, _, stderr := runTool(t, dir, nil, c.program, strings.Fields(c.args)...); status != c.status || !strings.HasPrefix(stderr, c.want) || c.want == "" && stderr != "" {
				t.Errorf("%s %s: %d, %q", c.program, c.args, status, stderr)
			}
		}
		for name, mode := range map[string]fs.FileMode{"a/b/c": fs.ModeDir | 0o755, "d": fs.ModeDir | 0o755, "copy": 0o644, "a/run": 0o644, "a/b/text": 0o644, "a/b/run": 0o755} {
			if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != mode {
				t.Errorf("%s: %v, %v", name, info, err)
			}
		}
		if !bytes.Equal(read(t, dir+"/copy"), noise(100000)) || !bytes.Equal(read(t, dir+"/text"), noise(100000)) {
			t.Error("copies differ")
		}
		if _, err := os.Stat(filepath.Join(dir, "x")); err == nil {
			t.Error("an output is left")
		}
	}
}

// TestArchive compares with the host's ar, and has the host's linker use the result.
func TestArchive(t *testing.T) {
	programs := tool(t, "ar")
	dir := t.TempDir()
	write(t, dir, "one.c", []byte("int one(void) { return 1; } static int hidden; int *data = &hidden; extern int two(void); int calls(void) { return two(); }"))
	write(t, dir, "a-name-that-is-too-long-for-its-field.c", []byte("int two(void) { return 2; } int __attribute__((weak)) weak(void) { return 3; }"))
	write(t, dir, "fifteen-letter.c", []byte("int common; int fifteen(void) { return common; }"))
	write(t, dir, "sixteen-letters.c", []byte("int sixteen;"))
	write(t, dir, "none.c", []byte("static int x; int *unused(void); "))
	write(t, dir, "main.c", []byte("extern int one(void), two(void), weak(void), calls(void), fifteen(void); int main(void) { return one() + two() + weak() + calls() + fifteen() - 8; }"))
	for _, c := range glob(t, dir+"/*.c") {
		host(t, dir, "gcc", "-O1", "-fcommon", "-c", c)
	}
	objects := []string{"one.o", "a-name-that-is-too-long-for-its-field.o", "fifteen-letter.o", "sixteen-letters.o", "none.o"}
	host(t, dir, "ar", append([]string{"rcsD", "theirs.a"}, objects...)...)
	for _, program := range programs {
		if status, _, stderr := runTool(t, dir, nil, program, append([]string{"ours.a"}, objects...)...); status != 0 {
			t.Fatal(stderr)
		}
		if got, want := read(t, dir+"/ours.a"), read(t, dir+"/theirs.a"); !bytes.Equal(got, want) {
			t.Errorf("%s: not the archive that the host's ar makes:\n%.400q\n%.400q", program, got, want)
		}
		host(t, dir, "gcc", "-o", "main", "main.o", "ours.a")
		host(t, dir, "./main")

		for args, want := range map[string]string{
			"":             "usage: ar ARCHIVE FILE...\n",
			"x.a":          "usage: ar ARCHIVE FILE...\n",
			"x.a none":     "ar: none: ",
			"x.a main":     "ar: main: not an object file of ELF for 64 bits\n",
			"x.a main.c":   "ar: main.c: not an object file of ELF for 64 bits\n",
			"no/x.a one.o": "ar: no/x.a: ",
		} {
			if status, _, stderr := runTool(t, dir, nil, program, strings.Fields(args)...); status != 1 || !strings.HasPrefix(stderr, want) {
				t.Errorf("%s: %d, %q", args, status, stderr)
			}
		}
	}
	// Damaged objects: an error or an archive, never more.
	object := read(t, dir+"/one.o")
	r := rand.New(rand.NewPCG(11, 12))
	f := must(elf.NewFile(bytes.NewReader(object)))
	headers := len(object) - len(f.Sections)*64
	for range 400 {
		b := bytes.Clone(object)
		for range 1 + r.IntN(3) {
			at := headers + r.IntN(len(object)-headers)
			if r.IntN(3) == 0 {
				at = r.IntN(64)
			}
			b[at] = byte(r.IntN(256))
		}
		write(t, dir, "damaged.o", b)
		runTool(t, dir, nil, programs[1], "x.a", "damaged.o")
	}
}
