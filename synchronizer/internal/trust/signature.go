package trust

import (
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/tandem-cd/tandem/shared/gitobject"
)

// Signatures remembers which key signed which object, so that Syncs of one
// source do not each verify the same signature. What a key is worth is asked
// anew every time. A nil *Signatures remembers nothing; one may be used
// concurrently.
type Signatures struct {
	mu         sync.Mutex
	max        int
	young, old map[signing]signed
}

// signing is an object and the key that it was held against, for signatures
// that do not bring their own.
type signing struct {
	object gitobject.ID
	key    string
}

// signed is the outcome of checking one signature.
type signed struct {
	key ssh.PublicKey // the one that the signature brings
	err error
}

// NewSignatures makes a memory of at least max and at most twice as many
// objects.
func NewSignatures(most int) *Signatures {
	return &Signatures{max: max(most, 1), young: map[signing]signed{}}
}

func (s *Signatures) get(at signing) (signed, bool) {
	if s == nil {
		return signed{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, found := s.young[at]; found {
		return known, true
	}
	known, found := s.old[at]
	return known, found
}

// put drops the older half when the younger is full.
func (s *Signatures) put(at signing, known signed) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.young) >= s.max {
		s.old, s.young = s.young, map[signing]signed{}
	}
	s.young[at] = known
}

// keyOf is the SSH key that signed the object id, whose content the caller has
// hashed.
func (s *Signatures) keyOf(id gitobject.ID, payload func() []byte, armored []byte) (ssh.PublicKey, error) {
	at := signing{object: id}
	if known, found := s.get(at); found {
		return known.key, known.err
	}
	key, err := gitobject.VerifySSH(payload(), armored)
	s.put(at, signed{key: key, err: err})
	return key, err
}

// madeBy tells whether an OpenPGP key made the signature of the object id, whose
// content the caller has hashed.
func (s *Signatures) madeBy(key *gitobject.GPGKey, id gitobject.ID, payload func() []byte, read *gitobject.GPGSignature) error {
	at := signing{object: id, key: key.Fingerprint}
	if known, found := s.get(at); found {
		return known.err
	}
	err := key.Verify(payload(), read)
	s.put(at, signed{err: err})
	return err
}
