package main

import (
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
)

const sample = `package p

import "errors"

func check(n int, names []string) error {
	if n < 1 || n > 9 {
		return errors.New("n")
	}
	for _, f := range []func() error{one, two} {
		if err := f(); err != nil {
			return err
		}
	}
	for i, name := range names {
		switch {
		case name == "":
			return errors.New("empty")
		}
		if i == 0 && n == 3 {
			continue
		}
	}
	note(n)
	return last(n)
}

func left(n int) bool { return n == 2 }
`

// What the run counts is what can be switched off, no less and no more.
func TestInstrument(t *testing.T) {
	next := 0
	out, mutants, err := instrument("p.go", []byte(sample), &next, func(fn string) bool { return fn == "left" })
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, m := range mutants {
		if m.Number < 1 || m.Number > next || m.File != "p.go" || m.Func != "check" {
			t.Errorf("%d: %+v", i, m)
		}
		got = append(got, m.Kind+" "+m.Source)
	}
	want := []string{
		"off n < 1 || n > 9", "term n < 1", "bound n < 1", "term n > 9", "bound n > 9",
		"item one", "item two", "off err := f(); err != nil",
		`case name == ""`, "off i == 0 && n == 3", "on i == 0 && n == 3", "term i == 0", "term n == 3",
		"call note(n)", "call last(n)",
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if _, err := parser.ParseFile(token.NewFileSet(), "p.go", out, 0); err != nil {
		t.Errorf("%v in\n%s", err, out)
	}
	if lines := strings.Count(string(out), "\n"); lines < strings.Count(sample, "\n") {
		t.Errorf("%d lines", lines)
	}
}

// An exemption is for one text in one function, and is wrong as soon as it is
// not needed.
func TestExemptions(t *testing.T) {
	ex, err := parseExemptions("# why\nskip a.go F G | writes\nskip c.go * | prints\na.go H off n < 1 | never\na.go H term x | gone\n")
	if err != nil {
		t.Fatal(err)
	}
	if !ex.skips("a.go", "F") || !ex.skips("a.go", "G") || ex.skips("b.go", "F") || !ex.skips("c.go", "F") {
		t.Error("what is skipped")
	}
	m := Mutant{File: "a.go", Func: "H", Kind: kindOff, Source: "n < 1"}
	if !ex.covers(m, false) || len(ex.stale(true)) != 1 || len(ex.stale(false)) != 0 {
		t.Errorf("%q", ex.stale(true))
	}
	if m.Source = "n < 2"; ex.covers(m, false) {
		t.Error("another text is exempt")
	}
	if m.Source = "n < 1"; !ex.covers(m, true) || len(ex.stale(false)) != 1 {
		t.Errorf("one that was killed: %q", ex.stale(false))
	}
	judged, err := parseExemptions("tests a.go F G | TestOne TestTwo\ntests b.go * | TestB\n")
	if err != nil {
		t.Fatal(err)
	}
	if judged.judgedBy("a.go", "G") != "^(TestOne|TestTwo)$" || judged.judgedBy("a.go", "H") != "" || judged.judgedBy("b.go", "H") != "^(TestB)$" {
		t.Error("who judges what")
	}
	if stale := judged.stale(true); len(stale) != 1 || len(judged.stale(false)) != 0 { // a.go F
		t.Errorf("%q", stale)
	}
	for _, bad := range []string{"tests a.go | TestOne", "a.go H off n < 1", "a.go H off n < 1 | ", "skip a.go | x", "a.go H | x", "a.go H off x | y\na.go H off x | z"} {
		if _, err := parseExemptions(bad); err == nil {
			t.Errorf("no error for %q", bad)
		}
	}
}
