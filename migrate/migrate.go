// Package migrate brings documents on disk into the version that this program
// writes. Nobody has to: every document in its window is upgraded in memory
// when it is read. It is for who wants the files themselves to be current,
// before a later version of rebuild drops an old form.
//
// Call [Find] and then [Report.Write]; [Report.Err] says what is left to do.
// Only what rebuild owns is touched, and of that only what nobody has signed:
// statements, releases, yanks, policy updates and what a log names stay the
// bytes that they are, as evidence, and are read in their window. A document
// of a person (TOML) is never rewritten either: it has one version so far, and
// its text is not ours.
//
// Writing is atomic for each file: a backup beside it first, durably, then the
// new content under the old name. A crash leaves the old document or the new
// one, whole, and doing it again ends in the same bytes.
package migrate

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"rebuild/internal/document"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
)

// Action is what becomes of a document.
type Action string

// The actions.
const (
	// Rewrite: of an older version in the window, rewritten by Write.
	Rewrite Action = "migrate"
	// Remake: a cache that can not be read. Write moves it aside, and the next
	// run makes it again; nothing is guessed from it.
	Remake Action = "remake"
	// Keep: signed, or named by a log. It is read in its window as it is.
	Keep Action = "keep"
	// Refuse: nothing leads from what it is to the current version.
	Refuse Action = "refuse"
)

// Finding is a document that is not simply current.
type Finding struct {
	Path   string `json:"path"`
	Found  string `json:"found,omitempty"` // schema_version, as far as it can be told
	To     string `json:"to,omitempty"`    // schema_version that this program writes
	Action Action `json:"action"`
	Backup string `json:"backup,omitempty"` // where Write puts, or has put, the old bytes
	Why    string `json:"why,omitempty"`
	Done   bool   `json:"done,omitzero"`

	kind document.Kind
	err  error  // of Refuse
	real string // Path without links
}

// Report is what was found.
type Report struct {
	Current  int       `json:"current"` // documents with nothing to be done
	Findings []Finding `json:"findings"`
}

// Check judges what a document means, once it has the current version. It is
// given by the package that owns the kind.
type Check func(file string, data []byte) error

// Options say how documents are found.
type Options struct {
	// Checks holds, by the name of a kind, what an upgraded document must pass
	// before it is written. A kind that is not in it has structure alone.
	Checks map[string]Check
}

// Find looks at documents: files, and in folders those that lie where rebuild
// puts them. In the folder of a pipeline these are its own documents and those
// of its stages, never a file of a stage's context; in a state root the state
// and the caches; in an index config.json. Nothing is written.
//
// A link in a folder that leads out of it, or to a file of another name, is not
// followed: who made the folder could have any file of this user's moved aside as
// an unreadable cache. It is refused, unless the file itself is named.
//
// A path that can not be read is USAGE; a document that can not be migrated is
// in the report.
func Find(o Options, paths ...string) (*Report, error) {
	f := &finder{Options: o, report: &Report{Findings: []Finding{}}, seen: map[string]bool{}}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, unreadable(path, err)
		}
		if info.IsDir() {
			if f.within, err = filepath.EvalSymlinks(path); err != nil {
				return nil, unreadable(path, err)
			}
			err = f.folder(path)
		} else {
			err = f.file(path, true)
		}
		if err != nil {
			return nil, err
		}
	}
	return f.report, nil
}

func unreadable(path string, err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		err = pe.Err
	}
	return fault.New(fault.Usage, "%s: %w", path, err).WithHint("name a document, or a folder with documents")
}

type finder struct {
	Options
	report *Report
	seen   map[string]bool
	within string // folder that is looked at, without links
}

// names are the documents of a folder, and caches the folders of caches in it.
var (
	names  = []string{"pipeline.toml", "rebuild.lock", "package.toml", "policy.toml", "config.json", "state.json", "contexts.json", "verified.json"}
	caches = []string{"stages", "inputs", "runs"}
	// content are folders that hold nothing but bytes named by digest.
	content = []string{"store", "objects", "tile", "engines", "partial"}
)

// statementDepth is how deep below a folder envelopes are looked for: that of
// the statements in a results folder.
const statementDepth = 4

