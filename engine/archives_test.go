package engine

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"rebuild/internal/fault"
	"rebuild/store"
)

// tarOf is an archive of one file, "member", written by edit's dialect.
func tarOf(t *testing.T, edit func(*tar.Header)) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	h := &tar.Header{Name: "member", Mode: 0o644, Size: 2, Typeflag: tar.TypeReg}
	if edit != nil {
		edit(h)
	}
	if err := w.WriteHeader(h); err != nil {
		t.Fatal(err)
	}
	if h.Size > 0 {
		io.WriteString(w, "x\n")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// oldTar takes the magic of later dialects off: tar's first format has none.
func oldTar(archive []byte) []byte {
	old := bytes.Clone(archive)
	clear(old[257:265])
	copy(old[148:156], "        ")
	sum := 0
	for _, c := range old[:512] {
		sum += int(c)
	}
	copy(old[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return old
}

func zipped(data []byte) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(data)
	z.Close()
	return b.Bytes()
}

// Whatever BuildKit unpacks, strict must refuse: the engine itself is asked
// what it does with each file. To refuse more is allowed, of files that
// BuildKit has to decompress in order to know.
func TestStrictRefusesWhatIsUnpacked(t *testing.T) {
	b := newBench(t, "", nil)
	plain := tarOf(t, nil)
	inXZ, err := xzipped("member", "x\n")
	if err != nil {
		t.Fatal(err)
	}
	encoder, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	inZstd := encoder.EncodeAll(plain, nil)
	inBzip2, err := hex.DecodeString(bzip2Archive)
	if err != nil {
		t.Fatal(err)
	}
	file := func(data []byte) []store.File {
		return []store.File{{Path: "added", Mode: 0o644, Data: data}}
	}
	for name, c := range map[string]struct {
		files  []store.File
		unpack bool // what BuildKit is known to do
		strict bool // what strict says
	}{
		"plain":                {file(plain), true, true},
		"first dialect":        {file(oldTar(plain)), true, true},
		"long name":            {file(tarOf(t, func(h *tar.Header) { h.PAXRecords = map[string]string{"comment": "x"}; h.Format = tar.FormatPAX })), true, true},
		"gnu":                  {file(tarOf(t, func(h *tar.Header) { h.Format = tar.FormatGNU })), true, true},
		"gzip":                 {file(zipped(plain)), true, true},
		"gzip of old":          {file(zipped(oldTar(plain))), true, true},
		"bzip2":                {file(inBzip2), true, true},
		"xz":                   {file(inXZ), true, true},
		"zstd":                 {file(inZstd), true, true},
		"zstd behind a frame":  {file(append([]byte("\x5a\x2a\x4d\x18\x04\x00\x00\x00skip"), inZstd...)), true, true},
		"gzip of text":         {file(zipped([]byte("text\n"))), false, true},
		"half a gzip":          {file(zipped(plain)[:12]), false, true},
		"twice gzipped":        {file(zipped(zipped(plain))), false, true},
		"empty":                {file(nil), false, false},
		"text":                 {file([]byte(strings.Repeat("text\n", 300))), false, false},
		"no members":           {file(make([]byte, 1024)), false, false},
		"checksum":             {file(append([]byte("n"), plain[1:]...)), false, false},
		"in a folder":          {[]store.File{{Path: "added/inner.tar", Mode: 0o644, Data: plain}}, false, false},
		"behind a link":        {[]store.File{{Path: "other", Mode: 0o644, Data: plain}, {Type: store.Symlink, Path: "added", Target: "other"}}, true, true},
		"behind a folder link": {[]store.File{{Path: "d/added", Mode: 0o644, Data: plain}, {Type: store.Symlink, Path: "added", Target: "d/added"}}, true, true},
		"second name":          {[]store.File{{Path: "aaa", Mode: 0o644, Data: plain}, {Type: store.Link, Path: "added", Target: "aaa"}}, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, pattern := range []string{"added", "adde?", "/./x/../added"} {
				j := b.job("add", "FROM image/probe\nADD "+pattern+" /out/\n")
				j.Context = b.image("linux/amd64", c.files...)
				out := b.solve(j)
				tree, err := b.store.Read(out.Tree, 1<<20)
				if err != nil {
					t.Fatal(err)
				}
				if unpacked := strings.Contains(string(tree), " member\n"); unpacked != c.unpack {
					t.Errorf("ADD %s: unpacked %v, want %v:\n%s", pattern, unpacked, c.unpack, tree)
				}
				j.Strict = true
				if err := b.Check(context.Background(), j); (fault.CodeOf(err) == fault.PolicyDenied) != c.strict {
					t.Errorf("strict, ADD %s: %v", pattern, err)
				}
				j.Containerfile = []byte("FROM image/probe\nADD --unpack=false " + pattern + " /out/\nCOPY " + pattern + " /out/\n")
				if err := b.Check(context.Background(), j); err != nil {
					t.Errorf("strict, without unpacking: %v", err)
				}
			}
		})
	}
}

// An ordinary user's engine has one owner and no devices. What needs more is
// refused before anything is built, since go-archive would fail half way or
// leave it out.
func TestOrdinaryUserRefused(t *testing.T) {
	b := newBench(t, "", nil)
	b.rootless = true
	owned := tarOf(t, func(h *tar.Header) { h.Uid, h.Gid = 1000, 100 })
	for name, c := range map[string]struct {
		line    string
		archive []byte
		words   string // "" if an ordinary user can do it
	}{
		"copy":                   {"COPY --from=image/probe /probe /out/", nil, ""},
		"chown":                  {"COPY --from=image/probe --chown=1000:1000 /probe /out/", nil, "files of 1000:1000"},
		"chown to root":          {"COPY --from=image/probe --chown=0:0 /probe /out/", nil, ""},
		"chown of a group":       {"COPY --from=image/probe --chown=0:5 /probe /out/", nil, "files of 0:5"},
		"folder of another user": {"USER 1000:1000\nWORKDIR /home", nil, "files of 1000:1000"},
		"archive":                {"ADD a /out/", tarOf(t, nil), ""},
		"owner":                  {"ADD a /out/", owned, "member, which belongs to 1000:100"},
		"owner in gzip":          {"ADD a /out/", zipped(owned), "member, which belongs to 1000:100"},
		"owner overridden":       {"ADD --chown=0:0 a /out/", owned, ""},
		"owner not unpacked":     {"ADD --unpack=false a /out/", owned, ""},
		"device":                 {"ADD a /out/", tarOf(t, func(h *tar.Header) { h.Typeflag, h.Size = tar.TypeChar, 0 }), "member, which is a device"},
		"capability": {"ADD a /out/", tarOf(t, func(h *tar.Header) {
			h.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": "x"}
		}), "attribute security.capability"},
	} {
		t.Run(name, func(t *testing.T) {
			j := b.job("user", "FROM image/probe\n"+c.line+"\n")
			if c.archive != nil {
				j.Context = b.image("linux/amd64", store.File{Path: "a", Mode: 0o644, Data: c.archive})
			}
			err := b.Check(context.Background(), j)
			if c.words == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wantFault(t, err, fault.EngineUnavailable, c.words)
		})
	}
}

func wantFault(t *testing.T, err error, code fault.Code, words string) {
	t.Helper()
	f, ok := err.(*fault.Error)
	if !ok || f.Code != code || !strings.Contains(f.Message, words) || f.Hint == "" || f.Line == 0 || f.File == "" {
		t.Errorf("got %+v, want %s with %q, a hint and a place", err, code, words)
	}
}

// bzip2Archive is what bzip2 makes of an archive like tarOf's; Go has no
// writer for it.
const bzip2Archive = "425a68313141592653598058c19a00002fdb80c99040007580001072021e40080820005442068000d34094143d469e93401a5facdd5d087042b8cc134d204143e697119442cc8352bb6b629bd61d30e1b546889e211f8bb9229c2848402c60cd00"
