package hub

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"rebuild/attest"
	"rebuild/internal/fault"
	"rebuild/store"
)

// scheme is the authentication scheme of requests (index.md 9).
const scheme = "Rebuild"

// authWindow is how far the time of a signed request may be off, so that the
// request is worth nothing later.
const authWindow = 300 * time.Second

// authMessage is what the sender of a request signs. The lines are fixed in
// number and none can hold a line feed, so no two requests have one message.
func authMessage(method, path string, body store.Digest, at string) []byte {
	return fmt.Appendf(nil, "rebuild.http.v1\n%s\n%s\n%s\n%s\n", method, path, body, at)
}

// Authorize signs a request with a body of a digest, as of a time.
func Authorize(r *http.Request, body store.Digest, key attest.Signer, now time.Time) error {
	at, err := attest.FormatTime(now.UTC().Truncate(time.Second))
	if err != nil {
		return err
	}
	sig, err := key.Sign(authMessage(r.Method, r.URL.EscapedPath(), body, at))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", fmt.Sprintf("%s key_id=%s,time=%s,sig=%s", scheme, key.Public().ID(), at, base64.StdEncoding.EncodeToString(sig)))
	return nil
}

// claim is an Authorization that was read and not verified yet.
type claim struct {
	key  attest.KeyID
	time string
	sig  []byte
}

func unauthorized(code fault.Code, format string, args ...any) error {
	return refuse(http.StatusUnauthorized, fault.New(code, format, args...).WithHint("sign the request with the key of an operator, signer or owner, now"))
}

// readClaim reads the one Authorization of a request, in its one spelling.
func readClaim(r *http.Request) (claim, error) {
	headers := r.Header.Values("Authorization")
	if len(headers) == 0 {
		return claim{}, unauthorized(fault.SignatureInvalid, "the request is not signed")
	}
	bad := unauthorized(fault.SignatureInvalid, "the Authorization is not %s key_id=ID,time=TIME,sig=BASE64", scheme)
	rest, ok := strings.CutPrefix(headers[0], scheme+" ")
	parts := strings.Split(rest, ",")
	if len(headers) != 1 || !ok || len(parts) != 3 {
		return claim{}, bad
	}
	id, isID := strings.CutPrefix(parts[0], "key_id=")
	at, isTime := strings.CutPrefix(parts[1], "time=")
	text, isSig := strings.CutPrefix(parts[2], "sig=")
	sig, err := base64.StdEncoding.Strict().DecodeString(text)
	if !isID || !isTime || !isSig || err != nil || len(sig) != ed25519.SignatureSize {
		return claim{}, bad
	}
	return claim{attest.KeyID(id), at, sig}, nil
}

// checkTime wants a request of now.
func (c claim) checkTime(now time.Time) error {
	at, err := attest.ParseTime(c.time)
	if err != nil {
		return unauthorized(fault.SignatureInvalid, "the Authorization has no time: %w", err)
	}
	if off := now.Sub(at).Abs(); off > authWindow {
		return unauthorized(fault.Stale, "the request was signed at %s, %s from now; at most %s count", c.time, off.Truncate(time.Second), authWindow)
	}
	return nil
}

// writer is who signed a request.
type writer struct {
	key   attest.KeyID
	party string // with whom it shares its room
}

// ownerParty begins the parties that the policy does not name.
const ownerParty = "owner "

func operatorParty(name string) string { return "operator " + name }

// authorized says who signed a request with a body of a digest. 401 is one that
// is not signed, or not rightly or not now; 403 is a key that may not write.
// The body does not have to be here yet: strangers are sent away before it.
func (h *Hub) authorized(r *http.Request, body store.Digest) (writer, error) {
	c, err := readClaim(r)
	if err != nil {
		return writer{}, err
	}
	now := h.now()
	if err := c.checkTime(now); err != nil {
		return writer{}, err
	}
	key, party, err := h.writerKey(r, c.key, now)
	if err != nil {
		return writer{}, err
	}
	if !ed25519.Verify(key[:], authMessage(r.Method, r.URL.EscapedPath(), body, c.time), c.sig) {
		return writer{}, unauthorized(fault.SignatureInvalid, "the signature is not one of key %s over this request", c.key)
	}
	return writer{c.key, party}, nil
}

// writerKey finds the key of an id among those that may write, and its party:
// operators, signers and index keys of the policy, and owners of what is in the
// index. A key that the policy has and that does not count now is refused,
// whoever owns what with it.
func (h *Hub) writerKey(r *http.Request, id attest.KeyID, now time.Time) (attest.PublicKey, string, error) {
	for _, k := range h.policy.Keys(now) {
		party, key := partyOf(k)
		if party == "" || key.ID() != id {
			continue
		}
		if !k.Counts {
			return key, "", fault.New(fault.KeyExpired, "key %s does not count: %s", k.Fingerprint, k.Why)
		}
		return key, party, nil
	}
	text, err := h.catalog.owner(r.Context(), string(id))
	if err != nil {
		return attest.PublicKey{}, "", err
	}
	if text == "" {
		return attest.PublicKey{}, "", fault.New(fault.KeyUnknown, "key %.80q is of no operator, signer or index key of the policy and of no owner", string(id))
	}
	key, err := attest.ParsePublicKey(text)
	return key, ownerParty + string(id), err
}

// partyOf returns the party of a key of the policy, "" if it may not write.
func partyOf(k attest.KeyAccount) (string, attest.PublicKey) {
	key, err := attest.ParsePublicKey(k.Key)
	if err != nil {
		return "", key
	}
	switch k.Role {
	case attest.RoleOperator:
		return operatorParty(k.Name), key
	case attest.RoleSigner, attest.RoleIndex:
		return k.Role + " " + string(key.ID()), key
	}
	return "", key
}

// partiesOf lists the parties that a policy names.
func partiesOf(policy *attest.Policy, now time.Time) []string {
	var out []string
	for _, k := range policy.Keys(now) {
		if party, _ := partyOf(k); party != "" && !slices.Contains(out, party) {
			out = append(out, party)
		}
	}
	return out
}
