package store

import (
	"io"
	"slices"
	"strings"
)

// opener opens the content of a regular file. It is called once, and the
// calls of one tree come one after another, in the order of the paths.
type opener func() (io.ReadCloser, error)

// node is what a tree holds at a path, or at several if it is a regular file
// with hard links. Its entry has no Path yet.
type node struct {
	entry Entry
	open  opener
}

// builder collects names in any order and makes the tree of them.
type builder struct {
	names []named
}

type named struct {
	path string
	node *node
}

// add records that path names n. Hard links add the same node again. A root
// may be given; nothing of it counts, but it must be a directory without
// attributes.
func (b *builder) add(path string, n *node) error {
	if path == root.Path {
		return checkRoot(n)
	}
	if len(b.names) == MaxEntries {
		return refuse(path, "entries: too many", "at most %d are allowed", MaxEntries)
	}
	n.entry.normalize()
	probe := n.entry
	probe.Path = path
	if err := checkEntry(&probe); err != nil {
		return err
	}
	b.names = append(b.names, named{path, n})
	return nil
}

func checkRoot(n *node) error {
	if n.entry.Type != Dir {
		return refuse(root.Path, "path: root is no directory")
	}
	if len(sortXattrs(n.entry.Xattrs)) > 0 {
		return refuse(root.Path, "xattr: on the root")
	}
	return nil
}

// normalize drops what does not count.
func (e *Entry) normalize() {
	e.Mode &= 0o7777
	if e.Type == Symlink {
		e.Mode = 0o777
	}
	e.Xattrs = sortXattrs(e.Xattrs)
}

// finish returns the entries in tree order and, beside each, how to open its
// content. Digests may be missing still.
func (b *builder) finish() ([]Entry, []opener, error) {
	slices.SortFunc(b.names, func(x, y named) int { return strings.Compare(x.path, y.path) })
	entries := make([]Entry, len(b.names))
	openers := make([]opener, len(b.names))
	leaders := map[*node]string{}
	for i, n := range b.names {
		e := n.node.entry
		if leader, ok := leaders[n.node]; ok {
			e = Entry{Type: Link, Target: leader}
		} else if e.Type == Regular {
			leaders[n.node] = n.path
			openers[i] = n.node.open
		}
		e.Path = n.path
		entries[i] = e
	}
	return entries, openers, checkEntries(entries)
}

// remove takes path back out.
func (b *builder) remove(path string) {
	b.names = slices.DeleteFunc(b.names, func(n named) bool { return n.path == path })
}
