package attest_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"
	"unicode/utf8"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/index"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

const vectorDir = "../testdata/vectors"

// vector is one file of testdata/vectors, as described in the README there.
type vector struct {
	Expect  string   `json:"expect"`            // "ok", a verdict's state, or an error code
	Why     string   `json:"why"`               // what would go wrong if this passed
	Error   string   `json:"error,omitempty"`   // how this implementation words it
	Account []string `json:"account,omitempty"` // what it says that it found

	Now        string                `json:"now,omitempty"` // the time at which it is judged
	Policy     string                `json:"policy,omitempty"`
	Operator   string                `json:"operator,omitempty"`
	Key        string                `json:"key,omitempty"`
	Keys       []string              `json:"keys,omitempty"`
	Plan       string                `json:"plan,omitempty"`
	Envelope   string                `json:"envelope,omitempty"`
	Statements []string              `json:"statements,omitempty"`
	Events     string                `json:"events,omitempty"`   // of the plan's chain in a log
	Proof      string                `json:"proof,omitempty"`    // of their last line
	Chain      string                `json:"chain,omitempty"`    // the plan whose chain it has to be
	Builds     []vectorBuild         `json:"builds,omitempty"`   // instead of plan, statements, events and proof
	Next       string                `json:"next,omitempty"`     // the policy that comes after policy
	Verifier   string                `json:"verifier,omitempty"` // whose summary it has to be
	Lock       string                `json:"lock,omitempty"`
	Objects    []string              `json:"objects,omitempty"`
	Waive      []string              `json:"waive,omitempty"` // statements to waive, in verdict vectors
	Waivers    []vectorWaiver        `json:"waivers,omitempty"`
	Name       string                `json:"name,omitempty"`      // the package that is asked for
	Version    string                `json:"version,omitempty"`   // of it
	Line       string                `json:"line,omitempty"`      // of an index
	State      string                `json:"state,omitempty"`     // what the reader of an index saw before
	Meanwhile  string                `json:"meanwhile,omitempty"` // what another process has written there since
	Heard      bool                  `json:"heard,omitempty"`     // a log is about to date it
	Offline    bool                  `json:"offline,omitempty"`   // nobody can be asked for a newer head
	Cksum      string                `json:"cksum,omitempty"`     // of the archive that a yank is about
	Forget     bool                  `json:"forget,omitempty"`    // the reader remembers nothing
	Again      map[string]vectorFile `json:"again,omitempty"`     // files of an index that are others when they are asked for again
	Epoch      int64                 `json:"epoch,omitempty"`     // of the files
	Files      map[string]vectorFile `json:"files,omitempty"`     // an archive, a bundle, an index or an OCI layout
	Archive    string                `json:"archive,omitempty"`   // base64 of gzip of a tar, instead of files
	Pad        int64                 `json:"pad,omitempty"`       // zero bytes behind the archive
	Layout     map[string]vectorFile `json:"layout,omitempty"`    // an OCI layout at hand
	Elsewhere  map[string]vectorFile `json:"elsewhere,omitempty"` // archives that another place has, by the digest of the release
	Flat       bool                  `json:"flat,omitempty"`      // who reads the index has named its list
	Asks       []vectorAsk           `json:"asks,omitempty"`      // what a server is asked for, in order
	Answers    []vectorAnswer        `json:"answers,omitempty"`   // what it says to each request
}

type vectorBuild struct {
	Plan       string   `json:"plan"`
	Statements []string `json:"statements"`
	Events     string   `json:"events,omitempty"`
	Proof      string   `json:"proof,omitempty"`
}

// evidence takes what is empty for a file that is not there.
func (b vectorBuild) evidence() attest.BuildEvidence {
	out := attest.BuildEvidence{Plan: []byte(b.Plan), Statements: texts(b.Statements)}
	if b.Events != "" {
		out.Events = []byte(b.Events)
	}
	if b.Proof != "" {
		out.Proof = []byte(b.Proof)
	}
	return out
}

type vectorWaiver struct {
	Statement string `json:"statement"`
	Reason    string `json:"reason"`
}

// vectorFile is a file as it stands in a vector. All empty removes that of
// the base.
type vectorFile struct {
	Type   string `json:"type,omitempty"` // f, d, l, h or p; f if not given
	Mode   string `json:"mode,omitempty"` // octal; 0644, or 0755 of d, 0777 of l
	Text   string `json:"text,omitempty"`
	Base64 string `json:"base64,omitempty"` // instead of text
	Link   string `json:"link,omitempty"`
}

// judgement is what comes out of a vector.
type judgement struct {
	outcome string // in the words of Expect
	text    string // of the error
	account []string
}

func judged(err error, account ...string) judgement {
	if err != nil {
		return judgement{outcome: string(fault.CodeOf(err)), text: err.Error()}
	}
	return judgement{outcome: "ok", account: account}
}

// judge runs a vector.
func (v *vector) judge(kind string) judgement {
	run, ok := kinds[kind]
	if !ok {
		return judgement{outcome: "no such kind of vector"}
	}
	return run(v)
}

// kinds has what each folder asks. A kind of vector is a line here, one in
// [madeVectors], a function that makes its vectors, and a row of the README.
var kinds = map[string]func(*vector) judgement{
	"yank": (*vector).runYank, "policy": (*vector).runPolicy, "plan": (*vector).runPlan, "result": (*vector).runResult, "verdict": (*vector).runVerdict,
	"release": (*vector).runRelease, "key": (*vector).runKey, "envelope": (*vector).runEnvelope, "package": (*vector).runPackage,
	"bundle": (*vector).runBundle, "entry": (*vector).runEntry, "index": (*vector).runIndex, "publication": (*vector).runPublication,
	"chain": (*vector).runChain, "vsa": (*vector).runVSA, "policyupdate": (*vector).runPolicyUpdate, "claim": (*vector).runClaim, "sums": (*vector).runSums,
	"summary": (*vector).runSummary, "logged": (*vector).runLogged, "log": (*vector).runLog, "fsck": (*vector).runFsck,
	"server": (*vector).runServer,
}

func madeVectors(w *attesttest.World) map[string]map[string]vector {
	l := makeLoggedIndex(w.T)
	logged := loggedIndexVectors(l)
	return map[string]map[string]vector{
		"policy": joined(policyVectors(), policyChecks()), "plan": joined(planVectors(w), planChecks(w)),
		"result": joined(resultVectors(w), resultChecks(w)), "verdict": joined(verdictVectors(w), verdictChecks(w), loggedVerdicts(w), companionVerdicts(w), heardVectors(w)),
		"release": joined(releaseVectors(w), releaseChecks(w), layoutVectors(w), loggedReleases(w), companionReleases(w)), "key": keyVectors(), "envelope": joined(envelopeVectors(w), scanVectors(w)),
		"package": packageVectors(w), "bundle": joined(bundleVectors(w), largeBundles(w)), "entry": entryVectors(w), "yank": yankVectors(w), "index": joined(indexVectors(w), elsewhereVectors(w), listVectors(w)),
		"publication": publicationVectors(w), "chain": joined(chainVectors(w), eventVectors(w), proofVectors(w)), "vsa": vsaVectors(w),
		"policyupdate": joined(policyUpdateVectors(w), changeVectors(w)), "claim": claimVectors(w), "sums": sumsVectors(w),
		"summary": summaryVectors(w), "logged": logged, "log": logVectors(l), "fsck": fsckVectors(l, w, logged), "server": serverVectors(),
	}
}

// joined is all of them; a name that stands in two is a mistake.
func joined(all ...map[string]vector) map[string]vector {
	out := map[string]vector{}
	for _, some := range all {
		for name, v := range some {
			if _, taken := out[name]; taken {
				panic(name)
			}
			out[name] = v
		}
	}
	return out
}

func (v *vector) now() time.Time {
	if v.Now == "" {
		return attesttest.Now
	}
	t, err := attest.ParseTime(v.Now)
	if err != nil {
		panic(err)
	}
	return t
}

func (v *vector) runPolicy() judgement {
	p, err := attest.LoadPolicy("policy.toml", []byte(v.Policy))
	if err != nil {
		return judged(err)
	}
	if v.Heard {
		return judged(p.CheckLoggedAt(v.now()))
	}
	if v.Now != "" {
		return judged(p.CheckAt(v.now()))
	}
	return judged(nil, string(p.Digest()), strings.Join(p.Operators(), " "))
}

func (v *vector) runPlan() judgement {
	p, err := attest.DecodePlan("plan.json", []byte(v.Plan))
	if err != nil {
		return judged(err)
	}
	return judged(nil, string(p.Digest()), strings.Join(p.Order(), " "))
}

func (v *vector) runKey() judgement {
	k, err := attest.ParsePublicKey(v.Key)
	if err != nil {
		return judged(err)
	}
	return judged(nil, string(k.ID()), k.Fingerprint())
}

func (v *vector) runEnvelope() judgement {
	e, err := attest.ParseEnvelope("envelope", []byte(v.Envelope))
	if err != nil {
		return judged(err)
	}
	return judged(nil, string(e.Digest()))
}

func (v *vector) runResult() judgement {
	p, err := attest.DecodePlan("plan.json", []byte(v.Plan))
	if err != nil {
		return judged(err)
	}
	e, err := attest.ParseEnvelope("envelope", []byte(v.Envelope))
	if err != nil {
		return judged(err)
	}
	var keys []attest.PublicKey
	for _, text := range v.Keys {
		k, err := attest.ParsePublicKey(text)
		if err != nil {
			return judged(err)
		}
		keys = append(keys, k)
	}
	_, err = attest.OpenResult(e, v.Operator, keys, p)
	return judged(err)
}

func (v *vector) runVerdict() judgement {
	policy, err := attest.LoadPolicy("policy.toml", []byte(v.Policy))
	if err != nil {
		return judged(err)
	}
	p, err := attest.DecodePlan("plan.json", []byte(v.Plan))
	if err != nil {
		return judged(err)
	}
	if v.Heard {
		return v.hear(policy, p)
	}
	var waivers []attest.Waiver
	for _, d := range v.Waive {
		waivers = append(waivers, attest.Waiver{Statement: store.Digest(d), Reason: "a broken machine"})
	}
	for _, w := range v.Waivers {
		waivers = append(waivers, attest.Waiver{Statement: store.Digest(w.Statement), Reason: w.Reason})
	}
	build := vectorBuild{v.Plan, v.Statements, v.Events, v.Proof}.evidence()
	chain, err := build.Chain(policy)
	if err != nil {
		return judged(err)
	}
	verdict, err := attest.Judge(policy, p, build.Statements, chain, waivers, v.now())
	if err != nil {
		return judged(err)
	}
	_, err = verdict.Met()
	out := judged(err)
	out.outcome, out.account = string(verdict.State()), accountOf(verdict)
	return out
}

// hear says what would become of statements that are made known.
func (v *vector) hear(policy *attest.Policy, p *attest.Plan) judgement {
	heard, err := attest.Hear(policy, p, texts(v.Statements), true, v.now())
	if err != nil {
		return judged(err)
	}
	var account []string
	for _, a := range heard {
		account = append(account, a.String())
	}
	_, unlogged := attest.Hear(policy, p, texts(v.Statements), false, v.now())
	if unlogged != nil {
		account = append(account, "without a log: "+unlogged.Error())
	}
	return judged(nil, account...)
}

