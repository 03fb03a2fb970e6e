package attest_test

import (
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strings"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/document"
	"rebuild/store"
)

// The vectors in this file are there for one check each, which make mutate
// has shown that no other vector needs.

func planChecks(w *attesttest.World) map[string]vector {
	edited := func(expect, why string, spoil func(object)) vector {
		return vector{Expect: expect, Why: why, Plan: string(edit(w.PlanJSON, spoil))}
	}
	text := func(expect, why, text string) vector { return vector{Expect: expect, Why: why, Plan: text} }
	stage := func(expect, why string, set func(object)) vector {
		return edited(expect, why, func(o object) { set(sub(o, "stages", 1)) })
	}
	source := func(expect, why string, set func(object)) vector {
		return edited(expect, why, func(o object) { set(sub(o, "sources", 0)) })
	}
	omit := func(paths ...string) func(object) {
		return func(s object) {
			var all []any
			for _, p := range paths {
				all = append(all, object{"path": p, "digest": otherDigest})
			}
			s["omit"] = all
		}
	}
	image := func(digest string) func(object) {
		return func(o object) {
			o["images"] = []any{object{"name": "tools", "digest": digest}}
			sub(o, "stages", 0)["inputs"] = []any{"image/tools", "seed/hex0"}
		}
	}
	second := func(o object) {
		o["sources"] = append(o["sources"].([]any), object{"name": "more", "digest": otherDigest, "size": 1, "unpack": "none"})
		sub(o, "stages", 1)["inputs"] = []any{"source/hello", "source/more", "stage/base"}
	}
	plan := string(w.PlanJSON)
	return map[string]vector{
		"name-64":            edited("ok", "as long as a name may be", func(o object) { o["pipeline"] = times(64, "a") }),
		"name-65":            edited("STRUCTURE", "longer", func(o object) { o["pipeline"] = times(65, "a") }),
		"name-device":        edited("STRUCTURE", "a file of that name opens a device", func(o object) { o["pipeline"] = "con" }),
		"name-empty":         edited("STRUCTURE", "no name", func(o object) { o["pipeline"] = "" }),
		"name-twins":         edited("SEMANTIC", "names that a person takes for one", func(o object) { twinSeeds(o, "a-b", "a_b") }),
		"name-twice":         edited("SEMANTIC", "which of them", func(o object) { twinSeeds(o, "a", "a") }),
		"epoch-last":         edited("ok", "a tar header can hold it", func(o object) { o["source_date_epoch"] = attest.MaxEpoch }),
		"no-stages":          edited("SEMANTIC", "nothing is built", func(o object) { o["stages"] = []any{} }),
		"image":              edited("ok", "an image by its digest", image(otherDigest)),
		"image-tag":          edited("STRUCTURE", "an image that may change", image("latest")),
		"seed-digest":        edited("STRUCTURE", "not a digest", func(o object) { sub(o, "seeds", 0)["digest"] = "x" }),
		"digest-bare":        edited("STRUCTURE", "hex of what", func(o object) { sub(o, "seeds", 0)["digest"] = otherDigest[7:] }),
		"digest-short":       edited("STRUCTURE", "63 digits", func(o object) { sub(o, "seeds", 0)["digest"] = otherDigest[:70] }),
		"digest-not-hex":     edited("STRUCTURE", "no digits", func(o object) { sub(o, "seeds", 0)["digest"] = otherDigest[:70] + "g" }),
		"seed-size-negative": edited("SEMANTIC", "less than nothing", func(o object) { sub(o, "seeds", 0)["size"] = -1 }),
		"seed-size-zero":     edited("ok", "an empty file", func(o object) { sub(o, "seeds", 0)["size"] = 0 }),
		"source-digest":      source("STRUCTURE", "not a digest", func(s object) { s["digest"] = "x" }),
		"unpack-none":        source("ok", "as it is", func(s object) { s["unpack"] = "none" }),
		"unpack-none-omit":   source("SEMANTIC", "nothing to leave out of it", func(s object) { s["unpack"] = "none"; omit("a")(s) }),
		"omit":               source("ok", "sorted", omit("a", "b/c")),
		"omit-twice":         source("SEMANTIC", "one plan would have two digests", omit("a", "a")),
		"omit-absolute":      source("STRUCTURE", "a path that leaves", omit("/a")),
		"omit-parent":        source("STRUCTURE", "a path that leaves", omit("a/../../b")),
		"omit-empty":         source("STRUCTURE", "no path", omit("")),
		"omit-dot":           source("STRUCTURE", "all of it", omit(".")),
		"omit-4096":          source("ok", "as long as a path may be", omit(times(4096, "a"))),
		"omit-4097":          source("STRUCTURE", "longer", omit(times(4097, "a"))),
		"omit-nul":           source("STRUCTURE", "it ends elsewhere for the kernel", omit("a\x00b")),
		"omit-digest":        source("STRUCTURE", "not a digest", func(s object) { s["omit"] = []any{object{"path": "a", "digest": "x"}} }),
		"context":            stage("ok", "the stage has files of its own", func(s object) { s["context"] = otherDigest }),
		"context-digest":     stage("STRUCTURE", "not a digest", func(s object) { s["context"] = "x" }),
		"export-relative":    stage("STRUCTURE", "below what", func(s object) { s["export"] = "xout" }),
		"export-empty":       stage("STRUCTURE", "nothing", func(s object) { s["export"] = "" }),
		"exec-buildkit":      stage("ok", "the other profile", func(s object) { s["exec"] = attest.ExecBuildkit }),
		"inputs-twice":       stage("SEMANTIC", "one plan would have two digests", func(s object) { s["inputs"] = []any{"source/hello", "stage/base", "stage/base"} }),
		"alias-good":         stage("ok", "a name in its Containerfile", func(s object) { s["alias"] = object{"debian": "stage/base"} }),
		"alias-empty":        stage("SEMANTIC", "a name that is none", func(s object) { s["alias"] = object{"": "stage/base"} }),
		"args-good":          stage("ok", "a variable", func(s object) { s["args"] = object{"A": "x"} }),
		"into-good":          stage("ok", "a place in the context", func(s object) { s["into"] = object{"hello": "src"} }),
		"into-unknown":       stage("SEMANTIC", "a source that is not there", func(s object) { s["into"] = object{"zzz": "src"} }),
		"into-twice": edited("SEMANTIC", "one of them is lost", func(o object) {
			second(o)
			sub(o, "stages", 1)["into"] = object{"hello": "src", "more": "src"}
		}),
		"into-alone": edited("ok", "a source that is placed is needed", func(o object) {
			second(o)
			sub(o, "stages", 1)["inputs"] = []any{"stage/base"}
			sub(o, "stages", 1)["into"] = object{"hello": "src", "more": "src2"}
		}),
		"diamond": edited("ok", "a stage stands after all of its inputs", func(o object) {
			base, hello := sub(o, "stages", 0), sub(o, "stages", 1)
			first, other := maps.Clone(hello), maps.Clone(hello)
			first["name"], first["inputs"] = "a", []any{"stage/base"}
			other["name"], other["inputs"] = "c", []any{"stage/a", "stage/base"}
			hello["inputs"] = []any{"source/hello", "stage/a", "stage/base", "stage/c"}
			o["stages"] = []any{first, base, other, hello}
		}),
		"target-empty":      edited("SEMANTIC", "no name", func(o object) { o["targets"] = []any{""} }),
		"targets-unsorted":  edited("SEMANTIC", "one set of targets has one plan", func(o object) { o["targets"] = []any{"hello", "base"} }),
		"two-targets":       edited("ok", "both are released", func(o object) { o["targets"] = []any{"base", "hello"} }),
		"too-large":         text("PARSE", "work without end", plan+times(4<<20, " ")),
		"empty":             text("PARSE", "no bytes", ""),
		"array":             text("PARSE", "no object", "[]"),
		"key-cut":           text("PARSE", "half a key", `{"schema_ver`),
		"value-cut":         text("PARSE", "half a value", `{"a":[`),
		"version-cut":       text("PARSE", "half a version", `{"schema_version":`),
		"version-number":    text("PARSE", "no text", `{"schema_version":1}`),
		"version-missing":   edited("STRUCTURE", "which version", func(o object) { delete(o, "schema_version") }),
		"version-not-given": edited("STRUCTURE", "which version", func(o object) { o["schema_version"] = "rebuild.plan" }),
		"version-foreign":   edited("STRUCTURE", "another document", func(o object) { o["schema_version"] = "rebuild.lock@1.0.0" }),
		"newer-and-strange": text("SCHEMA_UNSUPPORTED", "a later version is named before its form is judged", `{"null":null,"schema_version":"rebuild.plan@1.1.0", "x":1.5}`),
		"not-utf-8":         text("PARSE", "no text", strings.Replace(plan, "demo", "de⟨0xff⟩mo", 1)),
		"trailing":          text("PARSE", "one plan would have two digests", plan+"\n"),
		"case-folded":       text("STRUCTURE", "another key", strings.Replace(plan, `{"pipeline"`, `{"Pipeline":"demo","pipeline"`, 1)),
		"wrong-type":        edited("STRUCTURE", "another type", func(o object) { o["targets"] = "hello" }),
		"version-within":    stage("STRUCTURE", "the version is that of the whole", func(s object) { s["schema_version"] = "rebuild.plan@2.0.0" }),
	}
}

