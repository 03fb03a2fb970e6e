// Package index is where releases are found: a directory of static files that
// any web server can serve (index.md 7).
//
//	config.json                          how to read it, and advertised keys
//	1/a  2/ab  3/a/abc  he/ll/hello      one line per version, [Entry]
//	~org/he/ll/hello                     the same, of a package org/hello
//	statements/<payload hex>.dsse.json   releases, results, yanks
//	objects/sha256/<hex>                 archives, plans, locks, manifests
//	checkpoint  head  tile/...           the log, append-only
//	view/root  view/<2 hex>  ...         digest of config.json and all lines
//	chains/...                           derived: the leaves of each chain
//	entries.json  pubkeys.json           derived, only if exported
//	.staged                              what a publication is about to write
//	lock                                 excludes a second writer
//
// Readers call [NewReader] and then [Reader.Verify] or [Reader.Lookup]; they
// need no trust in who serves the files, only a policy. Writers call [Init]
// once, then [Open] and [Index.Publish], [Index.AddStatements],
// [Index.AddPackage] or [Index.Yank]; whoever keeps the index runs [Fsck].
//
// A write to a logged index is staged -> log -> view (see publication.commit):
// a crash at any point is made good by the next writer, and doing the same
// again ends in the same bytes. Without a log a line file is replaced in one
// step, after everything that it leads to. A published version never changes,
// but for its yanked, advisories, backfilled and a signature that was missing.
//
// In an unlogged index those are what the server says, and dropping a line or
// a version is not noticed. In a logged one the head of the log fixes all of
// it: each change is a leaf, and no leaf can be taken back.
package index

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"rebuild/attest"
	"rebuild/internal/document"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
	"rebuild/store"
)

// LogWriter is the log of an index while it is open for writing.
type LogWriter interface {
	// Size returns how many leaves the published checkpoint covers.
	Size() int64
	// Append adds leaves in this order behind the last one, all of them or
	// none, and returns once the published checkpoint covers them. The same
	// leaves again finish what was interrupted; nothing else is signed.
	Append(ctx context.Context, leaves [][]byte) error
	// Close ends everything that works for the log.
	Close(ctx context.Context) error
}

// OpenLog opens the log in the directory of an index. For [Init] it makes it.
type OpenLog func(ctx context.Context, dir string) (LogWriter, error)

// Writing is what a writer of an index goes by.
type Writing struct {
	// Policy decides whose statements, releases and yanks are taken in. nil:
	// only what needs none is, such as an entry without a release.
	Policy *attest.Policy
	// Key signs entries; nil leaves them unsigned, where that is allowed.
	Key attest.Signer
	// Log opens the log; nil: an unlogged index.
	Log OpenLog
	// LogKey is the log's key, which comes with Log. It is compared with the one
	// in config.json before anything is written, signs what is staged, and
	// checkpoints anew ([Index.SignCheckpoint]).
	LogKey attest.Signer
	Now    func() time.Time
}

// Index is an index in a local directory that can be written. Several may be
// open for one directory, in several processes: each write waits for its turn.
type Index struct {
	dir  string
	disk durable.FS
	fsys fs.FS
	src  Source
	in   Writing
}

// Open opens the index in dir for writing. What is no index is INDEX_FETCH.
func Open(dir string, w Writing) (*Index, error) { return open(durable.OS{}, dir, w) }

func open(disk durable.FS, dir string, w Writing) (*Index, error) {
	x := newIndex(disk, dir, w)
	_, err := x.config()
	if err != nil {
		return nil, err
	}
	return x, nil
}

func newIndex(disk durable.FS, dir string, w Writing) *Index {
	files := os.DirFS(dir)
	return &Index{dir, disk, files, Dir(files, dir), w}
}

// Dir returns the directory of the index.
func (x *Index) Dir() string { return x.dir }

// Config returns what the index says of itself now.
func (x *Index) Config() (Config, error) {
	c, err := x.config()
	if err != nil {
		return Config{}, err
	}
	return *c, nil
}

