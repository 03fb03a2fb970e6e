package attest_test

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/fault"
	"rebuild/store"
)

func loggedWorld(t testing.TB) *attesttest.World {
	t.Helper()
	return attesttest.New(t).Logged()
}

// verified judges a bundle as it would be read from a file.
func verified(w *attesttest.World, b *attest.Bundle) (*attest.Account, error) {
	return attest.Verify(w.LoadPolicy(), b, attest.Expect{}, attesttest.Now)
}

// dissent is a statement that contradicts the honest ones.
func dissent(w *attesttest.World, operator string) []byte {
	other := w.Stage("hello", []store.File{{Path: "bin/hello", Mode: 0o755, Data: []byte("another")}})
	return w.Statement(operator, func(r *attest.Result) { r.Stages[1], r.Nonce = other, strings.Repeat("d", 64) })
}

func digestOf(t testing.TB, envelope []byte) store.Digest {
	t.Helper()
	e, err := attest.ParseEnvelope("e", envelope)
	must(t, err)
	return e.Digest()
}

// logAll logs statements of the world's operators.
func logAll(w *attesttest.World, statements [][]byte, by ...string) {
	w.T.Helper()
	for i, s := range statements {
		w.LogStatement(s, by[i])
	}
}

// loggedRelease is an honest logged release.
func loggedRelease(w *attesttest.World) *attesttest.Released {
	w.T.Helper()
	statements := w.Statements()
	logAll(w, statements, "east", "north", "west")
	return w.Release(statements, nil, attesttest.PackageTOML, []string{"r1"}, []string{"r1", "r2"})
}

func TestVerifyLoggedRelease(t *testing.T) {
	t.Parallel()
	w := loggedWorld(t)
	r := loggedRelease(w)
	data, err := r.Bundle.Encode()
	must(t, err)
	b, err := attest.OpenBundle("hello.rbundle", data)
	must(t, err)
	a, err := verified(w, b)
	must(t, err)
	log := a.Builds[0].Log
	if a.Word != attest.Reproducible || log == nil || log.Origin != attesttest.Origin || log.Seq != 5 || log.Size != 6 || log.Witnesses != 1 || log.Cosigned != "2026-06-01T11:00:00Z" {
		t.Errorf("%+v %+v", a, log)
	}
	if text := strings.Join(a.Lines(), "\n"); !strings.Contains(text, "log example.org/log: chain through leaf 5 of 2026-06-01T09:05:00Z, checkpoint of size 6, cosigned by 1 witnesses") ||
		strings.Contains(text, "older than") {
		t.Error(text)
	}
	for _, s := range a.Builds[0].Statements {
		if s.Seq == nil {
			t.Errorf("%+v has no place in the log", s)
		}
	}
	signed, _, err := attest.VerifyRelease(w.LoadPolicy(), b, attesttest.Now)
	must(t, err)
	release := signed.Release()
	if build := release.Builds[0]; release.LogOrigin != attesttest.Origin || build.Seq == nil || *build.Seq != 4 || build.Events == "" {
		t.Errorf("%+v", release)
	}
}

// The checkpoint of a bundle grows old, which nobody offline can help.
func TestOldCheckpointIsANote(t *testing.T) {
	t.Parallel()
	w := loggedWorld(t)
	r := loggedRelease(w)
	for now, want := range map[time.Time]bool{
		attesttest.Cosigned.Add(24 * time.Hour): false, attesttest.Cosigned.Add(24*time.Hour + time.Second): true,
	} {
		a, err := attest.Verify(w.LoadPolicy(), r.Bundle, attest.Expect{}, now)
		must(t, err)
		if got := strings.Contains(strings.Join(a.Notes, "\n"), "older than 24h"); got != want {
			t.Errorf("%s: %v", now, a.Notes)
		}
	}
	alone := loggedWorld(t)
	alone.PolicyTOML = strings.Replace(attesttest.Policy(attesttest.LogPolicy(0)), "groups.main", "require = { logged = true }\ngroups.main", 1)
	r = loggedRelease(alone)
	r.Bundle.Builds[0].Proof = alone.Log.Proof(5, alone.Log.Checkpoint(time.Time{}))
	a, err := verified(alone, r.Bundle)
	must(t, err)
	if !strings.Contains(strings.Join(a.Notes, "\n"), "nobody has dated the checkpoint") || a.Builds[0].Log.Cosigned != "" {
		t.Errorf("%v", a.Notes)
	}
}

