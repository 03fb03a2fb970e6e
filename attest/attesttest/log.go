package attesttest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"rebuild/attest"
	"rebuild/store"
)

// Origin is the name of the world's log.
const Origin = "example.org/log"

// LogStart is when the log's first leaf is dated; each further one is dated a
// minute later.
var LogStart = time.Date(2026, 6, 1, 9, 0, 0, 0, time.UTC)

// Cosigned is when the log and its witnesses date its checkpoints.
var Cosigned = time.Date(2026, 6, 1, 11, 0, 0, 0, time.UTC)

// Log is a log in memory. It appends whatever it is told to, also what an
// honest writer would refuse.
type Log struct {
	T      testing.TB
	Origin string
	Leaves [][]byte            // all, by seq
	Chains map[string][][]byte // of Leaves, by chain
	hashes []tlog.Hash         // stored hashes of the tree over Leaves
}

// NewLog makes an empty log.
func NewLog(t testing.TB, origin string) *Log {
	return &Log{T: t, Origin: origin, Chains: map[string][][]byte{}}
}

// Append fills in seq, prev, view and date unless they are given, and appends.
func (l *Log) Append(e attest.Event) attest.Event {
	l.T.Helper()
	e.Seq = int64(len(l.Leaves))
	if chain := l.Chains[e.Chain]; e.Prev == "" && len(chain) > 0 {
		e.Prev = store.DigestOf(chain[len(chain)-1])
	}
	if e.View == "" {
		e.View = store.DigestOf([]byte("an index"))
	}
	if e.At == "" {
		at, err := attest.FormatTime(LogStart.Add(time.Duration(e.Seq) * time.Minute))
		must(l.T, err)
		e.At = at
	}
	leaf, err := e.Encode()
	must(l.T, err)
	l.AppendLeaf(e.Chain, leaf)
	return e
}

// AppendLeaf appends bytes that need not be an event.
func (l *Log) AppendLeaf(chain string, leaf []byte) {
	l.T.Helper()
	stored, err := tlog.StoredHashes(int64(len(l.Leaves)), leaf, l.reader())
	must(l.T, err)
	l.hashes = append(l.hashes, stored...)
	l.Leaves = append(l.Leaves, leaf)
	l.Chains[chain] = append(l.Chains[chain], leaf)
}

func (l *Log) reader() tlog.HashReader {
	return tlog.HashReaderFunc(func(at []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(at))
		for i, n := range at {
			out[i] = l.hashes[n]
		}
		return out, nil
	})
}

// Events returns the events.jsonl of a chain.
func (l *Log) Events(chain string) []byte {
	var out []byte
	for _, leaf := range l.Chains[chain] {
		out = append(append(out, leaf...), '\n')
	}
	return out
}

// Checkpoint returns the signed note of the whole log, signed by the log and
// cosigned by it and by witnesses. A zero time leaves the log's out.
func (l *Log) Checkpoint(at time.Time, witnesses ...string) []byte {
	l.T.Helper()
	signers := []note.Signer{NoteSigner{As: l.Origin, Key: "log"}}
	if !at.IsZero() {
		signers = append(signers, NoteSigner{As: l.Origin, Key: "log", At: at})
	}
	for _, w := range witnesses {
		signers = append(signers, NoteSigner{As: w + ".example", Key: w, At: at})
	}
	return l.Sign(l.Text(), signers...)
}

// Text returns the text of the whole log's checkpoint.
func (l *Log) Text() string {
	l.T.Helper()
	root, err := tlog.TreeHash(int64(len(l.Leaves)), l.reader())
	must(l.T, err)
	return fmt.Sprintf("%s\n%d\n%s\n", l.Origin, len(l.Leaves), base64.StdEncoding.EncodeToString(root[:]))
}

// Sign makes a signed note of a text.
func (l *Log) Sign(text string, signers ...note.Signer) []byte {
	l.T.Helper()
	signed, err := note.Sign(&note.Note{Text: text}, signers...)
	must(l.T, err)
	return signed
}

// Proof returns the tlog-proof of a leaf under a checkpoint of the whole log.
func (l *Log) Proof(seq int64, checkpoint []byte) []byte {
	l.T.Helper()
	path, err := tlog.ProveRecord(int64(len(l.Leaves)), seq, l.reader())
	must(l.T, err)
	var b strings.Builder
	fmt.Fprintf(&b, "c2sp.org/tlog-proof@v1\nindex %d\n", seq)
	for _, h := range path {
		b.WriteString(base64.StdEncoding.EncodeToString(h[:]) + "\n")
	}
	return append([]byte(b.String()+"\n"), checkpoint...)
}

