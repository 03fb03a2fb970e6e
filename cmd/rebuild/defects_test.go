package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// guix-verify, gorebuild: a mismatch was printed, and the status was 0. Here
// every command that meets one ends with 16.
func TestG13_MismatchExits16(t *testing.T) {
	t.Parallel()
	from := cast(t)
	p := scripts("", func(env *testscript.Env) error { return copyMissing(env.WorkDir, from) })
	p.Files = []string{"../../testdata/cli/trust/dissent.txtar", "../../testdata/cli/trust/dissent-of-one.txtar"}
	testscript.Run(t, p)
}
