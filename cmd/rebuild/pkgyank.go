package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"rebuild/attest"
	"rebuild/index"
	"rebuild/internal/fault"
	"rebuild/store"
)

type yankOptions struct {
	indexOptions
	index    string
	reason   string
	undo     bool
	advise   string
	unadvise string
	keys     []string
	from     string
	out      string
	hub      hubPublishOptions
}

func (a *app) pkgYankCommand() *cobra.Command {
	o := &yankOptions{}
	c := a.verb("yank NAME@VERSION", "Yank a version or attach an advisory, or take either back",
		`  rebuild pkg yank hello@0.1.0 --reason "wrong docs" --index index --policy policy.toml --log-key log.key --key signer-1.key --key signer-2.key
  rebuild pkg yank hello@0.1.0 --advise CVE-2026-1234 --reason "see there" --index index --policy policy.toml --key signer-1.key -o one.dsse.json
  rebuild pkg yank hello@0.1.0 --from one.dsse.json --key signer-2.key -o both.dsse.json`, cobra.ExactArgs(1),
		func(ctx context.Context, args []string) (result, error) {
			name, version, err := reference(args[0])
			if err != nil {
				return nil, err
			}
			if version == "" {
				return nil, fault.New(fault.Usage, "%s names no version", args[0]).WithHint("name one: %s@VERSION", args[0])
			}
			return a.yank(ctx, o, name, version)
		})
	f := c.Flags()
	f.StringVar(&o.index, "index", "", "folder of the index")
	f.StringVar(&o.hub.hub, "hub", "", "URL of the hub to send the statement to, instead of --index")
	f.DurationVar(&o.hub.patience, "patience", hubPatience, "with --hub: how long to wait until it shows")
	f.StringVar(&o.reason, "reason", "", "why, for whoever meets the version")
	f.BoolVar(&o.undo, "undo", false, "take back that the version is yanked")
	f.StringVar(&o.advise, "advise", "", "attach the advisory with this id instead")
	f.StringVar(&o.unadvise, "unadvise", "", "take back the advisory with this id")
	f.StringArrayVar(&o.keys, "key", nil, "release signer's or owner's key file; once for each")
	f.StringVar(&o.from, "from", "", "statement that -o wrote, to add signatures to")
	f.StringVarP(&o.out, "output", "o", "", "file for the statement, as far as it is signed; enter it with index add")
	o.policyFlag(c, "policy.toml")
	o.logKeyFlag(c)
	c.MarkFlagsMutuallyExclusive("undo", "advise", "unadvise")
	c.MarkFlagsMutuallyExclusive("index", "hub")
	c.MarkFlagsMutuallyExclusive("log-key", "hub")
	c.MarkFlagsMutuallyExclusive("index", "patience")
	for _, made := range []string{"reason", "undo", "advise", "unadvise"} {
		c.MarkFlagsMutuallyExclusive("from", made)
	}
	return c
}

// yank makes a yank statement or takes one up, signs it, and hands it on or
// enters it.
func (a *app) yank(ctx context.Context, o *yankOptions, name, version string) (result, error) {
	data, there, err := a.yankStatement(ctx, o, name, version)
	if err != nil {
		return nil, err
	}
	if there != nil {
		a.note("that is so already; nothing was written")
		return yankResult{there.Name, there.Version, there.Yanked, there.Advisories, ""}, nil
	}
	if len(o.keys) == 0 && o.out != "" && o.from == "" {
		return a.handOnYank(o.out, data)
	}
	signers, err := a.readKeys(o.keys)
	if err != nil {
		return nil, err
	}
	signed, y, err := attest.SignYank(data, signers...)
	if err != nil {
		return nil, mistaken(err, anEnvelope, orDefault(o.from, "the statement"), data)
	}
	if y.Name != name || y.Version != version {
		return nil, fault.New(fault.EvidenceMismatch, "the statement is about %s@%s", y.Name, y.Version).WithHint("name what it is about")
	}
	a.note("signed: %s %s@%s: %s", y.Action, y.Name, y.Version, oneLine(y.Reason))
	if o.out != "" {
		return a.handOnYank(o.out, signed)
	}
	e, err := a.enterYank(ctx, o, y, signed)
	if err != nil {
		return nil, err
	}
	envelope, err := attest.ParseEnvelope("yank", signed)
	if err != nil {
		return nil, err
	}
	return yankResult{e.Name, e.Version, e.Yanked, e.Advisories, envelope.Digest()}, nil
}

