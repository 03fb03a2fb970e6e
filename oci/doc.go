// Package oci carries images and what is said of them to where others keep
// images: OCI image layouts and the repositories of registries (index.md 8).
//
// [OpenLayout] and [OpenRegistry] give a [Place]. [Export] attaches the
// evidence of a verified release to its images there, [PushImages] brings the
// images themselves, and [Find] lists what is attached to an image.
//
// # Form
//
// What is said of an image is a referrer (image-spec 1.1): a manifest whose
// subject is the image's manifest, with the empty config and one layer.
//
//	artifactType and layer                          content
//	application/vnd.dev.sigstore.bundle.v0.3+json   one statement, as a Sigstore bundle
//	application/vnd.rebuild.rbundle.v1+tar          the release with all its evidence
//
// Both are functions of what they carry, so that everybody who exports the
// same evidence writes the same bytes, and exporting twice changes nothing.
// Where a registry does not serve the referrers API, referrers are listed by
// the index under the tag sha256-HEX of the subject (distribution-spec 1.1);
// what others list there is kept. Nothing is ever deleted, and no tag but that
// one is written.
//
// A Sigstore bundle holds an envelope without its keyid, which stands as the
// hint of the public key instead: verifiers of bundles take a keyid for a
// digest of another form, and refuse the signature. [Artifact.Envelope] puts
// it back.
//
// # What is trusted
//
// Nothing that a place says. Content is checked against its digest, last of
// all, whichever way it came. What [Find] returns is evidence as it was found,
// for package attest to judge. A registry can withhold; credentials go to its
// own host and no other.
package oci
