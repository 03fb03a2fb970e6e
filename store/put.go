package store

import "crypto/sha256"

// Layer is a tree in the store: the blob Digest is its canonical layer, of
// Size bytes, the blob Tree its text.
type Layer struct {
	Tree   Digest
	Digest Digest
	Size   int64
}

// PutDir stores the canonical layer and the tree text of the directory dir;
// see [ReadDir]. epoch is the mtime of every entry, 0 to MaxEpoch seconds.
func (s *Store) PutDir(dir string, epoch int64) (Layer, error) {
	return s.commitLayer(func(b *Batch) (Layer, error) { return b.PutDir(dir, epoch) })
}

// PutDir is [Store.PutDir] within a batch.
func (b *Batch) PutDir(dir string, epoch int64) (Layer, error) {
	if err := checkEpoch(epoch); err != nil {
		return Layer{}, err
	}
	w, err := newWalk(dir)
	if err != nil {
		return Layer{}, err
	}
	defer w.close()
	entries, openers, err := w.entries()
	if err != nil {
		return Layer{}, err
	}
	return b.putLayer(entries, openers, epoch, w.unchanged)
}

// commitLayer runs put in a batch of its own.
func (s *Store) commitLayer(put func(*Batch) (Layer, error)) (Layer, error) {
	b := s.Batch()
	defer b.Abort()
	l, err := put(b)
	if err != nil {
		return Layer{}, err
	}
	return l, b.Commit()
}

// putLayer adds the layer and the text of entries. last, if any, is a check
// after all content was read.
func (b *Batch) putLayer(entries []Entry, openers []opener, epoch int64, last func() error) (Layer, error) {
	f, err := b.create()
	if err != nil {
		return Layer{}, err
	}
	f.hash = nil // writeLayer hashes
	t, digest, size, err := writeLayer(f, entries, openers, epoch)
	if err == nil && last != nil {
		err = last()
	}
	if err != nil {
		f.out.Abort()
		return Layer{}, err
	}
	b.add(f, digest)
	tree, err := b.putTree(t)
	return Layer{Tree: tree, Digest: digest, Size: size}, err
}

// putTree adds the text of t, written straight to its file: it may be large.
func (b *Batch) putTree(t *Tree) (Digest, error) {
	f, err := b.create()
	if err != nil {
		return "", err
	}
	f.hash = sha256.New()
	if _, err := t.WriteTo(f); err != nil {
		f.out.Abort()
		return "", err
	}
	d := f.digest()
	b.add(f, d)
	return d, nil
}

// Tree reads the tree whose text is the blob d.
func (s *Store) Tree(d Digest) (*Tree, error) {
	text, err := s.Read(d, MaxTreeText)
	if err != nil {
		return nil, err
	}
	return ParseTree(text)
}

// ReadLayer returns the tree of the layer blob d, from the layer itself. The
// blob is verified before it is parsed.
func (s *Store) ReadLayer(d Digest) (*Tree, error) {
	if err := s.Verify(d); err != nil {
		return nil, err
	}
	r, err := s.Open(d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return ReadTar(r)
}
