package bootstrap

import (
	"bytes"
	"strings"

	"rebuild/internal/fault"
	"rebuild/store"
)

// Graph is what lineage is computed from: what a plan starts with and the
// trees that its stages gave. It says where content is; what the content is,
// [Compute] finds out by reading it.
type Graph struct {
	Seeds   []Seed
	Sources []Source
	Images  []Image
	Stages  []Stage // in plan order: each after the stages it takes input from

	// Fixpoints are pairs of files that should be equal: a compiler and the
	// same compiler built by itself.
	Fixpoints []Pair

	// What the caller knows and no tree shows. It is copied into the report.
	Plan        store.Digest
	Pipeline    string
	Platform    string
	Environment Environment
	Base        Base
}

// Seed is machine code that is given as text.
type Seed struct {
	Name   string
	Digest store.Digest // of Bytes
	Bytes  []byte
	File   string // where Text is from, for errors
	Text   []byte // in the language of [DecodeHex]
}

// Source is an archive from outside.
type Source struct {
	Name   string
	Digest store.Digest // of the archive
	Size   int64        // bytes of the archive
	// Layer is the layer of the unpacked tree; "" for a source that stages
	// take as it is, which is then opened here.
	Layer store.Digest
	// Omit is what unpacking left out as known machine code.
	Omit []store.Omit
}

// Image is somebody else's image.
type Image struct {
	Name   string
	Digest store.Digest   // of the manifest
	Layers []store.Digest // blobs as they are, compressed or not
}

// Stage is one step and its output.
type Stage struct {
	Name    string
	Inputs  []string     // KIND/NAME: seed, source, image or stage
	Context store.Digest // layer of the stage's own files; "" without any
	Tree    store.Digest
	Layer   store.Digest // of Tree
	Origin  string       // OriginBuilt, OriginReused or OriginSubstituted
}

// Where the output of a stage came from. Reused is built by the same operator
// from equal inputs earlier, and counts as built; substituted was taken from
// somebody else, so nothing that it holds is traced.
const (
	OriginBuilt       = "built"
	OriginReused      = "reused"
	OriginSubstituted = "substituted"
)

// The kinds of inputs, as they stand before the slash in [Stage.Inputs], and
// of origins.
const (
	KindSeed    = "seed"
	KindSource  = "source"
	KindImage   = "image"
	KindStage   = "stage"
	KindContext = "context" // a stage's own files
)

// Place is a file of a stage's output. Path has no leading slash.
type Place struct {
	Stage string `json:"stage"`
	Path  string `json:"path"`
}

// String returns STAGE:/PATH, which [ParsePlace] reads.
func (p Place) String() string { return p.Stage + ":/" + p.Path }

// ParsePlace reads STAGE:PATH; the path may start with a slash. The error is
// USAGE.
func ParsePlace(s string) (Place, error) {
	stage, path, ok := strings.Cut(s, ":")
	path = strings.TrimPrefix(path, "/")
	if !ok || stage == "" || path == "" {
		return Place{}, fault.New(fault.Usage, "%q is not STAGE:PATH", s).WithHint("write it like sha256sum:/bin/sha256sum")
	}
	return Place{stage, path}, nil
}

// Pair is two files that should be equal.
type Pair struct{ A, B Place }

// Environment is what every step ran in. The caller knows it from the plan and
// from the rules of its engine.
type Environment struct {
	Scratch  bool   `json:"scratch"`            // no step started from somebody else's image
	Network  string `json:"network,omitempty"`  // of every exec: "none"
	Mounts   string `json:"mounts,omitempty"`   // of the host, secrets, caches: "none"
	Platform string `json:"platform,omitempty"` // OS/ARCH of the machine that ran the steps
}

// Base is what has to be trusted without proof, as far as it is known.
type Base struct {
	Rebuild       string       `json:"rebuild,omitempty"`
	RebuildDigest store.Digest `json:"rebuild_digest,omitempty"`
	Engine        string       `json:"engine,omitempty"`
	EngineVersion string       `json:"engine_version,omitempty"`
	Runtime       string       `json:"runtime,omitempty"`
	RuntimeDigest store.Digest `json:"runtime_digest,omitempty"`
	Kernel        string       `json:"kernel,omitempty"`
	CPUVendor     string       `json:"cpu_vendor,omitempty"`
	Binfmt        []string     `json:"binfmt,omitempty"` // entries of binfmt_misc
}

// check refuses a graph that does not hang together: a seed that is not what
// its text says (LINEAGE_UNTRACED), inputs that come from nowhere or from a
// later stage, two things of one name (SEMANTIC).
func (g *Graph) check() error {
	known := map[string]bool{}
	add := func(kind, name string) error {
		if known[kind+"/"+name] {
			return fault.New(fault.Semantic, "lineage: %s/%s is there twice", kind, name)
		}
		known[kind+"/"+name] = true
		return nil
	}
	for i := range g.Seeds {
		if err := g.Seeds[i].check(); err != nil {
			return err
		}
		if err := add(KindSeed, g.Seeds[i].Name); err != nil {
			return err
		}
	}
	for i := range g.Sources {
		if err := add(KindSource, g.Sources[i].Name); err != nil {
			return err
		}
	}
	for i := range g.Images {
		if err := add(KindImage, g.Images[i].Name); err != nil {
			return err
		}
	}
	for i := range g.Stages {
		if err := g.Stages[i].check(known); err != nil {
			return err
		}
		if err := add(KindStage, g.Stages[i].Name); err != nil {
			return err
		}
	}
	return nil
}

func (s *Seed) check() error {
	decoded, err := DecodeHex(s.File, s.Text)
	if err != nil {
		return err
	}
	if !bytes.Equal(decoded, s.Bytes) || store.DigestOf(decoded) != s.Digest {
		return fault.New(fault.LineageUntraced, "seed %s: expected %s, its text gives %s", s.Name, s.Digest, store.DigestOf(decoded)).
			At(s.File, 0)
	}
	return nil
}

func (s *Stage) check(known map[string]bool) error {
	for _, in := range s.Inputs {
		if !known[in] {
			return fault.New(fault.Semantic, "lineage: input %s of stage %s comes from nowhere before it", in, s.Name)
		}
	}
	switch s.Origin {
	case OriginBuilt, OriginReused, OriginSubstituted:
		return nil
	}
	return fault.New(fault.Semantic, "lineage: origin %q of stage %s is not known", s.Origin, s.Name)
}
