package index

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"rebuild/attest"
	"rebuild/internal/document"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
	"rebuild/store"
)

// A write to a logged index goes through three places, in this order, so that
// a crash between any two is made good by the next turn:
//
//  1. content, by its hash: objects and statements. A crash leaves files that
//     nothing leads to.
//  2. .staged: the exact leaves, and the exact new bytes of every file that is
//     not derived from them, signed by the log's key. A crash before leaves
//     nothing of the write, a crash from here on is finished by the next turn.
//  3. the log. A crash leaves a log with these leaves or without them, and
//     files that the previous head fixes.
//  4. the files, head last: until it is replaced readers see the state before,
//     or ask again. A crash leaves files of both, and who serves the index can
//     finish it without a key ([Finish]).
//  5. .staged is removed. A crash before leaves a write that is done again,
//     which changes nothing.
//
// In an unlogged index it is content and then one file.

// turn is a writer's turn: it holds the index's lock, its log is open, and
// nothing that an earlier writer began is left undone.
type turn struct {
	x      *Index
	config *Config
	log    LogWriter // nil: unlogged, or only looking
	tip    *tip      // nil: unlogged, or a log without leaves
}

// turn waits for the index, opens the log, finishes what was left undone, and
// does work. fresh is the config of an index that is being made or that gets a
// log; nil is the one that is there.
func (x *Index) turn(ctx context.Context, fresh *Config, work func(*turn) error) (err error) {
	unlock, err := x.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := durable.Sweep(x.disk, x.dir); err != nil {
		return writeFault(err)
	}
	t := &turn{x: x, config: fresh}
	if fresh == nil {
		if t.config, err = x.config(); err != nil {
			return err
		}
	}
	if t.config.Log == nil {
		if j, err := x.readJournal(); j != nil || err != nil {
			return errors.Join(err, fault.New(fault.Usage, "index %s is about to get a log, and is not finished", x.dir).
				WithHint("run the command again that gives it a log"))
		}
		return work(t)
	}
	if err := x.checkLogKey(t.config); err != nil {
		return err
	}
	for _, file := range []string{"tile/entries/000", "tile/0/000", ".state/x"} { // the log writes there
		if _, err := x.place(file); err != nil {
			return err
		}
	}
	if t.log, err = x.in.Log(ctx, x.dir); err != nil {
		return writeFault(err)
	}
	defer func() { err = errors.Join(err, writeFault(t.log.Close(context.WithoutCancel(ctx)))) }()
	if err := t.recover(ctx); err != nil {
		return err
	}
	return work(t)
}

// lock waits for the lock of the index as long as the context lets it.
func (x *Index) lock(ctx context.Context) (unlock func(), err error) {
	unlock, err = durable.LockUntil(ctx, filepath.Join(x.dir, lockFile), true)
	if err != nil && ctx.Err() == nil {
		err = writeFault(err)
	}
	return unlock, err
}

// checkLogKey refuses a log key that readers do not know before it signs
// anything.
func (x *Index) checkLogKey(c *Config) error {
	if x.in.Log == nil || x.in.LogKey == nil {
		return fault.New(fault.Usage, "index %s is logged, and there is no key of its log", x.dir).WithHint("give --log-key FILE")
	}
	if got := attest.LogKey(c.Log.Origin, x.in.LogKey.Public()); got != c.Log.Key {
		return fault.New(fault.KeyUnknown, "the log of %s has the key %s, not %s", x.dir, c.Log.Key, got).
			WithHint("give --log-key with the key that the index was made with")
	}
	return nil
}

// Recover finishes a publication that a crash has interrupted. Every writer
// does so too before it writes.
func (x *Index) Recover(ctx context.Context) error {
	return x.turn(ctx, nil, func(*turn) error { return nil })
}

// Finish shows readers what the log has and a crash has kept from them, and
// says whether there was anything. It needs no key, as the log's own checkpoint
// fixes every byte of it; what is staged and not in the log, so that readers
// miss nothing, is left to the next writer. Without anything to do it writes
// nothing, not even a lock.
func Finish(ctx context.Context, dir string) (bool, error) {
	return newIndex(durable.OS{}, dir, Writing{}).finishShown(ctx)
}

