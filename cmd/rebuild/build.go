package main

import (
	"context"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rebuild/attest"
	"rebuild/engine"
	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/stages"
	"rebuild/store"
)

// The commands of a maintainer who rebuilds: init, plan, lock, fetch, run.

// hello is the pipeline that init writes.
//
//go:embed hello
var hello embed.FS

func (a *app) initCommand() *cobra.Command {
	return a.verb("init [DIR]", "Start a pipeline: a few files to edit", `  rebuild init
  rebuild init my-pipeline`, cobra.MaximumNArgs(1), func(_ context.Context, args []string) (result, error) {
		dir := "."
		if len(args) == 1 {
			dir = args[0]
		}
		made, err := writePipeline(dir)
		if err == nil {
			a.note("now: rebuild run --pipeline %s", dir)
		}
		return made, err
	})
}

// writePipeline writes the example, and nothing if any of its files is there.
func writePipeline(dir string) (written, error) {
	var made written
	texts := map[string][]byte{}
	err := fs.WalkDir(hello, "hello", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		to := filepath.Join(dir, strings.TrimPrefix(path, "hello/"))
		if _, err := os.Lstat(to); err == nil {
			return fault.New(fault.Usage, "%s is there already", to).WithHint("rebuild init NEW-FOLDER")
		}
		texts[to], err = hello.ReadFile(path)
		made.Files = append(made.Files, to)
		return err
	})
	if err != nil {
		return written{}, err
	}
	for _, path := range made.Files {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return written{}, unwritable(dir, err)
		}
		if err := os.WriteFile(path, texts[path], 0o644); err != nil {
			return written{}, unwritable(dir, err)
		}
	}
	return made, nil
}

type written struct {
	Files []string `json:"files"`
}

func (w written) Print(out io.Writer) {
	for _, f := range w.Files {
		fmt.Fprintln(out, f)
	}
}

func (a *app) planCommand() *cobra.Command {
	var platform, output string
	c := a.verb("plan", "Show the plan: its digest, its stages, what is built already", `  rebuild plan
  rebuild plan --output plan.json`, cobra.NoArgs, func(ctx context.Context, _ []string) (result, error) {
		at, plan, err := a.planned(platform)
		if err != nil {
			return nil, err
		}
		known, err := plan.Survey(at.state, engine.PolicyVersion)
		if err != nil {
			return nil, err
		}
		if output != "" {
			if err := writeOutput(a, output, plan.JSON); err != nil {
				return nil, err
			}
		}
		return newPlanResult(plan, known), nil
	})
	c.Flags().StringVar(&platform, "platform", "", "platform, if the pipeline has several")
	c.Flags().StringVarP(&output, "output", "o", "", `write plan.json to this file, "-" for stdout`)
	return c
}

type planResult struct {
	Plan     store.Digest `json:"plan"`
	Pipeline string       `json:"pipeline"`
	Platform string       `json:"platform"`
	Stages   []planStage  `json:"stages"`
	Targets  []string     `json:"targets"`
}

type planStage struct {
	Name     string       `json:"name"`
	Inputs   []string     `json:"inputs"`
	Cached   bool         `json:"cached"`
	Manifest store.Digest `json:"manifest,omitempty"`
}

func newPlanResult(plan *pipeline.Plan, known []pipeline.Status) planResult {
	r := planResult{Plan: plan.Digest, Pipeline: plan.Doc.Pipeline, Platform: plan.Doc.Platform, Targets: plan.Doc.Targets}
	inputs := map[string][]string{}
	for _, s := range plan.Doc.Stages {
		inputs[s.Name] = s.Inputs
	}
	for _, s := range known {
		r.Stages = append(r.Stages, planStage{string(s.Name), append([]string{}, inputs[string(s.Name)]...), s.Cached, s.Manifest})
	}
	return r
}

func (r planResult) Print(out io.Writer) {
	fmt.Fprintf(out, "%s\n", r.Plan)
	for _, s := range r.Stages {
		mark := "to build"
		if s.Cached {
			mark = "built   "
		}
		line := fmt.Sprintf("  %s  %-20s", mark, s.Name)
		if len(s.Inputs) > 0 {
			line += " from " + strings.Join(s.Inputs, ", ")
		}
		if slices.Contains(r.Targets, s.Name) {
			line += "  (target)"
		}
		fmt.Fprintln(out, strings.TrimRight(line, " "))
	}
}

