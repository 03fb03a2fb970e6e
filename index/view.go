package index

import (
	"crypto/sha256"
	"encoding/hex"

	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// The view is a tree of digests over config.json and every line file, three
// levels high, so that a leaf of the log fixes the whole index and a client
// checks one name with three small files (index.md 7):
//
//	view/root       {nodes: {<2 hex>: sha256 of view/<2 hex>}}
//	view/<2 hex>    {nodes: {<4 hex>: sha256 of view/<4 hex>}}
//	view/<4 hex>    {files: {path: sha256}}, the paths whose sha256 starts so
//
// The view of an event is the sha256 of view/root after it.

// viewNodes is view/root or view/<2 hex>.
type viewNodes struct {
	SchemaVersion string                  `json:"schema_version"`
	Nodes         map[string]store.Digest `json:"nodes"`
}

// viewFiles is view/<4 hex>.
type viewFiles struct {
	SchemaVersion string                  `json:"schema_version"`
	Files         map[string]store.Digest `json:"files"`
}

const (
	viewDir  = "view/"
	viewRoot = viewDir + "root"
)

// viewPath returns the two nodes that a file's digest is under, such as "ab"
// and "ab12".
func viewPath(file string) (two, four string) {
	sum := sha256.Sum256([]byte(file))
	h := hex.EncodeToString(sum[:2])
	return h[:2], h
}

func decodeViewNodes(file string, data []byte) (map[string]store.Digest, error) {
	var n viewNodes
	if err := document.Decode(file, data, document.View, &n); err != nil {
		return nil, err
	}
	return n.Nodes, checkDigests(file, n.Nodes)
}

func decodeViewFiles(file string, data []byte) (map[string]store.Digest, error) {
	var n viewFiles
	if err := document.Decode(file, data, document.View, &n); err != nil {
		return nil, err
	}
	return n.Files, checkDigests(file, n.Files)
}

func checkDigests(file string, all map[string]store.Digest) error {
	for _, d := range all {
		if _, err := store.ParseDigest(string(d)); err != nil {
			return fault.In(err, file)
		}
	}
	return nil
}

func encodeViewNodes(nodes map[string]store.Digest) ([]byte, error) {
	return document.Encode(viewNodes{document.View.ID(), nodes})
}

func encodeViewFiles(files map[string]store.Digest) ([]byte, error) {
	return document.Encode(viewFiles{document.View.ID(), files})
}
