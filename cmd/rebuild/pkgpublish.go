package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"rebuild/attest"
	"rebuild/folder"
	"rebuild/internal/fault"
	"rebuild/internal/names"
	"rebuild/store"
)

// Publishing a package folder: everything in it is compared with the inventory
// that the build wrote, and only then is it entered into an index. No quorum
// speaks for such a package; rebuild release publishes what one has rebuilt.

type pkgPublishOptions struct {
	name, version, folder string
	expect                string
	index                 string
	indexKey, logKey      string
	dry                   bool
	strictLicense         bool
	summary               string

	toHub hubPublishOptions
}

func (a *app) pkgPublishCommand() *cobra.Command {
	o := pkgPublishOptions{}
	var c *cobra.Command
	c = a.verb("publish [RELEASE]", "Check a package folder file by file and enter it into an index, or a release through a hub",
		`  rebuild pkg publish --package org/hello --version 0.1.0 --folder out/hello --index index --index-key index.key
  rebuild pkg publish signed.dsse.json --hub https://hub.example --policy policy.toml --results results --key signer.key`, cobra.MaximumNArgs(1),
		func(ctx context.Context, args []string) (result, error) {
			if len(args) == 1 || o.toHub.hub != "" {
				return a.pkgPublishToHub(ctx, c, o, args)
			}
			if err := o.check(); err != nil {
				return nil, err
			}
			if err := idle(c, "a folder", hubPublishFlags...); err != nil {
				return nil, err
			}
			r := &publishReport{packageReport: packageReport{Folder: o.folder, Name: o.name, Version: o.version, State: folder.Failed}, DryRun: o.dry}
			return r, a.recorded(o.summary, o.folder, r, a.pkgPublish(ctx, o, r))
		})
	f := c.Flags()
	f.StringVar(&o.name, "package", "", "name that the package must have, NAME or ORG/NAME")
	f.StringVar(&o.version, "version", "", "version that it must have")
	f.StringVar(&o.folder, "folder", "", "folder that rebuild pkg build made")
	f.StringVar(&o.expect, "expect", "", "digest of the archive, which rebuild pkg build printed; another one is refused")
	indexFlag(f, &o.index)
	f.StringVar(&o.indexKey, "index-key", "", "key file that signs the entry")
	f.StringVar(&o.logKey, "log-key", "", "key file of the index's log, if it has one")
	f.BoolVarP(&o.dry, "dry-run", "n", false, "only check; write nothing")
	strictLicenseFlag(c, &o.strictLicense)
	summaryFlag(c, &o.summary)
	o.toHub.hubFlags(c)
	o.toHub.evidenceFlags(c)
	f.StringVar(&o.toHub.pkg, "metadata", "package.toml", "metadata of the package, to a signed release")
	f.StringVar(&o.toHub.archive, "archive", "", "the package's archive, to a bundle")
	f.StringVarP(&o.toHub.output, "output", "o", "", "file for the bundle with the log's proofs")
	for _, name := range hubPublishFlags {
		f.Lookup(name).Usage = "with --hub: " + f.Lookup(name).Usage
	}
	return c
}

// hubPublishFlags are those that mean something for a release alone.
var hubPublishFlags = []string{"policy", "results", "lock", "key", "patience", "metadata", "archive", "output"}

// pkgPublishToHub publishes a release in a hub. A hub takes what a quorum has
// rebuilt and signers have signed, and no folder that only its author vouches
// for.
func (a *app) pkgPublishToHub(ctx context.Context, c *cobra.Command, o pkgPublishOptions, args []string) (result, error) {
	switch {
	case o.toHub.hub == "":
		return nil, fault.New(fault.Usage, "a release is published through a hub, and there is no --hub").
			WithHint("%s", "give --hub URL, or enter it in an index folder with: rebuild release publish "+args[0]+" --index DIR")
	case len(args) == 0:
		return nil, fault.New(fault.Usage, "a hub takes signed releases, and a folder has no signature").
			WithHint("name the signed release: rebuild pkg publish FILE --hub %s", o.toHub.hub)
	}
	if err := idle(c, "a release through a hub", "folder", "package", "version", "expect", "index", "index-key", "log-key", "dry-run"); err != nil {
		return nil, err
	}
	o.toHub.file, o.toHub.strictLicense = args[0], o.strictLicense
	r := &pushReport{packageReport: packageReport{State: folder.Failed}}
	err := a.publishToHub(ctx, o.toHub, r)
	if err == nil {
		r.State = folder.Verified
	}
	return r, a.recorded(o.summary, "", r, err)
}

