package main

import (
	"bytes"
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"rebuild/attest"
	"rebuild/bootstrap"
	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/store"
)

// The commands that say what a build descends from.

func (a *app) bootstrapCommand() *cobra.Command {
	c := &cobra.Command{Use: "bootstrap", Short: "Show where every executable comes from"}
	c.AddCommand(a.bootstrapReportCommand(), a.bootstrapTraceCommand())
	return c
}

func (a *app) bootstrapReportCommand() *cobra.Command {
	var platform, svg string
	var strict bool
	var pairs []string
	c := a.verb("report", "Count what leads back to the seeds, and what does not", `  rebuild bootstrap report
  rebuild bootstrap report --strict --json
  rebuild bootstrap report --svg chain.svg
  rebuild bootstrap report --fixpoint tcc2:/bin/tcc=tcc3:/bin/tcc`, cobra.NoArgs, func(context.Context, []string) (result, error) {
		fixpoints, err := parsePairs(pairs)
		if err != nil {
			return nil, err
		}
		l, err := a.lineage(platform, fixpoints...)
		if err != nil {
			return nil, err
		}
		if svg != "" {
			var picture bytes.Buffer
			if err := l.Picture(&picture); err != nil {
				return nil, err
			}
			if err := writeWhole("--svg", svg, picture.Bytes()); err != nil {
				return nil, err
			}
		}
		r := l.Report()
		if strict {
			err = r.Enforce()
		}
		return lineageReport{r}, err
	})
	c.Flags().StringVar(&platform, "platform", "", "platform, if the pipeline has several")
	c.Flags().BoolVar(&strict, "strict", false, "exit 41 unless everything is traced and nothing is opaque")
	c.Flags().StringVar(&svg, "svg", "", "write a picture of the chain to this `file`, instead of the one that is there")
	c.Flags().StringArrayVar(&pairs, "fixpoint", nil, "STAGE:PATH=STAGE:PATH, two executables that should be equal")
	return c
}

func parsePairs(words []string) ([]bootstrap.Pair, error) {
	var out []bootstrap.Pair
	for _, w := range words {
		first, second, ok := strings.Cut(w, "=")
		if !ok {
			return nil, fault.New(fault.Usage, "%q is not STAGE:PATH=STAGE:PATH", w).
				WithHint("name two files, each as STAGE:PATH")
		}
		a, err := bootstrap.ParsePlace(first)
		if err != nil {
			return nil, err
		}
		b, err := bootstrap.ParsePlace(second)
		if err != nil {
			return nil, err
		}
		out = append(out, bootstrap.Pair{A: a, B: b})
	}
	return out, nil
}

func (a *app) bootstrapTraceCommand() *cobra.Command {
	var platform string
	c := a.verb("trace STAGE:PATH", "Show the way from one executable back to a seed", `  rebuild bootstrap trace sha256sum:/bin/sha256sum
  rebuild bootstrap trace sha256sum:/bin/sha256sum --json`, cobra.ExactArgs(1), func(_ context.Context, args []string) (result, error) {
		place, err := bootstrap.ParsePlace(args[0])
		if err != nil {
			return nil, err
		}
		l, err := a.lineage(platform)
		if err != nil {
			return nil, err
		}
		chain, err := l.Trace(place)
		if err != nil {
			return nil, err
		}
		return lineageChain{chain}, chain.Enforce()
	})
	c.Flags().StringVar(&platform, "platform", "", "platform, if the pipeline has several")
	return c
}

// lineage computes the lineage of the last run of the pipeline.
func (a *app) lineage(platform string, pairs ...bootstrap.Pair) (*bootstrap.Lineage, error) {
	at, plan, report, err := a.lastRun(platform)
	if err != nil {
		return nil, err
	}
	st, err := store.Open(pipeline.StoreDir(at.state))
	if err != nil {
		return nil, err
	}
	return pipeline.Trace(plan, report, st, pairs...)
}

// lineageOf is the lineage that a result statement carries.
func lineageOf(at places, plan *pipeline.Plan, report *pipeline.Report) (*attest.Lineage, error) {
	return pipeline.LineageResult(at.state, plan, report)
}

// maxReport bounds a lineage report in bytes, far above what plans give.
const maxReport = 64 << 20

// lineageText returns the report that a statement's lineage names by digest, to
// go with the statement.
func lineageText(at places, l *attest.Lineage) ([][]byte, error) {
	if l == nil || l.Report == "" {
		return nil, nil
	}
	st, err := store.Open(pipeline.StoreDir(at.state))
	if err != nil {
		return nil, err
	}
	text, err := st.Read(l.Report, maxReport)
	return [][]byte{text}, err
}

type lineageReport struct{ *bootstrap.Report }

func (r lineageReport) Print(out io.Writer) { r.Report.Print(out, oneLine) }

type lineageChain struct{ *bootstrap.Chain }

func (c lineageChain) Print(out io.Writer) { c.Chain.Print(out, oneLine) }