func twinSeeds(o object, a, b string) {
	seed := sub(o, "seeds", 0)
	first, other := maps.Clone(seed), maps.Clone(seed)
	first["name"], other["name"] = a, b
	o["seeds"] = []any{first, other}
	inputs := []any{"seed/" + a, "seed/" + b}
	if a == b {
		inputs = inputs[:1]
	}
	sub(o, "stages", 0)["inputs"] = inputs
}

// maxValues is how many more keys and values fit into the small world's policy.
const maxValues = 20_000 - 73

func policyChecks() map[string]vector {
	const main = `groups.main = { need = 2, of = ["east", "north", "west"] }`
	key := func(name string) string { return `keys = [{ key = "` + key64(name) + `" }]` }
	v := func(expect, why string, fromTo ...string) vector {
		text := attesttest.Policy("")
		for i := 0; i < len(fromTo); i += 2 {
			if !strings.Contains(text, fromTo[i]) {
				panic(fromTo[i])
			}
			text = strings.Replace(text, fromTo[i], fromTo[i+1], 1)
		}
		return vector{Expect: expect, Why: why, Policy: text}
	}
	root, signers := `root = { need = 1, keys = ["`+key64("root")+`"] }`, `signers = { need = 2`
	return map[string]vector{
		"name":               v("POLICY_INVALID", "a name that is a path", `name = "demo"`, `name = "../demo"`),
		"no-index":           v("ok", "nobody signs an index", `index = { keys = [{ key = "`+key64("index")+`" }] }`+"\n", ""),
		"no-expiry":          v("ok", "valid for ever", `expires = "2027-06-30T00:00:00Z"`+"\n", ""),
		"signer-name":        v("POLICY_INVALID", "a name that is a path", `name = "r1"`, `name = "../r1"`),
		"signer-twins":       v("POLICY_INVALID", "names that a person takes for one", `name = "r1"`, `name = "r-1"`, `name = "r2"`, `name = "r_1"`),
		"operator-name":      v("POLICY_INVALID", "a name that is a path", "operators.east", `operators."../east"`, `"east"`, `"../east"`),
		"operator-name-key":  v("POLICY_INVALID", "a name where none is shown", `key = "`+key64("east"), `name = "x", key = "`+key64("east")),
		"group-name":         v("POLICY_INVALID", "a name that is a path", "groups.main", `groups."../main"`, `"main"`, `"../main"`),
		"independence":       v("POLICY_INVALID", "a misspelt choice is no default", main, "independence = \"commits\"\n"+main),
		"independence-none":  v("ok", "said, and the default", main, "independence = \"none\"\n"+main),
		"build-failed":       v("POLICY_INVALID", "a misspelt choice is no default", main, "dissent = { build_failed = \"blocks\" }\n"+main),
		"choices":            v("ok", "all that there are", main, "dissent = { on = \"report\", build_failed = \"report\", waiver_need = 2 }\n"+main),
		"seeds-negative":     v("POLICY_INVALID", "less than nothing", main, "require = { max_seed_bytes = -1 }\n"+main),
		"seeds-zero":         v("ok", "no seed at all", main, "require = { max_seed_bytes = 0 }\n"+main),
		"revoked-negative":   v("POLICY_INVALID", "a place that is none", key64("west")+`"`, key64("west")+`", revoked_from = -1`),
		"revoked-at-start":   v("ok", "from the first leaf on", key64("west")+`"`, key64("west")+`", revoked_from = 0`),
		"not-before":         v("POLICY_INVALID", "not a time", key64("west")+`"`, key64("west")+`", not_before = "x"`),
		"not-after":          v("POLICY_INVALID", "not a time", key64("west")+`"`, key64("west")+`", not_after = "x"`),
		"no-operators":       v("POLICY_INVALID", "nobody's result counts", "[operators.east]\n"+key("east")+"\n", "", "[operators.north]\n"+key("north")+"\n", "", "[operators.west]\n"+key("west")+"\n", ""),
		"unknown-and-attr":   v("POLICY_INVALID", "all errors are told", `"west"] }`, `"wset"] }`, main[:20], "diversity = { kernel = 9 }\n"+main[:20]),
		"diamond":            v("POLICY_INVALID", "one group would count twice", main, "groups.one = { need = 1, of = [\"east\"] }\ngroups.two = { need = 1, of = [\"north\", \"one\"] }\ngroups.main = { need = 1, of = [\"one\", \"two\"] }"),
		"unused-group":       v("ok", "a group that the quorum does not reach", main, main+"\ngroups.spare = { need = 1, of = [\"east\"] }"),
		"one-of-one":         v("ok", "the least", main, `groups.main = { need = 1, of = ["east"] }`),
		"all-of-three":       v("ok", "the most", "need = 2, of", "need = 3, of"),
		"diversity-all":      v("ok", "as many values as operators", main, "diversity = { kernel = 3 }\n"+main),
		"key-of-nothing":     v("POLICY_INVALID", "no key", `key = "`+key64("east"), `key = "`),
		"root-key":           v("POLICY_INVALID", "no key", root, `root = { need = 1, keys = ["k"] }`),
		"index-key":          v("POLICY_INVALID", "no key", `index = { keys = [{ key = "`+key64("index"), `index = { keys = [{ key = "k`),
		"signers-one":        v("ok", "one of two", signers, `signers = { need = 1`),
		"float":              v("PARSE", "a threshold that rounds", "need = 2, of", "need = 2.0, of"),
		"max-age-overflow":   vector{Expect: "POLICY_INVALID", Why: "more hours than there are", Policy: attesttest.Policy(strings.Replace(attesttest.LogPolicy(0), "[witnesses]", "max_age = \"9999999h\"\n[witnesses]", 1))},
		"witness-name":       vector{Expect: "POLICY_INVALID", Why: "a name with two looks", Policy: attesttest.Policy(strings.Replace(attesttest.LogPolicy(1, "w1"), attesttest.VerifierKey("w1.example", "w1", 4), attesttest.VerifierKey("w1 example", "w1", 4), 1))},
		"witnesses-need":     v("POLICY_INVALID", "witnesses of no log", main, "witnesses = { need = 1, keys = [] }\n"+main),
		"depth-32":           v("STRUCTURE", "as deep as it may be, and unknown", main, main+"\nx"+times(31, ".x")+" = 1"),
		"depth-33":           v("PARSE", "deeper", main, main+"\nx"+times(32, ".x")+" = 1"),
		"depth-33-table":     v("PARSE", "deeper", "[operators.east]", "[x"+times(32, ".x")+"]\n[operators.east]"),
		"depth-33-array":     v("PARSE", "deeper", main, main+"\nx = "+times(32, "[")+"1"+times(32, "]")),
		"values-20000":       v("STRUCTURE", "as many as there may be, and unknown", main, main+"\nx = ["+times(maxValues, "1,")+"]"),
		"values-20001":       v("PARSE", "work without end", main, main+"\nx = ["+times(maxValues+1, "1,")+"]"),
		"float-in-array":     v("PARSE", "a threshold that rounds", main, `x = [1, [2.5]]`),
		"float-in-table":     v("PARSE", "a threshold that rounds", main, `x = { y = { z = 2.5 } }`),
		"float-in-section":   v("PARSE", "a threshold that rounds", "[operators.east]\n", "[operators.east]\nx = 2.5\n"),
		"date":               v("PARSE", "a time of another form", `expires = "2027-06-30T00:00:00Z"`, `expires = 2027-06-30T00:00:00Z`),
		"date-local":         v("PARSE", "a time of another form", `expires = "2027-06-30T00:00:00Z"`, `expires = 2027-06-30`),
		"duplicate":          v("PARSE", "which of them", "version = 1", "version = 1\nversion = 2"),
		"large-number":       v("PARSE", "not exact in a double", "version = 1", "version = 9007199254740992"),
		"not-utf-8":          v("PARSE", "no text", "demo", "de⟨0xff⟩mo"),
		"too-large":          v("PARSE", "work without end", "version = 1", "version = 1 #"+times(256<<10, "x")),
		"no-version":         v("STRUCTURE", "which version", `schema_version = "rebuild.policy@1.0.0"`+"\n", ""),
		"version-type":       v("STRUCTURE", "which version", `schema_version = "rebuild.policy@1.0.0"`, "schema_version = 1"),
		"wrong-type":         v("STRUCTURE", "another type", "version = 1", `version = "1"`),
		"unknown-in-section": v("STRUCTURE", "never ignored", "[operators.east]\n", "[operators.east]\nneed = 1\n"),
		"wrong-in-section":   v("STRUCTURE", "another type, at its line", "[operators.north]\n"+key("north"), "[operators.north]\nkeys = [{ key = 1 }]"),
		"array-tables": v("POLICY_INVALID", "two windows of one key, at their lines", "[operators.west]\n"+key("west"),
			"[[operators.west.keys]]\nkey = \""+key64("west")+"\"\n[[operators.west.keys]]\n# again\nkey = \""+key64("west")+"\""),
		"array-table-bad": v("POLICY_INVALID", "no key, at its line", "[operators.west]\n"+key("west"),
			"[[operators.west.keys]]\nkey = \""+key64("west")+"\"\n[[operators.west.keys]]\nkey = \"k\"\nnot_after = \"x\""),
		"comments": v("POLICY_INVALID", "no members, at their lines", main,
			"groups.main = { need = 2, of = [\n# first\n\"east\", # second\n\"wset\",\n\"north\",\n\"nroth\" ] }"),
		"lines": v("POLICY_INVALID", "every error at its line", "version = 1", "version = 0", `quorum = "main"`, `quorum = "mane"`, "need = 2, of", "need = 9, of", "[operators.east]", "[operators.east]\nlabels = { kernel = \"7\" }"),
	}
}

