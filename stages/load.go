package stages

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/distribution/reference"

	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// Limits of one stage, so that a hostile folder can't occupy the planner.
const (
	maxContainerfile = 1 << 20
	maxInputs        = 1000
	maxSourceSize    = 1 << 40
)

// settings is stage.toml as it is written.
type settings struct {
	SchemaVersion string            `json:"schema_version"`
	Name          string            `json:"name"`
	Platforms     []string          `json:"platforms,omitempty"`
	Context       string            `json:"context,omitempty"`
	Inputs        []string          `json:"inputs,omitempty"`
	Export        string            `json:"export,omitempty"`
	Alias         map[string]string `json:"alias,omitempty"`
	Exec          string            `json:"exec,omitempty"`
	Args          map[string]string `json:"args,omitempty"`
	Image         Image             `json:"image,omitzero"`
	Source        []sourceSettings  `json:"source,omitempty"`
	Exporter      *struct {
		Attrs map[string]string `json:"attrs"`
	} `json:"exporter,omitempty"`
}

type sourceSettings struct {
	Name   string         `json:"name"`
	Digest string         `json:"digest"`
	Size   *int64         `json:"size"`
	Unpack string         `json:"unpack,omitempty"`
	URLs   []string       `json:"urls,omitempty"`
	Into   string         `json:"into,omitempty"`
	Code   []codeSettings `json:"code,omitempty"`
}

type codeSettings struct {
	Path   string `json:"path"`
	Digest string `json:"digest"`
	Reason string `json:"reason"`
}

// Load reads and checks the stage folder dir of fsys. display is what messages
// call the folder, such as the path the user gave or "builtin:NAME".
//
// Everything that this folder alone decides is judged: a refusal is STRUCTURE
// or SEMANTIC (31), SCHEMA_UNSUPPORTED (30), or POLICY_DENIED (19) for what
// the closed world never takes, with file and line.
func Load(fsys fs.FS, dir, display string) (*Stage, error) {
	f := folder{fsys, path.Clean(dir), display}
	file := f.display(SettingsFile)
	data, err := f.readRegular(SettingsFile, document.Stage.MaxBytes)
	if err != nil {
		return nil, fault.New(fault.Structure, "reading the stage: %w", err).At(file, 0).
			WithHint("a stage is a folder with %s and %s", SettingsFile, ContainerFile)
	}
	var in settings
	src, err := document.DecodeTOML(file, data, document.Stage, &in)
	if err != nil {
		return nil, err
	}
	s := &Stage{
		File: file, ContainerfileName: f.display(ContainerFile),
		folder: f, src: src, inputAt: map[Input]int{},
	}
	if err := s.fill(&in); err != nil {
		return nil, err
	}
	s.Containerfile, err = f.readRegular(ContainerFile, maxContainerfile)
	if err != nil {
		return nil, fault.New(fault.Structure, "reading the Containerfile: %w", err).At(s.ContainerfileName, 0).
			WithHint("put a Containerfile beside %s", SettingsFile)
	}
	return s, nil
}

// fill checks the settings in the order in which they are usually written and
// takes them over.
func (s *Stage) fill(in *settings) error {
	for _, step := range []func(*settings) error{
		s.fillName, s.fillPlatforms, s.fillContext, s.fillInputs, s.fillExport, s.fillAlias,
		s.fillExec, s.fillArgs, s.fillImage, s.fillSources, s.fillExporter,
	} {
		if err := step(in); err != nil {
			return err
		}
	}
	return nil
}

// place puts an error of a smaller check at a value of stage.toml.
func (s *Stage) place(err error, at ...any) error {
	var e *fault.Error
	if errors.As(err, &e) {
		placed := *e
		return placed.At(s.File, s.src.Line(at...))
	}
	return err
}

func (s *Stage) semantic(at []any, format string, args ...any) *fault.Error {
	return s.src.Fault(fault.Semantic, at, format, args...)
}

func (s *Stage) fillName(in *settings) (err error) {
	if in.Name == "" {
		return s.semantic(nil, "name is missing").WithHint("add name = \"...\"")
	}
	s.Name, err = ParseName(in.Name)
	return s.place(err, "name")
}

