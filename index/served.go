package index

import (
	"regexp"
	"strings"

	"rebuild/internal/names"
)

// Served is what may be said about a file of an index to whoever asks for it.
type Served struct {
	Type      string // media type
	Immutable bool   // named by its content, or a part of the log that can not grow
}

const (
	plainText = "text/plain; charset=utf-8"
	jsonText  = "application/json"
	jsonLines = "application/jsonl"
	rawBytes  = "application/octet-stream"
)

// grammar is every path of an index that a server hands out but line files,
// with how it does. All else in the folder (the lock, what a publication
// stages, temporary files) is the writer's alone.
var grammar = []struct {
	path *regexp.Regexp
	as   Served
}{
	{regexp.MustCompile(`^config\.json$`), Served{Type: jsonText}},
	{regexp.MustCompile(`^(checkpoint|head)$`), Served{Type: plainText}},
	{regexp.MustCompile(`^(entries|pubkeys)([.-][0-9]+)?\.json$`), Served{Type: jsonText}},
	{regexp.MustCompile(`^view/(root|[0-9a-f]{2}|[0-9a-f]{4})$`), Served{Type: jsonText}},
	{regexp.MustCompile(`^statements/[0-9a-f]{64}\.dsse\.json$`), Served{Type: jsonText}}, // may gain signatures
	{regexp.MustCompile(`^objects/sha256/[0-9a-f]{64}$`), Served{Type: rawBytes, Immutable: true}},
	{regexp.MustCompile(`^tile/(entries|[0-9]|[1-5][0-9]|6[0-3])/(x[0-9]{3}/)*[0-9]{3}$`), Served{Type: rawBytes, Immutable: true}},
	{regexp.MustCompile(`^tile/(entries|[0-9]|[1-5][0-9]|6[0-3])/(x[0-9]{3}/)*[0-9]{3}\.p/[1-9][0-9]{0,2}$`), Served{Type: rawBytes}},
	{regexp.MustCompile(`^chains/(index|plan/[0-9a-f]{64})\.jsonl$`), Served{Type: jsonLines}},
}

// ServedAs says how a server hands out the file at a slash-separated path below
// an index, and false for a path that no index has.
func ServedAs(path string) (Served, bool) {
	for _, g := range grammar {
		if g.path.MatchString(path) {
			return g.as, true
		}
	}
	if rest, ok := strings.CutPrefix(path, chainDir+"pkg/"); ok {
		line, ok := strings.CutSuffix(rest, ".jsonl")
		return Served{Type: jsonLines}, ok && isLinePath(line)
	}
	if rest, ok := strings.CutPrefix(path, chainDir+"policy/"); ok {
		name, ok := strings.CutSuffix(rest, ".jsonl")
		return Served{Type: jsonLines}, ok && names.Check(name) == nil
	}
	return Served{Type: jsonLines}, isLinePath(path)
}

// LinePath returns the path of the file with the lines of a package, below an
// index. A name that is none is STRUCTURE.
func LinePath(name string) (string, error) { return linePath(name) }

// LineName returns the package whose lines are in the file at a path, and false
// if no package has its lines there.
func LineName(path string) (string, bool) {
	parts := strings.Split(path, "/")
	name := parts[len(parts)-1]
	if scope, scoped := strings.CutPrefix(parts[0], "~"); scoped {
		name = scope + "/" + name
	}
	there, err := linePath(name)
	return name, err == nil && there == path
}

func isLinePath(path string) bool {
	_, ok := LineName(path)
	return ok
}
