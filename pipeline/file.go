package pipeline

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// errNotRegular refuses what a name of a file must not lead to.
var errNotRegular = errors.New("not a regular file")

// openRegular opens a file that has to be a regular one. Without O_NONBLOCK a
// named pipe would keep us waiting for somebody who writes to it.
func openRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: errNotRegular}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// readRegular reads a regular file, of more than limit bytes no more than one
// byte beyond it: who decodes it refuses it then.
func readRegular(path string, limit int64) ([]byte, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	// In one piece: what grows leaves several times its size behind.
	var b bytes.Buffer
	b.Grow(int(min(info.Size(), limit)) + bytes.MinRead + 1)
	_, err = b.ReadFrom(io.LimitReader(f, limit+1))
	return b.Bytes(), err
}
