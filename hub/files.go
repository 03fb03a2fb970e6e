package hub

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"rebuild/index"
	"rebuild/internal/fault"
)

const (
	forever = "public, max-age=31536000, immutable"
	minute  = "public, max-age=60"
)

// Files serves the files of an index from its folder, and nothing else: a path
// that no index has is not looked for, so neither what lies beside it nor what
// a writer is about to write gets out.
//
// The ETag is the quoted sha256 of the file. It is remembered as long as the
// file is the same by device, inode, size and both times, and only if it had
// rested for a while when it was hashed: a change in the same tick of the clock
// would not show.
type Files struct {
	root      *os.Root
	wall      func() time.Time
	withdrawn string

	mu   sync.Mutex
	sums map[string]fileSum // by path
	gone *withdrawals
}

// FilesOptions is what a [Files] needs beside the folder.
type FilesOptions struct {
	// Wall is the time of the machine, by which files are dated.
	Wall func() time.Time
	// Withdrawn names a file with lines "410 PATH" or "451 PATH": what of the
	// index was taken away, or must not be given out, and with which status to
	// say so. It is read again when it changes. "" is none.
	Withdrawn string
}

// OpenFiles returns the server of the index in a folder. Close it in the end.
func OpenFiles(dir string, o FilesOptions) (*Files, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fault.New(fault.IndexFetch, "%w", err).WithHint("name the folder of an index")
	}
	if _, err := root.Stat("config.json"); err != nil {
		root.Close()
		return nil, fault.New(fault.IndexFetch, "%s is not an index: %w", dir, err).WithHint("make one with rebuild index init %s", dir)
	}
	f := &Files{root: root, wall: o.Wall, withdrawn: o.Withdrawn, sums: map[string]fileSum{}}
	if _, err := f.status("config.json"); err != nil { // a list that can not be read would give out what it names
		root.Close()
		return nil, err
	}
	return f, nil
}

// Close closes the folder.
func (f *Files) Close() error { return f.root.Close() }

// ServeHTTP serves the index below "/".
func (f *Files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := requestID(r)
	secure(w)
	if err := f.serve(w, r, strings.TrimPrefix(r.URL.EscapedPath(), "/")); err != nil {
		fail(w, r, "index serve", id, err, false)
	}
}

func secure(w http.ResponseWriter) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Referrer-Policy", "no-referrer")
}

// serve answers with one file, or says why not. Paths have no escapes: nothing
// in an index needs one.
func (f *Files) serve(w http.ResponseWriter, r *http.Request, path string) error {
	as, ok := index.ServedAs(path)
	if !ok {
		return noFile(path)
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return refuse(http.StatusMethodNotAllowed, fault.New(fault.Usage, "the files of an index can only be read"))
	}
	return f.send(w, r, path, as)
}

func (f *Files) send(w http.ResponseWriter, r *http.Request, path string, as index.Served) error {
	if err := f.withheld(path); err != nil {
		return err
	}
	file, sum, err := f.open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	head := w.Header()
	head.Set("ETag", sum.etag)
	head.Set("Cache-Control", minute)
	if as.Immutable {
		head.Set("Cache-Control", forever)
	}
	if matches(r.Header.Get("If-None-Match"), sum.etag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	head.Set("Content-Type", as.Type)
	head.Set("Content-Length", strconv.FormatInt(sum.size, 10))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = io.CopyN(w, file, sum.size) // a short body breaks the connection, and so is seen
	}
	return nil
}

func noFile(path string) error {
	if path == "" {
		path = "/"
	}
	return refuse(http.StatusNotFound, fault.New(fault.IndexNoMatch, "there is no %.200q here", path))
}

// matches says whether an If-None-Match names an ETag. It compares weakly, as
// caches on the way may have weakened it.
func matches(header, etag string) bool {
	for candidate := range strings.SplitSeq(header, ",") {
		candidate = strings.TrimSpace(candidate)
		if candidate == "*" || strings.TrimPrefix(candidate, "W/") == etag {
			return true
		}
	}
	return false
}

// fileSum is what a file was when it was hashed.
type fileSum struct {
	dev, inode      uint64
	size            int64
	mtime, ctime    syscall.Timespec
	etag            string
	settledWhenRead bool
}

// settles is how long after a change a file counts as settled: longer than a
// tick of any file system's clock.
const settles = 2 * time.Second

// maxSums is how many digests are remembered.
const maxSums = 100_000

// open opens a file and returns it with its digest.
func (f *Files) open(path string) (*os.File, fileSum, error) {
	file, err := f.root.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe would be waited for
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, fileSum{}, noFile(path)
	}
	if err != nil {
		return nil, fileSum{}, fault.New(fault.Internal, "%w", err)
	}
	sum, err := f.sum(path, file)
	if err != nil {
		file.Close()
		return nil, fileSum{}, err
	}
	return file, sum, nil
}

