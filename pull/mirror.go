package pull

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"rebuild/attest"
	"rebuild/index"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
	"rebuild/internal/names"
	"rebuild/store"
)

// MirrorOptions say what to copy.
type MirrorOptions struct {
	From index.Source
	To   string // folder of the mirror, made if it is missing
	// Reading is what the source is judged by. Of a mirror nothing is remembered
	// but what the mirror itself holds, so State is not used.
	Reading index.Reading
	Names   []string // packages; all their versions and all that these need
	// Everything copies also what is in the log and in no release.
	Everything bool
	Jobs       int // packages at one time; 0 is 8
	// Definitions reads what one needs to build a plan again, as far as the
	// source has it, given the manifests of what was released of it; nil copies
	// none.
	Definitions func(ctx context.Context, r *index.Reader, plan *attest.Plan, targets []store.Digest) error
}

// Mirrored is what a mirror holds now.
type Mirrored struct {
	To       string   `json:"to"`
	Packages []string `json:"packages"`
	Written  []string `json:"written"` // files that are new or changed, below To
	Bytes    int64    `json:"bytes"`   // of these
}

// The names in a mirror that are not of an index. Those with a dot are never
// served.
const (
	mirrorStage = index.MirrorStage
	mirrorLock  = "lock"
	mirrorReady = index.MirrorReady // in the stage, once all of it may be shown
	stagedFile  = ".staged"         // of an index that is published in
	stateDir    = ".state"
)

// Mirror copies packages with everything that verifying them reads, byte for
// byte, and all packages that they need. Every version is verified by the
// policy on the way, and again from the copy, before any of it is visible.
//
// It only ever adds: a source that lacks a version which the mirror has, or has
// another one in its place, is ROLLBACK, and the mirror stays. Running it again
// writes what is new and nothing else. A folder that is published in is USAGE.
//
// A run that is cut while it shows files leaves a mirror that readers refuse,
// VIEW_MISMATCH; the next run shows the rest before it does anything else, also
// if the source can not be reached.
func Mirror(ctx context.Context, o MirrorOptions) (*Mirrored, error) {
	if o.Jobs <= 0 {
		o.Jobs = 8
	}
	m, unlock, err := openMirror(ctx, o)
	if err != nil {
		return nil, err
	}
	defer unlock()
	all, err := m.copyAll(ctx)
	if err != nil {
		return nil, err
	}
	written, size, err := m.show()
	if err != nil {
		return nil, failed(o.To, err)
	}
	return &Mirrored{o.To, all, written, size}, nil
}

// mirror is one run.
type mirror struct {
	o   MirrorOptions
	rec *recorder
	old *index.Reader // of what the mirror has; nil for nothing
}

func openMirror(ctx context.Context, o MirrorOptions) (*mirror, func(), error) {
	if err := durable.MkdirAll(durable.OS{}, o.To); err != nil {
		return nil, nil, failed(o.To, err)
	}
	unlock, err := durable.LockUntil(ctx, filepath.Join(o.To, mirrorLock), true)
	if err != nil {
		return nil, nil, failed(o.To, err)
	}
	m := &mirror{o: o}
	if err = m.admit(); err == nil {
		stage := filepath.Join(o.To, mirrorStage)
		if err = failed(o.To, m.resume(stage)); err == nil {
			err = failed(o.To, makeStage(stage))
		}
		if err == nil {
			m.rec = &recorder{src: o.From, to: o.To, stage: stage, files: map[string]*call{}}
			return m, unlock, nil
		}
	}
	unlock()
	return nil, nil, err
}

// makeStage makes the stage, and takes over that of a killed run, unless it is
// none: a link would have files moved from anywhere into what is served.
func makeStage(stage string) error {
	err := os.Mkdir(stage, 0o755)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if info, err := os.Lstat(stage); err != nil || !info.IsDir() {
		return fault.New(fault.Usage, "%s is in the way", stage).WithHint("remove it, or name another folder with --to")
	}
	return nil
}

