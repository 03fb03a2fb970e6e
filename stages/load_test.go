package stages_test

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"rebuild/internal/fault"
	"rebuild/stages"
)

const (
	digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	head    = "schema_version = \"rebuild.stage@1.0.0\"\nname = \"hello\"\n" // two lines
)

// folder makes a stage folder: stage.toml, a Containerfile and files given as
// path, content pairs.
func folder(toml string, files ...string) fstest.MapFS {
	m := fstest.MapFS{
		"stage.toml":    {Data: []byte(toml), Mode: 0o644},
		"Containerfile": {Data: []byte("FROM scratch\n"), Mode: 0o644},
	}
	for i := 0; i < len(files); i += 2 {
		m[files[i]] = &fstest.MapFile{Data: []byte(files[i+1]), Mode: 0o644}
	}
	return m
}

func load(t *testing.T, fsys fs.FS) *stages.Stage {
	t.Helper()
	s, err := stages.Load(fsys, ".", "hello")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wantFault checks code, file, line and a part of the message.
func wantFault(t *testing.T, err error, code fault.Code, file string, line int, part string) {
	t.Helper()
	var e *fault.Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want %s", err, code)
	}
	if e.Code != code || e.File != file || e.Line != line || !strings.Contains(e.Message, part) {
		t.Fatalf("got [%s] %v\nwant [%s] %s:%d with %q", e.Code, e, code, file, line, part)
	}
	if strings.Contains(e.Message, "\n") {
		t.Errorf("more than one line: %q", e.Message)
	}
}