func (x *Index) config() (*Config, error) {
	data, err := x.read(configFile, document.IndexConfig.MaxBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.IndexFetch, "%s is not an index: it has no %s", x.dir, configFile).
			WithHint("check the path; a new index is made by: rebuild index init %s", x.dir)
	}
	if err != nil {
		return nil, err
	}
	return decodeConfig(data)
}

// read returns a file of the index. Not being there is fs.ErrNotExist.
func (x *Index) read(path string, limit int64) ([]byte, error) {
	return x.src.Get(context.Background(), path, limit, true)
}

// Reader returns a reader of the index.
func (x *Index) Reader(ctx context.Context, in Reading) (*Reader, error) {
	return NewReader(ctx, x.src, in)
}

func writeFault(err error) error {
	var coded *fault.Error
	if err == nil || errors.As(err, &coded) {
		return err
	}
	return fault.New(fault.Internal, "writing the index: %w", err)
}

// Init makes a new index in dir, which is created. A directory that holds
// anything is USAGE: a mistyped path must not become a second index. What an
// Init left that was stopped is taken up again.
//
// With c.Log the index is logged, and leaf 0 of the log is its config.
func Init(ctx context.Context, dir string, c Config, w Writing) error {
	return initIndex(ctx, durable.OS{}, dir, c, w)
}

func initIndex(ctx context.Context, disk durable.FS, dir string, c Config, w Writing) error {
	data, err := encodeConfig(&c)
	if err != nil {
		return err
	}
	if err := emptyForInit(dir, data); err != nil {
		return err
	}
	if err := durable.MkdirAll(disk, dir); err != nil {
		return writeFault(err)
	}
	x := newIndex(disk, dir, w)
	if c.Log == nil {
		return writeFault(durable.WriteFile(disk, filepath.Join(dir, configFile), data))
	}
	return x.turn(ctx, &c, func(t *turn) error {
		if t.tip != nil && t.tip.Seq > 0 { // what was staged was more than an Init
			return notEmpty(dir, configFile)
		}
		return t.enterConfig(ctx, data)
	})
}

func encodeConfig(c *Config) ([]byte, error) {
	c.SchemaVersion = document.IndexConfig.ID()
	if err := c.validate(); err != nil {
		return nil, err
	}
	return document.Encode(c)
}

// initLeaves are what an Init that was stopped may have made before config.json,
// and initEnds are the rest.
var (
	initLeaves = []string{stagedFile, lockFile, checkpointFile, "tile", "view", "chains", ".state"}
	initEnds   = []string{configFile, headFile}
)

// tempCheckpoint is what the log's writer calls a checkpoint on its way, which it
// removes itself when it is opened again.
var tempCheckpoint = regexp.MustCompile(`^` + checkpointFile + `[0-9]{1,10}$`)

func emptyForInit(dir string, config []byte) error {
	held, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return writeFault(err)
	}
	ours := initLeaves
	if endsInit(dir, config) {
		ours = slices.Concat(initLeaves, initEnds)
	}
	for _, entry := range held {
		name := entry.Name()
		if !strings.HasPrefix(name, durable.TempPrefix) && !tempCheckpoint.MatchString(name) && !slices.Contains(ours, name) {
			return notEmpty(dir, name)
		}
	}
	return nil
}

// endsInit says whether what is staged in dir may be the end of an Init with the
// same config: all but that is staged is in its place.
func endsInit(dir string, config []byte) bool {
	if _, err := os.Lstat(filepath.Join(dir, stagedFile)); err != nil {
		return false
	}
	held, err := Dir(os.DirFS(dir), dir).Get(context.Background(), configFile, document.IndexConfig.MaxBytes, true)
	return err == nil && bytes.Equal(held, config)
}

func notEmpty(dir, name string) error {
	return fault.New(fault.Usage, "%s is not empty: it holds %s", dir, name).WithHint("name an empty directory")
}

