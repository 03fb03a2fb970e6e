package attest

// OpenResult opens one result by itself, as [Judge] does with each: the vectors
// and fuzz tests ask what is wrong with it, which a verdict only counts.
func OpenResult(e *Envelope, operator string, keys []PublicKey, p *Plan) (*Result, error) {
	if err := e.oneSignature(); err != nil {
		return nil, err
	}
	signed, err := e.Verify(keys)
	if err != nil {
		return nil, err
	}
	r, err := readResult(signed, operator)
	if err != nil {
		return nil, err
	}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	v, err := openResult(r, newPlanIndex(p))
	if err != nil {
		return nil, err
	}
	return &v.result, nil
}

// VerifyLayout checks a layout against a release that no world can make: one
// of several platforms and targets.
func (r *Release) VerifyLayout(dir string) (found, notes []string, err error) {
	images, err := r.verifyLayout(dir)
	return images.found, images.notes, err
}
