package document

import (
	"slices"
	"strings"

	"rebuild/internal/fault"
)

// Upgrade holds a document to everything that its bytes decide, size, UTF-8,
// version window, canonical form, and returns it in the current version with
// the schema_version that it came with. One that is current comes back as it
// is. Nothing is written: who wants an upgraded file on disk uses package
// migrate.
//
// The steps are peek, gate, upgrade, gate again: what an upgrade made is held
// to the current version like any document (requirements H7).
func Upgrade(file string, data []byte, k Kind) (current []byte, found string, err error) {
	if found, err = admit(file, data, k); err != nil || found == k.ID() {
		return data, found, err
	}
	up, known := upgrades[found]
	if !known { // the tables of kinds and upgrades disagree
		return nil, found, fault.New(fault.MigrationFailed, "nothing leads from %s to %s", found, k.ID()).At(file, 0).
			With("found", found).With("supported", k.Read)
	}
	if current, err = up.forward(file, data); err != nil {
		return nil, found, err
	}
	again, err := admit(file, current, k)
	if err == nil && again != k.ID() {
		err = fault.New(fault.MigrationFailed, "the upgrade of %s gave %s, not %s", found, again, k.ID()).At(file, 0)
	}
	return current, found, err
}

// Downgrade returns a current document of kind k in an older version of its
// migrate window, for those who still run a program that reads no newer one.
// It refuses (SEMANTIC) what the older form has no room for, so that
// upgrading the result gives data again.
func Downgrade(file string, data []byte, k Kind, version string) ([]byte, error) {
	if !slices.Contains(k.Migrate, version) {
		return nil, fault.New(fault.MigrationFailed, "%s is not written as version %s, only as %s", k.Name, version,
			strings.Join(append([]string{k.Current}, k.Migrate...), ", ")).At(file, 0)
	}
	found, err := admit(file, data, k)
	if err != nil {
		return nil, err
	}
	if found != k.ID() {
		return nil, fault.New(fault.Semantic, "%s is not of the current version", found).At(file, 0)
	}
	return upgrades[k.Name+"@"+version].back(file, data)
}

// upgrade leads between an old version and the one that came after it, without
// loss. Each old form is decoded as strictly as a current one.
type upgrade struct {
	forward, back func(file string, data []byte) ([]byte, error)
}

// upgrades has one entry for each version in the migrate window of a kind
// (docs/versions.md).
var upgrades = map[string]upgrade{
	"rebuild.lock@0.9.0":         {between(lockForward), between(lockBack)},
	"rebuild.index-config@0.9.0": {between(configForward), between(configBack)},
	"rebuild.state@0.9.0":        {between(stateForward), between(stateBack)},
}

// between makes a step from a function over decoded documents. Members that
// the source's type does not have are refused.
func between[From, To any](step func(*From) (*To, error)) func(string, []byte) ([]byte, error) {
	return func(file string, data []byte) ([]byte, error) {
		var in From
		if err := decode(file, data, &in); err != nil {
			return nil, err
		}
		out, err := step(&in)
		if err != nil {
			return nil, fault.In(err, file)
		}
		made, err := Encode(out)
		if err != nil { // a text of the old form that can be no key of the new one
			return nil, fault.New(fault.Semantic, "what it says has no place in the other version: %w", err).At(file, 0)
		}
		return made, nil
	}
}

// lock090 is rebuild.lock before packages: the toolchain is one text, "EXEC
// TREE", and sources are found by name.
type lock090 struct {
	SchemaVersion string                   `json:"schema_version"`
	Toolchain     string                   `json:"toolchain"`
	Sources       map[string]lockSource090 `json:"sources,omitempty"`
	Images        []lockImage              `json:"images,omitempty"`
}

type lockSource090 struct {
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
}

type lockImage struct {
	Name     string `json:"name"`
	Digest   string `json:"digest"`
	Platform string `json:"platform"`
}

// lock100 is the part of rebuild.lock 1.0.0 that 0.9.0 has too. What a lock has
// beyond it stops a downgrade as an unknown key.
type lock100 struct {
	SchemaVersion string       `json:"schema_version"`
	Toolchain     toolchain    `json:"toolchain"`
	Sources       []lockSource `json:"sources,omitempty"`
	Images        []lockImage  `json:"images,omitempty"`
}

type toolchain struct {
	Exec string `json:"exec"`
	Tree string `json:"tree"`
}

type lockSource struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
}

