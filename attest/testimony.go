package attest

import (
	"slices"
	"strings"
	"time"

	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/internal/names"
	"rebuild/store"
)

// Testimony is one statement in a bundle by an operator whom the quorum
// counts: what can be shown to people and tools that do not know bundles.
type Testimony struct {
	Statement     store.Digest // of the payload
	Operator      string
	Status        string // what became of it, never refused or outsider
	Platform      string // of the build that it is about
	PredicateType string
	Subjects      []Subject
	Envelope      []byte
}

// Testimonies verifies a bundle as [VerifyRelease] does and returns the
// release with all statements in its evidence that an operator of the quorum
// signed, in the order of the builds and of their digests. Those that
// contradict the release, or that a waiver overrules, are among them; those of
// others are not, because nothing is known of who signed them.
func Testimonies(policy *Policy, b *Bundle, now time.Time) (*SignedRelease, []Testimony, error) {
	signed, verdicts, err := VerifyRelease(policy, b, now)
	if err != nil {
		return nil, nil, err
	}
	var all []Testimony
	for i, v := range verdicts {
		found, err := v.testimonies(b.Evidence.statements(v.planDigest))
		if err != nil {
			return nil, nil, within(err, "build "+signed.release.Builds[i].Platform)
		}
		all = append(all, found...)
	}
	return signed, all, nil
}

// statements returns the envelopes about one plan by the digests of their
// payloads.
func (ev Evidence) statements(plan store.Digest) map[store.Digest][]byte {
	out := map[store.Digest][]byte{}
	for _, b := range ev.Builds {
		for _, raw := range b.Statements {
			if e, err := ParseEnvelope("statement", raw); err == nil && store.DigestOf(b.Plan) == plan {
				out[e.Digest()] = raw
			}
		}
	}
	return out
}

func (v *Verdict) testimonies(envelopes map[store.Digest][]byte) ([]Testimony, error) {
	var out []Testimony
	for _, s := range v.statements {
		if s.Status == StatusRefused || s.Status == StatusOutsider {
			continue
		}
		raw := envelopes[s.Statement]
		e, err := ParseEnvelope("statement", raw)
		if err != nil {
			return nil, err
		}
		t := Testimony{Statement: s.Statement, Operator: s.Operator, Status: s.Status, Platform: v.plan.Platform, Envelope: raw}
		// The signature was checked when the verdict came to this status.
		if err := t.read(e.payload); err != nil {
			return nil, err
		}
		out = append(out, t)
	}
	return out, nil
}

func (t *Testimony) read(payload []byte) error {
	var st struct {
		PredicateType string    `json:"predicateType"`
		Subject       []Subject `json:"subject"`
	}
	if err := document.DecodeForeign("statement "+string(t.Statement), payload, &st); err != nil {
		return err
	}
	t.PredicateType, t.Subjects = st.PredicateType, st.Subject
	return nil
}

// Names says whether the statement is about the manifest of that digest.
func (t *Testimony) Names(manifest store.Digest) bool {
	return slices.ContainsFunc(t.Subjects, func(s Subject) bool { return s.Digest.SHA256 == manifest.Hex() })
}

// target returns the digest that the statement gives for a target.
func (t *Testimony) target(name string) (string, bool) {
	for _, s := range t.Subjects {
		if s.Name == name {
			return s.Digest.SHA256, true
		}
	}
	return "", false
}

// Sums is what one operator says of the files of a released image layout, as
// sha256sum -c reads it, after the way of guix.sigs.
type Sums struct {
	Operator string
	// Text has a line "<hex>  image/blobs/sha256/<hex>" for the manifest of
	// each target that the operator built and, where that is the released one,
	// for the config and layer it names. It is the same for all operators who
	// agree. The names are those of the released files whatever the operator
	// got, so that a dissent fails sha256sum -c and shows in a diff. Empty if
	// the operator built nothing.
	Text       []byte
	Statements []Testimony // its results
}

// SumsNamespace is the namespace of SSH signatures over the text of [Sums]: a
// signature that was made for another purpose does not verify in it.
const SumsNamespace = "rebuild.sha256sums.v1"

