package index

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"rebuild/attest"
	"rebuild/internal/document"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
	"rebuild/store"
)

// FsckOptions say what a check may do.
type FsckOptions struct {
	// Repair finishes an interrupted publication as far as the log has it, or
	// with the log's key wholly; it writes derived files again (head, view,
	// chains, entries.json, pubkeys.json) and removes what interrupted writes
	// left. What they are derived from is never changed.
	Repair bool
}

// Finding is one thing that is wrong with an index.
type Finding struct {
	Code fault.Code `json:"code"`
	File string     `json:"file"` // or the leaf of the log
	Text string     `json:"text"`
}

func (f Finding) String() string { return fmt.Sprintf("%s: %s: %s", f.Code, f.File, f.Text) }

// FsckReport is what a check found.
type FsckReport struct {
	Origin     string    `json:"origin,omitempty"` // of the log
	Leaves     int64     `json:"leaves"`
	Packages   int       `json:"packages"`
	Versions   int       `json:"versions"`
	Statements int       `json:"statements"`
	Objects    int       `json:"objects"`
	Findings   []Finding `json:"findings"`
	Notes      []string  `json:"notes"`    // harmless, or not checked
	Repaired   []string  `json:"repaired"` // files that were written or removed
}

// gravest are codes in the order in which they are told first.
var gravest = []fault.Code{
	fault.Fork, fault.Rollback, fault.Unyanked, fault.ViewMismatch, fault.Stale,
	fault.SignatureInvalid, fault.KeyUnknown, fault.KeyExpired, fault.OwnerChanged,
	fault.CksumMismatch, fault.EvidenceMismatch, fault.EventsMismatch, fault.FileMissing, fault.FileExtra,
}

// Err is nil if nothing is wrong, else an error with the code of the gravest
// finding.
func (r *FsckReport) Err() error {
	if len(r.Findings) == 0 {
		return nil
	}
	rank := func(f Finding) int {
		if i := slices.Index(gravest, f.Code); i >= 0 {
			return i
		}
		return len(gravest)
	}
	worst := slices.MinFunc(r.Findings, func(a, b Finding) int { return rank(a) - rank(b) })
	return fault.New(worst.Code, "%d findings, the gravest: %s: %s", len(r.Findings), worst.File, worst.Text).
		WithHint("derived files are put right by: rebuild index fsck --repair; bring the others back from a mirror")
}

// Fsck checks everything about an index in a directory: every leaf of the log
// with its place, link, date, view and object; lines, releases, statements and
// yanks against the leaves; the hash of every object; the derived files; and
// what an interrupted write left. A publication that was interrupted and will
// be finished by the next writer is no finding.
//
// With w.Policy also signatures are judged. The error is of a check that could
// not be made; what is wrong with the index is in the report.
func Fsck(ctx context.Context, dir string, w Writing, o FsckOptions) (*FsckReport, error) {
	return fsck(ctx, durable.OS{}, dir, w, o)
}

func fsck(ctx context.Context, disk durable.FS, dir string, w Writing, o FsckOptions) (*FsckReport, error) {
	x := newIndex(disk, dir, w)
	if !o.Repair {
		unlock := x.holdStill(ctx)
		defer unlock()
		return x.check(ctx).FsckReport, ctx.Err()
	}
	var repaired []string
	if j, _ := x.readJournal(); j != nil { // what is wrong with one is found below
		finished, err := x.finishShown(ctx)
		if err == nil && !finished && x.in.Log != nil {
			finished, err = true, x.Recover(ctx)
		}
		if err != nil {
			return nil, err
		}
		if finished {
			repaired = append(repaired, stagedFile)
		}
	}
	unlock, err := x.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	f := x.check(ctx)
	if err := x.repair(f); err != nil {
		return nil, err
	}
	repaired = append(repaired, slices.Sorted(maps.Keys(f.rewrites))...)
	repaired = append(repaired, f.leftovers...)
	after := x.check(ctx)
	after.Repaired = append(after.Repaired, repaired...)
	return after.FsckReport, ctx.Err()
}

