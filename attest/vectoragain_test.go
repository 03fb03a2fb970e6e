package attest_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/index"
	"rebuild/index/liartest"
	"rebuild/internal/document"
	"rebuild/store"
)

const (
	toolLines = "to/ol/tool"
)

// v is a vector about hello in some files of the index.
func (l *loggedIndex) v(expect, why, version string, files map[string][]byte) vector {
	return vector{Expect: expect, Why: why, Policy: l.policy, Name: "hello", Version: version, Files: vectorFiles(files), Now: "2026-06-01T12:05:00Z"}
}

func (l *loggedIndex) pinned(expect, why, version string, files map[string][]byte) vector {
	v := l.v(expect, why, version, files)
	v.Policy = ""
	return v
}

func (v vector) about(name string) vector { v.Name = name; return v }

func (v vector) knowing(state string) vector { v.State = state; return v }

func (v vector) forgetting() vector { v.Forget = true; return v }

// limited gives the policy's index key limits.
func (v vector) limited(limit string) vector {
	key := key64("index") + `"`
	return policyText(v, key, key+", "+limit)
}

// then has the files that are there when they are asked for again.
func (v vector) then(files map[string][]byte) vector {
	v.Again = map[string]vectorFile{}
	for path, f := range changed(vectorFiles(files), v.Files) {
		if f != (vectorFile{}) {
			v.Again[path] = f
		}
	}
	return v
}

// changed is the second state with some files changed, which no log has.
func (l *loggedIndex) changed(change func(map[string][]byte)) map[string][]byte {
	all := maps.Clone(l.after)
	change(all)
	return all
}

// sealed is the second state as the log's key signs it with changes.
func (l *loggedIndex) sealed(change func(*liartest.Forgery)) map[string][]byte {
	l.t.Helper()
	f := liartest.Forge(l.t, l.after)
	change(f)
	return f.Seal(attesttest.Now.Add(time.Minute))
}

// viewed is sealed with a further leaf for what has changed in the view.
func (l *loggedIndex) viewed(change func(*liartest.Forgery)) map[string][]byte {
	l.t.Helper()
	return l.sealed(func(f *liartest.Forgery) {
		change(f)
		f.Append(attest.Event{Chain: "policy:demo", Type: attest.EventPolicy, Object: store.DigestOf([]byte("p"))})
	})
}

// relogged is the second state with other leaves, at the places they say.
func (l *loggedIndex) relogged(change func(all []attest.Event)) map[string][]byte {
	l.t.Helper()
	return l.sealed(func(f *liartest.Forgery) {
		all := eventsOf(l.t, f)
		change(all)
		f.Relog(all)
	})
}

func eventsOf(t testing.TB, f *liartest.Forgery) (all []attest.Event) {
	t.Helper()
	for _, leaf := range f.Log.Leaves {
		e, err := attest.DecodeEvent("leaf", 1, leaf)
		must(t, err)
		all = append(all, e)
	}
	return all
}

// lineOf is the line of a version of hello.
func lineOf(t testing.TB, f *liartest.Forgery, version string) []byte {
	t.Helper()
	for line := range bytes.Lines(f.Files[helloLines]) {
		if e, err := index.ParseEntry("line", bytes.TrimSuffix(line, []byte("\n"))); err == nil && e.Version == version {
			return bytes.TrimSuffix(line, []byte("\n"))
		}
	}
	t.Fatal("no version " + version)
	return nil
}

// newcomer is a line that is added to a forgery.
type newcomer struct {
	name, version string
	first         bool // before the other lines
	unlogged      bool // without a leaf
	unsigned      bool
	backfilled    bool
	deps          []index.Dep
	archive       []byte // not that of the package
	release       store.Digest
}

