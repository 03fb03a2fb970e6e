// Package names holds the grammar of everything that has a name: stages,
// seeds, sources, targets, operators, policy groups, packages and their
// versions (formats.md 1).
//
// A name becomes a directory, a file and an OCI reference component, so it is
// checked with [Check], [Package] or [Version] before any path is built from
// it, and sets of names are checked with [Distinct], because two names that
// differ only in '-' and '_' are one name to a person.
package names

import (
	"regexp"
	"slices"
	"strings"

	"golang.org/x/mod/semver"

	"rebuild/internal/fault"
)

// MaxLen is the longest name in bytes; a scope and a package name have it each.
const MaxLen = 64

var grammar = regexp.MustCompile(`^[a-z][a-z0-9]*(?:(?:-+|__?)[a-z0-9]+)*$`)

// device matches the file names that Windows reserves in every directory.
var device = regexp.MustCompile(`^(?:con|prn|aux|nul|com[0-9]|lpt[0-9])$`)

// Check says whether s is a name. The error is STRUCTURE.
func Check(s string) error {
	switch {
	case len(s) > MaxLen:
		return fault.New(fault.Structure, "name %.80q has %d bytes, at most %d are allowed", s, len(s), MaxLen).
			WithHint("choose a shorter name")
	case !grammar.MatchString(s):
		return fault.New(fault.Structure, "%q is not a name", s).
			WithHint("write lower-case letters and digits, joined by -, _ or __, with a letter first")
	case device.MatchString(s):
		return fault.New(fault.Structure, "%q is reserved as a device name on Windows", s).
			WithHint("choose another name")
	}
	return nil
}

// Package says whether s is the name of a package: a name, or org/name. The
// error is STRUCTURE.
func Package(s string) error {
	scope, name, scoped := strings.Cut(s, "/")
	if !scoped {
		return Check(s)
	}
	if err := Check(scope); err != nil {
		return err
	}
	return Check(name)
}

// Version says whether s is a strict SemVer 2.0 version, which has all three
// numbers and no leading v. The error is STRUCTURE.
func Version(s string) error {
	core, _, _ := strings.Cut(s, "+")
	core, _, _ = strings.Cut(core, "-")
	if !semver.IsValid("v"+s) || strings.Count(core, ".") != 2 {
		return fault.New(fault.Structure, "%.80q is not a SemVer version", s).
			WithHint("write three numbers such as 1.0.0, optionally with -prerelease")
	}
	return nil
}

// CompareVersions orders two versions by SemVer precedence: -1, 0 or +1. What
// follows a '+' does not count, so versions that compare equal are the same
// version (formats.md 1).
func CompareVersions(a, b string) int { return semver.Compare("v"+a, "v"+b) }

// Fold maps names that a person may confuse to one string: '_' reads as '-'.
func Fold(s string) string { return strings.ReplaceAll(s, "_", "-") }

// Distinct refuses a repeated name and a pair of twins such as a-b and a_b.
// The error is SEMANTIC and names both.
func Distinct(all []string) error {
	sorted := slices.Clone(all)
	slices.SortFunc(sorted, func(a, b string) int { return strings.Compare(Fold(a), Fold(b)) })
	for i := 1; i < len(sorted); i++ {
		a, b := sorted[i-1], sorted[i]
		switch {
		case a == b:
			return fault.New(fault.Semantic, "%q is named twice", a).
				WithHint("name it once")
		case Fold(a) == Fold(b):
			return fault.New(fault.Semantic, "%q and %q differ only in - and _", min(a, b), max(a, b)).
				WithHint("rename one of them")
		}
	}
	return nil
}
