// Package depcheck holds the direction of imports: which room may use which,
// and which modules from outside a room may rest on. The tables are the
// architecture; a new arrow is a change to them, made on purpose.
package depcheck

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// rooms says what each package may import of ours. Packages below internal
// are small mechanics and may be used by all, but only those named by it are
// used by each.
var rooms = map[string][]string{
	"rebuild/internal/fault":      {},
	"rebuild/internal/document":   {"rebuild/internal/fault"},
	"rebuild/internal/durable":    {},
	"rebuild/internal/decompress": {"rebuild/internal/fault"},
	"rebuild/internal/names":      {"rebuild/internal/fault"},
	"rebuild/internal/pack":       {"rebuild/internal/document", "rebuild/internal/durable"},
	"rebuild/internal/spdx":       {"rebuild/internal/fault"},
	"rebuild/folder":              {"rebuild/attest", "rebuild/internal/document", "rebuild/internal/durable", "rebuild/internal/fault", "rebuild/internal/names", "rebuild/internal/spdx", "rebuild/store"},
	"rebuild/store":               {"rebuild/internal/decompress", "rebuild/internal/document", "rebuild/internal/durable", "rebuild/internal/fault", "rebuild/internal/names"},
	"rebuild/stages":              {"rebuild/internal/document", "rebuild/internal/fault", "rebuild/internal/names", "rebuild/store"},
	"rebuild/bootstrap":           {"rebuild/internal/decompress", "rebuild/internal/document", "rebuild/internal/fault", "rebuild/store"},
	"rebuild/attest":              {"rebuild/internal/document", "rebuild/internal/durable", "rebuild/internal/fault", "rebuild/internal/names", "rebuild/store"},
	"rebuild/attest/sshkey":       {"rebuild/attest", "rebuild/internal/fault"},
	"rebuild/index":               {"rebuild/attest", "rebuild/internal/document", "rebuild/internal/durable", "rebuild/internal/fault", "rebuild/internal/names", "rebuild/internal/pack", "rebuild/store"},
	"rebuild/index/translog":      {"rebuild/attest", "rebuild/internal/document", "rebuild/internal/durable", "rebuild/internal/fault"},
	"rebuild/resolve":             {"rebuild/internal/fault", "rebuild/internal/names"},
	"rebuild/pull": {"rebuild/attest", "rebuild/index", "rebuild/internal/durable", "rebuild/internal/fault", "rebuild/internal/names", "rebuild/internal/pack",
		"rebuild/resolve", "rebuild/store"},
	"rebuild/oci": {"rebuild/attest", "rebuild/internal/document", "rebuild/internal/fault", "rebuild/store"},
	"rebuild/pipeline": {"rebuild/attest", "rebuild/bootstrap", "rebuild/internal/document", "rebuild/internal/durable",
		"rebuild/internal/fault", "rebuild/internal/names", "rebuild/stages", "rebuild/store"},
	"rebuild/engine":  {"rebuild/internal/decompress", "rebuild/internal/fault", "rebuild/pipeline", "rebuild/stages", "rebuild/store"},
	"rebuild/surface": {"rebuild/internal/document", "rebuild/internal/fault", "rebuild/internal/names"},
	"rebuild/migrate": {"rebuild/internal/document", "rebuild/internal/durable", "rebuild/internal/fault"},
	"rebuild/hub": {"rebuild/attest", "rebuild/index", "rebuild/internal/document", "rebuild/internal/durable", "rebuild/internal/fault", "rebuild/internal/names",
		"rebuild/store"},
	"rebuild/cmd/rebuild": {"rebuild/attest", "rebuild/attest/sshkey", "rebuild/bootstrap", "rebuild/engine", "rebuild/folder", "rebuild/hub", "rebuild/index", "rebuild/index/translog",
		"rebuild/internal/decompress", "rebuild/internal/document", "rebuild/internal/durable", "rebuild/internal/fault", "rebuild/internal/names", "rebuild/migrate", "rebuild/oci", "rebuild/pipeline",
		"rebuild/pull", "rebuild/resolve", "rebuild/stages", "rebuild/store", "rebuild/surface"},
}

