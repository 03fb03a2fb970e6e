package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rebuild/attest"
	"rebuild/index"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/store"
)

// The commands of a release signer. Propose, sign and publish can be done by
// several people one after the other, signing also side by side; release does
// all three with the keys at hand. Each of them judges the evidence anew, and
// none writes anything unless the quorum is met.

type releaseOptions struct {
	policy   string
	results  []string
	pkg      string
	keys     []string
	owners   []string
	waive    []string
	locator  string
	pinFrom  string
	lock     string
	index    string
	indexKey string
	logKey   string
	out      string

	noSources bool // of the definitions that go into the index
}

const (
	maxDocument = 256 << 10 // policy.toml, package.toml
	maxLock     = 4 << 20
)

func (a *app) releaseCommand() *cobra.Command {
	o := &releaseOptions{}
	all := a.verb("release", "Propose, sign and publish what a quorum has reproduced",
		`  rebuild release --policy policy.toml --results results --package package.toml \
    --key signer.key --index index --index-key index.key --out release`, cobra.NoArgs,
		func(ctx context.Context, _ []string) (result, error) { return a.releaseAll(ctx, o) })
	o.evidenceFlags(all)
	o.packageFlag(all)
	o.proposeFlags(all)
	o.publishFlags(all)
	o.keyFlag(all)
	all.AddCommand(a.proposeCommand(o), a.signCommand(o), a.publishCommand(o))
	return all
}

func (a *app) proposeCommand(o *releaseOptions) *cobra.Command {
	var to string
	c := a.verb("propose", "Write the unsigned payload of a release",
		`  rebuild release propose --policy policy.toml --results results --package package.toml --owner KEY -o release.json
  rebuild release propose --policy policy.toml --results results --owner KEY --pin-from https://packages.example/index/ -o release.json`,
		cobra.NoArgs, func(ctx context.Context, _ []string) (result, error) {
			d, err := a.draft(o)
			if err != nil {
				return nil, err
			}
			payload, err := a.propose(ctx, o, d, nil)
			if err != nil {
				return nil, err
			}
			return a.handOn(d.policy, to, payload)
		})
	o.evidenceFlags(c)
	o.packageFlag(c)
	o.proposeFlags(c)
	c.Flags().StringVarP(&to, "output", "o", "-", "file to write")
	return c
}

func (a *app) signCommand(o *releaseOptions) *cobra.Command {
	var to string
	c := a.verb("sign FILE...", "Add signatures to a proposed or signed release",
		`  rebuild release sign release.json --policy policy.toml --results results --key signer.key -o release.dsse.json
  rebuild release sign one.dsse.json two.dsse.json --policy policy.toml --results results -o both.dsse.json`,
		cobra.MinimumNArgs(1), func(_ context.Context, args []string) (result, error) {
			policy, signed, err := a.signRelease(o, args)
			if err != nil {
				return nil, err
			}
			return a.handOn(policy, to, signed)
		})
	o.evidenceFlags(c)
	o.keyFlag(c)
	c.Flags().StringVarP(&to, "output", "o", "-", "file to write")
	return c
}

func (a *app) publishCommand(o *releaseOptions) *cobra.Command {
	var to hubPublishOptions
	var c *cobra.Command
	c = a.verb("publish FILE", "Enter a signed release into an index, or send it to a hub, and write its bundle",
		`  rebuild release publish release.dsse.json --policy policy.toml --results results --index index --index-key index.key --out release
  rebuild release publish release.dsse.json --policy policy.toml --results results --hub https://hub.example --key signer.key --out release`,
		cobra.ExactArgs(1), func(ctx context.Context, args []string) (result, error) {
			if err := noBundle(args[0], "give what rebuild release sign wrote; a bundle is entered with: rebuild index add "+args[0]+" --archive FILE"); err != nil {
				return nil, err
			}
			if to.hub != "" {
				if err := idle(c, "a hub", "index-key", "log-key", "no-sources"); err != nil {
					return nil, err
				}
				to.releaseOptions, to.file = *o, args[0]
				return a.releaseToHub(ctx, to)
			}
			if err := idle(c, "an index folder", "key", "patience"); err != nil {
				return nil, err
			}
			signed, err := a.readInput(args[0], attest.MaxEnvelope)
			if err != nil {
				return nil, err
			}
			in, d, err := a.draftOf(ctx, o, args[0], signed)
			if err != nil {
				return nil, err
			}
			return a.publish(ctx, o, in, d, signed)
		})
	o.evidenceFlags(c)
	o.packageFlag(c)
	o.publishFlags(c)
	to.hubFlags(c)
	return c
}