// folder looks at the documents of a folder. A folder that can not be listed is
// an error: what is in it would pass for current.
func (f *finder) folder(dir string) error {
	for _, name := range names {
		path := filepath.Join(dir, name)
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := f.file(path, false); err != nil {
			return err
		}
	}
	for _, name := range caches {
		if err := f.each(filepath.Join(dir, name), ".json", 1); err != nil {
			return err
		}
	}
	if err := f.each(dir, envelopeSuffix, statementDepth); err != nil {
		return err
	}
	return f.stages(dir)
}

// each looks at the files below dir, down to a depth, whose names end so.
func (f *finder) each(dir, suffix string, depth int) error {
	held, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	if err != nil {
		return unreadable(dir, err)
	}
	for _, e := range held {
		path := filepath.Join(dir, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), ".") || slices.Contains(content, e.Name()):
		case e.IsDir() && depth > 1:
			err = f.each(path, suffix, depth-1)
		case e.Type().IsRegular() && strings.HasSuffix(e.Name(), suffix):
			err = f.file(path, false)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// stages looks at the stage.toml of each stage that the pipeline in dir names.
func (f *finder) stages(dir string) error {
	file := filepath.Join(dir, "pipeline.toml")
	data, err := readRegular(file, document.Pipeline.MaxBytes)
	if err != nil {
		return nil // there is none, or it was found before to be no regular file
	}
	var in struct {
		Stages []string `json:"stages"`
	}
	if document.PeekTOML(data, &in) != nil {
		return nil // reported as a document of its own
	}
	for _, folder := range in.Stages {
		if !filepath.IsLocal(folder) || strings.HasPrefix(folder, "builtin:") {
			continue
		}
		path := filepath.Join(dir, filepath.FromSlash(folder), "stage.toml")
		if _, err := os.Lstat(path); err != nil {
			continue // the planner says so, and better
		}
		if err := f.file(path, false); err != nil {
			return err
		}
	}
	return nil
}

// file looks at one document. One that somebody named must be a document of
// ours; of those in folders some only have a name that we use too.
func (f *finder) file(path string, named bool) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return unreadable(path, err)
	}
	if f.seen[real] {
		return nil
	}
	f.seen[real] = true
	found, ours, err := f.look(path, real)
	if ours && err == nil && !named && !f.inPlace(path, real) {
		why := fault.New(fault.MigrationFailed, "the link leads to %s, and no link is followed out of a folder", real).At(path, 0).
			WithHint("name the file that the link leads to")
		found = refused(why, found.kind, found.Found)
		found.Path = path
	}
	found.real = real
	switch {
	case err != nil:
		return unreadable(path, err)
	case !ours && named:
		return fault.New(fault.Usage, "%s is no document of rebuild", path).WithHint("rebuild versions lists what can be migrated")
	case !ours:
		return nil
	case found.Action == "":
		f.report.Current++
		return nil
	}
	f.report.Findings = append(f.report.Findings, found)
	return nil
}

// inPlace says whether a file is in the folder that is looked at, by its own name.
func (f *finder) inPlace(path, real string) bool {
	rel, err := filepath.Rel(f.within, real)
	return err == nil && filepath.IsLocal(rel) && filepath.Base(path) == filepath.Base(real)
}

// look judges one file.
func (f *finder) look(path, real string) (found Finding, ours bool, err error) {
	data, err := readRegular(real, maxDocument)
	if err != nil {
		return found, false, err
	}
	base := filepath.Base(path)
	switch {
	case strings.HasSuffix(base, ".toml"):
		found, ours = lookTOML(path, base, data)
	case strings.HasSuffix(base, envelopeSuffix):
		found, ours = lookSigned(path, data)
	default:
		found, ours, err = f.lookJSON(real, data)
	}
	found.Path = path
	return found, ours, err
}

// maxDocument is above the limit of every kind, whose own limit is checked
// when its document is decoded.
const maxDocument = 17 << 20

const envelopeSuffix = ".dsse.json"

var tomlKinds = map[string]document.Kind{
	"pipeline.toml": document.Pipeline, "stage.toml": document.Stage, "package.toml": document.Package, "policy.toml": document.Policy,
}

func lookTOML(path, base string, data []byte) (Finding, bool) {
	k, known := tomlKinds[base]
	if !known {
		return Finding{}, false
	}
	if err := document.CheckTOML(path, data, k); err != nil {
		return refused(err, k, foundIn(err)), true
	}
	return Finding{}, true
}

// foundIn is the version that a refusal names.
func foundIn(err error) string {
	var e *fault.Error
	if errors.As(err, &e) {
		found, _ := e.Details["found"].(string)
		return found
	}
	return ""
}