// holdStill keeps writers out while the index is looked at, if that can be
// done without writing.
func (x *Index) holdStill(ctx context.Context) func() {
	if _, err := os.Stat(filepath.Join(x.dir, lockFile)); err != nil {
		return func() {}
	}
	unlock, err := durable.LockUntil(ctx, filepath.Join(x.dir, lockFile), false)
	if err != nil {
		return func() {}
	}
	return unlock
}

func (x *Index) repair(f *checker) error {
	if err := x.replace(f.rewrites); err != nil {
		return err
	}
	for _, file := range f.leftovers {
		full, err := x.place(file)
		if err != nil {
			return err
		}
		if err := x.disk.Remove(full); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return writeFault(err)
		}
	}
	return nil
}

// checker is one check.
type checker struct {
	*FsckReport
	x       *Index // reads what will be there once what is staged is finished
	config  *Config
	tip     *tip
	history *replayed // nil: unlogged

	needed    map[string]string // content that something leads to, and what
	rewrites  map[string][]byte // derived files as they should be
	leftovers []string
}

func (c *checker) find(code fault.Code, file, format string, args ...any) {
	c.Findings = append(c.Findings, Finding{code, file, fmt.Sprintf(format, args...)})
}

// fail is a finding from an error.
func (c *checker) fail(file string, err error) {
	if errors.Is(err, fs.ErrNotExist) {
		c.find(fault.FileMissing, file, "missing")
		return
	}
	c.find(fault.CodeOf(err), file, "%v", err)
}

func (c *checker) note(format string, args ...any) {
	c.Notes = append(c.Notes, fmt.Sprintf(format, args...))
}

func (x *Index) check(ctx context.Context) *checker {
	seen := *x
	c := &checker{
		FsckReport: &FsckReport{Findings: []Finding{}, Notes: []string{}, Repaired: []string{}},
		x:          &seen, needed: map[string]string{}, rewrites: map[string][]byte{},
	}
	files, half, err := halfShown(x.fsys)
	if err != nil { // then nothing is what it seems
		c.fail(MirrorStage, err)
		return c
	}
	if half {
		c.note("%s: a mirror was interrupted while it showed files; run rebuild pkg mirror again", MirrorStage)
		seen.fsys, seen.src = files, Dir(files, x.dir)
	}
	if c.config, err = seen.config(); err != nil {
		c.fail(configFile, err)
		return c
	}
	if c.config.Log != nil {
		c.Origin = c.config.Log.Origin
		if !c.checkLog(ctx) {
			c.checkFiles()
			return c
		}
	} else {
		c.checkUnlogged()
	}
	c.checkPackages()
	c.checkContent()
	c.checkExported()
	c.checkFiles()
	return c
}

// A mirror gets its files through a stage. Once MirrorReady is in it all of them
// were verified, and moving the rest into their places is all that is left.
const (
	MirrorStage = ".mirror"
	MirrorReady = ".show"
)

// halfShown are the files of a mirror that was interrupted while it showed them,
// as they will be.
func halfShown(fsys fs.FS) (fs.FS, bool, error) {
	if _, err := fs.Stat(fsys, MirrorStage+"/"+MirrorReady); err != nil {
		return nil, false, ignoreAbsent(err)
	}
	stage, err := fs.Sub(fsys, MirrorStage)
	return shownFiles{stage, fsys}, true, err
}

// ignoreAbsent is nil for what is not there. All that can not be read besides is
// told of: what a check could not look at it must not call sound.
func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// ignoreDamage is nil for content that is not there or damaged, which is told
// with the content itself.
func ignoreDamage(err error) error {
	if fault.CodeOf(err) == fault.IndexFetch {
		return err
	}
	return nil
}