// enter adds a line, and its leaf.
func enter(f *liartest.Forgery, n newcomer) {
	f.T.Helper()
	if n.archive == nil {
		n.archive = bareVersion(f.T, n.name, n.version).Archive()
	}
	cksum := store.DigestOf(n.archive).Hex()
	f.Files["objects/sha256/"+cksum] = n.archive
	e := &index.Entry{SchemaVersion: document.IndexEntry.ID(), Name: n.name, Version: n.version, Cksum: cksum, Release: n.release,
		Deps: n.deps, Assurance: index.AssuranceNone, Backfilled: n.backfilled}
	if seq := int64(len(f.Log.Leaves)); !n.unlogged {
		e.Seq = &seq
	}
	if !n.unsigned {
		must(f.T, e.Sign(attesttest.Key("index")))
	}
	line, err := e.Encode()
	must(f.T, err)
	path := liartest.LineFile(n.name)
	if n.first {
		f.Files[path] = slices.Concat(line, []byte("\n"), f.Files[path])
	} else {
		f.Files[path] = slices.Concat(f.Files[path], line, []byte("\n"))
	}
	switch {
	case n.unlogged:
	case n.release != "":
		f.Append(attest.Event{Chain: "pkg:" + n.name, Type: attest.EventRelease, Object: n.release})
	default:
		f.Append(attest.Event{Chain: "pkg:" + n.name, Type: attest.EventEntry, Object: store.DigestOf(line)})
	}
}

// entered is an index with one more line.
func (l *loggedIndex) entered(n newcomer) map[string][]byte {
	l.t.Helper()
	return l.viewed(func(f *liartest.Forgery) { enter(f, n) })
}

