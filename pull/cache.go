package pull

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"rebuild/index"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
	"rebuild/internal/pack"
	"rebuild/store"
)

// Resumer is a source that can go on in the middle of a file.
type Resumer interface {
	// Open returns the file from offset on, or from its beginning: from says
	// which. Errors are those of [index.Source]; the caller bounds what it reads.
	Open(ctx context.Context, path string, offset int64) (body io.ReadCloser, from int64, err error)
}

// maxRemembered is how many bytes of small files a cache keeps in memory.
const maxRemembered = 64 << 20

// maxTries is how often a file that is cut again and again is continued.
const maxTries = 20

// Cache is a source that asks another for no file twice. What is fixed by its
// name, plans, statements, manifests, it remembers in memory for as long as it
// lives. Archives are kept in a folder until they are laid out: small ones in
// packs, larger ones by digest, with what was received of one that was cut.
// Every byte from there is hashed again.
//
// Its methods may be called from several goroutines.
type Cache struct {
	src   index.Source
	dir   string
	small *pack.Packs

	mu         sync.Mutex
	calls      map[string]*call // of files that are or were asked for
	remembered int64            // bytes in calls
	archives   map[string]bool  // paths of what goes to the folder
}

// call is a file that is being fetched, or was.
type call struct {
	done chan struct{}
	data []byte
	err  error
}

// NewCache puts a cache before a source. dir is made when it is needed.
func NewCache(src index.Source, dir string) *Cache {
	sweepParts(dir)
	return &Cache{src: src, dir: dir, small: pack.In(dir), calls: map[string]*call{}, archives: map[string]bool{}}
}

// String names the source.
func (c *Cache) String() string { return c.src.String() }

// Get implements [index.Source].
func (c *Cache) Get(ctx context.Context, path string, limit int64, fresh bool) ([]byte, error) {
	if !index.Immutable(path) || fresh {
		return c.src.Get(ctx, path, limit, fresh)
	}
	c.mu.Lock()
	if c.archives[path] {
		c.mu.Unlock()
		return c.archive(ctx, path, limit)
	}
	if known := c.calls[path]; known != nil {
		c.mu.Unlock()
		return known.wait(ctx, path, limit)
	}
	mine := &call{done: make(chan struct{})}
	c.calls[path] = mine
	c.mu.Unlock()
	mine.data, mine.err = c.src.Get(ctx, path, limit, false)
	c.settle(path, mine)
	return mine.data, mine.err
}

// settle ends a call. What failed, or does not fit, is asked for again the
// next time.
func (c *Cache) settle(path string, mine *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if size := int64(len(mine.data)); mine.err != nil || c.remembered+size > maxRemembered {
		delete(c.calls, path)
	} else {
		c.remembered += size
	}
	close(mine.done)
}