func (o *releaseOptions) evidenceFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVarP(&o.policy, "policy", "p", "", "policy.toml")
	f.StringArrayVar(&o.results, "results", []string{"results"}, "results folder; once for each platform's plan")
	f.StringVar(&o.lock, "lock", "", "rebuild.lock to release with it")
}

func (o *releaseOptions) packageFlag(c *cobra.Command) {
	c.Flags().StringVar(&o.pkg, "package", "package.toml", "metadata of the package")
}

func (o *releaseOptions) keyFlag(c *cobra.Command) {
	c.Flags().StringArrayVar(&o.keys, "key", nil, "release signer's or owner's key file; once for each")
}

// proposeFlags are what is decided when a release is proposed. Later steps
// take it from the payload that was signed.
func (o *releaseOptions) proposeFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringArrayVar(&o.owners, "owner", nil, "key of an owner, who must sign too: its text, or a file with it; once for each (default: those of --key, if there is one)")
	f.StringArrayVar(&o.waive, "waive", nil, "STATEMENT=REASON: overrule one dissenting statement in this release")
	f.StringVar(&o.pinFrom, "pin-from", "", "index whose packages the release pins for what this one needs (default: --index)")
	f.StringVar(&o.locator, "locator", "", "where the archive will be found")
}

func (o *releaseOptions) publishFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.index, "index", "", "index folder to publish in; made if missing")
	f.StringVar(&o.indexKey, "index-key", "", "key file that signs index entries")
	f.StringVar(&o.logKey, "log-key", "", "key file of the index's log, if it has one")
	f.StringVar(&o.out, "out", ".", "folder for the bundle, the archive and the image")
	f.BoolVar(&o.noSources, "no-sources", false, "leave sources out of the index; only say where they are")
}

// evidence is what the flags of evidence name, as it was found, and the policy
// to judge it by.
type evidence struct {
	policy *attest.Policy
	plans  []*attest.Plan // of the builds, in their order
	attest.Evidence
}

// readEvidence reads the policy, the results and the lock.
func (a *app) readEvidence(o *releaseOptions) (*evidence, error) {
	e := &evidence{}
	var err error
	if e.policy, err = a.readPolicy(o.policy); err != nil {
		return nil, err
	}
	if o.lock != "" {
		if e.Lock, err = a.readInput(o.lock, maxLock); err != nil {
			return nil, err
		}
	}
	for _, dir := range o.results {
		plan, build, err := readResults(dir)
		if err != nil {
			return nil, err
		}
		a.withoutLog(e.policy, dir, &build)
		e.plans, e.Builds = append(e.plans, plan), append(e.Builds, build)
	}
	return e, nil
}

// judge wants every build to be met, and keeps of the statements those that a
// release names.
func (e *evidence) judge(waivers []attest.Waiver, now time.Time) ([]*attest.Met, error) {
	var mets []*attest.Met
	for i, plan := range e.plans {
		chain, err := e.Builds[i].Chain(e.policy)
		if err != nil {
			return nil, err
		}
		v, err := attest.Judge(e.policy, plan, e.Builds[i].Statements, chain, waivers, now)
		if err != nil {
			return nil, err
		}
		met, err := v.Met()
		if err != nil {
			return nil, err
		}
		mets = append(mets, met)
		e.Builds[i].Statements = v.Envelopes()
	}
	return mets, nil
}

// draft is a release on its way: what a quorum agreed on and all that it rests
// on, whether it is signed already or not.
type draft struct {
	*evidence
	mets   []*attest.Met
	pkg    *attest.Package
	blobs  *store.Store
	images []releasedImage // in blobs
}

