package index

import (
	"bytes"
	"context"
	"testing"
	"time"

	"rebuild/attest/attesttest"
	"rebuild/index/liartest"
	"rebuild/internal/document"
	"rebuild/store"
)

// What is read as a state is written again in the same bytes.
func FuzzState(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := decodeState("state.json", data)
		if err != nil {
			return
		}
		out, err := doc.encode()
		if err != nil || !bytes.Equal(out, data) {
			t.Errorf("%s written as %s, %v", data, out, err)
		}
		merged := doc.over(&stateDoc{}, doc)
		if again, err := merged.encode(); err != nil || !bytes.Equal(again, data) {
			t.Errorf("merged with itself: %s, %v", again, err)
		}
	})
}

// A node of the view is read as one of digests or as one of files, and written
// again in the same bytes.
func FuzzView(f *testing.F) {
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, kind := range []struct {
			read  func(string, []byte) (map[string]store.Digest, error)
			write func(map[string]store.Digest) ([]byte, error)
		}{{decodeViewNodes, encodeViewNodes}, {decodeViewFiles, encodeViewFiles}} {
			all, err := kind.read("view/root", data)
			if err != nil {
				continue
			}
			if out, err := kind.write(all); err != nil || !bytes.Equal(out, data) {
				t.Errorf("%s written as %s, %v", data, out, err)
			}
		}
	})
}

// Nothing but what the log's key signed is taken for its head.
func FuzzHead(f *testing.F) {
	config, err := document.Encode(Config{SchemaVersion: document.IndexConfig.ID(),
		Log: &Log{attesttest.Origin, attesttest.VerifierKey(attesttest.Origin, "log", 1)}})
	if err != nil {
		f.Fatal(err)
	}
	made := liartest.Forge(f, map[string][]byte{"config.json": config})
	made.Append(liartest.ConfigEvent(config))
	files := made.Seal(attesttest.Now)
	f.Add(files["head"])
	f.Fuzz(func(t *testing.T, head []byte) {
		given := map[string][]byte{}
		for path, data := range files {
			given[path] = data
		}
		given["head"] = head
		r, err := NewReader(context.Background(), &mapSource{files: given}, Reading{Now: attesttest.Now, Pause: noPause})
		if err != nil {
			return
		}
		leaf, _, _ := bytes.Cut(files["head"], []byte("\n"))
		if got := r.current(); !bytes.Equal(got.raw, leaf) || got.head.Size != 1 {
			t.Errorf("taken for a head: %q", head)
		}
	})
}

func noPause(context.Context, time.Duration) bool { return true }