func (f *Files) sum(path string, file *os.File) (fileSum, error) {
	for range 3 { // a file is replaced and never changed in place, so once should do
		before, err := f.describe(path, file)
		if err != nil {
			return fileSum{}, err
		}
		f.mu.Lock()
		known := f.sums[path]
		f.mu.Unlock()
		if known.settledWhenRead && known.same(before) {
			return known, nil
		}
		if before.etag, err = hashOf(file, before.size); err != nil {
			return fileSum{}, err
		}
		after, err := f.describe(path, file)
		if err != nil {
			return fileSum{}, err
		}
		if before.same(after) {
			f.remember(path, before)
			return before, nil
		}
	}
	return fileSum{}, fault.New(fault.IndexFetch, "%s changes while it is read", path)
}

func (s fileSum) same(o fileSum) bool {
	return s.dev == o.dev && s.inode == o.inode && s.size == o.size && s.mtime == o.mtime && s.ctime == o.ctime
}

func (f *Files) describe(path string, file *os.File) (fileSum, error) {
	info, err := file.Stat()
	if err != nil {
		return fileSum{}, fault.New(fault.Internal, "%w", err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() {
		return fileSum{}, noFile(path)
	}
	changed := time.Unix(max(st.Mtim.Sec, st.Ctim.Sec)+1, 0)
	return fileSum{dev: uint64(st.Dev), inode: st.Ino, size: st.Size, mtime: st.Mtim, ctime: st.Ctim,
		settledWhenRead: f.wall().Sub(changed) > settles}, nil
}

func hashOf(file *os.File, size int64) (string, error) {
	h := sha256.New()
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return "", fault.New(fault.Internal, "%w", err)
	}
	n, err := io.Copy(h, io.LimitReader(file, size+1))
	if err == nil && n != size {
		err = errors.New("its size changes")
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return "", fault.New(fault.IndexFetch, "reading %s: %w", file.Name(), err)
	}
	return fmt.Sprintf(`"%x"`, h.Sum(nil)), nil
}

func (f *Files) remember(path string, s fileSum) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.sums) >= maxSums {
		clear(f.sums) // they are made again
	}
	f.sums[path] = s
}

// withdrawals is the file of what is not given out, as it was read.
type withdrawals struct {
	fileSum
	status map[string]int
}

const maxWithdrawn = 4 << 20

// withheld is the error for a path that was withdrawn.
func (f *Files) withheld(path string) error {
	status, err := f.status(path)
	switch {
	case err != nil: // what must not be given out is not known
		return fault.New(fault.Internal, "%w", err)
	case status == 0:
		return nil
	case status == http.StatusGone:
		return refuse(status, fault.New(fault.IndexNoMatch, "%s was taken out of the index", path))
	}
	return refuse(status, fault.New(fault.IndexNoMatch, "%s is withheld for legal reasons", path))
}

func (f *Files) status(path string) (int, error) {
	all, err := f.withheldNow()
	return all[path], err
}

// withheldNow returns the status of every path that was withdrawn.
func (f *Files) withheldNow() (map[string]int, error) {
	if f.withdrawn == "" {
		return nil, nil
	}
	file, err := os.OpenFile(f.withdrawn, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fault.New(fault.Usage, "reading what is withdrawn: %w", err).WithHint("check the path that --withdrawn names")
	}
	defer file.Close()
	now, err := f.describe(f.withdrawn, file)
	if err != nil {
		return nil, fault.New(fault.Usage, "%s is not a file", f.withdrawn).
			WithHint("name a file with --withdrawn")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone == nil || !f.gone.settledWhenRead || !f.gone.same(now) {
		status, err := readWithdrawn(file, f.withdrawn)
		if err != nil {
			return nil, err
		}
		f.gone = &withdrawals{now, status}
	}
	return f.gone.status, nil // replaced, never changed
}

func readWithdrawn(in io.Reader, file string) (map[string]int, error) {
	data, err := io.ReadAll(io.LimitReader(in, maxWithdrawn+1))
	if err != nil || len(data) > maxWithdrawn {
		return nil, fault.New(fault.Usage, "%s has more than %d bytes or can not be read", file, maxWithdrawn).
			WithHint("name a file with lines \"410 PATH\" and \"451 PATH\" with --withdrawn")
	}
	out := map[string]int{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		code, path, _ := strings.Cut(lines.Text(), " ")
		_, known := index.ServedAs(path)
		if status, _ := strconv.Atoi(code); known && (status == http.StatusGone || status == http.StatusUnavailableForLegalReasons) {
			out[path] = status
			continue
		}
		return nil, fault.New(fault.Usage, "this is not 410 or 451 and a path of an index: %.200q", lines.Text()).At(file, n).
			WithHint("write lines \"410 PATH\" and \"451 PATH\", with paths below the index")
	}
	if err := lines.Err(); err != nil { // what stands behind it would be given out
		return nil, fault.New(fault.Usage, "%w", err).At(file, 0)
	}
	return out, nil
}
