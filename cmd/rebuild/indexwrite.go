package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"rebuild/attest"
	"rebuild/index"
	"rebuild/index/translog"
	"rebuild/internal/fault"
	"rebuild/store"
)

// The commands of whoever keeps an index. They write in a folder; an index on a
// server is written where its folder is, or through its hub.

// indexWriters adds them to the index command.
func (a *app) indexWriters(c *cobra.Command) {
	c.AddCommand(a.indexInitCommand(), a.indexConfigCommand(), a.indexAddCommand(), a.indexSignCommand(),
		a.indexBackfillCommand(), a.indexFsckCommand(), a.indexExportCommand())
}

// localIndex returns the folder of an index that is to be written.
func localIndex(location string) (string, error) {
	at, err := index.Locate(location)
	if err != nil {
		return "", err
	}
	if at.URL != nil {
		shown := withoutUser(location, at)
		return "", fault.New(fault.Usage, "%s is on a server, and an index is written in its folder", shown).
			WithHint("%s", "publish there with: rebuild pkg publish --hub "+shown)
	}
	return at.Dir, nil
}

// withoutUser is a location as it was given, but for the credentials in it, which
// are not for whoever reads errors.
func withoutUser(location string, at index.Location) string {
	if at.User != nil {
		return at.String()
	}
	return location
}

// indexFolder returns the folder of an index that is there, whole or damaged. A
// mistyped path is no damaged index, and nothing is repaired in it.
func indexFolder(location string) (string, error) {
	at, err := index.Locate(location)
	if err != nil {
		return "", err
	}
	if at.URL != nil {
		shown := withoutUser(location, at)
		return "", fault.New(fault.Usage, "%s is on a server, and this is done where the index's folder is", shown).
			WithHint("name the folder; what a server says is checked by: rebuild index show %s", shown)
	}
	said := "none of the files of one is in it"
	for _, name := range []string{"config.json", "checkpoint", "objects", ".staged"} {
		_, err := os.Lstat(filepath.Join(at.Dir, name))
		if err == nil {
			return at.Dir, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			said = cause(err).Error()
		}
	}
	if _, err := os.Stat(at.Dir); err != nil {
		said = cause(err).Error()
	}
	return "", fault.New(fault.IndexFetch, "%s is not an index: %s", location, said).
		WithHint("check the path; a new index is made by: rebuild index init %s", location)
}

// openLog returns what opens the log of an index with its key.
func (a *app) openLog(origin string, key attest.Signer) index.OpenLog {
	return func(ctx context.Context, dir string) (index.LogWriter, error) {
		l, err := translog.Open(ctx, dir, translog.Options{Origin: origin, Key: key, Now: a.now})
		if err != nil {
			return nil, err // not a nil pointer in an interface
		}
		return l, nil
	}
}

// makeLog is openLog for an index that is being made, perhaps not for the first
// time.
func (a *app) makeLog(origin string, key attest.Signer) index.OpenLog {
	return func(ctx context.Context, dir string) (index.LogWriter, error) {
		if _, err := os.Stat(filepath.Join(dir, "checkpoint")); err == nil {
			return a.openLog(origin, key)(ctx, dir)
		}
		l, err := translog.Create(ctx, dir, translog.Options{Origin: origin, Key: key, Now: a.now})
		if err != nil {
			return nil, err
		}
		return l, nil
	}
}

// openWriter opens an index in a folder for writing, with the keys that flags
// name, "" for none.
func (a *app) openWriter(dir string, policy *attest.Policy, indexKey, logKey string) (*index.Index, index.Writing, index.Config, error) {
	w := index.Writing{Policy: policy, Now: a.now}
	x, err := index.Open(dir, w)
	if err != nil {
		return nil, w, index.Config{}, err
	}
	c, err := x.Config()
	if err != nil {
		return nil, w, c, ofIndex(dir, err)
	}
	if indexKey != "" {
		if w.Key, err = a.readKey(indexKey); err != nil {
			return nil, w, c, err
		}
	}
	if logKey != "" {
		if c.Log == nil {
			return nil, w, c, fault.New(fault.Usage, "%s has no log", dir).WithHint("leave --log-key out, or give the index a log with: rebuild index config")
		}
		if w.LogKey, err = a.readLogKey(dir, c.Log, logKey); err != nil {
			return nil, w, c, err
		}
		w.Log = a.openLog(c.Log.Origin, w.LogKey)
	}
	x, err = index.Open(dir, w)
	return x, w, c, err
}

