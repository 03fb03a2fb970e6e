package attesttest

import "rebuild/attest"

// Provenance returns the signed SLSA provenance of [World.Statement] with the
// same arguments.
func (w *World) Provenance(operator string, edit func(*attest.Result)) []byte {
	w.T.Helper()
	return w.Sign(w.ProvenancePayload(operator, edit), operator)
}

// ProvenancePayload is what [World.Provenance] signs.
func (w *World) ProvenancePayload(operator string, edit func(*attest.Result)) []byte {
	w.T.Helper()
	result, err := attest.NewResultStatement(w.Plan, w.Result(operator, edit))
	must(w.T, err)
	payload, err := attest.NewProvenanceStatement(w.Plan, result)
	must(w.T, err)
	return payload
}

// Provenances returns those of [World.Statements].
func (w *World) Provenances() [][]byte {
	w.T.Helper()
	var out [][]byte
	for _, name := range []string{"east", "north", "west"} {
		out = append(out, w.Provenance(name, nil))
	}
	return out
}
