package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"rebuild/attest"
	"rebuild/engine"
	"rebuild/index"
	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/store"
)

// The commands of trust: statements, the verdict over them.

func (a *app) attestCommand() *cobra.Command {
	var key, operator, out, platform string
	c := a.verb("attest", "Sign the result of the last run as one operator's statement", `  rebuild attest --operator north --key north.key --out results`,
		cobra.NoArgs, func(ctx context.Context, _ []string) (result, error) {
			at, plan, report, err := a.lastRun(platform)
			if err != nil {
				return nil, err
			}
			signer, err := a.readKey(key)
			if err != nil {
				return nil, err
			}
			return a.attest(at, plan, report, operator, signer, out)
		})
	f := c.Flags()
	f.StringVar(&key, "key", "", "operator's key file")
	f.StringVar(&operator, "operator", "", "operator's name, as in the policy")
	f.StringVar(&out, "out", "results", "results folder to add the statement to")
	f.StringVar(&platform, "platform", "", "platform, if the pipeline has several")
	c.MarkFlagRequired("key")
	c.MarkFlagRequired("operator")
	return c
}

// attest signs what a run got and puts it into the results folder, then the
// provenance of it, and only then marks the records as covered by it.
func (a *app) attest(at places, plan *pipeline.Plan, report *pipeline.Report, operator string, signer attest.Signer, out string) (result, error) {
	if err := pipeline.CheckOperator(at.state, operator); err != nil {
		return nil, err
	}
	nonce, err := attest.NewNonce(a.random)
	if err != nil {
		return nil, err
	}
	r, err := pipeline.ResultOf(report, operator, nonce)
	if err != nil {
		return nil, err
	}
	if r.Outcome == attest.OutcomeBuilt {
		if r.Lineage, err = lineageOf(at, plan, report); err != nil {
			return nil, err
		}
	}
	objects, err := lineageText(at, r.Lineage)
	if err != nil {
		return nil, err
	}
	envelope, err := signResult(&plan.Doc, r, signer)
	if err != nil {
		return nil, err
	}
	path, err := writeStatement(out, &plan.Doc, plan.JSON, operator, envelope, objects...)
	if err != nil {
		return nil, err
	}
	provenance, err := writeProvenance(out, &plan.Doc, operator, signer)
	if err != nil {
		return nil, err
	}
	if err := pipeline.MarkCovered(at.state, report, envelope.Digest(), operator); err != nil {
		return nil, err
	}
	return attestResult{envelope.Digest(), provenance[envelope.Digest()], path, plan.Digest, r.Outcome, newKeyResult(signer.Public())}, nil
}

func signResult(plan *attest.Plan, r attest.Result, signer attest.Signer) (*attest.Envelope, error) {
	payload, err := attest.NewResultStatement(plan, r)
	if err != nil {
		return nil, err
	}
	signed, err := attest.Sign(payload, signer)
	if err != nil {
		return nil, err
	}
	return attest.ParseEnvelope("statement", signed)
}

type attestResult struct {
	Statement  store.Digest `json:"statement"`
	Provenance store.Digest `json:"provenance,omitempty"` // "" unless built
	File       string       `json:"file"`
	Plan       store.Digest `json:"plan"`
	Outcome    string       `json:"outcome"`
	Key        keyResult    `json:"key"`
}

func (r attestResult) Print(out io.Writer) { fmt.Fprintln(out, r.Statement) }

func (a *app) readPolicy(path string) (*attest.Policy, error) {
	if path == "" {
		return nil, fault.New(fault.Usage, "no policy: nothing is trusted without one").WithHint("give --policy policy.toml")
	}
	data, err := a.readInput(path, maxDocument)
	if err != nil {
		return nil, err
	}
	policy, err := attest.LoadPolicy(path, data)
	return policy, mistaken(err, aPolicy, path, data)
}

