package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"rebuild/attest"
	"rebuild/folder"
	"rebuild/index"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// Verifying what was installed, again and again: a folder or an image that was
// in order once is compared with what was released. It writes nothing, and run
// twice it prints the same.

// installedOptions says what is installed and what it is compared with.
type installedOptions struct {
	target    string // package folder, folder of a payload, or OCI layout
	bundle    string
	index     string
	reference string // NAME[@VERSION], with index needed, with bundle compared
	policy    string
	payload   string // [PLATFORM:]TARGET: the target is that payload alone
	at        string
	offline   bool
	entryOnly bool // is about no files, and so refused
	summary   string
}

// asked says whether pkg verify is about what is installed: one of the flags
// that only this has was given.
func (o *installedOptions) asked() bool {
	return o.target != "" || o.bundle != "" || o.payload != "" || o.summary != ""
}

// of takes what pkg verify has anyway.
func (o installedOptions) of(v pkgVerifyOptions, args []string) installedOptions {
	o.index, o.policy, o.at, o.offline, o.entryOnly = v.index, v.policy, v.at, v.offline, v.entryOnly
	if len(args) > 0 {
		o.reference = args[0]
	}
	return o
}

// flags are those that verifying what is installed has alone.
func (o *installedOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.target, "installed", "", "package folder or OCI layout to compare, file by file, with what was released")
	f.StringVar(&o.bundle, "bundle", "", "with --installed: bundle of the release, instead of --index")
	f.StringVar(&o.payload, "payload", "", "with --installed: the folder is one payload of the package, [PLATFORM:]TARGET")
	summaryFlag(c, &o.summary)
}

// installedReport is what was found.
type installedReport struct {
	packageReport
	Release store.Digest `json:"release,omitempty"`
	Notes   []string     `json:"notes,omitempty"`
}

func (r *installedReport) base() *packageReport { return &r.packageReport }

func (r *installedReport) Print(out io.Writer) {
	r.printFailures(out)
	if r.State != "" {
		fmt.Fprintf(out, "%s %s@%s %s\n", r.State, r.Name, r.Version, oneLine(r.Folder))
	}
}

// verifyInstalled compares the target with the release. The result lists every
// file that differs, whatever the error.
func (a *app) verifyInstalled(ctx context.Context, o installedOptions) (result, error) {
	if o.target == "" || o.entryOnly {
		return nil, fault.New(fault.Usage, "--bundle, --payload and --summary-file are about what is installed, and --entry-only is not").
			WithHint("give --installed DIR, without --entry-only")
	}
	r := &installedReport{packageReport: packageReport{Folder: o.target}}
	err := a.compareInstalled(ctx, o, r)
	for _, n := range r.Notes {
		a.note("%s", oneLine(n))
	}
	return r, a.recorded(o.summary, o.target, r, err)
}

func (a *app) compareInstalled(ctx context.Context, o installedOptions, r *installedReport) error {
	now, _, err := a.judgingTime(o.at)
	if err != nil {
		return err
	}
	known, err := a.known(ctx, o, r, now)
	if err != nil {
		return err
	}
	r.State = folder.Failed
	if isLayout(o.target) {
		err = known.verifyImage(o.target, r, now)
	} else {
		err = known.verifyFolder(ctx, o, r)
	}
	if err == nil && known.seen != nil {
		err = known.seen.Commit()
	}
	if err == nil {
		r.State = folder.Verified
	}
	err = listed(r.base(), err)
	if e := asFault(err); e != nil && len(r.Failures) > 0 {
		err = e.WithHint("install it again from the release; if you changed it on purpose, it is no longer what was released")
	}
	return err
}

// known is what was released, as far as the bundle or the index tells.
type known struct {
	policy  *attest.Policy
	bundle  *attest.Bundle  // nil if nobody released it
	release *attest.Release // likewise
	pkg     *attest.Package // nil if there is a bundle alone
	listing []byte          // rebuild.files.json, nil if it is not at hand
	seen    *opened         // index, nil if there is a bundle alone
}