// readLogKey reads the key of an index's log, and no other: also where nothing
// will be signed, as the next command would fail then.
func (a *app) readLogKey(dir string, log *index.Log, file string) (attest.Signer, error) {
	key, err := a.readKey(file)
	if err != nil {
		return nil, err
	}
	if got := attest.LogKey(log.Origin, key.Public()); got != log.Key {
		return nil, fault.New(fault.KeyUnknown, "the log of %s has the key %s, not %s", dir, log.Key, got).
			WithHint("give --log-key with the key that the index was made with")
	}
	return key, nil
}

// logEvidence enters the statements that were found into the index's log, and
// judges by what the log has from then on. Those of nobody whom the policy
// knows say nothing there.
func (a *app) logEvidence(ctx context.Context, x *index.Index, e *evidence) error {
	keys := e.policy.OperatorKeys()
	for i, plan := range e.plans {
		var known [][]byte
		for _, raw := range e.Builds[i].Statements {
			envelope, err := attest.ParseEnvelope("statement", raw)
			if err != nil {
				return err
			}
			if _, err := envelope.Verify(keys); fault.CodeOf(err) == fault.KeyUnknown {
				a.note("statement %s is by no operator of the policy, and is not logged", envelope.Digest())
				continue
			}
			known = append(known, raw)
		}
		if _, err := x.AddStatements(ctx, e.Builds[i].Plan, known); err != nil {
			return unwritable("--index", err)
		}
		var err error
		if e.Builds[i], err = x.Evidence(ctx, plan.Digest()); err != nil {
			return err
		}
	}
	return nil
}

type indexOptions struct {
	policy   string
	indexKey string
	logKey   string
}

func (o *indexOptions) policyFlag(c *cobra.Command, usage string) {
	c.Flags().StringVarP(&o.policy, "policy", "p", "", usage)
}

func (o *indexOptions) indexKeyFlag(c *cobra.Command) {
	c.Flags().StringVar(&o.indexKey, "index-key", "", "key file that signs index entries")
}

func (o *indexOptions) logKeyFlag(c *cobra.Command) {
	c.Flags().StringVar(&o.logKey, "log-key", "", "key file of the index's log, if it has one")
}

// writer opens the index that an argument names.
func (a *app) writer(o *indexOptions, location string) (*index.Index, error) {
	dir, err := localIndex(location)
	if err != nil {
		return nil, err
	}
	var policy *attest.Policy
	if o.policy != "" {
		if policy, err = a.readPolicy(o.policy); err != nil {
			return nil, err
		}
	}
	x, _, _, err := a.openWriter(dir, policy, o.indexKey, o.logKey)
	return x, err
}

func (a *app) indexInitCommand() *cobra.Command {
	var o configOptions
	var unlogged bool
	c := a.verb("init DIR", "Make an index, with a log of all that is ever published in it",
		`  rebuild index init index --origin example.org/log --log-key log.key --index-key index.key
  rebuild index init index --unlogged --index-key index.key`, cobra.ExactArgs(1),
		func(ctx context.Context, args []string) (result, error) {
			dir, err := localIndex(args[0])
			if err != nil {
				return nil, err
			}
			if err := o.aLog(unlogged); err != nil {
				return nil, err
			}
			config, w, err := a.newConfig(&o, index.Config{})
			if err != nil {
				return nil, err
			}
			if err := index.Init(ctx, dir, config, w); err != nil {
				return nil, unwritable("DIR", err)
			}
			return a.configResult(dir, config), nil
		})
	o.flags(c)
	c.Flags().BoolVar(&unlogged, "unlogged", false, "keep no log: yanks and dropped versions are then whatever the server says")
	return c
}

