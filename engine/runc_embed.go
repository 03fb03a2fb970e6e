//go:build embedrunc

package engine

import (
	_ "embed"
	"strings"

	"rebuild/store"
)

// make build writes the three files of this folder from the module in
// engine/runc before it compiles with the tag embedrunc.

//go:embed embedded/runc.gz
var embeddedRunc []byte

//go:embed embedded/runc.version
var embeddedVersionText string

//go:embed embedded/runc.sha256
var embeddedSum string

var (
	embeddedVersion = strings.TrimSpace(embeddedVersionText)
	embeddedDigest  = store.Digest("sha256:" + strings.Fields(embeddedSum)[0])
)
