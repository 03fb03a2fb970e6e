package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"rebuild/internal/fault"
)

// Limits bounds what peers can take of a server, all of them together and one
// alone. A zero field is that of [DefaultLimits].
type Limits struct {
	Connections int           // at once
	PerHost     int           // of them, from one address
	Header      int           // bytes
	HeaderTime  time.Duration // for a header to come in
	Time        time.Duration // for a request and for an answer, beside what MinRate gives for their size
	MinRate     int64         // bytes a second; who is slower is cut off
	Idle        time.Duration // between requests
	Drain       time.Duration // for requests under way when the server ends
}

// DefaultLimits are good for a hub of some hundred operators, and let the
// largest archive through a line of half a megabit.
var DefaultLimits = Limits{
	Connections: 512, PerHost: 128, Header: 16 << 10, HeaderTime: 10 * time.Second,
	Time: 2 * time.Minute, MinRate: 64 << 10, Idle: time.Minute, Drain: time.Minute,
}

func (l Limits) orDefault() Limits {
	d := DefaultLimits
	set(&l.Connections, d.Connections)
	set(&l.PerHost, d.PerHost)
	set(&l.Header, d.Header)
	set(&l.HeaderTime, d.HeaderTime)
	set(&l.Time, d.Time)
	set(&l.MinRate, d.MinRate)
	set(&l.Idle, d.Idle)
	set(&l.Drain, d.Drain)
	return l
}

func set[T comparable](to *T, otherwise T) {
	var zero T
	if *to == zero {
		*to = otherwise
	}
}

// Service is what [Serve] needs.
type Service struct {
	Handler http.Handler
	Limits  Limits
	Wall    func() time.Time  // of the machine, for deadlines
	Access  func(line string) // is told of every request; nil: nobody is
}

// Serve answers on a listener until the context ends. Then it takes no more
// connections, finishes the requests that are under way, in the time that the
// limits have for it, and returns; nothing goes on afterwards. That end is no
// error.
func Serve(ctx context.Context, l net.Listener, s Service) error {
	limits := s.Limits.orDefault()
	server := &http.Server{
		Handler:           &served{s, limits, new(atomic.Uint64), fmt.Sprintf("%x", s.Wall().Unix())},
		ReadHeaderTimeout: limits.HeaderTime, ReadTimeout: limits.HeaderTime + limits.Time,
		WriteTimeout: limits.HeaderTime + limits.Time, IdleTimeout: limits.Idle, MaxHeaderBytes: limits.Header,
		ErrorLog: log.New(io.Discard, "", 0),
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(newDoor(l, limits)) }()
	select {
	case err := <-done:
		return fault.New(fault.Internal, "serving: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), limits.Drain)
	defer cancel()
	err := server.Shutdown(drain)
	if err != nil {
		err = errors.Join(err, server.Close())
	}
	<-done
	if err != nil {
		return fault.New(fault.Internal, "requests were still under way %s after the end: %w", limits.Drain, err)
	}
	return nil
}

// served is the handler with what every request gets: an id, deadlines by its
// size and that of its answer, and a line in the log.
type served struct {
	Service
	limits Limits
	count  *atomic.Uint64
	start  string
}

type idKey struct{}

// requestID is the id that a request got from [Serve]; "" outside of it.
func requestID(r *http.Request) string {
	id, _ := r.Context().Value(idKey{}).(string)
	return id
}

func (s *served) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := s.start + "-" + strconv.FormatUint(s.count.Add(1), 10)
	begun := s.Wall()
	allowed := s.limits.Time + s.transfer(r.ContentLength)
	ctx, cancel := context.WithTimeout(context.WithValue(r.Context(), idKey{}, id), allowed)
	defer cancel()
	out := &answering{ResponseWriter: w, control: http.NewResponseController(w), served: s}
	_ = out.control.SetReadDeadline(begun.Add(allowed)) // without one, that of the server stands
	_ = out.control.SetWriteDeadline(begun.Add(allowed + s.limits.Time))
	w.Header().Set("X-Request-Id", id)
	s.Handler.ServeHTTP(out, r.WithContext(ctx))
	if s.Access != nil {
		s.Access(fmt.Sprintf("%s %s %s %s %d %d %s", id, r.RemoteAddr, r.Method, oneLine(r.URL.EscapedPath()), out.status, out.sent, s.Wall().Sub(begun).Round(time.Millisecond)))
	}
}

// transfer is how long a number of bytes may take.
func (s *served) transfer(size int64) time.Duration {
	return time.Duration(max(size, 0)/s.limits.MinRate) * time.Second
}

// answering is an answer that has time by its size.
type answering struct {
	http.ResponseWriter
	control *http.ResponseController
	served  *served
	status  int
	sent    int64
}

// Unwrap is for http.ResponseController.
func (a *answering) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answering) WriteHeader(status int) {
	a.status = status
	size, _ := strconv.ParseInt(a.Header().Get("Content-Length"), 10, 64)
	_ = a.control.SetWriteDeadline(a.served.Wall().Add(a.served.limits.Time + a.served.transfer(size)))
	a.ResponseWriter.WriteHeader(status)
}

func (a *answering) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	n, err := a.ResponseWriter.Write(p)
	a.sent += int64(n)
	return n, err
}

// ReadFrom lets the system copy a file into the connection by itself.
func (a *answering) ReadFrom(r io.Reader) (int64, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	n, err := io.Copy(a.ResponseWriter, r)
	a.sent += n
	return n, err
}

// door is a listener that lets in so many connections at once. Over the limit
// of all it does not answer, over that of one address it hangs up, so that one
// peer can not keep the others out.
type door struct {
	net.Listener
	places  chan struct{}
	perHost int
	closed  chan struct{}
	once    sync.Once

	mu    sync.Mutex
	hosts map[string]int
}

func newDoor(l net.Listener, limits Limits) *door {
	return &door{Listener: l, places: make(chan struct{}, limits.Connections), perHost: limits.PerHost,
		closed: make(chan struct{}), hosts: map[string]int{}}
}

// Close closes the listener, also for who waits for a place.
func (d *door) Close() error {
	d.once.Do(func() { close(d.closed) })
	return d.Listener.Close()
}

// Accept waits for a place and a connection.
func (d *door) Accept() (net.Conn, error) {
	select {
	case d.places <- struct{}{}:
	case <-d.closed:
		return nil, net.ErrClosed
	}
	for {
		c, err := d.Listener.Accept()
		if err != nil {
			<-d.places
			return nil, err
		}
		host := hostOf(c.RemoteAddr().String())
		if d.enter(host) {
			return &visitor{Conn: c, leave: sync.OnceFunc(func() { d.exit(host); <-d.places })}, nil
		}
		c.Close()
	}
}

func (d *door) enter(host string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hosts[host] >= d.perHost {
		return false
	}
	d.hosts[host]++
	return true
}

func (d *door) exit(host string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hosts[host]--; d.hosts[host] == 0 {
		delete(d.hosts, host)
	}
}

// visitor is a connection that gives its place back.
type visitor struct {
	net.Conn
	leave func()
}

// Close closes the connection.
func (v *visitor) Close() error {
	defer v.leave()
	return v.Conn.Close()
}

// hostOf is the address of a peer as far as it is one party: all of an IPv6
// network of 64 bits is one machine's to choose from.
func hostOf(remote string) string {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return remote
	}
	if ip := net.ParseIP(strings.Split(host, "%")[0]); ip != nil && ip.To4() == nil {
		return ip.Mask(net.CIDRMask(64, 128)).String()
	}
	return host
}
