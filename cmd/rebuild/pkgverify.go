package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"rebuild/attest"
	"rebuild/folder"
	"rebuild/index"
	"rebuild/internal/fault"
	"rebuild/store"
)

// The verbs that read an index: pkg verify and index show.

type pkgVerifyOptions struct {
	index     string
	policy    string
	at        string
	entryOnly bool
	offline   bool
}

func (a *app) pkgVerifyCommand() *cobra.Command {
	var o pkgVerifyOptions
	var installed installedOptions
	c := a.verb("verify [NAME[@VERSION]]", "Verify a package of an index, its line, its quorum, its bytes, or what was installed from it",
		`  rebuild pkg verify sha256sum --index https://packages.example/index/ --policy policy.toml
  rebuild pkg verify sha256sum@1.0.0 --index file:///srv/index --entry-only
  rebuild pkg verify hello@0.1.0 --installed /opt/hello --index index --policy policy.toml`, cobra.MaximumNArgs(1),
		func(ctx context.Context, args []string) (result, error) {
			if installed.asked() {
				return a.verifyInstalled(ctx, installed.of(o, args))
			}
			if len(args) == 0 {
				return nil, fault.New(fault.Usage, "no package to verify").WithHint("name one, such as sha256sum@1.0.0, or a folder with --installed DIR")
			}
			return a.pkgVerify(ctx, o, args[0])
		})
	installed.flags(c)
	f := c.Flags()
	indexFlag(f, &o.index)
	f.StringVarP(&o.policy, "policy", "p", "", "policy.toml; without one no quorum is judged")
	f.BoolVar(&o.entryOnly, "entry-only", false, "check the line of the index and the archive's bytes, nothing else")
	f.BoolVar(&o.offline, "offline", false, "ask no server; an old checkpoint is a note")
	f.StringVar(&o.at, "at", "", atUsage)
	return c
}

// indexFlag is the --index of who reads one.
func indexFlag(f *pflag.FlagSet, to *string) {
	f.StringVar(to, "index", "", "index: a folder, file:///FOLDER or https://HOST/FOLDER/")
}

// pkgVerifyResult says what was looked at and what was not.
type pkgVerifyResult struct {
	State      string          `json:"state"` // only a policy's quorum over everything makes it verified
	Name       string          `json:"name"`
	Version    string          `json:"version"`
	Index      string          `json:"index"`
	Cksum      string          `json:"cksum"`
	Release    store.Digest    `json:"release,omitempty"`
	Yanked     bool            `json:"yanked"`
	Advisories []string        `json:"advisories,omitempty"`
	Checked    []string        `json:"checked"`
	Unchecked  []string        `json:"not_checked,omitempty"`
	Log        *headResult     `json:"log,omitempty"`
	AsOf       string          `json:"judged_as_of,omitempty"`
	Account    *attest.Account `json:"account,omitempty"`
}

// headResult is the state of the log as of which an index was read.
type headResult struct {
	Origin    string `json:"origin"`
	Size      int64  `json:"size"`
	Witnesses int    `json:"witnesses"`
	Cosigned  string `json:"cosigned_at,omitempty"`
}

func newHeadResult(c *attest.Checkpoint) *headResult {
	if c == nil {
		return nil
	}
	h := &headResult{Origin: c.Origin, Size: c.Size, Witnesses: c.Witnesses}
	if !c.Cosigned.IsZero() {
		h.Cosigned, _ = attest.FormatTime(c.Cosigned)
	}
	return h
}

func (a *app) pkgVerify(ctx context.Context, o pkgVerifyOptions, which string) (result, error) {
	name, version, err := reference(which)
	if err != nil {
		return nil, err
	}
	if o.index == "" {
		return nil, noIndexGiven()
	}
	now, asOf, err := a.judgingTime(o.at)
	if err != nil {
		return nil, err
	}
	var policy *attest.Policy
	if o.policy != "" {
		if policy, err = a.readPolicy(o.policy); err != nil {
			return nil, err
		}
	}
	x, err := a.openIndex(ctx, o.index, policy, opening{now, o.offline})
	if err != nil {
		return nil, err
	}
	e, err := x.Lookup(ctx, name, version)
	if err != nil {
		return nil, err
	}
	r := &pkgVerifyResult{
		Name: e.Name, Version: e.Version, Index: x.Location, Cksum: e.Cksum, Release: e.Release,
		Yanked: e.Yanked, Advisories: e.Advisories, AsOf: asOf,
	}
	if err := r.check(ctx, x, policy, e, o.entryOnly); err != nil {
		return r.failed(err)
	}
	r.Log = newHeadResult(x.Head())
	if e.Yanked {
		a.note("%s %s is yanked: it is only taken because it was named", e.Name, e.Version)
	}
	if len(e.Advisories) > 0 {
		a.note("%s %s has advisories: %s", e.Name, e.Version, strings.Join(e.Advisories, ", "))
	}
	return r, x.Commit()
}

// failed is the result of a package that did not verify: what was asked of it,
// and none of what it says of itself. Whoever could not look has no result.
func (r *pkgVerifyResult) failed(err error) (result, error) {
	switch exitStatus(err) {
	case fault.Internal.Exit(), fault.Usage.Exit(), fault.IndexFetch.Exit(), fault.Interrupted.Exit():
		return nil, err
	}
	return failedPackage{folder.Failed, r.Name, r.Version, r.Index}, err
}

