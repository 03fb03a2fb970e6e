package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/fault"
)

// A results folder comes from others, with git. A link in it must not lead what
// is filed there to somewhere else.
func TestStatementsStayInTheResultsFolder(t *testing.T) {
	t.Parallel()
	w := attesttest.New(t)
	e, err := attest.ParseEnvelope("statement", w.Statement("north", nil))
	if err != nil {
		t.Fatal(err)
	}
	plan := filepath.Join(w.Plan.Pipeline, w.Plan.Digest().Hex())
	for _, link := range []string{w.Plan.Pipeline, plan, filepath.Join(plan, "north"), filepath.Join(plan, objectFolder)} {
		results, elsewhere := t.TempDir(), t.TempDir()
		at := filepath.Join(results, link)
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(elsewhere, at); err != nil {
			t.Fatal(err)
		}
		if _, err := writeStatement(results, w.Plan, w.PlanJSON, "north", e, []byte("{}")); fault.CodeOf(err) != fault.Structure {
			t.Errorf("a link at %s: %v", link, err)
		}
		if written, err := os.ReadDir(elsewhere); err != nil || len(written) > 0 {
			t.Errorf("a link at %s: %v is written where it leads (%v)", link, written, err)
		}
	}
	if _, err := writeStatement(t.TempDir(), w.Plan, w.PlanJSON, "north", e, []byte("{}")); err != nil {
		t.Error(err)
	}
}

// A lock comes with the pipeline of a stranger, and its differences are shown.
func TestLockDifferencesAreText(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"pipeline.toml":      "schema_version = \"rebuild.pipeline@1.0.0\"\nname = \"locked\"\nplatforms = [\"linux/amd64\"]\nstages = [\"only\"]\ntargets = [\"only\"]\n",
		"only/stage.toml":    "schema_version = \"rebuild.stage@1.0.0\"\nname = \"only\"\nexport = \"/\"\n",
		"only/Containerfile": "FROM scratch\nCOPY stage.toml /\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if status, _, errs := inProcess(t, "lock", "--pipeline", dir); status != 0 {
		t.Fatal(errs)
	}
	lock := filepath.Join(dir, "rebuild.lock")
	good := string(read(t, lock))
	hostile := strings.Replace(good, "rebuild.exec.v1", `\u001b[2Jrebuild: all is well\nrebuild: hint\u009b1m`, 1)
	hostile = strings.Replace(hostile, `\u009b`, "\u009b", 1)
	if hostile == good {
		t.Fatalf("nothing was changed: %s", good)
	}
	if err := os.WriteFile(lock, []byte(hostile), 0o644); err != nil {
		t.Fatal(err)
	}
	status, _, errs := inProcess(t, "lock", "--check", "--pipeline", dir)
	if status != 21 || strings.ContainsAny(errs, "\x1b\u009b") || strings.Contains(errs, "\nrebuild: hint") {
		t.Errorf("exit %d, stderr %q", status, errs)
	}
}

// A registry may list more than anyone said. Each statement is a file that is
// synced, so too many would keep a machine busy for a day.
func TestTooManyAttachedStatements(t *testing.T) {
	t.Parallel()
	out := t.TempDir()
	many := &importer{envelopes: make([][]byte, maxStatements+1)}
	if _, err := many.write(&app{}, out); fault.CodeOf(err) != fault.Structure {
		t.Errorf("%v", err)
	}
}
