package main

import (
	"context"
	"fmt"

	"rebuild/attest"
	"rebuild/index"
	"rebuild/internal/fault"
	"rebuild/internal/names"
	"rebuild/surface"
)

// breaks says what a package breaks that the highest version before it in the
// index offered. Who publishes is told and not stopped: whether a break is meant
// is for pkg check-semver and whoever runs it to decide. That the two can't be
// compared is said too, for silence would read as "nothing breaks".
func (a *app) breaks(ctx context.Context, open openReader, pkg *attest.Package) []string {
	before, findings, err := findBreaks(ctx, open, pkg)
	if err != nil {
		return []string{fmt.Sprintf("what it breaks could not be checked: %v", err)}
	}
	var out []string
	for _, f := range findings {
		out = append(out, fmt.Sprintf("since %s: %s", before, f))
	}
	return out
}

// openReader opens the index that a package goes into.
type openReader func(ctx context.Context) (*index.Reader, error)

// readerOf reads an index that is about to be written.
func (a *app) readerOf(x *index.Index) openReader {
	return func(ctx context.Context) (*index.Reader, error) {
		return x.Reader(ctx, index.Reading{Now: a.now(), Offline: true})
	}
}

// noteBreaks says it of a release that goes into an index, if there is one yet.
func (a *app) noteBreaks(ctx context.Context, to *target, pkg *attest.Package) {
	if to == nil || to.x == nil {
		return
	}
	for _, b := range a.breaks(ctx, a.readerOf(to.x), pkg) {
		a.note("warning: %s", oneLine(b))
	}
}

func findBreaks(ctx context.Context, open openReader, pkg *attest.Package) (before string, breaks []surface.Finding, err error) {
	doc := pkg.Document()
	reader, err := open(ctx)
	if err != nil {
		return "", nil, err
	}
	lines, err := reader.Entries(ctx, doc.Name)
	if fault.CodeOf(err) == fault.IndexNoMatch {
		return "", nil, nil // the first of its name
	}
	if err != nil {
		return "", nil, err
	}
	e := newestOf(below(lines, doc.Version))
	if e == nil {
		return "", nil, nil
	}
	archive, err := reader.Archive(ctx, e)
	if err != nil {
		return "", nil, err
	}
	old, err := readArchive(e.Name+"@"+e.Version, archive, false)
	if err != nil {
		return "", nil, err
	}
	made, err := readArchive(doc.Name+"@"+doc.Version, pkg.Archive(), false)
	if err != nil {
		return "", nil, err
	}
	return e.Version, surface.Breaks(old.Exports, made.Exports), nil
}

// below returns the lines of lower versions. A fix for an old series is compared
// with that series, not with a later one.
func below(lines []*index.Entry, version string) []*index.Entry {
	var out []*index.Entry
	for _, e := range lines {
		if names.CompareVersions(e.Version, version) < 0 {
			out = append(out, e)
		}
	}
	return out
}
