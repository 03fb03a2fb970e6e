package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"rebuild/attest"
	"rebuild/bootstrap"
	"rebuild/internal/fault"
	"rebuild/pipeline"
	"rebuild/stages"
	"rebuild/store"
)

// The demo plays the whole job with the real commands, each a process of its
// own: three rebuilders who share nothing but this machine, two release
// signers, a verifier without a network. Then it plays a machine that lies: a
// rebuilder builds from a source with one byte changed, and its result is signed
// here, by no command, as one of the plan that everybody reviewed.

func (a *app) demoCommand() *cobra.Command {
	var keep string
	var full bool
	c := a.verb("demo", "Build from the seed as three rebuilders, agree, sign, verify; then catch a changed byte",
		`  rebuild demo
  rebuild demo --keep demo
  rebuild demo --full`, cobra.NoArgs, func(ctx context.Context, _ []string) (result, error) {
			part := shortPlay
			if full {
				part = fullPlay
			}
			d, err := newDemo(a, part, keep)
			if err != nil {
				return nil, err
			}
			defer d.clean()
			return nil, d.play(ctx)
		})
	c.Flags().StringVar(&keep, "keep", "", "leave everything in this new folder")
	c.Flags().BoolVar(&full, "full", false, "the whole chain, from the seed to a C compiler; fetches that compiler's source")
	return c
}

// demo is one performance: its folder, its cast and where it prints.
type demo struct {
	a          *app
	out        io.Writer
	dir        string // everything but state roots on tmpfs
	keep       bool
	memory     string // folder on tmpfs, "" if there is none
	self       string
	rebuilders []*rebuilder
	began      time.Time
	piece
}

// piece is what is played: a built-in pipeline and the package that is made of its
// target.
type piece struct {
	pipeline string // value of --pipeline
	metadata string // of the package, in the built-in recipes
	altered  alteration
	fetched  bool // it has sources from outside
}

var (
	shortPlay = piece{pipeline: builtinSeed, metadata: "sha256sum/package.toml", altered: theByte}
	fullPlay  = piece{pipeline: builtin, metadata: "tcc/package.toml", altered: alteration{file: "tools/src/run.c", text: "ended by signal"}, fetched: true}
)

// rebuilder is one operator with surroundings of its own.
type rebuilder struct {
	name    string
	uid     int      // 0: the user who runs the demo
	vary    []string // what the runtime shim changes
	again   []string // the same for a second, fresh run; nil: there is none
	jobs    int
	home    string // key, and the state root unless it is in memory
	state   string
	program string
	said    string // surroundings in words
}

// alteration is the one byte: in a file of the built-in recipes, at the first
// byte of a text that stands there once.
type alteration struct {
	file, text string
	offset     int
	from, to   byte
}

// theByte is a letter of a message: the altered program still passes its own
// test, so nothing but another rebuilder's result shows the change.
var theByte = alteration{file: "sha256sum/src/sha256sum.asm", text: `FAILED" 0a`}

const seedText = "hex0/src/hex0.hex0"

const demoUser = 65534 // nobody, who exists everywhere

func newDemo(a *app, part piece, keep string) (*demo, error) {
	d := &demo{a: a, out: narration(a), keep: keep != "", began: a.now(), piece: part}
	var err error
	if d.self, err = os.Executable(); err != nil {
		return nil, err
	}
	if keep == "" {
		d.dir, err = os.MkdirTemp("", "rebuild-demo-")
	} else if d.dir, err = filepath.Abs(keep); err == nil {
		if err = os.Mkdir(d.dir, 0o755); os.IsExist(err) {
			err = fault.New(fault.Usage, "%s is there already", keep).WithHint("rebuild demo --keep NEW-FOLDER")
		}
	}
	if err != nil {
		return nil, unwritable(orDefault(keep, "the folder for temporary files"), err)
	}
	d.memory = memoryFolder()
	d.rebuilders = []*rebuilder{
		{name: "north", jobs: 2, again: []string{"cpus", "uptime"}},
		{name: "south", jobs: 1, vary: []string{"cpus", "kernel-name", "aslr", "uptime"}},
		{name: "east", jobs: 2, vary: []string{"domainname", "cpuinfo"}},
	}
	if os.Geteuid() == 0 {
		d.rebuilders[1].uid = demoUser
	}
	return d, os.Chmod(d.dir, 0o755)
}

