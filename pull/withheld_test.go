package pull_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"rebuild/attest"
	"rebuild/index"
	"rebuild/internal/fault"
	"rebuild/pull"
)

// A version that is yanked, or advised against, is taken only if who pulls named
// it, or allows such: never because a package needs it, and not in the place of
// a lower one that will do.
func TestWithdrawnVersionsAreNotTaken(t *testing.T) {
	s := newShelf(t)
	for _, version := range []string{"1.0.0", "1.1.0", "1.2.0", "1.3.0"} {
		s.publish("libc@" + version)
	}
	s.publish("tool@1.0.0", "libc:^1")
	s.publish("newer@1.0.0", "libc:>=1.2")
	s.publish("newest@1.0.0", "libc:>=1.3")
	s.publish("pinned@1.0.0", "libc@1.2.0")
	s.yank("libc@1.2.0", attest.ActionYank, "")
	s.yank("libc@1.3.0", attest.ActionAdvise, "CVE-2026-1")
	for name, c := range map[string]struct {
		name, version    string
		yanked, advisory bool
		files            []string
		code             fault.Code
	}{
		"what will do":         {"tool", "", false, false, []string{"tool-1.0.0.tar", "libc-1.1.0.tar"}, ""},
		"yanked is no higher":  {"tool", "", true, false, []string{"tool-1.0.0.tar", "libc-1.2.0.tar"}, ""},
		"all are allowed":      {"tool", "", true, true, []string{"tool-1.0.0.tar", "libc-1.3.0.tar"}, ""},
		"none will do":         {"newer", "", false, false, nil, fault.AdvisedDep},
		"only the yanked one":  {"newer", "", true, false, []string{"newer-1.0.0.tar", "libc-1.2.0.tar"}, ""},
		"the advised is meant": {"newest", "", true, false, nil, fault.AdvisedDep},
		"pinned by another":    {"pinned", "", false, false, nil, fault.YankedDep},
		"named, yanked":        {"libc", "1.2.0", false, false, []string{"libc-1.2.0.tar"}, ""},
		"named, advised":       {"libc", "1.3.0", false, false, []string{"libc-1.3.0.tar"}, ""},
		"the latest, advised":  {"libc", "", false, false, nil, fault.AdvisedDep},
		"the latest, allowed":  {"libc", "", false, true, []string{"libc-1.3.0.tar"}, ""},
	} {
		o := s.options(s.local())
		o.AllowYanked, o.AllowAdvisories = c.yanked, c.advisory
		r, err := pull.Pull(t.Context(), o, c.name, c.version)
		if fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %q", name, err, c.code)
		}
		if err == nil && !slices.Equal(r.Files, c.files) {
			t.Errorf("%s: %q, want %q", name, r.Files, c.files)
		}
	}
}

// unread is a source one file of which can not be read.
type unread struct {
	index.Source
	path string
}

var errUnread = errors.New("the disk is gone")

func (u unread) Get(ctx context.Context, path string, limit int64, fresh bool) ([]byte, error) {
	if path == u.path {
		return nil, errUnread
	}
	return u.Source.Get(ctx, path, limit, fresh)
}

// Lines that can not be read are not lines that are not there.
func TestNeedThatCanNotBeRead(t *testing.T) {
	s := newShelf(t)
	s.publish("libc@1.0.0")
	s.publish("tool@1.0.0", "libc:^1")
	path, err := index.LinePath("libc")
	must(t, err)
	if _, err := pull.Pull(t.Context(), s.options(unread{s.local(), path}), "tool", ""); !errors.Is(err, errUnread) || fault.CodeOf(err) == fault.DepMissing {
		t.Error(err)
	}
}