// known verifies the release before anything is compared with it.
func (a *app) known(ctx context.Context, o installedOptions, r *installedReport, now time.Time) (*known, error) {
	k := &known{}
	var err error
	if o.policy != "" || o.bundle != "" {
		if k.policy, err = a.readPolicy(o.policy); err != nil {
			return nil, err
		}
	}
	switch {
	case o.bundle != "" && o.index != "":
		return nil, fault.New(fault.Usage, "--bundle and --index both say what was released").WithHint("leave one of them out")
	case o.bundle != "":
		return k, a.knownFromBundle(o, k, r, now)
	case o.index != "" && o.reference != "":
		return k, a.knownFromIndex(ctx, o, k, r, now)
	}
	return nil, fault.New(fault.Usage, "nothing to compare %s with", o.target).
		WithHint("give --bundle FILE and --policy FILE, or NAME@VERSION and --index DIR")
}

func (a *app) knownFromBundle(o installedOptions, k *known, r *installedReport, now time.Time) error {
	in, err := a.openLarge(o.bundle, attest.MaxBundle)
	if err != nil {
		return err
	}
	defer in.Close()
	if k.bundle, err = readBundle(k.policy, o.bundle, in); err != nil {
		return err
	}
	expect := attest.Expect{}
	if o.reference != "" {
		if expect.Name, expect.Version, err = reference(o.reference); err != nil {
			return err
		}
	}
	account, err := attest.Verify(k.policy, k.bundle, expect, now)
	if err != nil {
		return err
	}
	if err := k.take(r, now); err != nil {
		return err
	}
	r.Checks = append(r.Checks, "release", "quorum")
	r.Notes = append(r.Notes, account.Notes...)
	for _, object := range k.bundle.Objects {
		if store.DigestOf(object) == k.release.Files {
			k.listing = object
		}
	}
	return nil
}

// take reads the verified release of the bundle.
func (k *known) take(r *installedReport, now time.Time) error {
	signed, _, err := attest.VerifyRelease(k.policy, k.bundle, now)
	if err != nil {
		return err
	}
	release := signed.Release()
	k.release = &release
	r.Name, r.Version, r.Release, r.Cksum, r.Manifest = release.Name, release.Version, signed.Digest(), release.Cksum, release.Files
	return nil
}

func (a *app) knownFromIndex(ctx context.Context, o installedOptions, k *known, r *installedReport, now time.Time) error {
	x, err := a.openIndex(ctx, o.index, k.policy, opening{now, o.offline})
	if err != nil {
		return err
	}
	k.seen = x
	name, version, err := reference(o.reference)
	if err != nil {
		return err
	}
	e, err := x.Lookup(ctx, name, version)
	if err != nil {
		return err
	}
	r.Name, r.Version, r.Release, r.Cksum = e.Name, e.Version, e.Release, e.Cksum
	if k.policy != nil && e.Release != "" {
		err = k.judged(ctx, e, r, now)
	} else {
		err = k.unjudged(ctx, e, r)
	}
	if err != nil {
		return err
	}
	r.Checks = append(r.Checks, "archive")
	if k.listing = k.pkg.MetadataFile(attest.FilesFile); k.listing != nil {
		r.Manifest = store.DigestOf(k.listing)
	}
	return nil
}

// judged verifies an entry and its release by the policy.
func (k *known) judged(ctx context.Context, e *index.Entry, r *installedReport, now time.Time) error {
	if _, err := k.seen.VerifyEntry(ctx, e); err != nil {
		return err
	}
	var err error
	if k.bundle, err = k.seen.Bundle(ctx, e); err != nil {
		return err
	}
	if err := k.take(r, now); err != nil {
		return err
	}
	archive, err := k.seen.Archive(ctx, e)
	if err != nil {
		return err
	}
	r.Checks = append(r.Checks, "index entry", "release", "quorum")
	k.pkg, err = attest.OpenPackage("archive", archive)
	return err
}

// unjudged verifies what can be verified of an entry that no policy judges.
func (k *known) unjudged(ctx context.Context, e *index.Entry, r *installedReport) (err error) {
	if k.pkg, err = k.seen.Unjudged(ctx, e); err != nil {
		return err
	}
	r.Checks = append(r.Checks, "index entry")
	if e.Release == "" {
		r.Notes = append(r.Notes, e.Name+"@"+e.Version+" has no release: nobody has rebuilt it")
	} else {
		r.Notes = append(r.Notes, "no policy was given: whether enough rebuilders agree was not judged")
	}
	return nil
}