// narration goes to stdout unless that is for the envelope.
func narration(a *app) io.Writer {
	if a.json {
		return a.stderr
	}
	return a.stdout
}

// memoryFolder makes a folder on a tmpfs that programs may be run from.
func memoryFolder() string {
	var st unix.Statfs_t
	const shm = "/dev/shm"
	if unix.Statfs(shm, &st) != nil || st.Type != unix.TMPFS_MAGIC || st.Flags&unix.ST_NOEXEC != 0 {
		return ""
	}
	dir, err := os.MkdirTemp(shm, "rebuild-demo-")
	if err != nil || os.Chmod(dir, 0o755) != nil {
		return ""
	}
	return dir
}

func (d *demo) clean() {
	if !d.keep {
		os.RemoveAll(d.dir)
	}
	if d.memory != "" {
		os.RemoveAll(d.memory)
	}
}

func (d *demo) play(ctx context.Context) error {
	for _, act := range []func(context.Context) error{
		d.showSeed, d.castRebuilders, d.fetch, d.rebuildAll, d.agree, d.release, d.verify, d.changeOneByte,
	} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	if d.keep {
		if err := d.keepMemory(); err != nil {
			return err
		}
		d.say("everything is in %s", d.dir)
	}
	d.say("%.1f s in all", d.a.now().Sub(d.began).Seconds())
	return nil
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.out, format+"\n", args...) }

// step prints one line of the account with its time.
func (d *demo) step(began time.Time, what, format string, args ...any) {
	d.say("%-9s %-78s %5.1f s", what, fmt.Sprintf(format, args...), d.a.now().Sub(began).Seconds())
}

func (d *demo) path(parts ...string) string {
	return filepath.Join(append([]string{d.dir}, parts...)...)
}

// command runs this binary with the arguments and returns its stdout. Its
// stderr is shown only if it ends otherwise than want says.
func (d *demo) command(ctx context.Context, want int, edit func(*exec.Cmd), args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, d.self, args...)
	cmd.Env = []string{"PATH=" + d.a.getenv("PATH"), "HOME=" + d.path("home"), "XDG_CACHE_HOME=" + d.a.getenv("XDG_CACHE_HOME")}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if edit != nil {
		edit(cmd)
	}
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if status := cmd.ProcessState.ExitCode(); cmd.ProcessState == nil || status != want {
		if coded := failureOf(stdout.Bytes()); coded != nil {
			return nil, coded
		}
		d.a.stderr.Write(stdout.Bytes())
		d.a.stderr.Write(stderr.Bytes())
		return nil, fault.New(fault.Internal, "rebuild %s ended with %v, want exit %d", strings.Join(args, " "), err, want)
	}
	return stdout.Bytes(), nil
}

// failureOf is the error in the envelope of a command that failed, nil without
// one.
func failureOf(stdout []byte) error {
	var e envelope
	if json.Unmarshal(stdout, &e) != nil || e.Error == nil {
		return nil
	}
	coded := fault.New(e.Error.Code, "%s: %s", e.Command, e.Error.Message)
	if e.Error.Hint != "" {
		coded = coded.WithHint("%s", e.Error.Hint)
	}
	return coded
}

// answer runs a command with --json and decodes its result.
func (d *demo) answer(ctx context.Context, want int, edit func(*exec.Cmd), into any, args ...string) error {
	out, err := d.command(ctx, want, edit, append(args, "--json", "--quiet")...)
	if err != nil {
		return err
	}
	e := envelope{Result: into}
	if err := json.Unmarshal(out, &e); err != nil {
		return fault.New(fault.Internal, "reading the answer of rebuild %s: %w", args[0], err)
	}
	return nil
}

