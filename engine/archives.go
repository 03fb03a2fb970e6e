package engine

import (
	"archive/tar"
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/moby/buildkit/solver/pb"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"rebuild/internal/decompress"
	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/store"
)

// ownFiles is what an ADD must know of a stage's own files. BuildKit decides
// by content whether it unpacks a file, so names prove nothing.
type ownFiles struct {
	// archives are the files that BuildKit may unpack, with what in them an
	// ordinary user can not create, or "".
	archives map[string]string
	// linked is true if there are links: then any name may lead to any file.
	linked bool
}

// hasFiles says whether the job tells of the stage's own files.
func hasFiles(j pipeline.Job) bool { return j.Context != "" || j.Files != nil }

// ownFiles reads the context's layers, which are what BuildKit will see, or,
// before they are in the store, the files that they will be made from.
func (e *Engine) ownFiles(j pipeline.Job) (ownFiles, error) {
	own := ownFiles{archives: map[string]string{}}
	if j.Context == "" {
		return own, own.list(j, e.rootless)
	}
	st, err := e.open()
	if err != nil {
		return own, err
	}
	raw, err := st.Read(j.Context, maxManifest)
	if err != nil {
		return own, err
	}
	var m ocispecs.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return own, err
	}
	for _, l := range m.Layers {
		layer, err := st.Open(store.Digest(l.Digest))
		if err != nil {
			return own, err
		}
		err = own.read(layer, e.rootless)
		layer.Close()
		if err != nil {
			return own, err
		}
	}
	return own, nil
}

// list adds the files that the context will be made from.
func (own *ownFiles) list(j pipeline.Job, whole bool) error {
	files, err := j.Files()
	if err != nil {
		return err
	}
	for _, f := range files {
		if f.Link {
			own.linked = true
			continue
		}
		content, err := f.Open()
		if err != nil {
			return fault.New(fault.Semantic, "reading the stage's own file %s: %w", f.Path, err).At(j.File, 0)
		}
		foreign, ok := judgeArchive(content, whole)
		content.Close()
		if ok {
			own.archives[f.Path] = foreign
		}
	}
	return nil
}

// read adds the files of one layer; whole is as for judgeArchive.
func (own *ownFiles) read(layer io.Reader, whole bool) error {
	for files := tar.NewReader(layer); ; {
		h, err := files.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		switch h.Typeflag {
		case tar.TypeSymlink, tar.TypeLink:
			own.linked = true
		case tar.TypeReg:
			if foreign, ok := judgeArchive(files, whole); ok {
				own.archives[h.Name] = foreign
			}
		}
	}
}

// judgeArchive says whether BuildKit may take a file for an archive. Whatever
// is compressed counts, since BuildKit opens it outside of the sandbox to know;
// the rest counts if a tar reader finds a header, of any of tar's dialects. If
// whole is set it also names the first member that only root can create.
func judgeArchive(file io.Reader, whole bool) (foreign string, ok bool) {
	in := bufio.NewReader(file)
	head, _ := in.Peek(decompress.Head)
	format := sniff(head)
	compressed := format != decompress.None
	out, done, err := decompress.Open(format, in)
	if err != nil {
		return "", compressed
	}
	defer done()
	members := tar.NewReader(out)
	h, err := members.Next()
	if err != nil {
		return "", compressed
	}
	for ; whole && err == nil && foreign == ""; h, err = members.Next() {
		foreign = foreignMember(h)
	}
	return foreign, true
}

// foreignMember says what in an archive's member an ordinary user can not
// create; go-archive fails on owners, and leaves devices and attributes out
// without a word.
func foreignMember(h *tar.Header) string {
	if h.Uid != 0 || h.Gid != 0 {
		return fmt.Sprintf("%s, which belongs to %d:%d", h.Name, h.Uid, h.Gid)
	}
	if h.Typeflag == tar.TypeBlock || h.Typeflag == tar.TypeChar {
		return fmt.Sprintf("%s, which is a device", h.Name)
	}
	for _, key := range slices.Sorted(maps.Keys(h.PAXRecords)) {
		if name, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok && !strings.HasPrefix(name, "user.") {
			return fmt.Sprintf("%s, which has the attribute %s", h.Name, name)
		}
	}
	return ""
}

// added returns the archives that an ADD may unpack. BuildKit unpacks only
// files that the ADD names, not those in a folder that it names.
func (own *ownFiles) added(c *pb.FileActionCopy) []string {
	src := strings.TrimPrefix(path.Clean("/"+c.Src), "/")
	return slices.DeleteFunc(slices.Sorted(maps.Keys(own.archives)), func(name string) bool {
		if own.linked || src == name {
			return false
		}
		ok, err := path.Match(src, name)
		return !c.AllowWildcard || err != nil || !ok
	})
}

// sniff tells the compression that BuildKit's unpacker sees. It takes a
// skippable frame for the start of a zstd stream, too.
func sniff(head []byte) decompress.Format {
	if len(head) >= 4 && head[0]&0xf0 == 0x50 && bytes.Equal(head[1:4], []byte("\x2a\x4d\x18")) {
		return decompress.Zstd
	}
	return decompress.Sniff(head)
}