// shownFiles are those of a stage over those that are there.
type shownFiles struct{ stage, rest fs.FS }

// Open implements [fs.FS].
func (s shownFiles) Open(name string) (fs.File, error) {
	f, err := s.stage.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return s.rest.Open(name)
	}
	return f, err
}

// ReadDir implements [fs.ReadDirFS].
func (s shownFiles) ReadDir(name string) ([]fs.DirEntry, error) {
	staged, err := fs.ReadDir(s.stage, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	there, restErr := fs.ReadDir(s.rest, name)
	if restErr != nil && (err != nil || !errors.Is(restErr, fs.ErrNotExist)) {
		return nil, restErr
	}
	out := staged
	for _, e := range there {
		if !slices.ContainsFunc(staged, func(s fs.DirEntry) bool { return s.Name() == e.Name() }) {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return out, nil
}

// checkUnlogged looks for the log of an index whose config names none: without
// it nothing would be held against it, and all would seem well.
func (c *checker) checkUnlogged() {
	if j, err := c.x.readJournal(); j != nil || err != nil {
		c.note("%s: the index is about to get a log; run the command again that gives it one", stagedFile)
		return
	}
	if policy := c.x.in.Policy; policy != nil && policy.Log() != nil {
		c.find(fault.ViewMismatch, configFile, "it names no log, policy %s names log %s", policy.Name(), policy.Log().Origin())
		return
	}
	for _, file := range []string{checkpointFile, headFile} {
		switch _, err := fs.Stat(c.x.fsys, file); {
		case err == nil:
			c.find(fault.ViewMismatch, configFile, "it names no log, and there is the %s of one", file)
		case ignoreAbsent(err) != nil:
			c.fail(file, err)
		}
	}
}

// checkPackages checks the line files.
func (c *checker) checkPackages() {
	all, err := c.packages()
	if err != nil {
		c.fail(".", err)
		return
	}
	c.Packages = len(all)
	for _, name := range all {
		lines, err := c.x.readLines(name)
		if err != nil {
			c.fail(lines.path, err)
			continue
		}
		c.Versions += len(lines.entries)
		if c.history != nil {
			c.history.compare(c, lines)
		}
		for _, e := range lines.entries {
			c.checkEntry(lines, e)
		}
		c.checkOwners(lines)
	}
	if c.history != nil {
		c.history.dropped(c, all)
		c.checkView(all)
	}
}

// packages are those with a line file, also one that is staged.
func (c *checker) packages() ([]string, error) {
	all, err := packages(c.x.fsys)
	if o, staged := c.x.src.(*overlay); staged {
		for file := range o.files {
			if name, is := nameOfLine(file); is && !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	slices.Sort(all)
	return all, err
}

// checkEntry checks a line against what it leads to.
func (c *checker) checkEntry(lines *lineFile, e *Entry) {
	what := e.Name + "@" + e.Version
	c.needed[objectPath(store.Digest("sha256:"+e.Cksum))] = what
	if err := c.checkSignature(e); err != nil {
		c.fail(lines.path, err)
	}
	if e.Release != "" {
		c.checkRelease(lines.path, e)
	} else if err := c.checkArchive(e); err != nil {
		c.fail(lines.path, err)
	}
	if c.config.Log != nil {
		return
	}
	state, err := c.x.unloggedYanks(e.Name, e.Version)
	if err == nil && (state.Yanked != e.Yanked || !slices.Equal(state.Advisories, e.Advisories)) {
		err = fault.New(fault.Unyanked, "%s says yanked %t, advisories %v; its statements come to %s", what, e.Yanked, e.Advisories, state)
	}
	if err != nil {
		c.fail(lines.path, err)
	}
}

// checkArchive compares a line without a release with the package that it
// leads to, which nobody else has signed for.
func (c *checker) checkArchive(e *Entry) error {
	d := store.Digest("sha256:" + e.Cksum)
	archive, err := c.x.object(d, maxObject)
	if err != nil {
		return ignoreDamage(err)
	}
	pkg, err := attest.OpenArchive(objectPath(d), archive)
	if err != nil {
		return err
	}
	return e.checkPackage(pkg.Document())
}

// checkOwners wants all who owned a package to have signed the next release of
// it, and no line without a release behind one: readers take neither.
func (c *checker) checkOwners(lines *lineFile) {
	var owners []attest.PublicKey
	for _, e := range lines.entries {
		if e.Release == "" {
			if len(owners) > 0 {
				c.find(fault.OwnerChanged, lines.path, "%s@%s has no release, and %s had owners before", e.Name, e.Version, e.Name)
			}
			continue
		}
		envelope, err := c.x.statement(e.Release)
		if err != nil {
			if ignoreDamage(err) != nil {
				c.fail(lines.path, err)
			}
			continue
		}
		signed, _ := envelope.SignedBy(owners) // nobody, if one of the signatures is wrong
		if len(signed) < len(owners) {
			c.find(fault.OwnerChanged, lines.path, "%s@%s is not signed by all who owned %s before it", e.Name, e.Version, e.Name)
		}
		if now, err := attest.OwnersOf(envelope.Bytes()); err == nil {
			owners = now
		}
	}
}

// checkRelease follows a line to its release and to all that this names.
func (c *checker) checkRelease(file string, e *Entry) {
	what := e.Name + "@" + e.Version
	c.needed[statementPath(e.Release)] = what
	envelope, err := c.x.statement(e.Release)
	if fault.CodeOf(err) == fault.FileMissing {
		return // told with the content
	}
	var r attest.Release
	if err == nil {
		r, err = c.readRelease(envelope)
	}
	if err == nil {
		err = c.compareRelease(e, envelope.Digest(), &r)
	}
	if err != nil {
		c.fail(file, fmt.Errorf("%s: %w", what, err))
		return
	}
	for _, d := range []store.Digest{r.Package, r.Files, r.Exports, r.Lock} {
		if d != "" {
			c.needed[objectPath(d)] = what
		}
	}
	for _, b := range r.Builds {
		c.needed[objectPath(b.Plan)] = what
		for _, s := range b.Statements {
			c.needed[statementPath(s)] = what
		}
		for _, t := range b.Targets {
			if r.OCIIndex != "" {
				c.needed[objectPath(t.Manifest)] = what
			}
		}
	}
}

// compareRelease compares a line with its release, and with the package document
// if that is there.
func (c *checker) compareRelease(e *Entry, d store.Digest, r *attest.Release) error {
	raw, err := c.x.object(r.Package, document.Package.MaxBytes)
	if err != nil {
		if ignoreDamage(err) != nil {
			c.fail(objectPath(r.Package), err)
		}
		return e.checkRelease(d, r)
	}
	doc, err := attest.DecodePackage(objectPath(r.Package), raw)
	if err != nil {
		return err
	}
	return e.CheckRelease(d, r, *doc)
}

func (c *checker) readRelease(e *attest.Envelope) (attest.Release, error) {
	if c.x.in.Policy != nil {
		return attest.ReadRelease(c.x.in.Policy, e)
	}
	return attest.ReadOwned(e)
}

// checkSignature checks the signature of a line by the keys that the index
// advertises, and by those of the policy if there is one.
func (c *checker) checkSignature(e *Entry) error {
	if e.Signature == nil {
		return nil // shown by readers, and not every index is signed
	}
	known := map[attest.KeyID]attest.PublicKey{}
	if c.config.Signing != nil {
		for _, s := range c.config.Signing.PublicKeys {
			if k, err := attest.ParsePublicKey(s.Key); err == nil {
				known[s.ID] = k
			}
		}
	}
	if c.x.in.Policy != nil {
		switch k, err := c.indexKey(e); fault.CodeOf(err) {
		case "":
			known[e.Signature.KeyID] = k
		case fault.KeyExpired:
			return err
		}
	}
	k, found := known[e.Signature.KeyID]
	if !found {
		return fault.New(fault.KeyUnknown, "%s@%s is signed by key %s, which nobody knows", e.Name, e.Version, e.Signature.KeyID)
	}
	message, err := Message(e.Name, e.Version, e.Cksum)
	if err != nil {
		return err
	}
	sig, err := base64.StdEncoding.DecodeString(e.Signature.Sig)
	if err != nil || !ed25519.Verify(k[:], message, sig) {
		return fault.New(fault.SignatureInvalid, "the signature of %s@%s by key %s is wrong", e.Name, e.Version, k.Fingerprint())
	}
	return nil
}

// indexKey returns the policy's key that signed a line, judged as readers do at
// the leaf of the signature. Without one it may have ended since.
func (c *checker) indexKey(e *Entry) (attest.PublicKey, error) {
	policy := c.x.in.Policy
	if leaf := c.history.signedBy(e); leaf != nil {
		at, err := attest.ParseTime(leaf.At)
		if err != nil {
			return attest.PublicKey{}, err
		}
		return policy.IndexKeyAt(e.Signature.KeyID, at, leaf.Seq)
	}
	k, err := policy.IndexKey(e.Signature.KeyID, c.x.in.Now())
	if fault.CodeOf(err) == fault.KeyExpired {
		err = nil // nothing says when it signed
	}
	return k, err
}

// checkContent hashes every object and statement, and wants those that
// something leads to.
func (c *checker) checkContent() {
	there := map[string]bool{}
	c.eachFile(objectDir, func(file, name string) {
		there[file] = true
		c.Objects++
		d, err := store.ParseDigest("sha256:" + name)
		if err == nil {
			_, err = c.x.object(d, maxObject)
		}
		if err != nil {
			c.fail(file, err)
		}
	})
	c.eachFile(statementDir, func(file, name string) {
		there[file] = true
		c.Statements++
		hex, _ := strings.CutSuffix(name, attest.EnvelopeSuffix)
		d, err := store.ParseDigest("sha256:" + hex)
		if err == nil {
			_, err = c.x.statement(d)
		}
		if err != nil {
			c.fail(file, err)
		}
	})
	for _, file := range slices.Sorted(maps.Keys(c.needed)) {
		if !there[file] {
			c.find(fault.FileMissing, file, "missing, %s leads to it", c.needed[file])
		}
	}
	orphans := 0
	for file := range there {
		if c.needed[file] == "" {
			orphans++
		}
	}
	if orphans > 0 && c.history != nil {
		c.note("%d objects and statements are led to by nothing; an interrupted write leaves such", orphans)
	}
}

// eachFile visits the files of a folder, but those under a temporary name.
func (c *checker) eachFile(dir string, visit func(file, name string)) {
	held, err := fs.ReadDir(c.x.fsys, dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.fail(dir, err)
	}
	for _, d := range held {
		if !strings.HasPrefix(d.Name(), durable.TempPrefix) {
			visit(dir+"/"+d.Name(), d.Name())
		}
	}
}

// checkExported compares the flat views with the lines. Entries that came
// since are no finding, for nobody exports them by himself.
func (c *checker) checkExported() {
	held, err := exported(c.x.fsys)
	if err != nil {
		c.fail(".", err)
	}
	if len(held) == 0 {
		return
	}
	want, err := c.x.flatten(int(document.Registry.MaxBytes))
	if err != nil {
		c.fail(entriesFile+".json", err)
		return
	}
	same := true
	for _, file := range held {
		data, err := c.x.read(file, document.Registry.MaxBytes)
		same = same && err == nil && string(data) == string(want.pages[file])
	}
	if same && len(held) == len(want.pages) {
		return
	}
	maps.Copy(c.rewrites, want.pages)
	for _, first := range []string{pageName(entriesFile, 0), pageName(pubkeysFile, 0)} {
		if !slices.Contains(held, first) { // first pages are written last
			c.note("%s: missing, an export was interrupted; run rebuild index export", first)
			return
		}
	}
	c.compareFlat()
}

// compareFlat says what of the exported lists is not so.
func (c *checker) compareFlat() {
	found := len(c.Findings)
	total, last := 0, int64(-2)
	for file, n := entriesFile+".json", 0; file != ""; n++ {
		var page entriesPage
		if err := c.readPage(file, n, &page); err != nil {
			c.fail(file, err)
			return
		}
		for _, e := range page.Entries {
			total++
			if seqOf(e) < last {
				c.find(fault.EvidenceMismatch, file, "%s@%s is not in the order of the log", e.Name, e.Version)
			}
			last = seqOf(e)
			c.compareFlatEntry(file, e)
		}
		file = page.Next
	}
	for file, n := pubkeysFile+".json", 0; file != ""; n++ {
		var page pubkeysPage
		if err := c.readPage(file, n, &page); err != nil {
			c.fail(file, err)
			return
		}
		for name, keys := range page.Owners {
			c.compareFlatOwners(file, name, keys)
		}
		file = page.Next
	}
	if found == len(c.Findings) {
		c.note("%s.json has %d of %d entries; the rest came since: run rebuild index export", entriesFile, total, c.Versions)
	}
}

// readPage reads the n-th page of a list.
func (c *checker) readPage(file string, n int, page any) error {
	if !pageFile.MatchString(file) || n > maxPages {
		return fault.New(fault.Structure, "%.80q is no page of a list", file)
	}
	data, err := c.x.read(file, document.Registry.MaxBytes)
	if err != nil {
		return err
	}
	return document.Decode(file, data, document.Registry, page)
}

// maxPages bounds a list whose pages lead in a circle.
const maxPages = 10_000

func (c *checker) compareFlatEntry(file string, e *Entry) {
	lines, err := c.x.readLines(e.Name)
	if err != nil {
		c.fail(file, err)
		return
	}
	there, err := lines.find(e.Version)
	if err == nil && there == nil {
		err = fault.New(fault.EvidenceMismatch, "%s@%s is not in the index", e.Name, e.Version)
	}
	if err == nil {
		a, errA := e.Encode()
		b, errB := there.Encode()
		if err = errors.Join(errA, errB); err == nil && string(a) != string(b) {
			err = fault.New(fault.EvidenceMismatch, "%s@%s is not what its line says", e.Name, e.Version)
		}
	}
	if err != nil {
		c.fail(file, err)
	}
}

func (c *checker) compareFlatOwners(file, name string, keys []string) {
	lines, err := c.x.readLines(name)
	if err != nil {
		c.fail(file, err)
		return
	}
	owners, err := lines.owners()
	if err != nil {
		c.fail(file, err)
		return
	}
	var want []string
	for _, k := range owners {
		want = append(want, k.String())
	}
	if !slices.Equal(keys, want) {
		c.find(fault.EvidenceMismatch, file, "the owners of %s are %v, its last release says %v", name, keys, want)
	}
}

// checkFiles looks for what interrupted writes left, and for what has no place
// in an index.
func (c *checker) checkFiles() {
	err := fs.WalkDir(c.x.fsys, ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && file == ".state" {
			return fs.SkipDir // the log's own
		}
		if strings.HasPrefix(d.Name(), durable.TempPrefix) && !d.IsDir() {
			c.note("%s: left by an interrupted write", file)
			if durable.Abandoned(filepath.Join(c.x.dir, filepath.FromSlash(file))) {
				c.leftovers = append(c.leftovers, file)
			}
		}
		if !d.Type().IsRegular() && !d.IsDir() {
			c.find(fault.FileExtra, file, "it is neither a file nor a folder")
		}
		return nil
	})
	if err != nil {
		c.fail(".", err)
	}
}
