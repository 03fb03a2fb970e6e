package attest_test

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"time"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/index"
	"rebuild/index/liartest"
	"rebuild/internal/document"
	"rebuild/store"
)

// keptVectors are about what no reader asks for.
func keptVectors(l *loggedIndex, w *attesttest.World) map[string]vector {
	return joined(damageVectors(l), flatVectors(l), stagedVectors(l), oldLineVectors(l), unloggedVectors(w))
}

// kept is a vector about an index as a whole.
func (l *loggedIndex) kept(expect, why string, files map[string][]byte) vector {
	return vector{Expect: expect, Why: why, Policy: l.policy, Files: vectorFiles(files), Now: "2026-06-01T12:05:00Z"}
}

func (v vector) unjudged() vector { v.Policy = ""; return v }

func (v vector) adding(path string, f vectorFile) vector {
	v.Files = maps.Clone(v.Files)
	v.Files[path] = f
	return v
}

// damageVectors are about files that are others than the log says, or that
// belong to no index.
func damageVectors(l *loggedIndex) map[string]vector {
	t := l.t
	v, junk := l.kept, vectorFile{Text: "x"}
	file := func(path string, data []byte) map[string][]byte { return exchange(l.after, path, data) }
	honest := v("ok", "what the others start from", l.after)
	statement := "statements/" + l.release[0].Hex() + ".dsse.json"
	linked := func(change func(f *liartest.Forgery, all []attest.Event)) map[string][]byte {
		return l.sealed(func(f *liartest.Forgery) {
			all := eventsOf(t, f)
			last := len(all) - 1
			f.Relog(all[:last])
			change(f, all)
			leaf, err := all[last].Encode()
			must(t, err)
			f.Log.AppendLeaf(all[last].Chain, leaf)
		})
	}
	cksum := cksumOf(t, l.after, "0.1.0")
	var emptied vector
	{ // as a folder that is none
		emptied = v("INTERNAL", "a file in the place of a folder", l.after)
		maps.DeleteFunc(emptied.Files, func(path string, _ vectorFile) bool { return strings.HasPrefix(path, "chains/") })
	}
	twoBare := func(order ...string) map[string][]byte {
		return l.sealed(func(f *liartest.Forgery) {
			for _, version := range []string{"0.1.0", "0.2.0"} {
				enter(f, newcomer{name: "bare", version: version, unsigned: true})
			}
			for _, version := range order {
				backfill(f, "bare", version)
			}
		})
	}
	return map[string]vector{
		"honest":             honest,
		"pinned":             honest.unjudged(),
		"policy-unlogged":    policyText(v("ok", "a policy that names no log judges this one by its own key", l.after), attesttest.LogPolicy(0), "").saying(attesttest.Policy("")),
		"config-none":        v("INDEX_FETCH", "no index", file("config.json", nil)),
		"config-none-temp":   v("INDEX_FETCH", "no index, and something left", file("config.json", nil)).adding(".tmp-1", junk),
		"checkpoint-none":    v("FILE_MISSING", "withheld", file("checkpoint", nil)),
		"head-before":        v("VIEW_MISMATCH", "of another state", file("head", l.before["head"])),
		"head-fork":          v("FORK", "another tree of that size", file("head", sizedForgery(t, l, 0)["head"])),
		"head-junk-leaf":     v("EVENTS_MISMATCH", "there is no head to write", l.sealed(func(f *liartest.Forgery) { f.Log.AppendLeaf("index", []byte("{}")) })),
		"object-name":        honest.adding("objects/sha256/x", junk).expecting("STRUCTURE"),
		"object-none":        v("FILE_MISSING", "a line leads to it", file("objects/sha256/"+cksum, nil)),
		"object-temp":        honest.adding("objects/sha256/.tmp-1", junk),
		"orphan":             honest.adding("objects/sha256/"+store.DigestOf([]byte("x")).Hex(), junk),
		"statement-name":     honest.adding("statements/x", junk).expecting("STRUCTURE"),
		"statement-of-other": v("UNYANKED", "another statement under the name of a release, so nobody can be held to its yanks", file(statement, l.after[l.kindOf(attest.EventYank)])),
		"statements-none": func() vector {
			v := v("UNYANKED", "all are gone", l.after)
			maps.DeleteFunc(v.Files, func(path string, _ vectorFile) bool { return strings.HasPrefix(path, "statements/") })
			return v
		}(),
		"objects-file": func() vector {
			v := v("FILE_MISSING", "a file in the place of a folder", l.after)
			maps.DeleteFunc(v.Files, func(path string, _ vectorFile) bool { return strings.HasPrefix(path, "objects/") })
			return v.adding("objects", vectorFile{Type: "d"}).adding("objects/sha256", junk)
		}(),
		"chains-none":  emptied.expecting("FILE_MISSING"),
		"chains-file":  emptied.adding("chains", junk).expecting("EVENTS_MISMATCH"),
		"chain-extra":  honest.adding("chains/pkg/no/th/nothing.jsonl", junk).expecting("FILE_EXTRA"),
		"chain-temp":   honest.adding("chains/pkg/.tmp-1", junk),
		"view-extra":   honest.adding("view/zz", junk).expecting("FILE_EXTRA"),
		"view-cut":     v("VIEW_MISMATCH", "half a node", file("view/root", l.after["view/root"][:10])),
		"link":         honest.adding("extra", vectorFile{Type: "l", Link: "config.json"}).expecting("FILE_EXTRA"),
		"log-state":    honest.adding(".state/link", vectorFile{Type: "l", Link: "x"}),
		"temporary":    honest.adding(".tmp-1", junk).adding(".tmp-d/file", junk),
		"temp-link":    honest.adding(".tmp-2", vectorFile{Type: "l", Link: "config.json"}).expecting("FILE_EXTRA"),
		"config-again": v("ok", "what was the config before may be it again", l.sealed(func(f *liartest.Forgery) { f.Append(liartest.ConfigEvent(f.Files["config.json"])) })),
		"config-other": v("VIEW_MISMATCH", "the last one that was logged is another", l.sealed(func(f *liartest.Forgery) { f.Append(liartest.ConfigEvent([]byte("x"))) })),
		"two-successors": v("FORK", "one leaf has two", linked(func(f *liartest.Forgery, all []attest.Event) {
			last := &all[len(all)-1]
			last.Prev = store.DigestOf(f.Log.Chains[last.Chain][0])
		})),
		"no-predecessor": v("EVIDENCE_MISMATCH", "a leaf that follows nothing", linked(func(f *liartest.Forgery, all []attest.Event) {
			all[len(all)-1].Prev = store.Digest(otherDigest)
		})),
		"lines-order": v("VIEW_MISMATCH", "lines stand in the order of the log", l.viewed(func(f *liartest.Forgery) {
			all := bytes.SplitAfter(f.Files[helloLines], []byte("\n"))
			f.Files[helloLines] = slices.Concat(all[1], all[0])
		})),
		"scoped":      v("ok", "a package of somebody", l.sealed(func(f *liartest.Forgery) { enter(f, newcomer{name: "org/tool", version: "0.1.0"}) })),
		"scoped-none": v("VIEW_MISMATCH", "all lines of a package are gone", exchange(l.sealed(func(f *liartest.Forgery) { enter(f, newcomer{name: "org/tool", version: "0.1.0"}) }), "~org/to/ol/tool", nil)),
		"lines-newer": v("SCHEMA_UNSUPPORTED", "lines that this version can not read", l.sealed(func(f *liartest.Forgery) {
			f.Files["ne/we/newer"] = []byte(`{"schema_version":"rebuild.index-entry@9.0.0"}` + "\n")
			f.Append(liartest.ConfigEvent(f.Files["config.json"]))
		})).expecting("VIEW_MISMATCH"),
		"backfilled":      v("ok", "two lines that were signed later", twoBare("0.1.0", "0.2.0")),
		"backfilled-back": v("ok", "the later one first", twoBare("0.2.0", "0.1.0")),
		"backfilled-one":  v("ok", "one of two", twoBare("0.2.0")),
		"backfilled-twice": v("VIEW_MISMATCH", "a line is signed once", l.sealed(func(f *liartest.Forgery) {
			enter(f, newcomer{name: "bare", version: "0.1.0", unsigned: true})
			backfill(f, "bare", "0.1.0")
			f.Append(attest.Event{Chain: "pkg:bare", Type: attest.EventBackfill, Object: store.Digest(otherDigest)})
		})),
		"signature": v("SIGNATURE_INVALID", "the signature of a line is of another", l.viewed(func(f *liartest.Forgery) {
			line := lineOf(t, f, "0.2.0")
			f.Files[helloLines] = bytes.Replace(f.Files[helloLines], line, edit(line, func(o object) { sub(o, "signature")["ed25519_sig"] = strings.Repeat("A", 86) + "==" }), 1)
		})).expecting("VIEW_MISMATCH"),
	}
}