// publishReport is what was published, or why not.
type publishReport struct {
	packageReport
	DryRun    bool   `json:"dry_run,omitempty"`
	Index     string `json:"index,omitempty"`
	Duplicate bool   `json:"duplicate,omitempty"` // it was there already, with the same bytes
	LogIndex  *int64 `json:"log_index,omitempty"` // of a logged index
}

func (r *publishReport) base() *packageReport { return &r.packageReport }

func (r *publishReport) Print(out io.Writer) {
	r.printFailures(out)
	fmt.Fprintf(out, "%s %s@%s", r.State, oneLine(r.Name), oneLine(r.Version))
	if r.Cksum != "" {
		fmt.Fprintf(out, " sha256:%s", r.Cksum)
	}
	if r.Duplicate {
		fmt.Fprint(out, ", there already")
	}
	fmt.Fprintln(out)
}

// pkgPublish fills the report as far as it comes. Nothing is written before all
// of the folder was checked.
func (a *app) pkgPublish(ctx context.Context, o pkgPublishOptions, r *publishReport) error {
	f, err := folder.Read(ctx, o.folder)
	if err != nil {
		return err
	}
	defer f.Close()
	c, err := f.Check(folder.Expect{
		Name: o.name, Version: o.version, Archive: store.Digest(o.expect), Rebuild: rebuildVersion(), StrictLicense: o.strictLicense,
	})
	r.take(c)
	a.warn(r.base(), c.Warnings)
	if err != nil {
		return listed(r.base(), err)
	}
	if o.dry {
		return nil
	}
	if err := a.enterPackage(ctx, o, r, c.Package); err != nil {
		r.State = folder.Failed
		return unwritable("--index", err)
	}
	return nil
}

func (o pkgPublishOptions) check() error {
	for _, flag := range []struct{ name, value, hint string }{
		{"--package", o.name, "ORG/NAME"}, {"--version", o.version, "VERSION"}, {"--folder", o.folder, "DIR"},
	} {
		if flag.value == "" {
			return fault.New(fault.Usage, "%s is missing", flag.name).WithHint("give %s %s", flag.name, flag.hint)
		}
	}
	if err := names.Package(o.name); err != nil {
		return fault.New(fault.Usage, "--package: %w", err).WithHint("give --package NAME or ORG/NAME, without a version")
	}
	if err := names.Version(o.version); err != nil {
		return fault.New(fault.Usage, "--version: %w", err).WithHint("give three numbers such as --version 1.0.0")
	}
	if o.expect != "" {
		if _, err := store.ParseDigest(o.expect); err != nil {
			return fault.New(fault.Usage, "--expect: %w", err).WithHint("give the digest that rebuild pkg build printed")
		}
	}
	if !o.dry && o.index == "" {
		return fault.New(fault.Usage, "no index to publish in").WithHint("give --index DIR and --index-key FILE, or --dry-run to check only")
	}
	return nil
}

func (r *publishReport) take(c *folder.Checked) {
	r.State, r.Checks, r.Failures = c.State, c.Checks, c.Failures
	if c.Document != nil {
		r.License = c.Document.License
	}
	if c.Files != nil {
		r.Hash, r.Files = c.Files.Hash, c.Files.Files
	}
	if c.Package != nil {
		r.Cksum = c.Package.Cksum()
		r.Package = store.DigestOf(c.Package.MetadataFile(attest.PackageFile))
		if c.Package.Verified() {
			r.Manifest = store.DigestOf(c.Package.MetadataFile(attest.FilesFile))
		}
	}
}

// enterPackage enters a package into an index, signed if the index signs its
// entries and logged if it has a log.
func (a *app) enterPackage(ctx context.Context, o pkgPublishOptions, r *publishReport, pkg *attest.Package) error {
	dir, err := localIndex(o.index)
	if err != nil {
		return err
	}
	x, _, c, err := a.openWriter(dir, nil, o.indexKey, o.logKey)
	switch {
	case err != nil:
		return err
	case c.Signing != nil && o.indexKey == "":
		return fault.New(fault.Usage, "%s has signed entries, and there is no key to sign this one with", o.index).WithHint("give --index-key FILE")
	case c.Log != nil && o.logKey == "":
		return fault.New(fault.Usage, "%s is in log %s, and there is no key to sign its checkpoint with", o.index, c.Log.Origin).WithHint("give --log-key FILE")
	}
	a.warn(r.base(), a.breaks(ctx, a.readerOf(x), pkg))
	e, duplicate, err := x.AddPackage(ctx, pkg)
	if err != nil {
		return err
	}
	r.Index, r.Duplicate, r.LogIndex = o.index, duplicate, e.Seq
	return nil
}
