package attest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"rebuild/store"
)

// Kinds of contradiction.
const (
	KindOutputs          = "outputs" // unequal outputs from equal inputs
	KindNotDeterministic = OutcomeNotDeterministic
	KindBuildFailed      = OutcomeBuildFailed
)

// Contradiction is where results can not all be right.
type Contradiction struct {
	Kind   string  `json:"kind"`
	Stage  string  `json:"stage,omitempty"` // "" if the result does not say where it failed
	Values []Value `json:"values"`
}

// Value is one of the answers that contradict each other, and who gave it.
type Value struct {
	Tree       store.Digest   `json:"tree,omitempty"`
	Manifest   store.Digest   `json:"manifest,omitempty"`
	Statements []store.Digest `json:"statements"` // sorted
	Operators  []string       `json:"operators"`  // of Statements, one for each
}

// names returns the distinct operators, sorted.
func (v Value) names() string {
	all := slices.Clone(v.Operators)
	slices.Sort(all)
	return strings.Join(slices.Compact(all), ", ")
}

func (c Contradiction) String() string {
	var b strings.Builder
	switch c.Kind {
	case KindOutputs:
		fmt.Fprintf(&b, "stage %s differs:", c.Stage)
		for _, v := range c.Values {
			fmt.Fprintf(&b, " [%s: tree %s manifest %s]", v.names(), v.Tree, v.Manifest)
		}
	default:
		fmt.Fprintf(&b, "%s at stage %s for %s", c.Kind, c.Stage, c.Values[0].names())
	}
	return b.String()
}

// selfContradicting returns the operators that stand in two values, or that
// saw their own two runs differ.
func (c Contradiction) selfContradicting() []string {
	if c.Kind == KindNotDeterministic {
		return c.Values[0].Operators
	}
	seen, twice := map[string]int{}, map[string]bool{}
	for i, v := range c.Values {
		for _, name := range v.Operators {
			if first, again := seen[name]; again && first != i {
				twice[name] = true
			}
			seen[name] = i
		}
	}
	return slices.Sorted(maps.Keys(twice))
}

// contradictions compares results and returns what can not all be right, in
// the order of the plan. infra-failed and timed-out say nothing about a plan.
func contradictions(p *planIndex, results []*verifiedResult) []Contradiction {
	var out []Contradiction
	for _, name := range append(slices.Clone(p.order), "") {
		out = append(out, failures(name, OutcomeNotDeterministic, results)...)
		if stage := p.stage[name]; stage != nil {
			out = append(out, differences(stage, results)...)
		}
		out = append(out, failures(name, OutcomeBuildFailed, results)...)
	}
	return out
}

// failures reports the results that ended so at a stage, as one contradiction.
func failures(stage, outcome string, results []*verifiedResult) []Contradiction {
	var v Value
	for _, r := range results {
		if r.result.Outcome == outcome && r.result.Failure.Stage == stage {
			v.add(r)
		}
	}
	if len(v.Operators) == 0 {
		return nil
	}
	return []Contradiction{{Kind: outcome, Stage: stage, Values: []Value{v}}}
}

func (v *Value) add(r *verifiedResult) {
	v.Operators = append(v.Operators, r.result.Operator)
	v.Statements = append(v.Statements, r.digest)
}

// differences groups the results by the inputs that a stage had, and reports
// each group in which the output is not one.
func differences(stage *PlanStage, results []*verifiedResult) []Contradiction {
	groups := map[string]map[[2]store.Digest]*Value{}
	for _, r := range results {
		inputs, out, comparable := stageOf(stage, r)
		if !comparable {
			continue
		}
		if groups[inputs] == nil {
			groups[inputs] = map[[2]store.Digest]*Value{}
		}
		key := [2]store.Digest{out.Tree, out.Manifest}
		if groups[inputs][key] == nil {
			groups[inputs][key] = &Value{Tree: out.Tree, Manifest: out.Manifest}
		}
		groups[inputs][key].add(r)
	}
	var all []Contradiction
	for _, inputs := range slices.Sorted(maps.Keys(groups)) {
		if len(groups[inputs]) < 2 {
			continue
		}
		c := Contradiction{Kind: KindOutputs, Stage: stage.Name}
		for _, v := range groups[inputs] {
			c.Values = append(c.Values, *v)
		}
		// The most frequent answer first; it is not thereby the right one.
		slices.SortFunc(c.Values, func(a, b Value) int {
			if d := len(b.Operators) - len(a.Operators); d != 0 {
				return d
			}
			return strings.Compare(string(a.Tree+a.Manifest), string(b.Tree+b.Manifest))
		})
		all = append(all, c)
	}
	return all
}

// stageOf returns a stage's input manifests as one string and its output, if
// this operator built it from inputs that the result states.
func stageOf(stage *PlanStage, r *verifiedResult) (inputs string, out *StageResult, comparable bool) {
	if r.result.Outcome == OutcomeInfraFailed || r.result.Outcome == OutcomeTimedOut {
		return "", nil, false
	}
	out = r.stage[stage.Name]
	if out == nil || out.Origin == OriginSubstituted {
		return "", nil, false
	}
	for _, name := range stage.StageInputs() {
		in := r.stage[name]
		if in == nil {
			return "", nil, false
		}
		inputs += string(in.Manifest) + " "
	}
	return inputs, out, true
}
