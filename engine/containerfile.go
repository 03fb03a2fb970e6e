package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/containerd/platforms"
	"github.com/distribution/reference"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerui"
	gateway "github.com/moby/buildkit/frontend/gateway/client"
	gatewaypb "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/pb"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/protobuf/proto"

	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/stages"
	"rebuild/store"
)

// notBuilt stands for an input in Check, before its stage has run. No content
// has this digest.
const notBuilt = store.Digest("sha256:0000000000000000000000000000000000000000000000000000000000000000")

// recipe is a Containerfile turned into what is sent to BuildKit, judged and
// with its environment fixed.
type recipe struct {
	def    *pb.Definition
	lines  map[digest.Digest]int // first line of the Containerfile behind each vertex
	image  store.ImageConfig     // settings of our canonical image
	config []byte                // image config as BuildKit's exporter wants it
	base   []byte                // config of the final stage's base; nil without one
}

// convert turns the job's Containerfile into a recipe, in this process: no
// frontend image, no daemon, no connection. Whatever breaks a rule is refused
// here with file and line, before anything is sent.
func (e *Engine) convert(ctx context.Context, j pipeline.Job) (*recipe, error) {
	if syntax, _, at, ok := parser.DetectSyntax(j.Containerfile); ok {
		return nil, deny(j, firstLine(at), "the syntax directive names a frontend image (%s), which would not be used", syntax).
			WithHint("remove the syntax line: the Containerfile is converted by rebuild itself")
	}
	if before, _, zero := bytes.Cut(j.Containerfile, []byte{0}); zero {
		return nil, fault.New(fault.Structure, "a zero byte in the Containerfile").At(j.File, 1+bytes.Count(before, []byte{'\n'})).With("stage", string(j.Stage))
	}
	platform, err := platforms.Parse(j.Platform)
	if err != nil {
		return nil, fault.New(fault.Semantic, "platform %q: %w", j.Platform, err)
	}
	front := newConverter(e, j, platform)
	ui, err := dockerui.NewClient(front)
	if err != nil {
		// Only build arguments that steer BuildKit itself can be wrong here.
		return nil, fault.New(fault.Semantic, "the build arguments of stage %s: %w", j.Stage, err)
	}
	result, err := dockerfile2llb.Dockerfile2LLB(ctx, j.Containerfile, dockerfile2llb.ConvertOpt{
		Config: ui.Config, Client: ui, MetaResolver: front, TargetPlatform: &platform,
		SourceMap: llb.NewSourceMap(nil, j.File, "Dockerfile", j.Containerfile),
		Warn:      func(string, string, string, string, []parser.Range) {},
	})
	if err != nil {
		return nil, front.refusal(err)
	}
	marshaled, err := result.State.Marshal(ctx, llb.Platform(platform))
	if err != nil {
		return nil, front.refusal(err)
	}
	r := &recipe{}
	if err := r.seal(e, j, marshaled.ToPB()); err != nil {
		return nil, err
	}
	if r.config, err = json.Marshal(result.Image); err != nil {
		return nil, fault.New(fault.Internal, "encoding the image config of %s: %w", j.Stage, err)
	}
	if result.BaseImage != nil {
		if r.base, err = json.Marshal(result.BaseImage); err != nil {
			return nil, fault.New(fault.Internal, "encoding the base image config of %s: %w", j.Stage, err)
		}
	}
	declared, err := front.declaredSettings(result.Image.Config.ImageConfig)
	if err != nil {
		return nil, front.refusal(err)
	}
	r.image = override(declared, j.Image)
	return r, nil
}

// seal fixes what must be the same on every host, takes the source map off and
// judges what is left: exactly the definition that will be sent.
func (r *recipe) seal(e *Engine, j pipeline.Job, def *pb.Definition) error {
	original := lines(def.Source)
	def.Source = nil
	sealed, before, err := rewrite(def, sealer(j.Exec, j.Epoch))
	if err != nil {
		return fault.New(fault.Internal, "sealing the definition of %s: %w", j.Stage, err)
	}
	r.def, r.lines = sealed, map[digest.Digest]int{}
	for now, was := range before {
		r.lines[now] = original[was]
	}
	own := sync.OnceValues(func() (ownFiles, error) { return e.ownFiles(j) })
	limits := rules{
		platforms: []string{j.Platform, "linux/amd64"},
		inputs:    map[store.Digest]bool{pinned(j.Context): true},
		context:   pinned(j.Context),
	}
	for _, in := range j.Inputs {
		limits.inputs[pinned(in.Manifest)] = true
	}
	if j.Exec == stages.RebuildExec {
		limits.hostname = hostname
	}
	if j.Strict && hasFiles(j) {
		limits.unpacks = func(c *pb.FileActionCopy) error { return refuseArchives(own, c) }
	}
	if err := limits.check(r.def); err != nil {
		return r.denied(j, err)
	}
	if e.rootless {
		return r.checkOwners(j, own)
	}
	return nil
}