func (a *app) fetchCommand() *cobra.Command {
	var jobs int
	var places []string
	c := a.verb("fetch", "Download the declared sources; the only one of a build that uses a network", `  rebuild fetch
  rebuild fetch --jobs 8
  rebuild fetch --mirror /media/sources --mirror debian=https://mirror.example/debian`, cobra.NoArgs, func(ctx context.Context, _ []string) (result, error) {
		known, err := mirrors(places)
		if err != nil {
			return nil, err
		}
		p, err := a.load()
		if err != nil {
			return nil, err
		}
		lock, err := p.ReadLock()
		if err != nil {
			return nil, err
		}
		at, err := a.places()
		if err != nil {
			return nil, err
		}
		got, err := pipeline.Fetch(ctx, pipeline.FetchOptions{
			Pipeline: p, Lock: lock, State: at.state, Client: pipeline.FetchClient(), Jobs: jobs, Mirrors: known, Events: a.fetchEvent,
		})
		if got == nil {
			return nil, err
		}
		return fetchResult{got.Fetched, got.Present, got.Bytes}, err
	})
	c.Flags().IntVarP(&jobs, "jobs", "j", 4, "downloads at one time")
	c.Flags().StringArrayVar(&places, "mirror", nil, "`PLACE` to ask first: a folder or URL with files by sha256 or name, or debian=URL, goproxy=URL")
	return c
}

func (a *app) fetchEvent(e pipeline.FetchEvent) {
	switch {
	case e.Err != nil:
		a.note("%s: %s: %s", e.Source, oneLine(e.URL), oneLine(e.Err.Error()))
	case e.Done:
		a.note("%s: %d bytes, as declared", e.Source, e.Size)
	}
}

type fetchResult struct {
	Fetched []string `json:"fetched"`
	Present []string `json:"present"`
	Bytes   int64    `json:"bytes"`
}

func (r fetchResult) Print(out io.Writer) {
	for _, name := range r.Fetched {
		fmt.Fprintln(out, name)
	}
}

func (a *app) runCommand() *cobra.Command {
	o := runOptions{}
	c := a.verb("run [STAGE...]", "Build the pipeline, or some of its stages", `  rebuild run
  rebuild run --json --jobs 4 --pipeline builtin`, cobra.ArbitraryArgs, func(ctx context.Context, args []string) (result, error) {
		return a.runPipeline(ctx, o, args)
	})
	f := c.Flags()
	f.IntVarP(&o.jobs, "jobs", "j", runtime.NumCPU(), "stages built at one time")
	f.BoolVar(&o.fresh, "fresh", false, "build every stage again, whatever was built before")
	f.StringVar(&o.platform, "platform", "", "platform, if the pipeline has several")
	f.StringSliceVar(&o.vary, "vary", nil, "change the surroundings: aslr, cpuinfo, cpus, domainname, kernel-name, uptime")
	return c
}

type runOptions struct {
	jobs     int
	fresh    bool
	platform string
	vary     []string
}

func (a *app) runPipeline(ctx context.Context, o runOptions, only []string) (result, error) {
	at, plan, err := a.planned(o.platform)
	if err != nil {
		return nil, err
	}
	began := a.now()
	run := pipeline.RunOptions{}
	for _, name := range only {
		run.Stages = append(run.Stages, stages.Name(name))
	}
	report, err := a.carryOut(ctx, at, plan, o, run)
	if report == nil {
		return nil, err
	}
	r := newRunResult(plan, report)
	a.note("%s: %s", plan.Doc.Pipeline, r.summary(a.now().Sub(began)))
	return r, err
}

