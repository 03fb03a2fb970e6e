package index

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"rebuild/attest"
	"rebuild/internal/document"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
	"rebuild/internal/names"
	"rebuild/store"
)

// State is what a client saw of indexes and their logs, so that it notices when
// it is shown something older, or something else (index.md 7). Losing it loses
// that memory and nothing else.
//
// It is changed in memory while a command verifies, and [State.Save] is called
// only when all of that has held: what failed must not become what is
// remembered. All methods may be called by several goroutines.
type State struct {
	path string
	mu   sync.Mutex
	seen stateDoc // with what this process learned
	base stateDoc // as it was loaded, to tell what this process has changed
	// dropped are the checkpoints, by origin, that another key had signed than
	// the one that a policy answers for.
	dropped map[string]string
}

// stateDoc is state.json.
type stateDoc struct {
	SchemaVersion string                        `json:"schema_version"`
	Heads         map[string]string             `json:"heads,omitempty"`      // origin of a log: the last checkpoint, a signed note
	LogKeys       map[string]string             `json:"log_keys,omitempty"`   // URL of an index: verifier key of its log, first seen
	IndexKeys     map[string][]string           `json:"index_keys,omitempty"` // URL of an index: its keys, first seen, sorted
	Owners        map[string][]string           `json:"owners,omitempty"`     // package: keys of the last release's owners, sorted
	Policies      map[string]int64              `json:"policies,omitempty"`   // policy: the highest version
	Chains        map[string]map[string]seenEnd `json:"chains,omitempty"`     // origin, package: the last leaf of its chain
	Yanks         map[string]map[string]seenEnd `json:"yanks,omitempty"`      // origin, NAME@VERSION: the last yank statement
}

// seenEnd is the end of something that only grows: a leaf of a log, or what a
// leaf points to.
type seenEnd struct {
	Seq      int64        `json:"seq"`                // of the leaf
	Digest   store.Digest `json:"digest"`             // of the leaf; of a yank statement's payload
	Document string       `json:"document,omitempty"` // the yank statement's envelope; "" if there were too many
}

// LoadState reads state.json at path. One that is not there is empty; one that
// can not be read is an error and never passed over, as it may be what tells
// an old index from a new one.
func LoadState(path string) (*State, error) {
	doc, err := readState(path)
	if err != nil {
		return nil, err
	}
	return &State{path: path, seen: doc, base: doc.clone()}, nil
}

func readState(path string) (stateDoc, error) {
	data, err := readStateFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return stateDoc{SchemaVersion: document.State.ID()}, nil
	}
	if err != nil {
		return stateDoc{}, err
	}
	doc, err := decodeState(path, data)
	var coded *fault.Error
	if errors.As(err, &coded) && coded.Hint == "" {
		coded.WithHint("restore the file, or remove it and with it the memory of what was seen")
	}
	return doc, err
}

func readStateFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, err
	case err != nil:
		return nil, fault.New(fault.Usage, "state: %w", err).
			WithHint("name a state root that can be read with --state DIR")
	case !info.Mode().IsRegular():
		return nil, fault.New(fault.Usage, "state: %s is not a regular file", path).
			WithHint("remove it, or name another state root with --state DIR")
	case info.Size() > document.State.MaxBytes:
		return nil, fault.New(fault.Parse, "%d bytes, at most %d are allowed", info.Size(), document.State.MaxBytes).At(path, 0)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.New(fault.Usage, "state: %w", err).
			WithHint("name a state root that can be read with --state DIR")
	}
	return data, nil
}

func decodeState(file string, data []byte) (stateDoc, error) {
	var doc stateDoc
	if err := document.Decode(file, data, document.State, &doc); err != nil {
		return doc, err
	}
	return doc, fault.In(doc.validate(), file)
}

func (d *stateDoc) validate() error {
	for _, keys := range []map[string][]string{d.IndexKeys, d.Owners} {
		for _, list := range keys {
			if _, err := parseKeys(list); err != nil {
				return err
			}
		}
	}
	for _, note := range d.Heads {
		if _, err := noteSize(note); err != nil {
			return err
		}
	}
	for name, version := range d.Policies {
		if err := names.Check(name); err != nil {
			return err
		}
		if version < 0 {
			return fault.New(fault.Semantic, "policy %s has version %d", name, version)
		}
	}
	for _, all := range []map[string]map[string]seenEnd{d.Chains, d.Yanks} {
		for _, ends := range all {
			for what, end := range ends {
				if _, err := store.ParseDigest(string(end.Digest)); err != nil || end.Seq < 0 {
					return fault.New(fault.Semantic, "%.200q has seq %d and digest %.80q", what, end.Seq, end.Digest)
				}
			}
		}
	}
	return nil
}

