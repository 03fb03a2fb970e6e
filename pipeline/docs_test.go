package pipeline_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rebuild/pipeline"
	"rebuild/stages"
)

// The pipeline and the stage that docs/pipelines.md shows load as they stand.
func TestDocumentedPipeline(t *testing.T) {
	text, err := os.ReadFile("../docs/pipelines.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, part := range strings.Split(string(text), "```toml\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		blocks = append(blocks, block)
	}
	if len(blocks) != 3 {
		t.Fatalf("%d examples, want a pipeline, a stage and a source", len(blocks))
	}
	dir := t.TempDir()
	for file, content := range map[string]string{
		"pipeline.toml":       blocks[0],
		"hello/stage.toml":    strings.Replace(blocks[1], `"source/data"`, `"source/data", "source/tests"`, 1) + blocks[2],
		"hello/Containerfile": "FROM scratch\nCOPY --from=source/data / /out/\n",
		"hello/src/x":         "x",
	} {
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := pipeline.Load(dir, "", stages.Builtin()); err != nil {
		t.Error(err)
	}
}
