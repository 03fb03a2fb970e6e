package engine

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestInterpreters(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"status", "register", "qemu-arm", "WSLInterop"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := interpreters(dir); !slices.Equal(got, []string{"WSLInterop", "qemu-arm"}) {
		t.Errorf("%v", got)
	}
	if got := interpreters(filepath.Join(dir, "none")); got != nil {
		t.Errorf("%v", got)
	}
}
