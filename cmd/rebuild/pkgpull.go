package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"rebuild/attest"
	"rebuild/index"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/pull"
	"rebuild/store"
)

// The verbs that bring packages here: pkg pull, pkg mirror.

type pullOptions struct {
	index, policy, at, output, lock string
	jobs                            int
	unpack, bundles, offline        bool
	allowYanked, allowAdvisories    bool
}

func (a *app) pkgPullCommand() *cobra.Command {
	var o pullOptions
	c := a.verb("pull [NAME[@VERSION]]", "Fetch a package with all that it needs, once everything is verified",
		`  rebuild pkg pull sha256sum --index https://packages.example/index/ --policy policy.toml --output packages
  rebuild pkg pull --lock rebuild.lock --index file:///srv/index --policy policy.toml --output packages`,
		cobra.MaximumNArgs(1), func(ctx context.Context, args []string) (result, error) { return a.pkgPull(ctx, o, args) })
	f := c.Flags()
	indexFlag(f, &o.index)
	f.StringVarP(&o.policy, "policy", "p", "", "policy.toml")
	f.StringVarP(&o.output, "output", "o", "", "folder to make")
	f.StringVar(&o.lock, "lock", "", "rebuild.lock: fetch what it pins instead of a package")
	f.BoolVar(&o.unpack, "unpack", false, "lay out the content of the archives instead of the archives")
	f.BoolVar(&o.bundles, "bundles", false, "lay the evidence of each package beside it, to verify it offline")
	f.IntVarP(&o.jobs, "jobs", "j", 16, "packages at one time")
	allowFlags(c, &o.allowYanked, &o.allowAdvisories)
	f.BoolVar(&o.offline, "offline", false, "ask no server; an old checkpoint is a note")
	f.StringVar(&o.at, "at", "", atUsage)
	c.MarkFlagRequired("output")
	return c
}

// judge reads the policy, nil without one, and the time to judge at.
func (a *app) judge(file, at string) (*attest.Policy, time.Time, error) {
	now, _, err := a.judgingTime(at)
	if err != nil || file == "" {
		return nil, now, err
	}
	policy, err := a.readPolicy(file)
	return policy, now, err
}

// pulledFrom opens an index by a policy, which a pull never goes without, and
// reads it through what through makes of its source.
func (a *app) pulledFrom(ctx context.Context, location, policyFile, at string, offline bool, through func(index.Source) index.Source) (*opened, error) {
	if location == "" {
		return nil, noIndexGiven()
	}
	policy, err := a.readPolicy(policyFile)
	if err != nil {
		return nil, err
	}
	now, _, err := a.judgingTime(at)
	if err != nil {
		return nil, err
	}
	return a.openIndexThrough(ctx, location, policy, opening{now, offline}, through)
}

func (a *app) pkgPull(ctx context.Context, o pullOptions, args []string) (result, error) {
	name, version, locked, err := a.pullTarget(o, args)
	if err != nil {
		return nil, err
	}
	events, err := a.pullEvents()
	if err != nil {
		return nil, err
	}
	here, err := a.places()
	if err != nil {
		return nil, err
	}
	var cache *pull.Cache
	x, err := a.pulledFrom(ctx, o.index, o.policy, o.at, o.offline, func(src index.Source) index.Source {
		cache = pull.NewCache(src, filepath.Join(here.state, "pulls"))
		return cache
	})
	if err != nil {
		return nil, err
	}
	in := pull.Options{
		Index: x.Reader, Cache: cache, Output: o.output, Bundles: o.bundles, Jobs: o.jobs, Locked: locked,
		AllowYanked: o.allowYanked, AllowAdvisories: o.allowAdvisories, Events: events,
	}
	if o.unpack {
		if in.Trees, err = store.Open(pipeline.StoreDir(here.state)); err != nil {
			return nil, err
		}
	}
	defer generously()()
	var r *pull.Result
	if locked != nil {
		r, err = pull.PullLocked(ctx, in)
	} else {
		r, err = pull.Pull(ctx, in, name, version)
	}
	if err != nil {
		return nil, err
	}
	for _, need := range r.Unpinned {
		a.note("%s: no snapshot is pinned; the highest version in range was taken", need)
	}
	return pullResult{r}, x.Commit()
}

// pullTarget is what to pull: a package, or the packages of a lock.
func (a *app) pullTarget(o pullOptions, args []string) (name, version string, locked []pull.Pin, err error) {
	if o.output == "" {
		return "", "", nil, fault.New(fault.Usage, "no folder to make").WithHint("give --output DIR")
	}
	if err := atLeastOne(o.jobs); err != nil {
		return "", "", nil, err
	}
	if (len(args) == 1) == (o.lock != "") {
		return "", "", nil, fault.New(fault.Usage, "one package or --lock FILE says what to pull").WithHint("rebuild pkg pull NAME --index LOCATION --policy policy.toml --output DIR")
	}
	if o.lock == "" {
		name, version, err = reference(args[0])
		return name, version, nil, err
	}
	data, err := a.readInput(o.lock, maxLock)
	if _, missing := os.Lstat(o.lock); errors.Is(missing, fs.ErrNotExist) {
		err = fault.New(fault.LockMissing, "%s is not there", o.lock).WithHint("make it with: rebuild pkg lock")
	}
	if err != nil {
		return "", "", nil, err
	}
	l, err := pipeline.DecodeLock(o.lock, data)
	if err != nil {
		return "", "", nil, mistaken(err, aLock, o.lock, data)
	}
	locked = []pull.Pin{}
	for _, p := range l.Packages {
		locked = append(locked, pull.Pin{Name: p.Name, Version: p.Version, Cksum: p.Cksum, Release: p.Release, Snapshot: p.Snapshot})
	}
	return "", "", locked, nil
}