func (a *app) compareCommand() *cobra.Command {
	var policyFile, at string
	var states []string
	vsa := &vsaOptions{}
	c := a.verb("compare RESULTS", "Judge what rebuilders got by a policy", `  rebuild compare results --policy policy.toml
  rebuild compare results --policy policy.toml --tree-from north/state --tree-from south/state
  rebuild compare results --policy policy.toml --vsa vsa.dsse.json --key verifier.key --verifier us`, cobra.ExactArgs(1),
		func(_ context.Context, args []string) (result, error) {
			now, asOf, err := a.judgingTime(at)
			if err != nil {
				return nil, err
			}
			if err := a.prepareVSA(vsa, asOf); err != nil {
				return nil, err
			}
			policy, err := a.readPolicy(policyFile)
			if err != nil {
				return nil, err
			}
			v, err := a.judgeResults(policy, args[0], now)
			if err != nil {
				return nil, err
			}
			here, err := a.places()
			if err != nil {
				return nil, err
			}
			r := newCompareResult(v, treeStores(append([]string{here.state}, states...)))
			r.AsOf = asOf
			r.VSA, err = vsa.writeVSA(v.Err(), func() ([]byte, error) { return attest.NewVerdictVSA(policy, v, vsa.by(), now) })
			return r, a.first(v.Err(), err)
		})
	c.Flags().StringVarP(&policyFile, "policy", "p", "", "policy.toml")
	c.Flags().StringVar(&at, "at", "", atUsage)
	c.Flags().StringArrayVar(&states, "tree-from", nil, "state root to look for differing trees in, beside --state")
	vsa.flags(c)
	return c
}

// judgeResults judges a results folder, with the log that it has.
func (a *app) judgeResults(policy *attest.Policy, dir string, now time.Time) (*attest.Verdict, error) {
	plan, found, err := readResults(dir)
	if err != nil {
		return nil, err
	}
	a.withoutLog(policy, dir, &found)
	chain, err := found.Chain(policy)
	if err != nil {
		return nil, err
	}
	return attest.Judge(policy, plan, found.Statements, chain, nil, now)
}

const atUsage = "judge as of this time, such as 2026-01-31T12:00:00Z (default: now)"

// judgingTime reads --at: the time to judge at, and its text if it is not now,
// which is never left unsaid.
func (a *app) judgingTime(at string) (now time.Time, asOf string, err error) {
	if at == "" {
		return a.now(), "", nil
	}
	t, err := time.Parse(time.RFC3339, at)
	if err != nil {
		return t, "", fault.New(fault.Usage, "--at %q is not a time of RFC 3339", at).WithHint("write it like --at 2026-01-31T12:00:00Z")
	}
	asOf = t.UTC().Format(time.RFC3339)
	a.note("judged as of %s", asOf)
	return t, asOf, nil
}

func treeStores(states []string) []string {
	var dirs []string
	for _, s := range states {
		dirs = append(dirs, pipeline.StoreDir(s))
	}
	return dirs
}

// compareResult is a verdict, put into words.
type compareResult struct {
	Plan           store.Digest              `json:"plan"`
	Policy         store.Digest              `json:"policy"`
	AsOf           string                    `json:"judged_as_of,omitempty"` // unless now
	State          attest.State              `json:"state"`
	Outputs        store.Digest              `json:"outputs,omitempty"`
	Targets        []attest.ReleaseTarget    `json:"targets,omitempty"` // if met
	Operators      []attest.OperatorAccount  `json:"operators"`
	Statements     []attest.StatementAccount `json:"statements"`
	Contradictions []attest.Contradiction    `json:"contradictions,omitempty"`
	Shortfalls     []attest.Shortfall        `json:"shortfalls,omitempty"`
	VSA            *vsaResult                `json:"vsa,omitempty"`
	Difference     *difference               `json:"first_difference,omitempty"`
	Log            *attest.LogAccount        `json:"log,omitempty"`
}

type difference struct {
	Stage string `json:"stage"`
	Path  string `json:"path"`
	What  string `json:"what"`
	A     string `json:"a,omitempty"`
	B     string `json:"b,omitempty"`
}

