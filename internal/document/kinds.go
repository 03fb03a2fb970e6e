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
	Lock        = Kind{"rebuild.lock", "rebuild.lock", true, "lock > planner", "1.0.0", v09, before1, 4 << 20}
	Plan        = Kind{"rebuild.plan", "plan.json", false, "planner > engine, statements", "1.0.0", v1, nil, 4 << 20}
	Result      = Kind{"rebuild.result", "statement", true, "rebuilder > verdict", "1.0.0", v1, nil, 1 << 20}
	Release     = Kind{"rebuild.release", "statement", true, "signers > verify, index", "1.0.0", v1, nil, 1 << 20}
	Yank        = Kind{"rebuild.yank", "statement", true, "signers > index", "1.0.0", v1, nil, 16 << 10}
	Files       = Kind{"rebuild.files", "rebuild.files.json", true, "release > verify", "1.0.0", v1, nil, 16 << 20}
	Exports     = Kind{"rebuild.exports", "rebuild.exports.json", true, "last stage > check-semver", "1.0.0", v1, nil, 16 << 20}
	Semver      = Kind{"rebuild.semver", "semver.toml", true, "maintainer > check-semver", "1.0.0", v1, nil, 256 << 10}
	Events      = Kind{"rebuild.events", "log leaf, events.jsonl, chains/", true, "log > everyone", "1.0.0", v1, nil, 8 << 10}
	IndexConfig = Kind{"rebuild.index-config", "config.json", true, "index operator > clients", "1.0.0", v09, before1, 64 << 10}
	IndexEntry  = Kind{"rebuild.index-entry", "index line", false, "index > resolver", "1.0.0", v1, nil, 64 << 10}
	View        = Kind{"rebuild.view", "view/*", false, "index > clients", "1.0.0", v1, nil, 1 << 20}
	Registry    = Kind{"rebuild.registry", "entries.json, pubkeys.json", false, "index export > clients", "1.0.0", v1, nil, 16 << 20}
	Listing     = Kind{"rebuild.listing", "GET /entries", false, "hub > people, scripts", "1.0.0", v1, nil, 16 << 20}
	State       = Kind{"rebuild.state", "state.json", true, "client > client", "1.0.0", v09, before1, 4 << 20}
	IndexCache  = Kind{"rebuild.index-cache", "index-cache/", false, "client > client", "1.0.0", v1, nil, 4 << 10}
	Pack        = Kind{"rebuild.pack", "*.pack", false, "client > client", "1.0.0", v1, nil, 128 << 20}
	Staged      = Kind{"rebuild.staged", ".staged", false, "publisher > publisher", "1.0.0", v1, nil, 64 << 20}
	Stream      = Kind{"rebuild.stream", "JSON lines", false, "CLI > scripts", "1.0.0", v1, nil, 8 << 10}
	CLI         = Kind{"rebuild.cli", "--json", false, "CLI > scripts", "1.0.0", v1, nil, 16 << 20}
	Hints       = Kind{"rebuild.hints", "hints/*.json", false, "publisher > reproduce", "1.0.0", v1, nil, 1 << 20}
	Lineage     = Kind{"rebuild.lineage", "objects/*.json, lineage/*.json", false, "run > people", "1.0.0", v1, nil, 64 << 20}

	// Caches and control data below a state root. One that can not be read is
	// as good as none: it is made again and nothing is guessed from it.
	Record   = Kind{"rebuild.record", "stages/*.json", false, "run > run", "1.0.0", v1, nil, 256 << 10}
	Input    = Kind{"rebuild.input", "inputs/*.json", false, "run > run", "1.0.0", v1, nil, 64 << 10}
	Run      = Kind{"rebuild.run", "runs/*.json", false, "run > attest", "1.0.0", v1, nil, 16 << 20}
	Contexts = Kind{"rebuild.contexts", "contexts.json", false, "planner > planner", "1.0.0", v1, nil, 16 << 20}
	Verified = Kind{"rebuild.verified", "verified.json", false, "run > run", "1.0.0", v1, nil, 4 << 20}
)

var (
	v1  = []string{"1.0.0"}
	v09 = []string{"0.9.0", "1.0.0"}
	// before1 is what migrate rewrites: the forms in upgrade.go.
	before1 = []string{"0.9.0"}
)

