package hub

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	_ "modernc.org/sqlite" // the driver

	"rebuild/internal/durable"
	"rebuild/internal/fault"
	"rebuild/store"
)

// schema is hub.db. Only uploads and statements hold what came from outside;
// the rest follows from the index, or tells who wrote what.
const schema = `
CREATE TABLE uploads (digest TEXT PRIMARY KEY, size INTEGER NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE receiving (id INTEGER PRIMARY KEY, size INTEGER NOT NULL);
CREATE TABLE statements (digest TEXT PRIMARY KEY, plan TEXT NOT NULL, body BLOB NOT NULL);
CREATE INDEX statements_plan ON statements (plan);
CREATE TABLE journal (id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, key TEXT NOT NULL, request TEXT NOT NULL, object TEXT NOT NULL, status INTEGER NOT NULL);

CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE files (name TEXT PRIMARY KEY, sum TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE entries (pos INTEGER PRIMARY KEY, name TEXT NOT NULL, version TEXT NOT NULL, release TEXT NOT NULL, line BLOB NOT NULL, UNIQUE (name, version));
CREATE INDEX entries_release ON entries (release);
CREATE TABLE builds (plan TEXT NOT NULL, release TEXT NOT NULL, PRIMARY KEY (plan, release)) WITHOUT ROWID;
CREATE TABLE owners (id TEXT PRIMARY KEY, key TEXT NOT NULL) WITHOUT ROWID;
PRAGMA user_version = 1;
`

const schemaVersion = 1

// database is hub.db. One connection writes, so that writers wait for each
// other in here, as long as their context lets them, and never find it locked.
type database struct {
	write, read *sql.DB
	lock        *os.File // keeps a second hub out of the folder
}

const (
	databaseFile = "hub.db"
	hubLock      = "hub.lock"
	readers      = 4
	busyTimeout  = 30_000 // milliseconds; for a backup that somebody takes
)

func openDatabase(dir string) (*database, error) {
	if err := durable.MkdirAll(durable.OS{}, dir); err != nil {
		return nil, fault.New(fault.Usage, "--data: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, hubLock), os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fault.New(fault.Usage, "--data: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fault.New(fault.Usage, "another hub uses %s", dir).WithHint("give each hub a data folder of its own")
	}
	db := &database{lock: lock}
	if err := db.open(filepath.Join(dir, databaseFile)); err != nil {
		return nil, errors.Join(err, db.close())
	}
	return db, nil
}

func (db *database) open(path string) error {
	name := "file:" + (&url.URL{Path: path}).EscapedPath() + fmt.Sprintf("?_txlock=immediate&_pragma=busy_timeout(%d)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)", busyTimeout)
	var err error
	if db.write, err = sql.Open("sqlite", name); err != nil {
		return broken(err)
	}
	db.write.SetMaxOpenConns(1)
	if db.read, err = sql.Open("sqlite", name+"&_pragma=query_only(1)"); err != nil {
		return broken(err)
	}
	db.read.SetMaxOpenConns(readers)
	return db.migrate()
}

// migrate makes the tables of a new file, and refuses one of another version.
func (db *database) migrate() error {
	var version int
	if err := db.write.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		return broken(err)
	}
	if version == schemaVersion {
		return nil
	}
	if version != 0 {
		return fault.New(fault.SchemaUnsupported, "%s is of version %d, this program uses %d", databaseFile, version, schemaVersion).
			WithHint("use the version of rebuild that wrote it, or give a new --data folder")
	}
	return db.update(context.Background(), func(tx *sql.Tx) error {
		_, err := tx.Exec(schema)
		return err
	})
}

func (db *database) close() error {
	var errs []error
	for _, d := range []*sql.DB{db.read, db.write} {
		if d != nil {
			errs = append(errs, d.Close())
		}
	}
	return errors.Join(append(errs, db.lock.Close())...)
}

// update runs f in a transaction of the one writing connection.
func (db *database) update(ctx context.Context, f func(tx *sql.Tx) error) error {
	tx, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return broken(err)
	}
	if err := f(tx); err != nil {
		return errors.Join(broken(err), ignoreDone(tx.Rollback()))
	}
	return broken(tx.Commit())
}

func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

// broken is an error of the database; ours pass.
func broken(err error) error {
	var coded *fault.Error
	if err == nil || errors.As(err, &coded) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fault.New(fault.Internal, "%s: %w", databaseFile, err)
}

// staging holds what was uploaded and is not in the index yet.
type staging struct {
	*database
	dir   string
	wall  func() time.Time
	limit int64         // bytes of all that waits
	keep  time.Duration // how long an upload waits for its release
	files chan struct{} // held while a file and its row come and go together
}

