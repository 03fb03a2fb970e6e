package attest_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/index"
	"rebuild/index/liartest"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// runLog reads what an index has for all packages together, as who copies it
// does: first what belongs to every copy, then everything.
func (v *vector) runLog() judgement {
	ctx := context.Background()
	in := index.Reading{Now: v.now(), Pause: func(context.Context, time.Duration) bool { return true }}
	if v.Policy != "" {
		var err error
		if in.Policy, err = attest.LoadPolicy("policy.toml", []byte(v.Policy)); err != nil {
			return judged(err)
		}
	}
	var account []string
	in.Notice = func(s string) { account = append(account, s) }
	src := againSource{index.Dir(mapFS(v.Files), "INDEX"), index.Dir(mapFS(v.Again), "INDEX")}
	r, err := index.NewReader(ctx, src, in)
	if err != nil {
		return judged(err)
	}
	part := r.ReadLog(ctx, false)
	if part != nil {
		account = append(account, "what every copy has: "+part.Error())
	}
	all := r.ReadLog(ctx, true)
	if all == nil && part != nil {
		return judged(fmt.Errorf("everything verifies, and not a part of it: %w", part))
	}
	if all != nil {
		return judgement{outcome: string(fault.CodeOf(all)), text: all.Error(), account: account}
	}
	packages, err := r.Packages(ctx)
	if err != nil {
		return judged(err)
	}
	account = append(account, "packages "+strings.Join(packages, " "))
	if v.Chain != "" {
		hints, err := r.Hints(ctx, store.Digest(v.Chain))
		if err != nil {
			return judged(err)
		}
		for _, d := range slices.Sorted(maps.Keys(hints)) {
			account = append(account, string(d)+" at "+strings.Join(hints[d], " "))
		}
	}
	return judged(nil, account...)
}

