package attest

import (
	"errors"
	"net/url"
	"slices"
	"time"

	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/internal/names"
	"rebuild/store"
)

// PredicateVSA is the predicateType of a SLSA verification summary: a verdict
// for tools that know neither our results nor our policies.
const PredicateVSA = "https://slsa.dev/verification_summary/v1"

// slsaVersion is that of the specification which [LevelReproduced] is from
// (https://slsa.dev/spec/v1.2/verified-properties).
const slsaVersion = "1.2"

// The results of a verification, as SLSA spells them.
const (
	ResultPassed = "PASSED" // the verdict is met
	ResultFailed = "FAILED" // the verdict is dissent
)

// What a summary says was verified.
const (
	// LevelReproduced is SLSA's: at least two operators got what won, and of
	// each of their votes the provenance is at hand.
	LevelReproduced = "SLSA_BUILD_REPRODUCED"
	// LevelBootstrapped is ours: every counted vote traces all executables to
	// the seeds. SLSA leaves names that do not begin with SLSA_ to others.
	LevelBootstrapped = "REBUILD_BOOTSTRAPPED"
	// LevelUnevaluated stands where neither holds, for there must be something:
	// SLSA's build levels are about build platforms, which nobody judges here.
	LevelUnevaluated = "SLSA_BUILD_LEVEL_UNEVALUATED"
	// LevelFailed is the only one of a verification that failed.
	LevelFailed = "FAILED"
)

// The types below are SLSA's verification summary v1; the spelling of their
// fields is SLSA's (https://slsa.dev/spec/v1.2/verification_summary).

type summary struct {
	InputAttestations  []summarySource `json:"inputAttestations"`
	Policy             summarySource   `json:"policy"`
	ResourceURI        string          `json:"resourceUri"`
	SLSAVersion        string          `json:"slsaVersion"`
	TimeVerified       string          `json:"timeVerified"`
	VerificationResult string          `json:"verificationResult"`
	VerifiedLevels     []string        `json:"verifiedLevels"`
	Verifier           summaryVerifier `json:"verifier"`
}

type summaryVerifier struct {
	ID      string            `json:"id"`
	Version map[string]string `json:"version,omitempty"`
}

type summarySource struct {
	Digest SubjectDigest `json:"digest"`
	URI    string        `json:"uri"`
}

// Verifier is who summarises a verdict and answers for it. Whoever relies on
// its summaries accepts its id from its own key alone.
type Verifier struct {
	Name    string // in the grammar of operators' names
	Version string // of the program that judged; "" leaves it out
}

// ID returns the verifier.id of its summaries.
func (v Verifier) ID() string { return "urn:rebuild:verifier:" + v.Name }

// NewReleaseVSA verifies a bundle at a time as [VerifyRelease] does and returns
// the payload of a summary: PASSED if all holds, FAILED if rebuilders disagree.
// Any other failure says nothing about the images and is returned as it is.
//
// The subjects are the released images. resourceUri is the release's locator,
// if that is a URI, else urn:rebuild:package:NAME:VERSION.
func NewReleaseVSA(policy *Policy, b *Bundle, by Verifier, now time.Time) ([]byte, error) {
	_, verdicts, err := VerifyRelease(policy, b, now)
	var d *dissenting
	if errors.As(err, &d) {
		verdicts = []*Verdict{d.verdict}
	} else if err != nil {
		return nil, err
	}
	r, digest, err := releaseOf(policy, b.Release)
	if err != nil {
		return nil, err
	}
	used := []store.Digest{digest}
	for _, v := range verdicts {
		used = append(used, v.judged...)
	}
	var subjects []Subject
	for _, b := range r.Builds {
		for _, t := range b.Targets {
			subjects = append(subjects, newSubject(imageName(b.Platform, t.Name), t.Manifest))
		}
		if d != nil { // what other builds were judged by before
			used = append(used, b.Statements...)
		}
	}
	return by.summarise(policy, verdicts, used, subjects, r.resource(), now)
}

// dissenting is the cause of a DISSENT: the verdict, to be summarised where the
// error comes back alone.
type dissenting struct{ verdict *Verdict }

func (d *dissenting) Error() string { return "the verdict on plan " + string(d.verdict.planDigest) }

// releaseOf reads a release that [VerifyRelease] went through already, and its
// digest.
func releaseOf(policy *Policy, envelope []byte) (*Release, store.Digest, error) {
	e, err := ParseEnvelope(bundleRelease, envelope)
	if err != nil {
		return nil, "", err
	}
	signed, err := e.verify(policy.signing)
	if err != nil {
		return nil, "", err
	}
	r := &Release{}
	return r, signed.Digest(), decodeRelease(signed, r)
}

