package index

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"rebuild/attest"
	"rebuild/index/liartest"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// stagedLeaves is a journal of one leaf, for a place in the log.
func stagedLeaves(t testing.TB, seq int64, files ...stagedData) []byte {
	t.Helper()
	view := store.DigestOf([]byte("view"))
	for _, f := range files {
		if f.Path == viewRoot {
			view = store.DigestOf([]byte(f.Data))
		}
	}
	leaf, err := attest.Event{
		SchemaVersion: document.Events.ID(), Chain: "policy:demo", Type: attest.EventPolicy,
		Object: store.DigestOf([]byte("p")), At: "2026-06-01T12:00:00Z", Seq: seq, View: view,
	}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if files == nil {
		files = []stagedData{}
	}
	data, err := document.Encode(journal{SchemaVersion: document.Staged.ID(), Files: files, Leaves: []string{string(leaf)}, Size: seq})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// A journal that somebody planted is finished by the next writer, with the log's
// key. It can not make that writer put anything where no publication would, or
// what the leaf does not fix; then nothing enters the log either.
func TestPlantedJournal(t *testing.T) {
	b := newBench(t)
	size := int64(1)
	honest := liartest.ReadFiles(t, b.dir)
	view := func(path string) stagedData { return stagedData{Path: path, Data: string(honest[path])} }
	two, four := viewPath(configFile)
	nodes := []stagedData{view(viewDir + two), view(viewDir + four), view(viewRoot)}
	for name, c := range map[string]struct {
		files []stagedData
		code  fault.Code
	}{
		"out of the index":    {[]stagedData{{"x", "../x"}, nodes[2]}, fault.Structure},
		"absolute":            {[]stagedData{{"x", "/tmp/x"}, nodes[2]}, fault.Structure},
		"head":                {append([]stagedData{{"x", headFile}}, nodes...), fault.Structure},
		"checkpoint":          {append([]stagedData{{"x", checkpointFile}}, nodes...), fault.Structure},
		"tile":                {append([]stagedData{{"x", "tile/0/000"}}, nodes...), fault.Structure},
		"object":              {append([]stagedData{{"x", objectPath(store.DigestOf([]byte("y")))}}, nodes...), fault.Structure},
		"state of the log":    {append([]stagedData{{"x", ".state/treeState"}}, nodes...), fault.Structure},
		"lock":                {append([]stagedData{{"x", lockFile}}, nodes...), fault.Structure},
		"upper case":          {append([]stagedData{{"x", "he/ll/HELLO"}}, nodes...), fault.Structure},
		"node of no name":     {append(nodes[:3:3], stagedData{nodes[0].Data, "view/zz"}), fault.Structure},
		"twice":               {append(nodes[:3:3], nodes[0]), fault.Structure},
		"config of no view":   {append([]stagedData{{"{}", configFile}}, nodes...), fault.ViewMismatch},
		"lines of no view":    {append([]stagedData{{"{}\n", helloLine}}, nodes...), fault.ViewMismatch},
		"node of no root":     {append(nodes[:3:3], stagedData{nodes[0].Data, "view/" + other(two)}), fault.ViewMismatch},
		"no root":             {nodes[:2], fault.ViewMismatch},
		"lines without nodes": {[]stagedData{{"{}\n", helloLine}, nodes[2]}, fault.ViewMismatch},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(b.dir, stagedFile)
			b.must(os.WriteFile(path, stagedLeaves(t, size, c.files...), 0o644))
			_, _, err := b.open().AddPackage(context.Background(), pkgOf(t, "tool", "1.0.0"))
			if got := fault.CodeOf(err); got != c.code {
				t.Fatalf("got %q (%v), want %q", got, err, c.code)
			}
			b.must(os.Remove(path))
			for file, data := range liartest.ReadFiles(t, b.dir) {
				if string(honest[file]) != string(data) {
					t.Errorf("%s is written", file)
				}
			}
		})
	}
	b.unsigned("tool", "1.0.0")
	b.fsckClean()
}

