// Package attest is what is said about builds, by whom, and what it is worth:
// keys, signed statements, the policy, the verdict, the release and the bundle
// with its evidence (formats.md 4 to 6, index.md 8).
//
// Whoever judges calls [LoadPolicy], [OpenBundle] and [Verify]. A rebuilder
// calls [NewResultStatement], [NewProvenanceStatement] and [Sign]; whoever
// compares results calls [OpenChain] if there is a log, [Judge] and
// [Explain]; release signers call [Verdict.Met], [Pack], [Propose] and
// [SignRelease]. Whoever keeps a policy calls [RotateKey] or [RevokeKey], and
// [NewPolicyUpdate] on what comes of it.
//
// What is signed is never rewritten: a statement, a release and a policy's
// image mean tomorrow what they mean today, or are refused under their version
// (SCHEMA_UNSUPPORTED). Every error has a code of internal/fault.
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
// [Judge] is a function of policy, plan, statements, the plan's chain in a log,
// waivers and time, blind to the order and the number of copies of the
// statements. It counts operators, not keys, signatures or files, and no build
// twice: a result that reuses another operator's is no vote. Of its results
// only a met verdict gives a [Met], and only a Met can be proposed for release;
// values of the types Signed, SignedRelease, Met and Publication exist only as
// the outcome of a check that passed.
//
// # Companions
//
// Beside a result its operator may sign the SLSA provenance that says the same
// in SLSA's words. It is a companion: it never votes and never dissents, it
// must be byte for byte what [NewProvenanceStatement] makes of the result, and
// it is good as long as the result is. A verdict can be told in SLSA's words
// too, as a verification summary ([NewVerdictVSA], [NewReleaseVSA]); nothing
// here judges by one, and [OpenVSA] reads it for who does.
//
// # Updates
//
// A [PolicyUpdate] is the step from a policy to its next version, signed by as
// many root keys as the old one asks for and as many as the new one does. It is
// an offer with all its [PolicyChange]s, what it loosens first: no function
// here replaces the policy of whoever judges.
//
// # Logs
//
// A [Chain] is the part of a log that is about one plan. [OpenChain] checks a
// checkpoint signed by the policy's log key and cosigned by its witnesses, the
// proof that the chain's last leaf is under it, and then each earlier leaf by
// the digest in the one behind it; so one proof binds the whole history, and
// no leaf can be left out, moved or changed. Every statement in a chain must
// be in the evidence, with the signature that the log's writer saw
// (EVIDENCE_MISMATCH): dissent that was logged can not be withheld.
//
// A leaf says when and where its statement or release became known. Keys are
// judged there and not now: one that has ended since then breaks nothing, and
// one that is revoked from a position counts before it. A release names the
// chain that it was proposed with, and is judged by that and again through its
// own leaf, which ends the chain.
//
// # What is trusted
//
// The policy, the clock that the caller passes in, and the operators and
// signers as far as the policy says. The log's key is trusted to date leaves
// and to have one history, the latter only as far as no witness looks; what it
// logs is worth nothing without its own signatures. Not trusted are bundles,
// chains, statements, archives, image layouts and who served them. Nothing here
// opens a connection; files are read only where a caller names them.
//
// This version does not judge by commitments (index.md 10), and refuses a
// policy that asks for them.
package attest
