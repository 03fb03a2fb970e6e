package sshkey

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"rebuild/attest"
	"rebuild/internal/fault"
)

// AgentKey is an ed25519 key that an ssh-agent holds, perhaps in a token.
type AgentKey struct {
	Key     attest.PublicKey
	Comment string // what the agent says of it, untrusted
}

// AgentKeys returns the keys of an ssh-agent that can sign for us, in the
// agent's order. Keys of other types are left out, and so are those that
// [attest.ParsePublicKey] would refuse. An agent that is locked shows none.
func AgentKeys(a agent.Agent) ([]AgentKey, error) {
	held, err := listAgent(a)
	if err != nil {
		return nil, err
	}
	var out []AgentKey
	for _, k := range held {
		if key, err := agentPublicKey(k); err == nil {
			out = append(out, AgentKey{key, k.Comment})
		}
	}
	return out, nil
}

// AgentSigner signs with a key that stays in an ssh-agent. What the agent
// returns is checked before anybody else sees it.
type AgentSigner struct {
	agent agent.Agent
	held  ssh.PublicKey
	key   attest.PublicKey
}

var _ attest.Signer = (*AgentSigner)(nil)

// NewAgentSigner chooses a key of an agent: by its fingerprint (SHA256:...),
// by its text (see [attest.ParsePublicKey]), or with which = "" the agent's only
// ed25519 key. A key that the agent does not hold is USAGE, one of another
// type SIGNATURE_UNSUPPORTED and a weak one KEY_WEAK.
func NewAgentSigner(a agent.Agent, which string) (*AgentSigner, error) {
	held, err := listAgent(a)
	if err != nil {
		return nil, err
	}
	chosen, err := chooseAgentKey(held, which)
	if err != nil {
		return nil, err
	}
	key, err := agentPublicKey(chosen)
	if err != nil {
		return nil, err
	}
	return &AgentSigner{a, chosen, key}, nil
}

// Public returns the key that the signatures verify under.
func (s *AgentSigner) Public() attest.PublicKey { return s.key }

// Sign asks the agent, which may ask a person. A refusal is USAGE; what is
// not a plain ed25519 signature of message by this key is SIGNATURE_INVALID.
func (s *AgentSigner) Sign(message []byte) ([]byte, error) {
	sig, err := s.agent.Sign(s.held, message)
	if err != nil {
		return nil, fault.New(fault.Usage, "the ssh-agent did not sign with key %s: %w", s.key.Fingerprint(), err).
			WithHint("unlock the agent with ssh-add -X, confirm on the token, or give a key file")
	}
	switch {
	case sig.Format != ssh.KeyAlgoED25519:
		return nil, fault.New(fault.SignatureInvalid, "the ssh-agent signed with %.40q instead of %s, for key %s",
			sig.Format, ssh.KeyAlgoED25519, s.key.Fingerprint())
	case len(sig.Blob) != ed25519.SignatureSize || len(sig.Rest) != 0:
		return nil, fault.New(fault.SignatureInvalid, "the ssh-agent returned a signature of %d bytes instead of %d, for key %s",
			len(sig.Blob)+len(sig.Rest), ed25519.SignatureSize, s.key.Fingerprint())
	case !ed25519.Verify(s.key[:], message, sig.Blob):
		return nil, fault.New(fault.SignatureInvalid, "the ssh-agent returned a signature that key %s did not make", s.key.Fingerprint())
	}
	return sig.Blob, nil
}

func listAgent(a agent.Agent) ([]*agent.Key, error) {
	held, err := a.List()
	if err != nil {
		return nil, fault.New(fault.Usage, "the ssh-agent does not list its keys: %w", err).
			WithHint("see whether ssh-add -l works, or give a key file")
	}
	return held, nil
}

