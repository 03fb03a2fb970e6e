package attest_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

func TestLoadPackage(t *testing.T) {
	doc, image, err := attest.LoadPackage("package.toml", []byte(attesttest.PackageTOML))
	must(t, err)
	again, err := attest.DecodePackage("rebuild.package.json", image)
	must(t, err)
	if doc.Name != "hello" || again.Meta != doc.Meta {
		t.Errorf("%+v %+v", doc, again)
	}
	for name, c := range map[string]struct {
		from, to string
		code     fault.Code
	}{
		"A1 no description":        {"description = \"says hi\"\n", "", fault.PkgDescriptionRequired},
		"A1 empty description":     {`"says hi"`, `" "`, fault.PkgDescriptionRequired},
		"A1 description no string": {`"says hi"`, `1`, fault.PkgDescriptionRequired},
		"A2 no docs":               {"docs = \"Run it.\"\n", "", fault.PkgDocsRequired},
		"A2 docs no string":        {`"Run it."`, `["Run it."]`, fault.PkgDocsRequired},
		"A3 no license":            {"license = \"MIT\"\n", "", fault.PkgLicenseRequired},
		"A3 license no string":     {`"MIT"`, `true`, fault.PkgLicenseRequired},
		"A4 no compat":             {`{ rebuild_compat = ">=1.0.0" }`, `{}`, fault.PkgCompatRequired},
		"A4 no meta":               {`meta = { rebuild_compat = ">=1.0.0" }`, ``, fault.PkgCompatRequired},
		"A4 compat no string":      {`">=1.0.0"`, `1`, fault.PkgCompatNotString},
		"A4 compat no range":       {`">=1.0.0"`, `"soon"`, fault.PkgCompatInvalid},
		"A5 no schema":             {"schema_version = \"rebuild.package@1.0.0\"\n", "", fault.Structure},
		"A5 another schema":        {"rebuild.package@", "rebuild.stage@", fault.Structure},
		"A5 later schema":          {"package@1.0.0", "package@9.0.0", fault.SchemaUnsupported},
		"A6 modules no list":       {"meta", "modules = \"a\"\nmeta", fault.Structure},
		"name":                     {`"hello"`, `"Hello"`, fault.Structure},
		"version":                  {`"0.1.0"`, `"0.1"`, fault.Structure},
		"unknown key":              {"docs", "doc", fault.Structure},
		"no range":                 {"meta", "depends = { libc = \"\" }\nmeta", fault.Structure},
		"bad range":                {"meta", "depends = { libc = \">=\" }\nmeta", fault.Structure},
		"depends on a path":        {"meta", "depends = { \"../x\" = \"1\" }\nmeta", fault.Structure},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := attest.LoadPackage("package.toml", []byte(strings.Replace(attesttest.PackageTOML, c.from, c.to, 1)))
			code(t, err, c.code)
		})
	}
}

// A4: the message says which of the four it is, in which line, and the fields
// of A6 have the names that they have in both forms.
func TestA4MessagesAndA6Fields(t *testing.T) {
	_, _, err := attest.LoadPackage("package.toml", []byte(strings.Replace(attesttest.PackageTOML, `">=1.0.0"`, "7", 1)))
	if got := err.Error(); got != "package.toml:7: meta.rebuild_compat is not a string" {
		t.Error(got)
	}
	d, image, err := attest.LoadPackage("package.toml", []byte(attesttest.PackageTOML+"module_root = \"src\"\nmodules = [\"a\", \"b\"]\n"))
	must(t, err)
	if !strings.Contains(string(image), `"module_root":"src","modules":["a","b"],"name":"hello"`) || d.ModuleRoot != "src" {
		t.Errorf("%s", image)
	}
	must(t, d.CheckCompat("1.0.0"))
	code(t, d.CheckCompat("0.9.0"), fault.PkgCompatExcludes)
	code(t, (&attest.PackageDocument{}).CheckCompat("1.0.0"), fault.PkgCompatExcludes)
}

