package bootstrap

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

func drawn(t testing.TB, l *Lineage) string {
	t.Helper()
	var out bytes.Buffer
	if err := l.Picture(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// elements reads a picture as XML and counts its elements; text is what they say.
func elements(t testing.TB, svg string) (count map[string]int, text string) {
	t.Helper()
	count = map[string]int{}
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return count, text
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, svg)
		}
		switch token := token.(type) {
		case xml.StartElement:
			count[token.Name.Local]++
			for _, a := range token.Attr {
				if a.Name.Local == "fill" && a.Value == fillUntraced {
					count["untraced"]++
				}
			}
		case xml.CharData:
			text += string(token)
		}
	}
}

// Every seed, source, image and stage has a box, every input a line; what is
// untraced or opaque is red, and nothing else.
func TestPictureShowsTheChain(t *testing.T) {
	w := chain(t).source("text", hello)
	w.stage("three", "stage/two source/text stage/one", exe("bin/a", "a"))
	svg := drawn(t, w.compute())
	count, text := elements(t, svg)
	if count["rect"] != 1+5 || count["path"] != 5 || count["untraced"] != 0 {
		t.Errorf("%v", count)
	}
	for _, want := range []string{"from a seed of 12 bytes", "opaque 0 bytes, executables traced 5/5, depth 3", "s0seed, 12 bytes", "source, 1 files", "depth 3"} {
		if !strings.Contains(strings.ReplaceAll(text, "\n", ""), want) {
			t.Errorf("%q is not in %q", want, text)
		}
	}
	if again := drawn(t, w.compute()); again != svg {
		t.Error("the same lineage was drawn in another way")
	}
	if strings.Count(svg, "http") != 1 { // the name space
		t.Error("the picture needs something from elsewhere")
	}
	w.source("bad", exe("cc", "evil")).image("base", []byte("\x00\x01opaque"))
	w.stage("four", "stage/three source/bad image/base", exe("bin/b", "b"))
	if count, _ := elements(t, drawn(t, w.compute())); count["untraced"] != 3 {
		t.Errorf("%d things are red, not the source, the image and the stage", count["untraced"])
	}
}

// Names are text, whatever is in them.
func TestPictureOfHostileNames(t *testing.T) {
	const name = `<script>&"'` + "\u202e"
	w := newWorld(t).seed(name, seedCode).source(strings.Repeat("long", 100), hello)
	w.stage("one", KindSeed+"/"+name, exe("a", "a"))
	w.last().Inputs = []string{KindSeed + "/" + name, KindSource + "/" + strings.Repeat("long", 100)}
	count, text := elements(t, drawn(t, w.compute()))
	if count["script"] != 0 || !strings.Contains(text, name) {
		t.Errorf("%v %q", count, text)
	}
}

func TestPictureOfNothing(t *testing.T) {
	if count, _ := elements(t, drawn(t, newWorld(t).compute())); count["rect"] != 1 {
		t.Errorf("%v", count)
	}
}