func (a *app) indexConfigCommand() *cobra.Command {
	var o configOptions
	c := a.verb("config DIR", "Change what an index says of itself: keys, addresses, or a log where there was none",
		`  rebuild index config index --log-key log.key --index-key old.pub --index-key new.pub
  rebuild index config index --log-key log.key --dl https://dl.example.org/`, cobra.ExactArgs(1),
		func(ctx context.Context, args []string) (result, error) {
			dir, err := localIndex(args[0])
			if err != nil {
				return nil, err
			}
			x, err := index.Open(dir, index.Writing{Now: a.now})
			if err != nil {
				return nil, err
			}
			old, err := x.Config()
			if err != nil {
				return nil, ofIndex(dir, err)
			}
			config, w, err := a.newConfig(&o, old)
			if err != nil {
				return nil, err
			}
			if x, err = index.Open(dir, w); err != nil {
				return nil, err
			}
			if err := x.SetConfig(ctx, config); err != nil {
				return nil, unwritable("DIR", err)
			}
			return a.configResult(dir, config), nil
		})
	o.flags(c)
	return c
}

type configOptions struct {
	origin    string
	logKey    string
	indexKeys []string
	dl, api   string
}

func (o *configOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.origin, "origin", "", "name of the log, such as example.org/log")
	f.StringVar(&o.logKey, "log-key", "", "key file that signs the log")
	f.StringArrayVar(&o.indexKeys, "index-key", nil, "key to advertise for entries: its text, a file with it, or the key file; once for each")
	f.StringVar(&o.dl, "dl", "", "base address of downloads")
	f.StringVar(&o.api, "api", "", "address of the hub")
}

// aLog wants an index to be made with a log or, if that was said, without one.
// Half a log is no way of saying so.
func (o *configOptions) aLog(unlogged bool) error {
	switch some := o.origin != "" || o.logKey != ""; {
	case unlogged && some:
		return fault.New(fault.Usage, "--unlogged is an index without a log, and --origin and --log-key are about one").WithHint("leave --unlogged out, or the other two")
	case !unlogged && !some:
		return fault.New(fault.Usage, "an index is made with a log, or --unlogged").WithHint("give --origin NAME and --log-key FILE, or --unlogged")
	case some && o.logKey == "":
		return noLogKey(o.origin)
	}
	return nil
}

func noLogKey(origin string) error {
	return fault.New(fault.Usage, "log %.80q has no key to be signed with", origin).WithHint("give --log-key FILE, which rebuild key new makes")
}

// sound refuses what a config can not say.
func (o *configOptions) sound(c index.Config) error {
	for _, given := range [][2]string{{"--dl", o.dl}, {"--api", o.api}} {
		u, err := url.Parse(given[1])
		if given[1] != "" && (err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil) {
			return fault.New(fault.Usage, "%s is not the address of a server", given[0]).WithHint("give %s https://HOST/, without credentials", given[0])
		}
	}
	switch {
	case o.origin == "":
	case strings.ContainsAny(o.origin, "+ \t\n"):
		return fault.New(fault.Usage, "--origin %.80q: the name of a log has no space and no +", o.origin).WithHint("give one such as --origin example.org/log")
	case c.Log != nil && c.Log.Origin != o.origin:
		return fault.New(fault.Usage, "the index is in log %s, which keeps its name", c.Log.Origin).WithHint("leave --origin out")
	case c.Log == nil && o.logKey == "":
		return noLogKey(o.origin)
	}
	return nil
}

// newConfig returns a config with what the flags change, and who writes it.
func (a *app) newConfig(o *configOptions, c index.Config) (index.Config, index.Writing, error) {
	w := index.Writing{Now: a.now}
	if err := o.sound(c); err != nil {
		return c, w, err
	}
	var keys []attest.PublicKey
	for _, name := range o.indexKeys {
		k, err := a.publicKey(name)
		if err != nil {
			return c, w, err
		}
		keys = append(keys, k)
	}
	if len(keys) > 0 {
		c.Signing = index.SigningWith(keys...)
	}
	c.DL, c.API = orDefault(o.dl, c.DL), orDefault(o.api, c.API)
	if o.logKey == "" {
		return c, w, nil
	}
	var err error
	if w.LogKey, err = a.readKey(o.logKey); err != nil {
		return c, w, err
	}
	if c.Log == nil {
		if o.origin == "" {
			return c, w, fault.New(fault.Usage, "the log has no name").WithHint("give --origin NAME, such as example.org/log")
		}
		c.Log = &index.Log{Origin: o.origin, Key: attest.LogKey(o.origin, w.LogKey.Public())}
	}
	w.Log = a.makeLog(c.Log.Origin, w.LogKey)
	return c, w, nil
}

