package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"rebuild/engine"
	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/stages"
)

// app is one invocation: its output and the flags that all commands share.
type app struct {
	ui
	state    string // state root; "" = the XDG places
	dir      string // folder of pipeline.toml, or "builtin"
	runc     string
	progress string
	keys     keyring

	command string // what was run, for the envelope
	result  result
}

// The values of --pipeline that mean recipes in this binary: from the seed to a C
// compiler, and to the first program of use.
const (
	builtin     = "builtin"
	builtinSeed = "builtin:seed"
)

// run is main without the process: it parses args, runs one command, prints
// its end and returns the exit status.
func run(ctx context.Context, args []string, w world) int {
	a := &app{ui: ui{world: w}, command: "rebuild"}
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetOut(w.stdout)
	root.SetErr(w.stderr)
	err := root.ExecuteContext(ctx)
	var coded *fault.Error
	if err != nil && !errors.As(err, &coded) && !errors.Is(err, context.Canceled) && a.command == "rebuild" {
		// cobra's own errors: unknown commands and flags, wrong counts.
		err = usage(root, args, err)
		a.json = a.json || slices.Contains(args, "--json") // the flags after a bad one were not read
	}
	if err == nil && a.result == nil && a.command == "rebuild" {
		return 0 // help, completion, version text: already printed
	}
	return a.finish(a.command, a.result, err)
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "rebuild",
		Short: "Reproducible builds that people can check",
		Example: `  rebuild demo
  rebuild run --json
  rebuild verify sha256sum.rbundle --policy policy.toml`,
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: func(c *cobra.Command, _ []string) error { return noEmptyFlag(c) },
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	f := root.PersistentFlags()
	f.BoolVar(&a.json, "json", false, "print one JSON envelope on stdout, on failure too")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "print no notes on stderr")
	f.StringVar(&a.state, "state", a.getenv("REBUILD_STATE"), "state root (default: the XDG data and cache folders)")
	f.StringVarP(&a.dir, "pipeline", "C", ".", `folder of pipeline.toml, or "builtin" or "builtin:seed"`)
	f.StringVar(&a.progress, "progress", orDefault(a.getenv("REBUILD_PROGRESS"), "auto"), "auto, tty, plain, rawjson or quiet")
	f.StringVar(&a.runc, "runc", a.getenv("REBUILD_RUNC"), "runc to run stages with (default: the embedded one)")
	root.AddCommand(
		a.initCommand(), a.planCommand(), a.lockCommand(), a.fetchCommand(), a.runCommand(),
		a.keyCommand(), a.attestCommand(), a.compareCommand(), a.releaseCommand(), a.indexCommand(), a.verifyCommand(), a.evidenceCommand(),
		a.bootstrapCommand(), a.storeCommand(), a.demoCommand(), a.doctorCommand(), a.versionsCommand(), a.versionCommand(), a.migrateCommand(),
		a.reproduceCommand(), a.policyCommand(), a.pkgCommand(), a.hubCommand(),
	)
	a.keys.flags(root)
	root.SetGlobalNormalizationFunc(oneName)
	refuseUnknown(root)
	fitHelp(root)
	return root
}

// oneName lets --registry stand for --index wherever that is taken.
func oneName(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	if name == "registry" {
		name = "index"
	}
	return pflag.NormalizedName(name)
}

func orDefault(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// command makes a cobra command whose work returns a result and an error; both
// are printed at the end, by finish.
func (a *app) verb(use, short, example string, args cobra.PositionalArgs, work func(ctx context.Context, args []string) (result, error)) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Example: strings.TrimRight(example, "\n"), Args: args,
		RunE: func(c *cobra.Command, args []string) error {
			a.command = strings.TrimPrefix(c.CommandPath(), "rebuild ")
			r, err := work(c.Context(), args)
			if r != nil {
				a.result = r
			}
			return err
		},
	}
}

// places are the folders that a state root consists of.
type places struct {
	state   string // store, records, reports
	engines string // engine roots
	cache   string // the unpacked runc
}

