package hub

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"strings"
	"time"

	"rebuild/attest"
	"rebuild/index"
	"rebuild/internal/fault"
	"rebuild/store"
)

// catalog is a list of what is in the index, for the questions that its files
// are not made to answer: what came last, which release a plan led to, which
// keys own something. It follows from the index, and is brought up to date when
// the index is another than it was made from.
type catalog struct {
	*database
	fsys   fs.FS
	policy *attest.Policy
	origin string // of the index's log; "" for none
	wall   func() time.Time
	turn   chan struct{} // held while it is brought up to date
	walked time.Time     // last look at an index that has no view; guarded by turn
}

// unseen is how long a change by somebody else to an index without a view may
// stay unseen, as it may in any cache.
const unseen = time.Minute

const (
	maxLineFile = 4 << 20
)

// sync brings the catalog up to date. now asks for a look even where nothing
// says that there is something new.
func (c *catalog) sync(ctx context.Context, now bool) error {
	return inTurn(ctx, c.turn, func() error { return c.refresh(ctx, now) })
}

func (c *catalog) refresh(ctx context.Context, now bool) error {
	marker, err := c.marker()
	if err != nil {
		return err
	}
	var held string
	err = c.read.QueryRowContext(ctx, "SELECT value FROM meta WHERE name = 'view'").Scan(&held)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return broken(err)
	}
	age := c.wall().Sub(c.walked)
	recent := age >= 0 && age < unseen // a clock that was set back says nothing
	if marker != "" && marker == held || marker == "" && recent && !now {
		return nil
	}
	if err := c.walk(ctx, marker); err != nil {
		return err
	}
	c.walked = c.wall()
	return nil
}

// marker is what changes whenever a line of the index does: the digest of its
// view. "" if the index has none.
func (c *catalog) marker() (string, error) {
	root, err := fs.ReadFile(c.fsys, "view/root")
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fault.New(fault.Internal, "%w", err)
	}
	return c.origin + " " + string(store.DigestOf(root)), nil
}

// walk reads every line file that is not as it was. Lines of one file come in
// together; an end in the middle is found again by the marker, which is last.
func (c *catalog) walk(ctx context.Context, marker string) error {
	err := fs.WalkDir(c.fsys, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return fault.New(fault.Internal, "%w", err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if d.IsDir() {
			if path != "." && !mayHoldLines(path) {
				return fs.SkipDir
			}
			return nil
		}
		name, ok := index.LineName(path)
		if !ok {
			return nil
		}
		return c.file(ctx, path, name)
	})
	if err != nil {
		return err
	}
	return c.update(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO meta VALUES ('view', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", marker)
		return err
	})
}

// mayHoldLines says whether line files can be below a folder: they are below
// ~SCOPE and folders of one or two characters.
func mayHoldLines(path string) bool {
	parts := strings.Split(path, "/")
	if strings.HasPrefix(parts[0], "~") {
		parts = parts[1:]
	}
	for _, p := range parts {
		if len(p) > 2 || strings.HasPrefix(p, ".") {
			return false
		}
	}
	return true
}

func (c *catalog) file(ctx context.Context, path, name string) error {
	data, err := fs.ReadFile(c.fsys, path)
	if err != nil {
		return fault.New(fault.Internal, "%w", err)
	}
	if len(data) > maxLineFile {
		return fault.New(fault.Internal, "%s has %d bytes, at most %d are allowed", path, len(data), maxLineFile)
	}
	sum := string(store.DigestOf(data))
	var held string
	err = c.read.QueryRowContext(ctx, "SELECT sum FROM files WHERE name = ?", name).Scan(&held)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return broken(err)
	}
	if held == sum {
		return nil
	}
	return c.update(ctx, func(tx *sql.Tx) error {
		for i, line := range bytes.Split(bytes.TrimSuffix(data, []byte("\n")), []byte("\n")) {
			e, err := index.ParseEntry(path, line)
			if fault.CodeOf(err) == fault.SchemaUnsupported {
				continue // of a newer version, which readers pass over too
			}
			if err == nil && e.Name != name {
				err = fault.New(fault.Semantic, "the entry is of %s", e.Name).At(path, i+1)
			}
			if err != nil {
				return fault.New(fault.Internal, "the index is damaged: %w", err).WithHint("run rebuild index fsck")
			}
			if err := c.enter(ctx, tx, e, line); err != nil {
				return err
			}
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO files VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET sum = excluded.sum", name, sum)
		return err
	})
}

