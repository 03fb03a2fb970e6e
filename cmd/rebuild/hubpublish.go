package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rebuild/attest"
	"rebuild/folder"
	"rebuild/hub"
	"rebuild/index"
	"rebuild/internal/fault"
	"rebuild/store"
)

// hubPublishOptions is what is published in which hub.
type hubPublishOptions struct {
	releaseOptions        // the policy, and what a signed release is gathered from
	hub            string // URL
	file           string // a bundle, or a signed release
	archive        string // file; of a bundle
	key            string // signs uploads; "" if the hub has everything
	output         string // file for the bundle as the hub has it; "" for none
	patience       time.Duration
	strictLicense  bool
}

// hubPatience is how long a hub has, unless told otherwise, to show what it took.
const hubPatience = 2 * time.Minute

func (o *hubPublishOptions) hubFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.hub, "hub", "", "URL of the hub")
	f.StringVar(&o.key, "key", "", "key of an operator, signer or owner, which signs uploads")
	f.DurationVar(&o.patience, "patience", hubPatience, "how long to wait for the hub to show what it took")
}

// publishToHub verifies a release, sends it with all that it rests on, and
// waits until the hub's index shows it. The release is a bundle with its
// archive, or what release sign wrote, with the results that it was signed for.
func (a *app) publishToHub(ctx context.Context, o hubPublishOptions, r *pushReport) error {
	policy, err := a.readPolicy(o.policy)
	if err != nil {
		return err
	}
	if o.archive == "" {
		if err := noBundle(o.file, "give the package's archive too, with --archive FILE"); err != nil {
			return err
		}
		signed, err := a.readInput(o.file, attest.MaxEnvelope)
		if err != nil {
			return err
		}
		_, d, err := a.draftOf(ctx, &o.releaseOptions, o.file, signed)
		if err != nil {
			return err
		}
		return a.pushRelease(ctx, o, policy, &attest.Bundle{Release: signed, Evidence: d.Evidence}, d.pkg.Archive(), r)
	}
	in, err := a.openLarge(o.file, attest.MaxBundle)
	if err != nil {
		return err
	}
	defer in.Close()
	b, err := readBundle(policy, o.file, in)
	if err != nil {
		return err
	}
	archive, err := a.readInput(o.archive, attest.MaxArchive)
	if err != nil {
		return err
	}
	return a.pushRelease(ctx, o, policy, b, archive, r)
}

// noBundle refuses a bundle where a signed release is read: its first bytes would
// only look like a damaged one.
func noBundle(file, hint string) error {
	if strings.HasSuffix(file, ".rbundle") {
		return fault.New(fault.Usage, "%s is a bundle, and no signed release", file).WithHint("%s", hint)
	}
	return nil
}

// releaseToHub publishes what release sign wrote, and lays the same files out
// as release publish does for an index folder.
func (a *app) releaseToHub(ctx context.Context, o hubPublishOptions) (result, error) {
	if o.index != "" {
		return nil, fault.New(fault.Usage, "a release goes into --index or through --hub").WithHint("leave one of them out")
	}
	policy, err := a.readPolicy(o.policy)
	if err != nil {
		return nil, err
	}
	signed, err := a.readInput(o.file, attest.MaxEnvelope)
	if err != nil {
		return nil, err
	}
	_, d, err := a.draftOf(ctx, &o.releaseOptions, o.file, signed)
	if err != nil {
		return nil, err
	}
	b := &attest.Bundle{Release: signed, Evidence: d.Evidence}
	admitted, err := attest.Admit(policy, b, d.pkg.Archive(), a.now())
	if err != nil {
		return nil, err
	}
	r := newReleaseResult(admitted.Release(), &o.releaseOptions)
	there, err := sameBundle(r.Bundle, signed)
	if err != nil {
		return nil, err
	}
	if err := d.writeFiles(r, output{r.Archive, d.pkg.Archive()}); err != nil {
		return nil, err
	}
	if !there {
		o.output = r.Bundle
	}
	if err := a.pushRelease(ctx, o, policy, b, d.pkg.Archive(), &pushReport{}); err != nil {
		return nil, err
	}
	return r, nil
}

// pushRelease publishes a release that is in memory, and fills the report as far
// as it comes. It is verified here first: what a policy refuses is sent to nobody.
func (a *app) pushRelease(ctx context.Context, o hubPublishOptions, policy *attest.Policy, b *attest.Bundle, archive []byte, r *pushReport) error {
	admitted, err := attest.Admit(policy, b, archive, a.now())
	if err != nil {
		return err
	}
	r.admit(admitted)
	if err := o.authorRules(a, admitted.Document(), &r.packageReport); err != nil {
		return err
	}
	client, end, err := a.hubClient(o.hub, o.key)
	if err != nil {
		return err
	}
	defer end()
	if err := a.hubBreaks(ctx, client.Base, policy, archive, &r.packageReport); err != nil {
		return err
	}
	published, err := client.Publish(ctx, b, archive, func(what string) { a.note("sent %s", oneLine(what)) })
	if err != nil {
		return err
	}
	r.OK, r.Duplicate, r.PublishedAt, r.Hub = published.OK, published.Duplicate, admitted.Release().Release().PublishedAt, client.Base
	if log := policy.Log(); log != nil && published.LogIndex != nil {
		if _, err := client.Await(ctx, log, *published.LogIndex, o.patience); err != nil {
			return err
		}
		r.Checks = append(r.Checks, "log")
	}
	if err := client.AwaitRelease(ctx, published.Name, published.Version, b.Release, o.patience); err != nil {
		return err
	}
	e, there, err := a.verifyPushed(ctx, client.Base, policy, published)
	if err != nil {
		return err
	}
	r.LogIndex, r.Checks = e.Seq, append(r.Checks, "read back")
	there.Objects = b.Objects
	return a.writePushed(o, policy, there)
}

