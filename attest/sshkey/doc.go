// Package sshkey is where signers keep their keys: OpenSSH key files
// ([ReadFile], [WriteFile]) and ssh-agents ([AgentKeys], [NewAgentSigner]).
// Both give an [attest.Signer]. [Sign] makes SSH signature files.
//
// Nobody who only verifies needs it: package attest knows public keys by their
// 32 bytes, and rests on no SSH code.
//
// A key file is trusted once it is its owner's alone to read and its halves
// belong together. An agent is trusted to keep the key and not to sign right:
// what it returns is checked under the key that was chosen, whose kind is read
// from its bytes and not from the agent's list.
package sshkey
