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
	lock     string
	index    string
	indexKey string
	out      string
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
		func(_ context.Context, _ []string) (result, error) { return a.releaseAll(o) })
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
		"  rebuild release propose --policy policy.toml --results results --package package.toml --owner KEY -o release.json",
		cobra.NoArgs, func(_ context.Context, _ []string) (result, error) {
			d, err := a.draft(o)
			if err != nil {
				return nil, err
			}
			payload, err := a.propose(o, d, nil)
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
	c := a.verb("publish FILE", "Enter a signed release into an index and write its bundle",
		"  rebuild release publish release.dsse.json --policy policy.toml --results results --package package.toml --index index --index-key index.key --out release",
		cobra.ExactArgs(1), func(_ context.Context, args []string) (result, error) {
			signed, err := a.readInput(args[0], attest.MaxEnvelope)
			if err != nil {
				return nil, err
			}
			d, err := a.draftOf(o, args[0], signed)
			if err != nil {
				return nil, err
			}
			return a.publish(o, d, signed)
		})
	o.evidenceFlags(c)
	o.packageFlag(c)
	o.publishFlags(c)
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
	f.StringVar(&o.locator, "locator", "", "where the archive will be found")
}

func (o *releaseOptions) publishFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.index, "index", "", "index folder to publish in; made if missing")
	f.StringVar(&o.indexKey, "index-key", "", "key file that signs index entries")
	f.StringVar(&o.out, "out", ".", "folder for the bundle, the archive and the image")
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
// that they signed for.
func (a *app) draftOf(o *releaseOptions, file string, signed []byte) (*draft, error) {
	envelope, err := attest.ParseEnvelope(file, signed)
	if err != nil {
		return nil, err
	}
	e, err := a.readEvidence(o)
	if err != nil {
		return nil, err
	}
	r, err := attest.ReadRelease(e.policy, envelope)
	if err != nil {
		return nil, err
	}
	return a.gather(o, e, r.Waivers)
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
	_, image, err := attest.LoadPackage(o.pkg, text)
	if err != nil {
		return nil, err
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
func (a *app) propose(o *releaseOptions, d *draft, signers []attest.Signer) ([]byte, error) {
	owners, err := a.ownerKeys(o, signers)
	if err != nil {
		return nil, err
	}
	return attest.Propose(attest.Proposal{
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

func (a *app) releaseAll(o *releaseOptions) (result, error) {
	signers, err := a.readKeys(o.keys)
	if err != nil {
		return nil, err
	}
	d, err := a.draft(o)
	if err != nil {
		return nil, err
	}
	payload, err := a.propose(o, d, signers)
	if err != nil {
		return nil, err
	}
	signed, err := attest.SignRelease(d.policy, payload, d.Evidence, a.now(), signers...)
	if err != nil {
		return nil, err
	}
	return a.publish(o, d, signed)
}

// publish verifies the signed release as any reader will, refuses what can be
// refused, and only then writes: image, archive, bundle, and last the index
// entry. Nothing that is there already is replaced.
func (a *app) publish(o *releaseOptions, d *draft, signed []byte) (result, error) {
	bundle := &attest.Bundle{Release: signed, Evidence: d.Evidence}
	publication, err := attest.NewPublication(d.policy, bundle, d.pkg.Archive(), a.now())
	if err != nil {
		return nil, err
	}
	encoded, err := bundle.Encode()
	if err != nil {
		return nil, err
	}
	r := newReleaseResult(publication.Release(), o)
	var indexKey attest.Signer
	if o.index != "" {
		if o.indexKey == "" {
			return nil, fault.New(fault.Usage, "no key to sign the entry in %s with", o.index).WithHint("give --index-key FILE")
		}
		if indexKey, err = a.readKey(o.indexKey); err != nil {
			return nil, err
		}
		if err := a.admit(o.index, publication, d.policy, indexKey); err != nil {
			return nil, err
		}
	}
	if err := d.writeFiles(r, output{r.Archive, d.pkg.Archive()}, output{r.Bundle, encoded}); err != nil {
		return nil, err
	}
	if o.index == "" {
		return r, nil
	}
	return r, a.enter(o.index, publication, d.policy, indexKey)
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
func (a *app) admit(dir string, p *attest.Publication, policy *attest.Policy, key attest.Signer) error {
	if err := index.CanHold(p); err != nil {
		return err
	}
	if _, err := policy.IndexKey(key.Public().ID(), a.now()); err != nil {
		return err
	}
	empty, err := noIndex(dir)
	if err != nil || empty {
		return err
	}
	x, err := index.Open(dir)
	if err != nil {
		return err
	}
	return x.Check(p, policy, key, a.now())
}

// enter publishes in the index, and makes it first if it is missing.
func (a *app) enter(dir string, p *attest.Publication, policy *attest.Policy, key attest.Signer) error {
	missing, err := noIndex(dir)
	if err != nil {
		return err
	}
	if missing {
		if err := index.Init(dir, index.Config{Signing: index.SigningWith(key.Public())}); err != nil {
			return unwritable("--index", err)
		}
	}
	x, err := index.Open(dir)
	if err != nil {
		return err
	}
	_, err = x.Publish(p, policy, key, a.now())
	return unwritable("--index", err)
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
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	to, err := store.Open(dir)
	if err != nil {
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
	r := signed.Release()
	name := attest.FileName(&r)
	return releaseResult{
		Name: r.Name, Version: r.Version, Release: signed.Digest(), Snapshot: r.Snapshot, Signers: signed.Signers(),
		Bundle: filepath.Join(o.out, name), Archive: filepath.Join(o.out, strings.TrimSuffix(name, ".rbundle")+".tar"),
		Image: filepath.Join(o.out, "image"), Index: o.index,
	}
}

func (r releaseResult) Print(out io.Writer) { fmt.Fprintln(out, r.Bundle) }

func (a *app) indexCommand() *cobra.Command {
	c := &cobra.Command{Use: "index", Short: "Look into an index"}
	c.AddCommand(a.verb("show DIR NAME[@VERSION]", "Print the entry of a package", "  rebuild index show release/index sha256sum",
		cobra.ExactArgs(2), func(_ context.Context, args []string) (result, error) {
			r, err := openIndex(a, args[0])
			if err != nil {
				return nil, err
			}
			name, version, err := index.SplitReference(args[1])
			if err != nil {
				return nil, err
			}
			e, err := r.Lookup(name, version)
			if err != nil {
				return nil, err
			}
			if e.Signature == nil {
				a.note("the entry of %s %s is not signed: this is what the server says, and nobody else", e.Name, e.Version)
			}
			return entryResult{e}, nil
		}))
	return c
}

type entryResult struct{ *index.Entry }

func (r entryResult) Print(out io.Writer) {
	if line, err := r.Encode(); err == nil {
		fmt.Fprintf(out, "%s\n", line)
	}
}

func openIndex(a *app, dir string) (*index.Reader, error) {
	root, err := openFolder(dir, fault.IndexFetch)
	if err != nil {
		return nil, err
	}
	r, err := index.NewReader(root.FS(), dir)
	if err != nil {
		return nil, err
	}
	r.Notice = func(text string) { a.note("%s", oneLine(text)) }
	return r, nil
}

// verifyEntry checks that the index's entry is signed, and that everything it
// leads to is the release in the bundle.
func (a *app) verifyEntry(policy *attest.Policy, b *attest.Bundle, account *attest.Account, dir string, now time.Time) error {
	r, err := openIndex(a, dir)
	if err != nil {
		return err
	}
	e, _, err := r.Verify(account.Name, account.Version, policy, now)
	if err != nil {
		return err
	}
	if e.Release != account.Release {
		return fault.New(fault.EvidenceMismatch, "the index has release %s of %s %s, the bundle has %s", e.Release, e.Name, e.Version, account.Release)
	}
	same, err := r.Bundle(e, policy)
	if err != nil {
		return err
	}
	if !bytes.Equal(same.Release, b.Release) {
		a.note("the index has other signatures of the same release")
	}
	return nil
}
