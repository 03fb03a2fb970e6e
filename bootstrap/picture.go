package bootstrap

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"strings"
	"unicode/utf8"
)

// The measures of a picture, in pixels.
const (
	glyphWidth = 8 // of a monospaced letter of 13 pixels, rounded up
	lineHeight = 18
	boxPadding = 10
	boxHeight  = 3*lineHeight + 2*boxPadding
	columnGap  = 70
	rowGap     = 16
	margin     = 24
	legend     = 3*lineHeight + margin // above the boxes
)

// box is a thing of the graph in the picture.
type box struct {
	lines  []string
	tip    string // shown by a browser for who points at it
	fill   string
	column int
	x, y   int
	width  int
}

// The colours of a picture: what is trusted because it can be read, what
// follows from it, and what does not.
const (
	fillSeed     = "#cfe8cf"
	fillText     = "#eeeeee"
	fillTraced   = "#ffffff"
	fillUntraced = "#f6c6c6"
)

// picture lays out the boxes of a lineage: from left to right by how many stages
// are between a thing and the seeds, from top to bottom as the plan has them.
type picture struct {
	l     *Lineage
	boxes map[string]*box // by KIND/NAME
	order []string
}

// Picture writes the lineage as an image in SVG 1.1 that needs nothing else: a
// box for each seed, source, image and stage with its bytes and depth, and a
// line from each input to the stage that takes it. The same lineage gives the
// same bytes.
func (l *Lineage) Picture(w io.Writer) error {
	p := &picture{l: l, boxes: map[string]*box{}}
	p.stages()
	p.inputs()
	width, height := p.place()
	var out bytes.Buffer
	r := l.Report()
	title := fmt.Sprintf("%s: from a seed of %d bytes", r.Pipeline, r.SeedBytes)
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="monospace" font-size="13">`+"\n", width, height, width, height)
	fmt.Fprintf(&out, "<title>%s</title>\n", html.EscapeString(title))
	fmt.Fprintf(&out, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", width, height)
	for i, text := range []string{
		title,
		fmt.Sprintf("opaque %d bytes, executables traced %d/%d, depth %d", r.OpaqueBytes, r.Executables.Traced, r.Executables.Total, r.Depth),
		"green: seed; grey: text; white: built from these alone; red: nobody knows from what",
	} {
		writeText(&out, margin, margin+(i+1)*lineHeight-5, text, i == 0)
	}
	p.writeLines(&out)
	for _, name := range p.order {
		p.boxes[name].write(&out)
	}
	out.WriteString("</svg>\n")
	_, err := w.Write(out.Bytes())
	return err
}

// stages adds the stages, each in the column of its depth.
func (p *picture) stages() {
	for i := range p.l.graph.Stages {
		s := &p.l.graph.Stages[i]
		r := p.l.describeStage(i)
		var made int64
		for d, f := range p.l.outputs[i] {
			if !p.l.visible[i][d] {
				made += f.Size
			}
		}
		b := &box{
			lines: []string{s.Name, fmt.Sprintf("made %d executables, %d bytes", r.Made, made), fmt.Sprintf("depth %d", r.Depth)},
			tip:   fmt.Sprintf("tree %s, %s, could run %d executables", s.Tree, s.Origin, r.Visible), fill: fillTraced, column: r.Depth,
		}
		if s.Context != "" {
			own := p.l.describe(KindContext, s.Name)
			b.lines[2] += fmt.Sprintf(", own text %d bytes", own.Bytes)
		}
		if !r.Traced {
			b.fill = fillUntraced
		}
		p.add(KindStage+"/"+s.Name, b)
	}
}

// inputs adds what came in from outside, each left of the first that takes it.
func (p *picture) inputs() {
	g := p.l.graph
	for _, s := range g.Seeds {
		p.add(KindSeed+"/"+s.Name, &box{lines: []string{s.Name, fmt.Sprintf("seed, %d bytes", len(s.Bytes))}, tip: string(s.Digest), fill: fillSeed})
	}
	for _, s := range g.Sources {
		in := p.l.describe(KindSource, s.Name)
		p.add(KindSource+"/"+s.Name, &box{
			lines: []string{s.Name, fmt.Sprintf("source, %d files, %d bytes", in.Files, in.Bytes), "opaque " + fmt.Sprint(in.CodeBytes+in.DataBytes) + " bytes"},
			tip:   in.String(), fill: fillOf(in),
		})
	}
	for _, s := range g.Images {
		in := p.l.describe(KindImage, s.Name)
		p.add(KindImage+"/"+s.Name, &box{
			lines: []string{s.Name, fmt.Sprintf("image, %d executables", in.Code), "opaque " + fmt.Sprint(in.CodeBytes+in.DataBytes) + " bytes"},
			tip:   in.String(), fill: fillOf(in),
		})
	}
	for _, s := range g.Stages {
		taken := p.boxes[KindStage+"/"+s.Name].column
		for _, in := range s.Inputs {
			if b := p.boxes[in]; !strings.HasPrefix(in, KindStage+"/") && (b.column < 0 || taken-1 < b.column) {
				b.column = max(taken-1, 0)
			}
		}
	}
}

func fillOf(in ReportInput) string {
	if in.Code+in.Data > 0 {
		return fillUntraced
	}
	return fillText
}

func (p *picture) add(name string, b *box) {
	if !strings.HasPrefix(name, KindStage+"/") {
		b.column = -1 // nobody takes it yet
	}
	for i, line := range b.lines {
		b.lines[i] = shorten(line)
		b.width = max(b.width, utf8.RuneCountInString(b.lines[i])*glyphWidth+2*boxPadding)
	}
	p.boxes[name] = b
	p.order = append(p.order, name)
}

// shorten keeps a line within a box of sensible width.
func shorten(line string) string {
	const most = 48
	if r := []rune(line); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return line
}

// place gives each box its place, and returns the size of the picture.
func (p *picture) place() (width, height int) {
	columns := 0
	for _, b := range p.boxes {
		b.column = max(b.column, 0)
		columns = max(columns, b.column+1)
	}
	widths, heights := make([]int, columns), make([]int, columns)
	for _, b := range p.boxes {
		widths[b.column] = max(widths[b.column], b.width)
	}
	left := make([]int, columns)
	width = margin
	for i, w := range widths {
		left[i] = width
		width += w + columnGap
	}
	for _, name := range p.order {
		b := p.boxes[name]
		b.x, b.y, b.width = left[b.column], legend+margin+heights[b.column], widths[b.column]
		heights[b.column] += boxHeight + rowGap
		height = max(height, b.y+boxHeight+margin)
	}
	titles := margin*2 + 84*glyphWidth // the longest line of the legend
	return max(width-columnGap+margin, titles), max(height, legend+margin)
}

// writeLines draws the inputs of each stage, beneath the boxes.
func (p *picture) writeLines(out *bytes.Buffer) {
	for _, s := range p.l.graph.Stages {
		to := p.boxes[KindStage+"/"+s.Name]
		for _, in := range s.Inputs {
			from := p.boxes[in]
			x1, y1, x2, y2 := from.x+from.width, from.y+boxHeight/2, to.x, to.y+boxHeight/2
			bend := max(columnGap/2, (x2-x1)/2)
			fmt.Fprintf(out, `<path d="M%d %d C%d %d %d %d %d %d" fill="none" stroke="#777777"/>`+"\n", x1, y1, x1+bend, y1, x2-bend, y2, x2, y2)
		}
	}
}

func (b *box) write(out *bytes.Buffer) {
	fmt.Fprintf(out, `<g><title>%s</title><rect x="%d" y="%d" width="%d" height="%d" rx="4" fill="%s" stroke="#333333"/>`+"\n",
		html.EscapeString(b.tip), b.x, b.y, b.width, boxHeight, b.fill)
	for i, line := range b.lines {
		writeText(out, b.x+boxPadding, b.y+boxPadding+(i+1)*lineHeight-5, line, i == 0)
	}
	out.WriteString("</g>\n")
}

func writeText(out *bytes.Buffer, x, y int, text string, bold bool) {
	weight := ""
	if bold {
		weight = ` font-weight="bold"`
	}
	fmt.Fprintf(out, `<text x="%d" y="%d"%s>%s</text>`+"\n", x, y, weight, html.EscapeString(text))
}