// streamLine is one step of a package for scripts (index.md 9).
type streamLine struct {
	SchemaVersion string `json:"schema_version"`
	Command       string `json:"command"`
	Kind          string `json:"kind"`
	Name          string `json:"name"`
	State         string `json:"state"`
	At            string `json:"at"`
}

// pullEvents returns what tells how far a pull is: JSON lines under
// --progress=rawjson, a line for each package under plain, else nothing.
func (a *app) pullEvents() (func(pull.Event), error) {
	var lines sync.Mutex
	out := json.NewEncoder(a.stderr)
	switch mode := a.progressMode(); mode {
	case "auto", "tty", "quiet":
	case "rawjson":
		return func(e pull.Event) {
			at, err := attest.FormatTime(a.now())
			if err != nil {
				return
			}
			lines.Lock()
			defer lines.Unlock()
			out.Encode(streamLine{document.Stream.ID(), a.command, "package", e.Name, e.State, at})
		}, nil
	case "plain":
		return func(e pull.Event) {
			if e.State == pull.Verified {
				lines.Lock()
				defer lines.Unlock()
				a.note("%s: %s", e.Name, e.State)
			}
		}, nil
	default:
		return nil, fault.New(fault.Usage, "there is no progress mode %.40q", mode).WithHint("use --progress=auto, plain, tty, rawjson or quiet")
	}
	return nil, nil
}

type pullResult struct{ *pull.Result }

func (r pullResult) Print(out io.Writer) { fmt.Fprintln(out, r.Output) }

type mirrorOptions struct {
	from, to, policy, at string
	all, offline         bool
	jobs                 int
}

func (a *app) pkgMirrorCommand() *cobra.Command {
	var o mirrorOptions
	c := a.verb("mirror NAME...", "Copy packages of an index with all that they need, byte for byte",
		`  rebuild pkg mirror sha256sum --from https://packages.example/index/ --to mirror --policy policy.toml
  rebuild pkg mirror --all --from file:///srv/index --to /mnt/index --policy policy.toml`,
		cobra.ArbitraryArgs, func(ctx context.Context, args []string) (result, error) { return a.pkgMirror(ctx, o, args) })
	f := c.Flags()
	f.StringVar(&o.from, "from", "", "index to copy from: a folder, file:///FOLDER or https://HOST/FOLDER/")
	f.StringVar(&o.to, "to", "", "folder of the mirror")
	f.StringVarP(&o.policy, "policy", "p", "", "policy.toml")
	f.BoolVar(&o.all, "all", false, "copy everything that the index has")
	f.IntVarP(&o.jobs, "jobs", "j", 8, "packages at one time")
	f.BoolVar(&o.offline, "offline", false, "ask no server; an old checkpoint is a note")
	f.StringVar(&o.at, "at", "", atUsage)
	c.MarkFlagRequired("from")
	c.MarkFlagRequired("to")
	return c
}

func (a *app) pkgMirror(ctx context.Context, o mirrorOptions, all []string) (result, error) {
	if err := o.check(all); err != nil {
		return nil, err
	}
	at, err := index.Locate(o.to)
	if err != nil {
		return nil, err
	}
	if at.URL != nil {
		return nil, fault.New(fault.Usage, "%s is on a server, and a mirror is written in a folder", withoutUser(o.to, at)).WithHint("name a folder with --to DIR")
	}
	x, err := a.pulledFrom(ctx, o.from, o.policy, o.at, o.offline, func(src index.Source) index.Source { return src })
	if err != nil {
		return nil, err
	}
	if index.IsFlat(x.Source) {
		return nil, fault.New(fault.Usage, "%s is a list, and a mirror is of an index", o.from).WithHint("name the folder or URL of the index with --from")
	}
	if o.all {
		if all, err = x.Packages(ctx); err != nil {
			return nil, err
		}
	}
	policy, now, err := a.judge(o.policy, o.at)
	if err != nil {
		return nil, err
	}
	m, err := pull.Mirror(ctx, pull.MirrorOptions{
		From: x.Source, To: at.Dir, Names: all, Everything: o.all, Jobs: o.jobs,
		Reading: index.Reading{Policy: policy, Now: now, Offline: o.offline},
		Definitions: func(ctx context.Context, r *index.Reader, plan *attest.Plan, targets []store.Digest) error {
			if err := pipeline.ReadDefinitions(ctx, plan, targets, r); err != nil {
				return err
			}
			_, err := r.Hints(ctx, plan.Digest())
			return err
		},
	})
	if err != nil {
		return nil, err
	}
	a.note("%d packages, %d files are new, %d bytes", len(m.Packages), len(m.Written), m.Bytes)
	return mirrorResult{m}, x.Commit()
}

func (o mirrorOptions) check(all []string) error {
	if o.all == (len(all) > 0) {
		return fault.New(fault.Usage, "packages or --all say what to copy").WithHint("rebuild pkg mirror NAME --from LOCATION --to DIR --policy policy.toml")
	}
	for _, given := range all {
		name, version, err := reference(given)
		if err != nil {
			return err
		}
		if version != "" {
			return fault.New(fault.Usage, "%s: a mirror has all versions of a package", given).WithHint("name the package alone: %s", name)
		}
	}
	return atLeastOne(o.jobs)
}

type mirrorResult struct{ *pull.Mirrored }

func (r mirrorResult) Print(out io.Writer) { fmt.Fprintln(out, r.To) }