// resume shows the rest of what a run that was cut had begun to show. All of it
// was verified.
func (m *mirror) resume(stage string) error {
	if info, err := os.Lstat(stage); err != nil || !info.IsDir() {
		return nil // there is none, or makeStage refuses it
	}
	if _, err := os.Lstat(filepath.Join(stage, mirrorReady)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	staged, err := stagedFiles(stage)
	if err == nil {
		err = moveStaged(m.o.To, stage, staged)
	}
	if err == nil {
		err = durable.RemoveAll(stage)
	}
	return err
}

// stagedFiles lists the files of a stage as paths of the index.
func stagedFiles(stage string) ([]string, error) {
	var out []string
	err := filepath.WalkDir(stage, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(stage, path)
		if rel = filepath.ToSlash(rel); rel != mirrorReady {
			out = append(out, rel)
		}
		return err
	})
	return out, err
}

// admit refuses a folder that holds something else than a mirror.
func (m *mirror) admit() error {
	held, err := os.ReadDir(m.o.To)
	if err != nil {
		return failed(m.o.To, err)
	}
	known, other := false, ""
	for _, e := range held {
		switch name := e.Name(); {
		case name == stagedFile || name == stateDir:
			return fault.New(fault.Usage, "%s is an index that is published in, no mirror", m.o.To).WithHint("name another folder with --to")
		case name == index.ConfigFile:
			known = true
		case name != mirrorLock && !strings.HasPrefix(name, "."):
			other = name
		}
	}
	if !known && other != "" && m.foreign() {
		return fault.New(fault.Usage, "%s holds %s and no %s", m.o.To, other, index.ConfigFile).WithHint("name an empty folder with --to")
	}
	return nil
}

// foreign says whether files in a folder without config.json are none that a
// killed first run of Mirror leaves: it shows objects, statements and lines
// before, and its stage is there.
func (m *mirror) foreign() bool {
	_, err := os.Lstat(filepath.Join(m.o.To, mirrorStage))
	return err != nil
}

// copyAll verifies what is wanted and all that it needs, and returns the names.
func (m *mirror) copyAll(ctx context.Context) ([]string, error) {
	in := m.o.Reading
	in.State = nil
	if err := m.openOld(ctx, &in); err != nil {
		return nil, err
	}
	r, err := index.NewReader(ctx, m.rec, in)
	if err != nil {
		return nil, err
	}
	c := &copying{m: m, r: r, seen: map[string]bool{}}
	all, err := c.names(ctx, m.o.Names)
	if err != nil {
		return nil, err
	}
	if err := r.ReadLog(ctx, m.o.Everything); err != nil {
		return nil, err
	}
	return all, m.verifyCopy(ctx, all, in)
}

// openOld reads what the mirror has, so that the source is held against it.
func (m *mirror) openOld(ctx context.Context, in *index.Reading) error {
	if _, err := os.Lstat(filepath.Join(m.o.To, index.ConfigFile)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	state, err := index.LoadState(filepath.Join(m.o.To, mirrorStage, "state.json")) // is not there, and is not saved
	if err != nil {
		return err
	}
	in.State = state
	have := *in
	have.Offline, have.Notice = true, nil
	m.old, err = index.NewReader(ctx, index.Dir(os.DirFS(m.o.To), m.o.To), have)
	return err
}

// verifyCopy verifies everything once more from the files that will be seen.
func (m *mirror) verifyCopy(ctx context.Context, all []string, in index.Reading) error {
	in.Notice, in.State = nil, nil
	r, err := index.NewReader(ctx, overlay{m.rec}, in)
	if err != nil {
		return err
	}
	return each(all, m.o.Jobs, func(name string) error {
		entries, err := r.Entries(ctx, name)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if _, _, err := verifyLine(ctx, r, e); err != nil {
				return err
			}
		}
		return nil
	})
}