func refused(err error, k document.Kind, found string) Finding {
	return Finding{Found: found, To: k.ID(), Action: Refuse, Why: err.Error(), kind: k, err: err}
}

func (f *finder) lookJSON(path string, data []byte) (found Finding, ours bool, err error) {
	found.Found = document.SchemaVersion(data)
	if found.kind, ours = document.KindOf(found.Found); !ours {
		if found.kind, ours = expected(path); !ours {
			return found, false, nil
		}
	}
	k := found.kind
	found.To = k.ID()
	current, _, bad := document.Upgrade(path, data, k)
	switch {
	case bad != nil && k.Cache():
		found.Action, found.Why = Remake, bad.Error()
		found.Backup, err = backupOf(path, "unreadable", data)
		return found, true, err
	case bad != nil:
		return refused(bad, k, found.Found), true, nil
	case found.Found == k.ID():
		return found, true, nil
	}
	if found.Why = bound(path, k, current); found.Why != "" {
		found.Action = Keep
		return found, true, nil
	}
	if check := f.Checks[k.Name]; check != nil {
		if err := check(path, current); err != nil {
			return refused(err, k, found.Found), true, nil
		}
	}
	found.Action = Rewrite
	found.Backup, err = backupOf(path, versionOf(found.Found), data)
	return found, true, err
}

// expected is the kind of a document that lies where only one kind can, for
// one that does not say what it is.
func expected(path string) (document.Kind, bool) {
	switch base := filepath.Base(path); base {
	case "rebuild.lock":
		return document.Lock, true
	case "contexts.json":
		return document.Contexts, true
	case "verified.json":
		return document.Verified, true
	}
	name, ok := strings.CutSuffix(filepath.Base(path), ".json")
	if !ok || len(name) != 64 || strings.Trim(name, "0123456789abcdef") != "" {
		return document.Kind{}, false
	}
	switch filepath.Base(filepath.Dir(path)) {
	case "stages":
		return document.Record, true
	case "inputs":
		return document.Input, true
	case "runs":
		return document.Run, true
	}
	return document.Kind{}, false
}

// bound says why an unsigned document must keep its bytes all the same: the
// view of a logged index holds the digest of its config.json.
func bound(path string, k document.Kind, current []byte) string {
	if k.Name != document.IndexConfig.Name {
		return ""
	}
	var c struct {
		Log *struct{} `json:"log"`
	}
	if document.DecodeForeign(path, current, &c) == nil && c.Log == nil {
		if _, err := os.Lstat(filepath.Join(filepath.Dir(path), "checkpoint")); errors.Is(err, fs.ErrNotExist) {
			return ""
		}
	}
	return "the log of the index names these bytes; it is read as it is, and a new config.json is entered by the index's writer"
}

func versionOf(schemaVersion string) string {
	_, version, _ := strings.Cut(schemaVersion, "@")
	return version
}

// backupOf returns the name for the old bytes of a document: beside it, with
// its version. A backup that is there is kept unless it is of the same bytes;
// one that can not be read is an error, since it may be of the same bytes.
func backupOf(path, version string, data []byte) (string, error) {
	for n := 1; ; n++ {
		name := path + "." + version
		if n > 1 {
			name += "." + strconv.Itoa(n)
		}
		name += ".bak"
		there, err := readRegular(name, maxDocument)
		switch {
		case errors.Is(err, fs.ErrNotExist) || err == nil && bytes.Equal(there, data):
			return name, nil
		case err != nil:
			return "", err
		}
	}
}

// readRegular reads a regular file of at most limit bytes, without waiting for
// anybody who would write to a pipe of that name.
func readRegular(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: errors.New("not a regular file")}
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, limit+1))
}

// Pending returns the findings that Write would act on and has not.
func (r *Report) Pending() int { return r.count(Rewrite, Remake) }

// Refused returns how many documents can not be migrated.
func (r *Report) Refused() int { return r.count(Refuse) }

func (r *Report) count(actions ...Action) (n int) {
	for _, f := range r.Findings {
		if slices.Contains(actions, f.Action) && !f.Done {
			n++
		}
	}
	return n
}

