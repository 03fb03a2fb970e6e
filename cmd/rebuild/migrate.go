package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"rebuild/index"
	"rebuild/internal/document"
	"rebuild/internal/durable"
	"rebuild/internal/fault"
	"rebuild/migrate"
	"rebuild/pipeline"
)

// The commands about versions of documents: which there are, and bringing those
// on disk up to date. No command needs the latter to have been run.

func (a *app) versionsCommand() *cobra.Command {
	return a.verb("versions", "List the documents this binary writes, reads and migrates", `  rebuild versions
  rebuild versions --json`, cobra.NoArgs,
		func(context.Context, []string) (result, error) {
			r := versionsResult{}
			for _, k := range document.Kinds() {
				r = append(r, documentWindow{k.Name, k.File, k.Authoritative, k.Cache(), k.Audience, "tooling", k.Current, k.Read, append([]string{}, k.Migrate...)})
			}
			for _, f := range document.Formats() {
				facing := "tooling"
				if f.Runtime {
					facing = "runtime"
				}
				r = append(r, documentWindow{f.Name, f.File, f.Authoritative, false, f.Audience, facing, "", []string{}, []string{}})
			}
			return r, nil
		})
}

type versionsResult []documentWindow

// documentWindow is one row of the consumer's contract: what there is, where,
// for whom, whether it decides, and which versions are read and migrated.
// Formats that others define, or that carry no schema_version, have no windows.
type documentWindow struct {
	ID            string   `json:"id"`
	File          string   `json:"file"`
	Authoritative bool     `json:"authoritative"`
	Cache         bool     `json:"cache"` // made again when it is lost or can not be read
	Audience      string   `json:"audience"`
	Facing        string   `json:"facing"` // "runtime" or "tooling"
	Current       string   `json:"current"`
	Read          []string `json:"read"`
	Migrate       []string `json:"migrate"`
}

func (r versionsResult) Print(out io.Writer) {
	for _, d := range r {
		mark := "derived"
		switch {
		case d.Authoritative:
			mark = "authoritative"
		case d.Cache:
			mark = "cache"
		}
		version := d.Current
		for _, old := range d.Migrate {
			version += " <" + old
		}
		fmt.Fprintf(out, "%-24s %-13s %-14s %-8s %s\n", d.ID, version, mark, d.Facing, d.Audience)
	}
}

func (a *app) migrateCommand() *cobra.Command {
	var check, write bool
	c := a.verb("migrate [PATH...]", "Bring documents of older versions up to date on disk", `  rebuild migrate --check
  rebuild migrate --write my-pipeline release/index`, cobra.ArbitraryArgs, func(_ context.Context, args []string) (result, error) {
		if check && write {
			return nil, fault.New(fault.Usage, "--check and --write are two things").WithHint("give one of them; --check writes nothing")
		}
		if !check && !write {
			return nil, fault.New(fault.Usage, "say what is wanted, --check or --write").WithHint("rebuild migrate --check")
		}
		paths, err := a.migratePaths(args)
		if err != nil {
			return nil, err
		}
		r, err := migrate.Find(migrate.Options{Checks: map[string]migrate.Check{
			document.Lock.Name: pipeline.CheckLock, document.IndexConfig.Name: index.CheckConfig,
		}}, paths...)
		if err != nil {
			return nil, err
		}
		if write {
			if err := r.Write(durable.OS{}); err != nil {
				return migrateResult{r}, err
			}
		}
		return migrateResult{r}, r.Err()
	})
	c.Flags().BoolVar(&check, "check", false, "only look; exit 30 if something is to be done or can not be")
	c.Flags().BoolVar(&write, "write", false, "rewrite each in one step, with a backup beside it")
	return c
}

// migratePaths are the places to look in without arguments: the pipeline, the
// state root and the client's memory, as far as they are there.
func (a *app) migratePaths(args []string) ([]string, error) {
	if len(args) > 0 {
		return args, nil
	}
	at, err := a.places()
	if err != nil {
		return nil, err
	}
	places := []string{at.state}
	if _, ours := builtinFolder(a.dir); !ours {
		if _, err := os.Stat(filepath.Join(a.dir, pipeline.SettingsFile)); err == nil {
			places = append([]string{a.dir}, places...)
		}
	}
	if a.state == "" {
		seen, err := a.xdg("XDG_STATE_HOME", ".local/state")
		if err != nil {
			return nil, err
		}
		places = append(places, seen)
	}
	var there []string
	for _, p := range places {
		if _, err := os.Stat(p); err == nil {
			there = append(there, p)
		}
	}
	return there, nil
}

type migrateResult struct{ *migrate.Report }

func (r migrateResult) Print(out io.Writer) {
	for _, f := range r.Findings {
		what := string(f.Action)
		if f.Done {
			what = "migrated"
			if f.Action == migrate.Remake {
				what = "set aside"
			}
		}
		line := fmt.Sprintf("%-9s %s: %s", what, f.Path, orDefault(f.Found, "unreadable"))
		if f.Action == migrate.Rewrite {
			line += " -> " + f.To
		}
		if f.Done {
			line += ", old bytes in " + f.Backup
		} else if f.Why != "" {
			line += ": " + f.Why
		}
		fmt.Fprintln(out, oneLine(line))
	}
	fmt.Fprintf(out, "%d current, %d to migrate, %d can not be\n", r.Current, r.Pending(), r.Refused())
}
