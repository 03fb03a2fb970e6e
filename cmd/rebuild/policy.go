package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"rebuild/attest"
	"rebuild/internal/fault"
	"rebuild/store"
)

// The commands about policies. None of them replaces the policy of whoever
// judges: they read, say and sign, and a person moves the file.

func (a *app) policyCommand() *cobra.Command {
	c := &cobra.Command{Use: "policy", Short: "Check a policy, say what it asks for, sign its next version"}
	c.AddCommand(a.policyCheckCommand(), a.policyExplainCommand(), a.policySignCommand())
	return c
}

func (a *app) policyCheckCommand() *cobra.Command {
	var old, update string
	c := a.verb("check FILE", "Say all that is wrong with a policy, or what a new version of it changes",
		`  rebuild policy check policy.toml
  rebuild policy check next.toml --old policy.toml --update update.dsse.json`, cobra.ExactArgs(1),
		func(_ context.Context, args []string) (result, error) {
			if update != "" && old == "" {
				return nil, fault.New(fault.Usage, "--update without the policy that it updates").WithHint("give --old policy.toml")
			}
			next, err := a.readPolicy(args[0])
			if err != nil {
				return nil, err
			}
			r, err := a.checkPolicy(next)
			if err != nil || old == "" {
				return r, err
			}
			return r, a.checkUpdate(r, next, old, update)
		})
	c.Flags().StringVar(&old, "old", "", "the policy that FILE is the next version of")
	c.Flags().StringVar(&update, "update", "", "envelope in which root keys have signed FILE")
	return c
}

// checkPolicy wants a policy that something can be judged by now.
func (a *app) checkPolicy(p *attest.Policy) (*policyCheckResult, error) {
	e, err := attest.Explain(p, nil, a.now())
	if err != nil {
		return nil, err
	}
	r := &policyCheckResult{Name: p.Name(), Version: p.Version(), Policy: p.Digest(), Warnings: e.Warnings}
	expired := p.CheckAt(a.now())
	for _, w := range e.Warnings {
		if expired == nil || w != expired.Error() { // it is the error then
			a.note("%s", oneLine(w))
		}
	}
	return r, expired
}

// checkUpdate judges the step from an old policy, which may have expired.
func (a *app) checkUpdate(r *policyCheckResult, next *attest.Policy, oldFile, envelope string) error {
	old, err := a.readPolicy(oldFile)
	if err != nil {
		return err
	}
	u, err := attest.NewPolicyUpdate(old, next)
	if err != nil {
		return err
	}
	r.Changes = u.Changes()
	if envelope == "" {
		a.note("not compared with what root keys have signed; give --update")
		return nil
	}
	data, err := a.readInput(envelope, attest.MaxEnvelope)
	if err != nil {
		return err
	}
	r.Root, err = u.Verify(data)
	return err
}

type policyCheckResult struct {
	Name     string                `json:"name"`
	Version  int64                 `json:"version"`
	Policy   store.Digest          `json:"policy"`
	Warnings []string              `json:"warnings,omitempty"`
	Changes  []attest.PolicyChange `json:"changes,omitempty"` // from --old
	Root     []attest.RootAccount  `json:"root,omitempty"`    // who signed --update
}

func (r *policyCheckResult) Print(out io.Writer) {
	fmt.Fprintf(out, "policy %s, version %d, %s\n", r.Name, r.Version, r.Policy)
	for _, c := range r.Changes {
		fmt.Fprintf(out, "  %s\n", oneLine(c.String()))
	}
	for _, s := range r.Root {
		fmt.Fprintf(out, "  %s\n", s)
	}
}