func TestLoadRefuses(t *testing.T) {
	source := func(lines ...string) string {
		return head + "inputs = [\"source/a\"]\n[[source]]\n" + strings.Join(lines, "\n") + "\n"
	}
	const name, digest, size = "name = \"a\"", "digest = \"" + digestA + "\"", "size = 7"
	for title, c := range map[string]struct {
		toml string
		code fault.Code
		line int
		part string
	}{
		"no version":             {"name = \"a\"\n", fault.Structure, 0, "schema_version"},
		"newer version":          {"name = \"a\"\nschema_version = \"rebuild.stage@2.0.0\"\n", fault.SchemaUnsupported, 2, "2.0.0"},
		"other document":         {"schema_version = \"rebuild.pipeline@1.0.0\"\nname = \"a\"\n", fault.Structure, 1, "rebuild.stage"},
		"syntax":                 {head + "context =\n", fault.Parse, 3, ""},
		"unknown key":            {head + "contxt = \"src\"\n", fault.Structure, 3, "contxt"},
		"wrong type":             {head + "inputs = \"stage/a\"\n", fault.Structure, 3, "inputs"},
		"duplicate key":          {head + "name = \"b\"\n", fault.Parse, 3, ""},
		"no name":                {"schema_version = \"rebuild.stage@1.0.0\"\n", fault.Semantic, 0, "name is missing"},
		"upper case name":        {"schema_version = \"rebuild.stage@1.0.0\"\nname = \"Hello\"\n", fault.Structure, 2, "Hello"},
		"path as name":           {"schema_version = \"rebuild.stage@1.0.0\"\nname = \"../a\"\n", fault.Structure, 2, "../a"},
		"device name":            {"schema_version = \"rebuild.stage@1.0.0\"\nname = \"nul\"\n", fault.Structure, 2, "nul"},
		"foreign platform":       {head + "platforms = [\n  \"linux/amd64\",\n  \"linux/arm64\",\n]\n", fault.PolicyDenied, 5, "linux/arm64"},
		"other system":           {head + "platforms = [\"windows/amd64\"]\n", fault.PolicyDenied, 3, "windows/amd64"},
		"platform twice":         {head + "platforms = [\"linux/386\", \"linux/386\"]\n", fault.Semantic, 3, "twice"},
		"no platforms":           {head + "platforms = []\n", fault.Semantic, 3, "empty"},
		"context above":          {head + "context = \"../src\"\n", fault.Semantic, 3, "../src"},
		"context absolute":       {head + "context = \"/etc\"\n", fault.Semantic, 3, "/etc"},
		"context unclean":        {head + "context = \"src/\"\n", fault.Semantic, 3, "src/"},
		"context missing":        {head + "context = \"src\"\n", fault.Semantic, 3, "src"},
		"context is a file":      {head + "context = \"Containerfile\"\n", fault.Semantic, 3, "not a folder"},
		"input without kind":     {head + "inputs = [\"musl\"]\n", fault.Semantic, 3, "musl"},
		"input of unknown kind":  {head + "inputs = [\"package/musl\"]\n", fault.Semantic, 3, "package/musl"},
		"input with tag":         {head + "inputs = [\"image/debian:12\"]\n", fault.Structure, 3, "debian:12"},
		"input twice":            {head + "inputs = [\n\"stage/a\",\n\"stage/a\",\n]\n", fault.Semantic, 5, "twice"},
		"own input":              {head + "inputs = [\"stage/hello\"]\n", fault.Semantic, 3, "its own input"},
		"export relative":        {head + "export = \"out\"\n", fault.Semantic, 3, "out"},
		"export unclean":         {head + "export = \"/out/../etc\"\n", fault.Semantic, 3, "/out/../etc"},
		"alias to no input":      {head + "[alias]\n\"core/musl\" = \"stage/musl\"\n", fault.Semantic, 4, "not an input"},
		"alias no image name":    {head + "inputs = [\"stage/a\"]\n[alias]\n\"Core/MUSL\" = \"stage/a\"\n", fault.Semantic, 5, "not an image name"},
		"aliases coincide":       {head + "inputs = [\"stage/a\"]\n[alias]\n\"core/a\" = \"stage/a\"\n\"docker.io/core/a:latest\" = \"stage/a\"\n", fault.Semantic, 6, "one name"},
		"alias hides an input":   {head + "inputs = [\"stage/a\", \"stage/b\"]\nalias = { \"stage/a\" = \"stage/b\" }\n", fault.Semantic, 4, "hides"},
		"alias scratch":          {head + "inputs = [\"stage/a\"]\nalias = { scratch = \"stage/a\" }\n", fault.Semantic, 4, "scratch"},
		"unknown exec":           {head + "exec = \"shell.v1\"\n", fault.Semantic, 3, "shell.v1"},
		"arg that is no name":    {head + "[args]\n\"a b\" = \"\"\n", fault.Semantic, 4, "a b"},
		"frontend by arg":        {head + "[args]\nBUILDKIT_SYNTAX = \"x/y\"\n", fault.PolicyDenied, 4, "BUILDKIT_SYNTAX"},
		"proxy by arg":           {head + "[args]\nhttp_proxy = \"http://p\"\n", fault.PolicyDenied, 4, "http_proxy"},
		"epoch by arg":           {head + "[args]\nSOURCE_DATE_EPOCH = \"0\"\n", fault.PolicyDenied, 4, "SOURCE_DATE_EPOCH"},
		"NUL in arg":             {head + "args = { A = \"\\u0000\" }\n", fault.Semantic, 3, "NUL"},
		"empty entrypoint":       {head + "image = { entrypoint = [] }\n", fault.Semantic, 3, "empty"},
		"env without value":      {head + "[image]\nenv = [\"PATH\"]\n", fault.Semantic, 4, "PATH"},
		"env twice":              {head + "[image]\nenv = [\n\"A=1\",\n\"A=2\",\n]\n", fault.Semantic, 6, "twice"},
		"relative working_dir":   {head + "[image]\nworking_dir = \"src\"\n", fault.Semantic, 4, "src"},
		"bad port":               {head + "[image]\nexposed_ports = [\"http\"]\n", fault.Semantic, 4, "http"},
		"relative volume":        {head + "[image]\nvolumes = [\"data\"]\n", fault.Semantic, 4, "data"},
		"bad signal":             {head + "[image]\nstop_signal = \"TERM\"\n", fault.Semantic, 4, "TERM"},
		"camel case setting":     {head + "[image]\nWorkingDir = \"/\"\n", fault.Structure, 4, "WorkingDir"},
		"source without name":    {source(digest, size), fault.Semantic, 4, "without a name"},
		"source without digest":  {source(name, size), fault.Semantic, 4, "no digest"},
		"source with md5":        {source(name, "digest = \"md5:00\"", size), fault.Structure, 6, "md5:00"},
		"source upper case hex":  {source(name, "digest = \""+strings.ToUpper(digestA[7:])+"\"", size), fault.Structure, 6, "not a digest"},
		"source without size":    {source(name, digest), fault.Semantic, 4, "no size"},
		"source of size 0":       {source(name, digest, "size = 0"), fault.Semantic, 7, "size 0"},
		"source of huge size":    {source(name, digest, "size = 9007199254740991"), fault.Semantic, 7, "out of range"},
		"unknown unpack":         {source(name, digest, size, "unpack = \"zip\""), fault.Semantic, 8, "zip"},
		"URL of ftp":             {source(name, digest, size, "urls = [\"ftp://a/b\"]"), fault.Semantic, 8, "ftp"},
		"URL of git":             {source(name, digest, size, "urls = [\"git://a/b\"]"), fault.Semantic, 8, "git"},
		"URL with password":      {source(name, digest, size, "urls = [", "\"https://a/\",", "\"https://u:secret@a/b\",", "]"), fault.PolicyDenied, 10, "credentials"},
		"URL without host":       {source(name, digest, size, "urls = [\"https:///b\"]"), fault.Semantic, 8, "no host"},
		"URL absolute path":      {source(name, digest, size, "urls = [\"/etc/passwd\"]"), fault.Semantic, 8, "not a URL"},
		"URL out of an archive":  {source(name, digest, size, "urls = [\"debian:pool/../../x\"]"), fault.Semantic, 8, "not a path in an archive"},
		"URL of an archive":      {source(name, digest, size, "urls = [\"goproxy:\"]"), fault.Semantic, 8, "not a path in an archive"},
		"URL with a query":       {source(name, digest, size, "urls = [\"debian:pool/x?y\"]"), fault.Semantic, 8, "not a path in an archive"},
		"URL escape code":        {source(name, digest, size, "urls = [\"a\\u001b[2J\"]"), fault.Semantic, 8, "not a URL"},
		"source twice":           {source(name, digest, size, "[[source]]", name, digest, size), fault.Semantic, 9, "declared twice"},
		"source not used":        {head + "[[source]]\n" + name + "\n" + digest + "\n" + size + "\n", fault.Semantic, 3, "not used"},
		"input without source":   {head + "inputs = [\"source/b\"]\n", fault.Semantic, 3, "no hash"},
		"source used twice":      {source(name, digest, size, "into = \"a\""), fault.Semantic, 8, "input and a file"},
		"into absolute":          {head + "[[source]]\n" + name + "\n" + digest + "\n" + size + "\ninto = \"/a\"\n", fault.Semantic, 7, "/a"},
		"into above":             {head + "[[source]]\n" + name + "\n" + digest + "\n" + size + "\ninto = \"x/../../a\"\n", fault.Semantic, 7, "x/../../a"},
		"into unpacked":          {head + "[[source]]\n" + name + "\n" + digest + "\n" + size + "\ninto = \"a\"\nunpack = \"tar\"\n", fault.Semantic, 8, "can't be unpacked"},
		"into one place":         {head + "[[source]]\n" + name + "\n" + digest + "\n" + size + "\ninto = \"d\"\n[[source]]\nname = \"b\"\n" + digest + "\n" + size + "\ninto = \"d/f\"\n", fault.Semantic, 12, "one place"},
		"code not unpacked":      {source(name, digest, size, "code = [{ path = \"x\", "+digest+", reason = \"r\" }]"), fault.Semantic, 8, "not unpacked"},
		"code path above":        {source(name, digest, size, "unpack = \"tar\"", "code = [{ path = \"../x\", "+digest+", reason = \"r\" }]"), fault.Semantic, 9, "../x"},
		"code without digest":    {source(name, digest, size, "unpack = \"tar\"", "code = [{ path = \"x\", digest = \"\", reason = \"r\" }]"), fault.Structure, 9, "not a digest"},
		"code without reason":    {source(name, digest, size, "unpack = \"tar\"", "code = [{ path = \"x\", "+digest+", reason = \" \" }]"), fault.Semantic, 9, "no reason"},
		"code twice":             {source(name, digest, size, "unpack = \"tar\"", "code = [", "{ path = \"x\", "+digest+", reason = \"r\" },", "{ path = \"x\", "+digest+", reason = \"r\" },", "]"), fault.Semantic, 11, "twice"},
		"exporter under rebuild": {head + "exec = \"rebuild.exec.v1\"\n[exporter]\nattrs = {}\n", fault.Semantic, 4, "stock engine"},
		"exporter attr push":     {head + "exec = \"buildkit.exec.v1\"\n[exporter.attrs]\npush = \"true\"\n", fault.Semantic, 5, "push"},
		"exporter attr value":    {head + "exec = \"buildkit.exec.v1\"\n[exporter.attrs]\nforce-compression = \"1\"\n", fault.Semantic, 5, "force-compression"},
		"exporter other key":     {head + "[exporter]\ntype = \"oci\"\nattrs = {}\n", fault.Structure, 4, "type"},
	} {
		t.Run(title, func(t *testing.T) {
			_, err := stages.Load(folder(c.toml), ".", "hello")
			wantFault(t, err, c.code, "hello/stage.toml", c.line, c.part)
		})
	}
}

