package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// A hint is the next command. One that names a command or a flag that does not
// exist sends people away with a second error.
func TestHintsNameWhatExists(t *testing.T) {
	t.Parallel()
	a := &app{ui: ui{world: world{getenv: func(string) string { return "" }}}}
	root := a.rootCommand()
	hints := hintsOf(t, "../..")
	if len(hints) < 50 {
		t.Errorf("only %d hints found", len(hints))
	}
	for place, hint := range hints {
		if wrong := wrongHint(root, hint); wrong != "" {
			t.Errorf("%s: hint %q: %s", place, hint, wrong)
		}
	}
}

// The test above must be able to fail.
func TestWrongHint(t *testing.T) {
	t.Parallel()
	a := &app{ui: ui{world: world{getenv: func(string) string { return "" }}}}
	root := a.rootCommand()
	for hint, good := range map[string]bool{
		"run rebuild lock and review the change":           true,
		"rebuild store fsck lists all that is damaged":     true,
		"give --state DIR":                                 true,
		"judge an old release with --at TIME":              true,
		"use a version of rebuild that reads them":         true,
		"run rebuild run --fresh":                          true,
		"name a folder that rebuild attest --out wrote to": true,
		"run: rebuild index init":                          true,
		"run: rebuild index enter":                         false,
		"run: rebuild index":                               false,
		"run rebuild frobnicate":                           false,
		"run rebuild run --frosh":                          false,
		"run rebuild lock --fresh":                         false,
		"give --owner with what rebuild key show prints":   true,
		"give --moon with what rebuild key show prints":    false,
		"give --moon":                                      false,
	} {
		if wrong := wrongHint(root, hint); (wrong == "") != good {
			t.Errorf("%q: %q", hint, wrong)
		}
	}
}

var (
	commandIn = regexp.MustCompile(`\brebuild((?: [^ ]+)*)`)
	flagIn    = regexp.MustCompile(`--([a-z][a-z-]*)`)
	// prose are words behind "rebuild" where it means the program.
	prose = []string{"that", "itself", "made", "built"}
)

// wrongHint says what a hint names that does not exist, or "". A flag before a
// command is one that some command has, a flag after it is its own.
func wrongHint(root *cobra.Command, hint string) string {
	before, named := hint, root
	if at := commandIn.FindStringIndex(hint); at != nil {
		words := strings.Fields(hint[at[0]:at[1]])[1:]
		if len(words) > 0 && !slices.Contains(prose, words[0]) {
			before = hint[:at[0]]
			if named = follow(root, words); named == root || named.Annotations["group"] != "" {
				return "there is no command " + strings.Join(words, " ")
			}
		}
	}
	for _, m := range flagIn.FindAllStringSubmatchIndex(hint, -1) {
		of, name := named, hint[m[2]:m[3]]
		if m[0] < len(before) {
			of = root
		}
		if !hasFlag(of, name, of == root) {
			return "there is no --" + name
		}
	}
	return ""
}

// follow goes down the commands that words name.
func follow(c *cobra.Command, words []string) *cobra.Command {
	for _, sub := range c.Commands() {
		if len(words) > 0 && sub.Name() == strings.TrimRight(words[0], ".,;:") {
			return follow(sub, words[1:])
		}
	}
	return c
}

// hasFlag says whether a command has a flag, or anywhere one below it.
func hasFlag(c *cobra.Command, name string, anywhere bool) bool {
	if name == "help" || c.Flags().Lookup(name) != nil || c.InheritedFlags().Lookup(name) != nil || c.PersistentFlags().Lookup(name) != nil {
		return true
	}
	return anywhere && slices.ContainsFunc(c.Commands(), func(sub *cobra.Command) bool { return hasFlag(sub, name, true) })
}

// hintsOf returns the texts of all hints in the program's source by their
// places.
func hintsOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	hints := map[string]string{}
	files := token.NewFileSet()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if text, ok := hintText(n); ok {
				hints[files.Position(n.Pos()).String()] = text
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return hints
}

// hintText returns the text of a hint: what WithHint is given, or what is put
// into a variable of that name before.
func hintText(n ast.Node) (string, bool) {
	var value ast.Expr
	switch n := n.(type) {
	case *ast.CallExpr:
		if f, ok := n.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "WithHint" && len(n.Args) > 0 {
			value = n.Args[0]
		}
	case *ast.KeyValueExpr:
		if name, ok := n.Key.(*ast.Ident); ok && name.Name == "Hint" {
			value = n.Value
		}
	case *ast.AssignStmt:
		if name, ok := n.Lhs[0].(*ast.Ident); ok && strings.Contains(strings.ToLower(name.Name), "hint") {
			value = n.Rhs[0]
		}
	}
	text, ok := value.(*ast.BasicLit)
	if !ok || text.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(text.Value)
	return s, err == nil
}
