package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rebuild/attest"
	"rebuild/attest/sshkey"
	"rebuild/internal/fault"
	"rebuild/oci"
	"rebuild/store"
)

// The commands that carry evidence to where others keep theirs: a folder after
// the way of guix.sigs, an OCI layout, a registry; and back.

func (a *app) evidenceCommand() *cobra.Command {
	c := &cobra.Command{Use: "evidence", Short: "Hand evidence on in the forms of others"}
	c.AddCommand(a.exportCommand(), a.importCommand())
	return c
}

type exportOptions struct {
	policy    string
	at        string
	guixSigs  string
	oci       string
	image     string
	key       string
	plainHTTP bool
}

func (a *app) exportCommand() *cobra.Command {
	o := exportOptions{}
	c := a.verb("export BUNDLE", "Write a verified release's statements for sha256sum, ssh-keygen or cosign",
		`  rebuild evidence export hello-0.1.0.rbundle --policy policy.toml --guix-sigs sigs --key north.key
  rebuild evidence export hello-0.1.0.rbundle --policy policy.toml --oci registry.example/hello --image image`,
		cobra.ExactArgs(1), func(ctx context.Context, args []string) (result, error) { return a.exportEvidence(ctx, o, args[0]) })
	f := c.Flags()
	f.StringVarP(&o.policy, "policy", "p", "", "policy.toml; a bundle that it does not accept is not exported")
	f.StringVar(&o.guixSigs, "guix-sigs", "", "folder to write VERSION/OPERATOR/all.SHA256SUMS to")
	f.StringVar(&o.oci, "oci", "", "REGISTRY/REPOSITORY or layout folder, to whose images the evidence is attached")
	f.StringVar(&o.image, "image", "", "layout folder with the released images, to push those that are missing (with --oci)")
	f.StringVar(&o.key, "key", "", "operator's key file, to sign that operator's sums (with --guix-sigs)")
	f.StringVar(&o.at, "at", "", atUsage)
	a.plainFlag(c, &o.plainHTTP)
	c.MarkFlagsOneRequired("guix-sigs", "oci")
	c.MarkFlagsMutuallyExclusive("guix-sigs", "oci")
	c.MarkFlagsMutuallyExclusive("guix-sigs", "image")
	c.MarkFlagsMutuallyExclusive("oci", "key")
	return c
}

func (a *app) plainFlag(c *cobra.Command, plain *bool) {
	c.Flags().BoolVar(plain, "insecure-plain-http", false, "speak to the registry without TLS: who is on the way reads and changes all")
}

// verified is a bundle that a policy accepts.
type verified struct {
	policy      *attest.Policy
	data        []byte
	bundle      *attest.Bundle
	release     attest.Release
	digest      store.Digest
	testimonies []attest.Testimony
}

// exportEvidence verifies first, with the same judgement as verify, and then
// writes.
func (a *app) exportEvidence(ctx context.Context, o exportOptions, file string) (result, error) {
	now, asOf, err := a.judgingTime(o.at)
	if err != nil {
		return nil, err
	}
	v, err := a.openVerified(o.policy, file, now)
	if err != nil {
		return nil, err
	}
	if asOf != "" {
		a.note("judged as of %s, not now", asOf)
	}
	if o.guixSigs != "" {
		return a.exportSums(o, v)
	}
	return a.exportOCI(ctx, o, v, now)
}

func (a *app) openVerified(policyFile, file string, now time.Time) (*verified, error) {
	v := &verified{}
	var err error
	if v.policy, err = a.readPolicy(policyFile); err != nil {
		return nil, err
	}
	if v.data, err = a.readInput(file, attest.MaxBundle); err != nil {
		return nil, err
	}
	if v.bundle, err = attest.OpenBundle(file, v.data); err != nil {
		return nil, err
	}
	signed, testimonies, err := attest.Testimonies(v.policy, v.bundle, now)
	if err != nil {
		return nil, err
	}
	v.release, v.digest, v.testimonies = signed.Release(), signed.Digest(), testimonies
	return v, nil
}

// The files of an operator, below VERSION/OPERATOR/. The names are those of
// guix.sigs; what is signed by whom says the name after them.
const (
	sumsFile      = "all.SHA256SUMS"
	sumsSignature = sumsFile + ".sig"
)