func newCompareResult(v *attest.Verdict, stores []string) compareResult {
	r := compareResult{
		Plan: v.Plan(), Policy: v.Policy(), State: v.State(), Outputs: v.Outputs(), Operators: v.Operators(),
		Statements: v.Statements(), Contradictions: v.Contradictions(), Shortfalls: v.Shortfalls(), Log: v.Log(),
	}
	if met, err := v.Met(); err == nil {
		r.Targets = met.Targets()
	}
	for _, c := range r.Contradictions {
		if len(c.Values) < 2 {
			continue
		}
		if d, ok := firstDifference(stores, c.Values[0].Tree, c.Values[1].Tree); ok {
			r.Difference = &difference{c.Stage, d.Path, d.What, d.A, d.B}
			break
		}
	}
	return r
}

func (r compareResult) Print(out io.Writer) {
	fmt.Fprintf(out, "%s  plan %s\n", r.State, r.Plan)
	for _, t := range r.Targets {
		fmt.Fprintf(out, "  %s: tree %s, manifest %s\n", t.Name, t.Tree, t.Manifest)
	}
	if r.Log != nil {
		fmt.Fprintf(out, "  %s\n", r.Log)
	}
	for _, o := range r.Operators {
		mark := "does not count"
		if o.Counted {
			mark = "counts"
		}
		line := fmt.Sprintf("  %-12s %-15s", o.Operator, mark)
		if o.Outputs != "" {
			line += " outputs " + short(o.Outputs)
		}
		if o.Why != "" {
			line += "  " + o.Why
		}
		fmt.Fprintln(out, strings.TrimRight(line, " "))
	}
	for _, s := range attest.Unjudged(r.Statements) {
		fmt.Fprintf(out, "  %s\n", oneLine(s.String()))
	}
	for _, c := range r.Contradictions {
		fmt.Fprintf(out, "  %s\n", c)
		printStatements(out, c)
	}
	if d := r.Difference; d != nil {
		fmt.Fprintf(out, "  first difference: stage %s, file %s (%s)\n", d.Stage, oneLine(d.Path), d.What)
	}
	for _, s := range r.Shortfalls {
		fmt.Fprintf(out, "  %s\n", s)
	}
	r.VSA.Print(out)
}

// printStatements names the statements of a contradiction, which is what a
// waiver takes.
func printStatements(out io.Writer, c attest.Contradiction) {
	for _, v := range c.Values {
		for i, s := range v.Statements {
			fmt.Fprintf(out, "    %s says so in %s\n", v.Operators[i], s)
		}
	}
}

// short abbreviates a digest for tables, where the full one stands elsewhere.
func short(d store.Digest) string {
	if h := d.Hex(); len(h) >= 12 {
		return h[:12]
	}
	return string(d)
}

func (a *app) verifyCommand() *cobra.Command {
	o := verifyOptions{vsa: &vsaOptions{}}
	c := a.verb("verify BUNDLE|FOLDER [NAME[@VERSION]]", "Judge a release offline, with one file and one policy",
		`  rebuild verify sha256sum-1.0.0.rbundle --policy policy.toml sha256sum@1.0.0
  rebuild verify sha256sum-1.0.0.rbundle --policy policy.toml --artifact sha256sum-1.0.0.tar
  rebuild verify bundles --policy policy.toml`, cobra.RangeArgs(1, 2),
		func(ctx context.Context, args []string) (result, error) { return a.verify(ctx, o, args[0], args[1:]) })
	f := c.Flags()
	f.StringVarP(&o.policy, "policy", "p", "", "policy.toml")
	f.StringArrayVar(&o.artifacts, "artifact", nil, "package archive or OCI layout that must be what was released; once for each")
	f.StringVar(&o.index, "index", "", "index whose entry must name this release: a folder or URL")
	f.StringVar(&o.at, "at", "", atUsage)
	f.BoolVar(&o.offline, "offline", false, "ask no server for --index either; the bundle itself is always judged offline")
	o.vsa.flags(c)
	return c
}

