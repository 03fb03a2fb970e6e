package index

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"rebuild/attest"
	"rebuild/attest/attesttest"
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

// A journal that somebody planted can not make the next writer put anything
// where no publication would, or what the leaf does not fix; then nothing enters
// the log either.
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

// A journal that is in good form and that nobody with the log's key has staged
// is not entered: the next writer would log, with that key, what no policy was
// asked about. Here it is a policy update that no root key has signed, and a view
// without any package.
func TestPlantedJournalIsNotLogged(t *testing.T) {
	b := newBench(t)
	b.unsigned("tool", "1.0.0")
	honest := liartest.ReadFiles(t, b.dir)
	before, err := b.open().look(t.Context())
	b.must(err)
	size := before.tip.checkpoint.Size

	empty, err := encodeViewNodes(map[string]store.Digest{})
	b.must(err)
	plain := stagedLeaves(t, size, stagedData{string(empty), viewRoot})
	var j journal
	b.must(document.Decode(stagedFile, plain, document.Staged, &j))
	signedBy := func(key string, of journal, origin ...string) []byte {
		b.must(of.sign(attesttest.Key(key), append(origin, attesttest.Origin)[0]))
		of.Files, of.Leaves, of.Size = j.Files, j.Leaves, j.Size
		data, err := document.Encode(&of)
		b.must(err)
		return data
	}
	another := j
	another.Size++
	for name, data := range map[string][]byte{
		"unsigned":              plain,
		"another key":           signedBy("index", j),
		"signed for another":    signedBy("log", another),
		"of another log":        signedBy("log", j, "log.example/another"), // with the same key
		"signature cut":         bytes.Replace(signedBy("log", j), []byte(`=="`), []byte(`"`), 1),
		"signature of no bytes": bytes.Replace(plain, []byte(`,"size"`), []byte(`,"sig":"","size"`), 1),
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(b.dir, stagedFile)
			for what, write := range map[string]func() error{
				"add":  func() error { _, _, err := b.open().AddPackage(t.Context(), pkgOf(t, "tool", "2.0.0")); return err },
				"sign": func() error { return b.open().SignCheckpoint(t.Context()) },
				"repair": func() error {
					r, err := Fsck(t.Context(), b.dir, b.in, FsckOptions{Repair: true})
					if err == nil {
						err = r.Err()
					}
					return err
				},
			} {
				b.must(os.WriteFile(path, data, 0o644))
				err := write()
				if got := fault.CodeOf(err); got != fault.SignatureInvalid && (got != fault.Parse && got != fault.Structure || !strings.HasPrefix(name, "signature")) {
					t.Errorf("%s: %v", what, err)
				}
				_, err = Finish(t.Context(), b.dir) // which has no key
				if name == "unsigned" {
					b.must(err)
				}
				b.must(os.Remove(path))
				for file, data := range liartest.ReadFiles(t, b.dir) {
					if string(honest[file]) != string(data) {
						t.Fatalf("%s: %s is written", what, file)
					}
				}
			}
		})
	}
	b.must(os.WriteFile(filepath.Join(b.dir, stagedFile), signedBy("log", j), 0o644)) // it was in good form
	b.must(b.open().Recover(t.Context()))
	after, err := b.open().look(t.Context())
	b.must(err)
	if after.tip.checkpoint.Size != size+1 {
		t.Errorf("%d leaves", after.tip.checkpoint.Size)
	}
}

// Whoever exchanges the checkpoint while it is dated anew gets no signature on
// another one.
func TestOnlyTheHeadsCheckpointIsDated(t *testing.T) {
	for name, swap := range map[string]func(now, older []byte) []byte{
		"unsigned": func(now, _ []byte) []byte { return bytes.Replace(now, []byte("\n2\n"), []byte("\n9\n"), 1) },
		"older":    func(_, older []byte) []byte { return older },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			older := b.file(checkpointFile)
			b.unsigned("tool", "1.0.0")
			planted := swap(b.file(checkpointFile), older)
			in := b.in
			in.Log = func(ctx context.Context, dir string) (LogWriter, error) {
				l, err := b.in.Log(ctx, dir)
				return l, errors.Join(err, os.WriteFile(filepath.Join(dir, checkpointFile), planted, 0o644))
			}
			x, err := open(b.disk, b.dir, in)
			b.must(err)
			head := b.file(headFile)
			err = x.SignCheckpoint(t.Context())
			if got := fault.CodeOf(err); got != fault.SignatureInvalid && got != fault.ViewMismatch {
				t.Errorf("%v", err)
			}
			if !bytes.Equal(head, b.file(headFile)) || !bytes.Equal(planted, b.file(checkpointFile)) {
				t.Error("something is signed")
			}
		})
	}
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
		return errors.Join(ignoreAbsent(os.Remove(path)), syscall.Mkfifo(path, 0o644))
	}
	link := func(to string) func(string) error {
		return func(path string) error { return errors.Join(ignoreAbsent(os.RemoveAll(path)), os.Symlink(to, path)) }
	}
	folder := func(path string) error {
		return errors.Join(ignoreAbsent(os.Remove(path)), os.MkdirAll(path, 0o755))
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
