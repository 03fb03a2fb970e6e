package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"rebuild/attest"
	"rebuild/internal/document"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
	"rebuild/store"
)

// Lock is rebuild.lock: every outside name that a pipeline uses, with the
// digest it stands for (formats.md 4). It holds no time, host, path or tool
// version, so that it is the same file on every machine.
type Lock struct {
	SchemaVersion string        `json:"schema_version"`
	Toolchain     Toolchain     `json:"toolchain"`
	Registry      *LockRegistry `json:"registry,omitempty"` // of packages that come from a logged index
	Sources       []LockSource  `json:"sources,omitempty"`  // sorted by name
	Images        []LockImage   `json:"images,omitempty"`   // sorted by name, platform
	Packages      []LockPackage `json:"packages,omitempty"` // sorted by name, one version of each
}

// Toolchain is the contract that builds are made under.
type Toolchain struct {
	Exec string `json:"exec"` // the pipeline's exec profile
	Tree string `json:"tree"` // attest.TreeFormat
}

// LockSource pins a source.
type LockSource struct {
	Name   string       `json:"name"`
	Digest store.Digest `json:"digest"`
	Size   int64        `json:"size"` // bytes
}

// LockImage pins an image's manifest for one platform.
type LockImage struct {
	Name     string       `json:"name"`
	Digest   store.Digest `json:"digest"`
	Platform string       `json:"platform"`
}

// ReadLock reads the rebuild.lock beside a pipeline. There being none is no
// error: the result is nil. LOCK_DRIFT (21) means that it is not in its one
// order, or pins one name twice.
func (p *Pipeline) ReadLock() (*Lock, error) {
	l, err := p.readLock()
	if err != nil || l == nil {
		return nil, err
	}
	if !l.sorted() {
		return nil, fault.New(fault.LockDrift, "%s is not sorted, or pins one name twice", LockFile).At(p.lockDisplay(), 0).
			WithHint("run rebuild lock and review the change")
	}
	return l, nil
}

// sorted says whether each pin stands once, in the order that NewLock gives.
func (l *Lock) sorted() bool {
	for i := 1; i < len(l.Sources); i++ {
		if l.Sources[i-1].Name >= l.Sources[i].Name {
			return false
		}
	}
	for i := 1; i < len(l.Images); i++ {
		a, b := l.Images[i-1], l.Images[i]
		if cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Platform, b.Platform)) >= 0 {
			return false
		}
	}
	for i := 1; i < len(l.Packages); i++ {
		if l.Packages[i-1].Name >= l.Packages[i].Name {
			return false
		}
	}
	return true
}

func (p *Pipeline) readLock() (*Lock, error) {
	if p.Dir == "" {
		return nil, nil
	}
	file := p.lockDisplay()
	data, err := readRegular(filepath.Join(p.Dir, LockFile), document.Lock.MaxBytes)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.New(fault.LockMissing, "%w", bare(err)).At(file, 0).
			WithHint("make it readable, or run rebuild lock again")
	}
	return decodeLock(file, data)
}

// DecodeLock reads the bytes of a rebuild.lock, wherever it lies. LOCK_DRIFT
// means that it is not in its one order, or pins one name twice.
func DecodeLock(file string, data []byte) (*Lock, error) {
	l, err := decodeLock(file, data)
	if err == nil && !l.sorted() {
		err = fault.New(fault.LockDrift, "it is not sorted, or pins one name twice").At(file, 0).
			WithHint("run rebuild lock and review the change")
	}
	return l, err
}

func decodeLock(file string, data []byte) (*Lock, error) {
	var l Lock
	if err := document.Decode(file, data, document.Lock, &l); err != nil {
		return nil, err
	}
	return &l, fault.In(l.checkPackages(), file)
}

func (p *Pipeline) lockDisplay() string {
	return filepath.ToSlash(filepath.Join(filepath.Dir(p.File), LockFile))
}