// failedPackage is a package that did not verify.
type failedPackage struct {
	State   string `json:"state"`
	Name    string `json:"name"`
	Version string `json:"version"`
	Index   string `json:"index"`
}

func (r failedPackage) Print(out io.Writer) {
	fmt.Fprintf(out, "%s %s %s\n", r.State, r.Name, r.Version)
}

func noIndexGiven() error {
	return fault.New(fault.Usage, "no index to read").WithHint("give --index FOLDER or --index https://HOST/FOLDER/")
}

// check verifies as much as was asked for and can be, and says which it was.
func (r *pkgVerifyResult) check(ctx context.Context, x *opened, policy *attest.Policy, e *index.Entry, entryOnly bool) error {
	r.State = folder.Unverified
	r.Checked = []string{"index entry", "archive"}
	if x.Head() != nil {
		r.Checked = append(r.Checked, "log", "history")
	} else {
		r.Unchecked = append(r.Unchecked, "history: the index has no log, so what it says of yanked and advisories is its word alone, and versions it leaves out are not noticed")
	}
	switch {
	case entryOnly:
		r.Unchecked = append(r.Unchecked, "release, quorum and files: only the entry was asked for")
		if err := x.CheckEntry(ctx, e); err != nil {
			return err
		}
		_, err := x.Archive(ctx, e)
		return err
	case policy == nil:
		r.Checked = append(r.Checked, "files")
		if e.Release != "" {
			r.Checked = append(r.Checked, "owners' signatures")
		}
		r.Unchecked = append(r.Unchecked, "quorum: not judged without a policy")
		_, err := x.Unjudged(ctx, e)
		return err
	}
	seen := x.state.HasSeen(e.Name)
	p, err := x.VerifyEntry(ctx, e)
	if err != nil {
		return err
	}
	r.State, r.Account = folder.Verified, p.Account()
	r.Checked = append(r.Checked, "release", "quorum", "files")
	if seen { // what a bundle alone can not show
		r.Checked = append(r.Checked, "owners")
		r.Account.Notes = slices.DeleteFunc(r.Account.Notes, func(n string) bool { return n == "owner history not checked" })
	}
	return nil
}

func (r *pkgVerifyResult) Print(out io.Writer) {
	fmt.Fprintf(out, "%s %s %s\n", r.State, r.Name, r.Version)
	fmt.Fprintf(out, "checked: %s\n", strings.Join(r.Checked, ", "))
	for _, u := range r.Unchecked {
		fmt.Fprintf(out, "not checked: %s\n", u)
	}
	if r.Yanked {
		fmt.Fprintln(out, "yanked: yes")
	}
	if len(r.Advisories) > 0 {
		fmt.Fprintf(out, "advisories: %s\n", strings.Join(r.Advisories, ", "))
	}
	if l := r.Log; l != nil {
		fmt.Fprintf(out, "log %s: size %d, cosigned by %d witnesses\n", l.Origin, l.Size, l.Witnesses)
	}
	if r.Account != nil {
		verifyResult{Account: r.Account}.Print(out)
	}
}

func (a *app) indexShowCommand() *cobra.Command {
	var policyFile, at string
	var offline bool
	c := a.verb("show INDEX [NAME[@VERSION]]", "Print the entry of a package, or list the packages", `  rebuild index show release/index
  rebuild index show https://packages.example/index/ sha256sum@1.0.0 --policy policy.toml`,
		cobra.RangeArgs(1, 2), func(ctx context.Context, args []string) (result, error) {
			now, _, err := a.judgingTime(at)
			if err != nil {
				return nil, err
			}
			return a.indexShow(ctx, args, policyFile, opening{now, offline})
		})
	c.Flags().StringVarP(&policyFile, "policy", "p", "", "policy.toml, whose log the index must be in")
	c.Flags().BoolVar(&offline, "offline", false, "ask no server; an old checkpoint is a note")
	c.Flags().StringVar(&at, "at", "", atUsage)
	return c
}

func (a *app) indexShow(ctx context.Context, args []string, policyFile string, o opening) (result, error) {
	var policy *attest.Policy
	var err error
	if policyFile != "" {
		if policy, err = a.readPolicy(policyFile); err != nil {
			return nil, err
		}
	}
	var name, version string
	if len(args) == 2 {
		if name, version, err = reference(args[1]); err != nil {
			return nil, err
		}
	}
	x, err := a.openIndex(ctx, args[0], policy, o)
	if err != nil {
		return nil, err
	}
	if len(args) == 1 {
		names, err := x.Packages(ctx)
		if err != nil {
			return nil, err
		}
		return packagesResult{names}, x.Commit()
	}
	e, err := x.Lookup(ctx, name, version)
	if err != nil {
		return nil, err
	}
	if e.Signature == nil {
		a.note("the entry of %s %s is not signed: this is what the server says, and nobody else", e.Name, e.Version)
	}
	return entryResult{e}, x.Commit()
}

// packagesResult lists the packages of an index.
type packagesResult struct {
	Packages []string `json:"packages"`
}

// Print prints a name a line.
func (r packagesResult) Print(out io.Writer) {
	for _, name := range r.Packages {
		fmt.Fprintln(out, oneLine(name))
	}
}

type entryResult struct{ *index.Entry }

func (r entryResult) Print(out io.Writer) {
	if line, err := r.Encode(); err == nil {
		fmt.Fprintf(out, "%s\n", line)
	}
}
