package hub

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/index"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// both runs a test over an index with a log and over one without.
func both(t *testing.T, f func(t *testing.T, logged bool)) {
	for name, logged := range map[string]bool{"logged": true, "unlogged": false} {
		t.Run(name, func(t *testing.T) { f(t, logged) })
	}
}

// What is posted is stored and given back byte for byte, by every way to it.
func TestB18_BytesComeBackAsTheyWerePosted(t *testing.T) {
	both(t, func(t *testing.T, logged bool) {
		s := newSite(t, logged)
		d := s.published()
		hex := d.digest().Hex()
		for path, want := range map[string][]byte{
			"/entries/hello/0.1.0":                                                          d.Release,
			"/index/statements/" + hex + ".dsse.json":                                       d.Release,
			"/entries/sha256:" + hex + "/snapshot":                                          d.archive,
			"/plans/" + string(s.Plan.Digest()):                                             s.PlanJSON,
			"/index/objects/sha256/" + s.Plan.Digest().Hex():                                s.PlanJSON,
			"/objects/" + string(store.DigestOf(d.Lock)):                                    d.Lock,
			"/objects/" + string(store.DigestOf(d.Objects[0])):                              d.Objects[0],
			"/index/objects/sha256/" + store.DigestOf(d.archive).Hex():                      d.archive,
			"/index/statements/" + payloadOf(s.Statement("east", nil)).Hex() + ".dsse.json": s.Statement("east", nil),
		} {
			got := s.ask("GET", path, nil)
			if got.StatusCode != http.StatusOK || !bytes.Equal(got.body, want) {
				t.Errorf("%s: %d, %d bytes of %d", path, got.StatusCode, len(got.body), len(want))
			}
			if etag := got.Header.Get("ETag"); etag != `"`+store.DigestOf(want).Hex()+`"` {
				t.Errorf("%s: ETag %s", path, etag)
			}
		}
		bundle := s.ask("GET", "/plans/"+string(s.Plan.Digest())+"/bundle", nil)
		if bundle.StatusCode != http.StatusOK {
			t.Fatalf("%d %s", bundle.StatusCode, bundle.body)
		}
		b, err := attest.OpenBundle("bundle", bundle.body)
		must(t, err)
		if !bytes.Equal(b.Release, d.Release) {
			t.Error("the bundle has another release")
		}
		_, err = attest.Verify(s.LoadPolicy(), b, attest.Expect{Name: "hello", Version: "0.1.0", Archives: [][]byte{d.archive}}, s.clock())
		must(t, err)
	})
}

func TestB19_AnswerToARelease(t *testing.T) {
	both(t, func(t *testing.T, logged bool) {
		s := newSite(t, logged)
		s.vote("east", "north", "west")
		d := s.propose()
		for _, data := range [][]byte{d.archive, d.Lock, d.Objects[0]} {
			_, err := s.client.PutObject(t.Context(), data)
			must(t, err)
		}
		fresh := s.ask("POST", "/entries", d.Release)
		p := answerOf[Published](t, fresh, http.StatusCreated)
		if !p.OK || p.Duplicate || p.Name != "hello" || p.Version != "0.1.0" || p.Release != d.digest() || p.PublishedAt != "2026-06-01T12:00:00Z" || (p.LogIndex != nil) != logged {
			t.Errorf("%+v", p)
		}
		again := answerOf[Published](t, s.ask("POST", "/entries", d.Release), http.StatusOK)
		if !again.Duplicate || again.Release != p.Release || logged && *again.LogIndex != *p.LogIndex {
			t.Errorf("%+v", again)
		}
		// Nothing that is in the index lies in the data folder too.
		held, err := os.ReadDir(filepath.Join(s.data, uploadDir))
		must(t, err)
		if len(held) != 0 {
			t.Errorf("%v are still there", held)
		}
	})
}

