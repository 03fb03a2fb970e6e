package main

import (
	"crypto/rand"
	"crypto/rsa"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"rebuild/attest"
)

// sshAgent FILE... starts an ssh-agent that holds the keys of files, at
// $SSH_AUTH_SOCK, until the script ends. For "rsa" it holds one of that type,
// whose fingerprint is $RSA.
func sshAgent(ts *testscript.TestScript, neg bool, args []string) {
	ring := agent.NewKeyring()
	for _, file := range args {
		key, err := agentKey(ts, file)
		ts.Check(err)
		ts.Check(ring.Add(agent.AddedKey{PrivateKey: key, Comment: filepath.Base(file)}))
	}
	dir, err := os.MkdirTemp("", "agent") // a socket's path has at most 107 bytes
	ts.Check(err)
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	ts.Check(err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			agent.ServeAgent(ring, conn) // ends with the command that asks
			conn.Close()
		}
	}()
	ts.Defer(func() { l.Close(); <-done; os.RemoveAll(dir) })
	ts.Setenv("SSH_AUTH_SOCK", l.Addr().String())
}

func agentKey(ts *testscript.TestScript, file string) (any, error) {
	if file != "rsa" {
		return ssh.ParseRawPrivateKey([]byte(ts.ReadFile(file)))
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	ts.Check(err)
	public, err := ssh.NewPublicKey(key.Public())
	ts.Setenv("RSA", ssh.FingerprintSHA256(public))
	return key, err
}

var keyPlace = regexp.MustCompile(`@[a-z0-9]+@`)

// fill FILE puts the public key of NAME.pub in the place of every @NAME@.
func fill(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: fill FILE")
	}
	text := keyPlace.ReplaceAllStringFunc(ts.ReadFile(args[0]), func(name string) string {
		return strings.TrimSpace(ts.ReadFile(strings.Trim(name, "@") + ".pub"))
	})
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o644))
}

// fingerprint NAME FILE sets $NAME to the fingerprint of the key in a .pub file.
func fingerprint(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: fingerprint NAME FILE")
	}
	k, err := attest.ParsePublicKey(strings.TrimSpace(ts.ReadFile(args[1])))
	ts.Check(err)
	ts.Setenv(args[0], k.Fingerprint())
}

// Whoever has an encrypted key can use it with every command that signs.
func TestEveryCommandWithAKeyTakesPassphrases(t *testing.T) {
	t.Parallel()
	a := &app{ui: ui{world: world{getenv: func(string) string { return "" }}}}
	with := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		takes := c.Flags().Lookup("key") != nil || c.Flags().Lookup("index-key") != nil
		if has := c.Flags().Lookup("passphrase-fd") != nil; takes && !has {
			t.Errorf("%s takes a key and no --passphrase-fd", c.CommandPath())
		} else if has {
			with++
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(a.rootCommand())
	if with < 7 { // attest, release, release sign, release publish, key new, key show, policy sign
		t.Errorf("only %d commands take --passphrase-fd", with)
	}
}
