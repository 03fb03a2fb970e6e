package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// What the documents show as typed and answered is run by the script
// trust/walk.txtar. In a document such a line begins with "    $ "; what is
// different each time stands as "…".
const docsDir = "../../docs"

const typed = "    $ "

// changing are the parts of an answer that are different each time.
var changing = []struct {
	pattern *regexp.Regexp
	shown   string
}{
	{regexp.MustCompile(`SHA256:([0-9a-f]{64}|[A-Za-z0-9+/]{43})`), "SHA256:…"},
	{regexp.MustCompile(`\b[0-9a-f]{64}\b`), "…"},
	{regexp.MustCompile(`\boutputs [0-9a-f]{12}\b`), "outputs …"},
	{regexp.MustCompile(`— (\S+) [A-Za-z0-9+/]{60,}=*`), "— $1 …"},
	{regexp.MustCompile(`\+[0-9a-f]{8}\+[A-Za-z0-9+/]{44}`), "+…"},
	{regexp.MustCompile(`[A-Za-z0-9+/]{43}=`), "KEY"},
	{regexp.MustCompile(`\b127\.0\.0\.1:[0-9]{4,5}\b`), "127.0.0.1:PORT"},
	{regexp.MustCompile(`\b20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z`), "TIME"},
}

func shownAs(text string) string {
	for _, c := range changing {
		text = c.pattern.ReplaceAllString(text, c.shown)
	}
	return text
}

// shows STATUS DOC COMMAND... runs a command, wants this exit status, and wants
// the document to show the command with all that it prints, stdout first.
func shows(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: shows STATUS DOC COMMAND...")
	}
	exits(ts, false, append([]string{args[0]}, args[2:]...))
	var want []string
	for line := range strings.Lines(ts.ReadFile("stdout") + ts.ReadFile("stderr")) {
		want = append(want, "    "+strings.TrimRight(shownAs(line), "\n"))
	}
	command := typed + shownAs(strings.Join(args[2:], " "))
	file := filepath.Join(docsDir, args[1])
	text, err := os.ReadFile(file)
	ts.Check(err)
	lines := strings.Split(string(text), "\n")
	at := slices.Index(lines, command)
	if at < 0 {
		ts.Fatalf("docs/%s does not show\n%s", args[1], command)
	}
	end := at + 1
	for end < len(lines) && strings.HasPrefix(lines[end], "    ") && !strings.HasPrefix(lines[end], typed) {
		end++
	}
	if sameLines(lines[at+1:end], want) {
		return
	}
	if !updating() {
		ts.Fatalf("docs/%s shows another answer than\n%s\n%s", args[1], command, strings.Join(want, "\n"))
	}
	lines = slices.Replace(lines, at+1, end, want...)
	ts.Check(os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o644))
}

// sameLines does not ask for the order, which goes by what is different each
// time where keys are listed.
func sameLines(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// An example that nothing runs is believed all the same.
func TestEveryExampleIsRun(t *testing.T) {
	t.Parallel()
	script := string(read(t, "../../testdata/cli/trust/walk.txtar"))
	docs, err := filepath.Glob(filepath.Join(docsDir, "*.md"))
	if err != nil || len(docs) == 0 {
		t.Fatal(docs, err)
	}
	total := 0
	for _, file := range docs {
		shown := strings.Count("\n"+string(read(t, file)), "\n"+typed)
		run := regexp.MustCompile(fmt.Sprintf(`(?m)^shows [0-9]+ %s `, regexp.QuoteMeta(filepath.Base(file)))).FindAllString(script, -1)
		if shown != len(run) {
			t.Errorf("%s shows %d commands, the script runs %d of them", file, shown, len(run))
		}
		total += shown
	}
	if total == 0 {
		t.Error("no document shows anything")
	}
}