func (v vector) saying(policy string) vector { v.Policy = policy; return v }

// backfill signs a line that was entered without a signature.
func backfill(f *liartest.Forgery, name, version string) {
	f.T.Helper()
	path := liartest.LineFile(name)
	for line := range bytes.Lines(f.Files[path]) {
		e, err := index.ParseEntry("line", bytes.TrimSuffix(line, []byte("\n")))
		must(f.T, err)
		if e.Version != version {
			continue
		}
		e.Backfilled = true
		must(f.T, e.Sign(attesttest.Key("index")))
		now, err := e.Encode()
		must(f.T, err)
		f.Files[path] = bytes.Replace(f.Files[path], bytes.TrimSuffix(line, []byte("\n")), now, 1)
		f.Append(attest.Event{Chain: "pkg:" + name, Type: attest.EventBackfill, Object: store.DigestOf(now)})
	}
}

// flatVectors are about the lists that an index may export.
func flatVectors(l *loggedIndex) map[string]vector {
	whole := l.changed(func(f map[string][]byte) { maps.Copy(f, l.exported) })
	list := func(expect, why, file string, change func(object)) vector {
		return l.kept(expect, why, exchange(whole, file, edit(whole[file], change)))
	}
	entry := func(o object, i int) object { return sub(o, "entries", i) }
	entries := func(o object) []any { return o["entries"].([]any) }
	more := func(file, name string) vector { // a second page
		v := list("ok", "a list goes on", file, func(o object) { o["next"] = name })
		return v.adding(name, vectorFile{Text: string(edit(whole[file], func(o object) {
			if _, is := o["entries"]; is {
				o["entries"] = []any{}
			} else {
				o["owners"] = object{}
			}
		}))})
	}
	return map[string]vector{
		"flat":               l.kept("ok", "what the lines say", whole),
		"flat-fewer":         list("ok", "entries that came since are told", "entries.json", func(o object) { o["entries"] = entries(o)[:2] }),
		"flat-order":         list("EVIDENCE_MISMATCH", "entries stand in the order of the log", "entries.json", func(o object) { slices.Reverse(entries(o)) }),
		"flat-yank":          list("EVIDENCE_MISMATCH", "a yank is left out", "entries.json", func(o object) { entry(o, 1)["yanked"] = false }),
		"flat-none":          list("EVIDENCE_MISMATCH", "of a version that is not there", "entries.json", func(o object) { entry(o, 2)["version"] = "0.9.0" }),
		"flat-no-package":    list("EVIDENCE_MISMATCH", "of a package that is not there", "entries.json", func(o object) { entry(o, 0)["name"] = "nobody" }),
		"flat-version":       list("STRUCTURE", "no version", "entries.json", func(o object) { entry(o, 0)["version"] = "x" }),
		"flat-name":          list("STRUCTURE", "no name", "entries.json", func(o object) { entry(o, 0)["name"] = "X" }),
		"flat-form":          list("STRUCTURE", "no list", "entries.json", func(o object) { o["x"] = 1 }),
		"flat-next":          list("STRUCTURE", "no page of a list", "entries.json", func(o object) { o["next"] = "config.json" }),
		"flat-next-none":     list("FILE_MISSING", "a page is left out", "entries.json", func(o object) { o["next"] = "entries.1.json" }),
		"flat-entries-none":  l.kept("ok", "an export that was interrupted", exchange(whole, "entries.json", nil)),
		"flat-pubkeys-none":  l.kept("ok", "an export that was interrupted", exchange(whole, "pubkeys.json", nil)),
		"flat-more":          more("entries.json", "entries.1.json"),
		"flat-pubkeys-more":  more("pubkeys.json", "pubkeys.1.json"),
		"flat-owners":        list("EVIDENCE_MISMATCH", "another owner", "pubkeys.json", func(o object) { sub(o, "owners")["hello"] = []any{key64("stranger")} }),
		"flat-owners-none":   list("ok", "owners that came since", "pubkeys.json", func(o object) { o["owners"] = object{} }),
		"flat-owners-nobody": list("EVIDENCE_MISMATCH", "owners of nothing", "pubkeys.json", func(o object) { sub(o, "owners")["nobody"] = []any{key64("r1")} }),
		"flat-owners-name":   list("STRUCTURE", "no name", "pubkeys.json", func(o object) { sub(o, "owners")["X"] = []any{key64("r1")} }),
		"flat-owners-form":   list("STRUCTURE", "no list", "pubkeys.json", func(o object) { o["x"] = 1 }),
		"flat-lines-junk":    l.kept("PARSE", "the lines can not be read", exchange(whole, toolLines, []byte("junk\n"))).expecting("VIEW_MISMATCH"),
		"flat-release-none":  l.kept("FILE_MISSING", "who owns it can not be told", exchange(whole, "statements/"+l.release[1].Hex()+".dsse.json", nil)),
	}
}