func parseKeys(list []string) ([]attest.PublicKey, error) {
	var out []attest.PublicKey
	for _, text := range list {
		k, err := attest.ParsePublicKey(text)
		if err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	if !slices.IsSorted(list) {
		return nil, fault.New(fault.Semantic, "the keys %v are not sorted", list)
	}
	return out, nil
}

func keyTexts(keys []attest.PublicKey) []string {
	var out []string
	for _, k := range keys {
		out = append(out, k.String())
	}
	slices.Sort(out)
	return out
}

// noteSize returns the tree size that a checkpoint says, whose signature was
// checked when it was taken up.
func noteSize(note string) (int64, error) {
	lines := strings.SplitN(note, "\n", 3)
	if len(lines) < 3 {
		return 0, fault.New(fault.Structure, "a head is not a checkpoint")
	}
	n, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != lines[1] {
		return 0, fault.New(fault.Structure, "a head has size %.40q", lines[1])
	}
	return n, nil
}

func (d stateDoc) clone() stateDoc {
	d.Heads, d.LogKeys, d.Policies = maps.Clone(d.Heads), maps.Clone(d.LogKeys), maps.Clone(d.Policies)
	d.IndexKeys, d.Owners = maps.Clone(d.IndexKeys), maps.Clone(d.Owners) // their lists are never changed in place
	d.Chains, d.Yanks = cloneEnds(d.Chains), cloneEnds(d.Yanks)
	return d
}

func cloneEnds(all map[string]map[string]seenEnd) map[string]map[string]seenEnd {
	out := maps.Clone(all)
	for origin, ends := range out {
		out[origin] = maps.Clone(ends)
	}
	return out
}

// Save writes what was learned, durably and under a lock. What another process
// has written since the state was loaded is kept, and of two heads, leaves or
// policies the higher stands, so that no race can make a client forget. Nothing
// is written if nothing was learned.
func (s *State) Save() error { return s.save(durable.OS{}) }

func (s *State) save(disk durable.FS) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	ours, err := s.seen.encode()
	if err != nil {
		return err
	}
	if before, err := s.base.encode(); err != nil || bytes.Equal(before, ours) {
		return err
	}
	if err := durable.MkdirAll(disk, filepath.Dir(s.path)); err != nil {
		return stateFault(err)
	}
	unlock, err := durable.Lock(s.path+".lock", true)
	if err != nil {
		return stateFault(err)
	}
	defer unlock()
	theirs, err := readState(s.path)
	if err != nil {
		return err
	}
	theirs.drop(s.dropped)
	if err := s.seen.checkForks(&theirs); err != nil {
		return err
	}
	merged := s.seen.over(&s.base, theirs)
	data, err := merged.encode()
	if err != nil {
		return err
	}
	if err := durable.Sweep(disk, filepath.Dir(s.path)); err != nil { // of a save that was killed
		return stateFault(err)
	}
	if err := durable.WriteFile(disk, s.path, data); err != nil {
		return stateFault(err)
	}
	s.seen, s.base = merged, merged.clone()
	return nil
}

func stateFault(err error) error {
	return fault.New(fault.Usage, "state: %w", err).WithHint("name a place that can be written to with --state DIR")
}

// encode returns the document. If it gets too large, the texts of yank
// statements are left out: they are evidence for people, their digests decide.
func (d *stateDoc) encode() ([]byte, error) {
	data, err := document.Encode(d)
	if err == nil && int64(len(data)) > document.State.MaxBytes {
		short := d.clone()
		for _, ends := range short.Yanks {
			for what, end := range ends {
				end.Document = ""
				ends[what] = end
			}
		}
		data, err = document.Encode(short)
	}
	if err == nil && int64(len(data)) > document.State.MaxBytes {
		err = fault.New(fault.Semantic, "the state would have %d bytes, at most %d are allowed", len(data), document.State.MaxBytes).
			WithHint("use a state of its own for each task, with --state DIR")
	}
	return data, err
}

