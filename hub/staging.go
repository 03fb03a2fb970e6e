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

	"rebuild/index"
	"rebuild/internal/document"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
	"rebuild/store"
)

// schema is hub.db. Only uploads and statements hold what came from outside;
// the rest follows from the index, or tells who wrote what.
const schema = `
CREATE TABLE uploads (digest TEXT PRIMARY KEY, size INTEGER NOT NULL, at INTEGER NOT NULL, party TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE receiving (id INTEGER PRIMARY KEY, size INTEGER NOT NULL, party TEXT NOT NULL);
CREATE TABLE statements (digest TEXT PRIMARY KEY, plan TEXT NOT NULL, body BLOB NOT NULL, at INTEGER NOT NULL, party TEXT NOT NULL);
CREATE INDEX statements_plan ON statements (plan);
CREATE TABLE journal (id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, key TEXT NOT NULL, request TEXT NOT NULL, object TEXT NOT NULL, status INTEGER NOT NULL);

CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE files (name TEXT PRIMARY KEY, sum TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE entries (pos INTEGER PRIMARY KEY, name TEXT NOT NULL, version TEXT NOT NULL, release TEXT NOT NULL, line BLOB NOT NULL, UNIQUE (name, version));
CREATE INDEX entries_release ON entries (release);
CREATE TABLE builds (plan TEXT NOT NULL, release TEXT NOT NULL, PRIMARY KEY (plan, release)) WITHOUT ROWID;
CREATE TABLE owners (id TEXT PRIMARY KEY, key TEXT NOT NULL) WITHOUT ROWID;
PRAGMA user_version = 2;
`

const schemaVersion = 2

// formatOf names a version of hub.db as the table of versions does.
func formatOf(version int) string { return fmt.Sprintf("rebuild.hub@%d", version) }

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
		return nil, fault.New(fault.Usage, "--data: %w", err).WithHint("name a folder that can be written to with --data DIR")
	}
	lock, err := os.OpenFile(filepath.Join(dir, hubLock), os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fault.New(fault.Usage, "--data: %w", err).WithHint("name a folder that can be written to with --data DIR")
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, fault.New(fault.Usage, "another hub uses %s", dir).WithHint("give each hub a data folder of its own")
	}
	db := &database{lock: lock}
	err = db.open(filepath.Join(dir, databaseFile))
	if err == nil { // SQLite makes its files durable, and not their names
		err = durable.OS{}.SyncDir(dir)
	}
	if err != nil {
		return nil, errors.Join(broken(err), db.close())
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
		found, want := formatOf(version), formatOf(schemaVersion)
		return fault.New(fault.SchemaUnsupported, "%s is %s, which is not supported, this program uses %s", databaseFile, found, want).
			With("found", found).With("supported", []string{want}).With("migration", document.NoMigration(found, want)).
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
	share int64         // of them of one party
	named []string      // parties of the policy, for each of which a part is kept
	keep  time.Duration // how long an upload waits for its release
	hold  time.Duration // how long statements do after the last one about their plan
	files chan struct{} // held while a file and its row come and go together
}

const uploadDir = "uploads"