// stagedVectors are about publications that were interrupted.
func stagedVectors(l *loggedIndex) map[string]vector {
	t := l.t
	start := len(l.leaves())
	publish := func(name, version string) (after map[string][]byte, leaves [][]byte) {
		f := liartest.Forge(t, l.after)
		enter(f, newcomer{name: name, version: version})
		return f.Seal(attesttest.Now.Add(time.Minute)), f.Log.Leaves
	}
	// at is the index with what is staged and some files that are written already.
	at := func(expect, why, name string, has func(path string) bool) vector {
		after, leaves := publish(name, "0.3.0")
		path := liartest.LineFile(name)
		two, four := liartest.ViewPath(path)
		files := l.changed(func(f map[string][]byte) {
			for path, data := range after {
				if strings.HasPrefix(path, "objects/") || has(path) {
					f[path] = data
				}
			}
		})
		files[".staged"] = stagedAs(after, leaves, start, path, "view/root", "view/"+two, "view/"+four)
		return l.kept(expect, why, files)
	}
	none := func(string) bool { return false }
	logged := func(path string) bool { return strings.HasPrefix(path, "tile/") || path == "checkpoint" }
	some := func(prefixes ...string) func(string) bool {
		return func(path string) bool {
			return logged(path) || slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(path, p) })
		}
	}
	all := func(string) bool { return true }
	staged := func(v vector, change func(object)) vector {
		return v.adding(".staged", vectorFile{Text: string(edit([]byte(v.Files[".staged"].Text), change))})
	}
	return map[string]vector{
		"staged":        at("ok", "the log does not have it yet", "tool", none),
		"staged-logged": at("ok", "the log has it, the files do not", "tool", logged),
		"staged-new":    at("ok", "the log has a package of which there is nothing yet", "bare", logged),
		"staged-scoped": at("ok", "the log has a package of which there is nothing yet", "org/tool", logged),
		"staged-chains": at("ok", "chains are written", "tool", some("chains/")),
		"staged-lines":  at("ok", "lines are written", "tool", some("chains/", "to/")),
		"staged-view":   at("ok", "all but the head is written", "tool", some("chains/", "to/", "view/")),
		"staged-done":   at("ok", "all is written", "tool", all),
		"staged-chain-none": func() vector {
			v := at("ok", "a chain that is lost since is in the log", "tool", logged)
			delete(v.Files, "chains/pkg/to/ol/tool.jsonl")
			return v
		}(),
		"staged-owned":       at("OWNER_CHANGED", "a package with owners", "hello", logged),
		"staged-elsewhere":   staged(at("FORK", "for another place in the log", "tool", none), func(o object) { o["files"], o["leaves"], o["size"] = []any{}, []any{}, 99 }),
		"staged-nothing":     staged(at("ok", "nothing", "tool", none), func(o object) { o["files"], o["leaves"] = []any{}, []any{} }),
		"staged-gap":         staged(at("STRUCTURE", "leaves of another place", "tool", none), func(o object) { o["size"] = 12 }),
		"staged-junk":        at("PARSE", "no journal", "tool", none).adding(".staged", vectorFile{Text: "x"}),
		"staged-path":        staged(at("STRUCTURE", "a file that no publication writes", "tool", logged), func(o object) { o["files"] = append(o["files"].([]any), object{"path": "objects/x", "data": ""}) }),
		"staged-other-lines": staged(at("VIEW_MISMATCH", "lines that the view does not have", "tool", logged), func(o object) { sub(o, "files", 0)["data"] = "" }),
		"staged-before-log": func() vector {
			v := l.kept("ok", "it is about to get a log", l.changed(unlog)).unjudged()
			return v.adding(".staged", at("", "", "tool", none).Files[".staged"])
		}(),
	}
}

