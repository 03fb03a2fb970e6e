package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"rebuild/attest"
	"rebuild/internal/fault"
	"rebuild/store"
)

// Rebuilders exchange statements through a results folder, kept in git or any
// shared place. Each statement is a file of its own and never rewritten, so that
// merges can not conflict (index.md 8):
//
//	<pipeline>/<plan hex>/plan.json
//	<pipeline>/<plan hex>/<operator>/<payload hex>.dsse.json   results and their provenances
//	<pipeline>/<plan hex>/objects/<hex>.json
//	<pipeline>/<plan hex>/events.jsonl, head.tlog-proof
//
// The last two are the plan's part of a log, together and only if it is logged.
// The objects are what statements name by digest, such as the lineage report;
// no judgement reads them.

const (
	planFile      = "plan.json"
	objectFolder  = "objects"
	maxPlan       = 4 << 20
	maxStatements = attest.MaxStatements
	// maxStatementBytes bounds the statements about one plan together, which
	// are all in memory when they are judged: several times what the most
	// statements of usual size have.
	maxStatementBytes = 512 << 20
	maxFolders        = 10_000
)

// planFolder returns where statements about a plan belong.
func planFolder(results string, plan *attest.Plan) string {
	return filepath.Join(results, plan.Pipeline, plan.Digest().Hex())
}

// writeStatement adds an operator's envelope, what it names and the plan to
// the folder, the envelope last.
func writeStatement(results string, plan *attest.Plan, planJSON []byte, operator string, e *attest.Envelope, objects ...[]byte) (string, error) {
	folder := planFolder(results, plan)
	below := path.Join(plan.Pipeline, plan.Digest().Hex())
	if err := realFolders("--out", results, plan.Pipeline, below, path.Join(below, operator), path.Join(below, objectFolder)); err != nil {
		return "", err
	}
	statement := filepath.Join(folder, operator, e.Digest().Hex()+attest.EnvelopeSuffix)
	files := []output{{filepath.Join(folder, planFile), planJSON}}
	for _, o := range objects {
		files = append(files, output{filepath.Join(folder, objectFolder, store.DigestOf(o).Hex()+".json"), o})
	}
	for _, f := range append(files, output{statement, e.Bytes()}) {
		if err := writeFile("--out", f.path, f.data); err != nil {
			return "", err
		}
	}
	return statement, nil
}

