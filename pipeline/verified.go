package pipeline

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"rebuild/internal/document"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
	"rebuild/store"
)

// verifiedFile remembers which blobs were hashed, by what the file system said
// of them then. It is a cache and can be deleted.
const verifiedFile = "verified.json"

// verified remembers the blobs that were found to be what they are called. It
// is for one goroutine.
type verified struct {
	known map[string]string // hex digest of a blob to what the file system said of it
	dirty bool
}

type verifiedFileData struct {
	SchemaVersion string            `json:"schema_version"`
	Blobs         map[string]string `json:"blobs"`
}

// loadVerified reads what a state root remembers. A file that is missing or
// damaged is an empty memory.
func loadVerified(state string) *verified {
	var in verifiedFileData
	if !readState(filepath.Join(state, verifiedFile), document.Verified, &in) || in.Blobs == nil {
		in.Blobs = map[string]string{}
	}
	return &verified{known: in.Blobs}
}

// blob hashes a blob unless its file is the one that was hashed before. The
// error is CKSUM_MISMATCH or FILE_MISSING.
func (v *verified) blob(blobs *store.Store, d store.Digest, now time.Time) error {
	// Looked at before it is read: a change in between shows the next time.
	file, settled := blobFingerprint(blobs.BlobPath(d), now)
	if settled && v.known[d.Hex()] == file {
		return nil
	}
	if err := blobs.Verify(d); err != nil {
		return err
	}
	if settled {
		v.known[d.Hex()], v.dirty = file, true
	}
	return nil
}

// blobFingerprint is what the file system says of a blob: size, inode, and the
// times of its content and of its inode, of which a program can set only the
// first back. settled is false if it is too young to be recognised later.
func blobFingerprint(path string, now time.Time) (text string, settled bool) {
	info, err := os.Lstat(path)
	if err != nil {
		return "", false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || now.Sub(info.ModTime()) < racy || now.Sub(time.Unix(stat.Ctim.Unix())) < racy {
		return "", false
	}
	return fmt.Sprintf("%d %d:%d %d.%09d %d.%09d", stat.Size, stat.Dev, stat.Ino,
		stat.Mtim.Sec, stat.Mtim.Nsec, stat.Ctim.Sec, stat.Ctim.Nsec), true
}

func (v *verified) save(state string) error {
	if !v.dirty {
		return nil
	}
	if len(v.known) > maxRemembered {
		clear(v.known) // blobs that are gone have piled up
	}
	data, err := document.Encode(verifiedFileData{document.Verified.ID(), v.known})
	if err != nil {
		return err
	}
	v.dirty = false
	return durable.WriteFile(durable.OS{}, filepath.Join(state, verifiedFile), data)
}

// verifyTargets hashes the layers and trees of the targets that an earlier run
// left. They are what a run hands out, and no later stage reads them.
func (r *runner) verifyTargets() error {
	v := loadVerified(r.State)
	for _, target := range r.Plan.Doc.Targets {
		out := r.output(target)
		if out == nil || !out.cached {
			continue
		}
		if err := r.verifyTarget(v, out); err != nil {
			return fault.New(fault.CodeOf(err), "output of stage %s: %w", target, err).
				WithHint("rebuild store fsck lists all that is damaged; remove it and run again")
		}
	}
	return v.save(r.State)
}

func (r *runner) verifyTarget(v *verified, out *stageOutput) error {
	image, err := r.blobs.Image(out.record.Manifest)
	if err != nil {
		return err
	}
	for _, d := range []store.Digest{image.Layer.Digest, out.record.Tree} {
		if err := v.blob(r.blobs, d, r.Now()); err != nil {
			return err
		}
	}
	return nil
}
