package store

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"rebuild/internal/fault"
)

// Digest is a content address: "sha256:" and 64 lower-case hex digits. No
// other algorithm or spelling exists, so equal content has one name and
// digests compare as strings (formats.md 1).
type Digest string

const digestPrefix = "sha256:"

// ParseDigest accepts exactly the one spelling of a digest.
func ParseDigest(s string) (Digest, error) {
	hexed, ok := strings.CutPrefix(s, digestPrefix)
	if !ok || len(hexed) != 2*sha256.Size || strings.Trim(hexed, "0123456789abcdef") != "" {
		return "", fault.New(fault.Structure, "%q is not a digest", s).
			WithHint("write a digest as sha256: and 64 lower-case hex digits")
	}
	return Digest(s), nil
}

// DigestOf returns the digest of b.
func DigestOf(b []byte) Digest {
	sum := sha256.Sum256(b)
	return DigestOfSum(sum[:])
}

// DigestOfSum returns the digest for a finished SHA-256 sum.
func DigestOfSum(sum []byte) Digest { return Digest(digestPrefix + hex.EncodeToString(sum)) }

// Hex returns the 64 hex digits.
func (d Digest) Hex() string { return strings.TrimPrefix(string(d), digestPrefix) }
