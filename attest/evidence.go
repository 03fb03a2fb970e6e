package attest

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// Evidence is what a release is judged by, as it was found and not verified.
type Evidence struct {
	Builds  []BuildEvidence
	Lock    []byte   // rebuild.lock; nil without
	Objects [][]byte // that the release names, such as the released manifests
}

// BuildEvidence is a plan and the envelopes of all statements about it.
type BuildEvidence struct {
	Plan       []byte
	Statements [][]byte
	Events     []byte // events.jsonl, the plan's chain in the log; nil without a log
	Proof      []byte // head.tlog-proof of the chain's last leaf; nil without a log
}

// Chain verifies the build's chain by the policy's log (see [OpenChain]), and
// wants the file of every statement in it. It is nil if the build has neither
// events nor proof; one without the other is EVIDENCE_MISMATCH.
func (b *BuildEvidence) Chain(policy *Policy) (*Chain, error) {
	if err := b.paired(); err != nil || b.Events == nil {
		return nil, err
	}
	c, err := OpenChain(policy, store.DigestOf(b.Plan), b.Events, b.Proof)
	if err != nil {
		return nil, err
	}
	return c, c.complete(policy.seen, b.Statements)
}

// paired wants events and their proof together.
func (b *BuildEvidence) paired() error {
	if (b.Events == nil) != (b.Proof == nil) {
		return mismatch("of %s and %s, one is missing", EventsFile, ProofFile)
	}
	return nil
}

// chains are those of the builds of a release, by plan.
type chains map[store.Digest]*Chain

func openChains(policy *Policy, ev *Evidence) (chains, error) {
	out := chains{}
	for i := range ev.Builds {
		c, err := ev.Builds[i].Chain(policy)
		if err != nil {
			return nil, within(err, "plan "+string(store.DigestOf(ev.Builds[i].Plan)))
		}
		if c != nil {
			out[c.plan] = c
		}
	}
	return out, nil
}

// moment is when the release was logged, by the last of its leaves; now if it
// was not logged for every plan.
func (all chains) moment(release store.Digest, now time.Time) moment {
	m := moment{time: now}
	for _, plan := range slices.Sorted(maps.Keys(all)) {
		leaf := all[plan].moment(EventRelease, release, now)
		if !leaf.logged {
			return leaf
		}
		if !m.logged || leaf.seq > m.seq {
			m = leaf
		}
	}
	return m
}

// checkEnds wants every chain of a logged release to end with the release.
func (all chains) checkEnds(policy *Policy, release store.Digest) error {
	for _, plan := range slices.Sorted(maps.Keys(all)) {
		c := all[plan]
		last := c.leaves[len(c.leaves)-1]
		if last.Type == EventRelease && last.Object == release {
			continue
		}
		if policy.doc.Require.Logged && !c.has(EventRelease, release) {
			return fault.New(fault.QuorumPending, "the release is not in the log: the chain of plan %s ends with %s %s", c.plan, last.Type, last.Object).
				WithHint("log the signed release, then publish it with the chain that ends there")
		}
		return mismatch("the chain of plan %s ends with %s %s at seq %d, not with the release", c.plan, last.Type, last.Object, last.Seq)
	}
	return nil
}

// checkLogged compares where a release says it was logged with the policy and
// with what there is.
func (r *Release) checkLogged(policy *Policy, ev *Evidence, all chains) error {
	switch {
	case r.LogOrigin == "" && policy.doc.Require.Logged:
		return fault.New(fault.QuorumPending, "the release was proposed without a log, and the policy wants one").
			WithHint("propose it again, with %s and %s beside the plan", EventsFile, ProofFile)
	case r.LogOrigin != policy.LogOrigin() && r.LogOrigin != "":
		return mismatch("the release is in log %s, the policy's is %q", r.LogOrigin, policy.LogOrigin()).
			WithHint("judge by a policy that names the log")
	case r.LogOrigin == "" && len(all) > 0:
		return mismatch("there are events of log %s, the release is in none", policy.LogOrigin())
	case r.LogOrigin != "" && len(all) != len(ev.Builds):
		return mismatch("the release is logged, and of %d builds %d have %s and %s", len(ev.Builds), len(all), EventsFile, ProofFile)
	}
	return nil
}

