package surface

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"rebuild/internal/names"
)

// Level is what a finding means to who uses the package.
type Level string

// The levels, the worst first.
const (
	Breaking    Level = "breaking"  // something that worked does not
	NotChecked  Level = "unchecked" // may be a break; nobody can tell from here
	Risk        Level = "risk"      // works unless it was used in an unusual way
	Addition    Level = "addition"  // new, so a program that uses it needs this version
	levelsOrder       = string(Breaking + " " + NotChecked + " " + Risk + " " + Addition)
)

// The kinds of a finding. Those of a break:
const (
	ModuleRemoved          = "module_removed"
	ExportRemoved          = "export_removed"
	ExportSignatureChanged = "export_signature_changed"
	LibraryRemoved         = "library_removed"
	SonameChanged          = "soname_changed"
	SymbolVersionRemoved   = "symbol_version_removed"
	SymbolTypeChanged      = "symbol_type_changed"
	ObjectSizeChanged      = "object_size_changed"
	StructLayoutChanged    = "struct_layout_changed"
	EnumChanged            = "enum_changed"
	CommandRemoved         = "command_removed"
	HeaderRemoved          = "header_removed"
	PkgConfigRemoved       = "pkgconfig_removed"
	PkgConfigChanged       = "pkgconfig_changed"
)

// Those of a risk:
const (
	WeakRemoved          = "weak_removed"
	DefaultRemoved       = "default_version_removed"
	QualifierChanged     = "qualifier_changed"
	MemberAdded          = "member_added"
	TypeNotSeen          = "type_not_seen"
	SignatureUnknown     = "signature_unknown"
	MacroRemoved         = "macro_removed"
	MacroChanged         = "macro_changed"
	DeclarationRemoved   = "declaration_removed"
	DeclarationChanged   = "declaration_changed"
	NeededChanged        = "needed_changed"
	LibraryMoved         = "library_moved"
	InterpreterChanged   = "interpreter_changed"
	PkgConfigRequirement = "pkgconfig_requirement"
	PkgConfigVersion     = "pkgconfig_version"
)

// Those of an addition, and the one of what was not checked:
const (
	ModuleAdded     = "module_added"
	ExportAdded     = "export_added"
	LibraryAdded    = "library_added"
	EnumeratorAdded = "enumerator_added"
	MacroAdded      = "macro_added"
	CommandAdded    = "command_added"
	HeaderAdded     = "header_added"
	PkgConfigAdded  = "pkgconfig_added"
	Unknown         = "unchecked"
)

// FindingKinds lists every kind, sorted. Suppressions name one of them.
func FindingKinds() []string {
	all := []string{ModuleRemoved, ExportRemoved, ExportSignatureChanged, LibraryRemoved, SonameChanged, SymbolVersionRemoved, SymbolTypeChanged,
		ObjectSizeChanged, StructLayoutChanged, EnumChanged, CommandRemoved, HeaderRemoved, PkgConfigRemoved, PkgConfigChanged,
		WeakRemoved, DefaultRemoved, QualifierChanged, MemberAdded, TypeNotSeen, SignatureUnknown, MacroRemoved, MacroChanged, DeclarationRemoved,
		DeclarationChanged,
		NeededChanged, LibraryMoved, InterpreterChanged, PkgConfigRequirement, PkgConfigVersion,
		ModuleAdded, ExportAdded, LibraryAdded, EnumeratorAdded, MacroAdded, CommandAdded, HeaderAdded, PkgConfigAdded, Unknown}
	slices.Sort(all)
	return all
}

// Finding is one difference between two surfaces. Subject says what it is about,
// in a form that stays from version to version.
type Finding struct {
	Level      Level  `json:"level"`
	Kind       string `json:"kind"`
	Subject    string `json:"subject"`
	Message    string `json:"message"`
	Old        string `json:"old,omitempty"`
	New        string `json:"new,omitempty"`
	Suppressed string `json:"suppressed,omitempty"` // the reason that somebody gave
}

// String returns the finding as one line.
func (f Finding) String() string {
	s := fmt.Sprintf("%s %s %s: %s", f.Level, f.Kind, f.Subject, f.Message)
	if f.Suppressed != "" {
		s += " (suppressed: " + f.Suppressed + ")"
	}
	return s
}

func compareFindings(a, b Finding) int {
	return cmp.Or(cmp.Compare(strings.Index(levelsOrder, string(a.Level)), strings.Index(levelsOrder, string(b.Level))),
		cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Message, b.Message))
}

// Bump is which part of a version has to grow.
type Bump string

// The parts of a version.
const (
	Major Bump = "major"
	Minor Bump = "minor"
	Patch Bump = "patch"
)

// Required returns the bump that findings ask for. What is suppressed asks for
// nothing.
func Required(all []Finding) Bump {
	bump := Patch
	for _, f := range all {
		switch {
		case f.Suppressed != "":
		case f.Level == Breaking:
			return Major
		case f.Level == Addition:
			bump = Minor
		}
	}
	return bump
}

// Next returns the smallest version that may follow one, which must be of
// SemVer 2.0. In 0.y.z, where SemVer promises nothing, the part that is promised
// by custom grows instead: the y for a break, the z for all else; in 0.0.z every
// change is one of z. What follows a '-' is left out: the version that a
// pre-release leads to may be what the pre-release was not.
func (b Bump) Next(version string) (string, error) {
	if err := names.Version(version); err != nil {
		return "", err
	}
	core, pre := version, false
	if at := strings.IndexAny(core, "-+"); at >= 0 {
		core, pre = core[:at], core[at] == '-'
	}
	var n [3]uint64
	for i, part := range strings.SplitN(core, ".", 3) {
		var err error
		if n[i], err = strconv.ParseUint(part, 10, 63); err != nil {
			return "", err
		}
	}
	if pre {
		return core, nil
	}
	at := map[Bump]int{Major: 0, Minor: 1, Patch: 2}[b]
	for i := 0; i < 2 && n[i] == 0; i++ {
		at++
	}
	at = min(at, 2)
	n[at]++
	for i := at + 1; i < 3; i++ {
		n[i] = 0
	}
	return fmt.Sprintf("%d.%d.%d", n[0], n[1], n[2]), nil
}

// Enough says whether a version is one that may follow old with this bump. A
// pre-release is judged by the version that it leads to.
func (b Bump) Enough(old, version string) (bool, error) {
	next, err := b.Next(old)
	if err != nil {
		return false, err
	}
	if err := names.Version(version); err != nil {
		return false, err
	}
	core, _, _ := strings.Cut(version, "+")
	core, _, _ = strings.Cut(core, "-")
	return names.CompareVersions(core, next) >= 0 && names.CompareVersions(version, old) > 0, nil
}
