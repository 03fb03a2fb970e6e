package attest_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/base64"
	stdjson "encoding/json"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/index"
	"rebuild/internal/document"
	"rebuild/store"
)

// vectorFileOf returns a file as a vector gives it.
func vectorFileOf(data []byte) vectorFile {
	if utf8.Valid(data) && !bytes.ContainsRune(data, 0) {
		return vectorFile{Text: string(data)}
	}
	return vectorFile{Base64: base64.StdEncoding.EncodeToString(data)}
}

// tarFiles returns the files of a canonical tar.
func tarFiles(data []byte) map[string]vectorFile {
	out := map[string]vectorFile{}
	for tr := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := tr.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			panic(err)
		}
		content, err := io.ReadAll(tr)
		if err != nil {
			panic(err)
		}
		f := vectorFileOf(content)
		name := strings.TrimSuffix(h.Name, "/")
		switch h.Typeflag {
		case tar.TypeDir:
			f = vectorFile{Type: "d"}
		case tar.TypeSymlink:
			f = vectorFile{Type: "l", Link: h.Linkname}
		default:
			f.Type = "f"
			if h.Mode != 0o644 {
				f.Mode = "755"
			}
		}
		if name != "." {
			out[name] = f
		}
	}
}

// folderFiles returns the regular files below a directory.
func folderFiles(dir string) map[string]vectorFile {
	out := map[string]vectorFile{}
	err := filepath.WalkDir(dir, func(at string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(at)
		name, _ := filepath.Rel(dir, at)
		out[filepath.ToSlash(name)] = vectorFileOf(data)
		return err
	})
	if err != nil {
		panic(err)
	}
	return out
}

func cloneFiles(files map[string]vectorFile) map[string]vectorFile {
	out := map[string]vectorFile{}
	for k, f := range files {
		out[k] = f
	}
	return out
}

func keyVectors() map[string]vector {
	v := func(expect, why, key string) vector { return vector{Expect: expect, Why: why, Key: key} }
	raw := func(expect, why string, b []byte) vector { return v(expect, why, base64.StdEncoding.EncodeToString(b)) }
	le := func(last byte, first ...byte) []byte {
		b := make([]byte, 32)
		copy(b, first)
		b[31] = last
		return b
	}
	full := func(first, last byte) []byte {
		b := bytes.Repeat([]byte{0xff}, 32)
		b[0], b[31] = first, last
		return b
	}
	north := key64("north")
	return map[string]vector{
		"north":           v("ok", "a key", north),
		"empty":           v("STRUCTURE", "no key", ""),
		"short":           raw("STRUCTURE", "31 bytes", make([]byte, 31)),
		"long":            raw("STRUCTURE", "33 bytes", make([]byte, 33)),
		"hex":             v("STRUCTURE", "a key has one text", "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"),
		"line-break":      v("STRUCTURE", "a key has one text", north[:20]+"\n"+north[20:]),
		"unpadded":        v("STRUCTURE", "a key has one text", strings.TrimRight(north, "=")),
		"stray-bits":      v("STRUCTURE", "a key has one text", "AgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB="),
		"zero":            raw("KEY_WEAK", "order 4", le(0)),
		"zero-signed":     raw("KEY_WEAK", "order 4", le(0x80)),
		"identity":        raw("KEY_WEAK", "order 1", le(0, 1)),
		"identity-signed": raw("KEY_WEAK", "not canonical, order 1", le(0x80, 1)),
		"minus-one":       raw("KEY_WEAK", "order 2", full(0xec, 0x7f)),
		"p":               raw("KEY_WEAK", "not canonical, 0", full(0xed, 0x7f)),
		"p-plus-one":      raw("KEY_WEAK", "not canonical, 1", full(0xee, 0x7f)),
		"p-signed":        raw("KEY_WEAK", "not canonical", full(0xed, 0xff)),
		"largest":         raw("KEY_WEAK", "not canonical", full(0xff, 0xff)),
		"order-8":         v("KEY_WEAK", "order 8", "xxdqcD1N2E+6PAt2DRBnDyogU/osOczGTsf9d5KsA3o="),
		"order-8-signed":  v("KEY_WEAK", "order 8", "xxdqcD1N2E+6PAt2DRBnDyogU/osOczGTsf9d5KsA/o="),
		"order-8-other":   v("KEY_WEAK", "order 8", "JuiVj8KyJ7BFw/SJ8u+Y8NXfrAXTxjM5sTgCiG1T/AU="),
		"off-the-curve":   raw("KEY_WEAK", "nothing verifies under it", le(0, 2)),
	}
}

