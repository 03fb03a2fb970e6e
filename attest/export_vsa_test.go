package attest

// Resource is the resourceUri of a release, whose locators no world varies.
func (r *Release) Resource() string { return r.resource() }

// SummariseVerdicts is what a release of several builds comes to.
func SummariseVerdicts(verdicts ...*Verdict) (outcome string, levels []string, err error) {
	return summariseVerdicts(verdicts)
}
