package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rebuild/attest"
	"rebuild/index"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/stages"
	"rebuild/store"
)

// Reproduce answers the question behind all others by oneself: from the index
// alone it makes the released plan again, builds it from the seed and compares
// every stage. It believes the index in nothing. The release is verified by the
// policy first; every definition is hashed, and all of them together must give
// the released plan; the work is done in a state root of its own.

type reproduceOptions struct {
	run        runOptions
	index      string
	policy     string
	at         string
	substitute string
	images     []string
	fetch      bool
	private    bool
	resume     bool
	key        string
	operator   string
	output     string
}

func (a *app) reproduceCommand() *cobra.Command {
	o := &reproduceOptions{}
	c := a.verb("reproduce NAME[@VERSION]", "Build a release again from the index alone and compare every stage",
		`  rebuild reproduce hello@0.1.0 --index index --policy policy.toml
  rebuild reproduce hello --index index --policy policy.toml --key north.key --operator north -o north.dsse.json`,
		cobra.ExactArgs(1), func(ctx context.Context, args []string) (result, error) {
			if err := o.check(); err != nil {
				return nil, err
			}
			return a.reproduce(ctx, o, args[0])
		})
	f := c.Flags()
	f.StringVar(&o.index, "index", "", "index to take the release and its definitions from")
	f.StringVarP(&o.policy, "policy", "p", "", "policy.toml")
	f.StringVar(&o.at, "at", "", atUsage)
	f.StringVar(&o.run.platform, "platform", "", "platform, if the release has several")
	f.StringVar(&o.substitute, "substitute", "", "take this stage and all it needs as released instead of building it")
	f.StringArrayVar(&o.images, "image", nil, "OCI layout to look for substituted images in, beside the index")
	f.BoolVar(&o.fetch, "fetch", false, "download sources that the index has not, from where it says they are")
	f.BoolVar(&o.private, "fetch-private", false, "with --fetch, ask servers on this network and over http too, if the index names them")
	f.BoolVar(&o.resume, "resume", false, "go on with what an earlier, interrupted reproduction has built")
	f.IntVarP(&o.run.jobs, "jobs", "j", runtime.NumCPU(), "stages built at one time")
	f.StringSliceVar(&o.run.vary, "vary", nil, "change the surroundings, as in rebuild run")
	f.StringVar(&o.key, "key", "", "operator's key file, to sign what came out")
	f.StringVar(&o.operator, "operator", "", "operator's name, as in the policy")
	f.StringVarP(&o.output, "output", "o", "", "file for the signed statement")
	return c
}

// check refuses what would only be found wrong after the build.
func (o *reproduceOptions) check() error {
	if o.index == "" {
		return fault.New(fault.Usage, "no index to take the release from").WithHint("give --index DIR")
	}
	if some := o.key != "" || o.operator != "" || o.output != ""; some && (o.key == "" || o.operator == "" || o.output == "") {
		return fault.New(fault.Usage, "a statement takes --key, --operator and --output").WithHint("give all three, or none")
	}
	if o.output != "" {
		if _, err := os.Lstat(o.output); o.output != "-" && err == nil {
			return thereAlready(o.output)
		}
	}
	if err := atLeastOne(o.run.jobs); err != nil {
		return err
	}
	if o.private && !o.fetch {
		return fault.New(fault.Usage, "--fetch-private without --fetch: nothing is downloaded").WithHint("give --fetch too, or neither")
	}
	if len(o.images) > 0 && o.substitute == "" {
		return fault.New(fault.Usage, "--image without --substitute: every stage is built").WithHint("give --substitute STAGE")
	}
	o.run.fresh = !o.resume
	return nil
}

// reproduction is one release on one platform, being made again.
type reproduction struct {
	*reproduceOptions
	a       *app
	trusted *attest.Policy
	reader  *opened
	entry   *index.Entry
	release attest.Release
	digest  store.Digest // of the release
	build   attest.ReleaseBuild
	stages  []attest.StageResult // as released
	doc     *attest.Plan
	places  places // of its own
	plan    *pipeline.Plan
}

