package attest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Shortfall is a part of the quorum that a set of operators does not satisfy:
// a group with too few satisfied members, or an attribute with too few
// distinct values.
type Shortfall struct {
	Group     string   `json:"group,omitempty"`     // "" for an attribute
	Attribute string   `json:"attribute,omitempty"` // "" for a group
	Got       int      `json:"got"`
	Need      int      `json:"need"`
	Missing   []string `json:"missing,omitempty"` // members that do not count yet, sorted
}

func (s Shortfall) String() string {
	if s.Attribute != "" {
		return fmt.Sprintf("%s: got %d distinct values, need %d", s.Attribute, s.Got, s.Need)
	}
	return fmt.Sprintf("group %s: got %d, need %d, missing %s", s.Group, s.Got, s.Need, strings.Join(s.Missing, ", "))
}

// ballot is one operator's vote: the value it is for comes from the caller.
type ballot struct {
	operator string
	result   *verifiedResult
}

// shortfalls returns what keeps a set of ballots for one value from being a
// quorum: nothing exactly when it is one. The groups come outermost first.
func (p *Policy) shortfalls(ballots []ballot) []Shortfall {
	voted := map[string]bool{}
	for _, b := range ballots {
		voted[b.operator] = true
	}
	var out []Shortfall
	if missing := p.groupShortfalls(p.doc.Quorum, voted); len(missing) > 0 {
		out = missing
	}
	for _, attr := range slices.Sorted(maps.Keys(p.doc.Diversity)) {
		if got, need := p.distinct(attr, ballots), p.doc.Diversity[attr]; got < need {
			out = append(out, Shortfall{Attribute: attr, Got: got, Need: need})
		}
	}
	return out
}

// groupShortfalls judges a group and returns nil if it is satisfied, else
// the group's own shortfall and those of its members.
func (p *Policy) groupShortfalls(name string, voted map[string]bool) []Shortfall {
	g := p.doc.Groups[name]
	s := Shortfall{Group: name, Need: g.Need}
	var inner []Shortfall
	for _, member := range g.Of {
		if _, isGroup := p.doc.Groups[member]; isGroup {
			below := p.groupShortfalls(member, voted)
			if below == nil {
				s.Got++
				continue
			}
			inner = append(inner, below...)
		} else if voted[member] {
			s.Got++
			continue
		}
		s.Missing = append(s.Missing, member)
	}
	if s.Got >= s.Need {
		return nil
	}
	slices.Sort(s.Missing)
	return append([]Shortfall{s}, inner...)
}

// distinct counts the values that an attribute takes over the ballots. A
// ballot without the attribute adds none.
func (p *Policy) distinct(attr string, ballots []ballot) int {
	values := map[string]bool{}
	for _, b := range ballots {
		if v := p.attribute(attr, b); v != "" {
			values[v] = true
		}
	}
	return len(values)
}

func (p *Policy) attribute(attr string, b ballot) string {
	if field, ok := environmentFields[attr]; ok {
		return field(&b.result.result.Environment)
	}
	return p.doc.Operators[b.operator].Labels[attr]
}