// enterYank enters a statement into the index folder, or sends it to the hub.
func (a *app) enterYank(ctx context.Context, o *yankOptions, y attest.Yank, signed []byte) (*index.Entry, error) {
	if o.hub.hub != "" {
		return a.sendYank(ctx, o, y, signed)
	}
	x, err := a.yankIndex(o)
	if err != nil {
		return nil, err
	}
	e, err := x.Yank(ctx, signed)
	if f := asFault(err); f != nil && f.Code == fault.KeyUnknown {
		f.Hint = "give --key with the keys of release signers that the policy names, and of all owners of the package"
	}
	return e, unwritable("--index", err)
}

// sendYank sends a statement to a hub, and reads the version back as any user
// will. A hub that took it and does not show it withholds it (STALE).
func (a *app) sendYank(ctx context.Context, o *yankOptions, y attest.Yank, signed []byte) (*index.Entry, error) {
	policy, err := a.readPolicy(o.policy)
	if err != nil {
		return nil, err
	}
	client, end, err := a.hubClient(o.hub.hub, "")
	if err != nil {
		return nil, err
	}
	defer end()
	written, err := client.Yank(ctx, signed)
	if err != nil {
		return nil, err
	}
	if log := policy.Log(); log != nil && written.Seq != nil {
		if _, err := client.Await(ctx, log, *written.Seq, o.hub.patience); err != nil {
			return nil, err
		}
	}
	x, err := a.openIndexThrough(ctx, client.Base+"/index/", policy, opening{}, pastCaches)
	if err != nil {
		return nil, err
	}
	e, err := x.Lookup(ctx, y.Name, y.Version)
	if err != nil {
		return nil, err
	}
	if !takesEffect(e, y) {
		return nil, fault.New(fault.Stale, "the hub took the %s of %s@%s and does not show it", y.Action, y.Name, y.Version).
			WithHint("ask who runs %s; the statement can be entered elsewhere", client.Base)
	}
	return e, x.Commit()
}

// pastCaches reads a source as it is now: what a writer does next depends on it.
func pastCaches(src index.Source) index.Source { return freshSource{src} }

type freshSource struct{ index.Source }

// Get implements [index.Source].
func (s freshSource) Get(ctx context.Context, path string, limit int64, _ bool) ([]byte, error) {
	return s.Source.Get(ctx, path, limit, true)
}

// takesEffect says whether a line has what a statement sets.
func takesEffect(e *index.Entry, y attest.Yank) bool {
	switch y.Action {
	case attest.ActionYank, attest.ActionUnyank:
		return e.Yanked == (y.Action == attest.ActionYank)
	default:
		return slices.Contains(e.Advisories, y.ID) == (y.Action == attest.ActionAdvise)
	}
}

// yankedSoFar returns what the statements about a version come to where the
// next one will be entered.
func (a *app) yankedSoFar(ctx context.Context, o *yankOptions, name, version string) (attest.Yanked, *index.Entry, error) {
	if o.hub.hub == "" {
		x, err := a.yankIndex(o)
		if err != nil {
			return attest.Yanked{}, nil, err
		}
		if o.out == "" { // what a stopped writer began may be this very statement
			if err := x.Recover(ctx); err != nil {
				return attest.Yanked{}, nil, unwritable("--index", err)
			}
		}
		return x.Yanked(ctx, name, version)
	}
	policy, err := a.readPolicy(o.policy)
	if err != nil {
		return attest.Yanked{}, nil, err
	}
	client, end, err := a.hubClient(o.hub.hub, "")
	if err != nil {
		return attest.Yanked{}, nil, err
	}
	defer end()
	x, err := a.openIndexThrough(ctx, client.Base+"/index/", policy, opening{}, pastCaches)
	if err != nil {
		return attest.Yanked{}, nil, err
	}
	return x.Yanked(ctx, name, version)
}

