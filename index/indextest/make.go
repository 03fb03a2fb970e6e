// Package indextest makes logged indexes for tests and benchmarks, of a few
// entries or of millions, in the bytes that the writer of package index makes,
// but without its fsync for each file and its turn for each entry. The writer
// can go on from what is made here.
package indextest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/index"
	"rebuild/index/translog"
	"rebuild/internal/document"
	"rebuild/store"
)

// Options say what index is made. Equal options give equal bytes.
type Options struct {
	Entries  int  // versions of all packages together
	Versions int  // of each package, but for the last one; 0 is 10
	Archives bool // each entry has its archive; else cksums are of nothing
	// Cosigned is the date of the checkpoint; zero is [attesttest.Cosigned]. No
	// leaf is dated later.
	Cosigned time.Time
}

// The index is of log [attesttest.Origin] with the key "log", and its entries
// are signed by the key "index": [attesttest.Policy] with [attesttest.LogPolicy]
// of no witness is a policy for it.

// Log returns what opens the log of an index that Make made, for a writer that
// goes on, with a clock.
func Log(now func() time.Time) translog.Options {
	return translog.Options{Origin: attesttest.Origin, Key: attesttest.Key("log"), Now: now}
}

// Config returns the config.json of the index.
func Config() index.Config {
	return index.Config{
		SchemaVersion: document.IndexConfig.ID(),
		Signing:       index.SigningWith(attesttest.Key("index").Public()),
		Log:           &index.Log{Origin: attesttest.Origin, Key: attest.LogKey(attesttest.Origin, attesttest.Key("log").Public())},
	}
}

// Entry returns the name and version of entry i: first all versions of one
// package, then those of the next. Its leaf is i+1, leaf 0 is of the config.
func (o Options) Entry(i int) (name, version string) {
	return Name(i / o.versions()), fmt.Sprintf("0.%d.0", i%o.versions())
}

func (o Options) versions() int {
	if o.Versions == 0 {
		return 10
	}
	return o.Versions
}

// Name returns the name of package i. Their first letters are spread over some
// 16,000 directories, as those of a large index are.
func Name(i int) string {
	const letters = "abcdefghijklmnopqrstuvwxyz"
	x := uint32(i) * 2654435761 >> 18 // of 16384
	return string([]byte{letters[x%16], letters[x>>4%16], letters[x>>8%8], letters[x>>11%8]}) + fmt.Sprint(i)
}

// At returns the date of leaf i, spread over the time from the first leaf to
// the checkpoint.
func (o Options) At(i int) time.Time {
	span := o.cosigned().Sub(attesttest.LogStart).Seconds()
	return attesttest.LogStart.Add(time.Duration(span*float64(i)/float64(o.Entries+1)) * time.Second)
}

func (o Options) cosigned() time.Time {
	if o.Cosigned.IsZero() {
		return attesttest.Cosigned
	}
	return o.Cosigned
}

// Package returns the archive of an entry, opened.
func Package(name, version string) (*attest.Package, error) {
	toml := strings.NewReplacer(`"hello"`, `"`+name+`"`, `"0.1.0"`, `"`+version+`"`).Replace(attesttest.PackageTOML)
	_, image, err := attest.LoadPackage("package.toml", []byte(toml))
	if err != nil {
		return nil, err
	}
	return attest.Pack(image, nil, attesttest.Epoch)
}

// Make makes the index in dir, which is created. Signing, chaining and writing
// go on side by side, and have ended when it returns.
func Make(ctx context.Context, dir string, o Options) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	m := &maker{Options: o, dir: dir, key: attesttest.Key("index"), tree: &tree{}, view: newView(), files: newFiles(dir)}
	signed := make(chan signedEntry, 256)
	var signing sync.WaitGroup
	signing.Go(func() {
		defer close(signed)
		for i := 0; i < o.Entries && ctx.Err() == nil; i++ {
			signed <- m.sign(i)
		}
	})
	defer func() {
		cancel()
		for range signed { // so that the goroutine gets on and sees it
		}
		signing.Wait()
		err = errors.Join(err, m.files.wait())
	}()
	if err := m.begin(); err != nil {
		return err
	}
	for e := range signed {
		if err := errors.Join(e.err, ctx.Err()); err != nil {
			return err
		}
		if err := m.entry(e.Entry); err != nil {
			return err
		}
	}
	if err := errors.Join(ctx.Err(), m.endPackage()); err != nil {
		return err
	}
	return m.end(ctx)
}

// maker is an index on its way.
type maker struct {
	Options
	dir   string
	key   attest.Signer
	files *files
	tree  *tree
	view  *view
	last  []byte // leaf

	// Of the package at hand:
	name         string
	lines, chain []byte
	prev         store.Digest
}

func (m *maker) begin() error {
	data, err := document.Encode(Config())
	if err != nil {
		return err
	}
	m.view.set("config.json", store.DigestOf(data))
	if err := m.files.write("config.json", data); err != nil {
		return err
	}
	leaf, err := m.leaf(attest.Event{Chain: "index", Type: attest.EventConfig, Object: store.DigestOf(data)}, 0)
	if err != nil {
		return err
	}
	return m.files.write("chains/index.jsonl", append(leaf, '\n'))
}

