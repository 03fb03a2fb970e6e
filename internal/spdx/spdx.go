// Package spdx says whether a text is an SPDX license expression, such as
// "MIT OR Apache-2.0": the grammar of SPDX 2.3, annex D, over the identifiers
// of the SPDX license list 3.25. Identifiers that the list calls deprecated
// are still expressions; a license of a later list is not one here.
package spdx

import (
	_ "embed"
	"regexp"
	"strings"

	"rebuild/internal/fault"
)

//go:embed licenses.txt
var licenseList string

//go:embed exceptions.txt
var exceptionList string

var (
	licenses   = set(licenseList)
	exceptions = set(exceptionList)
	// reference is a license that no list has: LicenseRef-NAME, also of another
	// document.
	reference = regexp.MustCompile(`^(?:DocumentRef-[A-Za-z0-9.-]+:)?LicenseRef-[A-Za-z0-9.-]+$`)
)

// set is a list without regard to case, as identifiers are compared.
func set(list string) map[string]bool {
	all := map[string]bool{}
	for id := range strings.FieldsSeq(list) {
		all[strings.ToLower(id)] = true
	}
	return all
}

const (
	maxLen   = 4096 // bytes of an expression
	maxDepth = 32   // parentheses within each other
)

// Check returns nil for a license expression and PKG_LICENSE_NOT_SPDX, saying
// what is wrong, for any other text.
func Check(expression string) error {
	p := &parser{}
	if len(expression) <= maxLen {
		p.rest = tokens(expression)
	}
	problem := p.or(0)
	if problem == "" && len(p.rest) > 0 {
		problem = "after " + quote(p.last) + " comes " + quote(p.rest[0])
	}
	if problem == "" {
		return nil
	}
	return fault.New(fault.PkgLicenseNotSPDX, "license %.80q is not an SPDX license expression: %s", expression, problem).
		WithHint(`write one such as license = "MIT OR Apache-2.0", or "LicenseRef-NAME" for a license that SPDX does not list`)
}

func quote(s string) string { return "'" + s + "'" }

// tokens splits at spaces and around parentheses.
func tokens(s string) []string {
	return strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ").Replace(s))
}

// parser takes tokens from the front. Its methods return what is wrong, ""
// for nothing.
type parser struct {
	rest []string
	last string
}

func (p *parser) accept(token string) bool {
	if len(p.rest) == 0 || p.rest[0] != token {
		return false
	}
	p.take()
	return true
}

func (p *parser) take() string {
	if len(p.rest) == 0 {
		return ""
	}
	p.last, p.rest = p.rest[0], p.rest[1:]
	return p.last
}

func (p *parser) or(depth int) string  { return p.joined("OR", depth, p.and) }
func (p *parser) and(depth int) string { return p.joined("AND", depth, p.term) }

func (p *parser) joined(operator string, depth int, part func(int) string) string {
	for {
		if problem := part(depth); problem != "" {
			return problem
		}
		if !p.accept(operator) {
			return ""
		}
	}
}

func (p *parser) term(depth int) string {
	if p.accept("(") {
		if depth++; depth > maxDepth {
			return "it is nested too deeply"
		}
		if problem := p.or(depth); problem != "" {
			return problem
		}
		if !p.accept(")") {
			return "a parenthesis is not closed"
		}
		return ""
	}
	id := p.take()
	switch listed := licenses[strings.ToLower(strings.TrimSuffix(id, "+"))]; {
	case id == "":
		return "a license is missing"
	case !listed && !reference.MatchString(id):
		return quote(id) + " is no license of the SPDX list"
	}
	if !p.accept("WITH") {
		return ""
	}
	if x := p.take(); !exceptions[strings.ToLower(x)] {
		return quote(x) + " is no exception of the SPDX list"
	}
	return ""
}
