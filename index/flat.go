package index

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"rebuild/internal/document"
	"rebuild/internal/fault"
)

// maxFlatPages bounds what is read of a list that goes on and on: a quarter of a
// gigabyte. Whoever has more has an index.
const maxFlatPages = 16

// flatSource is the source of an index of which somebody has the flat list and not the
// lines: entries.json, with statements and objects beside it. It advertises no
// keys and has no log, so that without a policy nothing in it counts, and by a
// policy that wants a log neither.
type flatSource struct {
	Source // of the folder
	lines  map[string][]byte
	names  []string // of packages, sorted
}

// Flat returns the source to read for somebody who has named entries.json: src
// itself, the folder of that file, if it is an index, else what the list and the
// pages that it leads to say. A list that is not there is on this machine one in
// which nothing was published, INDEX_NO_MATCH; on a server it is INDEX_FETCH.
func Flat(ctx context.Context, src Source) (Source, error) {
	if _, err := src.Get(ctx, configFile, document.IndexConfig.MaxBytes, false); !errors.Is(err, fs.ErrNotExist) {
		return src, err
	}
	f := &flatSource{Source: src, lines: map[string][]byte{}}
	found := map[string]bool{}
	for i := 0; ; i++ {
		page, err := f.page(ctx, i)
		if err != nil {
			return nil, err
		}
		for _, e := range page.Entries {
			if err := f.add(pageName(entriesFile, i), e); err != nil {
				return nil, err
			}
			found[e.Name] = true
		}
		if page.Next == "" {
			f.names = slices.Sorted(maps.Keys(found))
			return f, nil
		}
	}
}

// IsFlat says whether a source is only a list. What is to be copied must be more.
func IsFlat(src Source) bool {
	_, is := src.(*flatSource)
	return is
}

// page reads a page. The one after it can only have the one name, so that no
// list leads elsewhere or in a circle.
func (f *flatSource) page(ctx context.Context, i int) (*entriesPage, error) {
	name := pageName(entriesFile, i)
	if i == maxFlatPages {
		return nil, fault.New(fault.Semantic, "the list has more than %d pages", maxFlatPages).At(name, 0).WithHint("read the index that it was exported from")
	}
	data, err := f.Source.Get(ctx, name, document.Registry.MaxBytes, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, f.missing(name, i)
	}
	if err != nil {
		return nil, err
	}
	page := &entriesPage{}
	if err := document.Decode(name, data, document.Registry, page); err != nil {
		return nil, err
	}
	if page.Next != "" && page.Next != pageName(entriesFile, i+1) {
		return nil, fault.New(fault.Semantic, "the list goes on in %.80q, not in %s", page.Next, pageName(entriesFile, i+1)).At(name, 0)
	}
	return page, nil
}

func (f *flatSource) missing(name string, i int) error {
	if _, here := f.Source.(dirSource); here && i == 0 {
		return fault.New(fault.IndexNoMatch, "%s is not there, so nothing is in that registry", f).
			WithHint("check the path, or write the list of an index with: rebuild index export")
	}
	return fault.New(fault.IndexFetch, "%s has no %s", f.Source, name).WithHint("check the location, or write the list again with: rebuild index export")
}

// add takes an entry up as the line that it is in an index. It is read as strictly
// as any line when it is asked for.
func (f *flatSource) add(file string, e *Entry) error {
	path, err := linePath(e.Name)
	if err != nil {
		return fault.In(err, file)
	}
	line, err := document.Encode(e)
	if err != nil {
		return fault.In(err, file)
	}
	f.lines[path] = append(append(f.lines[path], line...), '\n')
	return nil
}

func (f *flatSource) String() string {
	if _, here := f.Source.(dirSource); here {
		return f.Source.String() + "/" + pageName(entriesFile, 0)
	}
	return f.Source.String() + pageName(entriesFile, 0)
}

// Get returns lines from the list, and content that is named by its digest from
// beside it. Nothing else there is part of a list.
func (f *flatSource) Get(ctx context.Context, path string, limit int64, fresh bool) ([]byte, error) {
	if lines, ok := f.lines[path]; ok {
		if int64(len(lines)) > limit {
			return nil, fault.New(fault.Parse, "more than %d bytes", limit).At(path, 0)
		}
		return lines, nil
	}
	switch {
	case path == configFile:
		return document.Encode(&Config{SchemaVersion: document.IndexConfig.ID(), Signing: &Signing{Kind: signatureKind, PublicKeys: []SigningKey{}}})
	case strings.HasPrefix(path, objectDir+"/"), strings.HasPrefix(path, statementDir+"/"):
		return f.Source.Get(ctx, path, limit, fresh)
	}
	return nil, fs.ErrNotExist
}