// loggedChainVectors are about lines, the chain that they come from, and when its
// leaves count.
func loggedChainVectors(l *loggedIndex, memory, early string) map[string]vector {
	t := l.t
	helloLeaves := bytes.Split(bytes.TrimSpace(l.after[helloChain]), []byte("\n"))
	last, err := attest.DecodeEvent("leaf", 1, helloLeaves[len(helloLeaves)-1])
	must(t, err)
	oldLine := func(why, expect string, n newcomer) vector {
		n.name, n.version, n.unlogged = "bare", "0.1.0", true
		return l.pinned(expect, why, "", l.entered(n)).about("bare")
	}
	chainText := func(expect, why, text string) vector {
		v := l.v(expect, why, "0.2.0", l.after)
		v.Files[helloChain] = vectorFile{Text: text}
		return v
	}
	linesText := func(expect, why, text string) vector {
		v := l.v(expect, why, "0.2.0", l.after)
		v.Files[helloLines] = vectorFile{Text: text}
		return v
	}
	return map[string]vector{
		"line-before-log":          oldLine("it is from before the index had a log", "ok", newcomer{}),
		"line-before-log-unsigned": oldLine("nobody has signed it", "ENTRY_UNSIGNED", newcomer{unsigned: true}),
		"line-before-log-later":    oldLine("no leaf says that it was signed later", "VIEW_MISMATCH", newcomer{backfilled: true}),
		"line-entered":             l.pinned("ok", "entered and signed at once", "", l.entered(newcomer{name: "bare", version: "0.1.0"})).about("bare"),
		"line-entered-unsigned":    l.pinned("ENTRY_UNSIGNED", "entered, and nobody has signed it", "", l.entered(newcomer{name: "bare", version: "0.1.0", unsigned: true})).about("bare"),
		"line-entered-later":       l.pinned("VIEW_MISMATCH", "no leaf says that it was signed later", "", l.entered(newcomer{name: "bare", version: "0.1.0", backfilled: true})).about("bare"),
		"lines-large":              linesText("PARSE", "work without end", times(4<<20+1, "x")),
		"chain-huge":               chainText("PARSE", "work without end", times(attest.MaxEventsBytes+1, "x")),
		"chain-many":               chainText("PARSE", "as many leaves as there may be, and they are none", times(attest.MaxEvents, "\n")),
		"chain-seq": l.v("EVIDENCE_MISMATCH", "no two leaves have one place", "0.2.0", l.relogged(func(all []attest.Event) {
			all[len(all)-2].Seq = all[len(all)-1].Seq
		})),
		"chain-junk": l.v("STRUCTURE", "the log's key has signed what is no leaf", "0.2.0", junkLeaf(l, 10)),
		"release-as-entry": l.v("VIEW_MISMATCH", "a release is entered as one", "0.2.0", l.relogged(func(all []attest.Event) {
			all[10].Type = attest.EventEntry
		})),
		"release-entered": l.v("VIEW_MISMATCH", "its line was entered in place of the release", "0.2.0", l.sealed(func(f *liartest.Forgery) {
			all := eventsOf(t, f)
			all[10].Type, all[10].Object = attest.EventEntry, store.DigestOf(lineOf(t, f, "0.2.0"))
			f.Relog(all)
		})),
		"entry-as-release": l.pinned("VIEW_MISMATCH", "a line is entered as one", "", l.relogged(func(all []attest.Event) { all[5].Type = attest.EventRelease })).about("tool"),
		"entry-of-another": l.pinned("VIEW_MISMATCH", "another line", "", l.relogged(func(all []attest.Event) { all[5].Object = store.Digest(otherDigest) })).about("tool"),
		"entry-dropped": l.v("VIEW_MISMATCH", "a line that was entered is left out", "0.2.0", l.sealed(func(f *liartest.Forgery) {
			f.Append(attest.Event{Chain: "pkg:hello", Type: attest.EventEntry, Object: store.Digest(otherDigest)})
		})),
		"backfill-of-logged": l.v("VIEW_MISMATCH", "a line that does not say so was signed later", "0.2.0", l.sealed(func(f *liartest.Forgery) {
			f.Append(attest.Event{Chain: "pkg:hello", Type: attest.EventBackfill, Object: store.DigestOf(lineOf(t, f, "0.2.0"))})
		})),
		"yank-unreleased":        l.v("QUORUM_PENDING", "who signs releases may yank what has no owner; nobody voted for it", "0.1.0", toolYanked(l)).about("tool"),
		"yank-unreleased-pinned": l.pinned("ok", "without a policy there is nobody to ask but the log", "0.1.0", toolYanked(l)).about("tool"),
		"yank-release-none": l.v("EVIDENCE_MISMATCH", "who owns the version can not be told", "0.2.0", l.changed(func(f map[string][]byte) {
			delete(f, "statements/"+l.release[0].Hex()+".dsse.json")
		})),
		"key-not-yet":     l.v("ok", "it was valid at the leaf, and not at the checkpoint before", "0.2.0", l.after).knowing(early).limited(`not_before = "2026-06-01T12:00:30Z"`),
		"leaf-at-size":    l.v("KEY_EXPIRED", "the log had reached the leaf before, and did not have it", "0.2.0", l.after).knowing(redatedAt(l, 10)).limited(`not_after = "2026-06-01T12:03:00Z"`),
		"leaf-below-size": l.v("ok", "the log had the leaf", "0.2.0", l.after).knowing(redatedAt(l, 11)).limited(`not_after = "2026-06-01T12:03:00Z"`),
		"seen-yank-other": l.v("UNYANKED", "another yank was seen in that place", "0.2.0", l.after).knowing(exchanged(memory, string(last.Object), otherDigest)),
		"seen-leaf-other": l.v("FORK", "another leaf was seen in that place", "0.2.0", l.after).
			knowing(exchanged(memory, string(store.DigestOf(helloLeaves[len(helloLeaves)-1])), otherDigest)),
	}
}

func exchanged(s, from, to string) string {
	if !strings.Contains(s, from) {
		panic(from)
	}
	return strings.Replace(s, from, to, 1)
}