// denied places a broken rule in the Containerfile.
func (r *recipe) denied(j pipeline.Job, err error) error {
	var d *denial
	if !errors.As(err, &d) {
		return err
	}
	line := r.lineOf(d.vertex)
	if said := firstMention(j.Containerfile, d.text); d.text != "" && said > 0 {
		line = said
	}
	return deny(j, line, "%s", d.Error()).WithHint("%s", d.hint)
}

// refuseArchives is the rule of strict: no ADD of a file that BuildKit would
// unpack, with code of its own and outside of every sandbox.
func refuseArchives(own func() (ownFiles, error), c *pb.FileActionCopy) error {
	files, err := own()
	if err != nil {
		return err
	}
	if archives := files.added(c); len(archives) > 0 {
		return fmt.Errorf("strict: %s is an archive, which BuildKit would unpack outside of the sandbox", archives[0])
	}
	return nil
}

// checkOwners refuses what an ordinary user's engine can not do, before it
// fails half way or, worse, leaves something out: its user namespace has one
// id, so every file is 0:0.
func (r *recipe) checkOwners(j pipeline.Job, own func() (ownFiles, error)) error {
	for _, raw := range r.def.Def {
		op := &pb.Op{}
		if err := proto.Unmarshal(raw, op); err != nil {
			return fault.New(fault.Internal, "reading the definition: %w", err)
		}
		for _, a := range op.GetFile().GetActions() {
			why, err := foreignOwner(a, hasFiles(j), own)
			if err != nil {
				return err
			}
			if why != "" {
				return fault.New(fault.EngineUnavailable, "an ordinary user's engine can not create %s", why).
					At(j.File, r.lineOf(digest.FromBytes(raw))).With("stage", string(j.Stage)).
					WithHint(`run as root, or let a [[source]] unpack the archive with unpack = "tar"`)
			}
		}
	}
	return nil
}

// foreignOwner names what a file action would create that only root can.
func foreignOwner(a *pb.FileAction, known bool, own func() (ownFiles, error)) (string, error) {
	if owner := ownerOf(a); owner != nil {
		if u, g := owner.GetUser().GetByID(), owner.GetGroup().GetByID(); u != 0 || g != 0 {
			return fmt.Sprintf("files of %d:%d", u, g), nil
		}
		return "", nil // the owner is root's for an archive's members, too
	}
	c := a.GetCopy()
	if c == nil || !c.AttemptUnpackDockerCompatibility || !known {
		return "", nil
	}
	files, err := own()
	if err != nil {
		return "", err
	}
	for _, name := range files.added(c) {
		if what := files.archives[name]; what != "" {
			return fmt.Sprintf("what %s holds: %s", name, what), nil
		}
	}
	return "", nil
}

// lineOf returns the line that a vertex came from. A source has none of its
// own; the instruction that uses it is meant then.
func (r *recipe) lineOf(v digest.Digest) int {
	if line := r.lines[v]; line != 0 {
		return line
	}
	for _, user := range users(r.def, v) {
		if line := r.lineOf(user); line != 0 {
			return line
		}
	}
	return 0
}

func pinned(d store.Digest) store.Digest {
	if d == "" {
		return notBuilt
	}
	return d
}

// deny is a refusal of the closed-world policy at a line of the Containerfile.
func deny(j pipeline.Job, line int, format string, args ...any) *fault.Error {
	return fault.New(fault.PolicyDenied, format, args...).At(j.File, line).With("stage", string(j.Stage))
}

func lines(source *pb.Source) map[digest.Digest]int {
	found := map[digest.Digest]int{}
	for vertex, at := range source.GetLocations() {
		for _, l := range at.Locations {
			for _, r := range l.Ranges {
				if line := int(r.Start.Line); found[digest.Digest(vertex)] == 0 || line < found[digest.Digest(vertex)] {
					found[digest.Digest(vertex)] = line
				}
			}
		}
	}
	return found
}

func firstLine(at []parser.Range) int {
	if len(at) == 0 {
		return 0
	}
	return at[0].Start.Line
}

// converter answers the questions that the Dockerfile converter asks its
// gateway: options, named contexts and image configs, all from the job and the
// store. It can not solve and it can not reach a registry, so a name that the
// stage did not declare ends the conversion.
type converter struct {
	engine   *Engine
	job      pipeline.Job
	platform ocispecs.Platform
	opts     map[string]string
	known    map[store.Digest]bool
}

