package sshkey_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"rebuild/attest/attesttest"
	"rebuild/attest/sshkey"
	"rebuild/internal/fault"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func code(t *testing.T, err error, want fault.Code) {
	t.Helper()
	if fault.CodeOf(err) != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestFiles(t *testing.T) {
	k := attesttest.Key("north")
	for name, passphrase := range map[string][]byte{"plain": nil, "encrypted": []byte("open sesame")} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key")
			must(t, sshkey.WriteFile(path, k, "north", passphrase))
			st, err := os.Stat(path)
			must(t, err)
			if st.Mode().Perm() != 0o600 {
				t.Errorf("mode %04o", st.Mode().Perm())
			}
			got, err := sshkey.ReadFile(path, func() ([]byte, error) { return bytes.Clone(passphrase), nil })
			must(t, err)
			if got.Public() != k.Public() {
				t.Error("another key came back")
			}
			code(t, sshkey.WriteFile(path, attesttest.Key("south"), "", nil), fault.Usage)
			again, err := sshkey.ReadFile(path, func() ([]byte, error) { return bytes.Clone(passphrase), nil })
			must(t, err)
			if again.Public() != k.Public() {
				t.Error("the key was replaced")
			}
			if passphrase != nil {
				_, err = sshkey.ReadFile(path, nil)
				code(t, err, fault.Usage)
				_, err = sshkey.ReadFile(path, func() ([]byte, error) { return []byte("guess"), nil })
				code(t, err, fault.Usage)
				no := errors.New("no terminal")
				if _, err = sshkey.ReadFile(path, func() ([]byte, error) { return nil, no }); !errors.Is(err, no) {
					t.Error(err)
				}
			}
			for _, mode := range []os.FileMode{0o640, 0o604, 0o660, 0o644} {
				must(t, os.Chmod(path, mode))
				_, err = sshkey.ReadFile(path, nil)
				code(t, err, fault.KeyWeak)
			}
		})
	}
}

func TestReadFileRefuses(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	_, err := sshkey.ReadFile(path, nil)
	code(t, err, fault.Usage)
	_, err = sshkey.ReadFile(dir, nil)
	code(t, err, fault.Usage)
	for name, c := range map[string]struct {
		data string
		code fault.Code
	}{
		"garbage": {"garbage", fault.Parse}, "empty": {"", fault.Parse}, "endless": {strings.Repeat("a", 70<<10), fault.Parse},
		"ecdsa": {ecdsaKey(t), fault.SignatureUnsupported},
	} {
		must(t, os.WriteFile(path, []byte(c.data), 0o600))
		_, err := sshkey.ReadFile(path, nil)
		if fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// ecdsaKey returns the file of a key of another kind.
func ecdsaKey(t *testing.T) string {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	block, err := ssh.MarshalPrivateKey(k, "")
	must(t, err)
	return string(pem.EncodeToMemory(block))
}

// A key file that is read holds a key that can be written and read again.
func FuzzKeyFile(f *testing.F) {
	file := filepath.Join(f.TempDir(), "key")
	if err := sshkey.WriteFile(file, attesttest.Key("north"), "a comment", nil); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(file)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte("-----BEGIN OPENSSH PRIVATE KEY-----\n-----END OPENSSH PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		dir := t.TempDir()
		from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
		if err := os.WriteFile(from, in, 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := sshkey.ReadFile(from, nil)
		if err != nil {
			return
		}
		if err := sshkey.WriteFile(to, k, "", nil); err != nil {
			t.Fatal(err)
		}
		again, err := sshkey.ReadFile(to, nil)
		if err != nil || again.Public() != k.Public() {
			t.Fatalf("%s became %s, %v", k, again, err)
		}
	})
}