// hubBreaks warns of what a release breaks that the hub's index has, as for an
// index folder.
func (a *app) hubBreaks(ctx context.Context, base string, policy *attest.Policy, archive []byte, r *packageReport) error {
	pkg, err := attest.OpenPackage("the archive", archive)
	if err != nil {
		return err
	}
	a.warn(r, a.breaks(ctx, func(ctx context.Context) (*index.Reader, error) {
		x, err := a.openIndexThrough(ctx, base+"/index/", policy, opening{}, pastCaches)
		if err != nil {
			return nil, err
		}
		return x.Reader, nil
	}, pkg))
	return nil
}

// authorRules are those for who publishes, which somebody may have packed
// without. What draftOf has warned of already is only reported.
func (o *hubPublishOptions) authorRules(a *app, doc attest.PackageDocument, r *packageReport) error {
	c := folder.Checked{Document: &doc}
	if err := c.Rules(rebuildVersion(), o.strictLicense); err != nil {
		return fault.In(err, attest.PackageFile)
	}
	if o.archive == "" {
		r.Warnings = append(r.Warnings, c.Warnings...)
	} else {
		a.warn(r, c.Warnings)
	}
	return nil
}

// writePushed writes the bundle as everybody gets it from now on: with the
// leaves of the release and their proof.
func (a *app) writePushed(o hubPublishOptions, policy *attest.Policy, b *attest.Bundle) error {
	if o.output == "" {
		return nil
	}
	if _, err := attest.Verify(policy, b, attest.Expect{}, a.now()); err != nil {
		return err
	}
	data, err := b.Encode()
	if err != nil {
		return err
	}
	return writeOutput(a, o.output, data)
}

// hubClient is a client of a hub; key may be "".
func (a *app) hubClient(address, key string) (*hub.Client, func(), error) {
	if address == "" {
		return nil, nil, fault.New(fault.Usage, "no hub").WithHint("give --hub URL")
	}
	base, err := hub.ParseURL(address)
	if err != nil {
		return nil, nil, err
	}
	c := &hub.Client{HTTP: a.httpClient(), Base: base, Now: a.now, Wait: wait}
	if key != "" {
		if c.Key, err = a.readKey(key); err != nil {
			return nil, nil, err
		}
	}
	return c, c.HTTP.CloseIdleConnections, nil
}

// wait pauses, unless the context ends before.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// verifyPushed reads the release back as any user will, verifies it, and returns
// its entry and its bundle.
func (a *app) verifyPushed(ctx context.Context, base string, policy *attest.Policy, p *hub.Published) (*index.Entry, *attest.Bundle, error) {
	x, err := a.openIndexThrough(ctx, base+"/index/", policy, opening{}, pastCaches)
	if err != nil {
		return nil, nil, err
	}
	e, _, err := x.Verify(ctx, p.Name, p.Version)
	if err != nil {
		return nil, nil, err
	}
	var wrong *fault.Error
	switch {
	case e.Release != p.Release:
		wrong = fault.New(fault.EvidenceMismatch, "the hub shows release %s as %s %s, %s was sent", e.Release, p.Name, p.Version, p.Release)
	case e.Seq != nil && (p.LogIndex == nil || *p.LogIndex != *e.Seq):
		wrong = fault.New(fault.EvidenceMismatch, "the hub has %s %s as leaf %d of its log, and did not answer so", p.Name, p.Version, *e.Seq)
	default:
		b, err := x.Bundle(ctx, e)
		if err != nil {
			return nil, nil, err
		}
		return e, b, x.Commit()
	}
	return nil, nil, wrong.WithHint("ask who runs %s", base)
}

// pushReport says which release was published, and where, or how far that came.
type pushReport struct {
	packageReport
	OK          bool         `json:"ok"` // as the hub answered
	Duplicate   bool         `json:"duplicate"`
	Release     store.Digest `json:"release,omitempty"`
	LogIndex    *int64       `json:"log_index,omitempty"`
	PublishedAt string       `json:"published_at,omitempty"`
	Hub         string       `json:"hub,omitempty"`
}

func (r *pushReport) base() *packageReport { return &r.packageReport }

