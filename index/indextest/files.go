package indextest

import (
	"os"
	"path/filepath"
	"sync"
)

// files writes files on a goroutine of its own, not durably: an index for a
// test is made again.
type files struct {
	dir     string
	made    map[string]bool // directories
	pending chan pendingFile
	done    chan struct{}
	end     func() // closes pending, once

	mu  sync.Mutex
	err error // the first
}

type pendingFile struct {
	path string
	data []byte
}

func newFiles(dir string) *files {
	f := &files{dir: dir, made: map[string]bool{}, pending: make(chan pendingFile, 256), done: make(chan struct{})}
	f.end = sync.OnceFunc(func() { close(f.pending) })
	go func() {
		defer close(f.done)
		for p := range f.pending {
			if err := f.make(p); err != nil {
				f.mu.Lock()
				if f.err == nil {
					f.err = err
				}
				f.mu.Unlock()
			}
		}
	}()
	return f
}

// write takes a file, whose bytes the caller must not change any more. It
// returns what went wrong with those before.
func (f *files) write(path string, data []byte) error {
	f.pending <- pendingFile{path, data}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// wait waits until all are written, and ends the goroutine. Nothing may be
// written then.
func (f *files) wait() error {
	f.end()
	<-f.done
	return f.err
}

func (f *files) make(p pendingFile) error {
	full := filepath.Join(f.dir, p.path)
	if dir := filepath.Dir(full); !f.made[dir] {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		f.made[dir] = true
	}
	return os.WriteFile(full, p.data, 0o644)
}