type verifyOptions struct {
	policy    string
	artifacts []string
	index     string
	offline   bool
	at        string
	vsa       *vsaOptions
}

func (a *app) verify(ctx context.Context, o verifyOptions, file string, reference []string) (result, error) {
	now, asOf, err := a.judgingTime(o.at)
	if err != nil {
		return nil, err
	}
	if isFolder(file) {
		return a.verifyFolder(o, file, reference, now)
	}
	if err := a.prepareVSA(o.vsa, asOf); err != nil {
		return nil, err
	}
	expect, err := expectation(reference, o.artifacts)
	defer closeFiles(expect)
	if err != nil {
		return nil, err
	}
	policy, err := a.readPolicy(o.policy)
	if err != nil {
		return nil, err
	}
	in, err := a.openLarge(file, attest.MaxBundle)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	b, err := readBundle(policy, file, in)
	if err != nil {
		return nil, err
	}
	summarise := func() ([]byte, error) { return attest.NewReleaseVSA(policy, b, o.vsa.by(), now) }
	account, err := attest.Verify(policy, b, expect, now)
	if err != nil {
		_, unwritten := o.vsa.writeVSA(err, summarise)
		return nil, a.first(err, unwritten)
	}
	if o.index != "" {
		if err := a.verifyEntry(ctx, policy, b, account, o.index, opening{now, o.offline}); err != nil {
			return nil, err
		}
		account.Compared = append(account.Compared, "index entry in "+o.index)
	}
	if asOf != "" {
		account.Notes = append(account.Notes, "judged as of "+asOf+", not now")
	}
	written, err := o.vsa.writeVSA(nil, summarise)
	return verifyResult{account, written}, err
}

// expectation says what the bundle must be about: a name, if one is given, and
// every artifact.
func expectation(reference, artifacts []string) (attest.Expect, error) {
	var e attest.Expect
	for _, r := range reference { // at most one
		var err error
		if e.Name, e.Version, err = index.SplitReference(r); err != nil {
			return e, fault.New(fault.Usage, "%q is not NAME or NAME@VERSION: %w", r, err).
				WithHint("leave it out to verify whatever the bundle holds")
		}
	}
	for _, path := range artifacts {
		info, err := os.Stat(path)
		if err != nil {
			return e, unread("--artifact "+path, err)
		}
		if info.IsDir() {
			e.Layouts = append(e.Layouts, path)
			continue
		}
		archive, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		in, err := largeRegular(archive, err, path, attest.MaxArchive)
		if err != nil {
			return e, err
		}
		e.Files = append(e.Files, in)
	}
	return e, nil
}

func closeFiles(e attest.Expect) {
	for _, f := range e.Files {
		f.(io.Closer).Close()
	}
}

type verifyResult struct {
	*attest.Account
	VSA *vsaResult `json:"vsa,omitempty"`
}

func (r verifyResult) Print(out io.Writer) {
	for _, line := range r.Lines() {
		if kept := strings.TrimLeft(line, " "); kept != "" { // reasons of waivers are free text
			fmt.Fprintln(out, line[:len(line)-len(kept)]+oneLine(kept))
		}
	}
	r.VSA.Print(out)
}

func (a *app) doctorCommand() *cobra.Command {
	return a.verb("doctor", "Say whether this machine can build, and what to do if not", "  rebuild doctor",
		cobra.NoArgs, func(ctx context.Context, _ []string) (result, error) {
			at, err := a.places()
			if err != nil {
				return nil, err
			}
			e := a.engine(at, 0, engine.Variation{}, nil)
			defer e.Close()
			found, err := e.Doctor(ctx)
			return doctorResult{found}, err
		})
}

type doctorResult struct {
	Findings []engine.Finding `json:"findings"`
}

func (r doctorResult) Print(out io.Writer) {
	for _, f := range r.Findings {
		fmt.Fprintf(out, "%-8s %s\n", f.Level, f.Text)
		if f.Hint != "" {
			fmt.Fprintf(out, "%-8s %s\n", "", f.Hint)
		}
	}
}