// junkLeaf is an index whose log has something else in the place of a leaf of
// hello, to which the leaves behind it link.
func junkLeaf(l *loggedIndex, seq int) map[string][]byte {
	return l.sealed(func(f *liartest.Forgery) {
		all := eventsOf(l.t, f)
		f.Log = attesttest.NewLog(l.t, f.Log.Origin)
		for i, e := range all {
			if i == seq {
				f.Log.AppendLeaf(e.Chain, []byte("{}"))
				continue
			}
			if chain := f.Log.Chains[e.Chain]; len(chain) > 0 {
				e.Prev = store.DigestOf(chain[len(chain)-1])
			}
			leaf, err := e.Encode()
			must(l.t, err)
			f.Log.AppendLeaf(e.Chain, leaf)
		}
	})
}

// toolYanked is an index in which the signers of releases have yanked tool,
// which has none.
func toolYanked(l *loggedIndex) map[string][]byte {
	l.t.Helper()
	return l.sealed(func(f *liartest.Forgery) {
		of, err := index.ParseEntry("line", bytes.TrimSpace(f.Files[toolLines]))
		must(l.t, err)
		payload, err := attest.NewYank(attest.Yank{Name: "tool", Version: "0.1.0", Action: attest.ActionYank, Reason: "old", At: "2026-06-01T12:00:00Z"}, of.Cksum)
		must(l.t, err)
		signed, err := attest.Sign(payload, attesttest.Key("r1"), attesttest.Key("r2"))
		must(l.t, err)
		d := store.DigestOf(payload)
		f.Files["statements/"+d.Hex()+".dsse.json"] = signed
		f.Files[toolLines] = bytes.Replace(f.Files[toolLines], []byte(`"yanked":false`), []byte(`"yanked":true`), 1)
		f.Append(attest.Event{Chain: "pkg:tool", Type: attest.EventYank, Object: d})
	})
}

// redatedAt is the memory of a late checkpoint of the log's first leaves.
func redatedAt(l *loggedIndex, size int) string {
	l.t.Helper()
	f := liartest.Forge(l.t, l.after)
	all := eventsOf(l.t, f)
	f.Relog(all[:size])
	data, err := document.Encode(object{"schema_version": document.State.ID(),
		"heads": object{attesttest.Origin: string(f.Log.Checkpoint(attesttest.Now.Add(4 * time.Minute)))}})
	must(l.t, err)
	return string(data)
}

