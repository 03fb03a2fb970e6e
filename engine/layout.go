package engine

import (
	"context"
	"fmt"
	"os"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"rebuild/store"
)

// layout offers our store to BuildKit as a source of images, to read only:
// every method that would write is missing on purpose. BuildKit hashes what it
// reads against the digest it asked for.
type layout struct {
	content.Store
	store *store.Store
}

// Info describes a blob that is in the store.
func (l layout) Info(_ context.Context, d digest.Digest) (content.Info, error) {
	info, err := os.Stat(l.path(d))
	if err != nil {
		return content.Info{}, fmt.Errorf("blob %s: %w", d, errdefs.ErrNotFound)
	}
	return content.Info{Digest: d, Size: info.Size()}, nil
}

// ReaderAt opens a blob.
func (l layout) ReaderAt(_ context.Context, desc ocispecs.Descriptor) (content.ReaderAt, error) {
	f, err := os.Open(l.path(desc.Digest))
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", desc.Digest, errdefs.ErrNotFound)
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return blob{f, info.Size()}, nil
}

func (l layout) path(d digest.Digest) string {
	parsed, err := store.ParseDigest(d.String())
	if err != nil {
		return ""
	}
	return l.store.BlobPath(parsed)
}

type blob struct {
	*os.File
	size int64
}

func (b blob) Size() int64 { return b.size }
