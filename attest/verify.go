package attest

import (
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"rebuild/internal/fault"
	"rebuild/internal/names"
	"rebuild/store"
)

// Expect is what a verifier wants a bundle to be about. What is left empty is
// not compared, and the account says so.
type Expect struct {
	Name     string // NAME or ORG/NAME
	Version  string
	Archives [][]byte // package archives at hand, each of which must be the released one
	// Files are package archives too, hashed before anything of them is kept.
	Files   []io.ReadSeeker
	Layouts []string // directories of OCI layouts, each of which must hold released images and no other
}

// Account is what [Verify] found, for people and for scripts.
type Account struct {
	Name          string         `json:"name"`
	Version       string         `json:"version"`
	Release       store.Digest   `json:"release"`
	Snapshot      store.Digest   `json:"snapshot"`
	Policy        PolicyAccount  `json:"policy"`
	Signers       []string       `json:"signers"` // of the policy, who signed
	Builds        []BuildAccount `json:"builds"`
	Waivers       []Waiver       `json:"waivers,omitempty"`
	Hermetic      bool           `json:"hermetic"`
	Deterministic bool           `json:"deterministic"`
	Reproduced    bool           `json:"reproduced"`
	Bootstrapped  bool           `json:"bootstrapped"`
	Word          string         `json:"word"`
	Compared      []string       `json:"compared,omitempty"` // what of Expect was compared and equal
	Notes         []string       `json:"notes"`              // what was not checked or is not proven
}

// PolicyAccount names the judge.
type PolicyAccount struct {
	Name    string       `json:"name"`
	Version int64        `json:"version"`
	Digest  store.Digest `json:"digest"`
	Named   bool         `json:"named_by_release"` // false: the release was judged by another policy
}

// BuildAccount says who built what on one platform.
type BuildAccount struct {
	Platform       string             `json:"platform"`
	Plan           store.Digest       `json:"plan"`
	Outputs        store.Digest       `json:"outputs"`
	Targets        []ReleaseTarget    `json:"targets"`
	Operators      []OperatorAccount  `json:"operators"`
	Statements     []StatementAccount `json:"statements"`               // what became of each, judged or not
	Contradictions []Contradiction    `json:"contradictions,omitempty"` // that the policy only reports
	Log            *LogAccount        `json:"log,omitempty"`            // of a logged release
}

// The words for what a release is.
const (
	Reproducible   = "reproducible"    // hermetic, deterministic, reproduced and bootstrapped
	RepeatableOnly = "repeatable-only" // all but bootstrapped
	Unproven       = "unproven"
)

// Verify judges a bundle by a policy at a time, without a network: signatures,
// evidence, and what the caller expects. A nil error means that all of it
// holds; the account then says what that comes to and what was not checked.
//
// A release of something else than expected is EVIDENCE_MISMATCH, as is
// evidence that does not fit the release. An archive or layout at hand that
// differs from the release has the codes of [OpenPackage], CKSUM_MISMATCH and
// TREE_MISMATCH.
func Verify(policy *Policy, b *Bundle, expect Expect, now time.Time) (*Account, error) {
	signed, verdicts, err := VerifyRelease(policy, b, now)
	if err != nil {
		return nil, err
	}
	a := newAccount(policy, signed, verdicts, now)
	return a, a.compare(&signed.release, expect)
}

// VerifyRelease judges a bundle's signatures and evidence alone. It returns
// the release and the verdict of each build.
//
// A logged release is judged at its leaf: the signers' keys must have counted
// when it was logged, and the chain of every plan must end there.
func VerifyRelease(policy *Policy, b *Bundle, now time.Time) (*SignedRelease, []*Verdict, error) {
	signed, verdicts, logged, err := verifyRelease(policy, b, now)
	if err != nil {
		return nil, nil, err
	}
	return signed, verdicts, logged.checkEnds(policy, signed.digest)
}