func TestLoadRefusesFolders(t *testing.T) {
	link := &fstest.MapFile{Data: []byte("/etc/hostname"), Mode: fs.ModeSymlink | 0o777}
	for title, c := range map[string]struct {
		change func(fstest.MapFS)
		code   fault.Code
		file   string
		line   int
		part   string
	}{
		"no stage.toml":           {func(m fstest.MapFS) { delete(m, "stage.toml") }, fault.Structure, "hello/stage.toml", 0, "does not exist"},
		"no Containerfile":        {func(m fstest.MapFS) { delete(m, "Containerfile") }, fault.Structure, "hello/Containerfile", 0, "does not exist"},
		"stage.toml is a link":    {func(m fstest.MapFS) { m["stage.toml"] = link }, fault.Structure, "hello/stage.toml", 0, "symbolic link"},
		"Containerfile is a link": {func(m fstest.MapFS) { m["Containerfile"] = link }, fault.Structure, "hello/Containerfile", 0, "symbolic link"},
		"Containerfile is a folder": {func(m fstest.MapFS) {
			m["Containerfile"] = &fstest.MapFile{Mode: fs.ModeDir | 0o755}
		}, fault.Structure, "hello/Containerfile", 0, "not a regular file"},
		"context is a link": {func(m fstest.MapFS) {
			m["stage.toml"].Data = []byte(head + "context = \"src\"\n")
			m["src"] = link
		}, fault.Semantic, "hello/stage.toml", 3, "symbolic link"},
		"stage.toml too large": {func(m fstest.MapFS) {
			m["stage.toml"].Data = []byte(head + strings.Repeat("#\n", 64<<10))
		}, fault.Structure, "hello/stage.toml", 0, "larger than"},
	} {
		t.Run(title, func(t *testing.T) {
			m := folder(head)
			c.change(m)
			_, err := stages.Load(m, ".", "hello")
			wantFault(t, err, c.code, c.file, c.line, c.part)
		})
	}
}

