package store

import (
	"fmt"
	"slices"
	"strings"
)

// Ways in which two trees differ at a path.
const (
	DiffAdded   = "added"   // only in the second tree
	DiffRemoved = "removed" // only in the first
	DiffType    = "type"    // nothing else is then said about the path
	DiffMode    = "mode"
	DiffOwner   = "owner"
	DiffContent = "content" // of a regular file; or the numbers of a device
	DiffTarget  = "target"  // of a symlink or hard link
	DiffXattr   = "xattr"
)

// Difference is one way in which two trees differ at one path. A and B are
// the two values, for people.
type Difference struct {
	Path string
	What string
	A, B string
}

// Diff returns all differences, sorted by path. It is empty exactly if the
// tree digests are equal.
func Diff(a, b *Tree) []Difference {
	var list []Difference
	i, j := 0, 0
	for i < len(a.entries) || j < len(b.entries) {
		switch {
		case j == len(b.entries) || i < len(a.entries) && a.entries[i].Path < b.entries[j].Path:
			list = append(list, Difference{Path: a.entries[i].Path, What: DiffRemoved, A: a.entries[i].line()})
			i++
		case i == len(a.entries) || a.entries[i].Path > b.entries[j].Path:
			list = append(list, Difference{Path: b.entries[j].Path, What: DiffAdded, B: b.entries[j].line()})
			j++
		default:
			list = append(list, diffEntry(&a.entries[i], &b.entries[j])...)
			i++
			j++
		}
	}
	return list
}

// line is the entry's line in the tree text, without its path.
func (e *Entry) line() string {
	first, _, _ := strings.Cut(string(appendEntry(nil, e)), "\n")
	return first[:strings.LastIndexByte(first, ' ')]
}

func diffEntry(a, b *Entry) (list []Difference) {
	add := func(what, x, y string) {
		if x != y {
			list = append(list, Difference{a.Path, what, x, y})
		}
	}
	if a.Type != b.Type {
		add(DiffType, string(rune(a.Type)), string(rune(b.Type)))
		return list
	}
	add(DiffMode, fmt.Sprintf("%04o", a.Mode), fmt.Sprintf("%04o", b.Mode))
	add(DiffOwner, fmt.Sprintf("%d:%d", a.UID, a.GID), fmt.Sprintf("%d:%d", b.UID, b.GID))
	add(DiffContent, a.content(), b.content())
	add(DiffTarget, a.Target, b.Target)
	return append(list, diffXattrs(a, b)...)
}

func (e *Entry) content() string {
	switch e.Type {
	case Regular:
		return fmt.Sprintf("%d bytes, %s", e.Size, e.Content)
	case Char, Block:
		return fmt.Sprintf("%d,%d", e.Major, e.Minor)
	}
	return ""
}

func diffXattrs(a, b *Entry) (list []Difference) {
	names := map[string][2]string{}
	for side, e := range []*Entry{a, b} {
		for _, x := range e.Xattrs {
			v := names[x.Name]
			v[side] = string(appendEscaped([]byte(x.Name+"="), x.Value))
			names[x.Name] = v
		}
	}
	for _, v := range names {
		if v[0] != v[1] {
			list = append(list, Difference{a.Path, DiffXattr, v[0], v[1]})
		}
	}
	slices.SortFunc(list, func(x, y Difference) int { return strings.Compare(x.A+"\x00"+x.B, y.A+"\x00"+y.B) })
	return list
}