// indexConfigResult prints the folder; the log's key is what policies name.
type indexConfigResult struct {
	Index  string         `json:"index"`
	Origin string         `json:"origin,omitempty"`
	LogKey string         `json:"log_key,omitempty"`
	Keys   []attest.KeyID `json:"index_keys"`
}

func (a *app) configResult(dir string, c index.Config) result {
	r := indexConfigResult{Index: dir, Keys: []attest.KeyID{}}
	if c.Log != nil {
		r.Origin, r.LogKey = c.Log.Origin, c.Log.Key
		a.note("for policies: log = { origin = %q, key = %q }", c.Log.Origin, c.Log.Key)
	}
	if c.Signing != nil {
		for _, k := range c.Signing.PublicKeys {
			r.Keys = append(r.Keys, k.ID)
		}
	}
	return r
}

func (r indexConfigResult) Print(out io.Writer) { fmt.Fprintln(out, r.Index) }

type addOptions struct {
	indexOptions
	index   string
	archive string
	plan    string
	next    string
}

func (a *app) indexAddCommand() *cobra.Command {
	o := &addOptions{}
	c := a.verb("add FILE|FOLDER...", "Enter results, bundles, packages, yanks and policy updates into an index",
		`  rebuild index add results --index index --policy policy.toml --log-key log.key
  rebuild index add hello-0.1.0.rbundle --archive hello-0.1.0.tar --index index --policy policy.toml --index-key index.key
  rebuild index add yank.dsse.json --index index --policy policy.toml --log-key log.key`, cobra.MinimumNArgs(1),
		func(ctx context.Context, args []string) (result, error) {
			x, err := a.writer(&o.indexOptions, o.index)
			if err != nil {
				return nil, err
			}
			r, err := a.addAll(ctx, o, x, args)
			return r, unwritable("--index", err)
		})
	f := c.Flags()
	f.StringVar(&o.index, "index", "", "folder of the index")
	f.StringVar(&o.archive, "archive", "", "package archive of a bundle")
	f.StringVar(&o.plan, "plan", "", "plan.json of a statement whose plan is not in the log yet")
	f.StringVar(&o.next, "next", "", "the policy that a policy update is about, --policy being the one before")
	o.policyFlag(c, "policy.toml, by which it is verified")
	o.indexKeyFlag(c)
	o.logKeyFlag(c)
	c.MarkFlagRequired("index")
	return c
}

// added is one thing that was entered.
type added struct {
	What      string       `json:"what"`
	Digest    store.Digest `json:"digest,omitempty"`
	Seq       *int64       `json:"seq,omitempty"`
	Duplicate bool         `json:"duplicate"`
}

type addResult struct {
	Added []added `json:"added"`
}

func (r *addResult) Print(out io.Writer) {
	for _, d := range r.Added {
		seq, again := "", ""
		if d.Seq != nil {
			seq = fmt.Sprintf(", leaf %d", *d.Seq)
		}
		if d.Duplicate {
			again = ", there already"
		}
		fmt.Fprintf(out, "%s%s%s\n", d.What, seq, again)
	}
}

// addAll enters things one after the other. The chains of results are written
// behind all of them, also of those before one that is refused: each then has the
// proof of the same state of the log, and the same command again changes nothing.
func (a *app) addAll(ctx context.Context, o *addOptions, x *index.Index, things []string) (*addResult, error) {
	r := &addResult{Added: []added{}}
	var results []string
	var failed error
	for _, thing := range things {
		var some []added
		if some, failed = a.addThing(ctx, o, x, thing); failed != nil {
			break
		}
		r.Added = append(r.Added, some...)
		if isFolder(thing) {
			results = append(results, thing)
		}
	}
	for _, dir := range results {
		if err := a.writeChain(ctx, x, dir); failed == nil {
			failed = err
		}
	}
	return r, failed
}

