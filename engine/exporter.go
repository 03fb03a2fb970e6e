package engine

import (
	"context"
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"

	"github.com/moby/buildkit/cache"
	"github.com/moby/buildkit/exporter"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/snapshot"
	"github.com/moby/buildkit/worker"
	"github.com/moby/buildkit/worker/base"

	"rebuild/internal/fault"
	"rebuild/store"
)

// The tree exporter runs inside the engine: it walks the mounted result and
// writes tree text and canonical layer straight into the bound store. BuildKit's
// own tar export would pass every byte through a session that has no
// back-pressure, and the launcher's memory would grow with the output.

const exporterName = "rebuild.tree"

// exportPrefix marks an error of the tree exporter that is the stage's fault,
// such as a file that no tree can hold, where it crosses the connection as
// text. A full disk is not the stage's fault.
const exportPrefix = "exporting the stage: "

// Attributes of the tree exporter, and keys of its response.
const (
	attrPath   = "path"
	attrEpoch  = "epoch"
	respTree   = "rebuild.tree"
	respLayer  = "rebuild.layer"
	respSize   = "rebuild.layer.size"
	respExport = "containerimage.digest" // BuildKit's own, when an exporter of its own ran too
)

// exportingWorker is BuildKit's worker with one more exporter.
type exportingWorker struct {
	worker.Worker
	base  *base.Worker
	store *store.Store
}

// Exporter returns the tree exporter by name, and BuildKit's own by theirs: the
// recorded extra needs the image exporter, and the others write to the client
// alone.
func (w exportingWorker) Exporter(name string, sessions *session.Manager) (exporter.Exporter, error) {
	if name == exporterName {
		return treeExporter{w.store}, nil
	}
	return w.base.Exporter(name, sessions)
}

type treeExporter struct{ store *store.Store }

// Resolve reads the attributes of one export.
func (t treeExporter) Resolve(_ context.Context, id int, attrs map[string]string) (exporter.ExporterInstance, error) {
	epoch, err := strconv.ParseInt(attrs[attrEpoch], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("epoch %q: %w", attrs[attrEpoch], err)
	}
	return &treeExport{store: t.store, id: id, attrs: attrs, path: attrs[attrPath], epoch: epoch}, nil
}

type treeExport struct {
	store *store.Store
	id    int
	attrs map[string]string
	path  string
	epoch int64
}

func (t *treeExport) ID() int                  { return t.id }
func (t *treeExport) Name() string             { return "exporting " + t.path }
func (t *treeExport) Type() string             { return exporterName }
func (t *treeExport) Attrs() map[string]string { return t.attrs }
func (t *treeExport) Config() *exporter.Config { return exporter.NewConfig() }

// Export mounts the result read-only and stores the exported folder's tree.
func (t *treeExport) Export(ctx context.Context, src *exporter.Source, info exporter.ExportBuildInfo) (map[string]string, exporter.FinalizeFunc, exporter.DescriptorReference, error) {
	layer, err := t.export(ctx, src.Ref, info.SessionID)
	if fault.CodeOf(err) == fault.Structure {
		return nil, nil, nil, fmt.Errorf("%s%w", exportPrefix, err)
	}
	if err != nil {
		return nil, nil, nil, err
	}
	return map[string]string{
		respTree:  string(layer.Tree),
		respLayer: string(layer.Digest),
		respSize:  strconv.FormatInt(layer.Size, 10),
	}, nil, nil, nil
}

func (t *treeExport) export(ctx context.Context, ref cache.ImmutableRef, sessionID string) (store.Layer, error) {
	if ref == nil {
		return t.exportEmpty()
	}
	mountable, err := ref.Mount(ctx, true, session.NewGroup(sessionID))
	if err != nil {
		return store.Layer{}, err
	}
	mounter := snapshot.LocalMounter(mountable)
	dir, err := mounter.Mount()
	if err != nil {
		return store.Layer{}, err
	}
	defer mounter.Unmount()
	// The stage wrote this tree; no link in it may lead the walk outside.
	root, err := os.OpenRoot(dir)
	if err != nil {
		return store.Layer{}, err
	}
	defer root.Close()
	exported, err := openExport(root, t.path)
	if err != nil {
		return store.Layer{}, err
	}
	defer exported.Close()
	return t.store.PutDir(exported.Name(), t.epoch)
}

// exportEmpty is for a result with nothing in it, which BuildKit represents by
// no reference at all.
func (t *treeExport) exportEmpty() (store.Layer, error) {
	if t.path != "/" {
		return store.Layer{}, missingExport(t.path)
	}
	dir, err := os.MkdirTemp("", "empty")
	if err != nil {
		return store.Layer{}, err
	}
	defer os.RemoveAll(dir)
	return t.store.PutDir(dir, t.epoch)
}

// openExport opens the exported folder: every component a real folder, no
// link, since what a link leads to is not what the path names.
func openExport(root *os.Root, name string) (*os.Root, error) {
	if path.Clean("/"+name) != name {
		return nil, fault.New(fault.Structure, "the export path %q is not an absolute clean path", name)
	}
	at := ""
	for part := range strings.SplitSeq(strings.Trim(name, "/"), "/") {
		if part == "" {
			break // the whole image
		}
		at = path.Join(at, part)
		info, err := root.Lstat(at)
		if os.IsNotExist(err) {
			return nil, missingExport(name)
		}
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			return nil, fault.New(fault.Structure, "/%s of the final image is not a folder but %s", at, info.Mode().Type())
		}
	}
	return root.OpenRoot(path.Join(".", at))
}

func missingExport(path string) error {
	return fault.New(fault.Structure, "the final image has no %s; create it in the Containerfile or set export in stage.toml", path)
}