func resultChecks(w *attesttest.World) map[string]vector {
	north := attesttest.Key("north")
	honest := mustPayload(w, "north")
	signed := func(expect, why string, payload []byte) vector {
		return vector{Expect: expect, Why: why, Operator: "north", Keys: []string{north.Public().String()}, Plan: string(w.PlanJSON),
			Envelope: string(w.Sign(payload, "north"))}
	}
	predicate := func(expect, why string, spoil func(p object)) vector {
		return signed(expect, why, edit(honest, func(o object) { spoil(sub(o, "predicate")) }))
	}
	count := func(name string, n int) func(object) { return func(p object) { sub(p, "lineage")[name] = n } }
	digest := func(of, name string) func(object) { return func(p object) { sub(p, of)[name] = "x" } }
	sized := func(expect, why string, bytes int) vector {
		failed := edit(honest, func(o object) {
			p := sub(o, "predicate")
			p["outcome"], p["failure"] = "build-failed", object{"log": ""}
			delete(p, "outputs")
			o["subject"] = o["subject"].([]any)[:1]
		})
		log := bytes - len(failed)
		v := signed(expect, why, edit(failed, func(o object) {
			sub(o, "predicate", "failure")["log"] = strings.Repeat("xxx", log/3) + strings.Repeat("y", log%3)
		}))
		v.Envelope = shortened(v.Envelope)
		return v
	}
	wordless := signed("STRUCTURE", "failed without a word", edit(honest, func(o object) {
		p := sub(o, "predicate")
		p["outcome"], p["failure"] = "build-failed", object{}
		delete(p, "outputs")
		o["subject"] = o["subject"].([]any)[:1]
	}))
	stranger := predicate("SEMANTIC", "a name that is a path", func(p object) { p["operator"] = "../north" })
	stranger.Expect, stranger.Operator = "STRUCTURE", "../north"
	return map[string]vector{
		"failure-empty":         wordless,
		"largest":               sized("ok", "as large as a result may be", 1<<20),
		"too-large":             sized("PARSE", "work without end", 1<<20+1),
		"operator-path":         stranger,
		"finished":              predicate("STRUCTURE", "times have one form", func(p object) { p["finished_at"] = "2026-05-01" }),
		"time-1970":             predicate("ok", "the first time there is", func(p object) { p["started_at"] = "1970-01-01T00:00:00Z" }),
		"rebuild-digest":        predicate("STRUCTURE", "not a digest", digest("environment", "rebuild_digest")),
		"runs-zero":             predicate("ok", "nothing was built afresh", func(p object) { sub(p, "repeat")["runs"] = 0 }),
		"no-lineage":            predicate("ok", "nothing was traced", func(p object) { delete(p, "lineage") }),
		"lineage-zero":          predicate("ok", "nothing to trace", count("executables", 0)),
		"lineage-executables":   predicate("SEMANTIC", "less than nothing", count("executables", -1)),
		"lineage-opaque":        predicate("SEMANTIC", "less than nothing", count("opaque_bytes", -1)),
		"lineage-untraced":      predicate("SEMANTIC", "less than nothing", count("untraced", -1)),
		"lineage-report":        predicate("STRUCTURE", "not a digest", digest("lineage", "report")),
		"from-digest":           predicate("STRUCTURE", "not a digest", func(p object) { s := sub(p, "stages", 0); s["origin"], s["from"] = "reused", "x" }),
		"exporter-digest":       predicate("STRUCTURE", "not a digest", func(p object) { sub(p, "stages", 0)["exporter_manifest"] = "x" }),
		"manifest-digest":       predicate("STRUCTURE", "not a digest", func(p object) { sub(p, "stages", 0)["manifest"] = "x" }),
		"without-predicate":     signed("PARSE", "says nothing", edit(honest, func(o object) { o["predicate"] = []any{} })),
		"predicate-depth":       signed("PARSE", "deeper than may be", []byte(`{"a":`+strings.Repeat("[", 32)+strings.Repeat("]", 32)+"}")),
		"type-then-more":        predicate("STRUCTURE", "never ignored, at any depth", func(p object) { sub(p, "environment")["extra"] = "x" }),
		"key-weak":              withKeys(signed("KEY_WEAK", "a key that signs anything", honest), "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
		"second-key":            withKeys(signed("ok", "a new key of the operator", honest), key64("north2"), key64("north")),
		"no-keys":               withKeys(signed("KEY_UNKNOWN", "nobody is known", honest)),
		"failed-at-no-stage":    signed("ok", "no stage was running", edit(honest, failedAt(""))),
		"failed-at-first-stage": signed("ok", "the plan has it", edit(honest, failedAt("base"))),
	}
}

func failedAt(stage string) func(object) {
	return func(o object) {
		p := sub(o, "predicate")
		p["outcome"], p["stages"] = "infra-failed", []any{}
		failure := object{"class": "disk"}
		if stage != "" {
			failure["stage"] = stage
		}
		p["failure"] = failure
		delete(p, "outputs")
		o["subject"] = o["subject"].([]any)[:1]
	}
}

func withKeys(v vector, keys ...string) vector {
	v.Keys = keys
	return v
}

// shortened writes the long run of one group of base64 by the rule.
func shortened(s string) string {
	for i := 0; i+16 < len(s); i++ {
		group := s[i : i+4]
		n := 1
		for strings.HasPrefix(s[i+4*n:], group) {
			n++
		}
		if n > 1000 {
			return s[:i] + times(n, group) + s[i+4*n:]
		}
	}
	panic("no run")
}

func verdictChecks(w *attesttest.World) map[string]vector {
	digest := func(envelope []byte) string { return string(digestOf(w.T, envelope)) }
	v := func(expect, why string, statements ...[]byte) vector {
		return verdictVector(w, expect, why, statements...)
	}
	policy := withPolicy
	waive := func(v vector, waivers ...vectorWaiver) vector { v.Waivers = waivers; return v }
	at := func(v vector, now string) vector { v.Now = now; return v }
	key := func(v vector, of, more string) vector { return policyText(v, key64(of)+`"`, key64(of)+`", `+more) }
	groups := func(v vector, text string) vector {
		return policyText(v, `groups.main = { need = 2, of = ["east", "north", "west"] }`, text)
	}
	other := w.Stage("hello", []store.File{{Path: "bin/hello", Mode: 0o755, Data: []byte("another")}})
	otherBase := w.Stage("base", []store.File{{Path: "bin/sh", Mode: 0o755, Data: []byte("another")}})
	differs := func(r *attest.Result) { r.Stages[1] = other }
	nonce := func(digit string, more func(*attest.Result)) func(*attest.Result) {
		return func(r *attest.Result) {
			r.Nonce = strings.Repeat(digit, 64)
			if more != nil {
				more(r)
			}
		}
	}
	failed := func(outcome string, stages func(*attest.Result)) func(*attest.Result) {
		return func(r *attest.Result) {
			r.Outcome, r.Failure = outcome, &attest.Failure{Stage: "hello"}
			stages(r)
		}
	}
	// below returns a statement of an operator whose digest is lower than, or
	// with more not, that of another.
	below := func(operator string, than []byte, lower bool, spoil func(*attest.Result)) []byte {
		for _, digit := range strings.Split("0123456789abcdef", "") {
			s := w.Statement(operator, nonce(digit, spoil))
			if (digest(s) < digest(than)) == lower {
				return s
			}
		}
		panic("no such nonce")
	}
	east, north, west := w.Statement("east", nil), w.Statement("north", nil), w.Statement("west", nil)
	again := w.Statement("east", nonce("1", nil))
	bare := []byte(edit(east, func(o object) { delete(sub(o, "signatures", 0), "keyid") }))
	bad := []byte(edit(east, func(o object) { sub(o, "signatures", 0)["sig"] = strangerSig(w, mustPayload(w, "east")) }))
	missing := func(r *attest.Result) {
		for i := range r.Stages {
			r.Stages[i].Origin, r.Stages[i].From = attest.OriginReused, store.Digest(otherDigest)
		}
	}
	dissenter := w.Statement("west", differs)
	broken := w.Statement("east", nonce("4", failed(attest.OutcomeBuildFailed, func(r *attest.Result) { r.Stages = r.Stages[:1] })))
	nested := "groups.two = { need = 1, of = [\"east\", \"west\"] }\ngroups.main = { need = 2, of = [\"north\", \"two\"] }"
	big := southOperator + "[operators.up]\nkeys = [{ key = \"" + key64("up") + "\" }]\n"
	south, up := w.Statement("south", nil), w.Statement("up", differs)
	report := `dissent = { on = "report" }`
	return map[string]vector{
		"bad-signature":             v("pending", "what is badly signed is no vote", bad, north),
		"good-then-bad":             v("met", "a bad copy takes no vote away", east, bad, north),
		"bad-then-good":             v("met", "nor wherever it stands", bad, east, north),
		"two-bad-copies":            v("pending", "which is told does not depend on the order", bad, []byte(twice(east)), north),
		"two-bad-copies-turned":     v("pending", "which is told does not depend on the order", []byte(twice(east)), bad, north),
		"two-good-copies":           v("met", "which is kept does not depend on the order", east, bare, north),
		"two-good-copies-turned":    v("met", "which is kept does not depend on the order", bare, east, north),
		"outsider-copy":             v("met", "a copy by a stranger is no better", w.Sign(mustPayload(w, "east"), "stranger"), east, north),
		"refused-and-outsider":      v("pending", "the better reading is told", bad, w.Sign(mustPayload(w, "east"), "stranger"), north),
		"two-keys-one-expired":      policyText(v("met", "signed with the key that counts", east, north), `keys = [{ key = "`+key64("east")+`" }]`, `keys = [{ key = "`+key64("east2")+`", not_after = "2026-01-01T00:00:00Z" }, { key = "`+key64("east")+`" }]`),
		"key-not-before-now":        at(key(v("met", "from that second on", east, north), "east", `not_before = "2026-06-01T12:00:00Z"`), "2026-06-01T12:00:00Z"),
		"key-before-not-before":     at(key(v("pending", "a second early", east, north), "east", `not_before = "2026-06-01T12:00:00Z"`), "2026-06-01T11:59:59Z"),
		"key-not-after-now":         at(key(v("met", "up to that second", east, north), "east", `not_after = "2026-06-01T12:00:00Z"`), "2026-06-01T12:00:00Z"),
		"key-after-not-after":       at(key(v("POLICY_EXPIRED", "a second late", east, north), "east", `not_after = "2026-06-01T12:00:00Z"`), "2026-06-01T12:00:01Z"),
		"policy-last-second":        at(v("met", "up to that second", east, north), "2027-06-30T00:00:00Z"),
		"policy-too-late":           at(v("POLICY_EXPIRED", "a second late", east, north), "2027-06-30T00:00:01Z"),
		"signer-last-second":        at(key(v("met", "up to that second", east, north), "r1", `not_after = "2026-06-01T12:00:00Z"`), "2026-06-01T12:00:00Z"),
		"signer-not-yet":            key(v("POLICY_EXPIRED", "too few signers by now", east, north), "r1", `not_before = "2026-06-02T00:00:00Z"`),
		"signer-revoked":            key(v("POLICY_EXPIRED", "too few signers are left", east, north), "r1", `revoked_from = 5`),
		"waiver-digest":             waive(v("STRUCTURE", "a waiver of nothing", east, north), vectorWaiver{"x", "why"}),
		"waiver-twice":              waive(v("SEMANTIC", "one waiver has one form", east, north), vectorWaiver{otherDigest, "why"}, vectorWaiver{otherDigest, "why"}),
		"waiver-no-reason":          waive(v("SEMANTIC", "a waiver says why", east, north), vectorWaiver{otherDigest, ""}),
		"waiver-of-void":            waive(key(v("met", "a waiver changes nothing about what did not count", east, north, west), "west", "revoked_from = 0"), vectorWaiver{digest(west), "why"}),
		"waiver-of-failure":         waive(v("met", "it bars nobody, for the failure was only reported", east, broken, north), vectorWaiver{digest(broken), "why"}),
		"waiver-of-failure-blocked": waive(policy(v("pending", "it was a contradiction that counts", east, broken, north), `dissent = { build_failed = "block" }`), vectorWaiver{digest(broken), "why"}),
		"reused-twice-from-own":     v("met", "one operator who claims it twice is one", east, w.Statement("north", missing)),
		"twice-the-same-dissent":    policy(v("met", "two equal statements are no self-contradiction", east, again, north, dissenter), report),
		"infra-failed-differs":      v("met", "says nothing about the plan", east, north, w.Statement("west", failed(attest.OutcomeInfraFailed, func(r *attest.Result) { r.Stages = []attest.StageResult{otherBase} }))),
		"timed-out-differs":         v("met", "says nothing about the plan", east, north, w.Statement("west", failed(attest.OutcomeTimedOut, func(r *attest.Result) { r.Stages = []attest.StageResult{otherBase} }))),
		"build-failed-differs":      v("dissent", "what it built before it failed is compared", east, north, w.Statement("west", failed(attest.OutcomeBuildFailed, func(r *attest.Result) { r.Stages = []attest.StageResult{otherBase} }))),
		"inputs-unsaid":             v("met", "what it was built from is not known", east, north, w.Statement("west", failed(attest.OutcomeBuildFailed, func(r *attest.Result) { r.Stages = []attest.StageResult{other} }))),
		"failed-at-no-stage": policy(v("dissent", "no stage is named, and it counts all the same", east, north, w.Statement("west", func(r *attest.Result) {
			r.Outcome, r.Failure, r.Stages = attest.OutcomeBuildFailed, &attest.Failure{Class: "start"}, nil
		})), `dissent = { build_failed = "block" }`),
		"two-of-one-against-one": policy(v("pending", "two statements lead no more than one", east, again, w.Statement("north", nonce("5", differs))), report),
		"one-against-two-of-one": policy(v("pending", "two statements lead no more than one", w.Statement("east", differs), w.Statement("east", nonce("1", differs)), north), report),
		"void-then-good-vote":    v("met", "an operator's vote is what counts of its results", east, below("east", east, true, func(r *attest.Result) { r.Hermetic = false }), north),
		"good-then-void-vote":    v("met", "an operator's vote is what counts of its results", east, below("east", east, false, func(r *attest.Result) { r.Hermetic = false }), north),
		"untraced":               policy(v("pending", "the policy wants a complete lineage", east, w.Statement("north", func(r *attest.Result) { r.Lineage.Untraced = 1 })), "require = { bootstrapped = true }"),
		"deterministic-two":      policy(v("met", "two equal runs", east, north), "require = { deterministic = true }"),
		"seed-bytes-equal":       policy(v("met", "as many as the policy allows", east, north), "require = { max_seed_bytes = 271 }"),
		"nested-met":             groups(v("met", "a group counts as one", north, west), nested),
		"nested-once":            groups(v("pending", "a group counts as one, however many are in it", east, west), nested),
		"nested-missing":         groups(v("pending", "the group is not satisfied", north), nested),
		"nested-empty":           groups(v("pending", "nobody", []byte("junk")), nested),
		"group-of-all":           groups(v("pending", "all must agree", east, north), "groups.main = { need = 3, of = [\"east\", \"north\", \"west\"] }"),
		"fewer-meet": groups(policyText(policy(v("met", "the value with a quorum wins, not the one with most votes", w.Statement("east", differs), north, west), report), "[operators.east]", big+"[operators.east]"),
			"groups.some = { need = 4, of = [\"north\", \"south\", \"up\", \"west\"] }\ngroups.main = { need = 1, of = [\"east\", \"some\"] }"),
		"two-meet": groups(policyText(policy(v("dissent", "two values with a quorum", w.Statement("east", differs), north, west, south, up), report), "[operators.east]", big+"[operators.east]"),
			"groups.some = { need = 3, of = [\"north\", \"south\", \"up\", \"west\"] }\ngroups.main = { need = 1, of = [\"east\", \"some\"] }"),
		"refused-by-form-and-outsider": v("pending", "the better reading is told", []byte(twice(east)), w.Sign(mustPayload(w, "east"), "stranger"), north),
		"label":                        policyText(policyText(policy(v("met", "a label is what the policy says", east, north), "diversity = { place = 2 }"), "[operators.east]", "[operators.east]\nlabels = { place = \"a\" }"), "[operators.north]", "[operators.north]\nlabels = { place = \"b\" }"),
		"label-equal":                  policyText(policyText(policy(v("pending", "one place", east, north), "diversity = { place = 2 }"), "[operators.east]", "[operators.east]\nlabels = { place = \"a\" }"), "[operators.north]", "[operators.north]\nlabels = { place = \"a\" }"),
		"plan":                         func() vector { x := v("PARSE", "no plan", east); x.Plan = "x"; return x }(),
		"policy":                       func() vector { x := v("PARSE", "no policy", east); x.Policy = "x"; return x }(),
	}
}

// made is a release of a world, as a vector.
type made struct {
	payload []byte
	vector  vector
	archive []byte
	file    map[string]vectorFile
}

// release makes a release through the public API: of one platform, or with a
// second one whose results are spoiled, and with those targets.
func release(w *attesttest.World, policyTOML string, targets []string, spoils ...func(platform int, r *attest.Result)) made {
	return releaseOf(w, policyTOML, targets, func(int, *attest.Plan) {}, spoils...)
}

// releaseOf is [release] of changed plans.
func releaseOf(w *attesttest.World, policyTOML string, targets []string, change func(platform int, p *attest.Plan), spoils ...func(platform int, r *attest.Result)) made {
	policy, err := attest.LoadPolicy("policy.toml", []byte(policyTOML))
	must(w.T, err)
	proposal := attest.Proposal{Lock: []byte("a lock\n"), Owners: []attest.PublicKey{attesttest.Key("r1").Public()}, Published: attesttest.Now}
	var payloads []attest.PayloadInput
	v := vector{Policy: policyTOML, Lock: "a lock\n"}
	for i, platform := range []string{"linux/amd64", "linux/arm64"}[:max(1, len(spoils))] {
		plan := *w.Plan
		plan.Platform, plan.Targets = platform, targets
		change(i, &plan)
		planJSON, err := attest.EncodePlan(&plan)
		must(w.T, err)
		build := vectorBuild{Plan: string(planJSON)}
		var statements [][]byte
		for _, op := range policy.Operators() {
			spoil := func(r *attest.Result) {
				if len(spoils) > 0 {
					spoils[i](i, r)
				}
			}
			payload, err := attest.NewResultStatement(&plan, w.Result(op, spoil))
			must(w.T, err)
			statements = append(statements, w.Sign(payload, op))
			build.Statements = append(build.Statements, string(statements[len(statements)-1]))
		}
		verdict, err := attest.Judge(policy, &plan, statements, nil, nil, attesttest.Now)
		must(w.T, err)
		met, err := verdict.Met()
		must(w.T, err)
		proposal.Builds = append(proposal.Builds, met)
		v.Builds = append(v.Builds, build)
		for _, target := range targets {
			s := w.Stages[1]
			if target == "base" {
				s = w.Stages[0]
			}
			payloads = append(payloads, attest.PayloadInput{Platform: platform, Target: target, Tree: s.Tree})
		}
	}
	_, image, err := attest.LoadPackage("package.toml", []byte(attesttest.PackageTOML))
	must(w.T, err)
	proposal.Package, err = attest.Pack(image, payloads, attesttest.Epoch)
	must(w.T, err)
	for _, s := range w.Stages {
		raw, err := w.Store.Read(s.Manifest, 1<<20)
		must(w.T, err)
		proposal.Manifests = append(proposal.Manifests, raw)
	}
	if len(targets) == 1 {
		v.Objects = []string{string(proposal.Manifests[1])}
	}
	payload, err := attest.Propose(proposal)
	must(w.T, err)
	v.Envelope = string(w.Sign(payload, "r1", "r2"))
	return made{payload, v, proposal.Package.Archive(), tarFiles(proposal.Package.Archive())}
}

func tarred(v vector, archive []byte) vector { v.Archive = zipped(archive); return v }

func releaseChecks(w *attesttest.World) map[string]vector {
	r := w.Honest()
	base := releaseVectors(w)["honest"]
	with := func(expect, why string, change func(*vector)) vector {
		v := base
		v.Statements = slices.Clone(v.Statements)
		v.Expect, v.Why = expect, why
		change(&v)
		return v
	}
	envelope := func(expect, why string, payload []byte, by ...string) vector {
		return with(expect, why, func(v *vector) { v.Envelope = string(w.Sign(payload, by...)) })
	}
	predicate := func(expect, why string, spoil func(p object)) vector {
		return with(expect, why, func(v *vector) { v.Envelope = respoil(w, r.Payload, spoil) })
	}
	field := func(name, value string) vector {
		return predicate("STRUCTURE", "not a digest", func(p object) { p[name] = value })
	}
	build := func(expect, why string, spoil func(b object)) vector {
		return predicate(expect, why, func(p object) { spoil(sub(p, "builds", 0)) })
	}
	target := func(expect, why string, spoil func(t object)) vector {
		return build(expect, why, func(b object) { spoil(sub(b, "targets", 0)) })
	}
	depends := func(expect, why string, all ...object) vector {
		return predicate(expect, why, func(p object) {
			var list []any
			for _, d := range all {
				list = append(list, d)
			}
			p["depends"] = list
		})
	}
	spoiledDep := func(name, value string) object { d := dep("a"); d[name] = value; return d }
	named := func(v vector, name, version string) vector { v.Name, v.Version = name, version; return v }
	owners := func(names ...string) []byte {
		return edit(r.Payload, func(o object) {
			var keys []any
			for _, n := range names {
				keys = append(keys, key64(n))
			}
			sub(o, "predicate")["owners"] = keys
		})
	}
	sorted := func(names ...string) []string {
		slices.SortFunc(names, func(a, b string) int { return strings.Compare(key64(a), key64(b)) })
		return names
	}
	many := func(n int) []string {
		all := []string{"r1", "r2"}
		for i := range n - 2 {
			all = append(all, fmt.Sprint("owner", i))
		}
		return sorted(all...)
	}
	policy := func(v vector, from, to string) vector { return policyText(v, from, to) }
	archive := func(v vector, of *attest.Package) vector {
		v.Files, v.Epoch = tarFiles(of.Archive()), attesttest.Epoch
		return v
	}
	// another release's archive, under a name that this one gives it
	pack := func(toml string, payloads ...attest.PayloadInput) *attest.Package {
		_, image, err := attest.LoadPackage("package.toml", []byte(toml))
		must(w.T, err)
		p, err := attest.Pack(image, payloads, attesttest.Epoch)
		must(w.T, err)
		return p
	}
	files := func(p *attest.Package, name string) string {
		return string(store.DigestOf(tarFiles(p.Archive())[name].data()))
	}
	given := attest.PayloadInput{Platform: attesttest.Platform, Target: "hello", Path: "linux-amd64/hello", Tree: w.Stages[1].Tree, Files: w.HelloFiles}
	bound := func(expect, why string, p *attest.Package, fields ...string) vector {
		return archive(predicate(expect, why, func(o object) {
			o["cksum"] = p.Cksum()
			for _, f := range fields {
				o[f] = files(p, "rebuild."+f+".json")
			}
		}), p)
	}
	otherTree := w.Stage("hello", []store.File{{Path: "x", Mode: 0o644}})
	hallo := pack(strings.Replace(attesttest.PackageTOML, `"hello"`, `"hallo"`, 1), given)
	newer := pack(strings.Replace(attesttest.PackageTOML, "0.1.0", "0.1.1", 1), given)
	said := pack(strings.Replace(attesttest.PackageTOML, "says hi", "says ho", 1), given)
	none := pack(attesttest.PackageTOML)
	otherPayload := pack(attesttest.PackageTOML, attest.PayloadInput{Platform: attesttest.Platform, Target: "hello", Tree: otherTree.Tree})
	reporting := *w
	reporting.PolicyTOML = strings.Replace(w.PolicyTOML, "groups.main", "dissent = { on = \"report\" }\ngroups.main", 1)
	against := dissent(w, "west")
	reported := reporting.Release(append(w.Statements()[:2], against), nil, attesttest.PackageTOML, []string{"r1"}, []string{"r1", "r2"})
	voice := func(expect, why string, said []byte) vector {
		v := bundleVector(expect, why, attesttest.Policy(""), reported.Bundle)
		v.Statements[slices.Index(v.Statements, string(against))] = string(said)
		return v
	}
	respelt := func(expect, why string, spoil func(signature object)) vector {
		return voice(expect, why, edit(against, func(o object) { spoil(sub(o, "signatures", 0)) }))
	}
	badPlan := string(edit(w.PlanJSON, func(o object) { o["targets"] = []any{} }))
	otherPlatform := string(edit(w.PlanJSON, func(o object) { o["platform"] = "linux/arm64" }))
	digest := func(envelope []byte) string {
		e, err := attest.ParseEnvelope("e", envelope)
		must(w.T, err)
		return string(e.Digest())
	}
	bad := string(edit([]byte(base.Statements[0]), func(o object) { sub(o, "signatures", 0)["sig"] = base64.StdEncoding.EncodeToString(make([]byte, 64)) }))
	listing := func(expect, why string, extra []byte) vector {
		v := build(expect, why, func(b object) {
			all := append(b["statements"].([]any), digest(extra))
			slices.SortFunc(all, func(a, b any) int { return strings.Compare(a.(string), b.(string)) })
			b["statements"] = all
		})
		v.Statements = append(slices.Clone(v.Statements), string(extra))
		return v
	}
	plain := func(int, *attest.Result) {}
	runs := func(n int) func(int, *attest.Result) {
		return func(_ int, r *attest.Result) { r.Repeat.Runs = n }
	}
	unsaid := func(_ int, r *attest.Result) { r.Repeat = nil }
	opaque := func(_ int, r *attest.Result) { r.Lineage.OpaqueBytes = 1 }
	of := func(expect, why string, m made) vector { m.vector.Expect, m.vector.Why = expect, why; return m.vector }
	hello := []string{"hello"}
	two := release(w, attesttest.Policy(""), hello, plain, plain)
	respoiled := func(expect, why string, m made, spoil func(p object)) vector {
		v := of(expect, why, m)
		v.Envelope = respoil(w, m.payload, spoil)
		return v
	}
	again := func(v vector, builds ...int) vector {
		all := v.Builds
		v.Builds = nil
		for _, i := range builds {
			v.Builds = append(v.Builds, all[i])
		}
		return v
	}
	alone := strings.Replace(attesttest.Policy(""), `need = 2, of = ["east", "north", "west"]`, `need = 1, of = ["east"]`, 1)
	either := strings.Replace(attesttest.Policy(""), `need = 2, of = ["east", "north", "west"]`, `need = 1, of = ["east", "north"]`, 1)
	eastOnly := func(_ int, r *attest.Result) { r.Hermetic = r.Operator == "east" }
	plans := func(expect, why string, change func(p *attest.Plan)) vector {
		return of(expect, why, releaseOf(w, attesttest.Policy(""), hello, func(i int, p *attest.Plan) {
			if i == 1 {
				p.Stages, p.Seeds = slices.Clone(p.Stages), slices.Clone(p.Seeds)
				change(p)
			}
		}, plain, plain))
	}
	moreSigners := func(v vector) vector { needThree(&v); return v }
	return map[string]vector{
		"voice-reported":    underPolicy(voice("ok", "a dissent that its policy only reports", against), reporting.PolicyTOML),
		"voice":             voice("DISSENT", "and this one is blocked by", against),
		"voice-exchanged":   voice("EVIDENCE_MISMATCH", "signed anew by a stranger it would be a stranger's", w.Sign(mustDecode(w, against), "stranger")),
		"voice-added":       voice("EVIDENCE_MISMATCH", "a signature more, and it would be refused as malformed", w.Sign(mustDecode(w, against), "west", "stranger")),
		"voice-keyid":       respelt("EVIDENCE_MISMATCH", "by the hint it would be a stranger's", func(s object) { s["keyid"] = string(attesttest.Key("stranger").Public().ID()) }),
		"voice-hint":        respelt("DISSENT", "a keyid is only a hint", func(s object) { delete(s, "keyid") }),
		"voice-wrong":       respelt("EVIDENCE_MISMATCH", "a wrong signature is nobody's", func(s object) { s["sig"] = strangerSig(w, mustDecode(w, against)) }),
		"voice-not-asked":   policyText(voice("ok", "a policy that does not count the operator", w.Sign(mustDecode(w, against), "stranger")), `"east", "north", "west"`, `"east", "north"`),
		"name-given":        named(with("ok", "what was asked for", func(*vector) {}), "hello", "0.1.0"),
		"name-other":        named(with("EVIDENCE_MISMATCH", "another package than was asked for", func(*vector) {}), "hallo", ""),
		"version-other":     named(with("EVIDENCE_MISMATCH", "another version than was asked for", func(*vector) {}), "", "0.1.1"),
		"version-bad":       named(with("STRUCTURE", "no version", func(*vector) {}), "", "0.1"),
		"version-metadata":  named(with("ok", "build metadata is no part of a version", func(*vector) {}), "hello", "0.1.0+x"),
		"policy-expired":    with("POLICY_EXPIRED", "the policy has ended", func(v *vector) { v.Now = "2027-07-01T00:00:00Z" }),
		"oci-index-digest":  field("oci_index", "sha256:x"),
		"package-digest":    field("package", ""),
		"files-digest":      field("files", "x"),
		"exports-digest":    field("exports", "x"),
		"lock-digest":       field("lock", "x"),
		"policy-digest":     field("policy", "x"),
		"exports":           predicate("ok", "named, and compared with the archive alone", func(p object) { p["exports"] = otherDigest }),
		"snapshot-digest":   envelope("STRUCTURE", "not a digest", edit(r.Payload, func(o object) { sub(o, "predicate")["snapshot"] = "x" }), "r1", "r2"),
		"version-not-exact": predicate("STRUCTURE", "not SemVer", func(p object) { p["version"] = "0.1.x" }),
		"name-scope":        predicate("STRUCTURE", "a scope that is none", func(p object) { p["name"] = "Org/hello" }),
		"name-in-scope":     predicate("STRUCTURE", "a name in a scope that is none", func(p object) { p["name"] = "org/Hello" }),
		"name-scoped":       predicate("ok", "a name of a scope", func(p object) { p["name"] = "org/hello" }),
		"owners-unsorted":   envelope("SEMANTIC", "one release has one form", owners(sorted("r1", "r2")[1], sorted("r1", "r2")[0]), "r1", "r2"),
		"owners-twice":      envelope("SEMANTIC", "one release has one form", owners("r1", "r1"), "r1", "r2"),
		"owners-32":         envelope("ok", "as many as can sign", owners(many(32)...), many(32)...),
		"owners-33":         envelope("SEMANTIC", "more than can sign", owners(many(33)...), "r1", "r2"),
		"owner-of-two":      envelope("SIGNATURE_INVALID", "every owner signs", owners(sorted("alice", "bob")...), "alice", "r1", "r2"),
		"owner-none-of-two": envelope("SIGNATURE_INVALID", "every owner signs", owners(sorted("alice", "bob")...), "r1", "r2"),
		"owner-bad-signature": with("SIGNATURE_INVALID", "an owner with a bad signature", func(v *vector) {
			v.Envelope = string(edit(w.Sign(owners("alice"), "r1", "r2"), func(o object) {
				o["signatures"] = append(o["signatures"].([]any), object{"keyid": string(attesttest.Key("alice").Public().ID()), "sig": strangerSig(w, owners("alice"))})
			}))
		}),
		"depends":             depends("ok", "sorted", dep("a"), dep("b")),
		"depends-twice":       depends("SEMANTIC", "one release has one form", dep("a"), dep("a")),
		"depends-name":        depends("STRUCTURE", "a name that is a path", spoiledDep("name", "../a")),
		"depends-version":     depends("STRUCTURE", "not SemVer", spoiledDep("version", "1")),
		"depends-snapshot":    depends("STRUCTURE", "not a digest", spoiledDep("snapshot", "x")),
		"build-seq":           build("SEMANTIC", "a part of a log is no log", func(b object) { b["seq"] = 1 }),
		"build-events":        build("SEMANTIC", "a part of a log is no log", func(b object) { b["events"] = otherDigest }),
		"build-platform":      build("STRUCTURE", "not a platform", func(b object) { b["platform"] = "linux" }),
		"build-plan":          build("STRUCTURE", "not a digest", func(b object) { b["plan"] = "x" }),
		"build-outputs":       build("STRUCTURE", "not a digest", func(b object) { b["outputs"] = "x" }),
		"build-statement":     build("STRUCTURE", "not a digest", func(b object) { b["statements"] = []any{"x"} }),
		"statements-twice":    build("SEMANTIC", "one release has one form", func(b object) { s := b["statements"].([]any); b["statements"] = []any{s[0], s[0], s[1]} }),
		"targets-none":        build("SEMANTIC", "nothing is released", func(b object) { b["targets"] = []any{} }),
		"target-name":         target("STRUCTURE", "a name that is a path", func(t object) { t["name"] = "../hello" }),
		"target-tree-digest":  target("STRUCTURE", "not a digest", func(t object) { t["tree"] = "x" }),
		"target-image-digest": target("STRUCTURE", "not a digest", func(t object) { t["manifest"] = "sha256:x" }),
		"targets-twice":       build("SEMANTIC", "one release has one form", func(b object) { t := b["targets"].([]any); b["targets"] = []any{t[0], t[0]} }),
		"targets-unsorted": build("SEMANTIC", "one release has one form", func(b object) {
			t := sub(b, "targets", 0)
			x := maps.Clone(t)
			x["name"] = "a"
			b["targets"] = []any{t, x}
		}),
		"builds-twice":    predicate("SEMANTIC", "one release has one form", func(p object) { b := p["builds"].([]any); p["builds"] = []any{b[0], b[0]} }),
		"builds-unsorted": respoiled("SEMANTIC", "one release has one form", two, func(p object) { slices.Reverse(p["builds"].([]any)) }),
		"waivers-unsorted": predicate("SEMANTIC", "one release has one form", func(p object) {
			s := sub(p, "builds", 0)["statements"].([]any)
			p["waivers"] = []any{object{"statement": s[1], "reason": "x"}, object{"statement": s[0], "reason": "x"}}
		}),
		"waiver-digest":        predicate("STRUCTURE", "not a digest", func(p object) { p["waivers"] = []any{object{"statement": "x", "reason": "x"}} }),
		"waiver-need-no-waive": moreSigners(with("ok", "more signers are needed for a waiver, and there is none", func(*vector) {})),
		"lock-none":            with("EVIDENCE_MISMATCH", "no lock is named and one is there", func(v *vector) { v.Envelope = respoil(w, r.Payload, func(p object) { delete(p, "lock") }) }),
		"no-lock": with("ok", "no lock is named and none is there", func(v *vector) {
			v.Lock = ""
			v.Envelope = respoil(w, r.Payload, func(p object) { delete(p, "lock") })
		}),
		"object-unnamed": with("EVIDENCE_MISMATCH", "nobody signed for it", func(v *vector) { v.Objects = append(slices.Clone(v.Objects), "more") }),
		"junk":           with("ok", "what is no envelope is no statement", func(v *vector) { v.Statements = append(v.Statements, "junk") }),
		"plan-bad": with("SEMANTIC", "a plan for nothing", func(v *vector) {
			v.Plan = badPlan
			v.Envelope = respoil(w, r.Payload, func(p object) { sub(p, "builds", 0)["plan"] = string(store.DigestOf([]byte(badPlan))) })
		}),
		"plan-other": with("EVIDENCE_MISMATCH", "another plan", func(v *vector) { v.Plan = otherPlatform }),
		"plan-platform": with("EVIDENCE_MISMATCH", "a plan for another platform", func(v *vector) {
			v.Plan = otherPlatform
			v.Envelope = respoil(w, r.Payload, func(p object) { sub(p, "builds", 0)["plan"] = string(store.DigestOf([]byte(otherPlatform))) })
		}),
		"plan-twice": with("EVIDENCE_MISMATCH", "evidence for more than is released", func(v *vector) {
			b := vectorBuild{Plan: v.Plan, Statements: v.Statements}
			v.Builds = []vectorBuild{b, b}
		}),
		"statement-bad":   with("EVIDENCE_MISMATCH", "a listed statement is badly signed", func(v *vector) { v.Statements[0] = bad }),
		"statement-bad-2": policy(with("EVIDENCE_MISMATCH", "badly signed by any policy", func(v *vector) { v.Statements[0] = bad }), "version = 1", "version = 2"),
		"lists-outsider":  listing("EVIDENCE_MISMATCH", "nobody whom the policy counts", w.Sign(mustPayload(w, "west2"), "stranger")),
		"lists-refused":   listing("EVIDENCE_MISMATCH", "about another plan", otherPlan(w, "east")),
		"lists-refused-2": policy(listing("ok", "another policy has its own verdict", otherPlan(w, "east")), "version = 1", "version = 2"),
		"reported-dissent": policy(with("ok", "the policy only wants it reported", func(v *vector) {
			v.Statements = append(v.Statements, string(w.Statement("west", func(r *attest.Result) { r.Nonce, r.Stages[1] = strings.Repeat("9", 64), otherTree })))
		}), "groups.main", "dissent = { on = \"report\" }\ngroups.main"),
		"two-platforms":         of("ok", "both are judged", two),
		"two-platforms-one":     again(of("EVIDENCE_MISMATCH", "one is left out", two), 0),
		"two-platforms-twice":   again(of("EVIDENCE_MISMATCH", "one is left out, the other there twice", two), 0, 0),
		"two-platforms-turned":  again(of("ok", "evidence is found by its plan", two), 1, 0),
		"two-platforms-seeds":   plans("ok", "each has the seeds of its processor", func(p *attest.Plan) { p.Seeds[0].Digest = store.Digest(otherDigest) }),
		"two-platforms-epoch":   plans("SEMANTIC", "other software under one name", func(p *attest.Plan) { p.SourceDateEpoch = 2 }),
		"two-platforms-args":    plans("SEMANTIC", "other software under one name", func(p *attest.Plan) { p.Stages[1].Args = map[string]string{"X": "1"} }),
		"first-by-one":          of("ok", "one platform was not reproduced", release(w, either, hello, eastOnly, plain)),
		"second-by-one":         of("ok", "one platform was not reproduced", release(w, either, hello, plain, eastOnly)),
		"two-targets":           of("ok", "two images of one plan", release(w, attesttest.Policy(""), []string{"base", "hello"})),
		"not-repeated":          of("ok", "one run each, so the word is unproven", release(w, attesttest.Policy(""), hello, runs(1))),
		"repeat-unsaid":         of("ok", "no word on repeats, so the word is unproven", release(w, attesttest.Policy(""), hello, unsaid)),
		"first-not-repeated":    of("ok", "one platform is not deterministic", release(w, attesttest.Policy(""), hello, runs(1), plain)),
		"second-not-repeated":   of("ok", "one platform is not deterministic", release(w, attesttest.Policy(""), hello, plain, unsaid)),
		"not-bootstrapped":      of("ok", "repeatable only", release(w, attesttest.Policy(""), hello, opaque)),
		"first-not-bootstrap":   of("ok", "one platform is not bootstrapped", release(w, attesttest.Policy(""), hello, opaque, plain)),
		"second-not-bootstrap":  of("ok", "one platform is not bootstrapped", release(w, attesttest.Policy(""), hello, plain, opaque)),
		"one-operator":          of("ok", "nobody reproduced it", release(w, alone, hello)),
		"archive":               archive(with("ok", "the archive of the release", func(*vector) {}), r.Package),
		"archive-tar":           tarred(with("ok", "the archive of the release", func(*vector) {}), r.Package.Archive()),
		"archive-tar-other":     tarred(with("CKSUM_MISMATCH", "another archive", func(*vector) {}), r.Package.Archive()[:512]),
		"archive-other":         archive(with("CKSUM_MISMATCH", "another archive", func(*vector) {}), said),
		"archive-of-other-name": bound("EVIDENCE_MISMATCH", "an archive of another package", hallo, "package", "files"),
		"archive-of-other-ver":  bound("EVIDENCE_MISMATCH", "an archive of another version", newer, "package", "files"),
		"archive-package":       bound("EVIDENCE_MISMATCH", "other metadata than the release names", said, "files"),
		"archive-files":         bound("EVIDENCE_MISMATCH", "another inventory than the release names", said, "package"),
		"archive-no-payload":    bound("EVIDENCE_MISMATCH", "nothing that was voted for", none, "files"),
		"archive-other-tree":    bound("TREE_MISMATCH", "another tree than was voted for", otherPayload, "files"),
		"archive-exports": archive(predicate("EVIDENCE_MISMATCH", "exports that are not there", func(p object) { p["exports"] = otherDigest }),
			r.Package),
	}
}

// layoutVectors are releases with an OCI layout at hand.
func layoutVectors(w *attesttest.World) map[string]vector {
	base := releaseVectors(w)["honest"]
	hello, shell := w.Stages[1].Manifest, w.Stages[0].Manifest
	list(w.T, w.Store.Dir(), entry(hello, size(w.T, w, hello)))
	image, err := w.Store.Image(hello)
	must(w.T, err)
	config, err := store.ParseDigest(string(between(w.T, image.Raw, `"config":{"digest":"`, `"`)))
	must(w.T, err)
	all := folderFiles(w.Store.Dir())
	blob := func(d store.Digest) string { return "blobs/sha256/" + d.Hex() }
	honest := map[string]vectorFile{}
	for _, name := range []string{"index.json", "oci-layout", blob(hello), blob(config), blob(image.Layer.Digest)} {
		honest[name] = all[name]
		if all[name] == (vectorFile{}) {
			panic(name)
		}
	}
	layout := func(expect, why string, change func(map[string]vectorFile)) vector {
		v := base
		v.Expect, v.Why, v.Layout = expect, why, cloneFiles(honest)
		change(v.Layout)
		return v
	}
	index := func(expect, why string, entries ...any) vector {
		raw, err := document.Encode(object{"schemaVersion": 2, "manifests": entries})
		must(w.T, err)
		return layout(expect, why, func(f map[string]vectorFile) { f["index.json"] = vectorFile{Text: string(raw)} })
	}
	good := func(change func(object)) object {
		e := entry(hello, size(w.T, w, hello))
		if change != nil {
			change(e)
		}
		return e
	}
	text := func(expect, why, text string) vector {
		return layout(expect, why, func(f map[string]vectorFile) { f["index.json"] = vectorFile{Text: text} })
	}
	flipped := func(name string) vectorFile {
		b := slices.Clone(honest[name].data())
		b[len(b)/2] ^= 1
		return vectorFileOf(b)
	}
	// a layout with a manifest of its own, and the release that names it
	manifest := func(expect, why, from, to string, blobs map[string]vectorFile) vector {
		raw := strings.Replace(string(image.Raw), from, to, 1)
		if raw == string(image.Raw) {
			panic(from)
		}
		return renamed(w, base, expect, why, raw, honest, blobs)
	}
	ociIndex, err := w.Store.Index([]store.Digest{hello})
	must(w.T, err)
	ociRaw, err := w.Store.Read(ociIndex, 1<<20)
	must(w.T, err)
	indexEntry := object{"digest": string(ociIndex), "mediaType": store.MediaTypeIndex, "size": len(ociRaw)}
	throughIndex := func(expect, why string, change func(map[string]vectorFile)) vector {
		v := index(expect, why, indexEntry)
		v.Layout[blob(ociIndex)] = vectorFileOf(ociRaw)
		change(v.Layout)
		return v
	}
	layer := image.Layer.Digest
	out := map[string]vector{
		"layout":                layout("ok", "the released image", func(map[string]vectorFile) {}),
		"layout-platform":       index("ok", "for its platform", good(func(e object) { e["platform"] = object{"os": "linux", "architecture": "amd64"} })),
		"layout-twice":          index("ok", "under two names", good(nil), good(func(e object) { e["annotations"] = object{"a": "b"} })),
		"layout-oci-index":      throughIndex("ok", "through the released index", func(map[string]vectorFile) {}),
		"layout-index-no-image": throughIndex("EVIDENCE_MISMATCH", "an index of what is not there", func(f map[string]vectorFile) { delete(f, blob(hello)) }),
		"layout-index-type": func() vector {
			e := maps.Clone(indexEntry)
			e["mediaType"] = store.MediaTypeManifest
			v := index("EVIDENCE_MISMATCH", "listed as another type", e)
			v.Layout[blob(ociIndex)] = vectorFileOf(ociRaw)
			return v
		}(),
		"layout-nothing":         index("EVIDENCE_MISMATCH", "no released image"),
		"layout-other":           index("EVIDENCE_MISMATCH", "an image that was not released", good(nil), entry(shell, size(w.T, w, shell))),
		"layout-for-other":       index("EVIDENCE_MISMATCH", "listed for another platform", good(func(e object) { e["platform"] = object{"os": "linux", "architecture": "arm64"} })),
		"layout-type":            index("EVIDENCE_MISMATCH", "listed as another type", good(func(e object) { e["mediaType"] = store.MediaTypeIndex })),
		"layout-size":            index("EVIDENCE_MISMATCH", "listed with another size", good(func(e object) { e["size"] = 1 })),
		"layout-no-digest":       index("EVIDENCE_MISMATCH", "nothing is listed", good(func(e object) { e["digest"] = "" })),
		"layout-path":            index("EVIDENCE_MISMATCH", "a path for a digest", good(func(e object) { e["digest"] = "../../index.json" })),
		"layout-two-lists":       text("PARSE", "other readers would take the other", strings.Replace(honest["index.json"].Text, `"schemaVersion"`, `"Manifests":[],"schemaVersion"`, 1)),
		"layout-index-junk":      text("PARSE", "no JSON", "{"),
		"layout-index-large":     text("PARSE", "work without end", "⟨4194305× ⟩"),
		"layout-index-4-mib":     text("ok", "as large as it may be", honest["index.json"].Text+fmt.Sprintf("⟨%d× ⟩", 4<<20-len(honest["index.json"].Text))),
		"layout-no-index":        layout("FILE_MISSING", "no list", func(f map[string]vectorFile) { delete(f, "index.json") }),
		"layout-index-directory": layout("USAGE", "no file", func(f map[string]vectorFile) { delete(f, "index.json"); f["index.json/x"] = vectorFile{Text: "x"} }),
		"layout-index-link":      layout("USAGE", "a link out of the layout", func(f map[string]vectorFile) { f["index.json"] = vectorFile{Type: "l", Link: "/etc/hostname"} }),
		"layout-file":            layout("FILE_MISSING", "no layout", func(f map[string]vectorFile) { clear(f); f["x"] = vectorFile{Text: "x"} }),
		"layout-blob-link":       layout("USAGE", "a link out of the layout", func(f map[string]vectorFile) { f[blob(layer)] = vectorFile{Type: "l", Link: "/etc/hostname"} }),
		"layout-layers":          manifest("STRUCTURE", "two layers", `"layers":[`, `"layers":[{"digest":"`+otherDigest+`","mediaType":"x","size":1},`, nil),
		"layout-config-digest":   manifest("STRUCTURE", "a path for a digest", string(config), "../../index.json", nil),
		"layout-layer-digest":    manifest("STRUCTURE", "a path for a digest", string(layer), "../../index.json", nil),
		"layout-manifest-junk":   renamed(w, base, "PARSE", "no manifest", "junk", honest, nil),
	}
	both := release(w, attesttest.Policy(""), []string{"base", "hello"}).vector
	bothWith := func(expect, why string, change func(map[string]vectorFile), entries ...any) vector {
		v := index(expect, why, entries...)
		change(v.Layout)
		x := both
		x.Expect, x.Why, x.Layout = expect, why, v.Layout
		return x
	}
	shellEntry := entry(shell, size(w.T, w, shell))
	shellLayer, err := w.Store.Image(shell)
	must(w.T, err)
	shellConfig, err := store.ParseDigest(string(between(w.T, shellLayer.Raw, `"config":{"digest":"`, `"`)))
	must(w.T, err)
	withShell := func(f map[string]vectorFile) {
		for _, d := range []store.Digest{shell, shellConfig, shellLayer.Layer.Digest} {
			f[blob(d)] = all[blob(d)]
		}
	}
	out["layout-two"] = bothWith("ok", "both released images", withShell, good(nil), shellEntry)
	out["layout-one-of-two"] = bothWith("EVIDENCE_MISMATCH", "one of two released images", withShell, good(nil))
	out["layout-other-of-two"] = bothWith("EVIDENCE_MISMATCH", "one of two released images", withShell, shellEntry)
	out["layout-two-no-digest"] = bothWith("EVIDENCE_MISMATCH", "nothing is listed", withShell, good(nil), shellEntry, good(func(e object) { e["digest"] = "" }))
	out["layout-index-changed-image"] = throughIndex("CKSUM_MISMATCH", "other content than its name", func(f map[string]vectorFile) { f[blob(hello)] = flipped(blob(hello)) })
	for what, d := range map[string]store.Digest{"manifest": hello, "config": config, "layer": layer} {
		name := blob(d)
		out["layout-no-"+what] = layout("FILE_MISSING", "it is not there", func(f map[string]vectorFile) { delete(f, name) })
		out["layout-changed-"+what] = layout("CKSUM_MISMATCH", "other content than its name", func(f map[string]vectorFile) { f[name] = flipped(name) })
	}
	shellImage, err := w.Store.Image(shell)
	must(w.T, err)
	sized := func(d store.Digest, n int) string {
		return fmt.Sprintf(`{"digest":"%s","mediaType":"application/vnd.oci.image.layer.v1.tar","size":%d}`, d, n)
	}
	layerWith := func(expect, why string, d store.Digest, n int, file vectorFile) vector {
		return manifest(expect, why, sized(layer, len(honest[blob(layer)].data())), sized(d, n), map[string]vectorFile{blob(d): file})
	}
	shellFile := all[blob(shellImage.Layer.Digest)]
	out["layout-other-tree"] = layerWith("TREE_MISMATCH", "another tree than was voted for", shellImage.Layer.Digest, len(shellFile.data()), shellFile)
	out["layout-layer-junk"] = layerWith("STRUCTURE", "no archive", store.Digest(otherDigest), 14, vectorFile{Text: "something else"})
	out["layout-layer-size"] = layerWith("CKSUM_MISMATCH", "another size than the manifest says", store.Digest(otherDigest), 15, vectorFile{Text: "something else"})
	for name, v := range referrers(w, out["layout"]) {
		out["layout-"+name] = v
	}
	return out
}

// referrers are layouts with what someone says of a released image. None may
// be a way to list something that a tool would run.
func referrers(w *attesttest.World, base vector) map[string]vector {
	released, other := w.Stages[1].Manifest, w.Stages[0].Manifest
	blob := func(text string) (string, vectorFile) {
		return "blobs/sha256/" + store.DigestOf([]byte(text)).Hex(), vectorFile{Text: text}
	}
	listed := func(expect, why string, change func(e object), texts ...string) vector {
		v := base
		v.Expect, v.Why, v.Layout = expect, why, cloneFiles(base.Layout)
		e := entry(store.DigestOf([]byte(texts[0])), len(texts[0]))
		for _, text := range texts {
			name, file := blob(text)
			v.Layout[name] = file
		}
		if change != nil {
			change(e)
		}
		raw, err := document.Encode(object{"schemaVersion": 2, "manifests": []any{entry(released, size(w.T, w, released)), e}})
		must(w.T, err)
		v.Layout["index.json"] = vectorFile{Text: string(raw)}
		return v
	}
	refer := func(config string, subject store.Digest) string {
		return fmt.Sprintf(`{"artifactType":"text/plain","config":{"digest":%q,"mediaType":"application/vnd.oci.empty.v1+json","size":%d},`+
			`"layers":[],"mediaType":%q,"schemaVersion":2,"subject":{"digest":%q,"mediaType":%q,"size":%d}}`,
			store.DigestOf([]byte(config)), len(config), store.MediaTypeManifest, subject, store.MediaTypeManifest, size(w.T, w, subject))
	}
	good := refer("{}", released)
	const bad = "EVIDENCE_MISMATCH"
	changed := listed(bad, "other content than its name", nil, good, "{}")
	name, _ := blob(good)
	changed.Layout[name] = vectorFile{Text: good + " "}
	return map[string]vector{
		"referrer":             listed("ok", "what someone says of the released image", nil, good, "{}"),
		"referrer-of-other":    listed(bad, "of an image that was not released", nil, refer("{}", other), "{}"),
		"referrer-config":      listed(bad, "it can be run", nil, refer(`{"architecture":"amd64"}`, released), `{"architecture":"amd64"}`),
		"referrer-no-type":     listed(bad, "it is no artifact", nil, strings.Replace(good, `"artifactType":"text/plain",`, "", 1)),
		"referrer-subjects":    listed(bad, "other readers take the other subject", nil, strings.Replace(good, `"layers"`, `"Subject":{},"layers"`, 1)),
		"referrer-index":       listed(bad, "an index too", nil, strings.Replace(good, `"layers"`, `"manifests":[{}],"layers"`, 1)),
		"referrer-named":       listed(bad, "a name by which tools pick images", func(e object) { e["annotations"] = object{"org.opencontainers.image.ref.name": "hello"} }, good),
		"referrer-platform":    listed(bad, "a platform by which tools pick images", func(e object) { e["platform"] = object{"os": "linux", "architecture": "amd64"} }, good),
		"referrer-size":        listed(bad, "another size", func(e object) { e["size"] = 1 }, good),
		"referrer-as-index":    listed(bad, "another type", func(e object) { e["mediaType"] = store.MediaTypeIndex }, good),
		"referrer-changed":     changed,
		"referrer-subject-2":   listed(bad, "other readers take the other subject", nil, strings.Replace(good, `}}`, `},"Subject":{}}`, 1), "{}"),
		"referrer-missing":     listed(bad, "not there", func(e object) { e["digest"] = string(store.DigestOf([]byte("nothing"))) }, good),
		"referrer-bad-digest":  listed(bad, "a path for a digest", func(e object) { e["digest"] = "../../index.json" }, good),
		"referrer-without-one": listed(bad, "no digest", func(e object) { e["digest"] = "" }, good),
	}
}

// renamed is a release that operators and signers made of a manifest that is
// not good, and its layout.
func renamed(w *attesttest.World, base vector, expect, why, manifest string, files, more map[string]vectorFile) vector {
	digest := store.DigestOf([]byte(manifest))
	v := base
	v.Expect, v.Why, v.Statements = expect, why, nil
	var statements []string
	for _, op := range []string{"east", "north", "west"} {
		s := w.Statement(op, func(r *attest.Result) { r.Stages[1].Manifest = digest })
		v.Statements = append(v.Statements, string(s))
		e, err := attest.ParseEnvelope("e", s)
		must(w.T, err)
		statements = append(statements, string(e.Digest()))
	}
	slices.Sort(statements)
	stages := slices.Clone(w.Stages)
	stages[1].Manifest = digest
	index, err := document.Encode(object{"schemaVersion": 2, "mediaType": store.MediaTypeIndex, "manifests": []any{
		object{"digest": string(digest), "mediaType": store.MediaTypeManifest, "size": len(manifest), "platform": object{"os": "linux", "architecture": "amd64"}}}})
	must(w.T, err)
	v.Objects = []string{manifest}
	v.Envelope = respoil(w, w.Honest().Payload, func(p object) {
		b := sub(p, "builds", 0)
		b["outputs"] = string(attest.Outputs(stages))
		var all []any
		for _, s := range statements {
			all = append(all, s)
		}
		b["statements"] = all
		sub(b, "targets", 0)["manifest"] = string(digest)
		p["oci_index"] = string(store.DigestOf(index))
	})
	list, err := document.Encode(object{"schemaVersion": 2, "manifests": []any{entry(digest, len(manifest))}})
	must(w.T, err)
	v.Layout = cloneFiles(files)
	v.Layout["index.json"] = vectorFile{Text: string(list)}
	v.Layout["blobs/sha256/"+digest.Hex()] = vectorFile{Text: manifest}
	maps.Copy(v.Layout, more)
	return v
}