// What an attacker may do to the history of a plan, each with its code. Every
// way to leave a statement out is among them.
func TestTamperedHistoryIsRefused(t *testing.T) {
	t.Parallel()
	lines := func(b *attest.Bundle) [][]byte { return bytes.SplitAfter(b.Builds[0].Events, []byte("\n")) }
	set := func(b *attest.Bundle, all [][]byte) { b.Builds[0].Events = bytes.Join(all, nil) }
	for name, c := range map[string]struct {
		spoil func(w *attesttest.World, b *attest.Bundle)
		want  fault.Code
	}{
		"a leaf is left out":         {func(_ *attesttest.World, b *attest.Bundle) { set(b, slices.Delete(lines(b), 2, 3)) }, fault.EvidenceMismatch},
		"the first leaf is left out": {func(_ *attesttest.World, b *attest.Bundle) { set(b, lines(b)[1:]) }, fault.EvidenceMismatch},
		"the last leaf is left out": {func(_ *attesttest.World, b *attest.Bundle) {
			all := lines(b)
			set(b, all[:len(all)-2])
		}, fault.EvidenceMismatch},
		"a leaf and its file are left out": {func(_ *attesttest.World, b *attest.Bundle) {
			set(b, slices.Delete(lines(b), 3, 4))
			b.Builds[0].Statements = b.Builds[0].Statements[1:]
		}, fault.EvidenceMismatch},
		"a file is left out": {func(_ *attesttest.World, b *attest.Bundle) { b.Builds[0].Statements = b.Builds[0].Statements[1:] }, fault.EvidenceMismatch},
		"leaves are swapped": {func(_ *attesttest.World, b *attest.Bundle) {
			all := lines(b)
			all[2], all[3] = all[3], all[2]
			set(b, all)
		}, fault.EvidenceMismatch},
		"a leaf stands twice": {func(_ *attesttest.World, b *attest.Bundle) {
			all := lines(b)
			set(b, slices.Insert(all, 2, all[1]))
		}, fault.EvidenceMismatch},
		"a leaf is changed": {func(_ *attesttest.World, b *attest.Bundle) {
			b.Builds[0].Events = bytes.Replace(b.Builds[0].Events, []byte(`"seq":3`), []byte(`"seq":9`), 1)
		}, fault.EvidenceMismatch},
		"the last leaf is changed": {func(_ *attesttest.World, b *attest.Bundle) {
			b.Builds[0].Events = bytes.Replace(b.Builds[0].Events, []byte(`"seq":5`), []byte(`"seq":6`), 1)
		}, fault.EvidenceMismatch},
		"no line feed at the end": {func(_ *attesttest.World, b *attest.Bundle) {
			b.Builds[0].Events = bytes.TrimSuffix(b.Builds[0].Events, []byte("\n"))
		}, fault.Parse},
		"an empty line": {func(_ *attesttest.World, b *attest.Bundle) {
			b.Builds[0].Events = append(b.Builds[0].Events, '\n')
		}, fault.EvidenceMismatch},
		"no events":              {func(_ *attesttest.World, b *attest.Bundle) { b.Builds[0].Events = []byte{} }, fault.Parse},
		"no events, but a proof": {func(_ *attesttest.World, b *attest.Bundle) { b.Builds[0].Events = nil }, fault.EvidenceMismatch},
		"events, but no proof":   {func(_ *attesttest.World, b *attest.Bundle) { b.Builds[0].Proof = nil }, fault.EvidenceMismatch},
		"neither":                {func(_ *attesttest.World, b *attest.Bundle) { b.Builds[0].Events, b.Builds[0].Proof = nil, nil }, fault.EvidenceMismatch},
		"the proof of another leaf": {func(w *attesttest.World, b *attest.Bundle) {
			b.Builds[0].Proof = w.Log.Proof(4, w.Log.Checkpoint(attesttest.Cosigned, "w1"))
		}, fault.EvidenceMismatch},
		"the chain before the release": {func(w *attesttest.World, b *attest.Bundle) {
			all := lines(b)
			set(b, all[:len(all)-2])
			b.Builds[0].Proof = w.Log.Proof(4, w.Log.Checkpoint(attesttest.Cosigned, "w1"))
		}, fault.QuorumPending},
		"a leaf after the release": {func(w *attesttest.World, b *attest.Bundle) {
			late := w.Statement("west", func(r *attest.Result) { r.Nonce = strings.Repeat("1", 64) })
			w.LogStatement(late, "west")
			b.Builds[0] = w.Evidence(append(b.Builds[0].Statements, late))
		}, fault.EvidenceMismatch},
		"another release at the end": {func(w *attesttest.World, b *attest.Bundle) {
			w.Log.Append(attest.Event{Chain: w.Chain(), Type: attest.EventRelease, Object: store.DigestOf([]byte("another"))})
			b.Builds[0] = w.Evidence(b.Builds[0].Statements)
		}, fault.EvidenceMismatch},
		"a statement with a stranger's signature": {func(w *attesttest.World, b *attest.Bundle) {
			all := slices.Clone(b.Builds[0].Statements)
			e, err := attest.ParseEnvelope("e", all[0])
			must(w.T, err)
			signed, err := e.Verify([]attest.PublicKey{attesttest.Key("east").Public(), attesttest.Key("north").Public(), attesttest.Key("west").Public()})
			must(w.T, err)
			all[0] = w.Sign(signed.Payload(), "stranger")
			b.Builds[0].Statements = all
		}, fault.EvidenceMismatch},
		"a policy with another log": {func(w *attesttest.World, _ *attest.Bundle) {
			w.PolicyTOML = strings.Replace(w.PolicyTOML, attesttest.VerifierKey(attesttest.Origin, "log", 1), attesttest.VerifierKey(attesttest.Origin, "other log", 1), 1)
		}, fault.KeyUnknown},
		"a policy with a log of another name": {func(w *attesttest.World, _ *attest.Bundle) {
			w.PolicyTOML = strings.ReplaceAll(strings.Replace(w.PolicyTOML, attesttest.VerifierKey(attesttest.Origin, "log", 1),
				attesttest.VerifierKey("example.org/other", "log", 1), 1), `origin = "example.org/log"`, `origin = "example.org/other"`)
		}, fault.EvidenceMismatch},
		"a policy without a log": {func(w *attesttest.World, _ *attest.Bundle) { w.PolicyTOML = attesttest.Policy("") }, fault.EvidenceMismatch},
		"a policy that wants more witnesses": {func(w *attesttest.World, _ *attest.Bundle) {
			w.PolicyTOML = strings.Replace(w.PolicyTOML, "need = 1\n", "need = 2\n", 1)
		}, fault.Unwitnessed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := loggedWorld(t)
			r := loggedRelease(w)
			c.spoil(w, r.Bundle)
			_, err := verified(w, r.Bundle)
			code(t, err, c.want)
		})
	}
}

