package main

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"rebuild/attest"
	"rebuild/attest/sshkey"
	"rebuild/internal/document"
	"rebuild/pipeline"
	"rebuild/store"
)

// The cast of the trust scripts: three operators, two release signers, an
// index key, a key that nobody knows, one policy, and a small pipeline that was
// built once, on the real engine. Each operator has a state root of its own, a
// copy of that build, as each signs only what is in its own. Every script gets
// a copy.
var (
	castOnce sync.Once
	castDir  string
	castErr  error
)

const castPolicy = `schema_version = "rebuild.policy@1.0.0"
name = "cast"
version = 1
expires = "%s"
quorum = "rebuilders"
root = { need = 1, keys = ["%s"] }
signers = { need = 2, keys = [
  { name = "signer-1", key = "%s" },
  { name = "signer-2", key = "%s" },
] }
index = { keys = [{ key = "%s" }] }

[groups.rebuilders]
need = 2
of = ["north", "south", "east"]

[operators.north]
keys = [{ key = "%s" }]
[operators.south]
keys = [{ key = "%s" }]
[operators.east]
keys = [{ key = "%s" }]
`

const castPackage = `schema_version = "rebuild.package@1.0.0"
name = "hello"
version = "0.1.0"
description = "says hello"
docs = "Read it."
license = "CC0-1.0"
meta = { rebuild_compat = ">=0.0.0" }
`

// cast returns the folder to copy from.
func cast(t testing.TB) string {
	t.Helper()
	needEngine(t)
	castOnce.Do(func() { castDir, castErr = makeCast(t) })
	if castErr != nil {
		t.Fatal(castErr)
	}
	return castDir
}

func makeCast(t testing.TB) (string, error) {
	dir := filepath.Join(filepath.Dir(cache), "cast")
	keys := map[string]string{}
	for _, name := range []string{"root", "signer-1", "signer-2", "index", "north", "south", "east", "stranger"} {
		if err := os.MkdirAll(filepath.Join(dir, "keys"), 0o755); err != nil {
			return "", err
		}
		out := rebuild(t, "key", "new", filepath.Join(dir, "keys", name+".key")).must(t)
		keys[name] = strings.TrimSpace(string(out))
		write(t, filepath.Join(dir, "keys", name+".pub"), []byte(keys[name]+"\n"))
	}
	write(t, filepath.Join(dir, "policy.toml"), fmt.Appendf(nil, castPolicy, time.Now().AddDate(1, 0, 0).UTC().Format(time.RFC3339),
		keys["root"], keys["signer-1"], keys["signer-2"], keys["index"], keys["north"], keys["south"], keys["east"]))
	write(t, filepath.Join(dir, "package.toml"), []byte(castPackage))
	for name, text := range goodPipeline {
		write(t, filepath.Join(dir, name), []byte(text))
	}
	rebuild(t, "run", "--pipeline", dir, "--state", filepath.Join(dir, "north"), "--progress", "quiet").must(t)
	for _, other := range []string{"south", "east", "stranger"} {
		if err := copyMissing(filepath.Join(dir, other), filepath.Join(dir, "north")); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// What people are asked to believe is decided by these commands, one after the
// other, as several people would run them.
func TestTrustScripts(t *testing.T) {
	t.Parallel()
	from := cast(t)
	testscript.Run(t, scripts("../../testdata/cli/trust", func(env *testscript.Env) error {
		return copyMissing(env.WorkDir, from)
	}))
}

// copyMissing copies a folder, but not over what the script brought itself.
func copyMissing(to, from string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		if d.IsDir() {
			return os.MkdirAll(target, 0o755)
		}
		if _, err := os.Lstat(target); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, data, info.Mode().Perm())
	})
}

// lie HOW OPERATOR makes OPERATOR sign, in results, something else than it
// built:
//
//	file    another output of the last stage
//	failed  a stage that failed
//	untraced programs of unknown origin
func lie(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: lie HOW OPERATOR")
	}
	how, operator := args[0], args[1]
	plan, found, err := readResults(ts.MkAbs("results"))
	ts.Check(err)
	key, err := sshkey.ReadFile(ts.MkAbs("keys/"+operator+".key"), nil)
	ts.Check(err)
	report, err := pipeline.ReadReport(ts.MkAbs(operator), plan.Digest())
	ts.Check(err)
	nonce, err := attest.NewNonce(rand.Reader)
	ts.Check(err)
	r, err := pipeline.ResultOf(report, operator, nonce)
	ts.Check(err)
	last := &r.Stages[len(r.Stages)-1]
	switch how {
	case "file":
		last.Tree, last.Manifest = store.DigestOf([]byte("another tree")), store.DigestOf([]byte("another manifest"))
	case "failed":
		r.Outcome, r.Failure = attest.OutcomeBuildFailed, &attest.Failure{Stage: last.Name, Class: pipeline.BuildFailed, ExitStatus: 1}
		r.Stages, r.Repeat = r.Stages[:len(r.Stages)-1], nil
	case "untraced":
		r.Lineage = &attest.Lineage{Executables: 3, Untraced: 2}
	default:
		ts.Fatalf("unknown lie %q", how)
	}
	statement, err := signResult(plan, r, key)
	ts.Check(err)
	_, err = writeStatement(ts.MkAbs("results"), plan, found.Plan, operator, statement)
	ts.Check(err)
}

// owner FILE sets $OWNER to a public key.
func owner(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: owner FILE")
	}
	ts.Setenv("OWNER", strings.TrimSpace(ts.ReadFile(args[0])))
}