func TestPackIsAFunctionOfItsInput(t *testing.T) {
	w := attesttest.New(t)
	a, b := w.Honest().Package, attesttest.New(t).Honest().Package
	if !bytes.Equal(a.Archive(), b.Archive()) || a.Cksum() != store.DigestOf(a.Archive()).Hex() {
		t.Error("two archives of one input")
	}
	if got := a.Payloads(); len(got) != 1 || got[0].Tree != w.Stages[1].Tree {
		t.Errorf("%+v", got)
	}
}

func TestPackReadsLayers(t *testing.T) {
	w := attesttest.New(t)
	image, err := w.Store.Image(w.Stages[1].Manifest)
	must(t, err)
	layer, err := w.Store.Open(image.Layer.Digest)
	must(t, err)
	defer layer.Close()
	files, err := attest.ReadLayer(layer)
	must(t, err)
	tree, err := store.TreeOf(files)
	must(t, err)
	if tree.Digest() != w.Stages[1].Tree {
		t.Errorf("%+v", files)
	}
}

// What a package does not carry ships as an OCI image only.
func TestReadLayerRefusesWhatAPackageDoesNotCarry(t *testing.T) {
	for name, f := range map[string]store.File{
		"setuid": {Path: "su", Mode: 0o4755}, "read-only": {Path: "x", Mode: 0o444}, "open directory": {Path: "tmp", Type: store.Dir, Mode: 0o777},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			_, err := store.WriteArchive(&b, []store.File{f}, 1)
			must(t, err)
			_, err = attest.ReadLayer(&b)
			code(t, err, fault.FileExtra)
		})
	}
	_, err := attest.ReadLayer(strings.NewReader("junk that is no tar, but long enough to look at it" + strings.Repeat("x", 600)))
	code(t, err, fault.Parse)
}

func TestPackRefuses(t *testing.T) {
	w := attesttest.New(t)
	_, image, err := attest.LoadPackage("package.toml", []byte(attesttest.PackageTOML))
	must(t, err)
	in := attest.PayloadInput{Platform: attesttest.Platform, Target: "hello", Path: "p", Tree: w.Stages[1].Tree, Files: w.HelloFiles}
	for name, c := range map[string]struct {
		change func(*attest.PayloadInput)
		code   fault.Code
	}{
		"another tree":   {func(in *attest.PayloadInput) { in.Files = in.Files[:1] }, fault.TreeMismatch},
		"path out":       {func(in *attest.PayloadInput) { in.Path = "../p" }, fault.Structure},
		"absolute path":  {func(in *attest.PayloadInput) { in.Path = "/p" }, fault.Structure},
		"over the files": {func(in *attest.PayloadInput) { in.Path = attest.FilesFile }, fault.Structure},
	} {
		t.Run(name, func(t *testing.T) {
			spoiled := in
			c.change(&spoiled)
			_, err := attest.Pack(image, []attest.PayloadInput{spoiled}, 1)
			code(t, err, c.code)
		})
	}
	_, err = attest.Pack([]byte("{}"), nil, 1)
	code(t, err, fault.Structure)
	only, err := attest.Pack(image, []attest.PayloadInput{{Platform: in.Platform, Target: in.Target, Tree: in.Tree}}, 1)
	must(t, err)
	if got := only.Payloads(); got[0].Path != "" {
		t.Errorf("%+v", got)
	}
}

// folder is a package folder that is being spoiled.
type folder struct {
	files []store.File
	doc   attest.FilesDocument
}

func (f *folder) file(path string) *store.File {
	i := slices.IndexFunc(f.files, func(x store.File) bool { return x.Path == path })
	return &f.files[i]
}

func (f *folder) entry(path string) *attest.FileEntry {
	i := slices.IndexFunc(f.doc.Files, func(x attest.FileEntry) bool { return x.Path == path })
	return &f.doc.Files[i]
}