// verifyRelease is [VerifyRelease] of a release whose chains may end anywhere.
func verifyRelease(policy *Policy, b *Bundle, now time.Time) (*SignedRelease, []*Verdict, chains, error) {
	logged, err := openChains(policy, &b.Evidence)
	if err != nil {
		return nil, nil, nil, err
	}
	if err := policy.checkAt(now, len(logged) > 0); err != nil {
		return nil, nil, nil, err
	}
	e, err := policy.seen.envelope(bundleRelease, b.Release)
	if err != nil {
		return nil, nil, nil, err
	}
	at := logged.moment(e.Digest(), now)
	signed, err := openRelease(policy, e, &at)
	if err != nil {
		return nil, nil, nil, err
	}
	verdicts, err := judgeRelease(policy, &signed.release, b.Evidence, logged, now)
	return signed, verdicts, logged, err
}

func newAccount(policy *Policy, signed *SignedRelease, verdicts []*Verdict, now time.Time) *Account {
	r := &signed.release
	a := &Account{
		Name: r.Name, Version: r.Version, Release: signed.digest, Snapshot: r.Snapshot, Signers: signed.signers, Waivers: r.Waivers,
		Policy:   PolicyAccount{policy.Name(), policy.Version(), policy.digest, policy.digest == r.Policy},
		Hermetic: true, Deterministic: true, Reproduced: true, Bootstrapped: true,
	}
	for i, v := range verdicts {
		a.Builds = append(a.Builds, BuildAccount{
			Platform: r.Builds[i].Platform, Plan: v.planDigest, Outputs: v.outputs, Targets: r.Builds[i].Targets,
			Operators: v.Operators(), Statements: v.Statements(), Contradictions: v.Contradictions(), Log: v.Log(),
		})
		if v.chain != nil {
			a.Notes = append(a.Notes, v.chain.notes(policy.log, now)...)
		}
		a.Hermetic = a.Hermetic && v.all(func(r *Result) bool { return r.Hermetic })
		a.Deterministic = a.Deterministic && !v.all(func(r *Result) bool { return r.Repeat == nil || r.Repeat.Runs < 2 || !r.Repeat.Equal })
		a.Reproduced = a.Reproduced && len(v.winners) >= 2
		a.Bootstrapped = a.Bootstrapped && v.all(func(r *Result) bool { return r.Lineage.Complete() })
	}
	a.Word = Unproven
	if a.Hermetic && a.Deterministic && a.Reproduced {
		a.Word = RepeatableOnly
		if a.Bootstrapped {
			a.Word = Reproducible
		}
	}
	a.Notes = append(a.gaps(), a.Notes...)
	if policy.log == nil {
		a.Notes = append(a.Notes, "no log: dissent that neither the signers nor you were given is not noticed")
	}
	a.Notes = append(a.Notes,
		"name, version and metadata are the signers' word, not the quorum's",
		"owner history not checked",
		"upstream source may still be wrong or malicious")
	if !a.Policy.Named {
		a.Notes = append([]string{"judged by policy " + string(policy.digest) + ", the release names " + string(r.Policy)}, a.Notes...)
	}
	return a
}

// gaps says in words why a release is not more than it is. Hermetic it always
// is: nothing else has a vote.
func (a *Account) gaps() []string {
	var out []string
	for _, g := range []struct {
		shown bool
		text  string
	}{
		{a.Deterministic, "not shown to be deterministic: of at least one platform, no operator who counts built everything twice"},
		{a.Reproduced, "not shown to be reproduced: of at least one platform, one operator alone counts"},
		{a.Bootstrapped, "not shown to be bootstrapped: an operator who counts can not trace every executable to the seeds"},
	} {
		if !g.shown {
			out = append(out, g.text)
		}
	}
	return out
}

// all says whether f holds for every vote of the winning value.
func (v *Verdict) all(f func(*Result) bool) bool {
	return !slices.ContainsFunc(v.winners, func(b ballot) bool { return !f(&b.result.result) })
}

const anotherRelease = "get the evidence of the release that you want, or name this one"