// Err is nil if there is nothing to do. Else it is MIGRATION_FAILED (30) and
// names the first document that can not be migrated, or else that needs to be.
func (r *Report) Err() error {
	for _, f := range r.Findings {
		if f.Action != Refuse {
			continue
		}
		e := fault.New(fault.MigrationFailed, "%d documents can not be migrated; the first: %w", r.Refused(), f.err).
			With("found", f.Found).With("supported", f.kind.Read).With("path", f.Path)
		return e.WithHint("use a version of rebuild that reads it, or write the document as %s", f.To)
	}
	for _, f := range r.Findings {
		if (f.Action == Rewrite || f.Action == Remake) && !f.Done {
			return fault.New(fault.MigrationFailed, "%d documents are not of the current version; the first: %s is %s, current is %s",
				r.Pending(), f.Path, orUnreadable(f.Found), f.To).With("found", f.Found).With("supported", f.kind.Read).With("path", f.Path).
				WithHint("rebuild migrate --write")
		}
	}
	return nil
}

func orUnreadable(found string) string {
	if found == "" {
		return "unreadable"
	}
	return found
}

// Write does what the report says is to be done: rewrites old documents and
// moves unreadable caches aside. Each document is a step of its own, and Done
// marks those that were made; the first that fails ends it.
func (r *Report) Write(disk durable.FS) error {
	for i := range r.Findings {
		f := &r.Findings[i]
		var err error
		switch f.Action {
		case Rewrite:
			err = f.rewrite(disk)
		case Remake:
			err = f.setAside(disk)
		default:
			continue
		}
		if err != nil {
			return fault.New(fault.MigrationFailed, "%s: %w", f.Path, err).With("path", f.Path).
				WithHint("make room or fix the disk, then run rebuild migrate --write again")
		}
		f.Done = true
	}
	return nil
}

// lockNames are the locks that writers of a kind hold, beside the document.
var lockNames = map[string]string{
	document.IndexConfig.Name: "lock",
	document.State.Name:       "state.json.lock",
	document.Record.Name:      "../records.lock",
}

// locked runs work while no other writer of the kind does.
func (f *Finding) locked(real string, work func() error) error {
	name, ok := lockNames[f.kind.Name]
	if !ok {
		return work()
	}
	unlock, err := durable.Lock(filepath.Join(filepath.Dir(real), name), true)
	if err != nil {
		return err
	}
	defer unlock()
	return work()
}

// still returns the file that was found, unless the path leads elsewhere by now.
func (f *Finding) still() (string, error) {
	real, err := filepath.EvalSymlinks(f.Path)
	if err == nil && real != f.real {
		err = fault.New(fault.MigrationFailed, "the path led to %s and leads to %s now", f.real, real)
	}
	return real, err
}

// rewrite puts the current form in the place of an old document. It starts
// from the bytes that are there now: the document may have changed since it was
// found, and then what is found now decides.
func (f *Finding) rewrite(disk durable.FS) error {
	real, err := f.still()
	if err != nil {
		return err
	}
	return f.locked(real, func() error {
		data, err := readRegular(real, maxDocument)
		if err != nil {
			return err
		}
		current, found, err := document.Upgrade(f.Path, data, f.kind)
		if err != nil || found == f.kind.ID() { // somebody else has migrated it
			return err
		}
		if err := durable.Sweep(disk, filepath.Dir(real)); err != nil { // of a try that was killed
			return err
		}
		if f.Backup, err = backupOf(real, versionOf(found), data); err != nil {
			return err
		}
		if err := keep(disk, f.Backup, data); err != nil {
			return err
		}
		// A crash here leaves the old document and its backup.
		return durable.WriteFile(disk, real, current)
	})
}

// keep writes a backup, unless it is there, whole, from an earlier try.
func keep(disk durable.FS, path string, data []byte) error {
	if there, err := readRegular(path, maxDocument); err == nil && bytes.Equal(there, data) {
		return disk.SyncDir(filepath.Dir(path)) // the try may have ended before this
	}
	return durable.WriteFile(disk, path, data)
}

// setAside renames a cache that can not be read.
func (f *Finding) setAside(disk durable.FS) error {
	real, err := f.still()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // somebody else has moved it
	}
	if err != nil {
		return err
	}
	return f.locked(real, func() error {
		data, err := readRegular(real, maxDocument)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, _, err := document.Upgrade(f.Path, data, f.kind); err == nil {
			return nil // it was made again in the meantime
		}
		if f.Backup, err = backupOf(real, "unreadable", data); err != nil {
			return err
		}
		if err := disk.Rename(real, f.Backup); errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		return disk.SyncDir(filepath.Dir(real))
	})
}
