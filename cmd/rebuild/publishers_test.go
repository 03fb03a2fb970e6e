package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"rebuild/attest"
	"rebuild/attest/attesttest"
	"rebuild/index"
	"rebuild/internal/fault"
)

// entering is what a process was asked for: a release, told from others of its
// version by its number, or without a version what is there.
type entering struct {
	name, version string
	release       int
}

// entered is its answer.
type entered struct {
	code      fault.Code
	duplicate bool
	seq       int64
	// rank is the place among all that are new under the name, by seq: the order
	// that the answers claim, which is to be checked.
	rank     int
	versions string
}

func (e entered) fresh() bool { return e.code == "" && !e.duplicate }

// racked is a package in the model: "VERSION RELEASE" in the order of publication.
type racked []string

// put is what the index must answer to a publication, and the versions afterwards.
func (s racked) put(in entering, out entered) (bool, racked) {
	for _, there := range s {
		if version, release, _ := strings.Cut(there, " "); version == in.version {
			if release == strconv.Itoa(in.release) {
				return out.duplicate, s
			}
			return out.code == fault.AlreadyPublished, s
		}
	}
	return out.fresh() && out.rank == len(s), append(slices.Clone(s), fmt.Sprintf("%s %d", in.version, in.release))
}

func (s racked) versions() string {
	var out []string
	for _, there := range s {
		version, _, _ := strings.Cut(there, " ")
		out = append(out, version)
	}
	return strings.Join(out, " ")
}

var racks = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		by := map[string][]porcupine.Operation{}
		for _, op := range history {
			name := op.Input.(entering).name
			by[name] = append(by[name], op)
		}
		return slices.Collect(maps.Values(by))
	},
	Init: func() any { return racked(nil) },
	Step: func(state, input, output any) (bool, any) {
		s, in, out := state.(racked), input.(entering), output.(entered)
		if in.version == "" {
			return out.versions == s.versions(), s
		}
		ok, next := s.put(in, out)
		return ok, next
	},
	Equal: func(a, b any) bool { return slices.Equal(a.(racked), b.(racked)) },
}

// placed gives the answers their ranks.
func placed(history []porcupine.Operation) []porcupine.Operation {
	slices.SortFunc(history, func(a, b porcupine.Operation) int {
		return cmp.Compare(a.Output.(entered).seq, b.Output.(entered).seq)
	})
	next := map[string]int{}
	for i, op := range history {
		if in, out := op.Input.(entering), op.Output.(entered); in.version != "" && out.fresh() {
			out.rank = next[in.name]
			next[in.name]++
			history[i].Output = out
		}
	}
	return history
}

// shop is an index that many publish in, and releases to publish.
type shop struct {
	home, dir string
	policy    *attest.Policy
	flags     []string // of who writes
	releases  []entering
	files     []string // their bundles, without the ending
}

// newShop makes n releases of four packages, every other one of a version that
// another release has too.
func newShop(t testing.TB, n int) *shop {
	base := t.TempDir()
	in := func(name string) string { return filepath.Join(base, name) }
	s := &shop{home: in("home"), dir: in("index")}
	s.flags = []string{"--index", s.dir, "--policy", in("policy.toml"), "--log-key", in("log.key"), "--index-key", in("index.key")}
	mustAtClock(t, s.home, "key", "new", in("log.key"))
	public, _ := atClock(t, s.home, "key", "new", in("index.key"))
	w := attesttest.New(t)
	w.PolicyTOML = strings.Replace(attesttest.Policy(""), attesttest.Key("index").Public().String(), strings.TrimSpace(string(public)), 1)
	s.policy = w.LoadPolicy()
	write(t, in("policy.toml"), []byte(w.PolicyTOML))
	mustAtClock(t, s.home, "index", "init", s.dir, "--origin", "example.org/log", "--log-key", in("log.key"), "--index-key", in("index.key"))
	for i := range n {
		r := entering{fmt.Sprintf("pkg%c", 'a'+i%4), fmt.Sprintf("0.%d.0", i/8), i}
		text := strings.NewReplacer(`"hello"`, `"`+r.name+`"`, "0.1.0", r.version, "says hi", fmt.Sprint("says ", i)).Replace(attesttest.PackageTOML)
		released := w.Release(w.Statements(), nil, text, []string{"r1"}, []string{"r1", "r2"})
		bundle, err := released.Bundle.Encode()
		if err != nil {
			t.Fatal(err)
		}
		file := in(fmt.Sprint(i))
		write(t, file+".rbundle", bundle)
		write(t, file+".tar", released.Package.Archive())
		s.releases, s.files = append(s.releases, r), append(s.files, file)
	}
	return s
}

