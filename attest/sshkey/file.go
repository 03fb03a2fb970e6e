package sshkey

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/crypto/ssh"

	"rebuild/attest"
	"rebuild/internal/fault"
)

// maxKeyFile bounds what is read as a key file, which has about 500 bytes.
const maxKeyFile = 64 << 10

// ReadFile reads an OpenSSH key file. It refuses a file that group or others
// can read (KEY_WEAK) and any other kind of key (SIGNATURE_UNSUPPORTED).
// passphrase is called only for an encrypted key, and what it returns is
// overwritten; nil means that there is none to give.
func ReadFile(path string, passphrase func() ([]byte, error)) (*attest.PrivateKey, error) {
	text, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	raw, err := parse(path, text, passphrase)
	if err != nil {
		return nil, err
	}
	held, ok := raw.(*ed25519.PrivateKey)
	if !ok {
		return nil, fault.New(fault.SignatureUnsupported, "the key is not ed25519").At(path, 0).
			WithHint("make a key with: rebuild key new")
	}
	k, err := attest.NewPrivateKey(bytes.NewReader(held.Seed()))
	if err == nil && !bytes.Equal(k.Ed25519(), *held) {
		return nil, fault.New(fault.KeyWeak, "the public half does not belong to the private half").At(path, 0).
			WithHint("restore the file from a copy, or make a new key with: rebuild key new")
	}
	return k, err
}

// parse decodes a key file, and decrypts it if it has to.
func parse(path string, text []byte, passphrase func() ([]byte, error)) (any, error) {
	raw, err := ssh.ParseRawPrivateKey(text)
	var missing *ssh.PassphraseMissingError
	if errors.As(err, &missing) {
		if passphrase == nil {
			return nil, fault.New(fault.Usage, "the key is encrypted and no passphrase is given").At(path, 0).
				WithHint("give the passphrase with --passphrase-fd N")
		}
		secret, perr := passphrase()
		if perr != nil {
			return nil, perr
		}
		raw, err = ssh.ParseRawPrivateKeyWithPassphrase(text, secret)
		clear(secret)
	}
	switch {
	case errors.Is(err, x509.IncorrectPasswordError):
		return nil, fault.New(fault.Usage, "the passphrase does not open the key").At(path, 0).
			WithHint("give the passphrase that the key was encrypted with")
	case err != nil:
		return nil, fault.New(fault.Parse, "not a readable OpenSSH key file: %w", err).At(path, 0).
			WithHint("restore the file from a copy, or make a new key with: rebuild key new")
	}
	return raw, nil
}

func readPrivate(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // not to hang on a fifo
	if err != nil {
		return nil, unread(err)
	}
	defer f.Close()
	st, err := f.Stat()
	switch {
	case err != nil:
		return nil, unread(err)
	case !st.Mode().IsRegular():
		return nil, fault.New(fault.Usage, "the key file is not a regular file").At(path, 0).
			WithHint("name a key file, which rebuild key new makes")
	case st.Size() > maxKeyFile:
		return nil, fault.New(fault.Parse, "%d bytes is too much for a key file", st.Size()).At(path, 0).
			WithHint("name a key file, which rebuild key new makes")
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, unread(err)
	}
	if err := notPrivate(path, text); err != nil {
		return nil, err
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, fault.New(fault.KeyWeak, "the private key is open to others, its mode is %04o", st.Mode().Perm()).
			At(path, 0).WithHint("chmod 600 %s", path)
	}
	return text, nil
}

func unread(err error) error {
	e := fault.New(fault.Usage, "reading the key file: %w", err)
	if errors.Is(err, fs.ErrPermission) {
		return e.WithHint("run the command as the user whose key it is")
	}
	return e.WithHint("check the path; a key is made by: rebuild key new")
}

// notPrivate refuses what is no private key at all, whoever may read it: the
// advice to close it to others would lead nowhere.
func notPrivate(path string, text []byte) error {
	if bytes.Contains(text, []byte("-----BEGIN ")) {
		return nil
	}
	if _, err := attest.ParsePublicKey(string(bytes.TrimSpace(text))); err == nil {
		return fault.New(fault.Parse, "this is a public key, and a private one is needed").At(path, 0).
			WithHint("name the key file that it belongs to, which rebuild key new made")
	}
	return fault.New(fault.Parse, "this is not an OpenSSH key file").At(path, 0).
		WithHint("name a key file, which rebuild key new makes")
}

// WriteFile writes an OpenSSH key file with mode 0600, encrypted unless
// passphrase is empty. It never replaces a file (USAGE), because a key that is
// overwritten is lost. A crash leaves at worst an incomplete new file.
func WriteFile(path string, k *attest.PrivateKey, comment string, passphrase []byte) error {
	var block *pem.Block
	var err error
	if len(passphrase) > 0 {
		block, err = ssh.MarshalPrivateKeyWithPassphrase(k.Ed25519(), comment, passphrase)
	} else {
		block, err = ssh.MarshalPrivateKey(k.Ed25519(), comment)
	}
	if err != nil {
		return fault.New(fault.Internal, "encoding the key: %w", err)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fault.New(fault.Usage, "the key file exists and is not replaced").At(path, 0).
			WithHint("choose another file name")
	}
	if err != nil {
		return fault.New(fault.Usage, "writing the key file: %w", err).
			WithHint("name a place that can be written to")
	}
	_, err = f.Write(pem.EncodeToMemory(block))
	if err := errors.Join(err, f.Chmod(0o600), f.Sync(), f.Close()); err != nil {
		os.Remove(path) // nothing but a part of a key nobody has used
		return fault.New(fault.Internal, "writing the key file: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fault.New(fault.Internal, "writing the key file: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fault.New(fault.Internal, "writing the key file: %w", err)
	}
	return nil
}