func envelopeVectors(w *attesttest.World) map[string]vector {
	good := string(w.Statement("north", nil))
	v := func(expect, why, text string) vector { return vector{Expect: expect, Why: why, Envelope: text} }
	small := func(payload string, signatures int) string {
		var sigs []any
		for range signatures {
			sigs = append(sigs, object{"sig": base64.StdEncoding.EncodeToString(make([]byte, 64))})
		}
		out, err := document.Encode(object{"payload": payload, "payloadType": attest.PayloadType, "signatures": sigs})
		if err != nil {
			panic(err)
		}
		return string(out)
	}
	// A keyid of any length makes up for what four characters can not.
	sized := func(bytes int) string {
		rest := bytes - len(small("", 1)) - len(`"keyid":"",`)
		return strings.Replace(strings.Replace(small("", 1), `"sig":`, `"keyid":"`+strings.Repeat("k", rest%4+4)+`","sig":`, 1),
			`"payload":""`, `"payload":"`+times(rest/4-1, "AAAA")+`"`, 1)
	}
	return map[string]vector{
		"north":            v("ok", "an envelope", good),
		"32-signatures":    v("ok", "as many as there may be", small("", 32)),
		"33-signatures":    v("STRUCTURE", "one more", small("", 33)),
		"largest":          v("ok", "as large as it may be", sized(attest.MaxEnvelope)),
		"too-large":        v("PARSE", "larger", sized(attest.MaxEnvelope+1)),
		"empty":            v("PARSE", "no bytes", ""),
		"not-json":         v("PARSE", "no JSON", "envelope"),
		"array":            v("STRUCTURE", "another value", "[]"),
		"string":           v("STRUCTURE", "another value", `"x"`),
		"not-text":         v("PARSE", "no text", strings.Replace(good, `"keyid":"`, `"keyid":"⟨0xff⟩`, 1)),
		"not-utf-8":        v("PARSE", "keyid of broken text", strings.Replace(good, `"keyid":"`, `"keyid":"\ud800`, 1)),
		"unsorted":         v("PARSE", "one envelope would have two forms", `{"payloadType":"`+attest.PayloadType+`","payload":"","signatures":[]}`),
		"number":           v("STRUCTURE", "a type that it is not", strings.Replace(good, `"payloadType":"`+attest.PayloadType+`"`, `"payloadType":1`, 1)),
		"float":            v("PARSE", "not exact", `{"payload":0.5}`),
		"exponent":         v("PARSE", "not exact", `{"payload":1e3}`),
		"2-to-53":          v("PARSE", "not exact in a double", `{"payload":9007199254740992}`),
		"2-to-53-less-one": v("STRUCTURE", "exact, and no text", `{"payload":9007199254740991}`),
		"minus-2-to-53":    v("PARSE", "not exact in a double", `{"payload":-9007199254740992}`),
		"minus-2-to-53-1":  v("STRUCTURE", "exact, and no text", `{"payload":-9007199254740991}`),
		"minus-zero":       v("PARSE", "a second zero", `{"payload":-0}`),
		"null":             v("PARSE", "absent has one form", `{"payload":null}`),
		"key-not-ascii":    v("PARSE", "keys sort by other rules", `{"pÿyload":""}`),
		"depth-32":         v("STRUCTURE", "as deep as it may be", strings.Repeat("[", 32)+strings.Repeat("]", 32)),
		"depth-33":         v("PARSE", "deeper", strings.Repeat("[", 33)+strings.Repeat("]", 33)),
		"two-values":       v("PARSE", "which of them", good+good),
		"trailing-space":   v("PARSE", "one envelope would have two forms", good+" "),
		"escape":           v("PARSE", "text has one form", strings.Replace(good, `"payloadType"`, `"payload\u0054ype"`, 1)),
		"keyid-empty":      v("STRUCTURE", "absent has one form", strings.Replace(small("", 1), `"sig":`, `"keyid":"","sig":`, 1)),
		"no-type":          v("STRUCTURE", "signed for what", strings.Replace(small("", 1), `"payloadType":"`+attest.PayloadType+`",`, "", 1)),
		"no-payload":       v("STRUCTURE", "nothing was signed", strings.Replace(small("", 1), `"payload":"",`, "", 1)),
		"extra":            v("STRUCTURE", "never ignored", strings.Replace(small("", 1), `{"payload"`, `{"kind":"x","payload"`, 1)),
		"case-folded":      v("STRUCTURE", "another key", strings.Replace(small("", 1), `{"payload"`, `{"Payload":"","payload"`, 1)),
		"duplicate":        v("PARSE", "two parsers would see two payloads", strings.Replace(small("", 1), `{"payload":""`, `{"payload":"","payload":""`, 1)),
	}
}

// packageFolder is a package folder that is being spoiled, as a vector.
type packageFolder struct {
	files map[string]vectorFile
	doc   object
}