// releasedImage is an image under the name of its target.
type releasedImage struct {
	target string
	store.Image
}

// draft gathers a release that nobody has signed yet, with the waivers that
// the flags name.
func (a *app) draft(o *releaseOptions) (*draft, error) {
	waivers, err := o.waivers()
	if err != nil {
		return nil, err
	}
	e, err := a.readEvidence(o)
	if err != nil {
		return nil, err
	}
	return a.gather(o, e, waivers)
}

// draftOf gathers a release again that others have signed, with the waivers
// that they signed for. What a logged index has about its plans is taken from
// there.
func (a *app) draftOf(ctx context.Context, o *releaseOptions, file string, signed []byte) (*target, *draft, error) {
	envelope, err := attest.ParseEnvelope(file, signed)
	if err != nil {
		return nil, nil, mistaken(err, anEnvelope, file, signed)
	}
	e, err := a.readEvidence(o)
	if err != nil {
		return nil, nil, err
	}
	r, err := attest.ReadRelease(e.policy, envelope)
	if err != nil {
		return nil, nil, err
	}
	to, err := a.target(o, e.policy)
	if err != nil {
		return nil, nil, err
	}
	if r.LogOrigin != "" && to.keeps(e.policy) {
		for i, plan := range e.plans {
			if e.Builds[i], err = to.x.Evidence(ctx, plan.Digest()); err != nil {
				return nil, nil, err
			}
		}
	}
	d, err := a.gather(o, e, r.Waivers)
	return to, d, err
}

// gather judges the evidence and packs what was agreed on.
func (a *app) gather(o *releaseOptions, e *evidence, waivers []attest.Waiver) (*draft, error) {
	d := &draft{evidence: e}
	var err error
	if d.mets, err = e.judge(waivers, a.now()); err != nil {
		return nil, err
	}
	at, err := a.places()
	if err != nil {
		return nil, err
	}
	if d.blobs, err = store.Open(pipeline.StoreDir(at.state)); err != nil {
		return nil, err
	}
	payloads, err := d.readImages()
	if err != nil {
		return nil, err
	}
	text, err := a.readInput(o.pkg, maxDocument)
	if err != nil {
		return nil, err
	}
	doc, image, err := attest.LoadPackage(o.pkg, text)
	if err != nil {
		return nil, err
	}
	if err := a.authorRules(doc); err != nil {
		return nil, fault.In(err, o.pkg)
	}
	d.pkg, err = attest.Pack(image, payloads, 1)
	return d, err
}

// readImages reads the voted images from the store: this signer must have
// built or pulled what it releases.
func (d *draft) readImages() ([]attest.PayloadInput, error) {
	var payloads []attest.PayloadInput
	for _, m := range d.mets {
		for _, t := range m.Targets() {
			image, err := d.blobs.Image(t.Manifest)
			if err != nil {
				return nil, notBuiltHere(t, err)
			}
			layer, err := d.blobs.Open(image.Layer.Digest)
			if err != nil {
				return nil, err
			}
			files, err := attest.ReadLayer(layer)
			layer.Close()
			if err != nil {
				return nil, err
			}
			d.images = append(d.images, releasedImage{t.Name, image})
			d.Objects = append(d.Objects, image.Raw)
			payloads = append(payloads, attest.PayloadInput{
				Platform: m.Platform(), Target: t.Name, Tree: t.Tree, Files: files,
				Path: strings.ReplaceAll(m.Platform(), "/", "-") + "/" + t.Name,
			})
		}
	}
	return payloads, nil
}

// notBuiltHere says that a signer lacks the image that it is to release.
func notBuiltHere(t attest.ReleaseTarget, err error) error {
	return fault.New(fault.CodeOf(err), "the released image %s: %w", t.Name, err).
		WithHint("name the state root that built it with --state DIR, or build it with rebuild run")
}

