package index

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"rebuild/internal/document"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
	"rebuild/store"
)

// Beside what a release names, an index may keep the definitions of its plans:
// Containerfiles, contexts, seeds, sources. A plan names each by digest, so
// they are objects like all others, nothing signs them, and one that is missing
// can only keep somebody from building again. hints/PLAN.json says where
// sources can be downloaded; it is derived and believed in nothing.

// MaxObject is the largest object of an index in bytes.
const MaxObject = maxObject

const hintsDir = "hints/"

func hintsPath(plan store.Digest) string { return hintsDir + plan.Hex() + ".json" }

// hintsFile is hints/PLAN.json.
type hintsFile struct {
	SchemaVersion string                    `json:"schema_version"`
	Sources       map[store.Digest][]string `json:"sources,omitempty"` // URLs
}

// Definitions adds definitions to the index in a directory. It may be used by
// several processes at once.
type Definitions struct {
	dir   string
	disk  durable.FS
	batch *durable.Batch
	added int
}

// AddDefinitions starts adding. Every Definitions ends with Commit or Abort.
func AddDefinitions(dir string) *Definitions {
	disk := durable.OS{}
	return &Definitions{dir: dir, disk: disk, batch: durable.NewBatch(disk)}
}

// Object adds bytes under their digest, unless they are there. Other bytes than
// d names are CKSUM_MISMATCH.
func (x *Definitions) Object(d store.Digest, data []byte) error {
	if got := store.DigestOf(data); got != d {
		return fault.New(fault.CksumMismatch, "definition %s has content %s", d, got)
	}
	if int64(len(data)) > MaxObject {
		return fault.New(fault.Semantic, "definition %s has %d bytes, at most %d are allowed", d, len(data), int64(MaxObject))
	}
	there, err := Dir(os.DirFS(x.dir), x.dir).Get(context.Background(), objectPath(d), MaxObject, true)
	if err == nil && store.DigestOf(there) == d {
		return nil
	}
	return x.file(objectPath(d), data)
}

// Hints adds where the sources of a plan can be downloaded, in the place of
// what was said before. None removes nothing.
func (x *Definitions) Hints(plan store.Digest, sources map[store.Digest][]string) error {
	if len(sources) == 0 {
		return nil
	}
	data, err := document.Encode(hintsFile{document.Hints.ID(), sources})
	if err != nil {
		return err
	}
	return x.file(hintsPath(plan), data)
}

// maxPending bounds how many files are open at a time.
const maxPending = 100

func (x *Definitions) file(path string, data []byte) error {
	full := filepath.Join(x.dir, filepath.FromSlash(path))
	if err := durable.MkdirAll(x.disk, filepath.Dir(full)); err != nil {
		return writeFault(err)
	}
	w, err := durable.Create(x.disk, x.dir) // where a writer's turn sweeps
	if err != nil {
		return writeFault(err)
	}
	x.batch.Add(w, full)
	x.added++
	if _, err := w.Write(data); err != nil {
		return writeFault(err)
	}
	if x.batch.Len() < maxPending {
		return nil
	}
	return x.flush()
}

func (x *Definitions) flush() error {
	err := x.batch.Commit()
	x.batch = durable.NewBatch(x.disk)
	return writeFault(err)
}

// Commit makes everything durable and returns how many files were added. A
// crash before it leaves some of them, and adding again adds the others.
func (x *Definitions) Commit() (int, error) { return x.added, x.flush() }

// Abort drops what is not written yet. After Commit it does nothing.
func (x *Definitions) Abort() { x.batch.Abort() }

// Hints returns where the index says that the sources of a plan can be
// downloaded; nothing if it does not say, or says it in a way that can not be
// read.
func (r *Reader) Hints(ctx context.Context, plan store.Digest) (map[store.Digest][]string, error) {
	data, err := r.src.Get(ctx, hintsPath(plan), document.Hints.MaxBytes, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var h hintsFile
	if err := document.Decode(hintsPath(plan), data, document.Hints, &h); err != nil {
		r.notice("hints of the index can not be read: " + err.Error())
		return nil, nil
	}
	return h.Sources, nil
}
