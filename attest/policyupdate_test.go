package attest_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/fault"
	"rebuild/store"
)

// edited loads the small world's policy with pairs of texts replaced, each of
// which must be there once.
func edited(t *testing.T, pairs ...string) *attest.Policy {
	t.Helper()
	text := attesttest.Policy("")
	for i := 0; i < len(pairs); i += 2 {
		if strings.Count(text, pairs[i]) != 1 {
			t.Fatalf("%q stands %d times in\n%s", pairs[i], strings.Count(text, pairs[i]), text)
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	p, err := attest.LoadPolicy("policy.toml", []byte(text))
	must(t, err)
	return p
}

const v1, v2 = "version = 1\n", "version = 2\n"

// roots makes the line of root keys.
func roots(need int, names ...string) string {
	var keys []string
	for _, n := range names {
		keys = append(keys, `"`+key64(n)+`"`)
	}
	return fmt.Sprintf("root = { need = %d, keys = [%s] }", need, strings.Join(keys, ", "))
}

var oneRoot = roots(1, "root")

func update(t *testing.T, old, next *attest.Policy) *attest.PolicyUpdate {
	t.Helper()
	u, err := attest.NewPolicyUpdate(old, next)
	must(t, err)
	return u
}

func TestPolicyUpdateIsTheNextVersion(t *testing.T) {
	for name, c := range map[string]struct {
		old, next *attest.Policy
		code      fault.Code
	}{
		"the next":        {edited(t), edited(t, v1, v2), ""},
		"the same text":   {edited(t), edited(t), fault.Rollback},
		"an older one":    {edited(t, v1, "version = 3\n"), edited(t, v1, v2), fault.Rollback},
		"the same number": {edited(t), edited(t, "need = 2, of", "need = 3, of"), fault.Rollback},
		"one left out":    {edited(t), edited(t, v1, "version = 3\n"), fault.PolicyInvalid},
		"fast-forward":    {edited(t), edited(t, v1, "version = 9007199254740991\n"), fault.PolicyInvalid},
		"another policy":  {edited(t), edited(t, v1, v2, `name = "demo"`, `name = "omed"`), fault.PolicyInvalid},
	} {
		if _, err := attest.NewPolicyUpdate(c.old, c.next); fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The statement is what index.md 7 says, so that another program can make one.
func TestPolicyUpdateStatement(t *testing.T) {
	next := edited(t, v1, v2)
	u := update(t, edited(t), next)
	var got struct {
		Type          string          `json:"_type"`
		PredicateType string          `json:"predicateType"`
		Predicate     json.RawMessage `json:"predicate"`
		Subject       []attest.Subject
	}
	must(t, json.Unmarshal(u.Payload(), &got))
	want := attest.Subject{Name: "policy:demo", Digest: attest.SubjectDigest{SHA256: next.Digest().Hex()}}
	if got.Type != attest.StatementType || got.PredicateType != "urn:rebuild:policy:1" || !slices.Equal(got.Subject, []attest.Subject{want}) {
		t.Errorf("%s", u.Payload())
	}
	if store.DigestOf(got.Predicate) != next.Digest() {
		t.Errorf("the predicate is not the image: %s", got.Predicate)
	}
}

func TestPolicyUpdateNeedsBothRoots(t *testing.T) {
	old, next := edited(t, oneRoot, roots(2, "root", "root2", "root3")), edited(t, v1, v2, oneRoot, roots(2, "root3", "root4", "root5"))
	for name, c := range map[string]struct {
		by   []string
		code fault.Code
	}{
		"enough of both":                       {[]string{"root", "root2", "root4", "root5"}, ""},
		"one key in both counts for each":      {[]string{"root", "root3", "root5"}, ""},
		"only the old":                         {[]string{"root", "root2", "root3"}, fault.SignatureInvalid},
		"only the new":                         {[]string{"root3", "root4", "root5"}, fault.SignatureInvalid},
		"one of the old":                       {[]string{"root", "root4", "root5"}, fault.SignatureInvalid},
		"the same key twice is one":            {[]string{"root", "root", "root4", "root5"}, fault.SignatureInvalid},
		"nobody known":                         {[]string{"stranger", "north", "r1"}, fault.KeyUnknown},
		"strangers do not harm":                {[]string{"root", "root2", "root4", "root5", "stranger"}, ""},
		"signers and operators do not count":   {[]string{"root", "r1", "north", "root4", "root5"}, fault.SignatureInvalid},
		"all together, in another order, once": {[]string{"root5", "root4", "root3", "root2", "root"}, ""},
	} {
		u := update(t, old, next)
		envelope, err := attest.Sign(u.Payload(), signersOf(c.by)...)
		must(t, err)
		accounts, err := u.Verify(envelope)
		if fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
		if c.code == "" && (len(accounts) != 2 || accounts[0].Version != 1 || accounts[1].Version != 2 || len(accounts[0].Signed) < 2) {
			t.Errorf("%s: %+v", name, accounts)
		}
	}
}

func signersOf(names []string) []attest.Signer {
	var out []attest.Signer
	for _, n := range names {
		out = append(out, attesttest.Key(n))
	}
	return out
}

// Several holders of root keys sign one after the other; nobody's signature is
// put under another text, and who has no say can not sign.
func TestPolicyUpdateSigning(t *testing.T) {
	old, next := edited(t, oneRoot, roots(2, "root", "root2")), edited(t, v1, v2, oneRoot, roots(2, "root", "root2"), "need = 2, of", "need = 3, of")
	u := update(t, old, next)
	one, err := u.Sign(nil, attesttest.Key("root"))
	must(t, err)
	_, err = u.Verify(one)
	code(t, err, fault.SignatureInvalid)
	both, err := u.Sign(one, attesttest.Key("root2"))
	must(t, err)
	_, err = u.Verify(both)
	must(t, err)
	again, err := u.Sign(both, attesttest.Key("root"))
	must(t, err)
	if !bytes.Equal(again, both) {
		t.Error("signing twice changes something")
	}
	for _, name := range []string{"stranger", "r1", "north", "index"} {
		_, err = u.Sign(nil, attesttest.Key(name))
		code(t, err, fault.KeyUnknown)
	}
	_, err = u.Sign(nil)
	code(t, err, fault.Semantic)
	weaker := update(t, old, edited(t, v1, v2, oneRoot, roots(2, "root", "root2"), "need = 2, of", "need = 1, of"))
	_, err = weaker.Sign(both, attesttest.Key("root"))
	code(t, err, fault.EvidenceMismatch)
	_, err = weaker.Verify(both)
	code(t, err, fault.EvidenceMismatch)
}

// What root keys have signed is this text and nothing else, of this kind.
func TestPolicyUpdateForgeries(t *testing.T) {
	next := edited(t, v1, v2)
	u := update(t, edited(t), next)
	sign := func(payload []byte) []byte {
		out, err := attest.Sign(payload, attesttest.Key("root"))
		must(t, err)
		return out
	}
	payload := string(u.Payload())
	for name, c := range map[string]struct {
		envelope []byte
		code     fault.Code
	}{
		"another predicate type":    {sign([]byte(strings.Replace(payload, "urn:rebuild:policy:1", "urn:rebuild:release:1", 1))), fault.Structure},
		"another subject":           {sign([]byte(strings.Replace(payload, "policy:demo", "policy:omed", 1))), fault.Semantic},
		"another digest":            {sign([]byte(strings.Replace(payload, next.Digest().Hex(), edited(t).Digest().Hex(), 1))), fault.Semantic},
		"another value":             {sign([]byte(strings.Replace(payload, `"need":2,"of"`, `"need":1,"of"`, 1))), fault.EvidenceMismatch},
		"not canonical":             {sign([]byte(strings.Replace(payload, `{"_type"`, `{ "_type"`, 1))), fault.Parse},
		"a key twice":               {sign([]byte(strings.Replace(payload, `"version":2`, `"version":2,"version":2`, 1))), fault.Parse},
		"a later document":          {sign([]byte(strings.Replace(payload, "rebuild.policy@1.0.0", "rebuild.policy@2.0.0", 1))), fault.SchemaUnsupported},
		"the text instead of image": {sign([]byte(attesttest.Policy(""))), fault.Parse},
		"no envelope":               {u.Payload(), fault.Structure},
		"a bad signature under a known key": {[]byte(strings.Replace(string(sign([]byte(payload))), base64.StdEncoding.EncodeToString([]byte(payload)),
			base64.StdEncoding.EncodeToString([]byte(strings.Replace(payload, `"need":2,"of"`, `"need":1,"of"`, 1))), 1)), fault.SignatureInvalid},
	} {
		if _, err := u.Verify(c.envelope); fault.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := u.Sign(c.envelope, attesttest.Key("root")); err == nil {
			t.Errorf("%s: is signed on", name)
		}
	}
}

// A person reads the change and decides. What makes things easier to pass must
// stand out, and nothing may change without a line.
func TestPolicyUpdateSaysWhatChanges(t *testing.T) {
	fp := func(name string) string { return attesttest.Key(name).Public().Fingerprint() }
	eastKeys := `keys = [{ key = "` + key64("east") + `" }]`
	window := func(more string) string { return `keys = [{ key = "` + key64("east") + `"` + more + ` }]` }
	before := func(line string) []string {
		return []string{`quorum = "main"` + "\n", `quorum = "main"` + "\n" + line + "\n"}
	}
	eastTwo := `keys = [{ key = "` + key64("east") + `" }, { key = "` + key64("south") + `" }]`
	tenth := []string{"[operators.west]", "[operators.west]\nlabels = { not_after = \"x\" }"}
	south := "[operators.south]\nkeys = [{ key = \"" + key64("south") + "\" }]\n[operators.west]"
	for name, c := range map[string]struct {
		old, next []string
		want      []string // lines; those that loosen begin with !
	}{
		"need lowered": {nil, []string{"need = 2, of", "need = 1, of"}, []string{"!groups.main.need: 2 becomes 1", "!quorum: east is enough, and was not before"}},
		"need raised":  {nil, []string{"need = 2, of", "need = 3, of"}, []string{"groups.main.need: 2 becomes 3"}},
		"an operator more": {nil, []string{`"west"] }`, `"south", "west"] }`, "[operators.west]", south},
			[]string{"!groups.main.of: south is added", "!operators.south.keys: " + fp("south") + " is added", "!quorum: east + south is enough, and was not before"}},
		"an operator less": {nil, []string{`"north", "west"] }`, `"north"] }`, "[operators.west]\nkeys = [{ key = \"" + key64("west") + "\" }]\n", ""},
			[]string{"!groups.main.of: west is removed", "!operators.west.keys: " + fp("west") + " is removed"}},
		"an operator without a voice": {nil, []string{`"north", "west"] }`, `"north"] }`}, []string{"!groups.main.of: west is removed"}},
		"a key less":                  {[]string{eastKeys, eastTwo}, nil, []string{"!operators.east.keys: " + fp("south") + " is removed"}},
		"an operator less whose dissent was reported": {before(`dissent.on = "report"`), append(before(`dissent.on = "report"`), `"north", "west"] }`, `"north"] }`),
			[]string{"groups.main.of: west is removed"}},
		"a label of a strange name": {append(before("diversity.not_after = 3"), tenth...), append(before("diversity.not_after = 2"), tenth...), []string{"!diversity.not_after: 3 becomes 2"}},
		"dissent":                   {nil, before(`dissent = { on = "report" }`), []string{"!dissent.on = report is added"}},
		"dissent blocks":            {before(`dissent.on = "report"`), before(`dissent.on = "block"`), []string{"dissent.on: report becomes block"}},
		"failures report":           {before(`dissent.build_failed = "block"`), nil, []string{"!dissent.build_failed = block is removed"}},
		"waivers":                   {before("dissent.waiver_need = 2"), nil, []string{"dissent.waiver_need = 2 is removed"}},
		"waivers and signers":       {nil, []string{"signers = { need = 2", "signers = { need = 1"}, []string{"!signers.need: 2 becomes 1"}},
		"require dropped": {before("require = { deterministic = true, max_seed_bytes = 288 }"), before("require = { deterministic = false }"),
			[]string{"!require.deterministic: true becomes false", "!require.max_seed_bytes = 288 is removed"}},
		"require added":  {nil, before("require = { fresh = true }"), []string{"require.fresh = true is added"}},
		"more seeds":     {before("require.max_seed_bytes = 288"), before("require.max_seed_bytes = 1000"), []string{"!require.max_seed_bytes: 288 becomes 1000"}},
		"diversity":      {before("diversity.kernel = 3"), before("diversity.kernel = 2"), []string{"!diversity.kernel: 3 becomes 2", "!quorum: east + north is enough, and was not before"}},
		"diversity gone": {before("diversity.kernel = 2"), nil, []string{"!diversity.kernel = 2 is removed"}},
		"root":           {nil, []string{oneRoot, roots(1, "root2")}, []string{"!root.keys: " + fp("root2") + " is added", "root.keys: " + fp("root") + " is removed"}},
		"expires later":  {nil, []string{"2027-06-30", "2028-06-30"}, []string{"!expires: 2027-06-30T00:00:00Z becomes 2028-06-30T00:00:00Z"}},
		"expires never":  {nil, []string{"expires = \"2027-06-30T00:00:00Z\"\n", ""}, []string{"!expires = 2027-06-30T00:00:00Z is removed"}},
		"a key ends": {nil, []string{eastKeys, window(`, not_after = "2027-01-01T00:00:00Z"`)},
			[]string{"operators.east.keys[" + fp("east") + "].not_after = 2027-01-01T00:00:00Z is added"}},
		"a key lives on": {[]string{eastKeys, window(`, not_after = "2027-01-01T00:00:00Z"`)}, []string{eastKeys, window(`, not_after = "2028-01-01T00:00:00Z"`)},
			[]string{"!operators.east.keys[" + fp("east") + "].not_after: 2027-01-01T00:00:00Z becomes 2028-01-01T00:00:00Z"}},
		"a key comes back": {[]string{eastKeys, window(`, revoked_from = 7`)}, nil, []string{"!operators.east.keys[" + fp("east") + "].revoked_from = 7 is removed"}},
		"a key begins earlier": {[]string{eastKeys, window(`, not_before = "2026-01-01T00:00:00Z"`)}, []string{eastKeys, window(`, not_before = "2025-01-01T00:00:00Z"`)},
			[]string{"!operators.east.keys[" + fp("east") + "].not_before: 2026-01-01T00:00:00Z becomes 2025-01-01T00:00:00Z"}},
		"a name": {nil, []string{`name = "r1"`, `name = "r9"`}, []string{"signers.keys[" + fp("r1") + "].name: r1 becomes r9"}},
		"keys change places": {nil, []string{`{ name = "r1", key = "` + key64("r1") + `" }, { name = "r2", key = "` + key64("r2") + `" }`,
			`{ name = "r2", key = "` + key64("r2") + `" }, { name = "r1", key = "` + key64("r1") + `" }`}, nil},
	} {
		u := update(t, edited(t, c.old...), edited(t, append([]string{v1, v2}, c.next...)...))
		var got []string
		for _, change := range u.Changes() {
			line := change.Text
			if change.Loosens {
				line = "!" + line
			}
			got = append(got, line)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

// Trust in a log is loosened in more ways than by a number.
func TestPolicyUpdateSaysWhatChangesAboutTheLog(t *testing.T) {
	log, other := noteKeyText("log.example"), noteKeyText("other")
	plain, next := edited(t), edited(t, v1, v2)
	eastKeys := `keys = [{ key = "` + key64("east") + `" }]`
	revoked := `keys = [{ key = "` + key64("east") + `", revoked_from = 7 }]`
	for name, c := range map[string]struct {
		old, next *attest.Policy
		want      []bool // what loosens, of all lines
	}{
		"a log more":                    {plain, next.WithLog("log.example", log, "", 0), []bool{false, false, false}},
		"a log more, and a revoked key": {edited(t, eastKeys, revoked), edited(t, v1, v2, eastKeys, revoked).WithLog("log.example", log, "", 0), []bool{true, false, false}},
		"no log":                        {plain.WithLog("log.example", log, "", 0), next, []bool{true, true, true}},
		"another key":                   {plain.WithLog("log.example", log, "", 0), next.WithLog("log.example", other, "", 0), []bool{true}},
		"older heads":                   {plain.WithLog("log.example", log, "", 0), next.WithLog("log.example", log, "25h", 0), []bool{true}},
		"newer heads":                   {plain.WithLog("log.example", log, "36h", 0), next.WithLog("log.example", log, "90m", 0), []bool{false}},
		"fewer witnesses":               {plain.WithLog("log.example", log, "", 2, "a", "b"), next.WithLog("log.example", log, "", 1, "a", "b"), []bool{true}},
		"a witness more":                {plain.WithLog("log.example", log, "", 1, "a"), next.WithLog("log.example", log, "", 1, "a", "b"), []bool{true}},
		"a witness less":                {plain.WithLog("log.example", log, "", 1, "a", "b"), next.WithLog("log.example", log, "", 1, "a"), []bool{false}},
	} {
		var got []bool
		for _, change := range update(t, c.old, c.next).Changes() {
			got = append(got, change.Loosens)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v %v", name, got, update(t, c.old, c.next).Changes())
		}
	}
}

var rotateFrom = time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)

// A rotation changes the version and one place; everything that people wrote
// around it stays.
func TestRotateKey(t *testing.T) {
	text := strings.Replace(attesttest.Policy(""), "[operators.north]\nkeys = [{", "# in the cellar\n[operators.north]\nkeys = [ # two of them, some day\n  {", 1)
	fresh := attesttest.Key("fresh").Public()
	for name, c := range map[string]struct {
		old     string
		overlap time.Duration
		pairs   []string
	}{
		"an operator, with overlap": {attesttest.Key("north").Public().Fingerprint(), 48 * time.Hour, []string{
			`  { key = "` + key64("north") + `" }]`,
			`  { key = "` + key64("north") + `", not_after = "2026-07-03T00:00:00Z" }, { key = "` + fresh.String() + `", not_before = "2026-07-01T00:00:00Z" }]`}},
		"a signer": {key64("r1"), 0, []string{`{ name = "r1", key = "` + key64("r1") + `" }`,
			`{ name = "r1", key = "` + key64("r1") + `", not_after = "2026-06-30T23:59:59Z" }, { name = "r1-2", key = "` + fresh.String() + `", not_before = "2026-07-01T00:00:00Z" }`}},
		"the index": {key64("index"), 0, []string{`{ key = "` + key64("index") + `" }`,
			`{ key = "` + key64("index") + `", not_after = "2026-06-30T23:59:59Z" }, { key = "` + fresh.String() + `", not_before = "2026-07-01T00:00:00Z" }`}},
		"root": {key64("root"), 0, []string{key64("root"), fresh.String()}},
	} {
		got, u, err := attest.RotateKey("policy.toml", []byte(text), attest.Rotation{Old: c.old, New: fresh, From: rotateFrom, Overlap: c.overlap})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := strings.NewReplacer(append([]string{v1, v2}, c.pairs...)...).Replace(text)
		if string(got) != want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
		if len(u.Changes()) == 0 {
			t.Errorf("%s: nothing changes", name)
		}
	}
}

// While a signer rotates there is no instant at which one person is two.
func TestRotatedSignerIsOneSigner(t *testing.T) {
	text := []byte(attesttest.Policy(""))
	rotation := attest.Rotation{Old: key64("r1"), New: attesttest.Key("fresh").Public(), From: rotateFrom}
	got, _, err := attest.RotateKey("policy.toml", text, rotation)
	must(t, err)
	p, err := attest.LoadPolicy("policy.toml", got)
	must(t, err)
	for at := rotateFrom.Add(-3 * time.Second); at.Before(rotateFrom.Add(3 * time.Second)); at = at.Add(250 * time.Millisecond) {
		counting := 0
		for _, k := range p.Keys(at) {
			if k.Counts && (k.Key == key64("r1") || k.Key == key64("fresh")) {
				counting++
			}
		}
		whole := at.Equal(at.Truncate(time.Second))
		if counting > 1 || whole && counting != 1 {
			t.Errorf("%d keys of one signer count at %s", counting, at)
		}
	}
	rotation.Overlap = time.Second
	_, _, err = attest.RotateKey("policy.toml", text, rotation)
	code(t, err, fault.Usage)
	twice, _, err := attest.RotateKey("policy.toml", got, attest.Rotation{Old: key64("fresh"), New: attesttest.Key("later").Public(), From: rotateFrom.Add(time.Hour)})
	must(t, err)
	if !strings.Contains(string(twice), `name = "r1-3"`) {
		t.Errorf("%s", twice)
	}
}

func TestRotateKeyRefuses(t *testing.T) {
	fresh := attesttest.Key("fresh").Public()
	north := `"` + key64("north") + `"`
	with := func(more string) string { return strings.Replace(attesttest.Policy(""), north, north+more, 1) }
	rotate := func(text, old string, key attest.PublicKey) ([]byte, error) {
		got, _, err := attest.RotateKey("policy.toml", []byte(text), attest.Rotation{Old: old, New: key, From: rotateFrom})
		return got, err
	}
	_, err := rotate(attesttest.Policy(""), key64("stranger"), fresh)
	code(t, err, fault.KeyUnknown)
	_, err = rotate(attesttest.Policy(""), key64("north"), attesttest.Key("east").Public())
	code(t, err, fault.PolicyInvalid)
	_, err = rotate(with(`, not_before = "2026-08-01T00:00:00Z"`), key64("north"), fresh)
	code(t, err, fault.Usage)
	_, err = rotate(strings.Replace(attesttest.Policy(""), "need = 2, of", "need = 9, of", 1), key64("north"), fresh)
	code(t, err, fault.PolicyInvalid)
	// An end that was set before is not moved.
	got, err := rotate(with(`, not_after = "2026-06-01T00:00:00Z"`), key64("north"), fresh)
	must(t, err)
	if !strings.Contains(string(got), north+`, not_after = "2026-06-01T00:00:00Z" }`) {
		t.Errorf("%s", got)
	}
	got, err = rotate(with(`, not_after = '2027-06-01T00:00:00Z'`), key64("north"), fresh)
	must(t, err)
	if !strings.Contains(string(got), north+`, not_after = "2026-06-30T23:59:59Z" }`) {
		t.Errorf("%s", got)
	}
}

func TestRevokeKey(t *testing.T) {
	revoke := func(text []byte, which string, from int64) ([]byte, error) {
		got, _, err := attest.RevokeKey("policy.toml", text, which, from)
		return got, err
	}
	text := []byte(attesttest.Policy("# the end\n"))
	got, err := revoke(text, attesttest.Key("north").Public().Fingerprint(), 900)
	must(t, err)
	north := `"` + key64("north") + `"`
	if want := strings.NewReplacer(v1, v2, north, north+", revoked_from = 900").Replace(string(text)); string(got) != want {
		t.Errorf("%s", got)
	}
	w := attesttest.New(t)
	p, err := attest.LoadPolicy("policy.toml", got)
	must(t, err)
	v, err := attest.Judge(p, w.Plan, [][]byte{w.Statement("north", nil), w.Statement("east", nil)}, nil, nil, attesttest.Now)
	must(t, err)
	if v.State() != attest.StatePending {
		t.Error("a revoked key counts without a log")
	}
	earlier, err := revoke(got, key64("north"), 7)
	must(t, err)
	if !strings.Contains(string(earlier), "revoked_from = 7 }") {
		t.Errorf("%s", earlier)
	}
	for _, c := range []struct {
		text []byte
		key  string
		from int64
		code fault.Code
	}{
		{got, "north", 900, fault.Usage}, {got, "north", 901, fault.Usage}, {text, "north", -1, fault.Usage},
		{text, "root", 0, fault.Usage}, {text, "stranger", 0, fault.KeyUnknown},
	} {
		if _, err := revoke(c.text, key64(c.key), c.from); fault.CodeOf(err) != c.code {
			t.Errorf("%s from %d: %v", c.key, c.from, err)
		}
	}
}