// modules says which modules from outside a room may reach, through whatever
// path. The verifying rooms stay small enough to be audited.
var modules = map[string][]string{
	"rebuild/internal/fault":    {},
	"rebuild/internal/document": documents,
	"rebuild/internal/durable":  {},
	"rebuild/internal/names":    {"github.com/Masterminds/semver/v3", "golang.org/x/mod"},
	"rebuild/store":             storing,
	"rebuild/attest":            verifying,
	"rebuild/index":             verifying,
	"rebuild/resolve":           {"github.com/Masterminds/semver/v3", "golang.org/x/mod"},
	"rebuild/pull":              verifying,
	// Only who signs needs the formats of OpenSSH.
	"rebuild/attest/sshkey": append([]string{"golang.org/x/crypto"}, verifying...),
	"rebuild/oci":           distributing,
	// What Go itself says is a compatible change.
	"rebuild/surface": append([]string{"golang.org/x/exp", "golang.org/x/tools", "golang.org/x/mod", "github.com/Masterminds/semver/v3"}, documents...),
	"rebuild/hub":     keeping,
}

var (
	documents = []string{"github.com/go-json-experiment/json", "github.com/pelletier/go-toml/v2"}
	// Decompressors, and system calls that the standard library has not.
	storing = append([]string{"github.com/klauspost/compress", "github.com/ulikunitz/xz", "golang.org/x/sys"}, documents...)
	// The order and ranges of versions, signed notes and the hashes of a log's tree.
	verifying = append([]string{"github.com/Masterminds/semver/v3", "golang.org/x/mod"}, storing...)
	// The registry protocol, with its authentication, is not ours to write.
	distributing = append([]string{"oras.land/oras-go/v2", "github.com/opencontainers/image-spec", "github.com/opencontainers/go-digest",
		"golang.org/x/sync"}, verifying...)
	// A database in one file, without cgo.
	keeping = append([]string{"modernc.org/sqlite", "modernc.org/libc", "modernc.org/mathutil", "modernc.org/memory",
		"github.com/dustin/go-humanize", "github.com/google/uuid", "github.com/remyoudompheng/bigfft"}, verifying...)
)

// engineOnly are module prefixes that nothing but engine may import directly.
var engineOnly = []string{"github.com/moby/buildkit", "github.com/containerd/", "github.com/opencontainers/runc",
	"github.com/opencontainers/runtime-spec", "google.golang.org/grpc", "google.golang.org/protobuf"}

// logOnly are module prefixes that nothing but index/translog may import: who
// verifies a log needs no program that writes one.
var logOnly = []string{"github.com/transparency-dev/", "k8s.io/klog", "github.com/go-logr/"}

type goPackage struct {
	ImportPath, Name string
	Imports, Deps    []string
	Standard         bool
	Module           *struct{ Path string }
}

func list(t *testing.T) map[string]goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Name,Imports,Deps,Standard,Module", "rebuild/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.Bytes())
	}
	all := map[string]goPackage{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := d.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[p.ImportPath] = p
	}
}

func ours(path string) bool { return path == "rebuild" || strings.HasPrefix(path, "rebuild/") }

// testOnly are packages that exist for tests; nothing else may import them.
func testOnly(dir string) bool {
	name := path.Base(dir)
	return name != "attest" && strings.HasSuffix(name, "test") || strings.Contains(dir, "/testdata/") || name == "depcheck" || name == "mutate"
}

func TestDirection(t *testing.T) {
	all := list(t)
	for _, path := range slices.Sorted(maps.Keys(all)) {
		if !ours(path) || testOnly(path) {
			continue
		}
		may, known := rooms[path]
		if !known {
			t.Errorf("%s is no room yet: add it to the table, with what it may import", path)
			continue
		}
		for _, imported := range all[path].Imports {
			if ours(imported) && !slices.Contains(may, imported) {
				t.Errorf("%s may not import %s", path, imported)
			}
			for _, prefix := range logOnly {
				if strings.HasPrefix(imported, prefix) && path != "rebuild/index/translog" {
					t.Errorf("%s imports %s, which is for index/translog alone", path, imported)
				}
			}
			for _, prefix := range engineOnly {
				if strings.HasPrefix(imported, prefix) && path != "rebuild/engine" {
					t.Errorf("%s imports %s, which is for engine alone", path, imported)
				}
			}
		}
	}
	for path := range rooms {
		if _, ok := all[path]; !ok {
			t.Errorf("%s is in the table and does not exist", path)
		}
	}
}

func TestModulesOfTheVerifyingRooms(t *testing.T) {
	all := list(t)
	for path, may := range modules {
		reached := map[string]bool{}
		for _, dep := range all[path].Deps {
			p := all[dep]
			if p.Standard || p.Module == nil || p.Module.Path == "rebuild" {
				continue
			}
			reached[p.Module.Path] = true
			if !slices.Contains(may, p.Module.Path) {
				t.Errorf("%s rests on %s of %s", path, dep, p.Module.Path)
			}
		}
		for _, module := range may {
			if !reached[module] {
				t.Errorf("%s may rest on %s and does not: take it out of the table", path, module)
			}
		}
	}
}