func lockForward(in *lock090) (*lock100, error) {
	exec, tree, ok := strings.Cut(in.Toolchain, " ")
	if !ok || exec == "" || tree == "" || strings.Contains(tree, " ") {
		return nil, fault.New(fault.Semantic, "toolchain %.60q is not \"EXEC TREE\"", in.Toolchain)
	}
	out := &lock100{SchemaVersion: Lock.ID(), Toolchain: toolchain{exec, tree}, Images: in.Images}
	for name, s := range in.Sources {
		out.Sources = append(out.Sources, lockSource{name, s.Digest, s.Size})
	}
	slices.SortFunc(out.Sources, func(a, b lockSource) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func lockBack(in *lock100) (*lock090, error) {
	for _, word := range []string{in.Toolchain.Exec, in.Toolchain.Tree} {
		if word == "" || strings.Contains(word, " ") {
			return nil, fault.New(fault.Semantic, "toolchain %.60q has no place in 0.9.0", word)
		}
	}
	out := &lock090{SchemaVersion: "rebuild.lock@0.9.0", Toolchain: in.Toolchain.Exec + " " + in.Toolchain.Tree, Images: in.Images}
	last := ""
	for i, s := range in.Sources {
		if i > 0 && s.Name <= last {
			return nil, fault.New(fault.Semantic, "the sources are not sorted, or one stands twice: %.60q", s.Name)
		}
		if last = s.Name; out.Sources == nil {
			out.Sources = map[string]lockSource090{}
		}
		out.Sources[s.Name] = lockSource090{s.Digest, s.Size}
	}
	return out, nil
}

// config090 is config.json with keys and log laid flat; the only kind of
// signature was ed25519.
type config090 struct {
	SchemaVersion string      `json:"schema_version"`
	DL            string      `json:"dl,omitempty"`
	API           string      `json:"api,omitempty"`
	AuthRequired  bool        `json:"auth-required,omitzero"`
	Keys          []configKey `json:"keys,omitempty"`
	LogOrigin     string      `json:"log_origin,omitempty"`
	LogKey        string      `json:"log_key,omitempty"`
}

type configKey struct {
	ID        string `json:"id"`
	Key       string `json:"ed25519_pub"`
	NotBefore string `json:"not_before,omitempty"`
	NotAfter  string `json:"not_after,omitempty"`
}

type config100 struct {
	SchemaVersion string         `json:"schema_version"`
	DL            string         `json:"dl,omitempty"`
	API           string         `json:"api,omitempty"`
	AuthRequired  bool           `json:"auth-required,omitzero"`
	Signing       *configSigning `json:"signing,omitempty"`
	Log           *configLog     `json:"log,omitempty"`
}

type configSigning struct {
	Kind       string      `json:"kind"`
	PublicKeys []configKey `json:"public_keys"`
}

type configLog struct {
	Origin string `json:"origin"`
	Key    string `json:"key"`
}

const onlyKind = "ed25519"

func configForward(in *config090) (*config100, error) {
	out := &config100{SchemaVersion: IndexConfig.ID(), DL: in.DL, API: in.API, AuthRequired: in.AuthRequired}
	if len(in.Keys) > 0 {
		out.Signing = &configSigning{onlyKind, in.Keys}
	}
	if (in.LogOrigin == "") != (in.LogKey == "") {
		return nil, fault.New(fault.Semantic, "log_origin and log_key belong together, and one is missing")
	}
	if in.LogOrigin != "" {
		out.Log = &configLog{in.LogOrigin, in.LogKey}
	}
	return out, nil
}

func configBack(in *config100) (*config090, error) {
	out := &config090{SchemaVersion: "rebuild.index-config@0.9.0", DL: in.DL, API: in.API, AuthRequired: in.AuthRequired}
	if s := in.Signing; s != nil {
		if s.Kind != onlyKind || len(s.PublicKeys) == 0 {
			return nil, fault.New(fault.Semantic, "signing with %d keys of kind %.40q has no place in 0.9.0", len(s.PublicKeys), s.Kind)
		}
		out.Keys = s.PublicKeys
	}
	if l := in.Log; l != nil {
		if l.Origin == "" || l.Key == "" {
			return nil, fault.New(fault.Semantic, "a log without an origin or a key has no place in 0.9.0")
		}
		out.LogOrigin, out.LogKey = l.Origin, l.Key
	}
	return out, nil
}

// state090 is state.json with the heads as a list, and without yanks.
type state090 struct {
	SchemaVersion string              `json:"schema_version"`
	Heads         []head090           `json:"heads,omitempty"` // sorted by origin
	Owners        map[string][]string `json:"owners,omitempty"`
	IndexKeys     map[string][]string `json:"index_keys,omitempty"`
	Policies      map[string]int64    `json:"policies,omitempty"`
}

type head090 struct {
	Origin string `json:"origin"`
	Note   string `json:"note"`
}

type state100 struct {
	SchemaVersion string              `json:"schema_version"`
	Heads         map[string]string   `json:"heads,omitempty"`
	Owners        map[string][]string `json:"owners,omitempty"`
	IndexKeys     map[string][]string `json:"index_keys,omitempty"`
	Policies      map[string]int64    `json:"policies,omitempty"`
}

func stateForward(in *state090) (*state100, error) {
	out := &state100{SchemaVersion: State.ID(), Owners: in.Owners, IndexKeys: in.IndexKeys, Policies: in.Policies}
	for i, h := range in.Heads {
		// A head that another one hides would be forgotten, and with it a rollback.
		if i > 0 && h.Origin <= in.Heads[i-1].Origin {
			return nil, fault.New(fault.Semantic, "the heads are not sorted, or %.60q stands twice", h.Origin)
		}
		if out.Heads == nil {
			out.Heads = map[string]string{}
		}
		out.Heads[h.Origin] = h.Note
	}
	return out, nil
}

func stateBack(in *state100) (*state090, error) {
	out := &state090{SchemaVersion: "rebuild.state@0.9.0", Owners: in.Owners, IndexKeys: in.IndexKeys, Policies: in.Policies}
	for origin, note := range in.Heads {
		out.Heads = append(out.Heads, head090{origin, note})
	}
	slices.SortFunc(out.Heads, func(a, b head090) int { return strings.Compare(a.Origin, b.Origin) })
	return out, nil
}
