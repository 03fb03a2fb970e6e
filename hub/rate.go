package hub

import (
	"sync"
	"time"
)

// rate is how often one address may write: burst times at once, and per second
// from then on.
type rate struct {
	burst, perSecond float64
	wall             func() time.Time

	mu    sync.Mutex
	peers map[string]tokens
}

type tokens struct {
	left float64
	at   time.Time
}

// maxPeers is how many addresses are told apart. More than so many at a time
// are let through: the other limits hold for them too.
const maxPeers = 10_000

// allow takes a token of a peer, if it has one.
func (l *rate) allow(peer string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.wall()
	t, known := l.peers[peer]
	if !known {
		if len(l.peers) >= maxPeers {
			clear(l.peers)
		}
		t = tokens{l.burst, now}
	}
	t.left = min(l.burst, t.left+max(now.Sub(t.at).Seconds(), 0)*l.perSecond)
	t.at = now
	allowed := t.left >= 1
	if allowed {
		t.left--
	}
	l.peers[peer] = t
	return allowed
}
