package pipeline

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"rebuild/attest"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/internal/names"
	"rebuild/stages"
	"rebuild/store"
)

// File names beside each other in a pipeline's folder.
const (
	SettingsFile = "pipeline.toml"
	LockFile     = "rebuild.lock"
)

// Limits of one pipeline.
const (
	maxStages    = 10_000
	defaultEpoch = 1 // not 0, which some tools take for unset
)

// settings is pipeline.toml as it is written.
type settings struct {
	SchemaVersion   string            `json:"schema_version"`
	Name            string            `json:"name"`
	SourceDateEpoch *int64            `json:"source_date_epoch,omitempty"`
	Platforms       []string          `json:"platforms,omitempty"`
	Stages          []string          `json:"stages,omitempty"`
	Targets         []string          `json:"targets,omitempty"`
	Strict          bool              `json:"strict,omitzero"`
	Exec            string            `json:"exec,omitempty"`
	Index           string            `json:"index,omitempty"`
	Packages        map[string]string `json:"packages,omitempty"`
	Images          map[string]string `json:"images,omitempty"`
}

// Pipeline is pipeline.toml with all its stages loaded: what a person wrote,
// checked as a whole. It is not changed after Load.
type Pipeline struct {
	Name      stages.Name
	Epoch     int64           // SOURCE_DATE_EPOCH, seconds, 1 to attest.MaxEpoch
	Platforms []string        // sorted
	Stages    []*stages.Stage // each after its inputs, otherwise by name
	Targets   []stages.Name   // sorted
	Strict    bool            // no unpacking by BuildKit
	Exec      stages.Profile  // of the stages that name none
	Index     string          // "" = none
	// Packages are those that are wanted of the index, each with a range.
	Packages map[string]string
	Images   []ImageReference // sorted by name

	// Dir is the folder of pipeline.toml on disk, "" for an embedded one. File
	// is pipeline.toml as messages call it.
	Dir  string
	File string

	src    *document.Source
	byName map[stages.Name]*stages.Stage
	dirs   map[stages.Name]string // where a stage is on disk; none for an embedded one
}

// ImageReference is where a foreign image is taken from: an OCI image layout
// on disk, by digest.
type ImageReference struct {
	Name   stages.Name
	Layout string       // folder, relative to the pipeline's
	Digest store.Digest // of a manifest, or of an index of manifests
}

// home is where a pipeline lies, on disk or in a file system.
type home struct {
	dir  string // on disk; "" for an embedded one
	name string // in messages
	fsys fs.FS
	// stage opens the folder of a stage.
	stage func(folder string) (fsys fs.FS, dir string, err error)
}

// Load reads the pipeline in a folder on disk. display is what messages call
// the folder, usually the path the user gave; builtin holds the recipes that
// "builtin:NAME" stands for.
//
// Refusals are STRUCTURE or SEMANTIC (31), SCHEMA_UNSUPPORTED (30) or, for
// what the closed world never takes, POLICY_DENIED (19), with file and line.
// Nothing is written.
func Load(dir, display string, builtin fs.FS) (*Pipeline, error) {
	h := home{dir: dir, name: display, fsys: os.DirFS(dir)}
	h.stage = func(folder string) (fs.FS, string, error) {
		return os.DirFS(filepath.Join(dir, filepath.FromSlash(folder))), ".", nil
	}
	return load(h, builtin)
}

// LoadFS reads a pipeline from a folder of a file system, such as the embedded
// recipes. Its stages lie in the same file system, where "builtin:NAME" is a folder
// of the root.
func LoadFS(root fs.FS, folder, display string) (*Pipeline, error) {
	fsys, err := fs.Sub(root, folder)
	if err != nil {
		return nil, err
	}
	h := home{name: display, fsys: fsys}
	h.stage = func(folder string) (fs.FS, string, error) {
		if !fs.ValidPath(folder) {
			return nil, "", fmt.Errorf("%q leads out of %s", folder, display)
		}
		return fsys, folder, nil
	}
	return load(h, root)
}

func load(h home, builtin fs.FS) (*Pipeline, error) {
	file := path.Join(filepath.ToSlash(h.name), SettingsFile)
	data, err := readLimited(h.fsys, SettingsFile, document.Pipeline.MaxBytes)
	if err != nil {
		return nil, fault.New(fault.Structure, "reading the pipeline: %w", err).At(file, 0).
			WithHint("rebuild init NAME makes a first pipeline")
	}
	var in settings
	src, err := document.DecodeTOML(file, data, document.Pipeline, &in)
	if err != nil {
		return nil, err
	}
	p := &Pipeline{Dir: h.dir, File: file, src: src, byName: map[stages.Name]*stages.Stage{}, dirs: map[stages.Name]string{}}
	if err := p.fill(&in); err != nil {
		return nil, err
	}
	if err := p.loadStages(&in, h, builtin); err != nil {
		return nil, err
	}
	return p, p.connect(&in)
}

