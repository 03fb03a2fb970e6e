package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
	"golang.org/x/term"

	"rebuild/attest"
	"rebuild/attest/sshkey"
	"rebuild/internal/fault"
)

// Keys: where they come from, and the commands about them. A key is a file, or
// stays in an ssh-agent and perhaps in a token behind it. No passphrase is ever
// an argument or in the environment, where other programs could read it.

// agentPrefix begins the name of a key in an ssh-agent. A file of such a name
// is given with ./ before it.
const agentPrefix = "agent:"

// keyring is where one invocation gets keys and passphrases from.
type keyring struct {
	fd          int // to read passphrases from, -1: ask
	passphrases *bufio.Reader
	agent       agent.Agent              // nil until one is needed
	opened      map[string]attest.Signer // by the name that a flag gave
	said        map[string]bool          // which of them
}

// flags gives every command that takes a key the flag for its passphrase, and
// says that the key may be in an agent.
func (k *keyring) flags(c *cobra.Command) {
	k.fd = -1
	for _, sub := range c.Commands() {
		k.flags(sub)
	}
	takes := c.Annotations["key"] != ""
	for _, name := range []string{"key", "index-key", "log-key"} {
		if f := c.Flags().Lookup(name); f != nil {
			f.Usage += "; or agent:SHA256:... for a key in ssh-agent"
			takes = true
		}
	}
	if takes {
		c.Flags().IntVar(&k.fd, "passphrase-fd", -1, "file descriptor with passphrases, a line for each encrypted key in order")
	}
}

// readsKey marks a command that takes a key as an argument.
func readsKey(c *cobra.Command) *cobra.Command {
	c.Annotations = map[string]string{"key": "true"}
	return c
}

// readKey gets the key that a flag names, and says on stderr which it is. One
// that a command needs twice is opened once, and its passphrase asked for once.
func (a *app) readKey(name string) (attest.Signer, error) {
	k, err := a.openKey(name)
	if err != nil {
		return nil, err
	}
	if !a.keys.said[name] {
		a.note("key %s of %s", k.Public().Fingerprint(), oneLine(name))
		a.keys.said[name] = true
	}
	return k, nil
}

// openKey is readKey, and says nothing.
func (a *app) openKey(name string) (attest.Signer, error) {
	if k := a.keys.opened[name]; k != nil {
		return k, nil
	}
	k, err := a.getKey(name)
	if err != nil {
		return nil, err
	}
	if a.keys.opened == nil {
		a.keys.opened, a.keys.said = map[string]attest.Signer{}, map[string]bool{}
	}
	a.keys.opened[name] = k
	return k, nil
}

func (a *app) getKey(name string) (attest.Signer, error) {
	if which, ok := strings.CutPrefix(name, agentPrefix); ok {
		ag, err := a.sshAgent()
		if err != nil {
			return nil, err
		}
		k, err := sshkey.NewAgentSigner(ag, which)
		if err != nil {
			return nil, err // not a nil pointer in an interface
		}
		return k, nil
	}
	k, err := sshkey.ReadFile(name, func() ([]byte, error) { return a.passphrase("passphrase of " + oneLine(name) + ": ") })
	if err != nil {
		return nil, err
	}
	return k, nil
}

func (a *app) readKeys(paths []string) ([]attest.Signer, error) {
	var signers []attest.Signer
	for _, p := range paths {
		k, err := a.readKey(p)
		if err != nil {
			return nil, err
		}
		for _, other := range signers {
			if other.Public() == k.Public() {
				return nil, fault.New(fault.Usage, "%s holds a key that was given before, %s", p, k.Public().Fingerprint()).WithHint("give each key once")
			}
		}
		signers = append(signers, k)
	}
	if len(signers) == 0 {
		return nil, fault.New(fault.Usage, "no key to sign with").WithHint("give --key FILE, once for each key")
	}
	return signers, nil
}

// sshAgent connects to the agent that the environment names. The connection
// lasts as long as the command.
func (a *app) sshAgent() (agent.Agent, error) {
	if a.keys.agent != nil {
		return a.keys.agent, nil
	}
	path := a.getenv("SSH_AUTH_SOCK")
	if path == "" {
		return nil, fault.New(fault.Usage, "there is no ssh-agent: SSH_AUTH_SOCK is not set").
			WithHint("start one with eval $(ssh-agent) and add a key with ssh-add, or give a key file")
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		return nil, fault.New(fault.Usage, "the ssh-agent at SSH_AUTH_SOCK does not answer: %w", err).
			WithHint("start one with eval $(ssh-agent) and add a key with ssh-add, or give a key file")
	}
	a.keys.agent = agent.NewClient(conn)
	return a.keys.agent, nil
}