func (a *app) yankIndex(o *yankOptions) (*index.Index, error) {
	if o.index == "" {
		return nil, fault.New(fault.Usage, "no index to enter the statement in").WithHint("give --index DIR or --hub URL; -o FILE hands the statement on instead of entering it")
	}
	if o.policy == "" {
		return nil, fault.New(fault.Usage, "no policy to verify by").WithHint("give --policy policy.toml")
	}
	x, err := a.writer(&o.indexOptions, o.index)
	if at, located := index.Locate(o.index); located == nil && at.URL != nil {
		err = fault.New(fault.Usage, "%s is on a server, and an index is written in its folder", o.index).
			WithHint("name its hub with --hub in place of --index")
	}
	return x, err
}

// yankStatement reads the statement that others began, or makes a new one
// behind the last one about the version. If it would change nothing, as when
// the command is run again, there is none, and the entry as it is instead.
func (a *app) yankStatement(ctx context.Context, o *yankOptions, name, version string) (statement []byte, there *index.Entry, err error) {
	if o.from != "" {
		statement, err = a.readInput(o.from, attest.MaxEnvelope)
		return statement, nil, err
	}
	if o.reason == "" {
		return nil, nil, fault.New(fault.Usage, "no reason is given").WithHint("say why with --reason TEXT")
	}
	state, e, err := a.yankedSoFar(ctx, o, name, version)
	if err != nil {
		return nil, nil, err
	}
	at, err := attest.FormatTime(a.now().UTC().Truncate(time.Second))
	if err != nil {
		return nil, nil, err
	}
	y := attest.Yank{Name: e.Name, Version: e.Version, Action: attest.ActionYank, Reason: o.reason, At: at, After: state.Head}
	switch {
	case o.undo:
		y.Action = attest.ActionUnyank
	case o.advise != "":
		y.Action, y.ID = attest.ActionAdvise, o.advise
	case o.unadvise != "":
		y.Action, y.ID = attest.ActionUnadvise, o.unadvise
	}
	if takesEffect(e, y) {
		return nil, e, nil
	}
	if statement, err = attest.NewYank(y, e.Cksum); err != nil {
		return nil, nil, fault.New(fault.Usage, "%w", err).WithHint("give a --reason of one line, and an advisory by an id such as CVE-2026-1234")
	}
	return statement, nil, nil
}

func (a *app) handOnYank(to string, data []byte) (result, error) {
	if err := writeOutput(a, to, data); err != nil || to == "-" {
		return nil, err
	}
	a.note("add signatures with rebuild pkg yank --from, then enter it with rebuild index add")
	return yankFileResult{to}, nil
}

type yankFileResult struct {
	File string `json:"file"`
}

func (r yankFileResult) Print(out io.Writer) { fmt.Fprintln(out, r.File) }

type yankResult struct {
	Name       string       `json:"name"`
	Version    string       `json:"version"`
	Yanked     bool         `json:"yanked"`
	Advisories []string     `json:"advisories,omitempty"`
	Statement  store.Digest `json:"statement,omitempty"` // none if nothing was changed
}

func (r yankResult) Print(out io.Writer) {
	fmt.Fprintf(out, "%s@%s: %s\n", r.Name, r.Version, flagsText(r.Yanked, r.Advisories))
}

// flagsText says what the yank statements about a version come to.
func flagsText(yanked bool, advisories []string) string {
	text := "not yanked"
	if yanked {
		text = "yanked"
	}
	if len(advisories) == 0 {
		return text + ", no advisories"
	}
	return text + ", advisories " + strings.Join(advisories, " ")
}
