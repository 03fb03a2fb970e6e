// Command rebuild runs digest-pinned, network-less build stages from a seed
// small enough to read, compares what independent rebuilders got, and emits a
// signed release only when a policy's quorum agrees.
//
// Nothing in this package decides anything about builds or trust: it reads
// flags, calls the packages beside it and prints. tui.go holds the law of
// output; each other file holds one group of commands.
package main

import (
	"context"
	"crypto/rand"
	"io"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"rebuild/engine"
)

// Set by the linker; see the Makefile.
var (
	version = "devel"
	commit  = "unknown"
)

func main() {
	if status, ours := engine.Reexec(os.Args); ours {
		os.Exit(status)
	}
	log.SetOutput(io.Discard) // libraries write here; what counts comes back as errors
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// The first signal ends the work cleanly, the second ends it at once.
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], world{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		getenv: os.Getenv, now: time.Now, wall: time.Now, random: rand.Reader,
	}))
}
