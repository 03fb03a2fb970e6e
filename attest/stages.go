package attest

import "slices"

// Stages returns what came out of each stage according to the votes that won,
// sorted by name; origins and what else differs between voters are those of
// one of them. The error is that of [Verdict.Err] unless the verdict is met.
func (v *Verdict) Stages() ([]StageResult, error) {
	if err := v.Err(); err != nil {
		return nil, err
	}
	return slices.Clone(v.winners[0].result.result.Stages), nil
}
