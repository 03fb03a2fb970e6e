package hub

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/internal/fault"
	"rebuild/store"
)

// put uploads so many bytes, all of one kind, as a key.
func (s *site) put(key string, kind byte, size int) answered {
	s.T.Helper()
	data := bytes.Repeat([]byte{kind}, size)
	return s.signed(key, "PUT", "/objects/"+string(store.DigestOf(data)), data)
}

// One party that fills its share, by whatever keys, and owners who fill theirs
// together leave room for the others, for each its part.
func TestB25_NobodyTakesTheRoomOfOthers(t *testing.T) {
	const kib = 1 << 10
	s := newSite(t, true, func(s *site, o *Options, _ *Service) {
		key := fmt.Sprintf("{ key = %q }", attesttest.Key("north").Public().String())
		s.PolicyTOML = strings.Replace(s.PolicyTOML, key, key+fmt.Sprintf(", { key = %q }", attesttest.Key("north2").Public().String()), 1)
		o.Policy = s.LoadPolicy()
		o.MaxPending, o.MaxShare = 4000*kib, 1000*kib
	})
	s.vote("east", "north")
	d := s.proposeBy([]string{"alice", "bob", "carol", "r1"}, []string{"alice", "bob", "carol", "r1", "r2"})
	_, err := s.client.Publish(t.Context(), d.Bundle, d.archive, nil)
	must(t, err)

	s.refused(s.put("north", 'x', 1000*kib+1), http.StatusRequestEntityTooLarge, fault.Parse)
	answerOf[Written](t, s.put("north", 'a', 600*kib), 201)
	answerOf[Written](t, s.put("north2", 'b', 400*kib), 201)
	for _, key := range []string{"north", "north2"} {
		full := s.put(key, 'c', 1)
		s.refused(full, http.StatusTooManyRequests, fault.IndexFetch)
		if full.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	answerOf[Written](t, s.put("north", 'a', 600*kib), 200) // what is there already takes no room
	answerOf[Written](t, s.put("alice", 'A', 1000*kib), 201)
	for _, key := range []string{"bob", "carol"} { // what is free is kept for those whom the policy names
		s.refused(s.put(key, key[0]-32, 1000*kib), http.StatusServiceUnavailable, fault.IndexFetch)
	}
	const part = 2000 * kib / 6 // three operators, two signers, the index
	for i, key := range []string{"east", "west", "r1", "r2", "index"} {
		answerOf[Written](t, s.put(key, '0'+byte(i), part), 201)
	}
	left := 4000*kib - (600+400+1000)*kib - 5*part
	s.refused(s.put("west", 'e', left+1), http.StatusServiceUnavailable, fault.IndexFetch)
	answerOf[Written](t, s.put("west", 'f', left), 201)
	s.refused(s.put("east", 'g', 1), http.StatusServiceUnavailable, fault.IndexFetch) // now all of it is full
}

// All others together take the room of no operator or signer: what it is refused
// is what goes beyond its part.
func TestB25_AllOthersTogetherLeaveRoom(t *testing.T) {
	const kib = 1 << 10
	for name, fill := range map[string]map[string]int{
		"owners":              {"alice": 1000, "bob": 1000},
		"operators":           {"north": 1000, "west": 1000, "r1": 1000},
		"operators and owner": {"north": 1000, "west": 1000, "alice": 600},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, true, func(_ *site, o *Options, _ *Service) { o.MaxPending, o.MaxShare = 4000*kib, 1000*kib })
			s.vote("east", "north")
			d := s.proposeBy([]string{"alice", "bob", "carol", "r1"}, []string{"alice", "bob", "carol", "r1", "r2"})
			_, err := s.client.Publish(t.Context(), d.Bundle, d.archive, nil)
			must(t, err)
			for key, size := range fill {
				answerOf[Written](t, s.put(key, key[0], size*kib), 201)
			}
			s.refused(s.put("carol", 'c', 100*kib), http.StatusServiceUnavailable, fault.IndexFetch)
			const part = 2000 * kib / 6
			answerOf[Written](t, s.put("east", '1', part/2), 201)
			answerOf[Written](t, s.put("r2", '2', part), 201)
			answerOf[Written](t, s.put("east", '3', part-part/2), 201)
			beyond := s.put("east", '4', 100*kib)
			s.refused(beyond, http.StatusServiceUnavailable, fault.IndexFetch)
			if !strings.Contains(string(beyond.body), "are kept for other operators and signers") {
				t.Errorf("%s", beyond.body)
			}
		})
	}
}

