package resolve

import (
	"fmt"
	"slices"
	"strings"

	"rebuild/internal/fault"
)

// chain words who wants a decision: "a@1.0.0 > b@2.0.0", the caller first.
func (d *decision) chain() string {
	var parts []string
	seen := map[*decision]bool{}
	for at := d; at.level >= 0 && !seen[at]; at = at.node.wants[0].from {
		seen[at] = true
		parts = append(parts, at.node.name+"@"+at.version())
	}
	slices.Reverse(parts)
	if left := len(parts) - 2*shownEnds; left > 0 {
		parts = slices.Concat(parts[:shownEnds], []string{fmt.Sprintf("(%d more)", left)}, parts[len(parts)-shownEnds:])
	}
	return strings.Join(parts, " > ")
}

// What an error shows of a chain and of those who want a package: a catalog
// could make a text of gigabytes of them.
const (
	shownEnds  = MaxDepth / 2
	shownWants = 32
)

// wanted words each range that is wanted of a package and by whom.
func wanted(wants []need) string {
	var parts []string
	for i, w := range wants {
		if i == shownWants {
			parts = append(parts, fmt.Sprintf("and %d more", len(wants)-i))
			break
		}
		by := "you want"
		if w.from.level >= 0 {
			by = w.from.chain() + " wants"
		}
		parts = append(parts, fmt.Sprintf("%s %q", by, w.in))
	}
	return strings.Join(parts, "; ")
}

// deadEnd says why a package has no version that fits.
func (s *search) deadEnd(n *node) error {
	who := wanted(n.wants)
	if n.missing {
		return fault.New(fault.DepMissing, "package %s is not in the index: %s", n.name, who).With("package", n.name).
			WithHint("publish %s in the index, or correct who wants it", n.name)
	}
	for _, c := range n.withheld {
		if n.refusing(c.Version) == nil {
			return s.withheldError(n.name, c, who)
		}
	}
	for _, c := range n.candidates {
		if c.pending != nil && n.refusing(c.Version) == nil {
			return fault.New(fault.QuorumPending, "of package %s only versions that lack votes would do: %w (%s)", n.name, c.pending, who).
				WithHint("wait for more rebuilders, or widen the range")
		}
	}
	return fault.New(fault.DepMissing, "no version of package %s is in every range: %s", n.name, who).With("package", n.name).
		WithHint("widen a range in [packages], or name another version there; rebuild lock --update also looks at what was published since the lock")
}

func (s *search) withheldError(name string, c Candidate, who string) error {
	if c.Yanked && !s.wish.AllowYanked {
		return Yanked(name, c.Version, "of what the index has, only that would do: "+who)
	}
	return Advised(name, c.Version, c.Advisories, "of what the index has, only that would do: "+who)
}

// Yanked is the error for a version that is yanked (YANKED_DEP).
func Yanked(name, version, why string) error {
	return fault.New(fault.YankedDep, "%s@%s is yanked; %s", name, version, why).With("package", name).
		WithHint("choose another version, or accept it with --allow-yanked")
}

// Advised is the error for a version that has advisories (ADVISED_DEP).
func Advised(name, version string, ids []string, why string) error {
	return fault.New(fault.AdvisedDep, "%s@%s has the advisories %s; %s", name, version, strings.Join(ids, ", "), why).With("package", name).
		WithHint("choose another version, or accept it with --allow-advisories")
}

// clashError says that a version wants another one of a package than the one
// that is decided.
func (s *search) clashError(d *decision, c *candidate) error {
	for _, n := range c.needs {
		with := n.of.decided
		if with == nil || with == d || n.in.Has(with.version()) {
			continue
		}
		return fault.New(fault.DepMissing, "no version of package %s is in every range: %s; %s wants %q", n.of.name,
			wanted(n.of.wants), strings.TrimPrefix(d.node.wants[0].from.chain()+" > ", " > ")+d.node.name+"@"+c.Version, n.in).
			With("package", n.of.name).WithHint("widen a range in [packages], or name another version there; rebuild lock --update also looks at what was published since the lock")
	}
	return nil
}

// CheckChains refuses packages that need each other in a cycle (CYCLE), and a
// chain of more than [MaxDepth] packages (DEPTH), from some names on. needs
// holds the names that each package needs.
func CheckChains(needs map[string][]string, from []string) error {
	w := &walk{needs: needs, longest: map[string]int{}, on: map[string]bool{}}
	for _, name := range from {
		if _, err := w.visit(name); err != nil {
			return err
		}
	}
	return nil
}

// walk measures how long a chain each package begins, and finds cycles.
type walk struct {
	needs   map[string][]string
	longest map[string]int
	on      map[string]bool // on the path
	path    []string
}

func (w *walk) visit(name string) (int, error) {
	if w.on[name] {
		return 0, cycle(append(w.path[slices.Index(w.path, name):], name))
	}
	if n, done := w.longest[name]; done {
		if len(w.path)+n > MaxDepth {
			return 0, TooDeep(append(w.path, w.rest(name)...))
		}
		return n, nil
	}
	if len(w.path) == MaxDepth {
		return 0, TooDeep(append(w.path, name))
	}
	w.on[name] = true
	w.path = append(w.path, name)
	longest := 0
	for _, next := range w.needs[name] {
		n, err := w.visit(next)
		if err != nil {
			return 0, err
		}
		longest = max(longest, n)
	}
	w.path = w.path[:len(w.path)-1]
	w.on[name] = false
	w.longest[name] = longest + 1
	return longest + 1, nil
}

// rest is a longest chain from a package that was measured.
func (w *walk) rest(name string) []string {
	out := []string{name}
	for {
		next := ""
		for _, dep := range w.needs[name] {
			if next == "" || w.longest[dep] > w.longest[next] {
				next = dep
			}
		}
		if next == "" {
			return out
		}
		out, name = append(out, next), next
	}
}

// cycle is the error for packages that need each other (CYCLE).
func cycle(chain []string) error {
	return fault.New(fault.Cycle, "packages need each other: %s", strings.Join(chain, " > ")).With("chain", slices.Clone(chain)).
		WithHint("ask the owners to break the cycle, or choose other versions")
}

// TooDeep is the error for a chain of needs that is too long (DEPTH).
func TooDeep(chain []string) error {
	return fault.New(fault.Depth, "more than %d packages need each other in a chain: %s", MaxDepth, strings.Join(chain, " > ")).
		With("chain", slices.Clone(chain)).WithHint("choose versions that need less")
}
