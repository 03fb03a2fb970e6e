package index

import (
	"strings"

	"rebuild/attest"
	"rebuild/internal/names"
	"rebuild/store"
)

// The files of an index, relative to its directory.
const (
	configFile   = "config.json"
	objectDir    = "objects/sha256"
	statementDir = "statements"
	lockFile     = "lock"
)

// linePath returns where the lines of a package are: 1/a, 2/ab, 3/a/abc,
// he/ll/hello, below ~org for a package of a scope. The name is checked
// first, so no other path can come out.
func linePath(name string) (string, error) {
	if err := names.Package(name); err != nil {
		return "", err
	}
	prefix := ""
	if scope, base, scoped := strings.Cut(name, "/"); scoped {
		prefix, name = "~"+scope+"/", base
	}
	switch len(name) {
	case 1:
		return prefix + "1/" + name, nil
	case 2:
		return prefix + "2/" + name, nil
	case 3:
		return prefix + "3/" + name[:1] + "/" + name, nil
	}
	return prefix + name[:2] + "/" + name[2:4] + "/" + name, nil
}

func objectPath(d store.Digest) string { return objectDir + "/" + d.Hex() }
func statementPath(d store.Digest) string {
	return statementDir + "/" + d.Hex() + attest.EnvelopeSuffix
}
