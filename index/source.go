package index

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"

	"rebuild/internal/fault"
)

// Source is where the files of an index come from: a directory, or a server
// (see Remote). Nothing that it returns is trusted.
type Source interface {
	// Get returns the file at a slash-separated path below the index. One that
	// is not there is fs.ErrNotExist; one of more than limit bytes is PARSE, and
	// no more than limit bytes and one are read; everything else is INDEX_FETCH.
	// fresh asks for what the source has now, past every cache.
	Get(ctx context.Context, path string, limit int64, fresh bool) ([]byte, error)
	// String names the source in errors.
	String() string
}

// Dir is the source of an index in a file system, such as os.DirFS. where is
// how errors name it.
func Dir(fsys fs.FS, where string) Source {
	return dirSource{fsys, where, func(path string) (fs.File, error) {
		if err := regular(fs.Stat(fsys, path)); err != nil { // opening a pipe would wait for its other end
			return nil, err
		}
		return fsys.Open(path)
	}}
}

// Folder is the source of an index in a folder, out of which no link leads.
func Folder(root *os.Root, where string) Source {
	return dirSource{root.FS(), where, func(path string) (fs.File, error) {
		f, err := root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // which waits for nobody at a pipe
		if err != nil {
			return nil, err
		}
		if err := regular(f.Stat()); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return f, nil
	}}
}

// regular refuses what is no file. A folder fails when it is read.
func regular(info fs.FileInfo, err error) error {
	if err == nil && info.Mode().Type()&^fs.ModeDir != 0 {
		err = errors.New("not a regular file")
	}
	return err
}

type dirSource struct {
	fsys  fs.FS
	where string
	open  func(path string) (fs.File, error)
}

func (d dirSource) String() string { return d.where }

func (d dirSource) Get(_ context.Context, path string, limit int64, _ bool) ([]byte, error) {
	f, err := d.open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, fault.New(fault.IndexFetch, "reading %s of %s: %w", path, d.where, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fault.New(fault.IndexFetch, "reading %s of %s: %w", path, d.where, err)
	}
	if int64(len(data)) > limit {
		return nil, fault.New(fault.Parse, "more than %d bytes", limit).At(path, 0)
	}
	return data, nil
}