func TestLoadTakesEverything(t *testing.T) {
	toml := head + `platforms = ["linux/386", "linux/amd64"]
context = "src"
inputs = ["stage/musl", "source/big", "seed/hex0", "image/base"]
export = "/out"
alias = { "docker.io/library/alpine:latest" = "image/base", "core/musl:1.2" = "stage/musl" }
exec = "buildkit.exec.v1"
args = { V = "2.10", EMPTY = "", BUILDKIT_MULTI_PLATFORM = "1" }
image = { entrypoint = ["/bin/hello"], env = ["B=2", "A=1"], exposed_ports = ["90", "80/tcp"], labels = { x = "ü" } }
[[source]]
name = "big"
digest = "` + digestA + `"
size = 725946
unpack = "tar"
urls = ["https://example.org/big.tar.gz", "file:///srv/big.tar.gz", "../dist/big.tar.gz", "debian:pool/main/b/big.tar.gz", "goproxy:example.org/!big/@v/v1.0.0.zip"]
code = [{ path = "t/b.a", digest = "` + digestA + `", reason = "test" }, { path = "t/a.a", digest = "` + digestA + `", reason = "test" }]
[[source]]
name = "small"
digest = "` + digestA + `"
size = 1
into = "fetch/small"
[exporter]
attrs = { rewrite-timestamp = "true", "annotation.org.example.a" = "b", "annotation-index.c" = "d", compression = "zstd", compression-level = "3" }
`
	s := load(t, folder(toml, "src/a", ""))
	if s.Name != "hello" || s.ContextDir != "src" || s.Export != "/out" || s.Exec != stages.BuildKitExec {
		t.Errorf("got %+v", s)
	}
	if got := fmt.Sprint(s.Inputs); got != "[image/base seed/hex0 source/big stage/musl]" {
		t.Errorf("inputs %s", got)
	}
	if got := fmt.Sprint(s.Alias); got != "map[alpine:image/base core/musl:1.2:stage/musl]" {
		t.Errorf("alias %s", got)
	}
	if got := fmt.Sprint(s.Image.ExposedPorts, s.Image.Env); got != "[80/tcp 90] [B=2 A=1]" {
		t.Errorf("image %s: a set must be sorted, the environment not", got)
	}
	if len(s.Sources) != 2 || s.Sources[0].Code[0].Path != "t/a.a" || s.Sources[1].Into != "fetch/small" || len(s.Exporter) != 5 {
		t.Errorf("sources %+v, exporter %v", s.Sources, s.Exporter)
	}
	if s.InputIndex(stages.Input{Kind: stages.KindSeed, Name: "hex0"}) != 2 {
		t.Error("the index of an input is not its place in the file")
	}
}