func blobMap(blobs [][]byte) map[store.Digest][]byte {
	out := map[store.Digest][]byte{}
	for _, b := range blobs {
		out[store.DigestOf(b)] = b
	}
	return out
}

// judgeRelease judges every build of a release by a policy, with the
// release's waivers, and returns the verdicts in the order of the builds.
//
// QUORUM_PENDING, LINEAGE_UNTRACED or DISSENT is what the evidence comes to;
// EVIDENCE_MISMATCH is a release that says anything else than the evidence;
// SEMANTIC are platforms whose plans differ in more than they may.
func judgeRelease(policy *Policy, r *Release, ev Evidence, logged chains, now time.Time) ([]*Verdict, error) {
	if len(r.Builds) == 0 {
		return nil, noBuilds()
	}
	plans := map[store.Digest]BuildEvidence{}
	for _, b := range ev.Builds {
		plans[store.DigestOf(b.Plan)] = b
	}
	if len(plans) != len(r.Builds) || len(ev.Builds) != len(r.Builds) {
		return nil, mismatch("there is evidence for %d plans, the release has %d builds", len(ev.Builds), len(r.Builds))
	}
	if err := r.checkLogged(policy, &ev, logged); err != nil {
		return nil, err
	}
	if err := checkLock(r, ev.Lock); err != nil {
		return nil, err
	}
	if err := r.checkObjects(ev.Objects); err != nil {
		return nil, err
	}
	var verdicts []*Verdict
	for i := range r.Builds {
		b := &r.Builds[i]
		found, ok := plans[b.Plan]
		if !ok {
			return nil, mismatch("plan %s of build %s is missing", b.Plan, b.Platform)
		}
		v, err := b.judge(policy, r, found, logged[b.Plan], now)
		if err != nil {
			return nil, within(err, "build "+b.Platform)
		}
		verdicts = append(verdicts, v)
	}
	if err := samePlans(verdicts); err != nil {
		return nil, err
	}
	return verdicts, r.checkIndex(ev.Objects)
}

func mismatch(format string, args ...any) *fault.Error {
	return fault.New(fault.EvidenceMismatch, format, args...).WithHint("get the evidence again, from another place if it stays so")
}

func checkLock(r *Release, lock []byte) error {
	switch {
	case r.Lock == "" && lock != nil:
		return mismatch("there is a lock but the release names none")
	case r.Lock != "" && lock == nil:
		return mismatch("lock %s is missing", r.Lock)
	case r.Lock != "" && store.DigestOf(lock) != r.Lock:
		return mismatch("the lock is %s, the release says %s", store.DigestOf(lock), r.Lock)
	}
	return nil
}

// checkObjects refuses an object that the release does not name: nobody signed
// for it, and whoever takes in the release would spread it.
func (r *Release) checkObjects(objects [][]byte) error {
	named := map[store.Digest]bool{r.OCIIndex: true, r.Package: true, r.Files: true, r.Exports: true}
	for _, b := range r.Builds {
		for _, t := range b.Targets {
			named[t.Manifest] = true
		}
	}
	for _, b := range objects {
		if d := store.DigestOf(b); !named[d] {
			return mismatch("object %s is not named by the release", d)
		}
	}
	return nil
}