func (x *Index) finishShown(ctx context.Context) (bool, error) {
	if _, err := os.Lstat(filepath.Join(x.dir, stagedFile)); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	unlock, err := x.lock(ctx)
	if err != nil {
		return false, err
	}
	defer unlock()
	j, err := x.readJournal()
	if j == nil || len(j.Leaves) == 0 || err != nil {
		return false, err
	}
	t := &turn{x: x}
	if t.config, err = x.config(); err != nil || t.config.Log == nil {
		return false, err
	}
	checkpoint, err := readCheckpoint(ctx, x.src, t.config)
	if err != nil || checkpoint.Size != j.end() {
		return false, err
	}
	if err := x.proveLeaves(ctx, j, checkpoint); err != nil {
		return false, err
	}
	return true, t.show(ctx, j, checkpoint)
}

// tip is the last leaf of the log under the checkpoint in head.
type tip struct {
	attest.Event
	leaf       []byte
	checkpoint *attest.Checkpoint
}

// readTip reads and verifies head. Without one it is nil.
func readTip(ctx context.Context, src Source, c *Config) (*tip, error) {
	data, err := src.Get(ctx, headFile, document.Events.MaxBytes+1+attest.MaxProof, true)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	trusted, err := attest.PinnedLog(c.Log.Origin, c.Log.Key)
	if err != nil {
		return nil, err
	}
	leaf, proof, _ := bytes.Cut(data, []byte("\n"))
	event, checkpoint, err := trusted.OpenHead(leaf, proof)
	if err != nil {
		return nil, fault.In(err, headFile)
	}
	if event.Seq != checkpoint.Size-1 {
		return nil, fault.New(fault.ViewMismatch, "%s has leaf %d and a checkpoint of size %d", headFile, event.Seq, checkpoint.Size).
			WithHint("run: rebuild index fsck")
	}
	return &tip{event, leaf, checkpoint}, nil
}

func encodeHead(leaf []byte, seq int64, path tlog.RecordProof, checkpoint []byte) []byte {
	return append(append(bytes.Clone(leaf), '\n'), attest.EncodeProof(seq, path, checkpoint)...)
}

// readCheckpoint reads and verifies the checkpoint that the log published.
func readCheckpoint(ctx context.Context, src Source, c *Config) (*attest.Checkpoint, error) {
	data, err := src.Get(ctx, checkpointFile, attest.MaxProof, true)
	if err != nil {
		return nil, err
	}
	trusted, err := attest.PinnedLog(c.Log.Origin, c.Log.Key)
	if err != nil {
		return nil, err
	}
	found, err := trusted.OpenCheckpoint(data)
	return found, fault.In(err, checkpointFile)
}

// journal is .staged: a publication that is to be made, all of it.
type journal struct {
	SchemaVersion string       `json:"schema_version"`
	Files         []stagedData `json:"files"`         // sorted by path
	Leaves        []string     `json:"leaves"`        // of the log, in order
	Size          int64        `json:"size"`          // of the log before
	Sig           []byte       `json:"sig,omitempty"` // by the log's key, over message
}

// message is what the log's key signs of a journal for the log of an origin: a key
// may have several. Its second line keeps it from being a checkpoint, which has a
// number there.
func (j *journal) message(origin string) ([]byte, error) {
	bare := *j
	bare.Sig = nil
	data, err := document.Encode(&bare)
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, "rebuild.staged.v1\n%s\n%s\n", store.DigestOf(data), origin), nil
}

// sign has the log's key answer for a journal: whoever finishes it logs what
// whoever staged it has judged.
func (j *journal) sign(key attest.Signer, origin string) error {
	text, err := j.message(origin)
	if err != nil {
		return err
	}
	j.Sig, err = key.Sign(text)
	return err
}

