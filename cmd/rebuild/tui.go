package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"rebuild/folder"
	"rebuild/internal/fault"
	"rebuild/stages"
)

// The law of output. Stdout carries the result and nothing else: a digest that
// composes in $(...), or with --json the one envelope, on failure too.
// Everything else, progress, notes, errors, goes to stderr, where every line
// of ours starts with "rebuild: " or "hint: ". The exit status comes from the
// error's code alone. A hint is the next command, ready to paste.

// world is everything outside of the program that a command may touch.
type world struct {
	stdin          *os.File
	stdout, stderr *os.File
	getenv         func(string) string
	now            func() time.Time // dates what is signed, and judges it
	wall           func() time.Time // of the machine: deadlines, ages of files
	random         io.Reader
}

// result is what a command prints on stdout: for people by Print, for scripts
// as the envelope's result.
type result interface {
	Print(w io.Writer)
}

// ui is the output side of one invocation.
type ui struct {
	world
	json  bool
	quiet bool
}

// note prints one line to stderr for a person who watches.
func (u *ui) note(format string, args ...any) {
	if !u.quiet {
		fmt.Fprintf(u.stderr, "rebuild: "+format+"\n", args...)
	}
}

// envelope is the answer of a command to a script (index.md 9).
type envelope struct {
	SchemaVersion string         `json:"schema_version"`
	Command       string         `json:"command"`
	OK            bool           `json:"ok"`
	ExitCode      int            `json:"exit_code"`
	Error         *envelopeError `json:"error,omitempty"`
	Result        any            `json:"result,omitempty"`
}

type envelopeError struct {
	Code    fault.Code     `json:"code"`
	Message string         `json:"message"`
	Hint    string         `json:"hint,omitempty"`
	Details map[string]any `json:"details,omitempty"`
}

// finish prints the end of a command, result or error or both, and returns the
// exit status.
func (u *ui) finish(command string, r result, err error) int {
	status := exitStatus(err)
	if u.json {
		e := newEnvelope(command, r, err)
		out := json.NewEncoder(u.stdout)
		out.SetEscapeHTML(false)
		if werr := out.Encode(e); werr != nil && err == nil {
			u.printError(werr)
			return exitStatus(werr)
		}
		return status
	}
	out := &lasting{to: u.stdout}
	if r != nil {
		r.Print(out)
	}
	if out.err != nil && err == nil {
		err = out.err // half a result must not pass for a whole one
		status = exitStatus(err)
	}
	if err != nil {
		u.printError(err)
	}
	return status
}

// lasting writes until that fails, and remembers why it did.
type lasting struct {
	to  io.Writer
	err error
}

func (w *lasting) Write(data []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	var n int
	n, w.err = w.to.Write(data)
	return n, w.err
}

func describe(err error) *envelopeError {
	e := &envelopeError{Code: codeOf(err), Message: err.Error()}
	if f := asFault(err); e.Code == fault.Interrupted && (f == nil || f.Code != fault.Interrupted) {
		e.Message, e.Hint = "interrupted before it was done", "run the command again"
		return e
	}
	if f := asFault(err); f != nil {
		e.Hint, e.Details = orDefault(hintOf(err), correction(f)), details(err)
	}
	return e
}

// asFault returns the outermost fault in err's chain, nil without one.
func asFault(err error) *fault.Error {
	var f *fault.Error
	errors.As(err, &f)
	return f
}

// hintOf is the hint of the outermost fault in err's chain that has one: who
// wraps a fault says where it happened, and seldom knows better what to do.
func hintOf(err error) string {
	for f := asFault(err); f != nil; f = asFault(f.Err) {
		if f.Hint != "" {
			return f.Hint
		}
	}
	return ""
}

// details gathers the particulars of every fault in err's chain, the outer
// ones winning, and the place that the nearest of them names.
func details(err error) map[string]any {
	all := map[string]any{}
	add := func(key string, value any) {
		if _, known := all[key]; !known {
			all[key] = value
		}
	}
	for f := asFault(err); f != nil; f = asFault(f.Err) {
		for k, v := range f.Details {
			add(k, v)
		}
		if _, placed := all["file"]; !placed && f.File != "" {
			add("file", f.File)
			if f.Line > 0 {
				add("line", f.Line)
			}
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

// correction is the hint of a refusal that brought none: documents that people
// write are corrected where the error stands.
func correction(f *fault.Error) string {
	switch base := filepath.Base(f.File); {
	case filepath.Ext(base) == ".toml", base == stages.ContainerFile, base == folder.IgnoreFile:
	default:
		return ""
	}
	if f.Line > 0 {
		return fmt.Sprintf("correct line %d of %s and run the command again", f.Line, f.File)
	}
	return fmt.Sprintf("correct %s and run the command again", f.File)
}

func (u *ui) printError(err error) {
	e := describe(err)
	fmt.Fprintf(u.stderr, "rebuild: error[%s]: %s\n", e.Code, oneLine(e.Message))
	u.printEvidence(e)
	if e.Hint != "" {
		fmt.Fprintf(u.stderr, "hint: %s\n", oneLine(e.Hint))
	}
}

// printEvidence prints the two signed documents that contradict each other, in
// full: whoever reads the report can check it (index.md 7).
func (u *ui) printEvidence(e *envelopeError) {
	if e.Code.Exit() != fault.Fork.Exit() {
		return
	}
	for _, which := range []string{"seen", "served", "statement"} {
		text, _ := e.Details[which].(string)
		if text == "" {
			continue
		}
		fmt.Fprintf(u.stderr, "rebuild: %s:\n", which)
		for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
			fmt.Fprintf(u.stderr, "rebuild: | %s\n", oneLine(line))
		}
	}
}

// oneLine keeps foreign text, such as a name from a document, from faking
// lines of ours or moving the cursor.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp): // escapes, text direction, line breaks
			return '?'
		}
		return r
	}, strings.TrimSpace(s))
}

func codeOf(err error) fault.Code {
	if errors.Is(err, context.Canceled) {
		return fault.Interrupted
	}
	return fault.CodeOf(err)
}

func exitStatus(err error) int {
	if err == nil {
		return 0
	}
	return codeOf(err).Exit()
}
