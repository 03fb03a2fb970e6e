package store

import (
	"crypto/sha256"
	"io"
	"runtime"
	"sync"
)

// digestFiles fills in the missing content digests of entries without writing
// a layer. Files are opened one after another and hashed by several
// goroutines, which have ended when it returns. Memory does not depend on the
// size of the files.
func digestFiles(entries []Entry, open []opener) error {
	files, largest := 0, int64(0)
	for i := range entries {
		if entries[i].Type == Regular && entries[i].Content == "" {
			files, largest = files+1, max(largest, entries[i].Size)
		}
	}
	h := &hashers{buffer: int(min(chunkSize-1, largest)) + 1, work: make(chan hashJob, 32), failed: make(chan struct{})}
	for range min(runtime.GOMAXPROCS(0), files) {
		h.wg.Go(h.run)
	}
	err := h.feed(entries, open)
	close(h.work)
	h.wg.Wait()
	if h.err != nil {
		return h.err
	}
	return err
}

type hashJob struct {
	e *Entry
	f io.ReadCloser
}

type hashers struct {
	buffer int // bytes for each of them
	work   chan hashJob
	wg     sync.WaitGroup
	once   sync.Once
	failed chan struct{} // closed by the first failure
	err    error         // the first failure, set before failed is closed
}

func (h *hashers) feed(entries []Entry, open []opener) error {
	for i := range entries {
		if entries[i].Type != Regular || entries[i].Content != "" {
			continue
		}
		f, err := open[i]()
		if err != nil {
			return err
		}
		select {
		case h.work <- hashJob{&entries[i], f}:
		case <-h.failed:
			f.Close()
			return nil
		}
	}
	return nil
}

func (h *hashers) run() {
	buf := make([]byte, h.buffer)
	for j := range h.work {
		if err := j.hash(buf); err != nil {
			h.once.Do(func() { h.err = err; close(h.failed) })
		}
		j.f.Close()
	}
}

func (j hashJob) hash(buf []byte) error {
	sum := sha256.New()
	n, err := io.CopyBuffer(onlyWriter{sum}, onlyReader{io.LimitReader(j.f, j.e.Size)}, buf)
	if err == nil && n < j.e.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return shortContent(j.e, n, err)
	}
	if err := expectEOF(j.f, j.e); err != nil {
		return err
	}
	j.e.Content = DigestOfSum(sum.Sum(nil))
	return nil
}

// onlyReader hides WriteTo, so that io.CopyBuffer uses its buffer.
type onlyReader struct{ io.Reader }