// verifyLine verifies an entry, of one without a release all but votes, and
// returns what it needs.
func verifyLine(ctx context.Context, r *index.Reader, e *index.Entry) (needs []string, release *attest.Release, err error) {
	if e.Release == "" {
		pkg, err := r.Unjudged(ctx, e)
		if err != nil {
			return nil, nil, err
		}
		return slices.Collect(maps.Keys(pkg.Document().Depends)), nil, nil
	}
	v, err := r.VerifyEntry(ctx, e)
	if err != nil {
		return nil, nil, err
	}
	signed := v.Release().Release()
	for _, d := range signed.Depends {
		needs = append(needs, d.Name)
	}
	return append(needs, slices.Collect(maps.Keys(v.Document().Depends))...), &signed, nil
}

// readMetadata reads the files of a package that stand beside its archive, for
// those who look at nothing else.
func readMetadata(ctx context.Context, r *index.Reader, release *attest.Release) error {
	for _, d := range []store.Digest{release.Package, release.Files, release.Exports} {
		if d == "" {
			continue
		}
		if _, err := r.Object(ctx, d, attest.MaxArchive); err != nil {
			return err
		}
	}
	return nil
}

// copying walks from the wanted names to those that they need.
type copying struct {
	m    *mirror
	r    *index.Reader
	mu   sync.Mutex
	seen map[string]bool
	next []string
}

func (c *copying) names(ctx context.Context, from []string) ([]string, error) {
	c.add(from)
	for len(c.next) > 0 {
		now := c.next
		c.next = nil
		if len(c.seen) > maxPackages {
			return nil, fault.New(fault.Semantic, "more than %d packages are needed", maxPackages)
		}
		if err := each(now, c.m.o.Jobs, func(name string) error { return c.copy(ctx, name, slices.Contains(from, name)) }); err != nil {
			return nil, err
		}
	}
	return slices.Sorted(maps.Keys(c.seen)), nil
}

func (c *copying) add(all []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range all {
		if !c.seen[name] {
			c.seen[name] = true
			c.next = append(c.next, name)
		}
	}
}

// copy reads all versions of a package through the recorder.
func (c *copying) copy(ctx context.Context, name string, asked bool) error {
	entries, err := c.r.Entries(ctx, name)
	if fault.CodeOf(err) == fault.IndexNoMatch && !asked {
		return fault.New(fault.DepMissing, "package %s is needed and not in the index: %w", name, err).With("package", name).
			WithHint("ask who runs the index for %s", name)
	}
	if err != nil {
		return err
	}
	if err := c.m.appendsOnly(ctx, name, entries); err != nil {
		return err
	}
	for _, e := range entries {
		needs, release, err := verifyLine(ctx, c.r, e)
		if err == nil && release != nil {
			err = readMetadata(ctx, c.r, release)
		}
		if err == nil && release != nil && c.m.o.Definitions != nil {
			err = c.definitions(ctx, e, release)
		}
		if err != nil {
			return about(e.Name+"@"+e.Version, err)
		}
		c.add(needs)
	}
	return nil
}

// definitions reads what it takes to build a release again.
func (c *copying) definitions(ctx context.Context, e *index.Entry, release *attest.Release) error {
	if len(release.Builds) == 0 {
		return nil
	}
	b, err := c.r.Bundle(ctx, e)
	if err != nil {
		return err
	}
	for i, build := range release.Builds {
		plan, err := attest.DecodePlan("plan "+string(build.Plan), b.Builds[i].Plan)
		if err != nil {
			return err
		}
		var targets []store.Digest
		for _, t := range build.Targets {
			targets = append(targets, t.Manifest)
		}
		if err := c.m.o.Definitions(ctx, c.r, plan, targets); err != nil {
			return err
		}
	}
	return nil
}