// passphrase gets the passphrase of one encrypted key.
func (a *app) passphrase(prompt string) ([]byte, error) {
	if a.keys.fd >= 0 {
		return a.nextPassphrase()
	}
	if !term.IsTerminal(int(a.stdin.Fd())) {
		return nil, fault.New(fault.Usage, "the key is encrypted and there is no terminal to ask on").
			WithHint("give the passphrase with --passphrase-fd N, or add the key to an agent and name it agent:SHA256:...")
	}
	fmt.Fprint(a.stderr, prompt)
	secret, err := term.ReadPassword(int(a.stdin.Fd()))
	fmt.Fprintln(a.stderr)
	return secret, err
}

// maxPassphrase is the longest line that is read as a passphrase.
const maxPassphrase = 1024

// nextPassphrase reads a line from the descriptor. Errors never quote it.
func (a *app) nextPassphrase() ([]byte, error) {
	if a.keys.passphrases == nil {
		f, err := passphraseFile(a.keys.fd)
		if err != nil {
			return nil, err
		}
		a.keys.passphrases = bufio.NewReaderSize(f, maxPassphrase+1)
	}
	line, err := a.keys.passphrases.ReadSlice('\n')
	secret := bytes.Clone(bytes.TrimSuffix(line, []byte("\n")))
	switch {
	case errors.Is(err, bufio.ErrBufferFull), len(secret) > maxPassphrase:
		return nil, fault.New(fault.Usage, "a line of --passphrase-fd has more than %d bytes", maxPassphrase).
			WithHint("write one line for each encrypted key, in the order of the keys")
	case err != nil && !errors.Is(err, io.EOF):
		return nil, fault.New(fault.Usage, "--passphrase-fd %d: %w", a.keys.fd, cause(err)).
			WithHint("open it for reading in the shell, such as --passphrase-fd 3 3<FILE")
	case len(secret) == 0:
		return nil, fault.New(fault.Usage, "--passphrase-fd %d has no passphrase for this key", a.keys.fd).
			WithHint("write one line for each encrypted key, in the order of the keys")
	}
	return secret, nil
}

// passphraseFile opens a descriptor that the caller handed over. What is none
// of theirs, such as one of our own runtime's, is neither a file nor a pipe.
func passphraseFile(fd int) (*os.File, error) {
	f := os.NewFile(uintptr(fd), "passphrase")
	bad := fault.New(fault.Usage, "--passphrase-fd %d is not an open file or pipe", fd).
		WithHint("open it in the shell, such as --passphrase-fd 3 3<FILE")
	if f == nil || fd == 1 || fd == 2 {
		return nil, bad
	}
	info, err := f.Stat()
	if err != nil {
		return nil, bad
	}
	if m := info.Mode(); !m.IsRegular() && m&(fs.ModeNamedPipe|fs.ModeSocket|fs.ModeCharDevice) == 0 {
		return nil, bad
	}
	return f, nil
}

func (a *app) newPassphrase() ([]byte, error) {
	first, err := a.passphrase("new passphrase: ")
	if err != nil || a.keys.fd >= 0 {
		return first, err
	}
	if len(first) == 0 {
		return nil, fault.New(fault.Usage, "the passphrase is empty").WithHint("leave --passphrase out for a key without one")
	}
	again, err := a.passphrase("once more: ")
	if err == nil && string(first) != string(again) {
		err = fault.New(fault.Usage, "the passphrases differ").WithHint("run the command again")
	}
	return first, err
}

func (a *app) keyCommand() *cobra.Command {
	c := &cobra.Command{Use: "key", Short: "Make, show and list signing keys, and replace them in a policy"}
	c.AddCommand(a.keyNewCommand(), a.keyShowCommand(), a.keyListCommand(), a.keyRotateCommand(), a.keyRevokeCommand())
	return c
}

