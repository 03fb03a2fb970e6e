package index

import (
	"strconv"
	"strings"

	"rebuild/internal/fault"
	"rebuild/store"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// viewTree is a view in memory. Only nodes above what changed are made again.
type viewTree struct {
	leaves map[string]map[string]store.Digest // view/<4 hex>, by that
	twos   map[string]map[string]store.Digest // view/<2 hex>
	top    map[string]store.Digest
	dirty  map[string]bool // of leaves
}

func newViewTree() *viewTree {
	return &viewTree{map[string]map[string]store.Digest{}, map[string]map[string]store.Digest{}, map[string]store.Digest{}, map[string]bool{}}
}

func (t *viewTree) set(file string, d store.Digest) {
	_, four := viewPath(file)
	if t.leaves[four] == nil {
		t.leaves[four] = map[string]store.Digest{}
	}
	t.leaves[four][file] = d
	t.dirty[four] = true
}

// root returns the digest of view/root.
func (t *viewTree) root() store.Digest {
	twos := map[string]bool{}
	for four := range t.dirty {
		two := four[:2]
		if t.twos[two] == nil {
			t.twos[two] = map[string]store.Digest{}
		}
		t.twos[two][four] = digestOfNode(encodeViewFiles, t.leaves[four])
		twos[two] = true
	}
	for two := range twos {
		t.top[two] = digestOfNode(encodeViewNodes, t.twos[two])
	}
	clear(t.dirty)
	return digestOfNode(encodeViewNodes, t.top)
}

func digestOfNode(encode func(map[string]store.Digest) ([]byte, error), node map[string]store.Digest) store.Digest {
	data, err := encode(node)
	if err != nil {
		return ""
	}
	return store.DigestOf(data)
}

// nodes returns the files of the view.
func (t *viewTree) nodes() (map[string][]byte, error) {
	t.root()
	out := map[string][]byte{}
	var err error
	if out[viewRoot], err = encodeViewNodes(t.top); err != nil {
		return nil, err
	}
	for two, node := range t.twos {
		if out[viewDir+two], err = encodeViewNodes(node); err != nil {
			return nil, err
		}
	}
	for four, node := range t.leaves {
		if out[viewDir+four], err = encodeViewFiles(node); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// checkView computes the view of the lines that are there, and compares it with
// the head and with its files, which are derived as long as the head agrees.
func (c *checker) checkView(all []string) {
	tree := newViewTree()
	data, err := c.x.read(configFile, 1<<20)
	if err != nil {
		c.fail(configFile, err)
		return
	}
	tree.set(configFile, store.DigestOf(data))
	for _, name := range all {
		lines, err := c.x.readLines(name)
		if ignoreDamage(err) != nil { // no head is wrong because of that
			c.fail(lines.path, err)
			return
		}
		if err == nil {
			tree.set(lines.path, store.DigestOf(lines.raw))
		}
	}
	agreed := c.tip != nil && tree.root() == c.tip.View
	if c.tip != nil && !agreed {
		c.find(fault.ViewMismatch, headFile, "it has the view %s, the files come to %s", c.tip.View, tree.root())
	}
	want, err := tree.nodes()
	if err != nil {
		c.fail(viewRoot, err)
		return
	}
	for file, data := range want {
		held, err := c.x.read(file, int64(len(data))+1<<20)
		if err == nil && string(held) == string(data) {
			continue
		}
		if agreed {
			c.rewrites[file] = data
			c.find(fault.ViewMismatch, file, "it is damaged or missing")
		}
	}
	c.eachFile(strings.TrimSuffix(viewDir, "/"), func(file, name string) {
		if want[file] == nil {
			c.find(fault.FileExtra, file, "no file of the index is under it")
		}
	})
}

// nameOfLine returns the package whose line file is at a path.
func nameOfLine(file string) (string, bool) {
	parts := strings.Split(file, "/")
	name := parts[len(parts)-1]
	if scope, scoped := strings.CutPrefix(parts[0], "~"); scoped {
		name = scope + "/" + name
	}
	want, err := linePath(name)
	return name, err == nil && want == file
}