// propose returns the payload to sign, with the waivers that the builds were
// judged with. Without owners named, those who are to sign it own it.
func (a *app) propose(ctx context.Context, o *releaseOptions, d *draft, signers []attest.Signer) ([]byte, error) {
	owners, err := a.ownerKeys(o, signers)
	if err != nil {
		return nil, err
	}
	depends, err := a.pins(ctx, o.pinsFrom(), d.policy, d.pkg.Document())
	if err != nil {
		return nil, err
	}
	return attest.Propose(attest.Proposal{
		Depends: depends,
		Package: d.pkg, Builds: d.mets, Manifests: d.Objects, Lock: d.Lock,
		Locator: o.locator, Owners: owners, Published: a.now().Truncate(time.Second),
	})
}

func (a *app) ownerKeys(o *releaseOptions, signers []attest.Signer) ([]attest.PublicKey, error) {
	var owners []attest.PublicKey
	for _, text := range o.owners {
		k, err := a.publicKey(text)
		if err != nil {
			return nil, err
		}
		owners = append(owners, k)
	}
	for _, s := range signers {
		if len(o.owners) == 0 {
			owners = append(owners, s.Public())
		}
	}
	if len(owners) == 0 {
		return nil, fault.New(fault.Usage, "the release has no owner").WithHint("give --owner with the text that rebuild key show prints")
	}
	return owners, nil
}

func (o *releaseOptions) waivers() ([]attest.Waiver, error) {
	var list []attest.Waiver
	for _, w := range o.waive {
		statement, reason, _ := strings.Cut(w, "=")
		d, err := store.ParseDigest(statement)
		if err != nil {
			return nil, err
		}
		if strings.TrimSpace(reason) == "" {
			return nil, fault.New(fault.Usage, "the waiver of %s gives no reason", statement).WithHint("--waive %s=REASON", statement)
		}
		list = append(list, attest.Waiver{Statement: d, Reason: reason})
	}
	return list, nil
}

// signRelease adds signatures to a release, and puts together those of several
// files, which signers made side by side. What is signed for is shown before a
// key is asked for.
func (a *app) signRelease(o *releaseOptions, files []string) (*attest.Policy, []byte, error) {
	data, err := a.mergeSigned(files)
	if err != nil {
		return nil, nil, err
	}
	e, err := a.readEvidence(o)
	if err != nil {
		return nil, nil, err
	}
	asked, err := attest.SigningOf(e.policy, data)
	if err != nil {
		return nil, nil, fault.New(fault.CodeOf(err), "no release: %w", err).At(files[0], 0)
	}
	for _, line := range asked.Asked() {
		a.note("%s", oneLine(line))
	}
	var signers []attest.Signer
	if len(o.keys) > 0 || len(files) == 1 { // several may only be put together
		if signers, err = a.readKeys(o.keys); err != nil {
			return nil, nil, err
		}
	}
	if e.Objects, err = a.releasedManifests(data); err != nil {
		return nil, nil, err
	}
	signed, err := attest.SignRelease(e.policy, data, e.Evidence, a.now(), signers...)
	return e.policy, signed, err
}

// handOn writes a release for whoever signs or publishes it next.
func (a *app) handOn(policy *attest.Policy, to string, release []byte) (result, error) {
	s, err := attest.SigningOf(policy, release)
	if err != nil {
		return nil, err
	}
	if err := writeOutput(a, to, release); err != nil {
		return nil, err
	}
	a.note("%s", s.Progress())
	if to == "-" {
		return nil, nil
	}
	return signingResult{to, s}, nil
}

type signingResult struct {
	File string `json:"file"`
	*attest.Signing
}

func (r signingResult) Print(out io.Writer) { fmt.Fprintln(out, r.File) }

// mergeSigned reads one payload or envelope, or several envelopes of one
// payload.
func (a *app) mergeSigned(files []string) ([]byte, error) {
	merged, err := a.readInput(files[0], attest.MaxEnvelope)
	if err != nil {
		return nil, err
	}
	for _, file := range files[1:] {
		data, err := a.readInput(file, attest.MaxEnvelope)
		if err != nil {
			return nil, err
		}
		before, err := attest.ParseEnvelope(files[0], merged)
		if err != nil {
			return nil, err
		}
		more, err := attest.ParseEnvelope(file, data)
		if err != nil {
			return nil, err
		}
		if merged, err = attest.Merge(before, more); err != nil {
			return nil, err
		}
	}
	return merged, nil
}