func newConverter(e *Engine, j pipeline.Job, platform ocispecs.Platform) *converter {
	f := &converter{engine: e, job: j, platform: platform, known: map[store.Digest]bool{notBuilt: true}}
	f.opts = map[string]string{
		"platform":                    j.Platform,
		"force-network-mode":          "none",
		"ulimit":                      "nofile=2048:16384",
		"build-arg:SOURCE_DATE_EPOCH": strconv.FormatInt(j.Epoch, 10),
	}
	if j.Exec == stages.RebuildExec {
		f.opts["hostname"] = hostname
	}
	for name, value := range j.Args {
		f.opts["build-arg:"+name] = value
	}
	layouts := map[string]string{}
	for _, in := range j.Inputs {
		layouts[in.Name] = "oci-layout://" + storeID + "@" + string(pinned(in.Manifest))
		f.opts["context:"+in.Name] = layouts[in.Name]
		f.known[pinned(in.Manifest)] = true
	}
	for alias, name := range j.Alias {
		f.opts["context:"+alias] = layouts[name]
	}
	return f
}

func (f *converter) BuildOpts() gateway.BuildOpts {
	return gateway.BuildOpts{
		Opts: f.opts, Product: "rebuild",
		LLBCaps: pb.Caps.CapSet(pb.Caps.All()), Caps: gatewaypb.Caps.CapSet(gatewaypb.Caps.All()),
		Workers: []gateway.WorkerInfo{{Platforms: []ocispecs.Platform{platforms.MustParse("linux/amd64")}}},
	}
}

// Inputs gives the stage's own files as a layout of the store: never a folder
// of the host.
func (f *converter) Inputs(context.Context) (map[string]llb.State, error) {
	ref := "rebuild.invalid/context@" + string(pinned(f.job.Context))
	return map[string]llb.State{"context": llb.OCILayout(ref, llb.OCIStore("", storeID))}, nil
}

var errNotOffered = errors.New("not offered: a Containerfile is converted without a daemon")

func (f *converter) Solve(context.Context, gateway.SolveRequest) (*gateway.Result, error) {
	return nil, errNotOffered
}

func (f *converter) NewContainer(context.Context, gateway.NewContainerRequest) (gateway.Container, error) {
	return nil, errNotOffered
}

func (f *converter) Warn(context.Context, digest.Digest, string, gateway.WarnOpts) error { return nil }

func (f *converter) ResolveSourceMetadata(_ context.Context, op *pb.SourceOp, _ sourceresolver.Opt) (*sourceresolver.MetaResponse, error) {
	return nil, &undeclared{name: op.Identifier}
}

// ResolveImageConfig answers for declared inputs only, from the store.
func (f *converter) ResolveImageConfig(ctx context.Context, ref string, opt sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	if opt.OCILayoutOpt == nil {
		return "", "", nil, &undeclared{name: ref}
	}
	named, err := reference.ParseNormalizedNamed(ref)
	if err != nil {
		return "", "", nil, err
	}
	byDigest, ok := named.(reference.Canonical)
	if !ok || !f.known[store.Digest(byDigest.Digest())] {
		return "", "", nil, &undeclared{name: ref}
	}
	config, err := f.engine.imageConfig(store.Digest(byDigest.Digest()), f.platform)
	return ref, byDigest.Digest(), config, err
}

// undeclared is a name in a Containerfile that is not an input of its stage.
type undeclared struct{ name string }

func (u *undeclared) Error() string { return u.name + " is not a declared input" }

// refusal turns an error of the converter into one of ours, with its line.
func (f *converter) refusal(err error) error {
	line := 0
	var located *parser.LocationError
	if errors.As(err, &located) && len(located.Locations) > 0 {
		line = firstLine(located.Locations[0])
	}
	var unknown *undeclared
	if errors.As(err, &unknown) {
		name := unknown.name
		if named, perr := reference.ParseNormalizedNamed(name); perr == nil {
			name = strings.TrimSuffix(reference.FamiliarString(named), ":latest")
		}
		if line == 0 {
			line = firstMention(f.job.Containerfile, name)
		}
		return deny(f.job, line, "%s is not a declared input of stage %s", name, f.job.Stage).
			WithHint("%s", f.declareHint())
	}
	var coded *fault.Error
	if errors.As(err, &coded) {
		return err
	}
	return fault.New(fault.Structure, "%w", err).At(f.job.File, line).With("stage", string(f.job.Stage))
}

// firstMention finds the line of a name that the converter gave no place for.
func firstMention(containerfile []byte, name string) int {
	n := 0
	for line := range strings.Lines(string(containerfile)) {
		n++
		if strings.Contains(line, name) && !strings.HasPrefix(strings.TrimSpace(line), "#") {
			return n
		}
	}
	return 0
}

func (f *converter) declareHint() string {
	names := slices.Sorted(maps.Keys(f.job.Alias))
	for _, in := range f.job.Inputs {
		names = append(names, in.Name)
	}
	if len(names) == 0 {
		return "declare it in inputs of stage.toml, or give a declared input this name in alias"
	}
	return "use one of " + strings.Join(names, ", ") + ", or declare it in inputs of stage.toml"
}