// isLayout says whether a folder is an OCI image layout. A package folder that
// holds such files is none.
func isLayout(dir string) bool {
	regular := func(name string) bool {
		info, err := os.Lstat(filepath.Join(dir, name))
		return err == nil && info.Mode().IsRegular()
	}
	return regular("oci-layout") && !regular(attest.PackageFile)
}

// verifyImage compares an OCI layout with the released images.
func (k *known) verifyImage(dir string, r *installedReport, now time.Time) error {
	if k.release == nil {
		return fault.New(fault.Usage, "%s is an image layout, which only a release can be compared with", dir).
			WithHint("give --policy FILE, and a version that was released")
	}
	account, err := attest.Verify(k.policy, k.bundle, attest.Expect{Layouts: []string{dir}}, now)
	if err != nil {
		r.Failures = k.imageFailures(dir)
		return err
	}
	r.Checks = append(r.Checks, account.Compared...)
	r.Notes = append(r.Notes, account.Notes...)
	return nil
}

// verifyFolder compares a package folder, or that of a payload.
func (k *known) verifyFolder(ctx context.Context, o installedOptions, r *installedReport) error {
	f, err := folder.Read(ctx, o.target)
	if err != nil {
		return err
	}
	defer f.Close()
	if o.payload != "" {
		return k.verifyPayload(f, o.payload, r)
	}
	own, changed := k.ownListing(f)
	if changed == nil && k.listing == nil {
		k.listing = own // it hashes to what the release says
	}
	if err := k.compareFolder(f, r); err != nil && changed == nil {
		return err
	}
	return changed
}

// ownListing returns the folder's own inventory, which must be the released
// one: with a new inventory an edited folder would agree with itself.
func (k *known) ownListing(f *folder.Folder) ([]byte, error) {
	want := k.wantListing()
	if want == "" && !f.Has(attest.FilesFile) {
		return nil, nil // never had one
	}
	own, err := f.Content(attest.FilesFile, document.Files.MaxBytes)
	if err != nil {
		return nil, err
	}
	if got := store.DigestOf(own); got != want {
		return nil, fault.New(fault.TreeMismatch, "%s has digest %s, the released one has %s", attest.FilesFile, got, orDefault(string(want), "none")).
			WithHint("install the package again")
	}
	return own, nil
}

func (k *known) wantListing() store.Digest {
	switch {
	case k.release != nil:
		return k.release.Files
	case k.listing != nil:
		return store.DigestOf(k.listing)
	}
	return ""
}

func (k *known) compareFolder(f *folder.Folder, r *installedReport) error {
	if k.listing == nil && k.pkg == nil {
		return fault.New(fault.FileMissing, "the list of released files is not at hand: the folder has none, or another than was released").
			WithHint("give NAME@VERSION and --index DIR, where the archive has it")
	}
	if k.listing == nil {
		listed, err := folder.Listing(k.pkg, "")
		if err != nil {
			return err
		}
		r.Failures = f.Compare(listed)
		return k.done(r, attest.FilesError(r.Failures))
	}
	doc, err := attest.DecodeFiles(attest.FilesFile, k.listing)
	if err != nil {
		return err
	}
	r.Hash = doc.Hash
	r.Failures, err = f.CompareInventory(doc)
	return k.done(r, err)
}

func (k *known) done(r *installedReport, err error) error {
	if err == nil {
		r.Checks = append(r.Checks, "every installed file")
	}
	return err
}

// verifyPayload compares a folder with one voted tree.
func (k *known) verifyPayload(f *folder.Folder, which string, r *installedReport) error {
	p, err := k.payload(which)
	if err != nil {
		return err
	}
	r.Hash = p.Tree
	listed, err := k.payloadListing(p)
	if err != nil {
		return err
	}
	if listed == nil {
		return k.done(r, f.VerifyTree(p.Tree))
	}
	r.Failures, err = f.CompareTree(listed, p.Tree)
	return k.done(r, err)
}