func (a *app) releaseAll(ctx context.Context, o *releaseOptions) (result, error) {
	signers, err := a.readKeys(o.keys)
	if err != nil {
		return nil, err
	}
	waivers, err := o.waivers()
	if err != nil {
		return nil, err
	}
	e, err := a.readEvidence(o)
	if err != nil {
		return nil, err
	}
	to, err := a.target(o, e.policy)
	if err != nil {
		return nil, err
	}
	if to.keeps(e.policy) {
		if err := a.logEvidence(ctx, to.x, e); err != nil {
			return nil, err
		}
	}
	d, err := a.gather(o, e, waivers)
	if err != nil {
		return nil, err
	}
	signed, err := a.releasedBefore(ctx, o, to, d, signers)
	if err != nil {
		return nil, err
	}
	if signed != nil {
		return a.publish(ctx, o, to, d, signed)
	}
	payload, err := a.propose(ctx, o, d, signers)
	if err != nil {
		return nil, err
	}
	signed, err = attest.SignRelease(d.policy, payload, d.Evidence, a.now(), signers...)
	if err != nil {
		return nil, err
	}
	return a.publish(ctx, o, to, d, signed)
}

// releasedBefore returns the envelope of the same release, if the log of the
// index has it: of a command that was stopped before it had written everything,
// or that is run again. Proposed anew it would be another release, as the chain
// has grown by the release's own leaf.
func (a *app) releasedBefore(ctx context.Context, o *releaseOptions, to *target, d *draft, signers []attest.Signer) ([]byte, error) {
	if !to.keeps(d.policy) {
		return nil, nil
	}
	doc := d.pkg.Document()
	r, err := to.x.Reader(ctx, index.Reading{Policy: d.policy, Now: a.now()})
	if err != nil {
		return nil, err
	}
	e, err := r.Lookup(ctx, doc.Name, doc.Version)
	if fault.CodeOf(err) == fault.IndexNoMatch {
		return nil, nil
	}
	if err != nil || e.Release == "" || e.Version != doc.Version || e.Cksum != d.pkg.Cksum() {
		return nil, err
	}
	b, err := r.Bundle(ctx, e)
	if err != nil {
		return nil, err
	}
	envelope, err := attest.ParseEnvelope("release", b.Release)
	if err != nil {
		return nil, err
	}
	there, err := attest.ReadRelease(d.policy, envelope)
	if err != nil {
		return nil, err
	}
	owners, err := a.ownerKeys(o, signers)
	if err != nil {
		return nil, err
	}
	waivers, err := o.waivers()
	if err != nil {
		return nil, err
	}
	if !sameKeys(owners, there.OwnerKeys()) || there.Locator != o.locator || !sameWaivers(waivers, there.Waivers) {
		return nil, nil // another release of a version that is taken
	}
	return b.Release, nil
}

func sameKeys(a, b []attest.PublicKey) bool {
	text := func(all []attest.PublicKey) []string {
		var out []string
		for _, k := range all {
			out = append(out, k.String())
		}
		slices.Sort(out)
		return slices.Compact(out)
	}
	return slices.Equal(text(a), text(b))
}

func sameWaivers(a, b []attest.Waiver) bool {
	order := func(x, y attest.Waiver) int { return strings.Compare(string(x.Statement), string(y.Statement)) }
	return slices.Equal(slices.SortedFunc(slices.Values(a), order), slices.SortedFunc(slices.Values(b), order))
}