func TestReleasesThatAreRefused(t *testing.T) {
	both(t, func(t *testing.T, logged bool) {
		s := newSite(t, logged)
		s.vote("east", "north")
		d := s.propose()
		post := func(body []byte) answered { return s.ask("POST", "/entries", body) }

		s.refused(post([]byte(`{"payload": "x"}`)), 400, fault.Parse)
		s.refused(post(append(bytes.Clone(d.Release), '\n')), 400, fault.Parse)
		s.refused(post(bytes.Replace(d.Release, []byte(`,"signatures"`), []byte(`, "signatures"`), 1)), 400, fault.Parse)
		s.refused(post(bytes.Repeat([]byte("x"), attest.MaxEnvelope+1)), 413, fault.Parse)
		payload := s.Sign([]byte(`{"_type":"x"}`), "r1", "r2")
		s.refused(post(payload), 400, fault.Structure)
		one := s.ask("POST", "/entries", s.resigned(d.Release, "r1"))
		s.refused(one, 400, fault.SignatureInvalid)
		s.refused(post(s.resigned(d.Release, "mallory")), 403, fault.KeyUnknown)
		spoilt := s.spoilt(d.Release)
		s.refused(post(spoilt), 400, fault.SignatureInvalid)

		missing := post(d.Release)
		s.refused(missing, 422, fault.FileMissing)
		if !bytes.Contains(missing.body, []byte(store.DigestOf(d.archive))) || !bytes.Contains(missing.body, []byte(store.DigestOf(d.Lock))) {
			t.Errorf("not all that is missing is named: %s", missing.body)
		}
		_, err := s.client.Publish(t.Context(), d.Bundle, d.archive, nil)
		must(t, err)

		taken := s.propose("says hi", "says ho")
		for _, data := range [][]byte{taken.archive, taken.Lock, taken.Objects[0]} {
			_, err := s.client.PutObject(t.Context(), data)
			must(t, err)
		}
		s.refused(post(taken.Release), 409, fault.AlreadyPublished)
	})
}

// A release whose quorum was met when it was signed is blocked by a dissent
// that came in since.
func TestDissentBlocksAtTheHub(t *testing.T) {
	both(t, func(t *testing.T, logged bool) {
		s := newSite(t, logged)
		s.vote("east", "north")
		d := s.propose()
		_, err := s.client.AddStatement(t.Context(), s.Statement("west", s.differently))
		must(t, err)
		_, err = s.client.Publish(t.Context(), d.Bundle, d.archive, nil)
		code(t, err, fault.Dissent)
		s.refused(s.ask("POST", "/entries", d.Release), 422, fault.Dissent)
		v := answerOf[Verdict](t, s.ask("GET", "/plans/"+string(s.Plan.Digest())+"/verdict", nil), 200)
		if v.State != attest.StateDissent || len(v.Contradictions) == 0 || v.Plan != s.Plan.Digest() {
			t.Errorf("%+v", v)
		}
	})
}

// differently makes a result that contradicts the honest ones.
func (s *site) differently(r *attest.Result) {
	r.Stages[1] = s.Stage("hello", []store.File{{Path: "bin", Type: store.Dir, Mode: 0o755}})
}

// resigned is an envelope's payload with the signatures of other names.
func (s *site) resigned(envelope []byte, names ...string) []byte {
	s.T.Helper()
	return s.Sign(payloadBytes(s.T, envelope), names...)
}

func payloadBytes(t testing.TB, envelope []byte) []byte {
	t.Helper()
	e, err := attest.ParseEnvelope("envelope", envelope)
	must(t, err)
	var keys []attest.PublicKey
	for _, name := range []string{"r1", "r2", "east", "north", "west"} {
		keys = append(keys, attesttest.Key(name).Public())
	}
	signed, err := e.Verify(keys)
	must(t, err)
	return signed.Payload()
}

// spoilt exchanges the first bytes of a signature.
func (s *site) spoilt(envelope []byte) []byte {
	at := bytes.LastIndex(envelope, []byte(`"sig":"`)) + len(`"sig":"`)
	out := bytes.Clone(envelope)
	copy(out[at:], "AAAA")
	return out
}