func (s *Stage) fillPlatforms(in *settings) error {
	if in.Platforms != nil && len(in.Platforms) == 0 {
		return s.semantic([]any{"platforms"}, "platforms is empty").WithHint("name a platform, or leave the key out for those of the pipeline")
	}
	for i, p := range in.Platforms {
		if err := CheckPlatform(p); err != nil {
			return s.place(err, "platforms", i)
		}
		if slices.Contains(s.Platforms, p) {
			return s.semantic([]any{"platforms", i}, "platform %q is named twice", p)
		}
		s.Platforms = append(s.Platforms, p)
	}
	slices.Sort(s.Platforms)
	return nil
}

func (s *Stage) fillContext(in *settings) error {
	s.ContextDir = in.Context
	if in.Context == "" {
		return nil
	}
	at := []any{"context"}
	if !cleanRelative(in.Context) {
		return s.semantic(at, "context %q is not a folder below the stage", in.Context).
			WithHint("write a relative path without .. such as \"src\", or \".\" for the stage folder itself")
	}
	info, err := s.folder.lstat(in.Context)
	if err != nil {
		return s.semantic(at, "context %q: %w", in.Context, err).WithHint("create %s", s.folder.display(in.Context))
	}
	if !info.IsDir() {
		return s.semantic(at, "context %q is not a folder", in.Context)
	}
	return nil
}

func (s *Stage) fillInputs(in *settings) error {
	if len(in.Inputs) > maxInputs {
		return s.semantic([]any{"inputs"}, "%d inputs, at most %d are allowed", len(in.Inputs), maxInputs)
	}
	for i, text := range in.Inputs {
		kind, name, _ := strings.Cut(text, "/")
		if !slices.Contains([]string{KindStage, KindSource, KindSeed, KindImage}, kind) {
			return s.semantic([]any{"inputs", i}, "%q is not an input", text).
				WithHint("write stage/NAME, source/NAME, seed/NAME or image/NAME")
		}
		n, err := ParseName(name)
		if err != nil {
			return s.place(err, "inputs", i)
		}
		input := Input{kind, n}
		if _, twice := s.inputAt[input]; twice {
			return s.semantic([]any{"inputs", i}, "input %q is named twice", text)
		}
		if input == (Input{KindStage, s.Name}) {
			return s.semantic([]any{"inputs", i}, "stage %s is its own input", s.Name).WithHint("remove it from inputs")
		}
		s.inputAt[input] = i
		s.Inputs = append(s.Inputs, input)
	}
	slices.SortFunc(s.Inputs, func(a, b Input) int { return cmp.Compare(a.String(), b.String()) })
	return nil
}

func (s *Stage) fillExport(in *settings) error {
	s.Export = cmp.Or(in.Export, "/")
	if !cleanAbsolute(s.Export) {
		return s.semantic([]any{"export"}, "export %q is not an absolute clean path", in.Export).
			WithHint("write the exported directory of the final image, such as \"/out\"")
	}
	return nil
}

func (s *Stage) fillAlias(in *settings) error {
	s.Alias = map[string]string{}
	written := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(in.Alias)) {
		target, at := in.Alias[key], []any{"alias", key}
		familiar, err := familiarName(key)
		if err != nil {
			return s.semantic(at, "alias %q is not an image name: %w", key, err)
		}
		if familiar == "scratch" || familiar == "context" {
			return s.semantic(at, "alias %q is a word of the Containerfile language", key)
		}
		if other, twice := written[familiar]; twice {
			return s.semantic(at, "aliases %q and %q are one name, %s", other, key, familiar).
				WithHint("keep one of them")
		}
		kind, name, _ := strings.Cut(target, "/")
		if _, ok := s.inputAt[Input{kind, Name(name)}]; !ok {
			return s.semantic(at, "alias %q stands for %q, which is not an input of this stage", key, target).
				WithHint("add %q to inputs", target)
		}
		kind, name, _ = strings.Cut(familiar, "/")
		if _, ok := s.inputAt[Input{kind, Name(name)}]; ok && familiar != target {
			return s.semantic(at, "alias %q hides the input of that name", key)
		}
		written[familiar] = key
		s.Alias[familiar] = target
	}
	return nil
}