// SumsOf returns the sums of each operator who has a result among
// testimonies, sorted by operator. objects are those of the bundle: the
// released manifests are read from there, and must be there
// (EVIDENCE_MISMATCH).
func SumsOf(r *Release, testimonies []Testimony, objects [][]byte) ([]Sums, error) {
	blobs := blobMap(objects)
	lines := map[string][]string{}
	byOperator := map[string]*Sums{}
	for _, t := range testimonies {
		if t.PredicateType != PredicateResult {
			continue
		}
		if byOperator[t.Operator] == nil {
			byOperator[t.Operator] = &Sums{Operator: t.Operator}
		}
		more, err := t.sums(r, blobs)
		if err != nil {
			return nil, err
		}
		lines[t.Operator] = append(lines[t.Operator], more...)
		byOperator[t.Operator].Statements = append(byOperator[t.Operator].Statements, t)
	}
	var out []Sums
	for name, s := range byOperator {
		s.Text = sumsText(lines[name])
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b Sums) int { return strings.Compare(a.Operator, b.Operator) })
	return out, nil
}

// sums returns the lines of one statement.
func (t *Testimony) sums(r *Release, blobs map[store.Digest][]byte) ([]string, error) {
	var lines []string
	for _, b := range r.Builds {
		for _, released := range b.Targets {
			got, built := t.target(released.Name)
			if b.Platform != t.Platform || !built {
				continue
			}
			lines = append(lines, sumsLine(got, released.Manifest))
			if got != released.Manifest.Hex() {
				continue
			}
			named, err := manifestBlobs(released.Manifest, blobs)
			if err != nil {
				return nil, err
			}
			for _, d := range named {
				lines = append(lines, sumsLine(d.Hex(), d))
			}
		}
	}
	return lines, nil
}

func sumsLine(got string, file store.Digest) string {
	return got + "  image/" + blobName(file) + "\n"
}

// sumsText sorts by file name, as guix.sigs does, and says nothing twice.
func sumsText(lines []string) []byte {
	byName := func(a, b string) int { return strings.Compare(a[64:]+a[:64], b[64:]+b[:64]) }
	slices.SortFunc(lines, byName)
	return []byte(strings.Join(slices.Compact(lines), ""))
}

// manifestBlobs returns the config and the layers of a released manifest.
func manifestBlobs(manifest store.Digest, blobs map[store.Digest][]byte) ([]store.Digest, error) {
	raw, ok := blobs[manifest]
	if !ok {
		return nil, mismatch("manifest %s is not in the evidence", manifest)
	}
	var m struct {
		Config descriptor   `json:"config"`
		Layers []descriptor `json:"layers"`
	}
	if err := document.DecodeForeign("manifest "+string(manifest), raw, &m); err != nil {
		return nil, err
	}
	var out []store.Digest
	for _, d := range append([]descriptor{m.Config}, m.Layers...) {
		if _, err := store.ParseDigest(string(d.Digest)); err != nil {
			return nil, within(err, "manifest "+string(manifest))
		}
		out = append(out, d.Digest)
	}
	return out, nil
}

// Claim is what a statement says of itself, by which it can be filed. Nothing
// of it is verified.
type Claim struct {
	Statement store.Digest
	Plan      store.Digest
	Operator  string // a name by the grammar, and so no path
}

// ReadClaim reads what an envelope with a result or a provenance says of
// itself. Any other is STRUCTURE, as are names and digests of another form.
func ReadClaim(envelope []byte) (Claim, error) {
	e, err := ParseEnvelope("statement", envelope)
	if err != nil {
		return Claim{}, err
	}
	var st struct {
		PredicateType string `json:"predicateType"`
		Predicate     struct {
			Plan            store.Digest `json:"plan"`
			Operator        string       `json:"operator"`
			BuildDefinition struct {
				ExternalParameters struct {
					Plan store.Digest `json:"plan"`
				} `json:"externalParameters"`
			} `json:"buildDefinition"`
			RunDetails struct {
				Builder struct {
					ID string `json:"id"`
				} `json:"builder"`
			} `json:"runDetails"`
		} `json:"predicate"`
	}
	if err := document.DecodeForeign("statement "+string(e.Digest()), e.payload, &st); err != nil {
		return Claim{}, err
	}
	c := Claim{Statement: e.Digest()}
	switch p := st.Predicate; st.PredicateType {
	case PredicateResult:
		c.Plan, c.Operator = p.Plan, p.Operator
	case PredicateProvenance:
		c.Plan, c.Operator = p.BuildDefinition.ExternalParameters.Plan, strings.TrimPrefix(p.RunDetails.Builder.ID, "urn:rebuild:operator:")
	default:
		return Claim{}, fault.New(fault.Structure, "statement %s is of type %.80q", e.Digest(), st.PredicateType)
	}
	if err := names.Check(c.Operator); err != nil {
		return Claim{}, fault.New(fault.Structure, "statement %s: %w", e.Digest(), err)
	}
	if _, err := store.ParseDigest(string(c.Plan)); err != nil {
		return Claim{}, fault.New(fault.Structure, "statement %s: %w", e.Digest(), err)
	}
	return c, nil
}
