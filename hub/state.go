package hub

import (
	"context"
	"errors"
	"io/fs"
	"sync"

	"rebuild/attest"
	"rebuild/index"
	"rebuild/internal/fault"
	"rebuild/internal/names"
	"rebuild/store"
)

// StateHeader is where GET /entries/NAME/VERSION says the state of the package,
// beside bytes that stay as they were posted.
const StateHeader = "Rebuild-State"

// states remembers what was found in archives of packages that no release
// speaks for. An archive is named by its digest, so that an answer stays true of
// the entry that it was given for: another may have the archive under a false name;
// one that is damaged is looked at again, for somebody may bring it back.
type states struct {
	mu    sync.Mutex
	known map[stateKey]string
}

// stateKey is what of an entry its state follows from.
type stateKey struct{ name, version, cksum string }

func keyOf(e *index.Entry) stateKey { return stateKey{e.Name, e.Version, e.Cksum} }

// maxStates bounds what is remembered.
const maxStates = 1 << 16

func (s *states) get(of stateKey) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[of]
}

func (s *states) put(of stateKey, state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil || len(s.known) >= maxStates {
		s.known = map[stateKey]string{}
	}
	s.known[of] = state
}

// stateOf says how far the package of an entry was verified when it came in. A
// release was taken only after everything in it was compared, so one that the
// policy's signers signed is verified; of another package its inventory says
// it. Readers go by their own policy and not by this.
func (h *Hub) stateOf(ctx context.Context, e *index.Entry) (string, error) {
	if e.Release == "" {
		return h.authorsState(ctx, e)
	}
	r, err := h.catalog.release(e.Release)
	switch {
	case err != nil:
		return "", err
	case r == nil:
		return attest.PackageUnverified, nil
	case r.Name != e.Name || names.CompareVersions(r.Version, e.Version) != 0 || r.Cksum != e.Cksum:
		return attest.PackageFailed, nil
	}
	return attest.PackageVerified, nil
}

// authorsState is that of a package that only its author vouches for.
func (h *Hub) authorsState(ctx context.Context, e *index.Entry) (string, error) {
	if state := h.states.get(keyOf(e)); state != "" {
		return state, nil
	}
	state := attest.PackageFailed
	err := inTurn(ctx, h.heavy, func() (err error) {
		state, err = h.openState(e)
		return err
	})
	if err == nil && state != attest.PackageFailed {
		h.states.put(keyOf(e), state)
	}
	return state, err
}

// openState compares the archive of an entry with its inventory.
func (h *Hub) openState(e *index.Entry) (string, error) {
	path := objectPath(store.Digest("sha256:" + e.Cksum))
	info, err := fs.Stat(h.fsys, path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && (!info.Mode().IsRegular() || info.Size() > attest.MaxArchive) {
		return attest.PackageFailed, nil
	}
	if err != nil {
		return "", fault.New(fault.Internal, "%w", err)
	}
	raw, err := fs.ReadFile(h.fsys, path)
	if err != nil {
		return "", fault.New(fault.Internal, "%w", err)
	}
	pkg, err := attest.OpenArchive(path, raw)
	if err != nil || pkg.Cksum() != e.Cksum {
		return attest.PackageFailed, nil
	}
	if doc := pkg.Document(); doc.Name != e.Name || names.CompareVersions(doc.Version, e.Version) != 0 {
		return attest.PackageFailed, nil
	}
	if !pkg.Verified() {
		return attest.PackageUnverified, nil
	}
	return attest.PackageVerified, nil
}