// judge judges one build, whose plan has the digest that the release says, and
// compares it with what the release says: as it was when the release was
// proposed, and again with all that is known since.
func (b *ReleaseBuild) judge(policy *Policy, r *Release, found BuildEvidence, chain *Chain, now time.Time) (*Verdict, error) {
	if err := policy.checkAt(now, chain != nil); err != nil {
		return nil, err
	}
	plan, err := policy.seen.plan(b.Plan, found.Plan)
	if err != nil {
		return nil, err
	}
	if plan.plan.Platform != b.Platform {
		return nil, mismatch("the plan is for %s", plan.plan.Platform)
	}
	then, err := b.proposed(chain)
	if err != nil {
		return nil, err
	}
	listed, err := b.listed(policy.seen, found.Statements, then)
	if err != nil {
		return nil, err
	}
	v, err := judgePlan(policy, plan, listed, then, r.Waivers, now)
	if err != nil {
		return nil, err
	}
	if err := b.checkListed(policy, r, v); err != nil {
		return nil, err
	}
	if err := b.checkVoices(policy, listed, v); err != nil {
		return nil, err
	}
	// What came to light since the release was signed may still block it.
	v.chain = chain
	if len(found.Statements) > len(listed) || chain.says(then) {
		if v, err = judgePlan(policy, plan, found.Statements, chain, r.Waivers, now); err != nil {
			return nil, err
		}
	}
	if err := v.Err(); err != nil {
		return nil, err
	}
	if v.outputs != b.Outputs {
		return nil, mismatch("the quorum agrees on outputs %s, the release says %s", v.outputs, b.Outputs)
	}
	if targets := v.targets(); !slices.Equal(targets, b.Targets) {
		return nil, mismatch("the plan's targets are %v, the release says %v", targets, b.Targets)
	}
	return v, nil
}

// proposed returns the chain as it was when the release was proposed, which
// must be the one that the release names.
func (b *ReleaseBuild) proposed(chain *Chain) (*Chain, error) {
	if chain == nil {
		return nil, nil
	}
	then, err := chain.cut(*b.Seq)
	if err == nil && then.Digest() != b.Events {
		err = fault.New(fault.EventsMismatch, "the events through seq %d are %s, the release says %s", *b.Seq, then.Digest(), b.Events).
			WithHint("get the evidence from another place; if it is so everywhere, ask the owners to release it again")
	}
	return then, err
}

// listed returns the envelopes of the statements that the release lists, all
// of which must be there, and of those that were logged when it was proposed.
func (b *ReleaseBuild) listed(memory *signatures, statements [][]byte, then *Chain) ([][]byte, error) {
	var out [][]byte
	seen := map[store.Digest]bool{}
	for i, d := range memory.payloads(statements) {
		if b.lists(d) || then.has(EventStatement, d) {
			seen[d] = true
			out = append(out, statements[i])
		}
	}
	for _, d := range b.Statements {
		if !seen[d] {
			return nil, mismatch("statement %s is listed by the release but missing or damaged", d)
		}
	}
	return out, nil
}

// lists says whether a statement is among those of the release, which are
// sorted.
func (b *ReleaseBuild) lists(statement store.Digest) bool {
	_, found := slices.BinarySearch(b.Statements, statement)
	return found
}

// checkListed wants no listed statement to have a wrong signature, and under
// the policy that the release names exactly those that were judged. Another
// policy may know operators by other names and so refuse their statements;
// then its own verdict stands.
func (b *ReleaseBuild) checkListed(policy *Policy, r *Release, v *Verdict) error {
	for _, s := range v.statements {
		if s.Status == StatusRefused && b.lists(s.Statement) && (policy.digest == r.Policy || s.Code == fault.SignatureInvalid) {
			return mismatch("the release lists statement %s, which is refused: %s", s.Statement, s.Why)
		}
	}
	if policy.digest == r.Policy && !slices.Equal(v.judged, b.Statements) {
		return mismatch("the policy judges the statements %v, the release lists %v", v.judged, b.Statements)
	}
	return nil
}

