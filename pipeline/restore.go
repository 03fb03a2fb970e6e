package pipeline

import (
	"context"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"rebuild/attest"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/stages"
	"rebuild/store"
)

// Objects is where definitions come from: an index, or any other place that
// keeps bytes by digest. Whoever implements it has hashed what it returns;
// there being none is FILE_MISSING.
type Objects interface {
	Object(ctx context.Context, d store.Digest, limit int64) ([]byte, error)
}

// Limits of what is restored, beside those of a stage folder.
const (
	maxContextText = 64 << 20
	maxContextFile = 64 << 20
)

// Restore makes the pipeline of a plan again, in a folder that it creates, from
// the definitions that the plan names, and plans it. What is not in a plan is
// not restored: where files lay, comments, exporter settings. hints are URLs of
// sources, by digest; only those of the web are taken, 16 for each.
//
// Whatever the definitions say, the result is a plan with the very bytes of
// doc, or an error: EVIDENCE_MISMATCH (12) if it comes out otherwise, the error
// of objects (FILE_MISSING, CKSUM_MISMATCH) for what is not there, or what
// [Load] and [Pipeline.Plan] refuse.
func Restore(ctx context.Context, dir string, doc *attest.Plan, objects Objects, hints map[store.Digest][]string) (*Plan, error) {
	if err := doc.Validate(); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	r := &restorer{ctx: ctx, root: root, doc: doc, objects: objects, hints: hints}
	if err := r.write(); err != nil {
		return nil, err
	}
	p, err := Load(dir, dir, stages.Builtin())
	if err != nil {
		return nil, err
	}
	lock, err := p.NewLock(ctx, LockOptions{})
	if err != nil {
		return nil, err
	}
	plan, err := p.Plan(doc.Platform, PlanOptions{Lock: lock})
	if err != nil {
		return nil, err
	}
	if want := doc.Digest(); plan.Digest != want {
		return nil, fault.New(fault.EvidenceMismatch, "the definitions make plan %s, expected %s", plan.Digest, want).
			With("expected", string(want)).With("found", string(plan.Digest)).
			WithHint("compare plan.json of both; the restored pipeline is in %s", dir)
	}
	return plan, nil
}

type restorer struct {
	ctx     context.Context
	root    *os.Root
	doc     *attest.Plan
	objects Objects
	hints   map[store.Digest][]string
}

func (r *restorer) write() error {
	folders := []any{}
	for i := range r.doc.Stages {
		s := &r.doc.Stages[i]
		folders = append(folders, stageFolder(s.Name))
		if err := r.stage(s); err != nil {
			return err
		}
	}
	images := map[string]any{}
	for _, i := range r.doc.Images {
		folder := path.Join("images", i.Name)
		images[i.Name] = layoutScheme + folder + "@" + string(i.Digest)
		if err := r.image(folder, i.Digest); err != nil {
			return err
		}
	}
	text, err := document.EncodeTOML(map[string]any{
		"schema_version": document.Pipeline.ID(), "name": r.doc.Pipeline, "source_date_epoch": r.doc.SourceDateEpoch,
		"platforms": []any{r.doc.Platform}, "stages": folders, "targets": anys(r.doc.Targets), "images": images,
	})
	if err != nil {
		return err
	}
	return r.file(SettingsFile, text, false)
}

func stageFolder(name string) string { return path.Join("stages", name) }