// NewVerdictVSA returns the payload of a summary of a verdict that was judged
// by policy at now, of a plan that is not released yet: PASSED if it is met,
// FAILED if it is a dissent, the error of [Verdict.Err] if it is pending.
//
// The subjects are the images of the targets: those that won, or of a dissent
// all that results name, and without any the plan. resourceUri is
// urn:rebuild:plan:HEX.
func NewVerdictVSA(policy *Policy, v *Verdict, by Verifier, now time.Time) ([]byte, error) {
	if v.policy != policy.digest {
		return nil, mismatch("the verdict is by policy %s, not %s", v.policy, policy.digest)
	}
	return by.summarise(policy, []*Verdict{v}, v.judged, v.images(), "urn:rebuild:plan:"+v.planDigest.Hex(), now)
}

func (v Verifier) summarise(policy *Policy, verdicts []*Verdict, used []store.Digest, subjects []Subject, resource string, now time.Time) ([]byte, error) {
	if err := names.Check(v.Name); err != nil {
		return nil, within(err, "verifier")
	}
	outcome, levels, err := summariseVerdicts(verdicts)
	if err != nil {
		return nil, err
	}
	at, err := FormatTime(now)
	if err != nil {
		return nil, err
	}
	s := summary{
		Policy:      summarySource{SubjectDigest{policy.digest.Hex()}, "urn:rebuild:policy:" + policy.Name()},
		ResourceURI: resource, SLSAVersion: slsaVersion, TimeVerified: at,
		VerificationResult: outcome, VerifiedLevels: levels, Verifier: summaryVerifier{ID: v.ID()},
	}
	if v.Version != "" {
		s.Verifier.Version = map[string]string{"rebuild": v.Version}
	}
	slices.Sort(used)
	for _, d := range slices.Compact(used) {
		s.InputAttestations = append(s.InputAttestations, summarySource{SubjectDigest{d.Hex()}, "urn:rebuild:statement:" + d.Hex()})
	}
	return encodeStatement(document.Result.MaxBytes, PredicateVSA, subjects, s)
}

// summariseVerdicts says what verdicts come to together. One dissent is
// enough to fail, and all must be met to pass.
func summariseVerdicts(verdicts []*Verdict) (outcome string, levels []string, err error) {
	if slices.ContainsFunc(verdicts, func(v *Verdict) bool { return v.state == StateDissent }) {
		return ResultFailed, []string{LevelFailed}, nil
	}
	reproduced, bootstrapped := true, true
	for _, v := range verdicts {
		if err := v.Err(); err != nil {
			return "", nil, err
		}
		reproduced = reproduced && v.reproduced()
		bootstrapped = bootstrapped && v.all(func(r *Result) bool { return r.Lineage.Complete() })
	}
	if reproduced {
		levels = append(levels, LevelReproduced)
	}
	if bootstrapped {
		levels = append(levels, LevelBootstrapped)
	}
	if len(levels) == 0 {
		levels = []string{LevelUnevaluated}
	}
	return ResultPassed, levels, nil
}

// reproduced says whether at least two operators counted, each with the
// provenance of its vote.
func (v *Verdict) reproduced() bool {
	counted := 0
	for _, o := range v.operators {
		if !o.Counted {
			continue
		}
		if counted++; o.Provenance == "" {
			return false
		}
	}
	return counted >= 2
}

// images are the subjects of a verdict. What a minority got under a policy
// that only reports it must not pass, so a met verdict names the winners'
// images alone.
func (v *Verdict) images() []Subject {
	results := v.results
	if v.state == StateMet {
		results = []*verifiedResult{v.winners[0].result}
	}
	var out []Subject
	for _, target := range v.plan.Targets {
		var manifests []store.Digest
		for _, r := range results {
			if s := r.stage[target]; s != nil {
				manifests = append(manifests, s.Manifest)
			}
		}
		slices.Sort(manifests)
		manifests = slices.Compact(manifests)
		for _, m := range manifests {
			name := imageName(v.plan.Platform, target)
			if len(manifests) > 1 {
				name += "@" + string(m) // names should be unique among subjects
			}
			out = append(out, newSubject(name, m))
		}
	}
	if len(out) == 0 {
		out = []Subject{newSubject("plan:"+v.plan.Pipeline, v.planDigest)}
	}
	return out
}

