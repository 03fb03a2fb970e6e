package pipeline

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"rebuild/internal/document"
)

// Caches of every released version are read by the next, and one that is not
// quite in its form is as good as none: nothing is guessed from it.
func TestD3_CachesAreReadOrNotThere(t *testing.T) {
	for name, c := range map[string]struct {
		kind document.Kind
		into func() any
	}{
		"record": {document.Record, func() any { return new(stageRecord) }}, "input": {document.Input, func() any { return new(inputRecord) }},
		"run": {document.Run, func() any { return new(Report) }}, "contexts": {document.Contexts, func() any { return new(contextsFileData) }},
		"verified": {document.Verified, func() any { return new(verifiedFileData) }},
	} {
		file := filepath.Join("../testdata/compat", name, "1.0.0.json")
		if !readState(file, c.kind, c.into()) {
			t.Errorf("%s is not read", file)
		}
		good, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		bad := filepath.Join(t.TempDir(), "bad.json")
		for what, data := range map[string][]byte{
			"newer":   bytes.Replace(good, []byte("@1.0.0"), []byte("@1.1.0"), 1),
			"unknown": append([]byte(`{"AAA":1,`), good[1:]...), "cut": good[:len(good)/2], "empty": nil,
		} {
			if err := os.WriteFile(bad, data, 0o644); err != nil {
				t.Fatal(err)
			}
			if readState(bad, c.kind, c.into()) {
				t.Errorf("%s, %s: it was believed", name, what)
			}
		}
	}
}