// carryOut runs a plan on the engine, with progress, and completes run from o.
func (a *app) carryOut(ctx context.Context, at places, plan *pipeline.Plan, o runOptions, run pipeline.RunOptions) (*pipeline.Report, error) {
	varied, err := variation(o.vary)
	if err != nil {
		return nil, err
	}
	self, err := selfDigest()
	if err != nil {
		return nil, err
	}
	display, err := engine.NewDisplay(a.stderr, a.progressMode())
	if err != nil {
		return nil, err
	}
	e := a.engine(at, 0, varied, display)
	run.Plan, run.State, run.Engine, run.Jobs, run.Fresh = plan, at.state, e, o.jobs, o.fresh
	run.Now, run.Rebuild, run.RebuildDigest = a.now, version, self
	report, err := pipeline.Run(ctx, run)
	e.Close()
	display.Close()
	var failed *pipeline.StageError
	if errors.As(err, &failed) && a.progressMode() == "quiet" {
		a.logTail(failed)
	}
	return report, err
}

// progressMode is quiet wherever progress would be in the way.
func (a *app) progressMode() string {
	if a.quiet {
		return "quiet"
	}
	return a.progress
}

// logTail prints the end of what a failed stage said.
func (a *app) logTail(e *pipeline.StageError) {
	if len(e.Log) == 0 {
		return
	}
	lines := strings.Split(strings.TrimRight(string(e.Log), "\n"), "\n")
	for _, line := range lines[max(0, len(lines)-20):] {
		fmt.Fprintf(a.stderr, "%s | %s\n", e.Stage, oneLine(line))
	}
}

var noVariation engine.Variation

// variation reads the words of --vary.
func variation(words []string) (engine.Variation, error) {
	var v engine.Variation
	for _, w := range words {
		switch w {
		case "aslr":
			v.NoASLR = true
		case "cpuinfo":
			v.HideCPU = true
		case "cpus":
			v.CPUs = 1
		case "domainname":
			v.DomainName = "varied.invalid"
		case "kernel-name":
			v.KernelName = true
		case "uptime":
			v.UptimeDays = 1000
		default:
			return v, fault.New(fault.Usage, "--vary does not know %q", w).
				WithHint("use aslr, cpuinfo, cpus, domainname, kernel-name or uptime")
		}
	}
	return v, nil
}

// selfDigest is the digest of the running binary, recorded in every result.
func selfDigest() (store.Digest, error) {
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", fault.New(fault.Internal, "reading this binary: %w", err)
	}
	defer self.Close()
	h := sha256.New()
	if _, err := io.Copy(h, self); err != nil {
		return "", fault.New(fault.Internal, "reading this binary: %w", err)
	}
	return store.DigestOfSum(h.Sum(nil)), nil
}

// runResult is what a run built.
type runResult struct {
	Plan     store.Digest           `json:"plan"`
	Pipeline string                 `json:"pipeline"`
	Platform string                 `json:"platform"`
	Outcome  string                 `json:"outcome"`
	Outputs  store.Digest           `json:"outputs,omitempty"` // the voted value, of a whole run
	Stages   []pipeline.ReportStage `json:"stages"`
	Targets  []runTarget            `json:"targets"`
	Failure  *attest.Failure        `json:"failure,omitempty"`
}

type runTarget struct {
	Name     string       `json:"name"`
	Tree     store.Digest `json:"tree"`
	Manifest store.Digest `json:"manifest"`
}

func newRunResult(plan *pipeline.Plan, report *pipeline.Report) runResult {
	r := runResult{
		Plan: plan.Digest, Pipeline: report.Pipeline, Platform: report.Platform, Outcome: report.Outcome,
		Stages: report.Stages, Targets: []runTarget{}, Failure: report.Failure,
	}
	for _, name := range plan.Doc.Targets {
		if s, ok := report.Stage(stages.Name(name)); ok {
			r.Targets = append(r.Targets, runTarget{name, s.Tree, s.Manifest})
		}
	}
	if report.Outcome == attest.OutcomeBuilt && !report.Partial {
		var voted []attest.StageResult
		for _, s := range report.Stages {
			voted = append(voted, attest.StageResult{Name: string(s.Name), Tree: s.Tree, Manifest: s.Manifest})
		}
		r.Outputs = attest.Outputs(voted)
	}
	return r
}

func (r runResult) Print(out io.Writer) {
	for _, t := range r.Targets {
		fmt.Fprintln(out, t.Manifest)
	}
}

func (r runResult) summary(took time.Duration) string {
	built := 0
	for _, s := range r.Stages {
		if !s.Cached {
			built++
		}
	}
	return fmt.Sprintf("%d stages, %d built now, %.2f s", len(r.Stages), built, took.Seconds())
}