// appendsOnly wants every version that the mirror has to be there unchanged.
func (m *mirror) appendsOnly(ctx context.Context, name string, entries []*index.Entry) error {
	if m.old == nil {
		return nil
	}
	held, err := m.old.Entries(ctx, name)
	if fault.CodeOf(err) == fault.IndexNoMatch || fault.CodeOf(err) == fault.ViewMismatch {
		return nil // not mirrored yet, or cut while it was shown
	}
	if err != nil {
		return err
	}
	for _, was := range held {
		i := slices.IndexFunc(entries, func(e *index.Entry) bool { return names.CompareVersions(e.Version, was.Version) == 0 })
		if i < 0 || entries[i].Cksum != was.Cksum || entries[i].Release != was.Release {
			return fault.New(fault.Rollback, "%s lacks %s@%s as the mirror has it, with release %s", m.o.From, was.Name, was.Version, was.Release).
				WithHint("ask who runs the index; the mirror was left as it is")
		}
	}
	return nil
}

// each does something for every name, jobs at one time, and returns the error
// of the first by name.
func each(all []string, jobs int, do func(string) error) error {
	errs := make([]error, len(all))
	slots := make(chan struct{}, jobs)
	var wait sync.WaitGroup
	for i, name := range all {
		wait.Add(1)
		slots <- struct{}{}
		go func() {
			defer func() { <-slots; wait.Done() }()
			errs[i] = do(name)
		}()
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// recorder is a source that keeps every file that was read in the stage. What
// the mirror or an earlier run has already, and its name fixes, is not fetched
// again. Every other file is fetched once, so that all of it is of one time,
// unless it is asked for afresh.
type recorder struct {
	src       index.Source
	to, stage string

	mu    sync.Mutex
	files map[string]*call // recorded, by path; content only of those that change
}

func (r *recorder) String() string { return r.src.String() }

// Get implements [index.Source].
func (r *recorder) Get(ctx context.Context, path string, limit int64, fresh bool) ([]byte, error) {
	r.mu.Lock()
	known := r.files[path]
	if known != nil && !fresh {
		r.mu.Unlock()
		data, err := known.wait(ctx, path, limit)
		if err == nil && data == nil {
			return r.recorded(path, limit)
		}
		return data, err
	}
	mine := &call{done: make(chan struct{})}
	r.files[path] = mine
	r.mu.Unlock()
	data, err := r.record(ctx, path, limit, fresh)
	if mine.err = err; !index.Immutable(path) {
		mine.data = data
	}
	if err != nil {
		r.mu.Lock()
		delete(r.files, path)
		r.mu.Unlock()
	}
	close(mine.done)
	return data, err
}

// recorded returns a file that is in the stage or the mirror.
func (r *recorder) recorded(path string, limit int64) ([]byte, error) {
	data, err := readFile(filepath.Join(r.stage, filepath.FromSlash(path)), limit)
	if errors.Is(err, fs.ErrNotExist) {
		data, err = readFile(filepath.Join(r.to, filepath.FromSlash(path)), limit)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.IndexFetch, "reading %s of the mirror: %w", path, err)
	}
	return data, err
}

func (r *recorder) record(ctx context.Context, path string, limit int64, fresh bool) ([]byte, error) {
	if !fs.ValidPath(path) || strings.HasPrefix(path, ".") || strings.Contains(path, "/.") {
		return nil, fault.New(fault.Structure, "%.200q is no file of an index", path)
	}
	if d := index.PathDigest(path); d != "" {
		if data, err := r.recorded(path, limit); err == nil && store.DigestOf(data) == d {
			return data, nil
		}
	}
	data, err := r.src.Get(ctx, path, limit, fresh)
	if err != nil {
		return nil, err
	}
	staged := filepath.Join(r.stage, filepath.FromSlash(path))
	if have, err := readFile(filepath.Join(r.to, filepath.FromSlash(path)), limit); err == nil && bytes.Equal(have, data) {
		if err := os.Remove(staged); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, failed(r.to, err)
		}
		return data, nil
	}
	err = os.MkdirAll(filepath.Dir(staged), 0o755)
	if err == nil {
		err = os.WriteFile(staged, data, 0o644)
	}
	return data, failed(r.to, err)
}