func readLimited(fsys fs.FS, name string, limit int64) ([]byte, error) {
	// Opening a named pipe would wait for somebody who writes to it.
	info, err := fs.Stat(fsys, name)
	if err == nil && !info.Mode().IsRegular() {
		err = errNotRegular
	}
	if err != nil {
		return nil, bare(err)
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, bare(err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	return data, bare(err)
}

// bare strips the operation and path that package fs adds; messages name the
// path as the user knows it.
func bare(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

func (p *Pipeline) semantic(at []any, format string, args ...any) *fault.Error {
	return p.src.Fault(fault.Semantic, at, format, args...)
}

// place puts an error of a smaller check at a value of pipeline.toml.
func (p *Pipeline) place(err error, at ...any) error {
	var e *fault.Error
	if errors.As(err, &e) {
		placed := *e
		return placed.At(p.File, p.src.Line(at...))
	}
	return err
}

// fill checks and takes over everything but the stages.
func (p *Pipeline) fill(in *settings) (err error) {
	if in.Name == "" {
		return p.semantic(nil, "name is missing").WithHint("add name = \"...\"")
	}
	if p.Name, err = stages.ParseName(in.Name); err != nil {
		return p.place(err, "name")
	}
	p.Epoch = defaultEpoch
	if in.SourceDateEpoch != nil {
		p.Epoch = *in.SourceDateEpoch
	}
	if p.Epoch < 1 || p.Epoch > attest.MaxEpoch {
		return p.semantic([]any{"source_date_epoch"}, "source_date_epoch %d is out of range, 1 to %d", p.Epoch, int64(attest.MaxEpoch)).
			WithHint("write source_date_epoch = 1, or leave the key out")
	}
	if p.Exec, err = stages.ParseProfile(cmp.Or(in.Exec, string(stages.RebuildExec))); err != nil {
		return p.place(err, "exec")
	}
	p.Strict = in.Strict
	for _, step := range []func(*settings) error{p.fillPlatforms, p.fillTargets, p.fillOutside} {
		if err := step(in); err != nil {
			return err
		}
	}
	return nil
}

func (p *Pipeline) fillPlatforms(in *settings) error {
	if len(in.Platforms) == 0 {
		return p.semantic([]any{"platforms"}, "no platforms").WithHint("add platforms = [\"linux/amd64\"]")
	}
	for i, platform := range in.Platforms {
		if err := stages.CheckPlatform(platform); err != nil {
			return p.place(err, "platforms", i)
		}
		if slices.Contains(p.Platforms, platform) {
			return p.semantic([]any{"platforms", i}, "platform %q is named twice", platform).WithHint("name it once")
		}
		p.Platforms = append(p.Platforms, platform)
	}
	slices.Sort(p.Platforms)
	return nil
}

func (p *Pipeline) fillTargets(in *settings) error {
	if len(in.Targets) == 0 {
		return p.semantic([]any{"targets"}, "no targets, so nothing would be built").
			WithHint("add targets = [\"NAME\"] with the stages whose images are wanted")
	}
	for i, target := range in.Targets {
		name, err := stages.ParseName(target)
		if err != nil {
			return p.place(err, "targets", i)
		}
		if slices.Contains(p.Targets, name) {
			return p.semantic([]any{"targets", i}, "target %q is named twice", target)
		}
		p.Targets = append(p.Targets, name)
	}
	slices.Sort(p.Targets)
	return nil
}

// fillOutside checks what comes from elsewhere: index, packages, images.
func (p *Pipeline) fillOutside(in *settings) error {
	p.Index = in.Index
	if p.Index != "" && (!strings.HasSuffix(p.Index, "/") ||
		!strings.HasPrefix(p.Index, "sparse+file:///") && !strings.HasPrefix(p.Index, "sparse+https://")) {
		return p.semantic([]any{"index"}, "index %q is not the URL of an index", p.Index).
			WithHint("write \"sparse+file:///DIR/\" or \"sparse+https://HOST/\", with the last slash")
	}
	if err := p.fillPackages(in); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(in.Images)) {
		ref, err := parseImage(name, in.Images[name])
		if err != nil {
			return p.place(err, "images", name)
		}
		p.Images = append(p.Images, ref)
	}
	if err := names.Distinct(slices.Sorted(maps.Keys(in.Images))); err != nil {
		return p.place(err, "images")
	}
	return nil
}

// fillPackages checks what is wanted of the index. Which versions those are is
// for rebuild.lock to say.
func (p *Pipeline) fillPackages(in *settings) error {
	p.Packages = in.Packages
	all := slices.Sorted(maps.Keys(in.Packages))
	for _, name := range all {
		if err := names.Package(name); err != nil {
			return p.place(err, "packages", name)
		}
		if _, err := names.ParseRange(in.Packages[name]); err != nil {
			return p.place(err, "packages", name)
		}
	}
	return p.place(names.Distinct(all), "packages")
}

const layoutScheme = "oci-layout:"

// parseImage reads oci-layout:PATH@sha256:HEX. A tag is POLICY_DENIED: what it
// names tomorrow nobody knows.
func parseImage(name, text string) (ref ImageReference, err error) {
	if ref.Name, err = stages.ParseName(name); err != nil {
		return ref, err
	}
	hint := "write \"oci-layout:FOLDER@sha256:...\""
	place, digest, pinned := strings.Cut(text, "@")
	if !pinned {
		return ref, fault.New(fault.PolicyDenied, "image %q is not pinned by a digest", text).WithHint("%s", hint)
	}
	if ref.Digest, err = store.ParseDigest(digest); err != nil {
		return ref, err
	}
	layout, ok := strings.CutPrefix(place, layoutScheme)
	if !ok {
		return ref, fault.New(fault.Semantic, "image %q: this version of rebuild takes images from an OCI image layout only", text).
			WithHint("%s; crane, skopeo and oras can write one", hint)
	}
	if layout == "" || path.Clean(layout) != layout || path.IsAbs(layout) {
		return ref, fault.New(fault.Semantic, "layout %q is not a clean path relative to the pipeline", layout).WithHint("%s", hint)
	}
	ref.Layout = layout
	return ref, nil
}

const builtinScheme = "builtin:"

func (p *Pipeline) loadStages(in *settings, h home, builtin fs.FS) error {
	if len(in.Stages) == 0 || len(in.Stages) > maxStages {
		return p.semantic([]any{"stages"}, "%d stages, 1 to %d are allowed", len(in.Stages), maxStages).
			WithHint("add stages = [\"FOLDER\"]")
	}
	for i, folder := range in.Stages {
		s, dir, err := p.loadStage(i, folder, h, builtin)
		if err != nil {
			return err
		}
		if other, twice := p.byName[s.Name]; twice {
			return p.semantic([]any{"stages", i}, "stage %s is defined twice, in %s and %s", s.Name, other.File, s.File).
				WithHint("rename one of them, or remove it from stages")
		}
		p.byName[s.Name] = s
		p.Stages = append(p.Stages, s)
		if dir != "" {
			p.dirs[s.Name] = dir
		}
	}
	all := make([]string, len(p.Stages))
	for i, s := range p.Stages {
		all[i] = string(s.Name)
	}
	if err := names.Distinct(all); err != nil {
		return p.place(err, "stages")
	}
	return nil
}

// loadStage loads one entry of stages and says where it is on disk, if it is.
func (p *Pipeline) loadStage(i int, folder string, h home, builtin fs.FS) (*stages.Stage, string, error) {
	at := []any{"stages", i}
	if name, ok := strings.CutPrefix(folder, builtinScheme); ok {
		n, err := stages.ParseName(name)
		if err != nil {
			return nil, "", p.place(err, at...)
		}
		if _, err := fs.Stat(builtin, string(n)); err != nil {
			return nil, "", p.semantic(at, "no recipe %q ships with rebuild", folder).
				WithHint("name a folder of your own; rebuild plan --pipeline builtin lists the recipes that ship")
		}
		s, err := stages.Load(builtin, string(n), folder)
		return s, "", err
	}
	if folder == "" || path.IsAbs(folder) || path.Clean(folder) != folder || strings.ContainsAny(folder, "\\\x00") {
		return nil, "", p.semantic(at, "%q is not a clean path relative to the pipeline", folder).
			WithHint("write the stage's folder such as \"stages/hello\", or \"builtin:NAME\"")
	}
	fsys, dir, err := h.stage(folder)
	if err == nil {
		_, err = fs.Stat(fsys, dir)
	}
	if err != nil {
		return nil, "", p.semantic(at, "stage folder %q: %w", folder, bare(err)).WithHint("create the folder, or remove it from stages")
	}
	display := path.Join(filepath.ToSlash(h.name), folder)
	s, err := stages.Load(fsys, dir, display)
	if err != nil || h.dir == "" {
		return s, "", err
	}
	abs, err := filepath.Abs(filepath.Join(h.dir, filepath.FromSlash(folder)))
	return s, abs, err
}

// connect checks that the stages fit together and puts them in order.
func (p *Pipeline) connect(in *settings) error {
	for i, target := range in.Targets {
		if p.byName[stages.Name(target)] == nil {
			return p.semantic([]any{"targets", i}, "target %q is not a stage of this pipeline", target).
				WithHint("the stages are %s", strings.Join(p.stageNames(), ", "))
		}
	}
	for _, s := range p.Stages {
		if err := p.checkInputs(s); err != nil {
			return err
		}
		if s.Exporter != nil && p.exec(s) != stages.BuildKitExec {
			return s.Fault(fault.Semantic, []any{"exporter"}, "[exporter] under %s, whose environment no stock engine has", p.exec(s)).
				WithHint("add exec = %q, or remove [exporter]", stages.BuildKitExec)
		}
	}
	if err := p.checkSources(); err != nil {
		return err
	}
	return p.sort()
}

func (p *Pipeline) stageNames() []string {
	out := make([]string, len(p.Stages))
	for i, s := range p.Stages {
		out[i] = string(s.Name)
	}
	slices.Sort(out)
	return out
}

// exec returns the profile a stage runs under.
func (p *Pipeline) exec(s *stages.Stage) stages.Profile { return cmp.Or(s.Exec, p.Exec) }

func (p *Pipeline) checkInputs(s *stages.Stage) error {
	for _, input := range s.Inputs {
		at := []any{"inputs", s.InputIndex(input)}
		switch input.Kind {
		case stages.KindStage:
			if p.byName[input.Name] == nil {
				return s.Fault(fault.Semantic, at, "input %s is not a stage of the pipeline", input).
					WithHint("add its folder to stages in %s", p.File)
			}
		case stages.KindImage:
			if !slices.ContainsFunc(p.Images, func(r ImageReference) bool { return r.Name == input.Name }) {
				return s.Fault(fault.Semantic, at, "input %s has no entry in [images] and so no hash", input).
					WithHint("add %s = \"oci-layout:FOLDER@sha256:...\" to [images] in %s", input.Name, p.File)
			}
		}
	}
	return nil
}

// checkSources holds that a name means one source in the whole pipeline: the
// plan and the lock list each once.
func (p *Pipeline) checkSources() error {
	type owner struct {
		stage  *stages.Stage
		source *stages.Source
	}
	known := map[string]owner{}
	for _, s := range p.Stages {
		for i := range s.Sources {
			o := &s.Sources[i]
			folded := names.Fold(string(o.Name))
			other, twice := known[folded]
			if !twice {
				known[folded] = owner{s, o}
				continue
			}
			at := []any{"source", o.Index, "name"}
			if other.source.Name != o.Name {
				return s.Fault(fault.Semantic, at, "source %s, and %s in %s, differ only in - and _", o.Name, other.source.Name, other.stage.File)
			}
			if !sameSource(other.source, o) {
				return s.Fault(fault.Semantic, at, "source %s is another one in %s", o.Name, other.stage.File).
					WithHint("give them different names, or the same digest, size, unpack and code")
			}
		}
	}
	return nil
}

func sameSource(a, b *stages.Source) bool {
	return a.Digest == b.Digest && a.Size == b.Size && a.Unpack == b.Unpack &&
		slices.EqualFunc(a.Code, b.Code, func(x, y stages.Code) bool { return x.Path == y.Path && x.Digest == y.Digest })
}

// sort puts each stage after its inputs, otherwise by name, or names a cycle.
func (p *Pipeline) sort() error {
	slices.SortFunc(p.Stages, func(a, b *stages.Stage) int { return cmp.Compare(a.Name, b.Name) })
	visit := visitor{p: p, state: map[stages.Name]int{}}
	for _, s := range p.Stages {
		if err := visit.stage(s); err != nil {
			return err
		}
	}
	p.Stages = visit.order
	return nil
}

// visitor walks the stages depth first. Inputs are sorted, so the order it
// leaves depends on names alone.
type visitor struct {
	p     *Pipeline
	state map[stages.Name]int // 1 on the current path, 2 done
	path  []*stages.Stage
	order []*stages.Stage
}

func (v *visitor) stage(s *stages.Stage) error {
	if v.state[s.Name] == 2 {
		return nil
	}
	v.state[s.Name] = 1
	v.path = append(v.path, s)
	for _, input := range s.Inputs {
		if input.Kind != stages.KindStage {
			continue
		}
		if v.state[input.Name] == 1 {
			return v.cycle(s, input)
		}
		if err := v.stage(v.p.byName[input.Name]); err != nil {
			return err
		}
	}
	v.path = v.path[:len(v.path)-1]
	v.state[s.Name] = 2
	v.order = append(v.order, s)
	return nil
}

// cycle words the loop that the last input closes, starting where it starts.
func (v *visitor) cycle(last *stages.Stage, closing stages.Input) error {
	from := slices.IndexFunc(v.path, func(s *stages.Stage) bool { return s.Name == closing.Name })
	var loop []string
	for _, s := range v.path[from:] {
		loop = append(loop, string(s.Name))
	}
	loop = append(loop, string(closing.Name))
	return last.Fault(fault.Semantic, []any{"inputs", last.InputIndex(closing)}, "cycle: %s", strings.Join(loop, " needs ")).
		WithHint("remove one of these inputs")
}