// Kinds lists every document, sorted by name.
func Kinds() []Kind {
	all := []Kind{Stage, Pipeline, Package, Policy, Lock, Plan, Result, Release, Yank, Files, Exports, Semver, Events, IndexConfig, IndexEntry, View,
		Registry, Listing, State, IndexCache, Pack, Staged, Stream, CLI, Hints, Lineage, Record, Input, Run, Contexts, Verified}
	slices.SortFunc(all, func(a, b Kind) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// ID returns the schema_version that this program writes: NAME@VERSION.
func (k Kind) ID() string { return k.Name + "@" + k.Current }

// Cache says whether k is control data that is made again when it is lost.
func (k Kind) Cache() bool { return slices.Contains(caches, k.Name) }

var caches = []string{Record.Name, Input.Name, Run.Name, Contexts.Name, Verified.Name}

// KindOf returns the kind that a schema_version names, whatever its version.
func KindOf(schemaVersion string) (Kind, bool) {
	name, _, _ := strings.Cut(schemaVersion, "@")
	all := Kinds()
	i := slices.IndexFunc(all, func(k Kind) bool { return k.Name == name })
	if i < 0 {
		return Kind{}, false
	}
	return all[i], true
}

// CheckVersion says whether a document with this schema_version can be read
// as k. A missing or foreign name is STRUCTURE, a version outside the window
// SCHEMA_UNSUPPORTED, with what was found, what is supported and why no
// migration helps in its details (requirements D8, D18).
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
		why := ""
		if len(k.Migrate) > 0 {
			why = "; migration failed: " + k.noMigration()
		}
		return fault.New(fault.SchemaUnsupported, "schema_version %s is not supported, this program reads %s@{%s}%s",
			version, k.Name, strings.Join(k.Read, ","), why).At(file, 0).
			With("found", version).With("supported", k.Read).With("migration", k.migrationFailure(version)).
			WithHint("use a version of rebuild that reads %s, or write the document as %s", version, k.ID())
	}
	return nil
}

// Migration is the part of a refusal that says why no migration helped.
type Migration struct {
	Code    fault.Code `json:"code"` // always MIGRATION_FAILED
	From    string     `json:"from"`
	To      string     `json:"to"`
	Window  []string   `json:"window"` // versions that migrate rewrites
	Message string     `json:"message"`
}

func (k Kind) migrationFailure(from string) Migration {
	return Migration{fault.MigrationFailed, from, k.ID(), append([]string{}, k.Migrate...), k.noMigration()}
}

// NoMigration is that part for a format that no migration leads to.
func NoMigration(from, to string) Migration {
	name, _, _ := strings.Cut(to, "@")
	return Migration{fault.MigrationFailed, from, to, []string{}, "there is none for " + name}
}

func (k Kind) noMigration() string {
	if len(k.Migrate) == 0 {
		return "there is none for " + k.Name
	}
	return "it leads from " + k.Name + "@{" + strings.Join(k.Migrate, ",") + "} only"
}

// Format is what rebuild writes for others in a form that others define, or
// that has no schema_version: the rest of what a consumer may meet.
type Format struct {
	Name          string
	File          string
	Authoritative bool
	Audience      string
	Runtime       bool // read by what runs the software; everything else is for tools
}

// Formats lists them, sorted by name. Only they are runtime-facing: an image
// runs with no document of rebuild at hand (requirements D4, D12).
func Formats() []Format {
	return []Format{
		{"c2sp.checkpoint", "checkpoint", true, "log > everyone", false},
		{"c2sp.tlog-proof@1", "head, head.tlog-proof", true, "log > everyone", false},
		{"c2sp.tlog-tiles", "tile/", true, "log > monitors", false},
		{"in-toto.statement@1", "*.dsse.json", true, "rebuilders, signers > verify", false},
		{"oci.image-layout@1.0.0", "image/, store/", true, "release > container runtimes", true},
		{"rebuild.bundle@1", "*.rbundle", true, "release > verify", false},
		{"rebuild.hub@2", "hub.db*, uploads/", false, "hub > hub", false},
		{"rebuild.layer@1", "*.tar, objects/, image layer", true, "release > container runtimes, pull", true},
		{"rebuild.tree@1", "tree text", true, "store > verdict", false},
		{"slsa.provenance@1", "statement", false, "rebuilder > foreign tools", false},
		{"slsa.vsa@1", "statement", false, "judge > foreign tools", false},
		{"tessera.posix@1", ".state/", false, "log writer > log writer", false},
	}
}