func anys(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

func tables(m map[string]string) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

// file writes a new file below the folder.
func (r *restorer) file(name string, data []byte, exec bool) error {
	if err := r.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	mode := fs.FileMode(0o644)
	if exec {
		mode = 0o755
	}
	f, err := r.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// ownFolder is where a restored stage has its own files.
const ownFolder = "src"

// stage writes one stage folder.
func (r *restorer) stage(s *attest.PlanStage) error {
	dir := stageFolder(s.Name)
	text, err := r.objects.Object(r.ctx, s.Containerfile, maxForeign)
	if err != nil {
		return r.lacking(s, "Containerfile", err)
	}
	if err := r.file(path.Join(dir, stages.ContainerFile), text, false); err != nil {
		return err
	}
	own := dir
	if s.Context != "" {
		own = path.Join(dir, ownFolder)
		if err := r.root.MkdirAll(own, 0o755); err != nil {
			return err
		}
		if err := r.context(own, s); err != nil {
			return err
		}
	}
	ignored, err := r.seeds(own, s)
	if err != nil {
		return err
	}
	// It stands in the place of an ignore file among the stage's own files,
	// which has had its effect and must not have it twice.
	if err := r.file(path.Join(dir, stages.ContainerFile+".dockerignore"), []byte(ignored), false); err != nil {
		return err
	}
	settings, err := document.EncodeTOML(r.settings(s))
	if err != nil {
		return err
	}
	return r.file(path.Join(dir, stages.SettingsFile), settings, false)
}

func (r *restorer) lacking(s *attest.PlanStage, what string, err error) error {
	return fault.New(fault.CodeOf(err), "%s of stage %s: %w", what, s.Name, err).
		WithHint("ask whoever published it to publish the definitions too: rebuild release publish --pipeline DIR --index ...")
}

// context writes a stage's own files, which the tree text lists.
func (r *restorer) context(own string, s *attest.PlanStage) error {
	text, err := r.objects.Object(r.ctx, s.Context, maxContextText)
	if err != nil {
		return r.lacking(s, "context", err)
	}
	tree, err := store.ParseTree(text)
	if err != nil {
		return r.lacking(s, "context", err)
	}
	placed := map[string]bool{}
	for _, p := range s.Into {
		placed[p] = true
	}
	for e := range tree.Entries() {
		if e.Path == "." || placed[e.Path] {
			continue
		}
		if err := r.entry(path.Join(own, e.Path), s, &e); err != nil {
			return err
		}
	}
	return nil
}

func (r *restorer) entry(at string, s *attest.PlanStage, e *store.Entry) error {
	switch e.Type {
	case store.Dir:
		return r.root.MkdirAll(at, 0o755)
	case store.Symlink:
		return r.root.Symlink(e.Target, at)
	case store.Regular:
		data, err := r.objects.Object(r.ctx, e.Content, min(e.Size, maxContextFile))
		if err != nil {
			return r.lacking(s, e.Path, err)
		}
		return r.file(at, data, e.Mode&0o100 != 0)
	}
	return r.lacking(s, "context", fault.New(fault.Semantic, "%s is neither file, folder nor symbolic link", e.Path))
}

// seeds writes the hex text of those seeds whose text the context does not
// hold, and returns the lines of an ignore file that keep it out of there.
func (r *restorer) seeds(own string, s *attest.PlanStage) (ignored string, err error) {
	for _, input := range s.Inputs {
		name, ok := strings.CutPrefix(input, stages.KindSeed+"/")
		if !ok {
			continue
		}
		file := path.Join(own, name+".hex0")
		if _, err := r.root.Lstat(file); err == nil {
			continue
		}
		i := slices.IndexFunc(r.doc.Seeds, func(d attest.PlanSeed) bool { return d.Name == name })
		seed, err := r.objects.Object(r.ctx, r.doc.Seeds[i].Digest, r.doc.Seeds[i].Size)
		if err != nil {
			return "", r.lacking(s, input, err)
		}
		text, err := seedText(file, seed)
		if err != nil {
			return "", err
		}
		if err := r.file(file, text, false); err != nil {
			return "", err
		}
		ignored += name + ".hex0\n"
	}
	return ignored, nil
}

// settings is stage.toml as the plan tells it.
func (r *restorer) settings(s *attest.PlanStage) map[string]any {
	out := map[string]any{
		"schema_version": document.Stage.ID(), "name": s.Name, "inputs": anys(s.Inputs), "export": s.Export,
		"alias": tables(s.Alias), "exec": s.Exec, "args": tables(s.Args), "image": imageSettings(s.Image),
	}
	if s.Context != "" {
		out["context"] = ownFolder
	}
	var sources []any
	for i := range r.doc.Sources {
		o := &r.doc.Sources[i]
		into, isFile := s.Into[o.Name]
		if !isFile && !slices.Contains(s.Inputs, stages.KindSource+"/"+o.Name) {
			continue
		}
		source := map[string]any{"name": o.Name, "digest": string(o.Digest), "size": o.Size, "unpack": o.Unpack, "urls": r.urls(o.Digest)}
		if isFile {
			source["into"] = into
		}
		var code []any
		for _, c := range o.Omit {
			code = append(code, map[string]any{"path": c.Path, "digest": string(c.Digest), "reason": "left out in the plan"})
		}
		if code != nil {
			source["code"] = code
		}
		sources = append(sources, source)
	}
	if sources != nil {
		out["source"] = sources
	}
	return out
}

// maxHints is how many hints of a source are taken: each may take its time.
const maxHints = 16

func (r *restorer) urls(d store.Digest) []any {
	web := slices.DeleteFunc(slices.Clone(r.hints[d]), func(u string) bool { return !isHint(u) })
	return anys(web[:min(len(web), maxHints)])
}

func imageSettings(i attest.ImageSettings) map[string]any {
	out := map[string]any{}
	for key, list := range map[string][]string{"cmd": i.Cmd, "entrypoint": i.Entrypoint, "env": i.Env, "exposed_ports": i.ExposedPorts, "volumes": i.Volumes} {
		if len(list) > 0 {
			out[key] = anys(list)
		}
	}
	for key, text := range map[string]string{"stop_signal": i.StopSignal, "user": i.User, "working_dir": i.WorkingDir} {
		if text != "" {
			out[key] = text
		}
	}
	if len(i.Labels) > 0 {
		out["labels"] = tables(i.Labels)
	}
	return out
}

// image writes a foreign image as an OCI layout.
func (r *restorer) image(folder string, manifest store.Digest) error {
	put := func(d store.Digest, limit int64) ([]byte, error) {
		data, err := r.objects.Object(r.ctx, d, limit)
		if err != nil {
			return nil, fault.New(fault.CodeOf(err), "image %s: %w", manifest, err)
		}
		name := path.Join(folder, "blobs", "sha256", d.Hex())
		if _, err := r.root.Lstat(name); err == nil { // one layer twice
			return data, nil
		}
		return data, r.file(name, data, false)
	}
	raw, err := put(manifest, maxForeign)
	if err != nil {
		return err
	}
	f, err := decodeForeign(raw)
	if err != nil {
		return err
	}
	for _, part := range append(slices.Clone(f.Layers), f.Config) {
		if _, err := store.ParseDigest(string(part.Digest)); err != nil {
			return err // it becomes a path
		}
		if _, err := put(part.Digest, min(max(part.Size, 0), maxContextFile)); err != nil {
			return err
		}
	}
	return nil
}

// Provide puts the sources and images of a plan into the store of a state root,
// as far as objects has them, and returns the names of the sources that it has
// not.
func (plan *Plan) Provide(ctx context.Context, state string, objects Objects) (missing []string, err error) {
	blobs, err := store.Open(StoreDir(state))
	if err != nil {
		return nil, err
	}
	for _, s := range plan.Doc.Sources {
		if hasSize(blobs, s.Digest, s.Size) {
			continue
		}
		data, err := objects.Object(ctx, s.Digest, s.Size)
		if fault.CodeOf(err) == fault.FileMissing {
			missing = append(missing, stages.KindSource+"/"+s.Name)
			continue
		}
		if err != nil {
			return nil, err
		}
		if _, err := blobs.Put(data); err != nil {
			return nil, err
		}
	}
	for _, i := range plan.Doc.Images {
		at := slices.IndexFunc(plan.Pipeline.Images, func(ref ImageReference) bool { return string(ref.Name) == i.Name })
		if blobs.Has(i.Digest) {
			continue
		}
		if err := plan.Pipeline.importImage(ctx, blobs, plan.Pipeline.Images[at], i.Digest); err != nil {
			return nil, err
		}
	}
	return missing, nil
}
