package attest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/index"
	"rebuild/index/indextest"
	"rebuild/index/liartest"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// runLogged reads a package of a logged index, by a policy or without one, as
// somebody who saw other states of it.
func (v *vector) runLogged() judgement {
	in := index.Reading{Now: v.now(), Offline: v.Offline, Pause: func(context.Context, time.Duration) bool { return true }}
	if v.Policy != "" {
		var err error
		if in.Policy, err = attest.LoadPolicy("policy.toml", []byte(v.Policy)); err != nil {
			return judged(err)
		}
	}
	dir, err := os.MkdirTemp("", "state-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "state.json")
	if v.State != "" {
		if err := os.WriteFile(file, []byte(v.State), 0o600); err != nil {
			panic(err)
		}
	}
	if in.State, err = index.LoadState(file); err != nil {
		return judged(errors.New(strings.ReplaceAll(err.Error(), dir, ""))).as(err)
	}
	if v.Forget {
		in.State = nil
	}
	var account []string
	in.Notice = func(s string) { account = append(account, s) }
	lines, err := v.readLogged(againSource{index.Dir(mapFS(v.Files), "INDEX"), index.Dir(mapFS(v.Again), "INDEX")}, in)
	if err != nil {
		return judged(err)
	}
	if v.Forget {
		return judged(nil, slices.Concat(account, lines)...)
	}
	if v.Meanwhile != "" {
		if err := os.WriteFile(file, []byte(v.Meanwhile), 0o600); err != nil {
			panic(err)
		}
	}
	if err := in.State.Save(); err != nil {
		return judged(errors.New(strings.ReplaceAll(err.Error(), dir, ""))).as(err)
	}
	seen, err := os.ReadFile(file)
	if err != nil {
		return judged(err)
	}
	return judged(nil, slices.Concat(account, lines, []string{"state " + string(store.DigestOf(seen))})...)
}

func mapFS(files map[string]vectorFile) fstest.MapFS {
	out := fstest.MapFS{}
	for name, f := range files {
		out[name] = &fstest.MapFile{Data: f.data()}
	}
	return out
}

// againSource has other files when it is asked past all caches.
type againSource struct {
	index.Source
	again index.Source
}

func (s againSource) Get(ctx context.Context, path string, limit int64, fresh bool) ([]byte, error) {
	if fresh {
		data, err := s.again.Get(ctx, path, limit, true)
		if !errors.Is(err, fs.ErrNotExist) {
			return data, err
		}
	}
	return s.Source.Get(ctx, path, limit, fresh)
}

// as gives a judgement the code of an error whose words were changed.
func (j judgement) as(err error) judgement {
	j.outcome = judged(err).outcome
	return j
}

func (v *vector) readLogged(src index.Source, in index.Reading) ([]string, error) {
	ctx := context.Background()
	r, err := index.NewReader(ctx, src, in)
	if err != nil {
		return nil, err
	}
	e, err := r.Lookup(ctx, v.Name, v.Version)
	if err != nil {
		return nil, err
	}
	out := []string{e.Name + " " + e.Version + " without a log"}
	if head := r.Head(); head != nil {
		out[0] = fmt.Sprintf("%s %s of a log of size %d", e.Name, e.Version, head.Size)
	}
	listed, unlisted := r.List(ctx, e)
	more, err := verifyLogged(r, e, in.Policy)
	switch {
	case err == nil && unlisted != nil:
		return nil, fmt.Errorf("verified, and not listed: %w", unlisted)
	case err != nil && unlisted == nil: // List does not look at the archive
		return nil, fmt.Errorf("listed all the same: %w", err)
	case err != nil:
		return nil, err
	}
	bundle, err := bundled(r, e)
	if err != nil {
		return nil, fmt.Errorf("verified, and not bundled: %w", err)
	}
	return slices.Concat(out, []string{listed.Document.Name}, more, bundle), nil
}

// bundled says how much there is for others to verify the release with.
func bundled(r *index.Reader, e *index.Entry) ([]string, error) {
	b, err := r.Bundle(context.Background(), e)
	if e.Release == "" && fault.CodeOf(err) == fault.QuorumPending {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []string
	for _, ev := range b.Builds {
		out = append(out, fmt.Sprintf("bundle: %d statements, events %s", len(ev.Statements), store.DigestOf(ev.Events)))
	}
	return out, nil
}

// verifyLogged verifies everything about an entry.
func verifyLogged(r *index.Reader, e *index.Entry, policy *attest.Policy) ([]string, error) {
	if policy == nil {
		if _, err := r.VerifyEntry(context.Background(), e); fault.CodeOf(err) != fault.Usage {
			return nil, fmt.Errorf("judged without a policy: %w", err)
		}
		pkg, err := r.Unjudged(context.Background(), e)
		if err != nil {
			return nil, err
		}
		return []string{pkg.Cksum()}, nil
	}
	p, err := r.VerifyEntry(context.Background(), e)
	if err != nil {
		return nil, err
	}
	return p.Account().Lines(), nil
}

// logged is an index in two states, as its writer makes it.
type loggedIndex struct {
	t             testing.TB
	policy        string
	before, after map[string][]byte
	exported      map[string][]byte // lists of all that is in the second state
	release       [2]store.Digest
	late          []byte // a dissent that nobody has logged
	plan          store.Digest
}

func makeLoggedIndex(t testing.TB) *loggedIndex {
	w := attesttest.New(t)
	w.PolicyTOML = strings.Replace(attesttest.Policy(attesttest.LogPolicy(0)), "groups.main", "require = { logged = true }\ngroups.main", 1)
	l := &loggedIndex{t: t, policy: w.PolicyTOML, plan: w.Plan.Digest()}
	made := indextest.NewLogged(t, w)
	ctx, dir := context.Background(), made.Dir
	_, err := made.Open().AddStatements(ctx, w.PlanJSON, w.Statements())
	must(t, err)
	key := made.In.Key
	made.In.Key = nil
	_, _, err = made.Open().AddPackage(ctx, barePackage(t, "tool"))
	must(t, err)
	made.In.Key = key
	_, err = made.Open().Backfill(ctx, index.BackfillOptions{Write: true})
	must(t, err)
	l.release[0] = made.Publish("0.1.0", "r1").Release
	l.before = liartest.ReadFiles(t, dir)
	made.Now = made.Now.Add(time.Minute)
	l.release[1] = made.Publish("0.2.0", "r2").Release
	said := attest.Yank{Version: "0.1.0", Action: attest.ActionYank, Reason: "old", At: "2026-06-01T12:00:00Z"}
	made.Yank(said, "r1", "r2")
	said.Action, said.ID = attest.ActionAdvise, "ADV-1"
	made.Yank(said, "r1", "r2")
	l.after = liartest.ReadFiles(t, dir)
	_, err = made.Open().Export(ctx)
	must(t, err)
	l.exported = liartest.ReadFiles(t, dir)
	maps.DeleteFunc(l.exported, func(path string, _ []byte) bool { return l.after[path] != nil })
	l.late = w.Statement("east", func(r *attest.Result) {
		r.Nonce = strings.Repeat("ab", 32)
		r.Stages[1] = w.Stage("hello", []store.File{{Path: "bin/hello", Mode: 0o755, Data: []byte("other")}})
	})
	return l
}

func barePackage(t testing.TB, name string) *attest.Package { return bareVersion(t, name, "0.1.0") }

func bareVersion(t testing.TB, name, version string) *attest.Package {
	t.Helper()
	text := strings.NewReplacer(`"hello"`, `"`+name+`"`, `"0.1.0"`, `"`+version+`"`).Replace(attesttest.PackageTOML)
	_, image, err := attest.LoadPackage("package.toml", []byte(text))
	must(t, err)
	pkg, err := attest.Pack(image, nil, attesttest.Epoch)
	must(t, err)
	return pkg
}

func vectorFiles(all map[string][]byte) map[string]vectorFile {
	out := map[string]vectorFile{}
	for path, data := range all {
		out[path] = vectorFileOf(data)
	}
	return out
}

const (
	helloLines = "he/ll/hello"
	helloChain = "chains/pkg/he/ll/hello.jsonl"
)

// loggedIndexVectors are about the second state of an index: hello 0.1.0,
// yanked and advised against, and 0.2.0 under another owner; tool 0.1.0 has no
// release and was signed later.
func loggedIndexVectors(l *loggedIndex) map[string]vector {
	t := l.t
	v := func(expect, why, version string, files map[string][]byte) vector {
		return vector{Expect: expect, Why: why, Policy: l.policy, Name: "hello", Version: version, Files: vectorFiles(files), Now: "2026-06-01T12:05:00Z"}
	}
	at := func(when string) func(*vector) { return func(v *vector) { v.Now = when } }
	noPolicy := func(v *vector) { v.Policy = "" }
	changed := func(change func(map[string][]byte)) map[string][]byte {
		all := maps.Clone(l.after)
		change(all)
		return all
	}
	take := func(from map[string][]byte, paths ...string) map[string][]byte {
		return changed(func(f map[string][]byte) {
			for _, p := range paths {
				if f[p] = from[p]; from[p] == nil {
					delete(f, p)
				}
			}
		})
	}
	// forged has a further leaf that changes nothing but the view.
	forged := func(change func(*liartest.Forgery)) map[string][]byte {
		f := liartest.Forge(t, l.after)
		change(f)
		f.Append(attest.Event{Chain: "policy:demo", Type: attest.EventPolicy, Object: store.DigestOf([]byte("p"))})
		return f.Seal(attesttest.Now.Add(time.Minute))
	}
	sealed := func(change func(*liartest.Forgery)) map[string][]byte {
		f := liartest.Forge(t, l.after)
		change(f)
		return f.Seal(attesttest.Now.Add(time.Minute))
	}
	lines := func(from, to string) map[string][]byte {
		return forged(func(f *liartest.Forgery) {
			now := bytes.Replace(f.Files[helloLines], []byte(from), []byte(to), 1)
			if bytes.Equal(now, f.Files[helloLines]) {
				panic(from)
			}
			f.Files[helloLines] = now
		})
	}
	seen := func(v vector) string { // what somebody remembers who has read it so
		file := filepath.Join(t.TempDir(), "state.json")
		in := index.Reading{Now: v.now()}
		var err error
		if v.Policy != "" {
			in.Policy, err = attest.LoadPolicy("policy.toml", []byte(v.Policy))
			must(t, err)
		}
		in.State, err = index.LoadState(file)
		must(t, err)
		fsys := fstest.MapFS{}
		for name, f := range v.Files {
			fsys[name] = &fstest.MapFile{Data: f.data()}
		}
		_, err = v.readLogged(index.Dir(fsys, "INDEX"), in)
		must(t, err)
		must(t, in.State.Save())
		text, err := os.ReadFile(file)
		must(t, err)
		return string(text)
	}
	honest := v("ok", "the index that the other vectors start from", "0.2.0", l.after)
	memory := seen(honest)
	early := seen(v("", "", "0.1.0", l.before))
	unpoliced := seen(with(honest, noPolicy))
	knowing := func(state string, v vector) vector { v.State = state; return v }
	config := func(from, to string) map[string][]byte {
		return changed(func(f map[string][]byte) {
			now := bytes.Replace(f["config.json"], []byte(from), []byte(to), -1)
			if bytes.Equal(now, f["config.json"]) {
				panic(from)
			}
			f["config.json"] = now
		})
	}
	logPart := func() string {
		_, rest, _ := strings.Cut(string(l.after["config.json"]), `"log":`)
		part, _, _ := strings.Cut(rest, `},`)
		return `"log":` + part + `},`
	}()
	chainLines := bytes.SplitAfter(l.after[helloChain], []byte("\n"))
	chainLines = chainLines[:len(chainLines)-1]
	yankHash := func(line []byte) store.Digest {
		e, err := attest.DecodeEvent("leaf", 1, bytes.TrimSuffix(line, []byte("\n")))
		must(t, err)
		return e.Object
	}
	yank, advise := yankHash(chainLines[2]), yankHash(chainLines[3])
	statementFile := func(d store.Digest) string { return "statements/" + d.Hex() + ".dsse.json" }
	planChain := "chains/plan/" + l.plan.Hex() + ".jsonl"
	viewOf := func(path string) []string {
		two, four := liartest.ViewPath(path)
		return []string{"view/root", "view/" + two, "view/" + four}
	}
	// otherChain replaces the chain of hello and proves what is there.
	otherChain := func(change func(events []attest.Event) []attest.Event) map[string][]byte {
		return sealed(func(f *liartest.Forgery) {
			var events []attest.Event
			for _, leaf := range f.Log.Leaves {
				e, err := attest.DecodeEvent("leaf", 1, leaf)
				must(t, err)
				events = append(events, e)
			}
			f.Relog(change(events))
		})
	}
	late := func(by string) map[string][]byte {
		return sealed(func(f *liartest.Forgery) {
			e, err := attest.ParseEnvelope("late", l.late)
			must(t, err)
			f.Files[statementFile(e.Digest())] = l.late
			f.Append(attest.Event{Chain: string(l.plan), Type: attest.EventStatement, Object: e.Digest(), By: attesttest.Key(by).Public().ID()})
		})
	}
	tool := func(v vector) vector { v.Name, v.Version = "tool", ""; return v }
	key := key64("index") + `"`
	limited := func(v vector, limit string) vector { return policyText(v, key, key+", "+limit) }
	out := map[string]vector{
		"honest": honest,
		"latest": v("ok", "the one that is not yanked", "", l.after),
		"yanked": v("ok", "named, it is used all the same", "0.1.0", l.after),
		"absent": with(v("INDEX_NO_MATCH", "the view has no such file", "", l.after), func(v *vector) { v.Name = "nobody" }),
		"again":  knowing(memory, v("ok", "nothing has changed", "0.2.0", l.after)),
		"grown":  knowing(early, v("ok", "the log goes on from what was seen", "0.2.0", l.after)),

		"rollback":      knowing(memory, v("ROLLBACK", "an older state", "0.1.0", l.before)),
		"fork":          knowing(memory, v("FORK", "another log of the same size", "0.1.0", sizedForgery(t, l, 0))),
		"fork-longer":   knowing(memory, v("FORK", "a longer log that does not go on from what was seen", "0.1.0", sizedForgery(t, l, 2))),
		"policy-before": knowing(strings.Replace(memory, `"policies":{"demo":1}`, `"policies":{"demo":2}`, 1), v("ROLLBACK", "an older policy", "0.2.0", l.after)),
		"policy-next":   knowing(memory, policyText(v("ok", "a later policy", "0.2.0", l.after), "version = 1", "version = 2")),
		"stale":         with(v("STALE", "nobody can say what has happened since", "0.2.0", l.after), at("2026-06-02T12:02:00Z")),
		"stale-offline": with(v("ok", "offline nobody can be asked", "0.2.0", l.after), func(v *vector) { v.Now, v.Offline = "2026-06-02T12:02:00Z", true }),
		"old-enough":    with(v("ok", "just young enough", "0.2.0", l.after), at("2026-06-02T12:01:00Z")),
		"early":         with(v("ok", "a checkpoint from the future is a note", "0.2.0", l.after), at("2026-06-01T11:55:59Z")),
		"not-early":     with(v("ok", "clocks differ", "0.2.0", l.after), at("2026-06-01T11:56:00Z")),
		"undated":       v("STALE", "nobody has dated it", "0.2.0", liartest.Forge(t, l.after).Seal(time.Time{})),
		"unwitnessed":   policyText(v("UNWITNESSED", "a witness is missing", "0.2.0", l.after), attesttest.LogPolicy(0), attesttest.LogPolicy(1, "w1")),
		"witnessed": policyText(v("ok", "a witness has seen it", "0.2.0", liartest.Forge(t, l.after).Seal(attesttest.Now.Add(time.Minute), "w1")),
			attesttest.LogPolicy(0), attesttest.LogPolicy(1, "w1")),

		"no-head":    v("VIEW_MISMATCH", "withheld", "0.2.0", take(nil, "head")),
		"head-large": with(v("PARSE", "work without end", "0.2.0", l.after), func(v *vector) { v.Files["head"] = vectorFile{Text: times(8<<10+2+attest.MaxProof, "x")} }),
		"head-of-before": v("EVIDENCE_MISMATCH", "a proof of another leaf", "0.2.0", changed(func(f map[string][]byte) {
			leaf, _, _ := bytes.Cut(l.before["head"], []byte("\n"))
			_, proof, _ := bytes.Cut(f["head"], []byte("\n"))
			f["head"] = slices.Concat(leaf, []byte("\n"), proof)
		})),
		"head-of-older-leaf": v("VIEW_MISMATCH", "a leaf that is not the last would show an older index", "0.1.0", changed(func(f map[string][]byte) {
			f["head"] = liartest.Forge(t, l.after).HeadOf(8, f["checkpoint"])
		})),
		"leaf-dated-late": v("STALE", "dated after its checkpoint", "0.2.0", sealed(func(f *liartest.Forgery) {
			f.Append(attest.Event{Chain: "policy:demo", Type: attest.EventPolicy, Object: store.DigestOf([]byte("p")), At: "2026-06-01T12:06:01Z"})
		})),
		"leaf-dated-close": v("ok", "clocks differ", "0.2.0", sealed(func(f *liartest.Forgery) {
			f.Append(attest.Event{Chain: "policy:demo", Type: attest.EventPolicy, Object: store.DigestOf([]byte("p")), At: "2026-06-01T12:06:00Z"})
		})),
		"head-by-stranger": policyText(v("KEY_UNKNOWN", "the policy decides whose log it is", "0.2.0", l.after),
			attesttest.VerifierKey(attesttest.Origin, "log", 1), attesttest.VerifierKey(attesttest.Origin, "w1", 1)),

		"view-root":     v("VIEW_MISMATCH", "of another state", "0.2.0", take(l.before, "view/root")),
		"view-middle":   v("VIEW_MISMATCH", "of another state", "0.2.0", take(l.before, viewOf(helloLines)[1])),
		"view-leaf":     v("VIEW_MISMATCH", "of another state", "0.2.0", take(l.before, viewOf(helloLines)[2])),
		"view-none":     v("VIEW_MISMATCH", "withheld", "0.2.0", take(nil, viewOf(helloLines)[1])),
		"view-large":    with(v("PARSE", "work without end", "0.2.0", l.after), func(v *vector) { v.Files["view/root"] = vectorFile{Text: times(1<<20+1, "x")} }),
		"lines":         v("VIEW_MISMATCH", "of another state", "0.1.0", take(l.before, helloLines)),
		"lines-none":    v("VIEW_MISMATCH", "a package is left out", "0.2.0", take(nil, helloLines)),
		"lines-dropped": v("VIEW_MISMATCH", "the log has entered it", "0.2.0", forged(func(f *liartest.Forgery) { f.Files[helloLines] = afterFirst(f.Files[helloLines]) })),
		"lines-dropped-newer": v("ok", "one of a later version may be it", "0.2.0", forged(func(f *liartest.Forgery) {
			f.Files[helloLines] = append(afterFirst(f.Files[helloLines]), `{"schema_version":"rebuild.index-entry@9.0.0"}`+"\n"...)
		})),
		"view-form":       v("STRUCTURE", "a node that is none", "0.2.0", nodeForgery(t, l, `{"nodes":{},"schema_version":"rebuild.view@1.0.0","x":1}`)),
		"view-digest":     v("STRUCTURE", "no digest", "0.2.0", nodeForgery(t, l, `{"nodes":{"00":"x"},"schema_version":"rebuild.view@1.0.0"}`)),
		"view-newer":      v("SCHEMA_UNSUPPORTED", "of a later version", "0.2.0", nodeForgery(t, l, `{"nodes":{},"schema_version":"rebuild.view@9.0.0"}`)),
		"view-empty":      v("INDEX_NO_MATCH", "the log's key says that there is nothing", "0.2.0", nodeForgery(t, l, `{"nodes":{},"schema_version":"rebuild.view@1.0.0"}`)),
		"seq-of-another":  v("VIEW_MISMATCH", "another leaf", "0.2.0", lines(`"seq":10`, `"seq":11`)),
		"seq-of-none":     v("VIEW_MISMATCH", "no leaf of the package", "0.2.0", lines(`"seq":10`, `"seq":3`)),
		"seq-left-out":    v("VIEW_MISMATCH", "no line has the leaf", "0.2.0", lines(`"seq":10,`, ``)),
		"flag-unyanked":   v("UNYANKED", "without a statement", "0.2.0", lines(`"yanked":true`, `"yanked":false`)),
		"flag-yanked":     v("UNYANKED", "without a statement", "0.2.0", lines(`"yanked":false`, `"yanked":true`)),
		"flag-unadvised":  v("UNYANKED", "without a statement", "0.2.0", lines(`"advisories":["ADV-1"],`, ``)),
		"flag-backfilled": v("VIEW_MISMATCH", "no leaf says so", "0.2.0", lines(`"cksum"`, `"backfilled":true,"cksum"`)),

		"chain-none":  v("VIEW_MISMATCH", "withheld", "0.2.0", take(nil, helloChain)),
		"chain-cut":   v("VIEW_MISMATCH", "of another state", "0.2.0", take(l.before, helloChain)),
		"chain-short": v("UNYANKED", "a yank is left out", "0.2.0", changed(func(f map[string][]byte) { f[helloChain] = slices.Concat(chainLines[:3]...) })),
		"chain-open":  v("PARSE", "half a line", "0.2.0", changed(func(f map[string][]byte) { f[helloChain] = bytes.TrimSuffix(f[helloChain], []byte("\n")) })),
		"chain-large": with(v("PARSE", "work without end", "0.2.0", l.after), func(v *vector) { v.Files[helloChain] = vectorFile{Text: times(attest.MaxEvents+1, "\n")} }),
		"chain-form":  v("STRUCTURE", "no leaf", "0.2.0", changed(func(f map[string][]byte) { f[helloChain] = []byte("{}\n") })),
		"chain-unlogged": v("VIEW_MISMATCH", "a leaf that the log does not have yet", "0.2.0", changed(func(f map[string][]byte) {
			longer := forged(func(f *liartest.Forgery) {
				f.Append(attest.Event{Chain: "pkg:hello", Type: attest.EventYank, Object: store.DigestOf([]byte("y"))})
			})
			f[helloChain] = longer[helloChain]
		})),
		"chain-changed": v("EVIDENCE_MISMATCH", "the log has another leaf there", "0.2.0", changed(func(f map[string][]byte) {
			f[helloChain] = append(slices.Concat(chainLines[:3]...), bytes.Replace(chainLines[3], []byte(advise), []byte(otherDigest), 1)...)
		})),
		"chain-gap": v("EVIDENCE_MISMATCH", "a leaf is left out", "0.2.0", changed(func(f map[string][]byte) {
			f[helloChain] = slices.Concat(chainLines[0], chainLines[1], chainLines[3])
		})),
		"chain-beginning": v("EVIDENCE_MISMATCH", "the first leaf is left out", "0.2.0", changed(func(f map[string][]byte) { f[helloChain] = slices.Concat(chainLines[1:]...) })),
		"chain-of-other":  v("EVIDENCE_MISMATCH", "of another package", "0.2.0", changed(func(f map[string][]byte) { f[helloChain] = f["chains/pkg/to/ol/tool.jsonl"] })),
		"chain-order": v("EVIDENCE_MISMATCH", "seq must grow", "0.2.0", otherChain(func(all []attest.Event) []attest.Event {
			all[len(all)-2].Seq = 100
			return all
		})),
		"chain-dates": v("EVIDENCE_MISMATCH", "dates must not go back", "0.2.0", otherChain(func(all []attest.Event) []attest.Event {
			all[len(all)-2].At = "2026-06-01T12:02:00Z"
			return all
		})),
		"chain-twice": v("EVIDENCE_MISMATCH", "an object stands there once", "0.2.0", otherChain(func(all []attest.Event) []attest.Event {
			return append(all, attest.Event{Chain: "pkg:hello", Type: attest.EventYank, Object: yank, Seq: int64(len(all)), At: all[len(all)-1].At, View: all[len(all)-1].View})
		})),
		"chain-dated-late": v("STALE", "the last leaf of the package is dated after the checkpoint", "0.2.0", sealed(func(f *liartest.Forgery) {
			f.Append(attest.Event{Chain: "pkg:hello", Type: attest.EventBackfill, Object: store.DigestOf([]byte("p")), At: "2026-06-01T12:06:01Z"})
			f.Append(attest.Event{Chain: "policy:demo", Type: attest.EventPolicy, Object: store.DigestOf([]byte("p")), At: "2026-06-01T12:01:00Z"})
		})),
		"release-of-another": v("VIEW_MISMATCH", "the leaf is of another release", "0.2.0", otherChain(func(all []attest.Event) []attest.Event {
			all[10].Object = store.DigestOf([]byte("another"))
			return all
		})),
		"tiles": v("EVIDENCE_MISMATCH", "they do not lead to the root", "0.2.0", changed(func(f map[string][]byte) {
			for path, data := range f {
				if strings.HasPrefix(path, "tile/0/") {
					f[path] = append([]byte{data[0] ^ 1}, data[1:]...)
				}
			}
		})),
		"tiles-none": v("INDEX_FETCH", "the leaf can not be proven", "0.2.0", changed(func(f map[string][]byte) {
			maps.DeleteFunc(f, func(path string, _ []byte) bool { return strings.HasPrefix(path, "tile/") })
		})),

		"yank-none":  v("EVIDENCE_MISMATCH", "the statement is withheld", "0.2.0", take(nil, statementFile(yank))),
		"yank-other": v("EVIDENCE_MISMATCH", "another statement", "0.2.0", changed(func(f map[string][]byte) { f[statementFile(yank)] = f[statementFile(advise)] })),
		"yank-form":  v("STRUCTURE", "no envelope", "0.2.0", changed(func(f map[string][]byte) { f[statementFile(yank)] = []byte("{}") })),
		"yank-unsigned": v("SIGNATURE_INVALID", "one of two signers", "0.2.0", changed(func(f map[string][]byte) {
			f[statementFile(yank)] = resigned(t, f[statementFile(yank)], "r2")
		})),
		"yank-not-by-owner": with(v("SIGNATURE_INVALID", "the owner has not signed", "0.2.0", changed(func(f map[string][]byte) {
			f[statementFile(yank)] = resigned(t, f[statementFile(yank)], "r2")
		})), noPolicy),
		"yank-of-none":  v("VIEW_MISMATCH", "of a version that is not there", "0.2.0", yankForgery(t, l, attest.Yank{Name: "hello", Version: "0.3.0"})),
		"yank-of-other": v("VIEW_MISMATCH", "of another package", "0.2.0", yankForgery(t, l, attest.Yank{Name: "hallo", Version: "0.2.0"})),
		"yank-replayed": v("UNYANKED", "it does not follow the last one", "0.2.0", yankForgery(t, l, attest.Yank{Name: "hello", Version: "0.1.0", Action: attest.ActionUnyank, After: yank})),
		"yank-no-yank": v("STRUCTURE", "a release is no yank", "0.2.0", sealed(func(f *liartest.Forgery) {
			f.Append(attest.Event{Chain: "pkg:hello", Type: attest.EventYank, Object: l.release[0]})
		})),
		"backfill-of-none": v("VIEW_MISMATCH", "of no line", "0.2.0", sealed(func(f *liartest.Forgery) {
			f.Append(attest.Event{Chain: "pkg:hello", Type: attest.EventBackfill, Object: store.DigestOf([]byte("p"))})
		})),

		"seen-yank": knowing(memory, v("UNYANKED", "a yank that was seen is not in the chain", "0.2.0", forkedChain(t, l))),
		"seen-leaf": knowing(memory[:strings.Index(memory, `,"yanks":`)]+"}", v("FORK", "a leaf that was seen is not in the chain", "0.2.0", forkedChain(t, l))),
		"unseen":    v("ok", "a chain that goes another way is seen by monitors alone", "0.2.0", forkedChain(t, l)),

		"later-dissent":  v("DISSENT", "it was logged after the release", "0.2.0", late("east")),
		"later-withheld": v("EVIDENCE_MISMATCH", "the statement is withheld", "0.2.0", withoutLate(late("east"), l.late)),
		"plan-chain":     v("VIEW_MISMATCH", "the chain of the plan is cut before the release", "0.2.0", take(l.before, planChain)),
		"plan-none":      v("VIEW_MISMATCH", "the chain of the plan is withheld", "0.2.0", take(nil, planChain)),

		"owner-known":   knowing(early, v("ok", "the owner before has signed the change", "0.2.0", l.after)),
		"owner-before":  knowing(memory, v("ok", "a version from before the change", "0.1.0", l.after)),
		"owner-unknown": knowing(strings.Replace(memory, attesttest.Key("r2").Public().String(), key64("stranger"), 1), v("OWNER_CHANGED", "known by another owner", "0.2.0", l.after)),

		"index-key-later":   limited(v("ok", "it had not ended when it signed", "0.2.0", l.after), `not_after = "2026-06-01T12:01:00Z"`),
		"index-key-ended":   limited(v("KEY_EXPIRED", "it had ended when it signed", "0.2.0", l.after), `not_after = "2026-06-01T12:00:59Z"`),
		"index-key-revoked": limited(v("KEY_EXPIRED", "revoked before the leaf", "0.2.0", l.after), `revoked_from = 10`),
		"index-key-kept":    limited(v("ok", "revoked after the leaf", "0.2.0", l.after), `revoked_from = 11`),
		"no-log":            v("VIEW_MISMATCH", "the log is left out", "0.2.0", config(logPart, ``)),
		"no-log-pinned":     knowing(unpoliced, with(v("VIEW_MISMATCH", "there was a log", "0.2.0", config(logPart, ``)), noPolicy)),
		"other-log":         v("EVIDENCE_MISMATCH", "not the policy's log", "0.2.0", config(logPart, `"log":{"key":"`+attesttest.VerifierKey("example.org/other", "log", 1)+`","origin":"example.org/other"},`)),

		"pinned":        with(v("ok", "the keys that are seen first", "0.2.0", l.after), noPolicy),
		"pinned-before": knowing(unpoliced, with(v("ok", "the same keys", "0.1.0", l.after), noPolicy)),
		"pinned-other":  knowing(strings.ReplaceAll(unpoliced, key64("index"), key64("stranger")), with(v("KEY_UNKNOWN", "keys that came later do not count", "0.2.0", l.after), noPolicy)),
		"pinned-log":    knowing(strings.Replace(unpoliced, attesttest.VerifierKey(attesttest.Origin, "log", 1), attesttest.VerifierKey(attesttest.Origin, "w1", 1), 1), with(v("KEY_UNKNOWN", "another log key", "0.2.0", l.after), noPolicy)),
		"pinned-config": with(v("VIEW_MISMATCH", "the log has another config", "0.2.0", config(`{"log"`, `{"dl":"x","log"`)), noPolicy),
		"head-of-other": knowing(headBy(t, l, "w1"), v("ok", "a memory of another log of that name is given up", "0.2.0", l.after)),
		"head-pinned":   knowing(headBy(t, l, "w1"), with(v("KEY_UNKNOWN", "one of the two logs of that name lies", "0.2.0", l.after), noPolicy)),
		"head-damaged":  knowing(strings.Replace(memory, `\n\n— `, `\n\n- `, 1), v("PARSE", "a memory that can not be read", "0.2.0", l.after)),
		"state-head":    knowing(`{"heads":{"o":"x"},"schema_version":"rebuild.state@1.0.0"}`, v("STRUCTURE", "no checkpoint", "0.2.0", l.after)),
		"state-size":    knowing(`{"heads":{"o":"o\nx\n"},"schema_version":"rebuild.state@1.0.0"}`, v("STRUCTURE", "no checkpoint", "0.2.0", l.after)),
		"state-minus":   knowing(`{"heads":{"o":"o\n-1\n"},"schema_version":"rebuild.state@1.0.0"}`, v("STRUCTURE", "no checkpoint", "0.2.0", l.after)),
		"state-zero":    knowing(`{"heads":{"o":"o\n01\n"},"schema_version":"rebuild.state@1.0.0"}`, v("STRUCTURE", "no checkpoint", "0.2.0", l.after)),
		"state-key":     knowing(`{"owners":{"a":["x"]},"schema_version":"rebuild.state@1.0.0"}`, v("STRUCTURE", "no key", "0.2.0", l.after)),
		"state-policy":  knowing(`{"policies":{"A":1},"schema_version":"rebuild.state@1.0.0"}`, v("STRUCTURE", "no name", "0.2.0", l.after)),
		"state-version": knowing(`{"policies":{"a":-1},"schema_version":"rebuild.state@1.0.0"}`, v("SEMANTIC", "no version", "0.2.0", l.after)),
		"state-chain":   knowing(`{"chains":{"o":{"a":{"digest":"x","seq":1}}},"schema_version":"rebuild.state@1.0.0"}`, v("SEMANTIC", "no digest", "0.2.0", l.after)),
		"state-seq":     knowing(`{"chains":{"o":{"a":{"digest":"`+otherDigest+`","seq":-1}}},"schema_version":"rebuild.state@1.0.0"}`, v("SEMANTIC", "no place in a log", "0.2.0", l.after)),
		"state-order":   knowing(`{"owners":{"a":["`+strings.Join(unsorted(), `","`)+`"]},"schema_version":"rebuild.state@1.0.0"}`, v("SEMANTIC", "a list has one order", "0.2.0", l.after)),
		"state-form":    knowing(`{"schema_version":"rebuild.state@1.0.0","x":1}`, v("STRUCTURE", "a memory that can not be read", "0.2.0", l.after)),
		"owner-unsigned": knowing(early, with(v("OWNER_CHANGED", "the owner before has not signed the change", "0.2.0", changed(func(f map[string][]byte) {
			f[statementFile(l.release[1])] = resigned(t, f[statementFile(l.release[1])], "r2")
		})), noPolicy)),
		"owner-pinned": knowing(strings.Replace(unpoliced, attesttest.Key("r2").Public().String(), key64("stranger"), 1), with(v("OWNER_CHANGED", "known by another owner", "0.2.0", l.after), noPolicy)),
		"owner-absent": with(v("SIGNATURE_INVALID", "the owner has not signed", "0.2.0", changed(func(f map[string][]byte) {
			f[statementFile(l.release[1])] = resigned(t, f[statementFile(l.release[1])], "r1")
		})), noPolicy),
		"unreleased-name":    with(v("EVIDENCE_MISMATCH", "the archive is of another package", "", entryForgery(t, l, "bare", "0.1.0")), func(v *vector) { v.Policy, v.Name = "", "bare" }),
		"unreleased-version": with(v("EVIDENCE_MISMATCH", "the archive is of another version", "", entryForgery(t, l, "tool", "0.2.0")), func(v *vector) { v.Policy, v.Name = "", "tool" }),
		"unreleased-owned":   with(v("OWNER_CHANGED", "the owners have signed nothing", "0.3.0", entryForgery(t, l, "hello", "0.3.0")), noPolicy),
		"leaf-later":         limited(knowing(redated(t, l.before), v("KEY_EXPIRED", "the log had not reached the leaf by then", "0.2.0", l.after)), `not_after = "2026-06-01T12:03:00Z"`),
		"leaf-not-later":     limited(knowing(redated(t, l.after), v("ok", "that checkpoint covers the leaf", "0.2.0", l.after)), `not_after = "2026-06-01T12:03:00Z"`),
		"log-key-bad":        v("STRUCTURE", "not the key of a log", "0.2.0", config(logPart, `"log":{"key":"k","origin":"`+attesttest.Origin+`"},`)),
		"advertised-until":   with(v("KEY_EXPIRED", "the index itself says that it has ended", "0.2.0", advertising(t, l, `"not_after":"2026-06-01T12:00:59Z"`)), noPolicy),
		"advertised-still":   with(v("ok", "it had not ended when it signed", "0.2.0", advertising(t, l, `"not_after":"2026-06-01T12:01:00Z"`)), noPolicy),
		"advertised-from":    with(v("KEY_EXPIRED", "the index itself says that it is not valid yet", "0.2.0", advertising(t, l, `"not_before":"2026-06-01T12:01:01Z"`)), noPolicy),
		"advertised-since":   with(v("ok", "it was valid when it signed", "0.2.0", advertising(t, l, `"not_before":"2026-06-01T12:01:00Z"`)), noPolicy),
		"view-leaf-form":     v("STRUCTURE", "a node that is none", "0.2.0", leafNodeForgery(t, l, `{"files":{},"schema_version":"rebuild.view@1.0.0","x":1}`)),
		"view-leaf-digest":   v("STRUCTURE", "no digest", "0.2.0", leafNodeForgery(t, l, `{"files":{"x":"x"},"schema_version":"rebuild.view@1.0.0"}`)),
		"tool":               tool(with(v("ok", "an entry that was signed later, without a release", "", l.after), noPolicy)),
		"tool-by-policy":     tool(v("QUORUM_PENDING", "nobody voted for it", "", l.after)),
		"tool-key-ended":     limited(tool(v("KEY_EXPIRED", "judged when it was signed", "", l.after)), `not_after = "2026-06-01T11:59:59Z"`),
		"archive":            v("CKSUM_MISMATCH", "another archive", "0.2.0", changed(func(f map[string][]byte) { spoilArchive(t, f, "0.2.0") })),
		"archive-pinned":     with(v("CKSUM_MISMATCH", "another archive", "0.2.0", changed(func(f map[string][]byte) { spoilArchive(t, f, "0.2.0") })), noPolicy),
	}
	return joined(out, loggedChainVectors(l, memory, early), contentVectors(l, memory, early, unpoliced), againVectors(l, early), memoryVectors(l, memory, early, unpoliced))
}

// sizedForgery is a log that goes another way after the first state, of the
// size of the second and some.
func sizedForgery(t testing.TB, l *loggedIndex, more int) map[string][]byte {
	t.Helper()
	f := liartest.Forge(t, l.before)
	for n := len(liartest.Forge(t, l.after).Log.Leaves) + more; len(f.Log.Leaves) < n; {
		f.Append(attest.Event{Chain: "policy:demo", Type: attest.EventPolicy, Object: store.DigestOf([]byte{byte(len(f.Log.Leaves))})})
	}
	return f.Seal(attesttest.Now.Add(time.Minute))
}

// nodeForgery is an index whose log names a root of the view.
func nodeForgery(t testing.TB, l *loggedIndex, root string) map[string][]byte {
	t.Helper()
	f := liartest.Forge(t, l.after)
	f.Append(attest.Event{Chain: "policy:demo", Type: attest.EventPolicy, Object: store.DigestOf([]byte("p")), View: store.DigestOf([]byte(root))})
	f.Files["view/root"] = []byte(root)
	return f.Seal(attesttest.Now.Add(time.Minute))
}

// yankForgery is an index whose log has a further yank statement, which the
// lines do not know of.
func yankForgery(t testing.TB, l *loggedIndex, y attest.Yank) map[string][]byte {
	t.Helper()
	if y.Action == "" {
		y.Action = attest.ActionYank
	}
	y.Reason, y.At = "a lie", "2026-06-01T12:00:00Z"
	payload, err := attest.NewYank(y, cksumOf(t, l.after, "0.1.0"))
	must(t, err)
	signed, err := attest.Sign(payload, attesttest.Key("r1"), attesttest.Key("r2"))
	must(t, err)
	f := liartest.Forge(t, l.after)
	d := store.DigestOf(payload)
	f.Files["statements/"+d.Hex()+".dsse.json"] = signed
	f.Append(attest.Event{Chain: "pkg:hello", Type: attest.EventYank, Object: d})
	return f.Seal(attesttest.Now.Add(time.Minute))
}

// entryForgery is an index whose log has entered the archive of tool under
// another name and version.
func entryForgery(t testing.TB, l *loggedIndex, name, version string) map[string][]byte {
	t.Helper()
	f := liartest.Forge(t, l.after)
	of, err := index.ParseEntry("line", bytes.TrimSpace(f.Files["to/ol/tool"]))
	must(t, err)
	seq := int64(len(f.Log.Leaves))
	e := &index.Entry{SchemaVersion: of.SchemaVersion, Name: name, Version: version, Cksum: of.Cksum, Assurance: index.AssuranceNone, Seq: &seq}
	must(t, e.Sign(attesttest.Key("index")))
	line, err := e.Encode()
	must(t, err)
	path := liartest.LineFile(name)
	f.Files[path] = slices.Concat(f.Files[path], line, []byte("\n"))
	f.Append(attest.Event{Chain: "pkg:" + name, Type: attest.EventEntry, Object: store.DigestOf(line)})
	return f.Seal(attesttest.Now.Add(time.Minute))
}

// redated is the memory of a state whose checkpoint was cosigned late.
func redated(t testing.TB, files map[string][]byte) string {
	t.Helper()
	late := liartest.Forge(t, files).Log.Checkpoint(attesttest.Now.Add(4 * time.Minute))
	data, err := document.Encode(object{"schema_version": "rebuild.state@1.0.0", "heads": object{attesttest.Origin: string(late)}})
	must(t, err)
	return string(data)
}

// advertising is an index that says more of its key.
func advertising(t testing.TB, l *loggedIndex, more string) map[string][]byte {
	t.Helper()
	f := liartest.Forge(t, l.after)
	id := `"id":"` + string(attesttest.Key("index").Public().ID()) + `"`
	f.Files["config.json"] = bytes.Replace(f.Files["config.json"], []byte(id), []byte(id+","+more), 1)
	f.Append(liartest.ConfigEvent(f.Files["config.json"]))
	return f.Seal(attesttest.Now.Add(time.Minute))
}

// leafNodeForgery is an index whose log names a node of files.
func leafNodeForgery(t testing.TB, l *loggedIndex, node string) map[string][]byte {
	t.Helper()
	f := liartest.Forge(t, l.after)
	two, four := liartest.ViewPath(helloLines)
	f.Files["view/"+four] = []byte(node)
	for _, step := range []struct{ path, key, child string }{{"view/" + two, four, "view/" + four}, {"view/root", two, "view/" + two}} {
		f.Files[step.path] = edit(f.Files[step.path], func(o object) { sub(o, "nodes")[step.key] = string(store.DigestOf(f.Files[step.child])) })
	}
	f.Append(attest.Event{Chain: "policy:demo", Type: attest.EventPolicy, Object: store.DigestOf([]byte("p")), View: store.DigestOf(f.Files["view/root"])})
	return f.Seal(attesttest.Now.Add(time.Minute))
}

// forkedChain is an index whose log takes the yank back: the lines are as if
// there were none, and the chain is shown without it.
func forkedChain(t testing.TB, l *loggedIndex) map[string][]byte {
	t.Helper()
	f := liartest.Forge(t, l.after)
	lines := bytes.Replace(f.Files[helloLines], []byte(`"yanked":true`), []byte(`"yanked":false`), 1)
	f.Files[helloLines] = bytes.Replace(lines, []byte(`"advisories":["ADV-1"],`), nil, 1)
	f.Append(attest.Event{Chain: "policy:demo", Type: attest.EventPolicy, Object: store.DigestOf([]byte("p"))})
	files := f.Seal(attesttest.Now.Add(time.Minute))
	files[helloChain] = slices.Concat(bytes.SplitAfter(files[helloChain], []byte("\n"))[:2]...)
	return files
}

func withoutLate(files map[string][]byte, late []byte) map[string][]byte {
	maps.DeleteFunc(files, func(_ string, data []byte) bool { return bytes.Equal(data, late) })
	return files
}

func afterFirst(lines []byte) []byte { return bytes.Clone(lines[bytes.IndexByte(lines, '\n')+1:]) }

// resigned is an envelope with the signature of one key alone.
func resigned(t testing.TB, envelope []byte, by string) []byte {
	t.Helper()
	e, err := attest.ParseEnvelope("envelope", envelope)
	must(t, err)
	kept, err := e.Retain([]attest.PublicKey{attesttest.Key(by).Public()})
	must(t, err)
	return kept
}

func cksumOf(t testing.TB, files map[string][]byte, version string) string {
	t.Helper()
	for _, line := range bytes.Split(bytes.TrimSpace(files[helloLines]), []byte("\n")) {
		e, err := index.ParseEntry(helloLines, line)
		must(t, err)
		if e.Version == version {
			return e.Cksum
		}
	}
	t.Fatal("no version " + version)
	return ""
}

func spoilArchive(t testing.TB, files map[string][]byte, version string) {
	t.Helper()
	files["objects/sha256/"+cksumOf(t, files, version)] = []byte("x")
}

// headBy is the memory of a log of the same name with another key.
func headBy(t testing.TB, l *loggedIndex, key string) string {
	t.Helper()
	log := liartest.Forge(t, l.before).Log
	note := log.Sign(log.Text(), attesttest.NoteSigner{As: attesttest.Origin, Key: key})
	data, err := document.Encode(object{"schema_version": "rebuild.state@1.0.0", "heads": object{attesttest.Origin: string(note)}})
	must(t, err)
	return string(data)
}

func unsorted() []string {
	keys := []string{key64("r1"), key64("r2")}
	slices.Sort(keys)
	slices.Reverse(keys)
	return keys
}