// enter puts an entry into the catalog. Its place is that of its leaf; what no
// leaf covers is before the log, and without a log the order is that in which
// the hub has seen things.
func (c *catalog) enter(ctx context.Context, tx *sql.Tx, e *index.Entry, line []byte) error {
	place := "(SELECT coalesce(max(pos), -1) + 1 FROM entries)"
	args := []any{e.Name, e.Version, string(e.Release), line}
	switch {
	case e.Seq != nil:
		place, args = "?", append([]any{*e.Seq}, args...)
	case c.origin != "":
		place = "(SELECT min(coalesce(min(pos), 0), 0) - 1 FROM entries)"
	}
	_, err := tx.ExecContext(ctx, "INSERT INTO entries (pos, name, version, release, line) VALUES ("+place+", ?, ?, ?, ?) "+
		"ON CONFLICT (name, version) DO UPDATE SET line = excluded.line", args...)
	if err != nil || e.Release == "" {
		return err
	}
	r, err := c.release(e.Release)
	if err != nil || r == nil {
		return err
	}
	for _, b := range r.Builds {
		if _, err := tx.ExecContext(ctx, "INSERT INTO builds VALUES (?, ?) ON CONFLICT DO NOTHING", string(b.Plan), string(e.Release)); err != nil {
			return err
		}
	}
	for _, k := range r.OwnerKeys() {
		if _, err := tx.ExecContext(ctx, "INSERT INTO owners VALUES (?, ?) ON CONFLICT DO NOTHING", string(k.ID()), k.String()); err != nil {
			return err
		}
	}
	return nil
}

// release reads a release of the index that the policy's signers signed; nil
// for any other, which this hub says nothing of.
func (c *catalog) release(d store.Digest) (*attest.Release, error) {
	raw, err := c.envelope(d)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	e, err := attest.ParseEnvelope(statementPath(d), raw)
	if err != nil {
		return nil, nil
	}
	r, err := attest.ReadRelease(c.policy, e)
	if err != nil || e.Digest() != d {
		return nil, nil
	}
	return &r, nil
}

// envelope returns a statement of the index as it lies there.
func (c *catalog) envelope(d store.Digest) ([]byte, error) {
	raw, err := fs.ReadFile(c.fsys, statementPath(d))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		err = fault.New(fault.Internal, "%w", err)
	}
	return raw, err
}

func statementPath(d store.Digest) string { return "statements/" + d.Hex() + attest.EnvelopeSuffix }
func objectPath(d store.Digest) string    { return "objects/sha256/" + d.Hex() }

// listed is an entry and its place in the catalog.
type listed struct {
	pos  int64
	line []byte
}

// last returns at most so many entries before a place, the newest first.
func (c *catalog) last(ctx context.Context, before int64, limit int) ([]listed, error) {
	return c.query(ctx, "SELECT pos, line FROM entries WHERE pos < ? ORDER BY pos DESC LIMIT ?", before, limit)
}

// of returns the entries of a package, the newest first.
func (c *catalog) of(ctx context.Context, name string) ([]listed, error) {
	return c.query(ctx, "SELECT pos, line FROM entries WHERE name = ? ORDER BY pos DESC", name)
}

// byRelease returns the entries of a release: one, or none.
func (c *catalog) byRelease(ctx context.Context, d store.Digest) ([]listed, error) {
	return c.query(ctx, "SELECT pos, line FROM entries WHERE release = ?", string(d))
}

// byPlan returns the entries of the releases that a plan led to, the newest
// first.
func (c *catalog) byPlan(ctx context.Context, plan store.Digest) ([]listed, error) {
	return c.query(ctx, "SELECT pos, line FROM entries JOIN builds USING (release) WHERE plan = ? ORDER BY pos DESC", string(plan))
}

func (c *catalog) query(ctx context.Context, query string, args ...any) ([]listed, error) {
	rows, err := c.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, broken(err)
	}
	defer rows.Close()
	var out []listed
	for rows.Next() {
		var l listed
		if err := rows.Scan(&l.pos, &l.line); err != nil {
			return nil, broken(err)
		}
		out = append(out, l)
	}
	return out, broken(rows.Err())
}

// owner returns the key of an id that owns something in the index, "" if none
// does.
func (c *catalog) owner(ctx context.Context, id string) (string, error) {
	var key string
	err := c.read.QueryRowContext(ctx, "SELECT key FROM owners WHERE id = ?", id).Scan(&key)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return key, broken(err)
}