// familiarName writes an image name the one way in which a build looks it up:
// without the default registry, its "library/" and the tag "latest".
func familiarName(s string) (string, error) {
	named, err := reference.ParseNormalizedNamed(s)
	if err != nil {
		return "", err
	}
	return strings.TrimSuffix(reference.FamiliarString(named), ":latest"), nil
}

func (s *Stage) fillExec(in *settings) (err error) {
	if in.Exec == "" {
		return nil
	}
	s.Exec, err = ParseProfile(in.Exec)
	return s.place(err, "exec")
}

// deniedArgs are build arguments that steer BuildKit itself: another frontend,
// a proxy. The epoch is the plan's and not a stage's to set.
var deniedArgs = regexp.MustCompile(`(?i)^(BUILDKIT_.*|(HTTPS?|FTP|NO|ALL)_PROXY|SOURCE_DATE_EPOCH)$`)

func (s *Stage) fillArgs(in *settings) error {
	for _, key := range slices.Sorted(maps.Keys(in.Args)) {
		at := []any{"args", key}
		switch {
		case !keyGrammar.MatchString(key):
			return s.semantic(at, "%q is not the name of a build argument", key)
		case deniedArgs.MatchString(key) && key != "BUILDKIT_MULTI_PLATFORM":
			return s.src.Fault(fault.PolicyDenied, at, "build argument %s steers the engine", key).
				WithHint("remove it; source_date_epoch belongs in pipeline.toml, proxies and frontends are not used")
		case strings.ContainsRune(in.Args[key], 0):
			return s.semantic(at, "build argument %s contains a NUL", key)
		}
	}
	s.Args = in.Args
	return nil
}

func (s *Stage) fillImage(in *settings) error {
	s.Image = in.Image.sorted()
	return in.Image.check(s.src)
}

func (s *Stage) fillSources(in *settings) error {
	for i := range in.Source {
		source, err := s.source(i, &in.Source[i])
		if err != nil {
			return err
		}
		for _, other := range s.Sources {
			if err := s.checkPair(other, source); err != nil {
				return err
			}
		}
		s.Sources = append(s.Sources, source)
	}
	for _, input := range s.Inputs {
		declared := func(o Source) bool { return o.Name == input.Name }
		if input.Kind == KindSource && !slices.ContainsFunc(s.Sources, declared) {
			return s.semantic([]any{"inputs", s.InputIndex(input)}, "input %s has no [[source]] and so no hash", input).
				WithHint("add a [[source]] with name = %q, digest and size", input.Name)
		}
	}
	slices.SortFunc(s.Sources, func(a, b Source) int { return cmp.Compare(a.Name, b.Name) })
	return nil
}

// checkPair judges two sources of one stage against each other.
func (s *Stage) checkPair(a, b Source) error {
	if a.Name == b.Name {
		return s.semantic([]any{"source", b.Index, "name"}, "source %s is declared twice", b.Name)
	}
	if a.Into != "" && b.Into != "" &&
		(strings.HasPrefix(a.Into+"/", b.Into+"/") || strings.HasPrefix(b.Into+"/", a.Into+"/")) {
		return s.semantic([]any{"source", b.Index, "into"}, "sources %s and %s go to one place, %q and %q", a.Name, b.Name, a.Into, b.Into)
	}
	return nil
}