// imageName is that of an image among a release's subjects, too.
func imageName(platform, target string) string { return "image:" + platform + "/" + target }

// resource returns the URI that a release is verified as. A locator is free
// text; one that is no absolute URI would identify nothing.
func (r *Release) resource() string {
	u, err := url.Parse(r.Locator)
	if err == nil && u.Scheme != "" && u.String() == r.Locator {
		return r.Locator
	}
	return "urn:rebuild:package:" + r.Name + ":" + r.Version
}

// VSA is what a verification summary says, by whomever it was made.
type VSA struct {
	Subjects []Subject
	Verifier string // verifier.id
	Version  map[string]string
	Verified time.Time // zero if not given, as SLSA allows since 1.1
	Resource string
	Policy   string         // its URI
	Inputs   []store.Digest // payload digests of the attestations used
	Result   string         // ResultPassed or ResultFailed
	Levels   []string       // as given; PASSED never comes with LevelFailed
	SLSA     string         // version of the specification; "" if not given
}

// OpenVSA reads a verification summary that key signed as the verifier with
// this id: SLSA has consumers accept specific pairs only. Fields that SLSA does
// not define are passed over, as it asks; what it requires must be there
// (STRUCTURE), and the parts must fit (SEMANTIC). A summary of another verifier
// is EVIDENCE_MISMATCH.
//
// That the subject, the resource, the result and the levels are those that the
// caller is after is the caller's to check; a nil error alone means nothing.
func OpenVSA(e *Envelope, verifier string, key PublicKey) (*VSA, error) {
	if n := len(e.signatures); n != 1 {
		return nil, fault.New(fault.Structure, "%d signatures, a verification summary has one", n)
	}
	signed, err := e.Verify([]PublicKey{key})
	if err != nil {
		return nil, err
	}
	file := "statement " + string(signed.Digest())
	var st statement[summary]
	if err := document.DecodeForeign(file, signed.payload, &st); err != nil {
		return nil, err
	}
	if st.Type != StatementType || st.PredicateType != PredicateVSA {
		return nil, fault.New(fault.Structure, "_type %.80q and predicateType %.80q are not those of a verification summary", st.Type, st.PredicateType).At(file, 0)
	}
	v, err := st.Predicate.vsa(st.Subject)
	if err != nil {
		return nil, fault.In(err, file)
	}
	if v.Verifier != verifier {
		return nil, fault.In(mismatch("the summary is of verifier %.200q, not %q", v.Verifier, verifier).WithHint("name the verifier whose summary it is, if you trust that one"), file)
	}
	return v, nil
}

// vsa checks a summary's parts, whose signature was checked.
func (p *summary) vsa(subjects []Subject) (*VSA, error) {
	v := &VSA{
		Subjects: subjects, Verifier: p.Verifier.ID, Version: p.Verifier.Version, Resource: p.ResourceURI, Policy: p.Policy.URI,
		Result: p.VerificationResult, Levels: p.VerifiedLevels, SLSA: p.SLSAVersion,
	}
	for name, missing := range map[string]bool{
		"subject": len(subjects) == 0, "resourceUri": v.Resource == "", "policy.uri": v.Policy == "", "verifiedLevels": len(v.Levels) == 0,
	} {
		if missing {
			return nil, fault.New(fault.Structure, "%s is missing", name)
		}
	}
	if failed := slices.Contains(v.Levels, LevelFailed); v.Result != ResultPassed && v.Result != ResultFailed || failed && v.Result == ResultPassed {
		return nil, fault.New(fault.Semantic, "verificationResult %.80q does not go with verifiedLevels %.200q", v.Result, v.Levels)
	}
	for _, s := range subjects {
		if _, err := store.ParseDigest("sha256:" + s.Digest.SHA256); err != nil {
			return nil, within(err, "subject")
		}
	}
	for _, in := range p.InputAttestations {
		d, err := store.ParseDigest("sha256:" + in.Digest.SHA256)
		if err != nil {
			return nil, within(err, "inputAttestations")
		}
		v.Inputs = append(v.Inputs, d)
	}
	if p.TimeVerified == "" {
		return v, nil
	}
	var err error
	if v.Verified, err = time.Parse(time.RFC3339, p.TimeVerified); err != nil {
		return nil, fault.New(fault.Structure, "timeVerified %.40q is not a time of RFC 3339", p.TimeVerified)
	}
	return v, nil
}