func (d *demo) showSeed(context.Context) error {
	text, err := fs.ReadFile(stages.Builtin(), seedText)
	if err != nil {
		return err
	}
	seed, err := bootstrap.DecodeHex(seedText, text)
	if err != nil {
		return err
	}
	d.step(d.began, "seed", "%d bytes, from %d lines of commented hex text", len(seed), bytes.Count(text, []byte("\n")))
	return nil
}

// castRebuilders gives every rebuilder a home, a state root and a key, and
// signers and index theirs, and writes the policy that names them all.
func (d *demo) castRebuilders(ctx context.Context) error {
	began := d.a.now()
	if err := os.Mkdir(d.path("home"), 0o700); err != nil {
		return err
	}
	for i, r := range d.rebuilders {
		if err := d.settle(r, i > 0 && d.memory != ""); err != nil {
			return err
		}
	}
	keys := map[string]string{}
	for _, name := range []string{"north", "south", "east", "signer-1", "signer-2", "root", "index"} {
		out, err := d.command(ctx, 0, nil, "key", "new", d.path("home", name+".key"))
		if err != nil {
			return err
		}
		keys[name] = strings.TrimSpace(string(out))
	}
	policy := fmt.Sprintf(demoPolicy, began.AddDate(1, 0, 0).UTC().Format(time.RFC3339),
		keys["root"], keys["signer-1"], keys["signer-2"], keys["index"], keys["north"], keys["south"], keys["east"])
	if err := os.WriteFile(d.path("policy.toml"), []byte(policy), 0o644); err != nil {
		return err
	}
	d.step(began, "policy", "2 of 3 rebuilders must agree, nobody may differ; 2 of 2 signers must sign")
	return nil
}

const demoPolicy = `schema_version = "rebuild.policy@1.0.0"
name = "demo"
version = 1
expires = "%s"
quorum = "rebuilders"
root = { need = 1, keys = ["%s"] }
signers = { need = 2, keys = [
  { name = "signer-1", key = "%s" },
  { name = "signer-2", key = "%s" },
] }
index = { keys = [{ key = "%s" }] }
require = { bootstrapped = true, max_seed_bytes = 288 }

[groups.rebuilders]
need = 2
of = ["north", "south", "east"]

[operators.north]
keys = [{ key = "%s" }]
[operators.south]
keys = [{ key = "%s" }]
[operators.east]
keys = [{ key = "%s" }]
`

// settle makes a rebuilder's home. One who is another user gets a copy of this
// binary too: it may not be able to reach ours.
func (d *demo) settle(r *rebuilder, inMemory bool) error {
	base := d.dir
	if inMemory {
		base = d.memory
	}
	r.home, r.program = filepath.Join(base, r.name), d.self
	if err := os.Mkdir(r.home, 0o755); err != nil {
		return err
	}
	r.state = filepath.Join(r.home, "state")
	if r.uid != 0 {
		r.program = filepath.Join(r.home, "rebuild")
		if err := copyFile(r.program, d.self); err != nil {
			return unwritable(r.home, err)
		}
		if err := os.Chown(r.home, r.uid, r.uid); err != nil {
			return err
		}
	}
	r.said = d.surroundings(r, inMemory)
	return nil
}

func (d *demo) surroundings(r *rebuilder, inMemory bool) string {
	who, where := "root", "disk"
	switch {
	case r.uid != 0:
		who = fmt.Sprintf("user %d", r.uid)
	case os.Geteuid() != 0:
		who = fmt.Sprintf("user %d", os.Geteuid())
	}
	if inMemory {
		where = "tmpfs"
	}
	if len(r.vary) == 0 {
		return who + ", " + where
	}
	return who + ", " + where + ", " + inWords(r.vary)
}

