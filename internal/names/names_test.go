package names_test

import (
	"path/filepath"
	"strings"
	"testing"

	"rebuild/internal/fault"
	"rebuild/internal/names"
)

func TestCheck(t *testing.T) {
	for _, s := range []string{"a", "hex0", "a-b", "a--b", "a_b", "a__b", "x86-64", "a1-2_3__4", "com", "console", "lpt10", strings.Repeat("a", 64)} {
		if err := names.Check(s); err != nil {
			t.Errorf("%q refused: %v", s, err)
		}
	}
	for _, s := range []string{
		"", "A", "aB", "1a", "-a", "_a", "a-", "a_", "a___b", "a-_b", "a_-b", "a.b", "a/b", "..", ".", "a b", "a\n", "é",
		"con", "prn", "aux", "nul", "com1", "lpt9", "a\x00", strings.Repeat("a", 65),
	} {
		if err := names.Check(s); fault.CodeOf(err) != fault.Structure {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestPackage(t *testing.T) {
	for _, s := range []string{"hello", "org/hello"} {
		if err := names.Package(s); err != nil {
			t.Errorf("%q refused: %v", s, err)
		}
	}
	for _, s := range []string{"", "/", "a/", "/a", "a/b/c", "../a", "a/..", "@a/b", "nul/a", "a/nul"} {
		if err := names.Package(s); fault.CodeOf(err) != fault.Structure {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestVersion(t *testing.T) {
	for _, s := range []string{"0.0.0", "1.2.3", "1.0.0-rc.1", "1.0.0-0a", "1.0.0+b.007", "1.0.0-x-y.z+1-2", "99999999999999999999.0.0"} {
		if err := names.Version(s); err != nil {
			t.Errorf("%q refused: %v", s, err)
		}
	}
	for _, s := range []string{"", "1", "1.2", "v1.2.3", "01.2.3", "1.2.03", "1.2.3-", "1.2.3-01", "1.2.3+", "1.2.3.4", "1.2-3.4", " 1.2.3", "1.2.3\n", "1.2.3-a_b", "1.2.3-é"} {
		if err := names.Version(s); fault.CodeOf(err) != fault.Structure {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestCompareVersions(t *testing.T) {
	ordered := []string{"0.9.9", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-beta", "1.0.0-rc.2", "1.0.0-rc.10", "1.0.0", "1.0.1", "1.9.0", "1.10.0"}
	for i, a := range ordered {
		for j, b := range ordered {
			want := max(-1, min(1, i-j))
			if got := names.CompareVersions(a, b); got != want {
				t.Errorf("%s against %s: %d, want %d", a, b, got, want)
			}
		}
	}
	if names.CompareVersions("1.0.0+a", "1.0.0+b") != 0 {
		t.Error("build metadata was compared")
	}
}

func TestDistinct(t *testing.T) {
	for _, ok := range [][]string{nil, {"a"}, {"a", "b", "a-b", "ab"}} {
		if err := names.Distinct(ok); err != nil {
			t.Errorf("%q refused: %v", ok, err)
		}
	}
	for _, bad := range [][]string{{"a", "b", "a"}, {"a-b", "x", "a_b"}, {"a--b", "a__b"}} {
		if err := names.Distinct(bad); fault.CodeOf(err) != fault.Semantic {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// A name that passes is a single path element that means itself, also where
// letters of either case are one, and a version is equal to itself alone.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"hello", "org/hello", "con", "a..b", "../x", "a-_b", "1.0.0", "1.0.0-rc.1+b", "v1", "01.0.0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if names.Check(s) == nil && (filepath.Base(s) != s || !filepath.IsLocal(s) || strings.ToLower(s) != s || len(s) > 64 || names.Check(names.Fold(s)) != nil && !strings.Contains(s, "_")) {
			t.Fatalf("%q is a name", s)
		}
		if names.Package(s) == nil {
			for _, part := range strings.Split(s, "/") {
				if err := names.Check(part); err != nil {
					t.Fatalf("%q is a package: %v", s, err)
				}
			}
		}
		if names.Version(s) == nil && (names.CompareVersions(s, s) != 0 || strings.ContainsAny(s, "/\\ \x00\n")) {
			t.Fatalf("%q is a version", s)
		}
	})
}