func (a *app) policyExplainCommand() *cobra.Command {
	var results, at string
	c := a.verb("explain FILE", "Say in words what satisfies a policy, and what is missing now",
		`  rebuild policy explain policy.toml
  rebuild policy explain policy.toml --results results`, cobra.ExactArgs(1),
		func(_ context.Context, args []string) (result, error) {
			now, _, err := a.judgingTime(at)
			if err != nil {
				return nil, err
			}
			policy, err := a.readPolicy(args[0])
			if err != nil {
				return nil, err
			}
			e, err := attest.Explain(policy, nil, now)
			if err != nil {
				return nil, err
			}
			if results == "" {
				return explainResult{e}, policy.CheckAt(now)
			}
			v, err := a.judgeResults(policy, results, now)
			if fault.CodeOf(err) == fault.PolicyExpired {
				return explainResult{e}, err
			} else if err != nil {
				return nil, err
			}
			if e, err = attest.Explain(policy, v, now); err != nil {
				return nil, err
			}
			return explainResult{e}, nil
		})
	c.Flags().StringVar(&results, "results", "", "results folder, to say what is missing now")
	c.Flags().StringVar(&at, "at", "", atUsage)
	return c
}

type explainResult struct{ *attest.Explanation }

func (r explainResult) Print(out io.Writer) {
	for _, line := range r.Lines() {
		fmt.Fprintln(out, indented(line))
	}
}

// indented is a line that may quote foreign text, without what is no text.
func indented(line string) string {
	n := 0
	for n < len(line) && line[n] == ' ' {
		n++
	}
	return line[:n] + oneLine(line[n:])
}

func (a *app) policySignCommand() *cobra.Command {
	var old, update, out string
	var keys []string
	c := a.verb("sign NEXT", "Sign the next version of a policy with root keys",
		`  rebuild policy sign next.toml --old policy.toml --key root.key -o update.dsse.json
  rebuild policy sign next.toml --old policy.toml --update one.dsse.json --key other.key -o both.dsse.json`, cobra.ExactArgs(1),
		func(_ context.Context, args []string) (result, error) {
			envelope, root, err := a.signPolicy(args[0], old, update, keys)
			if err != nil {
				return nil, err
			}
			if err := writeOutput(a, out, envelope); err != nil || out == "-" {
				return nil, err
			}
			return policySignResult{out, root}, nil
		})
	f := c.Flags()
	f.StringVar(&old, "old", "", "the policy that NEXT is the next version of")
	f.StringVar(&update, "update", "", "envelope that others have signed, to add to")
	f.StringArrayVar(&keys, "key", nil, "root key file, once for each")
	f.StringVarP(&out, "output", "o", "-", "file to write")
	c.MarkFlagRequired("old")
	return c
}

// signPolicy refuses what policy check refuses, and shows on stderr all that
// is signed for.
func (a *app) signPolicy(nextFile, oldFile, updateFile string, keys []string) ([]byte, []attest.RootAccount, error) {
	next, err := a.readPolicy(nextFile)
	if err != nil {
		return nil, nil, err
	}
	if _, err := a.checkPolicy(next); err != nil {
		return nil, nil, err
	}
	old, err := a.readPolicy(oldFile)
	if err != nil {
		return nil, nil, err
	}
	u, err := attest.NewPolicyUpdate(old, next)
	if err != nil {
		return nil, nil, err
	}
	var held []byte
	if updateFile != "" {
		if held, err = a.readInput(updateFile, attest.MaxEnvelope); err != nil {
			return nil, nil, err
		}
	}
	for _, c := range u.Changes() {
		a.note("%s", oneLine(c.String()))
	}
	signers, err := a.readKeys(keys)
	if err != nil {
		return nil, nil, err
	}
	envelope, err := u.Sign(held, signers...)
	if err != nil {
		return nil, nil, err
	}
	root, _ := u.Verify(envelope) // others may still have to sign
	for _, r := range root {
		a.note("%s", r)
	}
	return envelope, root, nil
}

type policySignResult struct {
	File string               `json:"file"`
	Root []attest.RootAccount `json:"root"`
}

func (r policySignResult) Print(out io.Writer) { fmt.Fprintln(out, r.File) }
