package sshkey_test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/attest/sshkey"
	"rebuild/internal/fault"
)

// overSocket serves an agent over a unix socket and returns a client of it, so
// that what is tested is the protocol too.
func overSocket(t *testing.T, served agent.Agent) agent.Agent {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent") // a socket's path has at most 107 bytes
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if conn, err := l.Accept(); err == nil {
			agent.ServeAgent(served, conn) // ends with the client
			conn.Close()
		}
	}()
	conn, err := net.Dial("unix", l.Addr().String())
	must(t, err)
	t.Cleanup(func() { conn.Close(); l.Close(); <-done })
	return agent.NewClient(conn)
}

// sshKey is the key of a name as ssh has it.
func sshKey(name string) ed25519.PrivateKey { return attesttest.Key(name).Ed25519() }

func keyringOf(t *testing.T, keys ...any) agent.Agent {
	t.Helper()
	ring := agent.NewKeyring()
	for _, k := range keys {
		must(t, ring.Add(agent.AddedKey{PrivateKey: k, Comment: "a token"}))
	}
	return ring
}

func rsaKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	return k
}

func TestAgentSigns(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	a := overSocket(t, keyringOf(t, rsaKey(t), sshKey("north"), ec))
	signsWithAgent(t, a, "north")
}

// signsWithAgent wants the one ed25519 key of an agent to sign as the key itself
// would, however it is named.
func signsWithAgent(t *testing.T, a agent.Agent, name string) {
	t.Helper()
	key := attesttest.Key(name)
	payload := []byte("payload")
	want, err := attest.Sign(payload, key)
	must(t, err)
	for _, which := range []string{"", key.Public().Fingerprint(), key.Public().String()} {
		s, err := sshkey.NewAgentSigner(a, which)
		must(t, err)
		got, err := attest.Sign(payload, s)
		must(t, err)
		if s.Public() != key.Public() || !bytes.Equal(got, want) {
			t.Errorf("%q: %s", which, got)
		}
	}
	held, err := sshkey.AgentKeys(a)
	must(t, err)
	if len(held) != 1 || held[0].Key != key.Public() {
		t.Errorf("%+v", held)
	}
}

// The agent that people have: the same, through its own program.
func TestOpenSSHAgentSigns(t *testing.T) {
	program, err := exec.LookPath("ssh-agent")
	if err != nil {
		if os.Getenv("REBUILD_REQUIRE_ENGINE") != "" {
			t.Fatal(err)
		}
		t.Skip("no ssh-agent here; TestAgentSigns shows the same over the protocol")
	}
	dir, err := os.MkdirTemp("", "agent")
	must(t, err)
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "s")
	cmd := exec.Command(program, "-D", "-a", socket)
	said, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	_, err = bufio.NewReader(said).ReadString('\n') // it listens when it says where
	must(t, err)
	conn, err := net.Dial("unix", socket)
	must(t, err)
	defer conn.Close()
	a := agent.NewClient(conn)
	must(t, a.Add(agent.AddedKey{PrivateKey: sshKey("north")}))
	signsWithAgent(t, a, "north")
	must(t, a.Lock([]byte("secret")))
	_, err = sshkey.NewAgentSigner(a, "")
	wantAgentError(t, err, fault.Usage, "or is locked")
}

func wantAgentError(t *testing.T, err error, code fault.Code, text string) {
	t.Helper()
	var f *fault.Error
	if !errors.As(err, &f) || f.Code != code || !strings.Contains(err.Error(), text) {
		t.Errorf("%v, want %s with %q", err, code, text)
	}
	if f != nil && f.Hint == "" && code != fault.SignatureInvalid && code != fault.KeyWeak {
		t.Errorf("no hint: %v", err)
	}
}