// accountOf says what a verdict made of operators and statements.
func accountOf(v *attest.Verdict) []string {
	var out []string
	for _, o := range v.Operators() {
		line := o.Operator + ": counted"
		if !o.Counted {
			line = o.Operator + ": not counted"
		}
		if o.Why != "" {
			line += ": " + o.Why
		}
		if o.Provenance != "" {
			line += ": provenance " + string(o.Provenance)
		}
		out = append(out, line)
	}
	for _, s := range v.Statements() {
		out = append(out, s.String())
	}
	for _, c := range v.Contradictions() {
		out = append(out, c.String())
	}
	if log := v.Log(); log != nil {
		out = append(out, log.String())
	}
	for _, raw := range v.Envelopes() {
		out = append(out, "kept: "+string(store.DigestOf(raw)))
	}
	return out
}

func (v *vector) bundle() *attest.Bundle {
	b := &attest.Bundle{Release: []byte(v.Envelope), Evidence: attest.Evidence{Objects: texts(v.Objects)}}
	builds := v.Builds
	if builds == nil && v.Plan != "" {
		builds = []vectorBuild{{v.Plan, v.Statements, v.Events, v.Proof}}
	}
	for _, build := range builds {
		b.Builds = append(b.Builds, build.evidence())
	}
	if v.Lock != "" {
		b.Lock = []byte(v.Lock)
	}
	return b
}

func (v *vector) runRelease() judgement {
	policy, err := attest.LoadPolicy("policy.toml", []byte(v.Policy))
	if err != nil {
		return judged(err)
	}
	expect := attest.Expect{Name: v.Name, Version: v.Version}
	switch { // the two ways in which an archive is handed over
	case v.Archive != "":
		expect.Archives = append(expect.Archives, v.archive())
	case len(v.Files) > 0:
		expect.Files = append(expect.Files, bytes.NewReader(v.archive()))
	}
	dir := ""
	if len(v.Layout) > 0 {
		if dir, err = os.MkdirTemp("", "layout-"); err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		writeFiles(dir, v.Layout)
		expect.Layouts = []string{dir}
	}
	account, err := attest.Verify(policy, v.bundle(), expect, v.now())
	if err != nil {
		out := judged(err)
		if dir != "" {
			out.text = strings.ReplaceAll(out.text, dir, "DIR")
		}
		return out
	}
	return judged(nil, account.Lines()...)
}

func (v *vector) runPublication() judgement {
	policy, err := attest.LoadPolicy("policy.toml", []byte(v.Policy))
	if err != nil {
		return judged(err)
	}
	p, err := attest.NewPublication(policy, v.bundle(), v.archive(), v.now())
	if err != nil {
		return judged(err)
	}
	return judged(nil, p.Account().Lines()...)
}

func (v *vector) runPackage() judgement {
	p, err := attest.OpenPackage("archive", v.archive())
	if err != nil {
		return judged(err)
	}
	account := []string{p.Cksum()}
	for _, x := range p.Payloads() {
		account = append(account, fmt.Sprint(x.Platform, " ", x.Target, " at ", x.Path, ": ", x.Tree))
	}
	return judged(nil, account...)
}

func (v *vector) runBundle() judgement {
	data := v.archive()
	b, err := attest.ReadBundle("bundle", bytes.NewReader(data), int64(len(data)), v.admit())
	if err != nil {
		return judged(err)
	}
	account := []string{fmt.Sprintf("%d builds, %d objects, lock %v", len(b.Builds), len(b.Objects), b.Lock != nil)}
	for _, build := range b.Builds {
		account = append(account, fmt.Sprintf("%d statements, %d bytes of events, %d of proof", len(build.Statements), len(build.Events), len(build.Proof)))
	}
	return judged(nil, account...)
}

// admit asks for the release's signatures, if there is a policy to ask by.
func (v *vector) admit() func([]byte) error {
	if v.Policy == "" {
		return nil
	}
	return func(release []byte) error {
		policy, err := attest.LoadPolicy("policy.toml", []byte(v.Policy))
		if err != nil {
			return err
		}
		e, err := attest.ParseEnvelope("release", release)
		if err != nil {
			return err
		}
		_, err = attest.ReadRelease(policy, e)
		return err
	}
}

func (v *vector) runEntry() judgement {
	policy, err := attest.LoadPolicy("policy.toml", []byte(v.Policy))
	if err != nil {
		return judged(err)
	}
	e, err := index.ParseEntry("line", []byte(v.Line))
	if err != nil {
		return judged(err)
	}
	return judged(e.VerifySignature(policy, v.now()))
}

func (v *vector) runIndex() judgement {
	policy, err := attest.LoadPolicy("policy.toml", []byte(v.Policy))
	if err != nil {
		return judged(err)
	}
	fsys := fstest.MapFS{}
	for name, f := range v.Files {
		fsys[name] = &fstest.MapFile{Data: f.data()}
		if f.Type == "p" {
			fsys[name].Mode = fs.ModeNamedPipe
		}
	}
	ctx := context.Background()
	src, err := v.source(ctx, fsys)
	if err != nil {
		return judged(err)
	}
	in := index.Reading{Policy: policy, Now: v.now(), Elsewhere: v.elsewhere()}
	r, err := index.NewReader(ctx, src, in)
	if err != nil {
		return judged(err)
	}
	if r.Head() != nil {
		return judged(errors.New("a head without a log"))
	}
	if _, _, err := r.Verify(ctx, v.Name, v.Version); err != nil {
		return judged(err)
	}
	var notices []string
	in.Notice = func(s string) { notices = append(notices, s) }
	if r, err = index.NewReader(ctx, src, in); err != nil {
		return judged(err)
	}
	e, p, err := r.Verify(ctx, v.Name, v.Version)
	if err != nil {
		return judged(err)
	}
	return judged(nil, slices.Concat([]string{e.Name + " " + e.Version}, notices, p.Account().Lines())...)
}

func (f vectorFile) data() []byte {
	if f.Base64 == "" {
		return []byte(f.Text)
	}
	b, err := base64.StdEncoding.DecodeString(f.Base64)
	if err != nil {
		panic(err)
	}
	return b
}

func (f vectorFile) mode() int64 {
	text := f.Mode
	if text == "" {
		text = map[string]string{"d": "755", "l": "777"}[f.Type]
	}
	if text == "" {
		text = "644"
	}
	n, err := strconv.ParseInt(text, 8, 64)
	if err != nil {
		panic(err)
	}
	return n
}

// writeFiles makes a directory of files.
func writeFiles(dir string, files map[string]vectorFile) {
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f, at := files[name], filepath.Join(dir, filepath.FromSlash(name))
		err := os.MkdirAll(filepath.Dir(at), 0o755)
		switch {
		case err != nil:
		case f.Type == "d":
			err = os.MkdirAll(at, 0o755)
		case f.Type == "l":
			err = os.Symlink(f.Link, at)
		default:
			err = os.WriteFile(at, f.data(), 0o644)
		}
		if err != nil {
			panic(err)
		}
	}
}

