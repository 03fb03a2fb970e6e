package main

import (
	"bytes"
	"path/filepath"
	"regexp"

	"rebuild/attest"
	"rebuild/internal/fault"
)

// A file that was refused is often a good one in the wrong place: a key or a
// package where a policy was wanted. What it is decides nothing, and is only
// told to whoever has to find the right one.

// The kinds of files that people hand over.
const (
	aPolicy    = "a policy"
	aBundle    = "a bundle"
	anArchive  = "a package archive"
	anEnvelope = "a signed document"
	aLock      = "a lock"
)

var schemas = map[string]string{
	"rebuild.policy": aPolicy, "rebuild.lock": aLock,
	"rebuild.package": "the metadata of a package", "rebuild.pipeline": "a pipeline",
	"rebuild.plan": "a plan", "rebuild.files": "the inventory of a package",
}

var (
	schemaIn   = regexp.MustCompile(`"?schema_version"?\s*[=:]\s*"(rebuild\.[a-z-]+)@`)
	envelopeIn = regexp.MustCompile(`^\s*\{\s*"payload`)
)

// kindOf says what a file is by how it begins, "" if that is not known.
func kindOf(path string, data []byte) string {
	_, notKey := attest.ParsePublicKey(string(bytes.TrimSpace(data[:min(len(data), 200)])))
	switch m := schemaIn.FindSubmatch(data[:min(len(data), 64<<10)]); {
	case bytes.HasPrefix(data, []byte("-----BEGIN ")):
		return "a private key"
	case notKey == nil:
		return "a public key"
	case len(data) > 262 && string(data[257:262]) == "ustar":
		if filepath.Ext(path) == ".rbundle" {
			return aBundle
		}
		return anArchive
	case envelopeIn.Match(data):
		return anEnvelope
	case m != nil:
		return schemas[string(m[1])]
	}
	return ""
}

// mistaken adds to the refusal of a file what it is, if it is not what was
// wanted. A nil err stays nil.
func mistaken(err error, wanted, path string, data []byte) error {
	f := asFault(err)
	if f == nil || f.Code.Exit() != fault.Parse.Exit() && f.Code != fault.FileMissing {
		return err
	}
	is := kindOf(path, data)
	switch {
	case is != "" && is != wanted:
		f.Hint = path + " is " + is + ": name " + wanted + " instead"
	case is == "" && f.Hint == "":
		f.Hint = "name " + wanted + ": this is none"
	}
	return err
}

// begin reads what kindOf looks at.
func (in *largeInput) begin() []byte {
	data := make([]byte, 64<<10)
	n, _ := in.ReadAt(data, 0) // a hint is all that hangs on it
	return data[:n]
}