// releaseArgs are those of a release of everything in results.
func releaseArgs(dir string) []string {
	in := func(name string) string { return filepath.Join(dir, name) }
	return []string{"release", "--policy", in("policy.toml"), "--results", in("results"), "--package", in("package.toml"),
		"--state", in("north"), "--key", in("keys/signer-1.key"), "--key", in("keys/signer-2.key"),
		"--index", in("index"), "--index-key", in("keys/index.key"), "--out", in("out")}
}

// release makes an honest release of north's and south's statements.
func release(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: release")
	}
	for _, name := range []string{"north", "south"} {
		if _, err := os.Stat(ts.MkAbs("results")); err == nil && name == "north" {
			break // signed before
		}
		ts.Check(ts.Exec("rebuild", "attest", "--state", name, "--operator", name, "--key", "keys/"+name+".key", "--out", "results"))
	}
	ts.Check(ts.Exec("rebuild", releaseArgs(ts.MkAbs("."))...))
}

// statement OPERATOR sets $STATEMENT to the digest of the operator's only
// result in results.
func statement(ts *testscript.TestScript, neg bool, args []string) {
	name, ok := strings.CutSuffix(filepath.Base(statementFile(ts, args)), attest.EnvelopeSuffix)
	if neg || !ok {
		ts.Fatalf("usage: statement OPERATOR")
	}
	ts.Setenv("STATEMENT", "sha256:"+name)
}

// spoil OPERATOR replaces the operator's only result in results by what is no
// envelope.
func spoil(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(os.WriteFile(statementFile(ts, args), []byte("{}"), 0o644))
}

func statementFile(ts *testscript.TestScript, args []string) string {
	if len(args) != 1 {
		ts.Fatalf("usage: OPERATOR")
	}
	files := statementsOf(ts, args[0], attest.PredicateResult)
	if len(files) != 1 {
		ts.Fatalf("%d results of %s", len(files), args[0])
	}
	return files[0]
}

// statementsOf returns the files in results with an operator's statements of
// one predicate type.
func statementsOf(ts *testscript.TestScript, operator, predicateType string) []string {
	files, err := filepath.Glob(filepath.Join(ts.MkAbs("results"), "*", "*", operator, "*"+attest.EnvelopeSuffix))
	ts.Check(err)
	return slices.DeleteFunc(files, func(file string) bool {
		return !bytes.Contains(payloadOf(ts, file), []byte(`"predicateType":"`+predicateType+`"`))
	})
}

// payloadOf returns what an envelope says, unverified.
func payloadOf(ts *testscript.TestScript, file string) []byte {
	var e struct {
		Payload []byte `json:"payload"`
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(file)), &e))
	return e.Payload
}

// payload FILE TO writes the payload of an envelope to a file, for grep and cmp;
// of an OPERATOR instead of FILE its only result's.
func payload(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: payload FILE|OPERATOR TO")
	}
	file := args[0]
	if !strings.HasSuffix(file, ".json") {
		file = statementFile(ts, args[:1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), payloadOf(ts, file), 0o644))
}

// unprove OPERATOR takes the provenances of the operator's results out of
// results, as a crash would between the two. With "!" it wants none to be there.
func unprove(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: [!] unprove OPERATOR")
	}
	files := statementsOf(ts, args[0], attest.PredicateProvenance)
	if neg != (len(files) == 0) {
		ts.Fatalf("%d provenances of %s", len(files), args[0])
	}
	for _, f := range files {
		ts.Check(os.Remove(f))
	}
}

// reveal OPERATOR BUNDLE adds the operator's only result in results to the
// evidence in a bundle.
func reveal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: reveal OPERATOR BUNDLE")
	}
	b, err := attest.OpenBundle(args[1], []byte(ts.ReadFile(args[1])))
	ts.Check(err)
	b.Builds[0].Statements = append(b.Builds[0].Statements, []byte(ts.ReadFile(statementFile(ts, args[:1]))))
	data, err := b.Encode()
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), data, 0o644))
}

// fifo FILE makes a pipe that nobody writes to.
func fifo(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(syscall.Mkfifo(ts.MkAbs(args[0]), 0o644))
}

// samekey FILE FROM TO puts the key of one .pub file in the place of another's.
func samekey(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: samekey FILE FROM TO")
	}
	replace(ts, args[0], strings.TrimSpace(ts.ReadFile(args[1])), strings.TrimSpace(ts.ReadFile(args[2])))
}

var expires = regexp.MustCompile(`expires = "[^"]*"`)

// expire FILE makes a policy end in the past.
func expire(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: expire FILE")
	}
	text := ts.ReadFile(args[0])
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(expires.ReplaceAllString(text, `expires = "2020-01-01T00:00:00Z"`)), 0o644))
}

// unsign FILE takes the signature off the only line of an index file.
func unsign(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), append(without(ts, args[0], "signature"), '\n'), 0o644))
}

// unadvertise FILE takes the keys out of the config.json of an index.
func unadvertise(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), without(ts, args[0], "signing"), 0o644))
}

// without returns a document less one of its fields.
func without(ts *testscript.TestScript, file, field string) []byte {
	var doc map[string]any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(file)), &doc))
	if doc[field] == nil {
		ts.Fatalf("%s has no %s", file, field)
	}
	delete(doc, field)
	text, err := document.Encode(doc)
	ts.Check(err)
	return text
}