// signedEntry is an entry that is not logged yet, or why there is none.
type signedEntry struct {
	*index.Entry
	err error
}

func (m *maker) sign(i int) signedEntry {
	name, version := m.Entry(i)
	cksum, err := m.archive(name, version)
	seq := int64(i + 1)
	e := &index.Entry{SchemaVersion: document.IndexEntry.ID(), Name: name, Version: version, Cksum: cksum, Seq: &seq, Assurance: index.AssuranceNone}
	return signedEntry{e, errors.Join(err, e.Sign(m.key))}
}

// entry adds an entry to the package at hand, or to the next one.
func (m *maker) entry(e *index.Entry) error {
	if e.Name != m.name {
		if err := m.endPackage(); err != nil {
			return err
		}
		m.name, m.lines, m.chain, m.prev = e.Name, nil, nil, ""
	}
	line, err := e.Encode()
	if err != nil {
		return err
	}
	m.lines = append(append(m.lines, line...), '\n')
	m.view.set(linePath(e.Name), store.DigestOf(m.lines))
	event := attest.Event{Chain: "pkg:" + e.Name, Type: attest.EventEntry, Object: store.DigestOf(line), Prev: m.prev, By: m.key.Public().ID()}
	leaf, err := m.leaf(event, int(*e.Seq))
	if err != nil {
		return err
	}
	m.prev = store.DigestOf(leaf)
	m.chain = append(append(m.chain, leaf...), '\n')
	return nil
}

func (m *maker) archive(name, version string) (cksum string, err error) {
	if !m.Archives {
		return store.DigestOf([]byte("archive of " + name + " " + version)).Hex(), nil
	}
	p, err := Package(name, version)
	if err != nil {
		return "", err
	}
	return p.Cksum(), m.files.write("objects/sha256/"+p.Cksum(), p.Archive())
}

// leaf logs an event after the view was changed.
func (m *maker) leaf(e attest.Event, n int) ([]byte, error) {
	at, err := attest.FormatTime(m.At(n))
	if err != nil {
		return nil, err
	}
	e.Seq, e.At, e.View = int64(n), at, m.view.digest()
	leaf, err := e.Encode()
	if err != nil {
		return nil, err
	}
	m.last = leaf
	return leaf, m.tree.add(leaf, m.files.write)
}

func (m *maker) endPackage() error {
	if m.name == "" {
		return nil
	}
	if err := m.files.write(linePath(m.name), m.lines); err != nil {
		return err
	}
	return m.files.write("chains/pkg/"+linePath(m.name)+".jsonl", m.chain)
}

func linePath(name string) string { return name[:2] + "/" + name[2:4] + "/" + name }

// end writes what is of the whole: the right edge of the tree, the view, the
// checkpoint and the head.
func (m *maker) end(ctx context.Context) error {
	if err := m.tree.end(m.files.write); err != nil {
		return err
	}
	if err := m.view.write(m.files.write); err != nil {
		return err
	}
	if err := m.files.wait(); err != nil {
		return err
	}
	hashes := diskHashes{m.dir, m.tree.size}
	root, err := tlog.TreeHash(m.tree.size, hashes)
	if err != nil {
		return err
	}
	checkpoint, err := m.publish(ctx, root)
	if err != nil {
		return err
	}
	proof, err := tlog.ProveRecord(m.tree.size, m.tree.size-1, hashes)
	if err != nil {
		return err
	}
	disk := newFiles(m.dir)
	head := append(append([]byte{}, m.last...), '\n')
	head = append(head, attest.EncodeProof(m.tree.size-1, proof, checkpoint)...)
	return errors.Join(disk.write("head", head), disk.write("lock", nil), disk.wait())
}

// publish signs the tree that is on disk, and has the writer of the log open it,
// which compares them.
func (m *maker) publish(ctx context.Context, root tlog.Hash) ([]byte, error) {
	in := Log(m.cosigned)
	log, dated, err := attest.LogSigners(in.Origin, in.Key, in.Now)
	if err != nil {
		return nil, err
	}
	text := fmt.Sprintf("%s\n%d\n%s\n", in.Origin, m.tree.size, root)
	signed, err := note.Sign(&note.Note{Text: text}, log, dated)
	if err != nil {
		return nil, err
	}
	disk := newFiles(m.dir)
	defer disk.wait()
	for path, data := range map[string]string{
		"checkpoint":            string(signed),
		".state/version":        "1",
		".state/collected":      fmt.Sprint(m.tree.size >> 8 << 8), // of whole tiles
		".state/treeState":      fmt.Sprintf(`{"size":%d,"root":"%s"}`, m.tree.size, root),
		".state/publish.lock":   "",
		".state/treeState.lock": "",
	} {
		if err := disk.write(path, []byte(data)); err != nil {
			return nil, err
		}
	}
	if err := disk.wait(); err != nil {
		return nil, err
	}
	l, err := translog.Open(ctx, m.dir, in)
	if err != nil {
		return nil, err
	}
	if err := l.Close(ctx); err != nil {
		return nil, err
	}
	return os.ReadFile(filepath.Join(m.dir, "checkpoint"))
}