// NoteSigner signs notes with the key of a name ([Key]): as ed25519, or with a
// time as cosignature/v1.
type NoteSigner struct {
	As  string // in the signature line
	Key string
	At  time.Time
}

// Name returns the name in the signature line.
func (s NoteSigner) Name() string { return s.As }

// KeyHash returns what names the key in the signature line.
func (s NoteSigner) KeyHash() uint32 { return noteHash(s.As, s.Key, s.kind()) }

func (s NoteSigner) kind() byte {
	if s.At.IsZero() {
		return 1
	}
	return 4
}

// VerifierKey returns the text of a note's verifier key for the key of a name
// ([Key]): kind 1 is ed25519, 4 is cosignature/v1.
func VerifierKey(as, name string, kind byte) string {
	key := Key(name).Public()
	return fmt.Sprintf("%s+%08x+%s", as, noteHash(as, name, kind), base64.StdEncoding.EncodeToString(append([]byte{kind}, key[:]...)))
}

func noteHash(as, name string, kind byte) uint32 {
	key := Key(name).Public()
	sum := sha256.Sum256(append(append([]byte(as+"\n"), kind), key[:]...))
	return binary.BigEndian.Uint32(sum[:])
}

// Sign signs a note's text.
func (s NoteSigner) Sign(text []byte) ([]byte, error) {
	if s.At.IsZero() {
		return Key(s.Key).Sign(text)
	}
	sig, err := Key(s.Key).Sign(fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", s.At.Unix(), text))
	return append(binary.BigEndian.AppendUint64(nil, uint64(s.At.Unix())), sig...), err
}

// LogPolicy is a part of policy.toml, for [Policy] or after its operators: the
// world's log, and witnesses of whom need must cosign.
func LogPolicy(need int, witnesses ...string) string {
	keys := make([]string, len(witnesses))
	for i, w := range witnesses {
		keys[i] = `"` + VerifierKey(w+".example", w, 4) + `"`
	}
	return fmt.Sprintf("[log]\norigin = \"%s\"\nkey = \"%s\"\n[witnesses]\nneed = %d\nkeys = [%s]\n",
		Origin, VerifierKey(Origin, "log", 1), need, strings.Join(keys, ", "))
}

// Logged gives the world a log with the plan in it, behind a leaf of another
// chain, and a policy that wants votes to be logged and one witness of two.
func (w *World) Logged() *World {
	w.T.Helper()
	w.PolicyTOML = strings.Replace(Policy(LogPolicy(1, "w1", "w2")), "groups.main", "require = { logged = true }\ngroups.main", 1)
	w.Log = NewLog(w.T, Origin)
	w.Log.Append(attest.Event{Chain: "index", Type: attest.EventConfig, Object: store.DigestOf([]byte("config"))})
	w.Log.Append(attest.Event{Chain: w.Chain(), Type: attest.EventPlan, Object: store.DigestOf(w.PlanJSON)})
	return w
}

// Chain returns the name of the plan's chain.
func (w *World) Chain() string { return string(store.DigestOf(w.PlanJSON)) }

// LogStatement appends a leaf for a statement, with the key of a name.
func (w *World) LogStatement(statement []byte, by string) attest.Event {
	w.T.Helper()
	e, err := attest.ParseEnvelope("statement", statement)
	must(w.T, err)
	return w.Log.Append(attest.Event{Chain: w.Chain(), Type: attest.EventStatement, Object: e.Digest(), By: Key(by).Public().ID()})
}

// Evidence returns what there is about the plan: the statements, and if there
// is a log its chain under a checkpoint that the first witness cosigned.
func (w *World) Evidence(statements [][]byte) attest.BuildEvidence {
	w.T.Helper()
	b := attest.BuildEvidence{Plan: w.PlanJSON, Statements: statements}
	if w.Log == nil {
		return b
	}
	var last attest.Event
	chain := w.Log.Chains[w.Chain()]
	must(w.T, json.Unmarshal(chain[len(chain)-1], &last))
	b.Events, b.Proof = w.Log.Events(w.Chain()), w.Log.Proof(last.Seq, w.Log.Checkpoint(Cosigned, "w1"))
	return b
}