// oldLineVectors are about lines from before the log, which its first leaf fixes.
func oldLineVectors(l *loggedIndex) map[string]vector {
	t := l.t
	// old has a log of one leaf, behind which change may add others.
	old := func(change, later func(f *liartest.Forgery)) map[string][]byte {
		f := liartest.Forge(t, l.after)
		f.Log = attesttest.NewLog(t, f.Log.Origin)
		for path := range f.Files {
			if strings.HasPrefix(path, "statements/") || strings.HasPrefix(path, "view/") || path == helloLines {
				delete(f.Files, path)
			}
		}
		unsigned := func(o object) { delete(o, "seq"); delete(o, "signature"); delete(o, "backfilled") }
		f.Files[toolLines] = append(edit(bytes.TrimSpace(f.Files[toolLines]), unsigned), '\n')
		if change != nil {
			change(f)
		}
		config := liartest.ConfigEvent(f.Files["config.json"])
		config.At = "2026-06-01T12:00:00Z"
		f.Append(config)
		if later != nil {
			later(f)
		}
		files := f.Seal(attesttest.Now)
		keep := "objects/sha256/" + toolCksum(l)
		maps.DeleteFunc(files, func(path string, _ []byte) bool { return strings.HasPrefix(path, "objects/") && path != keep })
		return files
	}
	yanked := func(f *liartest.Forgery) {
		f.Files[toolLines] = bytes.Replace(f.Files[toolLines], []byte(`"yanked":false`), []byte(`"yanked":true`), 1)
	}
	advised := func(f *liartest.Forgery) {
		f.Files[toolLines] = append(edit(bytes.TrimSpace(f.Files[toolLines]), func(o object) { o["advisories"] = []any{"A"} }), '\n')
	}
	view := func(f *liartest.Forgery) { // which leaf 0 has, is of other lines
		f.Append(attest.Event{Chain: "index", Type: attest.EventConfig, Object: store.DigestOf(f.Files["config.json"]), View: store.Digest(otherDigest)})
	}
	return map[string]vector{
		"old":            l.kept("ok", "the first leaf has them", old(nil, nil)),
		"old-backfilled": l.kept("ok", "one was signed later", old(nil, func(f *liartest.Forgery) { backfill(f, "tool", "0.1.0") })),
		"old-yanked":     l.kept("UNYANKED", "no leaf says so, and readers have nothing else", old(yanked, nil)),
		"old-advised":    l.kept("UNYANKED", "no leaf says so", old(advised, nil)),
		"old-view":       l.kept("VIEW_MISMATCH", "a view of other lines", old(nil, view)),
		"old-changed":    l.kept("VIEW_MISMATCH", "a view of other lines", exchange(old(nil, nil), toolLines, nil)),
		"old-later":      l.kept("ok", "and one that came with the log", old(nil, func(f *liartest.Forgery) { enter(f, newcomer{name: "tool", version: "0.2.0"}) })).archived(bareVersion(t, "tool", "0.2.0").Archive()),
		"old-again":      l.kept("ok", "the config once more", old(nil, func(f *liartest.Forgery) { f.Append(liartest.ConfigEvent(f.Files["config.json"])) })),
	}
}

