package bootstrap

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"rebuild/store"
)

// Lineage is where every executable of a graph comes from. [Compute] makes it.
//
// An executable is a piece of machine code, by its digest, wherever it lies
// and whatever it is called. It has one origin: a seed; else the source, image
// or context that brought it; else a stage whose output holds it while no
// input of that stage does. What a stage could have run is all code in all of
// its inputs, used or not. A stage is traced if it was built here and all of
// that code is; an executable is traced if it is a seed, or a traced stage
// made it. So copying, renaming and packing change nothing, and a program that
// came in from outside spoils every stage that could have run it.
//
// Two decisions beyond that. If several stages made the same bytes, one traced
// stage suffices: the seed is then known to lead to exactly these bytes, and a
// second start that ends in them must not spoil the first. And code that
// appears in a stage that had none to run was made by nothing that is known:
// it is not traced.
type Lineage struct {
	graph   *Graph
	trees   map[string]*contents // by KIND/NAME
	origins map[store.Digest]*origin
	visible []map[store.Digest]bool // by stage: code it could have run
	outputs []map[store.Digest]File // by stage: code in its output, by the first path
	traced  []bool                  // by stage
	depths  []int                   // by stage
}

// origin is where an executable comes from.
type origin struct {
	kind   string // one of the Kind constants
	name   string
	stage  int // index, of KindStage
	file   File
	traced bool
}

func (o *origin) String() string { return o.kind + "/" + o.name }

// Compute reads the content of the graph from st and traces it. The error is
// that of the store for content that is missing or damaged, SEMANTIC for a
// graph that makes no sense, or LINEAGE_UNTRACED for a seed that is not what
// its text says; that something is not traced is no error, see
// [Report.Enforce].
func Compute(st *store.Store, g *Graph) (*Lineage, error) {
	if err := g.check(); err != nil {
		return nil, err
	}
	l := &Lineage{graph: g, trees: map[string]*contents{}, origins: map[store.Digest]*origin{}}
	if err := l.read(newReader(st)); err != nil {
		return nil, err
	}
	l.originate()
	l.trace()
	l.measure()
	return l, nil
}

// read judges everything that the graph names.
func (l *Lineage) read(r *reader) error {
	for _, s := range l.graph.Seeds {
		file := File{Path: s.Name, Digest: s.Digest, Size: int64(len(s.Bytes)), Class: Code, Format: KindSeed}
		l.trees[KindSeed+"/"+s.Name] = &contents{files: 1, bytes: file.Size, code: []File{file}}
	}
	for _, s := range l.graph.Sources {
		c, err := l.readSource(r, s)
		if err != nil {
			return fmt.Errorf("source %s: %w", s.Name, err)
		}
		l.trees[KindSource+"/"+s.Name] = c
	}
	for _, image := range l.graph.Images {
		all := &contents{}
		for i, layer := range image.Layers {
			c, err := r.file(layer, fmt.Sprintf("layer%d", i))
			if err != nil {
				return fmt.Errorf("image %s: %w", image.Name, err)
			}
			all.join(c)
		}
		l.trees[KindImage+"/"+image.Name] = all
	}
	for _, s := range l.graph.Stages {
		if err := l.readStage(r, s); err != nil {
			return fmt.Errorf("stage %s: %w", s.Name, err)
		}
	}
	return nil
}

func (l *Lineage) readSource(r *reader, s Source) (*contents, error) {
	if s.Layer == "" {
		return r.file(s.Digest, s.Name)
	}
	return r.layer(s.Layer)
}

func (l *Lineage) readStage(r *reader, s Stage) (err error) {
	if s.Context != "" {
		if l.trees[KindContext+"/"+s.Name], err = r.layer(s.Context); err != nil {
			return err
		}
	}
	l.trees[KindStage+"/"+s.Name], err = r.layer(s.Layer)
	return err
}

func (c *contents) join(o *contents) {
	c.files += o.files
	c.bytes += o.bytes
	c.code = append(c.code, o.code...)
	c.data = append(c.data, o.data...)
	c.pregenerated += o.pregenerated
	c.pregeneratedBytes += o.pregeneratedBytes
}

// inputs returns what a stage could see, by KIND/NAME.
func (l *Lineage) inputs(s *Stage) []string {
	in := slices.Clone(s.Inputs)
	if s.Context != "" {
		in = append(in, KindContext+"/"+s.Name)
	}
	return in
}

