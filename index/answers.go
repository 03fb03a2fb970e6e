package index

import (
	"crypto/sha256"
	"net/url"
	"strings"
	"time"

	"rebuild/internal/document"
	"rebuild/internal/pack"
	"rebuild/store"
)

// What servers answered is kept in packs: under the hash of a URL what was said
// about the file, a document, and under the file's own hash its content, which
// several URLs may have. It is not made durable: what a crash or another process
// leaves is hashed before it is used, and a cache that can not be written is
// only slower.

// answerDoc is what a server said of a URL.
type answerDoc struct {
	SchemaVersion string       `json:"schema_version"`
	URL           string       `json:"url"`
	ETag          string       `json:"etag,omitempty"`
	Digest        store.Digest `json:"digest"` // of the content
	Size          int          `json:"size"`
	At            int64        `json:"at"` // when it was asked for, in seconds since 1970
	MaxAge        int64        `json:"max_age"`
}

// cached is an answer that was kept, with the content.
type cached struct {
	answerDoc
	body []byte
}

func (c *cached) fresh(now time.Time) bool {
	age := now.Unix() - c.At
	return age >= 0 && age < min(c.MaxAge, int64(maxFresh/time.Second))
}

func urlKey(u *url.URL) pack.Key { return sha256.Sum256([]byte(u.String())) }

// contentKey is not the content's hash itself, which is the hash of a URL too
// if the content is one.
func contentKey(d store.Digest) pack.Key { return sha256.Sum256([]byte("content " + d)) }

// cached returns what is kept of a URL, nil if nothing is or if it is not what
// was written.
func (r *remote) cached(u *url.URL, limit int64) *cached {
	if r.answers == nil {
		return nil
	}
	c := &cached{}
	doc := r.answers.Get(urlKey(u))
	if doc == nil || document.Decode("an answer that was kept", doc, document.IndexCache, &c.answerDoc) != nil || c.URL != u.String() || int64(c.Size) > limit || !sendable(c.ETag) {
		return nil
	}
	if c.Size > 0 {
		c.body = r.answers.Get(contentKey(c.Digest))
	}
	if c.body == nil {
		c.body = []byte{}
	}
	if store.DigestOf(c.body) != c.Digest {
		r.answers.Drop(contentKey(c.Digest)) // so that it is kept again
		return nil
	}
	return c
}

// maxETag is the longest ETag that is kept.
const maxETag = 200

// sendable says whether a server can be asked with an ETag.
func sendable(etag string) bool {
	return len(etag) <= maxETag && !strings.ContainsFunc(etag, func(r rune) bool { return r < ' ' || r > '~' })
}

// keep writes to the cache.
func (r *remote) keep(u *url.URL, c *cached) {
	if r.answers == nil || len(c.body) > maxCacheable {
		return
	}
	c.SchemaVersion, c.URL, c.Size = document.IndexCache.ID(), u.String(), len(c.body)
	doc, err := document.Encode(&c.answerDoc)
	if err != nil {
		return
	}
	if content := contentKey(c.Digest); len(c.body) > 0 && !r.answers.Has(content) {
		err = r.answers.Put(content, c.body)
	}
	if err == nil {
		_ = r.answers.Put(urlKey(u), doc) // only slower
	}
}

func (r *remote) drop(u *url.URL) {
	if r.answers != nil {
		r.answers.Drop(urlKey(u))
	}
}
