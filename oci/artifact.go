package oci

import (
	"strings"

	"rebuild/attest"
	"rebuild/internal/document"
	"rebuild/internal/fault"
	"rebuild/store"
)

// The types of artifacts that are exported, which are those of their layers too.
const (
	TypeStatement = "application/vnd.dev.sigstore.bundle.v0.3+json"
	TypeBundle    = "application/vnd.rebuild.rbundle.v1+tar"
)

// mediaTypeEmpty is the type of a config or layer that says nothing: "{}".
const mediaTypeEmpty = "application/vnd.oci.empty.v1+json"

var empty = []byte("{}")

// annotationTitle names the file that tools write a layer to.
const annotationTitle = "org.opencontainers.image.title"

// Artifact is something that is said of an image.
type Artifact struct {
	Type        string // of the artifact and of its one layer
	Title       string // file name, for tools that write it to disk; "" without
	Annotations map[string]string
	Content     []byte
}

// descriptor names content by type, digest and size.
type descriptor struct {
	Annotations map[string]string `json:"annotations,omitempty"`
	Digest      store.Digest      `json:"digest"`
	MediaType   string            `json:"mediaType"`
	Size        int64             `json:"size"` // bytes
}

func describe(mediaType string, content []byte) descriptor {
	return descriptor{Digest: store.DigestOf(content), MediaType: mediaType, Size: int64(len(content))}
}

// manifest is an image manifest, of an image or of a referrer.
type manifest struct {
	Annotations   map[string]string `json:"annotations,omitempty"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        descriptor        `json:"config"`
	Layers        []descriptor      `json:"layers"`
	MediaType     string            `json:"mediaType"`
	SchemaVersion int               `json:"schemaVersion"`
	Subject       *descriptor       `json:"subject,omitempty"`
}

// layer is the descriptor of the artifact's content.
func (a Artifact) layer() descriptor {
	d := describe(a.Type, a.Content)
	if a.Title != "" {
		d.Annotations = map[string]string{annotationTitle: a.Title}
	}
	return d
}

// manifest returns the canonical manifest by which the artifact refers to a
// subject.
func (a Artifact) manifest(subject descriptor) ([]byte, error) {
	return document.Encode(manifest{
		Annotations: a.Annotations, ArtifactType: a.Type, Config: describe(mediaTypeEmpty, empty), Layers: []descriptor{a.layer()},
		MediaType: store.MediaTypeManifest, SchemaVersion: 2, Subject: &subject,
	})
}

// sigstoreBundle is a Sigstore bundle v0.3 of one DSSE envelope, verified by a
// key that the verifier knows; the names are those of its protobuf JSON.
type sigstoreBundle struct {
	DSSEEnvelope         *sigstoreEnvelope    `json:"dsseEnvelope"`
	MediaType            string               `json:"mediaType"`
	VerificationMaterial verificationMaterial `json:"verificationMaterial"`
}

type sigstoreEnvelope struct {
	Payload     string              `json:"payload"`
	PayloadType string              `json:"payloadType"`
	Signatures  []sigstoreSignature `json:"signatures"`
}

type sigstoreSignature struct {
	KeyID string `json:"keyid,omitempty"`
	Sig   string `json:"sig"`
}

type verificationMaterial struct {
	PublicKey *publicKeyHint `json:"publicKey"`
}

type publicKeyHint struct {
	Hint string `json:"hint"`
}

// Statement returns the artifact for an envelope, which must have one
// signature, as every statement of an operator has, and a keyid (STRUCTURE).
func Statement(envelope []byte, predicateType string) (Artifact, error) {
	if _, err := attest.ParseEnvelope("statement", envelope); err != nil {
		return Artifact{}, err
	}
	var e sigstoreEnvelope
	if err := document.DecodeStrict("statement", envelope, &e); err != nil {
		return Artifact{}, err
	}
	if len(e.Signatures) != 1 || e.Signatures[0].KeyID == "" {
		return Artifact{}, fault.New(fault.Structure, "a Sigstore bundle holds one signature with a keyid, not %d", len(e.Signatures))
	}
	hint := e.Signatures[0].KeyID
	e.Signatures[0].KeyID = ""
	content, err := document.Encode(sigstoreBundle{&e, TypeStatement, verificationMaterial{&publicKeyHint{hint}}})
	return Artifact{
		Type: TypeStatement, Content: content,
		Annotations: map[string]string{"dev.sigstore.bundle.content": "dsse-envelope", "dev.sigstore.bundle.predicateType": predicateType},
	}, err
}

// Envelope returns the envelope in a Sigstore bundle, in the form that package
// attest reads. Nothing of it is verified. A bundle of something else, or in
// a form that an envelope can not have, is STRUCTURE or PARSE.
func (a Artifact) Envelope() ([]byte, error) {
	var b sigstoreBundle
	if a.Type != TypeStatement {
		return nil, fault.New(fault.Structure, "a %.80q holds no envelope", a.Type)
	}
	// Others may write more members than we know; what counts is signed.
	if err := document.DecodeForeign("Sigstore bundle", a.Content, &b); err != nil {
		return nil, err
	}
	if b.DSSEEnvelope == nil || len(b.DSSEEnvelope.Signatures) != 1 || b.VerificationMaterial.PublicKey == nil {
		return nil, fault.New(fault.Structure, "the Sigstore bundle is not of one signature by a key")
	}
	e := *b.DSSEEnvelope
	e.Signatures = []sigstoreSignature{{b.VerificationMaterial.PublicKey.Hint, e.Signatures[0].Sig}}
	envelope, err := document.Encode(e)
	if err != nil {
		return nil, err
	}
	_, err = attest.ParseEnvelope("Sigstore bundle", envelope)
	return envelope, err
}

// fallbackTag is the tag by which a registry without the referrers API keeps
// what refers to a manifest.
func fallbackTag(subject store.Digest) string { return strings.Replace(string(subject), ":", "-", 1) }