// checkVoices refuses a listed statement that can not be heard for its
// envelope. The release commits to payloads alone: what an operator of the
// quorum says there must not become a stranger's by another signature, under a
// policy that would be blocked by it.
func (b *ReleaseBuild) checkVoices(policy *Policy, listed [][]byte, v *Verdict) error {
	unheard := map[store.Digest]StatementAccount{}
	for _, s := range v.statements {
		if b.lists(s.Statement) && s.Operator == "" { // nobody's signature on it is right
			unheard[s.Statement] = s
		}
	}
	if len(unheard) == 0 {
		return nil
	}
	for _, raw := range listed {
		c, err := ReadClaim(raw)
		if err != nil {
			continue // no result and no provenance, which count under no policy
		}
		if s, found := unheard[c.Statement]; found && slices.Contains(policy.reachable, c.Operator) {
			return mismatch("the release lists statement %s of %s, which is %s: %s", c.Statement, c.Operator, s.Status, s.Why).
				WithHint("get the statement from whoever has it; if %s signed it with an earlier key, add that key to the policy", c.Operator)
		}
	}
	return nil
}

// samePlans refuses builds whose plans differ in more than platform, images
// and seeds: they would be different software under one name.
func samePlans(verdicts []*Verdict) error {
	if len(verdicts) < 2 {
		return nil
	}
	var first []byte
	for _, v := range verdicts {
		common := *v.plan
		common.Platform, common.Images, common.Seeds = "", nil, nil
		b, err := document.Encode(common)
		if err != nil {
			return err
		}
		if first == nil {
			first = b
		}
		if string(b) != string(first) {
			return fault.New(fault.Semantic, "the plans for %s and %s differ in more than platform, images and seeds",
				verdicts[0].plan.Platform, v.plan.Platform)
		}
	}
	return nil
}

// checkIndex recomputes oci_index from the manifests in the evidence.
func (r *Release) checkIndex(objects [][]byte) error {
	if r.OCIIndex == "" {
		return nil
	}
	index, err := r.ociIndex(blobMap(objects))
	if err != nil {
		return err
	}
	if d := store.DigestOf(index); d != r.OCIIndex {
		return mismatch("the index of the released images is %s, the release says %s", d, r.OCIIndex)
	}
	return nil
}

func (r *Release) oneTargetEach() bool {
	return len(r.Builds) > 0 && !slices.ContainsFunc(r.Builds, func(b ReleaseBuild) bool { return len(b.Targets) != 1 })
}

// An OCI image index in its canonical form, formats.md 3.
type ociIndexJSON struct {
	Manifests     []ociDescriptor `json:"manifests"`
	MediaType     string          `json:"mediaType"`
	SchemaVersion int             `json:"schemaVersion"`
}

type ociDescriptor struct {
	Digest    store.Digest `json:"digest"`
	MediaType string       `json:"mediaType"`
	Platform  ociPlatform  `json:"platform"`
	Size      int64        `json:"size"`
}

type ociPlatform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	Variant      string `json:"variant,omitempty"`
}

// ociIndex returns the canonical index of the released manifests, whose bytes
// are among blobs.
func (r *Release) ociIndex(blobs map[store.Digest][]byte) ([]byte, error) {
	index := ociIndexJSON{Manifests: []ociDescriptor{}, MediaType: store.MediaTypeIndex, SchemaVersion: 2}
	for _, b := range r.Builds {
		manifest := b.Targets[0].Manifest
		raw, ok := blobs[manifest]
		if !ok {
			return nil, mismatch("manifest %s of %s is missing, so oci_index can not be recomputed", manifest, b.Platform)
		}
		index.Manifests = append(index.Manifests, ociDescriptor{manifest, store.MediaTypeManifest, parsePlatform(b.Platform), int64(len(raw))})
	}
	slices.SortFunc(index.Manifests, func(a, b ociDescriptor) int {
		return cmp.Or(strings.Compare(a.Platform.OS, b.Platform.OS), strings.Compare(a.Platform.Architecture, b.Platform.Architecture),
			strings.Compare(a.Platform.Variant, b.Platform.Variant))
	})
	return document.Encode(index)
}

func parsePlatform(s string) ociPlatform {
	parts := append(strings.Split(s, "/"), "", "")
	return ociPlatform{OS: parts[0], Architecture: parts[1], Variant: parts[2]}
}