const uploadDir = "uploads"

func openStaging(db *database, dir string, o Options) (*staging, error) {
	s := &staging{db, filepath.Join(dir, uploadDir), o.Wall, o.MaxPending, o.KeepUploads, make(chan struct{}, 1)}
	if err := durable.MkdirAll(durable.OS{}, s.dir); err != nil {
		return nil, fault.New(fault.Internal, "%w", err)
	}
	return s, s.sweep(context.Background())
}

// sweep removes what an end in the middle left: reservations of uploads that
// nobody sends any more, and files without a row.
func (s *staging) sweep(ctx context.Context) error {
	if err := s.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("DELETE FROM receiving")
		return err
	}); err != nil {
		return err
	}
	held, err := os.ReadDir(s.dir)
	if err != nil {
		return fault.New(fault.Internal, "%w", err)
	}
	for _, entry := range held {
		known, err := s.has(ctx, store.Digest("sha256:"+entry.Name()))
		if err != nil {
			return err
		}
		if !known {
			if err := os.Remove(filepath.Join(s.dir, entry.Name())); err != nil {
				return fault.New(fault.Internal, "%w", err)
			}
		}
	}
	return s.expire(ctx)
}

// expire removes uploads that no release came for in time.
func (s *staging) expire(ctx context.Context) error {
	return s.remove(ctx, "DELETE FROM uploads WHERE at < ? RETURNING digest", s.wall().Add(-s.keep).Unix())
}

// drop removes uploads that are in the index now.
func (s *staging) drop(ctx context.Context, d store.Digest) error {
	return s.remove(ctx, "DELETE FROM uploads WHERE digest = ? RETURNING digest", string(d))
}

// remove deletes rows of uploads and then their files. An end in between leaves
// files that sweep finds.
func (s *staging) remove(ctx context.Context, query string, arg any) error {
	return s.alone(ctx, func() error {
		var gone []string
		if err := s.update(ctx, func(tx *sql.Tx) error {
			var err error
			gone, err = texts(tx.QueryContext(ctx, query, arg))
			return err
		}); err != nil {
			return err
		}
		for _, d := range gone {
			if err := os.Remove(s.path(store.Digest(d))); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fault.New(fault.Internal, "%w", err)
			}
		}
		return nil
	})
}

// alone runs f while no other upload comes or goes.
func (s *staging) alone(ctx context.Context, f func() error) error {
	return inTurn(ctx, s.files, f)
}

func texts(rows *sql.Rows, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return nil, err
		}
		out = append(out, text)
	}
	return out, rows.Err()
}

func (s *staging) path(d store.Digest) string { return filepath.Join(s.dir, d.Hex()) }

func (s *staging) has(ctx context.Context, d store.Digest) (bool, error) {
	var n int
	err := s.read.QueryRowContext(ctx, "SELECT count(*) FROM uploads WHERE digest = ?", string(d)).Scan(&n)
	return n > 0, broken(err)
}

// open opens an upload; fs.ErrNotExist if there is none.
func (s *staging) open(ctx context.Context, d store.Digest) (*os.File, error) {
	known, err := s.has(ctx, d)
	if err != nil {
		return nil, err
	}
	if !known {
		return nil, fs.ErrNotExist
	}
	return os.Open(s.path(d))
}

// receive takes size bytes in as an upload with a digest, and says whether it
// was there already. Other bytes are CKSUM_MISMATCH, and nothing is kept.
func (s *staging) receive(ctx context.Context, d store.Digest, size int64, body io.Reader) (bool, error) {
	known, err := s.has(ctx, d)
	if err != nil {
		return false, err
	}
	if known {
		return true, same(d, size, body, io.Discard)
	}
	id, err := s.reserve(ctx, size)
	if err != nil {
		return false, err
	}
	duplicate, err := s.take(ctx, id, d, size, body)
	if err != nil { // gives the room back, also when the sender is gone
		err = errors.Join(err, s.update(context.WithoutCancel(ctx), func(tx *sql.Tx) error { return release(tx, id) }))
	}
	return duplicate, err
}

func release(tx *sql.Tx, id int64) error {
	_, err := tx.Exec("DELETE FROM receiving WHERE id = ?", id)
	return err
}

// reserve keeps room for an upload before any of it is read, so that many at
// once do not take more than there is.
func (s *staging) reserve(ctx context.Context, size int64) (id int64, err error) {
	if err := s.expire(ctx); err != nil {
		return 0, err
	}
	err = s.update(ctx, func(tx *sql.Tx) error {
		if err := s.room(ctx, tx, size); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, "INSERT INTO receiving (size) VALUES (?) RETURNING id", size).Scan(&id)
	})
	return id, err
}