// payload finds the one payload that is meant, among those that were released.
func (k *known) payload(which string) (attest.Payload, error) {
	var all []attest.Payload
	if k.pkg != nil {
		all = k.pkg.Files().Payloads
	} else {
		for _, b := range k.release.Builds {
			for _, t := range b.Targets {
				all = append(all, attest.Payload{Platform: b.Platform, Target: t.Name, Tree: t.Tree})
			}
		}
	}
	platform, target, both := strings.Cut(which, ":")
	if !both {
		platform, target = "", which
	}
	fit := slices.DeleteFunc(slices.Clone(all), func(p attest.Payload) bool { return p.Target != target || platform != "" && p.Platform != platform })
	if len(fit) == 1 {
		return fit[0], nil
	}
	var known []string
	for _, p := range all {
		known = append(known, p.Platform+":"+p.Target)
	}
	return attest.Payload{}, fault.New(fault.Usage, "--payload %s fits %d payloads of the package", which, len(fit)).
		WithHint("name one of %s", orDefault(strings.Join(known, ", "), "none"))
}

// payloadListing returns the files of a payload, nil if no list is at hand.
func (k *known) payloadListing(p attest.Payload) ([]attest.FileEntry, error) {
	if k.pkg == nil || p.Path == "" {
		return nil, nil
	}
	return folder.Listing(k.pkg, p.Path)
}

// imageFailures lists how the files of the images in a layout differ from the
// released payload, as far as both can be read: the error says that they do.
func (k *known) imageFailures(dir string) []attest.FileFailure {
	if k.pkg == nil {
		return nil
	}
	var out []attest.FileFailure
	for _, p := range k.pkg.Files().Payloads {
		listed, err := k.payloadListing(p)
		if err != nil || listed == nil {
			continue
		}
		if tree := layerTree(dir, p.Target); tree != nil {
			out = append(out, attest.CompareFiles(listed, attest.Inventory(tree))...)
		}
	}
	return out
}

// layoutDescriptor is an entry of an OCI index or manifest.
type layoutDescriptor struct {
	Digest      store.Digest      `json:"digest"`
	Annotations map[string]string `json:"annotations"`
}

// maxLayer bounds the layer of an image whose files are listed for a report.
const maxLayer = 1 << 30

// layerTree returns the tree of the image for a target, which is the only one in
// a layout or bears its name, nil if it can not be read. Nothing of it is
// trusted: it is shown as what differs.
func layerTree(dir, target string) *store.Tree {
	root, err := openFolder(dir, fault.Usage)
	if err != nil {
		return nil
	}
	defer root.Close()
	var list struct {
		Manifests []layoutDescriptor `json:"manifests"`
	}
	if !readForeign(root, "index.json", &list) {
		return nil
	}
	for _, d := range list.Manifests {
		name, _, _ := strings.Cut(d.Annotations["org.opencontainers.image.ref.name"], ":")
		var image struct {
			Layers []layoutDescriptor `json:"layers"`
		}
		if name != target && len(list.Manifests) > 1 || !readForeign(root, blobFile(d.Digest), &image) || len(image.Layers) != 1 {
			continue
		}
		f, err := root.OpenFile(blobFile(image.Layers[0].Digest), os.O_RDONLY|syscall.O_NONBLOCK, 0)
		in, err := largeRegular(f, err, dir, maxLayer)
		if err != nil {
			continue
		}
		tree, err := store.ReadTar(io.NewSectionReader(in, 0, in.size))
		in.Close()
		if err == nil {
			return tree
		}
	}
	return nil
}

// blobFile is where a layout has a blob; a digest that is none leads nowhere.
func blobFile(d store.Digest) string {
	if _, err := store.ParseDigest(string(d)); err != nil {
		return "blobs/none"
	}
	return "blobs/sha256/" + d.Hex()
}

func readForeign(root *os.Root, name string, to any) bool {
	raw, err := readBoundedIn(root, name, name, maxLock)
	return err == nil && document.DecodeForeign(name, raw, to) == nil
}
