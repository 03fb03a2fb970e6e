package folder

import (
	"fmt"
	"path"
	"strings"

	"github.com/moby/patternmatcher"

	"rebuild/internal/fault"
)

// IgnoreFile names what of an author's folder does not go into the package.
const IgnoreFile = ".rebuildignore"

// maxIgnore bounds the ignore file, whose patterns become regular expressions.
const maxIgnore = 64 << 10

// ignore is an ignore file: the last rule that matches a path decides, and a rule
// that matches a directory matches what is below it.
type ignore []rule

type rule struct {
	text    string
	line    int
	negate  bool // takes back in
	dirOnly bool
	match   *patternmatcher.PatternMatcher
}

// parseIgnore reads an ignore file. A pattern is as in a .gitignore: with a
// slash in it, other than at its end, it is relative to the folder, without one
// it matches a name at any depth; * and ? do not match a slash, ** does; ! takes
// back in; # begins a comment; \ takes a character as it is.
func parseIgnore(file, text string) (ignore, error) {
	var rules ignore
	n := 0
	for line := range strings.SplitSeq(strings.TrimPrefix(text, "\ufeff"), "\n") {
		n++
		r := rule{text: strings.TrimSpace(line), line: n}
		if r.text == "" || strings.HasPrefix(r.text, "#") {
			continue
		}
		pattern, negate := strings.CutPrefix(r.text, "!")
		pattern, r.dirOnly = strings.CutSuffix(pattern, "/")
		r.negate = negate
		if strings.Contains(pattern, "/") {
			pattern = strings.TrimPrefix(pattern, "/")
		} else {
			pattern = "**/" + pattern
		}
		var err error
		if r.match, err = patternmatcher.New([]string{escapeNegation(pattern)}); err == nil {
			_, err = r.match.MatchesOrParentMatches("x") // compiles it
		}
		if err != nil || path.Clean(pattern) != pattern {
			return nil, fault.New(fault.Parse, "%q is no pattern", r.text).At(file, n).WithHint("write a pattern as in a .gitignore, such as *.log or /build/")
		}
		rules = append(rules, r)
	}
	return rules, nil
}

// escapeNegation keeps a pattern that begins with an exclamation mark, which
// was written as \!, from being read as an exception.
func escapeNegation(pattern string) string {
	if strings.HasPrefix(pattern, "!") {
		return `\` + pattern
	}
	return pattern
}

// reason says which rule leaves a path out, "" if none does.
func (i ignore) reason(p string, dir bool) (string, error) {
	why := ""
	for _, r := range i {
		about := p
		if r.dirOnly && !dir {
			about = path.Dir(p)
		}
		matches, err := r.match.MatchesOrParentMatches(about)
		if err != nil {
			return "", fault.New(fault.Parse, "%q: %w", r.text, err).At(IgnoreFile, r.line).
				WithHint("correct the pattern; a sign that is meant as it stands has a \\ before it")
		}
		if !matches {
			continue
		}
		if why = ""; !r.negate {
			why = fmt.Sprintf("%s:%d: %s", IgnoreFile, r.line, r.text)
		}
	}
	return why, nil
}
