package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"

	"rebuild/internal/durable"
	"rebuild/internal/fault"
)

// Files that people name or hand over. Reading is bounded, and only regular
// files are read: a pipe under the name of a document would make a verifier
// wait for ever. A failure of the file system says which flag led to it.

// readInput reads what an argument names, "-" for stdin: at most limit bytes.
func (a *app) readInput(path string, limit int64) ([]byte, error) {
	if path == "-" {
		return readAll(a.stdin, path, limit, 0)
	}
	return readBounded(path, limit)
}

// readBounded reads a regular file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	return readRegular(f, err, path, limit)
}

// readBoundedIn is readBounded below root, whose links lead nowhere else. shown
// is how errors name the file.
func readBoundedIn(root *os.Root, path, shown string, limit int64) ([]byte, error) {
	f, err := root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	return readRegular(f, err, shown, limit)
}

// readRegular reads and closes a file that was opened, or not, without waiting.
func readRegular(f *os.File, err error, shown string, limit int64) ([]byte, error) {
	in, err := largeRegular(f, err, shown, limit)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return readAll(in, shown, limit, in.size)
}

func notRegular(shown string) error {
	return fault.New(fault.Usage, "%s is not a regular file", shown).
		WithHint("name a file, or give - and the content on stdin")
}

func tooLarge(shown string, limit int64) error {
	return fault.New(fault.Parse, "more than %d bytes", limit).At(shown, 0).
		WithHint("name another file: what is wanted is never so large")
}

// readAll reads at most limit bytes, into a buffer that size of them fit into
// without a copy.
func readAll(r io.Reader, shown string, limit, size int64) ([]byte, error) {
	data := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead))
	if _, err := data.ReadFrom(io.LimitReader(r, limit+1)); err != nil {
		return nil, unread(shown, err)
	}
	if int64(data.Len()) > limit {
		return nil, tooLarge(shown, limit)
	}
	return data.Bytes(), nil
}

// largeInput is read where it lies, at any place of it, so that nobody has to
// hold all of it.
type largeInput struct {
	*os.File
	size int64
}

// openLarge opens what an argument names, "-" for stdin, if it has at most
// limit bytes. Stdin is copied to a nameless file first.
func (a *app) openLarge(path string, limit int64) (*largeInput, error) {
	if path == "-" {
		return spool(a.stdin, limit)
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	return largeRegular(f, err, path, limit)
}

// largeRegular is a file that was opened, or not, without waiting. It is
// closed unless it is returned.
func largeRegular(f *os.File, err error, shown string, limit int64) (*largeInput, error) {
	if err != nil {
		return nil, unread(shown, err)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
		err = unread(shown, err)
	case !info.Mode().IsRegular():
		err = notRegular(shown)
	case info.Size() > limit:
		err = tooLarge(shown, limit)
	default:
		return &largeInput{f, info.Size()}, nil
	}
	f.Close()
	return nil, err
}

// unread says why a file that was named can not be read, and what to do.
func unread(shown string, err error) error {
	e := fault.New(fault.Usage, "%s: %w", shown, cause(err))
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return e.WithHint("check the path, and the folder that the command runs in")
	case errors.Is(err, fs.ErrPermission):
		return e.WithHint("run the command as a user who may read it")
	}
	return e.WithHint("name a file that can be read")
}

func spool(from io.Reader, limit int64) (*largeInput, error) {
	f, err := os.CreateTemp("", "rebuild-stdin-")
	if err != nil {
		return nil, unwritable("TMPDIR", err)
	}
	os.Remove(f.Name()) // the open file stays until it is closed
	n, err := io.Copy(f, io.LimitReader(from, limit+1))
	if err == nil && n > limit {
		err = tooLarge("-", limit)
	}
	if err != nil {
		f.Close()
		return nil, unwritable("TMPDIR", err)
	}
	return &largeInput{f, n}, nil
}

// sparingly makes the garbage collector run more often until what it returns
// is called: as long as nobody who is trusted has signed what is read, memory
// counts for more than time.
func sparingly() (end func()) {
	before := debug.SetGCPercent(40)
	return func() { debug.SetGCPercent(before) }
}

