package sshkey

import (
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/pem"

	"golang.org/x/crypto/ssh"

	"rebuild/attest"
	"rebuild/internal/fault"
)

// The two forms of OpenSSH's PROTOCOL.sshsig: what is signed, and what the
// signature file holds in its armour.
type (
	sshsigMessage struct {
		Magic                         [6]byte
		Namespace, Reserved, HashName string
		Hash                          string
	}
	sshsigBlob struct {
		Magic                         [6]byte
		Version                       uint32
		PublicKey                     string
		Namespace, Reserved, HashName string
		Signature                     string
	}
)

var sshsigMagic = [6]byte{'S', 'S', 'H', 'S', 'I', 'G'}

// Sign returns the SSH signature file of message in a namespace, which
// ssh-keygen -Y verify reads. With an ed25519 key it is the same every time.
func Sign(signer attest.Signer, namespace string, message []byte) ([]byte, error) {
	hash := sha512.Sum512(message)
	to := ssh.Marshal(sshsigMessage{Magic: sshsigMagic, Namespace: namespace, HashName: "sha512", Hash: string(hash[:])})
	sig, err := signer.Sign(to)
	if err != nil {
		return nil, err
	}
	key := signer.Public()
	if !ed25519.Verify(key[:], to, sig) {
		return nil, fault.New(fault.SignatureInvalid, "the signer of key %s returned a signature that does not verify", key.Fingerprint())
	}
	public, err := ssh.NewPublicKey(ed25519.PublicKey(key[:]))
	if err != nil {
		return nil, fault.New(fault.Internal, "encoding key %s: %w", key.Fingerprint(), err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "SSH SIGNATURE", Bytes: ssh.Marshal(sshsigBlob{
		Magic: sshsigMagic, Version: 1, PublicKey: string(public.Marshal()), Namespace: namespace, HashName: "sha512",
		Signature: string(ssh.Marshal(ssh.Signature{Format: ssh.KeyAlgoED25519, Blob: sig})),
	})}), nil
}
