// Package stages holds what a stage is: one Containerfile, its settings in
// stage.toml and its own files; and the recipes that ship with rebuild.
//
// Call [Load] for a stage folder on disk or in the embedded file system; what
// it returns has passed every check that one folder allows, and each refusal
// names file and line. [Stage.Context] lists the stage's own files in the one
// form in which they are hashed and handed to a build. Whether the stages of a
// pipeline fit together is judged by package pipeline, and whether a
// Containerfile keeps to the closed world by package engine.
//
// The package reads only the folder it is given. It follows no symbolic link
// to find stage.toml, the Containerfile or the context, so a recipe can't
// reach a file of the host by one.
package stages

import (
	"io/fs"
	"path"

	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// File names inside a stage folder.
const (
	SettingsFile  = "stage.toml"
	ContainerFile = "Containerfile"
)

// Profile is the environment that a stage's commands run in (formats.md 4).
type Profile string

// The profiles. Both run every command without a network, as user 0:0, with
// inputs by digest only; they differ in what is put into the environment.
const (
	// RebuildExec fixes umask, host name, limits and the variables that
	// programs guess from; it is the default.
	RebuildExec Profile = "rebuild.exec.v1"
	// BuildKitExec injects nothing, so that a stock BuildKit gives the same
	// exporter digest.
	BuildKitExec Profile = "buildkit.exec.v1"
)

// ParseProfile accepts the name of a profile. The error is SEMANTIC.
func ParseProfile(s string) (Profile, error) {
	switch p := Profile(s); p {
	case RebuildExec, BuildKitExec:
		return p, nil
	}
	return "", fault.New(fault.Semantic, "unknown exec profile %q", s).
		WithHint("write %q or %q", RebuildExec, BuildKitExec)
}

// Platforms returns what stages can be built for: the platforms that an amd64
// machine runs natively. A foreign one would need an emulator, a program that
// comes from nowhere, inside the build.
func Platforms() []string { return []string{"linux/386", "linux/amd64"} }

// CheckPlatform refuses a platform that is not native. The error is
// POLICY_DENIED.
func CheckPlatform(s string) error {
	for _, p := range Platforms() {
		if s == p {
			return nil
		}
	}
	return fault.New(fault.PolicyDenied, "platform %q is not native", s).
		WithHint("write \"linux/amd64\" or \"linux/386\"; nothing is emulated")
}

// Kinds of input, the word before the slash in an input's name.
const (
	KindStage  = "stage"
	KindSource = "source"
	KindSeed   = "seed"
	KindImage  = "image"
)

// Input names one tree that a stage may read, as its Containerfile does:
// KIND/NAME.
type Input struct {
	Kind string // one of the Kind constants
	Name Name
}

// String returns KIND/NAME.
func (i Input) String() string { return i.Kind + "/" + string(i.Name) }

// Stage is one stage folder, loaded and checked. It is not changed after Load.
type Stage struct {
	Name      Name
	Platforms []string // sorted; nil: every platform of the pipeline
	// Folder of the stage's own files below the stage folder, "." for the
	// stage folder itself, "" for none.
	ContextDir string
	Inputs     []Input           // sorted by String
	Export     string            // absolute and clean; "/" unless stage.toml says otherwise
	Alias      map[string]string // a foreign Containerfile's name, in familiar form, to an input's KIND/NAME
	Exec       Profile           // "" = the pipeline's
	Args       map[string]string // build arguments
	Image      Image
	Sources    []Source          // sorted by name
	Exporter   map[string]string // attributes of BuildKit's exporter; nil: not wanted

	Containerfile []byte
	// ContainerfileName and File are where the Containerfile and stage.toml
	// were read from, for messages.
	ContainerfileName string
	File              string

	folder  folder
	src     *document.Source
	inputAt map[Input]int
}

// Source is one outside archive or file that a stage reads.
type Source struct {
	Name   Name
	Digest store.Digest
	Size   int64  // bytes, at least 1
	Unpack string // "tar" or "none"
	URLs   []string
	Into   string // path in the context; "" = an input of its own
	Code   []Code // sorted by path

	Index int // position in stage.toml, for [Stage.Fault]
}

// Values of Source.Unpack.
const (
	UnpackTar  = "tar"  // unpacked by us into the input's tree
	UnpackNone = "none" // one file
)

// Code is a file of a source that is known to be machine code and is left out
// when the source is unpacked, so that no command ever sees it.
type Code struct {
	Path   string // in the archive
	Digest store.Digest
	Reason string
}

// Fault returns an error placed at a value of stage.toml, given by its keys
// and indices.
func (s *Stage) Fault(code fault.Code, at []any, format string, args ...any) *fault.Error {
	return s.src.Fault(code, at, format, args...)
}

// Seed returns the hex text of a seed and the name of its file: NAME.hex0
// among the stage's own files. The error is SEMANTIC.
func (s *Stage) Seed(name Name) (file string, text []byte, err error) {
	rel := path.Join(s.ContextDir, string(name)+".hex0")
	file = s.folder.display(rel)
	text, err = s.folder.readRegular(rel, maxSeedText)
	if err != nil {
		i := Input{KindSeed, name}
		return file, nil, s.Fault(fault.Semantic, []any{"inputs", s.InputIndex(i)}, "input %s: %w", i, err).
			WithHint("put the seed's hex text at %s", file)
	}
	return file, text, nil
}

// maxSeedText bounds the text of a seed. A seed is a few hundred bytes and its
// text is to be read by a person.
const maxSeedText = 1 << 20

// Open opens a file of the stage folder, such as a source that lies beside the
// recipe. rel is a slash path relative to the stage folder.
func (s *Stage) Open(rel string) (fs.File, error) {
	return s.folder.fsys.Open(path.Join(s.folder.dir, rel))
}

// InputIndex returns the position of an input in stage.toml, whose order is
// not that of Inputs, for [Stage.Fault].
func (s *Stage) InputIndex(i Input) int { return s.inputAt[i] }