func (f *folder) remove(path string) {
	f.files = slices.DeleteFunc(f.files, func(x store.File) bool { return x.Path == path })
}

// Every difference between the inventory and the content has its code, and
// the texts are those that scripts know.
func TestOpenPackageRefusals(t *testing.T) {
	const hello = "linux-amd64/hello/bin/hello"
	const dir = "linux-amd64/hello"
	for name, c := range map[string]struct {
		change func(*folder)
		code   fault.Code
		text   string
	}{
		"changed":      {func(f *folder) { f.file(hello).Data = []byte("x") }, fault.FileHash, "Verification failed: File '" + hello + "' hash mismatch\nExpected: SHA256:"},
		"removed":      {func(f *folder) { f.remove(hello) }, fault.FileMissing, "Verification failed: File '" + hello + "' listed in manifest but not found in package"},
		"added":        {func(f *folder) { f.files = append(f.files, store.File{Path: dir + "/new", Mode: 0o644}) }, fault.FileExtra, "Verification failed: File '" + dir + "/new' found in package but not listed in manifest"},
		"chmod":        {func(f *folder) { f.file(hello).Mode = 0o644 }, fault.FileHash, "mode mismatch\nExpected: 0755\nActual: 0644"},
		"link swapped": {func(f *folder) { f.file(dir + "/bin/hi").Target = "/bin/sh" }, fault.FileHash, "link mismatch"},
		"type swapped": {func(f *folder) { *f.file(hello) = store.File{Path: hello, Type: store.Symlink, Target: "hi"} }, fault.FileHash, "type mismatch"},
		"size said":    {func(f *folder) { n := int64(1); f.entry(hello).Size = &n }, fault.FileHash, "size mismatch\nExpected: 1"},
		"no size said": {func(f *folder) { f.entry(hello).Size = nil }, fault.FileHash, "size mismatch\nExpected: none"},
		"all at once": {func(f *folder) {
			f.file(hello).Mode = 0o644
			f.remove(dir + "/bin/hi")
			f.files = append(f.files, store.File{Path: "x", Mode: 0o644})
		}, fault.FileHash, "File 'x' found in package"},
		"listed twice":  {func(f *folder) { f.doc.Files = append(f.doc.Files, f.doc.Files[0]) }, fault.Semantic, "listed twice"},
		"unsorted":      {func(f *folder) { slices.Reverse(f.doc.Files) }, fault.Semantic, "tree order"},
		"total":         {func(f *folder) { f.doc.TotalFiles++ }, fault.Semantic, "total_files"},
		"whole hash":    {func(f *folder) { f.doc.Hash = store.DigestOf(nil) }, fault.TreeMismatch, "the package's tree is"},
		"payload tree":  {func(f *folder) { f.doc.Payloads[0].Tree = store.DigestOf(nil) }, fault.TreeMismatch, "payload linux/amd64 hello"},
		"payload path":  {func(f *folder) { f.doc.Payloads[0].Path = "linux-amd64/hallo" }, fault.FileMissing, "no directory"},
		"payload file":  {func(f *folder) { f.doc.Payloads[0].Path = hello }, fault.FileMissing, "no directory"},
		"payload twice": {func(f *folder) { f.doc.Payloads = append(f.doc.Payloads, f.doc.Payloads[0]) }, fault.Semantic, "listed twice"},
		"payloads unsorted": {func(f *folder) {
			f.doc.Payloads = append(f.doc.Payloads, attest.Payload{Platform: "linux/386", Target: "hello", Tree: store.DigestOf(nil)})
		}, fault.Semantic, "not sorted"},
		"beside the payload": {func(f *folder) { f.list(store.File{Path: "install.sh", Mode: 0o755}) }, fault.FileExtra, "not in a voted payload"},
		"exports unvoted":    {func(f *folder) { f.list(store.File{Path: attest.ExportsFile, Mode: 0o644, Data: []byte("{}")}) }, fault.FileExtra, attest.ExportsFile},
		"no package":         {func(f *folder) { f.remove(attest.PackageFile) }, fault.FileMissing, attest.PackageFile},
		"package a link": {func(f *folder) {
			*f.file(attest.PackageFile) = store.File{Path: attest.PackageFile, Type: store.Symlink, Target: "x"}
		}, fault.FileMissing, attest.PackageFile},
		"package spoiled": {func(f *folder) { f.file(attest.PackageFile).Data = []byte("{}") }, fault.Structure, "schema_version"},
		"other epoch":     {func(f *folder) { f.doc.SourceDateEpoch = 2 }, fault.Parse, "not a canonical archive"},
	} {
		t.Run(name, func(t *testing.T) {
			f := openFolder(t)
			c.change(f)
			_, err := attest.OpenPackage("a", f.archive(t))
			code(t, err, c.code)
			if !strings.Contains(err.Error(), c.text) {
				t.Errorf("no %q in %v", c.text, err)
			}
		})
	}
	f := openFolder(t)
	f.remove(attest.FilesFile)
	_, err := attest.OpenPackage("a", f.archiveWithout(t))
	code(t, err, fault.FileMissing)
	_, err = attest.OpenPackage("a", make([]byte, attest.MaxArchive+1))
	code(t, err, fault.Parse)
}

