// Package durabletest has the disk that fails, for tests of whatever writes
// through [durable.FS].
package durabletest

import (
	"errors"
	"io/fs"
	"sync"

	"rebuild/internal/durable"
)

// ErrGone is what a Disk fails with.
var ErrGone = errors.New("the disk is gone")

// Disk is the disk of the machine until a call to it fails. Calls that change
// something count: to make, write, sync and rename a file, to sync a folder.
type Disk struct {
	durable.OS
	// Left is which call fails. 1 is the next one; from 0 on the disk has failed.
	Left int
	// After has the call take effect and fail then.
	After bool
	// Once has the disk stumble: later calls are as ever. Without it every later
	// call fails too, and nothing is cleaned up, as after a crash.
	Once bool
	// Quick waits for no disk, where a crash ends no process and what was written
	// stays.
	Quick bool
	// Step says of which files the removal counts; nil is of none.
	Step func(path string) bool

	mu sync.Mutex // a batch syncs its files side by side
}

// Do is a call: op, unless it is the one that fails or the disk is gone.
func (d *Disk) Do(op func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.Left--
	if d.Left > 0 || d.Left < 0 && d.Once {
		return op()
	}
	if d.Left == 0 && d.After {
		if err := op(); err != nil {
			return err
		}
	}
	return ErrGone
}

// CreateTemp implements [durable.FS].
func (d *Disk) CreateTemp(dir, prefix string, perm fs.FileMode) (durable.File, error) {
	var f durable.File
	if err := d.Do(func() (err error) { f, err = d.OS.CreateTemp(dir, prefix, perm); return err }); err != nil {
		return nil, err
	}
	return &file{f, d}, nil
}

// Rename implements [durable.FS].
func (d *Disk) Rename(from, to string) error {
	return d.Do(func() error { return d.OS.Rename(from, to) })
}

// SyncDir implements [durable.FS].
func (d *Disk) SyncDir(dir string) error {
	return d.Do(func() error {
		if d.Quick {
			return nil
		}
		return d.OS.SyncDir(dir)
	})
}

// Remove implements [durable.FS]. What is no step of its own only cleans up.
func (d *Disk) Remove(path string) error {
	if d.Step != nil && d.Step(path) {
		return d.Do(func() error { return d.OS.Remove(path) })
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.Left <= 0 && !d.Once {
		return ErrGone // a killed process cleans nothing up
	}
	return d.OS.Remove(path)
}

// file is a file on a Disk. What of a write is cut off by a crash is its second
// half.
type file struct {
	durable.File
	disk *Disk
}

func (f *file) Write(p []byte) (n int, err error) {
	if err := f.disk.Do(func() (err error) { n, err = f.File.Write(p[:len(p)/2]); return err }); err != nil {
		return n, err
	}
	m, err := f.File.Write(p[n:])
	return n + m, err
}

func (f *file) Sync() error {
	return f.disk.Do(func() error {
		if f.disk.Quick {
			return nil
		}
		return f.File.Sync()
	})
}