// What an honest writer never appends is refused, though its proof holds.
func TestChainOfADishonestWriterIsRefused(t *testing.T) {
	t.Parallel()
	statement := store.DigestOf([]byte("a statement"))
	by := attesttest.Key("east").Public().ID()
	said := func(w *attesttest.World) attest.Event {
		return attest.Event{Chain: w.Chain(), Type: attest.EventStatement, Object: statement, By: by}
	}
	for name, c := range map[string]struct {
		write func(w *attesttest.World)
		want  fault.Code
	}{
		"another prev": {func(w *attesttest.World) {
			e := said(w)
			e.Prev = store.DigestOf([]byte("x"))
			w.Log.Append(e)
		}, fault.EvidenceMismatch},
		"one object twice": {func(w *attesttest.World) { w.Log.Append(said(w)); w.Log.Append(said(w)) }, fault.EvidenceMismatch},
		"the plan twice": {func(w *attesttest.World) {
			w.Log.Append(attest.Event{Chain: w.Chain(), Type: attest.EventPlan, Object: store.Digest(w.Chain())})
		}, fault.EvidenceMismatch},
		"closed twice": {func(w *attesttest.World) {
			w.Log.Append(attest.Event{Chain: w.Chain(), Type: attest.EventClose})
			w.Log.Append(attest.Event{Chain: w.Chain(), Type: attest.EventClose})
		}, fault.EvidenceMismatch},
		"dated before the leaf before": {func(w *attesttest.World) {
			e := said(w)
			e.At = "2026-06-01T08:00:00Z"
			w.Log.Append(e)
		}, fault.EvidenceMismatch},
		"dated past its checkpoint": {func(w *attesttest.World) {
			e := said(w)
			e.At = "2026-06-01T11:05:01Z"
			w.Log.Append(e)
		}, fault.Stale},
		"no plan first": {func(w *attesttest.World) {
			delete(w.Log.Chains, w.Chain())
			w.Log.Append(said(w))
		}, fault.EvidenceMismatch},
		"the chain of another plan": {func(w *attesttest.World) {
			delete(w.Log.Chains, w.Chain())
			other := store.DigestOf([]byte("another plan"))
			e := w.Log.Append(attest.Event{Chain: string(other), Type: attest.EventPlan, Object: other})
			w.Log.Chains[w.Chain()] = w.Log.Leaves[e.Seq:]
		}, fault.EvidenceMismatch},
		"another seq than its place": {func(w *attesttest.World) {
			leaf, err := attest.Event{Seq: 7, Chain: w.Chain(), Prev: store.DigestOf(w.Log.Leaves[1]), Type: attest.EventStatement, Object: statement, By: by,
				At: "2026-06-01T10:00:00Z", View: statement}.Encode()
			must(w.T, err)
			w.Log.AppendLeaf(w.Chain(), leaf)
		}, fault.EvidenceMismatch},
		"seq going back": {func(w *attesttest.World) {
			leaf, err := attest.Event{Seq: 1, Chain: w.Chain(), Prev: store.DigestOf(w.Log.Leaves[1]), Type: attest.EventStatement, Object: statement, By: by,
				At: "2026-06-01T10:00:00Z", View: statement}.Encode()
			must(w.T, err)
			w.Log.AppendLeaf(w.Chain(), leaf)
			w.Log.Append(attest.Event{Chain: w.Chain(), Type: attest.EventClose})
		}, fault.EvidenceMismatch},
		"no event": {func(w *attesttest.World) { w.Log.AppendLeaf(w.Chain(), []byte("junk")) }, fault.Parse},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := loggedWorld(t)
			c.write(w)
			last := int64(len(w.Log.Leaves) - 1)
			_, err := attest.OpenChain(w.LoadPolicy(), w.Plan.Digest(), w.Log.Events(w.Chain()), w.Log.Proof(last, w.Log.Checkpoint(attesttest.Cosigned, "w1")))
			code(t, err, c.want)
		})
	}
	// Five minutes are the tolerance, and what is dated then is not refused.
	w := loggedWorld(t)
	e := said(w)
	e.At = "2026-06-01T11:05:00Z"
	w.Log.Append(e)
	_, err := attest.OpenChain(w.LoadPolicy(), w.Plan.Digest(), w.Log.Events(w.Chain()), w.Log.Proof(2, w.Log.Checkpoint(attesttest.Cosigned, "w1")))
	must(t, err)
}