// Exports made inside a stage may be repeated beside the payload.
func TestVotedExports(t *testing.T) {
	files := []store.File{{Path: attest.ExportsFile, Mode: 0o644, Data: []byte("{}")}}
	tree, err := store.TreeOf(files)
	must(t, err)
	_, image, err := attest.LoadPackage("package.toml", []byte(attesttest.PackageTOML))
	must(t, err)
	p, err := attest.Pack(image, []attest.PayloadInput{{Platform: "linux/amd64", Target: "hello", Path: "p", Tree: tree.Digest(), Files: files}}, 1)
	must(t, err)
	f := folderOf(t, p)
	f.list(store.File{Path: attest.ExportsFile, Mode: 0o644, Data: []byte("{}")})
	_, err = attest.OpenPackage("a", f.archive(t))
	must(t, err)
}

func openFolder(t *testing.T) *folder { return folderOf(t, attesttest.New(t).Honest().Package) }

func folderOf(t *testing.T, p *attest.Package) *folder {
	t.Helper()
	files, err := attest.ReadLayer(bytes.NewReader(p.Archive()))
	must(t, err)
	f := &folder{files: files}
	must(t, document.Decode("files", f.file(attest.FilesFile).Data, document.Files, &f.doc))
	return f
}

// list adds a file to content and inventory.
func (f *folder) list(file store.File) {
	f.files = append(f.files, file)
	size := int64(len(file.Data))
	mode := "0644"
	if file.Mode == 0o755 {
		mode = "0755"
	}
	f.doc.Files = append(f.doc.Files, attest.FileEntry{Path: file.Path, Type: "f", Mode: mode, Size: &size, Hash: store.DigestOf(file.Data)})
	slices.SortFunc(f.doc.Files, func(a, b attest.FileEntry) int { return strings.Compare(a.Path, b.Path) })
	f.doc.TotalFiles++
	whole := slices.DeleteFunc(slices.Clone(f.files), func(x store.File) bool { return x.Path == attest.FilesFile })
	if tree, err := store.TreeOf(whole); err == nil {
		f.doc.Hash = tree.Digest()
	}
}

func (f *folder) archive(t *testing.T) []byte {
	t.Helper()
	raw, err := document.Encode(f.doc)
	must(t, err)
	f.file(attest.FilesFile).Data = raw
	return f.archiveWithout(t)
}

func (f *folder) archiveWithout(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	_, err := store.WriteArchive(&b, f.files, 1)
	must(t, err)
	return b.Bytes()
}