// room says whether so much more may wait.
func (s *staging) room(ctx context.Context, tx *sql.Tx, size int64) error {
	var pending int64
	if err := tx.QueryRowContext(ctx, `SELECT (SELECT coalesce(sum(size), 0) FROM uploads) + (SELECT coalesce(sum(size), 0) FROM receiving)
		+ (SELECT coalesce(sum(length(body)), 0) FROM statements)`).Scan(&pending); err != nil {
		return err
	}
	if pending+size > s.limit {
		return refuse(http.StatusServiceUnavailable, fault.New(fault.IndexFetch, "%d bytes wait for their releases, of at most %d", pending, s.limit).
			WithHint("try again later"))
	}
	return nil
}

func (s *staging) take(ctx context.Context, id int64, d store.Digest, size int64, body io.Reader) (duplicate bool, err error) {
	w, err := durable.Create(durable.OS{}, s.dir)
	if err != nil {
		return false, fault.New(fault.Internal, "%w", err)
	}
	defer w.Abort()
	if err := same(d, size, body, w); err != nil {
		return false, err
	}
	// A crash before the row is there leaves a file that sweep removes.
	return duplicate, s.alone(ctx, func() error {
		if err := w.Commit(s.path(d)); err != nil {
			return fault.New(fault.Internal, "%w", err)
		}
		return s.update(ctx, func(tx *sql.Tx) error {
			done, err := tx.ExecContext(ctx, "INSERT INTO uploads VALUES (?, ?, ?) ON CONFLICT DO NOTHING", string(d), size, s.wall().Unix())
			if err != nil {
				return err
			}
			n, err := done.RowsAffected()
			duplicate = n == 0
			return errors.Join(err, release(tx, id))
		})
	})
}

// same copies a body that must have a digest and a size.
func same(d store.Digest, size int64, body io.Reader, to io.Writer) error {
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(to, h), io.LimitReader(body, size+1))
	if err != nil {
		return incomplete(err)
	}
	if got := store.Digest("sha256:" + hex.EncodeToString(h.Sum(nil))); n != size || got != d {
		return refuse(http.StatusBadRequest, fault.New(fault.CksumMismatch, "the body has %d bytes with digest %s, not %s", n, got, d))
	}
	return nil
}

// incomplete is a request whose body did not come in as it was announced. A
// full disk is not its fault.
func incomplete(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return err
	}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EIO) || errors.Is(err, syscall.EDQUOT) {
		return fault.New(fault.Internal, "%w", err)
	}
	return refuse(http.StatusBadRequest, fault.New(fault.Usage, "the body is not complete: %w", err))
}

// wait keeps a statement until its release comes, and says whether it was there
// already.
func (s *staging) wait(ctx context.Context, plan, digest store.Digest, body []byte) (duplicate bool, err error) {
	return duplicate, s.update(ctx, func(tx *sql.Tx) error {
		if err := s.room(ctx, tx, int64(len(body))); err != nil {
			return err
		}
		done, err := tx.ExecContext(ctx, "INSERT INTO statements VALUES (?, ?, ?) ON CONFLICT DO NOTHING", string(digest), string(plan), body)
		if err != nil {
			return err
		}
		n, err := done.RowsAffected()
		duplicate = n == 0
		return err
	})
}

// waiting returns the statements about a plan that wait, by digest.
func (s *staging) waiting(ctx context.Context, plan store.Digest) ([][]byte, error) {
	found, err := texts(s.read.QueryContext(ctx, "SELECT body FROM statements WHERE plan = ? ORDER BY digest", string(plan)))
	var out [][]byte
	for _, text := range found {
		out = append(out, []byte(text))
	}
	return out, broken(err)
}

// maxJournal is how many writes are remembered.
const maxJournal = 100_000

// note remembers a write, for whoever asks what became of it.
func (s *staging) note(ctx context.Context, at, key, request, object string, status int) error {
	return s.update(ctx, func(tx *sql.Tx) error {
		done, err := tx.ExecContext(ctx, "INSERT INTO journal (at, key, request, object, status) VALUES (?, ?, ?, ?, ?)", at, key, strings.ToValidUTF8(request, "?"), object, status)
		if err != nil {
			return err
		}
		last, err := done.LastInsertId()
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "DELETE FROM journal WHERE id <= ?", last-maxJournal)
		return err
	})
}