// chooseAgentKey finds the key that which names, whatever its type, so that a
// wrong type is said instead of "not found".
func chooseAgentKey(held []*agent.Key, which string) (*agent.Key, error) {
	if which == "" {
		return onlyAgentKey(held)
	}
	want := which
	if !strings.HasPrefix(which, fingerprintPrefix) {
		key, err := attest.ParsePublicKey(which)
		if err != nil {
			return nil, fault.New(fault.CodeOf(err), "agent:%.60s names no key: %w", which, err).
				WithHint("name it as agent:SHA256:..., which rebuild key list prints")
		}
		want = key.Fingerprint()
	}
	i := slices.IndexFunc(held, func(k *agent.Key) bool { return ssh.FingerprintSHA256(k) == want })
	if i < 0 {
		return nil, fault.New(fault.Usage, "the ssh-agent does not hold key %.80s, but %s", want, agentText(held)).
			WithHint("add the key with ssh-add, or unlock the agent with ssh-add -X")
	}
	return held[i], nil
}

// fingerprintPrefix begins a fingerprint. No public key's text begins so, as
// ":" is not in base64.
const fingerprintPrefix = "SHA256:"

func onlyAgentKey(held []*agent.Key) (*agent.Key, error) {
	var usable []*agent.Key
	for _, k := range held {
		if k.Format == ssh.KeyAlgoED25519 {
			usable = append(usable, k)
		}
	}
	if len(usable) != 1 {
		return nil, fault.New(fault.Usage, "the ssh-agent holds %d ed25519 keys, so agent: does not say which: it holds %s", len(usable), agentText(held)).
			WithHint("name one as agent:SHA256:..., or add one with ssh-add")
	}
	return usable[0], nil
}

// agentText lists keys for an error, without what the agent says of them.
func agentText(held []*agent.Key) string {
	if len(held) == 0 {
		return "no key, or is locked"
	}
	out := make([]string, 0, len(held))
	for _, k := range held {
		out = append(out, fmt.Sprintf("%s (%.40s)", ssh.FingerprintSHA256(k), k.Format))
	}
	return strings.Join(out, ", ")
}

// agentPublicKey returns the key if its signatures can be ours.
func agentPublicKey(k *agent.Key) (attest.PublicKey, error) {
	if k.Format != ssh.KeyAlgoED25519 {
		return attest.PublicKey{}, fault.New(fault.SignatureUnsupported, "key %s in the ssh-agent is %.60s: %s", ssh.FingerprintSHA256(k), k.Format, whyNot(k.Format)).
			WithHint("use a key that was made with ssh-keygen -t ed25519, or rebuild key new")
	}
	parsed, err := ssh.ParsePublicKey(k.Blob)
	if err != nil {
		return attest.PublicKey{}, fault.New(fault.Structure, "key %s in the ssh-agent: %w", ssh.FingerprintSHA256(k), err)
	}
	if parsed.Type() != ssh.KeyAlgoED25519 {
		return attest.PublicKey{}, fault.New(fault.SignatureUnsupported, "key %s in the ssh-agent is %.60s, not the %s that it is listed as",
			ssh.FingerprintSHA256(k), parsed.Type(), k.Format).WithHint("use another agent; this one misnames its keys")
	}
	raw := parsed.(ssh.CryptoPublicKey).CryptoPublicKey().(ed25519.PublicKey) // which the type says
	key, err := attest.ParsePublicKey(attest.PublicKey(raw).String())         // which refuses weak ones
	if err != nil {
		return attest.PublicKey{}, fault.New(fault.CodeOf(err), "key %s in the ssh-agent: %w", ssh.FingerprintSHA256(k), err)
	}
	return key, nil
}

// whyNot says why the signatures of a type of key are none of ours.
func whyNot(format string) string {
	switch {
	case strings.HasPrefix(format, "sk-"):
		return "a security key signs a structure of its own around the message, which no DSSE verifier checks"
	case strings.Contains(format, "-cert-"):
		return "a certificate is no key; choose the key that it is for"
	}
	return "only ed25519 keys sign here"
}