// source checks one [[source]] by itself.
func (s *Stage) source(i int, in *sourceSettings) (o Source, err error) {
	at := func(key ...any) []any { return append([]any{"source", i}, key...) }
	if in.Name == "" {
		return o, s.semantic(at(), "source without a name").WithHint("add name = \"...\"")
	}
	o = Source{Unpack: cmp.Or(in.Unpack, UnpackNone), URLs: in.URLs, Into: in.Into, Index: i}
	if o.Name, err = ParseName(in.Name); err != nil {
		return o, s.place(err, at("name")...)
	}
	if in.Digest == "" {
		return o, s.semantic(at(), "source %s has no digest", o.Name).WithHint("add digest = \"sha256:...\"; bytes without a hash are not taken")
	}
	if o.Digest, err = store.ParseDigest(in.Digest); err != nil {
		return o, s.place(err, at("digest")...)
	}
	if in.Size == nil {
		return o, s.semantic(at(), "source %s has no size", o.Name).WithHint("add size = BYTES; a download stops there")
	}
	if o.Size = *in.Size; o.Size < 1 || o.Size > maxSourceSize {
		return o, s.semantic(at("size"), "size %d is out of range, 1 to %d", o.Size, int64(maxSourceSize)).
			WithHint("write the size of the file in bytes")
	}
	if o.Unpack != UnpackTar && o.Unpack != UnpackNone {
		return o, s.semantic(at("unpack"), "unknown unpack %q", in.Unpack).WithHint("write \"tar\" or \"none\"")
	}
	for n, u := range o.URLs {
		if err := s.checkURL(u, at("urls", n)); err != nil {
			return o, err
		}
	}
	if err := s.checkUse(o); err != nil {
		return o, err
	}
	return o, s.fillCode(&o, in.Code)
}

// checkUse holds that a source is used in exactly one way, as an input or as a
// file of the context.
func (s *Stage) checkUse(o Source) error {
	_, isInput := s.inputAt[Input{KindSource, o.Name}]
	at := []any{"source", o.Index, "into"}
	switch {
	case o.Into == "" && !isInput:
		return s.semantic([]any{"source", o.Index}, "source %s is not used", o.Name).
			WithHint("add \"source/%s\" to inputs, or into = \"PATH\"", o.Name)
	case o.Into == "":
		return nil
	case isInput:
		return s.semantic(at, "source %s is an input and a file of the context", o.Name).
			WithHint("remove into, or \"source/%s\" from inputs", o.Name)
	case !cleanRelative(o.Into) || o.Into == ".":
		return s.semantic(at, "into %q is not a file below the context", o.Into).
			WithHint("write a relative path without .. such as \"fetch/%s.tar.gz\"", o.Name)
	case o.Unpack != UnpackNone:
		return s.semantic([]any{"source", o.Index, "unpack"}, "source %s goes into the context as it is and can't be unpacked", o.Name).
			WithHint("remove unpack, or make it an input instead of into")
	}
	return nil
}

func (s *Stage) fillCode(o *Source, in []codeSettings) error {
	if len(in) > 0 && o.Unpack != UnpackTar {
		return s.semantic([]any{"source", o.Index, "code"}, "source %s is not unpacked, so no file of it can be left out", o.Name)
	}
	for n, c := range in {
		at := func(key ...any) []any { return append([]any{"source", o.Index, "code", n}, key...) }
		if !cleanRelative(c.Path) || c.Path == "." {
			return s.semantic(at("path"), "code path %q is not a file of the archive", c.Path)
		}
		if slices.ContainsFunc(o.Code, func(other Code) bool { return other.Path == c.Path }) {
			return s.semantic(at("path"), "code path %q is named twice", c.Path)
		}
		digest, err := store.ParseDigest(c.Digest)
		if err != nil {
			return s.place(err, at("digest")...)
		}
		if strings.TrimSpace(c.Reason) == "" {
			return s.semantic(at(), "code path %q has no reason", c.Path).WithHint("add reason = \"...\"; people will ask")
		}
		o.Code = append(o.Code, Code{c.Path, digest, c.Reason})
	}
	slices.SortFunc(o.Code, func(a, b Code) int { return cmp.Compare(a.Path, b.Path) })
	return nil
}