// publish verifies the signed release as any reader will, refuses what can be
// refused, and only then writes: image, archive, bundle, and last the index
// entry. Nothing that is there already is replaced.
//
// A release that names the log of the index it is entered in can only be
// verified once it is in that log, so there the bundle is written last.
func (a *app) publish(ctx context.Context, o *releaseOptions, to *target, d *draft, signed []byte) (result, error) {
	bundle := &attest.Bundle{Release: signed, Evidence: d.Evidence}
	envelope, err := attest.ParseEnvelope("release", signed)
	if err != nil {
		return nil, err
	}
	release, err := attest.ReadRelease(d.policy, envelope)
	if err != nil {
		return nil, err
	}
	a.noteBreaks(ctx, to, d.pkg)
	if release.LogOrigin != "" && to.keeps(d.policy) {
		return a.publishLogged(ctx, o, to, d, bundle, &release)
	}
	publication, err := attest.NewPublication(d.policy, bundle, d.pkg.Archive(), a.now())
	if err != nil {
		return nil, err
	}
	encoded, err := bundle.Encode()
	if err != nil {
		return nil, err
	}
	if to != nil && to.x == nil && release.LogOrigin != "" {
		return nil, fault.New(fault.Usage, "%s %s is in log %s, and %s would be an index without one", release.Name, release.Version, release.LogOrigin, o.index).
			WithHint("leave --index out, or make the index first with: rebuild index init")
	}
	r := newReleaseResult(publication.Release(), o)
	if err := a.admit(ctx, to, bundle, d); err != nil {
		return nil, err
	}
	if err := d.writeFiles(r, output{r.Archive, d.pkg.Archive()}, output{r.Bundle, encoded}); err != nil {
		return nil, err
	}
	if to == nil {
		return r, nil
	}
	if err := a.enter(ctx, to, bundle, d); err != nil {
		return r, err
	}
	return r, a.publishDefinitions(o.index, d, o.noSources)
}

// publishLogged enters a release into the log of an index and gives out the
// bundle that others verify: with the release's own leaf, and the proof of it.
func (a *app) publishLogged(ctx context.Context, o *releaseOptions, to *target, d *draft, bundle *attest.Bundle, release *attest.Release) (result, error) {
	paths := resultPaths(release, o)
	there, err := sameBundle(paths.Bundle, bundle.Release)
	if err != nil {
		return nil, err
	}
	if err := to.x.Check(ctx, bundle, d.pkg.Archive()); err != nil {
		return nil, err
	}
	if err := d.writeFiles(paths, output{paths.Archive, d.pkg.Archive()}); err != nil {
		return nil, err
	}
	if err := a.publishDefinitions(o.index, d, o.noSources); err != nil {
		return nil, err
	}
	if _, _, err := to.x.Publish(ctx, bundle, d.pkg.Archive()); err != nil {
		return nil, unwritable("--index", err)
	}
	whole, err := to.x.Released(ctx, bundle)
	if err != nil {
		return nil, err
	}
	publication, err := attest.NewPublication(d.policy, whole, d.pkg.Archive(), a.now())
	if err != nil {
		return nil, err
	}
	r := newReleaseResult(publication.Release(), o)
	encoded, err := whole.Encode()
	if err != nil || there {
		return r, err
	}
	return r, writeFile("--out", r.Bundle, encoded)
}

// sameBundle says whether the bundle of a release is there. One of another
// release is ALREADY_PUBLISHED. The same release can have several bundles: the
// date of the log's checkpoint is in each.
func sameBundle(file string, release []byte) (bool, error) {
	held, err := readBounded(file, attest.MaxBundle)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	b, err := attest.OpenBundle(file, held)
	if err != nil {
		return false, err
	}
	there, err := attest.ParseEnvelope(file, b.Release)
	if err != nil {
		return false, err
	}
	ours, err := attest.ParseEnvelope("release", release)
	if err == nil && there.Digest() != ours.Digest() {
		err = fault.New(fault.AlreadyPublished, "%s is there already, of release %s", file, there.Digest()).
			WithHint("publish under another version, or name another folder with --out")
	}
	return err == nil, err
}

// writeFiles writes the image and then the files, unless one of them is there
// already with other content.
func (d *draft) writeFiles(r releaseResult, files ...output) error {
	if err := sameImages(r.Image, d.images); err != nil {
		return err
	}
	var missing []output
	for _, f := range files {
		needed, err := f.missing()
		if err != nil {
			return err
		}
		if needed {
			missing = append(missing, f)
		}
	}
	if err := copyImages(r.Image, d.blobs, d.images); err != nil {
		return unwritable("--out", err)
	}
	for _, f := range missing {
		if err := writeFile("--out", f.path, f.data); err != nil {
			return err
		}
	}
	return nil
}

