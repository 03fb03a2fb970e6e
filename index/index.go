// Package index is where releases are found: a directory of static files that
// any web server can serve (index.md 7).
//
//	config.json                          how to read it, and advertised keys
//	1/a  2/ab  3/a/abc  he/ll/hello      one line per version, [Entry]
//	~org/he/ll/hello                     the same, of a package org/hello
//	statements/<payload hex>.dsse.json   releases and the results they rest on
//	objects/sha256/<hex>                 archives, plans, locks, manifests
//	lock                                 excludes a second writer
//
// Readers call [NewReader] and then [Reader.Verify] or [Reader.Lookup]; they
// need no trust in who serves the files, only a policy. Writers call [Init]
// once, then [Open] and [Index.Publish].
//
// Publishing writes what a line names before the line itself, each file
// durably, and the line file is replaced in one step. So a crash at any point
// leaves an index that a reader accepts, with the new version or without it,
// and publishing again ends in the same bytes. A published version never
// changes.
//
// This is the unlogged index: yanked, advisories and backfilled are shown as
// what the server says, and dropping a line or a version is not noticed. The
// log that binds them is not part of this version, and an index that has one
// is refused.
package index

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"rebuild/attest"
	"rebuild/internal/document"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
	"rebuild/internal/names"
)

// Index is an index in a local directory that can be written.
type Index struct {
	dir  string
	disk durable.FS
	*Reader
}

// Init makes a new index in dir, which is created. A directory that holds
// anything is USAGE: a mistyped path must not become a second index.
func Init(dir string, c Config) error { return initIndex(durable.OS{}, dir, c) }

func initIndex(fsys durable.FS, dir string, c Config) error {
	c.SchemaVersion = document.IndexConfig.ID()
	if err := c.validate(); err != nil {
		return err
	}
	held, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return writeFault(err)
	}
	for _, entry := range held {
		if !strings.HasPrefix(entry.Name(), durable.TempPrefix) { // left by an Init that was stopped
			return fault.New(fault.Usage, "%s is not empty: it holds %s", dir, entry.Name()).
				WithHint("name an empty directory")
		}
	}
	data, err := document.Encode(c)
	if err != nil {
		return err
	}
	if err := durable.MkdirAll(fsys, dir); err != nil {
		return writeFault(err)
	}
	return writeFault(durable.WriteFile(fsys, filepath.Join(dir, configFile), data))
}

func writeFault(err error) error {
	if err == nil {
		return nil
	}
	return fault.New(fault.Internal, "writing the index: %w", err)
}

// Open opens the index in dir for writing.
func Open(dir string) (*Index, error) { return open(durable.OS{}, dir) }

func open(fsys durable.FS, dir string) (*Index, error) {
	reader, err := NewReader(os.DirFS(dir), dir)
	if err != nil {
		return nil, err
	}
	return &Index{dir, fsys, reader}, nil
}

// Publish adds a release to the index under an entry signed by key, and
// returns the entry. The publication was verified by the policy; the key must
// be one that the policy has for index entries at that time (KEY_UNKNOWN,
// KEY_EXPIRED), or readers would refuse the entry.
//
// A version that is there already is ALREADY_PUBLISHED, also under another
// +build. Publishing the same release again changes nothing and returns the
// entry that is there. If the owners differ from those of the release before,
// each old owner must have signed too (OWNER_CHANGED). What [CanHold] refuses is
// not taken in.
func (x *Index) Publish(p *attest.Publication, policy *attest.Policy, key attest.Signer, now time.Time) (*Entry, error) {
	e, err := x.entry(p, policy, key, now)
	if err != nil {
		return nil, err
	}
	unlock, err := durable.Lock(filepath.Join(x.dir, lockFile), true)
	if err != nil {
		return nil, writeFault(err)
	}
	defer unlock()
	path, lines, there, err := x.admit(e, p)
	if there != nil || err != nil {
		return there, err
	}
	// A crash up to here, or in here, leaves files that no line names.
	if err := x.writeContent(p); err != nil {
		return nil, err
	}
	// From the rename of this file on the version is published.
	return e, x.write(path, lines)
}

// Check says whether Publish would refuse the release now, and writes nothing.
// It is for a publisher who writes other files too, and none of them in vain.
func (x *Index) Check(p *attest.Publication, policy *attest.Policy, key attest.Signer, now time.Time) error {
	e, err := x.entry(p, policy, key, now)
	if err != nil {
		return err
	}
	_, _, _, err = x.admit(e, p)
	return err
}

// CanHold refuses a release that no index of this version can give back whole:
// one that is logged, whose events and proof are not kept (USAGE).
func CanHold(p *attest.Publication) error {
	if r := p.Release().Release(); r.LogOrigin != "" {
		return fault.New(fault.Usage, "%s %s is in log %s, and an index keeps no log yet: it could not be verified from there", r.Name, r.Version, r.LogOrigin).
			WithHint("publish it without --index; the bundle holds the events and their proof")
	}
	return nil
}

// entry makes the signed entry of a release that readers will accept.
func (x *Index) entry(p *attest.Publication, policy *attest.Policy, key attest.Signer, now time.Time) (*Entry, error) {
	if err := CanHold(p); err != nil {
		return nil, err
	}
	e := NewEntry(p)
	if err := e.Sign(key); err != nil {
		return nil, err
	}
	return e, x.CheckEntry(e, policy, now)
}

