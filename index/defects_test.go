package index_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/index"
	"rebuild/internal/document"
	"rebuild/internal/fault"
)

// Each test here attacks with what went wrong in another system, and has the
// number of that row in the table of defects (docs/claims.md).

// honestLine publishes a release and returns its entry and the path of its line.
func honestLine(t *testing.T, w *attesttest.World) (*index.Index, *index.Entry, string) {
	t.Helper()
	dir, x := newIndex(t)
	e, err := publish(x, w, publication(t, w, []string{"r1"}, both))
	must(t, err)
	return x, e, dir
}

func writeLine(t *testing.T, dir, name string, e *index.Entry) {
	t.Helper()
	line, err := document.Encode(e)
	must(t, err)
	at := filepath.Join(dir, filepath.FromSlash(name))
	must(t, os.MkdirAll(filepath.Dir(at), 0o755))
	must(t, os.WriteFile(at, append(line, '\n'), 0o644))
}

// x07, apko CVE-2026-42575: the archive was not bound to the signed line.
func TestG28_LineOfAnotherArchive(t *testing.T) {
	w := attesttest.New(t)
	x, e, dir := honestLine(t, w)
	other, err := publish(x, w, publication(t, w, []string{"r1"}, both, "0.1.0", "0.2.0"))
	must(t, err)
	swapped := *e
	swapped.Cksum = other.Cksum
	writeLine(t, dir, "he/ll/hello", &swapped)
	_, _, err = x.Verify("hello", "0.1.0", w.LoadPolicy(), attesttest.Now)
	code(t, err, fault.SignatureInvalid)
	must(t, swapped.Sign(attesttest.Key("index"))) // even by who signs lines
	writeLine(t, dir, "he/ll/hello", &swapped)
	_, _, err = x.Verify("hello", "0.1.0", w.LoadPolicy(), attesttest.Now)
	code(t, err, fault.CksumMismatch)
	writeLine(t, dir, "he/ll/hello", e)
	at := filepath.Join(dir, "objects/sha256", e.Cksum)
	theirs, err := os.ReadFile(filepath.Join(dir, "objects/sha256", other.Cksum))
	must(t, err)
	must(t, os.Chmod(at, 0o644))
	must(t, os.WriteFile(at, theirs, 0o644))
	_, _, err = x.Verify("hello", "0.1.0", w.LoadPolicy(), attesttest.Now)
	code(t, err, fault.CksumMismatch)
}

// x07: fields were trimmed before they were signed.
func TestG34_NothingIsTrimmed(t *testing.T) {
	w := attesttest.New(t)
	x, e, dir := honestLine(t, w)
	for _, c := range []func(*index.Entry){
		func(e *index.Entry) { e.Name = " hello" }, func(e *index.Entry) { e.Name = "hello\n" },
		func(e *index.Entry) { e.Version = "0.1.0 " }, func(e *index.Entry) { e.Cksum = " " + e.Cksum },
	} {
		spaced := *e
		c(&spaced)
		writeLine(t, dir, "he/ll/hello", &spaced)
		_, err := x.Entries("hello")
		if got := fault.CodeOf(err).Exit(); got != 31 {
			t.Errorf("%q %q: %v", spaced.Name, spaced.Version, err)
		}
	}
	for _, s := range []string{"hello\nversion=9", "a=b"} {
		_, err := index.Message(s, "0.1.0", e.Cksum)
		code(t, err, fault.Structure)
	}
}

// regclient: what was pinned was dropped when it was fetched another way. The
// last thing is always the digest.
func TestG39_EveryObjectIsHashed(t *testing.T) {
	w := attesttest.New(t)
	x, _, dir := honestLine(t, w)
	objects, err := os.ReadDir(filepath.Join(dir, "objects/sha256"))
	must(t, err)
	reached := 0
	for _, o := range objects {
		at := filepath.Join(dir, "objects/sha256", o.Name())
		good, err := os.ReadFile(at)
		must(t, err)
		must(t, os.Chmod(at, 0o644))
		must(t, os.WriteFile(at, append(good, '\n'), 0o644))
		if _, _, err := x.Verify("hello", "0.1.0", w.LoadPolicy(), attesttest.Now); err != nil {
			code(t, err, fault.CksumMismatch)
			reached++
		}
		must(t, os.WriteFile(at, good, 0o644))
	}
	if reached < 4 { // the archive, the plan, the lock, the manifest
		t.Errorf("%d objects of %d are looked at", reached, len(objects))
	}
}

// go-tuf CVE-2026-24686: a name from afar became a path.
func TestG42_NameIsNoPath(t *testing.T) {
	w := attesttest.New(t)
	x, e, dir := honestLine(t, w)
	must(t, os.WriteFile(filepath.Join(filepath.Dir(dir), "secret"), []byte("{}\n"), 0o644))
	for _, name := range []string{"../secret", "/etc/passwd", "he/ll/hello", "..", "a/../../secret", "~org", "con"} {
		_, err := x.Lookup(name, "")
		code(t, err, fault.Structure)
		spoiled := *e
		spoiled.Name = name
		if _, err := spoiled.Encode(); fault.CodeOf(err) != fault.Structure {
			t.Errorf("an entry of %q: %v", name, err)
		}
	}
	spoiled := *e
	spoiled.Release = "sha256:../../../../secret"
	writeLine(t, dir, "he/ll/hello", &spoiled)
	_, err := x.Entries("hello")
	code(t, err, fault.Structure)
}

// encoding/json and base64, in a line.
func TestG45_KeysOfALine(t *testing.T) {
	w := attesttest.New(t)
	_, e, _ := honestLine(t, w)
	line, err := e.Encode()
	must(t, err)
	const first = `{"assurance":`
	if !strings.HasPrefix(string(line), first) {
		t.Fatalf("%s", line)
	}
	for what, to := range map[string]string{
		"duplicate": `{"assurance":"none","assurance":`, "folded": `{"Assurance":"none","assurance":`, "unknown": `{"a":"x","assurance":`, "null": `{"advisories":null,"assurance":`,
	} {
		if _, err := index.ParseEntry("line", []byte(strings.Replace(string(line), first, to, 1))); fault.CodeOf(err).Exit() != 31 {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// ed25519: a key of small order, served beside what it signs.
func TestG46_SmallOrderIndexKey(t *testing.T) {
	weak := base64.StdEncoding.EncodeToString(append([]byte{1}, make([]byte, 31)...))
	w := attesttest.New(t)
	text := strings.Replace(w.PolicyTOML, attesttest.Key("index").Public().String(), weak, 1)
	_, err := attest.LoadPolicy("policy.toml", []byte(text))
	code(t, err, fault.KeyWeak)
	dir, _ := newIndex(t)
	raw, err := os.ReadFile(filepath.Join(dir, "config.json"))
	must(t, err)
	must(t, os.Chmod(filepath.Join(dir, "config.json"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "config.json"), []byte(strings.Replace(string(raw), attesttest.Key("index").Public().String(), weak, 1)), 0o644))
	_, err = index.Open(dir, index.Writing{})
	code(t, err, fault.KeyWeak)
}