// imageConfig returns the config that the converter builds on. Inputs that are
// not built yet have an empty one.
func (e *Engine) imageConfig(manifest store.Digest, platform ocispecs.Platform) ([]byte, error) {
	if manifest == notBuilt {
		return json.Marshal(ocispecs.Image{Platform: platform, RootFS: ocispecs.RootFS{Type: "layers"}})
	}
	st, err := e.open()
	if err != nil {
		return nil, err
	}
	raw, err := st.Read(manifest, maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		// Check may know the digest of an input that is only stored when the
		// run begins; a solve fails later, when BuildKit asks for it.
		return e.imageConfig(notBuilt, platform)
	}
	if err != nil {
		return nil, err
	}
	var m ocispecs.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return nil, fault.New(fault.Structure, "manifest %s: %w", manifest, err)
	}
	return st.Read(store.Digest(m.Config.Digest), maxManifest)
}

// declaredSettings are the image settings that the final FROM stage itself
// declares, with the values the converter worked out. What it inherits from a
// base, and the PATH that BuildKit adds, are not declared (formats.md 3).
func (f *converter) declaredSettings(all ocispecs.ImageConfig) (store.ImageConfig, error) {
	ast, err := parser.Parse(bytes.NewReader(f.job.Containerfile))
	if err != nil {
		return store.ImageConfig{}, err
	}
	built, _, err := instructions.Parse(ast.AST, linter.New(&linter.Config{SkipAll: true}))
	if err != nil {
		return store.ImageConfig{}, err
	}
	var c store.ImageConfig
	if len(built) == 0 {
		return c, errors.New("no build stage")
	}
	last := built[len(built)-1]
	if _, replaced := f.opts["context:"+last.Name]; replaced && last.Name != "" {
		// As with buildx, an input replaces a build stage of its name.
		return c, parser.WithLocation(fmt.Errorf("the final build stage has the name of the input %s, which replaces it", last.Name), last.Location)
	}
	for _, command := range last.Commands {
		switch x := command.(type) {
		case *instructions.EnvCommand:
			for _, kv := range x.Env {
				declareEnv(&c, all.Env, kv.Key)
			}
		case *instructions.EntrypointCommand:
			c.Entrypoint = all.Entrypoint
		case *instructions.CmdCommand:
			c.Cmd = all.Cmd
		case *instructions.UserCommand:
			c.User = all.User
		case *instructions.WorkdirCommand:
			c.WorkingDir = all.WorkingDir
		case *instructions.StopSignalCommand:
			c.StopSignal = all.StopSignal
		case *instructions.LabelCommand:
			for _, kv := range x.Labels {
				declareLabel(&c, all.Labels, kv.Key)
			}
		case *instructions.ExposeCommand:
			c.ExposedPorts = union(c.ExposedPorts, all.ExposedPorts)
		case *instructions.VolumeCommand:
			c.Volumes = union(c.Volumes, all.Volumes)
		}
	}
	return c, nil
}

// override puts the settings of stage.toml over the declared ones, key by key.
func override(c store.ImageConfig, with stages.Image) store.ImageConfig {
	if with.Entrypoint != nil {
		c.Entrypoint = with.Entrypoint
	}
	if with.Cmd != nil {
		c.Cmd = with.Cmd
	}
	if with.Env != nil {
		c.Env = with.Env
	}
	if with.User != "" {
		c.User = with.User
	}
	if with.WorkingDir != "" {
		c.WorkingDir = with.WorkingDir
	}
	if with.Labels != nil {
		c.Labels = with.Labels
	}
	if with.ExposedPorts != nil {
		c.ExposedPorts = set(with.ExposedPorts)
	}
	if with.Volumes != nil {
		c.Volumes = set(with.Volumes)
	}
	if with.StopSignal != "" {
		c.StopSignal = with.StopSignal
	}
	return c
}

func set(names []string) map[string]struct{} {
	m := map[string]struct{}{}
	for _, n := range names {
		m[n] = struct{}{}
	}
	return m
}

func declareEnv(c *store.ImageConfig, all []string, key string) {
	for _, v := range all {
		if strings.HasPrefix(v, key+"=") && !slices.Contains(c.Env, v) {
			c.Env = append(c.Env, v)
		}
	}
}

func declareLabel(c *store.ImageConfig, all map[string]string, key string) {
	value, ok := all[key]
	if !ok {
		return
	}
	if c.Labels == nil {
		c.Labels = map[string]string{}
	}
	c.Labels[key] = value
}

func union(a, b map[string]struct{}) map[string]struct{} {
	if a == nil {
		a = map[string]struct{}{}
	}
	maps.Copy(a, b)
	return a
}
