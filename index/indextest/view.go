package indextest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"

	"rebuild/internal/document"
	"rebuild/store"
)

// view is the tree of digests over the files of an index, kept as the bytes of
// its nodes, in which a digest is replaced where it stands: there is one for
// every leaf of the log, over up to a million files.
type view struct {
	root *node
	two  map[string]*node
	four map[string]*node
}

func newView() *view {
	return &view{root: newNode("nodes"), two: map[string]*node{}, four: map[string]*node{}}
}

// set sets the digest of a file.
func (v *view) set(file string, d store.Digest) {
	sum := sha256.Sum256([]byte(file))
	h := hex.EncodeToString(sum[:2])
	two, four := v.two[h[:2]], v.four[h]
	if two == nil {
		two = newNode("nodes")
		v.two[h[:2]] = two
	}
	if four == nil {
		four = newNode("files")
		v.four[h] = four
	}
	four.set(file, d)
	two.set(h, store.DigestOf(four.doc))
	v.root.set(h[:2], store.DigestOf(two.doc))
}

func (v *view) digest() store.Digest { return store.DigestOf(v.root.doc) }

func (v *view) write(write writeFile) error {
	for _, level := range []map[string]*node{{"root": v.root}, v.two, v.four} {
		for name, n := range level {
			if err := write("view/"+name, n.doc); err != nil {
				return err
			}
		}
	}
	return nil
}

// node is one document of the view.
type node struct {
	field string   // "nodes" or "files"
	names []string // sorted
	at    []int    // of their digests in doc
	doc   []byte
}

func newNode(field string) *node { return &node{field: field} }

func (n *node) set(name string, d store.Digest) {
	i, there := slices.BinarySearch(n.names, name)
	if there {
		copy(n.doc[n.at[i]:], d)
		return
	}
	digests := make([]store.Digest, len(n.names), len(n.names)+1)
	for k, at := range n.at {
		digests[k] = store.Digest(n.doc[at : at+len(d)])
	}
	n.names, digests = slices.Insert(n.names, i, name), slices.Insert(digests, i, d)
	n.encode(digests)
}

// encode writes the document anew, in canonical JSON: no name here needs an
// escape.
func (n *node) encode(digests []store.Digest) {
	n.at, n.doc = n.at[:0], fmt.Appendf(n.doc[:0], `{"%s":{`, n.field)
	for i, name := range n.names {
		if i > 0 {
			n.doc = append(n.doc, ',')
		}
		n.doc = fmt.Appendf(n.doc, `"%s":"`, name)
		n.at = append(n.at, len(n.doc))
		n.doc = append(append(n.doc, digests[i]...), '"')
	}
	n.doc = fmt.Appendf(n.doc, `},"schema_version":"%s"}`, document.View.ID())
}