func TestG26_StatementsOfOperatorsAlone(t *testing.T) {
	both(t, func(t *testing.T, logged bool) {
		s := newSite(t, logged)
		good := s.Statement("north", nil)
		s.refused(s.ask("POST", "/statements", good), 404, fault.FileMissing) // the plan is not there
		s.vote()
		fresh := answerOf[Written](t, s.ask("POST", "/statements", good), 201)
		again := answerOf[Written](t, s.ask("POST", "/statements", good), 200)
		if fresh.Duplicate || !again.Duplicate || (fresh.Seq != nil) != logged || logged && *fresh.Seq != *again.Seq {
			t.Errorf("%+v %+v", fresh, again)
		}
		for name, c := range map[string]struct {
			body   []byte
			status int
			code   fault.Code
		}{
			"stranger":          {s.resigned(good, "mallory"), 403, fault.KeyUnknown},
			"release signer":    {s.resigned(good, "r1"), 403, fault.KeyUnknown},
			"other operator":    {s.resigned(good, "east"), 400, fault.Semantic},
			"spoilt signature":  {s.spoilt(good), 400, fault.SignatureInvalid},
			"not canonical":     {append(bytes.Clone(good), ' '), 400, fault.Parse},
			"not a statement":   {s.Sign([]byte("{}"), "north"), 400, fault.Structure},
			"too large":         {bytes.Repeat([]byte{'{'}, attest.MaxEnvelope+1), 413, fault.Parse},
			"result of nothing": {s.Sign([]byte(`{"_type":"https://in-toto.io/Statement/v1","predicate":{},"predicateType":"urn:rebuild:result:1","subject":[]}`), "north"), 400, fault.Structure},
		} {
			t.Run(name, func(t *testing.T) { s.refused(s.ask("POST", "/statements", c.body), c.status, c.code) })
		}
		if events := s.ask("GET", "/plans/"+string(s.Plan.Digest())+"/events", nil); logged {
			if n := bytes.Count(events.body, []byte("\n")); events.StatusCode != 200 || n != 2 {
				t.Errorf("%d, %d leaves: %s", events.StatusCode, n, events.body)
			}
		} else {
			s.refused(events, 404, fault.IndexNoMatch)
		}
	})
}

func TestRevokedAndExpiredKeysAreForbidden(t *testing.T) {
	both(t, func(t *testing.T, logged bool) {
		s := newSite(t, logged, func(s *site, o *Options, _ *Service) {
			for name, ends := range map[string]string{"west": "revoked_from = 0", "east": `not_after = "2026-05-01T00:00:00Z"`} {
				key := fmt.Sprintf("{ key = %q }", attesttest.Key(name).Public().String())
				s.PolicyTOML = strings.Replace(s.PolicyTOML, key, fmt.Sprintf("{ key = %q, %s }, { key = %q }",
					attesttest.Key(name).Public().String(), ends, attesttest.Key(name+"2").Public().String()), 1)
			}
			o.Policy = s.LoadPolicy()
		})
		for _, key := range []string{"east", "west"} {
			s.refused(s.signed(key, "POST", "/plans", s.PlanJSON), 403, fault.KeyExpired)
			s.refused(s.signed(key, "PUT", "/objects/"+string(store.DigestOf([]byte("x"))), []byte("x")), 403, fault.KeyExpired)
		}
		answerOf[Written](t, s.signed("north", "POST", "/plans", s.PlanJSON), 201)
		for _, key := range []string{"east", "west"} {
			s.refused(s.ask("POST", "/statements", s.Statement(key, nil)), 403, fault.KeyExpired)
		}
	})
}

// A provenance is judged beside its result, wherever that is.
func TestProvenances(t *testing.T) {
	both(t, func(t *testing.T, logged bool) {
		s := newSite(t, logged)
		s.vote()
		result := s.Statement("north", nil)
		payload, err := attest.NewProvenanceStatement(s.Plan, payloadBytes(t, result))
		must(t, err)
		provenance := s.Sign(payload, "north")
		s.refused(s.ask("POST", "/statements", provenance), 400, fault.EvidenceMismatch)
		answerOf[Written](t, s.ask("POST", "/statements", result), 201)
		answerOf[Written](t, s.ask("POST", "/statements", provenance), 201)
		answerOf[Written](t, s.ask("POST", "/statements", provenance), 200)
	})
}