func packageVectors(w *attesttest.World) map[string]vector {
	const dir = "linux-amd64/hello"
	const hello = dir + "/bin/hello"
	honest := tarFiles(w.Honest().Package.Archive())
	spoiled := func(expect, why string, change func(*packageFolder)) vector {
		f := &packageFolder{files: cloneFiles(honest)}
		if err := stdjson.Unmarshal([]byte(honest[attest.FilesFile].Text), &f.doc); err != nil {
			panic(err)
		}
		change(f)
		return f.vector(expect, why)
	}
	text := func(expect, why, name, text string) vector {
		return spoiled(expect, why, func(f *packageFolder) { f.files[name] = vectorFile{Type: "f", Text: text} })
	}
	raw := func(expect, why string, archive string) vector {
		return vector{Expect: expect, Why: why, Epoch: attesttest.Epoch, Files: honest, Archive: archive}
	}
	metadata := func(expect, why, from, to string) vector {
		old := honest[attest.PackageFile].Text
		if !strings.Contains(old, from) {
			panic(from)
		}
		return text(expect, why, attest.PackageFile, strings.Replace(old, from, to, 1))
	}
	header := func(h tar.Header) string { return packed([]*tar.Header{&h}) }
	exports := vectorFile{Type: "f", Text: "{}"}
	return map[string]vector{
		"honest": spoiled("ok", "the package that the other vectors start from", func(*packageFolder) {}),
		"exports-voted": spoiled("ok", "what was voted for may be repeated", func(f *packageFolder) {
			f.files[dir+"/"+attest.ExportsFile], f.files[attest.ExportsFile] = exports, exports
			f.vote(dir)
			f.inventory()
		}),
		"exports-differ": spoiled("FILE_EXTRA", "other exports than were voted for", func(f *packageFolder) {
			f.files[dir+"/"+attest.ExportsFile], f.files[attest.ExportsFile] = exports, vectorFile{Type: "f", Text: "{ }"}
			f.vote(dir)
			f.inventory()
		}),
		"exports-unvoted": spoiled("FILE_EXTRA", "nobody voted for it", func(f *packageFolder) { f.files[attest.ExportsFile] = exports; f.inventory() }),
		"image-only": spoiled("ok", "a payload that ships as an image alone", func(f *packageFolder) {
			for name := range f.files {
				if strings.HasPrefix(name, "linux-amd64") {
					delete(f.files, name)
				}
			}
			delete(sub(f.doc, "payloads", 0), "path")
			f.inventory()
		}),
		"no-payloads": spoiled("ok", "nothing is said to be voted for", func(f *packageFolder) { delete(f.doc, "payloads") }),
		"hard-link": spoiled("ok", "a link inside of the payload", func(f *packageFolder) {
			f.files[dir+"/bin/zz"] = vectorFile{Type: "h", Link: hello, Mode: "755"}
			f.vote(dir)
			f.inventory()
		}),
		"changed":       spoiled("FILE_HASH", "other content than listed", func(f *packageFolder) { f.files[hello] = vectorFile{Type: "f", Mode: "755", Text: "x"} }),
		"removed":       spoiled("FILE_MISSING", "less than listed", func(f *packageFolder) { delete(f.files, hello) }),
		"added":         spoiled("FILE_EXTRA", "more than listed", func(f *packageFolder) { f.files[dir+"/new"] = exports }),
		"added-outside": spoiled("FILE_EXTRA", "listed, and nobody voted for it", func(f *packageFolder) { f.files["install.sh"] = exports; f.inventory() }),
		"added-directory": spoiled("FILE_EXTRA", "listed, and nobody voted for it", func(f *packageFolder) {
			f.files["linux-arm64"] = vectorFile{Type: "d"}
			f.inventory()
		}),
		"added-beside": spoiled("FILE_EXTRA", "a name that begins like the payload's", func(f *packageFolder) { f.files[dir+"-2"] = exports; f.inventory() }),
		"above-a-file": spoiled("STRUCTURE", "a file where the payload's directory is", func(f *packageFolder) {
			sub(f.doc, "payloads", 0)["path"] = "../hello"
		}),
		"chmod":   spoiled("FILE_HASH", "another mode", func(f *packageFolder) { x := f.files[hello]; x.Mode = "644"; f.files[hello] = x }),
		"link":    spoiled("FILE_HASH", "leads elsewhere", func(f *packageFolder) { f.files[dir+"/bin/hi"] = vectorFile{Type: "l", Link: "/bin/sh"} }),
		"type":    spoiled("FILE_HASH", "another type", func(f *packageFolder) { f.files[hello] = vectorFile{Type: "l", Link: "hi"} }),
		"size":    spoiled("FILE_HASH", "another size", func(f *packageFolder) { f.entry(hello)["size"] = 1 }),
		"size-no": spoiled("FILE_HASH", "no size", func(f *packageFolder) { delete(f.entry(hello), "size") }),
		"size-of-directory": spoiled("FILE_HASH", "a size of what has none", func(f *packageFolder) {
			f.entry(dir)["size"] = 0
		}),
		"mode-no": spoiled("FILE_HASH", "no mode", func(f *packageFolder) { delete(f.entry(hello), "mode") }),
		"all-kinds": spoiled("FILE_HASH", "all differences are listed", func(f *packageFolder) {
			f.files[hello] = vectorFile{Type: "f", Mode: "755", Text: "x"}
			delete(f.files, dir+"/bin/hi")
			f.files["x"] = exports
		}),
		"missing-and-extra": spoiled("FILE_MISSING", "all differences are listed", func(f *packageFolder) {
			delete(f.files, dir+"/bin/hi")
			f.files["x"] = exports
		}),
		"listed-twice": spoiled("SEMANTIC", "one list has one form", func(f *packageFolder) {
			list := f.doc["files"].([]any)
			f.doc["files"] = append(list, list[0])
		}),
		"unsorted":     spoiled("SEMANTIC", "one list has one form", func(f *packageFolder) { slices.Reverse(f.doc["files"].([]any)) }),
		"total":        spoiled("SEMANTIC", "a wrong sum", func(f *packageFolder) { f.doc["total_files"] = 3 }),
		"whole":        spoiled("TREE_MISMATCH", "another tree", func(f *packageFolder) { f.doc["hash"] = otherDigest }),
		"payload-tree": spoiled("TREE_MISMATCH", "another tree", func(f *packageFolder) { sub(f.doc, "payloads", 0)["tree"] = otherDigest }),
		"payload-path": spoiled("FILE_MISSING", "it is not there", func(f *packageFolder) { sub(f.doc, "payloads", 0)["path"] = "linux-amd64/hallo" }),
		"payload-file": spoiled("FILE_MISSING", "it is no directory", func(f *packageFolder) { sub(f.doc, "payloads", 0)["path"] = hello }),
		"payload-twice": spoiled("SEMANTIC", "listed twice", func(f *packageFolder) {
			all := f.doc["payloads"].([]any)
			f.doc["payloads"] = append(all, all[0])
		}),
		"payloads-unsorted": spoiled("SEMANTIC", "one list has one form", func(f *packageFolder) {
			f.doc["payloads"] = append(f.doc["payloads"].([]any), object{"platform": "linux/386", "target": "hello", "tree": otherDigest})
		}),
		"hard-link-out": spoiled("STRUCTURE", "a link out of what was voted for", func(f *packageFolder) {
			f.files[dir+"/zz"] = vectorFile{Type: "h", Link: "a", Mode: "644"}
			f.files["a"] = exports
			f.inventory()
		}),
		"epoch":           spoiled("PARSE", "written at another time than listed", func(f *packageFolder) { f.doc["source_date_epoch"] = 2 }),
		"no-package":      spoiled("FILE_MISSING", "no metadata", func(f *packageFolder) { delete(f.files, attest.PackageFile) }),
		"package-a-link":  spoiled("FILE_MISSING", "metadata from elsewhere", func(f *packageFolder) { f.files[attest.PackageFile] = vectorFile{Type: "l", Link: "x"} }),
		"no-files":        raw("FILE_MISSING", "no inventory", zipped(canonicalTar(map[string]vectorFile{attest.PackageFile: honest[attest.PackageFile]}, 1))),
		"package-empty":   text("STRUCTURE", "says nothing", attest.PackageFile, "{}"),
		"package-newer":   metadata("SCHEMA_UNSUPPORTED", "a later version may mean something else", "package@1.0.0", "package@2.0.0"),
		"name":            metadata("STRUCTURE", "a name that is a path", `"name":"hello"`, `"name":"../hello"`),
		"name-scoped":     metadata("FILE_HASH", "a name of a scope is a name", `"name":"hello"`, `"name":"org/hello"`),
		"scope":           metadata("STRUCTURE", "a scope that is a path", `"name":"hello"`, `"name":"../hello"`),
		"version":         metadata("STRUCTURE", "not SemVer", "0.1.0", "0.1"),
		"no-description":  metadata("PKG_DESCRIPTION_REQUIRED", "says nothing", `"description":"says hi"`, `"description":" "`),
		"no-docs":         metadata("PKG_DOCS_REQUIRED", "says nothing", `"docs":"Run it."`, `"docs":""`),
		"no-license":      metadata("PKG_LICENSE_REQUIRED", "says nothing", `"license":"MIT"`, `"license":""`),
		"no-compat":       metadata("PKG_COMPAT_REQUIRED", "says nothing", `"rebuild_compat":">=1.0.0"`, `"rebuild_compat":""`),
		"description-no":  metadata("PKG_DESCRIPTION_REQUIRED", "is not there", `"description":"says hi",`, ``),
		"docs-number":     metadata("PKG_DOCS_REQUIRED", "no string", `"docs":"Run it."`, `"docs":1`),
		"license-list":    metadata("PKG_LICENSE_REQUIRED", "no string", `"license":"MIT"`, `"license":["MIT"]`),
		"compat-number":   metadata("PKG_COMPAT_NOT_STRING", "no string", `"rebuild_compat":">=1.0.0"`, `"rebuild_compat":1`),
		"compat-no":       metadata("PKG_COMPAT_REQUIRED", "is not there", `"rebuild_compat":">=1.0.0"`, ``),
		"compat-invalid":  metadata("PKG_COMPAT_INVALID", "no range", `"rebuild_compat":">=1.0.0"`, `"rebuild_compat":"soon"`),
		"name-number":     metadata("STRUCTURE", "no string", `"name":"hello"`, `"name":1`),
		"no-version":      metadata("STRUCTURE", "of which version", `,"version":"0.1.0"`, ``),
		"depends-name":    metadata("STRUCTURE", "a name that is a path", `"description"`, `"depends":{"../x":"1"},"description"`),
		"depends-long":    metadata("STRUCTURE", "a range costs time", `"description"`, `"depends":{"libc":">=1.0.0`+strings.Repeat(" ", 506)+`"},"description"`),
		"depends-longest": metadata("FILE_HASH", "as long as it may be; the inventory has another document", `"description"`, `"depends":{"libc":">=1.0.0`+strings.Repeat(" ", 505)+`"},"description"`),
		"depends-range":   metadata("STRUCTURE", "any version at all", `"description"`, `"depends":{"libc":" "},"description"`),
		"files-newer":     spoiled("SCHEMA_UNSUPPORTED", "a later version may mean something else", func(f *packageFolder) { f.doc["schema_version"] = "rebuild.files@2.0.0" }),
		"scope-bad":       metadata("STRUCTURE", "a scope that is none", `"name":"hello"`, `"name":"Org/hello"`),
		"cut-in-a-file":   raw("PARSE", "half a file", zipped(w.Honest().Package.Archive()[:bytes.Index(w.Honest().Package.Archive(), []byte(honest[attest.FilesFile].Text))+100])),
		"dot":             raw("PARSE", "one archive has one form", packed([]*tar.Header{{Name: "./", Mode: 0o755, Typeflag: tar.TypeDir}, {Name: attest.FilesFile, Mode: 0o644, Typeflag: tar.TypeReg}, {Name: attest.PackageFile, Mode: 0o644, Typeflag: tar.TypeReg}}, "", honest[attest.FilesFile].Text, honest[attest.PackageFile].Text)),
		"path-out":        raw("STRUCTURE", "a path that leaves", packed([]*tar.Header{{Name: "../x", Mode: 0o644, Typeflag: tar.TypeReg}, {Name: attest.FilesFile, Mode: 0o644, Typeflag: tar.TypeReg}, {Name: attest.PackageFile, Mode: 0o644, Typeflag: tar.TypeReg}}, "", honest[attest.FilesFile].Text, honest[attest.PackageFile].Text)),
		"long-path": spoiled("ok", "a path that needs a record of its own", func(f *packageFolder) {
			f.files[dir+"/"+strings.Repeat("long/", 50)+"x"] = exports
			for i := 1; i <= 50; i++ {
				f.files[dir+"/"+strings.TrimSuffix(strings.Repeat("long/", i), "/")] = vectorFile{Type: "d"}
			}
			f.vote(dir)
			f.inventory()
		}),
		"exports-and-more": spoiled("FILE_EXTRA", "exports say nothing for what is beside them", func(f *packageFolder) {
			f.files[dir+"/"+attest.ExportsFile], f.files[attest.ExportsFile], f.files["more"] = exports, exports, exports
			f.vote(dir)
			f.inventory()
		}),
		"exports-empty": spoiled("FILE_EXTRA", "nobody voted for no exports", func(f *packageFolder) {
			f.files[attest.ExportsFile] = vectorFile{Type: "f"}
			f.inventory()
		}),
		"owner":           raw("FILE_EXTRA", "belongs to somebody", header(tar.Header{Name: "x", Mode: 0o644, Uid: 1, Typeflag: tar.TypeReg})),
		"group":           raw("FILE_EXTRA", "belongs to somebody", header(tar.Header{Name: "x", Mode: 0o644, Gid: 1, Typeflag: tar.TypeReg})),
		"attributes":      raw("FILE_EXTRA", "more than its inventory can say", header(tar.Header{Name: "x", Mode: 0o644, Typeflag: tar.TypeReg, PAXRecords: map[string]string{"SCHILY.xattr.user.x": "y"}})),
		"device":          raw("FILE_EXTRA", "no file", header(tar.Header{Name: "x", Mode: 0o644, Typeflag: tar.TypeChar})),
		"fifo":            raw("FILE_EXTRA", "no file", header(tar.Header{Name: "x", Mode: 0o644, Typeflag: tar.TypeFifo})),
		"setuid":          raw("FILE_EXTRA", "a mode that a package does not carry", header(tar.Header{Name: "x", Mode: 0o4755, Typeflag: tar.TypeReg})),
		"directory-mode":  raw("FILE_EXTRA", "a mode that a package does not carry", header(tar.Header{Name: "x/", Mode: 0o777, Typeflag: tar.TypeDir})),
		"link-mode":       raw("FILE_EXTRA", "a mode that a package does not carry", header(tar.Header{Name: "x", Linkname: "y", Mode: 0o755, Typeflag: tar.TypeSymlink})),
		"empty":           raw("FILE_MISSING", "nothing", zipped(nil)),
		"junk":            raw("PARSE", "no tar", zipped([]byte(strings.Repeat("junk", 200)))),
		"cut":             raw("PARSE", "half an archive", zipped(w.Honest().Package.Archive()[:5000])),
		"trailing":        raw("PARSE", "one archive has one form", zipped(append(slices.Clone(w.Honest().Package.Archive()), make([]byte, 512)...))),
		"another-writer":  raw("PARSE", "one archive has one form", rewritten(w.Honest().Package.Archive())),
		"too-large":       padded(raw("PARSE", "work without end", ""), attest.MaxArchive),
		"content-in-size": raw("PARSE", "says that it is larger than may be", zipped(giant())),
	}
}