// overlay is what the mirror will be: the stage over what is there.
type overlay struct{ r *recorder }

func (o overlay) String() string { return o.r.to }

func (o overlay) Get(_ context.Context, path string, limit int64, _ bool) ([]byte, error) {
	return o.r.recorded(path, limit)
}

// rank is the order in which files become visible: nothing is named before it is
// there, and the head, which fixes all of it, is last. A crash leaves files that
// no line names, or lines that the head does not have yet; the next run shows
// the rest.
func fileRank(path string) int {
	first, _, _ := strings.Cut(path, "/")
	switch first {
	case "objects", "statements", "tile", "hints":
		return 0
	case "chains":
		return 1
	case "view":
		return 3
	case index.ConfigFile:
		return 4
	case "checkpoint":
		return 5
	case "head":
		return 6
	}
	return 2 // lines
}

// show makes what was recorded durable, and then visible in its order. What an
// earlier run staged and this one did not read is removed. From the moment that
// the mark is on disk, a crash is mended by showing the rest.
func (m *mirror) show() (written []string, size int64, err error) {
	written = []string{}
	for path := range m.rec.files {
		info, err := os.Lstat(filepath.Join(m.rec.stage, filepath.FromSlash(path)))
		if errors.Is(err, fs.ErrNotExist) {
			continue // is in the mirror already
		}
		if err != nil {
			return nil, 0, err
		}
		written, size = append(written, path), size+info.Size()
	}
	slices.SortFunc(written, func(a, b string) int { return cmp.Or(cmp.Compare(fileRank(a), fileRank(b)), cmp.Compare(a, b)) })
	if err := m.settle(written); err != nil {
		return nil, 0, err
	}
	if err := moveStaged(m.o.To, m.rec.stage, written); err != nil {
		return nil, 0, err
	}
	return written, size, durable.RemoveAll(m.rec.stage)
}

// settle makes the stage hold what is shown and nothing else, durable with its
// mark.
func (m *mirror) settle(written []string) error {
	staged, err := stagedFiles(m.rec.stage)
	if err != nil {
		return err
	}
	wanted, dirs := map[string]bool{}, map[string]bool{m.rec.stage: true}
	for _, path := range written {
		wanted[path] = true
		for dir := filepath.Dir(filepath.Join(m.rec.stage, filepath.FromSlash(path))); !dirs[dir]; dir = filepath.Dir(dir) {
			dirs[dir] = true
		}
	}
	for _, path := range staged {
		if !wanted[path] {
			if err := os.Remove(filepath.Join(m.rec.stage, filepath.FromSlash(path))); err != nil {
				return err
			}
		}
	}
	if len(written) == 0 {
		return nil
	}
	if err := each(written, 64, func(path string) error { return syncFile(filepath.Join(m.rec.stage, filepath.FromSlash(path))) }); err != nil {
		return err
	}
	if err := each(slices.Sorted(maps.Keys(dirs)), 16, durable.OS{}.SyncDir); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(m.rec.stage, mirrorReady), nil, 0o644); err != nil {
		return err
	}
	return errors.Join(durable.OS{}.SyncDir(m.rec.stage), durable.OS{}.SyncDir(m.o.To))
}

func moveStaged(mirror, stage string, written []string) error {
	disk := durable.OS{}
	for rank := 0; rank <= 6; rank++ {
		dirs := map[string]bool{}
		for _, path := range written {
			if fileRank(path) != rank {
				continue
			}
			to := filepath.Join(mirror, filepath.FromSlash(path))
			if err := durable.MkdirAll(disk, filepath.Dir(to)); err != nil {
				return err
			}
			if err := disk.Rename(filepath.Join(stage, filepath.FromSlash(path)), to); err != nil {
				return err
			}
			dirs[filepath.Dir(to)] = true
		}
		for _, dir := range slices.Sorted(maps.Keys(dirs)) {
			if err := disk.SyncDir(dir); err != nil {
				return err
			}
		}
	}
	return nil
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
