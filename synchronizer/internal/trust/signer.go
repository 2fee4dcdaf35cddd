package trust

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/tandem-cd/tandem/shared/gitobject"
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

// signer identifies who made a claim. The key of a Git host, which signs for
// whoever pressed a button, will count here as the class of the commit's
// author; today it is an unknown key.
func (p *Policy) signer(c claim, signatures *Signatures) signer {
	key, err := signatures.keyOf(c.id, c.payload, c.signature)
	switch {
	case errors.Is(err, errUnsigned), errors.Is(err, errNotSSH):
		return signer{problem: err.Error()}
	case err != nil:
		return signer{problem: fmt.Sprintf("has a signature that is not valid (%v)", err)}
	}
	fingerprint := ssh.FingerprintSHA256(key)
	known, found := p.keys[string(key.Marshal())]
	if !found {
		return signer{label: fingerprint, problem: "is signed by the key " + fingerprint + ", which nobody here has"}
	}
	name := known.owner.name
	if problem := known.problemAt(c.made, c.seen); problem != "" {
		return signer{label: name, problem: fmt.Sprintf("is signed by %s with the key %s, which %s", name, fingerprint, problem)}
	}
	if !p.names[name] {
		return signer{label: name, problem: fmt.Sprintf("is signed by %s, whom this Sync does not list under trust.signers", name)}
	}
	return signer{who: known.owner, label: name}
}

// problemAt says why the key does not count for what was made and seen at
// these times. The time in a commit is its author's word. A retired key could
// sign with an earlier one, which is why what arrives after the key has ended
// does not count either, if the time of arrival is known.
func (k *Key) problemAt(made, seen time.Time) string {
	switch {
	case k.Revoked:
		return "is revoked"
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
