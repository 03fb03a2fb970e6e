package store

import (
	"bytes"
	"crypto/sha256"
	"io"
	"os"

	"rebuild/internal/durable"
)

// Batch collects blobs that become durable and visible together, in the order
// in which they were put, at Commit. Reading them before that fails. Its Put
// methods are those of [Store]. It is for one goroutine.
//
//	b := s.Batch()
//	defer b.Abort()
//	layer, err := b.PutDir(dir, epoch)
//	manifest, err := b.PutImage(layer, platform, config)
//	err = b.Commit()
type Batch struct {
	s      *Store
	out    *durable.Batch
	names  map[Digest]bool // in this batch
	synced bool            // blobs/sha256 must be synced even if no file is new
}

// Batch starts a batch. End it with Commit or Abort.
func (s *Store) Batch() *Batch {
	b := &Batch{s: s, out: durable.NewBatch(s.fsys), names: map[Digest]bool{}}
	b.out.Around = func(renames func() error) error {
		// GC deletes under the exclusive lock, so it sees these blobs either
		// as missing or as new.
		unlock, err := durable.Lock(s.path(lockFile), false)
		if err != nil {
			return err
		}
		defer unlock()
		return renames()
	}
	return b
}

// create starts a file in the store's temporary folder; see add.
func (b *Batch) create() (*blobFile, error) {
	w, err := durable.Create(b.s.fsys, b.s.path(tempDir))
	if err != nil {
		return nil, err
	}
	return &blobFile{out: w, hash: sha256.New()}, nil
}

// add lets f become the blob d at Commit.
func (b *Batch) add(f *blobFile, d Digest) {
	if b.names[d] {
		f.out.Abort()
		return
	}
	b.names[d] = true
	b.out.Add(f.out, b.s.BlobPath(d))
}

// Put adds p, unless the store has it already, undamaged.
func (b *Batch) Put(p []byte) (Digest, error) {
	d := DigestOf(p)
	if b.names[d] {
		return d, nil
	}
	if b.same(d, p) {
		kept, err := b.s.keep(d)
		if err != nil || kept {
			// The process that wrote it may not have synced the name yet.
			b.synced = true
			return d, err
		}
	}
	f, err := b.create()
	if err != nil {
		return "", err
	}
	if _, err := f.Write(p); err != nil {
		f.out.Abort()
		return "", err
	}
	b.add(f, d)
	return d, nil
}

// same compares the stored blob with p, so that a damaged one gets replaced.
func (b *Batch) same(d Digest, p []byte) bool {
	f, err := os.Open(b.s.BlobPath(d))
	if err != nil {
		return false
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() != int64(len(p)) {
		return false
	}
	stored, err := io.ReadAll(f)
	return err == nil && bytes.Equal(stored, p)
}

// Commit returns when all blobs of the batch are on disk under their names.
func (b *Batch) Commit() error {
	if b.out.Len() == 0 && b.synced {
		return b.s.fsys.SyncDir(b.s.path(blobDir))
	}
	return b.out.Commit()
}

// Abort drops the batch. After Commit it does nothing.
func (b *Batch) Abort() { b.out.Abort() }