// generously makes the garbage collector run more rarely until what it returns
// is called: of many packages each is small and soon done with, and what lives
// at one time is little.
func generously() (end func()) {
	before := debug.SetGCPercent(400)
	return func() { debug.SetGCPercent(before) }
}

// openFolder opens a directory that everything is then resolved in. Anything
// else is code, and is not waited for.
func openFolder(dir string, code fault.Code) (*os.Root, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, unopened(dir, code, err)
	}
	if !info.IsDir() {
		return nil, unopened(dir, code, syscall.ENOTDIR)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, unopened(dir, code, err)
	}
	return root, nil
}

func unopened(dir string, code fault.Code, err error) error {
	return fault.New(code, "%s: %w", dir, cause(err)).WithHint("name a folder that can be read")
}

// cause is an error of the file system without the path that it names itself.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// unwritable says of a failure to write that the place which a flag named is to
// blame. A full or failing disk is not the command line's fault.
func unwritable(flag string, err error) error {
	var coded *fault.Error
	switch {
	case err == nil || errors.Is(err, context.Canceled) || errors.As(err, &coded) && (coded.Code != fault.Internal || !denied(err)):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EIO):
		return fault.New(fault.Internal, "%s: %w", flag, err)
	}
	return fault.New(fault.Usage, "%s: %w", flag, settled(err)).WithHint("name a place that can be written to")
}

// denied says that who runs the command may not write there, or could not as
// what is there is no folder. Nothing is broken then.
func denied(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.ENOTDIR)
}

// settled names what was to be written instead of the file that becomes it.
func settled(err error) error {
	var link *os.LinkError
	if errors.As(err, &link) {
		return &fs.PathError{Op: "write", Path: link.New, Err: link.Err}
	}
	var p *fs.PathError
	if errors.As(err, &p) && strings.HasPrefix(filepath.Base(p.Path), durable.TempPrefix) {
		return &fs.PathError{Op: p.Op, Path: filepath.Dir(p.Path), Err: p.Err}
	}
	return err
}

// writeOutput writes a result file that must not be there yet, or stdout.
func writeOutput(a *app, path string, data []byte) error {
	if path == "-" {
		if a.json {
			return fault.New(fault.Usage, "--json and --output - both write to stdout").WithHint("give --output FILE")
		}
		_, err := a.stdout.Write(data)
		return err
	}
	if _, err := os.Lstat(path); err == nil {
		return thereAlready(path)
	}
	return writeWhole("--output", path, data)
}

func thereAlready(path string) error {
	return fault.New(fault.Usage, "%s is there already", path).WithHint("remove it, or write to another file")
}

// output is a file to write.
type output struct {
	path string
	data []byte
}

// missing says whether a published file has to be written. One that is there
// with other bytes is ALREADY_PUBLISHED.
func (o output) missing() (bool, error) {
	held, err := readBounded(o.path, int64(len(o.data)))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return true, nil
	case err == nil && bytes.Equal(held, o.data):
		return false, nil
	case err == nil || fault.CodeOf(err) == fault.Parse:
		return false, fault.New(fault.AlreadyPublished, "%s is there already, with other content", o.path).
			WithHint("publish under another version, or name another folder with --out")
	}
	return false, err
}

// writeFile writes a file durably, and the folders it is in, where it removes
// what killed writers left half written. flag led to it.
func writeFile(flag, path string, data []byte) error {
	if err := durable.MkdirAll(durable.OS{}, filepath.Dir(path)); err != nil {
		return unwritable(flag, err)
	}
	return writeWhole(flag, path, data)
}

// writeWhole is writeFile in a folder that is there.
func writeWhole(flag, path string, data []byte) error {
	if err := durable.Sweep(durable.OS{}, filepath.Dir(path)); err != nil && !errors.Is(err, fs.ErrPermission) {
		return unwritable(flag, err)
	}
	return unwritable(flag, durable.WriteFile(durable.OS{}, path, data))
}

// copyFile copies a program to a new file.
func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