func (v vector) archived(archive []byte) vector {
	return v.adding("objects/sha256/"+store.DigestOf(archive).Hex(), vectorFileOf(archive))
}

func toolCksum(l *loggedIndex) string {
	e, err := index.ParseEntry("line", bytes.TrimSpace(l.after[toolLines]))
	must(l.t, err)
	return e.Cksum
}

// unloggedVectors are about an index without a log.
func unloggedVectors(w *attesttest.World) map[string]vector {
	line, honest := indexOf(w)
	v := func(expect, why string, spoil func(object)) vector {
		out := vector{Expect: expect, Why: why, Policy: attesttest.Policy(""), Files: maps.Clone(honest)}
		return out.adding(helloLines, vectorFile{Text: string(edit([]byte(line), spoil)) + "\n"})
	}
	config := func(v vector, spoil func(object)) vector {
		return v.adding("config.json", vectorFile{Text: string(edit([]byte(honest["config.json"].Text), spoil))})
	}
	same := func(object) {}
	signed := func(sig string) func(object) {
		return func(o object) { sub(o, "signature")["ed25519_sig"] = sig }
	}
	yank := func(after store.Digest, version string) (store.Digest, vectorFile) {
		e, err := index.ParseEntry("line", []byte(line))
		must(w.T, err)
		payload, err := attest.NewYank(attest.Yank{Name: "hello", Version: version, Action: attest.ActionYank, Reason: "old", At: "2026-06-01T12:00:00Z", After: after}, e.Cksum)
		must(w.T, err)
		return store.DigestOf(payload), vectorFileOf(w.Sign(payload, "r1", "r2"))
	}
	yankedBy := func(v vector) vector {
		d, file := yank("", "0.1.0")
		return v.adding("statements/"+d.Hex()+".dsse.json", file)
	}
	yanked := func(o object) { o["yanked"] = true }
	unkeyed := func(o object) { delete(o, "signing") }
	stranger := func(o object) {
		sub(o, "signature")["key_id"] = string(attesttest.Key("stranger").Public().ID())
	}
	return map[string]vector{
		"unlogged":            v("ok", "an index without a log", same),
		"unlogged-pinned":     v("ok", "by its own keys", same).unjudged(),
		"unlogged-unsigned":   v("ok", "nobody has signed it, and readers show that", func(o object) { delete(o, "signature") }),
		"unlogged-log-policy": v("VIEW_MISMATCH", "the policy names a log", same).saying(attesttest.Policy(attesttest.LogPolicy(0))),
		"unlogged-head":       v("VIEW_MISMATCH", "it had a log", same).adding("head", vectorFile{Text: "x"}),
		"unlogged-signature":  v("SIGNATURE_INVALID", "another signature", signed(strings.Repeat("A", 86)+"==")),
		"unlogged-key":        v("KEY_UNKNOWN", "nobody knows the key", stranger),
		"unlogged-no-keys":    config(v("KEY_UNKNOWN", "nobody knows the key", same).unjudged(), unkeyed),
		"unlogged-policy-key": config(v("ok", "the policy knows the key", same), unkeyed),
		"unlogged-ended-key":  policyText(config(v("ok", "the key has ended since", same), unkeyed), key64("index")+`"`, key64("index")+`", not_after = "2026-01-01T00:00:00Z"`),
		"unlogged-yanked":     v("UNYANKED", "no statement says so", yanked),
		"unlogged-advised":    v("UNYANKED", "no statement says so", func(o object) { o["advisories"] = []any{"A"} }),
		"unlogged-yank":       yankedBy(v("ok", "a statement says so", yanked)),
		"unlogged-unyanked":   yankedBy(v("UNYANKED", "a statement says that it is", same)),
		"unlogged-deps":       v("EVIDENCE_MISMATCH", "the package does not need that", func(o object) { o["deps"] = []any{object{"name": "zlib", "req": "*"}} }),
		"unlogged-cksum":      v("SIGNATURE_INVALID", "the release says another, and the signature too", func(o object) { o["cksum"] = strings.TrimPrefix(otherDigest, "sha256:") }),
		"unlogged-assurance":  v("EVIDENCE_MISMATCH", "there was a quorum", func(o object) { o["assurance"] = "none" }),
		"unlogged-plan-none": func() vector {
			v := v("FILE_MISSING", "the release leads to it", same)
			v.Files = maps.Clone(v.Files)
			delete(v.Files, "objects/sha256/"+w.Plan.Digest().Hex())
			return v
		}(),
		"unlogged-schema": v("SCHEMA_UNSUPPORTED", "of a later version", func(o object) { o["schema_version"] = strings.Replace(document.IndexEntry.ID(), "@1", "@9", 1) }),
	}
}
