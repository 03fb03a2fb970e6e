// Package fault is the closed set of ways in which a command can end badly.
//
// Every error that reaches a user carries a [Code]. The code is the stable
// name printed as "rebuild: error[CODE]: ...", and it alone decides the exit
// status, so two packages can not give the same failure two meanings. Only
// callers that branch on a failure should look at the code, with [CodeOf];
// everything else wraps errors in the usual way.
package fault

import (
	"errors"
	"fmt"
)

// Code names one way of failing. Codes are part of the command line's
// contract: scripts match on them and they never change their exit status.
type Code string

// The codes, grouped by exit status. The table in exits is the only place
// that says which status belongs to which code.
const (
	Internal    Code = "INTERNAL"
	Usage       Code = "USAGE"
	Interrupted Code = "INTERRUPTED"

	IndexNoMatch Code = "INDEX_NO_MATCH"
	NoNonYanked  Code = "NO_NON_YANKED"

	IndexFetch   Code = "INDEX_FETCH"
	OfflineIndex Code = "OFFLINE_INDEX"

	IndexUnsigned Code = "INDEX_UNSIGNED"
	EntryUnsigned Code = "ENTRY_UNSIGNED"

	SignatureInvalid     Code = "SIGNATURE_INVALID"
	SignatureUnsupported Code = "SIGNATURE_UNSUPPORTED"
	KeyUnknown           Code = "KEY_UNKNOWN"
	KeyExpired           Code = "KEY_EXPIRED"
	KeyWeak              Code = "KEY_WEAK"
	OwnerChanged         Code = "OWNER_CHANGED"

	CksumMismatch    Code = "CKSUM_MISMATCH"
	TreeMismatch     Code = "TREE_MISMATCH"
	SnapshotMismatch Code = "SNAPSHOT_MISMATCH"
	EventsMismatch   Code = "EVENTS_MISMATCH"
	EvidenceMismatch Code = "EVIDENCE_MISMATCH"
	SourceMismatch   Code = "SOURCE_MISMATCH"

	FileHash    Code = "FILE_HASH"
	FileMissing Code = "FILE_MISSING"
	FileExtra   Code = "FILE_EXTRA"

	QuorumPending Code = "QUORUM_PENDING"
	Dissent       Code = "DISSENT"

	Rollback     Code = "ROLLBACK"
	Fork         Code = "FORK"
	Stale        Code = "STALE"
	ViewMismatch Code = "VIEW_MISMATCH"
	Unyanked     Code = "UNYANKED"
	Unwitnessed  Code = "UNWITNESSED"

	NotDeterministic Code = "NOT_DETERMINISTIC"
	StageFailed      Code = "STAGE_FAILED"
	PolicyDenied     Code = "POLICY_DENIED"

	SemverBreaking Code = "SEMVER_BREAKING"
	Inconclusive   Code = "INCONCLUSIVE"

	LockDrift   Code = "LOCK_DRIFT"
	LockMissing Code = "LOCK_MISSING"
	YankedDep   Code = "YANKED_DEP"
	AdvisedDep  Code = "ADVISED_DEP"

	SchemaUnsupported Code = "SCHEMA_UNSUPPORTED"
	MigrationFailed   Code = "MIGRATION_FAILED"
	Parse             Code = "PARSE"
	Structure         Code = "STRUCTURE"
	Semantic          Code = "SEMANTIC"

	AlreadyPublished       Code = "ALREADY_PUBLISHED"
	PkgDescriptionRequired Code = "PKG_DESCRIPTION_REQUIRED"
	PkgDocsRequired        Code = "PKG_DOCS_REQUIRED"
	PkgLicenseRequired     Code = "PKG_LICENSE_REQUIRED"
	PkgLicenseNotSPDX      Code = "PKG_LICENSE_NOT_SPDX"
	PkgCompatRequired      Code = "PKG_COMPAT_REQUIRED"
	PkgCompatNotString     Code = "PKG_COMPAT_NOT_STRING"
	PkgCompatInvalid       Code = "PKG_COMPAT_INVALID"
	PkgCompatExcludes      Code = "PKG_COMPAT_EXCLUDES"

	PinMismatch Code = "PIN_MISMATCH"
	DepMissing  Code = "DEP_MISSING"
	Depth       Code = "DEPTH"
	Cycle       Code = "CYCLE"

	PolicyInvalid     Code = "POLICY_INVALID"
	PolicyExpired     Code = "POLICY_EXPIRED"
	LineageUntraced   Code = "LINEAGE_UNTRACED"
	EngineUnavailable Code = "ENGINE_UNAVAILABLE"
)

