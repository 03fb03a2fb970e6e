package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/store"
)

// The verb that pins outside names: rebuild lock, and pkg lock for those who
// think of packages first.

type lockOptions struct {
	index, policy, at, project string
	check, update, offline     bool
	allowYanked                bool
	allowAdvisories            bool
	version                    string
}

func (a *app) lockCommand() *cobra.Command {
	return a.lockVerb("lock", "Pin every outside name in rebuild.lock", `  rebuild lock
  rebuild lock --check`)
}

func (a *app) pkgLockCommand() *cobra.Command {
	return a.lockVerb("lock", "Choose packages and pin them in rebuild.lock", `  rebuild pkg lock --project pipeline.toml --policy policy.toml
  rebuild pkg lock --project pipeline.toml --policy policy.toml --check`)
}

func (a *app) lockVerb(use, short, example string) *cobra.Command {
	var o lockOptions
	c := a.verb(use, short, example, cobra.NoArgs, func(ctx context.Context, _ []string) (result, error) { return a.lock(ctx, o) })
	f := c.Flags()
	f.BoolVar(&o.check, "check", false, "compare with what is there, write nothing, exit 21 on drift")
	f.BoolVar(&o.update, "update", false, "move packages to the present state of the index")
	indexFlag(f, &o.index)
	f.StringVarP(&o.policy, "policy", "p", "", "policy.toml; without one no package's quorum is judged")
	f.StringVar(&o.project, "project", "", "pipeline.toml (default: the one of --pipeline)")
	allowFlags(c, &o.allowYanked, &o.allowAdvisories)
	f.StringVar(&o.version, "lock-version", "", "version of the document to write")
	f.BoolVar(&o.offline, "offline", false, "ask no server; an old checkpoint is a note")
	f.StringVar(&o.at, "at", "", atUsage)
	c.MarkFlagsMutuallyExclusive("check", "update")
	return c
}

// allowFlags are those that let in what was withdrawn.
func allowFlags(c *cobra.Command, yanked, advisories *bool) {
	c.Flags().BoolVar(yanked, "allow-yanked", false, "take yanked versions too")
	c.Flags().BoolVar(advisories, "allow-advisories", false, "take versions that have advisories too")
}

func (a *app) lock(ctx context.Context, o lockOptions) (result, error) {
	if err := writable(o.version); err != nil {
		return nil, err
	}
	p, err := a.project(o.project)
	if err != nil {
		return nil, err
	}
	how := pipeline.LockOptions{Update: o.update, AllowYanked: o.allowYanked, AllowAdvisories: o.allowAdvisories}
	x, err := a.lockIndex(ctx, o, p)
	if err != nil {
		return nil, err
	}
	if x != nil {
		how.Resolver = &indexResolver{a, x}
	}
	if o.check {
		diff, err := p.CheckLock(ctx, how)
		for _, line := range diff {
			fmt.Fprintln(a.stderr, oneLine(line))
		}
		return nil, err
	}
	if how.Held, err = p.ReadLock(); err != nil && !o.update {
		return nil, err
	}
	l, err := p.NewLock(ctx, how)
	if err != nil {
		return nil, err
	}
	for _, change := range l.SignerChanges(how.Held) {
		a.note("%s", oneLine(change))
	}
	if x != nil {
		if err := x.Commit(); err != nil {
			return nil, err
		}
	}
	text, err := p.WriteLockAs(l, orDefault(o.version, document.Lock.Current))
	if err != nil {
		return nil, unwritable(filepath.Join(p.Dir, pipeline.LockFile), err)
	}
	return lockResult{filepath.Join(p.Dir, pipeline.LockFile), store.DigestOf(text)}, nil
}

// writable says whether locks are written in a version, "" for the current one.
func writable(version string) error {
	if version == "" || version == document.Lock.Current || slices.Contains(document.Lock.Migrate, version) {
		return nil
	}
	return fault.New(fault.SchemaUnsupported, "%s is not written in version %.40q", pipeline.LockFile, version).
		WithHint("give --lock-version %s, or leave it out", strings.Join(append([]string{document.Lock.Current}, document.Lock.Migrate...), " or "))
}

// project loads the pipeline whose pipeline.toml --project names.
func (a *app) project(file string) (*pipeline.Pipeline, error) {
	if file != "" {
		if a.dir = file; filepath.Base(file) == pipeline.SettingsFile {
			a.dir = filepath.Dir(file)
		}
	}
	return a.load()
}

// lockIndex opens the index that packages come from; nil if none are wanted.
func (a *app) lockIndex(ctx context.Context, o lockOptions, p *pipeline.Pipeline) (*opened, error) {
	if len(p.Packages) == 0 {
		return nil, nil
	}
	location := orDefault(o.index, p.Index)
	if location == "" {
		return nil, fault.New(fault.Usage, "%s wants packages and names no index", p.File).
			WithHint("give --index LOCATION, or add index = \"sparse+https://HOST/\" to %s", p.File)
	}
	policy, now, err := a.judge(o.policy, o.at)
	if err != nil {
		return nil, err
	}
	if policy == nil {
		a.note("no policy: whose votes count is not judged, and the lock names no operators")
	}
	return a.openIndex(ctx, location, policy, opening{now, o.offline})
}

// lockResult is a lock that was written.
type lockResult struct {
	File   string       `json:"file"`
	Digest store.Digest `json:"digest"`
}

func (r lockResult) Print(out io.Writer) { fmt.Fprintln(out, r.Digest) }
