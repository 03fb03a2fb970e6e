package stages

import "rebuild/internal/names"

// Name is the name of a stage, seed, source, package, operator or policy
// group: `[a-z][a-z0-9]*((-+|_|__)[a-z0-9]+)*`, at most 64 bytes (formats.md
// 1). Names become paths and OCI reference components, so they are checked
// before anything is built from them.
type Name string

// ParseName accepts a name of the grammar. The error is STRUCTURE.
func ParseName(s string) (Name, error) {
	if err := names.Check(s); err != nil {
		return "", err
	}
	return Name(s), nil
}