func (a *app) reproduce(ctx context.Context, o *reproduceOptions, reference string) (result, error) {
	r, err := a.readRelease(ctx, o, reference)
	if err != nil {
		return nil, err
	}
	var signer attest.Signer
	if o.key != "" {
		if signer, err = a.readKey(o.key); err != nil {
			return nil, err
		}
		if who, known := r.trusted.OperatorOf(signer.Public()); !known || who != o.operator {
			a.note("warning: policy %s has no operator %s with this key, and would not count the statement", r.trusted.Name(), oneLine(o.operator))
		}
	}
	unlock, err := r.restore(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	run := pipeline.RunOptions{}
	if o.substitute != "" {
		if run.Substitution, err = r.substituted(ctx); err != nil {
			return nil, err
		}
	}
	report, runErr := a.carryOut(ctx, r.places, r.plan, o.run, run)
	if report == nil {
		return nil, runErr
	}
	out := r.compare(ctx, report)
	if signer != nil {
		if out.Statement, err = r.sign(report, signer); err != nil {
			return out, err
		}
	}
	if runErr != nil {
		return out, runErr
	}
	return out, out.err(r)
}

// readRelease verifies the release by the policy and finds what came out of
// each of its stages.
func (a *app) readRelease(ctx context.Context, o *reproduceOptions, which string) (*reproduction, error) {
	now, _, err := a.judgingTime(o.at)
	if err != nil {
		return nil, err
	}
	policy, err := a.readPolicy(o.policy)
	if err != nil {
		return nil, err
	}
	name, version, err := reference(which)
	if err != nil {
		return nil, err
	}
	r := &reproduction{reproduceOptions: o, a: a}
	if r.reader, err = a.openIndex(ctx, o.index, policy, opening{now: now}); err != nil {
		return nil, err
	}
	entry, publication, err := r.reader.Verify(ctx, name, version)
	if err != nil {
		return nil, err
	}
	if err := r.reader.Commit(); err != nil {
		return nil, err
	}
	r.trusted = policy
	r.entry, r.release, r.digest = entry, publication.Release().Release(), publication.Release().Digest()
	return r, r.choose(ctx, policy, now)
}

// choose picks the build of the platform and judges its evidence.
func (r *reproduction) choose(ctx context.Context, policy *attest.Policy, now time.Time) error {
	var platforms []string
	for _, b := range r.release.Builds {
		platforms = append(platforms, b.Platform)
	}
	i := slices.Index(platforms, r.run.platform)
	if r.run.platform == "" && len(platforms) == 1 {
		i = 0
	}
	if i < 0 {
		return fault.New(fault.Usage, "the release is for %s", strings.Join(platforms, ", ")).WithHint("choose one with --platform %s", platforms[0])
	}
	r.build = r.release.Builds[i]
	bundle, err := r.reader.Bundle(ctx, r.entry)
	if err != nil {
		return err
	}
	_, verdicts, err := attest.VerifyRelease(policy, bundle, now)
	if err != nil {
		return err
	}
	if r.stages, err = verdicts[i].Stages(); err != nil {
		return err
	}
	r.doc, err = attest.DecodePlan("plan "+string(r.build.Plan), bundle.Builds[i].Plan)
	return err
}

// restore makes the pipeline again in a state root that holds nothing but
// reproductions of this plan, which nobody else uses until unlock. Substituted
// stages never get into the root in which all is built.
func (r *reproduction) restore(ctx context.Context) (unlock func(), err error) {
	at, err := r.a.places()
	if err != nil {
		return nil, err
	}
	root := filepath.Join(at.state, "reproduce", r.build.Plan.Hex())
	if r.substitute != "" {
		name, err := stages.ParseName(r.substitute)
		if err != nil {
			return nil, err
		}
		root += "-from-" + string(name)
	}
	r.places = places{state: root, engines: at.engines, cache: at.cache}
	if err := durable.MkdirAll(durable.OS{}, root); err != nil {
		return nil, unwritable("--state", err)
	}
	if unlock, err = durable.LockUntil(ctx, filepath.Join(root, "reproduce.lock"), true); err != nil {
		return nil, unwritable("--state", err)
	}
	if err = r.restoreIn(ctx, filepath.Join(root, "pipeline")); err != nil {
		unlock()
		return nil, err
	}
	return unlock, nil
}

func (r *reproduction) restoreIn(ctx context.Context, dir string) error {
	if err := durable.RemoveAll(dir); err != nil { // of an earlier reproduction
		return unwritable("--state", err)
	}
	hints, err := r.reader.Hints(ctx, r.build.Plan)
	if err != nil {
		return err
	}
	if r.plan, err = pipeline.Restore(ctx, dir, r.doc, r.reader.Reader, hints); err != nil {
		return unwritable("--state", err)
	}
	missing, err := r.plan.Provide(ctx, r.places.state, r.reader.Reader)
	if err != nil || len(missing) == 0 {
		return err
	}
	if !r.fetch {
		return fault.New(fault.OfflineIndex, "%d sources are not in the index: %s", len(missing), oneLine(strings.Join(missing, ", "))).
			With("missing", missing).WithHint("give --fetch to download them from where the index says they are; only their declared bytes are taken")
	}
	lock, err := r.plan.Pipeline.NewLock(ctx, pipeline.LockOptions{})
	if err != nil {
		return err
	}
	reach, err := r.reach()
	if err != nil {
		return err
	}
	_, err = pipeline.Fetch(ctx, pipeline.FetchOptions{
		Pipeline: r.plan.Pipeline, Lock: lock, State: r.places.state, Client: reach.Client(), Jobs: 4,
		Mirrors: pipeline.Mirrors{Of: configured}, Events: r.a.fetchEvent,
	})
	if fault.CodeOf(err) == fault.IndexFetch && !reach.Private {
		r.a.note("servers on this network were not asked; if you trust whoever wrote the hints of the index, give --fetch-private")
	}
	return err
}

// reach is where hints of the index may lead, which nobody signs: over https to
// public addresses. An index that is read over http itself may name others that
// are, and one on this machine what is on it.
func (r *reproduction) reach() (pipeline.Reach, error) {
	at, err := index.Locate(r.index)
	if err != nil || at.URL == nil || r.private {
		return pipeline.Reach{HTTP: r.private, Private: r.private}, err
	}
	host := at.URL.Hostname()
	ip := net.ParseIP(host)
	here := host == "localhost" || ip != nil && ip.IsLoopback()
	return pipeline.Reach{HTTP: here || at.URL.Scheme == "http", Private: here}, nil
}

// substituted says what is not built, and brings the images that are needed of
// it into the store.
func (r *reproduction) substituted(ctx context.Context) (*pipeline.Substitution, error) {
	s, err := r.plan.Substitute(stages.Name(r.substitute), r.stages)
	if err != nil {
		return nil, err
	}
	blobs, err := store.Open(pipeline.StoreDir(r.places.state))
	if err != nil {
		return nil, err
	}
	for _, name := range s.Images {
		i := slices.IndexFunc(r.stages, func(s attest.StageResult) bool { return s.Name == string(name) })
		if err := r.take(ctx, blobs, &r.stages[i]); err != nil {
			return nil, fault.New(fault.CodeOf(err), "stage %s as it was released: %w", name, err).
				WithHint("name an OCI layout that holds image %s with --image DIR, or build it: leave --substitute out", r.stages[i].Manifest)
		}
	}
	return s, nil
}

// take brings the image of one stage into the store.
func (r *reproduction) take(ctx context.Context, blobs *store.Store, s *attest.StageResult) error {
	manifest, err := r.part(ctx, s.Manifest)
	if err != nil {
		return err
	}
	config, layer, err := pipeline.PartsOf(manifest)
	if err != nil {
		return err
	}
	text, err := r.part(ctx, config)
	if err != nil {
		return err
	}
	if err := r.takeLayer(ctx, blobs, s, layer); err != nil {
		return err
	}
	return pipeline.TakeImage(blobs, s.Tree, manifest, text)
}

// part finds a manifest or config in the index or in one of the layouts.
func (r *reproduction) part(ctx context.Context, d store.Digest) ([]byte, error) {
	data, err := r.reader.Object(ctx, d, maxManifest)
	if fault.CodeOf(err) != fault.FileMissing {
		return data, err
	}
	for _, dir := range r.images {
		data, err := readBounded(layoutBlob(dir, d), maxManifest)
		if err == nil && store.DigestOf(data) == d {
			return data, nil
		}
	}
	return nil, err
}

func layoutBlob(dir string, d store.Digest) string {
	return filepath.Join(dir, "blobs", "sha256", d.Hex())
}

// takeLayer finds a layer in one of the layouts, or makes it from the released
// archive, which holds the targets' files.
func (r *reproduction) takeLayer(ctx context.Context, blobs *store.Store, s *attest.StageResult, layer store.Digest) error {
	for _, dir := range r.images {
		f, err := os.Open(layoutBlob(dir, layer))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		defer f.Close()
		w, err := blobs.Create()
		if err != nil {
			return err
		}
		defer w.Abort()
		if _, err := io.Copy(w, f); err != nil {
			return err
		}
		_, _, err = w.Commit(layer)
		return err
	}
	files, err := r.payload(ctx, s.Name)
	if err != nil {
		return err
	}
	if files == nil {
		return fault.New(fault.FileMissing, "layer %s is neither in the released archive nor in a layout", layer)
	}
	made, err := blobs.PutFiles(files, r.doc.SourceDateEpoch)
	if err == nil && made.Digest != layer {
		err = fault.New(fault.TreeMismatch, "the released archive gives layer %s, expected %s", made.Digest, layer)
	}
	return err
}

// payload returns the files of a target in the released archive, nil if it has
// none of it.
func (r *reproduction) payload(ctx context.Context, target string) ([]store.File, error) {
	archive, err := r.reader.Archive(ctx, r.entry)
	if err != nil {
		return nil, err
	}
	p, err := attest.OpenPackage(r.entry.Name, archive)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(p.Payloads(), func(p attest.Payload) bool {
		return p.Platform == r.build.Platform && p.Target == target && p.Path != ""
	})
	if i < 0 {
		return nil, nil
	}
	all, err := attest.ReadLayer(bytes.NewReader(archive))
	if err != nil {
		return nil, err
	}
	below := p.Payloads()[i].Path + "/"
	files := []store.File{}
	for _, f := range all {
		name, ok := strings.CutPrefix(f.Path, below)
		if !ok {
			continue
		}
		f.Path = name
		if f.Type == store.Link {
			f.Target = strings.TrimPrefix(f.Target, below)
		}
		files = append(files, f)
	}
	return files, nil
}

// sign writes the result of the run as a statement of the operator's own. A
// result that differs is signed too: it is what the others must hear of.
func (r *reproduction) sign(report *pipeline.Report, signer attest.Signer) (store.Digest, error) {
	if err := pipeline.CheckOperator(r.places.state, r.operator); err != nil {
		return "", err
	}
	nonce, err := attest.NewNonce(r.a.random)
	if err != nil {
		return "", err
	}
	own, err := pipeline.ResultOf(report, r.operator, nonce)
	if err != nil {
		return "", err
	}
	if own.Outcome == attest.OutcomeBuilt && r.substitute == "" { // a trace leads through every stage
		if own.Lineage, err = lineageOf(r.places, r.plan, report); err != nil {
			return "", err
		}
	}
	envelope, err := signResult(&r.plan.Doc, own, signer)
	if err != nil {
		return "", err
	}
	if err := writeOutput(r.a, r.output, envelope.Bytes()); err != nil {
		return "", err
	}
	return envelope.Digest(), pipeline.MarkCovered(r.places.state, report, envelope.Digest(), r.operator)
}

// reproduceResult is what came out, stage by stage, in the order of the plan.
type reproduceResult struct {
	Name      string            `json:"name"`
	Version   string            `json:"version"`
	Release   store.Digest      `json:"release"`
	Plan      store.Digest      `json:"plan"`
	Platform  string            `json:"platform"`
	Outcome   string            `json:"outcome"`
	Equal     bool              `json:"equal"` // every stage came out as released
	Outputs   store.Digest      `json:"outputs,omitempty"`
	Stages    []reproducedStage `json:"stages"`
	Differs   string            `json:"differs,omitempty"` // the first stage that does
	File      string            `json:"file,omitempty"`    // in which it first differs, and how, if it is at hand
	Statement store.Digest      `json:"statement,omitempty"`
	State     string            `json:"state"` // state root with all that was built
}

type reproducedStage struct {
	Name     string        `json:"name"`
	Origin   string        `json:"origin,omitempty"` // "" if there is no output
	Equal    bool          `json:"equal"`
	Released releasedStage `json:"released"`
	Built    releasedStage `json:"built,omitzero"`
}

type releasedStage struct {
	Tree     store.Digest `json:"tree"`
	Manifest store.Digest `json:"manifest"`
}

// compare holds what was built against what was released. Of several stages
// that differ the first in the plan's order had equal inputs, so the cause is
// in it.
func (r *reproduction) compare(ctx context.Context, report *pipeline.Report) *reproduceResult {
	out := &reproduceResult{
		Name: r.release.Name, Version: r.release.Version, Release: r.digest, Plan: r.plan.Digest, Platform: r.build.Platform,
		Outcome: report.Outcome, Equal: report.Outcome == attest.OutcomeBuilt, State: r.places.state,
		Outputs: newRunResult(r.plan, report).Outputs,
	}
	if r.substitute != "" {
		out.Outputs = "" // what was not built has no value to vote with
	}
	for _, name := range r.plan.Order() {
		i := slices.IndexFunc(r.stages, func(s attest.StageResult) bool { return s.Name == string(name) })
		s := reproducedStage{Name: string(name), Released: releasedStage{r.stages[i].Tree, r.stages[i].Manifest}}
		if got, built := report.Stage(name); built {
			s.Origin, s.Built = got.Origin, releasedStage{got.Tree, got.Manifest}
			s.Equal = s.Built == s.Released
			if !s.Equal && out.Differs == "" {
				out.Differs = s.Name
				out.File = r.firstFile(ctx, s)
			}
		}
		out.Equal = out.Equal && s.Equal
		out.Stages = append(out.Stages, s)
	}
	return out
}

// firstFile names the first file in which a stage differs from the release, if
// the release holds its files. It is for people: without it the difference is
// the same.
func (r *reproduction) firstFile(ctx context.Context, s reproducedStage) string {
	files, err := r.payload(ctx, s.Name)
	if err != nil || files == nil {
		return ""
	}
	released, err := store.TreeOf(files)
	if err != nil {
		return ""
	}
	blobs, err := store.Open(pipeline.StoreDir(r.places.state))
	if err != nil {
		return ""
	}
	built, err := blobs.Tree(s.Built.Tree)
	if err != nil {
		return ""
	}
	for _, d := range store.Diff(released, built) {
		return oneLine(fmt.Sprintf("%s (%s)", d.Path, d.What))
	}
	return "image settings"
}

// err is DISSENT (16) if anything came out otherwise.
func (out *reproduceResult) err(r *reproduction) error {
	if out.Differs == "" {
		return nil
	}
	i := slices.IndexFunc(out.Stages, func(s reproducedStage) bool { return s.Name == out.Differs })
	s := out.Stages[i]
	what := ""
	if out.File != "" {
		what = ", first in " + out.File
	}
	e := fault.New(fault.Dissent, "stage %s of %s %s does not come out as released%s: released tree %s manifest %s, built tree %s manifest %s",
		s.Name, out.Name, out.Version, what, s.Released.Tree, s.Released.Manifest, s.Built.Tree, s.Built.Manifest).
		With("stage", s.Name).With("released", string(s.Released.Tree)).With("built", string(s.Built.Tree))
	if r.key == "" {
		return e.WithHint("tell the others: rebuild reproduce %s@%s --index %s --policy %s --resume --key KEY --operator NAME -o FILE; what was built is in %s",
			out.Name, out.Version, r.index, r.policy, out.State)
	}
	return e.WithHint("add %s to the results of the plan and look at the files: rebuild compare RESULTS --policy %s --tree-from %s", r.output, r.policy, out.State)
}

// Print says it for people.
func (out *reproduceResult) Print(w io.Writer) {
	word := "not reproduced"
	if out.Equal {
		word = "reproduced"
	}
	substituted := 0
	for _, s := range out.Stages {
		how := "equal    "
		switch {
		case s.Origin == "":
			how = "not built"
		case s.Origin == attest.OriginSubstituted:
			substituted++
			how = "released "
		case !s.Equal:
			how = "differs  "
		}
		fmt.Fprintf(w, "  %s  %-20s tree %s manifest %s\n", how, s.Name, s.Released.Tree, s.Released.Manifest)
		if s.Origin != "" && !s.Equal {
			fmt.Fprintf(w, "  %s  %-20s tree %s manifest %s\n", "built    ", "", s.Built.Tree, s.Built.Manifest)
		}
	}
	fmt.Fprintf(w, "%s %s %s on %s, %d stages, plan %s\n", word, out.Name, out.Version, out.Platform, len(out.Stages), out.Plan)
	if substituted > 0 {
		fmt.Fprintf(w, "note: %d stages were taken as released and not built; this is no vote\n", substituted)
	}
	if out.Statement != "" {
		fmt.Fprintf(w, "statement %s\n", out.Statement)
	}
}