// compare checks what the caller expects.
func (a *Account) compare(r *Release, expect Expect) error {
	if expect.Name != "" {
		if expect.Name != r.Name {
			return mismatch("the release is of %s, not %s", r.Name, expect.Name).WithHint(anotherRelease)
		}
		a.Compared = append(a.Compared, "name")
	}
	if expect.Version != "" {
		if err := names.Version(expect.Version); err != nil {
			return err
		}
		if names.CompareVersions(expect.Version, r.Version) != 0 {
			return mismatch("the release is %s %s, not %s", r.Name, r.Version, expect.Version).WithHint(anotherRelease)
		}
		a.Compared = append(a.Compared, "version")
	}
	for _, archive := range expect.Archives {
		if err := r.VerifyArchive(archive); err != nil {
			return err
		}
		a.Compared = append(a.Compared, "archive")
	}
	for _, file := range expect.Files {
		if err := r.verifyArchiveFile(file); err != nil {
			return err
		}
		a.Compared = append(a.Compared, "archive")
	}
	for _, dir := range expect.Layouts {
		images, err := r.verifyLayout(dir)
		if err != nil {
			return err
		}
		a.Compared = append(a.Compared, images.found...)
		a.Notes = append(a.Notes, images.notes...)
	}
	return nil
}

// VerifyArchive checks that an archive is the one of the release and that its
// content is what its inventory says and what was voted for.
func (r *Release) VerifyArchive(archive []byte) error {
	_, err := r.OpenArchive(archive)
	return err
}

// OpenArchive is VerifyArchive that returns the package.
func (r *Release) OpenArchive(archive []byte) (*Package, error) {
	if err := r.checkCksum(store.DigestOf(archive)); err != nil {
		return nil, err
	}
	p, err := OpenPackage("archive", archive)
	if err != nil {
		return nil, err
	}
	return p, r.checkPackage(p)
}

func (r *Release) checkCksum(archive store.Digest) error {
	if archive.Hex() != r.Cksum {
		return fault.New(fault.CksumMismatch, "the archive has sha256 %s, the release says %s", archive.Hex(), r.Cksum).
			WithHint("fetch the archive of %s %s again", r.Name, r.Version)
	}
	return nil
}

// verifyArchiveFile is [Release.VerifyArchive] of a file, which is not read
// into memory unless it has the hash of the released one.
func (r *Release) verifyArchiveFile(file io.ReadSeeker) error {
	sum := sha256.New()
	_, err := io.Copy(sum, file)
	if err == nil {
		err = r.checkCksum(store.DigestOfSum(sum.Sum(nil)))
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return err
	}
	archive, err := readLimited(file, MaxArchive, "the archive")
	if err != nil {
		return err
	}
	return r.VerifyArchive(archive)
}

// Lines returns the account as text for people, one line each, the most
// important first.
func (a *Account) Lines() []string {
	compared := "nothing at hand was compared with it"
	if len(a.Compared) > 0 {
		compared = "compared and equal: " + strings.Join(a.Compared, ", ")
	}
	out := []string{
		fmt.Sprintf("verified %s %s, release %s; %s", a.Name, a.Version, a.Release, compared),
		fmt.Sprintf("%s: hermetic %s, deterministic %s, reproduced %s, bootstrapped %s",
			a.Word, yesNo(a.Hermetic), yesNo(a.Deterministic), yesNo(a.Reproduced), yesNo(a.Bootstrapped)),
		fmt.Sprintf("policy %s version %d (%s), signed by %s", a.Policy.Name, a.Policy.Version, a.Policy.Digest, strings.Join(a.Signers, ", ")),
	}
	for _, b := range a.Builds {
		out = append(out, fmt.Sprintf("%s: %d of %d operators counted, plan %s", b.Platform, b.counted(), len(b.Operators), b.Plan))
		for _, t := range b.Targets {
			out = append(out, fmt.Sprintf("  %s: tree %s, manifest %s", t.Name, t.Tree, t.Manifest))
		}
		for _, o := range b.Operators {
			state := "counted"
			if !o.Counted {
				state = "not counted: " + o.Why
			}
			out = append(out, fmt.Sprintf("  %s: %s", o.Operator, state))
		}
		if b.Log != nil {
			out = append(out, "  "+b.Log.String())
		}
		for _, s := range Unjudged(b.Statements) {
			out = append(out, "  "+s.String())
		}
		for _, c := range b.Contradictions {
			out = append(out, "  reported, not blocking: "+c.String())
		}
	}
	for _, w := range a.Waivers {
		out = append(out, fmt.Sprintf("waived by the signers: %s: %s", w.Statement, w.Reason))
	}
	for _, n := range a.Notes {
		out = append(out, "note: "+n)
	}
	return out
}

func (b *BuildAccount) counted() (n int) {
	for _, o := range b.Operators {
		if o.Counted {
			n++
		}
	}
	return n
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
