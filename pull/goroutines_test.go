package pull_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"rebuild/index"
	"rebuild/pull"
)

// stuck answers for some files and then waits for the end of who asks.
type stuck struct {
	index.Source
	left    chan struct{} // as many as are answered
	waiting chan struct{} // closed once somebody waits
}

func (s stuck) Get(ctx context.Context, path string, limit int64, fresh bool) ([]byte, error) {
	select {
	case <-s.left:
		return s.Source.Get(ctx, path, limit, fresh)
	default:
	}
	select {
	case s.waiting <- struct{}{}:
	default:
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

// However far a pull or a mirror was when it was given up, every goroutine that
// it started ends.
func TestGivenUpPullsLeaveNoGoroutine(t *testing.T) {
	s := newLoggedShelf(t)
	s.publish("libc@1.0.0")
	s.publish("tool@1.0.0", "libc@1.0.0")
	s.publish("app@1.0.0", "libc@1.0.0", "tool@1.0.0")
	for name, work := range map[string]func(context.Context, index.Source) error{
		"pull": func(ctx context.Context, src index.Source) error {
			o := s.options(s.local())
			c := pull.NewCache(src, t.TempDir())
			s.through(&o, c)
			_, err := pull.Pull(ctx, o, "app", "")
			return err
		},
		"mirror": func(ctx context.Context, src index.Source) error {
			_, err := pull.Mirror(ctx, s.mirroring(src, t.TempDir()+"/mirror", "app", "tool"))
			return err
		},
	} {
		before := runtime.NumGoroutine()
		for answered := 4; answered < 40; answered += 5 {
			ctx, cancel := context.WithCancel(t.Context())
			src := stuck{s.local(), make(chan struct{}, answered), make(chan struct{}, 1)}
			for range answered {
				src.left <- struct{}{}
			}
			ended := make(chan error, 1)
			go func() { ended <- work(ctx, src) }()
			select {
			case <-src.waiting:
				cancel()
				if err := <-ended; err == nil {
					t.Errorf("%s after %d files: given up, and no error", name, answered)
				}
			case err := <-ended:
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("%s after %d files: %v", name, answered, err)
				}
				cancel()
			}
		}
		if after := settledAt(before); after > before {
			t.Errorf("%s: %d goroutines before, %d after", name, before, after)
		}
	}
}

// settledAt waits for the number of goroutines to come down.
func settledAt(want int) (now int) {
	for range 500 {
		if now = runtime.NumGoroutine(); now <= want {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return now
}