func TestAgentKeyIsChosenExactly(t *testing.T) {
	two := overSocket(t, keyringOf(t, sshKey("north"), sshKey("south")))
	_, err := sshkey.NewAgentSigner(two, "")
	wantAgentError(t, err, fault.Usage, "holds 2 ed25519 keys")
	s, err := sshkey.NewAgentSigner(two, attesttest.Key("south").Public().Fingerprint())
	must(t, err)
	if s.Public() != attesttest.Key("south").Public() {
		t.Error("another key was chosen")
	}
	_, err = sshkey.NewAgentSigner(two, attesttest.Key("east").Public().Fingerprint())
	wantAgentError(t, err, fault.Usage, attesttest.Key("east").Public().Fingerprint())
	_, err = sshkey.NewAgentSigner(two, "SHA256:")
	wantAgentError(t, err, fault.Usage, "does not hold")
	_, err = sshkey.NewAgentSigner(two, "north")
	wantAgentError(t, err, fault.Structure, "names no key")
	_, err = sshkey.NewAgentSigner(overSocket(t, agent.NewKeyring()), "")
	wantAgentError(t, err, fault.Usage, "holds no key, or is locked")
}

// skBlob is a security key as ssh writes it.
func skBlob(point attest.PublicKey) []byte {
	return ssh.Marshal(struct {
		Name        string
		Key         []byte
		Application string
	}{ssh.KeyAlgoSKED25519, point[:], "ssh:"})
}

// shows is an agent that lists what it is told to.
type shows struct {
	agent.Agent
	keys []*agent.Key
}

func (s shows) List() ([]*agent.Key, error) { return s.keys, nil }

// Signatures of other types are none of ours, and of a security key they do not
// even look like one of the message. The error names the type.
func TestAgentKeysOfOtherTypesAreRefused(t *testing.T) {
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	other := keyringOf(t, rsaKey(t), ec)
	held, err := other.List()
	must(t, err)
	sk := &agent.Key{Format: ssh.KeyAlgoSKED25519, Blob: skBlob(attesttest.Key("north").Public())}
	cert := &agent.Key{Format: ssh.CertAlgoED25519v01, Blob: []byte("certificate")}
	for _, k := range append(held, sk, cert) {
		a := shows{agent.NewKeyring(), []*agent.Key{k}}
		_, err := sshkey.NewAgentSigner(a, ssh.FingerprintSHA256(k))
		wantAgentError(t, err, fault.SignatureUnsupported, k.Format)
		if list, err := sshkey.AgentKeys(a); err != nil || len(list) != 0 {
			t.Errorf("%s is listed: %v %v", k.Format, list, err)
		}
		_, err = sshkey.NewAgentSigner(a, "")
		wantAgentError(t, err, fault.Usage, k.Format)
	}
}

// What an agent calls a key is its word: the bytes decide.
func TestAgentKeysThatAreNotWhatTheyAreCalled(t *testing.T) {
	ring, err := keyringOf(t, rsaKey(t)).List()
	must(t, err)
	called := func(blob []byte) agent.Agent {
		return shows{agent.NewKeyring(), []*agent.Key{{Format: ssh.KeyAlgoED25519, Blob: blob}}}
	}
	raw := func(point []byte) []byte {
		return ssh.Marshal(struct {
			Name string
			Key  []byte
		}{ssh.KeyAlgoED25519, point})
	}
	_, err = sshkey.NewAgentSigner(called(ring[0].Blob), "")
	code(t, err, fault.SignatureUnsupported)
	point := attesttest.Key("north").Public()
	_, err = sshkey.NewAgentSigner(called(skBlob(point)), "")
	code(t, err, fault.SignatureUnsupported)
	_, err = sshkey.NewAgentSigner(called([]byte("garbage")), "")
	code(t, err, fault.Structure)
	_, err = sshkey.NewAgentSigner(called(raw([]byte("short"))), "")
	code(t, err, fault.Structure)
	weak := [][]byte{make([]byte, 32), append([]byte{1}, make([]byte, 31)...)} // points of order 4 and 1
	for _, point := range weak {
		_, err = sshkey.NewAgentSigner(called(raw(point)), "")
		code(t, err, fault.KeyWeak)
		if list, err := sshkey.AgentKeys(called(raw(point))); err != nil || len(list) != 0 {
			t.Errorf("%x is listed", point)
		}
	}
}

// lyingAgent answers with another signature than it was asked for.
type lyingAgent struct {
	agent.Agent
	lie func(ssh.PublicKey, []byte) (*ssh.Signature, error)
}

func (l lyingAgent) Sign(k ssh.PublicKey, data []byte) (*ssh.Signature, error) { return l.lie(k, data) }