// archive returns the tar of a vector: what it gives itself, or the canonical
// one of its files, as the README describes it.
func (v *vector) archive() []byte {
	if v.Archive == "" {
		return append(canonicalTar(v.Files, v.Epoch), make([]byte, v.Pad)...)
	}
	packed, err := base64.StdEncoding.DecodeString(v.Archive)
	if err != nil {
		panic(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		panic(err)
	}
	out, err := io.ReadAll(z)
	if err != nil {
		panic(err)
	}
	return append(out, make([]byte, v.Pad)...)
}

var types = map[string]store.Type{"": store.Regular, "f": store.Regular, "d": store.Dir, "l": store.Symlink, "h": store.Link}

// canonicalTar does not use the canonical writer of package store for what it
// would refuse: a vector may be of anything.
func canonicalTar(all map[string]vectorFile, epoch int64) []byte {
	var files []store.File
	for _, name := range slices.Sorted(maps.Keys(all)) {
		f := all[name]
		files = append(files, store.File{Path: name, Type: types[f.Type], Mode: uint32(f.mode()), Data: f.data(), Target: f.Link})
	}
	var out bytes.Buffer
	if _, err := store.WriteArchive(&out, files, epoch); err != nil {
		panic(err)
	}
	return out.Bytes()
}

// packed returns the tar of headers and contents, of any form, for Archive.
func packed(headers []*tar.Header, contents ...string) string {
	var plain bytes.Buffer
	w := tar.NewWriter(&plain)
	for i, h := range headers {
		content := ""
		if i < len(contents) {
			content = contents[i]
		}
		h.Size = int64(len(content))
		if err := w.WriteHeader(h); err != nil {
			panic(err)
		}
		io.WriteString(w, content)
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return zipped(plain.Bytes())
}

func zipped(plain []byte) string {
	var out bytes.Buffer
	z, _ := gzip.NewWriterLevel(&out, 9)
	z.Write(plain)
	z.Close()
	return base64.StdEncoding.EncodeToString(out.Bytes())
}

func texts(all []string) [][]byte {
	var out [][]byte
	for _, s := range all {
		out = append(out, []byte(s))
	}
	return out
}

// namedVector is a vector as it was read from its file.
type namedVector struct {
	kind, name string
	vector
}

// check says in what the outcome is not the expected one.
func (v *namedVector) check() error {
	got := v.judge(v.kind)
	switch {
	case got.outcome != v.Expect:
		return fmt.Errorf("got %s (%s), want %s: %s", got.outcome, got.text, v.Expect, v.Why)
	case got.text != v.Error:
		return fmt.Errorf("got the error\n%s\nand not\n%s", got.text, v.Error)
	case !slices.Equal(got.account, v.Account):
		return fmt.Errorf("got the account\n%s\nand not\n%s", strings.Join(got.account, "\n"), strings.Join(v.Account, "\n"))
	}
	return nil
}

// readVectors reads every vector, from the files alone.
func readVectors(t *testing.T) []namedVector {
	t.Helper()
	var out []namedVector
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		dir := filepath.Join(vectorDir, kind)
		base, err := os.ReadFile(filepath.Join(dir, baseFile))
		must(t, err)
		files, err := os.ReadDir(dir)
		must(t, err)
		for _, f := range files {
			if f.Name() == baseFile {
				continue
			}
			data, err := os.ReadFile(filepath.Join(dir, f.Name()))
			must(t, err)
			v := namedVector{kind: kind, name: kind + "/" + strings.TrimSuffix(f.Name(), ".json")}
			decodeVector(t, base, &v.vector)
			honest := v.vector
			v.Expect, v.Why, v.Error, v.Account = "", "", "", nil
			decodeVector(t, data, &v.vector)
			v.unquote(&honest)
			v.resolve()
			out = append(out, v)
		}
	}
	return out
}

// unquote puts in what a text has of the base's.
func (v *vector) unquote(base *vector) {
	mine, theirs := reflect.ValueOf(v).Elem(), reflect.ValueOf(base).Elem()
	for i := range mine.NumField() {
		if f := mine.Field(i); f.Kind() == reflect.String {
			f.SetString(quoted.ReplaceAllStringFunc(f.String(), func(m string) string {
				part := quoted.FindStringSubmatch(m)
				from, err := strconv.Atoi(part[1])
				if err != nil {
					panic(err)
				}
				to, err := strconv.Atoi(part[2])
				if err != nil {
					panic(err)
				}
				return theirs.Field(i).String()[from:to]
			}))
		}
	}
}

var quoted = regexp.MustCompile(`⟨([0-9]+)-([0-9]+)⟩`)

// quote writes a text as what it has of another, ⟨FROM-TO⟩, and what it has
// not, so that a vector is small and shows in what it differs.
func quote(text, base string) string {
	const least = 32
	places := map[string]int{}
	for i := range max(0, len(base)-least+1) {
		if _, known := places[base[i:i+least]]; !known {
			places[base[i:i+least]] = i
		}
	}
	var out strings.Builder
	for i := 0; i < len(text); {
		at, n := 0, 0
		if i+least <= len(text) {
			if found, ok := places[text[i:i+least]]; ok {
				for at = found; i+n < len(text) && at+n < len(base) && text[i+n] == base[at+n]; {
					n++
				}
			}
		}
		if n == 0 {
			out.WriteByte(text[i])
			i++
			continue
		}
		fmt.Fprintf(&out, "⟨%d-%d⟩", at, at+n)
		i += n
	}
	if !utf8.ValidString(out.String()) {
		return text // it would be cut within a character
	}
	return out.String()
}

// decodeVector reads a file of a vector over what v holds.
func decodeVector(t *testing.T, data []byte, v *vector) {
	t.Helper()
	var tree any
	must(t, stdjson.Unmarshal(data, &tree))
	full, err := stdjson.Marshal(eachText(tree, func(s string) string {
		name, shared := strings.CutPrefix(s, "@")
		if !shared {
			return s
		}
		text, err := os.ReadFile(filepath.Join(vectorDir, sharedDir, name))
		must(t, err)
		return string(text)
	}))
	must(t, err)
	must(t, stdjson.Unmarshal(full, v))
}

// eachText returns decoded JSON with every text changed.
func eachText(v any, change func(string) string) any {
	switch v := v.(type) {
	case string:
		return change(v)
	case []any:
		for i := range v {
			v[i] = eachText(v[i], change)
		}
	case map[string]any:
		for k := range v {
			v[k] = eachText(v[k], change)
		}
	}
	return v
}

// sharedDir holds texts that stand in several vectors, each under the first
// half of its sha256. A vector says @NAME for one.
const sharedDir = "shared"

func sharedName(text string) string { return store.DigestOf([]byte(text)).Hex()[:32] }

// sharedTexts returns by name the long texts that stand in more than one file.
func sharedTexts(t *testing.T, made map[string]map[string]vector) map[string]string {
	t.Helper()
	out, count := map[string]string{}, map[string]int{}
	for kind, all := range made {
		base := all[bases[kind]]
		for _, v := range append(slices.Collect(maps.Values(all)), base) {
			than := base
			if reflect.DeepEqual(v, base) {
				than = vector{}
			}
			seen := map[string]bool{}
			eachText(difference(t, v, than), func(s string) string {
				if name := sharedName(s); len(s) > 120 && !seen[name] {
					seen[name] = true
					count[name]++
					out[name] = s
				}
				return s
			})
		}
	}
	maps.DeleteFunc(out, func(name, _ string) bool { return count[name] < 2 })
	return out
}

// resolve takes away the files that a vector removes, and writes out what is
// given by a rule.
func (v *vector) resolve() {
	for _, files := range []map[string]vectorFile{v.Files, v.Layout} {
		maps.DeleteFunc(files, func(_ string, f vectorFile) bool { return f == vectorFile{} })
	}
	value := reflect.ValueOf(v).Elem()
	for i := range value.NumField() {
		switch f := value.Field(i); f.Kind() {
		case reflect.String:
			f.SetString(expand(f.String()))
		case reflect.Slice:
			for j := range f.Len() {
				if f.Index(j).Kind() == reflect.String {
					f.Index(j).SetString(expand(f.Index(j).String()))
				}
			}
		}
	}
	for i := range v.Answers {
		v.Answers[i].Body = expand(v.Answers[i].Body)
	}
	for _, files := range []map[string]vectorFile{v.Files, v.Layout, v.Again} {
		for name, f := range files {
			f.Text = expand(f.Text)
			files[name] = f
		}
	}
}

var repeated = regexp.MustCompile(`⟨([0-9]+)×([^⟩]*)⟩`)

var octet = regexp.MustCompile(`⟨0x([0-9a-f]{2})⟩`)

// expand writes out ⟨N×TEXT⟩, so that a large input is a small file, and
// ⟨0xHH⟩, a byte that is no text.
func expand(s string) string {
	s = octet.ReplaceAllStringFunc(s, func(m string) string {
		b, err := hex.DecodeString(octet.FindStringSubmatch(m)[1])
		if err != nil {
			panic(err)
		}
		return string(b)
	})
	return repeated.ReplaceAllStringFunc(s, func(m string) string {
		part := repeated.FindStringSubmatch(m)
		n, err := strconv.Atoi(part[1])
		if err != nil {
			panic(err)
		}
		return strings.Repeat(part[2], n)
	})
}

func times(n int, text string) string { return fmt.Sprintf("⟨%d×%s⟩", n, text) }

// The vectors are files, so that another implementation can run them; how
// they are made is in this package, so that they can be read and extended.
// REBUILD_UPDATE=1 writes them anew; what each expects is said where it is
// made, and only the words of the error and the account are recorded.
func TestVectors(t *testing.T) {
	made := madeVectors(attesttest.New(t))
	shared := sharedTexts(t, made)
	if os.Getenv("REBUILD_UPDATE") == "1" {
		for kind, all := range made {
			writeVectors(t, kind, all, shared)
		}
		writeShared(t, shared)
	}
	files, err := os.ReadDir(filepath.Join(vectorDir, sharedDir))
	must(t, err)
	if len(files) != len(shared) {
		t.Errorf("%d texts are shared, there are files of %d", len(shared), len(files))
	}
	passes, refusals, seen := 0, 0, map[string]bool{}
	for _, v := range readVectors(t) {
		t.Run(v.name, func(t *testing.T) {
			seen[v.name] = true
			want, ok := made[v.kind][path.Base(v.name)]
			data, err := os.ReadFile(filepath.Join(vectorDir, v.name+".json"))
			must(t, err)
			want.Error, want.Account = v.Error, v.Account // which check holds against what comes out
			if !ok || string(encodeVector(t, want, made[v.kind][bases[v.kind]], shared)) != string(data) {
				t.Error("not what is made for it; run with REBUILD_UPDATE=1 and read the difference")
			}
			if err := v.check(); err != nil {
				t.Error(err)
			}
			if v.Expect == "ok" || v.Expect == "met" {
				passes++
			} else {
				refusals++
			}
		})
	}
	for kind, all := range made {
		for name := range all {
			if !seen[kind+"/"+name] {
				t.Errorf("%s/%s is made and has no file", kind, name)
			}
		}
	}
	if passes < 20 || refusals < 80 {
		t.Errorf("%d passes and %d refusals, the bar is 20 and 80", passes, refusals)
	}
}

// baseFile holds the fields that a vector of its folder does not give itself:
// those of the honest one.
const baseFile = "base.json"

var bases = map[string]string{"policy": "two-of-three", "plan": "two-stages", "result": "built", "verdict": "all-agree", "release": "honest",
	"key": "north", "envelope": "north", "package": "honest", "bundle": "honest", "entry": "signed", "index": "honest", "publication": "honest",
	"chain": "honest", "vsa": "passed", "policyupdate": "next", "claim": "result", "sums": "honest", "summary": "verdict", "logged": "honest", "yank": "yank", "log": "honest", "fsck": "honest", "server": "honest"}

// recorded adds to a vector what this implementation says.
func recorded(kind string, v vector) vector {
	full := v
	full.Files, full.Layout, full.Again = maps.Clone(v.Files), maps.Clone(v.Layout), maps.Clone(v.Again)
	full.Statements, full.Keys, full.Objects = slices.Clone(v.Statements), slices.Clone(v.Keys), slices.Clone(v.Objects)
	full.Answers = slices.Clone(v.Answers)
	full.resolve()
	j := full.judge(kind)
	v.Error, v.Account = j.text, j.account
	return v
}

func writeShared(t *testing.T, shared map[string]string) {
	t.Helper()
	dir := filepath.Join(vectorDir, sharedDir)
	must(t, os.RemoveAll(dir))
	must(t, os.MkdirAll(dir, 0o755))
	for name, text := range shared {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
}

func writeVectors(t *testing.T, kind string, all map[string]vector, shared map[string]string) {
	t.Helper()
	dir := filepath.Join(vectorDir, kind)
	must(t, os.RemoveAll(dir))
	must(t, os.MkdirAll(dir, 0o755))
	base := all[bases[kind]]
	must(t, os.WriteFile(filepath.Join(dir, baseFile), encodeVector(t, base, vector{}, shared), 0o644))
	for name, v := range all {
		must(t, os.WriteFile(filepath.Join(dir, name+".json"), encodeVector(t, recorded(kind, v), base, shared), 0o644))
	}
}

// difference returns expect, why and what differs from the base, as decoded
// JSON.
func difference(t *testing.T, v, base vector) any {
	t.Helper()
	out := object{"expect": v.Expect, "why": v.Why}
	mine, theirs := reflect.ValueOf(v), reflect.ValueOf(base)
	for i := range mine.NumField() {
		name := fieldName(mine.Type().Field(i))
		switch m := mine.Field(i).Interface().(type) {
		case map[string]vectorFile:
			if d := changed(m, theirs.Field(i).Interface().(map[string]vectorFile)); len(d) > 0 {
				out[name] = d
			}
		default:
			if !reflect.DeepEqual(m, theirs.Field(i).Interface()) {
				out[name] = m
			}
		}
	}
	raw, err := stdjson.Marshal(out)
	must(t, err)
	var tree any
	must(t, stdjson.Unmarshal(raw, &tree))
	return tree
}

func fieldName(f reflect.StructField) string {
	name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
	return name
}

// encodeVector returns the file of a vector.
func encodeVector(t *testing.T, v, base vector, shared map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	e := stdjson.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	tree := eachText(difference(t, v, base), func(s string) string {
		if name := sharedName(s); shared[name] != "" {
			return "@" + name
		}
		return s
	}).(object)
	honest := reflect.ValueOf(base)
	for i := range honest.NumField() {
		name := fieldName(honest.Type().Field(i))
		if text, ok := tree[name].(string); ok && name != "why" && name != "error" && honest.Field(i).Kind() == reflect.String {
			tree[name] = quote(text, honest.Field(i).String())
		}
	}
	must(t, e.Encode(tree))
	return b.Bytes()
}

// changed returns the files that are not those of the base; one that is not
// there any more is empty.
func changed(files, base map[string]vectorFile) map[string]vectorFile {
	out := map[string]vectorFile{}
	for name, f := range files {
		if f != base[name] {
			out[name] = f
		}
	}
	for name := range base {
		if _, ok := files[name]; !ok {
			out[name] = vectorFile{}
		}
	}
	return out
}

// object is a JSON object that is being spoiled.
type object = map[string]any

// edit decodes canonical JSON, spoils it and encodes it canonically again.
func edit(data []byte, spoil func(object)) []byte {
	var o object
	if err := stdjson.Unmarshal(data, &o); err != nil {
		panic(err)
	}
	spoil(o)
	out, err := document.Encode(o)
	if err != nil {
		panic(err)
	}
	return out
}

func sub(o object, path ...any) object {
	var at any = o
	for _, p := range path {
		switch p := p.(type) {
		case string:
			at = at.(object)[p]
		case int:
			at = at.([]any)[p]
		}
	}
	return at.(object)
}

var otherDigest = string(store.DigestOf([]byte("something else")))

func policyVectors() map[string]vector {
	ok := func(why, text string) vector { return vector{Expect: "ok", Why: why, Policy: text} }
	at := func(v vector, now string) vector { v.Now = now; return v }
	bad := func(why, from, to string) vector {
		text := attesttest.Policy("")
		if !strings.Contains(text, from) {
			panic(from)
		}
		return vector{Expect: "POLICY_INVALID", Why: why, Policy: strings.Replace(text, from, to, 1)}
	}
	key := func(name string) string { return attesttest.Key(name).Public().String() }
	main := `groups.main = { need = 2, of = ["east", "north", "west"] }`
	adding := func(why, extra string) vector {
		return bad(why, main, main+"\n"+extra)
	}
	logged := func(why, from, to string) vector {
		text := attesttest.Policy(attesttest.LogPolicy(1, "w1", "w2"))
		if !strings.Contains(text, from) {
			panic(from)
		}
		return vector{Expect: "POLICY_INVALID", Why: why, Policy: strings.Replace(text, from, to, 1)}
	}
	logKey := attesttest.VerifierKey(attesttest.Origin, "log", 1)
	witness := attesttest.VerifierKey("w1.example", "w1", 4)
	rekeyed := attesttest.VerifierKey
	with := func(v vector, code string) vector { v.Expect = code; return v }
	return map[string]vector{
		"two-of-three": ok("the policy that the other vectors start from", attesttest.Policy("")),
		"nested": ok("groups in groups", strings.Replace(attesttest.Policy(""), main,
			"groups.two = { need = 1, of = [\"east\", \"west\"] }\ngroups.main = { need = 2, of = [\"north\", \"two\"] }", 1)),
		"diversity": ok("an environment field and a label", strings.Replace(attesttest.Policy("[operators.south]\nlabels = { jurisdiction = \"aq\" }\nkeys = [{ key = \""+
			key("south")+"\" }]\n"), main, "diversity = { cpu_vendor = 2, jurisdiction = 1 }\n"+main, 1)),
		"key-window": ok("an old and a new key of one operator", strings.Replace(attesttest.Policy(""), `keys = [{ key = "`+key("north")+`" }]`,
			`keys = [{ key = "`+key("north")+`", not_after = "2026-01-01T00:00:00Z" }, { key = "`+key("north2")+`", not_before = "2026-01-01T00:00:00Z" }]`, 1)),
		"empty-witnesses":  ok("witnesses may be 0 of 0", strings.Replace(attesttest.Policy(""), main, "witnesses = { need = 0, keys = [] }\n"+main, 1)),
		"revoked":          ok("a revoked key stays listed", strings.Replace(attesttest.Policy(""), key("west")+`"`, key("west")+`", revoked_from = 900`, 1)),
		"need-zero":        bad("a threshold of 0 lets everything pass", "need = 2, of", "need = 0, of"),
		"need-negative":    bad("so does a negative one", "need = 2, of", "need = -1, of"),
		"need-too-many":    bad("a threshold that nobody can reach", "need = 2, of", "need = 4, of"),
		"signers-zero":     bad("nobody would have to sign", "signers = { need = 2", "signers = { need = 0"),
		"signers-too-many": bad("nobody could ever sign", "signers = { need = 2", "signers = { need = 3"),
		"root-zero":        bad("anyone could change the policy", "root = { need = 1", "root = { need = 0"),
		"root-too-many":    bad("nobody could", "root = { need = 1", "root = { need = 2"),
		"nested-zero": bad("a threshold of 0 counts at any depth", main,
			"groups.two = { need = 0, of = [\"east\", \"west\"] }\ngroups.main = { need = 2, of = [\"north\", \"two\"] }"),
		"empty-group":              bad("a group of nobody", main, "groups.two = { need = 1, of = [] }\ngroups.main = { need = 2, of = [\"north\", \"two\"] }"),
		"no-quorum":                bad("there is no default quorum", "quorum = \"main\"\n", ""),
		"no-signers":               bad("nobody would sign", `signers = { need = 2, keys = [{ name = "r1", key = "`+key("r1")+`" }, { name = "r2", key = "`+key("r2")+`" }] }`, ""),
		"no-root":                  bad("nobody would own the policy", "root = { need = 1, keys = [\""+key("root")+"\"] }\n", ""),
		"quorum-unknown":           bad("a group that is not there", `quorum = "main"`, `quorum = "mane"`),
		"quorum-is-operator":       bad("an operator is no group", `quorum = "main"`, `quorum = "north"`),
		"member-unknown":           bad("a member that is not there", `"west"] }`, `"wset"] }`),
		"member-twice":             bad("one operator would count twice", `"west"] }`, `"west", "west"] }`),
		"operator-in-two-groups":   bad("one operator would count twice", main, "groups.two = { need = 1, of = [\"east\", \"north\"] }\ngroups.main = { need = 2, of = [\"north\", \"two\"] }"),
		"cycle":                    bad("a group in itself", main, "groups.two = { need = 1, of = [\"main\"] }\ngroups.main = { need = 1, of = [\"north\", \"two\"] }"),
		"key-of-two-operators":     bad("one key would count twice", key("west"), key("east")),
		"key-twice-in-operator":    bad("two windows of one key", `keys = [{ key = "`+key("west")+`" }]`, `keys = [{ key = "`+key("west")+`" }, { key = "`+key("west")+`" }]`),
		"signer-is-operator":       bad("a signer would attest its own release", key("r2"), key("east")),
		"signer-twice":             bad("one signer would be two", key("r2"), key("r1")),
		"signer-names-equal":       bad("two signers that can not be told apart", `name = "r2"`, `name = "r1"`),
		"root-is-signer":           bad("one key in two roles", key("r2"), key("root")),
		"index-is-operator":        bad("one key in two roles", `index = { keys = [{ key = "`+key("index"), `index = { keys = [{ key = "`+key("east")),
		"operator-and-group-alike": bad("a name for two things", main, "groups.east = { need = 1, of = [\"west\"] }\n"+main),
		"operator-twins":           bad("names that a person takes for one", main+"\n[operators.east]", main+"\n[operators.a-b]\nkeys = [{ key = \""+key("x")+"\" }]\n[operators.a_b]\nkeys = [{ key = \""+key("y")+"\" }]\n[operators.east]"),
		"operator-without-keys":    bad("an operator who can say nothing", `keys = [{ key = "`+key("west")+`" }]`, `keys = []`),
		"diversity-zero":           bad("a check that checks nothing", main, "diversity = { kernel = 0 }\n"+main),
		"diversity-too-many":       bad("more values than operators", main, "diversity = { kernel = 4 }\n"+main),
		"diversity-unknown":        bad("an attribute that nobody has", main, "diversity = { colour = 1 }\n"+main),
		"label-like-field":         bad("a label would hide what the result says", `[operators.east]`, "[operators.east]\nlabels = { kernel = \"7\" }"),
		"waiver-need-too-few":      bad("a waiver would be easier than a release", main, "dissent = { waiver_need = 1 }\n"+main),
		"waiver-need-too-many":     bad("more than there are signers", main, "dissent = { waiver_need = 3 }\n"+main),
		"dissent-on-unknown":       bad("a misspelt choice is no default", main, "dissent = { on = \"ignore\" }\n"+main),
		"expires-not-a-time":       bad("a date of another form", `expires = "2027-06-30T00:00:00Z"`, `expires = "2027-06-30"`),
		"version-zero":             bad("updates count up from 1", "version = 1", "version = 0"),
		"key-url-safe":             bad("base64 of another alphabet", key("east"), strings.NewReplacer("+", "-", "/", "_").Replace(key("east"))+" "),
		"key-too-short":            bad("not 32 bytes", key("east"), base64.StdEncoding.EncodeToString(make([]byte, 31))),
		"logged":                   adding("there is no log that votes could be in", "require = { logged = true }"),
		"log-key-junk":             adding("a key that nobody has", `log = { origin = "example.org/log", key = "k" }`),
		"witnesses-without-log":    adding("there is nothing to witness", "witnesses = { need = 1, keys = [\""+witness+"\"] }"),
		"commit":                   adding("this version has no commitments", `independence = "commit"`),
		"log":                      ok("a log and one witness of two", attesttest.Policy(attesttest.LogPolicy(1, "w1", "w2"))),
		"log-alone":                ok("a log that nobody watches", attesttest.Policy(attesttest.LogPolicy(0))),
		"witness-plain-key":        with(logged("a witness key may be written as the same ed25519 key", witness, rekeyed("w1.example", "w1", 1)), "ok"),
		"log-max-age":              with(logged("a limit in hours", "[witnesses]", "max_age = \"48h\"\n[witnesses]"), "ok"),
		"log-max-age-composed":     logged("two spellings of one time", "[witnesses]", "max_age = \"1h30m\"\n[witnesses]"),
		"log-max-age-zero":         logged("every checkpoint would be too old", "[witnesses]", "max_age = \"0h\"\n[witnesses]"),
		"log-max-age-no-unit":      logged("24 of what", "[witnesses]", "max_age = \"24\"\n[witnesses]"),
		"log-origin-empty":         logged("a log without a name", `origin = "example.org/log"`, `origin = ""`),
		"log-origin-other":         logged("the key is of another log", `origin = "example.org/log"`, `origin = "example.org/other"`),
		"log-key-hash":             logged("a verifier key whose hash is of another key", logKey, rekeyed(attesttest.Origin, "w1", 1)[:24]+logKey[24:]),
		"log-key-cosignature":      logged("a log signs its checkpoints and does not only cosign them", logKey, rekeyed(attesttest.Origin, "log", 4)),
		"log-key-newer":            logged("a type of key that this version does not know", logKey, rekeyed(attesttest.Origin, "log", 6)),
		"log-is-operator":          logged("an operator would date its own votes", logKey, rekeyed(attesttest.Origin, "east", 1)),
		"log-is-signer":            logged("one key in two roles", logKey, rekeyed(attesttest.Origin, "r1", 1)),
		"log-is-root":              logged("one key in two roles", logKey, rekeyed(attesttest.Origin, "root", 1)),
		"log-is-index":             logged("one key in two roles", logKey, rekeyed(attesttest.Origin, "index", 1)),
		"witness-is-log":           logged("a log would watch itself", witness, rekeyed("w1.example", "log", 4)),
		"witness-is-operator":      logged("one key in two roles", witness, rekeyed("w1.example", "west", 4)),
		"witness-twice":            logged("one witness would be two under two names", witness, rekeyed("w1.example", "w2", 4)),
		"witnesses-zero":           logged("a check that checks nothing", "need = 1\n", "need = 0\n"),
		"witnesses-too-many":       logged("nobody could ever cosign", "need = 1\n", "need = 3\n"),
		"log-key-weak":             with(logged("a key that signs anything", logKey, weakNoteKey(attesttest.Origin)), "KEY_WEAK"),
		"in-force":                 at(ok("to its last second", attesttest.Policy("")), "2027-06-30T00:00:00Z"),
		"expired":                  at(with(ok("what nobody answers for any more", attesttest.Policy("")), "POLICY_EXPIRED"), "2027-06-30T00:00:01Z"),
		"weak-key":                 with(bad("a key that signs anything", key("east"), base64.StdEncoding.EncodeToString(append([]byte{1}, make([]byte, 31)...))), "KEY_WEAK"),
		"unknown-key":              with(bad("a misspelt key is never ignored", "version = 1", "version = 1\nqourum = \"main\""), "STRUCTURE"),
		"newer":                    with(bad("a later version may mean something else", "policy@1.0.0", "policy@2.0.0"), "SCHEMA_UNSUPPORTED"),
		"not-toml":                 with(bad("half a document", "version = 1", "version = "), "PARSE"),
		"not-a-policy":             with(bad("another document", "rebuild.policy@", "rebuild.stage@"), "STRUCTURE"),
	}
}

// weakNoteKey is the verifier key of a point of small order.
func weakNoteKey(as string) string {
	raw := append([]byte{1, 1}, make([]byte, 31)...)
	sum := sha256.Sum256(append([]byte(as+"\n"), raw...))
	return fmt.Sprintf("%s+%x+%s", as, sum[:4], base64.StdEncoding.EncodeToString(raw))
}

func planVectors(w *attesttest.World) map[string]vector {
	bad := func(code, why string, spoil func(object)) vector {
		return vector{Expect: code, Why: why, Plan: string(edit(w.PlanJSON, spoil))}
	}
	stage := func(i int, set func(object)) func(object) {
		return func(o object) { set(sub(o, "stages", i)) }
	}
	return map[string]vector{
		"two-stages":     {Expect: "ok", Why: "the plan that the other vectors start from", Plan: string(w.PlanJSON)},
		"not-canonical":  {Expect: "PARSE", Why: "one plan would have two digests", Plan: strings.Replace(string(w.PlanJSON), ",", ", ", 1)},
		"unknown-key":    bad("STRUCTURE", "what it means is unknown", func(o object) { o["note"] = "x" }),
		"missing-key":    bad("STRUCTURE", "nothing is filled in", func(o object) { delete(o, "tree") }),
		"empty-optional": bad("STRUCTURE", "one plan would have two digests", func(o object) { o["images"] = []any{} }),
		"newer":          bad("SCHEMA_UNSUPPORTED", "a later version may mean something else", func(o object) { o["schema_version"] = "rebuild.plan@2.0.0" }),
		"epoch-zero":     bad("SEMANTIC", "some tools take 0 for unset", func(o object) { o["source_date_epoch"] = 0 }),
		"epoch-too-late": bad("SEMANTIC", "a tar header can not hold it", func(o object) { o["source_date_epoch"] = attest.MaxEpoch + 1 }),
		"platform":       bad("STRUCTURE", "not a platform", func(o object) { o["platform"] = "linux" }),
		"tree-format":    bad("SEMANTIC", "another tree format", func(o object) { o["tree"] = "rebuild.tree.v2" }),
		"no-targets":     bad("SEMANTIC", "a plan for nothing", func(o object) { o["targets"] = []any{} }),
		"target-unknown": bad("SEMANTIC", "a target that is not there", func(o object) { o["targets"] = []any{"hullo"} }),
		"target-twice":   bad("SEMANTIC", "named twice", func(o object) { o["targets"] = []any{"hello", "hello"} }),
		"unreached": bad("SEMANTIC", "one set of targets has one plan", func(o object) {
			o["seeds"] = append(o["seeds"].([]any), object{"name": "zzz", "digest": otherDigest, "size": 1})
		}),
		"unsorted":        bad("SEMANTIC", "one plan would have two digests", func(o object) { slices.Reverse(o["stages"].([]any)) }),
		"input-unknown":   bad("SEMANTIC", "an input that is not there", stage(1, func(s object) { s["inputs"] = []any{"source/hello", "stage/basis"} })),
		"inputs-unsorted": bad("SEMANTIC", "one plan would have two digests", stage(1, func(s object) { s["inputs"] = []any{"stage/base", "source/hello"} })),
		"cycle":           bad("SEMANTIC", "a stage that needs itself", stage(0, func(s object) { s["inputs"] = []any{"seed/hex0", "stage/hello"} })),
		"exec":            bad("SEMANTIC", "an unknown profile", stage(0, func(s object) { s["exec"] = "rebuild.exec.v2" })),
		"name":            bad("STRUCTURE", "a name that is a path", stage(0, func(s object) { s["name"] = "../base" })),
		"digest-upper":    bad("STRUCTURE", "one digest would have two spellings", stage(0, func(s object) { s["containerfile"] = strings.ToUpper(otherDigest) })),
		"export":          bad("STRUCTURE", "a path that leaves", stage(0, func(s object) { s["export"] = "/out/../.." })),
		"alias":           bad("SEMANTIC", "an alias for no input", stage(0, func(s object) { s["alias"] = object{"x": "stage/zzz"} })),
		"into":            bad("STRUCTURE", "a path that leaves", stage(1, func(s object) { s["into"] = object{"hello": "../x"} })),
		"args":            bad("STRUCTURE", "not the name of a variable", stage(1, func(s object) { s["args"] = object{"A B": "x"} })),
		"unpack":          bad("SEMANTIC", "unknown", func(o object) { sub(o, "sources", 0)["unpack"] = "zip" }),
		"omit-unsorted": bad("SEMANTIC", "one plan would have two digests", func(o object) {
			sub(o, "sources", 0)["omit"] = []any{object{"path": "b", "digest": otherDigest}, object{"path": "a", "digest": otherDigest}}
		}),
	}
}

func resultVectors(w *attesttest.World) map[string]vector {
	north := attesttest.Key("north")
	payload := func(spoil func(*attest.Result)) []byte {
		p, err := attest.NewResultStatement(w.Plan, w.Result("north", spoil))
		must(w.T, err)
		return p
	}
	honest := payload(nil)
	base := vector{Operator: "north", Keys: []string{north.Public().String()}, Plan: string(w.PlanJSON)}
	envelope := func(expect, why, text string) vector {
		v := base
		v.Expect, v.Why, v.Envelope = expect, why, text
		return v
	}
	signed := func(expect, why string, payload []byte) vector {
		return envelope(expect, why, string(w.Sign(payload, "north")))
	}
	spoiled := func(expect, why string, spoil func(object)) vector { return signed(expect, why, edit(honest, spoil)) }
	predicate := func(expect, why string, spoil func(p object)) vector {
		return spoiled(expect, why, func(o object) { spoil(sub(o, "predicate")) })
	}
	good := string(w.Sign(honest, "north"))
	replace := func(expect, why, from, to string) vector {
		if !strings.Contains(good, from) {
			panic(from)
		}
		return envelope(expect, why, strings.Replace(good, from, to, 1))
	}
	spoilEnvelope := func(expect, why string, spoil func(object)) vector {
		return envelope(expect, why, string(edit([]byte(good), spoil)))
	}
	sig := func(message []byte) string {
		raw, err := north.Sign(message)
		must(w.T, err)
		return base64.StdEncoding.EncodeToString(raw)
	}
	failed := payload(func(r *attest.Result) {
		r.Outcome, r.Stages, r.Failure = attest.OutcomeBuildFailed, r.Stages[:1], &attest.Failure{Stage: "hello", ExitStatus: 2, Log: "boom\n"}
	})
	release := w.Honest().Payload
	short := strings.Replace(good, `"payload":"`, `"payload":"AAAA`, 1)
	unpadded := string(w.Sign(append(slices.Clone(honest), strings.Repeat("x", 2-len(honest)%3)...), "north")) // ends in one '='
	if !strings.Contains(unpadded, `=","payloadType`) {
		unpadded = string(w.Sign(append(slices.Clone(honest), 'x'), "north"))
	}
	return map[string]vector{
		"built":        signed("ok", "an honest vote", honest),
		"build-failed": signed("ok", "a failure is a statement too", failed),
		"not-deterministic": signed("ok", "so is a contradiction with oneself", payload(func(r *attest.Result) {
			r.Outcome, r.Failure, r.Repeat.Equal = attest.OutcomeNotDeterministic, &attest.Failure{Stage: "hello"}, false
		})),
		"reused": signed("ok", "built earlier by the same operator", payload(func(r *attest.Result) {
			r.Stages[0].Origin, r.Stages[0].From = attest.OriginReused, store.Digest(otherDigest)
		})),
		"substituted": signed("ok", "a result without a vote", payload(func(r *attest.Result) { r.Stages[0].Origin = attest.OriginSubstituted })),
		"no-keyid":    spoilEnvelope("ok", "a keyid is only a hint", func(o object) { delete(sub(o, "signatures", 0), "keyid") }),
		"exporter-manifest": signed("ok", "recorded, never voted on", payload(func(r *attest.Result) {
			r.Stages[0].ExporterManifest = store.Digest(otherDigest)
		})),

		"envelope-white-space": replace("PARSE", "one envelope would have two forms", ":", ": "),
		"envelope-unknown-key": spoilEnvelope("STRUCTURE", "never ignored", func(o object) { o["extra"] = "x" }),
		"envelope-duplicate":   replace("PARSE", "two parsers would see two payloads", `{"payload":`, `{"payload":"",`+`"payload":`),
		"envelope-case":        replace("PARSE", "folded keys are other keys, and out of order", `"payloadType"`, `"PayloadType"`),
		"payload-type":         spoilEnvelope("STRUCTURE", "signed for another use", func(o object) { o["payloadType"] = "application/json" }),
		"payload-not-base64":   replace("PARSE", "not base64", `"payload":"`, `"payload":"!`),
		"payload-line-break":   replace("PARSE", "base64 has one form", `"payload":"`, `"payload":"\n`),
		"payload-padding":      envelope("PARSE", "base64 has one form", strings.Replace(unpadded, `=","payloadType`, `","payloadType`, 1)),
		"payload-more":         envelope("SIGNATURE_INVALID", "other bytes than were signed", short),
		"payload-empty":        spoilEnvelope("SIGNATURE_INVALID", "nothing is signed", func(o object) { o["payload"] = "" }),
		"no-signatures":        spoilEnvelope("STRUCTURE", "unsigned", func(o object) { o["signatures"] = []any{} }),
		"too-many-signatures": spoilEnvelope("STRUCTURE", "work without end", func(o object) {
			o["signatures"] = slices.Repeat(o["signatures"].([]any), 33)
		}),
		"two-signatures":   envelope("STRUCTURE", "a result has one signer", string(w.Sign(honest, "north", "east"))),
		"signature-empty":  spoilEnvelope("PARSE", "an empty signature", func(o object) { sub(o, "signatures", 0)["sig"] = "" }),
		"signature-short":  spoilEnvelope("PARSE", "63 bytes", func(o object) { sub(o, "signatures", 0)["sig"] = base64.StdEncoding.EncodeToString(make([]byte, 63)) }),
		"signature-stray":  spoilEnvelope("PARSE", "bits that do not count", func(o object) { s := sub(o, "signatures", 0); s["sig"] = strayBits(s["sig"].(string)) }),
		"signature-zero":   spoilEnvelope("SIGNATURE_INVALID", "64 zeros", func(o object) { sub(o, "signatures", 0)["sig"] = base64.StdEncoding.EncodeToString(make([]byte, 64)) }),
		"signature-no-pae": spoilEnvelope("SIGNATURE_INVALID", "signed without its type", func(o object) { sub(o, "signatures", 0)["sig"] = sig(honest) }),
		"signature-other-type": spoilEnvelope("SIGNATURE_INVALID", "signed as another type", func(o object) {
			sub(o, "signatures", 0)["sig"] = sig(attest.PAE("application/json", honest))
		}),
		"stranger":        envelope("KEY_UNKNOWN", "signed by nobody we know", string(w.Sign(honest, "stranger"))),
		"keyid-claimed":   spoilEnvelope("SIGNATURE_INVALID", "a keyid proves nothing", func(o object) { s := sub(o, "signatures", 0); s["sig"] = strangerSig(w, honest) }),
		"keyid-of-other":  spoilEnvelope("STRUCTURE", "a keyid that misleads", func(o object) { sub(o, "signatures", 0)["keyid"] = string(attesttest.Key("east").Public().ID()) }),
		"keyid-malformed": spoilEnvelope("STRUCTURE", "a keyid that misleads", func(o object) { sub(o, "signatures", 0)["keyid"] = "north" }),

		"payload-garbage":       signed("PARSE", "malformed under a good signature", []byte("garbage")),
		"payload-not-canonical": signed("PARSE", "one payload has one form", []byte(strings.Replace(string(honest), ":", ": ", 1))),
		"payload-trailing":      signed("PARSE", "a second value", append(slices.Clone(honest), "{}"...)),
		"payload-large-number": signed("PARSE", "rounded by half of all parsers",
			[]byte(strings.Replace(string(honest), `"executables":2`, `"executables":9007199254740993`, 1))),
		"payload-minus-zero": signed("PARSE", "a second zero", []byte(strings.Replace(string(honest), `"opaque_bytes":0`, `"opaque_bytes":-0`, 1))),
		"payload-null":       signed("PARSE", "absent has one form", []byte(strings.Replace(string(honest), `"hermetic":true`, `"hermetic":null`, 1))),
		"type":               spoiled("STRUCTURE", "another kind of statement", func(o object) { o["_type"] = "https://in-toto.io/Statement/v0.1" }),
		"predicate-type":     spoiled("STRUCTURE", "another kind of predicate", func(o object) { o["predicateType"] = attest.PredicateProvenance }),
		"release":            signed("STRUCTURE", "a release is no result", release),
		"newer":              predicate("SCHEMA_UNSUPPORTED", "a later version may mean something else", func(p object) { p["schema_version"] = "rebuild.result@2.0.0" }),
		"schema-of-release":  predicate("STRUCTURE", "type and schema disagree", func(p object) { p["schema_version"] = "rebuild.release@1.0.0" }),
		"unknown-key":        predicate("STRUCTURE", "never ignored", func(p object) { p["extra"] = "x" }),
		"missing-key":        predicate("STRUCTURE", "nothing is filled in", func(p object) { delete(p, "hermetic") }),
		"empty-optional":     predicate("STRUCTURE", "absent has one form", func(p object) { sub(p, "stages", 0)["from"] = "" }),

		"subject-none":        spoiled("SEMANTIC", "about nothing", func(o object) { o["subject"] = []any{} }),
		"subject-plan-only":   spoiled("SEMANTIC", "an image without subject", func(o object) { o["subject"] = o["subject"].([]any)[:1] }),
		"subject-swapped":     spoiled("SEMANTIC", "in one order", func(o object) { slices.Reverse(o["subject"].([]any)) }),
		"subject-extra":       spoiled("SEMANTIC", "would speak for something else", func(o object) { s := o["subject"].([]any); o["subject"] = append(s, s[1]) }),
		"subject-other-plan":  spoiled("SEMANTIC", "about another plan", func(o object) { sub(o, "subject", 0, "digest")["sha256"] = otherDigest[7:] }),
		"subject-other-image": spoiled("SEMANTIC", "about another image", func(o object) { sub(o, "subject", 1, "digest")["sha256"] = otherDigest[7:] }),
		"subject-other-name":  spoiled("SEMANTIC", "about another target", func(o object) { sub(o, "subject", 1)["name"] = "base" }),
		"subject-image-of-failed": signed("SEMANTIC", "nothing was built", edit(failed, func(o object) {
			o["subject"] = append(o["subject"].([]any), object{"name": "hello", "digest": object{"sha256": otherDigest[7:]}})
		})),

		"other-plan": spoiled("SEMANTIC", "about another plan", func(o object) {
			sub(o, "predicate")["plan"] = otherDigest
			sub(o, "subject", 0, "digest")["sha256"] = otherDigest[7:]
		}),
		"other-operator":       predicate("SEMANTIC", "signed in another's name", func(p object) { p["operator"] = "east" }),
		"operator-malformed":   predicate("SEMANTIC", "a name that is a path", func(p object) { p["operator"] = "../north" }),
		"nonce-short":          predicate("STRUCTURE", "a digest that can be guessed", func(p object) { p["nonce"] = "00" }),
		"nonce-upper":          predicate("STRUCTURE", "hex has one form", func(p object) { p["nonce"] = strings.Repeat("A", 64) }),
		"outcome-unknown":      predicate("SEMANTIC", "neither built nor failed", func(p object) { p["outcome"] = "fine" }),
		"stage-missing":        predicate("SEMANTIC", "a vote on less than the plan", func(p object) { p["stages"] = p["stages"].([]any)[1:] }),
		"stage-unknown":        predicate("SEMANTIC", "a vote on more than the plan", func(p object) { sub(p, "stages", 0)["name"] = "bass" }),
		"stage-twice":          predicate("SEMANTIC", "two answers in one", func(p object) { s := p["stages"].([]any); p["stages"] = append(s, s[0]) }),
		"stage-digest":         predicate("STRUCTURE", "not a digest", func(p object) { sub(p, "stages", 0)["tree"] = "sha256:00" }),
		"origin-unknown":       predicate("SEMANTIC", "built by whom", func(p object) { sub(p, "stages", 0)["origin"] = "bought" }),
		"from-of-built":        predicate("SEMANTIC", "built now and earlier", func(p object) { sub(p, "stages", 0)["from"] = otherDigest }),
		"outputs-missing":      predicate("SEMANTIC", "a vote for nothing", func(p object) { delete(p, "outputs") }),
		"outputs-other":        predicate("SEMANTIC", "a vote for what was not built", func(p object) { p["outputs"] = otherDigest }),
		"outputs-substituted":  predicate("SEMANTIC", "a vote on what others built", func(p object) { sub(p, "stages", 0)["origin"] = "substituted" }),
		"outputs-of-failed":    signed("SEMANTIC", "nothing was built", edit(failed, func(o object) { sub(o, "predicate")["outputs"] = otherDigest })),
		"unequal-but-built":    predicate("SEMANTIC", "a contradiction hidden in a vote", func(p object) { sub(p, "repeat")["equal"] = false }),
		"seed-bytes":           predicate("SEMANTIC", "other seeds than the plan's", func(p object) { sub(p, "lineage")["seed_bytes"] = 270 }),
		"failure-of-built":     predicate("SEMANTIC", "built and failed", func(p object) { p["failure"] = object{"stage": "hello"} }),
		"failure-missing":      signed("SEMANTIC", "failed without a word", edit(failed, func(o object) { delete(sub(o, "predicate"), "failure") })),
		"failed-stage-unknown": signed("SEMANTIC", "failed outside of the plan", edit(failed, func(o object) { sub(o, "predicate", "failure")["stage"] = "zzz" })),
		"time-offset":          predicate("STRUCTURE", "times have one form", func(p object) { p["started_at"] = "2026-05-01T00:00:00+00:00" }),
		"time-fraction":        predicate("STRUCTURE", "times have one form", func(p object) { p["started_at"] = "2026-05-01T00:00:00.5Z" }),
		"time-before-1970":     predicate("STRUCTURE", "outside of what counts", func(p object) { p["started_at"] = "1969-12-31T23:59:59Z" }),
		"negative-runs":        predicate("SEMANTIC", "less than nothing", func(p object) { sub(p, "repeat")["runs"] = -1 }),
		"runtime-digest":       predicate("STRUCTURE", "not a digest", func(p object) { sub(p, "environment")["runtime_digest"] = "runc" }),
	}
}

// strayBits sets a bit of base64 text that decodes to nothing.
func strayBits(s string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	at := len(strings.TrimRight(s, "=")) - 1 // the last group is not whole, so its last character has bits to spare
	return s[:at] + string(alphabet[strings.IndexByte(alphabet, s[at])|1]) + s[at+1:]
}

func strangerSig(w *attesttest.World, payload []byte) string {
	raw, err := attesttest.Key("stranger").Sign(attest.PAE(attest.PayloadType, payload))
	must(w.T, err)
	return base64.StdEncoding.EncodeToString(raw)
}

// verdictVector asks the world's policy about the world's plan.
func verdictVector(w *attesttest.World, expect, why string, statements ...[]byte) vector {
	v := vector{Expect: expect, Why: why, Policy: attesttest.Policy(""), Plan: string(w.PlanJSON)}
	for _, s := range statements {
		v.Statements = append(v.Statements, string(s))
	}
	return v
}

// withPolicy adds a line to a vector's policy.
func withPolicy(v vector, line string) vector {
	v.Policy = strings.Replace(v.Policy, "groups.main", line+"\ngroups.main", 1)
	return v
}

func verdictVectors(w *attesttest.World) map[string]vector {
	other := w.Stage("hello", []store.File{{Path: "bin/hello", Mode: 0o755, Data: []byte("another")}})
	differs := func(r *attest.Result) { r.Stages[1] = other }
	reusedFrom := func(from string) func(*attest.Result) {
		return func(r *attest.Result) { r.Stages[0].Origin, r.Stages[0].From = attest.OriginReused, store.Digest(from) }
	}
	failed := func(outcome string) func(*attest.Result) {
		return func(r *attest.Result) {
			r.Outcome, r.Failure, r.Stages = outcome, &attest.Failure{Stage: "hello"}, r.Stages[:1]
			if outcome == attest.OutcomeNotDeterministic {
				r.Repeat.Equal = false
			}
		}
	}
	substituted := func(r *attest.Result) { r.Stages[0].Origin = attest.OriginSubstituted }
	substitutedAndDiffers := func(r *attest.Result) {
		r.Stages[0].Origin, r.Stages[0].Manifest, r.Stages[0].Tree = attest.OriginSubstituted, other.Manifest, other.Tree
		r.Stages[1] = other
	}
	digest := func(envelope []byte) string { return string(digestOf(w.T, envelope)) }
	v := func(expect, why string, statements ...[]byte) vector {
		return verdictVector(w, expect, why, statements...)
	}
	policy := withPolicy
	waive := func(v vector, statements ...[]byte) vector {
		for _, s := range statements {
			v.Waive = append(v.Waive, digest(s))
		}
		return v
	}
	east, north, west := w.Statement("east", nil), w.Statement("north", nil), w.Statement("west", nil)
	again := w.Statement("east", func(r *attest.Result) { r.Nonce = strings.Repeat("1", 64) })
	dissenter := w.Statement("west", differs)
	unequal := w.Statement("west", failed(attest.OutcomeNotDeterministic))
	broken := w.Statement("west", failed(attest.OutcomeBuildFailed))
	edited := func(f func(*attest.Result)) []vector {
		return []vector{v("pending", "", w.Statement("east", f), w.Statement("north", f))}
	}
	spoiled := func(why string, f func(*attest.Result)) vector { x := edited(f)[0]; x.Why = why; return x }
	return map[string]vector{
		"all-agree":                  v("met", "the honest case", east, north, west),
		"two-agree":                  v("met", "enough", east, north),
		"one":                        v("pending", "not enough", east),
		"none":                       v("pending", "nothing is no agreement"),
		"junk":                       v("pending", "files are not votes", []byte("{}"), []byte(""), []byte("junk")),
		"one-operator-twice":         v("pending", "operators count, not statements", east, again),
		"one-statement-twice":        v("pending", "operators count, not files", east, east, east),
		"stranger-agrees":            v("pending", "a stranger is no operator", east, w.Sign(mustPayload(w, "north"), "stranger")),
		"stranger-differs":           v("met", "an outsider never blocks", east, north, w.Sign(mustPayload(w, "west"), "stranger")),
		"dissent":                    v("dissent", "two against one is no agreement", east, north, dissenter),
		"not-deterministic":          v("dissent", "one's own two runs differ", east, north, unequal),
		"build-failed":               v("met", "reported, not blocking, unless the policy says so", east, north, broken),
		"build-failed-blocks":        policy(v("dissent", "the policy says so", east, north, broken), `dissent = { build_failed = "block" }`),
		"infra-failed":               v("met", "neither a vote nor dissent", east, north, w.Statement("west", failed(attest.OutcomeInfraFailed))),
		"timed-out":                  v("met", "neither a vote nor dissent", east, north, w.Statement("west", failed(attest.OutcomeTimedOut))),
		"infra-failed-no-vote":       v("pending", "neither a vote nor dissent", east, w.Statement("west", failed(attest.OutcomeInfraFailed))),
		"substituted-no-vote":        v("pending", "not built by the operator", east, w.Statement("north", substituted)),
		"substituted-still-compared": v("dissent", "equal inputs, so the outputs must be equal", east, north, w.Statement("west", func(r *attest.Result) { substituted(r); differs(r) })),
		"substituted-other-inputs":   v("met", "unequal inputs may give unequal outputs", east, north, w.Statement("west", substitutedAndDiffers)),
		"self-contradiction":         v("dissent", "no later match cancels it", east, w.Statement("east", func(r *attest.Result) { differs(r); r.Nonce = strings.Repeat("2", 64) }), north, west),
		"report-majority":            policy(v("met", "the policy only wants dissent reported", east, north, dissenter), `dissent = { on = "report" }`),
		"report-two-values": policyText(policy(v("dissent", "two values with quorum are always dissent", east, north, w.Statement("west", differs), w.Statement("south", differs)),
			`dissent = { on = "report" }`), `"west"] }`, "\"south\", \"west\"] }\n"+strings.TrimSuffix(southOperator, "\n")),
		"report-self-contradiction":    policy(v("pending", "casts no vote under report either", east, w.Statement("east", func(r *attest.Result) { differs(r); r.Nonce = strings.Repeat("2", 64) }), north), `dissent = { on = "report" }`),
		"waived":                       waive(v("met", "overruled by the signers", east, north, dissenter), dissenter),
		"waived-other":                 waive(v("dissent", "a waiver names what it overrules", east, north, dissenter), unequal),
		"waived-operator-has-no-vote":  waive(v("pending", "an operator with a waived contradiction casts no vote", east, west, dissenter), dissenter),
		"not-hermetic":                 spoiled("built with a network", func(r *attest.Result) { r.Hermetic = false }),
		"fresh":                        policy(spoiled("the policy wants fresh results", func(r *attest.Result) { r.Stages[0].Origin = attest.OriginReused }), "require = { fresh = true }"),
		"reused":                       v("met", "reused results count otherwise", w.Statement("east", func(r *attest.Result) { r.Stages[0].Origin = attest.OriginReused }), north),
		"reused-from-another":          v("pending", "one build gives one vote, however many sign for it", east, w.Statement("north", reusedFrom(digest(east)))),
		"reused-from-another-three":    v("pending", "one build gives one vote, however many sign for it", east, w.Statement("north", reusedFrom(digest(east))), w.Statement("west", reusedFrom(digest(east)))),
		"reused-from-own":              v("met", "what an operator built it may reuse", east, north, w.Statement("east", func(r *attest.Result) { reusedFrom(digest(east))(r); r.Nonce = strings.Repeat("3", 64) })),
		"reused-from-own-missing":      v("met", "the earlier result may be of another plan", east, w.Statement("north", reusedFrom(otherDigest))),
		"reused-from-one-missing":      v("pending", "a result is of one operator at most", w.Statement("east", reusedFrom(otherDigest)), w.Statement("north", reusedFrom(otherDigest))),
		"reused-from-waived":           waive(v("pending", "a waiver makes nobody else its builder", east, w.Statement("north", reusedFrom(digest(dissenter))), dissenter), dissenter),
		"reused-from-other-plan":       v("pending", "whose result it is does not depend on the plan", east, w.Statement("north", reusedFrom(digest(otherPlan(w, "west")))), otherPlan(w, "west")),
		"reused-from-void":             policyText(v("pending", "whose result it is does not depend on whether it counts", east, w.Statement("north", reusedFrom(digest(west))), west), key64("west")+`"`, key64("west")+`", revoked_from = 0`),
		"reused-from-outside-operator": policyText(v("pending", "nor on whether the quorum counts its operator", w.Statement("east", reusedFrom(digest(w.Statement("south", nil)))), north, w.Statement("south", nil)), `"west"] }`, "\"west\"] }\n"+strings.TrimSuffix(southOperator, "\n")),
		"reused-from-copy":             v("met", "who signs a copy of a result has not built it", north, w.Statement("east", reusedFrom(digest(again))), w.Sign(mustDecode(w, again), "west"), w.Sign(mustDecode(w, again), "stranger")),
		"reused-from-another-differs": v("dissent", "takes a vote away and never a contradiction", east, north, w.Statement("west", func(r *attest.Result) {
			differs(r)
			reusedFrom(digest(north))(r)
			r.Stages[1].Origin, r.Stages[1].From = attest.OriginReused, store.Digest(digest(north))
		})),
		"two-signatures":               v("pending", "a result has one signature", east, []byte(twice(north))),
		"deterministic":                policy(spoiled("the policy wants two runs", func(r *attest.Result) { r.Repeat.Runs = 1 }), "require = { deterministic = true }"),
		"deterministic-unsaid":         policy(spoiled("the policy wants two runs", func(r *attest.Result) { r.Repeat = nil }), "require = { deterministic = true }"),
		"bootstrapped":                 policy(spoiled("the policy wants a complete lineage", func(r *attest.Result) { r.Lineage.OpaqueBytes = 1 }), "require = { bootstrapped = true }"),
		"bootstrapped-unsaid":          policy(spoiled("the policy wants a complete lineage", func(r *attest.Result) { r.Lineage = nil }), "require = { bootstrapped = true }"),
		"bootstrapped-met":             policy(v("met", "the lineage is complete", east, north), "require = { bootstrapped = true, deterministic = true, fresh = true, max_seed_bytes = 271 }"),
		"seed-bytes":                   policy(v("pending", "more seed than the policy allows", east, north), "require = { max_seed_bytes = 270 }"),
		"diverse":                      policy(v("met", "two kernels", east, north), "diversity = { kernel = 2 }"),
		"not-diverse":                  policy(v("pending", "three kernels were asked for", east, north), "diversity = { kernel = 3 }"),
		"diversity-missing-value":      policy(v("pending", "no value is no further value", east, w.Statement("north", func(r *attest.Result) { r.Environment.Kernel = "" })), "diversity = { kernel = 2 }"),
		"expired-policy":               policyText(v("POLICY_EXPIRED", "the policy has ended", east, north), "2027-06-30", "2026-05-30"),
		"expired-operator":             policyText(v("POLICY_EXPIRED", "an operator's only key has ended", east, north), key64("west")+`"`, key64("west")+`", not_after = "2026-01-01T00:00:00Z"`),
		"expired-signers":              policyText(v("POLICY_EXPIRED", "too few signers are left", east, north), key64("r1")+`"`, key64("r1")+`", not_after = "2026-01-01T00:00:00Z"`),
		"revoked-operator":             policyText(v("pending", "a revoked key does not count", east, north), key64("north")+`"`, key64("north")+`", revoked_from = 0`),
		"revoked-operator-can-not-bar": policyText(v("met", "nor does it block", east, north, dissenter), key64("west")+`"`, key64("west")+`", revoked_from = 0`),
		"not-yet-valid":                policyText(v("pending", "a key that does not count yet", east, north), key64("north")+`"`, key64("north")+`", not_before = "2026-07-01T00:00:00Z"`),
		"other-plan":                   v("pending", "votes on another plan", otherPlan(w, "east"), otherPlan(w, "north")),
	}
}

func key64(name string) string { return attesttest.Key(name).Public().String() }

func policyText(v vector, from, to string) vector {
	if !strings.Contains(v.Policy, from) {
		panic(from)
	}
	v.Policy = strings.Replace(v.Policy, from, to, 1)
	return v
}

func mustPayload(w *attesttest.World, operator string) []byte {
	p, err := attest.NewResultStatement(w.Plan, w.Result(operator, nil))
	must(w.T, err)
	return p
}

// mustDecode returns the payload of an envelope.
func mustDecode(w *attesttest.World, envelope []byte) []byte {
	var e struct {
		Payload []byte `json:"payload"`
	}
	must(w.T, stdjson.Unmarshal(envelope, &e))
	return e.Payload
}

func otherPlan(w *attesttest.World, operator string) []byte {
	plan := *w.Plan
	plan.SourceDateEpoch = 2
	p, err := attest.NewResultStatement(&plan, w.Result(operator, nil))
	must(w.T, err)
	return w.Sign(p, operator)
}

func releaseVectors(w *attesttest.World) map[string]vector {
	r := w.Honest()
	base := vector{
		Policy: attesttest.Policy(""), Plan: string(w.PlanJSON), Lock: string(r.Bundle.Lock),
		Objects: []string{string(r.Bundle.Objects[0])}, Envelope: string(r.Bundle.Release),
	}
	for _, s := range r.Bundle.Builds[0].Statements {
		base.Statements = append(base.Statements, string(s))
	}
	with := func(expect, why string, change func(*vector)) vector {
		v := base
		v.Statements = slices.Clone(v.Statements)
		v.Expect, v.Why = expect, why
		change(&v)
		return v
	}
	signedBy := func(expect, why string, payload []byte, by ...string) vector {
		return with(expect, why, func(v *vector) { v.Envelope = string(w.Sign(payload, by...)) })
	}
	predicate := func(expect, why string, spoil func(p object)) vector {
		return signedBy(expect, why, edit(r.Payload, func(o object) { spoil(sub(o, "predicate")); resnap(o) }), "r1", "r2")
	}
	owned := func(owners ...string) []byte {
		return edit(r.Payload, func(o object) {
			var keys []string
			for _, name := range owners {
				keys = append(keys, key64(name))
			}
			slices.Sort(keys)
			var all []any
			for _, k := range keys {
				all = append(all, k)
			}
			sub(o, "predicate")["owners"] = all
		})
	}
	other := w.Stage("hello", []store.File{{Path: "bin/hello", Mode: 0o755, Data: []byte("another")}})
	dissenter := string(w.Statement("west", func(r *attest.Result) { r.Stages[1] = other }))
	broken := w.Statement("west", func(r *attest.Result) {
		r.Outcome, r.Failure, r.Stages, r.Repeat.Equal = attest.OutcomeNotDeterministic, &attest.Failure{Stage: "hello"}, r.Stages[:1], false
	})
	brokenEnvelope, err := attest.ParseEnvelope("e", broken)
	must(w.T, err)
	waived := w.Release([][]byte{w.Statement("east", nil), w.Statement("north", nil), broken},
		[]attest.Waiver{{Statement: brokenEnvelope.Digest(), Reason: "a broken machine"}}, attesttest.PackageTOML, []string{"r1"}, []string{"r1", "r2"})
	withWaiver := func(expect, why string, change func(*vector)) vector {
		return with(expect, why, func(v *vector) {
			v.Envelope, v.Statements = string(waived.Bundle.Release), nil
			for _, s := range waived.Bundle.Builds[0].Statements {
				v.Statements = append(v.Statements, string(s))
			}
			change(v)
		})
	}
	build := func(expect, why string, spoil func(b object)) vector {
		return predicate(expect, why, func(p object) { spoil(sub(p, "builds", 0)) })
	}
	large := signedBy("PARSE", "work without end", bytes.Repeat([]byte("x"), 1<<20+1), "r1", "r2")
	large.Envelope = shortened(large.Envelope)
	return map[string]vector{
		"honest":             with("ok", "the release that the other vectors start from", func(*vector) {}),
		"owner-not-a-signer": signedBy("ok", "owners and signers may be different people", owned("alice"), "alice", "r1", "r2"),
		"statement-unlisted": with("ok", "a statement that came later and agrees", func(v *vector) {
			v.Statements = append(v.Statements, string(w.Statement("west", func(r *attest.Result) { r.Nonce = strings.Repeat("3", 64) })))
		}),
		"third-signature": signedBy("ok", "an unknown key says nothing", r.Payload, "r1", "r2", "stranger"),
		"waived":          withWaiver("ok", "overruled by the signers", func(*vector) {}),
		"renewed-policy":  with("ok", "another policy, whose own verdict is met", func(v *vector) { v.Policy = strings.Replace(v.Policy, "version = 1", "version = 2", 1) }),

		"one-signer":          signedBy("SIGNATURE_INVALID", "two must sign", r.Payload, "r1"),
		"one-signer-twice":    with("SIGNATURE_INVALID", "one key signs twice", func(v *vector) { v.Envelope = twice(w.Sign(r.Payload, "r1")) }),
		"operators-sign":      signedBy("KEY_UNKNOWN", "operators are no signers", r.Payload, "east", "north"),
		"one-bad-signature":   with("SIGNATURE_INVALID", "a known key with a bad signature", func(v *vector) { v.Envelope = badSignature(w, r.Payload) }),
		"owner-missing":       signedBy("SIGNATURE_INVALID", "every owner signs", owned("alice", "r1"), "r1", "r2"),
		"no-owners":           signedBy("STRUCTURE", "someone answers for it", edit(r.Payload, func(o object) { delete(sub(o, "predicate"), "owners") }), "r1", "r2"),
		"owners-empty":        signedBy("SEMANTIC", "someone answers for it", owned(), "r1", "r2"),
		"result":              signedBy("STRUCTURE", "a result is no release", mustPayload(w, "east"), "r1", "r2"),
		"payload-garbage":     signedBy("PARSE", "malformed under good signatures", []byte("garbage"), "r1", "r2"),
		"payload-large":       large,
		"newer":               predicate("SCHEMA_UNSUPPORTED", "a later version may mean something else", func(p object) { p["schema_version"] = "rebuild.release@2.0.0" }),
		"logged":              predicate("SEMANTIC", "a log, and no place in it", func(p object) { p["log_origin"] = "example.org/log" }),
		"unknown-key":         predicate("STRUCTURE", "never ignored", func(p object) { p["extra"] = "x" }),
		"name":                predicate("STRUCTURE", "a name that is a path", func(p object) { p["name"] = "../hello" }),
		"version":             predicate("STRUCTURE", "not SemVer", func(p object) { p["version"] = "1.0" }),
		"cksum-upper":         predicate("STRUCTURE", "hex has one form", func(p object) { p["cksum"] = strings.ToUpper(p["cksum"].(string)) }),
		"subject-missing":     signedBy("SEMANTIC", "an image without subject", edit(r.Payload, func(o object) { o["subject"] = o["subject"].([]any)[1:] }), "r1", "r2"),
		"snapshot":            signedBy("SNAPSHOT_MISMATCH", "pins other content", edit(r.Payload, func(o object) { sub(o, "predicate")["snapshot"] = otherDigest }), "r1", "r2"),
		"no-builds":           predicate("QUORUM_PENDING", "no builds, no vote, under any policy", func(p object) { delete(p, "builds"); delete(p, "oci_index") }),
		"outputs":             build("EVIDENCE_MISMATCH", "not what the quorum agreed on", func(b object) { b["outputs"] = otherDigest }),
		"plan":                build("EVIDENCE_MISMATCH", "another plan", func(b object) { b["plan"] = otherDigest }),
		"platform":            build("EVIDENCE_MISMATCH", "built for another platform", func(b object) { b["platform"] = "linux/386" }),
		"target-tree":         build("EVIDENCE_MISMATCH", "a tree that nobody voted for", func(b object) { sub(b, "targets", 0)["tree"] = otherDigest }),
		"target-manifest":     build("EVIDENCE_MISMATCH", "an image that nobody voted for", func(b object) { sub(b, "targets", 0)["manifest"] = otherDigest }),
		"target-off-the-plan": build("EVIDENCE_MISMATCH", "a stage that is no target", func(b object) { sub(b, "targets", 0)["name"] = "base" }),
		"statements-fewer":    build("ok", "without a log nobody knows what came when, so what is not listed counts as later", func(b object) { b["statements"] = b["statements"].([]any)[1:] }),
		"statements-unsorted": build("SEMANTIC", "one release has one form", func(b object) { slices.Reverse(b["statements"].([]any)) }),
		"statements-none":     build("SEMANTIC", "judged by nothing", func(b object) { b["statements"] = []any{} }),
		"oci-index":           predicate("EVIDENCE_MISMATCH", "an index of other images", func(p object) { p["oci_index"] = otherDigest }),
		"oci-index-missing":   predicate("SEMANTIC", "given exactly when each build has one target", func(p object) { delete(p, "oci_index") }),
		"other-lock":          with("EVIDENCE_MISMATCH", "another lock", func(v *vector) { v.Lock = "another lock\n" }),
		"lock-missing":        with("EVIDENCE_MISMATCH", "the lock is left out", func(v *vector) { v.Lock = "" }),
		"lock-unnamed":        predicate("EVIDENCE_MISMATCH", "a lock that the release does not name", func(p object) { delete(p, "lock") }),
		"manifest-missing":    with("EVIDENCE_MISMATCH", "the index can not be recomputed", func(v *vector) { v.Objects = nil }),
		"plan-missing":        with("EVIDENCE_MISMATCH", "the plan is left out", func(v *vector) { v.Plan, v.Statements = "", nil }),
		"statement-missing":   with("EVIDENCE_MISMATCH", "a listed statement is left out", func(v *vector) { v.Statements = v.Statements[1:] }),
		"statement-damaged":   with("EVIDENCE_MISMATCH", "a listed statement is damaged", func(v *vector) { v.Statements[0] = strings.Replace(v.Statements[0], "A", "B", 1) }),
		"late-dissent":        with("DISSENT", "dissent that came to light later", func(v *vector) { v.Statements = append(v.Statements, dissenter) }),
		"waiver-removed":      withWaiver("DISSENT", "a waiver counts in its own release alone", func(v *vector) { v.Envelope = respoil(w, waived.Payload, func(p object) { delete(p, "waivers") }) }),
		"waiver-of-other":     predicate("SEMANTIC", "a waiver of nothing in this release", func(p object) { p["waivers"] = []any{object{"statement": otherDigest, "reason": "x"}} }),
		"waiver-without-reason": withWaiver("SEMANTIC", "a waiver says why", func(v *vector) {
			v.Envelope = respoil(w, waived.Payload, func(p object) { sub(p, "waivers", 0)["reason"] = " " })
		}),
		"waiver-needs-more": withWaiver("SIGNATURE_INVALID", "the policy wants more signers for a waiver", needThree),
		"stricter-policy": with("QUORUM_PENDING", "the verifier's own policy decides", func(v *vector) {
			v.Policy = strings.Replace(v.Policy, "need = 2, of = [\"east\", \"north\", \"west\"]", "need = 2, of = [\"east\", \"south\"]", 1) + southOperator
		}),
		"policy-wants-bootstrap": with("LINEAGE_UNTRACED", "lineage alone keeps the votes from counting", func(v *vector) {
			v.Policy = strings.Replace(v.Policy, "groups.main", "require = { max_seed_bytes = 100 }\ngroups.main", 1)
		}),
		"operator-renamed": with("QUORUM_PENDING", "another policy may know the operators by other names, and then counts none", func(v *vector) {
			v.Policy = strings.NewReplacer("operators.east", "operators.e", `"east"`, `"e"`, "operators.north", "operators.n", `"north"`, `"n"`).Replace(v.Policy)
		}),
		"policy-of-strangers": with("KEY_UNKNOWN", "signed by nobody we know", func(v *vector) {
			v.Policy = strings.NewReplacer(key64("r1"), key64("x"), key64("r2"), key64("y")).Replace(v.Policy)
		}),
		"signer-key-expired": with("KEY_EXPIRED", "signed with a key that has ended", func(v *vector) {
			v.Policy = strings.Replace(v.Policy, `{ name = "r2", key = "`+key64("r2")+`" }`, `{ name = "r2", key = "`+key64("r2")+`", not_after = "2026-01-01T00:00:00Z" }, { name = "r3", key = "`+key64("r3")+`" }`, 1)
		}),
		"depends-unsorted":       predicate("SEMANTIC", "one release has one form", func(p object) { p["depends"] = []any{dep("b"), dep("a")} }),
		"published-at":           predicate("STRUCTURE", "times have one form", func(p object) { p["published_at"] = "2026-06-01 12:00:00" }),
		"owner-weak":             signedBy("KEY_WEAK", "a key that signs anything", edit(r.Payload, func(o object) { sub(o, "predicate")["owners"] = []any{"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="} }), "r1", "r2"),
		"envelope-not-canonical": with("PARSE", "one envelope has one form", func(v *vector) { v.Envelope += "\n" }),
		"waiver-without-statement": withWaiver("EVIDENCE_MISMATCH", "a waived statement stays listed", func(v *vector) {
			v.Statements = slices.DeleteFunc(v.Statements, func(s string) bool { return s == string(broken) })
		}),
	}
}

var southOperator = fmt.Sprintf("[operators.south]\nkeys = [{ key = %q }]\n", key64("south"))

func dep(name string) object {
	return object{"name": name, "version": "1.0.0", "snapshot": otherDigest}
}

// needThree adds a third signer and asks for all three to waive.
func needThree(v *vector) {
	v.Policy = strings.Replace(v.Policy, `{ name = "r2"`, `{ name = "r3", key = "`+key64("r3")+`" }, { name = "r2"`, 1)
	v.Policy = strings.Replace(v.Policy, "groups.main", "dissent = { waiver_need = 3 }\ngroups.main", 1)
}

// resnap makes subjects and snapshot of a spoiled release fit again, so that
// only what was spoiled is wrong with it.
func resnap(o object) {
	p := sub(o, "predicate")
	snap := object{}
	for _, k := range []string{"builds", "cksum", "exports", "files", "lock", "package"} {
		if v, ok := p[k]; ok {
			snap[k] = v
		}
	}
	b, err := document.Encode(snap)
	if err != nil {
		panic(err)
	}
	p["snapshot"] = string(store.DigestOf(b))
	var subjects []any
	subject := func(name, hex string) {
		subjects = append(subjects, object{"name": name, "digest": object{"sha256": hex}})
	}
	builds, _ := p["builds"].([]any)
	for i := range builds {
		build := sub(p, "builds", i)
		for j := range build["targets"].([]any) {
			target := sub(build, "targets", j)
			subject("image:"+build["platform"].(string)+"/"+target["name"].(string), target["manifest"].(string)[7:])
		}
	}
	if d, ok := p["oci_index"]; ok {
		subject("oci_index", d.(string)[7:])
	}
	subject("archive", p["cksum"].(string))
	o["subject"] = subjects
}

func respoil(w *attesttest.World, payload []byte, spoil func(p object)) string {
	return string(w.Sign(edit(payload, func(o object) { spoil(sub(o, "predicate")); resnap(o) }), "r1", "r2"))
}

// twice repeats the one signature of an envelope, once without its keyid.
func twice(envelope []byte) string {
	return string(edit(envelope, func(o object) {
		s := o["signatures"].([]any)
		o["signatures"] = append(s, object{"sig": sub(o, "signatures", 0)["sig"]})
	}))
}

// badSignature has two good signatures and, under r1's keyid, a wrong one.
func badSignature(w *attesttest.World, payload []byte) string {
	return string(edit(w.Sign(payload, "r1", "r2"), func(o object) {
		s := o["signatures"].([]any)
		o["signatures"] = append(s, object{"keyid": string(attesttest.Key("r1").Public().ID()), "sig": strangerSig(w, payload)})
	}))
}