// runFsck checks an index as who keeps it does, and lets it be put right.
func (v *vector) runFsck() judgement {
	ctx := context.Background()
	in := index.Writing{Now: v.now}
	if v.Policy != "" {
		var err error
		if in.Policy, err = attest.LoadPolicy("policy.toml", []byte(v.Policy)); err != nil {
			return judged(err)
		}
	}
	dir, err := os.MkdirTemp("", "fsck-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	writeFiles(dir, v.Files)
	found, err := index.Fsck(ctx, dir, in, index.FsckOptions{})
	if err != nil {
		return judged(err)
	}
	account := []string{fmt.Sprintf("%q: %d leaves, %d packages, %d versions, %d statements, %d objects",
		found.Origin, found.Leaves, found.Packages, found.Versions, found.Statements, found.Objects)}
	for _, f := range found.Findings {
		account = append(account, strings.ReplaceAll(f.String(), dir, "DIR"))
	}
	account = append(account, found.Notes...)
	out := judgement{outcome: "ok", account: account}
	if err := found.Err(); err != nil {
		out.outcome, out.text = string(fault.CodeOf(err)), strings.ReplaceAll(err.Error(), dir, "DIR")
	}
	if _, staged := v.Files[".staged"]; !staged { // to finish that takes the log's writer
		out.account = append(out.account, repairedOf(dir, in, v.Files)...)
	}
	return out
}

// repairedOf says what becomes of an index that is put right: the files that are
// others than before, and what is still wrong.
func repairedOf(dir string, in index.Writing, before map[string]vectorFile) []string {
	report, err := index.Fsck(context.Background(), dir, in, index.FsckOptions{Repair: true})
	if err != nil {
		return []string{"not put right: " + strings.ReplaceAll(err.Error(), dir, "DIR")}
	}
	var out []string
	for _, file := range report.Repaired {
		data, err := os.ReadFile(filepath.Join(dir, file))
		was, there := before[file]
		switch {
		case err != nil:
			out = append(out, "removed "+file)
		case there && bytes.Equal(was.data(), data):
			out = append(out, "written as it was: "+file)
		default:
			out = append(out, "put right: "+file+" "+string(store.DigestOf(data)))
		}
	}
	return append(out, fmt.Sprintf("then %d findings", len(report.Findings)))
}

// tilesOf are the files of the log's tree and leaves, in their last form.
func tilesOf(files map[string][]byte) (hashes, leaves string) {
	for path, data := range files {
		if strings.HasPrefix(path, "tile/0/") && len(data) > len(files[hashes]) {
			hashes = path
		}
		if strings.HasPrefix(path, "tile/entries/") && len(data) > len(files[leaves]) {
			leaves = path
		}
	}
	return hashes, leaves
}

// fullTiles has full tiles in the place of the partial ones, as a log has that
// has grown: they begin as these do.
func (l *loggedIndex) fullTiles(more []byte) map[string][]byte {
	l.t.Helper()
	return l.changed(func(f map[string][]byte) {
		hashes, leaves := tilesOf(f)
		n := len(f[hashes]) / 32
		f["tile/0/000"] = append(bytes.Clone(f[hashes]), make([]byte, (256-n)*32)...)
		f["tile/entries/000"] = append(bytes.Clone(f[leaves]), bytes.Repeat(more, 256-n)...)
		maps.DeleteFunc(f, func(path string, _ []byte) bool { return strings.Contains(path, "000.p/") })
	})
}

// logVectors are about what an index has for all packages together.
func logVectors(l *loggedIndex) map[string]vector {
	t := l.t
	v := func(expect, why string, files map[string][]byte) vector {
		return vector{Expect: expect, Why: why, Policy: l.policy, Files: vectorFiles(files), Now: "2026-06-01T12:05:00Z", Chain: string(l.plan)}
	}
	hints := "hints/" + l.plan.Hex() + ".json"
	hinted := func(text string) map[string][]byte {
		return l.changed(func(f map[string][]byte) { f[hints] = []byte(text) })
	}
	file := func(path string, data []byte) map[string][]byte { return exchange(l.after, path, data) }
	hashes, leaves := tilesOf(l.after)
	edited := func(path string, change func([]byte) []byte) map[string][]byte {
		return file(path, change(bytes.Clone(l.after[path])))
	}
	planChain := "chains/plan/" + l.plan.Hex() + ".jsonl"
	statement := "statements/" + l.release[0].Hex() + ".dsse.json"
	policed := l.sealed(func(f *liartest.Forgery) { // a step of the policy, with its statement
		f.Files["statements/"+store.DigestOf([]byte("p")).Hex()+".dsse.json"] = f.Files[statement]
		f.Append(attest.Event{Chain: "policy:demo", Type: attest.EventPolicy, Object: l.release[0]})
	})
	return map[string]vector{
		"honest":        v("ok", "what the others start from", l.after),
		"pinned":        with(v("ok", "the log answers for itself", l.after), func(v *vector) { v.Policy = "" }),
		"unlogged":      with(v("USAGE", "nobody says which packages there are; there is no log to read", l.changed(func(f map[string][]byte) { unlog(f) })), func(v *vector) { v.Policy = "" }),
		"hints":         v("ok", "they are believed in nothing", hinted(`{"schema_version":"rebuild.hints@1.0.0","sources":{"`+otherDigest+`":["https://example.org/x"]}}`)),
		"hints-form":    v("ok", "what can not be read says nothing", hinted(`{"schema_version":"rebuild.hints@1.0.0","x":1}`)),
		"hints-large":   with(v("PARSE", "work without end", l.after), func(v *vector) { v.Files[hints] = vectorFile{Text: times(int(document.Hints.MaxBytes)+1, "x")} }),
		"packages":      v("ok", "of all names that the log has", l.sealed(func(f *liartest.Forgery) { enter(f, newcomer{name: "bare", version: "0.1.0"}) })),
		"leaf-junk":     v("STRUCTURE", "the log's key has signed what is no leaf", junkLeaf(l, 10)),
		"leaves-none":   v("INDEX_FETCH", "withheld", file(leaves, nil)),
		"leaves-large":  with(v("PARSE", "work without end", l.after), func(v *vector) { v.Files[leaves] = vectorFile{Text: times(256*(2+8<<10)+1, "x")} }),
		"leaves-cut":    v("PARSE", "half a leaf", edited(leaves, func(b []byte) []byte { return b[:len(b)-1] })),
		"leaves-length": v("PARSE", "half of how long a leaf is", edited(leaves, func(b []byte) []byte { return append(b, 0) })),
		"leaves-fewer":  v("PARSE", "the last leaf is left out", edited(leaves, withoutLast)),
		"leaves-more":   v("PARSE", "neither so many leaves as the log has nor all that there is room for", edited(leaves, func(b []byte) []byte { return append(b, 0, 0) })),
		"leaves-257":    v("PARSE", "more leaves than there is room for", edited(leaves, func(b []byte) []byte { return append(b, make([]byte, 2*(257-len(l.leaves())))...) })),
		"leaves-8-kib": with(v("ok", "as long as a leaf may be, behind those of the log", l.fullTiles([]byte{0, 0})), func(v *vector) {
			v.Files["tile/entries/000"] = tail(l, 8<<10)
		}),
		"leaf-large": with(v("PARSE", "longer than a leaf may be", l.fullTiles([]byte{0, 0})), func(v *vector) {
			v.Files["tile/entries/000"] = tail(l, 8<<10+1)
		}),
		"leaves-other": v("EVIDENCE_MISMATCH", "another leaf than the tree has", edited(leaves, func(b []byte) []byte {
			return bytes.Replace(b, []byte(l.release[1]), []byte(otherDigest), 1)
		})),
		"leaves-last-other": v("EVIDENCE_MISMATCH", "another leaf than the tree has", edited(leaves, func(b []byte) []byte { b[len(b)-2] ^= 1; return b })),
		"hashes-none":       v("INDEX_FETCH", "withheld", file(hashes, nil)),
		"hashes-large":      v("PARSE", "work without end", file(hashes, make([]byte, 256*32+1))),
		"hashes-more":       v("EVIDENCE_MISMATCH", "neither so many hashes as the log has nor all that there is room for", edited(hashes, func(b []byte) []byte { return append(b, make([]byte, 32)...) })),
		"hashes-fewer":      v("EVIDENCE_MISMATCH", "the last hash is left out", edited(hashes, func(b []byte) []byte { return b[:len(b)-32] })),
		"hashes-other":      v("EVIDENCE_MISMATCH", "they do not lead to the root", edited(hashes, func(b []byte) []byte { b[0] ^= 1; return b })),
		"full":              v("ok", "a log may drop a partial tile once there is the full one", l.fullTiles([]byte{0, 0})),
		"full-other":        v("EVIDENCE_MISMATCH", "the full one does not begin with it", exchange(l.fullTiles([]byte{0, 0}), "tile/0/000", make([]byte, 256*32))),
		"plan-none":         v("FILE_MISSING", "the log has it", file("objects/sha256/"+l.plan.Hex(), nil)),
		"plan-other":        v("CKSUM_MISMATCH", "another plan", file("objects/sha256/"+l.plan.Hex(), []byte("x"))),
		"statement-none":    v("EVIDENCE_MISMATCH", "a release that the log has", file(statement, nil)),
		"vote-none":         v("EVIDENCE_MISMATCH", "a vote that the log has", file(l.kindOf(attest.EventStatement), nil)),
		"yank-none":         v("EVIDENCE_MISMATCH", "a yank that the log has", file(l.kindOf(attest.EventYank), nil)),
		"policy":            v("ok", "a step of the policy", policed),
		"policy-none": v("EVIDENCE_MISMATCH", "every copy has the steps of the policy", l.sealed(func(f *liartest.Forgery) {
			f.Append(attest.Event{Chain: "policy:demo", Type: attest.EventPolicy, Object: store.Digest(otherDigest)})
		})),
		"policy-chain-none": v("EVIDENCE_MISMATCH", "the chain of the policy is withheld", exchange(policed, "chains/policy/demo.jsonl", nil)),
		"config-chain":      v("EVIDENCE_MISMATCH", "the chain of the config is another", file("chains/index.jsonl", l.after[planChain])),
		"chain-none":        v("EVIDENCE_MISMATCH", "withheld", file(planChain, nil)),
		"chain-cut":         v("EVIDENCE_MISMATCH", "of another state", file(planChain, l.before[planChain])),
		"chain-large":       with(v("PARSE", "work without end", l.after), func(v *vector) { v.Files[planChain] = vectorFile{Text: times(2<<20, "x")} }),
		"chain-again-bad":   v("ok", "nobody needs to ask again", l.after).then(file(planChain, l.before[planChain])),
		"chain-again":       v("ok", "it was of a cache", file(planChain, l.before[planChain])).then(l.after),
		"config":            v("VIEW_MISMATCH", "the log has another", edited("config.json", func(b []byte) []byte { return bytes.Replace(b, []byte(`{"log"`), []byte(`{"dl":"x","log"`), 1) })),
		"checkpoint-none":   v("EVIDENCE_MISMATCH", "who watches the log has nothing to watch", file("checkpoint", nil)),
		"checkpoint-large":  with(v("PARSE", "work without end", l.after), func(v *vector) { v.Files["checkpoint"] = vectorFile{Text: times(attest.MaxProof+1, "x")} }),
		"checkpoint-before": v("VIEW_MISMATCH", "who watches the log is shown an older one", file("checkpoint", l.before["checkpoint"])),
		"checkpoint-root":   v("VIEW_MISMATCH", "who watches the log is shown another one of that size", file("checkpoint", sizedForgery(t, l, 0)["checkpoint"])),
		"checkpoint-key":    v("KEY_UNKNOWN", "by another key", file("checkpoint", bytes.ReplaceAll(l.after["checkpoint"], []byte("— example.org/log "), []byte("— example.org/lag ")))),
	}
}

func with(v vector, change func(*vector)) vector { change(&v); return v }

// exchange is an index with another file; nil takes it away.
func exchange(files map[string][]byte, path string, data []byte) map[string][]byte {
	out := maps.Clone(files)
	if out[path] = data; data == nil {
		delete(out, path)
	}
	return out
}

// unlog takes the log out of the config.
func unlog(f map[string][]byte) {
	f["config.json"] = edit(f["config.json"], func(o object) { delete(o, "log") })
}

func (l *loggedIndex) leaves() [][]byte { return liartest.Forge(l.t, l.after).Log.Leaves }

// kindOf is the file of the last statement that the log has of a type.
func (l *loggedIndex) kindOf(kind string) (file string) {
	for _, e := range eventsOf(l.t, liartest.Forge(l.t, l.after)) {
		if e.Type == kind {
			file = "statements/" + e.Object.Hex() + ".dsse.json"
		}
	}
	return file
}

// withoutLast is an entry bundle without its last leaf.
func withoutLast(b []byte) []byte {
	at := 0
	for next := 0; next < len(b); next += 2 + int(binary.BigEndian.Uint16(b[next:])) {
		at = next
	}
	return b[:at]
}

// tail is the full bundle of the log, whose last leaf has n bytes.
func tail(l *loggedIndex, n int) vectorFile {
	_, leaves := tilesOf(l.after)
	have := l.after[leaves]
	out := append(bytes.Clone(have), make([]byte, 2*(255-len(l.leaves())))...)
	out = binary.BigEndian.AppendUint16(out, uint16(n))
	return vectorFile{Base64: base64.StdEncoding.EncodeToString(append(out, make([]byte, n)...))}
}

// stagedAs is what a publication is about to write: the leaves of an index from
// one on, with the files that its last view fixes.
func stagedAs(files map[string][]byte, leaves [][]byte, from int, paths ...string) []byte {
	all := []any{}
	slices.Sort(paths)
	for _, p := range paths {
		all = append(all, object{"path": p, "data": string(files[p])})
	}
	texts := []any{}
	for _, leaf := range leaves[from:] {
		texts = append(texts, string(leaf))
	}
	data, err := document.Encode(object{"schema_version": document.Staged.ID(), "files": all, "leaves": texts, "size": from})
	if err != nil {
		panic(err)
	}
	return data
}

// signed are envelopes of what the forged logs name and nothing is.
func signed(files map[string]vectorFile) map[string]vectorFile {
	out := maps.Clone(files)
	for _, payload := range slices.Concat([]string{"p"}, strings.Split("\n \v \f \r \x0e \x0f \x10", " ")) {
		e, err := attest.Sign([]byte(payload), attesttest.Key("root"))
		if err != nil {
			panic(err)
		}
		out["statements/"+store.DigestOf([]byte(payload)).Hex()+".dsse.json"] = vectorFileOf(e)
	}
	return out
}

// kept are indexes of the vectors of readers, and what who keeps them has to
// find. Where that is "ok", what a reader refuses is not in the files: it is in
// what somebody has seen or asks for, in the policy, or in the votes.
var kept = map[string]string{
	"advertised-until":          "ok",
	"again-chain":               "EVENTS_MISMATCH",
	"again-config":              "VIEW_MISMATCH",
	"again-config-junk":         "VIEW_MISMATCH",
	"again-config-none":         "VIEW_MISMATCH",
	"again-fork":                "UNYANKED",
	"again-gone":                "EVENTS_MISMATCH",
	"again-head":                "EVIDENCE_MISMATCH",
	"again-head-bad":            "VIEW_MISMATCH",
	"again-junk":                "EVENTS_MISMATCH",
	"again-lines-others":        "EVENTS_MISMATCH",
	"again-object":              "CKSUM_MISMATCH",
	"again-tiles":               "EVIDENCE_MISMATCH",
	"again-view":                "VIEW_MISMATCH",
	"archive":                   "CKSUM_MISMATCH",
	"archive-pinned":            "CKSUM_MISMATCH",
	"archive-tool":              "CKSUM_MISMATCH",
	"archive-tool-junk":         "PARSE",
	"backfill-of-logged":        "VIEW_MISMATCH",
	"backfill-of-none":          "VIEW_MISMATCH",
	"chain-beginning":           "EVENTS_MISMATCH",
	"chain-changed":             "EVENTS_MISMATCH",
	"chain-dated-late":          "VIEW_MISMATCH",
	"chain-dates":               "EVIDENCE_MISMATCH",
	"chain-form":                "EVENTS_MISMATCH",
	"chain-gap":                 "EVENTS_MISMATCH",
	"chain-huge":                "EVENTS_MISMATCH",
	"chain-junk":                "VIEW_MISMATCH",
	"chain-large":               "EVENTS_MISMATCH",
	"chain-many":                "EVENTS_MISMATCH",
	"chain-none":                "FILE_MISSING",
	"chain-of-other":            "EVENTS_MISMATCH",
	"chain-open":                "EVENTS_MISMATCH",
	"chain-order":               "EVIDENCE_MISMATCH",
	"chain-seq":                 "EVIDENCE_MISMATCH",
	"chain-short":               "EVENTS_MISMATCH",
	"chain-twice":               "UNYANKED",
	"chain-unlogged":            "EVENTS_MISMATCH",
	"cksum-pinned":              "VIEW_MISMATCH",
	"deps":                      "VIEW_MISMATCH",
	"deps-pinned":               "VIEW_MISMATCH",
	"deps-unreleased":           "EVIDENCE_MISMATCH",
	"document-changed":          "CKSUM_MISMATCH",
	"document-none":             "FILE_MISSING",
	"document-other":            "CKSUM_MISMATCH",
	"document-pinned":           "FILE_MISSING",
	"entry-as-release":          "VIEW_MISMATCH",
	"entry-dropped":             "VIEW_MISMATCH",
	"entry-of-another":          "VIEW_MISMATCH",
	"flag-backfilled":           "VIEW_MISMATCH",
	"flag-unadvised":            "UNYANKED",
	"flag-unyanked":             "UNYANKED",
	"flag-yanked":               "UNYANKED",
	"fork":                      "FILE_MISSING",
	"fork-longer":               "FILE_MISSING",
	"head-by-stranger":          "KEY_UNKNOWN",
	"head-junk":                 "EVENTS_MISMATCH",
	"head-large":                "PARSE",
	"head-of-before":            "EVIDENCE_MISMATCH",
	"head-of-older-leaf":        "VIEW_MISMATCH",
	"head-seq":                  "EVIDENCE_MISMATCH",
	"index-key-ended":           "KEY_EXPIRED",
	"index-key-revoked":         "KEY_EXPIRED",
	"later-by-another":          "EVIDENCE_MISMATCH",
	"later-dissent":             "ok",
	"later-withheld":            "FILE_MISSING",
	"leaf-at-size":              "ok",
	"leaf-dated-close":          "ok",
	"leaf-dated-late":           "STALE",
	"line-before-log":           "VIEW_MISMATCH",
	"line-before-log-later":     "VIEW_MISMATCH",
	"line-before-log-unsigned":  "VIEW_MISMATCH",
	"line-entered":              "ok",
	"line-entered-later":        "VIEW_MISMATCH",
	"line-entered-unsigned":     "ok",
	"lines":                     "UNYANKED",
	"lines-dropped":             "UNYANKED",
	"lines-dropped-newer":       "VIEW_MISMATCH",
	"lines-large":               "VIEW_MISMATCH",
	"lines-none":                "UNYANKED",
	"log-key-bad":               "STRUCTURE",
	"log-key-kind":              "STRUCTURE",
	"log-key-name":              "STRUCTURE",
	"no-head":                   "FILE_MISSING",
	"no-log":                    "VIEW_MISMATCH",
	"no-log-pinned":             "VIEW_MISMATCH",
	"other-log":                 "EVIDENCE_MISMATCH",
	"owner-absent":              "SIGNATURE_INVALID",
	"owner-back":                "OWNER_CHANGED",
	"owner-forged":              "OWNER_CHANGED",
	"owner-release-none":        "FILE_MISSING",
	"owner-unreleased":          "VIEW_MISMATCH",
	"pinned-config":             "VIEW_MISMATCH",
	"pinned-tiles":              "INDEX_FETCH",
	"plan-chain":                "EVENTS_MISMATCH",
	"plan-none":                 "FILE_MISSING",
	"plan-release-as-statement": "VIEW_MISMATCH",
	"plan-release-first":        "EVIDENCE_MISMATCH",
	"release-as-entry":          "VIEW_MISMATCH",
	"release-entered":           "VIEW_MISMATCH",
	"release-form":              "STRUCTURE",
	"release-of-another":        "VIEW_MISMATCH",
	"release-unlogged":          "FILE_EXTRA",
	"rollback":                  "ok",
	"seen-leaf":                 "UNYANKED",
	"seq-left-out":              "VIEW_MISMATCH",
	"seq-of-another":            "VIEW_MISMATCH",
	"seq-of-none":               "VIEW_MISMATCH",
	"signer-kept":               "ok",
	"signer-revoked":            "UNYANKED",
	"tiles-none":                "INDEX_FETCH",
	"tool-key-ended":            "KEY_EXPIRED",
	"undated":                   "ok",
	"unreleased-before":         "VIEW_MISMATCH",
	"unreleased-name":           "EVIDENCE_MISMATCH",
	"unreleased-owned":          "OWNER_CHANGED",
	"unreleased-version":        "EVIDENCE_MISMATCH",
	"unwitnessed":               "ok",
	"view-digest":               "VIEW_MISMATCH",
	"view-empty":                "VIEW_MISMATCH",
	"view-form":                 "VIEW_MISMATCH",
	"view-large":                "VIEW_MISMATCH",
	"view-leaf":                 "VIEW_MISMATCH",
	"view-leaf-digest":          "VIEW_MISMATCH",
	"view-leaf-form":            "VIEW_MISMATCH",
	"view-middle":               "VIEW_MISMATCH",
	"view-newer":                "VIEW_MISMATCH",
	"view-no-config":            "VIEW_MISMATCH",
	"view-none":                 "VIEW_MISMATCH",
	"view-root":                 "VIEW_MISMATCH",
	"voter-unknown":             "ok",
	"witnessed":                 "ok",
	"yank-form":                 "UNYANKED",
	"yank-no-yank":              "STRUCTURE",
	"yank-none":                 "UNYANKED",
	"yank-not-by-owner":         "UNYANKED",
	"yank-of-none":              "UNYANKED",
	"yank-of-other":             "UNYANKED",
	"yank-other":                "UNYANKED",
	"yank-release-none":         "UNYANKED",
	"yank-replayed":             "UNYANKED",
	"yank-unreleased":           "ok",
	"yank-unreleased-pinned":    "ok",
	"yank-unsigned":             "UNYANKED",
}

// fsckVectors are about an index as a whole.
func fsckVectors(l *loggedIndex, w *attesttest.World, read map[string]vector) map[string]vector {
	out := keptVectors(l, w)
	for name, expect := range kept {
		v := read[name]
		out["read-"+name] = vector{Expect: expect, Why: v.Why, Policy: v.Policy, Files: signed(v.Files), Now: v.Now}
	}
	return out
}