// writeProvenance adds the SLSA provenance of an operator's results that the
// signer's key signed, beside each that lacks it, and returns the digests of
// all by those of the results. A crash after a result was written is made up
// for by the next call; so is a result from before there were provenances.
func writeProvenance(results string, plan *attest.Plan, operator string, signer attest.Signer) (map[store.Digest]store.Digest, error) {
	folder := planFolder(results, plan)
	root, err := openFolder(folder, fault.Usage)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	files, err := envelopeFiles(root, operator, folder)
	if err != nil {
		return nil, err
	}
	out := map[store.Digest]store.Digest{}
	for _, f := range files {
		raw, err := readBoundedIn(root, f, filepath.Join(folder, f), attest.MaxEnvelope)
		if err != nil {
			return nil, err
		}
		result, provenance := provenanceOf(plan, raw, signer.Public())
		if provenance == nil {
			continue
		}
		out[result] = store.DigestOf(provenance)
		if name := path.Join(operator, out[result].Hex()+attest.EnvelopeSuffix); slices.Contains(files, name) {
			continue
		}
		signed, err := attest.Sign(provenance, signer)
		if err != nil {
			return nil, err
		}
		if err := writeFile("--out", filepath.Join(folder, operator, out[result].Hex()+attest.EnvelopeSuffix), signed); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// provenanceOf returns the provenance of a result that key signed, nil of
// everything else: a provenance is none, nor is a failure.
func provenanceOf(plan *attest.Plan, raw []byte, key attest.PublicKey) (result store.Digest, provenance []byte) {
	e, err := attest.ParseEnvelope("statement", raw)
	if err != nil {
		return "", nil
	}
	signed, err := e.Verify([]attest.PublicKey{key})
	if err != nil {
		return "", nil
	}
	if provenance, err = attest.NewProvenanceStatement(plan, signed.Payload()); err != nil {
		return "", nil
	}
	return e.Digest(), provenance
}

// readResults finds the one plan folder at or below dir and reads it. Its
// files are evidence as found: nothing is verified here. What can not be read
// is an error, since a statement that is passed over may be the one that says
// otherwise.
func readResults(dir string) (*attest.Plan, attest.BuildEvidence, error) {
	found := attest.BuildEvidence{}
	folder, err := findPlanFolder(dir)
	if err != nil {
		return nil, found, err
	}
	root, err := openFolder(folder, fault.Usage)
	if err != nil {
		return nil, found, err
	}
	defer root.Close()
	file := filepath.Join(folder, planFile)
	if found.Plan, err = readBoundedIn(root, planFile, file, maxPlan); err != nil {
		return nil, found, err
	}
	plan, err := attest.DecodePlan(file, found.Plan)
	if err != nil {
		return nil, found, err
	}
	if named := filepath.Base(folder); len(named) == 64 && named != plan.Digest().Hex() {
		return nil, found, fault.New(fault.EvidenceMismatch, "the plan is %s", plan.Digest()).At(file, 0).
			WithHint("remove the folder: it does not hold what its name says")
	}
	if found.Events, err = readOptionalIn(root, attest.EventsFile, folder, attest.MaxEventsBytes); err != nil {
		return nil, found, err
	}
	if found.Proof, err = readOptionalIn(root, attest.ProofFile, folder, attest.MaxProof); err != nil {
		return nil, found, err
	}
	found.Statements, err = readStatements(root, folder)
	return plan, found, err
}

// readOptionalIn reads a file of a folder; nil if there is none.
func readOptionalIn(root *os.Root, name, folder string, limit int64) ([]byte, error) {
	if _, err := root.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return readBoundedIn(root, name, filepath.Join(folder, name), limit)
}

// withoutLog takes the chain out of results that are judged by a policy
// without a log, and says so.
func (a *app) withoutLog(policy *attest.Policy, dir string, found *attest.BuildEvidence) {
	if policy.LogOrigin() == "" && (found.Events != nil || found.Proof != nil) {
		a.note("%s has a log's events, which are not used: policy %s has no log to verify them by", dir, policy.Name())
		found.Events, found.Proof = nil, nil
	}
}

// readStatements reads the envelopes of all operators in a plan folder.
func readStatements(root *os.Root, folder string) ([][]byte, error) {
	files, err := statementFiles(root, folder)
	if err != nil {
		return nil, err
	}
	if err := checkTotal(root, files, folder); err != nil {
		return nil, err
	}
	envelopes := make([][]byte, 0, len(files))
	for _, f := range files {
		envelope, err := readBoundedIn(root, f, filepath.Join(folder, f), attest.MaxEnvelope)
		if err != nil {
			return nil, err
		}
		envelopes = append(envelopes, envelope)
	}
	return envelopes, nil
}

// checkTotal refuses files that have too many bytes together, before any of
// them is read.
func checkTotal(root *os.Root, files []string, folder string) error {
	total := int64(0)
	for _, f := range files {
		info, err := root.Stat(f)
		if err != nil {
			return unreadable(filepath.Join(folder, f), err)
		}
		if total += info.Size(); info.Size() > attest.MaxEnvelope {
			return tooLarge(filepath.Join(folder, f), attest.MaxEnvelope)
		}
	}
	if total > maxStatementBytes {
		return fault.New(fault.Structure, "%d statements with %d bytes, no more than %d bytes are read", len(files), total, int64(maxStatementBytes)).At(folder, 0).
			WithHint("name the folder of one plan")
	}
	return nil
}

// statementFiles lists the envelopes in a plan folder, and stops at the first
// that is too many.
func statementFiles(root *os.Root, folder string) ([]string, error) {
	defer sparingly()()
	operators, err := listFolders(root, ".", folder)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, operator := range operators {
		more, err := envelopeFiles(root, operator, folder)
		if err != nil {
			return nil, err
		}
		if files = append(files, more...); len(files) > maxStatements {
			return nil, tooManyStatements(folder)
		}
	}
	slices.Sort(files)
	return files, nil
}

// envelopeFiles lists the envelopes in an operator's folder.
func envelopeFiles(root *os.Root, operator, folder string) ([]string, error) {
	var files []string
	err := eachEntry(root, operator, folder, func(e fs.DirEntry) error {
		if !strings.HasSuffix(e.Name(), attest.EnvelopeSuffix) {
			return nil
		}
		if files = append(files, path.Join(operator, e.Name())); len(files) > maxStatements {
			return tooManyStatements(folder)
		}
		return nil
	})
	return files, err
}

func tooManyStatements(folder string) error {
	return fault.New(fault.Structure, "more than %d statements, no more are read", maxStatements).At(folder, 0).
		WithHint("name the folder of one plan")
}

// listFolders returns the folders in dir, a path below root, sorted. Hidden
// ones belong to others, such as git. A link is refused: what it leads to
// could not be told from what is left out.
func listFolders(root *os.Root, dir, shown string) ([]string, error) {
	var folders []string
	err := eachEntry(root, dir, shown, func(e fs.DirEntry) error {
		switch {
		case strings.HasPrefix(e.Name(), "."):
			return nil
		case e.Type()&fs.ModeSymlink != 0:
			return fault.New(fault.Structure, "it is a link").At(filepath.Join(shown, dir, e.Name()), 0).
				WithHint("put the folder itself there")
		case e.IsDir():
			folders = append(folders, path.Join(dir, e.Name()))
		}
		if len(folders) > maxFolders {
			return fault.New(fault.Structure, "more than %d folders, no more are read", maxFolders).At(filepath.Join(shown, dir), 0).
				WithHint("name the folder of one plan")
		}
		return nil
	})
	slices.Sort(folders)
	return folders, err
}

// eachEntry calls visit for everything in a folder, in any order, some at a
// time, so that visit can end a listing that is too long.
func eachEntry(root *os.Root, dir, shown string, visit func(fs.DirEntry) error) error {
	f, err := root.Open(dir)
	if err != nil {
		return unreadable(filepath.Join(shown, dir), err)
	}
	defer f.Close()
	for {
		entries, err := f.ReadDir(256)
		for _, e := range entries {
			if err := visit(e); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return unreadable(filepath.Join(shown, dir), err)
		}
	}
}

func unreadable(path string, err error) error {
	return fault.New(fault.Usage, "%s: %w", path, cause(err)).
		WithHint("make it readable: what can not be read may be a dissent")
}

// findPlanFolder returns the one folder with a plan at most two levels below
// dir, looking no deeper than it must.
func findPlanFolder(dir string) (string, error) {
	root, err := openFolder(dir, fault.Usage)
	if err != nil {
		return "", fault.New(fault.Usage, "results: %w", err).WithHint("name a folder that rebuild attest --out wrote to")
	}
	defer root.Close()
	level := []string{"."}
	for range 3 {
		found, below, err := plansAt(root, dir, level)
		switch {
		case err != nil:
			return "", err
		case len(found) == 1:
			return filepath.Join(dir, found[0]), nil
		case len(found) > 1:
			return "", fault.New(fault.Usage, "%s holds results of %d plans", dir, len(found)).
				WithHint("name the folder of one of them, such as %s", filepath.Join(dir, found[0]))
		}
		level = below
	}
	return "", fault.New(fault.Usage, "%s holds no %s", dir, planFile).
		WithHint("name a folder that rebuild attest --out wrote to")
}

// plansAt returns which of the folders hold a plan, and without any the
// folders below them.
func plansAt(root *os.Root, dir string, folders []string) (found, below []string, err error) {
	for _, folder := range folders {
		switch _, err := root.Lstat(path.Join(folder, planFile)); {
		case err == nil:
			found = append(found, folder)
		case !errors.Is(err, fs.ErrNotExist):
			return nil, nil, unreadable(filepath.Join(dir, folder, planFile), err)
		}
	}
	if len(found) > 0 {
		return found, nil, nil
	}
	for _, folder := range folders {
		list, err := listFolders(root, folder, dir)
		if err != nil {
			return nil, nil, err
		}
		if below = append(below, list...); len(below) > maxFolders {
			return nil, nil, fault.New(fault.Structure, "more than %d folders, no more are read", maxFolders).At(dir, 0).
				WithHint("name the folder of one plan")
		}
	}
	return nil, below, nil
}

// firstDifference names the first file in which two trees differ, as far as
// one of the stores at hand has both texts.
func firstDifference(stores []string, a, b store.Digest) (store.Difference, bool) {
	ta, tb := findTree(stores, a), findTree(stores, b)
	if ta == nil || tb == nil {
		return store.Difference{}, false
	}
	differences := store.Diff(ta, tb)
	if len(differences) == 0 {
		return store.Difference{}, false
	}
	return differences[0], true
}

func findTree(stores []string, d store.Digest) *store.Tree {
	for _, dir := range stores {
		if _, err := os.Stat(filepath.Join(dir, "oci-layout")); err != nil {
			continue
		}
		st, err := store.Open(dir)
		if err != nil {
			continue
		}
		if t, err := st.Tree(d); err == nil {
			return t
		}
	}
	return nil
}