// drop removes what was seen of logs whose last checkpoint is one of notes.
func (d *stateDoc) drop(notes map[string]string) {
	for origin, note := range notes {
		if d.Heads[origin] == note {
			delete(d.Heads, origin)
			delete(d.Chains, origin)
			delete(d.Yanks, origin)
		}
	}
}

// checkForks compares what two processes saw at the same time. Of two trees of
// one size neither may take the other's place unseen: FORK, with both notes. Two
// trees of different sizes can not be compared here, where no log is at hand.
func (ours *stateDoc) checkForks(theirs *stateDoc) error {
	for origin, note := range ours.Heads {
		other, there := theirs.Heads[origin]
		if !there || !sameSize(note, other) || noteText(note) == noteText(other) {
			continue
		}
		size, _ := noteSize(note) // was validated
		return fault.New(fault.Fork, "log %s has shown another process another tree of size %d", origin, size).
			With("seen", other).With("served", note).
			WithHint("keep both signed checkpoints as evidence and show them to who runs the log")
	}
	return nil
}

func sameSize(a, b string) bool {
	n, errA := noteSize(a)
	m, errB := noteSize(b)
	return errA == nil && errB == nil && n == m
}

// noteText is what a checkpoint says, without its signatures.
func noteText(note string) string {
	text, _, _ := strings.Cut(note, "\n\n")
	return text
}

// over returns theirs with what changed from base to ours.
func (ours *stateDoc) over(base *stateDoc, theirs stateDoc) stateDoc {
	out := theirs.clone()
	size := func(note string) int64 { n, _ := noteSize(note); return n } // both were validated
	merge(&out.Heads, base.Heads, ours.Heads, func(a, b string) bool { return size(a) >= size(b) })
	merge(&out.Policies, base.Policies, ours.Policies, func(a, b int64) bool { return a >= b })
	// Of two processes that pinned at once the first one stands.
	merge(&out.LogKeys, base.LogKeys, ours.LogKeys, func(a, b string) bool { return a == b })
	mergeLists(&out.IndexKeys, base.IndexKeys, ours.IndexKeys)
	// Of two changes of owners it can not be told here which is the later one.
	// Theirs stands: from there the next reader finds the way to ours, or none.
	mergeLists(&out.Owners, base.Owners, ours.Owners)
	mergeEnds(&out.Chains, base.Chains, ours.Chains)
	mergeEnds(&out.Yanks, base.Yanks, ours.Yanks)
	return out
}

// merge puts what changed from base to ours into out, unless out has something
// that may not be replaced by it.
func merge[V comparable](out *map[string]V, base, ours map[string]V, may func(ours, theirs V) bool) {
	for key, value := range ours {
		if was, known := base[key]; known && was == value {
			continue
		}
		if theirs, there := (*out)[key]; there && !may(value, theirs) {
			continue
		}
		if *out == nil {
			*out = map[string]V{}
		}
		(*out)[key] = value
	}
}

// mergeLists is merge for lists; one that another process has changed since
// base stands.
func mergeLists(out *map[string][]string, base, ours map[string][]string) {
	for key, list := range ours {
		if was, known := base[key]; known && slices.Equal(was, list) {
			continue
		}
		if theirs, there := (*out)[key]; there && !slices.Equal(theirs, base[key]) {
			continue
		}
		set(out, key, list)
	}
}

func mergeEnds(out *map[string]map[string]seenEnd, base, ours map[string]map[string]seenEnd) {
	for origin, ends := range ours {
		theirs := (*out)[origin]
		merge(&theirs, base[origin], ends, func(a, b seenEnd) bool { return a.Seq >= b.Seq })
		if *out == nil {
			*out = map[string]map[string]seenEnd{}
		}
		(*out)[origin] = theirs
	}
}

// CheckPolicy refuses a policy of a lower version than one of that name which
// was used before (ROLLBACK), and otherwise remembers its version.
func (s *State) CheckPolicy(p *attest.Policy) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if was := s.seen.Policies[p.Name()]; p.Version() < was {
		return fault.New(fault.Rollback, "policy %s has version %d, version %d was used before", p.Name(), p.Version(), was).
			WithHint("get the policy of version %d or later; if it was taken back on purpose, use a new state with --state DIR", was).
			With("seen", was).With("found", p.Version())
	}
	if s.seen.Policies == nil {
		s.seen.Policies = map[string]int64{}
	}
	s.seen.Policies[p.Name()] = p.Version()
	return nil
}

