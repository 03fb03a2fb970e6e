package attest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"rebuild/internal/document"
	"rebuild/internal/fault"
)

// Rotation replaces a key in a policy.
type Rotation struct {
	Old  string // text or fingerprint of a key in the policy
	New  PublicKey
	From time.Time // when the new key begins to count, in whole seconds
	// Overlap is for how long the old key counts on. Without one it ends a
	// second before From. Release signers have none: while two keys of one
	// count, that one is two signers.
	Overlap time.Duration
}

// RotateKey writes the next version of a policy's text, in which the old key
// ends and a new one begins in the same place. A root key has no time and is
// replaced; the new key of the signer NAME gets the name NAME-2, and so on.
// Nothing else in the text changes. An old key that would have ended sooner
// still does.
func RotateKey(file string, text []byte, r Rotation) ([]byte, *PolicyUpdate, error) {
	return editPolicy(file, text, func(p *Policy) ([]document.Edit, error) {
		place, err := p.place(r.Old)
		if err != nil {
			return nil, err
		}
		if place.role == RoleRoot {
			return []document.Edit{{Path: place.path, Value: r.New.String()}}, nil
		}
		if place.role == RoleSigner && r.Overlap != 0 {
			return nil, fault.New(fault.Usage, "key %s is a release signer's: with two keys that count at once, one signer is two", fingerprintOf(place.key.Key)).
				WithHint("leave --overlap out")
		}
		return rotateEdits(p, place, r)
	})
}

func rotateEdits(p *Policy, place keyPlace, r Rotation) ([]document.Edit, error) {
	end := r.From.Add(r.Overlap)
	if r.Overlap == 0 {
		end = end.Add(-time.Second)
	}
	begins, err := FormatTime(r.From)
	if err != nil {
		return nil, err
	}
	ends, err := FormatTime(end)
	if err != nil {
		return nil, err
	}
	if place.key.NotBefore > ends {
		return nil, fault.New(fault.Usage, "key %s begins to count at %s, after it would end at %s", fingerprintOf(place.key.Key), place.key.NotBefore, ends).
			WithHint("give a later --from, or remove the key by hand")
	}
	entry := document.Fields{{Name: "key", Value: r.New.String()}, {Name: "not_before", Value: begins}}
	if place.role == RoleSigner {
		entry = append(document.Fields{{Name: "name", Value: p.nextSigner(place.key.Name)}}, entry...)
	}
	edits := []document.Edit{{Path: place.path, Value: entry, After: true}}
	if place.key.NotAfter == "" || place.key.NotAfter > ends {
		edits = append(edits, document.Edit{Path: append(slices.Clone(place.path), "not_after"), Value: ends})
	}
	return edits, nil
}

// nextSigner is a name for a signer's next key, as each key has its own.
func (p *Policy) nextSigner(name string) string {
	base := name
	if i := strings.LastIndexByte(name, '-'); i > 0 && number(name[i+1:]) > 1 {
		base = name[:i]
	}
	for n := 2; ; n++ {
		next := fmt.Sprintf("%s-%d", base, n)
		if !slices.ContainsFunc(p.doc.Signers.Keys, func(k keyDoc) bool { return k.Name == next }) {
			return next
		}
	}
}

// RevokeKey writes the next version of a policy's text, in which a key counts
// only for what the log holds before the leaf from, and without a log for
// nothing. Revocation is never moved to a later leaf. Root keys can not be
// revoked, since no log says when a policy was signed: they are replaced.
func RevokeKey(file string, text []byte, which string, from int64) ([]byte, *PolicyUpdate, error) {
	return editPolicy(file, text, func(p *Policy) ([]document.Edit, error) {
		place, err := p.place(which)
		if err != nil {
			return nil, err
		}
		name := fingerprintOf(place.key.Key)
		switch revoked := place.key.RevokedFrom; {
		case place.role == RoleRoot:
			return nil, fault.New(fault.Usage, "key %s is a root key, which has no time to end at", name).
				WithHint("replace it with rebuild key rotate")
		case from < 0:
			return nil, fault.New(fault.Usage, "leaf %d is negative", from).WithHint("give --from 0 to revoke it from the beginning")
		case revoked != nil && *revoked <= from:
			return nil, fault.New(fault.Usage, "key %s is revoked from leaf %d on already", name, *revoked).
				WithHint("give an earlier leaf with --from")
		}
		return []document.Edit{{Path: append(slices.Clone(place.path), "revoked_from"), Value: from}}, nil
	})
}

// editPolicy makes the next version of a policy's text and loads it again.
func editPolicy(file string, text []byte, change func(*Policy) ([]document.Edit, error)) ([]byte, *PolicyUpdate, error) {
	old, err := LoadPolicy(file, text)
	if err != nil {
		return nil, nil, err
	}
	edits, err := change(old)
	if err != nil {
		return nil, nil, err
	}
	edits = append(edits, document.Edit{Path: []any{"version"}, Value: old.doc.Version + 1})
	edited, err := document.EditTOML(file, text, edits...)
	if err != nil {
		return nil, nil, err
	}
	next, err := LoadPolicy("the next version of "+file, edited)
	if err != nil {
		return nil, nil, err
	}
	u, err := NewPolicyUpdate(old, next)
	return edited, u, err
}

// keyPlace is where a key stands in a policy.
type keyPlace struct {
	role string
	path []any
	key  keyDoc
}

// place finds a key by its text or fingerprint. No key stands twice.
func (p *Policy) place(which string) (keyPlace, error) {
	for _, k := range p.places() {
		if k.key.Key == which || fingerprintOf(k.key.Key) == which {
			return k, nil
		}
	}
	return keyPlace{}, fault.New(fault.KeyUnknown, "key %.80s is not a root, signer, index or operator key of policy %s", which, p.doc.Name).
		WithHint("see the keys with: rebuild key list --policy FILE")
}

func (p *Policy) places() []keyPlace {
	d := &p.doc
	var out []keyPlace
	add := func(role string, keys []keyDoc, path ...any) {
		for i, k := range keys {
			out = append(out, keyPlace{role, append(slices.Clone(path), i), k})
		}
	}
	for i, k := range d.Root.Keys {
		out = append(out, keyPlace{RoleRoot, []any{"root", "keys", i}, keyDoc{Key: k}})
	}
	add(RoleSigner, d.Signers.Keys, "signers", "keys")
	if d.Index != nil {
		add(RoleIndex, d.Index.Keys, "index", "keys")
	}
	for _, name := range slices.Sorted(maps.Keys(d.Operators)) {
		add(RoleOperator, d.Operators[name].Keys, "operators", name, "keys")
	}
	return out
}
