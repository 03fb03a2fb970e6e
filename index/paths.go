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

	checkpointFile = "checkpoint"
	headFile       = "head"    // the last leaf, LF, its tlog-proof
	chainDir       = "chains/" // derived: the leaves of each chain, JSONL, by chain
	stagedFile     = ".staged" // what a publication is about to write; see publish
)

// chainPath returns where the leaves of a chain are: chains/plan/<hex>.jsonl,
// chains/pkg/<as the line file>.jsonl, chains/policy/<name>.jsonl,
// chains/index.jsonl. The file is derived: each leaf links to the one before
// it, and the last is proven against the log.
func chainPath(chain string) (string, error) {
	if name, ok := strings.CutPrefix(chain, "pkg:"); ok {
		line, err := linePath(name)
		return chainDir + "pkg/" + line + ".jsonl", err
	}
	if name, ok := strings.CutPrefix(chain, "policy:"); ok {
		return chainDir + "policy/" + name + ".jsonl", names.Check(name)
	}
	if chain == "index" {
		return chainDir + "index.jsonl", nil
	}
	d, err := store.ParseDigest(chain)
	return chainDir + "plan/" + d.Hex() + ".jsonl", err
}

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
