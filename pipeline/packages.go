package pipeline

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"rebuild/internal/fault"
	"rebuild/internal/names"
	"rebuild/store"
)

// LockRegistry says at which state of its log an index was resolved, so that
// what was added since, or a mirror of it, is no drift.
type LockRegistry struct {
	Origin string `json:"origin"` // of the log
	Size   int64  `json:"size"`   // leaves
}

// LockPackage pins a package.
type LockPackage struct {
	Name      string       `json:"name"`
	Version   string       `json:"version"`
	Cksum     string       `json:"cksum"`         // sha256 of the archive, bare hex
	Release   store.Digest `json:"release"`       // payload digest
	OCI       store.Digest `json:"oci,omitempty"` // the release's oci_index
	Snapshot  store.Digest `json:"snapshot"`
	Owners    []string     `json:"owners"`    // public keys, sorted
	Operators []string     `json:"operators"` // whose votes counted, sorted
	Yanked    bool         `json:"yanked"`    // when it was locked
}

// Resolver chooses packages of an index, of which it hands out nothing that it
// has not verified.
type Resolver interface {
	// Resolve chooses a version of each package that is needed. Errors are
	// those of the choice, and of verifying what the index says.
	Resolve(ctx context.Context, w PackageWish) (*PackageChoice, error)
}

// PackageWish is what to choose for.
type PackageWish struct {
	Ranges map[string]string
	// Held is the lock at whose state of the index to choose; nil: its present
	// state. What it pins stays as long as it is in range.
	Held            *Lock
	AllowYanked     bool
	AllowAdvisories bool
}

// PackageChoice is what was chosen.
type PackageChoice struct {
	Registry *LockRegistry // nil: the index is not logged
	Packages []LockPackage // sorted by name
	// Withdrawn are those of Packages that are yanked or have advisories now.
	Withdrawn []Withdrawal
}

// Withdrawal is what the index says against a version now.
type Withdrawal struct {
	Name       string
	Version    string
	Yanked     bool
	Advisories []string
}

// LockOptions say how [packages] is resolved.
type LockOptions struct {
	// Resolver may be nil for a pipeline that wants no packages.
	Resolver Resolver
	// Held is the lock that is there, nil without one; Update moves it to the
	// present state of the index and to the newest versions.
	Held            *Lock
	Update          bool
	AllowYanked     bool
	AllowAdvisories bool
}

// lockPackages chooses the packages of a new lock.
func (p *Pipeline) lockPackages(ctx context.Context, l *Lock, o LockOptions) error {
	chosen, err := p.choose(ctx, o)
	if err != nil {
		return err
	}
	l.Registry, l.Packages = chosen.Registry, chosen.Packages
	return nil
}

func (p *Pipeline) choose(ctx context.Context, o LockOptions) (*PackageChoice, error) {
	if len(p.Packages) == 0 {
		return &PackageChoice{}, nil
	}
	if o.Resolver == nil {
		return nil, p.semantic([]any{"packages"}, "there are [packages], but no index to choose them from").
			WithHint("add index = \"sparse+https://HOST/\" to %s, or give --index", p.File)
	}
	w := PackageWish{Ranges: p.Packages, AllowYanked: o.AllowYanked, AllowAdvisories: o.AllowAdvisories}
	if !o.Update {
		w.Held = o.Held
	}
	chosen, err := o.Resolver.Resolve(ctx, w)
	if err != nil {
		return nil, err
	}
	return chosen, (&Lock{Registry: chosen.Registry, Packages: chosen.Packages}).checkPackages()
}

// withdrawn refuses a pin of what is withdrawn, unless that is allowed.
func (o LockOptions) withdrawn(chosen *PackageChoice, file string) error {
	for _, w := range chosen.Withdrawn {
		if w.Yanked && !o.AllowYanked {
			return fault.New(fault.YankedDep, "%s@%s is yanked", w.Name, w.Version).At(file, 0).With("package", w.Name).
				WithHint("choose another version with rebuild lock --update, or accept it with --allow-yanked")
		}
		if len(w.Advisories) > 0 && !o.AllowAdvisories {
			return fault.New(fault.AdvisedDep, "%s@%s has the advisories %s", w.Name, w.Version, strings.Join(w.Advisories, ", ")).At(file, 0).
				With("package", w.Name).WithHint("choose another version with rebuild lock --update, or accept it with --allow-advisories")
		}
	}
	return nil
}

