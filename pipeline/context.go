package pipeline

import (
	"crypto/sha256"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"rebuild/internal/document"
	"rebuild/internal/durable"
	"rebuild/stages"
	"rebuild/store"
)

// contextTree returns the tree digest of a stage's context. Sources that lie
// in it are known by their digest, so a plan can be made before they are
// fetched.
func contextTree(s *stages.Stage, entries []stages.Entry) (store.Digest, error) {
	text, err := contextText(s, entries)
	if err != nil {
		return "", err
	}
	return store.DigestOf(text), nil
}

// contextText returns the text of that tree.
func contextText(s *stages.Stage, entries []stages.Entry) ([]byte, error) {
	text := []byte("rebuild.tree.v1\nd 0755 0 0 - - .\n")
	for i := range entries {
		e := &entries[i]
		switch e.Kind {
		case stages.Folder:
			text = fmt.Appendf(text, "d %04o 0 0 - - ", e.Mode())
		case stages.Link:
			text = appendEscaped(fmt.Appendf(text, "l %04o 0 0 - ", e.Mode()), e.Target)
			text = append(text, ' ')
		default:
			size, content, err := hashEntry(s, e)
			if err != nil {
				return nil, err
			}
			text = fmt.Appendf(text, "f %04o 0 0 %d %s ", e.Mode(), size, content)
		}
		text = append(appendEscaped(text, e.Path), '\n')
	}
	// Parsing holds the text to the one form it can have and to every limit.
	if _, err := store.ParseTree(text); err != nil {
		return nil, fmt.Errorf("context of stage %s: %w", s.Name, err)
	}
	return text, nil
}

// hashEntry reads a file of the context, unless it is a source.
func hashEntry(s *stages.Stage, e *stages.Entry) (size int64, d store.Digest, err error) {
	if known, ok := e.Content(); ok {
		return e.Size, known, nil
	}
	f, err := s.OpenContext(e)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	h := sha256.New()
	size, err = io.Copy(h, f)
	return size, store.DigestOfSum(h.Sum(nil)), err
}

// appendEscaped writes a path or link target as the tree format does.
func appendEscaped(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c > 0x20 && c < 0x7f && c != '%' {
			b = append(b, c)
		} else {
			b = fmt.Appendf(b, "%%%02X", c)
		}
	}
	return b
}

// contextsFile remembers context digests. It is a cache: it can be deleted, and
// what it says of anything but context digests counts for nothing.
const contextsFile = "contexts.json"

// racy is how young a file may not be for its digest to be remembered: a
// second write within the clock's granularity would leave the same times.
const racy = 2 * time.Second

// maxRemembered bounds contexts.json.
const maxRemembered = 20_000

// Contexts remembers the tree digests of contexts by what the file system says
// of their files: path, size, mtime, ctime, inode and mode (formats.md 4). It
// is safe for concurrent use.
type Contexts struct {
	mu    sync.Mutex
	known map[string]rememberedContext // by the hash of the stage folder's path on disk
	dirty bool
}

type rememberedContext struct {
	Files store.Digest `json:"files"` // digest of what the file system says
	Tree  store.Digest `json:"tree"`
}

type contextsFileData struct {
	SchemaVersion string                       `json:"schema_version"`
	Contexts      map[string]rememberedContext `json:"contexts"`
}

// LoadContexts reads what a state root remembers. A file that is missing or
// damaged is an empty memory.
func LoadContexts(state string) *Contexts {
	c := &Contexts{known: map[string]rememberedContext{}}
	file := filepath.Join(state, contextsFile)
	var in contextsFileData
	if !readState(file, document.Contexts, &in) || in.Contexts == nil {
		return c
	}
	c.known = in.Contexts
	return c
}

// save writes what has changed since LoadContexts. The state root exists.
func (c *Contexts) save(state string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dirty {
		return nil
	}
	if len(c.known) > maxRemembered {
		clear(c.known) // folders that are gone have piled up
	}
	data, err := document.Encode(contextsFileData{document.Contexts.ID(), c.known})
	if err != nil {
		return err
	}
	c.dirty = false
	return durable.WriteFile(durable.OS{}, filepath.Join(state, contextsFile), data)
}

// tree returns the tree digest of the context of a stage, from memory if the
// file system says that nothing has changed. dir is the stage folder on disk,
// "" for an embedded one, which is never remembered. now decides what is too
// young to be remembered.
func (c *Contexts) tree(s *stages.Stage, dir string, now time.Time) (store.Digest, error) {
	entries, err := s.Context()
	if err != nil {
		return "", err
	}
	files, settled := fingerprint(entries, now)
	if c == nil || dir == "" || !settled {
		return contextTree(s, entries)
	}
	key := store.DigestOf([]byte(dir)).Hex() // a path need not be what a JSON key can be
	c.mu.Lock()
	known, ok := c.known[key]
	c.mu.Unlock()
	if ok && known.Files == files {
		return known.Tree, nil
	}
	tree, err := contextTree(s, entries)
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known[key] = rememberedContext{files, tree}
	c.dirty = true
	return tree, nil
}

// fingerprint digests what the file system says of the entries. settled is
// false if one is too young, or tells too little, to be recognised later.
func fingerprint(entries []stages.Entry, now time.Time) (d store.Digest, settled bool) {
	h := sha256.New()
	for i := range entries {
		e := &entries[i]
		fmt.Fprintf(h, "%c %04o %d %q %q", e.Kind, e.Mode(), e.Size, e.Path, e.Target)
		if content, ok := e.Content(); ok {
			fmt.Fprintf(h, " %s\n", content)
			continue
		}
		if e.Info == nil || e.Kind != stages.File { // folders and links are what the line says
			fmt.Fprintln(h)
			continue
		}
		stat, ok := e.Info.Sys().(*syscall.Stat_t)
		if !ok || now.Sub(e.Info.ModTime()) < racy || now.Sub(time.Unix(stat.Ctim.Unix())) < racy {
			return "", false
		}
		fmt.Fprintf(h, " %d %d.%09d %d.%09d\n", stat.Ino, stat.Mtim.Sec, stat.Mtim.Nsec, stat.Ctim.Sec, stat.Ctim.Nsec)
	}
	return store.DigestOfSum(h.Sum(nil)), true
}