func (k *call) wait(ctx context.Context, path string, limit int64) ([]byte, error) {
	select {
	case <-k.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if k.err == nil && int64(len(k.data)) > limit {
		return nil, fault.New(fault.Parse, "more than %d bytes", limit).At(path, 0)
	}
	return k.data, k.err
}

// keep says that an object is an archive, to be kept in the folder.
func (c *Cache) keep(d store.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.archives[index.ObjectPath(d)] = true
}

// file returns where the archive with a digest is once it was read.
func (c *Cache) file(d store.Digest) string { return filepath.Join(c.dir, d.Hex()) }

// Put keeps an archive that was got elsewhere, so that it is asked for no more;
// other bytes than the digest's are passed over.
func (c *Cache) Put(d store.Digest, data []byte) error {
	if store.DigestOf(data) != d {
		return nil
	}
	if len(data) <= smallArchive {
		if err := c.small.Put(smallKey(d), data); err != nil {
			return fault.New(fault.Internal, "keeping archives: %w", err)
		}
		return nil
	}
	return keepFile(c.file(d), data)
}

// smallArchive is the most bytes of an archive that has no file of its own in
// the folder: fetching it again costs little more than asking for it.
const smallArchive = 256 << 10

func smallKey(d store.Digest) pack.Key { return sha256.Sum256([]byte(d)) }

// packed returns a small archive that was read, nil if it is none or damaged.
func (c *Cache) packed(d store.Digest) []byte {
	if data := c.small.Get(smallKey(d)); data != nil && store.DigestOf(data) == d {
		return data
	}
	return nil
}

// drop removes archives that are no longer needed. One that stays is only in the
// way of nobody.
func (c *Cache) drop(all []store.Digest) {
	var keys []pack.Key
	for _, d := range all {
		if key := smallKey(d); c.small.Has(key) {
			keys = append(keys, key)
		} else {
			os.Remove(c.file(d))
		}
	}
	_ = c.small.Clear(keys)
}

// archive returns an archive from the folder, or fetches it into it. A file
// there is a whole archive or the beginning of one: its hash tells. It is not
// synced, as after a power cut it is hashed again; what is laid out is synced.
func (c *Cache) archive(ctx context.Context, path string, limit int64) ([]byte, error) {
	d := index.PathDigest(path)
	if data := c.packed(d); data != nil {
		return data, nil
	}
	have, err := readFile(c.file(d), limit)
	if err == nil && store.DigestOf(have) == d {
		return have, nil
	}
	data, err := c.fetch(ctx, path, limit, have)
	if err != nil {
		return nil, err
	}
	if got := store.DigestOf(data); got != d {
		if len(have) > 0 || len(data) > smallArchive {
			os.Remove(c.file(d))
		}
		return nil, fault.New(fault.CksumMismatch, "object %s of the index has content %s", d, got)
	}
	if len(data) <= smallArchive && len(have) == 0 {
		_ = c.small.Put(smallKey(d), data) // what is not kept is fetched again
	}
	return data, nil
}

// fetch returns a file. It leaves a large one, and what was received of one that
// was cut, in the folder; have is what is there already.
func (c *Cache) fetch(ctx context.Context, path string, limit int64, have []byte) ([]byte, error) {
	file := c.file(index.PathDigest(path))
	if r, ok := c.src.(Resumer); ok {
		return resume(ctx, r, path, limit, have, file)
	}
	data, err := c.src.Get(ctx, path, limit, false)
	if err != nil || len(data) <= smallArchive {
		return data, err
	}
	return data, keepFile(file, data)
}

// keepFile replaces a file as a whole: what has its name once never changes, as
// another pull may have given it a second one in its output.
func keepFile(file string, data []byte) error {
	// What a client remembers has folders in common with it, and is to stay.
	if err := durable.MkdirAll(durable.OS{}, filepath.Dir(file)); err != nil {
		return fault.New(fault.Internal, "keeping archives: %w", err)
	}
	name := filepath.Join(filepath.Dir(file), partPrefix+rand.Text())
	out, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return fault.New(fault.Internal, "keeping archives: %w", err)
	}
	_, err = out.Write(data)
	if err = errors.Join(err, out.Close()); err == nil {
		err = os.Rename(name, file)
	}
	if err != nil {
		os.Remove(name)
		return fault.New(fault.Internal, "keeping archives: %w", err)
	}
	return nil
}

// partPrefix begins the names of files that are being written. Those of a killed
// pull are swept when they are a day old.
const (
	partPrefix = ".part-"
	partAge    = 24 * time.Hour
)

// sweepParts removes what killed pulls left.
func sweepParts(dir string) {
	old, _ := filepath.Glob(filepath.Join(dir, partPrefix+"*")) // the pattern is well formed
	for _, file := range old {
		if info, err := os.Lstat(file); err == nil && info.ModTime().Add(partAge).Before(newest(dir)) {
			os.Remove(file)
		}
	}
}

// newest is when the folder was last written to, which is the file system's own
// word for now.
func newest(dir string) time.Time {
	info, err := os.Stat(dir)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

// resume goes on where an earlier download was cut. A part that does not fit
// what follows is found out by the hash, and then everything is fetched again.
func resume(ctx context.Context, r Resumer, path string, limit int64, have []byte, file string) ([]byte, error) {
	began := len(have) > 0
	for try := 0; ; try++ {
		before := len(have)
		data, err := receive(ctx, r, path, limit, have)
		if len(data) > 0 && (err != nil || began || len(data) > smallArchive) {
			if err := keepFile(file, data); err != nil {
				return nil, err
			}
		}
		switch {
		case err == nil && began && store.DigestOf(data) != index.PathDigest(path):
			have, began = nil, false // the part was of something else
		case err == nil:
			return data, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case began && try == 0 && len(data) <= before:
			have, began = nil, false // perhaps there is no more than that
		case try == maxTries || len(data) <= before || !errors.Is(err, errCut):
			return nil, err
		default:
			have = data
		}
	}
}

// errCut marks a download that ended too soon.
var errCut = errors.New("cut")

// receive makes one request and returns all that is there then.
func receive(ctx context.Context, r Resumer, path string, limit int64, have []byte) ([]byte, error) {
	body, from, err := r.Open(ctx, path, int64(len(have)))
	if err != nil {
		return have, err
	}
	defer body.Close()
	if from < 0 || from > int64(len(have)) {
		return have, fault.New(fault.IndexFetch, "%s goes on at byte %d, asked for %d", path, from, len(have))
	}
	all := have[:from:from]
	more, err := io.ReadAll(io.LimitReader(body, limit+1-from))
	all = append(all, more...)
	if err != nil {
		return all, fault.New(fault.IndexFetch, "%s was %w after %d bytes: %v", path, errCut, len(all), err)
	}
	if int64(len(all)) > limit {
		return nil, fault.New(fault.Parse, "more than %d bytes", limit).At(path, 0)
	}
	return all, nil
}

// readFile reads a regular file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fs.ErrInvalid
	}
	return os.ReadFile(path)
}