// checkPackages checks what a lock says of packages: names become paths.
func (l *Lock) checkPackages() error {
	if l.Registry != nil && (l.Registry.Origin == "" || l.Registry.Size < 0) {
		return fault.New(fault.Semantic, "registry has no origin, or a negative size")
	}
	for i := range l.Packages {
		if err := l.Packages[i].check(); err != nil {
			return err
		}
	}
	return nil
}

func (o *LockPackage) check() error {
	if err := names.Package(o.Name); err != nil {
		return err
	}
	if err := names.Version(o.Version); err != nil {
		return err
	}
	for _, d := range []store.Digest{store.Digest("sha256:" + o.Cksum), o.Release, o.Snapshot, o.OCI} {
		if _, err := store.ParseDigest(string(d)); err != nil && d != "" {
			return fault.New(fault.Structure, "package %s: %w", o.Name, err)
		}
	}
	if o.Release == "" || o.Snapshot == "" || len(o.Owners) == 0 {
		return fault.New(fault.Semantic, "package %s has no release, snapshot or owners", o.Name)
	}
	if !slices.IsSorted(o.Owners) || !slices.IsSorted(o.Operators) {
		return fault.New(fault.Semantic, "package %s: owners or operators are not sorted", o.Name)
	}
	return nil
}

// packageLines writes each pin of a package as one line, and its owners and
// operators one line each, so that a difference names who is new or gone.
func (l *Lock) packageLines() []string {
	var out []string
	if l.Registry != nil {
		out = append(out, fmt.Sprintf("registry %s %d", l.Registry.Origin, l.Registry.Size))
	}
	for _, o := range l.Packages {
		line := fmt.Sprintf("package %s %s %s release %s snapshot %s", o.Name, o.Version, o.Cksum, o.Release, o.Snapshot)
		if o.OCI != "" {
			line += " oci " + string(o.OCI)
		}
		if o.Yanked {
			line += " yanked"
		}
		out = append(out, line)
		for _, k := range o.Owners {
			out = append(out, "package "+o.Name+" owner "+k)
		}
		for _, n := range o.Operators {
			out = append(out, "package "+o.Name+" operator "+n)
		}
	}
	return out
}

// SignerChanges names the owners and operators of packages in both locks that
// are gone or new in this one. An upgrade must not lose one silently.
func (l *Lock) SignerChanges(before *Lock) []string {
	if before == nil {
		return nil
	}
	old := map[string]*LockPackage{}
	for i := range before.Packages {
		old[before.Packages[i].Name] = &before.Packages[i]
	}
	var out []string
	for _, o := range l.Packages {
		was := old[o.Name]
		if was == nil {
			continue
		}
		for _, kind := range []struct {
			what     string
			was, now []string
		}{{"owner", was.Owners, o.Owners}, {"operator", was.Operators, o.Operators}} {
			for _, x := range kind.was {
				if !slices.Contains(kind.now, x) {
					out = append(out, fmt.Sprintf("package %s: %s %s is gone", o.Name, kind.what, x))
				}
			}
			for _, x := range kind.now {
				if !slices.Contains(kind.was, x) {
					out = append(out, fmt.Sprintf("package %s: %s %s is new", o.Name, kind.what, x))
				}
			}
		}
	}
	return out
}

// coversPackages refuses a lock that pins no version in range of what the
// pipeline wants.
func (l *Lock) coversPackages(p *Pipeline) error {
	for _, name := range slices.Sorted(maps.Keys(p.Packages)) {
		in, err := names.ParseRange(p.Packages[name])
		if err != nil {
			return p.place(err, "packages", name)
		}
		i := slices.IndexFunc(l.Packages, func(o LockPackage) bool { return o.Name == name })
		if i < 0 || !in.Has(l.Packages[i].Version) {
			return p.src.Fault(fault.LockDrift, []any{"packages", name}, "package %s %s is not pinned in %s", name, in, LockFile).
				WithHint("run rebuild lock and review the change")
		}
	}
	return nil
}
