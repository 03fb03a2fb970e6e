package index

import (
	"errors"
	"io/fs"
	"slices"
	"testing"
	"testing/fstest"

	"rebuild/internal/fault"
)

// Only files that are where a package's lines belong are taken for packages.
func TestNames(t *testing.T) {
	t.Parallel()
	fsys := fstest.MapFS{}
	for _, p := range []string{"config.json", "head", "he/ll/hello", "he/ll/other", "3/a/abc", "3/b/abc", "1/a", "2/ab", "~org/he/ll/hello", "~org/1/x",
		"view/he/ll/hello", "chains/pkg/he/ll/hello.jsonl", ".state/he/ll/hello", "view/ab", "view/root", "objects/sha256/00"} {
		fsys[p] = &fstest.MapFile{}
	}
	got, err := Names(fsys, "here")
	want := []string{"a", "ab", "abc", "hello", "org/hello", "org/x"}
	if slices.Sort(got); err != nil || !slices.Equal(got, want) {
		t.Errorf("%v %v, want %v", got, err, want)
	}
	if _, err := Names(unreadable{}, "here"); fault.CodeOf(err) != fault.IndexFetch {
		t.Errorf("a folder that can not be read: %v", err)
	}
}

type unreadable struct{}

func (unreadable) Open(string) (fs.File, error) { return nil, errors.New("unreadable") }