func TestYanks(t *testing.T) {
	both(t, func(t *testing.T, logged bool) {
		s := newSite(t, logged)
		d := s.published()
		say := func(action string, after store.Digest, by ...string) []byte {
			payload, err := attest.NewYank(attest.Yank{Name: "hello", Version: "0.1.0", Action: action, Reason: "because",
				At: "2026-06-01T12:00:00Z", After: after}, store.DigestOf(d.archive).Hex())
			must(t, err)
			return s.Sign(payload, by...)
		}
		first := say(attest.ActionYank, "", "r1", "r2")
		s.refused(s.ask("POST", "/yanks", say(attest.ActionYank, "", "r1")), 400, fault.SignatureInvalid)
		s.refused(s.ask("POST", "/yanks", say(attest.ActionYank, "", "mallory")), 403, fault.KeyUnknown)
		s.refused(s.ask("POST", "/yanks", s.spoilt(first)), 400, fault.SignatureInvalid)
		s.refused(s.ask("POST", "/yanks", bytes.Repeat([]byte("x"), maxYank+1)), 413, fault.Parse)
		got := answerOf[Written](t, s.ask("POST", "/yanks", first), 201)
		again := answerOf[Written](t, s.ask("POST", "/yanks", first), 200)
		if got.Duplicate || !again.Duplicate || (got.Seq != nil) != logged || logged && *got.Seq != *again.Seq {
			t.Errorf("%+v %+v", got, again)
		}
		answerOf[Written](t, s.ask("POST", "/yanks", say(attest.ActionUnyank, payloadOf(first), "r1", "r2")), 201)
		s.refused(s.ask("POST", "/yanks", first), 409, fault.Unyanked) // played again
		s.refused(s.ask("POST", "/yanks", say(attest.ActionYank, payloadOf(first), "r1", "r2")), 409, fault.Unyanked)

		list := answerOf[Listing](t, s.ask("GET", "/entries/hello", nil), 200)
		if len(list.Entries) != 1 || list.Entries[0].Yanked {
			t.Errorf("%s", s.ask("GET", "/entries/hello", nil).body)
		}
		payload, err := attest.NewYank(attest.Yank{Name: "nobody", Version: "0.1.0", Action: attest.ActionYank, Reason: "x", At: "2026-06-01T12:00:00Z"}, store.DigestOf(nil).Hex())
		must(t, err)
		s.refused(s.ask("POST", "/yanks", s.Sign(payload, "r1", "r2")), 404, fault.IndexNoMatch)
	})
}

func TestPlans(t *testing.T) {
	s := newSite(t, true)
	d := string(s.Plan.Digest())
	for _, path := range []string{"", "/events", "/verdict", "/bundle"} {
		got := s.ask("GET", "/plans/"+d+path, nil)
		if got.StatusCode != 404 {
			t.Errorf("%s: %d", path, got.StatusCode)
		}
	}
	s.refused(s.signed("north", "POST", "/plans", []byte("{}")), 400, fault.Structure)
	s.refused(s.signed("north", "POST", "/plans", append(bytes.Clone(s.PlanJSON), '\n')), 400, fault.Parse)
	s.refused(s.signed("north", "POST", "/plans", bytes.Repeat([]byte("x"), int(document.Plan.MaxBytes)+1)), 413, fault.Parse)
	answerOf[Written](t, s.signed("north", "POST", "/plans", s.PlanJSON), 201)
	answerOf[Written](t, s.signed("east", "POST", "/plans", s.PlanJSON), 200)
	v := answerOf[Verdict](t, s.ask("GET", "/plans/"+d+"/verdict", nil), 200)
	if v.State != attest.StatePending || len(v.Shortfalls) == 0 {
		t.Errorf("%+v", v)
	}
	s.refused(s.ask("GET", "/plans/"+d+"/bundle", nil), 404, fault.IndexNoMatch)
	answerOf[Written](t, s.signed("north", "PUT", "/objects/"+string(store.DigestOf([]byte("no plan"))), []byte("no plan")), 201)
	s.refused(s.ask("GET", "/plans/"+string(store.DigestOf([]byte("no plan"))), nil), 404, fault.FileMissing)
}