// contentVectors are about what a line leads to, and who owns it.
func contentVectors(l *loggedIndex, memory, early, unpoliced string) map[string]vector {
	t := l.t
	config := l.after["config.json"]
	noTiles := l.sealed(func(f *liartest.Forgery) { enter(f, newcomer{name: "bare", version: "0.1.0"}) })
	maps.DeleteFunc(noTiles, func(path string, _ []byte) bool { return strings.HasPrefix(path, "tile/") })
	document := documentOf(t, l.after, "0.2.0")
	noDocument := l.changed(func(f map[string][]byte) { delete(f, document) })
	otherDocument := l.changed(func(f map[string][]byte) { f[document] = []byte("x") })
	deps := l.viewed(func(f *liartest.Forgery) {
		line := lineOf(t, f, "0.2.0")
		f.Files[helloLines] = bytes.Replace(f.Files[helloLines], line, edit(line, func(o object) { o["deps"] = []any{object{"name": "zlib", "req": "*"}} }), 1)
	})
	otherArchive := l.viewed(func(f *liartest.Forgery) {
		line := lineOf(t, f, "0.2.0")
		e, err := index.ParseEntry("line", line)
		must(t, err)
		e.Cksum = cksumOf(t, f.Files, "0.1.0")
		must(t, e.Sign(attesttest.Key("index")))
		now, err := e.Encode()
		must(t, err)
		f.Files[helloLines] = bytes.Replace(f.Files[helloLines], line, now, 1)
	})
	unreleased := l.entered(newcomer{name: "hello", version: "0.0.1", first: true})
	strange := exchanged(memory, key64("r2"), key64("stranger"))
	toolOwned := string(edit([]byte(unpoliced), func(o object) { sub(o, "owners")["tool"] = []any{key64("r1")} }))
	unsigned := l.changed(func(f map[string][]byte) {
		file := "statements/" + l.release[1].Hex() + ".dsse.json"
		f[file] = resigned(t, f[file], "r2")
	})
	forgedOwner := l.changed(func(f map[string][]byte) {
		file := "statements/" + l.release[1].Hex() + ".dsse.json"
		f[file] = edit(f[file], func(o object) {
			all := o["signatures"].([]any)
			all[slices.IndexFunc(all, func(s any) bool { return s.(object)["keyid"] == string(attesttest.Key("r1").Public().ID()) })].(object)["sig"] = base64.StdEncoding.EncodeToString(make([]byte, 64))
		})
	})
	lastLeaf, err := attest.DecodeEvent("leaf", 1, bytes.TrimSpace(l.after[helloChain][bytes.LastIndexByte(bytes.TrimSpace(l.after[helloChain]), '\n')+1:]))
	must(t, err)
	yank := lastLeaf.Object
	logKey := func(key string) map[string][]byte {
		return l.changed(func(f map[string][]byte) {
			f["config.json"] = edit(config, func(o object) { sub(o, "log")["key"] = key })
		})
	}
	dissent := func(by string) map[string][]byte {
		return l.sealed(func(f *liartest.Forgery) {
			e, err := attest.ParseEnvelope("late", l.late)
			must(t, err)
			f.Files["statements/"+e.Digest().Hex()+".dsse.json"] = l.late
			f.Append(attest.Event{Chain: string(l.plan), Type: attest.EventStatement, Object: e.Digest(), By: attesttest.Key(by).Public().ID()})
		})
	}
	return map[string]vector{
		"forgetful":        l.v("ok", "nothing is remembered", "0.2.0", l.after).forgetting(),
		"forgetful-pinned": l.pinned("ok", "nothing is remembered, so nothing is pinned", "0.2.0", l.after).forgetting(),
		"forgetful-tool":   l.pinned("ok", "nothing is remembered of its owners", "", l.after).about("tool").forgetting(),
		"unlogged": l.pinned("ok", "a logged release in an index that has no log and had none", "0.2.0", l.changed(func(f map[string][]byte) {
			f["config.json"] = edit(config, func(o object) { delete(o, "log") })
		})),
		"unsigned-pinned": l.pinned("INDEX_UNSIGNED", "nobody says whose keys count", "0.2.0", l.changed(func(f map[string][]byte) {
			f["config.json"] = edit(config, func(o object) { delete(o, "log"); delete(o, "signing") })
		})),
		"keyless-pinned": l.pinned("INDEX_UNSIGNED", "an index that names no key names none to pin", "0.2.0", l.changed(func(f map[string][]byte) {
			f["config.json"] = edit(config, func(o object) { delete(o, "log"); sub(o, "signing")["public_keys"] = []any{} })
		})),
		"view-no-config": l.pinned("VIEW_MISMATCH", "the log answers for no key", "0.2.0", nodeForgery(t, l, `{"nodes":{},"schema_version":"rebuild.view@1.0.0"}`)),
		"pinned-more":    l.pinned("ok", "a key that came later is a notice", "0.2.0", moreKeys(l)).knowing(unpoliced),
		"pinned-both":    l.pinned("ok", "the limit of one key is none of another", "0.2.0", moreKeys(l)),
		"pinned-tiles":   l.pinned("ok", "the head's proof is that of the package's last leaf", "", noTiles).about("bare"),

		"voter-unknown":     policyText(l.v("EVIDENCE_MISMATCH", "a vote by a key that does not count", "0.2.0", l.after), key64("east"), key64("stranger")),
		"document-none":     l.v("FILE_MISSING", "who only lists needs the package document", "0.2.0", noDocument),
		"document-pinned":   l.pinned("FILE_MISSING", "who only lists needs the package document", "0.2.0", noDocument),
		"document-other":    l.v("CKSUM_MISMATCH", "another document", "0.2.0", otherDocument),
		"document-changed":  l.pinned("CKSUM_MISMATCH", "another document", "0.2.0", otherDocument),
		"deps":              l.v("EVIDENCE_MISMATCH", "the package does not need that", "0.2.0", deps),
		"deps-pinned":       l.pinned("EVIDENCE_MISMATCH", "the package does not need that", "0.2.0", deps),
		"deps-unreleased":   l.pinned("EVIDENCE_MISMATCH", "the package does not need that", "", l.entered(newcomer{name: "bare", version: "0.1.0", deps: []index.Dep{{Name: "zlib", Req: "*"}}})).about("bare"),
		"archive-tool":      l.pinned("CKSUM_MISMATCH", "another archive", "", l.changed(func(f map[string][]byte) { spoilTool(t, f) })).about("tool"),
		"archive-tool-junk": l.pinned("PARSE", "no package", "", l.entered(newcomer{name: "bare", version: "0.1.0", archive: []byte("junk")})).about("bare"),

		"cksum-pinned": l.pinned("CKSUM_MISMATCH", "an archive that the owners have not signed", "0.2.0", otherArchive),

		"owner-release-none":     l.v("EVIDENCE_MISMATCH", "whether the owners agreed can not be told", "0.2.0", l.entered(newcomer{name: "hello", version: "0.3.0", release: store.Digest(otherDigest)})).knowing(strange),
		"owner-unreleased":       l.v("ok", "a version from before the first release has no owner to ask", "0.2.0", unreleased).knowing(early),
		"owner-back":             l.pinned("OWNER_CHANGED", "the owner of then did not sign the change to the one known", "0.1.0", unsigned).knowing(unpoliced),
		"unreleased-before":      l.pinned("ok", "it was published before the first release", "0.0.1", unreleased),
		"unreleased-before-seen": l.pinned("ok", "its owners came later", "0.0.1", unreleased).knowing(unpoliced),
		"unreleased-seen":        l.pinned("OWNER_CHANGED", "it had owners, and all releases are gone", "", l.after).about("tool").knowing(toolOwned),

		"owner-forged":   l.pinned("OWNER_CHANGED", "the signature of the owner before is wrong", "0.2.0", forgedOwner).knowing(early),
		"release-form":   l.pinned("STRUCTURE", "a yank is no release", "0.3.0", l.entered(newcomer{name: "hello", version: "0.3.0", release: yank})),
		"log-key-kind":   l.pinned("STRUCTURE", "the key of a witness", "0.2.0", logKey(attesttest.VerifierKey(attesttest.Origin, "log", 4))),
		"log-key-name":   l.pinned("STRUCTURE", "the key of another log", "0.2.0", logKey(attesttest.VerifierKey("example.org/other", "log", 1))),
		"head-junk":      l.v("STRUCTURE", "the log's key has signed what is no leaf", "0.2.0", l.sealed(func(f *liartest.Forgery) { f.Log.AppendLeaf("index", []byte("{}")) })),
		"head-seq":       l.v("EVIDENCE_MISMATCH", "the leaf is not where it says", "0.2.0", l.relogged(func(all []attest.Event) { all[len(all)-1].Seq = 99 })),
		"signer-revoked": policyText(l.v("KEY_EXPIRED", "who signed the yank was revoked before it was logged", "0.2.0", l.after), key64("r1")+`"`, key64("r1")+`", revoked_from = 11`),
		"signer-kept":    policyText(l.v("ok", "revoked after all that it signed was logged", "0.2.0", l.after), key64("r1")+`"`, key64("r1")+`", revoked_from = 13`),

		"later-by-another": l.v("EVIDENCE_MISMATCH", "logged by one operator, signed by another", "0.2.0", dissent("west")),
		"release-unlogged": unloggedRelease(l),
		"plan-release-as-statement": l.v("ok", "a statement that is the release is not its leaf", "0.1.0", l.relogged(func(all []attest.Event) {
			all[6].Chain, all[6].Type, all[6].Object, all[6].By = string(l.plan), attest.EventStatement, l.release[0], attesttest.Key("r1").Public().ID()
		})),
		"plan-release-first": l.v("EVIDENCE_MISMATCH", "a chain begins with its plan", "0.2.0", l.relogged(func(all []attest.Event) {
			for i := range all {
				if all[i].Chain == string(l.plan) && i != 9 {
					all[i] = attest.Event{Chain: "policy:demo", Type: attest.EventPolicy, Object: store.DigestOf(fmt.Append(nil, i)), Seq: all[i].Seq, At: all[i].At, View: all[i].View}
				}
			}
		})),
	}
}