// exportSums writes the sums and statements of each operator, and the
// signature of the one whose key is given. What is there with other content is
// refused before anything is written.
func (a *app) exportSums(o exportOptions, v *verified) (result, error) {
	all, err := attest.SumsOf(&v.release, v.testimonies, v.bundle.Objects)
	if err != nil {
		return nil, err
	}
	signer, name, err := a.operatorKey(o.key, v.policy)
	if err != nil {
		return nil, err
	}
	r := sumsResult{Release: v.digest}
	var files []output
	for _, s := range all {
		written, err := sumsOutputs(o.guixSigs, v.release.Version, s)
		if err != nil {
			return nil, err
		}
		if signer != nil && s.Operator == name && len(s.Text) > 0 {
			signature, err := sshkey.Sign(signer, attest.SumsNamespace, s.Text)
			if err != nil {
				return nil, err
			}
			written = append(written, output{filepath.Join(o.guixSigs, v.release.Version, name, sumsSignature), signature})
			r.Signed = name
		}
		files = append(files, written...)
	}
	if signer != nil && r.Signed == "" {
		return nil, fault.New(fault.Usage, "%s has built nothing that this bundle shows, so there is nothing to sign", name).
			WithHint("give the key of one of the operators in the bundle")
	}
	r.Files, err = writeSums(o.guixSigs, files)
	return r, err
}

// operatorKey reads --key, which must be an operator's.
func (a *app) operatorKey(file string, policy *attest.Policy) (attest.Signer, string, error) {
	if file == "" {
		return nil, "", nil
	}
	k, err := a.readKey(file)
	if err != nil {
		return nil, "", err
	}
	name, known := policy.OperatorOf(k.Public())
	if !known {
		return nil, "", fault.New(fault.KeyUnknown, "%s holds key %s, which is no operator's", file, k.Public().Fingerprint()).
			WithHint("give the key of an operator of the policy")
	}
	return k, name, nil
}

func sumsOutputs(dir, version string, s attest.Sums) ([]output, error) {
	folder := path.Join(version, s.Operator)
	if err := realFolders("--guix-sigs", dir, version, folder); err != nil {
		return nil, err
	}
	var out []output
	if len(s.Text) > 0 {
		out = append(out, output{filepath.Join(dir, folder, sumsFile), s.Text})
	}
	for _, t := range s.Statements {
		name := sumsFile + "." + t.Statement.Hex() + attest.EnvelopeSuffix
		out = append(out, output{filepath.Join(dir, folder, name), t.Envelope})
	}
	return out, nil
}

// realFolders refuses a link in the place of a folder: what came from others,
// with git, could lead out. flag led to dir.
func realFolders(flag, dir string, folders ...string) error {
	for _, f := range folders {
		info, err := os.Lstat(filepath.Join(dir, f))
		if err == nil && !info.IsDir() {
			return fault.New(fault.Structure, "it is not a folder").At(filepath.Join(dir, f), 0).WithHint("put the folder itself there")
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return unwritable(flag, err)
		}
	}
	return nil
}

