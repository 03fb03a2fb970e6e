package pipeline

import (
	"maps"
	"os"
	"path/filepath"
	"slices"

	"rebuild/attest"
	"rebuild/internal/document"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
	"rebuild/store"
)

// Folders of records below the state root.
const (
	recordDir = "stages"
	inputDir  = "inputs"
)

// stageRecord says what a stage gave when this operator built it: the file
// stages/KEY.json. It is written last, after the blobs it names are on disk,
// so that there is no record of a half-built stage.
type stageRecord struct {
	SchemaVersion    string            `json:"schema_version"`
	Stage            string            `json:"stage"` // for people; the key decides
	Tree             store.Digest      `json:"tree"`
	Manifest         store.Digest      `json:"manifest"`
	LayerSize        int64             `json:"layer_size"`
	ExporterManifest store.Digest      `json:"exporter_manifest,omitempty"`
	Exporter         map[string]string `json:"exporter,omitempty"` // the attributes of ExporterManifest
	Policy           string            `json:"policy"`             // version of the LLB policy it was built under
	Strict           bool              `json:"strict,omitzero"`
	Runs             int               `json:"runs"`             // fresh builds that all gave this output
	Varied           []string          `json:"varied,omitempty"` // what differed between them, sorted
	Differed         *otherOutput      `json:"differed,omitempty"`
	// Environment is that of the newest build.
	Environment attest.Environment `json:"environment,omitzero"`
	// Binfmt are the interpreters that the kernel had registered in any build.
	Binfmt   []string     `json:"binfmt,omitempty"`
	Result   store.Digest `json:"result,omitempty"`   // payload of the result that covered it
	Operator string       `json:"operator,omitempty"` // who signed Result, or an earlier one for this key
	BuiltAt  string       `json:"built_at"`           // a claim, for people

	substituted bool // others built it; never on disk
}

// otherOutput is what a later build of a stage gave from equal inputs. While a
// record has one, the stage has no output: nobody knows which is right.
type otherOutput struct {
	Tree     store.Digest `json:"tree"`
	Manifest store.Digest `json:"manifest"`
}

// readRecord returns the record of a stage key. One that is missing or not in
// its one form is no record: the stage is built again.
func readRecord(state string, key store.Digest) (*stageRecord, bool) {
	var r stageRecord
	return &r, readState(recordPath(state, key), document.Record, &r)
}

func recordPath(state string, key store.Digest) string {
	return filepath.Join(state, recordDir, key.Hex()+".json")
}

// lockRecords excludes all others who change records of a state root, which
// exists. Reading needs no lock: a record is replaced as a whole.
func lockRecords(state string) (unlock func(), err error) {
	return durable.Lock(filepath.Join(state, "records.lock"), true)
}

// eachRecord calls f with every record of a state root, until it errs.
func eachRecord(state string, f func(key store.Digest, r *stageRecord) error) error {
	return eachFile(filepath.Join(state, recordDir), func(key store.Digest) error {
		if r, ok := readRecord(state, key); ok {
			return f(key, r)
		}
		return nil
	})
}

func (r *stageRecord) write(state string, key store.Digest) error {
	r.SchemaVersion = document.Record.ID()
	return writeState(recordPath(state, key), r)
}

// disagree notes a later build with another output, that of now.
func (r *stageRecord) disagree(now *stageRecord) {
	r.Runs, r.Varied, r.Environment, r.Binfmt = now.Runs, now.Varied, now.Environment, now.Binfmt
	if r.Differed == nil {
		r.Differed = &otherOutput{now.Tree, now.Manifest}
	}
}

// fits says whether the record answers a stage that is wanted with these
// exporter attributes under the policy in force.
func (r *stageRecord) fits(strict bool, exporter map[string]string, policy string) bool {
	return r.Policy == policy && (r.Strict || !strict) &&
		(exporter == nil || r.ExporterManifest != "" && maps.Equal(r.Exporter, exporter))
}

// present says whether the blobs of a record are in the store: a manifest that
// hashes to its name, a config, and a layer of the right size. What a layer
// holds is hashed when a build reads it. A damaged manifest is an error, and
// not a reason to build quietly again (requirements G52); a missing blob is.
func (r *stageRecord) present(blobs *store.Store) (bool, error) {
	return imagePresent(blobs, r.Tree, r.Manifest, r.LayerSize)
}

// imagePresent looks at one of our own images without reading its layer.
func imagePresent(blobs *store.Store, tree, manifest store.Digest, size int64) (bool, error) {
	if !blobs.Has(tree) || !blobs.Has(manifest) {
		return false, nil
	}
	image, err := blobs.Image(manifest)
	if fault.CodeOf(err) == fault.FileMissing {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return image.Layer.Size == size && hasSize(blobs, image.Layer.Digest, size), nil
}

// hasSize says whether a blob is there with the right number of bytes.
func hasSize(blobs *store.Store, d store.Digest, size int64) bool {
	info, err := os.Lstat(blobs.BlobPath(d))
	return err == nil && info.Mode().IsRegular() && info.Size() == size
}

// inputRecord says what a source became as an image: inputs/KEY.json.
type inputRecord struct {
	SchemaVersion string       `json:"schema_version"`
	Name          string       `json:"name"` // for people
	Blob          store.Digest `json:"blob"` // the source archive
	Tree          store.Digest `json:"tree"`
	Manifest      store.Digest `json:"manifest"`
	LayerSize     int64        `json:"layer_size"`
}

func readInput(state string, key store.Digest) (*inputRecord, bool) {
	var r inputRecord
	return &r, readState(filepath.Join(state, inputDir, key.Hex()+".json"), document.Input, &r)
}

func (r *inputRecord) write(state string, key store.Digest) error {
	r.SchemaVersion = document.Input.ID()
	return writeState(filepath.Join(state, inputDir, key.Hex()+".json"), r)
}

func readState(file string, kind document.Kind, v any) bool {
	data, err := readRegular(file, kind.MaxBytes)
	return err == nil && document.Decode(file, data, kind, v) == nil
}

func writeState(file string, v any) error {
	data, err := document.Encode(v)
	if err != nil {
		return err
	}
	if err := durable.MkdirAll(durable.OS{}, filepath.Dir(file)); err != nil {
		return err
	}
	return durable.WriteFile(durable.OS{}, file, data)
}

// StageKey returns the key by which an operator finds its earlier result for a
// stage: the digest of the canonical plan stage, platform, epoch and the
// manifests of its inputs (formats.md 4). manifests maps each of the stage's
// inputs.
func StageKey(s attest.PlanStage, platform string, epoch int64, manifests map[string]store.Digest) (store.Digest, error) {
	return keyOf(struct {
		Inputs   map[string]store.Digest `json:"inputs,omitempty"`
		Platform string                  `json:"platform"`
		Epoch    int64                   `json:"source_date_epoch"`
		Stage    attest.PlanStage        `json:"stage"`
	}{manifests, platform, epoch, s})
}

// sourceKey is the like for a source.
func sourceKey(s attest.PlanSource, platform string, epoch int64) (store.Digest, error) {
	return keyOf(struct {
		Platform string            `json:"platform"`
		Epoch    int64             `json:"source_date_epoch"`
		Source   attest.PlanSource `json:"source"`
	}{platform, epoch, s})
}

func keyOf(v any) (store.Digest, error) {
	b, err := document.Encode(v)
	if err != nil {
		return "", err
	}
	return store.DigestOf(b), nil
}

// union returns the sorted union of two sets.
func union(a, b []string) []string {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(a, b))))
}
