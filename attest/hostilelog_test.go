package attest_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"rebuild/attest/attesttest"
	"rebuild/internal/fault"
)

// A log may sign any number as its size. Above 2^62 the search for the place
// of a leaf would never end.
func TestHugeTreesAreRefused(t *testing.T) {
	t.Parallel()
	w := loggedWorld(t)
	r := loggedRelease(w)
	hash := base64.StdEncoding.EncodeToString(make([]byte, 32)) + "\n"
	for _, c := range []struct {
		size int64
		want fault.Code
	}{{1 << 53, fault.EvidenceMismatch}, {1<<53 + 1, fault.Structure}, {1<<62 + 1, fault.Structure}, {1<<63 - 1, fault.Structure}} {
		signed := w.Log.Sign(fmt.Sprintf("%s\n%d\n%s", attesttest.Origin, c.size, hash),
			attesttest.NoteSigner{As: attesttest.Origin, Key: "log"}, attesttest.NoteSigner{As: "w1.example", Key: "w1", At: attesttest.Cosigned})
		for _, index := range []int64{0, 5, 1<<62 - 1, c.size - 1, c.size, 1<<63 - 1} {
			for _, hashes := range []int{0, 1, 52, 53, 63} {
				r.Bundle.Builds[0].Proof = append(fmt.Appendf(nil, "c2sp.org/tlog-proof@v1\nindex %d\n%s\n", index, strings.Repeat(hash, hashes)), signed...)
				done := make(chan error, 1)
				go func() { _, err := verified(w, r.Bundle); done <- err }()
				select {
				case err := <-done:
					if fault.CodeOf(err) != c.want {
						t.Errorf("leaf %d of %d with %d hashes: %v, want %s", index, c.size, hashes, err, c.want)
					}
				case <-time.After(time.Minute):
					t.Fatalf("leaf %d of %d with %d hashes is looked for without end", index, c.size, hashes)
				}
			}
		}
	}
}

// Whoever cosigns can write any time: one that has not come yet must not pass
// for a fresh checkpoint until then.
func TestCheckpointFromTheFutureIsANote(t *testing.T) {
	t.Parallel()
	w := loggedWorld(t)
	r := loggedRelease(w)
	for late, want := range map[time.Duration]bool{5 * time.Minute: false, 5*time.Minute + time.Second: true, 50 * 365 * 24 * time.Hour: true} {
		r.Bundle.Builds[0].Proof = w.Log.Proof(5, w.Log.Checkpoint(attesttest.Now.Add(late), "w1"))
		a, err := verified(w, r.Bundle)
		must(t, err)
		if got := strings.Contains(strings.Join(a.Notes, "\n"), "later than the time of judging"); got != want {
			t.Errorf("%s: %v", late, a.Notes)
		}
	}
}