// writeSums writes the files that are missing, unless one is there with other
// content, and returns the paths of all.
func writeSums(dir string, files []output) ([]string, error) {
	var paths []string
	var missing []output
	for _, f := range files {
		needed, err := f.missing()
		if fault.CodeOf(err) == fault.AlreadyPublished {
			return nil, fault.New(fault.AlreadyPublished, "%s is there already, with other content", f.path).
				WithHint("export to another folder and compare: someone said otherwise before")
		}
		if err != nil {
			return nil, err
		}
		if needed {
			missing = append(missing, f)
		}
		paths = append(paths, f.path)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, unwritable("--guix-sigs", err)
	}
	for _, f := range missing {
		if err := writeFile("--guix-sigs", f.path, f.data); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

// sumsResult prints the paths of the files.
type sumsResult struct {
	Release store.Digest `json:"release"`
	Files   []string     `json:"files"`
	Signed  string       `json:"signed,omitempty"` // operator whose sums were signed
}

func (r sumsResult) Print(out io.Writer) {
	for _, f := range r.Files {
		fmt.Fprintln(out, f)
	}
}

func (a *app) exportOCI(ctx context.Context, o exportOptions, v *verified, now time.Time) (result, error) {
	to, err := a.place(o.oci, o.plainHTTP, o.image != "")
	if err != nil {
		return nil, err
	}
	if o.image != "" {
		if err := pushReleased(ctx, to, o.image, v, now); err != nil {
			return nil, err
		}
	}
	images, err := oci.Export(ctx, to, v.release, v.testimonies, v.data)
	if err != nil {
		return nil, err
	}
	for _, i := range images {
		a.note("%s for %s: %d artifacts attached, %d of them new", i.Target, i.Platform, i.Attached, len(i.Added))
	}
	return ociResult{v.digest, o.oci, images}, nil
}

// pushReleased copies the released images from a layout that holds them, all
// of it verified, and nothing else.
func pushReleased(ctx context.Context, to oci.Place, layout string, v *verified, now time.Time) error {
	account, err := attest.Verify(v.policy, v.bundle, attest.Expect{Layouts: []string{layout}}, now)
	if err != nil {
		return err
	}
	from, err := store.Open(layout)
	if err != nil {
		return err
	}
	for _, b := range account.Builds {
		for _, t := range b.Targets {
			if !from.Has(t.Manifest) { // verified: then the layout has no image of this platform
				continue
			}
			if err := oci.PushImages(ctx, to, from, t.Manifest); err != nil {
				return err
			}
		}
	}
	return nil
}

// ociResult prints the images by digest, as cosign and others take them.
type ociResult struct {
	Release store.Digest   `json:"release"`
	Place   string         `json:"place"`
	Images  []oci.Exported `json:"images"`
}

func (r ociResult) Print(out io.Writer) {
	for _, i := range r.Images {
		fmt.Fprintf(out, "%s@%s\n", r.Place, i.Image)
	}
}

// place opens what --oci names: a registry if the first part of it is a host,
// else a folder, which is made only where images will be put into it.
func (a *app) place(name string, plain, make bool) (oci.Place, error) {
	if !isRegistry(name) {
		if _, err := os.Stat(filepath.Join(name, "oci-layout")); err != nil && !make {
			return nil, fault.New(fault.Usage, "%s is no image layout: %w", name, err).
				WithHint("name a layout that is there, or a registry as HOST/REPOSITORY")
		}
		return oci.OpenLayout(name)
	}
	if plain {
		fmt.Fprintln(a.stderr, "rebuild: warning: --insecure-plain-http speaks to the registry without TLS") // --quiet does not hide it
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = 2 * time.Minute
	return oci.OpenRegistry(name, oci.Access{
		Client:       &http.Client{Transport: transport, Timeout: time.Hour}, // for one request, however slow
		DockerConfig: a.dockerConfig(), PlainHTTP: plain, UserAgent: "rebuild/" + version,
	})
}

// isRegistry tells REGISTRY/REPOSITORY from a folder by its host, as docker does.
func isRegistry(name string) bool {
	host, _, slash := strings.Cut(name, "/")
	if !slash || strings.HasPrefix(host, ".") || host == "" {
		return false
	}
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return false
	}
	return host == "localhost" || strings.ContainsAny(host, ".:")
}

// dockerConfig is where docker login keeps credentials.
func (a *app) dockerConfig() string {
	if dir := a.getenv("DOCKER_CONFIG"); dir != "" {
		return filepath.Join(dir, "config.json")
	}
	if home := a.getenv("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".docker", "config.json")
	}
	return ""
}

func (a *app) importCommand() *cobra.Command {
	var out string
	var plans []string
	var plain bool
	c := a.verb("import PLACE@DIGEST", "Collect what is attached to an image into a results folder, unverified",
		`  rebuild evidence import registry.example/hello@sha256:... --out results
  rebuild compare results --policy policy.toml`,
		cobra.ExactArgs(1), func(ctx context.Context, args []string) (result, error) {
			return a.importEvidence(ctx, args[0], out, plans, plain)
		})
	c.Flags().StringVar(&out, "out", "results", "results folder to add the statements to")
	c.Flags().StringArrayVar(&plans, "plan", nil, "plan.json of statements to which no .rbundle is attached; once for each")
	a.plainFlag(c, &plain)
	return c
}

// importEvidence files what refers to an image as its author would have.
func (a *app) importEvidence(ctx context.Context, reference, out string, planFiles []string, plain bool) (result, error) {
	name, text, ok := strings.Cut(reference, "@")
	if !ok {
		return nil, fault.New(fault.Usage, "%q names no image", reference).WithHint("write PLACE@sha256:... with the digest of the image")
	}
	image, err := store.ParseDigest(text)
	if err != nil {
		return nil, err
	}
	from, err := a.place(name, plain, false)
	if err != nil {
		return nil, err
	}
	found, err := oci.Find(ctx, from, image)
	if err != nil {
		return nil, err
	}
	i := &importer{plans: map[store.Digest][]byte{}}
	for _, file := range planFiles {
		plan, err := a.readInput(file, maxPlan)
		if err != nil {
			return nil, err
		}
		i.plans[store.DigestOf(plan)] = plan
	}
	for _, artifact := range found {
		if err := i.take(artifact); err != nil {
			return nil, err
		}
	}
	return i.write(a, out)
}

// importer gathers plans and envelopes.
type importer struct {
	plans     map[store.Digest][]byte
	envelopes [][]byte
	other     int // Sigstore bundles of something else
}

// take takes one artifact. A Sigstore bundle of something else than a
// statement is another tool's, and counted.
func (i *importer) take(artifact oci.Artifact) error {
	if artifact.Type == oci.TypeStatement {
		e, err := artifact.Envelope()
		if err != nil {
			i.other++
			return nil
		}
		i.envelopes = append(i.envelopes, e)
		return nil
	}
	b, err := attest.OpenBundle("attached bundle "+artifact.Title, artifact.Content)
	if err != nil {
		return err
	}
	for _, build := range b.Builds {
		i.plans[store.DigestOf(build.Plan)] = build.Plan
		i.envelopes = append(i.envelopes, build.Statements...)
	}
	return nil
}

// write files every envelope under its plan and operator, as it names them.
func (i *importer) write(a *app, out string) (result, error) {
	var r importResult
	if len(i.envelopes) > maxStatements {
		return nil, fault.New(fault.Structure, "more than %d statements are attached, no more are filed", maxStatements)
	}
	filed := map[string]bool{}
	for _, raw := range i.envelopes {
		claim, err := attest.ReadClaim(raw)
		if err != nil {
			i.other++
			continue
		}
		planJSON, ok := i.plans[claim.Plan]
		if !ok {
			return nil, fault.New(fault.FileMissing, "statement %s is about plan %s, which is not attached", claim.Statement, claim.Plan).
				WithHint("give the plan with --plan plan.json")
		}
		plan, err := attest.DecodePlan("plan "+string(claim.Plan), planJSON)
		if err != nil {
			return nil, err
		}
		path, err := addStatement(out, plan, planJSON, claim.Operator, raw)
		if err != nil {
			return nil, err
		}
		if !filed[path] {
			r.Files = append(r.Files, path)
		}
		filed[path] = true
	}
	if i.other > 0 {
		a.note("%d attached documents are no statements of a build and were left out", i.other)
	}
	if len(r.Files) == 0 {
		return nil, fault.New(fault.FileMissing, "no statement is attached to the image").
			WithHint("name the place that rebuild evidence export wrote to")
	}
	a.note("nothing of this is verified: judge it with rebuild compare")
	return r, nil
}

// addStatement files one statement, and refuses to replace another under its name.
func addStatement(out string, plan *attest.Plan, planJSON []byte, operator string, raw []byte) (string, error) {
	e, err := attest.ParseEnvelope("statement", raw)
	if err != nil {
		return "", err
	}
	held := output{filepath.Join(planFolder(out, plan), operator, e.Digest().Hex()+attest.EnvelopeSuffix), raw}
	if _, err := held.missing(); err != nil {
		return "", fault.New(fault.EvidenceMismatch, "%s is there already, under other signatures", held.path).
			WithHint("import to another folder and compare")
	}
	return writeStatement(out, plan, planJSON, operator, e)
}

// importResult prints the paths of the statements.
type importResult struct {
	Files []string `json:"files"`
}

func (r importResult) Print(out io.Writer) {
	for _, f := range r.Files {
		fmt.Fprintln(out, f)
	}
}
