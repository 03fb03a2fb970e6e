package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rebuild/attest"
	"rebuild/hub"
	"rebuild/index"
	"rebuild/internal/document"
	"rebuild/internal/fault"
)

// The commands that answer requests: index serve, which hands out the files of
// an index, and hub serve, which takes publications in too.

// listenOptions are the flags of who listens.
type listenOptions struct {
	listen    string
	withdrawn string
	verbose   bool
}

func (o *listenOptions) flags(c *cobra.Command, address string) {
	f := c.Flags()
	f.StringVar(&o.listen, "listen", address, "address and port; port 0 takes a free one")
	f.StringVar(&o.withdrawn, "withdrawn", "", `file with lines "410 PATH" and "451 PATH": what of the index is not given out`)
	f.BoolVar(&o.verbose, "verbose", false, "a line on stderr for each request")
}

func (a *app) indexServeCommand() *cobra.Command {
	var o listenOptions
	c := a.verb("serve DIR", "Serve an index over HTTP until it is interrupted",
		`  rebuild index serve release/index
  rebuild index serve /srv/index --listen 0.0.0.0:8017 --verbose`, cobra.ExactArgs(1),
		func(ctx context.Context, args []string) (result, error) {
			dir, err := indexFolder(args[0])
			if err != nil {
				return nil, err
			}
			a.finishIndex(ctx, dir)
			files, err := hub.OpenFiles(dir, hub.FilesOptions{Wall: a.wall, Withdrawn: o.withdrawn})
			if err != nil {
				return nil, err
			}
			defer files.Close()
			return a.serve(ctx, o, files, "/")
		})
	o.flags(c, "127.0.0.1:8017")
	return c
}

// finishPatience is how long is waited for whoever holds the lock of an index,
// as anybody can who reads it. A writer finishes what it began itself.
const finishPatience = 5 * time.Second

// finishIndex shows readers what a writer that crashed has logged and not shown.
// An index that can not be written is served as it is, as everywhere else:
// readers who miss something say so themselves.
func (a *app) finishIndex(ctx context.Context, dir string) {
	ctx, cancel := context.WithTimeout(ctx, finishPatience)
	defer cancel()
	finished, err := index.Finish(ctx, dir)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		a.note("a publication is under way here, or was interrupted: another process has kept the lock of the index for %s", finishPatience)
		a.note("if readers say VIEW_MISMATCH for longer, run rebuild index fsck %s --repair", dir)
	case err != nil:
		a.note("a publication was interrupted here and can not be finished: %s", oneLine(err.Error()))
		a.note("run rebuild index fsck %s --repair; until then readers may say VIEW_MISMATCH", dir)
	case finished:
		a.note("finished a publication that was interrupted")
	}
}

func (a *app) hubCommand() *cobra.Command {
	c := &cobra.Command{Use: "hub", Short: "Take publications in over HTTP, and send them"}
	c.AddCommand(a.hubServeCommand(), a.hubSendCommand())
	return c
}

// hubOptions are the flags of hub serve.
type hubOptions struct {
	listenOptions
	index, policy, indexKey, logKey, data string
}

func (a *app) hubServeCommand() *cobra.Command {
	var o hubOptions
	c := a.verb("serve", "Serve an index and let operators and signers publish in it",
		`  rebuild hub serve --index /srv/index --policy policy.toml --index-key index.key --log-key log.key --data /srv/hub
  rebuild hub serve --index /srv/index --policy policy.toml --index-key index.key --data /srv/hub --listen 0.0.0.0:8018`, cobra.NoArgs,
		func(ctx context.Context, _ []string) (result, error) { return a.hubServe(ctx, o) })
	f := c.Flags()
	f.StringVar(&o.index, "index", "", "folder of the index; made with rebuild index init")
	f.StringVarP(&o.policy, "policy", "p", "", "policy.toml, which says whose writes are taken")
	f.StringVar(&o.indexKey, "index-key", "", "key file that signs index entries")
	f.StringVar(&o.logKey, "log-key", "", "key file that signs the log's checkpoints, of an index that has a log")
	f.StringVar(&o.data, "data", "", "folder for what is not in the index yet")
	o.flags(c, "127.0.0.1:8018")
	return c
}

