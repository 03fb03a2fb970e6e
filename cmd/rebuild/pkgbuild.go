package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"rebuild/attest"
	"rebuild/folder"
	"rebuild/internal/fault"
	"rebuild/internal/names"
	"rebuild/store"
)

// Building a package folder from an author's files. Publishing, perhaps on
// another machine and by somebody else, shares nothing with it but the folder.

type pkgBuildOptions struct {
	source, destination string
	manifest, dry       bool
	epoch               int64
	strictLicense       bool
	summary             string
}

func (a *app) pkgBuildCommand() *cobra.Command {
	o := pkgBuildOptions{}
	c := a.verb("build", "Make a package folder from an author's files",
		`  rebuild pkg build --source hello --destination out/hello --include-manifest
  rebuild pkg build --source hello --destination out/hello --dry-run`, cobra.NoArgs,
		func(ctx context.Context, _ []string) (result, error) {
			r := &buildReport{packageReport: packageReport{Folder: o.destination}, DryRun: o.dry, Items: []folder.Item{}}
			return r, a.recorded(o.summary, o.destination, r, a.pkgBuild(ctx, o, r))
		})
	f := c.Flags()
	f.StringVar(&o.source, "source", ".", "folder with package.toml and the content; .rebuildignore says what stays out")
	f.StringVar(&o.destination, "destination", "", "folder to make, new or empty")
	f.BoolVar(&o.manifest, "include-manifest", false, "write rebuild.files.json, which publishing compares every file with")
	f.BoolVarP(&o.dry, "dry-run", "n", false, "list every file, and why one is left out; write nothing")
	f.Int64Var(&o.epoch, "source-date-epoch", attest.BareEpoch, "time of everything in the archive, seconds since 1970")
	strictLicenseFlag(c, &o.strictLicense)
	summaryFlag(c, &o.summary)
	return c
}

func strictLicenseFlag(c *cobra.Command, to *bool) {
	c.Flags().BoolVar(to, "strict-license", false, "refuse a license that is no SPDX expression, instead of warning")
}

// buildReport is what was built, or would be.
type buildReport struct {
	packageReport
	DryRun bool          `json:"dry_run,omitempty"`
	Items  []folder.Item `json:"items"`

	written bool
}

func (r *buildReport) Print(out io.Writer) {
	if r.DryRun {
		for _, i := range r.Items {
			if i.Skipped != "" {
				fmt.Fprintf(out, "skip %s: %s\n", oneLine(i.Path), oneLine(i.Skipped))
			} else {
				fmt.Fprintf(out, "add  %s\n", oneLine(i.Path))
			}
		}
		return
	}
	if r.written { // a digest is for what is there
		fmt.Fprintf(out, "sha256:%s\n", r.Cksum)
	}
}

func (r *buildReport) base() *packageReport { return &r.packageReport }

// pkgBuild fills the report as far as it comes.
func (a *app) pkgBuild(ctx context.Context, o pkgBuildOptions, r *buildReport) error {
	if o.destination == "" {
		return fault.New(fault.Usage, "no folder to make").WithHint("give --destination DIR")
	}
	if o.epoch < 0 || o.epoch > store.MaxEpoch {
		return fault.New(fault.Usage, "--source-date-epoch %d is not from 0 to %d", o.epoch, int64(store.MaxEpoch)).WithHint("leave it out for 1")
	}
	if err := folder.CheckDestination(o.destination); err != nil {
		return err
	}
	source, err := folder.Open(ctx, o.source, o.destination)
	if source != nil {
		r.Items, r.Failures = source.Items(), source.Refused()
		r.describe(source.Document())
	}
	if err != nil {
		return listed(r.base(), hinted(err, "leave such files out with .rebuildignore, or replace them by regular ones"))
	}
	c := folder.Checked{Document: source.Document()}
	err = c.Rules(rebuildVersion(), o.strictLicense)
	a.warn(r.base(), c.Warnings)
	if err != nil {
		return fault.In(err, source.File())
	}
	built, err := source.Pack(o.manifest, o.epoch)
	if err != nil {
		return err
	}
	r.Hash, r.Manifest, r.Package, r.Cksum, r.Files = built.Hash, built.Manifest, built.Package, built.Cksum, built.Files
	if o.dry {
		return nil
	}
	if err := built.Write(o.destination); err != nil {
		return unwritable("--destination", err)
	}
	r.written = true
	if !o.manifest {
		a.note("no rebuild.files.json was written: what is published from %s will be unverified", oneLine(o.destination))
	}
	return nil
}

// authorRules are those for a package that is about to be released.
func (a *app) authorRules(d *attest.PackageDocument) error {
	c := folder.Checked{Document: d}
	err := c.Rules(rebuildVersion(), false)
	a.warn(&packageReport{}, c.Warnings)
	return err
}

// rebuildVersion is this program's version for rebuild_compat: the numbers of
// its release, and 1.0.0, the version of all documents that it writes, for a
// program that was built from no release.
func rebuildVersion() string {
	core, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), "-")
	core, _, _ = strings.Cut(core, "+")
	if names.Version(core) != nil {
		return "1.0.0"
	}
	return core
}

// warn puts warnings on stderr and into the report.
func (a *app) warn(r *packageReport, warnings []string) {
	for _, w := range warnings {
		a.note("warning: %s", oneLine(w))
	}
	r.Warnings = append(r.Warnings, warnings...)
}

// listed puts the files that an error is about into the report, which prints
// them, and leaves the error the first and their number.
func listed(r *packageReport, err error) error {
	failures := r.Failures
	if len(failures) == 0 {
		return err
	}
	if old := asFault(err); old != nil && old.Code != failures[0].Code { // says something else, and first
		return old.With("failures", failures)
	}
	first, _, _ := strings.Cut(failures[0].Text, "\n")
	e := fault.New(fault.CodeOf(err), "%d files are not as they must be, the first: %s", len(failures), first)
	if len(failures) == 1 {
		e = fault.New(fault.CodeOf(err), "%s", first)
	}
	if old := asFault(err); old != nil {
		e.Hint = old.Hint
	}
	if e.Hint == "" {
		e.Hint = "a folder is finished once it is built: build it anew with rebuild pkg build, and publish that"
	}
	return e.With("failures", failures)
}

// inside says whether a file is in a folder.
func inside(dir, file string) bool {
	from, err := filepath.Abs(dir)
	if err != nil {
		return false
	}
	to, err := filepath.Abs(file)
	if err != nil {
		return false
	}
	rel, err := filepath.Rel(from, to)
	return err == nil && filepath.IsLocal(rel)
}