// Sixteen writers at once: no write is lost, and no answer is that the database
// is locked.
func TestG27_SixteenWriters(t *testing.T) {
	s := newSite(t, true)
	s.vote("east", "north", "west")
	const writers = 16
	each := 3
	if testing.Short() {
		each = 1
	}
	drafts := make([][]draft, writers)
	for i := range drafts {
		for j := range each {
			drafts[i] = append(drafts[i], s.propose(`"hello"`, fmt.Sprintf(`"p%d"`, i), "0.1.0", fmt.Sprintf("0.%d.0", j)))
		}
	}
	var wait sync.WaitGroup
	for i := range writers {
		wait.Go(func() {
			client := s.clientOf([]string{"east", "north", "west", "r1"}[i%4])
			for _, d := range drafts[i] {
				if _, err := client.Publish(t.Context(), d.Bundle, d.archive, nil); err != nil {
					t.Error(err)
				}
				other := fmt.Appendf(nil, "object of %d", i)
				if _, err := client.PutObject(t.Context(), other); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	report, err := index.Fsck(t.Context(), s.dir, index.Writing{Policy: s.LoadPolicy(), Now: s.clock}, index.FsckOptions{})
	must(t, err)
	if len(report.Findings) != 0 {
		t.Errorf("%+v", report)
	}
	var seqs []int64
	for next := "/entries?limit=7"; next != ""; {
		page := answerOf[Listing](t, s.ask("GET", next, nil), 200)
		for _, e := range page.Entries {
			seqs = append(seqs, *e.Seq)
		}
		next = page.Next
	}
	if len(seqs) != writers*each {
		t.Errorf("%d entries, want %d", len(seqs), writers*each)
	}
	for i := 1; i < len(seqs); i++ {
		if seqs[i] >= seqs[i-1] {
			t.Fatalf("not the newest first: %v", seqs)
		}
	}
	for i := range drafts {
		for _, d := range drafts[i] {
			if got := s.ask("GET", "/entries/"+string(d.digest())+"/snapshot", nil); !bytes.Equal(got.body, d.archive) {
				t.Errorf("%d: %d bytes", got.StatusCode, len(got.body))
			}
		}
	}
}

func TestOwnersOfPackagesMayUpload(t *testing.T) {
	s := newSite(t, true)
	object := []byte("of alice")
	path := "/objects/" + string(store.DigestOf(object))
	s.refused(s.signed("alice", "PUT", path, object), 403, fault.KeyUnknown)
	s.vote("east", "north")
	d := s.proposeBy([]string{"alice", "r1"}, []string{"alice", "r1", "r2"})
	_, err := s.client.Publish(t.Context(), d.Bundle, d.archive, nil)
	must(t, err)
	answerOf[Written](t, s.signed("alice", "PUT", path, object), 201)
	for _, key := range []string{"root", "log", "mallory"} {
		s.refused(s.signed(key, "PUT", path, object), 403, fault.KeyUnknown)
	}
}

// A hub that is started again has everything, and forgets what was cut.
func TestAHubStartsAgain(t *testing.T) {
	both(t, func(t *testing.T, logged bool) {
		s := newSite(t, logged)
		d := s.published()
		waiting := []byte("waits")
		_, err := s.client.PutObject(t.Context(), waiting)
		must(t, err)
		_, err = New(t.Context(), s.hub.Options)
		code(t, err, fault.Usage) // two hubs, one folder
		must(t, s.hub.Close())
		orphan := filepath.Join(s.data, uploadDir, store.DigestOf([]byte("orphan")).Hex())
		must(t, os.WriteFile(orphan, []byte("orph"), 0o600))
		again, err := New(t.Context(), s.hub.Options)
		must(t, err)
		*s.hub = *again
		if _, err := os.Stat(orphan); err == nil {
			t.Error("a file that nobody uploaded is still there")
		}
		if got := s.ask("GET", "/objects/"+string(store.DigestOf(waiting)), nil); !bytes.Equal(got.body, waiting) {
			t.Errorf("%d %q", got.StatusCode, got.body)
		}
		if got := s.ask("GET", "/entries/hello/0.1.0", nil); !bytes.Equal(got.body, d.Release) {
			t.Errorf("%d %q", got.StatusCode, got.body)
		}
		// What was lost of the data folder follows from the index.
		must(t, s.hub.Close())
		must(t, os.RemoveAll(s.data))
		again, err = New(t.Context(), s.hub.Options)
		must(t, err)
		*s.hub = *again
		if got := s.ask("GET", "/entries/"+string(d.digest())+"/snapshot", nil); !bytes.Equal(got.body, d.archive) {
			t.Errorf("%d %q", got.StatusCode, got.body)
		}
	})
}

func TestAbandonedUploadsExpire(t *testing.T) {
	var wall time.Time
	s := newSite(t, true, func(s *site, o *Options, _ *Service) {
		wall = time.Now()
		o.Wall = func() time.Time { return wall }
		o.KeepUploads = time.Hour
		o.MaxPending, o.MaxShare = 100, 100
	})
	by := "north"
	put := func(data []byte) answered {
		return s.signed(by, "PUT", "/objects/"+string(store.DigestOf(data)), data)
	}
	old := bytes.Repeat([]byte("a"), 60)
	answerOf[Written](t, put(old), 201)
	by = "east"
	full := put(bytes.Repeat([]byte("b"), 60))
	s.refused(full, 503, fault.IndexFetch)
	if full.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	answerOf[Written](t, put(bytes.Repeat([]byte("c"), 8)), 201) // its part
	wall = wall.Add(2 * time.Hour)
	answerOf[Written](t, put(bytes.Repeat([]byte("b"), 60)), 201)
	s.refused(s.ask("GET", "/objects/"+string(store.DigestOf(old)), nil), 404, fault.FileMissing)
	held, err := os.ReadDir(filepath.Join(s.data, uploadDir))
	must(t, err)
	if len(held) != 1 {
		t.Errorf("%v", held)
	}
}