// Head returns the last checkpoint of a log that was seen, nil for none.
func (s *State) Head(origin string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	if note, ok := s.seen.Heads[origin]; ok {
		return []byte(note)
	}
	return nil
}

func (s *State) setHead(origin string, note []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set(&s.seen.Heads, origin, string(note))
}

// forget gives up what was seen of a log under another key.
func (s *State) forget(origin string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set(&s.dropped, origin, s.seen.Heads[origin])
	s.seen.drop(s.dropped)
}

func set[K comparable, V any](m *map[K]V, key K, value V) {
	if *m == nil {
		*m = map[K]V{}
	}
	(*m)[key] = value
}

// pinLog returns the log key that an index showed first, and whether this is
// that first time.
func (s *State) pinLog(url, key string) (pinned string, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if was, known := s.seen.LogKeys[url]; known {
		return was, false
	}
	set(&s.seen.LogKeys, url, key)
	return key, true
}

// loggedAt says whether the index showed a log before; of a list in a folder,
// whether the index of the folder did: a list has no log, and is no way around it.
func (s *State) loggedAt(url string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	folder := strings.TrimSuffix(url, pageName(entriesFile, 0))
	for _, place := range []string{folder, strings.TrimSuffix(folder, "/")} { // a URL keeps its slash
		if _, known := s.seen.LogKeys[place]; known {
			return true
		}
	}
	return false
}

// pinKeys returns the keys that an index advertised first, and whether this is
// that first time.
func (s *State) pinKeys(url string, keys []attest.PublicKey) (pinned []attest.PublicKey, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if was, known := s.seen.IndexKeys[url]; known {
		pinned, _ = parseKeys(was) // they were validated
		return pinned, false
	}
	set(&s.seen.IndexKeys, url, keyTexts(keys))
	return keys, true
}

// HasSeen says whether the owners of a package were seen before, so that a
// change of them is noticed.
func (s *State) HasSeen(name string) bool { return s.owners(name) != nil }

// FirstOwners are the packages, in order, whose owners this client has seen for
// the first time since the state was loaded or saved: nothing shows that these
// are the right ones, and only a change of them will be noticed.
func (s *State) FirstOwners() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var first []string
	for name := range s.seen.Owners {
		if s.base.Owners[name] == nil {
			first = append(first, name)
		}
	}
	slices.Sort(first)
	return first
}

// owners returns who owned a package when it was seen last, nil if it was not.
func (s *State) owners(name string) []attest.PublicKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys, _ := parseKeys(s.seen.Owners[name])
	return keys
}

func (s *State) setOwners(name string, keys []attest.PublicKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set(&s.seen.Owners, name, keyTexts(keys))
}

func (s *State) chainEnd(origin, name string) (seenEnd, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end, ok := s.seen.Chains[origin][name]
	return end, ok
}

func (s *State) setChainEnd(origin, name string, end seenEnd) {
	s.mu.Lock()
	defer s.mu.Unlock()
	setEnd(&s.seen.Chains, origin, name, end)
}

// yanksOf returns the yank statements of a package's versions that were seen,
// by NAME@VERSION.
func (s *State) yanksOf(origin, name string) map[string]seenEnd {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]seenEnd{}
	for what, end := range s.seen.Yanks[origin] {
		if strings.HasPrefix(what, name+"@") {
			out[what] = end
		}
	}
	return out
}

func (s *State) setYank(origin, what string, end seenEnd) {
	s.mu.Lock()
	defer s.mu.Unlock()
	setEnd(&s.seen.Yanks, origin, what, end)
}

// setEnd only ever goes forward: another goroutine may have read more.
func setEnd(all *map[string]map[string]seenEnd, origin, what string, end seenEnd) {
	if *all == nil {
		*all = map[string]map[string]seenEnd{}
	}
	ends := (*all)[origin]
	if was, known := ends[what]; !known || end.Seq >= was.Seq {
		set(&ends, what, end)
		(*all)[origin] = ends
	}
}