// What was taken from the folder of uploads can be sent again, and then it is there.
func TestAnUploadThatIsGoneIsSentAgain(t *testing.T) {
	s := newSite(t, true)
	data := bytes.Repeat([]byte{'a'}, 100)
	d := store.DigestOf(data)
	path := "/objects/" + string(d)
	for name, spoil := range map[string]func(file string) error{
		"gone": os.Remove, "cut": func(file string) error { return os.Truncate(file, 10) },
	} {
		t.Run(name, func(t *testing.T) {
			s.signed("north", "PUT", path, data)
			must(t, spoil(s.hub.staging.path(d)))
			answerOf[Written](t, s.signed("north", "PUT", path, data), 200)
			if got := s.ask("GET", path, nil); got.StatusCode != 200 || !bytes.Equal(got.body, data) {
				t.Errorf("%d, %d bytes", got.StatusCode, len(got.body))
			}
			var reserved int
			must(t, s.hub.db.read.QueryRow("SELECT count(*) FROM receiving").Scan(&reserved))
			if reserved != 0 {
				t.Errorf("%d uploads are still received", reserved)
			}
		})
	}
}

// A clock that was ahead for a while makes nothing wait until that time comes.
func TestWhatCameWhileTheClockWasAhead(t *testing.T) {
	start := time.Now()
	wall := start
	s := newSite(t, false, func(_ *site, o *Options, _ *Service) {
		o.Wall = func() time.Time { return wall }
		o.KeepUploads, o.KeepStatements = time.Hour, time.Hour
	})
	wall = start.Add(365 * 24 * time.Hour)
	s.vote("east")
	answerOf[Written](t, s.put("north", 'a', 1), 201)
	uploads := func() (n int) {
		must(t, s.hub.db.read.QueryRow("SELECT count(*) FROM uploads").Scan(&n))
		return n
	}
	wall = start
	answerOf[Written](t, s.put("north", 'b', 1), 201)
	wall = start.Add(50 * time.Minute)
	answerOf[Written](t, s.put("north", 'c', 1), 201)
	if n := uploads(); n != 4 || s.waits() != 1 { // with the plan
		t.Errorf("%d uploads and %d statements wait", n, s.waits())
	}
	wall = start.Add(70 * time.Minute)
	answerOf[Written](t, s.put("north", 'd', 1), 201)
	if n := uploads(); n != 2 || s.waits() != 0 {
		t.Errorf("%d uploads and %d statements wait for the time that was", n, s.waits())
	}
}

// What a sender leaves in the middle of an upload takes no room of its party.
func TestBrokenUploadsGiveTheirRoomBack(t *testing.T) {
	s := newSite(t, true, func(_ *site, o *Options, _ *Service) { o.MaxPending, o.MaxShare = 1000, 100 })
	wrong := "/objects/" + string(store.DigestOf([]byte("x")))
	for range 3 {
		req, err := http.NewRequest("PUT", s.url+wrong, bytes.NewReader(bytes.Repeat([]byte("y"), 100)))
		must(t, err)
		must(t, Authorize(req, store.DigestOf([]byte("x")), attesttest.Key("north"), s.clock()))
		s.refused(do(t, req), 400, fault.CksumMismatch)
	}
	answerOf[Written](t, s.put("north", 'a', 100), 201)
}

