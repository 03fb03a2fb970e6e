package surface

import (
	"slices"
	"strings"

	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/internal/names"
)

// SuppressionFile is the name of the document in a package's folder.
const SuppressionFile = "semver.toml"

// Suppression takes one finding out of the verdict. It stays in the report, with
// the reason.
type Suppression struct {
	Kind    string `json:"kind"`    // as in the finding
	Subject string `json:"subject"` // exactly as in the finding
	Reason  string `json:"reason"`
	Version string `json:"version,omitempty"` // new version that it holds for; "": any
}

// Suppressions is semver.toml.
type Suppressions struct {
	SchemaVersion string        `json:"schema_version"`
	Suppress      []Suppression `json:"suppress,omitempty"`

	checked string // the new version, "" if it is not known
}

// For says which version is checked. What holds for another one, or for one while
// this is not known, is not applied.
func (s *Suppressions) For(version string) {
	if s != nil {
		s.checked = version
	}
}

// LoadSuppressions reads semver.toml. An unknown kind, an empty subject or
// reason and a double are SEMANTIC.
func LoadSuppressions(file string, data []byte) (*Suppressions, error) {
	var s Suppressions
	src, err := document.DecodeTOML(file, data, document.Semver, &s)
	if err != nil {
		return nil, err
	}
	known := FindingKinds()
	for i, x := range s.Suppress {
		var wrong, at string
		switch {
		case !slices.Contains(known, x.Kind):
			wrong, at = "is no kind of finding", "kind"
		case x.Subject == "":
			wrong, at = "is empty", "subject"
		case strings.TrimSpace(x.Reason) == "":
			wrong, at = "is empty: say why the change is no break", "reason"
		case slices.ContainsFunc(s.Suppress[:i], func(y Suppression) bool { return y.Kind == x.Kind && y.Subject == x.Subject && y.Version == x.Version }):
			wrong, at = "is suppressed already, with this kind", "subject"
		case x.Version != "" && names.Version(x.Version) != nil:
			wrong, at = "is no version", "version"
		default:
			continue
		}
		value := map[string]string{"kind": x.Kind, "subject": x.Subject, "reason": x.Reason, "version": x.Version}[at]
		return nil, src.Fault(fault.Semantic, []any{"suppress", i, at}, "%s %q %s", at, value, wrong).
			WithHint("copy kind and subject from what rebuild pkg check-semver prints")
	}
	return &s, nil
}

// Apply marks the findings that are suppressed, and returns the suppressions
// that none needed. A nil s suppresses nothing.
func (s *Suppressions) Apply(all []Finding) (unused []Suppression) {
	if s == nil {
		return nil
	}
	for _, x := range s.Suppress {
		used := false
		for i := range all {
			if x.Version != "" && (s.checked == "" || names.CompareVersions(x.Version, s.checked) != 0) {
				break
			}
			if all[i].Kind == x.Kind && all[i].Subject == x.Subject {
				all[i].Suppressed, used = x.Reason, true
			}
		}
		if !used {
			unused = append(unused, x)
		}
	}
	return unused
}

// Package is a version in an index, with what it needs.
type Package struct {
	Name, Version string
	Deps          map[string]string // name to range
}

// Dependent is a package that has to be built again when another one breaks.
type Dependent struct {
	Name    string   `json:"name"`
	Version string   `json:"version"`
	Through []string `json:"through"` // from what it needs itself to the package that changed
	// Takes says whether the range at the end of Through takes the new version:
	// then it gets the break without being changed.
	Takes bool `json:"takes_new_version"`
}

// Dependents returns what leads to a package, directly or through others, by the
// shortest way, sorted by name. all has one version of each. newVersion may be
// empty. A range that can not be read is taken as one that takes the version.
func Dependents(name, newVersion string, all []Package) []Dependent {
	needs := map[string][]Package{} // by what is needed
	for _, p := range all {
		for dep := range p.Deps {
			needs[dep] = append(needs[dep], p)
		}
	}
	type step struct {
		name    string
		through []string
		takes   bool
	}
	out := []Dependent{}
	seen := map[string]bool{name: true}
	for level := []step{{name: name}}; len(level) > 0; {
		var next []step
		slices.SortFunc(level, func(a, b step) int { return strings.Compare(a.name, b.name) })
		for _, s := range level {
			for _, p := range needs[s.name] {
				if seen[p.Name] {
					continue
				}
				seen[p.Name] = true
				found := step{p.Name, append([]string{s.name}, s.through...), s.takes}
				if s.name == name {
					found.takes = takes(p.Deps[name], newVersion)
				}
				next = append(next, found)
				out = append(out, Dependent{p.Name, p.Version, found.through, found.takes})
			}
		}
		level = next
	}
	slices.SortFunc(out, func(a, b Dependent) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func takes(req, version string) bool {
	r, err := names.ParseRange(req)
	return err != nil || version == "" || r.Has(version)
}