func inWords(vary []string) string {
	words := map[string]string{"cpus": "1 CPU", "kernel-name": "kernel 2.6", "aslr": "no ASLR",
		"uptime": "up 1000 days", "domainname": "other domain", "cpuinfo": "no cpuinfo"}
	var said []string
	for _, v := range vary {
		said = append(said, words[v])
	}
	return strings.Join(said, ", ")
}

// as makes a command run the way a rebuilder would run it.
func (r *rebuilder) as(cmd *exec.Cmd) {
	cmd.Path, cmd.Args[0], cmd.Dir = r.program, r.program, r.home
	cmd.Env = append(cmd.Env, "HOME="+r.home)
	if r.uid != 0 {
		cmd.Env = append(cmd.Env, "XDG_CACHE_HOME="+filepath.Join(r.home, "cache"))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(r.uid), Gid: uint32(r.uid)}}
	}
}

// fetch brings the sources from outside into the store of each rebuilder: once
// from a mirror, and from there, by their digests, for the others.
func (d *demo) fetch(ctx context.Context) error {
	if !d.fetched {
		return nil
	}
	began := d.a.now()
	var got fetchResult
	if err := d.answer(ctx, 0, nil, &got, "fetch", "--pipeline", d.pipeline, "--state", d.path("fetched")); err != nil {
		return err
	}
	for _, r := range d.rebuilders {
		if err := d.handOn(ctx, r, r.state); err != nil {
			return err
		}
	}
	d.step(began, "fetch", "%s, %d bytes, by sha256", strings.Join(got.Fetched, ", "), got.Bytes)
	return nil
}

// handOn brings what was fetched into another state root.
func (d *demo) handOn(ctx context.Context, r *rebuilder, state string) error {
	if !d.fetched {
		return nil
	}
	blobs := filepath.Join(pipeline.StoreDir(d.path("fetched")), "blobs", "sha256")
	return d.answer(ctx, 0, r.as, nil, "fetch", "--pipeline", d.pipeline, "--state", state, "--mirror", blobs)
}

func (d *demo) rebuildAll(ctx context.Context) error {
	for _, r := range d.rebuilders {
		began := d.a.now()
		var built runResult
		if err := d.rebuild(ctx, r, r.state, d.pipeline, &built); err != nil {
			return err
		}
		d.step(began, r.name, "%-58s -> %s", r.said, short(built.Targets[0].Manifest))
		if r.again != nil {
			if err := d.repeat(ctx, r, built.Targets[0].Manifest); err != nil {
				return err
			}
		}
		var signed attestResult
		if err := d.answer(ctx, 0, nil, &signed, "attest", "--state", r.state, "--pipeline", d.pipeline,
			"--operator", r.name, "--key", d.path("home", r.name+".key"), "--out", d.path("results")); err != nil {
			return err
		}
	}
	return nil
}

// repeat builds all of it afresh on the same machine, with other surroundings:
// the result then says that the build is deterministic.
func (d *demo) repeat(ctx context.Context, r *rebuilder, want store.Digest) error {
	began := d.a.now()
	once := r.vary
	r.vary = r.again
	defer func() { r.vary = once }()
	var built runResult
	if err := d.rebuild(ctx, r, r.state, d.pipeline, &built, "--fresh"); err != nil {
		return err
	}
	if got := built.Targets[0].Manifest; got != want {
		return fault.New(fault.NotDeterministic, "%s built %s, then %s", r.name, want, got)
	}
	d.step(began, r.name, "%-58s -> %s", "all of it again: "+inWords(r.vary), short(want))
	return nil
}

func (d *demo) rebuild(ctx context.Context, r *rebuilder, state, from string, built *runResult, more ...string) error {
	args := []string{"run", "--state", state, "--pipeline", from, "--jobs", fmt.Sprint(r.jobs)}
	args = append(args, more...)
	for _, v := range r.vary {
		args = append(args, "--vary", v)
	}
	if d.a.runc != "" {
		runc, err := filepath.Abs(d.a.runc) // rebuilders have folders of their own
		if err != nil {
			return err
		}
		args = append(args, "--runc", runc)
	}
	return d.answer(ctx, 0, r.as, built, args...)
}