// NewLock resolves every outside name of the pipeline. Images are looked up by
// their digest in the layouts that [images] names, packages by o.Resolver; it
// alone may fetch something.
func (p *Pipeline) NewLock(ctx context.Context, o LockOptions) (*Lock, error) {
	l, err := p.newLock()
	if err != nil {
		return nil, err
	}
	return l, p.lockPackages(ctx, l, o)
}

// newLock is NewLock without packages.
func (p *Pipeline) newLock() (*Lock, error) {
	l := &Lock{
		SchemaVersion: document.Lock.ID(),
		Toolchain:     Toolchain{Exec: string(p.Exec), Tree: attest.TreeFormat},
	}
	for _, s := range p.Stages {
		for i := range s.Sources {
			o := &s.Sources[i]
			l.Sources = append(l.Sources, LockSource{string(o.Name), o.Digest, o.Size})
		}
	}
	slices.SortFunc(l.Sources, func(a, b LockSource) int { return cmp.Compare(a.Name, b.Name) })
	l.Sources = slices.Compact(l.Sources) // one name is one source, by checkSources
	for _, ref := range p.Images {
		for _, platform := range p.Platforms {
			manifest, err := p.resolveImage(ref, platform)
			if err != nil {
				return nil, err
			}
			l.Images = append(l.Images, LockImage{string(ref.Name), manifest, platform})
		}
	}
	return l, nil
}

// WriteLock writes rebuild.lock beside the pipeline and returns its bytes.
func (p *Pipeline) WriteLock(l *Lock) ([]byte, error) {
	return p.WriteLockAs(l, document.Lock.Current)
}

// WriteLockAs is WriteLock in a version of the document, for those who still run
// a program that reads no newer one. It refuses (SEMANTIC) what an older version
// has no room for, and writes nothing then.
func (p *Pipeline) WriteLockAs(l *Lock, version string) ([]byte, error) {
	if p.Dir == "" {
		return nil, fault.New(fault.Usage, "%s is part of the program and can't be locked", p.File).
			WithHint("name a pipeline of yours with --pipeline DIR")
	}
	data, err := document.Encode(l)
	if err == nil && version != document.Lock.Current {
		if data, err = document.Downgrade(p.lockDisplay(), data, document.Lock, version); err != nil && len(l.Packages) > 0 {
			err = fault.New(fault.CodeOf(err), "version %s of %s has no room for packages: %w", version, LockFile, err).
				WithHint("leave --lock-version out, or the packages")
		}
	}
	if err != nil {
		return nil, err
	}
	return data, durable.WriteFile(durable.OS{}, filepath.Join(p.Dir, LockFile), data)
}

// CheckLock makes the lock in memory, at the state of the index that the file
// records, and compares it with the file. It writes nothing. LOCK_MISSING (21)
// means that there is no file, LOCK_DRIFT (21) that the bytes differ; then diff
// says how, a line each, "-" for what the file has and "+" for what it should
// have. YANKED_DEP and ADVISED_DEP (22) mean that the file is what it should be
// and pins a package that was withdrawn since.
func (p *Pipeline) CheckLock(ctx context.Context, o LockOptions) (diff []string, err error) {
	have, err := p.readLock()
	if err != nil {
		return nil, err
	}
	if have == nil {
		return nil, fault.New(fault.LockMissing, "there is no %s", LockFile).At(p.lockDisplay(), 0).WithHint("run rebuild lock")
	}
	want, err := p.newLock()
	if err != nil {
		return nil, err
	}
	o.Held, o.Update = have, false
	chosen, err := p.choose(ctx, o)
	if err != nil {
		return nil, err
	}
	want.Registry, want.Packages = chosen.Registry, chosen.Packages
	// Both are canonical, so equal lines are equal bytes.
	if diff = have.diff(want); len(diff) > 0 {
		return diff, p.drift(have, want, diff)
	}
	return nil, o.withdrawn(chosen, p.lockDisplay())
}