// addThing enters what an argument names, whatever it is.
func (a *app) addThing(ctx context.Context, o *addOptions, x *index.Index, thing string) ([]added, error) {
	if isFolder(thing) {
		return a.addResults(ctx, x, thing)
	}
	switch {
	case strings.HasSuffix(thing, ".rbundle"):
		return a.addBundle(ctx, o, x, thing)
	case strings.HasSuffix(thing, ".tar"):
		return a.addPackage(ctx, x, thing)
	}
	data, err := a.readInput(thing, attest.MaxEnvelope)
	if err != nil {
		return nil, err
	}
	envelope, err := attest.ParseEnvelope(thing, data)
	if err != nil {
		return nil, mistaken(err, anEnvelope, thing, data)
	}
	if _, err := attest.ReadYank(envelope); err == nil {
		return a.addYank(ctx, x, envelope)
	}
	if claim, err := attest.ReadClaim(data); err == nil {
		return a.addStatement(ctx, o, x, &claim, data)
	}
	if o.next == "" {
		return nil, fault.New(fault.Structure, "it is no result, provenance or yank statement").At(thing, 0).
			WithHint("give a bundle to publish a release, or --next for a policy update")
	}
	next, err := a.readPolicy(o.next)
	if err != nil {
		return nil, err
	}
	event, duplicate, err := x.AddPolicy(ctx, next, data)
	return []added{{"policy " + next.Name(), event.Object, &event.Seq, duplicate}}, err
}

// addResults enters the statements of a results folder.
func (a *app) addResults(ctx context.Context, x *index.Index, dir string) ([]added, error) {
	_, found, err := readResults(dir)
	if err != nil {
		return nil, err
	}
	entered, err := x.AddStatements(ctx, found.Plan, found.Statements)
	if err != nil {
		return nil, err
	}
	var out []added
	for _, e := range entered {
		out = append(out, added{"statement " + string(e.Event.Object), e.Event.Object, &e.Event.Seq, e.Duplicate})
	}
	return out, nil
}

// writeChain writes what the log has about the plan of a results folder back into
// it, so that who judges the results can see what was logged.
func (a *app) writeChain(ctx context.Context, x *index.Index, dir string) error {
	plan, _, err := readResults(dir)
	if err != nil {
		return err
	}
	logged, err := x.Evidence(ctx, plan.Digest())
	if err != nil {
		return err
	}
	folder, err := findPlanFolder(dir)
	if err != nil {
		return err
	}
	if err := a.addMissing(folder, &logged); err != nil {
		return err
	}
	for _, f := range []output{{filepath.Join(folder, attest.EventsFile), logged.Events}, {filepath.Join(folder, attest.ProofFile), logged.Proof}} {
		if err := writeFile("results", f.path, f.data); err != nil {
			return err
		}
	}
	return nil
}

// addMissing files the statements that the log has and a results folder has
// not: a chain is judged whole.
func (a *app) addMissing(folder string, logged *attest.BuildEvidence) error {
	for _, raw := range logged.Statements {
		claim, err := attest.ReadClaim(raw)
		if err != nil {
			return err
		}
		file := filepath.Join(folder, claim.Operator, claim.Statement.Hex()+attest.EnvelopeSuffix)
		if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := realFolders("results", folder, claim.Operator); err != nil {
			return err
		}
		if err := writeFile("results", file, raw); err != nil {
			return err
		}
		a.note("statement %s of %s was in the log and not in %s", claim.Statement, claim.Operator, folder)
	}
	return nil
}

func (a *app) addBundle(ctx context.Context, o *addOptions, x *index.Index, file string) ([]added, error) {
	if o.archive == "" {
		return nil, fault.New(fault.Usage, "a bundle holds no package").WithHint("give its archive with --archive FILE")
	}
	in, err := a.openLarge(file, attest.MaxBundle)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	b, err := attest.ReadBundle(file, in, in.size, nil)
	if err != nil {
		return nil, mistaken(err, aBundle, file, in.begin())
	}
	archive, err := a.readInput(o.archive, attest.MaxArchive)
	if err != nil {
		return nil, err
	}
	e, duplicate, err := x.Publish(ctx, b, archive)
	if err != nil {
		return nil, err
	}
	return []added{{e.Name + "@" + e.Version, e.Release, e.Seq, duplicate}}, nil
}

