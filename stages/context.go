package stages

import (
	"bytes"
	"cmp"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"

	"rebuild/internal/fault"
	"rebuild/store"
)

// Entry is one file, folder or link of a stage's context, as a build sees it:
// owner 0:0 and one of two modes, so that neither the checkout's umask nor
// its owner counts.
type Entry struct {
	Path   string // slash path relative to the context
	Kind   EntryKind
	Exec   bool   // a file with the owner's x bit: 0755, otherwise 0644; folders are 0755
	Size   int64  // bytes of a file
	Target string // of a link
	// Source is the source whose bytes the file is, by its "into"; nil for the
	// stage's own files.
	Source *Source
	// Info is what the file system says of an own file; nil for a source and
	// for the folders above it.
	Info fs.FileInfo
}

// EntryKind is the type of an Entry.
type EntryKind byte

// What a context can hold.
const (
	Folder EntryKind = 'd'
	File   EntryKind = 'f'
	Link   EntryKind = 'l'
)

// Mode returns the permission bits a build sees.
func (e *Entry) Mode() int64 {
	switch {
	case e.Kind == Link:
		return 0o777
	case e.Kind == Folder || e.Exec:
		return 0o755
	}
	return 0o644
}

// Content returns the digest of a file that is known without reading it.
func (e *Entry) Content() (store.Digest, bool) {
	if e.Source == nil {
		return "", false
	}
	return e.Source.Digest, true
}

// maxContextEntries bounds the walk of a context.
const maxContextEntries = 1_000_000

// Context lists the stage's context sorted by path: its own files less what
// the ignore file leaves out, and the sources that go into it. Symbolic links
// stay links. It reads no file's content; stage.toml itself is never in it,
// since a corrected URL must not be another build. The error is SEMANTIC.
func (s *Stage) Context() ([]Entry, error) {
	var entries []Entry
	if s.ContextDir != "" {
		ignored, err := s.ignored()
		if err != nil {
			return nil, err
		}
		if entries, err = s.walk(ignored); err != nil {
			return nil, err
		}
	}
	for i := range s.Sources {
		if s.Sources[i].Into != "" {
			var err error
			if entries, err = s.placeSource(entries, &s.Sources[i]); err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Path, b.Path) })
	return entries, nil
}

// HasContext says whether the stage has files of its own or sources among
// them; without, its context is empty.
func (s *Stage) HasContext() bool {
	return s.ContextDir != "" || slices.ContainsFunc(s.Sources, func(o Source) bool { return o.Into != "" })
}

// OpenContext opens an own file of the context.
func (s *Stage) OpenContext(e *Entry) (fs.File, error) {
	return s.Open(path.Join(s.ContextDir, e.Path))
}

// maxIgnoreFile bounds an ignore file, which becomes regular expressions.
const maxIgnoreFile = 64 << 10

// ignored returns the matcher of the ignore file: Containerfile.dockerignore
// beside the Containerfile, else .dockerignore in the context.
func (s *Stage) ignored() (*patternmatcher.PatternMatcher, error) {
	var text []byte
	rel := ContainerFile + ".dockerignore"
	text, err := s.folder.readRegular(rel, maxIgnoreFile)
	if errors.Is(err, fs.ErrNotExist) {
		rel = path.Join(s.ContextDir, ".dockerignore")
		text, err = s.folder.readRegular(rel, maxIgnoreFile)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, s.fileFault(rel, "%w", err)
	}
	patterns, err := ignorefile.ReadAll(bytes.NewReader(text))
	if err != nil {
		return nil, s.fileFault(rel, "%w", err)
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		return nil, s.fileFault(rel, "%w", err)
	}
	return matcher, nil
}

// fileFault is an error about a file of the stage folder other than
// stage.toml.
func (s *Stage) fileFault(rel, format string, args ...any) *fault.Error {
	return fault.New(fault.Semantic, format, args...).At(s.folder.display(rel), 0)
}

// walker collects the entries of a context. A folder that is ignored itself
// but holds a file that an exception takes back in appears with that file.
type walker struct {
	stage   *Stage
	matcher *patternmatcher.PatternMatcher
	parents map[string]parent // the folders on the way to the current file
	entries []Entry
}

