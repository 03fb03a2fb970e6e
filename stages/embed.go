package stages

import (
	"embed"
	"io/fs"
)

//go:embed pipeline.toml hex0 labels asm sha256sum
var builtin embed.FS

// Builtin returns the recipes that are part of the program: each folder at
// its root is one stage (stage.toml, Containerfile, context folder), and
// pipeline.toml builds them all. A pipeline names one as "builtin:NAME".
func Builtin() fs.FS { return builtin }