func padded(v vector, n int64) vector {
	v.Pad = n
	return v
}

// giant is the head of a file that says to have more than may be.
func giant() []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: "x", Mode: 0o644, Typeflag: tar.TypeReg, Size: attest.MaxArchive + 1}); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// rewritten is the same archive by another writer.
func rewritten(archive []byte) string {
	var headers []*tar.Header
	var contents []string
	for tr := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := tr.Next()
		if err != nil {
			return packed(headers, contents...)
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			panic(err)
		}
		h.Uname = "root"
		headers, contents = append(headers, h), append(contents, string(b))
	}
}

func (f *packageFolder) entry(name string) object {
	for i, e := range f.doc["files"].([]any) {
		if e.(object)["path"] == name {
			return sub(f.doc, "files", i)
		}
	}
	panic(name)
}

func (f *packageFolder) list() []store.File {
	var out []store.File
	for _, name := range slices.Sorted(maps.Keys(f.files)) {
		x := f.files[name]
		if name != attest.FilesFile {
			out = append(out, store.File{Path: name, Type: types[x.Type], Mode: uint32(x.mode()), Data: x.data(), Target: x.Link})
		}
	}
	return out
}

// vote makes the payload's tree what is below dir.
func (f *packageFolder) vote(dir string) {
	var inside []store.File
	for _, x := range f.list() {
		if rest, ok := strings.CutPrefix(x.Path, dir+"/"); ok {
			x.Path, x.Target = rest, strings.TrimPrefix(x.Target, dir+"/")
			inside = append(inside, x)
		}
	}
	tree, err := store.TreeOf(inside)
	if err != nil {
		panic(err)
	}
	sub(f.doc, "payloads", 0)["tree"] = string(tree.Digest())
}