func (a *app) addPackage(ctx context.Context, x *index.Index, file string) ([]added, error) {
	archive, err := a.readInput(file, attest.MaxArchive)
	if err != nil {
		return nil, err
	}
	pkg, err := attest.OpenPackage(file, archive)
	if err != nil {
		return nil, mistaken(err, anArchive, file, archive)
	}
	e, duplicate, err := x.AddPackage(ctx, pkg)
	if err != nil {
		return nil, err
	}
	a.note("%s@%s has no release: nobody has rebuilt it", e.Name, e.Version)
	return []added{{e.Name + "@" + e.Version, store.Digest("sha256:" + e.Cksum), e.Seq, duplicate}}, nil
}

func (a *app) addYank(ctx context.Context, x *index.Index, envelope *attest.Envelope) ([]added, error) {
	e, err := x.Yank(ctx, envelope.Bytes())
	if err != nil {
		return nil, err
	}
	return []added{{What: fmt.Sprintf("%s@%s is now %s", e.Name, e.Version, flagsText(e.Yanked, e.Advisories)), Digest: envelope.Digest()}}, nil
}

func (a *app) addStatement(ctx context.Context, o *addOptions, x *index.Index, claim *attest.Claim, data []byte) ([]added, error) {
	var plan []byte
	if o.plan != "" {
		var err error
		if plan, err = a.readInput(o.plan, maxPlan); err != nil {
			return nil, err
		}
	} else {
		known, err := x.Evidence(ctx, claim.Plan)
		if err != nil {
			return nil, err
		}
		plan = known.Plan
	}
	event, duplicate, err := x.AddStatement(ctx, plan, data)
	return []added{{"statement " + string(event.Object), event.Object, &event.Seq, duplicate}}, err
}

func (a *app) indexSignCommand() *cobra.Command {
	var o indexOptions
	var cosigned []string
	c := a.verb("sign DIR", "Date the log's checkpoint anew, and add the cosignatures of witnesses",
		`  rebuild index sign index --log-key log.key
  rebuild index sign index --log-key log.key --cosigned witness.note`, cobra.ExactArgs(1),
		func(ctx context.Context, args []string) (result, error) {
			x, err := a.writer(&o, args[0])
			if err != nil {
				return nil, err
			}
			var notes [][]byte
			for _, file := range cosigned {
				data, err := a.readInput(file, attest.MaxProof)
				if err != nil {
					return nil, err
				}
				notes = append(notes, data)
			}
			if err := x.SignCheckpoint(ctx, notes...); err != nil {
				return nil, unwritable("DIR", err)
			}
			checkpoint, err := os.ReadFile(filepath.Join(x.Dir(), "checkpoint"))
			return textResult{string(checkpoint)}, err
		})
	c.Flags().StringArrayVar(&cosigned, "cosigned", nil, "checkpoint as a witness has cosigned it; once for each")
	o.logKeyFlag(c)
	c.MarkFlagRequired("log-key")
	return c
}

// textResult prints a text that others define.
type textResult struct {
	Text string `json:"text"`
}

func (r textResult) Print(out io.Writer) { fmt.Fprint(out, r.Text) }

func (a *app) indexBackfillCommand() *cobra.Command {
	var o indexOptions
	var b index.BackfillOptions
	c := a.verb("backfill DIR", "Sign lines that were published unsigned; nothing has to be published again",
		`  rebuild index backfill index --index-key index.key
  rebuild index backfill index --index-key index.key --log-key log.key --write`, cobra.ExactArgs(1),
		func(ctx context.Context, args []string) (result, error) {
			x, err := a.writer(&o, args[0])
			if err != nil {
				return nil, err
			}
			r, err := x.Backfill(ctx, b)
			if err != nil {
				return nil, unwritable("DIR", err)
			}
			if r.DryRun {
				a.note("nothing was written; give --write to sign")
			}
			if len(r.Unlogged) > 0 && !b.AcceptUnlogged {
				a.note("%d lines are in no leaf of a log and were left unsigned; give --accept-unlogged if you know what they are", len(r.Unlogged))
			}
			return backfillResult{r}, nil
		})
	f := c.Flags()
	f.BoolVar(&b.Write, "write", false, "write the signatures, instead of only saying what would be done")
	f.BoolVar(&b.AcceptUnlogged, "accept-unlogged", false, "sign lines too that no log has: only the files say what was published")
	o.policyFlag(c, "policy.toml, whose index keys are the ones that count")
	o.indexKeyFlag(c)
	o.logKeyFlag(c)
	c.MarkFlagRequired("index-key")
	return c
}