// Statements that wait are counted like uploads, and so is each thing, however
// small.
func TestEverythingThatWaitsIsCounted(t *testing.T) {
	s := newSite(t, false, func(_ *site, o *Options, _ *Service) { o.MaxShare = 20 << 10 })
	s.vote()
	statement := s.Statement("north", nil)
	room := 20<<10 - len(s.PlanJSON) - len(statement)
	answerOf[Written](t, s.put("north", 'a', room+1), 201)
	s.refused(s.ask("POST", "/statements", statement), http.StatusTooManyRequests, fault.IndexFetch)
	answerOf[Written](t, s.ask("POST", "/statements", s.Statement("east", nil)), 201) // another's is not its
	_, err := s.hub.db.write.Exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
		INSERT INTO uploads SELECT 'sha256:' || i, 0, ?, 'operator west' FROM n`, maxWaiting-1, time.Now().Unix())
	must(t, err)
	answerOf[Written](t, s.put("west", 'b', 1), 201)
	s.refused(s.put("west", 'c', 1), http.StatusTooManyRequests, fault.IndexFetch)
}

// What somebody else enters into an index without a log is seen within a minute,
// also by a clock that was set back.
func TestOthersEntriesAreSeenByAClockThatGoesBack(t *testing.T) {
	wall := time.Now()
	s := newSite(t, false, func(_ *site, o *Options, _ *Service) { o.Wall = func() time.Time { return wall } })
	if l := answerOf[Listing](t, s.ask("GET", "/entries", nil), 200); len(l.Entries) != 0 {
		t.Fatalf("%+v", l)
	}
	_, image, err := attest.LoadPackage("package.toml", []byte(attesttest.PackageTOML))
	must(t, err)
	pkg, err := attest.Pack(image, nil, attesttest.Epoch)
	must(t, err)
	_, _, err = s.writer(false).AddPackage(t.Context(), pkg)
	must(t, err)
	wall = wall.Add(-24 * time.Hour)
	s.ask("GET", "/entries", nil)
	wall = wall.Add(2 * time.Minute)
	if l := answerOf[Listing](t, s.ask("GET", "/entries", nil), 200); len(l.Entries) != 1 {
		t.Errorf("%d entries", len(l.Entries))
	}
}

// waits says how many statements wait.
func (s *site) waits() int {
	s.T.Helper()
	waiting, err := s.hub.staging.waiting(s.T.Context(), s.Plan.Digest())
	must(s.T, err)
	return len(waiting)
}

// Statements that no release came for are forgotten, those about one plan all
// at once: a dissent does not go before the votes.
func TestWaitingStatementsExpireTogether(t *testing.T) {
	var wall time.Time
	s := newSite(t, false, func(_ *site, o *Options, _ *Service) {
		wall = time.Now()
		o.Wall = func() time.Time { return wall }
		o.KeepStatements = time.Hour
	})
	dissent := s.Statement("west", s.differently)
	s.vote()
	answerOf[Written](t, s.ask("POST", "/statements", dissent), 201)
	wall = wall.Add(50 * time.Minute)
	s.vote("east")
	wall = wall.Add(50 * time.Minute)
	s.vote("north")
	if n := s.waits(); n != 3 {
		t.Fatalf("%d statements wait", n)
	}
	v := answerOf[Verdict](t, s.ask("GET", "/plans/"+string(s.Plan.Digest())+"/verdict", nil), 200)
	if v.State != attest.StateDissent {
		t.Errorf("%s: the dissent is forgotten", v.State)
	}
	wall = wall.Add(59 * time.Minute)
	answerOf[Written](t, s.ask("POST", "/statements", dissent), 200) // waits from now on
	wall = wall.Add(59 * time.Minute)
	answerOf[Written](t, s.put("north", 'a', 1), 201)
	if n := s.waits(); n != 3 {
		t.Errorf("%d statements wait", n)
	}
	wall = wall.Add(2 * time.Minute)
	answerOf[Written](t, s.put("north", 'b', 1), 201)
	if n := s.waits(); n != 0 {
		t.Errorf("%d statements are kept for ever", n)
	}
}

// Statements that came into an index without a log with a release wait no
// longer, and are heard of all the same; a dissent that came after it is too.
func TestReleasedStatementsWaitNoLonger(t *testing.T) {
	s := newSite(t, false)
	s.published()
	if n := s.waits(); n != 0 {
		t.Errorf("%d statements still wait", n)
	}
	verdict := "/plans/" + string(s.Plan.Digest()) + "/verdict"
	v := answerOf[Verdict](t, s.ask("GET", verdict, nil), 200)
	if v.State != attest.StateMet || len(v.Statements) != 3 {
		t.Errorf("%s with %d statements", v.State, len(v.Statements))
	}
	second := s.propose(`"hello"`, `"other"`)
	_, err := s.client.AddStatement(t.Context(), s.Statement("west", func(r *attest.Result) { s.differently(r); r.Nonce = strings.Repeat("1", 64) }))
	must(t, err)
	_, err = s.client.Publish(t.Context(), second.Bundle, second.archive, nil)
	code(t, err, fault.Dissent)
}

// Also without a log nobody has more to say about a plan than another.
func TestNobodyFillsAPlanThatWaits(t *testing.T) {
	s := newSite(t, false)
	s.vote()
	say := func(i int) []byte {
		return s.Statement("north", func(r *attest.Result) { r.Nonce = fmt.Sprintf("%064x", i) })
	}
	for i := range 256 {
		answerOf[Written](t, s.ask("POST", "/statements", say(i)), 201)
	}
	s.refused(s.ask("POST", "/statements", say(256)), 400, fault.Semantic)
	answerOf[Written](t, s.ask("POST", "/statements", say(255)), 200)
	answerOf[Written](t, s.ask("POST", "/statements", s.Statement("east", nil)), 201)
}

// Every status that a publication can be answered with (index.md 9), one after
// the other until it is taken; what is refused leaves the index as it was, and
// what is taken comes back byte for byte.
func TestB18_EachStatusOfAPublication(t *testing.T) {
	both(t, func(t *testing.T, logged bool) {
		s := newSite(t, logged, func(_ *site, o *Options, _ *Service) { o.MaxShare = 1 << 20 })
		s.vote("east", "north")
		d := s.propose()
		rival := s.propose("says hi", "says ho")
		archive := "/objects/" + string(store.DigestOf(d.archive))
		upload := func(draft draft) {
			for _, data := range [][]byte{draft.archive, draft.Lock, draft.Objects[0]} {
				_, err := s.client.PutObject(t.Context(), data)
				must(t, err)
			}
		}
		refused := func(name string, status int, want fault.Code, ask func() answered) {
			t.Run(name, func(t *testing.T) {
				before := snapshotOf(t, s.dir)
				s.refused(ask(), status, want)
				if snapshotOf(t, s.dir) != before {
					t.Error("the index has changed")
				}
			})
		}
		post := func(body []byte) func() answered {
			return func() answered { return s.ask("POST", "/entries", body) }
		}
		refused("400 not canonical", 400, fault.Parse, post(append(bytes.Clone(d.Release), '\n')))
		refused("400 a bad signature", 400, fault.SignatureInvalid, post(s.spoilt(d.Release)))
		refused("401 an upload that is not signed", 401, fault.SignatureInvalid, func() answered { return s.ask("PUT", archive, d.archive) })
		refused("403 an unknown key", 403, fault.KeyUnknown, post(s.resigned(d.Release, "mallory")))
		refused("403 an upload of a stranger", 403, fault.KeyUnknown, func() answered { return s.signed("mallory", "PUT", archive, d.archive) })
		refused("404 another place", 404, fault.IndexNoMatch, func() answered { return s.ask("POST", "/entry", d.Release) })
		refused("405 another method", 405, fault.Usage, func() answered { return s.ask("PUT", "/entries", d.Release) })
		refused("413 too large", 413, fault.Parse, post(bytes.Repeat([]byte("x"), attest.MaxEnvelope+1)))
		refused("413 more than a share", 413, fault.Parse, func() answered { return s.put("north", 'x', 1<<20+1) })
		refused("422 what it rests on is missing", 422, fault.FileMissing, post(d.Release))
		upload(d)
		fresh := s.ask("POST", "/entries", d.Release)
		if p := answerOf[Published](t, fresh, 201); p.Duplicate || p.Release != d.digest() {
			t.Errorf("201: %+v", p)
		}
		if p := answerOf[Published](t, s.ask("POST", "/entries", d.Release), 200); !p.Duplicate || p.Release != d.digest() {
			t.Errorf("200: %+v", p)
		}
		upload(rival)
		refused("409 the version is taken", 409, fault.AlreadyPublished, post(rival.Release))
		late := s.propose(`"hello"`, `"other"`)
		upload(late)
		_, err := s.client.AddStatement(t.Context(), s.Statement("west", s.differently))
		must(t, err)
		refused("422 dissent", 422, fault.Dissent, post(late.Release))

		back := s.ask("GET", "/entries/hello/0.1.0", nil)
		if back.StatusCode != 200 || !bytes.Equal(back.body, d.Release) {
			t.Errorf("%d, and other bytes than were posted", back.StatusCode)
		}
		held, err := os.ReadFile(filepath.Join(s.dir, "statements", d.digest().Hex()+attest.EnvelopeSuffix))
		must(t, err)
		if !bytes.Equal(held, d.Release) {
			t.Error("the index has other bytes than were posted")
		}
	})
}
