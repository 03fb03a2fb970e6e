package sshkey_test

import (
	"bytes"
	"crypto/ed25519"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/attest/sshkey"
)

// The real ssh-keygen must accept the signature, and refuse it over other
// bytes, in another namespace and under another key.
func TestSSHSignature(t *testing.T) {
	keygen, err := exec.LookPath("ssh-keygen")
	if err != nil {
		if os.Getenv("REBUILD_REQUIRE_ENGINE") != "" {
			t.Fatal(err)
		}
		t.Skipf("needs ssh-keygen: %v; run scripts/deps.sh test", err)
	}
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	allow := func(name string) string {
		key := attesttest.Key(name).Public()
		public, err := ssh.NewPublicKey(ed25519.PublicKey(key[:]))
		if err != nil {
			t.Fatal(err)
		}
		return file("allowed-"+name, "north "+string(ssh.MarshalAuthorizedKey(public)))
	}
	const text = "a line\n"
	sig, err := sshkey.Sign(attesttest.Key("north"), attest.SumsNamespace, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	signature := file("sig", string(sig))
	for name, c := range map[string]struct {
		allowed, namespace, text string
		ok                       bool
	}{
		"good":              {allow("north"), attest.SumsNamespace, text, true},
		"another key":       {allow("west"), attest.SumsNamespace, text, false},
		"another namespace": {allow("north"), "file", text, false},
		"other bytes":       {allow("north"), attest.SumsNamespace, "a kine\n", false},
	} {
		cmd := exec.Command(keygen, "-Y", "verify", "-f", c.allowed, "-I", "north", "-n", c.namespace, "-s", signature)
		cmd.Stdin = strings.NewReader(c.text)
		if out, err := cmd.CombinedOutput(); (err == nil) != c.ok {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
	again, err := sshkey.Sign(attesttest.Key("north"), attest.SumsNamespace, []byte(text))
	if err != nil || !bytes.Equal(again, sig) {
		t.Errorf("signing again gives another file (%v)", err)
	}
}