// Mirrored takes a place apart that names an archive with many mirrors and a path
// in it: debian:pool/... and goproxy:MODULE/@v/VERSION.zip. Which mirror is
// asked, the machine that fetches knows.
func Mirrored(url string) (scheme, file string, ok bool) {
	scheme, file, _ = strings.Cut(url, ":")
	known := scheme == MirrorDebian || scheme == MirrorGo
	clean := file != "" && cleanAbsolute("/"+file) && !strings.ContainsAny(file, `?#%\`) && !strings.ContainsFunc(file, unicode.IsControl)
	return scheme, file, known && clean
}

// The archives with many mirrors: source packages of Debian, and modules of Go in
// the layout of the GOPROXY protocol.
const (
	MirrorDebian = "debian"
	MirrorGo     = "goproxy"
)

// checkURL judges a place to fetch from: http, https, file, [Mirrored], or a path relative
// to the stage folder. URLs are hints, but one with a password in it would
// travel to everyone who reads the recipe.
func (s *Stage) checkURL(text string, at []any) error {
	hint := "write https://..., debian:pool/..., goproxy:MODULE/@v/VERSION.zip, file:///... or a path relative to the stage folder"
	if scheme, _, _ := strings.Cut(text, ":"); scheme == MirrorDebian || scheme == MirrorGo {
		if _, _, ok := Mirrored(text); !ok {
			return s.semantic(at, "%q is not a path in an archive", text).WithHint("%s", hint)
		}
		return nil
	}
	if !strings.Contains(text, "://") {
		if text == "" || path.IsAbs(text) || path.Clean(text) != text || strings.Contains(text, "\\") || strings.ContainsFunc(text, unicode.IsControl) {
			return s.semantic(at, "%q is not a URL", text).WithHint("%s", hint)
		}
		return nil
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return s.semantic(at, "%q is not a URL", text).WithHint("%s", hint)
	case u.User != nil:
		return s.src.Fault(fault.PolicyDenied, at, "the URL carries credentials").
			WithHint("remove user and password; sources are public and checked by hash")
	case u.Scheme == "http" || u.Scheme == "https":
		if u.Host == "" {
			return s.semantic(at, "URL %q has no host", text)
		}
	case u.Scheme != "file":
		return s.semantic(at, "URL scheme %q is not fetched from", u.Scheme).WithHint("%s", hint)
	case u.Host != "" || !cleanAbsolute(u.Path):
		return s.semantic(at, "%q is not a file URL", text).WithHint("write file:///PATH")
	}
	return nil
}

// exporterAttrs are the attributes of BuildKit's exporter that a stage may
// set, with the values they take. An attribute that is not listed could push
// to a registry or write elsewhere.
var exporterAttrs = map[string]*regexp.Regexp{
	"name":              regexp.MustCompile(`^\S+$`),
	"rewrite-timestamp": boolean,
	"force-compression": boolean,
	"oci-mediatypes":    boolean,
	"oci-artifact":      boolean,
	"compression":       regexp.MustCompile(`^(uncompressed|gzip|zstd|estargz)$`),
	"compression-level": regexp.MustCompile(`^[0-9]{1,2}$`),
}

var (
	boolean       = regexp.MustCompile(`^(true|false)$`)
	annotationKey = regexp.MustCompile(`^annotation(-[a-z-]+)?(\[[a-z0-9/_-]+\])?\.[!-~]+$`)
)

func (s *Stage) fillExporter(in *settings) error {
	if in.Exporter == nil {
		return nil
	}
	if s.Exec == RebuildExec {
		return s.Fault(fault.Semantic, []any{"exporter"}, "[exporter] under %s, whose environment no stock engine has", RebuildExec).
			WithHint("write exec = %q, or remove [exporter]", BuildKitExec)
	}
	for _, key := range slices.Sorted(maps.Keys(in.Exporter.Attrs)) {
		at, value := []any{"exporter", "attrs", key}, in.Exporter.Attrs[key]
		if annotationKey.MatchString(key) {
			continue
		}
		values, known := exporterAttrs[key]
		if !known {
			return s.semantic(at, "unknown exporter attribute %q", key).
				WithHint("known are annotation.KEY, %s", strings.Join(slices.Sorted(maps.Keys(exporterAttrs)), ", "))
		}
		if !values.MatchString(value) {
			return s.semantic(at, "exporter attribute %s can't be %q", key, value)
		}
	}
	s.Exporter = in.Exporter.Attrs
	if s.Exporter == nil {
		s.Exporter = map[string]string{}
	}
	return nil
}
