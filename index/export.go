package index

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"rebuild/internal/document"
)

// The flat views of an index, for who reads no sharded one (index.md 7). They
// are derived and say nothing that the index does not: entries.json lists all
// entries in the order of the log, so that the latest of a package is its last,
// and pubkeys.json who owns each. A list that is too long goes on in the file
// that next names.
const (
	entriesFile = "entries"
	pubkeysFile = "pubkeys"
)

type entriesPage struct {
	Entries       []*Entry `json:"entries"`
	Next          string   `json:"next,omitempty"`
	SchemaVersion string   `json:"schema_version"`
}

type pubkeysPage struct {
	Next          string              `json:"next,omitempty"`
	Owners        map[string][]string `json:"owners"` // public keys of the last release
	SchemaVersion string              `json:"schema_version"`
}

// ExportReport says what was written.
type ExportReport struct {
	Entries  int      `json:"entries"`
	Packages int      `json:"packages"` // that have owners
	Files    []string `json:"files"`
}

// Export writes entries.json and pubkeys.json, in pages of at most 16 MiB.
func (x *Index) Export(ctx context.Context) (*ExportReport, error) {
	return x.export(ctx, int(document.Registry.MaxBytes))
}

func (x *Index) export(ctx context.Context, limit int) (*ExportReport, error) {
	var r *ExportReport
	err := x.turn(ctx, nil, func(t *turn) error {
		flat, err := x.flatten(limit)
		if err != nil {
			return err
		}
		r = &flat.ExportReport
		// The first pages last: until then the old ones lead nowhere new.
		order := slices.Clone(r.Files)
		slices.Reverse(order)
		if err := x.replaceInOrder(order, flat.pages); err != nil {
			return err
		}
		return x.removeOldPages(flat.pages)
	})
	return r, err
}

// flat are the pages as they should be.
type flat struct {
	ExportReport
	pages map[string][]byte
}

// flatten makes the pages from the line files.
func (x *Index) flatten(limit int) (*flat, error) {
	all, err := packages(x.fsys)
	if err != nil {
		return nil, writeFault(err)
	}
	slices.Sort(all)
	var entries []*Entry
	owners := map[string][]string{}
	for _, name := range all {
		lines, err := x.readLines(name)
		if err != nil {
			return nil, err
		}
		entries = append(entries, lines.entries...)
		keys, err := lines.owners()
		if err != nil {
			return nil, err
		}
		for _, k := range keys {
			owners[name] = append(owners[name], k.String())
		}
	}
	slices.SortStableFunc(entries, func(a, b *Entry) int { return cmp.Compare(seqOf(a), seqOf(b)) })
	return paginate(entries, owners, limit)
}

// seqOf is where an entry stands in the log; one that is in none is before all.
func seqOf(e *Entry) int64 {
	if e.Seq == nil {
		return -1
	}
	return *e.Seq
}

func paginate(entries []*Entry, owners map[string][]string, limit int) (*flat, error) {
	f := &flat{ExportReport{Entries: len(entries), Packages: len(owners)}, map[string][]byte{}}
	const around = 256 // what stands around the items of a page
	var sizes []int
	for _, e := range entries {
		line, err := e.Encode()
		if err != nil {
			return nil, err
		}
		sizes = append(sizes, len(line)+1)
	}
	ends := pageEnds(sizes, limit-around)
	for i, end := range ends {
		page := entriesPage{Entries: entries[start(ends, i):end], Next: nextPage(entriesFile, ends, i), SchemaVersion: document.Registry.ID()}
		if err := f.add(pageName(entriesFile, i), page); err != nil {
			return nil, err
		}
	}
	names := slices.Sorted(maps.Keys(owners))
	sizes = nil
	for _, name := range names {
		item, err := document.Encode(map[string][]string{name: owners[name]})
		if err != nil {
			return nil, err
		}
		sizes = append(sizes, len(item)+1)
	}
	ends = pageEnds(sizes, limit-around)
	for i, end := range ends {
		page := pubkeysPage{Owners: map[string][]string{}, Next: nextPage(pubkeysFile, ends, i), SchemaVersion: document.Registry.ID()}
		for _, name := range names[start(ends, i):end] {
			page.Owners[name] = owners[name]
		}
		if err := f.add(pageName(pubkeysFile, i), page); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f *flat) add(name string, page any) error {
	data, err := document.Encode(page)
	f.pages[name] = data
	f.Files = append(f.Files, name)
	return err
}

// pageEnds returns where each page ends; there is always one.
func pageEnds(sizes []int, limit int) []int {
	var ends []int
	total := 0
	for i, n := range sizes {
		if total > 0 && total+n > limit {
			ends, total = append(ends, i), 0
		}
		total += n
	}
	return append(ends, len(sizes))
}

func start(ends []int, page int) int {
	if page == 0 {
		return 0
	}
	return ends[page-1]
}

// pageName is entries.json, then entries.2.json and so on.
func pageName(list string, page int) string {
	if page == 0 {
		return list + ".json"
	}
	return fmt.Sprintf("%s.%d.json", list, page+1)
}

func nextPage(list string, ends []int, page int) string {
	if page+1 == len(ends) {
		return ""
	}
	return pageName(list, page+1)
}

var pageFile = regexp.MustCompile(`^(entries|pubkeys)(\.[1-9][0-9]*)?\.json$`)

// removeOldPages removes the pages of a longer list.
func (x *Index) removeOldPages(pages map[string][]byte) error {
	held, err := exported(x.fsys)
	if err != nil {
		return writeFault(err)
	}
	for _, name := range held {
		if pages[name] != nil {
			continue
		}
		if err := x.disk.Remove(filepath.Join(x.dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return writeFault(err)
		}
	}
	return nil
}

// exported lists the pages that are there.
func exported(fsys fs.FS) ([]string, error) {
	held, err := fs.ReadDir(fsys, ".")
	var out []string
	for _, d := range held {
		if pageFile.MatchString(d.Name()) {
			out = append(out, d.Name())
		}
	}
	return out, err
}