// admit refuses what the index would refuse at the end, before anything is
// written for it. It writes nothing.
func (a *app) admit(ctx context.Context, to *target, b *attest.Bundle, d *draft) error {
	if to == nil {
		return nil
	}
	if _, err := d.policy.IndexKey(to.in.Key.Public().ID(), a.now()); err != nil || to.x == nil {
		return err
	}
	return to.x.Check(ctx, b, d.pkg.Archive())
}

// enter publishes in the index, and makes it first if it is missing.
func (a *app) enter(ctx context.Context, to *target, b *attest.Bundle, d *draft) error {
	if to.x == nil {
		if err := index.Init(ctx, to.dir, index.Config{Signing: index.SigningWith(to.in.Key.Public())}, to.in); err != nil {
			return unwritable("--index", err)
		}
		var err error
		if to.x, err = index.Open(to.dir, to.in); err != nil {
			return err
		}
	}
	_, _, err := to.x.Publish(ctx, b, d.pkg.Archive())
	return unwritable("--index", err)
}

// target is the index that a release is entered in; nil is none.
type target struct {
	dir    string
	in     index.Writing
	x      *index.Index // nil: it has to be made
	origin string       // of its log
}

// keeps says whether the index has the log that a policy trusts.
func (t *target) keeps(policy *attest.Policy) bool {
	return t != nil && t.origin != "" && t.origin == policy.LogOrigin()
}

// target opens the index that the flags name.
func (a *app) target(o *releaseOptions, policy *attest.Policy) (*target, error) {
	if o.index == "" {
		return nil, nil
	}
	if o.indexKey == "" {
		return nil, fault.New(fault.Usage, "no key to sign the entry in %s with", o.index).WithHint("give --index-key FILE")
	}
	dir, err := localIndex(o.index)
	if err != nil {
		return nil, err
	}
	missing, err := noIndex(dir)
	if err != nil {
		return nil, err
	}
	t := &target{dir: dir}
	if missing {
		t.in = index.Writing{Policy: policy, Now: a.now}
		t.in.Key, err = a.readKey(o.indexKey)
		return t, err
	}
	var c index.Config
	if t.x, t.in, c, err = a.openWriter(dir, policy, o.indexKey, o.logKey); err == nil && c.Log != nil {
		t.origin = c.Log.Origin
	}
	return t, err
}

// noIndex says whether an index has to be made in dir, which is refused if dir
// holds other things.
func noIndex(dir string) (bool, error) {
	held, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, unwritable("--index", err)
	}
	for _, entry := range held {
		if entry.Name() == "config.json" {
			return false, nil
		}
	}
	for _, entry := range held {
		if !strings.HasPrefix(entry.Name(), durable.TempPrefix) { // left by an Init that was stopped
			return false, fault.New(fault.Usage, "%s is no index: it holds %s and no config.json", dir, entry.Name()).
				WithHint("name an index or an empty folder with --index")
		}
	}
	return true, nil
}

// tag is the name of an image in the layout of a release: of all its images,
// no other is of this target on this platform.
func (r releasedImage) tag() string {
	return r.target + ":" + strings.ReplaceAll(r.Platform, "/", "-")
}

// sameImages refuses a layout that holds anything but these images: it belongs
// to another release.
func sameImages(dir string, images []releasedImage) error {
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	held, err := store.Open(dir)
	if err != nil {
		return unwritable("--out", err)
	}
	tags, err := held.Tags()
	if err != nil {
		return err
	}
	for _, t := range tags {
		ours := slices.ContainsFunc(images, func(i releasedImage) bool { return i.tag() == t.Name && i.Manifest == t.Manifest })
		if !ours {
			return fault.New(fault.AlreadyPublished, "%s holds image %s of another release", dir, t.Name).
				WithHint("name another folder with --out")
		}
	}
	return nil
}