// admit returns the line file with the entry added, or the entry that is there
// if it is of the same release.
func (x *Index) admit(e *Entry, p *attest.Publication) (path string, lines []byte, there *Entry, err error) {
	path, lines, entries, err := x.lines(e.Name)
	if err != nil {
		return "", nil, nil, err
	}
	if there, err := e.published(entries); there != nil || err != nil {
		return "", nil, there, err
	}
	if err := x.checkTwins(e.Name); err != nil {
		return "", nil, nil, err
	}
	if err := x.checkOwners(p, entries); err != nil {
		return "", nil, nil, err
	}
	line, err := e.Encode()
	if err != nil {
		return "", nil, nil, err
	}
	if lines = append(append(lines, line...), '\n'); len(lines) > maxLines {
		return "", nil, nil, fault.New(fault.Semantic, "%s would have %d bytes, at most %d are allowed", path, len(lines), maxLines)
	}
	return path, lines, nil, nil
}

// lines returns the line file of a package as it is, empty if there is none.
func (x *Index) lines(name string) (path string, data []byte, entries []*Entry, err error) {
	if path, err = linePath(name); err != nil {
		return "", nil, nil, err
	}
	data, err = x.read(path, maxLines)
	if errors.Is(err, fs.ErrNotExist) {
		return path, nil, nil, nil
	}
	if err != nil {
		return "", nil, nil, err
	}
	// A line that this version can not read may be the version at hand.
	refuse := false
	entries, err = parseLines(path, name, data, func(string) { refuse = true })
	if err == nil && refuse {
		err = fault.New(fault.SchemaUnsupported, "%s has lines of a newer version of rebuild, which this one must not add to", path).
			WithHint("use a version of rebuild that reads them")
	}
	return path, data, entries, err
}

// published returns the entry that is there if it is of the same release, and
// an error if the version is taken by another.
func (e *Entry) published(entries []*Entry) (*Entry, error) {
	for _, there := range entries {
		if names.CompareVersions(there.Version, e.Version) != 0 {
			continue
		}
		if there.Release == e.Release && there.Cksum == e.Cksum {
			return there, nil
		}
		return nil, fault.New(fault.AlreadyPublished, "%s@%s is published already, as release %s", there.Name, there.Version, there.Release).
			WithHint("publish a new version; a published one never changes")
	}
	return nil, nil
}

// checkTwins refuses a name that differs only in - and _ from one that is
// there. It follows every directory that could lead to such a name.
func (x *Index) checkTwins(name string) error {
	path, err := linePath(name)
	if err != nil {
		return err
	}
	found := []string{"."}
	for _, part := range strings.Split(path, "/") {
		var next []string
		for _, dir := range found {
			held, err := fs.ReadDir(x.fsys, dir)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return writeFault(err)
			}
			for _, entry := range held {
				if names.Fold(entry.Name()) == names.Fold(part) {
					next = append(next, strings.TrimPrefix(dir+"/"+entry.Name(), "./"))
				}
			}
		}
		found = next
	}
	for _, twin := range found {
		if twin != path {
			return fault.New(fault.Semantic, "%s differs only in - and _ from the package at %s", name, twin).
				WithHint("choose another name")
		}
	}
	return nil
}

// checkOwners wants the consent of the old owners when the owners change.
func (x *Index) checkOwners(p *attest.Publication, entries []*Entry) error {
	old, err := x.previousOwners(entries)
	if err != nil {
		return err
	}
	release := p.Release().Release()
	fresh := release.OwnerKeys()
	if slices.Equal(old, fresh) {
		return nil
	}
	for _, k := range old {
		if !p.SignedBy(k) {
			return fault.New(fault.OwnerChanged, "%s was owned by %s until now, who has not signed version %s",
				release.Name, k.Fingerprint(), release.Version).
				WithHint("have the old owner sign the release too")
		}
	}
	return nil
}

// previousOwners returns the owners of the last release in the line file. It
// was verified when it was published; here it only must be the one named.
func (x *Index) previousOwners(entries []*Entry) ([]attest.PublicKey, error) {
	for _, e := range slices.Backward(entries) {
		if e.Release == "" {
			continue
		}
		raw, err := x.statement(e.Release)
		if err != nil {
			return nil, err
		}
		return attest.OwnersOf(raw)
	}
	return nil, nil
}

// writeContent writes everything that the entry leads to. A file that is
// there and whole is left alone, a damaged one is replaced.
func (x *Index) writeContent(p *attest.Publication) error {
	files := map[string][]byte{}
	for d, data := range p.Objects() {
		files[objectPath(d)] = data
	}
	for d, data := range p.Envelopes() {
		files[statementPath(d)] = data
	}
	batch := durable.NewBatch(x.disk)
	defer batch.Abort()
	for _, path := range slices.Sorted(maps.Keys(files)) {
		if there, err := x.read(path, maxObject); err == nil && bytes.Equal(there, files[path]) {
			continue
		}
		if err := x.add(batch, path, files[path]); err != nil {
			return writeFault(err)
		}
	}
	return writeFault(batch.Commit())
}

func (x *Index) add(batch *durable.Batch, path string, data []byte) error {
	full := filepath.Join(x.dir, filepath.FromSlash(path))
	if err := durable.MkdirAll(x.disk, filepath.Dir(full)); err != nil {
		return err
	}
	w, err := durable.Create(x.disk, filepath.Dir(full))
	if err != nil {
		return err
	}
	batch.Add(w, full)
	if _, err := w.Write(data); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func (x *Index) write(path string, data []byte) error {
	full := filepath.Join(x.dir, filepath.FromSlash(path))
	if err := durable.MkdirAll(x.disk, filepath.Dir(full)); err != nil {
		return writeFault(err)
	}
	return writeFault(durable.WriteFile(x.disk, full, data))
}
