package engine

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/control"
	"github.com/moby/buildkit/executor/oci"
	"github.com/moby/buildkit/frontend"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/solver"
	"github.com/moby/buildkit/solver/bboltcachestorage"
	"github.com/moby/buildkit/util/db/boltutil"
	"github.com/moby/buildkit/util/grpcerrors"
	"github.com/moby/buildkit/util/network/netproviders"
	"github.com/moby/buildkit/util/resolver"
	"github.com/moby/buildkit/worker"
	"github.com/moby/buildkit/worker/base"
	"github.com/moby/buildkit/worker/runc"
	"github.com/sirupsen/logrus"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sync/semaphore"
	"google.golang.org/grpc"

	"rebuild/store"
)

// runEngine is the engine process: BuildKit's controller on an inherited
// listener, with no frontend, no cache backend and no entitlement. LLB is all
// that it takes.
func runEngine(args []string) int {
	// Our own handlers, so that signals which the caller ignored are not
	// ignored in stages either.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT)
	defer stop()
	syscall.CloseOnExec(fdListener)
	syscall.CloseOnExec(fdLock)
	logrus.SetLevel(logrus.ErrorLevel)
	cfg, err := readConfig(args)
	if err == nil {
		err = serve(ctx, cfg)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "engine: %v\n", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context, cfg childConfig) error {
	listener, err := net.FileListener(os.NewFile(fdListener, "listener"))
	if err != nil {
		return err
	}
	w, err := newWorker(ctx, cfg)
	if err != nil {
		return err
	}
	controller, err := newController(ctx, w)
	if err != nil {
		return err
	}
	defer controller.Close()
	server := grpc.NewServer(
		grpc.ChainUnaryInterceptor(grpcerrors.UnaryServerInterceptor),
		grpc.ChainStreamInterceptor(grpcerrors.StreamServerInterceptor),
		grpc.MaxRecvMsgSize(defaults.DefaultMaxRecvMsgSize),
		grpc.MaxSendMsgSize(defaults.DefaultMaxSendMsgSize))
	controller.Register(server)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	hurry := time.AfterFunc(5*time.Second, server.Stop)
	defer hurry.Stop()
	server.GracefulStop()
	return nil
}

func newWorker(ctx context.Context, cfg childConfig) (worker.Worker, error) {
	snapshotter := runc.SnapshotterFactory{Name: "overlayfs", New: func(root string) (snapshots.Snapshotter, error) {
		return overlay.NewSnapshotter(root, overlay.AsynchronousRemove)
	}}
	var limit *semaphore.Weighted
	if cfg.Parallel > 0 {
		limit = semaphore.NewWeighted(cfg.Parallel)
	}
	cgroup := ""
	if !cfg.Rootless {
		cgroup = "/" + filepath.Base(cfg.Root) // the janitor knows it by this name
	}
	opt, err := runc.NewWorkerOpt(rootDir, snapshotter, cfg.Rootless, oci.ProcessSandbox, nil, nil,
		// "host" only serves UNSET, which the guard refuses; NONE always exists.
		netproviders.Opt{Mode: "host"}, nil, filepath.Join(binDir, shimName), "", false, limit,
		"", // no trace socket: it would put one into every stage
		cgroup, nil)
	if err != nil {
		return nil, fmt.Errorf("making the worker: %w", err)
	}
	opt.RegistryHosts = resolver.NewRegistryConfig(nil)
	opt.GCPolicy = []client.PruneInfo{{All: true, ReservedSpace: 20 << 30}}
	opt.Executor = guard{opt.Executor}
	w, err := base.NewWorker(ctx, opt)
	if err != nil {
		return nil, fmt.Errorf("making the worker: %w", err)
	}
	st, err := store.Open(storeDir)
	if err != nil {
		return nil, err
	}
	return exportingWorker{w, w, st}, nil
}

func newController(ctx context.Context, w worker.Worker) (*control.Controller, error) {
	sessions, err := session.NewManager()
	if err != nil {
		return nil, err
	}
	workers := &worker.Controller{}
	if err := workers.Add(w); err != nil {
		return nil, err
	}
	cache, err := bboltcachestorage.NewStore(filepath.Join(rootDir, "cache.db"))
	if err != nil {
		return nil, err
	}
	history, err := boltutil.SafeOpen(filepath.Join(rootDir, "history.db"), 0o600, &bolt.Options{FreelistType: bolt.FreelistMapType})
	if err != nil {
		return nil, err
	}
	return control.NewController(control.Opt{
		SessionManager:   sessions,
		WorkerController: workers,
		Frontends:        map[string]frontend.Frontend{},
		CacheManager:     solver.NewCacheManager(ctx, "local", cache, worker.NewCacheResultStorage(workers)),
		HistoryDB:        history,
		CacheStore:       cache,
		LeaseManager:     w.LeaseManager(),
		ContentStore:     w.ContentStore(),
		GarbageCollect:   w.GarbageCollect,
		GracefulStop:     ctx.Done(),
	})
}
