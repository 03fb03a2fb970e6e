package stages

import (
	"embed"
	"io/fs"
)

//go:embed pipeline.toml seed hex0 labels asm sha256sum cca ccb/Containerfile ccb/stage.toml ccb/src libc tools tcc
var builtin embed.FS

// Builtin returns the recipes that are part of the program: each folder at
// its root with a stage.toml is one stage (Containerfile, context folder), and one
// with a pipeline.toml a pipeline. That at the root leads from the seed to a C
// compiler. A pipeline names a stage as "builtin:NAME".
func Builtin() fs.FS { return builtin }
