package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"rebuild/attest"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// The record that an audit keeps of one command, whether it ended well or not:
// the envelope that --json prints, with the time and the program in its result.

// packageReport is what build, publish and their likes say of a package.
type packageReport struct {
	Time     string               `json:"time,omitempty"`    // in the record alone
	Rebuild  string               `json:"rebuild,omitempty"` // likewise
	Folder   string               `json:"folder,omitempty"`  // "" of a release that goes through a hub
	Name     string               `json:"name,omitempty"`
	Version  string               `json:"version,omitempty"`
	License  string               `json:"license,omitempty"`
	State    string               `json:"state,omitempty"`
	Checks   []string             `json:"checks,omitempty"` // that held
	Package  store.Digest         `json:"package,omitempty"`
	Manifest store.Digest         `json:"manifest,omitempty"`
	Hash     store.Digest         `json:"hash,omitempty"`
	Cksum    string               `json:"cksum,omitempty"`
	Files    []attest.FileEntry   `json:"files,omitempty"`
	Failures []attest.FileFailure `json:"failures,omitempty"`
	Warnings []string             `json:"warnings,omitempty"`
}

func (r *packageReport) describe(d *attest.PackageDocument) {
	if d != nil {
		r.Name, r.Version, r.License = d.Name, d.Version, d.License
	}
}

// printFailures prints the texts of all failures as they are, line by line.
func (r *packageReport) printFailures(out io.Writer) {
	for _, f := range r.Failures {
		for line := range strings.SplitSeq(f.Text, "\n") {
			fmt.Fprintln(out, oneLine(line))
		}
	}
}

// recordable is a result of which a record can be kept.
type recordable interface {
	result
	base() *packageReport
}

func summaryFlag(c *cobra.Command, to *string) {
	c.Flags().StringVar(to, "summary-file", "", "file to write a record for audits to, on failure too")
}

// recorded writes the record of a command that ends with err, and returns err.
// The record must not lie in the folder that it is about, which it would change.
func (a *app) recorded(file, dir string, r recordable, err error) error {
	if file == "" {
		return err
	}
	if dir != "" && inside(dir, file) {
		return firstOf(err, fault.New(fault.Usage, "--summary-file: %s is in %s, which it would change", file, dir).WithHint("name a file outside of the folder"))
	}
	if isFolder(file) {
		return firstOf(err, fault.New(fault.Usage, "--summary-file: %s is a folder", file).WithHint("name a file in it"))
	}
	b := r.base()
	b.Time, b.Rebuild = a.now().UTC().Format("2006-01-02T15:04:05Z"), version
	data, failed := document.Encode(newEnvelope(a.command, r, err))
	b.Time, b.Rebuild = "", ""
	if failed == nil {
		failed = writeFile("--summary-file", file, append(data, '\n'))
	}
	if failed != nil && err != nil {
		a.note("no record was written: %s", oneLine(failed.Error()))
	}
	return firstOf(err, failed)
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// newEnvelope is the answer of a command that ended with err.
func newEnvelope(command string, r result, err error) envelope {
	e := envelope{SchemaVersion: document.CLI.ID(), Command: command, OK: err == nil, ExitCode: exitStatus(err)}
	if err != nil {
		e.Error = describe(err)
	}
	if r != nil {
		e.Result = r
	}
	return e
}
