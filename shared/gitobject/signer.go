package gitobject

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"golang.org/x/crypto/ssh"
)

// Signer signs what a commit or a tag says, as `git commit -S` does. The result is armored and fits [Commit.Signature] and
// [Tag.Signature].
type Signer interface {
	Sign(payload []byte, made time.Time) ([]byte, error)
}

// SSHSigner signs with an SSH key.
type SSHSigner struct{ Key ssh.Signer }

// Sign signs payload. The time is not part of such a signature.
func (s SSHSigner) Sign(payload []byte, _ time.Time) ([]byte, error) { return SignSSH(s.Key, payload) }

// GPGSigner signs with a private OpenPGP key.
type GPGSigner struct{ owner *openpgp.Entity }

var errNoGPGKey = errors.New("not one armored private key of OpenPGP")

// ParseGPGSigner reads one armored private key without a passphrase, as `gpg --armor --export-secret-keys` writes it. It, or
// one of its subkeys, may sign at a time.
func ParseGPGSigner(armored []byte, at time.Time) (*GPGSigner, error) {
	owners, err := openpgp.ReadArmoredKeyRing(bytes.NewReader(armored))
	if err != nil || len(owners) != 1 {
		return nil, errNoGPGKey
	}
	key, ok := owners[0].SigningKey(at)
	switch {
	case !ok || key.PrivateKey == nil:
		return nil, errors.New("the OpenPGP key has no private key that may sign now")
	case key.PrivateKey.Dummy(), key.PrivateKey.Encrypted:
		return nil, errors.New("the OpenPGP key is kept elsewhere or has a passphrase; export it without")
	}
	var public GPGKey
	public.describe(key.PublicKey, key.SelfSignature)
	return &GPGSigner{owner: owners[0]}, public.check()
}

// Sign signs payload with the newest key that may sign at the time.
func (s *GPGSigner) Sign(payload []byte, made time.Time) ([]byte, error) {
	var out bytes.Buffer
	config := &packet.Config{DefaultHash: crypto.SHA512, Time: func() time.Time { return made }}
	if err := openpgp.ArmoredDetachSign(&out, s.owner, bytes.NewReader(payload), config); err != nil {
		return nil, fmt.Errorf("sign with OpenPGP: %w", err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}
