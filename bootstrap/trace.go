package bootstrap

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"rebuild/internal/fault"
	"rebuild/store"
)

// Chain is the way from one executable back to a seed, or to where it came in
// from outside.
type Chain struct {
	Place  Place        `json:"place"`
	Digest store.Digest `json:"digest"`
	Traced bool         `json:"traced"`
	Steps  []Step       `json:"steps"` // from the executable back
}

// Enforce returns nil for a chain that ends at a seed, else LINEAGE_UNTRACED,
// which names where the executable came in.
func (c *Chain) Enforce() error {
	if c.Traced {
		return nil
	}
	last := c.Steps[len(c.Steps)-1]
	return fault.New(fault.LineageUntraced, "%s does not lead back to a seed: %s came in with %s", c.Place, last.Path, last.Origin).
		With("origin", last.Origin).With("path", last.Path).With("digest", string(last.Digest)).
		WithHint("build it in a stage from source, or leave it out of the inputs")
}

// Step is one link of a chain: an executable and what made it.
type Step struct {
	Origin string       `json:"origin"` // KIND/NAME
	Path   string       `json:"path"`   // of the executable there
	Digest store.Digest `json:"digest"`
	Size   int64        `json:"size"`
	Traced bool         `json:"traced"`

	// The rest for a stage only.
	Depth   int          `json:"depth,omitzero"`
	Built   string       `json:"built,omitempty"` // one of the Origin constants
	Tree    store.Digest `json:"tree,omitempty"`
	Context store.Digest `json:"context,omitempty"` // layer of its own files
	Inputs  []string     `json:"inputs,omitempty"`
	// Visible is every executable that the stage could have run, the one that
	// the chain goes on with first.
	Visible []Executable `json:"visible,omitempty"`
}

// Trace returns the chain of the executable at a place. Of what a step could
// have run the chain follows the executable that is farthest from the seeds,
// so that it is as long as the lineage is deep; where something is not traced,
// it follows that, so that it ends at the reason. The error is USAGE if there
// is no executable at the place.
func (l *Lineage) Trace(p Place) (*Chain, error) {
	i := l.stage(p.Stage)
	if i < 0 {
		return nil, fault.New(fault.Usage, "stage %q is not in the plan", p.Stage).WithHint("rebuild plan lists the stages")
	}
	d := l.digestAt(p)
	if d == "" {
		return nil, l.noExecutable(p)
	}
	c := &Chain{Place: p, Digest: d, Traced: l.origins[d].traced}
	for seen := map[store.Digest]bool{}; d != "" && !seen[d]; {
		seen[d] = true
		step := l.step(l.origins[d])
		c.Steps = append(c.Steps, step)
		d = ""
		if len(step.Visible) > 0 {
			d = step.Visible[0].Digest
		}
	}
	return c, nil
}

func (l *Lineage) noExecutable(p Place) error {
	err := fault.New(fault.Usage, "there is no executable at %s", p)
	code := l.trees[KindStage+"/"+p.Stage].code
	if len(code) == 0 {
		return err.WithHint("the output of the stage holds no machine code")
	}
	return err.WithHint("try rebuild bootstrap trace %s", Place{p.Stage, code[0].Path})
}

func (l *Lineage) step(o *origin) Step {
	s := Step{Origin: o.String(), Path: o.file.Path, Digest: o.file.Digest, Size: o.file.Size, Traced: o.traced}
	if o.kind != KindStage {
		return s
	}
	stage := &l.graph.Stages[o.stage]
	s.Depth, s.Built, s.Tree, s.Context, s.Inputs = l.depths[o.stage], stage.Origin, stage.Tree, stage.Context, stage.Inputs
	var ran []*origin
	for d := range l.visible[o.stage] {
		ran = append(ran, l.origins[d])
	}
	slices.SortFunc(ran, l.farther)
	for _, v := range ran {
		s.Visible = append(s.Visible, v.executable())
	}
	return s
}

// farther orders executables: untraced ones, then by depth, the deepest first.
func (l *Lineage) farther(a, b *origin) int {
	depth := func(o *origin) int {
		if o.kind == KindStage {
			return l.depths[o.stage]
		}
		return 0
	}
	if a.traced != b.traced {
		if a.traced {
			return 1
		}
		return -1
	}
	return cmp.Or(cmp.Compare(depth(b), depth(a)), cmp.Compare(a.String(), b.String()),
		cmp.Compare(a.file.Path, b.file.Path), cmp.Compare(a.file.Digest, b.file.Digest))
}

// Print writes one line for each step. clean makes names from outside safe for
// a terminal.
func (c *Chain) Print(w io.Writer, clean func(string) string) {
	for _, s := range c.Steps {
		fmt.Fprintf(w, "%s %s:/%s, %d bytes", s.Digest, s.Origin, clean(s.Path), s.Size)
		if s.Tree != "" {
			fmt.Fprintf(w, ", tree %s, %s", s.Tree, s.Built)
		}
		if n := len(s.Visible); n > 0 {
			fmt.Fprintf(w, " by %d executables", n)
		}
		if !s.Traced {
			fmt.Fprint(w, " (NOT traced)")
		}
		fmt.Fprintln(w)
	}
}