type parent struct {
	match patternmatcher.MatchInfo
	held  *Entry // an ignored folder that is not listed yet
}

func (s *Stage) walk(matcher *patternmatcher.PatternMatcher) ([]Entry, error) {
	w := &walker{stage: s, matcher: matcher, parents: map[string]parent{}}
	root := path.Join(s.folder.dir, s.ContextDir)
	err := fs.WalkDir(s.folder.fsys, root, func(p string, d fs.DirEntry, err error) error {
		rel := "."
		if p != root {
			rel = strings.TrimPrefix(p, root+"/")
			if root == "." {
				rel = p
			}
		}
		if err != nil {
			return s.fileFault(path.Join(s.ContextDir, rel), "%w", cause(err))
		}
		if rel == "." || (s.ContextDir == "." && rel == SettingsFile) {
			return nil
		}
		return w.visit(rel, d)
	})
	return w.entries, err
}

func (w *walker) visit(rel string, d fs.DirEntry) error {
	if len(w.entries) >= maxContextEntries {
		return w.fault(rel, "more than %d files in the context", maxContextEntries)
	}
	above := w.parents[path.Dir(rel)]
	out, match, err := w.matcher.MatchesUsingParentResults(rel, above.match)
	if err != nil {
		return w.fault(rel, "%w", err)
	}
	if out && d.IsDir() && !w.matcher.Exclusions() {
		return fs.SkipDir
	}
	if out && !d.IsDir() {
		return nil
	}
	e, err := w.entry(rel, d)
	if err != nil {
		return err
	}
	if d.IsDir() {
		self := parent{match: match}
		if out {
			self.held = &e
		}
		w.parents[rel] = self
	}
	if !out {
		w.release(path.Dir(rel))
		w.entries = append(w.entries, e)
	}
	return nil
}

// release lists the held folders from dir upwards.
func (w *walker) release(dir string) {
	for ; dir != "."; dir = path.Dir(dir) {
		p := w.parents[dir]
		if p.held != nil {
			w.entries = append(w.entries, *p.held)
			p.held = nil
			w.parents[dir] = p
		}
	}
}

func (w *walker) fault(rel, format string, args ...any) *fault.Error {
	return w.stage.fileFault(path.Join(w.stage.ContextDir, rel), format, args...)
}

func (w *walker) entry(rel string, d fs.DirEntry) (Entry, error) {
	info, err := d.Info()
	if err != nil {
		return Entry{}, w.fault(rel, "%w", cause(err))
	}
	e := Entry{Path: rel, Info: info}
	switch mode := info.Mode(); mode.Type() {
	case fs.ModeDir:
		e.Kind = Folder
	case fs.ModeSymlink:
		e.Kind = Link
		at := path.Join(w.stage.folder.dir, w.stage.ContextDir, rel)
		if e.Target, err = fs.ReadLink(w.stage.folder.fsys, at); err != nil {
			return Entry{}, w.fault(rel, "%w", cause(err))
		}
	case 0:
		e.Kind, e.Size, e.Exec = File, info.Size(), mode&0o100 != 0
	default:
		return Entry{}, w.fault(rel, "neither a file nor a folder nor a symbolic link").
			WithHint("remove it, or name it in the ignore file")
	}
	return e, nil
}

// placeSource adds the file that a source is in the context, and the folders
// above it.
func (s *Stage) placeSource(entries []Entry, o *Source) ([]Entry, error) {
	find := func(p string) int { return slices.IndexFunc(entries, func(e Entry) bool { return e.Path == p }) }
	if find(o.Into) >= 0 {
		return nil, s.Fault(fault.Semantic, []any{"source", o.Index, "into"}, "source %s goes to %q, where the stage has a file of its own", o.Name, o.Into)
	}
	for dir := path.Dir(o.Into); dir != "."; dir = path.Dir(dir) {
		i := find(dir)
		if i < 0 {
			entries = append(entries, Entry{Path: dir, Kind: Folder})
		} else if entries[i].Kind != Folder {
			return nil, s.Fault(fault.Semantic, []any{"source", o.Index, "into"}, "source %s goes to %q, but %q is not a folder", o.Name, o.Into, dir)
		}
	}
	return append(entries, Entry{Path: o.Into, Kind: File, Size: o.Size, Source: o}), nil
}