func (d *demo) agree(ctx context.Context) error {
	began := d.a.now()
	var v compareResult
	if err := d.answer(ctx, 0, nil, &v, "compare", d.path("results"), "--policy", d.path("policy.toml"), "--state", d.rebuilders[0].state); err != nil {
		return err
	}
	counted := 0
	for _, o := range v.Operators {
		if o.Counted {
			counted++
		}
	}
	d.step(began, "compare", "%s: %d of %d agree on every stage of plan %s", v.State, counted, len(v.Operators), short(v.Plan))
	return nil
}

func (d *demo) releaseArgs(results, out string) []string {
	return []string{"release", "--pipeline", d.pipeline, "--policy", d.path("policy.toml"), "--results", results,
		"--package", d.path("package.toml"), "--state", d.rebuilders[0].state,
		"--key", d.path("home", "signer-1.key"), "--key", d.path("home", "signer-2.key"),
		"--index", d.path(out, "index"), "--index-key", d.path("home", "index.key"), "--out", d.path(out)}
}

func (d *demo) release(ctx context.Context) error {
	began := d.a.now()
	text, err := fs.ReadFile(stages.Builtin(), d.metadata)
	if err != nil {
		return err
	}
	if err := os.WriteFile(d.path("package.toml"), text, 0o644); err != nil {
		return err
	}
	var r releaseResult
	if err := d.answer(ctx, 0, nil, &r, d.releaseArgs(d.path("results"), "release")...); err != nil {
		return err
	}
	d.step(began, "release", "%s %s, signed by 2 of 2, entered into the index", r.Name, r.Version)
	return nil
}

// verify runs in a network namespace of its own, in which not even the
// loopback interface is up.
func (d *demo) verify(ctx context.Context) error {
	began := d.a.now()
	bundles, err := filepath.Glob(d.path("release", "*.rbundle"))
	if err != nil || len(bundles) != 1 {
		return fault.New(fault.Internal, "the release left %d bundles", len(bundles))
	}
	archives, err := filepath.Glob(d.path("release", "*.tar"))
	if err != nil || len(archives) != 1 {
		return fault.New(fault.Internal, "the release left %d archives", len(archives))
	}
	var account attest.Account
	err = d.answer(ctx, 0, isolated, &account, "verify", bundles[0], "--policy", d.path("policy.toml"),
		"--artifact", archives[0], "--artifact", d.path("release", "image"), "--index", d.path("release", "index"))
	if err != nil {
		return err
	}
	d.step(began, "verify", "with no network at all: %s", account.Word)
	return nil
}

func isolated(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
	}
}

// changeOneByte plays a machine whose files are changed behind its owner's
// back: it builds from the changed source and signs the outcome under the plan
// that everybody reviewed.
func (d *demo) changeOneByte(ctx context.Context) error {
	east := d.rebuilders[2]
	began := d.a.now()
	recipes, err := d.alter()
	if err != nil {
		return err
	}
	state := filepath.Join(east.home, "altered")
	if err := d.handOn(ctx, east, state); err != nil {
		return err
	}
	var built runResult
	if err := d.rebuild(ctx, east, state, recipes, &built); err != nil {
		return err
	}
	d.step(began, "east", "builds again, byte %d of %s now %q instead of %q", d.altered.offset, d.altered.file, d.altered.to, d.altered.from)
	results, err := d.lie(recipes, state)
	if err != nil {
		return err
	}
	began = d.a.now()
	var v compareResult
	if err := d.answer(ctx, fault.Dissent.Exit(), nil, &v, "compare", results, "--policy", d.path("policy.toml"),
		"--state", d.rebuilders[0].state, "--tree-from", state); err != nil {
		return err
	}
	if len(v.Contradictions) == 0 || v.Difference == nil {
		return fault.New(fault.Internal, "the changed byte was not traced to a stage and a file")
	}
	d.step(began, "compare", "%s: stage %s, file %s (%s), exit %d", v.State, v.Difference.Stage, v.Difference.Path, v.Difference.What, fault.Dissent.Exit())
	began = d.a.now()
	if _, err := d.command(ctx, fault.Dissent.Exit(), nil, d.releaseArgs(results, "refused")...); err != nil {
		return err
	}
	if _, err := os.Stat(d.path("refused")); !os.IsNotExist(err) {
		return fault.New(fault.Internal, "a refused release left files in %s", d.path("refused"))
	}
	d.step(began, "release", "refused, exit %d, nothing written", fault.Dissent.Exit())
	return nil
}