// admit takes what a policy has let through.
func (r *pushReport) admit(p *attest.Publication) {
	release := p.Release().Release()
	doc := p.Document()
	r.describe(&doc)
	r.Release, r.Cksum, r.Manifest = p.Release().Digest(), release.Cksum, release.Files
	r.Checks = append(r.Checks, "release", "quorum", "files", "archive")
}

// Print prints the release's digest, once the hub has said that it has it.
func (r *pushReport) Print(out io.Writer) {
	if r.OK {
		fmt.Fprintln(out, r.Release)
	}
}

// hubSendCommand is how operators bring their results to a hub.
func (a *app) hubSendCommand() *cobra.Command {
	var o hubPublishOptions
	c := a.verb("send RESULTS...", "Send the plan and the statements of results folders to a hub, and see that they are logged",
		`  rebuild hub send results --hub https://hub.example --policy policy.toml --key north.key
  rebuild hub send results --hub http://127.0.0.1:8018 --policy policy.toml --key north.key --patience 10m`,
		cobra.MinimumNArgs(1), func(ctx context.Context, args []string) (result, error) { return a.hubSend(ctx, o, args) })
	o.hubFlags(c)
	c.Flags().StringVarP(&o.policy, "policy", "p", "", "policy.toml")
	return c
}

func (a *app) hubSend(ctx context.Context, o hubPublishOptions, folders []string) (result, error) {
	policy, err := a.readPolicy(o.policy)
	if err != nil {
		return nil, err
	}
	client, end, err := a.hubClient(o.hub, o.key)
	if err != nil {
		return nil, err
	}
	defer end()
	r := sendResult{Hub: client.Base, Plans: []sent{}}
	for _, dir := range folders {
		one, err := a.sendResults(ctx, o, client, policy, dir)
		if err != nil {
			return r, err
		}
		r.Plans = append(r.Plans, *one)
	}
	return r, nil
}

// sendResults sends one plan's results. Of a hub with a log they are withheld
// until a checkpoint covers them; then the chain is written beside the plan, for
// who proposes a release.
func (a *app) sendResults(ctx context.Context, o hubPublishOptions, client *hub.Client, policy *attest.Policy, dir string) (*sent, error) {
	plan, found, err := readResults(dir)
	if err != nil {
		return nil, err
	}
	last, err := client.AddBuild(ctx, &found, func(what string) { a.note("sent %s", oneLine(what)) })
	if err != nil {
		return nil, err
	}
	out := &sent{plan.Digest(), len(found.Statements), last}
	log := policy.Log()
	if log == nil || len(found.Statements) == 0 {
		return out, nil
	}
	if last != nil {
		if _, err := client.Await(ctx, log, *last, o.patience); err != nil {
			return nil, err
		}
	}
	logged, seq, err := loggedBy(ctx, client, policy, found, o.patience)
	if err != nil {
		return nil, err
	}
	out.Seq = &seq
	folder, err := findPlanFolder(dir)
	if err != nil {
		return nil, err
	}
	if err := a.addMissing(folder, logged); err != nil {
		return nil, err
	}
	for name, data := range map[string][]byte{attest.EventsFile: logged.Events, attest.ProofFile: logged.Proof} {
		if err := writeFile("results", filepath.Join(folder, name), data); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// loggedBy returns what a hub's log has about a plan, with the statements of
// others, verified as a whole, and the place of the last of those that were found.
func loggedBy(ctx context.Context, client *hub.Client, policy *attest.Policy, found attest.BuildEvidence, patience time.Duration) (*attest.BuildEvidence, int64, error) {
	var ours []store.Digest
	for _, raw := range found.Statements {
		e, err := attest.ParseEnvelope("statement", raw)
		if err != nil {
			return nil, 0, err
		}
		ours = append(ours, e.Digest())
	}
	out := &attest.BuildEvidence{Plan: found.Plan}
	events, proof, seq, err := client.AwaitStatements(ctx, policy, store.DigestOf(found.Plan), ours, patience)
	if err != nil {
		return nil, 0, err
	}
	out.Events, out.Proof = events, proof
	for n, leaf := range bytes.Split(bytes.TrimSuffix(out.Events, []byte("\n")), []byte("\n")) {
		event, err := attest.DecodeEvent(attest.EventsFile, n+1, leaf)
		if err != nil {
			return nil, 0, err
		}
		if event.Type != attest.EventStatement {
			continue
		}
		raw, err := client.File(ctx, "statements/"+event.Object.Hex()+attest.EnvelopeSuffix, attest.MaxEnvelope)
		if err != nil {
			return nil, 0, err
		}
		out.Statements = append(out.Statements, raw)
	}
	_, err = out.Chain(policy)
	return out, seq, err
}

// sendResult says what was sent where.
type sendResult struct {
	Hub   string `json:"hub"`
	Plans []sent `json:"plans"`
}

type sent struct {
	Plan       store.Digest `json:"plan"`
	Statements int          `json:"statements"`
	Seq        *int64       `json:"seq,omitempty"` // the highest of the statements' leaves
}

// Print prints the plans.
func (r sendResult) Print(out io.Writer) {
	for _, s := range r.Plans {
		fmt.Fprintln(out, s.Plan)
	}
}
