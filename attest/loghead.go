package attest

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"rebuild/internal/fault"
)

// TrustedLog is a log whose key somebody answers for: a policy, or a client
// that pinned the first key it saw. It verifies what the log serves.
type TrustedLog struct{ log *policyLog }

// Log returns the log that the policy trusts, nil for none.
func (p *Policy) Log() *TrustedLog {
	if p.log == nil {
		return nil
	}
	return &TrustedLog{p.log}
}

// PinnedLog returns a log by its origin and verifier key, without witnesses
// and with the default age, for a client that has no policy.
func PinnedLog(origin, key string) (*TrustedLog, error) {
	k, err := parseNoteKey(key)
	if err != nil {
		return nil, err
	}
	if k.kind != noteEd25519 || k.name != origin {
		return nil, fault.New(fault.Structure, "key %.200q is not the ed25519 key of log %.200q", key, origin)
	}
	return &TrustedLog{&policyLog{origin: origin, key: k, maxAge: defaultMaxAge}}, nil
}

// Origin returns the log's name.
func (l *TrustedLog) Origin() string { return l.log.origin }

// Key returns the log's verifier key, NAME+HASH+KEY.
func (l *TrustedLog) Key() string { return verifierKey(l.log.key) }

// MaxAge returns how old the newest cosignature of a checkpoint may be.
func (l *TrustedLog) MaxAge() time.Duration { return l.log.maxAge }

// Checkpoint is a tree head that was verified by a [TrustedLog].
type Checkpoint struct {
	Origin    string
	Size      int64
	Root      tlog.Hash
	Witnesses int       // distinct, who cosigned it
	Cosigned  time.Time // newest cosignature of the log or a witness; zero without one
	Note      []byte    // as it was signed
}

// OpenCheckpoint verifies a signed note as a checkpoint of the log. Errors are
// EVIDENCE_MISMATCH for another origin, KEY_UNKNOWN, SIGNATURE_INVALID,
// UNWITNESSED, PARSE and STRUCTURE.
func (l *TrustedLog) OpenCheckpoint(signed []byte) (*Checkpoint, error) {
	c, err := l.log.openCheckpoint(signed)
	if err != nil {
		return nil, err
	}
	return l.export(c, signed), nil
}

func (l *TrustedLog) export(c *checkpoint, signed []byte) *Checkpoint {
	return &Checkpoint{l.log.origin, c.size, c.root, c.witnesses, c.cosigned, signed}
}

// OpenHead verifies a leaf and the tlog-proof of it, whose checkpoint is
// returned. It says nothing of the leaf's chain.
func (l *TrustedLog) OpenHead(leaf, proof []byte) (Event, *Checkpoint, error) {
	seq, c, err := l.log.openProof(proof, leaf)
	if err != nil {
		return Event{}, nil, err
	}
	e, err := decodeEvent("head", 1, leaf)
	if err != nil {
		return Event{}, nil, err
	}
	if e.Seq != seq {
		return Event{}, nil, mismatch("the proof is of leaf %d, the leaf says seq %d", seq, e.Seq)
	}
	return e, l.export(c, ProofCheckpoint(proof)), nil
}

// CheckFresh says whether a checkpoint is young enough: STALE if the newest
// cosignature on it is older than the log's MaxAge, or if nobody dated it.
func (l *TrustedLog) CheckFresh(c *Checkpoint, now time.Time) error {
	switch {
	case c.Cosigned.IsZero():
		return fault.New(fault.Stale, "nobody has dated the checkpoint of log %s: it may be of any age", c.Origin)
	case now.After(c.Cosigned.Add(l.log.maxAge)):
		return fault.New(fault.Stale, "the checkpoint of log %s is of %s, older than %s", c.Origin, c.Cosigned.Format(timeLayout), l.log.maxAge).
			WithHint("ask who runs the index to run: rebuild index sign")
	}
	return nil
}

// DecodeEvent reads one leaf of a log, without its line feed. What it says is
// only worth what proves that it is in the log.
func DecodeEvent(file string, line int, leaf []byte) (Event, error) {
	return decodeEvent(file, line, leaf)
}

// ProofCheckpoint returns the checkpoint of a tlog-proof, unverified.
func ProofCheckpoint(proof []byte) []byte {
	for i := 0; i+1 < len(proof); i++ {
		if proof[i] == '\n' && proof[i+1] == '\n' {
			return proof[i+2:]
		}
	}
	return nil
}

// EncodeProof writes a tlog-proof (c2sp.org/tlog-proof) of the leaf at seq.
func EncodeProof(seq int64, path tlog.RecordProof, checkpoint []byte) []byte {
	out := fmt.Appendf(nil, "%s\nindex %d\n", proofHeader, seq)
	for _, h := range path {
		out = append(out, base64.StdEncoding.EncodeToString(h[:])+"\n"...)
	}
	return append(append(out, '\n'), checkpoint...)
}

// LogSigners returns what signs a log's checkpoints with a key: the log's
// signature, and its cosignature/v1 that dates it by a clock.
func LogSigners(origin string, key Signer, clock func() time.Time) (log, dated note.Signer, err error) {
	if !noteName.MatchString(origin) {
		return nil, nil, fault.New(fault.Usage, "origin %.80q is not 1 to 255 visible ASCII characters without +", origin)
	}
	k := noteKey{origin, noteEd25519, key.Public()}
	return noteSigner{k, key, clock}, noteSigner{k.as(noteCosignature), key, clock}, nil
}

// LogKey returns the verifier key of a log, NAME+HASH+KEY, as a policy and an
// index's config name it.
func LogKey(origin string, key PublicKey) string {
	return verifierKey(noteKey{origin, noteEd25519, key})
}

func verifierKey(k noteKey) string {
	return fmt.Sprintf("%s+%08x+%s", k.name, k.KeyHash(), base64.StdEncoding.EncodeToString(append([]byte{k.kind}, k.key[:]...)))
}

// noteSigner signs notes.
type noteSigner struct {
	noteKey
	key   Signer
	clock func() time.Time
}

// Sign signs a note's text.
func (s noteSigner) Sign(text []byte) ([]byte, error) {
	if s.kind == noteEd25519 {
		return s.key.Sign(text)
	}
	at := s.clock().Unix()
	sig, err := s.key.Sign(fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", at, text))
	return append(binary.BigEndian.AppendUint64(nil, uint64(at)), sig...), err
}
