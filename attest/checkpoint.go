package attest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"rebuild/internal/fault"
)

// noteName is what a log or a witness is called: visible ASCII without "+",
// narrower than signed notes allow, so that nothing in it has two looks.
var noteName = regexp.MustCompile(`^[!-*,-~]{1,255}$`)

// Types of note keys (c2sp.org/signed-note, c2sp.org/tlog-cosignature).
const (
	noteEd25519     = 1
	noteCosignature = 4
)

// noteKey is a key that signs notes under a name. It is a [note.Verifier].
type noteKey struct {
	name string
	kind byte
	key  PublicKey
}

// parseNoteKey reads a verifier key, NAME+HASH+KEY, in its one spelling.
func parseNoteKey(s string) (noteKey, error) {
	name, rest, _ := strings.Cut(s, "+")
	hash, text, _ := strings.Cut(rest, "+")
	raw, err := decodeBase64(text)
	if err != nil || len(raw) != 1+len(PublicKey{}) || !noteName.MatchString(name) {
		return noteKey{}, fault.New(fault.Structure, "%.200q is not a note's verifier key, NAME+HASH+KEY", s)
	}
	k := noteKey{name, raw[0], PublicKey(raw[1:])}
	if want := fmt.Sprintf("%08x", k.KeyHash()); hash != want {
		return noteKey{}, fault.New(fault.Structure, "the key of %s has hash %s, not %.20q", name, want, hash)
	}
	return k, k.key.check()
}

// as returns the same key for another type of signature.
func (k noteKey) as(kind byte) noteKey { return noteKey{k.name, kind, k.key} }

// Name returns the name under which the key signs.
func (k noteKey) Name() string { return k.name }

// KeyHash returns what names the key in a signature line.
func (k noteKey) KeyHash() uint32 {
	h := sha256.New()
	h.Write(append([]byte(k.name+"\n"), k.kind))
	h.Write(k.key[:])
	return binary.BigEndian.Uint32(h.Sum(nil))
}