// inventory lists what is there.
func (f *packageFolder) inventory() {
	tree, err := store.TreeOf(f.list())
	if err != nil {
		panic(err)
	}
	var all []any
	total := 0
	for e := range tree.Entries() {
		x := object{"path": e.Path, "type": string(rune(e.Type))}
		if e.Type != store.Link {
			x["mode"] = fmtMode(e.Mode)
		}
		if e.Type == store.Regular {
			x["size"], x["hash"] = e.Size, string(e.Content)
		}
		if e.Target != "" {
			x["link"] = e.Target
		}
		if e.Type != store.Dir {
			total++
		}
		all = append(all, x)
	}
	f.doc["files"], f.doc["total_files"], f.doc["hash"] = all, total, string(tree.Digest())
}

func fmtMode(m uint32) string {
	const digits = "01234567"
	return string([]byte{digits[m>>9&7], digits[m>>6&7], digits[m>>3&7], digits[m&7]})
}

func (f *packageFolder) vector(expect, why string) vector {
	raw, err := document.Encode(f.doc)
	if err != nil {
		panic(err)
	}
	f.files[attest.FilesFile] = vectorFile{Type: "f", Text: string(raw)}
	return vector{Expect: expect, Why: why, Epoch: attesttest.Epoch, Files: f.files}
}

func bundleVectors(w *attesttest.World) map[string]vector {
	r := w.Honest()
	good, err := r.Bundle.Encode()
	must(w.T, err)
	honest := tarFiles(good)
	plan := store.DigestOf(w.PlanJSON).Hex()
	files := func(expect, why string, change func(map[string]vectorFile)) vector {
		all := cloneFiles(honest)
		change(all)
		return vector{Expect: expect, Why: why, Epoch: 1, Files: all}
	}
	add := func(expect, why, name, text string) vector {
		return files(expect, why, func(all map[string]vectorFile) { all[name] = vectorFile{Type: "f", Text: text} })
	}
	without := func(expect, why, prefix string) vector {
		return files(expect, why, func(all map[string]vectorFile) {
			for name := range all {
				if strings.HasPrefix(name, prefix) {
					delete(all, name)
				}
			}
		})
	}
	raw := func(expect, why string, data []byte) vector {
		return vector{Expect: expect, Why: why, Epoch: 1, Files: honest, Archive: zipped(data)}
	}
	late := w.Statement("west", func(r *attest.Result) { r.Nonce = strings.Repeat("7", 64) })
	e, err := attest.ParseEnvelope("e", late)
	must(w.T, err)
	return map[string]vector{
		"honest":             files("ok", "the bundle that the other vectors start from", func(map[string]vectorFile) {}),
		"late-statement":     add("ok", "it has a place and is judged", plan+"/statements/"+e.Digest().Hex()+".dsse.json", string(late)),
		"no-lock":            without("ok", "not every release has one", "rebuild.lock"),
		"no-release":         without("STRUCTURE", "nothing to judge", "release"),
		"no-plan":            without("EVIDENCE_MISMATCH", "statements about nothing", plan+"/plan.json"),
		"object-4-mib":       add("ok", "as large as it may be", "objects/sha256/"+store.DigestOf(bytes.Repeat([]byte("x"), 4<<20)).Hex(), times(4<<20, "x")),
		"object-larger":      add("PARSE", "work without end", "objects/sha256/"+store.DigestOf(bytes.Repeat([]byte("x"), 4<<20+1)).Hex(), times(4<<20+1, "x")),
		"policy":             add("STRUCTURE", "it would judge itself", "policy.toml", w.PolicyTOML),
		"unknown":            add("STRUCTURE", "more than its form has", "account.json", "{}"),
		"odd-folder":         add("STRUCTURE", "no digest of a plan", "aa/plan.json", string(w.PlanJSON)),
		"odd-statement":      add("STRUCTURE", "no digest of a statement", plan+"/statements/x.dsse.json", string(late)),
		"statement-name":     add("EVIDENCE_MISMATCH", "under another's name", plan+"/statements/"+plan+".dsse.json", string(late)),
		"statement-form":     add("STRUCTURE", "no envelope", plan+"/statements/"+plan+".dsse.json", "{}"),
		"plan-name":          add("EVIDENCE_MISMATCH", "under another's name", strings.Repeat("0", 64)+"/plan.json", string(w.PlanJSON)),
		"object-name":        add("EVIDENCE_MISMATCH", "under another's name", "objects/sha256/"+plan, "x"),
		"statements-of-none": add("EVIDENCE_MISMATCH", "about a plan that is not there", strings.Repeat("0", 64)+"/statements/"+e.Digest().Hex()+".dsse.json", string(late)),
		"release-large":      add("PARSE", "larger than it may be", "release.dsse.json", times(attest.MaxEnvelope+1, "x")),
		"executable":         files("PARSE", "one bundle has one form", func(all map[string]vectorFile) { x := all["rebuild.lock"]; x.Mode = "755"; all["rebuild.lock"] = x }),
		"directory":          files("PARSE", "one bundle has one form", func(all map[string]vectorFile) { all["x"] = vectorFile{Type: "d"} }),
		"link":               files("STRUCTURE", "content from elsewhere", func(all map[string]vectorFile) { all["rebuild.lock"] = vectorFile{Type: "l", Link: "/etc/passwd"} }),
		"empty":              raw("STRUCTURE", "nothing", nil),
		"junk":               raw("PARSE", "no tar", []byte("junk")),
		"cut":                raw("PARSE", "half a bundle", good[:len(good)-512]),
		"trailing":           raw("PARSE", "one bundle has one form", append(slices.Clone(good), make([]byte, 512)...)),
		"cut-in-a-file":      raw("PARSE", "half a bundle", good[:bytes.Index(good, w.PlanJSON)+100]),
		"too-large":          padded(vector{Expect: "PARSE", Why: "work without end", Epoch: 1, Files: honest}, attest.MaxBundle),
	}
}

