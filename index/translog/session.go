package translog

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"math"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"k8s.io/klog/v2"

	"rebuild/internal/fault"
)

// never is longer than any checkpoint is old: Tessera publishes on a clock of
// its own, at most ten times a second and by the file's date, and only logs
// what goes wrong. Here the checkpoint is written by publish, when it is due.
const never = time.Duration(math.MaxInt64)

// quiet keeps Tessera from writing to standard error; what matters comes back
// as an error. It logs through klog and, where a temporary file can not be
// removed, through the default of log/slog, which nothing else here uses. That
// default would take package log along, so package log is put back.
var quiet = sync.OnceFunc(func() {
	klog.SetLogger(logr.Discard())
	out, flags := log.Writer(), log.Flags()
	slog.SetDefault(slog.New(slog.DiscardHandler))
	log.SetOutput(out)
	log.SetFlags(flags)
})

// session is Tessera at work for one batch.
type session struct {
	appender *tessera.Appender
	size     int64 // of the tree on disk
}

// session runs f with Tessera open for one batch of n leaves, which it takes
// as one whole: the queue is flushed by the last leaf and by nothing before.
// Tessera's goroutines end with the session.
func (l *Log) session(ctx context.Context, n int, f func(*session) error) error {
	quiet()
	if err := l.lockable(); err != nil {
		return writeFault(err)
	}
	// Cancelling would leave a batch in the queue whose fate nobody tells.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	appender, reader, err := l.tessera(ctx, n)
	if err != nil {
		return writeFault(err)
	}
	size, err := reader.IntegratedSize(ctx)
	if err != nil {
		return readFault(err)
	}
	if size > maxSize {
		return fault.New(fault.Structure, "the log in %s says that it has %d leaves", l.dir, size)
	}
	return f(&session{appender, int64(size)})
}

// maxSize is the most leaves of a log, as for readers.
const maxSize = 1 << 53

// lockable wants Tessera's lock file to be there and writable, where it can be
// one: Tessera panics on another goroutine if it can not take its lock.
func (l *Log) lockable() error {
	f, err := os.OpenFile(l.path(treeLockFile), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		if _, err := os.Stat(l.path(treeStateFile)); errors.Is(err, os.ErrNotExist) {
			return nil // a new log: Tessera makes the file on our goroutine
		}
		f, err = os.OpenFile(l.path(treeLockFile), os.O_RDWR|os.O_CREATE, 0o644)
	}
	if err != nil {
		return err
	}
	return f.Close()
}

func (l *Log) tessera(ctx context.Context, n int) (a *tessera.Appender, r tessera.LogReader, err error) {
	defer func() {
		if p := recover(); p != nil { // by which it reports that the lock failed
			err = fmt.Errorf("tessera: %v", p)
		}
	}()
	driver, err := posix.New(ctx, posix.Config{Path: l.dir, HTTPClient: &http.Client{Transport: offline{}}})
	if err != nil {
		return nil, nil, err
	}
	options := tessera.NewAppendOptions().
		WithCheckpointSigner(l.signers[0], l.signers[1]).
		WithBatching(uint(n), never).
		WithCheckpointInterval(never).
		WithCheckpointRepublishInterval(0).
		WithGarbageCollectionInterval(0) // see collect
	a, _, r, err = tessera.NewAppender(ctx, driver, options)
	return a, r, err
}

// offline is the transport of a log that has nobody to talk to.
type offline struct{}

// RoundTrip refuses.
func (offline) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, errors.New("the log makes no connection")
}

// add returns where the first leaf stands.
func (s *session) add(leaves [][]byte) (int64, error) {
	futures := make([]tessera.IndexFuture, len(leaves))
	for i, leaf := range leaves {
		futures[i] = s.appender.Add(context.Background(), tessera.NewEntry(leaf))
	}
	for i, future := range futures {
		at, err := future()
		if err != nil {
			return 0, err
		}
		if at.Index != uint64(s.size)+uint64(i) {
			return 0, fmt.Errorf("leaf %d of the batch is at %d in the log, not at %d", i, at.Index, s.size+int64(i))
		}
	}
	return s.size, nil
}