// places resolves --state, or the XDG folders without it.
func (a *app) places() (places, error) {
	if a.state != "" {
		dir, err := filepath.Abs(a.state)
		if err != nil {
			return places{}, err
		}
		if info, err := os.Stat(dir); err == nil && !info.IsDir() || errors.Is(err, syscall.ENOTDIR) {
			return places{}, fault.New(fault.Usage, "--state: %s is not a folder", a.state).WithHint("name a folder, or a new one, with --state DIR")
		}
		return places{state: dir, engines: filepath.Join(dir, "engines"), cache: a.cacheOr(dir)}, nil
	}
	data, err := a.xdg("XDG_DATA_HOME", ".local/share")
	if err != nil {
		return places{}, err
	}
	cache, err := a.xdg("XDG_CACHE_HOME", ".cache")
	if err != nil {
		return places{}, err
	}
	return places{state: data, engines: filepath.Join(cache, "engines"), cache: cache}, nil
}

// cacheOr prefers the user's cache for what does not depend on the state root.
func (a *app) cacheOr(dir string) string {
	if cache, err := a.xdg("XDG_CACHE_HOME", ".cache"); err == nil {
		return cache
	}
	return dir
}

// xdg returns rebuild's folder below an XDG base folder. A relative value is
// ignored, as the XDG Base Directory Specification asks.
func (a *app) xdg(variable, fallback string) (string, error) {
	if base := a.getenv(variable); filepath.IsAbs(base) {
		return filepath.Join(base, "rebuild"), nil
	}
	home := a.getenv("HOME")
	if !filepath.IsAbs(home) {
		return "", fault.New(fault.Usage, "neither %s nor HOME is set", variable).WithHint("give --state DIR")
	}
	return filepath.Join(home, fallback, "rebuild"), nil
}

// builtinFolder is the folder of the recipes in this binary that a value of
// --pipeline means.
func builtinFolder(dir string) (string, bool) {
	if dir == builtin {
		return ".", true
	}
	name, ok := strings.CutPrefix(dir, builtin+":")
	return name, ok && fs.ValidPath(name)
}

// load reads the pipeline that --pipeline names.
func (a *app) load() (*pipeline.Pipeline, error) {
	if folder, ok := builtinFolder(a.dir); ok {
		return pipeline.LoadFS(stages.Builtin(), folder, a.dir)
	}
	if _, err := os.Stat(filepath.Join(a.dir, pipeline.SettingsFile)); errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, fault.New(fault.Usage, "no %s in %s", pipeline.SettingsFile, a.dir).
			WithHint("run rebuild init, or name the folder with --pipeline DIR")
	}
	return pipeline.Load(a.dir, filepath.Clean(a.dir), stages.Builtin())
}

// plan makes the plan of the pipeline for a platform, "" for its only one.
func (a *app) plan(state, platform string) (*pipeline.Plan, error) {
	p, err := a.load()
	if err != nil {
		return nil, err
	}
	if platform == "" {
		if len(p.Platforms) != 1 {
			return nil, fault.New(fault.Usage, "the pipeline has the platforms %s", strings.Join(p.Platforms, ", ")).
				WithHint("choose one with --platform %s", p.Platforms[0])
		}
		platform = p.Platforms[0]
	}
	lock, err := p.ReadLock()
	if err != nil {
		return nil, err
	}
	return p.Plan(platform, pipeline.PlanOptions{Lock: lock, Contexts: pipeline.LoadContexts(state), Now: a.now()})
}

// planned resolves the state root and makes the plan.
func (a *app) planned(platform string) (places, *pipeline.Plan, error) {
	at, err := a.places()
	if err != nil {
		return at, nil, err
	}
	plan, err := a.plan(at.state, platform)
	return at, plan, err
}

// lastRun is the plan, and the report of its last run under the state root.
func (a *app) lastRun(platform string) (places, *pipeline.Plan, *pipeline.Report, error) {
	at, plan, err := a.planned(platform)
	if err != nil {
		return at, nil, nil, err
	}
	report, err := pipeline.ReadReport(at.state, plan.Digest)
	return at, plan, report, err
}

// engine makes the engine for a state root; nothing starts or is written
// before it solves.
func (a *app) engine(at places, jobs int, v engine.Variation, d *engine.Display) *engine.Engine {
	return engine.New(engine.Options{
		Store: pipeline.StoreDir(at.state), Engines: at.engines, Cache: at.cache, Runc: a.runc, Path: a.getenv("PATH"),
		Parallel: jobs, Variation: v, Display: d,
	})
}