func entryVectors(w *attesttest.World) map[string]vector {
	line, _ := indexOf(w)
	policy := attesttest.Policy("")
	v := func(expect, why, text string) vector {
		return vector{Expect: expect, Why: why, Policy: policy, Line: text}
	}
	edited := func(expect, why string, spoil func(object)) vector {
		return v(expect, why, string(edit([]byte(line), spoil)))
	}
	signature := func(expect, why string, spoil func(object)) vector {
		return edited(expect, why, func(o object) { spoil(sub(o, "signature")) })
	}
	stranger := func(o object) {
		message, err := index.Message(o["name"].(string), o["version"].(string), o["cksum"].(string))
		must(w.T, err)
		sig, err := attesttest.Key("stranger").Sign(message)
		must(w.T, err)
		sub(o, "signature")["ed25519_sig"] = base64.StdEncoding.EncodeToString(sig)
	}
	return map[string]vector{
		"signed":          v("ok", "the line that the other vectors start from", line),
		"yanked":          edited("ok", "the signature is of name, version and cksum", func(o object) { o["yanked"] = true }),
		"advisory":        edited("ok", "an id", func(o object) { o["advisories"] = []any{"CVE-2026-1"} }),
		"deps":            edited("ok", "sorted, with ranges", func(o object) { o["deps"] = []any{object{"name": "a", "req": "1"}, object{"name": "b", "req": "1"}} }),
		"no-release":      edited("ok", "nobody voted for it, and it says so", func(o object) { delete(o, "release"); delete(o, "oci"); o["assurance"] = "none" }),
		"none":            edited("ok", "the entry says less than it could", func(o object) { o["assurance"] = "none" }),
		"newer":           edited("SCHEMA_UNSUPPORTED", "a later version may mean something else", func(o object) { o["schema_version"] = "rebuild.index-entry@2.0.0" }),
		"name":            edited("STRUCTURE", "a name that is a path", func(o object) { o["name"] = "../x" }),
		"name-space":      edited("STRUCTURE", "nothing is trimmed before it is signed", func(o object) { o["name"] = " hello" }),
		"version":         edited("STRUCTURE", "not SemVer", func(o object) { o["version"] = "1" }),
		"cksum":           edited("STRUCTURE", "hex has one form", func(o object) { o["cksum"] = strings.ToUpper(o["cksum"].(string)) }),
		"release":         edited("STRUCTURE", "not a digest", func(o object) { o["release"] = "x" }),
		"oci":             edited("STRUCTURE", "not a digest", func(o object) { o["oci"] = "x" }),
		"oci-alone":       edited("SEMANTIC", "images of no release", func(o object) { delete(o, "release"); o["assurance"] = "none" }),
		"assurance-alone": edited("SEMANTIC", "a quorum for no release", func(o object) { delete(o, "release"); delete(o, "oci") }),
		"assurance":       edited("SEMANTIC", "unknown", func(o object) { o["assurance"] = "much" }),
		"seq":             edited("STRUCTURE", "there is no such place in a log", func(o object) { o["seq"] = -1 }),
		"seq-logged":      edited("ok", "where the index has it in its log", func(o object) { o["seq"] = 1 }),
		"seq-first":       edited("ok", "the first place in a log", func(o object) { o["seq"] = 0 }),
		"deps-unsorted": edited("SEMANTIC", "one entry has one form", func(o object) {
			o["deps"] = []any{object{"name": "b", "req": "1"}, object{"name": "a", "req": "1"}}
		}),
		"deps-twice": edited("SEMANTIC", "two ranges of one package", func(o object) {
			o["deps"] = []any{object{"name": "a", "req": "1"}, object{"name": "a", "req": "2"}}
		}),
		"deps-name":       edited("STRUCTURE", "a name that is a path", func(o object) { o["deps"] = []any{object{"name": "../a", "req": "1"}} }),
		"deps-range":      edited("SEMANTIC", "any version at all", func(o object) { o["deps"] = []any{object{"name": "a", "req": " "}} }),
		"advisory-text":   edited("STRUCTURE", "an id and no text", func(o object) { o["advisories"] = []any{"see example.org"} }),
		"unsigned":        edited("ENTRY_UNSIGNED", "nobody signed it", func(o object) { delete(o, "signature") }),
		"other-name":      edited("SIGNATURE_INVALID", "signed for another name", func(o object) { o["name"] = "hallo" }),
		"other-version":   edited("SIGNATURE_INVALID", "signed for another version", func(o object) { o["version"] = "0.1.1" }),
		"other-cksum":     edited("SIGNATURE_INVALID", "signed for another archive", func(o object) { o["cksum"] = otherDigest[7:] }),
		"kind":            signature("SIGNATURE_UNSUPPORTED", "unknown", func(s object) { s["kind"] = "rsa" }),
		"sig-text":        signature("PARSE", "not base64", func(s object) { s["ed25519_sig"] = "!" }),
		"sig-short":       signature("PARSE", "63 bytes", func(s object) { s["ed25519_sig"] = base64.StdEncoding.EncodeToString(make([]byte, 63)) }),
		"sig-line-break":  signature("PARSE", "base64 has one form", func(s object) { s["ed25519_sig"] = "\n" + s["ed25519_sig"].(string) }),
		"sig-zero":        signature("SIGNATURE_INVALID", "64 zeros", func(s object) { s["ed25519_sig"] = base64.StdEncoding.EncodeToString(make([]byte, 64)) }),
		"key-unknown":     signature("KEY_UNKNOWN", "a key that the policy does not have", func(s object) { s["key_id"] = string(attesttest.Key("stranger").Public().ID()) }),
		"key-of-operator": signature("KEY_UNKNOWN", "an operator is no index", func(s object) { s["key_id"] = string(attesttest.Key("east").Public().ID()) }),
		"sig-of-stranger": edited("SIGNATURE_INVALID", "a key id proves nothing", stranger),
		"key-expired":     policyText(v("KEY_EXPIRED", "signed with a key that has ended", line), key64("index")+`"`, key64("index")+`", not_after = "2026-01-01T00:00:00Z"`),
	}
}

// indexOf returns the line of an index with the honest release, and its files.
func indexOf(w *attesttest.World) (string, map[string]vectorFile) {
	r := w.Honest()
	return publishedIn(w, r.Bundle, r.Package.Archive())
}

func publishedIn(w *attesttest.World, bundle *attest.Bundle, archive []byte) (string, map[string]vectorFile) {
	dir := filepath.Join(w.T.TempDir(), "index")
	in := index.Writing{Policy: w.LoadPolicy(), Key: attesttest.Key("index"), Now: func() time.Time { return attesttest.Now }}
	must(w.T, index.Init(context.Background(), dir, index.Config{Signing: index.SigningWith(attesttest.Key("index").Public())}, in))
	x, err := index.Open(dir, in)
	must(w.T, err)
	_, _, err = x.Publish(context.Background(), bundle, archive)
	must(w.T, err)
	files := folderFiles(dir)
	delete(files, "lock")
	return strings.TrimSuffix(files["he/ll/hello"].Text, "\n"), files
}

