//go:build !embedrunc

package engine

import "rebuild/store"

// Without the build tag embedrunc this binary carries no runc.
var embeddedRunc []byte

const embeddedVersion = ""

var embeddedDigest store.Digest