// enter publishes a release by a process of its own.
func (s *shop) enter(t testing.TB, i int) entered {
	args := append([]string{"index", "add", s.files[i] + ".rbundle", "--archive", s.files[i] + ".tar", "--json"}, s.flags...)
	out, _ := atClock(t, s.home, args...)
	var answer struct {
		Error  *struct{ Code fault.Code }
		Result struct {
			Added []struct {
				Seq       int64
				Duplicate bool
			}
		}
	}
	if err := json.NewDecoder(strings.NewReader(string(out))).Decode(&answer); err != nil {
		t.Errorf("%v\n%s", err, out)
		return entered{code: "no answer"}
	}
	if answer.Error != nil {
		return entered{code: answer.Error.Code}
	}
	if len(answer.Result.Added) != 1 {
		t.Errorf("%d things were added\n%s", len(answer.Result.Added), out)
		return entered{code: "no answer"}
	}
	return entered{duplicate: answer.Result.Added[0].Duplicate, seq: answer.Result.Added[0].Seq}
}

// versions are those of a package as a reader sees them now, who verifies. While
// a publication replaces files it may be told to ask again.
func (s *shop) versions(name string) (string, error) {
	ctx := context.Background()
	r, err := index.NewReader(ctx, index.Dir(os.DirFS(s.dir), s.dir), index.Reading{Now: clockOfSweeps()})
	if err != nil {
		return "", err
	}
	lines, err := r.Entries(ctx, name)
	if err != nil && fault.CodeOf(err) != fault.IndexNoMatch {
		return "", err
	}
	var out []string
	for _, e := range lines {
		out = append(out, e.Version)
	}
	return strings.Join(out, " "), nil
}

// 16 publishers at once, each release by a process of its own, in one index with
// a real log: what all were told fits one order of all that they did, and nothing
// is lost or there twice. None has to try again: each waits for its turn.
// REBUILD_PUBLISH says how many releases each publishes, 2 without.
func TestPublishingProcessesAreLinearizable(t *testing.T) {
	t.Parallel()
	const publishers = 16
	each := 2
	if text := os.Getenv("REBUILD_PUBLISH"); text != "" {
		var err error
		if each, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	s := newShop(t, publishers*each)
	var mu sync.Mutex
	var history []porcupine.Operation
	began, unsettled := time.Now(), 0
	note := func(client int, in entering, do func() (entered, bool)) {
		call := time.Since(began).Nanoseconds()
		out, answered := do()
		end := time.Since(began).Nanoseconds()
		mu.Lock()
		defer mu.Unlock()
		if !answered {
			unsettled++
			return
		}
		history = append(history, porcupine.Operation{ClientId: client, Input: in, Output: out, Call: call, Return: end})
	}
	var all sync.WaitGroup
	for client := range publishers {
		all.Go(func() {
			random := rand.New(rand.NewPCG(2, uint64(client)))
			for n := range each {
				i := (client*each + n) % len(s.releases) // two of three are the client's own
				if n%3 == 0 {
					i = random.IntN(len(s.releases))
				}
				r := s.releases[i]
				note(client, r, func() (entered, bool) { return s.enter(t, i), true })
				note(client, entering{name: r.name}, func() (entered, bool) {
					versions, err := s.versions(r.name)
					if err != nil && fault.CodeOf(err) != fault.ViewMismatch {
						t.Errorf("a reader: %v", err)
					}
					return entered{versions: versions}, err == nil
				})
			}
		})
	}
	all.Wait()
	took := time.Since(began)
	if !porcupine.CheckOperations(racks, placed(history)) {
		t.Error("no order of what was done explains what was seen")
	}
	s.checkRacks(t, history, publishers*each/3)
	t.Logf("%d publications in %v, %d reads, %d of them to be asked again", publishers*each, took.Round(time.Second), publishers*each-unsettled, unsettled)
}

// checkRacks wants what was answered to be there, at least so many versions,
// and nothing to be wrong with the index.
func (s *shop) checkRacks(t testing.TB, history []porcupine.Operation, atLeast int) {
	t.Helper()
	fresh := 0
	for _, op := range history {
		in, out := op.Input.(entering), op.Output.(entered)
		if out.code != "" && out.code != fault.AlreadyPublished {
			t.Errorf("%s@%s: %s", in.name, in.version, out.code)
		}
		if in.version != "" && out.fresh() {
			fresh++
		}
	}
	out, status := atClock(t, s.home, "index", "fsck", s.dir, "--policy", s.flags[3], "--json")
	var report struct {
		Result struct{ Versions, Leaves int }
	}
	if err := json.Unmarshal(out, &report); err != nil || status != 0 {
		t.Fatalf("fsck exits %d, %v\n%s", status, err, out)
	}
	if report.Result.Versions != fresh || fresh < atLeast {
		t.Errorf("%d versions are there, %d were published", report.Result.Versions, fresh)
	}
}