func indexVectors(w *attesttest.World) map[string]vector {
	line, honest := indexOf(w)
	files := func(expect, why string, change func(map[string]vectorFile)) vector {
		all := cloneFiles(honest)
		change(all)
		return vector{Expect: expect, Why: why, Policy: attesttest.Policy(""), Name: "hello", Version: "0.1.0", Files: all}
	}
	lines := func(expect, why string, all ...string) vector {
		return files(expect, why, func(f map[string]vectorFile) {
			f["he/ll/hello"] = vectorFile{Text: strings.Join(all, "\n") + "\n"}
		})
	}
	edited := func(expect, why string, spoil func(object)) vector {
		return lines(expect, why, string(edit([]byte(line), spoil)))
	}
	config := func(expect, why string, spoil func(object)) vector {
		return files(expect, why, func(f map[string]vectorFile) {
			f["config.json"] = vectorFile{Text: string(edit([]byte(honest["config.json"].Text), spoil))}
		})
	}
	signed := func(o object, name, version, cksum string) {
		message, err := index.Message(name, version, cksum)
		must(w.T, err)
		sig, err := attesttest.Key("index").Sign(message)
		must(w.T, err)
		o["name"], o["version"], o["cksum"] = name, version, cksum
		sub(o, "signature")["ed25519_sig"] = base64.StdEncoding.EncodeToString(sig)
	}
	var entry struct{ Release, Cksum string }
	must(w.T, stdjson.Unmarshal([]byte(line), &entry))
	releaseName := "statements/" + entry.Release[7:] + ".dsse.json"
	planName := "objects/sha256/" + store.DigestOf(w.PlanJSON).Hex()
	manifest := "objects/sha256/" + w.Stages[1].Manifest.Hex()
	var other string
	for name := range honest {
		if strings.HasPrefix(name, "statements/") && name != releaseName && (other == "" || name < other) {
			other = name
		}
	}
	ask := func(v vector, name, version string) vector { v.Name, v.Version = name, version; return v }
	asked := func(expect, why, name, version string) vector {
		return ask(files(expect, why, func(map[string]vectorFile) {}), name, version)
	}
	yanked := string(edit([]byte(line), func(o object) { o["yanked"] = true }))
	second := string(edit([]byte(line), func(o object) { signed(o, "hello", "0.0.9", o["cksum"].(string)) }))
	key := func(o object) object { return sub(o, "signing", "public_keys", 0) }
	from := func(why string, m made, change func(*vector)) vector {
		change(&m.vector)
		v := files("ok", why, func(map[string]vectorFile) {})
		_, v.Files = publishedIn(w, m.vector.bundle(), m.archive)
		return v
	}
	two := release(w, attesttest.Policy(""), []string{"base", "hello"})
	one := release(w, attesttest.Policy(""), []string{"hello"})
	return map[string]vector{
		"honest":           files("ok", "the index that the other vectors start from", func(map[string]vectorFile) {}),
		"latest":           asked("ok", "the one that there is", "hello", ""),
		"highest":          ask(lines("ok", "the highest, wherever it stands", line, second), "hello", ""),
		"highest-last":     ask(lines("ok", "the highest, wherever it stands", second, line), "hello", ""),
		"yanked-by-name":   lines("ok", "named, it is used all the same", yanked),
		"newer-line":       lines("ok", "passed over", string(edit([]byte(second), func(o object) { o["schema_version"] = "rebuild.index-entry@2.0.0" })), line),
		"build-metadata":   asked("ok", "is no part of a version", "hello", "0.1.0+x"),
		"yanked":           ask(lines("NO_NON_YANKED", "nobody asked for it", yanked), "hello", ""),
		"no-version":       asked("INDEX_NO_MATCH", "not there", "hello", "0.2.0"),
		"bad-version":      asked("STRUCTURE", "not SemVer", "hello", "1"),
		"no-package":       asked("INDEX_NO_MATCH", "not there", "hallo", ""),
		"bad-name":         asked("STRUCTURE", "a name that is a path", "../hello", ""),
		"short-name":       asked("INDEX_NO_MATCH", "not there", "a", ""),
		"no-config":        files("INDEX_FETCH", "no index", func(f map[string]vectorFile) { delete(f, "config.json") }),
		"config-large":     files("PARSE", "work without end", func(f map[string]vectorFile) { f["config.json"] = vectorFile{Text: times(64<<10+1, " ")} }),
		"config-log":       config("STRUCTURE", "not the key of a log", func(o object) { o["log"] = object{"key": "k", "origin": "o"} }),
		"config-kind":      config("SIGNATURE_UNSUPPORTED", "unknown", func(o object) { sub(o, "signing")["kind"] = "rsa" }),
		"config-key":       config("STRUCTURE", "not a key", func(o object) { key(o)["ed25519_pub"] = "k" }),
		"config-weak":      config("KEY_WEAK", "a key that signs anything", func(o object) { key(o)["ed25519_pub"] = base64.StdEncoding.EncodeToString(make([]byte, 32)) }),
		"config-id":        config("SEMANTIC", "another key's id", func(o object) { key(o)["id"] = otherDigest }),
		"config-before":    config("STRUCTURE", "not a time", func(o object) { key(o)["not_before"] = "x" }),
		"config-after":     config("STRUCTURE", "not a time", func(o object) { key(o)["not_after"] = "x" }),
		"config-times":     config("ok", "times are shown, the policy decides", func(o object) { key(o)["not_after"] = "2026-01-01T00:00:00Z" }),
		"config-keyless":   config("ok", "none has to be advertised, the policy decides", func(o object) { sub(o, "signing")["public_keys"] = []any{} }),
		"config-newer":     config("SCHEMA_UNSUPPORTED", "a later version may mean something else", func(o object) { o["schema_version"] = "rebuild.index-config@2.0.0" }),
		"config-unknown":   config("STRUCTURE", "never ignored", func(o object) { o["extra"] = "x" }),
		"config-64-kib":    config("ok", "as large as it may be", func(o object) { o["dl"] = times(64<<10-len(honest["config.json"].Text)-len(`"dl":"",`), "x") }),
		"config-directory": files("INDEX_FETCH", "no file", func(f map[string]vectorFile) { delete(f, "config.json"); f["config.json/x"] = vectorFile{Text: "x"} }),
		"pipe":             files("INDEX_FETCH", "to open it would wait for its other end", func(f map[string]vectorFile) { f["he/ll/hello"] = vectorFile{Type: "p", Text: line + "\n"} }),
		"archive-directory": files("INDEX_FETCH", "no file", func(f map[string]vectorFile) {
			delete(f, "objects/sha256/"+entry.Cksum)
			f["objects/sha256/"+entry.Cksum+"/x"] = vectorFile{Text: "x"}
		}),
		"two-targets": from("a release of two images", two, func(*vector) {}),
		"without-lock": from("a release without a lock", one, func(v *vector) {
			v.Lock, v.Envelope = "", respoil(w, one.payload, func(p object) { delete(p, "lock") })
		}),
		"stricter-policy": policyText(files("LINEAGE_UNTRACED", "the reader's own policy decides", func(map[string]vectorFile) {}), "groups.main", "require = { max_seed_bytes = 100 }\ngroups.main"),
		"unsigned":        config("INDEX_UNSIGNED", "the index does not sign", func(o object) { delete(o, "signing") }),
		"line-bad":        lines("STRUCTURE", "never passed over", "{}", line),
		"line-other":      lines("SEMANTIC", "about another package", string(edit([]byte(line), func(o object) { o["name"] = "hallo" }))),
		"line-twice":      lines("SEMANTIC", "which of them", line, line),
		"line-not-ended":  files("PARSE", "half a line", func(f map[string]vectorFile) { f["he/ll/hello"] = vectorFile{Text: line} }),
		"lines-large":     files("PARSE", "work without end", func(f map[string]vectorFile) { f["he/ll/hello"] = vectorFile{Text: times(4<<20+1, "x")} }),
		"signature":       edited("SIGNATURE_INVALID", "signed for another archive", func(o object) { o["cksum"] = otherDigest[7:] }),
		"no-release":      edited("QUORUM_PENDING", "nobody voted for it", func(o object) { delete(o, "release"); delete(o, "oci"); o["assurance"] = "none" }),
		"release-of-none": edited("EVIDENCE_MISMATCH", "it is not there", func(o object) { o["release"] = otherDigest }),
		"release-of-other": edited("KEY_UNKNOWN", "a result is no release", func(o object) {
			o["release"] = "sha256:" + strings.TrimSuffix(strings.TrimPrefix(other, "statements/"), ".dsse.json")
		}),
		"release-swapped": files("EVIDENCE_MISMATCH", "under another's name", func(f map[string]vectorFile) { f[releaseName] = f[other] }),
		"release-form":    files("STRUCTURE", "no envelope", func(f map[string]vectorFile) { f[releaseName] = vectorFile{Text: "{}"} }),
		"release-large":   files("PARSE", "work without end", func(f map[string]vectorFile) { f[releaseName] = vectorFile{Text: times(attest.MaxEnvelope+1, "x")} }),
		"release-unsigned": files("SIGNATURE_INVALID", "one of two signers", func(f map[string]vectorFile) {
			f[releaseName] = vectorFile{Text: string(w.Sign(w.Honest().Payload, "r1"))}
		}),
		"version-of-release": ask(edited("EVIDENCE_MISMATCH", "the release is of another version", func(o object) { signed(o, "hello", "0.2.0", o["cksum"].(string)) }), "hello", "0.2.0"),
		"name-of-release": ask(files("EVIDENCE_MISMATCH", "the release is of another name", func(f map[string]vectorFile) {
			f["1/a"] = vectorFile{Text: string(edit([]byte(line), func(o object) { signed(o, "a", "0.1.0", o["cksum"].(string)) })) + "\n"}
		}), "a", ""),
		"name-of-two": ask(files("EVIDENCE_MISMATCH", "the release is of another name", func(f map[string]vectorFile) {
			f["2/ab"] = vectorFile{Text: string(edit([]byte(line), func(o object) { signed(o, "ab", "0.1.0", o["cksum"].(string)) })) + "\n"}
		}), "ab", ""),
		"name-of-three": ask(files("EVIDENCE_MISMATCH", "the release is of another name", func(f map[string]vectorFile) {
			f["3/a/abc"] = vectorFile{Text: string(edit([]byte(line), func(o object) { signed(o, "abc", "0.1.0", o["cksum"].(string)) })) + "\n"}
		}), "abc", ""),
		"name-scoped": ask(files("EVIDENCE_MISMATCH", "the release is of another name", func(f map[string]vectorFile) {
			f["~org/he/ll/hello"] = vectorFile{Text: string(edit([]byte(line), func(o object) { signed(o, "org/hello", "0.1.0", o["cksum"].(string)) })) + "\n"}
		}), "org/hello", ""),
		"cksum-of-release": edited("CKSUM_MISMATCH", "another archive than the release", func(o object) { signed(o, "hello", "0.1.0", otherDigest[7:]) }),
		"oci":              edited("EVIDENCE_MISMATCH", "other images than the release", func(o object) { o["oci"] = otherDigest }),
		"assurance":        edited("EVIDENCE_MISMATCH", "less than the release", func(o object) { o["assurance"] = "none" }),
		"deps":             edited("EVIDENCE_MISMATCH", "other packages than the release", func(o object) { o["deps"] = []any{object{"name": "a", "req": "1"}} }),
		"no-archive":       files("FILE_MISSING", "it is not there", func(f map[string]vectorFile) { delete(f, "objects/sha256/"+entry.Cksum) }),
		"archive":          files("CKSUM_MISMATCH", "another archive", func(f map[string]vectorFile) { f["objects/sha256/"+entry.Cksum] = vectorFile{Text: "x"} }),
		"no-plan":          files("FILE_MISSING", "it is not there", func(f map[string]vectorFile) { delete(f, planName) }),
		"no-manifest":      files("FILE_MISSING", "it is not there", func(f map[string]vectorFile) { delete(f, manifest) }),
		"no-statement":     files("EVIDENCE_MISMATCH", "it is not there", func(f map[string]vectorFile) { delete(f, other) }),
		"no-lock": files("FILE_MISSING", "it is not there", func(f map[string]vectorFile) {
			delete(f, "objects/sha256/"+store.DigestOf([]byte("a lock\n")).Hex())
		}),
	}
}

func publicationVectors(w *attesttest.World) map[string]vector {
	r := w.Honest()
	honest := releaseVectors(w)["honest"]
	honest.Files, honest.Epoch = tarFiles(r.Package.Archive()), attesttest.Epoch
	honest.Why = "the publication that the other vectors start from"
	with := func(expect, why string, change func(*vector)) vector {
		v := honest
		v.Expect, v.Why = expect, why
		change(&v)
		return v
	}
	return map[string]vector{
		"honest":     honest,
		"one-signer": with("SIGNATURE_INVALID", "two must sign", func(v *vector) { v.Envelope = string(w.Sign(r.Payload, "r1")) }),
		"no-archive": with("CKSUM_MISMATCH", "the archive is another", func(v *vector) { v.Files = nil; v.Archive = zipped(nil) }),
		"one-vote":   with("EVIDENCE_MISMATCH", "the evidence is missing", func(v *vector) { v.Statements = v.Statements[:1] }),
		"bad-archive": with("PARSE", "named by the release, and no archive", func(v *vector) {
			v.Envelope = respoil(w, r.Payload, func(p object) { p["cksum"] = store.DigestOf([]byte("junk")).Hex() })
			v.Files, v.Archive = nil, zipped([]byte("junk"))
		}),
	}
}