func (l lyingAgent) SignWithFlags(k ssh.PublicKey, data []byte, _ agent.SignatureFlags) (*ssh.Signature, error) {
	return l.lie(k, data)
}

// An agent that signs something else would make its owner publish what nobody
// accepts, or what was meant for another purpose.
func TestLyingAgent(t *testing.T) {
	honest := keyringOf(t, sshKey("north"), sshKey("south"))
	north, south := attesttest.Key("north"), attesttest.Key("south")
	sign := func(k *attest.PrivateKey, m []byte) []byte { sig, _ := k.Sign(m); return sig }
	reasons := map[string]string{
		"a security key's form": "signed with \"sk-", "no form": "signed with \"\"", "more behind it": "of 65 bytes",
		"too long": "of 65 bytes", "too short": "of 63 bytes", "nothing": "of 0 bytes", "another message": "did not make", "another key": "did not make",
	}
	for name, lie := range map[string]func(ssh.PublicKey, []byte) (*ssh.Signature, error){
		"another message": func(_ ssh.PublicKey, m []byte) (*ssh.Signature, error) {
			return &ssh.Signature{Format: ssh.KeyAlgoED25519, Blob: sign(north, append([]byte("x"), m...))}, nil
		},
		"another key": func(_ ssh.PublicKey, m []byte) (*ssh.Signature, error) {
			return &ssh.Signature{Format: ssh.KeyAlgoED25519, Blob: sign(south, m)}, nil
		},
		"a security key's form": func(_ ssh.PublicKey, m []byte) (*ssh.Signature, error) {
			return &ssh.Signature{Format: ssh.KeyAlgoSKED25519, Blob: sign(north, m)}, nil
		},
		"no form": func(_ ssh.PublicKey, m []byte) (*ssh.Signature, error) {
			return &ssh.Signature{Blob: sign(north, m)}, nil
		},
		"more behind it": func(_ ssh.PublicKey, m []byte) (*ssh.Signature, error) {
			return &ssh.Signature{Format: ssh.KeyAlgoED25519, Blob: sign(north, m), Rest: []byte{0}}, nil
		},
		"too long": func(_ ssh.PublicKey, m []byte) (*ssh.Signature, error) {
			return &ssh.Signature{Format: ssh.KeyAlgoED25519, Blob: append(sign(north, m), 0)}, nil
		},
		"too short": func(_ ssh.PublicKey, m []byte) (*ssh.Signature, error) {
			return &ssh.Signature{Format: ssh.KeyAlgoED25519, Blob: sign(north, m)[:63]}, nil
		},
		"nothing": func(ssh.PublicKey, []byte) (*ssh.Signature, error) {
			return &ssh.Signature{Format: ssh.KeyAlgoED25519}, nil
		},
	} {
		s, err := sshkey.NewAgentSigner(overSocket(t, lyingAgent{honest, lie}), north.Public().Fingerprint())
		must(t, err)
		sig, err := s.Sign([]byte("message"))
		if sig != nil {
			t.Errorf("%s: %x", name, sig)
		}
		wantAgentError(t, err, fault.SignatureInvalid, reasons[name])
	}
	refuses := lyingAgent{honest, func(ssh.PublicKey, []byte) (*ssh.Signature, error) { return nil, errors.New("no") }}
	s, err := sshkey.NewAgentSigner(overSocket(t, refuses), north.Public().String())
	must(t, err)
	_, err = s.Sign([]byte("message"))
	wantAgentError(t, err, fault.Usage, north.Public().Fingerprint())
}

// An agent that goes away ends the command, not hangs it.
func TestAgentThatGoesAway(t *testing.T) {
	a, b := net.Pipe()
	b.Close()
	_, err := sshkey.NewAgentSigner(agent.NewClient(a), "")
	wantAgentError(t, err, fault.Usage, "does not list its keys")
	ring := keyringOf(t, sshKey("north"))
	s, err := sshkey.NewAgentSigner(ring, "")
	must(t, err)
	must(t, ring.Lock([]byte("secret"))) // between the choice and the signature
	_, err = s.Sign([]byte("message"))
	wantAgentError(t, err, fault.Usage, "did not sign")
}
