package hub

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strconv"
	"strings"

	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// answer is what a request comes to when it succeeds.
type answer struct {
	status int
	kind   string // media type
	body   []byte
}

const (
	jsonType     = "application/json"
	envelopeType = "application/vnd.dsse.envelope.v1+json"
	bundleType   = "application/vnd.rebuild.rbundle.v1+tar"
	linesType    = "application/jsonl"
	plainType    = "text/plain; charset=utf-8"
)

// inJSON answers with the canonical JSON of a value.
func inJSON(status int, v any) (*answer, error) {
	body, err := document.Encode(v)
	if err != nil {
		return nil, err
	}
	return &answer{status, jsonType, append(body, '\n')}, nil
}

// refusal is an error whose status does not follow from its code.
type refusal struct {
	status int
	error
}

func (r *refusal) Unwrap() error { return r.error }

func refuse(status int, err error) error { return &refusal{status, err} }

// reply is the envelope of an error, the same as the command line's with
// --json (index.md 9).
type reply struct {
	SchemaVersion string      `json:"schema_version"`
	Command       string      `json:"command"`
	OK            bool        `json:"ok"`
	ExitCode      int         `json:"exit_code"`
	Error         *replyError `json:"error,omitempty"`
}

type replyError struct {
	Code      fault.Code     `json:"code"`
	Message   string         `json:"message"`
	Hint      string         `json:"hint,omitempty"`
	Details   map[string]any `json:"details,omitempty"`
	RequestID string         `json:"request_id"`
}

// statuses says with which status a code is answered. What is not in it is the
// fault of the hub.
var statuses = map[fault.Code]int{
	fault.Usage: http.StatusBadRequest, fault.Parse: http.StatusBadRequest, fault.Structure: http.StatusBadRequest,
	fault.Semantic: http.StatusBadRequest, fault.SchemaUnsupported: http.StatusBadRequest,
	fault.SignatureInvalid: http.StatusBadRequest, fault.SignatureUnsupported: http.StatusBadRequest, fault.KeyWeak: http.StatusBadRequest,

	fault.KeyUnknown: http.StatusForbidden, fault.KeyExpired: http.StatusForbidden, fault.OwnerChanged: http.StatusForbidden,

	fault.IndexNoMatch: http.StatusNotFound, fault.NoNonYanked: http.StatusNotFound,
	fault.AlreadyPublished: http.StatusConflict, fault.Unyanked: http.StatusConflict,

	fault.QuorumPending: http.StatusUnprocessableEntity, fault.Dissent: http.StatusUnprocessableEntity,
	fault.LineageUntraced: http.StatusUnprocessableEntity, fault.EvidenceMismatch: http.StatusUnprocessableEntity,
	fault.EventsMismatch: http.StatusUnprocessableEntity, fault.SnapshotMismatch: http.StatusUnprocessableEntity,
	fault.CksumMismatch: http.StatusUnprocessableEntity, fault.TreeMismatch: http.StatusUnprocessableEntity,
	fault.FileHash: http.StatusUnprocessableEntity, fault.FileMissing: http.StatusUnprocessableEntity, fault.FileExtra: http.StatusUnprocessableEntity,
	fault.PkgDescriptionRequired: http.StatusUnprocessableEntity, fault.PkgDocsRequired: http.StatusUnprocessableEntity,
	fault.PkgLicenseRequired: http.StatusUnprocessableEntity, fault.PkgLicenseNotSPDX: http.StatusUnprocessableEntity,
	fault.PkgCompatRequired: http.StatusUnprocessableEntity, fault.PkgCompatNotString: http.StatusUnprocessableEntity,
	fault.PkgCompatInvalid: http.StatusUnprocessableEntity, fault.PkgCompatExcludes: http.StatusUnprocessableEntity,

	fault.PolicyExpired: http.StatusServiceUnavailable, fault.IndexFetch: http.StatusServiceUnavailable, fault.Stale: http.StatusServiceUnavailable,
}

// statusOf returns the status that an error is answered with.
func statusOf(err error) int {
	var r *refusal
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &r):
		return r.status
	case errors.As(err, &large):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return http.StatusServiceUnavailable
	}
	if status := statuses[fault.CodeOf(err)]; status != 0 {
		return status
	}
	var coded *fault.Error
	if errors.Is(err, fs.ErrNotExist) && !errors.As(err, &coded) {
		return http.StatusNotFound
	}
	return http.StatusInternalServerError
}

// codeOf is the code of an error in an answer: that of the error, or of what
// HTTP itself has against the request.
func codeOf(err error, status int) fault.Code {
	var coded *fault.Error
	switch {
	case errors.As(err, &coded):
		return coded.Code
	case status == http.StatusRequestEntityTooLarge:
		return fault.Parse
	case status == http.StatusNotFound:
		return fault.IndexNoMatch
	case status == http.StatusServiceUnavailable, status == http.StatusTooManyRequests:
		return fault.IndexFetch
	case status < http.StatusInternalServerError:
		return fault.Usage
	}
	return fault.Internal
}

// retryAfter is how many seconds a client is to wait that was sent away for
// now.
const retryAfter = 5

// fail writes an error: as the envelope, or in one line for who does not ask
// for JSON. What went wrong inside of the hub is for its own log: it may name
// folders.
func fail(w http.ResponseWriter, r *http.Request, command, id string, err error, always bool) int {
	status := statusOf(err)
	code := codeOf(err, status)
	e := &replyError{Code: code, Message: err.Error(), RequestID: id}
	var coded *fault.Error
	if errors.As(err, &coded) {
		e.Hint, e.Details = coded.Hint, coded.Details
	}
	if status == http.StatusInternalServerError {
		e.Message, e.Hint, e.Details = "the request failed inside of the hub", "give the request's id to who runs it", nil
	}
	head := w.Header()
	head.Del("ETag")
	head.Set("Cache-Control", "no-store")
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		head.Set("Retry-After", strconv.Itoa(retryAfter))
	}
	if status == http.StatusUnauthorized {
		head.Set("WWW-Authenticate", scheme)
	}
	body, kind := fmt.Appendf(nil, "error[%s]: %s\n", e.Code, oneLine(e.Message)), plainType
	if always || wantsJSON(r) {
		if data, err := document.Encode(reply{document.CLI.ID(), command, false, code.Exit(), e}); err == nil {
			body, kind = append(data, '\n'), jsonType
		}
	}
	send(w, r, &answer{status, kind, body})
	return status
}

// wantsJSON says whether a client asked for JSON.
func wantsJSON(r *http.Request) bool {
	for _, accept := range r.Header.Values("Accept") {
		if strings.Contains(accept, "application/json") || strings.Contains(accept, "+json") {
			return true
		}
	}
	return false
}

func send(w http.ResponseWriter, r *http.Request, a *answer) {
	head := w.Header()
	if read := r.Method == http.MethodGet || r.Method == http.MethodHead; read && a.status == http.StatusOK {
		etag := `"` + store.DigestOf(a.body).Hex() + `"`
		head.Set("ETag", etag)
		if matches(r.Header.Get("If-None-Match"), etag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	head.Set("Content-Type", a.kind)
	head.Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(a.body) // the peer is gone; there is nobody to tell
	}
}

// oneLine keeps what a request brought from faking lines of a log.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
}
