package gitobjecttest

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/pem"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/tandem-cd/tandem/shared/gitobject"
)

// Key is a signing key that follows from its name, so that goldens are stable.
type Key struct {
	Name    string
	Signer  ssh.Signer
	private ed25519.PrivateKey
}

// NewKey makes the Ed25519 key of a name.
func NewKey(name string) Key {
	seed := sha256.Sum256([]byte(name))
	private := ed25519.NewKeyFromSeed(seed[:])
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		panic(err)
	}
	return Key{Name: name, Signer: signer, private: private}
}

// Authorized is the public key as a line of authorized_keys.
func (k Key) Authorized() string {
	line := ssh.MarshalAuthorizedKey(k.Signer.PublicKey())
	return strings.TrimSpace(string(line)) + " " + k.Name
}

// PEM is the private key as ssh-keygen keeps it.
func (k Key) PEM() []byte {
	block, err := ssh.MarshalPrivateKey(k.private, k.Name)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(block)
}

// SignCommit signs c in place.
func (k Key) SignCommit(c *gitobject.Commit) {
	c.Signature = k.sign(c.SignedPayload())
}

// SignTag signs t in place.
func (k Key) SignTag(t *gitobject.Tag) {
	if !strings.HasSuffix(t.Message, "\n") {
		t.Message += "\n"
	}
	t.Signature = k.sign(t.SignedPayload())
}

func (k Key) sign(payload []byte) []byte {
	signature, err := gitobject.SignSSH(k.Signer, payload)
	if err != nil {
		panic(err)
	}
	return signature
}
