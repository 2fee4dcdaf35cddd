package trust

import (
	"bytes"
	"errors"
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
	young, old map[gitobject.ID]signed
}

// signed is the outcome of checking one signature.
type signed struct {
	key ssh.PublicKey
	err error
}

// NewSignatures makes a memory of at least max and at most twice as many
// objects.
func NewSignatures(most int) *Signatures {
	return &Signatures{max: max(most, 1), young: map[gitobject.ID]signed{}}
}

func (s *Signatures) get(id gitobject.ID) (signed, bool) {
	if s == nil {
		return signed{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, found := s.young[id]; found {
		return known, true
	}
	known, found := s.old[id]
	return known, found
}

// put drops the older half when the younger is full.
func (s *Signatures) put(id gitobject.ID, known signed) {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.young) >= s.max {
		s.old, s.young = s.young, map[gitobject.ID]signed{}
	}
	s.young[id] = known
}

// keyOf is the key that signed the object id, whose content the caller has
// hashed.
func (s *Signatures) keyOf(id gitobject.ID, payload func() []byte, armored []byte) (ssh.PublicKey, error) {
	if len(armored) == 0 {
		return nil, errUnsigned
	}
	if known, found := s.get(id); found {
		return known.key, known.err
	}
	if !bytes.HasPrefix(armored, []byte("-----BEGIN SSH SIGNATURE-----")) {
		return nil, errNotSSH
	}
	key, err := gitobject.VerifySSH(payload(), armored)
	s.put(id, signed{key: key, err: err})
	return key, err
}

var (
	errUnsigned = errors.New("is not signed")
	errNotSSH   = errors.New("is not signed by an SSH key, and no other signatures are verified here")
)
