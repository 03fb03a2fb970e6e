package index

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"rebuild/internal/fault"
	"rebuild/store"
)

// A history of publishing: what was asked for and what the answer was.
type publishing struct {
	name, version string // "" reads the versions of name
	content       int
}

type outcome struct {
	code      fault.Code
	duplicate bool
	versions  string
	// rank is the place among all that were published under the name, by the
	// seq of the answers: the one order that they claim, which is to be checked.
	rank int
	seq  int64
}

func (o outcome) fresh() bool { return o.code == "" && !o.duplicate }

// ranked gives the answers their ranks.
func ranked(history []porcupine.Operation) []porcupine.Operation {
	slices.SortFunc(history, func(a, b porcupine.Operation) int {
		return cmp.Compare(a.Output.(outcome).seq, b.Output.(outcome).seq)
	})
	next := map[string]int{}
	for i, op := range history {
		in, out := op.Input.(publishing), op.Output.(outcome)
		if in.version != "" && out.fresh() {
			out.rank = next[in.name]
			next[in.name]++
			history[i].Output = out
		}
	}
	return history
}

// held is a package in the model: its versions in order, with their content.
type held struct {
	versions []string
	content  map[string]int
}

// publications is what an index promises: each version is there from one moment
// on, in the order of publication, with one content.
var publications = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		by := map[string][]porcupine.Operation{}
		for _, op := range history {
			name := op.Input.(publishing).name
			by[name] = append(by[name], op)
		}
		return slices.Collect(maps.Values(by))
	},
	Init: func() any { return held{} },
	Step: func(state, input, output any) (bool, any) {
		s, in, out := state.(held), input.(publishing), output.(outcome)
		if in.version == "" {
			return out.versions == fmt.Sprint(s.versions), s
		}
		content, there := s.content[in.version]
		switch {
		case there && content == in.content:
			return out.duplicate, s
		case there:
			return out.code == fault.AlreadyPublished, s
		}
		next := held{append(slices.Clone(s.versions), in.version), maps.Clone(s.content)}
		if next.content == nil {
			next.content = map[string]int{}
		}
		next.content[in.version] = in.content
		return out.fresh() && out.rank == len(s.versions), next
	},
	Equal: func(a, b any) bool {
		return slices.Equal(a.(held).versions, b.(held).versions) && maps.Equal(a.(held).content, b.(held).content)
	},
}

// 16 publishers at once, who get into each other's way: what each is outcome fits
// one order of all that they did, and nothing is lost or there twice.
// REBUILD_PUBLISH says how many releases each publishes, 6 without.
func TestConcurrentPublishersAreLinearizable(t *testing.T) {
	const publishers = 16
	each := 6
	if text := os.Getenv("REBUILD_PUBLISH"); text != "" {
		var err error
		if each, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	b := plainBench(t).quick().init()
	b.statements()
	drafts := contendedDrafts(b, each)
	var mu sync.Mutex
	var history []porcupine.Operation
	began := time.Now()
	note := func(client int, in publishing, do func() outcome) {
		call := time.Since(began).Nanoseconds()
		out := do()
		end := time.Since(began).Nanoseconds()
		mu.Lock()
		history = append(history, porcupine.Operation{ClientId: client, Input: in, Output: out, Call: call, Return: end})
		mu.Unlock()
	}
	var all sync.WaitGroup
	for client := range publishers {
		all.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(client)))
			x := b.open()
			for n := range each {
				// Two of three are the client's own; others contend.
				d := drafts[random.IntN(len(drafts))]
				if n%3 > 0 {
					d = drafts[(client*each+n)%len(drafts)]
				}
				note(client, d.publishing, func() outcome {
					e, duplicate, err := x.Publish(context.Background(), d.Bundle, d.archive)
					if err != nil {
						return outcome{code: fault.CodeOf(err)}
					}
					return outcome{duplicate: duplicate, seq: *e.Seq}
				})
				note(client, publishing{name: d.name}, func() outcome { return outcome{versions: versionsOf(x, d.name)} })
			}
		})
	}
	all.Wait()
	if !porcupine.CheckOperations(publications, ranked(history)) {
		t.Error("no order of what was done explains what was seen")
	}
	r := b.fsckClean()
	fresh := 0
	for _, op := range history {
		if out := op.Output.(outcome); op.Input.(publishing).version != "" && out.fresh() {
			fresh++
		}
	}
	if r.Versions != fresh || fresh < publishers*each/3 {
		t.Errorf("%d versions are there, %d were published", r.Versions, fresh)
	}
}

type contended struct {
	draft
	publishing
}

// contendedDrafts are releases of four packages, every other one of a version
// that another release has too.
func contendedDrafts(b *bench, each int) []contended {
	b.t.Helper()
	var out []contended
	seen := map[store.Digest]bool{}
	for i := range 16 * each {
		in := publishing{fmt.Sprintf("pkg%c", 'a'+i%4), fmt.Sprintf("0.%d.0", i/8), i}
		d := b.propose(`"hello"`, `"`+in.name+`"`, "0.1.0", in.version, "says hi", fmt.Sprint("says ", i))
		if digest := store.DigestOf(d.Release); !seen[digest] {
			seen[digest] = true
			out = append(out, contended{d, in})
		}
	}
	return out
}

func versionsOf(x *Index, name string) string {
	lines, err := x.readLines(name)
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, e := range lines.entries {
		out = append(out, e.Version)
	}
	return fmt.Sprint(out)
}