func (p *Pipeline) drift(have, want *Lock, diff []string) error {
	text := fmt.Sprintf("%s is not what the pipeline gives, %d differences", LockFile, len(diff))
	changes := want.SignerChanges(have)
	if len(changes) > 0 {
		text += "; " + strings.Join(changes, "; ")
	}
	return fault.New(fault.LockDrift, "%s", text).At(p.lockDisplay(), 0).With("diff", diff).With("signers", changes).
		WithHint("run rebuild lock and review the change")
}

// lines writes each pin as one line.
func (l *Lock) lines() []string {
	out := []string{"toolchain exec " + l.Toolchain.Exec, "toolchain tree " + l.Toolchain.Tree}
	for _, s := range l.Sources {
		out = append(out, fmt.Sprintf("source %s %s %d", s.Name, s.Digest, s.Size))
	}
	for _, i := range l.Images {
		out = append(out, fmt.Sprintf("image %s %s %s", i.Name, i.Platform, i.Digest))
	}
	return append(out, l.packageLines()...)
}

func (l *Lock) diff(want *Lock) []string {
	have, should := l.lines(), want.lines()
	out := append(without("-", have, should), without("+", should, have)...)
	if len(out) == 0 && !slices.Equal(have, should) {
		out = append(out, "-order "+strings.Join(have, "; "), "+order "+strings.Join(should, "; "))
	}
	return out
}

// without returns the lines of a that b has not, each after a sign.
func without(sign string, a, b []string) (out []string) {
	there := map[string]bool{}
	for _, line := range b {
		there[line] = true
	}
	for _, line := range a {
		if !there[line] {
			out = append(out, sign+line)
		}
	}
	return out
}

// checkImage refuses a pin that is not what [images] stands for now: a lock
// that was edited, or not made again after the pipeline was. Only the layout
// knows what an index holds; a reference to a manifest says it itself.
func (p *Pipeline) checkImage(name, platform string, pinned store.Digest) error {
	i := slices.IndexFunc(p.Images, func(r ImageReference) bool { return string(r.Name) == name })
	ref := p.Images[i]
	if pinned == ref.Digest {
		return nil
	}
	now, err := p.resolveImage(ref, platform)
	if err != nil {
		return err
	}
	if now != pinned {
		return p.src.Fault(fault.LockDrift, []any{"images", name}, "%s pins image %s for %s as %s, but it is %s", LockFile, name, platform, pinned, now).
			WithHint("run rebuild lock and review the change")
	}
	return nil
}

func (l *Lock) image(name, platform string) (store.Digest, bool) {
	for _, i := range l.Images {
		if i.Name == name && i.Platform == platform {
			return i.Digest, true
		}
	}
	return "", false
}

// covers refuses a lock that pins other sources, or another toolchain, than the
// plan has. A lock that was not made again after a change would otherwise be
// read as a promise.
func (l *Lock) covers(plan *Plan) error {
	p := plan.Pipeline
	if want := (Toolchain{string(p.Exec), attest.TreeFormat}); l.Toolchain != want {
		return p.src.Fault(fault.LockDrift, []any{"exec"}, "%s pins the toolchain %s %s, the pipeline has %s %s",
			LockFile, l.Toolchain.Exec, l.Toolchain.Tree, want.Exec, want.Tree).WithHint("run rebuild lock and review the change")
	}
	for _, s := range plan.Doc.Sources {
		i := slices.IndexFunc(l.Sources, func(o LockSource) bool { return o.Name == s.Name })
		if i >= 0 && l.Sources[i].Digest == s.Digest && l.Sources[i].Size == s.Size {
			continue
		}
		use := plan.sources[s.Name]
		return use.stage.Fault(fault.LockDrift, []any{"source", use.decl.Index}, "source %s is not pinned so in %s", s.Name, LockFile).
			WithHint("run rebuild lock and review the change")
	}
	return l.coversPackages(p)
}