// copyImages puts the released images, and nothing else, into a layout that
// crane, skopeo and containerd read.
func copyImages(dir string, from *store.Store, images []releasedImage) error {
	if err := durable.MkdirAll(durable.OS{}, filepath.Dir(dir)); err != nil {
		return err
	}
	to, err := store.Open(dir)
	if err != nil {
		return err
	}
	if err := to.Sweep(); err != nil { // a layout that is given out is never collected
		return err
	}
	for _, i := range images {
		if err := copyBlob(to, from, i.Layer.Digest); err != nil {
			return err
		}
		got, err := to.PutImage(i.Layer, i.Platform, i.Config)
		if err != nil {
			return err
		}
		if got != i.Manifest {
			return fault.New(fault.Internal, "the copied image is %s, want %s", got, i.Manifest)
		}
		if err := to.Tag(i.tag(), got); err != nil {
			return err
		}
	}
	return nil
}

func copyBlob(to, from *store.Store, d store.Digest) error {
	blob, err := from.Open(d)
	if err != nil {
		return err
	}
	defer blob.Close()
	w, err := to.Create()
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, blob); err != nil {
		w.Abort()
		return err
	}
	_, _, err = w.Commit(d)
	return err
}

// releasedManifests returns the manifests that a proposed release names, from
// the store.
func (a *app) releasedManifests(proposal []byte) ([][]byte, error) {
	at, err := a.places()
	if err != nil {
		return nil, err
	}
	st, err := store.Open(pipeline.StoreDir(at.state))
	if err != nil {
		return nil, err
	}
	targets, err := attest.ProposedTargets(proposal)
	if err != nil {
		return nil, err
	}
	var out [][]byte
	for _, t := range targets {
		raw, err := st.Read(t.Manifest, 4<<20)
		if err != nil {
			return nil, notBuiltHere(t, err)
		}
		out = append(out, raw)
	}
	return out, nil
}

type releaseResult struct {
	Name     string       `json:"name"`
	Version  string       `json:"version"`
	Release  store.Digest `json:"release"`
	Snapshot store.Digest `json:"snapshot"`
	Signers  []string     `json:"signers"`
	Bundle   string       `json:"bundle"`
	Archive  string       `json:"archive"`
	Image    string       `json:"image"`
	Index    string       `json:"index,omitempty"`
}

func newReleaseResult(signed *attest.SignedRelease, o *releaseOptions) releaseResult {
	release := signed.Release()
	r := resultPaths(&release, o)
	r.Release, r.Signers = signed.Digest(), signed.Signers()
	return r
}

// resultPaths is what of the result is known before the release is verified.
func resultPaths(r *attest.Release, o *releaseOptions) releaseResult {
	name := attest.FileName(r)
	return releaseResult{
		Name: r.Name, Version: r.Version, Snapshot: r.Snapshot,
		Bundle: filepath.Join(o.out, name), Archive: filepath.Join(o.out, strings.TrimSuffix(name, ".rbundle")+".tar"),
		Image: filepath.Join(o.out, "image"), Index: o.index,
	}
}

func (r releaseResult) Print(out io.Writer) { fmt.Fprintln(out, r.Bundle) }

func (a *app) indexCommand() *cobra.Command {
	c := &cobra.Command{Use: "index", Short: "Make, fill, sign, check and serve an index, and look into one"}
	c.AddCommand(a.indexShowCommand(), a.indexServeCommand())
	a.indexWriters(c)
	return c
}

// verifyEntry checks that the index's entry is signed, and that everything it
// leads to is the release in the bundle.
func (a *app) verifyEntry(ctx context.Context, policy *attest.Policy, b *attest.Bundle, account *attest.Account, location string, in opening) error {
	x, err := a.openIndex(ctx, location, policy, in)
	if err != nil {
		return err
	}
	e, _, err := x.Verify(ctx, account.Name, account.Version)
	if err != nil {
		return err
	}
	if e.Release != account.Release {
		return fault.New(fault.EvidenceMismatch, "the index has release %s of %s %s, the bundle has %s", e.Release, e.Name, e.Version, account.Release).
			WithHint("name the index that the bundle is from, or fetch the bundle again")
	}
	same, err := x.Bundle(ctx, e)
	if err != nil {
		return err
	}
	if !bytes.Equal(same.Release, b.Release) {
		a.note("the index has other signatures of the same release")
	}
	return x.Commit()
}