var exits = map[Code]int{
	Internal: 1, Usage: 2, Interrupted: 130,
	IndexNoMatch: 3, NoNonYanked: 3,
	IndexFetch: 4, OfflineIndex: 4,
	IndexUnsigned: 10, EntryUnsigned: 10,
	SignatureInvalid: 11, SignatureUnsupported: 11, KeyUnknown: 11, KeyExpired: 11, KeyWeak: 11, OwnerChanged: 11,
	CksumMismatch: 12, TreeMismatch: 12, SnapshotMismatch: 12, EventsMismatch: 12, EvidenceMismatch: 12, SourceMismatch: 12,
	FileHash: 13, FileMissing: 13, FileExtra: 13,
	QuorumPending: 14, Dissent: 16,
	Rollback: 15, Fork: 15, Stale: 15, ViewMismatch: 15, Unyanked: 15, Unwitnessed: 15,
	NotDeterministic: 17, StageFailed: 18, PolicyDenied: 19,
	SemverBreaking: 20, Inconclusive: 23,
	LockDrift: 21, LockMissing: 21, YankedDep: 22, AdvisedDep: 22,
	SchemaUnsupported: 30, MigrationFailed: 30, Parse: 31, Structure: 31, Semantic: 31,
	PkgDescriptionRequired: 32, PkgDocsRequired: 32, PkgLicenseRequired: 32, PkgLicenseNotSPDX: 32,
	PkgCompatRequired: 32, PkgCompatNotString: 32, PkgCompatInvalid: 32, PkgCompatExcludes: 32, AlreadyPublished: 33,
	PinMismatch: 34, DepMissing: 34, Depth: 34, Cycle: 34,
	PolicyInvalid: 40, PolicyExpired: 40, LineageUntraced: 41, EngineUnavailable: 50,
}

// Exit returns the exit status of c. A code that is not in the table is a
// defect of the program and exits with 1.
func (c Code) Exit() int {
	if n, ok := exits[c]; ok {
		return n
	}
	return 1
}

// Codes returns every code with its exit status, for the documentation and
// its drift test.
func Codes() map[Code]int {
	m := make(map[Code]int, len(exits))
	for c, n := range exits {
		m[c] = n
	}
	return m
}

// Error is a failure that a user can act on. Message says what is wrong in
// one line without a full stop; File and Line say where, when a document is
// to blame; Hint is one imperative sentence, at best the corrected command.
type Error struct {
	Code    Code
	File    string
	Line    int
	Message string
	Hint    string
	Details map[string]any // machine-readable particulars for --json
	Err     error          // cause, if any; its text is part of Error()
}

// New returns an Error with a formatted message. A %w verb in format sets the
// cause.
func New(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Err: errors.Unwrap(err)}
}

// At places the error in a document. Line 0 means the file as a whole.
func (e *Error) At(file string, line int) *Error {
	e.File, e.Line = file, line
	return e
}

// In places err in a file as a whole if it is an [Error] without a place. A nil
// err stays nil.
func In(err error, file string) error {
	if e, ok := err.(*Error); ok && e.File == "" {
		return e.At(file, 0)
	}
	return err
}

// WithHint sets the hint.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// With adds one machine-readable detail.
func (e *Error) With(key string, value any) *Error {
	if e.Details == nil {
		e.Details = map[string]any{}
	}
	e.Details[key] = value
	return e
}

// Error returns "file:line: message", or the message alone.
func (e *Error) Error() string {
	switch {
	case e.File != "" && e.Line > 0:
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Message)
	case e.File != "":
		return fmt.Sprintf("%s: %s", e.File, e.Message)
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of the outermost [Error] in err's chain, Internal
// if there is none, and "" for a nil error.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Internal
}
