package document

import (
	"slices"
	"strings"

	"rebuild/internal/fault"
)

// Kind is one document that rebuild owns: its id, where it lives, who decides
// by it and which versions this program reads. Each kind has a window of its
// own; there is no global version (requirements D5, D9).
type Kind struct {
	Name          string // "rebuild.stage"; the schema_version is Name@Current
	File          string // usual file name or place
	Authoritative bool   // false: derived, can be made again, never decides
	Audience      string // written by > read by
	Current       string
	Read          []string // versions read
	Migrate       []string // versions that migrate rewrites; never signed ones
	MaxBytes      int64
}

// The documents of formats.md 2 that this version handles.
var (
	Stage       = Kind{"rebuild.stage", "stage.toml", true, "author > planner", "1.0.0", v1, nil, 64 << 10}
	Pipeline    = Kind{"rebuild.pipeline", "pipeline.toml", true, "maintainer > planner", "1.0.0", v1, nil, 64 << 10}
	Package     = Kind{"rebuild.package", "package.toml, rebuild.package.json", true, "author > release, verify", "1.0.0", v1, nil, 256 << 10}
	Policy      = Kind{"rebuild.policy", "policy.toml", true, "the judge > verdict", "1.0.0", v1, nil, 256 << 10}
	Lock        = Kind{"rebuild.lock", "rebuild.lock", true, "lock > planner", "1.0.0", v1, nil, 4 << 20}
	Plan        = Kind{"rebuild.plan", "plan.json", false, "planner > engine, statements", "1.0.0", v1, nil, 4 << 20}
	Result      = Kind{"rebuild.result", "statement", true, "rebuilder > verdict", "1.0.0", v1, nil, 1 << 20}
	Release     = Kind{"rebuild.release", "statement", true, "signers > verify, index", "1.0.0", v1, nil, 1 << 20}
	Files       = Kind{"rebuild.files", "rebuild.files.json", true, "release > verify", "1.0.0", v1, nil, 16 << 20}
	Events      = Kind{"rebuild.events", "log leaf, events.jsonl", true, "log > everyone", "1.0.0", v1, nil, 8 << 10}
	IndexConfig = Kind{"rebuild.index-config", "config.json", true, "index operator > clients", "1.0.0", v1, nil, 64 << 10}
	IndexEntry  = Kind{"rebuild.index-entry", "index line", false, "index > resolver", "1.0.0", v1, nil, 64 << 10}
	Stream      = Kind{"rebuild.stream", "JSON lines", false, "CLI > scripts", "1.0.0", v1, nil, 8 << 10}
	CLI         = Kind{"rebuild.cli", "--json", false, "CLI > scripts", "1.0.0", v1, nil, 16 << 20}
)

var v1 = []string{"1.0.0"}

// Kinds lists every document, sorted by name.
func Kinds() []Kind {
	all := []Kind{Stage, Pipeline, Package, Policy, Lock, Plan, Result, Release, Files, Events, IndexConfig, IndexEntry, Stream, CLI}
	slices.SortFunc(all, func(a, b Kind) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// ID returns the schema_version that this program writes: NAME@VERSION.
func (k Kind) ID() string { return k.Name + "@" + k.Current }

// CheckVersion says whether a document with this schema_version can be read
// as k. A missing or foreign name is STRUCTURE, a version outside the window
// SCHEMA_UNSUPPORTED (requirements D8).
func (k Kind) CheckVersion(file, version string) error {
	name, v, ok := strings.Cut(version, "@")
	switch {
	case version == "":
		return fault.New(fault.Structure, "schema_version is missing").At(file, 0).
			WithHint("add schema_version = %q", k.ID())
	case !ok || name != k.Name:
		return fault.New(fault.Structure, "schema_version %q is not a %s", version, k.Name).At(file, 0).
			WithHint("write schema_version = %q", k.ID())
	case !slices.Contains(k.Read, v):
		return fault.New(fault.SchemaUnsupported, "schema_version %s is not supported, this program reads %s@{%s}",
			version, k.Name, strings.Join(k.Read, ",")).At(file, 0).
			With("found", version).With("supported", k.Read).
			WithHint("use a version of rebuild that reads %s, or write the document as %s", version, k.ID())
	}
	return nil
}