// One spelling of one event, and of each only what its type has.
func TestEvents(t *testing.T) {
	t.Parallel()
	plan := store.DigestOf([]byte("plan"))
	at, view := "2026-06-01T10:00:00Z", store.DigestOf([]byte("view"))
	by := attesttest.Key("east").Public().ID()
	sig := base64.StdEncoding.EncodeToString(make([]byte, 64))
	for name, e := range map[string]attest.Event{
		"plan":      {Chain: string(plan), Type: "plan", Object: plan},
		"statement": {Chain: string(plan), Type: "statement", Object: view, By: by},
		"commit":    {Chain: string(plan), Type: "commit", Object: view, By: by, Sig: sig},
		"close":     {Chain: string(plan), Type: "close"},
		"release":   {Chain: string(plan), Type: "release", Object: view},
		"released":  {Chain: "pkg:org/hello", Type: "release", Object: view},
		"entry":     {Chain: "pkg:hello", Type: "entry", Object: view},
		"backfill":  {Chain: "pkg:hello", Type: "backfill", Object: view},
		"yank":      {Chain: "pkg:hello", Type: "yank", Object: view},
		"policy":    {Chain: "policy:demo", Type: "policy", Object: view},
		"config":    {Chain: "index", Type: "config", Object: view},
	} {
		e.At, e.View = at, view
		_, err := e.Encode()
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, e := range map[string]attest.Event{
		"unknown type":              {Chain: string(plan), Type: "vote", Object: view},
		"no type":                   {Chain: string(plan), Object: view},
		"yank of a plan":            {Chain: string(plan), Type: "yank", Object: view},
		"statement about a package": {Chain: "pkg:hello", Type: "statement", Object: view, By: by},
		"plan of another plan":      {Chain: string(plan), Type: "plan", Object: view},
		"no chain":                  {Type: "plan", Object: plan},
		"chain of a path":           {Chain: "pkg:../hello", Type: "entry", Object: view},
		"chain of bare hex":         {Chain: plan.Hex(), Type: "close"},
		"negative seq":              {Seq: -1, Chain: string(plan), Type: "close"},
		"close of something":        {Chain: string(plan), Type: "close", Object: view},
		"statement of nothing":      {Chain: string(plan), Type: "statement", By: by},
		"statement of nobody":       {Chain: string(plan), Type: "statement", Object: view},
		"statement by a name":       {Chain: string(plan), Type: "statement", Object: view, By: "east"},
		"commit of nobody":          {Chain: string(plan), Type: "commit", Object: view, Sig: sig},
		"commit without sig":        {Chain: string(plan), Type: "commit", Object: view, By: by},
		"commit with a short sig":   {Chain: string(plan), Type: "commit", Object: view, By: by, Sig: sig[:84]},
		"statement with sig":        {Chain: string(plan), Type: "statement", Object: view, By: by, Sig: sig},
		"prev is no digest":         {Chain: string(plan), Type: "close", Prev: "x"},
		"object is no digest":       {Chain: string(plan), Type: "release", Object: "x"},
		"no view":                   {Chain: string(plan), Type: "close", View: "-"},
		"no date":                   {Chain: string(plan), Type: "close", At: "-"},
		"a date of another form":    {Chain: string(plan), Type: "close", At: "2026-06-01T10:00:00+00:00"},
	} {
		if e.At == "" {
			e.At = at
		}
		if e.View == "" {
			e.View = view
		}
		e.At, e.View = strings.TrimPrefix(e.At, "-"), store.Digest(strings.TrimPrefix(string(e.View), "-"))
		if _, err := e.Encode(); fault.CodeOf(err).Exit() != 31 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Checkpoints and proofs have one spelling, and count only what is signed.
func TestCheckpointsAndProofs(t *testing.T) {
	t.Parallel()
	w := loggedWorld(t)
	w.PolicyTOML = strings.Replace(w.PolicyTOML, "need = 1\n", "need = 2\n", 1)
	policy, plan, events := w.LoadPolicy(), w.Plan.Digest(), w.Log.Events(w.Chain())
	log := attesttest.NoteSigner{As: attesttest.Origin, Key: "log"}
	cosigned := func(as, key string, at time.Time) attesttest.NoteSigner {
		return attesttest.NoteSigner{As: as, Key: key, At: at}
	}
	w1, w2 := cosigned("w1.example", "w1", attesttest.Cosigned), cosigned("w2.example", "w2", attesttest.Cosigned)
	open := func(proof []byte) error {
		_, err := attest.OpenChain(policy, plan, events, proof)
		return err
	}
	signed := func(text string, by ...note.Signer) []byte { return w.Log.Proof(1, w.Log.Sign(text, by...)) }
	text := w.Log.Text()
	good := signed(text, log, w1, w2)
	must(t, open(good))
	swap := func(from, to string) []byte {
		if !bytes.Contains(good, []byte(from)) {
			t.Fatal(from)
		}
		return bytes.Replace(good, []byte(from), []byte(to), 1)
	}
	lines := strings.SplitAfter(string(good), "\n")
	other := attesttest.NewLog(t, attesttest.Origin)
	other.Append(attest.Event{Chain: "index", Type: attest.EventConfig, Object: plan})
	other.Append(attest.Event{Chain: w.Chain(), Type: attest.EventPlan, Object: plan, At: "2026-06-01T09:30:00Z"})
	strangers := make([]note.Signer, 98)
	for i := range strangers {
		strangers[i] = attesttest.NoteSigner{As: "stranger." + strings.Repeat("x", i), Key: "stranger"}
	}
	for name, c := range map[string]struct {
		proof []byte
		want  fault.Code
	}{
		"unknown keys beside":         {signed(text, append([]note.Signer{log, w1, w2}, strangers[:97]...)...), ""},
		"the log cosigns too":         {signed(text, log, w1, w2, cosigned(attesttest.Origin, "log", attesttest.Cosigned)), ""},
		"more than 100 signatures":    {signed(text, append([]note.Signer{log, w1, w2}, strangers...)...), fault.Parse},
		"larger than 64 KiB":          {signed(text, log, w1, w2, attesttest.NoteSigner{As: strings.Repeat("x", 64<<10), Key: "stranger"}), fault.Parse},
		"larger than a proof":         {append(slices.Clone(good), make([]byte, attest.MaxProof)...), fault.Parse},
		"empty":                       {[]byte{}, fault.EvidenceMismatch},
		"not signed by the log":       {signed(text, w1, w2), fault.KeyUnknown},
		"cosigned by the log alone":   {signed(text, cosigned(attesttest.Origin, "log", attesttest.Cosigned), w1, w2), fault.KeyUnknown},
		"signed by another log":       {signed(text, attesttest.NoteSigner{As: attesttest.Origin, Key: "other"}, w1, w2), fault.KeyUnknown},
		"signed under another name":   {signed(text, attesttest.NoteSigner{As: "example.org/logs", Key: "log"}, w1, w2), fault.KeyUnknown},
		"nobody known":                {signed(text, strangers[0]), fault.KeyUnknown},
		"one witness":                 {signed(text, log, w1), fault.Unwitnessed},
		"one witness under two names": {signed(text, log, w1, cosigned("w2.example", "w1", attesttest.Cosigned)), fault.Unwitnessed},
		"one witness twice":           {append(slices.Clone(signed(text, log, w1)), lines[len(lines)-3]...), fault.Structure},
		"one witness at two times":    {twoTimes(w, text, log, w1), fault.Structure},
		"log as a witness":            {signed(text, log, w1, cosigned(attesttest.Origin, "log", attesttest.Cosigned)), fault.Unwitnessed},
		"a witness without a time":    {signed(text, log, w1, attesttest.NoteSigner{As: "w2.example", Key: "w2"}), fault.Unwitnessed},
		"a witness of another text":   {swapSignature(w, text, log, w1, w2), fault.SignatureInvalid},
		"a witness in the year 10000": {signed(text, log, w1, cosigned("w2.example", "w2", time.Unix(253402300800, 0))), fault.SignatureInvalid},
		"another root":                {w.Log.Proof(1, w.Log.Sign(other.Text(), log, w1, w2)), fault.EvidenceMismatch},
		"a larger tree":               {signed(strings.Replace(text, "\n2\n", "\n3\n", 1), log, w1, w2), fault.EvidenceMismatch},
		"a tree without the leaf":     {signed(strings.Replace(text, "\n2\n", "\n1\n", 1), log, w1, w2), fault.EvidenceMismatch},
		"an empty tree":               {signed(strings.Replace(text, "\n2\n", "\n0\n", 1), log, w1, w2), fault.EvidenceMismatch},
		"another origin":              {signed(strings.Replace(text, "log\n", "logs\n", 1), log, w1, w2), fault.EvidenceMismatch},
		"an extension line":           {signed(text+"more\n", log, w1, w2), fault.Structure},
		"size with a leading zero":    {signed(strings.Replace(text, "\n2\n", "\n02\n", 1), log, w1, w2), fault.Structure},
		"negative size":               {signed(strings.Replace(text, "\n2\n", "\n-2\n", 1), log, w1, w2), fault.Structure},
		"size beyond 64 bits":         {signed(strings.Replace(text, "\n2\n", "\n99999999999999999999\n", 1), log, w1, w2), fault.Structure},
		"short root":                  {signed(attesttest.Origin+"\n2\nAAAA\n", log, w1, w2), fault.Structure},
		"text altered":                {swap("\n2\n", "\n3\n"), fault.SignatureInvalid},
		"index of another leaf":       {swap("index 1\n", "index 0\n"), fault.EvidenceMismatch},
		"index with a leading zero":   {swap("index 1\n", "index 01\n"), fault.Structure},
		"index with a sign":           {swap("index 1\n", "index +1\n"), fault.Structure},
		"no index":                    {swap("index 1\n", ""), fault.Structure},
		"extra data":                  {swap("index 1\n", "extra AAAA\nindex 1\n"), fault.Structure},
		"another header":              {swap("proof@v1", "proof@v2"), fault.Structure},
		"a hash too few":              {[]byte(strings.Join(append(slices.Clone(lines[:2]), lines[3:]...), "")), fault.EvidenceMismatch},
		"a hash too many":             {[]byte(strings.Join(slices.Insert(slices.Clone(lines), 2, lines[2]), "")), fault.EvidenceMismatch},
		"another hash":                {swap(lines[2], base64.StdEncoding.EncodeToString(make([]byte, 32))+"\n"), fault.EvidenceMismatch},
		"half a hash":                 {swap(lines[2], base64.StdEncoding.EncodeToString(make([]byte, 16))+"\n"), fault.Structure},
		"carriage returns":            {[]byte(strings.ReplaceAll(string(good), "\n", "\r\n")), fault.EvidenceMismatch},
		"no line feed at the end":     {bytes.TrimSuffix(good, []byte("\n")), fault.Parse},
		"an empty line at the end":    {append(slices.Clone(good), '\n'), fault.Parse},
		"more after the signatures":   {append(slices.Clone(good), "more\n"...), fault.Parse},
		"a proof of another log":      {other.Proof(1, other.Checkpoint(attesttest.Cosigned, "w1", "w2")), fault.EvidenceMismatch},
	} {
		t.Run(name, func(t *testing.T) { code(t, open(c.proof), c.want) })
	}
}

// twoTimes is a checkpoint that one witness cosigned twice.
func twoTimes(w *attesttest.World, text string, log, witness attesttest.NoteSigner) []byte {
	later := witness
	later.At = later.At.Add(time.Second)
	first := w.Log.Sign(text, log, witness)
	second := w.Log.Sign(text, later)
	return w.Log.Proof(1, append(first, second[len(text)+1:]...))
}

// swapSignature is a checkpoint with the first witness's signature under the
// second's name.
func swapSignature(w *attesttest.World, text string, log, w1, w2 attesttest.NoteSigner) []byte {
	other := w.Log.Sign(strings.Replace(text, "\n2\n", "\n1\n", 1), w2)
	return w.Log.Proof(1, append(w.Log.Sign(text, log, w1), other[len(text)+1:]...))
}

// Of a log that signed one history, nothing else is accepted: the chain from
// its first leaf to one of the others.
func FuzzChain(f *testing.F) {
	w := loggedWorld(f)
	logAll(w, w.Statements(), "east", "north", "west")
	honest, policy := w.Log.Events(w.Chain()), w.LoadPolicy()
	for seq := int64(1); seq < int64(len(w.Log.Leaves)); seq++ {
		f.Add(honest, w.Log.Proof(seq, w.Log.Checkpoint(attesttest.Cosigned, "w1")))
	}
	f.Add(bytes.Join(bytes.SplitAfter(honest, []byte("\n"))[:2], nil), w.Log.Proof(2, w.Log.Checkpoint(attesttest.Cosigned, "w2")))
	f.Fuzz(func(t *testing.T, events, proof []byte) {
		c, err := attest.OpenChain(policy, w.Plan.Digest(), events, proof)
		if err == nil && (!bytes.HasPrefix(honest, events) || c.Digest() != store.DigestOf(events)) {
			t.Fatalf("accepted %s", events)
		}
	})
}

// A chain can hold the leaf of every statement that a bundle has room for.
func TestEventsHaveRoomForAllStatements(t *testing.T) {
	w := loggedWorld(t)
	statement := w.Statement("north", nil)
	e := w.LogStatement(statement, "north")
	e.Seq = 1 << 40
	leaf, err := e.Encode()
	must(t, err)
	if n := attest.MaxBundle / (512 + len(statement)); n*(len(leaf)+1) > attest.MaxEventsBytes || n > attest.MaxEvents {
		t.Errorf("%d leaves of %d bytes, %d bytes are read", n, len(leaf), attest.MaxEventsBytes)
	}
}
