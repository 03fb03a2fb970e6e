package pipeline_test

import (
	"context"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/store"
)

// chooser answers as a resolver of an index would, and notes what it was asked.
type chooser struct {
	answer pipeline.PackageChoice
	asked  pipeline.PackageWish
}

func (c *chooser) Resolve(_ context.Context, w pipeline.PackageWish) (*pipeline.PackageChoice, error) {
	c.asked = w
	out := c.answer
	out.Packages = slices.Clone(out.Packages)
	return &out, nil
}

func pinned(name, version string) pipeline.LockPackage {
	d := store.DigestOf([]byte(name + version))
	return pipeline.LockPackage{Name: name, Version: version, Cksum: d.Hex(), Release: d, Snapshot: d, Owners: []string{"key"}, Operators: []string{"north", "south"}}
}

var wanting = "-- pipeline.toml --\n" + head + "index = \"sparse+https://index.example/\"\n" + rest + "[packages]\nmusl = \"^1\"\n" + stage("a")

func lockWith(t *testing.T, dir string, o pipeline.LockOptions) []byte {
	t.Helper()
	p := load(t, dir)
	l, err := p.NewLock(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	data, err := p.WriteLock(l)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestA30LockPackages(t *testing.T) {
	dir := write(t, wanting)
	if _, err := load(t, dir).NewLock(t.Context(), pipeline.LockOptions{}); fault.CodeOf(err) != fault.Semantic {
		t.Errorf("without an index: %v", err)
	}
	c := &chooser{answer: pipeline.PackageChoice{Registry: &pipeline.LockRegistry{Origin: "example.org/log", Size: 7}, Packages: []pipeline.LockPackage{pinned("musl", "1.2.0")}}}
	o := pipeline.LockOptions{Resolver: c}
	d := store.DigestOf([]byte("musl1.2.0"))
	want := `{"packages":[{"cksum":"` + d.Hex() + `","name":"musl","operators":["north","south"],"owners":["key"],"release":"` + string(d) +
		`","snapshot":"` + string(d) + `","version":"1.2.0","yanked":false}],"registry":{"origin":"example.org/log","size":7},` +
		`"schema_version":"rebuild.lock@1.0.0","toolchain":{"exec":"rebuild.exec.v1","tree":"rebuild.tree.v1"}}`
	if got := lockWith(t, dir, o); string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if _, err := load(t, dir).CheckLock(t.Context(), o); err != nil {
		t.Error(err)
	}
	if c.asked.Held == nil || c.asked.Held.Registry.Size != 7 || c.asked.Ranges["musl"] != "^1" {
		t.Errorf("the check asked %+v", c.asked)
	}
	l, err := load(t, dir).ReadLock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := load(t, dir).NewLock(t.Context(), pipeline.LockOptions{Resolver: c, Held: l, Update: true}); err != nil || c.asked.Held != nil {
		t.Errorf("an update held on to %+v, %v", c.asked.Held, err)
	}
}

// What is pinned and was withdrawn since is told by its own code, and is no
// drift; nothing is written (A12).
func TestA30Withdrawn(t *testing.T) {
	dir := write(t, wanting)
	c := &chooser{answer: pipeline.PackageChoice{Packages: []pipeline.LockPackage{pinned("musl", "1.2.0")}}}
	lockWith(t, dir, pipeline.LockOptions{Resolver: c})
	before, err := os.Stat(lockFile(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		w     pipeline.Withdrawal
		allow pipeline.LockOptions
		code  fault.Code
	}{
		{pipeline.Withdrawal{Name: "musl", Version: "1.2.0", Yanked: true}, pipeline.LockOptions{}, fault.YankedDep},
		{pipeline.Withdrawal{Name: "musl", Version: "1.2.0", Yanked: true}, pipeline.LockOptions{AllowYanked: true}, ""},
		{pipeline.Withdrawal{Name: "musl", Version: "1.2.0", Advisories: []string{"CVE-1"}}, pipeline.LockOptions{AllowYanked: true}, fault.AdvisedDep},
		{pipeline.Withdrawal{Name: "musl", Version: "1.2.0", Advisories: []string{"CVE-1"}}, pipeline.LockOptions{AllowAdvisories: true}, ""},
	} {
		c.answer.Withdrawn = []pipeline.Withdrawal{x.w}
		x.allow.Resolver = c
		if _, err := load(t, dir).CheckLock(t.Context(), x.allow); fault.CodeOf(err) != x.code {
			t.Errorf("%+v: %v, want %q", x.w, err, x.code)
		}
		if _, err := load(t, dir).NewLock(t.Context(), x.allow); err != nil { // locked already, or allowed
			t.Errorf("a new lock, %+v: %v", x.w, err)
		}
	}
	after, err := os.Stat(lockFile(dir))
	if err != nil || after.ModTime() != before.ModTime() {
		t.Error("the check wrote the lock", err)
	}
}

// An owner or operator that is gone is named (G67).
func TestG67SignersThatVanish(t *testing.T) {
	dir := write(t, wanting)
	c := &chooser{answer: pipeline.PackageChoice{Packages: []pipeline.LockPackage{pinned("musl", "1.2.0")}}}
	lockWith(t, dir, pipeline.LockOptions{Resolver: c})
	c.answer.Packages[0].Operators = []string{"east", "north"}
	c.answer.Packages[0].Owners = []string{"other"}
	diff, err := load(t, dir).CheckLock(t.Context(), pipeline.LockOptions{Resolver: c})
	if fault.CodeOf(err) != fault.LockDrift {
		t.Fatal(err)
	}
	for _, want := range []string{"-package musl operator south", "+package musl operator east", "-package musl owner key", "+package musl owner other"} {
		if !slices.Contains(diff, want) {
			t.Errorf("%q is not in %q", want, diff)
		}
	}
	for _, want := range []string{"package musl: owner key is gone", "package musl: owner other is new", "package musl: operator south is gone"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// The check works where nothing can be written (A12).
func TestA12ReadOnlyTree(t *testing.T) {
	dir := write(t, wanting)
	c := &chooser{answer: pipeline.PackageChoice{Packages: []pipeline.LockPackage{pinned("musl", "1.2.0")}}}
	lockWith(t, dir, pipeline.LockOptions{Resolver: c})
	if err := os.Chmod(lockFile(dir), 0o444); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o755)
	before := listing(t, dir)
	c.answer.Packages[0] = pinned("musl", "1.3.0")
	if _, err := load(t, dir).CheckLock(t.Context(), pipeline.LockOptions{Resolver: c}); fault.CodeOf(err) != fault.LockDrift {
		t.Error(err)
	}
	if after := listing(t, dir); after != before {
		t.Errorf("before %s\nafter  %s", before, after)
	}
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		b.WriteString(path + " " + info.ModTime().String() + " " + info.Mode().String() + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A lock is an input: what its packages are called becomes paths.
func TestLockPackagesRefused(t *testing.T) {
	good := pinned("musl", "1.2.0")
	for name, spoil := range map[string]func(*pipeline.LockPackage){
		"name":          func(o *pipeline.LockPackage) { o.Name = "../musl" },
		"version":       func(o *pipeline.LockPackage) { o.Version = "../1" },
		"cksum":         func(o *pipeline.LockPackage) { o.Cksum = "00" },
		"release":       func(o *pipeline.LockPackage) { o.Release = "" },
		"snapshot":      func(o *pipeline.LockPackage) { o.Snapshot = "sha256:00" },
		"no owners":     func(o *pipeline.LockPackage) { o.Owners = nil },
		"owners order":  func(o *pipeline.LockPackage) { o.Owners = []string{"b", "a"} },
		"operator list": func(o *pipeline.LockPackage) { o.Operators = []string{"b", "a"} },
	} {
		t.Run(name, func(t *testing.T) {
			dir := write(t, wanting)
			p := load(t, dir)
			bad := good
			spoil(&bad)
			c := &chooser{answer: pipeline.PackageChoice{Packages: []pipeline.LockPackage{bad}}}
			if _, err := p.NewLock(t.Context(), pipeline.LockOptions{Resolver: c}); fault.CodeOf(err) != fault.Structure && fault.CodeOf(err) != fault.Semantic {
				t.Error(err)
			}
			data, err := p.WriteLock(&pipeline.Lock{SchemaVersion: "rebuild.lock@1.0.0", Toolchain: pipeline.Toolchain{Exec: "rebuild.exec.v1", Tree: "rebuild.tree.v1"}, Packages: []pipeline.LockPackage{bad}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.ReadLock(); err == nil {
				t.Error("read from the folder")
			}
			if _, err := pipeline.DecodeLock("rebuild.lock", data); err == nil {
				t.Error("decoded")
			}
		})
	}
	dir := write(t, wanting)
	lockWith(t, dir, pipeline.LockOptions{Resolver: &chooser{answer: pipeline.PackageChoice{Packages: []pipeline.LockPackage{pinned("musl", "2.0.0")}}}})
	l, err := load(t, dir).ReadLock()
	if err != nil {
		t.Fatal(err)
	}
	_, err = load(t, dir).Plan("linux/amd64", pipeline.PlanOptions{Lock: l, Now: now})
	if fault.CodeOf(err) != fault.LockDrift || !strings.Contains(err.Error(), "musl") {
		t.Errorf("a plan under a lock of another version: %v", err)
	}
}