func TestLoadDefaults(t *testing.T) {
	s := load(t, folder(head))
	if s.Export != "/" || s.Exec != "" || s.Platforms != nil || s.Exporter != nil || s.HasContext() {
		t.Errorf("got %+v", s)
	}
	if entries, err := s.Context(); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestSeed(t *testing.T) {
	s := load(t, folder(head+"context = \"src\"\ninputs = [\n\"seed/no\",\n\"seed/hex0\",\n]\n", "src/hex0.hex0", "7f # ELF\n"))
	file, text, err := s.Seed("hex0")
	if err != nil || file != "hello/src/hex0.hex0" || string(text) != "7f # ELF\n" {
		t.Errorf("%s %q %v", file, text, err)
	}
	_, _, err = s.Seed("no")
	wantFault(t, err, fault.Semantic, "hello/stage.toml", 5, "seed/no")
}

// FuzzLoad looks for a stage.toml that panics the loader, or is refused
// without a place.
func FuzzLoad(f *testing.F) {
	f.Add(head + "inputs = [\"stage/a\"]\nalias = { x = \"stage/a\" }\n")
	f.Add(head + "[[source]]\nname = \"a\"\ndigest = \"" + digestA + "\"\nsize = 1\ninto = \"x\"\n")
	f.Add(head + "[image]\nenv = [\"A=1\"]\n[exporter]\nattrs = {}\n")
	f.Fuzz(func(t *testing.T, toml string) {
		s, err := stages.Load(folder(toml, "src/a", "a"), ".", "hello")
		if err != nil {
			var e *fault.Error
			if !errors.As(err, &e) || e.File != "hello/stage.toml" || !slices.Contains([]int{19, 30, 31}, e.Code.Exit()) {
				t.Fatalf("%T %v", err, err)
			}
			return
		}
		if _, err := stages.ParseName(string(s.Name)); err != nil {
			t.Fatal(err)
		}
		for _, target := range s.Alias {
			if !slices.ContainsFunc(s.Inputs, func(i stages.Input) bool { return i.String() == target }) {
				t.Fatalf("alias of %q, which is no input", target)
			}
		}
	})
}