func (a *app) keyNewCommand() *cobra.Command {
	var encrypt bool
	var comment string
	var form keyForm
	c := readsKey(a.verb("new FILE", "Make an ed25519 key in an OpenSSH key file", `  rebuild key new north.key
  rebuild key new --passphrase north.key`, cobra.ExactArgs(1), func(_ context.Context, args []string) (result, error) {
		if err := form.check(); err != nil {
			return nil, err
		}
		k, err := attest.NewPrivateKey(a.random)
		if err != nil {
			return nil, err
		}
		var secret []byte
		if encrypt || a.keys.fd >= 0 {
			if secret, err = a.newPassphrase(); err != nil {
				return nil, err
			}
		}
		err = sshkey.WriteFile(args[0], k, comment, secret)
		clear(secret)
		if err != nil {
			return nil, err
		}
		return a.shown(k.Public(), form, comment), nil
	}))
	c.Flags().BoolVar(&encrypt, "passphrase", false, "encrypt the file; the passphrase is asked on the terminal")
	c.Flags().StringVar(&comment, "comment", "", "comment in the file")
	form.flags(c)
	return c
}

func (a *app) keyShowCommand() *cobra.Command {
	var form keyForm
	c := readsKey(a.verb("show KEY", "Print a public key, given as a file, an ssh-agent's key or a text", `  rebuild key show north.key
  rebuild key show --pem agent:
  rebuild key show --ssh RjwvXpLdzFf5pBPMCBx4ar0J9ZHJ2PtdgZsRPPmAXmE=`, cobra.ExactArgs(1), func(_ context.Context, args []string) (result, error) {
		if err := form.check(); err != nil {
			return nil, err
		}
		k, err := a.publicKey(args[0])
		if err != nil {
			return nil, err
		}
		return a.shown(k, form, ""), nil
	}))
	form.flags(c)
	return c
}

// keyForm is how a public key is printed.
type keyForm struct{ ssh, pem bool }

func (f *keyForm) flags(c *cobra.Command) {
	c.Flags().BoolVar(&f.ssh, "ssh", false, "print a line of an authorized_keys file")
	c.Flags().BoolVar(&f.pem, "pem", false, "print PEM, as cosign verifies with")
}

func (f *keyForm) check() error {
	if f.ssh && f.pem {
		return fault.New(fault.Usage, "--ssh and --pem are two forms").WithHint("give one of them")
	}
	return nil
}

func (f *keyForm) text(k attest.PublicKey, comment string) string {
	switch {
	case f.ssh:
		p, err := ssh.NewPublicKey(ed25519.PublicKey(k[:]))
		if err != nil {
			return k.String() // the length is right, so this does not happen
		}
		line := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(p)))
		return strings.TrimSpace(line + " " + oneLine(comment))
	case f.pem:
		der, err := x509.MarshalPKIXPublicKey(ed25519.PublicKey(k[:]))
		if err != nil {
			return k.String()
		}
		return strings.TrimSpace(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	}
	return k.String()
}

// shown is a key as the result of a command, with its fingerprint on stderr.
func (a *app) shown(k attest.PublicKey, form keyForm, comment string) result {
	a.note("fingerprint %s", k.Fingerprint())
	r := newKeyResult(k)
	r.text = form.text(k, comment)
	return r
}

// keyResult prints the text that goes into policy.toml, or another form.
type keyResult struct {
	Key         string       `json:"key"`
	KeyID       attest.KeyID `json:"key_id"`
	Fingerprint string       `json:"fingerprint"`
	text        string
}

func newKeyResult(k attest.PublicKey) keyResult {
	return keyResult{k.String(), k.ID(), k.Fingerprint(), k.String()}
}

func (r keyResult) Print(out io.Writer) { fmt.Fprintln(out, r.text) }

func (a *app) keyListCommand() *cobra.Command {
	var policyFile string
	c := a.verb("list", "List the keys in ssh-agent, and those of a policy", `  rebuild key list
  rebuild key list --policy policy.toml --json`, cobra.NoArgs, func(context.Context, []string) (result, error) {
		var r keyListResult
		var policy *attest.Policy
		if policyFile != "" {
			var err error
			if policy, err = a.readPolicy(policyFile); err != nil {
				return nil, err
			}
			r.Policy = policy.Keys(a.now())
		}
		held, err := a.agentKeys()
		switch {
		case err != nil && policy == nil:
			return nil, err
		case err != nil:
			a.note("no keys of an agent: %s", oneLine(err.Error()))
		}
		for _, k := range held {
			r.Agent = append(r.Agent, agentKeyResult{newKeyResult(k.Key), k.Comment, roleOf(r.Policy, k.Key)})
		}
		return r, nil
	})
	c.Flags().StringVarP(&policyFile, "policy", "p", "", "policy.toml")
	return c
}