// SetConfig replaces config.json. In a logged index that is an event. A config
// that names a log makes a log for an index that had none: the lines that are
// there are then under its view, and no leaf is about them but for their yank
// statements: what the flags of a line say has to have its statement (UNYANKED).
func (x *Index) SetConfig(ctx context.Context, c Config) error {
	data, err := encodeConfig(&c)
	if err != nil {
		return err
	}
	old, err := x.config()
	if err != nil {
		return err
	}
	switch {
	case old.Log != nil && (c.Log == nil || *c.Log != *old.Log):
		return fault.New(fault.Usage, "the log of an index can not be changed or taken away").
			WithHint("keep log in %s as it is, or make a new index", configFile)
	case c.Log == nil:
		return x.turn(ctx, nil, func(t *turn) error { return t.x.replace(map[string][]byte{configFile: data}) })
	}
	return x.turn(ctx, &c, func(t *turn) error { return t.enterConfig(ctx, data) })
}

// enterConfig logs a config. The same again is nothing new.
func (t *turn) enterConfig(ctx context.Context, data []byte) error {
	if held, err := t.x.read(configFile, document.IndexConfig.MaxBytes); err == nil && bytes.Equal(held, data) && t.tip != nil {
		return nil
	}
	p, err := t.begin()
	if err != nil {
		return err
	}
	if t.tip == nil { // the first leaf fixes the lines that are there
		if err := p.viewLines(); err != nil {
			return err
		}
	}
	if err := p.put(configFile, data); err != nil {
		return err
	}
	if _, err := p.log(ctx, attest.Event{Chain: indexChain, Type: attest.EventConfig, Object: store.DigestOf(data)}); err != nil {
		return err
	}
	if t.tip == nil { // behind the leaf that fixes their lines
		if err := p.logYanks(ctx); err != nil {
			return err
		}
	}
	return p.commit(ctx)
}

// replace writes files of the index, each in one step, in the order of their
// names.
func (x *Index) replace(files map[string][]byte) error {
	return x.replaceInOrder(slices.Sorted(maps.Keys(files)), files)
}

func (x *Index) replaceInOrder(order []string, files map[string][]byte) error {
	batch := durable.NewBatch(x.disk)
	defer batch.Abort()
	for _, path := range order {
		if err := x.add(batch, path, files[path]); err != nil {
			return writeFault(err)
		}
	}
	return writeFault(batch.Commit())
}

// writeContent writes files that are named by what they hold. One that is
// there and whole is left alone, a damaged one is replaced. A crash leaves
// files that nothing leads to.
func (x *Index) writeContent(files map[string][]byte) error {
	missing := map[string][]byte{}
	for path, data := range files {
		if there, err := x.read(path, maxObject); err != nil || !bytes.Equal(there, data) {
			missing[path] = data
		}
	}
	return x.replace(missing)
}

func (x *Index) add(batch *durable.Batch, path string, data []byte) error {
	full, err := x.place(path)
	if err != nil {
		return err
	}
	if err := durable.MkdirAll(x.disk, filepath.Dir(full)); err != nil {
		return err
	}
	// All temporary files are in one small folder, where the next turn finds
	// what a killed one left without looking through all objects.
	w, err := durable.Create(x.disk, x.dir)
	if err != nil {
		return err
	}
	batch.Add(w, full)
	if _, err := w.Write(data); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// place returns where a file of the index is in the file system. A folder on the
// way that is a link is refused: an index that came from somebody else must not
// lead a writer, or a repair, out of itself.
func (x *Index) place(path string) (string, error) {
	at := x.dir
	parts := strings.Split(path, "/")
	for _, part := range parts[:len(parts)-1] {
		at = filepath.Join(at, part)
		if info, err := os.Lstat(at); err == nil && info.Mode().Type() == fs.ModeSymlink {
			return "", fault.New(fault.Usage, "%s is a link, and nothing is written through it", at).
				WithHint("put a folder in its place: an index is one folder on one file system")
		}
	}
	return filepath.Join(at, parts[len(parts)-1]), nil
}