type backfillResult struct{ *index.BackfillReport }

func (r backfillResult) Print(out io.Writer) {
	fmt.Fprintf(out, "versions %d, unsigned before %d, signed %d, unsigned after %d, key %s\n",
		r.TotalVersions, r.UnsignedBefore, r.Backfilled, r.UnsignedAfter, r.KeyID)
	for _, u := range r.Unlogged {
		fmt.Fprintf(out, "in no log: %s\n", u)
	}
}

func (a *app) indexFsckCommand() *cobra.Command {
	var o indexOptions
	var repair bool
	c := a.verb("fsck DIR", "Check everything in an index, and name all that is damaged",
		`  rebuild index fsck index --policy policy.toml
  rebuild index fsck index --repair --log-key log.key`, cobra.ExactArgs(1),
		func(ctx context.Context, args []string) (result, error) {
			dir, err := indexFolder(args[0])
			if err != nil {
				return nil, err
			}
			w, err := a.fsckWriting(&o, dir)
			if err != nil {
				return nil, err
			}
			r, err := index.Fsck(ctx, dir, w, index.FsckOptions{Repair: repair})
			if err != nil {
				return nil, unwritable("DIR", err)
			}
			return indexFsckResult{r}, r.Err()
		})
	c.Flags().BoolVar(&repair, "repair", false, "finish an interrupted publication and write derived files again")
	o.policyFlag(c, "policy.toml, to judge signatures too")
	o.logKeyFlag(c)
	return c
}

// fsckWriting is who checks an index whose config may be damaged.
func (a *app) fsckWriting(o *indexOptions, dir string) (index.Writing, error) {
	w := index.Writing{Now: a.now}
	var err error
	if o.policy != "" {
		if w.Policy, err = a.readPolicy(o.policy); err != nil {
			return w, err
		}
	}
	if o.logKey == "" {
		return w, nil
	}
	_, w, _, err = a.openWriter(dir, w.Policy, "", o.logKey)
	return w, err
}

type indexFsckResult struct{ *index.FsckReport }

func (r indexFsckResult) Print(out io.Writer) {
	fmt.Fprintf(out, "%d leaves, %d packages, %d versions, %d statements, %d objects: %d findings\n",
		r.Leaves, r.Packages, r.Versions, r.Statements, r.Objects, len(r.Findings))
	for _, f := range r.Findings {
		fmt.Fprintln(out, oneLine(f.String()))
	}
	for _, file := range slices.Compact(slices.Clone(r.Repaired)) {
		fmt.Fprintf(out, "repaired: %s\n", oneLine(file))
	}
	for _, n := range r.Notes {
		fmt.Fprintf(out, "note: %s\n", oneLine(n))
	}
}

func (a *app) indexExportCommand() *cobra.Command {
	var o indexOptions
	c := a.verb("export DIR", "Write the flat views entries.json and pubkeys.json",
		`  rebuild index export index
  rebuild index export index --log-key log.key`, cobra.ExactArgs(1),
		func(ctx context.Context, args []string) (result, error) {
			x, err := a.writer(&o, args[0])
			if err != nil {
				return nil, err
			}
			r, err := x.Export(ctx)
			if err != nil {
				return nil, unwritable("DIR", err)
			}
			return indexExportResult{r}, nil
		})
	o.logKeyFlag(c)
	return c
}

type indexExportResult struct{ *index.ExportReport }

func (r indexExportResult) Print(out io.Writer) {
	for _, f := range r.Files {
		fmt.Fprintln(out, f)
	}
}