// documentOf is the file of the package document of a version.
func documentOf(t testing.TB, files map[string][]byte, version string) string {
	t.Helper()
	for path, data := range files {
		if strings.HasPrefix(path, "objects/") && bytes.Contains(data, []byte(`"`+document.Package.ID()+`"`)) && bytes.HasPrefix(data, []byte("{")) &&
			bytes.Contains(data, []byte(`"version":"`+version+`"`)) {
			return path
		}
	}
	t.Fatal("no package document of " + version)
	return ""
}

func spoilTool(t testing.TB, files map[string][]byte) {
	t.Helper()
	of, err := index.ParseEntry("line", bytes.TrimSpace(files[toolLines]))
	must(t, err)
	files["objects/sha256/"+of.Cksum] = []byte("x")
}

// moreKeys is an index that advertises a further key, which has ended.
func moreKeys(l *loggedIndex) map[string][]byte {
	l.t.Helper()
	return l.sealed(func(f *liartest.Forgery) {
		f.Files["config.json"] = edit(f.Files["config.json"], func(o object) {
			stranger := attesttest.Key("stranger").Public()
			s := sub(o, "signing")
			s["public_keys"] = append([]any{object{"id": string(stranger.ID()), "ed25519_pub": stranger.String(), "not_after": "2026-01-01T00:00:00Z"}}, s["public_keys"].([]any)...)
		})
		f.Append(liartest.ConfigEvent(f.Files["config.json"]))
	})
}

