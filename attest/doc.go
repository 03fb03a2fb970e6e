// Package attest is what is said about builds, by whom, and what it is worth:
// keys, signed statements, the policy, the verdict, the release and the bundle
// with its evidence (formats.md 4 to 6, index.md 8).
//
// Whoever judges calls [LoadPolicy], [OpenBundle] and [Verify]. A rebuilder
// calls [NewResultStatement] and [Sign]; release signers call [Judge],
// [Verdict.Met], [Pack], [Propose] and [SignRelease].
//
// # Statements
//
// A statement is an in-toto Statement v1 in canonical JSON, in a DSSE
// envelope in canonical JSON. The signature is over
//
//	"DSSEv1 " LEN(type) " " type " " LEN(payload) " " payload
//
// with the one type application/vnd.in-toto+json and decimal lengths ([PAE]).
// It is checked over the raw payload before the payload is parsed, so no
// parser sees what nobody known has signed. A keyid is a hint: it must fit
// the key that verifies and never decides which one does. A known key with a
// wrong signature rejects the envelope; unknown keys count for nothing. An
// envelope is addressed by the sha256 of its payload.
//
// # Verdicts
//
// [Judge] is a function of policy, plan, statements, waivers and time, blind
// to the order and the number of copies of the statements. It counts
// operators, not keys, signatures or files, and no build twice: a result that
// reuses another operator's is no vote. Of its results only a met verdict
// gives a [Met], and only a Met can be proposed for release; values of the
// types Signed, SignedRelease, Met and Publication exist only as the outcome
// of a check that passed.
//
// # What is trusted
//
// The policy, the clock that the caller passes in, and the operators and
// signers as far as the policy says. Not trusted are bundles, statements,
// archives, image layouts and who served them. Nothing here opens a
// connection; files are read only where a caller names them.
//
// This version judges without a log, and refuses policies and releases that
// need one.
package attest
