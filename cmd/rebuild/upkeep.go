package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"rebuild/bootstrap"
	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/stages"
	"rebuild/store"
)

// The commands of upkeep: the store, and what this binary is and reads.

func (a *app) storeCommand() *cobra.Command {
	c := &cobra.Command{Use: "store", Short: "Check, clean and measure the store"}
	open := func() (*store.Store, places, error) {
		at, err := a.places()
		if err != nil {
			return nil, at, err
		}
		st, err := store.Open(pipeline.StoreDir(at.state))
		return st, at, err
	}
	fsck := a.verb("fsck", "Hash every blob and check that everything named is there", "  rebuild store fsck",
		cobra.NoArgs, func(ctx context.Context, _ []string) (result, error) {
			st, _, err := open()
			if err != nil {
				return nil, err
			}
			r, err := st.Fsck(ctx)
			if err != nil {
				return nil, err
			}
			return newFsckResult(r), r.Err()
		})
	var dry bool
	var grace time.Duration
	gc := a.verb("gc", "Remove what no record, run or tag needs", `  rebuild store gc --dry-run
  rebuild store gc --grace 1h`, cobra.NoArgs, func(ctx context.Context, _ []string) (result, error) {
		st, at, err := open()
		if err != nil {
			return nil, err
		}
		roots, err := pipeline.Roots(at.state)
		if err != nil {
			return nil, err
		}
		r, err := st.GC(ctx, store.GCOptions{Roots: roots, Now: a.now(), Grace: grace, DryRun: dry})
		if err != nil {
			return nil, err
		}
		return gcResult{r.Kept, len(r.Removed), r.Bytes, len(r.Temp), dry}, nil
	})
	gc.Flags().BoolVarP(&dry, "dry-run", "n", false, "only say what would be removed")
	gc.Flags().DurationVar(&grace, "grace", 24*time.Hour, "keep what is younger, which a run under way may have written")
	du := a.verb("du", "Say what takes how much", "  rebuild store du", cobra.NoArgs, func(context.Context, []string) (result, error) {
		st, _, err := open()
		if err != nil {
			return nil, err
		}
		kinds, err := st.Usage()
		if err != nil {
			return nil, err
		}
		r := duResult{}
		for _, k := range kinds {
			r.Kinds = append(r.Kinds, duKind{string(k.Kind), k.Blobs, k.Bytes})
		}
		return r, nil
	})
	c.AddCommand(fsck, gc, du)
	return c
}

type fsckResult struct {
	Blobs     int      `json:"blobs"`
	Bytes     int64    `json:"bytes"`
	Problems  []string `json:"problems"`
	Leftovers []string `json:"leftovers"`
}

func newFsckResult(r *store.Report) fsckResult {
	out := fsckResult{Blobs: r.Blobs, Bytes: r.Bytes, Problems: []string{}, Leftovers: r.Leftovers}
	for _, p := range r.Problems {
		out.Problems = append(out.Problems, p.Path+": "+p.Err.Error())
	}
	return out
}

func (r fsckResult) Print(out io.Writer) {
	for _, p := range r.Problems {
		fmt.Fprintln(out, oneLine(p))
	}
	fmt.Fprintf(out, "%d blobs, %d bytes, %d problems\n", r.Blobs, r.Bytes, len(r.Problems))
}

type gcResult struct {
	Kept    int   `json:"kept"`
	Removed int   `json:"removed"`
	Bytes   int64 `json:"bytes"`
	Temp    int   `json:"temp"`
	DryRun  bool  `json:"dry_run"`
}

func (r gcResult) Print(out io.Writer) {
	verb := "removed"
	if r.DryRun {
		verb = "would remove"
	}
	fmt.Fprintf(out, "%s %d blobs, %d bytes, and %d leftovers; kept %d blobs\n", verb, r.Removed, r.Bytes, r.Temp, r.Kept)
}

type duResult struct {
	Kinds []duKind `json:"kinds"`
}

type duKind struct {
	Kind  string `json:"kind"`
	Blobs int    `json:"blobs"`
	Bytes int64  `json:"bytes"`
}

func (r duResult) Print(out io.Writer) {
	for _, k := range r.Kinds {
		fmt.Fprintf(out, "%12d  %6d blobs  %s\n", k.Bytes, k.Blobs, k.Kind)
	}
}

func (a *app) versionCommand() *cobra.Command {
	return a.verb("version", "Say what this binary is made from", "  rebuild version --json", cobra.NoArgs,
		func(ctx context.Context, _ []string) (result, error) {
			self, err := selfDigest()
			if err != nil {
				return nil, err
			}
			r := versionResult{Version: version, Commit: commit, Go: runtime.Version(), Digest: self}
			at, err := a.places()
			if err != nil {
				return nil, err
			}
			e := a.engine(at, 0, noVariation, nil)
			defer e.Close()
			if env, err := e.Environment(ctx); err == nil {
				r.BuildKit, r.Runtime = env.EngineVersion, env.Runtime
			}
			seed, err := seedDigest()
			r.Seed = seed
			return r, err
		})
}

// seedDigest is the digest of the seed that the built-in recipes start from.
func seedDigest() (store.Digest, error) {
	text, err := fs.ReadFile(stages.Builtin(), seedText)
	if err != nil {
		return "", fault.New(fault.Internal, "%w", err)
	}
	seed, err := bootstrap.DecodeHex(seedText, text)
	return store.DigestOf(seed), err
}

type versionResult struct {
	Version  string       `json:"version"`
	Commit   string       `json:"commit"`
	Go       string       `json:"go"`
	BuildKit string       `json:"buildkit,omitempty"`
	Runtime  string       `json:"runtime,omitempty"`
	Seed     store.Digest `json:"seed"`
	Digest   store.Digest `json:"digest"`
}

func (r versionResult) Print(out io.Writer) {
	fmt.Fprintf(out, "rebuild %s\ncommit   %s\ngo       %s\nbuildkit %s\nruntime  %s\nseed     %s\nbinary   %s\n",
		r.Version, r.Commit, r.Go, orDefault(r.BuildKit, "unknown"), orDefault(r.Runtime, "none"), r.Seed, r.Digest)
}
