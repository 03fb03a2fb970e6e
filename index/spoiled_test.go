package index

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"rebuild/internal/fault"
)

// Each file of an index is spoiled in some ways, or taken away. Whatever a reader
// then refuses is found by who keeps the index, and what a reader takes is what
// was published.
func TestWhatReadersRefuseIsFound(t *testing.T) {
	w := newTold(t)
	sound := w.files()
	want, err := readIn(sound, Reading{Policy: w.in.Policy, Now: w.now}, "0.2.0")
	w.must(err)
	line, err := want.Encode()
	w.must(err)
	refused := 0
	for _, path := range slices.Sorted(maps.Keys(sound)) {
		data := sound[path]
		flip := func(at int) []byte {
			out := bytes.Clone(data)
			out[at] ^= 1
			return out
		}
		for how, spoiled := range map[string][]byte{
			"the first byte": flip(0), "a byte": flip(len(data) / 2), "the last byte": flip(len(data) - 1),
			"empty": {}, "cut": data[:len(data)-1], "longer": append(bytes.Clone(data), '\n'), "gone": nil,
		} {
			files := maps.Clone(sound)
			if files[path] = spoiled; spoiled == nil {
				delete(files, path)
			}
			for _, judged := range []bool{true, false} {
				in, writing := Reading{Now: w.now}, Writing{Now: w.in.Now}
				if judged {
					in.Policy, writing.Policy = w.in.Policy, w.in.Policy
				}
				e, err := readIn(files, in, "0.2.0")
				if err == nil {
					if got, err := e.Encode(); err != nil || !bytes.Equal(got, line) {
						t.Errorf("%s, %s: read as %s, %v", path, how, got, err)
					}
					continue
				}
				refused++
				if fault.CodeOf(err) == fault.Internal {
					t.Errorf("%s, %s: %v", path, how, err)
				}
				if report := checkedIn(files, writing); len(report.Findings) == 0 {
					t.Errorf("%s, %s: readers say %v, and nothing is found", path, how, err)
				}
			}
		}
	}
	if refused < 2*len(sound) {
		t.Errorf("of %d files only %d ways were refused", len(sound), refused)
	}
}