func openStaging(db *database, dir string, o Options) (*staging, error) {
	s := &staging{db, filepath.Join(dir, uploadDir), o.Wall, o.MaxPending, o.MaxShare, partiesOf(o.Policy, o.Now()), o.KeepUploads, o.KeepStatements, make(chan struct{}, 1)}
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

// expire removes uploads and statements that no release came for in time. The
// statements about a plan go together, so that nobody waits until a dissent is
// forgotten and a vote is not. What came in while the clock was ahead waits from
// now on, and not until that time has come.
func (s *staging) expire(ctx context.Context) error {
	now := s.wall()
	if err := s.update(ctx, func(tx *sql.Tx) error {
		for _, table := range []string{"uploads", "statements"} {
			if _, err := tx.ExecContext(ctx, "UPDATE "+table+" SET at = ? WHERE at > ?", now.Unix(), now.Unix()); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM statements WHERE plan IN (SELECT plan FROM statements GROUP BY plan HAVING max(at) < ?)", now.Add(-s.hold).Unix())
		return err
	}); err != nil {
		return err
	}
	return s.remove(ctx, "DELETE FROM uploads WHERE at < ? RETURNING digest", now.Add(-s.keep).Unix())
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

// whole says whether an upload is there with all of its bytes. One that somebody
// has taken from the folder can be sent again.
func (s *staging) whole(ctx context.Context, d store.Digest, size int64) (bool, error) {
	known, err := s.has(ctx, d)
	if !known || err != nil {
		return false, err
	}
	info, err := os.Stat(s.path(d))
	return err == nil && info.Mode().IsRegular() && info.Size() == size, nil
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

// receive takes size bytes of a party in as an upload with a digest, and says
// whether it was there already. Other bytes are CKSUM_MISMATCH, and nothing is
// kept.
func (s *staging) receive(ctx context.Context, party string, d store.Digest, size int64, body io.Reader) (bool, error) {
	known, err := s.whole(ctx, d, size)
	if err != nil {
		return false, err
	}
	if known {
		return true, same(d, size, body, io.Discard)
	}
	id, err := s.reserve(ctx, party, size)
	if err != nil {
		return false, err
	}
	duplicate, err := s.take(ctx, id, party, d, size, body)
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
func (s *staging) reserve(ctx context.Context, party string, size int64) (id int64, err error) {
	if err := s.expire(ctx); err != nil {
		return 0, err
	}
	err = s.update(ctx, func(tx *sql.Tx) error {
		if err := s.room(ctx, tx, party, size); err != nil {
			return err
		}
		return tx.QueryRowContext(ctx, "INSERT INTO receiving (size, party) VALUES (?, ?) RETURNING id", size, party).Scan(&id)
	})
	return id, err
}

// maxWaiting is how many things of one party wait at a time: each is a file or
// a row, however small.
const maxWaiting = 10_000

// room says whether so much more of a party may wait. Each party has its share,
// and those that only own something have no more than half of it all together. Of
// the other half a part is kept for each party that the policy names: so nobody
// takes the room of an operator or signer, and neither do all others together.
func (s *staging) room(ctx context.Context, tx *sql.Tx, party string, size int64) error {
	if size > s.share {
		return refuse(http.StatusRequestEntityTooLarge, fault.New(fault.Parse, "%d bytes are more than one party may have waiting, %d", size, s.share))
	}
	parties, things, err := s.waitingBy(ctx, tx, party)
	if err != nil {
		return err
	}
	own := parties[party]
	if own+size > s.share || things >= maxWaiting {
		return refuse(http.StatusTooManyRequests, fault.New(fault.IndexFetch, "%d bytes in %d pieces of %s wait for their releases, of at most %d and %d",
			own, things, party, s.share, maxWaiting).WithHint("publish what waits, or try again when it has expired"))
	}
	var all, owners int64
	for name, waits := range parties {
		all += waits
		if strings.HasPrefix(name, ownerParty) {
			owners += waits
		}
	}
	if strings.HasPrefix(party, ownerParty) && owners+size > s.limit/2 {
		return full("%d bytes of owners wait for their releases, of at most %d", owners, s.limit/2)
	}
	if kept := s.kept(parties, party); all+size+kept > s.limit {
		return full("%d bytes wait for their releases, and %d are kept for other operators and signers, of %d", all, kept, s.limit)
	}
	return nil
}

func full(format string, args ...any) error {
	return refuse(http.StatusServiceUnavailable, fault.New(fault.IndexFetch, format, args...).WithHint("try again later"))
}

// waitingBy returns how many bytes of each party wait, and how many things of one.
func (s *staging) waitingBy(ctx context.Context, tx *sql.Tx, party string) (bytes map[string]int64, things int64, err error) {
	rows, err := tx.QueryContext(ctx, `SELECT party, sum(size), count(*)
		FROM (SELECT size, party FROM uploads UNION ALL SELECT size, party FROM receiving UNION ALL SELECT length(body), party FROM statements) GROUP BY party`)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	bytes = map[string]int64{}
	for rows.Next() {
		var name string
		var size, n int64
		if err := rows.Scan(&name, &size, &n); err != nil {
			return nil, 0, err
		}
		if bytes[name] = size; name == party {
			things = n
		}
	}
	return bytes, things, rows.Err()
}

// part is what is kept for each party that the policy names.
func (s *staging) part() int64 { return min(s.share, s.limit/2/int64(max(1, len(s.named)))) }

// kept is what of their parts all parties but one have not taken.
func (s *staging) kept(waits map[string]int64, party string) int64 {
	kept := int64(0)
	for _, name := range s.named {
		if name != party {
			kept += max(0, s.part()-waits[name])
		}
	}
	return kept
}

func (s *staging) take(ctx context.Context, id int64, party string, d store.Digest, size int64, body io.Reader) (duplicate bool, err error) {
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
			done, err := tx.ExecContext(ctx, "INSERT INTO uploads VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", string(d), size, s.wall().Unix(), party)
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

// wait keeps a statement of a party until its release comes, and says whether
// it was there already. One that is sent again waits from then on.
func (s *staging) wait(ctx context.Context, party string, plan, digest store.Digest, body []byte) (duplicate bool, err error) {
	if err := s.expire(ctx); err != nil {
		return false, err
	}
	return duplicate, s.update(ctx, func(tx *sql.Tx) error {
		again, err := tx.ExecContext(ctx, "UPDATE statements SET at = ? WHERE digest = ?", s.wall().Unix(), string(digest))
		if err != nil {
			return err
		}
		if n, err := again.RowsAffected(); n > 0 || err != nil {
			duplicate = n > 0
			return err
		}
		var said int
		if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM statements WHERE plan = ? AND party = ?", string(plan), party).Scan(&said); err != nil {
			return err
		}
		if said >= index.MaxStatementsOfKey {
			return fault.New(fault.Semantic, "%d statements of %s about plan %s wait, at most %d do", said, party, plan, index.MaxStatementsOfKey)
		}
		if err := s.room(ctx, tx, party, int64(len(body))); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO statements VALUES (?, ?, ?, ?, ?)", string(digest), string(plan), body, s.wall().Unix(), party)
		return err
	})
}

// heard removes a statement that is in the index now.
func (s *staging) heard(ctx context.Context, digest store.Digest) error {
	return s.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM statements WHERE digest = ?", string(digest))
		return err
	})
}

// waiting returns the statements about a plan that wait.
func (s *staging) waiting(ctx context.Context, plan store.Digest) (map[store.Digest][]byte, error) {
	rows, err := s.read.QueryContext(ctx, "SELECT digest, body FROM statements WHERE plan = ?", string(plan))
	if err != nil {
		return nil, broken(err)
	}
	defer rows.Close()
	out := map[store.Digest][]byte{}
	for rows.Next() {
		var digest string
		var body []byte
		if err := rows.Scan(&digest, &body); err != nil {
			return nil, broken(err)
		}
		out[store.Digest(digest)] = body
	}
	return out, broken(rows.Err())
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
