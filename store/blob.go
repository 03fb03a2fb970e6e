package store

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"rebuild/internal/durable"
	"rebuild/internal/fault"
)

// Blob is a blob being read. It gives io.EOF only if all bytes were delivered
// and hash to the blob's digest; otherwise the last Read is an error. So
// content must not be acted upon before EOF. It is for one goroutine.
type Blob struct {
	file *os.File
	path string
	want Digest
	size int64
	n    int64
	hash hash.Hash
	err  error // sticky end: io.EOF or the reason
}

// Open returns a verifying reader of d. A blob that is not there is
// FILE_MISSING and wraps [fs.ErrNotExist].
func (s *Store) Open(d Digest) (*Blob, error) {
	if _, err := ParseDigest(string(d)); err != nil {
		return nil, err // d becomes a path
	}
	path := s.BlobPath(d)
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.FileMissing, "%s is not in the store: %w", d, fs.ErrNotExist).At(path, 0).
			With("digest", string(d)).WithHint("fetch it again, or build it again with rebuild run --fresh")
	}
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fault.New(fault.CksumMismatch, "not a regular file").At(path, 0)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &Blob{file: f, path: path, want: d, size: info.Size(), hash: sha256.New()}, nil
}

// Size returns the size of the file when it was opened, in bytes.
func (b *Blob) Size() int64 { return b.size }

// Read implements [io.Reader].
func (b *Blob) Read(p []byte) (int, error) {
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	n, err := b.file.Read(p)
	b.n += int64(n)
	b.hash.Write(p[:n])
	switch {
	case b.n > b.size:
		n, err = 0, mismatch(b.path, b.want, "more than the %d bytes it had when it was opened", b.size)
	case err == io.EOF:
		if got := DigestOfSum(b.hash.Sum(nil)); got != b.want {
			err = mismatch(b.path, b.want, "its content is %s", got).With("actual", string(got))
		}
	}
	b.err = err
	return n, err
}

// Close implements [io.Closer].
func (b *Blob) Close() error { return b.file.Close() }

func mismatch(path string, want Digest, format string, args ...any) *fault.Error {
	e := fault.New(fault.CksumMismatch, format, args...)
	return fault.New(fault.CksumMismatch, "expected %s, but %s", want, e.Message).At(path, 0).
		With("expected", string(want)).
		WithHint("remove the file and make it again; rebuild store fsck lists all that are damaged")
}

// BlobWriter is a blob being written. It is for one goroutine.
type BlobWriter struct {
	batch *Batch
	w     *blobFile
}

// Write implements [io.Writer].
func (w *BlobWriter) Write(p []byte) (int, error) { return w.w.Write(p) }

// Digest returns the digest of what was written so far.
func (w *BlobWriter) Digest() Digest { return w.w.digest() }

// Commit makes the blob durable and returns its digest and size in bytes. If
// want is not "" and another digest was written, nothing is stored and the
// error is CKSUM_MISMATCH.
func (w *BlobWriter) Commit(want Digest) (Digest, int64, error) {
	defer w.batch.Abort()
	got := w.Digest()
	if want != "" && got != want {
		w.w.out.Abort()
		return "", 0, fault.New(fault.CksumMismatch, "expected %s, but the %d bytes received are %s", want, w.w.size, got).
			With("expected", string(want)).With("actual", string(got))
	}
	w.batch.add(w.w, got)
	return got, w.w.size, w.batch.Commit()
}

// Abort drops what was written. After Commit it does nothing.
func (w *BlobWriter) Abort() {
	w.w.out.Abort()
	w.batch.Abort()
}

// blobFile is a temporary file in the store that is hashed as it grows. A nil
// hash means that the writer of the content hashes it.
type blobFile struct {
	out  *durable.Writer
	hash hash.Hash
	size int64
}

func (f *blobFile) Write(p []byte) (int, error) {
	n, err := f.out.Write(p)
	if f.hash != nil {
		f.hash.Write(p[:n])
	}
	f.size += int64(n)
	return n, err
}

func (f *blobFile) digest() Digest { return DigestOfSum(f.hash.Sum(nil)) }

func setNow(path string) error {
	now := []unix.Timespec{{Nsec: unix.UTIME_NOW}, {Nsec: unix.UTIME_NOW}}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, now, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "utimensat", Path: path, Err: err}
	}
	return nil
}