// unloggedRelease is about a release whose votes nobody logged, in a logged
// index whose readers do not ask for that.
func unloggedRelease(l *loggedIndex) vector {
	t := l.t
	t.Helper()
	w := attesttest.New(t)
	line, honest := indexOf(w)
	f := liartest.Forge(t, l.before)
	all := eventsOf(t, f)
	delete(f.Files, helloLines)
	for path, file := range honest {
		if strings.HasPrefix(path, "objects/") || strings.HasPrefix(path, "statements/") {
			f.Files[path] = file.data()
		}
	}
	f.Relog(all[:1])
	var release store.Digest
	f.Files[helloLines] = append(edit([]byte(line), func(o object) {
		o["seq"] = 1
		release = store.Digest(o["release"].(string))
	}), '\n')
	delete(f.Files, toolLines)
	f.Append(attest.Event{Chain: "pkg:hello", Type: attest.EventRelease, Object: release, At: "2026-06-01T12:00:00Z"})
	v := l.v("ok", "a policy that does not want votes to be logged takes it", "0.1.0", f.Seal(attesttest.Now))
	return policyText(v, "require = { logged = true }\n", "")
}

// againVectors are about files that are others when they are asked for again:
// of a publication under way, or of a cache.
func againVectors(l *loggedIndex, early string) map[string]vector {
	t := l.t
	spoiled := func(paths ...string) map[string][]byte {
		return l.changed(func(f map[string][]byte) {
			for _, p := range paths {
				f[p] = []byte("x\n")
			}
		})
	}
	tiles := l.changed(func(f map[string][]byte) {
		for path, data := range f {
			if strings.HasPrefix(path, "tile/0/") {
				f[path] = append([]byte{data[0] ^ 1}, data[1:]...)
			}
		}
	})
	document := documentOf(t, l.after, "0.2.0")
	two, four := liartest.ViewPath(helloLines)
	// during is the first state whose chain is already that of the second, so
	// that what was looked up is read again.
	during := func(then map[string][]byte) map[string][]byte {
		return l.changed(func(f map[string][]byte) {
			for _, p := range []string{helloLines, "head", "checkpoint", "view/root", "view/" + two, "view/" + four} {
				f[p] = l.before[p]
			}
			for path, data := range then {
				if strings.HasPrefix(path, "tile/") {
					f[path] = data
				}
			}
		})
	}
	reading := func(expect, why string, then map[string][]byte) vector {
		return l.v(expect, why, "0.1.0", during(then)).then(then)
	}
	dropped := l.viewed(func(f *liartest.Forgery) {
		f.Files[helloLines] = append(afterFirst(f.Files[helloLines]), `{"schema_version":"rebuild.index-entry@9.0.0"}`+"\n"...)
	})
	junk := l.viewed(func(f *liartest.Forgery) { f.Files[helloLines] = []byte("junk\n") })
	otherConfig := func(expect string, spoil func([]byte) []byte) vector {
		files := l.sealed(func(f *liartest.Forgery) {
			f.Files["config.json"] = spoil(f.Files["config.json"])
			f.Append(liartest.ConfigEvent(f.Files["config.json"]))
		})
		first := maps.Clone(files)
		first["config.json"] = l.after["config.json"]
		return l.pinned(expect, "the log's own config is not that of the log", "0.2.0", first).then(files)
	}
	fork := sizedForgery(t, l, 2)
	forked := l.changed(func(f map[string][]byte) {
		for path, data := range fork {
			if strings.HasPrefix(path, "tile/") {
				f[path] = data
			}
		}
		f[helloLines] = l.before[helloLines]
	})
	return map[string]vector{
		"again-head":       l.v("ok", "the head was of a cache", "0.2.0", spoiled("head")).then(l.after),
		"again-head-bad":   l.v("EVIDENCE_MISMATCH", "there is no head any more", "0.2.0", spoiled(helloLines)).then(spoiled("head")),
		"again-lines":      l.v("ok", "the lines were of a cache", "0.2.0", spoiled(helloLines)).then(l.after),
		"again-view":       l.v("ok", "a node was of a cache", "0.2.0", spoiled("view/root")).then(l.after),
		"again-chain":      l.v("ok", "a publication has ended", "0.2.0", l.changed(func(f map[string][]byte) { f[helloChain] = l.before[helloChain] })).then(l.after),
		"again-tiles":      l.v("ok", "tiles were of a cache", "0.2.0", tiles).knowing(early).then(l.after),
		"again-tiles-bad":  l.v("ok", "nobody needs to ask again", "0.2.0", l.after).knowing(early).then(tiles),
		"again-object":     l.v("ok", "an object was of a cache", "0.2.0", spoiled(document)).then(l.after),
		"again-object-bad": l.v("ok", "nobody needs to ask again", "0.2.0", l.after).then(spoiled(document)),
		"again-fork":       l.v("FORK", "the log went another way meanwhile", "0.2.0", forked).then(fork),
		"again-config": otherConfig("VIEW_MISMATCH", func(data []byte) []byte {
			return edit(data, func(o object) { sub(o, "log")["key"] = attesttest.VerifierKey(attesttest.Origin, "w1", 1) })
		}),
		"again-config-none":  otherConfig("VIEW_MISMATCH", func(data []byte) []byte { return edit(data, func(o object) { delete(o, "log") }) }),
		"again-config-junk":  otherConfig("PARSE", func([]byte) []byte { return []byte("junk") }),
		"again-yanked":       reading("VIEW_MISMATCH", "the line that was looked up has changed", l.after),
		"again-gone":         reading("VIEW_MISMATCH", "the line that was looked up is gone", dropped),
		"again-junk":         reading("PARSE", "no lines any more", junk),
		"again-lines-others": reading("VIEW_MISMATCH", "the lines do not fit any more", spoiled(helloLines)),
	}
}
