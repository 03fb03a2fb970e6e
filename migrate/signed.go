package migrate

import (
	"rebuild/internal/document"
	"rebuild/internal/fault"
)

// lookSigned looks at an envelope. Its bytes are evidence: whatever version the
// document inside has, they stay what they are. Nothing is verified here, for
// nothing is believed.
func lookSigned(path string, data []byte) (Finding, bool) {
	var envelope struct {
		Payload []byte `json:"payload"`
	}
	var statement struct {
		Predicate struct {
			SchemaVersion string `json:"schema_version"`
		} `json:"predicate"`
	}
	if document.DecodeForeign(path, data, &envelope) != nil || document.DecodeForeign(path, envelope.Payload, &statement) != nil {
		return Finding{}, false // whoever verifies it says what is wrong with it
	}
	found := statement.Predicate.SchemaVersion
	k, ours := document.KindOf(found)
	if !ours || found == k.ID() {
		return Finding{}, ours
	}
	if err := k.CheckVersion(path, found); err != nil {
		why := fault.New(fault.MigrationFailed, "signed bytes are never rewritten: %w", err).At(path, 0)
		return Finding{Found: found, To: k.ID(), Action: Refuse, Why: why.Error(), kind: k, err: why}, true
	}
	return Finding{Found: found, To: k.ID(), Action: Keep, Why: "signed; it is read as it is, and a new statement needs new signatures", kind: k}, true
}