func other(two string) string {
	if two == "ff" {
		return "00"
	}
	return "ff"
}

// Neither a writer nor a repair follows a link out of an index that somebody
// else made.
func TestLinksOutOfAnIndex(t *testing.T) {
	for _, dir := range []string{"view", "chains", "objects", "objects/sha256", "statements", "to", "tile", "tile/0", ".state"} {
		t.Run(dir, func(t *testing.T) {
			b := full(t)
			outside := filepath.Join(t.TempDir(), "outside")
			inside := filepath.Join(b.dir, filepath.FromSlash(dir))
			if _, err := os.Stat(inside); errors.Is(err, fs.ErrNotExist) {
				b.must(os.Mkdir(outside, 0o755))
			} else {
				b.must(os.Rename(inside, outside))
			}
			b.must(os.Symlink(outside, inside))
			before, err := json.Marshal(liartest.ReadFiles(t, outside))
			b.must(err)
			_, _, err = b.open().AddPackage(context.Background(), pkgOf(t, "tool", "9.0.0"))
			if dir != "statements" && fault.CodeOf(err) != fault.Usage { // that writes none
				t.Errorf("%v", err)
			}
			_, _ = Fsck(context.Background(), b.dir, b.in, FsckOptions{Repair: true}) // whatever it says
			after, err := json.Marshal(liartest.ReadFiles(t, outside))
			b.must(err)
			if string(before) != string(after) {
				t.Error("something is written outside")
			}
		})
	}
}

// A folder that is made to hang, crash or mislead a check is told of, and a
// repair leaves everything outside of it alone.
func TestFsckOfAHostileFolder(t *testing.T) {
	sound := full(t)
	outside := filepath.Join(t.TempDir(), "outside")
	pipe := func(path string) error {
		return errors.Join(ignoreMissing(os.Remove(path)), syscall.Mkfifo(path, 0o644))
	}
	link := func(to string) func(string) error {
		return func(path string) error { return errors.Join(ignoreMissing(os.RemoveAll(path)), os.Symlink(to, path)) }
	}
	folder := func(path string) error {
		return errors.Join(ignoreMissing(os.Remove(path)), os.MkdirAll(path, 0o755))
	}
	object := objectPath(store.Digest("sha256:" + sound.entry("hello", "0.1.0").Cksum))
	for name, c := range map[string]struct {
		file string
		do   func(string) error
	}{
		"pipe for config": {configFile, pipe}, "pipe for head": {headFile, pipe}, "pipe for a node": {viewRoot, pipe},
		"pipe for lines": {helloLine, pipe}, "pipe for a chain": {helloChain, pipe}, "pipe for an object": {object, pipe},
		"pipe for a journal": {stagedFile, pipe}, "pipe left over": {".tmp-1", pipe},
		"folder for head": {headFile, folder}, "folder for lines": {helloLine, folder}, "folder for a journal": {stagedFile, folder},
		"loop": {"he/loop", link("..")}, "link to itself": {headFile, link("head")}, "lock elsewhere": {lockFile, link(outside)},
		"left over elsewhere": {".tmp-2", link(outside)}, "zeros without end": {viewRoot, link("/dev/zero")},
	} {
		t.Run(name, func(t *testing.T) {
			b := *sound
			b.t, b.dir = t, filepath.Join(t.TempDir(), "index")
			b.must(os.CopyFS(b.dir, os.DirFS(sound.dir)))
			b.must(c.do(filepath.Join(b.dir, filepath.FromSlash(c.file))))
			for _, repair := range []bool{false, true} {
				r, err := Fsck(t.Context(), b.dir, b.in, FsckOptions{Repair: repair})
				if !repair && (err != nil || r.Err() == nil) && name != "lock elsewhere" {
					t.Errorf("%v, found nothing", err)
				}
			}
			if _, err := os.Lstat(outside); err == nil {
				t.Error("something is made outside")
			}
		})
	}
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