func (a *app) agentKeys() ([]sshkey.AgentKey, error) {
	ag, err := a.sshAgent()
	if err != nil {
		return nil, err
	}
	return sshkey.AgentKeys(ag)
}

// roleOf says what a policy knows a key as, "" if nothing.
func roleOf(known []attest.KeyAccount, k attest.PublicKey) string {
	for _, a := range known {
		if a.Key == k.String() {
			return strings.TrimSpace(a.Role + " " + a.Name)
		}
	}
	return ""
}

type keyListResult struct {
	Agent  []agentKeyResult    `json:"agent,omitempty"`
	Policy []attest.KeyAccount `json:"policy,omitempty"`
}

type agentKeyResult struct {
	keyResult
	Comment string `json:"comment,omitempty"` // the agent's word
	Role    string `json:"role,omitempty"`    // in the policy
}

func (r keyListResult) Print(out io.Writer) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer w.Flush()
	if len(r.Agent)+len(r.Policy) > 0 {
		fmt.Fprintln(w, "ROLE\tNAME\tFINGERPRINT\tFROM\tUNTIL\tNOW")
	}
	for _, k := range r.Policy {
		now := "counts"
		if !k.Counts {
			now = "does not count"
		}
		if k.Why != "" {
			now += ": " + k.Why
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", k.Role, dash(oneLine(k.Name)), k.Fingerprint, dash(k.NotBefore), dash(k.NotAfter), now)
	}
	for _, k := range r.Agent {
		fmt.Fprintf(w, "agent\t%s\t%s\t-\t-\t%s\n", dash(oneLine(k.Comment)), k.Fingerprint, orDefault(k.Role, "in the agent"))
	}
}

func dash(s string) string { return orDefault(s, "-") }

func (a *app) keyRotateCommand() *cobra.Command {
	var e policyEdit
	var old, fresh, from string
	var overlap time.Duration
	c := a.verb("rotate", "Write the next version of a policy, with a new key in place of an old one",
		`  rebuild key rotate --policy policy.toml --old SHA256:... --new new.key -o next.toml
  rebuild key rotate -p policy.toml --old KEY --new KEY --from 2026-02-01T00:00:00Z --overlap 168h -o next.toml`,
		cobra.NoArgs, func(context.Context, []string) (result, error) {
			at, err := beginning(from, a.now())
			if err != nil {
				return nil, err
			}
			if overlap < 0 {
				return nil, fault.New(fault.Usage, "--overlap %s is negative", overlap).WithHint("give a length of time such as 168h")
			}
			key, err := a.publicKey(fresh)
			if err != nil {
				return nil, err
			}
			return e.write(a, func(text []byte) ([]byte, *attest.PolicyUpdate, error) {
				return attest.RotateKey(e.policy, text, attest.Rotation{Old: old, New: key, From: at, Overlap: overlap.Truncate(time.Second)})
			})
		})
	e.flags(c)
	f := c.Flags()
	f.StringVar(&old, "old", "", "text or fingerprint of the key to replace")
	f.StringVar(&fresh, "new", "", "the new key: its text, a file with it, or agent:SHA256:...")
	f.StringVar(&from, "from", "", "when the new key begins to count, such as 2026-01-31T12:00:00Z (default: now)")
	f.DurationVar(&overlap, "overlap", 0, "how long the old key counts on, such as 168h")
	c.MarkFlagRequired("old")
	c.MarkFlagRequired("new")
	return readsKey(c)
}

func beginning(from string, now time.Time) (time.Time, error) {
	if from == "" {
		return now.UTC().Truncate(time.Second), nil
	}
	t, err := attest.ParseTime(from)
	if err != nil {
		return t, fault.New(fault.Usage, "--from: %w", err).WithHint("write it like --from 2026-01-31T12:00:00Z")
	}
	return t, nil
}