func (a *app) hubServe(ctx context.Context, o hubOptions) (result, error) {
	var missing []string
	for _, f := range [][2]string{{"--index", o.index}, {"--index-key", o.indexKey}, {"--data", o.data}} {
		if f[1] == "" {
			missing = append(missing, f[0])
		}
	}
	if missing != nil {
		return nil, fault.New(fault.Usage, "no %s", strings.Join(missing, ", ")).WithHint("see: rebuild hub serve --help")
	}

	dir, err := localIndex(o.index)
	if err != nil {
		return nil, err
	}
	if o.index = dir; inside(o.index, o.data) {
		return nil, fault.New(fault.Usage, "--data %s is in the index, and what is not published yet would be handed out", o.data).WithHint("name another folder with --data DIR")
	}
	policy, err := a.readPolicy(o.policy)
	if err != nil {
		return nil, err
	}
	x, origin, err := a.hubIndex(ctx, o, policy)
	if err != nil {
		return nil, err
	}
	h, err := hub.New(ctx, hub.Options{
		Index: x, Policy: policy, Dir: o.index, Origin: origin, Data: o.data, Withdrawn: o.withdrawn,
		Now: a.now, Wall: a.wall, Trouble: a.logLine,
	})
	if err != nil {
		return nil, err
	}
	defer h.Close()
	return a.serve(ctx, o.listenOptions, h, "")
}

// hubIndex opens the index for writing and finishes what a crash has left
// undone, so that it is whole before anybody reads it.
func (a *app) hubIndex(ctx context.Context, o hubOptions, policy *attest.Policy) (*index.Index, string, error) {
	x, w, config, err := a.openWriter(o.index, policy, o.indexKey, o.logKey)
	if err != nil {
		return nil, "", err
	}
	// By another key or log each publication would be refused, by the hub or by
	// all who read it.
	if _, err := policy.IndexKey(w.Key.Public().ID(), a.now()); err != nil {
		return nil, "", err
	}
	if want := policy.LogOrigin(); want != "" && (config.Log == nil || config.Log.Origin != want) {
		return nil, "", fault.New(fault.ViewMismatch, "policy %s names log %s, which is not the log of %s", policy.Name(), want, o.index).
			WithHint("name the index of that log with --index, or give the policy that goes with this one")
	}
	if err := policy.CheckAt(a.now()); err != nil {
		a.note("warning: %s; no release is taken", oneLine(err.Error()))
	}
	if config.Log == nil {
		return x, "", nil
	}
	return x, config.Log.Origin, x.Recover(ctx)
}

// serve listens, says where, and answers until the context ends.
func (a *app) serve(ctx context.Context, o listenOptions, h http.Handler, path string) (result, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return nil, fault.New(fault.Usage, "--listen %s: %w", o.listen, plainly(err)).WithHint("give --listen HOST:PORT with a port that is free")
	}
	r := &serveResult{URL: "http://" + l.Addr().String() + path}
	if err := a.announce(r.URL); err != nil {
		l.Close()
		return nil, err
	}
	service := hub.Service{Handler: h, Wall: a.wall}
	if o.verbose {
		service.Access = a.logLine
	}
	if err := hub.Serve(ctx, l, service); err != nil {
		return nil, err
	}
	a.note("ended; no request was cut off")
	return r, nil
}

// announce says where the server is as soon as it listens: on stdout, a line or
// with --json a line of the stream, for who started it and waits for that.
func (a *app) announce(url string) error {
	line := url
	if a.json {
		at, err := attest.FormatTime(a.now().UTC().Truncate(time.Second))
		if err != nil {
			return err
		}
		data, err := document.Encode(listening{document.Stream.ID(), a.command, "server", url, "listening", at})
		if err != nil {
			return err
		}
		line = string(data)
	}
	_, err := fmt.Fprintln(a.stdout, line)
	return err
}

// listening is the line of the stream that says where a server is.
type listening struct {
	SchemaVersion string `json:"schema_version"`
	Command       string `json:"command"`
	Kind          string `json:"kind"`
	Name          string `json:"name"`
	State         string `json:"state"`
	At            string `json:"at"`
}

// logLine writes a line of a server's log, in one write, as several requests
// are answered at once.
func (a *app) logLine(line string) {
	fmt.Fprint(a.stderr, oneLine(line)+"\n")
}

// serveResult is what is left to say when a server has ended.
type serveResult struct {
	URL string `json:"url"`
}

// Print prints nothing: the address was printed when it was good for something.
func (serveResult) Print(io.Writer) {}
