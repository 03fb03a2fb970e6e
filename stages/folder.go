package stages

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// folder is a stage folder: where it is, and what it is called in messages.
type folder struct {
	fsys fs.FS
	dir  string // in fsys, "." for its root
	name string // as the user wrote it
}

func (f folder) display(rel string) string { return path.Join(f.name, rel) }

// lstat describes a file of the folder and refuses a symbolic link on the way
// to it: by one, a recipe would read files of the host it happens to be on.
func (f folder) lstat(rel string) (fs.FileInfo, error) {
	at := ""
	var info fs.FileInfo
	for part := range strings.SplitSeq(path.Clean(rel), "/") {
		at = path.Join(at, part)
		var err error
		if info, err = fs.Lstat(f.fsys, path.Join(f.dir, at)); err != nil {
			return nil, cause(err)
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			return nil, fmt.Errorf("%s is a symbolic link", f.display(at))
		}
	}
	return info, nil
}

// readRegular reads a regular file of at most limit bytes.
func (f folder) readRegular(rel string, limit int64) ([]byte, error) {
	info, err := f.lstat(rel)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	file, err := f.fsys.Open(path.Join(f.dir, rel))
	if err != nil {
		return nil, cause(err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, cause(err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("larger than %d bytes", limit)
	}
	return data, nil
}

// cause strips the operation and path that package fs adds; messages name the
// path as the user knows it.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// cleanRelative says whether p is a slash path that stays below its start and
// has one spelling.
func cleanRelative(p string) bool {
	return p != "" && p == path.Clean(p) && !path.IsAbs(p) && p != ".." && !strings.HasPrefix(p, "../") && !strings.ContainsRune(p, 0)
}

// cleanAbsolute says whether p is an absolute slash path with one spelling.
func cleanAbsolute(p string) bool {
	return path.IsAbs(p) && p == path.Clean(p) && !strings.ContainsRune(p, 0)
}