// alter writes the built-in recipes to disk with one byte changed.
func (d *demo) alter() (string, error) {
	dir := d.path("altered-recipes")
	if err := os.CopyFS(dir, stages.Builtin()); err != nil {
		return "", err
	}
	if err := d.usePipeline(dir); err != nil {
		return "", err
	}
	file := filepath.Join(dir, d.altered.file)
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	if n := bytes.Count(text, []byte(d.altered.text)); n != 1 {
		return "", fault.New(fault.Internal, "%q stands %d times in %s", d.altered.text, n, d.altered.file)
	}
	at := bytes.Index(text, []byte(d.altered.text))
	d.altered.offset, d.altered.from, d.altered.to = at, text[at], text[at]^0x20
	text[at] = d.altered.to
	return dir, os.WriteFile(file, text, 0o644)
}

// usePipeline makes the pipeline that is played that of a copy of the recipes.
func (d *demo) usePipeline(dir string) error {
	folder, _ := builtinFolder(d.pipeline)
	text, err := fs.ReadFile(stages.Builtin(), path.Join(folder, pipeline.SettingsFile))
	if err != nil {
		return err
	}
	text = bytes.ReplaceAll(text, []byte(builtin+":"), nil) // its stages are those of the copy
	return os.WriteFile(filepath.Join(dir, pipeline.SettingsFile), text, 0o644)
}

// lie copies the honest statements of the others and adds east's: what its
// changed source gave, said of the plan that was reviewed.
func (d *demo) lie(recipes, state string) (string, error) {
	plan, found, err := readResults(d.path("results"))
	if err != nil {
		return "", err
	}
	results := d.path("results-altered")
	folder, err := findPlanFolder(d.path("results"))
	if err != nil {
		return "", err
	}
	for _, name := range []string{"north", "south"} {
		if err := os.CopyFS(filepath.Join(planFolder(results, plan), name), os.DirFS(filepath.Join(folder, name))); err != nil {
			return "", err
		}
	}
	east := *d.a
	east.dir, east.state = recipes, state
	at, changed, report, err := east.lastRun("")
	if err != nil {
		return "", err
	}
	nonce, err := attest.NewNonce(d.a.random)
	if err != nil {
		return "", err
	}
	r, err := pipeline.ResultOf(report, "east", nonce)
	if err != nil {
		return "", err
	}
	if r.Lineage, err = lineageOf(at, changed, report); err != nil {
		return "", err
	}
	key, err := d.a.openKey(d.path("home", "east.key"))
	if err != nil {
		return "", err
	}
	statement, err := signResult(plan, r, key)
	if err != nil {
		return "", err
	}
	if _, err = writeStatement(results, plan, found.Plan, "east", statement); err != nil {
		return "", err
	}
	_, err = writeProvenance(results, plan, "east", key)
	return results, err
}

// keepMemory copies state roots on tmpfs beside the rest.
func (d *demo) keepMemory() error {
	if d.memory == "" {
		return nil
	}
	for _, r := range d.rebuilders {
		if strings.HasPrefix(r.home, d.memory) {
			if err := os.CopyFS(d.path(r.name), os.DirFS(r.home)); err != nil {
				return err
			}
		}
	}
	return nil
}
