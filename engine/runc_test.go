package engine

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rebuild/internal/fault"
	"rebuild/store"
)

// Every release line has its first fixed version; what is older, a candidate of
// it, or unreadable is refused with the advisory.
func TestRuncVersions(t *testing.T) {
	for version, ok := range map[string]bool{
		"1.3.6": true, "1.3.7": true, "1.4.3": true, "1.4.10": true, "1.5.0": true, "1.5.1": true, "1.6.0": true, "2.0.0": true,
		"1.4.3+dev": true, "1.4.3+git.1": true, "1.6.0-rc.1": true,
		"1.3.5": false, "1.4.2": false, "1.4.0": false, "1.2.99": false, "1.1.5": false, "1.0.0-rc93": false, "0.1.1": false,
		"1.5.0-rc.1": false, "1.5.0-rc.3+dev": false, "1.4.3-rc.1": false, "1.3.6-1~deb12u1": false,
		"1.4": false, "1": false, "": false, "v1.4.3": false, "1.4.3 ": false, "one": false, "1.4.3.1": false, "01.4.3": false, "unknown": false,
	} {
		err := checkVersion("/x/runc", version)
		if ok && err != nil {
			t.Errorf("%q is refused: %v", version, err)
		}
		if !ok && (fault.CodeOf(err) != fault.EngineUnavailable || !strings.Contains(err.Error(), "/x/runc")) {
			t.Errorf("%q: got %v", version, err)
		}
	}
	if err := checkVersion("runc", "1.4.2"); !strings.Contains(err.Error(), advisory) {
		t.Errorf("%v does not name %s", err, advisory)
	}
}

// What --runc names is asked for its version, must answer soon, and is known by
// the digest of the file, not by its name.
func TestNamedRunc(t *testing.T) {
	dir := t.TempDir()
	script := func(name, body string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return file
	}
	fresh := script("fresh", "echo runc version 1.4.3; echo spec: 1.2.1")
	link := filepath.Join(dir, "link")
	if err := os.Symlink("fresh", link); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for _, named := range []string{fresh, link, "fresh", "./link"} {
		rc, err := findRunc(named, "", "")
		if err != nil || rc.version != "1.4.3" || !filepath.IsAbs(rc.path) || rc.digest != digestOf(t, fresh) {
			t.Errorf("%s: got %+v %v", named, rc, err)
		}
	}
	for name, file := range map[string]string{
		"missing":    filepath.Join(dir, "missing"),
		"folder":     dir,
		"old":        script("old", "echo runc version 1.1.5"),
		"other":      script("other", "echo crun version 1.20"),
		"silent":     script("silent", "true"),
		"failing":    script("failing", "echo runc version 1.4.3; exit 1"),
		"long":       script("long", "yes | head -c 1000000"),
		"background": script("background", "sleep 60 & exit 0"),
	} {
		began := time.Now()
		if _, err := findRunc(file, "", ""); fault.CodeOf(err) != fault.EngineUnavailable {
			t.Errorf("%s: %v", name, err)
		}
		if time.Since(began) > 2*versionTimeout {
			t.Errorf("%s took %v", name, time.Since(began))
		}
	}
	// Without a name and without one built in, the first in an absolute folder
	// of the search path counts; the working directory never does.
	if got := lookRunc(".:" + filepath.Join(dir, "none")); got != "" {
		t.Errorf("found %s", got)
	}
}

func digestOf(t *testing.T, file string) store.Digest {
	t.Helper()
	d, err := digestFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// The cache holds a copy of the built-in runc. What somebody put there instead
// is replaced, never run; what changes after it was judged is not installed.
func TestChangedRunc(t *testing.T) {
	was, wasDigest := embeddedRunc, embeddedDigest
	t.Cleanup(func() { embeddedRunc, embeddedDigest = was, wasDigest })
	real := []byte("the real runc\n")
	embeddedRunc, embeddedDigest = zipped(real), store.DigestOf(real)
	cache := filepath.Join(t.TempDir(), "not", "there", "yet")
	for _, spoil := range []func(string) error{
		func(string) error { return nil },
		func(file string) error { return os.WriteFile(file, []byte("changed"), 0o755) },
		func(file string) error { return os.Truncate(file, 3) },
		func(file string) error { return os.Remove(file) },
		func(file string) error { os.Remove(file); return os.Symlink("/bin/sh", file) },
	} {
		file, err := unpackRunc(cache)
		if err != nil {
			t.Fatal(err)
		}
		if got := digestOf(t, file); got != embeddedDigest {
			t.Errorf("unpacked %s, want %s", got, embeddedDigest)
		}
		if err := spoil(file); err != nil {
			t.Fatal(err)
		}
	}
	file, err := unpackRunc(cache)
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(cache); len(left) != 1 {
		t.Errorf("left in the cache: %v", left)
	}
	rc := runcBinary{file, "1.4.3", embeddedDigest}
	if err := os.WriteFile(file, []byte("changed after it was judged"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := rc.install(filepath.Join(t.TempDir(), "bin")); fault.CodeOf(err) != fault.EngineUnavailable || !strings.Contains(err.Error(), "changed") {
		t.Errorf("a changed runc was installed: %v", err)
	}
	embeddedDigest = store.DigestOf([]byte("another"))
	if _, err := unpackRunc(cache); err == nil {
		t.Error("a built-in runc of another digest was unpacked")
	}
}