// originate gives every executable its first origin.
func (l *Lineage) originate() {
	claim := func(kind, name string, stage int) {
		for _, f := range l.trees[kind+"/"+name].code {
			if l.origins[f.Digest] == nil {
				l.origins[f.Digest] = &origin{kind: kind, name: name, stage: stage, file: f, traced: kind == KindSeed}
			}
		}
	}
	for _, s := range l.graph.Seeds {
		claim(KindSeed, s.Name, -1)
	}
	for _, s := range l.graph.Sources {
		claim(KindSource, s.Name, -1)
	}
	for _, s := range l.graph.Images {
		claim(KindImage, s.Name, -1)
	}
	for _, s := range l.graph.Stages {
		if s.Context != "" {
			claim(KindContext, s.Name, -1)
		}
	}
	for i := range l.graph.Stages {
		s := &l.graph.Stages[i]
		claim(KindStage, s.Name, i)
		visible, output := map[store.Digest]bool{}, map[store.Digest]File{}
		for _, in := range l.inputs(s) {
			for _, f := range l.trees[in].code {
				visible[f.Digest] = true
			}
		}
		for _, f := range l.trees[KindStage+"/"+s.Name].code {
			if _, ok := output[f.Digest]; !ok {
				output[f.Digest] = f
			}
		}
		l.visible, l.outputs = append(l.visible, visible), append(l.outputs, output)
	}
}

// trace finds the least set of traced stages: each is let in only by
// executables that are traced without it, so nothing vouches for itself.
func (l *Lineage) trace() {
	l.traced = make([]bool, len(l.graph.Stages))
	l.depths = make([]int, len(l.graph.Stages))
	for changed := true; changed; {
		changed = false
		for i := range l.graph.Stages {
			if !l.traced[i] && l.explained(i) {
				l.traced[i], changed = true, true
				l.depths[i] = l.depth(i)
				l.made(i)
			}
		}
	}
}

// explained says whether a stage was built here by traced executables. One
// without any can only pass on what it got.
func (l *Lineage) explained(stage int) bool {
	if l.graph.Stages[stage].Origin == OriginSubstituted || len(l.visible[stage]) == 0 && len(l.outputs[stage]) > 0 {
		return false
	}
	for d := range l.visible[stage] {
		if !l.origins[d].traced {
			return false
		}
	}
	return true
}

// made marks what a traced stage made. Its depth is known, so an executable
// that was given to a stage of another start moves here.
func (l *Lineage) made(stage int) {
	for d, f := range l.outputs[stage] {
		if o := l.origins[d]; o.kind == KindStage && !o.traced {
			l.origins[d] = &origin{kind: KindStage, name: l.graph.Stages[stage].Name, stage: stage, file: f, traced: true}
		}
	}
}

// depth is one more than the depth of what the stage could have run. A traced
// origin had its depth before, any other is an earlier stage.
func (l *Lineage) depth(stage int) int {
	deepest := 0
	for d := range l.visible[stage] {
		if o := l.origins[d]; o.kind == KindStage {
			deepest = max(deepest, l.depths[o.stage])
		}
	}
	return deepest + 1
}

// measure gives the stages that are not traced their depth.
func (l *Lineage) measure() {
	for i := range l.graph.Stages {
		if !l.traced[i] {
			l.depths[i] = l.depth(i)
		}
	}
}

// opaque returns the bytes that came in from outside and that nobody can read:
// data and machine code of sources, images, contexts and substituted stages,
// equal files once, the seeds not counted.
func (l *Lineage) opaque() int64 {
	counted := map[store.Digest]bool{}
	for _, s := range l.graph.Seeds {
		counted[s.Digest] = true
	}
	var n int64
	for name, c := range l.trees {
		if !l.outside(name) {
			continue
		}
		for _, f := range slices.Concat(c.code, c.data) {
			if o := l.origins[f.Digest]; !f.Enclosed && !counted[f.Digest] && (o == nil || !o.traced) {
				counted[f.Digest] = true
				n += f.Size
			}
		}
	}
	return n
}

func (l *Lineage) outside(name string) bool {
	kind, rest, _ := strings.Cut(name, "/")
	if kind != KindStage {
		return kind != KindSeed
	}
	i := l.stage(rest)
	return l.graph.Stages[i].Origin == OriginSubstituted
}

func (l *Lineage) stage(name string) int {
	return slices.IndexFunc(l.graph.Stages, func(s Stage) bool { return s.Name == name })
}

// executables lists all, ordered by where they first appear.
func (l *Lineage) executables() []*origin {
	var out []*origin
	for _, o := range l.origins {
		out = append(out, o)
	}
	kinds := []string{KindSeed, KindSource, KindImage, KindContext, KindStage}
	slices.SortFunc(out, func(a, b *origin) int {
		return cmp.Or(
			cmp.Compare(slices.Index(kinds, a.kind), slices.Index(kinds, b.kind)),
			cmp.Compare(a.stage, b.stage), cmp.Compare(a.name, b.name),
			cmp.Compare(a.file.Path, b.file.Path), cmp.Compare(a.file.Digest, b.file.Digest),
		)
	})
	return out
}
