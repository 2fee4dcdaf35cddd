package trust

import (
	"bytes"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/tandem-cd/tandem/shared/gitobject"
	"github.com/tandem-cd/tandem/shared/instant"
)

// claim is a signed object: what the signature says, and when.
type claim struct {
	id        gitobject.ID
	payload   func() []byte
	signature []byte
	made      time.Time // by the object's own words
	seen      time.Time // by the clock of the cluster; zero: not known
}

func claimOfCommit(s Step, c *gitobject.Commit) claim {
	return claim{id: s.ID, payload: c.SignedPayload, signature: c.Signature, made: c.Committer.When, seen: s.Seen}
}

func claimOfTag(s Step, t *gitobject.Tag) claim {
	return claim{id: s.ID, payload: t.SignedPayload, signature: t.Signature, made: t.Tagger.When, seen: s.Seen}
}

// signer says who stands behind a claim, or why nobody does.
type signer struct {
	who     *principal // nil when nobody counts
	label   string     // a name, or the fingerprint of an unknown key
	problem string     // finishes "the commit ..."; empty when who is set
}

// name is who stands behind it or, if nobody does, who tried.
func (s signer) name() string {
	if s.who != nil {
		return s.who.name
	}
	return s.label
}

// identified is the key behind a claim.
type identified struct {
	owned

	known       bool // somebody here has it
	fingerprint string
	made        time.Time
}

// signer identifies who made a claim. The key of a Git host, which signs for
// whoever pressed a button, counts as what it is listed as: the author of such a
// commit may be anybody, so that nothing follows from it.
func (p *Policy) signer(c claim, signatures *Signatures) signer {
	if len(c.signature) == 0 {
		return signer{problem: "is not signed"}
	}
	identify := p.bySSH
	if gitobject.IsGPG(c.signature) {
		identify = p.byGPG
	} else if !bytes.HasPrefix(c.signature, []byte("-----BEGIN SSH SIGNATURE-----")) {
		return signer{problem: "is signed neither by SSH nor by OpenPGP, and no other signatures are verified here"}
	}
	by, err := identify(c, signatures)
	switch {
	case err != nil:
		return signer{problem: fmt.Sprintf("has a signature that is not valid (%v)", err)}
	case !by.known:
		return signer{label: by.fingerprint, problem: "is signed by the key " + by.fingerprint + ", which nobody here has"}
	}
	name := by.owner.name
	if problem := by.problemAt(by.made, c.seen); problem != "" {
		return signer{label: name, problem: fmt.Sprintf("is signed by %s with the key %s, which %s", name, by.fingerprint, problem)}
	}
	if !p.names[name] {
		return signer{label: name, problem: fmt.Sprintf("is signed by %s, whom this Sync does not list under trust.signers", name)}
	}
	return signer{who: by.owner, label: name}
}

// bySSH finds the key in the signature itself.
func (p *Policy) bySSH(c claim, signatures *Signatures) (identified, error) {
	key, err := signatures.keyOf(c.id, c.payload, c.signature)
	if err != nil {
		return identified{}, err
	}
	known, found := p.keys[string(key.Marshal())]
	return identified{owned: known, known: found, fingerprint: ssh.FingerprintSHA256(key), made: c.made}, nil
}

// byGPG finds the key that the signature names among those that are known: only
// that one can tell whether it made it. The time is the signature's own, by
// which its owner bounds the key.
func (p *Policy) byGPG(c claim, signatures *Signatures) (identified, error) {
	read, err := gitobject.ParseGPGSignature(c.signature)
	if err != nil {
		return identified{}, err
	}
	by := identified{fingerprint: read.Issuer, made: read.Made}
	if by.owned, by.known = p.gpgKey(read); !by.known {
		return by, nil
	}
	by.fingerprint, by.Until = by.GPG.Fingerprint, instant.EarlierEnd(by.Until, read.Until)
	return by, signatures.madeBy(by.GPG, c.id, c.payload, read)
}

// gpgKey is the key that a signature names, by fingerprint or, as old ones do,
// by id.
func (p *Policy) gpgKey(read *gitobject.GPGSignature) (owned, bool) {
	wire, byID := p.ids[read.Issuer]
	if !byID {
		wire = gpgWire(read.Issuer)
	}
	key, found := p.keys[wire]
	return key, found
}

// problemAt says why the key does not count for what was made and seen at
// these times. The time in a commit is its author's word. A retired key could
// sign with an earlier one, which is why what arrives after the key has ended
// does not count either, if the time of arrival is known.
func (k *Key) problemAt(made, seen time.Time) string {
	switch {
	case k.Revoked:
		return "is revoked"
	case k.GPG != nil && !k.GPG.Signs:
		return "may not sign, by the word of its owner"
	case made.Before(k.From):
		return fmt.Sprintf("counts from %s; it signed at %s", stamp(k.From), stamp(made))
	case k.Until.IsZero():
		return ""
	case !made.Before(k.Until):
		return fmt.Sprintf("counts until %s; it signed at %s", stamp(k.Until), stamp(made))
	case !seen.IsZero() && !seen.Before(k.Until):
		return fmt.Sprintf("counts until %s; what it signed first arrived at %s", stamp(k.Until), stamp(seen))
	}
	return ""
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