// checkSigned refuses a journal that nobody with the log's key has staged for this
// log.
func (j *journal) checkSigned(key attest.PublicKey, origin string) error {
	text, err := j.message(origin)
	if err != nil {
		return err
	}
	if !ed25519.Verify(key[:], text, j.Sig) {
		return fault.New(fault.SignatureInvalid, "%s is not signed by the log's key, so its leaves are not entered", stagedFile).
			WithHint("find out who writes in the folder of the index, and remove %s: nothing of it is published", stagedFile)
	}
	return nil
}

type stagedData struct {
	Data string `json:"data"`
	Path string `json:"path"`
}

func (x *Index) readJournal() (*journal, error) {
	data, err := x.read(stagedFile, document.Staged.MaxBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var j journal
	if err := document.Decode(stagedFile, data, document.Staged, &j); err != nil {
		return nil, err
	}
	if err := j.check(); err != nil {
		return nil, fault.In(err, stagedFile)
	}
	return &j, nil
}

// check wants a journal to be one publication as a writer makes it: leaves that
// follow each other, and only files that the view of the last one fixes. So one
// that somebody else wrote leads to no other place, and to nothing that the log
// does not say; that it is entered into the log takes a signature (append).
func (j *journal) check() error {
	last := attest.Event{}
	for i, text := range j.Leaves {
		e, err := attest.DecodeEvent(stagedFile, i+1, []byte(text))
		if err != nil {
			return err
		}
		if e.Seq != j.Size+int64(i) {
			return fault.New(fault.Structure, "leaf %d is staged for place %d", e.Seq, j.Size+int64(i))
		}
		last = e
	}
	staged := map[string]store.Digest{}
	for _, f := range j.Files {
		staged[f.Path] = store.DigestOf([]byte(f.Data))
	}
	if len(staged) != len(j.Files) {
		return fault.New(fault.Structure, "a file is staged twice")
	}
	if len(staged) > 0 && staged[viewRoot] != last.View {
		return fault.New(fault.ViewMismatch, "the view that is staged is not that of the last leaf")
	}
	return j.checkView(staged)
}

// checkView wants each staged file to have its digest in the staged node above
// it.
func (j *journal) checkView(staged map[string]store.Digest) error {
	nodes := map[string]map[string]store.Digest{}
	for _, f := range j.Files {
		var err error
		switch {
		case isViewLeaf(f.Path):
			nodes[f.Path], err = decodeViewFiles(f.Path, []byte(f.Data))
		case strings.HasPrefix(f.Path, viewDir):
			nodes[f.Path], err = decodeViewNodes(f.Path, []byte(f.Data))
		}
		if err != nil {
			return err
		}
	}
	for _, f := range j.Files {
		if f.Path == viewRoot {
			continue
		}
		above, key, ok := nodeAbove(f.Path)
		if !ok {
			return fault.New(fault.Structure, "%.200q is not what a publication replaces", f.Path)
		}
		if want := nodes[above][key]; want != staged[f.Path] {
			return viewMismatch(f.Path, want, string(staged[f.Path]))
		}
	}
	return nil
}

func isViewLeaf(path string) bool {
	return strings.HasPrefix(path, viewDir) && path != viewRoot && len(path) == len(viewDir)+4
}

// nodeAbove returns the node of the view that has the digest of a file, and
// under what; false for a file that no view is about.
func nodeAbove(path string) (node, key string, ok bool) {
	_, four := viewPath(path)
	if key, ok = strings.CutPrefix(path, viewDir); ok {
		_, ok = ServedAs(path)
		if isViewLeaf(path) {
			return viewDir + key[:2], key, ok
		}
		return viewRoot, key, ok
	}
	return viewDir + four, path, path == configFile || isLinePath(path)
}

func (j *journal) end() int64 { return j.Size + int64(len(j.Leaves)) }

// recover finishes what is staged, and reads where the log stands.
func (t *turn) recover(ctx context.Context) error {
	j, err := t.x.readJournal()
	if err != nil {
		return err
	}
	if j != nil && len(j.Leaves) > 0 {
		return t.finish(ctx, j)
	}
	if t.tip, err = readTip(ctx, t.x.src, t.config); err != nil {
		return err
	}
	size := int64(0)
	if t.tip != nil {
		size = t.tip.checkpoint.Size
	}
	if t.log.Size() != size {
		return fault.New(fault.ViewMismatch, "the log has %d leaves, %s covers %d", t.log.Size(), headFile, size).
			WithHint("run: rebuild index fsck %s", t.x.dir)
	}
	return nil
}

// publication is one write, as it is put together.
type publication struct {
	t       *turn
	at      time.Time
	leaves  [][]byte
	files   map[string][]byte // config.json, line files, view nodes, as they will be
	content map[string][]byte // objects and statements
	chains  map[string]*chain // with the new leaves
	view    store.Digest
}

// atTolerance is how far the clock may be behind the last leaf: no reader
// accepts a leaf that is dated later than its checkpoint by more (index.md 7).
const atTolerance = 300 * time.Second

func (t *turn) begin() (*publication, error) {
	p := &publication{
		t: t, at: t.x.in.Now().UTC().Truncate(time.Second), files: map[string][]byte{}, content: map[string][]byte{},
		chains: map[string]*chain{},
	}
	if t.tip == nil {
		return p, nil
	}
	p.view = t.tip.View
	last, err := attest.ParseTime(t.tip.At)
	if err != nil {
		return nil, err
	}
	if last.After(p.at.Add(atTolerance)) {
		return nil, fault.New(fault.Stale, "the last leaf of the log is dated %s, and it is %s now", t.tip.At, p.at.Format(time.RFC3339)).
			WithHint("set the clock of this machine")
	}
	if last.After(p.at) { // dates never go back
		p.at = last
	}
	return p, nil
}

// logged says whether what is written becomes leaves.
func (p *publication) logged() bool { return p.t.config.Log != nil }

// next is the position of the next leaf.
func (p *publication) next() int64 {
	n := int64(len(p.leaves))
	if p.t.tip != nil {
		n += p.t.tip.checkpoint.Size
	}
	return n
}

// chain returns a chain with the leaves that this publication has added to it.
// Its last one of before is proven, and that the log has none behind it, so that
// nothing is built on a line that is not in the log or is not the last.
func (p *publication) chain(ctx context.Context, name string) (*chain, error) {
	if c := p.chains[name]; c != nil {
		return c, nil
	}
	c, err := p.t.x.readChain(name)
	if err != nil {
		return nil, err
	}
	if n := len(c.events) - 1; n >= 0 && p.t.tip != nil {
		if _, err := proveIs(ctx, p.t.x.src, p.t.tip.checkpoint, c.events[n].Seq, c.lines[n]); err != nil {
			return nil, err
		}
	}
	if err := p.checkEnd(ctx, c); err != nil {
		return nil, err
	}
	p.chains[name] = c
	return c, nil
}

// log adds a leaf: its position, its date, the view as it is after all files
// that were put so far, and the leaf of its chain before it.
func (p *publication) log(ctx context.Context, e attest.Event) (attest.Event, error) {
	c, err := p.chain(ctx, e.Chain)
	if err != nil {
		return e, err
	}
	if there, twice := c.find(e.Type, e.Object); twice && e.Type != attest.EventConfig {
		return e, fault.New(fault.Semantic, "%s %s is in chain %s already, as leaf %d", e.Type, e.Object, e.Chain, there.Seq)
	}
	if e.At, err = attest.FormatTime(p.at); err != nil {
		return e, err
	}
	e.SchemaVersion = document.Events.ID()
	e.Seq, e.Prev, e.View = p.next(), c.last(), p.view
	leaf, err := e.Encode()
	if err != nil {
		return e, err
	}
	c.add(e, leaf)
	p.leaves = append(p.leaves, leaf)
	return e, c.checkLength()
}

// put sets the new bytes of config.json or a line file, and of the three nodes
// above it.
func (p *publication) put(file string, data []byte) error {
	p.files[file] = data
	if !p.logged() {
		return nil
	}
	return p.setView(map[string]store.Digest{file: store.DigestOf(data)})
}

// setView sets the digests of files in the view. Every node is compared with
// the one above it first: what is wrong must not be signed for again.
func (p *publication) setView(digests map[string]store.Digest) error {
	root, err := p.nodes(viewRoot, p.view)
	if err != nil {
		return err
	}
	byNode := map[string]map[string][]string{} // two, four, files
	for file := range digests {
		two, four := viewPath(file)
		if byNode[two] == nil {
			byNode[two] = map[string][]string{}
		}
		byNode[two][four] = append(byNode[two][four], file)
	}
	for two, below := range byNode {
		nodes, err := p.nodes(viewDir+two, root[two])
		if err != nil {
			return err
		}
		for four, files := range below {
			leaf, err := p.viewLeaf(four, nodes[four])
			if err != nil {
				return err
			}
			for _, file := range files {
				leaf[file] = digests[file]
			}
			if nodes[four], err = p.putNode(viewDir+four, leaf, encodeViewFiles); err != nil {
				return err
			}
		}
		if root[two], err = p.putNode(viewDir+two, nodes, encodeViewNodes); err != nil {
			return err
		}
	}
	p.view, err = p.putNode(viewRoot, root, encodeViewNodes)
	return err
}

func (p *publication) putNode(file string, node map[string]store.Digest, encode func(map[string]store.Digest) ([]byte, error)) (store.Digest, error) {
	data, err := encode(node)
	if err == nil && int64(len(data)) > document.View.MaxBytes {
		err = fault.New(fault.Semantic, "%s would have %d bytes, at most %d are allowed", file, len(data), document.View.MaxBytes)
	}
	p.files[file] = data
	return store.DigestOf(data), err
}

func (p *publication) nodes(file string, want store.Digest) (map[string]store.Digest, error) {
	data, err := p.node(file, want)
	if data == nil || err != nil {
		return map[string]store.Digest{}, err
	}
	return decodeViewNodes(file, data)
}

func (p *publication) viewLeaf(four string, want store.Digest) (map[string]store.Digest, error) {
	data, err := p.node(viewDir+four, want)
	if data == nil || err != nil {
		return map[string]store.Digest{}, err
	}
	return decodeViewFiles(viewDir+four, data)
}

// node returns a node of the view with the digest that the node above has for
// it; nil if that has none.
func (p *publication) node(file string, want store.Digest) ([]byte, error) {
	if data, staged := p.files[file]; staged {
		return data, nil
	}
	if want == "" {
		return nil, nil
	}
	data, err := p.t.x.read(file, document.View.MaxBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, viewMismatch(file, want, "missing")
	}
	if err == nil && store.DigestOf(data) != want {
		err = viewMismatch(file, want, string(store.DigestOf(data)))
	}
	return data, err
}

func viewMismatch(file string, want store.Digest, got string) error {
	return fault.New(fault.ViewMismatch, "%s is %s, the view says %s", file, got, want).WithHint("run: rebuild index fsck")
}

// inView returns the digest of a file under the view, "" if it has none.
func (p *publication) inView(file string) (store.Digest, error) {
	two, four := viewPath(file)
	root, err := p.nodes(viewRoot, p.view)
	if err != nil {
		return "", err
	}
	nodes, err := p.nodes(viewDir+two, root[two])
	if err != nil {
		return "", err
	}
	files, err := p.viewLeaf(four, nodes[four])
	return files[file], err
}

// commit makes the publication.
func (p *publication) commit(ctx context.Context) error {
	x := p.t.x
	if err := x.writeContent(p.content); err != nil {
		return err
	}
	if !p.logged() {
		// From the rename of this file on the version is published.
		return x.replace(p.files)
	}
	j := &journal{SchemaVersion: document.Staged.ID(), Files: []stagedData{}, Leaves: []string{}, Size: p.next() - int64(len(p.leaves))}
	for _, file := range slices.Sorted(maps.Keys(p.files)) {
		j.Files = append(j.Files, stagedData{string(p.files[file]), file})
	}
	for _, leaf := range p.leaves {
		j.Leaves = append(j.Leaves, string(leaf))
	}
	if err := j.sign(x.in.LogKey, p.t.config.Log.Origin); err != nil {
		return err
	}
	data, err := document.Encode(j)
	if err != nil {
		return err
	}
	if int64(len(data)) > document.Staged.MaxBytes {
		return fault.New(fault.Semantic, "the publication has %d bytes, at most %d are allowed at once", len(data), document.Staged.MaxBytes)
	}
	if err := x.replace(map[string][]byte{stagedFile: data}); err != nil {
		return err
	}
	return p.t.finish(ctx, j)
}

// finish does what a journal says, from the log on. It is the same function
// for a write and for one that a crash has interrupted, and doing it twice
// changes nothing.
func (t *turn) finish(ctx context.Context, j *journal) error {
	checkpoint, err := t.append(ctx, j)
	if err != nil {
		return err
	}
	return t.show(ctx, j, checkpoint)
}

// show makes readers see a journal that the log has. It takes no key: the log
// fixes every byte that is written.
func (t *turn) show(ctx context.Context, j *journal, checkpoint *attest.Checkpoint) error {
	// A crash from here on leaves files of both states under the old head.
	order, files, err := t.finalFiles(ctx, j, checkpoint)
	if err != nil {
		return err
	}
	if err := t.x.replaceInOrder(order, files); err != nil {
		return err
	}
	// All is done; a crash here only leaves the journal to be done again.
	if err := t.x.disk.Remove(filepath.Join(t.x.dir, stagedFile)); err != nil {
		return writeFault(err)
	}
	if err := t.x.disk.SyncDir(t.x.dir); err != nil {
		return writeFault(err)
	}
	t.tip, err = readTip(ctx, t.x.src, t.config)
	return err
}

// append brings the leaves of a journal into the log, those of them that are
// not there yet.
func (t *turn) append(ctx context.Context, j *journal) (*attest.Checkpoint, error) {
	size := t.log.Size()
	if size < j.Size || size > j.end() {
		return nil, t.x.misplaced(ctx, t.config, j, size)
	}
	var rest [][]byte
	for _, leaf := range j.Leaves[size-j.Size:] {
		rest = append(rest, []byte(leaf))
	}
	if len(rest) > 0 {
		if err := j.checkSigned(t.x.in.LogKey.Public(), t.config.Log.Origin); err != nil {
			return nil, err
		}
	}
	if err := t.log.Append(ctx, rest); err != nil {
		return nil, writeFault(err)
	}
	checkpoint, err := readCheckpoint(ctx, t.x.src, t.config)
	if err != nil {
		return nil, writeFault(err)
	}
	if checkpoint.Size != j.end() {
		return nil, fault.New(fault.Internal, "the checkpoint has %d leaves after a publication that ends with leaf %d", checkpoint.Size, j.end()-1)
	}
	return checkpoint, t.x.proveLeaves(ctx, j, checkpoint)
}

// misplaced says that a journal is about another place than the end of the log. One
// that the log has whole was finished long ago, and somebody has put it back.
func (x *Index) misplaced(ctx context.Context, c *Config, j *journal, size int64) error {
	checkpoint, err := readCheckpoint(ctx, x.src, c)
	if err == nil && j.end() <= checkpoint.Size && x.proveLeaves(ctx, j, checkpoint) == nil {
		return fault.New(fault.Fork, "the leaves from %d to %d are staged again, and the log, of %d leaves, has them", j.Size, j.end()-1, size).
			WithHint("find out who writes in the folder of the index, and remove %s: all of it is published", stagedFile)
	}
	return fault.New(fault.Fork, "the log has %d leaves, what is staged are the leaves from %d to %d", size, j.Size, j.end()-1).
		WithHint("put back the log and %s as they were together", stagedFile)
}

// proveLeaves wants the leaves of a journal to be those that the log has.
func (x *Index) proveLeaves(ctx context.Context, j *journal, checkpoint *attest.Checkpoint) error {
	for i, leaf := range j.Leaves {
		if _, err := proveIs(ctx, x.src, checkpoint, j.Size+int64(i), []byte(leaf)); err != nil {
			return err
		}
	}
	return nil
}

// proveIs returns the proof of a leaf of the log that a source serves. Another
// leaf at its place is FORK.
func proveIs(ctx context.Context, src Source, c *attest.Checkpoint, seq int64, leaf []byte) (tlog.RecordProof, error) {
	proof, err := proveLeaf(ctx, src, c.Size, c.Root, seq)
	if err != nil {
		return nil, err
	}
	if err := tlog.CheckRecord(proof, c.Size, c.Root, seq, tlog.RecordHash(leaf)); err != nil {
		return nil, fault.New(fault.Fork, "leaf %d of the log is not the one that is about to be published or that its chain has", seq).
			WithHint("run: rebuild index fsck")
	}
	return proof, nil
}

// finalFiles are the files that a journal ends in, and their order: what a
// reader goes by last.
func (t *turn) finalFiles(ctx context.Context, j *journal, c *attest.Checkpoint) ([]string, map[string][]byte, error) {
	files := map[string][]byte{}
	var order []string
	add := func(file string, data []byte) { order, files[file] = append(order, file), data }
	chains, err := t.extendChains(ctx, j, c)
	if err != nil {
		return nil, nil, err
	}
	for _, file := range slices.Sorted(maps.Keys(chains)) {
		add(file, chains[file])
	}
	for _, f := range j.Files {
		if !fs.ValidPath(f.Path) || strings.HasPrefix(f.Path, ".") {
			return nil, nil, fault.New(fault.Structure, "%.200q is no path of an index", f.Path).At(stagedFile, 0)
		}
		if f.Path != configFile {
			add(f.Path, []byte(f.Data))
		}
	}
	for _, f := range j.Files { // from here on it is an index, or one with a log
		if f.Path == configFile {
			add(f.Path, []byte(f.Data))
		}
	}
	last := []byte(j.Leaves[len(j.Leaves)-1])
	proof, err := proveIs(ctx, t.x.src, c, j.end()-1, last)
	if err != nil {
		return nil, nil, err
	}
	add(headFile, encodeHead(last, j.end()-1, proof, c.Note))
	return order, files, nil
}

// extendChains returns the chain files with a journal's leaves in them. What one
// of them has lost since the leaves were staged is in the log.
func (t *turn) extendChains(ctx context.Context, j *journal, checkpoint *attest.Checkpoint) (map[string][]byte, error) {
	leaves := map[string][]attest.Event{}
	for i, text := range j.Leaves {
		e, err := attest.DecodeEvent(stagedFile, i+1, []byte(text))
		if err != nil {
			return nil, err
		}
		leaves[e.Chain] = append(leaves[e.Chain], e)
	}
	out := map[string][]byte{}
	for name, added := range leaves {
		file, err := chainPath(name)
		if err != nil {
			return nil, err
		}
		c, err := t.x.extended(name, added, j)
		if err != nil {
			if c, err = t.x.loggedChain(ctx, checkpoint, name); err != nil {
				return nil, err
			}
		}
		out[file] = c.raw
	}
	return out, nil
}

// extended is the file of a chain with leaves of a journal in it.
func (x *Index) extended(name string, added []attest.Event, j *journal) (*chain, error) {
	c, err := x.readChain(name)
	if err != nil {
		return nil, err
	}
	for _, e := range added {
		if err := c.extend(e, []byte(j.Leaves[e.Seq-j.Size])); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// loggedChain makes a chain anew from the log.
func (x *Index) loggedChain(ctx context.Context, checkpoint *attest.Checkpoint, name string) (*chain, error) {
	c := &chain{name: name}
	for l, err := range readLeaves(ctx, x.src, 0, checkpoint.Size, checkpoint.Root) {
		if err != nil {
			return nil, err
		}
		e, err := attest.DecodeEvent(leafName(l.seq), 1, l.data)
		if err != nil || e.Chain != name {
			continue // for fsck to tell
		}
		if err := c.extend(e, l.data); err != nil {
			return nil, err
		}
	}
	return c, nil
}