// publicKey reads a key's text, a file with that or with a line of OpenSSH's,
// or the public half of a key that can sign.
func (a *app) publicKey(name string) (attest.PublicKey, error) {
	k, err := attest.ParsePublicKey(name)
	if err == nil || fault.CodeOf(err) == fault.KeyWeak {
		return k, err
	}
	if line, err := readBounded(name, maxPublicLine); err == nil {
		if k, err := attest.ParsePublicKey(strings.TrimSpace(string(line))); err == nil {
			return k, nil
		}
		if bytes.HasPrefix(line, []byte(ssh.KeyAlgoED25519+" ")) {
			return publicLine(name, line)
		}
	}
	signer, err := a.openKey(name)
	if err != nil {
		return k, err
	}
	return signer.Public(), nil
}

// maxPublicLine is more than any private key file or line of a public key has.
const maxPublicLine = 64 << 10

// publicLine reads what ssh-keygen writes into a .pub file.
func publicLine(file string, line []byte) (attest.PublicKey, error) {
	public, _, _, rest, err := ssh.ParseAuthorizedKey(line)
	if err == nil && len(bytes.TrimSpace(rest)) > 0 {
		err = errors.New("it has more than one line")
	}
	if err != nil {
		return attest.PublicKey{}, fault.New(fault.Parse, "%s is no public key of OpenSSH: %w", file, err).
			WithHint("give the key as rebuild key show or ssh-keygen prints it")
	}
	crypto, _ := public.(ssh.CryptoPublicKey)
	raw, ok := crypto.CryptoPublicKey().(ed25519.PublicKey)
	if !ok {
		return attest.PublicKey{}, fault.New(fault.SignatureUnsupported, "%s: the key is not ed25519", file).
			WithHint("make a key with: rebuild key new")
	}
	return attest.ParsePublicKey(base64.StdEncoding.EncodeToString(raw))
}

func (a *app) keyRevokeCommand() *cobra.Command {
	var e policyEdit
	var from int64
	var c *cobra.Command
	c = a.verb("revoke KEY", "Write the next version of a policy, in which a key no longer counts",
		`  rebuild key revoke SHA256:... --policy policy.toml -o next.toml
  rebuild key revoke SHA256:... --policy policy.toml --from 900 -o next.toml`,
		cobra.ExactArgs(1), func(_ context.Context, args []string) (result, error) {
			policy, err := a.readPolicy(e.policy)
			if err != nil {
				return nil, err
			}
			// Zero would take away what was logged before the key leaked, too.
			if policy.LogOrigin() != "" && !c.Flags().Changed("from") {
				return nil, fault.New(fault.Usage, "policy %s has a log, and no leaf of it is named", policy.Name()).
					WithHint("give --from LEAF, the first leaf at which the key no longer counts")
			}
			return e.write(a, func(text []byte) ([]byte, *attest.PolicyUpdate, error) {
				return attest.RevokeKey(e.policy, text, args[0], from)
			})
		})
	e.flags(c)
	c.Flags().Int64Var(&from, "from", 0, "first leaf of the log at which it no longer counts (needed if the policy has a log; without one it never counts)")
	return c
}

// policyEdit is a command that writes the next version of a policy. The policy
// itself stays as it is: whoever judges by it replaces it, having read the new.
type policyEdit struct{ policy, out string }

func (e *policyEdit) flags(c *cobra.Command) {
	c.Flags().StringVarP(&e.policy, "policy", "p", "", "policy.toml, which is not changed")
	c.Flags().StringVarP(&e.out, "output", "o", "", "file to write the next version to, - for stdout")
	c.MarkFlagRequired("policy")
	c.MarkFlagRequired("output")
}

func (e *policyEdit) write(a *app, edit func([]byte) ([]byte, *attest.PolicyUpdate, error)) (result, error) {
	text, err := a.readInput(e.policy, maxDocument)
	if err != nil {
		return nil, err
	}
	next, update, err := edit(text)
	if err != nil {
		return nil, err
	}
	if err := writeOutput(a, e.out, next); err != nil {
		return nil, err
	}
	for _, c := range update.Changes() {
		a.note("%s", oneLine(c.String()))
	}
	if e.out == "-" {
		return nil, nil
	}
	a.note("have it signed with rebuild policy sign %s --old %s --key ROOTKEY -o update.dsse.json", oneLine(e.out), oneLine(e.policy))
	return policyEditResult{e.out, update.Changes()}, nil
}

type policyEditResult struct {
	File    string                `json:"file"`
	Changes []attest.PolicyChange `json:"changes"`
}

func (r policyEditResult) Print(out io.Writer) { fmt.Fprintln(out, r.File) }