// Verify says whether sig, without its key hash, is k's signature of a note.
// A cosignature/v1 begins with its time and signs it with the note.
func (k noteKey) Verify(text, sig []byte) bool {
	if k.kind == noteEd25519 {
		return k.key.verifies(text, sig)
	}
	at, ok := cosignedAt(sig)
	return ok && k.key.verifies(fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", at.Unix(), text), sig[8:])
}

// cosignedAt returns the time of a cosignature, which is not verified here.
func cosignedAt(sig []byte) (time.Time, bool) {
	if len(sig) < 8 {
		return time.Time{}, false
	}
	seconds := binary.BigEndian.Uint64(sig)
	at := time.Unix(int64(min(seconds, maxSeconds)), 0).UTC()
	return at, seconds < maxSeconds
}

// maxSeconds is the first second of the year 10000, which no document can name.
const maxSeconds = 253402300800

// policyLog is the log that a policy trusts to order and date events.
type policyLog struct {
	origin    string
	maxAge    time.Duration
	key       noteKey
	witnesses []noteKey
	need      int // of witnesses
	seen      seen
}

// checkpoint is a tree head that the log's key signed.
type checkpoint struct {
	size      int64
	root      tlog.Hash
	witnesses int       // distinct, whose cosignatures were verified
	cosigned  time.Time // newest cosignature of the log or a witness; zero without one
}

// Limits of a checkpoint and of a proof, which adds at most 63 hashes.
const (
	maxCheckpoint = 64 << 10
	maxNoteSigs   = 100
	// MaxProof is the largest tlog-proof in bytes.
	MaxProof = maxCheckpoint + 4<<10
)

// Names of a chain's files in a bundle and in a results folder.
const (
	EventsFile = "events.jsonl"
	ProofFile  = "head.tlog-proof"
)

// maxTree is the most leaves of a log: no event can say a higher seq, and the
// sums of package tlog overflow from 2^62 leaves on, where it never returns.
const maxTree = 1 << 53

const proofHeader = "c2sp.org/tlog-proof@v1"

// openProof verifies a tlog-proof of a leaf, and returns its position and the
// checkpoint that covers it.
func (l *policyLog) openProof(proof, leaf []byte) (int64, *checkpoint, error) {
	if len(proof) > MaxProof {
		return 0, nil, fault.New(fault.Parse, "%d bytes, at most %d are allowed", len(proof), MaxProof).At(ProofFile, 0)
	}
	head, signed, _ := bytes.Cut(proof, []byte("\n\n"))
	c, err := l.seen.checkpoint(signed, l.openCheckpoint)
	if err != nil {
		return 0, nil, fault.In(err, ProofFile)
	}
	seq, path, err := parseProof(string(head))
	if err != nil {
		return 0, nil, fault.In(err, ProofFile)
	}
	if err := tlog.CheckRecord(path, c.size, c.root, seq, tlog.RecordHash(leaf)); err != nil {
		return 0, nil, mismatch("the last line of %s is not leaf %d of the log of size %d", EventsFile, seq, c.size).At(ProofFile, 0)
	}
	return seq, c, nil
}

// parseProof reads what stands before the checkpoint: a header, the position,
// and the hashes from the leaf's sibling up.
func parseProof(head string) (int64, tlog.RecordProof, error) {
	lines := strings.Split(head, "\n")
	if len(lines) < 2 || lines[0] != proofHeader {
		return 0, nil, fault.New(fault.Structure, "not a %s", proofHeader)
	}
	text, _ := strings.CutPrefix(lines[1], "index ")
	seq, ok := parseDecimal(text)
	if !ok || len(text) == len(lines[1]) {
		return 0, nil, fault.New(fault.Structure, "line 2 is %.80q, it must be the index of the leaf", lines[1])
	}
	var path tlog.RecordProof
	for i, line := range lines[2:] {
		hash, err := decodeBase64(line)
		if err != nil || len(hash) != tlog.HashSize {
			return 0, nil, fault.New(fault.Structure, "line %d is not the base64 of a hash", i+3)
		}
		path = append(path, tlog.Hash(hash))
	}
	return seq, path, nil
}

// parseDecimal reads a number in its one spelling.
func parseDecimal(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n >= 0 && strconv.FormatInt(n, 10) == s
}

// openCheckpoint verifies a signed note as a checkpoint of the log
// (c2sp.org/tlog-checkpoint), without extension lines. Signatures of unknown
// keys say nothing; a wrong one of a known key rejects the note.
func (l *policyLog) openCheckpoint(signed []byte) (*checkpoint, error) {
	if len(signed) > maxCheckpoint {
		return nil, fault.New(fault.Parse, "the checkpoint has %d bytes, at most %d are allowed", len(signed), maxCheckpoint)
	}
	if origin, _, _ := bytes.Cut(signed, []byte("\n")); string(origin) != l.origin {
		return nil, mismatch("the checkpoint is of log %.255q, the policy's is %s", origin, l.origin)
	}
	known := []note.Verifier{l.key, l.key.as(noteCosignature)}
	for _, w := range l.witnesses {
		known = append(known, w)
	}
	n, err := note.Open(signed, note.VerifierList(known...))
	var wrong *note.InvalidSignatureError
	var unknown *note.UnverifiedNoteError
	switch {
	case errors.As(err, &wrong):
		return nil, fault.New(fault.SignatureInvalid, "the checkpoint's signature by %s is wrong", wrong.Name)
	case errors.As(err, &unknown):
		return nil, l.notSigned()
	case err != nil:
		return nil, fault.New(fault.Parse, "the checkpoint is not a signed note of at most %d signatures: %w", maxNoteSigs, err)
	}
	if err := checkSignatureLines(signed[len(n.Text)+1:], n); err != nil {
		return nil, err
	}
	c, err := parseCheckpoint(n.Text)
	if err != nil {
		return nil, err
	}
	return c, l.countSignatures(n.Sigs, c)
}

func (l *policyLog) notSigned() error {
	return fault.New(fault.KeyUnknown, "the checkpoint is not signed by the key of log %s", l.origin).
		WithHint("check log.key in the policy: whoever answers for this log has another key")
}

// checkSignatureLines refuses what note.Open passes over: a second signature
// by one key, and another spelling of base64.
func checkSignatureLines(block []byte, n *note.Note) error {
	lines := strings.Split(strings.TrimSuffix(string(block), "\n"), "\n")
	if len(lines) != len(n.Sigs)+len(n.UnverifiedSigs) {
		return fault.New(fault.Structure, "a key has signed the checkpoint twice")
	}
	for _, line := range lines {
		if _, err := decodeBase64(line[strings.LastIndex(line, " ")+1:]); err != nil {
			return fault.New(fault.Parse, "a signature of the checkpoint is %w", err)
		}
	}
	return nil
}

// parseCheckpoint reads the three lines of a checkpoint's text. The origin was
// compared before.
func parseCheckpoint(text string) (*checkpoint, error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return nil, fault.New(fault.Structure, "the checkpoint has %d lines, it must have origin, size and root alone", len(lines)-1)
	}
	size, ok := parseDecimal(lines[1])
	root, err := decodeBase64(lines[2])
	if !ok || size > maxTree || err != nil || len(root) != tlog.HashSize {
		return nil, fault.New(fault.Structure, "the checkpoint has size %.40q and root %.80q", lines[1], lines[2])
	}
	return &checkpoint{size: size, root: tlog.Hash(root)}, nil
}

// countSignatures wants the log's own signature and enough witnesses. Every
// signature here was verified; a witness has one key and so one signature.
func (l *policyLog) countSignatures(sigs []note.Signature, c *checkpoint) error {
	bySelf := false
	for _, s := range sigs {
		if s.Name == l.key.name && s.Hash == l.key.KeyHash() {
			bySelf = true
			continue
		}
		if s.Name != l.key.name || s.Hash != l.key.as(noteCosignature).KeyHash() {
			c.witnesses++
		}
		raw, err := decodeBase64(s.Base64)
		if err != nil {
			return fault.New(fault.Internal, "a verified signature is %w", err)
		}
		if at, _ := cosignedAt(raw[4:]); at.After(c.cosigned) { // after the key hash
			c.cosigned = at
		}
	}
	if !bySelf {
		return l.notSigned()
	}
	if c.witnesses < l.need {
		return fault.New(fault.Unwitnessed, "%d of %d witnesses needed by the policy have cosigned the checkpoint of size %d", c.witnesses, l.need, c.size).
			WithHint("wait for the witnesses, and fetch the proof again")
	}
	return nil
}
