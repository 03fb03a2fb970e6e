package depcheck

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// decoders are the packages that read JSON, TOML and their like.
var decoders = []string{"encoding/json", "encoding/xml", "encoding/gob", "github.com/go-json-experiment/json", "github.com/go-json-experiment/json/jsontext",
	"github.com/pelletier/go-toml/v2", "github.com/pelletier/go-toml/v2/unstable"}

// foreign names every file outside internal/document that decodes with one of
// them, and what: documents that others define, or that a process of ours hands
// to another. What rebuild owns is decoded by internal/document alone, once.
var foreign = map[string]string{
	"attest/layout.go":        "OCI index and manifest",
	"attest/policyupdate.go":  "holds the image of a policy that was signed",
	"attest/statement.go":     "holds the predicate's bytes for internal/document",
	"store/image.go":          "OCI manifest and config",
	"store/tags.go":           "OCI index, the entries of others kept as they are",
	"pipeline/image.go":       "OCI index, manifest and config",
	"engine/archives.go":      "OCI manifest",
	"engine/containerfile.go": "OCI config",
	"engine/guard.go":         "runc's log",
	"engine/init.go":          "the engine's own settings, from its parent process",
	"engine/runtime.go":       "OCI runtime specification, runc's state, settings from the parent process",
	"cmd/rebuild/demo.go":     "answers of our own child processes",
}

// readers are the names in those packages that turn bytes into values.
var readers = []string{"Unmarshal", "UnmarshalRead", "UnmarshalDecode", "NewDecoder", "Value", "Parser", "NewParser"}

func TestDocumentsAreDecodedInOnePlace(t *testing.T) {
	found := map[string]bool{}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "testdata" || d.Name() == "document" || strings.HasPrefix(d.Name(), ".") && len(d.Name()) > 2) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || testOnly(filepath.ToSlash(filepath.Dir(path))) {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err == nil && decodes(file) {
			found[filepath.ToSlash(strings.TrimPrefix(path, "../../"))] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range slices.Sorted(maps.Keys(found)) {
		if foreign[path] == "" {
			t.Errorf("%s decodes by itself: use internal/document, or name the foreign document in the table", path)
		}
	}
	for path := range foreign {
		if !found[path] {
			t.Errorf("%s is in the table and decodes nothing", path)
		}
	}
}

// decodes says whether a file uses a reader of one of the decoders.
func decodes(file *ast.File) bool {
	local := map[string]bool{}
	for _, i := range file.Imports {
		path, _ := strconv.Unquote(i.Path.Value)
		if !slices.Contains(decoders, path) {
			continue
		}
		name := filepath.Base(strings.TrimSuffix(path, "/v2"))
		if name == "go-toml" {
			name = "toml"
		}
		if i.Name != nil {
			name = i.Name.Name
		}
		local[name] = true
	}
	uses := false
	ast.Inspect(file, func(n ast.Node) bool {
		s, ok := n.(*ast.SelectorExpr)
		if ok {
			x, named := s.X.(*ast.Ident)
			uses = uses || named && local[x.Name] && slices.Contains(readers, s.Sel.Name)
		}
		return true
	})
	return uses
}
